"""Parquet, and Arrow's own files (.arrow, .feather, data sets saved by Hugging Face `datasets`): only the captions.

Choices: of parquet only the column of captions is read, and pages are held against their checksums where they have some.
Arrow files on disk are mapped, for only so can one column be read alone, and pages that have been read are given back.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zsbench.errors import UserError
from zsbench.leakage.batch import Batch, Intake
from zsbench.leakage.reading import blocks
from zsbench.leakage.reading.layout import Fragment, refuse_pointer
from zsbench.leakage.reading.sources import first_line, is_uri, open_file
from zsbench.leakage.reading.streams import head
from zsbench.leakage.reading.texts import read_batches, text_column

KEPT = 64 << 20  # bytes of a mapped file that may stay in memory behind the reader


def plan_parquet(whole: Fragment, column: str | None, fragment_bytes: int) -> list[Fragment]:
    """Runs of row groups whose columns of captions are about `fragment_bytes` together."""
    try:
        with _as_os_error(), open_file(whole.source) as file:
            meta = pq.ParquetFile(file).metadata
            whole = replace(whole, column=text_column(whole.source, meta.schema.to_arrow_schema(), column))
            sizes = [_stored(meta, group, whole.column) for group in range(meta.num_row_groups)]
    except OSError:
        return _damaged(whole, column)
    if not sizes:
        return [replace(whole, bytes=0)]
    return [replace(whole, start=a, stop=b, bytes=sum(sizes[a:b])) for a, b in _runs(sizes, fragment_bytes)]


def _damaged(whole: Fragment, column: str | None) -> list[Fragment]:
    """A fragment that will be told broken when it is read: the others can still be scanned."""
    if whole.bytes < 1000:
        refuse_pointer(whole.source, head(whole.source))
    return [replace(whole, column=column or "")]


def _runs(sizes: list[int], most: int) -> Iterator[tuple[int, int]]:
    begin, held = 0, 0
    for at, size in enumerate(sizes):
        if at > begin and held + size > most:
            yield begin, at
            begin, held = at, 0
        held += size
    yield begin, len(sizes)


def _stored(meta: Any, group: int, column: str) -> int:
    return sum(chunk.total_compressed_size for chunk in _chunks(meta, group, column))


def _chunks(meta: Any, group: int, column: str) -> list[Any]:
    chunks = (meta.row_group(group).column(i) for i in range(meta.num_columns))
    return [
        chunk for chunk in chunks if chunk.path_in_schema == column or chunk.path_in_schema.startswith(column + ".")
    ]


def read_parquet(fragment: Fragment, intake: Intake) -> Iterator[Batch]:
    """The captions of the fragment's row groups. Raises OSError where the file is damaged."""
    with open_file(fragment.source) as file, _as_os_error():
        source = pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=is_uri(fragment.source))
        column = fragment.column or text_column(fragment.source, source.schema_arrow, None)
        groups = range(fragment.start, fragment.stop or source.num_row_groups)
        rows = _rows_at_once(source.metadata, groups, column)
        batches = source.iter_batches(rows, row_groups=list(groups), columns=[column], use_threads=False)
        yield from read_batches(batches, column, intake)
    intake.bytes += fragment.bytes


def _rows_at_once(meta: Any, groups: range, column: str) -> int:
    """Rows that make a block of captions, by the mean size of one: captions may be words or pages."""
    rows = sum(meta.row_group(group).num_rows for group in groups)
    size = sum(chunk.total_uncompressed_size for group in groups for chunk in _chunks(meta, group, column))
    return min(max(blocks.BLOCK * rows // max(size, 1), 256), blocks.ROWS)


def plan_arrow(whole: Fragment, column: str | None, fragment_bytes: int) -> list[Fragment]:
    """Runs of record batches of a local file; an object is read as a whole."""
    try:
        with _as_os_error(), _opened(whole.source) as (reader, forget):
            named = replace(whole, column=text_column(whole.source, reader.schema, column))
            count = 0 if is_uri(whole.source) else sum(1 for _ in _between(reader, forget, 0, blocks.FOREVER))
    except OSError:
        return _damaged(whole, column)
    whole = named
    parts = min(max(-(-whole.bytes // fragment_bytes), 1), max(count, 1))
    cuts = [count * n // parts for n in range(parts + 1)]
    sizes = [whole.bytes * (n + 1) // parts - whole.bytes * n // parts for n in range(parts)]
    return [replace(whole, start=cuts[n], stop=cuts[n + 1], bytes=sizes[n]) for n in range(parts)]


def read_arrow(fragment: Fragment, intake: Intake) -> Iterator[Batch]:
    """The captions of the fragment's record batches. Raises OSError where the file is damaged."""
    with _as_os_error(), _opened(fragment.source) as (reader, forget):
        column = fragment.column or text_column(fragment.source, reader.schema, None)
        wanted = _between(reader, forget, fragment.start, fragment.stop or blocks.FOREVER)
        yield from read_batches(wanted, column, intake)
    intake.bytes += fragment.bytes


def _between(reader: Any, forget: Any, start: int, stop: int) -> Iterator[pa.RecordBatch]:
    for number, batch in enumerate(reader):
        if number >= stop:
            return
        if number >= start:
            yield batch
        forget(batch.nbytes)


@contextmanager
def _opened(source: str) -> Iterator[tuple[Any, Any]]:
    """The record batches of an Arrow file or stream, and a function that gives pages read so far back."""
    if is_uri(source):
        with open_file(source) as file:
            yield _reader(file), lambda size: None
        return
    with Path(source).open("rb") as file:
        if not file.seek(0, 2):
            raise OSError("the file is empty")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    yield _reader(pa.BufferReader(pa.py_buffer(mapped))), _Forget(mapped)


class _Forget:
    """Gives a mapping's pages back now and then; those still needed are fetched again by themselves."""

    def __init__(self, mapped: mmap.mmap):
        self.mapped, self.held = mapped, 0

    def __call__(self, size: int) -> None:
        self.held += size
        if self.held > KEPT and hasattr(mmap, "MADV_DONTNEED"):
            self.mapped.madvise(mmap.MADV_DONTNEED)
            self.held = 0


def _reader(file: Any) -> Any:
    magic = file.read(6)
    file.seek(0)
    if magic != b"ARROW1":
        return pa.ipc.open_stream(file)
    source = pa.ipc.open_file(file)
    return _File(source)


class _File:
    """An Arrow file with random access, as if it were a stream."""

    def __init__(self, source: Any):
        self.source, self.schema = source, source.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return (self.source.get_batch(number) for number in range(self.source.num_record_batches))


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except (OSError, UserError):
        raise
    except (ValueError, pa.ArrowException, KeyError, IndexError) as error:
        raise OSError(first_line(error)) from error
