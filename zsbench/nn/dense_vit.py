"""Patch features of open_clip's VisionTransformer at any image size.

open_clip returns unprojected tokens and takes one image size only, so the forward pass over patches is ours; blocks and
norms are the tower's own. Position embeddings are interpolated to the grid and untouched at the native one.
Legend: B images, W tower width, D joint width, h w patch grid, n = 1 + h w tokens.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.nn.attention import RULES, Attention, Block, Rule, split

LAYERS = ("conv1", "class_embedding", "positional_embedding", "transformer", "ln_post", "grid_size", "patch_size")


def fits(visual: Any) -> bool:
    return all(hasattr(visual, name) for name in LAYERS)


def refusal(visual: Any) -> str:
    """Why the tower has no patches to segment with; empty where it has."""
    if getattr(visual, "attn_pool", None) is not None:
        return "its attention pooler (as in CoCa) makes image features from queries, and no patch has one of its own"
    return "" if visual.pool_type in ("tok", "avg") else f"it does not pool its tokens (pool_type {visual.pool_type})"


def rules(visual: Any) -> tuple[Rule, ...]:
    """Every rule, unless the last block does more to queries, keys and values than project them."""
    return RULES if _is_common(visual.transformer.resblocks[-1]) else ("plain",)


def stride(visual: Any) -> int:
    return int(visual.patch_size[0])


def maps(
    visual: Any, images_BCHW: Tensor, attention: Attention, keys: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Patches (B, D, h, w), the tower's image feature (B, D), keys (B, W, h, w)."""
    x, grid = _embed(visual, images_BCHW)
    if attention.as_trained and not keys:
        return *_project(visual, visual.transformer(x), grid), None
    *first, last = visual.transformer.resblocks
    for block in first:
        x = block(x)
    parts = _parts(last)
    key_map = on_grid(parts.keys(x)[:, 1:], grid) if keys else None
    if attention.as_trained:
        return *_project(visual, last(x), grid), key_map
    return _project(visual, parts(x, attention, grid), grid)[0], None, key_map


def _embed(visual: Any, images_BCHW: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Tokens (B, n, W) as they enter the first block, and their grid."""
    x = visual.conv1(images_BCHW)  # (B, W, h, w)
    grid = (x.shape[2], x.shape[3])
    x = x.flatten(2).transpose(1, 2)
    head = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
    x = torch.cat([head, x], dim=1) + positions(visual, grid).to(x.dtype)
    return visual.ln_pre(visual.patch_dropout(x)), grid


def _project(visual: Any, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The norm is applied token by token, also where the tower itself pools first (`final_ln_after_pool`)."""
    joint = visual.ln_post(x) @ visual.proj  # (B, n, D)
    if visual.pool_type == "tok":
        pooled = joint[:, 0]
    elif visual.final_ln_after_pool:
        pooled = visual.ln_post(x[:, 1:].mean(1)) @ visual.proj
    else:
        pooled = joint[:, 1:].mean(1)
    return on_grid(joint[:, 1:], grid), pooled


def on_grid(x_BnW: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, h w, W) -> (B, W, h, w)."""
    return x_BnW.transpose(1, 2).unflatten(2, grid)


def positions(visual: Any, grid: tuple[int, int]) -> Tensor:
    """Position embeddings for any patch grid, (1 + h w, W); the stored ones, untouched, at the native grid."""
    stored: Tensor = visual.positional_embedding
    return interpolated(stored, tuple(visual.grid_size), grid, before=1)


def interpolated(stored_nW: Tensor, native: tuple[int, ...], grid: tuple[int, int], before: int) -> Tensor:
    """Position embeddings (before + h w, W) for another grid: bicubic, antialiased; those `before` the patches stay."""
    if tuple(grid) == tuple(native):
        return stored_nW
    map_1Whw = stored_nW[before:].T.unflatten(1, native)[None]
    resized = F.interpolate(map_1Whw.float(), size=grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([stored_nW[:before], resized[0].flatten(1).T.to(stored_nW.dtype)])


def _parts(block: Any) -> Block:
    """The block through what every version of open_clip's attention has: in_proj, out_proj, num_heads."""
    attn = block.attn

    def qkv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=-1)
        return split(q, attn.num_heads), split(k, attn.num_heads), split(v, attn.num_heads)

    return Block(qkv, lambda y: block.ls_1(attn.out_proj(y)), lambda x: block.ls_2(block.mlp(block.ln_2(x))))


def _is_common(block: Any) -> bool:
    """No norm of q, k or of the mixed values, no scale per head, no cosine attention."""
    extras = [getattr(block.attn, name, None) for name in ("ln_q", "ln_k", "ln_inner", "head_scale", "logit_scale")]
    extras.append(getattr(block, "ln_attn", None))
    return all(extra is None or isinstance(extra, torch.nn.Identity) for extra in extras)
