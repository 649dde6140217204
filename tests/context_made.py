"""A small PASCAL Context folder made by hand: one truth in names, written in every format and order that is in use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from zsbench.data.universes import CONTEXT_33, CONTEXT_59

H, W = 20, 24
# Written out from facts and not taken from the reader: the beginning of one order, the whole of the other.
ORDER_A = ["background", "aeroplane", "bag", "bed", "bedclothes", "bench", "bicycle", "bird", "boat", "book"]
ORDER_B = [
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "table",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor", "bag", "bed",
    "bench", "book", "building", "cabinet", "ceiling", "cloth", "computer", "cup", "door", "fence", "floor",
    "flower", "food", "grass", "ground", "keyboard", "light", "mountain", "mouse", "curtain", "platform", "sign",
    "plate", "road", "rock", "shelves", "sidewalk", "sky", "snow", "bedclothes", "track", "tree", "truck", "wall",
    "water", "window", "wood",
]  # fmt: skip
IDS_459 = {
    "aeroplane": 2, "cat": 65, "cow": 98, "motorbike": 258, "sofa": 368, "person": 284, "sky": 360, "table": 397,
    "bag": 9, "wood": 458, "grass": 187, "tvmonitor": 427, "dog": 113, "bedclothes": 19, "cloth": 80, "keyboard": 220,
}  # fmt: skip
ELSEWHERE = (1, 459, 431, 46 + 1)  # ids of the list of 459 that are none of the 59: background
PICTURES = {  # image -> strips of one class each, with their widths
    "2008_000001": {"background": 4, "aeroplane": 6, "sky": 14},
    "2008_000002": {"cow": 8, "grass": 12, "wood": 4},
    "2008_000003": {"table": 10, "bedclothes": 6, "cloth": 5, "background": 3},
    "2010_000004": {"cat": 9, "motorbike": 7, "sofa": 5, "dog": 3},
    "2010_000005": {"person": 6, "tvmonitor": 6, "bag": 6, "keyboard": 5, "background": 1},
}
LISTS = {"train": ["2008_000001", "2008_000002", "2008_000003"], "val": ["2010_000005", "2010_000004"]}
Encode = Callable[[str, int], int]


def named(key: str) -> list[str]:
    """The class of each column of a picture."""
    return [name for name, width in PICTURES[key].items() for _ in range(width)]


def truth(key: str) -> np.ndarray:
    """Positions in background and the 59 names of the list of 459."""
    classes = ["background", *CONTEXT_59]
    return np.tile(np.array([classes.index(name) for name in named(key)], np.uint8), (H, 1))


def encoded(key: str, encode: Encode) -> np.ndarray:
    return np.tile(np.array([encode(name, x) for x, name in enumerate(named(key))]), (H, 1))


def order_a(name: str, _: int = 0) -> int:
    return ["background", *CONTEXT_59].index(name)


def order_b(name: str, _: int = 0) -> int:
    return ORDER_B.index(name)


def wrapped_a(name: str, _: int = 0) -> int:
    return (order_a(name) - 1) % 256


def wrapped_b(name: str, _: int = 0) -> int:
    return (order_b(name) - 1) % 256


def ids_459(name: str, x: int = 0) -> int:
    return IDS_459.get(name, ELSEWHERE[x % len(ELSEWHERE)])


def ids_33(name: str, _: int = 0) -> int:
    name = "diningtable" if name == "table" else name
    return CONTEXT_33.index(name) + 1 if name in CONTEXT_33 else 0


def save_photos(folder: Path, keys: Sequence[str] = tuple(PICTURES)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, key in enumerate(keys):
        pixels = np.random.default_rng(number).integers(0, 256, (H, W, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{key}.jpg")


def save_pngs(folder: Path, encode: Encode, palette: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for key in PICTURES:
        image = Image.fromarray(encoded(key, encode).astype(np.uint8))
        if palette:
            image.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
        image.save(folder / f"{key}.png")


def save_mats(folder: Path, encode: Encode = ids_459) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for key in PICTURES:
        savemat(folder / f"{key}.mat", {"LabelMap": encoded(key, encode).astype(np.uint16)}, do_compression=True)


def save_lists(folder: Path, pattern: str = "{}.txt", **lists: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, keys in (LISTS | lists).items():
        (folder / pattern.format(part)).write_text("".join(f"{key}\n" for key in keys))


def save_classes(file: Path, order: Sequence[str], first: int | None = 0) -> Path:
    """`first`: id of the first name, None for names without ids."""
    numbered = [name if first is None else f"{i}: {name}" for i, name in enumerate(order, first or 0)]
    file.write_text("\n".join(numbered))
    return file


def voc2010(folder: Path) -> Path:
    """Photographs and lists, without label maps."""
    save_photos(folder / "JPEGImages")
    save_lists(folder / "ImageSets/SegmentationContext")
    return folder
