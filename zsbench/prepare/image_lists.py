"""Image lists where the archives have none: of PASCAL Context, and of COCO-Stuff 164k, whose lists are its folders.

Context's are those that the user gives, else those in `trainval_merged.json`, else the ones of VOC 2010 itself (Main), which
have the same images: 4,998 and 5,105. Through the Detail API 4,996 and 5,104 are in use; both are official.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from zsbench.atomic import write_text
from zsbench.data.cocostuff_folder import TRAIN_IDS
from zsbench.data.detail_lists import read_detail_lists
from zsbench.data.lists import read_list
from zsbench.prepare.kinds import BIG, CONTEXT, CONTEXT_LISTS, MAIN
from zsbench.prepare.plain import DETAIL

OFFICIAL_CONTEXT = {"train": (4_998, 4_996), "val": (5_105, 5_104)}
PARTS = ("train", "val")
FOLDERS = ("train2017", "val2017")


def write_context_lists(out: Path, detail_given: bool, given: Sequence[str]) -> list[str]:
    """Writes what is missing, and in lines of text what there is. given: lists that came on the command line.

    detail_given: the Detail API's file did; then its lists replace those that were written from VOC's own.
    """
    there = {part: out / CONTEXT_LISTS / f"{part}.txt" for part in PARTS}
    if not (out / CONTEXT).is_dir():
        return []
    source, names = _source(out)
    if source is not None:
        for part in PARTS:
            wanted = part in names and part not in given and (detail_given or not there[part].exists())
            if wanted and names[part] != _names(there[part]):
                write_text(there[part], "".join(f"{name}\n" for name in names[part]))
    if not any(file.exists() for file in there.values()):
        return ["PASCAL Context has no image lists yet: add trainval_merged.json, or its lists train.txt and val.txt"]
    told = [
        f"{part} {len(_names(file)):,}{_official(part, len(_names(file)))}"
        for part, file in there.items()
        if file.exists()
    ]
    return [f"{CONTEXT_LISTS}: {', '.join(told)}"]


def write_cocostuff_lists(out: Path) -> list[str]:
    """One list per folder that has photographs and label maps, of the label maps' names; a list that is there stays."""
    told = []
    for name in FOLDERS:
        photos, masks = out / BIG / "images" / name, out / BIG / "annotations" / name
        if photos.is_dir() and masks.is_dir():
            file = out / BIG / "imageLists" / f"{name}.txt"
            if not file.exists():
                stems = sorted(mask.stem for mask in masks.glob("*.png") if not mask.stem.endswith(TRAIN_IDS))
                write_text(file, "".join(f"{stem}\n" for stem in stems))
            told.append(f"{name} {len(file.read_text().split()):,}")
    return [f"{BIG}/imageLists: {', '.join(told)}"] if told else []


def _source(out: Path) -> tuple[Path | None, Mapping[str, tuple[str, ...]]]:
    if (file := out / CONTEXT / DETAIL).is_file():
        return file, read_detail_lists(file)
    lists = {part: out / MAIN / f"{part}.txt" for part in PARTS}
    if all(file.is_file() for file in lists.values()):
        return out / MAIN, {part: _names(file) for part, file in lists.items()}
    return None, {}


def _names(file: Path) -> tuple[str, ...]:
    return read_list(file)[0] if file.is_file() else ()


def _official(part: str, count: int) -> str:
    if count in OFFICIAL_CONTEXT[part]:
        return ""
    first, second = OFFICIAL_CONTEXT[part]
    return f" (official: {first:,} or {second:,})"
