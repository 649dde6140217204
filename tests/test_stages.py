"""Shared stages: trained once for all who need the same, by their key; and checkpoints of other splits, refused."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import generative as made
import pytest
import torch
from torch import Tensor, nn

from zsbench import stages
from zsbench.errors import UserError
from zsbench.method import Job
from zsbench.nn import segmentation
from zsbench.stages import shared_stage
from zsbench.training import Recipe, train

RECIPE = Recipe(3, 2, 0.1)


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(2, 1)

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.body(batch) - 1).square().mean()}

    def after_step(self, step: int, steps: int) -> None:
        pass


def numbers(number: int, rows: slice) -> Tensor:
    return torch.rand(2, 2, generator=torch.Generator().manual_seed(number))[rows]


def folders(root: Path) -> list[str]:
    return sorted(folder.name for folder in root.glob("*-*"))


def run(root: Path, name: str, **changes: Any) -> Job:
    """The job of one of several runs below `root`."""
    return made.job(root / name, **{"stages": root / "stages", **changes})


def stage(job: Job, **settings: Any) -> Line:
    learner = Line()
    with shared_stage(job, "line", {"width": 2, **settings}) as own:
        train(learner, numbers, RECIPE, own, stage="line")
    return learner


# Found again


def test_a_second_run_finds_what_the_first_has_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stage(run(tmp_path, "one"))
    monkeypatch.setattr(Line, "forward", lambda *_: pytest.fail("trained again"))
    second = stage(run(tmp_path, "two"))
    assert not made.moved(made.state(first), made.state(second))
    assert made.moved(made.state(Line()), made.state(second))
    assert len(folders(tmp_path / "stages")) == 1
    notes = [json.loads((tmp_path / name / "stages.json").read_text()) for name in ("one", "two")]
    assert notes[0] == notes[1]


def test_a_run_says_which_stages_it_used(tmp_path: Path) -> None:
    job = run(tmp_path, "one")
    stage(job)
    stage(job, width=3)
    stage(job)
    told = json.loads((job.folder / "stages.json").read_text())
    assert [f"{entry['name']}-{entry['key']}" for entry in told] != folders(tmp_path / "stages")[:1] and len(told) == 2
    for entry in told:
        assert set(entry) == {"name", "key", "seconds", "steps", "images", "images_per_second", "shared", "last"}
        assert (entry["name"], entry["steps"], entry["images"], entry["shared"]) == ("line", 3, 6, True)
        assert entry["images_per_second"] == pytest.approx(6 / entry["seconds"])
        about = json.loads((tmp_path / f"stages/line-{entry['key']}/stage.json").read_text())
        assert about["key"] == entry["key"] and about["trained_on"] == dict(job.facts) and about["name"] == "line"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"precision": "bf16"},
        {"facts": {"split": "colours", "split_fingerprint": "another", "data": "d"}},
        {"facts": {"split": "colours", "split_fingerprint": "c010", "data": "another"}},
        {"device": torch.device("meta")},
    ],
    ids=str,
)
def test_another_seed_precision_split_or_data_is_another_stage(tmp_path: Path, change: dict[str, Any]) -> None:
    for name, changes in (("one", {}), ("two", change)):
        with shared_stage(run(tmp_path, name, **changes), "line", {"width": 2}):
            pass
    assert len(folders(tmp_path / "stages")) == 2


@pytest.mark.parametrize(
    "change", [{"names": ["a"]}, {"folder": "x"}, {"save_seconds": 1.0}, {"facts": {"unseen": ["red"]}}], ids=str
)
def test_what_decides_no_weight_is_in_no_key(tmp_path: Path, change: dict[str, Any]) -> None:
    """Where a run lies, how often it saves, and whether it hears unseen names."""
    job = run(tmp_path, "one")
    facts = dict(job.facts) | change.get("facts", {})
    other = replace(run(tmp_path, "two"), facts=facts, save_seconds=change.get("save_seconds", 30.0))
    for one in (job, other):
        with shared_stage(one, "line", {"width": 2}):
            pass
    assert len(folders(tmp_path / "stages")) == 1


def test_another_setting_name_or_code_is_another_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = run(tmp_path, "one")
    for name, settings in (("line", {"width": 2}), ("line", {"width": 3}), ("curve", {"width": 2})):
        with shared_stage(job, name, settings):
            pass
    monkeypatch.setattr(stages, "code_sha256", lambda: "another")
    with shared_stage(job, "line", {"width": 2}):
        pass
    assert len(folders(tmp_path / "stages")) == 4


def test_without_a_common_folder_a_stage_lies_in_the_runs_own(tmp_path: Path) -> None:
    job = run(tmp_path, "one", stages=None)
    stage(job)
    assert len(folders(job.folder / "stages")) == 1


# Killed and contended


def test_a_killed_stage_goes_on_and_ends_as_an_undisturbed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stage(run(tmp_path / "whole", "one"))
    steps: list[int] = []

    def dies(self: Line, step: int, steps_: int) -> None:
        steps.append(step)
        if len(steps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Line, "after_step", dies)
    with pytest.raises(KeyboardInterrupt):
        stage(run(tmp_path, "one", save_seconds=0))
    assert not (tmp_path / "one/stages.json").exists(), "a stage that is not trained is not used"
    folder = tmp_path / "stages" / folders(tmp_path / "stages")[0]
    (folder / ".line.safetensors.abc.part").write_bytes(b"half")
    again = stage(run(tmp_path, "two", save_seconds=0))
    assert steps == [0, 1, 2, 2], "two steps were saved, the third is walked again"
    assert not made.moved(made.state(whole), made.state(again)) and not list(folder.glob(".*.part"))
    (entry,) = json.loads((tmp_path / "two/stages.json").read_text())
    assert entry["steps"] == 3 and entry["images"] == 6


def test_another_process_waits_until_the_stage_is_free(tmp_path: Path) -> None:
    stage(run(tmp_path, "one"))
    folder = tmp_path / "stages" / folders(tmp_path / "stages")[0]
    entered = threading.Event()
    thread = threading.Thread(target=lambda: (stage(run(tmp_path, "two")), entered.set()))
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread.start()
        assert not entered.wait(0.3)
    assert entered.wait(10)
    thread.join()


def _train_slowly(root: str, name: str) -> None:
    torch.set_num_threads(1)

    class Slow(Line):
        def after_step(self, step: int, steps: int) -> None:
            with (Path(root) / "steps").open("a") as file:
                file.write(f"{step}\n")
            time.sleep(0.05)

    learner, job = Slow(), run(Path(root), name)
    with shared_stage(job, "line", {}) as own:
        train(learner, numbers, RECIPE, own, stage="line")
    torch.save(learner.state_dict(), job.folder / "weights")


def test_two_processes_at_once_train_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_train_slowly, args=(str(tmp_path), name)) for name in ("one", "two")]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert (tmp_path / "steps").read_text().split() == ["0", "1", "2"]
    one, two = (torch.load(tmp_path / name / "weights", weights_only=True) for name in ("one", "two"))
    assert not made.moved(one, two)


# By the methods


def used(job: Job) -> dict[str, str]:
    return {entry["name"]: entry["key"] for entry in json.loads((job.folder / "stages.json").read_text())}


def test_methods_share_stage_1_and_zs_mmd_stage_2_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [run(tmp_path, name) for name in ("zs3net", "zs-mmd", "other layout", "other seed")]
    made.built("zs3net").fit(made.view(), jobs[0])
    real_train = segmentation.train
    monkeypatch.setattr(segmentation, "train", lambda *args, **kw: _only_loads(real_train, *args, **kw))
    made.built("zs-mmd").fit(made.view(), jobs[1])
    made.built("zs3net", layout="seen-relabelled").fit(made.view(), jobs[2])
    monkeypatch.undo()
    made.built("zs3net").fit(made.view(), replace(jobs[3], seed=1))
    keys = [used(job) for job in jobs]
    assert [list(one) for one in keys] == [["segmentation", "generation"]] * 4
    assert keys[0] == keys[1] and keys[2]["segmentation"] == keys[0]["segmentation"]
    assert keys[2]["generation"] != keys[0]["generation"] and not set(keys[3].values()) & set(keys[0].values())


def _only_loads(real: Any, learner: Any, batches: Any, recipe: Recipe, job: Job, **kw: Any) -> Any:
    return real(learner, lambda *_: pytest.fail("trained again"), recipe, job, **kw)


@pytest.mark.parametrize(
    ("given", "shared"),
    [
        ({"noise": "normal"}, {"segmentation"}),
        ({"layout": "seen-relabelled", "context": "graph"}, {"segmentation"}),
        ({"unseen_weight": 3.0}, {"segmentation"}),
        ({"self_training": 1}, {"segmentation", "generation"}),
        ({"test_size": 16}, {"segmentation", "generation"}),
        ({"seg_lr": 1e-3}, set()),
        ({"scale_high": 1.5}, set()),
    ],
    ids=str,
)
def test_a_stage_is_shared_where_nothing_that_decides_it_differs(tmp_path: Path, given: Any, shared: set[str]) -> None:
    jobs = [run(tmp_path, name) for name in ("one", "two")]
    made.built("zs3net").fit(made.view(), jobs[0])
    made.built("zs3net", **given).fit(made.view(), jobs[1])
    one, two = map(used, jobs)
    assert {name for name in one if one[name] == two[name]} == shared


def test_patches_and_pixels_do_not_share_stage_2(tmp_path: Path) -> None:
    jobs = [run(tmp_path, name) for name in ("one", "two")]
    for job, context in zip(jobs, ("none", "graph"), strict=True):
        made.built("zs3net", layout="gt-masks", context=context).fit(made.view(), job)
    assert used(jobs[0])["generation"] != used(jobs[1])["generation"]


def test_other_vectors_are_another_stage_2(tmp_path: Path) -> None:
    jobs, other = [run(tmp_path, name) for name in ("one", "two")], made.vectors()
    other._rows = {name: row + 1 for name, row in other._rows.items()}
    made.built("zs3net").fit(made.view(), jobs[0])
    made.built("zs3net").fit(replace(made.view(), vectors=other), jobs[1])
    one, two = map(used, jobs)
    assert one["segmentation"] == two["segmentation"] and one["generation"] != two["generation"]


# stage1=FILE


def checkpoint(tmp_path: Path, **changes: Any) -> Path:
    made.built("zs3net").stage_one().network(made.view(), run(tmp_path, "first", **changes))
    return next((tmp_path / "stages").glob("segmentation-*/segmentation.safetensors"))


def fitted(tmp_path: Path, name: str, method: str = "zs3net", **given: Any) -> Tensor:
    segmenter = made.built(method, **given).fit(made.view(), run(tmp_path / name, name))
    scores: Tensor = segmenter(made.images(), made.NAMES)
    return scores


@pytest.mark.parametrize("method", ["zs3net", "zs-mmd"])
def test_a_file_of_the_same_split_gives_what_the_shared_stage_gives(tmp_path: Path, method: str) -> None:
    file = checkpoint(tmp_path)
    assert torch.equal(fitted(tmp_path, "shared", method), fitted(tmp_path, "file", method, stage1=str(file)))
    stages = json.loads((run(tmp_path / "file", "file").folder / "stages.json").read_text())
    assert [(stage["name"], stage["shared"]) for stage in stages] == [("segmentation", False), ("generation", True)]


def test_a_file_of_a_training_that_has_not_ended_is_refused(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    file = checkpoint(tmp_path)
    with safe_open(file, "pt") as opened:
        header = dict(opened.metadata())
    progress = json.loads(header["zsbench"])
    save_file(load_file(file), file, header | {"zsbench": json.dumps(progress | {"step": progress["steps"] - 1})})
    refused(tmp_path, file, "has not ended", f"of {progress['steps']}")


@pytest.mark.parametrize("name", ["zsbench", "facts"])
@pytest.mark.parametrize("told", ["[1]", "3", '{"foo": 3}', "no JSON"])
def test_a_header_of_anything_is_no_crash(tmp_path: Path, name: str, told: str) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    file = checkpoint(tmp_path)
    with safe_open(file, "pt") as opened:
        header = dict(opened.metadata())
    save_file(load_file(file), file, header | {name: told})
    refused(tmp_path, file, str(file))


def test_a_method_from_outside_shares_no_stage(tmp_path: Path) -> None:
    """It may train on what it likes under the name of a shared stage; nobody else starts from that."""
    own, other = made.job(tmp_path / "own"), made.job(tmp_path / "other")
    other = replace(other, facts={**other.facts, "outside": "0123"})
    keys = []
    for job in (own, other):
        with shared_stage(job, "segmentation", {"steps": 1}) as shared:
            keys.append(shared.folder.name)
    assert keys[0] != keys[1]


def refused(tmp_path: Path, file: Path, *words: str, **given: Any) -> None:
    with pytest.raises(UserError) as error:
        fitted(tmp_path, "refused", **{"stage1": str(file), **given})
    for word in words:
        assert word in str(error.value), error.value


def test_a_file_of_another_split_is_refused_and_says_what_it_has_seen(tmp_path: Path) -> None:
    facts = {"split": "rainbow", "split_fingerprint": "abc", "seen": ["red", "yellow", "violet"]}
    file = checkpoint(tmp_path, facts=facts)
    words = ("'rainbow' (abc)", "'colours' (c010)", "masks of yellow, violet", str(file))
    refused(tmp_path, file, *words)


@pytest.mark.parametrize("facts", [{}, {"split": "rainbow", "split_fingerprint": "abc", "seen": ["red"]}], ids=str)
def test_a_file_that_may_have_seen_more_is_refused(tmp_path: Path, facts: dict[str, Any]) -> None:
    refused(tmp_path, checkpoint(tmp_path, facts=facts), "it may have seen what is unseen here", "'colours' (c010)")


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = checkpoint(tmp_path)
    refused(tmp_path, tmp_path / "absent.safetensors", "absent.safetensors: no such file")
    refused(tmp_path, tmp_path, "no such file")
    refused(tmp_path, file, "checkpoint of another model", width=24)
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"garbage")
    refused(tmp_path, garbage, "not a zsbench checkpoint")
    other = next((tmp_path / "refused").rglob("*.safetensors"), None)
    assert other is None, "nothing was trained"


def test_a_network_that_learned_unseen_names_is_no_stage_1(tmp_path: Path) -> None:
    """The checkpoint of a self-trained student has columns for unseen names."""
    job = run(tmp_path, "student")
    made.built("zs3net", self_training=1).fit(made.view(), job)
    refused(tmp_path, job.folder / "self-training-1.safetensors", "checkpoint of another model")


def test_another_file_in_the_same_place_is_another_stage_2(tmp_path: Path) -> None:
    file = checkpoint(tmp_path)
    same_place, job = tmp_path / "mine.safetensors", run(tmp_path, "run")
    same_place.write_bytes(file.read_bytes())
    method = made.built("zs3net", stage1=str(same_place))
    method.fit(made.view(), job)
    second = checkpoint(tmp_path / "again", seed=5)
    same_place.write_bytes(second.read_bytes())
    found = method.fit(made.view(), job)(made.images(), made.NAMES)
    clean = method.fit(made.view(), run(tmp_path / "clean", "run"))(made.images(), made.NAMES)
    assert torch.equal(found, clean)


def test_other_weights_to_start_from_in_the_same_place_are_another_stage_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights.pt"
    method = made.built("zs3net", encoder="resnet50", pretrained=str(weights))
    monkeypatch.setattr(segmentation, "build_encoder", lambda *_, **__: made.Normed())
    monkeypatch.setattr(segmentation, "train", lambda *_, **__: None)
    for content in (b"one", b"another"):
        weights.write_bytes(content)
        method.stage_one().network(made.view(), run(tmp_path, "run"))
    assert len(folders(tmp_path / "stages")) == 2


def test_a_given_stage_1_keeps_the_mark_of_what_its_encoder_saw(tmp_path: Path) -> None:
    """Weights of unknown origin stay unknown when they come back as a checkpoint."""
    from zsbench.method import load_method

    facts = made.job(tmp_path / "any").facts | {"backbone_corpus": "ImageNet-1k: seen"}
    method = load_method("zs3net").cls(stage1=str(checkpoint(tmp_path, facts=facts)))
    assert method.supervision.backbone_corpus == "ImageNet-1k: seen"
    assert "segmentation.safetensors" in method.supervision.backbone
    silent = load_method("zs3net").cls(stage1=str(tmp_path / "none.safetensors"))
    assert silent.supervision.backbone_corpus == "unknown corpus"


def test_every_run_has_the_curves_of_its_stages_whoever_trained_them(tmp_path: Path) -> None:
    first, second = run(tmp_path, "one"), run(tmp_path, "two")
    for job in (first, second, second):  # the last: a run that goes on
        stage(job)
    (trained,) = (tmp_path / "stages").glob("*/curves.jsonl")
    for job in (first, second):
        assert (job.folder / "curves.jsonl").read_text() == trained.read_text() != ""
    told = json.loads((second.folder / "stages.json").read_text())
    assert round(told[0]["last"]["loss"], 6) == json.loads(trained.read_text().splitlines()[-1])["loss"]


def test_other_captions_are_another_stage(tmp_path: Path) -> None:
    for name, captions in (("one", "aa"), ("two", "bb"), ("three", "aa")):
        job = run(tmp_path, name)
        stage(replace(job, facts={**job.facts, "captions": captions}))
    assert len(folders(tmp_path / "stages")) == 2
