"""Caption corpora: every format gives the same pairs, corrupt items are replaced, hostile ones refused."""

from __future__ import annotations

import io
import json
import logging
import pickle
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zsbench.data import caption_pairs
from zsbench.data.caption_stores import StreamedCaptions
from zsbench.data.captions import Captions, decode, open_captions, pairs
from zsbench.data.guard import GuardError, admitted, locked
from zsbench.errors import UserError

DATA = Path(__file__).parents[2] / "shared/data"


def real(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"needs {name} in {DATA}")
    return DATA / name


def colour(number: int) -> tuple[int, int, int]:
    return (number * 5 % 256, 255 - number * 5 % 256, number % 7 * 30)


def encoded(number: int, mode: str = "RGB", format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 4), colour(number)).convert(mode).save(file, format)
    return file.getvalue()


def caption(number: int) -> str:
    return f'a "photo of object {number}'


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Path]:
    """Writes 0.png … with some of them corrupt."""

    def write(count: int, corrupt: tuple[int, ...] = ()) -> Path:
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        for n in range(count):
            (folder / f"{n}.png").write_bytes(encoded(n)[: 30 if n in corrupt else None])
        return folder

    return write


def jsonl(path: Path, count: int) -> Path:
    path.write_text("".join(json.dumps({"image": f"{n}.png", "caption": caption(n)}) + "\n" for n in range(count)))
    return path


