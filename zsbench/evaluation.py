"""Segment the validation images and count: both scopes from one forward pass, at the resolution of the labels.

Images go in blocks of fixed membership; each block's counts are one file, written by rename. A killed evaluation goes on
with the blocks that are missing, and because a block is always cut the same way, ends with the same numbers. Label maps that
are to be kept are written while they are counted, before the block's counts: a block that is whole has its maps.
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
from torch import Tensor
from tqdm import tqdm

from zsbench.atomic import write_json
from zsbench.calibration import ABOVE, Calibration, Contest
from zsbench.data.dataset import IGNORED, Dataset
from zsbench.data.guard import admitted, locked
from zsbench.data.view import to_split_ids
from zsbench.deciding import Decided, contest, decide_both, oracle_counts, painted
from zsbench.image_counts import ImageCounts
from zsbench.method import Regions, Segmenter
from zsbench.metrics import Scope
from zsbench.predictions import Export
from zsbench.split import Split

BLOCK = 32  # images per counts file; also the most that one forward pass takes
LARGEST_PASS = 1 << 23  # pixels of a forward pass: 32 images of 512 x 512, which keep a GPU busy
PASS_PIXELS = {"cpu": 1 << 19}  # a processor gains nothing from more, and 32 photographs at once take gigabytes


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
    kept: Export | None = None  # where the label maps go, if they are wanted

    def run(self) -> tuple[ImageCounts, float]:
        """Per-image counts of all keys, and the seconds that segmenting them took over all starts of this run."""
        blocks = [list(self.keys[i : i + BLOCK]) for i in range(0, len(self.keys), BLOCK)]
        files = self._files(".parquet")
        with tqdm(total=len(self.keys), desc=self.title, unit="img", mininterval=0.5) as bar:
            for block, file in zip(blocks, files, strict=True):
                if not self._whole(block, file):
                    self._block(block, file)
                bar.update(len(block))
        seconds = sum(json.loads(file.read_text())["seconds"] for file in self._files(".json"))
        return ImageCounts.read(files, self.split), seconds

    def _files(self, suffix: str) -> list[Path]:
        blocks = math.ceil(len(self.keys) / BLOCK)
        return [self.folder / "counts" / f"{number:05d}{suffix}" for number in range(blocks)]

    def _whole(self, keys: list[str], file: Path) -> bool:
        calibration, kept = self.calibration, self.kept
        counted = file.exists() and (calibration is None or calibration.counted(file.with_suffix(".npz")))
        return counted and (kept is None or kept.holds(keys))

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
                decided, leads = self._decided(scores, row, truth.shape)
                count_image(counts, key, truth, scores, row, self.split, decided)
                if self.kept:
                    self.kept.write(key, decided)
                if calibration and curve and leads:
                    curve += calibration.count(truth, leads)
        if curve:
            curve.write(file.with_suffix(".npz"))
        write_json(file.with_suffix(".json"), {"seconds": time.perf_counter() - start, "images": len(keys)})
        counts.write(file)  # last: a block whose counts are there is whole

    def _decided(self, scores: Tensor | Regions, row: int, size: tuple[int, ...]) -> tuple[Decided, Contest | None]:
        """Both scopes of one image, from one upsampling; and the leads, where there is calibration."""
        seen = len(self.split.seen)
        if self.calibration is None or isinstance(scores, Regions):
            return decide_both(scores, row, seen, size), None
        leads = contest(scores, row, seen, size)
        return Decided(leads.decide(self.calibration.gamma), leads.decide(ABOVE)), leads

    def _same_size(self, keys: list[str]) -> Iterator[tuple[list[str], Tensor]]:
        """Groups of images that stack and fit in one forward pass, in the order of their first member."""
        with admitted():
            images = {key: self.dataset.image(key) for key in keys}
        order = sorted(keys, key=lambda key: images[key].shape)
        for shape, group in itertools.groupby(order, key=lambda key: images[key].shape):
            same = list(group)
            most = max(1, PASS_PIXELS.get(self.device.type, LARGEST_PASS) // (shape[0] * shape[1]))
            for part in (same[i : i + most] for i in range(0, len(same), most)):
                stacked = torch.from_numpy(np.stack([images[key] for key in part]))
                yield part, stacked.to(self.device).permute(0, 3, 1, 2).float() / 255

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
        return photo, truth, self._decided(scores, 0, truth.shape)[0].every


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
    decided: Decided | None = None,
) -> None:
    """Adds one image's pixels to every scope. `decided`: the decisions where they are there already."""
    seen, names = len(split.seen), len(split.names)
    decided = decided or decide_both(scores, row, seen, truth.shape)
    unseen_truth = np.where(truth >= seen, truth, np.uint8(IGNORED))
    regions = painted(scores, row, truth.shape)
    cases: list[tuple[Scope, Scope, np.ndarray, np.ndarray, range]] = [
        ("unseen", "oracle-unseen", unseen_truth, decided.unseen, range(seen, names)),
        ("all", "oracle-all", truth, decided.every, range(names)),
    ]
    for scope, oracle, true, predicted, candidates in cases:
        counts.count(key, scope, true, predicted)
        if regions is not None:
            counts.append(key, oracle, oracle_counts(true, regions, candidates))
