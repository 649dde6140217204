"""The compiled loops that cut bytes into records and fields; numba, without Python's lock.

Choices: separators are looked for by the C library's `memchr`, the quickest there is, so that a long URL costs little.
Only `\n` ends a record and a `\r` before it is no part of the caption; a NUL is a byte like any other. Each loop fills
arrays of record extents, caption extents and states and stops when they are full.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from zsbench.leakage.compiled import compiled

READ, EMPTY, NULL, MALFORMED, OVER_LONG, UNSURE = 0, 1, 2, 3, 4, 5
STATES = 6

NEWLINE, RETURN, QUOTE = 10, 13, 34
# Addresses as whole numbers, which compiled code can be cached with; 0 means that the byte is not there.
memchr: Any = types.ExternalFunction("memchr", types.uintp(types.uintp, types.intc, types.uintp))


@compiled
def _find(base, byte, at, end):  # type: ignore[no-untyped-def]
    """Where a byte stands in base[at:end], or -1."""
    found = memchr(base + np.uintp(at), byte, np.uintp(end - at))
    return np.int64(found - base) if found else np.int64(-1)


@compiled
def split_fields(  # type: ignore[no-untyped-def]
    data, lo, hi, limit, separator, place, fields, longest, record_starts, record_ends, starts, ends, states
):
    """Cuts data[lo:hi] into lines of `fields` fields and finds the one at `place`; a line of text has one.

    Only lines that begin before `limit` and end before `hi` are taken. Returns their number and where the next begins.
    """
    base, n, start = np.uintp(data.ctypes.data), 0, lo
    while n < starts.size and start < limit:
        at = _find(base, NEWLINE, start, hi)
        if at < 0:
            break
        end = at - 1 if at > start and data[at - 1] == RETURN else at
        seen, a, b, field = 0, start, end, start
        while fields > 1 and seen <= fields:
            cut = _find(base, separator, field, at)
            if seen == place:
                a, b = field, cut if cut >= 0 else end
            if cut < 0:
                break
            seen += 1
            field = cut + 1
        record_starts[n], record_ends[n], starts[n], ends[n], states[n] = start, at + 1, a, b, READ
        if at - start > longest:
            record_ends[n], states[n] = start, OVER_LONG
        elif end == start:
            states[n] = EMPTY
        elif fields > 1 and seen + 1 != fields:
            states[n] = MALFORMED
        elif a == b:
            states[n] = EMPTY
        if states[n] != READ:
            starts[n], ends[n] = start, start
        n += 1
        start = at + 1
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
