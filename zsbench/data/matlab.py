"""Label maps and lists of names from MATLAB files, which come from strangers.

scipy reads their content, and believes what stands in it: lengths, types of elements (unchecked, in C) and nesting, however
deep; a damaged file may end the process. So a file is split here into its variables, only what is asked for is unpacked, up
to a limit, and scipy is handed one flat array of numbers or one flat list of texts whose declared kind and size can be true.
Layout of versions 5 to 7: a header of 128 bytes, then elements (a type, a number of bytes, the bytes); a variable is such an
element, or one compressed by zlib; in it are elements for flags, dimensions, name and content. Either byte order.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from itertools import islice
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zsbench.data.pixels import MAX_PIXELS, Missing
from zsbench.errors import UserError

LARGEST = 64 * 2**20  # bytes of a file, and of a variable unpacked; the largest label maps here have 2^21
MOST_TEXTS = 10_000  # cells; the longest list of names has 182
TEXTS = 2**20  # bytes of all of them
HEAD = 1024  # bytes of a variable in which its kind, shape and name stand

_MATRIX, _COMPRESSED = 14, 15  # types of elements
_NUMBERS, _LETTERS = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13}), frozenset({1, 2, 4, 16, 17, 18})
_CELL, _STRUCT, _CHAR, _NUMERIC, _OPAQUE = 1, 2, 4, range(6, 16), 17  # kinds of arrays
_KINDS = (
    "nothing", "cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8", "int16", "uint16",
    "int32", "uint32", "int64", "uint64", "function",
)  # fmt: skip
_HEADERS = {"<": b"MATLAB 5.0".ljust(124) + b"\x00\x01IM", ">": b"MATLAB 5.0".ljust(124) + b"\x01\x00MI"}
_NOTHING = (0, memoryview(b""), 0)
_OF_SCIPY = ("__header__", "__version__", "__globals__")


class _Array(NamedTuple):
    """kind: MATLAB's number of a class; body: all elements; content: those after the name."""

    kind: int
    is_complex: bool
    shape: tuple[int, ...]
    name: str
    body: memoryview
    content: memoryview

    def __str__(self) -> str:
        kind = _KINDS[self.kind] if self.kind < len(_KINDS) else f"of kind {self.kind}"
        return f"{'complex ' * self.is_complex}{kind} {' × '.join(map(str, self.shape[:8]))}"


@dataclass(frozen=True)
class MatFile:
    """The variables of a .mat file by name, as stored; each is unpacked when it is asked for.

    what: in words, what the file should be, such as "a label map of PASCAL Context". order: "<" or ">".
    """

    file: Path
    what: str
    order: str
    variables: Mapping[str, tuple[int, memoryview]]

    def label_map(self, key: str, field: str | None = None) -> np.ndarray:
        """(H, W) integers as stored: a variable, or a field of one that is a struct.

        Raises `UserError` naming the file: no such variable, another kind, too large, fractions, damaged.
        """
        name = f"{key}.{field}" if field else key
        with _told(self.file, self.what):
            array = self._array(key)
            if field:
                array = _field(array, field, self.order)
            flat = len(array.shape) == 2 and min(array.shape) > 0 and prod(array.shape) <= MAX_PIXELS
            if array.kind not in _NUMERIC or array.is_complex or not flat:
                raise UserError(
                    f"{self.file}: '{name}' is {array}; expected a label map of at most {MAX_PIXELS:,} pixels."
                )
            _content(array, _NUMBERS, self.order)
            return self._whole(name, _loaded(array.body, self.order))

    def texts(self, key: str) -> list[str]:
        """A variable that is a cell array of texts; none where there is no such variable. Raises `UserError` as above."""
        if key not in self.variables:
            return []
        with _told(self.file, self.what):
            array = self._array(key)
            if array.kind != _CELL or prod(array.shape) > MOST_TEXTS or len(array.body) > TEXTS:
                raise UserError(
                    f"{self.file}: '{key}' is {array}; expected a cell array of at most {MOST_TEXTS:,} texts, 1 MiB."
                )
            start = len(array.body) - len(array.content)
            return list(_texts(bytes(array.body), start, prod(array.shape), self.order))

    def _array(self, key: str) -> _Array:
        if key not in self.variables:
            some = ", ".join(repr(name[:63]) for name in islice(self.variables, 8))
            raise UserError(f"{self.file}: holds {some or 'nothing'}, no '{key}'; expected {self.what}.")
        kind, body = self.variables[key]
        array = _parsed(body if kind == _MATRIX else _unpacked(body, self.order), self.order)
        if array is None:
            raise ValueError(f"'{key}' is no array")
        return array

    def _whole(self, name: str, ids: np.ndarray) -> np.ndarray:
        if np.issubdtype(ids.dtype, np.integer):
            return ids
        if not np.array_equal(ids, np.round(ids)) or np.abs(ids).max(initial=0) > 2**31:
            raise UserError(f"{self.file}: '{name}' holds fractions; expected class ids, as in {self.what}.")
        return ids.astype(np.int64)


