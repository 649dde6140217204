"""The ranking table of a board as plain cells: what Markdown and LaTeX print, and JSON holds as numbers.

A table that is pasted elsewhere loses the page around it, so its protocol goes with it: candidates, background, images,
data source and what an interval means stand in `lines`, and each row says what its method learnt from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .differences import Difference
from .groups import WORDS, Group, Score
from .ledger import COLUMNS, NOT_DECLARED, ledger
from .marks import marks
from .verdict import PLACES, points, signed
from .views import View

HEAD = ("Method", "Learnt from", "unseen only", "vs base", "chance", "seen", "unseen", "h", "vs base", "Seeds")
NUMBERS = slice(2, 9)  # the columns that hold numbers
LIMITED = "limited"


@dataclass(frozen=True)
class Sheet:
    """title, lines: above the table; rows: cells in the order of HEAD, the ranked ones first."""

    title: str
    lines: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sheet(view: View) -> Sheet:
    board, run = view.board, view.board.run
    title = f"{run.get('split.name')}: {run.get('split.title')}"
    return Sheet(title, tuple(_lines(view)), tuple(_row(view, group) for group in board.groups))


def _lines(view: View) -> Iterator[str]:
    run, board = view.board.run, view.board
    only, every = (len(run.get(f"scores.{scope}.candidates", [])) for scope in ("unseen", "all"))
    listed = run.get("data.parts.val.images", 0)
    kind = "drawn scenes, no photographs" if board.kind == "drawn" else "real photographs"
    yield (
        f"Data: {run.get('data.title')} ({kind}), {listed:,} images of list {run.get('data.parts.val.list', 'val')}, "
        f"at the labels' own resolution, background {run.get('split.background')}."
    )
    yield (
        f"mIoU in %. Unseen only: {only} unseen names compete for pixels of unseen classes. Seen, unseen, h: all {every} "
        "names compete for every labelled pixel. [a, b] is the 95 % interval over images; a…b the lowest and the highest of "
        "several seeds, before it their mean."
    )
    base = view.against
    yield (
        f"vs base: points above {_name(base.group)} ({base.why}), paired by image and by seed: [a, b] is its 95 % interval "
        "over images, a…b the lowest and the highest of the seeds. Seeds that only one of the two was run with do not count."
    )
    if board.limited:
        scored = board.limited[0].first.get("data.parts.val.scored", 0)
        yield f"Limited rows scored fewer images than the protocol asks for (the first of them {scored:,}): not for ranking."
    if notes := run.get("data.notes", []):
        yield f"Note: {'; '.join(notes)}."
    yield from _ledgers(board.groups)
    yield f"Scores on {PLACES[board.kind]} say nothing about {PLACES['real' if board.kind == 'drawn' else 'drawn']}."


def _row(view: View, group: Group) -> tuple[str, ...]:
    own = view.compared.get(group, {})
    limited = [LIMITED] if group.limited else []
    return (
        ", ".join([_name(group), *limited]),
        learnt(group),
        around(group.score("unseen_only_miou")),
        less(own.get("unseen_only_miou")),
        points(group.score("chance_miou").value),
        *(around(group.score(column)) for column in ("all_seen_miou", "all_unseen_miou", "all_harmonic_miou")),
        less(own.get("all_harmonic_miou")),
        ", ".join(map(str, group.seeds)),
    )


def learnt(group: Group) -> str:
    """What a group learnt from, a word each; `_ledger` has all of it."""
    known = group.tone != "none" and group.captions != NOT_DECLARED
    captions = [f"captions ({WORDS[group.tone]})"] if known else []
    told = [mark.word for mark in marks(group) if NOT_DECLARED not in mark.told]
    silent = ["rest not declared"] if len(told) < len(marks(group)) else []
    return ", ".join([*captions, *told, *silent]) or "nothing"


def _ledgers(groups: Sequence[Group]) -> Iterator[str]:
    """The ledger of each configuration in words, once for those that have the same."""
    told: dict[str, list[str]] = {}
    for group in groups:
        told.setdefault(_ledger(group), []).append(_name(group))
    yield from (f"{' and '.join(dict.fromkeys(names))} learnt from {words}." for words, names in told.items())


def _ledger(group: Group) -> str:
    used = [(name, mark) for name, mark in zip(COLUMNS, ledger(group), strict=True) if mark.state != "free"]
    return (
        "; ".join(f"{name.lower()}: {mark.words}{f' ({mark.more})' if mark.more else ''}" for name, mark in used)
        or "nothing"
    )


def around(score: Score) -> str:
    """ "79.1 73.4…84.8" over seeds, "79.1 [76.0, 82.2]" of one run."""
    if score.value is None:
        return "–"
    if score.low is None or score.high is None:
        return points(score.value)
    ends = points(score.low), points(score.high)
    return f"{points(score.value)} {'…'.join(ends) if score.runs > 1 else f'[{ends[0]}, {ends[1]}]'}"


def less(told: Difference | None) -> str:
    """ "−3.0 [−8.7, +2.2] −10.9…+5.0, seeds 0, 1"; of one seed without what is said of seeds."""
    if told is None:
        return "base"
    if told.value is None:
        return f"– ({told.lack})"
    span = f" [{signed(told.low)}, {signed(told.high)}]" if told.low is not None else ""
    seeds = ", ".join(str(run.get("seed")) for run, _, _ in told.pairs)
    several = f" {signed(told.lowest)}…{signed(told.highest)}, seeds {seeds}" if len(told.pairs) > 1 else ""
    return f"{signed(told.value)}{span}{several}"


def _name(group: Group) -> str:
    return f"{group.title} {group.settings}".strip()
