"""IoU per class of all configurations side by side: one row per class, one marker per configuration.

Choices: unseen classes come first and are always all there; of many seen classes the best and the worst are drawn, for
those are what a reader looks for, and every class stands in classes.csv. Rows are ordered by the mean over the
configurations drawn. Markers differ by shape first, as the lines of this page do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from .boards import Board
from .figures import Bar, bar_of, per_cent_axis, short
from .groups import Group
from .lines import MOST_LINES, STYLES
from .svg import INK, MUTED, PAPER, RULE, drawing
from .verdict import points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = 64  # of one drawing; more are cut to the best and the worst
ENDS = 10  # how many of each are then drawn
ROW = 19  # pixels


@dataclass(frozen=True)
class ClassRow:
    """One class: a Bar per group, in their order."""

    name: str
    bars: tuple[Bar, ...]

    @property
    def mean(self) -> float:
        """Over the groups that have the class; -1 where it is absent."""
        values = [bar.value for bar in self.bars if bar.value is not None]
        return sum(values) / len(values) if values else -1.0


@dataclass(frozen=True)
class Chart:
    """The classes of one kind in one scope. left: how many are not drawn, between `head` and `tail`."""

    scope: str
    kind: str
    head: tuple[ClassRow, ...]
    tail: tuple[ClassRow, ...] = ()
    left: int = 0

    @property
    def title(self) -> str:
        return f"{'Unseen only' if self.scope == 'unseen' else 'All names'}: {self.kind} classes"

    @property
    def rows(self) -> tuple[ClassRow, ...]:
        return self.head + self.tail


def drawn(board: Board) -> list[Group]:
    """The groups with markers: the first of the table's order."""
    return list(board.groups[:MOST_LINES])


def charts(board: Board) -> list[Chart]:
    """Unseen classes in both scopes, then the seen ones; charts without any score are left out."""
    found = [chart(board, *which) for which in (("unseen", "unseen"), ("all", "unseen"), ("all", "seen"))]
    return [one for one in found if any(row.mean >= 0 for row in one.rows)]


def chart(board: Board, scope: str, kind: str) -> Chart:
    wanted = set(board.run.get(f"split.{kind}"))
    names = [name for name in board.run.get(f"scores.{scope}.candidates") if name in wanted]
    rows = [ClassRow(name, tuple(bar_of(group, scope, name) for group in drawn(board))) for name in names]
    rows.sort(key=lambda row: -row.mean)
    if kind == "unseen" or len(rows) <= MOST_CLASSES:
        return Chart(scope, kind, tuple(rows))
    there = [row for row in rows if row.mean >= 0]
    return Chart(scope, kind, tuple(there[:ENDS]), tuple(there[-ENDS:]), len(rows) - 2 * ENDS)


def dot_plot(board: Board, of: Chart, name: str) -> Markup:
    groups = drawn(board)
    said = "; ".join(f"{row.name} {' / '.join(points(bar.value) for bar in row.bars)}" for row in of.rows)
    order = ", ".join(f"{group.title} {group.settings}".strip() for group in groups)
    high = 46 + ROW * (len(of.rows) + bool(of.tail))
    with drawing(name, f"IoU per class, {of.title}, of {order}: {said}", 380, high, (112, 4, 14, 34)) as made:
        places = [*range(len(of.head)), *range(len(of.head) + 1, len(of.rows) + 1)]
        for place, row in zip(places, of.rows, strict=False):
            _row(made.axes, place, row)
        if of.tail:
            made.axes.text(
                50, len(of.head), f"{of.left} more in classes.csv", va="center", ha="center", size=9, color=MUTED
            )
        made.axes.set_yticks(places, [short(row.name, 16) for row in of.rows], color=INK, size=10)
        made.axes.set_ylim(len(of.rows) - 0.4 + bool(of.tail), -0.6)
        per_cent_axis(made.axes, "IoU, %")
        made.axes.set_xlim(-2, 102)
    return made.markup


def _row(axes: Axes, place: int, row: ClassRow) -> None:
    values = [100 * bar.value for bar in row.bars if bar.value is not None]
    if not values:
        axes.text(1, place, "absent", va="center", size=9, color=MUTED)
        return
    axes.plot([min(values), max(values)], [place, place], color=RULE, linewidth=3)
    for bar, style in reversed(list(zip(row.bars, STYLES, strict=False))):  # the first group lies on top
        if bar.value is not None:
            axes.plot([100 * bar.value], [place], style.marker, color=style.colour, markersize=6.5, markeredgecolor=PAPER,
                      markeredgewidth=0.8)  # fmt: skip


def undrawn(board: Board) -> int:
    return max(0, len(board.groups) - MOST_LINES)
