"""k-means of many small problems at once: the tokens of every image of a batch, from several starts each, on CPU or GPU.

A step of Lloyd's needs no centres, only inner products of tokens with sums of tokens. Where tokens are fewer than twice
their features, the tokens' Gram matrix, made once for all starts and steps, gives these at a fraction of the cost: that
is where the speed comes from. Seeds are those of greedy k-means++ (Arthur and Vassilvitskii 2007), drawn by inverse CDF
from uniforms that the caller gives: equal uniforms, equal clusters.

Spherical: tokens and centres of unit length, cost |x - c|² (Dhillon and Modha 2001). Tokens that cancel have the centre
0, which costs what any unit vector would. Euclidean: the plain thing. All in fp32, whatever autocast says.
Legend: B problems (images), R restarts, n tokens, D features, k clusters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.nn.precision import full_precision

TRIALS = 4  # tokens tried for every seed; scikit-learn tries 2 + ln k
SAME = 1e-5  # of the mean squared length: a token as near as that lies on the centre, as far as fp32 can tell
CANCELS = 1e-6  # squared length of the sum of unit tokens, per token: below it, it is rounding
LIMITS = {"cpu": 2**23}  # bytes of inner products held at once: what lies near the processor's caches …
LIMIT = 2**28  # … or fills an accelerator
COPIES = 16  # bytes for every token, centre and restart: membership, products, closeness and what is between


@dataclass(frozen=True)
class Clusters:
    """centres_BkD; assignment_Bn: int64, the nearest centre of every token; inertia_B: sum of squared distances to it.

    Where tokens have fewer than k distinct values some clusters stay empty; their centre is a copy of another's.
    """

    centres_BkD: Tensor
    assignment_Bn: Tensor
    inertia_B: Tensor


@dataclass(frozen=True)
class Partition:
    """assignment_BRn; squared distance of every token to its centre; and the assignment whose means the centres are."""

    assignment_BRn: Tensor
    distance_BRn: Tensor
    before_BRn: Tensor


@torch.no_grad()
@full_precision
def kmeans(x_BnD: Tensor, k: int, uniforms_BRk: Tensor, *, spherical: bool = True, steps: int = 20) -> Clusters:
    """The best of R restarts of every problem. With k > n there are n clusters.

    uniforms: in [0, 1), they decide the seeds (see `uniforms`). steps: of Lloyd's at most; it ends where nothing moves.
    """
    k = min(k, x_BnD.shape[1])
    uniforms_BRk = uniforms_BRk[..., :k].to(x_BnD)
    parts = [_kmeans(x_BnD[rows], k, uniforms_BRk[rows], spherical, steps) for rows in _portions(uniforms_BRk, x_BnD)]
    return Clusters(*(torch.cat([getattr(part, name) for part in parts]) for name in Clusters.__annotations__))


def _kmeans(x_BnD: Tensor, k: int, uniforms_BRk: Tensor, spherical: bool, steps: int) -> Clusters:
    tokens = Tokens(x_BnD, spherical)
    at_once = max(1, _limit(x_BnD) // (COPIES * x_BnD[..., 0].numel() * k))
    runs = [tokens.partition(tokens.seeded(some), k, steps) for some in uniforms_BRk.split(at_once, 1)]
    every = Partition(*(torch.cat([getattr(run, name) for run in runs], 1) for name in Partition.__annotations__))
    return tokens.clusters(every, k)


@torch.no_grad()
@full_precision
def lloyd(x_BnD: Tensor, centres_BkD: Tensor, *, spherical: bool = True, steps: int = 20) -> Clusters:
    """Lloyd's algorithm from given centres: up to `steps` times (1 at least) the means, and the nearest of them."""
    tokens, k = Tokens(x_BnD, spherical), centres_BkD.shape[1]
    distance, nearest = squared_distances(x_BnD, centres_BkD, spherical).min(-1)
    start = Partition(nearest[:, None], distance[:, None], nearest[:, None])
    return tokens.clusters(tokens.partition(start, k, steps), k)


@full_precision
def squared_distances(x_BnD: Tensor, centres_BkD: Tensor, spherical: bool = True) -> Tensor:
    """(B, n, k), also of (1, k, D) centres that all problems share. Spherical: of unit tokens and unit centres."""
    if spherical:
        x_BnD, centres_BkD = F.normalize(x_BnD, dim=-1), F.normalize(centres_BkD, dim=-1)
    lengths = torch.ones_like(centres_BkD[..., 0]) if spherical else centres_BkD.square().sum(-1)
    products = x_BnD @ centres_BkD.mT
    return (x_BnD.square().sum(-1)[..., None] + lengths[:, None] - 2 * products).clamp_min(0)


