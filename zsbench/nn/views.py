"""Augmented views of a batch, all rows at once: multi-crop for distillation and image-text contrast, and a twin of the
global view (same place, other colours, perhaps mirrored) for online clustering.

A view costs two small matrix products and a colour matrix, because crop, resize, mirror and blur are linear and
separable in rows and columns, and brightness, contrast, saturation, hue and grey are one affine map of RGB. Resizing is
antialiased bilinear, the same as `F.interpolate(antialias=True)` on the crop. Departures from DINO's recipe (Caron et
al. 2021): bilinear for bicubic, no solarisation, hue as a rotation in YIQ, the jitter's four steps in fixed order and
clipped once at the end, a box that would leave the image is shortened instead of drawn again.

All random numbers come from one CPU generator for the GLOBAL batch and are then cut to the rank's rows: however many
processes share a batch, and on whatever device, an image gets the same views.
Legend: B images of this rank, L views of each image, N = L·B views in view-major order; images are RGB in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from zsbench.nn.precision import full_precision

Range = tuple[float, float]
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@dataclass(frozen=True)
class ViewRecipe:
    """How views are drawn; defaults are DINO's with ViL-Seg's one global and six local views.

    Sizes in pixels, scales as fractions of the image's area, jitter = strengths of brightness, contrast, saturation and
    hue (in turns), blur_p for (global, local) views, blur_sigma in pixels of the view. colour_global = False leaves the
    global view's colours and sharpness alone, for data whose captions speak of them.
    """

    global_size: int = 224
    local_size: int = 96
    n_global: int = 1
    n_local: int = 6
    global_scale: Range = (0.4, 1.0)
    local_scale: Range = (0.05, 0.4)
    ratio: Range = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jitter_p: float = 0.8
    grey_p: float = 0.2
    blur_p: Range = (1.0, 0.5)
    blur_sigma: Range = (0.1, 2.0)
    colour_global: bool = True


class Views(TypedDict):
    """global_ (n_global·B, 3, S, S) and locals (n_local·B, 3, s, s) in view-major order; pair (B, 3, S, S), the twin of
    the first global view; flipped_B, whether the twin is mirrored against it (undo on its maps before comparing)."""

    global_: Tensor
    locals: Tensor
    pair: Tensor
    flipped_B: Tensor


@torch.no_grad()
def make_views(images_B3HW: Tensor, recipe: ViewRecipe, generator_seed: int, rows: slice, total: int) -> Views:
    """All views of one step. `images` are the rows `rows` of a global batch of `total` images."""
    if len(images_B3HW) != len(range(total)[rows]):
        raise ValueError(f"{len(images_B3HW)} images for rows {rows.start}:{rows.stop} of {total}")
    random, device = torch.Generator().manual_seed(generator_seed), images_B3HW.device
    plain = not recipe.colour_global

    def view(n: int, size: int, scale: Range, blur_p: float, plain: bool) -> Tensor:
        draws = _draw(total * n, recipe, scale, blur_p, random)
        boxes, flipped, sigma, colours = (x.view(total, n, *x.shape[1:])[rows].to(device) for x in draws)
        if not n:
            return images_B3HW.new_empty(0, 3, size, size)
        cut = crops(images_B3HW, boxes, size, flipped, sigma if blur_p and not plain else None)
        return cut if plain else jitter(cut, colours.transpose(0, 1).flatten(0, 1))

    global_ = view(recipe.n_global, recipe.global_size, recipe.global_scale, recipe.blur_p[0], plain)
    locals_ = view(recipe.n_local, recipe.local_size, recipe.local_scale, recipe.blur_p[1], False)
    colours = draw_colours(total, recipe.jitter, 1.0, 0.0, random)[rows].to(device)
    flipped_B = _chance(total, recipe.flip, random)[rows].to(device)
    pair = flip(jitter(global_[: len(images_B3HW)], colours), flipped_B)
    return Views(global_=global_, locals=locals_, pair=pair, flipped_B=flipped_B)


def square(image: np.ndarray, size: int) -> Tensor:
    """(H, W, 3) uint8 -> (3, size, size) in [0, 1]: the central square."""
    x = torch.tensor(image).permute(2, 0, 1)[None].float() / 255
    height, width = x.shape[2:]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    x = x[..., top : top + short, left : left + short]
    return (x if short == size else F.interpolate(x, size=(size, size), mode="bilinear", antialias=True))[0]


def _draw(n: int, recipe: ViewRecipe, scale: Range, blur_p: float, generator: Generator) -> tuple[Tensor, ...]:
    """Boxes (n, 4), flips (n,), blur widths (n,), colour factors (n, 4)."""
    boxes = draw_boxes(n, scale, recipe.ratio, generator)
    flipped = _chance(n, recipe.flip, generator)
    sigma = _between(n, recipe.blur_sigma, generator) * _chance(n, blur_p, generator)
    return boxes, flipped, sigma, draw_colours(n, recipe.jitter, recipe.jitter_p, recipe.grey_p, generator)


def draw_boxes(n: int, scale: Range, ratio: Range, generator: Generator) -> Tensor:
    """n random boxes (top, left, height, width) as fractions of the image, (n, 4): area uniform in `scale`, aspect
    log-uniform in `ratio` (as if the image were square), no side longer than the image's."""
    area = _between(n, scale, generator)
    aspect = _between(n, (math.log(ratio[0]), math.log(ratio[1])), generator).exp()
    sides = torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], -1).clamp_max(1)
    return torch.cat([torch.rand(n, 2, generator=generator) * (1 - sides), sides], -1)


