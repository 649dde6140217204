"""Photographs and label maps of users' own data, from files or from cells of a table; every fault names its place.

The limits are those of `pixels.py`: JPEG and PNG only, up to `MAX_PIXELS`. A label map holds ids: palette indices ("P") or
grey values, of 8 bits ("L") or of 16. Colours are no ids, and are refused rather than guessed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zsbench.data.pixels import opened
from zsbench.errors import UserError

MODES = ("P", "L", "I;16", "I;16B", "I")  # the last ones are 16-bit PNG as different versions of Pillow call it


def photo_of(source: Path | bytes, where: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    with opened(source, where, ("JPEG", "PNG")) as image:
        return np.array(image.convert("RGB"))


def shape_of(source: Path | bytes, where: str) -> tuple[int, int]:
    """(H, W) from the header alone."""
    with opened(source, where, ("JPEG", "PNG")) as image:
        return image.height, image.width


def ids_of(source: Path | bytes, where: str) -> np.ndarray:
    """(H, W) whole numbers as the label map holds them: uint8, uint16 or int32."""
    with opened(source, where, ("PNG",)) as image:
        if image.mode not in MODES:
            raise UserError(
                f"{where}: a mask in mode {image.mode} holds colours, and no class ids; expected a PNG whose palette index "
                "or grey value is the id (mode P, L or I;16). Save it so, with one id for each colour."
            )
        return np.array(image)
