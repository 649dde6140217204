"""`zsbench data prepare`: official archives into what the readers read, and archives of strangers that gain nothing."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from scipy.io import savemat

from zsbench.cli import main
from zsbench.data.check import check_folder
from zsbench.data.opening import open_dataset
from zsbench.data.universes import CONTEXT_59, CONTEXT_459_IDS
from zsbench.errors import UserError
from zsbench.prepare import archive as archives
from zsbench.prepare import session
from zsbench.prepare.journal import FOLDER
from zsbench.prepare.session import prepare

H, W = 16, 20
Files = Mapping[str, bytes]


def photo(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (H, W, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def png(value: int, palette: bool = False) -> bytes:
    image = Image.fromarray(np.full((H, W), value, np.uint8))
    if palette:
        image.putpalette(bytes(range(256)) * 3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def mat(**variables: object) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, variables)
    return buffer.getvalue()


def make_zip(file: Path, members: Files) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file


def make_tar(file: Path, members: Files, mode: str = "w") -> Path:
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file


VOC_NAMES = ("2007_000032", "2008_000002", "2009_000003")
VOC_2012: dict[str, bytes] = {
    **{f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg": photo(i) for i, name in enumerate(VOC_NAMES)},
    **{f"VOCdevkit/VOC2012/SegmentationClass/{name}.png": png(5, palette=True) for name in VOC_NAMES[:2]},
    "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt": b"2007_000032\n",
    "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt": b"2008_000002\n",
    "VOCdevkit/VOC2012/ImageSets/Segmentation/trainval.txt": b"2007_000032\n2008_000002\n",
    "VOCdevkit/VOC2012/Annotations/2007_000032.xml": b"<xml/>",
    "VOCdevkit/VOC2012/SegmentationObject/2007_000032.png": png(1),
    "VOCdevkit/VOC2012/ImageSets/Main/aeroplane_train.txt": b"x",
}
SBD: dict[str, bytes] = {
    "benchmark_RELEASE/dataset/cls/2009_000003.mat": mat(GTcls={"Segmentation": np.full((H, W), 7, np.uint8)}),
    "benchmark_RELEASE/dataset/inst/2009_000003.mat": b"x",
    "benchmark_RELEASE/dataset/img/2009_000003.jpg": b"x",
    "benchmark_RELEASE/dataset/train.txt": b"2009_000003\n",
    "benchmark_RELEASE/dataset/val.txt": b"2008_000002\n",
    "benchmark_RELEASE/README": b"x",
}
VOC_2010: dict[str, bytes] = {
    **{f"VOCdevkit/VOC2010/JPEGImages/{name}.jpg": photo(i) for i, name in enumerate(VOC_NAMES[1:])},
    "VOCdevkit/VOC2010/ImageSets/Main/train.txt": b"2008_000002\n",
    "VOCdevkit/VOC2010/ImageSets/Main/val.txt": b"2009_000003\n",
    "VOCdevkit/VOC2010/ImageSets/Main/cow_val.txt": b"x",
}
COW, SHEEP = 98, 347  # ids in the list of 459
OF_459 = dict(zip(CONTEXT_459_IDS, CONTEXT_59, strict=True))
LABELS_459 = "".join(f"{i}: {OF_459.get(i, f'thing{i}')}\n" for i in range(1, 460))
CONTEXT: dict[str, bytes] = {
    "trainval/2008_000002.mat": mat(LabelMap=np.full((H, W), COW, np.uint16)),
    "trainval/2009_000003.mat": mat(LabelMap=np.full((H, W), SHEEP, np.uint16)),
    "labels.txt": LABELS_459.encode(),
}
STUFF_TRAIN = {f"train2017/{i:012d}.png": png(i) for i in (1, 2, 3)}
STUFF_VAL = {f"val2017/{i:012d}.png": png(i) for i in (4, 5)}
COCO_TRAIN = {f"train2017/{i:012d}.jpg": photo(i) for i in (1, 2, 3)}
COCO_VAL = {f"val2017/{i:012d}.jpg": photo(i) for i in (4, 5)}


def small(unlabelled: int) -> dict[str, bytes]:
    names = [f"COCO_train2014_{i:012d}" for i in (77, 113, 825)]
    cells = np.array(["unlabeled", *map(str, range(171))] if unlabelled else list(map(str, range(182))), dtype=object)
    label_map = mat(S=np.full((H, W), unlabelled, np.uint8), names=cells)
    return {
        "README.md": b"x",
        **{f"images/{name}.jpg": photo() for name in names},
        **{f"annotations/{name}.mat": label_map for name in names},
        "imageLists/train.txt": f"{names[0]}\n{names[1]}\n".encode(),
        "imageLists/test.txt": f"{names[2]}\n".encode(),
        "imageLists/all.txt": "\n".join(names).encode(),
    }


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Every official archive in small, under its own name."""
    folder = tmp_path / "given"
    folder.mkdir()
    make_tar(folder / "VOCtrainval_11-May-2012.tar", VOC_2012)
    make_tar(folder / "VOCtrainval_03-May-2010.tar", VOC_2010)
    make_tar(folder / "benchmark.tgz", SBD, "w:gz")
    make_tar(folder / "trainval.tar.gz", CONTEXT, "w:gz")
    make_zip(folder / "train2017.zip", COCO_TRAIN)
    make_zip(folder / "val2017.zip", COCO_VAL)
    make_zip(folder / "stuffthingmaps_trainval2017.zip", STUFF_TRAIN | STUFF_VAL)
    make_zip(folder / "cocostuff-10k-v1.1.zip", small(0))
    make_zip(folder / "cocostuff-10k-v1.0.zip", small(1))
    return folder