def draw_colours(
    n: int, strengths: tuple[float, float, float, float], jitter_p: float, grey_p: float, generator: Generator
) -> Tensor:
    """n rows of factors for `jitter`, (n, 4): brightness, contrast and saturation around 1, hue around 0. A view that
    turns grey has saturation 0."""
    low = torch.tensor([*(max(0.0, 1 - s) for s in strengths[:3]), -strengths[3]])
    high = torch.tensor([*(1 + s for s in strengths[:3]), strengths[3]])
    factors = low + (high - low) * torch.rand(n, 4, generator=generator)
    jittered = _chance(n, jitter_p, generator)[:, None]
    factors = torch.where(jittered, factors, torch.tensor([1.0, 1.0, 1.0, 0.0]))
    factors[_chance(n, grey_p, generator), 2] = 0
    return factors


def _between(n: int, bounds: Range, generator: Generator) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(n, generator=generator)


def _chance(n: int, p: float, generator: Generator) -> Tensor:
    return torch.rand(n, generator=generator) < p


@full_precision
def crops(
    images_B3HW: Tensor,
    boxes_BL4: Tensor,
    size: int,
    flipped_BL: Tensor | None = None,
    sigma_BL: Tensor | None = None,
) -> Tensor:
    """L boxes of every image at size × size, mirrored where `flipped`, blurred by `sigma` pixels: (L·B, 3, size, size).

    boxes: (top, left, height, width) as fractions, see `draw_boxes`. Antialiased when a crop shrinks.
    """
    B, _, H, W = images_B3HW.shape
    views = boxes_BL4.shape[1]
    top, left, height, width = boxes_BL4.flatten(0, 1).to(images_B3HW.dtype).unbind(-1)
    if flipped_BL is not None:  # a mirrored crop is one read from right to left
        left, width = left + width * flipped_BL.flatten(), width * (1 - 2 * flipped_BL.flatten().to(width.dtype))
    rows, columns = _resample(top, height, H, size), _resample(left, width, W, size)
    if sigma_BL is not None:
        soft = _gaussian(sigma_BL.flatten().to(rows.dtype), size)
        rows, columns = soft @ rows, soft @ columns
    # Rows first and B-major, so that no view ever copies its image.
    tall = rows.view(B, views * size, H) @ images_B3HW.transpose(1, 2).reshape(B, H, 3 * W)
    both = tall.view(B * views, size * 3, W) @ columns.mT
    return both.view(B, views, size, 3, size).permute(1, 0, 3, 2, 4).reshape(views * B, 3, size, size)


