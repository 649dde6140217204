"""The same scan on worker processes of Dask `distributed`: a cluster that is running, or one made here for the scan.

The unit of work is a fragment and the outcome is its part, as in `scan.run`, so that both go on where the other was
stopped. Choices: what travels to a worker is plain text, by which it reads the source itself, with the credentials of
its own environment. A worker that finds the client's mark in the folder of parts writes its part there; one that does
not see the folder sends the part back. A worker that dies is replaced, and its fragment read by another one. What only
this process can read (standard input, streams, memory://) is read here.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import secrets
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zsbench import __version__
from zsbench.atomic import replacing, write_text
from zsbench.errors import UserError
from zsbench.leakage import scan
from zsbench.leakage.engine import Matcher
from zsbench.leakage.lexicon import lexicon_from_dict
from zsbench.leakage.reading.fragments import Fragment
from zsbench.leakage.reading.sources import first_line

CONNECT = 5  # seconds in which a scheduler must answer
RETRIES = 2  # of a fragment whose reading failed with a defect; dead workers are counted apart, by Dask
IN_FLIGHT = 1000  # fragments handed to the scheduler at once: enough for as many cores, and no flood
PATIENCE = 60  # seconds until a network file system shows a file that another machine has written
VERSION = f"{__version__} (counting {scan.COUNTING})"
KEPT = "The finished parts are kept: the same command goes on."


def scan_on_cluster(
    fragments: Sequence[Fragment],
    parts: scan.Parts,
    progress: scan.Progress | None = None,
    *,
    scheduler: str | None = None,
    workers: int = 0,
) -> int:
    """Makes the parts that are missing on worker processes, and returns how many those were; as `scan.run`.

    scheduler: address of a running one, e.g. tcp://10.0.0.1:8786. workers: processes to start here instead, for the
    time of the scan (0: one per core). Raises UserError where Dask is missing, the scheduler does not answer, versions
    differ, workers keep dying, or a source cannot be read; the parts that are finished are kept.
    """
    dask = _distributed()
    if scheduler and workers:
        raise UserError("--scheduler means workers that run already and --workers new ones: give one of them")
    todo = scan.missing(fragments, parts)
    scan.run([fragment for fragment in todo if _is_ours(fragment)], parts, 1, progress)
    theirs = [fragment for fragment in todo if not _is_ours(fragment)]
    if theirs:
        with _client(dask, scheduler, min(workers or scan.cores(), len(theirs))) as client:
            _Cluster(dask, client).run(theirs, parts, progress)
    return len(todo)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise UserError(f"--workers and --scheduler need Dask ({error}): pip install 'zsbench[cluster]'") from error
    return distributed


def _is_ours(fragment: Fragment) -> bool:
    return not fragment.resumable or fragment.source.lower().startswith("memory:")


@contextmanager
def _client(dask: Any, scheduler: str | None, workers: int) -> Iterator[Any]:
    """A client of the running scheduler, or of a cluster that ends with the block, whatever ends the block."""
    if scheduler:
        with _connected(dask, scheduler) as client:
            yield client
            return
    # No limit of memory: readers keep it flat by themselves, and a share of the machine's would be a guess.
    wanted = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "memory_limit": 0}
    page = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # a fixed port would be warned of when taken
    silent = {"scheduler_kwargs": page, "silence_logs": logging.ERROR}
    with dask.LocalCluster(**wanted, **silent) as cluster, dask.Client(cluster, set_as_default=False) as client:
        yield client


def _connected(dask: Any, scheduler: str) -> Any:
    try:
        dask.comm.get_address_host_port(scheduler)  # Client itself does not let go of an address that is none
        return dask.Client(scheduler, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:  # not there, no address, unknown protocol
        raise UserError(
            f"no Dask scheduler answers at {scheduler} ({first_line(error)}). Expected an address such as tcp://10.0.0.1:8786;"
            " start one with `dask scheduler`, and on every machine `dask worker tcp://…`."
        ) from error


class _Cluster:
    """Hands fragments to the workers of a cluster and takes their parts."""

    def __init__(self, dask: Any, client: Any):
        self._dask, self._client = dask, client
        _check_versions(client)

    def run(self, fragments: Sequence[Fragment], parts: scan.Parts, progress: scan.Progress | None) -> None:
        with _mark(parts.folder) as mark:
            for fragment, made in self._made(fragments, _order(parts, mark)):
                _keep(fragment, made, parts)
                if progress:
                    progress(fragment.bytes)

    def _made(self, fragments: Sequence[Fragment], order: str) -> Iterator[tuple[Fragment, Made]]:
        """Every fragment's outcome, in the order in which they end; no more than a window's worth is under way."""
        # The order is a task too, so that it travels to each worker once and outlives any of them.
        ordered = self._client.submit(str, order, pure=False)
        waiting, under_way = iter(fragments), {}

        def start(fragment: Fragment) -> Any:
            told = json.dumps(fragment.as_dict())
            future = self._client.submit(make, ordered, told, retries=RETRIES, pure=False)
            under_way[future.key] = fragment
            return future

        window = max(IN_FLIGHT, 4 * sum(self._client.nthreads().values()))
        ended = self._dask.as_completed(loop=self._client.loop)
        ended.update([start(fragment) for fragment in islice(waiting, window)])
        for future in ended:
            fragment = under_way.pop(future.key)
            yield fragment, self._result(future, fragment)
            ended.update([start(fragment) for fragment in islice(waiting, 1)])

    def _result(self, future: Any, fragment: Fragment) -> Made:
        try:
            return future.result()
        except self._dask.KilledWorker as error:
            raise UserError(
                f"{fragment.name}: {error.allowed_failures + 1} workers died over it, one after the other, as they do"
                f" where memory is short; see their logs. {KEPT}"
            ) from error
        except (CancelledError, self._dask.comm.CommClosedError) as error:
            raise UserError(f"the Dask scheduler is gone or has dropped the scan. {KEPT}") from error


def _check_versions(client: Any) -> None:
    """Scheduler and workers must have this zsbench; Dask itself warns of other packages that differ."""
    known = client.get_versions(packages=["zsbench"])
    if not known["workers"]:
        logging.getLogger("zsbench").warning("no worker has joined %s; waiting for one", client.scheduler.address)
    ours = known["client"]["packages"]["zsbench"]  # as Dask finds it everywhere, which is not always `__version__`
    for place, its in [("the scheduler", known["scheduler"]), *known["workers"].items()]:
        theirs = ((its or {}).get("packages") or {}).get("zsbench")
        if theirs != ours:
            has = f"zsbench {theirs}" if theirs else "no zsbench"
            raise UserError(f"{place} has {has}; there: pip install 'zsbench[cluster]=={__version__}'")


@contextmanager
def _mark(folder: Path) -> Iterator[str]:
    """A new file in the folder: a worker that sees one of this name sees this folder, not another at the same path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".seen-{secrets.token_hex(8)}"
    write_text(path, "")
    try:
        yield path.name
    finally:
        path.unlink(missing_ok=True)


