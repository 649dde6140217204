"""`zsbench data check` on every kind of data set: ids as resolved, counts of every list, faults and doubts."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from context_made import (
    LISTS,
    ORDER_B,
    PICTURES,
    H,
    W,
    named,
    order_a,
    order_b,
    save_classes,
    save_lists,
    save_mats,
    save_pngs,
    voc2010,
    wrapped_a,
)
from PIL import Image

from zsbench.cli import main
from zsbench.data.check import Count, Verdict, check_folder, render
from zsbench.data.cocostuff_ids import EMPTY
from zsbench.data.dataset import Origin
from zsbench.data.pixels import read_mask
from zsbench.data.reader import Hints
from zsbench.data.universes import COCOSTUFF_171, CONTEXT_59, UNIVERSES
from zsbench.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return voc2010(tmp_path / "VOC2010")


def call(*args: object) -> Result:
    return CliRunner().invoke(main, ["data", "check", *map(str, args)])


def rows(text: str) -> dict[str, list[str]]:
    """Class -> the cells of its row."""
    lines = [line.split() for line in text.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if cells and cells[0] in UNIVERSES["context60"]}


# ---- Context


@pytest.mark.parametrize("format", ["order A", "order B", "mat"])
def test_counts_of_context_are_the_truth_in_every_format(root: Path, format: str) -> None:
    if format == "mat":
        save_mats(root / "trainval")
    else:
        save_pngs(root / "SegmentationClassContext", order_a if format == "order A" else order_b)
    hints = Hints(None if format == "mat" else Path("459-sorted" if format == "order A" else "voc-first"))
    verdict = check_folder(root, hints=hints)
    assert verdict.sound and verdict.read == 5 and not verdict.doubts
    for part, keys in LISTS.items():
        columns = [name for key in keys for name in named(key)]
        found = dict(zip(verdict.classes, verdict.counts[part].pixels.tolist(), strict=False))
        assert {name: n for name, n in found.items() if n} == {name: H * columns.count(name) for name in set(columns)}
        images = dict(zip(verdict.classes, verdict.counts[part].images.tolist(), strict=False))
        assert images["background"] == sum("background" in PICTURES[key] for key in keys)
        assert verdict.counts[part].pixels.sum() == len(keys) * H * W


def test_the_command_prints_kind_lists_ids_and_histogram(root: Path) -> None:
    save_pngs(root / "SegmentationClassContext", order_b)
    result = call(root, "--classes", "voc-first")
    text = result.output
    assert result.exit_code == 0 and text.startswith(f"PASCAL Context  {root.resolve()}\n")
    assert "lists    train 3, val 2" in text and "train list has 3 images (official: 4,998 or 4,996)" in text
    assert "ids      0 background, 1 aeroplane, 2 bicycle, 3 bird" in text and "52 bedclothes" in text
    assert "verdict  sound: 5 masks and photographs read" in text
    share = f"{H * 8 / (2 * H * W):.2%}"  # nothing but the cat's nine columns is wider in val
    assert rows(text)["cow"][:2] == ["1", f"{8 / 72:.2%}"] and rows(text)["dog"][2:4] != share
    assert rows(text)["wood"] == ["1", f"{4 / 72:.2%}", "█" * 5, "0", "0.00%"]
    assert max(map(len, text.splitlines())) <= 125


def test_ids_of_mat_files_are_those_of_the_list_of_459(root: Path) -> None:
    save_mats(root / "trainval")
    text = call(root, "--fast").output
    assert "ids      2 aeroplane, 9 bag, 18 bed" in text and "458 wood" in text
    assert "verdict  sound: 5 masks and photograph headers read" in text


def test_class_file_and_first_id_are_heard(root: Path, tmp_path: Path) -> None:
    save_pngs(root / "SegmentationClassContext", wrapped_a)
    file = save_classes(tmp_path / "names.txt", CONTEXT_59, None)
    refused = call(root, "--classes", file)
    assert refused.exit_code == 2 and "whether 'aeroplane' is id 0 or id 1" in refused.stderr
    heard = call(root, "--classes", file, "--first-id", 0)
    assert heard.exit_code == 0 and "255 background" in heard.output and "wrapped to 255" in heard.output
    assert call(root, "--classes", file, "--first-id", 2).exit_code == 2


def test_every_value_is_looked_at_and_every_fault_told(root: Path) -> None:
    masks = root / "SegmentationClassContext"
    save_pngs(masks, order_a)
    strange = np.full((H, W), 3, np.uint8)
    strange[5, 5] = 77
    Image.fromarray(strange).save(masks / "2008_000002.png")
    Image.fromarray(strange[1:]).save(masks / "2010_000004.png")
    (root / "JPEGImages/2010_000005.jpg").write_bytes(b"\xff\xd8broken")
    result = call(root, "--classes", "459-sorted")
    assert result.exit_code == 2 and "verdict  3 faults" in result.output
    for words in ("2008_000002.png: label values 77", "2010_000004.png: 24 × 19 pixels", "2010_000005.jpg: "):
        assert words in result.output
    assert rows(result.output)["sky"][:2] == ["1", f"{14 / 48:.2%}"]  # the others are counted


def test_absent_files_are_told_once_with_their_number(root: Path) -> None:
    save_mats(root / "trainval")
    (root / "JPEGImages/2008_000001.jpg").unlink()
    (root / "trainval/2008_000002.mat").unlink()
    verdict = check_folder(root)
    assert len(verdict.faults) == 2 and verdict.read == 3
    assert "1 images of the train list are not there" in verdict.faults[0]
    assert "1 label maps of the train list are not there" in verdict.faults[1]


def test_a_link_that_leads_nowhere_is_told_too(root: Path) -> None:
    save_mats(root / "trainval")
    photo = root / "JPEGImages/2008_000001.jpg"
    photo.unlink()
    photo.symlink_to(root / "nowhere.jpg")  # its name is there, so opening finds nothing wrong
    verdict = check_folder(root)
    expected = f"{root.resolve()}/JPEGImages/2008_000001.jpg: no such file."
    assert verdict.read == 4 and verdict.faults == (expected,)


def test_no_background_where_it_should_have_wrapped_is_a_doubt(root: Path) -> None:
    """Ids from 0 are said, but count from 1 without an id 59: every value fits, and every class is shifted by one."""
    shown = "2010_000004"  # cat, motorbike, sofa, dog
    save_lists(root / "ImageSets/SegmentationContext", train=[], val=[shown])
    (root / "ImageSets/SegmentationContext/train.txt").unlink()
    save_pngs(root / "SegmentationClassContext", order_a)
    result = call(root, "--classes", "459-sorted", "--first-id", 0)
    assert result.exit_code == 0 and "doubt    no pixel is background (255 in the files)" in result.output
    assert "doubt" not in call(root, "--classes", "459-sorted").output


def test_a_kind_can_be_named_and_a_wrong_one_is_refused(root: Path) -> None:
    save_mats(root / "trainval")
    assert call(root, "--as", "context").exit_code == 0
    assert "no kind of data named 'contex'. Did you mean 'context'" in call(root, "--as", "contex").stderr
    assert call(root, "--as", "voc2012").exit_code == 2
    assert "--image-column" in call(root, "--image-column", "image").stderr
    assert "no such folder" in call(root / "absent").stderr


def test_the_sample_of_real_pictures_is_sound(real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "VOC2010"
    for name in ("JPEGImages", "SegmentationClassContext", "ImageSets/SegmentationContext"):
        (folder / name).mkdir(parents=True)
    keys = sorted(file.stem for file in (real_data / "context-sample").glob("*.jpg"))
    for key in keys:
        (folder / f"JPEGImages/{key}.jpg").symlink_to(real_data / f"context-sample/{key}.jpg")
        (folder / f"SegmentationClassContext/{key}.png").symlink_to(real_data / f"context-sample/{key}_idx60.png")
    (folder / "ImageSets/SegmentationContext/val.txt").write_text("\n".join(keys))
    verdict = check_folder(folder, hints=Hints(real_data / "lists/fcn/pascal-context/classes-59.txt"))
    truth = [np.array(Image.open(real_data / f"context-sample/{key}_idx60.png")) for key in keys]
    expected = {ORDER_B[i]: sum(int((ids == i).sum()) for ids in truth) for i in range(60)}
    assert verdict.sound and dict(zip(verdict.classes, verdict.counts["val"].pixels, strict=False)) == expected


# ---- many classes


def many(pixels: np.ndarray) -> Verdict:
    origin = Origin("real", "COCO-Stuff 164k", "0" * 12)
    count = Count(7, pixels, (pixels > 0).astype(np.int64) * 3)
    return Verdict(
        Path("coco"),
        origin,
        COCOSTUFF_171,
        (),
        {"val": count},
        7,
        True,
        1.0,
        ("cocostuff171",),
        dict(enumerate(COCOSTUFF_171)),
    )


def test_171_classes_stay_readable_and_none_is_left_out() -> None:
    pixels = np.zeros(172, np.int64)
    pixels[:171] = np.random.default_rng(0).permutation(171) * 10  # one class never occurs
    pixels[171] = 50
    text = render(many(pixels))
    lines = text.splitlines()
    assert len(lines) < 110 and max(map(len, lines)) <= 125
    total, largest = pixels.sum(), int(pixels[:171].argmax())
    assert f"{50 / total:.2%} ignored" in text
    first = next(line for line in lines if line.startswith("  ") and "%" in line)
    assert first.split("%")[0].split() == [*COCOSTUFF_171[largest].split(), f"{pixels[largest] / total:.2%}"[:-1]]
    never = COCOSTUFF_171[int(np.flatnonzero(pixels[:171] == 0)[0])]
    assert f"  never: {never}" in text
    table = text[text.index("val: share") : text.index("  never:")]
    assert table.count("%") == 170 + 1
    assert all(f"  {name} " in table.replace("\n", " \n") for name in COCOSTUFF_171 if name != never)


def test_ids_are_not_broken_inside_a_name() -> None:
    text = render(many(np.ones(172, np.int64)))
    block = text[text.index("ids ") : text.index("\nempty")]
    for i, name in enumerate(COCOSTUFF_171):
        assert f"{i} {name}" in block
    assert all(line.startswith("         ") for line in block.splitlines()[1:])


def test_the_eleven_empty_classes_are_named_where_there_is_no_fault() -> None:
    sound = many(np.ones(172, np.int64))
    text = " ".join(render(sound).split())
    assert "none of the 11 classes that are never annotated occurs (street sign, hat, shoe" in text and len(EMPTY) == 11
    faulty = Verdict(**{**{f: getattr(sound, f) for f in sound.__dataclass_fields__}, "faults": ("x.png: id 11",)})
    assert "never annotated" not in render(faulty)


def test_bars_are_to_scale_where_no_class_is_background() -> None:
    origin, counts = (
        Origin("real", "own", "0" * 12),
        {"val": Count(1, np.array([100, 50, 25, 1]), np.ones(4, np.int64))},
    )
    text = render(Verdict(Path("own"), origin, ("road", "sky", "a very long class name"), (), counts, 1, True, 1.0))
    lines = text.splitlines()
    bars = {
        name: next(line for line in lines if line.startswith(name)).count("█")
        for name in ("road", "sky", "a very long class name", "ignored")
    }
    assert bars == {"road": 16, "sky": 8, "a very long class name": 4, "ignored": 0}
    assert len({line.index("%") for line in lines if "%" in line}) == 1  # a long name moves the columns, not its row


def test_help_is_quick_and_names_the_options() -> None:
    code = (
        "import sys; from zsbench.cli import main\n"
        "try: main(['data', 'check', '--help'])\n"
        "except SystemExit: print(sorted({'numpy', 'torch', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for option in ("--as", "--classes", "--first-id", "--fast"):
        assert option in done.stdout


# ---- words and sums


@dataclass
class Counted:
    """A data set of label maps in memory."""

    parts: dict[str, tuple[str, ...]]
    maps: dict[str, np.ndarray]
    classes: tuple[str, ...] = ("background", "cat", "dog")
    serves: tuple[str, ...] = ("own",)
    root: Path = Path("here")
    origin: Origin = field(default_factory=lambda: Origin("real", "Counted", "0" * 12))

    def image(self, key: str) -> np.ndarray:
        return np.zeros((*self.maps[key].shape, 3), np.uint8)

    def labels(self, key: str) -> np.ndarray:
        if key == "broken":
            raise UserError("broken.png: broken")
        return self.maps[key]


def test_pixels_are_summed_per_list_as_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of two lists, one that a list names twice, and one that is broken."""
    random = np.random.default_rng(0)
    maps = {name: random.choice([0, 1, 2, 255], (5, 4 + i)).astype(np.uint8) for i, name in enumerate("abcd")}
    maps["d"][:] = 1
    parts = {"train": ("a", "b", "a", "broken"), "val": ("b", "c", "d")}
    data = Counted(parts, maps | {"broken": np.zeros((2, 2), np.uint8)})
    monkeypatch.setattr("zsbench.data.check.survey", lambda *_, **__: (data, []))
    verdict = check_folder("here")
    for part, keys in parts.items():
        good = [maps[key] for key in keys if key != "broken"]
        count = verdict.counts[part]
        assert count.names == len(keys)
        assert count.pixels.tolist() == [sum(int((ids == i).sum()) for ids in good) for i in (0, 1, 2, 255)]
        assert count.images.tolist() == [sum(bool((ids == i).any()) for ids in good) for i in (0, 1, 2, 255)]
    assert verdict.faults == ("broken.png: broken",) and "verdict  1 fault: 5 masks" in render(verdict)


@pytest.mark.parametrize(
    ("modes", "words"),
    [
        (("L",), "expected a grey PNG (mode L) whose value is the class id"),
        (("P",), "expected a palette PNG (mode P) whose index is the class id"),
        (("P", "L"), "expected a palette PNG (mode P) whose index or a grey PNG (mode L) whose value is the class id"),
    ],
)
def test_what_kind_of_png_is_expected_is_said(tmp_path: Path, modes: tuple[str, ...], words: str) -> None:
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=re.escape(f"a mask in mode RGB; {words}")):
        read_mask(tmp_path / "a.png", modes)
