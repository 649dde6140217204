"""How runs are put together: boards (one protocol), groups (differ by seed), families (differ by captions).

Choices: a board holds runs of ONE data set, split, background rule and candidate set, told apart by fingerprints, so
that drawn and real never share a table and neither do two editions of a split. A group's score is the mean over its
seeds with the lowest and the highest seed; a single run shows its bootstrap interval over images instead. A limited
run has groups of its own. A family is what the leakage comparison compares: groups that are alike in everything but
the captions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from .alike import OWN_CAPTIONS, circumstances, corpus_of, gathered, method_of, start_of, vectors_of
from .read import Run
from .tables import Row, named, run_row

Tone = Literal["named", "clean", "unknown", "none"]
WORDS: dict[Tone, str] = {
    "named": "names unseen classes", "clean": "names no unseen class", "unknown": "not scanned", "none": "no captions",
}  # fmt: skip
MOST_OF_A_NAME = 40  # letters, where it stands beside a configuration


@dataclass(frozen=True)
class Score:
    """One score of a group as it is printed: mean over the runs that have it, and the interval or the span of seeds.

    column: its name in runs.csv. low, high: 95 % interval of one run, or the lowest and highest of several seeds.
    counted: "4 of 5 classes" where classes were absent, else "".
    """

    column: str
    value: float | None
    low: float | None = None
    high: float | None = None
    runs: int = 1
    counted: str = ""


def score_of(rows: Sequence[Row], column: str, counted: str = "") -> Score:
    """The score of one column over the rows of several runs: see `Score`."""
    values = [row[column] for row in rows if row[column] is not None]
    value = sum(values) / len(values) if values else None
    if len(rows) == 1 or not values:
        low, high = (rows[0].get(f"{column}_{end}") for end in ("low", "high"))
        return Score(column, value, low, high, len(values), counted)
    return Score(column, value, min(values), max(values), len(values), counted)


@dataclass(frozen=True, eq=False)
class Group:
    """Runs of one configuration that differ by seed only."""

    runs: tuple[Run, ...]

    @cached_property
    def rows(self) -> list[Row]:
        return [run_row(run) for run in self.runs]

    @property
    def first(self) -> Run:
        return self.runs[0]

    @property
    def limited(self) -> bool:
        return bool(self.first.get("limited"))

    @property
    def seeds(self) -> list[int]:
        return [run.get("seed", 0) for run in self.runs]

    @property
    def title(self) -> str:
        """The method as its paper calls it: the first words of its title."""
        return str(self.first.get("method.title")).partition(":")[0]

    @property
    def settings(self) -> str:
        """What the user set, as one line: "clusters=20 vision=none"; empty for the defaults."""
        return self.settings_but("")

    def settings_but(self, field: str) -> str:
        """The same line without one field."""
        given = self.first.get("method.config_given", {})
        return " ".join(f"{name}={_plain(value)}" for name, value in given.items() if name != field)

    @property
    def captions(self) -> str:
        return str(self.first.get("supervision.corpus.name", "none"))

    @property
    def weights(self) -> str:
        """What the weights that the method starts from were trained on, in words; empty where nothing or told above."""
        if self.first.get("method.config.pretrained") == OWN_CAPTIONS:
            return ""
        seen = str(self.first.get("supervision.backbone_corpus", ""))
        return "" if seen == "nothing" else seen

    @cached_property
    def tone(self) -> Tone:
        """Whether the captions name unseen classes: counted if a scan counted, else by the words of the verdict.

        "clean" is a count of zero and a colour; no page says the word of captions, for a scan knows only its own words.
        What is known to be planted is stronger than a scan that missed it.
        """
        corpus = self.first.get("supervision.corpus")
        if not corpus:
            return "none"
        count, verdict = named(self.first), str(corpus.get("verdict") or "").lower()
        if count or verdict.startswith("names unseen"):
            return "named"
        return "clean" if count == 0 or verdict.startswith("names none") else "unknown"

    @property
    def dose(self) -> float:
        """Captions that name an unseen class per caption; orders the corpora of a comparison."""
        return (named(self.first) or 0) / max(1, int(self.first.get("supervision.corpus.pairs", 1)))

    def score(self, column: str) -> Score:
        """The score of a column of runs.csv. See `Score`."""
        return score_of(self.rows, column, self._counted(column.removesuffix("_miou")))

    def _counted(self, part: str) -> str:
        scored = self.rows[0].get(f"{part}_classes_scored")
        absent = self.first.get(f"scores.{_PARTS.get(part, part)}.classes_absent", [])
        return f"{scored} of {scored + len(absent)} classes" if scored is not None and absent else ""


_PARTS = {"unseen_only": "unseen", "all_seen": "all.seen", "all_unseen": "all.unseen"}


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
        facts = ["limited: not for ranking"] if group.limited else []
        for name, title in _VARYING.items():
            alike = [other for other in self.groups if other.title == group.title]
            if len({other.first.get(name) for other in alike}) > 1:
                facts.append(f"{title} {str(group.first.get(name, '–'))[:12]}".strip())
        return facts + self._other_weights(group) + self._other_vectors(group)

    def _other_weights(self, group: Group) -> list[str]:
        """What its weights start from, where others of the method start from something else; own captions say it better."""
        alike = [other for other in self.groups if other.title == group.title]
        found = {start for other in alike if (start := start_of(other.first))}
        own = start_of(group.first)
        short = own if len(own) <= MOST_OF_A_NAME else f"{own[: MOST_OF_A_NAME - 1]}…"
        return [f"from {short}"] if len(found) > 1 and own else []

    def _other_vectors(self, group: Group) -> list[str]:
        """The class vectors, where groups that look alike in method and settings differ by them."""
        alike = [other for other in self.groups if (other.title, other.settings) == (group.title, group.settings)]
        found = {vectors_of(other.first) for other in alike}
        source, sha256, _ = vectors_of(group.first)
        twice = len({other for other in found if other[0] == source}) > 1  # one name, two files
        return [f"vectors {source}{f' ({sha256[:12]})' if twice else ''}"] if len(found) > 1 else []

    @cached_property
    def families(self) -> list[Family]:
        alike = gathered(self.groups, lambda group: (method_of(group.first), circumstances(group.first)))
        return [Family(tuple(sorted(groups, key=_leakiest))) for groups in alike]

    @property
    def pairs(self) -> list[Family]:
        """Families with more than one corpus: those that show what leakage is worth."""
        return [family for family in self.families if len(family.groups) > 1]


_VARYING = {"device": "", "precision": "", "zsbench": "zsbench", "method.source_sha256": "source"}
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


def _plain(value: object) -> str:
    """A setting as it is printed; of a file its name, the folders stand in the details of the run."""
    if isinstance(value, str):
        return re.sub(r"[^+:]*[/\\]", "", value)
    return json.dumps(value, ensure_ascii=False)
