"""What is made where a corpus is not rewritten: the kept rows as a parquet sidecar, or lists of sample keys.

Choices: rows are numbered from 0 within their source, in the order in which readers meet them. A list has one key a line;
a key that does not fit one line as it is (line ends, control characters) is refused, for an escaped one would match no
sample and let it stay. A key that stands twice and is removed once is removed: whoever filters by key cannot tell them
apart. One source makes one part, so that a purge that was stopped goes on; the parts are joined in the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from zsbench.atomic import replacing
from zsbench.errors import UserError
from zsbench.leakage.batch import Batch
from zsbench.leakage.purging.verdicts import Verdicts

SCHEMA = pa.schema([("source", pa.dictionary(pa.int32(), pa.string())), ("row", pa.int64()), ("key", pa.string())])
ROWS = 1 << 20  # of a row group
KEYED = ("tar", "json")  # formats whose records have names


def list_rows(verdicts: Verdicts, part: Path) -> dict[str, Any]:
    """Writes source, row and key of the kept records of a source."""
    with rows_writer(part) as writer:
        held: list[pa.Table] = []
        for batch, kept in verdicts:
            held.append(_table(verdicts.fragments[0].source, verdicts.rows, batch, np.flatnonzero(kept)))
            if sum(map(len, held)) >= ROWS:
                writer.write_table(pa.concat_tables(held))
                held = []
        if held:
            writer.write_table(pa.concat_tables(held))
    return {}


def _table(source: str, first: int, batch: Batch, rows: Any) -> pa.Table:
    keys = [None] * len(rows) if batch.keys is None else [_text(batch.keys[row]) for row in rows.tolist()]
    number = pa.array(np.zeros(len(rows), np.int32))
    name = pa.DictionaryArray.from_arrays(number, pa.array([source], pa.string()))
    return pa.table([name, pa.array(rows + first, pa.int64()), pa.array(keys, pa.string())], schema=SCHEMA)


def _text(key: str | int) -> str:
    """The key as text that parquet can hold: a lone surrogate, as JSON can write it, becomes an escape."""
    return str(key).encode("utf-8", "backslashreplace").decode("utf-8")


def rows_writer(path: Path) -> Any:
    rows = {"row": "DELTA_BINARY_PACKED"}  # most are one more than the last
    return pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=["source"], column_encoding=rows)


def join_rows(parts: Sequence[Path], out: Path) -> None:
    """One sidecar of all parts, in their order."""
    with replacing(out) as path, rows_writer(path) as writer:
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group))


def list_keys(verdicts: Verdicts, removed: Path, kept: Path) -> dict[str, Any]:
    """Writes the keys of the records that go to `removed`, of those that stay to `kept`."""
    with (
        removed.open("w", encoding="utf-8", newline="\n") as go,
        kept.open("w", encoding="utf-8", newline="\n") as stay,
    ):
        for batch, mask in verdicts:
            if batch.keys is None:
                raise UserError(f"{verdicts.fragments[0].source} has no keys to list; list rows: --purge mask")
            lines = [_line(key, verdicts.fragments[0].source) for key in batch.keys]
            go.writelines(compress(lines, (~mask).tolist()))
            stay.writelines(compress(lines, mask.tolist()))
    return {}


def _line(key: str | int, source: str) -> str:
    """A key and its line end. Raises UserError for one that a reader of lines would take for another."""
    text = str(key)
    if not text.isprintable() or not text or "\\" in text or text.strip() != text:
        raise UserError(
            f"{source}: the key {text[:200]!a} does not fit a list of keys, one a line, as it is;"
            " list rows instead: --purge mask"
        )
    return text + "\n"


def join_keys(parts: Sequence[tuple[Path, Path]], removed: Path, kept: Path) -> dict[str, int]:
    """One pair of lists; a key that is removed anywhere is kept nowhere. How many there are of each."""
    gone: dict[str, None] = {}
    numbers = {"removed": 0, "kept": 0, "removed_with_another": 0}
    with ExitStack() as stack:
        go, stay = (stack.enter_context(_writing(path, stack)) for path in (removed, kept))
        for part, _ in parts:
            for line in _lines(part):
                if line not in gone:
                    go.write(line)
                gone[line] = None
        for _, part in parts:
            for line in _lines(part):
                numbers["removed_with_another" if line in gone else "kept"] += 1
                if line not in gone:
                    stay.write(line)
    return numbers | {"removed": len(gone)}


def _writing(path: Path, stack: ExitStack) -> Any:
    return stack.enter_context(replacing(path)).open("w", encoding="utf-8", newline="\n")


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from file
