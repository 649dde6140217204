"""Parquet, and Arrow's own files (.arrow, .feather, data sets saved by Hugging Face `datasets`): only the captions.

Choices: of parquet only the column of captions is read, and pages are held against their checksums where they have some.
Arrow files on disk are mapped, for only so can one column be read alone, and pages that have been read are given back.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
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
from zsbench.leakage.reading.texts import read_batches, sizes, text_column

KEPT = 64 << 20  # bytes of a mapped file that may stay in memory behind the reader
DECODED = 64 << 20  # bytes of captions that one reading of a parquet file may decode
FEW = 64  # rows read at once where nothing is known of them
AHEAD = 1 << 16  # bytes of a local file read at once to see a dictionary


def plan_parquet(whole: Fragment, column: str | None, fragment_bytes: int) -> list[Fragment]:
    """Runs of row groups whose columns of captions are about `fragment_bytes` together."""
    try:
        with _as_os_error(), open_file(whole.source) as file:
            meta = pq.ParquetFile(file).metadata
            whole = replace(whole, column=text_column(whole.source, meta.schema.to_arrow_schema(), column))
            stored = [_stored(meta, group, whole.column) for group in range(meta.num_row_groups)]
    except OSError:
        return _damaged(whole, column)
    if not stored:
        return [replace(whole, bytes=0)]
    return [replace(whole, start=a, stop=b, bytes=sum(stored[a:b])) for a, b in _runs(stored, fragment_bytes)]


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
        yield from read_batches(_decoded(source, file, groups, column), column, intake)
    intake.bytes += fragment.bytes


def _decoded(source: Any, file: Any, groups: range, column: str) -> Iterator[pa.RecordBatch]:
    """Record batches of the row groups; neighbours are read together where their captions are about as long."""
    compact = pa.types.is_dictionary(source.schema_arrow.field(column).type)  # stays encoded when it is read
    sized = ((group, _rows_at_once(source.metadata, group, column, None if compact else file)) for group in groups)
    for rows, run in groupby(sized, key=itemgetter(1)):
        some = [group for group, _ in run]
        yield from source.iter_batches(rows, row_groups=some, columns=[column], use_threads=False)


def _rows_at_once(meta: Any, group: int, column: str, file: Any) -> int:
    """Rows that make a block of captions, a power of two: by the mean size of one, for captions may be words or pages.

    Where captions are encoded, no more than make DECODED bytes if all of them are as long as the longest.
    """
    rows, chunks = meta.row_group(group).num_rows, _chunks(meta, group, column)
    most = blocks.BLOCK * rows // max(sum(chunk.total_uncompressed_size for chunk in chunks), 1)
    for chunk in chunks if file is not None else []:
        each = max(-(-chunk.num_values // max(rows, 1)), 1)  # captions of a row
        if "DELTA_BYTE_ARRAY" in chunk.encodings:
            most = min(most, max(DECODED // max(chunk.total_uncompressed_size * each, 1), FEW))
        elif _repeats(chunk) and each * chunk.total_uncompressed_size * min(most, rows) > DECODED:
            most = min(most, DECODED // max(_longest(meta, group, column, chunk, file) * each, 1))
    return 1 << (min(max(most, 1), blocks.ROWS).bit_length() - 1)


def _repeats(chunk: Any) -> bool:
    return chunk.physical_type == "BYTE_ARRAY" and any("DICTIONARY" in name for name in chunk.encodings)


def _longest(meta: Any, group: int, column: str, chunk: Any, file: Any) -> int:
    """Bytes of the longest caption in the dictionary of a column's chunk, or of one that could be there."""
    try:
        names, size = [chunk.path_in_schema], AHEAD if isinstance(file, pa.OSFile) else blocks.BLOCK
        source = pq.ParquetFile(file, metadata=meta, read_dictionary=names, buffer_size=size, pre_buffer=False)
        for batch in source.iter_batches(FEW, row_groups=[group], columns=[column], use_threads=False):
            array = batch.column(0)
            while not pa.types.is_dictionary(array.type):
                array = array.values
            if len(array.dictionary):
                return int(sizes(array.dictionary).max())
    except (OSError, ValueError, AttributeError, KeyError, pa.ArrowException):  # told when it is read
        return int(chunk.total_uncompressed_size)
    return 0


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
    shares = [whole.bytes * (n + 1) // parts - whole.bytes * n // parts for n in range(parts)]
    return [replace(whole, start=cuts[n], stop=cuts[n + 1], bytes=shares[n]) for n in range(parts)]


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
