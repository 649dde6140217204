"""Recursive ZS-MMD: which pixels are chosen and weighed, what is kept of them, and what a round trains on them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import generative as made
import numpy as np
import pytest
import torch
from torch import Tensor

from zsbench.data.dataset import IGNORED
from zsbench.data.view import Items
from zsbench.nn import choosing
from zsbench.nn.choosing import Chosen, Pool, Rule, choose, rule_applied
from zsbench.nn.deeplab import SegmentationNet
from zsbench.nn.generator import PixelGenerator
from zsbench.nn.mmd import mmd
from zsbench.nn.recursion import Recursion
from zsbench.nn.synthesis import Mix, Synthesis
from zsbench.training import Recipe, train

S, U = len(made.SEEN), len(made.UNSEEN)
ALL = Rule(tau=0.0, least=1, reject=0.0)
SIZES = ((32, 32), (24, 40), (40, 32))


def pool(which: str = "unlabelled", count: int = 10, short_side: int = 0) -> Pool:
    data = made.view(count, SIZES)
    opened = getattr(data, which)
    assert data.labelled is not None
    return Pool(opened, data.labelled, S, short_side)


def teacher(seed: int = 0) -> SegmentationNet:
    """A network that calls some pixels of every class."""
    net = made.network(S + U, seed)
    with torch.no_grad():
        net.classify.weight.normal_(0, 2, generator=torch.Generator().manual_seed(seed))
        net.classify.bias.zero_()
        net.classify.bias[S:] += 1
    return net


def one_by_one(net: SegmentationNet, images: Items) -> tuple[list[Tensor], list[Tensor]]:
    """Features (D, h, w) and probabilities (N, h, w) of every pool picture, looked at alone."""
    features, chances = [], []
    for item in images.fetch(range(len(images))):
        image = item[0] if isinstance(item, tuple) else item
        with torch.no_grad():
            f = net.encoder(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
            features.append(f[0])
            chances.append(net.classify(f)[0].softmax(0))
    return features, chances


def chosen_by(rule: Rule, tmp_path: Path, which: str = "unlabelled", net: SegmentationNet | None = None) -> Chosen:
    file = tmp_path / f"{which}-{abs(hash(rule))}.safetensors"
    return choose(file, net or teacher(), pool(which), rule, made.job(tmp_path))


# The rule


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "rule", [Rule(tau=0.3), Rule(tau=0.9), Rule(select="topk", share=0.3), Rule(select="topk", share=1.0)], ids=str
)
def test_the_rule_chooses_what_a_plain_count_chooses(rule: Rule, seed: int) -> None:
    random = np.random.default_rng(seed)
    names = random.choice([0, 1, 2, 3, IGNORED], 97).astype(np.uint8)
    sure = random.permutation(97)[:, None] / np.array([[97, 200]], np.float32)
    kept, _ = rule_applied(rule, names, sure.astype(np.float32), 5)
    for name in range(5):
        own = [i for i in range(97) if names[i] == name]
        if rule.select == "threshold":
            expected = {i for i in own if np.float32(sure[i, 0]) >= rule.tau}
        else:
            ranked = sorted(own, key=lambda i: -sure[i, 0])
            expected = set(ranked[: -int(-len(own) * rule.share // 1)])
        assert {i for i in own if kept[i]} == expected
    assert not kept[names == IGNORED].any() and kept.sum() > 0


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
@pytest.mark.parametrize(("weight", "expected"), [("confidence", 0.8), ("margin", 0.5), ("uniform", 1.0)])
def test_weights_are_probability_lead_or_one_to_a_power(weight: Any, expected: float, power: float) -> None:
    rule = Rule(weight=weight, power=power)
    _, weights = rule_applied(rule, np.array([0], np.uint8), np.array([[0.8, 0.5]], np.float32), 2)
    assert weights.dtype == np.float32 and weights[0] == pytest.approx(expected**power, rel=1e-6)


def test_a_tie_of_two_names_keeps_a_weight_above_zero() -> None:
    """Weights that sum to 0 would make the loss nan."""
    _, weights = rule_applied(Rule(weight="margin"), np.array([0], np.uint8), np.array([[0.5, 0.0]], np.float32), 2)
    assert weights[0] > 0


def test_less_tau_never_loses_a_pixel(tmp_path: Path) -> None:
    before = np.zeros(0, bool)
    counts = []
    for tau in (1.1, 0.9, 0.7, 0.5, 0.3, 0.0):
        kept = (chosen_by(replace(ALL, tau=tau), tmp_path).maps_P != IGNORED).numpy()
        assert not len(before) or (kept | ~before).all()
        before, counts = kept, [*counts, int(kept.sum())]
    assert counts[0] == 0 < counts[-1] and len(set(counts)) > 3


# Choosing in a pool


@pytest.mark.parametrize("which", ["unlabelled", "labelled"])
def test_pixels_features_and_weights_are_those_of_each_picture_alone(tmp_path: Path, which: str) -> None:
    net, rule = teacher(), replace(ALL, tau=0.4, weight="margin", power=2.0)
    chosen, images = chosen_by(rule, tmp_path, which, net), getattr(made.view(10, SIZES), which)
    features, chances = one_by_one(net, images)
    assert chosen.shapes.tolist() == [list(one.shape[1:]) for one in chances] and len(set(map(str, chosen.shapes))) == 3
    bank, names, weights, maps = [], [], [], chosen.selection("x").maps
    for place, (f, p) in enumerate(zip(features, chances, strict=True)):
        for y, x in itertools.product(*map(range, f.shape[1:])):
            best, second = p[:, y, x].topk(2).values.tolist()
            name = int(p[:, y, x].argmax())
            told = which == "unlabelled" or images.fetch([place])[0][1][4 * y + 2, 4 * x + 2] < S
            taken = name >= S and best >= 0.4 and told
            assert maps[place][y, x] == (name - S if taken else IGNORED)
            if taken:
                bank, names = [*bank, f[:, y, x]], [*names, name - S]
                weights.append((best - second) ** 2)
    assert chosen.names_K.tolist() == names and set(names) == {0, 1}
    torch.testing.assert_close(chosen.bank_KD, torch.stack(bank), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(chosen.weights_K, torch.tensor(weights), rtol=1e-3, atol=1e-6)


def test_features_of_one_picture_are_not_mixed_up_with_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the chunks, the same is chosen: also where a chunk holds one picture, or all."""
    whole = chosen_by(ALL, tmp_path)
    for number, chunk in enumerate((1, 3, 7)):
        monkeypatch.setattr(choosing, "CHUNK", chunk)
        (tmp_path / str(number)).mkdir()
        other = chosen_by(ALL, tmp_path / str(number))
        for field, value in vars(whole).items():
            torch.testing.assert_close(value, getattr(other, field), rtol=1e-5, atol=1e-6)
            assert field == "bank_KD" or field == "weights_K" or torch.equal(value, getattr(other, field))


