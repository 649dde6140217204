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
from zsbench.leakage.batch import Batch, Bytes, Intake, Places
from zsbench.leakage.reading import blocks
from zsbench.leakage.reading.columns import choose

MOST = 8 << 20  # bytes of the captions of a batch, unless one alone has more


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
    """Batches of a column of captions from Arrow's record batches, no more than ROWS and about MOST bytes at once."""
    first = 0
    for found in source:
        whole = _checked(found.column(column))
        for at, stop in _cuts(sizes(whole)):
            yield _batch(_as_text(whole.slice(at, stop - at)), first, intake)
            first += stop - at


def _cuts(lengths: Places) -> Iterator[tuple[int, int]]:
    """Runs of captions of these lengths; one longer than MOST is alone."""
    ends, at = np.cumsum(lengths), 0
    while at < len(lengths):
        before = int(ends[at - 1]) if at else 0
        stop = int(np.searchsorted(ends, before + MOST, side="right"))
        stop = min(max(stop, at + 1), at + blocks.ROWS, len(lengths))
        yield at, stop
        at = stop


def sizes(array: Any) -> Places:
    """Bytes of each caption once it is decoded, of a list those of its line ends too; nulls have none."""
    kind, valid = array.type, array.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_null(kind) or not len(array):
        return np.zeros(len(array), np.int64)
    if pa.types.is_dictionary(kind):
        known = np.append(sizes(array.dictionary), 0)
        places = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
        lengths = known[places]
    elif _is_list(kind):
        starts, ends = _extents(array)
        sums = np.concatenate([[0], np.cumsum(sizes(array.values) + 1)])
        lengths = sums[np.where(valid, ends, 0)] - sums[np.where(valid, starts, 0)]
    elif pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        views = np.frombuffer(array.buffers()[1], np.int32).reshape(-1, 4)
        lengths = views[array.offset : array.offset + len(array), 0].astype(np.int64)
    else:
        lengths = pc.binary_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.where(valid, lengths, 0)


def _extents(lists: Any) -> tuple[Places, Places]:
    """Where each list begins and ends among the values of all."""
    if pa.types.is_fixed_size_list(lists.type):
        starts = (np.arange(len(lists), dtype=np.int64) + lists.offset) * lists.type.list_size
        return starts, starts + lists.type.list_size
    offsets = lists.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_list_view(lists.type):
        return offsets, offsets + lists.sizes.to_numpy(zero_copy_only=False)
    return offsets[:-1], offsets[1:]


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
