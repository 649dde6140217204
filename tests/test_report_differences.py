"""Paired differences: held against resampling by hand, never contradicting the tables, and honest where there are none."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from records import count_images, write_run
from test_report import Page, edit, report
from zsbench.reports.against import chosen
from zsbench.reports.boards import Board, boards
from zsbench.reports.differences import Difference, differences
from zsbench.reports.groups import Group
from zsbench.reports.lead import headline, leads
from zsbench.reports.page import write_report
from zsbench.reports.read import read_runs
from zsbench.reports.verdict import points

from zsbench.errors import UserError

SEEN, UNSEEN = 15, 5


def method(root: Path, name: str, level: float, seed: int = 0, **counts: Any) -> Path:
    """A run of a method of its own with per-image counts."""
    choices = {"method": name, "title": name.upper(), "seed": seed, "corpus": None, "pictures": 0, "level": level}
    return count_images(write_run(root, **choices), level, draw=seed, **counts)


def the_board(tmp_path: Path) -> Board:
    [board] = boards(read_runs([tmp_path / "runs"])[0])
    return board


def by_name(board: Board) -> dict[str, Group]:
    return {str(group.first.get("method.name")): group for group in board.groups}


def compared(tmp_path: Path, own: str, base: str) -> dict[str, Difference]:
    groups = by_name(the_board(tmp_path))
    return differences([groups[own]], groups[base])[groups[own]]


def matrices(folder: Path, scope: str, images: list[str]) -> np.ndarray:
    """(images, 20, 20) counts of a run, read from the table of cells one by one."""
    found = np.zeros((len(images), SEEN + UNSEEN, SEEN + UNSEEN))
    for row in pd.read_parquet(folder / "per_image.parquet").itertuples():
        if row.scope == scope and row.image in images:
            found[images.index(row.image), row.true, row.predicted] += row.pixels
    return found


def score_by_hand(column: str, matrix: np.ndarray) -> float:
    """From one summed confusion matrix, class by class."""
    ious = {}
    for name in range(SEEN + UNSEEN):
        if truth := matrix[name].sum():
            ious[name] = matrix[name, name] / (truth + matrix[:, name].sum() - matrix[name, name])
    unseen = np.mean([iou for name, iou in ious.items() if name >= SEEN])
    if column != "all_harmonic_miou":
        return float(unseen)
    seen = np.mean([iou for name, iou in ious.items() if name < SEEN])
    return float(2 * seen * unseen / (seen + unseen))


@pytest.mark.parametrize("column", ["unseen_only_miou", "all_unseen_miou", "all_harmonic_miou"])
def test_interval_is_that_of_resampling_both_on_the_same_images(tmp_path: Path, column: str) -> None:
    folders = [method(tmp_path / "runs", name, level) for name, level in (("good", 0.7), ("poor", 0.6))]
    told = compared(tmp_path, "good", "poor")[column]
    scope = "unseen" if column == "unseen_only_miou" else "all"
    frames = [pd.read_parquet(folder / "per_image.parquet") for folder in folders]
    images = sorted(set.intersection(*(set(frame[frame["scope"] == scope]["image"]) for frame in frames)))
    good, poor = (matrices(folder, scope, images) for folder in folders)
    random, gaps = np.random.default_rng(0), []
    for _ in range(10):
        for draw in random.integers(len(images), size=(100, len(images))):
            own, other = (score_by_hand(column, counts[draw].sum(0)) for counts in (good, poor))
            gaps.append(own - other)
    assert told.images == len(images) and len(gaps) == 1000
    whole = score_by_hand(column, good.sum(0)) - score_by_hand(column, poor.sum(0))
    assert told.value == pytest.approx(whole, abs=1e-6)
    assert (told.low, told.high) == pytest.approx(tuple(np.quantile(gaps, [0.025, 0.975])), abs=1e-6)


def test_difference_is_that_of_the_tables(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        method(tmp_path / "runs", "good", 0.7, seed)
        method(tmp_path / "runs", "poor", 0.5, seed)
    groups = by_name(the_board(tmp_path))
    told = differences([groups["good"]], groups["poor"])[groups["good"]]
    for column, one in told.items():
        a, b = (groups[name].score(column).value for name in ("good", "poor"))
        assert a is not None and b is not None and one.value == pytest.approx(a - b, abs=2e-6)
        assert [run.get("seed") for run, _, _ in one.pairs] == [0, 1, 2] and one.verdict == "better"
        assert one.low is not None and one.high is not None and one.low < one.value < one.high
        singles = [less for _, _, less in one.pairs]
        assert (one.lowest, one.highest) == (min(singles), max(singles)) and one.lowest < one.highest


def test_verdicts_have_a_direction_and_zero_shows_no_difference(tmp_path: Path) -> None:
    method(tmp_path / "runs", "good", 0.7)
    method(tmp_path / "runs", "poor", 0.4)
    method(tmp_path / "runs", "like", 0.7, images=40)
    there, back = compared(tmp_path, "good", "poor"), compared(tmp_path, "poor", "good")
    for column in there:
        assert there[column].verdict == "better" and back[column].verdict == "worse"
        assert there[column].value == pytest.approx(-(back[column].value or 0))
        assert there[column].low == pytest.approx(-(back[column].high or 0), abs=2e-6)
    alike = compared(tmp_path, "like", "good")["unseen_only_miou"]
    assert alike.value == 0 and alike.words == "no difference shown (interval holds 0)"


def test_seeds_that_disagree_make_nobody_better(tmp_path: Path) -> None:
    method(tmp_path / "runs", "good", 0.7)
    run = the_board(tmp_path).runs[0]
    for lowest, highest, said in ((-0.01, 0.11, "seeds disagree"), (0.01, 0.11, "better"), (0.0, 0.1, "better")):
        told = Difference("x", 0.05, 0.02, 0.08, ((run, run, lowest), (run, run, highest)))
        assert told.verdict == said
        assert replace(told, low=-0.01).verdict == "no difference shown"
    assert Difference("x", -0.05, -0.08, -0.02, ((run, run, -0.11), (run, run, 0.01))).verdict == "seeds disagree"


def test_only_images_of_both_count(tmp_path: Path) -> None:
    method(tmp_path / "runs", "good", 0.7, images=40)
    method(tmp_path / "runs", "poor", 0.5, images=40, first=25)
    told = compared(tmp_path, "good", "poor")["all_harmonic_miou"]
    assert told.images == 15 and told.verdict in ("better", "no difference shown")
    method(tmp_path / "runs", "far", 0.5, images=10, first=900)
    assert compared(tmp_path, "far", "good")["all_harmonic_miou"].lack == "no image was scored for both"


def test_seeds_without_a_partner_are_left_out_and_none_is_said(tmp_path: Path) -> None:
    for seed in (0, 1):
        method(tmp_path / "runs", "good", 0.7, seed)
    method(tmp_path / "runs", "poor", 0.5, 1)
    method(tmp_path / "runs", "late", 0.5, 7)
    told = compared(tmp_path, "good", "poor")["all_unseen_miou"]
    assert [run.get("seed") for run, _, _ in told.pairs] == [1]
    assert compared(tmp_path, "late", "good")["all_unseen_miou"].lack == "no seed was run for both"
    board = the_board(tmp_path)
    lead = leads(board)[0]
    assert lead.partly and "(on seed 1 that both were run with)" in lead.over


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def foreign(path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(path)


def doubled(path: Path) -> None:
    frame = pd.read_parquet(path)
    frame.loc[0, "pixels"] += 5000
    frame.to_parquet(path)


def outside_names(path: Path) -> None:
    frame = pd.read_parquet(path)
    frame.loc[0, "predicted"] = 99
    frame.to_parquet(path)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (Path.unlink, "has no per-image counts"),
        (cut, "cannot be read"),
        (foreign, "cannot be read"),
        (outside_names, "cannot be read"),
        (doubled, "than its record"),
    ],
)
def test_missing_or_damaged_counts_are_a_dash_with_a_reason(
    tmp_path: Path, harm: Callable[[Path], None], why: str
) -> None:
    method(tmp_path / "runs", "good", 0.7)
    harm(method(tmp_path / "runs", "poor", 0.4) / "per_image.parquet")
    told = compared(tmp_path, "poor", "good")
    assert all(why in one.lack and one.value is None and one.verdict == "" for one in told.values())


def test_a_reason_stands_on_the_page_and_in_the_csv(tmp_path: Path) -> None:
    method(tmp_path / "runs", "good", 0.7)
    (method(tmp_path / "runs", "poor", 0.4) / "per_image.parquet").unlink()
    summary, text, _ = report(tmp_path)
    rows = list(csv.DictReader(summary.tables["differences.csv"].open(newline="")))
    assert len(rows) == 3 and all("has no per-image counts" in row["why_not"] for row in rows)
    assert not any(row["together"] or row["difference"] for row in rows)
    assert text.count(rows[0]["why_not"]) >= 3, "said in each cell"


def test_counts_outside_the_run_folder_are_not_opened(tmp_path: Path) -> None:
    method(tmp_path / "runs", "good", 0.7)
    folder = method(tmp_path / "runs", "poor", 0.4)
    (folder / "per_image.parquet").rename(tmp_path / "secret.parquet")
    edit(folder, files__per_image="../../../secret.parquet")
    assert "has no per-image counts" in compared(tmp_path, "poor", "good")["all_unseen_miou"].lack


def test_limited_runs_are_not_compared_with_whole_ones(tmp_path: Path) -> None:
    method(tmp_path / "runs", "good", 0.7)
    count_images(write_run(tmp_path / "runs", method="poor", corpus=None, limit=8, pictures=0), 0.4, images=8)
    assert compared(tmp_path, "poor", "good")["unseen_only_miou"].lack == "only one of the two is limited"


def test_base_is_the_best_or_the_one_that_was_asked_for(tmp_path: Path) -> None:
    method(tmp_path / "runs", "good", 0.8)
    poor = method(tmp_path / "runs", "poor", 0.4)
    for clusters in (20, 50):
        write_run(tmp_path / "runs", given={"clusters": clusters}, pictures=0, level=0.01)
    write_run(tmp_path / "runs", given={"clusters": 50}, corpus="drawn: clean", pictures=0, level=0.012)
    board = the_board(tmp_path)
    key = json.loads((poor / "record.json").read_text())["key"]

    def asked(wanted: str | None) -> tuple[str, str, str]:
        found = chosen(board, wanted)
        return str(found.group.first.get("method.name")), found.group.settings, found.why

    assert asked(None) == ("good", "", "the best-ranked configuration")
    assert asked("poor") == asked(key) == ("poor", "", "as asked for")
    assert asked("vilseg clusters=20")[:2] == ("vilseg", "clusters=20")
    assert "of the 3 configurations of that name the best-ranked" in asked("vilseg")[2]
    assert chosen(board, "vilseg clusters=50 captions='drawn: clean'").group.captions == "drawn: clean"
    assert asked("elsewhere")[0] == "good" and "nothing on this split is called 'elsewhere'" in asked("elsewhere")[2]


def test_a_base_that_nothing_is_called_is_one_clear_sentence(tmp_path: Path) -> None:
    method(tmp_path / "runs", "vilseg", 0.8)
    with pytest.raises(UserError, match=r"no method or run named 'vilsegg'\. Did you mean 'vilseg'"):
        write_report([tmp_path / "runs"], tmp_path / "out", base="vilsegg")
    with pytest.raises(UserError, match="no run is 'vilseg clusters=3'"):
        write_report([tmp_path / "runs"], tmp_path / "out", base="vilseg clusters=3")
    assert not (tmp_path / "out").exists()
    assert write_report([tmp_path / "runs"], tmp_path / "out", base="vilseg").runs == 1


def test_the_page_says_the_base_and_the_verdicts_in_words(tmp_path: Path) -> None:
    method(tmp_path / "runs", "good", 0.8)
    method(tmp_path / "runs", "poor", 0.4)
    text = write_report([tmp_path / "runs"], tmp_path / "out", base="poor").page.read_text()
    assert "Differences from POOR" in text and "as asked for" in text and "▲</span> better" in text
    page = Page(text)
    gaps = [number for number in page.numbers if number.file == "differences"]
    assert {number.rows["score"] for number in gaps} == {"unseen_only_miou", "all_unseen_miou", "all_harmonic_miou"}


def test_headline_says_who_leads_and_whether_that_is_more_than_the_interval(tmp_path: Path) -> None:
    method(tmp_path / "runs", "good", 0.8)
    method(tmp_path / "runs", "poor", 0.3)
    board = the_board(tmp_path)
    said = headline([board])
    score, gap = (by_name(board)["good"].score("unseen_only_miou").value, leads(board)[0].gap)
    assert gap is not None and gap.value is not None
    assert (
        f"with unseen names only GOOD leads voc5 with {points(score)}, +{points(gap.value)} points above the second, a clear margin"
        in said
    )
    assert "which are no photographs" in said
    folder = write_run(tmp_path / "runs", method="best", title="BEST", level=0.9, corpus="drawn: web", pictures=0)
    edit(folder, scores__unseen__miou=0.99)
    assert "BEST (its captions name unseen classes) leads voc5 with 99.0" in headline([the_board(tmp_path)])


def test_a_lead_of_limited_runs_is_called_limited(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", limit=8, pictures=0)
    said = headline([the_board(tmp_path)])
    assert "All of it from limited runs: not for ranking." in said and "reaches" in said and " leads " not in said


def test_runs_of_other_images_do_not_change_a_difference(tmp_path: Path) -> None:
    method(tmp_path / "runs", "good", 0.7)
    method(tmp_path / "runs", "poor", 0.5)
    alone = compared(tmp_path, "poor", "good")
    for place in range(6):
        method(tmp_path / "runs", f"m{place}", 0.3 + place / 20, images=30, first=5 * place)
    groups = by_name(the_board(tmp_path))
    together = differences(groups.values(), groups["good"])
    assert len(together) == 7 and groups["good"] not in together
    for column, one in together[groups["poor"]].items():
        assert (one.value, one.low, one.high) == (alone[column].value, alone[column].low, alone[column].high)


def on(root: Path, split: str, **levels: float) -> None:
    for name, level in levels.items():
        choices: dict[str, Any] = {"method": name, "title": name.upper(), "corpus": None, "pictures": 0, "split": split}
        count_images(write_run(root, level=level, **choices), level, draw=len(name))


def test_headline_names_the_split_whose_lead_is_sure(tmp_path: Path) -> None:
    on(tmp_path / "runs", "one", good=0.8, poor=0.3)
    on(tmp_path / "runs", "two", good=0.6, twin=0.599)
    found = boards(read_runs([tmp_path / "runs"])[0])
    clear = [lead.clear for board in found for lead in leads(board) if lead.column == "unseen_only_miou"]
    assert clear == [True, False]
    first = headline(found).split("; ")[0]
    assert "on one by a clear margin" in first
    assert "on two no difference to the second is shown" in first and "1 of 2" not in first


def test_headline_says_that_seeds_disagree(tmp_path: Path) -> None:
    for seed, (good, poor) in enumerate([(0.9, 0.4), (0.5, 0.6)]):
        method(tmp_path / "runs", "good", good, seed)
        method(tmp_path / "runs", "poor", poor, seed)
    board = the_board(tmp_path)
    told = leads(board)[0].gap
    assert told is not None and told.verdict == "seeds disagree"
    said = headline([board])
    assert "but the seeds disagree whether it is above the second (POOR)" in said and "no difference" not in said


def test_who_is_alone_reaches_a_score(tmp_path: Path) -> None:
    on(tmp_path / "runs", "one", good=0.8)
    on(tmp_path / "runs", "two", good=0.7, poor=0.3)
    found = boards(read_runs([tmp_path / "runs"])[0])
    scores = {
        board.run.get("split.name"): points(leads(board)[0].best.score("unseen_only_miou").value) for board in found
    }
    said = headline(found)
    assert f"GOOD leads two with {scores['two']} and reaches {scores['one']} on one" in said
    assert f"names only GOOD reaches {scores['one']} on one;" in headline(found[:1])
