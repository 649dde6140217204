"""Images with label maps in a user's own ids, from a folder (`own.py`) or a table (`hub.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from zsbench.data.dataset import Origin
from zsbench.data.lists import list_sha256
from zsbench.data.own_ids import OwnIds
from zsbench.data.pixels import refuse_other_size
from zsbench.errors import UserError, unknown

PARTS = ("train", "val")
ABSENT_SIZE = -1
SAMPLED = 300  # rows that are looked through where only they can say which ids names have


class Pictures(Protocol):
    """Where the pictures of a data set come from, by image key."""

    def photo(self, key: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        ...

    def shape(self, key: str) -> tuple[int, int]:
        """(H, W) of the photograph, from its header."""
        ...

    def mask(self, key: str) -> np.ndarray:
        """(H, W) ids as stored."""
        ...

    def where(self, key: str) -> str:
        """The place of a label map, for errors."""
        ...

    def mask_sha256(self, key: str) -> str:
        """Of the label map's bytes as stored."""
        ...

    def photo_sizes(self, keys: Sequence[str]) -> list[int]:
        """Bytes of photographs as stored, without reading them; ABSENT_SIZE for what cannot be read."""
        ...

    def photo_sha256(self, key: str) -> str:
        """Of the photograph's bytes as stored."""
        ...


@dataclass(eq=False)
class OwnDataset:
    """A data set of users' own classes: `ids` tells what their label maps mean. Plain data: it pickles and forks.

    unseen: where the file that names the unseen classes may be, for the split "own".
    absent: what is said of a list that is not there.
    """

    root: Path
    parts: dict[str, tuple[str, ...]]
    classes: tuple[str, ...]
    serves: tuple[str, ...]
    origin: Origin
    protected: tuple[Path, ...]
    ids: OwnIds
    pictures: Pictures
    unseen: Path | None
    absent: str

    def __post_init__(self) -> None:
        self._keys = frozenset(key for keys in self.parts.values() for key in keys)

    @property
    def stored(self) -> dict[int, str]:
        """Id in the label maps as they are stored -> class."""
        return self.ids.stored

    def has(self, part: str) -> bool:
        return part in self.parts

    def keys(self, part: str) -> Sequence[str]:
        """Image keys of "train" or "val", in the order of the list, of the names, or of the rows."""
        if part not in PARTS:
            raise unknown("image list", part, PARTS)
        if part not in self.parts:
            raise UserError(f"{self.origin.title} has no images for {part}. {self.absent}")
        return self.parts[part]

    def part_sha256(self, part: str) -> str:
        """Hash of a list in its order."""
        return list_sha256(self.keys(part))

    def image(self, key: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        return self.pictures.photo(self._known(key))

    def labels(self, key: str) -> np.ndarray:
        """(H, W) uint8 class ids; 255 = ignored. Checked against the photograph's size and the known ids."""
        stored, where = self.pictures.mask(self._known(key)), self.pictures.where(key)
        refuse_other_size(where, stored, key, self.pictures.shape(key))
        return self.ids.positions(stored, where)

    def _known(self, key: str) -> str:
        if key not in self._keys:  # also keeps "../x" from becoming a path
            raise UserError(f"{self.origin.title}: no image named {key[:80]!r} in any of its lists.")
        return key
