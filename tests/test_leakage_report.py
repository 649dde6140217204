"""Leakage reports: every form says the same, outside text stays text, nothing is claimed that was not measured."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import unicodedata
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import leakage_reports as made
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zsbench.reports.leakage import read_leakage, text, to_json, write
from zsbench.reports.leakage.figures import Scale, heat_maps, scale, segments, shade, together
from zsbench.reports.leakage.markdown import escape, markdown
from zsbench.reports.leakage.model import Example, Leakage, Span, parsed
from zsbench.reports.leakage.page import render
from zsbench.reports.leakage.proof import excerpt, visible
from zsbench.reports.leakage.tables import classes_csv, forms_csv, safe
from zsbench.reports.leakage.terminal import WIDTH, columns, fit
from zsbench.reports.leakage.words import NOT_SHOWN, rate

from zsbench.errors import UserError

ANYTHING = st.one_of(st.text(st.characters(exclude_categories=())), st.sampled_from(made.HOSTILE))
REPORTS = {
    "plain": made.report, "nothing": made.nothing, "partial": made.partial, "reviewed": made.reviewed,
    "hostile": made.hostile,
}  # fmt: skip


class Page(HTMLParser):
    """What the tests ask of a page: tags, attributes, ids, and the text of the captions given as proof."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.proof: list[str] = []
        self.marked: list[str] = []
        self.words = ""
        self._in: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if ("class", "proof") in attrs:
            self._in.append("proof")
        elif self._in and tag == "li":
            self.proof.append("")
        elif self._in and tag == "mark":
            self.marked.append("")
        self._in += [tag] if self._in and tag in ("bdi", "mark") else []

    def handle_data(self, data: str) -> None:
        self.words += data if self.tags[-1:] not in (["style"], ["script"]) else ""
        if "bdi" in self._in:
            self.proof[-1] += data
        if "mark" in self._in:
            self.marked[-1] += data

    def handle_endtag(self, tag: str) -> None:
        if self._in and tag in ("bdi", "mark"):
            self._in.remove(tag)
        if tag == "ol" and self._in:
            self._in.clear()

    def of(self, *names: str) -> list[str]:
        return [value for name, value in self.attributes if name in names]


def page(*reports: dict[str, Any]) -> tuple[str, Page]:
    source = render([parsed(report) for report in reports])
    return source, Page(source)


def silent(source: str) -> bool:
    """Whether nothing in the text acts on a screen, hides there, or is half a surrogate pair."""
    return all(s == "\n" or s.isprintable() or unicodedata.category(s) == "Zs" or s == "\u200d" for s in source)


def rows(source: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(source, newline="")))


def caption(words: str, start: int, end: int, **changes: Any) -> dict[str, Any]:
    """A report whose sofa has this one example."""
    report = made.report()
    example = {"text": words, "copies": 1, "source": "x.tsv", "row": 1, "spans": [[start, end, "sofa", 0]]} | changes
    report["classes"][2]["examples"] = [example]
    return report


# Reading


