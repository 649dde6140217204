"""What the last block of an image tower may attend to: rules that turn CLIP into a segmenter without training it.

CLIP trains the class token; its patch tokens are by-products that the last attention mixes freely across the image. Each
rule replaces that one attention and nothing else. With s = 1/sqrt(d) per head:

    plain     softmax(s q kᵀ)                     the tower as it is
    value     the identity: each patch keeps      MaskCLIP (Zhou et al., ECCV 2022)
              its own value
    qq+kk     softmax(s q qᵀ) + softmax(s k kᵀ),  SCLIP (Wang et al., ECCV 2024)
              rows sum to 2
    kk+gauss  softmax(s k kᵀ + ω), ω a Gaussian   NACLIP (Hajimiri et al., WACV 2025)
              of the distance on the patch grid
    qq        softmax(s q qᵀ)                     ClearCLIP (Lan et al., ECCV 2024)

`residual` keeps the block's input beside its attention, `ffn` the feed-forward half (with its own residual).
Legend: B images, H heads, n tokens (class token and its like first), d width of a head, W = H d, h w patch grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.errors import UserError, unknown

Rule = Literal["plain", "value", "qq+kk", "kk+gauss", "qq"]
RULES: tuple[Rule, ...] = get_args(Rule)
NARROWEST = 0.1  # patches: the nearest neighbour is at exp(-50) already, narrower Gaussians are the same one


@dataclass(frozen=True)
class Attention:
    """How the last block runs. `std` is the width of kk+gauss's Gaussian, in patches."""

    rule: Rule = "plain"
    residual: bool = True
    ffn: bool = True
    std: float = 5.0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise unknown("attention rule", self.rule, RULES)
        if not self.std >= NARROWEST:
            raise UserError(
                f"std = {self.std}: a Gaussian's width in patches, above 0; at {NARROWEST}, the least, a patch sees itself alone"
            )

    @property
    def as_trained(self) -> bool:
        """The tower's own forward pass, nothing replaced."""
        return self.rule == "plain" and self.residual and self.ffn


# Each rule with the switches of the paper that named it.
PUBLISHED: dict[Rule, Attention] = {
    "plain": Attention("plain"),
    "value": Attention("value"),
    "qq+kk": Attention("qq+kk"),
    "kk+gauss": Attention("kk+gauss", residual=False, ffn=False),
    "qq": Attention("qq", residual=False, ffn=False),
}


@dataclass(frozen=True)
class Block:
    """A pre-norm transformer block taken apart; every part is the tower's own layer, layer scales included."""

    qkv: Callable[
        [Tensor], tuple[Tensor, Tensor, Tensor]
    ]  # x (B, n, W) -> q, k, v (B, H, n, d), the norm before included
    out: Callable[[Tensor], Tensor]  # heads side by side (B, n, W) -> what the residual is added to
    ffn: Callable[[Tensor], Tensor]  # x (B, n, W) -> the feed-forward half's addition

    def __call__(self, x: Tensor, attention: Attention, grid: tuple[int, int]) -> Tensor:
        y = self.out(merged(mix(attention, *self.qkv(x), grid)))
        x = x + y if attention.residual else y
        return x + self.ffn(x) if attention.ffn else x

    def keys(self, x: Tensor) -> Tensor:
        """Keys of all heads side by side, (B, n, W), as the block's attention sees them."""
        return merged(self.qkv(x)[1])


def mix(attention: Attention, q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int]) -> Tensor:
    """Values mixed by the rule, (B, H, n, d). Tokens before the patches of the grid are class tokens and the like."""
    match attention.rule:
        case "plain":
            return F.scaled_dot_product_attention(q, k, v)
        case "value":
            return v
        case "qq":
            return F.scaled_dot_product_attention(q, q, v)
        case "qq+kk":
            return F.scaled_dot_product_attention(q, q, v) + F.scaled_dot_product_attention(k, k, v)
        case "kk+gauss":
            near = nearness(grid, attention.std, k.shape[2], k.device).to(k.dtype)
            return F.scaled_dot_product_attention(k, k, v, attn_mask=near)


def nearness(grid: tuple[int, int], std: float, tokens: int, device: torch.device | None = None) -> Tensor:
    """ω, (n, n): exp(-distance² / 2 std²) between patches, 0 in rows and columns of the tokens before them."""
    rows, columns = (torch.arange(side, dtype=torch.float32, device=device) for side in grid)
    down, across = (torch.exp(-(((p[:, None] - p) / std) ** 2) / 2) for p in (rows, columns))
    before = tokens - grid[0] * grid[1]
    return F.pad(torch.kron(down, across), (before, 0, before, 0))


def split(x_BnW: Tensor, heads: int) -> Tensor:
    """(B, n, W) -> (B, H, n, d)."""
    return x_BnW.unflatten(2, (heads, -1)).transpose(1, 2)


def merged(x_BHnd: Tensor) -> Tensor:
    """(B, H, n, d) -> (B, n, W)."""
    return x_BHnd.transpose(1, 2).flatten(2)
