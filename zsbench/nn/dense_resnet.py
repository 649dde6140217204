"""Patch features of CLIP's ResNets: the value path of their attention pool, place by place (MaskCLIP, section 3.2).

A ResNet has no tokens to attend with: its joint space begins inside the pool. So the value path, c_proj(v_proj(map))
without position embedding and without the mean token, is the only dense rule there is; `plain` is impossible too.
Legend: B images, C map channels, D joint width, h w map, n = 1 + h w.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.nn.attention import Attention, Rule
from zsbench.nn.dense_vit import interpolated

RULES: tuple[Rule, ...] = ("value",)


def fits(visual: Any) -> bool:
    return all(hasattr(visual, name) for name in ("stem", "layer4", "attnpool"))


def refusal(visual: Any) -> str:
    return "" if visual.attnpool is not None else "its attention pool is missing"


def rules(visual: Any) -> tuple[Rule, ...]:
    return RULES


def stride(visual: Any) -> int:
    return 32


def maps(
    visual: Any, images_BCHW: Tensor, attention: Attention, keys: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Patches (B, D, h, w), the tower's image feature (B, D), keys (B, C, h, w). The block's switches do not apply."""
    x = visual.stem(images_BCHW)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)
    pool = visual.attnpool
    values = _each_place(pool.c_proj, _each_place(pool.v_proj, x))
    return values, _pooled(pool, x), _each_place(pool.k_proj, x) if keys else None


def _each_place(linear: Any, x_BChw: Tensor) -> Tensor:
    return F.conv2d(x_BChw, linear.weight[:, :, None, None], linear.bias)


def _pooled(pool: Any, x_BChw: Tensor) -> Tensor:
    """The attention pool for any map: only the mean token asks, position embeddings are interpolated."""
    grid = (x_BChw.shape[2], x_BChw.shape[3])
    x = x_BChw.flatten(2).permute(2, 0, 1)  # (h w, B, C)
    x = torch.cat([x.mean(0, keepdim=True), x])
    side = round((len(pool.positional_embedding) - 1) ** 0.5)
    x = x + interpolated(pool.positional_embedding, (side, side), grid, before=1)[:, None].to(x.dtype)
    pooled: Tensor = F.multi_head_attention_forward(
        x[:1], x, x, x.shape[-1], pool.num_heads,
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        bias_k=None, bias_v=None, add_zero_attn=False, dropout_p=0.0,
        out_proj_weight=pool.c_proj.weight,
        out_proj_bias=pool.c_proj.bias,
        need_weights=False,
        use_separate_proj_weight=True,
        q_proj_weight=pool.q_proj.weight,
        k_proj_weight=pool.k_proj.weight,
        v_proj_weight=pool.v_proj.weight,
    )[0]  # fmt: skip
    return pooled[0]
