"""Rounds, calibration, class vectors and stages on the page: values as in the files, old and hostile records coped with."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from records import VECTORS, record, write_run
from test_report import EVIL, Page, check_numbers, edit, read_csv, report
from zsbench.reports.boards import Group, boards
from zsbench.reports.calibration import curves
from zsbench.reports.ledger import COLUMNS, Mark, ledger
from zsbench.reports.read import Run, read_runs
from zsbench.reports.rounds import courses
from zsbench.reports.verdict import verdict

GENERATIVE: dict[str, Any] = {"method": "zs-mmd", "title": "Recursive ZS-MMD", "corpus": None, "pictures": 0}


@pytest.fixture(scope="module")
def generative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds with rounds and a calibration, one run with a control's vectors, and one of a method with neither."""
    home = tmp_path_factory.mktemp("generative")
    for seed in (0, 1, 2):
        write_run(home / "runs", seed=seed, rounds=2, gamma=0.1, vectors="factor", stages=True, **GENERATIVE)
    control = GENERATIVE | {"given": {"vectors": "random"}}
    write_run(home / "runs", rounds=2, gamma=0.0, vectors="random", level=0.2, **control)
    write_run(home / "runs", pictures=0)
    return home


def records(home: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(home.rglob("record.json"))]


def test_numbers_of_all_sections_stand_in_the_files(generative: Path) -> None:
    summary, text, _ = report(generative)
    page = Page(text)
    check_numbers(page, summary)
    shown = {(number.column, number.form) for number in page.numbers if number.file == "rounds"}
    assert {("gain", "signed"), ("pixels", "whole"), ("purity", ""), ("all_unseen_miou", "")} <= shown
    assert any(number.rows["class"] == "sheep" for number in page.numbers if number.file == "rounds")
    assert any(number.column == "calibration_area" for number in page.numbers)
    assert {f"drawn-voc5-{part}" for part in ("rounds", "calibration")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids)) and not page.styled
    assert all(address[1:] in page.ids for address in page.addresses if address.startswith("#"))


def test_gains_are_paired_per_seed(generative: Path) -> None:
    [board] = boards(read_runs([generative / "runs"])[0])
    course = next(course for course in courses(board) if len(course.group.runs) == 3)
    paired = []
    for run in course.group.runs:
        unseen = [state["scores"]["all"]["unseen"]["miou"] for state in run.get("rounds")]
        paired.append(unseen[-1] - unseen[0])
    gain = course.states[-1].score("gain")
    assert gain.value == pytest.approx(sum(paired) / 3, abs=1e-6) and gain.runs == 3
    assert (gain.low, gain.high) == (pytest.approx(min(paired), abs=1e-6), pytest.approx(max(paired), abs=1e-6))
    assert course.states[0].score("gain").value == 0
    text = report(generative)[0].text
    assert f"zs-mmd: round 2 over round 0: unseen +{100 * gain.value:.1f} (+{100 * min(paired):.1f} to" in text
    assert len(re.findall("round 2 over round 0", text)) == 2, "one line per configuration with rounds"


def test_purity_is_right_over_selected(generative: Path) -> None:
    rows = read_csv(report(generative)[0].tables["rounds.csv"])
    for made in records(generative):
        states = made.get("rounds") or []
        own = [row for row in rows if row["key"] == made["key"]]
        assert len(own) == sum(1 + len((state["selected"] or {}).get("classes", {})) for state in states)
        for number, state in enumerate(states):
            whole = next(row for row in own if row["round"] == str(number) and not row["class"])
            if state["selected"] is None:
                assert whole["pixels"] == whole["purity"] == ""
                continue
            counts = state["selected"]["classes"]
            pixels, correct = (sum(one[name] for one in counts.values()) for name in ("pixels", "correct"))
            assert int(whole["pixels"]) == pixels and float(whole["purity"]) == round(correct / pixels, 6)
            sheep = next(row for row in own if row["round"] == str(number) and row["class"] == "sheep")
            assert float(sheep["purity"]) == round(counts["sheep"]["correct"] / counts["sheep"]["pixels"], 6)


