"""Recursive ZS-MMD as a whole: switched off it is ZS3Net to the last bit, and no round looks at what is unseen."""

from __future__ import annotations

import importlib
import itertools
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import generative as made
import numpy as np
import pytest
import torch
import zsbench.methods
from torch import Tensor

from zsbench import method as method_module
from zsbench import runner
from zsbench.data.dataset import IGNORED
from zsbench.data.vectors import open_vectors
from zsbench.data.view import Items, guarded_view
from zsbench.data.voc import VocDataset
from zsbench.errors import UserError
from zsbench.method import load_method
from zsbench.nn import choosing, segmentation
from zsbench.nn.segmentation import PixelSegmenter
from zsbench.runner import Outcome, Plan
from zsbench.split import load_split

VOC5 = load_split("voc5")
OFF = {"rounds": 0}, {"zs_weight": 0.0}, {"tau": 1.1}, {"least": 100_000}


def fitted(tmp_path: Path, name: str, method: str = "zs-mmd", data: Any = None, **given: Any) -> PixelSegmenter:
    """Every name has stages of its own: nothing is shared."""
    found: PixelSegmenter = made.built(method, **given).fit(data or made.view(), made.job(tmp_path / name))
    return found


def scores(segmenter: Any) -> Tensor:
    found: Tensor = segmenter(made.images(), made.NAMES)
    return found


# Switched off


@pytest.mark.parametrize("off", OFF, ids=str)
@pytest.mark.parametrize("more", [{}, {"self_training": 1}, {"layout": "gt-masks"}], ids=str)
def test_without_rounds_it_is_zs3net_to_the_last_bit(tmp_path: Path, off: Any, more: Any) -> None:
    own = fitted(tmp_path, "zs-mmd", **off, **more)
    parent = fitted(tmp_path, "zs3net", "zs3net", **more)
    assert not made.moved(made.state(own.net), made.state(parent.net))
    assert torch.equal(scores(own), scores(parent))
    assert len(own.rounds) == len(parent.rounds)


def test_round_0_is_zs3net_and_each_round_goes_on(tmp_path: Path) -> None:
    own, parent = fitted(tmp_path, "zs-mmd"), fitted(tmp_path, "zs3net", "zs3net")
    assert [state.name for state in own.rounds] == ["round 0: ZS3Net", "round 1", "round 2"]
    states = [scores(state.segmenter) for state in own.rounds]
    assert torch.equal(states[0], scores(parent)) and torch.equal(states[-1], scores(own))
    assert not torch.equal(states[0], states[1]) and not torch.equal(states[1], states[2])
    one = fitted(tmp_path, "one round", rounds=1)
    assert torch.equal(scores(one), states[1]), "what comes after a round does not change it"


@pytest.mark.parametrize("joint", [False, True])
def test_after_all_rounds_the_encoder_is_that_of_stage_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joint: bool
) -> None:
    """Batch statistics included; joint, all but the last block."""
    monkeypatch.setattr(segmentation, "build_encoder", lambda *_, **__: made.Normed(16))
    own = fitted(tmp_path, "run", joint=joint)
    first = made.built("zs3net").stage_one().network(made.view(), made.job(tmp_path / "run"))
    encoders = [made.state(state.segmenter.net.encoder) for state in own.rounds]
    assert not made.moved(made.state(first.encoder), encoders[0])
    for before, after in itertools.pairwise(encoders):
        changed = made.moved(before, after)
        assert bool(changed) == joint and all(name.startswith("last.") for name in changed)


def test_a_fresh_classifier_is_another_option(tmp_path: Path) -> None:
    previous, fresh = (fitted(tmp_path, start, classifier_start=start) for start in ("previous", "fresh"))
    assert not torch.equal(scores(previous), scores(fresh))
    assert torch.equal(scores(previous.rounds[0].segmenter), scores(fresh.rounds[0].segmenter))


# Pools


def test_the_selection_is_by_the_classifier_of_the_round_before(tmp_path: Path) -> None:
    own = fitted(tmp_path, "run", tau=0.4, reject=0.0)
    assert own.rounds[0].selected is None
    pool = made.view().unlabelled
    assert pool is not None
    for before, state in itertools.pairwise(own.rounds):
        assert state.selected is not None and state.selected.door == "unlabelled"
        for place, taken in zip(state.selected.positions, state.selected.maps, strict=True):
            image = torch.from_numpy(pool.fetch([place])[0]).permute(2, 0, 1)[None].float() / 255
            sized = segmentation.sized(image, 16)
            chance, called = before.segmenter(sized, made.NAMES)[0].softmax(0).max(0)
            expected = torch.where((called >= 3) & (chance >= 0.4), called - 3, IGNORED)
            assert (expected.numpy() == taken).mean() > 0.99  # a chance may lie on tau


