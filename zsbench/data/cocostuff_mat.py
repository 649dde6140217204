"""Variables of MATLAB .mat files (versions 5 to 7) as COCO-Stuff 10k has them: label maps, and cell arrays of names.

A small strict reader for files from strangers. A general one follows whatever such a file nests, however deep, and believes
the lengths in it; here sizes are limited before anything is unpacked, and only named variables are.
Layout of the format: a header of 128 bytes, then elements (a type, a number of bytes, the bytes); an element is a matrix or
a matrix compressed by zlib; a matrix has elements for flags, dimensions, name and content. Little-endian files only.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from itertools import islice
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zsbench.errors import UserError

LARGEST = 2**26  # bytes of a file, and of any variable in it; the largest label maps here have 2^21
MOST_TEXTS = 10_000  # cells; the longest list of names has 182

_NUMBERS = {1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
_TEXTS = {1: "ascii", 2: "ascii", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _CHAR, _NUMERIC = 1, 4, range(6, 16)  # classes of matrices
_NOTHING = (0, memoryview(b""))

Value = np.ndarray | list[str]


class _Matrix(NamedTuple):
    kind: int
    shape: tuple[int, ...]
    name: str
    content: memoryview  # the elements after the name


def read_variables(file: Path, wanted: Collection[str]) -> dict[str, Value]:
    """The wanted variables that are there: arrays of numbers as stored, cell arrays of texts as lists.

    Raises `UserError` naming the file: not such a file, truncated, too large, a wanted variable of another kind.
    """
    try:
        with file.open("rb") as handle:
            data = memoryview(handle.read(LARGEST + 1))
    except OSError as fault:
        raise UserError(f"{file}: cannot be read ({fault.strerror}).") from None
    if len(data) > LARGEST:
        raise UserError(f"{file}: larger than {LARGEST >> 20} MiB; expected a label map of some kilobytes.")
    try:
        return dict(_variables(data, frozenset(wanted)))
    except (ValueError, struct.error, zlib.error) as fault:
        raise UserError(f"{file}: not a whole MATLAB file of version 5 to 7 ({fault}).") from None


def _variables(data: memoryview, wanted: frozenset[str]) -> Iterator[tuple[str, Value]]:
    if len(data) < 128 or bytes(data[126:128]) != b"IM":
        raise ValueError("it has another header")
    if bytes(data[124:126]) == b"\x00\x02":
        raise ValueError("it is of version 7.3; save it again with -v7")
    for kind, body in _elements(data[128:]):
        matrix = _matrix(kind, body)
        if matrix and matrix.name in wanted:
            yield matrix.name, _value(matrix)


def _matrix(kind: int, body: memoryview) -> _Matrix | None:
    if kind == _COMPRESSED:
        whole = zlib.decompressobj().decompress(body, LARGEST + 1)
        if len(whole) > LARGEST:
            raise ValueError(f"a variable unpacks to more than {LARGEST >> 20} MiB")
        kind, body = next(_elements(memoryview(whole)), _NOTHING)
    if kind != _MATRIX:
        return None
    places = _elements_at(body)
    flags, shape, name = (next(places, None) for _ in range(3))
    if flags is None or shape is None or name is None or not len(flags[1]):
        return None  # an empty matrix
    dims = tuple(int(size) for size in np.frombuffer(shape[1], "<i4"))
    return _Matrix(flags[1][0], dims, bytes(name[1]).decode("latin-1"), body[name[2] :])


def _value(matrix: _Matrix) -> Value:
    if matrix.kind in _NUMERIC:
        kind, body = next(_elements(matrix.content), _NOTHING)
        if kind not in _NUMBERS:
            raise ValueError(f"{matrix.name} has content of type {kind}")
        return np.frombuffer(body, _NUMBERS[kind]).reshape(matrix.shape, order="F")
    if matrix.kind == _CELL:
        if prod(matrix.shape) > MOST_TEXTS:
            raise ValueError(f"{matrix.name} has {prod(matrix.shape):,} cells")
        return [_text(kind, body) for kind, body in islice(_elements(matrix.content), MOST_TEXTS)]
    raise ValueError(f"{matrix.name} is neither an array of numbers nor a cell array")


def _text(kind: int, body: memoryview) -> str:
    cell = _matrix(kind, body)
    if cell is None or cell.kind != _CHAR:
        raise ValueError("a cell array of something else than texts")
    kind, letters = next(_elements(cell.content), (1, memoryview(b"")))
    if kind not in _TEXTS:
        raise ValueError(f"a text of type {kind}")
    return bytes(letters).decode(_TEXTS[kind])


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    for kind, body, _ in _elements_at(data):
        yield kind, body


def _elements_at(data: memoryview) -> Iterator[tuple[int, memoryview, int]]:
    """Type, bytes and end of every element. Up to four bytes may stand in the place of the element's own tag."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind >> 16:
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            end = start + size + (0 if kind == _COMPRESSED else -size % 8)  # all but compressed ones are padded
        if start + size > len(data):
            raise ValueError("it ends in the middle of a variable")
        yield kind, data[start : start + size], end
        at = end