def test_what_is_said_of_rounds(generative: Path) -> None:
    said = html.unescape(report(generative)[1])
    assert "Round 0 is the baseline from the same stage 1" in said
    assert "diagnosis with the truth, after training; it chose nothing" in said


def test_every_gamma_stands_in_its_file(generative: Path) -> None:
    summary, _, rows = report(generative)
    found = read_csv(summary.tables["calibration.csv"])
    for made in records(generative):
        told = made["calibration"]
        own = [row for row in found if row["key"] == made["key"]]
        [run] = [row for row in rows if row["key"] == made["key"]]
        if told is None:
            assert not own and run["calibration_area"] == run["calibration_gamma"] == ""
            continue
        assert [float(row["gamma"]) for row in own] == told["gammas"]
        assert [float(row["all_unseen_miou"]) for row in own] == [round(value, 6) for value in told["unseen"]]
        assert [row["gamma"] for row in own if row["used"] == "yes"] == [str(told["gamma"])]
        assert float(run["calibration_area"]) == round(told["area"], 6)


def test_mean_curves_skip_gammas_that_a_seed_lacks(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / "runs", seed=seed, gamma=0.0, **GENERATIVE)
    holed = write_run(tmp_path / "runs", seed=2, gamma=0.0, **GENERATIVE)
    unseen = json.loads((holed / "record.json").read_text())["calibration"]["unseen"]
    edit(holed, calibration__unseen=[None, *unseen[1:]])
    [curve] = curves(boards(read_runs([tmp_path / "runs"])[0])[0])
    mean = curve.mean("all_unseen_miou")
    assert mean[0] is None and len(curve.balance) == len(mean) - 1
    column = [one["calibration"]["unseen"][7] for one in records(tmp_path)]
    assert mean[7] == pytest.approx(sum(column) / 3, abs=1e-6)


