"""Every hit of a scan as rows of a parquet file: where, which class, by which form, and the caption itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zsbench.atomic import replacing
from zsbench.leakage.batch import Batch
from zsbench.leakage.engine import Hits, Matcher

SCHEMA = pa.schema(
    [
        ("source", pa.dictionary(pa.int32(), pa.string())),
        ("row", pa.int64()),
        ("key", pa.string()),
        ("class", pa.dictionary(pa.int32(), pa.string())),
        ("form", pa.dictionary(pa.int32(), pa.string())),
        ("level", pa.int8()),
        ("caption", pa.string()),
    ]
)


class HitsFile:
    """Writes the hits of one fragment, whole or not at all; without a path it writes nothing."""

    def __init__(self, path: Path | None, matcher: Matcher, source: str):
        self._path, self._matcher, self._source = path, matcher, source
        self._stack = ExitStack()
        self._writer: Any = None

    def __enter__(self) -> HitsFile:
        if self._path:
            part = self._stack.enter_context(replacing(self._path))
            self._writer = self._stack.enter_context(pq.ParquetWriter(part, SCHEMA, compression="zstd"))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add(self, batch: Batch, hits: Hits) -> None:
        if self._writer is None or not len(hits.named):
            return
        order = np.lexsort((hits.named[:, 1], hits.named[:, 0]))
        rows, forms = hits.named[order, 0], hits.named[order, 1]
        classes = [entry.name for entry in self._matcher.lexicon.entries]
        of = self._matcher.forms
        columns = [
            _dictionary(np.zeros(len(rows), np.int32), [self._source]),
            pa.array(rows.astype(np.int64) + batch.first),
            pa.array([None if batch.keys is None else str(batch.keys[row]) for row in rows], pa.string()),
            _dictionary(np.array([entry for entry, _ in of], np.int32)[forms], classes),
            _dictionary(forms, [form.text for _, form in of]),
            pa.array(np.array([form.level for _, form in of], np.int8)[forms]),
            pa.array([batch.caption(int(row)).decode("utf-8", errors="replace") for row in rows], pa.string()),
        ]
        self._writer.write_table(pa.table(columns, schema=SCHEMA))


def _dictionary(places: Any, values: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), pa.array(values, pa.string()))


def join(parts: Iterable[tuple[Path, int]], out: Path) -> int:
    """One file of all hits; each part comes with the row of its source it begins at. Returns the number of hits."""
    count = 0
    with replacing(out) as part, pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        for path, first in parts:
            for table in _tables(path):
                count += len(table)
                writer.write_table(table.set_column(1, "row", pc.add(table["row"], first)))
    return count


def _tables(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)