def test_an_inductive_pool_gives_only_pixels_with_a_seen_label(tmp_path: Path) -> None:
    chosen = chosen_by(ALL, tmp_path, "labelled")
    data, taken, left = made.view(10, SIZES), 0, 0
    assert data.labelled is not None
    for map_hw, (_, labels) in zip(chosen.selection("labelled").maps, data.labelled.fetch(range(10)), strict=True):
        small = labels[2::4, 2::4]
        assert (small[map_hw != IGNORED] < S).all()
        taken, left = taken + int((map_hw != IGNORED).sum()), left + int((small == IGNORED).sum())
    assert taken > 20 and left > 20
    free = chosen_by(ALL, tmp_path, "unlabelled")
    assert (free.maps_P != IGNORED).sum() > taken


def test_the_pool_is_looked_at_in_the_size_it_is_told(tmp_path: Path) -> None:
    small = choose(tmp_path / "x.safetensors", teacher(), pool(short_side=16), ALL, made.job(tmp_path))
    assert small.shapes.tolist() == [[4, 4], [4, 7], [5, 4], *[[4, 4], [4, 7], [5, 4]] * 2, [4, 4]]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_weak_features_are_rejected_below_the_quantile_of_labelled_seen_pixels(tmp_path: Path, share: float) -> None:
    net, given = teacher(), pool()
    features, _ = one_by_one(net, given.labelled)
    lengths = [
        f.norm(dim=0)[torch.from_numpy(labels[2::4, 2::4]) < S]
        for f, (_, labels) in zip(features, given.labelled.fetch(range(10)), strict=True)
    ]
    floor = np.quantile(torch.cat(lengths).numpy(), share)
    plain, rejected = (chosen_by(replace(ALL, reject=r), tmp_path, net=net).maps_P for r in (0.0, share))
    strong = torch.cat([f.norm(dim=0).flatten() for f in one_by_one(net, given.items)[0]]) >= float(floor)
    assert torch.equal(rejected, torch.where(strong, plain, IGNORED))
    assert 0 < (rejected != IGNORED).sum() < (plain != IGNORED).sum()


