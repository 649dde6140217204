"""Sweeps: boards of one data set and one set of rules whose unseen classes are nested, K = 2 in 4 in 6 …

Each K is a protocol of its own with a table of its own. A sweep only puts the same configuration's scores side by side
to show the trend; a line is one method with its settings, captions and circumstances, and limited runs never share one
with whole runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .alike import circumstances, gathered, method_of
from .boards import Board
from .groups import Group


class Point(NamedTuple):
    """A configuration's group on the board with k unseen classes."""

    k: int
    board: Board
    group: Group


@dataclass(frozen=True, eq=False)
class Line:
    """One configuration over K."""

    points: tuple[Point, ...]

    @property
    def group(self) -> Group:
        return self.points[0].group

    @property
    def facts(self) -> list[str]:
        """What to say beside its name: limited, and circumstances that others do not share."""
        return list(dict.fromkeys(fact for point in self.points for fact in point.board.apart(point.group)))


@dataclass(frozen=True, eq=False)
class Sweep:
    """Boards with growing unseen sets, and the lines over them, the longest and best first."""

    boards: tuple[Board, ...]
    lines: tuple[Line, ...]

    @property
    def kind(self) -> str:
        return self.boards[0].kind

    @property
    def title(self) -> str:
        first, last = (board.run.get("split.name") for board in (self.boards[0], self.boards[-1]))
        return f"{first} … {last}"


def sweeps(found: Sequence[Board]) -> list[Sweep]:
    """Every sweep of at least two boards in which some configuration was run on two of them."""
    alike = gathered(found, _rules)
    chains = [tuple(chain) for boards in alike for chain in _chains(boards)]
    made = [Sweep(chain, _lines(chain)) for chain in chains]
    return [sweep for sweep in made if any(len(line.points) > 1 for line in sweep.lines)]


def _rules(board: Board) -> tuple[str, ...]:
    """What must be equal for a trend over K to mean anything: data, rules, and all names together."""
    names = ("data.kind", "data.fingerprint", "split.dataset", "split.background", "split.train_policy")
    together = sorted([*board.run.get("split.seen", []), *board.run.get("split.unseen", [])])
    return (*(str(board.run.get(name)) for name in names), *together)


def _chains(boards: Iterable[Board]) -> list[list[Board]]:
    """Nested unseen sets, each a true part of the next; a board joins the longest chain that it continues."""
    chains: list[list[Board]] = []
    for board in sorted(boards, key=lambda board: len(_unseen(board))):
        fitting = [chain for chain in chains if _unseen(chain[-1]) < _unseen(board)]
        if fitting:
            max(fitting, key=len).append(board)
        else:
            chains.append([board])
    return [chain for chain in chains if len(chain) > 1]


def _unseen(board: Board) -> frozenset[str]:
    return frozenset(board.run.get("split.unseen", []))


def _lines(chain: Sequence[Board]) -> tuple[Line, ...]:
    points = [Point(len(_unseen(board)), board, group) for board in chain for group in board.groups]
    alike = [line for own in gathered(points, _identity) for line in _told_apart(own)]
    return tuple(sorted((Line(tuple(own)) for own in alike), key=_rank))


def _identity(point: Point) -> tuple[str, ...]:
    """A configuration without anything that follows from K, as the pairs left after a purge do."""
    run = point.group.first
    corpus = (str(run.get(f"supervision.corpus.{name}")) for name in ("name", "policy"))
    return (*method_of(run), *corpus, *circumstances(run))


def _told_apart(points: list[Point]) -> list[list[Point]]:
    """The points of one line; of two corpora with one name on one board, each gets its own."""
    if len({point.k for point in points}) == len(points):
        return [points]
    names = ("supervision.corpus.fingerprint", "supervision.corpus.pairs")
    return gathered(points, lambda point: tuple(str(point.group.first.get(name)) for name in names))


def _rank(line: Line) -> tuple[bool, int, float, str]:
    score = line.points[-1].group.score("all_unseen_miou").value
    return line.group.limited, -len(line.points), -(score if score is not None else -1), line.group.first.key
