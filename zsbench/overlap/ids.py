"""Image names made comparable: what `JPEGImages/2007_000032.jpg`, `2007_000032.PNG` and `2007_000032__06` have in common.

Folders, the suffix of an image or a mask, and case are no part of a name. Beyond that four kinds are told apart:

    coco    COCO_train2014_000000000077, 000000000077 (twelve digits), 000000000077_labelTrainIds: the number in full width
    voc     2007_000032, and 2007_000032__06 of few-shot lists (the class is no part of the image's name); PASCAL alone
    number  77, 000077: as a number in full width, so that 77 finds COCO's image 77. Many data sets count their images so
            (NYUDv2 does): equal numbers of unrelated data sets mean nothing, and the audit says so
    other   everything else, as it stands

COCO's and PASCAL's names mean one photograph wherever they stand; a number or a name such as img_01 only within its data set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

Kind = Literal["coco", "voc", "number", "other"]

PHOTOS = (".jpg", ".jpeg", ".png")
SUFFIXES = (*PHOTOS, ".bmp", ".gif", ".webp", ".tif", ".tiff", ".mat", ".npy")
WIDTH = 12  # digits of a COCO file name
# [0-9], not \d: digits of other scripts would be numbers to int() and different names to everything else.
COCO = re.compile(r"(?:coco_(?:train|val|test)20[0-9]{2}_([0-9]{1,12})|([0-9]{12}))(?:_label[a-z]*)?")
VOC = re.compile(r"((?:19|20)[0-9]{2}_[0-9]{6})(?:__[0-9]{1,2})?")
NUMBER = re.compile(r"[0-9]{1,12}")
CERTAIN: frozenset[Kind] = frozenset({"coco", "voc"})
WORDS: dict[Kind, str] = {"coco": "COCO", "voc": "PASCAL VOC", "number": "bare numbers", "other": "other names"}


class ImageId(NamedTuple):
    """key: equal for equal images. kind: what sort of name it is."""

    key: str
    kind: Kind


def image_id(name: str) -> ImageId:
    """The id in a name as a list has it: with or without folders, suffix, capitals."""
    plain = re.split(r"[/\\]", name.strip())[-1].casefold()
    stem, dot, suffix = plain.rpartition(".")
    if stem and dot + suffix in SUFFIXES:
        plain = stem
    if found := COCO.fullmatch(plain):
        return ImageId(full(found[1] or found[2]), "coco")
    if found := VOC.fullmatch(plain):
        return ImageId(found[1], "voc")
    if NUMBER.fullmatch(plain):
        return ImageId(full(plain), "number")
    return ImageId(plain, "other")


def full(digits: str) -> str:
    """A number in COCO's twelve digits."""
    return digits.lstrip("0").zfill(WIDTH)


def kinds(ids: Iterable[ImageId]) -> dict[Kind, int]:
    """How many names are of each kind, in the order of `WORDS`; kinds that do not occur are left out."""
    found: dict[Kind, int] = dict.fromkeys(WORDS, 0)
    for _, kind in ids:
        found[kind] += 1
    return {kind: count for kind, count in found.items() if count}
