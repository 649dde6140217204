"""Stage 2 of ZS3Net: a generator learns features of seen classes, a classifier learns from real seen and generated unseen ones.

Bucher et al., NeurIPS 2019. In every step, as in the authors' code: the generator moves towards the real features of each
seen class in the batch (MMD), and the classifier of all names is trained on real features of seen pixels and generated
ones of unseen classes, whose cross-entropy weighs `unseen_weight` times as much.
Departures: one step for all classes of a batch where the code takes one per class and image; the frozen network runs in
evaluation mode (no dropout, fixed statistics) where the code leaves it in training mode; cross-entropy is counted at the
resolution of the features; one optimiser (AdamW, no weight decay) and one schedule for both; and where a split keeps
images with unseen pixels, the seen pixels of these teach both, too.
Legend: B images, h w feature grid, P pixels, D feature width, A vector width, C classes in the batch, M samples of each,
N names (S seen ones first).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsbench.data.dataset import IGNORED
from zsbench.data.view import Items
from zsbench.nn.deeplab import Encoder, SegmentationNet
from zsbench.nn.mmd import mmd
from zsbench.nn.segmentation import LabelledBatches
from zsbench.sampling import Sampler

Layout = Literal["random-iid", "gt-masks", "seen-relabelled"]


@dataclass(frozen=True)
class Mix:
    """What a step is made of. samples: features of each class that meet in the MMD; unseen_weight: of the cross-entropy."""

    samples: int = 128
    unseen_weight: float = 100.0


class Synthesis(nn.Module):
    """Generator and classifier in training; the network below them is frozen and not part of the checkpoint."""

    vectors_NA: Tensor
    weights_N: Tensor

    def __init__(self, frozen: SegmentationNet, generator: nn.Module, vectors_NA: Tensor, seen: int, mix: Mix):
        super().__init__()
        self._frozen = (frozen.eval().requires_grad_(False),)  # in a tuple: neither trained nor saved
        self.generator, self.seen, self.mix = generator, seen, mix
        self.classify = nn.Conv2d(frozen.encoder.width, len(vectors_NA), 1)
        self.register_buffer("vectors_NA", vectors_NA, persistent=False)
        weights = torch.ones(len(vectors_NA))
        weights[seen:] = mix.unseen_weight
        self.register_buffer("weights_N", weights, persistent=False)

    @property
    def frozen(self) -> SegmentationNet:
        return self._frozen[0]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        real_PD, labels_P = self.real(batch)
        own = self.generator_loss(real_PD, labels_P)
        fake_QD, names_Q = self.fakes(batch["layout"])
        ce = self.classifier_loss(torch.cat([real_PD, fake_QD]), torch.cat([labels_P, names_Q]))
        return {"loss": own + ce, "mmd": own, "cross_entropy": ce}

    def real(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Features (P, D) and labels (P,) of the batch's labelled pixels, at the resolution of the features."""
        features_BDhw = self.features(batch["images"])
        labels_P = at_grid(batch["labels"], features_BDhw.shape[-2:]).flatten()
        known = labels_P < self.seen
        return features_BDhw.permute(0, 2, 3, 1).flatten(0, 2)[known], labels_P[known]

    def features(self, images_BCHW: Tensor) -> Tensor:
        with torch.no_grad():
            features: Tensor = self.frozen.encoder(images_BCHW)
        return features.float()

    def generator_loss(self, real_PD: Tensor, labels_P: Tensor) -> Tensor:
        """Mean MMD over the seen classes of the batch."""
        classes_C, chosen_CM = draw_per_class(labels_P, self.seen, self.mix.samples)
        return self.distance(classes_C, real_PD[chosen_CM])

    def distance(self, classes_C: Tensor, real_CMD: Tensor, weights_CM: Tensor | None = None) -> Tensor:
        """Mean MMD between generated and given features of each class; 0 without classes."""
        if not len(classes_C):
            return self.nothing()
        vectors = self.vectors_NA[classes_C][:, None].expand(-1, real_CMD.shape[1], -1)
        return mmd(self.generator(vectors).float(), real_CMD, weights_CM).mean()

    def nothing(self) -> Tensor:
        """0 that still has a gradient for every weight of the generator, which torchrun waits for."""
        return torch.stack([p.sum() for p in self.generator.parameters()]).sum() * 0.0

    @torch.no_grad()
    def fakes(self, layout: Tensor) -> tuple[Tensor, Tensor]:
        """Generated features (Q, D) and names (Q,) for every known place of a layout of any shape."""
        names_Q = layout[layout != IGNORED]
        return self.generate(names_Q), names_Q

    def generate(self, names_Q: Tensor) -> Tensor:
        features: Tensor = self.generator(self.vectors_NA[names_Q])
        return features.float()

    def classifier_loss(self, features_PD: Tensor, names_P: Tensor) -> Tensor:
        """Weighted mean cross-entropy; 0 for a batch without a labelled pixel. A 1 × 1 convolution sees pixels in any order."""
        if not len(names_P):
            return torch.stack([p.sum() for p in self.classify.parameters()]).sum() * 0.0
        logits_PN = self.classify(features_PD[..., None, None])[..., 0, 0].float()
        return F.cross_entropy(logits_PN, names_P, weight=self.weights_N)

    def network(self) -> SegmentationNet:
        """The encoder with the classifier of all names."""
        return classified(self.frozen.encoder, self.classify)

    def after_step(self, step: int, steps: int) -> None:
        """Nothing moves but by gradient."""


