"""Finds run records below folders and reads them without trust.

Choices: a record that cannot be used is never lost silently: it becomes a `LeftOut` with the reason, printed on the
page and on stderr. A run folder without a record is one too (the run is unfinished: record.json is written last).
Files that a record names are opened only when they lie inside the run's own folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from zsbench.errors import UserError

from .counts import PerImage, per_image
from .places import LeftOut, encodable, is_leakage_report, leads_elsewhere, place_of
from .shape import RECORD, excesses, faults

SCHEMA = 1
LARGEST_RECORD = 64 * 2**20  # bytes; a confusion matrix of 171 classes is below one MiB
LARGEST_GAMMA = 100
LONGEST_METER = 200  # letters of the name of what a method logs
HALF_WRITTEN = ("record.json.*", ".record.json.*")  # what a write leaves that was killed
TRACES = ("curves.jsonl", "per_image.parquet", "pictures", "checkpoint", "checkpoints", "config.json")
FILE = "record.json"
NOT_FOLLOWED = "a link to a folder is not followed; name it on the command line"
RUN_FOLDER = re.compile(r".+-[0-9a-f]{12}$")


@dataclass(frozen=True)
class Run:
    """One finished run. `place` is its folder as printed: relative to the folder that was asked for."""

    folder: Path = field(compare=False)
    place: str
    record: dict[str, Any] = field(compare=False)

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a dotted path ("scores.unseen.miou"); `default` where a step is missing or null."""
        value: Any = self.record
        for step in path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        return default if value is None else value

    @property
    def key(self) -> str:
        return str(self.record["key"])

    def file(self, name: str) -> Path | None:
        """A file of this run by the name in its record; None when it is not there or lies outside the run's folder."""
        try:
            path = (self.folder / name).resolve()
            inside = path.is_relative_to(self.folder.resolve())
            return path if inside and path.is_file() else None
        except (OSError, ValueError):
            return None

    @cached_property
    def curves(self) -> list[tuple[str, dict[str, float]]]:
        """The logged steps as (stage, numbers): every line of the curves file that is a JSON object with a step."""
        path = self.file(self.get("files.curves", "")) if self.get("files.curves") else None
        return list(_steps(path)) if path else []

    @cached_property
    def per_image(self) -> PerImage | str:
        """The counts per image, or why there are none."""
        return per_image(self)


def read_runs(roots: Sequence[Path]) -> tuple[list[Run], list[LeftOut]]:
    """Every usable run below `roots` (folders, run folders or record files), and everything that was left out.

    Raises UserError for a root that does not exist, and for a file that is neither a record nor a leakage report.
    """
    runs: list[Run] = []
    left: list[LeftOut] = []
    for root in roots:
        if not root.exists():
            raise UserError(f"no folder '{root}' to report on; expected a folder of runs, made by: zsbench run")
        if root.is_dir():
            for folder in _folders(root, left):
                _take(folder, root, runs, left)
        elif root.name == FILE and root.is_file():
            _take(root.parent, root, runs, left)
        elif not (root.is_file() and is_leakage_report(root)):
            raise UserError(f"'{root}' is neither a record.json nor a leakage.json; expected one, or a folder of runs")
    return _without_doubles(runs, left)


def _folders(root: Path, left: list[LeftOut]) -> Iterator[Path]:
    """Folders below `root` in a fixed order; hidden ones are half-written temporaries of atomic writes.

    Folders that cannot be opened, and links to folders elsewhere, go to `left`: links could lead in circles.
    """
    closed: list[OSError] = []
    for name, folders, _ in os.walk(root, onerror=closed.append):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        links = [Path(name) / f for f in folders if leads_elsewhere(Path(name) / f, root)]
        left += [LeftOut(place_of(link, root), NOT_FOLLOWED) for link in links]
        yield Path(name)
    left += [LeftOut(place_of(Path(e.filename), root), f"cannot be opened: {e.strerror}") for e in closed]


def _take(folder: Path, root: Path, runs: list[Run], left: list[LeftOut]) -> None:
    place = place_of(folder, root)
    path = folder / FILE
    if path.is_file():
        found = _read(path)
        if isinstance(found, str):
            left.append(LeftOut(place, found))
        else:
            runs.append(Run(folder, place, found))
    elif _looks_like_a_run(folder) and not _is_a_stage(folder):
        left.append(LeftOut(place, _unfinished(folder)))


def _unfinished(folder: Path) -> str:
    error = folder / "error.txt"
    if not error.is_file():
        return "no record.json: the run is unfinished; the same command again finishes it"
    lines = error.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return (
        f"failed: {lines[-1][:200] if lines else 'no reason given'} (error.txt); mend it and run the same command again"
    )


def _looks_like_a_run(folder: Path) -> bool:
    if RUN_FOLDER.match(folder.name) or any((folder / trace).exists() for trace in TRACES):
        return True
    return any(found for pattern in HALF_WRITTEN for found in folder.glob(pattern))


