"""MaskCLIP's two refinements of dense scores: prompt denoising and key smoothing (Zhou et al. 2022).

Legend: B images, N names, C channels of the keys, h w patch grid, n = h·w.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

KeyAxis = Literal["channel", "token-official"]
SET_BACK = 100.0  # MaskCLIP's value; cosines differ by 2 at most


def denoised(cosines_BNhw: Tensor, scale: float, threshold: float) -> Tensor:
    """Classes that nowhere in an image reach the probability `threshold` are set back behind all others.

    Departure: MaskCLIP writes -100 over them, which leaves nothing to choose among where every candidate is set back (the
    unseen names alone, say); taking 100 away keeps their order.
    """
    best_BN = (scale * cosines_BNhw).softmax(1).flatten(2).amax(2)
    return cosines_BNhw - SET_BACK * (best_BN < threshold)[..., None, None]


def smoothed(
    cosines_BNhw: Tensor, keys_BChw: Tensor, scale: float, threshold: float, axis: KeyAxis = "channel"
) -> Tensor:
    """Patches whose best probability is below `threshold` (1: all) take the scores of patches with like keys.

    The weights are cosines of keys, divided by their sum over the patches (which changes no argmax: MaskCLIP leaves the
    sum out). "token-official" makes keys unit along the axis of tokens, as the official code does by a default argument.
    """
    keys_BnC = keys_BChw.float().flatten(2).mT
    keys_BnC = F.normalize(keys_BnC, dim=1 if axis == "token-official" else 2)
    alike_Bnn = keys_BnC @ keys_BnC.mT
    alike_Bnn = alike_Bnn / alike_Bnn.abs().sum(-1, keepdim=True).clamp_min(1e-12)
    flat_BnN = cosines_BNhw.flatten(2).mT
    unsure_Bn1 = (scale * flat_BnN).softmax(-1).amax(-1, keepdim=True) < threshold
    unsure_Bn1 |= threshold >= 1  # a probability may round to 1
    mixed = torch.where(unsure_Bn1, alike_Bnn @ flat_BnN, flat_BnN)
    return mixed.mT.unflatten(2, cosines_BNhw.shape[2:])
