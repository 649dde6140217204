"""The name of every pixel, at the resolution of the labels: scores are upsampled and decided a strip of rows at a time.

Scores of 171 names at 640 x 480 would take 210 MB, and a second copy for the second scope. A strip stays in the cache
of a core, serves both scopes, and is forgotten: that saves the memory and most of the time.
Legend: B images, N names (seen ones first), H W pixels of the labels, h w of the scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.calibration import Contest
from zsbench.data.dataset import IGNORED
from zsbench.method import Regions
from zsbench.metrics import ConfusionMatrix

# Bytes of upsampled scores at once. 171 names at 640 x 480 on one core: 108 ms an image; 121 with a sixteenth of it,
# 128 with four times as much, and 373 with sixteen times, which no cache holds.
STRIP = 4 << 20


@dataclass(frozen=True)
class Decided:
    """The best name of every pixel, (H, W) uint8 split ids: of all names, and of the unseen ones alone."""

    every: np.ndarray
    unseen: np.ndarray


def strips(scores_Nhw: Tensor, size: tuple[int, ...]) -> Iterator[Tensor]:
    """Scores at label size, (N, rows, W) from top to bottom: bilinear, as F.interpolate gives them for the whole map
    (`align_corners=False`). Equal to the bit where the whole fits in one strip, elsewhere up to its rounding."""
    names, height, width = len(scores_Nhw), *size
    rows = max(1, STRIP // (4 * names * width))
    if scores_Nhw.shape[1:] == size:
        yield from (scores_Nhw[:, place : place + rows] for place in range(0, height, rows))
    elif rows >= height:
        yield _resized(scores_Nhw, height, width)
    else:
        above, below, weight = _neighbours(scores_Nhw.shape[1], height, scores_Nhw.device)
        for place in range(0, height, rows):
            strip = slice(place, place + rows)
            yield _strip(scores_Nhw, above[strip], below[strip], weight[strip], width)


def _strip(scores_Nhw: Tensor, above: Tensor, below: Tensor, weight: Tensor, width: int) -> Tensor:
    """Rows between the given neighbours: across first, then down, in the order of F.interpolate's own sums."""
    first, last = int(above[0]), int(below[-1]) + 1
    wide = _resized(scores_Nhw[:, first:last], last - first, width)
    down = weight[None, :, None]
    return (wide[:, below - first] * down).addcmul_(wide[:, above - first], 1 - down)


def _neighbours(small: int, large: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each of `large` rows the rows of `small` above and below its centre, and the weight of the lower one."""
    scale = torch.tensor(small, dtype=torch.float32) / large
    at = ((torch.arange(large) + 0.5) * scale - 0.5).clamp(min=0)
    above = at.long().clamp(max=small - 1)
    weight = (at - above).clamp(0, 1)
    return above.to(device), (above + 1).clamp(max=small - 1).to(device), weight.to(device)


def _resized(scores_Nhw: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(scores_Nhw[None].float(), size=(height, width), mode="bilinear", align_corners=False)[0]


def decide(scores: Tensor | Regions, row: int, candidates: range, size: tuple[int, ...]) -> np.ndarray:
    """(H, W) uint8 split ids: the best candidate of every pixel of image `row` at label size.

    Dense scores are upsampled before the argmax (bilinear, as in the field), regions are named and then painted.
    """
    own = slice(candidates.start, candidates.stop)
    if isinstance(scores, Regions):
        names = scores.scores_BKN[row][:, own].argmax(-1) + candidates.start
        return names.to(torch.uint8).cpu().numpy()[_painted(scores, row, size)]
    return _map([strip.argmax(0) + candidates.start for strip in strips(scores[row, own], size)])


def decide_both(scores: Tensor | Regions, row: int, seen: int, size: tuple[int, ...]) -> Decided:
    """The same for both scopes of a split with `seen` seen names, from one upsampling."""
    if isinstance(scores, Regions):
        every, unseen = range(scores.scores_BKN.shape[2]), range(seen, scores.scores_BKN.shape[2])
        return Decided(decide(scores, row, every, size), decide(scores, row, unseen, size))
    pairs = [_both(strip, seen) for strip in strips(scores[row], size)]
    return Decided(*(_map(list(maps)) for maps in zip(*pairs, strict=True)))


def _both(strip_NHW: Tensor, seen: int) -> tuple[Tensor, Tensor]:
    """Best of all names and best unseen name; a tie goes to the first name, which is the seen one."""
    new, unseen = strip_NHW[seen:].max(0)
    unseen = unseen + seen
    if not seen:
        return unseen, unseen
    known, best = strip_NHW[:seen].max(0)
    return torch.where(new > known, unseen, best), unseen


def _map(strips_HW: list[Tensor]) -> np.ndarray:
    return torch.cat([strip.to(torch.uint8) for strip in strips_HW]).cpu().numpy()


def contest(scores_BNhw: Tensor, row: int, seen: int, size: tuple[int, ...]) -> Contest:
    """Every pixel's best seen and best unseen name and the lead of the seen one; the softmax is taken at label size."""
    parts = [Contest.of(strip, seen) for strip in strips(scores_BNhw[row], size)]
    return Contest(*(torch.cat([getattr(part, field) for part in parts]) for field in vars(parts[0])))


def painted(scores: Tensor | Regions, row: int, size: tuple[int, ...]) -> np.ndarray | None:
    """(H, W) region ids of one image at label size; None for dense scores."""
    return _painted(scores, row, size) if isinstance(scores, Regions) else None


def _painted(scores: Regions, row: int, size: tuple[int, ...]) -> np.ndarray:
    own = scores.map_BHW[row]
    if own.shape != size:
        own = F.interpolate(own[None, None].float(), size=size, mode="nearest-exact")[0, 0].long()
    return own.cpu().numpy()


def oracle_counts(truth: np.ndarray, regions: np.ndarray, candidates: range) -> ConfusionMatrix:
    """Counts when each region of the image gets the name most of its scored pixels carry.

    The best that naming can reach in pixel accuracy, and in practice in mIoU.
    """
    scored = truth != IGNORED
    names, labels = len(candidates), truth[scored].astype(np.int64) - candidates.start
    pairs = regions[scored].astype(np.int64) * names + labels
    table = np.bincount(pairs, minlength=names).astype(np.int64)
    table = np.pad(table, (0, -len(table) % names)).reshape(-1, names)  # (regions, truth)
    counts = np.zeros((names, names), np.int64)
    np.add.at(counts.T, table.argmax(1), table)
    return ConfusionMatrix(counts)