def tar(path: Path, count: int, first: int = 0, kind: str = "txt", extra: tarfile.TarInfo | None = None) -> Path:
    with tarfile.open(path, "w") as archive:

        def add(name: str, data: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

        for n in range(first, first + count):
            add(f"{n:05}.png", encoded(n))
            text = caption(n)
            add(f"{n:05}.{kind}", (text if kind == "txt" else json.dumps({"caption": text, "url": "x"})).encode())
        if extra:
            archive.addfile(extra)
    return path


def assert_pairs(captions: Captions, count: int) -> None:
    assert captions.size == count
    got = captions.fetch(range(count))
    assert [p.caption for p in got] == [caption(n) for n in range(count)]
    assert [text for _, text in captions.texts()] == [caption(n) for n in range(count)]
    for n, pair in enumerate(got):
        assert pair.image.shape == (4, 6, 3) and pair.image.dtype == np.uint8
        assert tuple(pair.image[0, 0]) == colour(n)


# -- every format gives the same pairs


def test_drawn_arm_and_the_nearest_right_name(tmp_path: Path, images: Callable[..., Path]) -> None:
    images(3).rename(tmp_path / "JPEGImages")
    (tmp_path / "captions").mkdir()
    lines = (json.dumps({"image": str(n), "caption": caption(n), "ids": [1], "leak": None}) for n in range(3))
    (tmp_path / "captions/pair_0.1.jsonl").write_text("\n".join(lines))
    drawn = open_captions("pair_0.1", drawn_root=tmp_path)
    assert drawn.name == "drawn: pair_0.1"
    assert_pairs(drawn, 3)
    assert drawn.fetch([2])[0].key == "2"
    with pytest.raises(UserError, match=r"Did you mean 'pair_0\.1'"):
        open_captions("pair_0.01", drawn_root=tmp_path)


def table(heading: str, row: Callable[[int], str], count: int = 4) -> str:
    return heading + "".join(row(n) + "\n" for n in range(count))


QUOTED = '"a ""photo of object {}"'
TABLES = {
    "a.tsv": table("image\tcaption\n", lambda n: f"{n}.png\t{caption(n)}"),
    "order.tsv": table("TEXT\tid\tfile_name\n", lambda n: f"{caption(n)}\t7\t{n}.png"),
    "windows.tsv": table("key\talt\r\n", lambda n: f"{n}\t{caption(n)}\r"),
    "bom.tsv": table("\ufeffimage\tcaption\n", lambda n: f"{n}.png\t{caption(n)}"),
    "flickr8k.txt": table("", lambda n: f"{n}.png#0\t{caption(n)}"),
    "kaggle.txt": table("image,caption\n", lambda n: f"{n}.png,{QUOTED.format(n)}"),
    "b.csv": table("path,caption\n", lambda n: f"{n}.png,{QUOTED.format(n)}"),
    "two.csv": table("", lambda n: f"{n}.png,{QUOTED.format(n)}"),
    "c.jsonl": table("", lambda n: json.dumps({"KEY": n, "Text": f"  {caption(n)}\n"})),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, tmp_path: Path, images: Callable[..., Path]) -> None:
    folder = images(4)
    (tmp_path / name).write_text(TABLES[name], newline="")
    assert_pairs(open_captions(str(tmp_path / name), images=folder), 4)


def test_tsv_keeps_every_quoted_line_as_one_row(tmp_path: Path, images: Callable[..., Path]) -> None:
    texts = ['"stray', 'in "the" middle', '"whole"', "it's 5\" wide", "NA", "null"]
    lines = "".join(f"{n}.png\t{text}\n" for n, text in enumerate(texts))
    (tmp_path / "q.tsv").write_text("image\tcaption\n" + lines)
    captions = open_captions(str(tmp_path / "q.tsv"), images=images(len(texts)))
    assert [text for _, text in captions.texts()] == texts


def test_images_lie_beside_the_file_by_default(tmp_path: Path, images: Callable[..., Path]) -> None:
    images(2)
    (tmp_path / "x.tsv").write_text(f"image\tcaption\nimages/0.png\t{caption(0)}\nimages/1.png\t{caption(1)}\n")
    assert_pairs(open_captions(str(tmp_path / "x.tsv")), 2)


def test_coco_drops_captions_without_image(tmp_path: Path, images: Callable[..., Path]) -> None:
    images(2).rename(tmp_path / "val2017")
    (tmp_path / "annotations").mkdir()
    coco = {
        "images": [{"id": n + 10, "file_name": f"{n}.png"} for n in range(3)],
        "annotations": [{"id": n, "image_id": n + 10, "caption": caption(n)} for n in range(3)],
    }
    path = tmp_path / "annotations/captions_val2017.json"
    path.write_text(json.dumps(coco))
    captions = open_captions(str(path))
    assert_pairs(captions, 2)
    assert (captions.skipped.without_image, captions.skipped.total) == (1, 0)


@pytest.mark.parametrize("kind", ["txt", "json"])
def test_tar_shards_as_folder_glob_range_and_file(kind: str, tmp_path: Path) -> None:
    tar(tmp_path / "00000.tar", 3, 0, kind)
    tar(tmp_path / "00001.tar", 2, 3, kind)
    specs = [str(tmp_path / end) for end in ("", "*.tar", "{00000..00001}.tar")]
    found = [open_captions(spec) for spec in specs]
    for captions in found:
        assert_pairs(captions, 5)
    assert len({captions.fingerprint for captions in found}) == 1
    assert_pairs(open_captions(str(tmp_path / "00000.tar")), 3)
    assert found[0].fetch([4, 0])[0].key == "00004"


def dataset(count: int, corrupt: tuple[int, ...] = ()) -> Any:
    datasets = pytest.importorskip("datasets")
    cells = [{"bytes": encoded(n)[: 30 if n in corrupt else None], "path": None} for n in range(count)]
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    return datasets.Dataset.from_dict({"image": cells, "text": [caption(n) for n in range(count)]}, features=features)


def test_hugging_face_saved_split_and_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    dataset(4).save_to_disk(str(tmp_path / "plain"))
    datasets.DatasetDict({"train": dataset(4), "val": dataset(2)}).save_to_disk(str(tmp_path / "dict"))
    dataset(4).to_parquet(str(tmp_path / "x.parquet"))
    for spec in (f"hf:{tmp_path}/plain", f"hf:{tmp_path}/dict", f"{tmp_path}/x.parquet"):
        assert_pairs(open_captions(spec), 4)
    assert_pairs(open_captions(f"hf:{tmp_path}/dict:val"), 2)
    assert_pairs(open_captions(f"hf:{tmp_path}/dict", split="val"), 2)
    with pytest.raises(UserError, match="no split 'test'; it has train, val"):
        open_captions(f"hf:{tmp_path}/dict:test")


def test_hugging_face_row_with_several_captions_is_several_pairs(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"image": [encoded(0), encoded(1)], "captions": [["one", "two"], ["three"]]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "d"))
    captions = open_captions(f"hf:{tmp_path}/d")
    assert list(captions.texts()) == [("0", "one"), ("0", "two"), ("1", "three")]
    assert tuple(captions.fetch([1])[0].image[0, 0]) == colour(0)


