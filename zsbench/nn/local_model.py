"""A folder with a model in open_clip's own format: open_clip_config.json and weights. The configuration is not trusted.

Only keys that open_clip's configurations of built-in towers know are read, with bounds on all sizes, so that a folder from
elsewhere can neither fetch anything, nor fill the memory, nor choose what is run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from zsbench.atomic import replacing, write_json
from zsbench.errors import UserError, unknown
from zsbench.nn.weights import load_weights

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
WEIGHT_FILES = (
    WEIGHTS, "open_clip_pytorch_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin",
)  # fmt: skip
MODEL_KEYS = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale", "init_logit_bias"}
FETCHED = {"timm_model_pretrained", "hf_model_name", "hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs"}
NOT_SAID = {"multimodal_cfg": "caption decoder"}  # parts of open_clip's models that are no part of two towers
LAYER_KWARGS = {"act_kwargs": {"approximate"}, "norm_kwargs": {"eps"}}
APPROXIMATIONS = ("none", "tanh")  # of GELU
LARGEST_STATISTIC, SMALLEST_STD = 1000.0, 1e-4  # pixels are in [0, 1]; there are files of 0 to 255
LARGEST = {
    "embed_dim": 8192, "width": 8192, "head_width": 1024, "heads": 128, "layers": 128, "mlp_ratio": 16, "image_size": 2048,
    "patch_size": 256, "context_length": 1024, "vocab_size": 500_000, "attn_pooler_queries": 1024, "attn_pooler_heads": 128,
}  # fmt: skip
LARGEST_TOWER = 6e9  # parameters; the largest that open_clip ships have 4e9
WORDS = 49408  # entries of CLIP's vocabulary
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}


def read_config(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(model_cfg, preprocess_cfg) of a folder; UserError for what is missing, unknown or out of bounds."""
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{path}: no such file; a local-dir holds {CONFIG} and the weights, as open_clip writes them")
    try:
        read = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error})") from error
    model = _section(path, read, "model_cfg")
    check_model(path, model)
    preprocess = read.get("preprocess_cfg", {})
    return model, _statistics(path, preprocess if isinstance(preprocess, dict) else {})


def check_model(path: Path, model: Mapping[str, Any]) -> None:
    """Raises UserError for a model_cfg with anything unknown, of another kind or out of bounds."""
    _known(path, "key", model, MODEL_KEYS)
    _check_kinds(path, model, {"quick_gelu": False, "custom_text": False})
    _check_tower(path, _section(path, model, "vision_cfg"), "CLIPVisionCfg")
    _check_tower(path, _section(path, model, "text_cfg"), "CLIPTextCfg")
    _check_sizes(path, model)
    if model["text_cfg"].get("vocab_size", WORDS) < WORDS:
        raise UserError(
            f"{path}: vocab_size below {WORDS}, the size of CLIP's vocabulary, which is the one in use here"
        )


def _section(path: Path, read: Any, name: str) -> dict[str, Any]:
    found = read.get(name) if isinstance(read, dict) else None
    if not isinstance(found, dict):
        raise UserError(f"{path} has no section '{name}'")
    return found


def _known(path: Path, kind: str, given: Iterable[str], names: Iterable[str]) -> None:
    for name in given:
        if name not in names:
            raise UserError(f"{path}: {unknown(kind, name, sorted(names))}")


def _check_tower(path: Path, tower: Mapping[str, Any], cls: str) -> None:
    import open_clip.model

    defaults = {field.name: field.default for field in fields(getattr(open_clip.model, cls))}
    _known(path, f"key of {cls}", tower, defaults)
    for name in FETCHED:
        if tower.get(name):
            raise UserError(
                f"{path}: {name} = {tower[name]!r} would be fetched from a hub; only what lies in the folder is read"
            )
    _check_layer_kwargs(path, tower)
    _check_sizes(path, tower)
    _check_kinds(path, tower, defaults)
    _check_timm(path, tower)
    parameters = _parameters(tower)
    if parameters > LARGEST_TOWER:
        raise UserError(f"{path}: a tower of some {parameters:.0e} parameters; at most {LARGEST_TOWER:.0e} are built")


def _check_layer_kwargs(path: Path, tower: Mapping[str, Any]) -> None:
    for name, allowed in LAYER_KWARGS.items():
        given = tower.get(name) or {}
        if not isinstance(given, dict):
            raise UserError(f"{path}: {name} = {_brief(given)}, expected a section with {', '.join(allowed)}")
        _known(path, name, given, allowed)
        if "eps" in given and not (_number(given["eps"]) and 0 < given["eps"] < 1):
            raise UserError(f"{path}: eps = {_brief(given['eps'])}, expected a number between 0 and 1")
        if given.get("approximate", "none") not in APPROXIMATIONS:
            raise UserError(f"{path}: approximate = {_brief(given['approximate'])}, expected 'none' or 'tanh'")


