"""CLIP + Seg: what it scores, what its options change, what its ledger says, and a CLIP trained on the run's captions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F

from zsbench import runner
from zsbench.config import configure
from zsbench.data.universes import VOC_CLASSES
from zsbench.data.view import Items, TrainView
from zsbench.data.voc import VocDataset
from zsbench.errors import UserError
from zsbench.method import Job, load_method
from zsbench.nn import captioned_clip, clip
from zsbench.nn.attention import Attention
from zsbench.nn.dense import dense
from zsbench.nn.encoder import attention_of
from zsbench.run import Plan
from zsbench.split import load_split

CPU = torch.device("cpu")
NAMES = ("cat", "dog", "sheep", "train")


@pytest.fixture(scope="module")
def parts() -> Any:
    return sys.modules[load_method("clip-seg").cls.__module__]


@pytest.fixture(scope="module")
def towers() -> clip.Towers:
    torch.manual_seed(0)
    return clip.build(clip.SMALL_VIT)


def method(parts: Any, **given: Any) -> Any:
    return configure(parts.ClipSeg, {"steps": 4, "batch": 8, "warmup": 1, **given}, "drawn").method


def segmenter(parts: Any, towers: clip.Towers, folder: Path, **given: Any) -> Any:
    return parts.ClipSegmenter(method(parts, **given), towers, Job(CPU, 0, folder))


def images(count: int = 2, height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def view(pairs: int = 16) -> TrainView:
    """Every name has a brightness of its own."""
    pictures = np.random.default_rng(0).integers(0, 60, (pairs, 64, 64, 3), np.uint8)
    pictures += (np.arange(pairs) % 4 * 60).astype(np.uint8)[:, None, None, None]
    captions = Items(pairs, lambda places: [(pictures[i], f"a photo of a {NAMES[i % 4]}") for i in places])
    return TrainView(seen=NAMES[:2], captions=captions)


# -- scores


@pytest.mark.parametrize("rule", ["plain", "value", "qq+kk", "kk+gauss", "qq"])
def test_scores_are_cosines_of_patches_and_prompts(parts: Any, towers: clip.Towers, tmp_path: Path, rule: Any) -> None:
    found = segmenter(parts, towers, tmp_path, attention=rule)(images(), NAMES)
    text = clip.text_features(towers, [f"a photo of a {name}." for name in NAMES], CPU)
    patches = dense(towers.model.visual, clip.normalise(towers, images()), attention_of(rule)).patches_BDhw
    torch.testing.assert_close(
        found, torch.einsum("bdhw,nd->bnhw", F.normalize(patches, dim=1), text), atol=1e-5, rtol=0
    )


def test_switches_go_over_what_the_rules_paper_has() -> None:
    assert attention_of("qq") == Attention("qq", residual=False, ffn=False)
    assert attention_of("qq", "on", "on") == Attention("qq")
    assert attention_of("value", "off", "published", 2.0) == Attention("value", residual=False, std=2.0)


def test_every_option_changes_the_scores(parts: Any, towers: clip.Towers, tmp_path: Path) -> None:
    (tmp_path / "words.toml").write_text('sheep = ["lamb", "ewe"]')
    options: list[dict[str, Any]] = [
        {}, {"attention": "plain"}, {"residual": "off"}, {"ffn": "off"}, {"templates": "80"}, {"prompt": "the {}"},
        {"synonyms": str(tmp_path / "words.toml")}, {"synonyms": str(tmp_path / "words.toml"), "synonym_rule": "max"},
        {"prompt_denoising": 1.0}, {"key_smoothing": 1.0}, {"key_smoothing": 1.0, "key_axis": "token-official"},
        {"window": 32}, {"window": 32, "window_step": 8}, {"attention": "kk+gauss"},
        {"attention": "kk+gauss", "gauss_std": 1.0},
    ]  # fmt: skip
    found = [segmenter(parts, towers, tmp_path / str(n), **given)(images(), NAMES) for n, given in enumerate(options)]
    alike = [(a, b) for a in range(len(found)) for b in range(a) if torch.equal(found[a], found[b])]
    assert not alike, [(options[a], options[b]) for a, b in alike]


def test_a_window_as_large_as_the_image_is_one_pass(parts: Any, towers: clip.Towers, tmp_path: Path) -> None:
    whole = segmenter(parts, towers, tmp_path)(images(1, 64, 96), NAMES)
    assert torch.equal(segmenter(parts, towers, tmp_path, window=96, window_step=4)(images(1, 64, 96), NAMES), whole)
    assert not torch.equal(segmenter(parts, towers, tmp_path, window=64)(images(1, 64, 96), NAMES), whole)


def test_odd_sizes_are_brought_to_whole_patches(parts: Any, towers: clip.Towers, tmp_path: Path) -> None:
    found = segmenter(parts, towers, tmp_path)(images(1, 50, 67), NAMES)
    assert found.shape == (1, 4, 16, 21)


def test_background_is_what_no_name_reaches(parts: Any, towers: clip.Towers, tmp_path: Path) -> None:
    names = ("cat", "background", "dog", "sheep")
    plain = segmenter(parts, towers, tmp_path, scale=50)(images(), ("cat", "dog", "sheep"))
    expected = (50 * plain).softmax(1)
    found = segmenter(parts, towers, tmp_path, scale=50, background_threshold=0.4)(images(), names)
    torch.testing.assert_close(found[:, [0, 2, 3]], expected)
    assert bool((found[:, 1] == 0.4).all())
    below = expected.amax(1) < 0.4
    assert torch.equal(found.argmax(1) == 1, below) and 0 < below.float().mean() < 1
    alone = segmenter(parts, towers, tmp_path, background_threshold=0.4)(images(), ("background",))
    assert alone.shape == (2, 1, 1, 1)


def test_without_a_threshold_background_is_a_name_like_any_other(
    parts: Any, towers: clip.Towers, tmp_path: Path
) -> None:
    found = segmenter(parts, towers, tmp_path)(images(), ("cat", "background"))
    text = clip.text_features(towers, ["a photo of a background."], CPU)
    patches = dense(towers.model.visual, clip.normalise(towers, images()), Attention("value")).patches_BDhw
    expected = torch.einsum("bdhw,nd->bnhw", F.normalize(patches, dim=1), text)
    torch.testing.assert_close(found[:, 1:], expected, atol=1e-5, rtol=0)


def test_the_models_own_temperature_is_used_where_none_is_set(parts: Any, towers: clip.Towers, tmp_path: Path) -> None:
    assert segmenter(parts, towers, tmp_path).scale == pytest.approx(1 / 0.07, rel=1e-4)
    assert segmenter(parts, towers, tmp_path, scale=40).scale == 40


def test_twenty_thousand_names(parts: Any, towers: clip.Towers, tmp_path: Path) -> None:
    names = [f"thing {number}" for number in range(20_000)]
    found = segmenter(parts, towers, tmp_path, test_size=8)(images(1, 8, 8), names)
    few = segmenter(parts, towers, tmp_path, test_size=8)(images(1, 8, 8), names[-3:])
    torch.testing.assert_close(found[:, -3:], few, atol=1e-5, rtol=0)


# -- real names


def test_real_text_vectors_are_found_and_ranked(
    parts: Any, towers: clip.Towers, tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patches that are real CLIP text features are named by their own class, and next by its kin."""
    vectors = F.normalize(torch.from_numpy(np.load(real_data / "vectors/ZegCLIP/voc12_single.npy")).float(), dim=-1)
    names = VOC_CLASSES[1:]
    assert vectors.shape == (20, 512)
    own = segmenter(parts, towers, tmp_path)
    monkeypatch.setattr(own.speaker, "queries", lambda asked: vectors[[names.index(name) for name in asked]])
    monkeypatch.setattr(own, "encoder", lambda _: vectors.T[None, :, None])
    asked = sorted(names)
    cosines = own.cosines(images(1), asked)[0, :, 0]  # (names asked, patches in VOC's order)
    assert [asked[int(place)] for place in cosines.argmax(0)] == list(names)
    for name, kin in {"cat": "dog", "cow": "sheep", "bus": "car", "bicycle": "motorbike", "sofa": "chair"}.items():
        order = cosines[:, names.index(name)].argsort(descending=True)
        assert kin in [asked[int(place)] for place in order[1:4]], name


