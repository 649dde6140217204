"""What a photograph looks like in 64 bits, and when two photographs are one: perceptual hash, then a second look.

phash (ImageHash) keeps which of the 64 lowest waves of a 32 × 32 grey copy are stronger than their median. It survives
other JPEG quality, size, colour and brightness. Two pictures whose hashes differ in at most NEAR bits are candidates;
they are reported when their grey copies also correlate by ALIKE. The second look is what makes it fit for large lists:
among 56 million pairs of unrelated windows of photographs 339 hashes come that near, and four pairs pass both.

Measured by `bench/overlap.py` on 834 photographs of VOC, Context and COCO (bench/results/overlap.md):

    347,361 pairs of unrelated photographs: smallest distance 10, none passes
    found again: JPEG quality 20, quarter size, 256 × 256, grey, contrast +40 %, brightness +30 %, 2 pixels cut off each
    side, mirrored (the hash of the mirror image is kept): all; 2 % cut off each side: 94 %; rotated by 2 degrees: 90 %
    not found: 5 % cut off each side: 12 %, 10 %: 0.4 %; such edits hide a photograph from this audit

A flat picture (one colour, a ramp, two halves) has a hash made of nothing, equal for hundreds of unlike ones. Where fewer
than WAVES of the 63 waves stand out by half a grey level it is compared by its exact pixels only. The emptiest of the
834 photographs has 29, a ramp four.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageOps

NEAR = 10  # bits of 64
ALIKE = 0.9  # correlation of the grey copies
FAR, UNLIKE = 20, 0.6  # beyond both, two pictures of one name are told to be two; 98 % of unrelated photographs are
WAVES, STANDS_OUT = 16, 0.5  # waves that stand out by this many of 255 grey levels (root mean square)
SIDE = 32  # pixels of the grey copy
LOW = 8  # waves per side that phash looks at


@dataclass(frozen=True, eq=False)
class Look:
    """digest: SHA-256 of size and pixels. hash, mirrored: phash of the picture and of its mirror image, 8 bytes each.

    grey: the 32 × 32 grey copy, 1024 bytes.
    """

    digest: bytes
    hash: bytes
    mirrored: bytes
    grey: bytes

    @cached_property
    def pixels(self) -> np.ndarray:
        """(32, 32) float64."""
        return np.frombuffer(self.grey, np.uint8).reshape(SIDE, SIDE).astype(np.float64)

    @cached_property
    def flat(self) -> bool:
        """Whether there is too little in the picture for a perceptual hash."""
        from scipy.fft import dctn

        waves = np.abs(dctn(self.pixels, norm="ortho")[:LOW, :LOW].ravel()[1:]) / SIDE
        return bool((waves > STANDS_OUT).sum() < WAVES)


def look_at(image: np.ndarray) -> Look:
    """The look of (H, W, 3) uint8 pixels."""
    import imagehash

    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    grey = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    mirrored = ImageOps.mirror(grey)
    first, second = (np.packbits(imagehash.phash(picture).hash.ravel()).tobytes() for picture in (grey, mirrored))
    return Look(digest.digest(), first, second, grey.tobytes())
