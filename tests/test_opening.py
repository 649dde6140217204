"""Which reader opens a folder: by layout, by the splits asked for, by name; and what is said where none or two would do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.io import savemat

from zsbench.cli import main
from zsbench.data.contents import sealed
from zsbench.data.guard import GuardError, locked
from zsbench.data.opening import READERS, open_dataset, refuse_other, survey
from zsbench.data.reader import Hints
from zsbench.data.voc import VocDataset
from zsbench.errors import UserError
from zsbench.split import list_splits


def test_every_published_split_has_a_reader_and_every_reader_a_name_of_its_own() -> None:
    served = {name for reader in READERS for name in reader.serves}
    assert {listed.dataset for listed in list_splits().values()} <= served
    assert len({reader.name for reader in READERS}) == len(READERS)


def test_the_help_names_every_kind_of_data() -> None:
    text = " ".join(CliRunner().invoke(main, ["run", "--help"], terminal_width=200).output.split())
    for kind in ("PASCAL VOC 2012", "PASCAL Context", "COCO-Stuff", "Hugging Face", "your own classes"):
        assert kind in text


def test_a_layout_is_enough_and_a_name_will_do(scenes: Path) -> None:
    assert open_dataset(scenes, ["voc2012"]).serves == open_dataset(str(scenes), kind="voc2012").serves == ("voc2012",)


def test_nothing_there_and_nothing_known_show_all_layouts(tmp_path: Path) -> None:
    for folder, said in ((tmp_path / "absent", "no such folder"), (tmp_path, "no data set that zsbench knows")):
        with pytest.raises(UserError, match=said) as fault:
            survey(folder)
        assert all(reader.layout in str(fault.value) for reader in READERS)
    with pytest.raises(UserError, match="absent: no such folder"):
        survey(tmp_path / "absent", kind="own")


def test_an_unknown_kind_gets_the_nearest(scenes: Path) -> None:
    with pytest.raises(UserError, match=r"no kind of data named 'voc2021'\. Did you mean 'voc2012'"):
        survey(scenes, kind="voc2021")
    with pytest.raises(UserError, match="is an address of Hugging Face data sets; leave --as own out"):
        survey("hf:me/pets", kind="own")


def test_a_folder_of_two_data_sets_is_asked_about_unless_the_splits_tell(tmp_path: Path) -> None:
    for folder in ("ImageSets/Segmentation", "images/train", "masks/train"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(UserError, match=r"holds more than one data set \(voc2012, own\); .* say --as voc2012"):
        survey(tmp_path)
    with pytest.raises(UserError, match=r"no classes\.txt"):
        survey(tmp_path, ["own"])
    _, faults = survey(tmp_path, ["voc2012"])
    assert any("neither train.txt nor val.txt" in fault for fault in faults)


def test_what_a_reader_does_not_hear_is_refused(scenes: Path) -> None:
    with pytest.raises(UserError, match=r"--mask-column: .* is read as PASCAL VOC 2012.*leave it out"):
        survey(scenes, hints=Hints(mask="label"))


def test_splits_of_two_data_sets_are_told_apart_by_name(dataset: VocDataset) -> None:
    refuse_other(dataset, {"voc2012": ["voc5", "voc_k2"]})
    with pytest.raises(UserError, match="serves voc5, voc_k2, but context4 needs context59: run the two in commands"):
        refuse_other(dataset, {"voc2012": ["voc5", "voc_k2"], "context59": ["context4"]})
    with pytest.raises(UserError, match="serves splits of voc2012; a split asked for needs context59"):
        refuse_other(dataset, ["context59"])


# What label maps hold


def picture(file: Path, array: np.ndarray, mode: str | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array, mode)
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    image.save(file)


KEYS = {"train": "2007_000001", "val": "2007_000002"}


def filled(root: Path, photos: str, lists: str, mask: Callable[[str, np.ndarray], None]) -> None:
    for number, (part, key) in enumerate(KEYS.items()):
        shot = np.random.default_rng(number).integers(0, 256, (4, 5, 3), np.uint8)
        picture(root / photos.format(part=part) / f"{key}.jpg", shot)
        mask(key, np.full((4, 5), number + 1, np.uint8))
        if lists:
            (root / lists).mkdir(parents=True, exist_ok=True)
            (root / lists / f"{part}.txt").write_text(f"{key}\n")


def voc(root: Path) -> Path:
    place = root / "SegmentationClass"
    filled(root, "JPEGImages", "ImageSets/Segmentation", lambda key, ids: picture(place / f"{key}.png", ids, "P"))
    return place / f"{KEYS['train']}.png"


def context(root: Path) -> Path:
    place = root / "trainval"
    place.mkdir(parents=True)
    filled(
        root, "JPEGImages", "ImageSets/SegmentationContext",
        lambda key, ids: savemat(place / f"{key}.mat", {"LabelMap": ids.astype(np.uint16)}),
    )  # fmt: skip
    return place / f"{KEYS['train']}.mat"


def cocostuff(root: Path) -> Path:
    place = root / "annotations"
    parts = {key: f"{part}2017" for part, key in KEYS.items()}
    filled(root, "images/{part}2017", "", lambda key, ids: picture(place / parts[key] / f"{key}.png", ids))
    return place / "train2017" / f"{KEYS['train']}.png"


def own(root: Path) -> Path:
    parts = {key: part for part, key in KEYS.items()}
    filled(root, "images/{part}", "", lambda key, ids: picture(root / "masks" / parts[key] / f"{key}.png", ids))
    (root / "classes.txt").write_text("0: background\n1: cat\n2: dog\n")
    return root / "masks/train" / f"{KEYS['train']}.png"


def change_a_pixel(file: Path) -> None:
    if file.suffix == ".mat":
        ids = np.full((4, 5), 1, np.uint16)
        ids[2, 2] = 2
        savemat(file, {"LabelMap": ids})
        return
    with Image.open(file) as image:
        image.putpixel((2, 2), 2)
        image.save(file)


@pytest.mark.parametrize("make", [voc, context, cocostuff, own])
def test_one_pixel_of_a_label_map_makes_other_data_and_a_copy_elsewhere_does_not(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    mask = make(tmp_path / "data")
    before = open_dataset(tmp_path / "data")
    shutil.copytree(tmp_path / "data", tmp_path / "else/data")
    assert open_dataset(tmp_path / "else/data").origin == before.origin
    change_a_pixel(mask)
    after = open_dataset(tmp_path / "data")
    assert after.origin.fingerprint != before.origin.fingerprint and len(after.origin.fingerprint) == 12
    assert replace(after.origin, fingerprint="") == replace(before.origin, fingerprint="")


def test_which_image_a_label_map_is_of_counts(tmp_path: Path) -> None:
    mask = cocostuff(tmp_path)
    before = open_dataset(tmp_path).origin.fingerprint
    other = tmp_path / f"annotations/val2017/{KEYS['val']}.png"
    one, two = mask.read_bytes(), other.read_bytes()
    mask.write_bytes(two)
    other.write_bytes(one)
    assert open_dataset(tmp_path).origin.fingerprint != before


def test_drawn_scenes_keep_their_fingerprint(dataset: VocDataset, scenes: Path) -> None:
    assert sealed(dataset) is dataset and open_dataset(scenes).origin == dataset.origin


def test_label_maps_are_read_while_methods_are_locked_out(tmp_path: Path) -> None:
    mask = own(tmp_path)
    data, _ = survey(tmp_path)
    with locked(tmp_path):
        assert sealed(data).origin.fingerprint != data.origin.fingerprint
        with pytest.raises(GuardError):
            mask.read_bytes()


def test_a_label_map_that_went_away_is_named(tmp_path: Path) -> None:
    mask = own(tmp_path)
    data, _ = survey(tmp_path)
    mask.unlink()
    with pytest.raises(UserError, match=f"{mask}: cannot be read"):
        sealed(data)
