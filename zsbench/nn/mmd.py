"""Maximum mean discrepancy (MMD): how far apart two weighted samples of features lie, over six Gaussian kernels.

ZS3Net's loss between generated and real features of a class (Bucher et al., NeurIPS 2019): D² = Σ_s vᵀ k_s v with
k_s(a, b) = exp(-|a - b|² / (2 s)) and v = (1/M, …, -w_1, …, -w_N), the biased estimate (a sample also meets itself); the
loss is its root. Two samples of one distribution therefore do not reach 0: 128 + 128 of 256 dimensions stay near 0.3.
Weights of the real side are what recursive training needs: a pseudo-feature counts as much as the classifier trusts it.

Made to cost about one matrix product of the stacked samples (bench/mmd.py): of the symmetric Gram matrix one block of
four is left out, one exponential gives every bandwidth by multiplication, and the gradient is written by hand.
Legend: B leading axes (classes) in one, M fake samples, N real samples, S = M + N, D features.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zsbench.nn.precision import full_precision

Sizes = tuple[int, int, int]  # B, M, N

BANDWIDTHS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)  # variances s, in squared feature units, as published
WHOLE = 1e-9  # how near to a whole number a ratio of bandwidths counts as one
EPS = 1e-9  # under the root, whose slope is infinite at 0; the published code gives nan there


def mmd(
    fake: Tensor,
    real: Tensor,
    weights: Tensor | None = None,
    *,
    fake_weights: Tensor | None = None,
    bandwidths: tuple[float, ...] = BANDWIDTHS,
) -> Tensor:
    """The root of `squared_mmd`, (...,), with a finite gradient everywhere; sqrt(EPS) for two equal samples."""
    squared = squared_mmd(fake, real, weights, fake_weights=fake_weights, bandwidths=bandwidths)
    return (squared.clamp_min(0) + EPS).sqrt()


@full_precision
def squared_mmd(
    fake: Tensor,
    real: Tensor,
    weights: Tensor | None = None,
    *,
    fake_weights: Tensor | None = None,
    bandwidths: tuple[float, ...] = BANDWIDTHS,
) -> Tensor:
    """D² of fake (..., m, d) from real (..., n, d), one number per leading axis (...,); rounding can leave it just below 0.

    weights: (..., n) of the real samples, fake_weights: (..., m), of any positive scale; None = all alike. A sample of
    weight 0 counts for nothing (padding: any finite numbers); weights that sum to 0 give nan. Differentiable once, in
    samples and weights. Computed in float32 or float64, whatever autocast says.
    """
    batch = torch.broadcast_shapes(fake.shape[:-2], real.shape[:-2])  # leading axes
    fake, real = _one_batch_axis(fake, batch), _one_batch_axis(real, batch)
    signed = torch.cat([_shares(fake_weights, fake, batch), -_shares(weights, real, batch)], 1)
    slopes = torch.is_grad_enabled() and (fake.requires_grad or real.requires_grad)
    squared: Tensor = _SquaredMMD.apply(fake, real, signed, bandwidths, slopes)
    return squared.view(batch)


def _one_batch_axis(samples: Tensor, batch: torch.Size) -> Tensor:
    count, width = samples.shape[-2:]
    return samples.expand(*batch, count, width).reshape(batch.numel(), count, width)


def _shares(weights: Tensor | None, samples_BMD: Tensor, batch: torch.Size) -> Tensor:
    """Weights that sum to 1, (B, M)."""
    B, M, _ = samples_BMD.shape
    if weights is None:
        return samples_BMD.new_full((B, M), 1 / M)
    weights = weights.to(samples_BMD.dtype)
    return (weights / weights.sum(-1, keepdim=True)).expand(*batch, M).reshape(B, M)


class _SquaredMMD(torch.autograd.Function):
    """vᵀ K v of fake (B, M, D) and real (B, N, D) with signed weights v (B, S): (B,)."""

    @staticmethod
    def forward(
        ctx: Any, fake: Tensor, real: Tensor, signed: Tensor, bandwidths: tuple[float, ...], slopes: bool
    ) -> Tensor:
        ctx.sizes, ctx.scale = (len(fake), fake.shape[1], real.shape[1]), max(bandwidths)
        samples = _centred(fake, real, ctx.sizes)
        widest = _widest(samples, ctx.sizes, ctx.scale)
        kernels, derivatives = _power_sums(widest, [ctx.scale / s for s in bandwidths], slopes)
        upper, lower = _blocks(kernels, ctx.sizes)
        if derivatives is not None:
            _weigh(*_blocks(derivatives, ctx.sizes), signed)
        ctx.save_for_backward(samples, signed, derivatives, kernels if ctx.needs_input_grad[2] else None)
        return _quadratic_form(upper, lower, signed)

    @staticmethod
    @once_differentiable
    @full_precision  # backward() may be called where autocast is on
    def backward(ctx: Any, grad_B: Tensor) -> tuple[Tensor | None, ...]:
        samples, signed, derivatives, kernels = ctx.saved_tensors
        fake, real = samples[:, : ctx.sizes[1]], samples[:, ctx.sizes[1] :]
        step = grad_B[:, None, None] * (-2 / ctx.scale)
        to_fake = to_real = to_signed = None
        if derivatives is not None:
            upper, lower = _blocks(derivatives, ctx.sizes)
            mixed = upper[:, :, ctx.sizes[1] :].mT
            if ctx.needs_input_grad[0]:
                to_fake = _pull(upper.sum(-1), fake, (upper, samples)).mul_(step)
            if ctx.needs_input_grad[1]:
                to_real = _pull(mixed.sum(-1) + lower.sum(-1), real, (mixed, fake), (lower, real)).mul_(step)
        if ctx.needs_input_grad[2]:
            to_signed = 2 * grad_B[:, None] * _times(*_blocks(kernels, ctx.sizes), signed[..., None])[..., 0]
        return to_fake, to_real, to_signed, None, None


def _centred(fake: Tensor, real: Tensor, sizes: Sizes) -> Tensor:
    """Both samples, (B, S, D), less the real one's mean: MMD does not change when all move alike, and
    |x|² + |y|² - 2 x·y loses fewer digits near the origin."""
    batch, fakes, reals = sizes
    samples = fake.new_empty(batch, fakes + reals, fake.shape[2])
    mean = real.mean(1, keepdim=True)
    torch.sub(fake, mean, out=samples[:, :fakes])
    torch.sub(real, mean, out=samples[:, fakes:])
    return samples


def _blocks(flat: Tensor, sizes: Sizes) -> tuple[Tensor, Tensor]:
    """(B, M, S), fake against all, and (B, N, N), real against real; the third block is a transpose of the first's end."""
    batch, fakes, reals = sizes
    split = batch * fakes * (fakes + reals)
    return flat[:split].view(batch, fakes, fakes + reals), flat[split:].view(batch, reals, reals)


