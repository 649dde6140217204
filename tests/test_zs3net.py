"""ZS3Net as a whole: what a fit leaves alone, what it declares, and its mistakes on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import generative as made
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from zsbench.cli import main
from zsbench.data.view import Items, guarded_view
from zsbench.data.voc import VocDataset
from zsbench.errors import UserError
from zsbench.nn import segmentation
from zsbench.nn.segmentation import PixelSegmenter
from zsbench.split import load_split

VOC5 = load_split("voc5")


def fitted(tmp_path: Path, name: str = "run", data: Any = None, **given: Any) -> PixelSegmenter:
    found: PixelSegmenter = made.built("zs3net", **given).fit(data or made.view(), made.job(tmp_path / name))
    return found


def scores(segmenter: Any) -> Tensor:
    found: Tensor = segmenter(made.images(), made.NAMES)
    return found


def stage_1(tmp_path: Path, name: str = "run", **given: Any) -> dict[str, Tensor]:
    """The shared network that the run started from."""
    net = made.built("zs3net", **given).stage_one().network(made.view(), made.job(tmp_path / name))
    return made.state(net.encoder)


# What a fit leaves alone


@pytest.mark.parametrize("layout", ["random-iid", "gt-masks", "seen-relabelled"])
def test_after_stage_2_the_encoder_is_that_of_stage_1_to_the_last_bit(tmp_path: Path, layout: str) -> None:
    segmenter = fitted(tmp_path, layout=layout)
    assert not made.moved(stage_1(tmp_path, layout=layout), made.state(segmenter.net.encoder))


def test_it_holds_for_an_encoder_with_batch_statistics_and_dropout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmentation, "build_encoder", lambda *_, **__: made.Normed(16))
    segmenter = fitted(tmp_path)
    encoder, trained = made.state(segmenter.net.encoder), stage_1(tmp_path)
    assert not made.moved(trained, encoder) and encoder["body.1.num_batches_tracked"] == 4
    torch.manual_seed(0)
    assert len(made.moved(trained, made.state(made.Normed(16)))) > 5, "stage 1 itself did train"


def test_self_training_moves_the_encoder_and_says_what_it_uses(tmp_path: Path) -> None:
    plain, trained = fitted(tmp_path, "plain"), fitted(tmp_path, "trained", self_training=2)
    assert made.moved(made.state(plain.net.encoder), made.state(trained.net.encoder))
    assert [own.name for own in trained.rounds] == ["ZS3Net", "self-training 1", "self-training 2"]
    assert torch.equal(scores(trained.rounds[0].segmenter), scores(plain)) and plain.rounds == []
    assert torch.equal(scores(trained.rounds[-1].segmenter), scores(trained))
    assert not torch.equal(scores(trained.rounds[1].segmenter), scores(trained))
    assert made.built("zs3net").supervision.unlabelled == "none"
    assert made.built("zs3net", self_training=1).supervision.unlabelled == "train"


def test_each_round_of_self_training_is_taught_by_the_round_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers = []

    def spy(student: Any, labeller: Any, *rest: Any) -> Any:
        teachers.append(scores(labeller))
        assert student is not labeller.net
        return real(student, labeller, *rest)

    method = made.built("zs3net", self_training=2)
    parts = sys.modules[type(method).__module__]
    real = parts.PixelSelfTraining
    monkeypatch.setattr(parts, "PixelSelfTraining", spy)
    rounds = method.fit(made.view(), made.job(tmp_path)).rounds
    assert torch.equal(teachers[0], scores(rounds[0].segmenter)) and torch.equal(
        teachers[1], scores(rounds[1].segmenter)
    )


def test_zs5nets_rule_trains(tmp_path: Path) -> None:
    plain, trained = fitted(tmp_path, "plain"), fitted(tmp_path, "trained", self_training=1, st_rule="zs5")
    assert not torch.equal(scores(plain), scores(trained))


# What it learns from


def closed_door(name: str) -> Items:
    return Items(24, lambda places: pytest.fail(f"{name} was opened"))


def test_it_opens_no_door_that_it_did_not_declare(tmp_path: Path) -> None:
    shut = replace(made.view(), unlabelled=closed_door("unlabelled"), layout=closed_door("layout"))
    assert torch.equal(scores(fitted(tmp_path, "shut", shut)), scores(fitted(tmp_path, "open")))
    with pytest.raises(pytest.fail.Exception, match="layout was opened"):
        fitted(tmp_path, "layout", shut, layout="gt-masks")
    with pytest.raises(pytest.fail.Exception, match="unlabelled was opened"):
        fitted(tmp_path, "pool", shut, self_training=1)


def test_background_keeps_its_name_in_relabelled_layouts(tmp_path: Path) -> None:
    method, view = made.built("zs3net"), made.view()
    batches = method.batches(view, made.job(tmp_path))
    assert batches.background is None and batches.seen == 3 and batches.names == 5
    with_background = replace(view, seen=("red", "background", "blue"))
    assert method.batches(with_background, made.job(tmp_path)).background == 1


@pytest.mark.parametrize("by", ["ids", "255"])
def test_unseen_labels_change_no_score(dataset: VocDataset, tmp_path: Path, by: str) -> None:
    method = made.built("zs3net", crop=64, self_training=1)
    found = []
    for name, data in (("plain", dataset), ("fog", made.fogged(dataset, VOC5, by))):
        view = guarded_view(VOC5, data, method.supervision, vectors=_factors(data))
        segmenter = method.fit(view, made.job(tmp_path / name))
        found.append(segmenter(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), VOC5.names))
    assert torch.equal(*found)


def test_published_layouts_do_hang_on_unseen_labels(dataset: VocDataset, tmp_path: Path) -> None:
    """The other side of the test above: what the grade in the record stands for."""
    method, found = made.built("zs3net", crop=64, layout="gt-masks"), []
    for name, data in (("plain", dataset), ("fog", made.fogged(dataset, VOC5, "ids"))):
        view = guarded_view(VOC5, data, method.supervision, vectors=_factors(data))
        found.append(method.fit(view, made.job(tmp_path / name))(torch.ones(1, 3, 64, 64) / 2, VOC5.names))
    assert not torch.equal(*found)


def _factors(dataset: VocDataset) -> Any:
    from zsbench.data.vectors import open_vectors

    return open_vectors("factor", VOC5, dataset, dataset.root, VOC5.names)


def test_noise_and_classifier_change_with_the_seed(tmp_path: Path) -> None:
    method = made.built("zs3net")
    runs = [method.fit(made.view(), made.job(tmp_path / str(n), seed)) for n, seed in enumerate((0, 0, 1))]
    assert torch.equal(scores(runs[0]), scores(runs[1])) and not torch.equal(scores(runs[0]), scores(runs[2]))


# Fields


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": 0}, "steps = 0: a number above 0"),
        ({"unseen_weight": -1}, "unseen_weight = -1"),
        ({"self_training": -1}, "self_training = -1"),
        ({"fakes": 0}, "fakes = 0"),
        ({"scale_low": 2.0}, "scale_low = 2.0 is above scale_high"),
        ({"st_share": 1.5}, "st_share = 1.5: a share"),
        ({"layout": "masks"}, "one of random-iid, gt-masks, seen-relabelled"),
        ({"encoder": "resnet18"}, "one of small, resnet50, resnet101"),
        ({"noise": "gauss"}, "one of uniform, normal"),
        ({"context": "graph"}, "context = graph needs patches: --set layout=seen-relabelled"),
    ],
    ids=str,
)
def test_wrong_fields_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        made.built("zs3net", **given)


def test_zero_is_a_value_where_it_means_something() -> None:
    assert made.built("zs3net", hidden=0, seg_weight_decay=0.0, self_training=0, test_size=0).hidden == 0


def test_a_linear_generator_trains_too(tmp_path: Path) -> None:
    assert torch.isfinite(scores(fitted(tmp_path, hidden=0))).all()


def test_the_rates_of_stage_1_are_the_published_ones() -> None:
    """Backbone 0.007, all else ten times that; weight decay kept in proportion."""
    from zsbench.method import load_method

    recipe = load_method("zs3net").cls().stage_one().recipe
    assert recipe.lr == pytest.approx(0.07 / 16) and recipe.scales == (("net.encoder.backbone.", 0.1),)
    assert (recipe.optimiser, recipe.schedule, recipe.momentum) == ("sgd", "poly", 0.9)
    assert recipe.weight_decay * recipe.lr * 0.1 == pytest.approx(0.007 * 5e-4)
    assert made.built("zs3net").stage_one().recipe.scales == ()


# The command line

FAST = {"seg_steps": 2, "seg_batch": 4, "steps": 2, "batch": 4, "width": 16, "hidden": 8, "fakes": 16}
Call = Callable[..., Result]


@pytest.fixture
def call(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`zsbench run` on drawn scenes in an empty folder, with few steps and further fields."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str, method: str = "zs3net", split: str = "voc5", data: Path = scenes, **given: Any) -> Result:
        fields = (FAST if method.startswith("zs") else {"steps": 2, "batch": 4, "width": 16}) | given
        sets = [word for name, value in fields.items() for word in ("--set", f"{name}={value}")]
        where = ["--data", str(data), "--device", "cpu", "--precision", "fp32", "--limit", "4"]
        return CliRunner().invoke(main, ["run", "-m", method, "-s", split, *where, *sets, *args])

    return run


def record(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output + result.stderr
    path = next(line.strip() for line in result.stdout.splitlines() if line.strip().endswith("record.json"))
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


def refused(result: Result, *words: str) -> None:
    """Exit code 2 and one sentence with these words; no traceback, no record."""
    assert result.exit_code == 2, f"exit {result.exit_code}: {result.output}{result.exception!r}"
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("Error: ") and "Traceback" not in result.output
    for word in words:
        assert word in sentence, sentence
    assert not list(Path().rglob("record.json")) and not list(Path().rglob("*.part"))


@pytest.mark.parametrize("method", ["zs3net", "zs-mmd"])
def test_layouts_by_unseen_masks_stand_in_the_record(call: Call, method: str) -> None:
    rounds = {"rounds": 0} if method == "zs-mmd" else {}
    plain = record(call(method=method, **rounds))["supervision"]
    published = record(call(method=method, layout="gt-masks", **rounds))["supervision"]
    assert (plain["layout"], published["layout"]) == ("none", "unseen")
    assert plain["vectors"]["kind"] == published["vectors"]["kind"] == "drawn factors"


def test_the_record_holds_stages_and_a_curve(call: Call) -> None:
    found = record(call(self_training=1, st_steps=2))
    assert [stage["name"] for stage in found["stages"]] == ["segmentation", "generation"]
    assert [entry["name"] for entry in found["rounds"]] == ["ZS3Net", "self-training 1"]
    assert found["calibration"]["gamma"] == 0 and found["supervision"]["unlabelled"] == "train"
    assert list(found["training"]["stages"]) == ["self-training-1"]


@pytest.mark.parametrize("method", ["zs3net", "zs-mmd", "spnet", "spnet-c"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"encoder": "resnet999"}, ["resnet999", "resnet50"]),
        ({"vectors": "factr"}, ["factr", "Did you mean 'factor'"]),
        ({"vectors": "absent.npy"}, ["absent.npy"]),
        ({"steps": "many"}, ["steps = 'many'", "a whole number"]),
        ({"roundz": 1}, ["roundz"]),
    ],
    ids=str,
)
def test_mistakes_are_one_sentence(call: Call, method: str, given: dict[str, Any], words: list[str]) -> None:
    refused(call(method=method, **given), *words)


def test_a_round_less_than_none_is_refused(call: Call) -> None:
    refused(call(method="zs-mmd", rounds=-1), "rounds = -1")


@pytest.mark.parametrize("method", ["zs3net", "spnet"])
def test_vectors_of_nan_of_the_wrong_width_and_without_names(call: Call, tmp_path: Path, method: str) -> None:
    rows = np.random.default_rng(0).normal(size=(20, 12)).astype(np.float32)
    for name, array in (
        ("fine", rows),
        ("nan", np.where(np.arange(20)[:, None] == 17, np.nan, rows)),
        ("flat", rows[0]),
    ):
        np.save(tmp_path / f"{name}.npy", array.astype(np.float32))
    words = [*load_split("voc5").names]
    for name, listed in (("all", words), ("few", [*words[:-2], "spade", "bucket"]), ("short", words[:-1])):
        (tmp_path / f"{name}.txt").write_text("\n".join(listed))
    refused(call(method=method, vectors="nan.npy", vector_names="all.txt"), "nan.npy", "nan or inf")
    refused(call(method=method, vectors="flat.npy", vector_names="all.txt"), "flat.npy")
    refused(call(method=method, vectors="fine.npy", vector_names="short.txt"), "19", "20")
    few = call(method=method, vectors="fine.npy", vector_names="few.txt")
    refused(few, "no vector for 2 of the split's classes", "train", "tvmonitor")
    assert (
        record(call(method=method, vectors="fine.npy", vector_names="all.txt"))["supervision"]["vectors"]["dim"] == 12
    )


@pytest.mark.parametrize("method", ["zs3net", "zs-mmd", "spnet", "spnet-c"])
def test_a_split_without_masks_is_refused(call: Call, method: str) -> None:
    refused(call(method=method, split="voc20"), "voc20", "no mask-labelled training images")


@pytest.mark.parametrize("method", ["zs3net", "spnet"])
def test_none_is_no_source_of_vectors(call: Call, method: str) -> None:
    refused(call(method=method, vectors="none"), "vectors")


@pytest.mark.parametrize("method", ["zs3net", "zs-mmd", "spnet", "spnet-c"])
def test_on_photographs_vectors_must_be_named(call: Call, real_data: Path, method: str) -> None:
    photographs = real_data / "voc-real-small/VOCdevkit/VOC2012"
    if not photographs.is_dir():
        pytest.skip(f"no photographs at {photographs}")
    refused(call(method=method, data=photographs, vectors="factor"), "photographs", "--set vectors=FILE")


@pytest.mark.parametrize("method", ["zs3net", "spnet"])
def test_without_vectors_on_photographs_it_says_how_to_give_some(call: Call, real_data: Path, method: str) -> None:
    photographs = real_data / "voc-real-small/VOCdevkit/VOC2012"
    if not photographs.is_dir():
        pytest.skip(f"no photographs at {photographs}")
    refused(call(method=method, data=photographs), "--set vectors=FILE")


def test_a_stage_1_of_another_split_is_refused(call: Call) -> None:
    record(call(split="voc_k2"))
    file = next(Path("runs/stages").glob("segmentation-*/segmentation.safetensors"))
    for path in Path().rglob("record.json"):
        path.unlink()
    words = ("'voc_k2'", "'voc5'", "masks of background, pottedplant, sheep, sofa, train, tvmonitor")
    refused(call(stage1=str(file)), *words)
    refused(call(stage1="absent.safetensors"), "absent.safetensors", "no such file")
