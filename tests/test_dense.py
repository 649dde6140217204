"""Dense features against the tower's own image feature, and each attention rule against what defines it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIPVisionCfg, _build_vision_tower, resize_pos_embed
from open_clip.timm_model import TimmModel
from timm.models.eva import EvaBlock
from torch import Tensor

from zsbench.errors import UserError
from zsbench.nn import dense_timm, dense_vit
from zsbench.nn.attention import NARROWEST, PUBLISHED, RULES, Attention, Rule, mix, nearness
from zsbench.nn.dense import dense, require_dense, require_rule, rules_of, stride

VIT = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16, "mlp_ratio": 2.0}
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64}
VALUE = Attention("value")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def vit(quick_gelu: bool = False, **given: Any) -> Any:
    return scrambled(_build_vision_tower(16, CLIPVisionCfg(**{**VIT, **given}), quick_gelu))


def resnet() -> Any:
    return scrambled(_build_vision_tower(16, CLIPVisionCfg(**RESNET)))


def timm_tower(name: str, pool: str, size: int = 224, proj: str | None = "linear") -> Any:
    return scrambled(TimmModel(name, 16, image_size=size, pool=pool, proj=proj))


def scrambled(tower: Any) -> Any:
    """Norms, biases and scales begin as ones and zeros, which would hide that one of them is forgotten."""
    with torch.no_grad():
        for parameter in tower.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return tower.eval()


TOWERS = {
    "class token": lambda: vit(),
    "QuickGELU": lambda: vit(quick_gelu=True),
    "average": lambda: vit(pool_type="avg"),
    "norm after pooling": lambda: vit(pool_type="avg", final_ln_after_pool=True, no_ln_pre=True),
    "layer scale": lambda: vit(ls_init_value=0.3),
    "sine positions": lambda: vit(pos_embed_type="sin_cos_2d"),
    "ResNet": resnet,
    "timm ViT, class token": lambda: timm_tower("vit_tiny_patch16_224", "token", proj=None),
    "timm ViT, average": lambda: timm_tower("vit_tiny_patch16_224", "avg"),
    "EVA-02": lambda: timm_tower("eva02_tiny_patch14_224", "avg"),
    "ConvNeXt": lambda: timm_tower("convnext_atto", ""),
    "FastViT": lambda: timm_tower("fastvit_t8", "avg", 256, proj=None),
}


def usual(tower: Any) -> Attention:
    return Attention(rules_of(tower)[0])


def pictures(tower: Any, count: int = 2) -> Tensor:
    size = tower.image_size
    return torch.randn(count, 3, *(size if isinstance(size, tuple) else (size, size)))


def near(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1.0, b.abs().max().item()))


# -- towers


@torch.no_grad()
@pytest.mark.parametrize("name", TOWERS)
def test_the_pooled_feature_is_the_towers_own_and_any_size_will_do(name: str) -> None:
    tower = TOWERS[name]()
    images = pictures(tower)
    found = dense(tower, images, usual(tower))
    assert found.pooled_BD is not None
    near(found.pooled_BD, tower(images))
    side = stride(tower)
    assert found.patches_BDhw.shape == (2, 16, images.shape[2] // side, images.shape[3] // side)
    wide = dense(tower, torch.randn(1, 3, 3 * side, 5 * side), usual(tower)).patches_BDhw
    assert wide.shape == (1, 16, 3, 5) and wide.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("name", ["average", "timm ViT, average", "FastViT"])
def test_where_the_head_is_linear_the_mean_of_the_patches_is_the_pooled_feature(name: str) -> None:
    tower = TOWERS[name]()
    if hasattr(tower, "trunk") and hasattr(tower.trunk, "fc_norm"):
        tower.trunk.fc_norm = torch.nn.Identity()  # a norm after pooling is not linear
    found = dense(tower, pictures(tower))
    assert found.pooled_BD is not None
    near(found.patches_BDhw.mean((2, 3)), found.pooled_BD)


def test_sides_that_are_no_whole_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="30 x 32 pixels are not whole patches of 8"):
        dense(vit(), torch.randn(1, 3, 30, 32))


def test_plain_patches_train_the_tower_also_in_half_precision() -> None:
    tower = vit()
    with torch.autocast("cpu", torch.bfloat16):
        dense(tower, pictures(tower)).patches_BDhw.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tower.parameters())


@torch.no_grad()
@pytest.mark.parametrize("rule", RULES)
def test_an_image_has_the_same_features_in_any_company(rule: Rule) -> None:
    tower = vit()
    images = pictures(tower, 5)
    near(
        dense(tower, images, PUBLISHED[rule]).patches_BDhw[3:4], dense(tower, images[3:4], PUBLISHED[rule]).patches_BDhw
    )


def test_positions_are_untouched_at_the_native_grid_and_resized_elsewhere() -> None:
    tower = vit()
    assert dense_vit.positions(tower, (4, 4)) is tower.positional_embedding
    wide = dense_vit.positions(tower, (4, 6))
    assert wide.shape == (25, 32) and torch.equal(wide[0], tower.positional_embedding[0])
    flat = dense_vit.interpolated(torch.ones(17, 32), (4, 4), (9, 5), before=1)
    near(flat, torch.ones(46, 32))


@pytest.mark.parametrize("side", [2, 3, 7])
def test_resized_positions_are_those_that_open_clip_gives_a_model_of_that_size(side: int) -> None:
    model = torch.nn.Module()
    model.visual = vit(image_size=8 * side)
    tower = vit()
    state = {"visual.positional_embedding": tower.positional_embedding.detach().clone()}
    resize_pos_embed(state, model)
    near(dense_vit.positions(tower, (side, side)), state["visual.positional_embedding"])


@torch.no_grad()
def test_rotary_positions_of_another_grid_leave_the_towers_own_alone() -> None:
    tower = TOWERS["EVA-02"]()
    before = tower(pictures(tower))
    torch.manual_seed(0)
    tower = TOWERS["EVA-02"]()
    images = pictures(tower)
    dense(tower, torch.randn(1, 3, 28, 42))
    near(tower(images), before, 0)


# -- rules of the last block


@torch.no_grad()
@pytest.mark.parametrize("name", ["class token", "layer scale", "timm ViT, class token", "EVA-02"])
def test_the_block_taken_apart_is_the_block(name: str) -> None:
    """Plain attention by hand, and the value path as attention in which every token sees itself alone."""
    tower, grid = TOWERS[name](), (3, 5)
    if hasattr(tower, "trunk"):
        block, width = tower.trunk.blocks[-1], tower.trunk.embed_dim
        rope = dense_timm._rope(tower.trunk, grid)
        parts, also = dense_timm._parts(block, rope), {} if rope is None else {"rope": rope}
    else:
        block, width = tower.transformer.resblocks[-1], 32
        parts, also = dense_vit._parts(block), {}
    x = torch.randn(2, 16, width)
    near(parts(x, Attention(), grid), block(x, **also))
    itself = torch.full((16, 16), float("-inf")).fill_diagonal_(0)
    near(parts(x, VALUE, grid), block(x, attn_mask=itself, **also))


@torch.no_grad()
@pytest.mark.parametrize("fused", [True, False])
def test_evas_inner_norms_and_scales_stay_in_the_block_taken_apart(fused: bool) -> None:
    extras = {"swiglu_mlp": True, "scale_mlp": True, "scale_attn_inner": True, "init_values": 0.3}
    block = scrambled(EvaBlock(32, 2, qkv_fused=fused, norm_layer=torch.nn.LayerNorm, **extras))
    x = torch.randn(2, 16, 32)
    near(dense_timm._parts(block, None)(x, Attention(), (3, 5)), block(x))


@torch.no_grad()
@pytest.mark.parametrize("layer_scale", [None, 0.3])
def test_the_value_rule_is_maskclips_recipe_on_the_hooked_input_of_the_last_block(layer_scale: float | None) -> None:
    tower = vit(ls_init_value=layer_scale)
    images, caught = pictures(tower), []
    hook = tower.transformer.resblocks[-2].register_forward_hook(lambda _block, _inputs, output: caught.append(output))
    tower(images)
    hook.remove()
    block, (x,) = tower.transformer.resblocks[-1], caught
    value = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)[..., 64:]
    y = x + block.ls_1(block.attn.out_proj(value))
    y = y + block.ls_2(block.mlp(block.ln_2(y)))
    expected = (tower.ln_post(y) @ tower.proj)[:, 1:].mT.unflatten(2, (4, 4))
    near(dense(tower, images, VALUE).patches_BDhw, expected)
    reduced = dense(tower, images, Attention("value", residual=False, ffn=False)).patches_BDhw
    without = (tower.ln_post(block.ls_1(block.attn.out_proj(value))) @ tower.proj)[:, 1:]
    near(reduced, without.mT.unflatten(2, (4, 4)))
    keys = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)[:, 1:, 32:64]
    found = dense(tower, images, keys=True)
    assert found.keys_BChw is not None and found.pooled_BD is not None
    near(found.keys_BChw, keys.mT.unflatten(2, (4, 4)))
    near(found.pooled_BD, tower(images))


@torch.no_grad()
def test_only_the_tower_as_trained_has_a_pooled_feature() -> None:
    tower = vit()
    images = pictures(tower)
    assert dense(tower, images, VALUE).pooled_BD is None
    assert dense(tower, images, Attention("plain", ffn=False)).pooled_BD is None


def weights(attention: Attention, q: Tensor, k: Tensor, grid: tuple[int, int]) -> Tensor:
    """The attention matrix: what becomes of unit vectors."""
    tokens = q.shape[2]
    return mix(attention, q, k, torch.eye(tokens).expand(*q.shape[:2], -1, -1), grid)


@pytest.mark.parametrize(("rule", "total"), [("plain", 1), ("value", 1), ("qq+kk", 2), ("kk+gauss", 1), ("qq", 1)])
def test_rows_sum_to_one_and_those_of_qq_and_kk_to_two(rule: Rule, total: int) -> None:
    q, k = torch.randn(2, 2, 3, 13, 8)
    found = weights(Attention(rule), q, k, (3, 4))
    near(found.sum(-1), torch.full((2, 3, 13), float(total)))
    if rule == "qq+kk":
        near(found, weights(Attention("qq"), q, k, (3, 4)) + weights(Attention("qq"), k, q, (3, 4)))
    if rule == "qq":
        near(found, (q @ q.mT * 8**-0.5).softmax(-1))


def test_a_wide_gaussian_leaves_keys_alone() -> None:
    q, k = torch.randn(2, 2, 3, 12, 8)
    keys_alone = (k @ k.mT * 8**-0.5).softmax(-1)
    near(weights(Attention("kk+gauss", std=1e6), q, k, (3, 4)), keys_alone)
    narrow = weights(Attention("kk+gauss", std=1.0), q, k, (3, 4))
    assert (narrow - keys_alone).abs().max() > 0.01


def test_with_a_class_token_the_wide_gaussian_keeps_the_ratio_of_the_patches() -> None:
    q, k = torch.randn(2, 1, 1, 13, 8)
    found = weights(Attention("kk+gauss", std=1e6), q, k, (3, 4))[..., 1:, 1:]
    alone = (k @ k.mT * 8**-0.5).softmax(-1)[..., 1:, 1:]
    near(F.normalize(found, p=1, dim=-1), F.normalize(alone, p=1, dim=-1))


def test_the_narrower_the_gaussian_the_more_a_patch_attends_to_itself() -> None:
    nothing = torch.zeros(1, 1, 25, 8)  # equal keys: ω alone decides
    own = [
        weights(Attention("kk+gauss", std=std), nothing, nothing, (5, 5)).diagonal(dim1=2, dim2=3).min().item()
        for std in (0.3, 1.0, 2.0, 5.0, 50.0)
    ]
    assert own == sorted(own, reverse=True) and own[-1] == pytest.approx(1 / 25, abs=1e-3)


def test_nearness_is_a_gaussian_of_the_distance_on_the_grid_and_nothing_for_the_class_token() -> None:
    found = nearness((3, 4), 2.0, 13)
    assert found[0].eq(0).all() and found[:, 0].eq(0).all()
    place = {1 + 4 * row + column: (row, column) for row in range(3) for column in range(4)}
    for a, (r, c) in place.items():
        for b, (s, d) in place.items():
            expected = torch.exp(torch.tensor(-((r - s) ** 2 + (c - d) ** 2) / 8.0))
            assert found[a, b].item() == pytest.approx(expected.item(), abs=1e-6)


# -- what position embeddings alone can break


def unplaced(**given: Any) -> Any:
    tower = vit(**given)
    with torch.no_grad():
        tower.positional_embedding.zero_()
    return tower


@torch.no_grad()
@pytest.mark.parametrize("rule", ["plain", "value", "qq+kk", "qq"])
def test_without_positions_shuffled_patches_are_shuffled_features(rule: Rule) -> None:
    tower = unplaced()
    images = pictures(tower)
    order = torch.randperm(16)
    patches = F.unfold(images, 8, stride=8)
    shuffled = F.fold(patches[..., order], (32, 32), 8, stride=8)
    expected = dense(tower, images, PUBLISHED[rule]).patches_BDhw.flatten(2)[..., order]
    near(dense(tower, shuffled, PUBLISHED[rule]).patches_BDhw.flatten(2), expected)


@torch.no_grad()
def test_without_positions_shifting_the_image_by_a_patch_shifts_the_map() -> None:
    """One block under the value rule: nothing else reaches a patch, not even what comes in at the border."""
    tower = unplaced(layers=1)
    images = pictures(tower)
    shifted = torch.cat([torch.randn(2, 3, 32, 8), images[..., :-8]], dim=3)
    before, after = (dense(tower, x, VALUE).patches_BDhw for x in (images, shifted))
    near(after[..., 1:], before[..., :-1])


@torch.no_grad()
@pytest.mark.parametrize("rule", ["plain", "value", "qq+kk", "qq"])
def test_without_positions_one_colour_is_a_constant_map(rule: Rule) -> None:
    found = dense(unplaced(), torch.full((1, 3, 24, 40), 0.3), PUBLISHED[rule]).patches_BDhw
    near(found, found[..., :1, :1].expand_as(found))


# -- the ResNet's value path


@torch.no_grad()
def test_a_resnets_patches_are_the_value_path_of_its_attention_pool() -> None:
    tower = resnet()
    pool, images = tower.attnpool, pictures(tower)
    x = tower.layer4(tower.layer3(tower.layer2(tower.layer1(tower.stem(images)))))
    found = dense(tower, images, VALUE, keys=True)
    near(found.patches_BDhw[:, :, 1, 0], pool.c_proj(pool.v_proj(x[:, :, 1, 0])))
    assert found.keys_BChw is not None
    near(found.keys_BChw[:, :, 0, 1], pool.k_proj(x[:, :, 0, 1]))


@torch.no_grad()
def test_a_resnet_that_attends_to_all_alike_pools_the_mean_of_its_patches() -> None:
    tower = resnet()
    for parameter in (*tower.attnpool.k_proj.parameters(), tower.attnpool.positional_embedding):
        parameter.zero_()
    found = dense(tower, torch.randn(2, 3, 96, 160), VALUE)
    assert found.pooled_BD is not None
    near(found.pooled_BD, found.patches_BDhw.mean((2, 3)))


# -- what is refused


def test_a_rule_that_a_tower_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="RN50 has no attention rule 'plain': it has 'value' only"):
        require_rule(resnet(), Attention(), "RN50")
    with pytest.raises(UserError, match="ModifiedResNet has no attention rule 'qq'"):
        dense(resnet(), torch.randn(1, 3, 64, 64), Attention("qq"))
    with pytest.raises(UserError, match="leave residual and ffn on"):
        require_rule(resnet(), Attention("value", ffn=False))


@pytest.mark.parametrize("extra", [{"qk_norm": True}, {"scale_heads": True}, {"scale_attn": True}])
def test_blocks_that_do_more_than_attend_have_the_plain_rule_only(extra: dict[str, bool]) -> None:
    tower = vit(**extra)
    assert rules_of(tower) == ("plain",)
    dense(tower, pictures(tower))
    with pytest.raises(UserError, match="has no attention rule 'value': it has 'plain' only"):
        dense(tower, pictures(tower), VALUE)
    with pytest.raises(UserError, match="no keys"):
        dense(tower, pictures(tower), keys=True)


def test_unknown_rules_and_widths_are_refused() -> None:
    with pytest.raises(UserError, match="Did you mean 'qq"):
        Attention("qq+k")  # type: ignore[arg-type]
    for std in (0, -1.0, 1e-30, 0.09, float("nan")):
        with pytest.raises(UserError, match=r"std = .*, above 0; at 0\.1, the least"):
            Attention("kk+gauss", std=std)


@pytest.mark.parametrize(("std", "expected"), [(NARROWEST, torch.eye(12)), (1e200, torch.ones(12, 12))])
def test_the_narrowest_gaussian_sees_the_patch_alone_and_the_widest_all(std: float, expected: Tensor) -> None:
    near(nearness((3, 4), Attention("kk+gauss", std=std).std, 12), expected)


@pytest.mark.parametrize(
    ("tower", "reason"),
    [
        (lambda: vit(attentional_pool=True), "attention pooler"),
        (lambda: vit(pool_type="none"), "does not pool"),
        (lambda: TimmModel("vit_base_patch16_siglip_224", 16, pool="map", proj="none"), "MAP, as in SigLIP"),
        (lambda: TimmModel("swin_tiny_patch4_window7_224", 16, pool=""), "SwinTransformer"),
        (lambda: torch.nn.Linear(2, 2), "no patch grid"),
    ],
)
def test_a_tower_without_features_of_patches_is_refused_with_the_reason(tower: Any, reason: str) -> None:
    model = torch.nn.Module()
    with torch.device("meta"):
        model.visual = tower()
    with pytest.raises(UserError, match=f"that-tower cannot segment.*{reason}.*encoder=ViT-B-16"):
        require_dense(model, "that-tower")


def test_published_switches() -> None:
    """SCLIP and MaskCLIP keep the residual and the FFN, NACLIP and ClearCLIP drop both."""
    assert set(PUBLISHED) == set(RULES) and all(PUBLISHED[rule].rule == rule for rule in RULES)
    reduced = {rule for rule in RULES if not PUBLISHED[rule].residual and not PUBLISHED[rule].ffn}
    assert reduced == {"kk+gauss", "qq"} and PUBLISHED["kk+gauss"].std == 5
