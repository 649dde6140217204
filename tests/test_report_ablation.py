"""The ablation section: rows that differ in one setting only, the paper beside them, and why it may not be compared."""

from __future__ import annotations

import html
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from records import clip_seg, kmeans, record, vilseg, write_run
from test_report import EVIL, Page, edit, read_csv, report
from zsbench.reports.ablation import FULL, OFFLINE, WITHOUT, Ablation, ablations, first_table
from zsbench.reports.alike import start_of
from zsbench.reports.boards import Board, boards
from zsbench.reports.clusters import panels
from zsbench.reports.comparable import reasons
from zsbench.reports.groups import Group
from zsbench.reports.ledger import COLUMNS, ledger
from zsbench.reports.ordering import sentence
from zsbench.reports.page import ReportSummary, write_report
from zsbench.reports.published import paper, parsed
from zsbench.reports.read import Run, read_runs

from zsbench.errors import UserError

SEEDS = (0, 1, 2)
WEB, PURGED = "drawn: web", "drawn: web, purged"


def board_of(home: Path) -> Board:
    [board] = boards(read_runs([home / "runs"])[0])
    return board


def only(home: Path) -> Ablation:
    [ablation] = ablations(board_of(home))
    return ablation


def trio(home: Path, levels: tuple[float, float, float] = (0.3, 0.5, 0.8), **shared: Any) -> list[Path]:
    """Runs without vision loss, of K-means and of the full method, at these levels."""
    rows = (vilseg(vision="none"), kmeans(), vilseg())
    return [write_run(home / "runs", level=level, **shared, **row) for level, row in zip(levels, rows, strict=True)]


@pytest.fixture(scope="module")
def ablated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both captions with three seeds, a sweep of both numbers, CLIP + Seg of both captions and of strangers' weights."""
    home = tmp_path_factory.mktemp("ablated")
    for corpus, share in ((WEB, 1.0), (PURGED, 0.2)):
        for seed in SEEDS:
            own = {"corpus": corpus, "seed": seed}
            trio(home, (0.3 * share, 0.5 * share, 0.8 * share), **own)
            write_run(home / "runs", level=0.4 * share, **own, **clip_seg())
            write_run(home / "runs", level=0.45 * share, **own, **kmeans(k=5))
            write_run(home / "runs", level=0.45 * share, **own, **vilseg(clusters=5))
    unknown = clip_seg(pretrained="mine.pt") | {"weights": ("small-vit, mine.pt", "unknown corpus")}
    write_run(home / "runs", level=0.4, corpus=None, **unknown)
    return home


@pytest.fixture(scope="module")
def written(ablated: Path) -> ReportSummary:
    return report(ablated)[0]


@pytest.fixture(scope="module")
def section(written: ReportSummary) -> str:
    text = written.page.read_text()
    return text[text.index('<section id="drawn-voc5-ablation"') : text.index('<section id="drawn-voc5-classes"')]


# rows


def test_rows_are_matched_per_captions(ablated: Path) -> None:
    found = ablations(board_of(ablated))
    assert [ablation.full.captions for ablation in found] == [WEB, PURGED]
    for ablation in found:
        assert [row.name for row in ablation.rows] == [WITHOUT, OFFLINE, FULL]
        assert {row.group.captions for row in ablation.rows if row.group} == {ablation.full.captions}
        assert [row.group.settings for row in ablation.rows if row.group] == ["vision=none", "", ""]
        assert ablation.beside is not None and ablation.beside[1].group is not None
        assert ablation.beside[1].group.captions == ablation.full.captions, "strangers' weights are beside no row"


@pytest.mark.parametrize(
    "change",
    [
        {"method__config__steps": 301},
        {"method__config__encoder": "ViT-B-16"},
        {"supervision__corpus__fingerprint": "other"},
        {"supervision__corpus__policy": "purge"},
        {"supervision__backbone": "small, a file"},
        {"limit": 5, "limited": True},
        {"device": "cuda"},
        {"zsbench": "0.0.9"},
        {"code_sha256": "f" * 64},
        {"code_sha256": None},
    ],
)
@pytest.mark.parametrize("row", [0, 1])
def test_a_row_that_differs_in_more_is_none(tmp_path: Path, row: int, change: dict[str, Any]) -> None:
    folders = trio(tmp_path)
    assert only(tmp_path).rows[row].group is not None
    edit(folders[row], **change)
    assert only(tmp_path).rows[row].group is None