# -- a CLIP of one's own


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(CPU, 0, tmp_path / "run", stages=tmp_path / "stages")


def test_the_trained_clip_is_open_clips_to_load(parts: Any, job: Job) -> None:
    job.folder.mkdir()
    found = method(parts).fit(view(), job)
    (folder,) = job.stages.glob("clip-*/open_clip")  # type: ignore[union-attr]
    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    x = clip.normalise(found.towers, images())
    with torch.no_grad():
        torch.testing.assert_close(theirs.encode_image(x), found.towers.model.encode_image(x))
        own = clip.build(f"local-dir:{folder}")
        torch.testing.assert_close(own.model.eval().encode_image(x), theirs.encode_image(x))
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(["a photo of a cat."])
    assert torch.equal(tokens, own.tokenizer(["a photo of a cat."]))


def test_training_lowers_the_loss_and_is_made_once(parts: Any, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.folder.mkdir()
    first = method(parts, steps=30, lr=3e-3).fit(view(), job)
    lines = (job.folder / "curves.jsonl").read_text().splitlines()
    losses = [eval(line, {})["loss"] for line in lines]
    assert losses[-1] < 0.7 * losses[0]
    monkeypatch.setattr(captioned_clip.CaptionBatches, "__call__", lambda *_: pytest.fail("trained anew"))
    again = method(parts, steps=30, lr=3e-3, attention="plain", prompt="the {}").fit(view(), job)
    for ours, theirs in zip(first.towers.model.parameters(), again.towers.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_other_captions_or_another_seed_are_another_stage(parts: Any, tmp_path: Path) -> None:
    for number, (seed, captions) in enumerate([(0, "a"), (1, "a"), (0, "b"), (0, "a")]):
        (tmp_path / str(number)).mkdir()
        job = Job(CPU, seed, tmp_path / str(number), stages=tmp_path / "stages", facts={"captions": captions})
        method(parts, steps=1).fit(view(), job)
    assert len(list((tmp_path / "stages").glob("clip-*"))) == 3


def test_a_run_never_gets_a_clip_of_other_captions(dataset: VocDataset, tmp_path: Path) -> None:
    keys = []
    for captions, policy in (("web", "as-is"), ("web", "purge"), ("clean", "as-is"), ("web", "as-is")):
        plan = Plan(dataset, dataset.root, CPU, "fp32", captions, limit=2, out=tmp_path, captions_policy=policy)
        given = {"steps": 1, "batch": 8, "warmup": 0, "prompt": f"number {len(keys)}: a {{}}"}
        outcome = runner.execute(runner.prepare(plan, "clip-seg", load_split("voc5"), 0, given))
        assert outcome.record is not None
        keys += [stage["key"] for stage in outcome.record["stages"]]
    assert len(keys) == 4 and len(set(keys)) == 3 and keys[3] == keys[0]


# -- ledger and refusals


def test_the_ledger_says_what_the_weights_have_read(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai").mkdir()
    (tmp_path / "openai/own.safetensors").touch()
    published = parts.ClipSeg().supervision
    assert not published.captions and published.backbone_corpus.startswith("WIT-400M")
    own = method(parts).supervision
    assert own.captions and own.backbone_corpus == "nothing" and "captions" in own.backbone
    unknown = parts.ClipSeg(pretrained="openai/own.safetensors").supervision
    assert (
        unknown.backbone_corpus == parts.ClipSeg(encoder="local-dir:openai", pretrained="").supervision.backbone_corpus
    )
    assert unknown.backbone_corpus == "unknown corpus"
    assert parts.ClipSeg(pretrained="").supervision.backbone_corpus == "nothing"


def test_it_describes_its_words_its_background_and_its_size(parts: Any, towers: clip.Towers, tmp_path: Path) -> None:
    told = segmenter(parts, towers, tmp_path, background_threshold=0.3).describe(("background", *NAMES))
    assert told["background"] == "a probability below 0.3"
    assert told["prompts"]["prompts"] == [f"a photo of a {name}." for name in NAMES]
    visual = sum(p.numel() for p in towers.model.visual.parameters())
    assert told["parameters"]["at_inference"] == visual < told["parameters"]["total"]
    assert segmenter(parts, towers, tmp_path).describe(NAMES)["background"] is None


def test_weights_of_a_folder_cannot_pass_for_a_training_from_scratch(parts: Any, tmp_path: Path) -> None:
    folder = f"local-dir:{tmp_path}"
    with pytest.raises(UserError, match="starts from random weights"):
        method(parts, encoder=folder)
    with pytest.raises(UserError, match="starts from random weights"):
        captioned_clip.clip_for(folder, "captions", method(parts).recipe(), None, Job(CPU, 0, tmp_path), Attention())
    told = method(parts, encoder=folder, pretrained="").supervision
    assert "random" not in told.backbone and told.backbone_corpus == "unknown corpus"


@pytest.mark.parametrize(
    ("given", "said"),
    [({"encoder": "small"}, "small-vit"), ({"encoder": "RN50", "attention": "qq"}, "RN50 has no attention rule 'qq'")],
)
def test_what_cannot_be_used_or_saved_is_not_trained(parts: Any, job: Job, given: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        method(parts, **given).fit(view(), job)
    assert not list(job.folder.parent.glob("stages/*"))


def test_equal_captions_are_no_negatives_and_the_picture_stays_nearly_whole(parts: Any, job: Job) -> None:
    torch.manual_seed(0)
    learner = captioned_clip.CaptionedClip(clip.build(clip.SMALL_VIT))
    tokens = learner.towers.tokenizer(["a cat"] * 4)
    batch = {"global_": images(4), "tokens": tokens, "caption_ids": torch.zeros(4, dtype=torch.int64)}
    assert float(learner(batch)["loss"].detach()) == pytest.approx(0.0, abs=1e-6)
    recipe = method(parts).recipe()
    assert recipe.views().global_scale == (0.9, 1.0) and recipe.views().n_local == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prompt": "a photo"}, "needs {}"),
        ({"templates": "81"}, "templates"),
        ({"synonyms": "absent.toml"}, "no file of synonyms"),
        ({"prompt_denoising": 1.5}, "a probability"),
        ({"background_threshold": -0.1}, "0 or more"),
        ({"window": 32, "window_step": 64}, "left out"),
        ({"batch": 1}, "2 are the least"),
        ({"gauss_std": 0.0}, "above 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(parts: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        method(parts, **given)


@pytest.mark.parametrize(
    "given", [{"pretrained": "absent.safetensors"}, {"encoder": "local-dir:absent", "pretrained": ""}]
)
def test_files_are_looked_for_before_anything_is_done(parts: Any, given: dict[str, str]) -> None:
    with pytest.raises(UserError, match="absent"):
        parts.ClipSeg(**given)


def test_tags_and_encoders_that_do_not_exist_are_refused(parts: Any, job: Job) -> None:
    for given in ({"pretrained": "openay"}, {"encoder": "ViT-B-17"}):
        with pytest.raises(UserError):
            parts.ClipSeg(**given).fit(view(), job)
