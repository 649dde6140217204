"""Rewriting TSV, CSV, text and JSON lines: kept records are copied as the bytes they were, with their line ends.

Choices: heading and byte order mark are copied from the source, a last record without a line end stays without. Every
byte of the source is accounted for as heading, kept or dropped, so that a gap between two fragments cannot go unseen.
Compressed sources are compressed again, with no time or name inside, so that equal captions make equal files.
"""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from zsbench.leakage.batch import Batch
from zsbench.leakage.purging.verdicts import Mask, Verdicts, disagreement
from zsbench.leakage.reading.fragments import Fragment
from zsbench.leakage.reading.sources import stat
from zsbench.leakage.reading.streams import open_stream

LEVEL = 6  # of gzip: what its own tool takes


def rewrite_lines(verdicts: Verdicts, part: Path) -> dict[str, Any]:
    """Writes the heading and the kept records of a source to `part`."""
    fragment, seen = verdicts.fragments[0], 0
    with compressed(part, fragment.compression) as file:
        heading = _heading(fragment)
        file.write(heading)
        for batch, kept in verdicts:
            seen += _copy(batch, kept, file)
    known = not (fragment.compression or verdicts.over_long)
    if known and stat(fragment.source).size != seen + len(heading):
        raise disagreement(fragment.source)
    return {}


def _heading(fragment: Fragment) -> bytes:
    buffer = bytearray(fragment.header_bytes)
    with open_stream(fragment.source, fragment.compression) as stream:
        if fragment.start or stream.fill(memoryview(buffer)) != len(buffer):
            raise disagreement(fragment.source)
    return bytes(buffer)


def _copy(batch: Batch, kept: Mask, file: Any) -> int:
    """Writes the kept records of a batch; the number of bytes of all of them."""
    assert batch.records is not None, "a reader of lines tells where its records lie"
    starts, ends = batch.records
    data = batch.data.data
    begins, stops = _runs(starts, ends, kept)
    for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True):
        file.write(data[begin:stop])
    return int((ends - starts).sum())


def _runs(starts: Any, ends: Any, kept: Mask) -> tuple[Any, Any]:
    """Stretches of kept records that lie side by side, so that most of a batch is copied in one go."""
    rows = np.flatnonzero(kept)
    if not len(rows):
        return rows, rows
    breaks = np.flatnonzero(starts[rows[1:]] != ends[rows[:-1]])
    return starts[rows[np.concatenate([[0], breaks + 1])]], ends[rows[np.concatenate([breaks, [len(rows) - 1]])]]


@contextmanager
def compressed(part: Path, compression: str) -> Iterator[Any]:
    """A file to write to whose bytes are compressed on their way."""
    with part.open("wb", buffering=1 << 20) as raw:
        if not compression:
            yield raw
            return
        with _compressor(raw, compression) as file:
            yield file


def _compressor(raw: Any, compression: str) -> Any:
    import pyarrow as pa

    if compression == "gzip":
        return gzip.GzipFile("", "wb", LEVEL, raw, mtime=0)
    if compression == "bz2":
        return bz2.BZ2File(raw, "wb")
    return pa.CompressedOutputStream(pa.PythonFile(raw, "w"), compression)