@pytest.mark.parametrize("change", [{"k": 19}, {"mode": "dataset"}, {"features": "clip"}, {"vision": "none"}])
def test_other_kmeans_are_not_the_papers_row(tmp_path: Path, change: dict[str, Any]) -> None:
    folders = trio(tmp_path)
    edit(folders[1], **{f"method__config__{name}": value for name, value in change.items()})
    assert only(tmp_path).row(OFFLINE).group is None


def test_another_source_of_the_same_method_is_no_row(tmp_path: Path) -> None:
    edit(trio(tmp_path)[0], method__source_sha256="f" * 64)
    assert only(tmp_path).row(WITHOUT).group is None


def stages(key: str) -> list[dict[str, Any]]:
    return [{"name": "vilseg", "key": key, "shared": True}]


@pytest.mark.parametrize(
    ("of_kmeans", "of_full", "matched"),
    [
        (stages("aaaaaaaaaaaa"), stages("aaaaaaaaaaaa"), True),
        (stages("aaaaaaaaaaaa"), stages("bbbbbbbbbbbb"), False),
        ([{"name": "clip", "key": "bbbbbbbbbbbb"}], stages("bbbbbbbbbbbb"), False),
        (None, stages("aaaaaaaaaaaa"), False),
        (stages("aaaaaaaaaaaa"), [], False),
        (None, [], True),
    ],
)
def test_kmeans_starts_from_the_full_rows_own_training(
    tmp_path: Path, of_kmeans: Any, of_full: Any, matched: bool
) -> None:
    trio(tmp_path, seed=0)
    _, offline, full = trio(tmp_path, seed=1)
    edit(offline, stages=of_kmeans)
    edit(full, stages=of_full)
    assert (only(tmp_path).row(OFFLINE).group is not None) is matched


def test_clip_seg_of_other_code_or_other_weights_is_beside_no_row(tmp_path: Path) -> None:
    trio(tmp_path)
    clip = write_run(tmp_path / "runs", **clip_seg())
    assert only(tmp_path).beside is not None
    edit(clip, code_sha256="f" * 64)
    assert only(tmp_path).beside is None
    edit(clip, code_sha256=record()["code_sha256"], supervision__backbone_corpus="unknown corpus")
    assert only(tmp_path).beside is None


def test_of_several_rules_the_default_stands_beside_vilseg_and_is_named(tmp_path: Path) -> None:
    trio(tmp_path)
    for rule, level in (("kk+gauss", 0.9), ("value", 0.4), ("qq", 0.1)):
        write_run(tmp_path / "runs", level=level, **clip_seg(attention=rule))
    ablation = only(tmp_path)
    assert ablation.beside is not None and ablation.beside[1].group is not None
    assert ablation.beside[1].group.settings == "attention=value"
    assert "CLIP + Seg on the same captions (attention=value)" in sentence(ablation.orderings[-1])


def test_runs_of_two_codes_are_two_groups_told_apart(tmp_path: Path) -> None:
    for seed in SEEDS:
        folder = write_run(tmp_path / "runs", seed=seed, **vilseg())
    write_run(tmp_path / "runs", **kmeans())
    before = board_of(tmp_path)
    assert all(before.apart(group) == [] for group in before.groups)
    edit(folder, code_sha256="1a2b3c4d5e6f" + "0" * 52)
    board = board_of(tmp_path)
    told = {group.first.key: (group.seeds, board.apart(group)) for group in board.groups if group.title == "ViL-Seg"}
    assert sorted(told.values()) == [([0, 1], ["code c0dec0dec0de"]), ([2], ["code 1a2b3c4d5e6f"])]
    assert [board.apart(group) for group in board.groups if group.title != "ViL-Seg"] == [[]]
    edit(folder, code_sha256=None)
    board = board_of(tmp_path)
    assert ["code –"] in [board.apart(group) for group in board.groups], "an older record is of no known code"
    assert "code –" in report(tmp_path)[1]


