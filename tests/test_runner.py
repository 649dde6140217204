"""One run: what decides its key, what its record says, what happens when a method fails or somebody else is at work."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from reports.shape import RECORD, faults
from zsbench import __version__, runner
from zsbench.account import is_limited
from zsbench.cli import main
from zsbench.data.view import to_split_ids
from zsbench.data.voc import VocDataset
from zsbench.errors import UserError
from zsbench.runner import Outcome, Plan, Run
from zsbench.split import load_split

STUBS = Path(__file__).parent / "stubs"


def stub(name: str) -> str:
    return str(STUBS / f"{name}.py")


def plan(dataset: VocDataset, out: Path, **changes: Any) -> Plan:
    return replace(
        Plan(dataset, dataset.root, torch.device("cpu"), "fp32", out=out, command="zsbench run …"), **changes
    )


def prepare(
    plan: Plan, method: str = "colours", split: str = "voc5", seed: int = 0, given: dict[str, Any] | None = None
) -> Run:
    return runner.prepare(plan, stub(method), load_split(split), seed, given or {})


def execute(plan: Plan, method: str = "colours", split: str = "voc5", **given: Any) -> Outcome:
    return runner.execute(prepare(plan, method, split, given=given))


def strict(text: str) -> dict[str, Any]:
    """JSON without NaN and Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return found


