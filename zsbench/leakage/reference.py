"""The matcher in plain Python: the oracle of the fast engine's tests, and what marks the match in an example.

It shares with the engine what a character folds to (`words.fold`) and nothing else: words are found one character at
a time, forms by comparing lists of words, blockers by comparing spans.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from zsbench.leakage.lexicon import Entry, Form
from zsbench.leakage.words import ENTITY, INVISIBLE, fold, is_latin

Verdict = Literal["named", "blocked", "placeholder"]


@dataclass(frozen=True)
class Word:
    """A folded word with its character offsets in the caption. bracketed: it stands directly between < and >."""

    text: str
    start: int
    end: int
    bracketed: bool


@dataclass(frozen=True)
class Match:
    """A form found in a caption, with character offsets in it. by: the blocker that cancels it, if any."""

    form: Form
    start: int
    end: int
    verdict: Verdict
    by: str = ""


def find(caption: str, entry: Entry) -> list[Match]:
    """Every place where a form of the class stands, in the order of the caption, and whether it counts."""
    return find_in(readings(caption), entry)


def find_in(read: list[list[Word]], entry: Entry) -> list[Match]:
    """`find` in the readings of a caption, which many classes can share."""
    found = dict.fromkeys(match for words in read for match in _find(words, entry))
    return sorted(found, key=lambda match: (match.start, match.end, match.form.level))


def readings(caption: str) -> list[list[Word]]:
    """The words of a caption; once more with invisible characters as separators, if it has any."""
    return [words_of(caption, parted) for parted in ((False, True) if has_invisible(caption) else (False,))]


def named(caption: str, entry: Entry) -> list[Form]:
    """The forms by which a caption names the class, each once."""
    return list(dict.fromkeys(match.form for match in find(caption, entry) if match.verdict == "named"))


def has_invisible(caption: str) -> bool:
    return any(not INVISIBLE.isdisjoint(source) for source, _, _ in _sources(caption))


def words_of(caption: str, parted: bool = False) -> list[Word]:
    """The words of a caption. parted: invisible characters part words instead of vanishing."""
    letters = list(_letters(caption, parted))
    words: list[Word] = []
    begin = 0
    while begin < len(letters):
        end = begin
        while end < len(letters) and _goes_on(letters, begin, end):
            end += 1
        if end > begin:
            bracketed = begin > 0 and letters[begin - 1][0] == "<" and end < len(letters) and letters[end][0] == ">"
            text = "".join(letter for letter, _, _ in letters[begin:end])
            words.append(Word(text, letters[begin][1], letters[end - 1][2], bracketed))
        begin = max(end, begin + 1)
    return words


Letter = tuple[str, int, int]  # a folded character and the offsets of what it comes from


def _goes_on(letters: list[Letter], begin: int, end: int) -> bool:
    letter = letters[end][0]
    return letter not in " <>" and (end == begin or is_latin(letter) == is_latin(letters[end - 1][0]))


def _letters(caption: str, parted: bool) -> Iterator[Letter]:
    for source, start, end in _sources(caption):
        for character in source:
            for letter in " " if parted and character in INVISIBLE else fold(character):
                yield letter, start, end


def _sources(caption: str) -> Iterator[Letter]:
    """The characters of a caption with their offsets; a character reference counts as what it stands for."""
    at = 0
    while at < len(caption):
        entity = ENTITY.match(caption, at)
        end = entity.end() if entity else at + 1
        yield html.unescape(entity[0]) if entity else caption[at], at, end
        at = end


def _find(words: list[Word], entry: Entry) -> Iterator[Match]:
    texts = [word.text for word in words]
    places = [(form, begin, end) for form in entry.forms for begin, end in _places(texts, form.text)]
    if not places:
        return
    blocks = [(*place, phrase) for phrase in entry.blockers for place in _places(texts, phrase)]
    keeps = [place for phrase in entry.keepers for place in _places(texts, phrase)]
    for form, begin, end in places:
        start, stop = words[begin].start, words[end - 1].end
        by = next((phrase for b, e, phrase in blocks if b <= begin and end <= e), "")
        if end - begin == 1 and words[begin].bracketed:
            yield Match(form, start, stop, "placeholder")
        elif by and not any(b <= begin and end <= e for b, e in keeps):
            yield Match(form, start, stop, "blocked", by)
        else:
            yield Match(form, start, stop, "named")


def _places(words: list[str], phrase: str) -> Iterator[tuple[int, int]]:
    wanted = phrase.split()
    for begin, word in enumerate(words):
        if word == wanted[0] and words[begin : begin + len(wanted)] == wanted:
            yield begin, begin + len(wanted)
