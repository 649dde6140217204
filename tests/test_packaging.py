"""What a stranger gets: the built wheel away from the checkout, and a tree whose settings agree with each other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
TOPS = ("zsbench", "methods", "splits", "reports")
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE")
ENDINGS = {".md", ".toml", ".py", ".cff", ".yaml", ".yml", ".txt", ".html", ".css", ".js", ".json", ".csv", ".tex", ""}

Zsbench = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves `build/` behind and would take stale files from it the next time."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for top in TOPS:
        shutil.copytree(ROOT / top, copy / top, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, copy / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, copy],
        check=True,
        capture_output=True,
    )
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def zsbench(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Zsbench:
    """The wheel's own `zsbench` command, run far from the checkout.

    Dependencies come from this environment, but `-S` leaves out its .pth files, and with them the editable install that
    would supply whatever the wheel lacks.
    """
    site, away = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("away")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", site, wheel], check=True, capture_output=True)
    paths = [str(site), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    own = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "HOME": str(away), "ZSBENCH_CACHE": str(away / "cache")}
    environment = {k: v for k, v in os.environ.items() if k != "ZSBENCH_DATA"} | own | {"OMP_NUM_THREADS": "1"}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", str(site / "bin" / "zsbench"), *arguments]
        return subprocess.run(command, cwd=away, env=environment, capture_output=True, text=True, timeout=300)

    return call


def names_in(folder: str, ending: str) -> list[str]:
    files = (ROOT / folder).glob(f"*{ending}")
    return sorted(file.stem for file in files if not file.stem.startswith("_"))


def test_the_wheel_lists_every_method_and_split(zsbench: Zsbench) -> None:
    listed = zsbench("list")
    assert listed.returncode == 0, listed.stderr
    words = set(listed.stdout.split())
    expected = [name.replace("_", "-") for name in names_in("methods", ".py")] + names_in("splits", ".toml")
    assert len(expected) > 10
    assert [name for name in expected if name not in words] == []


def test_the_wheel_shows_a_split(zsbench: Zsbench) -> None:
    shown = zsbench("show", "split", "voc5")
    assert shown.returncode == 0, shown.stderr
    assert "pottedplant, sheep, sofa, train, tvmonitor" in shown.stdout


def test_the_wheel_draws_trains_scores_and_reports(zsbench: Zsbench) -> None:
    """The demo in small: every data file that a run and a report need is in the wheel."""
    drawn = zsbench("data", "draw", "scenes", "--captioned", "16", "--train", "4", "--val", "4", "--arm", "web")
    assert drawn.returncode == 0, drawn.stderr
    quick = ["--set", "steps=2", "--set", "batch=8", "--device", "cpu", "--data", "scenes"]
    run = zsbench("run", "--method", "vilseg", "--split", "voc5", *quick)
    assert run.returncode == 0, run.stdout + run.stderr
    record = Path(run.stdout.split()[-1])
    assert record.name == "record.json"
    report = zsbench("report", "runs", "--out", "report")
    assert report.returncode == 0, report.stderr
    assert "report.html" in report.stdout.splitlines()[-1]


def test_the_wheel_holds_one_package_and_every_data_file(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in inside} == {"zsbench"}
    assert {name for name in expected_files() if name not in inside} == set()


def expected_files() -> Iterator[str]:
    """Names inside the wheel of all that lies in the package folders."""
    for top in TOPS:
        prefix = "" if top == "zsbench" else "zsbench/"
        for file in (ROOT / top).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield prefix + file.relative_to(ROOT).as_posix()


def test_every_package_folder_is_mapped() -> None:
    """A folder that is not in `packages` is silently missing from the wheel."""
    folders = {file.parent.relative_to(ROOT) for top in TOPS for file in (ROOT / top).rglob("*.py")}
    dotted = {".".join(folder.parts) for folder in folders}
    mapped = {name if name.startswith("zsbench") else f"zsbench.{name}" for name in dotted}
    assert mapped == set(SETUPTOOLS["packages"])
    assert all((ROOT / folder / "__init__.py").is_file() for folder in folders)


def test_every_mapped_package_imports_as_its_folder() -> None:
    for package, folder in SETUPTOOLS["package-dir"].items():
        assert (ROOT / folder).is_dir(), package
        assert package.removeprefix("zsbench.").replace(".", "/") == folder


def test_python_3_11_is_the_oldest() -> None:
    assert PYPROJECT["project"]["requires-python"] == ">=3.11"
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py311"
    assert PYPROJECT["tool"]["mypy"]["python_version"] == "3.11"


def test_the_version_stands_in_one_place(wheel: Path) -> None:
    from zsbench import __version__

    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "zsbench.__version__"}
    assert wheel.name.startswith(f"zsbench-{__version__}-")
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {normal(name): version for name, version in pairs}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_is_pinned_and_within_its_range() -> None:
    from packaging.requirements import Requirement

    project = PYPROJECT["project"]
    for text in (*project["dependencies"], *project["optional-dependencies"]["dev"]):
        requirement = Requirement(text)
        pinned = pins().get(normal(requirement.name))
        assert pinned is not None, f"{requirement.name} has no version in constraints.txt"
        assert requirement.specifier.contains(pinned), f"{text}, but constraints.txt has {pinned}"


def test_nothing_pins_what_torch_pins_itself() -> None:
    assert [name for name in pins() if name.startswith(("nvidia", "cuda", "triton"))] == []


def tracked() -> list[Path]:
    """Text files under version control; in a folder without git, all that are not made by tools."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        files = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        parts = (".venv", "runs", "report", "build", "dist")
        files = [file for file in ROOT.rglob("*") if not {*parts} & {*file.relative_to(ROOT).parts}]
    return [file for file in files if file.is_file() and file.suffix in ENDINGS]


def offending(pattern: str, files: list[Path]) -> list[str]:
    """FILE:LINE of every match."""
    found = re.compile(pattern)
    return [
        f"{file.relative_to(ROOT)}:{number}"
        for file in files
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if found.search(line)
    ]


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    files = [file for file in tracked() if ROOT / "tests" not in file.parents]
    assert len(files) > 40
    assert offending(r"(?<![\w.~*}])/(home|tmp|root|work|mnt|Users|scratch)/", files) == []


def test_no_file_names_a_package_index() -> None:
    places = r"(-index-url|--find-links|pypi\.org|pythonhosted|download\.pytorch)"
    assert offending(places, [file for file in tracked() if file != Path(__file__).resolve()]) == []


def test_the_readme_begins_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = re.search(r"```[a-z]*\n(.*?)```", text, re.DOTALL)
    assert first is not None
    commands = [line.partition("#")[0].strip() for line in first[1].splitlines()]
    assert commands == ["make demo", "make test"]


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_between_documents_lead_somewhere(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    local = [link for link in links if "://" not in link and not link.endswith(".png")]
    assert [link for link in local if not (ROOT / link).exists()] == []