def test_an_inductive_pool_is_the_labelled_door_alone(tmp_path: Path) -> None:
    shut = Items(24, lambda places: pytest.fail("the unlabelled door was opened"))
    data = replace(made.view(), unlabelled=shut)
    own = fitted(tmp_path, "run", data=data, pool="inductive", reject=0.0)
    assert len(own.rounds) == 3 and {state.selected.door for state in own.rounds[1:] if state.selected} == {"labelled"}
    with pytest.raises(pytest.fail.Exception, match="unlabelled door"):
        fitted(tmp_path, "other", data=data)
    supervision = [made.built("zs-mmd", pool=pool).supervision.unlabelled for pool in ("inductive", "transductive")]
    assert supervision == ["none", "train"]
    for off in ({"rounds": 0}, {"zs_weight": 0.0}):
        assert made.built("zs-mmd", **off).supervision.unlabelled == "none"
    assert made.built("zs-mmd", pool="inductive", self_training=1).supervision.unlabelled == "train"


@pytest.mark.parametrize("pool", ["transductive", "inductive"])
def test_unseen_labels_change_no_selection_and_no_score(dataset: VocDataset, tmp_path: Path, pool: str) -> None:
    method, found, chosen = made.built("zs-mmd", crop=32, pool=pool, reject=0.1), [], []
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    few = replace(dataset, parts=dict(dataset.parts) | {"trainaug": dataset.parts["train"][:50]})
    for name, data in (("plain", few), *((by, made.fogged(few, VOC5, by)) for by in ("ids", "255"))):
        vectors = open_vectors("factor", VOC5, data, data.root, VOC5.names)
        own = method.fit(guarded_view(VOC5, data, method.supervision, vectors=vectors), made.job(tmp_path / name))
        found.append([state.segmenter(pictures, VOC5.names) for state in own.rounds])
        chosen.append([file.read_bytes() for file in sorted((tmp_path / name).glob("chosen-*.safetensors"))])
    assert [len(states) for states in found] == [3] * 3 and len(chosen[0]) == 2
    assert chosen[0] == chosen[1] == chosen[2]
    for states in zip(*found, strict=True):
        assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])


def test_pools_of_several_sizes(tmp_path: Path) -> None:
    data = made.view(sizes=((32, 32), (24, 44), (50, 34)))
    for joint in (False, True):
        own = fitted(tmp_path, str(joint), data=data, joint=joint, reject=0.0)
        selected = own.rounds[1].selected
        assert selected is not None and [one.shape for one in selected.maps[:3]] == [(4, 4), (4, 8), (6, 4)]


def test_joint_batches_pair_pool_pictures_with_what_was_chosen_on_them(tmp_path: Path) -> None:
    """Each picture's colour says its place; its map holds one name, or nothing."""
    parts = sys.modules[load_method("zs-mmd").cls.__module__]
    pool = made.items([np.full((16, 16, 3), 20 * place, np.uint8) for place in range(6)])
    maps = torch.tensor([0, IGNORED, 1, 0, IGNORED, 1], dtype=torch.uint8).repeat_interleave(16)
    bank = torch.zeros(1, 2), torch.zeros(1).long(), torch.zeros(1), torch.zeros(2).bool()
    chosen = choosing.Chosen(maps, torch.tensor([[4, 4]] * 6), *bank)
    plain = made.built("zs-mmd").batches(made.view(), made.job(tmp_path))
    make = parts.PoolBatches(plain, pool, chosen, segmentation.Crops(16), 4, made.job(tmp_path))
    for number in range(3):
        batch = make(number, slice(0, 4))
        places = (batch["pool"][:, 0, 0, 0] * 255 / 20).round().long().tolist()
        assert set(places) <= {0, 2, 3, 5}, "pictures on which nothing was chosen are left out"
        assert [int(one.unique()) for one in batch["pool_names"]] == [{0: 0, 2: 1, 3: 0, 5: 1}[p] for p in places]
        parts_ = [make(number, slice(0, 2)), make(number, slice(2, 4))]
        for name in ("pool", "pool_names", "images", "labels"):
            assert torch.equal(batch[name], torch.cat([one[name] for one in parts_])), name


# Killed


@pytest.mark.parametrize("after", ["chosen-1.safetensors", "round-1.safetensors", "chosen-2.safetensors"])
def test_a_killed_run_goes_on_and_ends_with_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    whole = scores(fitted(tmp_path, "whole"))
    folder, real = tmp_path / "killed", choosing.choose
    parts = sys.modules[load_method("zs-mmd").cls.__module__]

    def dies(*args: Any, **kwargs: Any) -> Any:
        done = real_call(*args, **kwargs)
        if (folder / after).exists():
            raise KeyboardInterrupt
        return done

    name = "choose" if after.startswith("chosen") else "train"
    real_call = real if name == "choose" else parts.train
    method = made.built("zs-mmd")
    monkeypatch.setattr(sys.modules[type(method).__module__], name, dies)
    with pytest.raises(KeyboardInterrupt):
        method.fit(made.view(), made.job(folder))
    monkeypatch.undo()
    assert (folder / after).exists()
    looked = [] if after == "chosen-1.safetensors" else ["round-1"]
    assert [file.stem for file in folder.glob("round-*.safetensors")] == looked
    own = made.built("zs-mmd").fit(made.view(), made.job(folder))
    assert torch.equal(scores(own), whole) and len(own.rounds) == 3


