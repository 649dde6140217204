"""A folder of the user's own images, label maps and classes.

    mydata/classes.txt                         id -> name, see `class_file.py`
           unseen.txt                          names of the unseen classes, one per line; or a split file says them
           images/{train,val}/NAME.jpg|.png    and masks/{train,val}/NAME.png
           images/NAME.jpg|.png                or so, and masks/NAME.png, with train.txt and val.txt

A name belongs to one image of the whole folder. What file names and lists tell is verified on opening, sizes and ids when
a label map is read; `zsbench data check` reads them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsbench.data import encoded
from zsbench.data.class_file import CLASS_FILES
from zsbench.data.contents import file_sha256
from zsbench.data.dataset import Origin
from zsbench.data.lists import SAFE_NAME, examples, list_sha256, read_list
from zsbench.data.own_dataset import ABSENT_SIZE, PARTS, OwnDataset
from zsbench.data.own_ids import OwnIds, find_class_file, read_own_ids
from zsbench.data.own_split import UNSEEN, unseen_faults
from zsbench.data.pixels import Missing
from zsbench.data.reader import Hints, Reader
from zsbench.errors import UserError

IMAGES, MASKS = "images", "masks"
PHOTO = (".jpg", ".jpeg", ".png")
OTHER = (".bmp", ".gif", ".tif", ".tiff", ".webp", ".jp2")  # pictures that are not read; what is none is passed over
LAYOUT = f"{CLASS_FILES[0]}, {IMAGES}/{{train,val}} and {MASKS}/{{train,val}}"
ABSENT = f"Put images into {IMAGES}/train, {IMAGES}/val, or their names into train.txt, val.txt."


@dataclass(frozen=True)
class Files:
    """photos, masks: image name -> file."""

    photos: dict[str, Path]
    masks: dict[str, Path]

    def photo(self, key: str) -> np.ndarray:
        return encoded.photo_of(self._photo(key), str(self._photo(key)))

    def shape(self, key: str) -> tuple[int, int]:
        return encoded.shape_of(self._photo(key), str(self._photo(key)))

    def mask(self, key: str) -> np.ndarray:
        if key not in self.masks:
            raise Missing(f"{self._photo(key)}: no label map of this image is there.")
        return encoded.ids_of(self.masks[key], self.where(key))

    def where(self, key: str) -> str:
        return str(self.masks.get(key, key))

    def mask_sha256(self, key: str) -> str:
        return file_sha256(self.masks[key])

    def photo_sizes(self, keys: Sequence[str]) -> list[int]:
        return [file.stat().st_size if (file := self._photo(key)).exists() else ABSENT_SIZE for key in keys]

    def photo_sha256(self, key: str) -> str:
        return file_sha256(self._photo(key))

    def _photo(self, key: str) -> Path:
        if key not in self.photos:
            raise Missing(f"{self.masks.get(key, key)}: no image of this label map is there.")
        return self.photos[key]


def open_own(root: Path) -> OwnDataset:
    """The data set in a folder, verified. Raises `UserError` with the first fault."""
    dataset, faults = survey(root, Hints())
    if faults:
        raise UserError(faults[0])
    return dataset


def survey(root: Path, hints: Hints) -> tuple[OwnDataset, list[str]]:
    """The data set as far as it is there, and all its faults as far as file names and lists tell."""
    file = find_class_file(root, hints.classes)
    if file is None:
        raise UserError(
            f"{root}: no {CLASS_FILES[0]}; write one line 'ID: NAME' per class there, or say --classes FILE."
        )
    if not (root / IMAGES).is_dir() or not (root / MASKS).is_dir():
        raise UserError(f"{root}: no folders {IMAGES} and {MASKS}; expected {LAYOUT}.")
    folder = root.resolve()
    parts, files, faults = _look(folder)
    ids = read_own_ids(file, hints.first_id)
    origin = Origin("real", f"own data '{shown(folder.name)}'", _fingerprint(parts, ids), ids.notes)
    dataset = OwnDataset(
        folder, parts, ids.names, ids.serves, origin, (folder,), ids, files, folder / UNSEEN, ABSENT
    )  # fmt: skip
    return dataset, [*faults, *unseen_faults(dataset)]


def _fingerprint(parts: dict[str, tuple[str, ...]], ids: OwnIds) -> str:
    """Of lists and ids; `contents.sealed` adds the label maps."""
    facts = [{part: list_sha256(keys) for part, keys in parts.items()}, sorted(ids.stored.items())]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def shown(name: str) -> str:
    """A folder's name for people: what is not printable could do something to a terminal."""
    return "".join(c if c.isprintable() else "?" for c in name)


