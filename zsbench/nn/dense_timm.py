"""Patch features of timm's towers in open_clip: transformers with tokens, and convolutional trunks with a feature map.

Transformers (timm's VisionTransformer and Eva: EVA, MobileCLIP-B, ViTamin) run their own blocks at any grid; position
embeddings are interpolated, rotary ones computed for the grid. Of a convolutional trunk (ConvNeXt, FastViT) each place of
the map goes through the tower's own head as if it were an image of one place, as in FC-CLIP (Yu et al., NeurIPS 2023).
Legend: B images, W trunk width, D joint width, h w patch grid, n tokens: class token and registers first, then patches.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsbench.nn.attention import RULES, Attention, Block, Rule, split
from zsbench.nn.dense_vit import interpolated, on_grid

MAP_POOL = (
    "its attention-pooling head (MAP, as in SigLIP and PE) leaves no patch a feature of its own in the joint space"
)
WITH_TOKENS, WITH_MAP = ("VisionTransformer", "Eva"), ("ConvNeXt", "FastVit")


def fits(visual: Any) -> bool:
    return hasattr(visual, "trunk")


def refusal(visual: Any) -> str:
    """Why the tower has no patches to segment with; empty where it has."""
    trunk = visual.trunk
    if getattr(trunk, "attn_pool", None) is not None:
        return MAP_POOL
    if type(trunk).__name__ not in WITH_TOKENS + WITH_MAP:
        return f"its trunk, timm's {type(trunk).__name__}, is tied to one image size or has no map that is known here"
    if hasattr(visual.head, "pool"):
        return "its head pools by attention and projects in one"
    if _has_tokens(trunk) and (trunk.global_pool not in ("token", "avg") or getattr(trunk, "rope_mixed", False)):
        return "its pooling or its rotary positions are of a kind that is not known here"
    return ""


def rules(visual: Any) -> tuple[Rule, ...]:
    """Every rule where the last block has plain queries, keys and values; the tower as it is where it has none."""
    return RULES if _has_tokens(visual.trunk) and _is_common(visual.trunk.blocks[-1]) else ("plain",)


def stride(visual: Any) -> int:
    trunk = visual.trunk
    return int(trunk.patch_embed.feat_ratio() if _has_tokens(trunk) else trunk.feature_info[-1]["reduction"])


def maps(
    visual: Any, images_BCHW: Tensor, attention: Attention, keys: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Patches (B, D, h, w), the tower's image feature (B, D), keys (B, W, h, w)."""
    if _has_tokens(visual.trunk):
        return _token_maps(visual, images_BCHW, attention, keys)
    x = visual.trunk.forward_features(images_BCHW)  # (B, W, h, w)
    grid = (x.shape[2], x.shape[3])
    places = x.permute(0, 2, 3, 1).flatten(0, 2)[..., None, None]  # (B h w, W, 1, 1)
    patches = _head(visual, places).unflatten(0, (len(x), -1))
    return on_grid(patches, grid), _head(visual, x), None


def _has_tokens(trunk: Any) -> bool:
    return type(trunk).__name__ in WITH_TOKENS


def _head(visual: Any, x: Tensor) -> Tensor:
    """The tower's pooling and projection."""
    pooled: Tensor = visual.head(visual.trunk.forward_head(x))
    return pooled