def call(*args: object) -> Result:
    return CliRunner().invoke(main, ["data", "prepare", *map(str, args)])


def unpacked(out: Path) -> dict[str, bytes]:
    """Every file below `out` but the journal."""
    files = (file for file in out.rglob("*") if file.is_file() or file.is_symlink())
    return {str(f.relative_to(out)): f.read_bytes() for f in files if FOLDER not in f.parts}


def go(out: Path, *files: Path) -> str:
    result = call(*files, "--out", out)
    assert result.exit_code == 0, result.output + result.stderr
    assert not list(out.rglob("*.part"))
    return result.stdout


def refused(out: Path, *args: object, kept: bool = False) -> str:
    """Exit code 2 and one sentence; nothing is written, or nothing half."""
    before = unpacked(out)
    result = call(*args, "--out", out)
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output + repr(result.exception)
    assert kept or unpacked(out) == before
    assert not list(out.rglob("*.part"))
    return result.stderr.splitlines()[-1]


# ---- what the archives become


def test_voc_2012_and_sbd_become_one_data_set(given: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = go(out, given / "VOCtrainval_11-May-2012.tar", given / "benchmark.tgz")
    needed = [name for name in VOC_2012 if not any(part in name for part in ("Annotations", "Object", "Main"))]
    sbd = [name for name in SBD if "/cls/" in name or name.endswith(".txt")]
    assert unpacked(out) == {name: VOC_2012[name] for name in needed} | {name: SBD[name] for name in sbd}
    lines = [line.split() for line in told.splitlines()]
    assert ["3", "photographs", "VOCdevkit/VOC2012/JPEGImages", "(official:", "17,125)"] in lines
    assert ["1", "label", "maps", "benchmark_RELEASE/dataset/cls", "(official:", "11,355)"] in lines
    assert told.splitlines()[-1] == f"Check it: zsbench data check {out}/VOCdevkit/VOC2012"
    data = open_dataset(out / "VOCdevkit/VOC2012", ["voc2012"])
    assert data.keys("trainaug") == ("2007_000032", "2009_000003") and set(data.labels("2009_000003").ravel()) == {7}


def test_context_becomes_what_its_reader_reads(given: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = go(out, given / "VOCtrainval_03-May-2010.tar", given / "trainval.tar.gz")
    lists = out / "VOCdevkit/VOC2010/ImageSets/SegmentationContext"
    assert (lists / "train.txt").read_text() == "2008_000002\n" and (lists / "val.txt").read_text() == "2009_000003\n"
    assert "SegmentationContext: train 1 (official: 4,998 or 4,996), val 1 (official: 5,105 or 5,104)" in told
    data = open_dataset(out / "VOCdevkit/VOC2010", ["context59"])
    assert {data.classes[i] for i in np.unique(data.labels("2008_000002"))} == {"cow"}
    assert {data.classes[i] for i in np.unique(data.labels("2009_000003"))} == {"sheep"}
    assert set(CONTEXT_59) <= set(data.classes)


def detail(folder: Path, train: str, val: str) -> Path:
    images = [{"file_name": f"{name}.jpg", "phase": phase, "image_id": i} for i, (name, phase) in
              enumerate([(train, "train"), (val, "val")])]  # fmt: skip
    file = folder / "trainval_merged.json"
    file.write_text(json.dumps({"info": {}, "images": images, "annos_segmentation": []}))
    return file


def test_context_lists_come_from_given_files_then_the_detail_api_then_voc_itself(given: Path, tmp_path: Path) -> None:
    out, lists = tmp_path / "out", tmp_path / "out/VOCdevkit/VOC2010/ImageSets/SegmentationContext"
    both = [given / "VOCtrainval_03-May-2010.tar", given / "trainval.tar.gz"]
    go(out, *both)
    swapped = detail(given, "2009_000003", "2008_000002")
    go(out, *both, swapped)
    assert (lists / "train.txt").read_text() == "2009_000003\n" and (lists / "val.txt").read_text() == "2008_000002\n"
    mine = given / "context_val_1.txt"
    mine.write_text("2009_000003\n")
    told = go(out, *both, mine)
    assert "list of 1 image\n" in told and (lists / "val.txt").read_text() == "2009_000003\n"
    fresh = tmp_path / "fresh"
    go(fresh, *both, swapped, mine)
    lists = fresh / "VOCdevkit/VOC2010/ImageSets/SegmentationContext"
    assert (lists / "train.txt").read_text() == "2009_000003\n" and (lists / "val.txt").read_text() == "2009_000003\n"


def test_official_context_lists_are_known_as_such(real_data: Path, given: Path, tmp_path: Path) -> None:
    files = [real_data / "lists/context_train_4998.txt", real_data / "lists/context_val_5105.txt"]
    told = go(tmp_path / "out", *files)
    assert "SegmentationContext: train 4,998, val 5,105" in told
    assert "still needed for VOCdevkit/VOC2010: VOCtrainval_03-May-2010.tar, trainval.tar.gz" in told
    told = go(tmp_path / "classes", real_data / "lists/fcn/pascal-context/classes-59.txt")
    assert "class file of 59_labels.txt" in told and "has no image lists yet" in told


def test_cocostuff_164k_becomes_what_its_reader_reads(given: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = go(out, *(given / f"{name}.zip" for name in ("train2017", "val2017", "stuffthingmaps_trainval2017")))
    found = unpacked(out)
    assert found.pop("coco_stuff164k/imageLists/train2017.txt") == b"000000000001\n000000000002\n000000000003\n"
    assert found.pop("coco_stuff164k/imageLists/val2017.txt") == b"000000000004\n000000000005\n"
    assert found == {f"coco_stuff164k/images/{name}": data for name, data in (COCO_TRAIN | COCO_VAL).items()} | {
        f"coco_stuff164k/annotations/{name}": data for name, data in (STUFF_TRAIN | STUFF_VAL).items()
    }
    assert "3 label maps for training   coco_stuff164k/annotations/train2017 (official: 118,287)" in told
    verdict = check_folder(out / "coco_stuff164k")
    assert verdict.sound and verdict.origin.title == "COCO-Stuff 164k" and verdict.read == 5
    pixels = dict(zip(verdict.classes, verdict.counts["val"].pixels, strict=False))
    assert {name: n for name, n in pixels.items() if n} == {"airplane": H * W, "bus": H * W}  # ids 4 and 5


def test_validation_photographs_alone_are_enough(given: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(out, given / "stuffthingmaps_trainval2017.zip", given / "val2017.zip")
    data = open_dataset(out, ["cocostuff171"])
    assert data.has("val") and not data.has("train")
    go(out, given / "train2017.zip")
    assert len(open_dataset(out).keys("train")) == 3


@pytest.mark.parametrize("version", ["v1.0", "v1.1"])
def test_cocostuff_10k_becomes_what_its_reader_reads(given: Path, tmp_path: Path, version: str) -> None:
    out = tmp_path / "out"
    go(out, given / f"cocostuff-10k-{version}.zip")
    data = open_dataset(out / "coco_stuff10k", ["cocostuff171"])
    assert data.origin.title == f"COCO-Stuff 10k {version}" and len(data.keys("train")) == 2
    assert set(data.labels(data.keys("val")[0]).ravel()) == {255}


def test_two_versions_never_mix(given: Path, tmp_path: Path) -> None:
    old, new, out = given / "cocostuff-10k-v1.0.zip", given / "cocostuff-10k-v1.1.zip", tmp_path / "out"
    assert "both hold coco_stuff10k/" in refused(out, old, new)
    go(out, old)
    sentence = refused(out, new)
    assert "holds 3 files of another archive" in sentence and "give another --out" in sentence
    assert f"or remove {out / 'coco_stuff10k/annotations'} first." in sentence, "photographs are the same: they stay"


def test_an_archive_is_known_by_what_it_holds(given: Path, tmp_path: Path) -> None:
    renamed = given / "download(1)"
    (given / "val2017.zip").rename(renamed)
    assert "COCO 2017: photographs for validation" in go(tmp_path / "out", renamed)
    nested = make_tar(given / "x.bin", {f"./backup/data/{name}": data for name, data in VOC_2012.items()})
    assert "PASCAL VOC 2012" in go(tmp_path / "out", nested)
    assert (tmp_path / "out/VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").is_file()


def test_files_of_unknown_contents_are_refused_with_what_is_known(given: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for file in (
        make_zip(given / "train2017-not.zip", {"a/b.txt": b"x", "c.jpg": b"y"}),
        make_zip(given / "empty.zip", {}),
        make_tar(given / "VOCtrainval_11-May-2012.tar", {"VOCdevkit/VOC2012/JPEGImages/a.jpg": b"x"}),
    ):
        sentence = refused(out, file, given / "val2017.zip")
        assert "no archive that is known" in sentence and "VOCtrainval_11-May-2012.tar (PASCAL VOC 2012)" in sentence
    (given / "notes.txt").write_text("hello world\n")
    assert "not an archive or file that is known" in refused(out, given / "notes.txt")
    (given / "trainval.txt").write_text("2008_000002\n")
    assert "of train or of val?" in refused(out, given / "trainval.txt")
    (given / "instances.json").write_text('{"annotations": []}')
    assert 'no list "images"' in refused(out, given / "instances.json")
    assert "no such file. zsbench downloads nothing" in refused(out, given / "absent.zip")
    assert "no such file" in refused(out, given)
    assert not out.exists()


def test_as_refuses_what_is_no_part_of_it(given: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "no part of context; it belongs to cocostuff" in refused(out, given / "val2017.zip", "--as", "context")
    assert "Did you mean 'cocostuff'" in refused(out, given / "val2017.zip", "--as", "cocostuf")
    assert call(given / "val2017.zip", "--as", "cocostuff", "--out", out).exit_code == 0


def test_a_dry_run_says_everything_and_writes_nothing(given: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(given / "val2017.zip", given / "stuffthingmaps_trainval2017.zip", "--out", out, "--list")
    assert result.exit_code == 0 and not out.exists()
    size = sum(map(len, [*COCO_VAL.values(), *STUFF_TRAIN.values(), *STUFF_VAL.values()]))
    assert "000000000004.jpg … 000000000005.jpg" in result.stdout
    assert f"would write 7 files ({size / 1000:.1f} kB) below {out}; nothing is written" in result.stdout
    go(out, given / "val2017.zip")
    again = call(given / "val2017.zip", "--out", out, "--list").stdout
    assert "(official: 5,000), 2 already there" in again and "all is there already" in again


# ---- stopped and gone on


def spied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the members whose bytes are read from now on."""
    read: list[str] = []
    whole = archives._pieces

    def pieces(file: Path, member: archives.Member, handle: io.BytesIO) -> object:
        read.append(member.name)
        return whole(file, member, handle)

    monkeypatch.setattr(archives, "_pieces", pieces)
    return read


@pytest.mark.parametrize("name", ["val2017.zip", "stuffthingmaps_trainval2017.zip", "benchmark.tgz", "trainval.tar.gz"])
def test_a_second_time_nothing_is_read(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    out = tmp_path / "out"
    go(out, given / name)
    before = unpacked(out)
    read = spied(monkeypatch)
    assert "all is there already" in go(out, given / name) and read == [] and unpacked(out) == before


KILLED = """
import os, signal, sys
from zsbench.prepare import unpack
whole, left = unpack.Journal.add, [int(sys.argv[1])]
class Bar:
    def update(self, size):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
def add(self, *entry):
    whole(self, *entry)
    left[0] -= 1
unpack.Journal.add = add
from pathlib import Path
from zsbench.prepare import session
from zsbench.prepare.archive import open_archive
from zsbench.prepare.kinds import recognise
archive = open_archive(Path(sys.argv[2]))
unpack.unpack(unpack.plan(archive, recognise(archive), Path(sys.argv[3])), Bar())
"""


@pytest.mark.parametrize("name", ["train2017.zip", "VOCtrainval_11-May-2012.tar", "benchmark.tgz"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_killed_in_the_middle_of_a_file_the_same_command_goes_on(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: int
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    done = subprocess.run([sys.executable, "-c", KILLED, str(after), given / name, out], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(out.rglob("*.part"))) == 1 and len(unpacked(out)) == after + 1
    read = spied(monkeypatch)
    go(out, given / name)
    resumed = len(read)
    go(whole, given / name)
    assert unpacked(out) == unpacked(whole) and len(read) - resumed - resumed == after


def test_an_interrupted_run_keeps_what_is_whole(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, out = zlib.crc32, tmp_path / "out"
    calls = [0]

    def crc(piece: bytes, value: int = 0) -> int:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return whole(piece, value)

    monkeypatch.setattr("zsbench.prepare.unpack.zlib.crc32", crc)
    result = call(given / "train2017.zip", "--out", out)
    monkeypatch.undo()
    assert result.exit_code == 130 and "the same command goes on" in result.stderr
    assert len(unpacked(out)) < 3 and not list(out.rglob("*.part"))
    go(out, given / "train2017.zip")
    assert len(unpacked(out)) == 3


@pytest.mark.parametrize("name", ["train2017.zip", "benchmark.tgz"])
def test_a_cut_or_spoilt_journal_costs_only_work(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    out = tmp_path / "out"
    go(out, given / name)
    before, (journal,) = unpacked(out), (out / FOLDER).iterdir()
    text = journal.read_text()
    assert len(text.splitlines()) == 3
    for spoilt in (text[:-7], "null\n[1]\n{}\n" + text, "[[[\n", "\x00\xff"):
        journal.write_text(spoilt)
        go(out, given / name)
        assert unpacked(out) == before
    read = spied(monkeypatch)
    go(out, given / name)
    assert read == []


def test_what_was_changed_is_written_again(given: Path, tmp_path: Path) -> None:
    """A shorter file, and, where the archive has checksums, one that somebody else unpacked wrongly."""
    out = tmp_path / "out"
    go(out, given / "train2017.zip")
    before = unpacked(out)
    file = out / "coco_stuff164k/images/train2017/000000000002.jpg"
    file.write_bytes(file.read_bytes()[:-1])
    assert "written 1 file (" in go(out, given / "train2017.zip") and unpacked(out) == before
    shutil.rmtree(out / FOLDER)
    file.write_bytes(file.read_bytes()[::-1])
    assert "written 1 file (" in go(out, given / "train2017.zip") and unpacked(out) == before


@pytest.mark.parametrize("name", ["train2017.zip", "benchmark.tgz", "VOCtrainval_11-May-2012.tar"])
def test_other_contents_of_the_same_size_are_written_again(given: Path, tmp_path: Path, name: str) -> None:
    """Whatever the journal says: contents are compared, and the lines say with what."""
    out = tmp_path / "out"
    go(out, given / name)
    before = unpacked(out)
    file = out / min(path for path in before if path.endswith((".jpg", ".mat")))
    file.write_bytes(file.read_bytes()[::-1])
    told = go(out, given / name)
    assert "written 1 file (" in told and unpacked(out) == before
    assert f"already there (checksums as {'in the archive' if name.endswith('.zip') else 'when unpacked'})" in told


def test_a_changed_list_wins_and_so_does_the_first_when_it_comes_again(given: Path, tmp_path: Path) -> None:
    """Two lists of one size, and one that differs only far from both ends."""
    out, list_ = tmp_path / "out", tmp_path / "out/VOCdevkit/VOC2010/ImageSets/SegmentationContext/val.txt"
    (given / "a").mkdir()
    first, second = given / "val_a.txt", given / "a/val_b.txt"
    names = [f"2009_{i:06d}\n" for i in range(20_000)]
    first.write_text("".join(names))
    second.write_text("".join([*names[:9_999], "2008_999999\n", *names[10_000:]]))
    assert first.stat().st_size == second.stat().st_size
    for file in (first, second, first, first, second):
        told = go(out, file)
        assert list_.read_bytes() == file.read_bytes(), file
    assert "already there (the same contents)" in go(out, second)
    first.write_bytes(second.read_bytes().replace(b"2008_999999", b"2008_999998"))  # the same path, edited
    told = go(out, first)
    assert "written 1 file" in told and list_.read_bytes() == first.read_bytes()


def test_what_another_archive_wrote_over_is_no_longer_in_the_journal(given: Path, tmp_path: Path) -> None:
    """The label list of Context's archive, and a class file in its place: the last one given lies there."""
    out = tmp_path / "out"
    place = out / "VOCdevkit/VOC2010/labels.txt"
    go(out, given / "trainval.tar.gz")
    mine = given / "mine.txt"
    mine.write_bytes(CONTEXT["labels.txt"].replace(b"thing3\n", b"ding33\n"))
    assert mine.stat().st_size == len(CONTEXT["labels.txt"])
    go(out, mine)
    assert place.read_bytes() == mine.read_bytes()
    journals = "".join(file.read_text() for file in (out / FOLDER).iterdir())
    assert journals.count("labels.txt") == 1 and journals.count(".mat") == 2
    go(out, given / "trainval.tar.gz")
    assert place.read_bytes() == CONTEXT["labels.txt"]


# ---- damaged


def test_truncated_archives_are_told_and_earlier_files_stay(given: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    go(out, given / "val2017.zip")
    for name in ("train2017.zip", "VOCtrainval_11-May-2012.tar", "benchmark.tgz"):
        whole = (given / name).read_bytes()
        (given / name).write_bytes(whole[: len(whole) * 2 // 3])
        sentence = refused(out, given / name)
        assert (
            name in sentence and "a download may have broken off" in sentence and "the same command again" in sentence
        )


def test_a_damaged_member_stops_there_and_what_is_before_it_stays(given: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out", given / "x.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in COCO_TRAIN.items():
            archive.writestr(name, data)
    data = file.read_bytes()
    spot = data.index(COCO_TRAIN["train2017/000000000002.jpg"]) + 100
    file.write_bytes(data[:spot] + bytes([data[spot] ^ 1]) + data[spot + 1 :])
    sentence = refused(out, file, kept=True)
    assert "damaged at train2017/000000000002.jpg (Bad CRC-32" in sentence and "What is unpacked is kept" in sentence
    assert set(unpacked(out)) == {"coco_stuff164k/images/train2017/000000000001.jpg"}
    file.write_bytes(data)
    assert "written 2 files" in go(out, file)


def test_a_damaged_stream_is_found_before_anything_is_written(given: Path, tmp_path: Path) -> None:
    file = given / "benchmark.tgz"
    data = bytearray(file.read_bytes())
    data[-6] ^= 1  # the checksum at the end
    file.write_bytes(data)
    assert "CRC check failed" in refused(tmp_path / "out", file)


def test_encrypted_archives_are_refused(given: Path, tmp_path: Path) -> None:
    data = bytearray((given / "val2017.zip").read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.index(mark)
        data[place + offset] |= 1
    (given / "val2017.zip").write_bytes(data)
    assert "'val2017/000000000004.jpg' is encrypted" in refused(tmp_path / "out", given / "val2017.zip")


# ---- evil

EVIL = (
    "../evil.jpg", "/etc/evil.jpg", "train2017/../../evil.jpg", "C:/evil.jpg", "train2017\\..\\evil.jpg",
    "train2017/\x1b[2J.jpg", "a/../../train2017/000000000009.jpg", "..",
)  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_are_refused_with_the_whole_archive(tmp_path: Path, name: str, kind: str) -> None:
    members = COCO_TRAIN | {name: b"evil"} if kind == "zip" else VOC_2012 | {name: b"evil"}
    file = (make_zip if kind == "zip" else make_tar)(tmp_path / "x", members)
    sentence = refused(tmp_path / "deep/er/out", file)
    assert "official archives have no such thing. Nothing is unpacked" in sentence and "\x1b" not in sentence
    assert not list(tmp_path.rglob("evil*")) and not (tmp_path / "deep").exists()


@pytest.mark.parametrize(
    "name", ["train2017/.hidden.jpg", "train2017/a b.jpg", "train2017/x/y.jpg", "train2017/é.jpg", "train2017"]
)
def test_odd_names_below_known_folders_are_not_unpacked(tmp_path: Path, name: str) -> None:
    go(tmp_path / "out", make_zip(tmp_path / "x.zip", COCO_TRAIN | {name: b"evil"}))
    assert set(unpacked(tmp_path / "out").values()) == set(COCO_TRAIN.values())


def test_links_and_devices_never_become_files(tmp_path: Path) -> None:
    target = "VOCdevkit/VOC2012/JPEGImages/2011_000001.jpg"
    for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)):
        file = make_tar(tmp_path / f"{number}.tar", VOC_2012)
        with tarfile.open(file, "a") as archive:
            info = tarfile.TarInfo(target)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        assert f"{target} is a link or device" in refused(tmp_path / "out", file)
    file = make_zip(tmp_path / "x.zip", COCO_TRAIN)
    with zipfile.ZipFile(file, "a") as zipped:
        link = zipfile.ZipInfo("train2017/000000000009.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "/etc/passwd")
    assert "000000000009.jpg is a link or device" in refused(tmp_path / "out", file)


def test_a_link_elsewhere_in_an_archive_is_passed_over(tmp_path: Path) -> None:
    file = make_tar(tmp_path / "x.tar", VOC_2012)
    with tarfile.open(file, "a") as archive:
        info = tarfile.TarInfo("VOCdevkit/VOC2012/latest")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(info)
    go(tmp_path / "out", file)
    assert not (tmp_path / "out/VOCdevkit/VOC2012/latest").is_symlink()


def test_a_planted_link_in_the_place_of_a_file_is_replaced_not_followed(given: Path, tmp_path: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    outside.write_text("mine")
    folder = out / "coco_stuff164k/images/val2017"
    folder.mkdir(parents=True)
    for name in ("000000000004.jpg", ".000000000005.jpg.part"):
        (folder / name).symlink_to(outside)
    go(out, given / "val2017.zip")
    assert outside.read_text() == "mine" and not (folder / "000000000004.jpg").is_symlink()
    assert (folder / "000000000005.jpg").read_bytes() == COCO_VAL["val2017/000000000005.jpg"]


def test_two_members_for_one_place_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for _ in range(2):
            archive.writestr("val2017/000000000004.jpg", photo())
    assert "would be the same file" in refused(tmp_path / "out", tmp_path / "x.zip")
    members = {"val2017/000000000004.jpg": photo(), "copy/val2017/000000000004.jpg": photo(1)}
    assert "copy/val2017/000000000004.jpg would be the same file" in refused(
        tmp_path / "out", make_zip(tmp_path / "y.zip", members)
    )


def test_sizes_are_refused_before_anything_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = make_zip(tmp_path / "bomb.zip", {"val2017/000000000004.jpg": bytes(2**26 + 1)})
    assert bomb.stat().st_size < 100_000
    assert "promises 67,108,865 bytes; such a file has at most 67,108,864" in refused(tmp_path / "out", bomb)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(session.shutil, "disk_usage", lambda _: usage(10**9, 0, session.SPARE + 1000))
    fits = make_zip(tmp_path / "x.zip", {"val2017/000000000004.jpg": b"x"})
    sentence = refused(tmp_path / "out", fits)
    assert "4.1 kB are to be written and 67.1 MB are free there. Nothing is unpacked" in sentence
    monkeypatch.undo()
    go(tmp_path / "out", fits)


def test_a_zip_that_lies_about_a_size_is_stopped(tmp_path: Path) -> None:
    file = make_zip(tmp_path / "x.zip", {"val2017/000000000004.jpg": bytes(10_000)})
    data = bytearray(file.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 24 : place + 28] = (100).to_bytes(4, "little")  # declared size in the table of contents
    file.write_bytes(data)
    sentence = refused(tmp_path / "out", file)
    assert "damaged at val2017/000000000004.jpg" in sentence


def test_a_tar_of_endless_promises_is_stopped_early(tmp_path: Path) -> None:
    """Members and headers that say they are huge: refused at once, and not read."""
    info = tarfile.TarInfo("VOCdevkit/VOC2012/JPEGImages/a.jpg")
    info.size = 2**45
    for data in (info.tobuf(tarfile.GNU_FORMAT), long_name(2**40), long_name(2**25) + bytes(2**25)):
        for name, packed in (("x.tar", data), ("x.tgz", gzip.compress(data, 1))):
            (tmp_path / name).write_bytes(packed)
            sentence = refused(tmp_path / "out", tmp_path / name)
            assert "promises more than 64 GiB" in sentence or "a header that is larger than headers are" in sentence


def long_name(size: int) -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, size
    return info.tobuf(tarfile.GNU_FORMAT)


def test_the_disk_filling_up_leaves_nothing_half_written(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28), "somewhere")

    monkeypatch.setattr("zsbench.prepare.session.tqdm.update", full)
    sentence = refused(tmp_path / "out", given / "val2017.zip")
    assert "the disk is full" in sentence


def test_nothing_touches_the_network(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket", None)
    go(tmp_path / "out", *sorted(file for file in given.iterdir() if "v1.0" not in file.name))


def test_an_out_that_is_a_file_is_refused(given: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(UserError, match="--out is a file"):
        list(prepare([given / "val2017.zip"], tmp_path / "out"))
