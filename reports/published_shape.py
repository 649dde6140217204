"""The shape of a file of published numbers, and the first thing that is wrong with one.

Choices: unlike a record, a file is written by hand: a field that the schema does not know is refused with the nearest
right name, and so is a cell that is no number.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from .printed import CERTAINTY, read_cell
from .shape import Count, Each, Maybe, OneOf, faults

COLUMNS = ("S", "U", "h", "mIoU", "pAcc", "mAcc", "U_PA", "U_MA", "accuracy")
SCOPES = ("unseen", "all", "open vocabulary", "not stated")
BACKGROUNDS = ("ignored", "seen", "not among the names", "threshold", "not stated")
RESOLUTIONS = ("original", "resized", "warped", "1/8", "not stated")
SETTINGS = (
    "inductive", "transductive", "fully supervised", "caption-trained", "training-free", "trained on other masks",
    "not stated",
)  # fmt: skip
NUMBER = (int, Decimal)
CELL = (int, Decimal, str)
MARK = OneOf(tuple(CERTAINTY))

PROTOCOL = {"table": str, "data": str, "columns": [OneOf(COLUMNS)], "datasets": [str], "split": str,
            "scope": OneOf(SCOPES), "background": OneOf(BACKGROUNDS), "resolution": OneOf(RESOLUTIONS),
            "classes?": [Count], "names?": [Count], "candidates?": [Count], "unseen?": [str], "clusters?": Count,
            "captions?": str, "pairs?": Count, "encoder?": str, "notes?": [str]}  # fmt: skip
ROW = {"table": str, "row": str, "method?": str, "setting": OneOf(SETTINGS), "scores": Each([CELL]), "certainty?": MARK,
       "printed_by?": str, "resolution?": OneOf(RESOLUTIONS), "encoder?": str, "weights?": str, "attention?": [str],
       "parameters?": Count, "images_per_second?": Maybe(NUMBER), "notes?": [str], "problems?": [str]}  # fmt: skip
PLACE = {"paper?": str, "table": str, "row": str, "data": str, "column": OneOf(COLUMNS)}
PLACES = {"paper?": str, "table": str, "rows": [str], "data": str, "column": OneOf(COLUMNS)}
CLAIM = {"says": str, "gain": CELL, "of": PLACE, "over": [PLACES]}
TWIN = {"one": PLACE, "other": PLACE}
UNREAD = {"method": str, "title": str, "why": str, "claims": [str], "notes?": [str]}
PAPER = {"title": str, "source": str, "printed_by?": str, "certainty": MARK, "notes": [str], "problems?": [str],
         "protocol": [PROTOCOL], "row": [ROW], "claim?": [CLAIM], "twin?": [TWIN], "unread?": [UNREAD]}  # fmt: skip


def read_toml(text: str) -> dict[str, Any]:
    """The file with the digits of its numbers kept. Raises tomllib.TOMLDecodeError and ValueError."""
    return tomllib.loads(text, parse_float=Decimal)


def contradiction(told: dict[str, Any]) -> str:
    """What is wrong first, empty where nothing is. Afterwards the cells of `told` are `Printed` or None."""
    for name in ("protocol", "row"):
        told.setdefault(name, [])
    found = (*_stray(told, PAPER, ""), *faults(told, PAPER))
    return next(iter(found), "") or next(_between(told), "") or next(_cells(told), "")


def _stray(told: Any, shape: Any, at: str) -> Iterator[str]:
    """Fields that the schema does not know."""
    if isinstance(shape, list) and isinstance(told, list):
        for place, item in enumerate(told):
            yield from _stray(item, shape[0], f"{at}[{place}]")
    if not isinstance(shape, dict) or not isinstance(told, dict):
        return
    inner = {name.removesuffix("?"): one for name, one in shape.items()}
    for name, value in told.items():
        where = f"{at}.{name}" if at else name
        if name in inner:
            yield from _stray(value, inner[name], where)
        else:
            near = difflib.get_close_matches(name, inner, n=1, cutoff=0.5)
            yield f"no field '{where}'" + (f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(inner)}")


def _between(told: Mapping[str, Any]) -> Iterator[str]:
    """Faults between fields."""
    known: dict[tuple[str, str], Mapping[str, Any]] = {}
    for one in told["protocol"]:
        key = one["table"], one["data"]
        if key in known:
            yield f"two protocols of {one['table']}, {one['data']}"
        known[key] = one
        for field in ("names", "candidates"):
            if len(one.get(field, [])) not in (0, 2) or one.get(field, []) != sorted(one.get(field, [])):
                yield f"'protocol' of {one['table']}, {one['data']}: names and candidates are [] or [lowest, highest]"
        if len(one.get("classes", [])) not in (0, 2) or not all(one.get("classes", [])):
            yield f"'protocol' of {one['table']}, {one['data']}: classes are [] or [seen, unseen], above 0"
        if not one["columns"] or len(set(one["columns"])) < len(one["columns"]):
            yield f"'protocol' of {one['table']}, {one['data']}: columns are named once each, at least one"
    yield from _rows(told, known)


def _rows(told: Mapping[str, Any], known: Mapping[tuple[str, str], Mapping[str, Any]]) -> Iterator[str]:
    seen = set()
    for row in told["row"]:
        for data, cells in row["scores"].items():
            key = row["table"], row["row"], data
            if key in seen:
                yield f"two rows {row['row']!r} of {row['table']} on {data}"
            seen.add(key)
            protocol = known.get((row["table"], data))
            if protocol is None:
                yield f"'row' {row['row']!r} of {row['table']} has a score on {data!r}, which no protocol describes"
            elif len(cells) != len(protocol["columns"]):
                expected = ", ".join(protocol["columns"])
                yield f"'row' {row['row']!r}: {len(cells)} cells on {data}, expected [{expected}] in per cent"


def _cells(told: Mapping[str, Any]) -> Iterator[str]:
    """Faults of single cells; those without are put in the place of what was written."""
    for row in told["row"]:
        for data, cells in row["scores"].items():
            try:
                row["scores"][data] = [read_cell(cell, row.get("certainty", told["certainty"])) for cell in cells]
            except ValueError as error:
                yield (
                    f"'row' {row['row']!r}: {error} on {data}, expected a number from 0 to 100 in per cent, "
                    '"-" where none is printed, or text such as "72.0 R" or "87.8-88.1"'
                )
    for claim in told.get("claim", ()):
        try:
            claim["gain"] = read_cell(claim["gain"], told["certainty"])
        except ValueError as error:
            yield f"'claim' {claim['says']!r}: gain {error}, expected points in per cent"
        if not claim["gain"] or not any(one["rows"] for one in claim["over"]):
            yield f"'claim' {claim['says']!r} needs a gain and at least one row that it is over"