def test_hugging_face_image_outside_its_folder_is_refused(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    (tmp_path / "secret.png").write_bytes(encoded(0))
    rows = {"image": [str(tmp_path / "secret.png")], "caption": ["x"]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(UserError, match="outside of its data set's folder"):
        open_captions(f"hf:{tmp_path}/d").fetch([0])


# -- corrupt items


def test_one_corrupt_image_is_counted_named_and_replaced(
    tmp_path: Path, images: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder, path = images(50, corrupt=(7,)), jsonl(tmp_path / "c.jsonl", 50)
    captions = open_captions(str(path), images=folder)
    with caplog.at_level(logging.WARNING, "zsbench"):
        first = [p.key for p in captions.fetch(range(50))]
        again = [p.key for p in captions.fetch([7, 7])]
    assert first[6:9] == ["6.png", "8.png", "8.png"] and again == ["8.png", "8.png"]
    assert len(first) == 50 and captions.skipped.images == 1 and captions.skipped.tried == 50
    assert [r.message for r in caplog.records if "7.png" in r.message] == [caplog.records[0].message]
    assert [p.key for p in open_captions(str(path), images=folder).fetch([7])] == ["8.png"]
    assert open_captions(str(path), images=folder).fingerprint == captions.fingerprint


def test_the_last_image_is_replaced_by_the_first(tmp_path: Path, images: Callable[..., Path]) -> None:
    captions = open_captions(str(jsonl(tmp_path / "c.jsonl", 40)), images=images(40, corrupt=(39,)))
    assert captions.fetch([39])[0].key == "0.png"


def test_ten_percent_corrupt_images_stop(tmp_path: Path, images: Callable[..., Path]) -> None:
    folder = images(50, corrupt=tuple(range(0, 50, 10)))
    captions = open_captions(str(jsonl(tmp_path / "c.jsonl", 50)), images=folder)
    with pytest.raises(UserError, match=r"3 of 21 images of c\.jsonl are corrupt, more than 5%.*'0\.png'"):
        list(pairs(captions))


def test_two_early_corrupt_images_of_a_large_corpus_do_not_stop(tmp_path: Path, images: Callable[..., Path]) -> None:
    captions = open_captions(str(jsonl(tmp_path / "c.jsonl", 120)), images=images(120, corrupt=(0, 1)))
    assert sum(1 for _ in pairs(captions)) == 120 and captions.skipped.images == 2


BAD_LINES = [b"\xff\xfe.png\tx", b"1.png", b"1.png\t ", b"\tno image", b"1.png\tx\ty"]


@pytest.mark.parametrize("bad", BAD_LINES)
def test_corrupt_lines(bad: bytes, tmp_path: Path, images: Callable[..., Path]) -> None:
    good, folder = [f"0.png\tx {n}".encode() for n in range(30)], images(1)
    path = tmp_path / "c.tsv"
    path.write_bytes(b"\n".join([b"image\tcaption", *good, bad]))
    captions = open_captions(str(path), images=folder)
    assert (captions.size, captions.skipped.lines) == (30, 1)
    assert captions.skipped.first[0].startswith("'line 32'")
    path.write_bytes(b"\n".join([b"image\tcaption", *good, bad, bad]))
    with pytest.raises(UserError, match="2 of 32 captions"):
        open_captions(str(path), images=folder)


def test_corrupt_json_lines_and_csv_quotes(tmp_path: Path, images: Callable[..., Path]) -> None:
    folder, good = images(60), jsonl(tmp_path / "c.jsonl", 60).read_text()
    (tmp_path / "c.jsonl").write_text(good + '{"image": "0.png"}\n[1]\n{"image": \n')
    assert open_captions(str(tmp_path / "c.jsonl"), images=folder).skipped.lines == 3
    rows = table("", lambda n: f"{n}.png,fine", 60)
    (tmp_path / "c.csv").write_bytes(rows.encode() + b'1.png,"bad"quote\n1.png,\xff\n2.png,last\n')
    captions = open_captions(str(tmp_path / "c.csv"), images=folder)
    assert (captions.size, captions.skipped.lines) == (61, 2)


def test_only_ten_corrupt_items_are_named(caplog: pytest.LogCaptureFixture) -> None:
    skipped = caption_pairs.Skipped("corpus")
    for n in range(50):
        skipped.line(f"line {n}\x1b[2J", "no caption")
    assert len(caplog.records) == 11 and skipped.lines == 50
    assert "\x1b" not in caplog.text


def test_tar_with_a_corrupt_image_and_a_missing_caption(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", 40)
    with tarfile.open(path, "a") as archive:
        for name, data in (("bad.jpg", b"\xff\xd8\xff"), ("bad.txt", b"x"), ("mute.png", encoded(0))):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    captions = open_captions(str(path))
    assert (captions.size, captions.skipped.lines) == (41, 1)
    assert captions.fetch([40])[0].key == "00000" and captions.skipped.images == 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "I;16", "RGB"])
def test_images_of_any_mode_become_rgb(mode: str) -> None:
    grey = Image.new("L", (6, 4), 200)
    image = Image.fromarray(np.full((4, 6), 200 * 256 + 9, np.uint16)) if mode == "I;16" else grey.convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG")
    pixels = decode(file.getvalue())
    assert pixels.shape == (4, 6, 3) and pixels.dtype == np.uint8
    if mode != "1":
        assert (pixels == 200).all()


def test_decompression_bomb_and_program_formats_are_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_pairs, "MOST_PIXELS", 23)
    with pytest.raises(caption_pairs.Corrupt, match="6 × 4 pixels are too many"):
        decode(encoded(0))
    with pytest.raises(caption_pairs.Corrupt, match="UnidentifiedImageError"):  # not even opened
        decode(encoded(0, format="EPS"))


# -- hostile and mistaken input


def hostile(name: str, type: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = type, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    "member",
    [
        hostile("../evil.jpg"),
        hostile("a/../../evil.jpg"),
        hostile("/etc/evil.jpg"),
        hostile("..\\evil.jpg"),
        hostile("link.jpg", tarfile.SYMTYPE),
        hostile("hard.jpg", tarfile.LNKTYPE),
        hostile("null.jpg", tarfile.CHRTYPE),
        hostile("pipe.jpg", tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member.name} type {member.type.decode()}",
)
def test_hostile_tar_is_refused_by_name(member: tarfile.TarInfo, tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", 3, extra=member)
    with pytest.raises(UserError) as error:
        open_captions(str(path))
    assert "a.tar" in str(error.value) and repr(member.name) in str(error.value)


def test_broken_and_compressed_tars(tmp_path: Path) -> None:
    whole = tar(tmp_path / "a.tar", 3).read_bytes()
    cut, garbled = tmp_path / "cut.tar", tmp_path / "garbled.tar"
    cut.write_bytes(whole[: 1024 + 100])
    garbled.write_bytes(whole[:2048] + b"x" * 512 + whole[2560:])
    (tmp_path / "b.tar.gz").write_bytes(b"\x1f\x8b" + bytes(600))
    for path in (cut, garbled, tmp_path / "b.tar.gz"):
        with pytest.raises(UserError, match="no whole, uncompressed tar"):
            open_captions(str(path))


@pytest.mark.parametrize("key", ["../secret.png", "/etc/passwd", "a/../../b.png", "C:\\x.png", "\\\\host\\x.png"])
def test_image_names_cannot_leave_their_folder(key: str, tmp_path: Path, images: Callable[..., Path]) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(0))
    (tmp_path / "c.jsonl").write_text(json.dumps({"image": key, "caption": "x"}))
    with pytest.raises(UserError, match=r"c\.jsonl, line 1: the image name .* leads out"):
        open_captions(str(tmp_path / "c.jsonl"), images=images(1))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cc3m.tsv", "a dog\thttp://host/dog.jpg\n"),
        ("cc.tsv", "url\tcaption\nhttp://host/dog.jpg\ta dog\n"),
        ("c.jsonl", '{"image": "https://host/dog.jpg", "caption": "a dog"}\n'),
        ("u.jsonl", '{"url": "https://host/dog.jpg", "caption": "a dog"}\n'),
    ],
)
def test_images_by_url_point_to_img2dataset(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match="img2dataset"):
        open_captions(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.tsv", "", "is empty"),
        ("a.tsv", "one\ttwo\tthree\n", "no columns of image and caption"),
        ("a.tsv", "absent.png\ta dog\n", "none of the images of 1 captions"),
        ("a.jsonl", "", "holds no image with a caption"),
        ("captions_x.json", "{", "no folder of images|no COCO captions file"),
        ("a.json", '{"images": [], "annotations": [{"bbox": 1}]}', "no COCO captions file|no folder of images"),
        ("a.xlsx", "x", "no known caption format"),
    ],
)
def test_mistakes_get_one_sentence(name: str, text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        open_captions(str(tmp_path / name))


def test_missing_places(tmp_path: Path) -> None:
    for spec, says in {
        "absent.tsv": "no captions at",
        "absent.tar": "No such file",
        "*.tar": "no .tar shards",
        "": "no .tar shards",
        "{0..3}.tar": "No such file",
    }.items():
        with pytest.raises(UserError, match=says):
            open_captions(f"{tmp_path}/{spec}")
    with pytest.raises(UserError, match="no Hugging Face data set at"):
        open_captions(f"hf:{tmp_path}/absent")


def test_hub_without_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def offline(*args: Any, **kwargs: Any) -> None:
        assert "trust_remote_code" not in kwargs
        raise ConnectionError("Couldn't reach the hub\nlong trace")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(UserError, match=r"cannot open 'some/name'.*Couldn't reach the hub.*network") as error:
        open_captions("hf:some/name:train")
    assert "long trace" not in str(error.value)


# -- streams and processes


def stream(monkeypatch: pytest.MonkeyPatch, count: int, corrupt: tuple[int, ...] = (), seed: int = 0) -> Captions:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: dataset(count, corrupt).to_iterable_dataset())
    return open_captions("hf:some/name", seed=seed)


