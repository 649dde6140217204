"""Calibration curves: how seen and unseen mIoU trade as gamma is subtracted from the probabilities of seen names.

Everything is read from the rows of calibration.csv; the means are over the runs of a group that share the gammas.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from .boards import Board
from .groups import Group, Score
from .read import Run
from .series import gamma_rows
from .tables import Row


@dataclass(frozen=True, eq=False)
class Curve:
    """The calibration of one group."""

    group: Group

    @cached_property
    def runs(self) -> list[Run]:
        return [run for run in self.group.runs if run.get("calibration.gammas")]

    @cached_property
    def rows(self) -> list[list[Row]]:
        """At the gammas that all runs have: a run's own, chosen by itself, is often its alone."""
        shared = set.intersection(*(set(run.get("calibration.gammas")) for run in self.runs))
        return [[row for row in gamma_rows(run) if row["gamma"] in shared] for run in self.runs]

    @property
    def gammas(self) -> list[float]:
        return [row["gamma"] for row in self.rows[0]]

    @property
    def own_gammas(self) -> list[float]:
        """Those its scores were made with, ascending; more than one where every run chose its own."""
        return sorted({float(run.get("calibration.gamma")) for run in self.runs})

    @property
    def gamma(self) -> str:
        return ", ".join(f"{gamma:.5g}" for gamma in self.own_gammas)

    @property
    def area(self) -> Score:
        """Area below unseen mIoU over seen mIoU, as a share of the square from 0 to 1."""
        return self.group.score("calibration_area")

    def seeds(self, column: str) -> list[list[float | None]]:
        return [[row[column] for row in own] for own in self.rows]

    def mean(self, column: str) -> list[float | None]:
        """Over the seeds, per gamma; None where a seed has no score."""
        return [_mean(values) for values in zip(*self.seeds(column), strict=True)]

    @property
    def balance(self) -> list[tuple[float, float]]:
        """(seen, unseen) mIoU per gamma, of the mean."""
        return _pairs(self.mean("all_seen_miou"), self.mean("all_unseen_miou"))

    @property
    def balance_of_seeds(self) -> list[list[tuple[float, float]]]:
        return [_pairs(*both) for both in zip(self.seeds("all_seen_miou"), self.seeds("all_unseen_miou"), strict=True)]

    @property
    def own(self) -> tuple[float, float] | None:
        """(seen, unseen) mIoU of the scores in the tables."""
        seen, unseen = (self.group.score(column).value for column in ("all_seen_miou", "all_unseen_miou"))
        return (seen, unseen) if seen is not None and unseen is not None else None


class Single(NamedTuple):
    """A group without a calibration: one point (seen, unseen) among the curves."""

    group: Group
    at: tuple[float, float]


def singles(board: Board) -> list[Single]:
    """The groups of a board that tell no calibration but have both scores, in the order of its table."""
    rest = [curve for curve in map(Curve, board.groups) if not curve.runs]
    return [Single(curve.group, curve.own) for curve in rest if curve.own]


def curves(board: Board) -> list[Curve]:
    """The groups of a board that tell their calibration, in the order of its table."""
    return [curve for curve in map(Curve, board.groups) if curve.runs]


def _mean(values: tuple[float | None, ...]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if len(there) == len(values) else None


def _pairs(xs: list[float | None], ys: list[float | None]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(xs, ys, strict=True) if x is not None and y is not None]
