"""PASCAL Context: one hand-made truth in every layout, format and id order; each known trap has its clear error."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from context_made import (
    LISTS,
    ORDER_A,
    ORDER_B,
    PICTURES,
    H,
    W,
    encoded,
    ids_33,
    ids_459,
    named,
    order_a,
    order_b,
    save_classes,
    save_lists,
    save_mats,
    save_photos,
    save_pngs,
    truth,
    voc2010,
    wrapped_a,
    wrapped_b,
)
from PIL import Image
from scipy.io import savemat

from zsbench.cli import main
from zsbench.data.context import ContextDataset, survey
from zsbench.data.guard import GuardError, admitted, locked
from zsbench.data.opening import open_dataset
from zsbench.data.reader import Hints
from zsbench.data.universes import CONTEXT_33, CONTEXT_59, CONTEXT_59_VOC_FIRST, CONTEXT_459_IDS, UNIVERSES
from zsbench.data.view import to_split_ids
from zsbench.errors import UserError

BLIND = '''"""Blind: the same score for every name."""
from dataclasses import dataclass
import torch
from zsbench.supervision import Supervision

@dataclass(frozen=True)
class Blind:
    @property
    def supervision(self):
        return Supervision()
    def fit(self, data, job):
        return lambda images, names: torch.ones(len(images), len(names), 4, 4)
'''
A, B = Path("459-sorted"), Path("voc-first")
KEYS = list(PICTURES)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """VOC2010 with photographs and lists; a test adds label maps."""
    return voc2010(tmp_path / "VOCdevkit/VOC2010")


def opened(root: Path, classes: Path | None = None, first_id: int | None = None) -> ContextDataset:
    dataset = open_dataset(root, ["context60"], Hints(classes, first_id))
    assert isinstance(dataset, ContextDataset)
    return dataset


def fault(root: Path, classes: Path | None = None, first_id: int | None = None) -> str:
    with pytest.raises(UserError) as error:
        opened(root, classes, first_id)
    assert "\n" not in str(error.value)
    return str(error.value)


def unread(root: Path, key: str = KEYS[0], **hints: Any) -> str:
    """The sentence for a label map that cannot be read; the data set opens."""
    data = opened(root, **hints)
    with pytest.raises(UserError) as error:
        data.labels(key)
    assert "\n" not in str(error.value) and str(error.value).startswith(f"{data.masks[key]}: ")
    return str(error.value)


def right(data: ContextDataset) -> bool:
    """Every label map is the truth, class by class."""
    return all(np.array_equal(data.labels(key), truth(key)) and data.labels(key).dtype == np.uint8 for key in KEYS)


# ---- constants, against facts written elsewhere


def test_both_orders_are_those_of_the_facts() -> None:
    assert ORDER_A[1:] == list(CONTEXT_59[:9]) and ORDER_B[1:] == list(CONTEXT_59_VOC_FIRST)
    assert sorted(CONTEXT_59) == sorted(CONTEXT_59_VOC_FIRST)
    assert [CONTEXT_59.index(n) + 1 for n in ("cow", "motorbike", "sofa", "cat")] == [20, 34, 49, 15]
    assert [CONTEXT_59_VOC_FIRST.index(n) + 1 for n in ("cow", "motorbike", "sofa", "cat")] == [10, 14, 18, 8]


def test_ids_of_the_list_of_459_are_the_official_ones(real_data: Path) -> None:
    rows = (real_data / "lists/fcn/pascal-context/classes-400.txt").read_text().splitlines()
    official = {int(i): name for i, name in (row.split(": ") for row in rows)}
    assert [official[i] for i in CONTEXT_459_IDS] == list(CONTEXT_59)


# ---- one picture in every format gives equal label maps


FORMATS: dict[str, tuple[Callable[[Path], None], Path | None, int | None]] = {
    "order A, grey": (lambda masks: save_pngs(masks, order_a), A, None),
    "order A, palette": (lambda masks: save_pngs(masks, order_a, palette=True), A, None),
    "order B": (lambda masks: save_pngs(masks, order_b), B, None),
    "order B, palette": (lambda masks: save_pngs(masks, order_b, palette=True), B, 1),
    "order A, background wrapped": (lambda masks: save_pngs(masks, wrapped_a), A, 0),
    "order B, background wrapped": (lambda masks: save_pngs(masks, wrapped_b), B, 0),
    "official": (lambda masks: save_mats(masks.parent / "trainval"), None, None),
    "official, in the other folder": (save_mats, None, None),
    "CAT-Seg": (lambda masks: save_pngs(masks.parent / "annotations_detectron2/pc59_val", wrapped_a), A, 0),
}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_and_order_gives_the_same_label_maps(root: Path, format: str) -> None:
    write, classes, first_id = FORMATS[format]
    write(root / "SegmentationClassContext")
    data = opened(root, classes, first_id)
    assert right(data)
    assert data.classes == UNIVERSES["context60"] and data.serves == ("context60", "context59", "context33")


@pytest.mark.parametrize("format", FORMATS)
def test_the_histogram_is_the_truth_counted_by_hand(root: Path, format: str) -> None:
    write, classes, first_id = FORMATS[format]
    write(root / "SegmentationClassContext")
    data = opened(root, classes, first_id)
    counts = sum(np.bincount(data.labels(key).ravel(), minlength=256) for key in KEYS)
    columns = [name for key in KEYS for name in named(key)]
    assert {data.classes[i]: int(counts[i]) for i in np.flatnonzero(counts)} == {
        name: H * columns.count(name) for name in set(columns)
    }
    assert columns.count("background") == 8 and columns.count("cow") == 8


CLASS_FILES: dict[str, tuple[Callable[[str, int], int], list[str], int | None]] = {
    "60 rows with ids": (order_b, ORDER_B, 0),
    "names, background first": (order_b, ORDER_B, None),
    "59 rows with ids from 1": (order_b, ORDER_B[1:], 1),
    "59 rows with ids from 0: wrapped": (wrapped_b, ORDER_B[1:], 0),
    "59 names, settled by an id 59": (order_b, ORDER_B[1:], None),  # "wood" occurs
    "60 rows of order A": (order_a, ["background", *CONTEXT_59], 0),
    "an order of nobody's": (lambda name, _: 59 - order_a(name), ["background", *CONTEXT_59][::-1], 0),
}


@pytest.mark.parametrize("kind", CLASS_FILES)
@pytest.mark.parametrize("given", [True, False])
def test_a_class_file_tells_the_order_given_or_found(root: Path, kind: str, given: bool) -> None:
    encode, names, first = CLASS_FILES[kind]
    save_pngs(root / "SegmentationClassContext", encode)
    file = save_classes(root / ("mine.txt" if given else "classes.txt"), names, first)
    assert right(opened(root, file if given else None))


def test_the_official_spelling_of_the_list_of_59_is_understood(root: Path, real_data: Path) -> None:
    save_pngs(root / "SegmentationClassContext", order_b)
    shutil.copy(real_data / "lists/fcn/pascal-context/classes-59.txt", root)  # diningtable, clothes, bedcloth
    data = opened(root)
    assert right(data) and "ids by classes-59.txt, voc-first" in data.origin.notes


@pytest.mark.parametrize("up", [0, 1, 2])
def test_the_folder_is_found_from_above(root: Path, up: int) -> None:
    save_mats(root / "trainval")
    assert opened([root, *root.parents][up]).root == root.resolve()


def test_labels_and_photographs_of_one_image_have_one_shape(root: Path) -> None:
    save_mats(root / "trainval")
    data = opened(root)
    assert data.image(KEYS[0]).shape == (H, W, 3) and data.labels(KEYS[0]).shape == (H, W)


# ---- 60, 59 and 33 classes out of one reader


def test_one_reader_serves_60_59_and_33_classes(root: Path) -> None:
    save_mats(root / "trainval")
    data = opened(root)
    sixty, fiftynine = (
        to_split_ids(data.labels(KEYS[0]), data.classes, UNIVERSES[name]) for name in ("context60", "context59")
    )
    assert np.array_equal(sixty, truth(KEYS[0]))
    assert np.array_equal(fiftynine, truth(KEYS[0]) - np.uint8(1))  # 0 wraps to 255 = ignored
    three = to_split_ids(data.labels(KEYS[2]), data.classes, CONTEXT_33)  # table, bedclothes, cloth, background
    assert (np.unique(three[:, :10]).tolist(), np.unique(three[:, 10:]).tolist()) == (
        [CONTEXT_33.index("diningtable")],
        [255],
    )


@pytest.mark.parametrize(("first", "shift"), [(0, 0), (None, 0), (0, 1)])
def test_pngs_of_33_classes_serve_that_protocol_alone(root: Path, first: int | None, shift: int) -> None:
    save_pngs(root / "SegmentationClassContext", lambda name, _: (ids_33(name) - shift) % 256)
    save_classes(root / "33_labels.txt", ["unlabelled", *CONTEXT_33][shift:], first)
    data = open_dataset(root, ["context33"])
    assert (data.classes, data.serves) == (CONTEXT_33, ("context33",)) and data.origin.title.endswith("33 classes")
    for key in KEYS:
        expected = [(ids_33(name) - 1) % 256 for name in named(key)]
        assert data.labels(key)[0].tolist() == expected == data.labels(key)[-1].tolist()
    with pytest.raises(UserError, match="serves splits of context33; a split asked for needs context60"):
        open_dataset(root, ["context60"])


# ---- the order is never guessed


def test_pngs_without_a_class_file_name_both_orders_and_the_way_to_say_it(root: Path) -> None:
    save_pngs(root / "SegmentationClassContext", order_a)
    text = fault(root)
    for words in (
        "--classes 459-sorted",
        "--classes voc-first",
        "--classes FILE",
        "2 bag",
        "2 bicycle",
        "mmsegmentation",
        "ZS3Net",
    ):
        assert words in text


def test_the_wrong_order_changes_the_label_maps(root: Path) -> None:
    """Both orders are accepted by name: nothing in the values tells them apart, so nothing must be assumed."""
    save_pngs(root / "SegmentationClassContext", order_a)
    assert right(opened(root, A)) and not right(opened(root, B))


def test_two_class_files_that_disagree_are_refused_and_one_can_be_named(root: Path) -> None:
    save_pngs(root / "SegmentationClassContext", order_b)
    save_classes(root / "classes-59.txt", ORDER_B)
    file = save_classes(root / "classes.txt", ORDER_B[1:], 1)
    assert right(opened(root))  # two that agree, though one has no background
    save_classes(root / "classes.txt", ["background", *CONTEXT_59])
    assert "classes.txt and classes-59.txt give the ids other classes: 2 is bag in one, bicycle in the other" in fault(
        root
    )
    assert right(opened(root, root / "classes-59.txt")) and not right(opened(root, file))


def test_lists_of_the_official_archive_say_nothing_about_pngs(root: Path, real_data: Path) -> None:
    """The archive's list of 59 has VOC's classes first, whatever order the PNGs beside it were made in."""
    fcn = real_data / "lists/fcn/pascal-context"
    save_pngs(root / "SegmentationClassContext", order_a)
    shutil.copy(fcn / "classes-59.txt", root / "59_labels.txt")
    shutil.copy(fcn / "classes-400.txt", root / "labels.txt")
    assert "no class file says" in fault(root) and right(opened(root, A))


def test_a_list_with_voc_first_beside_the_detail_api_is_refused(root: Path) -> None:
    save_pngs(root / "SegmentationClassContext", order_a)
    save_classes(root / "59_labels.txt", ORDER_B)
    (root / "trainval_merged.json").write_text("{}")
    assert "59_labels.txt has VOC's classes first, but PNGs that were made of trainval_merged.json" in fault(root)
    assert right(opened(root, A))


@pytest.mark.parametrize("values", ["without id 59", "wrapped"])
def test_59_names_alone_are_refused_where_the_values_do_not_settle_it(root: Path, values: str) -> None:
    encode = wrapped_a if values == "wrapped" else lambda name, _: 0 if name == "wood" else order_a(name)
    save_pngs(root / "SegmentationClassContext", encode)
    save_classes(root / "classes.txt", CONTEXT_59, None)
    assert "whether 'aeroplane' is id 0 or id 1" in fault(root)
    assert right(opened(root, first_id=0)) == (values == "wrapped")


def save_voc_masks(folder: Path, keys: list[str]) -> None:
    """VOC's own masks of the photographs: its 20 objects, in its own ids."""
    folder.mkdir(parents=True)
    for key in keys:
        ids = [ORDER_B.index(name) if name in ORDER_B[1:21] else 0 for name in named(key)]
        image = Image.fromarray(np.tile(np.array(ids, np.uint8), (H, 1)))
        image.putpalette(np.arange(768).astype(np.uint8).tobytes())
        image.save(folder / f"{key}.png")