def _check_kinds(path: Path, tower: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Each value of its default's kind; some would else be met only while a picture or a text is encoded."""
    for name, given in tower.items():
        kind = type(defaults.get(name))
        if name in LARGEST or kind not in KINDS or (kind is str and given is None):  # timm's words may be null
            continue
        if not (_number(given) if kind is float else type(given) is kind):
            raise UserError(f"{path}: {name} = {_brief(given)}, expected {KINDS[kind]}")


def _parameters(tower: Mapping[str, Any]) -> float:
    """About how many; a ResNet's layers, four counts, work at up to 32 times its width."""
    width, layers = tower.get("width", 768), tower.get("layers", 12)
    if isinstance(layers, list):
        return float(12 * len(layers) * (32 * width) ** 2)
    side = tower.get("image_size", 224)
    tokens = (max(side) if isinstance(side, list) else side) ** 2 / tower.get("patch_size", 16) ** 2
    return float(width * (12 * layers * width + tokens + tower.get("vocab_size", 0)))


def _check_timm(path: Path, tower: Mapping[str, Any]) -> None:
    name = tower.get("timm_model_name")
    if name is None:
        return
    import timm

    # timm would fetch "hf-hub:…" and open "local-dir:…"
    if not isinstance(name, str) or name not in timm.list_models():
        raise UserError(f"{path}: {unknown('timm model', str(name), timm.list_models())}")


def _check_sizes(path: Path, section: Mapping[str, Any]) -> None:
    for name, largest in LARGEST.items():
        given = section.get(name, 1)
        if given is None and name == "patch_size" and isinstance(section.get("layers"), list):
            continue  # a ResNet has none, and open_clip's own configurations say so
        several = isinstance(given, list) and 0 < len(given) <= 4 and name in ("layers", "image_size")
        for size in given if several else [given]:
            whole = isinstance(size, int) or (name == "mlp_ratio" and isinstance(size, float))
            if not whole or isinstance(size, bool) or not 0 < size <= largest:
                raise UserError(f"{path}: {name} = {_brief(given)}, expected 1 to {largest}")


def _statistics(path: Path, preprocess: Mapping[str, Any]) -> dict[str, Any]:
    """Mean and standard deviation; the rest of the preprocessing is for square crops, which are not made here."""
    chosen = {name: preprocess[name] for name in ("mean", "std") if name in preprocess}
    for name, values in chosen.items():
        least = SMALLEST_STD if name == "std" else -LARGEST_STATISTIC
        three = isinstance(values, list) and len(values) == 3
        if not three or not all(_number(v) and least <= v <= LARGEST_STATISTIC for v in values):
            raise UserError(
                f"{path}: {name} = {_brief(values)}, expected three numbers between {least:g} and {LARGEST_STATISTIC:g}"
            )
    return chosen


def _number(value: Any) -> bool:
    """Finite, and one that a float can hold; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _brief(value: Any) -> str:
    return repr(value)[:80]


def construct(config: Mapping[str, Any], origin: object) -> nn.Module:
    """An open_clip model of a configuration, random weights; UserError where open_clip cannot make one of it."""
    from open_clip.model import CLIP, CustomTextCLIP

    arguments = {name: value for name, value in config.items() if name != "custom_text"}
    try:
        model: nn.Module = (CustomTextCLIP if config.get("custom_text") else CLIP)(**arguments)
    except Exception as error:  # whatever a wrong combination of sizes meets in open_clip and timm
        raise UserError(f"{origin}: no model can be built of it ({type(error).__name__}: {error})") from error
    return model


def read_model(folder: Path, model: nn.Module) -> None:
    """Loads the folder's weights; safetensors first, as open_clip itself does."""
    found = [folder / name for name in WEIGHT_FILES if (folder / name).is_file()]
    if not found:
        raise UserError(f"{folder} holds no weights; looked for {', '.join(WEIGHT_FILES)}")
    load_weights(model, found[0], str(folder))


def write_model(folder: Path, model: nn.Module, config: Mapping[str, Any], preprocess: Mapping[str, Any]) -> None:
    """The folder that `read_model` and open_clip's own `local-dir:` read; the configuration last, so that it is whole."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS) as path:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, path)
    write_json(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": preprocess})
