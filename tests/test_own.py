"""A folder of the user's own images, label maps and classes: what is read, what it means, and every mistake in it."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from zsbench.cli import main
from zsbench.data.check import check_folder
from zsbench.data.class_file import ClassFile
from zsbench.data.dataset import IGNORED
from zsbench.data.guard import GuardError, locked
from zsbench.data.opening import open_dataset
from zsbench.data.own import open_own, survey
from zsbench.data.own_ids import OwnIds, own_ids
from zsbench.data.own_split import own_split, split_for
from zsbench.data.reader import Hints
from zsbench.data.universes import CONTEXT_59, VOC_CLASSES
from zsbench.errors import UserError
from zsbench.prompts import spoken_names
from zsbench.split import load_split

TEMPLATE = str(Path(__file__).parents[1] / "methods/_template.py")
CLASSES = ("background", "green_apple", "<script>alert(1)</script>", "=cmd()", "Käse")
UNSEEN = ("<script>alert(1)</script>", "Käse")
SIZE = (12, 16)
CAPTIONED = '''"""Captioned: learns from captions, scores by chance."""
from dataclasses import dataclass
import torch
from zsbench.supervision import Supervision

@dataclass(frozen=True)
class Captioned:
    width: int = 4
    @property
    def supervision(self):
        return Supervision(captions=True)
    def fit(self, data, job):
        data.captions.fetch([0])
        return lambda images, names: torch.rand(len(images), len(names), 4, 4)
'''


def save(array: np.ndarray, file: Path, mode: str | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(array, mode)
    if mode == "P":
        picture.putpalette([byte for i in range(256) for byte in (i, 255 - i, 7)])
    picture.save(file)
    return file


def write(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def photo(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def stripes(*ids: int) -> np.ndarray:
    """A label map with the ids as columns of equal width."""
    return np.repeat(np.resize(np.array(ids, np.uint8), SIZE[1])[None], SIZE[0], axis=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five classes with ids that have gaps; three images for training, two for scoring; one mask of each PNG kind."""
    root = tmp_path / "mydata"
    for number, (part, name, suffix) in enumerate(
        [("train", "a", "jpg"), ("train", "b", "png"), ("train", "c", "JPEG"), ("val", "d", "jpg"), ("val", "e", "png")]
    ):
        save(photo(number), root / "images" / part / f"{name}.{suffix}")
        save(stripes(0, 1, 3, 7, 9, IGNORED), root / "masks" / part / f"{name}.png", "L")
    save(stripes(9, 3), root / "masks/val/e.png", "P")
    write(root / "classes.txt", "".join(f"{i}: {name}\n" for i, name in zip((0, 1, 3, 7, 9), CLASSES, strict=True)))
    write(root / "unseen.txt", "".join(f"{name}\n" for name in UNSEEN))
    return root


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`zsbench ARGS` in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "argv", ["zsbench"])
    return lambda *args: CliRunner().invoke(main, [str(arg) for arg in args])


def faults(root: Path) -> str:
    return "\n".join(survey(root, Hints())[1])


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, f"{result.output}{result.exception!r}"
    sentence = result.stderr.splitlines()[-1]
    for word in words:
        assert word in sentence, sentence


# What is read


def test_ids_become_positions_among_the_classes_whatever_the_kind_of_png(folder: Path) -> None:
    dataset = open_own(folder)
    assert dataset.classes == CLASSES and dataset.serves == ("own",)
    assert dataset.keys("train") == ("a", "b", "c") and dataset.keys("val") == ("d", "e")
    assert np.array_equal(dataset.labels("a"), stripes(0, 1, 2, 3, 4, IGNORED))
    assert np.array_equal(dataset.labels("e"), stripes(4, 2))
    assert np.array_equal(dataset.image("b"), photo(1))


def test_lists_in_place_of_folders_give_the_same(folder: Path) -> None:
    by_folders = open_own(folder)
    labels = {key: by_folders.labels(key) for key in "abcde"}
    for kind in ("images", "masks"):
        for part in ("train", "val"):
            for file in (folder / kind / part).iterdir():
                file.rename(folder / kind / file.name)
            (folder / kind / part).rmdir()
    write(folder / "train.txt", "a\nb\nc\n")
    write(folder / "val.txt", "d\ne\n")
    by_lists = open_own(folder)
    assert by_lists.parts == by_folders.parts and by_lists.origin.fingerprint == by_folders.origin.fingerprint
    assert all(np.array_equal(by_lists.labels(key), labels[key]) for key in labels)


