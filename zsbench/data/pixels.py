"""Photographs and label maps from files, read past the guard; every fault is a `UserError` that names the file.

A palette PNG is read as its indices, never converted: an index is a class id, a colour is not. Only JPEG and PNG are
decoded (Pillow would otherwise try every format it knows on a file from a stranger), and only up to `MAX_PIXELS`.
"""

from __future__ import annotations

import struct
import tokenize
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from zsbench.errors import UserError

MAX_PIXELS = 50_000_000  # a header may promise terabytes; the largest photographs here have 0.3 million pixels
# What Pillow raises on damaged files.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
# What numpy raises on damaged .npy files, whose header is text that it parses as Python.
BROKEN_ARRAY = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RecursionError, SyntaxError, TypeError,
    ValueError, struct.error, tokenize.TokenError,
)  # fmt: skip


class Missing(UserError):
    """A photograph or mask that is not there. Readers name those on opening, many in one sentence."""


def read_photo(file: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    with opened(file, str(file), ("JPEG", "PNG")) as image:
        return np.array(image.convert("RGB"))


def photo_shape(file: Path) -> tuple[int, int]:
    """(H, W) from the header alone."""
    with opened(file, str(file), ("JPEG", "PNG")) as image:
        return image.height, image.width


def read_mask(file: Path, modes: tuple[str, ...] = ("P",)) -> np.ndarray:
    """(H, W) uint8 ids of a PNG: palette indices ("P"), or grey values where a data set is published so ("L")."""
    with opened(file, str(file), ("PNG",)) as image:
        if image.mode not in modes:
            raise UserError(
                f"{file}: a mask in mode {image.mode}; expected a {_wanted(modes)} is the class id. Masks must not be "
                "converted; take the original file."
            )
        return np.array(image)


def _wanted(modes: Sequence[str]) -> str:
    """What kind of PNG these modes are, in words."""
    grey = ", ".join(mode for mode in modes if mode != "P")
    palette = "palette PNG (mode P) whose index" if "P" in modes else ""
    return " or a ".join(kind for kind in (palette, grey and f"grey PNG (mode {grey}) whose value") if kind)


def refuse_other_size(mask: Path | str, ids: np.ndarray, photo: Path | str, shape: tuple[int, ...]) -> None:
    """Raises UserError where a label map has another size than its photograph's (H, W)."""
    if ids.shape != shape:
        raise UserError(f"{mask}: {_size(ids.shape)} pixels, but its photograph {photo} has {_size(shape)}.")


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, reversed(shape)))


@contextmanager
def opened(source: Path | bytes, where: str, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """The picture of a file, or of the bytes of one; faults begin with `where`."""
    kind = " or ".join(formats)
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(f"{where}: {image.width} × {image.height} pixels; at most {MAX_PIXELS:,} are decoded.")
            yield image
    except FileNotFoundError:
        raise Missing(f"{where}: no such file.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{where}: the header promises too many pixels; at most {MAX_PIXELS:,} are decoded.") from None
    except UnidentifiedImageError:
        raise UserError(f"{where}: not an image; expected a {kind} file.") from None
    except BROKEN as fault:
        raise UserError(f"{where}: broken or truncated; expected a whole {kind} file ({fault}).") from None
