"""The gallery: photo, truth and prediction of the chosen images, small enough to live inside the page.

Choices: a photo becomes WebP, a label map PNG. The record names the colour of each class in its label files; here every
class gets the report's own hue instead (unseen classes take the first, most distinct ones), opacity stays: clear where
nothing is labelled, pale where a prediction is not scored. A missing or unreadable file leaves a card that says so.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .groups import Group
from .read import Run

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 320  # pixels on the longer side of an inlined picture
TINY = 160  # below this a picture is enlarged by whole pixels, not smoothed
MOST_PIXELS = 64_000_000  # a larger file is not opened
FORMATS = ("PNG", "JPEG", "WEBP")
HEX = re.compile("#[0-9a-f]{6}")
RULES = ("worst", "median", "best")


@dataclass(frozen=True)
class Tile:
    """One picture of a card. url: a data URI, or None with `lack` saying why there is none."""

    title: str
    alt: str
    url: str | None
    lack: str = ""


@dataclass(frozen=True)
class Card:
    """Photo, truth and prediction of one image. legend: (class name, colour) of the classes in truth or prediction."""

    key: str
    rule: str
    score: float | None
    photo: Tile
    truth: Tile
    prediction: Tile
    legend: tuple[tuple[str, str], ...]
    tiny: bool
    shape: tuple[int, int]  # width, height of the photo as inlined


def gallery(group: Group) -> tuple[int | None, list[Card]]:
    """(seed, cards) of the group's first run that has pictures: worst, then median, then best."""
    for run in group.runs:
        pictures = run.get("files.pictures", [])
        if pictures:
            order = sorted(pictures, key=lambda p: RULES.index(p["rule"]) if p["rule"] in RULES else len(RULES))
            return run.get("seed"), [_card(run, picture) for picture in order]
    return None, []


def _card(run: Run, picture: dict[str, Any]) -> Card:
    key, labels = picture["key"], picture.get("labels") or {}
    photo, shape = _photo(run, picture["photo"], key)
    hues = _hues(run)
    told = {name: colour for name, colour in (picture.get("colours") or {}).items() if HEX.fullmatch(colour)}
    repaint = {told[name]: hue for name, hue in hues.items() if name in told}
    truth = _labels(run, picture["truth"], "truth", repaint, labels.get("truth", []))
    guess = _labels(run, picture["prediction"], "prediction", repaint, labels.get("prediction", []))
    shown = {*labels.get("truth", []), *labels.get("prediction", [])} & told.keys()
    legend = tuple((name, hue) for name, hue in hues.items() if name in shown)
    return Card(key, picture["rule"], picture.get("score"), photo, truth, guess, legend, max(shape) <= TINY, shape)


def _hues(run: Run) -> dict[str, str]:
    """Class name -> colour in the report; unseen classes first."""
    names = [*run.get("split.unseen", []), *run.get("split.seen", [])]
    return {name: hue(place) for place, name in enumerate(names)}


def _photo(run: Run, file: str, key: str) -> tuple[Tile, tuple[int, int]]:
    image = _open(run.file(file))
    if image is None:
        return Tile("photo", f"Photo {key}", None, f"no picture file {file}"), (4, 3)
    image = _fitted(image.convert("RGB"), smooth=True)
    return Tile("photo", f"Photo {key}", _uri(image, "webp", quality=82, method=6)), image.size


def _labels(run: Run, file: str, title: str, repaint: Mapping[str, str], names: Sequence[str]) -> Tile:
    alt = f"{title.capitalize()}: {', '.join(names) or 'no class'}"
    image = _open(run.file(file))
    if image is None:
        return Tile(title, alt, None, f"no picture file {file}")
    painted = _repainted(_fitted(image.convert("RGBA"), smooth=False), repaint)
    return Tile(title, alt, _uri(painted, "png", optimize=True))


def _repainted(image: Image, repaint: Mapping[str, str]) -> Image:
    """RGBA with every colour of `repaint` exchanged; other colours and the opacity stay."""
    import numpy as np
    from PIL import Image as Pillow

    old = np.asarray(image)
    new = old.copy()
    for before, after in repaint.items():
        new[(old[..., :3] == list(bytes.fromhex(before[1:]))).all(-1), :3] = list(bytes.fromhex(after[1:]))
    return Pillow.fromarray(new)


def _open(path: Path | None) -> Image | None:
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


def _fitted(image: Image, smooth: bool) -> Image:
    from PIL.Image import Resampling

    scale = LONGEST / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Resampling.LANCZOS if smooth else Resampling.NEAREST)


def _uri(image: Image, kind: str, **options: Any) -> str:
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


@lru_cache
def hue(place: int) -> str:
    """The hue of a class by its place among the names: golden-angle steps in OKLCH, lightness in three turns."""
    angle = math.radians(25 + 137.508 * place)
    lightness = (0.72, 0.58, 0.84)[place // 5 % 3]
    return _oklch(lightness, 0.15, angle)


def _oklch(lightness: float, chroma: float, angle: float) -> str:
    """sRGB hex of an OKLCH colour, clipped to the gamut (B. Ottosson, "A perceptual color space", 2020)."""
    a, b = chroma * math.cos(angle), chroma * math.sin(angle)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(min(1.0, max(0.0, part)))):02x}" for part in linear)


def _gamma(part: float) -> float:
    return float(12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055)