def test_sixteen_bits_hold_ids_above_255(folder: Path) -> None:
    write(folder / "classes.txt", "0: background\n300: cat\n65535: dog\n")
    write(folder / "unseen.txt", "dog\n")
    for file in (folder / "masks").rglob("*.png"):
        Image.fromarray(np.where(stripes(0, 1) > 0, 65535, 300).astype(np.uint16)).save(file)
    assert np.array_equal(open_own(folder).labels("a"), stripes(1, 2))


def test_it_is_found_by_its_layout_pickles_and_keeps_its_fingerprint(folder: Path) -> None:
    dataset = open_dataset(folder, ["own"])
    again = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(again.labels("a"), dataset.labels("a"))
    assert again.origin.fingerprint == open_dataset(folder).origin.fingerprint


def test_the_fingerprint_changes_with_classes_ids_lists_and_label_maps(folder: Path) -> None:
    seen = {open_dataset(folder).origin.fingerprint}
    text = (folder / "classes.txt").read_text()
    for change in (
        lambda: (
            write(folder / "classes.txt", text.replace("9: Käse", "9: Brot")) and write(folder / "unseen.txt", "Brot")
        ),
        lambda: (
            write(folder / "classes.txt", text.replace("7: =cmd()", "8: =cmd()"))
            and write(folder / "unseen.txt", "Käse")
        ),
        lambda: save(stripes(0, 1, 0, 3, 0, 0, 3), folder / "masks/val/d.png", "L"),
        lambda: [(folder / kind / "train/b.png").unlink() for kind in ("images", "masks")],
    ):
        change()
        seen.add(open_dataset(folder).origin.fingerprint)
    assert len(seen) == 5


def test_photographs_of_the_test_list_are_found_in_the_training_list_under_other_names(folder: Path) -> None:
    open_dataset(folder)
    (folder / "images/train/a.jpg").write_bytes((folder / "images/val/d.jpg").read_bytes())
    with pytest.raises(UserError, match=r"train and val share 1 images, byte for byte \(a is d\)"):
        open_dataset(folder)
    assert [fault for fault in check_folder(folder).faults if "byte for byte (a is d)" in fault]
    save(photo(99), folder / "images/train/a.jpg")
    open_dataset(folder)


def test_a_link_to_nowhere_is_a_fault_among_others(folder: Path) -> None:
    for file in (folder / "images/train/a.jpg", folder / "images/val/d.jpg"):
        file.unlink()
        file.symlink_to(folder / "nowhere.jpg")
    faults = check_folder(folder).faults
    assert all(any(name in fault for fault in faults) for name in ("a.jpg", "d.jpg"))
    assert not any("byte for byte" in fault for fault in faults)


def test_a_photograph_of_coco_is_one_under_both_of_its_names(folder: Path) -> None:
    names = {"train/a": "train/COCO_train2014_000000000042", "val/d": "val/000000000042"}
    for old, new in names.items():
        (folder / f"images/{old}.jpg").rename(folder / f"images/{new}.jpg")
        (folder / f"masks/{old}.png").rename(folder / f"masks/{new}.png")
    with pytest.raises(UserError, match=r"1 images \(COCO_train2014_000000000042 is 000000000042\): .* rename them"):
        open_dataset(folder)


def test_methods_cannot_open_the_files(folder: Path) -> None:
    dataset = open_own(folder)
    with locked(*dataset.protected), pytest.raises(GuardError):
        (folder / "masks/val/e.png").read_bytes()


@pytest.mark.parametrize("key", ["../mydata/a", "/etc/passwd", "z", ""])
def test_a_key_is_never_a_path(folder: Path, key: str) -> None:
    with pytest.raises(UserError, match="no image named"):
        open_own(folder).labels(key)


# What ids mean


def of(names: dict[int, str], is_open: bool = False, first_id: int | None = None) -> OwnIds:
    return own_ids(ClassFile(Path("classes.txt"), names, is_open), first_id, "classes.txt")


def test_unlabelled_is_background_and_void_is_no_class() -> None:
    ids = of({0: "Unlabelled", 1: "cat", 2: "void", 255: "ignore"})
    assert ids.names == ("background", "cat")
    assert ids.positions(np.array([[0, 1, 2, 255]], np.uint8), "m").tolist() == [[0, 1, 255, 255]]


def test_background_goes_before_unlabelled() -> None:
    ids = of({0: "unlabeled", 1: "background", 2: "cat"})
    assert ids.names == ("background", "cat")
    assert ids.positions(np.array([[0, 1, 2]], np.uint8), "m").tolist() == [[255, 0, 1]]


