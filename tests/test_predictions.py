"""Label maps as files: what a run exports, what is read of strangers' files, and what is refused unread."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from zsbench import evaluation as evaluation_module
from zsbench import runner
from zsbench.cli import main
from zsbench.data.class_file import read_class_file
from zsbench.data.voc import VocDataset
from zsbench.deciding import Decided, decide
from zsbench.errors import UserError
from zsbench.evaluation import Evaluation
from zsbench.gallery import paint
from zsbench.method import Regions
from zsbench.predictions import (
    ABOUT,
    CLASSES,
    FOLDER,
    LONGEST,
    Export,
    file_stem,
    find_maps,
    read_map,
    table_of,
    translate,
    values_of,
    write_map,
)
from zsbench.run import Plan
from zsbench.runner import Outcome
from zsbench.split import load_split

STUBS = Path(__file__).parent / "stubs"
VOC5 = load_split("voc5")
CPU = torch.device("cpu")


# Names of files


def test_a_plain_key_is_its_own_file_name() -> None:
    for key in ("2007_000032", "000000000139", "COCO_train2014_000000000094", "a.b-c", "a b (1)"):
        assert file_stem(key) == key


HOSTILE = [
    "../x",
    "..",
    ".",
    "",
    "/etc/passwd",
    "a/b",
    "a%2Fb",
    "a\\b",
    "C:x",
    ".hidden",
    "a\0b",
    "a\nb",
    "ü",
    "%",
    "end.",
]


def test_no_key_leaves_its_folder_and_no_two_share_a_file(tmp_path: Path) -> None:
    keys = [*HOSTILE, "x" * 400, "x" * 399 + "y", "ü" * 100]
    stems = [file_stem(key) for key in keys]
    assert len(set(stems)) == len(keys)
    for stem in stems:
        path = (tmp_path / f"{stem}.png").resolve()
        assert path.parent == tmp_path.resolve() and not stem.startswith(".") and len(stem) <= LONGEST
        path.touch()
    assert len(list(tmp_path.iterdir())) == len(keys)


def test_maps_of_hostile_keys_are_found_again(tmp_path: Path) -> None:
    export = Export(tmp_path / "maps", ("a", "b"))
    for number, key in enumerate(HOSTILE):
        export.write(key, Decided(np.full((2, 3), number, np.uint8), np.ones((2, 3), np.uint8)))
    files = find_maps(tmp_path / "maps/all", HOSTILE)
    assert not files.missing and not files.others
    assert [int(read_map(files.found[key])[0, 0]) for key in HOSTILE] == list(range(len(HOSTILE)))
    assert {path.name for path in tmp_path.iterdir()} == {"maps"}


# Writing and reading


def test_a_map_is_read_as_it_was_written_in_the_colours_of_the_pictures(tmp_path: Path) -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(8, 32)
    write_map(tmp_path / "a.png", ids)
    np.testing.assert_array_equal(read_map(tmp_path / "a.png"), ids)
    image = Image.open(tmp_path / "a.png")
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), paint(ids, np.zeros_like(ids))[..., :3])


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "int32", "int64", "uint64", ">i4"])
def test_arrays_of_whole_numbers_are_read(tmp_path: Path, kind: str) -> None:
    ids = np.arange(12).reshape(3, 4).astype(kind)
    np.save(tmp_path / "a.npy", ids)
    np.testing.assert_array_equal(read_map(tmp_path / "a.npy"), ids)
    np.save(tmp_path / "a.npy", np.asfortranarray(ids))
    np.testing.assert_array_equal(read_map(tmp_path / "a.npy"), ids)


def test_grey_pngs_of_8_and_16_bits_are_read(tmp_path: Path) -> None:
    for kind, values in (("uint8", [0, 7, 255]), ("uint16", [0, 255, 65535])):
        Image.fromarray(np.array([values], kind)).save(tmp_path / "a.png")
        assert read_map(tmp_path / "a.png").tolist() == [values]


def png(width: int, height: int) -> bytes:
    """A PNG whose header promises more than there is."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 10)), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


class Booby:
    def __reduce__(self) -> Any:
        return os.mkdir, ("pickle-was-opened",)


def array_bytes(array: np.ndarray) -> bytes:
    whole = io.BytesIO()
    np.save(whole, array, allow_pickle=True)
    return whole.getvalue()


def npz_bytes() -> bytes:
    whole = io.BytesIO()
    np.savez(whole, a=np.zeros((2, 2), int))
    return whole.getvalue()