def test_reads_one_and_many_and_writes_them_again(tmp_path: Path) -> None:
    one, two = made.report(), made.partial()
    write([one], tmp_path / "one", ["json"])
    write([one, two], tmp_path / "two", ["json"])
    assert json.loads((tmp_path / "one/leakage.json").read_text()) == one, "a single report is written as it is"
    found = read_leakage([tmp_path / "one/leakage.json", tmp_path / "two/leakage.json"])
    assert [report.raw for report in found] == [one, one, two]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "run"}, "no leakage report"),
        ({"schema": 2}, "newer zsbench.*pip install --upgrade"),
        ({"schema": 0}, "unknown schema"),
        ({"schema": True}, "unknown schema"),
        ({"schema": None}, "unknown schema"),
        ({"corpus__captions": -1}, r"'corpus\.captions' is -1"),
        ({"corpus__drawn": "no"}, r"'corpus\.drawn'"),
        ({"classes": {}}, "'classes' is {}, expected a list"),
        ({"named": 3}, "'named' is 3, but 4 classes"),
        ({"corpus__totals": {}}, r"'corpus\.totals\.records' is missing"),
        ({"complete": True, "incomplete_because": ["cut off"]}, "'complete' is true"),
        ({"split__name": None}, r"'split\.name'"),
    ],
)
def test_foreign_and_broken_reports_are_refused_by_file_and_field(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "found.json"
    path.write_text(json.dumps(made.edited(made.report(), **change)))
    with pytest.raises(UserError, match=f"found.json.*{said}"):
        read_leakage([path])


@pytest.mark.parametrize("change", ["levels", "spans", "twice", "level"])
def test_contradictions_inside_a_class_are_refused(change: str) -> None:
    report = made.report()
    cls = report["classes"][2]
    if change == "levels":
        cls["levels"][0] += 1
    elif change == "spans":
        cls["examples"][0]["spans"] = [[0, 10_000, "sofa", 0]]
    elif change == "twice":
        report["classes"].append(cls)
        report["named"] += 1
    else:
        cls["forms"][0]["level"] = 7
    with pytest.raises(UserError, match="classes"):
        parsed(report)


@pytest.mark.parametrize("content", ["", "[]", "null", "{", '{"schema": 1}', '{"x": NaN}', "[" * 100_000, "\ud800"])
def test_files_that_hold_no_report_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match=r"odd\.json"):
        read_leakage([path])


def test_missing_files_formats_and_reports_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no leakage report '.*nowhere"):
        read_leakage([tmp_path / "nowhere.json"])
    with pytest.raises(UserError, match="Did you mean 'html'"):
        write([made.report()], tmp_path, ["htm"])
    with pytest.raises(UserError, match="no leakage report to write"):
        write([], tmp_path)
    assert not list(tmp_path.iterdir())


def test_unknown_fields_of_a_later_edition_are_let_through() -> None:
    assert parsed(made.report(novelty={"a": 1})).get("novelty.a") == 1


def test_writes_every_format_and_the_page_last(tmp_path: Path) -> None:
    paths = write([made.report()], tmp_path)
    assert [path.name for path in paths] == ["leakage.json", "classes.csv", "forms.csv", "leakage.md", "leakage.html"]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}


