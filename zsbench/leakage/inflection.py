"""The inflections and spellings of a class name, and what a reader should check about it.

Plurals are those of the library `inflect`, but for its two weaknesses: a name that is a plural already (skis, clouds)
gets no second one, and a name that ends in s without being one (bus, tennis) is not taken for a plural. Nothing here
knows what a word means, so every doubt becomes a remark, and no draft counts before somebody has read it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from zsbench.errors import UserError
from zsbench.leakage.lexicon_file import quoted
from zsbench.leakage.words import form_of

# fmt: off

# Words that captions use in other ways at least as often: verbs, colours, foods, parts of the body, names.
AMBIGUOUS = frozenset((
    "apple", "back", "bank", "bar", "bark", "bat", "battery", "beam", "bear", "bell", "block", "board", "bolt", "book",
    "bow", "bowl", "box", "branch", "break", "bridge", "brush", "bug", "can", "cap", "card", "case", "cast", "chest",
    "china", "chip", "clip", "club", "coach", "cook", "cool", "corn", "counter", "court", "crane", "cross", "crown",
    "cup", "date", "deck", "desert", "dish", "dock", "draft", "drill", "drink", "drive", "duck", "fall", "fan", "fence",
    "field", "file", "film", "fire", "fish", "fly", "fork", "form", "frame", "glass", "glove", "hammer", "hand", "head",
    "horn", "iron", "jack", "jam", "key", "kid", "kite", "lamp", "land", "lead", "leaf", "leaves", "letter", "light",
    "line", "lock", "log", "mail", "map", "march", "mat", "match", "mine", "model", "monitor", "moss", "mouse", "mug",
    "nail", "net", "note", "nut", "orange", "organ", "pad", "paint", "palm", "pan", "paper", "park", "patient", "pen",
    "pet", "pick", "pipe", "pitcher", "plane", "plant", "plate", "platform", "play", "poker", "pole", "pool", "port",
    "post", "pot", "present", "press", "pump", "punch", "purse", "rail", "ram", "range", "remote", "ring", "rock",
    "roll", "rose", "row", "ruler", "run", "saw", "scale", "screen", "screw", "seal", "shade", "shed", "ship", "shop",
    "show", "shower", "sign", "sink", "skate", "ski", "skis", "slide", "sling", "snow", "spade", "spring", "squash",
    "stable", "stage", "stamp", "stand", "staple", "star", "station", "steam", "stick", "stone", "stove", "straw",
    "stream", "string", "swallow", "swing", "switch", "table", "tablet", "tail", "tank", "tap", "tape", "target", "tie",
    "tile", "toast", "top", "torch", "track", "trail", "train", "trip", "truck", "trunk", "tube", "turkey", "turtle",
    "us", "veil", "vessel", "wall", "watch", "water", "wave", "well", "whip", "wing", "wood", "work", "yard", "zip",
))
# Singulars in s that no ending gives away (-ss and -us do).
SINGULARS = frozenset((
    "alias", "analysis", "asbestos", "atlas", "axis", "basis", "bias", "canvas", "cannabis", "chaos", "christmas",
    "clematis", "cosmos", "cutlass", "debris", "gas", "ibis", "iris", "kudos", "lens", "madras", "mantis", "molasses",
    "oasis", "pampas", "pancreas", "pelvis", "rhinoceros", "synopsis", "tennis", "thermos", "trellis",
))
# What ends a name of two words that are written as one; longest first.
TAILS = (
    "building", "cabinet", "curtain", "machine", "monitor", "station", "bottle", "ground", "hanger", "holder", "mirror",
    "screen", "window", "board", "booth", "chair", "clock", "court", "drops", "field", "floor", "glass", "light",
    "paper", "phone", "plant", "shelf", "stand", "stick", "stone", "table", "tower", "track", "truck", "wheel", "ball",
    "case", "door", "lamp", "pole", "rack", "road", "room", "sign", "tile", "tree", "wall", "wood", "bag", "box", "car",
)

# fmt: on

LONG = 10  # letters from which a name may be two words
LEFT_OVER = re.compile("[-_ ](other|others|stuff|thing|things|merged)$")  # how data sets mark what is left of a class
SURFACES = ("ceiling", "door", "fence", "floor", "roof", "wall", "window")  # "wall-brick" is a brick wall


@dataclass(frozen=True)
class Reading:
    """The phrases a class name stands for, as people write them. remarks: what was changed, for a reader to check."""

    phrases: tuple[str, ...]
    remarks: tuple[str, ...]


def read_name(name: str) -> Reading:
    """A class name in the order of speech, without what data sets add to names; several phrases where it lists them."""
    remarks: list[str] = []
    text, aside = re.subn(r"[_ ]*\([^()]*\)", "", name)
    if aside and form_of(text):
        remarks.append("check: what stands in parentheses was left out; say it in the sense.")
    else:
        text = name
    parts = [part.strip() for part in re.split("[,;/]", text) if form_of(part)]
    if len(parts) > 1:
        remarks.append("check: each part of the name is taken for a name of the class; remove those that are wider.")
    phrases = [_turned(part, remarks) for part in parts]
    if not name.isascii() and "".join(phrases).isascii():
        remarks.append(f"check: read as {quoted(', '.join(phrases))}; is that English?")
    return Reading(tuple(dict.fromkeys(phrases)), tuple(remarks))


def draft_words(reading: Reading) -> tuple[list[list[str]], tuple[str, ...]]:
    """Groups of forms, each one phrase with its inflections and spellings; and all remarks.

    Raises UserError where the library of inflections is not installed.
    """
    doubts = [doubt for phrase in reading.phrases for doubt in _doubts(phrase)]
    return [_group(phrase) for phrase in reading.phrases], (*reading.remarks, *doubts)


def _turned(part: str, remarks: list[str]) -> str:
    """One name in the order of speech: `window-other` is a window, `wall-brick` a brick wall, `TrafficLight` two words."""
    plain = LEFT_OVER.sub("", LEFT_OVER.sub("", part))
    if plain != part:
        remarks.append(f"check: {quoted(part)} is read as {quoted(form_of(plain))}.")
    surface, dash, material = plain.partition("-")
    if dash and surface in SURFACES and form_of(material):
        remarks.append(f"check: {quoted(plain)} is read as {quoted(form_of(f'{material} {surface}'))}.")
        return form_of(f"{material} {surface}")
    if dash:
        remarks.append("check: captions may have the words around the hyphen in the other order.")
    return form_of(re.sub("(?<=[a-z])(?=[A-Z])", " ", plain))


def _group(reading: str) -> list[str]:
    """The reading, its plural, and both written as one word where they are two."""
    forms = [reading, *_plurals(reading)]
    if re.fullmatch("[a-z]{2,} [a-z]{2,}", reading):
        forms += [form.replace(" ", "") for form in forms]
    return list(dict.fromkeys(forms))


def _plurals(reading: str) -> list[str]:
    if not reading.isascii() or singular_of(reading):
        return []
    found = [form_of(_engine().plural_noun(reading))]
    if reading.endswith(("us", "um")):
        found.append(form_of(_engine(classical=True).plural_noun(reading)))
    # A plural adds no s to an s; the library does where it does not know the word.
    return [plural for plural in found if not (plural == f"{reading}s" and reading.endswith("s"))]


def singular_of(reading: str) -> str:
    """The singular of a name that is a plural already ("skis"), the name itself if it has one form; else empty."""
    last = reading.rpartition(" ")[2]
    if not reading.isascii() or last.endswith(("ss", "us")) or last in SINGULARS:
        return ""
    singular = _engine().singular_noun(reading)
    return str(singular) if singular and _engine().plural_noun(singular) == reading else ""


def _doubts(reading: str) -> list[str]:
    doubts = []
    singular = singular_of(reading)
    if singular == reading:
        doubts.append(f"check: {quoted(reading)} is taken to have one form for one and many.")
    elif singular:
        doubts.append(
            f"check: {quoted(reading)} is a plural; add {quoted(singular)} to its group if it names the class."
        )
    if not reading.isascii():
        doubts.append("check: the name is not written in English letters; no inflections are drafted.")
    if reading in AMBIGUOUS or singular in AMBIGUOUS:
        doubts.append(
            f"check: {quoted(reading)} has other common uses; give blockers, and for a verb a rule such as"
            ' [[NAME.context]] after = ["to"].'
        )
    if len(reading) >= LONG and " " not in reading:
        tail = next((tail for tail in TAILS if reading.endswith(tail) and len(reading) - len(tail) > 2), "")
        if tail:
            doubts.append(
                f"check: if this is two words, add {quoted(f'{reading[: -len(tail)]} {tail}')} and its plural."
            )
    return doubts


@lru_cache
def _engine(classical: bool = False) -> Any:
    try:
        import inflect
    except ImportError:
        raise UserError("drafting words needs the library inflect: python -m pip install 'zsbench[lexicon]'") from None
    engine = inflect.engine()
    if classical:
        engine.classical(all=True)
    return engine
