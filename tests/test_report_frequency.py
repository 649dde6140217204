"""IoU over caption frequency, and the captions' own section: counts from the right place, a correlation held against scipy,
words where there is none, and reports that fit the runs they stand beside."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from leakage_reports import report as scan
from records import NAMED, SEEN, UNSEEN, write_run
from scipy.stats import spearmanr
from test_report import Page, check_numbers, edit, read_csv, report
from zsbench.reports.boards import boards
from zsbench.reports.frequency import ALL, Dot, Frequency, frequencies, rank, words
from zsbench.reports.frequency import UNSEEN as AMONG
from zsbench.reports.leakage.model import Leakage
from zsbench.reports.leaks import leaks
from zsbench.reports.page import write_report
from zsbench.reports.read import read_runs
from zsbench.reports.scans import fits, read_scans

EVIL = "<script>alert(1)</script>"


def web(counts: dict[str, int] | None = None, **changes: Any) -> dict[str, Any]:
    """A scan of all classes that fits the runs trained on "drawn: web"."""
    told = {name: 100 + 10 * place for place, name in enumerate(SEEN)} | NAMED | (counts or {})
    made = scan()
    like = {cls["name"]: cls for cls in made["classes"]}
    made["classes"] = [
        like.get(name, like["tvmonitor"]) | {"name": name, "captions": count, "per_million": count / 0.0025,
                                             "levels": [count, 0, 0, 0, 0]}
        for name, count in told.items()
    ]  # fmt: skip
    made |= {"named": sum(count > 0 for count in told.values()), "together": []}
    made["corpus"] |= {"name": "drawn: web", "captions": 2500, "fingerprint": "c0ffee000001", "drawn": True}
    made["split"]["scope"] = "all"
    for path, value in changes.items():
        *steps, last = path.split("__")
        inner: Any = made
        for step in steps:
            inner = inner[int(step) if step.isdigit() else step]
        inner[last] = value
    return made


def put(folder: Path, *scans: dict[str, Any]) -> None:
    for place, made in enumerate(scans):
        (folder / str(place)).mkdir(parents=True)
        (folder / str(place) / "leakage.json").write_text(json.dumps(made))


def read(folder: Path) -> list[Leakage]:
    found, left = read_scans([folder])
    assert not left
    return found


def only(tmp_path: Path) -> Frequency:
    [board] = boards(read_runs([tmp_path / "runs"])[0])
    [found] = frequencies(board, read_scans([tmp_path])[0])
    return found


def dots(pairs: list[tuple[int, float]]) -> list[Dot]:
    return [Dot(f"class {place}", True, captions, iou) for place, (captions, iou) in enumerate(pairs)]


@pytest.mark.parametrize("classes", [5, 7, 20, 171])
def test_correlation_is_scipys(classes: int) -> None:
    noise = np.random.default_rng(classes)
    captions = noise.integers(0, 60, classes)  # with ties
    ious = captions / 200 + noise.uniform(0, 0.4, classes)
    told = rank(dots([(int(n), float(iou)) for n, iou in zip(captions, ious, strict=True)]), ALL)
    truth = spearmanr(captions, ious)
    assert told.rho == pytest.approx(truth.statistic, abs=1e-6) and told.classes == classes
    if classes > 8:
        assert not told.counted and told.p == pytest.approx(truth.pvalue, abs=1e-6)


def test_p_of_few_classes_counts_every_order() -> None:
    captions, ious = [0, 3, 3, 9, 40], [0.1, 0.3, 0.2, 0.15, 0.5]
    told = rank(dots(list(zip(captions, ious, strict=True))), AMONG)
    own = abs(spearmanr(captions, ious).statistic)
    orders = [abs(spearmanr(order, ious).statistic) for order in itertools.permutations(captions)]
    assert told.counted and told.p == pytest.approx(np.mean([rho >= own - 1e-9 for rho in orders]), abs=1e-6)


@pytest.mark.parametrize("pairs", [[(50, 0.1), (50, 0.4), (50, 0.3)], [(1, 0.2), (5, 0.2), (9, 0.2)]])
def test_where_all_is_equal_the_correlation_is_undefined_and_said_so(pairs: list[tuple[int, float]]) -> None:
    told = rank(dots(pairs), AMONG)
    assert told.rho is None and told.p is None and "it is undefined" in words(told)


def test_words_claim_an_order_only_where_p_is_small() -> None:
    rising = [(n, n / 10) for n in range(1, 8)]
    assert "named more often are segmented better" in words(rank(dots(rising), ALL))
    assert "worse" in words(rank(dots([(n, 1 - iou) for n, iou in rising]), ALL))
    assert "no such order" in words(rank(dots([(1, 0.3), (2, 0.1), (3, 0.2)]), ALL))


def test_counts_come_from_the_report_that_fits_and_else_from_the_run(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", corpus="drawn: web", pictures=0)
    alone = only(tmp_path)
    assert alone.report is None and {dot.name: dot.captions for dot in alone.dots} == NAMED
    assert [told.among for told in alone.ranks] == [AMONG]
    put(tmp_path / "leakage", web(), scan(NAMED, corpus__name="drawn: web", corpus__fingerprint="c0ffee000001"))
    both = only(tmp_path)
    assert len(both.dots) == 20 and {dot.name for dot in both.dots if dot.unseen} == set(UNSEEN)
    assert next(dot.captions for dot in both.dots if dot.name == "bird") == 120
    assert [(told.among, told.classes) for told in both.ranks] == [(ALL, 20), (AMONG, 5)]


def test_a_report_fits_by_fingerprint_or_by_a_name_that_nothing_contradicts(tmp_path: Path) -> None:
    run = read_runs([write_run(tmp_path / "runs", corpus="drawn: web", pictures=0)])[0][0]

    def fitting(**changes: Any) -> bool:
        return fits(Leakage(web(**changes)), run)

    other = {"corpus__fingerprint": "another"}
    assert fitting() and fitting(**other)
    assert not fitting(corpus__captions=2501, **other), "another number of captions"
    assert not fitting(corpus__name="drawn: clean", **other)
    assert not fitting(counts={"sheep": 7}, **other), "a count that contradicts the run's own"
    assert fitting(counts={"sheep": 7}, lexicon__level=1, **other), "of another level it need not be the same"
    assert not fits(Leakage(web() | {"classes": web()["classes"][:15]}), run), "not all of the unseen classes"


def test_fewer_than_three_classes_give_no_drawing(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", corpus="drawn: web", absent=("sheep", "sofa", "train"), pictures=0)
    [board] = boards(read_runs([tmp_path / "runs"])[0])
    assert frequencies(board, []) == []


def test_the_section_of_the_captions(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / "runs", corpus="drawn: web", seed=seed, pictures=0)
    write_run(tmp_path / "runs", corpus="coco-mini", pictures=0)
    put(tmp_path / "runs" / "scans", web(classes__0__forms=[{"text": EVIL, "level": 0, "captions": 100}]), scan())
    summary, text, _ = report(tmp_path)
    page = Page(text)
    check_numbers(page, summary)
    told = {number.rows["class"]: number.value for number in page.numbers if number.column == "captions"}
    assert told == {
        row["class"]: float(row["captions"])
        for row in read_csv(summary.tables["captions.csv"])
        if row["corpus"] == "drawn: web"
    }
    assert "5 of 5 unseen classes are named (20 of all 20 classes)" in text
    assert "Used by ViL-Seg on voc5, seeds 0, 1" in text
    assert "Scanned, but used by no run here" in text and "cc12m.tsv" in text
    assert "No leakage report among those given fits this corpus" in text, "of coco-mini"
    assert EVIL not in text and "&lt;script&gt;" in text
    assert {number.file for number in page.numbers} >= {"captions", "frequency", "runs"}
    assert len(set(page.ids)) == len(page.ids) and all(a[1:] in page.ids for a in page.addresses if a.startswith("#"))


def test_malformed_reports_are_left_out_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "runs", pictures=0)
    put(tmp_path / "scans", web(named=3), {"kind": "leakage", "schema": 99}, [1], web())  # type: ignore[arg-type]
    (tmp_path / "scans" / "9").mkdir()
    (tmp_path / "scans" / "9" / "leakage.json").write_text('{"a": NaN}')
    summary = write_report([tmp_path / "runs", tmp_path / "scans"], tmp_path / "out")
    why = {item.place: item.why for item in summary.left_out}
    assert set(why) == {f"scans/{place}" for place in (0, 1, 2, 9)}
    assert "'named' is 3" in why["scans/0"] and "newer zsbench" in why["scans/1"]
    assert "no leakage report" in why["scans/2"] and "no JSON number" in why["scans/9"]
    assert not any(str(tmp_path) in reason for reason in why.values())
    assert summary.runs == 1 and "left out: scans/0" in capsys.readouterr().err
    assert "drawn: web" in summary.tables["captions.csv"].read_text()


def test_of_two_scans_of_the_same_the_later_counts(tmp_path: Path) -> None:
    put(tmp_path / "scans", web(made="2026-01-01T00:00:00Z"), web({"bird": 7}, made="2026-02-01T00:00:00Z"))
    [found], left = read_scans([tmp_path / "scans", tmp_path])
    assert found.counts["bird"] == 7
    assert {item.place for item in left} == {"scans/0", f"{tmp_path.name}/scans/0"}, "the file below two folders is one"
    assert all("another report of the same scan as" in item.why for item in left)
    assert read(tmp_path / "scans" / "0" / "leakage.json")[0].counts["bird"] == 120, "a file by itself"


def test_class_names_that_are_formulas_stay_text_in_both_places(tmp_path: Path) -> None:
    names = ["=cmd()", EVIL, "@x", "-1+1", "e"]
    folder = write_run(tmp_path / "runs", unseen=names, corpus="drawn: web", pictures=0)
    counts = dict(zip(names, (4, 3, 2, 1, 0), strict=True))
    edit(folder, supervision__corpus__unseen_named=counts, supervision__corpus__unseen_pairs=10)
    summary, text, _ = report(tmp_path)
    check_numbers(Page(text), summary)
    told = [row["class"] for row in read_csv(summary.tables["frequency.csv"])]
    assert told == ["'=cmd()", EVIL, "'@x", "'-1+1", "e", ""]
    assert EVIL not in text


def test_runs_without_captions_have_no_section(tmp_path: Path) -> None:
    runs = read_runs([write_run(tmp_path / "runs", corpus=None, pictures=0)])[0]
    assert not leaks(runs, []) and leaks(runs, [Leakage(scan())]).unused
