"""Studies: many runs from one file, each once, all checked before the first, and a table at the end."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from zsbench import runner
from zsbench.cli import main
from zsbench.errors import UserError
from zsbench.session import split_names
from zsbench.settings import Settings, settings
from zsbench.study import Request, requests

STUBS = Path(__file__).parent / "stubs"
COLOURS, LISTENER, TILES, BROKEN = (str(STUBS / f"{name}.py") for name in ("colours", "listener", "tiles", "broken"))
ABLATIONS = sorted((Path(__file__).parents[1] / "bench/ablations").glob("*.toml"))

OPTIONS: dict[str, Any] = {"methods": (), "splits": (), "seeds": (), "sets": (), "device": "auto", "force": False}

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenes: Path) -> Call:
    """`zsbench run --config study.toml ARGS` with that text, on the drawn scenes, four pictures scored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["zsbench"])

    def run(text: str, *args: Any) -> Result:
        study(tmp_path, text)
        common = ("run", "--config", "study.toml", "--data", scenes, "--limit", 4, "--device", "cpu")
        return CliRunner().invoke(main, [str(arg) for arg in (*common, *args)])

    return run


def study(folder: Path, text: str) -> Path:
    filled = text
    for name, path in (("COLOURS", COLOURS), ("LISTENER", LISTENER), ("TILES", TILES), ("BROKEN", BROKEN)):
        filled = filled.replace(name, path)
    (folder / "study.toml").write_text(filled)
    return folder / "study.toml"


def chosen(folder: Path, text: str, **options: Any) -> Settings:
    return settings(OPTIONS | options, study(folder, text))


def asked(folder: Path, text: str, **options: Any) -> list[Request]:
    return requests(chosen(folder, text, **options).entries, split_names)


def brief(found: list[Request]) -> list[tuple[Any, ...]]:
    return [(Path(r.method).stem, *r.given.values(), r.seed) for r in found]


# What a file asks for


def test_a_matrix_is_the_cross_product_in_the_order_written_with_seeds_innermost(tmp_path: Path) -> None:
    found = asked(tmp_path, 'method = "COLOURS"\nseed = [3, 1]\n[matrix]\nfloor = [0.2, 0.1]\ncoarse = [4, 2]\n')
    assert [(r.given["floor"], r.given["coarse"], r.seed) for r in found] == [
        (floor, coarse, seed) for floor in (0.2, 0.1) for coarse in (4, 2) for seed in (3, 1)
    ]


ENTRIES = """
split = "voc5"
seed = [0, 1]
captions = "clean"
[set]
coarse = 2
[[run]]
method = "COLOURS"
matrix = { floor = [0.1, 0.2] }
[[run]]
method = ["LISTENER", "TILES"]
seed = 7
split = ["voc5", "voc_k2"]
captions_policy = "purge"
set = { coarse = 4 }
[[run]]
method = "LISTENER"
captions = "web"
"""


def test_entries_take_from_the_top_what_they_do_not_say(tmp_path: Path) -> None:
    found = asked(tmp_path, ENTRIES)
    assert brief(found[:4]) == [
        ("colours", 2, 0.1, 0),
        ("colours", 2, 0.1, 1),
        ("colours", 2, 0.2, 0),
        ("colours", 2, 0.2, 1),
    ]
    assert [(Path(r.method).stem, r.split, dict(r.given), r.seed) for r in found[4:8]] == [
        ("listener", "voc5", {}, 7),
        ("tiles", "voc5", {"coarse": 4}, 7),
        ("listener", "voc_k2", {}, 7),
        ("tiles", "voc_k2", {"coarse": 4}, 7),
    ]
    assert brief(found[8:]) == [("listener", 0), ("listener", 1)]
    corpora = [(r.corpus["captions"], r.corpus["captions_policy"]) for r in found]
    assert corpora == [("clean", "as-is")] * 4 + [("clean", "purge")] * 4 + [("web", "as-is")] * 2


