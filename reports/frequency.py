"""IoU against caption frequency: whether the classes that captions name often are the ones that are segmented well.

Choices: captions per class come from a leakage report that fits the corpus, which may have counted seen classes too, else
from the run's own record, which knows unseen classes only. IoU is that with all names competing, the one scope that seen
and unseen classes share; over seeds the mean. The rank correlation asks for order only, so neither the logarithm nor one
rare class decides it; with few classes its p-value is counted over all orders, not taken from an approximation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zsbench.metrics import Floats

from .boards import Board
from .differences import SHARED, with_shared
from .figures import bar_of
from .groups import Group
from .leakage.model import Leakage
from .leakage.tables import safe
from .read import Run
from .scans import fits
from .tables import DIGITS, Row, as_csv, rounded

ALL, UNSEEN = "all classes", "unseen classes"
LEAST = 3  # classes for a drawing and a correlation
MOST_COUNTED = 8  # classes whose 40,320 orders are all counted
CSV_COLUMNS = (*SHARED, "class", "group", "captions_with_class", "counted_by", "iou", "classes", "rho", "p", "p_by")


@dataclass(frozen=True)
class Dot:
    """One class: captions that name it, and its IoU (a fraction, mean over seeds)."""

    name: str
    unseen: bool
    captions: int
    iou: float


@dataclass(frozen=True)
class Rank:
    """Spearman's rank correlation of some classes; rho None where all captions or all scores are equal."""

    among: str  # ALL or UNSEEN
    classes: int
    rho: float | None = None
    p: float | None = None
    counted: bool = False  # p over all orders, else by the t approximation

    @property
    def how(self) -> str:
        return "all orders counted" if self.counted else "t approximation"


@dataclass(frozen=True, eq=False)
class Frequency:
    """The classes of one group over its captions."""

    group: Group
    report: Leakage | None  # None: counted by the run itself

    @cached_property
    def counts(self) -> dict[str, int]:
        own = self.group.first.get("supervision.corpus.unseen_named") or {}
        return self.report.counts if self.report else own

    @cached_property
    def dots(self) -> list[Dot]:
        """In the order of the candidates, only classes with a count and a score."""
        unseen = set(self.group.first.get("split.unseen"))
        names = [name for name in self.group.first.get("scores.all.candidates") if name in self.counts]
        scored = [(name, bar_of(self.group, "all", name).value) for name in names]
        return [Dot(n, n in unseen, self.counts[n], round(iou, DIGITS)) for n, iou in scored if iou is not None]

    @cached_property
    def ranks(self) -> list[Rank]:
        """Of all classes, and of the unseen ones alone where both kinds were counted."""
        unseen = [dot for dot in self.dots if dot.unseen]
        if len(unseen) == len(self.dots):
            return [rank(self.dots, UNSEEN)]
        return [rank(self.dots, ALL), *([rank(unseen, UNSEEN)] if len(unseen) >= LEAST else [])]

    @property
    def counted_by(self) -> str:
        return "leakage report" if self.report else "the run's own scan"


def frequencies(board: Board, reports: Sequence[Leakage]) -> list[Frequency]:
    """The groups of a board with captions that were counted for at least LEAST classes with a score."""
    found = [Frequency(group, _report(group, reports)) for group in board.groups if group.tone != "none"]
    return [one for one in found if len(one.dots) >= LEAST]


def _report(group: Group, reports: Sequence[Leakage]) -> Leakage | None:
    """The report that counted most classes of the split."""
    names = set(group.first.get("scores.all.candidates"))
    own = [report for report in reports if report.complete and fits(report, group.first)]
    return max(own, key=lambda report: (len(names & report.counts.keys()), report.get("made")), default=None)


def rank(dots: Sequence[Dot], among: str) -> Rank:
    captions, scores = (_ranks([getattr(dot, name) for dot in dots]) for name in ("captions", "iou"))
    if len(dots) < LEAST or not captions.any() or not scores.any():
        return Rank(among, len(dots))
    rho = _correlation(captions, scores)
    p, counted = _p(captions, scores, rho)
    return Rank(among, len(dots), round(rho, DIGITS), round(p, DIGITS), counted)


def _ranks(values: Sequence[float]) -> Floats:
    """Ranks around 0, equal values sharing their mean rank; all zero where the values are equal."""
    from scipy.stats import rankdata

    ranks = np.asarray(rankdata(values), float) if len(values) else np.zeros(0)
    return ranks - ranks.mean() if len(values) else ranks


def _correlation(a: Floats, b: Floats) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def _p(captions: Floats, scores: Floats, rho: float) -> tuple[float, bool]:
    """(two-sided p, whether all orders were counted)."""
    n = len(captions)
    if n <= MOST_COUNTED:
        orders = np.array(list(itertools.permutations(range(n))))
        products = np.abs(captions[orders] @ scores)
        return float((products >= abs(captions @ scores) - 1e-9).mean()), True
    from scipy.stats import t

    if abs(rho) > 1 - 1e-12:
        return 0.0, False
    return float(2 * t.sf(abs(rho) * math.sqrt((n - 2) / (1 - rho * rho)), n - 2)), False


def words(told: Rank) -> str:
    """How to read a correlation, without its numbers."""
    among = f"Among all {told.classes} classes" if told.among == ALL else f"Among the {told.classes} unseen classes"
    if told.rho is None:
        return f"{among} it is undefined: all are named equally often, or all score the same"
    if told.p is None or told.p >= 0.05:
        return f"{among} no such order is shown"
    return f"{among}, those named more often are segmented {'better' if told.rho > 0 else 'worse'}"


def frequency_rows(found: Sequence[Frequency]) -> list[Row]:
    """Rows of frequency.csv: per run one per class, then one per correlation, whose column `class` is empty.

    The correlation is that of the mean over the group's seeds, the same in the rows of each of them.
    """
    return [
        beginning | row
        for one in found for run, beginning in with_shared(one.group.runs) for row in _rows(one, run)
    ]  # fmt: skip


def _rows(one: Frequency, run: Run) -> list[Row]:
    of = {True: "unseen", False: "seen"}
    classes: list[Row] = [
        {"class": safe(dot.name), "group": of[dot.unseen], "captions_with_class": dot.captions, "counted_by": one.counted_by,
         "iou": rounded(run.record["scores"]["all"]["classes"][dot.name].get("iou"))} for dot in one.dots
    ]  # fmt: skip
    ranks: list[Row] = [
        {"class": None, "group": told.among, "counted_by": one.counted_by, "classes": told.classes, "rho": told.rho,
         "p": told.p, "p_by": told.how if told.p is not None else None} for told in one.ranks
    ]  # fmt: skip
    return classes + ranks


def frequency_csv(rows: Sequence[Row]) -> str:
    return as_csv(CSV_COLUMNS, rows)
