"""How methods are found and loaded, and whether each honours its contract."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zsbench.contract import check_method
from zsbench.errors import UserError
from zsbench.method import Method, list_methods, load_method

TEMPLATE = Path(__file__).parents[1] / "methods/_template.py"

MINE = '''"""Mine: everything is the first name."""
from dataclasses import dataclass
import torch
from zsbench.supervision import Supervision
COUNT = []

@dataclass(frozen=True)
class Mine:
    seed: int = 0
    @property
    def supervision(self):
        return Supervision(masks="seen", captions=False)
    def fit(self, data, job):
        data.labelled.fetch([0])
        return lambda images, names: torch.zeros(len(images), len(names), 4, 4)
'''


@pytest.fixture
def mine(tmp_path: Path) -> Callable[..., str]:
    """Writes a method's file, MINE with replacements, and returns its path."""

    def write(*changes: tuple[str, str], text: str = MINE) -> str:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "mine.py").write_text(text)
        return str(tmp_path / "mine.py")

    return write


def failures(path: str) -> list[str]:
    return [line.text for line in check_method(path, "cpu") if not line.good]


# Finding and loading


def test_the_folder_is_the_list() -> None:
    listed = list_methods()
    assert "vilseg" in listed and listed["vilseg"].needs == "captions"
    assert listed["vilseg"].title.startswith("ViL-Seg")
    assert not [name for name in listed if name.startswith(("_", "-"))]


