"""Self-training ("+ST"): pseudo-labels of a frozen copy, kept where several views of an image agree, then cross-entropy.

The papers name "+ST" and leave it undefined; this is STRICT's recipe (Pastore et al., L2ID at CVPR 2021), used for every
"+ST" row here: the copy labels each image as it is, mirrored, and rescaled; a pixel is kept where all agree.
It learns from unlabelled images that show unseen objects and knows the unseen names: the ledger says so.
Legend: B images, N names, D joint width, H W pixels, h w patch grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.data.dataset import IGNORED
from zsbench.distributed import mean_over_ranks
from zsbench.method import Regions, Segmenter

SCALES = (0.75, 1.5)  # STRICT draws two from 0.5 to 1.75


@torch.no_grad()
def pseudo_labels(
    labeller: Segmenter,
    images_BCHW: Tensor,
    names: Sequence[str],
    scales: Sequence[float] = SCALES,
    mirror: bool = True,
) -> Tensor:
    """(B, H, W) int64 positions in `names`, 255 where the views disagree. Without views: the labeller's plain argmax."""
    size = images_BCHW.shape[-2:]
    kept = _argmax(labeller(images_BCHW, names), size)
    views = [F.interpolate(images_BCHW, scale_factor=s, mode="bilinear", antialias=True) for s in scales]
    others = [_argmax(labeller(view, names), size) for view in views]
    if mirror:
        others.append(_argmax(labeller(images_BCHW.flip(-1), names), size).flip(-1))
    for labels in others:
        kept = torch.where(labels == kept, kept, torch.full_like(kept, IGNORED))
    return kept


def _argmax(scores: Tensor | Regions, size: torch.Size) -> Tensor:
    """The best name of every pixel at `size`, (B, H, W) int64."""
    if isinstance(scores, Regions):
        names_BK = scores.scores_BKN.argmax(-1)
        labels = names_BK.gather(1, scores.map_BHW.flatten(1)).view_as(scores.map_BHW)
        return F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()
    return F.interpolate(scores.float(), size=size, mode="bilinear", align_corners=False).argmax(1)


def pixel_loss(e_pxl_BDhw: Tensor, text_ND: Tensor, scale: Tensor | float, labels_BHW: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of every kept pixel's cosines with the names, upsampled to the labels; and the kept fraction.

    An image batch without one kept pixel has loss 0.
    """
    cosines = torch.einsum("bdhw,nd->bnhw", F.normalize(e_pxl_BDhw.float(), dim=1), text_ND)
    logits = F.interpolate(scale * cosines, size=labels_BHW.shape[-2:], mode="bilinear", align_corners=False)
    kept = labels_BHW != IGNORED
    total = F.cross_entropy(logits, labels_BHW, ignore_index=IGNORED, reduction="sum")
    everywhere = mean_over_ranks(kept.sum().float())  # ranks keep unequally many; DDP averages their losses
    return total / everywhere.clamp_min(1), kept.float().mean()
