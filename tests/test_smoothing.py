"""Prompt denoising and key smoothing of dense scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from zsbench.nn.smoothing import denoised, smoothed

SCALE = 100.0


def maps(*names: list[float]) -> torch.Tensor:
    """(1, N, 1, w) cosines, one list of patches per name."""
    return torch.tensor(names)[None, :, None]


def test_a_class_that_is_sure_nowhere_is_set_back() -> None:
    cosines = maps([0.30, 0.10], [0.10, 0.30], [0.29, 0.29])  # the third is second everywhere, p at most 0.27
    kept = denoised(cosines, SCALE, 0.5)
    assert torch.equal(kept[:, :2], cosines[:, :2]) and bool((kept[:, 2] < -50).all())
    assert torch.equal(denoised(cosines, SCALE, 0.0), cosines)


def test_among_classes_that_are_all_set_back_the_order_stays() -> None:
    cosines = maps([0.9, 0.9], [0.2, 0.1], [0.1, 0.2])
    only_last = denoised(cosines, SCALE, 0.5)[:, 1:]
    assert only_last.argmax(1).flatten().tolist() == [0, 1]


def test_a_class_sure_in_one_patch_is_kept_in_all_and_images_do_not_mix() -> None:
    sure, unsure = maps([0.30, 0.10], [0.10, 0.11]), maps([0.30, 0.30], [0.10, 0.11])
    kept = denoised(torch.cat([sure, unsure]), SCALE, 0.5)
    assert torch.equal(kept[0], sure[0]) and bool((kept[1, 1] < -50).all()) and torch.equal(kept[1, 0], unsure[0, 0])


def test_like_keys_share_their_scores() -> None:
    cosines = maps([0.3, 0.1, 0.1], [0.1, 0.1, 0.4])
    keys = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])[None, :, None]  # the second patch looks like the first
    mixed = smoothed(cosines, keys, SCALE, 1.0)
    torch.testing.assert_close(mixed[0, :, 0], torch.tensor([[0.2, 0.2, 0.1], [0.1, 0.1, 0.4]]))


def test_sure_patches_are_left_alone() -> None:
    cosines = maps([0.9, 0.1], [0.1, 0.11])
    keys = torch.ones(1, 4, 1, 2)
    mixed = smoothed(cosines, keys, SCALE, 0.9)
    assert torch.equal(mixed[..., 0], cosines[..., 0]) and not torch.equal(mixed[..., 1], cosines[..., 1])
    assert torch.equal(smoothed(cosines, keys, SCALE, 0.0), cosines)


def test_the_length_of_a_key_says_nothing_but_to_the_official_axis() -> None:
    torch.manual_seed(0)
    cosines, keys = torch.rand(1, 3, 2, 3), torch.randn(1, 8, 2, 3)
    longer = keys * torch.rand(1, 1, 2, 3).add(0.5)
    torch.testing.assert_close(smoothed(cosines, keys, SCALE, 1.0), smoothed(cosines, longer, SCALE, 1.0))
    official = [smoothed(cosines, k, SCALE, 1.0, "token-official") for k in (keys, longer)]
    assert not torch.allclose(*official)


def test_the_official_axis_is_that_of_the_tokens() -> None:
    torch.manual_seed(0)
    cosines, keys = torch.rand(1, 3, 2, 3), torch.randn(1, 8, 2, 3)
    rows = F.normalize(keys.flatten(2).mT[0], p=2)  # what a call without `dim` makes of (tokens, channels): channels
    columns = F.normalize(keys.flatten(2).mT, p=2)[0]  # and of (B, tokens, channels): tokens
    for axis, unit in (("channel", rows), ("token-official", columns)):
        alike = unit @ unit.T
        expected = (alike @ cosines[0].flatten(1).T).argmax(1)
        assert torch.equal(smoothed(cosines, keys, SCALE, 1.0, axis)[0].flatten(1).argmax(0), expected)  # type: ignore[arg-type]
