"""Distinct captions, sampled and counted without an order: those with the smallest hashes of their bytes.

The k smallest hashes are the same whatever the order of rows, files and shards; they are a random sample of the
distinct captions, their repetitions are counted exactly, and the largest of them tells how many distinct ones there are
(Beyer et al., On Synopses for Distinct-Value Estimation, SIGMOD 2007).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

KEPT = 1024  # hashes per class: an estimate beyond them is off by 3 % (one standard error)
PENDING = 1 << 18
ALL = np.uint64(2**64 - 1)
LONGEST = 600  # characters of a caption kept as an example; a longer one is cut around its match


class Distinct:
    """Sketch of the distinct captions of several classes."""

    def __init__(self, classes: int):
        self.kept: list[Hashes] = [np.empty(0, dtype=np.uint64) for _ in range(classes)]
        self._limits = np.full(classes, ALL, dtype=np.uint64)
        self._pending: list[tuple[NDArray[np.int32], Hashes]] = []
        self._size = 0

    def add(self, classes: NDArray[np.int32], hashes: Hashes) -> None:
        small = hashes <= self._limits[classes]
        self._pending.append((classes[small], hashes[small]))
        self._size += len(self._pending[-1][0])
        if self._size > PENDING:
            self.settle()

    def settle(self) -> None:
        """Keeps the smallest hashes of everything that was added."""
        if not self._pending:
            return
        classes = np.concatenate([part[0] for part in self._pending])
        hashes = np.concatenate([part[1] for part in self._pending])
        order = np.argsort(classes, kind="stable")
        found, starts = np.unique(classes[order], return_index=True)
        for number, group in zip(found, np.split(hashes[order], starts[1:]), strict=False):
            self.merge(int(number), group)
        self._pending, self._size = [], 0

    def merge(self, number: int, hashes: Hashes) -> None:
        kept = np.unique(np.concatenate([self.kept[number], hashes]))[:KEPT]
        self.kept[number] = kept
        if len(kept) == KEPT:
            self._limits[number] = kept[-1]

    def count(self, number: int) -> tuple[int, bool]:
        """How many distinct captions name the class, and whether that is exact."""
        self.settle()
        kept = self.kept[number]
        if len(kept) < KEPT:
            return len(kept), True
        return round((KEPT - 1) / ((float(kept[-1]) + 1) / 2.0**64)), False

    def as_list(self) -> list[str]:
        self.settle()
        return [base64.b85encode(kept.tobytes()).decode() for kept in self.kept]

    @classmethod
    def from_list(cls, value: list[str]) -> Distinct:
        made = cls(len(value))
        for number, text in enumerate(value):
            made.merge(number, np.frombuffer(base64.b85decode(text), dtype=np.uint64))
        return made


@dataclass
class Example:
    """A caption, how often it occurred with this form, and where first: source number and row of the source."""

    text: str
    copies: int
    source: int
    row: int

    def as_list(self) -> list[Any]:
        return [self.text, self.copies, self.source, self.row]


class Examples:
    """Up to `size` distinct captions of each of several forms."""

    def __init__(self, forms: int, size: int):
        self.size = size
        self.kept: list[dict[int, Example]] = [{} for _ in range(forms)]
        self._limits = np.full(forms, ALL, dtype=np.uint64)

    def wanted(self, forms: NDArray[np.int32], hashes: Hashes) -> NDArray[np.intp]:
        """Places of those that belong into the sample as it stands."""
        return np.flatnonzero(hashes <= self._limits[forms])

    def add(self, form: int, key: int, example: Example) -> None:
        kept = self.kept[form]
        if key in kept:
            _join(kept[key], example)
            return
        kept[key] = example
        if len(kept) > self.size:
            del kept[max(kept)]
        if len(kept) == self.size:
            self._limits[form] = max(kept)

    def merge(self, other: Examples) -> None:
        for form, kept in enumerate(other.kept):
            for key, example in kept.items():
                self.add(form, key, example)

    def as_list(self) -> list[dict[str, list[Any]]]:
        return [{f"{key:016x}": kept[key].as_list() for key in sorted(kept)} for kept in self.kept]

    @classmethod
    def from_list(cls, value: list[dict[str, list[Any]]], size: int) -> Examples:
        made = cls(len(value), size)
        for form, kept in enumerate(value):
            for key, fields in kept.items():
                made.add(form, int(key, 16), Example(*fields))
        return made


def _join(kept: Example, other: Example) -> None:
    kept.copies += other.copies
    if (other.source, other.row) < (kept.source, kept.row):
        kept.source, kept.row = other.source, other.row


def excerpt(caption: bytes, form: str) -> str:
    """The caption as text; of a long one the part around the form, with an ellipsis where it was cut."""
    text = caption.decode("utf-8", errors="replace")
    if len(text) <= LONGEST:
        return text
    words = r"[^a-z0-9]+".join(re.escape(word) for word in form.split())
    match = re.search(rf"(?<![a-z0-9]){words}(?![a-z0-9])", text, re.IGNORECASE)
    middle = (match.start() + match.end()) // 2 if match else 0
    begin = max(0, min(middle - LONGEST // 2, len(text) - LONGEST))
    end = min(len(text), begin + LONGEST)
    return "…" * (begin > 0) + text[begin:end] + "…" * (end < len(text))
