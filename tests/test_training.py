"""The training loop: the schedule, exact resume, torchrun, and checkpoints that are not ours."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zsbench.errors import UserError
from zsbench.method import Job
from zsbench.sampling import Sampler
from zsbench.training import Recipe, TrainingFailed, load_checkpoint, train


class Line(nn.Module):
    """Fits y = 3x with dropout, so that the random state matters."""

    def __init__(self, stop_at: int = -1, width: int = 8):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, width), nn.Dropout(0.3), nn.Linear(width, 1))
        self.register_buffer("seen", torch.zeros(()))
        self.stop_at = stop_at

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.body(batch) - 3 * batch).square().mean(), "mean": batch.mean()}

    def after_step(self, step: int, steps: int) -> None:
        self.seen += 1
        if step == self.stop_at:
            raise KeyboardInterrupt


def numbers(number: int, rows: slice) -> Tensor:
    return torch.rand(8, 1, generator=torch.Generator().manual_seed(number))[rows]


def fresh(**choices: int) -> Line:
    torch.manual_seed(0)
    return Line(**choices)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    torch.set_num_threads(1)
    return Job(torch.device("cpu"), seed=1, folder=tmp_path, save_seconds=0)


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]


RECIPE = Recipe(steps=20, batch=8, lr=0.05, weight_decay=0.1, warmup=4, clip=1.0, log_every=1)


def test_schedule_climbs_then_falls_to_the_floor() -> None:
    recipe = Recipe(steps=100, batch=1, lr=2.0, warmup=10, floor=0.1)
    assert recipe.lr_at(0) == pytest.approx(0.2) and recipe.lr_at(9) == pytest.approx(2.0)
    assert recipe.lr_at(55) == pytest.approx(2 * (0.1 + 0.9 * 0.5))
    assert recipe.lr_at(99) == pytest.approx(0.2, abs=2e-3)


def test_the_poly_schedule_falls_to_zero_with_a_power_of_its_own() -> None:
    recipe = Recipe(steps=200, batch=1, lr=0.07, schedule="poly")
    assert [recipe.lr_at(step) for step in (0, 50, 100)] == pytest.approx([0.07, 0.07 * 0.75**0.9, 0.07 * 0.5**0.9])
    assert recipe.lr_at(199) == pytest.approx(0.07 * 0.005**0.9)
    warm = Recipe(steps=210, batch=1, lr=0.07, schedule="poly", warmup=10, floor=0.5)
    assert warm.lr_at(4) == pytest.approx(0.035) and warm.lr_at(110) == pytest.approx(0.07 * (0.5 + 0.5 * 0.5**0.9))


SGD = Recipe(
    steps=20,
    batch=8,
    lr=0.02,
    weight_decay=0.1,
    optimiser="sgd",
    schedule="poly",
    scales=(("body.2.", 0.1),),
    log_every=1,
)


@pytest.mark.parametrize("recipe", [RECIPE, SGD], ids=["adamw", "sgd with scales"])
def test_a_killed_run_ends_with_the_same_weights_bit_for_bit(job: Job, tmp_path: Path, recipe: Recipe) -> None:
    whole = fresh()
    train(whole, numbers, recipe, job)
    other = Job(job.device, job.seed, tmp_path / "killed", save_seconds=0)
    other.folder.mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(fresh(stop_at=11), numbers, recipe, other)
    again = fresh()
    progress = train(again, numbers, recipe, other)
    assert progress.step == 20 and progress.images == 160
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert lines(other.folder) == lines(job.folder)
    assert [row["step"] for row in lines(other.folder)] == list(range(20))


def test_a_finished_stage_only_loads(job: Job) -> None:
    done = fresh()
    train(done, numbers, RECIPE, job)
    loaded = Line()
    assert train(loaded, lambda *_: pytest.fail("trained again"), RECIPE, job).step == 20
    assert all(torch.equal(a, b) for a, b in zip(done.parameters(), loaded.parameters(), strict=True))


def test_a_kill_right_after_the_last_checkpoint_loses_nothing(job: Job) -> None:
    train(fresh(), numbers, RECIPE, job)
    summary = job.folder / "training.json"
    told = summary.read_text()
    summary.unlink()
    train(fresh(), numbers, RECIPE, job)
    assert summary.read_text() == told


def test_accumulated_passes_equal_one_batch(job: Job, tmp_path: Path) -> None:
    recipe = Recipe(steps=5, batch=8, lr=0.05)
    half = Recipe(steps=5, batch=8, lr=0.05, accumulate=2)
    plain, parts = fresh().eval(), fresh().eval()
    plain.body[1], parts.body[1] = nn.Identity(), nn.Identity()
    train(plain, numbers, recipe, job)
    folder = tmp_path / "parts"
    folder.mkdir()

    def halves(number: int, rows: slice) -> Tensor:
        return numbers(number // 2, slice(None))[number % 2 * 4 : number % 2 * 4 + 4][rows]

    train(parts, halves, half, Job(job.device, job.seed, folder))
    for a, b in zip(plain.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


class Weights(nn.Module):
    """A loss whose gradient is known: 2 for every weight."""

    def __init__(self) -> None:
        super().__init__()
        self.slow, self.fast = nn.Linear(2, 1), nn.Linear(2, 1)
        for p in self.parameters():
            nn.init.constant_(p, 0.5)

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": 2 * sum(p.sum() for p in self.parameters())}

    def after_step(self, step: int, steps: int) -> None: ...


def test_sgd_takes_momentum_weight_decay_and_a_rate_for_each_part(job: Job) -> None:
    net = Weights()
    recipe = Recipe(
        3, 1, lr=0.1, weight_decay=0.2, optimiser="sgd", schedule="poly", momentum=0.5, scales=(("slow.", 0.1),)
    )
    train(net, lambda *_: torch.zeros(1), recipe, job)
    for name, p in net.named_parameters():
        weight, speed = 0.5, 0.0
        for step in range(3):
            speed = 0.5 * speed + 2 + (0.2 * weight if "weight" in name else 0)
            weight -= 0.1 * (1 - step / 3) ** 0.9 * (0.1 if "slow" in name else 1) * speed
        torch.testing.assert_close(p, torch.full_like(p, weight), rtol=1e-5, atol=1e-6)


def test_adamw_takes_a_rate_for_each_part(job: Job) -> None:
    net = Weights()
    train(net, lambda *_: torch.zeros(1), Recipe(1, 1, lr=0.1, scales=(("slow.", 0.1), ("fast.b", 3.0))), job)
    moved = {name: 0.5 - float(p.detach().mean()) for name, p in net.named_parameters()}
    assert moved == pytest.approx(
        {"slow.weight": 0.01, "slow.bias": 0.01, "fast.weight": 0.1, "fast.bias": 0.3}, rel=1e-4
    )


def test_what_does_not_learn_is_in_no_group_and_stays(job: Job) -> None:
    net = Weights()
    net.slow.requires_grad_(False)
    train(net, lambda *_: torch.zeros(1), Recipe(2, 1, lr=0.1, weight_decay=1.0, optimiser="sgd"), job)
    assert (net.slow.weight == 0.5).all() and (net.fast.weight < 0.4).all()


def test_weight_decay_spares_biases(job: Job) -> None:
    net = fresh()
    for p in net.parameters():
        nn.init.ones_(p)
    before = {name: p.clone() for name, p in net.named_parameters()}
    train(net, lambda *_: torch.zeros(8, 1), Recipe(steps=1, batch=8, lr=1e-4, weight_decay=100.0), job)
    moved = {name: (before[name] - p).abs().max().item() for name, p in net.named_parameters()}
    assert moved["body.0.weight"] > 5e-3 > 1e-3 > moved["body.0.bias"]


def test_the_checkpoint_of_another_model_is_refused(job: Job) -> None:
    train(fresh(), numbers, RECIPE, job)
    with pytest.raises(UserError, match="checkpoint of another model") as error:
        train(fresh(width=9), numbers, RECIPE, job)
    assert "body.0.weight" in str(error.value) or "body.0.bias" in str(error.value)


FACTS = {"split": "voc5", "split_fingerprint": "aa", "seen": ["cat", "dog"], "data": "d"}


def test_facts_on_split_and_data_stand_in_the_checkpoints_header(job: Job) -> None:
    from safetensors import safe_open

    train(fresh(), numbers, RECIPE, replace(job, facts=FACTS))
    with safe_open(job.folder / "train.safetensors", "pt") as file:
        assert json.loads(file.metadata()["facts"]) == FACTS
        assert json.loads(file.metadata()["zsbench"])["step"] == 20


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (FACTS | {"split": "k2", "split_fingerprint": "bb", "seen": ["cat", "sheep", "dog", "sofa"]},
         r"split 'k2' \(bb\), this run is on split 'voc5' \(aa\): it has seen masks of sheep, sofa, which are not seen"),
        (FACTS | {"split": "k2", "split_fingerprint": "bb", "seen": ["cat"]}, "it may have seen what is unseen here"),
        ({}, "trained on a split it does not name, this run is on split 'voc5'"),
    ],
)  # fmt: skip
def test_the_checkpoint_of_another_split_is_refused(job: Job, told: dict[str, Any], words: str) -> None:
    """Both where training would go on from it and where its weights alone are asked for."""
    train(fresh(), numbers, RECIPE, replace(job, facts=told))
    file = job.folder / "train.safetensors"
    with pytest.raises(UserError, match=words):
        load_checkpoint(file, fresh(), facts=FACTS)
    with pytest.raises(UserError, match=words):
        train(fresh(), numbers, RECIPE, replace(job, facts=FACTS))


def test_the_checkpoint_of_the_same_split_is_taken(job: Job) -> None:
    train(fresh(), numbers, RECIPE, replace(job, facts=FACTS))
    other = FACTS | {"unseen": ["sheep"], "data": "other data"}
    assert load_checkpoint(job.folder / "train.safetensors", fresh(), facts=other).step == 20


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04\x95pickle"])
def test_a_file_that_is_no_checkpoint_is_refused(job: Job, content: bytes) -> None:
    (job.folder / "train.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="not a zsbench checkpoint"):
        load_checkpoint(job.folder / "train.safetensors", fresh())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(job: Job) -> None:
    def poisoned(number: int, rows: slice) -> Tensor:
        return numbers(number, rows) * (math.nan if number == 7 else 1)

    with pytest.raises(TrainingFailed, match="step 7"):
        train(fresh(), poisoned, RECIPE, job)
    assert load_checkpoint(job.folder / "train.safetensors", Line()).step == 7


def test_a_batch_that_does_not_divide_is_refused(job: Job) -> None:
    with pytest.raises(UserError, match="does not divide"):
        train(fresh(), numbers, Recipe(steps=1, batch=8, lr=1.0, accumulate=3), job)


def test_sampler_walks_every_item_once_an_epoch_and_streams_in_order() -> None:
    sampler = Sampler(size=10, batch=4, seed=3)
    walked = [i for number in range(5) for i in sampler.positions(number)]
    assert sorted(walked[:10]) == list(range(10)) == sorted(walked[10:])
    assert walked[:10] != walked[10:] and walked == [i for n in range(5) for i in Sampler(10, 4, 3).positions(n)]
    assert Sampler(None, 4, 0).positions(2) == [8, 9, 10, 11]


@pytest.mark.parametrize("vision", ["dino", "literal"])
def test_two_processes_train_as_one(scenes: Path, tmp_path: Path, vision: str) -> None:
    script = str(Path(__file__).with_name("train_twice.py"))
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher in (("one", [sys.executable]), ("two", torchrun)):
        subprocess.run([*launcher, script, str(scenes), str(tmp_path / name), vision], check=True, env=env, timeout=300)
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert len(one) == len(two) == 20
    for a, b in zip(one, two, strict=True):
        for meter in ("loss", "cross", "cluster", "vision"):
            assert a[meter] == pytest.approx(b[meter], abs=1e-4), (a["step"], meter)
    assert one[-1]["cross"] < one[0]["cross"]
