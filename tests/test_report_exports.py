"""Tables for other programs, and two runs side by side: right numbers, all of the protocol, and nothing that runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from records import count_images, write_run
from zsbench.reports.boards import boards
from zsbench.reports.diff import _beside, diff, find
from zsbench.reports.exports import as_json, latex, markdown
from zsbench.reports.places import LeftOut
from zsbench.reports.read import read_runs
from zsbench.reports.tables import run_row
from zsbench.reports.verdict import points
from zsbench.reports.views import View, views_of

from zsbench.cli import main
from zsbench.errors import UserError

EVIL = ["<script>alert(1)</script>", "a|b", "[x](http://evil.example)", "=cmd()", "50 % & $x_1$ \\input{y} #"]


def views(root: Path) -> list[View]:
    return views_of(boards(read_runs([root])[0]))


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in (0, 1):
        write_run(tmp_path / "runs", level=0.7, seed=seed, pictures=0)
    write_run(tmp_path / "runs", method="zs3net", title="ZS3Net", corpus=None, level=0.4, pictures=0)
    write_run(tmp_path / "runs", kind="real", level=0.3, limit=32, pictures=0)
    return tmp_path / "runs"


def test_markdown_holds_every_score_with_its_protocol(runs: Path) -> None:
    text = markdown(views(runs), [])
    drawn, real = text.split("\n## ")[1:]
    assert "drawn scenes, no photographs" in drawn and "real photographs" in real and "limited" in real
    for words in ("5 unseen names compete", "all 20 names compete", "background ignore", "400 images of list val"):
        assert words in drawn
    for view in views(runs):
        for group in view.board.groups:
            for column in ("unseen_only_miou", "all_seen_miou", "all_unseen_miou", "all_harmonic_miou"):
                assert f"| {points(group.score(column).value)} " in text
    rows = [line for line in drawn.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2 and len({line.count("|") for line in rows}) == 1
    assert rows[2].startswith("| ViL-Seg") and "captions (names unseen classes)" in rows[2]


def test_names_from_outside_open_nothing_in_markdown_or_latex(tmp_path: Path) -> None:
    for evil in EVIL:
        write_run(tmp_path, title=evil, given={"note": evil}, unseen=[evil, "sheep"], pictures=0)
    left = [LeftOut(EVIL[0], "\x1b[31m|")]
    text = markdown(views(tmp_path), left)
    assert "<script" not in text and "\x1b" not in text and not re.search(r"(?<!\\)\[x(?<!\\)\]", text)
    assert "http:" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) == 1
    tex = latex(views(tmp_path), left)
    assert r"\input{y}" not in tex and r"\textbackslash{}input\{y\}" in tex
    body = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in body}) == 1
    assert not re.search(r"(?<!\\)[$#%](?!\-\$|\\|\s*Needs)", re.sub(r"\$[-\\a-z]*\$|^%.*|\{%$", "", tex, flags=re.M))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles(runs: Path, tmp_path: Path) -> None:
    preamble = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
    (tmp_path / "t.tex").write_text(preamble + latex(views(runs), []) + r"\end{document}")
    subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True)


def test_latex_is_balanced_and_uses_booktabs(runs: Path) -> None:
    tex = latex(views(runs), [])
    for word in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert tex.count(word) == 2
    bare = re.sub(r"\\[{}]", "", tex)
    assert bare.count("{") == bare.count("}")
    assert all(tex.count(rf"\begin{{{name}}}") == tex.count(rf"\end{{{name}}}") for name in ("table", "tabular"))


def test_json_holds_the_rows_of_runs_csv_and_the_groups_numbers(runs: Path) -> None:
    found = views(runs)
    told = json.loads(as_json(found, [LeftOut("x", "why")]))
    assert told["left_out"] == [{"place": "x", "why": "why"}]
    assert [board["data"] for board in told["boards"]] == ["drawn", "real"]
    first = told["boards"][0]["rows"][0]
    own = found[0].board.groups[0]
    assert first["runs"] == json.loads(json.dumps([run_row(run) for run in own.runs]))
    assert first["scores"]["unseen_only_miou"]["value"] == own.score("unseen_only_miou").value
    assert first["ledger"]["Captions"]["state"] == "warned"


def test_the_command_writes_what_is_asked_for_and_the_same_bytes_twice(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    asked = call(runs, "--out", out, "--markdown", "--latex", "--json")
    assert asked.exit_code == 0, asked.output
    names = ("report.md", "report.tex", "report.json", "report.html", "runs.csv")
    before = {name: (out / name).read_bytes() for name in names}
    assert all(str(out / name) in asked.stdout for name in names)
    assert call(runs, "--out", out, "--markdown", "--latex", "--json").exit_code == 0
    assert before == {name: (out / name).read_bytes() for name in names}


def test_csv_alone_makes_no_page(runs: Path, tmp_path: Path) -> None:
    asked = call(runs, "--out", tmp_path / "csv", "--csv")
    assert asked.exit_code == 0, asked.output
    assert (tmp_path / "csv/runs.csv").is_file() and not (tmp_path / "csv/report.html").exists()
    assert "report.html" not in asked.stdout


def test_a_diff_tells_first_what_differs(runs: Path) -> None:
    web, other = (
        run.key for run in read_runs([runs / "voc5"])[0] if run.get("data.kind") == "drawn" and run.get("seed") == 0
    )
    text = diff(web, other, [runs])
    assert text.index("what differs") < text.index("mIoU in %")
    assert re.search(r"method.name +vilseg +→ +zs3net", text) or re.search(r"method.name +zs3net +→ +vilseg", text)
    one, two = find(web, [runs]), find(other, [runs])
    gap = two.get("scores.all.seen.miou") - one.get("scores.all.seen.miou")
    assert f"{100 * gap:+.1f}".replace("-", "−") in next(
        line for line in text.splitlines() if line.startswith("  seen ")
    )


def test_a_run_beside_itself_differs_in_nothing(runs: Path) -> None:
    key = read_runs([runs])[0][0].key
    text = diff(key, key, [runs])
    assert "Nothing that decides a number differs." in text and "No class has another IoU" in text


def test_scores_of_other_pictures_are_not_subtracted(runs: Path) -> None:
    kinds = {run.get("data.kind"): run.key for run in read_runs([runs])[0]}
    text = diff(kinds["drawn"], kinds["real"], [runs])
    assert "no difference is taken" in text and "mIoU in %" not in text


def test_runs_are_found_by_key_beginning_of_a_key_and_folder(runs: Path) -> None:
    run = read_runs([runs])[0][0]
    assert find(run.key, [runs]).key == find(run.key[:9], [runs]).key == find(str(run.folder), []).key == run.key
    with pytest.raises(UserError, match=f"Did you mean '{run.key}'"):
        find(run.key[:-1] + "x", [runs])
    with pytest.raises(UserError, match="holds 4 runs"):
        find(str(runs), [runs])
    broken = run.folder / "record.json"
    broken.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        find(str(run.folder), [runs])


def test_what_nobody_declared_is_not_listed_as_used(runs: Path) -> None:
    folder = write_run(runs, method="theirs", title="Theirs", corpus=None, seed=5, pictures=0)
    record = json.loads((folder / "record.json").read_text())
    record["supervision"] |= dict.fromkeys(("layout", "unlabelled", "backbone", "backbone_corpus"), "not declared")
    record["supervision"] |= {"masks": "seen", "declared_by": "the submitter"}
    (folder / "record.json").write_text(json.dumps(record))
    [row] = [line for line in markdown(views(runs), []).splitlines() if line.startswith("| Theirs")]
    assert row.split("|")[2].strip() == "masks, declared, rest not declared"


def test_the_differences_say_which_seeds_they_are_of(runs: Path, tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        for name, level in (("good", 0.7), ("poor", 0.4)):
            if (seed, name) != (2, "poor"):
                choices = {"method": name, "title": name, "seed": seed, "pictures": 0}
                count_images(write_run(tmp_path / "paired", level=level, **choices), level)
    [row] = [line for line in markdown(views(tmp_path / "paired"), []).splitlines() if line.startswith("| poor")]
    assert row.count("seeds 0, 1") == 2 and "…" in row and row.rstrip(" |").endswith("0, 1")


def test_long_values_are_cut_where_they_differ() -> None:
    one, other = ("x" * 200 + end for end in ("left", "right"))
    left, right = _beside(one, other)
    assert left != right and left.endswith("left") and len(right) < 80
    assert _beside("a" * 300, "a" * 300 + "b")[1].endswith("b") and _beside(None, "a") == ("–", "a")


@pytest.mark.parametrize("option", [["--csv"], ["--markdown"], ["--base", "nope"]])
def test_a_diff_takes_no_other_options(runs: Path, option: list[str]) -> None:
    asked = call(runs, "--diff", "a", "b", *option)
    assert asked.exit_code == 2 and "leave out --base" in asked.stderr


def test_a_diff_of_nothing_is_refused(runs: Path) -> None:
    with pytest.raises(UserError, match="takes two runs"):
        diff("", "", [runs])


def test_a_diff_of_no_run_is_one_sentence(runs: Path) -> None:
    asked = call(runs, "--diff", "nothing", "here")
    assert asked.exit_code == 2 and asked.stderr.startswith("Error: no run named 'nothing'")
