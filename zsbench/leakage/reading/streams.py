"""The bytes of a source, forwards: of a file, an object, standard input, decompressed where they are compressed.

Choices: Arrow's own decompressors, which tell a truncated stream from one that ends. Whatever goes wrong while bytes are
fetched is an OSError.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

from zsbench.leakage.reading.sources import first_line, is_uri, open_file

STDIN = "-"
HEAD = 1 << 18  # bytes that are looked at before anything is decided


class Stream:
    """The bytes of a source, forwards only; a context manager."""

    def __init__(self, file: Any):
        self._file = file

    def fill(self, view: memoryview) -> int:
        """Reads until the view is full or the source ends; returns the number of bytes. Raises OSError."""
        done = 0
        while done < len(view):
            try:
                got = self._file.readinto(view[done:])
            except OSError:
                raise
            except Exception as error:  # fsspec's back ends and decompressors have no common type
                raise OSError(f"{type(error).__name__}: {first_line(error)}") from error
            if not got:
                break
            done += got
        return done

    def skip(self, count: int) -> None:
        """Passes over bytes, by a jump where the source allows it. Past the end there is nothing to read, no error."""
        if count and self._file.seekable():
            try:
                self._file.seek(count, os.SEEK_CUR)
                return
            except Exception as error:
                raise OSError(f"{type(error).__name__}: {first_line(error)}") from error
        rest = memoryview(bytearray(min(count, HEAD)))
        while count > 0 and (got := self.fill(rest[:count])):
            count -= got

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def open_stream(source: str, compression: str = "") -> Stream:
    """The source's bytes, decompressed. Raises OSError when it cannot be opened."""
    return Stream(decompressed(_opened(source), compression))


def _opened(source: str) -> Any:
    if source == STDIN:
        return _Stdin()
    return open_file(source) if is_uri(source) else Path(source).open("rb", buffering=0)


def decompressed(file: Any, compression: str) -> Any:
    import pyarrow as pa

    return _Forward(pa.CompressedInputStream(file, compression)) if compression else file


def head(source: str) -> bytes:
    """The first bytes as they are stored; nothing when they cannot be read, which is told when they are scanned."""
    if source == STDIN:
        return _Stdin.peek(HEAD)
    try:
        with open_stream(source) as stream:
            return _first(stream)
    except OSError:
        return b""


def expanded(start: bytes, compression: str) -> bytes:
    """As much of the first bytes as `start` holds, decompressed."""
    return _first(Stream(decompressed(io.BytesIO(start), compression))) if compression else start


def _first(stream: Stream) -> bytes:
    buffer, done = bytearray(HEAD), 0
    try:
        while done < HEAD and (got := stream.fill(memoryview(buffer)[done : done + 65_536])):
            done += got
    except OSError:
        pass  # the beginning of a compressed file is a truncated one
    return bytes(buffer[:done])


class _Forward(io.RawIOBase):
    """A stream without jumps, whatever the file below would promise."""

    def __init__(self, file: Any):
        self._file = file

    def seekable(self) -> bool:
        return False

    def readinto(self, view: Any) -> int:
        return self._file.readinto(view)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Stdin(_Forward):
    """Standard input; what was looked at beforehand comes first. It is not closed: it is not ours."""

    ahead = bytearray()
    of: Any = None  # the input that was looked at; another one has nothing in common with it

    def __init__(self) -> None:
        super().__init__(sys.stdin.buffer)
        self._meet()

    @classmethod
    def _meet(cls) -> None:
        if cls.of is not sys.stdin.buffer:
            cls.of, cls.ahead = sys.stdin.buffer, bytearray()

    @classmethod
    def peek(cls, size: int) -> bytes:
        cls._meet()
        while len(cls.ahead) < size and (more := sys.stdin.buffer.read(size - len(cls.ahead))):
            cls.ahead += more
        return bytes(cls.ahead[:size])

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        if not self.ahead:
            return super().readinto(view)
        size = min(len(view), len(self.ahead))
        view[:size] = self.ahead[:size]
        del self.ahead[:size]
        return size

    def close(self) -> None:
        io.RawIOBase.close(self)
