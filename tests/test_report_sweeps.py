"""Sweeps over K: nested splits of one data set and nothing else, one line per configuration, numbers as in runs.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from records import of_k, write_run
from test_report import EVIL, Page, check_numbers, edit, report
from zsbench.reports.boards import boards
from zsbench.reports.read import read_runs
from zsbench.reports.sweeps import Sweep, sweeps
from zsbench.reports.verdict import points, trend

NET: dict[str, Any] = {"method": "zs3net", "title": "ZS3Net", "corpus": None, "pictures": 0}
MMD: dict[str, Any] = {"method": "zs-mmd", "title": "Recursive ZS-MMD", "corpus": None, "pictures": 0}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods over K with seeds, one limited, one of a single K, voc5 beside them, and one real K."""
    home = tmp_path_factory.mktemp("swept")
    for k in (2, 4, 10):
        for seed in (0, 1):
            write_run(home / "runs", seed=seed, **NET, **of_k(k))
            write_run(home / "runs", seed=seed, **MMD, **of_k(k))
        write_run(home / "runs", limit=16, **NET, **of_k(k))
    write_run(home / "runs", given={"clusters": 3}, **NET, **of_k(4))
    write_run(home / "runs", pictures=0)
    write_run(home / "runs", kind="real", **NET, **of_k(2))
    return home


def found(home: Path) -> list[Sweep]:
    return sweeps(boards(read_runs([home / "runs"])[0]))


def test_one_line_per_configuration_over_k(swept: Path) -> None:
    [sweep] = found(swept)
    assert [board.run.get("split.name") for board in sweep.boards] == ["voc_k2", "voc_k4", "voc_k10"]
    lines = [
        (line.group.title, line.group.settings, line.group.limited, [p.k for p in line.points]) for line in sweep.lines
    ]
    whole = [line for line in lines if not line[2]]
    assert sorted(whole[:2]) == [("Recursive ZS-MMD", "", False, [2, 4, 10]), ("ZS3Net", "", False, [2, 4, 10])]
    assert whole[2:] == [("ZS3Net", "clusters=3", False, [4])]
    assert lines[3:] == [("ZS3Net", "", True, [2, 4, 10])], "limited runs have a line of their own, and last"
    assert sweep.lines[3].facts == ["limited: not for ranking"]
    for line in sweep.lines:
        assert all(len(point.group.runs) == (1 if line in sweep.lines[2:] else 2) for point in line.points)


def test_numbers_of_a_sweep_stand_in_the_csv(swept: Path) -> None:
    summary, text, _ = report(swept)
    page = Page(text)
    check_numbers(page, summary)
    assert "sweep-drawn-voc_k2" in page.ids and len(page.ids) == len(set(page.ids))
    assert all(address[1:] in page.ids for address in page.addresses if address.startswith("#"))
    section = Page(text[text.index('id="sweep-drawn-voc_k2"') : text.index('<article id="drawn-voc5"')])
    assert {number.column.removesuffix("_low").removesuffix("_high") for number in section.numbers} == {
        "all_unseen_miou", "all_harmonic_miou", "unseen_only_miou", "chance_miou",
    }  # fmt: skip
    chances = {number.printed for number in section.numbers if number.column == "chance_miou"}
    assert chances == {points(1 / (2 * k - 1)) for k in (2, 4, 10)}
    assert text.index('id="drawn"') < text.index('id="sweep-drawn-voc_k2"') < text.index('id="drawn-voc5"')


def test_drawn_and_real_never_share_a_sweep(swept: Path) -> None:
    rows = {row["key"]: row["data"] for row in report(swept)[2]}
    for kind, keys in Page(report(swept)[1]).tables:
        assert {rows[key] for key in keys} <= {kind}
    assert [sweep.kind for sweep in found(swept)] == ["drawn"]


def test_a_trend_in_words(swept: Path) -> None:
    [sweep] = found(swept)
    ends = [
        points(point.group.score("all_unseen_miou").value)
        for point in (sweep.lines[0].points[0], sweep.lines[0].points[-1])
    ]
    assert f"goes from {ends[0]} (K = 2) to {ends[1]} (K = 10) with {sweep.lines[0].group.title}" in trend(sweep)
    assert "limited" not in trend(sweep).lower() and trend(sweep) in report(swept)[1]


@pytest.mark.parametrize(
    "change",
    [
        {"split__unseen": ["cow", "bus"], "split__seen": ["motorbike"]},
        {"split__background": "ignore"},
        {"split__train_policy": "mask"},
        {"split__dataset": "context59"},
        {"data__fingerprint": "another00000"},
        {"data__kind": "real"},
        {"method__source_sha256": "f" * 64},
        {"device": "cuda"},
        {"limited": True, "limit": 5},
    ],
)
def test_nothing_for_what_is_not_alike(tmp_path: Path, change: dict[str, Any]) -> None:
    write_run(tmp_path / "runs", **NET, **of_k(2))
    other = write_run(tmp_path / "runs", **NET, **of_k(4))
    assert len(found(tmp_path)) == 1
    edit(other, **change)
    assert not found(tmp_path) and "sweep-" not in report(tmp_path)[1]


def test_equal_unseen_classes_are_no_sweep(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", **NET, **of_k(4))
    write_run(tmp_path / "runs", **NET, **of_k(4) | {"split": "mine"})
    assert not found(tmp_path)


def test_captions_purged_per_split_are_one_line(tmp_path: Path) -> None:
    purged = NET | {"corpus": "drawn: web, purged"}
    write_run(tmp_path / "runs", **purged, **of_k(2))
    other = write_run(tmp_path / "runs", **purged, **of_k(4))
    edit(other, supervision__corpus__fingerprint="c0ffee000009", supervision__corpus__pairs=2000)
    assert [len(line.points) for line in found(tmp_path)[0].lines] == [2]
    again = write_run(tmp_path / "runs", seed=1, **purged, **of_k(4))
    edit(again, supervision__corpus__fingerprint="c0ffee00000a")
    assert not found(tmp_path), "two corpora of one name on one board: nobody knows which one the line goes on with"


def test_more_lines_than_can_be_told_apart_stay_in_the_table(tmp_path: Path) -> None:
    for clusters in range(10):
        for k in (2, 4):
            write_run(tmp_path / "runs", given={"clusters": clusters}, **NET, **of_k(k))
    _, text, _ = report(tmp_path)
    section = text[text.index('id="sweep-drawn-voc_k2"') : text.index('<article id="drawn-voc_k2"')]
    assert section.count('class="swatch"') == 8 and "The first 8 of 10 configurations are drawn" in section
    assert all(f"clusters={clusters}<" in section for clusters in range(10))


def test_hostile_split_names_stay_text(tmp_path: Path) -> None:
    for k in (2, 4):
        folder = write_run(tmp_path / "runs", given={"x": EVIL}, **NET | {"title": EVIL}, **of_k(k))
        edit(folder, split__name=f"{EVIL}{k}", data__title=EVIL)
    _, text, _ = report(tmp_path)
    page = Page(text)
    assert len(found(tmp_path)) == 1 and EVIL not in text and page.tags.count("script") == 1
    assert all(" " not in name and "<" not in name for name in page.ids)


def test_boards_stand_in_natural_order(swept: Path) -> None:
    names = [board.run.get("split.name") for board in boards(read_runs([swept / "runs"])[0])]
    assert names == ["voc5", "voc_k2", "voc_k4", "voc_k10", "voc_k2"]
