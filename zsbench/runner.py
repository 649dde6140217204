"""One run: fit -> segment -> count -> record. Everything a run needs is decided here and written down here.

A run's folder is OUT/SPLIT/METHOD-KEY; the key is a hash over all that decides its numbers. A finished record is shown and
not computed again; an unfinished folder is gone on with.

Label maps of a run that has ended without them (--save-predictions) come from evaluating it again: from the checkpoints
that training left, whose numbers are the same; where somebody deleted these, from training again. Either way the record
is written anew, so that it and the maps are always of one evaluation.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zsbench import distributed
from zsbench.account import record_of, with_scan
from zsbench.atomic import write_json, write_text
from zsbench.config import configure
from zsbench.corpus import Corpus, open_corpus
from zsbench.data.guard import admitted, locked
from zsbench.data.opening import refuse_other
from zsbench.data.scenes import cache_folder
from zsbench.data.view import guarded_view, refuse_masks
from zsbench.errors import EXPECTED, UserError
from zsbench.evaluation import Evaluation
from zsbench.gallery import LAYERS, write_pictures
from zsbench.method import Job, Segmenter, load_method
from zsbench.nn.feature_cache import FeatureCache
from zsbench.predictions import FOLDER as PREDICTIONS
from zsbench.predictions import Export
from zsbench.record import FILE, read_record, write_record
from zsbench.rounds import FOLDER as ROUNDS
from zsbench.rounds import score_rounds
from zsbench.run import Plan, Run, class_vectors, facts, heard
from zsbench.scoring import summarise
from zsbench.split import Split

LOCK, ERROR = ".lock", "error.txt"


@dataclass(frozen=True)
class Outcome:
    """How one run ended. `record` is None for a failed run, and on all processes but the first under torchrun."""

    method: str
    split: str
    seed: int
    key: str
    status: str  # done, cached, failed
    folder: Path
    record: dict[str, Any] | None = None
    message: str = ""


def prepare(plan: Plan, method: str, split: Split, seed: int, given: Mapping[str, Any]) -> Run:
    """Everything that can be wrong with a request is found here, before any work. Raises UserError."""
    refuse_other(plan.dataset, [split.dataset])
    _refuse_inside(plan)
    with closed(plan):
        loaded = load_method(method)
        configured = configure(loaded.cls, given, plan.dataset.origin.kind, method)
        supervision = configured.method.supervision
        refuse_masks(split, supervision)
        corpus = _corpus(plan, split, seed) if supervision.captions else None
        names = heard(plan.dataset, split, corpus)
        vectors = class_vectors(supervision, split, plan.dataset, names, plan.root, seed)
    return Run(plan, loaded, configured, split, seed, corpus, vectors)


def _corpus(plan: Plan, split: Split, seed: int) -> Corpus:
    """The captions, scanned for the unseen classes here, where no method's code is at work on what comes of it."""
    where = (plan.captions, plan.dataset, plan.root, plan.caption_images, split, seed)
    with admitted():
        return open_corpus(*where, policy=plan.captions_policy, lexicon=plan.lexicon)


def closed(plan: Plan) -> AbstractContextManager[None]:
    """The data's files, and the cache where the same scenes may lie again, open to the harness's own reading only.

    From the first line of a method's module to its last word, threads that outlive `fit` included.
    """
    return locked(*plan.dataset.protected, cache_folder())


def _refuse_inside(plan: Plan) -> None:
    for folder in (*plan.dataset.protected, cache_folder()):
        if Path(os.path.realpath(plan.out)).is_relative_to(os.path.realpath(folder)):
            raise UserError(
                f"--out {plan.out} lies inside {folder}, which is closed while a method runs; choose another folder"
            )


def execute(run: Run) -> Outcome:
    """Runs, or shows what is there. A failing method is an Outcome with its traceback in `error.txt`, not an exception."""
    ended = Outcome(run.loaded.name, run.split.name, run.seed, run.key, "done", run.folder)
    run.folder.mkdir(parents=True, exist_ok=True)
    with _alone(run.folder), closed(run.plan):
        if run.plan.force and distributed.rank() == 0:
            _clear(run.folder)
        if distributed.agree(_finished(run)):
            return _with(ended, status="cached", record=_shown(run))
        try:
            return _with(ended, record=_fit_and_score(run))
        except Exception as error:
            if isinstance(error, UserError) or (isinstance(error, OSError) and error.errno in EXPECTED):
                raise
            write_text(run.folder / ERROR, traceback.format_exc())
            if distributed.world() > 1:
                raise  # the other processes wait in a collective: torchrun stops them when this one dies
            return _with(ended, status="failed", message=f"{type(error).__name__}: {error}")


def _shown(run: Run) -> dict[str, Any]:
    """A finished record; where these captions have been scanned for other words since, with what that scan found."""
    record = read_record(run.folder / FILE)
    told = with_scan(record, run.corpus)
    if told != record and distributed.rank() == 0:
        write_record(run.folder, told)
    return told


