"""Some pairs of a stored corpus as a corpus of their own.

A corrupt image is then replaced by the next good one *of the choice*; looking through the whole corpus for a substitute
would bring back what was left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from zsbench.data.caption_pairs import Skipped
from zsbench.data.caption_stores import Images, Rows, StoredCaptions


@dataclass(frozen=True)
class Chosen:
    """The images at `places` of others."""

    images: Images
    places: NDArray[np.int64]

    def read(self, index: int, key: str) -> bytes:
        return self.images.read(int(self.places[index]), key)


def choose(captions: StoredCaptions, mask: NDArray[np.bool_], name: str) -> StoredCaptions:
    """The pairs where `mask` (one truth value per pair) holds, in their order. Raises `UserError` where none does.

    Lines that could not be read stay counted; images are tried anew.
    """
    rows, skipped = Rows(), Skipped(name, captions.skipped.lines, without_image=captions.skipped.without_image)
    for key, caption in compress(captions.texts(), mask.tolist()):
        rows.add(key, caption)
    return StoredCaptions(name, rows, Chosen(captions.images, np.flatnonzero(mask)), skipped)
