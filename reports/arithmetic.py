"""Whether printed numbers agree with each other: four checks, none of which needs more than the tables themselves.

harmonic: h is 2SU / (S + U); composition: the overall mean is that of S over the seen and of U over the unseen classes;
copy: what several sources print of one quantity is one number; claim: a gain stated in words is the difference of the
table. A check asks whether ANY numbers that are printed so would satisfy it: the interval that the rounding of every digit
leaves open is carried through exactly, in fractions, so that no tolerance is chosen and no consistent row fails. Numbers
that were computed here are never checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from zsbench.errors import UserError

from .printed import Bounds, Printed, overlap
from .published import Cell, Claim, Paper, Published, papers, values_of

Kind = Literal["harmonic", "composition", "copy", "claim", "identical"]
KINDS: dict[Kind, str] = {
    "harmonic": "Harmonic mean: h is not 2SU / (S + U)",
    "composition": "Composition: the overall mIoU is not that of S and U over their classes",
    "copy": "Copies: sources print one quantity differently",
    "claim": "Claims: a gain stated in words is not that of the table",
    "identical": "Identical cells in two rows of one table, which look like a slip of copying",
}
FAR = Fraction(1, 5)  # points from which a composition is called far off
SUREST = "PAQRC"


@dataclass(frozen=True)
class Finding:
    """One check of one printed number. printed, computed: in points. fails: no numbers printed so would satisfy it.

    place: row, table and data; source: who printed it; detail: what was computed from what. recalled: whether one of the
    numbers is from memory.
    """

    kind: Kind
    row: str
    place: str
    source: str
    quantity: str
    printed: str
    computed: Fraction
    difference: Fraction
    fails: bool
    detail: str
    recalled: bool = False

    @property
    def verdict(self) -> str:
        if self.kind == "identical":
            return "identical"
        if self.kind == "composition" and self.fails:
            return "off by more than 0.2" if abs(self.difference) > FAR else "off by up to 0.2"
        words = {"copy": ("agrees", "differs"), "composition": ("exact", ""), "claim": ("holds", "not in the table")}
        return words.get(self.kind, ("holds", "fails"))[self.fails]

    @property
    def sentence(self) -> str:
        return f"{self.quantity} {self.printed} does not follow from {self.detail}, which give {points(self.computed)}"


def points(value: Fraction) -> str:
    return f"{float(value):.2f}"


def check(found: Sequence[Paper]) -> list[Finding]:
    """Every check that the numbers of these papers allow, those that hold among them; in the order of the files."""
    rows = values_of(found)
    own = [finding for value in rows for finding in _of_row(value)]
    stated = [_claimed(claim, found) for one in found for claim in one.claims]
    identical = [_identical(pair, found) for one in found for pair in one.twins]
    return [*own, *_copies(rows), *stated, *identical]


def findings_of(value: Published) -> list[Finding]:
    """What fails within one row."""
    return [finding for finding in _of_row(value) if finding.fails]


def _of_row(value: Published) -> Iterator[Finding]:
    printed = {column: number for column, number in value.numbers.items() if number.mark != "C"}
    if {"S", "U", "h"} <= printed.keys():
        both = f"S {printed['S'].text} and U {printed['U'].text}"
        yield _made(value, printed, "harmonic", "h", harmonic, both)
    if {"S", "U", "mIoU"} <= printed.keys() and value.protocol.classes:
        seen, unseen = value.protocol.classes
        both = f"S {printed['S'].text} of {seen} and U {printed['U'].text} of {unseen} classes"
        yield _made(value, printed, "composition", "mIoU", composed(seen, unseen), both)


Join = Callable[[Fraction, Fraction], Fraction]


def harmonic(seen: Fraction, unseen: Fraction) -> Fraction:
    """0 where both are, as the codes of the field have it. Rises with either."""
    return 2 * seen * unseen / (seen + unseen) if seen + unseen else Fraction(0)


def composed(seen_classes: int, unseen_classes: int) -> Join:
    """The mean over all classes from the means over seen and unseen ones. Rises with either."""
    return lambda seen, unseen: (seen_classes * seen + unseen_classes * unseen) / (seen_classes + unseen_classes)


def _made(
    value: Published, printed: Mapping[str, Printed], kind: Kind, column: str, join: Join, detail: str
) -> Finding:
    seen, unseen, whole = printed["S"], printed["U"], printed[column]
    low, high = (join(seen.bounds[end], unseen.bounds[end]) for end in (0, 1))
    middle = join(seen.middle, unseen.middle)
    recalled = any(number.mark == "R" for number in (seen, unseen, whole))
    return Finding(
        kind, value.row, _place(value), value.printed_by, column, whole.text, middle, _short(whole, middle),
        not overlap((low, high), whole.bounds), detail, recalled,
    )  # fmt: skip


def _short(printed: Printed, computed: Fraction) -> Fraction:
    """What is printed less what was computed; of a range its nearer end."""
    ends = (Fraction(printed.lowest), Fraction(printed.highest))
    return min((end - computed for end in ends), key=abs)


def _place(value: Published) -> str:
    return f"{value.protocol.table}, {value.protocol.data}"


def _copies(rows: Sequence[Published]) -> Iterator[Finding]:
    """Every further print of a quantity beside the surest one; of equal prints one."""
    quantities: dict[tuple[str, ...], list[tuple[Published, Printed]]] = {}
    for value in rows:
        for column, number in value.numbers.items():
            if number.mark != "C":
                key = (value.method, value.setting, value.protocol.split, value.protocol.scope, column)
                quantities.setdefault(key, []).append((value, number))
    for (*_, column), prints in quantities.items():
        first, *others = sorted(prints, key=lambda one: (SUREST.index(one[1].mark), -one[1].digits))
        told = set()
        for value, number in others:
            if (value.printed_by, number.text) not in told:
                told.add((value.printed_by, number.text))
                yield _copied(column, first, value, number)


def _copied(column: str, first: tuple[Published, Printed], value: Published, number: Printed) -> Finding:
    surest, reference = first
    computed = reference.middle
    return Finding(
        "copy", value.row, _place(value), value.printed_by, column, number.text, computed, _short(number, computed),
        not number.agrees(reference), f"{reference.text} in {surest.printed_by}", "R" in (number.mark, reference.mark),
    )  # fmt: skip


def _claimed(claim: Claim, found: Sequence[Paper]) -> Finding:
    """The stated gain beside the difference of the table; over several rows the highest of them counts."""
    value, top = _at(claim.of, found)
    over = [_at(cell, found) for cell in claim.over]
    best, highest = max(over, key=lambda one: one[1].middle)
    gain = _gain(top, highest)
    fails = not overlap(gain, claim.gain.bounds)
    fits = [f"{one.row} ({number.text})" for one, number in over if overlap(_gain(top, number), claim.gain.bounds)]
    detail = f"{top.text} less {highest.text} of {best.row}" + (
        f"; the gain is over {fits[0]}" if fails and fits else ""
    )
    computed = top.middle - highest.middle
    return Finding(
        "claim", value.row, claim.says, value.printed_by, claim.of.column, claim.gain.text, computed,
        _short(claim.gain, computed), fails, detail, any(number.mark == "R" for number in (top, highest)),
    )  # fmt: skip


def _gain(top: Printed, below: Printed) -> Bounds:
    return top.bounds[0] - below.bounds[1], top.bounds[1] - below.bounds[0]


def _identical(pair: tuple[Cell, Cell], found: Sequence[Paper]) -> Finding:
    (one, number), (other, second) = (_at(cell, found) for cell in pair)
    return Finding(
        "identical", other.row, _place(other), other.printed_by, pair[1].column, second.text, number.middle,
        _short(second, number.middle), second.text == number.text, f"the same digits as in the row {one.row}",
    )  # fmt: skip


def _at(cell: Cell, found: Sequence[Paper]) -> tuple[Published, Printed]:
    """The number that a claim or a pair names; of a file that is not checked, the shipped one. Raises UserError."""
    for value in _of_paper(cell.paper, found):
        here = (value.protocol.table, value.row, value.protocol.data) == (cell.table, cell.row, cell.data)
        if here and cell.column in value.numbers:
            return value, value.numbers[cell.column]
    raise UserError(
        f"{cell.paper}.toml has no number {cell.column} of row {cell.row!r} in {cell.table!r} on {cell.data!r}, which a "
        "claim or a pair of cells names; see: zsbench published list"
    )


def _of_paper(name: str, found: Sequence[Paper]) -> Iterable[Published]:
    given = [one for one in found if one.name == name] or [one for one in papers() if one.name == name]
    return values_of(given)


@lru_cache
def shipped() -> tuple[Finding, ...]:
    """The findings on all that is shipped."""
    return tuple(check(papers()))
