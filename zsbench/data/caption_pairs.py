"""Image-caption pairs: the one type of all caption corpora, how an image becomes pixels, the log of what was skipped.

Choices: images of any mode become RGB (alpha is dropped, 16-bit grey is cut to its upper 8 bits), EXIF orientation is
ignored (so are VOC's and COCO's masks, and img2dataset has removed it already), animations give their first frame.
Only formats that Pillow decodes by itself are read: its EPS reader, for one, would start another program.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from PIL import Image

from zsbench.errors import UserError

log = logging.getLogger("zsbench")

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
MOST_PIXELS = 89_478_485  # Pillow's own bound against decompression bombs, held here as an error
MOST_BYTES = 256 * 2**20  # no photograph is larger; the size in a tar header is the sender's word

TOLERATED = 0.05  # share of corrupt items above which a corpus is refused
ENOUGH = 100  # images tried before that share is believed: at 20, 1 % corrupt would stop one run in fifteen
NAMED = 10  # corrupt items named in the log; further ones are counted


@dataclass(frozen=True)
class Pair:
    """One image with one caption. image: (H, W, 3) uint8 RGB. key: the image's name in its corpus, not unique when an
    image has several captions."""

    key: str
    image: np.ndarray
    caption: str


class Captions(Protocol):
    """A caption corpus in any format.

    size: number of pairs; None for a stream, whose end is not known.
    fingerprint: 12 hex digits of the keys and captions in their order (of the address, for a stream); not of pixels.
    """

    name: str
    skipped: Skipped

    @property
    def size(self) -> int | None: ...

    @property
    def fingerprint(self) -> str: ...

    def texts(self) -> Iterator[tuple[str, str]]:
        """Key and caption of every pair in order, without opening an image."""
        ...

    def fetch(self, indices: Sequence[int]) -> list[Pair]:
        """As many pairs as indices. A corrupt image is replaced by the next good one, always the same.

        Indices of a stream only go forward, without an end; what lies between is read over (that is how a run resumes).
        """
        ...


class Corrupt(Exception):
    """One image or line that cannot be used; the message says why."""


def decode(data: bytes) -> np.ndarray:
    """Pixels of an encoded image, (H, W, 3) uint8 RGB; raises `Corrupt`."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Corrupt(f"{image.width} × {image.height} pixels are too many")
            if image.mode.startswith("I"):  # Pillow would clip 16 bits at 255: nearly all white
                return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
            return np.asarray(image.convert("RGB"))
    except (MemoryError, Corrupt):
        raise
    except Exception as error:  # decoders of broken files raise nearly anything: OSError, SyntaxError, struct.error …
        raise Corrupt(f"not a readable image ({type(error).__name__})") from error


@dataclass
class Skipped:
    """What a corpus could not use, counted and logged.

    lines: captions that could not be read, judged when all have been seen.
    images: distinct images that could not be decoded so far; in worker processes each counts its own.
    without_image: captions whose image is not in the folder: left out, no fault of the file.
    """

    corpus: str
    lines: int = 0
    images: int = 0
    without_image: int = 0
    tried: int = 0
    first: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.lines + self.images

    def line(self, where: str, why: str) -> None:
        self.lines += 1
        self._name(where, why)

    def judge_lines(self, seen: int) -> None:
        if self.lines > TOLERATED * seen:
            raise self._too_many("captions", self.lines, seen)

    def image(self, where: str, why: str) -> None:
        self.images += 1
        self._name(where, why)

    def judge_images(self, size: int | None) -> None:
        """More than 5 % of those tried, where few count as 100 (or as all there are): two early ones prove nothing."""
        base = max(self.tried, ENOUGH) if size is None else min(max(self.tried, ENOUGH), size)
        if self.images > TOLERATED * base:
            raise self._too_many("images", self.images, self.tried)

    def _name(self, where: str, why: str) -> None:
        if self.total <= NAMED:
            self.first.append(f"{where[:200]!r} ({why})")  # repr: an untrusted name may hold control codes
            log.warning("%s: skipped %s", self.corpus, self.first[-1])
        elif self.total == NAMED + 1:
            log.warning("%s: more than %d corrupt items; further ones are counted, not named", self.corpus, NAMED)

    def _too_many(self, what: str, bad: int, seen: int) -> UserError:
        return UserError(
            f"{bad} of {seen} {what} of {self.corpus} are corrupt, more than {TOLERATED:.0%}; repair or remove them."
            f" First: {'; '.join(self.first[:3])}."
        )
