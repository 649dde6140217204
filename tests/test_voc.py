"""The PASCAL VOC reader and `zsbench data check`: on tiny folders written here, on real photographs where present."""

from __future__ import annotations

import json
import pickle
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from zsbench.data.check import check_folder, render
from zsbench.data.guard import GuardError, admitted, locked
from zsbench.data.voc import VocDataset, open_voc
from zsbench.errors import UserError

SHARED = Path(__file__).parents[2] / "shared/data"
REAL = SHARED / "voc-real-small"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real PASCAL VOC sample at {REAL}")
needs_lists = pytest.mark.skipif(not (SHARED / "lists").is_dir(), reason=f"no official lists at {SHARED / 'lists'}")
PALETTE = np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes()
H, W = 24, 32


def save_mask(file: Path, ids: np.ndarray) -> None:
    image = Image.fromarray(ids)
    image.putpalette(PALETTE)
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)


def save_photo(file: Path, height: int = H, width: int = W) -> None:
    pixels = np.random.default_rng(len(file.stem)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def save_list(root: Path, part: str, names: Sequence[str]) -> None:
    file = root / f"ImageSets/Segmentation/{part}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}\n" for name in names))


def mask_of(key: str) -> np.ndarray:
    """Half background, half one class; one void pixel."""
    ids = np.zeros((H, W), np.uint8)
    ids[:, W // 2 :] = 1 + int(key[-1])
    ids[0, 0] = 255
    return ids


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Three training and two validation images in the official layout."""
    root = tmp_path / "VOCdevkit/VOC2012"
    for key in ("a1", "a2", "a3", "b1", "b2"):
        save_photo(root / f"JPEGImages/{key}.jpg")
        save_mask(root / f"SegmentationClass/{key}.png", mask_of(key))
    save_list(root, "train", ["a1", "a2", "a3"])
    save_list(root, "val", ["b2", "b1"])
    return root


def fault(root: Path, **given: Path) -> str:
    with pytest.raises(UserError) as error:
        open_voc(root, **given)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- what is right


def test_labels_are_palette_indices_and_images_rgb(voc: Path) -> None:
    data = open_voc(voc)
    assert np.array_equal(data.labels("a2"), mask_of("a2")) and data.labels("a2").dtype == np.uint8
    assert data.image("a2").shape == (H, W, 3) and data.image("a2").dtype == np.uint8
    assert data.classes[:2] == ("background", "aeroplane") and len(data.classes) == 21


def test_keys_keep_the_order_of_the_file(voc: Path) -> None:
    assert open_voc(voc).keys("val") == ("b2", "b1")


@pytest.mark.parametrize("up", [0, 1, 2])
def test_the_folder_is_found_from_above(voc: Path, up: int) -> None:
    assert open_voc([voc, *voc.parents][up]).root == voc.resolve()


def test_origin_is_real_with_notes_about_unofficial_sizes(voc: Path) -> None:
    origin = open_voc(voc).origin
    assert (origin.kind, origin.title) == ("real", "PASCAL VOC 2012")
    assert "val list has 2 images (official: 1,449)" in origin.notes


def test_origin_of_drawn_scenes_comes_from_meta_json(voc: Path) -> None:
    before = open_voc(voc).origin.fingerprint
    (voc / "meta.json").write_text(json.dumps({"generator": "zsbench-scenes", "version": 1, "seed": 7}))
    origin = open_voc(voc).origin
    assert (origin.kind, origin.title, origin.notes) == ("drawn", "Drawn scenes, seed 7", ())
    (voc / "meta.json").write_text(json.dumps({"generator": "zsbench-scenes", "version": 1, "seed": 8}))
    assert len({before, origin.fingerprint, open_voc(voc).origin.fingerprint}) == 3


def test_fingerprints_follow_the_lists(voc: Path) -> None:
    before = open_voc(voc)
    save_list(voc, "val", ["b1", "b2"])
    after = open_voc(voc)
    assert before.part_sha256("val") != after.part_sha256("val")
    assert before.part_sha256("train") == after.part_sha256("train")
    assert before.origin.fingerprint != after.origin.fingerprint


def test_grey_and_cmyk_photographs_become_rgb(voc: Path) -> None:
    for key, mode in (("a1", "L"), ("a2", "CMYK")):
        Image.new(mode, (W, H)).save(voc / f"JPEGImages/{key}.jpg")
        assert open_voc(voc).image(key).shape == (H, W, 3)


def test_byte_order_mark_blank_lines_and_windows_line_ends(voc: Path) -> None:
    (voc / "ImageSets/Segmentation/train.txt").write_bytes(b"\xef\xbb\xbfa1\r\n\r\n a2 \r\na3")
    assert open_voc(voc).keys("train") == ("a1", "a2", "a3")


def test_it_pickles_and_forks(voc: Path) -> None:
    data = open_voc(voc)
    again: VocDataset = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.labels("b1"), data.labels("b1")) and again.protected == data.protected
    with get_context("fork").Pool(1) as pool:
        assert pool.apply(data.labels, ("a3",)).sum() == data.labels("a3").sum()


def test_under_the_guard_the_reader_reads_for_the_harness_only(voc: Path) -> None:
    data = open_voc(voc)
    with locked(*data.protected):
        with pytest.raises(GuardError):
            (voc / "SegmentationClass/a1.png").read_bytes()
        with pytest.raises(GuardError):
            data.labels("a1")
        with admitted():
            assert data.labels("a1").max() == 255 and data.image("a1").size


def test_masks_that_are_linked_in_are_locked_under_both_names(voc: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (voc / "SegmentationClass").rename(elsewhere)
    (voc / "SegmentationClass").symlink_to(elsewhere)
    single = tmp_path / "single.jpg"  # one file linked in, deeper than the guard looks for links
    (voc / "JPEGImages/a1.jpg").rename(single)
    (voc / "JPEGImages/a1.jpg").symlink_to(single)
    with locked(*open_voc(voc).protected):
        for file in (voc / "SegmentationClass/a1.png", elsewhere / "a1.png", voc / "JPEGImages/a1.jpg"):
            with pytest.raises(GuardError):
                file.read_bytes()


# ---- trainaug


def test_trainaug_takes_the_bordered_mask_first_then_aug(voc: Path) -> None:
    save_photo(voc / "JPEGImages/c4.jpg")
    save_mask(voc / "SegmentationClassAug/a1.png", np.zeros((H, W), np.uint8))
    save_mask(voc / "SegmentationClassAug/c4.png", mask_of("c4"))
    save_list(voc, "trainaug", ["c4", "a1"])
    data = open_voc(voc)
    assert data.has("trainaug") and data.keys("trainaug") == ("c4", "a1")
    assert np.array_equal(data.labels("c4"), mask_of("c4"))
    assert data.labels("a1")[0, 0] == 255  # VOC's own mask, not the copy in SegmentationClassAug
    assert "trainaug masks beyond SegmentationClass: 1 SegmentationClassAug" in data.origin.notes


def test_grey_ids_are_read_in_aug_but_not_among_the_official_masks(voc: Path) -> None:
    save_photo(voc / "JPEGImages/c4.jpg")
    (voc / "SegmentationClassAug").mkdir()
    Image.fromarray(mask_of("c4")).save(voc / "SegmentationClassAug/c4.png")
    save_list(voc, "train_aug", ["c4"])  # the other usual spelling of the file
    Image.fromarray(mask_of("a1")).save(voc / "SegmentationClass/a1.png")
    data = open_voc(voc)
    assert np.array_equal(data.labels("c4"), mask_of("c4"))
    with pytest.raises(UserError, match=r"a1\.png: a mask in mode L; expected a palette PNG"):
        data.labels("a1")


def save_sbd(folder: Path, train: Sequence[str], val: Sequence[str]) -> None:
    (folder / "cls").mkdir(parents=True)
    for key in {*train, *val}:
        savemat(folder / f"cls/{key}.mat", {"GTcls": {"Segmentation": mask_of(key), "Boundaries": np.zeros(3)}})
    (folder / "train.txt").write_text("\n".join(train))
    (folder / "val.txt").write_text("\n".join(val))


@pytest.mark.parametrize("place", ["SBD", "benchmark_RELEASE/dataset", "../SBD", "../benchmark_RELEASE/dataset"])
def test_sbd_is_merged_without_the_test_images(voc: Path, place: str) -> None:
    save_sbd(voc / place, train=["a1", "c4", "b1"], val=["c5", "b2"])
    for key in ("c4", "c5"):
        save_photo(voc / f"JPEGImages/{key}.jpg")
    data = open_voc(voc)
    assert data.keys("trainaug") == ("a1", "a2", "a3", "c4", "c5")
    assert np.array_equal(data.labels("c5"), mask_of("c5")) and data.masks["c5"].suffix == ".mat"
    assert data.masks["a1"].suffix == data.masks["b1"].suffix == ".png"
    assert data.protected == (voc.resolve(), (voc / place).resolve())


def test_sbd_elsewhere_and_wrong(voc: Path, tmp_path: Path) -> None:
    save_photo(voc / "JPEGImages/c4.jpg")
    save_sbd(tmp_path / "far/benchmark_RELEASE/dataset", train=["c4"], val=["b1"])
    assert "c4" in open_voc(voc, sbd=tmp_path / "far").keys("trainaug")
    (tmp_path / "far/benchmark_RELEASE/dataset/cls/c4.mat").write_bytes(b"not a matrix")
    with pytest.raises(UserError, match=r"c4\.mat: not a class mask of SBD"):
        open_voc(voc, sbd=tmp_path / "far").labels("c4")
    assert "not a folder of SBD" in fault(voc, sbd=tmp_path)


def test_an_absent_list_is_named_with_what_to_do(voc: Path) -> None:
    data = open_voc(voc)
    assert data.has("train") and not data.has("trainaug")
    with pytest.raises(UserError, match=r"trainaug\.txt: no such list\. Put SegmentationClassAug"):
        data.keys("trainaug")
    with pytest.raises(UserError, match="Did you mean 'trainaug'"):
        data.keys("trainagu")


# ---- faults found on opening


def test_missing_folder_and_foreign_folder(tmp_path: Path) -> None:
    assert "no such folder; expected VOC2012" in fault(tmp_path / "absent") and "zsbench data draw" in fault(tmp_path)
    assert "not a PASCAL VOC folder" in fault(tmp_path)


def test_lists_absent(voc: Path) -> None:
    for part in ("train", "val"):
        (voc / f"ImageSets/Segmentation/{part}.txt").unlink()
    assert "neither train.txt nor val.txt" in fault(voc)


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_list(voc: Path, text: str) -> None:
    (voc / "ImageSets/Segmentation/val.txt").write_text(text)
    assert "val.txt: the list is empty" in fault(voc)


def test_overlapping_lists_name_count_examples_and_precedent(voc: Path) -> None:
    save_list(voc, "train", ["a1", "b1", "b2"])
    said = fault(voc)
    assert "train and val share 2 images (b1, b2)" in said and "SPNet" in said


def test_trainaug_must_not_overlap_val(voc: Path) -> None:
    save_list(voc, "trainaug", ["a1", "b2"])
    assert "trainaug and val share 1 images (b2)" in fault(voc)


def test_a_name_twice(voc: Path) -> None:
    save_list(voc, "train", ["a1", "a2", "a1"])
    assert "train.txt: a1: listed more than once" in fault(voc)


@pytest.mark.parametrize("name", ["../a1", "/etc/passwd", "..\\a1", "C:a1", ".a1", "a1 1", "a\x00b", "a/../a1"])
def test_a_list_cannot_lead_out_of_the_folder(voc: Path, name: str) -> None:
    save_list(voc, "train", ["a1", name])
    said = fault(voc)
    assert "train.txt: line 2 " in said and "not an image name" in said
    with pytest.raises(UserError, match="no image named"):
        open_like(voc).image(name)


def open_like(voc: Path) -> VocDataset:
    """The same folder with its good lists."""
    save_list(voc, "train", ["a1", "a2"])
    return open_voc(voc)


def test_a_list_that_is_no_text(voc: Path) -> None:
    (voc / "ImageSets/Segmentation/val.txt").write_bytes(b"\xff\xfe\x00")
    assert "val.txt: cannot be read as a list" in fault(voc)


@pytest.mark.parametrize(("file", "said"), [("JPEGImages/b1.jpg", "1 images"), ("SegmentationClass/b1.png", "1 masks")])
def test_a_listed_file_is_missing(voc: Path, file: str, said: str) -> None:
    (voc / file).unlink()
    assert f"{said} of the val list are not there (b1)" in fault(voc)


def test_val_does_not_fall_back_on_aug_masks(voc: Path) -> None:
    save_mask(voc / "SegmentationClassAug/b1.png", mask_of("b1"))
    (voc / "SegmentationClass/b1.png").unlink()
    assert "1 masks of the val list are not there (b1)" in fault(voc)


def test_the_first_fault_counts_the_others(voc: Path) -> None:
    save_list(voc, "train", ["a1", "a1", "b1", "nowhere"])
    assert "more faults: zsbench data check" in fault(voc)


def test_meta_json_that_is_no_json(voc: Path) -> None:
    (voc / "meta.json").write_text("{")
    assert "meta.json: not readable as JSON" in fault(voc)


# ---- faults found on reading; each also by `data check`


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def make_rgb(file: Path) -> None:
    Image.open(file).convert("RGB").save(file)


def make_grey(file: Path) -> None:
    Image.open(file).convert("L").save(file)


def make_small(file: Path) -> None:
    save_mask(file, np.zeros((H, W - 1), np.uint8))


def make_alien(file: Path) -> None:
    save_mask(file, np.full((H, W), 21, np.uint8))


def make_bomb(file: Path, side: int = 50_000) -> None:
    """A PNG of less than 100 bytes that promises 50,000 × 50,000 pixels."""
    size = struct.pack(">IIBBBBB", side, side, 8, 3, 0, 0, 0)
    chunks = [b"IHDR" + size, b"PLTE" + bytes(3), b"IDAT" + zlib.compress(b""), b"IEND"]
    framed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))


def make_large(file: Path) -> None:
    """More than is read here, less than what Pillow itself warns of."""
    make_bomb(file, 8_000)


def make_text(file: Path) -> None:
    file.write_text("hello")


DAMAGE = [
    ("JPEGImages/a1.jpg", truncate, "broken or truncated"),
    ("JPEGImages/a1.jpg", make_text, "not an image; expected a JPEG or PNG file"),
    ("JPEGImages/a1.jpg", make_bomb, "promises too many pixels"),
    ("JPEGImages/a1.jpg", make_large, "8000 × 8000 pixels; at most 50,000,000"),
    ("SegmentationClass/a1.png", truncate, "broken or truncated"),
    ("SegmentationClass/a1.png", make_rgb, "a mask in mode RGB; expected a palette PNG (mode P)"),
    ("SegmentationClass/a1.png", make_grey, "a mask in mode L; expected a palette PNG (mode P)"),
    ("SegmentationClass/a1.png", make_small, "31 × 24 pixels, but its photograph"),
    ("SegmentationClass/a1.png", make_alien, "label values 21; expected 0 to 20, and 255"),
    ("SegmentationClass/a1.png", make_bomb, "promises too many pixels"),
    ("SegmentationClass/a1.png", make_text, "not an image; expected a PNG file"),
]


@pytest.mark.parametrize(("file", "damage", "said"), DAMAGE)
def test_damage_is_one_sentence_that_names_the_file(voc: Path, file: str, damage: Callable, said: str) -> None:
    damage(voc / file)
    data = open_voc(voc)  # opening looks at no pixel
    with pytest.raises(UserError) as error:
        data.image("a1") if file.endswith(".jpg") else data.labels("a1")
    assert str(error.value).startswith(f"{(voc / file).resolve()}: ") and said in str(error.value)
    verdict = check_folder(voc)
    assert len(verdict.faults) == 1 and said in verdict.faults[0]
    assert data.labels("a2").any()  # the others are still readable


def test_random_damage_never_escapes_as_another_error(voc: Path) -> None:
    generator = random.Random(0)
    data, outcomes = open_voc(voc), set()
    for file, read in (("JPEGImages/a1.jpg", data.image), ("SegmentationClass/a1.png", data.labels)):
        whole = (voc / file).read_bytes()
        for _ in range(150):
            broken = bytearray(whole)
            for _ in range(generator.randint(1, 6)):
                broken[generator.randrange(len(broken))] = generator.randrange(256)
            (voc / file).write_bytes(broken[: generator.randint(1, len(broken))])
            try:
                read("a1")
                outcomes.add("read")
            except UserError:
                outcomes.add("refused")
    assert "refused" in outcomes


# ---- data check


def test_check_counts_pixels_and_images_per_list(voc: Path) -> None:
    verdict = check_folder(voc)
    val = verdict.counts["val"]
    assert verdict.sound and verdict.read == 5
    assert val.pixels.sum() == 2 * H * W and val.pixels[-1] == 2  # one void pixel each
    assert (val.pixels[2], val.pixels[3], val.images[2], val.images[0]) == (H * W // 2, H * W // 2, 1, 2)


def test_check_collects_all_faults(voc: Path) -> None:
    truncate(voc / "JPEGImages/a1.jpg")
    make_rgb(voc / "SegmentationClass/a2.png")
    (voc / "JPEGImages/b1.jpg").unlink()
    save_list(voc, "train", ["a1", "a2", "a3", "b2", "../x"])
    text = "\n".join(check_folder(voc).faults)
    for part in ("a1.jpg: broken", "a2.png: a mask in mode RGB", "(b1)", "share 1 images (b2)", "'../x'"):
        assert part in text
    assert len(check_folder(voc).faults) == 5


def test_fast_check_reads_only_headers_of_photographs(voc: Path) -> None:
    truncate(voc / "JPEGImages/a1.jpg")
    assert check_folder(voc, fast=True).sound and not check_folder(voc).sound


def test_verdict_as_text(voc: Path) -> None:
    text = render(check_folder(voc))
    assert "verdict  sound: 5 masks and photographs read" in text and "note     val list has 2 images" in text
    row = next(line for line in text.splitlines() if line.startswith("bird"))
    assert row.split() == ["bird", "1", "16.67%", "█" * 16, "1", "25.00%", "█" * 16]
    make_alien(voc / "SegmentationClass/b1.png")
    assert "verdict  1 fault:" in render(check_folder(voc)) and "fault    " in render(check_folder(voc))
    assert "and 1 more" in render(check_folder(voc), show=0)


# ---- real data


@needs_real
def test_real_photographs_and_masks() -> None:
    data = open_voc(REAL)
    assert (len(data.keys("val")), len(data.keys("train"))) == (461, 132)
    assert data.origin.kind == "real" and any("official: 1,449" in note for note in data.origin.notes)
    key = data.keys("val")[0]
    ids = data.labels(key)
    assert ids.shape == data.image(key).shape[:2] and 255 in ids


@needs_real
def test_real_sample_is_sound_and_rich_in_animals() -> None:
    verdict = check_folder(REAL, fast=True)
    assert verdict.sound and verdict.read == 593
    images = dict(zip(verdict.classes, verdict.counts["val"].images, strict=False))
    expected = {"cat": 119, "dog": 128, "person": 95, "horse": 79, "cow": 71, "sheep": 57, "sofa": 20, "aeroplane": 1}
    assert {name: images[name] for name in expected} == expected


@needs_lists
def test_official_lists_have_no_note_and_a_swapped_one_has(tmp_path: Path) -> None:
    """Files of all 12,031 official names (empty: opening looks at names), so this also times opening the whole set."""
    official = SHARED / "lists/irn-voc12"
    names = {part: (official / f"{part}.txt").read_text().split() for part in ("train", "val", "train_aug")}
    for folder in ("JPEGImages", "SegmentationClass"):
        (tmp_path / folder).mkdir()
        for key in {*names["val"], *names["train_aug"]}:
            (tmp_path / folder / f"{key}{'.jpg' if folder == 'JPEGImages' else '.png'}").touch()
    for part in names:
        save_list(tmp_path, part, names[part])
    assert open_voc(tmp_path).origin.notes == ()
    added = next(key for key in names["train_aug"] if key not in set(names["train"]))
    save_list(tmp_path, "train", [*names["train"][1:], added])
    assert open_voc(tmp_path).origin.notes == ("train list has 1,464 images as the official one, but not the same",)
