"""Label maps from MATLAB files, which come from strangers: sizes are known before anything large is read.

scipy runs no code from a .mat file, but it believes the lengths that stand in it: a compressed variable of a few kilobytes
may unpack to gigabytes. So each one is unpacked here first, up to a limit and without keeping it.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np

from zsbench.data.pixels import MAX_PIXELS, Missing
from zsbench.errors import UserError

LARGEST = 64 * 2**20  # bytes of a file; the official ones have some 20 thousand
UNPACKED = 8 * MAX_PIXELS  # bytes of a variable: MAX_PIXELS of 64 bits
HEADER, COMPRESSED = 128, 15  # bytes before the first variable; MATLAB's number for a compressed one
CHUNK = 2**20
NUMBERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "double", "single", "logical")


def read_label_mat(file: Path, key: str, source: str) -> np.ndarray:
    """(H, W) integers: the variable `key` of a .mat file; `source` says in words whose files have it."""
    from scipy.io import loadmat, whosmat

    try:
        raw = _bytes(file)
        _refuse_bombs(file, raw)
        found = {name: (shape, kind) for name, shape, kind in whosmat(BytesIO(raw))}
        if key in found:
            _refuse_shape(file, key, *found[key])
            ids = loadmat(BytesIO(raw), variable_names=[key])[key]
    except UserError:
        raise
    except Exception as fault:  # scipy's reader has no error type of its own
        raise UserError(f"{file}: not a MATLAB file that can be read ({fault}); expected {source}.") from None
    if key not in found:
        raise UserError(f"{file}: holds {', '.join(map(repr, found)) or 'nothing'}, no '{key}'; expected {source}.")
    whole = np.asarray(ids)
    if not np.issubdtype(whole.dtype, np.integer):
        if not np.array_equal(whole, np.round(whole)) or np.abs(whole).max(initial=0) > 2**31:
            raise UserError(f"{file}: '{key}' holds fractions; expected class ids, as in {source}.")
        whole = whole.astype(np.int64)
    return whole


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


def _refuse_bombs(file: Path, raw: bytes) -> None:
    order = "<" if raw[126:128] == b"IM" else ">"
    place = HEADER
    while place + 8 <= len(raw):
        kind, length = struct.unpack_from(f"{order}II", raw, place)
        if kind == COMPRESSED and _unpacked(raw[place + 8 : place + 8 + length]) > UNPACKED:
            raise UserError(f"{file}: a variable unpacks to more than {UNPACKED >> 20} MiB; none is read.")
        place += 8 + length


def _unpacked(data: bytes) -> int:
    """Bytes that `data` unpacks to, counted up to the limit."""
    stream, size = zlib.decompressobj(), 0
    while data and size <= UNPACKED:
        size += len(stream.decompress(data, CHUNK))
        data = stream.unconsumed_tail
    return size


def _refuse_shape(file: Path, key: str, shape: tuple[int, ...], kind: str) -> None:
    if len(shape) != 2 or kind not in NUMBERS or np.prod(shape, dtype=float) > MAX_PIXELS:
        raise UserError(
            f"{file}: '{key}' is {kind} {' × '.join(map(str, shape))}; expected a label map of at most {MAX_PIXELS:,} pixels."
        )