@pytest.mark.parametrize("place", ["VOC2010", "VOC2012"])
@pytest.mark.parametrize(
    ("encode", "right_hints"), [(order_a, (A, None)), (order_b, (B, None)), (wrapped_a, (A, 0)), (wrapped_b, (B, 0))]
)
def test_vocs_own_masks_find_a_wrong_order(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    encode: Callable[[str, int], int],
    right_hints: tuple[Path, int | None],
) -> None:
    monkeypatch.setattr("zsbench.data.context_order.ENOUGH", 500)
    save_pngs(root / "SegmentationClassContext", encode)
    save_voc_masks(root.parent / place / "SegmentationClass", KEYS[1:])
    said = right_hints[0].name + (" --first-id 0" if right_hints[1] == 0 else "")
    assert f"VOC's own masks of these photographs fit --classes {said} (100% of the pixels)." in fault(root)
    for hints in ((A, None), (B, None), (A, 0), (B, 0)):
        if hints == right_hints:
            assert right(opened(root, *hints))
        else:
            text = fault(root, *hints)
            assert (
                f"read by order {hints[0]}, the label maps contradict VOC's own masks" in text
                and f"fit --classes {said}" in text
            )


def test_a_few_pixels_of_voc_prove_nothing(root: Path) -> None:
    save_pngs(root / "SegmentationClassContext", order_a)
    save_voc_masks(root / "SegmentationClass", KEYS[3:4])
    assert opened(root, B)


