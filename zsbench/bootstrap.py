"""How sure a score is: percentile intervals by resampling validation images with replacement.

The image is the unit, not the pixel: pixels of one image are right or wrong together, and an interval over pixels would
be far too narrow. Scores are recomputed from the summed counts of every resample (never averaged over images), and a
class that is absent from a resample is left out of that resample's mean, as it is everywhere. The interval says how
much the score hangs on these images; it says nothing about other training seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from zsbench.metrics import Floats, Tally

Statistic = Callable[[Tally], Floats]  # (..., n) counts -> (...) scores, such as `Tally.miou`
Interval = tuple[float, float]

RESAMPLES = 1000
LEVEL = 0.95
STEP = 100  # resamples drawn at once: 100 x 5,000 images of float64 weights are 4 MB; part of the random sequence


def bootstrap(
    per_image: Tally, statistic: Statistic, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Interval | None:
    """(low, high) of `statistic`, or None with fewer than two images. `per_image` holds counts of shape (images, n)."""
    return interval(statistic(resample(per_image, resamples, seed)), level) if len(per_image.truth) > 1 else None


def interval(values: Floats, level: float = LEVEL) -> Interval | None:
    """The central `level` of the values (resamples,); those that are nan are left out, None if all are."""
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample(per_image: Tally, resamples: int = RESAMPLES, seed: int = 0) -> Tally:
    """Counts (resamples, n) of as many images, drawn with replacement. The same seed draws the same images.

    Whole numbers below 2**53 add up exactly in float64, so the result does not depend on threads or on summation order.
    """
    per_class = np.hstack([per_image.correct, per_image.truth, per_image.predicted]).astype(np.float64)
    sums = np.vstack([weights @ per_class for weights in _weights(len(per_class), resamples, seed)])
    return Tally(*np.hsplit(sums, 3))


def _weights(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each image occurs in each resample, in pieces of (at most STEP, images)."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, STEP):
        rows = min(STEP, resamples - start)
        drawn = random.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(np.float64)
