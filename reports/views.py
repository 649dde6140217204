"""What each section of the page shows: a board with its drawings, a sweep with its own, and the ids they are found by.

Long reports stay readable and small: drawings are made for the first families and galleries for the first groups of
each board, and the page says so where some are left to the run folders.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from markupsafe import Markup

from . import dots, figures, lines, scatter
from .ablation_view import AblationView, ablation_view
from .against import Chosen, chosen
from .beside import Section, section
from .boards import Board, Family
from .calibration import Curve, Single, curves, singles
from .common_pictures import Common, CommonCard, common_cards, common_images
from .confused import Confused, confusions
from .differences import Compared, Difference, differences
from .frequency import Frequency, frequencies
from .groups import Group
from .lead import Lead, leads
from .leakage.model import Leakage
from .pictures import Card, Room, gallery, room_for
from .rounds import Course, courses
from .sweeps import Sweep, sweeps
from .verdict import trend, verdict

MOST_FAMILIES, LEAST_FAMILIES = 12, 3  # with figures, per board
PAGE_FAMILIES = 20  # of a page, shared by its boards
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
    """A board with everything its section shows. base: what was asked to compare with; reports: every scan that was found."""

    board: Board
    id: str
    base: str | None = None
    reports: tuple[Leakage, ...] = ()
    room: Room | None = None  # of a gallery; None is the whole page's
    common: tuple[Common, ...] = ()  # images that several groups show
    most: int = MOST_FAMILIES  # with figures
    beside: int = 1  # runs on the page, whose curves share its room

    @cached_property
    def leads(self) -> list[Lead]:
        return leads(self.board)

    @cached_property
    def against(self) -> Chosen:
        return chosen(self.board, self.base)

    @cached_property
    def compared(self) -> Compared:
        return differences(self.board.groups, self.against.group)

    @property
    def differences(self) -> list[tuple[Group, list[Difference]]]:
        return [(group, list(own.values())) for group, own in self.compared.items()]

    @cached_property
    def reach(self) -> float:
        """Half the width of the scale that differences are drawn on: the farthest end of any interval, in steps of 0.1."""
        told = [one for own in self.compared.values() for one in own.values() if one.value is not None]
        ends = [abs(end) for one in told for end in (one.value, one.low, one.high) if end is not None]
        return max(0.1, math.ceil(10 * max(ends, default=0)) / 10)

    @cached_property
    def charts(self) -> list[figures.Panel]:
        """IoU per class, all configurations side by side; nothing to compare with one."""
        if len(self.board.groups) < 2:
            return []
        return [
            figures.Panel(one.title, "", dots.dot_plot(self.board, one, f"{self.id}-dots-{one.scope}-{one.kind}"))
            for one in dots.charts(self.board)
        ]

    @property
    def charted(self) -> list[Group]:
        return dots.drawn(self.board)

    @cached_property
    def frequencies(self) -> list[Frequency]:
        return frequencies(self.board, self.reports)

    @cached_property
    def scattered(self) -> list[tuple[Frequency, Markup]]:
        drawn = enumerate(self.frequencies[: self.most])
        return [(one, scatter.frequency(one, f"{self.id}-frequency-{place}")) for place, one in drawn]

    @cached_property
    def confusions(self) -> list[Confused]:
        return confusions(self.board)

    @property
    def confused(self) -> list[Confused]:
        """Those with a map on the page."""
        return self.confusions[: self.most]

    @cached_property
    def verdict(self) -> list[str]:
        return verdict(self.board)

    @cached_property
    def leakage(self) -> Markup | None:
        return figures.leakage(self.board, f"{self.id}-leakage") if self.board.pairs else None

    @cached_property
    def figures(self) -> list[Figures]:
        return [self._drawn(family, place) for place, family in enumerate(self.board.families[: self.most])]

    def _drawn(self, family: Family, place: int) -> Figures:
        name = f"{self.id}-{place}"
        wanted = (("unseen", "unseen"), ("all", "unseen"), ("all", "seen"))
        bars = [
            figures.Panel(_BARS[scope, kind], "", figures.class_bars(family, scope, kind, f"{name}-{scope}-{kind}"))
            for scope, kind in wanted
            if figures.class_scores(family, scope, kind)
        ]
        return Figures(
            family, bars, figures.curves(family, f"{name}-curve", self.beside), figures.undrawn_meters(family)
        )

    @cached_property
    def undrawn(self) -> int:
        return max(0, len(self.board.families) - self.most)

    @cached_property
    def galleries(self) -> list[tuple[Group, int | None, list[Card]]]:
        found = [(group, *gallery(group, self.room)) for group in _pictured(self.board)]
        return [item for item in found if item[2]]

    @cached_property
    def common_cards(self) -> list[CommonCard]:
        return common_cards(self.common, self.room or room_for([], [[one.tiles for one in self.common]]))

    @cached_property
    def published(self) -> Section | None:
        """What papers print, beside what was measured."""
        return section(self.board)

    @cached_property
    def ablation(self) -> AblationView | None:
        return ablation_view(self.board, self.id)

    @cached_property
    def rounds(self) -> list[tuple[Course, Markup]]:
        found = courses(self.board)[: self.most]
        return [(course, lines.rounds(course, f"{self.id}-rounds-{place}")) for place, course in enumerate(found)]

    @cached_property
    def rounds_undrawn(self) -> int:
        return len(courses(self.board)) - len(self.rounds)

    @cached_property
    def curves(self) -> list[Curve]:
        return curves(self.board)

    @cached_property
    def over_gamma(self) -> list[tuple[Curve, Markup]]:
        drawn = enumerate(self.curves[: self.most])
        return [(curve, lines.over_gamma(curve, f"{self.id}-gamma-{place}")) for place, curve in drawn]

    @cached_property
    def seen_unseen(self) -> Markup:
        return lines.seen_unseen(self.curves, self.singles, f"{self.id}-seen-unseen")

    @cached_property
    def singles(self) -> list[Single]:
        """Configurations without a calibration that find room beside the curves."""
        return singles(self.board)[: max(0, lines.MOST_LINES - len(self.curves))]

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


def views_of(found: Sequence[Board], base: str | None = None, reports: Sequence[Leakage] = ()) -> list[View]:
    """Views with ids that are unique and speak: "drawn-voc5", then "drawn-voc5.2"."""
    stems = [f"{board.kind}-{_slug(str(board.run.get('split.name')))}" for board in found]
    before = [stems[:place].count(stem) for place, stem in enumerate(stems)]
    ids = [f"{stem}.{count + 1}" if count else stem for stem, count in zip(stems, before, strict=True)]
    common = [tuple(common_images(_pictured(board))) for board in found]
    room = room_for([g for board in found for g in _pictured(board)], [[one.tiles for one in own] for own in common])
    parts = zip(found, ids, common, strict=True)
    most = min(MOST_FAMILIES, max(LEAST_FAMILIES, PAGE_FAMILIES // max(1, len(found))))
    runs = sum(len(board.runs) for board in found)
    return [View(board, id, base, tuple(reports), room, own, most, runs) for board, id, own in parts]


def _pictured(board: Board) -> list[Group]:
    """The groups whose galleries are shown."""
    return [group for family in board.families for group in family.groups][:MOST_GALLERIES]


def sweep_views(views: Sequence[View]) -> list[SweepView]:
    """A board is in one sweep at most, so its first board's id makes a sweep's id unique."""
    of = {view.board: view.id for view in views}
    return [SweepView(sweep, f"sweep-{of[sweep.boards[0]]}", of) for sweep in sweeps(list(of))]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-") or "split"
