"""Counts of label maps that may hold anything: a pixel without a name that competes is a miss, never left out.

A method of this harness always answers with a candidate. Somebody's label map may say background where a split ignores
it, a class of another data set, or 255. Such a pixel is a labelled pixel that nobody found: it stays in its class's union
(and so lowers IoU, recall and accuracy) and is nobody's false alarm. Leaving it out, as histograms with fixed bins do,
would reward silence. In the table of cells its `predicted` is one more than the last id, so that a reader who does not
know of it meets an error and not another class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from zsbench.data.dataset import IGNORED
from zsbench.errors import UserError
from zsbench.image_counts import ImageCounts
from zsbench.metrics import ConfusionMatrix, Counts, Ids, Scope, Tally
from zsbench.split import Split


@dataclass(frozen=True, eq=False)
class SubmittedMatrix(ConfusionMatrix):
    """A confusion matrix with (n,) labelled pixels beside it for which no candidate was named."""

    missed: Counts

    @cached_property
    def tally(self) -> Tally:
        return Tally(self.counts.diagonal(), self.counts.sum(axis=1) + self.missed, self.counts.sum(axis=0))


@dataclass(frozen=True)
class SubmittedCounts(ImageCounts):
    """Like `ImageCounts`; `count` takes any prediction, and what is no candidate is counted as `nothing`."""

    @property
    def nothing(self) -> int:
        """What stands in a cell for "no candidate"."""
        return self.names

    def count(self, image: str, scope: Scope, true: Ids, predicted: Ids) -> None:
        """One image's label maps in split ids, (H, W) uint8 both."""
        first, named = self.first(scope), self.named(scope, predicted)
        labelled = np.where(named, true, np.uint8(IGNORED))
        matrix = ConfusionMatrix.count(labelled, np.where(named, predicted, np.uint8(first)), self.names, first).counts
        missed = np.bincount(true[~named], minlength=IGNORED + 1)[first : self.names]
        wide = np.column_stack([matrix, missed])
        rows, columns = np.nonzero(wide)
        self._put(scope, image, np.column_stack([rows + first, columns + first, wide[rows, columns]]))

    def named(self, scope: Scope, predicted: Ids) -> np.ndarray:
        """Where a prediction is a candidate of the scope."""
        found: np.ndarray = (predicted >= self.first(scope)) & (predicted < self.names)
        return found

    @classmethod
    def read(cls, paths: Iterable[Path], split: Split) -> SubmittedCounts:
        """Counts of any run or submission. Raises UserError like `ImageCounts.read`."""
        wide = ImageCounts.read(paths, replace(split, unseen=(*split.unseen, "")))
        found = cls(len(split.seen), len(split.unseen), wide._cells)
        if any((cells[:, 0] == found.nothing).any() for cells in wide._cells.values()):
            raise UserError(f"per-image counts of {split.name} hold a label that is no class of it")
        return found

    def total(self, scope: Scope) -> SubmittedMatrix:
        wide = self._wide.total(scope).counts
        return SubmittedMatrix(wide[:-1, :-1], wide[:-1, -1].copy())

    def tally(self, scope: Scope) -> Tally:
        wide = self._wide.tally(scope)
        return Tally(*(table[:, :-1] for table in (wide.correct, wide.truth, wide.predicted)))

    @property
    def _wide(self) -> ImageCounts:
        """The same cells where "no candidate" is one more unseen class, which no pixel is labelled as."""
        return ImageCounts(self.seen, self.unseen + 1, self._cells)
