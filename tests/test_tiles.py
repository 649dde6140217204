"""Scores are upsampled and decided in strips: as the whole map would be, and never held whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench import deciding
from zsbench import evaluation as evaluation_module
from zsbench.calibration import Contest
from zsbench.data.dataset import Origin
from zsbench.data.universes import VOC_CLASSES
from zsbench.deciding import contest, decide, decide_both, strips
from zsbench.evaluation import Evaluation, count_image
from zsbench.image_counts import ImageCounts
from zsbench.method import Regions
from zsbench.split import load_split

VOC5 = load_split("voc5")
CLOSE = 1e-6  # two names that lie nearer may change places

SIZES = [
    ((16, 16), (64, 64)),
    ((30, 40), (480, 640)),
    ((30, 40), (375, 500)),
    ((31, 23), (427, 333)),
    ((64, 80), (33, 47)),  # downscaled
    ((301, 9), (7, 411)),  # down one way, up the other
    ((480, 41), (480, 640)),  # as high as the labels, but narrower
    ((41, 64), (480, 64)),
    ((1, 1), (37, 201)),
    ((1, 5), (640, 3)),
    ((97, 131), (97, 131)),  # at label size already
]


def scores_of(names: int, grid: tuple[int, int], seed: int = 0) -> Tensor:
    return torch.randn(names, *grid, generator=torch.Generator().manual_seed(seed))


def whole(scores_Nhw: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(scores_Nhw[None], size=size, mode="bilinear", align_corners=False)[0]


def agree(decided: np.ndarray, scores_NHW: Tensor, start: int = 0) -> None:
    """Every pixel has the name that wins on the whole map, unless the two best are as good as equal there."""
    top = scores_NHW[start:].topk(min(2, len(scores_NHW) - start), dim=0).values
    near = (top[0] - top[-1] < CLOSE).numpy()
    wrong = decided != (scores_NHW[start:].argmax(0) + start).numpy()
    assert decided.dtype == np.uint8 and not (wrong & ~near).any()
    assert wrong.mean() < 1e-4


@pytest.fixture(params=[1 << 12, 1 << 16, deciding.STRIP], ids=["4 KiB", "64 KiB", "as shipped"])
def strip_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(deciding, "STRIP", request.param)
    return int(request.param)


@pytest.mark.parametrize(("grid", "size"), SIZES, ids=str)
def test_strips_together_are_the_whole_map(grid: Any, size: Any, strip_bytes: int) -> None:
    scores = scores_of(7, grid)
    parts = list(strips(scores, size))
    rows = max(1, strip_bytes // (4 * 7 * size[1]))
    assert all(part.shape[1] <= rows and part.shape[2] == size[1] for part in parts)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole(scores, size), rtol=0, atol=5e-6)


@pytest.mark.parametrize(("grid", "size"), SIZES, ids=str)
def test_both_scopes_are_the_argmax_of_the_whole_map(grid: Any, size: Any, strip_bytes: int) -> None:
    scores, seen = scores_of(7, grid, seed=1), 4
    decided, upsampled = decide_both(scores[None], 0, seen, size), whole(scores, size)
    agree(decided.every, upsampled)
    agree(decided.unseen, upsampled, seen)
    np.testing.assert_array_equal(decided.every, decide(scores[None], 0, range(7), size))
    np.testing.assert_array_equal(decided.unseen, decide(scores[None], 0, range(seen, 7), size))


def test_a_map_that_fits_in_one_strip_is_upsampled_to_the_bit() -> None:
    scores = scores_of(20, (16, 16))
    assert torch.equal(torch.cat(list(strips(scores, (64, 64))), dim=1), whole(scores, (64, 64)))


@pytest.mark.parametrize("seen", [0, 1, 5])
def test_ties_go_to_the_first_name_and_so_to_the_seen_one(seen: int) -> None:
    flat = torch.zeros(1, 6, 3, 3)
    decided = decide_both(flat, 0, seen, (300, 40))
    assert (decided.every == 0).all() and (decided.unseen == seen).all()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_scores_of_any_precision_are_upsampled_in_float(kind: torch.dtype, strip_bytes: int) -> None:
    scores = scores_of(5, (9, 11)).to(kind)
    agree(decide_both(scores[None], 0, 2, (120, 130)).every, whole(scores.float(), (120, 130)))


def test_leads_in_strips_are_those_of_the_whole_map(strip_bytes: int) -> None:
    scores = scores_of(7, (31, 23))
    found, expected = contest(scores[None], 0, 4, (427, 333)), Contest.of(whole(scores, (427, 333)), 4)
    torch.testing.assert_close(found.lead_HW, expected.lead_HW, rtol=0, atol=1e-5)
    agree(found.decide(0.0), whole(scores, (427, 333)))
    assert float((found.unseen_HW != expected.unseen_HW).double().mean()) < 1e-4


def test_counting_takes_one_upsampling(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        deciding, "strips", lambda scores, size: seen.append(tuple(scores.shape)) or strips(scores, size)
    )
    truth = np.random.default_rng(0).integers(20, size=(50, 60)).astype(np.uint8)
    count_image(ImageCounts.of(VOC5), "a", truth, scores_of(20, (5, 6))[None], 0, VOC5)
    assert seen == [(20, 5, 6)]


def test_a_strip_is_all_that_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor as large as the upsampled map is ever made."""
    sizes: list[int] = []
    resized = deciding._resized

    def noted(scores_Nhw: Tensor, height: int, width: int) -> Tensor:
        made = resized(scores_Nhw, height, width)
        sizes.append(made.numel() * made.element_size())
        return made

    monkeypatch.setattr(deciding, "_resized", noted)
    decide_both(scores_of(171, (30, 40))[None], 0, 156, (480, 640))
    assert len(sizes) > 40 and max(sizes) <= deciding.STRIP


