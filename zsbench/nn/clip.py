"""open_clip models as dense two-tower encoders: patch features and text features in one joint space.

The towers are open_clip's; the forward pass over patches is ours, because open_clip returns unprojected tokens and takes
one image size only. Position embeddings are interpolated to any grid; at the native grid they are used untouched.
Legend: B images, D joint width, W tower width, h w patch grid.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsbench.errors import UserError, unknown

SMALL = "small"  # the encoder for drawn scenes: trains in minutes on two CPU cores
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # OpenAI's preprocessing, kept by nearly every open_clip model
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


# What a pretrained tag was trained on: the first word of the tag that is found here.
CORPORA = {
    "openai": "WIT-400M (OpenAI, not public)",
    "laion400m": "LAION-400M",
    "laion2b": "LAION-2B",
    "laion5b": "LAION-5B",
    "laion_aesthetic": "LAION-Aesthetic",
    "datacomp": "DataComp",
    "commonpool": "CommonPool",
    "metaclip": "MetaCLIP (Common Crawl)",
    "dfn": "DFN (Common Crawl)",
    "cc12m": "CC12M",
    "yfcc15m": "YFCC15M",
    "webli": "WebLI",
}


def corpus_of(pretrained: str) -> str:
    """The corpus behind an open_clip tag; an unknown file or tag is never called clean."""
    if not pretrained:
        return "nothing"
    return next((corpus for word, corpus in CORPORA.items() if pretrained.startswith(word)), "unknown corpus")


@dataclass(frozen=True)
class Towers:
    """An open_clip model, its tokenizer and its image normalisation."""

    model: Any  # open_clip types neither its towers nor its tokenizers
    tokenizer: Any
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def stride(self) -> int:
        """Pixels per patch side."""
        return int(self.model.visual.patch_size[0])


def build(arch: str, pretrained: str = "") -> Towers:
    """An open_clip model by architecture name (`small`, `ViT-B-16`, …), random or from a tag or weights file.

    Raises UserError for an unknown name, a tower without a patch grid, and a weights file that does not fit or that is
    not plain tensors (a pickle with code is never opened).
    """
    import open_clip

    if arch == SMALL:
        if pretrained:
            raise UserError(
                "the small encoder has no pretrained weights; choose an open_clip model: --set encoder=ViT-B-16"
            )
        return Towers(_small(), _tokenizer("ViT-B-16", 24), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    if arch not in open_clip.list_models():
        raise unknown("encoder", arch, [SMALL, *open_clip.list_models()])
    tag = "" if _is_file(pretrained) else pretrained
    if tag and tag not in open_clip.list_pretrained_tags_by_model(arch):
        tags = open_clip.list_pretrained_tags_by_model(arch)
        raise UserError(f"'{tag}' is neither a file nor a pretrained tag of {arch}. Tags: {', '.join(tags) or 'none'}")
    if "hf_model_name" in open_clip.get_model_config(arch)["text_cfg"]:
        raise UserError(f"{arch} takes its text tower from a model hub, with weights of unknown origin: choose another")
    quick = bool(tag) and open_clip.get_pretrained_cfg(arch, tag).get("quick_gelu", False)
    try:
        with _hushed():
            model = open_clip.create_model(arch, pretrained=tag or None, force_quick_gelu=quick)
    except (OSError, RuntimeError) as error:  # the download of a tag
        raise UserError(f"the weights '{tag}' of {arch} could not be fetched ({error}); give a file instead") from error
    _require_patch_grid(model, arch)
    if pretrained and not tag:
        load_weights(model, Path(pretrained), arch)
    config = getattr(model.visual, "preprocess_cfg", None) or {}
    return Towers(
        model,
        open_clip.get_tokenizer(arch),
        tuple(config.get("mean", CLIP_MEAN)),
        tuple(config.get("std", CLIP_STD)),
    )


@contextmanager
def _hushed() -> Iterator[None]:
    """open_clip warns of random weights and of activations; both are decided here and stand in the record."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _is_file(pretrained: str) -> bool:
    looks = pretrained.endswith((".safetensors", ".pt", ".bin", ".pth")) or "/" in pretrained
    if looks and not Path(pretrained).is_file():
        raise UserError(f"no weights file at {pretrained}")
    return looks


