"""PASCAL Context from a local folder: 459-label .mat files or PNGs in either order, one reader for 60, 59 and 33 classes.

Label maps come out as positions in ("background", *CONTEXT_59) whatever the files' ids were; a split that does not name
a class, or background, ignores it (`view.to_split_ids`). Only PNGs of the 33 classes serve that protocol alone.

Where both formats are there, .mat files are read if every listed image has one, because their ids are not in question;
a class file that the user names speaks of PNGs, and then those are read. Places: `context_folder.py`; ids and orders:
`context_ids.py`. A class order that PNGs are read in is held against VOC's own masks of the same photographs, where
those lie beside them. Everything else that can be known without decoding a picture is verified on opening.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zsbench.data.class_file import read_class_file
from zsbench.data.context_folder import DETAIL, LAYOUT, LISTS, PARTS, ContextFolder, is_context, look, missing_masks
from zsbench.data.context_ids import HOW, ORDERS, Ids, is_list_of_459, official_ids, order_word, png_ids
from zsbench.data.context_order import VocMasks, evenly
from zsbench.data.dataset import Origin
from zsbench.data.lists import list_sha256
from zsbench.data.matlab import open_mat
from zsbench.data.pixels import photo_shape, read_mask, read_photo, refuse_other_size
from zsbench.data.reader import Hints, Reader
from zsbench.errors import UserError, unknown

# The lists in use: images, hash of the sorted names (None: not known here), whose they are.
OFFICIAL = {
    "train": (
        (4998, "b5a02b12bee56b778f11e946fee00d5cca77c2f87bc286133bfdda3fbbff8890", "the paper's"),
        (4996, None, "as many as the Detail API's"),
    ),
    "val": (
        (5105, "f75bb12b33519c7fc435dd52153a9a6e08d3aab457c61a9ebe03291381eaf427", "the paper's"),
        (5104, "b9924d222e8429efb4c8677e5ab5f84ad1374ecbff34980afa7f121bcf42b891", "the Detail API's, without 2010_001606"),
    ),
}  # fmt: skip
LOOKED_AT = 200  # label maps that are opened to settle from where ids are counted; half a second


@dataclass(eq=False)
class ContextDataset:
    """Images and label maps of one folder, by image name. Plain data: it pickles and forks.

    parts: list name -> image names in file order. masks: image name -> the file that holds its label map.
    """

    root: Path
    parts: dict[str, tuple[str, ...]]
    photos: Path
    masks: dict[str, Path]
    ids: Ids
    origin: Origin
    protected: tuple[Path, ...]
    classes: tuple[str, ...] = field(init=False)
    serves: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.classes, self.serves = self.ids.classes, self.ids.serves

    @property
    def stored(self) -> dict[int, str]:
        """Id in the files -> class, as resolved; `zsbench data check` prints it."""
        return self.ids.stored

    def has(self, part: str) -> bool:
        return part in self.parts

    def keys(self, part: str) -> Sequence[str]:
        """Image names of a list ("train", "val"), in file order."""
        if part not in PARTS:
            raise unknown("image list", part, PARTS)
        if part not in self.parts:
            counts = " or ".join(f"{count:,}" for count, _, _ in OFFICIAL[part])
            raise UserError(
                f"{self.root / LISTS / part}.txt: no such list. Put the official one ({counts} names) there."
            )
        return self.parts[part]

    def part_sha256(self, part: str) -> str:
        """Hash of a list in its order."""
        return list_sha256(self.keys(part))

    def image(self, key: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        return read_photo(self.photo(key))

    def labels(self, key: str) -> np.ndarray:
        """(H, W) uint8 positions in `classes`; 255 = ignored. Checked against the photograph's size and the known ids."""
        photo, mask = self.photo(key), self.masks[key]
        ids = read_ids(mask)
        refuse_other_size(mask, ids, photo, photo_shape(photo))
        return self.ids.resolve(mask, ids)

    def photo(self, key: str) -> Path:
        """The photograph's file."""
        if key not in self.masks:  # also keeps "../x" from becoming a path
            raise UserError(f"{self.root}: no image named {key[:80]!r} in any of its lists.")
        return self.photos / f"{key}.jpg"


def read_ids(mask: Path) -> np.ndarray:
    """(H, W) ids as stored: `LabelMap` of a .mat file, or palette indices or grey values of a PNG."""
    if mask.suffix == ".mat":
        what = "a label map of PASCAL Context, a MATLAB file with ids 1 to 459 in 'LabelMap'"
        return open_mat(mask, what).label_map("LabelMap")
    return read_mask(mask, ("P", "L"))


def survey(root: Path, hints: Hints | None = None) -> tuple[ContextDataset, list[str]]:
    """The data set as far as it is there, and all its faults as far as file names and lists tell."""
    hints = hints or Hints()
    found, faults = look(root)
    voc = VocMasks.near(found.root, found.photos)
    masks, notes = _chosen(found, hints)
    ids = _resolved(found, hints, masks, voc)
    used = {key: masks[key] for key in found.keys if key in masks}
    faults += [*missing_masks(found, masks), *voc.contradiction(ids, used, read_ids)]
    notes = [*_list_notes(found), *found.notes, *notes, f"ids by {ids.told}{_counted(ids)}"]
    origin = Origin("real", _title(ids), _fingerprint(found, ids), tuple(notes))
    return ContextDataset(found.root, found.parts, found.photos, used, ids, origin, _protected(found, voc)), faults