def _portions(uniforms_BRk: Tensor, x_BnD: Tensor) -> Iterator[slice]:
    """Problems, as many at once as fit."""
    n, columns = x_BnD.shape[1], uniforms_BRk[0].numel()
    size = max(1, _limit(x_BnD) // (4 * n * n + COPIES * n * columns))
    yield from (slice(first, first + size) for first in range(0, len(x_BnD), size))


def _limit(x_BnD: Tensor) -> int:
    return LIMITS.get(x_BnD.device.type, LIMIT)


class Tokens:
    """The tokens of some problems, and what k-means asks about them."""

    def __init__(self, x_BnD: Tensor, spherical: bool):
        self.spherical = spherical
        self.middle_B1D = x_BnD.mean(1, keepdim=True)  # distances of centred tokens lose fewer digits
        self.x_BnD = F.normalize(x_BnD, dim=-1) if spherical else x_BnD - self.middle_B1D
        n, width = x_BnD.shape[1:]
        self.gram_Bnn = self.x_BnD @ self.x_BnD.mT if n < 2 * width else None
        self.squares_Bn = self.x_BnD.square().sum(-1)
        self.same_B = SAME * self.squares_Bn.mean(-1)

    def times(self, weights_BMn: Tensor) -> Tensor:
        """(B, M, n): inner products of all tokens with M weighted sums of tokens."""
        return weights_BMn @ self.gram_Bnn if self.gram_Bnn is not None else (weights_BMn @ self.x_BnD) @ self.x_BnD.mT

    def from_tokens(self, picks_BM: Tensor) -> Tensor:
        """(B, M, n): squared distances of all tokens from some; 0 where they are the same."""
        rows = picks_BM[..., None]
        if self.gram_Bnn is not None:
            products = self.gram_Bnn.gather(1, rows.expand(-1, -1, self.gram_Bnn.shape[-1]))
        else:
            products = self.x_BnD.gather(1, rows.expand(-1, -1, self.x_BnD.shape[-1])) @ self.x_BnD.mT
        squares = self.squares_Bn.gather(1, picks_BM)[..., None] + self.squares_Bn[:, None] - 2 * products
        return torch.where(squares > self.same_B[:, None, None], squares, 0)

    def seeded(self, uniforms_BRk: Tensor) -> Partition:
        """The nearest of k tokens, chosen one after the other with probability in proportion to the squared distance from
        those before; of TRIALS such tokens, drawn at equal steps of the CDF, the one that leaves the least."""
        B, R, _ = uniforms_BRk.shape
        n = self.x_BnD.shape[1]
        offsets = torch.arange(TRIALS).to(uniforms_BRk) / TRIALS
        first = (uniforms_BRk[..., 0] * n).long().clamp_max(n - 1)
        distance = self.from_tokens(first)
        nearest = torch.zeros(B, R, n, dtype=torch.int64, device=distance.device)
        for number in range(1, uniforms_BRk.shape[2]):
            picks_BRT = _drawn(distance, (uniforms_BRk[..., number, None] + offsets) % 1)
            offered = self.from_tokens(picks_BRT.flatten(1)).unflatten(1, (R, TRIALS))
            left = torch.minimum(offered, distance[:, :, None])
            best = left.sum(-1).argmin(-1)[..., None, None].expand(-1, -1, 1, n)
            closer = left.gather(2, best)[:, :, 0]
            nearest = torch.where(closer < distance, number, nearest)
            distance = closer
        return Partition(nearest, distance, nearest)

    def partition(self, start: Partition, k: int, steps: int) -> Partition:
        """Lloyd's: means of the clusters, then the nearest mean, until nothing moves."""
        now = start
        for _ in range(steps):
            before = self.refilled(now, k)
            closeness_BRkn = self.closeness(before, k)
            best = closeness_BRkn.max(2)
            now = Partition(best.indices, self.squares_Bn[:, None] - 2 * best.values, before)
            if torch.equal(now.assignment_BRn, before):
                break
        return now

    def closeness(self, assignment_BRn: Tensor, k: int) -> Tensor:
        """(B, R, k, n): x·c - |c|² / 2 of every token and mean; -inf of a cluster without tokens."""
        member_BRkn = self.members(assignment_BRn, k)
        sums_BRkn = self.times(member_BRkn.flatten(1, 2)).view_as(member_BRkn)
        squares_BRk = (member_BRkn * sums_BRkn).sum(-1)  # squared length of the cluster's sum
        counts_BRk = member_BRkn.sum(-1)
        scale = self.scale(squares_BRk, counts_BRk)
        half = torch.full_like(scale, 0.5) if self.spherical else squares_BRk * scale.square() / 2
        half = torch.where(counts_BRk > 0, half, torch.inf)
        return torch.addcmul(-half[..., None], sums_BRkn, scale[..., None])

    def members(self, assignment: Tensor, k: int) -> Tensor:
        """(..., k, n): 1 where the token is the cluster's."""
        shape = (*assignment.shape[:-1], k, assignment.shape[-1])
        return self.x_BnD.new_zeros(shape).scatter_(-2, assignment.unsqueeze(-2), 1)

    def scale(self, squares: Tensor, counts: Tensor) -> Tensor:
        """What makes a centre of a cluster's sum; 0 for tokens that cancel."""
        if not self.spherical:
            return 1 / counts.clamp_min(1)
        return torch.where(squares > CANCELS * counts, squares.clamp_min(1e-30).rsqrt(), 0)

    def refilled(self, now: Partition, k: int) -> Tensor:
        """The assignment with every empty cluster given one token, the farthest from its centre: that lowers the inertia."""
        ids_BRn = now.assignment_BRn
        empty_BRk = torch.ones(*ids_BRn.shape[:-1], k, dtype=torch.bool, device=ids_BRn.device)
        empty_BRk.scatter_(-1, ids_BRn, False)
        most = min(int(empty_BRk.sum(-1).max()), ids_BRn.shape[-1])
        if not most:
            return ids_BRn
        far = now.distance_BRn.sort(dim=-1, descending=True, stable=True)
        clusters = empty_BRk.to(torch.uint8).sort(dim=-1, descending=True, stable=True)
        tokens_BRm, clusters_BRm = far.indices[..., :most], clusters.indices[..., :most]
        moves = (far.values[..., :most] > self.same_B[:, None, None]) & (clusters.values[..., :most] > 0)
        stays = ids_BRn.gather(-1, tokens_BRm)
        return ids_BRn.scatter(-1, tokens_BRm, torch.where(moves, clusters_BRm, stays))

    def clusters(self, found: Partition, k: int) -> Clusters:
        """The best of the restarts, with its centres."""
        best = found.distance_BRn.sum(-1).argmin(-1)
        rows = torch.arange(len(best), device=best.device)
        before, assignment = found.before_BRn[rows, best], found.assignment_BRn[rows, best]
        member_Bkn = self.members(before, k)
        sums, counts = member_Bkn @ self.x_BnD, member_Bkn.sum(-1)
        centres = sums * self.scale(sums.square().sum(-1), counts)[..., None]
        spare = centres[rows, before[:, 0]][:, None]
        centres = torch.where(counts[..., None] > 0, centres, spare)
        own = squared_distances(self.x_BnD, centres, self.spherical).gather(-1, assignment[..., None])
        return Clusters(centres if self.spherical else centres + self.middle_B1D, assignment, own.sum((1, 2)))


def _drawn(weights_BRn: Tensor, u_BRT: Tensor) -> Tensor:
    """Indices drawn in proportion to the weights by inverse CDF; any, where all weights are 0."""
    cdf = torch.where((weights_BRn > 0).any(-1, keepdim=True), weights_BRn, 1).cumsum(-1)
    target = u_BRT * cdf[..., -1:]  # below the total as u is below 1, so that no token of weight 0 at the end is drawn
    return torch.searchsorted(cdf, target, right=True).clamp_max(weights_BRn.shape[-1] - 1)


def uniforms(images_BCHW: Tensor, seed: int, restarts: int, k: int) -> Tensor:
    """(B, R, k) fp32 in [0, 1) that follow from each image's own 8-bit values and the seed, and from nothing else.

    So an image is clustered alike alone and in a batch, in any order and on every device; more restarts leave those before
    as they are.
    """
    bytes_BCHW = (images_BCHW * 255).round().to(torch.uint8).cpu().contiguous().numpy()
    keys = [hashlib.blake2b(image.tobytes(), digest_size=16, salt=str(seed).encode()).digest() for image in bytes_BCHW]
    draws = [np.random.default_rng(int.from_bytes(key)).random((restarts, k), np.float32) for key in keys]
    return torch.from_numpy(np.stack(draws)).to(images_BCHW.device)
