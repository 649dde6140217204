"""The image-list audit: names made comparable, every kind of list read, overlaps counted, limits and exit codes."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from zsbench.cli import main
from zsbench.data.voc import open_voc
from zsbench.errors import UserError
from zsbench.overlap.audit import audit, told
from zsbench.overlap.compare import compare
from zsbench.overlap.ids import image_id
from zsbench.overlap.list_files import read_names
from zsbench.overlap.opening import open_lists
from zsbench.overlap.show import text
from zsbench.overlap.sources import ImageList, role_of


def save(file: Path, names: Sequence[str]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", "overlap", *map(str, arguments)])


def shared(*arguments: object) -> int:
    """Names that two lists share, as `--json` tells it."""
    result = run(*arguments, "--json", "--no-hashes")
    assert result.exit_code == 0, result.output
    (pair,) = json.loads(result.stdout)["pairs"]
    return int(pair["shared_names"])


# ---- names


@pytest.mark.parametrize(
    "name",
    ["77", "000077", "000000000077", "COCO_train2014_000000000077", "COCO_val2014_000000000077.jpg",
     "/images/train2017/000000000077.JPG", "a\\b\\000000000077.png", " 77.jpeg ", "000000000077_labelTrainIds.png"],
)  # fmt: skip
def test_one_coco_image_under_all_its_names(name: str) -> None:
    assert image_id(name).key == "000000000077"


def test_a_voc_name_is_no_number_whatever_int_makes_of_it() -> None:
    assert int("2007_000032") == 2007000032  # Python reads underscores in numbers: this is the trap
    assert image_id("2007_000032").key != image_id("2007000032").key
    assert image_id("2007_000032") == image_id("JPEGImages/2007_000032.JPG") == ("2007_000032", "voc")
    assert image_id("2007_000648__06").key == "2007_000648"  # few-shot lists append the class


def test_digits_of_other_scripts_and_dots_in_names_stay_as_they_are() -> None:
    assert image_id("٧٧").kind == "other" and image_id("img.v2.jpg").key == "img.v2"
    assert image_id(".jpg").key == ".jpg"


def test_roles_by_name() -> None:
    assert [role_of(name) for name in ("train_aug", "trainaug", "train2017", "context_train_4998")] == ["training"] * 4
    assert [role_of(name) for name in ("val", "val2017", "test", "context_val_5105")] == ["test"] * 4
    assert [role_of(name) for name in ("trainval", "train_val", "strain", "interval", "images")] == [None] * 5
    assert role_of("mine", "val") == "test" and role_of("train", "val") == "training"


# ---- every kind of list

NAMES = ["2007_000032", "2007_000039", "2007_000063"]


def kinds(folder: Path) -> dict[str, Path]:
    coco = {"images": [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate(NAMES)], "annotations": []}
    files = {
        "names": save(folder / "a.txt", NAMES),
        "pairs": save(folder / "b.txt", [f"/JPEGImages/{n}.jpg /SegmentationClassAug/{n}.png" for n in NAMES]),
        "marks": save(folder / "c.txt", [f"{n}  {mark}" for n, mark in zip(NAMES, ("1", "-1", "0"), strict=True)]),
        "windows": folder / "d.txt",
        "array": folder / "e.npy",
        "bytes": folder / "f.npy",
        "coco": folder / "g.json",
        "json": folder / "h.json",
        "csv": save(folder / "i.csv", ["id,file_name,width", *(f"{i},{n}.jpg,3" for i, n in enumerate(NAMES))]),
        "tsv": save(folder / "j.tsv", [f"{n}.jpg#{i}\ta caption" for n in NAMES for i in range(5)]),
        "lines": save(folder / "k.jsonl", [json.dumps({"image": f"{n}.jpg", "caption": "x"}) for n in NAMES]),
    }
    files["windows"].write_bytes(b"\xef\xbb\xbf" + "\r\n".join(["", *NAMES, " "]).encode())
    np.save(files["array"], np.array(NAMES))
    np.save(files["bytes"], np.array(NAMES, dtype="S"))
    files["coco"].write_text(json.dumps(coco))
    files["json"].write_text(json.dumps(NAMES))
    return files


def test_every_kind_of_file_holds_the_same_images(tmp_path: Path) -> None:
    for kind, file in kinds(tmp_path).items():
        (one,) = open_lists([str(file)])
        assert sorted(one.first) == NAMES, kind
        assert not one.repeated, kind  # five captions of an image are no fault


def test_numbers_in_an_array_are_coco_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([139, 285]))
    assert shared(tmp_path / "a.npy", save(tmp_path / "b.txt", ["000000000139", "000000000776"])) == 1


def test_arrays_are_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.write_text, (tmp_path / "went off", "x")

    np.save(tmp_path / "a.npy", np.array(["x", Bomb()], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Bomb()))
    for name in ("a.npy", "b.npy"):
        with pytest.raises(UserError, match="Pickled objects are not opened"):
            read_names(tmp_path / name)
    assert not (tmp_path / "went off").exists()


def test_an_array_whose_header_promises_terabytes(tmp_path: Path) -> None:
    head = b"{'descr': '<U11', 'fortran_order': False, 'shape': (10000000000000,), }"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
    with pytest.raises(UserError, match="not a plain array"):
        read_names(tmp_path / "a.npy")


HEADERS = (
    b"{'descr': '<i8', 'fortran_order': False, 'shape': (4,)",
    b"{1: 2, 'a': 3}",
    b"{{}: 1}",
    b"{'descr': [['a']], 'fortran_order': False, 'shape': (4,)}",
    b"'''x",
)


def npy(head: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(32)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"\xff\xfe\x00", "cannot be read as a list"),
        ("a.json", b'{"info": 1}', "expected COCO annotations"),
        ("a.json", b"[" * 100_000, "not readable as JSON"),
        ("a.json", b'{"images": [{"width": 3}]}', "names no image"),
        ("a.jsonl", b'{"image": "a.jpg"}\nno', "line 2 is not JSON"),
        ("a.csv", b"width,height,area\n1,2,3\n", "which column names the images"),
        ("a.csv", b"file_name,width\na.jpg,3\n,4\n", "row 3 has no image name"),
        ("a.txt", b"x" * 5000, "is no image name"),
        ("a.xlsx", b"", "no list of images; expected .txt"),
        ("a.npy", b"", "not a plain array"),
        *(("a.npy", npy(head), "not a plain array") for head in HEADERS),
    ],
)
def test_what_is_no_list_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        read_names(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize("limit", [(), ("--fail-over", "0")])
def test_an_empty_list_is_no_clean_one(tmp_path: Path, limit: tuple[str, ...]) -> None:
    empty, val = save(tmp_path / "empty_train.txt", []), save(tmp_path / "val.txt", NAMES)
    for lists in ((empty, val), (val, empty)):
        result = run(*lists, *limit)
        assert result.exit_code == 1 and "empty_train: the list is empty, and nothing was compared" in result.output
        assert "The list empty_train is empty: incomplete, exit 1" in result.output
        assert "disjoint" not in result.output and "No training list meets" not in result.output
        assert json.loads(run(*lists, *limit, "--json").stdout)["exit"] == 1


def test_an_overlap_is_told_before_an_empty_list(tmp_path: Path) -> None:
    lists = [save(tmp_path / "train.txt", NAMES), save(tmp_path / "val.txt", NAMES), save(tmp_path / "test.txt", [])]
    result = run(*lists, "--fail-over", "0")
    assert result.exit_code == 3 and "1 of 1 pair of a training and a test list meets." in result.output
    assert "The list test is empty: incomplete, exit 3" in result.output


def test_names_with_spaces_stay_whole(tmp_path: Path) -> None:
    assert read_names(save(tmp_path / "a.txt", ["my cat 1", "my cat 2.jpg"])).names == ("my cat 1", "my cat 2.jpg")


# ---- counts


def test_planted_overlaps_have_the_right_counts(tmp_path: Path) -> None:
    a = save(tmp_path / "train.txt", [f"2008_{i:06}" for i in range(100)])
    b = save(tmp_path / "val.txt", [f"img/2008_{i:06}.jpg" for i in range(90, 130)])
    report = json.loads(run(a, b, "--json").stdout)
    (pair,) = report["pairs"]
    assert (pair["shared_names"], pair["share_of_a"], pair["share_of_b"]) == (10, 0.1, 0.25)
    assert pair["training_meets_test"] == 10 and pair["examples"][0] == "2008_000090"


def test_names_that_come_twice_are_counted_once_and_named(tmp_path: Path) -> None:
    file = save(tmp_path / "a.txt", ["2007_000032", "2007_000039", "x/2007_000032.jpg", "2007_000039__03"])
    (one,) = open_lists([str(file)])
    assert one.repeated["2007_000032"] == ("2007_000032", "x/2007_000032.jpg")
    report = told(audit([one]))
    assert (report["lists"][0]["images"], report["within"][0]["names_twice"]) == (2, 2)
    assert "a: 2 images are named more than once (2007_000032 as 2007_000032 and x/2007_000032.jpg" in text(
        audit([one])
    )


def test_one_file_given_twice_shares_everything_under_two_names(tmp_path: Path) -> None:
    file = save(tmp_path / "a.txt", NAMES)
    first, second = open_lists([str(file), str(file)])
    assert first.name != second.name
    assert compare(first, second).found == (3, 3)
    assert compare(first, first).found == (0, 0)


def test_lists_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for place in ("voc12", "context"):
        save(tmp_path / place / "val.txt", NAMES)
    lists = open_lists([str(tmp_path / place / "val.txt") for place in ("voc12", "context")])
    assert [one.name for one in lists] == ["val (voc12)", "val (context)"]
    assert open_lists([f"mine={tmp_path / 'voc12/val.txt'}"])[0].name == "mine"


def test_the_name_given_decides_the_role(tmp_path: Path) -> None:
    file = save(tmp_path / "val.txt", NAMES)
    result = run(f"train={file}", file, "--fail-over", "0")
    assert result.exit_code == 3
    assert "3 of 3 images of val (100.0 %) are in train" in result.output


def test_bare_numbers_that_agree_are_said_to_prove_nothing(tmp_path: Path) -> None:
    rooms, coco = save(tmp_path / "nyud.txt", ["5449", "6140"]), save(tmp_path / "coco.txt", ["000000005449"])
    assert "1 of the shared names are bare numbers and no picture confirms them" in run(rooms, coco).output


def test_an_spnet_like_list_is_found_with_its_1103_test_images(tmp_path: Path, real_data: Path) -> None:
    """The sizes of SPNet's first list: 10,582 clean names and 1,103 of the test list make 11,685."""
    lists = real_data / "lists/irn-voc12"
    clean, test = ((lists / name).read_text().split() for name in ("train_aug.txt", "val.txt"))
    np.save(tmp_path / "train_list.npy", np.array(clean + test[:1103]))
    result = run(tmp_path / "train_list.npy", lists / "val.txt", "--fail-over", "0")
    assert result.exit_code == 3
    assert "1,103 of 1,449 images of val (76.1 %) are in train_list" in result.output


