"""The two kinds of caption corpora: stored ones with random access, and streams that only go forward.

Choices: keys and captions are Arrow strings (0.2 GB per million captions). Images are opened when fetched and no
file stays open, so a corpus can be forked, pickled and read by threads.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from zsbench.data.caption_pairs import MOST_BYTES, SUFFIXES, Corrupt, Pair, Skipped, decode
from zsbench.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 65_536  # rows of one Arrow chunk
BUFFER = 1_000  # encoded images held to shuffle a stream: 50 to 100 MB of photographs

Item = tuple[str, str | None, bytes | None]  # key, caption, encoded image; None = missing


class Rows:
    """Growing columns of keys and captions."""

    def __init__(self) -> None:
        self.size = 0
        self._open: tuple[list[str], list[str]] = ([], [])
        self._chunks: tuple[list[Any], list[Any]] = ([], [])

    def add(self, key: str, caption: str) -> None:
        self._open[0].append(key)
        self._open[1].append(caption)
        self.size += 1
        if len(self._open[0]) == ROWS:
            self._close()

    def columns(self) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
        import pyarrow as pa

        self._close()
        keys, captions = (pa.chunked_array(chunks, pa.string()) for chunks in self._chunks)
        return keys, captions

    def _close(self) -> None:
        import pyarrow as pa

        for values, chunks in zip(self._open, self._chunks, strict=True):
            chunks.append(pa.array(values, pa.string()))
            values.clear()


class Images(Protocol):
    """Where the encoded images of a stored corpus lie. Raises `Corrupt` or OSError for one that cannot be read."""

    def read(self, index: int, key: str) -> bytes: ...


class Folder:
    """Images in a folder, named by keys with or without a suffix."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, key: str) -> str | None:
        stem = os.path.join(self.root, key)  # noqa: PTH118  millions of keys: Path is ten times slower
        return next((path for path in (stem, *(stem + s for s in SUFFIXES)) if os.path.isfile(path)), None)  # noqa: PTH113

    def read(self, index: int, key: str) -> bytes:
        path = self.find(key)
        if path is None:
            raise Corrupt("image is missing")
        with open(path, "rb") as file:  # noqa: PTH123
            return read_bounded(file, os.fstat(file.fileno()).st_size)


def read_bounded(file: Any, size: int) -> bytes:
    """`size` bytes from here on; raises `Corrupt` when that is more than any image or when fewer are there."""
    if not 0 <= size <= MOST_BYTES:
        raise Corrupt(f"{size:,} bytes are no size of an image")
    data: bytes = file.read(size)
    if len(data) < size:
        raise Corrupt("the file ends too early")
    return data


class StoredCaptions:
    """Pairs with random access. `rows` become the index; `images` gives the encoded image of each."""

    def __init__(self, name: str, rows: Rows, images: Images, skipped: Skipped) -> None:
        if not rows.size:
            raise UserError(f"{name} holds no image with a caption.")
        self.name, self.skipped, self.images = name, skipped, images
        self._keys, self._captions = rows.columns()
        self._state = bytearray(rows.size)  # per pair: 0 not tried, 1 good, 2 corrupt

    @property
    def size(self) -> int:
        return len(self._state)

    def __len__(self) -> int:
        return self.size

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for key, caption in self.texts():
            digest.update(f"{key}\t{caption}\n".encode())
        return digest.hexdigest()[:12]

    def texts(self) -> Iterator[tuple[str, str]]:
        for keys, captions in zip(self._keys.chunks, self._captions.chunks, strict=True):
            yield from zip(keys.to_pylist(), captions.to_pylist(), strict=True)

    def fetch(self, indices: Sequence[int]) -> list[Pair]:
        return [self._pair(int(index)) for index in indices]

    def _pair(self, index: int) -> Pair:
        if not 0 <= index < self.size:
            raise IndexError(f"pair {index} of {self.size}")
        for step in range(self.size):
            pair = self._try((index + step) % self.size)
            if pair is not None:
                return pair
        raise UserError(f"{self.name} holds no image that can be read.")

    def _try(self, index: int) -> Pair | None:
        if self._state[index] == 2:
            return None
        key = self._keys[index].as_py()
        try:
            image, why = decode(self.images.read(index, key)), ""
        except (Corrupt, OSError) as error:
            image, why = None, getattr(error, "strerror", None) or str(error)
        if not self._state[index]:
            self._count(index, key, why)
        return None if image is None else Pair(key, image, self._captions[index].as_py())

    def _count(self, index: int, key: str, why: str) -> None:
        self._state[index] = 2 if why else 1
        self.skipped.tried += 1
        if why:
            self.skipped.image(key, why)
            self.skipped.judge_images(self.size)