# Fields


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rounds": -1}, "rounds = -1"),
        ({"tau": -0.1}, "tau = -0.1"),
        ({"topk_share": 1.2}, "topk_share = 1.2: a share"),
        ({"reject": 1.1}, "reject = 1.1: a share"),
        ({"least": 0}, "least = 0"),
        ({"zs_weight": -1}, "zs_weight = -1"),
        ({"pool": "test"}, "one of transductive, inductive"),
        ({"joint": "maybe"}, "true or false"),
        ({"unseen_weight": 0}, "unseen_weight = 0"),
        (
            {"context": "graph", "layout": "gt-masks"},
            "context = graph generates patches, and the recursion needs pixels",
        ),
    ],
    ids=str,
)
def test_wrong_fields_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        made.built("zs-mmd", **given)


def test_every_inferred_choice_says_so() -> None:
    cls = load_method("zs-mmd").cls
    for name in ("rounds", "pool", "select", "tau", "weight", "least", "zs_weight", "round_steps", "joint"):
        assert cls.departures[name].startswith("inferred: the paper's text could not be had"), name


def test_no_field_of_the_recursion_is_left_out() -> None:
    cls = load_method("zs-mmd").cls
    own = [f.name for f in fields(cls) if f.name not in {f.name for f in fields(load_method("zs3net").cls)}]
    assert len(own) >= 13 and [name for name in own if "inferred" not in cls.departures.get(name, "")] == []


# Through the harness

Go = Callable[..., Outcome]


@pytest.fixture(scope="module")
def go(dataset: VocDataset, tmp_path_factory: pytest.TempPathFactory) -> Go:
    """A run; the same one again is shown and not repeated."""
    root = tmp_path_factory.mktemp("zs-mmd")

    def run(method: str, out: str = "runs", **given: Any) -> Outcome:
        plan = Plan(dataset, dataset.root, made.CPU, "fp32", limit=12, out=root / out)
        return runner.execute(runner.prepare(plan, method, VOC5, 0, made.QUICK[method] | {"crop": 64} | given))

    return run


def record(outcome: Outcome) -> dict[str, Any]:
    assert outcome.record is not None, outcome.message
    return outcome.record


def test_the_record_of_a_run_without_rounds_is_zs3nets(go: Go) -> None:
    off, parent = record(go("zs-mmd", "apart", rounds=0)), record(go("zs3net"))
    assert off["confusion"] == parent["confusion"] and off["scores"] == parent["scores"]
    assert off["calibration"] == parent["calibration"] and off["rounds"] is None is parent["rounds"]
    allowed = [one["supervision"] | {"tuned_on": ""} for one in (off, parent)]
    assert allowed[0] == allowed[1], "without rounds nothing more is looked at"


def test_the_first_round_of_the_record_is_zs3net_from_the_same_stages(go: Go) -> None:
    parent, own = record(go("zs3net")), record(go("zs-mmd"))
    assert own["rounds"][0]["scores"]["all"]["unseen"] == {
        field: parent["scores"]["all"]["unseen"][field] for field in ("miou", "interval")
    }
    assert [stage["key"] for stage in own["stages"]] == [stage["key"] for stage in parent["stages"]]
    assert own["supervision"]["unlabelled"] == "train" and own["confusion"] != parent["confusion"]
    for entry in own["rounds"][1:]:
        counts = entry["selected"]["classes"].values()
        assert entry["selected"]["door"] == "unlabelled" and sum(one["pixels"] for one in counts) > 0
    assert list(own["training"]["stages"]) == ["round-1", "round-2"]


@pytest.mark.parametrize(("child", "parent"), [("zs-mmd", "zs3net"), ("spnet-c", "spnet")])
def test_a_change_of_the_parent_method_is_another_run(
    dataset: VocDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: str, parent: str
) -> None:
    """A finished record must not outlive the code that made it."""
    copy = tmp_path / "methods"
    shutil.copytree(Path(str(zsbench.methods.__file__)).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(zsbench.methods, "__path__", [str(copy)])
    monkeypatch.setattr(method_module.resources, "files", lambda _: copy)
    keys = []
    for change in ("", "\n# changed\n"):
        (copy / f"{parent}.py").write_text((copy / f"{parent}.py").read_text() + change)
        for name in [name for name in sys.modules if name.startswith("zsbench.methods.")]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        plan = Plan(dataset, dataset.root, made.CPU, "fp32", out=tmp_path / "runs")
        keys.append(runner.prepare(plan, child, VOC5, 0, {}).key)
    assert keys[0] != keys[1]


def test_facts_of_the_split_stand_in_every_checkpoint(go: Go) -> None:
    from safetensors import safe_open

    outcome = go("zs-mmd")
    files = [*outcome.folder.glob("round-*.safetensors"), *outcome.folder.parents[1].glob("stages/*/*.safetensors")]
    assert len(files) == 4
    for file in files:
        with safe_open(file, "pt") as opened:
            facts = json.loads(opened.metadata()["facts"])
        assert (facts["split"], facts["split_fingerprint"]) == ("voc5", VOC5.fingerprint), file
        assert facts["seen"] == list(VOC5.seen)