@pytest.mark.parametrize(
    ("a", "b", "count"),
    [
        ("context_val_5105.txt", "irn-voc12/train_aug.txt", 4116),
        ("context_val_5105.txt", "irn-voc12/val.txt", 925),
        ("context_train_4998.txt", "irn-voc12/train_aug.txt", 4936),
        ("context_train_4998.txt", "irn-voc12/val.txt", 0),
        ("context_train_4998.txt", "context_val_5105.txt", 0),
        ("irn-voc12/train_aug.txt", "irn-voc12/val.txt", 0),
        ("irn-voc12/train.txt", "irn-voc12/train_aug.txt", 1464),
        ("cocostuff/val.txt", "cocostuff/val_id.txt", 5000),
        ("cocostuff/val.txt", "cocostuff_val2017_5000.txt", 5000),
        ("cocostuff/val_id.txt", "coco-mini/annotations/instances_val2017.json", None),
        ("cocostuff10k/val.txt", "cocostuff10k/val513_id.txt", 1000),
        ("cocostuff10k/train.txt", "cocostuff10k/val_id.txt", 0),
    ],
)
def test_known_counts_of_the_official_lists(real_data: Path, a: str, b: str, count: int | None) -> None:
    one = real_data / "lists" / a
    other = real_data / b if b.startswith("coco-mini") else real_data / "lists" / b
    if count is None:  # every image of the sample is one of val2017
        count = len(json.loads(other.read_text())["images"])
    assert shared(one, other) == count


