"""Published numbers and what fails in them, as a terminal, a spreadsheet or a program reads it.

Text of a file is printed without its control characters; numbers stand as the paper prints them, in per cent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .arithmetic import KINDS, Finding, points
from .beside import words_of
from .comparable import unstated
from .published import Paper, Published, values_of
from .published_shape import COLUMNS
from .tables import as_csv

FOUND = ("check", "row", "place", "source", "quantity", "printed", "computed", "difference", "verdict", "fails", "recalled",
         "detail")  # fmt: skip
LISTED = ("method", "row", "data", "split", "table", *COLUMNS, "certainty", "marked", "setting", "scope", "background",
          "resolution", "printed_by", "paper", "notes", "problems")  # fmt: skip
WIDEST = 56  # letters of a cell on a terminal


def failing(found: Iterable[Finding]) -> list[Finding]:
    """What speaks against a print; numbers from memory speak against nobody."""
    return [finding for finding in found if finding.fails and not finding.recalled]


def check_text(found: Sequence[Finding], checked: Sequence[Paper], everything: bool = False) -> str:
    """The findings by kind, those that hold too with `everything`; then numbers from memory, then what only reading shows."""
    kept = list(found) if everything else failing(found)
    parts = [_group(title, [one for one in kept if one.kind == kind]) for kind, title in KINDS.items()]
    memory = [one for one in found if one.fails and one.recalled]
    parts.append(_group("Recalled numbers that do not fit: check them, they say nothing of the paper", memory))
    provenance = list(_provenance(checked))
    if provenance:
        parts.append("\n".join(["Provenance: no arithmetic shows it", *(f"  {line}" for line in provenance)]))
    return "\n\n".join([*filter(None, parts), "\n".join(_summary(found, checked, len(provenance)))])


def _group(title: str, found: Sequence[Finding]) -> str:
    if not found:
        return ""
    rows = [
        (one.row, one.place, f"{one.quantity} {one.printed}", points(one.computed), signed(one), one.verdict,
         one.source, one.detail)
        for one in found
    ]  # fmt: skip
    head = ("row", "where", "printed", "computed", "less", "verdict", "printed by", "computed from")
    return f"{title}\n{_aligned([head, *rows])}"


def signed(finding: Finding) -> str:
    """Printed less computed, in points."""
    return f"{float(finding.difference):+.2f}"


def _summary(found: Sequence[Finding], checked: Sequence[Paper], provenance: int) -> Iterator[str]:
    of = {kind: [one for one in found if one.kind == kind and not one.recalled] for kind in KINDS}
    memory = [one for one in found if one.recalled]
    harmonic, copies, claims = (of[kind] for kind in ("harmonic", "copy", "claim"))
    yield f"harmonic mean: {len(harmonic)} rows, {len(failing(harmonic))} fail"
    for source in dict.fromkeys(one.source for one in of["composition"] if one.fails):
        own = [one for one in of["composition"] if one.source == source]
        yield f"composition: {plain(source)}: {composition_words(own)}"
    rest = [
        one for one in of["composition"] if not any(two.fails and two.source == one.source for two in of["composition"])
    ]
    yield f"composition: {len(rest)} {'other ' if len(rest) < len(of['composition']) else ''}rows, all exact"
    yield f"copies: {len(copies)} further prints of a quantity, {len(failing(copies))} differ"
    yield f"claims: {len(claims)} stated gains, {len(failing(claims))} not in the table"
    yield f"identical cells: {len(failing(of['identical']))}"
    if memory:
        yield f"with recalled numbers: {len(memory)} checks, {sum(one.fails for one in memory)} do not fit"
    numbers = sum(len(value.numbers) for value in values_of(checked))
    yield (
        f"{len(failing(found))} failures in {len(found)} checks of {numbers} numbers, {len(checked)} "
        f"file{'s' if len(checked) != 1 else ''}; {provenance} problem{'s' if provenance != 1 else ''} of provenance"
    )


def composition_words(found: Sequence[Finding]) -> str:
    """ "24 rows, 7 exact, 17 not, 11 of these by more than 0.2 points"."""
    off = [one for one in found if one.fails]
    far = sum(one.verdict == "off by more than 0.2" for one in off)
    return f"{len(found)} rows, {len(found) - len(off)} exact, {len(off)} not, {far} of these by more than 0.2 points"


def _provenance(checked: Sequence[Paper]) -> Iterator[str]:
    for one in checked:
        for problem in one.problems:
            yield f"{plain(one.title)}: {plain(problem)}"
        told = dict.fromkeys((v.row, v.protocol.table, text) for v in one.values for text in v.problems)
        for row, table, text in told:
            yield f"{plain(row)} ({plain(table)}): {plain(text)}"


def check_rows(found: Iterable[Finding]) -> list[dict[str, Any]]:
    """One object per check. computed, difference: in points, to 4 digits."""
    return [
        {"check": one.kind, "row": one.row, "place": one.place, "source": one.source, "quantity": one.quantity,
         "printed": one.printed, "computed": round(float(one.computed), 4), "difference": round(float(one.difference), 4),
         "verdict": one.verdict, "fails": one.fails, "recalled": one.recalled, "detail": one.detail}
        for one in found
    ]  # fmt: skip


def list_rows(values: Iterable[Published]) -> list[dict[str, Any]]:
    """One object per row of a paper. marked: numbers whose certainty is not the row's, "S recalled, not checked"."""
    return [
        {"method": v.method, "row": v.row, "data": v.protocol.data, "split": v.protocol.split, "table": v.protocol.table,
         **{column: number.text for column, number in v.numbers.items()}, "certainty": v.certainty,
         "marked": "; ".join(f"{c} {n.certainty}" for c, n in v.numbers.items() if n.mark != v.mark),
         "setting": v.setting, "scope": v.protocol.scope, "background": v.protocol.background, "resolution": v.resolution,
         "printed_by": v.printed_by, "paper": v.paper, "notes": " ".join(v.notes), "problems": " ".join(v.problems)}
        for v in values
    ]  # fmt: skip