def test_stream_resumes_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stream(monkeypatch, 40, corrupt=(5,))
    assert whole.size is None
    keys = [p.key for p in whole.fetch(range(100))]  # two and a half rounds
    later = stream(monkeypatch, 40, corrupt=(5,))
    assert [p.key for p in later.fetch(range(63, 100))] == keys[63:]
    assert sorted(set(keys[:40])) == sorted(str(n) for n in range(40) if n != 5)
    assert keys[:40] != keys[40:80] and whole.skipped.images == 1
    assert keys != [p.key for p in stream(monkeypatch, 40, corrupt=(5,), seed=1).fetch(range(100))]
    copy = pickle.loads(pickle.dumps(whole))
    assert [p.key for p in copy.fetch([98, 99])] == keys[98:]
    with pytest.raises(ValueError, match="only goes forward"):
        whole.fetch([3])


def test_stream_texts_and_too_many_corrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = stream(monkeypatch, 40, corrupt=(1, 2, 3))
    assert [text for _, text in bad.texts()] == [caption(n) for n in range(40)]
    with pytest.raises(UserError, match="3 of 40 images"):
        bad.fetch(range(120))
    with pytest.raises(UserError, match="holds no image"):
        StreamedCaptions("empty", "0" * 12, []).fetch([0])


