"""The compiled loops that cut bytes into records and fields; numba, without Python's lock.

Choices: eight bytes are looked at in one word, so that a long URL costs little: the classic test for a zero byte, in the
form without false hits. Only `\n` ends a record and a `\r` before it is no part of the caption; a NUL is a byte
like any other. Each loop fills arrays of record extents, caption extents and states and stops when they are full.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numba import njit

READ, EMPTY, NULL, MALFORMED, OVER_LONG, UNSURE = 0, 1, 2, 3, 4, 5
STATES = 6

NEWLINE, RETURN, QUOTE = 10, 13, 34
LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
EACH = np.uint64(0x0101010101010101)
HIT = np.uint64(0x80)
EIGHT, NONE, ALL = np.uint64(8), np.uint64(0), np.uint64(0xFFFFFFFFFFFFFFFF)
if sys.byteorder == "big":
    raise ImportError("the leakage scanner reads bytes in words and needs a little-endian machine")

compiled: Any = njit(nogil=True, cache=True, boundscheck=False)


@compiled
def split_fields(  # type: ignore[no-untyped-def]
    data, lo, hi, limit, separator, place, fields, longest, record_starts, record_ends, starts, ends, states
):
    """Cuts data[lo:hi] into lines of `fields` fields and finds the one at `place`; a line of text has one.

    Only lines that begin before `limit` and end before `hi` are taken. Returns their number and where the next begins.
    """
    words = data[: data.size // 8 * 8].view(np.uint64)
    newline, other = np.uint64(NEWLINE) * EACH, np.uint64(separator) * EACH
    n, start, seen, a, b = 0, lo, 0, lo, lo
    word, last = lo >> 3, (hi + 7) >> 3
    mask = ALL << np.uint64((lo & 7) * 8)
    done = start >= limit
    while word < last and not done:
        value = words[word] ^ newline
        ended = ~(((value & LOW) + LOW) | value | LOW)
        value = words[word] ^ other
        hits = (~(((value & LOW) + LOW) | value | LOW) | ended) & mask
        mask = ALL
        at = word << 3
        word += 1
        while hits != NONE and at < hi:
            if hits & HIT:
                if ended & HIT:
                    end = at - 1 if at > start and data[at - 1] == RETURN else at
                    if seen == place:
                        b = end
                    record_starts[n], record_ends[n] = start, at + 1
                    starts[n], ends[n], states[n] = a, b, READ
                    if at - start > longest:
                        record_ends[n], states[n] = start, OVER_LONG
                    elif end == start:
                        states[n] = EMPTY
                    elif seen + 1 != fields:
                        states[n] = MALFORMED
                    elif a == b:
                        states[n] = EMPTY
                    if states[n] != READ:
                        starts[n], ends[n] = start, start
                    n += 1
                    start, seen, a, b = at + 1, 0, at + 1, at + 1
                    if n == starts.size or start >= limit:
                        done = True
                        break
                else:
                    if seen == place:
                        b = at
                    seen += 1
                    if seen == place:
                        a = at + 1
            hits >>= EIGHT
            ended >>= EIGHT
            at += 1
    return n, start


@compiled
def split_quoted(  # type: ignore[no-untyped-def]
    data, lo, hi, final, separator, place, fields, longest, spare, record_starts, record_ends, starts, ends, states
):
    """Cuts data[lo:hi] into records with quotes as in RFC 4180, which may hold line ends; "" in a caption becomes ".

    Captions with doubled quotes are written anew from data[spare] on. `final`: nothing comes after `hi`.
    Returns the number of records, where the next begins and whether a quote was never closed.
    """
    n, at = 0, lo
    while n < starts.size and at < hi:
        start, seen, a, b, doubled, stray, open_quote = at, 0, at, at, 0, False, False
        while True:
            begin, end, pairs = at, at, 0
            if at < hi and data[at] == QUOTE:
                begin, open_quote = at + 1, True
                at += 1
                while at < hi:
                    if data[at] != QUOTE:
                        at += 1
                    elif at + 1 < hi and data[at + 1] == QUOTE:
                        pairs += 1
                        at += 2
                    else:
                        open_quote = False
                        break
                end = at
                at += 1
                while at < hi and data[at] != separator and data[at] != NEWLINE:
                    stray |= data[at] != RETURN
                    at += 1
            else:
                while at < hi and data[at] != separator and data[at] != NEWLINE:
                    at += 1
                end = at - 1 if at > begin and at < hi and data[at] == NEWLINE and data[at - 1] == RETURN else at
            if at >= hi and not final:
                return n, start, False
            if seen == place:
                a, b, doubled = begin, end, pairs
            seen += 1
            if at >= hi or data[at] == NEWLINE:
                break
            at += 1
        at = min(at + 1, hi)
        record_starts[n], record_ends[n], starts[n], ends[n], states[n] = start, at, a, b, READ
        if at - start > longest:
            record_ends[n], states[n] = start, OVER_LONG
        elif open_quote or stray or (seen != fields and data[start] != NEWLINE and data[start] != RETURN):
            states[n] = MALFORMED
        elif a >= b or seen != fields:
            states[n] = EMPTY
        if states[n] != READ:
            starts[n], ends[n] = start, start
        elif doubled:
            starts[n] = spare
            while a < b:
                data[spare] = data[a]
                a += 2 if data[a] == QUOTE else 1
                spare += 1
            ends[n] = spare
        n += 1
        if open_quote:
            return n, at, True
    return n, at, False


@compiled
def record_end(data, lo, hi, quoted, inside):  # type: ignore[no-untyped-def]
    """Where the record ends that began earlier, or -1; `inside` tells whether `lo` is inside quotes, and then `hi`."""
    for at in range(lo, hi):
        if data[at] == NEWLINE and not inside:
            return at + 1, inside
        if quoted and data[at] == QUOTE:
            inside = not inside
    return -1, inside