def test_listing_reads_files_without_running_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud_one.py").write_text('"""Loud."""\nraise SystemExit("it was run")\n')
    (tmp_path / "broken.py").write_text('"""Broken."""\ndef fit(:\n')
    (tmp_path / "_hidden.py").write_text('"""Hidden."""\n')
    monkeypatch.setattr("zsbench.method.resources.files", lambda _: tmp_path)
    listed = list_methods()
    assert listed["loud-one"].title == "Loud"
    assert listed["broken"].title.startswith("cannot be read")
    assert "hidden" not in listed and "-hidden" not in listed


def test_needs_are_read_from_the_declaration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.setattr("zsbench.method.resources.files", lambda _: tmp_path)
    assert list_methods()["mine"].needs == "masks of seen classes"


def test_a_users_file_is_a_method(mine: Callable[..., str]) -> None:
    loaded = load_method(mine())
    assert (loaded.name, loaded.title, loaded.cls.__name__) == ("mine", "Mine: everything is the first name", "Mine")
    assert isinstance(loaded.cls(), Method)


def test_the_hash_follows_the_file(mine: Callable[..., str]) -> None:
    first, again, other = (
        load_method(mine()),
        load_method(mine()),
        load_method(mine(("seed: int = 0", "seed: int = 1"))),
    )
    assert first.source_sha256 == again.source_sha256 != other.source_sha256


@pytest.mark.parametrize("name", ["vilseg", "file"])
def test_every_load_is_a_fresh_module(mine: Callable[..., str], name: str) -> None:
    name = mine() if name == "file" else name
    first, second = load_method(name), load_method(name)
    assert first.cls is not second.cls
    first.cls.remembered = "the val set"
    assert not hasattr(load_method(name).cls, "remembered")


def test_a_changed_file_is_read_anew(mine: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also within one second and at equal size, which is all that Python's bytecode cache looks at."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # the cache is what is tested
    for seed in (0, 1):
        path = mine(("seed: int = 0", f"seed: int = {seed}"))
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert load_method(path).cls().seed == seed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"""Nothing here."""\n', "must define one dataclass"),
        (MINE + MINE.replace("class Mine", "class Other").partition("\n")[2], r"found 2"),
        (MINE.replace("@dataclass(frozen=True)\n", ""), "must define one dataclass"),
        ("def fit(:\n", "is not Python"),
    ],
)
def test_a_file_without_a_method_is_refused(mine: Callable[..., str], text: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        load_method(mine(text=text))


def test_imported_classes_are_not_the_files_method(mine: Callable[..., str]) -> None:
    path = mine(
        (
            "from dataclasses import dataclass",
            "from dataclasses import dataclass\nfrom zsbench.methods.vilseg import VilSeg",
        )
    )
    assert load_method(path).cls.__name__ == "Mine"


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'vilseg'"):
        load_method("vilsegg")
    with pytest.raises(UserError, match="no method file"):
        load_method(str(tmp_path / "absent.py"))


def test_the_class_may_be_pickled(mine: Callable[..., str]) -> None:
    import pickle

    method = load_method(mine()).cls(seed=3)
    assert pickle.loads(pickle.dumps(method)) == method


# The contract


@pytest.mark.parametrize("name", [*list_methods(), str(TEMPLATE)])
def test_every_method_honours_the_contract(name: str) -> None:
    lines = list(check_method(name, "cpu"))
    assert [line.text for line in lines if not line.good] == []
    assert len(lines) >= 15 and all(line.text.startswith("ok ") for line in lines)


@pytest.mark.parametrize(
    ("promise", "old", "new", "why"),
    [
        ("is a frozen dataclass", "@dataclass(frozen=True)", "@dataclass", "frozen=True"),
        ("has a default for every field", "seed: int = 0", "seed: int", "seed have none"),
        ("declares what it learns from", 'Supervision(masks="seen", captions=False)', '"masks"', "got str"),
        ("has a title", '"""Mine: everything is the first name."""', "", "docstring"),
        (
            "explains fields that it has",
            "seed: int = 0",
            'seed: int = 0\n    departures = {"sed": "?"}',
            "sed are none",
        ),
        ("explains fields that it has", "seed: int = 0", 'seed: int = 0\n    quick = {"seed": "x"}', "whole number"),
        ("fits on what", "data.labelled.fetch([0])", "data.captions.fetch([0])", "AttributeError"),
        ("fits on what", "data.labelled.fetch([0])", "data.labelled._fetch([0])", "GuardError"),
        ("fits on what", "return lambda images, names:", "return None and", "got NoneType"),
        ("reads what it declared", "data.labelled.fetch([0])", "pass", "labelled never was"),
        (
            "reads what it declared",
            'Supervision(masks="seen", captions=False)',
            'Supervision(masks="seen", vectors="factor")',
            "vectors never was",
        ),
        (
            "fits on what",
            "captions=False)\n    def fit(self, data, job):\n",
            'vectors="factor")\n    def fit(self, data, job):\n        data.vectors.rows(["sheep"])\n',
            "GuardError: no vector is open",
        ),
        (
            "returns logits where it is calibrated",
            "return lambda images, names: torch.zeros(len(images), len(names), 4, 4)",
            "score = lambda images, names: torch.zeros(len(images), len(names), 4, 4)\n"
            "        score.gamma = 'much'\n        return score",
            "one finite number, got 'much'",
        ),
        ("scores all names", "len(names), 4, 4", "20, 4, 4", "were expected, got"),
        ("scores all names", "len(names), 4, 4)", "len(names), 4, 4).long()", "floating point"),
        ("scores all names", "len(names), 4, 4)", "len(names), 4, 4) / 0", "finite"),
        ("scores all names", "len(names), 4, 4)", "len(names))", "4 axes"),
        ("scores all names", "torch.zeros(len(images), len(names), 4, 4)", "[0]", "got list"),
        (
            "scores names in any order",
            "torch.zeros(len(images), len(names), 4, 4)",
            "torch.arange(len(names)).float()[None, :, None, None].expand(len(images), -1, 4, 4)",
            "another order",
        ),
        (
            "scores an image alone as in a batch",
            "torch.zeros(len(images), len(names), 4, 4)",
            "images.sub(images.mean((0, 2, 3), True)).sum(1, True).expand(-1, len(names), -1, -1)",
            "alone as in a batch",
        ),
        (
            "scores odd sizes",
            "torch.zeros(len(images), len(names), 4, 4)",
            "images.unflatten(2, (-1, 8)).unflatten(4, (-1, 8)).mean((1, 3, 5))[:, None].expand(-1, len(names), -1, -1)",
            "RuntimeError",
        ),
        ("leaves its input alone", "torch.zeros(", "images.mul_(0.5).sum() * 0 + torch.zeros(", "changed"),
        (
            "same seed, same scores",
            "return lambda images, names: torch.zeros(len(images), len(names), 4, 4)",
            "weight = torch.rand(()); return lambda images, names: "
            "weight * torch.tensor([len(n) for n in names]).float()[None, :, None, None].expand(len(images), -1, 4, 4)",
            "differ by up to",
        ),
        (
            "goes on from its own folder",
            "return lambda images, names: torch.zeros(len(images), len(names), 4, 4)",
            'again = (job.folder / "x").exists(); (job.folder / "x").touch()\n'
            "        return lambda images, names: torch.full((len(images), len(names), 4, 4), float(again))",
            "finds its own finished folder",
        ),
    ],
)
def test_each_broken_promise_is_named(mine: Callable[..., str], promise: str, old: str, new: str, why: str) -> None:
    broken = failures(mine((old, new)))
    assert broken and broken[0].startswith(f"FAIL  {promise}"), broken
    assert re.search(why, broken[0]), broken[0]


def test_a_method_with_vectors_has_no_faults(mine: Callable[..., str]) -> None:
    reading = "data.labelled.fetch([0]); data.vectors.rows(data.seen)"
    path = mine(
        ("captions=False)", 'vectors="factor")'),
        ("data.labelled.fetch([0])", reading),
        (
            "lambda images, names: torch.zeros(",
            "lambda images, names: torch.zeros(0 * len(data.vectors.rows(names)) + ",
        ),
    )
    lines = [line.text for line in check_method(path, "cpu")]
    assert [line for line in lines if not line.startswith("ok ")] == []
    assert any(line.endswith("1 items of labelled, 15 items of vectors") for line in lines)


def test_a_method_without_faults_has_none(mine: Callable[..., str]) -> None:
    assert failures(mine()) == []
