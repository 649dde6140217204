"""IoU over how often captions name a class: a point per class, on a logarithmic scale of captions.

Zero has no place on a logarithmic scale, so classes that no caption names stand in a lane of their own. Unseen classes are
diamonds and seen ones rings; unseen ones are labelled first, then as many seen ones as find room.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

from .figures import short
from .frequency import Dot, Frequency
from .svg import ACCENT, INK, MUTED, PAPER, RULE, drawing
from .verdict import points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 440, 320
LANE = 0.55  # of a decade, between the lane of zero and the first caption


def frequency(of: Frequency, name: str) -> Markup:
    said = "; ".join(f"{dot.name} {dot.captions:,} captions, {points(dot.iou)}" for dot in of.dots)
    counts = [dot.captions for dot in of.dots if dot.captions]
    low = math.floor(math.log10(min(counts))) if counts else 0
    high = max(low + 1, math.ceil(math.log10(max(counts)) + 0.05)) if counts else 1
    lane = any(dot.captions == 0 for dot in of.dots)
    left = low - (2 * LANE if lane else 0.08)
    with drawing(name, f"IoU with all names over captions that name the class, {of.group.title}: {said}", WIDTH, HEIGHT,
                 (40, 8, 12, 40)) as made:  # fmt: skip
        axes = made.axes
        axes.set_xlim(left, high + 0.12)
        axes.set_ylim(-3, max(10.0, 100 * max(dot.iou for dot in of.dots)) * 1.06 + 2)
        if lane:
            axes.axvspan(left, low - LANE / 2, color=RULE, alpha=0.35, linewidth=0)
        zero = low - LANE - 0.1
        for dot in of.dots:
            _point(axes, _x(dot, zero), dot)
        _labels(axes, of.dots, zero)
        ticks = list(range(low, high + 1))
        axes.set_xticks([*([zero] if lane else []), *ticks], [*(["0"] if lane else []), *(f"{10**t:,}" for t in ticks)])
        axes.set_xlabel("captions that name the class", size=10)
        axes.set_ylabel("IoU, %", size=10)
        axes.tick_params(labelsize=10)
        axes.grid(axis="y")
    return made.markup


def _point(axes: Axes, x: float, dot: Dot) -> None:
    if dot.unseen:
        axes.plot(
            [x], [100 * dot.iou], "D", color=ACCENT, markersize=7, markeredgecolor=PAPER, markeredgewidth=0.8, zorder=3
        )
    else:
        axes.plot([x], [100 * dot.iou], "o", color=PAPER, markersize=6.5, markeredgecolor=MUTED, markeredgewidth=1.5)


Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels of the axes


def _labels(axes: Axes, dots: list[Dot], zero: float) -> None:
    """Labels beside the points, unseen classes first; one that finds no room is left to the table."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    across, up = (right - left) / (WIDTH - 52), (top - bottom) / (HEIGHT - 48)  # of the data, per pixel
    at = {dot.name: ((_x(dot, zero) - left) / across, (100 * dot.iou - bottom) / up) for dot in dots}
    marks: dict[str, Box] = {name: (x - 4, y - 4, x + 4, y + 4) for name, (x, y) in at.items()}
    taken: list[Box] = []
    for dot in sorted(dots, key=lambda dot: (not dot.unseen, dot.name)):
        text = short(dot.name, 16)
        others = [*taken, *(box for name, box in marks.items() if name != dot.name)]
        free = [
            box for box in _places(*at[dot.name], 5.2 * len(text)) if not any(_touch(box, other) for other in others)
        ]
        if free:
            taken.append(free[0])
            x, y = (free[0][0] + free[0][2]) / 2, (free[0][1] + free[0][3]) / 2
            colour = INK if dot.unseen else MUTED
            axes.text(left + x * across, bottom + y * up, text, ha="center", va="center", size=9.5, color=colour)


def _places(x: float, y: float, wide: float) -> list[Box]:
    """Where a label may stand: right, left, above, below its point, inside the axes."""
    corners = [(x + 7, y - 5.5), (x - 7 - wide, y - 5.5), (x - wide / 2, y + 6), (x - wide / 2, y - 17)]
    boxes = [(left, bottom, left + wide, bottom + 11) for left, bottom in corners]
    return [box for box in boxes if box[0] >= 0 and box[1] >= 0 and box[2] <= WIDTH - 44]


def _x(dot: Dot, zero: float) -> float:
    return math.log10(dot.captions) if dot.captions else zero


def _touch(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