# ---- traps in label maps


def test_values_that_a_class_file_does_not_name_are_a_fault_with_file_and_value(root: Path) -> None:
    save_pngs(root / "SegmentationClassContext", lambda name, _: 61 if name == "sky" else order_a(name))
    assert "label values 61, which order 459-sorted gives no class (it names 0 to 59)" in unread(root, classes=A)
    names = [name for name in ["background", *CONTEXT_59] if name != "sky"]
    file = save_classes(root / "classes.txt", names)
    assert f"{file}: no id for sky" in fault(root)


def test_background_wrapped_to_255_is_told_with_its_remedy(root: Path) -> None:
    save_pngs(root / "SegmentationClassContext", wrapped_a)
    text = unread(root, classes=A)
    assert (
        "label values 255" in text and "wrapped to 255" in text and "--first-id 0" in text and "'0: aeroplane'" in text
    )


def test_ids_that_count_from_1_are_told_where_0_is_said(root: Path) -> None:
    save_pngs(root / "SegmentationClassContext", order_a)
    text = unread(root, KEYS[1], classes=A, first_id=0)
    assert "label values 59" in text and "count from 1" in text and "--first-id 1" in text


@pytest.mark.parametrize("how", ["459 in 8 bits", "palette turned grey"])
def test_ids_of_459_in_8_bits_and_palettes_turned_grey_are_told(root: Path, how: str) -> None:
    masks = root / "SegmentationClassContext"
    if how == "459 in 8 bits":
        save_pngs(masks, lambda name, x: ids_459(name, x) % 256)
    else:
        save_pngs(masks, order_a, palette=True)
        for file in masks.iterdir():
            Image.open(file).convert("L").save(file)
    assert "take the original file" in unread(root, classes=A)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "1", "I;16"])
