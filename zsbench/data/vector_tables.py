"""Class vectors as an .npy table whose rows are named: by a text file, or by the data set in whose order they stand.

Names are one per line, in row order; a number before them ("0 background", "0: background") is dropped where every line
has one. A table without names is never read by position: the same row means another class in another project's order.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zsbench.data.universes import UNIVERSES
from zsbench.data.vector_files import Found
from zsbench.errors import UserError, unknown

# Published tables, by the first 12 digits of their hash: what their rows are cannot be seen in the numbers.
WORD_TABLES = {
    "fd9fd31d3408", "c19790681fdb", "5cf58a56832e",  # SPNet, VOC: word2vec, fastText, GloVe (also CaGNet, JoEm)
    "3a2b948b2a0a", "ae281f8891c0", "41c6f39b7ea2",  # SPNet, COCO-Stuff
    "bec7e29b15ee", "9af703849d28",  # CaGNet, Context: word2vec, fastText (also JoEm)
    "fac4beb25ce0", "d3ba294822f3",  # ZS3Net: VOC, Context (also JoEm)
}  # fmt: skip
CLIP_TABLES = {
    "72d3642e34bc", "dd32beda49a5", "49190f380a10",  # ZegCLIP: VOC; COCO-Stuff, one prompt and several
    "402a3412ca3f",  # Cascade-CLIP: Context
}  # fmt: skip
_VOC_FIRST = {"d3ba294822f3"}  # ZS3Net's Context: background, VOC's twenty, the rest; not the order of "context60"

_NUMBERED = re.compile(r"(\d+)(?::\s*|\s+)(\S.*)")


def read_table(path: Path, names: str) -> Found:
    """Rows by name, float32. `names`: a file of names, a data set ("voc2012"), or "" for a file beside the table.

    Raises UserError for what is no (classes, dim) table of floats, and where names and rows are not as many.
    """
    table = _load(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    source = names or str(_beside(path))
    if source in UNIVERSES:
        _refuse_other_order(path, sha256, source)
        known, title = _in_order(path, source, len(table))
    else:
        known, title = _named(path, Path(source).expanduser(), len(table)), Path(source).name
    rows = {name: np.asarray(row, np.float32) for name, row in zip(known, table, strict=True)}
    return Found(table.shape[1], rows, sha256, {name: f"row {i} of {title}" for i, name in enumerate(known)})


def _load(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        if file.read(6) != np.lib.format.MAGIC_PREFIX:
            raise UserError(
                f"{path}: not an .npy file inside (archives and pickles are not read); save it with np.save."
            )
    try:
        table: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as fault:
        if "objects" in str(fault):
            raise UserError(f"{path}: holds Python objects, which can carry code; save plain numbers.") from None
        raise UserError(f"{path}: not a whole .npy file ({fault}).") from None
    if table.ndim == 3:
        raise UserError(
            f"{path}: shape {table.shape}, several vectors per class; expected (classes, dim). Give their mean:"
            f" np.save('mean.npy', np.load('{path.name}').mean(1))"
        )
    if table.ndim != 2 or not table.size:
        raise UserError(f"{path}: shape {table.shape}; expected (classes, dim), one vector per class.")
    if table.dtype.kind != "f":
        raise UserError(f"{path}: numbers of type {table.dtype}; expected floats (float16, float32 or float64).")
    return table


def _beside(path: Path) -> Path:
    near = [path.with_suffix(".names.txt"), path.with_suffix(".txt")]
    found = next((file for file in near if file.is_file()), None)
    if found is None:
        raise UserError(
            f"{path}: nothing names its rows. Say in which data set's order they stand ({', '.join(UNIVERSES)}), e.g."
            f" --set vector_names=voc2012, or give a text file with one name per row: --set vector_names=FILE"
        )
    return found


def _refuse_other_order(path: Path, sha256: str, dataset: str) -> None:
    if sha256[:12] in _VOC_FIRST:
        raise UserError(
            f"{path}: ZS3Net's vectors for Context do not stand in the order of {dataset}: background and VOC's 20 names"
            f" come first, as in classes-59.txt of PASCAL Context. Give that list: --set vector_names=classes-59.txt"
        )


def _in_order(path: Path, dataset: str, rows: int) -> tuple[Sequence[str], str]:
    """A data set's names for this many rows, and what to call their order."""
    names = UNIVERSES[dataset]
    if rows == len(names):
        return names, dataset
    if rows == len(names) - 1 and names[0] == "background":
        return names[1:], f"{dataset} without background"
    if dataset == "context33" and rows == len(names) + 1:  # CaGNet's tables
        return ("background", *names), f"{dataset} with background"
    raise UserError(f"{path}: {rows} rows, but {dataset} has {len(names)} names. {_advice(dataset, rows)}")


def _advice(dataset: str, rows: int) -> str:
    fits = [name for name, names in UNIVERSES.items() if len(names) == rows]
    if dataset == "cocostuff171" and rows == 182:
        return (
            "A table of 182 rows counts COCO-Stuff's ids, 11 of which are never annotated; give the list of the 182 names"
            " (labels.txt of COCO-Stuff without its line 'unlabeled'): --set vector_names=labels182.txt"
        )
    if fits:
        return f"As many rows as {fits[0]} has names: --set vector_names={fits[0]}"
    return "Give a text file with one name per row: --set vector_names=FILE"


def _named(path: Path, file: Path, rows: int) -> list[str]:
    if not file.is_file():
        if not file.suffix and len(file.parts) == 1:
            raise unknown("order of rows (or file of names)", str(file), UNIVERSES)
        raise UserError(f"no file of names at {file}")
    names = _names(file)
    if len(names) != rows:
        raise UserError(f"{path}: {rows} rows, but {file} has {len(names)} names; expected one per row, in row order.")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{file}: '{twice[0]}' is named {names.count(twice[0])} times; a name stands for one row.")
    return names


def _names(file: Path) -> list[str]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as fault:
        raise UserError(f"{file}: not a text file of names in UTF-8 ({fault}).") from None
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    matches = [match for match in numbered if match]
    if len(matches) < len(lines) or not lines:
        return lines
    ids = [int(match[1]) for match in matches]
    if ids != list(range(ids[0], ids[0] + len(ids))):
        raise UserError(f"{file}: its numbers do not count up by one, but rows stand in the order of lines; sort them.")
    return [match[2] for match in matches]