# The bank


def test_a_bank_holds_so_many_of_each_class_and_none_of_a_starved_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = chosen_by(ALL, tmp_path)
    counts = torch.bincount(every.names_K, minlength=U)
    fewer, more = int(counts.argmin()), int(counts.argmax())
    assert counts[fewer] > 12 and counts[fewer] < counts[more]
    monkeypatch.setattr(choosing, "BANK", 12)
    cut = chosen_by(replace(ALL, least=2), tmp_path)
    assert torch.bincount(cut.names_K).tolist() == [12, 12] and not cut.starved_U.any()
    assert torch.equal(cut.maps_P, every.maps_P), "what the harness counts is what was chosen, not the sample"
    starved = chosen_by(replace(ALL, least=int(counts[fewer]) + 1), tmp_path)
    assert starved.starved_U.nonzero().flatten().tolist() == [fewer]
    assert set(starved.names_K.tolist()) == {more} and len(starved.bank_KD) == len(starved.weights_K) == 12
    assert chosen_by(replace(ALL, least=int(counts[more]) + 1), tmp_path).empty
    exactly = chosen_by(replace(ALL, least=int(counts[fewer])), tmp_path)
    assert not exactly.starved_U.any()


def test_the_bank_is_a_fair_sample_that_hangs_on_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "BANK", 12)
    banks = []
    for seed in (0, 0, 1):
        place = tmp_path / str(len(banks))
        job = made.job(place, seed)
        banks.append(choose(place / "x.safetensors", teacher(), pool(), ALL, job).bank_KD)
    assert torch.equal(banks[0], banks[1]) and not torch.equal(banks[0], banks[2])


def test_what_is_chosen_is_read_again_without_a_look_at_the_pool(tmp_path: Path) -> None:
    file, job = tmp_path / "chosen-1.safetensors", made.job(tmp_path)
    first = choose(file, teacher(), pool(), ALL, job)
    closed = Items(10, lambda places: pytest.fail("looked at the pool again"))
    again = choose(file, teacher(9), Pool(closed, closed, S, 0), Rule(), job)
    assert all(torch.equal(value, getattr(again, name)) for name, value in vars(first).items())
    assert not list(tmp_path.glob("*.part"))


def test_nothing_chosen_is_kept_and_read_too(tmp_path: Path) -> None:
    for _ in range(2):
        chosen = choose(tmp_path / "x.safetensors", teacher(), pool(), replace(ALL, tau=1.1), made.job(tmp_path))
        assert chosen.empty and chosen.bank_KD.shape == (0, 8) and chosen.starved_U.all()
        assert all((one == IGNORED).all() for one in chosen.selection("unlabelled").maps)


def test_a_selection_is_what_the_harness_counts(tmp_path: Path) -> None:
    selection = chosen_by(ALL, tmp_path).selection("unlabelled")
    assert selection.door == "unlabelled" and list(selection.positions) == list(range(10))
    assert [one.shape for one in selection.maps[:3]] == [(8, 8), (6, 10), (10, 8)]
    assert all(one.dtype == np.uint8 for one in selection.maps)


# A round


def parts(tmp_path: Path, starved: tuple[int, ...] = (), **given: Any) -> tuple[Synthesis, Recursion]:
    """Round 0 and round 1. The first has been trained no step; the bank holds 20 features of every fed class."""
    frozen = made.network()
    vectors = torch.from_numpy(made.vectors().rows(made.NAMES))
    torch.manual_seed(3)
    first = Synthesis(frozen, PixelGenerator(vectors.shape[1], 8, 16), vectors, S, Mix(16)).eval()
    names = torch.tensor([u for u in range(U) if u not in starved], dtype=torch.long).repeat_interleave(20)
    bank = torch.rand(len(names), 8) + names[:, None]
    starved_U = torch.tensor([u in starved for u in range(U)])
    chosen = Chosen(torch.zeros(1), torch.zeros(1, 2), bank, names, torch.rand(len(names)) + 0.1, starved_U)
    settings = {"zs_weight": 1.0, "fresh": False, "joint": False, **given}
    return first, Recursion(first, first, chosen, settings.pop("zs_weight"), **settings)