READER = Reader(
    "context", "PASCAL Context", ("context60", "context59", "context33"), LAYOUT, is_context, survey,
)  # fmt: skip


def _chosen(found: ContextFolder, hints: Hints) -> tuple[dict[str, Path], list[str]]:
    """The label maps that are read, and what is to be said where there are two kinds."""
    mats, pngs, keys = found.mats, found.pngs, found.keys
    told = hints.classes is not None or hints.first_id is not None
    if not mats and not pngs:
        raise UserError(f"{found.root}: no label maps; expected {LAYOUT}.")
    if mats and not pngs:
        return mats, []
    if mats and not told and all(key in mats for key in keys):
        return mats, ["label maps from the .mat files, PNGs not used"]
    return pngs, ["label maps from PNGs, .mat files not used"] if mats else []


def _resolved(found: ContextFolder, hints: Hints, masks: dict[str, Path], voc: VocMasks) -> Ids:
    if next(iter(masks.values())).suffix == ".mat":
        return _of_mats(found, hints)
    files = _of_pngs(found.class_files)
    try:
        if hints.classes is None and not files:
            folder = next(iter(masks.values())).parent
            raise UserError(
                f"{folder}: no class file says which id means which class, and two orders are usual: {HOW}."
            )
        ids = png_ids(hints.classes, hints.first_id, files, lambda _: _values(found, masks))
    except UserError as fault:
        raise UserError(f"{fault}{'' if hints.classes else voc.fitting(masks, read_ids)}") from None
    if hints.classes is None and (found.root / DETAIL).is_file() and order_word(ids) == "voc-first":
        raise UserError(
            f"{found.root}: {ids.told} has VOC's classes first, but PNGs that were made of {DETAIL}, which lies there, are in "
            f"the other order; {HOW}."
        )
    return ids


def _of_mats(found: ContextFolder, hints: Hints) -> Ids:
    """Official ids, held against the list of 459 that is named or lies there."""
    if hints.first_id is not None or str(hints.classes) in ORDERS:
        raise UserError(
            f"{found.root}: its label maps are official .mat files with ids of the list of 459, which need no class file; "
            "leave --classes and --first-id out."
        )
    lists = [hints.classes] if hints.classes else _lists_of_459(found.class_files)
    return official_ids(lists[0] if lists else None)


def _lists_of_459(files: Sequence[Path]) -> list[Path]:
    return [file for file in files if file.name == "labels.txt" and is_list_of_459(read_class_file(file))]


def _of_pngs(files: Sequence[Path]) -> list[Path]:
    """Without the lists of the official archive: beside its list of 459, those of 59 and 33 speak of no PNG either."""
    archive = {file.parent for file in _lists_of_459(files)}
    return [file for file in files if file.parent not in archive and not is_list_of_459(read_class_file(file))]


def _values(found: ContextFolder, masks: dict[str, Path]) -> Collection[int]:
    """Ids in label maps from all over the lists."""
    seen: set[int] = set()
    for key in evenly([key for key in found.keys if key in masks], LOOKED_AT):
        try:
            seen |= set(np.unique(read_ids(masks[key])).tolist())
        except UserError:
            continue  # `labels` and `zsbench data check` name it
    return seen


def _title(ids: Ids) -> str:
    return "PASCAL Context" if "background" in ids.classes else "PASCAL Context, 33 classes"


def _counted(ids: Ids) -> str:
    if ids.format == "mat":
        return ", every other id is background"
    word = order_word(ids)
    facts = (word if word not in ids.told else "", "background wrapped to 255" if ids.wrapped else "")
    return "".join(f", {fact}" for fact in facts if fact)


def _fingerprint(found: ContextFolder, ids: Ids) -> str:
    facts = [{part: list_sha256(keys) for part, keys in found.parts.items()}, ids.format, ids.stored]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _list_notes(found: ContextFolder) -> Iterator[str]:
    for part, keys in found.parts.items():
        yield f"{part} list has {len(keys):,} images{_whose(part, keys)}"


def _whose(part: str, keys: Sequence[str]) -> str:
    for count, sha256, whose in OFFICIAL[part]:
        if len(keys) == count and sha256 in (None, list_sha256(sorted(keys))):
            return f" ({whose})"
        if len(keys) == count:
            return f", as many as {whose.split(',')[0]}, but not the same"
    return f" (official: {' or '.join(f'{count:,}' for count, _, _ in OFFICIAL[part])})"


def _protected(found: ContextFolder, voc: VocMasks) -> tuple[Path, ...]:
    """All folders with data of these photographs: VOC's masks of them too."""
    folders = [
        found.root,
        found.photos,
        *voc.folders,
        *{file.parent for file in (*found.mats.values(), *found.pngs.values())},
    ]
    outer = [folder.resolve() for folder in folders]
    return tuple(dict.fromkeys(f for f in outer if f == found.root or not f.is_relative_to(found.root)))
