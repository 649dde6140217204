"""From per-image counts to the numbers of a record: both scopes, classes, intervals, chance levels and oracle bounds.

Everything is a fraction in [0, 1], a count, or None where there is nothing to score: never nan, never 0 for absence.
Chance levels belong to the number of candidates k and assume that classes cover equal areas. Guessing uniformly is
right on 1/k of the pixels, with an IoU of (1/k^2) / (2/k - 1/k^2) = 1/(2k-1) per class; one constant answer has a mean
IoU of 1/k^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zsbench.bootstrap import RESAMPLES, Statistic, interval, resample
from zsbench.image_counts import ImageCounts
from zsbench.metrics import EVERY, ConfusionMatrix, Floats, Scope, Tally, harmonic
from zsbench.split import Split

Block = dict[str, Any]


def summarise(counts: ImageCounts, split: Split, seed: int = 0, resamples: int = RESAMPLES) -> Block:
    """The "scores" and "confusion" parts of a record, from scopes "unseen" and "all" and, if there, the oracle ones."""
    return {
        "scores": {
            "unseen": _unseen_scope(counts, split, seed, resamples),
            "all": _all_scope(counts, split, seed, resamples),
        },
        "confusion": {
            "unseen": counts.total("unseen").counts.tolist(),
            "all": counts.total("all").counts.tolist(),
        },
    }


def chance(k: int) -> dict[str, float]:
    """What ignorance scores among k candidates of equal area."""
    return {"accuracy": 1 / k, "miou": 1 / (2 * k - 1), "constant_miou": 1 / k**2}


def _unseen_scope(counts: ImageCounts, split: Split, seed: int, resamples: int) -> Block:
    scores = _Scores(counts, "unseen", seed, resamples)
    oracle = _Scores(counts, "oracle-unseen", seed, resamples)
    return {
        "candidates": list(split.unseen),
        "pixels": scores.pixels,
        **scores.means(split.unseen, EVERY),
        "chance": chance(len(split.unseen)),
        "oracle": oracle.mean_iou() if oracle.pixels else None,
        "classes": scores.classes(split.unseen),
    }


def _all_scope(counts: ImageCounts, split: Split, seed: int, resamples: int) -> Block:
    scores = _Scores(counts, "all", seed, resamples)
    oracle = _Scores(counts, "oracle-all", seed, resamples)
    seen, unseen = slice(0, len(split.seen)), slice(len(split.seen), None)
    tally, classes = scores.total.tally, scores.classes(split.names)
    for name, entry in classes.items():
        entry["group"] = "seen" if name in split.seen else "unseen"
    return {
        "candidates": list(split.names),
        "pixels": scores.pixels,
        "pixel_accuracy": _number(tally.pixel_accuracy()),
        "mean_accuracy": _number(tally.mean_accuracy()),
        "miou": _number(tally.miou()),
        "seen": scores.means(split.seen, seen),
        "unseen": scores.means(split.unseen, unseen),
        "harmonic": scores.harmonic(seen, unseen),
        "oracle": {"miou": _number(oracle.total.tally.miou())} if oracle.pixels else None,
        "classes": classes,
    }


class _Scores:
    """One scope: its total, its images and one set of resamples that all of its intervals share."""

    def __init__(self, counts: ImageCounts, scope: Scope, seed: int, resamples: int) -> None:
        self.total: ConfusionMatrix = counts.total(scope)
        self.pixels = int(self.total.counts.sum())
        self.per_image = counts.tally(scope)
        enough = len(self.per_image.truth) > 1
        self.resampled: Tally | None = resample(self.per_image, resamples, seed) if enough else None

    def with_interval(self, statistic: Statistic) -> Block:
        bounds = interval(statistic(self.resampled)) if self.resampled else None
        return {"miou": _number(statistic(self.total.tally)), "interval": list(bounds) if bounds else None}

    def mean_iou(self, classes: slice = EVERY) -> Block:
        return self.with_interval(lambda tally: tally.miou(classes))

    def harmonic(self, seen: slice, unseen: slice) -> Block:
        return self.with_interval(lambda tally: harmonic(tally.miou(seen), tally.miou(unseen)))

    def means(self, names: Sequence[str], classes: slice) -> Block:
        tally = self.total.tally
        absent = [name for name, pixels in zip(names, tally.truth[classes], strict=True) if not pixels]
        return {
            **self.mean_iou(classes),
            "pixel_accuracy": _number(tally.pixel_accuracy(classes)),
            "mean_accuracy": _number(tally.mean_accuracy(classes)),
            "classes_scored": len(names) - len(absent),
            "classes_absent": absent,
        }

    def classes(self, names: Sequence[str]) -> dict[str, Block]:
        images = (self.per_image.truth > 0).sum(axis=0)
        columns = zip(names, self.total.iou, self.total.recall, self.total.pixels, images, strict=True)
        return {
            name: {"iou": _number(iou), "recall": _number(recall), "pixels": int(pixels), "images": int(number)}
            for name, iou, recall, pixels, number in columns
        }


def _number(value: Floats | float) -> float | None:
    return None if np.isnan(value) else float(value)
