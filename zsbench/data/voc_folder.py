"""Where things lie in a PASCAL VOC folder: lists, masks, SBD's masks beside it, and what is missing or wrong there.

Looks at file names and lists only; no picture is opened here. Faults are collected as sentences, each naming its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from zsbench.data.lists import examples, read_list
from zsbench.errors import UserError

PARTS = {"train": ("train.txt",), "val": ("val.txt",), "trainaug": ("trainaug.txt", "train_aug.txt")}
LISTS, PHOTOS, MASKS, MORE_MASKS = "ImageSets/Segmentation", "JPEGImages", "SegmentationClass", "SegmentationClassAug"
MENDING = {
    "train": "Put the official train.txt (1,464 names) there.",
    "val": "Put the official val.txt (1,449 names) there.",
    "trainaug": f"Put {MORE_MASKS} and trainaug.txt there, or SBD's benchmark_RELEASE beside VOC2012; or use 'train'.",
}
DRAW = "Scenes in that layout are drawn by: zsbench data draw DIR"

Parts = dict[str, tuple[str, ...]]


class VocFolder(NamedTuple):
    """parts: list name -> image names in file order. masks: image name -> the file that holds its label map."""

    root: Path
    parts: Parts
    masks: dict[str, Path]
    sbd: Path | None


def look(root: Path, sbd: Path | None = None) -> tuple[VocFolder, list[str]]:
    """What is there, and everything that is wrong with it. Raises `UserError` when nothing at all can be found."""
    folder = find_voc(root)
    sbd = _find_sbd(folder, sbd)
    parts, faults = _read_parts(folder)
    if sbd and "trainaug" not in parts and {"train", "val"} <= parts.keys():
        parts["trainaug"], more = _merge_sbd(parts, sbd)
        faults += more
    masks = _find_masks(folder, parts, sbd)
    faults += [*_overlaps(folder, parts), *_missing(folder, parts, masks)]
    return VocFolder(folder, parts, masks, sbd), faults


def find_voc(root: Path) -> Path:
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected VOC2012 with {PHOTOS}, {MASKS} and {LISTS}. {DRAW}")
    for folder in (root, root / "VOC2012", root / "VOCdevkit/VOC2012"):
        if (folder / LISTS).is_dir():
            return folder.resolve()
    raise UserError(f"{root}: not a PASCAL VOC folder, it has neither {LISTS} nor VOCdevkit/VOC2012. {DRAW}")


def _find_sbd(folder: Path, given: Path | None) -> Path | None:
    places = [given] if given else [near / "SBD" for near in _near(folder)] + list(_near(folder))
    for place in places:
        for dataset in (place, place / "dataset", place / "benchmark_RELEASE/dataset"):
            if (dataset / "cls").is_dir() and (dataset / "train.txt").is_file():
                return dataset.resolve()
    if given:
        raise UserError(f"{given}: not a folder of SBD; expected benchmark_RELEASE/dataset with cls and train.txt.")
    return None


def _near(folder: Path) -> tuple[Path, Path, Path]:
    return folder, folder.parent, folder.parent.parent


def _read_parts(folder: Path) -> tuple[Parts, list[str]]:
    parts, faults = {}, []
    for part, names in PARTS.items():
        file = next((folder / LISTS / name for name in names if (folder / LISTS / name).is_file()), None)
        if file:
            parts[part], wrong = read_list(file)
            faults += wrong
    if "train" not in parts and "val" not in parts:
        faults.append(f"{folder / LISTS}: neither train.txt nor val.txt is there; expected the official image lists.")
    return parts, faults


def _merge_sbd(parts: Parts, sbd: Path) -> tuple[tuple[str, ...], list[str]]:
    (first, wrong), (second, more) = read_list(sbd / "train.txt"), read_list(sbd / "val.txt")
    merged = dict.fromkeys([*parts["train"], *first, *second])
    tested = set(parts["val"])
    return tuple(name for name in merged if name not in tested), wrong + more


def _overlaps(folder: Path, parts: Parts) -> Iterator[str]:
    """Training images in the test list: the fault of the first list that SPNet published (1,103 of 1,449)."""
    for part in ("train", "trainaug"):
        if shared := sorted(set(parts.get(part, ())) & set(parts.get("val", ()))):
            yield (
                f"{folder / LISTS}: {part} and val share {len(shared):,} images ({examples(shared)}): a method would "
                f"be tested on what it was trained on, as with SPNet's first list. Take them out of the {part} list."
            )


def _find_masks(folder: Path, parts: Parts, sbd: Path | None) -> dict[str, Path]:
    """Image name -> mask file. Only trainaug may fall back on masks that are not VOC's own."""
    official, more = _stems(folder / MASKS, ".png"), _stems(folder / MORE_MASKS, ".png")
    mats = _stems(sbd / "cls", ".mat") if sbd else set()
    masks = {}
    strict = {*parts.get("train", ()), *parts.get("val", ())}
    for key in dict.fromkeys(key for keys in parts.values() for key in keys):
        if key in official:
            masks[key] = folder / MASKS / f"{key}.png"
        elif key not in strict and key in more:
            masks[key] = folder / MORE_MASKS / f"{key}.png"
        elif key not in strict and sbd and key in mats:
            masks[key] = sbd / "cls" / f"{key}.mat"
    return masks


def _missing(folder: Path, parts: Parts, masks: dict[str, Path]) -> Iterator[str]:
    photos = _stems(folder / PHOTOS, ".jpg")
    for part, keys in parts.items():
        if lost := [key for key in keys if key not in photos]:
            yield f"{folder / PHOTOS}: {len(lost):,} images of the {part} list are not there ({examples(lost)})."
        if lost := [key for key in keys if key not in masks]:
            where = f", nor in {MORE_MASKS} or SBD. {MENDING[part]}" if part == "trainaug" else "."
            yield f"{folder / MASKS}: {len(lost):,} masks of the {part} list are not there ({examples(lost)}){where}"


def _stems(folder: Path, suffix: str) -> set[str]:
    """One listing of a folder instead of ten thousand questions whether a file exists."""
    return {file.stem for file in folder.iterdir() if file.suffix == suffix} if folder.is_dir() else set()
