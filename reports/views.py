"""What each section of the page shows: a board with its drawings, a sweep with its own, and the ids they are found by.

Long reports stay readable and small: drawings are made for the first families and galleries for the first groups of
each board, and the page says so where some are left to the run folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from markupsafe import Markup

from . import figures, lines
from .ablation_view import AblationView, ablation_view
from .boards import Board, Family
from .calibration import Curve, curves
from .groups import Group
from .pictures import Card, gallery
from .rounds import Course, courses
from .sweeps import Sweep, sweeps
from .verdict import trend, verdict

MOST_FAMILIES = 12  # with figures, per board
MOST_GALLERIES = 24  # per board


class Departures(NamedTuple):
    """Where one method's settings differ from its paper's."""

    title: str
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Figures:
    """The drawings of one family."""

    family: Family
    bars: list[figures.Panel]
    curves: list[figures.Panel]
    undrawn: int  # meters that no curve shows


@dataclass(frozen=True)
class View:
    """A board with everything its section shows."""

    board: Board
    id: str

    @cached_property
    def verdict(self) -> list[str]:
        return verdict(self.board)

    @cached_property
    def leakage(self) -> Markup | None:
        return figures.leakage(self.board, f"{self.id}-leakage") if self.board.pairs else None

    @cached_property
    def figures(self) -> list[Figures]:
        return [self._drawn(family, place) for place, family in enumerate(self.board.families[:MOST_FAMILIES])]

    def _drawn(self, family: Family, place: int) -> Figures:
        name = f"{self.id}-{place}"
        wanted = (("unseen", "unseen"), ("all", "unseen"), ("all", "seen"))
        bars = [
            figures.Panel(_BARS[scope, kind], "", figures.class_bars(family, scope, kind, f"{name}-{scope}-{kind}"))
            for scope, kind in wanted
            if figures.class_scores(family, scope, kind)
        ]
        return Figures(family, bars, figures.curves(family, f"{name}-curve"), figures.undrawn_meters(family))

    @cached_property
    def undrawn(self) -> int:
        return max(0, len(self.board.families) - MOST_FAMILIES)

    @cached_property
    def galleries(self) -> list[tuple[Group, int | None, list[Card]]]:
        groups = [group for family in self.board.families for group in family.groups]
        found = [(group, *gallery(group)) for group in groups[:MOST_GALLERIES]]
        return [item for item in found if item[2]]

    @cached_property
    def ablation(self) -> AblationView | None:
        return ablation_view(self.board, self.id)

    @cached_property
    def rounds(self) -> list[tuple[Course, Markup]]:
        found = courses(self.board)[:MOST_FAMILIES]
        return [(course, lines.rounds(course, f"{self.id}-rounds-{place}")) for place, course in enumerate(found)]

    @cached_property
    def rounds_undrawn(self) -> int:
        return len(courses(self.board)) - len(self.rounds)

    @cached_property
    def curves(self) -> list[Curve]:
        return curves(self.board)

    @cached_property
    def over_gamma(self) -> list[tuple[Curve, Markup]]:
        drawn = enumerate(self.curves[:MOST_FAMILIES])
        return [(curve, lines.over_gamma(curve, f"{self.id}-gamma-{place}")) for place, curve in drawn]

    @cached_property
    def seen_unseen(self) -> Markup:
        return lines.seen_unseen(self.curves, f"{self.id}-seen-unseen")

    @property
    def departures(self) -> list[Departures]:
        found: dict[str, Departures] = {}
        for group in self.board.groups:
            rows = group.first.get("method.departures", [])
            same = json.dumps([group.first.get("method.name"), rows], sort_keys=True)
            found.setdefault(same, Departures(group.title, rows))
        return [item for item in found.values() if item.rows]


@dataclass(frozen=True)
class SweepView:
    """A sweep with its drawings. places: the id of each board's section."""

    sweep: Sweep
    id: str
    places: dict[Board, str]

    def place(self, board: Board) -> str:
        return self.places[board]

    @property
    def verdict(self) -> str:
        return trend(self.sweep)

    @cached_property
    def panels(self) -> list[figures.Panel]:
        return [
            figures.Panel(title, note, lines.over_k(self.sweep, column, f"{self.id}-{column.replace('_', '-')}"))
            for column, title, note in _SWEPT
        ]


_SWEPT = (
    ("all_unseen_miou", "Unseen IoU over K", "mIoU in %, all names"),
    ("all_harmonic_miou", "Harmonic over K", "in %, all names"),
    ("unseen_only_miou", "Unseen only over K", "mIoU in %"),
)
_BARS = {
    ("unseen", "unseen"): "Unseen only: unseen classes",
    ("all", "unseen"): "All names: unseen classes",
    ("all", "seen"): "All names: seen classes",
}


def views_of(found: Sequence[Board]) -> list[View]:
    """Views with ids that are unique and speak: "drawn-voc5", then "drawn-voc5.2"."""
    stems = [f"{board.kind}-{_slug(str(board.run.get('split.name')))}" for board in found]
    before = [stems[:place].count(stem) for place, stem in enumerate(stems)]
    ids = [f"{stem}.{count + 1}" if count else stem for stem, count in zip(stems, before, strict=True)]
    return [View(board, id) for board, id in zip(found, ids, strict=True)]


def sweep_views(views: Sequence[View]) -> list[SweepView]:
    """A board is in one sweep at most, so its first board's id makes a sweep's id unique."""
    of = {view.board: view.id for view in views}
    return [SweepView(sweep, f"sweep-{of[sweep.boards[0]]}", of) for sweep in sweeps(list(of))]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-") or "split"
