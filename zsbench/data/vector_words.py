"""Under which words a class may stand in a file of word vectors, best first.

The rule, in order; the first that the file has is taken, and the record says which it was:

1. the class's name as it is, in the data set's spelling, then as it is spoken ("pottedplant", "potted plant");
2. in other letter case (lower, Capitalised, Title Case), its words joined by a space, "_" (phrases of word2vec), "-" or nothing;
3. without COCO-Stuff's "-other" and "-stuff" ("sky-other" -> sky); a name of several words as the mean of its words'
   unit vectors, every word needed ("wall-brick" -> wall, brick);
4. another known spelling, by the same three steps ("aeroplane" -> airplane).

A single entry keeps the length it has in the file; a mean of unit vectors is shorter than 1 and stays so, as in ZS3Net.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zsbench.prompts import SPACED

# Only for a name that is not in the file itself. Context's lists of 459 and of 59 names differ in the three of its line.
SPELLINGS: dict[str, tuple[str, ...]] = {
    **{name: (spaced,) for name, spaced in SPACED.items()},
    "aeroplane": ("airplane",),
    "airplane": ("aeroplane",),
    "motorbike": ("motorcycle",),
    "motorcycle": ("motorbike",),
    "sofa": ("couch",),
    "couch": ("sofa",),
    "tvmonitor": ("tv monitor", "television", "tv"),
    "tv": ("television", "tv monitor"),
    "donut": ("doughnut",),
    "hair drier": ("hair dryer",),
    "playingfield": ("playing field",),
    "waterdrops": ("water drops",),
    "table": ("diningtable",), "bedclothes": ("bedcloth",), "cloth": ("clothes",),
}  # fmt: skip
_SUFFIX = re.compile(r"-(other|stuff)$")
_GAP = re.compile(r"[ _-]+")


@dataclass(frozen=True)
class Reading:
    """One way to read a class: for each of its words the forms to look for, best first. One word: an entry as it is."""

    forms: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Choice:
    """The words of a file that stand for a class."""

    words: tuple[str, ...]
    note: str = ""

    def row(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """(dim,) float32: the entry itself, or the mean of several entries' unit vectors."""
        if len(self.words) == 1:
            return rows[self.words[0]]
        found = np.stack([rows[word] for word in self.words]).astype(np.float64)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return (found / np.where(lengths > 0, lengths, 1)).mean(0).astype(np.float32)

    def __str__(self) -> str:
        told = self.words[0] if len(self.words) == 1 else f"mean of {', '.join(self.words)}"
        return told + self.note


def readings(name: str, spoken: str) -> list[Reading]:
    """Every way to read a class, best first."""
    others = [other for key in dict.fromkeys((name, spoken)) for other in SPELLINGS.get(key, ())]
    own = _read(tuple(dict.fromkeys((name, spoken))))
    known = [Reading(r.forms, " (another spelling)") for other in others if other != spoken for r in _read((other,))]
    return own + known


def choose(ways: Iterable[Reading], known: Collection[str]) -> Choice | None:
    """The first reading whose words are all known."""
    for way in ways:
        words = [next((form for form in forms if form in known), None) for forms in way.forms]
        if all(words):
            return Choice(tuple(word for word in words if word), way.note)
    return None


def _read(texts: Sequence[str]) -> list[Reading]:
    """Steps 1 to 3 of the rule for one class under one or two names."""
    whole = Reading((tuple(dict.fromkeys((*texts, *(form for text in texts for form in _forms(text))))),))
    return [whole, *(Reading(tuple(_forms(word) for word in _GAP.split(text))) for text in _split(texts))]


def _split(texts: Sequence[str]) -> list[str]:
    """Of these, what says more than the whole: several words, or less than it had."""
    bare = {text: _SUFFIX.sub("", text) for text in texts}
    return [short for text, short in bare.items() if short != text or _GAP.search(short)]


def _forms(text: str) -> tuple[str, ...]:
    words = _GAP.split(text)
    joined = (text, *(gap.join(words) for gap in (" ", "_", "-", "")))
    return tuple(dict.fromkeys(form for t in joined for form in (t, t.lower(), t.capitalize(), t.title())))
