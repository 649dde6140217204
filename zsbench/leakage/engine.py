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
from zsbench.leakage.batch import Batch, Bytes, Intake, Places, batch_of
from zsbench.leakage.lexicon import Form, Lexicon
from zsbench.leakage.words import NEXT, folded_joined, has_other_letters, simple_folds

MOST_BYTES = 1 << 28  # of one batch; a larger one is taken in halves
LANES = 8
ROOM = 1 << 14  # endings a lane has room for at first; a batch with more is walked again with enough

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
        self._endings = np.empty((LANES, ROOM), dtype=np.uint64)
        self._text = np.empty(0, dtype=np.uint8)

    def copy(self) -> Matcher:
        """A matcher for another thread, with the same tables and buffers of its own."""
        other = object.__new__(Matcher)
        other.__dict__.update(self.__dict__)
        other._endings, other._text = np.empty_like(self._endings), np.empty(0, dtype=np.uint8)
        return other

    def scan(self, batch: Batch, intake: Intake) -> Hits:
        """The batch's hits; counts in `intake` what its letters were."""
        if len(batch) > 1 and int((batch.ends - batch.starts).sum()) > MOST_BYTES:
            return self._scan_halves(batch, intake)
        rows, stops = self._spelled(batch, intake)
        named, classes, blocked, placeholders = self._resolved(self._hits(stops))
        for part in (named, classes, blocked, placeholders):
            part[:, 0] = rows[part[:, 0]]
        return Hits(named, classes, blocked, placeholders)

    def _scan_halves(self, batch: Batch, intake: Intake) -> Hits:
        """A large batch in two parts: places in the text are 32-bit numbers."""
        half = len(batch) // 2
        one = self.scan(Batch(batch.data, batch.starts[:half], batch.ends[:half]), intake)
        two = self.scan(Batch(batch.data, batch.starts[half:], batch.ends[half:]), intake)
        return Hits(
            _joined(one.named, two.named, half),
            _joined(one.classes, two.classes, half),
            _joined(one.blocked, two.blocked, half),
            _joined(one.placeholders, two.placeholders, half),
        )

    def _spelled(self, batch: Batch, intake: Intake) -> tuple[Ints, Places]:
        """Fills the text with plain captions, then with folded ones; the batch's row of each, and where each ends."""
        odd = np.empty(len(batch), dtype=np.uint8)
        self._make_room(int((batch.ends - batch.starts).sum()) + len(batch))
        stops = np.empty(len(batch), dtype=np.int64)
        symbols, simple = self._automaton.symbols, simple_folds()
        length = int(kernels.spell(batch.data, batch.starts, batch.ends, symbols, simple, self._text, stops, odd))
        intake.nul += int(np.count_nonzero(odd & 2))
        rows = np.flatnonzero(odd & 1)
        if not len(rows):
            return np.arange(len(batch), dtype=np.int32), stops
        more = self._append(_folded(batch, rows, intake), length)
        return np.concatenate([np.arange(len(batch)), rows]).astype(np.int32), np.concatenate([stops, more])

    def _append(self, extra: Batch, at: int) -> Places:
        self._make_room(at + int((extra.ends - extra.starts).sum()) + len(extra), keep=at)
        odd, stops = np.empty(len(extra), dtype=np.uint8), np.empty(len(extra), dtype=np.int64)
        place = self._text[at:]
        symbols, simple = self._automaton.folded, simple_folds()
        kernels.spell(extra.data, extra.starts, extra.ends, symbols, simple, place, stops, odd)
        return stops + at

    def _make_room(self, size: int, keep: int = 0) -> None:
        if len(self._text) < size:
            bigger = np.empty(size + size // 4, dtype=np.uint8)
            bigger[:keep] = self._text[:keep]
            self._text = bigger

    def _hits(self, stops: Places) -> Ints:
        """All hits (row, phrase, place), in the order of the text."""
        length = int(stops[-1]) if len(stops) else 0
        firsts = np.searchsorted(stops, length * np.arange(LANES) // LANES, side="right")
        cuts = np.append(np.where(firsts > 0, stops[firsts - 1], 0) if length else np.zeros(LANES), length)
        counts = self._walk(self._text[:length], cuts.astype(np.uint64))
        found = [self._expanded(self._endings[lane, : counts[lane]], stops, int(firsts[lane])) for lane in range(LANES)]
        return np.concatenate(found)

    def _walk(self, text: Bytes, cuts: NDArray[np.uint64]) -> NDArray[np.uint64]:
        a, counts = self._automaton, np.zeros(LANES, dtype=np.uint64)
        start, ending = np.uint32(a.start), np.uint32(a.ending)
        kernels.walk(text, cuts, a.table, start, ending, self._endings, counts)
        if counts.max() > self._endings.shape[1]:
            self._endings = np.empty((LANES, int(counts.max()) * 5 // 4), dtype=np.uint64)
            kernels.walk(text, cuts, a.table, start, ending, self._endings, counts)
        return counts

    def _expanded(self, endings: NDArray[np.uint64], stops: Places, first: int) -> Ints:
        a = self._automaton
        most = len(endings) * int(np.diff(a.outputs).max(initial=1))
        hits = np.empty((most, 3), dtype=np.int32)
        rest = (np.uint64(a.ending), np.uint64(a.width), a.outputs, a.output, hits)
        return hits[: kernels.expand(endings, stops, first, *rest)]

    def _resolved(self, hits: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        most = int((self._role_at[hits[:, 1] + 1] - self._role_at[hits[:, 1]]).sum())
        named, classes, blocked, places = (np.empty((most, width), dtype=np.int32) for width in (2, 3, 2, 2))
        sizes = (len(self.forms), len(self.lexicon.entries), len(self.blockers), len(self.lexicon.entries))
        marks = tuple(np.full(size, -1, dtype=np.int32) for size in sizes)
        tables = (self._automaton.words, self._role_at, self._roles, self._blocking, self._reach)
        n = kernels.resolve(hits, self._text, *tables, marks, named, classes, blocked, places)
        return named[: n[0]], classes[: n[1]], blocked[: n[2]], places[: n[3]]


def _joined(one: Ints, two: Ints, moved: int) -> Ints:
    """Two lists of hits; the rows of the second begin at `moved`."""
    two[:, 0] += moved
    return np.concatenate([one, two])


def flagged_hashes(batch: Batch, hits: Hits) -> NDArray[np.uint64]:
    """64 bits of each caption that names a class, in the place of its row: equal for equal captions, in any file."""
    out = np.zeros(len(batch), dtype=np.uint64)
    kernels.hash_captions(batch.data, batch.starts, batch.ends, np.flatnonzero(hits.flagged(len(batch))), out)
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
    captions = [batch.caption(row) for row in rows.tolist()]
    try:
        joined = NEXT.encode().join(captions).decode("utf-8")
        whole = joined.count(NEXT) == len(rows) - 1
    except UnicodeDecodeError:
        whole = False
    if not whole:
        joined = NEXT.join(_decoded(caption, intake).replace(NEXT, " ") for caption in captions)
    text = folded_joined(joined)
    intake.non_latin += sum(has_other_letters(words) for words in text if not words.isascii())
    return batch_of(text)


def _decoded(raw: bytes, intake: Intake) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        intake.undecodable += 1
        return raw.decode("utf-8", errors="replace")
