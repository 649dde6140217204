"""A method on trial: fitted on a few drawn scenes through counted doors, and asked for scores that are checked.

What it is held to stands in `contract.py`.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.config import configure
from zsbench.corpus import training_captions
from zsbench.data.guard import admitted, locked
from zsbench.data.scenes import draw
from zsbench.data.view import Items, TrainView, guarded_view
from zsbench.data.voc import open_voc
from zsbench.evaluation import Evaluation
from zsbench.method import Job, LoadedMethod, Regions, Segmenter
from zsbench.run import class_vectors, facts
from zsbench.split import load_split

if TYPE_CHECKING:
    from zsbench.data.captions import Captions
    from zsbench.data.vectors import ClassVectors

SPLIT = "voc5"
DOORS = {  # field of Supervision -> field of TrainView
    "masks": "labelled",
    "captions": "captions",
    "unlabelled": "unlabelled",
    "layout": "layout",
    "vectors": "vectors",
}


class Broken(Exception):
    """A promise that is not kept; the message says what was expected and what came."""


def built(loaded: LoadedMethod) -> Any:
    return configure(loaded.cls, getattr(loaded.cls, "quick", {}), "drawn").method


class Trial:
    """One method on a few drawn scenes; `segmenter` is its first fit."""

    def __init__(self, loaded: LoadedMethod, device: torch.device, folder: Path, scenes: Path | None):
        self.loaded = loaded
        self.method, self.device, self.folder = built(loaded), device, folder
        if scenes is None:
            scenes = folder / "scenes"
            draw(scenes, captioned=128, train=64, val=24, arms=("web",), progress=False)
        self.split, self.dataset = load_split(SPLIT), open_voc(scenes)
        self.opened: dict[str, int] = {}

    def fit(self, place: str, noise: int) -> Segmenter:
        """A fit in the folder `place`. `noise` disturbs the global random states: only `job.seed` may decide."""
        torch.manual_seed(noise)
        np.random.seed(noise)  # noqa: NPY002  (the global state is what is disturbed)
        random.seed(noise)
        known = facts(self.loaded, self.method.supervision, self.split, self.dataset, self.split.names, self.captions)
        job = Job(self.device, 0, self.folder / place, facts=known)
        job.folder.mkdir(exist_ok=True)
        with locked(*self.dataset.protected):
            vectors = self._vectors()
            segmenter: Segmenter = self.method.fit(self._view(vectors), job)
            if vectors is not None:
                with admitted():
                    vectors.open_unseen()
        return segmenter

    @cached_property
    def captions(self) -> Captions | None:
        if not self.method.supervision.captions:
            return None
        with admitted():
            return training_captions(None, self.dataset, self.dataset.root, None, 0)

    def _vectors(self) -> ClassVectors | None:
        where = (self.split, self.dataset, self.split.names, self.dataset.root, 0)
        return class_vectors(self.method.supervision, *where)

    def _view(self, vectors: ClassVectors | None) -> TrainView:
        view = guarded_view(self.split, self.dataset, self.method.supervision, self.captions, vectors=vectors)
        doors: dict[str, Any] = {door: self._counted(door, getattr(view, door)) for door in DOORS.values()}
        return dataclasses.replace(view, **doors)

    def _counted(self, door: str, inner: Any) -> Any:
        if inner is None:
            return None
        self.opened.setdefault(door, 0)
        if door == "vectors":
            return CountedVectors(inner, self.opened)

        def fetch(positions: Sequence[int]) -> list[Any]:
            self.opened[door] += len(positions)
            return inner._fetch(positions)  # not fetch: reading stays the privilege of the outer Items

        return Items(inner.size, fetch)

    @cached_property
    def segmenter(self) -> Segmenter:
        return self.fit("first", 1)

    @property
    def evaluation(self) -> Evaluation:
        """The harness's own way to segment; nothing is counted with it."""
        names = self.split.names
        return Evaluation(self.segmenter, self.dataset, self.split, [], names, self.device, self.folder)

    @cached_property
    def images(self) -> Tensor:
        """(3, 3, H, W) in [0, 1]: validation images, as the harness hands them over."""
        pictures = np.stack([self.dataset.image(key) for key in self.dataset.keys("val")[:3]])
        return torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float() / 255

    def scores(self, images: Tensor, names: Sequence[str], segmenter: Segmenter | None = None) -> Tensor:
        """Checked scores (B, N, H, W) of every pixel on the CPU."""
        with torch.no_grad(), locked(*self.dataset.protected):
            found = (segmenter or self.segmenter)(images, names)
        _expect_scores(found, len(images), len(names))
        return dense(found, images.shape[-2:]).cpu()


class CountedVectors:
    """Class vectors that note how many rows were asked for."""

    def __init__(self, vectors: ClassVectors, opened: dict[str, int]):
        self._vectors, self._opened, self.dim = vectors, opened, vectors.dim

    def rows(self, names: Sequence[str]) -> np.ndarray:
        self._opened["vectors"] += len(names)
        return self._vectors.rows(names)

    def ledger(self) -> dict[str, Any]:
        return self._vectors.ledger()


def _expect_scores(found: Any, images: int, names: int) -> None:
    if not isinstance(found, Regions):
        return _expect_tensor("scores", found, 4, (images, names))
    _expect_tensor("Regions.scores_BKN", found.scores_BKN, 3, (images, names), (0, 2))
    return _expect_regions(found.map_BHW, images, found.scores_BKN.shape[1])


def _expect_regions(map_BHW: Tensor, images: int, regions: int) -> None:
    if map_BHW.ndim != 3 or len(map_BHW) != images or map_BHW.dtype != torch.int64:
        came = f"{map_BHW.dtype} {tuple(map_BHW.shape)}"
        raise Broken(f"Regions.map_BHW: int64 ({images}, H, W) was expected, got {came}")
    lowest, highest = int(map_BHW.min()), int(map_BHW.max())
    if lowest < 0 or highest >= regions:
        raise Broken(f"Regions.map_BHW: regions 0 to {regions - 1} were expected, got {lowest} to {highest}")


def _expect_tensor(what: str, found: Any, ndim: int, sizes: tuple[int, int], axes: tuple[int, int] = (0, 1)) -> None:
    if not isinstance(found, Tensor):
        raise Broken(f"{what}: a Tensor or zsbench.method.Regions was expected, got {type(found).__name__}")
    if found.ndim != ndim or tuple(found.shape[axis] for axis in axes) != sizes:
        raise Broken(f"{what}: {ndim} axes with (images, names) = {sizes} were expected, got {tuple(found.shape)}")
    if not found.is_floating_point():
        raise Broken(f"{what}: floating point was expected, got {found.dtype}")
    if not bool(torch.isfinite(found).all()):
        raise Broken(f"{what}: finite numbers were expected, got nan or infinity")


def dense(scores: Tensor | Regions, size: Sequence[int]) -> Tensor:
    """(B, N, H, W) float32 scores of every pixel: upsampled, or every region's painted."""
    if isinstance(scores, Tensor):
        return F.interpolate(scores.float(), size=tuple(size), mode="bilinear", align_corners=False)
    regions = F.interpolate(scores.map_BHW[:, None].float(), size=tuple(size), mode="nearest-exact")[:, 0].long()
    rows = zip(scores.scores_BKN.float(), regions, strict=True)
    return torch.stack([table_KN[map_HW] for table_KN, map_HW in rows]).permute(0, 3, 1, 2)
