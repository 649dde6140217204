"""Pictures of a run: photo, truth and prediction of the worst, the median and the best image, and of shared ones.

The rule: of the images that show an unseen class, ranked by their own mean IoU with all names competing. The shared
images do not ask for a score: of the same images they are those whose keys have the smallest SHA-256. So every run of a
split on the same data shows them, methods can be looked at side by side, and nobody, neither a method nor who runs it,
can choose the images that flatter. An image has one entry; where a shared one is also the worst, say, it says both.
Colours follow the VOC palette by position in the split, so that a class has one colour in every picture of a split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

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


class Choice(NamedTuple):
    """An image to show. rule: worst, median, best, or shared where it is none of these; score: its mean IoU."""

    key: str
    rule: str
    score: float
    shared: bool = False


def choose(counts: ImageCounts) -> list[Choice]:
    """Worst first, those that are only shared last; deterministic, ties by key."""
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
    common = shared(shown)
    rules["shared"] = [row for row in ranked if row[1] in common]
    picked: dict[str, Choice] = {}
    for rule, rows in rules.items():
        for score, key in rows:
            picked.setdefault(key, Choice(key, rule, score, key in common))
    return list(picked.values())


def shared(keys: Iterable[str]) -> list[str]:
    """The keys that every run shows: those with the smallest SHA-256, which no score decides."""
    return sorted(keys, key=lambda key: hashlib.sha256(key.encode()).digest())[:EACH]


def write_pictures(evaluation: Predicted, counts: ImageCounts) -> list[dict[str, Any]]:
    """Writes the PNG files below `pictures/` and returns their entries for the record."""
    folder = evaluation.folder / "pictures"
    folder.mkdir(exist_ok=True)
    return [_write(evaluation, number, choice) for number, choice in enumerate(choose(counts))]


def _write(evaluation: Predicted, number: int, choice: Choice) -> dict[str, Any]:
    from PIL import Image

    photo, truth, prediction = evaluation.predict(choice.key)
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
    return choice._asdict() | {"colours": colours, "labels": labels} | files


PALETTE = np.array(voc_palette(), np.uint8).reshape(-1, 3)


def paint(ids: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W) split ids -> (H, W, 4) uint8."""
    colours = PALETTE[(ids.astype(np.int64) + 1) % 256]
    return np.dstack([colours, alpha.astype(np.uint8)])
