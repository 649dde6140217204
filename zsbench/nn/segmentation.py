"""Stage 1 of the generative methods: a segmentation network trained on masks of seen classes, once for all who need it.

ZS3Net's stage 1 (Bucher et al., NeurIPS 2019): DeepLabv3+, cross-entropy, random scale, crop and mirror. Departures: the
classifier has no columns for unseen names (the published one has, its training only pushes them down, and stage 2 throws
them away); no blur; images without any labelled pixel are drawn like all others.
Legend: B images, H W pixels, h w feature grid, S seen names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsbench.data.dataset import IGNORED
from zsbench.data.view import Items, TrainView
from zsbench.distributed import mean_over_ranks
from zsbench.errors import UserError
from zsbench.method import Job, Round
from zsbench.nn.deeplab import SegmentationNet, build_encoder
from zsbench.sampling import Sampler
from zsbench.stages import note_file, shared_stage
from zsbench.training import Recipe, load_checkpoint, train

FILL = 0.5  # grey beyond the border of a picture


@dataclass(frozen=True)
class Crops:
    """How training pictures are cut: short side to `size` times a factor from `scale`, a square of `size`, mirrored by halves."""

    size: int
    scale: tuple[float, float] = (1.0, 1.0)
    mirror: bool = True

    def cut(
        self, image_HWC: np.ndarray, labels_HW: np.ndarray | None, random: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """One random crop: (3, size, size) in [0, 1] and (size, size) int64, 255 beyond the border and without labels."""
        image = torch.tensor(image_HWC).permute(2, 0, 1)[None].float() / 255
        given = torch.full(image.shape[-2:], IGNORED) if labels_HW is None else torch.tensor(labels_HW)
        labels = given[None, None].float()
        factor = self.size * random.uniform(*self.scale) / min(image.shape[-2:])
        target = [max(1, round(side * factor)) for side in image.shape[-2:]]
        if target != list(image.shape[-2:]):
            image = F.interpolate(image, size=target, mode="bilinear", antialias=True, align_corners=False)
            labels = F.interpolate(labels, size=target, mode="nearest-exact")
        lack = [max(0, self.size - side) for side in target]
        image = F.pad(image, (0, lack[1], 0, lack[0]), value=FILL)
        labels = F.pad(labels, (0, lack[1], 0, lack[0]), value=IGNORED)
        top, left = (int(random.integers(0, side - self.size + 1)) for side in image.shape[-2:])
        place = (slice(top, top + self.size), slice(left, left + self.size))
        image, labels = image[0][:, *place], labels[0, 0][place].long()
        if self.mirror and random.random() < 0.5:
            image, labels = image.flip(-1), labels.flip(-1)
        return image, labels


@dataclass(frozen=True)
class LabelledBatches:
    """Batch number -> crops of this process's rows, {"images", "labels"}; depends on nothing else.

    items: the view's labelled pairs, or its unlabelled images (then every label is 255). hidden: positions of seen names
    whose labels are taken away (validation classes).
    """

    items: Items
    crops: Crops
    sampler: Sampler
    job: Job
    hidden: tuple[int, ...] = ()

    def __call__(self, number: int, rows: slice) -> dict[str, Tensor]:
        own = range(len(self.sampler.positions(number)))[rows]
        positions = self.sampler.positions(number)[rows]
        fetched = [item if isinstance(item, tuple) else (item, None) for item in self.items.fetch(positions)]
        cut = [
            self.crops.cut(image, labels, np.random.default_rng((self.job.seed, number, row)))
            for row, (image, labels) in zip(own, fetched, strict=True)
        ]
        images, labels = (torch.stack(parts).to(self.job.device) for parts in zip(*cut, strict=True))
        return {"images": images, "labels": hide(labels, self.hidden)}


def hide(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """Labels of `classes` become 255."""
    if not classes:
        return labels
    table = torch.arange(256, device=labels.device)
    table[list(classes)] = IGNORED
    return table[labels]


def pixel_cross_entropy(logits_BNhw: Tensor, labels_BHW: Tensor) -> Tensor:
    """Mean cross-entropy of the labelled pixels, logits upsampled to the labels; 0 for a batch without any.

    The mean is over the pixels of all processes, which hold unequally many (see `zsbench.distributed`).
    """
    logits = F.interpolate(logits_BNhw.float(), size=labels_BHW.shape[-2:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, labels_BHW, ignore_index=IGNORED, reduction="sum")
    return total / mean_over_ranks((labels_BHW != IGNORED).sum().float()).clamp_min(1)


class SeenLearner(nn.Module):
    """Cross-entropy of a segmentation network over the seen names."""

    def __init__(self, net: SegmentationNet):
        super().__init__()
        self.net = net

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = self.net(batch["images"])
        return {"loss": pixel_cross_entropy(logits, batch["labels"])}

    def after_step(self, step: int, steps: int) -> None:
        """Nothing moves but by gradient."""


@dataclass(frozen=True)
class Stage1:
    """Everything that decides the weights of stage 1. file: a checkpoint to take instead of training."""

    encoder: str
    pretrained: str
    width: int
    crops: Crops
    recipe: Recipe
    file: str = ""

    def network(self, data: TrainView, job: Job) -> SegmentationNet:
        """The trained network: from `file`, from the shared stage, or trained now. Raises UserError (see `load_checkpoint`)."""
        torch.manual_seed(job.seed)
        learner = SeenLearner(
            SegmentationNet(build_encoder(self.encoder, self.pretrained, width=self.width), len(data.seen))
        )
        if self.file:
            if not Path(self.file).is_file():
                raise UserError(
                    f"stage1 = {self.file}: no such file; a checkpoint lies in OUT/stages/segmentation-KEY/"
                )
            progress = load_checkpoint(Path(self.file), learner, facts=job.facts, whole=True)
            note_file(job, "segmentation", Path(self.file), vars(progress))
            return learner.net.to(job.device).eval()
        settings = {k: v for k, v in asdict(self).items() if k != "file"}
        with shared_stage(job, "segmentation", settings) as own:
            assert data.labelled is not None  # the guard refuses to run without
            batches = LabelledBatches(
                data.labelled, self.crops, Sampler(len(data.labelled), self.recipe.batch, job.seed), own
            )
            train(learner, batches, self.recipe, own, stage="segmentation")
        return learner.net.eval()


def refuse_none(vectors: str) -> None:
    """Raises UserError for a method that needs class vectors and is told to do without."""
    if vectors.strip() == "none":
        raise UserError(
            "vectors = none: this method learns from class vectors; docs/class-vectors.md lists the sources"
        )


def sized(images_BCHW: Tensor, short_side: int) -> Tensor:
    """Images resized so that the short side is `short_side` pixels; 0 leaves them as they are."""
    size = images_BCHW.shape[-2:]
    if not short_side or short_side == min(size):
        return images_BCHW
    target = [max(1, round(side * short_side / min(size))) for side in size]
    return F.interpolate(images_BCHW, size=target, mode="bilinear", antialias=True, align_corners=False)


class PixelSegmenter:
    """Logits of a segmentation network's classifier for the names it is asked for.

    names: what the classifier's columns stand for. gamma: subtracted from seen probabilities by the harness.
    """

    def __init__(self, net: nn.Module, names: Sequence[str], job: Job, test_size: int = 0, gamma: float = 0.0):
        self.net, self.names, self.job, self.test_size, self.gamma = net.eval(), tuple(names), job, test_size, gamma
        self.rounds: Sequence[Round] = ()
        self.facts: dict[str, Any] = {}

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Tensor:
        """(B, len(names), h, w) logits at the resolution of the features."""
        columns = [self.names.index(name) for name in names]
        with torch.autocast(self.job.device.type, torch.bfloat16, enabled=self.job.precision == "bf16"):
            logits: Tensor = self.net(sized(images_BCHW, self.test_size))
        return logits.float()[:, columns]

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        """Sizes, for the record."""
        total = sum(p.numel() for p in self.net.parameters())
        return {"parameters": {"trainable": total, "total": total, "at_inference": total}} | self.facts