def test_other_picture_modes_are_no_label_map(root: Path, mode: str) -> None:
    masks = root / "SegmentationClassContext"
    save_pngs(masks, order_a, palette=True)
    file = masks / f"{KEYS[0]}.png"
    if mode == "I;16":
        Image.fromarray(encoded(KEYS[0], ids_459).astype(np.uint16)).save(file)
    else:
        Image.open(file).convert(mode).save(file)
    assert f"a mask in mode {mode}" in unread(root, classes=A)


def test_a_label_map_of_another_size_is_told_with_both(root: Path) -> None:
    save_mats(root / "trainval")
    savemat(root / f"trainval/{KEYS[0]}.mat", {"LabelMap": np.ones((W, H), np.uint16)})
    assert f"{H} × {W} pixels, but its photograph" in unread(root)


# ---- .mat files


@pytest.mark.parametrize(
    ("ids", "words"), [([0, 2], "label values 0;"), ([460, 2], "label values 460;"), ([-3, 2], "-3")]
)
def test_ids_outside_the_list_of_459_are_an_error(root: Path, ids: list[int], words: str) -> None:
    save_mats(root / "trainval")
    savemat(root / f"trainval/{KEYS[0]}.mat", {"LabelMap": np.resize(np.array(ids, np.int16), (H, W))})
    text = unread(root)
    assert words in text and "1 to 459" in text


def test_any_number_type_is_read_as_long_as_it_holds_ids(root: Path) -> None:
    save_mats(root / "trainval")
    for kind in (np.float64, np.int32, np.uint16):
        savemat(root / f"trainval/{KEYS[0]}.mat", {"LabelMap": encoded(KEYS[0], ids_459).astype(kind)})
        assert right(opened(root))
    savemat(root / f"trainval/{KEYS[0]}.mat", {"LabelMap": np.full((H, W), 2.5)})
    assert "holds fractions" in unread(root)
    savemat(root / f"trainval/{KEYS[0]}.mat", {"LabelMap": np.full((H, W), np.nan)})
    assert "holds fractions" in unread(root)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"S": np.ones((H, W))}, "holds 'S', no 'LabelMap'"),
        ({"LabelMap": np.ones((H, W, 3))}, "expected a label map"),
        ({"LabelMap": np.array([[1, "a"]], dtype=object)}, "'LabelMap' is cell"),
        ({"LabelMap": {"a": 1}}, "'LabelMap' is struct"),
        (b"", "not a label map of PASCAL Context"),
        (b"MATLAB 5.0" + bytes(300), "it has another header"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "it has another header"),
    ],
)
def test_a_mat_file_that_is_none_is_refused(root: Path, content: dict[str, Any] | bytes, words: str) -> None:
    save_mats(root / "trainval")
    file = root / f"trainval/{KEYS[0]}.mat"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        savemat(file, content)
    assert words in unread(root)


