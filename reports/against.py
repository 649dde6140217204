"""Which configuration the others of a board are compared with.

Choices: it is asked for by the name of a method, by "method field=value …" or by the key of a run; without asking, or on a
board that has nothing of that name, it is the best-ranked one. The page says which and why.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from zsbench.errors import UserError, unknown

from .boards import Board
from .groups import Group, plain

EXAMPLES = 'the name of a method, "method field=value", "method captions=\'drawn: web\'" or the key of a run'


@dataclass(frozen=True)
class Chosen:
    """The group that others are compared with, and why it is this one, as the end of a sentence."""

    group: Group
    why: str


def chosen(board: Board, wanted: str | None) -> Chosen:
    """The group of a board that the others are compared with."""
    best = board.groups[0]
    if not wanted:
        return Chosen(best, _best_words(best))
    matches = [group for group in board.groups if _matches(group, wanted)]
    if not matches:
        return Chosen(best, f"{_best_words(best)}; nothing on this split is called '{wanted}'")
    if len(matches) == 1:
        return Chosen(matches[0], "as asked for")
    return Chosen(matches[0], f"asked for, and of the {len(matches)} configurations of that name the best-ranked one")


def check(found: Sequence[Board], wanted: str | None) -> None:
    """Raises UserError where no board has anything that `wanted` names."""
    groups = [group for board in found for group in board.groups]
    if not wanted or not groups or any(_matches(group, wanted) for group in groups):
        return
    names = list(dict.fromkeys(str(group.first.get("method.name")) for group in groups))
    if wanted.split()[0] in names:
        raise UserError(f"no run is '{wanted}'; --base takes {EXAMPLES}. Methods here: {', '.join(names)}")
    raise unknown("method or run", wanted, names, f"zsbench list; --base takes {EXAMPLES}")


def _best_words(group: Group) -> str:
    return "the first of the limited runs" if group.limited else "the best-ranked configuration"


def _matches(group: Group, wanted: str) -> bool:
    if wanted in [run.key for run in group.runs]:
        return True
    name, _, rest = wanted.strip().partition(" ")
    if name != group.first.get("method.name"):
        return False
    return all(_set(group, *field.partition("=")[::2]) for field in _fields(rest))


def _fields(text: str) -> list[str]:
    """ "a=1 captions='drawn: web'" -> its fields; a value may be quoted because corpora have blanks in their names."""
    import shlex

    try:
        return shlex.split(text)
    except ValueError:  # a quote that is not closed
        return [text]


def _set(group: Group, field: str, value: str) -> bool:
    if field == "captions":
        return group.captions == value
    config = group.first.get("method.config", {}) | group.first.get("method.config_given", {})
    return field in config and value in (plain(config[field]), str(config[field]), json.dumps(config[field]))
