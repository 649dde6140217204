"""The towers of the field at full size: random weights in a file, loaded by its path, run on real photographs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from zsbench.nn import clip
from zsbench.nn.attention import PUBLISHED
from zsbench.nn.dense import dense, rules_of
from zsbench.nn.windows import resized

LARGE = "ViT-L-14"  # 1.7 GB: one photograph, one rule


@pytest.fixture(scope="module")
def photographs(real_data: Path) -> list[Tensor]:
    """The widest and the tallest of a few photographs, (1, 3, H, W) in [0, 1]."""
    files = sorted((real_data / "voc-real-small").rglob("*.jpg"))[:20]
    if not files:
        pytest.skip(f"no photographs at {real_data / 'voc-real-small'}")
    images = [
        torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)[None] / 255 for file in files
    ]
    return sorted(images, key=lambda x: x.shape[3] / x.shape[2])[:: len(images) - 1]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "weights.safetensors"
    yield path
    path.unlink(missing_ok=True)
    gc.collect()


def write_noise(arch: str, path: Path) -> Tensor:
    """A file that fits the architecture, without the time of initialising it; returns one of its tensors."""
    with torch.device("meta"):
        shapes = open_clip.create_model(arch, load_weights=False, device="meta").state_dict()
    noise = 0.02 * torch.randn(100_003)
    noise[0] = 1
    state = {name: noise.repeat(t.numel() // len(noise) + 1)[: t.numel()].view(t.shape) for name, t in shapes.items()}
    state |= {name: t.abs() for name, t in state.items() if name.endswith("running_var")}
    save_file({name: t.clone() for name, t in state.items()}, path)
    return state["visual.head.proj.weight" if "visual.head.proj.weight" in state else "token_embedding.weight"]


@torch.no_grad()
@pytest.mark.parametrize("arch", ["ViT-B-16", "ViT-B-16-quickgelu", "ViT-B-32", LARGE, "RN50", "convnext_base"])
def test_a_tower_from_a_file_sees_photographs_at_their_own_size(
    arch: str, file: Path, photographs: list[Tensor]
) -> None:
    torch.manual_seed(0)
    written = write_noise(arch, file)
    towers = clip.build(arch, str(file))
    towers.model.eval()
    assert any(torch.equal(written, t) for t in towers.model.state_dict().values() if t.shape == written.shape)
    visual, rules = towers.model.visual, rules_of(towers.model.visual)
    for image in photographs[: 1 if arch == LARGE else 2]:
        x = clip.normalise(towers, resized(image, min(image.shape[2:]), towers.stride))
        grid = tuple(round(side / towers.stride) for side in image.shape[2:])
        for rule in rules[:1] if arch == LARGE else {rules[0], rules[-1]}:
            found = dense(visual, x, PUBLISHED[rule]).patches_BDhw
            assert found.shape == (1, towers.width, *grid) and found.isfinite().all()
            assert found.flatten(2).std(2).max() > 0  # patches differ
