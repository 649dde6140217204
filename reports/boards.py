"""How runs are put together: boards (one protocol), groups (differ by seed), families (differ by captions).

Choices: a board holds runs of ONE data set, split, background rule and candidate set, told apart by fingerprints, so
that drawn and real never share a table and neither do two editions of a split. A limited run has groups of its own,
and so has each code of the harness, which every number depends on. A family is what the leakage comparison compares:
groups that are alike in everything but the captions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from .alike import circumstances, corpus_of, gathered, method_of, start_of, vectors_of
from .groups import Group, Tone
from .read import Run

MOST_OF_A_NAME = 40  # letters, where it stands beside a configuration


@dataclass(frozen=True, eq=False)
class Family:
    """Groups that differ only by the captions they were trained on, those that name unseen classes first."""

    groups: tuple[Group, ...]

    @property
    def title(self) -> str:
        first = self.groups[0]
        limit = f"(limited to {first.first.get('data.parts.val.scored'):,} images)" if first.limited else ""
        return " ".join(filter(None, (first.title, first.settings, limit)))

    def of(self, tone: Tone) -> Group | None:
        return next((group for group in self.groups if group.tone == tone), None)


@dataclass(frozen=True, eq=False)
class Board:
    """Everything that was measured under one protocol; one table."""

    groups: tuple[Group, ...]

    @property
    def run(self) -> Run:
        """Any run of it: all agree on data, split and candidates."""
        return self.groups[0].first

    @property
    def kind(self) -> str:
        return str(self.run.get("data.kind"))

    @property
    def runs(self) -> list[Run]:
        return [run for group in self.groups for run in group.runs]

    @property
    def ranked(self) -> list[Group]:
        return [group for group in self.groups if not group.limited]

    @property
    def limited(self) -> list[Group]:
        return [group for group in self.groups if group.limited]

    def apart(self, group: Group) -> list[str]:
        """What to say of a group beside its name: that it is limited, and circumstances that others do not share."""
        return self._facts[group]

    @cached_property
    def _facts(self) -> dict[Group, list[str]]:
        """Group -> its facts; found once, for every section of a page asks again."""
        of_title = gathered(self.groups, lambda group: group.title)
        return {group: _facts(group, alike) for alike in of_title for group in alike}

    @cached_property
    def families(self) -> list[Family]:
        alike = gathered(self.groups, lambda group: (method_of(group.first), circumstances(group.first)))
        return [Family(tuple(sorted(groups, key=_leakiest))) for groups in alike]

    @property
    def pairs(self) -> list[Family]:
        """Families with more than one corpus: those that show what leakage is worth."""
        return [family for family in self.families if len(family.groups) > 1]


def _facts(group: Group, alike: Sequence[Group]) -> list[str]:
    """alike: the groups of its method, itself among them."""
    facts = ["limited: not for ranking"] if group.limited else []
    for name, title in _VARYING.items():
        own = group.first.get(name)
        if any(other.first.get(name) != own for other in alike):
            facts.append(f"{title} {str(group.first.get(name, '–'))[:12]}".strip())
    return facts + _other_weights(group, alike) + _other_vectors(group, alike)


def _other_weights(group: Group, alike: Sequence[Group]) -> list[str]:
    """What its weights start from, where others of the method start from something else; own captions say it better."""
    found = {start for other in alike if (start := start_of(other.first))}
    own = start_of(group.first)
    short = own if len(own) <= MOST_OF_A_NAME else f"{own[: MOST_OF_A_NAME - 1]}…"
    return [f"from {short}"] if len(found) > 1 and own else []


def _other_vectors(group: Group, alike: Sequence[Group]) -> list[str]:
    """The class vectors, where groups that look alike in method and settings differ by them."""
    found = {vectors_of(other.first) for other in alike if other.settings == group.settings}
    source, sha256, _ = vectors_of(group.first)
    twice = len({other for other in found if other[0] == source}) > 1  # one name, two files
    return [f"vectors {source}{f' ({sha256[:12]})' if twice else ''}"] if len(found) > 1 else []


_VARYING = {
    "device": "",
    "precision": "",
    "zsbench": "zsbench",
    "code_sha256": "code",
    "method.source_sha256": "source",
}
_ORDER: dict[Tone, int] = {"named": 3, "unknown": 2, "clean": 1, "none": 0}


def _leakiest(group: Group) -> tuple[int, float, str]:
    return -_ORDER[group.tone], -group.dose, group.captions


def boards(runs: Iterable[Run]) -> list[Board]:
    """The boards of all runs: drawn before real, then by split (K = 2 before 10); the best unseen-only mIoU first."""
    protocols = gathered(runs, _protocol)
    found = [Board(tuple(sorted(map(_group, gathered(own, _configuration)), key=_rank))) for own in protocols]
    return sorted(found, key=lambda b: (b.kind, _natural(str(b.run.get("split.name"))), _protocol(b.run)))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _group(runs: Sequence[Run]) -> Group:
    return Group(tuple(sorted(runs, key=lambda run: (run.get("seed", 0), run.key))))


def _rank(group: Group) -> tuple[bool, float, str]:
    score = group.score("unseen_only_miou").value
    return group.limited, -(score if score is not None else -1), group.first.key


def _protocol(run: Run) -> tuple[str, ...]:
    """What makes two numbers comparable at all."""
    candidates = json.dumps([run.get("scores.unseen.candidates"), run.get("scores.all.candidates")])
    names = ("data.kind", "data.fingerprint", "split.name", "split.fingerprint", "split.background")
    return (*(str(run.get(name)) for name in names), candidates)


def _configuration(run: Run) -> tuple[str, ...]:
    return (*method_of(run), *corpus_of(run), *circumstances(run))
