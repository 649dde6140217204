"""Self-training ("+ST"): pseudo-labels of a frozen copy, kept where several views of an image agree, then cross-entropy.

The papers name "+ST" and leave it undefined; this is STRICT's recipe (Pastore et al., L2ID at CVPR 2021), used for every
"+ST" row here: the copy labels each image as it is, mirrored, and rescaled; a pixel is kept where all agree.
It learns from unlabelled images that show unseen objects and knows the unseen names: the ledger says so.
ZS5Net's own rule (Bucher et al., NeurIPS 2019, as far as its code tells) is here too: of each image's pixels that the copy
calls unseen, those it is surest of.
Legend: B images, N names (S seen ones first), D joint width, H W pixels, h w patch grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsbench.data.dataset import IGNORED
from zsbench.distributed import mean_over_ranks
from zsbench.method import Regions, Segmenter
from zsbench.nn.segmentation import pixel_cross_entropy

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


@torch.no_grad()
def confident_labels(labeller: Segmenter, images_BCHW: Tensor, names: Sequence[str], seen: int, share: float) -> Tensor:
    """ZS5Net's rule: (B, H, W) int64 positions in `names`; of each image's pixels that the labeller calls unseen the
    `share` it is surest of (all unseen names together), 255 elsewhere. The labeller's scores are logits."""
    scores = labeller(images_BCHW, names)
    assert isinstance(scores, Tensor)
    logits = F.interpolate(scores.float(), size=images_BCHW.shape[-2:], mode="bilinear", align_corners=False)
    sure_BP, labels_BP = (x.flatten(1) for x in logits.softmax(1).max(1))
    sure_BP = torch.where(labels_BP >= seen, sure_BP, -1.0)
    wanted_B = ((labels_BP >= seen).sum(1) * share).ceil().long()
    rank_BP = sure_BP.argsort(dim=1, descending=True, stable=True).argsort(1)
    kept = torch.where(rank_BP < wanted_B[:, None], labels_BP, IGNORED)
    return kept.view(len(kept), *images_BCHW.shape[-2:])


class PixelSelfTraining(nn.Module):
    """A segmentation network that goes on learning from seen masks and from its frozen copy's labels of unseen classes.

    share: None for labels that survive views, else ZS5Net's share of the surest pixels. Pixels that the copy calls
    seen are left out: of seen classes there are real labels, and these are never overwritten.
    """

    def __init__(self, net: nn.Module, labeller: Segmenter, names: Sequence[str], seen: int, share: float | None):
        super().__init__()
        self.net, self.seen, self.share = net, seen, share
        self._frozen = (labeller, tuple(names))  # a tuple, so that the copy is neither trained nor saved

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        labelled = pixel_cross_entropy(self.net(batch["images"]), batch["labels"])
        labels = self.labels(batch["pool"])
        pseudo = pixel_cross_entropy(self.net(batch["pool"]), labels)
        kept = (labels != IGNORED).float().mean()
        return {"loss": labelled + pseudo, "labelled": labelled, "pseudo": pseudo, "kept": kept}

    def labels(self, images_BCHW: Tensor) -> Tensor:
        """Pseudo-labels (B, H, W): unseen names, 255 elsewhere."""
        labeller, names = self._frozen
        if self.share is not None:
            return confident_labels(labeller, images_BCHW, names, self.seen, self.share)
        labels = pseudo_labels(labeller, images_BCHW, names)
        return torch.where(labels >= self.seen, labels, IGNORED)

    def after_step(self, step: int, steps: int) -> None:
        """The labeller stays as it was for the whole round."""


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
