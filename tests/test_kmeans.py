"""k-means at its known values and against scikit-learn, and the method in all its modes on a few drawn scenes."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as Rival
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from zsbench import contract
from zsbench.config import configure
from zsbench.data.view import Items
from zsbench.errors import UserError
from zsbench.method import Job, load_method
from zsbench.nn import kmeans as module
from zsbench.nn.attention import Attention
from zsbench.nn.dataset_kmeans import Sampled, fitted_centres
from zsbench.nn.kmeans import Clusters, kmeans, lloyd, squared_distances, uniforms
from zsbench.split import load_split
from zsbench.trial import Trial

NAMES = load_split("voc5").names
BOTH = pytest.mark.parametrize("spherical", [True, False])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def start(problems: int, k: int, restarts: int = 3) -> Tensor:
    return torch.rand(problems, restarts, k, generator=torch.Generator().manual_seed(7))


def blobs(problems: int = 3, groups: int = 6, each: int = 20, width: int = 16) -> tuple[Tensor, Tensor]:
    """Well-separated Gaussians in directions of their own, shuffled; tokens and their true groups."""
    middles = 10 * torch.linalg.qr(torch.randn(problems, width, width)).Q[:, :groups]
    order = torch.stack([torch.randperm(groups * each) for _ in range(problems)])
    truth = order % groups
    return middles.gather(1, truth[..., None].expand(-1, -1, width)) + 0.3 * torch.randn(*truth.shape, width), truth


def assert_same(one: Clusters, other: Clusters) -> None:
    assert torch.equal(one.assignment_Bn, other.assignment_Bn)
    torch.testing.assert_close(one.inertia_B, other.inertia_B, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.centres_BkD, other.centres_BkD, rtol=1e-4, atol=1e-5)


# -- Lloyd's


@BOTH
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 40),
    k=st.integers(1, 12),
    width=st.integers(1, 30),
    grid=st.booleans(),
)
def test_inertia_never_rises(spherical: bool, seed: int, n: int, k: int, width: int, grid: bool) -> None:
    """grid: whole numbers, so that tokens coincide, cancel and vanish."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(2, n, width, generator=random)
    x, centres = (x.round() if grid else x), torch.randn(2, k, width, generator=random)
    before = squared_distances(x, centres, spherical).amin(-1).sum(-1)
    for steps in range(1, 8):
        found = lloyd(x, centres, spherical=spherical, steps=steps)
        assert found.centres_BkD.isfinite().all() and found.inertia_B.isfinite().all()
        assert (found.inertia_B <= before + 1e-4 * before + 1e-3).all()
        before = found.inertia_B


@BOTH
def test_every_token_is_with_its_nearest_centre_and_inertia_is_the_sum(spherical: bool) -> None:
    x = torch.randn(3, 50, 8)
    for steps in (1, 3, 50):
        found = kmeans(x, 5, start(3, 5), spherical=spherical, steps=steps)
        nearest = squared_distances(x, found.centres_BkD, spherical).min(-1)
        assert torch.equal(nearest.indices, found.assignment_Bn)
        torch.testing.assert_close(nearest.values.sum(-1), found.inertia_B)


def test_settled_centres_are_the_means_of_their_tokens() -> None:
    x = torch.randn(2, 60, 8)
    plain, unit = (kmeans(x, 4, start(2, 4), spherical=s, steps=100) for s in (False, True))
    for b in range(2):
        for c in range(4):
            torch.testing.assert_close(plain.centres_BkD[b, c], x[b, plain.assignment_Bn[b] == c].mean(0))
            own = F.normalize(x[b, unit.assignment_Bn[b] == c], dim=-1)
            torch.testing.assert_close(unit.centres_BkD[b, c], F.normalize(own.mean(0), dim=0))


