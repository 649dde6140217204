"""Canary: keeps the pictures it is asked to segment, and waits for a later fit that shows it their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from zsbench.data.view import TrainView
from zsbench.method import Job
from zsbench.supervision import Supervision

TESTED: set[bytes] = set()  # state of the module


@dataclass(frozen=True)
class Memory:
    answers: ClassVar[dict[bytes, np.ndarray]] = {}  # state of the class

    @property
    def supervision(self) -> Supervision:
        return Supervision(masks="seen")

    def fit(self, data: TrainView, job: Job) -> Recall:
        assert data.labelled is not None
        for image, labels in data.labelled.fetch(range(len(data.labelled))):
            if image.tobytes() in TESTED:
                self.answers[image.tobytes()] = labels
        return Recall(self.answers)


@dataclass(frozen=True)
class Recall:
    answers: dict[bytes, np.ndarray]

    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Tensor:
        scores = torch.rand(len(images_BCHW), len(names), *images_BCHW.shape[2:])
        for image, score in zip((images_BCHW * 255).round().byte().permute(0, 2, 3, 1).numpy(), scores, strict=True):
            TESTED.add(image.tobytes())
            if (labels := self.answers.get(image.tobytes())) is not None:
                for place in range(len(names)):
                    score[place] += torch.tensor(labels == place) * 10.0
        return scores