def read_sbd_mask(file: Path) -> np.ndarray:
    """(H, W) uint8 ids from a .mat file of SBD (`GTcls.Segmentation`); it has no 255 band along object borders."""
    ids = open_mat(file, "a class mask of SBD, expected GTcls.Segmentation").label_map("GTcls", "Segmentation")
    if ids.dtype != np.uint8:
        raise UserError(f"{file}: GTcls.Segmentation is {ids.dtype} {ids.shape}; expected a uint8 label map.")
    return ids


def open_mat(file: Path, what: str) -> MatFile:
    """The variables of a file; of each only the head is read. Raises `UserError` naming the file."""
    raw = memoryview(_bytes(file))
    with _told(file, what):
        order = {b"IM": "<", b"MI": ">"}.get(bytes(raw[126:128]))
        if order is None:
            raise ValueError("it has another header")
        if raw[125 if order == "<" else 124] == 2:
            raise ValueError("it is of version 7.3; save it again with -v7")
        variables: dict[str, tuple[int, memoryview]] = {}
        for kind, body, _ in _elements(raw[128:], order):
            if kind == _COMPRESSED:
                array = _parsed(memoryview(zlib.decompressobj().decompress(body, HEAD))[8:], order)
            else:
                array = _parsed(body, order) if kind == _MATRIX else None
            if array and array.name in variables:
                raise ValueError(f"it holds {array.name[:63]!r} twice")
            if array:
                variables[array.name] = kind, body
    return MatFile(file, what, order, variables)