def _widest(samples: Tensor, sizes: Sizes, scale: float) -> Tensor:
    """exp(-|a - b|² / (2 scale)) of both blocks in one flat tensor, so that all that follows runs once."""
    batch, fakes, reals = sizes
    flat = samples.new_empty(batch * (fakes * (fakes + reals) + reals * reals))
    upper, lower = _blocks(flat, sizes)
    alpha = 1 / (scale * math.log(2))  # powers of 2, because torch's exp2 takes a third of the time of its exp
    halves = torch.linalg.vector_norm(samples, dim=-1).square_().mul_(-alpha / 2)
    torch.add(halves[:, :fakes, None], halves[:, None], out=upper)
    torch.add(halves[:, fakes:, None], halves[:, None, fakes:], out=lower)
    upper.baddbmm_(samples[:, :fakes], samples.mT, alpha=alpha)
    lower.baddbmm_(samples[:, fakes:], samples[:, fakes:].mT, alpha=alpha)
    for block in (upper, lower):
        block.diagonal(0, 1, 2).zero_()  # a sample and itself, exactly: of long features, rounding would part them
    return flat.clamp_(math.log2(_floor(flat)), 0).exp2_()  # rounding can leave an exponent above 0


def _floor(values: Tensor) -> float:
    """The least kernel value kept, 2e-19 in float32: nothing beside 1, and its square is no denormal number, with which
    processors calculate many times slower."""
    return 2 * math.sqrt(torch.finfo(values.dtype).tiny)


def _power_sums(x: Tensor, powers: list[float], slopes: bool) -> tuple[Tensor, Tensor | None]:
    """Σ_p x^p and, if asked, Σ_p p x^p: all kernels from the widest, k_s = k_max^(max / s). Overwrites x.

    By repeated squaring in place: fresh memory for every kernel would cost more than calculating it.
    """
    sums = [torch.zeros_like(x) for _ in range(1 + slopes)]

    def add(power: float, *factors: Tensor) -> None:
        for order, total in enumerate(sums):
            if len(factors) == 1:
                total.add_(factors[0], alpha=power**order)
            else:
                total.addcmul_(*factors, value=power**order)

    whole = [round(p) for p in powers if abs(p - round(p)) < WHOLE]
    for power in powers:
        if abs(power - round(power)) >= WHOLE:
            add(power, x**power)
    floor = x.new_full((), _floor(x))
    lower_bits: list[tuple[Tensor, ...]] = [()] * len(whole)  # of each power, x^(the bits below the present one)
    for bit in range(max(whole).bit_length()):
        if bit:
            torch.addcmul(floor, x, x, out=x)
        for place, power in enumerate(whole):
            below = lower_bits[place]
            if power >> bit == 1:
                add(power, x, *below)
            elif power >> bit & 1:
                lower_bits[place] = (below[0] * x if below else x.clone(),)
    return sums[0], sums[1] if slopes else None


def _quadratic_form(upper: Tensor, lower: Tensor, v: Tensor) -> Tensor:
    """vᵀ K v, (B,), of the symmetric K that the two blocks stand for."""
    fakes = upper.shape[1]
    row = torch.bmm(v[:, None, :fakes], upper)
    row[..., fakes:].baddbmm_(v[:, None, fakes:], lower, beta=2)  # the mixed block stands for two
    return torch.bmm(row, v[..., None]).flatten()


def _times(upper: Tensor, lower: Tensor, y: Tensor) -> Tensor:
    """K y, (B, S, k)."""
    fakes = upper.shape[1]
    below = torch.bmm(upper[:, :, fakes:].mT, y[:, :fakes]).baddbmm_(lower, y[:, fakes:])
    return torch.cat([torch.bmm(upper, y), below], 1)


def _weigh(upper: Tensor, lower: Tensor, v: Tensor) -> None:
    """v_i K_ij v_j, in place."""
    fakes = upper.shape[1]
    upper.mul_(v[:, :fakes, None]).mul_(v[:, None])
    lower.mul_(v[:, fakes:, None]).mul_(v[:, None, fakes:])


def _pull(masses: Tensor, x: Tensor, *blocks: tuple[Tensor, Tensor]) -> Tensor:
    """Σ_j W_ij (x_i - x_j) from the row sums of W and its blocks with the samples they belong to."""
    result = masses[..., None] * x
    for weights, others in blocks:
        result.baddbmm_(weights, others, alpha=-1)
    return result
