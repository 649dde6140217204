"""The captions a run trains on: which corpus, what the ledger says of it, and the names that go with it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from zsbench.corpus import Corpus, open_corpus
from zsbench.data.scenes import CLASSES, draw
from zsbench.data.voc import VocDataset, open_voc
from zsbench.errors import UserError
from zsbench.prompts import spoken_names
from zsbench.split import Split, load_split

VOC5, VOC_K2, VOC20 = load_split("voc5"), load_split("voc_k2"), load_split("voc20")
PLANTED, CLEAN = "names unseen classes (planted)", "clean by construction"
ARMS = ("clean", "pair_0.5", "image_0.5", "text_0.5", "variants_0.5", "negatives_0.5", "shuffled_0.5",
        "comp_clean", "comp_pair_0.5")  # fmt: skip


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> VocDataset:
    folder = tmp_path_factory.mktemp("arms") / "drawn"
    draw(folder, captioned=40, train=2, val=2, arms=ARMS, progress=False)
    return open_voc(folder)


def corpus(dataset: VocDataset, spec: str | None, split: Split = VOC5) -> Corpus:
    return open_corpus(spec, dataset, dataset.root, None, split, seed=0)


def lines(dataset: VocDataset, arm: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (dataset.root / f"captions/{arm}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("arm", "split", "verdict"),
    [
        ("web", VOC5, PLANTED),
        ("clean", VOC5, CLEAN),
        ("web", VOC_K2, PLANTED),
        ("clean", VOC_K2, PLANTED),  # captions hold back voc5's unseen classes; cow and motorbike are none of them
        ("clean", VOC20, PLANTED),
    ],
)
def test_the_verdict_follows_the_words_of_the_captions(
    dataset: VocDataset, arm: str, split: Split, verdict: str
) -> None:
    ledger = corpus(dataset, arm, split).ledger()
    captions = [line["caption"] for line in lines(dataset, arm)]
    said = {name: sum(bool(re.search(rf"\b{name}\b", text)) for text in captions) for name in split.unseen}
    assert ledger["unseen_named"] == said and ledger["verdict"] == verdict
    assert any(said.values()) == (verdict == PLANTED)
    assert (ledger["name"], ledger["pairs"], ledger["skipped"]) == (f"drawn: {arm}", 64, 0)
    assert re.fullmatch(r"[0-9a-f]{12}", ledger["fingerprint"])
    json.dumps(ledger, allow_nan=False)


@pytest.mark.parametrize(
    ("arm", "verdict"),
    [
        ("pair_0.5", PLANTED), ("text_0.5", PLANTED), ("variants_0.5", PLANTED),
        ("negatives_0.5", CLEAN), ("shuffled_0.5", PLANTED), ("comp_clean", CLEAN), ("comp_pair_0.5", PLANTED),
    ],
)  # fmt: skip
def test_the_verdict_knows_what_was_planted_in_other_words(arms: VocDataset, arm: str, verdict: str) -> None:
    found = corpus(arms, arm)
    assert found.verdict == verdict and found.unseen_named is not None
    assert sum(found.unseen_named.values()) == (20 if verdict == PLANTED else 0)
    assert list(found.unseen_named) == list(VOC5.unseen)


def test_pictures_of_unseen_classes_are_not_called_clean(arms: VocDataset) -> None:
    shows = {picture for line in lines(arms, "image_0.5") for picture in line["ids"] if picture > 15}
    assert shows and corpus(arms, "image_0.5").verdict == "shows unseen classes, names none (planted)"


def test_drawn_scenes_have_the_web_like_corpus_by_default(dataset: VocDataset) -> None:
    assert corpus(dataset, None).ledger() == corpus(dataset, "web").ledger()


def test_photographs_have_no_captions_by_default(dataset: VocDataset, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(dataset.root, tmp_path / "real"))
    (folder / "meta.json").unlink()
    real = open_voc(folder)
    assert real.origin.kind == "real"
    with pytest.raises(UserError, match="--captions"):
        corpus(real, None)


def test_other_captions_are_not_scanned(dataset: VocDataset, tmp_path: Path) -> None:
    key = dataset.keys("val")[0]
    (tmp_path / "own.tsv").write_text(f"{key}.jpg\ta sheep on a field\n")
    found = open_corpus(str(tmp_path / "own.tsv"), dataset, dataset.root, dataset.root / "JPEGImages", VOC5, 0)
    assert found.ledger() | {"fingerprint": ""} == {
        "name": found.captions.name, "pairs": 1, "fingerprint": "", "skipped": 0, "verdict": "not scanned",
        "unseen_named": None,
    }  # fmt: skip


def test_unreadable_lines_are_counted(dataset: VocDataset, tmp_path: Path) -> None:
    keys = (*dataset.keys("train"), *dataset.keys("val"))[:60]
    (tmp_path / "own.tsv").write_text("".join(f"{key}.jpg\ta picture\n" for key in keys) + "no tab here\n")
    found = open_corpus(str(tmp_path / "own.tsv"), dataset, dataset.root, dataset.root / "JPEGImages", VOC5, 0)
    assert (found.ledger()["pairs"], found.ledger()["skipped"]) == (60, 1)


def test_captions_without_any_image_are_refused(dataset: VocDataset, tmp_path: Path) -> None:
    (tmp_path / "own.tsv").write_text("nowhere.jpg\ta sheep\n")
    with pytest.raises(UserError, match=r"own\.tsv"):
        open_corpus(str(tmp_path / "own.tsv"), dataset, dataset.root, tmp_path, VOC5, 0)


def test_an_unknown_corpus_gets_the_nearest_one(dataset: VocDataset) -> None:
    with pytest.raises(UserError, match="Did you mean 'clean'"):
        corpus(dataset, "claen")


# Names


def test_drawn_captions_and_names_agree(arms: VocDataset) -> None:
    assert spoken_names(VOC5, "drawn", None) == list(VOC5.names)
    assert spoken_names(VOC5, "drawn", "drawn: clean") == list(VOC5.names)
    for arm, comp in (("pair_0.5", False), ("comp_pair_0.5", True)):
        names = spoken_names(VOC5, "drawn", f"drawn: {arm}")
        looks = {row.name: f"{row.texture} {row.hue} {row.shape}" for row in CLASSES}
        assert names == [looks[name] if comp else name for name in VOC5.names]
        for line in lines(arms, arm):
            heard = {VOC5.names[i] for i, name in enumerate(names) if re.search(rf"\b{name}\b", line["caption"])}
            assert heard == set(line["names"])


def test_background_is_called_background_everywhere() -> None:
    for captions in (None, "drawn: clean", "drawn: comp_clean"):
        assert spoken_names(VOC_K2, "drawn", captions)[0] == "background"
    assert spoken_names(VOC_K2, "real", "own.tsv")[0] == "background"


def test_real_names_are_spoken_with_spaces_and_otherwise_left_alone() -> None:
    names = spoken_names(VOC5, "real", "comp_like.tsv")
    spaced = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}
    assert names == [spaced.get(name, name) for name in VOC5.names]