@pytest.mark.parametrize("steps", [1, 2, 50])
@pytest.mark.parametrize("width", [8, 200])  # without and with the Gram matrix
def test_equal_centres_give_scikit_learns_clusters(steps: int, width: int) -> None:
    x = torch.randn(4, 90, width) + 3
    centres = x[:, :7].clone()
    found = lloyd(x, centres, spherical=False, steps=steps)
    for b in range(4):
        theirs = Rival(7, init=centres[b].numpy(), n_init=1, max_iter=steps, tol=0).fit(x[b].numpy())
        assert adjusted_rand_score(theirs.labels_, found.assignment_Bn[b].numpy()) == 1
        assert found.inertia_B[b].item() == pytest.approx(theirs.inertia_, rel=1e-4)
        np.testing.assert_allclose(found.centres_BkD[b].numpy(), theirs.cluster_centers_, rtol=1e-4, atol=1e-4)


def test_own_seeds_are_as_good_as_scikit_learns() -> None:
    x = blobs(8, groups=12, each=10)[0] + torch.randn(8, 120, 16)
    mine = kmeans(x, 20, start(8, 20, 5), spherical=False).inertia_B.mean().item()
    theirs = [Rival(20, n_init=5, max_iter=20, tol=0, random_state=b).fit(x[b].numpy()).inertia_ for b in range(8)]
    assert mine <= 1.02 * float(np.mean(theirs))


@BOTH
def test_rotated_features_give_the_same_clusters(spherical: bool) -> None:
    x, turn = torch.randn(2, 40, 8), torch.linalg.qr(torch.randn(8, 8)).Q
    plain, turned = (kmeans(y, 5, start(2, 5), spherical=spherical) for y in (x, x @ turn))
    assert_same(dataclasses.replace(plain, centres_BkD=plain.centres_BkD @ turn), turned)


@BOTH
def test_separated_gaussians_are_recovered(spherical: bool) -> None:
    x, truth = blobs()
    found = kmeans(x, 6, start(3, 6), spherical=spherical)
    assert all(adjusted_rand_score(t, a) == 1 for t, a in zip(truth, found.assignment_Bn, strict=True))


def test_spherical_clusters_do_not_know_how_long_tokens_are() -> None:
    x = torch.randn(2, 40, 8)
    scaled = kmeans(x * torch.rand(2, 40, 1).mul(20).add(0.01), 5, start(2, 5))
    assert_same(kmeans(x, 5, start(2, 5)), scaled)
    torch.testing.assert_close(scaled.centres_BkD.norm(dim=-1), torch.ones(2, 5))


# -- limits


def test_one_cluster_is_the_mean() -> None:
    x = torch.randn(3, 30, 8)
    plain, unit = (kmeans(x, 1, start(3, 1), spherical=s) for s in (False, True))
    torch.testing.assert_close(plain.centres_BkD[:, 0], x.mean(1))
    torch.testing.assert_close(plain.inertia_B, (x - x.mean(1, keepdim=True)).square().sum((1, 2)))
    torch.testing.assert_close(unit.centres_BkD[:, 0], F.normalize(F.normalize(x, dim=-1).mean(1), dim=-1))


@BOTH
@pytest.mark.parametrize("k", [12, 13, 400])
def test_as_many_clusters_as_tokens_or_more_leave_nothing_over(spherical: bool, k: int) -> None:
    x = torch.randn(3, 12, 8)
    found = kmeans(x, k, start(3, k), spherical=spherical)
    assert found.centres_BkD.shape == (3, 12, 8)
    assert all(len(ids.unique()) == 12 for ids in found.assignment_Bn)
    assert found.inertia_B.max() < 1e-3


@BOTH
def test_an_empty_cluster_starts_anew_at_the_farthest_token(spherical: bool) -> None:
    x, truth = blobs(2, groups=3)
    middles = torch.stack([torch.stack([x[b][truth[b] == g].mean(0) for g in range(3)]) for b in range(2)])
    away = middles.clone()
    away[:, 1] = away[:, 0]  # a copy of the first: no token is nearer to it
    found = lloyd(x, away, spherical=spherical)
    assert all(adjusted_rand_score(t, a) == 1 for t, a in zip(truth, found.assignment_Bn, strict=True))


def test_the_farthest_token_is_the_one_that_starts_anew() -> None:
    x = torch.cat([torch.randn(1, 30, 2), torch.tensor([[[0.0, 50]]])], 1)
    found = lloyd(x, torch.tensor([[[0.0, 0], [-1000, 0]]]), spherical=False, steps=1)
    assert found.assignment_Bn[0].tolist() == [0] * 30 + [1]
    torch.testing.assert_close(found.centres_BkD[0, 1], x[0, -1])


