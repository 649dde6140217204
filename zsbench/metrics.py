"""What the scores are: exact confusion counts, and every score as a function of three numbers per class.

Choices, because the literature disagrees and on small validation sets the numbers differ:

* one confusion matrix over the whole set, never a mean of per-image IoUs;
* a class without one labelled pixel is absent, predicted or not: its IoU and recall are nan, it is left out of means
  and reported by name. ZS3Net counts it as 0, which punishes a small validation set. Pixels predicted as an absent
  class are not free: they are misses of the class that truly stands there;
* H = 2SU/(S+U) of the two means, 0 if either is 0;
* scope "unseen": only unseen names compete, only unseen pixels count; scope "all": all names, all labelled pixels.
  Background is scored exactly when the split names it as a class. "oracle-…" are the same two with the best name for
  every region.

Ids are split ids: positions in `split.names`, 255 ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Scope = Literal["unseen", "all", "oracle-unseen", "oracle-all"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

Counts = NDArray[np.int64]
Ids = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]

EVERY = slice(None)
MOST_NAMES = 255  # so that an id and the label 255 fit in a byte, and a pair of them in two
RAGGED = 5  # stretches shorter than this on average cost more to find than they save (measured)


@dataclass(frozen=True)
class Tally:
    """Pixels per class: rightly predicted, labelled, predicted. Arrays of shape (..., n); leading axes are resamples.

    All scores of this module need nothing else, so a bootstrap carries 3n numbers per resample and not n x n.
    """

    correct: NDArray[Any]
    truth: NDArray[Any]
    predicted: NDArray[Any]

    @property
    def iou(self) -> Floats:
        """(..., n) intersection over union; nan where a class is absent from the labels."""
        return _ratio(self.correct, self.truth + self.predicted - self.correct, absent=self.truth == 0)

    @property
    def recall(self) -> Floats:
        """(..., n) part of a class's pixels that is right; nan where a class is absent from the labels."""
        return _ratio(self.correct, self.truth, absent=self.truth == 0)

    def miou(self, classes: slice = EVERY) -> Floats:
        """(...) mean IoU over those of `classes` that are present; nan if none is."""
        return _mean_of_present(self.iou[..., classes])

    def mean_accuracy(self, classes: slice = EVERY) -> Floats:
        """(...) mean recall over those of `classes` that are present; nan if none is."""
        return _mean_of_present(self.recall[..., classes])

    def pixel_accuracy(self, classes: slice = EVERY) -> Floats:
        """(...) right pixels among the pixels labelled as one of `classes` (micro recall); nan without such pixels.

        Over the unseen classes this is CaGNet's U-PA, the "pix. acc." of ViL-Seg's Table 1.
        """
        pixels = self.truth[..., classes].sum(axis=-1)
        return _ratio(self.correct[..., classes].sum(axis=-1), pixels, absent=pixels == 0)


def harmonic(seen: Floats | float, unseen: Floats | float) -> Floats:
    """hIoU of two means: 0 if either is 0, nan if either is nan."""
    seen, unseen = np.asarray(seen, float), np.asarray(unseen, float)
    return _ratio(2 * seen * unseen, seen + unseen, absent=np.isnan(seen + unseen))


def _ratio(part: NDArray[Any], whole: NDArray[Any], absent: NDArray[np.bool_]) -> Floats:
    """part / whole, 0 where whole is 0, nan where absent."""
    quotient = np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole != 0)
    return np.where(absent, np.nan, quotient)


def _mean_of_present(values: Floats) -> Floats:
    """np.nanmean over the last axis without its warning about rows that are empty or all nan."""
    present = ~np.isnan(values)
    number = present.sum(axis=-1)
    return _ratio(np.where(present, values, 0).sum(axis=-1), number, absent=number == 0)


