"""Files of weights that would load and mean something else: the wrong activation, other numbers, a name twice."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from zsbench.errors import UserError
from zsbench.nn.clip import SMALL_VIT_CONFIG
from zsbench.nn.local_model import construct
from zsbench.nn.weights import load_weights, read_tensors


class Tiny(nn.Module):
    """A floating tensor, a counter as batch norms have it, and, where asked, QuickGELU."""

    def __init__(self, quick: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 3))
        self.register_buffer("seen", torch.tensor(0))
        self.activation = open_clip.transformer.QuickGELU() if quick else nn.GELU()


def tensors() -> dict[str, Tensor]:
    return {"weight": torch.arange(6.0).view(2, 3), "seen": torch.tensor(7)}


def write(state: Any, folder: Path) -> Path:
    torch.save(state, folder / "w.pt")
    return folder / "w.pt"


# -- OpenAI's own files


MARKS = {name: torch.tensor(224) for name in ("input_resolution", "context_length", "vocab_size")}


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ("ViT-B-16", "--set encoder=ViT-B-16-quickgelu$"),
        ("RN50", "--set encoder=RN50-quickgelu$"),
        (
            "small-vit",
            'encoder=ARCH-quickgelu, as ViT-B-16-quickgelu or RN50-quickgelu; in a local-dir "quick_gelu": true',
        ),
    ],
)
def test_openais_files_are_refused_without_quickgelu(mark: str, arch: str, said: str, tmp_path: Path) -> None:
    path, model = write(tensors() | {mark: MARKS[mark]}, tmp_path), Tiny()
    with pytest.raises(
        UserError, match=f"OpenAI's weights, trained with QuickGELU, which {arch} does not have: .*{said}"
    ):
        load_weights(model, path, arch)
    assert not model.weight.any()


def test_openais_files_load_where_there_is_quickgelu(tmp_path: Path) -> None:
    model = Tiny(quick=True)
    load_weights(model, write(tensors() | MARKS, tmp_path), "ViT-B-16-quickgelu")
    assert torch.equal(model.weight, tensors()["weight"]) and model.seen == 7


def test_an_openai_file_of_another_architecture_is_sent_to_the_one_with_quickgelu(tmp_path: Path) -> None:
    shapes = open_clip.create_model("ViT-B-32", load_weights=False, device="meta").state_dict()
    path = write({name: torch.zeros(()).expand(t.shape) for name, t in shapes.items()} | MARKS, tmp_path)
    with pytest.raises(UserError, match=r"By its shapes it is ViT-B-32-quickgelu: --set encoder=ViT-B-32-quickgelu$"):
        load_weights(construct(SMALL_VIT_CONFIG, "small-vit"), path, "small-vit")


# -- numbers


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floating_points_of_every_width_load(kind: torch.dtype, tmp_path: Path) -> None:
    model = Tiny()
    load_weights(model, write(tensors() | {"weight": tensors()["weight"].to(kind)}, tmp_path), "tiny")
    assert torch.equal(model.weight, tensors()["weight"]) and model.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda t: t.to(torch.int8), "int8"),
        (lambda t: t.to(torch.int64), "int64"),
        (lambda t: t > 2, "bool"),
        (lambda t: t.to(torch.complex64), "complex64"),
        (lambda t: t.to_sparse(), "float32 sparse_coo"),
        (lambda t: t.to("meta"), "float32 strided meta"),
    ],
)
def test_weights_that_are_no_floating_points_are_refused(
    change: Callable[[Tensor], Tensor], kind: str, tmp_path: Path
) -> None:
    path = write(tensors() | {"weight": change(tensors()["weight"])}, tmp_path)
    with pytest.raises(UserError, match=rf"1 key of other than floating-point numbers \(weight, {kind}"):
        load_weights(Tiny(), path, "tiny")


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_weights_that_are_not_finite_are_refused(spoilt: float, tmp_path: Path) -> None:
    state, model = tensors() | {"weight": tensors()["weight"].double()}, Tiny()
    state["weight"][1, 2] = spoilt
    with pytest.raises(UserError, match="weight has values that are no finite numbers"):
        load_weights(model, write(state, tmp_path), "tiny")
    assert not model.weight.any()


# -- names and pickles


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_name_twice_is_refused(prefix: str, tmp_path: Path) -> None:
    path = write(tensors() | {f"{prefix}weight": torch.ones(2, 3)}, tmp_path)
    with pytest.raises(UserError, match="holds weight twice"):
        read_tensors(path)


def test_a_text_tower_twice_is_refused(tmp_path: Path) -> None:
    model = construct({**SMALL_VIT_CONFIG, "custom_text": True}, "small-vit")
    own = model.state_dict()
    flat = {name.removeprefix("text."): tensor for name, tensor in own.items()}
    load_weights(model, write(flat, tmp_path), "small-vit")
    both = flat | {"text.ln_final.bias": own["text.ln_final.bias"] + 1}
    with pytest.raises(UserError, match="does not fit"):
        load_weights(model, write(both, tmp_path), "small-vit")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("content", [{"weight": 1}, {"weight": Path("x")}], ids=["plain", "code"])
def test_a_bare_pickle_is_said_to_be_one(content: object, protocol: int, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(UserError, match=r"never opened \(it (is a pickle, but not as|asks to run pathlib)"):
        read_tensors(tmp_path / "w.bin")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_file_of_torch_cut_short_is_not_called_a_pickle(zipped: bool, kept: float, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"weight": torch.zeros(300)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(UserError, match="cut short"):
        read_tensors(path)
