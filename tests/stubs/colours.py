"""Colours: a pixel's score for a name is how much of the name's hue it has; learns nothing, looks at no label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.data.scene_classes import CLASSES, HUES
from zsbench.data.view import TrainView
from zsbench.method import Departure, Job
from zsbench.supervision import Supervision

CORNERS = dict(zip(HUES, [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1)], strict=True))
HUE = {row.name: row.hue for row in CLASSES}


@dataclass(frozen=True)
class Colours:
    coarse: int = 1  # scores at 1/coarse of the picture's resolution
    floor: float = 0.3  # score of a name without a hue

    departures: ClassVar[dict[str, str]] = {"floor": "no paper says how grey a background is"}
    drawn: ClassVar[dict[str, Departure]] = {"floor": Departure(0.15, "drawn grounds are muted")}

    @property
    def supervision(self) -> Supervision:
        return Supervision(backbone="none", tuned_on="the looks of the drawn scenes")

    def fit(self, data: TrainView, job: Job) -> Segmenter:
        return Segmenter(self.coarse, self.floor)


class Segmenter:
    def __init__(self, coarse: int, floor: float):
        self.coarse, self.floor = coarse, floor

    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Tensor:
        if self.coarse > 1:
            images_BCHW = F.avg_pool2d(images_BCHW, self.coarse, ceil_mode=True)
        chroma = images_BCHW - images_BCHW.mean(1, keepdim=True)
        return torch.stack([self.score(chroma, name) for name in names], dim=1)

    def score(self, chroma_BCHW: Tensor, name: str) -> Tensor:
        hue = HUE.get(name) or next((word for word in name.split() if word in CORNERS), "")
        if not hue:
            return torch.full_like(chroma_BCHW[:, 0], self.floor)
        corner = torch.tensor(CORNERS[hue], dtype=chroma_BCHW.dtype)
        return torch.einsum("bchw,c->bhw", chroma_BCHW, corner - corner.mean())

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        return {"parameters": {"trainable": 0, "total": 0}, "prompts": {"template": "{}", "names": list(names)}}