def test_of_equal_settings_no_row_is_chosen_by_its_score(tmp_path: Path) -> None:
    """Two editions of K-means with the scores dealt out both ways: the same one is the row."""
    chosen_keys = set()
    for place, levels in enumerate(((0.2, 0.7), (0.7, 0.2))):
        home = tmp_path / str(place)
        trio(home)
        edit(write_run(home / "runs", level=levels[0], **kmeans()), key="aaaaaaaaaaaa")
        other = write_run(home / "other", level=levels[1], **kmeans())
        edit(other, key="bbbbbbbbbbbb", method__source_sha256="f" * 64)
        other.rename(home / "runs" / "other")
        offline = only(home).row(OFFLINE).group
        assert offline is not None and only(home).others == 1
        chosen_keys.add(offline.first.key)
    assert chosen_keys == {"aaaaaaaaaaaa"}


def test_the_row_is_not_chosen_by_its_score(tmp_path: Path) -> None:
    trio(tmp_path)
    write_run(tmp_path / "runs", level=0.9, **kmeans(distance="euclidean"))
    offline = only(tmp_path).row(OFFLINE).group
    assert offline is not None and offline.settings == "" and only(tmp_path).others == 1
    assert "1 more K-means configuration of" in report(tmp_path)[1]


def test_nothing_where_nothing_differs_in_one_setting(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", **vilseg())
    write_run(tmp_path / "runs", **kmeans(features="clip"))
    _, text, _ = report(tmp_path)
    assert not ablations(board_of(tmp_path)) and "-ablation" not in text and "Comparable" not in text


# orderings


def test_an_ordering_that_holds(tmp_path: Path) -> None:
    for seed in SEEDS:
        trio(tmp_path, seed=seed)
    first, second = only(tmp_path).orderings
    assert (first.lower.name, second.lower.name) == (OFFLINE, WITHOUT)
    assert [seed for seed, _ in first.pairs] == [0, 1, 2] and first.mean == pytest.approx(sum(first.gains) / 3)
    said = sentence(first)
    assert "(the paper: +2.64 on PASCAL VOC): holds in 3 of 3 seeds, +" in said and "chance" not in said
    assert "(the paper: +11.56 on PASCAL VOC)" in sentence(second)


def test_an_ordering_that_does_not_hold_says_so_with_figures(tmp_path: Path) -> None:
    for seed in SEEDS:
        trio(tmp_path, (0.9, 0.1 if seed else 0.95, 0.5), seed=seed)
    first, second = map(sentence, only(tmp_path).orderings)
    assert re.search(
        r"does not hold in every seed: above in 2 of 3 seeds, \+[\d.]+ points on average \(−.* to \+", first
    )
    assert re.search(r": does not hold: above in 0 of 3 seeds, −.*; \d+\.\d \(.*\) against \d+\.\d \(", second)


def test_only_common_seeds_are_paired(tmp_path: Path) -> None:
    for seed in SEEDS:
        write_run(tmp_path / "runs", level=0.8, seed=seed, **vilseg())
    write_run(tmp_path / "runs", level=0.2, seed=1, **kmeans())
    write_run(tmp_path / "runs", level=0.2, seed=7, **vilseg(vision="none"))
    first, second = only(tmp_path).orderings
    assert [seed for seed, _ in first.pairs] == [1] and "holds in 1 of 1 seed, +" in sentence(first)
    assert second.pairs == [] and "cannot be paired, no seed was run for both" in sentence(second)


def test_an_order_of_two_guesses_is_called_that(tmp_path: Path) -> None:
    trio(tmp_path, (0.02, 0.02, 0.02), width=0.2)
    assert all(sentence(one).endswith("; neither is clear of chance.") for one in only(tmp_path).orderings)


def test_limited_rows_are_called_limited(tmp_path: Path) -> None:
    trio(tmp_path, limit=8)
    assert "limited runs, not for ranking; holds" in sentence(only(tmp_path).orderings[0])


def test_clip_seg_is_held_against_table_one(ablated: Path) -> None:
    said = sentence(ablations(board_of(ablated))[0].orderings[2])
    assert said.startswith(
        "ViL-Seg above CLIP + Seg on the same captions, encoders small and small-vit (the paper: +7.02"
    )


def test_the_terminal_gets_three_lines_at_most(written: ReportSummary) -> None:
    text = written.text
    lines = text[text.index("all 20 compete\n") :].split("\n\n")[0].splitlines()[1:]
    assert len(lines) == 3 and "Online clusters above" in lines[0] and lines[2] == "  (drawn: web; 1 more on the page)"


# comparable


def a_real_run(**choices: Any) -> Group:
    """A run that the paper's Table 2 could be compared with."""
    split = {"unseen": [*record()["split"]["seen"], *record()["split"]["unseen"]], "seen": [], "split": "voc20"}
    made = deepcopy(record(kind="real", **chosen(vilseg()) | split))
    made["method"]["config"]["encoder"] = "ViT-B-16"
    made["method"]["departures"] = [{"field": "pool", "paper": None, "value": "avg", "reason": "not given"}]
    made["supervision"]["corpus"] |= {"name": "cc12m.tsv", "pairs": 9_000_000}
    for path, value in choices.items():
        *steps, last = path.split("__")
        inner = made
        for step in steps:
            inner = inner[step]
        inner[last] = value
    return Group((Run(Path(), "x", made),))


TABLE_2 = paper("vilseg").find("Table 2", FULL, "voc2012")
TABLE_1 = paper("vilseg").find("Table 1", "ViL-Seg", "voc2012")


def test_a_run_that_may_be_compared() -> None:
    assert TABLE_2 is not None and reasons(a_real_run(), TABLE_2) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data__kind": "drawn"}, "drawn scenes, no photographs"),
        ({"scores__unseen__candidates": ["cow"] * 5}, "5 names compete, in the paper 20"),
        ({"scores__all__candidates": ["cow"] * 21}, "21 names in all, in the paper 20"),
        ({"supervision__corpus__name": "laion"}, "trained on laion, in the paper on CC12M"),
        ({"supervision__corpus__policy": "purge"}, "captions after the policy “purge”, in the paper as they are"),
        ({"supervision__corpus__pairs": 1000}, "1,000 training captions, in the paper 12,000,000"),
        ({"supervision__corpus__pairs": None}, "the number of training captions is not recorded"),
        ({"supervision__backbone_corpus": "LAION-2B"},
         "starts from weights trained on LAION-2B, the paper's from CC12M alone"),
        ({"supervision__backbone_corpus": ""}, "starts from weights trained on unknown corpus, the paper's from CC12M alone"),
        ({"method__config__encoder": "small"}, "encoder small, in the paper ViT-B-16"),
        ({"method__config__encoder": "ViT-B-16-plus-240"}, "encoder ViT-B-16-plus-240, in the paper ViT-B-16"),
        ({"method__config__encoder": "ViT-B-16-SigLIP"}, "encoder ViT-B-16-SigLIP, in the paper ViT-B-16"),
        ({"method__config__clusters": 25}, "25 clusters, in the paper 20"),
        ({"method__config__clusters": None}, "no recorded number of clusters, in the paper 20"),
        ({"method__config__pretrained": "captions", "supervision__backbone_corpus": "unknown corpus"},
         "starts from weights trained on unknown corpus, the paper's from CC12M alone"),
        ({"method__config__self_training": 2}, "2 rounds of self-training, in the paper none"),
        ({"data__parts__val__scored": 64, "limited": True}, "64 of 1,449 images scored"),
        ({"limited": True}, "limited: 1,449 images, the protocol has more"),
        ({"method__departures": [{"field": "batch", "paper": 768, "value": 64}, {"field": "st_lr", "paper": 1, "value": 2}]},
         "settings: batch 64 for 768"),
    ],
)  # fmt: skip
def test_every_reason_is_a_fact_of_the_record(change: dict[str, Any], why: str) -> None:
    assert TABLE_2 is not None and reasons(a_real_run(**change), TABLE_2) == [why]


