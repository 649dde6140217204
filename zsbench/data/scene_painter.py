"""One drawn scene: its plan (`compose`), the plan with one object exchanged (`swap`), its pixels (`paint`, `labels`).

A scene is a small frozen plan; labels and colours follow from it without further chance, so a plan can be repainted.
Shapes are signed distances in pixels (negative inside): the label is the hard inside, the colour is blended over the
last pixel of the edge. Lengths are given for a canvas of 64 pixels and scale with it.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zsbench.data.scene_classes import CONTEXTS, HUES, PARTNERS, drawn_class

VISIBLE = 25  # pixels: an object of which less can be seen is not present
TRIES = 20  # places tried for an object before it is left out
OVERLAP = 0.1  # share of its own area that a new object may lay over older ones
OWN_CONTEXT = 0.8  # probability that the context is the first object's own
DARK = 0.25  # brightness of stripes, fields and dots beside the object's colour
GRAIN = 0.03  # standard deviation of the pixel noise

# Muted colours that no object has, and per context its own grating: angle in degrees, period in pixels.
BACKGROUNDS = {
    "road": ((0.47, 0.47, 0.49), 0, 7.0),
    "field": ((0.50, 0.54, 0.42), 90, 4.5),
    "room": ((0.66, 0.59, 0.52), 45, 12.0),
    "water": ((0.43, 0.50, 0.58), 160, 9.0),
}

Plane = NDArray[np.floating]  # (size, size), one number per pixel
Labels = NDArray[np.uint8]  # (size, size) class ids, 0 = background


@dataclass(frozen=True)
class Thing:
    """An object: its class, its place and its nuisances."""

    class_id: int
    x: float
    y: float
    radius: float
    angle: float
    period: float  # of the texture, in pixels
    phase: tuple[float, float]
    jitter: tuple[float, float, float]  # hue shift, saturation, value


@dataclass(frozen=True)
class Scene:
    """A plan: one to three things of different classes, later ones on top."""

    things: tuple[Thing, ...]
    at_home: bool  # the context is the first thing's own; else it is `elsewhere`
    elsewhere: str
    grain: int  # seed of background blocks and pixel noise
    size: int

    @property
    def context(self) -> str:
        return drawn_class(self.things[0].class_id).context if self.at_home else self.elsewhere


@lru_cache(maxsize=4)
def _grid(size: int) -> tuple[Plane, Plane]:
    y, x = np.mgrid[:size, :size].astype(np.float32)
    return x, y


def _own_axes(thing: Thing, size: int) -> tuple[Plane, Plane]:
    """Every pixel's position (size, size) along and across the thing, which may stand at an angle."""
    x, y = _grid(size)
    dx, dy = x - np.float32(thing.x), y - np.float32(thing.y)
    cos, sin = np.float32(np.cos(thing.angle)), np.float32(np.sin(thing.angle))
    return dx * cos + dy * sin, dy * cos - dx * sin


def _star(u: Plane, v: Plane, r: float) -> Plane:
    outer, inner, half = 1.2 * r, 0.55 * r, np.pi / 5
    length, angle = np.hypot(u, v), np.arctan2(v, u)
    folded = np.abs((angle + half) % (2 * half) - half)  # 0 at a tip, `half` at a notch
    px, py = length * np.cos(folded), length * np.sin(folded)
    ex, ey = inner * np.cos(half) - outer, inner * np.sin(half)  # the edge from a tip to its notch
    distance: Plane = (ey * (px - outer) - ex * py) / np.hypot(ex, ey)
    return distance


def _distance(shape: str, u: Plane, v: Plane, r: float) -> Plane:
    """Signed distance to the outline; sizes are chosen so that the six shapes have similar areas."""
    if shape == "disc":
        return np.hypot(u, v) - 0.9 * r
    if shape == "ring":
        length = np.hypot(u, v)
        return np.maximum(length - 1.05 * r, 0.5 * r - length)
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.8 * r
    if shape == "triangle":
        slant = np.float32(np.sqrt(3) / 2)
        return np.maximum(np.maximum(slant * v - u / 2, -slant * v - u / 2), u) - 0.58 * r
    if shape == "star":
        return _star(u, v, r)
    arm, width = 1.05 * r, 0.38 * r
    u, v = np.abs(u), np.abs(v)
    return np.maximum(np.minimum(u, v) - width, np.maximum(u, v) - arm)


def _outline(thing: Thing, size: int) -> Plane:
    """(size, size) signed distance, negative inside the thing."""
    return _distance(drawn_class(thing.class_id).shape, *_own_axes(thing, size), thing.radius)


def _soft(x: Plane) -> Plane:
    return np.clip(x, 0, 1)


def _brightness(thing: Thing, size: int) -> Plane:
    """(size, size) in [DARK, 1]: the texture, one pixel of transition between dark and bright."""
    texture = drawn_class(thing.class_id).texture
    u, v = (axis / thing.period + phase for axis, phase in zip(_own_axes(thing, size), thing.phase, strict=True))
    if texture == "plain":
        return np.ones((size, size), np.float32)
    if texture == "striped":
        bright = _soft(0.5 + thing.period / 4 * np.sin(2 * np.pi * u))
    elif texture == "checked":
        bright = _soft(0.5 + thing.period / 3 * np.sin(np.pi * u) * np.sin(np.pi * v))
    else:
        bright = _soft(0.5 + thing.period * (np.hypot(u % 1 - 0.5, v % 1 - 0.5) - 0.3))
    return DARK + (1 - DARK) * bright


