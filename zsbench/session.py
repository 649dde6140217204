"""What `zsbench run` does: every run that the settings ask for, one after the other, and the lines it prints."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from zsbench import distributed, runner
from zsbench.account import is_limited
from zsbench.config import configure
from zsbench.data.dataset import Dataset
from zsbench.data.guard import locked
from zsbench.data.opening import open_dataset
from zsbench.data.own_split import split_for
from zsbench.data.reader import Hints
from zsbench.data.scenes import cache_folder
from zsbench.device import pick_device
from zsbench.errors import UserError
from zsbench.method import load_method
from zsbench.run import Plan, Run
from zsbench.runner import Outcome
from zsbench.settings import Entry, Settings
from zsbench.split import OWN, Split, list_splits, load_split
from zsbench.study import Request, check_captions, requests, summary


def run(chosen: Settings, command: str, print_json: bool = False) -> int:
    """Runs everything and returns the number of failed runs. All requests are checked before the first one starts."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    device = pick_device(chosen.device)
    wanted = wanted_data([name for entry in chosen.entries for name in split_names(entry.split)])
    if chosen.data is None and named_data() is None:  # before half a minute of drawing, a look at what needs no data
        with locked(cache_folder()):
            for asked in requests(chosen.entries, split_names):
                with _told_where(asked.entry):
                    configure(load_method(asked.method).cls, asked.given, "drawn", asked.method)
    _check_captions(chosen)
    dataset = open_data(chosen.data, wanted, hints_of(chosen), chosen.data_kind)
    splits = {name: split_for(name, dataset) for names in wanted.values() for name in names}
    plan = Plan(
        dataset, dataset.root, device, chosen.precision, chosen.captions, chosen.caption_images, chosen.limit, chosen.out,
        chosen.force, chosen.checkpoint_seconds, command, chosen.captions_policy, chosen.lexicon, chosen.cache_features,
        chosen.save_predictions,
    )  # fmt: skip
    distributed.join(device)
    try:
        runs = _runs(plan, chosen, splits)
        say = _Say(print_json, quiet=distributed.rank() > 0)
        say.line(data_line(dataset))
        outcomes = _execute(runs, say, counted=chosen.study and len(runs) > 1)
        if chosen.study and (table := summary(runs, outcomes)):
            say.line(f"\n{table}")
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


def wanted_data(splits: Sequence[str]) -> dict[str, list[str]]:
    """Data set -> those of the splits that are of it, by name or file. Raises UserError for a split that is none."""
    wanted: dict[str, list[str]] = {}
    for name in dict.fromkeys(splits):
        wanted.setdefault(OWN if name == OWN else load_split(name).dataset, []).append(name)
    return wanted


def open_data(
    source: Path | None, wanted: Collection[str] = (), hints: Hints | None = None, kind: str | None = None
) -> Dataset:
    """The data set at `source` (a folder, or hf:…), else the one ZSBENCH_DATA names, else the drawn scenes, drawn into
    the cache once.

    wanted: the data sets that the splits to run are of, with the splits' names where these are known.
    """
    source = source or named_data()
    if source is None:
        from zsbench.data.scenes import ensure_drawn

        if others := [name for name in wanted if name != "voc2012"]:
            raise UserError(f"splits of {others[0]} need --data: the drawn scenes have the classes of PASCAL VOC only")
        if hints not in (None, Hints()) or kind:
            raise UserError("--classes, --as and the like speak of data of yours: name it with --data")
        source = ensure_drawn()
    return open_dataset(source, wanted, hints, kind)


def hints_of(chosen: Settings) -> Hints:
    """What the user says about the data beside where it lies."""
    return Hints(chosen.classes, chosen.first_id, chosen.image_column, chosen.mask_column)


def named_data() -> Path | None:
    """The folder or address that the variable ZSBENCH_DATA names."""
    return Path(os.environ["ZSBENCH_DATA"]) if os.environ.get("ZSBENCH_DATA") else None


def data_line(dataset: Dataset) -> str:
    """The first line of output: which pictures these numbers are about."""
    kind = "drawn scenes, not photographs" if dataset.origin.kind == "drawn" else "real photographs"
    notes = f"; {'; '.join(dataset.origin.notes)}" if dataset.origin.notes else ""
    return f"data: {dataset.origin.title} ({kind}{notes})"


def _runs(plan: Plan, chosen: Settings, splits: Mapping[str, Split]) -> list[Run]:
    """Every run that is asked for, ready to start, each once, split by split."""
    with runner.closed(plan):  # methods' modules are executed
        asked = requests(chosen.entries, split_names)
    prepared = [(request, _prepared(plan, request, splits[request.split])) for request in asked]
    check_captions(prepared)
    runs = {run_.folder: run_ for _, run_ in prepared}
    order = list(dict.fromkeys(run_.split.name for run_ in runs.values()))
    return sorted(runs.values(), key=lambda run_: order.index(run_.split.name))


def _prepared(plan: Plan, asked: Request, split: Split) -> Run:
    with _told_where(asked.entry):
        return runner.prepare(replace(plan, **asked.corpus), asked.method, split, asked.seed, asked.given)


@contextmanager
def _told_where(entry: Entry) -> Iterator[None]:
    """Faults of an entry begin with its place in the file."""
    try:
        yield
    except UserError as fault:
        raise UserError(f"{entry.where}{fault}") from fault


def _check_captions(chosen: Settings) -> None:
    for entry in chosen.entries:
        named = entry.matrix.get("captions", (entry.captions,))
        if any(captions is not None and not captions.strip() for captions in named):
            raise UserError(f"{entry.where}--captions is empty: name a corpus, or leave the option out")
    if chosen.caption_images is not None and not chosen.caption_images.is_dir():
        raise UserError(f"--caption-images: no folder {chosen.caption_images}")
    if chosen.lexicon is not None and not chosen.lexicon.is_file():
        raise UserError(f"--lexicon: no file {chosen.lexicon}; draft one: zsbench lexicon make CLASSES.txt")


def _execute(runs: Sequence[Run], say: _Say, counted: bool) -> list[Outcome]:
    """One after the other; what holds for the runs of a split is said before the first of them."""
    outcomes = []
    for number, run_ in enumerate(runs, 1):
        if number == 1 or run_.split != runs[number - 2].split:
            same = [other for other in runs if other.split == run_.split]
            say.line(split_line(run_.split, run_))
            for told in dict.fromkeys(other.corpus.line for other in same if other.corpus):
                say.line(told)
        if counted:
            say.progress(f"run {number} of {len(runs)}: {run_.loaded.name} {run_.key}  seed {run_.seed}{_given(run_)}")
        outcomes.append(runner.execute(run_))
        say.outcome(outcomes[-1])
    return outcomes


def _given(run_: Run) -> str:
    return "".join(f"  {name}={value}" for name, value in run_.configured.given.items())


class _Say:
    """Prints a run's lines for people, or its record as one line of JSON; as soon as it has ended."""

    def __init__(self, as_json: bool, quiet: bool):
        self.as_json, self.quiet = as_json, quiet

    def line(self, text: str) -> None:
        if not self.quiet and not self.as_json:
            click.echo(text)

    def progress(self, text: str) -> None:
        if not self.quiet:
            click.echo(text, err=True)

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
