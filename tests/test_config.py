"""A method's configuration: layers, types, refusals, and the ledger of departures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from zsbench.config import Configured, configure, describe, parse
from zsbench.errors import UserError
from zsbench.method import Departure, LoadedMethod
from zsbench.settings import Settings, settings
from zsbench.supervision import Supervision


@dataclass(frozen=True)
class Sample:
    steps: int = 100
    lr: float = 0.1
    warm: bool = True
    mode: Literal["dino", "none"] = "dino"
    depth: Literal[2, 4] = 2
    clip: float | None = None
    tag: str = ""

    departures: ClassVar[dict[str, str]] = {"clip": "the paper is silent"}
    drawn: ClassVar[dict[str, Departure]] = {"steps": Departure(10, "small pictures")}

    @property
    def supervision(self) -> Supervision:
        return Supervision(masks="seen")


def rows(configured: Configured) -> dict[str, dict[str, Any]]:
    return {row["field"]: row for row in configured.departures}


def test_defaults_are_the_papers_on_real_data_and_change_on_drawn_scenes() -> None:
    assert configure(Sample, {}, "real").method == Sample()
    drawn = configure(Sample, {}, "drawn")
    assert drawn.method == Sample(steps=10)
    assert rows(drawn)["steps"] == {"field": "steps", "paper": 100, "value": 10, "reason": "small pictures"}


def test_what_is_given_wins_and_is_written_down() -> None:
    configured = configure(Sample, {"steps": "7", "lr": 0.5}, "drawn")
    assert configured.method == Sample(steps=7, lr=0.5)
    assert configured.given == {"steps": 7, "lr": 0.5}
    assert configured.config["steps"] == 7 and configured.config["mode"] == "dino"
    assert rows(configured)["steps"]["reason"] == rows(configured)["lr"]["reason"] == "set for this run"


def test_setting_a_field_to_the_papers_value_is_no_departure() -> None:
    assert "steps" not in rows(configure(Sample, {"steps": 100}, "drawn"))


def test_a_choice_where_the_paper_is_silent_keeps_its_reason() -> None:
    assert rows(configure(Sample, {}, "real")) == {
        "clip": {"field": "clip", "paper": None, "value": None, "reason": "the paper is silent"}
    }


@pytest.mark.parametrize(
    ("hint", "given", "value"),
    [
        (int, "48_000", 48000),
        (int, "1e3", 1000),
        (int, 5, 5),
        (float, "5e-4", 5e-4),
        (float, 1, 1.0),
        (bool, "yes", True),
        (bool, "off", False),
        (bool, "1", True),
        (bool, False, False),
        (str, "ViT-B-16", "ViT-B-16"),
        (Literal["dino", "none"], "none", "none"),
        (Literal[2, 4], "4", 4),
        (float | None, "none", None),
        (float | None, "3", 3.0),
    ],
)
def test_values_become_the_fields_type(hint: Any, given: Any, value: Any) -> None:
    parsed = parse(given, hint, "field")
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    ("hint", "given", "expected"),
    [
        (int, "abc", "steps = 'abc': a whole number was expected"),
        (int, "1.5", "a whole number"),
        (int, "nan", "a whole number"),
        (int, "inf", "a whole number"),
        (float, "fast", "a number was expected"),
        (float, "nan", "a number was expected"),
        (bool, "perhaps", "true or false"),
        (Literal["dino", "none"], "dinno", "one of dino, none"),
        (float | None, "x", "a number"),
    ],
)
def test_other_values_are_refused(hint: Any, given: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        parse(given, hint, "steps")


def test_an_unknown_field_gets_the_nearest_one() -> None:
    with pytest.raises(UserError, match=r"no field named 'stepps'.* Did you mean 'steps'"):
        configure(Sample, {"stepps": 1}, "real")


def test_the_description_shows_supervision_fields_and_departures() -> None:
    text = describe(LoadedMethod("sample", "A sample", Sample, ""))
    assert "masks            seen" in text and "dino | none" in text
    assert "the paper is silent" in text and "on drawn scenes: small pictures" in text


# The options of `zsbench run`: command line over TOML file over defaults

OPTIONS: dict[str, Any] = {
    "methods": (),
    "splits": (),
    "seeds": (),
    "sets": (),
    "device": "auto",
    "force": False,
    "data": None,
}


def config(folder: Path, text: str) -> Path:
    (folder / "run.toml").write_text(text)
    return folder / "run.toml"


def test_a_file_gives_every_option_and_the_command_line_wins(tmp_path: Path) -> None:
    file = config(
        tmp_path,
        'method = "vilseg"\nsplit = ["voc5", "voc20"]\nseed = [1, 2]\nlimit = 8\ndata = "voc"\n[set]\nsteps = 5\nbatch = 4\n',
    )
    assert settings(OPTIONS, file) == Settings(
        ("vilseg",), ("voc5", "voc20"), (1, 2), {"steps": 5, "batch": 4}, tmp_path / "voc", limit=8
    )
    own = settings(OPTIONS | {"splits": ("voc5",), "sets": ("batch=9",)}, file)
    assert own.split == ("voc5",) and own.set == {"steps": 5, "batch": "9"} and own.seed == (1, 2)


def test_defaults_hold_where_nobody_says_anything() -> None:
    chosen = settings(OPTIONS | {"methods": ("kmeans",)}, None)
    assert (chosen.split, chosen.seed, chosen.device, chosen.out) == (("voc5",), (0,), "auto", Path("runs"))


def test_dashes_in_a_field_are_underscores() -> None:
    assert settings(OPTIONS | {"methods": ("x",), "sets": ("view-size = 3",)}, None).set == {"view_size": "3"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("methods = ", "is not TOML"),
        ('methodd = "x"', "no option named 'methodd'. Did you mean 'method'"),
        ('method = "x"\nset = 3', "must be a table"),
        ('method = "x"\nseed = "one"', "whole number"),
        ('split = "voc5"', "which method"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        settings(OPTIONS, config(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    ['limit = "many"', "limit = 0", "out = 3", 'precision = "bf8"', 'device = "gpu"', "seed = true", "force = 2"],
)
def test_a_file_with_a_value_of_another_type_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError):
        settings(OPTIONS, config(tmp_path, f'method = "x"\n{text}\n'))


def test_files_that_fields_name_lie_beside_the_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    (own / "model").mkdir(parents=True)
    (own / "prompts.txt").write_text("a {}")
    (own / "model/open_clip_config.json").write_text("{}")
    (own / "run.toml").write_text(
        '[[run]]\nmethod = "clip-seg"\nset = { encoder = "local-dir:model", pretrained = "openai" }\n'
        'matrix = { templates = ["prompts.txt", "80", "absent.txt"] }\n'
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "openai").mkdir()
    options = {"sets": (), "methods": (), "splits": (), "seeds": ()}
    (entry,) = settings(options, Path("own/run.toml")).entries
    assert entry.set == {"encoder": "local-dir:own/model", "pretrained": "openai"}
    assert entry.matrix["templates"] == ("own/prompts.txt", "80", "absent.txt")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0])
def test_a_cache_has_a_size(number: float) -> None:
    with pytest.raises(UserError, match="gigabytes"):
        settings({"sets": (), "methods": ("vilseg",), "cache_features": number}, None)