def batch(joint: bool = False) -> dict[str, Tensor]:
    labels = torch.randint(0, S, (4, 32, 32), generator=torch.Generator().manual_seed(0))
    more = {"pool": made.images(4), "pool_names": labels % U} if joint else {}
    return {"images": made.images(4), "labels": labels, "layout": torch.tensor([3, 4] * 10)} | more


def test_a_round_starts_from_the_round_before(tmp_path: Path) -> None:
    first, recursion_ = parts(tmp_path)
    assert not made.moved(made.state(first), made.state(recursion_))
    assert recursion_.generator is not first.generator and recursion_.classify is not first.classify
    fresh = parts(tmp_path, fresh=True)[1]
    assert {n.split(".")[0] for n in made.moved(made.state(first), made.state(fresh))} == {"classify"}


def test_the_zs_loss_is_the_weighted_mmd_to_the_bank(tmp_path: Path) -> None:
    """Every draw is the same where all features of a class are alike and the generator knows no noise."""
    _, step = parts(tmp_path)
    step.generator.forward = lambda vectors: vectors[..., :1].repeat(*[1] * (vectors.ndim - 1), 8)  # type: ignore[method-assign]
    step.bank_KD = step.names_K[:, None].float().repeat(1, 8) + 0.5
    fake = step.vectors_NA[S:, :1].repeat(1, 8)
    each = [mmd(fake[u][None].double(), step.bank_KD[20 * u][None].double()) for u in range(U)]
    torch.testing.assert_close(step.zs_loss().double(), torch.stack(each).mean(), atol=1e-5, rtol=0)


def test_weights_of_the_bank_count(tmp_path: Path) -> None:
    """A feature of next to no weight is as good as not there."""
    _, step = parts(tmp_path)
    far = torch.rand(40) < 0.5
    step.bank_KD = torch.where(far[:, None], 30.0, step.bank_KD)
    step.mix = Mix(400)

    def loss(weights: Tensor) -> float:
        step.weights_K = weights
        torch.manual_seed(0)
        return float(step.zs_loss().detach())

    near_only, alike = loss(torch.where(far, 1e-6, 1.0)), loss(torch.ones(40))
    step.bank_KD, step.names_K = step.bank_KD[~far], step.names_K[~far]
    assert near_only == pytest.approx(loss(torch.ones(len(step.names_K))), rel=0.1) and alike > 1.1 * near_only


def test_the_zs_loss_moves_the_generator_alone(tmp_path: Path) -> None:
    _, step = parts(tmp_path)
    step.zs_loss().backward()
    assert {n.split(".")[0] for n, p in step.named_parameters() if p.grad is not None} == {"generator"}
    assert all(p.grad.abs().sum() > 0 for p in step.generator.parameters() if p.grad is not None)


def test_the_loss_of_a_round_is_that_of_stage_2_and_the_zs_loss(tmp_path: Path) -> None:
    for weight in (0.0, 0.5, 2.0):
        out = parts(tmp_path, zs_weight=weight)[1](batch())
        torch.testing.assert_close(out["loss"], out["mmd"] + out["cross_entropy"] + weight * out["zs_mmd"])
        assert "pull" not in out and out["zs_mmd"] > 0


def test_a_round_trains_generator_and_classifier_and_touches_nothing_below_or_before(tmp_path: Path) -> None:
    first, step = parts(tmp_path, starved=(0,))
    frozen, before, own = made.state(first.frozen), made.state(first), made.state(step)
    train(step, lambda number, rows: batch(), Recipe(3, 4, 0.01), made.job(tmp_path))
    assert {name.split(".")[0] for name in made.moved(own, made.state(step))} == {"generator", "classify"}
    assert not made.moved(frozen, made.state(first.frozen)) and not made.moved(before, made.state(first))
    assert not any(p.requires_grad for p in first.frozen.parameters())


def test_a_starved_class_speaks_through_the_generator_of_round_0(tmp_path: Path) -> None:
    first, step = parts(tmp_path, starved=(1,))
    with torch.no_grad():
        for p in step.generator.parameters():
            p.add_(0.3)
    step.eval()
    names = torch.tensor([3, 4, 0, 4, 3])

    def fakes(learner: Synthesis, twice: bool) -> Tensor:
        torch.manual_seed(1)
        if twice:  # the round's own generator is asked before
            step.generator(step.vectors_NA[names])
        return learner.generate(names).detach()

    own, old = fakes(step, False), fakes(first, True)
    assert torch.equal(own[[1, 3]], old[[1, 3]]), "starved: class 4"
    torch.manual_seed(1)
    assert torch.equal(own[[0, 2, 4]], step.generator(step.vectors_NA[names]).detach()[[0, 2, 4]])
    fed = parts(tmp_path)[1].eval()
    assert not fed.starved_N.any() and torch.equal(fakes(fed, False), fakes(first, False))


