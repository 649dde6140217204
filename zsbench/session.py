"""What `zsbench run` does: settings from options and a TOML file, one run after the other, and the lines it prints."""

from __future__ import annotations

import json
import logging
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import click

from zsbench import distributed, runner
from zsbench.account import is_limited
from zsbench.config import configure, parse, parse_sets
from zsbench.corpus import Policy
from zsbench.data.guard import locked
from zsbench.data.scenes import cache_folder
from zsbench.data.voc import VocDataset, open_voc
from zsbench.device import pick_device
from zsbench.errors import UserError, unknown
from zsbench.method import load_method
from zsbench.run import Plan, Run
from zsbench.runner import Outcome
from zsbench.split import Split, list_splits, load_split


@dataclass(frozen=True)
class Settings:
    """Everything `zsbench run` can be told, by option or in a TOML file."""

    method: tuple[str, ...] = ()
    split: tuple[str, ...] = ("voc5",)
    seed: tuple[int, ...] = (0,)
    set: Mapping[str, Any] = ()  # type: ignore[assignment]
    data: Path | None = None
    captions: str | None = None
    caption_images: Path | None = None
    captions_policy: Policy = "as-is"
    lexicon: Path | None = None
    limit: int | None = None
    device: str = "auto"
    precision: str = "auto"
    out: Path = Path("runs")
    force: bool = False
    checkpoint_seconds: float = 30.0


PLURAL = {"methods": "method", "splits": "split", "seeds": "seed"}
PATHS = ("data", "caption_images", "lexicon", "out")
LISTS = ("method", "split", "seed")
RANGES = {"limit": (1, 2**31 - 1), "checkpoint_seconds": (0, 1e9), "seed": (0, 2**31 - 1)}
TYPES: dict[str, Any] = {
    "limit": int,
    "seed": int,
    "force": bool,
    "checkpoint_seconds": float,
    "device": Literal["auto", "cpu", "cuda", "mps"],
    "precision": Literal["auto", "fp32", "bf16"],
    "captions_policy": Policy,
}


def settings(options: Mapping[str, Any], file: Path | None) -> Settings:
    """Options over the file's values over the defaults. Raises UserError for anything the file has that is no option."""
    told = _from_file(file) if file else {}
    fields_ = {**dict(told.pop("set", {})), **parse_sets(options["sets"])}
    for option, value in options.items():
        name = PLURAL.get(option, option)
        given = value is not None and value is not False and value != () and (name, value) != ("device", "auto")
        if given and name in {f.name for f in fields(Settings)}:
            told[name] = value
    chosen = Settings(**told | {"set": fields_})
    if not chosen.method:
        raise UserError("which method? Name one with --method, e.g. --method vilseg.  All methods: zsbench list")
    return chosen