def test_the_quickgelu_tower_is_the_papers() -> None:
    assert TABLE_2 is not None and reasons(a_real_run(method__config__encoder="ViT-B-16-quickgelu"), TABLE_2) == []


@pytest.mark.parametrize(
    "name",
    [
        "cc12m", "CC12M.tsv", "cc-12m.jsonl", "cc12m-train.tsv", "cc12m_v2.csv", "/data/cc12m/", "cc12m/*.tar",
        "/data/cc12m/{00000..01242}.tar", "cc12m-train-{0000..2175}.tar", "cc12m/train/shard-00001.tar",
        "C:\\data\\cc12m\\00000.tar", "hf:someone/cc12m-wds:default:train",
    ],
)  # fmt: skip
def test_names_of_the_papers_captions(name: str) -> None:
    assert TABLE_2 is not None and reasons(a_real_run(supervision__corpus__name=name), TABLE_2) == []


@pytest.mark.parametrize(
    "name",
    [
        "blip-recaptioned-cc12m-and-coco.tsv", "cc12m-recaptioned.tsv", "recaptioned-cc12m.tsv", "cc12m+coco.tsv",
        "cc12m/recaptioned/{00000..01242}.tar", "cc12m2.tsv", "mycc12m.tsv", "cc12m, purged",
        "hf:someone/cc12m:recaptioned:train", "cc12m-übersetzt.tsv", "cc12m-翻译.tsv",
    ],
)  # fmt: skip
def test_names_of_something_else_made_of_the_papers_captions(name: str) -> None:
    corpus = {"supervision__corpus__name": name, "supervision__corpus__policy": "as-is"}
    why = f"trained on {name}, in the paper on CC12M, which its name does not show to be the same"
    assert TABLE_2 is not None and reasons(a_real_run(**corpus), TABLE_2) == [why]


