"""Is a class order the right one? VOC's own masks of the same photographs tell, where they lie beside Context's.

The photographs of PASCAL Context are VOC's, and some of them have masks of VOC's 20 objects, whose ids are not in
question. In the right order most pixels of an object have its name in Context too; in another order almost none have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsbench.data.context_ids import ORDERS, Ids, order_ids
from zsbench.data.pixels import read_mask
from zsbench.data.universes import VOC_CLASSES, position
from zsbench.errors import UserError

LOOKED_AT = 40  # pairs of masks
ENOUGH = 2_000  # pixels of objects; fewer prove nothing
LEAST, CLEAR = (
    0.3,
    0.6,
)  # shares of pixels with the same name: below the first an order is wrong, above the second right

Read = Callable[[Path], np.ndarray]


@dataclass(frozen=True)
class VocMasks:
    """folders: `SegmentationClass` of the VOC folders at hand."""

    folders: tuple[Path, ...]

    @classmethod
    def near(cls, root: Path, photos: Path) -> VocMasks:
        places = [
            near / "SegmentationClass"
            for near in (root, photos.parent, root.parent / "VOC2012", root.parent / "VOC2010")
        ]
        return cls(tuple(dict.fromkeys(place.resolve() for place in places if place.is_dir())))

    def contradiction(self, ids: Ids, masks: Mapping[str, Path], read: Read) -> Iterator[str]:
        """A fault where ids mean other classes than `ids` says."""
        if ids.format == "png":
            same, pixels = self.agreement(ids, masks, read)
            if pixels >= ENOUGH and same < LEAST * pixels:
                folder = next(iter(masks.values())).parent
                yield (
                    f"{folder}: read by {ids.told}, the label maps contradict VOC's own masks of the same photographs: of "
                    f"{pixels:,} pixels of objects {same / pixels:.0%} have the same class.{self.fitting(masks, read)}"
                )

    def fitting(self, masks: Mapping[str, Path], read: Read) -> str:
        """The usual order that fits VOC's masks, as a sentence; "" where none clearly does."""
        for word in ORDERS:
            for first_id in (1, 0):
                same, pixels = self.agreement(order_ids(word, first_id), masks, read)
                if pixels >= ENOUGH and same > CLEAR * pixels:
                    how = f"{word} --first-id 0" if first_id == 0 else word
                    return f" VOC's own masks of these photographs fit --classes {how} ({same / pixels:.0%} of the pixels)."
        return ""

    def agreement(self, ids: Ids, masks: Mapping[str, Path], read: Read) -> tuple[int, int]:
        """Pixels of VOC's objects that have the same class by `ids`, and all of them."""
        names = [position(name, ids.classes) for name in VOC_CLASSES[1:]]
        expected = np.full(256, -2, np.int16)  # void and background are no evidence
        expected[1 : len(VOC_CLASSES)] = names
        same = pixels = 0
        for key, file in self._pairs(masks):
            try:
                truth, here = expected[read_mask(file)], read(masks[key])
            except UserError:
                continue  # `labels` and `zsbench data check` name it
            if truth.shape == here.shape and here.max(initial=0) < len(ids.table):
                same += int((ids.table[here] == truth).sum())
                pixels += int((truth >= 0).sum())
        return same, pixels

    def _pairs(self, masks: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
        there: dict[str, Path] = {}
        for folder in reversed(self.folders):
            there |= {file.stem: file for file in folder.iterdir() if file.suffix == ".png"}
        for key in evenly([key for key in masks if key in there], LOOKED_AT):
            yield key, there[key]


def evenly(keys: Sequence[str], most: int) -> Sequence[str]:
    """At most so many of them, from all over."""
    return keys[:: max(1, -(-len(keys) // most))]
