"""The one-screen summary that the report command prints: the verdict, one line per group, where the page is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .ablation import ablations
from .boards import Board
from .groups import WORDS, Group
from .ordering import lines
from .rounds import Course, courses
from .verdict import points, signed, spread, verdict

WIDEST = 60  # characters of a name with its settings; whole on the page
COLUMNS = ("unseen only", "", "chance", "oracle", "seen", "unseen", "h", "captions")


def summary(found: Sequence[Board]) -> str:
    """Plain text, one block per board; names from outside can do nothing to the terminal."""
    text = "\n\n".join("\n".join(_board(board)) for board in found)
    return "".join(sign if sign.isprintable() or sign == "\n" else "�" for sign in text)


def _board(board: Board) -> Iterator[str]:
    run = board.run
    kind = "drawn scenes, not photographs" if board.kind == "drawn" else "real photographs"
    yield f"{run.get('split.name')} · {run.get('data.title')} ({kind})"
    yield from verdict(board)
    yield ""
    rows = [("method", *COLUMNS), *(_row(group) for group in board.groups)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(w) if i in (0, 2, 8) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  " + "  ".join(cells).rstrip()
    only, every = (len(run.get(f"scores.{scope}.candidates")) for scope in ("unseen", "all"))
    yield f"  mIoU in %, at the labels' own resolution, background {run.get('split.background')}"
    yield f"  unseen only: {only} names compete; seen, unseen, h: all {every} compete"
    yield from map(_gain, courses(board))
    yield from lines(ablations(board))


def _gain(course: Course) -> str:
    """What the rounds of one configuration gained, paired per seed."""
    first, last = course.states[0], course.states[-1]
    gain, both = last.score("gain"), last.score("gain_harmonic")
    several = gain.runs > 1 and gain.low is not None
    span = f" ({signed(gain.low)} to {signed(gain.high)} over {gain.runs} seeds)" if several else ""
    return (
        f"  {_name(course.group)}: {last.name} over {first.name}:"
        f" unseen {signed(gain.value)}{span}, h {signed(both.value)} points, all names"
    )


def _name(group: Group) -> str:
    words = (str(group.first.get("method.name")), group.settings, "(limited)" if group.limited else "")
    whole = " ".join(filter(None, words[:2]))
    return " ".join(filter(None, (whole if len(whole) <= WIDEST else whole[: WIDEST - 1] + "…", words[2])))


def _captions(group: Group) -> str:
    """With what the weights saw that a method starts from: no captions of its own is not nothing."""
    own = group.captions if group.tone == "none" else f"{group.captions} ({WORDS[group.tone]})"
    return f"{own}; weights saw {group.weights}" if group.weights else own


def _row(group: Group) -> tuple[str, ...]:
    only = group.score("unseen_only_miou")
    columns = ("chance_miou", "oracle_miou", "all_seen_miou", "all_unseen_miou", "all_harmonic_miou")
    return (
        _name(group),
        points(only.value),
        spread(only),
        *(points(group.score(column).value) for column in columns),
        _captions(group),
    )