def _resample(start_N: Tensor, extent_N: Tensor, n_in: int, n_out: int) -> Tensor:
    """Matrices (N, n_out, n_in) of the triangle filter that resize [start, start + extent] to n_out samples."""
    step = extent_N * n_in / n_out
    centres = start_N[:, None] * n_in + step[:, None] * (torch.arange(n_out, device=step.device) + 0.5)
    pixels = torch.arange(n_in, device=step.device) + 0.5
    weights = (pixels - centres[..., None]).abs_().div_(step.abs().clamp_min(1)[:, None, None]).neg_().add_(1)
    weights.clamp_min_(0)
    # Filters see their own crop only, as if it had been cut out first.
    low, high = torch.minimum(start_N, start_N + extent_N) * n_in, torch.maximum(start_N, start_N + extent_N) * n_in
    inside = (pixels > low.floor()[:, None]) & (pixels < high.ceil()[:, None])
    weights *= inside[:, None]
    return weights.div_(weights.sum(-1, keepdim=True))


def _gaussian(sigma_N: Tensor, size: int) -> Tensor:
    """Matrices (N, size, size) that blur a row of pixels; sigma 0 is the identity."""
    places = torch.arange(size, device=sigma_N.device)
    squares = (places[:, None] - places).square()
    weights = torch.exp(-squares / (2 * sigma_N.clamp_min(1e-3).square())[:, None, None])
    return weights.div_(weights.sum(-1, keepdim=True))


@full_precision
def jitter(images_N3HW: Tensor, factors_N4: Tensor) -> Tensor:
    """Colour jitter with each image's own factors (brightness, contrast, saturation, hue in turns), clipped to [0, 1].

    In this order: x ← b·x; x ← c·x + (1 - c)·mean luma; chroma (the I and Q of YIQ) scaled by s and turned by h.
    """
    images = images_N3HW.flatten(2)
    yiq = _YIQ.to(images)
    brightness, contrast, _, _ = factors = factors_N4.to(images).unbind(-1)
    matrix = (brightness * contrast)[:, None, None] * (torch.linalg.inv(yiq) @ _chroma(*factors[2:]) @ yiq)
    offset = brightness * (1 - contrast) * (images.mean(-1) @ yiq[0])
    coloured = torch.baddbmm(offset[:, None, None].expand(-1, 3, 1), matrix, images)
    return coloured.clamp_(0, 1).view_as(images_N3HW)


def _chroma(saturation_N: Tensor, hue_N: Tensor) -> Tensor:
    cos, sin = saturation_N * torch.cos(2 * math.pi * hue_N), saturation_N * torch.sin(2 * math.pi * hue_N)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    return torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], -1).view(-1, 3, 3)


def grey(images_N3HW: Tensor) -> Tensor:
    """Luma in all three channels."""
    neutral = torch.tensor([1.0, 1.0, 0.0, 0.0], device=images_N3HW.device)
    return jitter(images_N3HW, neutral.expand(len(images_N3HW), 4))


@full_precision
def blur(images_N3HW: Tensor, sigma_N: Tensor) -> Tensor:
    """Gaussian blur with each image's own sigma in pixels; weights are renormalised at the border."""
    H, W = images_N3HW.shape[-2:]
    sigma = sigma_N.to(images_N3HW.dtype)
    return _gaussian(sigma, H)[:, None] @ images_N3HW @ _gaussian(sigma, W)[:, None].mT


def flip(images_N3HW: Tensor, mask_N: Tensor) -> Tensor:
    """Mirrors the masked images left to right."""
    return torch.where(mask_N[:, None, None, None], images_N3HW.flip(-1), images_N3HW)
