"""Looks at many photographs: decoded by threads, what is broken named and passed over, what is known read from a cache.

The cache is one SQLite file, by path, size and time of last change: an audit that was killed goes on where it was, and a
second one decodes nothing. It is written every few seconds; a file that is none is an error, not a reason to start anew.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from zsbench.errors import UserError
from zsbench.overlap.looks import SIDE, Look, look_at
from zsbench.overlap.sources import Photo

VERSION = 1  # of looks: raised with every change of what is hashed
MOST_THREADS = 8  # a photograph of the largest size allowed takes 0.3 GB while it is looked at
AHEAD = 32  # photographs per thread that wait to be taken up
SECONDS = 5.0  # between two writes of the cache
SIZES = (32, 8, 8, SIDE * SIDE)
TABLE = (
    "create table if not exists looks (path text primary key, size integer, changed integer, digest blob, hash blob,"
    " mirrored blob, grey blob)"
)

Stamp = tuple[str, int, int]  # absolute path, bytes, time of last change in nanoseconds
Answer = tuple[Stamp | None, Look | str]  # a look, or why there is none


@dataclass(frozen=True)
class Looked:
    """looks: place of a photograph -> its look. faults: place -> why there is none, in one sentence. cached: how many
    were known."""

    looks: dict[str, Look]
    faults: dict[str, str]
    cached: int = 0


def look_at_all(photos: Sequence[Photo], cache: Path | None = None, jobs: int = 0) -> Looked:
    """The looks of photographs, each place once. cache: file to read and to write; jobs: threads, 0 = one per core."""
    wanted = {photo.place: photo for photo in photos}
    if cache is None:
        return _look(wanted, {}, None, jobs)
    cache.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(cache)) as store:
            store.execute("pragma synchronous = normal")
            if store.execute("pragma user_version").fetchone()[0] not in (0, VERSION):
                store.execute("drop table if exists looks")
            store.execute(f"pragma user_version = {VERSION}")
            store.execute(TABLE)
            return _look(wanted, _known(store, wanted), store, jobs)
    except sqlite3.DatabaseError as fault:
        raise UserError(f"{cache}: cannot be used as a cache of looks ({fault}); delete it, it is made anew") from None


def _look(wanted: dict[str, Photo], known: dict[str, Look], store: sqlite3.Connection | None, jobs: int) -> Looked:
    looks, faults = dict(known), dict[str, str]()
    left = [photo for place, photo in wanted.items() if place not in known]
    written, new = time.monotonic(), list[tuple[Stamp, Look]]()
    bar = tqdm(total=len(left), desc="looking at photographs", unit="image", disable=None)
    try:
        for photo, (stamp, found) in _in_threads(left, jobs):
            bar.update()
            if isinstance(found, str):
                faults[photo.place] = found
                continue
            looks[photo.place] = found
            if stamp is not None:
                new.append((stamp, found))
            if store is not None and time.monotonic() > written + SECONDS:
                _write(store, new)
                written, new = time.monotonic(), []
    finally:
        bar.close()
        if store is not None:
            _write(store, new)
    return Looked(looks, faults, len(known))


def _in_threads(photos: Sequence[Photo], jobs: int) -> Iterator[tuple[Photo, Answer]]:
    """Every photograph with its look or its fault, in order; few wait at a time, so that an interruption is quick."""
    threads = min(jobs or os.cpu_count() or 1, MOST_THREADS)
    rest = iter(photos)
    with ThreadPoolExecutor(threads) as pool:
        try:
            waiting = [(photo, pool.submit(_one, photo)) for photo in islice(rest, threads * AHEAD)]
            while waiting:
                photo, future = waiting.pop(0)
                yield photo, future.result()
                waiting += [(photo, pool.submit(_one, photo)) for photo in islice(rest, 1)]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _one(photo: Photo) -> Answer:
    stamp = _stamp(photo)
    if photo.file is not None and photo.file.exists() and not photo.file.is_file():
        return None, f"{photo.file}: not a file."  # a pipe would be waited on for ever
    try:
        return stamp, look_at(photo.read())
    except UserError as fault:
        return None, str(fault)


def _stamp(photo: Photo) -> Stamp | None:
    try:
        told = photo.file.stat() if photo.file else None
    except OSError:
        return None
    return (os.path.abspath(photo.place), told.st_size, told.st_mtime_ns) if told else None  # noqa: PTH100


def _known(store: sqlite3.Connection, wanted: dict[str, Photo]) -> dict[str, Look]:
    known = {}
    for place, photo in wanted.items():
        stamp = _stamp(photo)
        query = "select digest, hash, mirrored, grey from looks where path = ? and size = ? and changed = ?"
        row = store.execute(query, stamp).fetchone() if stamp else None
        if row and all(isinstance(part, bytes) and len(part) == size for part, size in zip(row, SIZES, strict=True)):
            known[place] = Look(*row)
    return known


def _write(store: sqlite3.Connection, new: Sequence[tuple[Stamp, Look]]) -> None:
    rows = [(*stamp, look.digest, look.hash, look.mirrored, look.grey) for stamp, look in new]
    store.executemany("insert or replace into looks values (?, ?, ?, ?, ?, ?, ?)", rows)
    store.commit()
