"""The account of a run: everything its record says besides the scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zsbench import __version__
from zsbench.corpus import Corpus
from zsbench.data.dataset import Dataset, Origin
from zsbench.data.view import training_part
from zsbench.method import Segmenter
from zsbench.record import code_sha256, environment, peak_memory
from zsbench.run import Run
from zsbench.split import Split


def record_of(
    run: Run, segmenter: Segmenter, names: Sequence[str], started: datetime, timing: Mapping[str, Any]
) -> dict[str, Any]:
    plan, configured = run.plan, run.configured
    described: dict[str, Any] = segmenter.describe(names) if hasattr(segmenter, "describe") else {}
    training = _training(run.folder)
    seconds = dict(timing["seconds"])
    if training:  # a killed start's training counts too
        seconds["fit"] = max(seconds["fit"], sum(stage["seconds"] for stage in training["stages"].values()))
    return {
        "key": run.key,
        "zsbench": __version__,
        "code_sha256": code_sha256(),
        "command": plan.command,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "method": {
            "name": run.loaded.name,
            "title": run.loaded.title,
            "source_sha256": run.loaded.source_sha256,
            "config_given": configured.given,
            "config": configured.config,
            "departures": configured.departures + _background_note(run, described.get("background")),
            "parameters": described.get("parameters"),
        },
        "split": split_facts(run.split),
        "data": data_facts(plan.dataset, run.keys),
        "limit": run.limit,
        "limited": is_limited(run),
        "seed": run.seed,
        "supervision": _supervision(run),
        "prompts": described.get("prompts"),
        "chosen": described.get("chosen"),
        "device": plan.device.type,
        "precision": run.precision,
        "environment": environment(),
        "seconds": seconds | {"total": sum(seconds.values())},
        "peak_memory_bytes": peak_memory(),
        "images_per_second": {"train": training and training["images_per_second"], "evaluate": timing["evaluate"]},
        "training": training,
        "stages": _stages(run.folder),
        "submission": None,
    }


def _supervision(run: Run) -> dict[str, Any]:
    """The method's declaration, with what the harness found of its captions and class vectors."""
    declared: dict[str, Any] = run.configured.method.supervision.ledger()
    del declared["vector_names"]  # how a file of vectors was read stands in the vectors' own ledger
    found = {"declared_by": "the method", "corpus": run.corpus and run.corpus.ledger(), "vectors": run.vectors_ledger}
    return declared | found


def with_scan(record: dict[str, Any], corpus: Corpus | None) -> dict[str, Any]:
    """The record with the ledger of its captions as `corpus`, the same ones, was scanned now.

    Other words for the classes change no score, so that nobody has to train again for them.
    """
    if corpus is None or corpus.found is None:
        return record
    ledger = corpus.ledger() | {"skipped": record["supervision"]["corpus"]["skipped"]}  # training counts more of these
    return record | {"supervision": record["supervision"] | {"corpus": ledger}}


# Images of the official validation lists; of two in use (Context: with and without one image) the shorter. EDITIONS: by the
# beginning of the data set's title, where editions of one data set have lists of their own.
OFFICIAL_VAL = {
    ("real", "voc2012"): 1449, ("real", "context59"): 5104, ("real", "context60"): 5104, ("real", "context33"): 5104,
    ("real", "cocostuff171"): 5000,
}  # fmt: skip
EDITIONS = {"COCO-Stuff 10k": 1000}


def _background_note(run: Run, threshold: str | None) -> list[dict[str, Any]]:
    """A method without masks has no notion of background; on a split that scores it, that must be said.

    threshold: in the method's words, where it calls background what no name fits.
    """
    if run.split.background == "ignore" or run.configured.method.supervision.masks == "seen":
        return []
    said = "a threshold stands for it" if threshold else "it is only a name like any other"
    reason = f"the split scores background as a class; without masks {said}: do not compare"
    return [{"field": "(background)", "paper": None, "value": threshold or "named by its prompt", "reason": reason}]


def is_limited(run: Run) -> bool:
    """Fewer images than the protocol's, by --limit or because the list at hand is shorter."""
    return falls_short(run.plan.dataset, run.split, len(run.keys))


def falls_short(dataset: Dataset, split: Split, scored: int) -> bool:
    """Whether so many scored images are fewer than the protocol's."""
    return scored < max(official_val(dataset.origin, split), len(dataset.keys("val")))


def official_val(origin: Origin, split: Split) -> int:
    """How many images the official validation list has; 0 where there is none."""
    edition = next((images for title, images in EDITIONS.items() if origin.title.startswith(title)), None)
    return edition or OFFICIAL_VAL.get((origin.kind, split.dataset), 0)


def split_facts(split: Split) -> dict[str, Any]:
    plain = ("name", "dataset", "title", "source", "background", "train_policy", "fingerprint")
    return {f: getattr(split, f) for f in plain} | {"seen": list(split.seen), "unseen": list(split.unseen)}


def data_facts(dataset: Dataset, scored: Sequence[str]) -> dict[str, Any]:
    def part(name: str) -> dict[str, Any]:
        return {"list": name, "images": len(dataset.keys(name)), "sha256": dataset.part_sha256(name)}

    origin, train = dataset.origin, training_part(dataset)
    return {
        "kind": origin.kind,
        "title": origin.title,
        "fingerprint": origin.fingerprint,
        "notes": list(origin.notes),
        "parts": {"train": train and part(train), "val": part("val") | {"scored": len(scored)}},
    }


def _training(folder: Path) -> dict[str, Any] | None:
    """What the training loop left behind: of the last stage, with all stages' seconds."""
    path = folder / "training.json"
    if not path.exists():
        return None
    stages = json.loads(path.read_text())
    seconds, images = (sum(stage[field] for stage in stages.values()) for field in ("seconds", "images"))
    last = list(stages.values())[-1]
    return {
        "steps": sum(stage["step"] for stage in stages.values()),
        "images": images,
        "images_per_second": images / seconds if seconds else None,
        "last": last["last"],
        "stages": stages,
    }


def _stages(folder: Path) -> list[dict[str, Any]]:
    """Trainings that the run started from, made once for several runs (see `zsbench.stages`)."""
    path = folder / "stages.json"
    return list(json.loads(path.read_text())) if path.exists() else []