def test_stored_corpora_survive_pickling(tmp_path: Path) -> None:
    captions = open_captions(str(tar(tmp_path / "a.tar", 5)))
    captions.fetch([0])
    assert_pairs(pickle.loads(pickle.dumps(captions)), 5)


def _fetch_all(captions: Captions) -> list[str]:
    return [pair.caption for pair in captions.fetch(range(captions.size or 0))]


def test_other_processes_and_threads_read_the_same(tmp_path: Path) -> None:
    captions = open_captions(str(tar(tmp_path / "a.tar", 30)))
    right = [caption(n) for n in range(30)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(_fetch_all, [captions] * 8)) == [right] * 8
    with get_context("spawn").Pool(1) as processes:
        assert processes.map(_fetch_all, [captions]) == [right]


def test_corpora_can_be_read_while_their_folder_is_locked(tmp_path: Path, images: Callable[..., Path]) -> None:
    lines = open_captions(str(jsonl(tmp_path / "c.jsonl", 3)), images=images(3))
    shard = open_captions(str(tar(tmp_path / "a.tar", 3)))
    with locked(tmp_path):
        with admitted():
            assert_pairs(lines, 3)
            assert_pairs(shard, 3)
        with pytest.raises(GuardError):
            (tmp_path / "c.jsonl").open()
        with pytest.raises(GuardError):  # whoever digs a corpus out of a view cannot read it either
            lines.fetch([0])


# -- real files


def test_real_coco_train() -> None:
    captions = open_captions(str(real("coco-mini/annotations/captions_train2017.json")))
    assert captions.size == 400 and captions.skipped.total == 0
    for pair in captions.fetch(range(0, 400, 40)):
        assert pair.image.ndim == 3 and min(pair.image.shape[:2]) > 100 and len(pair.caption) > 10


def test_real_coco_val_has_159_of_5000_images() -> None:
    path = str(real("captions/coco_captions_val2017.json"))
    captions = open_captions(path, images=real("coco-mini/val2017"))
    assert len({key for key, _ in captions.texts()}) == 159
    assert captions.size is not None and captions.size + captions.skipped.without_image == 25_014
    assert captions.skipped.total == 0


def test_real_flickr8k_lines(tmp_path: Path) -> None:
    path = real("captions/Flickr8k.token.txt")
    names = {line.split("#")[0] for line in path.read_text().splitlines()}
    for name in names:
        (tmp_path / name).touch()
    captions = open_captions(str(path), images=tmp_path)
    assert captions.size == 40_460 and captions.skipped.total == 0
    assert {key for key, _ in captions.texts()} == names
