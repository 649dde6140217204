"""Hugging Face `datasets` with a column of photographs and one of label maps: from the hub, saved on disk, or parquet.

    --data hf:NAME[:CONFIG]      on the hub; downloaded into the cache of `datasets` once
    --data hf:PATH               a folder that save_to_disk wrote, a parquet file, or a folder of parquet files

Pictures stay encoded until they are asked for, and are decoded within the limits of `pixels.py`. What ids mean is said by a
class file (--classes, or classes.txt in the folder) or by the table's own features. Image keys are file names where a
column has them, else "train-000123".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zsbench.data import encoded
from zsbench.data.caption_hub import encoded as cell_bytes
from zsbench.data.caption_pairs import Corrupt
from zsbench.data.dataset import Origin
from zsbench.data.hub_columns import NAMES, class_file_of, labels_in, names_in, picture_columns
from zsbench.data.hub_source import PREFIX, Source, looks_saved, open_source
from zsbench.data.lists import SAFE_NAME, list_sha256
from zsbench.data.own_dataset import ABSENT_SIZE, SAMPLED, OwnDataset
from zsbench.data.own_ids import OwnIds, find_class_file, own_ids, read_own_ids
from zsbench.data.own_split import UNSEEN, unseen_faults
from zsbench.data.reader import Hints, Reader
from zsbench.errors import UserError

SUFFIX = re.compile(r"\.(jpe?g|png|webp|bmp|tiff?)$", re.IGNORECASE)
ABSENT = "Its splits are looked for under the names train, and validation, val or test."


@dataclass(frozen=True)
class Table:
    """Encoded pictures by image key. images, masks: part -> its table with that one column; rows: key -> part, row."""

    title: str
    images: dict[str, Any]
    masks: dict[str, Any]
    rows: dict[str, tuple[str, int]]
    folder: Path

    def photo(self, key: str) -> np.ndarray:
        return encoded.photo_of(self.photo_bytes(key), self._place(key, "photograph"))

    def shape(self, key: str) -> tuple[int, int]:
        return encoded.shape_of(self.photo_bytes(key), self._place(key, "photograph"))

    def mask(self, key: str) -> np.ndarray:
        return encoded.ids_of(self._cell(self.masks, key, "label map"), self.where(key))

    def where(self, key: str) -> str:
        return self._place(key, "label map")

    def mask_sha256(self, key: str) -> str:
        return hashlib.sha256(self._cell(self.masks, key, "label map")).hexdigest()

    def photo_sizes(self, keys: Sequence[str]) -> list[int]:
        sizes = {part: _sizes(self.images[part]) for part in {self.rows[key][0] for key in keys}}
        return [self._size(key, sizes) for key in keys]

    def photo_sha256(self, key: str) -> str:
        return hashlib.sha256(self.photo_bytes(key)).hexdigest()

    def _size(self, key: str, sizes: dict[str, list[int | None]]) -> int:
        part, row = self.rows[key]
        size = sizes[part][row]
        if size is not None:
            return size
        try:
            return len(self.photo_bytes(key))  # a file beside the table
        except UserError:
            return ABSENT_SIZE

    def photo_bytes(self, key: str) -> bytes:
        return self._cell(self.images, key, "photograph")

    def _place(self, key: str, what: str) -> str:
        part, row = self.rows[key]
        return f"{self.title}, {part}, row {row}: {what}"

    def _cell(self, tables: dict[str, Any], key: str, what: str) -> bytes:
        part, row = self.rows[key]
        (value,) = tables[part][row].values()
        try:
            return cell_bytes(value, self.folder)
        except (Corrupt, OSError) as fault:
            raise UserError(f"{self._place(key, what)}: cannot be read ({fault}).") from None


def survey(root: Path, hints: Hints) -> tuple[OwnDataset, list[str]]:
    """The data set at a path or address, and the faults that its rows show without decoding them."""
    source = open_source(str(root))
    columns = _columns(source, hints)
    images, masks = ({part: _encoded(table, name) for part, table in source.tables.items()} for name in columns)
    rows = _keys(source)
    table = Table(source.title, images, masks, rows, source.folder)
    parts = {part: tuple(key for key in rows if rows[key][0] == part) for part in source.tables}
    ids, said = _ids(source, table, parts, hints)
    origin = Origin("real", source.title, _fingerprint(source, columns, parts, ids), (*source.notes, said, *ids.notes))
    protected = (*source.protected, *_files_folder(table, parts))
    unseen = source.beside and source.beside / UNSEEN
    dataset = OwnDataset(source.root, parts, ids.names, ids.serves, origin, protected, ids, table, unseen, ABSENT)
    return dataset, list(unseen_faults(dataset))


READER = Reader(
    "hf", "Hugging Face data sets", ("own",), f"{PREFIX}NAME, {PREFIX}PATH, or a folder of parquet files", looks_saved, survey,
    ("classes", "first_id", "image", "mask"),
)  # fmt: skip


def _columns(source: Source, hints: Hints) -> tuple[str, str]:
    """One pair of columns for all parts."""
    found = {picture_columns(table.features, hints, source.title) for table in source.tables.values()}
    if len(found) > 1:
        raise UserError(
            f"{source.title}: its splits have different columns; name them with --image-column, --mask-column"
        )
    return found.pop()


def _encoded(table: Any, column: str) -> Any:
    """The one column, its pictures not decoded."""
    import datasets

    table = table.select_columns([column])
    if isinstance(table.features[column], datasets.Image):
        table = table.cast_column(column, datasets.Image(decode=False))
    return table


def _sizes(table: Any) -> list[int | None]:
    """Bytes of every cell of a table with one column, from Arrow's offsets; None where a cell names a file."""
    import pyarrow as pa
    import pyarrow.compute as pc

    sizes: list[int | None] = []
    for batch in table.with_format("arrow").iter(1_000):
        for cells in batch.column(0).chunks:
            held = cells.field("bytes") if pa.types.is_struct(cells.type) else cells
            binary = pa.types.is_binary(held.type) or pa.types.is_large_binary(held.type)
            sizes += pc.binary_length(held).to_pylist() if binary else [None] * len(held)
    return sizes


