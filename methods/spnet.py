"""SPNet: pixels projected onto class vectors.

Xian et al., "Semantic Projection Network for Zero- and Few-Label Semantic Segmentation", CVPR 2019. The plainest member
of the family: trained by cross-entropy over seen names, asked about unseen ones through their vectors. As it is, it calls
next to nothing unseen; `spnet-c` is the same network, calibrated. The record holds the whole curve over gamma.
docs/methods/spnet.md has the equations, the options and what to expect.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch

from zsbench.config import refuse_below
from zsbench.data.view import Items, TrainView
from zsbench.errors import UserError
from zsbench.method import Departure, Job
from zsbench.nn.deeplab import build_encoder, corpus_of
from zsbench.nn.projection import Projection, ProjectionLearner, ProjectionSegmenter
from zsbench.nn.segmentation import Crops, LabelledBatches, refuse_none
from zsbench.sampling import Sampler
from zsbench.stages import shared_stage
from zsbench.supervision import Supervision
from zsbench.training import Recipe, train


@dataclass(frozen=True)
class SPNet:
    """SPNet's whole configuration; defaults are the authors' for PASCAL VOC, `departures` names those that are not."""

    vectors: str = ""
    vector_names: str = ""
    encoder: Literal["small", "resnet50", "resnet101"] = "resnet101"
    pretrained: str = ""
    width: int = 256
    crop: int = 321
    scale_low: float = 0.5
    scale_high: float = 1.5
    test_size: int = 0
    optimiser: Literal["sgd", "adamw"] = "sgd"
    steps: int = 20_000
    batch: int = 10
    lr: float = 2.5e-4
    weight_decay: float = 5e-4
    head_scale: float = 10.0
    gamma: float = 0.0

    departures: ClassVar[dict[str, str]] = {
        "encoder": "DeepLabv2 with frozen statistics in the paper; DeepLabv3+ here, as for the other methods",
        "pretrained": "ImageNet weights in the paper, which have seen kinds of the unseen classes; random here",
        "test_size": "513 x 513 in the code, pictures and labels warped; whole images at their own size here",
        "head_scale": "in the code biases learn at twenty times the rate; here like the weights",
    }
    quick: ClassVar[dict[str, object]] = {"steps": 6, "batch": 8}
    drawn: ClassVar[dict[str, Departure]] = {
        "vectors": Departure("factor", "the looks of the drawn classes; the real words say nothing about them"),
        "encoder": Departure("small", "drawn scenes are 64 pixels wide and train on two CPU cores"),
        "width": Departure(96, "small encoder"),
        "crop": Departure(64, "the size of a drawn scene"),
        "scale_low": Departure(1.0, "textures of 5 pixels do not survive a change of scale"),
        "scale_high": Departure(1.0, "textures of 5 pixels do not survive a change of scale"),
        "optimiser": Departure("adamw", "small encoder, short schedule"),
        "steps": Departure(600, "1,500 scenes, minutes on two CPU cores"),
        "batch": Departure(32, "small scenes"),
        "lr": Departure(3e-3, "small encoder, short schedule"),
        "weight_decay": Departure(1e-4, "small encoder, short schedule"),
        "head_scale": Departure(1.0, "nothing is pretrained"),
    }

    def __post_init__(self) -> None:
        refuse_below(self, MAY_BE_ZERO)
        refuse_none(self.vectors)
        if self.scale_low > self.scale_high:
            raise UserError(f"scale_low = {self.scale_low} is above scale_high = {self.scale_high}")

    @property
    def supervision(self) -> Supervision:
        return Supervision(
            masks="seen",
            backbone=f"{self.encoder}, {self.pretrained or 'random init'}",
            backbone_corpus=corpus_of(self.pretrained),
            vectors=self.vectors,
            vector_names=self.vector_names,
            unseen_names="evaluation",
            tuned_on=TUNED,
        )

    def fit(self, data: TrainView, job: Job) -> ProjectionSegmenter:
        assert data.labelled is not None and data.vectors is not None  # the guard refuses to run without
        net = self.train_on(data, data.labelled, job, "projection")
        return ProjectionSegmenter(net, data.vectors, job, self.test_size, self.gamma)

    def train_on(self, data: TrainView, items: Items, job: Job, stage: str, hidden: tuple[int, ...] = ()) -> Projection:
        """A trained network, shared with every run that asks for the same. hidden: seen names that it learns nothing of."""
        assert data.vectors is not None
        visible = [name for place, name in enumerate(data.seen) if place not in hidden]
        vectors_SA = torch.from_numpy(data.vectors.rows(data.seen))
        torch.manual_seed(job.seed)
        net = Projection(build_encoder(self.encoder, self.pretrained, width=self.width), data.vectors.dim)
        digest = hashlib.sha256(torch.from_numpy(data.vectors.rows(visible)).numpy().tobytes()).hexdigest()
        own = {name: value for name, value in asdict(self).items() if name in TRAINING}
        settings = own | {"visible": visible, "images": len(items), "vectors": digest, "method": SOURCE}
        with shared_stage(job, stage, settings) as shared:
            crops = Crops(self.crop, (self.scale_low, self.scale_high))
            batches = LabelledBatches(items, crops, Sampler(len(items), self.batch, job.seed), shared, hidden)
            train(ProjectionLearner(net, vectors_SA, hidden), batches, self.recipe(), shared, stage=stage)
        return net.to(job.device).eval()

    def recipe(self) -> Recipe:
        slow = (("net.encoder.backbone.", 1.0 / self.head_scale),) if self.head_scale != 1 else ()
        rate = self.lr * self.head_scale
        return Recipe(
            self.steps, self.batch, rate, self.weight_decay, optimiser=self.optimiser, schedule="poly", scales=slow
        )


TUNED = "nothing; steps, batches and learning rates of the drawn scenes were sized for time on two CPU cores"
MAY_BE_ZERO = ("gamma", "weight_decay", "test_size")
TRAINING = (
    "encoder", "pretrained", "width", "crop", "scale_low", "scale_high", "optimiser", "steps", "batch", "lr", "weight_decay",
    "head_scale",
)  # fmt: skip
SOURCE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()  # what a shared training was trained by
