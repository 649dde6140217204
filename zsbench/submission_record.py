"""The record of label maps that were handed in: like any run's, with a ledger that only the submitter answers for.

What a harness knows of its own runs (configuration, training, weights, time) nobody can see in a label map. So each field
of the ledger says what was declared, or that it was not, and the record names who declared it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from zsbench import __version__
from zsbench.account import data_facts, falls_short, split_facts
from zsbench.data.dataset import Dataset
from zsbench.data.lists import examples
from zsbench.errors import UserError
from zsbench.gallery import LAYERS, write_pictures
from zsbench.method import list_methods
from zsbench.record import FILE, code_sha256, environment, read_record, run_key, write_record
from zsbench.scoring import summarise
from zsbench.split import Split
from zsbench.submission import Beside, Counted, Handed, count

NOT_DECLARED = "not declared"
DECLARED_BY = "the submitter"
UNKNOWN_CORPUS = "an unknown corpus (not declared)"
LONGEST = 300  # characters of what a submitter says in one field
MOST_TOLD = 8  # kinds of predictions beside the point that a record lists


@dataclass(frozen=True)
class Declared:
    """What the submitter says the method was allowed to learn from: fields and words of `zsbench.supervision`.

    captions: the corpus in words, "none" for none; vectors: the class vectors in words, "none" for none.
    """

    masks: str = NOT_DECLARED
    layout: str = NOT_DECLARED
    unlabelled: str = NOT_DECLARED
    captions: str = NOT_DECLARED
    backbone: str = NOT_DECLARED
    backbone_corpus: str = NOT_DECLARED
    vectors: str = NOT_DECLARED
    unseen_names: str = NOT_DECLARED
    tuned_on: str = NOT_DECLARED

    def ledger(self) -> dict[str, Any]:
        told: dict[str, Any] = {"declared_by": DECLARED_BY, **asdict(self)}
        told["captions"] = None if self.captions == NOT_DECLARED else self.captions != "none"
        told["corpus"] = None if self.captions == "none" else self._corpus()
        told["vectors"] = None if self.vectors == "none" else self._vectors()
        if self.backbone_corpus == NOT_DECLARED and self.backbone != "random init":
            told["backbone_corpus"] = UNKNOWN_CORPUS
        return told

    def _corpus(self) -> dict[str, Any]:
        verdict = NOT_DECLARED if self.captions == NOT_DECLARED else f"not scanned, declared by {DECLARED_BY}"
        return {"name": self.captions, "pairs": None, "verdict": verdict, "unseen_named": None}

    def _vectors(self) -> dict[str, Any]:
        """leaks: unknown, as nobody looked into vectors that were only told of."""
        kind = NOT_DECLARED if self.vectors == NOT_DECLARED else f"declared by {DECLARED_BY}"
        return {"source": self.vectors, "sha256": None, "kind": kind, "corpus": "", "leaks": None, "control": None}


@dataclass(frozen=True)
class Told:
    """What a submission says of itself. paper, url: where the method is described."""

    name: str
    declared: Declared
    paper: str = ""
    url: str = ""

    def __post_init__(self) -> None:
        for field, text in {"name": self.name, "paper": self.paper, "url": self.url, **asdict(self.declared)}.items():
            if not text.isprintable() or len(text) > LONGEST or (text != text.strip()):
                raise UserError(f"--{field.replace('_', '-')}: one line of at most {LONGEST} characters was expected")
        if not self.name:
            raise UserError('--name is empty: what shall the report call this method? e.g. --name "My method"')
        if self.url and not re.fullmatch(r"https?://\S+", self.url):
            raise UserError(f"--url {self.url!r}: expected an address that begins with https:// or http://")

    @property
    def slug(self) -> str:
        """The name as a folder's: never that of a method of the harness, which it would be mistaken for."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.casefold()).strip("-")[:60].rstrip("-") or "submission"
        own = {re.sub(r"[^a-z0-9]", "", name) for name in list_methods()}
        return f"{slug}-submitted" if slug.replace("-", "") in own else slug


@dataclass(frozen=True)
class Scored:
    """One submission with its record. status: "done", or "cached" where that very record was there."""

    status: str
    key: str
    folder: Path
    record: dict[str, Any]