def test_few_shot_lists_name_voc_images(real_data: Path) -> None:
    """Every validation image of the fold is in VOC's val; counted here without the audit."""
    fold = real_data / "lists/lang-seg/fewshot_data/data/splits/pascal/val/fold0.txt"
    val = real_data / "lists/irn-voc12/val.txt"
    wanted = {line.split("__")[0] for line in fold.read_text().split()}
    assert shared(fold, val) == len(wanted & set(val.read_text().split())) > 300


# ---- data sets, limits, files


def test_parts_of_a_data_set_are_lists(scenes: Path) -> None:
    names = [one.name for one in open_lists([str(scenes)])]
    assert names == [f"{scenes.name}:{part}" for part in open_voc(scenes).parts]
    (val,) = open_lists([f"{scenes}:val"])
    assert len(val.first) == 60 and val.role == "test"
    with pytest.raises(UserError, match="Did you mean 'val'"):
        open_lists([f"{scenes}:vall"])


def test_a_training_list_that_meets_the_test_list_is_a_fault(tmp_path: Path, scenes: Path) -> None:
    leaky = save(tmp_path / "train.txt", [*open_voc(scenes).keys("val")[:7], "other"])
    result = run(leaky, f"{scenes}:val", "--no-hashes", "--fail-over", "6")
    assert result.exit_code == 3 and "7 of 60 images of" in result.output and "must not be scored" in result.output
    assert run(leaky, f"{scenes}:val", "--no-hashes", "--fail-over", "7").exit_code == 0
    assert run(leaky, f"{scenes}:val", "--no-hashes", "--fail-over", "11%").exit_code == 3  # 11.7 %
    assert run(leaky, f"{scenes}:val", "--no-hashes", "--fail-over", "12%").exit_code == 0
    assert run(leaky, f"{scenes}:val", "--no-hashes").exit_code == 0  # no limit: told, not failed