def header(shape: str) -> bytes:
    text = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def npy(head: bytes) -> bytes:
    """An .npy file with any header; what follows would be enough for four numbers."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(32)


def colour_png() -> bytes:
    whole = io.BytesIO()
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(whole, "PNG")
    return whole.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.npy", pickle.dumps(Booby()), "not an .npy file inside"),
        ("a.npy", array_bytes(np.array([[Booby()]], object)), "Python objects, which can carry code"),
        ("a.npy", npz_bytes(), "not an .npy file inside"),
        ("a.npy", array_bytes(np.zeros((4, 4), int))[:-8], "not a whole .npy file"),
        ("a.npy", header("(2000000, 2000000)"), "not a whole .npy file"),
        ("a.npy", header("(99999999999999999999, 9)"), "not a whole .npy file"),
        ("a.npy", header("(__import__('os').mkdir('ran'), 9)"), "not a whole .npy file"),
        ("a.npy", b"", "not an .npy file inside"),
        ("a.npy", npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (2, 2)"), "not a whole .npy file"),
        ("a.npy", npy(b"{1: 2, 'a': 3}"), "not a whole .npy file"),
        ("a.npy", npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (2, 2), 3: 4}"), "not a whole .npy file"),
        ("a.npy", npy(b"{'descr': [['a']], 'fortran_order': False, 'shape': (2, 2)}"), "not a whole .npy file"),
        ("a.npy", npy(b"{'descr': {'a': 1}, 'fortran_order': False, 'shape': (2, 2)}"), "not a whole .npy file"),
        ("a.npy", npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (-2, 2)}"), "not a whole .npy file"),
        ("a.npy", npy(b"'''x"), "not a whole .npy file"),
        ("a.npy", npy(b"{{}: 1}"), "not a whole .npy file"),
        ("a.npy", array_bytes(np.zeros((2, 2))), "float64; expected whole numbers"),
        ("a.npy", array_bytes(np.zeros((2, 2), bool)), "bool; expected whole numbers"),
        ("a.npy", array_bytes(np.zeros((1, 2, 2), int))  , "shape (1, 2, 2); expected (H, W)"),
        ("a.npy", array_bytes(np.zeros((0, 2), int)), "shape (0, 2); expected (H, W)"),
        ("a.png", png(100_000, 100_000), "pixels"),
        ("a.png", png(64, 64), "broken or truncated"),
        ("a.png", b"GIF89a" + b"\0" * 40, "not an image"),
        ("a.png", b"", "not an image"),
        ("a.png", colour_png(), "a mask in mode RGB"),
    ],
)  # fmt: skip
def test_what_is_no_label_map_is_named_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_map(tmp_path / name)
    assert words in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_array_above_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(header("(10000, 10000)"))
        file.truncate(8 * 10**8 + 128)  # a hole: it takes no room on the disk
    with pytest.raises(UserError, match="at most 50,000,000"):
        read_map(tmp_path / "a.npy")


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.npy")  # opening it would wait for ever
    for name in ("folder.png", "pipe.npy", "absent.png"):
        with pytest.raises(UserError, match="not a file"):
            read_map(tmp_path / name)


def test_files_are_found_by_key_and_strangers_are_told(tmp_path: Path) -> None:
    for name in ("a.png", "b.npy", "c.npz", "d.png", CLASSES, ABOUT):
        (tmp_path / name).touch()
    files = find_maps(tmp_path, ["b", "a", "c"])
    assert {key: path.name for key, path in files.found.items()} == {"b": "b.npy", "a": "a.png"}
    assert list(files.missing) == ["c"] and list(files.others) == ["c.npz", "d.png"]
    (tmp_path / "a.npy").touch()
    with pytest.raises(UserError, match=r"\.png and \.npy of a; leave one"):
        find_maps(tmp_path, ["a", "b"])


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int32", "int64", "uint64"])
@pytest.mark.parametrize("ids", [{0: 3, 5: 0, 20: 7}, {300: 1, 254: 2}, {}])
def test_ids_are_looked_up_one_by_one(kind: str, ids: dict[int, int]) -> None:
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    values = sorted(
        {v for v in (low, -1, 0, 1, 5, 20, 21, 127, 254, 255, 256, 300, 301, 65535, high) if low <= v <= high}
    )
    found = translate(np.array([values], kind), table_of(ids))
    assert found.dtype == np.uint8 and found.tolist() == [[ids.get(value, 255) for value in values]]


def test_values_of_all_maps_are_collected(tmp_path: Path) -> None:
    files = []
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", np.array([[number, 10 * number]]))
        files.append(tmp_path / f"{number}.npy")
    assert values_of(files) == {0, 1, 2, 3, 10, 20, 30}


# What a run exports

CALIBRATED = '''"""Calibrated: a hue is a score, and seen names pay gamma."""
from dataclasses import dataclass
import importlib.util, sys
from zsbench.supervision import Supervision

@dataclass(frozen=True)
class Calibrated:
    gamma: float = 0.02

    @property
    def supervision(self):
        return Supervision()

    def fit(self, data, job):
        (job.folder / "fits.txt").open("a").write("x")
        spec = importlib.util.spec_from_file_location("colours_stub", "COLOURS")
        colours = importlib.util.module_from_spec(spec)
        sys.modules["colours_stub"] = colours
        spec.loader.exec_module(colours)
        segmenter = colours.Segmenter(4, 0.1)
        segmenter.gamma = self.gamma
        return segmenter
'''


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("methods") / "calibrated.py"
    file.write_text(CALIBRATED.replace("COLOURS", str(STUBS / "colours.py")))
    return str(file)


def plan(dataset: VocDataset, out: Path, **changes: Any) -> Plan:
    return replace(Plan(dataset, dataset.root, CPU, "fp32", out=out, command="zsbench run …", limit=8), **changes)


def execute(plan: Plan, method: str, split: str = "voc5", **given: Any) -> Outcome:
    outcome = runner.execute(runner.prepare(plan, method, load_split(split), 0, given))
    assert outcome.status != "failed", outcome.message
    return outcome


def maps(outcome: Outcome, scope: str) -> dict[str, np.ndarray]:
    return {path.stem: read_map(path) for path in (outcome.folder / FOLDER / scope).iterdir()}


def test_an_export_explains_itself(dataset: VocDataset, tmp_path: Path) -> None:
    outcome = execute(plan(dataset, tmp_path, save_predictions=True), str(STUBS / "colours.py"), "voc_k2")
    folder, split = outcome.folder / FOLDER, load_split("voc_k2")
    assert {path.name for path in folder.iterdir()} == {"all", "unseen", CLASSES, ABOUT}
    assert read_class_file(folder / CLASSES).settled() == dict(enumerate(split.names))
    about = json.loads((folder / ABOUT).read_text())
    assert about["run"] == outcome.key and about["split_fingerprint"] == split.fingerprint
    assert about["classes"] == list(split.names) and about["images"] == 8 and about["command"] == "zsbench run …"
    keys = dataset.keys("val")[:8]
    for scope, low in (("all", 0), ("unseen", len(split.seen))):
        found = maps(outcome, scope)
        assert sorted(found) == sorted(keys)
        for key, ids in found.items():
            assert ids.shape == dataset.labels(key).shape and low <= ids.min() <= ids.max() < len(split.names)
    assert outcome.record is not None and outcome.record["files"]["predictions"] == FOLDER
    assert not list(outcome.folder.rglob("*.part"))


@pytest.mark.parametrize(("method", "coarse"), [("colours", 1), ("tiles", 4)])
def test_the_maps_are_the_decisions(dataset: VocDataset, tmp_path: Path, method: str, coarse: int) -> None:
    """Against the segmenter's own scores, decided one scope at a time."""
    here = plan(dataset, tmp_path, save_predictions=True)
    outcome = execute(here, str(STUBS / f"{method}.py"), coarse=coarse)
    run = runner.prepare(here, str(STUBS / f"{method}.py"), VOC5, 0, {"coarse": coarse})
    segmenter = run.configured.method.fit(None, None)  # type: ignore[arg-type]
    keys = dataset.keys("val")[:8]
    images = torch.from_numpy(np.stack([dataset.image(key) for key in keys])).permute(0, 3, 1, 2) / 255
    scores: torch.Tensor | Regions = segmenter(images, VOC5.names)
    for scope, candidates in (("all", range(20)), ("unseen", range(15, 20))):
        found = maps(outcome, scope)
        for row, key in enumerate(keys):
            np.testing.assert_array_equal(found[key], decide(scores, row, candidates, found[key].shape))