@pytest.mark.parametrize("name", REPORTS)
def test_equal_reports_give_equal_bytes(tmp_path: Path, name: str) -> None:
    one, two = (write([REPORTS[name]()], tmp_path / place) for place in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


# Outside text


@pytest.mark.parametrize("name", REPORTS)
def test_every_file_is_free_of_characters_that_act(tmp_path: Path, name: str) -> None:
    for path in write([REPORTS[name](), made.report()], tmp_path):
        assert silent(path.read_text(encoding="utf-8")), path.name
    assert silent(text(REPORTS[name]()))


def test_the_page_runs_nothing_of_outside() -> None:
    source, found = page(made.hostile(), made.hostile(), made.report())
    assert found.tags.count("script") == 1 and found.tags.count("title") == 1 and "img" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on") or name == "style"]
    assert all(address.startswith("#") for address in found.of("href", "src", "action", "srcset"))
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', source)[0])
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
    assert "alert(1)" in found.words and "{{ 7*7 }}" in found.words


@pytest.mark.parametrize("reports", [["plain"], ["hostile", "hostile"], ["plain", "nothing", "partial", "reviewed"]])
def test_ids_are_unique_and_links_lead_somewhere(reports: list[str]) -> None:
    _, found = page(*(REPORTS[name]() for name in reports))
    ids = found.of("id")
    assert len(set(ids)) == len(ids)
    assert {address[1:] for address in found.of("href")} <= set(ids)
    assert all(re.fullmatch(r"[\w.-]+", name) for name in ids)


@settings(max_examples=40, deadline=None)
@given(ANYTHING, ANYTHING)
def test_a_caption_stands_on_the_page_as_it_is(before: str, after: str) -> None:
    words = f"{before[:90]} sofa {after[:90]}"
    start = len(before[:90]) + 1
    source, found = page(caption(words, start, start + 4, source=after[:40], row=before[:40]))
    assert silent(source) and found.tags.count("script") == 1
    place = [place for place, said in enumerate(found.proof) if visible(words) in said]
    assert place and "sofa" in found.marked


@settings(max_examples=60, deadline=None)
@given(ANYTHING, ANYTHING, ANYTHING)
def test_nothing_of_outside_reaches_the_terminal(name: str, words: str, form: str) -> None:
    report = caption(f"{words} sofa {words}", len(words) + 1, len(words) + 5, source=name)
    report["corpus"]["name"] = report["split"]["name"] = report["verdict"] = name
    report["classes"][2]["forms"][0]["text"] = form
    report["classes"][2]["name"] = f"a{words}"
    for colour in (False, True):
        said = text(report, colour)
        plain = re.sub("\x1b\\[[0-9]+m", "", said) if colour else said
        assert silent(plain)
        assert max(columns(line) for line in plain.splitlines()) <= WIDTH


@settings(max_examples=200, deadline=None)
@given(ANYTHING)
def test_cells_are_neither_formulas_nor_commands(value: str) -> None:
    cell = safe(value)
    assert silent(cell) and "\n" not in cell
    if not re.fullmatch(r"[-+.\deE]+", cell):
        assert unicodedata.normalize("NFKC", cell[:1])[:1] not in tuple("=+-@")


def test_known_formulas_are_quoted() -> None:
    assert [safe(v) for v in ("=1+1", "@x", "\tx", "\r=x", "＝1", "-a", "-1.5", "cow", -2, 0.1, None)] == [
        "'=1+1", "'@x", "'\\tx", "'\\r=x", "'＝1", "'-a", "-1.5", "cow", "-2", "0.1", "",
    ]  # fmt: skip


def test_tables_keep_their_shape_with_hostile_text() -> None:
    reports = [parsed(made.hostile())]
    for source in (classes_csv(reports), forms_csv(reports)):
        table = list(csv.reader(io.StringIO(source, newline="")))
        assert {len(row) for row in table} == {len(table[0])}
        assert not [cell for row in table for cell in row if cell.startswith(("=", "@", "+"))]


@settings(max_examples=100, deadline=None)
@given(ANYTHING)
def test_markdown_text_stays_text(value: str) -> None:
    said = escape(value)
    assert silent(said) and "\n" not in said
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", said)  # without what is escaped
    assert not re.search(r"[<>|*_`\[\]#~$@]", re.sub(r"&#\d+;", "", bare))
    assert not re.match(r"-|\d+[.)](\s|$)", said)


def test_markdown_rows_keep_their_cells() -> None:
    table = [line for line in markdown([parsed(made.hostile())]).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {9}


def test_json_is_safe_to_print_and_loses_nothing() -> None:
    report = made.hostile()
    source = to_json([parsed(report)])
    assert silent(source) and json.loads(source) == report


def test_visible_writes_out_what_acts_and_keeps_letters() -> None:
    assert visible("\x1b[2J a\x00b \u202e\u2028\x9b\r\n\t\ud800") == "\\x1b[2J a\\x00b U+202EU+2028\\x9b\\r\\n\\tU+D800"
    kept = "沙发 sofá ﬁre 👩\u200d👧 canapé\u00a0"
    assert visible(kept) == kept
    assert visible("so\u200dfa") == "soU+200Dfa", "glue inside a word is shown"


# Long captions


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 3000), st.integers(1, 400), st.integers(0, 3000), st.integers(10, 300))
def test_an_excerpt_holds_the_match_and_says_what_is_cut(before: int, length: int, after: int, window: int) -> None:
    words = "x" * before + "y" * length + "z" * after
    pieces = excerpt(Example(words, 1, "s", 0, (Span(before, before + length, "y", 0),)), window)
    marked = "".join(piece.text for piece in pieces if piece.mark)
    assert marked == "y" * min(length, 120)
    shown = "".join(piece.text for piece in pieces if not piece.gap)
    assert len(shown) <= max(window * 3 // 2, 120) + window
    assert (shown == words) == (not any(piece.gap for piece in pieces))


def test_overlapping_and_many_matches_are_all_marked() -> None:
    example = Example(
        "a tv monitor and a tv", 1, "s", 0, (Span(19, 21, "tv", 2), Span(2, 12, "tv monitor", 1), Span(2, 4, "tv", 2))
    )
    pieces = excerpt(example)
    assert [(p.text, p.mark) for p in pieces if p.mark] == [
        ("tv monitor", "tv, level 2; tv monitor, level 1"), ("tv", "tv, level 2"),
    ]  # fmt: skip
    assert "".join(p.text for p in pieces) == example.text


@pytest.mark.parametrize("where", [0, 5_000_000, 9_999_990])
def test_ten_megabytes_of_caption_become_a_window(where: int) -> None:
    words = ("<b>\x1b" * 2_500_000)[:where] + " sofa " + ("\u202e=x " * 2_500_000)[: 10_000_000 - where]
    report = caption(words, where + 1, where + 5)
    source, found = page(report)
    assert len(source) < 80_000 and silent(source)
    assert [said for said in found.proof if "sofa" in said and "…" in said]
    assert max(map(columns, text(report).splitlines())) <= WIDTH
    assert len(markdown([parsed(report)])) < 20_000


def test_a_match_of_ten_megabytes_loses_its_middle() -> None:
    words = "potted" + " " * 10_000_000 + "plant"
    source, found = page(caption(words, 0, len(words)))
    assert len(source) < 80_000 and any(said.startswith("potted") for said in found.marked)
    assert any(said.endswith("plant") for said in found.marked)


# What is claimed


def test_every_form_tells_the_same_counts() -> None:
    report = parsed(made.report())
    source, _ = page(report.raw)
    said = text(report)
    table = {row["class"]: row for row in rows(classes_csv([report]))}
    for cls in report.classes:
        assert int(table[cls.name]["captions"]) == cls.captions
        assert sum(int(table[cls.name][f"captions_level_{n}"]) for n in range(5)) == cls.captions
        assert re.search(rf"^{cls.name} +{cls.captions:,} ", said, re.MULTILINE)
        assert f"<b>{cls.captions:,}</b>" in source
        assert f"| {cls.name} | {cls.captions:,} |" in markdown([report])
    forms = [row for row in rows(forms_csv([report])) if row["kind"] == "counted"]
    assert {(r["class"], r["form"]): int(r["captions"]) for r in forms} == {
        (cls.name, form.text): form.captions for cls in report.classes for form in cls.forms
    }


def test_nothing_is_called_clean() -> None:
    for name in ("plain", "nothing", "partial", "reviewed"):
        report = parsed(REPORTS[name](corpus__name="x", verdict="."))
        for said in (text(report), markdown([report]), page(report.raw)[1].words):
            assert not re.search(r"\bclean\b", said, re.IGNORECASE), name


def test_an_incomplete_scan_says_so_first_and_everywhere() -> None:
    report = made.partial()
    said = text(report)
    assert said.startswith("INCOMPLETE SCAN") and "part-1.tsv.gz: compressed file ends" in said
    assert "≥ 24,010" in said and "none so far" in said and "none found\n" not in said
    source, found = page(report)
    assert source.index("INCOMPLETE SCAN") < source.index("At least 4 of 5")
    assert "0 found so far" in found.words and 'class="broken"' in source and "● none found" not in source
    assert "> **INCOMPLETE SCAN:**" in markdown([parsed(report)])
    assert {row["complete"] for row in rows(classes_csv([parsed(report)]))} == {"no"}
    assert "INCOMPLETE" not in page(made.report())[0]


def test_an_incomplete_scan_without_a_hit_is_not_a_finding() -> None:
    report = made.nothing(complete=False, incomplete_because=["x.gz: cut off"], verdict="Nothing so far.")
    assert "none found " not in text(report).replace("none found proves nothing", "")
    assert 'class="said unknown' in page(report)[0]


def test_drawn_captions_are_said_to_be_drawn() -> None:
    report = made.nothing()
    assert text(report).startswith("drawn by zsbench")
    assert "Drawn by zsbench" in page(report)[1].words and "drawn by zsbench" in markdown([parsed(report)])
    assert {row["drawn"] for row in rows(classes_csv([parsed(report)]))} == {"yes"}


def test_zero_is_a_mark_of_its_own() -> None:
    source, found = page(made.nothing())
    assert source.count(">0 found</text>") == 5 and '<rect class="l' in source  # the legend's
    assert not re.search(r'<rect class="l\d" x=', source)
    assert "There are none" in found.words


def test_precision_is_named_and_shown_apart_or_not_reviewed() -> None:
    _, found = page(made.reviewed())
    assert "precision, named" in found.words and "precision, shown" in found.words
    assert "68 of 75 judged right" in found.words and "58 of 75 judged right" in found.words
    assert "Wilson" in found.words and "not reviewed" in found.words
    assert "surface counts" in page(made.report())[1].words and "Wilson" not in page(made.report())[1].words
    said = text(made.reviewed())
    assert "0.91 [0.82, 0.96]" in said and "itself is shown: train 0.77" in said
    only = made.report()
    only["classes"][3]["precision"] = {"named": None, "shown": made.reviewed()["classes"][3]["precision"]["shown"]}
    assert "precision, named" not in text(only) and "itself is shown: train 0.77" in text(only)
    table = {row["class"]: row for row in rows(classes_csv([parsed(made.reviewed())]))}
    assert table["train"]["named_right"] == "68" and table["train"]["shown_right"] == "58"
    assert table["sofa"]["shown_right"] == "" and table["sheep"]["named_judged"] == ""


def test_limit_and_exit_code_are_told() -> None:
    said = text(made.reviewed())
    assert said.endswith("exit 3") and "over limit" in said and "exit" not in text(made.report())
    words = page(made.reviewed())[1].words
    assert "Limit, captions of each class: 0; over it: pottedplant, sheep, sofa, train. Exit code 3." in words
    asked = {"fail_over": None, "over": [], "require_precision": 0.8, "unreviewed": ["sheep"]}
    short = made.report(limit=asked, exit=4)
    assert "precision asked for: 0.8; not reviewed enough, or below it: sheep" in text(short) and text(short).endswith(
        "exit 4"
    )


def test_no_time_is_claimed_where_none_was_taken() -> None:
    again = made.report(corpus__seconds=0.0)
    assert "0.0 s" not in text(again) + page(again)[1].words and "MB/s" not in text(again)


def test_placeholders_and_mentions_set_aside_do_not_count() -> None:
    report = made.report({"train": 0})
    said, (source, found) = text(report), page(report)
    assert "12 placeholders written like <PERSON>" in said and "wedding train 41" in said
    assert "placeholders, not counted" in found.words and "&lt;PERSON&gt;" in source
    assert "set aside, another sense" in found.words and "No caption names train" in found.words


def test_the_page_says_what_it_does_not_show() -> None:
    words = page(made.report())[1].words
    assert all(title in words for title, _ in NOT_SHOWN)
    assert "images that show" not in words and "counted by others" not in words.lower()
    assert "not compared" in page(made.reviewed())[1].words


def test_how_to_repeat_stands_on_the_page() -> None:
    words = page(made.report())[1].words
    for said in ("zsbench leakage-scan --split voc5 --captions cc12m.tsv", "3f9a1c2b7d10", "zsbench 0.1.0"):
        assert said in words


def test_a_split_without_classes_and_an_empty_corpus() -> None:
    empty = made.report(classes=[], named=0, flagged=0, together=[], corpus__captions=0, corpus__seconds=0)
    assert "nothing was looked for" in page(empty)[1].words and "0 captions scanned" in text(empty)
    assert rows(classes_csv([parsed(empty)])) == []


# Figures


def test_bars_are_cumulative_and_end_at_the_count() -> None:
    report = parsed(made.report())
    axis = scale(report)
    assert axis == Scale(100_000)
    for cls in report.classes:
        found = list(segments(cls, axis))
        assert not cls.captions or found[-1].captions == cls.captions
        for before, after in pairwise(found):
            assert before.start + before.width == pytest.approx(after.start)
    assert 0 < axis.at(1) < axis.at(10) < axis.at(100_000) == 100


def test_shades_are_decades() -> None:
    assert [shade(v) for v in (0, 0.01, 0.99, 1, 9.9, 10, 100, 1000, 9999, 10_000, 10**6)] == [
        0, 1, 1, 2, 2, 3, 4, 5, 5, 6, 6,
    ]  # fmt: skip
    assert [rate(v) for v in (0, 0.0812, 0.999, 6.54, 25, 99.96, 1933.2)] == [
        "0", "0.081", "1.0", "6.5", "25.0", "100", "1,933",
    ]  # fmt: skip


def named(*reports: dict[str, Any]) -> list[tuple[str, Leakage]]:
    return [(f"r{n}", parsed(report)) for n, report in enumerate(reports)]


def test_drawn_and_collected_corpora_never_share_a_heat_map() -> None:
    found = heat_maps(named(made.report(), made.nothing(), made.partial()))
    assert [heat.kind for heat in found] == ["real", "drawn"]
    assert [[column.title for column in heat.columns] for heat in found] == [
        ["cc12m.tsv", "laion/part-*.tsv.gz"], ["drawn: clean"],
    ]  # fmt: skip
    assert [column.complete for column in found[0].columns] == [True, False]
    assert heat_maps(named(made.report())) == []
    kinds = re.findall(r'data-kind="(\w+)"><caption', page(made.report(), made.nothing())[0])
    assert set(kinds) == {"real", "drawn"}


def test_other_protocols_get_rows_of_their_own() -> None:
    other = made.report(lexicon__fingerprint="other", lexicon__level=1)
    [heat] = heat_maps(named(made.report(), other, made.partial()))
    assert len(heat.groups) == 2 and len(heat.columns) == 2
    assert all(cells[1] is None for _, cells in heat.groups[1].rows), "not scanned with that lexicon"
    [twice] = heat_maps(named(made.report(), made.report()))
    assert len(twice.columns) == 2


def test_classes_named_together() -> None:
    found = together(parsed(made.report()))
    assert found.pairs[0] == (["sofa", "tvmonitor"], 812) and len(found.matrix) == 5
    assert found.matrix[found.names.index("sofa")][1][found.names.index("tvmonitor")] == 812
    crowd = made.report(together=[{"classes": ["sofa", "train", "sheep"], "captions": 2}])
    assert together(parsed(crowd)).matrix == [] and "sofa + train + sheep" in page(crowd)[1].words


def test_drawings_are_read_aloud() -> None:
    source, _ = page(made.reviewed())
    for drawing in re.findall(r"<svg[^>]*>", source):
        assert 'aria-hidden="true"' in drawing or ('role="img"' in drawing and "aria-label=" in drawing)


def test_a_hundred_and_seventy_one_classes_in_three_corpora_stay_small() -> None:
    reports = [made.many(seed=seed, name=f"corpus-{seed}.tsv") for seed in range(3)]
    source, found = page(*reports)
    assert len(source.encode()) < 2_000_000
    assert len(set(found.of("id"))) == len(found.of("id"))
    assert source.count('<details class="class"') == 3 * 171
    said = text(reports[0])
    assert "… and 131 more classes" in said and max(map(columns, said.splitlines())) <= WIDTH
    assert len(rows(classes_csv([parsed(reports[0])]))) == 171


def test_width_is_counted_in_columns() -> None:
    assert columns("沙发") == 4 and columns("e\u0301") == 1 and fit("沙发沙发", 5) == "沙发…"
