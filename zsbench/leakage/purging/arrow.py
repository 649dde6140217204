"""Rewriting parquet and Arrow files: the kept rows of every row group or record batch, one at a time.

Choices: the output is written the way the input was, as far as a file tells how: schema and its metadata, format
version, codec and encoding of every column, statistics, order. A row group keeps its place and loses its dropped rows;
an empty one is left out. A schema that would come out otherwise is refused, for silently changed types are worse than
none. Memory is that of the largest row group.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zsbench.errors import UserError
from zsbench.leakage.purging.verdicts import Mask, Masks, Verdicts
from zsbench.leakage.reading.sources import first_line, open_file

ENCODINGS = ("DELTA_BINARY_PACKED", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "BYTE_STREAM_SPLIT")
CODECS = ("lz4", "zstd")  # by their numbers in Arrow's BodyCompression


def rewrite_parquet(verdicts: Verdicts, part: Path) -> dict[str, Any]:
    """Writes the kept rows of a parquet file to `part`."""
    name = verdicts.fragments[0].source
    try:
        with open_file(name) as file:
            _filter_groups(pq.ParquetFile(file, page_checksum_verification=True), Masks(verdicts), name, part)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refused(name, error) from error
    return {}


def _filter_groups(source: Any, masks: Masks, name: str, part: Path) -> None:
    with pq.ParquetWriter(part, source.schema_arrow, **_manner(source.metadata)) as writer:
        for group in range(source.num_row_groups):
            mask = masks.exactly(source.metadata.row_group(group).num_rows, name)
            if mask.any():
                table = source.read_row_group(group, use_threads=False)
                kept = table if mask.all() else _filtered(table, mask)
                writer.write_table(kept, row_group_size=len(kept))
        if source.metadata.metadata:
            writer.add_key_value_metadata(source.metadata.metadata)
    masks.finish(name)
    with pq.ParquetFile(part) as written:
        if not written.schema.equals(source.schema):
            raise ValueError("its schema is one that Arrow would write otherwise")


def _filtered(rows: Any, mask: Mask) -> Any:
    """The rows of a table or record batch that stay; views of strings, which Arrow does not filter, take a way round."""
    kept = pa.array(mask)
    return type(rows).from_arrays([_column(column, kept) for column in rows.columns], schema=rows.schema)


def _column(column: Any, kept: Any) -> Any:
    for is_view, way in ((pa.types.is_string_view, pa.large_string()), (pa.types.is_binary_view, pa.large_binary())):
        if is_view(column.type):
            return column.cast(way).filter(kept).cast(column.type)
    return column.filter(kept)


def _manner(meta: Any) -> dict[str, Any]:
    """How the file was written, as arguments of ParquetWriter."""
    columns = [meta.row_group(0).column(n) for n in range(meta.num_columns)] if meta.num_row_groups else []
    by_dictionary = [column.path_in_schema for column in columns if column.has_dictionary_page]
    order = meta.row_group(0).sorting_columns if columns else ()
    return {
        "version": meta.format_version,
        "compression": {column.path_in_schema: _codec(column) for column in columns} or "snappy",
        "use_dictionary": by_dictionary,
        "column_encoding": _encodings(columns, by_dictionary),
        "write_statistics": [column.path_in_schema for column in columns if column.is_stats_set],
        "store_schema": False,  # it is copied with the other entries of the metadata, byte for byte
        "use_deprecated_int96_timestamps": any(column.physical_type == "INT96" for column in columns),
        "use_compliant_nested_type": False,  # the schema read has the file's own names of list elements
        "write_page_index": any(column.has_offset_index for column in columns),
        "sorting_columns": order or None,
    }


def _codec(column: Any) -> str:
    return "NONE" if column.compression == "UNCOMPRESSED" else column.compression


def _encodings(columns: list[Any], by_dictionary: list[str]) -> dict[str, str] | None:
    plain = (column for column in columns if column.path_in_schema not in by_dictionary)
    found = {c.path_in_schema: next((e for e in ENCODINGS if e in c.encodings), None) for c in plain}
    return {path: encoding for path, encoding in found.items() if encoding} or None


def rewrite_arrow(verdicts: Verdicts, part: Path) -> dict[str, Any]:
    """Writes the kept rows of an Arrow file or stream to `part`."""
    name = verdicts.fragments[0].source
    try:
        with open_file(name) as file:
            _filter_batches(file, Masks(verdicts), name, part)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refused(name, error) from error
    return {}


def _filter_batches(file: Any, masks: Masks, name: str, part: Path) -> None:
    is_file = file.read(6) == b"ARROW1"
    options = pa.ipc.IpcWriteOptions(compression=_compression(file, 8 if is_file else 0))
    file.seek(0)
    source = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
    with _writer(part, source, is_file, options) as writer:
        for batch, metadata in _batches(source, is_file):
            mask = masks.exactly(len(batch), name)
            if mask.any():
                kept = batch if mask.all() else _filtered(batch, mask)
                writer.write_batch(kept, metadata)
    masks.finish(name)


def _writer(part: Path, source: Any, is_file: bool, options: Any) -> Any:
    if not is_file:
        return pa.ipc.new_stream(str(part), source.schema, options=options)
    more = {"metadata": source.metadata} if getattr(source, "metadata", None) else {}  # of the footer, since Arrow 20
    return pa.ipc.new_file(str(part), source.schema, options=options, **more)


def _batches(source: Any, is_file: bool) -> Iterator[tuple[Any, Any]]:
    if is_file:
        yield from (source.get_batch_with_custom_metadata(n) for n in range(source.num_record_batches))
        return
    while True:
        try:
            yield source.read_next_batch_with_custom_metadata()
        except StopIteration:
            return


def _compression(file: Any, begin: int) -> str | None:
    """The codec of the first record batch, which pyarrow reads without telling."""
    file.seek(begin)
    messages = pa.ipc.MessageReader.open_stream(file)
    while True:
        try:
            message = messages.read_next_message()
        except (StopIteration, EOFError):
            return None
        if message.type == "record batch":
            return _codec_of(message.metadata.to_pybytes())


def _codec_of(message: bytes) -> str | None:
    """Message.header (field 2) is a RecordBatch, its compression (field 3) a BodyCompression, whose codec is field 0.

    A table of a flatbuffer begins with the distance back to its list of fields; Arrow's format/Message.fbs names them.
    """
    batch = _field(message, struct.unpack_from("<I", message, 0)[0], 2)
    batch += struct.unpack_from("<I", message, batch)[0]
    compression = _field(message, batch, 3)
    if not compression:
        return None
    compression += struct.unpack_from("<I", message, compression)[0]
    codec = _field(message, compression, 0)
    return CODECS[message[codec] if codec else 0]


def _field(buffer: bytes, table: int, number: int) -> int:
    """Where the field of a flatbuffer's table lies, or 0 when it is not set."""
    fields = table - struct.unpack_from("<i", buffer, table)[0]
    size = struct.unpack_from("<H", buffer, fields)[0]
    place = 4 + 2 * number
    offset = struct.unpack_from("<H", buffer, fields + place)[0] if place < size else 0
    return table + offset if offset else 0


def _refused(source: str, error: Exception) -> Exception:
    if isinstance(error, OSError) and error.errno:  # the machine's fault, such as a full disk, and not the file's
        return error
    return UserError(
        f"{source} cannot be rewritten as it is ({first_line(error)}); list its kept rows instead: --purge mask"
    )
