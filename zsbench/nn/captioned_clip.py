"""A CLIP of one's own: open_clip's model trained from scratch by CLIP's loss on the captions of the run.

So the leak can be measured in CLIP + Seg too, on captions as they come and on purged ones, where published weights have
one corpus each and nobody can take a class out of it. The training is a shared stage (`clip`), and what comes of it is
saved in open_clip's own format, to be loaded like anybody's weights.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zsbench import distributed
from zsbench.data.view import Items
from zsbench.errors import UserError
from zsbench.method import Job
from zsbench.nn import clip
from zsbench.nn.attention import Attention
from zsbench.nn.corpora import LOCAL_DIR, corpus_of
from zsbench.nn.dense import dense, require_rule, rules_of
from zsbench.nn.losses import caption_id, contrastive
from zsbench.nn.views import ViewRecipe, make_views, square
from zsbench.sampling import Sampler
from zsbench.stages import shared_stage
from zsbench.training import Recipe, train

CAPTIONS = "captions"  # as `pretrained`: no published weights, train on the run's own captions
MODEL = "open_clip"  # folder of the stage that open_clip's files lie in


@dataclass(frozen=True)
class ClipRecipe:
    """How CLIP is trained here. view_size in pixels; lr, weight_decay, warmup and clip (of gradients) as in `Recipe`."""

    view_size: int
    steps: int
    batch: int
    lr: float
    weight_decay: float
    warmup: int
    clip: float

    def training(self) -> Recipe:
        return Recipe(self.steps, self.batch, self.lr, self.weight_decay, self.warmup, clip=self.clip)

    def views(self) -> ViewRecipe:
        """CLIP's only augmentation is a random square of nearly the whole picture (open_clip: 90 to 100 % of its area)."""
        return ViewRecipe(self.view_size, n_local=0, global_scale=(0.9, 1.0), flip=0.0, colour_global=False)


def start_of(encoder: str, pretrained: str) -> tuple[str, str]:
    """What weights begin as, in words, and what they were trained on before this run: for a method's supervision."""
    if pretrained == CAPTIONS:
        return f"{encoder}, random init, then CLIP's loss on the run's captions", "nothing"
    own = "weights of that folder" if encoder.startswith(LOCAL_DIR) else "random init"
    return f"{encoder}, {pretrained or own}", corpus_of(pretrained, encoder)


def refuse_folder(encoder: str, pretrained: str) -> None:
    """Raises UserError where CLIP is to be trained from scratch and the encoder brings weights of its own."""
    if pretrained == CAPTIONS and encoder.startswith(LOCAL_DIR):
        raise UserError(
            f"pretrained = {CAPTIONS} starts from random weights, and {encoder} has its own: name an architecture, e.g."
            " --set encoder=ViT-B-16, or leave pretrained empty to use the folder's weights as they are"
        )


def clip_for(
    encoder: str, pretrained: str, recipe: ClipRecipe, captions: Items | None, job: Job, attention: Attention
) -> clip.Towers:
    """Published weights (a tag, a file), or, with pretrained = "captions", the encoder trained here on `captions`.

    Raises UserError for a tower without the rule `attention`, and for one that could be trained and not saved.
    """
    refuse_folder(encoder, pretrained)
    torch.manual_seed(job.seed)
    towers = clip.build(encoder, "" if pretrained == CAPTIONS else pretrained)
    require_rule(towers.model.visual, attention, encoder)
    if pretrained != CAPTIONS:
        return towers
    assert captions is not None  # declared, and the guard refuses to run without
    clip.require_saveable(encoder)
    with shared_stage(job, "clip", {"encoder": encoder, **asdict(recipe), "trainer": SOURCE}) as shared:
        sampler = Sampler(captions.size, recipe.batch, job.seed)
        batches = CaptionBatches(recipe.views(), captions, sampler, towers, shared)
        in_order = captions.size is None
        train(CaptionedClip(towers), batches, recipe.training(), shared, stage="clip", in_order=in_order)
        folder = shared.folder / MODEL
        if distributed.rank() == 0:
            clip.save(towers, folder)
        distributed.agree(True)  # the others read what the first has written
    return clip.build(f"local-dir:{folder}")


class CaptionedClip(nn.Module):
    """Image against caption, both ways (Radford et al. 2021), its temperature learned; equal captions are no negatives."""

    def __init__(self, towers: clip.Towers):
        super().__init__()
        self.towers, self.clip = towers, towers.model
        self.pooling = Attention(rules_of(self.clip.visual)[0])  # of every tower, the first rule is the one that pools

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        images = dense(self.clip.visual, clip.normalise(self.towers, batch["global_"]), self.pooling).pooled_BD
        assert images is not None
        scale = self.clip.logit_scale.exp().clamp(max=100)
        loss = contrastive(images, self.clip.encode_text(batch["tokens"]), scale, batch["caption_ids"])
        return {"loss": loss, "scale": scale}

    def after_step(self, step: int, steps: int) -> None:
        """No teacher to move."""


@dataclass(frozen=True)
class CaptionBatches:
    """Batch number -> views, tokens and caption ids of this process's rows; depends on nothing else."""

    recipe: ViewRecipe
    captions: Items
    sampler: Sampler
    towers: clip.Towers
    job: Job

    def __call__(self, number: int, rows: slice) -> dict[str, Any]:
        positions = self.sampler.positions(number)
        pairs = self.captions.fetch(positions[rows])
        images = torch.stack([square(image, self.recipe.global_size) for image, _ in pairs]).to(self.job.device)
        views = make_views(images, self.recipe, self.job.seed * 1_000_003 + number, rows, len(positions))
        texts = [text for _, text in pairs]
        return views | {
            "tokens": self.towers.tokenizer(texts).to(self.job.device),
            "caption_ids": torch.tensor([caption_id(text) for text in texts], device=self.job.device),
        }


SOURCE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()  # what a shared training was trained by