def test_names_alone_are_settled_by_the_user_and_otherwise_refused() -> None:
    names = {0: "cat", 1: "dog"}
    ids = of(names, True, 1)
    assert ids.names == ("background", "cat", "dog") and "count from 1" in ids.notes[0]
    assert ids.positions(np.array([[0, 1, 2]], np.uint8), "m").tolist() == [[0, 1, 2]]
    assert of(names, True, 0).names == ("cat", "dog")
    with pytest.raises(UserError, match="say --first-id 0 or --first-id 1"):
        of(names, True)


def test_a_stray_id_as_large_as_the_number_of_names_shifts_nothing(folder: Path) -> None:
    """Ids 0 to 3 beside three names: 3 is as well "unlabelled" as it is the last fruit."""
    write(folder / "classes.txt", "apple\npear\nfig\n")
    write(folder / "unseen.txt", "fig\n")
    for file in (folder / "masks").rglob("*.png"):
        save(stripes(0, 1, 2, 3), file, "L")
    with pytest.raises(UserError, match="does not say whether 'apple' is id 0 or id 1"):
        open_own(folder)
    assert survey(folder, Hints(first_id=1))[0].classes == ("background", "apple", "pear", "fig")


def test_all_classes_of_a_known_data_set_make_its_splits_run() -> None:
    written = [
        "unlabelled",
        "airplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "table",
    ]
    written += ["dog", "horse", "motorcycle", "person", "potted plant", "sheep", "couch", "train", "tv"]
    ids = of(dict(enumerate(written)))
    assert ids.names == VOC_CLASSES and ids.serves == ("voc2012", "own")
    assert of(dict(enumerate(CONTEXT_59))).serves == ("context59", "context60", "own")


@pytest.mark.parametrize("change", [{21: "zebra"}, {20: "television set"}])
def test_a_class_more_or_another_class_makes_another_data_set(change: dict[int, str]) -> None:
    assert of(dict(enumerate(VOC_CLASSES)) | change).serves == ("own",)


def test_255_classes_fit_and_256_do_not() -> None:
    ids = of({i: f"c{i}" for i in (*range(255), 300)} | {254: "void"})
    assert len(ids.names) == 255 and ids.positions(np.array([[300, 254]], np.uint16), "m").tolist() == [[254, 255]]
    with pytest.raises(UserError, match="256 classes; a label map here holds at most 255"):
        of({i: f"c{i}" for i in (*range(255), 300)})


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({0: "background", 255: "cat"}, "class 'cat' has the id 255, which marks ignored pixels"),
        ({0: "background", 70000: "cat"}, "id 70000 of 'cat' does not fit"),
        ({0: "background", 1: "void"}, "no class in it beside background"),
    ],
)
def test_ids_that_cannot_be_are_refused(names: dict[int, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        of(names)


# The split


def test_the_split_is_made_from_the_folder(folder: Path) -> None:
    dataset = open_own(folder)
    split = own_split(dataset)
    assert (split.name, split.dataset, split.background, split.train_policy) == ("own", "own", "ignore", "mask")
    assert split.seen == ("green_apple", "=cmd()") and split.unseen == UNSEEN
    assert "mydata" in split.title and "2 seen / 2 unseen" in split.title
    assert spoken_names(split, "real", None)[0] == "green apple"


MINE = 'title = "Mine"\nsource = "me"\ndataset = "own"\ntrain_policy = "drop"\n'


def test_a_split_file_of_own_data_is_checked_when_the_data_is_open(folder: Path, tmp_path: Path) -> None:
    seen = '["background", "Green Apple", "=cmd()"]'
    file = write(tmp_path / "mine.toml", f'{MINE}background = "seen"\nseen = {seen}\nunseen = ["Käse"]\n')
    split = split_for(str(file), open_own(folder))
    assert split.seen == ("background", "green_apple", "=cmd()") and split.unseen == ("Käse",)
    assert load_split(file).seen == ("background", "Green Apple", "=cmd()")
    write(file, f'{MINE}background = "ignore"\nseen = ["=cmd()"]\nunseen = ["Kase"]\n')
    with pytest.raises(UserError, match=r"no class of own data 'mydata' named 'Kase'\. Did you mean 'Käse'"):
        split_for(str(file), open_own(folder))
    write(file, f'{MINE}background = "ignore"\nseen = ["green_apple"]\nunseen = ["Green apple"]\n')
    with pytest.raises(UserError, match="named in two spellings"):
        split_for(str(file), open_own(folder))


def test_background_as_a_seen_class_needs_a_background(folder: Path, tmp_path: Path) -> None:
    write(folder / "classes.txt", "0: rim\n1: a\n3: b\n7: c\n9: d\n")
    write(folder / "unseen.txt", "d")
    file = write(tmp_path / "mine.toml", f'{MINE}background = "seen"\nseen = ["background", "a"]\nunseen = ["b"]\n')
    with pytest.raises(UserError, match="named 'background'"):
        split_for(str(file), open_own(folder))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Kase\n", "Did you mean 'Käse'"),
        ("zzz\n", "no class named 'zzz'. Known: green_apple"),
        ("\n", "no class in it; name at least one of green_apple"),
        ("Käse\nkäse\n", "class 'Käse' is named 2 times"),
        ("background\n", "background is no unseen class"),
        ("\n".join(CLASSES[1:]), "all 4 classes are unseen"),
    ],
)
def test_mistakes_in_unseen_txt(folder: Path, text: str, said: str) -> None:
    write(folder / "unseen.txt", text)
    assert said in faults(folder) and faults(folder).startswith(str(folder / "unseen.txt"))


