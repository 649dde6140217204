"""ViL-Seg's network and its limits (the losses themselves: test_losses, test_clustering), and self-training."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zsbench.config import configure
from zsbench.data.dataset import IGNORED
from zsbench.data.view import Items, TrainView
from zsbench.errors import UserError
from zsbench.method import Job, Regions, load_method
from zsbench.nn import clip
from zsbench.nn.dense import dense
from zsbench.nn.dense_vit import positions
from zsbench.nn.selftraining import pixel_loss, pseudo_labels
from zsbench.sampling import Sampler
from zsbench.split import load_split

NAMES = load_split("voc5").names


@pytest.fixture(scope="module")
def parts() -> Any:
    return sys.modules[load_method("vilseg").cls.__module__]


def method(parts: Any, **given: Any) -> Any:
    return configure(parts.VilSeg, {"steps": 4, "batch": 8, "warmup": 1, "projection": 32, **given}, "drawn").method


def network(parts: Any, **given: Any) -> Any:
    torch.manual_seed(0)
    chosen = method(parts, **given)
    return parts.VilSegNet(chosen, clip.build(chosen.encoder))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(torch.device("cpu"), 0, tmp_path)


def view(pairs: int = 16, unlabelled: int = 0) -> TrainView:
    pictures = np.random.default_rng(0).integers(0, 256, (max(pairs, unlabelled), 64, 64, 3), np.uint8)
    seen, unseen = NAMES[:15], NAMES[15:]
    captions = Items(pairs, lambda places: [(pictures[i], f"a photo of a {NAMES[i % 20]}") for i in places])
    images = Items(unlabelled, lambda places: [pictures[i] for i in places]) if unlabelled else None
    return TrainView(seen=seen, captions=captions, unlabelled=images, unseen=unseen if unlabelled else ())


def batch(parts: Any, net: Any, job: Job) -> dict[str, Tensor]:
    make = parts.CaptionBatches(net.method.views(), view().captions, Sampler(16, 8, 0), net.towers, job)
    return make(0, slice(0, 8))


# -- the encoder


def test_average_pooling_equals_pooling_a_region_of_all_patches(parts: Any) -> None:
    net = network(parts).eval()
    e_v, e_pxl = net.encode(torch.rand(3, 3, 64, 64))
    torch.testing.assert_close(e_v, e_pxl.mean((2, 3)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("arch", ["ViT-B-32"])
def test_own_class_token_equals_open_clips(arch: str) -> None:
    torch.manual_seed(0)
    towers = clip.build(arch)
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        own = dense(towers.model.visual, images).pooled_BD
        torch.testing.assert_close(own, towers.model.encode_image(images), rtol=1e-4, atol=1e-5)


def test_positions_are_untouched_at_the_native_grid_and_resized_elsewhere(parts: Any) -> None:
    visual = network(parts).clip.visual
    assert positions(visual, (16, 16)) is visual.positional_embedding
    wide = positions(visual, (16, 24))
    assert wide.shape == (1 + 16 * 24, visual.positional_embedding.shape[1])
    assert torch.equal(wide[0], visual.positional_embedding[0])


def test_a_tower_that_cannot_attend_as_it_was_trained_is_refused_before_training(parts: Any, job: Job) -> None:
    with pytest.raises(UserError, match="RN50 has no attention rule 'plain'"):
        method(parts, encoder="RN50").fit(view(), job)
    assert not list(job.folder.glob("stages/*"))


def test_unknown_encoder_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match="ViT-B-16"):
        clip.build("ViT-B16")


def test_a_tower_without_patches_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="coca_ViT-B-32 cannot segment"):
        clip.build("coca_ViT-B-32")


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = tmp_path / "w.safetensors"
    save_file({"visual.proj": torch.zeros(2, 2)}, file)
    with pytest.raises(UserError, match="does not fit ViT-B-32"):
        clip.build("ViT-B-32", str(file))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_with_code_is_not_opened(tmp_path: Path) -> None:
    import pickle

    file = tmp_path / "w.pt"
    file.write_bytes(pickle.dumps({"x": Path("x")}))
    with pytest.raises(UserError, match="never opened"):
        clip.build("ViT-B-32", str(file))


@pytest.mark.parametrize(
    ("pretrained", "corpus"), [("", "nothing"), ("laion2b_s34b_b88k", "LAION-2B"), ("my.safetensors", "unknown corpus")]
)
def test_the_ledger_names_the_corpus_behind_the_weights(
    parts: Any, pretrained: str, corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.safetensors").touch()
    assert parts.VilSeg(pretrained=pretrained).supervision.backbone_corpus == corpus


# -- one step


def test_the_teacher_gets_no_gradient_and_follows_the_student(parts: Any, job: Job) -> None:
    net = network(parts)
    net(batch(parts, net, job))["loss"].backward()
    assert all(p.grad is None for p in net.teacher.parameters())
    assert net.clip.visual.proj.grad.abs().sum() > 0 and net.project.last.weight.grad.abs().sum() > 0
    before = net.teacher[0].proj.clone()
    with torch.no_grad():
        net.clip.visual.proj += 1
    net.after_step(0, 10)
    torch.testing.assert_close(net.teacher[0].proj - before, torch.full_like(before, 1 - 0.996), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("reaches", [True, False])
def test_the_cluster_loss_reaches_the_encoder_only_if_told(parts: Any, job: Job, reaches: bool) -> None:
    net = network(parts, cluster_to_encoder=reaches)
    made = batch(parts, net, job)
    net.cluster(net.encode(made["global_"])[1], made)[0].backward()
    assert net.clusters.weight.grad.abs().sum() > 0
    assert (net.clip.visual.proj.grad is not None) == reaches


@pytest.mark.parametrize("vision", ["dino", "literal", "none"])
def test_the_loss_is_the_plain_sum_of_its_parts(parts: Any, job: Job, vision: str) -> None:
    net = network(parts, vision=vision)
    out = net(batch(parts, net, job))
    total = out["cross"] + out["cluster"] + (out["vision"] if vision != "none" else 0)
    torch.testing.assert_close(out["loss"], total)
    assert ("mutual_information" in out) == (vision != "none")


def test_batches_depend_on_their_number_only_and_cut_into_rows(parts: Any, job: Job) -> None:
    net = network(parts)
    make = parts.CaptionBatches(net.method.views(), view().captions, Sampler(16, 8, 0), net.towers, job)
    whole, again, lower = make(3, slice(0, 8)), make(3, slice(0, 8)), make(3, slice(4, 8))
    assert all(torch.equal(whole[k], again[k]) for k in whole)
    assert torch.equal(whole["global_"][4:], lower["global_"]) and torch.equal(whole["tokens"][4:], lower["tokens"])
    assert not torch.equal(whole["global_"], make(4, slice(0, 8))["global_"])


# -- inference


def segmenter(parts: Any, job: Job, **given: Any) -> Any:
    net = network(parts, **given).eval()
    return parts.VilSegSegmenter(net.method, net, job)


def test_one_cluster_is_whole_image_classification(parts: Any, job: Job) -> None:
    named = segmenter(parts, job, clusters=1)
    images = torch.rand(3, 3, 64, 64)
    regions = named(images, NAMES)
    assert regions.map_BHW.unique().tolist() == [0]
    with torch.no_grad():
        e_v = torch.nn.functional.normalize(named.net.encode(images)[0], dim=-1)
    torch.testing.assert_close(regions.scores_BKN[:, 0], e_v @ named.text(NAMES).T, rtol=1e-4, atol=1e-5)


def test_every_region_on_the_map_has_a_feature_and_odd_sizes_fit(parts: Any, job: Job) -> None:
    named = segmenter(parts, job, clusters=50)
    images = torch.rand(2, 3, 50, 77)
    regions = named(images, NAMES[:7])
    assert regions.map_BHW.shape == (2, 50, 77) and regions.scores_BKN.shape == (2, 50, 7)
    for row in range(2):
        assert (regions.scores_BKN[row, regions.map_BHW[row].unique()].abs().sum(-1) > 0).all()


def test_a_prompt_without_a_place_for_the_name_is_refused(parts: Any) -> None:
    with pytest.raises(UserError, match="class name"):
        parts.VilSeg(prompt="a photo")
    with pytest.raises(UserError, match="steps = 0"):
        parts.VilSeg(steps=0)


def test_vit_b_16_and_cluster_head_have_the_papers_size(parts: Any) -> None:
    visual = clip.build("ViT-B-16").model.visual
    assert sum(p.numel() for p in visual.parameters()) == 86_192_640  # Table 2 prints 86.19 M


# -- self-training


class Stub:
    """A labeller that names a pixel by its brightness, or, shaken, at random."""

    def __init__(self, shaken: bool = False):
        self.shaken = shaken

    def __call__(self, images: Tensor, names: Sequence[str]) -> Tensor:
        if self.shaken:
            return torch.rand(len(images), len(names), *images.shape[2:])
        level = (images.mean(1) * len(names)).long().clamp(0, len(names) - 1)
        return torch.nn.functional.one_hot(level, len(names)).permute(0, 3, 1, 2).float()


def test_without_views_pseudo_labels_are_the_plain_argmax() -> None:
    images = torch.rand(2, 3, 16, 16)
    kept = pseudo_labels(Stub(), images, NAMES, scales=(), mirror=False)
    assert torch.equal(kept, Stub()(images, NAMES).argmax(1))


def test_more_views_keep_no_more_pixels_and_a_mirror_is_undone() -> None:
    images = torch.rand(2, 3, 16, 16)
    one, mirrored, all_ = (
        (pseudo_labels(Stub(), images, NAMES, scales=s, mirror=m) != IGNORED).float().mean()
        for s, m in (((), False), ((), True), ((0.75, 1.5), True))
    )
    assert one == 1.0 == mirrored and all_ < 1.0
    assert (pseudo_labels(Stub(shaken=True), images, NAMES) != IGNORED).float().mean() < 0.05


def test_pseudo_labels_of_regions() -> None:
    regions = Regions(torch.tensor([[[0, 1], [1, 0]]]), torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]))
    labels = pseudo_labels(lambda images, names: regions, torch.rand(1, 3, 2, 2), NAMES[:2], scales=(), mirror=False)
    assert labels.tolist() == [[[1, 0], [0, 1]]]


def test_pixel_loss_ignores_dropped_pixels_and_survives_none_kept() -> None:
    e_pxl, text = torch.randn(1, 4, 2, 2, requires_grad=True), torch.nn.functional.normalize(torch.randn(3, 4), dim=-1)
    none = torch.full((1, 2, 2), IGNORED)
    loss, kept = pixel_loss(e_pxl, text, 10.0, none)
    assert loss.item() == 0 and kept.item() == 0
    some = none.clone()
    some[0, 0, 0] = 2
    loss, kept = pixel_loss(e_pxl, text, 10.0, some)
    loss.backward()
    assert kept.item() == 0.25 and e_pxl.grad is not None
    assert e_pxl.grad[0, :, 0, 0].abs().sum() > 0 and e_pxl.grad[0, :, 1:].abs().sum() == 0


def test_self_training_moves_the_image_tower_and_nothing_of_the_text(parts: Any, tmp_path: Path) -> None:
    def fitted(rounds: int) -> dict[str, Tensor]:
        folder = tmp_path / str(rounds)
        folder.mkdir()
        chosen = method(parts, self_training=rounds, st_steps=3, st_batch=4)
        return chosen.fit(view(unlabelled=8), Job(torch.device("cpu"), 0, folder)).net.state_dict()  # type: ignore[no-any-return]

    before, after = fitted(0), fitted(1)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "clip.visual.proj" in moved and "clusters.weight" in moved
    assert {name.split(".")[0] for name in moved} <= {"clip", "clusters"}
    assert all(name.startswith(("clip.visual.", "clusters.")) for name in moved)


def test_self_training_is_declared(parts: Any) -> None:
    plain, trained = parts.VilSeg().supervision, parts.VilSeg(self_training=1).supervision
    assert (plain.unseen_names, plain.unlabelled) == ("evaluation", "none")
    assert (trained.unseen_names, trained.unlabelled) == ("training", "train")
