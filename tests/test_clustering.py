"""The clustering loss at its known values, and what cutting, pooling and naming must keep."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.nn.clustering import (
    joint,
    mutual_information_loss,
    name_regions,
    pool_regions,
    pool_weighted,
    segment,
    undo_flip,
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def loss(p: Tensor, q: Tensor, lam: float = 1.0) -> float:
    return mutual_information_loss(joint(p, q), lam).item()


def one_hots(k: int, copies: int = 3) -> Tensor:
    return torch.eye(k, dtype=torch.float64).repeat(copies, 1)


# --- mutual information ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 20, 50])
def test_balanced_identical_one_hots_give_minus_ln_k(k: int) -> None:
    assert loss(one_hots(k), one_hots(k)) == pytest.approx(-math.log(k), abs=1e-9)
    assert loss(one_hots(k).float(), one_hots(k).float()) == pytest.approx(-math.log(k), abs=1e-5)


def test_known_value_at_twenty_clusters() -> None:
    assert loss(one_hots(20), one_hots(20)) == pytest.approx(-2.9957, abs=5e-5)


def test_constant_and_uniform_outputs_give_zero() -> None:
    constant, uniform = one_hots(20)[[4] * 60], torch.full((60, 20), 1 / 20).double()
    tilted = torch.randn(20).double().softmax(-1).expand(60, -1)
    for p in (constant, uniform, tilted):
        assert loss(p, p) == pytest.approx(0, abs=1e-9)


def test_independent_views_give_zero_and_any_views_give_no_more() -> None:
    p, q = torch.randn(2, 5000, 4).double().softmax(-1)
    assert -1e-3 < loss(p, q) <= 0


def test_views_may_be_swapped_and_clusters_renumbered() -> None:
    p, q = torch.randn(2, 50, 7).double().softmax(-1)
    order = torch.randperm(7)
    assert loss(p, q) == pytest.approx(loss(q, p), abs=1e-12)
    assert loss(p, q) == pytest.approx(loss(p[:, order], q[:, order]), abs=1e-12)
    assert loss(p, q) != pytest.approx(loss(p, q[:, order]), abs=1e-6)


def test_joint_is_a_symmetric_distribution_whatever_the_scale() -> None:
    p, q = torch.rand(2, 50, 7)
    together = joint(p, q)
    assert torch.equal(together, together.T) and together.sum().item() == pytest.approx(1, abs=1e-6)
    assert torch.allclose(together, (p.T @ q + q.T @ p) / (2 * (p.T @ q).sum()))


def test_uniform_output_is_a_stationary_point() -> None:
    logits = torch.zeros(2, 40, 6, dtype=torch.float64, requires_grad=True)
    mutual_information_loss(joint(*logits.softmax(-1))).backward()
    assert logits.grad is not None and logits.grad.abs().max() < 1e-12


def test_symmetrising_asks_for_the_same_cluster_not_a_predictable_one() -> None:
    p = one_hots(20)
    cycled = p.roll(1, dims=1)  # q is a fixed permutation of p, one cycle through all twenty clusters
    unsymmetrised = p.T @ cycled / len(p)
    assert mutual_information_loss(unsymmetrised).item() == pytest.approx(-math.log(20), abs=1e-9)
    # Each row of the symmetrised joint holds 1/40 twice: ln 2 is lost, the neighbour before or after.
    assert loss(p, cycled) == pytest.approx(-math.log(20) + math.log(2), abs=1e-9)
    shuffled = p[:, torch.randperm(20)]
    assert -math.log(20) < loss(p, shuffled) <= -math.log(20) + math.log(2) + 1e-9


def test_lam_rewards_balance() -> None:
    assert loss(one_hots(20), one_hots(20), lam=1.5) == pytest.approx(-2 * math.log(20), abs=1e-9)  # (1 - 2·1.5) ln K
    skewed = one_hots(4)[[0, 0, 0, 0, 1, 1, 2, 3]]
    entropy = torch.special.entr(skewed.mean(0)).sum().item()
    assert loss(skewed, skewed, lam=1.5) == pytest.approx(-2 * entropy, abs=1e-9)


# --- flips -----------------------------------------------------------------------------------------------------------


def test_flip_is_undone_exactly_and_forgetting_it_changes_the_loss() -> None:
    images, flipped = torch.rand(6, 3, 8, 8), torch.tensor([True, False, True, True, False, False])
    weight = torch.randn(5, 3, 1, 1)

    def encode(x: Tensor) -> Tensor:  # pointwise, hence equivariant to flips
        return F.conv2d(x, 4 * weight).softmax(1)

    twin = torch.stack([x.flip(-1) if f else x for x, f in zip(images, flipped, strict=True)])
    p, q = encode(images), encode(twin)
    aligned = undo_flip(q, flipped)
    assert torch.equal(aligned, p)
    p_, q_, aligned_ = (x.movedim(1, -1).reshape(-1, 5) for x in (p, q, aligned))
    assert loss(p_, aligned_) < loss(p_, q_) - 0.01


# --- regions ---------------------------------------------------------------------------------------------------------


def test_pooling_equals_the_plain_loop() -> None:
    features, ids = torch.randn(3, 7, 4, 5), torch.randint(6, (3, 4, 5))
    regions, counts = pool_regions(features, ids, 9)
    assert regions.shape == (3, 9, 7) and counts.sum(1).eq(20).all()
    for b in range(3):
        for c in range(9):
            mine = ids[b] == c
            expected = features[b][:, mine].mean(1) if mine.any() else torch.zeros(7)
            assert torch.allclose(regions[b, c], expected, atol=1e-6) and counts[b, c] == mine.sum()


def test_one_cluster_pools_the_whole_image() -> None:
    features, logits = torch.randn(2, 7, 4, 4), torch.randn(2, 1, 4, 4)
    regions, _ = pool_regions(features, logits.argmax(1), 1)
    assert torch.allclose(regions[:, 0], features.mean((2, 3)), atol=1e-6)
    assert segment(logits, (32, 32)).eq(0).all()


def test_one_cluster_per_token_gives_per_token_naming() -> None:
    features, text = torch.randn(2, 7, 3, 3), torch.randn(5, 7)
    own = torch.eye(12)[:9].T.view(1, 12, 3, 3).expand(2, -1, -1, -1)  # twelve clusters, nine of them with one token
    regions, counts = pool_regions(features.flatten(2), own.argmax(1), 12)
    assert torch.allclose(regions[:, :9], features.flatten(2).mT) and counts[:, 9:].eq(0).all()
    names = name_regions(regions, text).argmax(-1)
    pred = names.gather(1, segment(own, (3, 3)).flatten(1)).view(2, 3, 3)
    dense = torch.einsum("bdhw,nd->bnhw", F.normalize(features, dim=1), F.normalize(text, dim=-1))
    assert torch.equal(pred, dense.argmax(1))


def test_soft_pooling_with_certain_weights_is_hard_pooling() -> None:
    features, ids = torch.randn(2, 7, 9), torch.randint(4, (2, 9))
    soft = pool_weighted(features, F.one_hot(ids, 4).mT.float())
    assert all(torch.allclose(a, b) for a, b in zip(soft, pool_regions(features, ids, 4), strict=True))
    uniform, counts = pool_weighted(features, torch.full((2, 4, 9), 0.25))
    assert torch.allclose(uniform, features.mean(-1)[:, None].expand(-1, 4, -1), atol=1e-6)
    assert torch.allclose(counts, torch.tensor(9 / 4))


def test_names_go_by_cosine_and_an_empty_region_scores_zero() -> None:
    regions = torch.tensor([[[3.0, 0, 0], [0, 0, 0], [1, 1, 0]]])
    scores = name_regions(regions, torch.tensor([[0.5, 0, 0], [0, 9.0, 0]]))
    assert torch.allclose(scores, torch.tensor([[[1.0, 0], [0, 0], [0.5**0.5, 0.5**0.5]]]))


def test_segment_is_upsampled_logits_with_absent_clusters_ruled_out() -> None:
    logits = torch.randn(4, 20, 6, 6)  # 20 clusters on 36 tokens: some win nowhere on the grid
    up = F.interpolate(logits, size=(50, 70), mode="bilinear", align_corners=False)
    for b, ids in enumerate(segment(logits, (50, 70))):
        present = logits[b].argmax(0).unique()
        assert torch.equal(ids, present[up[b, present].argmax(0)])


def test_segment_needs_ruling_out_clusters_that_win_only_between_tokens() -> None:
    logits = torch.tensor(
        [[[[4.0, 0]], [[0, 4.0]], [[3.0, 3.0]]]]
    )  # the third is second everywhere, best in the middle
    assert F.interpolate(logits, size=(1, 9), mode="bilinear").argmax(1).eq(2).any()
    assert segment(logits, (1, 9)).unique().tolist() == [0, 1]


def test_segment_at_token_resolution_is_the_argmax_also_in_half_precision() -> None:
    logits = torch.randn(2, 5, 7, 7).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(segment(logits, (7, 7)), logits.float().argmax(1))
