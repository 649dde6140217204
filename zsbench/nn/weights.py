"""Weights from files: tensors only, nothing in a file is ever run; what does not fit is named.

`.safetensors` hold nothing but tensors; `.pt`, `.pth` and `.bin` are read with torch's `weights_only`.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zsbench.errors import UserError
from zsbench.nn.corpora import LOCAL_DIR, is_path

WRAPPERS = ("module.", "_orig_mod.")  # what DistributedDataParallel and torch.compile put before every name
OPENAIS = {"input_resolution", "context_length", "vocab_size"}  # only OpenAI's files keep these among the weights
QUICK = "-quickgelu"  # what open_clip ends the names of architectures with QuickGELU in
AS_TRAINED = f"--set encoder=ARCH{QUICK}, as ViT-B-16{QUICK} or RN50{QUICK}"
SHOWN = 3


def refuse_absent(arch: str, pretrained: str) -> None:
    """Raises UserError, before anything is drawn or built, for a file of weights or a folder that is not there."""
    if is_path(pretrained) and not pretrained.startswith(LOCAL_DIR) and not Path(pretrained).is_file():
        raise UserError(f"no weights file at {pretrained}")
    for folder in (text.partition(":")[2] for text in (arch, pretrained) if text.startswith(f"{LOCAL_DIR}:")):
        if not Path(folder).is_dir():
            raise UserError(f"no folder {folder}: an open_clip model in open_clip's own format was expected there")


def load_weights(model: nn.Module, path: Path, arch: str) -> None:
    """Loads a file into an open_clip model; raises UserError with the keys that do not fit and what would."""
    from open_clip.model import convert_to_custom_text_state_dict

    read = read_tensors(path)
    openais = not OPENAIS.isdisjoint(read)
    state = {name: tensor for name, tensor in read.items() if name not in OPENAIS}
    flat = "positional_embedding" in state and not any(name.startswith("text.") for name in state)
    if flat and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)  # text tower under its own name, as newer models have it
    own = model.state_dict()
    wrong = _differences(own, state)
    if wrong:
        raise UserError(f"{path} does not fit {arch}: {wrong}.{_would_fit(state, openais)}")
    if openais:
        _require_quick_gelu(model, path, arch)
    require_numbers(path, own, state)
    model.load_state_dict(state)


def _require_quick_gelu(model: nn.Module, path: Path, arch: str) -> None:
    """OpenAI's weights fit a model with GELU, too, and make other features there, of which no shape tells."""
    import open_clip
    from open_clip.transformer import QuickGELU

    if any(isinstance(module, QuickGELU) for module in model.modules()):
        return
    way = f"--set encoder={arch}{QUICK}"
    if f"{arch}{QUICK}" not in open_clip.list_models():
        way = f'{AS_TRAINED}; in a local-dir "quick_gelu": true under "model_cfg"'
    raise UserError(f"{path} holds OpenAI's weights, trained with QuickGELU, which {arch} does not have: {way}")


