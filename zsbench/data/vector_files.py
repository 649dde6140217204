"""Files of word vectors, read as streams: a file of many GB costs a few MB of memory and is never loaded.

Text: one word and its numbers per line, separated by single spaces, with a first line "words dim" (word2vec's text, fastText's
.vec) or without (GloVe, whose words may hold spaces: the last `dim` fields are the numbers). Binary: word2vec's .bin,
a first line "words dim", then per word its bytes, a space and `dim` little-endian float32. Either may be gzipped.
Words are compared as bytes, so that one which is not UTF-8 is passed over; of a word that comes twice the first counts.

Reading ends where every word of `enough` is found: what follows is hashed but not looked at, and its faults stay unseen.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from zsbench.errors import UserError

SUFFIXES = (".bin", ".txt", ".vec")  # each also with .gz behind it
_BLOCK = 1 << 20  # bytes per read
_HEADER = re.compile(rb"(\d{1,12}) (\d{1,6})\s*\Z")
_FASTTEXT = (793712314).to_bytes(4, "little")  # what fastText's own binary models begin with


@dataclass(frozen=True)
class Found:
    """What a file has of the wanted words: word -> (dim,) float32. places: where a row stands, for files with an order."""

    dim: int
    rows: dict[str, np.ndarray]
    sha256: str  # of the whole file as it lies on disk
    places: dict[str, str] = field(default_factory=dict)


def read_words(path: Path, wanted: Collection[str], enough: Collection[str]) -> Found:
    """The vectors of `wanted` in one pass. Raises UserError for a file that is empty, cut short or of another kind."""
    binary = path.name.removesuffix(".gz").endswith(".bin")
    read = _read_binary if binary else _read_text
    asked = {word.encode() for word in wanted}
    with _open(path) as raw:
        packed: BinaryIO = io.BufferedReader(raw, _BLOCK)
        stream = io.BufferedReader(gzip.GzipFile(fileobj=packed), _BLOCK) if path.suffix == ".gz" else packed
        try:
            dim, rows = read(stream, path, asked, {word.encode() for word in enough})
        except (gzip.BadGzipFile, EOFError, zlib.error) as fault:
            raise UserError(f"{path}: not a whole gzip file ({fault}); download it again.") from None
        return Found(dim, {word.decode(): row for word, row in rows.items()}, raw.drain())


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO, bar: tqdm[Any]):
        self._file, self._bar, self._sha256 = file, bar, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._sha256.update(buffer[:size])
        self._bar.update(size)
        return size

    def drain(self) -> str:
        """Reads to the end; the hash of the whole file."""
        buffer = memoryview(bytearray(_BLOCK))
        while self.readinto(buffer):
            pass
        return self._sha256.hexdigest()


@contextmanager
def _open(path: Path) -> Iterator[_Hashed]:
    """The file with a bar of its bytes on stderr, which shows if the reading takes more than a second."""
    size = path.stat().st_size
    bar = tqdm(total=size, desc=f"reading {path.name}", unit="B", unit_scale=True, leave=False, delay=1)
    with path.open("rb", buffering=0) as file, bar:
        yield _Hashed(file, bar)


_Rows = dict[bytes, np.ndarray]


def _read_text(stream: BinaryIO, path: Path, wanted: set[bytes], enough: set[bytes]) -> tuple[int, _Rows]:
    first = stream.readline(_BLOCK).removeprefix(b"\xef\xbb\xbf")
    declared, dim = _layout(first, path)
    lines = stream if declared else chain([first], stream)
    starts = {word.split(b" ", 1)[0] for word in wanted}
    rows: _Rows = {}
    before = number = 1 if declared else 0  # lines read
    for number, line in enumerate(lines, before + 1):
        line = line.rstrip()
        if line.count(b" ") != dim:
            _check_width(line, dim, number, path)
        if line[: line.find(b" ")] in starts:
            word, *numbers = line.rsplit(b" ", dim)
            if word in wanted and word not in rows:
                rows[word] = _numbers(numbers, number, path)
                if rows.keys() >= enough:
                    return dim, rows
    if number - before < declared:
        raise _cut(path, number - before, declared)
    return dim, rows


def _layout(first: bytes, path: Path) -> tuple[int, int]:
    """Number of words as the first line tells it (0: it tells none) and numbers per word."""
    if not first:
        raise UserError(f"{path}: the file is empty.")
    if header := _HEADER.match(first):
        words, dim = map(int, header.groups())
    else:
        fields = first.split()
        words, dim = 0, next((n for n, field in enumerate(reversed(fields)) if not _is_number(field)), len(fields) - 1)
        dim = dim if dim > 1 else 0  # "0 background" is a line of a list of names
    if not dim or (header and not words):
        raise UserError(
            f"{path}: line 1 is {first[:60]!r}; expected a word and its numbers, separated by spaces, or 'words dim'."
        )
    return words, dim


def _check_width(line: bytes, dim: int, number: int, path: Path) -> None:
    """A blank line passes, and a word with spaces; another number of numbers does not."""
    fields = line.split(b" ")
    if not line or (len(fields) > dim + 1 and not all(map(_is_number, fields[1:-dim]))):
        return
    kind = " It holds bytes of no text: word2vec's binary files are named .bin." if b"\0" in line else ""
    raise UserError(
        f"{path}: line {number:,} has {len(fields) - 1:,} numbers, expected {dim:,}: damaged or cut short.{kind}"
    )


def _numbers(fields: list[bytes], number: int, path: Path) -> np.ndarray:
    try:
        return np.array([float(field) for field in fields], np.float32)
    except ValueError as fault:
        raise UserError(f"{path}: line {number:,} is not a word and its numbers ({fault}).") from None


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _read_binary(stream: BinaryIO, path: Path, wanted: set[bytes], enough: set[bytes]) -> tuple[int, _Rows]:
    words, dim = _binary_header(stream.readline(64), path)
    block, at, rows = b"", 0, _Rows()
    for number in range(words):
        space = block.find(b" ", at)
        if space < 0 or len(block) - space <= 4 * dim:
            block, at = block[at:] + stream.read(_BLOCK + 4 * dim), 0
            space = block.find(b" ")
            if space < 0 or len(block) - space <= 4 * dim:
                raise _cut(path, number, words)
        word = block[at:space].lstrip(b"\n")  # some writers end a vector with a line break
        at = space + 1 + 4 * dim
        if number == 0 and not block[space + 1 : at].strip(b"0123456789+-.eE \r\n"):
            raise UserError(f"{path}: text, not word2vec's binary format; name it .txt or .vec.")
        if word in wanted and word not in rows:
            rows[word] = np.frombuffer(block, "<f4", dim, space + 1).astype(np.float32)
            if rows.keys() >= enough:
                break
    return dim, rows


def _binary_header(first: bytes, path: Path) -> tuple[int, int]:
    if not first:
        raise UserError(f"{path}: the file is empty.")
    if first.startswith(_FASTTEXT):
        raise UserError(
            f"{path}: fastText's own binary model, not word2vec's format; give the .vec file that is published beside it."
        )
    header = _HEADER.match(first)
    if not header or not all(map(int, header.groups())):
        raise UserError(
            f"{path}: does not begin with 'words dim', as word2vec's binary files do; text is named .txt or .vec."
        )
    words, dim = map(int, header.groups())
    return words, dim


def _cut(path: Path, found: int, declared: int) -> UserError:
    return UserError(
        f"{path}: cut short: its first line tells of {declared:,} words, {found:,} are there; download it again."
    )
