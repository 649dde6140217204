"""Published beside measured: which numbers stand beside each other, why they may not be compared, and how the page says so."""

from __future__ import annotations

import html
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from records import UNSEEN, clip_seg, kmeans, of_k, record, vilseg, write_run
from test_report import EVIL, Page, edit
from zsbench.reports import beside
from zsbench.reports.beside import COUNTERPARTS, SHOWN, Line, Section, merged, plainest, section
from zsbench.reports.boards import Board, boards
from zsbench.reports.comparable import reasons, unstated
from zsbench.reports.groups import Group
from zsbench.reports.page import _environment
from zsbench.reports.published import Published, papers, parsed, values_of
from zsbench.reports.read import Run, read_runs
from zsbench.reports.tables import run_row

PAGE = """{% import "macros.html" as m with context %}{% set board = view.board %}{% set split = board.run.record.split %}
{% include "published.html" %}"""
ZS3 = {"method": "zs3net", "title": "ZS3Net: generated features", "corpus": None, "pictures": 0}
SPNET_C = {"method": "spnet-c", "title": "SPNet-c", "corpus": None, "pictures": 0}


def board_of(home: Path) -> Board:
    [board] = boards(read_runs([home / "runs"])[0])
    return board


def rendered(board: Board, name: str = "real-voc5") -> str:
    view = SimpleNamespace(published=section(board), board=board, id=name)
    titles = {"drawn": "Drawn scenes", "real": "Photographs"}
    return _environment().from_string(PAGE).render(view=view, titles=titles)


