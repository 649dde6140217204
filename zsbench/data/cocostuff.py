"""COCO-Stuff from a local folder: the 164k edition (PNG), 10k version 1.1 and 1.0 (.mat), and mmsegmentation's train ids.

Where things lie is told in `cocostuff_folder`, what the ids mean in `cocostuff_ids`; which of the two versions of 10k it is,
in `cocostuff_version`. Whatever is stored, `labels` returns positions in the 171 annotated classes, 255 = unlabelled.
The list called test in 10k is called val here. On opening, lists are verified and a few label maps are read; `zsbench data
check` looks at every pixel. 10k is a subset of COCO train2014, which is mostly train2017: a method trained on 164k must never
be tested on 10k, and the data set says so in its notes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsbench.data import cocostuff_folder
from zsbench.data.cocostuff_folder import TRAIN_IDS, CocoFolder, look, recognises
from zsbench.data.cocostuff_ids import IDS_164K, TRAIN_10K, TRAIN_164K, VERSIONS, Form
from zsbench.data.cocostuff_version import LABEL_FILES, PROBED, agree_164k, read_mat_ids, said_version, settle
from zsbench.data.dataset import Origin
from zsbench.data.lists import list_sha256
from zsbench.data.pixels import Missing, photo_shape, read_mask, read_photo, refuse_other_size
from zsbench.data.reader import Hints, Reader
from zsbench.data.universes import COCOSTUFF_171
from zsbench.errors import UserError, unknown

# The official lists: images, and hash of the sorted names where it is known.
OFFICIAL: dict[str, dict[str, tuple[int, str | None]]] = {
    "164k": {
        "train": (118_287, None),
        "val": (5_000, "e1cc220cde76f9a1fc39aff5b5f8c0b128de8b071602e6d57f262697116e2906"),
    },
    "10k": {
        "train": (9_000, "511b98d0ef2ae15b1a5e8957401e50af46430077550e3c580a4bdd1d252583c4"),
        "val": (1_000, "0994fddc9b4fe2cc769ef235cf1905eb90d7dc21b528c9316e5387a2530786a5"),
    },
}
APART = "scored on 10k, images of COCO train2014: never test on 10k what was trained on 164k"
_PARTS = ("train", "val")


@dataclass(eq=False)
class CocoStuff:
    """Images and label maps of one folder, by image name; made by `survey`. Plain data: it pickles and forks.

    parts: list name -> image names in order. photos: image name -> the folder of its photograph; masks: -> its label map.
    version: "v1.0" or "v1.1" of .mat files, None where there are none.
    """

    root: Path
    edition: str
    version: str | None
    parts: dict[str, tuple[str, ...]]
    photos: dict[str, Path]
    masks: dict[str, Path]
    origin: Origin
    protected: tuple[Path, ...]
    classes: tuple[str, ...] = COCOSTUFF_171
    serves: tuple[str, ...] = ("cocostuff171",)

    def has(self, part: str) -> bool:
        return part in self.parts

    def keys(self, part: str) -> Sequence[str]:
        """Image names of a list ("train", "val"), in order."""
        if part not in _PARTS:
            raise unknown("image list", part, _PARTS)
        if part not in self.parts:
            raise UserError(f"{self.root}: no {part} list; expected {cocostuff_folder.LAYOUT}.")
        return self.parts[part]

    def part_sha256(self, part: str) -> str:
        """Hash of a list in its order."""
        return list_sha256(self.keys(part))

    def image(self, key: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        return read_photo(self.photo(key))

    def labels(self, key: str) -> np.ndarray:
        """(H, W) uint8 positions in the 171 classes; 255 = ignored. Checked against the photograph's size and known ids."""
        photo, mask = self.photo(key), self.masks[key]
        ids = read_positions(mask, self.edition, self.version)
        refuse_other_size(mask, ids, photo, photo_shape(photo))
        return ids

    def photo(self, key: str) -> Path:
        """The photograph's file."""
        if key not in self.photos or key not in self.masks:  # also keeps "../x" from becoming a path
            raise Missing(
                f"{self.root}: no image named {key[:80]!r} with photograph and label map in any of its lists."
            )
        return self.photos[key] / f"{key}.jpg"

    @property
    def stored(self) -> dict[int, str]:
        """Id in the files -> class, where all label maps store them in one way."""
        forms = {_form(mask, self.edition, self.version) for mask in self.masks.values()}
        return forms.pop().classes() if len(forms) == 1 else {}


def read_positions(mask: Path, edition: str, version: str | None) -> np.ndarray:
    """(H, W) uint8 positions in COCOSTUFF_171 of a label map file; its name and the folder's edition say how to read it.

    Raises `UserError` naming the file for ids that cannot be, and for a .mat file of the other version.
    """
    form = _form(mask, edition, version)
    if mask.suffix == ".mat":
        stored, told = read_mat_ids(mask)
        if other := [evidence for evidence in told if evidence.version != version]:
            raise UserError(
                f"{other[0]}, but the folder is of COCO-Stuff 10k {version}: keep label maps of one version."
            )
    else:
        stored = read_mask(mask, ("L", "P") if mask.stem.endswith(TRAIN_IDS) else ("L",))
    try:
        return form.positions(stored)
    except ValueError as fault:
        raise UserError(f"{mask}: {fault}") from None


