"""The gallery: photo, truth and prediction of the chosen images, small enough to live inside the page.

Choices: the record names the colour of each class in its label files; here every class gets the report's own hue instead
(unseen classes take the first, most distinct ones), opacity stays: clear where nothing is labelled, pale where a
prediction is not scored. A missing or unreadable file leaves a card that says so. All pictures of a page share one room
(see `room_for`): a card is drawn at the first of a few sizes that fits its part of it, so that many pictures get smaller
rather than fewer, and equal inputs give equal bytes. An image that no score chose is no failure and no success of
anybody: it stands side by side with the answers of others (`common_pictures`), not in a gallery.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .groups import Group
from .packing import indexed, opened, packed, tiny
from .read import Run

if TYPE_CHECKING:
    from PIL.Image import Image

PAGE_ROOM = 4_000_000  # characters of all pictures of a page; its numbers and drawings need the rest of 8 MB
BOARD_ROOM = 500_000  # of these, what the drawings and tables of each board beyond the first need
SMALLEST_ROOM = 1_500_000
LEAST_ROOM = 6_500  # of a card; where more cards would share the page's room, galleries show fewer
HEX = re.compile("#[0-9a-f]{6}")
RULES = ("worst", "median", "best")
SHARED = "shared"  # the rule of an image that every run of a split shows, and that is none of the above
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
    """What pictures may take. cards: a gallery's at most, of all rules in turn; images: a board's at most side by side.

    each: characters of one card's pictures, photo, truth and prediction.
    """

    cards: int
    each: int
    images: int = 0

    def of(self, tiles: int) -> int:
        """Characters of that many pictures: one side by side takes as much as one in a gallery."""
        return self.each * tiles // len(LAYERS)


def room_for(groups: Sequence[Group], beside: Sequence[Sequence[int]] = ()) -> Room:
    """Shares the page's room equally among all pictures of a page: of one gallery per group, and of those side by side.

    beside: per board, how many pictures each of its images takes side by side; where a page would hold more of them than half
    of what it can, boards show fewer images.
    """
    counts = [len(_shown(group)[1]) for group in groups]
    most, cards, images = PAGE_ROOM // LEAST_ROOM, max(counts, default=0), max(map(len, beside), default=0)
    while images > 1 and _cards_worth(beside, images) > most // 2:
        images -= 1
    wanted = _cards_worth(beside, images)
    page = max(SMALLEST_ROOM, PAGE_ROOM - BOARD_ROOM * max(0, len(beside) - 1))
    while cards > len(RULES) and sum(min(count, cards) for count in counts) + wanted > most:
        cards -= 1
    return Room(cards, page // max(1, sum(min(count, cards) for count in counts) + wanted), images)


def _cards_worth(beside: Sequence[Sequence[int]], images: int) -> int:
    return math.ceil(sum(sum(own[:images]) for own in beside) / len(LAYERS))


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
    """The run whose pictures are shown, and all of its pictures that a score chose, failures first."""
    for run in group.runs:
        if pictures := [picture for picture in run.get("files.pictures", []) if picture["rule"] != SHARED]:
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
    photo = opened(run.file(picture["photo"]))
    layers = (photo, label_map(run, picture, "truth"), label_map(run, picture, "prediction"))
    urls, shape = packed(layers, room)
    shot, right, answer = (tile_of(picture, layer, url) for layer, url in zip(LAYERS, urls, strict=True))
    legend = legend_of(run, [picture])
    return Card(picture["key"], picture["rule"], picture.get("score"), shot, right, answer, legend, tiny(photo), shape)


def label_map(run: Run, picture: Mapping[str, Any], layer: str) -> Image | None:
    """A picture's truth or prediction in the report's hues; None where there is no such file."""
    image, told = opened(run.file(picture[layer])), _told(picture)
    repaint = {told[name]: hue for name, hue in _hues(run).items() if name in told}
    return image and indexed(image, repaint)


def tile_of(picture: Mapping[str, Any], layer: str, url: str | None, lack: str = "") -> Tile:
    """The tile of one layer, with the words that stand for it."""
    names = labels_of(picture, layer)
    alt = f"Photo {picture['key']}" if layer == "photo" else f"{layer.capitalize()}: {', '.join(names) or 'no class'}"
    return Tile(layer, alt, url, "" if url else lack or f"no picture file {picture[layer]}")


def labels_of(picture: Mapping[str, Any], layer: str) -> list[str]:
    """The classes that a label map shows, as its record says."""
    return list((picture.get("labels") or {}).get(layer, []))


def legend_of(run: Run, pictures: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """(class name, colour) of every class that the label maps of these pictures show; they are of the run's split."""
    shown = {name for picture in pictures for layer in LAYERS[1:] for name in labels_of(picture, layer)}
    told = {name for picture in pictures for name in _told(picture)}
    return tuple((name, hue) for name, hue in _hues(run).items() if name in shown & told)


def _told(picture: Mapping[str, Any]) -> dict[str, str]:
    """Class name -> its colour in the files of a picture."""
    return {name: colour for name, colour in (picture.get("colours") or {}).items() if HEX.fullmatch(colour)}


def _hues(run: Run) -> dict[str, str]:
    """Class name -> colour in the report; unseen classes first."""
    names = [*run.get("split.unseen", []), *run.get("split.seen", [])]
    return {name: hue(place) for place, name in enumerate(names)}


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