def test_the_command_line_goes_over_every_entry(tmp_path: Path) -> None:
    told = {"seeds": (5,), "splits": ("voc_k2",), "captions": "web", "captions_policy": "refuse", "sets": ("coarse=8",)}
    found = asked(tmp_path, ENTRIES, **told)
    assert {(r.seed, r.split) for r in found} == {(5, "voc_k2")}
    assert {tuple(r.corpus.values()) for r in found} == {("web", "refuse")}
    assert [r.given.get("coarse") for r in found] == ["8", "8", None, "8", None]


def test_what_the_command_line_fixes_is_not_varied(tmp_path: Path) -> None:
    text = 'method = "COLOURS"\n[matrix]\nfloor = [0.1, 0.2]\ncaptions = ["web", "clean"]\n'
    found = asked(tmp_path, text, sets=("floor=0.5",), captions="clean")
    assert [dict(r.given) for r in found] == [{"floor": "0.5"}] and found[0].corpus["captions"] == "clean"


def test_an_entry_goes_over_the_top_in_what_is_fixed_and_what_is_varied(tmp_path: Path) -> None:
    top = "[set]\ncoarse = 2\n[matrix]\nfloor = [0.1, 0.2]\n"
    entries = '[[run]]\nmethod = "COLOURS"\nset = { floor = 0.7 }\n[[run]]\nmethod = "COLOURS"\nmatrix = { coarse = [1, 4] }\n'
    found = [dict(r.given) for r in asked(tmp_path, top + entries)]
    assert found[0] == {"coarse": 2, "floor": 0.7}
    assert found[1:] == [{"floor": f, "coarse": c} for f in (0.1, 0.2) for c in (1, 4)]


def test_a_field_multiplies_only_the_methods_that_have_it(tmp_path: Path) -> None:
    found = asked(
        tmp_path, 'method = ["COLOURS", "LISTENER", "TILES"]\n[matrix]\nfloor = [0.1, 0.2]\ncoarse = [1, 2]\n'
    )
    assert [Path(r.method).stem for r in found] == ["colours"] * 4 + ["listener"] + ["tiles"] * 2


def test_methods_named_on_the_command_line_are_chosen_from_the_entries(tmp_path: Path) -> None:
    found = asked(tmp_path, ENTRIES, methods=(LISTENER,), splits=("voc5",))
    assert {r.method for r in found} == {LISTENER} and len(found) == 3
    with pytest.raises(UserError, match=r"study.toml: no method named 'vilsegg'.*of the \[\[run\]\] entries"):
        chosen(tmp_path, ENTRIES, methods=("vilsegg",))


def test_a_file_without_entries_asks_for_what_it_always_did(tmp_path: Path) -> None:
    found = chosen(tmp_path, 'method = ["COLOURS", "TILES"]\nseed = [0, 1]\n[set]\ncoarse = 2\n')
    assert not found.study and [Path(r.method).stem for r in requests(found.entries, split_names)] == [
        "colours", "colours", "tiles", "tiles",
    ]  # fmt: skip
    assert chosen(tmp_path, 'method = "TILES"', methods=(COLOURS,)).entries[0].wanted == (COLOURS,)


def test_files_beside_the_config_are_found_from_anywhere(tmp_path: Path) -> None:
    shutil.copy(COLOURS, tmp_path / "mine.py")
    (tmp_path / "own.tsv").write_text("")
    text = (
        '[[run]]\nmethod = "./mine.py"\ncaptions = "own.tsv"\n'
        '[[run]]\nmethod = "mine.py"\nmatrix = { captions = ["web", "own.tsv"] }\n'
    )
    found = asked(tmp_path, text)
    assert {r.method for r in found} == {str(tmp_path / "mine.py")}
    assert [r.corpus["captions"] for r in found] == [str(tmp_path / "own.tsv"), "web", str(tmp_path / "own.tsv")]