def test_seeds_with_other_gammas_meet_where_both_have_one(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", gamma=0.0, **GENERATIVE)
    other = {"gammas": [0.0], "seen": [0.4], "unseen": [0.2], "harmonic": [0.27], "area": None, "gamma": 0.0}
    edit(write_run(tmp_path / "runs", seed=1, gamma=0.0, **GENERATIVE), calibration=other)
    [curve] = curves(boards(read_runs([tmp_path / "runs"])[0])[0])
    assert len(curve.runs) == 2 and curve.gammas == [0.0]
    at_zero = read_runs([tmp_path / "runs"])[0][0].record["calibration"]
    seen = [run.record["calibration"]["seen"][0] for run in curve.runs]
    assert 0.4 in seen and at_zero["gammas"][0] == 0
    assert curve.mean("all_seen_miou") == [pytest.approx(sum(seen) / 2)]
    assert report(tmp_path)[0].runs == 2


@pytest.mark.parametrize("how", ["missing", "null", "empty"])
def test_records_without_the_new_fields(tmp_path: Path, how: str) -> None:
    folder = write_run(tmp_path / "runs")
    made = json.loads((folder / "record.json").read_text())
    for name, empty in (("rounds", []), ("calibration", None), ("stages", [])):
        made[name] = empty if how == "empty" else None
        if how == "missing":
            del made[name]
    if how == "missing":
        del made["supervision"]["vectors"]
    (folder / "record.json").write_text(json.dumps(made))
    summary, text, [row] = report(tmp_path)
    assert not summary.left_out and "drawn-voc5-rounds" not in text and "drawn-voc5-calibration" not in text
    assert [row[name] for name in ("vectors", "vectors_control", "vectors_leak", "rounds", "stage")] == [""] * 5
    assert "sweep-" not in text and "Gain per round" not in text
    assert len(read_csv(summary.tables["rounds.csv"])) == len(read_csv(summary.tables["calibration.csv"])) == 0


def test_one_round_is_no_course(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", rounds=1, **GENERATIVE)
    edit(folder, rounds=json.loads((folder / "record.json").read_text())["rounds"][1:])
    assert "drawn-voc5-rounds" not in report(tmp_path)[1]


STATE = {"miou": 0.2, "interval": None}
SCORES = {"unseen": STATE, "all": {"seen": STATE, "unseen": STATE, "harmonic": STATE}}
PICKED = {"pixels": 5, "correct": 4, "outside": 2, "truth": 9}


def chosen(**counts: Any) -> dict[str, Any]:
    return {"name": "round 1", "scores": SCORES, "selected": {"door": "unlabelled", "images": 3, "classes": counts}}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rounds": {}}, "'rounds' is {}, expected a list"),
        ({"rounds": [{"name": 3, "scores": SCORES}]}, r"'rounds\[0\].name' is 3, expected text"),
        ({"rounds": [{"name": "x", "scores": {"unseen": STATE}}]}, r"'rounds\[0\].scores.all' is missing"),
        ({"rounds": [{"name": "x", "scores": SCORES | {"unseen": {"miou": 40}}}]}, "from 0 to 1"),
        ({"rounds": [{"name": "x", "scores": SCORES | {"unseen": {"miou": 0.1, "interval": [1, 0]}}}]}, "low, high"),
        ({"rounds": [chosen(sheep=PICKED | {"pixels": -1})]}, "sheep.pixels' is -1, expected a count"),
        ({"rounds": [chosen(sheep=PICKED)]}, "more pixels right or outside than were selected"),
        ({"rounds": [{"name": "x", "scores": SCORES}]}, "both tell the final state"),
        ({"calibration__gammas": [0.0]}, "'calibration.seen' has 22 values for 1 gammas"),
        ({"calibration__gamma": "0"}, "'calibration.gamma' is '0', expected a number"),
        ({"calibration__gamma": -1e308}, "gammas beyond 100"),
        ({"calibration__area": 7.7}, "'calibration.area' is 7.7, expected a number from 0 to 1"),
        ({"supervision__vectors": "factor"}, "'supervision.vectors' is 'factor', expected an object"),
        ({"supervision__vectors": {"source": "x"}}, "'supervision.vectors.leaks' is missing"),
        ({"stages": [{"name": "x"}]}, r"'stages\[0\].key' is missing"),
    ],
)
def test_malformed_additions_are_left_out_by_name(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    edit(write_run(tmp_path / "runs", rounds=1, gamma=0.0, vectors="factor", **GENERATIVE), **change)
    summary, _, rows = report(tmp_path)
    assert not rows and re.search(why, summary.left_out[0].why), summary.left_out


def test_outside_text_in_the_new_sections_stays_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", rounds=1, gamma=0.0, vectors="factor", stages=True, unseen=[EVIL, "a", "$x^"],
                       given={"x": EVIL}, **GENERATIVE | {"title": EVIL})  # fmt: skip
    made = json.loads((folder / "record.json").read_text())
    states = [state | {"name": f"\x1b[31m{EVIL}"} for state in made["rounds"]]
    states[1]["selected"]["door"] = EVIL
    stage = made["stages"][0] | {"name": EVIL, "key": EVIL}
    told = {"source": EVIL, "corpus": EVIL, "leaks": True, "control": EVIL, "words": {EVIL: EVIL}}
    edit(folder, rounds=states, stages=[stage], supervision__vectors=told, supervision__backbone_corpus=EVIL)
    curve = [{"stage": EVIL, "step": 1, EVIL: 2.0}, {"stage": "x", "step": 1, "loss": 1.0}]
    (folder / "curves.jsonl").write_text("\n".join(map(json.dumps, curve)))
    summary, text, _ = report(tmp_path)
    assert EVIL not in text and Page(text).tags.count("script") == 1
    check_numbers(Page(text), summary)
    assert "\x1b" not in summary.text


def marks(**supervision: Any) -> dict[str, Mark]:
    made = record(corpus=None)
    made["supervision"] |= supervision
    return dict(zip(COLUMNS, ledger(Group((Run(Path(), "x", made),))), strict=True))


