"""Readers of caption corpora: no record lost or doubled, every fault counted, nothing hostile followed."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import json
import pickle
import random
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zsbench.errors import UserError
from zsbench.leakage.batch import Intake
from zsbench.leakage.reading import blocks as read_blocks
from zsbench.leakage.reading import texts as read_texts
from zsbench.leakage.reading.fragments import Fragment, plan, read

ODD = ["a sofa", 'the "red sofa', "NA", "null", "None", "nan", "", "mid\rdle", "nul\0", "über 沙发", "#N/A", " spaced "]
QUICK = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass
class Got:
    """All that was read: captions (None = unreadable), raw records, keys, counts."""

    captions: list[bytes | None] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    keys: list[Any] = field(default_factory=list)
    intake: Intake = field(default_factory=Intake)
    fragments: list[Fragment] = field(default_factory=list)

    @property
    def texts(self) -> list[str | None]:
        return [None if caption is None else caption.decode() for caption in self.captions]


def gather(*specs: str | Path, whole: bool = True, **options: Any) -> Got:
    return drain(plan([str(spec) for spec in specs], **options), whole)


def drain(fragments: Sequence[Fragment], whole: bool = True) -> Got:
    got = Got(fragments=list(fragments))
    for fragment in fragments:
        intake, expected = Intake(), 0
        for batch in read(fragment, intake):
            assert batch.first == expected
            expected += len(batch)
            assert batch.data.dtype == np.uint8 and batch.starts.dtype == batch.ends.dtype == np.int64
            assert (batch.starts <= batch.ends).all() and (batch.ends <= len(batch.data)).all()
            for row in range(len(batch)):
                unreadable = batch.unreadable is not None and batch.unreadable[row]
                assert not unreadable or batch.starts[row] == batch.ends[row]
                got.captions.append(None if unreadable else batch.caption(row))
                if batch.records is not None:
                    got.records.append(bytes(batch.data[batch.records[0][row] : batch.records[1][row]]))
                if batch.keys is not None:
                    got.keys.append(batch.keys[row])
        assert intake.records == expected
        got.intake += intake
    assert not whole or not got.intake.broken, got.intake.broken
    return got


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def tsv(rows: Sequence[Sequence[str]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def url(n: int) -> str:
    return f"https://images.example.com/sofa/train-{n}.jpg?dog=1"


# --- TSV ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1], ids=["cc3m", "cc12m"])
def test_tsv_in_either_order_gives_captions_and_never_urls(tmp_path: Path, first: int) -> None:
    captions = [caption for caption in ODD if caption] * 3
    rows = [(c, url(i)) if first == 0 else (url(i), c) for i, c in enumerate(captions)]
    got = gather(write(tmp_path / "cc.tsv", tsv(rows)))
    assert got.texts == captions
    assert got.fragments[0].column == str(first)
    assert not any(b"example.com" in caption for caption in got.captions if caption)


def test_no_row_of_a_tsv_is_lost_where_default_readers_lose_them(tmp_path: Path) -> None:
    draw = random.Random(0)
    captions = [
        draw.choice(['a 6" tall vase', '"a sofa', 'sofa"', "plain", "NA", "an ' apostrophe"]) for _ in range(4000)
    ]
    path = write(tmp_path / "cc12m.tsv", tsv([(url(i), c) for i, c in enumerate(captions)]))
    got = gather(path)
    assert got.texts == captions
    assert got.intake.records == path.read_bytes().count(b"\n") == 4000
    assert len(pd.read_csv(path, sep="\t", header=None, on_bad_lines="skip")) < 4000
    options = pyarrow.csv.ParseOptions(delimiter="\t", invalid_row_handler=lambda row: "skip")
    names = pyarrow.csv.ReadOptions(column_names=["url", "caption"])
    assert len(pyarrow.csv.read_csv(path, parse_options=options, read_options=names)) < 4000


def test_records_are_newlines_and_one_more_for_an_unterminated_line(tmp_path: Path) -> None:
    assert gather(write(tmp_path / "a.tsv", f"{url(1)}\ta\n{url(2)}\tb\n")).intake.records == 2
    got = gather(write(tmp_path / "b.tsv", f"{url(1)}\ta\n{url(2)}\tb"))
    assert got.intake.records == 2 and got.texts == ["a", "b"]
    assert got.records[-1] == f"{url(2)}\tb".encode()
    assert gather(write(tmp_path / "c.tsv", f"{url(1)}\ta\r\n{url(2)}\tb\r")).texts == ["a", "b"]


def test_a_carriage_return_inside_a_caption_is_part_of_it(tmp_path: Path) -> None:
    got = gather(write(tmp_path / "a.tsv", f"{url(1)}\tone\rtwo\n{url(2)}\tthree\r\n"))
    assert got.captions == [b"one\rtwo", b"three"] and got.intake.records == 2


def test_lines_with_other_numbers_of_fields_are_malformed_and_blank_ones_empty(tmp_path: Path) -> None:
    text = f"{url(1)}\ta\n{url(2)}\tb\tc\n\nonly\n{url(3)}\t\n\r\n{url(4)}\td\n"
    got = gather(write(tmp_path / "a.tsv", text))
    assert got.captions == [b"a", None, b"", None, b"", b"", b"d"]
    assert (got.intake.malformed, got.intake.empty, got.intake.records) == (2, 3, 7)
    assert b"".join(got.records) == text.encode()


def test_a_heading_is_no_record_and_is_kept_for_rewriting(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbfURL\tTEXT\nhttp://x\tcaption\nhttp://y\ta dog\n"
    got = gather(write(tmp_path / "a.tsv", text), fragment_bytes=4)
    assert got.texts == ["caption", "a dog"]
    assert got.fragments[0].column == "TEXT"
    assert sum(fragment.header_bytes for fragment in got.fragments) == 12
    assert text[: got.fragments[0].header_bytes] + b"".join(got.records) == text


def test_flickr_text_with_tabs_is_a_table_and_text_without_is_lines(tmp_path: Path) -> None:
    flickr = write(tmp_path / "token.txt", "1000.jpg#0\tA dog .\n1000.jpg#1\tTwo dogs .\n")
    assert gather(flickr).texts == ["A dog .", "Two dogs ."]
    lines = write(tmp_path / "lines.txt", "text\nsecond caption\n\nlast")
    got = gather(lines)
    assert got.texts == ["text", "second caption", "", "last"] and got.intake.empty == 1


def test_the_caption_column_is_asked_for_where_it_cannot_be_told(tmp_path: Path) -> None:
    three = write(tmp_path / "three.tsv", "1\ta dog\tun chien\n2\ta cat\tun chat\n")
    with pytest.raises(UserError, match=r"--caption-column INDEX"):
        plan([str(three)])
    assert gather(three, column="1").texts == ["a dog", "a cat"]
    two = write(tmp_path / "two.tsv", "a dog\tun chien\na cat\tun chat\n")
    with pytest.raises(UserError, match="which one holds the captions"):
        plan([str(two)])
    with pytest.raises(UserError, match="only 2 columns"):
        plan([str(two)], column="2")
    headed = write(tmp_path / "headed.tsv", "url\tbeschrijving\nhttp://x\tein Sofa\n")
    with pytest.raises(UserError, match=r"url, beschrijving.*--caption-column"):
        plan([str(headed)])
    with pytest.raises(UserError, match="Did you mean 'beschrijving'"):
        plan([str(headed)], column="beschrijvin")
    assert gather(headed, column="Beschrijving").texts == gather(headed, column="1").texts == ["ein Sofa"]


lines_of_bytes = st.lists(
    st.lists(st.binary(max_size=9).map(lambda b: b.replace(b"\n", b"").replace(b"\t", b"")), min_size=1, max_size=3),
    max_size=12,
).map(lambda rows: b"\n".join(b"\t".join(row) for row in rows))


@QUICK
@given(data=lines_of_bytes, size=st.integers(1, 40), block=st.sampled_from([16, 64, 4 << 20]), header=st.booleans())
def test_fragments_of_any_size_give_the_records_of_one(
    tmp_path: Path, data: bytes, size: int, block: int, header: bool
) -> None:
    heading = b"url\tcaption\n" if header else b""
    path = write(tmp_path / "x.tsv", heading + data)
    expected = []
    lines = data.split(b"\n")
    for line in lines if lines[-1] else lines[:-1]:
        fields = line.removesuffix(b"\r").split(b"\t") if line else [b""]
        expected.append(b"" if fields == [b""] else fields[1] if len(fields) == 2 else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_blocks, "BLOCK", block)
        patch.setattr(read_blocks, "TAIL", 8)
        whole = Fragment(str(path), "tsv", 0, len(heading + data), column="1", place=1, fields=2, delimiter="\t")
        cuts = sorted({*range(len(heading), len(heading + data), size), len(heading + data)})
        parts = [
            Fragment(
                **{
                    **whole.as_dict(),
                    "start": a if a > len(heading) else 0,
                    "stop": b,
                    "header_bytes": len(heading) * (a == len(heading)),
                }
            )
            for a, b in itertools.pairwise(cuts)
        ]
        got = drain(parts)
    assert got.captions == expected
    assert b"".join(got.records) == data
    assert got.intake.records == data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    assert got.intake.malformed == expected.count(None)
    assert not parts or got.intake.bytes == len(heading + data)


def test_plan_cuts_a_file_into_ranges_that_cover_it(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", tsv([(url(i), f"caption {i}") for i in range(500)]))
    got = gather(path, fragment_bytes=1000)
    assert len(got.fragments) > 20
    assert got.texts == [f"caption {i}" for i in range(500)]
    assert sum(f.bytes for f in got.fragments) == got.intake.bytes == path.stat().st_size
    assert all(a.stop == b.start for a, b in zip(got.fragments, got.fragments[1:], strict=False))


def test_many_short_lines_make_several_batches(tmp_path: Path) -> None:
    path = write(tmp_path / "x.txt", b"a\n" * 200_000)
    batches = [len(batch) for batch in read(plan([str(path)])[0], Intake())]
    assert sum(batches) == 200_000 and max(batches) <= 65_536


def test_a_fragment_travels_as_json_and_pickle(tmp_path: Path) -> None:
    fragment = plan([str(write(tmp_path / "x.tsv", f"{url(1)}\ta\n"))])[0]
    assert Fragment.from_dict(json.loads(json.dumps(fragment.as_dict()))) == fragment
    assert pickle.loads(pickle.dumps(fragment)) == fragment  # our own bytes
    with pytest.raises(UserError, match="another version"):
        Fragment.from_dict({**fragment.as_dict(), "new": 1})


def test_over_long_lines_are_counted_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long, fits = b"x" * 3000, b"y" * 1000
    data = b"\n".join([b"a dog", long, b"a cat", fits, fits + b"!", b"a cow", long])
    path = write(tmp_path / "x.txt", data)
    monkeypatch.setattr(read_blocks, "LONGEST", 1000)
    for block in (64, 512, 1 << 20):
        monkeypatch.setattr(read_blocks, "BLOCK", block)
        for size in (10**9, 100, 700):
            got = gather(path, fragment_bytes=size)
            assert got.captions == [b"a dog", None, b"a cat", fits, None, b"a cow", None], (block, size)
            assert got.intake.over_long == 3 and got.intake.records == 7


def test_memory_stays_flat_over_a_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "endless.tsv"
    with path.open("wb") as file:
        file.write(f"{url(1)}\ta sofa\n".encode() * 100 + b"http://x\t")
        file.truncate(1 << 30)  # a hole of NULs: no newline, no disk
    code = """
        import resource, sys
        from zsbench.leakage.batch import Intake
        from zsbench.leakage.reading.fragments import plan, read
        fragments = plan([sys.argv[1]], fragment_bytes=1 << 40)
        for batch in read(plan([__file__], format="text")[0], Intake()): pass
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        intake = Intake()
        for fragment in fragments:
            for batch in read(fragment, intake): pass
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(intake.records, intake.over_long, grown // 1024)
    """
    script = write(tmp_path / "measure.py", textwrap.dedent(code))
    done = subprocess.run([sys.executable, script, path], capture_output=True, text=True, check=True, timeout=300)
    records, over_long, grown = map(int, done.stdout.split())
    assert (records, over_long) == (101, 1)
    assert grown < 150, f"{grown} MB for a line of 1 GB"


# --- CSV ---------------------------------------------------------------------------------------------------------------


def as_csv(rows: Sequence[Sequence[str]], **options: Any) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, **options).writerows(rows)
    return out.getvalue()


def test_csv_quotes_hold_commas_quotes_and_line_ends(tmp_path: Path) -> None:
    captions = [
        "plain",
        "a, comma",
        'a "quoted" sofa',
        "two\nlines",
        "two\r\nlines",
        '"',
        '""',
        "",
        "NA",
        "null",
        "é沙",
    ]
    text = as_csv([("image", "caption"), *((f"{i}.jpg", c) for i, c in enumerate(captions))])
    got = gather(write(tmp_path / "a.csv", text))
    assert got.texts == captions
    assert got.intake.empty == 1 and got.intake.malformed == 0
    assert got.fragments[0].header_bytes == len("image,caption\r\n")
    assert b"image,caption\r\n" + b"".join(got.records) == text.encode()


@QUICK
@given(
    rows=st.lists(st.tuples(*[st.text(alphabet='a",\n\r é\0', max_size=6)] * 3), max_size=10),
    block=st.sampled_from([16, 48, 1 << 20]),
    all_quoted=st.booleans(),
)
def test_csv_is_read_as_python_writes_it(tmp_path: Path, rows: list[Any], block: int, all_quoted: bool) -> None:
    kind = csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL
    text = as_csv([("url", "caption", "x"), *rows], quoting=kind, lineterminator="\n")
    path = write(tmp_path / "x.csv", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_blocks, "BLOCK", block)
        got = gather(path)
    assert got.texts == [row[1] for row in rows]
    assert got.intake.malformed == 0


def test_csv_with_stray_and_open_quotes_is_told(tmp_path: Path) -> None:
    got = gather(write(tmp_path / "a.csv", 'image,caption\n1.jpg,"a" dog\n2.jpg,a "b" cat\n3.jpg,x,y\n4.jpg,ok\n'))
    assert got.captions == [None, b'a "b" cat', None, b"ok"] and got.intake.malformed == 2
    got = gather(write(tmp_path / "b.csv", 'image,caption\n1.jpg,ok\n2.jpg,"open\n3.jpg,lost\n'), whole=False)
    assert got.captions == [b"ok", None]
    assert "never closed" in got.intake.broken


def test_csv_of_other_separators_and_without_heading(tmp_path: Path) -> None:
    rows = [("filepath", "title"), ("a/1.jpg", 'a "b" sofa'), ("a/2.jpg", "tab\there")]
    assert gather(write(tmp_path / "open_clip.csv", as_csv(rows, delimiter="\t"))).texts == ['a "b" sofa', "tab\there"]
    assert gather(write(tmp_path / "semi.csv", "image;caption\n1.jpg;a, b\n")).texts == ["a, b"]
    assert gather(write(tmp_path / "bare.csv", "1.jpg,a dog\n2.jpg,a cat\n")).texts == ["a dog", "a cat"]


def test_an_over_long_csv_record_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_blocks, "LONGEST", 1000)
    monkeypatch.setattr(read_blocks, "BLOCK", 256)
    text = as_csv([("image", "caption"), ("1", "a"), ("2", 'x"\n' * 2000), ("3", "b")])
    got = gather(write(tmp_path / "a.csv", text))
    assert got.captions == [b"a", None, b"b"] and got.intake.over_long == 1


# --- JSON lines --------------------------------------------------------------------------------------------------------


def test_jsonl_counts_what_it_cannot_read(tmp_path: Path) -> None:
    lines = [
        '{"image": "1.jpg", "caption": "a sofa"}',
        '{"caption": "escaped \\"sofa\\" \\u00e9 \\ud83d\\ude00 \\/", "n": 1.5e3}',
        '{"caption": null}',
        '{"caption": ""}',
        '{"image": "2.jpg"}',
        '{"caption": 12}',
        "not json",
        "",
        '{"caption": ["one", null, "two"], "more": {"caption": "inner"}}',
        '{"caption": "first", "caption": "last"}',
        '[{"caption": "in a list"}]',
        '{"caption": "cut',
        '{"caption": "NA"}',
    ]
    got = gather(write(tmp_path / "a.jsonl", "\n".join(lines)), fragment_bytes=30)
    assert got.texts == [
        *("a sofa", 'escaped "sofa" é 😀 /', "", "", None, None, None, "", "one\ntwo", "last", None, None, "NA")
    ]
    intake = got.intake
    assert (intake.records, intake.nulls, intake.empty, intake.malformed) == (13, 1, 2, 5)
    assert b"".join(got.records) == "\n".join(lines).encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@QUICK
@given(
    values=st.lists(
        st.dictionaries(st.sampled_from(["caption", "url", "a\\b", 'q"', "n"]), json_values, max_size=4) | json_values,
        max_size=8,
    ),
    ascii_only=st.booleans(),
    cut=st.integers(0, 3),
)
def test_jsonl_is_read_as_python_reads_it(tmp_path: Path, values: list[Any], ascii_only: bool, cut: int) -> None:
    lines = [json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for value in values]
    lines = [line[: len(line) - cut] if i % 3 == 2 else line for i, line in enumerate(lines)]
    path = write(tmp_path / "x.jsonl", b"".join(line + b"\n" for line in lines))
    expected = []
    for line in lines:
        try:
            value = json.loads(line)["caption"]
        except (ValueError, TypeError, KeyError):
            expected.append(b"" if not line.strip() else None)
            continue
        some = [v for v in value if v is not None] if isinstance(value, list) else [value]
        text = all(isinstance(v, str) for v in some)
        expected.append("\n".join(some).encode("utf-8", "surrogatepass") if text else b"" if value is None else None)
    if not lines:
        return
    size = path.stat().st_size
    got = drain([Fragment(str(path), "jsonl", 0, size, column="caption")])
    assert got.captions == expected


def test_bytes_that_are_no_utf8_go_through(tmp_path: Path) -> None:
    raw = b"caf\xe9 sofa \0"
    assert gather(write(tmp_path / "a.tsv", b"http://x\t" + raw + b"\n")).captions == [raw]
    assert gather(write(tmp_path / "a.txt", raw + b"\n")).captions == [raw]
    assert gather(write(tmp_path / "a.csv", b'url,caption\nx,"' + raw + b'"\n')).captions == [raw]
    for extra in (b"", b', "n": {}'):
        assert gather(write(tmp_path / "a.jsonl", b'{"caption": "' + raw + b'"' + extra + b"}\n")).captions == [raw]
    assert gather(write(tmp_path / "a.json", b'[{"caption": "' + raw + b'"}]')).captions == [raw]


# --- parquet and Arrow -------------------------------------------------------------------------------------------------


def parquet(path: Path, captions: Any, rows: int = 7, name: str = "TEXT", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = len(captions)
    table = pa.table({"SAMPLE_ID": [float(2**40 + i) for i in range(size)], "URL": [url(i) for i in range(size)]})
    pq.write_table(table.append_column(name, captions), path, row_group_size=rows, **options)
    return path


TEXTS = ["a sofa", None, "", "two\nlines", "NA", "é沙发", "nul\0"] * 9

KINDS = {
    "string": pa.string(),
    "large": pa.large_string(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "binary": pa.binary(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_parquet_gives_captions_and_nulls_by_row_groups(tmp_path: Path, kind: str, compression: str) -> None:
    values = [t.encode() if t is not None and kind == "binary" else t for t in TEXTS]
    column = pa.array(values, pa.string()).cast(KINDS[kind]) if kind == "dictionary" else pa.array(values, KINDS[kind])
    path = parquet(tmp_path / "laion.parquet", column, compression=compression)
    for size in (1, 300, 1 << 26):
        got = gather(path, fragment_bytes=size)
        assert got.texts == [text or "" for text in TEXTS]
        assert (got.intake.nulls, got.intake.empty, got.intake.malformed) == (9, 9, 0)
    assert len(gather(path, fragment_bytes=1).fragments) == 9
    assert got.fragments[0].column == "TEXT" and got.intake.bytes == got.fragments[0].bytes < path.stat().st_size


def test_lists_of_captions_are_one_record_and_views_are_read(tmp_path: Path) -> None:
    lists = pa.array([["one", None, "two"], [], None, ["three"], [None]], pa.list_(pa.string()))
    got = gather(parquet(tmp_path / "a.parquet", lists, rows=2, name="captions"))
    assert got.texts == ["one\ntwo", "", "", "three", ""] and got.intake.nulls == 1
    for name, kind in (("view", pa.string_view()), ("large", pa.large_list(pa.large_string()))):
        values = (
            pa.array(["a", None, "a caption longer than twelve bytes"]).cast(pa.string_view())
            if name == "view"
            else pa.array([["a"], None], kind)
        )
        table = pa.table({"caption": values})
        with pa.ipc.new_file(tmp_path / f"{name}.arrow", table.schema) as file:
            file.write_table(table)
        assert gather(tmp_path / f"{name}.arrow").texts[:2] == ["a", ""]


def test_parquet_of_nothing_but_nulls_is_read(tmp_path: Path) -> None:
    got = gather(parquet(tmp_path / "a.parquet", pa.nulls(3)))
    assert got.intake.nulls == got.intake.records == 3


@pytest.mark.parametrize("kind", ["large", "dictionary", "delta", "lists", "arrow"])
def test_memory_stays_flat_over_one_long_caption_repeated(tmp_path: Path, kind: str) -> None:
    rows, long = 300, "a sofa " * 140_000
    words = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([long], pa.large_string()))
    path = tmp_path / ("a.arrow" if kind == "arrow" else "a.parquet")
    if kind == "arrow":
        with pa.ipc.new_file(path, pa.schema([("caption", words.type)])) as file:
            file.write_table(pa.table({"caption": words}))
    else:
        column = words if kind == "dictionary" else words.cast(pa.large_string())
        if kind == "lists":
            column = pa.LargeListArray.from_arrays(pa.array(range(rows + 1), pa.int64()), column)
        encoding = {"column_encoding": {"caption": "DELTA_BYTE_ARRAY"}, "use_dictionary": False}
        more = encoding if kind == "delta" else {}
        pq.write_table(pa.table({"caption": column}), path, compression="zstd", **more)
        assert path.stat().st_size < 10_000
    code = """
        import resource, sys
        from zsbench.leakage.batch import Intake
        from zsbench.leakage.reading.fragments import plan, read
        for fragment in plan([sys.argv[2]]):
            for batch in read(fragment, Intake()): pass
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        intake, held, most = Intake(), 0, 0
        for fragment in plan([sys.argv[1]]):
            for batch in read(fragment, intake):
                size = int((batch.ends - batch.starts).sum())
                held, most = held + size, max(most, size)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert not intake.broken, intake.broken
        print(intake.captions, held, most, grown // 1024)
    """
    script = write(tmp_path / "measure.py", textwrap.dedent(code))
    small = parquet(tmp_path / "small.parquet", pa.array(["a dog"] * 3))
    call = [sys.executable, script, path, small]
    done = subprocess.run(call, capture_output=True, text=True, check=True, timeout=300)
    captions, held, most, grown = map(int, done.stdout.split())
    assert (captions, held) == (rows, rows * len(long))
    assert most <= 8 << 20 and grown < 250, f"{most} bytes at once, {grown} MB for a file of {path.stat().st_size}"


LAID = {
    "string": pa.string(),
    "large": pa.large_string(),
    "view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int8(), pa.string()),
    "list": pa.list_(pa.string()),
    "view of lists": pa.list_view(pa.string()),
    "pairs": pa.list_(pa.string(), 2),
}


@pytest.mark.parametrize("kind", LAID)
def test_captions_are_cut_by_their_bytes_once_decoded(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[Any] = ["a", None, "", "x" * 30, "a caption of some length", "y" * 20, None, "é"] * 9
    wanted = [(text or "").encode() for text in texts]
    if "list" in kind or kind == "pairs":
        texts = [None if text is None else [text, "b"] for text in texts]
        wanted = [b"" if pair is None else f"{pair[0]}\nb".encode() for pair in texts]
    words = kind == "dictionary"
    column = pa.array(texts).dictionary_encode().cast(LAID[kind]) if words else pa.array(texts, LAID[kind])
    with pa.ipc.new_file(tmp_path / "a.arrow", pa.schema([("caption", column.type)])) as file:
        file.write_batch(pa.record_batch([column], ["caption"]))
        file.write_batch(pa.record_batch([column], ["caption"]).slice(3))
    monkeypatch.setattr(read_texts, "MOST", 25)
    monkeypatch.setattr(read_blocks, "LONGEST", 29)
    kept = [None if len(text) > 29 else text for text in wanted]
    got = gather(tmp_path / "a.arrow")
    assert got.captions == kept + kept[3:]
    assert got.intake.over_long == 18 and got.intake.nulls == 35
    for fragment in got.fragments:
        for batch in read(fragment, Intake()):
            lengths = batch.ends - batch.starts
            assert lengths.sum() <= 25 or len(batch) == 1


def test_a_long_caption_of_one_row_group_does_not_cut_the_others_small(tmp_path: Path) -> None:
    texts = [f"a caption {n}" for n in range(6000)]
    path = parquet(tmp_path / "a.parquet", pa.array([*texts[:3000], *["x" * (9 << 20)] * 3, *texts[3000:]]), rows=3000)
    fragments = plan([str(path)])
    found = [len(batch) for batch in read(fragments[0], Intake())]
    assert len(fragments) == 1 and sum(found) == 6003 and found[0] == 3000
    assert [caption for caption in gather(path).texts if caption and len(caption) < 99] == texts


def test_a_damaged_parquet_is_broken_and_does_not_stop_the_others(tmp_path: Path) -> None:
    good = parquet(tmp_path / "0.parquet", pa.array(["a dog"] * 3))
    cut = parquet(tmp_path / "1.parquet", pa.array(["a cat"] * 3))
    cut.write_bytes(cut.read_bytes()[:-20])
    pages = parquet(
        tmp_path / "2.parquet",
        pa.array([f"a cow {i}" for i in range(99)]),
        33,
        compression="zstd",
        write_page_checksum=True,
    )
    data = bytearray(pages.read_bytes())
    at = pq.ParquetFile(pages).metadata.row_group(1).column(2).data_page_offset + 40
    data[at : at + 8] = b"XXXXXXXX"
    pages.write_bytes(data)
    got = gather(tmp_path, whole=False, fragment_bytes=1)
    assert got.captions[:3] == [b"a dog"] * 3 and b"a cow 98" in got.captions and b"a cow 40" not in got.captions
    assert (
        "1.parquet" in got.intake.broken and "2.parquet" in got.intake.broken and "0.parquet" not in got.intake.broken
    )
    assert good.exists()


def test_parquet_without_captions_asks_and_lists_its_columns(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", pa.array(["x"]), name="beschrijving")
    with pytest.raises(UserError, match=r"SAMPLE_ID, URL, beschrijving.*--caption-column"):
        plan([str(path)])
    assert gather(path, column="beschrijving").texts == gather(path, column="2").texts == ["x"]
    with pytest.raises(UserError, match="holds double, not text"):
        plan([str(path)], column="SAMPLE_ID")


@pytest.mark.parametrize("kind", ["file", "stream", "feather"])
def test_arrow_files_by_record_batches(tmp_path: Path, kind: str) -> None:
    table = pa.table({"image": ["x"] * len(TEXTS), "caption": TEXTS})
    path = tmp_path / ("a.feather" if kind == "feather" else "a.arrow")
    if kind == "feather":
        pyarrow.feather.write_feather(table, path, compression="zstd", chunksize=5)
    else:
        with (pa.ipc.new_file if kind == "file" else pa.ipc.new_stream)(path, table.schema) as file:
            file.write_table(table, max_chunksize=5)
    for size in (1, 700, 1 << 26):
        got = gather(path, fragment_bytes=size)
        assert got.texts == [text or "" for text in TEXTS] and got.intake.nulls == 9
        assert got.intake.bytes == path.stat().st_size
    assert len(gather(path, fragment_bytes=700).fragments) > 1
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "a." in gather(path, whole=False).intake.broken


# --- COCO --------------------------------------------------------------------------------------------------------------


def coco(captions: Sequence[Any], **more: Any) -> str:
    rows = [{"image_id": i, "id": 2**40 + i, "caption": caption} for i, caption in enumerate(captions)]
    return json.dumps(
        {"info": {"a": [1, {"b": "]"}]}, "images": [{"id": 1}], "annotations": rows, "licenses": []} | more
    )


def test_coco_annotations_in_their_order_with_their_ids(tmp_path: Path) -> None:
    captions = ["a sofa", "é沙发", None, "", 7, 'a "cat"\n']
    for suffix, pack in ((".json", bytes), (".json.gz", gzip.compress)):
        got = gather(write(tmp_path / f"captions{suffix}", pack(coco(captions).encode())))
        assert got.captions == [b"a sofa", "é沙发".encode(), b"", b"", None, b'a "cat"\n']
        assert got.keys == [2**40 + i for i in range(6)]
        assert (got.intake.nulls, got.intake.empty, got.intake.malformed) == (1, 1, 1)


def test_json_lists_and_misnamed_json_lines(tmp_path: Path) -> None:
    assert gather(write(tmp_path / "a.json", '[{"text": "a"}, {"text": ["b", "c"]}, {"n": 1}]')).captions == [
        b"a",
        b"b\nc",
        None,
    ]
    assert gather(write(tmp_path / "b.json", '{"caption": "a"}\n{"caption": "b"}\n')).texts == ["a", "b"]
    assert gather(write(tmp_path / "c.json", "[]"), write(tmp_path / "d.json", '["a", "caption"]')).texts == [
        "a",
        "caption",
    ]


@pytest.mark.parametrize("cut", [1, 15, 60, 120])
def test_truncated_json_gives_what_it_has_and_is_broken(tmp_path: Path, cut: int) -> None:
    got = gather(write(tmp_path / "captions.json", coco(["a dog", "a cat"])[:-cut]), whole=False)
    assert "captions.json" in got.intake.broken
    assert got.texts == ["a dog", "a cat"][: len(got.texts)]


def test_json_without_captions_is_refused_but_passed_over_in_a_folder(tmp_path: Path) -> None:
    instances = write(tmp_path / "instances_val.json", json.dumps({"annotations": [{"id": 1, "bbox": []}]}))
    with pytest.raises(UserError, match="holds no captions"):
        plan([str(instances)])
    write(tmp_path / "captions_val.json", coco(["a dog"]))
    assert gather(tmp_path).texts == ["a dog"]


# --- tars --------------------------------------------------------------------------------------------------------------


Member = tuple[str, bytes]


def tar(
    path: Path, members: Sequence[Member | tarfile.TarInfo], format: int = tarfile.USTAR_FORMAT, **info: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w", format=format) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            entry = tarfile.TarInfo(member[0])
            entry.size = len(member[1])
            for name, value in info.items():
                setattr(entry, name, value)
            archive.addfile(entry, io.BytesIO(member[1]))
    return path


def samples(captions: Sequence[str], folder: str = "") -> list[Member]:
    image = bytes(range(256)) * 5
    return [
        member
        for i, caption in enumerate(captions)
        for member in (
            (f"{folder}{i:09}.jpg", image * (i % 4)),
            (f"{folder}{i:09}.json", json.dumps({"caption": "wrong", "url": url(i), "exif": "{}"}).encode()),
            (f"{folder}{i:09}.txt", caption.encode()),
        )
    ]


TARRED = [f"caption {i} é" for i in range(300)] + ["", "a\nb", "null"]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["00000.tar", "00000.tar.gz", "00000.tgz"])
def test_tar_shards_give_captions_and_keys(tmp_path: Path, format: int, name: str) -> None:
    path = tar(tmp_path / name, samples(TARRED), format, mtime=1.5 if format == tarfile.PAX_FORMAT else 1)
    got = gather(path)
    assert got.texts == TARRED
    assert got.keys == [f"{i:09}" for i in range(len(TARRED))]
    assert got.intake.empty == 1 and got.intake.bytes == path.stat().st_size


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_folders_in_tars(tmp_path: Path, format: int) -> None:
    folder = "./" + "a-long-folder-name-of-many-letters/" * 4
    got = gather(tar(tmp_path / "a.tar", samples(TARRED[:9], folder), format))
    assert got.texts == TARRED[:9]
    assert got.keys[3] == f"{folder[2:]}{3:09}"


def test_captions_in_json_members(tmp_path: Path) -> None:
    values = ['{"caption": "plain"}', '{"caption": "a \\"b\\"", "more": {"x": [1]}}', '{"caption": null}', "{}", "cut"]
    members = [
        (f"{i}.{kind}", b"\xff\xd8" if kind == "jpg" else v.encode())
        for i, v in enumerate(values)
        for kind in ("jpg", "json")
    ]
    got = gather(tar(tmp_path / "a.tar", members))
    assert got.texts == ["plain", 'a "b"', "", None, None]
    assert (got.intake.nulls, got.intake.malformed, got.intake.records) == (1, 2, 5)
    assert gather(tar(tmp_path / "b.tar", [("1.json", b'{"alt": "a dog", "title": "x"}')])).texts == ["a dog"]
    assert gather(tmp_path / "b.tar", column="title").texts == ["x"]


def test_samples_without_caption_are_null_and_suffixes_can_be_named(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "a.tar",
        [("1.jpg", b"x"), ("2.jpg", b"x"), ("2.txt", b"a dog\n"), ("3.seg.png", b""), ("3.TXT", b"up")],
    )
    got = gather(path)
    assert got.texts == ["", "a dog", "up"] and got.intake.nulls == 1
    other = tar(tmp_path / "b.tar", [("1.jpg", b"x"), ("1.alt.text", b"a cow")])
    with pytest.raises(UserError, match=r"\.jpg, \.alt\.text.*\.txt or \.json"):
        plan([str(other)])
    assert gather(other, column=".alt.text").texts == ["a cow"]


def test_captions_behind_a_large_image_are_found(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "a.tar", [("1.jpg", b"x" * 3_000_000), ("1.txt", b"a dog"), ("2.jpg", b"x"), ("2.txt", b"a cat")]
    )
    assert gather(path).texts == ["a dog", "a cat"]


HOSTILE: dict[str, Any] = {
    "parent": ("../evil.txt", {}),
    "inner parent": ("a/../../evil.txt", {}),
    "absolute": ("/etc/evil.txt", {}),
    "backslash": ("..\\evil.txt", {}),
    "drive": ("C:\\evil.txt", {}),
    "link": ("evil.txt", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
    "hard link": ("evil.txt", {"type": tarfile.LNKTYPE, "linkname": "0.txt"}),
    "device": ("evil.txt", {"type": tarfile.CHRTYPE}),
    "pipe": ("evil.txt", {"type": tarfile.FIFOTYPE}),
    "long parent": ("../" + "x" * 200 + ".txt", {}),
}


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_tars_are_refused(tmp_path: Path, kind: str, format: int) -> None:
    name, facts = HOSTILE[kind]
    member = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(member, key, value)
    path = tar(tmp_path / "a.tar", [*samples(["fine"]), member], format)
    with pytest.raises(UserError, match="is refused: its member"):
        gather(path)


def test_sparse_members_are_refused(tmp_path: Path) -> None:
    said = tarfile.TarInfo("0.txt")
    said.pax_headers = {"GNU.sparse.map": "0,1"}
    with pytest.raises(UserError, match="is refused"):
        gather(tar(tmp_path / "a.tar", [said], tarfile.PAX_FORMAT))


def test_tars_that_end_early_or_go_on_are_broken(tmp_path: Path) -> None:
    data = tar(tmp_path / "a.tar", samples(TARRED[:20])).read_bytes()
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512
    for size in (100, end // 2 // 512 * 512, end // 2 + 77, end - 700, end):
        got = gather(write(tmp_path / "cut.tar", data[:size]), whole=False)
        assert "cut off" in got.intake.broken, size
        assert got.texts == TARRED[: len(got.texts)]
    assert "behind the archive's end" in gather(write(tmp_path / "two.tar", data * 2), whole=False).intake.broken
    broken = bytearray(data)
    with tarfile.open(tmp_path / "a.tar") as archive:
        at = archive.getmembers()[10].offset
    broken[at : at + 512] = b"x" * 512
    assert gather(write(tmp_path / "bad.tar", bytes(broken)), whole=False).intake.broken
    packed = gzip.compress(data)
    assert gather(write(tmp_path / "cut.tar.gz", packed[: len(packed) // 2]), whole=False).intake.broken
    assert "broken header" in gather(write(tmp_path / "none.tar", b"no tar at all " * 100), whole=False).intake.broken


@QUICK
@given(
    captions=st.lists(st.text(max_size=30), max_size=30),
    near=st.sampled_from([512, 1024, 1 << 17]),
    kind=st.sampled_from([0, 1, 2]),
)
def test_tars_are_read_as_tarfile_reads_them(tmp_path: Path, captions: list[str], near: int, kind: int) -> None:
    captions = [c.encode("utf-8", "replace").decode() for c in captions]
    path = tar(tmp_path / "x.tar", samples(captions), kind, mtime=1.25 if kind == tarfile.PAX_FORMAT else 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zsbench.leakage.reading.tars.NEAR", near)
        got = drain([Fragment(str(path), "tar")])
    assert got.texts == [caption.rstrip("\r\n") for caption in captions]


def test_over_long_and_many_captions_in_tars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_blocks, "LONGEST", 5000)
    monkeypatch.setattr(read_blocks, "BLOCK", 1024)
    captions = ["a", "x" * 6000, "y" * 4999, *("z" * 400 for _ in range(50)), "b"]
    got = gather(tar(tmp_path / "a.tar", samples(captions)))
    assert got.texts == [None if len(c) > 5000 else c for c in captions] and got.intake.over_long == 1
    assert got.keys == [f"{i:09}" for i in range(len(captions))]


# --- compressed files --------------------------------------------------------------------------------------------------


def zstd(data: bytes) -> bytes:
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize("name", ["a.tsv", "a.txt", "a.csv", "a.jsonl"])
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_lines_and_their_truncation(tmp_path: Path, name: str, suffix: str) -> None:
    draw = random.Random(1)
    captions = [" ".join(draw.choice(["sofa", "dog", "train", "x" * 9]) for _ in range(9)) for _ in range(3000)]
    texts = {
        "a.tsv": tsv([(url(i), c) for i, c in enumerate(captions)]),
        "a.txt": "".join(c + "\n" for c in captions),
        "a.csv": "url,caption\n" + "".join(f"{i},{c}\n" for i, c in enumerate(captions)),
        "a.jsonl": "".join(json.dumps({"caption": c}) + "\n" for c in captions),
    }
    pack = gzip.compress if suffix == ".gz" else zstd
    packed = pack(texts[name].encode())
    got = gather(write(tmp_path / (name + suffix), packed), fragment_bytes=100)
    assert got.texts == captions and len(got.fragments) == 1 and got.intake.bytes == len(packed)
    two = pack(texts[name][:5000].encode()) + pack(texts[name][5000:].encode())
    assert gather(write(tmp_path / ("two" + name + suffix), two)).texts == captions
    for cut in (1, 4, len(packed) // 2, len(packed) - 3):
        got = gather(
            write(tmp_path / ("cut" + name + suffix), packed[:-cut]),
            whole=False,
            column=None if name == "a.txt" else "caption" if name in ("a.csv", "a.jsonl") else "1",
        )
        assert got.intake.broken, cut
        assert got.texts == captions[: len(got.texts)]


def test_gzip_is_known_by_its_content_and_an_empty_one_is_broken(tmp_path: Path) -> None:
    assert gather(write(tmp_path / "a.tsv", gzip.compress(f"{url(1)}\ta sofa\n".encode()))).texts == ["a sofa"]
    write(tmp_path / "0.txt", "a dog\n")
    write(tmp_path / "1.txt.gz", b"")
    got = gather(tmp_path, whole=False)
    assert got.texts[0] == "a dog" and "1.txt.gz" in got.intake.broken


# --- what is named: folders, globs, ranges, standard input ---------------------------------------------------------------


def test_folders_globs_and_ranges_in_order(tmp_path: Path) -> None:
    for i in range(12):
        write(tmp_path / f"deep/{i:05}.tsv", f"{url(i)}\tcaption {i}\n")
    write(tmp_path / "deep/below/last.txt", "below\n")
    for name in (
        "README.md",
        "README.txt",
        "deep/x.jpg",
        "deep/.hidden.tsv",
        "deep/_SUCCESS.txt",
        "deep/00000_stats.json",
    ):
        write(tmp_path / name, "no caption\n")
    all_twelve = [f"caption {i}" for i in range(12)]
    assert gather(tmp_path).texts == [*all_twelve, "below"]
    assert gather(tmp_path / "deep/*.tsv").texts == all_twelve
    assert gather(tmp_path / "**/*.txt", format="text").texts is not None
    assert gather(tmp_path / "deep/{00002..00004}.tsv").texts == all_twelve[2:5]
    assert gather(tmp_path / "deep/00001.tsv", tmp_path / "deep").texts == [
        "caption 1",
        "caption 0",
        *all_twelve[2:],
        "below",
    ]
    with pytest.raises(UserError, match=r"00012\.tsv"):
        plan([str(tmp_path / "deep/{00010..00012}.tsv")])
    write(tmp_path / "deep/a[1].tsv", f"{url(1)}\tbrackets\n")
    assert gather(tmp_path / "deep/a[1].tsv").texts == ["brackets"]


def test_metadata_beside_tars_is_not_counted_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(2):
        tar(tmp_path / f"{i:05}.tar", samples([f"caption {i}"]))
        parquet(tmp_path / f"{i:05}.parquet", pa.array([f"caption {i}", "not fetched"]), name="caption")
        write(tmp_path / f"{i:05}_stats.json", "{}")
    assert gather(tmp_path).texts == ["caption 0", "caption 1"]
    assert "2 files of metadata beside .tar shards" in caplog.text and "00000.parquet" in caplog.text
    assert len(gather(tmp_path / "*.parquet").texts) == 4
    folder = tmp_path / "files"
    for i in range(2):
        write(folder / f"00000/{i}.txt", "sample")
        write(folder / f"00000/{i}.json", '{"caption": "sample"}')
    assert gather(folder).texts == ["sample", "sample"]
    parquet(folder / "00000.parquet", pa.array(["sample", "sample"]), name="caption")
    assert gather(folder).fragments[0].format == "parquet" and gather(folder).intake.records == 2


def test_what_is_not_there_or_unknown_is_told(tmp_path: Path) -> None:
    for spec, words in (("nothing.tsv", "cannot read"), ("*.tsv", "no files at"), ("none", "cannot read")):
        with pytest.raises(UserError, match=words):
            plan([str(tmp_path / spec)])
    with pytest.raises(UserError, match="no caption files"):
        plan([str(write(tmp_path / "only/x.jpg", "x").parent)])
    with pytest.raises(UserError, match=r"does not tell its format.*tsv"):
        plan([str(write(tmp_path / "captions.dat", "a\tb"))])
    with pytest.raises(UserError, match="Did you mean 'tsv'"):
        plan([str(tmp_path / "captions.dat")], format="tvs")
    with pytest.raises(UserError, match="empty"):
        plan([str(write(tmp_path / "empty.tsv", ""))])
    with pytest.raises(UserError, match="no captions"):
        plan([])
    assert gather(write(tmp_path / "captions.dat", f"a\t{url(1)}\n"), format="tsv").texts == ["a"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".txt", ".jsonl", ".json"])
def test_utf16_is_refused_with_the_way_out(tmp_path: Path, encoding: str, suffix: str) -> None:
    text = '{"caption": "a red sofa"}\n' * 3 if "json" in suffix else "url\tcaption\nx\ta red sofa\n"
    with pytest.raises(UserError, match="iconv -f UTF-16"):
        plan([str(write(tmp_path / f"a{suffix}", text.encode(encoding)))])


def test_pages_and_pointers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="page of HTML"):
        plan([str(write(tmp_path / "a.tsv", "<!DOCTYPE html>\n<title>404</title>"))])
    for name in ("a.tsv", "a.parquet", "a.tar", "a.json"):
        with pytest.raises(UserError, match="git lfs pull"):
            plan([str(write(tmp_path / name, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"))])


def test_a_source_that_changed_since_planning_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one\n")
    fragment = plan([str(path)])[0]
    write(path, "one\ntwo\n")
    assert plan([str(path)])[0] != fragment
    with pytest.raises(UserError, match="has changed since it was planned"):
        list(read(fragment, Intake()))
    path.unlink()
    with pytest.raises(UserError, match=r"a\.txt"):
        list(read(fragment, Intake()))


def test_a_source_that_changes_while_it_is_read_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one\n")
    intake = Intake()
    batches = read(plan([str(path)])[0], intake)
    next(batches)
    write(path, "one\ntwo\n")
    assert list(batches) == [] and "changed while" in intake.broken


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["tsv", "jsonl", "text"])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, kind: str, packed: bool) -> None:
    captions = [f"caption {i}" for i in range(50_000)]
    line = {
        "tsv": lambda i, c: f"{url(i)}\t{c}\n",
        "jsonl": lambda i, c: json.dumps({"caption": c}) + "\n",
        "text": lambda i, c: c + "\n",
    }
    data = "".join(line[kind](i, c) for i, c in enumerate(captions)).encode()
    stream = io.BytesIO(gzip.compress(data) if packed else data)
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": stream})())
    fragments = plan(["-"])
    assert fragments[0].format == kind and not fragments[0].resumable
    assert drain(fragments).texts == captions


def test_standard_input_of_other_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(data)})())

    given(tar(tmp_path / "a.tar", samples(TARRED)).read_bytes())
    assert gather("-", format="tar").texts == TARRED
    given(coco(["a sofa", "a dog"]).encode())
    assert gather("-", format="coco").texts == ["a sofa", "a dog"]
    given(b"PAR1")
    with pytest.raises(UserError, match="cannot come from standard input"):
        plan(["-"], format="parquet")


def test_folders_through_links_and_with_a_format(tmp_path: Path) -> None:
    write(tmp_path / "far/a.txt", f"{url(1)}\tlinked\n")
    write(tmp_path / "here/b.dat", f"{url(1)}\there\n")
    (tmp_path / "here/c").symlink_to(tmp_path / "far")
    (tmp_path / "far/loop").symlink_to(tmp_path / "here")
    assert gather(tmp_path / "here").texts == ["linked"]
    assert gather(tmp_path / "here", format="tsv").texts == ["here", "linked"]


@pytest.mark.parametrize(
    "name", ["a.tar", "a.parquet", "a.arrow", "lists.arrow", "words.arrow", "a.json", "a.tsv.gz", "a.csv", "a.jsonl"]
)
def test_damaged_bytes_are_told_and_never_raise(tmp_path: Path, name: str) -> None:
    rows = [{"url": "x", "caption": c, "n": [1]} for c in ["a sofa", 'a "dog"', "é"] * 20]
    captions = pa.array([row["caption"] for row in rows], pa.string())
    if name == "lists.arrow":
        captions = pa.ListArray.from_arrays(pa.array(range(0, 61, 2), pa.int32()), captions)
    table = pa.table({"caption": captions.dictionary_encode() if name == "words.arrow" else captions})
    path = tmp_path / name
    if name == "a.tar":
        tar(path, samples([str(row["caption"]) for row in rows[:9]], "f" * 90 + "/"), tarfile.PAX_FORMAT, mtime=1.5)
    elif name == "a.parquet":
        pq.write_table(table, path, row_group_size=20)
    elif name.endswith("arrow"):
        with pa.ipc.new_stream(path, table.schema) as file:
            file.write_table(table, max_chunksize=20)
    texts = {
        "a.json": json.dumps({"annotations": rows}),
        "a.tsv.gz": tsv([("http://x", str(row["caption"])) for row in rows]),
        "a.csv": as_csv([("url", "caption"), *(("x", str(row["caption"])) for row in rows)]),
        "a.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
    }
    if name in texts:
        write(path, gzip.compress(texts[name].encode()) if name.endswith("gz") else texts[name])
    whole, draw = path.read_bytes(), random.Random(name)
    end = len(whole) - (
        int.from_bytes(whole[-8:-4], "little") + 8 if name == "a.parquet" else 0
    )  # Arrow trusts footers
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(draw.choice([1, 3, 20])):
            at, size = draw.randrange(end), draw.choice([1, 1, 8])
            data[at : at + size] = draw.randbytes(size)
        if draw.random() < 0.2:
            del data[draw.randrange(end) :]
        path.write_bytes(data or b"x")
        with contextlib.suppress(UserError):
            drain(plan([str(path)], fragment_bytes=draw.choice([1, 500, 1 << 26])), whole=False)


# --- Hugging Face ------------------------------------------------------------------------------------------------------


def test_data_sets_saved_on_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"image": ["x"] * 2500, "caption": [f"caption {i}" for i in range(2499)] + [None]}
    one = datasets.Dataset.from_dict(rows)
    one.save_to_disk(str(tmp_path / "one"), num_shards=2)
    got = gather(f"hf:{tmp_path / 'one'}", fragment_bytes=2000)
    assert got.texts == [c or "" for c in rows["caption"]] and got.intake.nulls == 1 and len(got.fragments) > 2
    both = datasets.DatasetDict({"validation": one.select(range(3)), "train": one.select(range(5))})
    both.save_to_disk(str(tmp_path / "both"))
    assert len(gather(f"hf:{tmp_path / 'both'}").texts) == 5
    assert len(gather(f"hf:{tmp_path / 'both'}:validation").texts) == 3
    assert len(gather(tmp_path / "both").texts) == 8
    with pytest.raises(UserError, match="no split 'test'"):
        plan([f"hf:{tmp_path / 'both'}::test"])
    write(tmp_path / "one/state.json", json.dumps({"_data_files": [{"filename": "../both/train/data.arrow"}]}))
    with pytest.raises(UserError, match="outside of its folder"):
        plan([f"hf:{tmp_path / 'one'}"])


def test_a_stream_from_the_hub_is_one_fragment(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    texts = [["a sofa", "a couch"], None, [], ["é"]] * 3000

    def rows() -> Iterator[dict[str, Any]]:
        for text in texts:
            yield {"image": "x", "captions": text}

    def load(name: str, config: str | None, split: str, streaming: bool) -> Any:
        assert (name, config, split, streaming) == ("someone/captions", None, "val", True)
        features = datasets.Features(
            {"image": datasets.Value("string"), "captions": datasets.List(datasets.Value("string"))}
        )
        return datasets.IterableDataset.from_generator(rows, features=features)

    monkeypatch.setattr(datasets, "load_dataset", load)
    got = gather("hf:someone/captions:val")
    assert got.texts == ["a sofa\na couch", "", "", "é"] * 3000 and got.intake.nulls == 3000
    assert len(got.fragments) == 1 and not got.fragments[0].resumable and got.fragments[0].format == "hub"
    with pytest.raises(UserError, match="no Hugging Face data set"):
        plan(["hf:./nowhere"])


# --- stores ------------------------------------------------------------------------------------------------------------


def test_fsspec_stores(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.pipe("/corpus/a.tsv", tsv([(url(i), f"caption {i}") for i in range(100)]).encode())
    store.pipe("/corpus/b.txt.gz", gzip.compress(b"packed\n"))
    store.pipe("/corpus/c/d.parquet", parquet(tmp_path / "d.parquet", pa.array(["a sofa"] * 9)).read_bytes())
    store.pipe("/corpus/e.tar", tar(tmp_path / "e.tar", samples(["tarred"])).read_bytes())
    every = [*(f"caption {i}" for i in range(100)), "packed", *["a sofa"] * 9, "tarred"]
    try:
        assert gather("memory://corpus", fragment_bytes=500).texts == every
        assert gather("memory://corpus/*.tsv", fragment_bytes=500).texts == every[:100]
        assert gather("memory://corpus/**/*.parquet").texts == ["a sofa"] * 9
        fragment = plan(["memory://corpus/a.tsv"])[0]
        store.pipe("/corpus/a.tsv", b"http://x\tother\n")
        with pytest.raises(UserError, match="has changed"):
            list(read(fragment, Intake()))
        with pytest.raises(UserError, match="no files at"):
            plan(["memory://corpus/*.csv"])
    finally:
        store.rm("/corpus", recursive=True)


def test_addresses_of_files_and_addresses_with_passwords(tmp_path: Path) -> None:
    path = write(tmp_path / "a b.txt", "a dog\n")
    assert gather(path.as_uri()).texts == ["a dog"]
    with pytest.raises(UserError, match=r"^s3://…@bucket: credentials do not belong"):
        plan(["s3://KEY:SECRET@bucket/a.tsv"])
    with pytest.raises(UserError, match="cannot read nosuch://"):
        plan(["nosuch://bucket/a.tsv"])


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A bucket of an S3 server on this machine; the environment names it as it would a real one."""
    pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        facts = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in (facts | {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}).items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="corpus")
        yield client
    server.stop()


def test_s3_by_byte_ranges_and_row_groups(s3: Any, tmp_path: Path) -> None:
    captions = [f"caption {i}" for i in range(3000)]
    s3.put_object(Bucket="corpus", Key="x/cc 12m.tsv", Body=tsv([(url(i), c) for i, c in enumerate(captions)]).encode())
    laion = parquet(tmp_path / "laion.parquet", pa.array(captions), rows=1000)
    s3.put_object(Bucket="corpus", Key="x/laion.parquet", Body=laion.read_bytes())
    s3.put_object(Bucket="corpus", Key="x/y/a.txt.gz", Body=gzip.compress(b"packed\n"))
    s3.put_object(Bucket="corpus", Key="x/y/b.tar", Body=tar(tmp_path / "b.tar", samples(["tarred"])).read_bytes())
    got = gather("s3://corpus/x", fragment_bytes=30_000)
    assert got.texts == [*captions, *captions, "packed", "tarred"]
    assert len([f for f in got.fragments if f.format == "tsv"]) > 3
    assert gather("s3://corpus/x/*.parquet", fragment_bytes=1).texts == captions
    assert gather("s3://corpus/x/laion.parquet").fragments[0].stamp.startswith(f"{laion.stat().st_size}-")
    for fragment in got.fragments:
        assert pickle.loads(pickle.dumps(fragment)) == fragment == Fragment.from_dict(fragment.as_dict())
        assert "secret" not in json.dumps(fragment.as_dict())
    with pytest.raises(UserError, match=r"s3://corpus/nothing\.tsv"):
        plan(["s3://corpus/nothing.tsv"])


def test_s3_with_the_server_in_the_address(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put_object(Bucket="corpus", Key="z/a.txt", Body=b"a dog\n")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    host = s3.meta.endpoint_url.partition("://")[2]
    options = f"?endpoint_override={host}&scheme=http&region=us-east-1"
    for spec in (f"s3://corpus/z/a.txt{options}", f"s3://corpus/z{options}"):
        assert gather(spec).texts == ["a dog"]


# --- real captions -----------------------------------------------------------------------------------------------------


def test_real_captions_are_all_there(real_data: Path) -> None:
    folder = real_data / "captions"
    if not (folder / "Flickr8k.token.txt").is_file():
        pytest.skip(f"no captions in {folder}")
    lines = (folder / "Flickr8k.token.txt").read_bytes().split(b"\n")[:-1]
    assert gather(folder / "Flickr8k.token.txt", fragment_bytes=100_000).captions == [
        line.split(b"\t")[1] for line in lines
    ]
    annotations = json.loads((folder / "coco_captions_val2017.json").read_text())["annotations"]
    got = gather(folder / "coco_captions_val2017.json")
    assert got.texts == [a["caption"] for a in annotations] and got.keys == [a["id"] for a in annotations]
    table = pq.read_table(folder / "raw_alt_text_10000.parquet", columns=["TEXT"])
    assert gather(folder / "raw_alt_text_10000.parquet").texts == [
        text or "" for text in table.column("TEXT").to_pylist()
    ]
