"""The compiled loops of the engine: letters to symbols, symbols through the automaton, hits to what they mean.

Compiled by numba at first use and kept in its cache beside the package; all run without Python's lock, so that threads
share the work. Names: a *hit* is a phrase ending at a place; what it counts for stands in the lexicon's roles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from zsbench.leakage.automaton import AMPERSAND, GREATER, LESS, NOT_ASCII, NUL, ROW, SEMICOLON, SEPARATOR

FORM, BLOCKER, KEEPER = 0, 1, 2
NAMED, BLOCKED, PLACEHOLDER = 0, 1, 2

# Places and states are unsigned: numba reads a signed index as one that may count from the end, at three times the cost.
U8, U16, U64 = np.uint8, np.uint16, np.uint64
ONE = U64(1)

compiled: Any = njit(nogil=True, cache=True, boundscheck=False)


@compiled
def spell(data, starts, ends, symbols, out, odd):  # type: ignore[no-untyped-def]
    """Writes every caption as symbols, ended by SEPARATOR and ROW, into `out`; returns how far.

    A caption with bytes beyond ASCII or a character reference is left empty and marked in `odd` for the fold; bit 1 of
    `odd` tells of a NUL.
    """
    at = U64(0)
    for i in range(len(starts)):
        begin, seen = at, U16(0)
        for j in range(U64(starts[i]), U64(ends[i])):
            value = symbols[data[j]]
            out[at] = U8(value & U16(255))
            seen |= value
            at += ONE
        reference = seen & U16(AMPERSAND) and seen & U16(SEMICOLON)
        odd[i] = (1 if seen & U16(NOT_ASCII) or reference else 0) | (2 if seen & U16(NUL) else 0)
        if odd[i] & 1:
            at = begin
        out[at], out[at + ONE] = SEPARATOR, ROW
        at += U64(2)
    return at


@compiled
def _emit(state, place, row, ending, width, outputs, output, hits, count):  # type: ignore[no-untyped-def]
    k = (state - ending) // width
    for o in range(outputs[k], outputs[k + ONE]):
        if count < len(hits):
            hits[count, 0], hits[count, 1], hits[count, 2] = row, output[o], place
        count += 1
    return count


@compiled
def _lane(text, begin, end, row, state, table, width, ending, last, outputs, output, hits, count):  # type: ignore[no-untyped-def]
    """The rest of a lane, from `state` on. Returns how many hits there are, which may be more than there is room for."""
    for i in range(begin, end):
        state = table[state + text[i]]
        if state >= ending:
            if state == last:
                row += 1
            else:
                count = _emit(state, i, row, ending, width, outputs, output, hits, count)
    return count


@compiled
def walk(text, cuts, firsts, table, width, start, ending, last, outputs, output, hits, counts):  # type: ignore[no-untyped-def]
    """The automaton over four lanes at once; one alone would wait for memory at every byte, as each state needs the last.

    Lane k reads text[cuts[k] : cuts[k + 1]], whose first caption has number firsts[k], and fills hits[k] (row, phrase,
    place of the separator after it) and counts[k].
    """
    a, b, c, d = start, start, start, start
    ra, rb, rc, rd = firsts[0], firsts[1], firsts[2], firsts[3]
    na, nb, nc, nd = 0, 0, 0, 0
    ha, hb, hc, hd = hits[0], hits[1], hits[2], hits[3]
    ia, ib, ic, id_, end = cuts[0], cuts[1], cuts[2], cuts[3], cuts[4]
    shortest = min(ib - ia, ic - ib, id_ - ic, end - id_)
    for i in range(shortest):
        a = table[a + text[ia + i]]
        b = table[b + text[ib + i]]
        c = table[c + text[ic + i]]
        d = table[d + text[id_ + i]]
        if a >= ending:
            if a == last:
                ra += 1
            else:
                na = _emit(a, ia + i, ra, ending, width, outputs, output, ha, na)
        if b >= ending:
            if b == last:
                rb += 1
            else:
                nb = _emit(b, ib + i, rb, ending, width, outputs, output, hb, nb)
        if c >= ending:
            if c == last:
                rc += 1
            else:
                nc = _emit(c, ic + i, rc, ending, width, outputs, output, hc, nc)
        if d >= ending:
            if d == last:
                rd += 1
            else:
                nd = _emit(d, id_ + i, rd, ending, width, outputs, output, hd, nd)
    counts[0] = _lane(text, ia + shortest, ib, ra, a, table, width, ending, last, outputs, output, ha, na)
    counts[1] = _lane(text, ib + shortest, ic, rb, b, table, width, ending, last, outputs, output, hb, nb)
    counts[2] = _lane(text, ic + shortest, id_, rc, c, table, width, ending, last, outputs, output, hc, nc)
    counts[3] = _lane(text, id_ + shortest, end, rd, d, table, width, ending, last, outputs, output, hd, nd)


@compiled
def _start(text, end, words):  # type: ignore[no-untyped-def]
    """Where a phrase of so many words begins that ends before the separator at `end`."""
    at = end
    for word in range(words):
        while word and text[at - 1] <= ROW:
            at -= 1
        while at and text[at - 1] > ROW:
            at -= 1
    return at


@compiled
def _inside(hit, low, high, kind, entry, hits, starts, reach, role_at, roles):  # type: ignore[no-untyped-def]
    """The first role of this kind and class whose hit contains `hit`, or -1.

    Hits stand in the order of their ends, so only those of the next `reach` words can contain it.
    """
    first, ends, at = hit, 0, hits[hit, 2]
    while first > low and hits[first - 1, 2] == at:
        first -= 1
    best = -1
    for other in range(first, high):
        if hits[other, 2] != at:
            at = hits[other, 2]
            ends += 1
            if ends >= reach:
                break
        if starts[other] <= starts[hit]:
            for r in range(role_at[hits[other, 1]], role_at[hits[other, 1] + 1]):
                if roles[r, 0] == kind and roles[r, 1] == entry and (best < 0 or roles[r, 2] < best):
                    best = roles[r, 2]
    return best


@compiled
def resolve(hits, text, words, role_at, roles, blocking, reach, marks, named, classes, blocked, placeholders):  # type: ignore[no-untyped-def]
    """What the hits of some captions mean, each caption once per form, class and blocker.

    hits: (n, 3) row, phrase, end, in the order of the rows and of the ends within one. roles: (r, 4) kind, class, number
    of the form or blocker, level of the form; those of phrase p are role_at[p] : role_at[p + 1]. blocking: phrases that
    are a blocker. marks: four arrays of -1, by form, class, blocker, class: the last row that counted.
    Fills named (row, form), classes (row, class, best level), blocked (row, blocker), placeholders (row, class) and
    returns their lengths.
    """
    form_mark, class_mark, block_mark, place_mark = marks
    starts = np.empty(len(hits), dtype=np.int32)
    touched = np.empty(len(class_mark), dtype=np.int32)
    best = np.empty(len(class_mark), dtype=np.int32)
    n_named, n_classes, n_blocked, n_places = 0, 0, 0, 0
    low = 0
    while low < len(hits):
        row, high, contested, n_touched = hits[low, 0], low, False, 0
        while high < len(hits) and hits[high, 0] == row:
            contested |= blocking[hits[high, 1]]
            high += 1
        if contested:
            for hit in range(low, high):
                starts[hit] = _start(text, hits[hit, 2], words[hits[hit, 1]])
        for hit in range(low, high):
            phrase, end = hits[hit, 1], hits[hit, 2]
            for r in range(role_at[phrase], role_at[phrase + 1]):
                if roles[r, 0] != FORM:
                    continue
                entry, form = roles[r, 1], roles[r, 2]
                if words[phrase] == 1 and text[end] == GREATER:
                    begin = _start(text, end, 1)
                    if begin and text[begin - 1] == LESS:
                        if place_mark[entry] != row:
                            place_mark[entry] = row
                            placeholders[n_places, 0], placeholders[n_places, 1] = row, entry
                            n_places += 1
                        continue
                if contested:
                    by = _inside(hit, low, high, BLOCKER, entry, hits, starts, reach, role_at, roles)
                    if by >= 0 and _inside(hit, low, high, KEEPER, entry, hits, starts, reach, role_at, roles) < 0:
                        if block_mark[by] != row:
                            block_mark[by] = row
                            blocked[n_blocked, 0], blocked[n_blocked, 1] = row, by
                            n_blocked += 1
                        continue
                if form_mark[form] != row:
                    form_mark[form] = row
                    named[n_named, 0], named[n_named, 1] = row, form
                    n_named += 1
                    if class_mark[entry] != row:
                        class_mark[entry] = row
                        touched[n_touched] = entry
                        n_touched += 1
                        best[entry] = roles[r, 3]
                    elif roles[r, 3] < best[entry]:
                        best[entry] = roles[r, 3]
        for t in range(n_touched):
            entry = touched[t]
            classes[n_classes, 0], classes[n_classes, 1], classes[n_classes, 2] = row, entry, best[entry]
            n_classes += 1
        low = high
    return n_named, n_classes, n_blocked, n_places


@compiled
def hash_captions(data, starts, ends, rows, out):  # type: ignore[no-untyped-def]
    """64 bits of each caption's bytes, the same in any file, order and batch."""
    for k in range(len(rows)):
        at, end = starts[rows[k]], ends[rows[k]]
        h = np.uint64(end - at) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x2545F4914F6CDD1D)
        while at < end:
            chunk = np.uint64(0)
            for j in range(min(8, end - at)):
                chunk |= np.uint64(data[at + j]) << np.uint64(8 * j)
            h = (h ^ chunk) * np.uint64(0xBF58476D1CE4E5B9)
            h ^= h >> np.uint64(29)
            at += 8
        h *= np.uint64(0x94D049BB133111EB)
        out[k] = h ^ (h >> np.uint64(32))


@compiled
def count_together(classes, levels, matrix):  # type: ignore[no-untyped-def]
    """Adds captions to levels[best level of any class] and to matrix[c, d] for classes named together, c < d.

    classes: (n, 3) row, class, level, with the classes of a row beside each other.
    """
    low = 0
    while low < len(classes):
        high, best = low, classes[low, 2]
        while high < len(classes) and classes[high, 0] == classes[low, 0]:
            best = min(best, classes[high, 2])
            for other in range(low, high):
                c, d = classes[other, 1], classes[high, 1]
                matrix[min(c, d), max(c, d)] += 1
            high += 1
        levels[best] += 1
        low = high
