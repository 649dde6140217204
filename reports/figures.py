"""The report's figures: one function per figure, each takes a board or a family and returns inline SVG.

To add a figure, write one function here and one line in the template. Colours mean one thing on the whole page: the
warning colour is a run whose captions name unseen classes, the accent colour one whose captions name none, grey one
whose captions nobody scanned or that has none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from .boards import Board, Family
from .groups import WORDS, Group, Tone
from .svg import ACCENT, INK, MUTED, PAPER, RULE, WARNING, drawing
from .verdict import points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: dict[Tone, str] = {"named": WARNING, "clean": ACCENT, "unknown": MUTED, "none": MUTED}
# Lines are told apart without colour, and when two groups share one.
DASHES = ("solid", (0, (4, 2)), (0, (1, 1.6)), (0, (6, 2, 1, 2)), (0, (9, 3)))
MOST_METERS = 12  # panels per family
MOST_POINTS, LEAST_POINTS = 160, 24  # of one curve; longer ones are averaged in bins
FINE = 24  # runs whose curves are drawn as fine as that; more share the room
WIDE, NARROW = 520, 300  # natural widths in pixels


class Bar(NamedTuple):
    """One class of one group: the mean over seeds with lowest and highest; value None = absent."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Panel:
    """One small drawing and the words above it."""

    title: str
    note: str
    svg: Markup


def leakage(board: Board, name: str) -> Markup:
    """What leakage is worth: unseen-only mIoU of groups that differ by their captions only, with chance and oracle."""
    lines = [(family, group) for family in board.pairs for group in family.groups]
    height = 42 + 50 * len(lines) + 24 * len(board.pairs)
    with drawing(name, f"Unseen-only mIoU by training captions. {_aloud(lines)}", WIDE, height, (4, 4, 40, 34)) as made:
        axes, y = made.axes, 0.0
        for family in board.pairs:
            axes.text(0, y, short(family.title, 60), weight="bold", va="center")
            for group in family.groups:
                y += 1 if group is not family.groups[0] else 0.9
                _interval_line(axes, y, group)
            y += 0.75
        axes.set_ylim(y - 0.4, -0.3)
        axes.set_yticks([])
        per_cent_axis(axes, "unseen-only mIoU, %")
    return made.markup


def _interval_line(axes: Axes, y: float, group: Group) -> None:
    score = group.score("unseen_only_miou")
    colour = COLOURS[group.tone]
    axes.text(0, y - 0.22, f"{short(group.captions, 40)} ({WORDS[group.tone]})", va="bottom", size=10.5)
    if score.value is None:
        axes.text(1, y, "– no unseen class in the images", va="center", size=10, color=MUTED)
        return
    axes.plot([0, 100 * score.value], [y, y], color=colour, linewidth=10, alpha=0.22, solid_capstyle="butt")
    if score.low is not None and score.high is not None:
        axes.plot([100 * score.low, 100 * score.high], [y, y], color=colour, linewidth=2.5)
    axes.plot([100 * score.value], [y], "o", color=colour, markersize=8, markeredgecolor=PAPER)
    right = 100 * max(score.high or 0, score.value)
    axes.text(right + 1.5, y, points(score.value), va="center", weight="bold")
    chance, oracle = (group.score(column).value for column in ("chance_miou", "oracle_miou"))
    if chance is not None:
        axes.plot([100 * chance] * 2, [y - 0.16, y + 0.26], color=INK, linewidth=1, linestyle=(0, (3, 2)))
    if oracle is not None:
        axes.plot([100 * oracle] * 2, [y - 0.16, y + 0.26], color=MUTED, linewidth=2)


def _aloud(lines: Sequence[tuple[Family, Group]]) -> str:
    said = (f"{f.title}, {g.captions}: {points(g.score('unseen_only_miou').value)}" for f, g in lines)
    return "; ".join(said)


def class_bars(family: Family, scope: str, kind: str, name: str) -> Markup:
    """IoU per class of one scope ("unseen", "all") for the seen or unseen classes: a bar per group, best first."""
    bars = class_scores(family, scope, kind)
    thick = 15 if len(family.groups) < 3 else 11
    height = 40 + len(bars) * (thick * len(family.groups) + 12)
    title = f"IoU per {kind} class, {'unseen only' if scope == 'unseen' else 'all names'}: " + "; ".join(
        f"{cls} {' / '.join(points(bar.value) for bar in own)}" for cls, own in bars.items()
    )
    with drawing(name, title, 380, height, (112, 4, 36, 32)) as made:
        for row, own in enumerate(bars.values()):
            for place, bar in enumerate(own):
                offset = (place - (len(own) - 1) / 2) * 0.8 / len(own)
                _class_bar(made.axes, row + offset, 0.72 / len(own), bar, family.groups[place])
        made.axes.set_yticks(range(len(bars)), [short(cls, 16) for cls in bars], color=INK)
        made.axes.set_ylim(len(bars) - 0.5, -0.5)
        per_cent_axis(made.axes, "IoU, %")
    return made.markup


def class_scores(family: Family, scope: str, kind: str) -> dict[str, list[Bar]]:
    """Class name -> one Bar per group of the family, sorted by the first group's IoU; absent classes last."""
    run = family.groups[0].first
    names = [n for n in run.get(f"scores.{scope}.candidates") if n in set(run.get(f"split.{kind}"))]
    found = {name: [bar_of(group, scope, name) for group in family.groups] for name in names}
    return dict(sorted(found.items(), key=lambda item: -(item[1][0].value if item[1][0].value is not None else -1)))


