"""Segment the validation images and count: both scopes from one forward pass, at the resolution of the labels.

Images go in blocks of fixed membership; each block's counts are one file, written by rename. A killed evaluation goes on
with the blocks that are missing, and because a block is always cut the same way, ends with the same numbers.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from zsbench.atomic import write_json
from zsbench.calibration import Calibration, Contest
from zsbench.data.dataset import IGNORED, Dataset
from zsbench.data.guard import admitted, locked
from zsbench.data.view import to_split_ids
from zsbench.image_counts import ImageCounts
from zsbench.method import Regions, Segmenter
from zsbench.metrics import ConfusionMatrix, Scope
from zsbench.split import Split

BLOCK = 32  # images per counts file; also the most that one forward pass takes


class ContractError(RuntimeError):
    """A method's segmenter returned something that is not scores."""


@dataclass(frozen=True)
class Evaluation:
    """What is segmented, by what, and where counts go."""

    segmenter: Segmenter
    dataset: Dataset
    split: Split
    keys: Sequence[str]
    names: Sequence[str]  # the split's names as the method hears them
    device: torch.device
    folder: Path
    title: str = "evaluate"  # of the progress bar
    curved: bool = True  # whether scores at every gamma are wanted

    def run(self) -> tuple[ImageCounts, float]:
        """Per-image counts of all keys, and the seconds that segmenting them took over all starts of this run."""
        blocks = [list(self.keys[i : i + BLOCK]) for i in range(0, len(self.keys), BLOCK)]
        files = self._files(".parquet")
        with tqdm(total=len(self.keys), desc=self.title, unit="img", mininterval=0.5) as bar:
            for block, file in zip(blocks, files, strict=True):
                if not self._whole(file):
                    self._block(block, file)
                bar.update(len(block))
        seconds = sum(json.loads(file.read_text())["seconds"] for file in self._files(".json"))
        return ImageCounts.read(files, self.split), seconds

    def _files(self, suffix: str) -> list[Path]:
        blocks = math.ceil(len(self.keys) / BLOCK)
        return [self.folder / "counts" / f"{number:05d}{suffix}" for number in range(blocks)]

    def _whole(self, file: Path) -> bool:
        calibration = self.calibration
        return file.exists() and (calibration is None or calibration.counted(file.with_suffix(".npz")))

    @cached_property
    def calibration(self) -> Calibration | None:
        """By the segmenter's `gamma`; None where it has none, and where no class is seen."""
        gamma = getattr(self.segmenter, "gamma", None)
        if gamma is None or not self.split.seen:
            return None
        if not isinstance(gamma, Real) or isinstance(gamma, bool) or not math.isfinite(gamma):
            raise ContractError(f"a segmenter's gamma is one finite number, got {gamma!r}")
        if not gamma and not self.curved:
            return None
        return Calibration(float(gamma), len(self.split.seen), len(self.split.names))

    def curve(self) -> dict[str, Any] | None:
        """Scores at every gamma of what `run` has counted; None without calibration."""
        return self.calibration.summarise(self._files(".npz")) if self.calibration else None

    def _block(self, keys: list[str], file: Path) -> None:
        start = time.perf_counter()
        counts, calibration = ImageCounts.of(self.split), self.calibration
        curve = calibration and calibration.nothing()
        for group, images in self._same_size(keys):
            scores = self.segment(images)
            for row, key in enumerate(group):
                truth = self.labels(key)
                contest = self._contest(scores, row, truth.shape)
                count_image(counts, key, truth, scores, row, self.split, self._called(contest))
                if calibration and curve and contest:
                    curve += calibration.count(truth, contest)
        if curve:
            curve.write(file.with_suffix(".npz"))
        write_json(file.with_suffix(".json"), {"seconds": time.perf_counter() - start, "images": len(keys)})
        counts.write(file)  # last: a block whose counts are there is whole

    def _contest(self, scores: Tensor | Regions, row: int, size: tuple[int, ...]) -> Contest | None:
        if self.calibration is None or isinstance(scores, Regions):
            return None
        return Contest.of(_resized(scores[row : row + 1], size)[0], len(self.split.seen))

    def _called(self, contest: Contest | None) -> np.ndarray | None:
        """(H, W) decision over all names where calibration changes it; None: the plain argmax."""
        gamma = self.calibration.gamma if self.calibration else 0.0
        return contest.decide(gamma) if contest and gamma else None

    def _same_size(self, keys: list[str]) -> Iterator[tuple[list[str], Tensor]]:
        """Groups of images that stack, in the order of their first member."""
        with admitted():
            images = {key: self.dataset.image(key) for key in keys}
        order = sorted(keys, key=lambda key: images[key].shape)
        for _, group in itertools.groupby(order, key=lambda key: images[key].shape):
            same = list(group)
            stacked = torch.from_numpy(np.stack([images[key] for key in same]))
            yield same, stacked.to(self.device).permute(0, 3, 1, 2).float() / 255

    def labels(self, key: str) -> np.ndarray:
        """(H, W) uint8 split ids."""
        with admitted():
            return to_split_ids(self.dataset.labels(key), self.dataset.classes, self.split.names)

    def segment(self, images_BCHW: Tensor) -> Tensor | Regions:
        """The segmenter's scores, checked. All names compete; scopes are cut out of the same scores."""
        with torch.no_grad(), locked(*self.dataset.protected):
            scores = self.segmenter(images_BCHW, tuple(self.names))
        checked = _checked(scores, images_BCHW, len(self.split.names))
        if self.calibration and isinstance(checked, Regions):
            raise ContractError("a segmenter with gamma returns dense logits (B, N, h, w), got Regions")
        return checked

    def predict(self, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Photo (H, W, 3), truth and prediction over all names (H, W), for pictures."""
        with admitted():
            photo = self.dataset.image(key)
        images = torch.from_numpy(photo).to(self.device).permute(2, 0, 1)[None].float() / 255
        truth, scores = self.labels(key), self.segment(images)
        called = self._called(self._contest(scores, 0, truth.shape))
        every = range(len(self.split.names))
        return photo, truth, decide(scores, 0, every, truth.shape) if called is None else called


def _checked(scores: Any, images: Tensor, names: int) -> Tensor | Regions:
    regions = isinstance(scores, Regions)
    values = scores.scores_BKN if regions else scores
    if not isinstance(values, Tensor):
        raise ContractError(f"a segmenter returns a Tensor or Regions, got {type(values).__name__}")
    axes = "(B, K, N)" if regions else "(B, N, h, w)"
    if values.ndim != (3 if regions else 4) or 0 in values.shape:
        raise ContractError(f"scores of shape {axes} were expected, got {tuple(values.shape)}")
    found = (len(values), values.shape[2 if regions else 1])
    if found != (len(images), names):
        expected = f"{len(images)} images and {names} names"
        raise ContractError(f"scores {axes} for {expected} were expected, got {tuple(values.shape)}")
    if not bool(torch.isfinite(values).all()):
        raise ContractError("scores hold nan or infinity")
    if regions:
        _check_map(scores.map_BHW, len(images), values.shape[1])
    return scores  # type: ignore[no-any-return]


def _check_map(map_BHW: Any, images: int, regions: int) -> None:
    whole = isinstance(map_BHW, Tensor) and not (map_BHW.is_floating_point() or map_BHW.dtype == torch.bool)
    if not whole or map_BHW.ndim != 3 or 0 in map_BHW.shape or len(map_BHW) != images:
        found = f"{tuple(map_BHW.shape)} {map_BHW.dtype}" if isinstance(map_BHW, Tensor) else type(map_BHW).__name__
        raise ContractError(f"a whole-number region map (B, H, W) of {images} images was expected, got {found}")
    low, high = int(map_BHW.min()), int(map_BHW.max())
    if low < 0 or high >= regions:
        raise ContractError(f"region ids 0..{regions - 1} were expected, got {low}..{high}")


def count_image(
    counts: ImageCounts,
    key: str,
    truth: np.ndarray,
    scores: Tensor | Regions,
    row: int,
    split: Split,
    called: np.ndarray | None = None,
) -> None:
    """Adds one image's pixels to every scope. `called`: the decision over all names where it is not the argmax."""
    seen = len(split.seen)
    unseen_truth = np.where(truth >= seen, truth, np.uint8(IGNORED))
    cases: list[tuple[Scope, np.ndarray, range]] = [
        ("unseen", unseen_truth, range(seen, len(split.names))),
        ("all", truth, range(len(split.names))),
    ]
    regions = _regions(scores, row, truth.shape)
    for scope, true, candidates in cases:
        predicted = called if scope == "all" else None
        counts.count(key, scope, true, decide(scores, row, candidates, truth.shape) if predicted is None else predicted)
        if regions is not None:
            oracle: Scope = "oracle-unseen" if scope == "unseen" else "oracle-all"
            counts.append(key, oracle, oracle_counts(true, regions, candidates))


def decide(scores: Tensor | Regions, row: int, candidates: range, size: tuple[int, ...]) -> np.ndarray:
    """(H, W) uint8 split ids: the best candidate of every pixel of image `row` at label size.

    Dense scores are upsampled before the argmax (bilinear, as in the field), regions are named and then painted.
    """
    if isinstance(scores, Regions):
        regions = _regions(scores, row, size)
        names = scores.scores_BKN[row][:, candidates.start : candidates.stop].argmax(-1) + candidates.start
        return names.to(torch.uint8).cpu().numpy()[regions]
    own = _resized(scores[row : row + 1, candidates.start : candidates.stop], size)
    return (own[0].argmax(0) + candidates.start).to(torch.uint8).cpu().numpy()


def _resized(scores_BNhw: Tensor, size: tuple[int, ...]) -> Tensor:
    if scores_BNhw.shape[2:] == size:
        return scores_BNhw
    return F.interpolate(scores_BNhw.float(), size=size, mode="bilinear", align_corners=False)


def _regions(scores: Tensor | Regions, row: int, size: tuple[int, ...]) -> np.ndarray | None:
    """(H, W) region ids of one image at label size."""
    if not isinstance(scores, Regions):
        return None
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
