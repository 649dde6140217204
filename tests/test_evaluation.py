"""Evaluation: deciding, counting and resuming, each beside a slow and plain second opinion."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from zsbench import evaluation as evaluation_module
from zsbench.data.dataset import IGNORED, Origin
from zsbench.data.universes import VOC_CLASSES
from zsbench.data.view import to_split_ids
from zsbench.data.voc import VocDataset
from zsbench.deciding import decide, oracle_counts
from zsbench.evaluation import BLOCK, ContractError, Evaluation, count_image
from zsbench.image_counts import ImageCounts
from zsbench.method import Regions
from zsbench.scoring import summarise
from zsbench.split import Split, load_split

VOC5, VOC_K2 = load_split("voc5"), load_split("voc_k2")
CPU = torch.device("cpu")


# Second opinions


def weights(small: int, large: int) -> np.ndarray:
    """(large, small) bilinear weights between cell centres, borders repeated."""
    table = np.zeros((large, small))
    for row in range(large):
        at = min(max((row + 0.5) * small / large - 0.5, 0), small - 1)
        low = int(at)
        table[row, low] += 1 - (at - low)
        table[row, min(low + 1, small - 1)] += at - low
    return table


def plain_decide(scores_NHW: np.ndarray, candidates: range, size: tuple[int, int]) -> np.ndarray:
    down, across = weights(scores_NHW.shape[1], size[0]), weights(scores_NHW.shape[2], size[1])
    best = np.full(size, -1)
    for y, x in itertools.product(range(size[0]), range(size[1])):
        at = [float(down[y] @ scores_NHW[name].astype(np.float64) @ across[x]) for name in candidates]
        best[y, x] = candidates[int(np.argmax(at))]
    return best


def plain_oracle(truth: np.ndarray, regions: np.ndarray, candidates: range) -> np.ndarray:
    counts = np.zeros((len(candidates), len(candidates)), int)
    for region in np.unique(regions):
        inside = Counter(int(label) for label in truth[regions == region] if label != IGNORED)
        if inside:
            most = max(inside.values())
            name = min(label for label, pixels in inside.items() if pixels == most)
            for label, pixels in inside.items():
                counts[label - candidates.start, name - candidates.start] += pixels
    return counts


def plain_confusion(pairs: list[tuple[np.ndarray, np.ndarray]], names: int, first: int = 0) -> np.ndarray:
    """Rows truth; only truth from `first` on counts."""
    counts = np.zeros((names, names), int)
    for truth, predicted in pairs:
        for label, name in zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True):
            if first <= label < names:
                counts[label, name] += 1
    return counts[first:, first:]


# Deciding


@pytest.mark.parametrize("grid", [(16, 16), (8, 8), (4, 8), (5, 3), (1, 1), (20, 24)])
@pytest.mark.parametrize("candidates", [range(6), range(4, 6), range(3, 4)])
def test_dense_scores_are_resized_and_then_decided(grid: tuple[int, int], candidates: range) -> None:
    scores = torch.rand(2, 6, *grid, generator=torch.Generator().manual_seed(0))
    for row in range(2):
        decided = decide(scores, row, candidates, (16, 16))
        assert decided.dtype == np.uint8
        np.testing.assert_array_equal(decided, plain_decide(scores[row].numpy(), candidates, (16, 16)))


def test_a_name_that_wins_in_no_cell_can_win_between_two() -> None:
    scores = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]], [[0.6, 0.6]]]])
    assert decide(scores, 0, range(3), (1, 2)).tolist() == [[0, 1]]
    assert 2 in decide(scores, 0, range(3), (1, 16))[0, 6:10]


def test_only_candidates_win_however_high_the_others_score() -> None:
    scores = torch.rand(1, 7, 4, 4, generator=torch.Generator().manual_seed(1))
    scores[:, :4] += 100
    assert set(np.unique(decide(scores, 0, range(4, 7), (32, 32)))) <= {4, 5, 6}
    assert set(np.unique(decide(scores, 0, range(7), (32, 32)))) <= {0, 1, 2, 3}
    regions = Regions(torch.arange(16).reshape(1, 4, 4), scores.flatten(2).transpose(1, 2))
    assert set(np.unique(decide(regions, 0, range(4, 7), (4, 4)))) <= {4, 5, 6}


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_scores_may_have_any_precision(kind: torch.dtype) -> None:
    scores = torch.tensor([[[[2.0, -1.0]], [[0.0, 3.0]]]], dtype=kind)
    assert decide(scores, 0, range(2), (2, 4)).tolist() == [[0, 0, 1, 1]] * 2


@pytest.mark.parametrize(("grid", "size"), [((12, 12), (12, 12)), ((4, 6), (12, 12)), ((5, 7), (12, 18))])
def test_regions_are_named_and_painted(grid: tuple[int, int], size: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(2)
    regions = Regions(torch.randint(5, (3, *grid), generator=random), torch.rand(3, 5, 6, generator=random))
    for row, candidates in itertools.product(range(3), (range(6), range(4, 6))):
        expected = np.empty(size, int)
        for y, x in itertools.product(range(size[0]), range(size[1])):
            cell = regions.map_BHW[row, int((y + 0.5) * grid[0] / size[0]), int((x + 0.5) * grid[1] / size[1])]
            own = regions.scores_BKN[row, cell].tolist()
            expected[y, x] = max(candidates, key=own.__getitem__)
        np.testing.assert_array_equal(decide(regions, row, candidates, size), expected)


def test_what_a_region_that_is_not_there_scores_changes_nothing() -> None:
    there = torch.tensor([[[0.0, 1.0], [9.0, -9.0]]])
    ids = torch.zeros(1, 4, 4, dtype=torch.int64)
    other = torch.tensor([[[0.0, 1.0], [-1e30, 1e30]]])
    for scores in (there, other):
        assert (decide(Regions(ids, scores), 0, range(2), (4, 4)) == 1).all()


# The oracle bound


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("candidates", [range(5), range(3, 5), range(2, 3)])
def test_oracle_counts_equal_a_plain_count(seed: int, candidates: range) -> None:
    random = np.random.default_rng(seed)
    truth = random.choice([*candidates, IGNORED], (9, 11)).astype(np.uint8)
    regions = random.choice([0, 1, 4, 17], (9, 11))
    counts = oracle_counts(truth, regions, candidates).counts
    np.testing.assert_array_equal(counts, plain_oracle(truth, regions, candidates))
    assert counts.sum() == (truth != IGNORED).sum()


def test_no_other_naming_of_the_regions_is_right_more_often() -> None:
    random = np.random.default_rng(7)
    truth, regions = random.integers(3, size=(8, 8)).astype(np.uint8), random.integers(4, size=(8, 8))
    bound = np.trace(oracle_counts(truth, regions, range(3)).counts)
    right = [(np.array(naming)[regions] == truth).sum() for naming in itertools.product(range(3), repeat=4)]
    assert bound == max(right)


def test_an_image_without_scored_pixels_has_no_oracle_counts() -> None:
    ignored = np.full((4, 4), IGNORED, np.uint8)
    assert oracle_counts(ignored, np.zeros((4, 4), int), range(5)).counts.sum() == 0


def test_counting_an_image_fills_every_scope_from_the_same_scores() -> None:
    random = np.random.default_rng(3)
    split, names = VOC_K2, len(VOC_K2.names)
    truth = random.choice([*range(names), IGNORED], (10, 10)).astype(np.uint8)
    regions = Regions(torch.arange(25).reshape(1, 5, 5), torch.rand(1, 25, names))
    counts = ImageCounts.of(split)
    count_image(counts, "a", truth, regions, 0, split)
    ids = regions.map_BHW[0].repeat_interleave(2, 0).repeat_interleave(2, 1).numpy()
    for scope, first in (("all", 0), ("unseen", len(split.seen))):
        candidates = range(first, names)
        predicted = regions.scores_BKN[0][:, first:].argmax(1).numpy()[ids] + first
        own = np.where(truth >= first, truth, IGNORED).astype(np.uint8)
        np.testing.assert_array_equal(counts.total(scope).counts, plain_confusion([(truth, predicted)], names, first))
        oracle = counts.total(f"oracle-{scope}").counts
        np.testing.assert_array_equal(oracle, plain_oracle(own, ids, candidates))
        assert np.trace(oracle) >= np.trace(counts.total(scope).counts)


# Whole evaluations


@dataclass
class Watched:
    """A segmenter that notes what it was shown."""

    inner: Callable[[Tensor, Sequence[str]], Tensor | Regions]
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    shown: list[Tensor] = field(default_factory=list)
    names: set[tuple[str, ...]] = field(default_factory=set)

    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Tensor | Regions:
        assert not torch.is_grad_enabled()
        self.shapes.append(tuple(images_BCHW.shape))
        self.shown += list(images_BCHW)
        self.names.add(tuple(names))
        return self.inner(images_BCHW, names)


def by_colour(images_BCHW: Tensor, names: Sequence[str]) -> Tensor:
    """Any rule that looks at one image at a time, at a quarter of its resolution."""
    small = torch.nn.functional.avg_pool2d(images_BCHW, 4, ceil_mode=True)
    rule = torch.rand(len(names), 3, generator=torch.Generator().manual_seed(5)) - 0.5
    return torch.einsum("bchw,nc->bnhw", small, rule)


def by_tile(images_BCHW: Tensor, names: Sequence[str]) -> Regions:
    ids = (torch.arange(64)[:, None] // 16 * 4 + torch.arange(64) // 16).expand(len(images_BCHW), -1, -1)
    return Regions(ids, torch.rand(len(images_BCHW), 16, len(names), generator=torch.Generator().manual_seed(5)))


def evaluate(
    segmenter: Any, dataset: Any, folder: Path, keys: Sequence[str] | None = None, split: Split = VOC5
) -> ImageCounts:
    folder.mkdir(exist_ok=True)
    keys = list(dataset.keys("val")) if keys is None else keys
    return Evaluation(segmenter, dataset, split, keys, split.names, CPU, folder).run()[0]


def truth_of(dataset: Any, key: str, split: Split) -> np.ndarray:
    """Split ids pixel by pixel, by name."""
    ids = [split.names.index(name) if name in split.names else IGNORED for name in dataset.classes]
    return np.array([[ids[i] if i != IGNORED else IGNORED for i in row] for row in dataset.labels(key).tolist()])


@pytest.mark.parametrize("split", [VOC5, VOC_K2], ids=lambda split: split.name)
def test_both_scopes_equal_a_plain_count(dataset: VocDataset, tmp_path: Path, split: Split) -> None:
    keys, first, names = list(dataset.keys("val"))[:4], len(split.seen), len(split.names)
    counts = evaluate(by_colour, dataset, tmp_path, keys, split)
    truth = [truth_of(dataset, key, split) for key in keys]
    scores = [by_colour(torch.tensor(dataset.image(key)).permute(2, 0, 1)[None] / 255, split.names)[0] for key in keys]
    for scope, start in (("all", 0), ("unseen", first)):
        predicted = [plain_decide(s.numpy(), range(start, names), (64, 64)) for s in scores]
        expected = plain_confusion(list(zip(truth, predicted, strict=True)), names, start)
        np.testing.assert_array_equal(counts.total(scope).counts, expected)
    background = int(sum((dataset.labels(key) == 0).sum() for key in keys))
    scored = int(counts.total("all").counts.sum())
    assert scored == len(keys) * 64 * 64 - (background if split is VOC5 else 0)


def test_background_is_a_seen_class_exactly_where_the_split_names_it(dataset: VocDataset, tmp_path: Path) -> None:
    def background(images: Tensor, names: Sequence[str]) -> Tensor:
        return torch.zeros(len(images), len(names), 1, 1).index_fill_(1, torch.tensor([0]), 1.0)

    scores = summarise(evaluate(background, dataset, tmp_path / "k2", split=VOC_K2), VOC_K2)["scores"]
    entry = scores["all"]["classes"]["background"]
    labels = np.stack([dataset.labels(key) for key in dataset.keys("val")])
    assert entry["group"] == "seen" and entry["recall"] == 1 and entry["pixels"] == int((labels == 0).sum())
    assert entry["iou"] == pytest.approx((labels == 0).mean())
    assert scores["all"]["harmonic"]["miou"] == 0 and "background" not in scores["unseen"]["classes"]
    cow_and_motorbike = np.isin(labels, [VOC_CLASSES.index(name) for name in VOC_K2.unseen])
    assert scores["unseen"]["pixels"] == int(cow_and_motorbike.sum())
    voc5 = summarise(evaluate(background, dataset, tmp_path / "voc5"), VOC5)["scores"]
    assert "background" not in voc5["all"]["classes"] and voc5["all"]["pixels"] == int((labels > 0).sum())


def test_a_segmenter_that_knows_the_answers_is_right_everywhere(dataset: VocDataset, tmp_path: Path) -> None:
    answers = {dataset.image(key).tobytes(): truth_of(dataset, key, VOC5) for key in dataset.keys("val")}

    def knows(images: Tensor, names: Sequence[str]) -> Tensor:
        seen = (images * 255).round().byte().permute(0, 2, 3, 1).numpy()
        own = [torch.tensor(answers[i.tobytes()] == np.arange(len(names))[:, None, None]) for i in seen]
        return torch.stack(own).float()

    scores = summarise(evaluate(knows, dataset, tmp_path), VOC5)["scores"]
    assert scores["unseen"]["miou"] == scores["all"]["miou"] == scores["all"]["harmonic"]["miou"] == 1


def test_recall_among_unseen_names_is_at_least_recall_among_all(dataset: VocDataset, tmp_path: Path) -> None:
    scores = summarise(evaluate(by_tile, dataset, tmp_path), VOC5)["scores"]
    restricted = [entry["recall"] for entry in scores["unseen"]["classes"].values()]
    everything = [scores["all"]["classes"][name]["recall"] for name in VOC5.unseen]
    assert all(a >= b for a, b in zip(restricted, everything, strict=True)) and sum(restricted) > sum(everything)


def test_each_picture_is_shown_once_as_it_is(dataset: VocDataset, tmp_path: Path) -> None:
    segmenter = Watched(by_colour)
    evaluate(segmenter, dataset, tmp_path)
    keys = dataset.keys("val")
    assert sum(shape[0] for shape in segmenter.shapes) == len(keys)
    assert all(shape[0] <= BLOCK for shape in segmenter.shapes) and segmenter.names == {VOC5.names}
    for key, image in zip(keys, segmenter.shown, strict=True):
        assert torch.equal(image, torch.tensor(dataset.image(key)).permute(2, 0, 1) / 255)


def test_images_are_counted_one_by_one(dataset: VocDataset, tmp_path: Path) -> None:
    keys = list(dataset.keys("val"))
    counts = evaluate(by_tile, dataset, tmp_path / "whole")
    frame = counts.frame()
    assert list(frame["image"].unique()) == sorted(keys)
    assert set(frame["scope"]) == {"unseen", "all", "oracle-unseen", "oracle-all"}
    for scope in ("all", "oracle-all"):
        pixels = frame[frame["scope"] == scope].groupby("image")["pixels"].sum()
        assert all(pixels[key] == (dataset.labels(key) > 0).sum() for key in keys)


def test_a_missing_block_is_done_again_and_nothing_else(dataset: VocDataset, tmp_path: Path) -> None:
    first, again = Watched(by_tile), Watched(by_tile)
    whole = evaluate(first, dataset, tmp_path).frame()
    files = sorted((tmp_path / "counts").glob("*.parquet"))
    assert [shape[0] for shape in first.shapes] == [BLOCK, 60 - BLOCK] and len(files) == 2
    files[1].unlink()
    assert evaluate(again, dataset, tmp_path).frame().equals(whole)
    assert [shape[0] for shape in again.shapes] == [60 - BLOCK]
    files[0].unlink()
    files[0].with_suffix(".json").unlink()  # killed before the first file of a block was there
    assert evaluate(Watched(by_tile), dataset, tmp_path).frame().equals(whole)


def test_time_is_that_of_all_starts(dataset: VocDataset, tmp_path: Path) -> None:
    run = Evaluation(by_colour, dataset, VOC5, list(dataset.keys("val")), VOC5.names, CPU, tmp_path).run
    first, again = run()[1], run()[1]
    assert first == again > 0


# Pictures of many sizes


class Mixed:
    """A data set in memory whose pictures have four sizes, mixed."""

    classes = VOC_CLASSES
    origin = Origin("real", "mixed sizes", "0" * 12)
    protected = ()

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        sizes = [(24, 36), (36, 24), (32, 32), (17, 23)]
        self.items = {
            f"{number:03}": (
                random.integers(256, size=(*sizes[number % 4], 3), dtype=np.uint8),
                random.choice([*range(21), IGNORED], sizes[number % 4]).astype(np.uint8),
            )
            for number in range(22)
        }

    def keys(self, part: str) -> Sequence[str]:
        return list(self.items)

    def image(self, key: str) -> np.ndarray:
        return self.items[key][0]

    def labels(self, key: str) -> np.ndarray:
        return self.items[key][1]


def test_sizes_may_be_mixed_and_their_order_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_module, "BLOCK", 8)
    mixed, segmenter = Mixed(), Watched(by_colour)
    keys = list(mixed.items)
    whole = evaluate(segmenter, mixed, tmp_path / "whole")
    assert sum(shape[0] for shape in segmenter.shapes) == 22 and len(segmenter.shapes) == 12
    assert {shape[2:] for shape in segmenter.shapes} == {(24, 36), (36, 24), (32, 32), (17, 23)}
    for number, order in enumerate((keys[::-1], np.random.default_rng(1).permutation(keys).tolist())):
        assert evaluate(by_colour, mixed, tmp_path / str(number), order).frame().equals(whole.frame())
    pairs = []
    for key in keys:
        scores = by_colour(torch.tensor(mixed.image(key)).permute(2, 0, 1)[None] / 255, VOC5.names)[0].numpy()
        truth = to_split_ids(mixed.labels(key), VOC_CLASSES, VOC5.names)
        pairs.append((truth, plain_decide(scores, range(20), truth.shape)))
    np.testing.assert_array_equal(whole.total("all").counts, plain_confusion(pairs, 20))


# What is no score


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.zeros(2, 19, 4, 4), r"2 images and 20 names were expected, got \(2, 19, 4, 4\)"),
        (torch.zeros(1, 20, 4, 4), r"2 images and 20 names were expected, got \(1, 20, 4, 4\)"),
        (torch.zeros(2, 4, 4, 20), r"got \(2, 4, 4, 20\)"),
        (torch.zeros(20), "got"),
        (torch.full((2, 20, 4, 4), torch.nan), "nan"),
        (torch.full((2, 20, 4, 4), -torch.inf), "infinity"),
        ([[1.0]], "got list"),
        (None, "got NoneType"),
        (np.zeros((2, 20, 4, 4)), "got ndarray"),
        (Regions(torch.zeros(2, 4, 4, dtype=torch.int64), torch.zeros(2, 3, 19)), r"got \(2, 3, 19\)"),
        (Regions(torch.zeros(2, 4, 4, dtype=torch.int64), torch.full((2, 3, 20), torch.nan)), "nan"),
    ],
)
def test_what_is_no_score_is_refused(dataset: VocDataset, tmp_path: Path, wrong: Any, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        evaluate(lambda images, names: wrong, dataset, tmp_path, list(dataset.keys("val"))[:2])
    assert not list(tmp_path.rglob("*.parquet"))


FLOATS = Regions(torch.zeros(2, 4, 4), torch.zeros(2, 3, 20))
OUTSIDE = Regions(torch.full((2, 4, 4), 3), torch.zeros(2, 3, 20))
BELOW = Regions(torch.full((2, 4, 4), -1), torch.zeros(2, 3, 20))
MANY = Regions(torch.zeros(5, 4, 4, dtype=torch.int64), torch.zeros(2, 3, 20))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(torch.zeros(2, 20, 4), id="three axes"),
        pytest.param(torch.zeros(2, 20, 4, 4, 4), id="five axes"),
        pytest.param(torch.zeros(2, 20, 0, 4), id="no pixels"),
        pytest.param(FLOATS, id="regions in float"),
        pytest.param(OUTSIDE, id="a region without scores"),
        pytest.param(BELOW, id="a region below zero"),
        pytest.param(MANY, id="maps of more images"),
    ],
)
def test_maps_and_axes_are_checked_too(dataset: VocDataset, tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(ContractError):
        evaluate(lambda images, names: wrong, dataset, tmp_path, list(dataset.keys("val"))[:2])
