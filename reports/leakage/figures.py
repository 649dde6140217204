"""What the leakage page draws: bars on a logarithmic scale, a heat map of corpora, classes named together.

Choices: the geometry is computed here, as per cents of the drawing's width, and drawn by the templates as SVG and table
cells, so that a figure is as wide as the screen allows and its text stays text. A bar is cumulative: each shade ends at
the captions found up to its level, because lengths of stacked parts mean nothing on a logarithmic scale. The scale
begins below 1, so that one caption is seen; zero has no place on it and gets a mark of its own. Colours of a heat map
are decades. Drawn and collected corpora never share a heat map.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .model import Class, Leakage

ORIGIN = 0.5  # captions, where a bar begins
FEWEST_DECADES = 2
DECADES = (1, 10, 100, 1_000, 10_000)  # per million, where the next shade begins
MOST_IN_MATRIX = 14  # classes; more become a list only
SUFFIXES = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))


@dataclass(frozen=True)
class Scale:
    """A logarithmic axis of captions, from ORIGIN to a power of ten."""

    top: int

    def at(self, captions: float) -> float:
        """Per cent of the width."""
        return 100 * math.log10(max(captions, ORIGIN) / ORIGIN) / math.log10(self.top / ORIGIN)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        return [(self.at(10**n), short(10**n)) for n in range(round(math.log10(self.top)) + 1)]


class Segment(NamedTuple):
    """A shade of a bar. captions: found up to and including this level."""

    level: int
    start: float
    width: float
    captions: int


def scale(report: Leakage) -> Scale:
    most = max((cls.captions for cls in report.classes), default=0)
    return Scale(10 ** max(FEWEST_DECADES, math.ceil(math.log10(max(most, 1)) - 1e-9)))


def segments(cls: Class, axis: Scale) -> Iterator[Segment]:
    """One shade for each level that adds captions."""
    captions = 0
    for level, count in enumerate(cls.levels):
        if count:
            start = axis.at(captions) if captions else 0.0
            captions += count
            yield Segment(level, start, axis.at(captions) - start, captions)


def short(number: int) -> str:
    """1, 10, 100, 1k, 10k, … for an axis."""
    for size, suffix in SUFFIXES:
        if number >= size:
            return f"{number // size}{suffix}"
    return str(number)


def shade(per_million: float) -> int:
    """0 for none, then one step per decade: up to 1 per million, 10, 100, 1,000, 10,000 and above."""
    return 0 if per_million <= 0 else 1 + sum(per_million >= decade for decade in DECADES)


class Cell(NamedTuple):
    """A class in a corpus. id: where its evidence stands on the page."""

    per_million: float
    captions: int
    complete: bool
    shade: int
    id: str


@dataclass(frozen=True)
class Column:
    """One corpus of a heat map; by: its report for each protocol (split and lexicon)."""

    title: str
    corpus: tuple[str, str]
    by: dict[tuple[str, str], tuple[str, Leakage]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return all(report.complete for _, report in self.by.values())


class Rows(NamedTuple):
    """The classes of one protocol: (class, a cell per column or None where the corpus was not scanned for it)."""

    report: Leakage
    rows: list[tuple[str, list[Cell | None]]]


class Heat(NamedTuple):
    """Class × corpus. kind: "real" or "drawn"."""

    kind: str
    columns: list[Column]
    groups: list[Rows]


def heat_maps(named: Sequence[tuple[str, Leakage]]) -> list[Heat]:
    """One heat map for collected corpora and one for drawn ones, of (id, report); none for a single report."""
    if len(named) < 2:
        return []
    kinds = (("real", [item for item in named if not item[1].drawn]), ("drawn", [i for i in named if i[1].drawn]))
    return [_heat(kind, own) for kind, own in kinds if own]


def _heat(kind: str, named: Sequence[tuple[str, Leakage]]) -> Heat:
    columns: list[Column] = []
    protocols: dict[tuple[str, str], Leakage] = {}
    for name, report in named:
        protocol = (report.get("split.fingerprint"), report.get("lexicon.fingerprint"))
        protocols.setdefault(protocol, report)
        _column(columns, report, protocol).by[protocol] = (name, report)
    return Heat(kind, columns, [_rows(columns, protocol, report) for protocol, report in protocols.items()])


def _column(columns: list[Column], report: Leakage, protocol: tuple[str, str]) -> Column:
    """The corpus' column; another one where it already holds a scan of this protocol."""
    corpus = (report.get("corpus.name"), report.get("corpus.fingerprint"))
    for column in columns:
        if column.corpus == corpus and protocol not in column.by:
            return column
    columns.append(Column(corpus[0], corpus))
    return columns[-1]


def _rows(columns: Sequence[Column], protocol: tuple[str, str], first: Leakage) -> Rows:
    found = {cls.name: [_cell(column, protocol, cls.name) for column in columns] for cls in first.classes}
    order = sorted(found, key=lambda name: -max(cell.per_million for cell in found[name] if cell))
    return Rows(first, [(name, found[name]) for name in order])


def _cell(column: Column, protocol: tuple[str, str], name: str) -> Cell | None:
    if protocol not in column.by:
        return None
    id, report = column.by[protocol]
    cls = next((cls for cls in report.classes if cls.name == name), None)
    if cls is None:
        return None
    return Cell(cls.per_million, cls.captions, report.complete, shade(cls.per_million), class_id(id, report, cls))


def class_id(id: str, report: Leakage, cls: Class) -> str:
    """Where the evidence of a class stands; by place, because names from outside make no ids."""
    return f"{id}-{report.classes.index(cls) + 1}"


class Together(NamedTuple):
    """Classes named in one caption. matrix: rows of (class, counts or None on the diagonal), where few enough."""

    pairs: list[tuple[list[str], int]]
    matrix: list[tuple[str, list[int | None]]]
    names: list[str]


def together(report: Leakage) -> Together:
    """The most frequent first; counts of captions."""
    pairs = [(list(item["classes"]), item["captions"]) for item in report.get("together") if item["captions"]]
    pairs.sort(key=lambda item: (-item[1], item[0]))
    met = {name for classes, _ in pairs for name in classes}
    names = [cls.name for cls in report.classes if cls.name in met]
    few = 2 < len(names) <= MOST_IN_MATRIX and all(len(classes) == 2 for classes, _ in pairs)
    return Together(pairs, _matrix(names, pairs) if few else [], names)


def _matrix(names: Sequence[str], pairs: Sequence[tuple[list[str], int]]) -> list[tuple[str, list[int | None]]]:
    counts = {frozenset(classes): captions for classes, captions in pairs}
    return [(a, [None if a == b else counts.get(frozenset((a, b)), 0) for b in names]) for a in names]
