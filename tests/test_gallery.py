"""The gallery: which pictures are chosen, and that their pixels show what was there and what was predicted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from zsbench.data.dataset import IGNORED
from zsbench.data.scenes import voc_palette
from zsbench.data.voc import VocDataset
from zsbench.evaluation import Evaluation
from zsbench.gallery import EACH, OUTSIDE, Choice, choose, paint, shared, write_pictures
from zsbench.image_counts import ImageCounts
from zsbench.split import load_split

VOC5 = load_split("voc5")
CPU = torch.device("cpu")


def scored(rights: dict[str, int], seen_only: Sequence[str] = ()) -> ImageCounts:
    """Images of 10 pixels of the one unseen class, of which `rights` are right."""
    counts = ImageCounts(1, 1)
    for key, right in rights.items():
        truth = np.full(10, 0 if key in seen_only else 1, np.uint8)
        predicted = np.where(np.arange(10) < right, truth, 1 - truth)
        counts.count(key, "all", truth, predicted)
        counts.count(key, "unseen", np.where(truth == 1, truth, IGNORED), np.ones(10, np.uint8))
    return counts


def by_score(counts: ImageCounts) -> list[Choice]:
    return [choice for choice in choose(counts) if choice.rule != "shared"]


def test_worst_median_and_best_by_the_images_own_score() -> None:
    rights = {f"i{number}": right for number, right in enumerate([9, 3, 7, 0, 5, 10, 1, 8, 4])}
    assert [choice[:3] for choice in by_score(scored(rights))] == [
        ("i3", "worst", 0.0), ("i6", "worst", 0.1), ("i8", "median", 0.4), ("i4", "median", 0.5),
        ("i0", "best", 0.9), ("i5", "best", 1.0),
    ]  # fmt: skip


def test_order_of_arrival_and_ties_change_nothing() -> None:
    keys = [f"i{number}" for number in range(8)]
    chosen = choose(scored(dict.fromkeys(keys, 5)))
    assert choose(scored(dict.fromkeys(keys[::-1], 5))) == chosen
    assert [choice.key for choice in by_score(scored(dict.fromkeys(keys, 5)))] == ["i0", "i1", "i3", "i4", "i6", "i7"]


@pytest.mark.parametrize("images", range(8))
def test_few_images_are_shown_once_each(images: int) -> None:
    counts = scored({f"i{number}": number for number in range(images)})
    keys = [choice.key for choice in choose(counts)]
    assert len(keys) == len(set(keys)) and min(images, 6) <= len(keys) <= min(images, 8)
    chosen = by_score(counts)
    assert len(chosen) == min(images, 6)
    if images:
        assert chosen[0].rule == "worst"
        assert [choice.score for choice in chosen] == sorted(choice.score for choice in chosen)


def smallest(keys: Sequence[str]) -> list[str]:
    return sorted(keys, key=lambda key: hashlib.sha256(key.encode()).digest())[:2]


def test_two_images_are_shared_whatever_the_method() -> None:
    keys = [f"2007_{number:06d}" for number in range(30)]
    noise = np.random.default_rng(0)
    for _ in range(5):
        chosen = choose(scored(dict(zip(keys, noise.integers(0, 11, 30).tolist(), strict=True))))
        common = [choice for choice in chosen if choice.shared]
        assert sorted(choice.key for choice in common) == sorted(smallest(keys)) and EACH == 2
        assert {choice.rule for choice in chosen[:6]} == {"worst", "median", "best"}, "and these come first"
        for choice in chosen:
            assert choice.shared or choice.rule != "shared"
    assert shared(keys[::-1]) == shared(keys) == smallest(keys)


def test_an_image_that_is_shared_and_the_worst_has_one_entry_that_says_both() -> None:
    keys = [f"i{number}" for number in range(20)]
    first, second = smallest(keys)
    rights = {key: 3 + place % 7 for place, key in enumerate(keys)}
    chosen = choose(scored(rights | {first: 0, second: 10}))
    assert chosen[0] == (first, "worst", 0.0, True) and len(chosen) == 6
    assert [choice.rule for choice in chosen if choice.key == second] == ["best"]
    assert {choice.key for choice in chosen if choice.shared} == {first, second}


def test_shared_images_show_an_unseen_class_too() -> None:
    keys = [f"i{number}" for number in range(12)]
    without = smallest(keys)
    chosen = choose(scored(dict.fromkeys(keys, 5), seen_only=without))
    common = [choice.key for choice in chosen if choice.shared]
    assert sorted(common) == sorted(smallest([key for key in keys if key not in without]))


def test_only_images_that_show_an_unseen_class_are_shown() -> None:
    assert [choice.key for choice in choose(scored({"a": 0, "b": 5, "c": 10}, seen_only=("a", "c")))] == ["b"]
    assert choose(scored({"a": 0}, seen_only=("a",))) == []


def test_paint_uses_vocs_colours_and_the_given_opacity() -> None:
    palette = np.array(voc_palette()).reshape(-1, 3)
    ids = np.array([[0, 4, IGNORED]], np.uint8)
    painted = paint(ids, np.array([[255, 7, 0]]))
    assert painted.dtype == np.uint8 and painted.shape == (1, 3, 4)
    assert painted[0].tolist() == [[*palette[1], 255], [*palette[5], 7], [0, 0, 0, 0]]
    assert tuple(painted[0, 0, :3]) == (128, 0, 0)  # the first colour of VOC's map


def by_brightness(images_BCHW: Tensor, names: Sequence[str]) -> Tensor:
    places = torch.arange(len(names))[:, None, None] / len(names)
    return -(images_BCHW.mean(1)[:, None] - places).abs()


def test_pictures_show_photo_truth_and_prediction(dataset: VocDataset, tmp_path: Path) -> None:
    keys = list(dataset.keys("val"))[:12]
    evaluation = Evaluation(by_brightness, dataset, VOC5, keys, VOC5.names, CPU, tmp_path)
    counts, _ = evaluation.run()
    entries = write_pictures(evaluation, counts)
    assert write_pictures(evaluation, counts) == entries
    assert [(e["key"], e["rule"], e["score"], e["shared"]) for e in entries] == choose(counts)
    assert sum(e["shared"] for e in entries) == 2
    ids = np.array([VOC5.names.index(n) if n in VOC5.names else IGNORED for n in dataset.classes] + [IGNORED] * 235)
    for entry in entries:
        layers = {name: Image.open(tmp_path / entry[name]) for name in ("photo", "truth", "prediction")}
        assert (np.asarray(layers["photo"]) == dataset.image(entry["key"])).all() and layers["photo"].mode == "RGB"
        truth, image = ids[dataset.labels(entry["key"])], torch.tensor(dataset.image(entry["key"]))
        predicted = by_brightness(image.permute(2, 0, 1)[None] / 255, VOC5.names)[0].argmax(0).numpy()
        there = truth != IGNORED
        colours = {name: tuple(bytes.fromhex(text[1:])) for name, text in entry["colours"].items()}
        for layer, shown in (("truth", truth), ("prediction", predicted)):
            pixels = np.asarray(layers[layer])
            assert entry["labels"][layer] == [VOC5.names[i] for i in np.unique(shown[there])]
            for i in np.unique(shown[there]):
                assert {tuple(p) for p in pixels[shown == i][:, :3].tolist()} == {colours[VOC5.names[i]]}
            assert (pixels[there][:, 3] == 255).all()
        assert (np.asarray(layers["truth"])[~there][:, 3] == 0).all()
        assert (np.asarray(layers["prediction"])[~there][:, 3] == OUTSIDE).all()


def test_a_class_has_one_colour_in_all_pictures_of_a_split(dataset: VocDataset, tmp_path: Path) -> None:
    evaluation = Evaluation(by_brightness, dataset, VOC5, list(dataset.keys("val")), VOC5.names, CPU, tmp_path)
    entries = write_pictures(evaluation, evaluation.run()[0])
    pairs = {pair for entry in entries for pair in entry["colours"].items()}
    assert len(pairs) == len({name for name, _ in pairs}) == len({colour for _, colour in pairs}) > 5
