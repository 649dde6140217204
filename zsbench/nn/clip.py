"""open_clip models as two towers over one joint space: building, loading, saving, text features.

The towers are open_clip's; features of patches are in `zsbench.nn.dense`. Weights come from a tag of open_clip, a file of
tensors, or a folder in open_clip's own format.
Legend: B images, D joint width, n prompts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsbench.errors import UserError, unknown
from zsbench.nn.corpora import LOCAL_DIR, is_path
from zsbench.nn.corpora import corpus_of as corpus_of
from zsbench.nn.dense import cannot_segment, require_dense, stride
from zsbench.nn.dense_timm import MAP_POOL
from zsbench.nn.local_model import NOT_SAID, construct, read_config, read_model, write_model
from zsbench.nn.weights import digest as digest
from zsbench.nn.weights import load_weights
from zsbench.nn.weights import read_tensors as read_tensors

SMALL = "small"  # the encoder for drawn scenes: trains in minutes on two CPU cores
SMALL_VIT = "small-vit"  # the same as a plain ViT, which open_clip's format can say and attention rules can change
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # OpenAI's preprocessing, kept by nearly every open_clip model
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
CENTRED = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
TEXT_BATCH = 32  # prompts at once: attention over 77 tokens of 256 prompts would take half a gigabyte

SMALL_TEXT: dict[str, Any] = {"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
SMALL_VISION: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 4,
    "width": 96,
    "layers": 1,
    "head_width": 96,
    "mlp_ratio": 2.0,
}
SMALL_CONFIG: dict[str, Any] = {"embed_dim": 64, "vision_cfg": SMALL_VISION, "text_cfg": SMALL_TEXT}
SMALL_VIT_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {**SMALL_VISION, "pool_type": "avg"},
    "text_cfg": SMALL_TEXT,
}

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Towers:
    """An open_clip model, its tokenizer, its image normalisation, its name and open_clip's configuration of it."""

    model: Any  # open_clip types neither its towers nor its tokenizers
    tokenizer: Any
    mean: Triple
    std: Triple
    arch: str
    config: Mapping[str, Any] = field(repr=False)

    @property
    def stride(self) -> int:
        """Pixels per patch side."""
        return stride(self.model.visual)

    @property
    def width(self) -> int:
        """D, the width of the joint space."""
        return int(self.config["embed_dim"])


def build(arch: str, pretrained: str = "") -> Towers:
    """An open_clip model by name (`small`, `small-vit`, `ViT-B-16`, …) or from a folder (`local-dir:FOLDER`).

    `pretrained` is empty (random weights), a tag of open_clip, or a file of tensors (.safetensors, .pt, .bin). OpenAI's own
    weights need QuickGELU: their tag brings it, for a file choose the architecture ending in `-quickgelu`.
    Raises UserError for an unknown name, a tower without features of patches, text towers and tokenizers from a hub, and
    weights that do not fit or are not plain tensors (a pickle with code is never opened).
    """
    schema, _, folder = arch.partition(":")
    if schema == LOCAL_DIR:
        return _from_folder(Path(folder or pretrained), pretrained if folder else "")
    if arch == SMALL:
        if pretrained:
            raise UserError(
                "the small encoder has no pretrained weights; choose an open_clip model: --set encoder=ViT-B-16"
            )
        return Towers(_small(), _tokenizer(SMALL_TEXT), *CENTRED, SMALL, SMALL_CONFIG)
    if arch == SMALL_VIT:
        towers = Towers(
            construct(SMALL_VIT_CONFIG, arch), _tokenizer(SMALL_TEXT), *CENTRED, SMALL_VIT, SMALL_VIT_CONFIG
        )
    else:
        towers = _named(arch, "" if is_path(pretrained) else pretrained)
    if is_path(pretrained):
        load_weights(towers.model, Path(pretrained), arch)
    elif pretrained and arch == SMALL_VIT:
        raise UserError(f"'{pretrained}' is neither a file nor a pretrained tag of {arch}. Tags: none")
    return towers


def _named(arch: str, tag: str) -> Towers:
    """An architecture of open_clip, with random weights or those of a tag."""
    import open_clip

    if arch not in open_clip.list_models():
        raise unknown("encoder", arch, [SMALL, SMALL_VIT, *open_clip.list_models()])
    tags = open_clip.list_pretrained_tags_by_model(arch)
    if tag and tag not in tags:
        raise UserError(f"'{tag}' is neither a file nor a pretrained tag of {arch}. Tags: {', '.join(tags) or 'none'}")
    config = open_clip.get_model_config(arch)
    _require_known_parts(config, arch)
    quick = bool(tag) and open_clip.get_pretrained_cfg(arch, tag).get("quick_gelu", False)
    try:
        with _hushed():
            model = open_clip.create_model(arch, pretrained=tag or None, force_quick_gelu=quick)
    except (OSError, RuntimeError) as error:  # the download of a tag
        raise UserError(f"the weights '{tag}' of {arch} could not be fetched ({error}); give a file instead") from error
    require_dense(model, arch)
    mean, std = _statistics(arch, [tag] if tag else tags)
    return Towers(
        model, open_clip.get_tokenizer(arch), mean, std, arch, config | ({"quick_gelu": True} if quick else {})
    )