def test_a_cluster_that_stays_empty_wins_no_token() -> None:
    x = torch.tensor([-1.0, -1, 0, 0, 1, 1])[None, :, None]  # where nobody is, the mean, a token would be as near
    found = lloyd(x, torch.tensor([5.0, -1, 0, 1])[None, :, None], spherical=False)
    assert found.assignment_Bn[0].tolist() == [1, 1, 2, 2, 3, 3] and found.inertia_B.item() == 0


@BOTH
def test_duplicates_need_no_more_clusters_than_values(spherical: bool) -> None:
    values = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, -3]])
    x = values[torch.randint(3, (2, 30))]
    found = kmeans(x, 7, start(2, 7), spherical=spherical)
    assert found.centres_BkD.isfinite().all() and found.inertia_B.max() < 1e-4
    for b in range(2):
        assert adjusted_rand_score(x[b].argmax(-1) + 5 * x[b].argmin(-1), found.assignment_Bn[b]) == 1


@BOTH
def test_zero_tokens_and_tokens_that_cancel_give_numbers(spherical: bool) -> None:
    zeros, opposite = torch.zeros(1, 9, 4), torch.tensor([[[1.0, 0, 0, 0], [-1, 0, 0, 0]]]).repeat(1, 5, 1)
    some = torch.cat([zeros, torch.randn(1, 9, 4)], 1)
    for x, k in ((zeros, 3), (opposite, 1), (some, 4)):
        found = kmeans(x, k, start(1, k), spherical=spherical)
        assert found.centres_BkD.isfinite().all() and found.inertia_B.isfinite().all()
    assert kmeans(opposite, 1, start(1, 1), spherical=spherical).inertia_B.item() == pytest.approx(
        20 if spherical else 10
    )


def test_tokens_of_no_weight_are_never_drawn() -> None:
    weights, ends = torch.rand(1000, 1, 50), torch.tensor([0.0, 0.5, 1 - 2**-24])
    weights[..., :5] = weights[..., 30:] = 0
    drawn = module._drawn(weights, ends.expand(1000, 1, 3))
    assert drawn.min() >= 5 and drawn.max() < 30
    assert module._drawn(torch.zeros(1, 1, 50), ends.view(1, 1, 3)).tolist() == [[[0, 25, 49]]]  # nothing to choose by


# -- batches


