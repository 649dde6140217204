"""From dense features to named regions: the online clustering loss (invariant information clustering, Ji et al. 2019,
as ViL-Seg's Eq. 5 uses it), and what inference does with the clusters: cut, pool, name.

Legend: B images, D features, C or K clusters, N names, n = h·w tokens of the grid, H W pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.distributed import sum_over_ranks
from zsbench.nn.precision import full_precision


@full_precision
def joint(p_NK: Tensor, q_NK: Tensor) -> Tensor:
    """(K, K) joint distribution of the clusters that the two views of one place fall in, over all places of all ranks.

    p, q: softmax outputs, row i of both the same place. Symmetrised, as in IIC and unmentioned by ViL-Seg: without it a
    q that is a fixed permutation of p is as good as the same cluster. Sums to one.
    """
    together = sum_over_ranks(p_NK.T @ q_NK)
    together = (together + together.T) / 2
    return together / together.sum()


@full_precision
def mutual_information_loss(joint_KK: Tensor, lam: float = 1.0, eps: float = 1e-8) -> Tensor:
    """-Σ J (ln J - lam ln J_c - lam ln J_c'): minus the views' mutual information; -ln K at best, 0 when collapsed.

    lam > 1 asks for more balanced clusters. Logs are of at least eps. (The paper prints L = max I: a slip of sign.)
    """
    rows, columns = joint_KK.sum(1, keepdim=True), joint_KK.sum(0, keepdim=True)
    logs = [x.clamp_min(eps).log() for x in (joint_KK, rows, columns)]
    return -(joint_KK * (logs[0] - lam * logs[1] - lam * logs[2])).sum()


def undo_flip(map_BChw: Tensor, flipped_B: Tensor) -> Tensor:
    """Mirrors those maps back whose image was flipped left to right, so that row i of both views is the same place."""
    return torch.where(flipped_B[:, None, None, None], map_BChw.flip(-1), map_BChw)


def pool_regions(features_BDhw: Tensor, assignment_Bhw: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Mean feature of every cluster of every image: (B, k, D), and its number of tokens: (B, k).

    assignment: int64 cluster ids on the same grid (any number of axes). An empty cluster has count 0 and feature 0.
    """
    ids_Bn = assignment_Bhw.flatten(1)
    weights = torch.zeros(len(ids_Bn), k, ids_Bn.shape[1], device=ids_Bn.device)
    return pool_weighted(features_BDhw, weights.scatter_(1, ids_Bn[:, None], 1))


@full_precision
def pool_weighted(features_BDhw: Tensor, weights_BKhw: Tensor) -> tuple[Tensor, Tensor]:
    """Like `pool_regions` with soft membership: weights ≥ 0, e.g. the cluster probabilities of each token."""
    features, weights = features_BDhw.flatten(2), weights_BKhw.flatten(2).to(features_BDhw.dtype)
    counts = weights.sum(-1)
    sums = weights @ features.mT
    return sums / counts.clamp_min(torch.finfo(counts.dtype).tiny)[..., None], counts


@full_precision
def name_regions(regions_BKD: Tensor, text_ND: Tensor) -> Tensor:
    """Cosine of every region with every name, (B, K, N); both sides are normalised here, an empty region scores 0."""
    return F.normalize(regions_BKD, dim=-1) @ F.normalize(text_ND, dim=-1).T


@torch.no_grad()
@full_precision
def segment(cluster_logits_BChw: Tensor, size: tuple[int, int]) -> Tensor:
    """Cluster id of every pixel, int64 (B, H, W): logits upsampled bilinearly, then argmax, so that borders are smooth.

    Between tokens a cluster can win that won at no token; it would be a region without a feature, so a cluster may
    appear only in images where it owns a token. Ruling it out on the grid, by a constant below all logits, is the
    same as after upsampling and cheaper.
    """
    # Clusters innermost: interpolation and argmax over them run four times faster on CPU (2 ms per image, one core).
    logits = cluster_logits_BChw.contiguous(memory_format=torch.channels_last)
    owned = F.one_hot(logits.argmax(1).flatten(1), logits.shape[1]).any(1)
    logits = torch.where(owned[..., None, None], logits, logits.amin() - 1)
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False).argmax(1)
