"""kill -9 in the middle of training and of evaluation: the same command goes on and ends with the same scores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zsbench.data.scenes import draw

SETTINGS = [
    "--set",
    "steps=12",
    "--set",
    "batch=16",
    "--set",
    "warmup=2",
    "--device",
    "cpu",
    "--checkpoint-seconds",
    "0",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume") / "drawn"
    draw(folder, captioned=64, train=30, val=400, arms=("web",), progress=False)
    return folder


def start(data: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "zsbench", "run", "--method", "vilseg", "--split", "voc5", "--data", str(data)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "--out", str(out), *SETTINGS], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def finish(data: Path, out: Path) -> dict[str, Any]:
    process = start(data, out)
    assert process.wait(timeout=300) == 0
    return json.loads(next(out.glob("voc5/*/record.json")).read_text())


def kill_when(data: Path, out: Path, reached: Callable[[Path], bool]) -> None:
    process = start(data, out)
    end = time.monotonic() + 240
    while time.monotonic() < end and process.poll() is None:
        if any(reached(place) for place in (*out.glob("voc5/*"), *out.glob("stages/*"))):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    assert process.wait(timeout=60) == -signal.SIGKILL, "it ended before it could be killed"


def steps(run: Path) -> int:
    curves = run / "curves.jsonl"
    return len(curves.read_text().splitlines()) if curves.exists() else 0


def test_killed_twice_it_ends_with_an_undisturbed_runs_scores(folder: Path, tmp_path: Path) -> None:
    whole = finish(folder, tmp_path / "whole")
    out = tmp_path / "killed"
    kill_when(folder, out, lambda at: (at / "train.safetensors").exists() and not (at / "training.json").exists())
    assert not list(out.glob("voc5/*/record.json"))
    kill_when(folder, out, lambda run: (run / "counts/00001.parquet").exists())
    run = next(out.glob("voc5/*"))
    done = {file.name: file.stat().st_mtime_ns for file in run.glob("counts/*.parquet")}
    assert 0 < len(done) < 13 and not (run / "record.json").exists()
    killed = finish(folder, out)
    assert killed["scores"] == whole["scores"] and killed["confusion"] == whole["confusion"]
    assert killed["key"] == whole["key"] and killed["stages"][0]["last"] == whole["stages"][0]["last"]
    assert not list(run.rglob("*.part")), "a killed write left its temporary file in a finished run"


def test_a_finished_run_is_shown_and_not_repeated(folder: Path, tmp_path: Path) -> None:
    finish(folder, tmp_path)
    record = next(tmp_path.glob("voc5/*/record.json"))
    before = record.stat().st_mtime_ns
    process = start(folder, tmp_path)
    text = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 0 and "cached" in text and record.stat().st_mtime_ns == before
