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
from zsbench.leakage.lexicon import split_lexicon
from zsbench.prompts import spoken_names
from zsbench.split import Split, load_split

VOC5, VOC_K2, VOC20 = load_split("voc5"), load_split("voc_k2"), load_split("voc20")
NAMES, NONE = "names unseen classes", "names none of the unseen classes (levels 0-3)"
SHOWS, NONE_BY_LOOKS = "shows unseen classes, names none (planted)", "names none of the unseen classes (level 0)"
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
        ("web", VOC5, NAMES),
        ("clean", VOC5, NONE),
        ("web", VOC_K2, NAMES),
        ("clean", VOC_K2, NAMES),  # captions hold back voc5's unseen classes; cow and motorbike are none of them
        ("clean", VOC20, NAMES),
    ],
)
def test_the_verdict_follows_the_words_of_the_captions(
    dataset: VocDataset, arm: str, split: Split, verdict: str
) -> None:
    ledger = corpus(dataset, arm, split).ledger()
    captions = [line["caption"] for line in lines(dataset, arm)]
    naming = {name: [text for text in captions if re.search(rf"\b{name}\b", text)] for name in split.unseen}
    said = {name: len(texts) for name, texts in naming.items()}
    assert ledger["unseen_named"] == ledger["planted"] == said and ledger["verdict"] == verdict
    assert ledger["unseen_unique"] == {name: len(set(texts)) for name, texts in naming.items()}
    assert ledger["unseen_pairs"] == sum(any(text in texts for texts in naming.values()) for text in captions)
    assert any(said.values()) == (verdict == NAMES)
    assert (ledger["name"], ledger["pairs"], ledger["skipped"]) == (f"drawn: {arm}", 64, 0)
    assert (ledger["policy"], ledger["purged"], ledger["non_latin"], ledger["level"]) == ("as-is", None, 0, 3)
    assert ledger["lexicon"] == {"name": "voc2012", "fingerprint": split_lexicon(split).fingerprint}
    assert re.fullmatch(r"[0-9a-f]{12}", ledger["fingerprint"])
    json.dumps(ledger, allow_nan=False)


@pytest.mark.parametrize(
    ("arm", "verdict"),
    [
        ("pair_0.5", NAMES), ("text_0.5", NAMES), ("variants_0.5", NAMES), ("negatives_0.5", NONE),
        ("shuffled_0.5", NAMES), ("image_0.5", SHOWS), ("comp_clean", NONE_BY_LOOKS), ("comp_pair_0.5", NAMES),
    ],
)  # fmt: skip
def test_the_scan_finds_what_was_planted_in_other_words(arms: VocDataset, arm: str, verdict: str) -> None:
    found = corpus(arms, arm).ledger()
    assert found["verdict"] == verdict and found["unseen_named"] == found["planted"]
    assert sum(found["unseen_named"].values()) == (20 if verdict == NAMES else 0)
    assert list(found["unseen_named"]) == list(VOC5.unseen)
    comp = arm.startswith("comp")
    assert found["lexicon"]["name"] == ("looks of drawn classes" if comp else "voc2012")


def test_pictures_of_unseen_classes_are_told(arms: VocDataset) -> None:
    shows = {picture for line in lines(arms, "image_0.5") for picture in line["ids"] if picture > 15}
    assert shows and corpus(arms, "image_0.5").verdict == SHOWS


def test_what_is_planted_is_not_denied_by_a_scan_that_missed_it(arms: VocDataset, tmp_path: Path) -> None:
    file = tmp_path / "poor.toml"
    file.write_text("".join(f'[{name}]\nwords = [["nothing of the kind"]]\n' for name in VOC5.unseen))
    found = open_corpus("variants_0.5", arms, arms.root, None, VOC5, 0, lexicon=file)
    assert found.ledger()["unseen_named"] == dict.fromkeys(VOC5.unseen, 0) != found.ledger()["planted"]
    assert found.verdict == "names unseen classes (planted), the scan found none"


def test_a_file_of_ones_own_among_the_drawn_captions_has_no_planted_truth(arms: VocDataset, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(arms.root, tmp_path / "drawn"))
    (folder / "captions/mine.jsonl").write_text(json.dumps({"image": "c000001", "caption": "two lambs"}) + "\n")
    found = corpus(open_voc(folder), "mine").ledger()
    assert found["planted"] is None and found["unseen_named"]["sheep"] == 1 and found["verdict"] == NAMES


def test_drawn_scenes_have_the_web_like_corpus_by_default(dataset: VocDataset) -> None:
    assert corpus(dataset, None).ledger() == corpus(dataset, "web").ledger()


def test_photographs_have_no_captions_by_default(dataset: VocDataset, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(dataset.root, tmp_path / "real"))
    (folder / "meta.json").unlink()
    real = open_voc(folder)
    assert real.origin.kind == "real"
    with pytest.raises(UserError, match="--captions"):
        corpus(real, None)


def test_other_captions_are_scanned_too(dataset: VocDataset, tmp_path: Path) -> None:
    said = ("two ewes", "a sheepish look", "две овцы", "two ewes", "a couch and a TV/monitor", "the next train")
    found = own(dataset, tmp_path, *said)
    assert found.ledger() | {"fingerprint": "", "lexicon": ""} == {
        "name": "own.tsv", "pairs": 6, "fingerprint": "", "skipped": 0, "verdict": NAMES, "unseen_pairs": 4,
        "unseen_named": {"pottedplant": 0, "sheep": 2, "sofa": 1, "train": 1, "tvmonitor": 1},
        "unseen_unique": {"pottedplant": 0, "sheep": 1, "sofa": 1, "train": 1, "tvmonitor": 1},
        "non_latin": 1, "lexicon": "", "level": 3, "policy": "as-is", "purged": None, "planted": None,
    }  # fmt: skip
    assert found.line == (
        "captions own.tsv: names unseen classes: 4 of 6 pairs (sheep 2, sofa 1, train 1, tvmonitor 1);"
        " 1 in other letters than Latin, which no English word matches"
    )
    assert own(dataset, tmp_path, "a sheepish look").line == f"captions own.tsv: {NONE}"


def own(dataset: VocDataset, folder: Path, *said: str) -> Corpus:
    """A corpus of these captions, each with an image."""
    keys = (*dataset.keys("train"), *dataset.keys("val"))
    file = folder / f"{len(list(folder.iterdir()))}" / "own.tsv"
    file.parent.mkdir()
    file.write_text("".join(f"{key}.jpg\t{text}\n" for key, text in zip(keys, said, strict=False)))
    return open_corpus(str(file), dataset, dataset.root, dataset.root / "JPEGImages", VOC5, 0)


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
