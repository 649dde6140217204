"""Captions as proof: safe to print anywhere, cut around the match, the match marked.

Choices: what has no shape of its own on a screen (control characters, ANSI escapes, NUL, marks that turn the reading
direction, lone surrogates) is written out: \\x1b, U+202E. A caption of any length becomes a window around its first
match; a match that is itself long (its words may stand megabytes of blanks apart) loses its middle.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .model import Example, Span

WINDOW = 240  # characters of a caption that are shown
LONGEST_MARK = 120  # characters of one match
NAMED_SIGNS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
JOINER = re.compile("(?<=[\u2100-\U0003ffff])\u200d(?=[\u2100-\U0003ffff])")  # inside one emoji, where it is meant


@dataclass(frozen=True)
class Piece:
    """A stretch of a caption; mark: form and level where it is a match; gap: characters left out in its place."""

    text: str
    mark: str = ""
    gap: bool = False


def visible(text: str) -> str:
    """The text with every character that could act on a screen or hide on it written out."""
    if text.isprintable():
        return text
    return "\u200d".join("".join(map(_sign, part)) for part in JOINER.split(text))


def signs(text: str) -> Iterator[tuple[str, bool]]:
    """The same in runs: (text, whether it was written out)."""
    run = ""
    for sign in text:
        if (shown := _sign(sign)) == sign:
            run += sign
            continue
        if run:
            yield run, False
        yield shown, True
        run = ""
    if run:
        yield run, False


def _sign(sign: str) -> str:
    if sign.isprintable() or unicodedata.category(sign) == "Zs":
        return sign
    code = ord(sign)
    return NAMED_SIGNS.get(sign) or (f"\\x{code:02x}" if code < 0x100 else f"U+{code:04X}")


def excerpt(example: Example, window: int = WINDOW) -> list[Piece]:
    """The caption around its first match, in pieces. Characters are as in the caption, not yet made visible."""
    marks = _apart(example.spans)
    start, end = _window(example.text, marks, window)
    pieces = [Piece("…", gap=True)] if start > 0 else []
    at = start
    for span in marks:
        if span.start >= end:
            break
        pieces += [Piece(example.text[at : span.start])] if at < span.start else []
        pieces += _mark(example.text, span)
        at = span.end
    pieces += [Piece(example.text[at:end])] if at < end else []
    return pieces + ([Piece("…", gap=True)] if max(at, end) < len(example.text) else [])


def _apart(spans: Sequence[Span]) -> list[Span]:
    """Matches in order; those that overlap become one that names both forms."""
    joined: list[Span] = []
    for span in sorted(spans):
        words = f"{span.form}, level {span.level}"
        last = joined[-1] if joined else None
        if last and span.start < last.end:
            joined[-1] = Span(last.start, max(last.end, span.end), f"{last.form}; {words}", last.level)
        else:
            joined.append(Span(span.start, span.end, words, span.level))
    return joined


def _window(text: str, marks: Sequence[Span], window: int) -> tuple[int, int]:
    if len(text) <= window:
        return 0, len(text)
    first = marks[0] if marks else Span(0, 0, "", 0)
    room = max(window - (first.end - first.start), window // 2)
    start = max(0, first.start - room // 2)
    end = min(len(text), first.end + room - (first.start - start))
    start = max(0, min(start, first.start - (room - (end - first.end))))
    return _at_word(text, start, first.start), _back_to_word(text, first.end, end)


def _at_word(text: str, start: int, before: int) -> int:
    """The next beginning of a word, if one is near."""
    blank = text.find(" ", start, min(before, start + 16)) if start else -1
    return blank + 1 if blank >= 0 else start


def _back_to_word(text: str, after: int, end: int) -> int:
    blank = text.rfind(" ", max(after, end - 16), end) if end < len(text) else -1
    return blank if blank >= 0 else end


def _mark(text: str, span: Span) -> list[Piece]:
    if span.end - span.start <= LONGEST_MARK:
        return [Piece(text[span.start : span.end], span.form)]
    half = LONGEST_MARK // 2
    ends = text[span.start : span.start + half], text[span.end - half : span.end]
    return [Piece(ends[0], span.form), Piece("…", gap=True), Piece(ends[1], span.form)]