def _keep(fragment: Fragment, made: Made, parts: scan.Parts) -> None:
    if made.refused:
        raise UserError(made.refused + ("" if made.host == platform.node() else f" (says worker {made.host})"))
    for path, content in ((parts.hits(fragment), made.hits), (parts.path(fragment), made.part)):
        if content is not None:
            with replacing(path) as file:
                file.write_bytes(content)
    deadline = time.monotonic() + PATIENCE
    while not parts.is_done(fragment):
        if time.monotonic() > deadline:
            raise UserError(f"a worker has written {parts.path(fragment)}, but it does not appear here; run again.")
        time.sleep(0.5)


# What follows runs on a worker.


@dataclass(frozen=True)
class Made:
    """What became of a fragment. part, hits: the content of its files, where the worker could not write them itself.

    refused: the text of a UserError, which another attempt would not mend.
    """

    refused: str = ""
    part: bytes | None = None
    hits: bytes | None = None
    host: str = field(default_factory=platform.node)


def _order(parts: scan.Parts, mark: str) -> str:
    """What is the same for all fragments."""
    job = parts.job
    asked = {"lexicon": job.lexicon.as_dict(), "examples": job.examples, "hits": job.hits}
    return json.dumps({"by": VERSION, "folder": str(parts.folder.absolute()), "mark": mark, "job": asked})


def make(order: str, fragment: str) -> Made:
    """Scans one fragment on the worker. order: from `_order`; fragment: its `as_dict` in JSON."""
    try:
        parts, shared = _read_order(order)
        told = Fragment.from_dict(json.loads(fragment))
        return _write_part(told, parts) if shared else _send_part(told, parts.job)
    except UserError as error:
        return Made(refused=str(error))


_matcher = lru_cache(maxsize=4)(Matcher)  # compiled once per worker; each task works on a copy


@lru_cache(maxsize=4)
def _read_order(order: str) -> tuple[scan.Parts, bool]:
    """The folder of parts with the job, and whether it is the client's own folder."""
    told = json.loads(order)
    if told["by"] != VERSION:  # of a worker that joined later
        raise UserError(f"a worker has zsbench {VERSION}, expected {told['by']}")
    job = scan.Job(lexicon_from_dict(told["job"]["lexicon"]), told["job"]["examples"], told["job"]["hits"])
    folder = Path(told["folder"])
    return scan.Parts(folder, job), os.access(folder / told["mark"], os.W_OK)


def _write_part(fragment: Fragment, parts: scan.Parts) -> Made:
    if not parts.is_done(fragment):  # it is, when only the word of it was lost with a worker
        scan.scan_fragment(fragment, parts, _matcher(parts.job.lexicon).copy())
    return Made()


def _send_part(fragment: Fragment, job: scan.Job) -> Made:
    with TemporaryDirectory(prefix="zsbench-") as folder:
        parts = scan.Parts(Path(folder), job)
        scan.scan_fragment(fragment, parts, _matcher(job.lexicon).copy())
        hits = parts.hits(fragment).read_bytes() if job.hits else None
        return Made(part=parts.path(fragment).read_bytes(), hits=hits)
