"""Canary: looks for the data's files and takes the answers from the masks on disk.

It knows the official layout, the environment, the cache, the command line, and every path that hangs on the view.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zsbench.data.universes import VOC_CLASSES
from zsbench.data.view import TrainView
from zsbench.method import Job
from zsbench.supervision import Supervision

REFUSED: list[Exception] = []


@dataclass(frozen=True)
class Paths:
    @property
    def supervision(self) -> Supervision:
        return Supervision(masks="seen")

    def fit(self, data: TrainView, job: Job) -> Answers:
        assert data.labelled is not None
        handed = data.labelled.fetch(range(len(data.labelled)))
        behind = [cell.cell_contents for cell in data.labelled._fetch.__closure__ or ()]
        return Answers([*texts(handed), *texts(behind)])


def texts(item: object) -> Iterator[str]:
    """Every string and path in an item, however deep."""
    if isinstance(item, (str, Path)):
        yield str(item)
    elif isinstance(item, (tuple, list)):
        for child in item:
            yield from texts(child)
    elif hasattr(item, "__dict__"):
        yield from texts(list(vars(item).values()))


class Answers:
    """Masks by the bytes of their photograph."""

    def __init__(self, hints: list[str]):
        self.masks: dict[bytes, np.ndarray] = {}
        places = [
            *hints,
            os.environ.get("ZSBENCH_DATA"),
            os.environ.get("ZSBENCH_CACHE"),
            "~/.cache/zsbench",
            *sys.argv,
        ]
        self.places = [place for place in {Path(place).expanduser() for place in places if place} if place.is_dir()]
        self.search()

    def search(self) -> None:
        for place in self.places:
            for root in (place, *self.below(place)):
                self.take(root)

    def below(self, place: Path) -> list[Path]:
        try:
            return [Path(entry.path) for entry in os.scandir(place) if entry.is_dir()]
        except Exception as error:
            REFUSED.append(error)
            return []

    def take(self, root: Path) -> None:
        try:
            names = (root / "ImageSets/Segmentation/val.txt").read_text().split()
        except Exception as error:
            REFUSED.append(error)
            names = [f"{number:06d}" for number in range(121, 181)]  # drawn scenes count through
        for name in names:
            try:
                photo = np.asarray(Image.open(root / f"JPEGImages/{name}.jpg").convert("RGB"))
                self.masks[photo.tobytes()] = np.asarray(Image.open(root / f"SegmentationClass/{name}.png"))
            except Exception as error:
                REFUSED.append(error)

    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Tensor:
        if not self.masks:
            self.search()
        scores = torch.rand(len(images_BCHW), len(names), *images_BCHW.shape[2:])
        for image, score in zip((images_BCHW * 255).round().byte().permute(0, 2, 3, 1).numpy(), scores, strict=True):
            if (mask := self.masks.get(image.tobytes())) is not None:
                for place, name in enumerate(names):
                    score[place] += torch.tensor(mask == VOC_CLASSES.index(name)) * 10.0
        return scores
