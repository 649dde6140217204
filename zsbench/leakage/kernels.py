"""The compiled loops of the engine: letters to symbols, symbols through the automaton, hits to what they mean.

Compiled by numba at first use and kept in its cache beside the package; all run without Python's lock, so that threads
share the work. Names: a *hit* is a phrase ending at a place; what it counts for stands in the lexicon's roles.
"""

from __future__ import annotations

import numpy as np

from zsbench.leakage.automaton import AMPERSAND, GREATER, LESS, NOT_ASCII, NUL, ROW, SEMICOLON
from zsbench.leakage.compiled import compiled

FORM, BLOCKER, KEEPER = 0, 1, 2
NAMED, BLOCKED, PLACEHOLDER = 0, 1, 2

# Places and states are unsigned: numba reads a signed index as one that may count from the end, at three times the cost.
U8, U16, U64 = np.uint8, np.uint16, np.uint64
ONE = U64(1)


@compiled
def spell(data, starts, ends, symbols, simple, out, stops, odd):  # type: ignore[no-untyped-def]
    """Writes every caption as symbols, ended by one ROW, into `out`; `stops` gets the place after it. Returns the last.

    A character beyond ASCII is written as the ASCII one that it folds to (`words.simple_folds`). A caption with any
    other, or with a character reference, is left empty and marked in `odd` for the fold; bit 1 of `odd` tells of a NUL.
    """
    at = U64(0)
    for i in range(len(starts)):
        begin, seen, strange = at, U16(0), False
        j, end = U64(starts[i]), U64(ends[i])
        while j < end:
            value = symbols[data[j]]
            j += ONE
            if value & U16(NOT_ASCII):
                code, more = _character(data, j - ONE, end)
                letter = simple[code] if code < U64(len(simple)) else U8(0)
                if letter == 0:
                    strange = True
                    break
                value = symbols[letter]
                j += more
            out[at] = U8(value & U16(255))
            seen |= value
            at += ONE
        if strange:
            for k in range(j, end):
                seen |= symbols[data[k]]
        reference = seen & U16(AMPERSAND) and seen & U16(SEMICOLON)
        odd[i] = (1 if strange or reference else 0) | (2 if seen & U16(NUL) else 0)
        if odd[i] & 1:
            at = begin
        out[at] = ROW
        at += ONE
        stops[i] = at
    return at


@compiled
def _character(data, at, end):  # type: ignore[no-untyped-def]
    """The code of a character of two or three bytes and how many follow the first; else a code beyond any table."""
    first, left = U64(data[at]), end - at
    if first >= U64(0xC2) and first < U64(0xE0) and left >= U64(2):
        second = U64(data[at + ONE])
        if second & U64(0xC0) == U64(0x80):
            return (first & U64(0x1F)) << U64(6) | (second & U64(0x3F)), ONE
    elif first >= U64(0xE1) and first < U64(0xED) and left >= U64(3):
        second, third = U64(data[at + ONE]), U64(data[at + U64(2)])
        if second & U64(0xC0) == U64(0x80) and third & U64(0xC0) == U64(0x80):
            code = (first & U64(0x0F)) << U64(12) | (second & U64(0x3F)) << U64(6) | (third & U64(0x3F))
            return code, U64(2)
    return U64(0xFFFFFFFF), U64(0)


@compiled
def _put(endings, count, state, place):  # type: ignore[no-untyped-def]
    if count < len(endings):
        endings[count] = (U64(state) << U64(32)) | place
    return count + ONE


@compiled
def _lane(text, at, end, state, table, ending, endings, count):  # type: ignore[no-untyped-def]
    """The rest of a lane, from `state` on."""
    for i in range(at, end):
        state = table[state + text[i]]
        if state >= ending:
            count = _put(endings, count, state, i)
    return count