def test_a_mat_file_that_unpacks_to_gigabytes_is_not_unpacked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zsbench.data.matlab.LARGEST", 2**20)
    save_mats(root / "trainval")
    file = root / f"trainval/{KEYS[0]}.mat"
    savemat(file, {"LabelMap": np.zeros((2000, 1000), np.uint16)}, do_compression=True)
    assert file.stat().st_size < 10_000 and "unpacks to more than 1 MiB" in unread(root)


def test_random_damage_never_escapes_as_another_error(root: Path) -> None:
    save_mats(root / "trainval")
    data, generator, outcomes = opened(root), np.random.default_rng(0), set()
    file = root / f"trainval/{KEYS[0]}.mat"
    whole = file.read_bytes()
    for _ in range(200):
        broken = bytearray(whole)
        for place in generator.integers(0, len(broken), 4):
            broken[place] = generator.integers(256)
        file.write_bytes(broken[: generator.integers(1, len(broken) + 1)])
        try:
            data.labels(KEYS[0])
            outcomes.add("read")
        except UserError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_the_official_list_beside_mat_files_is_held_against_the_ids(root: Path, real_data: Path) -> None:
    save_mats(root / "trainval")
    text = (real_data / "lists/fcn/pascal-context/classes-400.txt").read_text()
    (root / "labels.txt").write_text(text)
    assert right(opened(root)) and right(opened(root, root / "labels.txt"))
    (root / "labels.txt").write_text(text.replace("98: cow", "98: horse").replace("207: horse", "207: cow"))
    assert "labels.txt: id 98 is 'horse'; the official list of 459 has 'cow' there" in fault(root)


def test_a_class_file_for_mat_files_is_refused_rather_than_passed_over(root: Path) -> None:
    save_mats(root / "trainval")
    assert "leave --classes and --first-id out" in fault(root, A)
    assert "leave --classes and --first-id out" in fault(root, None, 1)
    assert "id 2 is 'bicycle'; the official list of 459 has 'aeroplane'" in fault(
        root, save_classes(root / "c.txt", ORDER_B)
    )


def test_mat_files_go_before_pngs_unless_a_class_file_is_named(root: Path) -> None:
    save_mats(root / "trainval")
    save_pngs(root / "SegmentationClassContext", lambda name, _: 0)
    first = opened(root)
    assert right(first) and "label maps from the .mat files, PNGs not used" in first.origin.notes
    second = opened(root, A)
    assert not second.labels(KEYS[0]).any() and "label maps from PNGs, .mat files not used" in second.origin.notes
    (root / f"trainval/{KEYS[0]}.mat").unlink()  # not one for every image: then PNGs
    assert "no class file says" in fault(root)


# ---- lists and files


def test_other_places_of_lists(root: Path) -> None:
    save_mats(root / "trainval")
    shutil.rmtree(root / "ImageSets")
    assert "neither train.txt nor val.txt" in fault(root)
    save_lists(root, "context_{}_4998.txt")
    assert opened(root).parts == {part: tuple(keys) for part, keys in LISTS.items()}
    save_lists(root, "pascal_context_{}.txt")
    assert "context_train_4998.txt and pascal_context_train.txt may each be the train list" in fault(root)
    save_lists(root)
    assert opened(root).keys("val") == tuple(LISTS["val"])


def detail_json(file: Path, images: object) -> None:
    """As the Detail API writes it: `images` between other lists."""
    before, after = {"info": {"year": 2010}, "annos": [{"polygon": [1.5] * 50}] * 200}, {"annos_boundary": ["é", 1]}
    parts = [json.dumps(before, ensure_ascii=False)[1:-1], f'"images": {json.dumps(images)}', json.dumps(after)[1:-1]]
    file.write_text("{" + ", ".join(parts) + "}", encoding="utf-8")