@dataclass(frozen=True, eq=False)
class ConfusionMatrix:
    """Pixels by (true class, predicted class), int64, read-only. Matrices of any parts add up to that of the whole."""

    counts: Counts  # (n, n), rows truth, columns prediction

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts)
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
            raise ValueError(f"a confusion matrix is square, got shape {counts.shape}")
        if not np.issubdtype(counts.dtype, np.integer):
            raise ValueError(f"a confusion matrix holds whole pixels, got dtype {counts.dtype}")
        exact = counts.astype(np.int64)  # a copy: nobody else can write into it
        if (exact < 0).any():
            raise ValueError("a confusion matrix holds no negative counts")
        exact.flags.writeable = False
        object.__setattr__(self, "counts", exact)

    @classmethod
    def empty(cls, n: int) -> ConfusionMatrix:
        return cls(np.zeros((n, n), np.int64))

    @classmethod
    def count(cls, true: Ids, predicted: Ids, n: int, first: int = 0) -> ConfusionMatrix:
        """Count two label maps of one shape. The candidates are the ids `first` .. `n` - 1, at most 255 of them.

        A pixel whose true label is no candidate (255, or a seen class in the unseen scope) is not counted. A prediction
        that is no candidate raises ValueError wherever it stands: nothing vanishes silently from the counts.
        Fastest on uint8 maps; any integer type works.
        """
        if not 0 <= first < n <= MOST_NAMES:
            raise ValueError(f"candidate ids must lie in 0..{MOST_NAMES - 1}, got {first}..{n - 1}")
        if true.shape != predicted.shape:
            raise ValueError(f"labels have shape {true.shape}, predictions {predicted.shape}")
        if not (np.issubdtype(true.dtype, np.integer) and np.issubdtype(predicted.dtype, np.integer)):
            raise ValueError(f"label maps hold whole numbers, got {true.dtype} and {predicted.dtype}")
        if predicted.size and not (first <= predicted.min() and predicted.max() < n):
            low, high = predicted.min(), predicted.max()
            raise ValueError(f"predictions must be ids {first}..{n - 1}, got values from {low} to {high}")
        return cls(_count_pairs(true.ravel(), predicted.ravel(), n)[first:, first:])

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        if self.counts.shape != other.counts.shape:
            raise ValueError(f"cannot add matrices of {self.counts.shape} and {other.counts.shape} classes")
        return ConfusionMatrix(self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConfusionMatrix) and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def tally(self) -> Tally:
        return Tally(self.counts.diagonal(), self.counts.sum(axis=1), self.counts.sum(axis=0))

    @property
    def iou(self) -> Floats:
        """(n,) IoU per class, nan = absent from the labels."""
        return self.tally.iou

    @property
    def recall(self) -> Floats:
        """(n,) recall per class, nan = absent from the labels."""
        return self.tally.recall

    @property
    def pixels(self) -> Counts:
        """(n,) labelled pixels per class."""
        return self.tally.truth

    @property
    def classes_absent(self) -> list[int]:
        """Classes (rows) without one labelled pixel: left out of every mean."""
        return [int(row) for row in np.flatnonzero(self.pixels == 0)]

    @property
    def classes_scored(self) -> int:
        return len(self.pixels) - len(self.classes_absent)


def _count_pairs(true: Ids, predicted: Ids, n: int) -> Counts:
    """(n, n) counts of two flat label maps with predictions in 0..n-1; labels outside 0..n-1 are dropped.

    Label maps consist of long stretches of one value, so the stretches are counted, weighted by their length: comparing
    neighbours runs at the speed of memory, counting single pixels does not. Ragged maps are counted pixel by pixel.
    """
    if true.size == 0:
        return np.zeros((n, n), np.int64)
    changes = true[1:] != true[:-1]
    changes |= predicted[1:] != predicted[:-1]
    if np.count_nonzero(changes) > true.size // RAGGED:
        return _histogram(true, predicted, n)
    last = np.append(np.flatnonzero(changes), true.size - 1)
    return _histogram(true[last], predicted[last], n, np.diff(last, prepend=-1))


def _histogram(true: Ids, predicted: Ids, n: int, pixels: NDArray[np.intp] | None = None) -> Counts:
    """Two-dimensional histogram by one index per pair: at most 255 * 255 + 254, so two bytes hold it."""
    index = np.multiply(_bytes(true), np.uint16(n), dtype=np.uint16)
    index += _bytes(predicted)
    counts = np.bincount(index, weights=pixels, minlength=n * n)  # weighted sums are float64, exact below 2**53 pixels
    return counts[: n * n].reshape(n, n).astype(np.int64)


def _bytes(ids: Ids) -> NDArray[np.uint8]:
    """Ids as uint8, with 255 for everything that no byte holds."""
    if ids.dtype == np.uint8:
        return ids.view(np.uint8)
    known = (ids >= 0) & (ids < MOST_NAMES)
    return np.where(known, ids.astype(np.uint8), np.uint8(255))
