"""Distinct captions, sampled and counted without an order: those with the smallest hashes of their bytes.

The k smallest hashes are the same whatever the order of rows, files and shards; they are a random sample of the
distinct captions, their repetitions are counted exactly, and the largest of them tells how many distinct ones there are
(Beyer et al., On Synopses for Distinct-Value Estimation, SIGMOD 2007).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsbench.leakage import kernels
from zsbench.leakage.batch import Batch
from zsbench.leakage.engine import Hits, Matcher
from zsbench.leakage.lexicon import Entry, Form
from zsbench.leakage.reference import find

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int32]

KEPT = 1024  # hashes per class: an estimate beyond them is off by 3 % (one standard error)
READ_WHOLE = 1 << 16  # characters of a caption that the plain matcher reads to find the match
HELD = 1 << 12  # bytes of a caption that is held as it is until its part is written: most candidates never get there
LONGEST = 600  # characters of a caption kept as an example; a longer one is cut around its match


class Smallest:
    """The `room` smallest distinct hashes of each of several groups, with their copies and first places."""

    def __init__(self, groups: int, room: int):
        self.keys = np.zeros((groups, room), dtype=np.uint64)
        self.copies, self.places = np.zeros((2, groups, room), dtype=np.int64)
        self.sizes = np.zeros(groups, dtype=np.int64)

    def add(self, groups: Ints, hashes: Hashes, rows: Ints, first: int) -> Ints:
        """Takes in occurrences, at place first + row; returns the entries that brought a hash not kept before."""
        fresh = np.empty(len(groups), dtype=np.int32)
        tables = (self.keys, self.copies, self.places, self.sizes, fresh)
        return fresh[: kernels.keep_smallest(groups, hashes, rows, first, *tables)]

    def kept(self, group: int) -> Hashes:
        return self.keys[group, : self.sizes[group]]

    def largest(self, groups: Ints) -> Hashes:
        """The largest hash that each of these groups keeps."""
        return self.keys[groups, self.sizes[groups] - 1]


class Distinct:
    """Sketch of the distinct captions of several classes."""

    def __init__(self, classes: int):
        self._kept = np.zeros((classes, 2 * KEPT), dtype=np.uint64)  # half of it is room for what is not settled yet
        self._sizes = np.zeros(classes, dtype=np.int64)
        self._limits = np.full(classes, 2**64 - 1, dtype=np.uint64)

    def add(self, classes: Ints, hashes: Hashes) -> None:
        kernels.gather_smallest(classes, hashes, self._kept, self._sizes, self._limits)

    def kept(self, number: int) -> Hashes:
        kernels.settle(number, self._kept, self._sizes, self._limits)
        return self._kept[number, : self._sizes[number]]

    def merge(self, other: Distinct) -> None:
        for number in np.flatnonzero(other._sizes).tolist():
            self._merge(number, other.kept(number))

    def _merge(self, number: int, hashes: Hashes) -> None:
        self.add(np.full(len(hashes), number, dtype=np.int32), hashes)

    def count(self, number: int) -> tuple[int, bool]:
        """How many distinct captions name the class, and whether that is exact."""
        kept = self.kept(number)
        if len(kept) < KEPT:
            return len(kept), True
        return round((KEPT - 1) / ((float(kept[-1]) + 1) / 2.0**64)), False

    def as_list(self) -> list[str]:
        return [base64.b64encode(self.kept(number).tobytes()).decode() for number in range(len(self._sizes))]

    @classmethod
    def from_list(cls, value: list[str]) -> Distinct:
        made = cls(len(value))
        for number, text in enumerate(value):
            made._merge(number, np.frombuffer(base64.b64decode(text), dtype=np.uint64))
        return made


@dataclass(slots=True)
class Example:
    """A caption, how often it occurred with this form, and where first: source number and row of the source."""

    text: str
    copies: int
    source: int
    row: int


class Collector:
    """Samples examples of every form while one fragment is read; their bytes are fetched before its batch is gone."""

    def __init__(self, matcher: Matcher, size: int):
        self._matcher = matcher
        self._smallest = Smallest(len(matcher.forms), size)
        self._captions: dict[tuple[int, int], bytes | str] = {}

    def add(self, batch: Batch, hits: Hits, keys: Hashes) -> None:
        """Takes in the hits of a batch; keys: the hash of every caption that has any."""
        rows, forms = hits.named[:, 0], hits.named[:, 1]
        hashes = keys[rows]
        fresh = self._smallest.add(forms, hashes, rows, batch.first)
        stayed = fresh[hashes[fresh] <= self._smallest.largest(forms[fresh])]  # others came and went within the batch
        for form, key, row in zip(forms[stayed].tolist(), hashes[stayed].tolist(), rows[stayed].tolist(), strict=True):
            caption = batch.caption(row)
            self._captions[form, key] = self._excerpt(caption, form) if len(caption) > HELD else caption

    def _excerpt(self, caption: bytes, form: int) -> str:
        entry, found = self._matcher.forms[form]
        return excerpt(caption, self._matcher.lexicon.entries[entry], found)

    def examples(self) -> Examples:
        """What was kept, as examples of source 0."""
        smallest = self._smallest
        made = Examples(len(smallest.sizes), smallest.keys.shape[1])
        for form in np.flatnonzero(smallest.sizes).tolist():
            kept = (smallest.kept(form), smallest.copies[form], smallest.places[form])
            for key, copies, place in zip(*(column.tolist() for column in kept), strict=False):
                caption = self._captions[form, key]
                text = caption if isinstance(caption, str) else self._excerpt(caption, form)
                made.kept[form][key] = Example(text, copies, 0, place)
        return made


class Examples:
    """Up to `size` distinct captions of each of several forms, by their hashes."""

    def __init__(self, forms: int, size: int):
        self.size = size
        self.kept: list[dict[int, Example]] = [{} for _ in range(forms)]

    def __iter__(self) -> Iterator[Example]:
        return (example for kept in self.kept for example in kept.values())

    def merge(self, other: Examples) -> None:
        for form, found in enumerate(other.kept):
            if found:
                self._merge(form, found)

    def _merge(self, form: int, found: dict[int, Example]) -> None:
        kept = self.kept[form]
        for key, example in found.items():
            if key in kept:
                kept[key] = _joined(kept[key], example)
            else:
                kept[key] = example
        self.kept[form] = {key: kept[key] for key in sorted(kept)[: self.size]}

    def as_dict(self) -> dict[str, dict[str, list[Any]]]:
        """Only forms that have any: most of a large lexicon do not."""
        return {
            str(form): {f"{key:016x}": [e.text, e.copies, e.source, e.row] for key, e in kept.items()}
            for form, kept in enumerate(self.kept)
            if kept
        }

    @classmethod
    def from_dict(cls, value: dict[str, dict[str, list[Any]]], forms: int, size: int) -> Examples:
        made = cls(forms, size)
        for form, kept in value.items():
            made.kept[int(form)] = {int(key, 16): Example(*fields) for key, fields in kept.items()}
        return made


def _joined(one: Example, other: Example) -> Example:
    first = min(one, other, key=lambda example: (example.source, example.row))
    return Example(one.text, one.copies + other.copies, first.source, first.row)


def excerpt(caption: bytes, entry: Entry, form: Form) -> str:
    """The caption as text; of a long one the part around the form, with an ellipsis where it was cut."""
    text = caption.decode("utf-8", errors="replace")
    if len(text) <= LONGEST:
        return text
    middle = _middle(text, entry, form)
    begin = max(0, min(middle - LONGEST // 2, len(text) - LONGEST))
    end = min(len(text), begin + LONGEST)
    return "…" * (begin > 0) + text[begin:end] + "…" * (end < len(text))


def _middle(text: str, entry: Entry, form: Form) -> int:
    """Where the form stands; in a caption of megabytes where its letters do, for the plain matcher takes seconds."""
    if len(text) <= READ_WHOLE:
        matches = [match for match in find(text, entry) if match.verdict == "named" and match.form == form]
        return (matches[0].start + matches[0].end) // 2 if matches else 0
    words = r"[^a-z0-9]+".join(re.escape(word) for word in form.text.split())
    match = re.search(rf"(?<![a-z0-9]){words}(?![a-z0-9])", text, re.IGNORECASE)
    return (match.start() + match.end()) // 2 if match else 0
