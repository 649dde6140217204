"""The encoder's cache: the same features with and without it, an image encoded once, nothing served to another tower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from zsbench.method import Job
from zsbench.nn import clip, encoder
from zsbench.nn.attention import Attention
from zsbench.nn.encoder import Encoder
from zsbench.nn.feature_cache import FeatureCache

CPU = torch.device("cpu")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(CPU, 0, tmp_path, features=FeatureCache(tmp_path / "features", 10**9))


@pytest.fixture(scope="module")
def towers() -> clip.Towers:
    torch.manual_seed(0)
    return clip.build(clip.SMALL_VIT)


def images(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_cached_features_are_the_encoders_to_the_bit(towers: clip.Towers, job: Job, precision: str) -> None:
    job = replace(job, precision=precision)
    plain, cached = Encoder(towers, replace(job, features=None), 64), Encoder(towers, job, 64)
    for _ in range(2):
        assert torch.equal(cached(images()), plain(images())) and cached(images()).dtype == plain(images()).dtype


def test_an_image_is_encoded_once(towers: clip.Towers, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Encoder(towers, job, 64)(images(2))
    seen: list[int] = []
    real = encoder.dense

    def counted(visual: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(len(x))
        return real(visual, x, *args, **kwargs)

    monkeypatch.setattr(encoder, "dense", counted)
    again = Encoder(towers, job, 64)(images(3))
    torch.testing.assert_close(again[:2], first)
    assert seen == [1]


def test_nothing_is_served_to_another_tower_rule_precision_code_or_image(
    towers: clip.Towers, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    other = clip.build(clip.SMALL_VIT)
    asked = [
        Encoder(towers, job, 64), Encoder(other, job, 64), Encoder(towers, job, 64, Attention("value")),
        Encoder(towers, replace(job, precision="bf16"), 64), Encoder(replace(towers, mean=(0.0, 0.0, 0.0)), job, 64),
        Encoder(towers, job, 64, Attention("kk+gauss")), Encoder(towers, job, 64, Attention("kk+gauss", std=2.0)),
    ]  # fmt: skip
    keys = [one._key(images()[0]) for one in asked]
    keys += [
        asked[0]._key(images()[1]),
        asked[0]._key(images()[0].flip(1)),
        asked[0]._key(images()[0].reshape(3, 32, 128)),
    ]
    monkeypatch.setattr(encoder, "code_sha256", lambda: "later")
    keys.append(Encoder(towers, job, 64)._key(images()[0]))
    assert len(set(keys)) == len(keys)
