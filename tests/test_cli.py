"""The command line as people meet it: quick listings, one sentence for every mistake, nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from zsbench import doctor
from zsbench.cli import main

TEMPLATE = str(Path(__file__).parents[1] / "methods/_template.py")
HEAVY = {"torch", "open_clip", "pandas", "matplotlib", "datasets", "sklearn", "scipy", "pyarrow"}

TRAINED = '''"""Trained: one linear layer."""
from dataclasses import dataclass
import torch
from zsbench.supervision import Supervision
from zsbench.training import Recipe, train

class Net(torch.nn.Linear):
    def forward(self, batch):
        return {"loss": super().forward(batch).square().mean()}
    def after_step(self, step, steps):
        pass

@dataclass(frozen=True)
class Trained:
    width: int = 4
    @property
    def supervision(self):
        return Supervision(masks="seen")
    def fit(self, data, job):
        train(Net(self.width, 2), lambda number, rows: torch.ones(2, self.width), Recipe(2, 2, 0.1), job)
        return lambda images, names: torch.zeros(len(images), len(names), 4, 4)
'''

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """`zsbench ARGS` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["zsbench"])
    return lambda *args: CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def copy(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn scenes in a folder that a test may break."""
    return Path(shutil.copytree(scenes, tmp_path_factory.mktemp("copy") / "drawn"))


def write(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def record(result: Result) -> dict[str, Any]:
    """The one record that a run printed the path of."""
    assert result.exit_code == 0, result.output + result.stderr
    path = next(line.strip() for line in result.stdout.splitlines() if line.strip().endswith("record.json"))
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


def refused(result: Result, *words: str) -> None:
    """Exit code 2 and one sentence with these words; no traceback, no unfinished file."""
    assert result.exit_code == 2, f"exit {result.exit_code}: {result.output}{result.exception!r}"
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("Error: ") and "Traceback" not in result.output
    for word in words:
        assert word in sentence, sentence
    assert not list(Path().rglob("record.json")) and not unfinished()


def unfinished(root: Path | None = None) -> list[Path]:
    return list((root or Path()).rglob("*.part"))


# Listing


@pytest.mark.parametrize(
    "command", [["--help"], ["list"], ["run", "--help"], ["show", "split", "voc5"], ["data", "--help"], ["--version"]]
)
def test_listings_import_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys; from zsbench.cli import main\n"
        f"try: main({command!r})\n"
        f"except SystemExit as end: print(sorted({HEAVY!r} & sys.modules.keys()), end.code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0", done.stdout


def test_list_names_methods_and_splits(call: Call) -> None:
    lines = call("list").output.splitlines()
    assert lines[0].startswith("methods") and any("vilseg  " in line and "needs: captions" in line for line in lines)
    assert any(line.startswith("splits") for line in lines) and any(" voc5 " in line for line in lines)
    assert "template" not in "\n".join(lines)


def test_show_split_and_method(call: Call) -> None:
    split, method = call("show", "split", "voc5"), call("show", "method", "vilseg")
    assert "pottedplant, sheep, sofa, train, tvmonitor" in split.output and "Xian" in split.output
    assert "captions" in method.output and "departures from the paper" in method.output
    assert split.exit_code == method.exit_code == 0


# Mistakes


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--method", "vilsegg"], ["no method named 'vilsegg'", "Did you mean 'vilseg'", "zsbench list"]),
        (["--method", "./absent.py"], ["no method file at"]),
        (["--method", "vilseg", "--split", "voc55"], ["no split named 'voc55'", "Did you mean 'voc5'"]),
        (["--method", "vilseg", "--split", "./absent.toml"], ["absent.toml"]),
        (["--method", "vilseg", "--split", "context4"], ["holds Drawn scenes", "needs context59"]),
        (["--method", "vilseg", "--split", "voc_q*"], ["no published split fits the pattern 'voc_q*'", "Near: voc"]),
        (["--method", "vilseg", "--split", "zz?"], ["no published split fits the pattern 'zz?'.  All splits"]),
        (["--method", TEMPLATE, "--split", "context_k*"], ["holds Drawn scenes", "needs context60"]),
        (["--method", "vilseg", "--split", "./*.toml"], ["*.toml", "cannot be read"]),
        (["--method", "vilseg", "--set", "stepps=3"], ["no field named 'stepps'", "Did you mean 'steps'"]),
        (["--method", "vilseg", "--set", "steps=abc"], ["steps = 'abc'", "a whole number was expected"]),
        (["--method", "vilseg", "--set", "vision=dyno"], ["dino, literal, none"]),
        (["--method", "vilseg", "--set", "nonsense"], ["--set nonsense", "FIELD=VALUE"]),
        (["--method", "vilseg", "--captions", "webb"], ["no caption corpus named 'webb'", "Did you mean 'web'"]),
        (["--method", "vilseg", "--captions", "absent.tsv"], ["no captions at absent.tsv"]),
        (["--method", "vilseg", "--captions", ""], ["--captions is empty"]),
        (["--method", "vilseg", "--caption-images", "absent"], ["no folder absent"]),
        (["--method", "vilseg", "--set", "lr=inf"], ["lr = 'inf'", "a number was expected"]),
        (["--method", "vilseg", "--set", "batch=1"], ["2 are the least"]),
        (["--method", "vilseg", "--seed", "-1"], ["-1 is not in the range"]),
        (["--method", "vilseg", "--config", "absent.toml"], ["no config file at absent.toml"]),
        (["--method", "vilseg", "--device", "tpu"], ["'tpu' is not one of"]),
        (["--method", "vilseg", "--limit", "0"], ["0 is not in the range"]),
        (["--method", TEMPLATE, "--split", "voc20"], ["'voc20' has no mask-labelled training images"]),
        ([], ["which method", "--method vilseg"]),
    ],
)
def test_a_wrong_request_is_one_sentence(call: Call, scenes: Path, args: list[str], words: list[str]) -> None:
    refused(call("run", "--data", scenes, "--device", "cpu", *args), *words)


def test_a_wrong_request_leaves_no_folder(call: Call, scenes: Path) -> None:
    refused(call("run", "--data", scenes, "--method", "vilseg", "--set", "steps=abc"))
    refused(call("run", "--data", scenes, "--method", TEMPLATE, "--method", "vilsegg"))
    assert not list(Path().iterdir())


@pytest.mark.parametrize("args", [["--method", "vilsegg"], ["--method", "vilseg", "--set", "stepps=3"]])
def test_a_wrong_request_is_refused_before_scenes_are_drawn(
    call: Call, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    monkeypatch.setattr(
        "zsbench.data.scenes.ensure_drawn", lambda: pytest.fail("scenes were drawn for a wrong request")
    )
    refused(call("run", *args))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["rnu"], ["no command named 'rnu'", "Did you mean 'run'"]),
        (["data", "chekc", "x"], ["Did you mean 'check'"]),
        (["show", "split", "voc55"], ["Did you mean 'voc5'"]),
        (["show", "method", "vilsegg"], ["Did you mean 'vilseg'"]),
        (["check", "vilsegg"], ["Did you mean 'vilseg'"]),
        (["data", "check", "absent"], ["absent: no such folder"]),
        (["data", "draw", "x", "--arm", "wep"], ["Did you mean"]),
        (["data", "draw", "x", "--size", "8"], ["size 8"]),
        (["report", "absent"], ["no folder absent"]),
    ],
)
def test_other_commands_refuse_too(call: Call, command: list[str], words: list[str]) -> None:
    refused(call(*command), *words)
    assert not list(Path().iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
@pytest.mark.parametrize("command", [["run", "--method", "vilseg"], ["check", "vilseg"]])
def test_a_gpu_that_is_not_there(call: Call, command: list[str]) -> None:
    refused(call(*command, "--device", "cuda"), "no CUDA GPU", "--device cpu")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method = [", ["is not TOML"]),
        ('metod = "vilseg"', ["no option named 'metod'", "Did you mean 'method'"]),
        ('method = "vilseg"\n[set]\nstepps = 3', ["no field named 'stepps'"]),
        ('method = "vilseg"\nlimit = "many"', ["limit"]),
        ('method = "vilseg"\ndevice = "gpu"', ["device"]),
    ],
)
def test_a_wrong_config_file(call: Call, scenes: Path, tmp_path: Path, text: str, words: list[str]) -> None:
    refused(call("run", "--data", scenes, "--config", write(tmp_path / "run.toml", text)), *words)


def test_a_split_that_names_a_class_twice(call: Call, scenes: Path, tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "splits/voc5.toml").read_text().replace('"aeroplane",', '"aeroplane", "sheep",')
    file = write(tmp_path / "twice.toml", "\n".join(line for line in text.splitlines() if "fingerprint" not in line))
    refused(call("run", "--method", TEMPLATE, "--data", scenes, "--split", file), "'sheep' is named 2 times")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def fit(:", ["is not Python"]),
        ("x = 1", ["must define one dataclass"]),
        ("x = 1\nimport absent_module", ["mine.py, line 2", "No module named 'absent_module'"]),
        ("raise SystemExit(3)", ["mine.py, line 1", "SystemExit"]),
    ],
)
def test_a_file_that_is_no_method(call: Call, scenes: Path, tmp_path: Path, text: str, words: list[str]) -> None:
    refused(call("run", "--data", scenes, "--method", write(tmp_path / "mine.py", text)), *words)


def test_a_report_of_nothing_or_into_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(call("report", tmp_path / "empty", "--out", tmp_path / "page"), "no finished run in")
    refused(call("report", tmp_path / "empty", "--out", write(tmp_path / "file", "")), "is a file; choose a folder")


def test_set_reaches_every_method_that_has_the_field(call: Call, scenes: Path) -> None:
    fields = ["--set", "images=8", "--set", "steps=1", "--set", "batch=4", "--set", "warmup=0"]
    result = call(
        "run", "-m", TEMPLATE, "-m", "vilseg", "--data", scenes, "--limit", "2", "--json", "--device", "cpu", *fields
    )
    assert result.exit_code == 0, result.output + result.stderr
    own, vilseg = (json.loads(line)["method"]["config_given"] for line in result.stdout.splitlines())
    assert own == {"images": 8} and vilseg == {"steps": 1, "batch": 4, "warmup": 0}


def test_a_pattern_runs_every_split_that_fits_in_natural_order(call: Call, scenes: Path, tmp_path: Path) -> None:
    run = ("run", "-m", TEMPLATE, "--data", scenes, "--limit", "2", "--device", "cpu", "--json")
    told = call(*run, "--split", "voc_k?", "--split", "voc_k*", "--split", "voc_k2")
    assert told.exit_code == 0, told.output + told.stderr
    records = [json.loads(line) for line in told.stdout.splitlines()]
    assert [made["split"]["name"] for made in records] == ["voc_k2", "voc_k4", "voc_k6", "voc_k8", "voc_k10"]
    assert [len(made["split"]["unseen"]) for made in records] == [2, 4, 6, 8, 10]
    filed = call(*run, "--config", write(tmp_path / "sweep.toml", 'split = ["voc_k*"]'))
    assert [json.loads(line)["key"] for line in filed.stdout.splitlines()] == [made["key"] for made in records]


def test_the_help_of_run_tells_of_patterns(call: Call) -> None:
    assert "pattern" in call("run", "--help").output and "voc_k*" in call("run", "--help").output


def test_interrupting_says_how_to_go_on(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zsbench.split.list_splits", interrupt)
    result = call("list")
    assert result.exit_code == 130 and "the same command goes on" in result.stderr


def test_real_photographs_need_named_captions(call: Call, real_data: Path) -> None:
    refused(call("run", "--method", "vilseg", "--device", "cpu", "--data", real_data / "voc-real-small"), "--captions")


# Faulty data


def spoil_photo(root: Path) -> None:
    photo = root / "JPEGImages/000150.jpg"
    photo.write_bytes(photo.read_bytes()[:300])


def spoil_mask(root: Path) -> None:
    Image.new("RGB", (64, 64)).save(root / "SegmentationClass/000150.png")


def resize_mask(root: Path) -> None:
    mask = Image.fromarray(np.zeros((32, 64), np.uint8))
    mask.putpalette(list(range(256)) * 3)
    mask.save(root / "SegmentationClass/000150.png")


def unlist(root: Path) -> None:
    (root / "ImageSets/Segmentation/val.txt").write_text("")


def overlap(root: Path) -> None:
    lists = root / "ImageSets/Segmentation"
    (lists / "train.txt").write_text((lists / "train.txt").read_text() + "000150\n")


def lose(root: Path) -> None:
    (root / "SegmentationClass/000150.png").unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_photo, ["000150.jpg"]),
        (spoil_mask, ["000150.png", "RGB"]),
        (resize_mask, ["000150.png", "64 × 32", "64 × 64"]),
        (unlist, ["val.txt"]),
        (overlap, ["train and val share 1 images", "000150"]),
        (lose, ["000150", "not there"]),
    ],
)
def test_faulty_data_names_the_file(call: Call, copy: Path, spoil: Callable[[Path], None], words: list[str]) -> None:
    spoil(copy)
    refused(call("run", "--method", TEMPLATE, "--device", "cpu", "--data", copy), *words)
    checked = call("data", "check", copy)
    assert checked.exit_code == 2 and "verdict" in checked.output
    assert any(line.startswith("fault") and words[0] in line for line in checked.output.splitlines())


@pytest.mark.parametrize("folder", ["absent", "."])
def test_a_folder_without_data(call: Call, folder: str) -> None:
    refused(call("run", "--method", TEMPLATE, "--data", folder), f"{folder}:", "zsbench data draw")


def test_an_archive_that_points_outside_writes_nothing_there(call: Call, tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(TEMPLATE, "../../outside.txt")
        tar.add(TEMPLATE, "../../outside.jpg")
    refused(call("run", "--method", "vilseg", "--captions", "evil.tar", "--data", draw_few(call)), "evil.tar")
    assert not list(tmp_path.parent.glob("outside*")) and not list(tmp_path.parent.parent.glob("outside*"))


def draw_few(call: Call) -> str:
    drawn = call("data", "draw", "few", "--captioned", 8, "--train", 4, "--val", 2, "--arm", "clean")
    assert drawn.exit_code == 0, drawn.output
    return "few"


# Checkpoints and disks


def unfinished_run(call: Call, scenes: Path, method: Path, width: int) -> Path:
    """A run's folder as a kill after training leaves it."""
    result = call(
        "run", "--method", method, "--data", scenes, "--device", "cpu", "--set", f"width={width}", "--limit", 2
    )
    assert record(result)["method"]["config"] == {"width": width}
    folder = next(path.parent for path in Path("runs").rglob("record.json") if f'"width": {width}' in path.read_text())
    (folder / "record.json").unlink()
    return folder


def test_a_checkpoint_of_another_model(call: Call, scenes: Path, tmp_path: Path) -> None:
    method = write(tmp_path / "trained.py", TRAINED)
    narrow, wide = (unfinished_run(call, scenes, method, width) for width in (4, 8))
    again = ("run", "--method", method, "--data", scenes, "--device", "cpu", "--set", "width=8", "--limit", 2)
    shutil.copy(narrow / "train.safetensors", wide / "train.safetensors")
    refused(call(*again), "is the checkpoint of another model", "weight", "delete it")
    (wide / "train.safetensors").write_bytes(b"not tensors at all")
    refused(call(*again), "is not a zsbench checkpoint", "delete it")
    (wide / "train.safetensors").unlink()
    assert record(call(*again))["training"]["steps"] == 2


def test_a_disk_that_is_full(call: Call, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("zsbench.atomic.os.fsync", full)
    refused(call("run", "--method", TEMPLATE, "--data", scenes, "--device", "cpu"), "the disk is full")
    refused(call("data", "draw", "x", "--captioned", 2, "--train", 1, "--val", 1), "could not draw", "No space left")
    assert not Path("x").exists()
    monkeypatch.undo()


@pytest.fixture
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of so many KiB; skips where that is not allowed."""
    mounted = []

    def mount(size: int) -> Path:
        folder = tmp_path_factory.mktemp("disk")
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a small file system can be mounted by root only")
        mounted.append(folder)
        return folder

    if sys.platform != "linux" or shutil.which("mount") is None:
        pytest.skip("needs mount and tmpfs")
    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("size", [4, 16, 48, 96])
def test_a_disk_that_fills_up(call: Call, scenes: Path, small_disk: Callable[[int], Path], size: int) -> None:
    disk = small_disk(size)
    run = ("run", "--method", TEMPLATE, "--data", scenes, "--device", "cpu")
    refused(call(*run, "--out", disk / "runs"), "disk is full")
    assert not list(disk.rglob("record.json")) and not unfinished(disk)
    refused(call("data", "draw", disk / "x", "--captioned", 80, "--train", 80, "--val", 80), "No space left")
    assert not (disk / "x").exists() and not unfinished(disk)


def test_a_folder_inside_the_data_is_refused_for_runs(call: Call, copy: Path) -> None:
    refused(
        call("run", "--method", TEMPLATE, "--data", copy, "--device", "cpu", "--out", copy / "runs"), "--out", "inside"
    )
    assert not (copy / "runs").exists()


# What goes well


def test_a_run_is_made_once_and_shown_again(call: Call, scenes: Path) -> None:
    run = ("run", "--method", TEMPLATE, "--data", scenes, "--device", "cpu", "--limit", 4)
    first, second = call(*run), call(*run)
    assert first.stdout.splitlines()[0] == "data: Drawn scenes, seed 0 (drawn scenes, not photographs)"
    assert "4 of 60 images (limited: not for ranking)" in first.stdout and "  done " in first.stdout
    assert "  cached " in second.stdout and record(first) == record(second)
    assert record(first)["limited"] is True and record(first)["supervision"]["masks"] == "seen"
    forced = record(call(*run, "--force"))
    assert forced["key"] == record(first)["key"] and forced["scores"] == record(first)["scores"]
    assert not unfinished()


def test_json_prints_records_and_nothing_else(call: Call, scenes: Path) -> None:
    result = call(
        "run", "-m", TEMPLATE, "--data", scenes, "--device", "cpu", "--seed", 0, "--seed", 1, "--limit", 2, "--json"
    )
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["seed"] for record in records] == [0, 1]
    assert all(record["data"]["kind"] == "drawn" and record["status"] == "done" for record in records)


def test_a_method_that_fails_is_one_failed_run(call: Call, scenes: Path, tmp_path: Path) -> None:
    text = TRAINED.replace("train(Net", "raise RuntimeError('no luck')\n        train(Net")
    broken = write(tmp_path / "broken.py", text)
    result = call("run", "-m", broken, "-m", TEMPLATE, "--data", scenes, "--device", "cpu", "--limit", 2)
    assert result.exit_code == 1
    assert "failed  RuntimeError: no luck" in result.stdout and "  done " in result.stdout
    assert "Traceback" in next(Path("runs").rglob("error.txt")).read_text() and "Traceback" not in result.output
    assert len(list(Path("runs").rglob("record.json"))) == 1


def test_drawing_and_checking(call: Call) -> None:
    folder = draw_few(call)
    assert "in use" in call("data", "draw", folder).output
    checked, fast = call("data", "check", folder), call("data", "check", folder, "--fast")
    assert checked.exit_code == fast.exit_code == 0
    assert "lists    train 4, val 2, trainaug 4" in checked.output and "verdict  sound" in fast.output
    assert "aeroplane" in checked.output


def test_check_says_ok_or_fail(call: Call, tmp_path: Path) -> None:
    good = call("check", TEMPLATE, "--device", "cpu")
    assert good.exit_code == 0 and all(line.startswith("ok  ") for line in good.stdout.splitlines())
    bad = write(tmp_path / "bad.py", TRAINED.replace("(frozen=True)", ""))
    result = call("check", bad, "--device", "cpu")
    assert result.exit_code == 1 and "FAIL  is a frozen dataclass" in result.stdout


# Doctor


def test_doctor_reports_in_lines(call: Call, scenes: Path, own_places: Path) -> None:
    result = call("doctor", "--data", scenes)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0 and all(line.startswith(("ok   ", "--   ")) for line in lines)
    assert all("(mend: " in line for line in lines if line.startswith("--"))
    assert any(line.startswith("ok   Python 3.") for line in lines) and any("ok   torch 2." in line for line in lines)
    assert any("Drawn scenes, seed 0" in line and "val 60" in line for line in lines)
    assert any(str(own_places) in line and "GiB free" in line for line in lines)
    assert not own_places.exists(), "looking writes nothing"


def test_doctor_looks_at_the_data_that_the_environment_names(
    call: Call, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZSBENCH_DATA", str(scenes))
    assert "ok   data: Drawn scenes, seed 0" in call("doctor").stdout
    monkeypatch.setenv("ZSBENCH_DATA", "hf:./absent")
    assert "--   data: no Hugging Face data set at ./absent" in call("doctor").stdout


def test_doctor_names_what_is_missing(call: Call, copy: Path) -> None:
    assert "--   drawn scenes: not drawn yet" in call("doctor").stdout
    assert "--   data: absent: no such folder" in call("doctor", "--data", "absent").stdout
    lose(copy)
    assert "zsbench data check" in next(
        line for line in call("doctor", "--data", copy).stdout.splitlines() if "000150" in line
    )


def test_doctor_knows_the_versions_that_are_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, start in (("2.10.1", "--   "), ("2.11.0", "ok   "), ("2.15.9+cu132", "ok   "), ("2.16.0", "--   ")):
        monkeypatch.setattr(torch, "__version__", found)
        line = next(line for line in doctor.diagnose() if f"torch {found}" in line)
        assert line.startswith(start) and (start == "ok   " or "torch>=2.11,<2.16" in line)


def test_doctor_survives_a_broken_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    lines = list(doctor.diagnose())
    assert any(line.startswith("--   torch: ") and "pip install" in line for line in lines)
    assert any(line.startswith("ok   Python") for line in lines)
