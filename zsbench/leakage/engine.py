"""The fast matcher: a batch of captions in, which caption names which class by which form out.

It means the same as `reference`, at the speed of reading. Plain captions go through the automaton as bytes; one with a
byte beyond ASCII or a character reference is folded first (`words.folded`), which costs microseconds, so that only the
few percent that need it pay. What a hit counts for is decided afterwards, for the few captions that have one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsbench.leakage import kernels
from zsbench.leakage.automaton import Automaton, build
from zsbench.leakage.batch import Batch, Intake, batch_of
from zsbench.leakage.lexicon import Form, Lexicon
from zsbench.leakage.words import folded_rows, has_other_letters

LANES = 4
ROOM = 1 << 14  # hits a lane has room for at first; a batch with more is walked again with enough

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Hits:
    """What a batch's captions name; rows are places in the batch, each pair stands once, rows are not in order.

    named: (n, 2) row, form (place in `Matcher.forms`). classes: (n, 3) row, class (place in the lexicon), lowest level.
    blocked: (n, 2) row, blocker (place in `Matcher.blockers`). placeholders: (n, 2) row, class.
    """

    named: Ints
    classes: Ints
    blocked: Ints
    placeholders: Ints

    def flagged(self, rows: int) -> NDArray[np.bool_]:
        """Which of the batch's captions name any class."""
        mask = np.zeros(rows, dtype=np.bool_)
        mask[self.classes[:, 0]] = True
        return mask