def _fingerprint(source: Source, columns: tuple[str, str], parts: dict[str, tuple[str, ...]], ids: OwnIds) -> str:
    """Of what is made of the tables, not of the place or the store they lie in; `contents.sealed` adds the label maps."""
    lists = {part: list_sha256(keys) for part, keys in parts.items()}
    facts = [lists, columns, sorted(ids.stored.items()), source.revision]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _files_folder(table: Table, parts: dict[str, tuple[str, ...]]) -> tuple[Path, ...]:
    """The folder of pictures that stand in files beside the table; none where cells hold them."""
    first = (tables[part][0] for tables in (table.images, table.masks) for part in parts)
    values = [value for row in first for value in row.values()]
    held = all(isinstance(value, bytes) or (isinstance(value, dict) and value.get("bytes")) for value in values)
    return () if held else (table.folder,)


# What ids mean


def _ids(source: Source, table: Table, parts: dict[str, tuple[str, ...]], hints: Hints) -> tuple[OwnIds, str]:
    """The classes, and where their names were found."""
    if file := find_class_file(source.beside, hints.classes):
        return read_own_ids(file, hints.first_id), f"classes of {file.name}"
    part, whole = next(iter(source.tables.items()))
    column, names = names_in(whole.features, source.title)
    labels = _labels(whole.select_columns([column]), column, list(parts[part]), table)
    found = class_file_of(names, column, source.title, labels if hints.first_id is None else ())
    place = f"the names of column '{column}'"
    return own_ids(found, hints.first_id, place), f"classes are {place}"


def _labels(column_of: Any, column: str, keys: list[str], table: Table) -> Iterator[tuple[set[int], np.ndarray]]:
    """Labels and label map of rows from all over the table."""
    for i in range(0, len(keys), max(1, len(keys) // SAMPLED)):
        with suppress(UserError):  # a broken label map is told of when it is read
            yield labels_in(column_of.features[column], column_of[i][column]), table.mask(keys[i])


# Keys


def _keys(source: Source) -> dict[str, tuple[str, int]]:
    """Image key -> part and row: by a column of file names where one is unique and safe, else by number."""
    for column in NAMES:
        if not all(column in table.column_names for table in source.tables.values()):
            continue
        found = {part: [_stem(value) for value in table[column]] for part, table in source.tables.items()}
        names = [name for part in found.values() for name in part]
        if all(names) and len(set(names)) == len(names):
            return {n: (part, i) for part, own in found.items() for i, n in enumerate(own) if n}
    return {f"{part}-{i:06d}": (part, i) for part, table in source.tables.items() for i in range(len(table))}


def _stem(value: Any) -> str | None:
    """An image's name from a cell with a file name or a number; None for what cannot be one."""
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        return None
    name = SUFFIX.sub("", re.split(r"[/\\]", str(value))[-1])
    return name if SAFE_NAME.fullmatch(name) else None
