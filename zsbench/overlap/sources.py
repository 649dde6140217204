"""One list of images as the audit sees it: names, ids, where the photographs lie, and what part of a data set it is.

Choices: a list is a training list or a test list by its name (`train`, `trainaug`, `train2017` against `val`, `test`);
`trainval` and anything else is neither. A training list that meets a test list is a fault, every other overlap is
information.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from zsbench.data.pixels import read_photo
from zsbench.overlap.ids import ImageId, Kind, image_id, kinds

Role = Literal["training", "test"]

WORD = re.compile(r"[a-z]+")
TRAINING = {"train", "trainaug", "training", "trn"}
TEST = {"val", "valid", "validation", "test", "testing"}


@dataclass(frozen=True, eq=False)
class Photo:
    """One picture. place: its file, or a name where it is none. file: for the cache. read: (H, W, 3) uint8."""

    place: str
    read: Callable[[], np.ndarray]
    file: Path | None = None


def photo_of(file: Path) -> Photo:
    return Photo(str(file), lambda: read_photo(file), file)


@dataclass(frozen=True, eq=False)
class ImageList:
    """names: as written, in order, repeats included. photos: one per name, None where no picture is at hand.

    form: how it was read. owner: what it is a part of; lists of one owner are parts of one data set.
    repeats: whether a name may come more often (captions: an image has several).
    """

    name: str
    source: str
    form: str
    names: tuple[str, ...]
    photos: tuple[Photo | None, ...] = ()
    role: Role | None = None
    owner: str = ""
    notes: tuple[str, ...] = ()
    repeats: bool = field(default=False)

    @cached_property
    def ids(self) -> tuple[ImageId, ...]:
        return tuple(image_id(name) for name in self.names)

    @cached_property
    def first(self) -> dict[str, int]:
        """id -> position of the first name that has it: the distinct images, in order."""
        found: dict[str, int] = {}
        for place, (key, _) in enumerate(self.ids):
            found.setdefault(key, place)
        return found

    @cached_property
    def repeated(self) -> dict[str, tuple[str, ...]]:
        """id -> its names, where it has more than one. Empty for captions."""
        if self.repeats or len(self.first) == len(self.names):
            return {}
        groups: dict[str, list[str]] = defaultdict(list)
        for name, (key, _) in zip(self.names, self.ids, strict=True):
            groups[key].append(name)
        return {key: tuple(names) for key, names in groups.items() if len(names) > 1}

    @cached_property
    def kinds(self) -> dict[Kind, int]:
        return kinds(self.ids)

    @cached_property
    def pictured(self) -> tuple[tuple[int, Photo], ...]:
        """Positions and photographs of those that are at hand; one file counts once."""
        found: dict[str, tuple[int, Photo]] = {}
        for place, photo in enumerate(self.photos):
            if photo is not None:
                found.setdefault(photo.place, (place, photo))
        return tuple(found.values())

    @property
    def sha256(self) -> str:
        """Hash of the distinct ids, sorted: equal for lists that say the same in other words."""
        return hashlib.sha256("".join(f"{key}\n" for key in sorted(self.first)).encode()).hexdigest()


def role_of(*names: str) -> Role | None:
    """What the first of these names says that is a role's, e.g. that of a list, then that of its file."""
    for name in names:
        words = set(WORD.findall(name.casefold().replace("train_aug", "trainaug")))
        if bool(words & TRAINING) != bool(words & TEST):
            return "training" if words & TRAINING else "test"
    return None


def crossing(a: ImageList, b: ImageList) -> tuple[ImageList, ImageList] | None:
    """(training list, test list) where one is this and the other that, else None."""
    if a.role == "training" and b.role == "test":
        return a, b
    return (b, a) if a.role == "test" and b.role == "training" else None
