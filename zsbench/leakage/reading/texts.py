"""Captions in Arrow's arrays: which types hold text, and batches that point into their buffers.

Choices: captions stay where they are and no string is made of them; nothing is decoded, so that invalid UTF-8 goes
through. A list of captions is one record, joined by line ends. Offsets are checked before they are used, for a file says
about itself what it likes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zsbench.errors import UserError
from zsbench.leakage.batch import Batch, Bytes, Intake
from zsbench.leakage.reading import blocks
from zsbench.leakage.reading.columns import choose


def text_column(source: str, schema: pa.Schema, wanted: str | None) -> str:
    name = choose(source, schema.names, wanted)
    kind = schema.field(name).type
    if not _holds_text(kind):
        raise UserError(f"{source}: column '{name}' holds {kind}, not text; name another with --caption-column.")
    return name


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _holds_text(kind.value_type)
    if _is_list(kind):
        return _holds_text(kind.value_type)
    views = pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)
    plain = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    return plain or views or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_list(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
    return any(known(kind) for known in kinds)


def read_batches(source: Iterable[Any], column: str, intake: Intake) -> Iterator[Batch]:
    """Batches of a column of captions from Arrow's record batches, no more than ROWS at once."""
    first = 0
    for found in source:
        whole = _checked(found.column(column))
        for at in range(0, len(whole), blocks.ROWS):
            yield _batch(_as_text(whole.slice(at, blocks.ROWS)), first, intake)
            first += min(blocks.ROWS, len(whole) - at)


def _checked(array: Any) -> Any:
    """The same captions as bytes, for which "valid" says nothing of letters; offsets and indices lead nowhere else.

    Raises ValueError where they do: Arrow follows them unchecked.
    """
    array = array.view(_as_bytes(array.type))
    array.validate(full=True)
    return array


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """The type of the same layout without a promise of UTF-8."""
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _as_bytes(kind.value_type), kind.ordered)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_as_bytes(kind.value_type), kind.list_size)
    lists = {"list": pa.list_, "large_list": pa.large_list, "list_view": pa.list_view}
    texts = {"string": pa.binary(), "large_string": pa.large_binary(), "string_view": pa.binary_view()}
    name = str(kind).partition("<")[0]
    return lists[name](_as_bytes(kind.value_type)) if name in lists else texts.get(name, kind)


def _as_text(array: Any) -> Any:
    """The captions as large binary values, one per record."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if _is_list(array.type):
        return _joined(array)
    return array.cast(pa.large_binary())


def _joined(lists: Any) -> Any:
    """Lists of captions, each as one text of lines; nulls among them are left out."""
    texts = _as_text(lists.flatten())
    parents = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    kept = texts.is_valid().to_numpy(zero_copy_only=False)
    sizes = np.bincount(parents[kept], minlength=len(lists))
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int64())
    rows = pa.LargeListArray.from_arrays(offsets, texts.filter(pa.array(kept)))
    joined = pc.binary_join(rows, pa.scalar(b"\n", pa.large_binary()))
    return pc.if_else(lists.is_valid(), joined, pa.scalar(None, pa.large_binary()))


def _batch(texts: Any, first: int, intake: Intake) -> Batch:
    size = len(texts)
    _, offsets, values = texts.buffers()
    data: Bytes = (
        np.frombuffer(values or b"\0", dtype=np.uint8) if values is None or values.size else np.zeros(1, np.uint8)
    )
    places = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + size + 1]
    starts, ends = places[:-1], places[1:]
    if size and (starts[0] < 0 or places[-1] > len(data) or (ends < starts).any()):
        raise OSError("the offsets of its captions lead out of them")
    missing = ~texts.is_valid().to_numpy(zero_copy_only=False)
    long = ends - starts > blocks.LONGEST
    ends = np.where(missing | long, starts, ends)
    intake.records += size
    intake.nulls += int(missing.sum())
    intake.over_long += int((long & ~missing).sum())
    intake.empty += int(((ends == starts) & ~missing & ~long).sum())
    return Batch(data, starts, ends, first, unreadable=long if long.any() else None)