def bar_of(group: Group, scope: str, name: str) -> Bar:
    entries = [run.record["scores"][scope]["classes"][name].get("iou") for run in group.runs]
    values = [value for value in entries if value is not None]
    return Bar(sum(values) / len(values), min(values), max(values)) if values else Bar(None, None, None)


def _class_bar(axes: Axes, y: float, thick: float, bar: Bar, group: Group) -> None:
    if bar.value is None:
        axes.text(1, y, "absent", va="center", size=9, color=MUTED)
        return
    axes.barh(y, 100 * bar.value, thick, color=COLOURS[group.tone], alpha=0.85)
    if bar.low != bar.high and bar.low is not None and bar.high is not None:
        axes.plot([100 * bar.low, 100 * bar.high], [y, y], color=INK, linewidth=1.2)
    axes.text(100 * max(bar.high or 0, bar.value) + 1.5, y, points(bar.value), va="center", size=9, color=MUTED)


def curves(family: Family, name: str, runs: int = 1) -> list[Panel]:
    """Loss parts and collapse meters over steps: one small panel each, one line per run; stage by stage, losses first.

    runs: how many have curves on the page, which share its room.
    """
    most = max(LEAST_POINTS, MOST_POINTS * FINE // max(FINE, runs))
    lines: dict[tuple[str, str], list[tuple[int, list[tuple[float, float]]]]] = {}
    for place, group in enumerate(family.groups):
        for run in group.runs:
            for meter, line in _meters(run.curves, most).items():
                lines.setdefault(meter, []).append((place, line))
    chosen = _chosen(list(lines))
    stages = {stage for stage, _ in lines}
    return [
        Panel(f"{meter} · {stage}" if len(stages) > 1 else meter, _ends(lines[stage, meter]),
              _curve(family, lines[stage, meter], meter, f"{name}-{number}"))
        for number, (stage, meter) in enumerate(chosen)
    ]  # fmt: skip


def _chosen(meters: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """At most MOST_METERS (stage, meter): the weightiest of every stage first, in the order the stages were logged."""
    stages = list(dict.fromkeys(stage for stage, _ in meters))
    ranked = [(place, stage, meter) for stage in stages for place, meter in enumerate(_by_weight(meters, stage))]
    fair = sorted(ranked, key=lambda item: (item[0], stages.index(item[1])))[:MOST_METERS]
    return [(stage, meter) for place, stage, meter in sorted(fair, key=lambda item: (stages.index(item[1]), item[0]))]


def _by_weight(meters: Sequence[tuple[str, str]], of: str) -> list[str]:
    return sorted((meter for stage, meter in meters if stage == of), key=lambda meter: (_weight(meter), meter))


def undrawn_meters(family: Family) -> int:
    """How many meters `curves` leaves to the run folders."""
    logged = {meter for group in family.groups for run in group.runs for meter in _meters(run.curves)}
    return max(0, len(logged) - MOST_METERS)


def _meters(
    steps: Sequence[tuple[str, dict[str, float]]], most: int = MOST_POINTS
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for stage, numbers in steps:
        for meter, value in numbers.items():
            if meter != "step":
                found.setdefault((stage, meter), []).append((numbers["step"], value))
    return {meter: _binned(line, most) for meter, line in found.items()}


def _binned(line: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most `most` points: the mean of each run of neighbours."""
    size = -(-len(line) // most)
    bins = [line[start : start + size] for start in range(0, len(line), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in bins]


def _weight(meter: str) -> int:
    """Total loss, loss parts, meters, and what only says how the run went."""
    if meter == "loss":
        return 0
    if re.match(r"(loss|l)_|.*loss", meter):
        return 1
    return 3 if meter in ("lr", "gradient", "grad_norm", "images_per_second") else 2


def _ends(lines: Sequence[tuple[int, list[tuple[float, float]]]]) -> str:
    """The first and last value, averaged over the runs: "4.21 → 1.03"."""
    first, last = (sum(line[end][1] for _, line in lines) / len(lines) for end in (0, -1))
    return f"{first:.3g} → {last:.3g}"


def _curve(family: Family, lines: Sequence[tuple[int, list[tuple[float, float]]]], meter: str, name: str) -> Markup:
    title = f"{meter} over training steps, first and last: {_ends(lines)}"
    with drawing(name, title, NARROW, 150, (46, 8, 12, 24)) as made:
        for place, line in lines:
            style = DASHES[min(place, len(DASHES) - 1)]
            xs, ys = zip(*line, strict=True)
            marker = "o" if len(line) == 1 else ""
            colour = COLOURS[family.groups[place].tone]
            made.axes.plot(xs, ys, marker, color=colour, linewidth=1.6, linestyle=style, markersize=4)
        made.axes.grid(axis="y")
        made.axes.locator_params(nbins=4)
        made.axes.tick_params(labelsize=9.5)
        made.axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    return made.markup


def per_cent_axis(axes: Axes, label: str) -> None:
    axes.set_xlim(0, 100)
    axes.set_xticks(range(0, 101, 25))
    axes.set_xlabel(label, size=10)
    axes.tick_params(axis="x", labelsize=10)
    axes.grid(axis="x")
    axes.spines["left"].set_color(RULE)


def short(text: str, most: int) -> str:
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return text if len(text) <= most else text[: most - 1] + "…"
