"""Published beside measured: what papers print for a board's split, with what stands between the two numbers.

Choices: a measured method stands beside the rows of the same method on the same split only; rows of that method on other
splits of the data set, and rows of other methods on this split, are listed apart and never beside a measured number. Of a
method's configurations the one with the fewest settings of its own is shown, whatever it scores; a number that several
sources print alike is shown once. Which of our scores a printed one is held against follows from the names that compete
in the paper. Nothing here ranks: no row is ordered by a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from .arithmetic import findings_of
from .boards import Board
from .comparable import reasons, unstated
from .groups import Group, Score
from .published import NOT_STATED, Published, Unread, papers, values_of

COUNTERPARTS = {
    "vilseg": "ViL-Seg", "clip-seg": "CLIP + Seg", "kmeans": "ViL-Seg, offline K-means", "zs3net": "ZS3Net",
    "spnet": "SPNet", "spnet-c": "SPNet-c", "zs-mmd": "ZS-MMD",
}  # fmt: skip
LIKE = {
    "CLIP + Seg": ("MaskCLIP, ResNet-50", "MaskCLIP, ResNet-50x16", "MaskCLIP, ViT-B/16")
}  # the same in all but name
SHOWN = ("S", "U", "h", "mIoU")
ALL = {"S": "all_seen_miou", "U": "all_unseen_miou", "h": "all_harmonic_miou", "mIoU": "all_miou"}
UNSEEN = {"U": "unseen_only_miou", "mIoU": "unseen_only_miou"}
ORDER = "APQRC"


@dataclass(frozen=True, eq=False)
class Line:
    """One group beside one published row of the same method and split."""

    group: Group
    value: Published

    @property
    def scope(self) -> str:
        return "all names" if self._columns is ALL else "unseen names only"

    @property
    def _columns(self) -> dict[str, str]:
        """Ours for the paper's: with all classes unseen both scopes are one."""
        return ALL if self.value.protocol.scope == "all" and "U" in self.value.numbers else UNSEEN

    def here(self, column: str) -> Score | None:
        """Our score for a column of the paper; None where it has no counterpart."""
        ours = self._columns.get(column) if column in self.value.numbers else None
        return self.group.score(ours) if ours else None

    @cached_property
    def why(self) -> list[str]:
        """What stands between the two numbers; empty where they measure the same thing."""
        return reasons(self.group, self.value)

    @property
    def unstated(self) -> list[str]:
        return unstated(self.value)


@dataclass(frozen=True, eq=False)
class Section:
    """What a board's section of published numbers shows."""

    board: Board
    lines: tuple[Line, ...]
    related: tuple[Published, ...]  # the measured methods on other splits of the data set
    others: tuple[Published, ...]  # other methods on this split
    unread: tuple[Unread, ...]

    @property
    def drawn(self) -> bool:
        return self.board.kind == "drawn"

    @cached_property
    def shared(self) -> list[str]:
        """Reasons that hold for every line; none where there is only one."""
        told = [line.why for line in self.lines]
        return [why for why in told[0] if all(why in other for other in told[1:])] if len(told) > 1 else []

    def own(self, line: Line) -> list[str]:
        return [why for why in line.why if why not in self.shared]

    @property
    def values(self) -> list[Published]:
        return [line.value for line in self.lines]

    @property
    def more(self) -> int:
        """Configurations of the measured methods that stand only in the table of scores."""
        shown = {line.group for line in self.lines}
        names = {group.first.get("method.name") for group in shown}
        return sum(group not in shown and group.first.get("method.name") in names for group in self.board.groups)

    def columns(self, values: Sequence[Published]) -> list[str]:
        """Those of `SHOWN` in which any row has a number."""
        return [column for column in SHOWN if any(column in value.numbers for value in values)]

    def protocol(self, value: Published) -> list[str]:
        return words_of(value)

    def unstated(self, value: Published) -> list[str]:
        return unstated(value)

    def fails(self, value: Published) -> bool:
        """Whether a row's own numbers do not agree with each other."""
        return bool(findings_of(value))

    def problems(self, value: Published) -> list[str]:
        """What is wrong with a row: its arithmetic first, then what only reading shows."""
        return [*(found.sentence for found in findings_of(value)), *value.problems]

    def notes(self, value: Published) -> list[str]:
        return [*value.notes, *value.protocol.notes]

    def remarks(self, values: Sequence[Published]) -> list[tuple[str, str]]:
        """(row, what to know of it), each said once."""
        told = [(value.row, text) for value in values for text in (*self.problems(value), *self.notes(value))]
        return list(dict.fromkeys(told))


