"""Losses on whole images: image against text (InfoNCE), local against global views (distillation), collapse meters.

The vision loss of ViL-Seg exists in two forms. `literal` is what the paper prints, a cross-entropy with gradient on
both sides; any constant one-hot output is a perfect score, so its head collapses and then teaches nothing. `distill` is
DINO's (Caron et al. 2021), from which the paper's recipe visibly descends: an averaged teacher, centred and sharpened.
Whether a head is alive shows in `meters`, so log them.

Legend: B images, D features, K bins of the projection, M student views, G teacher (global) views.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsbench.distributed import gather, mean_over_ranks
from zsbench.nn.precision import full_precision

Direction = Literal["sym", "i2t"]


def caption_id(caption: str) -> int:
    """Equal captions, equal id, in every process."""
    return int.from_bytes(hashlib.blake2b(caption.encode(), digest_size=7).digest())


@full_precision
def contrastive(
    image_BD: Tensor, text_BD: Tensor, scale: Tensor | float, captions_B: Tensor, direction: Direction = "sym"
) -> Tensor:
    """InfoNCE over the global batch: every image must find its caption ("i2t", as the paper prints it), or also every
    caption its image ("sym", the mean of both, as in CLIP).

    Features are normalised here; `scale` = 1 / temperature multiplies the cosines. captions_B: int64, equal ids = equal
    captions (on all ranks, e.g. a hash); another image with the very same caption is no negative and is left out.
    """
    logits = scale * gather(F.normalize(image_BD, dim=-1)) @ gather(F.normalize(text_BD, dim=-1)).T
    logits = logits.masked_fill(_repeated(gather(captions_B)), -torch.inf)
    own = torch.arange(len(logits), device=logits.device)
    to_text = F.cross_entropy(logits, own)
    return to_text if direction == "i2t" else (to_text + F.cross_entropy(logits.T, own)) / 2


def _repeated(captions_B: Tensor) -> Tensor:
    same = captions_B[:, None] == captions_B
    return same.fill_diagonal_(False)


@full_precision
def distill(
    student_MBK: Tensor,
    teacher_GBK: Tensor,
    centre_K: Tensor | None = None,
    tau_student: float = 0.1,
    tau_teacher: float = 0.04,
    shared: int = 0,
) -> Tensor:
    """DINO's loss on logits: the student on each view predicts the centred, sharpened teacher on each global view.

    shared: the student's first `shared` views are the teacher's own, in the same order; a view is not asked to predict
    itself, so those pairs are skipped (`n_terms`). No gradient reaches the teacher. Mean over this rank's rows.
    """
    targets = teacher_GBK.detach() if centre_K is None else teacher_GBK.detach() - centre_K
    costs_GM = _cross_entropies((targets / tau_teacher).softmax(-1), (student_MBK / tau_student).log_softmax(-1))
    if not shared:
        return costs_GM.mean()
    own = torch.eye(*costs_GM.shape, dtype=torch.bool, device=costs_GM.device)
    own[:, shared:] = False
    return costs_GM.masked_fill(own, 0).sum() / n_terms(len(teacher_GBK), len(student_MBK), shared)


def n_terms(teacher_views: int, student_views: int, shared: int = 0) -> int:
    """How many (teacher view, student view) pairs `distill` averages: all but each shared view with itself."""
    return teacher_views * student_views - min(shared, teacher_views, student_views)


@full_precision
def literal(student_MBK: Tensor, global_GBK: Tensor) -> Tensor:
    """ViL-Seg's Eq. 2 as printed: H(softmax global, softmax local), no temperature, no teacher, gradient on both sides.

    Kept to show what it does: it collapses to one bin (see `meters`) and adds nothing to the encoder.
    """
    return _cross_entropies(global_GBK.softmax(-1), student_MBK.log_softmax(-1)).mean()


def _cross_entropies(targets_GBK: Tensor, logs_MBK: Tensor) -> Tensor:
    """Mean over images of the cross-entropy of every pair of views, (G, M)."""
    return -targets_GBK.flatten(1) @ logs_MBK.flatten(1).T / targets_GBK.shape[1]


class Centre(nn.Module):
    """The running mean of the teacher's logits, (K,): subtracting it keeps any one bin from winning every image."""

    value: Tensor

    def __init__(self, bins: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(bins))

    @torch.no_grad()
    def update(self, teacher_GBK: Tensor) -> None:
        """Moves towards the mean over views, images and ranks. Call it after the loss, as DINO does."""
        mean = mean_over_ranks(teacher_GBK.to(self.value.dtype).flatten(0, -2).mean(0))
        self.value.lerp_(mean, 1 - self.momentum)


class DistillationHead(nn.Module):
    """Projection to K bins: "linear" is ViL-Seg's one layer, "dino_mlp" DINO's (three layers, unit rows)."""

    def __init__(self, width: int, bins: int = 2048, kind: Literal["linear", "dino_mlp"] = "linear") -> None:
        super().__init__()
        self.kind = kind
        mlp = [nn.Linear(width, 2048), nn.GELU(), nn.Linear(2048, 2048), nn.GELU(), nn.Linear(2048, 256)]
        self.body = nn.Identity() if kind == "linear" else nn.Sequential(*mlp)
        self.last = nn.Linear(width, bins) if kind == "linear" else nn.Linear(256, bins, bias=False)

    def forward(self, features_BD: Tensor) -> Tensor:
        x = self.body(features_BD)
        if self.kind == "linear":
            return cast(Tensor, self.last(x))
        # Weight norm with its gain frozen at one is just a normalised weight.
        return F.linear(F.normalize(x, dim=-1), F.normalize(self.last.weight, dim=-1))


@torch.no_grad()
def ema_update(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """teacher ← momentum · teacher + (1 - momentum) · student, in place; buffers are copied. Same architecture."""
    old: list[Tensor] = list(teacher.parameters())
    new: list[Tensor] = list(student.parameters())
    torch._foreach_lerp_(old, new, 1 - momentum)
    for mine, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
        mine.copy_(theirs)


def momentum_at(step: int, steps: int, start: float = 0.996, end: float = 1.0) -> float:
    """The teacher's momentum at `step` of `steps`: half a cosine from `start` to `end` (DINO)."""
    return end - (end - start) * (1 + math.cos(math.pi * min(step / max(steps, 1), 1))) / 2


@torch.no_grad()
def meters(probabilities_BK: Tensor) -> dict[str, Tensor]:
    """Is the projection alive? Scalars over all ranks' rows, in nats (every rank must call).

    entropy_of_mean ln K at best, 0 when one bin takes all; mean_entropy 0 when every image is certain;
    mutual_information their difference, 0 = collapsed, ln K = all bins used with certainty; bins_used by argmax.
    """
    p = gather(probabilities_BK.float())
    of_mean, mean_of = torch.special.entr(p.mean(0)).sum(), torch.special.entr(p).sum(-1).mean()
    return {
        "entropy_of_mean": of_mean,
        "mean_entropy": mean_of,
        "mutual_information": of_mean - mean_of,
        "bins_used": torch.zeros_like(p[0]).index_fill_(0, p.argmax(-1), 1).sum(),
    }
