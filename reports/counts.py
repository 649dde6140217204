"""The per-image counts of a run, read without trust: what paired differences are computed from.

Choices: a file is used only if it gives the scores that stand in its record, so that a difference can never contradict
the tables; otherwise there is a reason in words and no number. Files are opened inside the run's own folder only, and
not above a size that no validation list reaches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from zsbench.errors import UserError
from zsbench.image_counts import ImageCounts
from zsbench.metrics import Floats, Scope, Tally, harmonic
from zsbench.split import Split

if TYPE_CHECKING:
    from .read import Run

LARGEST_FILE = 256 * 2**20  # bytes
MOST_ROWS = 20_000_000  # cells that are not zero; 41,000 images of 171 classes have about a million
TOLERANCE = 1e-5  # between the counts' scores and the record's
COLUMNS: dict[str, Scope] = {
    "unseen_only_miou": "unseen", "all_unseen_miou": "all", "all_harmonic_miou": "all",
}  # fmt: skip
_RECORDED = {"unseen_only_miou": "unseen.miou", "all_unseen_miou": "all.unseen.miou",
             "all_harmonic_miou": "all.harmonic.miou"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class PerImage:
    """Counts per image of one run in both scopes. images: keys in the order of the tally's rows.

    beside: the counts hold one more name, for pixels that label maps handed in gave to no candidate. Nothing is labelled
    as it: such a pixel stays in its class's truth, and so in its union, and is nobody's prediction.
    """

    counts: ImageCounts
    beside: bool = False

    @cached_property
    def images(self) -> dict[Scope, list[str]]:
        return {scope: self.counts.images(scope) for scope in set(COLUMNS.values())}

    @cached_property
    def tallies(self) -> dict[Scope, Tally]:
        """Scope -> counts of shape (images, candidates)."""
        whole = {scope: self.counts.tally(scope) for scope in set(COLUMNS.values())}
        return {scope: _without_last(tally) if self.beside else tally for scope, tally in whole.items()}

    def of(self, scope: Scope, images: list[str]) -> Tally:
        """The counts (images, candidates) of these images, in this order. All must be there."""
        whole = self.tallies[scope]
        if images == self.images[scope]:
            return whole
        places = {image: row for row, image in enumerate(self.images[scope])}
        rows = [places[image] for image in images]
        return Tally(whole.correct[rows], whole.truth[rows], whole.predicted[rows])

    def score(self, column: str) -> float:
        """The score of a column of runs.csv over all images; nan where no class has pixels."""
        whole = self.tallies[COLUMNS[column]]
        return float(score(column, summed(whole), self.counts.seen))


def _without_last(tally: Tally) -> Tally:
    return Tally(tally.correct[:, :-1], tally.truth[:, :-1], tally.predicted[:, :-1])


def score(column: str, tally: Tally, seen: int) -> Floats:
    """A column's score from counts (..., candidates); the candidates of scope "all" begin with the `seen` classes."""
    if column == "unseen_only_miou":
        return tally.miou()
    unseen = tally.miou(slice(seen, None))
    return unseen if column == "all_unseen_miou" else harmonic(tally.miou(slice(0, seen)), unseen)


def summed(tally: Tally) -> Tally:
    """Counts of all images together, (candidates,)."""
    return Tally(tally.correct.sum(axis=0), tally.truth.sum(axis=0), tally.predicted.sum(axis=0))


def per_image(run: Run) -> PerImage | str:
    """The counts of a run, or why there are none, as the end of a sentence."""
    name = run.get("files.per_image")
    path = run.file(str(name)) if name else None
    if path is None:
        return f"run {run.key} has no per-image counts"
    try:
        if path.stat().st_size > LARGEST_FILE or _rows(path) > MOST_ROWS:
            return f"the per-image counts of run {run.key} are too large to be read"
        beside = bool(run.get("submission"))
        found = PerImage(ImageCounts.read([path], _split(run, beside)), beside)
    except (UserError, OSError, ValueError, ArithmeticError, TypeError, MemoryError):
        return f"the per-image counts of run {run.key} cannot be read"
    if wrong := _contradiction(found, run):
        return f"the per-image counts of run {run.key} give another {wrong} than its record"
    return found


def _rows(path: object) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _split(run: Run, beside: bool) -> Split:
    """As much of a split as counts need. beside: with one more name at the end."""
    told = run.record["split"]
    unseen = (*told["unseen"], *([""] if beside else []))
    return Split(told["name"], str(told.get("dataset", "")), told["title"], "", tuple(told["seen"]), unseen,
                 told["background"], "none")  # fmt: skip


def _contradiction(found: PerImage, run: Run) -> str:
    """The first score that the counts do not give; empty where they agree. A score that was not submitted is not held."""
    words = {"unseen_only_miou": "unseen-only mIoU", "all_unseen_miou": "unseen mIoU", "all_harmonic_miou": "harmonic"}
    for column, path in _RECORDED.items():
        told, counted = run.get(f"scores.{path}"), found.score(column)
        if told is not None and not abs(counted - told) <= TOLERANCE:  # also where nothing was counted (nan)
            return words[column]
        if told is None and not np.isnan(counted):
            return words[column]
    return ""