def section(board: Board) -> Section | None:
    """None where no paper we know prints anything of this split or of its methods."""
    values = merged(values_of(papers()))
    here, dataset = str(board.run.get("split.name")), str(board.run.get("split.dataset"))
    chosen = plainest(board)
    names = {name for group in chosen for name in names_of(group)}
    of_split = [value for value in values if value.protocol.split == here]
    lines = [Line(group, v) for group in chosen for v in of_split if v.method in names_of(group)]
    related = [v for v in values if v.method in names and v not in of_split and dataset in v.protocol.datasets]
    others = [v for v in of_split if v.method not in names]
    unread = [one for paper in papers() for one in paper.unread if one.method in names]
    if not (lines or related or others or unread):
        return None
    return Section(board, tuple(lines), tuple(related), tuple(others), tuple(unread))


def names_of(group: Group) -> tuple[str, ...]:
    """What papers call the method of a group; empty for one of the user's own."""
    name = COUNTERPARTS.get(str(group.first.get("method.name")))
    if name is None:
        return ()
    return (f"{name} + ST",) if _self_trained(group) else (name, *LIKE.get(name, ()))


def plainest(board: Board) -> list[Group]:
    """One group for each method that papers know, with and without self-training: unlimited first, fewest settings."""
    found: dict[tuple[str, bool], list[Group]] = {}
    for group in board.groups:
        if names_of(group):
            found.setdefault((str(group.first.get("method.name")), _self_trained(group)), []).append(group)
    return [min(groups, key=_given) for groups in found.values()]


def _given(group: Group) -> tuple[bool, int, str, str]:
    given = group.first.get("method.config_given", {})
    return group.limited, len([name for name in given if name != "self_training"]), group.settings, group.first.key


def _self_trained(group: Group) -> bool:
    return bool(group.first.get("method.config.self_training"))


def merged(values: Iterable[Published]) -> list[Published]:
    """Without rows that only repeat, rounded or in part, what a surer or finer row of the same method prints.

    In the order given. A copy that differs is no copy: it stays.
    """
    given = list(values)
    kept: list[Published] = []
    for value in sorted(given, key=_sureness):
        if not any(_repeats(value, one) for one in kept):
            kept.append(value)
    return [value for value in given if any(value is one for one in kept)]


def _sureness(value: Published) -> tuple[int, int, int]:
    digits = max((number.digits for number in value.numbers.values()), default=0)
    return -digits, -len(value.numbers), ORDER.index(value.mark)


def _repeats(value: Published, kept: Published) -> bool:
    return _what(value) == _what(kept) and all(
        column in kept.numbers and number.agrees(kept.numbers[column]) for column, number in value.numbers.items()
    )


def _what(value: Published) -> tuple[str, str, str, str]:
    return value.method, value.setting, value.protocol.split, value.protocol.scope


def words_of(value: Published) -> list[str]:
    """The protocol of a row in a few words; what is not stated is left to `unstated`."""
    protocol = value.protocol
    scope = {"all": "all names compete", "unseen": "only unseen names compete", "open vocabulary": "open vocabulary"}
    background = {"ignored": "background not scored", "not among the names": "background not scored",
                  "seen": "background a seen class", "threshold": "background by a threshold"}  # fmt: skip
    labels = {"original": "labels at their own size", "resized": "labels resized", "warped": "labels warped to a square",
              "1/8": "labels at about an eighth of the size"}  # fmt: skip
    setting = "" if value.setting == NOT_STATED else value.setting
    told = (setting, scope.get(protocol.scope), background.get(protocol.background), labels.get(value.resolution))
    return [words for words in told if words]
