"""Scans of corpora in object stores, against an S3 server on this machine and fsspec's store in memory."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zsbench.errors import UserError
from zsbench.leakage import scan
from zsbench.leakage.lexicon import Entry, Form, Lexicon
from zsbench.leakage.reading.fragments import Fragment, plan

pytestmark = pytest.mark.timeout(180)

SOFA = Lexicon("t", 3, (Entry("sofa", "", (Form("sofa", 0), Form("couch", 2)), ("couch potato",)),))
THINGS = ("a sofa", "couch potato", "A COUCH, red", "sofá", "dog", "")
SECRET = "a-secret-that-stays-in-the-environment"
FILES = ("pairs.tsv", "pairs.parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus on disk: pairs of address and caption, as TSV and as parquet of eight row groups."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = [(f"http://x/{i}.jpg", f"{THINGS[i % 6]} no {i % 50}") for i in range(4000)]
    (folder / "pairs.tsv").write_text("".join(f"{url}\t{text}\n" for url, text in rows), encoding="utf-8")
    table = pa.table({"URL": [url for url, _ in rows], "TEXT": [text for _, text in rows]})
    pq.write_table(table, folder / "pairs.parquet", row_group_size=500)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of an empty S3 server, host:port."""
    moto = pytest.importorskip("moto.server", reason="needs an S3 server: pip install 'moto[server]'")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """s3:// address of the folder with {} for the file's name; credentials are in the environment alone."""
    for name, value in {
        "ACCESS_KEY_ID": "curator",
        "SECRET_ACCESS_KEY": SECRET,
        "EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    from pyarrow.fs import LocalFileSystem, S3FileSystem, copy_files

    # As the service itself: an address in Arrow knows the server and the region, and no key.
    store = S3FileSystem(endpoint_override=server, scheme="http", region="us-east-1", allow_bucket_creation=True)
    store.create_dir("corpus")
    copy_files(str(folder), "corpus/drawn", source_filesystem=LocalFileSystem(), destination_filesystem=store)
    return "s3://corpus/drawn/{}?" + f"endpoint_override={server}&scheme=http&region=us-east-1"


def parts_in(folder: Path) -> scan.Parts:
    return scan.Parts(folder, scan.Job(SOFA, examples=3, hits=True))


def cut(spec: str) -> list[Fragment]:
    """The plan of one file in several fragments: byte ranges or row groups."""
    fragments = plan([spec], fragment_bytes=30_000 if "tsv" in spec else 2_000)
    assert len(fragments) > 2 and fragments[0].stop == fragments[1].start
    return fragments


def tally(fragments: list[Fragment], parts: scan.Parts) -> dict[str, Any]:
    return scan.fold(fragments, parts).as_dict()


def on_disk(file: Path, out: Path) -> dict[str, Any]:
    """The tally of the same file, cut alike, from the disk."""
    fragments, parts = cut(str(file)), parts_in(out)
    scan.run(fragments, parts, jobs=2)
    counted = tally(fragments, parts)
    assert counted["sources"]["0"]["records"] == 4000
    assert counted["forms"] == [2 * 667, 667], "sofa, and sofá without its accent; couch, and not in couch potato"
    return counted


def fetched_once(fragments: list[Fragment]) -> list[Fragment]:
    """Through JSON, as a plan is written and read by another machine."""
    return [Fragment.from_dict(json.loads(json.dumps(fragment.as_dict()))) for fragment in fragments]


@pytest.mark.parametrize("name", FILES)
def test_objects_in_s3_are_counted_as_files_are(name: str, bucket: str, folder: Path, tmp_path: Path) -> None:
    fragments, parts = fetched_once(cut(bucket.format(name))), parts_in(tmp_path / "parts")
    assert scan.run(fragments, parts, jobs=2) == len(fragments)
    assert tally(fragments, parts) == on_disk(folder / name, tmp_path / "disk")
    assert {fragment.name for fragment in fragments} == {name}
    assert scan.run(fragments, parts, jobs=2) == 0


def test_worker_processes_read_s3_by_address_and_their_environment(bucket: str, folder: Path, tmp_path: Path) -> None:
    """Address with its options travels, the credentials do not."""
    pytest.importorskip("distributed", reason="needs Dask: pip install 'zsbench[cluster]'")
    from zsbench.leakage.cluster import scan_on_cluster

    plans = {name: cut(bucket.format(name)) for name in FILES}
    parts = parts_in(tmp_path / "parts")
    everything = [fragment for fragments in plans.values() for fragment in fragments]
    assert scan_on_cluster(everything, parts, workers=2) == len(everything)
    for name, fragments in plans.items():
        assert tally(fragments, parts) == on_disk(folder / name, tmp_path / "disk")
    assert SECRET not in json.dumps([fragment.as_dict() for fragment in everything])
    assert not [file for file in parts.folder.iterdir() if SECRET.encode() in file.read_bytes()]


def test_a_whole_bucket_is_found(bucket: str) -> None:
    found = {fragment.name: fragment.format for fragment in plan([bucket.replace("/{}", "")])}
    assert found == {"pairs.tsv": "tsv", "pairs.parquet": "parquet"}
    assert {fragment.name for fragment in plan([bucket.format("*.tsv")])} == {"pairs.tsv"}


def test_an_object_that_changed_after_planning_is_refused(bucket: str, server: str, tmp_path: Path) -> None:
    from pyarrow.fs import S3FileSystem

    fragments = cut(bucket.format("pairs.tsv"))
    store = S3FileSystem(endpoint_override=server, scheme="http", region="us-east-1")
    with store.open_output_stream("corpus/drawn/pairs.tsv") as file:
        file.write(b"http://x\ta sofa\n")
    with pytest.raises(UserError, match=r"pairs\.tsv.* has changed since it was planned"):
        scan.run(fragments, parts_in(tmp_path), jobs=2)


def test_a_missing_object_is_told(bucket: str) -> None:
    with pytest.raises(UserError, match=r"there is no file|cannot read .*absent"):
        plan([bucket.format("absent.tsv")])


@pytest.mark.parametrize("name", FILES)
def test_a_store_of_fsspec_is_counted_as_files_are(name: str, folder: Path, tmp_path: Path) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    spec, parts = f"memory://{tmp_path.name}/{name}", parts_in(tmp_path / "parts")
    store = MemoryFileSystem()
    store.pipe(f"/{tmp_path.name}/{name}", (folder / name).read_bytes())
    fragments = fetched_once(cut(spec))
    assert scan.run(fragments, parts, jobs=2) == len(fragments)
    assert tally(fragments, parts) == on_disk(folder / name, tmp_path / "disk")


def test_a_store_in_this_process_is_read_here_and_not_by_workers(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="needs Dask: pip install 'zsbench[cluster]'")
    from fsspec.implementations.memory import MemoryFileSystem

    from zsbench.leakage.cluster import scan_on_cluster

    MemoryFileSystem().pipe(f"/{tmp_path.name}/pairs.tsv", (folder / "pairs.tsv").read_bytes())
    fragments, parts = cut(f"memory://{tmp_path.name}/pairs.tsv"), parts_in(tmp_path / "parts")
    assert scan_on_cluster(fragments, parts, scheduler="tcp://127.0.0.1:1") == len(fragments)
    assert tally(fragments, parts) == on_disk(folder / "pairs.tsv", tmp_path / "disk")
