"""The compiled walk over the headers of a tar archive, picking the captions of its samples.

Choices: what every shard is made of (regular files with plain names, extended headers that only tell times) is handled
here; every other header is handed to Python, which knows long names and refuses what is hostile. A member's content is
only looked at when it is a caption. Names are cut as WebDataset does: the key ends at the first dot of the last part.
"""

from __future__ import annotations

from zsbench.leakage.compiled import compiled
from zsbench.leakage.reading.split import NEWLINE, NULL, OVER_LONG, READ, RETURN

BLOCK = 512
NEED, END, SPECIAL, FULL, GROW = 0, 1, 2, 3, 4  # why the walk stopped
TEXT = 6  # state of a sample whose caption is a .txt; READ is one whose JSON has still to be looked into
COUNT, NAMES, USED, OPENED = 0, 1, 2, 3  # places of `now`: samples, ends of names and captions, whether one is open

SLASH, DOT, BACKSLASH, COLON, SPACE = 47, 46, 92, 58, 32
REGULAR, ALSO_REGULAR, CONTIGUOUS, FOLDER, EXTENDED = 48, 0, 55, 53, 120


@compiled
def _octal(data, at, size):  # type: ignore[no-untyped-def]
    """A number in a header's field, or -1 for anything but octal digits between spaces and NULs."""
    value, seen, closed = 0, False, False
    for i in range(at, at + size):
        digit = data[i] - 48
        if 0 <= digit < 8 and not closed:
            value, seen = value * 8 + digit, True
        elif data[i] == 0 or data[i] == SPACE:
            closed = seen
        else:
            return -1
    return value


@compiled
def _sum(data, at):  # type: ignore[no-untyped-def]
    total = 0
    for i in range(at, at + BLOCK):
        total += data[i]
    for i in range(at + 148, at + 156):  # the field of the sum itself counts as spaces
        total += SPACE - data[i]
    return total


@compiled
def _only_times(data, at, end):  # type: ignore[no-untyped-def]
    """Whether an extended header says nothing that changes where or what the member is."""
    while at < end:
        size, begin = 0, at
        while at < end and 48 <= data[at] <= 57 and size < 10000:
            size = size * 10 + data[at] - 48
            at += 1
        if at >= end or data[at] != SPACE or begin + size > end or size < 5:
            return False
        at += 1
        length = 0
        while at + length < end and data[at + length] != 61 and length < 6:
            length += 1
        known = length == 5 and (
            (data[at + 1] == 116 and data[at + 2] == 105 and data[at + 3] == 109)  # atime, ctime, mtime
            or (data[at + 1] == 110 and data[at + 2] == 97 and data[at + 3] == 109)  # uname, gname
        )
        if not (known or (length == 3 and data[at + 1] == 105 and data[at + 2] == 100)):  # uid, gid
            return False
        at = begin + size
    return True


@compiled
def _write_name(data, at, names, end):  # type: ignore[no-untyped-def]
    """Writes a member's whole name to names[end:]; returns its new end, or -1 for a name that must be looked at."""
    first = end
    if data[at + 257] == 117 and data[at + 262] == 0 and data[at + 345] != 0:  # POSIX: a prefix
        for i in range(at + 345, at + 500):
            if data[i] == 0:
                break
            names[end] = data[i]
            end += 1
        names[end] = SLASH
        end += 1
    for i in range(at, at + 100):
        if data[i] == 0:
            break
        names[end] = data[i]
        end += 1
    if end == first or names[first] == SLASH:
        return -1
    for i in range(first, end):
        value = names[i]
        if value in (BACKSLASH, COLON) or (value == DOT and i + 1 < end and names[i + 1] == DOT):
            return -1
    return end


@compiled
def _is(names, lo, hi, suffix):  # type: ignore[no-untyped-def]
    """Whether a name's suffix is this one, whatever its case."""
    if hi - lo != suffix.size or suffix.size == 0:
        return False
    for i in range(suffix.size):
        value = names[lo + i]
        if (value | 32 if 65 <= value <= 90 else value) != suffix[i]:
            return False
    return True