# Forward passes


class Photographs:
    """A data set in memory: six pictures of 640 x 480, and two of another size."""

    classes = VOC_CLASSES
    origin = Origin("real", "photographs", "0" * 12)
    protected = ()

    def keys(self, part: str) -> list[str]:
        return list("abcdefgh")

    def image(self, key: str) -> np.ndarray:
        size = (480, 640) if key < "g" else (100, 90)
        return np.random.default_rng(ord(key)).integers(256, size=(*size, 3), dtype=np.uint8)

    def labels(self, key: str) -> np.ndarray:
        return np.random.default_rng(ord(key)).integers(21, size=self.image(key).shape[:2], dtype=np.uint8)


def test_a_forward_pass_takes_a_bounded_number_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(folder: str, pixels: int) -> tuple[list[int], Any]:
        monkeypatch.setitem(evaluation_module.PASS_PIXELS, "cpu", pixels)
        (tmp_path / folder).mkdir()
        passes: list[int] = []

        def segmenter(images: Tensor, names: Any) -> Tensor:
            passes.append(len(images))
            small = F.avg_pool2d(images, 10)
            return torch.stack([small[:, number % 3] * (1 + number / 20) for number in range(len(names))], dim=1)

        data = Photographs()
        device = torch.device("cpu")
        whole = Evaluation(segmenter, data, VOC5, data.keys("val"), VOC5.names, device, tmp_path / folder)
        return passes, whole.run()[0].frame()

    few, frame = counted("few", 2 * 480 * 640)
    one, other = counted("one", 1)
    assert few == [2, 2, 2, 2] or few == [2, 2, 2, 2][::-1]
    assert one == [1] * 8 and frame.equals(other)


def test_regions_are_decided_for_both_scopes() -> None:
    regions = Regions(torch.arange(4).reshape(1, 2, 2), torch.rand(1, 4, 6, generator=torch.Generator().manual_seed(0)))
    decided = decide_both(regions, 0, 4, (8, 8))
    np.testing.assert_array_equal(decided.every, decide(regions, 0, range(6), (8, 8)))
    np.testing.assert_array_equal(decided.unseen, decide(regions, 0, range(4, 6), (8, 8)))