@BOTH
@pytest.mark.parametrize("width", [8, 64])
def test_a_problem_alone_is_as_in_a_batch_and_in_portions(
    spherical: bool, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, u = torch.randn(5, 40, width), start(5, 6, restarts=4)
    whole = kmeans(x, 6, u, spherical=spherical)
    for b in range(5):
        rows = slice(b, b + 1)
        alone = kmeans(x[rows], 6, u[rows], spherical=spherical)
        assert_same(alone, Clusters(whole.centres_BkD[rows], whole.assignment_Bn[rows], whole.inertia_B[rows]))
    monkeypatch.setattr(module, "LIMITS", {"cpu": 1})  # one problem and one restart at a time
    assert_same(whole, kmeans(x, 6, u, spherical=spherical))


def test_the_best_restart_wins() -> None:
    x, u = torch.randn(3, 60, 8), start(3, 8, restarts=6)
    each = torch.stack([kmeans(x, 8, u[:, r : r + 1], spherical=False).inertia_B for r in range(6)])
    torch.testing.assert_close(kmeans(x, 8, u, spherical=False).inertia_B, each.amin(0))
    assert (each.amax(0) > each.amin(0)).any()


def test_autocast_changes_nothing_and_half_precision_is_raised() -> None:
    x = torch.randn(2, 40, 8).bfloat16()
    plain = kmeans(x.float(), 5, start(2, 5))
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(plain, kmeans(x, 5, start(2, 5)))
    assert plain.centres_BkD.dtype == torch.float32


# -- seeds


def test_uniforms_follow_from_the_image_alone() -> None:
    images = torch.randint(256, (4, 3, 20, 30)) / 255
    u = uniforms(images, 3, 2, 5)
    assert u.shape == (4, 2, 5) and u.dtype == torch.float32 and u.min() >= 0 and u.max() < 1
    assert torch.equal(uniforms(images[2:3], 3, 2, 5)[0], u[2]) and torch.equal(
        uniforms(images.flip(0), 3, 2, 5), u.flip(0)
    )
    assert torch.equal(uniforms(images, 3, 4, 5)[:, :2], u)
    assert len(torch.cat([u, uniforms(images, 4, 2, 5)]).unique()) == 80


def test_one_changed_pixel_or_two_swapped_ones_change_all_uniforms() -> None:
    image = torch.randint(256, (1, 3, 20, 30)) / 255
    changed, swapped, turned = image.clone(), image.clone(), image.flip(2)
    changed[0, 1, 7, 7] = (changed[0, 1, 7, 7] + 1 / 255) % 1
    swapped[0, 0, 0, :2] = torch.tensor([0.2, 0.4])
    other = swapped.clone()
    other[0, 0, 0, :2] = torch.tensor([0.4, 0.2])
    for one, two in ((image, changed), (swapped, other), (image, turned)):
        assert (uniforms(one, 0, 3, 20) != uniforms(two, 0, 3, 20)).float().mean() > 0.99


def test_uniforms_are_uniform_and_independent() -> None:
    u = uniforms(torch.rand(3_000, 1, 4, 4), 0, 2, 4).flatten(1)
    assert (u.mean(0) - 0.5).abs().max() < 0.03 and (u.var(0) - 1 / 12).abs().max() < 0.006
    assert (torch.corrcoef(u.T) - torch.eye(8)).abs().max() < 0.08


# -- centres of a data set


def items(count: int = 6) -> Items:
    pictures = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return Items(count, lambda places: [pictures[i] for i in places])


def colours(images: Tensor) -> Tensor:
    return images.flatten(2).mT.flatten(0, 1)


@pytest.mark.parametrize("minibatch", [False, True])
def test_centres_of_a_data_set_are_found_and_kept(minibatch: bool, tmp_path: Path) -> None:
    job, path = Job(torch.device("cpu"), 0, tmp_path), tmp_path / "centres.safetensors"
    sampled = Sampled(4, images=5, tokens=50, restarts=2, steps=20, minibatch=minibatch)
    first = fitted_centres(path, items(), colours, sampled, job)
    assert first.shape == (4, 3) and first.dtype == torch.float32

    def never(places: Any) -> list[Any]:
        raise AssertionError("a run that goes on looks at no image again")

    assert torch.equal(fitted_centres(path, Items(6, never), colours, sampled, job), first)
    assert torch.equal(fitted_centres(tmp_path / "again", items(), colours, sampled, job), first)
    other = fitted_centres(tmp_path / "other", items(), colours, sampled, dataclasses.replace(job, seed=1))
    assert not torch.equal(other, first)


def test_a_minibatch_never_holds_more_than_a_batch_and_an_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sklearn.cluster import MiniBatchKMeans

    sizes: list[int] = []
    whole = MiniBatchKMeans.partial_fit
    monkeypatch.setattr(MiniBatchKMeans, "partial_fit", lambda self, x: (sizes.append(len(x)), whole(self, x))[1])
    monkeypatch.setattr("zsbench.nn.dataset_kmeans.BATCH", 100)
    sampled = Sampled(4, images=40, tokens=50, restarts=1, steps=5, minibatch=True)
    fitted_centres(tmp_path / "c", items(40), colours, sampled, Job(torch.device("cpu"), 0, tmp_path))
    assert sum(sizes) == 40 * 50 and max(sizes) < 150


@pytest.mark.parametrize("minibatch", [False, True])
def test_restarts_and_steps_matter_in_both_modes(minibatch: bool, tmp_path: Path) -> None:
    found = []
    for number, (restarts, steps) in enumerate([(1, 1), (20, 1), (1, 20)]):
        sampled = Sampled(6, images=6, tokens=50, restarts=restarts, steps=steps, minibatch=minibatch)
        job = Job(torch.device("cpu"), 0, tmp_path)
        found.append(fitted_centres(tmp_path / str(number), items(), colours, sampled, job))
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_more_clusters_than_a_minibatch_has_tokens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("zsbench.nn.dataset_kmeans.BATCH", 20)
    sampled = Sampled(30, images=20, tokens=50, restarts=1, steps=3, minibatch=True)
    found = fitted_centres(tmp_path / "c", items(20), colours, sampled, Job(torch.device("cpu"), 0, tmp_path))
    assert found.shape == (30, 3) and len(found.unique(dim=0)) == 30


@pytest.mark.parametrize("minibatch", [False, True])
def test_more_clusters_than_tokens_are_refused(minibatch: bool, tmp_path: Path) -> None:
    sampled = Sampled(500, images=2, tokens=10, restarts=1, steps=5, minibatch=minibatch)
    with pytest.raises(UserError, match="only 20 tokens"):
        fitted_centres(tmp_path / "c", items(), colours, sampled, Job(torch.device("cpu"), 0, tmp_path))


# -- the method


def method(**given: Any) -> Any:
    cls = load_method("kmeans").cls
    return configure(cls, {**cls.quick, "sample_images": 20, **given}, "drawn").method


class Tried(Trial):
    """A trial of other settings than the defaults."""

    def __init__(self, folder: Path, scenes: Path, **given: Any):
        super().__init__(load_method("kmeans"), torch.device("cpu"), folder, scenes)
        self.method = method(**given)


HELD = (contract._fits, contract._uses, contract._batched, contract._odd, contract._repeats, contract._resumes)


@pytest.mark.parametrize(
    "given",
    [
        {"distance": "euclidean", "position": 0.5},
        {"mode": "dataset"},
        {"mode": "minibatch", "position": 0.5},
        {"features": "clip", "encoder": "small-vit", "pretrained": "captions"},
        {"features": "clip", "encoder": "small-vit", "pretrained": "captions", "mode": "dataset", "attention": "qq"},
    ],
    ids=lambda given: "-".join(map(str, given.values())),
)
def test_the_contract_holds_in_every_mode(given: dict[str, Any], tmp_path: Path, scenes: Path) -> None:
    trial = Tried(tmp_path, scenes, **given)
    for hold in HELD:
        hold(trial)
    assert ("unlabelled" in trial.opened) == ("mode" in given)
    assert (tmp_path / "first/centres.safetensors").exists() == ("mode" in given)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Any:
    return Tried(tmp_path_factory.mktemp("fitted"), scenes).segmenter


def again(fitted: Any, **given: Any) -> Any:
    """The same network under other settings of the clustering."""
    return type(fitted)(dataclasses.replace(fitted.method, **given), fitted.net, fitted.job)


def test_one_cluster_is_whole_image_classification_by_the_mean_token(fitted: Any) -> None:
    images = torch.rand(3, 3, 64, 64)
    regions = again(fitted, k=1)(images, NAMES)
    assert regions.map_BHW.unique().tolist() == [0]
    with torch.no_grad():
        mean = F.normalize(fitted.net.encode(images)[1].mean((2, 3)), dim=-1)
    torch.testing.assert_close(regions.scores_BKN[:, 0], mean @ fitted.text(NAMES).T, rtol=1e-4, atol=1e-5)


def test_one_cluster_per_token_names_every_token(fitted: Any) -> None:
    images = torch.rand(2, 3, 64, 64)
    regions = again(fitted, k=10_000)(images, NAMES)
    with torch.no_grad():
        dense = torch.einsum("bdhw,nd->bnhw", F.normalize(fitted.net.encode(images)[1], dim=1), fitted.text(NAMES))
    side = math.isqrt(regions.scores_BKN.shape[1])
    assert dense.shape[-1] == side
    step = 64 // side
    near = regions.map_BHW[:, step // 2 :: step, step // 2 :: step].flatten(1)  # a pixel beside each token's middle
    came = regions.scores_BKN.gather(1, near[..., None].expand(-1, -1, len(NAMES)))
    assert (came.argmax(-1) == dense.flatten(2).argmax(1)).float().mean() > 0.99


def test_regions_cover_the_image_and_have_features(fitted: Any) -> None:
    regions = fitted(torch.rand(2, 3, 50, 77), NAMES[:7])
    assert regions.map_BHW.shape == (2, 50, 77) and regions.scores_BKN.shape == (2, 20, 7)
    for row in range(2):
        assert (regions.scores_BKN[row, regions.map_BHW[row].unique()].abs().sum(-1) > 0).all()


def test_position_makes_clusters_of_neighbours(fitted: Any) -> None:
    images = torch.rand(2, 3, 64, 64)
    far = again(fitted, k=4, position=100.0)(images, NAMES).map_BHW
    steps = [(far != far.roll(1, axis)).float().mean() for axis in (1, 2)]
    assert len(far.unique()) == 4 and max(steps) < 0.1  # four compact pieces: borders are few


def test_parameters_at_inference_are_the_image_tower(fitted: Any) -> None:
    told = fitted.describe(NAMES)
    tower = sum(p.numel() for p in fitted.net.clip.visual.parameters())
    assert told["parameters"]["at_inference"] == tower and told["prompts"]["sha256"]


def test_the_encoder_is_vilsegs_own_and_trained_once(tmp_path: Path, scenes: Path) -> None:
    trial, stages = Tried(tmp_path, scenes, k=5), lambda: sorted((tmp_path / "stages").iterdir())
    view = trial._view(None)
    job = Job(torch.device("cpu"), 0, tmp_path, stages=tmp_path / "stages")
    mine = trial.method.fit(view, job).net.state_dict()
    made = stages()
    theirs = trial.method.vilseg.fit(view, job).net.state_dict()
    assert stages() == made and all(torch.equal(mine[name], theirs[name]) for name in mine)


# -- declarations and refusals


def test_supervision_follows_the_settings(tmp_path: Path) -> None:
    (tmp_path / "some.safetensors").touch()
    plain, pooled = method().supervision, method(mode="dataset").supervision
    assert (plain.captions, plain.unlabelled, plain.backbone_corpus) == (True, "none", "nothing")
    assert (pooled.captions, pooled.unlabelled) == (True, "train")
    clip = {"features": "clip", "encoder": "small-vit"}
    trained, taken = (
        method(**clip, pretrained=p).supervision for p in ("captions", str(tmp_path / "some.safetensors"))
    )
    assert (trained.captions, trained.backbone_corpus) == (True, "nothing") and "captions" in trained.backbone
    assert (taken.captions, taken.backbone_corpus) == (False, "unknown corpus")
    assert method(features="clip", encoder="ViT-B-16", pretrained="openai").supervision.backbone_corpus.startswith(
        "WIT"
    )


def test_attention_rules_are_for_clip() -> None:
    clip = {"features": "clip", "encoder": "small-vit", "pretrained": "captions"}
    assert method(attention="qq").rule == Attention()
    assert method(**clip).rule == Attention("value")
    assert method(**clip, attention="qq", ffn="on").rule == Attention("qq", residual=False, ffn=True)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"features": "clip", "encoder": "small-vit"}, "pretrained=captions"),
        ({"features": "clip", "pretrained": "captions"}, "encoder=small-vit"),
        ({"pretrained": "captions"}, "features=clip"),
        ({"self_training": 1}, "--method vilseg"),
        ({"k": 0}, "k = 0"),
        ({"restarts": 0}, "restarts = 0"),
        ({"position": -1.0}, "position = -1"),
        ({"prompt": "a photo"}, "class name"),
        ({"mode": "per_image"}, "per-image, dataset, minibatch"),
        ({"attention": "values"}, "value"),
    ],
)
def test_settings_that_mean_nothing_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        method(**given)


def test_every_own_field_has_a_reason_and_vilsegs_are_kept() -> None:
    cls = load_method("kmeans").cls
    own = {f.name for f in dataclasses.fields(cls)} - {f.name for f in dataclasses.fields(cls.__mro__[1])}
    assert own - {"features", "residual", "ffn", "gauss_std"} <= cls.departures.keys()
    assert cls.__mro__[1].departures.items() <= cls.departures.items()
    assert cls.__mro__[1].drawn.items() <= cls.drawn.items()
