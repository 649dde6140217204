"""The report in one sentence: who leads each split and scope, by how much more than chance among images would give, and
what that score may owe to captions or weights that name unseen classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .alike import gathered
from .boards import Board
from .differences import BETTER, DIVIDED, UNSURE, WORSE, Difference, differences
from .groups import Group
from .ledger import COLUMNS, ledger
from .verdict import PLACES, points, signed

SCOPES = {"unseen_only_miou": "unseen only", "all_harmonic_miou": "all names"}


@dataclass(frozen=True, eq=False)
class Lead:
    """The best group of a board in one score, and the second."""

    board: Board
    column: str
    order: tuple[Group, ...]  # best first; groups without the score are not in it

    @property
    def scope(self) -> str:
        return SCOPES[self.column]

    @property
    def best(self) -> Group:
        return self.order[0]

    @property
    def second(self) -> Group | None:
        return self.order[1] if len(self.order) > 1 else None

    @cached_property
    def gap(self) -> Difference | None:
        """The best less the second, paired; None where there is no second."""
        return differences([self.best], self.second)[self.best][self.column] if self.second else None

    @property
    def clear(self) -> bool:
        return self.gap is not None and self.gap.verdict == BETTER

    @property
    def partly(self) -> bool:
        """Whether the two were compared on some of the best one's seeds only, so that the gap is not that of their scores."""
        return self.gap is not None and self.gap.value is not None and (
            {run.key for run, _, _ in self.gap.pairs} != {run.key for run in self.best.runs}
            or (self.second is not None and len(self.gap.pairs) != len(self.second.runs))
        )  # fmt: skip

    @property
    def over(self) -> str:
        """How sure the lead is, in words."""
        gap = self.gap
        if gap is None:
            return "the only one with this score" if len(self.board.groups) > 1 else "the only configuration"
        if gap.value is None:
            return f"not compared: {gap.lack}"
        if gap.low is None:
            return "too few images for an interval"
        seeds = f" (on {_seeds(gap)} that both were run with)" if self.partly else ""
        if gap.verdict == WORSE:
            return f"no: behind{seeds}"
        return f"{'yes' if self.clear else f'no: {gap.verdict}'}{seeds}"


def _seeds(gap: Difference) -> str:
    seeds = [str(run.get("seed")) for run, _, _ in gap.pairs]
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}"


def leads(board: Board) -> list[Lead]:
    """One lead per scope in which any run of the board has a score; limited runs only where there are no others."""
    groups = board.ranked or board.limited
    made = []
    for column in SCOPES:
        scored = [(group.score(column).value, group) for group in groups]
        order = [group for value, group in sorted(scored, key=_rank) if value is not None]
        if order:
            made.append(Lead(board, column, tuple(order)))
    return made


def _rank(pair: tuple[float | None, Group]) -> tuple[float, str]:
    return -(pair[0] if pair[0] is not None else -1), pair[1].first.key


def headline(found: Sequence[Board]) -> str:
    """All boards in one sentence per kind of picture."""
    return " ".join(_sentence(boards) for boards in gathered(found, lambda board: board.kind))


MOST_NAMED = 4  # splits in one sentence; the table below it has all


def _sentence(boards: Sequence[Board]) -> str:
    own = [lead for board in boards for lead in leads(board)]
    where = f"On {PLACES[boards[0].kind]}"
    if not own:
        return f"{where} no run has a score."
    drawn = ", which are no photographs," if boards[0].kind == "drawn" else ","
    told = [_clause([lead for lead in own if lead.column == column]) for column in SCOPES]
    tail = " All of it from limited runs: not for ranking." if not any(board.ranked for board in boards) else ""
    return f"{where}{drawn} {'; '.join(filter(None, told))}.{tail}"


def _clause(own: Sequence[Lead]) -> str:
    """One scope: who leads which splits, and on which of them the lead is more than its interval."""
    if not own:
        return ""
    words = {"unseen_only_miou": "with unseen names only", "all_harmonic_miou": "with all names, by the harmonic mean,"}
    named = own[:MOST_NAMED]
    by_leader = gathered(named, lambda lead: _short(lead.board, lead.best) + standing(lead.best))
    who = " and ".join(_who(some) for some in by_leader)
    more = len(own) - MOST_NAMED
    rest = f", {more} more split{'s' if more > 1 else ''} in the table" if more > 0 else ""
    return f"{words[own[0].column]} {who}{_sure(named)}{rest}"


def _who(own: Sequence[Lead]) -> str:
    """ "ViL-Seg (its captions name unseen classes) leads voc5 with 79.1"; who is alone leads nobody and reaches a score."""
    status = standing(own[0].best)
    led = [f"{_split(lead)} with {_score(lead)}" for lead in own if lead.second]
    alone = [f"{_score(lead)} on {_split(lead)}" for lead in own if not lead.second]
    told = [f"{verb} {' and '.join(some)}" for verb, some in (("leads", led), ("reaches", alone)) if some]
    return f"{_short(own[0].board, own[0].best)}{f' ({status})' if status else ''} {' and '.join(told)}"


def _split(lead: Lead) -> str:
    return str(lead.board.run.get("split.name"))


def _score(lead: Lead) -> str:
    return points(lead.best.score(lead.column).value)


def _sure(own: Sequence[Lead]) -> str:
    """How sure the leads are: splits of which the same is to be said together, by name where not all are alike."""
    beside = [lead for lead in own if lead.second]
    if len(beside) == 1:
        return f", {_alone(beside[0])}"
    kinds = gathered(beside, _how)
    told = [f"{_on(some, beside)} {_how(some[0])}" for some in sorted(kinds, key=lambda some: not some[0].clear)]
    return f", {', '.join(told)}" if told else ""


def _on(some: Sequence[Lead], of: Sequence[Lead]) -> str:
    if len(some) == len(of):
        return "on both" if len(of) == 2 else "on each"
    return f"on {' and '.join(map(_split, some))}"


def _how(lead: Lead) -> str:
    words = {
        BETTER: CLEARLY, WORSE: "behind the second where both were run", DIVIDED: "the seeds disagree",
        UNSURE: "on too few images for an interval", "": "not compared with the second",
    }  # fmt: skip
    return words.get(lead.gap.verdict if lead.gap else "", "no difference to the second is shown")


def _alone(lead: Lead) -> str:
    """The same of a single split, with numbers and names."""
    second = _short(lead.board, lead.second) if lead.second else ""
    if lead.gap and lead.clear:
        return f"{signed(lead.gap.value)} points above the second, a clear margin"
    if lead.gap and lead.gap.verdict == DIVIDED:
        return f"but the seeds disagree whether it is above the second ({second})"
    how = _how(lead)
    return f"but {how.replace('the second', f'the second ({second})')}"


CLEARLY = "by a clear margin"  # the interval of the paired difference is above 0, and so is every seed


def _short(board: Board, group: Group) -> str:
    """The method alone where it has no other settings on the board."""
    alike = {other.settings for other in board.groups if other.title == group.title}
    return group.title if len(alike) == 1 else f"{group.title} {group.settings}".strip()


def standing(group: Group) -> str:
    """What a reader must know of a leader before calling its score zero-shot; empty where nothing warns."""
    if group.tone == "named":
        return "its captions name unseen classes"
    if group.tone == "unknown":
        return "nobody scanned its captions"
    warned = [(column, mark) for column, mark in zip(COLUMNS, ledger(group), strict=True) if mark.state == "warned"]
    return "; ".join(f"{column[0].lower()}{column[1:]} {mark.words[:60]}" for column, mark in warned[:2])