def test_gamma_moves_the_map_over_all_names_only(dataset: VocDataset, tmp_path: Path, calibrated: str) -> None:
    here = plan(dataset, tmp_path, save_predictions=True)
    plain, moved = execute(here, calibrated, gamma=0.0), execute(here, calibrated, gamma=0.05)
    same = [np.array_equal(ids, maps(moved, "unseen")[key]) for key, ids in maps(plain, "unseen").items()]
    assert all(same) and len(same) == 8
    seen = [sum(int((ids < 15).sum()) for ids in maps(outcome, "all").values()) for outcome in (plain, moved)]
    assert seen[1] < seen[0]


def test_keeping_maps_changes_no_number_and_no_key(dataset: VocDataset, tmp_path: Path, calibrated: str) -> None:
    without = execute(plan(dataset, tmp_path / "a"), calibrated)
    kept = execute(plan(dataset, tmp_path / "b", save_predictions=True), calibrated)
    assert without.record is not None and kept.record is not None and without.key == kept.key
    for part in ("scores", "confusion", "calibration"):
        assert without.record[part] == kept.record[part]
    assert not (without.folder / FOLDER).exists() and without.record["files"]["predictions"] is None


def test_maps_of_a_finished_run_come_from_evaluating_it_again(
    dataset: VocDataset, tmp_path: Path, calibrated: str, capsys: pytest.CaptureFixture[str]
) -> None:
    here = plan(dataset, tmp_path)
    first = execute(here, calibrated)
    again = execute(replace(here, save_predictions=True), calibrated)
    assert again.status == "done" and "finished without label maps" in capsys.readouterr().err
    assert first.record is not None and again.record is not None and again.key == first.key
    assert again.record["scores"] == first.record["scores"] and again.record["confusion"] == first.record["confusion"]
    assert len(maps(again, "all")) == len(maps(again, "unseen")) == 8
    assert execute(replace(here, save_predictions=True), calibrated).status == "cached"
    assert execute(here, calibrated).status == "cached", "who does not ask for maps takes the run as it is"
    (again.folder / FOLDER / "unseen" / f"{dataset.keys('val')[3]}.png").unlink()
    assert execute(here, calibrated).status == "cached", "maps that somebody threw away are missed by nobody else"
    assert execute(replace(here, save_predictions=True), calibrated).status == "done"
    assert len(maps(again, "unseen")) == 8


