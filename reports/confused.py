"""What unseen classes are taken for: rows of the confusion matrix with all names competing, in shares of each row.

The columns are the unseen names, then the names most often predicted in their place; the rest is summed, and with it the
pixels of label maps that were handed in with something that is no candidate there. Of several seeds
the shares are averaged; as every seed is scored on the same pixels, these are the shares of all their pixels together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from zsbench.metrics import Counts, Floats

from .boards import Board
from .differences import SHARED, with_shared
from .groups import Group
from .leakage.tables import safe
from .read import Run
from .tables import DIGITS, Row, as_csv, rounded

MOST_OTHERS = 8  # names beside the unseen ones
SHADES = 10
REST = "(all other names)"
CSV_COLUMNS = (*SHARED, "class", "predicted", "pixels", "share")


@dataclass(frozen=True)
class Cell:
    """How often a class is taken for a name. share: of the class's pixels; right: the name is its own."""

    name: str
    share: float
    right: bool

    @property
    def shade(self) -> int:
        """0 to SHADES, the darkness of the cell."""
        return min(SHADES, round(SHADES * self.share))


@dataclass(frozen=True)
class Taken:
    """One unseen class: its cells in the order of the columns, the last one for all other names.

    most: of all wrong names, also those without a column, the one it is most often taken for; None where there is none.
    """

    name: str
    cells: tuple[Cell, ...]
    most: Cell | None


@dataclass(frozen=True, eq=False)
class Confused:
    """The unseen rows of a group's confusion matrices. matrices: (names, names + 1) pixels per run, rows truth.

    The last column holds pixels predicted as no candidate at all, which only label maps that were handed in have.
    """

    group: Group
    matrices: tuple[Counts, ...]

    @cached_property
    def names(self) -> list[str]:
        return list(self.group.first.get("scores.all.candidates"))

    @cached_property
    def held_out(self) -> list[int]:
        """Places of the unseen names."""
        wanted = set(self.group.first.get("split.unseen"))
        return [place for place, name in enumerate(self.names) if name in wanted]

    @cached_property
    def unseen(self) -> list[int]:
        """Places of the unseen classes that have pixels in every run."""
        return [row for row in self.held_out if all(matrix[row].sum() for matrix in self.matrices)]

    @cached_property
    def shares(self) -> Floats:
        """(unseen classes with pixels, names + 1), mean over the runs."""
        rows = [matrix[self.unseen] for matrix in self.matrices]
        return np.mean([pixels / pixels.sum(axis=1, keepdims=True) for pixels in rows], axis=0)

    @cached_property
    def columns(self) -> list[int]:
        weight = self.shares[:, :-1].sum(axis=0)  # every class counts alike, however large
        order = [int(place) for place in np.argsort(-weight, kind="stable")]
        others = [place for place in order if place not in self.held_out and weight[place] > 0]
        return self.held_out + others[:MOST_OTHERS]

    @property
    def heads(self) -> list[str]:
        return [self.names[place] for place in self.columns]

    @cached_property
    def rows(self) -> list[Taken]:
        return [Taken(self.names[row], tuple(self._cells(at)), self._most(at)) for at, row in enumerate(self.unseen)]

    def _most(self, at: int) -> Cell | None:
        wrong = self.shares[at, :-1].copy()
        wrong[self.unseen[at]] = 0
        place = int(wrong.argmax())
        return Cell(self.names[place], round(float(wrong[place]), DIGITS), right=False) if wrong[place] > 0 else None

    def _cells(self, at: int) -> list[Cell]:
        shares, own = self.shares[at], self.unseen[at]
        shown = [Cell(self.names[place], round(float(shares[place]), DIGITS), place == own) for place in self.columns]
        rest = float(shares.sum() - shares[self.columns].sum())
        return [*shown, Cell(REST, round(max(0.0, rest), DIGITS), right=False)]


def confusions(board: Board) -> list[Confused]:
    """The groups whose every run holds a whole confusion matrix, in the order of the table."""
    told = ((group, [matrix_of(run) for run in group.runs]) for group in board.groups)
    found = [Confused(group, tuple(m for m in own if m is not None)) for group, own in told]
    return [one for one in found if len(one.matrices) == len(one.group.runs) and one.unseen]


def matrix_of(run: Run) -> Counts | None:
    """The confusion matrix (names, names + 1) with all names competing; None where the record holds none of that shape."""
    told: Any = run.get("confusion.all")
    names = len(run.get("scores.all.candidates"))
    missed = run.get("confusion.missed.all", [0] * names)
    if not isinstance(told, list) or len(told) != names or not all(_is_row(row, names) for row in [*told, missed]):
        return None
    return np.column_stack([np.array(told, np.int64), np.array(missed, np.int64)])


def _is_row(row: Any, names: int) -> bool:
    return isinstance(row, list) and len(row) == names and all(type(n) is int and 0 <= n < 2**53 for n in row)


def confusion_rows(found: Sequence[Confused]) -> list[Row]:
    """Rows of confusion.csv: per run and unseen class one per column of the page, the last for all other names together, so
    that the pixels of a class are all there, once."""
    return [
        beginning | row
        for one in found
        for (_, beginning), matrix in zip(with_shared(one.group.runs), one.matrices, strict=True)
        for row in _rows(one, matrix)
    ]  # fmt: skip


def _rows(one: Confused, matrix: Counts) -> Iterator[Row]:
    for place in one.unseen:
        pixels = matrix[place].tolist()
        shown = {one.names[at]: pixels[at] for at in one.columns}
        for name, n in [*shown.items(), (REST, sum(pixels) - sum(shown.values()))]:
            yield {
                "class": safe(one.names[place]),
                "predicted": safe(name),
                "pixels": n,
                "share": rounded(n / sum(pixels)),
            }


def confusion_csv(rows: Sequence[Row]) -> str:
    return as_csv(CSV_COLUMNS, rows)
