"""Building, loading and saving towers: what fits is loaded whole, what does not is told, and nothing in a file is run."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from zsbench.errors import UserError
from zsbench.nn import clip
from zsbench.nn.dense import dense
from zsbench.nn.local_model import CONFIG, WEIGHTS, check_model, construct
from zsbench.nn.weights import fitting, load_weights

CPU = torch.device("cpu")

# Every tag of open_clip 3.3 by what it was trained on; v1 and mrl (NLLB-CLIP) do not say.
TAGS = {
    "WIT-400M (OpenAI, not public)": "openai",
    "LAION-400M": "laion400m_e31 laion400m_e32 laion400m_s11b_b41k laion400m_s13b_b51k",
    "LAION-2B": """laion2b laion2b_e16 laion2b_s12b_b32k laion2b_s12b_b42k laion2b_s13b_b82k laion2b_s13b_b82k_augreg
        laion2b_s13b_b90k laion2b_s26b_b102k_augreg laion2b_s29b_b131k_ft laion2b_s29b_b131k_ft_soup laion2b_s32b_b79k
        laion2b_s32b_b82k laion2b_s34b_b79k laion2b_s34b_b82k_augreg laion2b_s34b_b82k_augreg_rewind
        laion2b_s34b_b82k_augreg_soup laion2b_s34b_b88k laion2b_s39b_b160k laion2b_s4b_b115k laion2b_s9b_b144k""",
    "LAION-5B": "laion5b_s13b_b90k",
    "LAION-5B (text), LAION-2B (image)": "frozen_laion5b_s13b_b90k",
    "LAION-Aesthetic": "laion_aesthetic_s13b_b82k laion_aesthetic_s13b_b82k_augreg",
    "LAION-2B and MS COCO captions": "mscoco_finetuned_laion2b_s13b_b90k",
    "Merged-2B (LAION-2B and COYO-700M)": "merged2b_s11b_b114k merged2b_s4b_b131k merged2b_s6b_b61k merged2b_s8b_b131k",
    "DataComp": "datacomp_l_s1b_b8k datacomp_m_s128m_b4k datacomp_s34b_b86k datacomp_s_s13m_b4k datacomp_xl_s13b_b90k",
    "DataComp-1B": "datacomp1b",
    "DataCompDR (DataComp-1B with synthetic captions)": "datacompdr datacompdr_lt",
    "CommonPool": """commonpool_l_basic_s1b_b8k commonpool_l_clip_s1b_b8k commonpool_l_image_s1b_b8k
        commonpool_l_laion_s1b_b8k commonpool_l_s1b_b8k commonpool_l_text_s1b_b8k commonpool_m_basic_s128m_b4k
        commonpool_m_clip_s128m_b4k commonpool_m_image_s128m_b4k commonpool_m_laion_s128m_b4k commonpool_m_s128m_b4k
        commonpool_m_text_s128m_b4k commonpool_s_basic_s13m_b4k commonpool_s_clip_s13m_b4k commonpool_s_image_s13m_b4k
        commonpool_s_laion_s13m_b4k commonpool_s_s13m_b4k commonpool_s_text_s13m_b4k commonpool_xl_clip_s13b_b90k
        commonpool_xl_laion_s13b_b90k commonpool_xl_s13b_b90k""",
    "MetaCLIP (Common Crawl)": "metaclip_400m metaclip_altogether metaclip_fullcc",
    "MetaCLIP 2 (Common Crawl)": "metaclip2_worldwide",
    "Perception Encoder's image-text and video pairs (Meta, not public)": "meta",
    "DFN-2B (Common Crawl)": "dfn2b dfn2b_s39b",
    "DFN-5B (Common Crawl)": "dfn5b",
    "DFNDR-2B (DFN-2B with synthetic captions)": "dfndr2b",
    "CC12M": "cc12m",
    "YFCC15M": "yfcc15m",
    "WebLI": "webli",
    "unknown corpus": "v1 mrl",
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def towers() -> clip.Towers:
    found = clip.build("small-vit")
    found.model.eval()
    return found


def weights(towers: clip.Towers) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in towers.model.state_dict().items()}


def same(a: clip.Towers, b: clip.Towers) -> bool:
    mine, theirs = weights(a), weights(b)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


# -- corpora


def test_every_tag_that_open_clip_lists_has_its_corpus() -> None:
    expected = {tag: corpus for corpus, tags in TAGS.items() for tag in tags.split()}
    assert {tag: clip.corpus_of(tag) for tag in {tag for _, tag in open_clip.list_pretrained()}} == expected


@pytest.mark.parametrize(
    "pretrained",
    ["laion2b.safetensors", "openai.pt", "weights/openai", "local-dir:openai", "open", "laion2", "captions"],
)
def test_files_and_unknown_tags_are_never_given_a_corpus(pretrained: str) -> None:
    assert clip.corpus_of(pretrained) == "unknown corpus"


def test_no_weights_are_nothing_but_for_a_folder_that_brings_its_own() -> None:
    assert clip.corpus_of("") == "nothing" == clip.corpus_of("", "ViT-B-16")
    assert clip.corpus_of("", "local-dir:here") == "unknown corpus"


# -- files of weights


def as_safetensors(state: dict[str, Tensor], path: Path) -> Path:
    save_file(state, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def as_torch(state: Any, path: Path) -> Path:
    torch.save(state, path.with_suffix(".pt"))
    return path.with_suffix(".pt")


def as_checkpoint(state: dict[str, Tensor], path: Path) -> Path:
    return as_torch({"epoch": 3, "state_dict": {f"module.{name}": t for name, t in state.items()}}, path)


def as_openai(state: dict[str, Tensor], path: Path) -> Path:
    """Half precision, and the sizes among the weights."""
    return as_torch({name: t.half() for name, t in state.items()} | {"input_resolution": torch.tensor(64)}, path)


@pytest.mark.parametrize("write", [as_safetensors, as_torch, as_checkpoint])
def test_weights_come_back_from_every_kind_of_file(
    write: Callable[[dict[str, Tensor], Path], Path], tmp_path: Path, towers: clip.Towers
) -> None:
    path = write(weights(towers), tmp_path / "w")
    torch.manual_seed(1)
    assert same(clip.build("small-vit", str(path)), towers)
    assert not same(clip.build("small-vit"), towers)


def test_openais_files_are_read_in_single_precision(tmp_path: Path, towers: clip.Towers) -> None:
    model: Any = construct({**clip.SMALL_VIT_CONFIG, "quick_gelu": True}, "quick")
    load_weights(model, as_openai(weights(towers), tmp_path / "w"), "quick")
    assert torch.equal(model.visual.proj, towers.model.visual.proj.half().float())


def test_keys_that_do_not_fit_are_named_with_what_would(tmp_path: Path) -> None:
    config = {**clip.SMALL_VIT_CONFIG, "vision_cfg": {**clip.SMALL_VISION, "width": 192}}
    with torch.device("meta"):
        state = open_clip.model.CLIP(**config).state_dict()
    path = as_safetensors(
        {name: torch.empty(t.shape) for name, t in state.items() if name != "visual.proj"}, tmp_path / "w"
    )
    with pytest.raises(UserError) as caught:
        clip.build("small-vit", str(path))
    said = str(caught.value)
    assert "does not fit small-vit: 1 key missing (visual.proj)" in said
    assert "of another shape (visual.class_embedding (192,) for (96,), " in said and ", …)" in said
    extra = as_safetensors(weights(clip.build("small-vit")) | {"more": torch.zeros(2)}, tmp_path / "extra")
    with pytest.raises(UserError, match=r"fit small-vit: 1 key unexpected \(more\)\.$"):
        clip.build("small-vit", str(extra))


def test_the_architecture_that_a_file_would_fit_is_named() -> None:
    with torch.device("meta"):
        state = open_clip.create_model("ViT-B-32", load_weights=False, device="meta").state_dict()
    assert fitting(state) == ["ViT-B-32", "ViT-B-32-quickgelu"]


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no weights file at .*none\.safetensors"):
        clip.build("small-vit", str(tmp_path / "none.safetensors"))


def test_a_pickle_with_code_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(pickle.dumps({"x": Path("x")}, protocol=2))
    with pytest.raises(UserError, match=r"never opened \(it asks to run pathlib\."):
        clip.build("small-vit", str(path))


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_a_torchscript_archive_is_not_run_and_the_way_around_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)
    with pytest.raises(UserError, match=r"TorchScript archive.*tag 'openai'.*torch\.jit\.load.*encoder=ARCH-quickgelu"):
        clip.build("small-vit", str(path))


@pytest.mark.parametrize(("name", "said"), [("w.safetensors", "not a whole safetensors file"), ("w.pt", "cut short")])
def test_a_file_cut_short_is_refused(name: str, said: str, tmp_path: Path, towers: clip.Towers) -> None:
    write = as_safetensors if name.endswith("safetensors") else as_torch
    path = write(weights(towers), tmp_path / "w")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=said):
        clip.build("small-vit", str(path))


def test_a_file_without_named_tensors_is_refused(tmp_path: Path) -> None:
    for content in ([torch.zeros(2)], {"state_dict": [torch.zeros(2)]}, {"state_dict": torch.zeros(2)}):
        with pytest.raises(UserError, match="no tensors by name"):
            clip.build("small-vit", str(as_torch(content, tmp_path / "w")))


# -- tags and names


def test_a_tag_that_cannot_be_fetched_is_told_with_the_way_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr("open_clip.factory.download_pretrained", offline)
    with pytest.raises(
        UserError, match=r"'openai' of ViT-B-32 could not be fetched \(.*no network\); give a file instead"
    ):
        clip.build("ViT-B-32", "openai")


def test_a_tag_of_another_architecture_is_refused() -> None:
    with pytest.raises(UserError, match=r"'yfcc15m' is neither a file nor a pretrained tag of ViT-B-32. Tags: openai"):
        clip.build("ViT-B-32", "yfcc15m")


@pytest.mark.parametrize(
    ("arch", "reason"),
    [
        ("ViT-B-16-SigLIP", "attention-pooling head"),
        ("PE-Core-B-16", "attention-pooling head"),
        ("coca_ViT-B-32", "attention pooler"),
        ("roberta-ViT-B-32", r"text tower from a model hub \(roberta-base\)"),
        ("ViT-L-14-CLIPA", "tokenizer from a model hub"),
    ],
)
def test_towers_that_cannot_segment_are_refused_with_the_reason_and_a_choice(arch: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"{arch} .*{reason}.*ViT-B-16"):
        clip.build(arch)


def test_a_file_of_an_architecture_gets_the_statistics_its_tags_agree_on() -> None:
    assert clip._statistics("MobileCLIP-B", open_clip.list_pretrained_tags_by_model("MobileCLIP-B")) == (
        (0,) * 3,
        (1,) * 3,
    )
    assert clip._statistics("ViT-B-16", open_clip.list_pretrained_tags_by_model("ViT-B-16")) == (
        clip.CLIP_MEAN,
        clip.CLIP_STD,
    )


# -- folders in open_clip's own format


def test_a_saved_model_comes_back_also_through_open_clip_itself(tmp_path: Path, towers: clip.Towers) -> None:
    clip.save(towers, tmp_path / "mine")
    spec = f"local-dir:{tmp_path / 'mine'}"
    torch.manual_seed(1)
    read = clip.build(spec)
    read.model.eval()
    assert same(read, towers) and (read.arch, read.width, read.stride) == (spec, 64, 4)
    assert (read.mean, read.std) == clip.CENTRED == (towers.mean, towers.std)
    theirs = open_clip.create_model(spec).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(theirs.encode_image(images), read.model.encode_image(images))
        assert torch.equal(dense(theirs.visual, images).patches_BDhw, dense(towers.model.visual, images).patches_BDhw)
    tokens = open_clip.get_tokenizer(spec)(["a cat"])
    assert torch.equal(tokens, read.tokenizer(["a cat"])) and tokens.shape == (1, 24)
    assert theirs.visual.preprocess_cfg["mean"] == [0.5] * 3


def test_a_saved_resnet_comes_back_also_through_open_clip_itself(tmp_path: Path) -> None:
    vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": clip.SMALL_TEXT}
    model: Any = construct(config, "tiny").eval()
    model.visual.bn1.running_var.fill_(3)
    towers = clip.Towers(model, None, *clip.CENTRED, "tiny", config)
    clip.save(towers, tmp_path)
    read = clip.build(f"local-dir:{tmp_path}")
    assert same(read, towers) and (read.width, read.stride) == (32, 32)
    theirs, images = open_clip.create_model(f"local-dir:{tmp_path}").eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(theirs.encode_image(images), model.encode_image(images))


def test_the_small_encoder_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'small' .* stem: save 'small-vit'") as before:
        clip.require_saveable("small")
    with pytest.raises(UserError) as saving:
        clip.save(clip.build("small"), tmp_path / "mine")
    assert str(saving.value) == str(before.value) and not list(tmp_path.iterdir())


def buildable(arch: str) -> bool:
    """As `build` decides before it makes a model."""
    config = open_clip.get_model_config(arch)
    try:
        clip._require_known_parts(config, arch)
    except UserError:
        return False
    return not config["vision_cfg"].get("attentional_pool")


def test_what_can_be_built_can_be_read_back_or_is_refused_before_a_training() -> None:
    refused = set()
    for arch in filter(buildable, open_clip.list_models()):
        try:
            clip.require_saveable(arch)
        except UserError:
            refused.add(arch)
        else:
            check_model(Path(arch), json.loads(json.dumps(open_clip.get_model_config(arch))))
    assert refused == {"coca_base"}
    for spec in ("small-vit", "local-dir:somewhere"):
        clip.require_saveable(spec)


@pytest.fixture
def folder(tmp_path: Path, towers: clip.Towers) -> Path:
    clip.save(towers, tmp_path / "mine")
    return tmp_path / "mine"


def test_folders_that_lack_a_part_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="brings its own weights"):
        clip.build(f"local-dir:{folder}", "openai")
    with pytest.raises(UserError, match=r"no such file; a local-dir holds open_clip_config.json"):
        clip.build(f"local-dir:{tmp_path}")
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match=r"holds no weights; looked for open_clip_model.safetensors"):
        clip.build(f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("", "model_cfg", None, "no section 'model_cfg'"),
        ("model_cfg", "vision_cfg", 3, "no section 'vision_cfg'"),
        ("model_cfg", "multimodal_cfg", {}, "no key named 'multimodal_cfg'"),
        ("model_cfg", "embed_dim", 10**9, "embed_dim = 1000000000, expected 1 to 8192"),
        ("model_cfg", "embed_dim", "64", "embed_dim = '64', expected"),
        ("model_cfg", "embed_dim", 32, "does not fit"),
        ("vision_cfg", "widht", 96, "Did you mean 'width'"),
        ("vision_cfg", "layers", 10**7, "layers = 10000000"),
        ("vision_cfg", "layers", True, "layers = True"),
        ("vision_cfg", "layers", [1] * 9, "layers = "),
        ("vision_cfg", "width", [96], r"width = \[96\]"),
        ("vision_cfg", "head_width", 0, "head_width = 0"),
        ("text_cfg", "heads", 3, "no model can be built of it"),
        ("vision_cfg", "timm_model_name", "hf-hub:someone/model", "no timm model named 'hf-hub:someone/model'"),
        ("vision_cfg", "timm_model_pretrained", True, "would be fetched"),
        ("vision_cfg", "act_kwargs", {"inplace": True}, "no act_kwargs named 'inplace'"),
        ("vision_cfg", "attentional_pool", True, "cannot segment: its attention pooler"),
        ("text_cfg", "hf_model_name", "roberta-base", "hf_model_name = 'roberta-base' would be fetched"),
        ("text_cfg", "hf_tokenizer_name", "someone/tokenizer", "would be fetched"),
        ("vision_cfg", "patch_size", None, "patch_size = None"),
        ("vision_cfg", "norm_kwargs", {"eps": "x"}, "eps = 'x', expected a number"),
        ("vision_cfg", "norm_kwargs", {"eps": float("nan")}, "eps = nan"),
        ("text_cfg", "norm_kwargs", 3, "norm_kwargs = 3, expected a section with eps"),
        ("vision_cfg", "act_kwargs", {"approximate": "x"}, "approximate = 'x', expected 'none' or 'tanh'"),
        ("text_cfg", "eos_id", "x", "eos_id = 'x', expected a whole number"),
        ("text_cfg", "no_causal_mask", "no", "no_causal_mask = 'no', expected true or false"),
        ("vision_cfg", "patch_dropout", True, "patch_dropout = True, expected a number"),
        ("model_cfg", "quick_gelu", "false", "quick_gelu = 'false', expected true or false"),
        ("text_cfg", "vocab_size", 100, "vocab_size below 49408"),
        ("preprocess_cfg", "std", [1, 0, 1], r"std = \[1, 0, 1\], expected three numbers"),
        ("preprocess_cfg", "std", [1e-50] * 3, "std = .*, expected three numbers between 0.0001 and 1000"),
        ("preprocess_cfg", "mean", [1, "x", 1], "mean"),
        ("preprocess_cfg", "mean", [10**400] * 3, "mean = .*, expected three numbers"),
        ("preprocess_cfg", "mean", [True] * 3, "mean = .*, expected three numbers"),
        ("preprocess_cfg", "mean", [float("nan")] * 3, "mean = .*, expected three numbers"),
    ],
)
def test_a_folders_configuration_is_not_trusted(folder: Path, section: str, key: str, value: Any, said: str) -> None:
    config = json.loads((folder / CONFIG).read_text())
    places = {"": config, **config, **config["model_cfg"]}
    places[section][key] = value
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(UserError, match=said):
        clip.build(f"local-dir:{folder}")


def test_sizes_that_are_fine_one_by_one_are_refused_together(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config["model_cfg"]["vision_cfg"] |= {"width": 8192, "layers": 128}
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"a tower of some 1e.11 parameters"):
        clip.build(f"local-dir:{folder}")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "\x00"])
def test_a_configuration_that_is_no_json_object_is_refused(folder: Path, text: str) -> None:
    (folder / CONFIG).write_text(text)
    with pytest.raises(UserError, match=r"is not JSON|no section"):
        clip.build(f"local-dir:{folder}")


def test_a_pickle_in_a_folder_is_not_opened(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Path("x")}, protocol=2))
    with pytest.raises(UserError, match="never opened"):
        clip.build(f"local-dir:{folder}")


# -- text


def test_text_features_are_those_of_the_tower_whatever_the_batch(
    monkeypatch: pytest.MonkeyPatch, towers: clip.Towers
) -> None:
    prompts = [f"a photo of {number} sheep." for number in range(7)]
    whole = clip.text_features(towers, prompts, CPU)
    with torch.no_grad():
        expected = towers.model.encode_text(towers.tokenizer(prompts), normalize=True)
    torch.testing.assert_close(whole, expected, rtol=0, atol=1e-6)
    monkeypatch.setattr(clip, "TEXT_BATCH", 3)
    torch.testing.assert_close(clip.text_features(towers, prompts, CPU), whole, rtol=0, atol=1e-6)


def test_many_prompts_are_never_encoded_at_once(monkeypatch: pytest.MonkeyPatch, towers: clip.Towers) -> None:
    sizes: list[int] = []

    def encode(tokens: Tensor) -> Tensor:
        sizes.append(len(tokens))
        return torch.ones(len(tokens), 64)

    monkeypatch.setattr(towers.model, "encode_text", encode)
    features = clip.text_features(towers, [f"{number}" for number in range(20_000)], CPU)
    assert features.shape == (20_000, 64) and not features.requires_grad and max(sizes) <= 256


def test_no_prompts_are_refused(towers: clip.Towers) -> None:
    with pytest.raises(UserError, match="no prompts"):
        clip.text_features(towers, [], CPU)


def test_the_digest_knows_weights_and_activations() -> None:
    torch.manual_seed(0)
    one = clip.build("small-vit").model.visual
    torch.manual_seed(0)
    other = clip.build("small-vit").model.visual
    assert clip.digest(one) == clip.digest(other)
    other.transformer.resblocks[0].mlp.gelu = open_clip.transformer.QuickGELU()
    assert clip.digest(one) != clip.digest(other)
    with torch.no_grad():
        one.proj[0, 0] += 1
    torch.manual_seed(0)
    assert clip.digest(one) != clip.digest(clip.build("small-vit").model.visual)


def test_normalise_takes_the_towers_statistics(towers: clip.Towers) -> None:
    images = torch.rand(2, 3, 4, 4)
    assert torch.allclose(clip.normalise(towers, images), (images - 0.5) / 0.25)
