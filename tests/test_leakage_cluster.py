"""Scans on worker processes: the same parts as in one process, whatever happens to workers and scheduler."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from zsbench import __version__
from zsbench.errors import UserError
from zsbench.leakage import cluster, scan
from zsbench.leakage.cluster import scan_on_cluster
from zsbench.leakage.lexicon import Entry, Form, Lexicon
from zsbench.leakage.reading.fragments import Fragment, plan

distributed = pytest.importorskip("distributed", reason="needs Dask: pip install 'zsbench[cluster]'")

pytestmark = pytest.mark.timeout(180)

SOFA = Lexicon("t", 3, (Entry("sofa", "", (Form("sofa", 0), Form("couch", 2)), ("couch potato",)),))
THINGS = ("a sofa", "couch potato", "A COUCH, red", "sofá", "dog", "")
NOBODY = "tcp://127.0.0.1:1"


def write_tsv(path: Path, rows: int = 4000) -> Path:
    path.write_text("".join(f"http://x/{i}.jpg\t{THINGS[i % 6]} no {i % 50}\n" for i in range(rows)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Fragment]:
    """Twenty fragments of two files. One is scanned beforehand: workers find the compiled loops in numba's cache."""
    folder = tmp_path_factory.mktemp("corpus")
    files = [write_tsv(folder / "a.tsv"), write_tsv(folder / "b.tsv", 400)]
    found = [fragment for file in files for fragment in plan([str(file)], fragment_bytes=-(-file.stat().st_size // 10))]
    scan.run(found[:1], parts_in(folder / "parts"), jobs=1)
    return found


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a running cluster of two worker processes."""
    two = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**two, memory_limit=0) as running:
        yield running.scheduler_address


@pytest.fixture
def leaves_none() -> Iterator[None]:
    """No process that the test started is left after it."""
    before = set(our_processes())
    yield
    until(lambda: set(our_processes()) <= before)


def parts_in(folder: Path, hits: bool = False) -> scan.Parts:
    return scan.Parts(folder, scan.Job(SOFA, examples=3, hits=hits))


def tally(fragments: list[Fragment], parts: scan.Parts) -> dict[str, Any]:
    return scan.fold(fragments, parts).as_dict()


def here(fragments: list[Fragment], folder: Path) -> dict[str, Any]:
    """The tally of a scan in this process."""
    scan.run(fragments, parts_in(folder), jobs=1)
    return tally(fragments, parts_in(folder))


def identities(parts: scan.Parts, fragments: list[Fragment]) -> dict[str, int]:
    """Which file each finished part is: one that is made again is another file."""
    return {parts.path(f).name: parts.path(f).stat().st_ino for f in fragments if parts.is_done(f)}


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_two_workers_count_what_one_process_counts(
    corpus: list[Fragment], scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "IN_FLIGHT", 2)
    parts, under_way, most = parts_in(tmp_path / "parts"), 0, 0
    submit, read = distributed.Client.submit, []

    def counted(client: Any, function: Any, *rest: Any, **options: Any) -> Any:
        nonlocal under_way, most
        under_way += function is cluster.make
        most = max(most, under_way)
        return submit(client, function, *rest, **options)

    def progress(size: int) -> None:
        nonlocal under_way
        under_way -= 1
        read.append(size)

    monkeypatch.setattr(distributed.Client, "submit", counted)
    assert scan_on_cluster(corpus, parts, progress, scheduler=scheduler) == len(corpus) == 20
    assert tally(corpus, parts) == here(corpus, tmp_path / "one")
    assert tally(corpus, parts)["classes"][0][0] > 0
    assert sum(read) == sum(fragment.bytes for fragment in corpus)
    assert most == 8, "four per core of two, not all twenty"
    assert not hidden(parts.folder), "the mark is taken away"
    assert scan_on_cluster(corpus, parts, scheduler=scheduler) == 0


def test_parts_come_back_from_workers_that_do_not_see_the_folder(
    corpus: list[Fragment], scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def unseen(folder: Path) -> Iterator[str]:
        yield "not-there"

    monkeypatch.setattr(cluster, "_mark", unseen)
    there, one = parts_in(tmp_path / "there", hits=True), parts_in(tmp_path / "one", hits=True)
    assert scan_on_cluster(corpus, there, scheduler=scheduler) == scan.run(corpus, one, jobs=1) == 20
    assert tally(corpus, there) == tally(corpus, one)
    for fragment in corpus:
        assert pq.read_table(there.hits(fragment)).equals(pq.read_table(one.hits(fragment)))
    assert not hidden(there.folder)


def test_the_folder_of_parts_is_known_by_its_mark_alone(corpus: list[Fragment], tmp_path: Path) -> None:
    """Another machine's folder at the same path is not written to."""
    parts, told = parts_in(tmp_path), json.dumps(corpus[0].as_dict())
    sent = cluster.make(cluster._order(parts, ".seen-elsewhere"), told)
    assert sent.part and not list(tmp_path.iterdir())
    with cluster._mark(tmp_path) as mark:
        written = cluster.make(cluster._order(parts, mark), told)
    assert written.part is None and parts.path(corpus[0]).read_bytes() == sent.part


def test_a_source_that_cannot_be_read_is_told_and_the_rest_is_kept(scheduler: str, tmp_path: Path) -> None:
    files = [write_tsv(tmp_path / f"{name}.tsv", 60) for name in "abcd"]
    fragments = plan([str(file) for file in files])
    content, time_ns = files[1].read_bytes(), files[1].stat().st_mtime_ns
    write_tsv(files[1], 61)
    parts = parts_in(tmp_path / "parts")
    with pytest.raises(UserError, match=r"b\.tsv has changed since it was planned"):
        scan_on_cluster(fragments, parts, scheduler=scheduler)
    files[1].write_bytes(content)
    os.utime(files[1], ns=(time_ns, time_ns))
    made, left = identities(parts, fragments), len(scan.missing(fragments, parts))
    assert left >= 1 and scan_on_cluster(fragments, parts, scheduler=scheduler) == left
    assert made.items() <= identities(parts, fragments).items()
    assert tally(fragments, parts) == here(fragments, tmp_path / "one")


def test_a_defect_on_a_worker_is_raised_as_what_it_is(scheduler: str, tmp_path: Path) -> None:
    """Not as a mistake of the user's, and after every retry."""
    strange = Fragment(str(write_tsv(tmp_path / "a.tsv", 6)), "no such format", bytes=1)
    with pytest.raises(KeyError, match="no such format"):
        scan_on_cluster([strange], parts_in(tmp_path / "parts"), scheduler=scheduler)


@pytest.mark.parametrize(("theirs", "told"), [("99.0", "zsbench 99.0"), (None, "no zsbench")])
def test_workers_with_another_version_are_refused(
    theirs: str | None,
    told: str,
    corpus: list[Fragment],
    scheduler: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    get_versions = distributed.Client.get_versions

    def other(client: Any, **options: Any) -> Any:
        known = get_versions(client, **options)
        list(known["workers"].values())[1]["packages"]["zsbench"] = theirs
        return known

    monkeypatch.setattr(distributed.Client, "get_versions", other)
    with pytest.raises(UserError, match=rf"tcp://127\.0\.0\.1:\d+ has {told}; there: pip install .*=={__version__}"):
        scan_on_cluster(corpus, parts_in(tmp_path), scheduler=scheduler)
    assert not list(tmp_path.iterdir())


def test_a_worker_that_joins_with_another_version_refuses(
    corpus: list[Fragment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "VERSION", "99.0")
    order = cluster._order(parts_in(tmp_path), "mark")
    monkeypatch.undo()
    assert "expected 99.0" in cluster.make(order, json.dumps(corpus[0].as_dict())).refused


@pytest.mark.parametrize("address", [NOBODY, "nonsense", "http://127.0.0.1:8787/status"])
def test_a_wrong_address_is_told_within_seconds(
    address: str, corpus: list[Fragment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT", 1)
    begun = time.monotonic()
    with pytest.raises(UserError, match=rf"no Dask scheduler answers at {address} \(.*dask worker tcp://"):
        scan_on_cluster(corpus, parts_in(tmp_path), scheduler=address)
    assert time.monotonic() - begun < 20


def test_without_dask_the_way_to_it_is_told(
    corpus: list[Fragment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"need Dask .*: pip install 'zsbench\[cluster\]'"):
        scan_on_cluster(corpus, parts_in(tmp_path), workers=2)


def test_a_scheduler_and_new_workers_exclude_each_other(corpus: list[Fragment], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--scheduler .* --workers .* give one of them"):
        scan_on_cluster(corpus, parts_in(tmp_path), scheduler=NOBODY, workers=2)


def test_what_only_this_process_can_read_is_read_here(corpus: list[Fragment], tmp_path: Path) -> None:
    """A stream cannot be read twice, and no worker has this process's standard input."""
    stream, parts = replace(corpus[0], resumable=False), parts_in(tmp_path)
    assert [scan_on_cluster([stream], parts, scheduler=NOBODY) for _ in range(2)] == [1, 1]
    assert parts.is_done(stream)


@pytest.mark.usefixtures("leaves_none")
def test_a_killed_worker_is_replaced_and_nothing_is_counted_twice(corpus: list[Fragment], tmp_path: Path) -> None:
    fragments, pipe, content = with_pipe(corpus, tmp_path)
    parts = parts_in(tmp_path / "parts")
    with ThreadPoolExecutor(1) as other:
        killed = other.submit(kill_reader, pipe, content)
        assert scan_on_cluster(fragments, parts, workers=2) == len(fragments)
    assert killed.result()
    files = [*fragments[:-1], *plan([str(tmp_path / "whole.txt")])]
    assert tally(fragments, parts) == here(files, tmp_path / "one")
    made = identities(parts, fragments)
    parts.path(fragments[3]).unlink()
    assert scan_on_cluster(fragments, parts, workers=1) == 1
    assert {name for name, file in identities(parts, fragments).items() if made[name] != file} <= {
        parts.path(fragments[3]).name
    }


@pytest.mark.usefixtures("leaves_none")
def test_a_fragment_that_kills_every_worker_is_named(corpus: list[Fragment], tmp_path: Path) -> None:
    import dask

    fragments, pipe, _ = with_pipe(corpus, tmp_path)
    parts = parts_in(tmp_path / "parts")
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), ThreadPoolExecutor(1) as other:
        other.submit(kill_reader, pipe, b"", once=True)
        with pytest.raises(UserError, match=r"pipe\.txt: 1 workers died .* finished parts are kept"):
            scan_on_cluster(fragments[-1:], parts, workers=1)
    assert not hidden(parts.folder)


@pytest.mark.usefixtures("leaves_none")
def test_an_interrupt_ends_the_workers_and_keeps_what_is_done(corpus: list[Fragment], tmp_path: Path) -> None:
    parts = parts_in(tmp_path / "parts")

    def interrupt(size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_on_cluster(corpus, parts, interrupt, workers=1)
    assert identities(parts, corpus) and ".seen" not in str(hidden(parts.folder))


def with_pipe(corpus: list[Fragment], folder: Path) -> tuple[list[Fragment], Path, bytes]:
    """A corpus with a named pipe at its end, in which a worker waits as long as the test likes, and its content."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to see which worker reads the pipe")
    whole, pipe = folder / "whole.txt", folder / "pipe.txt"
    whole.write_text("a couch\n" * 100 + "sofa\n")
    os.mkfifo(pipe)
    [fragment] = plan([str(whole)])
    return [*corpus[:6], replace(fragment, source=str(pipe), stamp="")], pipe, whole.read_bytes()


def kill_reader(pipe: Path, content: bytes, once: bool = False) -> int:
    """Kills the worker that is reading the pipe and feeds the one that tries again; which was killed."""
    writer = until(lambda: open_for_writing(pipe))
    [victim] = until(lambda: readers(pipe))
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in readers(pipe))
    if not once:
        until(lambda: readers(pipe))
        os.write(writer, content)
    os.close(writer)
    return victim


def open_for_writing(pipe: Path) -> int | None:
    """Opens the pipe when somebody reads it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        assert error.errno == errno.ENXIO
        return None


def readers(pipe: Path) -> list[int]:
    """The child processes that have the pipe open."""
    return [pid for pid in our_processes() if str(pipe) in open_files(pid)]


def open_files(pid: int) -> list[str]:
    names = []
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                names.append(str(link.readlink()))
    return names


def our_processes() -> list[int]:
    """Those that were spawned by this one, directly or not, and are alive."""
    import psutil  # comes with Dask

    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any("spawn_main" in argument for argument in child.cmdline()):  # a dead one has no command line
                found.append(child.pid)
    return found


def until(found: Callable[[], Any], seconds: float = 100) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value
