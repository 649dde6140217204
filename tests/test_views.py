"""Views: the same for one process as for two, cut where the box says, coloured as asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench.nn.views import ViewRecipe, blur, crops, draw_boxes, draw_colours, flip, grey, jitter, make_views

SMALL = ViewRecipe(global_size=32, local_size=16)
PLAIN = replace(SMALL, jitter_p=0.0, grey_p=0.0, blur_p=(0.0, 0.0))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def neutral(n: int) -> Tensor:
    return torch.tensor([1.0, 1, 1, 0]).repeat(n, 1)


def box(top: int, left: int, height: int, width: int, size: int = 40) -> Tensor:
    return torch.tensor([top, left, height, width]) / size


# --- the whole batch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [SMALL, replace(SMALL, n_global=2), replace(SMALL, colour_global=False)])
def test_two_processes_make_the_views_of_one(recipe: ViewRecipe) -> None:
    images = torch.rand(6, 3, 40, 40)
    whole = make_views(images, recipe, 5, slice(0, 6), 6)
    halves = [make_views(images[r], recipe, 5, r, 6) for r in (slice(0, 3), slice(3, 6))]
    for key, n in (("global_", recipe.n_global), ("locals", 6), ("pair", 1), ("flipped_B", 1)):
        both = torch.cat([half[key].unflatten(0, (n, 3)) for half in halves], 1)  # type: ignore[literal-required]
        assert torch.equal(both.flatten(0, 1), whole[key])  # type: ignore[literal-required]


def test_views_have_their_shapes_stay_in_range_and_follow_the_seed() -> None:
    images = torch.rand(4, 3, 40, 48)
    views = make_views(images, SMALL, 1, slice(0, 4), 4)
    assert views["global_"].shape == views["pair"].shape == (4, 3, 32, 32) and views["locals"].shape == (24, 3, 16, 16)
    assert all(views[k].min() >= 0 and views[k].max() <= 1 for k in ("global_", "locals", "pair"))  # type: ignore[literal-required]
    again, other = (make_views(images, SMALL, seed, slice(0, 4), 4) for seed in (1, 2))
    assert torch.equal(again["locals"], views["locals"]) and not torch.equal(other["locals"], views["locals"])


def test_no_local_views_and_no_colours_are_possible() -> None:
    views = make_views(torch.rand(4, 3, 40, 40), replace(PLAIN, n_local=0, flip=0.0), 1, slice(0, 4), 4)
    assert views["locals"].shape == (0, 3, 16, 16) and not views["flipped_B"].any()


def test_wrong_number_of_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="4 images for rows 0:3 of 8"):
        make_views(torch.rand(4, 3, 40, 40), SMALL, 1, slice(0, 3), 8)


def test_locals_are_view_major() -> None:
    images = torch.arange(5.0).div(8)[:, None, None, None].expand(-1, 3, 20, 20)  # image i has brightness i / 8
    views = make_views(images, PLAIN, 1, slice(0, 5), 5)
    assert torch.allclose(views["locals"].view(6, 5, -1).mean(-1), torch.arange(5.0).div(8).expand(6, -1), atol=1e-6)


def test_twin_is_the_global_view_in_other_colours_and_mirrored_where_it_says() -> None:
    images = torch.rand(16, 3, 40, 40)
    views = make_views(images, replace(SMALL, jitter=(0.0, 0.0, 0.0, 0.0)), 1, slice(0, 16), 16)
    flipped = views["flipped_B"]
    assert 0 < flipped.sum() < 16
    assert torch.allclose(flip(views["pair"], flipped), views["global_"], atol=1e-5)
    coloured = make_views(images, SMALL, 1, slice(0, 16), 16)
    assert not torch.allclose(flip(coloured["pair"], coloured["flipped_B"]), coloured["global_"], atol=0.02)


def test_colour_global_false_spares_the_global_view_only() -> None:
    images = torch.rand(8, 3, 40, 40)
    spared = make_views(images, replace(SMALL, colour_global=False), 1, slice(0, 8), 8)
    plain, coloured = (make_views(images, recipe, 1, slice(0, 8), 8) for recipe in (PLAIN, SMALL))
    assert torch.allclose(spared["global_"], plain["global_"], atol=1e-5)
    assert not torch.allclose(coloured["global_"], plain["global_"], atol=0.02)
    assert torch.equal(spared["locals"], coloured["locals"])


# --- boxes and crops -------------------------------------------------------------------------------------------------


def test_boxes_stay_inside_and_keep_to_their_scale_and_ratio() -> None:
    boxes = draw_boxes(4000, (0.05, 0.4), (3 / 4, 4 / 3), generator())
    top, left, height, width = boxes.unbind(-1)
    assert boxes.min() >= 0 and (top + height).max() <= 1 + 1e-6 and (left + width).max() <= 1 + 1e-6
    area, aspect = height * width, width / height
    assert area.min() >= 0.05 - 1e-6 and area.max() <= 0.4 + 1e-6 and area.mean() == pytest.approx(0.225, abs=0.01)
    assert aspect.min() >= 0.75 - 1e-5 and aspect.max() <= 4 / 3 + 1e-5
    assert aspect.log().mean() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("height", "width", "size"), [(24, 16, 32), (40, 40, 16), (24, 36, 10), (20, 20, 20)])
def test_crop_equals_cutting_and_antialiased_resizing(height: int, width: int, size: int) -> None:
    images = torch.rand(3, 3, 40, 40)
    boxes = torch.stack([box(0, 0, height, width), box(40 - height, 40 - width, height, width)]).expand(3, -1, -1)
    found = crops(images, boxes, size).view(2, 3, 3, size, size)
    for view, (top, left) in zip(found, [(0, 0), (40 - height, 40 - width)], strict=True):
        cut = images[..., top : top + height, left : left + width]
        expected = F.interpolate(cut, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        assert torch.allclose(view, expected, atol=1e-5)


def test_crops_mirror_and_blur_like_the_separate_steps() -> None:
    images, boxes = torch.rand(4, 3, 40, 48), draw_boxes(4, (0.2, 0.6), (3 / 4, 4 / 3), generator())[:, None]
    flipped, sigma = torch.tensor([[True], [False], [True], [False]]), torch.tensor([[0.0], [0.7], [1.5], [2.0]])
    plain = crops(images, boxes, 16)
    assert torch.allclose(crops(images, boxes, 16, flipped), flip(plain, flipped[:, 0]), atol=1e-5)
    assert torch.allclose(crops(images, boxes, 16, None, sigma), blur(plain, sigma[:, 0]), atol=1e-5)


# --- colours ---------------------------------------------------------------------------------------------------------


def test_neutral_factors_change_nothing() -> None:
    images = torch.rand(3, 3, 8, 8)
    assert torch.allclose(jitter(images, neutral(3)), images, atol=1e-6)
    assert torch.equal(blur(images, torch.zeros(3)), images)


@pytest.mark.parametrize(
    ("index", "factor", "name"), [(0, 0.7, "brightness"), (1, 0.6, "contrast"), (2, 0.5, "saturation")]
)
def test_jitter_agrees_with_torchvision(index: int, factor: float, name: str) -> None:
    transforms = pytest.importorskip("torchvision.transforms.functional")
    images, factors = torch.rand(3, 3, 8, 8), neutral(3)
    factors[:, index] = factor
    expected = torch.stack([getattr(transforms, f"adjust_{name}")(image, factor) for image in images])
    assert torch.allclose(jitter(images, factors), expected, atol=2e-3)


def test_steps_of_the_jitter_follow_each_other() -> None:
    images, factors = 0.3 + 0.3 * torch.rand(3, 3, 8, 8), torch.tensor([1.2, 0.6, 1.3, 0.05])
    stepwise = images
    for index in range(4):
        alone = neutral(3)
        alone[:, index] = factors[index]
        stepwise = jitter(stepwise, alone)
    assert torch.allclose(jitter(images, factors.expand(3, 4)), stepwise, atol=1e-5)


def test_hue_turns_back_and_keeps_luma_and_greys() -> None:
    images = 0.4 + 0.2 * torch.rand(3, 3, 8, 8)
    turned, back = neutral(3), neutral(3)
    turned[:, 3], back[:, 3] = 0.1, -0.1
    other = jitter(images, turned)
    assert not torch.allclose(other, images, atol=0.01)
    assert torch.allclose(jitter(other, back), images, atol=1e-5)
    assert torch.allclose(grey(other), grey(images), atol=1e-5)
    assert torch.allclose(jitter(grey(images), turned), grey(images), atol=1e-5)


def test_factors_are_each_images_own() -> None:
    images, factors = torch.rand(2, 3, 8, 8), neutral(2)
    factors[1, 0] = 0.5
    found = jitter(images, factors)
    assert torch.allclose(found[0], images[0], atol=1e-6) and torch.allclose(found[1], images[1] / 2, atol=1e-6)


def test_drawn_colours_keep_to_strengths_and_chances() -> None:
    strengths = (0.4, 0.4, 0.2, 0.1)
    factors = draw_colours(4000, strengths, 0.8, 0.2, generator())
    centre = torch.tensor([1.0, 1, 1, 0])
    coloured = factors[factors[:, 2] != 0]
    assert ((coloured - centre).abs() <= torch.tensor(strengths) + 1e-6).all()
    assert (factors[:, 2] == 0).float().mean() == pytest.approx(0.2, abs=0.03)
    assert (coloured == centre).all(1).float().mean() == pytest.approx(0.2, abs=0.03)


def test_views_are_full_precision_under_autocast() -> None:
    images = torch.rand(4, 3, 40, 40)
    plain = make_views(images, SMALL, 1, slice(0, 4), 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(make_views(images, SMALL, 1, slice(0, 4), 4)["locals"], plain["locals"])
