"""ZS3Net: features of unseen classes, generated from class vectors.

Bucher et al., "Zero-Shot Semantic Segmentation", NeurIPS 2019. Three steps: a segmentation network learns the seen masks
(stage 1, shared by all methods that need the same one), a generator learns the features of seen classes from their
vectors and noise under an MMD loss, and the last layer is trained anew on real features of seen and generated features
of unseen classes. With `self_training`, ZS5Net. docs/methods/zs3net.md has the equations, the options and what to expect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from zsbench.config import refuse_below
from zsbench.data.view import TrainView
from zsbench.errors import UserError
from zsbench.method import Departure, Job, Round
from zsbench.nn.context import GraphSynthesis
from zsbench.nn.deeplab import SegmentationNet, corpus_of
from zsbench.nn.generator import Noise, PixelGenerator
from zsbench.nn.graph import GraphGenerator
from zsbench.nn.segmentation import Crops, LabelledBatches, PixelSegmenter, Stage1, refuse_none
from zsbench.nn.selftraining import PixelSelfTraining
from zsbench.nn.synthesis import Layout, Mix, Synthesis, SynthesisBatches
from zsbench.sampling import Sampler
from zsbench.stages import shared_stage
from zsbench.supervision import Supervision
from zsbench.training import Recipe, told_by, train


@dataclass(frozen=True)
class ZS3Net:
    """ZS3Net's whole configuration; defaults are the authors' code for PASCAL VOC, `departures` names those that are not."""

    vectors: str = ""
    vector_names: str = ""
    layout: Layout = "random-iid"
    context: Literal["none", "graph"] = "none"
    encoder: Literal["small", "resnet50", "resnet101"] = "resnet101"
    pretrained: str = ""
    stage1: str = ""
    width: int = 256
    crop: int = 312
    scale_low: float = 0.5
    scale_high: float = 2.0
    test_size: int = 0
    seg_optimiser: Literal["sgd", "adamw"] = "sgd"
    seg_steps: int = 100_000
    seg_batch: int = 16
    seg_lr: float = 0.007 / 16
    seg_weight_decay: float = 5e-4 * 16
    seg_head_scale: float = 10.0
    hidden: int = 256
    noise: Noise = "uniform"
    samples: int = 128
    unseen_weight: float = 100.0
    fakes: int = 2_048
    steps: int = 40_000
    batch: int = 8
    lr: float = 2e-4
    classifier_lr: float = 2e-3
    self_training: int = 0
    st_rule: Literal["views", "zs5"] = "views"
    st_share: float = 0.25
    st_steps: int = 2_000
    st_lr: float = 1e-4

    departures: ClassVar[dict[str, str]] = {
        "layout": "the published code lays unseen features out by the masks of unseen classes; 'gt-masks' repeats that",
        "pretrained": "the paper starts from ImageNet weights trained without VOC's classes, which are not public",
        "seg_lr": "0.007 in the code, whose loss is divided by the batch a second time",
        "seg_weight_decay": "5e-4 in the code; 16 times that keeps its product with the learning rate",
        "fakes": "the code generates one feature for every pixel of an image with unseen masks",
        "classifier_lr": "the code trains the classifier with SGD at 0.07 from uniform weights; here AdamW",
        "test_size": "not the code's 312 or 513: whole images at their own size",
        "st_rule": "ZS5Net's self-training is not in the code; 'zs5' is what its file names tell, 'views' is STRICT's",
    }
    quick: ClassVar[dict[str, object]] = {"seg_steps": 6, "seg_batch": 8, "steps": 6, "batch": 8, "fakes": 64}
    drawn: ClassVar[dict[str, Departure]] = {
        "vectors": Departure("factor", "the looks of the drawn classes; the real words say nothing about them"),
        "encoder": Departure("small", "drawn scenes are 64 pixels wide and train on two CPU cores"),
        "width": Departure(96, "small encoder"),
        "crop": Departure(64, "the size of a drawn scene"),
        "scale_low": Departure(1.0, "textures of 5 pixels do not survive a change of scale"),
        "scale_high": Departure(1.0, "textures of 5 pixels do not survive a change of scale"),
        "seg_optimiser": Departure("adamw", "small encoder, short schedule"),
        "seg_steps": Departure(600, "1,500 scenes, minutes on two CPU cores"),
        "seg_batch": Departure(32, "small scenes"),
        "seg_lr": Departure(3e-3, "small encoder, short schedule"),
        "seg_weight_decay": Departure(1e-4, "small encoder, short schedule"),
        "seg_head_scale": Departure(1.0, "nothing is pretrained"),
        "steps": Departure(600, "minutes on two CPU cores"),
        "batch": Departure(32, "small scenes"),
        "fakes": Departure(512, "small scenes"),
        "classifier_lr": Departure(1e-2, "short schedule"),
        "st_steps": Departure(150, "short schedule"),
        "st_lr": Departure(1e-3, "small encoder, short schedule"),
    }

    def __post_init__(self) -> None:
        refuse_below(self, MAY_BE_ZERO)
        refuse_none(self.vectors)
        if self.scale_low > self.scale_high:
            raise UserError(f"scale_low = {self.scale_low} is above scale_high = {self.scale_high}")
        if self.context == "graph" and self.layout == "random-iid":
            raise UserError("context = graph needs patches: --set layout=seen-relabelled (or gt-masks, as published)")
        if self.st_share > 1:
            raise UserError(f"st_share = {self.st_share}: a share of the pixels was expected, at most 1")

    @property
    def supervision(self) -> Supervision:
        return Supervision(
            masks="seen",
            layout="unseen" if self.layout == "gt-masks" else "none",
            unlabelled="train" if self.self_training else "none",
            backbone=self.start,
            backbone_corpus=self.corpus,
            vectors=self.vectors,
            vector_names=self.vector_names,
            unseen_names="training",
            tuned_on=TUNED,
        )

    @property
    def start(self) -> str:
        """What the encoder's weights come from, in words."""
        given = f"stage 1 of {Path(self.stage1).name}" if self.stage1 else self.pretrained
        return f"{self.encoder}, {given or 'random init'}"

    @property
    def corpus(self) -> str:
        """What the encoder had seen before stage 1; of a given stage 1, what its checkpoint says."""
        if self.stage1:
            return str(told_by(Path(self.stage1)).get("backbone_corpus") or "unknown corpus")
        return corpus_of(self.pretrained)

    def fit(self, data: TrainView, job: Job) -> PixelSegmenter:
        return self.finish(self.synthesise(data, job).network(), data, job)

    def synthesise(self, data: TrainView, job: Job) -> Synthesis:
        """Both stages: the trained generator and classifier on top of the frozen network."""
        assert data.labelled is not None and data.vectors is not None  # the guard refuses to run without
        vectors_NA = torch.from_numpy(data.vectors.rows(data.seen + data.unseen))
        frozen = self.stage_one().network(data, job)
        torch.manual_seed(job.seed)
        kind = GraphSynthesis if self.context == "graph" else Synthesis
        learner = kind(frozen, self.generator(vectors_NA.shape[1]), vectors_NA, len(data.seen), self.mix)
        digest = hashlib.sha256(vectors_NA.numpy().tobytes()).hexdigest()
        own = {name: value for name, value in asdict(self).items() if name in STAGE_2}
        with shared_stage(job, "generation", own | {"vectors": digest, "method": SOURCE}) as shared:
            train(learner, self.batches(data, shared), self.recipe(self.steps), shared, stage="generation")
        return learner.to(job.device).eval()

    def stage_one(self) -> Stage1:
        """Stage 1 and everything that decides its weights."""
        head = (("net.encoder.backbone.", 1.0 / self.seg_head_scale),) if self.seg_head_scale != 1 else ()
        recipe = Recipe(
            self.seg_steps,
            self.seg_batch,
            self.seg_lr * self.seg_head_scale,
            self.seg_weight_decay,
            optimiser=self.seg_optimiser,
            schedule="poly",
            scales=head,
        )
        return Stage1(self.encoder, self.pretrained, self.width, self.crops, recipe, self.stage1)

    @property
    def crops(self) -> Crops:
        return Crops(self.crop, (self.scale_low, self.scale_high))

    @property
    def mix(self) -> Mix:
        return Mix(self.samples, self.unseen_weight)

    def generator(self, vector_width: int) -> nn.Module:
        if self.context == "graph":
            return GraphGenerator(vector_width, self.width, self.hidden or 256, self.noise)
        return PixelGenerator(vector_width, self.width, self.hidden, self.noise)

    def batches(self, data: TrainView, job: Job) -> SynthesisBatches:
        assert data.labelled is not None
        sampler = Sampler(len(data.labelled), self.batch, job.seed)
        names = data.seen + data.unseen
        background = names.index("background") if "background" in names else None
        labelled = LabelledBatches(data.labelled, self.crops, sampler, job)
        return SynthesisBatches(labelled, self.layout, len(data.seen), len(names), background, self.fakes, data.layout)

    def recipe(self, steps: int) -> Recipe:
        return Recipe(
            steps, self.batch, self.lr, schedule="poly", scales=(("classify.", self.classifier_lr / self.lr),)
        )

    def finish(self, net: SegmentationNet, data: TrainView, job: Job, states: Sequence[Round] = ()) -> PixelSegmenter:
        """Rounds of self-training, if any, and the segmenter with the states that led to it."""
        names = data.seen + data.unseen
        segmenter = PixelSegmenter(net, names, job, self.test_size)
        rounds = list(states) or [Round("ZS3Net", segmenter)]
        for number in range(1, self.self_training + 1):
            net = self._self_train(net, data, job, number)
            segmenter = PixelSegmenter(net, names, job, self.test_size)
            rounds.append(Round(f"self-training {number}", segmenter))
        segmenter.rounds = rounds if len(rounds) > 1 else []
        return segmenter

    def _self_train(self, net: SegmentationNet, data: TrainView, job: Job, number: int) -> SegmentationNet:
        assert data.labelled is not None and data.unlabelled is not None
        names, student = data.seen + data.unseen, deepcopy(net).requires_grad_(True)
        labeller = PixelSegmenter(deepcopy(net).to(job.device), names, job)
        share = self.st_share if self.st_rule == "zs5" else None
        learner = PixelSelfTraining(student, labeller, names, len(data.seen), share)
        labelled, pool = (
            LabelledBatches(items, self.crops, Sampler(len(items), self.batch, job.seed + shift), job)
            for shift, items in enumerate((data.labelled, data.unlabelled))
        )

        def batch_at(number: int, rows: slice) -> dict[str, Tensor]:
            return labelled(number, rows) | {"pool": pool(number, rows)["images"]}

        recipe = Recipe(self.st_steps, self.batch, self.st_lr, schedule="poly")
        train(learner, batch_at, recipe, job, stage=f"self-training-{number}")
        return student.eval()


TUNED = "nothing; steps, batches and learning rates of the drawn scenes were sized for time on two CPU cores"
MAY_BE_ZERO = (
    "hidden", "seg_weight_decay", "self_training", "test_size", "rounds", "tau", "weight_power", "reject", "zs_weight",
)  # fmt: skip
STAGE_2 = (
    "layout", "context", "encoder", "pretrained", "stage1", "width", "crop", "scale_low", "scale_high", "seg_optimiser",
    "seg_steps", "seg_batch", "seg_lr", "seg_weight_decay", "seg_head_scale", "hidden", "noise", "samples",
    "unseen_weight", "fakes", "steps", "batch", "lr", "classifier_lr",
)  # fmt: skip
SOURCE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()  # what a shared stage 2 was trained by
