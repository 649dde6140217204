"""The encoders' contract: sizes, signs, the split before the last block, weights from files."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from zsbench.errors import UserError
from zsbench.nn import deeplab
from zsbench.nn.deeplab import SegmentationNet, build_encoder, corpus_of


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return build_encoder("resnet50").eval()


@pytest.fixture(scope="module", params=["small", "resnet50"])
def encoder(request, resnet):
    return resnet if request.param == "resnet50" else build_encoder("small").eval()


@torch.no_grad()
def features(encoder: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return encoder(images)


@pytest.mark.parametrize(("height", "width", "h", "w"), [(64, 64, 16, 16), (50, 67, 13, 17), (33, 40, 9, 10)])
def test_features_of_any_size(encoder, height, width, h, w):
    found = features(encoder, torch.rand(2, 3, height, width))
    assert found.shape == (2, encoder.width, h, w)
    assert encoder.stride == 4
    assert found.min() >= 0
    assert (found > 0).float().mean() > 0.2


def test_widths():
    assert build_encoder("small").width == 96
    narrow = build_encoder("small", width=32)
    assert features(narrow, torch.rand(1, 3, 16, 16)).shape[1] == narrow.width == 32
    net = SegmentationNet(build_encoder("resnet50", width=64), 5).eval()
    assert net.encoder.width == 64
    assert features(net, torch.rand(1, 3, 64, 64)).shape == (1, 5, 16, 16)


def test_an_image_alone_has_the_features_it_has_in_a_batch(encoder):
    images = torch.rand(3, 3, 64, 64)
    together = features(encoder, images)
    alone = torch.cat([features(encoder, image[None]) for image in images])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-2


def test_small_is_the_same_in_training():
    encoder = build_encoder("small")
    images = torch.rand(3, 3, 32, 32)
    trained = features(encoder.train(), images)
    torch.testing.assert_close(trained, features(encoder.eval(), images))
    torch.testing.assert_close(trained[1:2], features(encoder.train(), images[1:2]), rtol=1e-4, atol=1e-5)


def test_the_last_block_stands_apart(encoder):
    images = torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        before = encoder.before_last(images)
        assert torch.equal(encoder.last(before), encoder(images))
    convolutions = [part for part in encoder.last.modules() if isinstance(part, nn.Conv2d)]
    assert [c.kernel_size for c in convolutions] == [(3, 3)]
    encoder.zero_grad()
    encoder.last(before.detach()).sum().backward()
    reached = {name for name, p in encoder.named_parameters() if p.grad is not None}
    assert reached == {name for name, _ in encoder.named_parameters() if name.startswith("last.")}
    encoder.zero_grad()


def test_architecture_is_the_published_one(resnet):
    dilations = [c.dilation[0] for branch in resnet.pyramid.branches for c in branch if isinstance(c, nn.Conv2d)]
    assert dilations == [1, 6, 12, 18]
    widths = {name: (c.in_channels, c.out_channels) for name, c in resnet.named_modules() if isinstance(c, nn.Conv2d)}
    assert widths["low.0"] == (256, 48)
    assert widths["pyramid.mix.0.0"] == (1280, 256)
    assert widths["first.0.0"] == (304, 256)
    drops = {name: part.p for name, part in resnet.named_modules() if isinstance(part, nn.Dropout) and part.p}
    assert drops == {"pyramid.mix.1": 0.5, "first.1": 0.5, "last.1": 0.1}
    low, high = resnet.backbone(torch.rand(1, 3, 64, 64))
    assert (low.shape[1:], high.shape[1:]) == ((256, 16, 16), (2048, 4, 4))


def test_resizes_align_corners():
    ramp = deeplab._resized(torch.tensor([[[[0.0, 1.0]]]]), torch.Size((1, 5)))
    assert ramp.flatten().tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_the_backbone_starts_as_timm_starts_it():
    torch.manual_seed(5)
    theirs = deeplab._resnet("resnet50").state_dict()
    torch.manual_seed(5)
    mine = build_encoder("resnet50").backbone.state_dict()
    assert all(torch.equal(mine[key], value) for key, value in theirs.items())


def test_images_are_normalised_inside(resnet):
    grey = torch.tensor(deeplab.IMAGENET_MEAN)[:, None, None].expand(1, 3, 32, 32)
    seen = []
    handle = resnet.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    features(resnet, grey + torch.tensor(deeplab.IMAGENET_STD)[:, None, None])
    handle.remove()
    torch.testing.assert_close(seen[0], torch.ones(1, 3, 32, 32))
    assert not any(key.startswith(("mean", "std")) for key in resnet.state_dict())


def test_one_image_can_be_trained_on():
    """Image pooling leaves one number per channel, on which batch normalisation of one image raises."""
    norm = deeplab.ImageNorm(4).train()
    alone = torch.randn(1, 4, 1, 1)
    torch.testing.assert_close(norm(alone), alone / (1 + norm.eps) ** 0.5)
    assert norm.running_mean.abs().max() == 0
    two = torch.randn(2, 4, 1, 1)
    torch.testing.assert_close(norm(two).mean(0), torch.zeros(4, 1, 1), atol=1e-6, rtol=0)
    assert norm.running_mean.abs().max() > 0
    encoder = build_encoder("resnet50").train()
    encoder(torch.rand(1, 3, 64, 64)).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_logits_are_the_classifier_on_the_features():
    net = SegmentationNet(build_encoder("small"), 5)
    images = torch.rand(2, 3, 20, 24)
    with torch.no_grad():
        expected = torch.einsum("bdhw,nd->bnhw", net.encoder(images), net.classify.weight[:, :, 0, 0])
        torch.testing.assert_close(net(images), expected + net.classify.bias[:, None, None])


def test_small_learns_two_colours():
    net = SegmentationNet(build_encoder("small", width=32), 2)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    labels = torch.randint(2, (8, 4, 4))
    images = labels.float().repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None].repeat(1, 3, 1, 1)
    targets = labels.repeat_interleave(2, 1).repeat_interleave(2, 2)
    for _ in range(40):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net(images), targets)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1


def weights(resnet: nn.Module) -> dict[str, torch.Tensor]:
    """As a file of ImageNet weights has them: another start, and the classifier of 1,000 classes."""
    state = {key: value + 0.5 for key, value in resnet.backbone.state_dict().items() if "tracked" not in key}
    return {**state, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_backbone_weights_from_a_file(resnet, tmp_path, ending):
    state = weights(resnet)
    path = tmp_path / f"backbone.{ending}"
    if ending == "pt":
        torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    else:
        save_file(state, path)
    loaded = build_encoder("resnet50", str(path)).backbone.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items() if not key.startswith("fc."))
    assert corpus_of(str(path)) == "unknown corpus"


def test_weights_that_do_not_fit_are_named(resnet, tmp_path):
    state = weights(resnet)
    del state["layer4.2.bn3.bias"]
    state["layer1.0.conv1.weight"] = torch.zeros(3)
    state["head.weight"] = torch.zeros(3)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(UserError) as caught:
        build_encoder("resnet50", str(tmp_path / "other.safetensors"))
    for part in ("resnet50", "3 keys", "layer4.2.bn3.bias", "layer1.0.conv1.weight", "head.weight"):
        assert part in str(caught.value)


class Code:
    def __reduce__(self):
        return (print, ("run",))


def test_a_pickle_with_code_is_never_opened(tmp_path, capsys):
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"conv1.weight": Code()}, protocol=2))
    torch.save({"conv1.weight": Code()}, tmp_path / "zipped.pt")
    for name in ("evil.pt", "zipped.pt"):
        with pytest.raises(UserError, match="never opened"):
            build_encoder("resnet50", str(tmp_path / name))
    (tmp_path / "cut.safetensors").write_bytes(b"\x00" * 12)
    with pytest.raises(UserError, match="not a whole safetensors"):
        build_encoder("resnet50", str(tmp_path / "cut.safetensors"))
    assert "run" not in capsys.readouterr().out


def test_wrong_names(tmp_path):
    with pytest.raises(UserError, match="Did you mean 'resnet50'"):
        build_encoder("resnet5")
    with pytest.raises(UserError, match="multiple of 8"):
        build_encoder("small", width=30)
    with pytest.raises(UserError, match="small encoder has no pretrained"):
        build_encoder("small", "imagenet")
    with pytest.raises(UserError, match=r"no weights file at .*absent\.pt"):
        build_encoder("resnet50", str(tmp_path / "absent.pt"))


def test_imagenet_weights_are_timms_own(monkeypatch):
    asked = []
    genuine = deeplab._resnet

    def fetching(name: str, pretrained: bool = False) -> nn.Module:
        asked.append((name, pretrained))
        net = genuine(name)
        nn.init.constant_(net.conv1.weight, 0.25 if pretrained else 0)
        return net

    monkeypatch.setattr(deeplab, "_resnet", fetching)
    encoder = build_encoder("resnet50", "imagenet")
    assert ("resnet50", True) in asked
    assert (encoder.backbone.conv1.weight == 0.25).all()


def test_weights_that_cannot_be_fetched(monkeypatch):
    genuine = deeplab._resnet

    def offline(name: str, pretrained: bool = False) -> nn.Module:
        if pretrained:
            raise ConnectionError("no network")
        return genuine(name)

    monkeypatch.setattr(deeplab, "_resnet", offline)
    with pytest.raises(UserError, match=r"could not be fetched \(no network\); give a file"):
        build_encoder("resnet50", "imagenet")


def test_the_ledger_says_what_the_weights_saw():
    assert corpus_of("") == "nothing"
    assert corpus_of("imagenet").startswith("ImageNet-1k: 1,000 labelled classes")
    assert corpus_of("weights/imagenet.pt") == "unknown corpus"