def test_training_is_not_repeated_for_the_maps(scenes: Path, tmp_path: Path) -> None:
    args = ["run", "-m", "vilseg", "--data", str(scenes), "--out", str(tmp_path), "--limit", "4", "--device", "cpu"]
    args += ["--set", "steps=2", "--set", "batch=4", "--set", "warmup=1", "--json"]
    first = json.loads(CliRunner().invoke(main, args).stdout)
    curves = [path.read_text() for path in tmp_path.rglob("curves.jsonl")]
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    again = json.loads(CliRunner().invoke(main, [*args, "--save-predictions"]).stdout)
    assert stamps and stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert curves == [path.read_text() for path in tmp_path.rglob("curves.jsonl")]
    assert again["scores"] == first["scores"] and again["files"]["predictions"] == FOLDER
    assert len(list(tmp_path.rglob("predictions/*/*.png"))) == 8


class Tired:
    """A segmenter that gives up after some images."""

    def __init__(self, images: int):
        self.left = images

    def __call__(self, images_BCHW: torch.Tensor, names: Sequence[str]) -> torch.Tensor:
        self.left -= len(images_BCHW)
        if self.left < 0:
            raise KeyboardInterrupt
        places = torch.arange(len(names))[:, None, None] / len(names)
        return -(images_BCHW.mean(1)[:, None] - places).abs()


def test_an_evaluation_that_was_cut_off_ends_with_all_maps(
    dataset: VocDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_module, "BLOCK", 4)
    keys, export = list(dataset.keys("val"))[:12], Export(tmp_path / "run" / FOLDER, VOC5.names)

    def run(images: int, kept: Export | None = export) -> pd.DataFrame:
        made = Evaluation(Tired(images), dataset, VOC5, keys, VOC5.names, CPU, tmp_path / "run", kept=kept)
        return made.run()[0].frame()

    with pytest.raises(KeyboardInterrupt):
        run(4, None)  # the first block is counted, nobody wanted maps
    with pytest.raises(KeyboardInterrupt):
        run(10)
    assert export.holds(keys[:8]) and not export.holds(keys)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    frame = run(4)
    assert export.holds(keys)
    whole = [path for path, stamp in stamps.items() if path.stat().st_mtime_ns == stamp]
    assert len(whole) >= 16, "the maps of whole blocks are not made again"
    shutil.rmtree(tmp_path / "run/counts")
    assert run(12, None).equals(frame)


ROUNDED = '''"""Rounded: two states, of which the first says another name everywhere."""
from dataclasses import dataclass
import torch
from zsbench.method import Round
from zsbench.supervision import Supervision

def constant(place):
    def segment(images, names):
        scores = torch.zeros(len(images), len(names), 1, 1)
        scores[:, place] = 1
        return scores
    return segment

class Segmenter:
    def __init__(self):
        self.rounds = [Round("round 0", constant(0)), Round("round 1", self)]
    def __call__(self, images, names):
        return constant(17)(images, names)

@dataclass(frozen=True)
class Rounded:
    @property
    def supervision(self):
        return Supervision()
    def fit(self, data, job):
        return Segmenter()
'''


def test_earlier_rounds_leave_the_maps_alone(dataset: VocDataset, tmp_path: Path) -> None:
    (tmp_path / "rounded.py").write_text(ROUNDED)
    outcome = execute(plan(dataset, tmp_path / "runs", save_predictions=True), str(tmp_path / "rounded.py"))
    assert outcome.record is not None and len(outcome.record["rounds"]) == 2
    assert {int(value) for ids in maps(outcome, "all").values() for value in np.unique(ids)} == {17}
    assert len(list((outcome.folder / FOLDER).rglob("*.png"))) == 16