@dataclass(frozen=True)
class _Gallery:
    """Label maps as the gallery wants them."""

    folder: Path
    handed: Handed

    @property
    def split(self) -> Split:
        return self.handed.split

    def predict(self, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.handed.dataset.image(key), self.handed.truth(key), self.handed.predicted(key)


def score(handed: Handed, told: Told, out: Path, command: str) -> Scored:
    """Counts the maps and writes their record into a folder below `out`; pictures and counts lie beside it."""
    started, start = datetime.now(UTC), time.perf_counter()
    counted = count(handed)
    key = _key(handed, told, counted)
    folder = out / handed.split.name / f"{told.slug}-{key}"
    if record := _there(folder):
        return Scored("cached", key, folder, record)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = write_pictures(_Gallery(folder, handed), counted.counts)
    counted.counts.write(folder / "per_image.parquet")
    seconds = time.perf_counter() - start
    record = _account(handed, told, counted) | _scores(handed, counted) | {
        "key": key, "command": command, "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": {"score": seconds, "total": seconds},
        "files": {"per_image": "per_image.parquet", "curves": None, "pictures": pictures, "predictions": None},
    }  # fmt: skip
    write_record(folder, record)
    return Scored("done", key, folder, read_record(folder / FILE))


def _there(folder: Path) -> dict[str, Any] | None:
    """The finished record, if all its files are there."""
    if not (folder / FILE).is_file():
        return None
    record = read_record(folder / FILE)
    files = [
        record["files"]["per_image"],
        *(picture[layer] for picture in record["files"]["pictures"] for layer in LAYERS),
    ]
    return record if all((folder / name).is_file() for name in files) else None


def _key(handed: Handed, told: Told, counted: Counted) -> str:
    """Over everything that decides the record: the maps, what their ids mean, what was declared."""
    return run_key(
        {
            "zsbench": __version__,
            "code": code_sha256(),
            "submission": [told.name, told.paper, told.url, told.declared.ledger()],
            "predictions": counted.sha256,
            "classes": sorted(handed.names.items()),
            "split": handed.split.fingerprint,
            "data": handed.dataset.origin.fingerprint,
            "scopes": sorted(handed.files),
            "missing": _missing(handed, handed.dataset),
        }
    )


def _account(handed: Handed, told: Told, counted: Counted) -> dict[str, Any]:
    """Everything besides the scores. What a label map cannot tell is null or says so."""
    dataset, split = handed.dataset, handed.split
    return {
        "zsbench": __version__,
        "code_sha256": code_sha256(),
        "method": {
            "name": told.slug, "title": told.name, "source_sha256": None, "config_given": {}, "config": {},
            "departures": [], "parameters": None,
        },
        "split": split_facts(split),
        "data": data_facts(dataset, handed.keys),
        "limit": None,
        "limited": falls_short(dataset, split, len(handed.keys)),
        "seed": 0,
        "supervision": told.declared.ledger(),
        "submission": {
            "scopes": list(handed.files),
            "predictions_sha256": counted.sha256,
            "classes": {str(i): name for i, name in sorted(handed.names.items())},
            "beside": {scope: _beside(beside) for scope, beside in counted.beside.items()},
            "missing": _missing(handed, dataset),
            "files_ignored": sum(len(files.others) for files in handed.files.values()),
            "paper": told.paper or None,
            "url": told.url or None,
        },
        "prompts": None,
        "chosen": None,
        "device": NOT_DECLARED,
        "precision": NOT_DECLARED,
        "environment": environment(),
        "peak_memory_bytes": None,
        "images_per_second": None,
        "training": None,
        "stages": [],
        "calibration": None,
        "rounds": None,
    }  # fmt: skip


def _beside(beside: Beside) -> dict[str, Any]:
    kinds = sorted(beside.kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    return {"pixels": beside.pixels, "share": beside.share, "as": dict(kinds[:MOST_TOLD])}


def _missing(handed: Handed, dataset: Dataset) -> int:
    return len(dataset.keys("val")) - len(handed.keys)


def _scores(handed: Handed, counted: Counted) -> dict[str, Any]:
    """The scores and confusions; a scope that was not handed in has counts of the labels and no score."""
    split, counts = handed.split, counted.counts
    made = summarise(counts, split)
    rows = {"all": slice(None), "unseen": slice(counts.seen, None)}
    made["confusion"] |= {"missed": {scope: counts.total(scope).missed.tolist() for scope in handed.files}}
    for scope, row in rows.items():
        block, pixels, images = made["scores"][scope], counted.pixels[row], counted.images[row]
        block["pixels"] = int(pixels.sum())
        block["submitted"] = scope in handed.files
        if not block["submitted"]:
            made["confusion"][scope] = []
            for part in (block, *(block[name] for name in ("seen", "unseen") if name in block)):
                part |= {"classes_scored": 0, "classes_absent": []} if "classes_scored" in part else {}
            for entry, labelled, shown in zip(block["classes"].values(), pixels, images, strict=True):
                entry |= {"pixels": int(labelled), "images": int(shown)}
    return made


UNANSWERED = {
    "all": "",
    "unseen": "; the best of all names does not say which unseen name comes first (--unseen-predictions)",
}


def said(scored: Mapping[str, Any], others: Sequence[str] = ()) -> list[str]:
    """What to know of a submission's scores, from its record, as lines for people. others: files that were passed over."""
    facts, lines = scored["submission"], []
    if others:
        lines.append(f"  ignored, named after no image: {examples(others)}")
    for scope, title in (("all", "all names"), ("unseen", "unseen only")):
        beside = facts["beside"].get(scope)
        if beside is None:
            lines.append(f"  {title}: not submitted{UNANSWERED[scope]}")
            continue
        kinds = ", ".join(f"{name} {pixels:,}" for name, pixels in list(beside["as"].items())[:3])
        share = f"{beside['pixels']:,} of {scored['scores'][scope]['pixels']:,} scored pixels"
        told = (
            f" have no candidate ({100 * beside['share']:.2f} %: {kinds}); counted as missed"
            if kinds
            else " have no candidate"
        )
        lines.append(f"  {title}: {share}{told}")
    return lines
