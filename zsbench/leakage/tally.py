"""What a scan has counted. Two tallies add up to the tally of both halves, in any order, whoever counted them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsbench.leakage import kernels
from zsbench.leakage.batch import Intake
from zsbench.leakage.engine import Hits
from zsbench.leakage.lexicon import LEVELS, Lexicon
from zsbench.leakage.sample import Distinct, Examples

Counts = NDArray[np.int64]
PAIRED = 2048  # classes; of more than these nobody counts which are named together
ARRAYS = ("forms", "classes", "blocked", "placeholders", "flagged", "together")


@dataclass
class Tally:
    """Counts of captions, each once per form, class and blocker.

    forms: per form. classes: (class, lowest level by which it is named). blocked: per blocker, captions in which it set
    a form aside. placeholders: per class. flagged: captions that name any class, by the lowest level. together: (c, d),
    c < d, captions that name both (empty beyond PAIRED classes).
    distinct, examples: samples. sources: what came in, per source of the plan.
    """

    forms: Counts
    classes: Counts
    blocked: Counts
    placeholders: Counts
    flagged: Counts
    together: Counts
    distinct: Distinct
    examples: Examples
    sources: dict[int, Intake]

    @classmethod
    def empty(cls, lexicon: Lexicon, examples: int) -> Tally:
        """Nothing counted yet. examples: captions to keep for each form."""
        forms = sum(len(entry.forms) for entry in lexicon.entries)
        blockers, classes = sum(len(entry.blockers) for entry in lexicon.entries), len(lexicon.entries)
        return cls(
            forms=np.zeros(forms, np.int64),
            classes=np.zeros((classes, len(LEVELS)), np.int64),
            blocked=np.zeros(blockers, np.int64),
            placeholders=np.zeros(classes, np.int64),
            flagged=np.zeros(len(LEVELS), np.int64),
            together=np.zeros((classes, classes) if classes <= PAIRED else (0, 0), np.int64),
            distinct=Distinct(classes),
            examples=Examples(forms, examples),
            sources={},
        )

    def add(self, hits: Hits, keys: NDArray[np.uint64]) -> None:
        """Counts the hits of a batch; `keys` are the hashes of its captions (of those that name a class)."""
        self.forms += np.bincount(hits.named[:, 1], minlength=len(self.forms))
        cells = hits.classes[:, 1].astype(np.int64) * len(LEVELS) + hits.classes[:, 2]
        self.classes += np.bincount(cells, minlength=self.classes.size).reshape(self.classes.shape)
        self.blocked += np.bincount(hits.blocked[:, 1], minlength=len(self.blocked))
        self.placeholders += np.bincount(hits.placeholders[:, 1], minlength=len(self.placeholders))
        kernels.count_together(hits.classes, self.flagged, self.together)
        self.distinct.add(hits.classes[:, 1], keys[hits.classes[:, 0]])

    def take_in(self, source: int, intake: Intake) -> None:
        self.sources[source] = self.sources.get(source, Intake()) + intake

    def merge(self, other: Tally) -> None:
        for name in ARRAYS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.distinct.merge(other.distinct)
        self.examples.merge(other.examples)
        for source, intake in other.sources.items():
            self.take_in(source, intake)

    @property
    def intake(self) -> Intake:
        return sum(self.sources.values(), Intake())

    def as_dict(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in ARRAYS if name != "together"}
        pairs = [[int(c), int(d), int(self.together[c, d])] for c, d in np.argwhere(self.together)]
        samples = {"distinct": self.distinct.as_list(), "examples": self.examples.as_dict()}
        sources = {str(number): intake.as_dict() for number, intake in self.sources.items()}
        return {**arrays, "together": pairs, **samples, "size": self.examples.size, "sources": sources}

    @classmethod
    def from_dict(cls, value: dict[str, Any], lexicon: Lexicon) -> Tally:
        tally = cls.empty(lexicon, value["size"])
        for name in ARRAYS[:-1]:
            getattr(tally, name)[...] = value[name]
        for c, d, count in value["together"]:
            tally.together[c, d] = count
        tally.distinct = Distinct.from_list(value["distinct"])
        tally.examples = Examples.from_dict(value["examples"], len(tally.forms), value["size"])
        tally.sources = {int(number): Intake(**intake) for number, intake in value["sources"].items()}
        return tally
