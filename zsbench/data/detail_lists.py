"""Image lists of PASCAL Context from `trainval_merged.json` of the Detail API, where no text files of them were made.

The file has hundreds of megabytes of polygons and one array `images` of small objects with `file_name` and `phase` (in
some copies `split`). Only that array is parsed, object by object; the rest is never held.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zsbench.data.lists import SAFE_NAME
from zsbench.errors import UserError

START = re.compile(rb'"images"\s*:\s*\[')
SPACE = re.compile(rb"[\s,]*")
LARGEST_OBJECT = 2**18  # bytes; the real ones have a few hundred
MOST = 100_000  # images; the real file has 10,103
PHASES = {"train": "train", "val": "val", "trn": "train"}


def read_detail_lists(file: Path) -> dict[str, tuple[str, ...]]:
    """List name ("train", "val") -> image names in the file's order. Raises UserError naming the file."""
    parts: dict[str, dict[str, None]] = {}
    for number, image in enumerate(_images(file), 1):
        name, phase = image.get("file_name"), image.get("phase", image.get("split"))
        stem = name.removesuffix(".jpg") if isinstance(name, str) else ""
        if not SAFE_NAME.fullmatch(stem) or not isinstance(phase, str):
            raise UserError(
                f"{file}: image {number} has file_name {str(name)[:60]!r} and phase {str(phase)[:20]!r}; expected such as "
                "'2008_000002.jpg' and 'train'."
            )
        if phase in PHASES:
            if stem in parts.setdefault(PHASES[phase], {}):
                raise UserError(f"{file}: {stem} is listed more than once for {phase}.")
            parts[PHASES[phase]][stem] = None
    if not parts:
        raise UserError(f"{file}: none of its images has the phase train or val.")
    return {part: tuple(names) for part, names in parts.items()}


def _images(file: Path) -> Iterator[dict[str, Any]]:
    if not file.is_file() or not file.stat().st_size:
        raise UserError(f"{file}: not the Detail API's trainval_merged.json: it is empty or no file.")
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as text:
        start = START.search(text)
        if start is None:
            raise UserError(f'{file}: not the Detail API\'s trainval_merged.json: it has no list "images".')
        place = start.end()
        for _ in range(MOST):
            place = SPACE.match(text, place).end()  # type: ignore[union-attr]  # matches the empty string too
            if text[place : place + 1] == b"]":
                return
            image, place = _object(file, text, place)
            yield image
        raise UserError(f"{file}: more than {MOST:,} images; the real file has 10,103.")


def _object(file: Path, text: mmap.mmap, place: int) -> tuple[dict[str, Any], int]:
    """The JSON object that begins at `place`, and where it ends."""
    window = 2**12
    while window <= LARGEST_OBJECT:
        piece = text[place : place + window]
        try:
            found, used = json.JSONDecoder().raw_decode(
                piece.decode("latin-1")
            )  # one character per byte; names are ASCII
        except (ValueError, RecursionError):
            if len(piece) < window:
                break
            window *= 8
            continue
        if not isinstance(found, dict):
            break
        return found, place + used
    raise UserError(
        f'{file}: broken at byte {place:,}; expected the next image of its list, such as {{"file_name": …}}.'
    )
