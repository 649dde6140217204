"""Which column holds the captions: by its usual names, by a look at the first rows, or else the user is asked.

Choices: without a heading, two columns are told apart by what is no caption (addresses, file names, numbers), as in
CC3M (caption, address), CC12M (address, caption) and Flickr8k (name.jpg#0, caption); more columns are not guessed at. A
first row is a heading when a field of it is a usual name of a column and none looks like an address or a file.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from zsbench.data.caption_files import CAPTION_NAMES, IMAGE_NAMES, URL_NAMES, column
from zsbench.errors import UserError, unknown
from zsbench.leakage.reading.layout import BOM

CAPTIONS = (
    *("caption", "captions", "text", "raw", "txt", "sentence", "sentences", "alt", "alt_text", "alttext"),
    *(name for name in CAPTION_NAMES if name not in ("caption", "text", "sentence", "alt", "alt_text")),
    *("raw_caption", "caption_text", "text_caption", "original_caption", "image_caption", "prompt", "texts", "comment"),
)
OTHERS = (
    "id",
    "sample_id",
    "width",
    "height",
    "status",
    "similarity",
    "nsfw",
    "punsafe",
    "pwatermark",
    "license",
    "hash",
)
HEADINGS = frozenset((*CAPTIONS, *IMAGE_NAMES, *URL_NAMES, *OTHERS, "image_url", "img_url", "md5", "sha256", "lang"))

ROWS = 100  # first rows that are looked at
LOOK = 1000  # characters of a field: patterns take the square of its length at worst
MOSTLY = 0.8  # share of them that must look alike
ADDRESS = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?//\S+\s*|\s*www\.\S+\s*|\s*data:image/\S*", re.IGNORECASE)
FILE = re.compile(r"\s*\S(?:.*\S)?\.(?:jpe?g|png|webp|gif|bmp|tiff?|avif)(?:[#?]\S*)?\s*", re.IGNORECASE)
NUMBER = re.compile(r"\s*(?:[0-9a-f-]*[0-9][0-9a-f-]*|[-+]?[0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """Where the captions stand in lines of fields. header_bytes: byte order mark and heading."""

    column: str
    place: int
    fields: int
    delimiter: str
    header_bytes: int


def lines(source: str, head: bytes, wanted: str | None) -> Table:
    """A text without fields: every line is a caption."""
    if wanted not in (None, "", "0"):
        raise UserError(f"{source} is read as text, one caption per line, and has no column {wanted!r}.")
    return Table("0", 0, 1, "\n", _bom(head))


def table(source: str, head: bytes, whole: bool, wanted: str | None, quoted: bool) -> Table:
    """Fields between tabs, or (quoted) between commas as in RFC 4180. `head`: the first bytes; `whole`: that is all."""
    start = _bom(head)
    delimiter = _delimiter(head[start:]) if quoted else "\t"
    rows = _quoted_rows(head[start:], whole, delimiter) if quoted else _plain_rows(head[start:], whole)
    if not rows:
        return Table(wanted or "0", int(wanted or 0) if (wanted or "0").isdigit() else 0, 1, delimiter, start)
    heading = _is_heading(rows[0], wanted)
    if heading:
        place = _named(source, rows[0], wanted)
        header = start + _first_record(head[start:], quoted)
        return Table(rows[0][place].strip(), place, len(rows[0]), delimiter, header)
    place = _seen(source, rows, wanted)
    return Table(str(place), place, _width(rows), delimiter, start)


def objects(source: str, head: bytes, whole: bool, wanted: str | None) -> tuple[str, int]:
    """The key of the captions in JSON lines, and the length of a byte order mark."""
    names: dict[str, None] = {}
    start = _bom(head)
    for line in _raw_lines(head[start:], whole):
        try:
            value = json.loads(line.decode("utf-8", errors="replace"), strict=False)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            names.update(dict.fromkeys(value))
    if not names:  # nothing to go by: an empty file, or none that is JSON, which every line will tell
        return wanted or CAPTIONS[0], start
    return choose(source, list(names), wanted), start


def choose(source: str, names: Sequence[str], wanted: str | None) -> str:
    """The name of the column of captions among `names`. Raises `UserError` where it cannot be told."""
    if wanted:
        return _asked(source, names, wanted)
    found = column(names, CAPTIONS)
    if found is None:
        raise UserError(
            f"{source} has no column of captions by a usual name; its columns: {listed(names)}."
            " Name the right one with --caption-column."
        )
    return found


def listed(names: Sequence[str]) -> str:
    shown = ", ".join(ascii(name)[1:-1][:60] for name in names[:30])
    return shown + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def _asked(source: str, names: Sequence[str], wanted: str) -> str:
    folded = {name.strip().casefold(): name for name in names}
    if wanted in names:
        return wanted
    if wanted.strip().casefold() in folded:
        return folded[wanted.strip().casefold()]
    if wanted.isdigit() and int(wanted) < len(names):
        return names[int(wanted)]
    raise UserError(f"{source}: {unknown('column', wanted, names)} Its columns: {listed(names)}.")


def _named(source: str, row: list[str], wanted: str | None) -> int:
    return row.index(choose(source, row, wanted))


def _is_heading(row: list[str], wanted: str | None) -> bool:
    names = {field.strip().casefold() for field in row}
    if wanted and not wanted.isdigit() and wanted.strip().casefold() in names:
        return True
    return bool(names & HEADINGS) and not any(_is_name(field) for field in row)


def _is_name(field: str) -> bool:
    """Whether a field is an address, a file's name or a number, and so no caption."""
    return any(kind.fullmatch(field[:LOOK]) for kind in (ADDRESS, FILE, NUMBER))