def test_lists_from_the_detail_api(root: Path) -> None:
    save_mats(root / "trainval")
    shutil.rmtree(root / "ImageSets")
    images = [
        {"file_name": f"{key}.jpg", field: part, "image_id": 1, "parts": [{"name": 'é\\"]}'}] * number}
        for number, (key, part, field) in enumerate(
            [*((key, "train", "phase") for key in LISTS["train"]), *((key, "val", "split") for key in LISTS["val"])]
        )
    ]
    images.append({"file_name": "2010_009999.jpg", "phase": "test"})
    detail_json(root / "trainval_merged.json", images)
    data = opened(root)
    assert data.parts == {part: tuple(keys) for part, keys in LISTS.items()} and right(data)
    assert "lists from trainval_merged.json" in data.origin.notes


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([{"file_name": "../../etc/passwd", "phase": "val"}], "expected such as '2008_000002.jpg'"),
        ([{"file_name": 7, "phase": "val"}], "image 1 has file_name '7'"),
        ([{"file_name": "a.jpg"}], "phase 'None'"),
        ([{"file_name": "a.jpg", "phase": "val"}] * 2, "a is listed more than once for val"),
        ([{"file_name": "a.jpg", "phase": "test"}], "none of its images has the phase train or val"),
        ([], "none of its images"),
        ([5], "broken at byte"),
        ([{"file_name": "a.jpg", "phase": "val", "x": "y" * 2**19}], "broken at byte"),
    ],
)
def test_a_detail_file_that_is_none_is_refused(root: Path, images: object, words: str) -> None:
    save_mats(root / "trainval")
    shutil.rmtree(root / "ImageSets")
    detail_json(root / "trainval_merged.json", images)
    text = fault(root)
    assert words in text and text.startswith(str(root.resolve() / "trainval_merged.json"))


@pytest.mark.parametrize(
    "text", ["", "{}", '{"images": [', '{"images": [{"file_name": "a.j', '{"images": [' + "[" * 5000, "\x00" * 100]
)
def test_broken_detail_files(root: Path, text: str) -> None:
    save_mats(root / "trainval")
    shutil.rmtree(root / "ImageSets")
    (root / "trainval_merged.json").write_text(text)
    assert "trainval_merged.json: " in fault(root)


def test_photographs_of_voc2012_are_taken_where_voc2010_has_none(root: Path) -> None:
    save_mats(root / "trainval")
    other = root.parent / "VOC2012/JPEGImages"
    other.parent.mkdir()
    (root / "JPEGImages").rename(other)
    for at in (root, root.parent):
        data = opened(at)
        assert right(data) and data.image(KEYS[0]).shape == (H, W, 3)
        assert "photographs from VOC2012/JPEGImages beside it" in data.origin.notes
        assert other.resolve() in data.protected
    save_photos(root / "JPEGImages")
    assert not any("beside" in note for note in opened(root).origin.notes)


def test_the_archive_beside_the_devkit(root: Path) -> None:
    """pascal-context/trainval with the official lists, photographs in VOCdevkit/VOC2010."""
    archive = root.parents[1] / "pascal-context"
    save_mats(archive / "trainval")
    save_lists(archive)
    shutil.rmtree(root / "ImageSets")
    for at in (archive, archive.parent):
        assert right(opened(at)) and opened(at).root == archive.resolve()


