"""Numbers that papers print, as they are shipped in `published/`: what was measured, under which protocol, and from where.

One TOML file per paper or family of tables, all of one schema. A row belongs to a method, whoever printed it. A value is a
fraction here as everywhere (the files hold per cent, with the digits as printed: see `printed`). What a paper does not
state is empty or "not stated", never guessed. Recalled values are marked and are nobody's target.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from zsbench.errors import UserError

from .printed import CERTAINTY, Mark, Printed
from .published_shape import contradiction, read_toml

LARGEST_FILE = 4 * 2**20  # bytes; the largest that is shipped has 40 KiB
NOT_STATED = "not stated"
MEMORY = "from memory"  # who printed what nobody has read again


@dataclass(frozen=True)
class Protocol:
    """What stands above a column of a paper's table. names, candidates: (lowest, highest), or None where not stated.

    split: one of ours where it fits, else the paper's own words. scope: which names compete. classes: how many seen and
    unseen ones the two means are over, None where unknown. unseen: the classes that are scored; empty for all of the data
    set, or where `split` tells. clusters, pairs: 0 where not stated.
    """

    table: str
    data: str
    columns: tuple[str, ...]
    datasets: tuple[str, ...]
    split: str
    scope: str
    background: str
    resolution: str
    classes: tuple[int, int] | None = None
    names: tuple[int, int] | None = None
    candidates: tuple[int, int] | None = None
    unseen: tuple[str, ...] = ()
    clusters: int = 0
    captions: str = ""
    pairs: int = 0
    encoder: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """One row of a paper's table on one data set.

    row: its name in the table; method: the same name in all files. mark: how sure the row is, a value may have its own.
    printed_by: who printed it. resolution: of the labels that were scored. encoder: empty where not stated. weights: what
    the row's weights were trained on; attention: rules that the paper's words allow, empty where it has none. problems:
    what is wrong with the row that no arithmetic shows.
    """

    paper: str
    row: str
    method: str
    protocol: Protocol
    setting: str
    numbers: Mapping[str, Printed] = field(hash=False)
    mark: Mark
    printed_by: str
    resolution: str
    encoder: str = ""
    weights: str = ""
    attention: tuple[str, ...] = ()
    parameters: int | None = None
    images_per_second: float | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def miou(self) -> float:
        """Of the unseen classes, or of all where the table has no other mean."""
        return self._first("U", "mIoU")

    @property
    def pixel_accuracy(self) -> float:
        return self._first("U_PA", "pAcc")

    def _first(self, *columns: str) -> float:
        return next((self.numbers[column].value for column in columns if column in self.numbers), float("nan"))

    @property
    def certainty(self) -> str:
        return CERTAINTY[self.mark]

    @property
    def place(self) -> str:
        """Where it stands: "CaGNetv2's README, VOC 15/5, PASCAL VOC"."""
        return f"{self.printed_by}: {self.protocol.table}, {self.protocol.data}"


@dataclass(frozen=True)
class Cell:
    """One printed number by its place: paper (a file's name), table, row, data, column."""

    paper: str
    table: str
    row: str
    data: str
    column: str


@dataclass(frozen=True)
class Claim:
    """A gain that a paper's text states, in points: `gain` of one cell over the highest of others."""

    says: str
    gain: Printed
    of: Cell
    over: tuple[Cell, ...]


@dataclass(frozen=True)
class Unread:
    """A paper whose tables nobody here could read. claims: what it says without a number."""

    method: str
    title: str
    why: str
    claims: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Paper:
    """All that a file holds. notes: what to know before its numbers are read; twins: cells that look like a slip of copying."""

    name: str
    title: str
    source: str
    certainty: str
    notes: tuple[str, ...]
    values: tuple[Published, ...]
    problems: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    twins: tuple[tuple[Cell, Cell], ...] = ()
    unread: tuple[Unread, ...] = ()

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


@lru_cache
def papers() -> tuple[Paper, ...]:
    """All that is shipped, by name."""
    folder = resources.files(__package__).joinpath("published")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".toml"))
    return tuple(paper(name.removesuffix(".toml")) for name in names)


