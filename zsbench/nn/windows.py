"""Whole images and sliding windows on the patch grid.

Legend: B images, N classes, h w patch grid.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch.nn.functional as F
from torch import Tensor

from zsbench.errors import UserError


def resized(images_BCHW: Tensor, short_side: int, stride: int) -> Tensor:
    """The images with short side `short_side`, both sides rounded to whole patches; untouched where that is their size."""
    size = tuple(images_BCHW.shape[-2:])
    scale = short_side / min(size)
    target = tuple(max(1, round(side * scale / stride)) * stride for side in size)
    if target == size:
        return images_BCHW
    return F.interpolate(images_BCHW, size=target, mode="bilinear", antialias=True, align_corners=False)


def slide(images_BCHW: Tensor, window: int, step: int, stride: int, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Scores (B, N, h, w) of square windows, averaged where they overlap (SCLIP, ClearCLIP).

    `window` and `step` in pixels, rounded to whole patches; the last window of a row or column is flush with the border, so
    every patch is covered. An image that fits into the window is scored in exactly one pass. Images are whole patches.
    """
    if window < 1 or step < 1:
        raise UserError(f"window = {window}, step = {step}: pixels, 1 at least")
    side = max(1, round(window / stride))
    pace = min(side, max(1, round(step / stride)))
    h, w = (length // stride for length in images_BCHW.shape[-2:])
    if h <= side and w <= side:
        return score(images_BCHW)
    total, count = None, images_BCHW.new_zeros(h, w)
    for top, left in product(_starts(h, side, pace), _starts(w, side, pace)):
        place = (..., slice(top, top + side), slice(left, left + side))
        scores = score(_crop(images_BCHW, top, left, side, stride)).float()
        total = scores.new_zeros(*scores.shape[:2], h, w) if total is None else total
        total[place] += scores
        count[place] += 1
    assert total is not None  # there is always a window
    return total / count


def _starts(length: int, window: int, pace: int) -> list[int]:
    """Where windows begin, in patches."""
    last = max(0, length - window)
    return [*range(0, last, pace), last]


def _crop(images_BCHW: Tensor, top: int, left: int, side: int, stride: int) -> Tensor:
    rows, columns = (slice(start * stride, (start + side) * stride) for start in (top, left))
    return images_BCHW[..., rows, columns]