def test_the_files_hold_every_pair_and_no_formula(tmp_path: Path) -> None:
    names = [*NAMES, "=HYPERLINK(1)", "<script>alert(1)</script>"]
    a, b, out = save(tmp_path / "a.txt", names), save(tmp_path / "b.txt", names[1:]), tmp_path / "out"
    assert run(a, b, "--out", out).exit_code == 0
    rows = list(csv.reader((out / "pairs.csv").open(encoding="utf-8")))
    assert [row[3] for row in rows[1:]] == [*NAMES[1:], "'=HYPERLINK(1)", "<script>alert(1)</script>"]
    report = json.loads((out / "overlap.json").read_text())
    assert report["pairs"][0]["shared_names"] == 4 and report["exit"] == 0
    before = (out / "overlap.json").read_bytes()
    run(a, b, "--out", out)
    assert (out / "overlap.json").read_bytes() == before


def test_names_do_nothing_to_the_terminal(tmp_path: Path) -> None:
    file = save(tmp_path / "a.txt", ["\x1b[2Jx", "\x1b[2Jx"])
    output = run(file).output
    assert "\x1b" not in output and "\\x1b[2jx" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.txt"], "no such file or folder"),
        (["{a}:val"], "is a file and has no parts"),
        (["{a}", "--fail-over", "many"], "--fail-over 'many' is no limit; expected test images"),
        (["{a}", "--hashes"], "--hashes needs photographs"),
        (["{a}", "--images", "absent"], "--images absent: no such folder"),
        (["{empty}"], "neither a data set that zsbench knows nor a folder of images"),
        (["{empty}", "--as", "voc2021"], "Did you mean 'voc2012'"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage_is_said_in_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "empty").mkdir()
    places = {"a": save(tmp_path / "a.txt", NAMES), "empty": tmp_path / "empty"}
    result = run(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == 2 and said in result.output


def test_a_path_that_is_there_means_itself_whatever_is_in_its_name(tmp_path: Path) -> None:
    odd = save(tmp_path / "a=b:val.txt", NAMES)
    assert open_lists([str(odd)])[0].first.keys() == set(NAMES)


def test_folders_of_images_have_parts_and_leave_out_masks(tmp_path: Path) -> None:
    for place in ("images/train2017/1.jpg", "images/val2017/1.jpg", "annotations/val2017/1.png", "images/val2017/1.png",
                  "images/unlabeled2017/9.jpg"):  # fmt: skip
        file = tmp_path / "coco" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(file)
    lists: list[ImageList] = open_lists([str(tmp_path / "coco")], kind="images")
    assert {one.name: one.names for one in lists} == {
        "coco:rest": ("images/unlabeled2017/9.jpg",),
        "coco:train2017": ("images/train2017/1.jpg",),
        "coco:val2017": ("images/val2017/1.jpg",),
    }
    (alone,) = open_lists([str(tmp_path / "coco/images/val2017")])
    assert alone.role == "test"


def test_a_folder_named_like_the_class_train_is_no_training_part(tmp_path: Path) -> None:
    for place in ("bus/1.jpg", "train/2.jpg"):
        (tmp_path / "classes" / place).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "classes" / place)
    (one,) = open_lists([str(tmp_path / "classes")])
    assert one.role is None and len(one.names) == 2