def test_purged_captions_of_the_paper_are_told_by_their_policy() -> None:
    corpus = {"supervision__corpus__name": "cc12m.tsv, purged", "supervision__corpus__policy": "purge"}
    told = ["captions after the policy “purge”, in the paper as they are"]
    assert TABLE_2 is not None and reasons(a_real_run(**corpus), TABLE_2) == told


def test_kmeans_has_two_numbers_of_clusters() -> None:
    value = paper("vilseg").find("Table 2", OFFLINE, "voc2012")
    own = {"method__name": "kmeans", "method__config__features": "vilseg", "method__config__k": 20}
    assert value is not None and reasons(a_real_run(**own), value) == []
    trained = own | {"method__config__clusters": 25}
    assert reasons(a_real_run(**trained), value) == ["encoder trained with 25 clusters, in the paper 20"]
    assert reasons(a_real_run(**trained | {"method__config__features": "clip"}), value) == [], "no head trained it"
    cut = reasons(a_real_run(**own | {"method__config__k": 10}), value)
    assert cut == ["10 clusters, in the paper 20"]


def test_table_one_does_not_say_which_names_compete() -> None:
    assert TABLE_1 is not None
    found = reasons(a_real_run(), TABLE_1)
    assert found == ["the paper does not say which names compete", "15 of 20 unseen classes are not the paper's"]


def test_attention_rules_the_paper_cannot_mean() -> None:
    value = paper("vilseg").find("Table 1", "CLIP + Seg", "voc2012")
    assert value is not None
    for rule, refused in (("plain", False), ("value", False), ("qq+kk", True)):
        found = reasons(a_real_run(method__config__attention=rule), value)
        assert (f"attention rule {rule}, in the paper plain or value" in found) is refused
        assert "the paper does not say what its CLIP was trained on" in found


def test_what_speaks_against_all_rows_is_said_once(section: str) -> None:
    said = " ".join(html.unescape(section).split())
    table = said[said.index("<table") : said.index("</table>")]
    assert table.count("drawn scenes, no photographs") == 1 and table.count("not comparable") == 3
    assert "5 names compete, in the paper 20" in table and "comparable</span>" in table
    assert all(f">{printed}<" in table.replace(" ", "") for printed in ("33.61", "30.97", "22.05", "75.97"))


# published numbers


