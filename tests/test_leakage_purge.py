"""Purging: what names a class goes, all else stays as the bytes it was; whole or not at all, in every format."""

from __future__ import annotations

import bz2
import csv
import datetime
import decimal
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import types
from collections.abc import Callable, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zsbench.errors import UserError
from zsbench.leakage.engine import Matcher
from zsbench.leakage.lexicon import Entry, Form, Lexicon, split_lexicon
from zsbench.leakage.purging import corpus as purging
from zsbench.leakage.purging import lines as purge_lines
from zsbench.leakage.purging import places as purge_places
from zsbench.leakage.purging import work as purge_work
from zsbench.leakage.purging.corpus import purge, verify
from zsbench.leakage.purging.json import top_lists
from zsbench.leakage.reading import blocks as read_blocks
from zsbench.leakage.reading.fragments import Fragment, plan
from zsbench.leakage.reference import named
from zsbench.split import load_split

SOFA = Entry("sofa", "", (Form("sofa", 0), Form("couch", 2)), ("couch potato",))
LEXICON = Lexicon("t", 3, (SOFA,))
TWO = Lexicon("t", 3, (SOFA, Entry("cat", "", (Form("cat", 0),))))
QUICK = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
}
EXPAND: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.decompress,
    ".zst": lambda data: zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read(),
    ".bz2": bz2.decompress,
}


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def purged(
    path: Path | Sequence[Path], out: Path, mode: Any = "drop", column: str | None = None, **options: Any
) -> Any:
    """Purges files and holds the manifest against what lies there; for rewritten files scans the outcome again."""
    paths = [path] if isinstance(path, Path) else list(path)
    planned = {key: options.pop(key) for key in ("fragment_bytes", "format") if key in options}
    before = {name: hashlib.sha256(name.read_bytes()).hexdigest() for name in paths}
    manifest = purge(plan(list(map(str, paths)), column=column, **planned), LEXICON, out, mode, **options)
    assert json.loads((out / "manifest.json").read_text()) == manifest
    assert {name: hashlib.sha256(name.read_bytes()).hexdigest() for name in paths} == before, "an input was touched"
    for entry in manifest["files"]:
        assert entry["rows"] == entry["kept"] + entry["dropped"] + entry["unreadable_dropped"]
        if entry["mode"] == "drop":
            output = out / entry["output"]
            assert entry["input_sha256"] == before[Path(entry["source"])]
            assert entry["output_sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
            assert entry["bytes"] == Path(entry["source"]).stat().st_size
            assert entry["output_bytes"] == output.stat().st_size
            assert entry["kept"] == 0 or verify(plan([str(output)], column=column), LEXICON) == 0
    for name in ("rows", "kept", "dropped", "unreadable_dropped"):
        assert manifest["totals"][name] == sum(entry[name] for entry in manifest["files"])
    assert not list(out.rglob(".*")), "something of the work was left"
    return manifest


# Records and whether they stay; the heading comes first. What is expected is put together from the same pieces.
Pieces = list[tuple[bytes, bool]]
LINES: dict[str, tuple[str, bytes, Pieces]] = {
    "tsv": (
        "a.tsv",
        b"",
        [
            (b"http://x/1\ta red sofa\n", False),
            (b"http://x/sofa.jpg\ta cat\n", True),
            (b"http://x/2\ta couch potato\n", True),
            (b'http://x/3\ttwo "couch\n', False),
            (b"http://x/4\t\n", True),
            (b"\n", True),
            (b"only one field\n", False),
            (b"http://x/5\tthree\tfields\n", False),
            (b"http://x/6\tmid\rdle \0 \xff\xfe bytes\n", True),
            (b"http://x/7\tSO\xc2\xadFA\n", False),
            (b"http://x/8\tlast", True),
        ],
    ),
    "tsv with a heading, a mark and CRLF": (
        "a.tsv",
        b"\xef\xbb\xbfcaption\turl\r\n",
        [(b"sofa\thttp://x/1\r\n", False), (b"a dog\thttp://x/2\r\n", True), (b"the couch\thttp://x/3\r\n", False)],
    ),
    "csv": (
        "a.csv",
        b'id,caption,"an ""odd\nheading"""\r\n',
        [
            (b'1,"a ""red""\nsofa",x\r\n', False),
            (b'2,"a dog,\n\n""here""",y\r\n', True),
            (b'3,a couch  ,"z"\r\n', False),
            (b"\r\n", True),
            (b'4,"so""fa",w\n', True),
            (b"5,too few\n", False),
            (b'6,"stray" x,y\n', False),
            (b"7,a cat,last", True),
        ],
    ),
    "text": (
        "a.txt",
        b"\xef\xbb\xbf",
        [(b"a sofa\n", False), (b"\n", True), (b"\r\n", True), (b"couch potato\r\n", True), (b"a couch", False)],
    ),
    "jsonl": (
        "a.jsonl",
        b"",
        [
            (b'{"caption": "a \\u0073ofa", "n": 1.50}\n', False),
            (b'{ "caption":"a dog" ,"big":123456789012345678901234567890}\n', True),
            (b'{"url": "no caption"}\n', False),
            (b"no json\n", False),
            (b'{"caption": ["a cat", "the couch"]}\n', False),
            (b'{"caption": null, "tag": "sofa"}\n', True),
            (b'{"caption": "caf\\u00e9"}', True),
        ],
    ),
}


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("pieces", LINES)
@pytest.mark.parametrize("size", [1 << 20, 16])
def test_kept_records_of_lines_are_the_bytes_they_were(pieces: str, ending: str, size: int, tmp_path: Path) -> None:
    name, heading, records = LINES[pieces]
    content = heading + b"".join(record for record, _ in records)
    path = put(tmp_path / "in" / (name + ending), COMPRESS[ending](content))
    manifest = purged(path, tmp_path / "out", fragment_bytes=size)
    result = EXPAND[ending]((tmp_path / "out" / (name + ending)).read_bytes())
    assert result == heading + b"".join(record for record, stays in records if stays)
    entry = manifest["files"][0]
    assert (entry["rows"], entry["kept"]) == (len(records), sum(stays for _, stays in records))
    assert entry["classes"] == {"sofa": entry["dropped"]}


def test_a_gzip_file_tells_no_time_and_no_name(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt.gz", gzip.compress(b"a dog\na sofa\n", mtime=12345))
    for out in ("one", "two"):
        purged(path, tmp_path / out)
    one, two = ((tmp_path / out / "a.txt.gz").read_bytes() for out in ("one", "two"))
    assert one == two and one[4:8] == bytes(4) and one[3] == 0


def is_named(caption: bytes) -> bool:
    return any(named(caption.decode("utf-8", errors="replace"), entry) for entry in LEXICON.entries)


LETTERS = st.sampled_from(
    [b"sofa", b"couch", b" potato", b" ", b"a", b"\t", b"\r", b'"', b",", b"\0", b"\xff", "ﬁü".encode()]
)
TEXTS = st.lists(LETTERS, max_size=8).map(b"".join)


@QUICK
@given(lines=st.lists(st.one_of(TEXTS, st.binary(max_size=20)), max_size=30), last=TEXTS, size=st.integers(1, 60))
def test_random_lines_of_text(lines: list[bytes], last: bytes, size: int, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("text")
    content = b"letters " * 300 + b"\n" + b"\n".join([*lines, last])  # or else it might be taken for UTF-16
    path = put(folder / "a.txt", content)
    purged(path, folder / "out", format="text", fragment_bytes=size)
    assert (folder / "out/a.txt").read_bytes() == b"".join(line for line in by_newline(content) if not is_named(line))


def by_newline(content: bytes) -> list[bytes]:
    parts = [part + b"\n" for part in content.split(b"\n")]
    parts[-1] = parts[-1][:-1]
    return [part for part in parts if part]


@QUICK
@given(captions=st.lists(TEXTS, max_size=30), size=st.integers(1, 60))
def test_random_lines_of_tsv(captions: list[bytes], size: int, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("tsv")
    lines = [b"http://x/sofa\ta\n"] * 101 + [b"http://x/sofa\t" + text + b"\n" for text in captions]
    path = put(folder / "a.tsv", b"".join(lines))
    purged(path, folder / "out", column="1", fragment_bytes=size * 40)
    expected = [line for line in lines if line.count(b"\t") == 1 and not is_named(line.split(b"\t")[1])]
    assert (folder / "out/a.tsv").read_bytes() == b"".join(expected)


FIELDS = st.lists(st.sampled_from(["sofa", "couch", " potato", "a", " ", ",", '"', "\n", "\r\n", "é"]), max_size=6).map(
    "".join
)


@QUICK
@given(rows=st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=30), ending=st.sampled_from(["\n", "\r\n"]))
def test_random_csv(rows: list[tuple[str, str]], ending: str, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("csv")
    records = []
    for row in (("url", "caption"), *rows):
        text = io.StringIO()
        csv.writer(text, lineterminator=ending, quoting=csv.QUOTE_ALL).writerow(row)
        records.append(text.getvalue().encode())
    path = put(folder / "a.csv", b"".join(records))
    purged(path, folder / "out")
    kept = [record for (_, caption), record in zip(rows, records[1:], strict=True) if not is_named(caption.encode())]
    assert (folder / "out/a.csv").read_bytes() == records[0] + b"".join(kept)


def test_nothing_and_everything_named(tmp_path: Path) -> None:
    none = put(tmp_path / "none.tsv", b"caption\turl\r\na dog\thttp://x\r\na cat\thttp://y")
    manifest = purged(none, tmp_path / "one")
    assert (tmp_path / "one/none.tsv").read_bytes() == none.read_bytes()
    assert manifest["files"][0]["input_sha256"] == manifest["files"][0]["output_sha256"]
    every = put(tmp_path / "all.tsv", b"caption\turl\r\nsofa\thttp://x\r\ncouch\thttp://y")
    manifest = purged(every, tmp_path / "two")
    assert (tmp_path / "two/all.tsv").read_bytes() == b"caption\turl\r\n"
    totals = manifest["totals"]
    assert [totals[name] for name in ("files", "rows", "kept", "dropped", "unreadable_dropped")] == [1, 2, 0, 2, 0]


def test_a_line_too_long_to_be_read_goes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(read_blocks, "LONGEST", 5 << 20)
    path = put(
        tmp_path / "a.txt", b"a dog\n" + b"x" * (12 << 20) + b"\na cat\n" + b"y" * (6 << 20) + b"\na sofa\na cow\n"
    )
    manifest = purged(path, tmp_path / "out", format="text")
    assert (tmp_path / "out/a.txt").read_bytes() == b"a dog\na cat\na cow\n"
    assert manifest["totals"]["unreadable_dropped"] == 2 and manifest["totals"]["dropped"] == 1


def test_classes_are_counted_apart(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", b"a cat on a sofa, a sofa\na cat\nnothing\nx\n")
    manifest = purge(plan([str(path)]), TWO, tmp_path / "out")
    assert manifest["classes"] == {"sofa": 1, "cat": 2} and manifest["totals"]["dropped"] == 2


# --- parquet and Arrow ---


def rich_table() -> pa.Table:
    captions = ["a sofa", "a dog", None, "couch potato", "a couch", "", "a cat", "the sofa", "the sofa", "sofa bed"] * 3
    rows = len(captions)
    numbers = list(range(rows))
    columns: dict[str, Any] = {
        "caption": pa.array(captions),
        "URL": pa.array([f"http://x/sofa/{n}" for n in numbers], pa.large_string()),
        "big": pa.array([2**63 - 1 - n if n % 4 else None for n in numbers], pa.uint64()),
        "score": pa.array([np.nan if n % 5 == 0 else n / 3 for n in numbers], pa.float32()),
        "flag": pa.array([None if n % 3 == 0 else n % 2 == 0 for n in numbers]),
        "raw": pa.array([bytes([n, 255]) for n in numbers], pa.binary()),
        "fixed": pa.array([bytes([n] * 4) for n in numbers], pa.binary(4)),
        "when": pa.array([datetime.datetime(2020, 1, 1 + n) for n in numbers], pa.timestamp("us", tz="UTC")),
        "day": pa.array([datetime.date(2020, 1, 1 + n) for n in numbers]),
        "price": pa.array([decimal.Decimal(n) / 100 for n in numbers], pa.decimal128(12, 2)),
        "kind": pa.array([("a", "b", None)[n % 3] for n in numbers]).dictionary_encode(),
        "tags": pa.array([None if n % 7 == 0 else ["x"] * (n % 3) for n in numbers], pa.list_(pa.string())),
        "box": pa.array(
            [None if n % 6 == 0 else {"w": n, "h": None} for n in numbers],
            pa.struct([("w", pa.int32()), ("h", pa.int16())]),
        ),
        "map": pa.array([[("k", n)] for n in numbers], pa.map_(pa.string(), pa.int64())),
        "nothing": pa.nulls(rows),
        "view": pa.array(
            [None if n % 4 == 0 else "long enough to be no inline view" for n in numbers], pa.string_view()
        ),
    }
    fields = [pa.field(name, array.type, metadata={"about": name}) for name, array in columns.items()]
    return pa.table(list(columns.values()), schema=pa.schema(fields, metadata={"pandas": "{}", "origin": "drawn"}))


def stays(table: pa.Table) -> pa.Array:
    return pa.array([text is None or not is_named(text.encode()) for text in table["caption"].to_pylist()])


def left(table: Any) -> list[Any]:
    """The rows that stay, picked one by one."""
    return list(compress(table.to_pylist(), stays(table).to_pylist()))


def same(one: Any, rows: list[Any]) -> bool:
    return repr(one.to_pylist()) == repr(rows)  # a number that is none equals itself there


PARQUET: dict[str, dict[str, Any]] = {
    "plain": {},
    "zstd, without dictionaries": {"compression": "zstd", "use_dictionary": False, "write_statistics": False},
    "a codec per column": {
        "compression": {"caption": "gzip", "URL": "snappy", "box.w": "zstd"},
        "use_dictionary": ["URL"],
    },
    "deltas and an index": {
        "use_dictionary": ["caption"],
        "column_encoding": {"big": "DELTA_BINARY_PACKED", "URL": "DELTA_BYTE_ARRAY", "score": "BYTE_STREAM_SPLIT"},
        "write_page_index": True,
    },
    "not written by Arrow": {"store_schema": False, "version": "1.0", "use_compliant_nested_type": False},
    "old times": {"use_deprecated_int96_timestamps": True, "compression": "none"},
}


@pytest.mark.parametrize("manner", PARQUET)
@pytest.mark.parametrize("size", [1 << 20, 1])
def test_parquet(manner: str, size: int, tmp_path: Path) -> None:
    table = rich_table()
    path = tmp_path / "a.parquet"
    with pq.ParquetWriter(path, table.schema, **PARQUET[manner]) as writer:
        writer.write_table(table, row_group_size=7)
        writer.add_key_value_metadata({"added": "in the end", "org.apache.spark.version": "3.5"})
    purged(path, tmp_path / "out", fragment_bytes=size)
    before, after = pq.ParquetFile(path), pq.ParquetFile(tmp_path / "out/a.parquet")
    original = before.read()
    assert same(after.read(), left(original))
    assert after.schema_arrow.equals(before.schema_arrow, check_metadata=True) and after.schema.equals(before.schema)
    assert after.metadata.format_version == before.metadata.format_version
    assert after.metadata.metadata == before.metadata.metadata
    masks = [stays(before.read_row_group(n)).to_pylist() for n in range(before.num_row_groups)]
    groups = [after.metadata.row_group(n) for n in range(after.num_row_groups)]
    assert [group.num_rows for group in groups] == [sum(mask) for mask in masks if any(mask)]
    for n in range(before.metadata.num_columns):
        old, new = before.metadata.row_group(0).column(n), groups[0].column(n)
        assert (new.path_in_schema, new.compression) == (old.path_in_schema, old.compression)
        assert (new.has_dictionary_page, new.is_stats_set) == (old.has_dictionary_page, old.is_stats_set)
        assert (new.has_offset_index, new.encodings) == (old.has_offset_index, old.encodings)


def test_parquet_whose_groups_all_go(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"caption": ["sofa", "couch"], "n": [1, 2]}), path, row_group_size=1)
    purged(path, tmp_path / "out")
    after = pq.ParquetFile(tmp_path / "out/a.parquet")
    assert after.metadata.num_row_groups == 0 and after.schema_arrow.names == ["caption", "n"]


def test_parquet_keeps_its_order_and_dictionaries(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    kinds = pa.array(["x", "y", "x", "z"] * 5, pa.dictionary(pa.int8(), pa.string()))
    order = [pq.SortingColumn(1, descending=True)]
    table = pa.table({"caption": ["sofa", "a dog", "a cat", "a cow"] * 5, "n": list(range(20, 0, -1)), "kind": kinds})
    pq.write_table(table, path, row_group_size=6, sorting_columns=order)
    purged(path, tmp_path / "out")
    after = pq.ParquetFile(tmp_path / "out/a.parquet")
    assert tuple(after.metadata.row_group(0).sorting_columns) == tuple(order)
    assert after.schema_arrow.field("kind").type == pq.ParquetFile(path).schema_arrow.field("kind").type
    assert same(after.read(), left(table))


def write_arrow(path: Path, table: pa.Table, kind: str, codec: str | None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with (pa.ipc.new_file if kind == "file" else pa.ipc.new_stream)(str(path), table.schema, options=options) as writer:
        for number, batch in enumerate(table.combine_chunks().to_batches(max_chunksize=7)):
            writer.write_batch(batch, {"number": str(number)})


def batches_of(path: Path, kind: str) -> list[tuple[Any, Any]]:
    if kind == "file":
        source = pa.ipc.open_file(str(path))
        return [source.get_batch_with_custom_metadata(n) for n in range(source.num_record_batches)]
    source = pa.ipc.open_stream(path.read_bytes())
    return list(source.iter_batches_with_custom_metadata())


@pytest.mark.parametrize("kind", ["file", "stream"])
@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_arrow(kind: str, codec: str | None, tmp_path: Path) -> None:
    table, path, result = rich_table(), tmp_path / "a.arrow", tmp_path / "out" / "a.arrow"
    write_arrow(path, table, kind, codec)
    purged(path, tmp_path / "out", fragment_bytes=500)
    before, after = batches_of(path, kind), batches_of(result, kind)
    expected = [(rows, dict(metadata)) for batch, metadata in before if (rows := left(batch))]
    assert [dict(metadata) for _, metadata in after] == [metadata for _, metadata in expected]
    for (new, _), (rows, _) in zip(after, expected, strict=True):
        assert same(new, rows)
        assert new.schema.equals(table.schema, check_metadata=True)
    assert codec_of(result) == codec_of(path)


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_arrow_with_dictionaries_that_grow_and_views(kind: str, tmp_path: Path) -> None:
    captions = [["a dog", "a sofa"], ["a sofa", "a dog", "a cat"], ["a cow", "a cat"]]
    words = pa.array(["a dog", "a sofa", "a cat", "a cow"])
    path, schema = (
        tmp_path / "a.arrow",
        pa.schema([("caption", pa.dictionary(pa.int32(), pa.string())), ("v", pa.string_view())]),
    )
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with (pa.ipc.new_file if kind == "file" else pa.ipc.new_stream)(str(path), schema, options=options) as writer:
        for size, texts in zip((2, 3, 4), captions, strict=True):
            column = pa.DictionaryArray.from_arrays(
                pa.array([words.to_pylist().index(t) for t in texts], pa.int32()), words[:size]
            )
            writer.write_batch(pa.record_batch([column, pa.array(texts, pa.string_view())], schema=schema))
    purged(path, tmp_path / "out")
    result = [row for batch, _ in batches_of(tmp_path / "out/a.arrow", kind) for row in batch.to_pylist()]
    assert result == [{"caption": text, "v": text} for text in ("a dog", "a dog", "a cat", "a cow", "a cat")]


def codec_of(path: Path) -> int:
    """Which codec's frames lie in the file, as their first bytes tell."""
    content = path.read_bytes()
    return (b"\x28\xb5\x2f\xfd" in content) + 2 * (b"\x04\x22\x4d\x18" in content)


# --- COCO ---

COCO = """{
  "info" : {"year": 2014, "scale": 1.50, "text": "a \\u0073ofa, } ] ,"},
  "images": [ {"id": 1, "file_name": "sofa.jpg"} , {"id":2}, {"id": 3},
              {"id": "1"}],
  "annotations":[%s
  ],
  "licenses": [] }
"""
ANNOTATIONS = [
    ('\n    {"id": 10, "image_id": 1, "caption": "a \\u0073ofa"}', False),
    ('\n    {"image_id": 2, "caption": "a dog \\"]}, {", "id": 1e3 }', True),
    (' {"id":12,"image_id":1,"caption":"the couch"}', False),
    ('{"id": 13, "image_id": 2, "caption": "a sofa", "box": [1.0, {"x": []}]}', False),
    ('{"id": 14, "image_id": "1", "caption": "couch potato"}', True),
    ('\n  {"id": 15, "image_id": 3}', False),
]


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_coco_keeps_all_else_as_it_was(ending: str, mark: str, tmp_path: Path) -> None:
    content = mark + COCO % ",".join(text for text, _ in ANNOTATIONS)
    path = put(tmp_path / f"captions.json{ending}", COMPRESS[ending](content.encode()))
    manifest = purged(path, tmp_path / "out")
    result = EXPAND[ending]((tmp_path / "out" / path.name).read_bytes()).decode()
    kept = [text for text, kept in ANNOTATIONS if kept]
    assert result == mark + COCO % ("\n    " + kept[0].lstrip() + "," + kept[1])
    entry = manifest["files"][0]
    assert (entry["dropped"], entry["unreadable_dropped"]) == (3, 1)
    assert (entry["images_without_captions"], entry["images_dropped"]) == (2, 0)


def test_coco_without_the_images_that_lose_their_captions(tmp_path: Path) -> None:
    content = COCO % ",".join(text for text, _ in ANNOTATIONS)
    path = put(tmp_path / "captions.json", content.encode())
    manifest = purged(path, tmp_path / "out", drop_images=True)
    result = json.loads((tmp_path / "out/captions.json").read_text())
    assert result["images"] == [{"id": 2}, {"id": "1"}] and len(result["annotations"]) == 2
    assert manifest["files"][0]["images_dropped"] == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
CAPTION = st.lists(
    st.sampled_from(["sofa", "couch", " potato", " ", '"', "]", "}", ",", "\\", "é", "\n"]), max_size=5
).map("".join)
ANNOTATION = st.fixed_dictionaries(
    {"id": st.integers(), "image_id": st.integers(0, 3), "caption": CAPTION, "more": JSON}
)


@QUICK
@given(
    annotations=st.lists(ANNOTATION, min_size=1, max_size=8),
    others=st.dictionaries(
        st.text(max_size=4).filter(lambda key: key not in ("annotations", "images")), JSON, max_size=3
    ),
    indent=st.sampled_from([None, 0, 2, "\t"]),
    ascii_only=st.booleans(),
    listed=st.booleans(),
    drop_images=st.booleans(),
)
def test_random_coco(
    annotations: Any, others: Any, indent: Any, ascii_only: bool, listed: bool, drop_images: bool, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("coco")
    images = [{"id": number} for number in range(5)]
    value = annotations if listed else {**others, "images": images, "annotations": annotations}
    content = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    path = put(folder / "a.json", content)
    purged(path, folder / "out", column="caption", drop_images=drop_images, format="json")
    result = json.loads((folder / "out/a.json").read_bytes().decode("utf-8", "surrogatepass"))
    kept = [annotation for annotation in annotations if not is_named(annotation["caption"].encode())]
    if listed:
        assert result == kept
        return
    lost = {annotation["image_id"] for annotation in annotations} - {annotation["image_id"] for annotation in kept}
    left = [image for image in images if not (drop_images and image["id"] in lost)]
    assert list(result) == list(value) and result == {**value, "images": left, "annotations": kept}


@QUICK
@given(content=st.lists(st.sampled_from(list('[]{},:"\\ a1\n')), max_size=30).map("".join))
def test_the_walk_over_json_never_leaves_it(content: str) -> None:
    data = np.frombuffer(content.encode() or b" ", dtype=np.uint8)
    try:
        found = top_lists(data)
    except ValueError:
        return
    assert all((one.starts <= one.ends).all() and (one.ends <= len(data)).all() for one in found.values())


# --- lists ---


def write_tar(path: Path, samples: Sequence[tuple[str, str | None]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for key, caption in samples:
            for suffix, content in ((".jpg", b"\xff\xd8"), (".txt", caption)):
                if content is not None:
                    member = tarfile.TarInfo(key + suffix)
                    data = content.encode() if isinstance(content, str) else content
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return path


def lines_of(path: Path) -> list[str]:
    return path.read_text().split("\n")[:-1]


def test_keys_of_tar_shards(tmp_path: Path) -> None:
    first = write_tar(tmp_path / "in/0.tar", [("000", "a sofa"), ("001", "a dog"), ("dir/002", "couch"), ("003", None)])
    second = write_tar(tmp_path / "in/1.tar", [("100", "a cat"), ("101", "a couch potato"), ("001", "my sofa")])
    manifest = purged([first, second], tmp_path / "out", "auto")
    assert lines_of(tmp_path / "out/remove.txt") == ["000", "dir/002", "001"]
    assert lines_of(tmp_path / "out/keep.txt") == ["003", "100", "101"]
    assert manifest["keys"] == {"removed": 3, "kept": 3, "removed_with_another": 1}
    assert [entry["output"] for entry in manifest["lists"]] == ["remove.txt", "keep.txt"]
    assert [entry["mode"] for entry in manifest["files"]] == ["keys", "keys"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["keep.txt", "manifest.json", "remove.txt"]
    for entry in manifest["lists"]:
        assert entry["output_sha256"] == hashlib.sha256((tmp_path / "out" / entry["output"]).read_bytes()).hexdigest()


def test_the_kept_samples_of_shards_name_nothing(tmp_path: Path) -> None:
    samples = [(f"{n:03}", ("a sofa", "a dog", "couch potato", "the couch")[n % 4]) for n in range(100)]
    path = write_tar(tmp_path / "a.tar", samples)
    purged(path, tmp_path / "out", "keys")
    kept = set(lines_of(tmp_path / "out/keep.txt"))
    again = write_tar(tmp_path / "b.tar", [sample for sample in samples if sample[0] in kept])
    assert len(kept) == 50 and verify(plan([str(again)]), LEXICON) == 0


@pytest.mark.parametrize("key", ["a\nb", "a\rb", "a\x1b[31m", "a\u2028b", "a\x85b", "a\u202eb", " a"])
def test_a_key_that_fits_no_list_is_refused(key: str, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("ok", "a dog"), (key, "a sofa")])
    with pytest.raises(UserError, match="--purge mask") as told:
        purged(path, tmp_path / "out", "keys")
    assert str(told.value).isprintable()
    purged(path, tmp_path / "other", "mask")
    assert pq.read_table(tmp_path / "other/keep.parquet").to_pylist() == [{"source": str(path), "row": 0, "key": "ok"}]


def test_keys_of_coco_are_annotation_ids(tmp_path: Path) -> None:
    annotations = [{"id": 2**40, "caption": "a sofa"}, {"id": 7, "caption": "a dog"}]
    path = put(tmp_path / "a.json", json.dumps({"annotations": annotations}).encode())
    purged(path, tmp_path / "out", "keys")
    assert lines_of(tmp_path / "out/remove.txt") == [str(2**40)] and lines_of(tmp_path / "out/keep.txt") == ["7"]


def test_mask_numbers_rows_within_their_source(tmp_path: Path, monkeypatch: Any) -> None:
    captions = [("a sofa", "a dog", "a cat")[n % 3] for n in range(500)]
    first = put(tmp_path / "in/a.tsv", "".join(f"http://x/{n}\t{text}\n" for n, text in enumerate(captions)).encode())
    second = put(tmp_path / "in/b.txt", b"a sofa\na dog\n")
    monkeypatch.setattr("zsbench.leakage.purging.lists.ROWS", 50)
    manifest = purged([first, second], tmp_path / "out", "mask", fragment_bytes=700)
    table = pq.read_table(tmp_path / "out/keep.parquet")
    expected = [(str(first), n, None) for n in range(500) if n % 3] + [(str(second), 1, None)]
    assert [tuple(row.values()) for row in table.to_pylist()] == expected
    assert pa.types.is_dictionary(table.schema.field("source").type) and table.schema.field("row").type == pa.int64()
    assert manifest["totals"]["kept"] == len(expected) and not (tmp_path / "out/a.tsv").exists()


def test_mask_of_nothing(tmp_path: Path) -> None:
    purged(put(tmp_path / "a.txt", b"sofa\ncouch\n"), tmp_path / "out", "mask")
    assert pq.read_table(tmp_path / "out/keep.parquet").num_rows == 0


def test_what_auto_means(tmp_path: Path, monkeypatch: Any) -> None:
    text = put(tmp_path / "in/a.txt", b"a sofa\na dog\n")
    shard = write_tar(tmp_path / "in/b.tar", [("k", "a dog")])
    saved = tmp_path / "in/saved/data-0.arrow"
    saved.parent.mkdir()
    write_arrow(saved, pa.table({"caption": ["a sofa", "a dog"]}), "stream", None)
    put(saved.parent / "state.json", b"{}")
    files = [text, shard, saved]
    manifest = purged(files, tmp_path / "one", "auto")
    assert [entry["mode"] for entry in manifest["files"]] == ["drop", "keys", "mask"]
    monkeypatch.setattr(purging, "LARGE", 5)
    manifest = purged(files, tmp_path / "two", "auto")
    assert [entry["mode"] for entry in manifest["files"]] == ["mask", "keys", "mask"]
    manifest = purged([text, saved], tmp_path / "three", "drop")
    assert pa.ipc.open_stream((tmp_path / "three/saved/data-0.arrow").read_bytes()).read_all().num_rows == 1


def test_standard_input_is_masked_anew_each_time(tmp_path: Path, monkeypatch: Any) -> None:
    for text in (b"a sofa\na dog\n", b"a dog\na sofa\na cat\n"):
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(text)))
        fragments = plan(["-"], format="text")
        with pytest.raises(UserError, match="--purge mask"):
            purge(fragments, LEXICON, tmp_path / "no", "drop")
        if text.startswith(b"a dog"):
            with pytest.raises(UserError, match="choose another folder"):
                purge(fragments, LEXICON, tmp_path / "out")
            continue
        manifest = purge(fragments, LEXICON, tmp_path / "out")
        assert manifest["files"][0]["source"] == "-" and manifest["files"][0]["bytes"] is None
        assert pq.read_table(tmp_path / "out/keep.parquet")["row"].to_pylist() == [1]


@pytest.mark.parametrize(("mode", "told"), [("drop", "--purge keys"), ("nonsense", "no way to purge")])
def test_modes_that_do_not_fit_shards(mode: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        purge(plan([str(write_tar(tmp_path / "a.tar", [("k", "a dog")]))]), LEXICON, tmp_path / "out", mode)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no keys"):
        purge(plan([str(put(tmp_path / "a.txt", b"a dog\n"))]), LEXICON, tmp_path / "out", "keys")
    assert not (tmp_path / "out").exists()


# --- whole or not at all ---


def corpus(folder: Path, count: int = 3) -> list[Path]:
    lines = (f"http://x/{n}\t{'a sofa' if n % 3 == 0 else 'a dog'}\n" for n in range(2000))
    content = "".join(lines).encode()
    return [put(folder / f"{n}.tsv", content + b"http://y\t%d\n" % n) for n in range(count)]


def state_of(out: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(out)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in out.rglob("*")
        if path.is_file()
    }


def test_purging_again_changes_nothing(tmp_path: Path) -> None:
    files, out = corpus(tmp_path / "in"), tmp_path / "out"
    manifest = purged(files, out)
    before = state_of(out)
    assert purged(files, out) == manifest and state_of(out) == before
    again = purged([out / path.name for path in files], tmp_path / "again")
    assert again["totals"]["dropped"] == again["totals"]["unreadable_dropped"] == 0
    for path in files:
        assert (tmp_path / "again" / path.name).read_bytes() == (out / path.name).read_bytes()


@pytest.mark.parametrize("mode", ["drop", "mask"])
@pytest.mark.parametrize("stop", [0.1, 0.9, 1.1, 2.5])
def test_a_purge_that_was_stopped_goes_on(mode: Any, stop: float, tmp_path: Path, monkeypatch: Any) -> None:
    files, out = corpus(tmp_path / "in"), tmp_path / "out"
    fragments, scan, calls = plan(list(map(str, files)), fragment_bytes=10_000), Matcher.scan, []

    def counting(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return scan(*args)

    at = 0
    monkeypatch.setattr(Matcher, "scan", counting)
    purge(fragments, LEXICON, tmp_path / "whole", mode)
    each = len(calls) // 3  # batches of a file
    at = round(each * stop)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        purge(fragments, LEXICON, out, mode)
    assert not (out / "manifest.json").exists() and not list(out.rglob("*.part"))
    done = [path for path in files if (out / path.name).exists()]
    assert len(done) == (int(stop) if mode == "drop" else 0)
    before, at = state_of(out), 0
    calls.clear()
    purge(fragments, LEXICON, out, mode)
    assert len(calls) == each * (3 - int(stop)), "a file that was done was read again, or one was left out"
    after, whole = state_of(out), state_of(tmp_path / "whole")
    assert {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in whole.items()
    }
    assert all(after[path.name] == before[path.name] for path in done)


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    files, out = corpus(tmp_path / "in"), tmp_path / "out"
    fragments = plan(list(map(str, files)))
    os.utime(files[1])
    with pytest.raises(UserError, match="1 of 3 files are not purged"):
        purge(fragments, LEXICON, out)
    put(out / ".1.tsv.abcd.part", b"half")
    put(out / ".1.tsv.abcd.plain", b"half")
    purged(files, out)


def test_a_broken_file_is_told_and_the_others_stay(tmp_path: Path) -> None:
    files, out = corpus(tmp_path / "in"), tmp_path / "out"
    content = gzip.compress(os.urandom(4000).hex().encode() + b"\na sofa\n" * 9)
    broken = put(tmp_path / "in/1b.txt.gz", content[: len(content) // 2])
    with pytest.raises(UserError, match=r"1b\.txt\.gz.*not purged"):
        purge(plan([*map(str, files), str(broken)], format=None), LEXICON, out)
    assert not (out / "1b.txt.gz").exists() and not (out / "manifest.json").exists()
    assert not list(out.rglob("*.part"))
    before = state_of(out)
    put(broken, content)
    purged([*files, broken], out)
    assert all(state_of(out)[path.name] == before[path.name] for path in files)
    assert b"sofa" not in gzip.decompress((out / "1b.txt.gz").read_bytes())


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.json", "a.tar"])
def test_a_cut_file_leaves_nothing(name: str, tmp_path: Path) -> None:
    path, table = tmp_path / name, pa.table({"caption": [f"a dog {n}" for n in range(3000)]})
    if name == "a.parquet":
        pq.write_table(table, path, use_dictionary=False, compression="none")
        content = path.read_bytes()
        path.write_bytes(content[:5000] + b"\xff" * 3000 + content[8000:])  # the footer is whole, a page is not
    elif name == "a.arrow":
        write_arrow(path, table, "stream", None)
        path.write_bytes(path.read_bytes()[:-4000])
    elif name == "a.json":
        put(path, b'{"annotations": [{"caption": "a dog"}, {"caption": "a')
    else:
        write_tar(path, [(f"{n:03}", "a dog") for n in range(30)])
        path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        purge(plan([str(path)]), LEXICON, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["key.json"]


def test_a_file_that_changed_is_not_purged(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", b"a dog\n")
    fragments = plan([str(path)])
    put(path, b"a dog\na sofa\n")
    with pytest.raises(UserError, match="changed"):
        purge(fragments, LEXICON, tmp_path / "out")
    assert not (tmp_path / "out/a.txt").exists()


@pytest.mark.parametrize("chosen", [slice(1), slice(1, None), slice(0, None, 2)])
@pytest.mark.parametrize("kind", ["a.tsv", "a.parquet"])
def test_a_part_of_a_file_is_not_purged(kind: str, chosen: slice, tmp_path: Path) -> None:
    if kind == "a.tsv":
        path = corpus(tmp_path / "in", 1)[0]
    else:
        path = tmp_path / kind
        pq.write_table(rich_table(), path, row_group_size=7)
    fragments = plan([str(path)], fragment_bytes=100)[chosen]
    with pytest.raises(UserError, match=r"all fragments of a plan|not all of its fragments"):
        purge(fragments, LEXICON, tmp_path / "out")


def test_fragments_out_of_order_are_refused(tmp_path: Path) -> None:
    one, two, *_ = plan([str(corpus(tmp_path / "in", 1)[0])], fragment_bytes=1000)
    other = plan([str(put(tmp_path / "b.txt", b"a dog\n"))])
    path = tmp_path / "a.parquet"
    pq.write_table(rich_table(), path, row_group_size=7)
    swapped = plan([str(path)], fragment_bytes=1)[::-1]
    for fragments in ([], [one, *other, two], [two, one], swapped):
        with pytest.raises(UserError, match="fragments of a plan"):
            purge(fragments, LEXICON, tmp_path / "out")


def test_a_killed_purge_goes_on(tmp_path: Path) -> None:
    """The process dies at once, in the middle of its third file."""
    files, out = corpus(tmp_path / "in", 5), tmp_path / "out"
    script = """
import os, signal, sys
from pathlib import Path
from zsbench.leakage.purging import work as purge_work
from zsbench.leakage.reading.fragments import plan
from zsbench.leakage.purging.corpus import purge
from zsbench.leakage.purging.lines import rewrite_lines
from tests.test_leakage_purge import LEXICON
calls = []
def dying(verdicts, part):
    calls.append(1)
    if len(calls) == 3:
        part.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return rewrite_lines(verdicts, part)
purge_work.REWRITERS["tsv"] = dying
purge(plan(sys.argv[2:]), LEXICON, Path(sys.argv[1]))
"""
    command = [sys.executable, "-c", script, str(out), *map(str, files)]
    died = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, timeout=120, check=False)
    assert died.returncode == -9, died.stderr.decode()
    assert sorted(path.name for path in out.glob("*.tsv")) == ["0.tsv", "1.tsv"] and list(out.glob(".2.tsv.*.part"))
    before = state_of(out)
    purged(files, out)
    assert [state_of(out)[name] == before[name] for name in ("0.tsv", "1.tsv")] == [True, True]


def test_real_captions(real_data: Path, tmp_path: Path) -> None:
    """Flickr8k, COCO and LAION's kind of alt-text lose exactly the captions in which the plain reader finds a name."""
    folder, words = real_data / "captions", split_lexicon(load_split("voc5"))
    if not folder.is_dir():
        pytest.skip("no real captions on this machine")

    def stay(captions: list[str | None]) -> list[bool]:
        return [not any(named(caption or "", entry) for entry in words.entries) for caption in captions]

    def run(name: str) -> Path:
        purge(plan([str(folder / name)]), words, tmp_path / name)
        assert verify(plan([str(tmp_path / name / name)]), words) == 0
        return tmp_path / name / name

    some = 1500  # the plain reader takes its time
    lines = by_newline((folder / "Flickr8k.token.txt").read_bytes())[:some]
    kept = stay([line.decode().split("\t")[1] for line in lines])
    result = run("Flickr8k.token.txt").read_bytes()
    assert result.startswith(b"".join(compress(lines, kept))) and 0 < sum(kept) < len(kept)
    table = pq.read_table(folder / "raw_alt_text_10000.parquet")
    expected = table.slice(0, some).filter(pa.array(stay(table["TEXT"].to_pylist()[:some])))
    assert pq.read_table(run("raw_alt_text_10000.parquet")).slice(0, len(expected)).equals(expected)
    value = json.loads((folder / "coco_captions_val2017.json").read_bytes())
    annotations = value.pop("annotations")
    remains = json.loads(run("coco_captions_val2017.json").read_bytes())
    kept = stay([annotation["caption"] for annotation in annotations[:some]])
    assert remains.pop("annotations")[: sum(kept)] == list(compress(annotations, kept)) and remains == value


# --- folders and names ---


def test_an_output_never_meets_its_input(tmp_path: Path) -> None:
    files = corpus(tmp_path / "in")
    fragments = plan(list(map(str, files)))
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for out in (
        tmp_path / "in",
        tmp_path,
        tmp_path / "in/purged",
        tmp_path / "link",
        tmp_path / "link/purged",
        files[0],
    ):
        with pytest.raises(UserError, match=r"holds the input|lies in the corpus"):
            purge(fragments, LEXICON, out)
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["0.tsv", "1.tsv", "2.tsv"]
    purged(files[0], tmp_path / "in/purged")  # beside a single file there is nothing to be mixed with


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    path, out = put(tmp_path / "a.txt", b"a dog\na sofa\n"), tmp_path / "out"
    put(out / "mine.txt", b"x")
    with pytest.raises(UserError, match="something else"):
        purge(plan([str(path)]), LEXICON, out)
    (out / "mine.txt").unlink()
    purged(path, out)
    with pytest.raises(UserError, match="other words or options"):
        purge(plan([str(path)]), TWO, out)
    (out / "a.txt").write_bytes(b"")
    with pytest.raises(UserError, match="not what its purge wrote"):
        purge(plan([str(path)]), LEXICON, out)
    with pytest.raises(UserError, match="is a file"):
        purge(plan([str(path)]), LEXICON, put(tmp_path / "file", b""))


def test_names_below_their_common_folder() -> None:
    names = purge_places.output_names(["/c/x/a.tsv", "/c/y/a.tsv", "/c/b.tsv"])
    assert list(names.values()) == ["x/a.tsv", "y/a.tsv", "b.tsv"]
    assert list(purge_places.output_names(["/c/x/a.tsv"]).values()) == ["a.tsv"]


@given(
    st.lists(
        st.lists(st.sampled_from(["..", ".", "a", "b", "", "%2e%2e", "..\\..", "C:"]), min_size=1, max_size=5),
        min_size=1,
        max_size=3,
    )
)
def test_no_name_leads_out(paths: list[list[str]]) -> None:
    for start in ("/", "s3://bucket/", "memory://", "file:///"):
        sources = list(dict.fromkeys(start + "/".join([*path, "x.tsv"]) for path in paths))
        try:
            names = purge_places.output_names(sources).values()
        except UserError:
            continue  # two that would be one
        for name in names:
            place = Path("/some/out") / name
            assert os.path.normpath(place).startswith("/some/out/") and ".." not in place.parts
            assert not Path(name).is_absolute()


def test_a_dotted_path_stays_below(tmp_path: Path) -> None:
    first, second = put(tmp_path / "in/a.txt", b"a dog\n"), put(tmp_path / "b.txt", b"a dog\n")
    purged([first, tmp_path / "in/../b.txt"], tmp_path.parent / f"{tmp_path.name}-out")
    assert second.read_bytes() == b"a dog\n"
    assert (tmp_path.parent / f"{tmp_path.name}-out/b.txt").exists()


@pytest.mark.parametrize("name", ["keep.parquet", "manifest.json"])
def test_names_of_the_purge_itself_are_taken(name: str) -> None:
    with pytest.raises(UserError, match="rename it"):
        purge_places.output_names([f"/a/{name}"])


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").symlink_to(tmp_path)
    with pytest.raises(UserError, match="leads out"):
        purge_places.below(tmp_path / "out", "sub/x.tsv")


def test_an_object_store_is_purged_into_a_folder(tmp_path: Path) -> None:
    import fsspec

    for name, content in (
        ("one/a.tsv", b"http://x\ta sofa\nhttp://y\ta dog\n"),
        ("two/a.txt.gz", gzip.compress(b"a sofa\nx\n")),
    ):
        with fsspec.open(f"memory://purge/{name}", "wb") as file:
            file.write(content)
    purge(plan(["memory://purge"]), LEXICON, tmp_path / "out", "drop")
    assert (tmp_path / "out/one/a.tsv").read_bytes() == b"http://y\ta dog\n"
    assert gzip.decompress((tmp_path / "out/two/a.txt.gz").read_bytes()) == b"x\n"


# --- what is told ---


def test_the_manifest(tmp_path: Path) -> None:
    path, read = put(tmp_path / "a.txt", b"a dog\na sofa\n" * 10), []
    manifest = purge(plan([str(path)]), LEXICON, tmp_path / "out", command="zsbench purge", progress=read.append)
    assert {
        "schema": 1,
        "kind": "leakage purge",
        "mode": "auto",
        "command": "zsbench purge",
    }.items() <= manifest.items()
    assert manifest["lexicon"] == {"name": "t", "fingerprint": LEXICON.fingerprint, "level": 3, "classes": ["sofa"]}
    assert "above level 3" in manifest["not_covered"] and "brand" in manifest["not_covered"]
    assert sum(read) == path.stat().st_size
    assert purging._not_covered(4).startswith("Kept: captions in other languages")


@pytest.mark.parametrize("name", ["a.txt", "a.tsv", "a.csv", "a.jsonl"])
def test_the_folder_of_a_purge_is_a_corpus_again(name: str, tmp_path: Path) -> None:
    """The manifest beside the captions is not taken for captions, whatever it says of them."""
    line = b'{"caption": "%s"}\n' if name == "a.jsonl" else b"http://x\t%s\n" if name == "a.tsv" else b"%s\n"
    path = put(tmp_path / name, b"".join(line % text for text in (b"caption", b"a sofa", b"a dog", b"couch")))
    purge(plan([str(path)]), LEXICON, tmp_path / "out")
    again = plan([str(tmp_path / "out")])
    assert [fragment.name for fragment in again] == [name] and verify(again, LEXICON) == 0


def test_verify_counts_what_still_names_a_class(tmp_path: Path) -> None:
    assert verify(plan([str(put(tmp_path / "a.txt", b"a sofa\na dog\ncouch\n"))]), LEXICON) == 2
    with pytest.raises(UserError, match="not all of it could be judged"):
        verify(plan([str(put(tmp_path / "b.txt.gz", gzip.compress(b"a sofa\n" * 99)[:-9]))]), LEXICON)


def test_runs_of_kept_records_are_joined() -> None:
    starts, ends = np.array([0, 3, 5, 9, 12]), np.array([3, 5, 9, 12, 20])
    begins, stops = purge_lines._runs(starts, ends, np.array([True, True, False, True, True]))
    assert begins.tolist() == [0, 9] and stops.tolist() == [5, 20]


def test_the_digest_is_that_of_the_stored_file(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    assert purge_work.digest(str(put(tmp_path / "x", content))) == (len(content), hashlib.sha256(content).hexdigest())


def test_fragments_of_a_plan_survive_json(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tsv", b"caption\turl\na dog\thttp://x\na sofa\thttp://y\n")
    fragments = [Fragment.from_dict(json.loads(json.dumps(f.as_dict()))) for f in plan([str(path)])]
    purge(fragments, LEXICON, tmp_path / "out")
    assert (tmp_path / "out/a.tsv").read_bytes() == b"caption\turl\na dog\thttp://x\n"