def _require_known_parts(config: Mapping[str, Any], arch: str) -> None:
    """Refuses by configuration what would be refused after minutes of building or asking a hub."""
    if config["vision_cfg"].get("timm_pool") == "map":
        raise cannot_segment(arch, MAP_POOL)
    for key, part in (("hf_model_name", "text tower"), ("hf_tokenizer_name", "tokenizer")):
        if key in config["text_cfg"]:
            source = config["text_cfg"][key]
            raise UserError(
                f"{arch} takes its {part} from a model hub ({source}), which is not asked: choose another, e.g. ViT-B-16"
            )


def _statistics(arch: str, tags: Sequence[str]) -> tuple[Triple, Triple]:
    """Mean and std of the tags; of all tags of the architecture where they agree, which is what a file of it needs."""
    import open_clip

    configs = [open_clip.get_pretrained_cfg(arch, tag) for tag in tags]
    found = {(tuple(cfg.get("mean") or CLIP_MEAN), tuple(cfg.get("std") or CLIP_STD)) for cfg in configs}
    return found.pop() if len(found) == 1 else (CLIP_MEAN, CLIP_STD)


def _from_folder(folder: Path, pretrained: str) -> Towers:
    if pretrained:
        raise UserError(f"local-dir:{folder} brings its own weights; leave pretrained empty")
    config, preprocess = read_config(folder)
    model = construct(config, folder)
    require_dense(model, str(folder))
    read_model(folder, model)
    mean, std = (tuple(preprocess.get(name, usual)) for name, usual in (("mean", CLIP_MEAN), ("std", CLIP_STD)))
    return Towers(model, _tokenizer(config["text_cfg"]), mean, std, f"{LOCAL_DIR}:{folder}", config)


def require_saveable(arch: str) -> None:
    """Raises UserError for an architecture that `save` cannot write. Builds nothing: ask before a training."""
    import open_clip

    config = (open_clip.get_model_config(arch) if arch in open_clip.list_models() else None) or {}
    lost = "stem" if arch == SMALL else next((part for key, part in NOT_SAID.items() if key in config), "")
    if lost:
        raise UserError(
            f"'{arch}' cannot be saved as a folder, which has no place for its {lost}: save '{SMALL_VIT}' or ViT-B-16"
        )


def save(towers: Towers, folder: Path) -> None:
    """Writes the folder that `build("local-dir:FOLDER")`, and open_clip itself, read back."""
    require_saveable(towers.arch)
    size = towers.model.visual.image_size
    preprocess = {"mean": towers.mean, "std": towers.std, "size": size}
    write_model(folder, towers.model, towers.config, preprocess)


@contextmanager
def _hushed() -> Iterator[None]:
    """open_clip warns of random weights and of activations; both are decided here and stand in the record."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _tokenizer(text: Mapping[str, Any]) -> object:
    import open_clip

    return open_clip.SimpleTokenizer(context_length=text.get("context_length", 77))


def _small() -> nn.Module:
    """A 64-pixel open_clip CLIP with a convolutional stem in place of the patch projection.

    16 × 16 tokens of stride 4: on drawn scenes a linear 8-pixel patch projection caps the IoU near 0.39, because textures
    of 5-pixel period need overlapping filters.
    """
    model: Any = construct(SMALL_CONFIG, SMALL)
    model.visual.conv1 = nn.Sequential(
        nn.Conv2d(3, 32, 5, stride=2, padding=2),
        nn.GELU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(64, SMALL_VISION["width"], 3, padding=1),
    )
    return model


@torch.no_grad()
def text_features(towers: Towers, prompts: Sequence[str], device: torch.device) -> Tensor:
    """Unit text features (n, D) in fp32, encoded in batches: memory does not grow with their number."""
    if not prompts:
        raise UserError("no prompts to encode: a class needs at least one")
    return torch.cat(
        [_encoded(towers, prompts[i : i + TEXT_BATCH], device) for i in range(0, len(prompts), TEXT_BATCH)]
    )


def _encoded(towers: Towers, prompts: Sequence[str], device: torch.device) -> Tensor:
    tokens = towers.tokenizer(list(prompts)).to(device)
    return F.normalize(towers.model.encode_text(tokens).float(), dim=-1)


def normalise(towers: Towers, images_BCHW: Tensor) -> Tensor:
    """RGB in [0, 1] -> the tower's input range."""
    mean = images_BCHW.new_tensor(towers.mean)[:, None, None]
    std = images_BCHW.new_tensor(towers.std)[:, None, None]
    return (images_BCHW - mean) / std