@contextmanager
def _told(file: Path, what: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as fault:  # scipy's reader has no error type of its own
        raise UserError(f"{file}: not {what} ({' '.join(str(fault).split())}).") from None


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as handle:
            raw = handle.read(LARGEST + 1)
    except FileNotFoundError:
        raise Missing(f"{file}: no such file.") from None
    except OSError as fault:
        raise UserError(f"{file}: cannot be read ({fault.strerror}).") from None
    if len(raw) > LARGEST:
        raise UserError(f"{file}: larger than {LARGEST >> 20} MiB; expected a label map of some kilobytes.")
    return raw


def _unpacked(packed: memoryview, order: str) -> memoryview:
    stream = zlib.decompressobj()
    raw = stream.decompress(packed, LARGEST + 1)
    if len(raw) > LARGEST:
        raise ValueError(f"a variable unpacks to more than {LARGEST >> 20} MiB")
    if not stream.eof:
        raise ValueError("it ends in the middle of a variable")
    kind, body, _ = next(_elements(memoryview(raw), order), _NOTHING)
    if kind != _MATRIX:
        raise ValueError(f"a variable of type {kind}")
    return body


def _parsed(body: memoryview, order: str) -> _Array | None:
    """None for an empty matrix, and for an object, which is laid out otherwise. Of `body` the content may be cut off."""
    parts = _elements(body, order)
    flags, shape, name = (next(parts, None) for _ in range(3))
    if flags is None or shape is None or name is None or len(flags[1]) != 8:
        return None
    (bits,) = struct.unpack_from(f"{order}I", flags[1])
    if bits & 0xFF == _OPAQUE:
        return None
    if len(shape[1]) > 128:
        raise ValueError("an array of more than 32 dimensions")
    sizes = struct.unpack_from(f"{order}{len(shape[1]) // 4}i", shape[1])
    text = bytes(name[1]).decode("latin-1")
    return _Array(bits & 0xFF, bool(bits & 0x800), sizes, text, body, body[name[2] :])


def _field(array: _Array, field: str, order: str) -> _Array:
    if array.kind != _STRUCT or prod(array.shape) != 1:
        raise ValueError(f"'{array.name[:63]}' is {array}; expected one struct")
    parts = _elements(array.content, order)
    first, second = islice(parts, 2)
    (length,), names = struct.unpack(f"{order}i", first[1]), bytes(second[1][:HEAD])
    fields = [names[at : at + length].partition(b"\0")[0].decode("latin-1") for at in range(0, len(names), length)]
    if field not in fields:
        raise ValueError(f"'{array.name[:63]}' has no field '{field}'")
    kind, body, _ = next(islice(parts, fields.index(field), None), _NOTHING)
    found = _parsed(body, order) if kind == _MATRIX else None
    if found is None:
        raise ValueError(f"'{field}' is no array")
    return found


def _loaded(body: bytes | memoryview, order: str) -> np.ndarray:
    """What scipy reads of one variable, in a file of its own."""
    from scipy.io import loadmat

    tag = struct.pack(f"{order}II", _MATRIX, len(body))
    letters = "utf-16-le" if order == "<" else "utf-16-be"
    found = loadmat(BytesIO(b"".join((_HEADERS[order], tag, body))), uint16_codec=letters)
    (value,) = (value for name, value in found.items() if name not in _OF_SCIPY)  # a field has no name of its own
    return np.asarray(value)


@lru_cache(maxsize=4)  # the files of a data set repeat one list, and it takes longer than the label map
def _texts(body: bytes, start: int, count: int, order: str) -> tuple[str, ...]:
    """What a cell array of so many texts holds, its cells beginning at `start`."""
    _refuse_other_cells(memoryview(body)[start:], count, order)
    return tuple(str(cell[0]) if cell.size else "" for cell in _loaded(body, order).ravel(order="F"))


def _content(array: _Array, types: frozenset[int], order: str) -> tuple[int, int]:
    """Bytes and end of what an array holds; scipy would look up any other type, unchecked."""
    kind, body, end = next(_elements(array.content, order), _NOTHING)
    if kind not in types:
        raise ValueError(f"content of type {kind}")
    return len(body), end


def _refuse_other_cells(content: memoryview, count: int, order: str) -> None:
    cells = list(islice(_elements(content, order), MOST_TEXTS + 1))
    if len(cells) != count:
        raise ValueError(f"{len(cells):,} cells where {count:,} are declared")
    for kind, body, _ in cells:
        cell = _parsed(body, order) if kind == _MATRIX else None
        if cell is None or cell.kind != _CHAR:
            raise ValueError("a cell array of something else than texts")
        size, end = _content(cell, _LETTERS, order)
        if len(cell.shape) != 2 or not 0 <= cell.shape[0] <= 1 or not 0 <= cell.shape[1] <= size:
            raise ValueError(f"a text of {' × '.join(map(str, cell.shape))} letters in {size} bytes")
        if end != len(cell.content):  # scipy goes on where the content ends, not where the cell says that it ends
            raise ValueError("a cell that is longer than its text")


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview, int]]:
    """Type, bytes and end of every element. Up to four bytes may stand in the place of the element's own tag."""
    at, tag = 0, struct.Struct(f"{order}II")
    while at + 8 <= len(data):
        kind, size = tag.unpack_from(data, at)
        if kind >> 16:
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            end = start + size + (0 if kind == _COMPRESSED else -size % 8)  # all but compressed ones are padded
        if start + size > len(data) or (start == at + 4 and size > 4):
            raise ValueError("it ends in the middle of a variable")
        yield kind, data[start : start + size], end
        at = end