# What is refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[run]]\nmetod = "COLOURS"', ["study.toml, [[run]] 1", "no key named 'metod'", "Did you mean 'method'"]),
        ('[[run]]\nmethod = "COLOURS"\n[[run]]\nmethod = "COLOURS"\nlimit = 3', ["[[run]] 2", "no key named 'limit'"]),
        ('[[run]]\nset = { coarse = 1 }', ["[[run]] 1", "which method"]),
        ('run = "COLOURS"', ["run is a list of entries", "[[run]]"]),
        ('method = "COLOURS"\n[run]\nset = 3', ["run is a list of entries"]),
        ('runs = 3', ["no option named 'runs'", "Did you mean 'run'"]),
        ('method = "COLOURS"\n[matrx]\nfloor = [1]', ["no option named 'matrx'", "Did you mean 'matrix'"]),
        ('method = "COLOURS"\nmatrix = 3', ["matrix must be a table of lists"]),
        ('method = "COLOURS"\n[matrix]\nfloor = 0.1', ["floor = 0.1", "a list of one value or more"]),
        ('method = "COLOURS"\n[matrix]\nfloor = []', ["floor = []", "a list of one value or more"]),
        ('method = "COLOURS"\n[matrix]\nfloor = [[1]]', ["floor holds [1]"]),
        ('method = "COLOURS"\n[matrix]\nfloor = [{ a = 1 }]', ["floor holds {'a': 1}"]),
        ('method = "COLOURS"\n[matrix]\nflor = [0.1]', ["no field named 'flor'", "Did you mean 'floor'"]),
        ('method = "COLOURS"\n[matrix]\nfloor = [0.1, "much"]', ["floor = 'much'", "a number was expected"]),
        ('method = "COLOURS"\n[matrix]\nseed = [0, 1]', ["seed is no field", "seed = [0, 1]", "beside the matrix"]),
        ('method = "COLOURS"\n[matrix]\ncaptions_policy = ["purg"]', ["captions_policy = 'purg'", "purge"]),
        ('method = "COLOURS"\n[matrix]\ncaptions = ["web", "clean"]', ["varies captions", "learns from no captions"]),
        ('method = "LISTENER"\n[matrix]\ncaptions = ["web", " "]', ["--captions is empty"]),
        ('method = "LISTENER"\n[matrix]\ncaptions = ["web", "webb"]', ["no caption corpus named 'webb'"]),
        ('method = "COLOURS"\n[set]\nfloor = 1\n[matrix]\nfloor = [0.1]', ["floor is both set and in the matrix"]),
        ('[[run]]\nmethod = "LISTENER"\ncaptions = "web"\nmatrix = { captions = ["web"] }', ["[[run]] 1", "both"]),
        ('[[run]]\nmethod = "COLOURS"\n[[run]]\nmethod = "LISTENER"\nset = { floor = 1 }', ["[[run]] 2", "'floor'"]),
        ('[set]\nflor = 1\n[[run]]\nmethod = "COLOURS"\n[[run]]\nmethod = "LISTENER"', ["no field named 'flor'"]),
        ('[[run]]\nmethod = "COLOURS"\n[[run]]\nmethod = "colour"', ["no method named 'colour'"]),
        ('[[run]]\nmethod = "COLOURS"\n[[run]]\nmethod = "COLOURS"\nset = { coarse = "x" }', ["[[run]] 2: coarse = 'x'"]),
        ('[[run]]\nmethod = "COLOURS"\n[[run]]\nmethod = "COLOURS"\nsplit = "voc55"', ["no split named 'voc55'"]),
        ('[[run]]\nmethod = "COLOURS"\nseed = [0, -1]', ["[[run]] 1: seed = -1"]),
        ('[[run]]\nmethod = "COLOURS"\nset = 3', ["[[run]] 1: [set] must be a table"]),
        ('method = "COLOURS"\ncache_features = -1', ["cache_features = -1"]),
    ],
)  # fmt: skip
def test_a_wrong_study_is_one_sentence_and_nothing_runs(call: Call, text: str, words: list[str]) -> None:
    result = call(text)
    assert result.exit_code == 2, result.output
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("Error: ") and all(word in sentence for word in words), sentence
    assert not Path("runs").exists()