# Mistakes in the folder


def lose(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda f: save(photo(9), f / "images/val/a.png") and save(stripes(0), f / "masks/val/a.png"),
         "train and val share 1 image names (a)"),
        (lambda f: save(photo(9), f / "images/train/a.png"), "images/train: a: more than one file of this name"),
        (lambda f: lose(f / "masks/val/e.png"), "masks/val: 1 label maps are not there (e)"),
        (lambda f: lose(f / "images/val/d.jpg"), "images/val: 1 images are not there (d)"),
        (lambda f: save(photo(9), f / "images/val/g h.png"), "images/val: 'g h.png': rename"),
        (lambda f: save(photo(9), f / "images/val/x.bmp"), "images/val: 'x.bmp': not read"),
        (lambda f: write(f / "val.txt", "d"), "take one away"),
        (lambda f: [lose(p) for p in [*(f / "images/val").iterdir(), *(f / "masks/val").iterdir()]],
         "images/val: no image in it"),
    ],
)  # fmt: skip
def test_mistakes_in_the_folder(folder: Path, mistake: Callable[[Path], Any], said: str) -> None:
    assert faults(folder) == ""
    mistake(folder)
    assert said in faults(folder)
    with pytest.raises(UserError):
        open_own(folder)


def test_hidden_files_and_notes_are_passed_over(folder: Path) -> None:
    for name in (".DS_Store", "notes.txt", ".thumb.png"):
        write(folder / "images/val" / name, "x")
    assert faults(folder) == ""
    assert open_dataset(folder).keys("val") == ("d", "e")


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda f: lose(f / "classes.txt"), "no classes.txt; write one line 'ID: NAME' per class"),
        (lambda f: write(f / "classes.txt", "cat\ndog\n"), "does not say whether 'cat' is id 0 or id 1"),
        (lambda f: [(f / "images" / part).rename(f / part) for part in ("train", "val")], "neither images/train"),
    ],
)
def test_what_cannot_be_opened_at_all(folder: Path, mistake: Callable[[Path], Any], said: str) -> None:
    mistake(folder)
    with pytest.raises(UserError, match=said):
        survey(folder, Hints())


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda f: save(stripes(0, 5, 6), f, "L"), "label values 5, 6 have no name in .*write '5: NAME' there"),
        (lambda f: save(stripes(0, 1)[:5], f, "L"), "16 × 5 pixels, but its photograph .* has 16 × 12"),
        (lambda f: save(np.dstack([stripes(0, 1)] * 3), f), "mode RGB holds colours, and no class ids"),
        (lambda f: write(f, "no picture"), "not an image; expected a PNG file"),
        (lambda f: f.write_bytes(f.read_bytes()[:45]), "broken or truncated"),
    ],
)
def test_mistakes_in_a_label_map(folder: Path, mistake: Callable[[Path], Any], said: str) -> None:
    file = folder / "masks/val/d.png"
    mistake(file)
    with pytest.raises(UserError, match=f"{file}: .*{said}|{file}: {said}"):
        open_own(folder).labels("d")


def test_a_folder_without_training_images_scores_and_says_so_where_they_are_needed(folder: Path) -> None:
    for kind in ("images", "masks"):
        for file in (folder / kind / "train").iterdir():
            file.unlink()
        (folder / kind / "train").rmdir()
    dataset = open_own(folder)
    assert dataset.has("val") and not dataset.has("train")
    with pytest.raises(UserError, match=r"no images for train\. Put images into images/train"):
        dataset.keys("train")