def load_weights(model: nn.Module, path: Path, arch: str) -> None:
    """Loads a .safetensors or tensor-only .pt file; names the keys that do not fit."""
    state = read_tensors(path)
    state = {key.removeprefix("module."): value for key, value in state.items()}
    own = model.state_dict()
    wrong = [k for k in own if k not in state or state[k].shape != own[k].shape] + [k for k in state if k not in own]
    if wrong:
        raise UserError(f"{path} does not fit {arch}: {len(wrong)} keys differ, first: {', '.join(wrong[:4])}")
    model.load_state_dict(state)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or tensor-only .pt file; UserError for anything else."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except SafetensorError as error:
        raise UserError(f"{path} is not a whole safetensors file ({error})") from error
    except Exception as error:
        raise UserError(f"{path} is not a plain tensor file (a pickle with code is never opened)") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _require_patch_grid(model: nn.Module, arch: str) -> None:
    visual = model.visual
    needed = ("conv1", "positional_embedding", "transformer", "ln_post", "proj", "grid_size")
    if not all(hasattr(visual, name) for name in needed) or getattr(visual, "attn_pool", None) is not None:
        raise UserError(f"{arch} is no plain vision transformer: its image tower has no patch grid to segment with")


def _tokenizer(arch: str, context: int) -> object:
    import open_clip

    return open_clip.get_tokenizer(arch, context_length=context)


def _small() -> nn.Module:
    """A 64-pixel open_clip CLIP with a convolutional stem in place of the patch projection.

    16 × 16 tokens of stride 4: on drawn scenes a linear 8-pixel patch projection caps the IoU near 0.39, because textures
    of 5-pixel period need overlapping filters.
    """
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    width = 96
    vision = CLIPVisionCfg(image_size=64, patch_size=4, width=width, layers=1, head_width=width, mlp_ratio=2.0)
    text = CLIPTextCfg(context_length=24, vocab_size=49408, width=64, heads=2, layers=1)
    model = CLIP(embed_dim=64, vision_cfg=vision, text_cfg=text)
    model.visual.conv1 = nn.Sequential(
        nn.Conv2d(3, 32, 5, stride=2, padding=2),
        nn.GELU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(64, width, 3, padding=1),
    )
    return model


def dense(visual: Any, images_BCHW: Tensor, pool: str) -> tuple[Tensor, Tensor]:
    """Normalised images -> (pooled feature e_v (B, D), patch features e_pxl (B, D, h, w)), both in the joint space.

    pool "avg": e_v is the mean of e_pxl, so that pooling a region of all patches gives e_v exactly; "tok": the class token.
    Projecting after pooling equals pooling after projecting, because the projection is linear.
    """
    x = visual.conv1(images_BCHW)  # (B, W, h, w)
    grid = x.shape[-2:]
    x = x.flatten(2).transpose(1, 2)  # (B, hw, W)
    head = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
    x = torch.cat([head, x], dim=1) + positions(visual, grid).to(x.dtype)
    x = visual.ln_pre(visual.patch_dropout(x))
    x = visual.ln_post(visual.transformer(x)) @ visual.proj  # (B, 1 + hw, D)
    patches = x[:, 1:]
    pooled = patches.mean(1) if pool == "avg" else x[:, 0]
    return pooled, patches.transpose(1, 2).unflatten(2, grid)


def positions(visual: Any, grid: tuple[int, int]) -> Tensor:
    """Position embeddings for any patch grid, (1 + h w, W); the stored ones, untouched, at the native grid."""
    stored: Tensor = visual.positional_embedding  # (1 + gh gw, W)
    native = tuple(visual.grid_size)
    if tuple(grid) == native:
        return stored
    map_1Whw = stored[1:].T.unflatten(1, native)[None]
    resized = F.interpolate(map_1Whw.float(), size=grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([stored[:1], resized[0].flatten(1).T.to(stored.dtype)])


def text_features(towers: Towers, prompts: Sequence[str], device: torch.device) -> Tensor:
    """Unit text features (len(prompts), D) in fp32."""
    tokens = towers.tokenizer(list(prompts)).to(device)
    return F.normalize(towers.model.encode_text(tokens).float(), dim=-1)


def normalise(towers: Towers, images_BCHW: Tensor) -> Tensor:
    """RGB in [0, 1] -> the tower's input range."""
    mean = images_BCHW.new_tensor(towers.mean)[:, None, None]
    std = images_BCHW.new_tensor(towers.std)[:, None, None]
    return (images_BCHW - mean) / std
