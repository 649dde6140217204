"""Rounds: earlier states are scored like runs of their own, and what they chose is compared with the truth by the harness."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zsbench import runner
from zsbench.contract import check_method
from zsbench.data.dataset import IGNORED
from zsbench.data.view import guarded_view, keys_behind
from zsbench.data.voc import VocDataset
from zsbench.evaluation import ContractError, Evaluation
from zsbench.method import Selection
from zsbench.rounds import brief, purity, score_rounds
from zsbench.runner import Outcome, Plan
from zsbench.split import Split, load_split
from zsbench.supervision import Supervision

VOC5, VOC_K2 = load_split("voc5"), load_split("voc_k2")

METHOD = '''"""Rounds: the same colours three times, each time with more for the unseen names."""
from dataclasses import dataclass
import numpy as np
import torch
import torch.nn.functional as F
from zsbench.method import Round, Selection
from zsbench.supervision import Supervision

KEPT = []  # what the last fit selected

class State:
    def __init__(self, seen, ahead, folder=None):
        self.seen, self.ahead, self.folder = set(seen), ahead, folder

    def __call__(self, images, names):
        if self.folder is not None and not (self.folder / "tried").exists():
            (self.folder / "tried").touch()
            raise MemoryError("too much")
        small = F.avg_pool2d(images, 2, ceil_mode=True)
        rule = torch.stack([torch.tensor([(ord(c) % 7) / 7 for c in (name * 3)[:3]]) - 0.5 for name in names])
        ahead = torch.tensor([self.ahead * (name in self.seen) for name in names])[None, :, None, None]
        return 8 * torch.einsum("bchw,nc->bnhw", small, rule) + ahead

class Calibrated(State):
    gamma = 0.05

@dataclass(frozen=True)
class Rounds:
    only: int = -1  # just this state, without rounds
    door: str = "unlabelled"
    dies: bool = False  # the second state, the first time

    @property
    def supervision(self):
        return Supervision(masks="seen", unlabelled="train", unseen_names="training")

    def fit(self, data, job):
        kind = Calibrated if self.door == "labelled" else State
        states = [kind(data.seen, 0.0), kind(data.seen, -0.5, job.folder if self.dies else None), State(data.seen, -1.0)]
        if self.only >= 0:
            states[self.only].folder = None
            return states[self.only]
        chosen = [None, self.select(data, 20, 2), self.select(data, 30, 3)]
        states[-1].rounds = [Round(f"round {n}", state, own) for n, (state, own) in enumerate(zip(states, chosen))]
        KEPT[:] = chosen
        return states[-1]

    def select(self, data, count, step):
        items, maps = getattr(data, self.door), []
        positions = list(range(0, count * 3, 3))
        for item in items.fetch(positions):
            image = item[0] if self.door == "labelled" else item
            small = image[::step, ::step].astype(int)
            taken = np.where(small.max(2) - small.min(2) > 60, small.argmax(2) % len(data.unseen), 255)
            maps.append(taken.astype(np.uint8))
        return Selection(self.door, positions, maps)
'''


@pytest.fixture
def method(tmp_path: Path) -> str:
    (tmp_path / "rounds.py").write_text(METHOD)
    return str(tmp_path / "rounds.py")


@pytest.fixture
def go(dataset: VocDataset, tmp_path: Path, method: str) -> Callable[..., Outcome]:
    def run(split: Split = VOC5, data: Any = dataset, **given: Any) -> Outcome:
        plan = Plan(data, dataset.root, torch.device("cpu"), "fp32", out=tmp_path / "runs")
        return runner.execute(runner.prepare(plan, method, split, 0, given))

    return run


def record_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.record is not None, outcome.message
    return outcome.record


# Scores


@pytest.mark.parametrize("door", ["unlabelled", "labelled"])
def test_every_round_scores_as_a_run_of_that_state_alone(go: Callable[..., Outcome], door: str) -> None:
    record = record_of(go(door=door))
    assert [entry["name"] for entry in record["rounds"]] == ["round 0", "round 1", "round 2"]
    for number, entry in enumerate(record["rounds"]):
        alone = record_of(go(door=door, only=number))
        assert alone["rounds"] is None and entry["scores"] == brief(alone["scores"])
        assert set(entry["scores"]["all"]) == {"seen", "unseen", "harmonic"}
        low, high = entry["scores"]["all"]["harmonic"]["interval"]
        assert low <= entry["scores"]["all"]["harmonic"]["miou"] <= high
    unseen = [entry["scores"]["all"]["unseen"]["miou"] for entry in record["rounds"]]
    assert len(set(unseen)) == 3, "three states that score alike test nothing"
    assert record["rounds"][-1]["scores"] == brief(record["scores"])
    assert record["seconds"]["rounds"] > 0 and record["seconds"]["total"] > record["seconds"]["evaluate"]


def test_nothing_of_the_rounds_stays_in_the_folder(go: Callable[..., Outcome]) -> None:
    outcome = go()
    assert not (outcome.folder / "rounds").exists() and not (outcome.folder / "counts").exists()
    assert go().status == "cached"


def test_killed_between_rounds_it_goes_on_where_it_stopped(go: Callable[..., Outcome]) -> None:
    first = go(dies=True)
    assert first.status == "failed" and first.message == "MemoryError: too much"
    blocks = sorted(file.relative_to(first.folder).as_posix() for file in first.folder.rglob("*.parquet"))
    assert blocks == [f"{place}counts/0000{n}.parquet" for place in ("", "rounds/00/") for n in range(2)]
    assert record_of(go(dies=True))["rounds"] == record_of(go(dies=False))["rounds"]


def test_a_method_without_rounds_has_none(dataset: VocDataset, tmp_path: Path) -> None:
    def plain(images: torch.Tensor, names: Any) -> torch.Tensor:
        return torch.zeros(len(images), len(names), 1, 1)

    keys = list(dataset.keys("val"))[:2]
    evaluation = Evaluation(plain, dataset, VOC5, keys, VOC5.names, torch.device("cpu"), tmp_path)
    assert score_rounds(evaluation, {}) is None
    plain.rounds = ()  # type: ignore[attr-defined]
    assert score_rounds(evaluation, {}) is None
    plain.rounds = ["round 0"]  # type: ignore[attr-defined]
    with pytest.raises(ContractError, match=r"zsbench\.method\.Round, got str"):
        score_rounds(evaluation, {})


# Purity


def plain_purity(dataset: VocDataset, split: Split, keys: list[str], selected: Selection) -> dict[str, Any]:
    """Pixel by pixel, by name."""
    found = {name: Counter({"pixels": 0, "correct": 0, "outside": 0, "truth": 0}) for name in split.unseen}
    for position, taken in zip(selected.positions, selected.maps, strict=True):
        labels = dataset.labels(keys[position])
        for y, x in itertools.product(*map(range, taken.shape)):
            row = int((y + 0.5) * labels.shape[0] / taken.shape[0])
            column = int((x + 0.5) * labels.shape[1] / taken.shape[1])
            label = int(labels[row, column])
            truth = dataset.classes[label] if label != IGNORED else ""
            if truth in found:
                found[truth]["truth"] += 1
            if taken[y, x] != IGNORED:
                name = split.unseen[taken[y, x]]
                found[name]["pixels"] += 1
                found[name]["correct"] += truth == name
                found[name]["outside"] += truth not in split.names
    return {name: dict(counts) for name, counts in found.items()}


@pytest.mark.parametrize("split", [VOC5, VOC_K2, replace(VOC5, train_policy="drop")], ids=["voc5", "voc_k2", "drop"])
@pytest.mark.parametrize("door", ["unlabelled", "labelled"])
def test_purity_is_what_a_plain_count_finds(
    go: Callable[..., Outcome], dataset: VocDataset, door: str, split: Split
) -> None:
    if split.train_policy == "drop":
        parts = dict(dataset.parts) | {"trainaug": dataset.parts["train"] * 6}  # enough images without unseen classes
        data = replace(dataset, parts=parts)
    else:
        data = dataset
    entries = record_of(go(split=split, data=data, door=door))["rounds"]
    kept = sys.modules["zsbench_method_rounds"].KEPT
    assert entries[0]["selected"] is None
    for entry, selected in zip(entries[1:], kept[1:], strict=True):
        keys = keys_behind(door, split, data)
        assert entry["selected"] == {
            "door": door, "images": len(selected.maps), "classes": plain_purity(data, split, keys, selected)
        }  # fmt: skip
        classes = entry["selected"]["classes"].values()
        assert all(c["correct"] + c["outside"] <= c["pixels"] and c["correct"] <= c["truth"] for c in classes)
        assert sum(c["pixels"] for c in classes) > 0
        clean = door == "labelled" and split.train_policy == "drop"
        assert (sum(c["truth"] for c in classes) == 0) is clean
        assert (sum(c["outside"] for c in classes) > 0) is (split.background == "ignore")


@pytest.mark.parametrize("policy", ["mask", "drop"])
def test_keys_behind_a_door_stand_in_the_views_order(dataset: VocDataset, policy: Any) -> None:
    split = replace(VOC5, train_policy=policy)
    view = guarded_view(split, dataset, Supervision(masks="seen", unlabelled="train"))
    assert view.labelled and view.unlabelled
    for door, items in (("labelled", view.labelled), ("unlabelled", view.unlabelled)):
        keys = keys_behind(door, split, dataset)
        came = [item[0] if door == "labelled" else item for item in items.fetch(range(len(items)))]
        assert len(keys) == len(came)
        assert all(np.array_equal(dataset.image(key), image) for key, image in zip(keys, came, strict=True))


MAP = np.zeros((4, 4), np.uint8)


@pytest.mark.parametrize(
    ("selected", "words"),
    [
        (Selection("layout", [0], [MAP]), "door is one of unlabelled, labelled, got 'layout'"),
        (Selection("unlabelled", [0, 1], [MAP]), "as many maps as positions, got 1 and 2"),
        (Selection("unlabelled", [120], [MAP]), r"positions 0\.\.119 of the door 'unlabelled' were expected, got 120"),
        (Selection("labelled", [-1], [MAP]), r"positions 0\.\.119 .* got -1"),
        (Selection("unlabelled", [0], [MAP.astype(int)]), r"\(h, w\) uint8, got \(4, 4\) int64"),
        (Selection("unlabelled", [0], [MAP[0]]), r"got \(4,\) uint8"),
        (Selection("unlabelled", [0], [MAP[:0]]), r"got \(0, 4\)"),
        (Selection("unlabelled", [0], [MAP.tolist()]), "got list"),
        (Selection("unlabelled", [0], [MAP + 5]), r"unseen names 0\.\.4 or 255, got 5"),
        (Selection("unlabelled", [0], [MAP + 254]), "got 254"),
    ],
)
def test_what_is_no_selection_is_refused(dataset: VocDataset, tmp_path: Path, selected: Selection, words: str) -> None:
    evaluation = Evaluation(lambda images, names: 0, dataset, VOC5, [], VOC5.names, torch.device("cpu"), tmp_path)  # type: ignore[arg-type,return-value]
    with pytest.raises(ContractError, match=words):
        purity(selected, evaluation)


def test_nothing_selected_is_pure_of_everything(dataset: VocDataset, tmp_path: Path) -> None:
    evaluation = Evaluation(lambda images, names: 0, dataset, VOC5, [], VOC5.names, torch.device("cpu"), tmp_path)  # type: ignore[arg-type,return-value]
    zero = {"pixels": 0, "correct": 0, "outside": 0, "truth": 0}
    empty = purity(Selection("unlabelled", [], []), evaluation)
    assert empty == {"door": "unlabelled", "images": 0, "classes": dict.fromkeys(VOC5.unseen, zero)}
    none = purity(Selection("unlabelled", range(120), [MAP + 255] * 120), evaluation)["classes"].values()
    assert all(entry["pixels"] == 0 for entry in none) and sum(entry["truth"] for entry in none) > 0


# The contract


def failures(path: str) -> list[str]:
    return [line.text for line in check_method(path, "cpu") if not line.good]


def test_the_method_of_these_tests_honours_the_contract(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METHOD.replace("(data, 20, 2)", "(data, 5, 2)").replace("30, 3", "6, 3"))
    lines = [line.text for line in check_method(str(tmp_path / "mine.py"), "cpu")]
    assert "ok    ends its rounds in its own state: round 0, round 1, round 2" in lines
    told = [line for line in lines if not line.startswith("ok ")]
    assert told == [
        "FAIL  reads what it declared: what is declared was expected to be read, labelled never was: declare less"
    ]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("enumerate(zip(states, chosen))]", "enumerate(zip(states[:2], chosen))]", "own state as its last round"),
        ("maps.append(taken.astype(np.uint8))", "maps.append(taken)", "uint8, got"),
        ("Round(f", "dict(f", "TypeError"),
    ],
)
def test_broken_rounds_are_named(tmp_path: Path, old: str, new: str, why: str) -> None:
    text = METHOD.replace("(data, 20, 2)", "(data, 5, 2)").replace("30, 3", "6, 3")
    assert old in text
    (tmp_path / "mine.py").write_text(text.replace(old, new))
    assert any(why in line for line in failures(str(tmp_path / "mine.py")))
