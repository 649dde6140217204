"""Trainings that several runs start from, made once: the same seen masks train the same network for every method.

A shared stage is a folder `stages/NAME-KEY` beside the runs. The key is a hash over all that decides its weights (own
settings, seed, split, data, captions, harness, device), so that a run never starts from weights it would not have made itself.
The first run that needs it trains it, with checkpoints like any training; another waits or finds it there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from zsbench import __version__, distributed
from zsbench.atomic import write_json, write_text
from zsbench.method import Job
from zsbench.record import code_sha256, file_hashes, run_key

ABOUT = "stage.json"  # what the stage is; tells it from a run's folder
USED = "stages.json"  # in a run's folder: the stages it started from
CURVES = "curves.jsonl"


@contextmanager
def shared_stage(job: Job, name: str, settings: Mapping[str, Any]) -> Iterator[Job]:
    """The job to train the stage `name` with: the same, in the stage's own folder, with nobody else at work in it.

    settings: everything about model and recipe that decides the weights, as JSON values; weights files are hashed.
    When the block ends, the run's folder says which stage it used and how long that took to train, and has its curves.
    """
    facts = {
        "name": name, "settings": dict(settings), "files": file_hashes(dict(settings)), "seed": job.seed,
        "zsbench": __version__, "code": code_sha256(),
        "split": job.facts.get("split_fingerprint"), "data": job.facts.get("data"), "captions": job.facts.get("captions"),
        "outside": job.facts.get("outside"),
        "device": [job.device.type, job.precision, distributed.world()],
    }  # fmt: skip
    key = run_key(facts)
    folder = (job.stages or job.folder / "stages") / f"{name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if distributed.rank() == 0 and not (folder / ABOUT).exists():
            write_json(folder / ABOUT, facts | {"key": key, "trained_on": dict(job.facts)})
        yield replace(job, folder=folder)
    if distributed.rank() == 0:
        _note(job.folder / USED, name, key, folder)
        _keep_curves(folder / CURVES, job.folder / CURVES)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process works on this stage; the lock goes with the process that holds it."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock; a doubled training there costs time, checkpoints stay whole
        yield
        return
    if distributed.rank() > 0:
        distributed.agree(True)  # until the first process has the lock
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process, which trains {folder}", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        for part in folder.glob(".*.part"):
            part.unlink()
        distributed.agree(True)
        yield


def note_file(job: Job, name: str, path: Path, progress: Mapping[str, Any]) -> None:
    """Says in the run's folder that a stage was taken from a file: not shared, and known by the file's hash."""
    if distributed.rank() == 0:
        key = file_hashes({"file": str(path)})["file"][:12]
        _add(job.folder / USED, _entry(name, key, [progress], shared=False))


def _note(path: Path, name: str, key: str, folder: Path) -> None:
    """Adds a shared stage to the run's list."""
    told = folder / "training.json"
    trainings = list(json.loads(told.read_text()).values()) if told.exists() else []
    _add(path, _entry(name, key, trainings, shared=True))


def _keep_curves(stage: Path, own: Path) -> None:
    """Every run shows how its stages trained, whoever trained them; a run that goes on has their lines already."""
    told = stage.read_text() if stage.exists() else ""
    held = own.read_text() if own.exists() else ""
    if told and told.splitlines()[0] not in held.splitlines():
        write_text(own, held + told)


def _entry(name: str, key: str, trainings: Sequence[Mapping[str, Any]], *, shared: bool) -> dict[str, Any]:
    seconds, images, steps = (sum(t[field] for t in trainings) for field in ("seconds", "images", "step"))
    rate = images / seconds if seconds else None
    last = trainings[-1]["last"] if trainings else {}
    return {
        "name": name, "key": key, "seconds": seconds, "steps": steps, "images": images, "images_per_second": rate,
        "shared": shared, "last": last,
    }  # fmt: skip


def _add(path: Path, entry: dict[str, Any]) -> None:
    others = json.loads(path.read_text()) if path.exists() else []
    write_json(path, [*(old for old in others if old["key"] != entry["key"]), entry])
