"""Stage 1: crops that keep picture and labels together, batches that hang on their number alone, no column for unseen names."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import generative as made
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zsbench.data.dataset import IGNORED
from zsbench.data.view import Items, guarded_view
from zsbench.data.voc import VocDataset
from zsbench.nn.segmentation import (
    FILL,
    Crops,
    LabelledBatches,
    PixelSegmenter,
    SeenLearner,
    Stage1,
    hide,
    pixel_cross_entropy,
    sized,
)
from zsbench.sampling import Sampler
from zsbench.split import load_split
from zsbench.supervision import Supervision
from zsbench.training import Recipe, train

WILD = Crops(32, (0.5, 2.0))


def spoken(size: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose colour at a pixel says the pixel's label: red the row of its patch, green the column."""
    rows, columns = (np.arange(side) * 5 // side for side in size)
    labels = rows[:, None] * 5 + columns[None]
    image = np.stack([rows[:, None] + 0 * labels, columns[None] + 0 * labels, 0 * labels + 2], -1) * 50
    return image.astype(np.uint8), labels.astype(np.uint8)


def read(image: Tensor) -> tuple[Tensor, Tensor]:
    """Labels as a crop's colours tell them, and where they do: neither on padding nor between two patches."""
    levels = image * 255 / 50
    whole = (levels - levels.round()).abs().amax(0) < 0.02
    known = whole & (levels[2].round() == 2)
    return (levels[0].round() * 5 + levels[1].round()).long(), known


# Crops


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (90, 35), (20, 61), (7, 9)])
def test_labels_stay_with_their_pixels_through_scale_crop_and_mirror(size: tuple[int, int]) -> None:
    image, labels = spoken(size)
    kinds = set()
    for seed in range(40):
        crop, ids = WILD.cut(image, labels, np.random.default_rng(seed))
        assert crop.shape == (3, 32, 32) and ids.shape == (32, 32) and ids.dtype == torch.int64
        told, known = read(crop)
        known &= ids != IGNORED
        assert torch.equal(told[known], ids[known]), seed
        kinds.add((bool((ids == IGNORED).any()), bool((told[known].diff() < 0).any())))
    assert known.sum() > 50
    assert {pad for pad, _ in kinds} == {True, False}, "both padded and whole crops, or little is tested"


def test_beyond_the_border_are_grey_and_255() -> None:
    image, labels = spoken((10, 20))
    crop, ids = Crops(32, (0.5, 0.5), mirror=False).cut(image, labels, np.random.default_rng(0))  # to 16 × 32 pixels
    assert (ids[16:] == IGNORED).all() and (crop[:, 16:] == FILL).all()
    assert (ids[:16] != IGNORED).all() and set(ids[:16].unique().tolist()) == set(np.unique(labels).tolist())


def test_a_picture_of_the_crops_size_is_itself_or_its_mirror() -> None:
    image, labels = spoken((32, 32))
    plain = torch.from_numpy(image).permute(2, 0, 1) / 255, torch.from_numpy(labels).long()
    found = set()
    for seed in range(30):
        crop, ids = Crops(32).cut(image, labels, np.random.default_rng(seed))
        turned = torch.equal(ids, plain[1].flip(-1))
        assert torch.equal(crop, plain[0].flip(-1) if turned else plain[0]) and (turned or torch.equal(ids, plain[1]))
        found.add(turned)
        still = Crops(32, mirror=False).cut(image, labels, np.random.default_rng(seed))
        assert torch.equal(still[0], plain[0]) and torch.equal(still[1], plain[1])
    assert found == {True, False}


def test_the_short_side_takes_the_scale() -> None:
    """Patches of a fifth of the picture: their width in the crop tells the scale."""
    image, labels = spoken((100, 200))
    _, ids = Crops(40, (2.0, 2.0), mirror=False).cut(image, labels, np.random.default_rng(1))
    down = ids[:, 0].diff().nonzero()[:, 0]
    assert set(down.diff().tolist()) <= {16}, "100 -> 80 rows, five patches of 16"


