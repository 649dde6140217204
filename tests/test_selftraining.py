"""Self-training of pixel classifiers: labels that views agree on, ZS5Net's share of the surest, and a labeller that stays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import generative as made
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.data.dataset import IGNORED
from zsbench.nn.segmentation import PixelSegmenter, pixel_cross_entropy
from zsbench.nn.selftraining import PixelSelfTraining, confident_labels, pseudo_labels
from zsbench.training import Recipe, train

S = len(made.SEEN)


class Shaky:
    """Logits by colour, and by where a pixel stands in the picture: other views are labelled otherwise."""

    def __init__(self, shake: float = 0.6):
        self.rule = torch.randn(len(made.NAMES), 3, generator=torch.Generator().manual_seed(0))
        self.shake = shake

    def __call__(self, images: Tensor, names: Sequence[str]) -> Tensor:
        small = F.avg_pool2d(images, 2, ceil_mode=True)
        logits = 4 * torch.einsum("bchw,nc->bnhw", small, self.rule)
        place = torch.linspace(0, 3, small.shape[-1]) * self.shake
        return logits + place * torch.arange(len(names))[:, None, None]


def plain(labeller: Any, images: Tensor) -> Tensor:
    scores = labeller(images, made.NAMES)
    return F.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False).argmax(1)


# Labels that survive views


def test_the_image_alone_gives_the_plain_argmax() -> None:
    images = made.images(4, (24, 40))
    found = pseudo_labels(Shaky(), images, made.NAMES, scales=(), mirror=False)
    assert torch.equal(found, plain(Shaky(), images)) and len(found.unique()) > 2


def test_every_further_view_can_only_take_pixels_away() -> None:
    images, before = made.images(4), None
    shares = []
    for scales, mirror in (((), False), ((0.75,), False), ((0.75, 1.5), False), ((0.75, 1.5), True)):
        labels = pseudo_labels(Shaky(), images, made.NAMES, scales, mirror)
        kept = labels != IGNORED
        assert torch.equal(labels[kept], plain(Shaky(), images)[kept])
        assert before is None or (before | ~kept).all()
        before, shares = kept, [*shares, float(kept.float().mean())]
    assert shares[0] == 1 and sorted(shares, reverse=True) == shares and shares[-1] < shares[1] < 1


def test_a_mirrored_view_is_turned_back() -> None:
    """A labeller that sees colours alone says the same of a mirrored picture: all is kept."""
    images = made.images(4)
    assert (pseudo_labels(Shaky(0.0), images, made.NAMES, scales=(), mirror=True) != IGNORED).all()
    assert (pseudo_labels(Shaky(), images, made.NAMES, scales=(), mirror=True) == IGNORED).any()


# ZS5Net's share of the surest


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 1.0])
def test_of_each_image_the_surest_of_all_unseen_pixels_are_kept(share: float) -> None:
    images = made.images(6, (20, 24))
    images[0] = 0.0  # one flat picture: the surest are many alike
    labels = confident_labels(Shaky(), images, made.NAMES, S, share)
    logits = F.interpolate(Shaky()(images, made.NAMES), size=(20, 24), mode="bilinear", align_corners=False)
    chances, called = logits.softmax(1).max(1)
    for row in range(6):
        unseen, kept = called[row] >= S, labels[row] != IGNORED
        assert kept.sum() == math.ceil(float(unseen.sum()) * share)
        assert (unseen | ~kept).all() and torch.equal(labels[row][kept], called[row][kept])
        if kept.any() and (unseen & ~kept).any():
            assert chances[row][kept].min() >= chances[row][unseen & ~kept].max()
    shares = (called >= S).float().flatten(1).mean(1)
    assert shares.min() < 0.6 < 0.9 < shares.max(), "pictures with few and with many, or little is tested"


def test_an_image_without_unseen_pixels_gives_none() -> None:
    class Seen(Shaky):
        def __call__(self, images: Tensor, names: Sequence[str]) -> Tensor:
            return super().__call__(images, names) - 99 * (torch.arange(len(names)) >= S)[:, None, None]

    assert (confident_labels(Seen(), made.images(2), made.NAMES, S, 1.0) == IGNORED).all()


# The learner


def learner(tmp_path: Path, share: float | None = None) -> PixelSelfTraining:
    labeller = PixelSegmenter(made.network(5, seed=1), made.NAMES, made.job(tmp_path))
    with torch.no_grad():
        labeller.net.classify.weight.normal_(0, 2, generator=torch.Generator().manual_seed(1))
    return PixelSelfTraining(made.network(5, seed=1).requires_grad_(True), labeller, made.NAMES, S, share)


def batch() -> dict[str, Tensor]:
    labels = torch.randint(0, S, (4, 32, 32), generator=torch.Generator().manual_seed(0))
    labels[:, :9] = IGNORED
    return {"images": made.images(4, seed=5), "labels": labels, "pool": made.images(4, seed=6)}


@pytest.mark.parametrize("share", [None, 0.5])
def test_labels_of_the_pool_are_unseen_names_alone(tmp_path: Path, share: float | None) -> None:
    step = learner(tmp_path, share)
    pool = batch()["pool"]
    labels, called = step.labels(pool), plain(step._frozen[0], pool)
    assert set(labels.unique().tolist()) <= {3, 4, IGNORED} and (labels != IGNORED).any()
    assert (called < S).any() and (labels[called < S] == IGNORED).all()


@pytest.mark.parametrize("share", [None, 0.5])
def test_the_loss_is_that_of_real_labels_and_that_of_the_pools(tmp_path: Path, share: float | None) -> None:
    step, data = learner(tmp_path, share).eval(), batch()
    given = data["labels"].clone()
    out = step(data)
    pseudo = pixel_cross_entropy(step.net(data["pool"]), step.labels(data["pool"]))
    real = pixel_cross_entropy(step.net(data["images"]), given)
    torch.testing.assert_close(out["loss"], real + pseudo)
    assert torch.equal(data["labels"], given), "labels of seen classes are never overwritten"
    assert float(out["kept"]) == pytest.approx(float((step.labels(data["pool"]) != IGNORED).float().mean()))


@pytest.mark.parametrize("share", [None, 0.5])
def test_the_labeller_stays_as_it_was(tmp_path: Path, share: float | None) -> None:
    step = learner(tmp_path, share)
    net = step._frozen[0].net
    before, pool, own = made.state(net), batch()["pool"], made.state(step)
    labels = step.labels(pool)
    train(step, lambda number, rows: batch(), Recipe(4, 4, 0.01), made.job(tmp_path))
    assert not made.moved(before, made.state(net)) and torch.equal(step.labels(pool), labels)
    assert not net.training and all(p.grad is None for p in net.parameters())
    assert {"net.encoder.body.0.weight", "net.classify.weight"} <= made.moved(own, made.state(step))
    assert not any("frozen" in name for name in own), "the checkpoint holds the student alone"


def test_a_pool_that_keeps_nothing_leaves_the_real_labels_loss(tmp_path: Path) -> None:
    step, data = learner(tmp_path).eval(), batch()
    step.labels = lambda images: torch.full((4, 32, 32), IGNORED)  # type: ignore[method-assign]
    out = step(data)
    assert out["pseudo"] == 0 and torch.equal(out["loss"], out["labelled"])
    out["loss"].backward()
    assert all(bool(p.grad.isfinite().all()) for p in step.parameters() if p.grad is not None)