@pytest.fixture(scope="module")
def done(dataset: VocDataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Five finished runs: dense and coarse scores, regions, captions, every class unseen."""
    here = plan(dataset, tmp_path_factory.mktemp("runs"))
    runs = {
        "colours": execute(here),
        "coarse": execute(here, coarse=4),
        "tiles": execute(here, "tiles", "voc_k2", coarse=2),
        "listener": execute(here, "listener", "voc_k2"),
        "constant": execute(here, "constant", "voc20"),
    }
    assert {outcome.status for outcome in runs.values()} == {"done"}, [o.message for o in runs.values()]
    return runs


RUNS = ("colours", "coarse", "tiles", "listener", "constant")


def record_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.record is not None, outcome.message
    return outcome.record


# The record


@pytest.mark.parametrize("name", RUNS)
def test_a_record_is_complete_and_strict(done: dict[str, Outcome], name: str) -> None:
    outcome = done[name]
    record = strict((outcome.folder / "record.json").read_text())
    assert record == outcome.record
    assert list(faults(record, RECORD)) == []
    required = {field.removesuffix("?") for field in RECORD}
    assert required <= set(record), "a field of the schema is not written"
    for part in ("method", "split", "data", "supervision"):
        assert {field.removesuffix("?") for field in RECORD[part]} <= set(record[part])
    assert (record["schema"], record["status"], record["zsbench"]) == (1, "done", __version__)
    assert record["key"] == outcome.key and outcome.folder.name == f"{name_of(outcome)}-{outcome.key}"
    assert outcome.folder.parent.name == record["split"]["name"]
    assert record["started"] <= record["finished"] and record["started"].endswith("+00:00")


def name_of(outcome: Outcome) -> str:
    return str(record_of(outcome)["method"]["name"])


@pytest.mark.parametrize("name", RUNS)
def test_per_image_counts_add_up_to_the_confusion(done: dict[str, Outcome], dataset: VocDataset, name: str) -> None:
    outcome, record = done[name], record_of(done[name])
    frame = pd.read_parquet(outcome.folder / record["files"]["per_image"])
    names, seen = len(record["split"]["seen"] + record["split"]["unseen"]), len(record["split"]["seen"])
    for scope, first in (("all", 0), ("unseen", seen)):
        table = np.zeros((names, names), int)
        for row in frame[frame["scope"] == scope].itertuples():
            table[row.true, row.predicted] += row.pixels
        assert table[first:, first:].tolist() == record["confusion"][scope]
        assert table.sum() == np.sum(record["confusion"][scope]) == record["scores"][scope]["pixels"]
    split = load_split(record["split"]["name"])
    scored = sum(
        (to_split_ids(dataset.labels(k), dataset.classes, split.names) != 255).sum() for k in dataset.keys("val")
    )
    assert record["scores"]["all"]["pixels"] == scored
    regions = {"oracle-all", "oracle-unseen"} if name == "tiles" else set()
    assert set(frame["scope"]) == {"all", "unseen"} | regions


def test_a_run_folder_holds_what_the_record_names_and_nothing_more(done: dict[str, Outcome]) -> None:
    for outcome in done.values():
        files = record_of(outcome)["files"]
        named = {files["per_image"], "record.json", "seconds.json", ".lock"}
        named |= {entry[layer] for entry in files["pictures"] for layer in ("photo", "truth", "prediction")}
        there = {str(file.relative_to(outcome.folder)) for file in outcome.folder.rglob("*") if file.is_file()}
        assert there == named and files["curves"] is None and 3 <= len(files["pictures"]) <= 8


def test_colours_find_the_unseen_classes(done: dict[str, Outcome]) -> None:
    """The whole chain from pixels to record: a rule that must be far above chance is, one that must not is not."""
    for name in ("colours", "coarse"):
        unseen = record_of(done[name])["scores"]["unseen"]
        assert unseen["miou"] > 3 * unseen["chance"]["miou"] and unseen["oracle"] is None
        assert unseen["interval"][0] < unseen["miou"] < unseen["interval"][1]
    constant = record_of(done["constant"])["scores"]["unseen"]
    assert constant["classes"]["tvmonitor"]["recall"] == 1 and constant["mean_accuracy"] == pytest.approx(1 / 20)
    assert constant["miou"] < constant["chance"]["miou"]


def test_regions_have_an_oracle_bound_in_both_scopes(done: dict[str, Outcome]) -> None:
    scores = record_of(done["tiles"])["scores"]
    assert scores["all"]["miou"] < 0.5 * scores["all"]["oracle"]["miou"] < 0.5
    assert scores["unseen"]["miou"] < 0.7 < scores["unseen"]["oracle"]["miou"] <= 1
    low, high = scores["unseen"]["oracle"]["interval"]
    assert low <= scores["unseen"]["oracle"]["miou"] <= high


def test_without_seen_classes_there_is_no_seen_score_and_no_harmonic_mean(done: dict[str, Outcome]) -> None:
    record = record_of(done["constant"])
    every, unseen = record["scores"]["all"], record["scores"]["unseen"]
    assert every["seen"] == {"miou": None, "interval": None, "pixel_accuracy": None, "mean_accuracy": None,
                             "classes_scored": 0, "classes_absent": []}  # fmt: skip
    assert every["harmonic"] == {"miou": None, "interval": None}
    assert every["unseen"]["miou"] == every["miou"] == unseen["miou"]
    assert record["confusion"]["all"] == record["confusion"]["unseen"]


def test_background_is_scored_where_the_split_sees_it(done: dict[str, Outcome], dataset: VocDataset) -> None:
    every = record_of(done["listener"])["scores"]["all"]
    pixels = sum(int((dataset.labels(key) == 0).sum()) for key in dataset.keys("val"))
    assert every["classes"]["background"]["pixels"] == pixels and every["classes"]["background"]["group"] == "seen"
    assert "background" not in record_of(done["colours"])["scores"]["all"]["classes"]


def test_the_record_tells_configuration_and_departures(done: dict[str, Outcome]) -> None:
    method = record_of(done["coarse"])["method"]
    assert method["config_given"] == {"coarse": 4} and method["config"] == {"coarse": 4, "floor": 0.15}
    assert method["departures"] == [
        {"field": "coarse", "paper": 1, "value": 4, "reason": "set for this run"},
        {"field": "floor", "paper": None, "value": 0.15,
         "reason": "drawn grounds are muted; no paper says how grey a background is"},
    ]  # fmt: skip
    assert method["name"] == "colours" and method["parameters"] == {"trainable": 0, "total": 0}
    assert method["title"].startswith("Colours: a pixel's score") and len(method["source_sha256"]) == 64


def test_the_record_tells_data_and_split(done: dict[str, Outcome], dataset: VocDataset) -> None:
    record, split = record_of(done["colours"]), load_split("voc5")
    assert record["split"]["seen"] == list(split.seen) and record["split"]["unseen"] == list(split.unseen)
    assert record["split"]["fingerprint"] == split.fingerprint
    assert record["data"]["kind"] == "drawn" and record["data"]["fingerprint"] == dataset.origin.fingerprint
    parts = record["data"]["parts"]
    assert parts["train"] == {"list": "trainaug", "images": 120, "sha256": dataset.part_sha256("trainaug")}
    assert parts["val"] == {"list": "val", "images": 60, "scored": 60, "sha256": dataset.part_sha256("val")}
    assert record["limit"] is None and record["limited"] is False


def test_the_record_tells_where_and_how_long(done: dict[str, Outcome]) -> None:
    for outcome in done.values():
        record = record_of(outcome)
        assert record["device"] == "cpu" and record["precision"] == "fp32" and record["command"] == "zsbench run …"
        assert record["environment"]["torch"] and record["environment"]["cores"] >= 1
        seconds = record["seconds"]
        assert seconds["total"] == pytest.approx(seconds["fit"] + seconds["evaluate"]) and seconds["evaluate"] > 0
        assert record["images_per_second"]["evaluate"] > 60 / seconds["evaluate"] * 0.99
        assert record["training"] is None and record["images_per_second"]["train"] is None
        assert record["peak_memory_bytes"]["host"] > 2**20


def test_the_ledger_tells_what_was_learned_from(done: dict[str, Outcome]) -> None:
    colours, listener = (record_of(done[name])["supervision"] for name in ("colours", "listener"))
    assert colours["corpus"] is None and colours["captions"] is False
    assert colours["tuned_on"] == "the looks of the drawn scenes" and colours["backbone"] == "none"
    assert listener["captions"] is True and listener["corpus"]["name"] == "drawn: web"
    assert listener["corpus"]["verdict"] == "names unseen classes"
    assert set(listener["corpus"]["unseen_named"]) == {"cow", "motorbike"}


VECTORED = '''"""Vectored: scores are the class vectors' first numbers."""
from dataclasses import dataclass
import json
import torch
from zsbench.supervision import Supervision

JOBS = []

@dataclass(frozen=True)
class Vectored:
    vectors: str = "factor"
    vector_names: str = ""
    started_from: int = 0  # shared stages

    @property
    def supervision(self):
        return Supervision(vectors=self.vectors, vector_names=self.vector_names, unseen_names="training")

    def fit(self, data, job):
        JOBS.append(job)
        rows = torch.tensor(data.vectors.rows([*data.seen, *data.unseen]))
        if self.started_from:
            stages = [{"name": "segmentation", "key": "0123456789ab", "seconds": 1.5, "steps": 10, "images": 80,
                       "images_per_second": 53.3, "shared": True}] * self.started_from
            (job.folder / "stages.json").write_text(json.dumps(stages))
        return lambda images, names: rows[:, 0][None, :, None, None].expand(len(images), -1, 2, 2)
'''


@pytest.fixture
def vectored(dataset: VocDataset, tmp_path: Path) -> Callable[..., Run]:
    (tmp_path / "vectored.py").write_text(VECTORED)
    here = plan(dataset, tmp_path / "runs", limit=2)

    def run(split: str = "voc5", seed: int = 0, **given: Any) -> Run:
        return runner.prepare(here, str(tmp_path / "vectored.py"), load_split(split), seed, given)

    return run


def test_class_vectors_stand_in_the_ledger(vectored: Callable[..., Run], dataset: VocDataset) -> None:
    record = record_of(runner.execute(vectored()))
    ledger, path = record["supervision"]["vectors"], dataset.root / "semantics/factor300.npy"
    assert ledger["source"] == "factor" and ledger["dim"] == 300 and ledger["kind"] == "drawn factors"
    assert ledger["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() and ledger["leaks"] is False
    assert list(ledger["words"]) == list(load_split("voc5").names), "unseen ones, too: the record is written after all"
    assert "vector_names" not in record["supervision"] and list(faults(record, RECORD)) == []


def test_without_class_vectors_there_is_no_ledger_of_them(done: dict[str, Outcome]) -> None:
    for outcome in done.values():
        record = record_of(outcome)
        assert record["supervision"]["vectors"] is None and "vector_names" not in record["supervision"]
        assert record["rounds"] is None and record["calibration"] is None and record["stages"] == []


def test_class_vectors_are_part_of_the_key(vectored: Callable[..., Run], dataset: VocDataset, tmp_path: Path) -> None:
    assert vectored().key == vectored().key != vectored(vectors="factor64").key
    runs = {"seed 0": vectored(vectors="random"), "seed 1": vectored(vectors="random", seed=1)}
    assert len({run.key for run in runs.values()}) == 2
    rows = np.random.default_rng(0).standard_normal((21, 4)).astype(np.float32)
    names, table = tmp_path / "names.txt", tmp_path / "own.npy"
    np.save(table, rows)
    keys = []
    for order in (dataset.classes, dataset.classes, dataset.classes[::-1]):
        names.write_text("".join(f"{name}\n" for name in order))
        keys.append(vectored(vectors=str(table), vector_names=str(names)).key)
    np.save(table, rows + 1)
    keys.append(vectored(vectors=str(table), vector_names=str(names)).key)
    assert keys[0] == keys[1] and len(set(keys)) == 3


def test_wrong_vectors_are_found_before_any_work(vectored: Callable[..., Run], tmp_path: Path) -> None:
    for wrong in ("factr", str(tmp_path / "absent.npy")):
        with pytest.raises(UserError):
            vectored(vectors=wrong)
    assert not (tmp_path / "runs").exists()


def test_a_job_knows_what_it_trains_on(vectored: Callable[..., Run], dataset: VocDataset, tmp_path: Path) -> None:
    split = load_split("voc_k2")
    assert runner.execute(vectored("voc_k2")).status == "done"
    job = sys.modules["zsbench_method_vectored"].JOBS[-1]
    assert job.stages == tmp_path / "runs/stages" and job.folder.parent.parent == tmp_path / "runs"
    source = sys.modules["zsbench_method_vectored"].__file__
    assert source is not None and job.facts == {
        "split": "voc_k2", "split_fingerprint": split.fingerprint, "seen": list(split.seen),
        "data": dataset.origin.fingerprint, "data_kind": "drawn", "backbone_corpus": "nothing", "captions": None,
        "outside": hashlib.sha256(Path(source).read_bytes()).hexdigest(),
    }  # fmt: skip


@pytest.mark.parametrize("number", [0, 2])
def test_the_record_lists_the_stages_it_started_from(vectored: Callable[..., Run], number: int) -> None:
    outcome = runner.execute(vectored(started_from=number))
    record = strict((outcome.folder / "record.json").read_text())
    assert [stage["name"] for stage in record["stages"]] == ["segmentation"] * number
    assert list(faults(record, RECORD)) == []


def test_names_reach_the_method_as_they_are_spoken(arms: VocDataset, tmp_path: Path) -> None:
    heard = {}
    for arm in ("clean", "comp_clean"):
        outcome = execute(plan(arms, tmp_path, captions=arm), "listener")
        heard[arm] = record_of(outcome)["prompts"]["names"]
    assert heard["clean"] == list(load_split("voc5").names)
    assert heard["comp_clean"][-1] == "dotted magenta triangle" and len(heard["comp_clean"]) == 20


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> VocDataset:
    from zsbench.data.scenes import draw
    from zsbench.data.voc import open_voc

    folder = tmp_path_factory.mktemp("arms") / "drawn"
    draw(folder, captioned=8, train=2, val=4, arms=("clean", "comp_clean"), progress=False)
    return open_voc(folder)


# Limits


def test_a_limited_run_scores_the_first_images_of_the_whole(
    done: dict[str, Outcome], dataset: VocDataset, tmp_path: Path
) -> None:
    outcome = execute(plan(dataset, tmp_path, limit=7))
    record = record_of(outcome)
    assert record["limit"] == 7 and record["limited"] is True
    assert record["data"]["parts"]["val"]["scored"] == 7 and record["data"]["parts"]["val"]["images"] == 60
    whole = pd.read_parquet(done["colours"].folder / "per_image.parquet")
    first = whole[whole["image"].isin(list(dataset.keys("val"))[:7])].reset_index(drop=True)
    assert pd.read_parquet(outcome.folder / "per_image.parquet").equals(first)
    assert outcome.key != done["colours"].key


def test_a_short_list_of_photographs_is_limited_without_being_told(dataset: VocDataset, tmp_path: Path) -> None:
    real = VocDataset(dataset.root, dataset.parts, dataset.masks, replace(dataset.origin, kind="real"), ())
    assert is_limited(prepare(plan(real, tmp_path))) is True
    full = dataset.parts | {"val": tuple(str(i) for i in range(1449))}
    assert is_limited(prepare(plan(replace(real, parts=full), tmp_path))) is False
    assert is_limited(prepare(plan(dataset, tmp_path))) is False


# The key


def test_the_key_changes_with_everything_that_changes_a_number(dataset: VocDataset, tmp_path: Path) -> None:
    here = plan(dataset, tmp_path)
    other = dataset.origin.__class__("drawn", "other", "f" * 12)
    variants = [
        prepare(here),
        prepare(here, seed=1),
        prepare(here, split="voc_k2"),
        prepare(here, given={"coarse": 2}),
        prepare(here, method="constant"),
        prepare(plan(dataset, tmp_path, limit=5)),
        prepare(plan(dataset, tmp_path, limit=6)),
        prepare(plan(dataset, tmp_path, precision="bf16")),
        prepare(plan(dataset, tmp_path, device=torch.device("meta"))),
        prepare(plan(replace(dataset, origin=other), tmp_path)),
        prepare(here, method="listener"),
        prepare(plan(dataset, tmp_path, captions="clean"), method="listener"),
    ]
    assert len({run.key for run in variants}) == len(variants)
    assert all(re.fullmatch(r"[0-9a-f]{12}", run.key) for run in variants)


def test_the_key_changes_with_the_words_of_the_captions(dataset: VocDataset, tmp_path: Path) -> None:
    keys, images = dataset.keys("train")[:3], dataset.root / "JPEGImages"
    runs = []
    for folder, caption in (("a", "a sheep"), ("b", "a cow"), ("c", "a cow")):
        corpus = tmp_path / folder / "own.tsv"
        corpus.parent.mkdir()
        corpus.write_text("".join(f"{key}.jpg\t{caption}\n" for key in keys))
        runs.append(prepare(plan(dataset, tmp_path, captions=str(corpus), caption_images=images), "listener"))
    sheep, cow, same = runs
    assert sheep.corpus and cow.corpus and sheep.corpus.captions.name == cow.corpus.captions.name
    assert sheep.key != cow.key == same.key


def test_the_key_changes_with_the_methods_source(dataset: VocDataset, tmp_path: Path) -> None:
    file = Path(shutil.copy(STUBS / "constant.py", tmp_path / "constant.py"))
    here, split = plan(dataset, tmp_path), load_split("voc5")
    first, same = (runner.prepare(here, path, split, 0, {}).key for path in (str(file), stub("constant")))
    file.write_text(file.read_text() + "# another thought\n")
    assert first == same != runner.prepare(here, str(file), split, 0, {}).key


def test_the_key_ignores_what_changes_no_number(dataset: VocDataset, tmp_path: Path) -> None:
    here = plan(dataset, tmp_path)
    changes = [
        {"out": tmp_path / "elsewhere"}, {"force": True}, {"save_seconds": 1.0}, {"command": "another"},
        {"captions": "clean"}, {"caption_images": tmp_path},
    ]  # fmt: skip
    assert {prepare(replace(here, **change)).key for change in changes} == {prepare(here).key}
    assert prepare(plan(dataset, tmp_path, limit=60)).key == prepare(here).key, "a limit that leaves nothing out"
    assert prepare(here, given={"coarse": "1"}).key == prepare(here).key, "a default that is spelled out"


# Again


def test_a_finished_run_is_shown_and_made_again_by_force(dataset: VocDataset, tmp_path: Path) -> None:
    here = plan(dataset, tmp_path, limit=6)
    first = execute(here)
    path = first.folder / "record.json"
    stamp = path.stat().st_mtime_ns
    again = execute(here)
    assert (again.status, again.record) == ("cached", first.record) and path.stat().st_mtime_ns == stamp
    (first.folder / "leftover").touch()
    forced = execute(replace(here, force=True))
    assert forced.status == "done" and path.stat().st_mtime_ns > stamp
    assert record_of(forced)["scores"] == record_of(first)["scores"]
    assert not (first.folder / "leftover").exists()


def test_a_run_that_lost_a_file_writes_it_anew(dataset: VocDataset, tmp_path: Path) -> None:
    here = plan(dataset, tmp_path, limit=6)
    first = execute(here)
    picture = first.folder / record_of(first)["files"]["pictures"][0]["photo"]
    picture.unlink()
    again = execute(here)
    assert again.status == "done" and picture.is_file()
    assert record_of(again)["scores"] == record_of(first)["scores"]
    assert execute(here).status == "cached"


def test_a_failed_evaluation_goes_on_where_it_stopped(dataset: VocDataset, tmp_path: Path) -> None:
    fault = {"fault": "second batch, first time"}
    first = execute(plan(dataset, tmp_path), "broken", **fault)
    assert first.status == "failed" and first.message == "MemoryError: too much"
    assert "MemoryError: too much" in (first.folder / "error.txt").read_text()
    blocks = {file.name: file.stat().st_mtime_ns for file in (first.folder / "counts").iterdir()}
    assert set(blocks) == {"00000.parquet", "00000.json"} and not (first.folder / "record.json").exists()
    second = execute(plan(dataset, tmp_path), "broken", **fault)
    (tmp_path / "whole").mkdir()
    undisturbed = prepare(plan(dataset, tmp_path / "whole"), "broken", given=fault)
    undisturbed.folder.mkdir(parents=True)
    (undisturbed.folder / "tried").touch()
    whole = runner.execute(undisturbed)
    assert record_of(second)["scores"] == record_of(whole)["scores"]
    assert record_of(second)["confusion"] == record_of(whole)["confusion"]
    frames = [pd.read_parquet(outcome.folder / "per_image.parquet") for outcome in (second, whole)]
    assert frames[0].equals(frames[1]) and second.key == whole.key


def test_a_run_that_ended_well_has_no_error_file(dataset: VocDataset, tmp_path: Path) -> None:
    for _ in range(2):
        outcome = execute(plan(dataset, tmp_path), "broken", fault="second batch, first time")
    assert outcome.status == "done" and not (outcome.folder / "error.txt").exists()


# A method that fails


FAULTS = (
    "a name too few", "an image too few", "no place", "a line", "nan", "infinite", "a list", "nothing",
    "regions without a name", "regions of nan", "a region too many", "a region below zero", "regions as numbers", "fit",
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_promise_is_a_failed_run(dataset: VocDataset, tmp_path: Path, fault: str) -> None:
    outcome = execute(plan(dataset, tmp_path, limit=3), "broken", fault=fault)
    assert outcome.status == "failed" and outcome.record is None and outcome.message
    text = (outcome.folder / "error.txt").read_text()
    assert text.startswith("Traceback") and outcome.message.partition(":")[0] in text
    assert not (outcome.folder / "record.json").exists() and not list(tmp_path.rglob("*.part"))
    again = execute(plan(dataset, tmp_path, limit=3), "broken", fault=fault)
    assert again.status == "failed", "a failed run is tried again, not shown as done"


def test_other_runs_go_on_beside_a_failed_one(scenes: Path, tmp_path: Path) -> None:
    args = ["run", "-m", stub("broken"), "-m", stub("constant"), "-m", stub("tiles"), "-s", "voc5", "-s", "voc_k2"]
    options = ["--data", str(scenes), "--out", str(tmp_path), "--device", "cpu", "--limit", "2"]
    result = CliRunner().invoke(main, [*args, *options])
    assert result.exit_code == 1, result.output
    lines = [line.split() for line in result.stdout.splitlines() if "  seed 0  " in line]
    status = [(line[0], line[4]) for line in lines]
    assert status == [("broken", "failed"), ("constant", "done"), ("tiles", "done")] * 2
    assert "for 2 images and 20 names were expected, got (2, 19" in result.stdout
    assert len(list(tmp_path.rglob("record.json"))) == 4 and len(list(tmp_path.rglob("error.txt"))) == 2


def test_requests_are_checked_before_the_first_run_starts(scenes: Path, tmp_path: Path) -> None:
    args = ["run", "-m", stub("constant"), "-m", stub("listener"), "--captions", "wep", "--data", str(scenes)]
    result = CliRunner().invoke(main, [*args, "--out", str(tmp_path / "runs"), "--device", "cpu"])
    assert result.exit_code == 2 and "Did you mean 'web'" in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("split", ["context4", "coco15"])
def test_a_split_of_other_data_is_refused(dataset: VocDataset, tmp_path: Path, split: str) -> None:
    with pytest.raises(UserError, match="serves splits of voc2012"):
        prepare(plan(dataset, tmp_path), split=split)


# Two processes


HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def hold() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Another process at work in a run folder, until it is killed."""
    pytest.importorskip("fcntl", reason="no flock on this system")
    processes = []

    def start(folder: Path) -> subprocess.Popen[str]:
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-S", "-c", HOLD, str(folder / ".lock")]
        processes.append(process := subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_run_folder_has_one_process(dataset: VocDataset, tmp_path: Path, hold: Any) -> None:
    here = plan(dataset, tmp_path, limit=2)
    folder = prepare(here).folder
    process = hold(folder)
    with pytest.raises(UserError, match=re.escape(f"another process is working on {folder}")):
        execute(here)
    assert [file.name for file in folder.iterdir()] == [".lock"]
    assert execute(plan(dataset, tmp_path, limit=3)).status == "done", "other runs are not in the way"
    process.kill()
    process.wait()
    end = time.monotonic() + 10
    while True:  # the lock goes with its process
        try:
            assert execute(here).status == "done"
            break
        except UserError:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_the_command_says_so_in_one_sentence(scenes: Path, dataset: VocDataset, tmp_path: Path, hold: Any) -> None:
    hold(prepare(plan(dataset, tmp_path, limit=2)).folder)
    args = ["run", "-m", stub("colours"), "--data", str(scenes), "--out", str(tmp_path), "--limit", "2"]
    result = CliRunner().invoke(main, [*args, "--device", "cpu", "--precision", "fp32"])
    assert result.exit_code == 2 and result.stderr.splitlines()[-1].startswith("Error: another process is working on")
    assert "Traceback" not in result.output


def test_force_does_not_clear_a_folder_in_use(dataset: VocDataset, tmp_path: Path, hold: Any) -> None:
    here = plan(dataset, tmp_path, limit=2)
    folder = prepare(here).folder
    hold(folder)
    (folder / "train.safetensors").touch()
    with pytest.raises(UserError, match="another process"):
        execute(replace(here, force=True))
    assert (folder / "train.safetensors").exists()
