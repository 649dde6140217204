"""From what a user names to lists of images: `lists/val.txt`, `VOC2012`, `VOC2012:val`, `coco=annotations/instances.json`.

A folder is first asked whether it is a data set that zsbench knows (its parts are then lists of their own); else it is a
folder of images, whose subfolders train…, val… and test… are parts. Masks are no photographs: folders of annotations and
PNGs beside a JPEG of the same name are passed over. Links to folders are not followed.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zsbench.data.dataset import Dataset
from zsbench.data.opening import READERS, is_address, survey
from zsbench.data.reader import Hints
from zsbench.errors import UserError, unknown
from zsbench.overlap.ids import PHOTOS, image_id
from zsbench.overlap.list_files import FORMS, read_names
from zsbench.overlap.sources import ImageList, Photo, Role, photo_of, role_of

# Words in the name of a folder that holds no photographs. COCO's unlabeled2017 is none of these.
MASKS = re.compile(r"segmentation|(?<![a-z])(annotations?|masks?|labels?|gt)(?![a-z])", re.IGNORECASE)
REST = "rest"  # images of a folder beside those in its train and val


class Asked(NamedTuple):
    """One argument taken apart. name: as the user calls it, or None."""

    name: str | None
    path: Path
    part: str | None


def open_lists(arguments: Sequence[str], kind: str | None = None, images: Sequence[Path] = ()) -> list[ImageList]:
    """All lists of all arguments, with names that differ.

    kind: how folders are to be read (a reader's name, or "images"). images: folders where the photographs of lists lie,
    found by name. Raises UserError for an argument that cannot be read.
    """
    near = _index(images)
    lists = [one for argument in arguments for one in _lists(_asked(argument), kind, near)]
    return _told_apart(lists)


def dataset_lists(dataset: Dataset, name: str, notes: tuple[str, ...] = ()) -> list[ImageList]:
    """The parts of a data set, as lists."""
    owner, title_ = str(dataset.root), dataset.origin.title
    lock = threading.Lock()
    return [
        ImageList(
            f"{name}:{part}", owner, f"{title_}, part {part}", tuple(keys),
            tuple(_photo(dataset, key, lock) for key in keys), role_of(part), owner, notes,
        )
        for part, keys in dataset.parts.items()
    ]  # fmt: skip


def _photo(dataset: Dataset, key: str, lock: threading.Lock) -> Photo:
    find = getattr(dataset, "photo", None)
    if find is not None:
        return photo_of(Path(find(key)))
    return Photo(f"{dataset.root}:{key}", partial(_locked, dataset, key, lock))


def _locked(dataset: Dataset, key: str, lock: threading.Lock) -> np.ndarray:
    """A table of images may not be one that threads can read at once."""
    with lock:
        return dataset.image(key)


def _asked(argument: str) -> Asked:
    """A path that is there means itself, whatever is in its name; then NAME=…, then …:PART."""
    if os.path.lexists(argument) or is_address(argument):
        return Asked(None, Path(argument), None)
    name, equals, rest = argument.partition("=")
    if equals and name.strip() and rest and "/" not in name:
        inner = _asked(rest)
        return Asked(name.strip(), inner.path, inner.part)
    path, colon, part = argument.rpartition(":")
    if colon and path and os.path.lexists(path):
        return Asked(None, Path(path), part)
    raise UserError(
        f"{argument}: no such file or folder; expected a list of images ({', '.join(FORMS)}), a folder of images or a data"
        " set, FOLDER:PART for one part of it, NAME=… to call it something"
    )


def _lists(asked: Asked, kind: str | None, near: dict[str, Path]) -> list[ImageList]:
    if is_address(asked.path) or asked.path.is_dir():
        found = _folder(asked, kind)
        if asked.part is not None:
            parts = {one.name.rpartition(":")[2]: one for one in found}
            if asked.part not in parts:
                raise unknown(f"part of {asked.path}", asked.part, parts)
            found = [parts[asked.part]]
        if asked.name is not None and (asked.part is not None or len(found) == 1):
            return [replace(found[0], name=asked.name, role=role_of(asked.name) or found[0].role)]
        return found
    if asked.part is not None:
        raise UserError(f"{asked.path} is a file and has no parts; name it without :{asked.part}")
    read = read_names(asked.path)
    name = asked.name or asked.path.stem
    photos = tuple(_near(near, one) for one in read.names) if near else ()
    return [
        ImageList(
            name, str(asked.path), read.form, read.names, photos, role_of(name, asked.path.stem), repeats=read.repeats
        )
    ]


def _near(near: dict[str, Path], name: str) -> Photo | None:
    file = near.get(image_id(name).key)
    return photo_of(file) if file else None


def _index(folders: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--images {folder}: no such folder")
        for file in _photos(folder):
            found.setdefault(image_id(file.name).key, file)
    return found


def _folder(asked: Asked, kind: str | None) -> list[ImageList]:
    name = asked.name or asked.path.resolve().name
    if kind != "images" and (
        kind is not None or is_address(asked.path) or any(reader.recognises(asked.path) for reader in READERS)
    ):
        try:
            dataset, faults = survey(asked.path, (), Hints(), kind)
        except UserError as fault:
            raise UserError(f"{fault} (As a mere folder of images: --as images.)") from None
        notes = (
            (f"{len(faults):,} fault{'s' * (len(faults) != 1)}, see zsbench data check: {faults[0]}",) if faults else ()
        )
        return dataset_lists(dataset, name, notes)
    files = list(_photos(asked.path))
    if not files:
        raise UserError(
            f"{asked.path}: neither a data set that zsbench knows nor a folder of images ({', '.join(PHOTOS)}) is there"
        )
    groups = _parts(asked.path, files)
    if len(groups) == 1:
        return [_image_list(asked.path, name, files, role_of(name, asked.path.name, *groups))]
    return [_image_list(asked.path, f"{name}:{part}", groups[part], role_of(part)) for part in sorted(groups)]


def _parts(root: Path, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files by the first folder below the root that is named as a part. One alone is none: `train` is a class of VOC, too."""
    groups: dict[str, list[Path]] = {}
    for file in files:
        part = next((part for part in file.relative_to(root).parts[:-1] if role_of(part)), REST)
        groups.setdefault(part, []).append(file)
    return groups if len(groups) == 1 or len(groups.keys() - {REST}) > 1 else {REST: list(files)}


def _image_list(root: Path, name: str, files: Sequence[Path], role: Role | None) -> ImageList:
    names = tuple(file.relative_to(root).as_posix() for file in files)
    photos = tuple(photo_of(file) for file in files)
    return ImageList(name, str(root), "folder of images", names, photos, role, str(root))


def _photos(root: Path) -> Iterator[Path]:
    """Photographs below a folder, in order of their names."""
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith(".") and not MASKS.search(name))
        names = [name for name in sorted(files) if name.casefold().endswith(PHOTOS) and not name.startswith(".")]
        shot = {image_id(name).key for name in names if not name.casefold().endswith(".png")}
        for name in names:
            if not name.casefold().endswith(".png") or image_id(name).key not in shot:
                yield Path(folder) / name


def _told_apart(lists: Sequence[ImageList]) -> list[ImageList]:
    """Two lists named val become val (context) and val (voc12), by their folders; what is still equal is numbered."""
    doubled = _doubled(lists)
    longer = [
        replace(one, name=f"{one.name} ({Path(one.source).resolve().parent.name})") if one.name in doubled else one
        for one in lists
    ]
    doubled, seen = _doubled(longer), Counter[str]()
    result = []
    for one in longer:
        seen[one.name] += 1
        result.append(replace(one, name=f"{one.name} [{seen[one.name]}]") if one.name in doubled else one)
    return result


def _doubled(lists: Sequence[ImageList]) -> set[str]:
    return {name for name, times in Counter(one.name for one in lists).items() if times > 1}