# What runs


TWO = 'method = "COLOURS"\nseed = [0, 1]\n[matrix]\ncoarse = [1, 4]\n'


def records(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output + result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def table(result: Result) -> list[list[str]]:
    """The cells of the table at the end, its rule left out."""
    lines = [line for line in result.stdout.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in (lines[:1] + lines[2:])]


def test_a_study_counts_its_runs_and_ends_with_a_table(call: Call) -> None:
    first, again = call(TWO), call(TWO)
    assert [line.split(":")[0] for line in first.stderr.splitlines() if line.startswith("run ")] == [
        f"run {number} of 4" for number in range(1, 5)
    ]
    assert first.stdout.count("  done ") == 4 and again.stdout.count("  cached ") == 4
    rows = table(first)
    assert rows == table(again) and rows[0] == ["method", "coarse", "seeds", "unseen only", "seen", "unseen", "h"]
    assert [row[:3] for row in rows[1:]] == [["colours", "1", "2"], ["colours", "4", "2"]]
    made = [json.loads(file.read_text()) for file in Path("runs").rglob("record.json")]
    for row in rows[1:]:
        own = [100 * r["scores"]["unseen"]["miou"] for r in made if r["method"]["config"]["coarse"] == int(row[1])]
        assert row[3] == f"{sum(own) / 2:.1f} [{min(own):.1f}, {max(own):.1f}]"


def test_the_mean_is_over_seeds_that_differ(call: Call) -> None:
    text = 'method = "LISTENER"\nseed = [0, 1, 2]\n[matrix]\ncaptions_policy = ["as-is", "purge"]\n'
    result = call(text)
    made = [json.loads(file.read_text()) for file in Path("runs").rglob("record.json")]
    rows = table(result)
    assert [name for name in rows[0] if name != "captions"][:3] == ["method", "captions_policy", "seeds"]
    for row in rows[1:]:
        policy = row[rows[0].index("captions_policy")]
        own = [r["scores"]["all"]["harmonic"]["miou"] for r in made if r["supervision"]["corpus"]["policy"] == policy]
        assert len(own) == 3 and row[-1] == f"{100 * sum(own) / 3:.1f}"
    assert len(rows) == 3


def test_json_is_records_and_nothing_else(call: Call) -> None:
    made = records(call(TWO, "--json"))
    assert [(r["method"]["config"]["coarse"], r["seed"]) for r in made] == [(1, 0), (1, 1), (4, 0), (4, 1)]


def test_equal_runs_are_run_once(call: Call) -> None:
    text = (
        '[[run]]\nmethod = "COLOURS"\nmatrix = { coarse = [1, 2, 1.0] }\n'
        '[[run]]\nmethod = ["COLOURS", "COLOURS"]\nset = { coarse = 2 }\n'
    )
    assert [r["method"]["config"]["coarse"] for r in records(call(text, "--json"))] == [1, 2]


def test_captions_neither_multiply_nor_reach_methods_that_learn_from_none(call: Call) -> None:
    text = 'method = ["COLOURS", "LISTENER"]\n[matrix]\ncaptions = ["web", "clean"]\n'
    made = records(call(text, "--json"))
    corpora = [(r["method"]["name"], (r["supervision"]["corpus"] or {}).get("name")) for r in made]
    assert corpora == [("colours", None), ("listener", "drawn: web"), ("listener", "drawn: clean")]
    assert {row[1] for row in table(call(text))[1:]} == {"", "drawn: web", "drawn: clean"}


def test_several_splits_are_told_split_by_split(call: Call) -> None:
    text = '[[run]]\nmethod = "COLOURS"\nsplit = ["voc5", "voc_k2"]\n[[run]]\nmethod = "TILES"\nsplit = "voc5"\n'
    result = call(text)
    heads = [
        line.split(":")[0] for line in result.stdout.splitlines() if "background" in line and not line.startswith(" ")
    ]
    assert heads == ["voc5", "voc_k2"]
    assert [row[:2] for row in table(result)[1:]] == [["voc5", "colours"], ["voc5", "tiles"], ["voc_k2", "colours"]]


def test_a_failed_run_is_told_in_the_table_and_the_others_go_on(call: Call) -> None:
    result = call('[[run]]\nmethod = "BROKEN"\n[[run]]\nmethod = "COLOURS"\n')
    assert result.exit_code == 1 and result.stdout.count("  done ") == 1
    assert [row[:3] for row in table(result)[1:]] == [["broken", "0 of 1", "–"], ["colours", "1", table(result)[2][2]]]


def test_one_run_needs_no_table(call: Call) -> None:
    result = call('[[run]]\nmethod = "COLOURS"\n')
    assert "|" not in result.stdout and "run 1 of" not in result.stderr and "  done " in result.stdout
    assert "|" not in call('method = ["COLOURS", "TILES"]\nseed = [0, 1]\n').stdout, "a plain file asks for no study"


def test_an_interrupted_study_goes_on_where_it_was(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    execute, started = runner.execute, []

    def interrupted(run: Any) -> Any:
        started.append(run)
        if len(started) == 3:
            raise KeyboardInterrupt
        return execute(run)

    monkeypatch.setattr(runner, "execute", interrupted)
    stopped = call(TWO)
    assert stopped.exit_code == 130 and "the same command goes on" in stopped.stderr
    assert len(list(Path("runs").rglob("record.json"))) == 2
    monkeypatch.setattr(runner, "execute", execute)
    result = call(TWO)
    assert result.stdout.count("  cached ") == 2 and result.stdout.count("  done ") == 2


def test_everything_is_checked_before_the_first_run(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "execute", lambda run: pytest.fail("ran before all was checked"))
    assert call(TWO + 'captions = ["web", "webb"]\n').exit_code == 2
    assert call(TWO.replace("[1, 4]", "[1, 4, 2.5]")).exit_code == 2


# The feature cache, as an option


def test_the_feature_cache_is_an_option_and_in_no_key(call: Call, tmp_path: Path) -> None:
    noted = (Path(COLOURS).read_text()).replace(
        "        return Segmenter(self.coarse, self.floor)",
        "        import torch\n"
        "        if job.features is not None:\n"
        "            job.features.get_or_make('0' * 12, lambda: torch.ones(3))\n"
        "        return Segmenter(self.coarse, self.floor)",
    )
    (tmp_path / "noted.py").write_text(noted)
    plain = records(call('method = "noted.py"', "--json"))
    assert not Path("runs/features").exists()
    cached = records(call('method = "noted.py"\ncache_features = 0.001', "--json", "--force"))
    assert [file.name for file in Path("runs/features").iterdir()] == ["000000000000.npy"]
    assert cached[0]["key"] == plain[0]["key"] and cached[0]["scores"] == plain[0]["scores"]
    shutil.rmtree("runs/features")
    records(call('method = "noted.py"', "--json", "--force", "--cache-features", "0.001"))
    assert Path("runs/features").exists()


# The studies that come with the project


@pytest.mark.parametrize("file", ABLATIONS, ids=lambda file: file.stem)
def test_ablations_that_are_shipped_are_whole(file: Path) -> None:
    from zsbench.config import configure
    from zsbench.method import load_method

    found = requests(settings(OPTIONS, file).entries, split_names)
    assert len({(r.method, str(r.given), str(r.corpus), r.seed) for r in found}) == len(found) >= 9
    assert {r.seed for r in found} == {0, 1, 2} and {r.split for r in found} == {"voc5"}
    for request in found:
        configure(load_method(request.method).cls, request.given, "drawn", request.method)


def test_the_ablations_are_there() -> None:
    assert [file.stem for file in ABLATIONS] == ["clip_seg", "clusters", "vilseg"]
