"""What the tests of generative methods share: a world of five colours, three of them seen, that trains in milliseconds.

A picture is four patches of flat colours with a little noise. Labels are positions in SEEN + UNSEEN; the class vectors
are the colours themselves and their opposites, so that unseen ones lie between and beside the seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zsbench.config import configure
from zsbench.data.dataset import IGNORED
from zsbench.data.vectors import ClassVectors
from zsbench.data.view import Items, TrainView
from zsbench.data.voc import VocDataset
from zsbench.method import Job, load_method
from zsbench.nn.deeplab import Encoder, SegmentationNet
from zsbench.split import Split

CPU = torch.device("cpu")
SEEN, UNSEEN = ("red", "green", "blue"), ("yellow", "violet")
NAMES = SEEN + UNSEEN
COLOURS = np.array([[220, 30, 30], [30, 200, 40], [30, 40, 220], [225, 215, 30], [170, 40, 190]], np.uint8)
SQUARE = (32, 32)

QUICK: dict[str, dict[str, Any]] = {
    "zs3net": {"width": 16, "hidden": 16, "crop": 16, "samples": 8, "fakes": 32, "seg_steps": 4, "seg_batch": 4,
               "steps": 4, "batch": 4, "st_steps": 3},
    "spnet": {"width": 16, "crop": 16, "steps": 4, "batch": 4},
}  # fmt: skip
QUICK["zs-mmd"] = QUICK["zs3net"] | {"rounds": 2, "round_steps": 3, "tau": 0.0, "least": 1}
QUICK["spnet-c"] = QUICK["spnet"]


def built(name: str, **given: Any) -> Any:
    """A method of few steps, with the defaults of drawn scenes."""
    return configure(load_method(name).cls, QUICK[name] | given, "drawn").method


def pictures(count: int, sizes: Sequence[tuple[int, int]] = (SQUARE,), seed: int = 0) -> list[Any]:
    """(image, labels of all five names) pairs, of the sizes in turn."""
    random, made = np.random.default_rng(seed), []
    for number in range(count):
        height, width = sizes[number % len(sizes)]
        labels = np.repeat(np.repeat(random.integers(0, 5, (2, 2)), height // 2, 0), width // 2, 1).astype(np.uint8)
        noise = random.integers(-15, 16, (*labels.shape, 3))
        made.append(((COLOURS[labels] + noise).clip(0, 255).astype(np.uint8), labels))
    return made


def masked(labels: np.ndarray) -> np.ndarray:
    """What the guard leaves of labels."""
    return np.where(labels < len(SEEN), labels, np.uint8(IGNORED))


def items(things: Sequence[Any]) -> Items:
    return Items(len(things), lambda places: [things[i] for i in places])


def vectors(closed: bool = False) -> ClassVectors:
    rows = np.hstack([COLOURS / 255, 1 - COLOURS / 255]).astype(np.float32)
    held = dict(zip(UNSEEN, UNSEEN, strict=True)) if closed else {}
    return ClassVectors(dict(zip(NAMES, rows, strict=True)), {"words": {}}, held)


def view(count: int = 24, sizes: Sequence[tuple[int, int]] = (SQUARE,), closed: bool = False) -> TrainView:
    """Every door open."""
    made = pictures(count, sizes)
    return TrainView(
        seen=SEEN,
        labelled=items([(image, masked(labels)) for image, labels in made]),
        unlabelled=items([image for image, _ in made]),
        layout=items([labels for _, labels in reversed(made)]),
        unseen=() if closed else UNSEEN,
        vectors=vectors(closed),
    )


def job(folder: Path, seed: int = 0, **changes: Any) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"split": "colours", "split_fingerprint": "c010", "seen": list(SEEN), "data": "d"}
    return replace(Job(CPU, seed, folder, stages=folder / "stages", facts=facts), **changes)


def images(count: int = 3, size: tuple[int, int] = SQUARE, seed: int = 1) -> Tensor:
    made = pictures(count, (size,), seed)
    return torch.from_numpy(np.stack([image for image, _ in made])).permute(0, 3, 1, 2).float() / 255


class Normed(Encoder):
    """Two layers with all that training may move unasked: batch statistics and dropout, as in the ResNets."""

    def __init__(self, width: int = 8) -> None:
        super().__init__((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        self.width = width
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 4, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.5))
        self.last = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1))

    def decode(self, images_B3HW: Tensor) -> Tensor:
        features: Tensor = self.body(images_B3HW)
        return features


def network(names: int = len(SEEN), seed: int = 0) -> SegmentationNet:
    """A network of the normed encoder, with statistics that are not those of a fresh one."""
    torch.manual_seed(seed)
    net = SegmentationNet(Normed(), names)
    with torch.no_grad():
        net.train()(images(8))
    return net.eval()


def state(net: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers."""
    return {name: value.clone() for name, value in net.state_dict().items()}


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that are not equal bit for bit."""
    assert before.keys() == after.keys()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@dataclass(eq=False)
class Fogged(VocDataset):
    """Drawn scenes whose unseen labels are overwritten: by other unseen ids at random, or by 255."""

    unseen: tuple[int, ...] = ()
    by: str = "ids"

    def labels(self, key: str) -> np.ndarray:
        labels = super().labels(key)
        hit = np.isin(labels, self.unseen)
        random = np.random.default_rng(sum(key.encode()))
        ids = random.choice(self.unseen, labels.shape) if self.by == "ids" else np.full(labels.shape, IGNORED)
        return np.where(hit, ids, labels).astype(np.uint8)


def fogged(dataset: VocDataset, split: Split, by: str) -> Fogged:
    unseen = tuple(dataset.classes.index(name) for name in split.unseen)
    return Fogged(**vars(dataset), unseen=unseen, by=by)
