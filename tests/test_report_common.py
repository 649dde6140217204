"""Pictures side by side: which images are compared, whose answers stand there, and that nothing is compared unlike."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from records import write_run
from zsbench.reports.boards import boards
from zsbench.reports.common_pictures import Common, CommonCard, common_cards, common_images
from zsbench.reports.groups import Group
from zsbench.reports.packing import opened
from zsbench.reports.page import write_report
from zsbench.reports.pictures import Room, gallery, label_map
from zsbench.reports.read import read_runs

SIZE = (40, 60)  # rows, columns
COLOURS = {"sheep": "#0a0a0a", "sofa": "#141414", "train": "#1e1e1e"}
NAMES = list(COLOURS)
ROOM = Room(24, 40_000, 6)
EVIL = "<script>alert(1)</script>"
Ids = np.ndarray[Any, np.dtype[np.int64]]


def halves(left: str, right: str) -> Ids:
    """A label map of two halves; the last ten rows are not labelled."""
    ids = np.full(SIZE, NAMES.index(left))
    ids[:, SIZE[1] // 2 :] = NAMES.index(right)
    return ids


def save(path: Path, ids: Ids, alpha: int) -> None:
    pixels = np.zeros((*ids.shape, 4), np.uint8)
    pixels[..., :3] = (10 * (ids + 1))[..., None]
    pixels[..., 3] = 255
    pixels[30:, :, 3] = alpha
    Image.fromarray(pixels).save(path)


def shows(folder: Path, *entries: dict[str, Any]) -> Path:
    """Gives a run these pictures: key, and what else its entry says. truth, guess: label maps."""
    found = []
    for place, entry in enumerate(entries):
        own = {
            "rule": "worst",
            "score": 0.25,
            "truth": halves("sheep", "sofa"),
            "guess": halves("sheep", "sofa"),
        } | entry
        files = {layer: f"pictures/{place:02d}-{layer}.png" for layer in ("photo", "truth", "prediction")}
        Image.fromarray(np.full((*own["truth"].shape, 3), 90, np.uint8)).save(folder / files["photo"])
        save(folder / files["truth"], own.pop("truth"), 0)
        save(folder / files["prediction"], guess := own.pop("guess"), 96)
        labels = {"truth": ["sheep", "sofa"], "prediction": [NAMES[i] for i in np.unique(guess)]}
        found.append({"colours": COLOURS, "labels": labels} | own | files)
    edit(folder, found)
    return folder


def edit(folder: Path, pictures: list[dict[str, Any]]) -> None:
    made = json.loads((folder / "record.json").read_text())
    made["files"]["pictures"] = pictures
    (folder / "record.json").write_text(json.dumps(made))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """A run of a method, better the earlier it is in the alphabet, with pictures."""

    def write(name: str, *entries: dict[str, Any], **choices: Any) -> Path:
        folder = write_run(tmp_path / "runs", method=name, title=name.upper(), corpus=None, **choices)
        made = json.loads((folder / "record.json").read_text())
        made["scores"]["unseen"]["miou"] = 0.9 - (ord(name) - ord("a")) / 20
        (folder / "record.json").write_text(json.dumps(made))
        return shows(folder, *entries)

    return write


def groups_of(tmp_path: Path) -> list[Group]:
    [board] = boards(read_runs([tmp_path / "runs"])[0])
    return list(board.groups)


def images_of(tmp_path: Path) -> list[Common]:
    return common_images(groups_of(tmp_path))


def cards_of(tmp_path: Path) -> list[CommonCard]:
    return common_cards(images_of(tmp_path), ROOM)


def whose(card: CommonCard) -> list[str]:
    return [answer.group.title for answer in card.answers]


def key(name: str, **more: Any) -> dict[str, Any]:
    return {"key": name} | more


def test_an_image_that_two_show_is_compared_whatever_chose_it(run: Callable[..., Path], tmp_path: Path) -> None:
    run("a", key("one", rule="worst", score=0.125), key("two"))
    run("b", key("one", rule="best", score=0.75), key("three"))
    [card] = cards_of(tmp_path)
    assert card.key == "one" and whose(card) == ["A", "B"] and not card.shared
    assert [(answer.rule, answer.score) for answer in card.answers] == [("worst", 0.125), ("best", 0.75)]


def test_shared_images_come_first_then_those_that_most_show(run: Callable[..., Path], tmp_path: Path) -> None:
    run("a", *(key(f"i{n}") for n in range(8)), key("z", rule="shared", shared=True))
    run("b", *(key(f"i{n}") for n in range(8)), key("z", shared=True))
    run("c", key("i7"))
    assert [image.key for image in images_of(tmp_path)] == ["z", "i7", "i0", "i1", "i2", "i3"], "six at most"
    assert [image.tiles for image in images_of(tmp_path)] == [4, 5, 4, 4, 4, 4]
    assert common_cards(images_of(tmp_path), Room(24, 40_000, 1))[0].key == "z", "and fewer where room is scarce"


def test_the_first_run_that_has_it_answers_and_says_its_seed(run: Callable[..., Path], tmp_path: Path) -> None:
    run("a", key("other"), seed=0)
    run("a", key("one", score=0.5), seed=1)
    run("a", key("one", score=0.75), seed=2)
    run("b", key("one"), seed=4)
    [card] = cards_of(tmp_path)
    assert [(answer.seed, answer.score) for answer in card.answers] == [(1, 0.5), (4, 0.25)]


def test_seeds_of_one_configuration_are_no_comparison(run: Callable[..., Path], tmp_path: Path) -> None:
    for seed in range(3):
        run("a", key("one"), seed=seed)
    assert images_of(tmp_path) == []
    assert 'id="drawn-voc5-common"' not in write_report([tmp_path / "runs"], tmp_path / "out").page.read_text()


def test_where_answers_differ_most_stands_first(run: Callable[..., Path], tmp_path: Path) -> None:
    wrong, half = halves("sofa", "sheep"), halves("sheep", "train")
    run("a", key("i0"), key("i1"), key("i2"), key("i3", rule="shared", shared=True))
    run("b", key("i0"), key("i1", guess=wrong), key("i2", guess=half), key("i3", rule="shared", shared=True))
    cards = cards_of(tmp_path)
    assert [(card.key, card.dissent) for card in cards] == [("i3", 0), ("i1", 1), ("i2", 0.5), ("i0", 0)]
    run("c", key("i2"))
    third = next(card for card in cards_of(tmp_path) if card.key == "i2")
    assert third.dissent == pytest.approx((0.5 + 0 + 0.5) / 3), "the mean over pairs"


def test_only_labelled_pixels_tell_answers_apart(run: Callable[..., Path], tmp_path: Path) -> None:
    outside = halves("sheep", "sofa")
    outside[30:] = NAMES.index("train")
    run("a", key("one"))
    run("b", key("one", guess=outside))
    assert cards_of(tmp_path)[0].dissent == 0


def test_other_truths_are_not_compared(run: Callable[..., Path], tmp_path: Path) -> None:
    run("a", key("one"))
    run("b", key("one"))
    run("c", key("one", truth=halves("sofa", "sheep")))
    run("d", key("one", truth=halves("sheep", "sofa")[:, :50], guess=halves("sheep", "sofa")[:, :50]))
    run("e", key("one", labels={"truth": ["train"]}))
    [card] = cards_of(tmp_path)
    assert whose(card) == ["A", "B"], "other pixels, another size, other names"
    run("b", key("one", truth=halves("sheep", "sheep")))
    assert cards_of(tmp_path) == [], "nothing is left to compare"


def test_missing_files_leave_a_tile_that_says_so(run: Callable[..., Path], tmp_path: Path) -> None:
    first, second = run("a", key("one")), run("b", key("one"))
    for name in ("photo", "truth"):
        (first / f"pictures/00-{name}.png").unlink()
    (second / "pictures/00-prediction.png").write_bytes(b"\x89PNG cut")
    [card] = cards_of(tmp_path)
    assert card.photo.url and card.truth.url, "of the run that has them"
    assert card.answers[0].tile.url and card.answers[1].tile.url is None
    assert card.answers[1].tile.lack == "no picture file pictures/00-prediction.png"
    save(second / "pictures/00-prediction.png", halves("sheep", "sofa")[:, :20], 96)
    assert "another size" in cards_of(tmp_path)[0].answers[1].tile.lack
    for folder in (first, second):
        for file in (folder / "pictures").iterdir():
            file.unlink()
    assert [tile.url for tile in (cards_of(tmp_path)[0].photo, cards_of(tmp_path)[0].truth)] == [None, None]


def test_a_class_has_one_colour_in_all_answers_and_stands_once_in_the_legend(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    run("a", key("one", guess=halves("sheep", "sofa")))
    swapped = {"sheep": COLOURS["train"], "sofa": COLOURS["sofa"], "train": COLOURS["sheep"]}
    truth, guess = halves("train", "sofa"), halves("sheep", "train")  # sheep and sofa, train and sheep in its colours
    labels = {"truth": ["sheep", "sofa"], "prediction": ["train", "sheep"]}
    run("b", key("one", truth=truth, guess=guess, colours=swapped, labels=labels))
    [card], [image] = cards_of(tmp_path), images_of(tmp_path)
    hues = dict(card.legend)
    assert sorted(hues) == sorted(NAMES) and len(set(hues.values())) == len(card.legend) == 3
    expected = (("sheep", "sofa"), ("train", "sheep"))
    for shot, names in zip(image.shots, expected, strict=True):
        shown = label_map(shot.run, shot.picture, "prediction")
        assert shown is not None
        pixels = np.asarray(shown.convert("RGBA"))
        assert ["#" + bytes(pixels[0, x, :3]).hex() for x in (0, -1)] == [hues[name] for name in names]


def test_galleries_hold_what_a_score_chose(run: Callable[..., Path], tmp_path: Path) -> None:
    run(
        "a",
        key("s", rule="shared", shared=True, score=0.01),
        key("w", rule="worst", shared=True),
        key("b", rule="best"),
    )
    [group] = groups_of(tmp_path)
    assert [card.key for card in gallery(group)[1]] == ["w", "b"]


def test_the_page_names_every_answer_and_asks_for_nothing(run: Callable[..., Path], tmp_path: Path) -> None:
    run("a", key(EVIL, rule="shared", shared=True, score=0.5))
    run("b", key(EVIL, rule="shared", shared=True), given={"clusters": 50})
    summary = write_report([tmp_path / "runs"], tmp_path / "out")
    text = summary.page.read_text()
    section = text[text.index('id="drawn-voc5-common"') : text.index('id="drawn-voc5-departures"')]
    assert EVIL not in text and "&lt;script&gt;alert(1)" in section
    assert 'href="#drawn-voc5-common"' in text and section.count('type="range"') == 1
    alts = re.findall(r'alt="([^"]*)"', section)
    assert alts[0].startswith("Photo") and alts[1] == "Truth: sheep, sofa"
    assert alts[2:] == [
        "A, no captions. Prediction: sheep, sofa",
        "B, clusters=50, no captions. Prediction: sheep, sofa",
    ]
    assert "mIoU 50.0" in section and "mIoU 25.0" in section
    again = write_report([tmp_path / "runs"], tmp_path / "again")
    assert again.page.read_bytes() == summary.page.read_bytes()


def test_a_mark_that_is_no_yes_is_none(run: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(name, key("one", shared="no"))
    assert [image.shared for image in images_of(tmp_path)] == [False]


def test_a_picture_that_is_too_large_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    assert opened(tmp_path / "photo.png") is not None
    monkeypatch.setattr("zsbench.reports.packing.MOST_PIXELS", 1599)
    assert opened(tmp_path / "photo.png") is None