def test_the_same_random_state_cuts_the_same_crop() -> None:
    image, labels = spoken((60, 50))
    first, again, other = (WILD.cut(image, labels, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_a_picture_without_labels_has_255_everywhere() -> None:
    crop, ids = WILD.cut(spoken((40, 50))[0], None, np.random.default_rng(0))
    assert ids.unique().tolist() == [IGNORED] and crop.std() > 0.1


# Batches


def batches(tmp_path: Path, items: Items | None = None, seed: int = 0, **changes: Any) -> LabelledBatches:
    items = items or made.view(sizes=((32, 32), (40, 24), (16, 50))).labelled
    assert items is not None
    return LabelledBatches(items, WILD, Sampler(len(items), 6, seed), made.job(tmp_path, seed), **changes)


def test_a_batch_is_a_function_of_its_number_and_ranks_share_its_rows(tmp_path: Path) -> None:
    make = batches(tmp_path)
    whole = make(7, slice(0, 6))
    np.random.seed(5)  # noqa: NPY002  (the global state must not matter)
    torch.manual_seed(5)
    make(2, slice(0, 6))
    parts = [make(7, slice(0, 3)), make(7, slice(3, 6))]
    for name, value in whole.items():
        assert torch.equal(value, torch.cat([part[name] for part in parts])), name
    assert not torch.equal(whole["images"], make(8, slice(0, 6))["images"])
    assert not torch.equal(whole["images"], batches(tmp_path, seed=1)(7, slice(0, 6))["images"])


def test_every_row_is_cut_by_a_lot_of_its_own(tmp_path: Path) -> None:
    same = made.items([spoken((40, 50))] * 6)
    cut = batches(tmp_path, same)(0, slice(0, 6))["images"]
    assert len(cut.flatten(1).unique(dim=0)) == 6


def test_hidden_classes_lose_their_labels_and_nothing_else_changes(tmp_path: Path) -> None:
    plain, hidden = (batches(tmp_path, hidden=names)(0, slice(0, 6)) for names in ((), (0, 2)))
    assert torch.equal(plain["images"], hidden["images"])
    expected = torch.where((plain["labels"] == 0) | (plain["labels"] == 2), IGNORED, plain["labels"])
    assert torch.equal(hidden["labels"], expected) and {1, IGNORED} == set(expected.unique().tolist())
    assert {0, 1, 2} <= set(plain["labels"].unique().tolist())
    assert hide(plain["labels"], ()) is plain["labels"]


def test_unlabelled_images_make_batches_of_255(tmp_path: Path) -> None:
    labelled, pool = made.view().labelled, made.view().unlabelled
    both = [batches(tmp_path, items)(3, slice(0, 6)) for items in (labelled, pool)]
    assert torch.equal(both[0]["images"], both[1]["images"])
    assert both[1]["labels"].unique().tolist() == [IGNORED]


@pytest.mark.parametrize(("name", "by"), [("voc5", "ids"), ("voc5", "255"), ("voc_k2", "ids")])
def test_unseen_labels_change_no_batch(dataset: VocDataset, tmp_path: Path, name: str, by: str) -> None:
    """voc_k2 drops images by their unseen labels; which of the unseen classes these are must not matter."""
    split = load_split(name)
    plain, fog = (
        guarded_view(split, data, Supervision(masks="seen")).labelled
        for data in (dataset, made.fogged(dataset, split, by))
    )
    assert plain is not None and fog is not None and len(plain) == len(fog)
    crops = replace(WILD, size=64)
    for number in range(3):
        one, two = (LabelledBatches(i, crops, Sampler(len(i), 16, 0), made.job(tmp_path))(number, slice(0, 16))
                    for i in (plain, fog))  # fmt: skip
        assert torch.equal(one["images"], two["images"]) and torch.equal(one["labels"], two["labels"])
    fog_over = made.fogged(dataset, split, by)
    assert any(not np.array_equal(dataset.labels(key), fog_over.labels(key)) for key in dataset.keys("train"))


# Loss and network


def test_the_loss_is_the_mean_over_labelled_pixels_at_full_resolution() -> None:
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 8, 10))
    labels[0, :5] = IGNORED
    large = torch.nn.functional.interpolate(logits, size=(8, 10), mode="bilinear", align_corners=False)
    chances = large.double().softmax(1)
    terms = [
        -chances[b, labels[b, y, x], y, x].log() for b in range(2) for y in range(8) for x in range(10)
        if labels[b, y, x] != IGNORED
    ]  # fmt: skip
    assert float(pixel_cross_entropy(logits, labels)) == pytest.approx(float(sum(terms) / len(terms)), abs=1e-5)


def test_a_batch_without_labels_costs_nothing_and_pulls_nowhere() -> None:
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    loss = pixel_cross_entropy(logits, torch.full((2, 8, 10), IGNORED))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and logits.grad.abs().sum() == 0


STAGE = Stage1("small", "", 16, Crops(16), Recipe(4, 4, 0.01, schedule="poly"))


