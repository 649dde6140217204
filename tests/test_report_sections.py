"""The other sections: what unseen classes are taken for, IoU per class of all, commands, citations, label maps handed in."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import SEEN, UNSEEN, clip_seg, count_images, kmeans, write_run
from test_report import Page, check_numbers, edit, read_csv, report
from zsbench.reports import cite
from zsbench.reports.boards import Board, boards
from zsbench.reports.calibration import curves, singles
from zsbench.reports.command import alone
from zsbench.reports.confused import REST, confusions, matrix_of
from zsbench.reports.dots import ENDS, chart, charts, dot_plot
from zsbench.reports.groups import Group
from zsbench.reports.lines import seen_unseen
from zsbench.reports.marks import marks
from zsbench.reports.page import FILES
from zsbench.reports.read import Run, read_runs

ROOT = Path(__file__).parents[1]


def the_board(tmp_path: Path) -> Board:
    [board] = boards(read_runs([tmp_path / "runs"])[0])
    return board


def test_confusion_is_of_the_records_rows(tmp_path: Path) -> None:
    folders = [count_images(write_run(tmp_path / "runs", seed=seed, pictures=0), 0.5, draw=seed) for seed in (0, 1)]
    [found] = confusions(the_board(tmp_path))
    every = [json.loads((f / "record.json").read_text())["confusion"]["all"] for f in folders]
    names = [*SEEN, *UNSEEN]
    assert found.heads[:5] == UNSEEN and len(found.heads) == 5 + 8 and [row.name for row in found.rows] == UNSEEN
    for row in found.rows:
        at = names.index(row.name)
        together = np.sum(every, axis=0)[at]
        for cell in row.cells[:-1]:
            assert cell.share == pytest.approx(together[names.index(cell.name)] / together.sum(), abs=2e-6)
            assert cell.right == (cell.name == row.name)
        assert row.cells[-1].name == REST and sum(cell.share for cell in row.cells) == pytest.approx(1, abs=1e-4)
        wrong = {name: together[place] for place, name in enumerate(names) if name != row.name}
        assert row.most is not None and wrong[row.most.name] == max(wrong.values())


def test_every_number_of_the_new_sections_stands_in_a_csv(tmp_path: Path) -> None:
    for seed in (0, 1):
        count_images(write_run(tmp_path / "runs", seed=seed, pictures=0, level=0.5), 0.5, draw=seed)
        count_images(write_run(tmp_path / "runs", seed=seed, pictures=0, **_but(kmeans())), 0.3, draw=seed)
    summary, text, _ = report(tmp_path)
    page = Page(text)
    check_numbers(page, summary)
    by_file = {
        name: sum(number.file == name for number in page.numbers) for name in ("differences", "confusion", "frequency")
    }
    assert by_file["differences"] == 3 * 5 and by_file["confusion"] > 20 and by_file["frequency"] > 5
    assert all((summary.page.parent / name).is_file() for name in FILES)
    rows = [row for row in read_csv(summary.tables["confusion.csv"]) if row["class"] == "sheep"]
    for key in {row["key"] for row in rows}:
        own = [row for row in rows if row["key"] == key]
        assert sum(float(row["share"]) for row in own) == pytest.approx(1, abs=1e-5), "each pixel once"
        assert [row["predicted"] for row in own].count(REST) == 1 and len(own) == 5 + 8 + 1, "as on the page"


def _but(choices: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in choices.items() if name != "pictures"}


@pytest.mark.parametrize(
    "told", [None, [], [[1, 2], [3, 4]], "x", [[0.5] * 20] * 20, [[-1] * 20] * 20, [[1] * 19] * 20]
)
def test_a_confusion_of_another_shape_is_not_drawn(tmp_path: Path, told: Any) -> None:
    edit(write_run(tmp_path / "runs", pictures=0), confusion={"all": told})
    [run] = read_runs([tmp_path / "runs"])[0]
    assert matrix_of(run) is None and confusions(the_board(tmp_path)) == []


def test_class_chart_shows_all_unseen_and_the_ends_of_many_seen(tmp_path: Path) -> None:
    unseen, seen = [f"u{n}" for n in range(15)], [f"s{n}" for n in range(156)]
    for method in ("a", "b"):
        write_run(tmp_path / "runs", method=method, unseen=unseen, seen=seen, absent=("u3",), pictures=0)
    board = the_board(tmp_path)
    found = charts(board)
    assert [len(one.rows) for one in found] == [15, 15, 2 * ENDS] and found[2].left == 156 - 2 * ENDS
    means = [row.mean for row in found[2].rows]
    assert means == sorted(means, reverse=True) and found[0].rows[-1].name == "u3", "absent last"
    every = [np.mean([run.get("scores.all.classes")[name]["iou"] for run in board.runs]) for name in seen]
    assert means[0] == pytest.approx(max(every)) and means[-1] == pytest.approx(min(every))
    drawn = dot_plot(board, found[2], "x")
    assert "136 more in classes.csv" in drawn and "u3 – / –" in dot_plot(board, found[0], "y")


def test_fifty_nine_classes_are_all_drawn(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", unseen=[f"u{n}" for n in range(4)], seen=[f"s{n}" for n in range(55)], pictures=0)
    assert len(chart(the_board(tmp_path), "all", "seen").rows) == 55


def test_methods_without_calibration_are_points_beside_the_curves(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", gamma=0.3, pictures=0)
    write_run(tmp_path / "runs", method="plain", title="Plain: a method", corpus=None, pictures=0)
    write_run(tmp_path / "runs", method="none", title="None", corpus=None, absent=tuple(UNSEEN), pictures=0)
    board = the_board(tmp_path)
    single = singles(board)
    assert [one.group.title for one in single] == ["Plain"], "without an unseen score there is no point"
    score = single[0].group.score
    assert single[0].at == (score("all_seen_miou").value, score("all_unseen_miou").value)
    assert "Plain seen" in seen_unseen(curves(board), single, "x")
    text = report(tmp_path)[1]
    assert "not calibrated" in text


def command(told: str, **changes: Any) -> str:
    made: dict[str, Any] = {"command": told, "seed": 1, "method": {"name": "vilseg"}, "split": {"name": "voc5"}}
    return alone(Run(Path(), "x", made | changes))


@pytest.mark.parametrize(
    ("told", "own"),
    [
        ("zsbench run -m clip-seg -m vilseg --split voc5 --split voc_k2 --seed 0 --seed 1 --out runs",
         "zsbench run -m vilseg --split voc5 --seed 1 --out runs"),
        ("zsbench run --method=kmeans --method ./x/vilseg.py --split 'voc*' --seed=1 --captions 'a b.tsv'",
         "zsbench run -m ./x/vilseg.py --split voc5 --seed 1 --captions 'a b.tsv'"),
        ("zsbench run -m vilseg --split voc5 --seed 1", ""),
        ("zsbench run -m kmeans -m spnet --seed 1", ""),
        ("zsbench run --config study.toml", ""),
        ("zsbench run -m vilseg --seed 3 --seed 4", ""),
        ("zsbench score maps --split voc5", ""),
        ("zsbench run -m 'vilseg", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_command_of_one_run_alone(told: str, own: str) -> None:
    assert command(told) == own


def test_the_commands_are_printed_as_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", pictures=0)
    edit(folder, command="zsbench run -m vilseg -m x --set 'prompt=<em>' --split voc5 --seed 0")
    text = report(tmp_path)[1]
    assert "<em>" not in text
    assert "zsbench run -m vilseg --split voc5 --seed 0 --set 'prompt=<em>'" in html.unescape(text)
    assert "It made several runs. This one alone:" in text


def test_the_citation_is_that_of_the_repository(tmp_path: Path) -> None:
    words = (ROOT / "CITATION.cff").read_text()
    assert (
        f'title: "{cite.TITLE}"' in words and f'name: "{cite.AUTHORS}"' in words and f"license: {cite.LICENSE}" in words
    )
    write_run(tmp_path / "runs", pictures=0)
    board = the_board(tmp_path)
    assert cite.versions(board.runs) == "0.1.0" and "version = {0.1.0}" in cite.bibtex(board.runs)
    assert cite.sources([board]) == {"voc5": "SPNet 2019"}
    assert cite.TITLE in report(tmp_path)[1]


def test_small_marks_say_what_was_used_and_where_to_read_more(tmp_path: Path) -> None:
    run = read_runs([write_run(tmp_path / "runs", vectors="clip", **_but(clip_seg()))])[0][0]
    found = {mark.word: mark for mark in marks(Group((run,)))}
    assert found["vectors"].state == "warned" and "names of unseen classes included" in found["vectors"].told
    assert found["weights saw"].state == "warned" and "masks" not in found
    text = report(tmp_path)[1]
    assert f'title="{html.escape(found["vectors"].told)}"' in text.replace("&#39;", "&#x27;")
    assert 'href="#drawn-voc5-ledger"' in text


def test_label_maps_handed_in_are_marked_and_what_was_not_submitted_is_a_dash(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", method="theirs", title="Theirs", corpus=None, pictures=0)
    write_run(tmp_path / "runs", pictures=0, level=0.4)
    made = json.loads((folder / "record.json").read_text())
    made["supervision"]["declared_by"] = "the submitter"
    unseen = made["scores"]["unseen"]
    unseen |= {"miou": None, "interval": None, "pixel_accuracy": None, "mean_accuracy": None, "oracle": None}
    for cls in unseen["classes"].values():
        cls |= {"iou": None, "recall": None}
    (folder / "record.json").write_text(json.dumps(made))
    board = the_board(tmp_path)
    assert [group.title for group in board.groups] == ["ViL-Seg", "Theirs"], "no score ranks last"
    declared = next(mark for mark in marks(board.groups[1]) if "submitter" in mark.told)
    assert declared.state == "warned"
    summary, text, _ = report(tmp_path)
    check_numbers(Page(text), summary)
    assert html.escape(declared.told) in text


def test_a_split_of_ones_own_with_hostile_names_is_whole(tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", "=cmd()", "a\u202eb", "\x1b[2J", "日本"]
    for seed in (0, 1):
        count_images(
            write_run(tmp_path / "runs", split="own", unseen=names, corpus=None, seed=seed, pictures=0), draw=seed
        )
        count_images(write_run(tmp_path / "runs", split="own", unseen=names, corpus=None, seed=seed, pictures=0,
                               method="b", title="B"), 0.3, draw=seed)  # fmt: skip
    summary, text, _ = report(tmp_path)
    check_numbers(Page(text), summary)
    assert Page(text).tags.count("script") == 1 and "<script>alert" not in text
    assert "\u202e" not in text and "\x1b" not in text and "aU+202Eb" in text
    assert {row["class"] for row in read_csv(summary.tables["confusion.csv"])} >= {"'=cmd()", names[0]}


def test_pixels_of_a_class_are_in_one_row_of_the_csv_each(tmp_path: Path) -> None:
    """Also those that label maps gave to no candidate, which the matrix counts in a last column."""
    folder = count_images(write_run(tmp_path / "runs", pictures=0), 0.5)
    made = json.loads((folder / "record.json").read_text())
    missed = list(range(100, 120))
    edit(folder, confusion__missed={"all": missed})
    summary, text, _ = report(tmp_path)
    check_numbers(Page(text), summary)
    rows = read_csv(summary.tables["confusion.csv"])
    names = [*SEEN, *UNSEEN]
    for name in UNSEEN:
        own = [row for row in rows if row["class"] == name]
        matrix = made["confusion"]["all"][names.index(name)]
        assert sum(int(row["pixels"]) for row in own) == sum(matrix) + missed[names.index(name)]
        assert sum(float(row["share"]) for row in own) == pytest.approx(1, abs=1e-5)
        told = {row["predicted"]: int(row["pixels"]) for row in own}
        assert len(told) == len(own) == 5 + 8 + 1
        assert all(told[other] == matrix[names.index(other)] for other in told if other != REST)
