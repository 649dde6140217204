"""Figures of lines: scores over rounds, gamma, K and the number of clusters, and unseen over seen mIoU.

Lines are told apart by dash and marker first and by colour last, so that they stay apart in grey, on paper and for
every eye; colours here mean nothing else. Where lines have fixed names (seen, unseen, …) these stand at the lines' ends,
where they are methods a legend with the same dash and marker stands above.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from .calibration import Curve, Single
from .clusters import Panel
from .groups import Group, Score
from .rounds import Course
from .svg import ACCENT, INK, MUTED, PAPER, VARIABLES, drawing
from .sweeps import Line, Sweep
from .verdict import points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Dots = Sequence[tuple[float, float]]  # places on the page: x as it is, y a fraction
MOST_LINES = 8  # of one drawing; the table has them all


class Style(NamedTuple):
    """How a line is drawn. dash: as matplotlib takes it; marker: "o", "s" …"""

    colour: str
    dash: Any
    marker: str


DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1, 1.6)), (0, (6, 2, 1, 2)))
SHAPES = {  # marker -> its outline around 0, for legends
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "s": "M-3.5-3.5h7v7h-7z", "^": "M0-4.5l4.2 7.8h-8.4z",
    "D": "M0-4.8l4.8 4.8-4.8 4.8-4.8-4.8z", "v": "M0 4.5l4.2-7.8h-8.4z",
    "P": "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    "X": "M-4.5-2.6l1.9-1.9L0-1.9l2.6-2.6 1.9 1.9L1.9 0l2.6 2.6-1.9 1.9L0 1.9l-2.6 2.6-1.9-1.9L-1.9 0z",
    "*": "M0-5l1.2 3.4 3.6.1-2.9 2.2 1 3.4L0 2.1l-2.9 2 1-3.4-2.9-2.2 3.6-.1z",
}  # fmt: skip
STYLES = tuple(Style((ACCENT, INK, MUTED)[place % 3], DASHES[place % 4], marker) for place, marker in enumerate(SHAPES))
PARTS = {  # the scores that a line can show, with their fixed styles
    "all_unseen_miou": ("unseen", Style(ACCENT, "solid", "o")),
    "all_harmonic_miou": ("harmonic", Style(INK, (0, (5, 2)), "s")),
    "all_seen_miou": ("seen", Style(MUTED, "solid", "^")),
    "unseen_only_miou": ("unseen only", Style(ACCENT, (0, (1, 1.6)), "D")),
}


def rounds(course: Course, name: str) -> Markup:
    """The four scores over the rounds: the mean over seeds, and thin the single seeds."""
    numbers = [state.number for state in course.states]
    told = {column: [state.score(column).value for state in course.states] for column in PARTS}
    said = "; ".join(f"{PARTS[column][0]} {', '.join(map(points, values))}" for column, values in told.items())
    with drawing(name, f"{course.group.title} over rounds {numbers[0]} to {numbers[-1]}: {said}", 400, 250,
                 (38, 8, 92, 38)) as made:  # fmt: skip
        for column in PARTS:
            for line in course.seeds(column) if len(course.group.runs) > 1 else ():
                _thin(made.axes, _dots(range(len(line)), line), PARTS[column][1])
        means = {column: _dots(numbers, values) for column, values in told.items()}
        for column, dots in means.items():
            _line(made.axes, dots, PARTS[column][1])
        _axes(made.axes, "round", numbers)
        _names(made.axes, {PARTS[column][0]: dots[-1] for column, dots in means.items() if dots}, numbers[-1])
    return made.markup


def over_gamma(curve: Curve, name: str) -> Markup:
    """Seen, unseen and harmonic mIoU over gamma; the dashed upright is the run's own gamma."""
    columns = [column for column in PARTS if column != "unseen_only_miou"]
    said = f"{curve.group.title}: seen, unseen and harmonic mIoU over gamma, own gamma {curve.gamma}"
    with drawing(name, said, 380, 220, (38, 8, 76, 38)) as made:
        for gamma in curve.own_gammas:
            made.axes.axvline(gamma, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        ends: dict[str, tuple[float, float]] = {}
        for column in columns:
            for line in curve.seeds(column) if len(curve.runs) > 1 else ():
                _thin(made.axes, _dots(curve.gammas, line), PARTS[column][1])
            dots = _dots(curve.gammas, curve.mean(column))
            _line(made.axes, dots, PARTS[column][1], every=max(1, len(dots) // 6))
            ends |= {PARTS[column][0]: dots[-1]} if dots else {}
        _axes(made.axes, "gamma, subtracted from seen names")
        _names(made.axes, ends, max(curve.gammas))
    return made.markup


def seen_unseen(curves: Sequence[Curve], single: Sequence[Single], name: str) -> Markup:
    """Unseen over seen mIoU as gamma grows, one curve per configuration; the large marker is its own gamma.

    A configuration that was not calibrated is a single point, with the style that follows those of the curves.
    """
    told = [f"{curve.group.title} area {points(curve.area.value)}" for curve in curves]
    told += [f"{one.group.title} seen {points(one.at[0])} unseen {points(one.at[1])}" for one in single]
    said = "; ".join(told)
    with drawing(name, f"Unseen over seen mIoU as gamma grows. {said}", 460, 330, (38, 8, 12, 38)) as made:
        for curve, style in zip(curves, STYLES, strict=False):
            for line in curve.balance_of_seeds if len(curve.runs) > 1 else ():
                _thin(made.axes, _in_per_cent(line), style)
            _plain(made.axes, _in_per_cent(curve.balance), style)
            own = _in_per_cent([curve.own] if curve.own else [])
            made.axes.plot(*_xy(own), style.marker, color=style.colour, markersize=9, markeredgecolor=PAPER)
        for one, style in zip(single, STYLES[len(curves) :], strict=False):
            dot = _in_per_cent([one.at])
            made.axes.plot(*_xy(dot), style.marker, color=style.colour, markersize=9, markeredgecolor=PAPER)
        _axes(made.axes, "seen mIoU, %")
        made.axes.set_ylabel("unseen mIoU, %", size=10)
    return made.markup


def over_k(sweep: Sweep, column: str, name: str) -> Markup:
    """One score over the number of unseen classes, a line per configuration with its spread over seeds."""
    said = "; ".join(
        f"{line.group.title} {', '.join(points(point.group.score(column).value) for point in line.points)}"
        for line in drawn(sweep)
    )
    ks = sorted({point.k for line in sweep.lines for point in line.points})
    with drawing(name, f"{column} over K = {', '.join(map(str, ks))}: {said}", 340, 250, (38, 8, 12, 38)) as made:
        if column == "unseen_only_miou":
            _chance(made.axes, sweep)
        for place, (line, style) in enumerate(zip(drawn(sweep), STYLES, strict=False)):
            aside = (place - (len(drawn(sweep)) - 1) / 2) * 0.014 * (ks[-1] - ks[0])  # so that whiskers do not hide
            _whiskered(made.axes, line, column, style, aside)
        _axes(made.axes, "K, number of unseen classes", ks)
    return made.markup


def over_clusters(panel: Panel, name: str) -> Markup:
    """Unseen-only mIoU over the number of clusters: the mean over seeds, and as a band the lowest to the highest."""
    lines, numbers = panel.lines[:MOST_LINES], panel.numbers
    said = "; ".join(
        f"{line.group.title} {', '.join(f'{number}: {points(_only(group).value)}' for number, group in line.points)}"
        for line in lines
    )
    with drawing(name, f"Unseen-only mIoU over the number of clusters. {said}", 380, 250, (38, 8, 52, 38)) as made:
        level = panel.group.score("chance_miou").value
        if level is not None:
            made.axes.axhline(100 * level, color=INK, linewidth=1, linestyle=(0, (3, 2)))
            outside = made.axes.get_yaxis_transform()
            made.axes.text(1.02, 100 * level, "chance", transform=outside, va="center", size=9.5, color=MUTED)
        for line, style in zip(lines, STYLES, strict=False):
            _banded(made.axes, [(number, _only(group)) for number, group in line.points], style)
        _axes(made.axes, "number of clusters", numbers)
    return made.markup


def _only(group: Group) -> Score:
    return group.score("unseen_only_miou")


def _banded(axes: Axes, scores: Sequence[tuple[int, Score]], style: Style) -> None:
    band = [(x, 100 * s.low, 100 * s.high) for x, s in scores if s.low is not None and s.high is not None]
    if band:
        xs, lows, highs = zip(*band, strict=True)
        axes.fill_between(xs, lows, highs, color=style.colour, alpha=0.14, linewidth=0)
    _line(axes, [(x, score.value) for x, score in scores if score.value is not None], style)


def drawn(sweep: Sweep) -> tuple[Line, ...]:
    return sweep.lines[:MOST_LINES]


def swatch(place: int) -> Markup:
    """The dash and marker of line `place`, to stand in a legend."""
    style = STYLES[place]
    colour = f"var({VARIABLES[style.colour]})"
    dash = "" if style.dash == "solid" else Markup(' stroke-dasharray="{}"').format(" ".join(map(str, style.dash[1])))
    return Markup(
        '<svg class="swatch" viewBox="0 0 36 14" width="36" height="14" aria-hidden="true">'
        '<path d="M1 7h34" stroke="{0}" stroke-width="2" fill="none"{1}/>'
        '<path d="{2}" transform="translate(18 7)" fill="{0}"/></svg>'
    ).format(colour, dash, SHAPES[style.marker])


def mark(place: int) -> Markup:
    """The marker alone of style `place`, to stand in a legend."""
    style = STYLES[place]
    return Markup(
        '<svg class="swatch" viewBox="0 0 16 14" width="16" height="14" aria-hidden="true">'
        '<path d="{0}" transform="translate(8 7)" fill="{1}"/></svg>'
    ).format(SHAPES[style.marker], f"var({VARIABLES[style.colour]})")


def _whiskered(axes: Axes, line: Line, column: str, style: Style, aside: float) -> None:
    scores = [(point.k, point.group.score(column)) for point in line.points]
    _line(axes, [(k + aside, score.value) for k, score in scores if score.value is not None], style)
    for k, score in scores:
        if score.low is not None and score.high is not None:
            axes.plot([k + aside] * 2, [100 * score.low, 100 * score.high], color=style.colour, linewidth=1.2)


def _chance(axes: Axes, sweep: Sweep) -> None:
    levels = {point.k: point.group.score("chance_miou").value for line in sweep.lines for point in line.points}
    dots = _dots(sorted(levels), [levels[k] for k in sorted(levels)])
    axes.plot(*_xy(dots), color=INK, linewidth=1, linestyle=(0, (3, 2)))
    if dots:
        end = (dots[-1][0], 100 * dots[-1][1])
        below: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "top"}
        axes.annotate("chance", end, (0, -3), size=9.5, color=MUTED, **below)


def _line(axes: Axes, dots: Dots, style: Style, every: Any = 1) -> None:
    axes.plot(*_xy(dots), color=style.colour, linestyle=style.dash, linewidth=1.9, marker=style.marker, markersize=6,
              markevery=every, markeredgecolor=PAPER, markeredgewidth=0.8)  # fmt: skip


def _plain(axes: Axes, dots: Dots, style: Style) -> None:
    axes.plot(*_xy(dots), color=style.colour, linestyle=style.dash, linewidth=1.9)


def _thin(axes: Axes, dots: Dots, style: Style) -> None:
    axes.plot(*_xy(dots), color=style.colour, linestyle=style.dash, linewidth=0.7, alpha=0.55)


def _xy(dots: Dots) -> tuple[list[float], list[float]]:
    return [x for x, _ in dots], [100 * y for _, y in dots]


def _in_per_cent(dots: Dots) -> list[tuple[float, float]]:
    """Places whose x is a score too."""
    return [(100 * x, y) for x, y in dots]


def _dots(xs: Iterable[float], ys: Iterable[float | None]) -> list[tuple[float, float]]:
    """Only where there is a score: an absent one leaves a gap in the markers and no zero."""
    return [(x, y) for x, y in zip(xs, ys, strict=False) if y is not None]


def _axes(axes: Axes, label: str, xs: Sequence[int] = ()) -> None:
    axes.set_ylim(0, max(10, 1.06 * axes.get_ylim()[1]))
    axes.set_xlabel(label, size=10)
    axes.tick_params(labelsize=10)
    axes.grid(axis="y")
    if xs:
        axes.set_xticks(xs[:: -(-len(xs) // 12)])
        reach = 0.06 * max(1, xs[-1] - xs[0])
        axes.set_xlim(xs[0] - reach, xs[-1] + reach)


def _names(axes: Axes, ends: dict[str, tuple[float, float]], right: float) -> None:
    """Names at the right end of the lines, pushed apart where they would touch, each tied to its line."""
    top = axes.get_ylim()[1]
    left, edge = axes.get_xlim()
    places = _apart([100 * y for _, y in ends.values()], 0.1 * top)
    for (name, (x, y)), place in zip(ends.items(), places, strict=True):
        tie = edge + 0.05 * (edge - left)
        axes.plot([x, tie], [100 * y, place], color=MUTED, linewidth=0.6, clip_on=False)
        axes.text(tie + 0.01 * (edge - left), place, name, va="center", size=10)


def _apart(values: Sequence[float], gap: float) -> list[float]:
    """The values moved as little as needed so that neighbours are `gap` apart, none below zero."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    moved = list(values)
    for before, place in pairwise(order):
        moved[place] = max(values[place], moved[before] + gap)
    return moved