def test_fakes_of_a_starved_class_are_spread_as_in_round_0(tmp_path: Path) -> None:
    """The classifier of round 0 learned from fakes with dropout; those of a fed class have it in later rounds, too."""
    first, step = parts(tmp_path, starved=(1,))

    def spread(learner: Synthesis) -> float:
        return float(learner.generate(torch.full((4000,), 4)).detach().std(0).mean())

    in_round_0 = spread(first.train())
    first.eval()  # as `fit` hands it on
    assert spread(step.train()) == pytest.approx(in_round_0, rel=0.05)


def test_without_any_feature_the_zs_loss_is_zero(tmp_path: Path) -> None:
    _, step = parts(tmp_path, starved=(0, 1))
    loss = step.zs_loss()
    loss.backward()
    assert loss.item() == 0 and all(p.grad is not None for p in step.generator.parameters())


# Joint


def test_the_pull_moves_the_encoders_last_block_alone(tmp_path: Path) -> None:
    _, step = parts(tmp_path, joint=True)
    made_ = batch(joint=True)
    step.pull(made_["pool"], made_["pool_names"]).backward()
    assert {n.split(".")[0] for n, p in step.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0} == {
        "last"
    }
    assert all(p.grad is None for p in step.frozen.parameters())


def test_a_joint_round_moves_the_last_block_and_leaves_round_0_its_own(tmp_path: Path) -> None:
    first, step = parts(tmp_path, joint=True)
    frozen, own, pictures = made.state(first.frozen), made.state(step), made.images()
    with torch.no_grad():
        scores = first.network().eval()(pictures)
    train(step, lambda number, rows: batch(joint=True), Recipe(3, 4, 0.01), made.job(tmp_path))
    step.eval()
    assert {n.split(".")[0] for n in made.moved(own, made.state(step))} == {"generator", "classify", "last"}
    assert not made.moved(frozen, made.state(first.frozen))
    with torch.no_grad():
        assert torch.equal(first.network().eval()(pictures), scores)
        trained = step.network().eval()
        assert torch.equal(trained.encoder(pictures), step.features(pictures))
        assert torch.equal(first.network().eval()(pictures), scores) and not made.moved(
            frozen, made.state(first.frozen)
        )
    changed = {n for n, v in trained.encoder.state_dict().items() if not torch.equal(v, frozen[f"encoder.{n}"])}
    assert changed and all(name.startswith("last.") for name in changed)


def test_the_next_joint_round_goes_on_from_the_moved_block(tmp_path: Path) -> None:
    first, step = parts(tmp_path, joint=True)
    with torch.no_grad():
        for p in step.last.parameters():
            p.add_(0.1)
    chosen = Chosen(
        torch.zeros(1), torch.zeros(1, 2), step.bank_KD, step.names_K, step.weights_K, torch.zeros(U).bool()
    )
    after = Recursion(first, step, chosen, 1.0, fresh=False, joint=True)
    assert not made.moved(made.state(step.last), made.state(after.last)) and after.last is not step.last


def test_a_joint_round_without_chosen_pixels_on_a_crop_is_finite(tmp_path: Path) -> None:
    _, step = parts(tmp_path, joint=True)
    made_ = batch(joint=True)
    loss = step.pull(made_["pool"], torch.full_like(made_["pool_names"], IGNORED))
    loss.backward()
    assert loss.item() == 0 and all(p.grad is not None for p in step.last.parameters())


def test_starved_classes_are_no_part_of_what_a_round_was_made_from() -> None:
    """Neither in the harness's count nor in the maps that `joint` pulls pixels by."""
    maps = torch.tensor([0, 1, 255, 1, 0, 255], dtype=torch.uint8)
    bank = (torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), torch.ones(2))
    chosen = Chosen(maps, torch.tensor([[1, 2], [2, 2]]), *bank, torch.tensor([False, True]))
    shown = chosen.selection("unlabelled").maps
    assert [one.tolist() for one in shown] == [[[0, 255]], [[255, 255], [0, 255]]]
