"""Numbers that papers print, as they are shipped in `published/`: what was measured, under which protocol, and from where.

One TOML file per paper. A value is a fraction here as everywhere (the files hold per cent, as printed). What a paper does
not state is empty, never guessed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from zsbench.errors import UserError

from .shape import NUMBER, Count, Each, Maybe, faults

PROTOCOL = {"table": str, "data": str, "datasets": [str], "names": [Count], "candidates": [Count], "unseen": [str],
            "clusters": Count, "captions": str, "pairs": Count, "encoder": str, "background": str, "resolution": str,
            "notes?": [str]}  # fmt: skip
ROW = {"table": str, "row": str, "weights": str, "scores": Each([NUMBER]), "attention?": [str], "parameters?": Count,
       "images_per_second?": Maybe(NUMBER)}  # fmt: skip
PAPER = {"method": str, "title": str, "source": str, "certainty": str, "notes": [str], "protocol": [PROTOCOL],
         "row": [ROW]}  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """What stands above a column of a paper's table. names, candidates: (lowest, highest), or None where not stated.

    unseen: the classes that are scored; empty for all of the data set. clusters, pairs: 0 where not stated.
    """

    table: str
    data: str
    datasets: tuple[str, ...]
    names: tuple[int, int] | None
    candidates: tuple[int, int] | None
    unseen: tuple[str, ...]
    clusters: int
    captions: str
    pairs: int
    encoder: str
    background: str
    resolution: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """One row of a paper's table on one data set.

    weights: what the row's weights were trained on; attention: rules that the paper's words allow, empty where it has none.
    """

    row: str
    protocol: Protocol
    miou: float
    pixel_accuracy: float
    weights: str
    attention: tuple[str, ...]
    parameters: int | None
    images_per_second: float | None


@dataclass(frozen=True)
class Paper:
    """All that a file holds. notes: what to know before its numbers are read."""

    title: str
    source: str
    certainty: str
    notes: tuple[str, ...]
    values: tuple[Published, ...]

    def find(self, table: str, row: str, dataset: str) -> Published | None:
        """The value of a row for a split's data set; None where the paper has none."""
        fitting = (v for v in self.values if (v.protocol.table, v.row) == (table, row))
        return next((value for value in fitting if dataset in value.protocol.datasets), None)

    def notes_for(self, dataset: str) -> tuple[str, ...]:
        own = (note for value in self.values if dataset in value.protocol.datasets for note in value.protocol.notes)
        return (*self.notes, *dict.fromkeys(own))


@lru_cache
def paper(name: str) -> Paper:
    """The numbers of `published/NAME.toml`."""
    file = resources.files(__package__).joinpath("published", f"{name}.toml")
    return parsed(file.read_text(encoding="utf-8"), f"{name}.toml")


def parsed(text: str, name: str) -> Paper:
    """A paper from TOML. Raises UserError for a file that says something else than numbers under known protocols."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{name}: no TOML: {error}") from error
    if found := next(faults(told, PAPER), None) or _contradiction(told):
        raise UserError(f"{name}: {found}")
    protocols = {(one["table"], one["data"]): _protocol(one) for one in told["protocol"]}
    values = tuple(
        _value(row, protocols[row["table"], data], *both) for row in told["row"] for data, both in row["scores"].items()
    )
    return Paper(told["title"], told["source"], told["certainty"], tuple(told["notes"]), values)


def _contradiction(told: Mapping[str, Any]) -> str:
    """The first fault between fields; empty where there is none."""
    known = {(one["table"], one["data"]) for one in told["protocol"]}
    for one in told["protocol"]:
        if any(len(one[field]) not in (0, 2) or one[field] != sorted(one[field]) for field in ("names", "candidates")):
            return f"'protocol' of {one['table']}, {one['data']}: names and candidates are [] or [lowest, highest]"
    for row in told["row"]:
        for data, scores in row["scores"].items():
            if (row["table"], data) not in known:
                return f"'row' {row['row']!r} of {row['table']} has a score on {data!r}, which no protocol describes"
            if len(scores) != 2 or not all(0 <= score <= 100 for score in scores):
                return f"'row' {row['row']!r}: {scores!r} on {data}, expected [mIoU, pixel accuracy] in per cent"
    return ""


def _protocol(told: Mapping[str, Any]) -> Protocol:
    ranges = {name: tuple(told[name]) or None for name in ("names", "candidates")}
    lists = {name: tuple(told.get(name, ())) for name in ("datasets", "unseen", "notes")}
    return Protocol(**{**told, **ranges, **lists})


def _value(row: Mapping[str, Any], protocol: Protocol, miou: float, pixel_accuracy: float) -> Published:
    return Published(
        row["row"], protocol, round(miou / 100, 6), round(pixel_accuracy / 100, 6), row["weights"],
        tuple(row.get("attention", ())), row.get("parameters"), row.get("images_per_second"),
    )  # fmt: skip
