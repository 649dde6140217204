"""Patch features of an image tower in the joint space of image and text, at any size and under any attention rule.

    Dense = dense(visual, images)        VisionTransformer, ModifiedResNet and timm towers with a grid of features

Legend: B images, D joint width, C width of the keys, h w patch grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import Tensor

from zsbench.errors import UserError
from zsbench.nn import dense_resnet, dense_timm, dense_vit
from zsbench.nn.attention import Attention, Rule

FAMILIES: tuple[ModuleType, ...] = (dense_vit, dense_resnet, dense_timm)
AS_TRAINED = Attention()
INSTEAD = "choose a plain ViT, a CLIP ResNet or a timm tower with a feature map: --set encoder=ViT-B-16"


@dataclass(frozen=True)
class Dense:
    """What a tower says about every patch."""

    patches_BDhw: Tensor
    pooled_BD: Tensor | None = (
        None  # the tower's own image feature, as `encode_image` gives it; None where a rule changed it
    )
    keys_BChw: Tensor | None = None  # keys of the last attention, as that attention uses them; only if asked for


def dense(visual: Any, images_BCHW: Tensor, attention: Attention = AS_TRAINED, keys: bool = False) -> Dense:
    """Normalised images whose sides are whole patches -> features in the joint space, gradients and autocast kept.

    Raises UserError for a rule that the tower does not have (`rules_of`), ValueError for sides that are no whole patches.
    """
    family = _known_family(visual)
    require_rule(visual, attention, keys=keys)
    side, size = family.stride(visual), tuple(images_BCHW.shape[2:])
    if not all(length and length % side == 0 for length in size):
        raise ValueError(f"images of {size[0]} x {size[1]} pixels are not whole patches of {side} pixels")
    return Dense(*family.maps(visual, images_BCHW, attention, keys))


def stride(visual: Any) -> int:
    """Pixels per patch side."""
    return int(_known_family(visual).stride(visual))


def rules_of(visual: Any) -> tuple[Rule, ...]:
    """The attention rules that a tower has: all for plain ViTs, the value path alone for CLIP's ResNets."""
    family = _family(visual)
    rules: tuple[Rule, ...] = family.rules(visual) if family else ()
    return rules


def require_rule(visual: Any, attention: Attention, arch: str = "", keys: bool = False) -> None:
    """Raises UserError, naming rule and tower, where the tower does not have the rule, its switches or keys."""
    name, rules = arch or type(visual).__name__, rules_of(visual)
    if attention.rule not in rules:
        raise UserError(f"{name} has no attention rule '{attention.rule}': it has {_listed(rules)}")
    if len(rules) == 1 and not (attention.residual and attention.ffn):
        raise UserError(f"{name} has no last block to take the residual or the FFN from: leave residual and ffn on")
    if keys and rules == ("plain",):
        raise UserError(f"{name} has no plain attention in its last layer, hence no keys; {INSTEAD}")


def _listed(rules: tuple[Rule, ...]) -> str:
    return ", ".join(f"'{rule}'" for rule in rules) + (" only" if len(rules) == 1 else "")


def require_dense(model: Any, arch: str) -> None:
    """Raises UserError, naming the tower and the reason, where it has no features of patches in the joint space."""
    family = _family(model.visual)
    reason = family.refusal(model.visual) if family else "its image tower has no patch grid"
    if reason:
        raise cannot_segment(arch, reason)


def cannot_segment(arch: str, reason: str) -> UserError:
    return UserError(f"{arch} cannot segment: {reason}; {INSTEAD}")


def _family(visual: Any) -> ModuleType | None:
    return next((family for family in FAMILIES if family.fits(visual)), None)


def _known_family(visual: Any) -> ModuleType:
    family = _family(visual)
    if family is None:
        raise cannot_segment(type(visual).__name__, "its image tower has no patch grid")
    return family
