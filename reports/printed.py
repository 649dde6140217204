"""A number as a paper prints it: its digits, what rounding leaves open, and how sure it is that the paper prints it.

A cell of a file is a TOML number in per cent ("78.40": the digits count), "-" where nothing is printed, or text: a number
or a range with a mark of its own, "72.0 R", "87.8-88.1 A". Marks: `CERTAINTY`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal, cast

Mark = Literal["A", "P", "Q", "R", "C"]
CERTAINTY: dict[Mark, str] = {
    "A": "read in the authors' repository",
    "P": "read in the paper's text",
    "Q": "quoted by a later paper",
    "R": "recalled, not checked",
    "C": "computed from the printed values, not printed",
}
ABSENT = "-"
CELL = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)(?:-(\d{1,3}(?:\.\d{1,6})?))?(?: ([APQRC]))?")
Cell = int | Decimal | str
Bounds = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Printed:
    """lowest, highest: the digits in per cent, equal unless a range is printed. mark: see `CERTAINTY`."""

    lowest: Decimal
    highest: Decimal
    mark: Mark

    @property
    def text(self) -> str:
        """The digits as printed; of a range both ends."""
        return str(self.lowest) if self.lowest == self.highest else f"{self.lowest}–{self.highest}"

    @property
    def value(self) -> float:
        """As a fraction; of a range its middle."""
        return round(float(self.lowest + self.highest) / 200, 6)

    @property
    def digits(self) -> int:
        """Decimals in per cent."""
        return -int(self.lowest.as_tuple().exponent)

    @property
    def bounds(self) -> Bounds:
        """Between which numbers, in per cent, all lie that are printed so: half a unit of the last digit either way."""
        low, high = (Fraction(1, 2 * 10 ** -int(end.as_tuple().exponent)) for end in (self.lowest, self.highest))
        return max(Fraction(0), Fraction(self.lowest) - low), Fraction(self.highest) + high

    @property
    def middle(self) -> Fraction:
        return (Fraction(self.lowest) + Fraction(self.highest)) / 2

    @property
    def certainty(self) -> str:
        return CERTAINTY[self.mark]

    def agrees(self, other: Printed) -> bool:
        """Whether one number may stand behind both."""
        return overlap(self.bounds, other.bounds)


def overlap(one: Bounds, other: Bounds) -> bool:
    """Whether two intervals share a number; ends belong to them, since nobody says how a half is rounded."""
    return one[0] <= other[1] and other[0] <= one[1]


def read_cell(cell: Cell, mark: Mark) -> Printed | None:
    """The number of a cell, None for an absent one. Raises ValueError for anything else than the module says."""
    if cell == ABSENT:
        return None
    found = CELL.fullmatch(str(cell)) if not isinstance(cell, bool) else None
    if not found:
        raise ValueError(f"{cell!r}" if isinstance(cell, str) else str(cell))
    lowest = Decimal(found[1])
    highest = Decimal(found[2]) if found[2] else lowest
    if not lowest <= highest <= 100:
        raise ValueError(str(cell))
    return Printed(lowest, highest, cast(Mark, found[3] or mark))