@pytest.mark.parametrize("name", ["VOC2012", "VOC2010"])
def test_a_plain_voc_folder_is_not_context(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "VOCdevkit" / name
    save_photos(folder / "JPEGImages")
    save_lists(folder / "ImageSets/Segmentation")
    for root in (folder, tmp_path / "VOCdevkit", tmp_path):
        with pytest.raises(UserError, match=r"not a PASCAL Context folder|no such folder"):
            survey(root)
    if name == "VOC2012":
        (folder / "SegmentationClass").mkdir()
        with pytest.raises(UserError, match="masks of the train list are not there"):  # VOC's reader took it
            open_dataset(tmp_path)


def test_a_devkit_with_both_serves_each_split_and_asks_without_one(root: Path) -> None:
    save_mats(root / "trainval")
    plain = root.parent / "VOC2012"
    save_photos(plain / "JPEGImages")
    save_lists(plain / "ImageSets/Segmentation")
    save_voc_masks(plain / "SegmentationClass", KEYS)
    assert open_dataset(root.parent, ["context60"]).origin.title == "PASCAL Context"
    assert open_dataset(root.parent, ["voc2012"]).origin.title == "PASCAL VOC 2012"
    assert open_dataset(root.parent, kind="context").origin.title == "PASCAL Context"
    with pytest.raises(UserError, match=r"more than one data set \(voc2012, context\).*--as"):
        open_dataset(root.parent)


def test_overlap_names_twice_and_missing_files_are_faults(root: Path) -> None:
    save_mats(root / "trainval")
    save_lists(root / "ImageSets/SegmentationContext", train=[*LISTS["train"], LISTS["val"][0], LISTS["train"][0]])
    _, faults = survey(root)
    assert any("2008_000001: listed more than once" in text for text in faults)
    assert any("train and val lists share 1 images (2010_000005)" in text for text in faults)
    (root / f"JPEGImages/{KEYS[0]}.jpg").unlink()
    (root / f"trainval/{KEYS[1]}.mat").unlink()
    _, faults = survey(root)
    assert any("JPEGImages: 1 images of the train list are not there (2008_000001)" in text for text in faults)
    assert any("trainval: 1 label maps of the train list are not there (2008_000002)" in text for text in faults)
    shutil.rmtree(root / "trainval")
    assert "no label maps; expected VOC2010 with" in fault(root)


def test_a_list_cannot_lead_out_of_the_folder(root: Path) -> None:
    save_mats(root / "trainval")
    save_lists(root / "ImageSets/SegmentationContext", train=["../../x", *LISTS["train"]])
    assert "'../../x'" in fault(root)
    data, _ = survey(root)
    for key in ("../../x", "/etc/passwd", "absent"):
        with pytest.raises(UserError, match="no image named"):
            data.image(key)


def test_absent_lists_are_named(root: Path) -> None:
    save_mats(root / "trainval")
    (root / "ImageSets/SegmentationContext/train.txt").unlink()
    data = opened(root)
    assert not data.has("train") and data.has("val")
    with pytest.raises(UserError, match=r"train\.txt: no such list\. Put the official one \(4,998 or 4,996 names\)"):
        data.keys("train")
    with pytest.raises(UserError, match="no image list named 'trainaug'"):
        data.keys("trainaug")


# ---- origin


def test_the_fingerprint_follows_lists_format_and_order(root: Path) -> None:
    save_pngs(root / "SegmentationClassContext", order_a)
    prints = [opened(root, A).origin.fingerprint, opened(root, B).origin.fingerprint]
    save_pngs(root / "SegmentationClassContext", wrapped_a)
    prints.append(opened(root, A, 0).origin.fingerprint)
    save_mats(root / "trainval")
    prints.append(opened(root).origin.fingerprint)
    save_lists(root / "ImageSets/SegmentationContext", val=LISTS["val"][::-1])
    prints.append(opened(root).origin.fingerprint)
    assert len(set(prints)) == 5 and opened(root).origin.fingerprint == prints[-1]


NOTES = {
    "the paper's": ("train list has 4,998 images (the paper's)", "val list has 5,105 images (the paper's)"),
    "the Detail API's": (
        "train list has 4,996 images (as many as the Detail API's)",
        "val list has 5,104 images (the Detail API's, without 2010_001606)",
    ),
    "another image": (
        "train list has 4,998 images, as many as the paper's, but not the same",
        "val list has 5,105 images, as many as the paper's, but not the same",
    ),
    "another one left out": (
        "train list has 10 images (official: 4,998 or 4,996)",
        "val list has 5,104 images, as many as the Detail API's, but not the same",
    ),
}


@pytest.mark.parametrize("lists", NOTES)
def test_lists_are_told_by_their_names(tmp_path: Path, real_data: Path, lists: str) -> None:
    train = (real_data / "lists/context_train_4998.txt").read_text().split()
    val = (real_data / "lists/context_val_5105.txt").read_text().split()
    changed = {
        "the paper's": (train[::-1], val),
        "the Detail API's": (train[2:], [name for name in val if name != "2010_001606"]),
        "another image": (["2011_train", *train[1:]], [*val[1:], "2011_val"]),
        "another one left out": (train[:10], [name for name in val if name != val[7]]),
    }
    save_mats(tmp_path / "trainval")
    save_lists(tmp_path, train=changed[lists][0], val=changed[lists][1])
    data, faults = survey(tmp_path)
    assert data.origin.notes[:2] == NOTES[lists] and (data.origin.kind, data.origin.title) == ("real", "PASCAL Context")
    assert any("images of the val list are not there" in fault for fault in faults)  # a note is no fault, this is one


def test_it_pickles_and_forks(root: Path) -> None:
    save_pngs(root / "SegmentationClassContext", order_b)
    data = opened(root, B)
    assert right(pickle.loads(pickle.dumps(data)))
    with get_context("fork").Pool(1) as pool:
        assert np.array_equal(pool.apply(data.labels, (KEYS[0],)), truth(KEYS[0]))


def test_while_a_method_runs_only_the_reader_opens_its_files(root: Path) -> None:
    archive = root.parents[1] / "pascal-context"
    save_mats(archive / "trainval")
    save_lists(archive)
    save_voc_masks(root / "SegmentationClass", KEYS)
    data = opened(archive)
    files = [
        archive / f"trainval/{KEYS[0]}.mat",
        root / f"JPEGImages/{KEYS[0]}.jpg",
        root / f"SegmentationClass/{KEYS[0]}.png",
    ]
    with locked(*data.protected):
        for file in files:
            with pytest.raises(GuardError):
                file.read_bytes()
        with admitted():
            assert data.labels(KEYS[0]).any() and data.image(KEYS[0]).size


# ---- real pictures


@pytest.fixture
def sample(real_data: Path, tmp_path: Path) -> Path:
    """The four real pairs in the usual layout; their ids have VOC's classes first."""
    root = tmp_path / "VOC2010"
    for folder in ("JPEGImages", "SegmentationClassContext"):
        (root / folder).mkdir(parents=True)
    keys = sorted(file.stem for file in (real_data / "context-sample").glob("*.jpg"))
    for key in keys:
        shutil.copy(real_data / f"context-sample/{key}.jpg", root / "JPEGImages")
        shutil.copy(real_data / f"context-sample/{key}_idx60.png", root / f"SegmentationClassContext/{key}.png")
    save_lists(root, train=[], val=keys)
    (root / "train.txt").unlink()
    return root


def test_real_pictures_have_their_real_classes(sample: Path, real_data: Path) -> None:
    data = opened(sample, B)
    shown = {key: {data.classes[i] for i in np.unique(data.labels(key))} for key in data.keys("val")}
    assert shown == {
        "2008_008376": {"bird", "grass", "ground", "water", "wood"},
        "2009_000637": {"background", "motorbike", "person", "grass", "ground", "sky"},
        "2010_000682": {
            "background",
            "bus",
            "car",
            "person",
            "building",
            "grass",
            "light",
            "road",
            "sidewalk",
            "sky",
            "tree",
        },
        "2010_003321": {"table", "dog", "person", "cloth", "floor", "wall"},
    }
    for key in data.keys("val"):
        stored = np.array(Image.open(real_data / f"context-sample/{key}_idx60.png"))
        for i in np.unique(stored):
            assert {data.classes[j] for j in np.unique(data.labels(key)[stored == i])} == {ORDER_B[i]}


def test_real_pictures_are_the_same_by_word_by_fcns_file_and_rewritten(
    sample: Path, real_data: Path, tmp_path: Path
) -> None:
    by_word, by_file = opened(sample, B), opened(sample, real_data / "lists/fcn/pascal-context/classes-59.txt")
    copy = Path(shutil.copytree(sample, tmp_path / "copy"))
    maps = {key: by_word.labels(key) for key in by_word.keys("val")}
    for key, positions in maps.items():
        assert np.array_equal(by_file.labels(key), positions)
        Image.fromarray(positions - np.uint8(1)).save(copy / f"SegmentationClassContext/{key}.png")  # zsseg's form
        official = np.array([1, *CONTEXT_459_IDS], np.uint16)[positions]
        (sample / "trainval").mkdir(exist_ok=True)
        savemat(sample / f"trainval/{key}.mat", {"LabelMap": official})
    wrapped, mats = opened(copy, A, 0), opened(sample)
    assert all(np.array_equal(wrapped.labels(key), positions) for key, positions in maps.items())
    assert mats.ids.format == "mat" and all(
        np.array_equal(mats.labels(key), positions) for key, positions in maps.items()
    )


def test_vocs_real_masks_tell_the_order_of_real_pictures(sample: Path, real_data: Path) -> None:
    """Two of the four photographs have masks in the VOC sample: 97 % of their 103,109 object pixels agree, or none."""
    (sample.parent / "VOC2012").symlink_to(real_data / "voc-real-small/VOCdevkit/VOC2012")
    assert "fit --classes voc-first (97% of the pixels)" in fault(sample)
    assert "of 103,109 pixels of objects 0% have the same class" in fault(sample, A)
    assert opened(sample, B).origin.notes[-1] == "ids by order voc-first"


# ---- a run


def record(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output + result.stderr + repr(result.exception)
    path = next(line.strip() for line in result.stdout.splitlines() if line.strip().endswith("record.json"))
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


@pytest.mark.parametrize("split", ["context_k2", "context4", "context33_4"])
def test_a_method_is_scored_on_every_universe(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    """Pixels counted in the record are those of the split's classes in the truth, whichever way they are stored."""
    monkeypatch.chdir(tmp_path)
    save_mats(root / "trainval")
    Path("blind.py").write_text(BLIND)
    asked = ["run", "--method", "./blind.py", "--split", split, "--data", str(root)]
    found = record(CliRunner().invoke(main, asked))
    assert found["data"]["title"] == "PASCAL Context" and found["split"]["name"] == split
    columns = [name for key in LISTS["val"] for name in named(key)]
    if split == "context33_4":
        columns = ["diningtable" if name == "table" else name for name in columns]
    names = [*found["split"]["seen"], *found["split"]["unseen"]]
    classes = found["scores"]["all"]["classes"]
    assert set(classes) == set(names)
    pixels = {name: entry["pixels"] for name, entry in classes.items() if entry["pixels"]}
    assert pixels == {name: H * columns.count(name) for name in set(columns) if name in names}
    assert found["scores"]["unseen"]["miou"] is not None