def test_published_numbers_are_the_papers() -> None:
    values = {(v.protocol.table, v.row, v.protocol.data): (v.miou, v.pixel_accuracy) for v in paper("vilseg").values}
    assert len(values) == 18
    assert values["Table 1", "CLIP + Seg", "COCO-Stuff"] == (0.132, 0.2875)
    assert values["Table 1", "ViL-Seg", "PASCAL Context"] == (0.1632, 0.4564)
    assert values["Table 2", OFFLINE, "PASCAL VOC"] == (0.3097, 0.6988)
    assert paper("vilseg").find("Table 2", FULL, "no-such-data") is None
    assert any("33 classes" in note for note in paper("vilseg").notes_for("context59"))
    assert not any("33 classes" in note for note in paper("vilseg").notes_for("voc2012"))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("34.42, 76.03", "134.42, 76.03", "in per cent"),
        ("34.42, 76.03", "34.42", "in per cent"),
        ('"PASCAL VOC" = [34.42', '"KITTI" = [34.42', "no protocol describes"),
        ("names = [171, 183]", "names = [183, 171]", "lowest, highest"),
        ('captions = "CC12M"', "captions = 12", "'protocol\\[0\\].captions' is 12, expected text"),
        ("[[row]]", "[[row]", "no TOML"),
    ],
)
def test_a_file_that_says_something_else_is_refused(old: str, new: str, why: str) -> None:
    text = (Path(__file__).parents[1] / "reports" / "published" / "vilseg.toml").read_text()
    assert old in text and parsed(text, "x").values
    with pytest.raises(UserError, match=f"x: .*{why}"):
        parsed(text.replace(old, new, 1), "x")


# the number of clusters


def test_lines_over_the_number_of_clusters(ablated: Path, section: str) -> None:
    found = panels(board_of(ablated))
    assert [panel.group.captions for panel in found] == [WEB, PURGED]
    for panel in found:
        assert [(line.field, [number for number, _ in line.points]) for line in panel.lines] == [
            ("clusters", [5, 20]), ("k", [5, 20]),
        ]  # fmt: skip
        assert all(len(group.runs) == 3 for line in panel.lines for _, group in line.points)
    assert section.count('id="drawn-voc5-clusters"') == 1 and "prints no values, so none stand here" in section
    assert section.count("Unseen-only mIoU over the number of clusters. ViL-Seg") == 2


@pytest.mark.parametrize(
    "change", [{"method__config__steps": 9}, {"supervision__corpus__fingerprint": "x"}, {"device": "cuda"}]
)
def test_no_line_where_more_than_the_number_differs(tmp_path: Path, change: dict[str, Any]) -> None:
    write_run(tmp_path / "runs", **kmeans())
    other = write_run(tmp_path / "runs", **kmeans(k=5))
    assert len(panels(board_of(tmp_path))) == 1 and "-clusters" in report(tmp_path)[1]
    edit(other, **change)
    assert not panels(board_of(tmp_path)) and "-clusters" not in report(tmp_path)[1]


# page and file


def test_every_number_of_the_section_stands_in_a_file(written: ReportSummary, section: str) -> None:
    runs = {row["key"]: row for row in read_csv(written.tables["runs.csv"])}
    join = {"": lambda v: sum(v) / len(v), "min": min, "max": max}
    numbers = Page(section).numbers
    assert {"parameters_at_inference", "images_per_second", "unseen_only_miou"} <= {one.column for one in numbers}
    for one in numbers:
        values = [float(runs[key][one.column]) for key in one.keys if runs[key][one.column]]
        assert join[one.of](values) == pytest.approx(one.value, abs=1.01e-6), one


def test_differences_in_the_file_are_those_of_the_page(ablated: Path, written: ReportSummary) -> None:
    rows = [row for row in read_csv(written.tables["ablation.csv"]) if row["set"] == "1"]
    full = {row["seed"]: row for row in rows if row["row"] == FULL and row["origin"] == "here"}
    for name, column in ((OFFLINE, "over_kmeans"), (WITHOUT, "over_without_vision")):
        below = {row["seed"]: row for row in rows if row["row"] == name and row["origin"] == "here"}
        for seed in map(str, SEEDS):
            gain = float(full[seed]["unseen_only_miou"]) - float(below[seed]["unseen_only_miou"])
            assert float(full[seed][column]) == pytest.approx(gain, abs=1e-6)
    first = ablations(board_of(ablated))[0].orderings[0]
    told = [float(full[str(seed)]["over_kmeans"]) for seed in SEEDS]
    assert sum(told) / 3 == pytest.approx(first.mean, abs=1e-6)