# From the command line


def test_a_run_on_own_classes_with_names_that_would_do_harm(call: Callable[..., Result], folder: Path) -> None:
    result = call("run", "-m", TEMPLATE, "--data", folder, "--split", "own", "--device", "cpu")
    assert result.exit_code == 0, result.output + result.stderr + repr(result.exception)
    assert result.stdout.splitlines()[:2] == [
        "data: own data 'mydata' (real photographs)", "own: 2 seen, 2 unseen, background ignored, 2 images",
    ]  # fmt: skip
    (file,) = Path("runs/own").rglob("record.json")
    record = json.loads(file.read_text())
    assert record["split"]["unseen"] == list(UNSEEN) and record["data"]["title"] == "own data 'mydata'"
    assert all("script" not in str(path) and "cmd" not in str(path) for path in Path("runs").rglob("*"))
    again = call("run", "-m", TEMPLATE, "--data", folder, "--split", "own", "--device", "cpu")
    assert "  cached " in again.stdout


def test_the_page_and_the_tables_of_such_a_run_are_harmless(call: Callable[..., Result], folder: Path) -> None:
    assert call("run", "-m", TEMPLATE, "--data", folder, "--split", "own", "--device", "cpu").exit_code == 0
    made = call("report", "runs")
    assert made.exit_code == 0, made.output + repr(made.exception)
    pages = [page.read_text() for page in Path().rglob("*.html")]
    assert pages and all("<script>alert(1)" not in page for page in pages)
    cells = [
        cell for table in Path().rglob("*.csv") for line in table.read_text().splitlines() for cell in line.split(",")
    ]
    assert cells and not [cell for cell in cells if cell.strip('"').startswith("=")]


def test_show_split_own(call: Callable[..., Result], folder: Path) -> None:
    shown = call("show", "split", "own", "--data", folder)
    assert shown.exit_code == 0 and "own data 'mydata', 2 seen / 2 unseen" in shown.output and "Käse" in shown.output
    refused(call("show", "split", "own"), "made from the classes.txt and unseen.txt", "--data")


def test_what_is_asked_wrongly(call: Callable[..., Result], folder: Path, scenes: Path, tmp_path: Path) -> None:
    run = ("run", "-m", TEMPLATE, "--device", "cpu")
    refused(call(*run, "--split", "own"), "splits of own need --data")
    refused(call(*run, "--split", "own", "--data", scenes), "holds Drawn scenes", "a split asked for needs own")
    refused(call(*run, "--data", folder), "own data 'mydata'", "needs voc2012")
    both = (*run, "--data", folder, "--split", "own", "--split", "voc5")
    refused(call(*both), "one command reads one data set", "serves own, but voc5 needs voc2012")
    refused(call(*run, "--split", "own", "--data", folder, "--as", "owm"), "no kind of data named 'owm'", "'own'")
    refused(call(*run, "--split", "own", "--data", folder, "--mask-column", "m"), "--mask-column", "does not use it")
    refused(call(*run, "--split", "own", "--data", folder, "--classes", "no.txt"), "no.txt: no such class file")
    refused(call(*run, "--classes", folder / "classes.txt"), "speak of data of yours")
    (folder / "unseen.txt").unlink()
    refused(call(*run, "--split", "own", "--data", folder), "unseen.txt: no such file", "--split ./mine.toml")


def test_captions_of_unknown_classes_are_not_scanned_but_said_so(call: Callable[..., Result], folder: Path) -> None:
    method = write(Path("captioned.py"), CAPTIONED)
    captions = write(Path("captions.tsv"), "image\tcaption\na.jpg\ta green apple\n")
    save(photo(0), Path("a.jpg"))
    run = ("run", "-m", method, "--data", folder, "--split", "own", "--device", "cpu", "--captions", captions)
    result = call(*run)
    assert result.exit_code == 0, result.output + result.stderr + repr(result.exception)
    assert "not scanned: no words known for" in result.stdout and "zsbench lexicon make" in result.stdout
    refused(call("leakage-scan", "--split", "own", "--captions", captions), "'own' is made from", "--data")
    mine = write(Path("mine.toml"), f'{MINE}background = "ignore"\nseen = ["=cmd()"]\nunseen = ["Käse"]\n')
    refused(call("leakage-scan", "--split", mine, "--captions", captions), "no words are known", "zsbench lexicon make")
