"""Names of images from files of every usual kind: text, .npy, COCO's .json, tables with a column of file names.

Choices: a .npy is never unpickled; a line with several fields (image and mask, image and class) gives its first; in a
table the column is found by its usual name, and one with captions may name an image several times. Whatever lies in
the file is only a name here: no path of it is opened.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from zsbench.data.caption_files import CAPTION_NAMES, IMAGE_NAMES, NUMBERED, column
from zsbench.errors import UserError
from zsbench.overlap.ids import SUFFIXES

LARGEST = 1 << 30  # bytes of a file; COCO's instances_train2017.json has 0.45 GB
LONGEST = 4096  # characters of a name
MARKS = {"-1", "0", "1"}  # of VOC's lists per class: "2007_000032  1"
FORMS = (".txt", ".lst", ".npy", ".json", ".jsonl", ".ndjson", ".csv", ".tsv")


class Names(NamedTuple):
    """names as written, how they were read, and whether a name may come more than once."""

    names: tuple[str, ...]
    form: str
    repeats: bool = False


def read_names(file: Path) -> Names:
    """What a file lists. Raises UserError naming the file for everything that cannot be read as a list of images."""
    suffix = file.suffix.casefold()
    if suffix not in FORMS:
        raise UserError(f"{file}: no list of images; expected {', '.join(FORMS)}, a folder of images or a data set.")
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:
            raise UserError(f"{file}: not a file of at most {LARGEST >> 30} GiB.")
        found = _READ[suffix](file)
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise UserError(f"{file}: cannot be read as a list of images ({fault}).") from None
    for name in found.names:
        if not name or len(name) > LONGEST or "\0" in name:
            raise UserError(f"{file}: {name[:60]!r} is no image name.")
    return found


def _text(file: Path) -> Names:
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    lines = [line for line in lines if line]
    if any("\t" in line for line in lines[:1]):
        return _table(file, [line.split("\t") for line in lines], "a table")
    return Names(tuple(map(_first, lines)), "one name per line")


def _first(line: str) -> str:
    """`JPEGImages/x.jpg SegmentationClassAug/x.png` is x.jpg; a name with spaces in it stays whole."""
    fields = line.split()
    if len(fields) > 1 and (fields[0].casefold().endswith(SUFFIXES) or set(fields[1:]) <= MARKS):
        return fields[0]
    return line


def _numpy(file: Path) -> Names:
    import numpy as np

    from zsbench.data.pixels import BROKEN_ARRAY

    try:
        values = np.load(file, mmap_mode="r", allow_pickle=False)  # mapped: a header may promise terabytes
    except BROKEN_ARRAY as fault:
        raise UserError(
            f"{file}: not a plain array of names ({fault}). Pickled objects are not opened, they can run code; convert"
            " a file that you trust: np.save(file, np.array(list(names), dtype=str))"
        ) from None
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "USiu":
        raise UserError(f"{file}: {getattr(values, 'dtype', 'an archive')}; expected one row of names or numbers.")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    return Names(tuple(str(value).strip() for value in values), "array of names")


def _json(file: Path) -> Names:
    try:
        told = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as fault:
        raise UserError(f"{file}: not readable as JSON ({fault}).") from None
    images = told.get("images") if isinstance(told, dict) else told
    if not isinstance(images, list):
        raise UserError(f'{file}: expected COCO annotations ("images": [{{"file_name": …}}]) or a list of names.')
    form = "JSON list" if images is told else "images of COCO annotations"
    return Names(tuple(_image(file, value) for value in images), form)


def _image(file: Path, value: Any) -> str:
    if isinstance(value, dict):
        value = next((value[name] for name in (*IMAGE_NAMES, "id") if value.get(name) not in (None, "")), None)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise UserError(f"{file}: {str(value)[:60]!r} names no image; expected a file name or a number.")
    return value.strip()


def _json_lines(file: Path) -> Names:
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError):
                raise UserError(f"{file}: line {number} is not JSON.") from None
    captions = any(isinstance(row, dict) and column(row, CAPTION_NAMES) for row in rows[:1])
    return Names(tuple(_image(file, row) for row in rows), "JSON lines", captions)


def _commas(file: Path) -> Names:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return _table(file, csv.reader(lines), "a table")


def _tabs(file: Path) -> Names:
    lines = file.read_text(encoding="utf-8-sig").split("\n")
    return _table(file, (line.rstrip("\r").split("\t") for line in lines), "a table")


def _table(file: Path, rows: Iterable[list[str]], form: str) -> Names:
    """A heading names the column; without one the first column is it, as in Flickr8k's `name.jpg#0<TAB>caption`."""
    kept = [row for row in rows if any(field.strip() for field in row)]
    if not kept:
        return Names((), form)
    image, caption = column(kept[0], IMAGE_NAMES), column(kept[0], CAPTION_NAMES)
    at = kept[0].index(image) if image else 0
    headed = image is not None
    if not headed and len(kept[0]) > 2 and not kept[0][0].casefold().endswith(SUFFIXES):
        raise UserError(
            f"{file}: which column names the images? The first line is {', '.join(kept[0])[:80]!r}; expected a heading"
            f" with one of {', '.join(IMAGE_NAMES)}."
        )
    rows = kept[headed:]
    if short := next(
        (number for number, row in enumerate(rows, 1 + headed) if len(row) <= at or not row[at].strip()), 0
    ):
        raise UserError(f"{file}: row {short} has no image name in column {at + 1}.")
    captions = caption is not None if headed else len(kept[0]) == 2
    what = f"{form}, column '{image}'" if headed else f"{form}, first column"
    return Names(tuple(NUMBERED.sub("", row[at].strip()) for row in rows), what, captions)


_READ = {
    ".txt": _text, ".lst": _text, ".npy": _numpy, ".json": _json, ".jsonl": _json_lines, ".ndjson": _json_lines,
    ".csv": _commas, ".tsv": _tabs,
}  # fmt: skip
