"""Columns of a table of images: which holds the photographs, which the label maps, and which names the classes.

Columns are found by type and usual name; where more than one would do, none is guessed. Names of classes that stand in
the table's features (`ClassLabel`) are believed only where the labels of some rows occur in these rows' label maps:
the names of another column's labels, or ids that are shifted by one, would give plausible numbers of the wrong classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zsbench.data.class_file import LONGEST, ClassFile, outside, plain
from zsbench.data.own_ids import with_background
from zsbench.data.reader import Hints
from zsbench.errors import UserError, unknown

IMAGES = ("image", "images", "img", "photo", "picture", "pixel_values", "jpg", "jpeg")
MASKS = (
    "mask", "masks", "segmentation_mask", "semantic_mask", "label_map", "labelmap", "label", "labels", "annotation",
    "annotations", "segmentation", "semantic_segmentation", "semantic_seg", "seg", "seg_map", "gt", "ground_truth", "target",
)  # fmt: skip
NAMES = ("file_name", "filename", "image_file", "image_name", "name", "key", "image_id", "id")
FITS, FAILS = 0.9, 0.5  # share of rows whose labels occur in their label maps


def picture_columns(features: Mapping[str, Any], hints: Hints, where: str) -> tuple[str, str]:
    """Names of the columns of photographs and of label maps. Raises UserError where they cannot be told."""
    for name, option in ((hints.image, "--image-column"), (hints.mask, "--mask-column")):
        if name is not None and name not in features:
            raise UserError(f"{where}: {option}: {unknown('column', name, features)}")
    held = [name for name, feature in features.items() if _holds_pictures(feature)]
    mask = hints.mask or _only([n for n in held if n.lower() in MASKS and n != hints.image], "mask", where, held)
    image = hints.image or _image([name for name in held if name != mask], where)
    if image == mask:
        raise UserError(f"{where}: the column '{image}' cannot hold both the photographs and the label maps")
    return image, mask


def _holds_pictures(feature: Any) -> bool:
    """Image columns, and what they are without their type: bytes, or a struct of bytes and path."""
    import datasets

    if isinstance(feature, dict):
        return {"bytes", "path"} <= feature.keys()
    binary = isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary")
    return binary or isinstance(feature, datasets.Image)


def _image(held: Sequence[str], where: str) -> str:
    usual = [name for name in held if name.lower() in IMAGES]
    return _only(usual or list(held), "image", where, held)


def _only(found: Sequence[str], kind: str, where: str, held: Sequence[str]) -> str:
    if len(found) == 1:
        return found[0]
    what = "photographs" if kind == "image" else "label maps"
    listed = f"columns of pictures: {', '.join(held)}" if held else "no column holds pictures"
    told = f"columns {', '.join(found)} could all hold the {what}" if found else f"no column of {what} ({listed})"
    raise UserError(f"{where}: {told}; name it with --{kind}-column NAME")


def names_in(features: Mapping[str, Any], where: str) -> tuple[str, tuple[str, ...]]:
    """The column whose type names classes, and the names. Raises UserError where none does, or more than one."""
    found = {column: names for column, feature in features.items() for names in _names(feature)}
    if len(set(found.values())) == 1:
        column, names = next(iter(found.items()))
        _refuse_names(names, f"{where}, column {column}")
        return column, names
    told = f"columns {', '.join(found)} name different classes" if found else "nothing in it names the classes"
    raise UserError(
        f"{where}: {told}; say which id of its label maps is which class in a file with lines such as '0: background': "
        "--classes FILE"
    )


def _refuse_names(names: Sequence[str], where: str) -> None:
    """The same of names in a table as of those in a class file."""
    if wrong := [name for name in names if not plain(name) or not name.isprintable() or len(name) > LONGEST]:
        raise UserError(f"{where}: {wrong[0][:60]!r} is no class name; say which id is which class: --classes FILE")
    if len({plain(name) for name in names}) < len(names):
        raise UserError(f"{where}: two ids have one class name; say which id is which class: --classes FILE")


def _names(feature: Any) -> Iterator[tuple[str, ...]]:
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        yield tuple(feature.names)
    for inner in feature.values() if isinstance(feature, dict) else feature if isinstance(feature, list) else ():
        yield from _names(inner)
    if hasattr(feature, "feature"):  # a sequence
        yield from _names(feature.feature)


def labels_in(feature: Any, cell: Any) -> set[int]:
    """The class labels in a cell of this type, however deep; labels below 0 say that there is none."""
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        return {cell} if isinstance(cell, int) and cell >= 0 else set()
    if isinstance(feature, dict) and isinstance(cell, dict):
        return {label for name, inner in feature.items() for label in labels_in(inner, cell.get(name))}
    inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
    if isinstance(inner, dict) and isinstance(cell, dict):  # datasets turns a list of structs into a struct of lists
        cell = [{name: value} for name, values in cell.items() for value in values or ()]
    return {label for part in cell for label in labels_in(inner, part)} if isinstance(cell, list) and inner else set()


def class_file_of(
    names: Sequence[str], column: str, where: str, rows: Iterable[tuple[set[int], np.ndarray]]
) -> ClassFile:
    """The names as a class file, with the ids that rows (labels of a row, its label map) prove them to have.

    Raises UserError where the labels are not in the label maps at all. Where no row has labels, nothing is proven.
    """
    place, is_open = Path(f"{where}, column {column}"), not outside(names[0])
    fits = _fits(names, list(rows), (0, 1) if is_open else (0,))
    if fits and max(fits.values()) < FAILS:
        raise UserError(
            f"{where}: the names of column '{column}' do not fit the ids in the label maps: labels of a row are not found in "
            "its label map. Say which id is which class: --classes FILE"
        )
    if fits and is_open and max(fits.values()) >= FITS and min(fits.values()) < FAILS:
        first = max(fits, key=lambda shift: fits[shift])
        return ClassFile(place, with_background({i + first: name for i, name in enumerate(names)}))
    return ClassFile(place, dict(enumerate(names)), open=is_open)


def _fits(names: Sequence[str], rows: Sequence[tuple[set[int], np.ndarray]], shifts: Sequence[int]) -> dict[int, float]:
    """Shift of the ids -> share of rows whose labels, but for background, are all in the label map."""
    area = {i for i, name in enumerate(names) if outside(name)}
    told = [(labels - area, set(np.unique(mask).tolist())) for labels, mask in rows if labels - area]
    if not told:
        return {}
    return {shift: float(np.mean([{i + shift for i in ls} <= ids for ls, ids in told])) for shift in shifts}
