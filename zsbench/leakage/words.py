"""What a word is: captions in any spelling become lower-case letters and digits between separators.

Choices. A character is decomposed (NFKD), case-folded, and loses its marks: `SOFÁ`, full-width `ｓｏｆａ` and `TRAİN` read
as sofa and train. What is no letter and no digit separates, the underscore of file names too. A character reference
(`&amp;`) counts as its character when it ends with a semicolon. Soft hyphens vanish; other invisible characters may
glue or part, so a caption that holds one is read both ways. Every ideograph and kana is a word, and so is each side of
a change between Latin letters and others. `<` and `>` are kept: they mark a placeholder such as `<PERSON>`.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ENTITY = re.compile(r"&(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});")
INVISIBLE = frozenset(
    "\u200b\u200c\u200d\u2060\ufeff\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
WORDS_OF_THEIR_OWN = ("CJK ", "HIRAGANA ", "KATAKANA ")  # written without spaces between words
APART = " \uffff "  # between two readings of one caption: a word that no form contains, so that no phrase crosses it

SIMPLE_CODES = 0x2100  # up to general punctuation and currency signs
NEXT = "\ufffe"  # between captions that are folded together; in a caption it separates as any unknown character does

# Latin, its supplements and extensions; combining marks among them are gone before anybody asks.
_LATIN = "\u0000-\u024f\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff\uab30-\uab6f"
_LATIN_ONE = re.compile(f"[{_LATIN}]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_OTHER_SCRIPT = re.compile(f"[^{_LATIN}{APART.strip()}{NEXT}]+")
_OTHER_LETTER = re.compile(f"[^\\W\\d_{_LATIN}]")
_INVISIBLE_ONE = re.compile(f"[{''.join(sorted(INVISIBLE))}]")
_WORD = re.compile(r"[^\W_]+")


@lru_cache(maxsize=1 << 16)
def fold(character: str) -> str:
    """What one character contributes: nothing, lower-case letters and digits, or a separator. `<` and `>` are kept."""
    if character in INVISIBLE or character == "\u00ad":
        return ""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(_fold_part(part) for part in decomposed)


def _fold_part(part: str) -> str:
    if part in "<>":
        return part
    if unicodedata.category(part).startswith("M"):
        return ""
    if not part.isalnum():
        return " "
    return f" {part} " if unicodedata.name(part, "").startswith(WORDS_OF_THEIR_OWN) else part


class _Table(dict[int, str]):
    """`str.translate`'s table of `fold`, filled as characters are met."""

    def __missing__(self, code: int) -> str:
        self[code] = found = fold(chr(code))
        return found


class _Parted(_Table):
    """The same where invisible characters part words."""

    def __missing__(self, code: int) -> str:
        self[code] = found = " " if chr(code) in INVISIBLE else fold(chr(code))
        return found


_GLUED, _PARTED = _Table(), _Parted()
_GLUED[ord(NEXT)] = _PARTED[ord(NEXT)] = NEXT


def is_latin(character: str) -> bool:
    """Whether a folded letter or digit can stand in one word with ASCII letters."""
    return _LATIN_ONE.match(character) is not None


@lru_cache
def simple_folds() -> NDArray[np.uint8]:
    """For codes of the common scripts and signs: the one ASCII character they fold to, 0 where it takes more.

    Accented letters, typographic quotes and dashes need no more than this; the engine does them in passing.
    """
    table = np.zeros(SIMPLE_CODES, dtype=np.uint8)
    for code in range(128, SIMPLE_CODES):
        text = fold(chr(code))
        if chr(code) not in INVISIBLE and len(text) == 1 and text.isascii():
            table[code] = ord(text)
    return table


def folded(text: str) -> str:
    """The caption with everything beyond ASCII folded; ASCII is left, for the automaton's table of bytes folds it.

    Both readings, where invisible characters allow two.
    """
    return folded_rows([text])[0]


def folded_rows(texts: Sequence[str]) -> list[str]:
    """`folded` of each of many captions, at once: a call per caption would cost more than the work."""
    return folded_joined(NEXT.join(text.replace(NEXT, " ") for text in texts))


def folded_joined(joined: str) -> list[str]:
    """`folded` of captions that NEXT stands between."""
    if "&" in joined:
        joined = ENTITY.sub(_entity, joined)
    glued = _fold_beyond(joined, _GLUED).split(NEXT)
    if _INVISIBLE_ONE.search(joined):
        for row, text in enumerate(joined.split(NEXT)):
            if _INVISIBLE_ONE.search(text):
                glued[row] += APART + _fold_beyond(text, _PARTED)
    return glued


def _fold_beyond(text: str, table: _Table) -> str:
    text = _BEYOND_ASCII.sub(lambda run: run[0].translate(table), text)
    return _OTHER_SCRIPT.sub(_parted_run, text)


def _parted_run(run: re.Match[str]) -> str:
    """Letters of another script, with a space where a Latin letter or digit stands beside them."""
    text, begin, end = run.string, *run.span()
    before = " " if begin and text[begin - 1].isalnum() else ""
    after = " " if end < len(text) and text[end].isalnum() else ""
    return before + run[0] + after


def _entity(match: re.Match[str]) -> str:
    return html.unescape(match[0]).replace(NEXT, " ")


def has_other_letters(text: str) -> bool:
    """Whether a folded text holds letters of a script other than Latin."""
    return _OTHER_LETTER.search(text) is not None


def form_of(text: str) -> str:
    """A class name or form as its words with one space between them: `TV/monitor` is "tv monitor"; may be empty."""
    return " ".join(_WORD.findall(folded(text).split(APART)[0].lower()))