def test_published_rows_stand_in_the_file_with_source_and_flag(written: ReportSummary) -> None:
    printed = [row for row in read_csv(written.tables["ablation.csv"]) if row["origin"] == "paper"]
    assert {row["table"] for row in printed} == {"Table 1", "Table 2"}
    for row in printed:
        assert "ECCV 2022" in row["source"] and row["certainty"] and row["comparable"] == "no" and row["why"]
    [one] = [row for row in printed if row["set"] == "1" and row["row"] == FULL]
    assert (one["unseen_only_miou"], one["parameters_at_inference"], one["key"]) == ("0.3361", "86270000", "")


def test_table_one_lists_clip_seg_and_the_full_rows(ablated: Path, section: str) -> None:
    rows = first_table(board_of(ablated))
    assert [row.name for row in rows] == ["CLIP + Seg"] * 3 + ["ViL-Seg"] * 2
    assert "in the form of Table 1" in section and "27.40" in section and "34.42" in section
    assert "weights saw unknown corpus" in section


def test_bars_of_the_rows_side_by_side(section: str) -> None:
    [first, second] = re.findall(r'aria-label="Unseen-only IoU per class of ([^:]*):', section)
    assert first == second == "CLIP + Seg, without vision loss, offline K-means, full"
    assert section.count('class="look"') == 8


def test_outside_text_stays_text(tmp_path: Path) -> None:
    for folder in trio(tmp_path):
        edit(folder, supervision__corpus__name=EVIL, supervision__backbone_corpus=EVIL, method__title=f"ViL-Seg {EVIL}",
             method__config_given={"clusters": 20, "x": EVIL}, method__departures=[{"field": EVIL, "paper": EVIL}])  # fmt: skip
    write_run(tmp_path / "runs", **clip_seg(x="=1+1"))
    edit(write_run(tmp_path / "runs", **clip_seg(y=1)), supervision__corpus__name="=SUM(A1)")
    summary, text, _ = report(tmp_path)
    assert EVIL not in text and "&lt;script&gt;alert(1)" in text and Page(text).tags.count("script") == 1
    assert any(row["captions"] == "'=SUM(A1)" for row in read_csv(summary.tables["ablation.csv"]))


def test_equal_inputs_give_equal_bytes(ablated: Path, written: ReportSummary) -> None:
    one, two = written, write_report([ablated / "runs"], ablated / "two")
    assert one.page.read_bytes() == two.page.read_bytes()
    assert one.tables["ablation.csv"].read_bytes() == two.tables["ablation.csv"].read_bytes()
    page = Page(one.page.read_text())
    assert len(page.ids) == len(set(page.ids)) and not page.styled
    assert all(address[1:] in page.ids for address in page.addresses if address.startswith("#"))


# what leakage is worth, and what the weights saw


@pytest.mark.parametrize("method", [clip_seg, kmeans, vilseg])
def test_as_is_and_purged_captions_are_one_family(tmp_path: Path, method: Any) -> None:
    for corpus in (WEB, PURGED):
        write_run(tmp_path / "runs", corpus=corpus, **method())
    [family] = board_of(tmp_path).pairs
    assert [group.tone for group in family.groups] == ["named", "clean"]
    assert 'id="drawn-voc5-leakage"' in report(tmp_path)[1]


