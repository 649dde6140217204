"""Files of PASCAL Context that are no archives: the Detail API's JSON, class files, image lists; told by their contents."""

from __future__ import annotations

import re
from pathlib import Path

from zsbench.data.class_file import outside, read_class_file
from zsbench.data.detail_lists import read_detail_lists
from zsbench.data.lists import read_list
from zsbench.errors import UserError
from zsbench.prepare.kinds import CONTEXT, CONTEXT_LISTS, LIST, Kind, Rule, known

DETAIL = "trainval_merged.json"
CLASS_FILES = {459: "labels.txt", 59: "59_labels.txt", 33: "33_labels.txt"}
VOC_NAME = re.compile(r"20\d\d_\d{6}")
_LARGEST = 2**32  # bytes of the Detail API's file; it has 2^29


def recognise_plain(file: Path) -> Kind:
    """What a file that is no archive is, as an archive of one member. Raises UserError with all that is known."""
    if file.suffix.lower() == ".json":
        read_detail_lists(file)
        return _alone(
            file, "PASCAL Context: the Detail API's file", "image lists and polygons", f"{CONTEXT}/{DETAIL}", _LARGEST
        )
    if file.suffix.lower() == ".txt" and file.stat().st_size <= LIST:
        names, faults = read_list(file)
        if not faults and all(VOC_NAME.fullmatch(name) for name in names):
            place = f"{CONTEXT_LISTS}/{_part(file)}.txt"
            return _alone(
                file,
                f"PASCAL Context: list of {len(names):,} image{'s' * (len(names) != 1)}",
                "image list",
                place,
                LIST,
            )
        if (name := _class_file(file)) is not None:
            return _alone(file, "PASCAL Context: class file", f"class file of {name}", f"{CONTEXT}/{name}", LIST)
    raise UserError(f"{file}: not an archive or file that is known. Known: {known()}.")


def _alone(file: Path, title: str, what: str, place: str, limit: int) -> Kind:
    rule = Rule(what, re.escape(file.name), place, limit)
    return Kind(file.name, title, ("context",), CONTEXT, (rule,))


def _part(file: Path) -> str:
    said = [part for part in ("train", "val") if part in file.stem.lower()]
    if len(said) != 1:
        raise UserError(f"{file}: a list of images, but of train or of val? Its name must say one of the two.")
    return said[0]


def _class_file(file: Path) -> str | None:
    try:
        names = read_class_file(file).names.values()
    except UserError:
        return None
    classes = [name for name in names if not outside(name)]
    return CLASS_FILES.get(len(classes)) if "aeroplane" in classes else None
