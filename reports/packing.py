"""Pictures as data URIs of few bytes: a photo as WebP, a label map as a PNG with a palette.

Choices: of a few sizes the finest that fits its room is taken, photo and label maps at the same one, so that they lie
over each other. A file is opened only when it is small enough and a picture; what it shows is not trusted further.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

# Pixels on the longer side of an inlined picture and the quality of its photo, from the finest to the coarsest.
STEPS = ((320, 82), (320, 70), (288, 60), (256, 52), (224, 46), (192, 42), (160, 38), (128, 34), (96, 30))
AMPLE = 40_000  # room in which nearly every card fits at the finest step, so that it is tried first
TINY = 160  # below this a picture is enlarged by whole pixels, not smoothed
MOST_PIXELS = 64_000_000  # a larger file is not opened
FORMATS = ("PNG", "JPEG", "WEBP")


def tiny(photo: Image | None) -> bool:
    """Whether the file itself is small: a picture made small to save room is still a photo."""
    return max(photo.size if photo else (4, 3)) <= TINY


def packed(layers: Sequence[Image | None], room: int) -> tuple[list[str | None], tuple[int, int]]:
    """Data URIs of a photo and label maps and the size of the photo: the finest of STEPS that fits, or the coarsest.

    A finer step takes more room, so the first that fits is found by halving.
    """

    @cache
    def at(step: int) -> list[str | None]:
        longest, quality = STEPS[step]
        photo, *labels = layers
        urls = [None if label is None else _labels(label, longest) for label in labels]
        return [None if photo is None else _photo(photo, longest, quality), *urls]

    low, high = 0, len(STEPS) - 1
    middle = 0 if room >= AMPLE else high // 2
    while low < high:
        if sum(len(url or "") for url in at(middle)) <= room:
            high = middle
        else:
            low = middle + 1
        middle = (low + high) // 2
    photo = layers[0]
    return at(low), (4, 3) if photo is None else fitting(photo.size, STEPS[low][0])


def _photo(image: Image, longest: int, quality: int) -> str:
    from PIL.Image import Resampling

    small = image.convert("RGB").resize(fitting(image.size, longest), Resampling.LANCZOS)
    return _uri(small, "webp", quality=quality, method=4)


def _labels(image: Image, longest: int) -> str:
    from PIL.Image import Resampling

    return _uri(image.resize(fitting(image.size, longest), Resampling.NEAREST), "png", optimize=True)


def indexed(image: Image, repaint: Mapping[str, str]) -> Image:
    """A label map with every colour of `repaint` exchanged and the opacity kept: with a palette where 256 colours do.

    A clear pixel shows no colour, so all clear ones are one entry of the palette.
    """
    import numpy as np
    from PIL import Image as Pillow

    pixels = np.asarray(image.convert("RGBA"))
    pixels = np.ascontiguousarray(pixels * (pixels[..., 3:] > 0))
    colours, ids = np.unique(pixels.view("<u4")[..., 0], return_inverse=True)
    palette = _repainted(colours.astype("<u4").view(np.uint8).reshape(-1, 4), repaint)
    ids = ids.reshape(pixels.shape[:2])
    if len(palette) > 256:
        return Pillow.fromarray(palette[ids])
    made = Pillow.fromarray(ids.astype(np.uint8), "P")
    made.putpalette(palette[:, :3].tobytes(), "RGB")
    made.info["transparency"] = palette[:, 3].tobytes()
    return made


def _repainted(palette: np.ndarray, repaint: Mapping[str, str]) -> np.ndarray:
    """(n, 4) colours, those of `repaint` exchanged."""
    new = palette.copy()
    for before, after in repaint.items():
        new[(palette[:, :3] == list(bytes.fromhex(before[1:]))).all(1), :3] = list(bytes.fromhex(after[1:]))
    return new


def opened(path: Path | None) -> Image | None:
    """The loaded picture; None when the file is missing, too large, or no picture."""
    from PIL import Image as Pillow

    if path is None:
        return None
    try:
        with Pillow.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Pillow.DecompressionBombError):
        return None


def fitting(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """The size with its longer side at most `longest`."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _uri(image: Image, kind: str, **options: Any) -> str:
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
