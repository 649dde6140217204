"""Scores over the number of clusters (the form of ViL-Seg's Figure 5): ViL-Seg's own clusters and K-means' k.

A line is one configuration whose number of clusters alone differs: every other setting, the captions and the circumstances
are equal. Lines that learnt from the same captions share a panel, limited ones have panels of their own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from .alike import circumstances, corpus_of, gathered
from .boards import Board
from .comparable import NUMBERS, number_of
from .groups import Group


@dataclass(frozen=True, eq=False)
class Line:
    """One configuration over its number of clusters. points: (number, group), ascending."""

    points: tuple[tuple[int, Group], ...]

    @property
    def group(self) -> Group:
        return self.points[0][1]

    @property
    def field(self) -> str:
        return NUMBERS[str(self.group.first.get("method.name"))]

    @property
    def settings(self) -> str:
        """What the user set besides the number."""
        return self.group.settings_but(self.field)


@dataclass(frozen=True, eq=False)
class Panel:
    """Lines of one board that learnt from the same captions: ViL-Seg's first, so that it looks the same in every panel."""

    lines: tuple[Line, ...]

    @property
    def group(self) -> Group:
        return self.lines[0].group

    @property
    def numbers(self) -> list[int]:
        return sorted({number for line in self.lines for number, _ in line.points})


def panels(board: Board) -> list[Panel]:
    """Every panel with a line of at least two numbers, in the order of the board's table."""
    alike = gathered((g for g in board.groups if number_of(g.first) is not None), _all_but_the_number)
    lines = [Line(points) for own in alike if len(points := _points(own)) > 1]
    lines.sort(key=lambda line: list(NUMBERS.values()).index(line.field))
    return [Panel(tuple(own)) for own in gathered(lines, _captions)]


def _points(groups: Sequence[Group]) -> tuple[tuple[int, Group], ...]:
    """Groups that are alike in all but the number have one number each: with the same they would be one group."""
    return tuple(sorted(((number_of(group.first) or 0, group) for group in groups), key=lambda point: point[0]))


def _all_but_the_number(group: Group) -> tuple[str, ...]:
    run = group.first
    name = str(run.get("method.name"))
    config = {field: value for field, value in run.get("method.config", {}).items() if field != NUMBERS[name]}
    method = (name, str(run.get("method.source_sha256")), json.dumps(config, sort_keys=True))
    return (*method, *corpus_of(run), *circumstances(run))


def _captions(line: Line) -> tuple[str, ...]:
    run = line.group.first
    return (*corpus_of(run), str(run.get("limit")), str(run.get("data.parts.val.scored")))
