"""Segmentation networks of the generative methods: dense features that a 1 × 1 classifier reads, apart from each other.

DeepLabv3+ (Chen et al., ECCV 2018) as ZS3Net's code has it: a ResNet of stride 16, ASPP with dilations 1, 6, 12 and 18
and image pooling, and a decoder that adds the features of stride 4. "The feature" is the decoder's output before the
classifier: `width` non-negative numbers per place of stride 4. `small` keeps that contract for drawn scenes on a CPU.
ZS3Net's ResNet was trained on ImageNet without the data sets' own classes; those weights cannot be had, and the usual
ones have seen many an unseen class. So the default is a random start, and `corpus_of` names what anything else saw.
Legend: B images, H W pixels, D features, h w places of stride 4.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zsbench.errors import UserError, unknown
from zsbench.nn.weights import read_tensors, require_numbers

RESNETS = ("resnet50", "resnet101")
SMALL = "small"
GROUPS = 8  # of channels, normalised together in the small encoder
IMAGENET = "imagenet"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def corpus_of(pretrained: str) -> str:
    """What the weights of an encoder were trained on; an unknown file is never called clean."""
    if not pretrained:
        return "nothing"
    if pretrained == IMAGENET:
        return "ImageNet-1k: 1,000 labelled classes, among them kinds of the unseen ones"
    return "unknown corpus"


class Encoder(nn.Module):
    """RGB images (B, 3, H, W) in [0, 1] of any size -> features (B, width, h, w), none negative, h = ⌈H / stride⌉.

    Two steps, `before_last` and the decoder's last block `last`, so that a method can train the last block alone.
    `backbone` is the part that may start from pretrained weights, None without one.
    """

    width: int
    stride = 4
    last: nn.Module
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Iterable[float], std: Iterable[float]) -> None:
        super().__init__()
        self.backbone: nn.Module | None = None
        self.register_buffer("mean", torch.tensor(tuple(mean))[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(tuple(std))[:, None, None], persistent=False)

    def forward(self, images_B3HW: Tensor) -> Tensor:
        return cast(Tensor, self.last(self.before_last(images_B3HW)))

    def before_last(self, images_B3HW: Tensor) -> Tensor:
        """The input of `last`."""
        return self.decode((images_B3HW - self.mean) / self.std)

    def decode(self, images_B3HW: Tensor) -> Tensor:
        """All blocks but the last, from normalised images."""
        raise NotImplementedError


class SmallEncoder(Encoder):
    """Five convolutions that see 41 pixels around each place, about 16 thousand multiplications per pixel.

    Group normalisation instead of batch normalisation: an image gives the same features in training and in use, alone
    and in any batch, which generated features are compared with.
    """

    def __init__(self, width: int = 96) -> None:
        if width < GROUPS or width % GROUPS:
            raise UserError(
                f"the small encoder's width is a multiple of {GROUPS} (its normalisation's groups), not {width}"
            )
        super().__init__((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        self.width = width
        self.body = nn.Sequential(
            _grouped(3, 32, 5, stride=2),
            _grouped(32, 64, 3, stride=2),
            _grouped(64, width, 3),
            _grouped(width, width, 3, dilation=2),
        )
        self.last = _grouped(width, width, 3)
        _kaiming(self)

    def decode(self, images_B3HW: Tensor) -> Tensor:
        return cast(Tensor, self.body(images_B3HW))


def _grouped(inputs: int, outputs: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (size // 2)
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, outputs), nn.ReLU(inplace=True))


class DeepLab(Encoder):
    """DeepLabv3+ without its classifier, over one of timm's ResNets; resizes align corners, as ZS3Net's code does."""

    def __init__(self, resnet: str, width: int = 256) -> None:
        super().__init__(IMAGENET_MEAN, IMAGENET_STD)
        self.width = width
        backbone = _resnet(resnet)
        low, high = backbone.feature_info.channels()
        self.pyramid = Pyramid(high)
        self.low = _batched(low, 48, 1)
        self.first = nn.Sequential(_batched(256 + 48, width, 3), nn.Dropout(0.5))
        self.last = nn.Sequential(_batched(width, width, 3), nn.Dropout(0.1))
        _kaiming(self)
        self.backbone = backbone  # after _kaiming: timm starts its own networks

    def decode(self, images_B3HW: Tensor) -> Tensor:
        assert self.backbone is not None
        low, high = self.backbone(images_B3HW)  # strides 4 and 16
        context = _resized(self.pyramid(high), low.shape[-2:])
        return cast(Tensor, self.first(torch.cat([context, self.low(low)], 1)))


class Pyramid(nn.Module):
    """ASPP: the context of each place at four dilations and of the whole image, (B, inputs, h, w) -> (B, 256, h, w)."""

    def __init__(self, inputs: int, width: int = 256, dilations: tuple[int, ...] = (1, 6, 12, 18)) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_batched(inputs, width, 1 if d == 1 else 3, dilation=d) for d in dilations)
        self.image = nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), ImageNorm(width), nn.ReLU(inplace=True))
        self.mix = nn.Sequential(_batched((len(dilations) + 1) * width, width, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        whole = self.image(x.mean((2, 3), keepdim=True))
        parts = [branch(x) for branch in self.branches]
        return cast(Tensor, self.mix(torch.cat([*parts, whole.expand_as(parts[0])], 1)))


class ImageNorm(nn.BatchNorm2d):
    """Batch normalisation of one number per image. One image alone has no spread, on which PyTorch's own raises: in
    training it is normalised with the running statistics, as in use, and leaves them as they are."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def _resnet(name: str, pretrained: bool = False) -> Any:
    """timm's network, giving its features of strides 4 and 16 (dilated in the last stage)."""
    import timm  # a second of imports that the small encoder does without

    return timm.create_model(name, features_only=True, output_stride=16, out_indices=(1, 4), pretrained=pretrained)


