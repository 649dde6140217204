"""What a data set is to the harness: named parts (train, trainaug, val) of images with label maps in the data set's own ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

IGNORED = 255  # label of void pixels in every data set here, and of every pixel a guard or a scope takes away


@dataclass(frozen=True)
class Origin:
    """Where the pictures come from; stands in the first line of output, in the record and on the report.

    kind: drawn scenes and real photographs never share a table.
    """

    kind: Literal["drawn", "real"]
    title: str  # "Drawn scenes, seed 0", "PASCAL VOC 2012"
    # Hash of lists, ids and the contents of label maps (drawn scenes: lists, generator version and seed), 12 hex digits.
    fingerprint: str
    notes: tuple[str, ...] = ()  # what is limited or unusual: "val list has 461 of 1,449 official images"


class Dataset(Protocol):
    """Images and label maps of one data set on disk. Readers raise `UserError` naming the file for every fault."""

    root: Path  # the folder that was opened; class vectors of drawn scenes lie there
    classes: tuple[str, ...]  # position = id in label maps, as `labels` returns them
    serves: tuple[str, ...]  # data sets of splits (keys of UNIVERSES) that these label maps can be scored for
    origin: Origin
    protected: tuple[Path, ...]  # folders that the guard locks while a method runs

    @property
    def parts(self) -> Mapping[str, tuple[str, ...]]:
        """Every list that is there: name -> image keys in file order."""
        ...

    def keys(self, part: str) -> Sequence[str]:
        """Image keys of a list ("train", "trainaug", "val"), in file order."""
        ...

    def has(self, part: str) -> bool:
        """Whether the folder holds that list."""
        ...

    def part_sha256(self, part: str) -> str:
        """Hash of the list's keys."""
        ...

    def image(self, key: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        ...

    def labels(self, key: str) -> np.ndarray:
        """(H, W) uint8 class ids; 255 = ignored."""
        ...