def _is_a_stage(folder: Path) -> bool:
    """A training that several runs start from (see `zsbench.stages`): it has curves and no record of its own."""
    return (folder / "stage.json").is_file()


def _read(path: Path) -> dict[str, Any] | str:
    """The record, or the reason why it cannot be used."""
    try:
        if path.stat().st_size > LARGEST_RECORD:
            return f"record.json is larger than {LARGEST_RECORD >> 20} MiB"
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        return f"record.json cannot be read: {error}"
    return _unusable(record) or record


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON number; an absent score is null")


def _unusable(record: Any) -> str:
    """Why a parsed record cannot be used; empty when it can."""
    if not isinstance(record, dict):
        return "record.json does not hold an object"
    schema = record.get("schema")
    if schema != SCHEMA:
        age = "older" if isinstance(schema, int) and schema < SCHEMA else "unknown"
        return f"record of an {age} schema ({schema!r}; this zsbench reads {SCHEMA}): run it again with --force"
    if record.get("status", "done") != "done":
        return f"status is {record['status']!r}: the run did not finish"
    found = list(excesses(record)) or list(faults(record, RECORD)) or list(_contradictions(record))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"malformed record: {found[0]}{more}" if found else ""


def _contradictions(record: dict[str, Any]) -> Iterator[str]:
    """Faults between fields that each have the right shape."""
    for at in ("unseen", "all"):
        scope = record["scores"][at]
        missing = [name for name in scope["candidates"] if name not in scope["classes"]]
        if missing:
            yield f"'scores.{at}.classes' lacks the candidate {missing[0]!r}"
    states = record.get("rounds") or []
    scores = [("scores", record["scores"])] + [
        (f"rounds[{n}].scores", state["scores"]) for n, state in enumerate(states)
    ]
    for where, told in scores:
        for at, interval in _intervals(told):
            if interval is not None and (len(interval) != 2 or interval[0] > interval[1]):
                yield f"'{where}.{at}' is {interval!r}, expected [low, high]"
    yield from _round_contradictions(states, record["scores"])
    yield from _calibration_contradictions(record.get("calibration") or {})


def _intervals(scores: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    parts = [("unseen", scores["unseen"]), ("unseen.oracle", scores["unseen"].get("oracle") or {})]
    parts += [(f"all.{name}", scores["all"][name]) for name in ("seen", "unseen", "harmonic")]
    for at, part in parts:
        yield f"{at}.interval", part.get("interval")


def _round_contradictions(states: list[dict[str, Any]], scores: dict[str, Any]) -> Iterator[str]:
    for number, state in enumerate(states):
        for name, counts in ((state.get("selected") or {}).get("classes") or {}).items():
            if counts["correct"] + counts["outside"] > counts["pixels"]:
                yield f"'rounds[{number}].selected.classes.{name}' has more pixels right or outside than were selected"
    last = states[-1]["scores"]["all"]["unseen"]["miou"] if states else None
    own = scores["all"]["unseen"]["miou"]
    if last is not None and own is not None and abs(last - own) > 1e-5:
        yield f"the last of 'rounds' has unseen mIoU {last}, but 'scores.all.unseen' {own}: both tell the final state"


def _calibration_contradictions(told: dict[str, Any]) -> Iterator[str]:
    for name in ("seen", "unseen", "harmonic"):
        if told and len(told[name]) != len(told["gammas"]):
            yield f"'calibration.{name}' has {len(told[name])} values for {len(told['gammas'])} gammas"
    if told and max(map(abs, [*told["gammas"], told["gamma"]])) > LARGEST_GAMMA:
        yield f"'calibration' has gammas beyond {LARGEST_GAMMA}, which no difference of probabilities reaches"


def _without_doubles(runs: list[Run], left: list[LeftOut]) -> tuple[list[Run], list[LeftOut]]:
    """One run per key: of several records with one key the one finished last stays, the others are left out by name."""
    kept: dict[str, Run] = {}
    for run in sorted(runs, key=lambda r: (r.get("finished", ""), r.place), reverse=True):
        first = kept.setdefault(run.key, run)
        if first is not run and first.folder.resolve() != run.folder.resolve():
            same = "a copy of" if first.record == run.record else "another record with the key of"
            left.append(LeftOut(run.place, f"{same} {first.place}, which finished later or at the same time"))
    return sorted(kept.values(), key=lambda r: (r.place, r.key)), sorted(left, key=lambda x: x.place)


def _steps(path: Path) -> Iterator[tuple[str, dict[str, float]]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                step = json.loads(line, parse_constant=lambda word: None)
            except (ValueError, RecursionError):
                continue  # a line cut by a kill
            if isinstance(step, dict) and isinstance(step.get("step"), int):
                numbers = {encodable(k)[:LONGEST_METER]: v for k, v in step.items() if _is_number(v)}
                yield encodable(str(step.get("stage", "")))[:LONGEST_METER], numbers


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