def survey(root: Path, hints: Hints) -> tuple[CocoStuff, list[str]]:
    """The data set as far as it is there, and all its faults as far as names, lists and a few label maps tell.

    hints.classes: a class file, or "v1.0" or "v1.1" for 10k.
    """
    found, faults = look(root)
    version, wrong = _version(found, hints)
    faults += [*wrong, *_label_file_faults(found, hints)]
    if not wrong:
        faults += _probe(found, version)
    made = CocoStuff(
        found.root,
        found.edition,
        version,
        found.parts,
        found.photos,
        {} if wrong else found.masks,  # ids of an unknown version cannot be read: one fault, not one per file
        _origin(found, version),
        found.protected,
    )
    return made, faults


READER = Reader(
    "cocostuff", "COCO-Stuff 164k and 10k", ("cocostuff171",), cocostuff_folder.LAYOUT, recognises, survey, ("classes",)
)


def _form(mask: Path, edition: str, version: str | None) -> Form:
    if mask.suffix == ".mat":
        return VERSIONS[version or "v1.1"]
    if mask.stem.endswith(TRAIN_IDS):
        return TRAIN_164K if edition == "164k" else TRAIN_10K
    return IDS_164K


def _version(found: CocoFolder, hints: Hints) -> tuple[str | None, list[str]]:
    mats = [mask for mask in found.masks.values() if mask.suffix == ".mat"]
    if not mats:
        return None, _converted_faults(found, hints)
    label_file = next(_label_files(found), None)
    return settle(mats, label_file, hints.classes, found.root)


def _converted_faults(found: CocoFolder, hints: Hints) -> list[str]:
    """Train ids of 10k are made from version 1.1; a class file must be in the order of its classes all the same."""
    if found.edition == "164k" or hints.classes is None:
        return []
    try:
        said_version(hints.classes)
    except UserError as fault:
        return [str(fault)]
    if hints.classes.name in VERSIONS and hints.classes.name != "v1.1":
        return [
            f"{found.root}: label maps in train ids, which are made from v1.1; --classes {hints.classes} cannot be."
        ]
    return []


def _label_file_faults(found: CocoFolder, hints: Hints) -> Iterator[str]:
    if found.edition != "164k":
        return
    said = hints.classes
    if said and not said.is_file() and f"v{said.name.lower().removeprefix('v')}" in VERSIONS:
        yield (
            f"--classes {said}: that is a version of COCO-Stuff 10k, but {found.root} holds the 164k edition, whose ids "
            "need no word; leave it out."
        )
        return
    train_ids = all(mask.stem.endswith(TRAIN_IDS) for mask in found.masks.values())
    for file in (hints.classes,) if hints.classes else _label_files(found):
        if fault := agree_164k(file, train_ids):
            yield fault


def _label_files(found: CocoFolder) -> Iterator[Path]:
    places = (folder / name for folder in (found.root, found.root / "annotations") for name in LABEL_FILES)
    return (place for place in places if place.is_file())


def _probe(found: CocoFolder, version: str | None) -> list[str]:
    """Faults of a few label maps of every list: ids of another file are told before a training starts, not in its middle."""
    faults = []
    for names in found.parts.values():
        masks = [found.masks[name] for name in names if name in found.masks]
        for mask in masks[:: max(1, len(masks) // PROBED)]:
            try:
                read_positions(mask, found.edition, version)
            except UserError as fault:
                faults.append(str(fault))
    return faults


def _origin(found: CocoFolder, version: str | None) -> Origin:
    forms = {
        part: dict(
            Counter(_form(found.masks[name], found.edition, version).name for name in names if name in found.masks)
        )
        for part, names in found.parts.items()
    }
    lists = {part: list_sha256(names) for part, names in found.parts.items()}
    facts = json.dumps([found.edition, version, lists, forms], sort_keys=True)
    notes = [note for part, names in found.parts.items() for note in _unofficial(found.edition, part, names)]
    apart = [APART] if found.edition == "10k" else []
    title = "COCO-Stuff 164k" if found.edition == "164k" else f"COCO-Stuff 10k {version or 'v1.1'}"
    return Origin("real", title, hashlib.sha256(facts.encode()).hexdigest()[:12], (*apart, *notes, *found.notes))


def _unofficial(edition: str, part: str, names: Sequence[str]) -> Iterator[str]:
    count, sha256 = OFFICIAL[edition][part]
    if len(names) != count:
        yield f"{part} list has {len(names):,} images (official: {count:,})"
    elif sha256 and list_sha256(sorted(names)) != sha256:
        yield f"{part} list has {count:,} images as the official one, but not the same"