def _recognises(root: Path) -> bool:
    return (root / IMAGES).is_dir() and (root / MASKS).is_dir()


READER = Reader("own", "a folder of your own classes", ("own",), LAYOUT, _recognises, survey)


def _look(root: Path) -> tuple[dict[str, tuple[str, ...]], Files, list[str]]:
    """Lists, files, and everything that is wrong with them."""
    if any((root / IMAGES / part).is_dir() for part in PARTS):
        return _by_folders(root)
    if any((root / f"{part}.txt").is_file() for part in PARTS):
        return _by_lists(root)
    raise UserError(f"{root}: neither {IMAGES}/train and {IMAGES}/val nor train.txt and val.txt; expected {LAYOUT}.")


def _by_folders(root: Path) -> tuple[dict[str, tuple[str, ...]], Files, list[str]]:
    parts: dict[str, tuple[str, ...]] = {}
    files, faults = Files({}, {}), []
    for part in PARTS:
        photos, wrong = _pictures(root / IMAGES / part, PHOTO)
        masks, more = _pictures(root / MASKS / part, (".png",))
        faults += [*wrong, *more, *_unpaired(root, part, photos, masks)]
        files.photos.update(photos)
        files.masks.update(masks)
        if (root / IMAGES / part).is_dir():
            parts[part] = tuple(sorted(photos))
            if not photos:
                faults.append(f"{root / IMAGES / part}: no image in it; expected NAME.jpg or NAME.png.")
        if (file := root / f"{part}.txt").is_file():
            faults.append(f"{file}: {IMAGES}/train and {IMAGES}/val say already what is for what; take one away.")
    return parts, files, [*faults, *_shared(root, parts)]


def _by_lists(root: Path) -> tuple[dict[str, tuple[str, ...]], Files, list[str]]:
    parts = {}
    photos, faults = _pictures(root / IMAGES, PHOTO)
    masks, wrong = _pictures(root / MASKS, (".png",))
    faults += [*wrong, *_unpaired(root, "", photos, masks)]
    for part in PARTS:
        if (file := root / f"{part}.txt").is_file():
            parts[part], wrong = read_list(file)
            faults += wrong
            if lost := [key for key in parts[part] if key not in photos]:
                faults.append(f"{file}: {len(lost):,} names without an image in {root / IMAGES} ({examples(lost)}).")
    return parts, Files(photos, masks), [*faults, *_shared(root, parts)]


def _pictures(folder: Path, suffixes: tuple[str, ...]) -> tuple[dict[str, Path], list[str]]:
    """Image name -> file, from one listing; and what cannot be used."""
    found: dict[str, Path] = {}
    twice: list[str] = []
    unsafe: list[str] = []
    other: list[str] = []
    for file in sorted(folder.glob("[!.]*")):
        suffix = file.suffix.lower()
        if suffix in suffixes:
            if file.stem in found:
                twice.append(file.stem)
            elif not SAFE_NAME.fullmatch(file.stem):
                unsafe.append(repr(file.name[:80]))
            else:
                found[file.stem] = file
        elif suffix in (*PHOTO, *OTHER):
            other.append(repr(file.name[:80]))
    faults = []
    if twice:
        faults.append(f"{folder}: {examples(twice)}: more than one file of this name; keep one.")
    if unsafe:
        faults.append(f"{folder}: {examples(unsafe)}: rename; letters, digits, '_', '-' and '.' make an image's name.")
    if other:
        faults.append(f"{folder}: {examples(other)}: not read; expected NAME{' or NAME'.join(suffixes)}.")
    return found, faults


def _unpaired(root: Path, part: str, photos: dict[str, Path], masks: dict[str, Path]) -> Iterator[str]:
    if bare := [name for name in photos if name not in masks]:
        yield f"{root / MASKS / part}: {len(bare):,} label maps are not there ({examples(bare)}), their images are."
    if bare := [name for name in masks if name not in photos]:
        yield f"{root / IMAGES / part}: {len(bare):,} images are not there ({examples(bare)}), their label maps are."


def _shared(root: Path, parts: dict[str, tuple[str, ...]]) -> Iterator[str]:
    if shared := sorted(set(parts.get("train", ())) & set(parts.get("val", ()))):
        yield (
            f"{root}: train and val share {len(shared):,} image names ({examples(shared)}): a method would be tested on "
            "what it was trained on. Take them out of one of the two, or rename them if they are other images."
        )