def test_class_vectors_in_the_ledger() -> None:
    assert marks()["Class vectors"] == Mark("free", "none")
    assert marks(vectors=VECTORS["factor"])["Class vectors"].state == "used"
    control = marks(vectors=VECTORS["random"])["Class vectors"]
    assert (control.state, control.words) == ("used", "control: random")
    leaking = marks(vectors=VECTORS["clip"])["Class vectors"]
    assert (leaking.state, leaking.words) == ("warned", "clip:ViT-B-32") and "unseen classes included" in leaking.more
    mixed = marks(vectors=VECTORS["clip"] | {"source": "permuted:clip:X", "control": "permuted"})["Class vectors"]
    assert (mixed.state, mixed.words) == ("warned", "control: permuted") and "permuted:clip:X" in mixed.more


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("nothing", "free"),
        ("ImageNet-1k", "used"),
        ("LAION-2B", "used"),
        ("unknown corpus", "warned"),
        ("ImageNet-1k: labels of unseen classes included", "warned"),
        ("ImageNet-1k: 1,000 labelled classes, among them kinds of the unseen ones", "warned"),
        ("ImageNet-1k without the unseen classes", "used"),
        ("ImageNet-1k, no unseen classes", "used"),
        ("ImageNet-1k without segmentation masks, unseen classes included", "warned"),
    ],
)
def test_a_backbone_that_saw_unseen_classes_is_warned_of(words: str, state: str) -> None:
    assert marks(backbone_corpus=words)["which saw"].state == state


def test_vectors_and_stages_in_the_run_table(generative: Path) -> None:
    _, text, rows = report(generative)
    found = {(row["vectors"], row["vectors_control"], row["vectors_leak"], row["rounds"], row["stage"]) for row in rows}
    assert found == {("factor", "", "no", "3", "5e9a2c3d4f10"), ("random", "random", "no", "3", ""), ("",) * 5}
    assert "made once for several runs" in text and "900 steps" in text


def test_files_of_one_name_and_other_content_are_told_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", vectors="factor", **GENERATIVE)
    edit(write_run(tmp_path / "runs", vectors="factor", seed=1, **GENERATIVE), supervision__vectors__sha256="ef" * 32)
    [board] = boards(read_runs([tmp_path / "runs"])[0])
    facts = {fact for group in board.groups for fact in board.apart(group)}
    assert len(board.groups) == 2 and len(board.families) == 2, "no leakage comparison of two kinds of vectors"
    assert facts == {"vectors factor (abababababab)", "vectors factor (efefefefefef)"}


def test_the_verdict_warns_of_leaking_vectors_and_controls(tmp_path: Path) -> None:
    for name, words in (("clip", "not a zero-shot score"), ("random", "are a control (random)")):
        write_run(tmp_path / name, vectors=name, **GENERATIVE)
        [board] = boards(read_runs([tmp_path / name])[0])
        assert words in " ".join(verdict(board))


def test_stage_folders_are_no_runs(tmp_path: Path) -> None:
    write_run(tmp_path / "runs")
    stage = tmp_path / "runs" / "stages" / "segmentation-5e9a2c3d4f10"
    stage.mkdir(parents=True)
    (stage / "curves.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    assert [item.place for item in report(tmp_path)[0].left_out] == ["runs/stages/segmentation-5e9a2c3d4f10"]
    (stage / "stage.json").write_text("{}")
    assert not report(tmp_path)[0].left_out


def test_every_stage_keeps_a_curve(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", **GENERATIVE)
    stages = ["segmentation", "generate", "round-1", "self-training-1", "round-2"]
    lines = [{"stage": stage, "step": step, "lr": 0.1, "loss": 1.0, "loss_mmd": 0.5, "z": 1.0, "a": 2.0}
             for stage in stages for step in (0, 5)]  # fmt: skip
    (folder / "curves.jsonl").write_text("\n".join(map(json.dumps, lines)))
    text = html.unescape(report(tmp_path)[1])
    titles = re.findall(r"<figcaption>(\w+ · [\w-]+) ", text)
    assert len(titles) == 12 and "13 more meters" in text
    assert [title for title in titles if title.startswith("loss ·")] == [f"loss · {stage}" for stage in stages]
    assert [title.split(" · ")[1] for title in titles] == sorted((t.split(" · ")[1] for t in titles), key=stages.index)


def test_equal_records_give_equal_bytes(generative: Path) -> None:
    first = report(generative)[0].page.read_bytes()
    assert report(generative)[0].page.read_bytes() == first and str(generative).encode() not in first
