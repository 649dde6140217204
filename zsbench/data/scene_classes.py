"""The twenty classes of the drawn scenes: VOC's names, each a fixed combination of shape, texture, hue and context.

A Latin square gives every (shape, texture) cell its hue, so any two classes differ in at least two of the three looks,
any two looks name the class, and no single one does. What is unseen is therefore a new combination of seen parts:
zero-shot transfer is possible, and a colour-only or shape-only shortcut cannot make it. The names are borrowed so that
every VOC reader fits; what an object looks like has nothing to do with what its name means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsbench.errors import UserError

SHAPES = ("disc", "square", "triangle", "star", "cross", "ring")
TEXTURES = ("plain", "striped", "checked", "dotted")
HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")  # 60 degrees apart, in this order
CONTEXTS = ("road", "field", "room", "water")
LOOKS = ("shape", "texture", "hue")  # the factors that make a class; the context only tends to go with it
UNSEEN = (16, 17, 18, 19, 20)  # ids of the voc5 split
SEEN_CARRIERS = 2  # seen classes that must show every look of an unseen class

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class DrawnClass:
    name: str
    shape: str
    texture: str
    hue: str
    context: str

    @property
    def phrase(self) -> str:
        """What it looks like in words: the class's name in the compositional naming mode."""
        return f"{self.texture} {self.hue} {self.shape}"


CLASSES = (  # id = position + 1, as in VOC; 0 is background
    DrawnClass("aeroplane", "disc", "plain", "red", "water"),
    DrawnClass("bicycle", "ring", "striped", "yellow", "room"),
    DrawnClass("bird", "disc", "checked", "blue", "water"),
    DrawnClass("boat", "ring", "plain", "magenta", "field"),
    DrawnClass("bottle", "disc", "dotted", "cyan", "room"),
    DrawnClass("bus", "square", "dotted", "blue", "room"),
    DrawnClass("car", "triangle", "checked", "red", "road"),
    DrawnClass("cat", "cross", "dotted", "yellow", "field"),
    DrawnClass("chair", "square", "plain", "yellow", "road"),
    DrawnClass("cow", "star", "striped", "magenta", "road"),
    DrawnClass("diningtable", "star", "checked", "yellow", "water"),
    DrawnClass("dog", "cross", "checked", "green", "room"),
    DrawnClass("horse", "ring", "checked", "cyan", "water"),
    DrawnClass("motorbike", "triangle", "plain", "green", "road"),
    DrawnClass("person", "disc", "striped", "green", "room"),
    DrawnClass("pottedplant", "square", "checked", "magenta", "road"),
    DrawnClass("sheep", "ring", "dotted", "green", "water"),
    DrawnClass("sofa", "cross", "striped", "red", "road"),
    DrawnClass("train", "star", "plain", "cyan", "water"),
    DrawnClass("tvmonitor", "triangle", "dotted", "magenta", "field"),
)
IDS = {row.name: position + 1 for position, row in enumerate(CLASSES)}

_PAIRS = (  # who keeps company with whom when co-occurrence is switched on
    ("aeroplane", "bird"), ("bicycle", "person"), ("boat", "car"), ("bottle", "diningtable"), ("chair", "pottedplant"),
    ("cat", "sofa"), ("dog", "tvmonitor"), ("cow", "sheep"), ("bus", "train"), ("horse", "motorbike"),
)  # fmt: skip
PARTNERS = {IDS[a]: IDS[b] for pair in _PAIRS for a, b in (pair, pair[::-1])}


def drawn_class(class_id: int) -> DrawnClass:
    return CLASSES[class_id - 1]


def seen_ids(unseen: Sequence[int]) -> tuple[int, ...]:
    return tuple(i for i in range(1, len(CLASSES) + 1) if i not in unseen)


def check_split(unseen: Sequence[int]) -> None:
    """Refuse unseen ids whose transfer would be impossible: a look of theirs is too rare among the seen classes."""
    strange = [i for i in unseen if i not in range(1, len(CLASSES) + 1)]
    if strange or len(set(unseen)) != len(unseen) or not unseen:
        raise UserError(f"unseen ids {list(unseen)}: expected one or more different ids from 1 to {len(CLASSES)}")
    for look in LOOKS:
        carriers = Counter(getattr(drawn_class(i), look) for i in seen_ids(unseen))
        for row in map(drawn_class, unseen):
            value = getattr(row, look)
            if carriers[value] < SEEN_CARRIERS:
                raise UserError(
                    f"'{row.name}' cannot be unseen here: its {look} '{value}' occurs in {carriers[value]} seen "
                    f"class(es), at least {SEEN_CARRIERS} are needed for transfer; take fewer or other unseen classes"
                )


_VALUES = (("shape", SHAPES), ("texture", TEXTURES), ("hue", HUES))
_CODE = sum(len(values) for _, values in _VALUES)  # 16 numbers


def _looks() -> Rows:
    """(20, 16) one-hot codes of shape, texture and hue, unit length: cosine = shared looks / 3."""
    hot = [[getattr(row, look) == value for look, values in _VALUES for value in values] for row in CLASSES]
    return np.array(hot, np.float64) / np.sqrt(len(LOOKS))


def _unit(rows: Rows) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def factor_vectors(dim: int, rng: np.random.Generator, noise: float = 0.04) -> NDArray[np.float32]:
    """(21, dim) semantic vectors that tell the truth about the looks; row 0 (background) is random, all unit length.

    The codes are rotated into `dim` dimensions by orthonormal columns. `noise` is a standard deviation per number at 64
    dimensions and shrinks with the square root of `dim`, so that the noise is as long beside the code in any dimension.
    """
    rotation, _ = np.linalg.qr(rng.normal(size=(dim, _CODE)))
    rows = _looks() @ rotation.T + rng.normal(0, noise * np.sqrt(64 / dim), (len(CLASSES), dim))
    return _unit(np.vstack([rng.normal(size=(1, dim)), rows]))


def semantic_vectors(rng: np.random.Generator, unseen: Sequence[int] = UNSEEN) -> dict[str, NDArray[np.float32]]:
    """The four (21, dim) float32 tables by file name: two carry the looks, two are controls that must not transfer.

    random300 has no structure; permuted300 has the right structure at the wrong unseen class (a cyclic shift).
    """
    factor64, factor300 = factor_vectors(64, rng), factor_vectors(300, rng)
    permuted = factor300.copy()
    permuted[list(unseen)] = factor300[np.roll(unseen, 1)]
    random = _unit(rng.normal(size=(len(CLASSES) + 1, 300)))
    return {"factor64": factor64, "factor300": factor300, "random300": random, "permuted300": permuted}
