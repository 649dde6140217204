"""Sliding windows: aligned, complete, and nothing but a single pass where one suffices."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.errors import UserError
from zsbench.nn.windows import resized, slide

STRIDE = 4


def means(images: Tensor) -> Tensor:
    """The mean colour of each patch: what windows average to exactly, wherever they lie."""
    return F.avg_pool2d(images, STRIDE)


@pytest.mark.parametrize("size", [(32, 32), (32, 52), (20, 44), (8, 44), (44, 8), (64, 36), (4, 4)])
@pytest.mark.parametrize(("window", "step"), [(16, 8), (16, 16), (20, 12), (8, 400), (4, 4), (18, 7)])
def test_windows_cover_every_patch_and_average_what_they_share(size: tuple[int, int], window: int, step: int) -> None:
    images = torch.rand(2, 3, *size)
    torch.testing.assert_close(slide(images, window, step, STRIDE, means), means(images))


def test_windows_start_at_whole_patches_and_the_last_is_flush_with_the_border() -> None:
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(36.0), indexing="ij")
    seen: list[tuple[float, float]] = []

    def score(crop: Tensor) -> Tensor:
        assert crop.shape[2:] == (16, 16)
        seen.append((crop[0, 0, 0, 0].item(), crop[0, 1, 0, 0].item()))
        return means(crop)

    slide(torch.stack([rows, columns])[None], 16, 12, STRIDE, score)
    assert seen == [(0, 0), (0, 12), (0, 20), (8, 0), (8, 12), (8, 20)]


@pytest.mark.parametrize("window", [32, 33, 400])
def test_a_window_as_large_as_the_image_is_one_untouched_pass(window: int) -> None:
    images, calls = torch.rand(1, 3, 24, 32), []

    def score(crop: Tensor) -> Tensor:
        calls.append(crop)
        return means(crop)

    found = slide(images, window, 8, STRIDE, score)
    assert len(calls) == 1 and calls[0] is images and torch.equal(found, means(images))


def test_shared_patches_get_the_mean_of_their_windows() -> None:
    numbers = iter([1.0, 3.0])
    found = slide(torch.rand(1, 3, 8, 12), 8, 4, STRIDE, lambda crop: torch.full((1, 1, 2, 2), next(numbers)))
    assert found[0, 0].tolist() == [[1.0, 2.0, 3.0]] * 2


@pytest.mark.parametrize(("window", "step"), [(0, 4), (8, 0), (-3, 4)])
def test_windows_without_extent_are_refused(window: int, step: int) -> None:
    with pytest.raises(UserError, match="1 at least"):
        slide(torch.rand(1, 3, 8, 8), window, step, STRIDE, means)


@pytest.mark.parametrize(
    ("size", "short", "stride", "expected"),
    [((375, 500), 448, 16, (448, 592)), ((500, 375), 448, 16, (592, 448)), ((10, 900), 4, 16, (16, 352))],
)
def test_resized_to_a_short_side_of_whole_patches(
    size: tuple[int, int], short: int, stride: int, expected: tuple[int, int]
) -> None:
    assert resized(torch.rand(1, 3, *size), short, stride).shape[2:] == expected


def test_images_of_that_size_are_untouched() -> None:
    images = torch.rand(1, 3, 64, 96)
    assert resized(images, 64, 16) is images