@pytest.fixture(scope="module", params=["real", "drawn"])
def home(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Four methods with two seeds on voc5, and K-means and ViL-Seg with a setting of its own."""
    home: Path = tmp_path_factory.mktemp(request.param)
    for seed in (0, 1):
        for method in (ZS3, SPNET_C, vilseg(), clip_seg()):
            write_run(home / "runs", kind=request.param, seed=seed, level=0.3, **method)
    write_run(home / "runs", kind=request.param, level=0.9, **vilseg(clusters=5))
    write_run(home / "runs", kind=request.param, **kmeans())
    return home


def lines(found: Section | None) -> dict[str, Line]:
    assert found is not None
    return {line.value.row: line for line in found.lines}


# which rows


def test_a_method_stands_beside_its_own_rows_of_the_same_split(home: Path) -> None:
    found = section(board_of(home))
    assert found is not None
    assert lines(found).keys() == {"ZS3Net", "SPNet-c", "ViL-Seg", "CLIP + Seg"}
    assert all(line.value.protocol.split == "voc5" for line in found.lines)
    assert {value.protocol.split for value in found.related} >= {"voc_k2", "voc_k10", "voc20"}
    assert {value.method for value in found.related} <= {"ZS3Net", "SPNet-c", "ViL-Seg", "CLIP + Seg",
                                                         "ViL-Seg, offline K-means", "MaskCLIP, ViT-B/16",
                                                         "MaskCLIP, ResNet-50", "MaskCLIP, ResNet-50x16"}  # fmt: skip
    assert all(value.protocol.split == "voc5" for value in found.others)
    assert {"SIGN", "STRICT", "ZegCLIP", "CaGNet (pa)", "ZS3Net + ST"} <= {value.method for value in found.others}
    apart = [*found.values, *found.related, *found.others]
    assert len({id(value) for value in apart}) == len(apart)


def test_a_score_is_held_against_the_one_with_the_same_names(home: Path) -> None:
    found = lines(section(board_of(home)))
    columns = {c: s.column for c in ("S", "U", "h", "mIoU") if (s := found["ZS3Net"].here(c))}
    assert columns == {"S": "all_seen_miou", "U": "all_unseen_miou", "h": "all_harmonic_miou", "mIoU": "all_miou"}
    assert found["ZS3Net"].scope == "all names"
    alone = found["ViL-Seg"]
    columns = {c: s.column for c in ("S", "U", "h") if (s := alone.here(c))}
    assert columns == {"U": "unseen_only_miou"}
    assert alone.scope == "unseen names only" and alone.value.numbers["U"].text == "34.42"


def test_the_plainest_configuration_is_shown_whatever_it_scores(home: Path) -> None:
    board = board_of(home)
    [group] = [group for group in plainest(board) if group.first.get("method.name") == "vilseg"]
    assert group.settings == "" and group.seeds == [0, 1], "the other one scores 0.9"
    found = section(board)
    assert found is not None and found.more == 1


def test_a_self_trained_run_stands_beside_the_self_trained_row(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", kind="real", **vilseg())
    write_run(tmp_path / "runs", kind="real", **vilseg(self_training=2))
    found = lines(section(board_of(tmp_path)))
    assert found.keys() == {"ViL-Seg", "ViL-Seg + ST"}
    assert found["ViL-Seg + ST"].group.settings == "self_training=2"
    assert not any("self-training" in why for why in found["ViL-Seg + ST"].why)


def test_a_limited_run_does_not_stand_for_a_whole_one(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", kind="real", **ZS3)
    write_run(tmp_path / "runs", kind="real", limit=20, level=0.9, **ZS3)
    [line] = lines(section(board_of(tmp_path))).values()
    assert not line.group.limited


def test_all_names_unseen_meets_table_two(tmp_path: Path) -> None:
    every = {"split": "voc20", "unseen": [*record()["split"]["seen"], *UNSEEN], "seen": [], "kind": "real"}
    write_run(tmp_path / "runs", **every, **vilseg())
    write_run(tmp_path / "runs", **every, **kmeans())
    write_run(tmp_path / "runs", **every, **clip_seg())
    found = lines(section(board_of(tmp_path)))
    assert found.keys() == {"full", "offline K-means", "MaskCLIP, ResNet-50", "MaskCLIP, ResNet-50x16",
                            "MaskCLIP, ViT-B/16"}  # fmt: skip
    assert (found["full"].value.numbers["mIoU"].text, found["full"].scope) == ("33.61", "unseen names only")
    masked = found["MaskCLIP, ViT-B/16"]
    assert [(c, s.column) for c in ("U", "mIoU") if (s := masked.here(c))] == [("mIoU", "unseen_only_miou")]
    assert masked.why == ["encoder small-vit, in the paper ViT-B-16"]


def test_a_split_of_k_finds_its_rows_with_recalled_numbers_marked(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", kind="real", **{**ZS3, **of_k(2)})
    board = board_of(tmp_path)
    assert lines(section(board)).keys() == {"ZS3Net"}
    text = rendered(board)
    row = text[text.index('<th scope="row">ZS3Net') :]
    row = " ".join(re.sub(r"<[^>]*>", " ", row[: row.index("</tr>")]).split())
    assert "72.0 ▲ recalled, not checked 35.4 47.5 ▲ recalled, not checked" in row


def test_every_recalled_number_of_the_page_is_marked_at_its_place(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", kind="real", **{**ZS3, **of_k(6)})
    text = rendered(board_of(tmp_path))
    found = section(board_of(tmp_path))
    assert found is not None
    values = [*found.values, *found.others, *found.related]
    recalled = sum(
        number.mark == "R" for value in values for column, number in value.numbers.items() if column in SHOWN
    )
    assert recalled > 12
    cells = re.findall(r'<td class="n paper">(.*?)</td>', text, flags=re.S)
    assert sum("recalled, not checked" in cell for cell in cells) == recalled


def test_zs_mmd_has_a_sentence_and_no_number(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", kind="real", method="zs-mmd", title="ZS-MMD", corpus=None, pictures=0, **of_k(4))
    found = section(board_of(tmp_path))
    assert found is not None and not found.lines and [one.method for one in found.unread] == ["ZS-MMD"]
    text = rendered(board_of(tmp_path))
    assert "no table could be read" in text and "Only a sign can be tested" in text


def test_a_split_and_a_method_of_ones_own_have_no_section(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", method="mine", title="Mine", split="mine", pictures=0)
    assert section(board_of(tmp_path)) is None
    assert COUNTERPARTS.keys() == {"vilseg", "clip-seg", "kmeans", "zs3net", "spnet", "spnet-c", "zs-mmd"}


# copies


def test_a_number_that_many_print_alike_is_shown_once(home: Path) -> None:
    found = section(board_of(home))
    assert found is not None
    of = [value for value in [*found.values, *found.others] if value.method == "CaGNet (pi)"]
    assert [(value.printed_by, value.numbers["U"].text) for value in of] == [
        ("the README of CaGNet, version 2", "26.59")
    ]


def test_a_copy_that_differs_stays() -> None:
    kept = [value for value in merged(values_of(papers())) if value.protocol.split == "coco15"]
    assert {v.numbers["h"].text for v in kept if v.method == "STRICT"} == {"32.6", "34.8"}
    assert {v.numbers["S"].text for v in kept if v.method == "CaGNet (pi)"} == {"35.49", "33.5"}


# reasons


def value_of(method: str, split: str, scope: str = "all") -> Published:
    found = [
        v
        for v in merged(values_of(papers()))
        if (v.method, v.protocol.split, v.protocol.scope) == (method, split, scope)
    ]
    return found[0]


def group_of(**change: Any) -> Group:
    made = record(kind="real", **{name: value for name, value in ZS3.items() if name != "pictures"})
    made["method"]["departures"] = []
    for path, value in change.items():
        *steps, last = path.split("__")
        inner = made
        for step in steps:
            inner = inner[step]
        inner[last] = value
    return Group((Run(Path(), "x", made),))


EIGHTH = "scored at about an eighth of the image's size in the paper, at the labels' own size here"


@pytest.mark.parametrize(
    ("change", "value", "why"),
    [
        ({}, ("ZS3Net", "voc5"), [EIGHTH]),
        ({"data__kind": "drawn"}, ("ZS3Net", "voc5"), ["drawn scenes, no photographs", EIGHTH]),
        ({}, ("RPN", "voc5"), []),
        ({"limited": True}, ("RPN", "voc5"), ["limited: 1,449 images, the protocol has more"]),
        ({"split__background": "seen"}, ("RPN", "voc5"), ["background a seen class, in the paper not scored"]),
        ({}, ("CSRL", "voc_k4"), ["split voc5, in the paper voc_k4", "20 names in all, in the paper 21",
                                  "background not scored, in the paper a seen class"]),
        ({}, ("FreeSeg", "voc5", "unseen"), []),
        ({"scores__unseen__candidates": ["cow"] * 20}, ("FreeSeg", "voc5", "unseen"), ["20 names compete, in the paper 5"]),
        ({"supervision__vectors": {"source": "random", "leaks": False, "control": "random"}}, ("RPN", "voc5"),
         ["class vectors without meaning, a control (random)"]),
        ({"method__departures": [{"field": "encoder", "paper": "resnet101", "value": "small"},
                                 {"field": "vectors", "paper": "", "value": "factor"}]}, ("RPN", "voc5"),
         ["settings: encoder small for resnet101"]),
    ],
)  # fmt: skip
def test_what_stands_between_two_numbers(change: dict[str, Any], value: tuple[str, ...], why: list[str]) -> None:
    assert reasons(group_of(**change), value_of(*value)) == why


def test_what_a_paper_leaves_open_is_told_and_is_no_reason() -> None:
    assert unstated(value_of("RPN", "voc5")) == ["at which size labels are scored"]
    assert unstated(value_of("ZS3Net", "voc5")) == []
    assert unstated(value_of("ViL-Seg", "voc5", "not stated")) == [
        "which names compete",
        "at which size labels are scored",
    ]


# the page


def test_every_measured_number_is_one_of_the_tables(home: Path) -> None:
    board = board_of(home)
    cells = {run.key: run_row(run) for run in board.runs}
    page = Page(rendered(board))
    assert len(page.numbers) >= 4 * 3
    for number in page.numbers:
        values = [cells[key][number.column] for key in number.keys]
        joined = {"": sum(values) / len(values), "min": min(values), "max": max(values)}[number.of]
        assert number.value == pytest.approx(joined, abs=1e-6) and number.printed == f"{100 * joined:.1f}"


def test_printed_numbers_keep_their_digits_and_their_source(home: Path) -> None:
    said = words(rendered(board_of(home)))
    for number in ("77.30", "17.65", "28.74", "34.42", "27.40", "26.10"):
        assert number in said
    assert "the README of CaGNet, version 2" in said and "ViL-Seg (ECCV 2022)" in said
    assert "h 26.10 does not follow from S 78.00 and U 15.63, which give 26.04" in said
    assert "mIoU 61.64 does not follow from S 77.30 of 15 and U 17.65 of 5 classes, which give 62.39" in said


def test_drawn_scenes_never_stand_open_beside_photographs(home: Path) -> None:
    board = board_of(home)
    text = rendered(board)
    folded = "".join(re.findall(r"<details>.*?</details>", text, flags=re.S))
    if board.kind == "drawn":
        assert "They share the split's class names and nothing that a score depends on" in words(text)
        assert folded.count("<table") == text.count("<table") == 3
        assert all("drawn scenes, no photographs" in line.why for line in (section(board) or pytest.fail("none")).lines)
    else:
        assert text.count("<table") == 3 and folded.count("<table") == 2
        assert "nothing that a score depends on" not in words(text)


def test_no_row_is_ordered_by_a_number(home: Path) -> None:
    board = board_of(home)
    swapped = Board(tuple(reversed(board.groups)))
    one, two = (section(b) for b in (board, swapped))
    assert one is not None and two is not None
    assert [v.place for v in one.others] == [v.place for v in two.others], "as the files have them"


def test_certainty_is_words_and_a_sign(home: Path) -> None:
    text = rendered(board_of(home))
    marks = re.findall(r'<span class="mark[^"]*"><span aria-hidden="true">(.)</span> ([^<]+)</span>', text)
    assert ("▲", "recalled, not checked") in marks and ("○", "quoted by a later paper") in marks
    assert ("●", "read in the authors' repository") in [(sign, html.unescape(said)) for sign, said in marks]
    page = Page(text)
    assert not page.styled and len(page.ids) == len(set(page.ids))
    assert text.count("<table") == text.count("<caption") and text.count('role="region"') == text.count("aria-label=")


def test_the_same_runs_give_the_same_bytes(home: Path) -> None:
    assert rendered(board_of(home)) == rendered(board_of(home))


def test_text_of_a_users_file_stays_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[1] / "reports" / "published" / "cagnet.toml").read_text()
    evil = EVIL.replace("\\", "\\\\").replace('"', '\\"')
    users = parsed(
        text.replace('row = "SPNet-c"', f'row = "{evil}"\nmethod = "SPNet-c"').replace("Calibrated:", evil),
        "cagnet.toml",
    )
    monkeypatch.setattr(beside, "papers", lambda: (users,))
    edit(write_run(tmp_path / "runs", kind="real", **SPNET_C), method__title=f"SPNet-c {EVIL}")
    said = rendered(board_of(tmp_path))
    assert "<script" not in said and said.count("&lt;script&gt;") >= 3


def words(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())
