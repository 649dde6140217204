"""Which pixels of a pool of training images a recursive method takes for unseen classes, and how much each is worth.

The classifier so far looks at every image of the pool, in full precision and at the size of training; of the pixels that
it calls unseen a rule keeps some, and a sample of their features becomes the bank of the next round. Nothing here reads
a label but of seen classes: how many of the chosen pixels are right the harness counts, after training.
Inferred and fixed (see `recursion.py`): at most `BANK` chosen pixels of a class are kept, `LOOKED` labelled images tell
how long features are.
Legend: P pixels of the pool, K kept in the bank, U unseen names, D feature width, h w feature grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zsbench import distributed
from zsbench.atomic import replacing
from zsbench.data.dataset import IGNORED
from zsbench.data.view import Items
from zsbench.method import Job, Selection
from zsbench.nn.deeplab import SegmentationNet
from zsbench.nn.segmentation import sized
from zsbench.nn.synthesis import at_grid

CHUNK = 32  # pool images looked at together
LOOKED = 512  # labelled images that tell how long features are
BANK = 4_096  # pseudo-features kept of each class: an MMD never meets more than a few hundred at once


@dataclass(frozen=True)
class Rule:
    """Which pixels are chosen and how much they weigh.

    select: "threshold", all whose probability reaches `tau`; "topk", the surest `share` of those called a class.
    weight: the probability ("confidence"), its lead over the second name ("margin"), or 1 ("uniform"), to `power`.
    least: a class with fewer chosen pixels is starved: it adds nothing and keeps the generator of round 0.
    reject: pool pixels whose feature is shorter than this share of the labelled seen pixels' are left out. What a split
        ignores in training, as background is by most, no classifier can turn down by name, but its features stay weak.
    """

    select: Literal["threshold", "topk"] = "threshold"
    tau: float = 0.5
    share: float = 0.25
    weight: Literal["confidence", "margin", "uniform"] = "confidence"
    power: float = 1.0
    least: int = 16
    reject: float = 0.1


@dataclass(frozen=True)
class Pool:
    """Where pixels are chosen. items: images without labels (transductive), or labelled pairs, of which only pixels with a
    seen label are looked at (inductive: all that is chosen is wrong). short_side: pixels the images are resized to."""

    items: Items
    labelled: Items
    seen: int
    short_side: int


@dataclass(frozen=True)
class Chosen:
    """What a round learns from. maps: chosen unseen name (or 255) of every pool pixel, shapes: (h, w) of each image's map.

    bank_KD, names_K (0 .. U - 1), weights_K: a sample of the chosen pixels, at most `BANK` of a class, starved ones left out.
    starved_U: classes with too few chosen pixels.
    """

    maps_P: Tensor
    shapes: Tensor
    bank_KD: Tensor
    names_K: Tensor
    weights_K: Tensor
    starved_U: Tensor

    @property
    def empty(self) -> bool:
        return len(self.names_K) == 0

    def selection(self, door: str) -> Selection:
        """The chosen pixels as the harness counts them; starved classes, which teach nothing, left out."""
        sizes = self.shapes.prod(1).tolist()
        starved = torch.cat([self.starved_U.bool(), torch.zeros(256 - len(self.starved_U), dtype=torch.bool)])
        fed_P = self.maps_P.masked_fill(starved[self.maps_P.long()], IGNORED)
        maps = [part.view(*shape).numpy() for part, shape in zip(fed_P.split(sizes), self.shapes.tolist(), strict=True)]
        return Selection(door, range(len(maps)), maps)


def choose(path: Path, net: SegmentationNet, pool: Pool, rule: Rule, job: Job) -> Chosen:
    """The round's pixels: read from `path` when a round is gone on with, else chosen now and written there."""
    from safetensors.torch import load_file, save_file

    if not path.exists() and distributed.rank() == 0:
        chosen = _choose(net, pool, rule, job)
        with replacing(path) as part:
            save_file({name: value.contiguous() for name, value in vars(chosen).items()}, part)
    distributed.agree(True)  # the others wait, and learn from the very same pixels
    return Chosen(**load_file(path))


@torch.no_grad()
def _choose(net: SegmentationNet, pool: Pool, rule: Rule, job: Job) -> Chosen:
    seen = pool.seen
    floor = _floor(net, pool, rule.reject, job)
    looked = [_called(net, *item, seen, floor) for item in _chunks(pool.items, job, pool.short_side, "choosing pixels")]
    names_P, sure_P2, shapes = _in_order(looked)
    unseen = net.classify.out_channels - seen
    kept_P, weights_P = rule_applied(rule, names_P.numpy(), sure_P2.numpy(), unseen)
    maps_P = torch.where(torch.from_numpy(kept_P), names_P, IGNORED)
    counts_U = torch.bincount(maps_P[maps_P != IGNORED].long(), minlength=unseen)
    starved_U = counts_U < rule.least
    banked = _sample(maps_P.numpy(), starved_U.numpy(), job.seed)
    bank_KD = _features(net, pool, job, banked, shapes)
    return Chosen(maps_P, shapes, bank_KD, maps_P[banked].long(), torch.from_numpy(weights_P)[banked], starved_U)


def _floor(net: SegmentationNet, pool: Pool, share: float, job: Job) -> float:
    """The length below which `share` of the labelled pixels' features are, over at most `LOOKED` labelled images."""
    if not share:
        return 0.0
    places = np.linspace(0, len(pool.labelled) - 1, min(LOOKED, len(pool.labelled))).round().astype(int)
    lengths = []
    for _, images, labels in _chunks(pool.labelled, job, pool.short_side, "measuring features", np.unique(places)):
        features = net.encoder(images).float()
        assert labels is not None
        lengths.append(features.norm(dim=1)[at_grid(labels, features.shape[-2:]) < pool.seen].cpu())
    known = torch.cat(lengths).numpy()
    return float(np.quantile(known, share)) if len(known) else 0.0