def _batched(inputs: int, outputs: int, size: int, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, 1, dilation * (size // 2), dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _resized(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def _kaiming(net: nn.Module) -> None:
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class SegmentationNet(nn.Module):
    """An encoder and the 1 × 1 classifier of its features: images (B, 3, H, W) -> logits (B, n, h, w) of stride 4."""

    def __init__(self, encoder: Encoder, names: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classify = nn.Conv2d(encoder.width, names, 1)
        _kaiming(self.classify)

    def forward(self, images_B3HW: Tensor) -> Tensor:
        return cast(Tensor, self.classify(self.encoder(images_B3HW)))


def build_encoder(name: str, pretrained: str = "", *, width: int | None = None) -> Encoder:
    """`small`, `resnet50` or `resnet101`, of 96 or 256 features unless `width` says otherwise.

    pretrained, of the ResNet alone: "" a random start, "imagenet" timm's weights of that name (fetched), else a file
    (.safetensors, .pt) with the keys of torchvision or timm. Raises UserError for an unknown name, weights that cannot
    be fetched, and a file that does not fit or is more than tensors (a pickle with code is never opened).
    """
    if name == SMALL:
        if pretrained:
            raise UserError("the small encoder has no pretrained weights; choose a ResNet: --set encoder=resnet50")
        return SmallEncoder(width or 96)
    if name not in RESNETS:
        raise unknown("encoder", name, (SMALL, *RESNETS))
    encoder = DeepLab(name, width or 256)
    assert encoder.backbone is not None
    if pretrained == IMAGENET:
        encoder.backbone.load_state_dict(_fetched(name))
    elif pretrained:
        load_backbone(encoder.backbone, Path(pretrained), name)
    return encoder


def _fetched(name: str) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = _resnet(name, pretrained=True).state_dict()
    except Exception as error:  # of the hub, the network or the file, each with classes of its own
        raise UserError(
            f"the ImageNet weights of {name} could not be fetched ({error}); give a file: --set pretrained=FILE.safetensors"
        ) from error
    return state


def load_backbone(backbone: nn.Module, path: Path, name: str) -> None:
    """Loads a ResNet's weights from a tensor file; the ImageNet classifier in it is left out, all else must fit."""
    if not path.is_file():
        raise UserError(f"no weights file at {path}; 'imagenet' fetches timm's, '' starts from random weights")
    state = {key.removeprefix("module."): value for key, value in read_tensors(path).items()}
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    own = {key: value for key, value in backbone.state_dict().items() if not key.endswith("num_batches_tracked")}
    missing = [key for key in own if key not in state or state[key].shape != own[key].shape]
    wrong = missing + [key for key in state if key not in backbone.state_dict()]
    if wrong:
        raise UserError(f"{path} does not fit {name}: {len(wrong)} keys differ, first: {', '.join(wrong[:4])}")
    require_numbers(path, backbone.state_dict(), state)
    backbone.load_state_dict(state, strict=False)  # files of before PyTorch 0.4.1 do not count batches
