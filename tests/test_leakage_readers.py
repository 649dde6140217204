"""Readers of caption corpora: no record lost or doubled, every fault counted, nothing hostile followed."""

from __future__ import annotations

import csv
import gzip
import io
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
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zsbench.errors import UserError
from zsbench.leakage import layout, read_blocks, sources
from zsbench.leakage.batch import Intake
from zsbench.leakage.fragments import Fragment, plan, read

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
    captions = [draw.choice(['a 6" tall vase', '"a sofa', 'sofa"', "plain", "NA", "an ' apostrophe"]) for _ in range(4000)]
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
            Fragment(**{**whole.as_dict(), "start": a if a > len(heading) else 0, "stop": b, "header_bytes": len(heading) * (a == len(heading))})
            for a, b in zip(cuts, cuts[1:], strict=False)
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
        from zsbench.leakage.fragments import plan, read
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
    captions = ["plain", "a, comma", 'a "quoted" sofa', "two\nlines", "two\r\nlines", '"', '""', "", "NA", "null", "é沙"]
    text = as_csv([("image", "caption"), *((f"{i}.jpg", c) for i, c in enumerate(captions))])
    got = gather(write(tmp_path / "a.csv", text))
    assert got.texts == captions
    assert got.intake.empty == 1 and got.intake.malformed == 0
    assert got.fragments[0].header_bytes == len("image,caption\r\n")
    assert "image,caption\r\n".encode() + b"".join(got.records) == text.encode()


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
        st.dictionaries(st.sampled_from(["caption", "url", "a\\b", 'q"', "n"]), json_values, max_size=4) | json_values, max_size=8
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