def _called(
    net: SegmentationNet, number: np.ndarray, images: Tensor, labels: Tensor | None, seen: int, floor: float
) -> tuple[np.ndarray, Tensor, Tensor]:
    """Positions, the unseen name of every place (B, h, w) uint8 or 255, and its probability and lead (B, 2, h, w)."""
    features = net.encoder(images)
    probabilities = net.classify(features).float().softmax(1)
    best, second = probabilities.topk(2, 1).values.unbind(1)
    names = probabilities.argmax(1) - seen
    outside = (names < 0) | (features.float().norm(dim=1) < floor)
    if labels is not None:  # inductive: only pixels with a seen label are looked at
        outside |= at_grid(labels, names.shape[-2:]) >= seen
    return (
        number,
        names.masked_fill(outside, IGNORED).to(torch.uint8).cpu(),
        torch.stack([best, best - second], 1).cpu(),
    )


def _chunks(
    items: Items, job: Job, short_side: int, title: str, wanted: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, Tensor, Tensor | None]]:
    """Positions, images of equal shape, and their labels where there are some. wanted: positions to visit."""
    places = np.arange(len(items)) if wanted is None else wanted
    with tqdm(total=len(places), desc=title, unit="img", leave=False, disable=distributed.rank() > 0) as bar:
        for start in range(0, len(places), CHUNK):
            own = places[start : start + CHUNK]
            fetched = [item if isinstance(item, tuple) else (item, None) for item in items.fetch(own.tolist())]
            shapes = [image.shape for image, _ in fetched]
            for shape in dict.fromkeys(shapes):
                rows = [row for row, other in enumerate(shapes) if other == shape]
                images = torch.from_numpy(np.stack([fetched[row][0] for row in rows])).to(job.device)
                labels = [fetched[row][1] for row in rows]
                maps = None if labels[0] is None else torch.from_numpy(np.stack(labels)).to(job.device).long()
                yield own[rows], sized(images.permute(0, 3, 1, 2).float() / 255, short_side), maps
            bar.update(len(own))


def _in_order(looked: list[tuple[np.ndarray, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Names (P,), probability and lead (P, 2) of all pixels in pool order, and each image's map shape (images, 2)."""
    maps = {int(i): one for number, names, _ in looked for i, one in zip(number, names, strict=True)}
    marks = {int(i): one for number, _, sure in looked for i, one in zip(number, sure, strict=True)}
    order = sorted(maps)
    shapes = torch.tensor([list(maps[i].shape) for i in order])
    return torch.cat([maps[i].flatten() for i in order]), torch.cat([marks[i].flatten(1).T for i in order]), shapes


def rule_applied(rule: Rule, names_P: np.ndarray, sure_P2: np.ndarray, unseen: int) -> tuple[np.ndarray, np.ndarray]:
    """Chosen pixels (P,) bool and weights (P,) float32. names: 0 .. unseen - 1, or 255 for no unseen name."""
    called = names_P < unseen
    if rule.select == "threshold":
        kept = called & (sure_P2[:, 0] >= rule.tau)
    else:
        counts = np.bincount(names_P[called], minlength=unseen)
        wanted = np.append(np.ceil(counts * rule.share), np.zeros(256 - unseen))
        kept = called & (_rank_in_class(names_P, -sure_P2[:, 0]) < wanted[names_P])
    base = {"confidence": sure_P2[:, 0], "margin": sure_P2[:, 1], "uniform": np.ones(len(names_P))}[rule.weight]
    return kept, (np.maximum(base, 1e-6) ** rule.power).astype(np.float32)


def _rank_in_class(names_P: np.ndarray, by_P: np.ndarray) -> np.ndarray:
    """Each pixel's place among those of its own name, smallest `by` first."""
    order = np.lexsort((by_P, names_P))
    counts = np.bincount(names_P, minlength=256)
    ranks = np.empty(len(names_P), np.int64)
    ranks[order] = np.arange(len(names_P)) - (np.cumsum(counts) - counts)[names_P[order]]
    return ranks


def _sample(maps_P: np.ndarray, starved_U: np.ndarray, seed: int) -> np.ndarray:
    """Places of at most BANK chosen pixels of each class that is not starved, in order."""
    fed = np.append(~starved_U, np.zeros(256 - len(starved_U), bool))[maps_P]
    places = np.flatnonzero(fed)  # few of the pool's pixels: sorting all of them takes gigabytes
    lot = np.random.default_rng(seed).random(len(maps_P))[places]
    return places[_rank_in_class(maps_P[places], lot) < BANK]


@torch.no_grad()
def _features(net: SegmentationNet, pool: Pool, job: Job, places: np.ndarray, shapes: Tensor) -> Tensor:
    """Features (K, D) of pool pixels by their place; only images that hold one are looked at again."""
    ends = shapes.prod(1).cumsum(0).numpy()
    image_K = np.searchsorted(ends, places, side="right")
    bank_KD = torch.zeros(len(places), net.encoder.width)
    for number, images, _ in _chunks(pool.items, job, pool.short_side, "keeping features", np.unique(image_K)):
        features = net.encoder(images).float().flatten(2).transpose(1, 2).cpu()  # (B, h w, D)
        for row, image in enumerate(number):
            own = np.arange(*np.searchsorted(image_K, (image, image + 1)))
            bank_KD[own] = features[row, places[own] - (ends[image] - features.shape[1])]
    return bank_KD