def read_paper(path: Path) -> Paper:
    """The numbers of a user's own file of the same schema. Raises UserError for anything else."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"{path} is larger than {LARGEST_FILE // 2**20} MiB; no table of a paper is")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; expected a TOML file of printed numbers") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8; expected a TOML file of printed numbers") from error
    return parsed(text, str(path))


def values_of(found: Sequence[Paper]) -> list[Published]:
    return [value for one in found for value in one.values]


def targets(found: Sequence[Paper] | None = None) -> list[tuple[Published, str, Printed]]:
    """(row, column, number) of all numbers that a run may be held against: printed, and read by somebody.

    Recalled and computed numbers are left out.
    """
    values = values_of(papers() if found is None else found)
    every = ((value, column, number) for value in values for column, number in value.numbers.items())
    return [one for one in every if one[2].mark in ("A", "P", "Q")]


def parsed(text: str, name: str) -> Paper:
    """A paper from TOML. Raises UserError for a file that says something else than numbers under known protocols."""
    try:
        told = read_toml(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise UserError(f"{name}: no TOML: {error}") from error
    if found := contradiction(told):
        raise UserError(f"{name}: {found}")
    stem = Path(name).name.removesuffix(".toml")
    protocols = {(one["table"], one["data"]): _protocol(one) for one in told["protocol"]}
    values = tuple(_values(told, stem, protocols))
    return Paper(
        stem, told["title"], told["source"], CERTAINTY[told["certainty"]], tuple(told["notes"]), values,
        tuple(told.get("problems", ())), tuple(_claim(one, stem) for one in told.get("claim", ())),
        tuple((_cell(one["one"], stem), _cell(one["other"], stem)) for one in told.get("twin", ())),
        tuple(_unread(one) for one in told.get("unread", ())),
    )  # fmt: skip


def _protocol(told: Mapping[str, Any]) -> Protocol:
    ranges = {name: tuple(told.get(name, ())) or None for name in ("classes", "names", "candidates")}
    lists = {name: tuple(told.get(name, ())) for name in ("columns", "datasets", "unseen", "notes")}
    return Protocol(**{**told, **ranges, **lists})


def _values(told: Mapping[str, Any], stem: str, protocols: Mapping[tuple[str, str], Protocol]) -> Iterator[Published]:
    for row in told["row"]:
        for data, cells in row["scores"].items():
            yield _value(told, stem, row, protocols[row["table"], data], cells)


def _value(
    told: Mapping[str, Any], stem: str, row: Mapping[str, Any], protocol: Protocol, cells: Sequence[Any]
) -> Published:
    numbers = {column: number for column, number in zip(protocol.columns, cells, strict=True) if number}
    speed, mark = row.get("images_per_second"), row.get("certainty", told["certainty"])
    by = row.get("printed_by", told.get("printed_by", told["source"]))
    own = {number.mark for number in numbers.values()}
    if len(own) == 1 and own != {mark}:  # every number has the same mark of its own: it is the row's
        [mark] = own
        by = MEMORY if mark == "R" else by
    lists = {name: tuple(row.get(name, ())) for name in ("attention", "notes", "problems")}
    return Published(
        stem, row["row"], row.get("method", row["row"]), protocol, row["setting"], numbers, mark, by,
        row.get("resolution", protocol.resolution), row.get("encoder", protocol.encoder), row.get("weights", ""),
        parameters=row.get("parameters"), images_per_second=None if speed is None else float(speed), **lists,
    )  # fmt: skip


def _cell(told: Mapping[str, str], stem: str, row: str = "") -> Cell:
    return Cell(told.get("paper", stem), told["table"], row or told["row"], told["data"], told["column"])


def _claim(told: Mapping[str, Any], stem: str) -> Claim:
    over = tuple(_cell(one, stem, row) for one in told["over"] for row in one["rows"])
    return Claim(told["says"], told["gain"], _cell(told["of"], stem), over)


def _unread(told: Mapping[str, Any]) -> Unread:
    return Unread(told["method"], told["title"], told["why"], tuple(told["claims"]), tuple(told.get("notes", ())))
