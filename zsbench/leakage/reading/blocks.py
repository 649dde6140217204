"""Records cut from a stream in blocks of 4 MB, in a buffer that is used over and over.

Choices: a batch is valid until the next one is asked for; only so are captions neither copied nor allocated. A record
longer than LONGEST is passed over and counted, so that a file without line ends takes no more memory than others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from zsbench.leakage.batch import Batch, Bytes, Intake, Places
from zsbench.leakage.reading import split as kernels
from zsbench.leakage.reading.streams import Stream

BLOCK = 4 << 20  # bytes read at once, a multiple of 8
TAIL = 1 << 16  # bytes read at once to end a record that began before the fragment's end
LONGEST = 32 << 20  # bytes of the longest record that is kept
ROWS = 1 << 16  # records of a batch
FOREVER = 1 << 62


class Rows:
    """The arrays that the compiled loops fill: extents of records, extents of captions, states."""

    def __init__(self) -> None:
        self.record_starts, self.record_ends, self.starts, self.ends = (np.empty(ROWS, np.int64) for _ in range(4))
        self.states = np.empty(ROWS, np.uint8)

    @property
    def arrays(self) -> tuple[Places, Places, Places, Places, Bytes]:
        return self.record_starts, self.record_ends, self.starts, self.ends, self.states


class Window:
    """A stretch of a stream in one buffer: data[lo:hi], where data[0] is byte `origin` of the stream.

    stop: records that begin there or later are not ours. From `spare` on the buffer has room for captions that must be
    written anew (unquoted, unescaped); they never become longer by that.
    """

    def __init__(self, stream: Stream, origin: int = 0, stop: int = FOREVER):
        self.stream, self.origin, self.stop = stream, origin, stop
        self.lo = self.hi = 0
        self.ended = False  # nothing comes after data[hi - 1]
        self._allocate(BLOCK)

    def _allocate(self, size: int) -> None:
        self.size, self.spare = size, size + 8
        self.data: Bytes = np.empty(2 * size + 16, dtype=np.uint8)

    @property
    def position(self) -> int:
        """The byte of the stream where the next record begins."""
        return self.origin + self.lo

    @property
    def done(self) -> bool:
        return self.position >= self.stop or (self.ended and self.lo == self.hi)

    def more(self) -> None:
        """Carries what is left to the front and reads on, never far beyond `stop`. Raises OSError."""
        kept = self.data[self.lo : self.hi]
        if len(kept) > self.size // 2:
            self._allocate(max(self.size, min(2 * self.size, (LONGEST + BLOCK) // 8 * 8 + 8)))
        self.data[: len(kept)] = kept
        self.origin, self.lo, self.hi = self.position, 0, len(kept)
        before = self.stop - self.origin - self.hi
        asked = min(self.size - self.hi, before if before > 0 else TAIL)
        got = self.stream.fill(self.data[self.hi : self.hi + asked].data)
        self.hi += got
        self.ended = got < asked

    def closed(self) -> int:
        """The end of the data, behind a newline that is put after a last record without one."""
        if not self.ended or self.lo == self.hi or self.data[self.hi - 1] == kernels.NEWLINE:
            return self.hi
        self.data[self.hi] = kernels.NEWLINE
        return self.hi + 1

    def skip(self, count: int) -> None:
        self.stream.skip(count)
        self.origin += count

    def pass_record(self, quoted: bool = False) -> bool:
        """Goes on behind the record that began at or before `lo`; false when a quote in it is never closed."""
        inside = False
        while not self.done:
            end, inside = kernels.record_end(self.data, self.lo, self.hi, quoted, inside)
            self.lo = end if end >= 0 else self.hi
            if end >= 0:
                return True
            if not self.ended:
                self.more()
        return not inside


class Cut(Protocol):
    """How records are told apart and their captions found."""

    quoted: bool
    unclosed: bool  # whether the source ended inside quotes

    def __call__(self, window: Window, rows: Rows) -> tuple[int, int]:
        """Fills `rows` with the records that end inside the window; their number, and where the next begins."""
        ...


def batches(window: Window, cut: Cut, intake: Intake) -> Iterator[Batch]:
    """All records from the window's place to its stop. Raises OSError when the source is damaged."""
    rows, first = Rows(), 0
    while not window.done:
        count, end = cut(window, rows)
        if count:
            batch = _counted(window, rows, count, first, intake)
            window.lo = min(end, window.hi)
            first += count
            yield batch
        elif window.hi - window.lo > LONGEST:
            batch = _passed(window, rows, first, intake)
            cut.unclosed = not window.pass_record(cut.quoted)
            first += 1
            yield batch
        else:
            window.more()
    if cut.unclosed:
        raise OSError("a quote is never closed, so that what follows it cannot be told apart")


def _counted(window: Window, rows: Rows, count: int, first: int, intake: Intake) -> Batch:
    np.minimum(rows.record_ends[:count], window.hi, out=rows.record_ends[:count])  # without the newline that was added
    extents = rows.record_starts[:count], rows.record_ends[:count]
    cut = rows.states[:count], rows.starts[:count], rows.ends[:count]
    return counted(window.data, *cut, first, intake, records=extents)


def counted(
    data: Bytes,
    states: Bytes,
    starts: Places,
    ends: Places,
    first: int,
    intake: Intake,
    records: tuple[Places, Places] | None = None,
    keys: Sequence[str | int] | None = None,
) -> Batch:
    """The batch of records in these states, which are counted."""
    numbers = np.bincount(states, minlength=kernels.STATES)
    intake.records += len(states)
    intake.empty += int(numbers[kernels.EMPTY])
    intake.nulls += int(numbers[kernels.NULL])
    intake.malformed += int(numbers[kernels.MALFORMED])
    intake.over_long += int(numbers[kernels.OVER_LONG])
    unreadable = states >= kernels.MALFORMED if numbers[kernels.MALFORMED :].any() else None
    return Batch(data, starts, ends, first, records, keys, unreadable)


def _passed(window: Window, rows: Rows, first: int, intake: Intake) -> Batch:
    """The batch of one record that is too long to be kept: nothing of it is in the batch."""
    for places in (rows.record_starts, rows.record_ends, rows.starts, rows.ends):
        places[0] = 0
    rows.states[0] = kernels.OVER_LONG
    return _counted(window, rows, 1, first, intake)