def require_numbers(path: Path, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Raises UserError for tensors that are no floating-point numbers where the model has such, or not all finite."""
    floating = {name: state[name] for name, tensor in own.items() if name in state and tensor.is_floating_point()}
    odd = [name for name, tensor in floating.items() if not _dense_floats(tensor)]
    if odd:
        raise UserError(
            f"{path}: {_keys(len(odd))} of other than floating-point numbers ({_few(odd)}, {_kind(state[odd[0]])}); "
            "quantised weights need their scales: give the file they were made from"
        )
    for name, tensor in floating.items():
        if not tensor.to(own[name].dtype).isfinite().all():
            raise UserError(
                f"{path}: {name} has values that are no finite numbers (NaN or infinite): the file is spoilt"
            )


def _dense_floats(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.layout == torch.strided and not tensor.is_meta


def _kind(tensor: Tensor) -> str:
    return " ".join(str(word).removeprefix("torch.") for word in (tensor.dtype, tensor.layout, tensor.device))


def _differences(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    shapes = [
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    return "; ".join(f"{_keys(len(found))} {kind} ({_few(found)})" for kind, found in kinds.items() if found)


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{count} keys"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _would_fit(state: Mapping[str, Tensor], openais: bool) -> str:
    names = [name for name in fitting(state) if name.endswith(QUICK) or not openais]
    return f" By its shapes it is {' or '.join(names)}: --set encoder={names[0]}" if names else ""


def fitting(state: Mapping[str, Tensor]) -> list[str]:
    """Architectures of open_clip with a plain vision transformer of just these shapes; activations have no shape."""
    import open_clip

    try:
        patches, columns = state["visual.positional_embedding"].shape[0] - 1, state["visual.conv1.weight"].shape
        text = "" if "token_embedding.weight" in state else "text."
        found = {
            "width": columns[0],
            "patch_size": columns[2],
            "image_size": round(patches**0.5) * columns[2],
            "layers": 1
            + max(int(name.split(".")[3]) for name in state if name.startswith("visual.transformer.resblocks")),
        }
        vocabulary, text_width = state[f"{text}token_embedding.weight"].shape
        told = {
            "width": text_width,
            "vocab_size": vocabulary,
            "context_length": len(state[f"{text}positional_embedding"]),
        }
        embed = state["visual.proj"].shape[1]
    except (KeyError, IndexError, ValueError):
        return []
    configs = {name: open_clip.get_model_config(name) for name in open_clip.list_models()}
    return [
        name
        for name, config in configs.items()
        if config["embed_dim"] == embed
        and found.items() <= _hashable(config["vision_cfg"])
        and told.items() <= _hashable(config["text_cfg"])
    ]


def _hashable(config: Mapping[str, Any]) -> set[tuple[str, Any]]:
    return {(key, value) for key, value in config.items() if isinstance(value, int)}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or tensor-only .pt file, wrappers' prefixes taken off; UserError for anything else."""
    if not path.is_file():
        raise UserError(f"no weights file at {path}")
    loaded: Any = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    pairs = state.items() if isinstance(state, dict) else ()
    named = [(_bare(name), value) for name, value in pairs if isinstance(value, Tensor)]
    if not named:
        raise UserError(f"{path} holds no tensors by name, neither at its top nor under 'state_dict'")
    twice = [name for name, count in Counter(name for name, _ in named).items() if count > 1]
    if twice:
        raise UserError(
            f"{path} holds {_few(twice)} twice, with and without '{WRAPPERS[0]}' or its like: which one is meant?"
        )
    return dict(named)


def _bare(name: Any) -> str:
    name = str(name)
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is not a whole safetensors file ({error})") from error


def _torch_file(path: Path) -> Any:
    if _is_torchscript(path):
        raise UserError(
            f"{path} is a TorchScript archive, as OpenAI's originals are: a program, which is never run here. The tag 'openai' "
            "names the same weights; to use this file, which you trust, turn it into plain tensors once:  python -c "
            "\"import torch; torch.save(torch.jit.load('IN.pt', 'cpu').state_dict(), 'OUT.pt')\"  and load it into an "
            f"architecture with QuickGELU, as it was trained: {AS_TRAINED}"
        )
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's own, of pickles that it then refuses
            return torch.load(path, "cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} is not a plain tensor file: a pickle with code is never opened ({_refused(error)})"
        ) from error


def _refused(error: Exception) -> str:
    found = re.search(r"GLOBAL (\S+)", str(error))
    if found:
        return f"it asks to run {found[1]}"
    if isinstance(error, pickle.UnpicklingError) or "magic number" in str(error):
        return "it is a pickle, but not as torch.save writes tensors"
    return "it may also be cut short"


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())


def digest(model: nn.Module) -> str:
    """What a model computes, as a hash: its weights and its layers (activations and heads are not in the weights)."""
    facts = [(name, type(m).__name__, m.extra_repr(), getattr(m, "num_heads", 0)) for name, m in model.named_modules()]
    found = hashlib.sha256(repr(facts).encode())
    for name, tensor in model.state_dict().items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
