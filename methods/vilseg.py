"""ViL-Seg: multi-crop, image-text contrast and online clustering, end to end from captions.

Liu et al., "Open-world Semantic Segmentation via Contrasting and Clustering Vision-Language Embedding", ECCV 2022. No
masks. One step trains three losses with unit weights (section 3): L_vision, local views against the global view; L_cross,
image against caption; L_cluster, the same cluster for the same place of two photometric twins. Inference: argmax cluster
of every pixel, mean feature of every cluster, nearest name.
No official code exists; where the paper is silent or contradicts itself, the choice is a field, explained in `departures`.
Legend: B images, D joint width, C clusters, h w patch grid, V views.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from zsbench.config import refuse_below
from zsbench.data.view import Items, TrainView
from zsbench.errors import UserError
from zsbench.method import Departure, Job, Regions
from zsbench.nn import clip
from zsbench.nn.attention import Attention
from zsbench.nn.captioned_clip import CaptionBatches, start_of
from zsbench.nn.clustering import joint, mutual_information_loss, name_regions, pool_regions, segment, undo_flip
from zsbench.nn.dense import dense, require_rule
from zsbench.nn.losses import (
    Centre,
    DistillationHead,
    contrastive,
    distill,
    ema_update,
    literal,
    meters,
    momentum_at,
)
from zsbench.nn.selftraining import pixel_loss, pseudo_labels
from zsbench.nn.views import ViewRecipe, make_views, square
from zsbench.nn.weights import refuse_absent
from zsbench.nn.windows import resized
from zsbench.nn.wording import sha256
from zsbench.sampling import Sampler
from zsbench.stages import shared_stage
from zsbench.supervision import Supervision
from zsbench.training import Recipe, train


@dataclass(frozen=True)
class VilSeg:
    """ViL-Seg's whole configuration; defaults are the paper's, `departures` names those that are not."""

    encoder: str = "ViT-B-16"
    pretrained: str = ""
    pool: Literal["avg", "tok"] = "avg"
    clusters: int = 20
    cluster_to_encoder: bool = False
    vision: Literal["dino", "literal", "none"] = "dino"
    head: Literal["linear", "dino_mlp"] = "linear"
    projection: int = 2048
    local_views: int = 6
    teacher_momentum: float = 0.996
    teacher_temperature: float = 0.04
    student_temperature: float = 0.1
    direction: Literal["sym", "i2t"] = "sym"
    prompt: str = "a photo of a {}."
    view_size: int = 224
    global_scale: float = 0.4
    view_colours: bool = True
    local_size: int = 96
    steps: int = 48_000
    batch: int = 768
    accumulate: int = 1
    lr: float = 5e-4
    weight_decay: float = 0.04
    warmup: int = 4_000
    clip: float = 3.0
    test_size: int = 448
    self_training: int = 0
    st_steps: int = 2_000
    st_batch: int = 16
    st_lr: float = 5e-5

    departures: ClassVar[dict[str, str]] = {
        "vision": "the printed loss (a cross-entropy without teacher) is minimised by any constant one-hot output",
        "direction": "the paper prints image to text only; the mean of both directions is what CLIP and its heirs train",
        "clusters": "section 4.1 says 25, section 4.3 'finally adopt 20'",
        "cluster_to_encoder": "Eq. 1 optimises the cluster loss over its head alone; section 4.3 says it helps the features",
        "view_size": "views are cut from the central square of a picture; the paper does not say",
        "pool": "the paper's e_v is read as the mean of e_pxl; 'tok' suits CLIP weights",
        "steps": "not given; about three epochs of CC12M at batch 768",
        "clip": "not given; DINO's value",
        "self_training": "'+ST' is named and not defined; rounds of STRICT's recipe (pseudo-labels that survive views)",
        "test_size": "not given; whole image, short side 448",
    }
    quick: ClassVar[dict[str, object]] = {"steps": 6, "batch": 16, "warmup": 2}
    drawn: ClassVar[dict[str, Departure]] = {
        "encoder": Departure("small", "drawn scenes are 64 pixels wide and train on two CPU cores"),
        "view_size": Departure(64, "the size of a drawn scene"),
        "local_size": Departure(24, "about a third of a drawn scene, as 96 of 224"),
        "test_size": Departure(64, "the size of a drawn scene"),
        "view_colours": Departure(False, "a class of the drawn scenes is known by its hue and texture too"),
        "local_views": Departure(2, "six local views double the cost of a step"),
        "projection": Departure(256, "2,500 scenes do not fill 2,048 bins"),
        "batch": Departure(64, "2,500 scenes, two CPU cores"),
        "steps": Departure(300, "minutes on two CPU cores"),
        "lr": Departure(2e-3, "small encoder, short schedule"),
        "warmup": Departure(30, "short schedule"),
        "st_steps": Departure(100, "short schedule"),
        "st_batch": Departure(64, "small scenes"),
        "st_lr": Departure(3e-4, "small encoder, short schedule"),
    }

    def __post_init__(self) -> None:
        refuse_below(self, MAY_BE_ZERO)
        refuse_absent(self.encoder, self.pretrained)
        if self.batch % self.accumulate:
            raise UserError(f"batch = {self.batch} does not divide into accumulate = {self.accumulate} passes")
        if self.batch // self.accumulate < 2:
            raise UserError(f"batch = {self.batch} leaves no other caption to contrast an image with: 2 are the least")
        if "{}" not in self.prompt:
            raise UserError(
                f"prompt = {self.prompt!r}: it needs {{}} where the class name goes, e.g. 'a photo of a {{}}.'"
            )

    @property
    def supervision(self) -> Supervision:
        backbone, corpus = start_of(self.encoder, self.pretrained)
        return Supervision(
            captions=True,
            backbone=backbone,
            backbone_corpus=corpus,
            unlabelled="train" if self.self_training else "none",
            unseen_names="training" if self.self_training else "evaluation",
            tuned_on="nothing; on drawn scenes, steps, batch and encoder were sized for time on two CPU cores",
        )

    def views(self) -> ViewRecipe:
        return ViewRecipe(
            self.view_size,
            self.local_size,
            n_local=self.local_views,
            global_scale=(self.global_scale, 1.0),
            local_scale=(0.05, self.global_scale),
            colour_global=self.view_colours,
        )

    def recipe(self) -> Recipe:
        return Recipe(
            self.steps, self.batch, self.lr, self.weight_decay, self.warmup, clip=self.clip, accumulate=self.accumulate
        )

    def fit(self, data: TrainView, job: Job) -> VilSegSegmenter:
        net = self.trained(data, job)
        for number in range(self.self_training):
            self._self_train(net, data, job, number + 1)
        return VilSegSegmenter(self, net.eval(), job)

    def trained(self, data: TrainView, job: Job) -> VilSegNet:
        """The network after the three losses, trained once for every run that asks for the same (K-means, "+ST")."""
        assert data.captions is not None  # the guard refuses to run without
        torch.manual_seed(job.seed)
        towers = clip.build(self.encoder, self.pretrained)
        require_rule(towers.model.visual, Attention(), self.encoder)
        net = VilSegNet(self, towers)
        sampler = Sampler(data.captions.size, self.batch // self.accumulate, job.seed)
        settings = {f.name: getattr(self, f.name) for f in fields(VilSeg) if f.name not in AFTERWARDS}
        with shared_stage(job, "vilseg", settings | {"method": SOURCE}) as shared:
            batches = CaptionBatches(self.views(), data.captions, sampler, towers, shared)
            train(net, batches, self.recipe(), shared, in_order=data.captions.size is None)
        return net.to(job.device)

    def _self_train(self, net: VilSegNet, data: TrainView, job: Job, number: int) -> None:
        """One round of "+ST": a frozen copy of the model so far labels the training images for its successor."""
        assert data.unlabelled is not None
        labeller = VilSegSegmenter(self, deepcopy(net).eval().to(job.device), job)
        for name, weights in net.named_parameters():  # text and projection stay as they are
            weights.requires_grad_(name.startswith(("clip.visual.", "clusters.")))
        learner = SelfTraining(net, labeller, data.seen + data.unseen)
        batches = ImageBatches(self, data.unlabelled, Sampler(data.unlabelled.size, self.st_batch, job.seed), job)
        recipe = Recipe(self.st_steps, self.st_batch, self.st_lr, self.weight_decay, clip=self.clip)
        train(learner, batches, recipe, job, stage=f"self-training-{number}")


MAY_BE_ZERO = ("weight_decay", "warmup", "self_training")
AFTERWARDS = ("prompt", "test_size", "self_training", "st_steps", "st_batch", "st_lr")  # decide nothing of the training
SOURCE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()  # what a shared training was trained by


class VilSegNet(nn.Module):
    """Both towers, the cluster head, the projection and its averaged teacher. Calling it computes the losses of a batch."""

    def __init__(self, method: VilSeg, towers: clip.Towers):
        super().__init__()
        self.method, self.towers = method, towers
        self.clip = towers.model
        width = towers.width
        self.clusters = nn.Conv2d(width, method.clusters, 1)
        nn.init.normal_(self.clusters.weight, std=0.1)  # the loss is flat at uniform assignments: start away from them
        if method.vision != "none":
            self.project = DistillationHead(width, method.projection, method.head)
        if method.vision == "dino":
            self.teacher = nn.ModuleList([deepcopy(self.clip.visual), deepcopy(self.project)]).requires_grad_(False)
            self.centre = Centre(method.projection)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        e_v, e_pxl = self.encode(batch["global_"])
        cross = self.cross(e_v, batch)
        cluster, used = self.cluster(e_pxl, batch)
        out = {"cross": cross, "cluster": cluster, "clusters_used": used}
        loss = cross + cluster
        if self.method.vision != "none":
            vision, collapse = self.vision(e_v, batch)
            out |= {"vision": vision} | collapse
            loss = loss + vision
        return {"loss": loss} | out

    def encode(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """RGB in [0, 1] -> e_v (B, D), e_pxl (B, D, h, w).

        pool "avg": e_v is the mean of e_pxl, so that pooling a region of all patches gives e_v exactly; "tok": the tower's
        own image feature (a ViT's class token).
        """
        return self.dense(self.clip.visual, images_BCHW)

    def dense(self, visual: nn.Module, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        found = dense(visual, clip.normalise(self.towers, images_BCHW))
        pooled = found.pooled_BD if self.method.pool == "tok" else found.patches_BDhw.mean((2, 3))
        assert pooled is not None  # the tower attends as it was trained
        return pooled, found.patches_BDhw

    def cross(self, e_v: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Eq. 3-4, temperature learned, its inverse clamped to 100."""
        e_t = self.clip.encode_text(batch["tokens"])
        return contrastive(e_v, e_t, self.scale(), batch["caption_ids"], self.method.direction)

    def scale(self) -> Tensor:
        """Inverse temperature, learned and clamped as in CLIP."""
        return self.clip.logit_scale.exp().clamp(max=100)

    def cluster(self, e_pxl: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Eq. 5: clusters of the global view against those of its photometric twin, the twin's flip undone."""
        keep = self.method.cluster_to_encoder
        with torch.set_grad_enabled(keep):
            twin = self.encode(batch["pair"])[1]
        p = self.clusters(e_pxl if keep else e_pxl.detach()).float().softmax(1)
        q = undo_flip(self.clusters(twin).float().softmax(1), batch["flipped_B"])
        rows = [x.permute(0, 2, 3, 1).flatten(0, 2) for x in (p, q)]  # (B h w, C)
        used = (p.detach().mean((0, 2, 3)) > 0.1 / p.shape[1]).sum()
        return mutual_information_loss(joint(*rows)), used

    def vision(self, e_v: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 2 in DINO's form, or as printed; with the meters that show a collapsed projection."""
        local = self.project(self.encode(batch["locals"])[0])  # (V B, K)
        student_VBK = local.unflatten(0, (-1, len(e_v)))
        if self.method.vision == "literal":
            own_BK = self.project(e_v)
            return literal(student_VBK, own_BK[None]), _collapse(own_BK, 1.0)
        with torch.no_grad():
            visual, project = self.teacher
            seen_BK = project(self.dense(visual, batch["global_"])[0])
        loss = distill(
            student_VBK,
            seen_BK[None],
            self.centre.value,
            self.method.student_temperature,
            self.method.teacher_temperature,
        )
        collapse = _collapse(seen_BK - self.centre.value, self.method.teacher_temperature)
        self.centre.update(seen_BK[None])
        return loss, collapse

    def after_step(self, step: int, steps: int) -> None:
        if self.method.vision == "dino":
            momentum = momentum_at(step, steps, self.method.teacher_momentum)
            for mine, theirs in zip(self.teacher, (self.clip.visual, self.project), strict=True):
                ema_update(mine, theirs, momentum)


def _collapse(logits_BK: Tensor, tau: float) -> dict[str, Tensor]:
    return meters((logits_BK.detach().float() / tau).softmax(-1))


class SelfTraining(nn.Module):
    """One round of self-training: pixels learn the frozen copy's names, the cluster head follows the moving features."""

    def __init__(self, net: VilSegNet, labeller: VilSegSegmenter, names: Sequence[str]):
        super().__init__()
        self.net = net
        self._frozen = (labeller, tuple(names))  # a tuple, so that the copy is neither trained nor saved

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        labeller, names = self._frozen
        labels = pseudo_labels(labeller, batch["images"], names)
        e_pxl = self.net.encode(batch["global_"])[1]
        pixel, kept = pixel_loss(e_pxl, labeller.text(names), self.net.scale().detach(), labels)
        cluster, used = self.net.cluster(e_pxl, batch)
        return {"loss": pixel + cluster, "pixel": pixel, "kept": kept, "cluster": cluster, "clusters_used": used}

    def after_step(self, step: int, steps: int) -> None:
        """No teacher to move: the labeller stays as it was for the whole round."""


@dataclass(frozen=True)
class ImageBatches:
    """Batch number -> unlabelled images as they are and as a photometric twin."""

    method: VilSeg
    images: Items
    sampler: Sampler
    job: Job

    def __call__(self, number: int, rows: slice) -> dict[str, Any]:
        positions = self.sampler.positions(number)
        chosen = self.images.fetch(positions[rows])
        images = torch.stack([square(image, self.method.view_size) for image in chosen]).to(self.job.device)
        recipe = replace(
            self.method.views(), n_local=0, global_scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, colour_global=False
        )
        views = make_views(images, recipe, self.job.seed * 1_000_003 + number, rows, len(positions))
        return {"images": images} | views


class VilSegSegmenter:
    """Cluster, pool, name (section 3.3)."""

    def __init__(self, method: VilSeg, net: VilSegNet, job: Job):
        self.method, self.net, self.job = method, net, job
        self._names: tuple[str, ...] = ()
        self._text_ND: Tensor | None = None

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Regions:
        size = images_BCHW.shape[-2:]
        with torch.autocast(self.job.device.type, torch.bfloat16, enabled=self.job.precision == "bf16"):
            e_pxl = self.net.encode(resized(images_BCHW, self.method.test_size, self.net.towers.stride))[1]
            logits_BChw = self.net.clusters(e_pxl)
        regions_BCD, _ = pool_regions(e_pxl, logits_BChw.argmax(1), self.method.clusters)
        return Regions(segment(logits_BChw, (size[0], size[1])), name_regions(regions_BCD, self.text(names)))

    def text(self, names: Sequence[str]) -> Tensor:
        if self._names != tuple(names):
            self._names = tuple(names)
            self._text_ND = clip.text_features(self.net.towers, self.prompts(names), self.job.device)
        assert self._text_ND is not None
        return self._text_ND

    def prompts(self, names: Sequence[str]) -> list[str]:
        return [self.method.prompt.replace("{}", name) for name in names]

    def describe(self, names: Sequence[str]) -> dict[str, Any]:
        """Prompts and size, for the record. Parameters as Table 2 counts them: image tower and cluster head."""
        prompts = self.prompts(names)
        towers = [self.net.clip.visual, self.net.clusters]
        return {
            "prompts": {"template": self.method.prompt, "prompts": prompts, "sha256": sha256(prompts)},
            "parameters": {
                "trainable": sum(p.numel() for p in self.net.parameters() if p.requires_grad),
                "total": sum(p.numel() for p in self.net.parameters()),
                "at_inference": sum(p.numel() for tower in towers for p in tower.parameters()),
            },
        }
