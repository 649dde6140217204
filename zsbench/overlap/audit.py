"""One audit: every list compared with itself and with every other, the limit, and the exit code.

Exit codes are those of a leakage scan: 0 complete and under the limit, 1 a list is empty or a photograph could
not be looked at, 2 wrong usage, 3 more test images are in a training list than --fail-over allows; 3 goes before 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

from zsbench.errors import UserError
from zsbench.leakage.limits import COMPLETE, INCOMPLETE, OVER, parse_limit
from zsbench.overlap.compare import Comparison, Pair, compare
from zsbench.overlap.ids import WORDS
from zsbench.overlap.looking import Looked, look_at_all
from zsbench.overlap.looks import ALIKE, NEAR
from zsbench.overlap.sources import ImageList

SCHEMA = 1
SHOWN = 5  # examples in overlap.json; pairs.csv has all
Block = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Audit:
    """within: each list with itself. across: each pair of lists, in the order of the arguments. looked: None where only
    names were compared."""

    lists: tuple[ImageList, ...]
    within: tuple[Comparison, ...]
    across: tuple[Comparison, ...]
    looked: Looked | None

    def over(self, limit: str | None) -> list[Comparison]:
        """Pairs of training and test lists that share more than the limit allows."""
        if limit is None:
            return []
        number, is_share = parsed(limit)
        faults = [(one, one.fault) for one in self.across]
        return [one for one, fault in faults if fault and fault[0] > (number * fault[1] if is_share else number)]

    def code(self, limit: str | None = None) -> int:
        """The exit code."""
        incomplete = self.empty or (self.looked and self.looked.faults)
        return OVER if self.over(limit) else INCOMPLETE if incomplete else COMPLETE

    @property
    def empty(self) -> list[str]:
        """Lists without an image: nothing was compared, and that they share nothing would be no answer."""
        return [one.name for one in self.lists if not one.names]


def audit(lists: Sequence[ImageList], hashes: bool | None = None, cache: Path | None = None, jobs: int = 0) -> Audit:
    """Compares all lists. hashes: look at photographs; None = where any are at hand. Raises UserError where there are none
    to look at and it was asked for."""
    photos = [photo for one in lists for _, photo in one.pictured]
    if hashes and not photos:
        raise UserError("--hashes needs photographs: name a folder of images or a data set, or say --images FOLDER")
    looked = look_at_all(photos, cache, jobs) if photos and hashes is not False else None
    looks = looked.looks if looked else {}
    within = tuple(compare(one, one, looks) for one in lists)
    return Audit(tuple(lists), within, tuple(compare(a, b, looks) for a, b in combinations(lists, 2)), looked)


def parsed(limit: str) -> tuple[Fraction, bool]:
    """`5` test images, or a share of the test list as `1%` or `20ppm`; the number, and whether it is a share."""
    try:
        return parse_limit(limit)
    except UserError:
        raise UserError(
            f"--fail-over {limit!r} is no limit; expected test images (0) or a share of the test list (1%, 20ppm)"
        ) from None


def told(result: Audit, limit: str | None = None, command: str = "") -> Block:
    """The audit as overlap.json has it; equal for equal files."""
    looked = result.looked
    return {
        "schema": SCHEMA,
        "command": command,
        "lists": [_list(one, looked) for one in result.lists],
        "within": [_within(one) for one in result.within],
        "pairs": [_across(one) for one in result.across],
        "looked_at": looked and len(looked.looks),
        "flat": looked and sum(look.flat for look in looked.looks.values()),
        "unreadable": looked and looked.faults,
        "near_bits": NEAR,
        "alike": ALIKE,
        "limit": limit,
        "over": [[one.a.name, one.b.name] for one in result.over(limit)],
        "exit": result.code(limit),
    }


def _list(one: ImageList, looked: Looked | None) -> Block:
    return {
        "name": one.name,
        "source": one.source,
        "read_as": one.form,
        "role": one.role,
        "names": len(one.names),
        "images": len(one.first),
        "kinds": {WORDS[kind]: count for kind, count in one.kinds.items()},
        "sha256": one.sha256,
        "looked_at": sum(photo.place in looked.looks for _, photo in one.pictured) if looked else None,
        "repeated": {key: list(names) for key, names in list(one.repeated.items())[:SHOWN]},
        "notes": list(one.notes),
    }


def _within(one: Comparison) -> Block:
    return {
        "list": one.a.name,
        "names_twice": len(one.a.repeated),
        "names_of_other_pictures": len(one.others),
        **_looks(one),
        "doubled": one.found[0],
    }


def _across(one: Comparison) -> Block:
    a, b = one.found
    shared = len(one.named)
    return {
        "a": one.a.name,
        "b": one.b.name,
        "shared_names": shared,
        "share_of_a": share(shared, one.a),
        "share_of_b": share(shared, one.b),
        "names_of_other_pictures": len(one.others),
        "unconfirmed_numbers": one.numbers,
        **_looks(one),
        "found_a": a,
        "found_b": b,
        "training_meets_test": one.fault and one.fault[0],
        "examples": [one.a.names[pair.a] for pair in one.counted[:SHOWN]],
    }


def _looks(one: Comparison) -> Block:
    counts = {how: sum(pair.how == how for pair in one.seen) for how in ("exact", "near", "mirrored")}
    shown = [_pair(one, pair) for pair in one.seen[:SHOWN]]
    return {"alike": counts, "alike_is_all": one.whole, "alike_examples": shown}


def _pair(one: Comparison, pair: Pair) -> Block:
    names = {"a": one.a.names[pair.a], "b": one.b.names[pair.b]}
    return names | {"how": pair.how, "bits": pair.distance, "alike": pair.alike}


def share(count: int, of: ImageList) -> float | None:
    """count of the distinct images of a list, rounded as in the files; None for an empty list."""
    return round(count / len(of.first), 6) if of.first else None
