"""Scanning a corpus: a plan of fragments, one part file per fragment, and the sum of the parts.

A part is written whole or not at all, under a hash of its fragment (with the file's size and time), the lexicon and the
version of the counting. So running again does only what is missing, several machines can share a folder of parts, and
a changed file or lexicon never meets old counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsbench import __version__
from zsbench.atomic import write_text
from zsbench.errors import UserError
from zsbench.leakage.batch import Intake
from zsbench.leakage.engine import Matcher, flagged_hashes
from zsbench.leakage.hits import HitsFile
from zsbench.leakage.lexicon import Lexicon
from zsbench.leakage.reading.fragments import Fragment, read
from zsbench.leakage.sample import Collector
from zsbench.leakage.tally import Tally

COUNTING = 1  # raised with every change of what a part holds or of what counts

Progress = Callable[[int], None]  # told how many more bytes have been read


@dataclass(frozen=True)
class Job:
    """What is asked of every fragment. examples: captions kept for each form. hits: whether to write every hit."""

    lexicon: Lexicon
    examples: int = 5
    hits: bool = False

    def key(self, fragment: Fragment) -> str:
        """Name of the fragment's part, 20 hex digits."""
        facts = [COUNTING, __version__, self.lexicon.fingerprint, self.lexicon.level, self.examples, self.hits]
        text = json.dumps([*facts, fragment.as_dict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Parts:
    """The folder of a scan's parts."""

    folder: Path
    job: Job

    def path(self, fragment: Fragment) -> Path:
        return self.folder / f"{self.job.key(fragment)}.json"

    def hits(self, fragment: Fragment) -> Path:
        return self.folder / f"{self.job.key(fragment)}.parquet"

    def is_done(self, fragment: Fragment) -> bool:
        return self.path(fragment).is_file() and (not self.job.hits or self.hits(fragment).is_file())

    def load(self, fragment: Fragment) -> Tally:
        try:
            return Tally.from_dict(json.loads(self.path(fragment).read_text(encoding="utf-8")), self.job.lexicon)
        except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            path = self.path(fragment)
            raise UserError(f"part {path} of the scan is missing or damaged; remove it and scan again.") from error


class Stopped(Exception):
    """The scan was asked to stop between two batches; nothing of the fragment is kept."""


def scan_fragment(
    fragment: Fragment, parts: Parts, matcher: Matcher, progress: Progress | None = None, stop: Any = None
) -> None:
    """Reads one fragment and writes its part. stop: an Event; when it is set, `Stopped` is raised."""
    job, intake, told = parts.job, Intake(), 0
    tally = Tally.empty(job.lexicon, job.examples)
    collector = Collector(matcher, job.examples)
    parts.folder.mkdir(parents=True, exist_ok=True)
    with HitsFile(parts.hits(fragment) if job.hits else None, matcher, fragment.source) as hits_file:
        with closing(read(fragment, intake)) as batches:  # type: ignore[type-var]
            for batch in batches:
                hits = matcher.scan(batch, intake)
                keys = flagged_hashes(batch, hits)
                tally.add(hits, keys)
                collector.add(batch, hits, keys)
                hits_file.add(batch, hits)
                if stop is not None and stop.is_set():
                    raise Stopped
                if progress:
                    progress(intake.bytes - told)
                    told = intake.bytes
        tally.take_in(0, intake)
        tally.examples = collector.examples()
    if progress:
        progress(fragment.bytes - told)
    write_text(parts.path(fragment), json.dumps(tally.as_dict()))


def missing(fragments: Sequence[Fragment], parts: Parts) -> list[Fragment]:
    """The fragments whose part has still to be made; a stream's always has."""
    return [fragment for fragment in fragments if not (fragment.resumable and parts.is_done(fragment))]


def run(fragments: Sequence[Fragment], parts: Parts, jobs: int = 0, progress: Progress | None = None) -> int:
    """Makes the parts that are missing, in `jobs` threads (0: one per core), and returns how many those were.

    Threads suffice: the compiled loops, decompression and reading all run without Python's lock.
    """
    todo = missing(fragments, parts)
    if not todo:
        return 0
    threads, stop = min(jobs or cores(), len(todo)), threading.Event()
    matchers = _Matchers(Matcher(parts.job.lexicon))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="scan")
    try:
        futures = [pool.submit(_one, fragment, parts, matchers, progress, stop) for fragment in todo]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    return len(todo)


class _Matchers(threading.local):
    """One matcher per thread, with shared tables."""

    def __init__(self, first: Matcher):
        self.own = first.copy()


def _one(fragment: Fragment, parts: Parts, matchers: _Matchers, progress: Progress | None, stop: Any) -> None:
    scan_fragment(fragment, parts, matchers.own, progress, stop)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fold(fragments: Sequence[Fragment], parts: Parts) -> Tally:
    """The sum of all parts. Sources are numbered in the plan's order, and rows counted from the source's beginning."""
    total = Tally.empty(parts.job.lexicon, parts.job.examples)
    for placed in in_place(fragments, parts):
        total.merge(placed.tally)
    return total


@dataclass(frozen=True)
class Placed:
    """A part in its corpus. first: the row of its source that its own row 0 is."""

    fragment: Fragment
    first: int
    tally: Tally


def in_place(fragments: Sequence[Fragment], parts: Parts) -> Iterator[Placed]:
    """Every part in the plan's order, its examples and sources numbered within the corpus."""
    numbers: dict[str, int] = {}
    rows: dict[int, int] = {}
    for fragment in fragments:
        number = numbers.setdefault(fragment.source, len(numbers))
        first, tally = rows.get(number, 0), parts.load(fragment)
        intake = tally.intake
        rows[number] = first + intake.records
        for example in tally.examples:
            example.source, example.row = number, example.row + first
        tally.sources = {number: intake}
        yield Placed(fragment, first, tally)


def sources(fragments: Sequence[Fragment]) -> list[str]:
    """The sources of a plan in its order."""
    return list(dict.fromkeys(fragment.source for fragment in fragments))


def corpus_fingerprint(fragments: Sequence[Fragment]) -> str:
    """Hash of which files with which sizes and times were planned, however they were cut; 12 hex digits."""
    facts = json.dumps(sorted({(fragment.source, fragment.stamp, str(fragment.column)) for fragment in fragments}))
    return hashlib.sha256(facts.encode()).hexdigest()[:12]