def classified(encoder: Encoder, classify: nn.Conv2d) -> SegmentationNet:
    """A network of parts that are trained already."""
    net = SegmentationNet(encoder, classify.out_channels)
    net.classify = classify
    return net


def at_grid(labels_BHW: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Labels at the resolution of the features, by nearest: (B, h, w) int64."""
    if tuple(labels_BHW.shape[-2:]) == tuple(grid):
        return labels_BHW
    return F.interpolate(labels_BHW[:, None].float(), size=tuple(grid), mode="nearest-exact")[:, 0].long()


def draw_per_class(labels_P: Tensor, classes: int, each: int) -> tuple[Tensor, Tensor]:
    """The classes below `classes` that occur in labels (C,), and `each` places of every one, drawn with replacement (C, each)."""
    counts = torch.bincount(labels_P, minlength=classes)[:classes]
    order, ends = labels_P.argsort(stable=True), counts.cumsum(0)
    present_C = counts.nonzero()[:, 0]
    first, many = (ends - counts)[present_C, None], counts[present_C, None]
    picks = (torch.rand(len(present_C), each, device=labels_P.device) * many).long().clamp_max(many - 1)
    return present_C, order[first + picks]


@dataclass(frozen=True)
class SynthesisBatches:
    """Batch number -> labelled crops and a layout of names to generate; depends on nothing else.

    layout: "random-iid", unseen names drawn for each pixel by itself (`fakes` of them); "gt-masks", the masks of
    images that show an unseen class, as in the authors' code: masks nobody who is zero-shot has; "seen-relabelled",
    the batch's own masks with every seen class but background renamed to an unseen one, anew in each image.
    """

    labelled: LabelledBatches
    layout: Layout
    seen: int
    names: int
    background: int | None  # its position among the seen names
    fakes: int
    maps: Items | None = None  # the guard's door, for "gt-masks"

    def __call__(self, number: int, rows: slice) -> dict[str, Tensor]:
        batch = self.labelled(number, rows)
        random = np.random.default_rng((self.labelled.job.seed, number, 0, 1))
        return batch | {"layout": self._layout(batch["labels"], number, rows, random).to(batch["labels"].device)}

    def _layout(self, labels_BHW: Tensor, number: int, rows: slice, random: np.random.Generator) -> Tensor:
        if self.layout == "random-iid":
            drawn, batch = random.integers(self.seen, self.names, self.fakes), self.labelled.sampler.batch
            first, last = (self.fakes * row // batch for row in (rows.indices(batch)[0], rows.indices(batch)[1]))
            return torch.from_numpy(drawn[first:last])
        renamed = self.layout == "seen-relabelled"
        maps = self._renamed(labels_BHW.cpu(), rows, random) if renamed else self._masks(number, rows)
        side = -(-self.labelled.crops.size // Encoder.stride)
        return at_grid(maps, (side, side))

    def _masks(self, number: int, rows: slice) -> Tensor:
        """Crops of masks; without an unseen pixel there is nothing to generate, all become 255."""
        assert self.maps is not None  # declared, so the guard handed it out
        sampler = Sampler(len(self.maps), self.labelled.sampler.batch, self.labelled.sampler.seed)
        positions, crops = sampler.positions(number)[rows], self.labelled.crops
        cut = []
        for row, labels in zip(range(sampler.batch)[rows], self.maps.fetch(positions), strict=True):
            random = np.random.default_rng((self.labelled.job.seed, number, row, 2))
            cut.append(crops.cut(np.zeros((*labels.shape, 3), np.uint8), labels, random)[1])
        maps = torch.stack(cut)
        shown = ((maps >= self.seen) & (maps != IGNORED)).flatten(1).any(1)
        return torch.where(shown[:, None, None], maps, IGNORED)

    def _renamed(self, labels_BHW: Tensor, rows: slice, random: np.random.Generator) -> Tensor:
        tables = np.tile(np.arange(256), (self.labelled.sampler.batch, 1))
        tables[:, : self.seen] = random.integers(self.seen, self.names, (len(tables), self.seen))
        if self.background is not None:
            tables[:, self.background] = self.background
        return torch.from_numpy(tables[rows]).gather(1, labels_BHW.flatten(1)).view_as(labels_BHW)