@compiled
def _same_key(names, lo, hi, key_starts, key_ends, row):  # type: ignore[no-untyped-def]
    same = key_ends[row] - key_starts[row] == hi - lo
    for i in range(hi - lo if same else 0):
        same = same and names[lo + i] == names[key_starts[row] + i]
    return same


@compiled
def walk(  # type: ignore[no-untyped-def]
    data,
    lo,
    hi,
    name,
    size_told,
    suffix,
    json,
    longest,
    names,
    out,
    most,
    key_starts,
    key_ends,
    starts,
    ends,
    states,
    now,
):
    """Goes from header to header in data[lo:hi] and collects the samples' keys and captions.

    name, size_told: of the member at `lo` where Python has told them (else empty); then only this one is read.
    suffix, json: suffixes of captions. most: bytes of captions in one batch. now: see COUNT … OPENED.
    Returns why it stopped, where it goes on, and how many bytes it needs there.
    """
    at = lo
    while True:
        if at + BLOCK > hi:
            return NEED, at, BLOCK
        told = name.size > 0
        if told and at > lo:
            return NEED, at, BLOCK
        if data[at] == 0 and _sum(data, at) == 8 * SPACE:
            return END, at, BLOCK
        kind, size = data[at + 156], size_told if told else _octal(data, at + 124, 12)
        if size < 0 or not (told or _octal(data, at + 148, 8) == _sum(data, at)):
            return SPECIAL, at, BLOCK
        content, after = at + BLOCK, at + BLOCK + (size + BLOCK - 1) // BLOCK * BLOCK
        if kind == EXTENDED and not told:
            if after > hi:
                return (NEED if size < longest else SPECIAL), at, after - at
            if not _only_times(data, content, content + size):
                return SPECIAL, at, after - at
            at = after
            continue
        if kind != REGULAR and kind != ALSO_REGULAR and kind != CONTIGUOUS and kind != FOLDER:
            return SPECIAL, at, BLOCK
        begin = now[NAMES]
        if begin + 256 + name.size > names.size:
            return GROW, at, BLOCK
        if name.size:
            end = begin + name.size
            names[begin:end] = name
        else:
            end = _write_name(data, at, names, begin)
            if end < 0:
                return SPECIAL, at, BLOCK
        if kind == FOLDER or names[end - 1] == SLASH:
            at = after if kind == REGULAR else content
            continue
        if end - begin > 2 and names[begin] == DOT and names[begin + 1] == SLASH:
            begin += 2
        stem = begin
        for i in range(begin, end):
            if names[i] == SLASH:
                stem = i + 1
        dot = stem
        while dot < end and names[dot] != DOT:
            dot += 1
        if dot == stem or dot + 1 >= end:
            at = after
            continue
        row = now[COUNT] - 1
        fresh = now[OPENED] == 0 or not _same_key(names, begin, dot, key_starts, key_ends, row)
        if fresh and (now[COUNT] == starts.size or now[USED] >= most):
            return FULL, at, BLOCK
        is_text = _is(names, dot + 1, end, suffix)
        is_json = _is(names, dot + 1, end, json) and (fresh or states[row] != TEXT)
        if (is_text or is_json) and size <= longest:
            if content + size > hi:
                return NEED, at, BLOCK + size
            if now[USED] + size > out.size // 2:
                return GROW, at, BLOCK
        if fresh:
            row += 1
            now[COUNT] += 1
            now[OPENED] = 1
            key_starts[row], key_ends[row] = begin, dot
            starts[row], ends[row], states[row] = now[USED], now[USED], NULL
            now[NAMES] = dot
        if is_text or is_json:
            ends[row] = starts[row]
            states[row] = OVER_LONG if size > longest else TEXT if is_text else READ
            if size <= longest:
                for i in range(size):
                    out[starts[row] + i] = data[content + i]
                ends[row] += size
                while (
                    is_text
                    and ends[row] > starts[row]
                    and (out[ends[row] - 1] == NEWLINE or out[ends[row] - 1] == RETURN)
                ):
                    ends[row] -= 1
            now[USED] = ends[row]
        at = after
