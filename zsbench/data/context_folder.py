"""Where things lie in a PASCAL Context folder: lists, label maps, photographs, class files, and what is missing there.

    VOC2010/JPEGImages/NAME.jpg                               where absent: those of VOC2012 beside it, which has the same
            ImageSets/SegmentationContext/{train,val}.txt     or {train,val}.txt, *context_{train,val}*.txt, trainval_merged.json
            trainval/NAME.mat                                 official, 459 labels; also in pascal-context/trainval beside
            SegmentationClassContext/NAME.png                 or annotations_detectron2/pc59_{train,val}
            classes.txt, labels.txt …                         see `context_ids.FILES`

Looks at file names and lists only; no label map is opened here. Faults are collected as sentences that name a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from zsbench.data.context_ids import FILES
from zsbench.data.detail_lists import read_detail_lists
from zsbench.data.lists import examples, read_list
from zsbench.errors import UserError

PARTS = ("train", "val")
HOMES = ("", "VOC2010", "VOCdevkit/VOC2010", "pascal-context")
LISTS, DETAIL, PHOTOS = "ImageSets/SegmentationContext", "trainval_merged.json", "JPEGImages"
MASKS = ("SegmentationClassContext", "annotations_detectron2/pc59_train", "annotations_detectron2/pc59_val")
MATS = ("trainval", "SegmentationClassContext", "../pascal-context/trainval", "../trainval")
DEVKITS = ("VOC2010", "VOCdevkit/VOC2010", "VOC2012", "VOCdevkit/VOC2012")
LAYOUT = f"VOC2010 with {PHOTOS}, {LISTS} and label maps in {MASKS[0]} (PNG) or trainval (.mat)"
Parts = dict[str, tuple[str, ...]]


class ContextFolder(NamedTuple):
    """parts: list name -> image names in file order. photos: the folder of photographs. mats, pngs: image name -> file.

    class_files: lists of class names that lie there; devkit: the VOC folder that the photographs are of.
    """

    root: Path
    parts: Parts
    photos: Path
    mats: dict[str, Path]
    pngs: dict[str, Path]
    class_files: list[Path]
    notes: list[str]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key for keys in self.parts.values() for key in keys))


def is_context(root: Path) -> bool:
    """Whether PASCAL Context lies in `root` or a usual place below it; a plain VOC folder is none."""
    return _home(root) is not None


def look(root: Path) -> tuple[ContextFolder, list[str]]:
    """What is there, and everything that is wrong with it. Raises `UserError` when nothing at all can be found."""
    home = _home(root) if root.is_dir() else None
    if home is None:
        raise UserError(f"{root}: not a PASCAL Context folder; expected {LAYOUT}.")
    parts, notes, faults = _read_parts(home)
    keys = {key for names in parts.values() for key in names}
    photos = _photos(home, keys)
    if not photos.is_relative_to(home):
        notes.append(f"photographs from {photos.parent.name}/{photos.name} beside it")
    mats, pngs = _files(home, MATS, ".mat"), _files(home, MASKS, ".png")
    class_files = [file for name in FILES for folder in _class_places(home, mats) if (file := folder / name).is_file()]
    found = ContextFolder(home, parts, photos, mats, pngs, list(dict.fromkeys(class_files)), notes)
    return found, [*faults, *_overlaps(found), *_missing_photos(found)]


def missing_masks(found: ContextFolder, masks: dict[str, Path]) -> Iterator[str]:
    """The label maps of each list that are not among those that are used."""
    for part, keys in found.parts.items():
        if lost := [key for key in keys if key not in masks]:
            where = next(iter(masks.values())).parent
            yield f"{where}: {len(lost):,} label maps of the {part} list are not there ({examples(lost)})."


def _home(root: Path) -> Path | None:
    return next((folder.resolve() for name in HOMES if _is_home(folder := root / name)), None)


def _is_home(folder: Path) -> bool:
    marks = (LISTS, DETAIL, *MASKS)
    return any((folder / mark).exists() for mark in marks) or any(_holds_mats(folder / name) for name in MATS[:2])


def _holds_mats(folder: Path) -> bool:
    return folder.is_dir() and any(file.suffix == ".mat" for file in islice(folder.iterdir(), 100))


def _read_parts(home: Path) -> tuple[Parts, list[str], list[str]]:
    """Lists, notes, faults."""
    parts, faults = Parts(), list[str]()
    for part in PARTS:
        files = _list_files(home, part)
        if len(files) > 1:
            names = " and ".join(file.name for file in files)
            faults.append(f"{home}: {names} may each be the {part} list; keep one, or name it {LISTS}/{part}.txt.")
        if files:
            parts[part], wrong = read_list(files[0])
            faults += wrong
    if not parts and (home / DETAIL).is_file():
        return *_detail_parts(home / DETAIL), faults
    if not parts:
        faults.append(f"{home / LISTS}: neither train.txt nor val.txt is there; expected the official image lists.")
    return parts, [], faults


def _detail_parts(file: Path) -> tuple[Parts, list[str]]:
    found = read_detail_lists(file)
    return {part: found[part] for part in PARTS if part in found}, [f"lists from {DETAIL}"]


def _list_files(home: Path, part: str) -> list[Path]:
    for file in (home / LISTS / f"{part}.txt", home / f"{part}.txt"):
        if file.is_file():
            return [file]
    named = re.compile(rf".*context_{part}(?![a-z]).*\.txt")  # not trainval
    return sorted(file for file in home.iterdir() if named.fullmatch(file.name) and file.is_file())


def _photos(home: Path, keys: set[str]) -> Path:
    """The first usual folder with a photograph of the lists; VOC2010's own goes before VOC2012's."""
    places = [home, *(near / name for name in DEVKITS for near in (home, home.parent, home.parent.parent))]
    for place in places:
        if keys & _stems(place / PHOTOS, ".jpg").keys():
            return (place / PHOTOS).resolve()
    return home / PHOTOS


def _files(home: Path, folders: tuple[str, ...], suffix: str) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for name in reversed(folders):  # the first folder's go before the others'
        files |= _stems((home / name).resolve(), suffix)
    return files


def _class_places(home: Path, mats: dict[str, Path]) -> list[Path]:
    beside = [next(iter(mats.values())).parent] if mats else []
    return [home, *(home / name for name in MASKS[:1]), *beside, *(folder.parent for folder in beside)]


def _overlaps(found: ContextFolder) -> Iterator[str]:
    if shared := sorted(set(found.parts.get("train", ())) & set(found.parts.get("val", ()))):
        yield (
            f"{found.root}: the train and val lists share {len(shared):,} images ({examples(shared)}): a method would be "
            "tested on what it was trained on. Take them out of the train list."
        )


def _missing_photos(found: ContextFolder) -> Iterator[str]:
    there = _stems(found.photos, ".jpg")
    for part, keys in found.parts.items():
        if lost := [key for key in keys if key not in there]:
            yield f"{found.photos}: {len(lost):,} images of the {part} list are not there ({examples(lost)})."


def _stems(folder: Path, suffix: str) -> dict[str, Path]:
    """One listing of a folder instead of ten thousand questions whether a file exists."""
    return {file.stem: file for file in folder.iterdir() if file.suffix == suffix} if folder.is_dir() else {}