def list_text(values: Sequence[Published]) -> str:
    """One line per row: numbers with a mark where they are not as sure as a print is, then the protocol and the source."""
    columns = [column for column in COLUMNS if any(column in value.numbers for value in values)]
    head = ("method", "split", *columns, "certainty", "printed by", "protocol")
    rows = [
        (value.method, value.protocol.split, *(_cell(value, column) for column in columns), value.certainty, value.printed_by,
         _protocol(value))
        for value in values
    ]  # fmt: skip
    marks = {"R": "(R) recalled, not checked: no target", "C": "(C) computed here, not printed"}
    used = {number.mark for value in values for number in value.numbers.values()}
    return "\n".join([_aligned([head, *rows]), *(words for mark, words in marks.items() if mark in used)])


def _cell(value: Published, column: str) -> str:
    number = value.numbers.get(column)
    if number is None:
        return "–"
    return f"{number.text} ({number.mark})" if number.mark in "RC" else number.text


def _protocol(value: Published) -> str:
    open_ = unstated(value)
    return ", ".join(words_of(value)) + (f"; not stated: {', '.join(open_)}" if open_ else "")


def show_text(one: Paper) -> str:
    """All that a file holds, for reading."""
    parts = ["\n".join([plain(one.title), f"  {plain(one.source)}; {one.certainty}"])]
    parts.append("\n".join(f"- {plain(note)}" for note in one.notes))
    if one.values:
        parts.append(list_text(one.values))
    for title, told in (("Before a number is used", _row_notes(one)), ("Problems", list(_provenance([one])))):
        parts.append("\n".join([title, *(f"- {line}" for line in told)]) if told else "")
    for paper in one.unread:
        told = [*paper.claims, *paper.notes]
        parts.append(
            "\n".join(
                [f"{plain(paper.method)}: {plain(paper.title)}; {plain(paper.why)}", *(f"- {plain(t)}" for t in told)]
            )
        )
    return "\n\n".join(filter(None, parts))


def _row_notes(one: Paper) -> list[str]:
    protocols = dict.fromkeys(
        (v.protocol.table, v.protocol.data, note) for v in one.values for note in v.protocol.notes
    )
    rows = dict.fromkeys((v.row, v.protocol.table, note) for v in one.values for note in v.notes)
    return [f"{plain(a)} ({plain(b)}): {plain(note)}" for a, b, note in (*protocols, *rows)]


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    return json.dumps(rows, ensure_ascii=True, indent=1)


def found_csv(found: Iterable[Finding]) -> str:
    """As the page's tables: text that a spreadsheet would run as a formula gets an apostrophe."""
    return as_csv(
        FOUND, [row | {"fails": _yes(row["fails"]), "recalled": _yes(row["recalled"])} for row in check_rows(found)]
    )


def listed_csv(values: Iterable[Published]) -> str:
    return as_csv(LISTED, list_rows(values))


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def plain(text: str) -> str:
    """Without anything that would move a terminal's cursor or change its colours."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side, the last one as long as it is; numbers to the right."""
    cells = [[_short(plain(cell)) for cell in row[:-1]] + [plain(row[-1])] for row in rows]
    widths = [max(len(row[place]) for row in cells) for place in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