def test_weights_of_the_runs_own_captions_do_not_part_a_family(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", corpus=WEB, **clip_seg())
    other = write_run(tmp_path / "runs", corpus=PURGED, **clip_seg())
    edit(other, supervision__backbone="small-vit, trained on drawn: web, purged")
    assert len(board_of(tmp_path).pairs) == 1
    edit(other, method__config__pretrained="other.pt")
    assert not board_of(tmp_path).pairs, "strangers' weights are no matter of captions"


def chosen(choices: dict[str, Any]) -> dict[str, Any]:
    """What `record` takes of the choices of `write_run`."""
    return {name: value for name, value in choices.items() if name != "pictures"}


def saw(**change: Any) -> tuple[str, str]:
    made = record(**chosen(clip_seg()))
    made["method"]["config"] |= change.pop("config", {})
    made["supervision"] |= change
    marks = dict(zip(COLUMNS, ledger(Group((Run(Path(), "x", made),))), strict=True))
    return marks["which saw"].state, marks["which saw"].words


def test_the_ledger_tells_what_the_weights_saw() -> None:
    purged = record(corpus=PURGED)["supervision"]["corpus"]
    other = {"config": {"pretrained": "mine.pt"}, "corpus": None, "backbone": "small-vit, mine.pt"}
    assert saw() == ("warned", f"this run's captions: {WEB}")
    assert saw(corpus=purged) == ("used", f"this run's captions: {PURGED}")
    assert saw(backbone_corpus="unknown corpus", **other) == ("warned", "unknown corpus")
    assert saw(backbone_corpus="", **other) == ("warned", "not stated"), "nobody's word is not nothing"
    assert saw(backbone_corpus="LAION-2B", **other) == ("used", "LAION-2B")
    assert saw(backbone_corpus="unknown corpus") == ("warned", "unknown corpus"), (
        "trained on captions, but not on these alone"
    )


def test_unknown_weights_never_look_clean(tmp_path: Path) -> None:
    weights = clip_seg(pretrained="mine.pt") | {"weights": ("small-vit, mine.pt", "unknown corpus")}
    write_run(tmp_path / "runs", corpus=None, **weights)
    summary, text, rows = report(tmp_path)
    assert '<span class="mark wrap named"><span aria-hidden="true">▲</span> weights saw unknown corpus' in text
    assert (
        "none; weights saw unknown corpus" in summary.text and "nobody knows whether that names unseen classes" in text
    )
    assert rows[0]["weights_corpus"] == "unknown corpus"


def test_strangers_weights_trained_further_on_the_runs_captions_are_told(tmp_path: Path) -> None:
    own = write_run(tmp_path / "runs", **clip_seg())
    [group] = board_of(tmp_path).groups
    assert group.weights == "" and start_of(group.first) == ""
    edit(own, supervision__backbone="local-dir:mine, then CLIP's loss", supervision__backbone_corpus="unknown corpus")
    [group] = board_of(tmp_path).groups
    assert group.weights == "unknown corpus" and start_of(group.first) == "local-dir:mine, then CLIP's loss"
    assert "weights saw unknown corpus" in report(tmp_path)[1]


def test_prompts_and_attention_stand_with_the_run(tmp_path: Path) -> None:
    told = {"template": "80 templates", "templates": ["a {}."] * 80, "words": {}, "unused_words": [], "rule": "max",
            "prompts": None, "count": 1600, "sha256": "abcdef0123456789"}  # fmt: skip
    stages = [{"name": "clip", "key": "5e9a2c3d4f10", "seconds": 10.0, "steps": 400, "shared": True}]
    edit(write_run(tmp_path / "runs", **clip_seg()), prompts=told, stages=stages)
    _, text, rows = report(tmp_path)
    assert "80 templates, 1,600 in all, synonyms: max, sha256 <code>abcdef012345</code>" in text
    assert "attention rule of the last block</dt><dd>value" in text and "stage clip, made once for several runs" in text
    assert (rows[0]["prompts"], rows[0]["attention"]) == ("80 templates", "value")


@pytest.mark.parametrize("broken", [{"templates": 80}, {"count": -1}, {"prompts": "x"}, {"words": {"cow": "ox"}}])
def test_malformed_prompts_leave_the_run_out(tmp_path: Path, broken: dict[str, Any]) -> None:
    edit(write_run(tmp_path / "runs"), prompts=broken)
    summary, _, rows = report(tmp_path)
    assert not rows and "'prompts." in summary.left_out[0].why
