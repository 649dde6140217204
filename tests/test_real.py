"""Real photographs, masks and captions through the same code as the drawn scenes; skipped where there are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from reports.shape import RECORD, faults
from zsbench.cli import main
from zsbench.split import load_split

STUBS = Path(__file__).parent / "stubs"


@pytest.fixture
def photographs(real_data: Path) -> Path:
    folder = real_data / "voc-real-small/VOCdevkit/VOC2012"
    if not folder.is_dir():
        pytest.skip(f"no photographs at {folder}")
    return folder


@pytest.fixture
def captions(real_data: Path) -> list[str]:
    file = real_data / "coco-mini/annotations/captions_train2017.json"
    if not file.is_file():
        pytest.skip(f"no captions at {file}")
    return ["--captions", str(file), "--caption-images", str(file.parents[1] / "train2017")]


def run(photographs: Path, out: Path, *args: str) -> tuple[Result, dict[str, Any]]:
    command = ["run", "--data", str(photographs), "--out", str(out), "--device", "cpu", "--precision", "fp32", *args]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output + result.stderr
    record: dict[str, Any] = json.loads(next(out.rglob("record.json")).read_text())
    assert list(faults(record, RECORD)) == []
    return result, record


def marked_as_real_and_limited(result: Result, record: dict[str, Any], scored: int) -> None:
    first, second = result.stdout.splitlines()[:2]
    assert first.startswith("data: PASCAL VOC 2012 (real photographs; ") and "val list has 461 images" in first
    assert f"{scored} of 461 images (limited: not for ranking)" in second
    assert record["data"]["kind"] == "real" and record["limited"] is True and record["limit"] == scored
    assert record["data"]["notes"] == [
        "train list has 132 images (official: 1,464)", "val list has 461 images (official: 1,449)",
    ]  # fmt: skip
    assert record["data"]["parts"]["train"]["list"] == "train" and record["data"]["parts"]["val"]["scored"] == scored


@pytest.mark.parametrize("split", ["voc5", "voc_k2"])
def test_real_masks_are_counted_pixel_by_pixel(photographs: Path, tmp_path: Path, split: str) -> None:
    result, record = run(photographs, tmp_path, "-m", str(STUBS / "constant.py"), "-s", split, "--limit", "24")
    marked_as_real_and_limited(result, record, 24)
    keys = (photographs / "ImageSets/Segmentation/val.txt").read_text().split()[:24]
    masks = [np.array(Image.open(photographs / f"SegmentationClass/{key}.png")) for key in keys]
    pixels = np.bincount(np.concatenate([mask.ravel() for mask in masks]), minlength=256)
    places = {name: number for number, name in enumerate(load_split("voc_k2").seen[:1] + load_split("voc20").names)}
    entries = record["scores"]["all"]["classes"]
    assert {name: entry["pixels"] for name, entry in entries.items()} == {n: pixels[places[n]] for n in entries}
    assert ("background" in entries) == (split == "voc_k2")
    last = list(entries)[-1]
    assert all(entry["recall"] in (None, float(name == last)) for name, entry in entries.items())
    pictures = record["files"]["pictures"]
    for entry in pictures:
        sizes = {Image.open(next(tmp_path.rglob("record.json")).parent / entry[layer]).size for layer in LAYERS}
        assert len(sizes) == 1
    assert record["supervision"]["corpus"] is None and len({mask.shape for mask in masks}) > 1


LAYERS = ("photo", "truth", "prediction")


def test_real_names_are_spoken_with_spaces(photographs: Path, captions: list[str], tmp_path: Path) -> None:
    _, record = run(photographs, tmp_path, "-m", str(STUBS / "listener.py"), *captions, "--limit", "2")
    assert record["prompts"]["names"][-5:] == ["potted plant", "sheep", "sofa", "train", "tv monitor"]
    assert record["split"]["unseen"][0] == "pottedplant"


SMALL = ("encoder=ViT-B-32", "steps=1", "batch=2", "warmup=1", "local_views=1", "view_size=224", "test_size=224")


def test_vilseg_trains_on_real_captions_and_scores_on_real_masks(
    photographs: Path, captions: list[str], tmp_path: Path
) -> None:
    sets = [part for field in SMALL for part in ("--set", field)]
    result, record = run(photographs, tmp_path, "-m", "vilseg", "-s", "voc5", *captions, *sets, "--limit", "4")
    marked_as_real_and_limited(result, record, 4)
    corpus = record["supervision"]["corpus"]
    assert corpus["verdict"] == "names unseen classes" and corpus["planted"] is None and corpus["pairs"] > 100
    assert corpus["unseen_named"]["train"] >= 1 and corpus["unseen_pairs"] <= sum(corpus["unseen_named"].values())
    assert "captions_train2017" in corpus["name"] and record["supervision"]["backbone"] == "ViT-B-32, random init"
    (stage,) = record["stages"]
    assert record["method"]["config"]["steps"] == stage["steps"] == 1 and np.isfinite(stage["last"]["loss"])
    reasons = {row["field"]: row for row in record["method"]["departures"]}
    assert reasons["batch"] == {"field": "batch", "paper": 768, "value": 2, "reason": "set for this run"}
    assert not any("drawn" in row["reason"] for row in reasons.values())
    assert record["prompts"]["template"] == "a photo of a {}."
    scores = record["scores"]
    assert scores["all"]["pixels"] > 0 and scores["all"]["oracle"]["miou"] >= scores["all"]["miou"]


GENERATIVE = ("encoder=resnet50", "crop=64", "test_size=64", "batch=4", "seg_batch=4", "seg_steps=2", "steps=2", "fakes=64",
              "rounds=2", "round_steps=1", "tau=0", "reject=0", "least=1")  # fmt: skip


def test_zs_mmd_trains_and_scores_on_photographs_with_published_word_vectors(
    photographs: Path, real_data: Path, tmp_path: Path
) -> None:
    file = real_data / "vectors/SPNet/voc12/word_vectors/word2vec.npy"
    if not file.is_file():
        pytest.skip(f"no word vectors at {file}")
    fields = [part for field in (*GENERATIVE, f"vectors={file}", "vector_names=voc2012") for part in ("--set", field)]
    result, record = run(photographs, tmp_path, "-m", "zs-mmd", "-s", "voc5", *fields, "--limit", "4")
    marked_as_real_and_limited(result, record, 4)
    ledger = record["supervision"]
    assert (ledger["masks"], ledger["layout"], ledger["unlabelled"]) == ("seen", "none", "train")
    assert ledger["vectors"]["source"] == "word2vec.npy" and ledger["vectors"]["leaks"] is False
    assert set(ledger["vectors"]["words"]) == set(load_split("voc5").names)
    assert [stage["name"] for stage in record["stages"]] == ["segmentation", "generation"]
    assert record["rounds"][0]["name"] == "round 0: ZS3Net"
    chosen = [entry["selected"]["classes"].values() for entry in record["rounds"][1:]]
    assert all(one["correct"] + one["outside"] <= one["pixels"] for classes in chosen for one in classes)
    assert record["calibration"]["gamma"] == 0 and record["scores"]["all"]["pixels"] > 0