def _seen(source: str, rows: list[list[str]], wanted: str | None) -> int:
    """The caption's place in a table without a heading."""
    width = _width(rows)
    if wanted:
        if wanted.isdigit() and int(wanted) < width:
            return int(wanted)
        what = f"only {width} columns" if wanted.isdigit() else "no heading with that name"
        raise UserError(f"{source} has no column {wanted!r}: it has {what}. {_first_row(rows[0])}")
    if width == 1:
        return 0
    even = [row for row in rows if len(row) == width]
    names = [sum(_is_name(row[place]) for row in even) >= MOSTLY * len(even) for place in range(width)]
    if width == 2 and sum(names) == 1:
        return names.index(False)
    raise UserError(
        f"{source} has {width} columns and no heading, and which one holds the captions cannot be told."
        f" {_first_row(rows[0])} Tell it with --caption-column INDEX, where 0 is the first."
    )


def _first_row(row: list[str]) -> str:
    shown = "  ".join(f"{place}: {field[:40]!a}" for place, field in enumerate(row[:12]))
    return f"Its first row is  {shown}."


def _width(rows: list[list[str]]) -> int:
    """The number of fields that most rows have."""
    return Counter(len(row) for row in rows).most_common(1)[0][0]


def _bom(head: bytes) -> int:
    return len(BOM) if head.startswith(BOM) else 0


def _raw_lines(text: bytes, whole: bool) -> list[bytes]:
    """The first lines that are not blank; the last only when it is known to be complete."""
    parts = text.split(b"\n", 5 * ROWS)
    complete = parts if whole or len(parts) == 1 else parts[:-1]
    return [line.removesuffix(b"\r") for line in complete if line.strip()][:ROWS]


def _plain_rows(text: bytes, whole: bool) -> list[list[str]]:
    return [line.decode("utf-8", errors="replace").split("\t") for line in _raw_lines(text, whole)]


def _delimiter(text: bytes) -> str:
    """A comma, unless the first record has none but tabs or semicolons (written so by many a spreadsheet)."""
    first = re.sub(rb'"[^"]*"', b"", text[: _first_record(text, True)])
    return "," if b"," in first else "\t" if b"\t" in first else ";" if b";" in first else ","


def _quoted_rows(text: bytes, whole: bool, delimiter: str) -> list[list[str]]:
    end = len(text) if whole else max(text.rfind(b"\n"), 0) or len(text)
    rows = csv.reader(io.StringIO(text[:end].decode("utf-8", errors="replace"), newline=""), delimiter=delimiter)
    found: list[list[str]] = []
    try:
        for row in rows:
            if row:
                found.append(row)
            if len(found) == ROWS:
                break
    except csv.Error:
        pass  # told line by line when it is read
    return found


def _first_record(text: bytes, quoted: bool) -> int:
    """The length of the first record with its line end; quotes may hold line ends."""
    end, quotes = -1, 0
    while (next_end := text.find(b"\n", end + 1)) >= 0:
        quotes += text.count(b'"', end + 1, next_end)
        end = next_end
        if not quoted or quotes % 2 == 0:
            return end + 1
    return len(text)
