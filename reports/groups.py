"""A group: runs of one configuration that differ by seed only, with its scores and what it says of itself.

A group's score is the mean over its seeds with the lowest and the highest seed; a single run shows its bootstrap
interval over images instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from .read import Run
from .tables import Row, named, run_row

Tone = Literal["named", "clean", "unknown", "none"]
WORDS: dict[Tone, str] = {
    "named": "names unseen classes", "clean": "names no unseen class", "unknown": "not scanned", "none": "no captions",
}  # fmt: skip


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
        return " ".join(f"{name}={plain(value)}" for name, value in given.items() if name != field)

    @property
    def captions(self) -> str:
        return str(self.first.get("supervision.corpus.name", "none"))

    @property
    def weights(self) -> str:
        """What the weights that the method starts from were trained on, in words; empty where on nothing."""
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


def plain(value: object) -> str:
    """A setting as it is printed; of a file its name, the folders stand in the details of the run."""
    if isinstance(value, str):
        return re.sub(r"[^+:]*[/\\]", "", value)
    return json.dumps(value, ensure_ascii=False)
