"""`zsbench leakage-scan` as people meet it: exit codes, resuming, shards, review, purge, and captions that attack."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from zsbench.cli import main
from zsbench.leakage import scan, session
from zsbench.leakage.report import build

Call = Callable[..., Result]

CAPTIONS = [
    "a red sofa", "two sheep and a lamb", "a couch potato", "couches by the train", "to train the eye", "a potted plant",
    "nothing here", "a tv monitor", "a <PERSON> on a couch", "a red sofa",
]  # fmt: skip
NAMED = {"pottedplant": 1, "sheep": 1, "sofa": 4, "train": 1, "tvmonitor": 1}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`zsbench leakage-scan ARGS` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["zsbench"])
    return lambda *args: CliRunner().invoke(main, ["leakage-scan", *map(str, args)])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "captions.txt"
    path.write_text("\n".join(CAPTIONS) + "\n", encoding="utf-8")
    return path


def report(out: str | Path = "leakage") -> dict[str, Any]:
    return json.loads((Path(out) / "leakage.json").read_text(encoding="utf-8"))


def counts(out: str | Path = "leakage") -> dict[str, int]:
    return {block["name"]: block["captions"] for block in report(out)["classes"]}


# --- counts and exit codes ---------------------------------------------------------------------------------------


def test_a_scan_counts_captions_once_and_writes_every_form(call: Call, corpus: Path) -> None:
    result = call("--captions", corpus)
    assert result.exit_code == 0, result.output
    assert counts() == NAMED
    assert "5 of 5 unseen classes are named" in result.output
    assert sorted(p.name for p in Path("leakage").iterdir()) == [
        "classes.csv", "forms.csv", "leakage.html", "leakage.json", "leakage.md", "parts",
    ]  # fmt: skip
    sofa = next(block for block in report()["classes"] if block["name"] == "sofa")
    assert (sofa["unique"], sofa["unique_exact"]) == (3, True)
    assert {block["text"]: block["captions"] for block in sofa["blocked"]} == {"couch potato": 1}
    assert sofa["levels"] == [2, 0, 2, 0, 0] and sofa["per_million"] == 4e5


def test_limits_decide_the_exit_code(call: Call, corpus: Path) -> None:
    assert call("--captions", corpus, "--fail-over", 4).exit_code == 0
    over = call("--captions", corpus, "--fail-over", 3)
    assert over.exit_code == 3 and report()["limit"]["over"] == ["sofa"]
    assert call("--captions", corpus, "--fail-over", "10%").exit_code == 3
    assert call("--captions", corpus, "--fail-over", "40%").exit_code == 0
    assert call("--captions", corpus, "--fail-on", "sheep").exit_code == 3
    assert call("--captions", corpus, "--fail-on", "sheep", "--fail-over", 1).exit_code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--fail-over", "lots"], "is no limit"),
        (["--fail-over", "1.5"], "is no limit"),
        (["--fail-on", "sheeep"], "Did you mean 'sheep'"),
        (["--split", "voc55"], "Did you mean"),
        (["--captions", "nowhere.tsv"], "nowhere.tsv"),
        (["--lexicon", "nowhere.toml"], "zsbench lexicon make"),
        (["--review", "nowhere.csv"], "--review-out"),
        (["--concept-counts", "nowhere.json"], "nowhere.json"),
        (["--split", "voc5", "--split", "coco15", "--purge", "drop"], "one --split"),
        (["--level", "3", "plan"], "after 'plan'"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_scanned(
    call: Call, corpus: Path, options: list[str], words: str
) -> None:
    result = call(*(() if "--captions" in options else ("--captions", corpus)), *options)
    assert result.exit_code == 2 and words in result.output, result.output
    assert not Path("leakage/parts").exists() and "Traceback" not in result.output


def test_an_incomplete_scan_never_says_that_nothing_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b'{"caption": "a tree"}\n{"caption": "a tr\n')
    result = call("--captions", "bad.jsonl", "--fail-over", 0)
    assert result.exit_code == 1 and "ncomplete" in result.output
    assert not report()["complete"] and "No caption" not in report()["verdict"]
    assert call("--captions", "bad.jsonl", "--max-bad", 0.5).exit_code == 0


@pytest.mark.parametrize("raw", [b"a caf\xe9 with a tree\n", b"\xff\xfe\xff a tree\n"])
def test_what_is_not_utf8_counts_as_unread(call: Call, tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "latin.txt").write_bytes(raw)
    assert call("--captions", "latin.txt").exit_code in (1, 2)


def test_a_truncated_archive_is_incomplete(call: Call, tmp_path: Path) -> None:
    whole = gzip.compress("\n".join(f"a tree {row}" for row in range(5000)).encode())
    (tmp_path / "cut.txt.gz").write_bytes(whole[: len(whole) // 2])
    result = call("--captions", "cut.txt.gz", "--fail-over", 0)
    assert result.exit_code == 1 and "could not be read to its end" in report()["incomplete_because"][0]


def test_what_max_bad_accepts_stands_beside_the_verdict(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b'{"caption": "a tree"}\n{"caption": "a tr\n')
    call("--captions", "bad.jsonl", "--max-bad", 0.5)
    assert "1 of 2 records could not be read" in report()["verdict"] and report()["corpus"]["max_bad"] == 0.5
    assert call("--captions", "bad.jsonl", "--max-bad", "nan").exit_code == 2


def test_a_pattern_that_the_shell_spread_out_is_explained(call: Call, corpus: Path) -> None:
    result = call("--captions", corpus, str(corpus))
    assert result.exit_code == 2 and "quote a pattern" in result.output


def test_names_of_files_do_nothing_to_the_terminal(call: Call, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/e\x1b]0;pwn\x07.tsv").write_text("a\tb\tc\n")
    result = call("--captions", "folder")
    assert result.exit_code == 2 and not {"\x1b", "\x07"} & set(result.output)


def test_hits_of_an_earlier_report_go_with_it(call: Call, corpus: Path) -> None:
    call("--captions", corpus, "--hits")
    assert Path("leakage/hits.parquet").exists()
    call("--captions", corpus)
    assert not Path("leakage/hits.parquet").exists()


def test_a_leak_that_was_found_stays_found_in_an_incomplete_scan(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b'{"caption": "a sofa"}\n{broken\n')
    assert call("--captions", "bad.jsonl", "--fail-over", 0).exit_code == 3
    assert "at least 1 of 5" in report()["verdict"]


def test_no_caption_at_all_is_not_a_finding(call: Call, tmp_path: Path) -> None:
    (tmp_path / "null.jsonl").write_text('{"caption": null}\n{"caption": null}\n')
    assert call("--captions", "null.jsonl", "--fail-over", 0).exit_code == 1


def test_an_honest_none(call: Call, tmp_path: Path) -> None:
    (tmp_path / "trees.txt").write_text("a tree\nто же дерево\n", encoding="utf-8")
    result = call("--captions", "trees.txt", "--fail-over", 0)
    assert result.exit_code == 0
    assert report()["verdict"].startswith("No caption names any of the 5 unseen classes of voc5 with the forms")
    assert report()["corpus"]["totals"]["non_latin"] == 1 and "another script" in result.output


def test_levels_and_all_classes(call: Call, corpus: Path) -> None:
    call("--captions", corpus, "--level", 1)
    assert counts() == {"pottedplant": 1, "sheep": 1, "sofa": 2, "train": 1, "tvmonitor": 1}
    call("--captions", corpus, "--all-classes")
    assert len(counts()) == 20 and counts()["sofa"] == 4


def test_words_of_ones_own_go_first(call: Call, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[sofa]\nwords = [["sofa"], ["potato"]]\n')
    call("--captions", corpus, "--split", "voc5", "--lexicon", "mine.toml")
    assert counts() == NAMED | {"sofa": 3}
    assert call("--captions", corpus, "--lexicon", "mine.toml").exit_code == 0
    assert counts() == {"sofa": 3} and report()["split"]["scope"] == "all"
    (tmp_path / "mine.toml").write_text('[soffa]\nwords = [["soffa"]]\n')
    wrong = call("--captions", corpus, "--split", "voc5", "--lexicon", "mine.toml")
    assert wrong.exit_code == 2 and "Did you mean 'sofa'" in wrong.output


# --- the drawn corpus --------------------------------------------------------------------------------------------


def test_without_captions_the_drawn_web_captions_are_scanned(call: Call, scenes: Path) -> None:
    result = call("--split", "voc5", "--data", scenes)
    truth = json.loads((scenes / "meta.json").read_text())["arms"]["web"]["named"]
    assert result.exit_code == 0 and counts() == {name: truth[name] for name in NAMED}
    assert report()["corpus"]["drawn"] and "drawn: web" in result.output
    call("--data", scenes, "--captions", "clean")
    assert not any(counts().values())
    assert "it has clean, web" in call("--data", scenes, "--captions", "pair_0.3").output


# --- parts -------------------------------------------------------------------------------------------------------


def big(path: Path, rows: int = 60_000) -> Path:
    chance = random.Random(0)
    words = [
        "a",
        "red",
        "sofa",
        "couch",
        "potato",
        "tree",
        "train",
        "station",
        "sheep",
        "lamb",
        "tv",
        "by",
        "the",
        "sea",
    ]
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            file.write(f"https://example.com/{row}_sofa.jpg\t{' '.join(chance.choices(words, k=8))}\n")
    return path


def test_killed_and_run_again_only_what_is_missing_is_made(tmp_path: Path) -> None:
    path = big(tmp_path / "big.tsv", 400_000)
    command = [
        sys.executable,
        "-m",
        "zsbench",
        "leakage-scan",
        "--captions",
        str(path),
        "--fragment-size",
        "1",
        "-j",
        "1",
    ]
    expected = subprocess.run([*command, "--out", "whole"], cwd=tmp_path, capture_output=True, check=True)
    process = subprocess.Popen([*command, "--out", "killed"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    parts = tmp_path / "killed" / "parts"
    while process.poll() is None and len(list(parts.glob("*.json"))) < 4:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {part.name: part.stat().st_mtime_ns for part in parts.glob("*.json")}
    again = subprocess.run([*command, "--out", "killed"], cwd=tmp_path, capture_output=True, check=True, text=True)
    after = {part.name: part.stat().st_mtime_ns for part in parts.glob("*.json")}
    assert 4 <= len(before) < len(after) and before.items() <= after.items()
    assert f"{len(before)} of {len(after)} parts were there already" in again.stderr
    whole, killed = report(tmp_path / "whole"), report(tmp_path / "killed")
    for name in ("classes", "together", "flagged", "verdict"):
        assert whole[name] == killed[name]
    assert b"sofa" in expected.stdout


def test_an_interrupt_is_130_and_keeps_the_parts(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, made = big(tmp_path / "big.tsv"), []
    real = scan.scan_fragment

    def interrupted(*args: Any) -> None:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(real(*args))

    monkeypatch.setattr(scan, "scan_fragment", interrupted)
    result = call("--captions", path, "--fragment-size", 1, "--jobs", 1)
    assert result.exit_code == 130 and "the same command goes on" in result.output
    assert len(list(Path("leakage/parts").glob("*.json"))) == 2
    monkeypatch.setattr(scan, "scan_fragment", real)
    assert call("--captions", path, "--fragment-size", 1).exit_code == 0


def test_a_changed_file_or_lexicon_never_meets_old_counts(call: Call, corpus: Path) -> None:
    call("--captions", corpus)
    corpus.write_text("a sheep\n")
    os.utime(corpus, ns=(1, 1))
    call("--captions", corpus)
    assert counts() == dict.fromkeys(NAMED, 0) | {"sheep": 1}
    call("--captions", corpus, "--level", 0)
    assert len(list(Path("leakage/parts").glob("*.json"))) == 3


def test_a_damaged_part_is_told(call: Call, corpus: Path) -> None:
    call("--captions", corpus)
    part = next(Path("leakage/parts").glob("*.json"))
    part.write_text("{")
    result = call("--captions", corpus)
    assert result.exit_code == 2 and part.name in result.output and "remove it" in result.output


def test_cutting_shards_threads_and_order_change_nothing(call: Call, tmp_path: Path) -> None:
    path = big(tmp_path / "big.tsv")
    call("--captions", path, "--out", "one", "--jobs", 1)
    call("--captions", path, "--out", "cut", "--jobs", 3, "--fragment-size", 1)
    assert call("plan", "--captions", path, "--fragment-size", 1, "--out", "shared").exit_code == 0
    for shard in ("2/3", "1/3"):
        assert call("run", "--out", "shared", "--shard", shard).exit_code == 0
    assert call("merge", "--out", "shared").exit_code == 2
    assert "0 fragments of the whole plan are left" in call("run", "--out", "shared", "--shard", "3/3").output
    assert call("merge", "--out", "shared", "--fail-over", 0).exit_code == 3
    lines = path.read_text().splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    shuffled = tmp_path / "shuffled.tsv"
    shuffled.write_text("".join(lines))
    call("--captions", shuffled, "--out", "shuffled")
    whole = report("one")
    for other in ("cut", "shared"):
        assert [report(other)[name] for name in ("classes", "together")] == [
            whole[name] for name in ("classes", "together")
        ]
    for mine, theirs in zip(whole["classes"], report("shuffled")["classes"], strict=True):
        texts = [[(example["text"], example["copies"]) for example in block["examples"]] for block in (mine, theirs)]
        assert texts[0] == texts[1] and mine["forms"] == theirs["forms"] and mine["unique"] == theirs["unique"]


@pytest.mark.parametrize("shard", ["0/3", "4/3", "x", "1/"])
def test_shards_count_from_one(call: Call, corpus: Path, shard: str) -> None:
    call("plan", "--captions", corpus)
    result = call("run", "--shard", shard)
    assert result.exit_code == 2 and "e.g. 2/16" in result.output


def test_a_plan_that_is_none_is_refused(call: Call, tmp_path: Path) -> None:
    assert "leakage-scan plan" in call("run").output
    (tmp_path / "plan.json").write_text('{"schema": 99}')
    assert call("merge", "--out", "plan.json").exit_code == 2


def test_rows_and_examples_are_those_of_the_file(call: Call, tmp_path: Path) -> None:
    path = big(tmp_path / "big.tsv")
    call("--captions", path, "--fragment-size", 1, "--hits")
    lines = path.read_text().splitlines()
    for block in report()["classes"]:
        for example in block["examples"]:
            assert lines[example["row"]].partition("\t")[2] == example["text"]
            assert all(example["text"][a:b].lower() == form for a, b, form, _ in example["spans"])
    hits = pq.read_table("leakage/hits.parquet").to_pylist()
    assert all(lines[hit["row"]].endswith(hit["caption"]) for hit in hits)
    for block in report()["classes"]:
        assert len({hit["row"] for hit in hits if hit["class"] == block["name"]}) == block["captions"]


# --- standard input, several corpora ------------------------------------------------------------------------------


def test_standard_input(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zsbench", "leakage-scan", "--captions", "-", "--fail-over", "0"]
    result = subprocess.run(command, input=b"a sofa\n", cwd=tmp_path, capture_output=True)
    assert result.returncode == 3 and counts(tmp_path / "leakage")["sofa"] == 1
    twice = subprocess.run([*command, "-s", "voc5", "-s", "context4"], input=b"a", cwd=tmp_path, capture_output=True)
    assert twice.returncode == 2 and b"read twice" in twice.stderr
    refused = subprocess.run([*command, "--purge", "drop"], input=b"a sofa\n", cwd=tmp_path, capture_output=True)
    assert refused.returncode == 2 and b"standard input" in refused.stderr


def test_several_corpora_and_splits_make_one_page(call: Call, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("a cow and a cat\n")
    result = call("-c", corpus, "-c", "other.txt", "-s", "voc5", "-s", "context4", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)["reports"]
    assert [(r["corpus"]["name"], r["split"]["name"], r["named"]) for r in found] == [
        ("captions.txt", "voc5", 5), ("captions.txt", "context4", 1), ("other.txt", "voc5", 0), ("other.txt", "context4", 2),
    ]  # fmt: skip
    assert Path("leakage/leakage.html").read_text().count("<table") > 4


def test_published_counts_stand_beside_ours(call: Call, corpus: Path, tmp_path: Path) -> None:
    concepts = {"0": {"alternates": {"studio couch": 5, "couch": 70, "sofas": 3}}, "1": {"alternates": {"couch": 70}}}
    (tmp_path / "published.json").write_text(json.dumps(concepts))
    call("--captions", corpus, "--concept-counts", "published.json")
    assert report()["outside"][0]["counts"] == {"sofa": 78}, "a studio couch is one"
    (tmp_path / "published.json").write_text("[]")
    assert call("--captions", corpus, "--concept-counts", "published.json").exit_code == 2


def test_published_counts_of_laion(call: Call, corpus: Path, real_data: Path) -> None:
    path = real_data / "captions/laion-concept-frequency/metrics-LAION400M.json"
    call("--captions", corpus, "--split", "voc5", "--concept-counts", path)
    assert report()["outside"][0]["counts"].keys() <= NAMED.keys()
    assert "LAION400M" in Path("leakage/leakage.html").read_text()


# --- review ------------------------------------------------------------------------------------------------------


def judge(answers: Callable[[dict[str, str]], str]) -> None:
    rows = list(csv.DictReader(Path("sample.csv").read_text(encoding="utf-8").splitlines()))
    with Path("judged.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(row | {"named": answers(row)} for row in rows)


def test_a_judged_sample_gives_precision_and_corrected_counts(call: Call, corpus: Path) -> None:
    assert call("--captions", corpus, "--review-out", "sample.csv", "--require-precision", 0.5).exit_code == 4
    judge(lambda row: "0" if row["form"] == "couches" else "1")
    result = call("--captions", corpus, "--review", "judged.csv", "--require-precision", 0.6)
    assert result.exit_code == 0, result.output
    named = next(block for block in report()["classes"] if block["name"] == "sofa")["precision"]["named"]
    assert (named["judged"], named["right"]) == (3, 2)  # two of the four captions are the same
    assert named["estimate"] == pytest.approx(0.75) and named["corrected"] == 3
    assert named["low"] < 0.75 < named["high"] and named["corrected_low"] <= 3 <= named["corrected_high"]
    assert call("--captions", corpus, "--review", "judged.csv", "--require-precision", 0.9).exit_code == 4
    assert report()["limit"]["unreviewed"] == ["sofa"]


def test_answers_belong_to_their_corpus(call: Call, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("a sofa\na sheep\n")
    call("--captions", "other.txt", "--review-out", "sample.csv")
    judge(lambda row: "1")
    refused = call("--captions", corpus, "--review", "judged.csv", "--require-precision", 0.5)
    assert refused.exit_code == 2 and "another corpus" in refused.output
    both = call("-c", corpus, "-c", "other.txt", "--review", "judged.csv", "--require-precision", 0.5, "--json")
    assert [len(found["limit"]["unreviewed"]) for found in json.loads(both.stdout)["reports"]] == [5, 0]
    assert both.exit_code == 4


def test_one_sample_serves_several_splits(call: Call, corpus: Path) -> None:
    splits = ("--captions", corpus, "-s", "voc5", "-s", "context4")
    call(*splits, "--review-out", "sample.csv")
    judge(lambda row: "1")
    assert call(*splits, "--review", "judged.csv", "--require-precision", 1).exit_code == 0
    assert call(*splits, "--fail-on", "cat").exit_code == 0 and call(*splits, "--fail-on", "sheep").exit_code == 3


def test_answers_are_not_written_over(call: Call, corpus: Path) -> None:
    call("--captions", corpus, "--review-out", "sample.csv")
    assert call("--captions", corpus, "--review-out", "sample.csv").exit_code == 0
    judge(lambda row: "1")
    refused = call("--captions", corpus, "--review-out", "judged.csv")
    assert refused.exit_code == 2 and "holds answers" in refused.output
    assert call("--captions", corpus, "--review", "judged.csv").exit_code == 0


def test_few_reviewed_hits_show_no_precision(call: Call, tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("a couch\n" * 99 + "a sofa\n")
    call("--captions", "many.txt", "--review-out", "sample.csv")
    judge(lambda row: "1" if row["form"] == "sofa" else "")
    assert call("--captions", "many.txt", "--review", "judged.csv", "--require-precision", 0.5).exit_code == 4


def test_an_unjudged_or_foreign_file_is_refused(call: Call, corpus: Path, tmp_path: Path) -> None:
    call("--captions", corpus, "--review-out", "sample.csv")
    assert "holds no answer" in call("--captions", corpus, "--review", "sample.csv").output
    judge(lambda row: "maybe")
    assert "'maybe' is no answer" in call("--captions", corpus, "--review", "judged.csv").output
    (tmp_path / "foreign.csv").write_text("a,b\n1,2\n")
    assert "no column" in call("--captions", corpus, "--review", "foreign.csv").output


# --- purge -------------------------------------------------------------------------------------------------------


def test_a_purged_corpus_names_nothing(call: Call, corpus: Path) -> None:
    result = call("--captions", corpus, "--purge", "drop")
    assert result.exit_code == 0 and "3 of 10 captions kept" in result.output, result.output
    purged = Path("leakage/purged/captions.txt")
    assert purged.read_text().splitlines() == [CAPTIONS[2], CAPTIONS[4], CAPTIONS[6]]
    assert call("--captions", purged, "--out", "again", "--fail-over", 0).exit_code == 0


# --- hostile captions --------------------------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script> sofa",
    '=HYPERLINK("http://evil.example","sofa")',
    "\x1b[31m sofa \x1b[2J",
    "sofa\0sofa",
    "\u202esofa\u202c evil",
    "@SUM(1) sofa",
    "sofa " + "x" * 10_000_000,
    "y" * 10_000_000 + " sofa",
]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    path = tmp_path / "evil.parquet"
    pq.write_table(pa.table({"URL": ["u"] * len(HOSTILE), "TEXT": HOSTILE}), path)
    return path


def test_hostile_captions_are_shown_safely(call: Call, hostile: Path) -> None:
    result = call("--captions", hostile, "--examples", 50, "--review-out", "sample.csv", "--hits")
    assert counts()["sofa"] == len(HOSTILE)
    assert not {"\x1b", "\0", "\u202e"} & set(result.output) and len(result.output) < 10_000
    page = Path("leakage/leakage.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and len(page) < 1_000_000 and not {"\x1b", "\0"} & set(page)
    for path in (Path("leakage/classes.csv"), Path("leakage/forms.csv"), Path("sample.csv")):
        text = path.read_text(encoding="utf-8")
        assert not {"\x1b", "\0", "\u202e"} & set(text) and len(text) < 100_000
        for row in csv.reader(io.StringIO(text)):
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


@pytest.mark.parametrize("name", ["../evil.txt", "/abs.txt", "a/../../b.txt"])
def test_hostile_archives_are_refused(call: Call, tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 6
        archive.addfile(member, io.BytesIO(b"a sofa"))
    result = call("--captions", "evil.tar")
    assert result.exit_code == 2 and "refused" in result.output and "Traceback" not in result.output


def test_links_in_archives_are_refused(call: Call, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        member = tarfile.TarInfo("0.txt")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    assert call("--captions", "evil.tar").exit_code == 2


# --- report ------------------------------------------------------------------------------------------------------


def test_what_is_named_together(call: Call, corpus: Path) -> None:
    call("--captions", corpus)
    assert report()["together"] == [{"classes": ["sofa", "train"], "captions": 1}]


def test_placeholders_are_told_apart(call: Call, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a <PERSON> and a person\n<PERSON>\n")
    call("--captions", "p.txt", "--all-classes")
    person = next(block for block in report()["classes"] if block["name"] == "person")
    assert (person["captions"], person["placeholders"]) == (1, 2)


def test_case_is_folded_for_every_word(call: Call, tmp_path: Path) -> None:
    """`BUS` and `TV` are the classes; an acronym that is no class's form (`IT`, `US`) is nobody's."""
    (tmp_path / "caps.txt").write_text("BUS STOP AHEAD\nTV\nIT US\nThe BUS\n")
    call("--captions", "caps.txt", "--all-classes")
    assert (counts()["bus"], counts()["tvmonitor"]) == (1, 1) and sum(counts().values()) == 2


def test_help_and_wrong_commands(call: Call) -> None:
    assert call("--help").exit_code == 0
    assert call("plam").exit_code == 2


def test_a_report_is_built_from_a_tally_alone(corpus: Path, tmp_path: Path) -> None:
    found = session.scans(session.Wanted(captions=[str(corpus)]))
    session.run(found, tmp_path / "out")
    made = session.reports(found, tmp_path / "out")[0]
    assert build and {block["name"]: block["captions"] for block in made["classes"]} == NAMED
