"""Side by side: what several configurations of a board make of the same image.

Choices: an image is shown when at least two configurations show it, by whatever rule, and of each configuration its
first run that does, so that equal inputs give equal pages. First come the images that every run of a split shows and no
score chose, then those that most configurations show, a few in all; where the answers differ most stands first. One
truth stands for all: whoever has another one, in names, size or pixels, is not compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from .groups import Group
from .packing import fitting, opened, packed, tiny
from .pictures import Room, Tile, label_map, labels_of, legend_of, tile_of
from .read import Run

if TYPE_CHECKING:
    from PIL.Image import Image

MOST = 6  # images of a board
FEWEST = 2  # configurations that make a comparison
COMPARED = 512  # pixels on the longer side on which answers are compared: all of them in the usual photographs


@dataclass(frozen=True)
class Shot:
    """A picture of a configuration's run."""

    group: Group
    run: Run
    picture: dict[str, Any]


@dataclass(frozen=True)
class Common:
    """An image that several configurations show. shared: no score chose it; shots: one each, in the board's order."""

    key: str
    shared: bool
    shots: tuple[Shot, ...]

    @property
    def tiles(self) -> int:
        """Pictures on its card: photo, truth and the answers."""
        return 2 + len(self.shots)


@dataclass(frozen=True)
class Answer:
    """A configuration's prediction. score: the image's own mean IoU; rule: worst, median, best, or another word."""

    group: Group
    seed: int | None
    rule: str
    score: float | None
    tile: Tile


@dataclass(frozen=True)
class CommonCard:
    """One image with every answer. legend, tiny, shape: as of `pictures.Card`.

    dissent: of the labelled pixels those that two configurations answer differently, averaged over all pairs.
    """

    key: str
    shared: bool
    photo: Tile
    truth: Tile
    answers: tuple[Answer, ...]
    legend: tuple[tuple[str, str], ...]
    tiny: bool
    shape: tuple[int, int]
    dissent: float


def common_images(groups: Sequence[Group]) -> list[Common]:
    """The images to compare, from the records alone: shared ones first, then by how many show them, then by key."""
    found: dict[tuple[str, tuple[str, ...]], list[Shot]] = {}
    for group in groups:
        for shot in _first(group).values():
            names = tuple(sorted(labels_of(shot.picture, "truth")))
            found.setdefault((shot.picture["key"], names), []).append(shot)
    images = [
        Common(key, any(shot.picture.get("shared") is True for shot in shots), tuple(shots))
        for (key, _), shots in found.items()
        if len(shots) >= FEWEST
    ]
    return sorted(images, key=lambda image: (not image.shared, -len(image.shots), image.key))[:MOST]


def _first(group: Group) -> dict[str, Shot]:
    """Key -> the group's first picture of it."""
    shots: dict[str, Shot] = {}
    for run in group.runs:
        for picture in run.get("files.pictures", []):
            shots.setdefault(picture["key"], Shot(group, run, picture))
    return shots


def common_cards(images: Sequence[Common], room: Room) -> list[CommonCard]:
    """The cards of a board; shared images first, then where the answers differ most."""
    cards = [card for image in images[: room.images] if (card := _card(image, room))]
    return sorted(cards, key=lambda card: (not card.shared, -card.dissent, card.key))


def _card(image: Common, room: Room) -> CommonCard | None:
    """The card in its part of the room; None where the truths leave nothing to compare."""
    truth, shots = _agreeing(image.shots)
    if len(shots) < FEWEST:
        return None
    photos = ((shot, opened(shot.run.file(shot.picture["photo"]))) for shot in shots)
    shown, photo = next(((shot, found) for shot, found in photos if found), (shots[0], None))
    guesses = [label_map(shot.run, shot.picture, "prediction") for shot in shots]
    whole = [guess if guess and (truth is None or guess.size == truth.size) else None for guess in guesses]
    (view, right, *urls), shape = packed((photo, truth, *whole), room.of(image.tiles))
    answers = tuple(_answer(*parts) for parts in zip(shots, guesses, urls, strict=True))
    return CommonCard(
        image.key, image.shared, tile_of(shown.picture, "photo", view), tile_of(shots[0].picture, "truth", right), answers,
        legend_of(shots[0].run, [shot.picture for shot in shots]), tiny(photo), shape, _dissent(truth, whole),
    )  # fmt: skip


def _agreeing(shots: Sequence[Shot]) -> tuple[Image | None, list[Shot]]:
    """The truth that most have, the first of equals, and the shots that have it or lost theirs."""
    truths = [label_map(shot.run, shot.picture, "truth") for shot in shots]
    prints = [truth and (truth.size, truth.convert("RGBA").tobytes()) for truth in truths]
    told = Counter(own for own in prints if own)
    if not told:
        return None, list(shots)
    [(right, _)] = told.most_common(1)
    agreed = [shot for shot, own in zip(shots, prints, strict=True) if own in (right, None)]
    return truths[prints.index(right)], agreed


def _answer(shot: Shot, guess: Image | None, url: str | None) -> Answer:
    lack = f"{shot.picture['prediction']} has another size than the truth" if guess else ""
    tile = tile_of(shot.picture, "prediction", url, lack)
    return Answer(shot.group, shot.run.get("seed"), shot.picture["rule"], shot.picture.get("score"), tile)


def _dissent(truth: Image | None, guesses: Sequence[Image | None]) -> float:
    """Averaged over pairs of answers: the share of labelled pixels that the two answer differently. 0 without a pair."""
    import numpy as np
    from PIL.Image import Resampling

    if truth is None:
        return 0.0
    size = fitting(truth.size, COMPARED)

    def pixels(image: Image) -> Any:
        return np.asarray(image.resize(size, Resampling.NEAREST).convert("RGBA"))

    labelled = pixels(truth)[..., 3] > 0
    told = [pixels(guess)[labelled][:, :3] for guess in guesses if guess]
    apart = [(one != other).any(1).mean() for one, other in combinations(told, 2)]
    return float(np.mean(apart)) if apart and labelled.any() else 0.0