@compiled
def walk(text, cuts, table, start, ending, endings, counts):  # type: ignore[no-untyped-def]
    """The automaton over eight lanes at once; one alone would wait for memory at every byte, as a state needs the last.

    Lane k reads text[cuts[k] : cuts[k + 1]] and fills endings[k] with (state << 32) + place of the separator, and
    counts[k], which may be more than there is room for.
    """
    a = b = c = d = e = f = g = h = start
    na = nb = nc = nd = ne = nf = ng = nh = U64(0)
    ia, ib, ic, id_, ie, if_, ig, ih, end = (
        cuts[0],
        cuts[1],
        cuts[2],
        cuts[3],
        cuts[4],
        cuts[5],
        cuts[6],
        cuts[7],
        cuts[8],
    )
    ea, eb, ec, ed, ee, ef, eg, eh = (
        endings[0],
        endings[1],
        endings[2],
        endings[3],
        endings[4],
        endings[5],
        endings[6],
        endings[7],
    )
    shortest = min(ib - ia, ic - ib, id_ - ic, ie - id_, if_ - ie, ig - if_, ih - ig, end - ih)
    for i in range(shortest):
        a = table[a + text[ia + i]]
        b = table[b + text[ib + i]]
        c = table[c + text[ic + i]]
        d = table[d + text[id_ + i]]
        e = table[e + text[ie + i]]
        f = table[f + text[if_ + i]]
        g = table[g + text[ig + i]]
        h = table[h + text[ih + i]]
        if a >= ending:
            na = _put(ea, na, a, ia + i)
        if b >= ending:
            nb = _put(eb, nb, b, ib + i)
        if c >= ending:
            nc = _put(ec, nc, c, ic + i)
        if d >= ending:
            nd = _put(ed, nd, d, id_ + i)
        if e >= ending:
            ne = _put(ee, ne, e, ie + i)
        if f >= ending:
            nf = _put(ef, nf, f, if_ + i)
        if g >= ending:
            ng = _put(eg, ng, g, ig + i)
        if h >= ending:
            nh = _put(eh, nh, h, ih + i)
    counts[0] = _lane(text, ia + shortest, ib, a, table, ending, ea, na)
    counts[1] = _lane(text, ib + shortest, ic, b, table, ending, eb, nb)
    counts[2] = _lane(text, ic + shortest, id_, c, table, ending, ec, nc)
    counts[3] = _lane(text, id_ + shortest, ie, d, table, ending, ed, nd)
    counts[4] = _lane(text, ie + shortest, if_, e, table, ending, ee, ne)
    counts[5] = _lane(text, if_ + shortest, ig, f, table, ending, ef, nf)
    counts[6] = _lane(text, ig + shortest, ih, g, table, ending, eg, ng)
    counts[7] = _lane(text, ih + shortest, end, h, table, ending, eh, nh)


@compiled
def expand(endings, stops, first, ending, width, outputs, output, hits):  # type: ignore[no-untyped-def]
    """What a lane's endings mean: hits (row, phrase, place of the separator after it), in the order of their places.

    `first` is the lane's first caption. Returns how many hits there are.
    """
    row, count = first, 0
    for e in range(len(endings)):
        place = endings[e] & U64(0xFFFFFFFF)
        while stops[row] <= place:
            row += 1
        k = ((endings[e] >> U64(32)) - ending) // width
        for o in range(outputs[k], outputs[k + ONE]):
            hits[count, 0], hits[count, 1], hits[count, 2] = row, output[o], place
            count += 1
    return count


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
    """64 bits of the bytes of the captions in these rows, the same in any file, order and batch."""
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
        out[rows[k]] = h ^ (h >> np.uint64(32))


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
            for other in range(low, high if len(matrix) else low):
                c, d = classes[other, 1], classes[high, 1]
                matrix[min(c, d), max(c, d)] += 1
            high += 1
        levels[best] += 1
        low = high


@compiled
def keep_smallest(groups, hashes, rows, first, keys, copies, places, sizes, fresh):  # type: ignore[no-untyped-def]
    """Keeps, for every group, the smallest distinct hashes in order, how often each came, and its first place.

    keys, copies, places: (groups, k), filled up to sizes[group]. groups, hashes, rows: one entry per occurrence; its
    place is first + row. `fresh` gets the entries that brought a new hash; returns how many those are.
    """
    room, count = keys.shape[1], 0
    for i in range(len(groups)):
        g, h, place = groups[i], hashes[i], first + rows[i]
        size = sizes[g]
        if size == room and h > keys[g, room - 1]:
            continue
        low, high = 0, size
        while low < high:
            middle = (low + high) >> 1
            if keys[g, middle] < h:
                low = middle + 1
            else:
                high = middle
        if low < size and keys[g, low] == h:
            copies[g, low] += 1
            places[g, low] = min(places[g, low], place)
            continue
        if size < room:
            sizes[g] = size + 1
        else:
            size -= 1
        for j in range(size, low, -1):
            keys[g, j], copies[g, j], places[g, j] = keys[g, j - 1], copies[g, j - 1], places[g, j - 1]
        keys[g, low], copies[g, low], places[g, low] = h, 1, place
        fresh[count] = i
        count += 1
    return count


@compiled
def gather_smallest(groups, hashes, kept, sizes, limits):  # type: ignore[no-untyped-def]
    """Adds hashes to the rows of `kept`, which are settled when they are full. Above limits[group] none is wanted."""
    for i in range(len(groups)):
        g = groups[i]
        if hashes[i] <= limits[g]:
            kept[g, sizes[g]] = hashes[i]
            sizes[g] += 1
            if sizes[g] == kept.shape[1]:
                settle(g, kept, sizes, limits)


@compiled
def settle(group, kept, sizes, limits):  # type: ignore[no-untyped-def]
    """Leaves the smallest distinct hashes of a group in order: at most half of its row."""
    room, size = kept.shape[1] // 2, 0
    for h in np.sort(kept[group, : sizes[group]]):
        if size < room and (size == 0 or h != kept[group, size - 1]):
            kept[group, size] = h
            size += 1
    sizes[group] = size
    if size == room:
        limits[group] = kept[group, room - 1]
