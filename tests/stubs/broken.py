"""Broken: breaks one promise of a segmenter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zsbench.data.view import TrainView
from zsbench.method import Job, Regions
from zsbench.supervision import Supervision


def scores(images: Tensor, names: int) -> Tensor:
    return torch.zeros(len(images), names, 4, 4)


def regions(images: Tensor, names: int, region: int = 0, kind: torch.dtype = torch.int64) -> Regions:
    ids = torch.full((len(images), *images.shape[2:]), region).to(kind)
    return Regions(ids, torch.zeros(len(images), 2, names))


FAULTS: dict[str, Callable[[Tensor, int], Any]] = {
    "a name too few": lambda images, names: scores(images, names - 1),
    "an image too few": lambda images, names: scores(images, names)[1:],
    "no place": lambda images, names: torch.zeros(len(images), names),
    "a line": lambda images, names: torch.zeros(len(images), names, 4),
    "nan": lambda images, names: scores(images, names) / 0,
    "infinite": lambda images, names: scores(images, names).fill_(float("inf")),
    "a list": lambda images, names: scores(images, names).tolist(),
    "nothing": lambda images, names: None,
    "regions without a name": lambda images, names: regions(images, names - 1),
    "regions of nan": lambda images, names: Regions(
        regions(images, names).map_BHW, torch.full((1, 2, names), torch.nan)
    ),
    "a region too many": lambda images, names: regions(images, names, 2),
    "a region below zero": lambda images, names: regions(images, names, -1),
    "regions as numbers": lambda images, names: regions(images, names, 0, torch.float32),
}


@dataclass(frozen=True)
class Broken:
    fault: str = "a name too few"

    @property
    def supervision(self) -> Supervision:
        return Supervision()

    def fit(self, data: TrainView, job: Job) -> Any:
        if self.fault == "fit":
            raise ZeroDivisionError("lost its way")
        return Segmenter(self.fault, job.folder)


class Segmenter:
    def __init__(self, fault: str, folder: Path):
        self.fault, self.folder, self.calls = fault, folder, 0

    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Any:
        self.calls += 1
        if self.fault == "second batch, first time":
            return self.later(scores(images_BCHW, len(names)))
        return FAULTS[self.fault](images_BCHW, len(names))

    def later(self, good: Tensor) -> Tensor:
        mark = self.folder / "tried"
        if self.calls == 2 and not mark.exists():
            mark.touch()
            raise MemoryError("too much")
        return good