def _colour(thing: Thing) -> NDArray[np.float32]:
    shift, saturation, value = thing.jitter
    hue = HUES.index(drawn_class(thing.class_id).hue) / len(HUES)
    return np.array(colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value), np.float32)


def _background(context: str, size: int, rng: np.random.Generator) -> Plane:
    """(size, size, 3): flat colour, a grating of the context's own angle, and blocks of 1/8 of the canvas."""
    colour, angle, period = BACKGROUNDS[context]
    x, y = _grid(size)
    turn, scale = np.deg2rad(angle), size / 64
    wave = np.sin(2 * np.pi * ((x * np.sin(turn) + y * np.cos(turn)) / (period * scale) + rng.random())) * 0.05
    blocks = rng.uniform(-0.05, 0.05, (8, 8)).repeat(-(-size // 8), 0).repeat(-(-size // 8), 1)[:size, :size]
    return np.asarray(colour, np.float32) + (wave + blocks).astype(np.float32)[..., None]


def labels(scene: Scene) -> Labels:
    """What is on top at every pixel."""
    out = np.zeros((scene.size, scene.size), np.uint8)
    for thing in scene.things:
        out[_outline(thing, scene.size) < 0] = thing.class_id
    return out


def present(label_map: Labels) -> list[int]:
    """Class ids of which at least `VISIBLE` pixels can be seen, ascending; 0 and 255 are no classes."""
    counts = np.bincount(label_map.ravel(), minlength=256)
    return [i for i in range(1, 255) if counts[i] >= VISIBLE]


def paint(scene: Scene) -> NDArray[np.uint8]:
    """(size, size, 3) uint8 RGB."""
    rng = np.random.default_rng(scene.grain)
    image = _background(scene.context, scene.size, rng)
    for thing in scene.things:
        cover = _soft(0.5 - _outline(thing, scene.size))[..., None]
        image += cover * (_brightness(thing, scene.size)[..., None] * _colour(thing) - image)
    image += GRAIN * rng.standard_normal(image.shape, np.float32)
    return (_soft(image) * 255 + 0.5).astype(np.uint8)


def rim(label_map: Labels) -> Labels:
    """The same labels with 255 where two labels meet, as VOC's annotators left it."""
    out = label_map.copy()
    out[:-1][label_map[:-1] != label_map[1:]] = 255
    out[:, :-1][label_map[:, :-1] != label_map[:, 1:]] = 255
    return out


def _throw(class_id: int, size: int, rng: np.random.Generator) -> Thing:
    scale = size / 64
    x, y = rng.uniform(8 * scale, 56 * scale, 2)
    return Thing(
        class_id, x, y, rng.uniform(8, 14) * scale, rng.uniform(0, 2 * np.pi), rng.uniform(5, 6.5) * scale,
        (rng.random(), rng.random()), (rng.normal(0, 0.015), rng.uniform(0.75, 0.95), rng.uniform(0.75, 1)),
    )  # fmt: skip


def _fits(scene: Scene, thing: Thing, below: Labels) -> bool:
    """Whether `thing` on top of `scene` (labels `below`) covers little and leaves everything present."""
    inside = _outline(thing, scene.size) < 0
    if np.count_nonzero(below[inside]) >= OVERLAP * np.count_nonzero(inside):
        return False
    above = np.where(inside, thing.class_id, below)
    return len(present(above)) == len(scene.things) + 1


def _classes(rng: np.random.Generator, pool: Sequence[int], cooc: float) -> list[int]:
    """One to three different ids; with probability `cooc` the second is the first one's partner, if the pool has it."""
    chosen = [int(i) for i in rng.choice(pool, size=min(3, len(pool)), replace=False)][: rng.integers(1, 4)]
    partner = PARTNERS[chosen[0]]
    if rng.random() < cooc and len(chosen) > 1 and partner in pool:
        chosen = [chosen[0], partner, *(i for i in chosen[2:] if i != partner)]
    return chosen


def compose(rng: np.random.Generator, pool: Sequence[int], size: int = 64, cooc: float = 0.0) -> Scene:
    """A scene of classes from `pool`; an object that finds no place in 20 tries is left out."""
    chosen = _classes(rng, pool, cooc)
    scene = Scene((), bool(rng.random() < OWN_CONTEXT), str(rng.choice(CONTEXTS)), int(rng.integers(2**31)), size)
    for class_id in chosen:
        below = labels(scene)
        things = (_throw(class_id, size, rng) for _ in range(TRIES))
        found = next((thing for thing in things if _fits(scene, thing, below)), None)
        scene = replace(scene, things=(*scene.things, found)) if found else scene
    return scene


def swap(scene: Scene, class_id: int, rng: np.random.Generator) -> Scene:
    """The same scene with one thing turned into `class_id`; a context that followed that thing follows the new one."""
    count = len(scene.things)
    for at in [*rng.permutation(count), count - 1]:
        things = tuple(replace(t, class_id=class_id) if i == at else t for i, t in enumerate(scene.things))
        swapped = replace(scene, things=things)
        if len(present(labels(swapped))) == count:
            break
    return swapped  # in the rare last case the topmost thing was exchanged, and what it hides is no longer present
