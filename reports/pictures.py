"""The gallery: photo, truth and prediction of the chosen images, small enough to live inside the page.

Choices: a photo becomes WebP, a label map a PNG with a palette. The record names the colour of each class in its label
files; here every class gets the report's own hue instead (unseen classes take the first, most distinct ones), opacity
stays: clear where nothing is labelled, pale where a prediction is not scored. A missing or unreadable file leaves a card
that says so. All pictures of a page share one room (see `room_for`): a card is drawn at the first of a few sizes that
fits its part of it, so that many pictures get smaller rather than fewer, and equal inputs give equal bytes.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .groups import Group
from .read import Run

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

# Pixels on the longer side of an inlined picture and the quality of its photo, from the finest to the coarsest.
STEPS = ((320, 82), (320, 70), (288, 60), (256, 52), (224, 46), (192, 42), (160, 38), (128, 34), (96, 30))
PAGE_ROOM = 4_000_000  # characters of all pictures of a page; its numbers and drawings need the rest of 8 MB
LEAST_ROOM = 4_000  # of a card; where more cards would share the page's room, galleries show fewer
AMPLE = 40_000  # room in which nearly every card fits at the finest step, so that it is tried first
TINY = 160  # below this a picture is enlarged by whole pixels, not smoothed
MOST_PIXELS = 64_000_000  # a larger file is not opened
FORMATS = ("PNG", "JPEG", "WEBP")
HEX = re.compile("#[0-9a-f]{6}")
RULES = ("worst", "median", "best")
LAYERS = ("photo", "truth", "prediction")


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


@dataclass(frozen=True)
class Room:
    """What a gallery may take. cards: at most so many, of all rules in turn. each: characters of one card's pictures."""

    cards: int
    each: int


def room_for(groups: Sequence[Group]) -> Room:
    """Shares the page's room equally among the cards of all galleries of a page, one gallery per group."""
    counts = [len(_shown(group)[1]) for group in groups]
    most, cards = PAGE_ROOM // LEAST_ROOM, max(counts, default=0)
    while cards > len(RULES) and sum(min(count, cards) for count in counts) > most:
        cards -= 1
    return Room(cards, PAGE_ROOM // max(1, sum(min(count, cards) for count in counts)))


def gallery(group: Group, room: Room | None = None) -> tuple[int | None, list[Card]]:
    """(seed, cards) of the group's first run that has pictures: worst, then median, then best, each from the lowest score.

    Without a room the gallery has the page's to itself.
    """
    run, pictures = _shown(group)
    if run is None:
        return None, []
    room = room or room_for([group])
    return run.get("seed"), [_card(run, picture, room.each) for picture in _in_turn(pictures, room.cards)]


def _shown(group: Group) -> tuple[Run | None, list[dict[str, Any]]]:
    """The run whose pictures are shown, and all of its pictures, failures first."""
    for run in group.runs:
        if pictures := run.get("files.pictures", []):
            return run, sorted(pictures, key=_place)
    return None, []


def _place(picture: dict[str, Any]) -> tuple[int, float, str]:
    rule, score = picture["rule"], picture.get("score")
    return RULES.index(rule) if rule in RULES else len(RULES), math.inf if score is None else score, picture["key"]


def _in_turn(pictures: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most `most` of the pictures, in their order: the first of every rule, then the second of every rule."""
    places: dict[int, list[int]] = {}
    for place, picture in enumerate(pictures):
        places.setdefault(_place(picture)[0], []).append(place)
    turns = sorted((turn, place) for own in places.values() for turn, place in enumerate(own))
    return [pictures[place] for place in sorted(place for _, place in turns[:most])]


def _card(run: Run, picture: dict[str, Any], room: int) -> Card:
    """The card with its pictures in `room` characters."""
    key, labels = picture["key"], picture.get("labels") or {}
    hues = _hues(run)
    told = {name: colour for name, colour in (picture.get("colours") or {}).items() if HEX.fullmatch(colour)}
    repaint = {told[name]: hue for name, hue in hues.items() if name in told}
    photo, truth, guess = (_open(run.file(picture[layer])) for layer in LAYERS)
    layers = (photo, truth and _indexed(truth, repaint), guess and _indexed(guess, repaint))
    words = [f"Photo {key}", *(_alt(layer, labels.get(layer, [])) for layer in LAYERS[1:])]
    urls, shape = _packed(layers, room)
    shot, right, answer = (
        Tile(layer, alt, url, "" if url else f"no picture file {picture[layer]}")
        for layer, alt, url in zip(LAYERS, words, urls, strict=True)
    )
    shown = {*labels.get("truth", []), *labels.get("prediction", [])} & told.keys()
    legend = tuple((name, hue) for name, hue in hues.items() if name in shown)
    return Card(key, picture["rule"], picture.get("score"), shot, right, answer, legend, _tiny(photo), shape)


def _hues(run: Run) -> dict[str, str]:
    """Class name -> colour in the report; unseen classes first."""
    names = [*run.get("split.unseen", []), *run.get("split.seen", [])]
    return {name: hue(place) for place, name in enumerate(names)}


def _alt(title: str, names: Sequence[str]) -> str:
    return f"{title.capitalize()}: {', '.join(names) or 'no class'}"


def _tiny(photo: Image | None) -> bool:
    """Whether the file itself is small: a picture made small to save room is still a photo."""
    return max(photo.size if photo else (4, 3)) <= TINY


def _packed(layers: Sequence[Image | None], room: int) -> tuple[list[str | None], tuple[int, int]]:
    """Data URIs of photo, truth and prediction and the size of the photo: the finest of STEPS that fits, or the coarsest.

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
    return at(low), (4, 3) if photo is None else _fitting(photo.size, STEPS[low][0])


def _photo(image: Image, longest: int, quality: int) -> str:
    from PIL.Image import Resampling

    small = image.convert("RGB").resize(_fitting(image.size, longest), Resampling.LANCZOS)
    return _uri(small, "webp", quality=quality, method=4)


def _labels(image: Image, longest: int) -> str:
    from PIL.Image import Resampling

    return _uri(image.resize(_fitting(image.size, longest), Resampling.NEAREST), "png", optimize=True)


def _indexed(image: Image, repaint: Mapping[str, str]) -> Image:
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


def _fitting(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """The size with its longer side at most `longest`."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


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
