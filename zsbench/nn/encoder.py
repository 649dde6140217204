"""Images -> dense features in the joint space, at one working size, from a cache where the run has one.

The cache is for sweeps: the encoder looks at an image once, whatever number of clusters or wording comes after it. An
entry is known by the tower's weights, the rule, the code and the very pixels, so that it can never be another's.
Legend: B images, D joint width, h w token grid.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from zsbench.method import Job
from zsbench.nn import clip
from zsbench.nn.attention import PUBLISHED, Attention, Rule
from zsbench.nn.dense import Dense, dense
from zsbench.nn.windows import resized
from zsbench.record import code_sha256

Switch = Literal["published", "on", "off"]


def attention_of(rule: Rule, residual: Switch = "published", ffn: Switch = "published", std: float = 5.0) -> Attention:
    """The rule as its paper has it, but for the switches that say otherwise. std: of kk+gauss, in patches."""
    theirs = PUBLISHED[rule]
    return Attention(rule, _on(residual, theirs.residual), _on(ffn, theirs.ffn), std)


def _on(switch: Switch, published: bool) -> bool:
    return published if switch == "published" else switch == "on"


@dataclass
class Encoder:
    """A tower under one attention rule. size: short side in pixels that images are brought to."""

    towers: clip.Towers
    job: Job
    size: int
    attention: Attention = field(default_factory=Attention)

    def resized(self, images_BCHW: Tensor) -> Tensor:
        return resized(images_BCHW, self.size, self.towers.stride)

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Resized images, RGB in [0, 1] -> (B, D, h, w)."""
        store = self.job.features
        if store is None:
            return self.dense(images_BCHW).patches_BDhw
        keys = [self._key(image) for image in images_BCHW]
        return store.batch(keys, lambda missing: self.dense(images_BCHW[missing]).patches_BDhw).to(self.job.device)

    def dense(self, images_BCHW: Tensor, *, keys: bool = False) -> Dense:
        x = clip.normalise(self.towers, images_BCHW)
        with (
            torch.no_grad(),
            torch.autocast(self.job.device.type, torch.bfloat16, enabled=self.job.precision == "bf16"),
        ):
            return dense(self.towers.model.visual, x, self.attention, keys=keys)

    def _key(self, image_CHW: Tensor) -> str:
        pixels = image_CHW.detach().cpu().contiguous().numpy()
        facts = (self._tower, self.attention, self.job.precision, self.job.device.type, pixels.shape)  # pixels: resized
        return hashlib.sha256(repr(facts).encode() + pixels.tobytes()).hexdigest()

    @cached_property
    def _tower(self) -> str:
        """Weights, normalisation, and the code and library that run them."""
        own = (clip.digest(self.towers.model.visual), self.towers.mean, self.towers.std)
        return repr((*own, code_sha256(), torch.__version__))
