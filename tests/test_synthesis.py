"""Stage 2 of ZS3Net: what the generator and the classifier learn from, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import generative as made
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zsbench.data.dataset import IGNORED
from zsbench.nn.context import GraphSynthesis
from zsbench.nn.generator import PixelGenerator
from zsbench.nn.graph import GraphGenerator
from zsbench.nn.mmd import mmd
from zsbench.nn.segmentation import Crops, LabelledBatches
from zsbench.nn.synthesis import Mix, Synthesis, SynthesisBatches, at_grid, draw_per_class
from zsbench.sampling import Sampler
from zsbench.training import Recipe, train

S, N = len(made.SEEN), len(made.NAMES)


def learner(frozen: Any = None, **mix: Any) -> Synthesis:
    frozen = frozen or made.network()
    vectors = torch.from_numpy(made.vectors().rows(made.NAMES))
    torch.manual_seed(3)
    generator = PixelGenerator(vectors.shape[1], frozen.encoder.width, 16)
    return Synthesis(frozen, generator, vectors, S, Mix(**{"samples": 8, **mix}))


def batches(tmp_path: Path, layout: Any = "random-iid", **changes: Any) -> SynthesisBatches:
    data, size = made.view(sizes=((32, 32), (40, 24))), changes.pop("size", 32)
    assert data.labelled is not None
    job = made.job(tmp_path)
    labelled = LabelledBatches(data.labelled, Crops(size, (0.5, 1.5)), Sampler(len(data.labelled), 6, 0), job)
    return SynthesisBatches(labelled, layout, S, N, **{"background": None, "fakes": 40, "maps": data.layout} | changes)


# Places of every class


def test_only_places_of_the_own_class_are_drawn_and_all_classes_that_are_there() -> None:
    labels = torch.tensor([4, 0, IGNORED, 2, 2, 0, 5, 2, IGNORED])
    classes, chosen = draw_per_class(labels, 5, 64)
    assert classes.tolist() == [0, 2, 4] and chosen.shape == (3, 64)
    assert torch.equal(labels[chosen], classes[:, None].expand(-1, 64))
    assert [set(row.tolist()) for row in chosen] == [{1, 5}, {3, 4, 7}, {0}], "every place of a class has its turn"


@pytest.mark.parametrize("labels", [[], [IGNORED, IGNORED], [7, 6, IGNORED]])
def test_without_a_class_nothing_is_drawn(labels: list[int]) -> None:
    classes, chosen = draw_per_class(torch.tensor(labels, dtype=torch.long), 5, 16)
    assert classes.shape == (0,) and chosen.shape == (0, 16)


def test_places_are_drawn_evenly() -> None:
    labels = torch.tensor([1] * 10 + [0] * 4).repeat(2)
    _, chosen = draw_per_class(labels, 2, 20_000)
    for row, places in ((0, 8), (1, 20)):
        counts = torch.bincount(chosen[row], minlength=28).double()
        counts = counts[counts > 0]
        assert len(counts) == places
        spread = float(((counts - 20_000 / places) ** 2 / (20_000 / places)).sum())
        assert spread < places - 1 + 5 * (2 * (places - 1)) ** 0.5, "chi-square, five deviations above its mean"


def test_labels_come_to_the_grid_by_the_pixel_at_the_centre() -> None:
    labels = torch.arange(64).view(1, 8, 8)
    assert at_grid(labels, (2, 2)).tolist() == [[[18, 22], [50, 54]]]
    assert at_grid(labels, (8, 8)) is labels


# What a step learns from


def test_real_features_are_those_of_labelled_seen_pixels() -> None:
    net = made.network()
    step = learner(net)
    pictures = made.images(2)
    labels = torch.randint(0, S, (2, 32, 32))
    labels[0, :16] = IGNORED
    real, names = step.real({"images": pictures, "labels": labels})
    small, expected = at_grid(labels, (8, 8)), []
    with torch.no_grad():
        features = net.encoder(pictures)
    for b, y, x in (small != IGNORED).nonzero().tolist():
        expected.append((features[b, :, y, x], small[b, y, x]))
    assert torch.equal(real, torch.stack([f for f, _ in expected]))
    assert names.tolist() == [int(n) for _, n in expected] and 0 < len(names) < 128


def test_the_generators_loss_is_the_mean_mmd_of_the_classes() -> None:
    step = learner()
    step.generator.layers[2] = nn.Identity()  # no dropout
    step.generator.noise = "none"
    step.generator.forward = lambda vectors: step.generator.layers(torch.cat([vectors, vectors * 0], -1))  # type: ignore[method-assign]
    labels = torch.tensor([2, 0, 2, 0, 0, 2])
    real = torch.rand(6, 8)
    real[labels == 0] = real[1].clone()  # whichever is drawn, it is the same
    real[labels == 2] = real[0].clone()
    fake = step.generator(step.vectors_NA[[0, 2]])
    one_each = [mmd(fake[i][None].double(), real[j][None].double()) for i, j in ((0, 1), (1, 0))]
    torch.testing.assert_close(
        step.generator_loss(real, labels).double(), torch.stack(one_each).mean(), atol=1e-5, rtol=0
    )


def test_the_classifiers_loss_weighs_unseen_names() -> None:
    step = learner(unseen_weight=7.0)
    features, names = torch.randn(9, 8), torch.tensor([0, 1, 2, 3, 4, 4, 1, 0, 3])
    chances = (features @ step.classify.weight[..., 0, 0].T + step.classify.bias).double().softmax(1)
    weights = [7.0 if name >= S else 1.0 for name in names.tolist()]
    terms = [
        -w * chances[i, name].detach().log() for i, (name, w) in enumerate(zip(names.tolist(), weights, strict=True))
    ]
    expected = float(sum(terms) / sum(weights))
    assert float(step.classifier_loss(features, names).detach()) == pytest.approx(expected, abs=1e-5)
    assert Mix().unseen_weight == 100 and Mix().samples == 128


def reached(step: nn.Module, loss: Tensor) -> set[str]:
    """The parts of a learner that a loss moves."""
    step.zero_grad()
    loss.backward()
    found = {name.split(".")[0] for name, p in step.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert all(p.grad is None for p in step.frozen.parameters())  # type: ignore[union-attr]
    return found


def test_each_loss_moves_its_own_part_alone(tmp_path: Path) -> None:
    step = learner().train()
    batch = batches(tmp_path)(0, slice(0, 6))
    real, labels = step.real(batch)
    fake, names = step.fakes(batch["layout"])
    assert not fake.requires_grad and not real.requires_grad
    assert reached(step, step.generator_loss(real, labels)) == {"generator"}
    ce = step.classifier_loss(torch.cat([real, fake]), torch.cat([labels, names]))
    assert reached(step, ce) == {"classify"}
    out = step(batch)
    assert reached(step, out["loss"]) == {"generator", "classify"}
    torch.testing.assert_close(out["loss"], out["mmd"] + out["cross_entropy"])


def test_fakes_carry_the_names_of_the_layout_and_are_generated_from_their_vectors() -> None:
    step = learner()
    step.generator.forward = lambda vectors: vectors[..., :1].repeat(1, 8)  # type: ignore[method-assign]
    layout = torch.tensor([[[3, IGNORED], [4, 0]]])
    features, names = step.fakes(layout)
    assert names.tolist() == [3, 4, 0]
    assert torch.equal(features[:, 0], step.vectors_NA[[3, 4, 0], 0])


@pytest.mark.parametrize("nothing", ["labels", "layout", "both"])
def test_a_batch_without_labels_or_layout_is_finite(tmp_path: Path, nothing: str) -> None:
    step, batch = learner().train(), batches(tmp_path)(0, slice(0, 6))
    for name in ("labels", "layout"):
        if nothing in (name, "both"):
            batch[name] = torch.full_like(batch[name], IGNORED)
    out = step(batch)
    out["loss"].backward()
    assert bool(torch.isfinite(out["loss"]))
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in step.parameters()), "DDP waits for each"
    assert (out["mmd"] == 0) == (nothing != "layout") and (out["cross_entropy"] == 0) == (nothing == "both")


def test_the_network_below_stays_as_it_was_bit_for_bit(tmp_path: Path) -> None:
    """Its batch statistics too, although the learner is in training mode all the time."""
    net = made.network()
    before, step = made.state(net), learner(net)
    own = made.state(step)
    train(step, batches(tmp_path), Recipe(5, 6, 0.05), made.job(tmp_path))
    assert not made.moved(before, made.state(net))
    assert {name.split(".")[0] for name in made.moved(own, made.state(step))} == {"generator", "classify"}
    assert all(name.split(".")[0] in ("generator", "classify") for name in own), "the checkpoint holds nothing else"
    trained = step.network()
    for name, value in trained.encoder.state_dict().items():
        assert torch.equal(value, before[f"encoder.{name}"]), name
    assert trained.classify is step.classify and trained.classify.out_channels == N


def test_features_do_not_hang_on_the_learners_mode(tmp_path: Path) -> None:
    net, pictures = made.network(), made.images()
    step = learner(net)
    with torch.no_grad():
        expected = net(pictures)
    for mode in (True, False):
        step.train(mode)
        with torch.no_grad():
            assert torch.equal(net.classify(step.features(pictures)), expected)


# Layouts


def test_random_layouts_hold_unseen_names_alone(tmp_path: Path) -> None:
    layouts = [batches(tmp_path, fakes=500)(number, slice(0, 6))["layout"] for number in range(2)]
    assert layouts[0].shape == (500,) and set(layouts[0].tolist()) == {3, 4}
    assert 0.4 < (layouts[0] == 3).float().mean() < 0.6 and not torch.equal(*layouts)


def test_published_layouts_are_masks_that_show_an_unseen_class(tmp_path: Path) -> None:
    """One small picture per mask, so that whole masks are cropped and can be told apart."""
    make = batches(tmp_path, "gt-masks", size=16)
    maps = [np.full((16, 16), name, np.uint8) for name in (0, 1, 2, 3)] + [np.full((16, 16), IGNORED, np.uint8)]
    maps[1][:, 8:] = 4
    make = replace(make, maps=made.items(maps), labelled=replace(make.labelled, crops=Crops(16)))
    seen_kinds = set()
    for number in range(5):
        layout = make(number, slice(0, 6))["layout"]
        assert layout.shape == (6, 4, 4)
        for one in layout:
            names = set(one.unique().tolist())
            assert names in ({1, 4}, {3}, {IGNORED})
            seen_kinds.add(frozenset(names))
    assert len(seen_kinds) == 3


def test_published_layouts_need_the_door() -> None:
    plain, published = (made.built("zs3net", layout=layout).supervision for layout in ("random-iid", "gt-masks"))
    assert (plain.layout, published.layout) == ("none", "unseen")
    relabelled = made.built("zs3net", layout="seen-relabelled").supervision
    assert relabelled.layout == "none", "it is made of seen masks alone"


def test_relabelled_layouts_rename_each_picture_anew_and_leave_background(tmp_path: Path) -> None:
    make = batches(tmp_path, "seen-relabelled", background=1)
    found: dict[tuple[int, int], set[int]] = {}
    for number in range(6):
        batch = make(number, slice(0, 6))
        small = at_grid(batch["labels"], (8, 8))
        assert batch["layout"].shape == (6, 8, 8)
        assert torch.equal(batch["layout"] == IGNORED, small == IGNORED)
        assert torch.equal(batch["layout"] == 1, small == 1)
        for row in range(6):
            for name in (0, 2):
                given = batch["layout"][row][small[row] == name].unique().tolist()
                assert len(given) <= 1 and set(given) <= {3, 4}, "one new name per class and picture"
                found.setdefault((number, name), set()).update(given)
    assert {3, 4} in found.values(), "pictures of one batch differ"


@pytest.mark.parametrize("layout", ["random-iid", "gt-masks", "seen-relabelled"])
def test_a_batch_is_a_function_of_its_number(tmp_path: Path, layout: Any) -> None:
    make = batches(tmp_path, layout)
    first = make(4, slice(0, 6))
    np.random.seed(7)  # noqa: NPY002  (the global state must not matter)
    torch.manual_seed(7)
    make(5, slice(0, 6))
    again = make(4, slice(0, 6))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["layout"], make(5, slice(0, 6))["layout"])


@pytest.mark.parametrize("names", [("images", "labels"), ("layout",)])
def test_two_ranks_rows_are_one_processes_rows(tmp_path: Path, names: tuple[str, ...]) -> None:
    make = batches(tmp_path, "gt-masks")
    whole, lower, upper = (make(3, rows) for rows in (slice(0, 6), slice(0, 3), slice(3, 6)))
    for name in names:
        assert torch.equal(whole[name], torch.cat([lower[name], upper[name]])), name


def test_ranks_generate_different_names(tmp_path: Path) -> None:
    make = batches(tmp_path)
    assert not torch.equal(make(3, slice(0, 3))["layout"], make(3, slice(3, 6))["layout"])


# Patches


def graph(**mix: Any) -> GraphSynthesis:
    frozen, vectors = made.network(), torch.from_numpy(made.vectors().rows(made.NAMES))
    torch.manual_seed(3)
    return GraphSynthesis(frozen, GraphGenerator(vectors.shape[1], 8, 16), vectors, S, Mix(**{"samples": 8, **mix}))


def test_patches_move_the_same_parts_and_no_other(tmp_path: Path) -> None:
    step, batch = graph().train(), batches(tmp_path, "seen-relabelled")(0, slice(0, 6))
    frozen, own = made.state(step.frozen), made.state(step)
    out = step(batch)
    torch.testing.assert_close(out["loss"], out["mmd"] + out["cross_entropy"] + 0.1 * out["patches"])
    assert reached(step, step(batch)["mmd"]) == {"generator"}
    assert reached(step, step(batch)["cross_entropy"]) == reached(step, step(batch)["patches"]) == {"classify"}
    train(step, batches(tmp_path, "seen-relabelled"), Recipe(3, 6, 0.05), made.job(tmp_path))
    assert not made.moved(frozen, made.state(step.frozen))
    assert {name.split(".")[0] for name in made.moved(own, made.state(step))} == {"generator", "classify"}


def test_every_place_of_a_patch_has_the_patchs_feature_and_name() -> None:
    step, given = graph().eval(), {}
    step.classifier_loss = lambda features, names: given.setdefault(len(given), (features, names))[0].sum()  # type: ignore[method-assign]
    labels = torch.full((1, 32, 32), IGNORED)
    layout = torch.tensor([[[3, 3, 4, 3], [3, IGNORED, 4, 3]]])
    step({"images": made.images(1), "labels": labels, "layout": layout})
    (features, names), (nodes, of_nodes) = given.values()
    assert names.tolist() == [3, 3, 4, 3, 3, 4, 3] and of_nodes.tolist() == [3, 4, 3]
    assert torch.equal(features, nodes[[0, 0, 1, 2, 0, 1, 2]])
    assert not torch.equal(nodes[0], nodes[2]), "two patches of one name have noise of their own"


def test_the_generator_of_patches_meets_the_mean_feature_of_real_ones() -> None:
    step, pictures = graph().eval(), made.images(1)
    labels = torch.zeros(1, 32, 32, dtype=torch.long)
    labels[:, :, 16:], labels[:, 16:] = 1, IGNORED
    with torch.no_grad():
        features = step.frozen.encoder(pictures)[0]
        expected = torch.stack([features[:, :4, :4].mean((1, 2)), features[:, :4, 4:].mean((1, 2))])
        seen = []
        step.patch_distance = lambda found, real: seen.append((found.labels_N, real)) or step.nothing()  # type: ignore[method-assign,func-returns-value]
        step({"images": pictures, "labels": labels, "layout": torch.tensor([[[3, 4]]])})
    ((names, real),) = seen
    assert names.tolist() == [0, 1]
    torch.testing.assert_close(real, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nothing", ["labels", "layout", "both"])
def test_without_patches_the_loss_is_finite(tmp_path: Path, nothing: str) -> None:
    step, batch = graph().train(), batches(tmp_path, "gt-masks")(0, slice(0, 6))
    for name in ("labels", "layout"):
        if nothing in (name, "both"):
            batch[name] = torch.full_like(batch[name], IGNORED)
    out = step(batch)
    out["loss"].backward()
    assert bool(torch.isfinite(out["loss"]))
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in step.parameters())


# Learning


@pytest.mark.parametrize("noise", ["uniform", "normal"])
@pytest.mark.parametrize("hidden", [0, 16])
def test_a_generator_has_the_published_shape(noise: Any, hidden: int) -> None:
    generator = PixelGenerator(5, 7, hidden, noise)
    linear = [layer for layer in generator.layers if isinstance(layer, nn.Linear)]
    assert [(one.in_features, one.out_features) for one in linear] == ([(10, 16), (16, 7)] if hidden else [(10, 7)])
    assert all((one.bias == 0.01).all() for one in linear)
    assert generator(torch.rand(2, 3, 5)).shape == (2, 3, 7)
    generator.eval()
    same = generator(torch.ones(400, 5))
    assert same.std(0).min() > 0.01 and (same < 0).any(), "each pixel has its own noise, and there is no last ReLU"
    generator.layers = nn.Identity()  # type: ignore[assignment]
    joined = generator(torch.full((1000, 5), 2.0))
    assert (joined[:, :5] == 2).all(), "first the vector, then the noise"
    drawn = joined[:, 5:]
    assert (drawn.min() < -1) == (noise == "normal") and (drawn.min() >= 0 and drawn.max() < 1) == (noise == "uniform")


def test_a_generator_interpolates_to_a_code_it_never_saw() -> None:
    """Facts 2.10: 2-D Gaussians whose mean walks along a line with a 1-D code; the code 0.5 is left out."""
    torch.manual_seed(0)
    generator = PixelGenerator(2, 2, 32)
    codes = torch.tensor([0.0, 0.25, 0.75, 1.0])
    vectors = torch.stack([codes, torch.ones(4)], 1)
    start, way = torch.tensor([-2.0, 1.0]), torch.tensor([4.0, -3.0])
    optimiser = torch.optim.Adam(generator.parameters(), 5e-3)
    for _ in range(400):
        real = start + codes[:, None, None] * way + 0.3 * torch.randn(4, 64, 2)
        fake = generator(vectors[:, None].expand(-1, 64, -1))
        optimiser.zero_grad()
        mmd(fake, real).mean().backward()
        optimiser.step()
    generator.eval()
    with torch.no_grad():
        middle = generator(torch.tensor([0.5, 1.0]).expand(4000, -1)).mean(0)
        ends = [generator(torch.tensor([code, 1.0]).expand(4000, -1)).mean(0) for code in (0.0, 1.0)]
    torch.testing.assert_close(middle, start + 0.5 * way, atol=0.35, rtol=0)
    assert (ends[0] - start).norm() < 0.8 and (ends[1] - start - way).norm() < 0.8


def test_the_weight_of_unseen_names_is_what_makes_them_win(tmp_path: Path) -> None:
    """Facts 2.10: 1 against 100, all else equal, on a network whose features know all five colours."""

    def share(weight: float) -> float:
        step = learner(made.network(), unseen_weight=weight)
        train(step, batches(tmp_path, fakes=8), Recipe(30, 6, 0.01), made.job(tmp_path / str(weight)))
        with torch.no_grad():
            return float((step.network()(made.images(12)).argmax(1) >= S).float().mean())

    assert share(100.0) > share(1.0) + 0.2
