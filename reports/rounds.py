"""What the rounds of a group scored and which pixels they were made from, over the group's seeds.

Round 0 is the baseline that the method starts from, in the same run and from the same trainings: gains are paired per
seed. Everything is read from the rows of rounds.csv, so that page and file agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .alike import gathered
from .boards import Board
from .groups import Group, Score, score_of
from .series import round_rows
from .tables import Row


@dataclass(frozen=True, eq=False)
class Counts:
    """The pixels selected for one class in one round; one row per run."""

    name: str
    rows: tuple[Row, ...]

    def score(self, column: str) -> Score:
        return score_of(self.rows, column)


@dataclass(frozen=True, eq=False)
class State:
    """One round of a group. rows: one per run; classes: in the order of the records."""

    number: int
    name: str
    rows: tuple[Row, ...]
    classes: tuple[Counts, ...]

    def score(self, column: str) -> Score:
        return score_of(self.rows, column)

    @property
    def selected(self) -> bool:
        return any(row["door"] is not None for row in self.rows)


@dataclass(frozen=True, eq=False)
class Course:
    """The rounds of one group, first to last."""

    group: Group

    @cached_property
    def states(self) -> list[State]:
        rows = [row for run in self.group.runs if len(run.get("rounds", [])) > 1 for row in round_rows(run)]
        return [_state(own) for own in gathered(rows, lambda row: row["round"])]

    def seeds(self, column: str) -> list[list[float | None]]:
        """One line per run: the column's value in every round of it."""
        rows = [row for state in self.states for row in state.rows]
        return [[row[column] for row in own] for own in gathered(rows, lambda row: row["key"])]


def _state(rows: list[Row]) -> State:
    own = tuple(row for row in rows if row["class"] is None)
    classes = gathered((row for row in rows if row["class"] is not None), lambda row: row["class"])
    counts = tuple(Counts(of[0]["class"], tuple(of)) for of in classes)
    return State(own[0]["round"], own[0]["name"], own, counts)


def courses(board: Board) -> list[Course]:
    """The groups of a board that were trained in rounds, in the order of its table."""
    return [course for course in map(Course, board.groups) if len(course.states) > 1]