def _token_maps(
    visual: Any, images_BCHW: Tensor, attention: Attention, keys: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    trunk, before = visual.trunk, visual.trunk.num_prefix_tokens
    x, grid = _embed(trunk, images_BCHW)
    rope = _rope(trunk, grid)
    also = {} if rope is None else {"rope": rope}
    *first, last = trunk.blocks
    for block in first:
        x = block(x, **also)
    key_map = on_grid(_parts(last, rope).keys(x)[:, before:], grid) if keys else None
    x = last(x, **also) if attention.as_trained else _parts(last, rope)(x, attention, grid)
    x = trunk.norm(x)
    patches = visual.head(trunk.head(trunk.head_drop(trunk.fc_norm(x[:, before:]))))
    return on_grid(patches, grid), _head(visual, x) if attention.as_trained else None, key_map


def _embed(trunk: Any, images_BCHW: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Tokens (B, n, W) as they enter the first block, and their grid; timm's own embedding takes one size only."""
    embed = trunk.patch_embed
    x = embed.proj(embed.backbone(images_BCHW) if hasattr(embed, "backbone") else images_BCHW)
    grid = (x.shape[2], x.shape[3])
    x = getattr(embed, "norm", nn.Identity())(x.flatten(2).transpose(1, 2))
    tokens = [token.expand(len(x), -1, -1) for token in (trunk.cls_token, trunk.reg_token) if token is not None]
    if trunk.pos_embed is None:
        x = torch.cat([*tokens, x], dim=1)
    elif trunk.no_embed_class:
        x = torch.cat([*tokens, x + interpolated(trunk.pos_embed[0], embed.grid_size, grid, before=0)], dim=1)
    else:
        placed = interpolated(trunk.pos_embed[0], embed.grid_size, grid, before=trunk.num_prefix_tokens)
        x = torch.cat([*tokens, x], dim=1) + placed
    return trunk.norm_pre(trunk.pos_drop(x)), grid


def _rope(trunk: Any, grid: tuple[int, int]) -> Tensor | None:
    """Rotary embedding of the patches; a copy is asked about another grid, so that the tower keeps its own."""
    rope = getattr(trunk, "rope", None)
    if rope is None:
        return None
    if grid != tuple(trunk.patch_embed.grid_size):
        rope = deepcopy(rope)
        rope.update_feat_shape(list(grid))
    turned: Tensor = rope.get_embed()
    return turned


def _parts(block: Any, rope: Tensor | None) -> Block:
    attn = block.attn

    def qkv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (split(y, attn.num_heads) for y in _projected(attn, block.norm1(x)))
        return _turned(q, rope), _turned(k, rope), v

    def out(y: Tensor) -> Tensor:
        return _scaled(block, 1, attn.proj(attn.norm(y)))

    return Block(qkv, out, lambda x: _scaled(block, 2, block.mlp(block.norm2(x))))


def _projected(attn: Any, x: Tensor) -> tuple[Tensor, ...]:
    """q, k, v side by side or from three projections; Eva's keys have no bias."""
    if attn.qkv is None:
        return attn.q_proj(x), attn.k_proj(x), attn.v_proj(x)
    bias = attn.qkv.bias
    if getattr(attn, "q_bias", None) is not None:
        bias = torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
    return F.linear(x, attn.qkv.weight, bias).chunk(3, dim=-1)


def _turned(x_BHnd: Tensor, rope: Tensor | None) -> Tensor:
    """Rotary positions on the patches; tokens before them have none."""
    if rope is None:
        return x_BHnd
    from timm.layers.pos_embed_sincos import apply_rot_embed_cat

    before = x_BHnd.shape[2] - rope.shape[0]
    turned = apply_rot_embed_cat(x_BHnd[:, :, before:], rope)
    return torch.cat([x_BHnd[:, :, :before], turned], dim=2).type_as(x_BHnd)


def _scaled(block: Any, half: int, x: Tensor) -> Tensor:
    """The layer scale of a half of the block, under either of timm's names."""
    if hasattr(block, f"ls{half}"):
        scaled: Tensor = getattr(block, f"ls{half}")(x)
        return scaled
    gamma = getattr(block, f"gamma_{half}")
    return x if gamma is None else gamma * x


def _is_common(block: Any) -> bool:
    """A pre-norm block whose queries and keys are neither normed nor gated."""
    attn = block.attn
    plain = all(isinstance(getattr(attn, name), nn.Identity) for name in ("q_norm", "k_norm"))
    common = type(block).__name__ in ("Block", "EvaBlock") and type(attn).__name__ in ("Attention", "EvaAttention")
    return common and plain and attn.gate is None and not getattr(attn, "rotate_half", False)
