"""The shape a run record must have before anything is printed from it.

A shape is plain data: a type, a tuple of types, `[shape]` for a list, `{"field": shape}` for an object (a name ending
in "?" may be missing), or one of the small wrappers below. Unknown fields are let through: a newer harness may add
some.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Maybe:
    """The shape, or null."""

    shape: Any


@dataclass(frozen=True)
class Each:
    """An object with free names (class names) whose values all have one shape."""

    shape: Any


@dataclass(frozen=True)
class OneOf:
    """One of a few words."""

    words: tuple[str, ...]


class Fraction:
    """A number in [0, 1]."""


class Count:
    """A whole number, 0 or more."""


LONGEST_TEXT = 20_000  # letters of one text
MOST_LETTERS = 2_000_000  # of all texts of a record together
MOST_ENTRIES = 5_000  # of one list or object
DEEPEST = 32  # lists and objects inside each other
NUMBER = (int, float)
INTERVAL = Maybe([Fraction])
SCORED = {"miou": Maybe(Fraction), "interval?": INTERVAL, "pixel_accuracy?": Maybe(Fraction),
          "mean_accuracy?": Maybe(Fraction), "classes_scored?": Count, "classes_absent?": [str]}  # fmt: skip
CLASS = {"iou": Maybe(Fraction), "recall?": Maybe(Fraction), "pixels?": Count, "images?": Count}
CORPUS = {"name": str, "pairs?": Maybe(Count), "skipped?": Maybe(Count), "verdict?": Maybe(str),
          "fingerprint?": Maybe(str), "unseen_named?": Maybe(Each(Count)), "unseen_pairs?": Maybe(Count),
          "unseen_unique?": Maybe(Each(Count)), "non_latin?": Maybe(Count), "level?": Maybe(Count),
          "lexicon?": Maybe({"name": str, "fingerprint": str}), "policy?": Maybe(str),
          "purged?": Maybe({"pairs": Count, "named": Each(Count)}), "planted?": Maybe(Each(Count))}  # fmt: skip
VECTORS = {"source": str, "sha256?": Maybe(str), "dim?": Count, "kind?": str, "corpus?": str, "leaks": Maybe(bool),
           "control?": Maybe(str), "words?": Maybe(Each(str))}  # fmt: skip
STATE = {"miou": Maybe(Fraction), "interval?": INTERVAL}
SELECTED = {"door": str, "images": Count,
            "classes": Each({"pixels": Count, "correct": Count, "outside": Count, "truth": Count})}  # fmt: skip
ROUND = {"name": str, "selected?": Maybe(SELECTED),
         "scores": {"unseen": STATE, "all": {"seen": STATE, "unseen": STATE, "harmonic": STATE}}}  # fmt: skip
CALIBRATION = {"gammas": [NUMBER], "seen": [Maybe(Fraction)], "unseen": [Maybe(Fraction)],
               "harmonic": [Maybe(Fraction)], "area?": Maybe(Fraction), "gamma": NUMBER}  # fmt: skip
STAGE = {"name": str, "key": str, "seconds?": Maybe(NUMBER), "steps?": Maybe(Count), "images?": Maybe(Count),
         "images_per_second?": Maybe(NUMBER), "shared?": bool}  # fmt: skip
PROMPTS = {"template?": object, "templates?": Maybe([str]), "words?": Maybe(Each([str])), "rule?": Maybe(str),
           "prompts?": Maybe([str]), "count?": Maybe(Count), "sha256?": Maybe(str)}  # fmt: skip
PICTURE = {"key": str, "rule": str, "shared?": object, "score?": Maybe(NUMBER), "photo": str, "truth": str, "prediction": str,
           "colours?": Maybe(Each(str)), "labels?": Maybe({"truth?": [str], "prediction?": [str]})}  # fmt: skip
BESIDE = {"pixels": Count, "share": Fraction, "as?": Each(Count)}
SUBMISSION = {"scopes": [OneOf(("all", "unseen"))], "predictions_sha256?": str, "classes?": Each(str),
              "beside": {"all?": BESIDE, "unseen?": BESIDE}, "missing?": Count, "files_ignored?": Count,
              "paper?": Maybe(str), "url?": Maybe(str)}  # fmt: skip

RECORD: dict[str, Any] = {
    "schema": int, "status": str, "key": str, "zsbench?": str, "command?": str, "started?": str, "finished?": str,
    "code_sha256?": Maybe(str),
    "method": {"name": str, "title": str, "source_sha256?": Maybe(str), "config_given?": dict, "config?": dict,
               "departures?": [{"field": str, "paper?": object, "value?": object, "reason?": str}],
               "parameters?": Maybe({"trainable?": Maybe(Count), "total?": Maybe(Count), "at_inference?": Maybe(Count)})},
    "split": {"name": str, "dataset?": str, "title": str, "source?": str, "seen": [str], "unseen": [str],
              "background": str, "train_policy?": str, "fingerprint": str},
    "data": {"kind": OneOf(("drawn", "real")), "title": str, "fingerprint": str, "notes?": [str],
             "parts": {"train?": Maybe(dict), "val": {"list?": str, "images": Count, "scored": Count}}},
    "limit?": Maybe(Count), "limited": bool, "seed": int,
    "supervision": {"declared_by?": str, "masks?": str, "layout?": str, "unlabelled?": str,
                    "captions?": Maybe(bool), "backbone?": str, "backbone_corpus?": str, "unseen_names?": str,
                    "tuned_on?": str, "corpus?": Maybe(CORPUS), "vectors?": Maybe(VECTORS)},
    "prompts?": Maybe(PROMPTS), "chosen?": Maybe(dict), "device?": str, "precision?": str, "environment?": Maybe(dict),
    "seconds?": Maybe(Each(Maybe(NUMBER))), "peak_memory_bytes?": Maybe(Each(Maybe(NUMBER))),
    "images_per_second?": Maybe(Each(Maybe(NUMBER))),
    "scores": {
        "unseen": SCORED | {"submitted?": bool, "candidates": [str], "classes": Each(CLASS),
                            "chance?": Maybe({"accuracy?": Maybe(Fraction), "miou?": Maybe(Fraction),
                                              "constant_miou?": Maybe(Fraction)}),
                            "oracle?": Maybe({"miou": Maybe(Fraction), "interval?": INTERVAL})},
        "all": {"submitted?": bool, "candidates": [str], "miou?": Maybe(Fraction), "pixel_accuracy?": Maybe(Fraction),
                "mean_accuracy?": Maybe(Fraction), "seen": SCORED, "unseen": SCORED,
                "harmonic": {"miou": Maybe(Fraction), "interval?": INTERVAL},
                "oracle?": Maybe({"miou": Maybe(Fraction)}),
                "classes": Each(CLASS | {"group": OneOf(("seen", "unseen"))})}},
    "rounds?": Maybe([ROUND]), "calibration?": Maybe(CALIBRATION), "stages?": Maybe([STAGE]),
    "training?": Maybe(dict), "submission?": Maybe(SUBMISSION),
    "files?": {"per_image?": Maybe(str), "curves?": Maybe(str), "pictures?": Maybe([PICTURE]),
               "predictions?": Maybe(str)},
}  # fmt: skip


def excesses(record: Any) -> Iterator[str]:
    """What no page can show, wherever it stands: texts and lists beyond any sense, and texts that no file can hold."""
    letters = 0
    left: list[tuple[Any, str, int]] = [(record, "", 0)]
    while left:
        value, at, depth = left.pop()
        if isinstance(value, str):
            letters += len(value)
            yield from _text_excesses(value, at)
        elif isinstance(value, dict | list):
            if depth == DEEPEST or len(value) > MOST_ENTRIES:
                yield f"'{at}' has more than {DEEPEST} levels or {MOST_ENTRIES:,} entries"
                continue
            for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
                if isinstance(name, str):
                    letters += len(name)
                    yield from _text_excesses(name, f"{at}, a name in it" if at else "a name")
                left.append(
                    (inner, at if isinstance(name, int) else f"{at}.{_brief(name)[1:-1]}".lstrip("."), depth + 1)
                )
    if letters > MOST_LETTERS:
        yield f"its texts have {letters:,} letters together, at most {MOST_LETTERS:,} are read"


def _text_excesses(text: str, at: str) -> Iterator[str]:
    if len(text) > LONGEST_TEXT:
        yield f"'{at}' is a text of {len(text):,} letters, at most {LONGEST_TEXT:,} are read"
    elif not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        yield f"'{at}' holds half a surrogate pair, which is no letter"


def faults(value: Any, shape: Any, at: str = "") -> Iterator[str]:
    """Every place where `value` does not have the shape, in words that name the field."""
    if isinstance(shape, Maybe):
        if value is not None:
            yield from faults(value, shape.shape, at)
    elif isinstance(shape, dict):
        yield from _object_faults(value, shape, at)
    elif isinstance(shape, list | Each):
        yield from _many_faults(value, shape, at)
    elif not _fits(value, shape):
        yield f"'{at}' is {_brief(value)}, expected {_expected(shape)}"


def _object_faults(value: Any, shape: dict[str, Any], at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"'{at or 'record'}' is {_brief(value)}, expected an object"
        return
    for name, inner in shape.items():
        field = name.removesuffix("?")
        where = f"{at}.{field}" if at else field
        if field in value:
            yield from faults(value[field], inner, where)
        elif not name.endswith("?"):
            yield f"'{where}' is missing"


def _many_faults(value: Any, shape: list[Any] | Each, at: str) -> Iterator[str]:
    wanted = list if isinstance(shape, list) else dict
    if not isinstance(value, wanted):
        yield f"'{at}' is {_brief(value)}, expected {'a list' if wanted is list else 'an object'}"
    elif isinstance(shape, list):
        for position, item in enumerate(value):
            yield from faults(item, shape[0], f"{at}[{position}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from faults(item, shape.shape, f"{at}.{name}")


def _fits(value: Any, shape: Any) -> bool:
    number = isinstance(value, NUMBER) and not isinstance(value, bool) and math.isfinite(value)
    if shape is Fraction:
        return number and 0 <= value <= 1
    if shape is Count:
        return number and isinstance(value, int) and value >= 0
    if isinstance(shape, OneOf):
        return value in shape.words
    if shape is int or shape == NUMBER:
        return number and (shape == NUMBER or isinstance(value, int))
    return isinstance(value, shape)


def _expected(shape: Any) -> str:
    if isinstance(shape, OneOf):
        return " or ".join(shape.words)
    words = {Fraction: "a number from 0 to 1", Count: "a count", str: "text", bool: "true or false", dict: "an object"}
    return words.get(shape, "a number") if not isinstance(shape, tuple) else "a number"


def _brief(value: Any) -> str:
    text = repr(value[:40] if isinstance(value, str) else value)
    return text if len(text) <= 40 else text[:37] + "…"