def _from_file(path: Path) -> dict[str, Any]:
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no config file at {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    known = [f.name for f in fields(Settings)]
    for name, value in told.items():
        if name not in known:
            raise unknown("option", name, known)
        told[name] = _value(path, name, value)
    return told


def _value(path: Path, name: str, value: Any) -> Any:
    """A file's value as the option's type."""
    if name == "set":
        if not isinstance(value, dict):
            raise UserError(f"{path}: [set] must be a table of fields")
        return value
    if name in LISTS:
        return tuple(_scalar(path, name, item) for item in (value if isinstance(value, list) else [value]))
    text = _scalar(path, name, value)
    if name == "captions" and (path.parent / text).exists():
        return str(path.parent / text)
    return path.parent / text if name in PATHS else text


def _scalar(path: Path, name: str, value: Any) -> Any:
    if name not in TYPES and not isinstance(value, str):
        raise UserError(f"{path}: {name} = {value!r}: text was expected")
    try:
        parsed = parse(value, TYPES.get(name, str), name)
    except UserError as fault:
        raise UserError(f"{path}: {fault}") from None
    low, high = RANGES.get(name, (None, None))
    if low is not None and not low <= parsed <= high:
        raise UserError(f"{path}: {name} = {parsed}: a number from {low} to {high} was expected")
    return parsed


def run(chosen: Settings, command: str, print_json: bool = False) -> int:
    """Runs everything and returns the number of failed runs. All requests are checked before the first one starts."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    device = pick_device(chosen.device)
    splits = [load_split(name) for name in split_names(chosen.split)]
    if chosen.data is None and named_data() is None:  # before half a minute of drawing, a look at what needs no data
        with locked(cache_folder()):
            for name in dict.fromkeys(chosen.method):
                configure(load_method(name).cls, _given(name, chosen), "drawn", name)
    _check_captions(chosen)
    dataset, root = open_data(chosen.data)
    plan = Plan(
        dataset, root, device, chosen.precision, chosen.captions, chosen.caption_images, chosen.limit, chosen.out,
        chosen.force, chosen.checkpoint_seconds, command, chosen.captions_policy, chosen.lexicon,
    )  # fmt: skip
    distributed.join(device)
    try:
        runs = {split: _runs(plan, split, chosen) for split in splits}
        say = _Say(print_json, quiet=distributed.rank() > 0)
        say.line(data_line(dataset))
        outcomes = [outcome for split in splits for outcome in _execute(split, runs[split], say)]
    finally:
        distributed.leave()
    return sum(outcome.status == "failed" for outcome in outcomes)


def split_names(asked: Sequence[str]) -> list[str]:
    """Names and files as told, each once; a pattern ("voc_k*") becomes the published splits it fits, K = 2 before 10.

    Raises UserError for a pattern that fits none.
    """
    return list(dict.fromkeys(name for one in asked for name in (_fitting(one) if _is_pattern(one) else [one])))


def _is_pattern(text: str) -> bool:
    return ("*" in text or "?" in text) and not text.endswith(".toml")


def _fitting(pattern: str) -> list[str]:
    known = list(list_splits())
    found = [name for name in known if fnmatchcase(name, pattern)]
    if not found:
        near = get_close_matches(pattern.replace("*", "").replace("?", ""), known, n=3, cutoff=0.5)
        hint = f" Near: {', '.join(near)}." if near else ""
        raise UserError(f"no published split fits the pattern '{pattern}'.{hint}  All splits: zsbench list")
    return found


def open_data(folder: Path | None) -> tuple[VocDataset, Path]:
    """The data set in `folder`, else the one ZSBENCH_DATA names, else the drawn scenes, drawn into the cache once."""
    folder = folder or named_data()
    if folder is None:
        from zsbench.data.scenes import ensure_drawn

        folder = ensure_drawn()
    dataset = open_voc(folder)
    return dataset, dataset.root


def named_data() -> Path | None:
    """The folder that the variable ZSBENCH_DATA names."""
    return Path(os.environ["ZSBENCH_DATA"]) if os.environ.get("ZSBENCH_DATA") else None


def data_line(dataset: VocDataset) -> str:
    """The first line of output: which pictures these numbers are about."""
    kind = "drawn scenes, not photographs" if dataset.origin.kind == "drawn" else "real photographs"
    notes = f"; {'; '.join(dataset.origin.notes)}" if dataset.origin.notes else ""
    return f"data: {dataset.origin.title} ({kind}{notes})"


def _runs(plan: Plan, split: Split, chosen: Settings) -> list[Run]:
    pairs = [(name, seed) for name in dict.fromkeys(chosen.method) for seed in dict.fromkeys(chosen.seed)]
    with runner.closed(plan):  # methods' modules are executed
        given = {name: _given(name, chosen) for name, _ in pairs}
    return [runner.prepare(plan, name, split, seed, given[name]) for name, seed in pairs]


def _given(name: str, chosen: Settings) -> dict[str, Any]:
    """The fields set for one method of several: those it has. A field that none of them has goes to all, to be refused."""
    fields_of = {method: {f.name for f in fields(load_method(method).cls)} for method in dict.fromkeys(chosen.method)}
    known = set().union(*fields_of.values())
    return {field: value for field, value in dict(chosen.set).items() if field in fields_of[name] or field not in known}


def _check_captions(chosen: Settings) -> None:
    if chosen.captions is not None and not chosen.captions.strip():
        raise UserError("--captions is empty: name a corpus, or leave the option out")
    if chosen.caption_images is not None and not chosen.caption_images.is_dir():
        raise UserError(f"--caption-images: no folder {chosen.caption_images}")
    if chosen.lexicon is not None and not chosen.lexicon.is_file():
        raise UserError(f"--lexicon: no file {chosen.lexicon}; draft one: zsbench lexicon make CLASSES.txt")


def _execute(split: Split, runs: Sequence[Run], say: _Say) -> list[Outcome]:
    say.line(split_line(split, runs[0]))
    for told in dict.fromkeys(run_.corpus.line for run_ in runs if run_.corpus):
        say.line(told)
    outcomes = []
    for run_ in runs:
        outcomes.append(runner.execute(run_))
        say.outcome(outcomes[-1])
    return outcomes


class _Say:
    """Prints a run's lines for people, or its record as one line of JSON; as soon as it has ended."""

    def __init__(self, as_json: bool, quiet: bool):
        self.as_json, self.quiet = as_json, quiet

    def line(self, text: str) -> None:
        if not self.quiet and not self.as_json:
            click.echo(text)

    def outcome(self, outcome: Outcome) -> None:
        self.line(outcome_line(outcome))
        if self.as_json and not self.quiet:
            click.echo(json.dumps(outcome.record or {"status": outcome.status, "message": outcome.message}))


def split_line(split: Split, run: Run) -> str:
    total = len(run.plan.dataset.keys("val"))
    images = f"{total:,} images" if len(run.keys) == total else f"{len(run.keys):,} of {total:,} images"
    background = "background ignored" if split.background == "ignore" else "background counted as seen"
    limited = " (limited: not for ranking)" if is_limited(run) else ""
    return f"{split.name}: {len(split.seen)} seen, {len(split.unseen)} unseen, {background}, {images}{limited}"


def outcome_line(outcome: Outcome) -> str:
    """One line of numbers and the record's path, as one would paste them."""
    head = f"  {outcome.method:<8} {outcome.key}  seed {outcome.seed}  {outcome.status:<6}"
    if outcome.status == "failed":
        return f"{head}  {outcome.message}\n           traceback: {outcome.folder / 'error.txt'}; run the same command to go on"
    if outcome.record is None:
        return head
    return f"{head}{numbers(outcome.record)}\n           {outcome.folder / 'record.json'}"


def numbers(record: Mapping[str, Any]) -> str:
    unseen, every = record["scores"]["unseen"], record["scores"]["all"]
    total = int(record["seconds"]["total"])
    corpus = (record["supervision"].get("corpus") or {}).get("name")
    learned = f"  captions {corpus}" if corpus else ""
    return (
        f"  {total // 60} m {total % 60:02d} s{learned}"
        f"   unseen only {percent(unseen['miou'])}{_bounds(unseen['interval'])} (chance {percent(unseen['chance']['miou'])})"
        f"   all names: seen {percent(every['seen']['miou'])}  unseen {percent(every['unseen']['miou'])}"
        f"  h {percent(every['harmonic']['miou'])}"
    )


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _bounds(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" [{percent(interval[0])}, {percent(interval[1])}]"
