"""The report: nothing is lost silently, numbers agree with the CSV, outside text stays text, bytes are repeatable."""

from __future__ import annotations

import csv
import html
import json
import os
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from records import of_k, record, write_run
from zsbench.reports.boards import Group, boards
from zsbench.reports.command import alone
from zsbench.reports.leakage.tables import safe
from zsbench.reports.leakage.words import rate
from zsbench.reports.page import ReportSummary, write_report
from zsbench.reports.read import Run, read_runs
from zsbench.reports.tables import cell
from zsbench.reports.verdict import points, verdict

from zsbench.errors import UserError

EVIL = "<script>alert(1)</script>"
FILES = ("runs", "rounds", "differences", "frequency", "confusion", "captions")  # those with numbers on the page
MARKS = ("round", "class", "score", "group", "predicted")  # what tells the rows of a run apart


class Number(NamedTuple):
    """A printed number and what it says of itself: runs, column and rows of a CSV file, the mean or an end, its form."""

    keys: list[str]
    column: str
    of: str
    value: float
    printed: str
    form: str
    file: str
    rows: dict[str, str]


class Page(HTMLParser):
    """What the tests ask of a page: tables with their kind, numbers with their column, addresses, ids, tag order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.numbers: list[Number] = []
        self.tables: list[tuple[str, set[str]]] = []  # kind, keys
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.styled: list[str] = []
        self._open: list[int] = []
        self._rows: list[dict[str, str]] = []
        self._cell: dict[str, str] = {}  # of a cell that says of itself what its row says elsewhere
        self._number: dict[str, str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.addresses += [at[name] for name in ("src", "href", "action", "srcset") if name in at]
        self.ids += [at["id"]] if "id" in at else []
        self.styled += [tag] if "style" in at else []
        if tag == "table":
            self._open.append(len(self.tables))
            self.tables.append((at.get("data-kind", ""), set()))
        if tag == "tr":
            self._rows.append(at)
            for place in self._open:
                self.tables[place][1].update(at.get("data-keys", "").split())
        if tag == "td":
            self._cell = at if "data-keys" in at else {}
        if tag == "data":
            self._number = at | {"printed": ""}

    def handle_data(self, data: str) -> None:
        if self._number is not None:
            self._number["printed"] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._open.pop()
        if tag == "tr":
            self._rows.pop()
        if tag == "data" and self._number is not None:
            of, row = self._number, self._cell or self._rows[-1]
            own = {"class": ""} if row.get("data-file") == "rounds" else {}  # of a whole round, where no class is named
            own |= {name: row[f"data-{name}"] for name in MARKS if f"data-{name}" in row}
            self.numbers.append(
                Number(row["data-keys"].split(), of["data-column"], of.get("data-of", ""), float(of["value"]),
                       of["printed"], of.get("data-form", ""), row.get("data-file", "runs"), own)
            )  # fmt: skip
            self._number = None


def report(tmp_path: Path) -> tuple[ReportSummary, str, list[dict[str, str]]]:
    summary = write_report([tmp_path / "runs"], tmp_path / "out")
    rows = list(csv.DictReader(summary.tables["runs.csv"].open(newline="")))
    return summary, summary.page.read_text(), rows


def edit(folder: Path, **changes: Any) -> None:
    """Sets dotted fields of a record, written with "__" for the dots."""
    made = json.loads((folder / "record.json").read_text())
    for path, value in changes.items():
        *steps, last = path.split("__")
        inner = made
        for step in steps:
            inner = inner[step]
        inner[last] = value
    (folder / "record.json").write_text(json.dumps(made))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeds, a leaky and a clean corpus, another configuration, a limited run, an absent class, a real run."""
    home = tmp_path_factory.mktemp("many")
    for seed in (0, 1, 2):
        write_run(home / "runs", level=0.52, corpus="drawn: web", seed=seed)
        write_run(home / "runs", level=0.11, corpus="drawn: clean", seed=seed)
    write_run(home / "runs", level=0.47, given={"clusters": 50})
    write_run(home / "runs", level=0.3, method="kmeans", title="K-means", corpus=None, absent=("sheep",))
    write_run(home / "runs", level=0.2, method="kmeans", title="K-means", corpus=None, limit=32)
    write_run(home / "runs", level=0.15, corpus="coco-mini", kind="real", limit=16)
    return home


@pytest.fixture(scope="module")
def page(many: Path) -> Page:
    return Page(report(many)[1])


