"""Pictures of a run: photo, truth and prediction of the worst, the median and the best image, chosen by rule.

The rule: of the images that show an unseen class, ranked by their own mean IoU with all names competing.
Colours follow the VOC palette by position in the split, so that a class has one colour in every picture of a split.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zsbench.data.dataset import IGNORED
from zsbench.data.scenes import voc_palette
from zsbench.image_counts import ImageCounts
from zsbench.metrics import Scope
from zsbench.split import Split

LAYERS = ("photo", "truth", "prediction")
EACH = 2  # pictures per rule
OUTSIDE = 96  # opacity of a prediction where nothing is scored
NO_NAME = "no candidate"  # a prediction of somebody else's that is none of the split's names; black


class Predicted(Protocol):
    """What pictures are made of: a run's evaluation, or somebody's label maps."""

    @property
    def folder(self) -> Path: ...
    @property
    def split(self) -> Split: ...
    def predict(self, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Photo (H, W, 3), truth and prediction (H, W) in split ids."""
        ...


def choose(counts: ImageCounts) -> list[tuple[str, str, float]]:
    """(key, rule, score), worst first; deterministic, ties by key."""
    scope: Scope = "all" if counts.images("all") else "unseen"  # label maps over unseen names alone
    keys, tally = counts.images(scope), counts.tally(scope)
    scores = tally.miou()
    unseen = tally.truth[:, counts.seen - counts.first(scope) :].sum(axis=1)
    shown = {key for key, pixels in zip(keys, unseen, strict=True) if pixels}
    ranked = sorted((float(score), key) for key, score in zip(keys, scores, strict=True) if key in shown)
    if not ranked:
        return []
    middle = max(0, len(ranked) // 2 - EACH // 2)
    rules = {"worst": ranked[:EACH], "median": ranked[middle : middle + EACH], "best": ranked[-EACH:]}
    picked: dict[str, tuple[str, str, float]] = {}
    for rule, rows in rules.items():
        for score, key in rows:
            picked.setdefault(key, (key, rule, score))
    return list(picked.values())


def write_pictures(evaluation: Predicted, counts: ImageCounts) -> list[dict[str, Any]]:
    """Writes the PNG files below `pictures/` and returns their entries for the record."""
    folder = evaluation.folder / "pictures"
    folder.mkdir(exist_ok=True)
    return [_write(evaluation, number, *choice) for number, choice in enumerate(choose(counts))]


def _write(evaluation: Predicted, number: int, key: str, rule: str, score: float) -> dict[str, Any]:
    from PIL import Image

    photo, truth, prediction = evaluation.predict(key)
    names, scored = evaluation.split.names, truth != IGNORED
    layers = {
        "photo": Image.fromarray(photo),
        "truth": Image.fromarray(paint(truth, scored * 255)),
        "prediction": Image.fromarray(paint(prediction, np.where(scored, 255, OUTSIDE))),
    }
    files = {layer: f"pictures/{number:02d}-{layer}.png" for layer in layers}
    for layer, picture in layers.items():
        picture.save(evaluation.folder / files[layer])
    ids = {"truth": np.unique(truth[scored]), "prediction": np.unique(prediction[scored])}
    shown = sorted({int(i) for values in ids.values() for i in values} | set(np.unique(prediction).tolist()))
    named = {i: names[i] if i < len(names) else NO_NAME for i in shown}
    colours = {name: "#{:02x}{:02x}{:02x}".format(*PALETTE[(i + 1) % 256]) for i, name in named.items()}
    labels = {layer: [named[int(i)] for i in values] for layer, values in ids.items()}
    return {"key": key, "rule": rule, "score": score, "colours": colours, "labels": labels} | files


PALETTE = np.array(voc_palette(), np.uint8).reshape(-1, 3)


def paint(ids: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W) split ids -> (H, W, 4) uint8."""
    colours = PALETTE[(ids.astype(np.int64) + 1) % 256]
    return np.dstack([colours, alpha.astype(np.uint8)])