def test_the_network_of_stage_1_has_no_output_for_an_unseen_name(tmp_path: Path) -> None:
    net = STAGE.network(made.view(), made.job(tmp_path))
    assert net.classify.out_channels == len(made.SEEN) and not net.training
    assert net(made.images()).shape[1] == len(made.SEEN)
    before = made.state(made.built("zs3net").stage_one().network(made.view(), made.job(tmp_path / "other")))
    assert len(made.moved(before, made.state(net))) > 5, "another recipe trains other weights"


def test_stage_1_never_asks_for_anything_unseen(tmp_path: Path) -> None:
    """Neither unseen names, nor vectors, nor images without labels, nor layout: what is not there changes nothing."""
    net = STAGE.network(made.view(), made.job(tmp_path / "all"))
    poor = replace(made.view(), unlabelled=None, layout=None, unseen=(), vectors=None)
    assert not made.moved(made.state(net), made.state(STAGE.network(poor, made.job(tmp_path / "poor"))))


def test_training_lowers_the_loss_on_seen_pixels(tmp_path: Path) -> None:
    make = replace(batches(tmp_path, made.view().labelled), crops=STAGE.crops)
    fresh = SeenLearner(replace(STAGE, recipe=Recipe(1, 4, 1e-9)).network(made.view(), made.job(tmp_path / "a")))
    trained = SeenLearner(replace(STAGE, recipe=Recipe(40, 8, 0.01)).network(made.view(), made.job(tmp_path / "b")))
    losses = [float(learner(make(0, slice(0, 6)))["loss"].detach()) for learner in (fresh, trained)]
    assert losses[1] < 0.5 * losses[0]


def _one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    where = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=2)
    STAGE.network(made.view(), made.job(Path(folder)))
    torch.distributed.destroy_process_group()


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    (tmp_path / "two").mkdir()
    both = [context.Process(target=_one_of_two, args=(rank, str(tmp_path / "two"))) for rank in range(2)]
    for process in both:
        process.start()
    STAGE.network(made.view(), made.job(tmp_path / "one"))
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    losses = []
    for name in ("one", "two"):
        (curves,) = (tmp_path / name / "stages").glob("*/curves.jsonl")
        losses.append([json.loads(line)["loss"] for line in curves.read_text().splitlines()])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4) and len(losses[0]) == 2


class Statistics(nn.Module):
    """Batch statistics are all it gathers beside one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        return {"loss": self.norm(rows).square().mean()}

    def after_step(self, step: int, steps: int) -> None:
        pass


def _gathers(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    where = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=2)
    learner = Statistics()
    train(learner, lambda number, rows: torch.arange(8.0)[rows, None], Recipe(2, 8, 1e-3), made.job(Path(folder)))
    (Path(folder) / f"mean-{rank}").write_text(str(float(learner.norm.running_mean)))  # type: ignore[arg-type]
    torch.distributed.destroy_process_group()


def test_processes_end_with_the_same_batch_statistics(tmp_path: Path) -> None:
    """Each has seen other rows; a later stage would start from two networks."""
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_gathers, args=(rank, str(tmp_path))) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    means = [float((tmp_path / f"mean-{rank}").read_text()) for rank in range(2)]
    assert means[0] == means[1] > 0


# The segmenter


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    net = made.network(5)
    segmenter = PixelSegmenter(net, made.NAMES, made.job(tmp_path))
    with torch.no_grad():
        every = net(made.images())
    assert torch.equal(segmenter(made.images(), made.NAMES), every)
    assert torch.equal(segmenter(made.images(), ("violet", "red")), every[:, [4, 0]])
    assert segmenter.gamma == 0 and segmenter.rounds == ()


def test_images_are_sized_by_their_short_side() -> None:
    wide = torch.rand(2, 3, 20, 50)
    assert sized(wide, 0) is wide and sized(wide, 20) is wide
    assert sized(wide, 10).shape == (2, 3, 10, 25) and sized(wide, 31).shape == (2, 3, 31, 78)
    assert sized(torch.rand(1, 3, 50, 20), 10).shape == (1, 3, 25, 10)
    torch.testing.assert_close(sized(torch.full((1, 3, 9, 9), 0.3), 5), torch.full((1, 3, 5, 5), 0.3))


def test_the_segmenter_looks_at_images_of_its_own_size(tmp_path: Path) -> None:
    small = PixelSegmenter(made.network(5), made.NAMES, made.job(tmp_path), test_size=16)
    large = made.images(2, (32, 48))
    expected = PixelSegmenter(made.network(5), made.NAMES, made.job(tmp_path))(sized(large, 16), made.NAMES)
    assert small(large, made.NAMES).shape[-2:] == (4, 6) and torch.equal(small(large, made.NAMES), expected)