def test_zero_runs_give_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    summary, text, rows = report(tmp_path)
    assert summary.runs == 0 and rows == [] and not summary.left_out
    assert "no finished run" in text and "zsbench run --method" in text
    assert summary.tables["classes.csv"].read_text().startswith("data,")


def test_a_missing_folder_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        write_report([tmp_path / "nowhere"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", level=0.5)
    summary, text, rows = report(tmp_path)
    made = json.loads((folder / "record.json").read_text())
    assert summary.runs == 1 and rows[0]["key"] == made["key"]
    assert float(rows[0]["unseen_only_miou"]) == round(made["scores"]["unseen"]["miou"], 6)
    assert f"On the drawn scenes (voc5), ViL-Seg reaches {points(made['scores']['unseen']['miou'])}" in text
    classes = list(csv.DictReader(summary.tables["classes.csv"].open(newline="")))
    assert len(classes) == 5 + 20
    sheep = next(row for row in classes if row["class"] == "sheep" and row["scope"] == "all names")
    assert float(sheep["iou"]) == round(made["scores"]["all"]["classes"]["sheep"]["iou"], 6)
    assert sheep["group"] == "unseen"


def test_root_may_be_a_run_folder_or_a_record(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs")
    assert len(read_runs([folder])[0]) == len(read_runs([folder / "record.json"])[0]) == 1
    runs, left = read_runs([tmp_path / "runs", folder])
    assert len(runs) == 1 and not left, "the same folder met twice is one run, and no fault"


def check_numbers(page: Page, summary: ReportSummary) -> None:
    """Every number of the page is the mean, the lowest or the highest of cells of its CSV file, printed in its form."""
    files = {name: read_csv(summary.tables[f"{name}.csv"]) for name in FILES}
    join = {"": lambda v: sum(v) / len(v), "min": min, "max": max}
    for number in page.numbers:
        rows = [row for row in files[number.file] if row["key"] in number.keys and number.rows.items() <= row.items()]
        assert len(rows) == len(number.keys), number
        found = [float(row[number.column]) for row in rows if row[number.column]]
        assert found, number
        assert join[number.of](found) == pytest.approx(number.value, abs=1.01e-6), number
        forms = {"": f"{100 * number.value:.1f}", "signed": f"{100 * number.value:+.1f}".replace("-", "−"),
                 "whole": f"{number.value:,.0f}", "percent": f"{100 * number.value:.0f}",
                 "ratio": f"{round(number.value, 2) + 0:.2f}".replace("-", "−"),
                 "chance": f"{number.value:.3f}" if number.value >= 0.001 else "<0.001",
                 "rate": rate(number.value)}  # fmt: skip
        assert number.printed == forms[number.form]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_number_of_the_tables_stands_in_the_csv(many: Path, page: Page) -> None:
    summary, _, rows = report(many)
    assert len(page.numbers) > 100
    check_numbers(page, summary)
    assert {key for number in page.numbers for key in number.keys} == {row["key"] for row in rows}, "every run is there"


def test_drawn_and_real_never_share_a_table(many: Path, page: Page) -> None:
    kinds = {row["key"]: row["data"] for row in report(many)[2]}
    assert {kind for kind, keys in page.tables if keys} == {"drawn", "real"}
    for kind, keys in page.tables:
        assert {kinds[key] for key in keys} <= {kind}


def test_other_protocols_get_tables_of_their_own(tmp_path: Path) -> None:
    first, second = write_run(tmp_path / "runs"), write_run(tmp_path / "runs", seed=1)
    edit(second, split__fingerprint="another00000")
    runs, _ = read_runs([first, second])
    assert len(boards(runs)) == 2
    assert len(set(Page(report(tmp_path)[1]).ids)) == len(Page(report(tmp_path)[1]).ids)


def test_verdict_says_what_leakage_is_worth(many: Path) -> None:
    found = boards(read_runs([many / "runs"])[0])
    drawn, real = (" ".join(verdict(board)) for board in found)
    pair = found[0].pairs[0]
    leaky, clean = (group.score("unseen_only_miou").value for group in pair.groups)
    assert leaky is not None and clean is not None
    assert f"reaches {points(leaky)} (" in drawn and f"it reaches {points(clean)} (" in drawn
    assert "where chance is 11.1" in drawn and "10 % of them" in drawn
    assert f"The {points(leaky - clean)} points" in drawn
    assert "16 of 1,449 images; not for ranking" in real


def test_seeds_are_grouped_and_single_runs_stay(many: Path) -> None:
    board = boards(read_runs([many / "runs"])[0])[0]
    group = next(group for group in board.groups if group.seeds == [0, 1, 2])
    values = [run.get("scores.unseen.miou") for run in group.runs]
    score = group.score("unseen_only_miou")
    assert score.value == pytest.approx(sum(values) / 3, abs=1e-6)
    assert (score.low, score.high) == (round(min(values), 6), round(max(values), 6))
    assert [group.limited for group in board.groups] == sorted(group.limited for group in board.groups)


def test_groups_keep_different_devices_and_methods_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "runs")
    edit(write_run(tmp_path / "runs", seed=1), device="cuda")
    edit(write_run(tmp_path / "runs", seed=2), method__source_sha256="f" * 64)
    board = boards(read_runs([tmp_path / "runs"])[0])[0]
    assert len(board.groups) == 3
    assert {"cuda", f"source {'f' * 12}"} <= {fact for group in board.groups for fact in board.apart(group)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "cannot be read"),
        ("[]", "does not hold an object"),
        ('{"schema": 1, "key": NaN}', "no JSON number"),
        ('{"schema": 0}', "older schema"),
        ('{"schema": 2}', "unknown schema"),
        ('{"schema": 1, "status": "failed"}', "did not finish"),
        ('{"schema": 1, "status": "done"}', "'key' is missing"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_unusable_records_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str) -> None:
    write_run(tmp_path / "runs")
    bad = tmp_path / "runs" / "voc5" / "bad"
    bad.mkdir()
    (bad / "record.json").write_text(text)
    summary, shown, rows = report(tmp_path)
    assert len(rows) == 1 and [item.place for item in summary.left_out] == ["runs/voc5/bad"]
    assert why in summary.left_out[0].why
    assert "runs/voc5/bad" in shown and "left out: runs/voc5/bad" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"scores__unseen__miou": 53.4}, "from 0 to 1"),
        ({"scores__unseen__interval": [0.6, 0.2]}, r"\[low, high\]"),
        ({"scores__unseen__interval": [0.2]}, r"\[low, high\]"),
        ({"scores__all__classes__sheep": 3}, "expected an object"),
        ({"split__seen": "cow"}, "expected a list"),
        ({"data__kind": "painted"}, "drawn or real"),
        ({"scores__unseen__candidates": ["zebra"]}, "lacks the candidate 'zebra'"),
        ({"limited": 1}, "true or false"),
    ],
)
def test_malformed_fields_are_named(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    edit(write_run(tmp_path / "runs"), **change)
    summary, _, rows = report(tmp_path)
    assert not rows and re.search(why, summary.left_out[0].why)


def test_half_a_run_folder_is_named(tmp_path: Path) -> None:
    (write_run(tmp_path / "runs") / "record.json").unlink()
    summary, text, rows = report(tmp_path)
    assert not rows and "unfinished" in summary.left_out[0].why and "unfinished" in text


def test_a_failed_run_is_called_failed(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs")
    (folder / "record.json").unlink()
    (folder / "error.txt").write_text("Traceback …\nValueError: boom\n")
    summary, text, _ = report(tmp_path)
    assert "failed: ValueError: boom" in summary.left_out[0].why and "ValueError: boom" in text


def test_no_worth_is_claimed_where_spreads_overlap(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", corpus="drawn: web", level=0.24)
    write_run(tmp_path / "runs", corpus="drawn: clean", level=0.31)
    [board] = boards(read_runs([tmp_path / "runs"])[0])
    told = " ".join(verdict(board))
    assert "spreads overlap" in told and "are worth" not in told


def test_two_records_with_one_key(tmp_path: Path) -> None:
    first = write_run(tmp_path / "runs")
    later = tmp_path / "runs" / "later"
    later.mkdir()
    (later / "record.json").write_text((first / "record.json").read_text())
    edit(later, finished="2027-01-01T00:00:00+00:00")
    summary, _, rows = report(tmp_path)
    assert len(rows) == 1 and rows[0]["folder"] == "runs/later"
    assert "another record with the key" in summary.left_out[0].why


def test_outside_text_stays_text(tmp_path: Path) -> None:
    folder = write_run(
        tmp_path / "runs", unseen=[EVIL, "</svg><script>", "$x^", "a\x00b", "=SUM(A1)"], title=f"M {EVIL}"
    )
    edit(folder, command=EVIL, split__title=EVIL, data__title=EVIL, data__notes=[EVIL], environment={EVIL: EVIL},
         supervision__corpus__name=EVIL, supervision__corpus__verdict=EVIL, supervision__tuned_on=EVIL)  # fmt: skip
    files = {"photo": EVIL, "truth": "../../../etc/passwd", "prediction": "/etc/passwd"}
    words = {"key": EVIL, "rule": EVIL, "score": None, "labels": {"truth": [EVIL]}, "colours": {EVIL: '"/>'}}
    edit(folder, files__pictures=[files | words])
    _, text, _ = report(tmp_path)
    assert "&lt;script&gt;alert(1)" in text and EVIL not in text
    assert Page(text).tags.count("script") == 1
    assert text.count("no picture file") == 3


def test_a_split_named_by_strangers_cannot_break_ids(tmp_path: Path) -> None:
    edit(write_run(tmp_path / "runs"), split__name='"><img src=x onerror=1>', key='"><b>')
    page = Page(report(tmp_path)[1])
    assert all(re.fullmatch(r'[\w.~-]+|run-"><b>', name) for name in page.ids)
    assert not any(address == "x" for address in page.addresses)


def test_cells_are_no_formulas(tmp_path: Path) -> None:
    assert cell("=1+1") == "'=1+1" and cell("@x") == "'@x" and cell("\tx") == "'\tx" and cell("\rx") == "'\rx"
    assert cell("+cmd|' /C calc'!A0") == "'+cmd|' /C calc'!A0" and cell("-2") == "-2" and cell(-0.5) == "-0.5"
    assert cell("-inf") == "'-inf" and cell(None) == "" and cell("cow") == "cow"
    write_run(tmp_path / "runs", title="=HYPERLINK()", unseen=["=SUM(A1)", "cow2", "+a", "-b", "@c"])
    summary, _, rows = report(tmp_path)
    assert rows[0]["title"] == "'=HYPERLINK()"
    names = [row["class"] for row in csv.DictReader(summary.tables["classes.csv"].open(newline=""))]
    assert names[:5] == ["'=SUM(A1)", "cow2", "'+a", "'-b", "'@c"]


def test_nothing_is_fetched_and_nothing_is_styled_inline(many: Path, page: Page) -> None:
    assert all(address.startswith(("#", "data:image/")) for address in page.addresses)
    assert not page.styled, "the content policy forbids style attributes"
    text = report(many)[1]
    assert "default-src 'none'" in html.unescape(text) and "@import" not in text and "url(http" not in text
    assert re.findall(r"https?://[^\s\"<]+", text.replace("http://www.w3.org/2000/svg", "")) == []


def test_links_and_ids(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    for address in page.addresses:
        assert not address.startswith("#") or address[1:] in page.ids, address


def test_equal_inputs_give_equal_bytes(many: Path) -> None:
    first, second = write_report([many / "runs"], many / "one"), write_report([many / "runs"], many / "two")
    assert first.page.read_bytes() == second.page.read_bytes() and len(first.tables) >= len(FILES)
    for name, table in first.tables.items():
        assert table.read_bytes() == second.tables[name].read_bytes()
    assert str(many) not in first.page.read_text(), "no absolute path"


def test_missing_and_broken_pictures_are_coped_with(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs")
    (folder / "pictures" / "00-photo.png").unlink()
    (folder / "pictures" / "01-truth.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    text = report(tmp_path)[1]
    assert text.count("no picture file") == 2 and text.count("data:image/png") == 5


def test_pictures_outside_the_run_are_not_opened(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs")
    (tmp_path / "secret.png").write_bytes((folder / "pictures" / "00-photo.png").read_bytes())
    (folder / "pictures" / "00-photo.png").unlink()
    (folder / "pictures" / "00-photo.png").symlink_to(tmp_path / "secret.png")
    run = read_runs([folder])[0][0]
    assert run.file("pictures/00-photo.png") is None and run.file("../../../secret.png") is None
    assert run.file("pictures/01-photo.png") is not None


def test_absent_scores_are_dashes_with_a_count(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", absent=("pottedplant", "sheep", "sofa", "train", "tvmonitor"))
    _, text, rows = report(tmp_path)
    assert rows[0]["unseen_only_miou"] == "" and rows[0]["unseen_only_classes_scored"] == "0"
    assert re.search(r'class="absent">–</span>\s*<span class="spread">0 of 5 classes', text)
    assert "no run has an unseen-only score" in text


def test_a_split_without_seen_or_chance_and_without_files(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", corpus=None)
    edit(folder, files={}, scores__unseen__chance=None, scores__unseen__oracle=None, environment=None, prompts=None)
    (folder / "curves.jsonl").unlink()
    text = report(tmp_path)[1]
    assert "No curves were logged" in text


def test_cut_curves_keep_their_whole_lines(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs")
    with (folder / "curves.jsonl").open("a") as file:
        file.write('{"step": 605, "loss": 1.0}\n{"step": 610, "lo')
    run = read_runs([folder])[0][0]
    assert run.curves[-1] == ("", {"step": 605, "loss": 1.0})


def test_captions_without_a_count_go_by_the_verdict(tmp_path: Path) -> None:
    def tone(count: dict[str, int] | None, words: str) -> str:
        made = record()
        told = {"unseen_named": count, "unseen_pairs": None, "verdict": words}
        made["supervision"]["corpus"] = made["supervision"]["corpus"] | told
        return Group((Run(tmp_path, "x", made),)).tone

    assert tone(None, "names unseen classes") == "named" and tone(None, NONE) == "clean"
    assert tone(None, "not scanned: a stream") == "unknown" and tone({"sheep": 0}, NONE) == "clean"
    assert tone({"sheep": 0}, "shows unseen classes, names none (planted)") == "clean"
    assert tone({"sheep": 1}, NONE) == "named", "a count is stronger than words"
    assert tone({"sheep": 0}, "names unseen classes (planted), the scan found none") == "named", "the truth most of all"


NONE = "names none of the unseen classes (levels 0-3)"


def test_what_a_count_of_names_depends_on_stands_beside_it(tmp_path: Path) -> None:
    for corpus in ("drawn: web", "drawn: web, purged"):
        write_run(tmp_path / "runs", corpus=corpus)
    summary, text, rows = report(tmp_path)
    said = html.unescape(text)
    assert "words of voc2012 (1e81c0000001), levels 0-3" in said
    assert "names unseen classes: pottedplant 48, sheep 51" in said
    assert f"{NONE}; words of voc2012" in said
    assert "250 pairs that name some were left out" in said and "clean captions" not in said
    assert {(row["captions_policy"], row["captions_purged"], row["captions_naming_unseen"]) for row in rows} == {
        ("as-is", "", "250"),
        ("purge", "250", "0"),
    }
    assert {(row["captions_lexicon"], row["captions_level"]) for row in rows} == {("voc2012", "3")}
    assert "drawn: web (names unseen classes)" in summary.text
    assert "drawn: web, purged (names no unseen class)" in summary.text


def test_letters_that_no_word_matches_are_told(tmp_path: Path) -> None:
    edit(write_run(tmp_path / "runs", corpus="drawn: clean"), supervision__corpus__non_latin=1234)
    assert "1,234 in other letters than Latin, which no English word matches" in report(tmp_path)[1]


def test_two_hundred_runs(tmp_path: Path) -> None:
    for place in range(200):
        write_run(tmp_path / "runs", given={"clusters": place}, level=0.3, pictures=0)
    summary, text, rows = report(tmp_path)
    assert summary.runs == len(rows) == 200 and "188 more configurations not drawn here" in text
    assert summary.page.stat().st_size < 8_000_000


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"method__name": "\ud800"}, "'method.name' holds half a surrogate pair"),
        ({"method__config": {"a": [{"\udfff": 1}]}}, "half a surrogate pair"),
        ({"command": "x" * 20_001}, "'command' is a text of 20,001 letters"),
        ({"split__unseen": ["a"] * 5_001}, "'split.unseen' has more than"),
        ({"environment": {str(n): "x" * 19_999 for n in range(101)}}, "letters together"),
        ({"environment": json.loads("[" * 40 + "]" * 40)}, "levels"),
    ],
)
def test_texts_that_no_page_can_hold_leave_a_record_out(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    write_run(tmp_path / "runs")
    edit(write_run(tmp_path / "runs", seed=1), **change)
    summary, _, rows = report(tmp_path)
    assert len(rows) == 1 and len(summary.left_out) == 1 and why in summary.left_out[0].why


def test_names_that_are_no_utf_8_are_printed_with_a_sign_in_their_place(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", pictures=0)
    odd = os.fsdecode(b"x\xff-0123456789ab")
    folder.rename(folder.with_name(odd))
    (tmp_path / "runs" / odd).mkdir()
    path = folder.with_name(odd) / "curves.jsonl"
    path.write_text('{"stage": "\\ud800", "step": 0, "\\udfff": 1}\n{"stage": "\\ud800", "step": 1, "\\udfff": 2}\n')
    summary = write_report([tmp_path / "runs"], tmp_path / "out", also=("markdown", "latex", "json"))
    assert summary.runs == 1 and [item.place for item in summary.left_out] == ["runs/x?-0123456789ab"]
    assert read_csv(summary.tables["runs.csv"])[0]["folder"] == "runs/voc5/x?-0123456789ab"
    assert "x?-0123456789ab" in summary.page.read_text()


def test_a_long_command_is_shown_by_nobody_and_taken_apart_by_nobody(tmp_path: Path) -> None:
    run = Run(tmp_path, "here", record() | {"command": "zsbench run -m vilseg -m x " + "x" * 20_000_000})
    begun = time.process_time()
    assert alone(run) == "" and time.process_time() - begun < 1


def test_a_page_of_other_runs_does_not_stay_beside_new_tables(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", pictures=0)
    out = tmp_path / "out"
    formats = ("markdown", "latex", "json")
    write_report([tmp_path / "runs"], out, also=formats)
    names = {"report.html", "report.md", "report.tex", "report.json"}
    assert names <= {path.name for path in out.iterdir()}
    write_run(tmp_path / "runs", seed=1, pictures=0)
    summary = write_report([tmp_path / "runs"], out, also=("latex",), page=False)
    assert {path.name for path in out.iterdir()} == set(summary.tables) | {"report.tex"} and not summary.has_page
    assert set(summary.stale) == {"report.html", "report.md", "report.json"}
    assert "removed, as it was of an earlier report: report.html, report.md, report.json" in summary.text
    (out / "report.md").write_text("# My own words\n")
    (out / "report.json").write_text('{"mine": 1}')
    assert write_report([tmp_path / "runs"], out, page=False).stale == ("report.tex",)
    assert (out / "report.md").read_text() == "# My own words\n" and (out / "report.json").is_file()


def test_links_half_written_records_and_closed_folders_are_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", pictures=0)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "runs" / "latest").symlink_to(folder)
    (tmp_path / "runs" / "loop").symlink_to(tmp_path / "runs")
    for name, half in (("a", "record.json.tmp"), ("b", ".record.json.x1.part")):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / half).write_text("{")
    runs, left = read_runs([tmp_path / "runs"])
    assert len(runs) == 1
    why = {item.place: item.why for item in left}
    assert set(why) == {"runs/linked", "runs/a", "runs/b"}, "what lies below the folder is found where it lies"
    assert why["runs/linked"] == "a link to a folder is not followed; name it on the command line"
    assert "unfinished" in why["runs/a"] and "unfinished" in why["runs/b"]


def test_a_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", pictures=0)
    (folder / "words.txt").write_text("words")
    with pytest.raises(UserError, match=r"neither a record\.json nor a leakage\.json"):
        write_report([folder / "words.txt"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert write_report([folder / "record.json"], tmp_path / "out").runs == 1


@pytest.mark.parametrize("text", ["\uff1d4+4", "\n=1+1", " =2+2", "\ufeff@x", "\u3000\uff0b1", "\x00-a", "\t1"])
def test_formulas_that_begin_with_blanks_or_wide_signs_are_text_in_every_table(text: str) -> None:
    assert cell(text) == f"'{text}" and safe(text).startswith("'")
    assert cell(cell(text)) == cell(text)


def test_many_splits_with_curves_and_pictures_stay_a_small_page(tmp_path: Path) -> None:
    for k in (2, 4, 6, 8, 10):
        for n in range(8):
            write_run(tmp_path / "runs", method=f"m{n}", title=f"Method {n}", given={"clusters": n}, gamma=0.2, rounds=2,
                      pictures=0, **of_k(k))  # fmt: skip
    summary, text, _ = report(tmp_path)
    assert summary.page.stat().st_size < 2_500_000, "forty configurations with every kind of drawing"
    assert text.count("4 more configurations not drawn here; every class of every run stands in") == 5
