"""IoU per class of several methods side by side (the form of ViL-Seg's Figure 6): a bar per row of the ablation.

Rows are told apart by how a bar is filled and by their order, which is that of the legend and of the table; its colour
says what it says on the whole page, whether the captions name unseen classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from .ablation import CLIP_SEG, FULL, OFFLINE, WITHOUT
from .figures import COLOURS, Bar, bar_of, per_cent_axis, short
from .groups import Group
from .svg import INK, MUTED, PAPER, drawing
from .verdict import points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Row -> share of the bar's room, opacity of its filling; 0 is an outline.
LOOKS = {CLIP_SEG: (0.35, 1.0), WITHOUT: (0.85, 0.0), OFFLINE: (0.85, 0.4), FULL: (0.85, 0.9)}


def class_bars(rows: Sequence[tuple[str, Group]], name: str) -> Markup:
    """Unseen-only IoU, the classes from the full row's best to its worst; rows: (name of the row, its runs)."""
    found = scores(rows)
    heights = 14 * len(rows) + 14
    said = "; ".join(f"{cls} {', '.join(points(bar.value) for bar in bars)}" for cls, bars in found.items())
    order = ", ".join(row for row, _ in rows)
    with drawing(name, f"Unseen-only IoU per class of {order}: {said}", 420, 40 + heights * len(found),
                 (112, 4, 36, 32)) as made:  # fmt: skip
        for place, bars in enumerate(found.values()):
            for number, ((row, group), bar) in enumerate(zip(rows, bars, strict=True)):
                room = 0.84 / len(rows)
                _bar(made.axes, place - 0.42 + room * (number + 0.5), room, bar, LOOKS[row], COLOURS[group.tone])
        made.axes.set_yticks(range(len(found)), [short(cls, 16) for cls in found], color=INK)
        made.axes.set_ylim(len(found) - 0.5, -0.5)
        per_cent_axis(made.axes, "IoU, %")
    return made.markup


def scores(rows: Sequence[tuple[str, Group]]) -> dict[str, list[Bar]]:
    """Class -> one Bar per row, sorted by the last row, the full one; absent classes last."""
    names = rows[-1][1].first.get("scores.unseen.candidates", [])
    found = {name: [bar_of(group, "unseen", name) for _, group in rows] for name in names}
    return dict(sorted(found.items(), key=lambda item: -(item[1][-1].value if item[1][-1].value is not None else -1)))


def _bar(axes: Axes, y: float, room: float, bar: Bar, look: tuple[float, float], colour: str) -> None:
    if bar.value is None:
        axes.text(1, y, "absent", va="center", size=9, color=MUTED)
        return
    share, opacity = look
    axes.barh(y, 100 * bar.value, room * share, color=colour if opacity else PAPER, alpha=opacity or 1)
    axes.barh(y, 100 * bar.value, room * share, fill=False, edgecolor=colour, linewidth=1.2)
    if bar.low != bar.high and bar.low is not None and bar.high is not None:
        axes.plot([100 * bar.low, 100 * bar.high], [y, y], color=INK, linewidth=1.2)
    axes.text(100 * max(bar.high or 0, bar.value) + 1.5, y, points(bar.value), va="center", size=9, color=MUTED)


def swatch(row: str, tone: str) -> Markup:
    """How a row's bars are filled, to stand in the legend."""
    share, opacity = LOOKS[row]
    high = 12 * share
    box: dict[str, Any] = {"y": f"{7 - high / 2:.1f}", "h": f"{high:.1f}", "o": opacity, "tone": tone}
    return Markup(
        '<svg class="swatch {tone}" viewBox="0 0 26 14" width="26" height="14" aria-hidden="true"><rect class="look" x="1"'
        ' y="{y}" width="24" height="{h}" fill-opacity="{o}"/></svg>'
    ).format(**box)