class Matcher:
    """A lexicon, compiled. `forms` and `blockers` list (place of the class, form) and (place of the class, phrase).

    One matcher serves one thread at a time; `copy` shares the tables with another.
    """

    def __init__(self, lexicon: Lexicon):
        self.lexicon = lexicon
        self.forms: list[tuple[int, Form]] = [(i, f) for i, e in enumerate(lexicon.entries) for f in e.forms]
        self.blockers = [(i, text) for i, entry in enumerate(lexicon.entries) for text in entry.blockers]
        keepers = [(i, text) for i, entry in enumerate(lexicon.entries) for text in entry.keepers]
        roles = [(form.text, kernels.FORM, i, n, form.level) for n, (i, form) in enumerate(self.forms)]
        roles += [(text, kernels.BLOCKER, i, n, 0) for n, (i, text) in enumerate(self.blockers)]
        roles += [(text, kernels.KEEPER, i, n, 0) for n, (i, text) in enumerate(keepers)]
        phrases = list(dict.fromkeys(role[0] for role in roles))
        self._automaton: Automaton = build(phrases)
        self._role_at, self._roles = _by_phrase(phrases, roles)
        contested = [role[0] for role in roles if role[1] != kernels.FORM]
        self._blocking = np.isin(phrases, [text for _, text in self.blockers])
        self._reach = max((text.count(" ") + 1 for text in contested), default=1)
        self._hits = np.empty((LANES, ROOM, 3), dtype=np.int32)
        self._text = np.empty(0, dtype=np.uint8)

    def copy(self) -> Matcher:
        """A matcher for another thread, with the same tables and buffers of its own."""
        other = object.__new__(Matcher)
        other.__dict__.update(self.__dict__)
        other._hits, other._text = np.empty_like(self._hits), np.empty(0, dtype=np.uint8)
        return other

    def scan(self, batch: Batch, intake: Intake) -> Hits:
        """The batch's hits; counts in `intake` what its letters were."""
        rows, length, cuts, firsts = self._spelled(batch, intake)
        counts = self._walk(length, cuts, firsts)
        found = [self._resolved(self._hits[lane, : counts[lane]]) for lane in range(LANES)]
        named, classes, blocked, placeholders = (np.concatenate(parts) for parts in zip(*found, strict=True))
        for part in (named, classes, blocked, placeholders):
            part[:, 0] = rows[part[:, 0]]
        return Hits(named, classes, blocked, placeholders)

    def _spelled(self, batch: Batch, intake: Intake) -> tuple[Ints, int, NDArray[np.uint64], Ints]:
        """Fills the text with plain captions, then with folded ones; the batch's row of each, and the four lanes."""
        odd = np.empty(len(batch), dtype=np.uint8)
        self._make_room(int((batch.ends - batch.starts).sum()) + 2 * len(batch))
        spelled = kernels.spell(batch.data, batch.starts, batch.ends, self._automaton.symbols, self._text, odd)
        intake.nul += int(np.count_nonzero(odd & 2))
        rows = np.flatnonzero(odd & 1)
        extra = _folded(batch, rows, intake)
        length = self._append(extra, spelled)
        everything = np.concatenate([np.arange(len(batch)), rows]).astype(np.int32)
        return everything, length, *_lanes(self._text[:length])

    def _append(self, extra: Batch, at: int) -> int:
        self._make_room(at + int((extra.ends - extra.starts).sum()) + 2 * len(extra), keep=at)
        odd = np.empty(len(extra), dtype=np.uint8)
        place = self._text[at:]
        return at + int(kernels.spell(extra.data, extra.starts, extra.ends, self._automaton.folded, place, odd))

    def _make_room(self, size: int, keep: int = 0) -> None:
        if len(self._text) < size:
            bigger = np.empty(size + size // 4, dtype=np.uint8)
            bigger[:keep] = self._text[:keep]
            self._text = bigger

    def _walk(self, length: int, cuts: NDArray[np.uint64], firsts: Ints) -> NDArray[np.int64]:
        a, counts = self._automaton, np.zeros(LANES, dtype=np.int64)
        text = self._text[:length]
        rest = (a.table, *(np.uint64(n) for n in (a.width, a.start, a.ending, a.row)), a.outputs, a.output)
        kernels.walk(text, cuts, firsts, *rest, self._hits, counts)
        if counts.max() > self._hits.shape[1]:
            self._hits = np.empty((LANES, int(counts.max()) * 5 // 4, 3), dtype=np.int32)
            kernels.walk(text, cuts, firsts, *rest, self._hits, counts)
        return counts

    def _resolved(self, hits: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        most = int((self._role_at[hits[:, 1] + 1] - self._role_at[hits[:, 1]]).sum())
        named, classes, blocked, places = (np.empty((most, width), dtype=np.int32) for width in (2, 3, 2, 2))
        sizes = (len(self.forms), len(self.lexicon.entries), len(self.blockers), len(self.lexicon.entries))
        marks = tuple(np.full(size, -1, dtype=np.int32) for size in sizes)
        tables = (self._automaton.words, self._role_at, self._roles, self._blocking, self._reach)
        n = kernels.resolve(hits, self._text, *tables, marks, named, classes, blocked, places)
        return named[: n[0]], classes[: n[1]], blocked[: n[2]], places[: n[3]]


def hashes(batch: Batch, rows: Ints) -> NDArray[np.uint64]:
    """64 bits of the captions in these rows of the batch: equal for equal captions, in any file."""
    out = np.empty(len(rows), dtype=np.uint64)
    kernels.hash_captions(batch.data, batch.starts, batch.ends, rows, out)
    return out


def _by_phrase(phrases: list[str], roles: list[tuple[str, int, int, int, int]]) -> tuple[Ints, Ints]:
    """Roles in the order of their phrases, and where each phrase's begin."""
    number = {phrase: place for place, phrase in enumerate(phrases)}
    numbers = np.array([number[role[0]] for role in roles], dtype=np.int64)
    order = np.argsort(numbers, kind="stable")
    table = np.array([role[1:] for role in roles], dtype=np.int32).reshape(-1, 4)[order]
    return np.searchsorted(numbers[order], np.arange(len(phrases) + 1)).astype(np.int32), table


def _folded(batch: Batch, rows: NDArray[np.intp], intake: Intake) -> Batch:
    """The captions of these rows as folded text."""
    text = folded_rows([_decoded(batch.caption(int(row)), intake) for row in rows])
    intake.non_latin += sum(has_other_letters(words) for words in text if not words.isascii())
    return batch_of(text)


def _decoded(raw: bytes, intake: Intake) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        intake.undecodable += 1
        return raw.decode("utf-8", errors="replace")


def _lanes(text: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], Ints]:
    """Where the four lanes begin and the text ends, at captions' ends, and the number of each lane's first caption."""
    cuts, firsts = [0], [0]
    for lane in range(1, LANES):
        cuts.append(max(cuts[-1], _caption_end(text, len(text) * lane // LANES)))
        firsts.append(firsts[-1] + int(np.count_nonzero(text[cuts[-2] : cuts[-1]] == kernels.ROW)))
    return np.array([*cuts, len(text)], dtype=np.uint64), np.array(firsts, dtype=np.int32)


def _caption_end(text: NDArray[np.uint8], at: int) -> int:
    """The first place after the end of the caption around `at`; looks on in growing steps, for captions may be long."""
    step = 256
    while at < len(text):
        ends = np.flatnonzero(text[at : at + step] == kernels.ROW)
        if len(ends):
            return at + int(ends[0]) + 1
        at, step = at + step, step * 4
    return len(text)