def _finished(run: Run) -> bool:
    """A record whose files are all there; where one was lost, the run is gone on with and writes them anew.

    So it is where label maps are wanted of a run that kept none.
    """
    if not (run.folder / FILE).exists():
        return False
    files = read_record(run.folder / FILE)["files"]
    pictures = [picture[layer] for picture in files["pictures"] for layer in LAYERS]
    if not all((run.folder / name).is_file() for name in (files["per_image"], *pictures)):
        return False
    if not run.plan.save_predictions or _export(run).whole(run.keys):
        return True
    if distributed.rank() == 0:
        print(f"{run.folder}: finished without label maps; evaluated again to keep them", file=sys.stderr, flush=True)
    return False


def _export(run: Run) -> Export:
    return Export(run.folder / PREDICTIONS, run.split.names)


def _clear(folder: Path) -> None:
    """Empties a run folder, but for the lock that is being held."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def _with(outcome: Outcome, **changes: Any) -> Outcome:
    return Outcome(**(vars(outcome) | changes))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two processes never work in one run folder; the lock goes with the process that holds it.

    What a killed process left half-written is swept up; a folder that stays without work of its own is taken away.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no flock; a doubled start there costs time, records stay whole
        yield
        return
    with (folder / LOCK).open("w") as file:
        if distributed.rank() == 0:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another process is working on {folder}; wait for it, or choose another --out"
                ) from None
            for part in folder.rglob(".*.part"):
                part.unlink()
        try:
            yield
        finally:
            if distributed.rank() == 0 and {path.name for path in folder.iterdir()} <= {LOCK, "seconds.json"}:
                shutil.rmtree(folder)


def _fit_and_score(run: Run) -> dict[str, Any] | None:
    clock = Clock(run.folder / "seconds.json")
    started = datetime.now(UTC)
    names = run.names
    with clock.phase("fit"):
        segmenter = _fit(run)
    if distributed.rank() > 0:
        return None
    kept = (
        _export(run) if run.plan.save_predictions or (run.folder / PREDICTIONS).exists() else None
    )  # once begun, kept
    where = (run.plan.device, run.folder)
    evaluation = Evaluation(segmenter, run.plan.dataset, run.split, run.keys, names, *where, kept=kept)
    with clock.phase("evaluate"):
        counts, seconds = evaluation.run()
        scores = summarise(counts, run.split)
        pictures = write_pictures(evaluation, counts)
    with clock.phase("rounds") if hasattr(segmenter, "rounds") else nullcontext():
        rounds = score_rounds(replace(evaluation, kept=None), scores["scores"])
    if kept:
        kept.finish(_about(run))
    counts.write(run.folder / "per_image.parquet")
    timing = {"seconds": clock.seconds, "evaluate": len(run.keys) / max(seconds, 1e-9)}
    record = record_of(run, segmenter, names, started, timing) | scores
    record |= {"calibration": evaluation.curve(), "rounds": rounds}
    record["files"] = _files(run.folder, pictures) | {"predictions": PREDICTIONS if kept else None}
    write_record(run.folder, record)
    shutil.rmtree(run.folder / "counts")
    shutil.rmtree(run.folder / ROUNDS, ignore_errors=True)
    (run.folder / ERROR).unlink(missing_ok=True)
    return read_record(run.folder / FILE)


def _fit(run: Run) -> Segmenter:
    method, plan = run.configured.method, run.plan
    captions = run.corpus.captions if run.corpus else None
    vectors = copy.deepcopy(run.vectors)  # what is opened below stays closed to another start of the same run
    view = guarded_view(run.split, plan.dataset, method.supervision, captions, run.names, vectors)
    segmenter: Segmenter = method.fit(view, _job(run))
    if vectors is not None:
        with admitted():
            vectors.open_unseen()
    return segmenter


def _job(run: Run) -> Job:
    plan = run.plan
    captions = run.corpus.captions if run.corpus else None
    known = facts(run.loaded, run.configured.method.supervision, run.split, plan.dataset, run.names, captions)
    where = (plan.device, run.seed, run.folder, run.precision, plan.save_seconds)
    limit = plan.cache_features
    features = FeatureCache(plan.out / "features", round(limit * 1e9)) if limit else None
    return Job(*where, stages=plan.out / "stages", facts=known, features=features)


class Clock:
    """Seconds per phase, kept in a file over the starts of a run that ended by themselves.

    What a kill cut off is in the checkpoint (training) and in the counts (evaluation), which have clocks of their own.
    """

    def __init__(self, path: Path):
        self.path = path
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
            if distributed.rank() == 0:
                write_json(self.path, self.seconds)


def _about(run: Run) -> dict[str, Any]:
    """What the label maps of a run are of."""
    return {
        "run": run.key,
        "method": run.loaded.name,
        "seed": run.seed,
        "split": run.split.name,
        "split_fingerprint": run.split.fingerprint,
        "data": run.plan.dataset.origin.fingerprint,
        "images": len(run.keys),
        "command": run.plan.command,
    }


def _files(folder: Path, pictures: list[dict[str, Any]]) -> dict[str, Any]:
    curves = "curves.jsonl" if (folder / "curves.jsonl").exists() else None
    return {"per_image": "per_image.parquet", "curves": curves, "pictures": pictures}
