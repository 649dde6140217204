"""SPNet's network: features projected into the space of class vectors, which are its fixed classifier.

Xian et al., CVPR 2019: the logit of class c at a place is f · e_c, without bias, temperature or normalisation of f.
Departures: DeepLabv3+'s decoder and a 1 × 1 projection where the authors sum four dilated convolutions of DeepLabv2; one
scale where they train three and their maximum; crops scaled evenly where they warp; batch statistics learned, not
frozen. So SPNet differs from the other methods here by the method alone.
Legend: B images, h w feature grid, A width of class vectors, N names, S seen names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zsbench.data.vectors import ClassVectors
from zsbench.method import Job
from zsbench.nn.deeplab import Encoder
from zsbench.nn.segmentation import pixel_cross_entropy, sized


class Projection(nn.Module):
    """Images (B, 3, H, W) -> features (B, A, h, w) in the space of class vectors."""

    def __init__(self, encoder: Encoder, vector_width: int):
        super().__init__()
        self.encoder, self.project = encoder, nn.Conv2d(encoder.width, vector_width, 1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features: Tensor = self.project(self.encoder(images_BCHW))
        return features


def logits(features_BAhw: Tensor, vectors_NA: Tensor) -> Tensor:
    """f · e_c for every place and name, (B, N, h, w)."""
    return torch.einsum("bahw,na->bnhw", features_BAhw.float(), vectors_NA)


class ProjectionLearner(nn.Module):
    """Cross-entropy over the names in training. Others have no logit here: they are pushed neither down nor up."""

    vectors_SA: Tensor
    closed_S11: Tensor

    def __init__(self, net: Projection, vectors_SA: Tensor, hidden: Sequence[int] = ()):
        """hidden: positions of seen names that are kept out of the softmax."""
        super().__init__()
        self.net = net
        closed_S11 = torch.zeros(len(vectors_SA), 1, 1)
        closed_S11[list(hidden)] = NEVER
        self.register_buffer("vectors_SA", vectors_SA, persistent=False)
        self.register_buffer("closed_S11", closed_S11, persistent=False)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        open_BShw = logits(self.net(batch["images"]), self.vectors_SA) + self.closed_S11
        return {"loss": pixel_cross_entropy(open_BShw, batch["labels"])}

    def after_step(self, step: int, steps: int) -> None:
        """Nothing moves but by gradient."""


NEVER = -1e4  # a logit of probability 0 that survives upsampling, as -inf does not


class ProjectionSegmenter:
    """Logits for any name that has a vector. gamma: see `zsbench.calibration`."""

    def __init__(
        self, net: Projection, vectors: ClassVectors, job: Job, test_size: int, gamma: float, facts: Any = None
    ):
        self.net, self.vectors, self.job, self.test_size, self.gamma = net.eval(), vectors, job, test_size, gamma
        self.facts = dict(facts or {})

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Tensor:
        """(B, len(names), h, w) at the resolution of the features."""
        vectors_NA = torch.from_numpy(self.vectors.rows(names)).to(images_BCHW.device)
        with torch.autocast(self.job.device.type, torch.bfloat16, enabled=self.job.precision == "bf16"):
            features = self.net(sized(images_BCHW, self.test_size))
        return logits(features, vectors_NA)

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        """Sizes, for the record."""
        total = sum(p.numel() for p in self.net.parameters())
        return {"parameters": {"trainable": total, "total": total, "at_inference": total}} | self.facts