class StreamedCaptions:
    """Pairs of an endless stream: `items` over and over, each time shuffled anew through a buffer.

    Index i is the i-th item after shuffling, whether good or corrupt, so that going forward decodes nothing. A corrupt
    item is replaced by the next good one, which keeps its own index too. A copy in another process starts afresh and
    goes forward by itself.
    """

    size = None

    def __init__(self, name: str, fingerprint: str, items: Iterable[Item], seed: int = 0, buffer: int = BUFFER) -> None:
        self.name, self.fingerprint, self.skipped = name, fingerprint, Skipped(name)
        self._items, self._seed, self._buffer = items, seed, buffer
        self._rewind()

    def texts(self) -> Iterator[tuple[str, str]]:
        for key, caption, _ in self._items:
            if caption:
                yield key, caption

    def fetch(self, indices: Sequence[int]) -> list[Pair]:
        return [self._pair(int(index)) for index in indices]

    def _rewind(self) -> None:
        self._at = 0  # index of the first of _ahead
        self._ahead: deque[Item | Pair | None] = deque()  # raw items, pairs once decoded, None where corrupt
        self._length: int | None = None  # known after the first round
        self._raw = self._rounds()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_raw", "_ahead", "_at", "_length")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._rewind()

    def _rounds(self) -> Iterator[Item]:
        for turn in count():
            length = 0
            for item in shuffled(self._items, random.Random(f"{self._seed} {turn}"), self._buffer):
                length += 1
                yield item
            if not length:
                raise UserError(f"{self.name} holds no image with a caption.")
            self._length = length

    def _pair(self, index: int) -> Pair:
        if index < self._at:
            raise ValueError(f"a stream only goes forward: index {index} after {self._at}")
        while self._at < index:
            if self._ahead:
                self._ahead.popleft()
            else:
                next(self._raw)
            self._at += 1
        return next(pair for pair in map(self._look, count()) if pair is not None)

    def _look(self, ahead: int) -> Pair | None:
        if ahead == len(self._ahead):
            self._ahead.append(next(self._raw))
        item = self._ahead[ahead]
        if isinstance(item, tuple):
            item = self._ahead[ahead] = self._decoded(self._at + ahead, item)
        return item

    def _decoded(self, index: int, item: Item) -> Pair | None:
        key, caption, data = item
        try:
            if not caption or data is None:
                raise Corrupt("no image" if caption else "no caption")
            pair, why = Pair(key, decode(data), caption), ""
        except Corrupt as error:
            pair, why = None, str(error)
        if self._length is None or index < self._length:  # later rounds meet the same items again
            self.skipped.tried += 1
            if why:
                self.skipped.image(key, why)
        if why:
            self.skipped.judge_images(self._length)
        return pair


def shuffled(items: Iterable[Item], dice: random.Random, buffer: int) -> Iterator[Item]:
    """Each item changes places with a random one of a buffer; with a buffer of 1 the order stays."""
    source = iter(items)
    held = list(islice(source, buffer))
    for item in source:
        place = dice.randrange(len(held))
        yield held[place]
        held[place] = item
    dice.shuffle(held)
    yield from held
