"""The compiled look into one JSON object: where the string of a key lies, without making objects of the rest.

Choices: what is plain (flat objects whose keys have no escapes) is found here, strictly checked; all else is called
unsure and left to Python's own parser, so that the two always agree on what is JSON.
"""

from __future__ import annotations

from zsbench.leakage.compiled import compiled
from zsbench.leakage.reading.split import EMPTY, MALFORMED, NULL, QUOTE, READ, UNSURE

BACKSLASH, COLON, COMMA, OPEN, CLOSE = 92, 58, 44, 123, 125
SPACE, MINUS, DOT, ZERO, NINE, LETTER_N, LETTER_U = 32, 45, 46, 48, 57, 110, 117
ESCAPABLE = (34, 92, 47, 98, 102, 110, 114, 116)
ESCAPES, MEANT = (98, 102, 110, 114, 116), (8, 12, 10, 13, 9)  # \\b \\f \\n \\r \\t


@compiled
def _past_space(data, at, hi):  # type: ignore[no-untyped-def]
    while at < hi and (data[at] == SPACE or data[at] == 9 or data[at] == 10 or data[at] == 13):
        at += 1
    return at


@compiled
def _past_digits(data, at, hi):  # type: ignore[no-untyped-def]
    while at < hi and ZERO <= data[at] <= NINE:
        at += 1
    return at


@compiled
def _past_number(data, at, hi):  # type: ignore[no-untyped-def]
    """Behind a number like -12.5, or -1 for anything else, such as an exponent."""
    if data[at] == MINUS:
        at += 1
    first, at = at, _past_digits(data, at, hi)
    if at == first or (data[first] == ZERO and at > first + 1):
        return -1
    if at < hi and data[at] == DOT:
        first, at = at + 1, _past_digits(data, at + 1, hi)
        if at == first:
            return -1
    return at


@compiled
def _past_word(data, at, hi):  # type: ignore[no-untyped-def]
    """Behind true, false or null, or -1."""
    for word in ((116, 114, 117, 101, 0), (102, 97, 108, 115, 101), (110, 117, 108, 108, 0)):
        size = 4 if word[4] == 0 else 5
        same = at + size <= hi
        for i in range(size):
            same = same and data[at + i] == word[i]
        if same:
            return at + size
    return -1


@compiled
def _past_string(data, at, hi):  # type: ignore[no-untyped-def]
    """Behind the closing quote of the string whose content begins at `at`, and whether it has escapes; -1 if unsure."""
    escaped = False
    while at < hi:
        if data[at] == QUOTE:
            return at + 1, escaped
        if data[at] == BACKSLASH:
            escaped = True
            at += 1
            kind = data[at] if at < hi else 0
            if kind == LETTER_U:
                for i in range(1, 5):
                    digit = data[at + i] | 32 if at + i < hi else 0
                    if not (ZERO <= digit <= NINE or 97 <= digit <= 102):
                        return -1, escaped
                at += 4
            elif kind not in ESCAPABLE:
                return -1, escaped
        at += 1
    return -1, escaped


@compiled
def _code(data, at):  # type: ignore[no-untyped-def]
    """The number that the four hexadecimal digits at `at` write."""
    value = 0
    for i in range(at, at + 4):
        digit = data[i] | 32
        value = value * 16 + (digit - 87 if digit >= 97 else digit - ZERO)
    return value


@compiled
def _put(data, at, code):  # type: ignore[no-untyped-def]
    """Writes a character as UTF-8 (a lone surrogate as the invalid bytes that it is); returns the end."""
    if code < 0x80:
        data[at] = code
        return at + 1
    size = 2 if code < 0x800 else 3 if code < 0x10000 else 4
    for i in range(size - 1, 0, -1):
        data[at + i] = 0x80 | (code & 0x3F)
        code >>= 6
    data[at] = (0xC0 if size == 2 else 0xE0 if size == 3 else 0xF0) | code
    return at + size


@compiled
def _unescape(data, lo, hi, at):  # type: ignore[no-untyped-def]
    """Writes the string data[lo:hi] to `at` with its (checked) escapes undone; returns the end."""
    while lo < hi:
        value = data[lo]
        if value != BACKSLASH:
            data[at] = value
            lo, at = lo + 1, at + 1
            continue
        kind = data[lo + 1]
        lo += 2
        if kind == LETTER_U:
            code = _code(data, lo)
            lo += 4
            if 0xD800 <= code < 0xDC00 and lo + 6 <= hi and data[lo] == BACKSLASH and data[lo + 1] == LETTER_U:
                low = _code(data, lo + 2)
                if 0xDC00 <= low < 0xE000:
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                    lo += 6
            at = _put(data, at, code)
            continue
        data[at] = kind
        for i in range(5):
            if kind == ESCAPES[i]:
                data[at] = MEANT[i]
        at += 1
    return at


@compiled
def _find(data, lo, hi, key):  # type: ignore[no-untyped-def]
    """State and extent of the string under `key` in the object data[lo:hi], and whether it has escapes.

    The last one counts, should the key come twice, as in Python.
    """
    state, a, b, escapes = MALFORMED, lo, lo, False
    at = _past_space(data, lo, hi)
    if at == hi or data[at] != OPEN:
        return UNSURE, lo, lo, False
    while True:
        at = _past_space(data, at + 1, hi)
        if at >= hi or data[at] != QUOTE:
            return UNSURE, lo, lo, False
        begin = at + 1
        at, escaped = _past_string(data, begin, hi)
        if at < 0 or escaped:
            return UNSURE, lo, lo, False
        wanted = at - 1 - begin == key.size
        for i in range(key.size if wanted else 0):
            wanted = wanted and data[begin + i] == key[i]
        at = _past_space(data, at, hi)
        if at >= hi or data[at] != COLON:
            return UNSURE, lo, lo, False
        at = _past_space(data, at + 1, hi)
        if at >= hi:
            return UNSURE, lo, lo, False
        first, begin, escaped = data[at], at, False
        if first == QUOTE:
            begin = at + 1
            at, escaped = _past_string(data, begin, hi)
            found = READ if at - 1 > begin else EMPTY
        elif first == MINUS or ZERO <= first <= NINE:
            at = _past_number(data, at, hi)
            found = MALFORMED
        else:
            at = _past_word(data, at, hi)
            found = NULL if first == LETTER_N else MALFORMED
        if at < 0:
            return UNSURE, lo, lo, False
        if wanted:
            state, a, b, escapes = found, begin, at - 1, escaped
        at = _past_space(data, at, hi)
        if at < hi and data[at] == CLOSE:
            break
        if at >= hi or data[at] != COMMA:
            return UNSURE, lo, lo, False
    if _past_space(data, at + 1, hi) != hi:
        return UNSURE, lo, lo, False
    return state, a, b, escapes


@compiled
def find_strings(data, key, spare, starts, ends, states):  # type: ignore[no-untyped-def]
    """Narrows each extent that is READ to the string under `key` in the object there.

    Strings with escapes are written anew from data[spare] on. Returns how many are unsure and where the room goes on.
    """
    unsure = 0
    for i in range(starts.size):
        if states[i] != READ:
            continue
        state, a, b, escapes = _find(data, starts[i], ends[i], key)
        states[i] = state
        if state == UNSURE:
            unsure += 1
        elif state != READ:
            ends[i] = starts[i]
        elif escapes:
            starts[i], ends[i] = spare, _unescape(data, a, b, spare)
            spare = ends[i]
        else:
            starts[i], ends[i] = a, b
    return unsure, spare
