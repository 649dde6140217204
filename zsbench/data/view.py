"""TrainView: all that `fit()` may look at, and the one place where unseen labels are taken away.

It hands out arrays by position. Keys, paths and file names stay behind: a file name can spell a class. What a method did
not declare in its `Supervision` is None or empty here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from zsbench.data.caption_pairs import Captions
from zsbench.data.dataset import IGNORED, Dataset
from zsbench.data.guard import admitted
from zsbench.data.universes import position
from zsbench.errors import UserError
from zsbench.split import Split
from zsbench.supervision import Supervision

if TYPE_CHECKING:
    from zsbench.data.vectors import ClassVectors


class Items:
    """A read-only sequence of training items without names: `len(items)`, `items.fetch([3, 1, 4])`.

    `size` is None for an endless or unknown stream (captions only), which is fetched in order.
    """

    __slots__ = ("_fetch", "size")

    def __init__(self, size: int | None, fetch: Callable[[Sequence[int]], list[Any]]):
        self.size = size
        self._fetch = fetch

    def __len__(self) -> int:
        if self.size is None:
            raise TypeError("a stream has no length; fetch consecutive positions instead")
        return self.size

    def fetch(self, positions: Sequence[int]) -> list[Any]:
        # Before the door opens: `positions` may be the method's own iterable, and its code would run inside.
        places = [int(position) for position in positions]
        with admitted():
            return self._fetch(places)


@dataclass(frozen=True)
class TrainView:
    """What one method may learn from on one split.

    seen: names of the seen classes; label maps hold positions in this tuple, 255 elsewhere.
    labelled: (image (H, W, 3) uint8, labels (H, W) uint8) with no unseen label; under "drop" no image with an unseen pixel.
    captions: (image, caption) pairs.
    unlabelled: training images without labels, unseen objects included (a transductive pool).
    layout: label maps over seen + unseen names, without images: the door for methods that declare `layout="unseen"`.
    unseen: names of the unseen classes.
    vectors: one vector per class name; those of unseen classes stay closed until `fit` has ended, unless the method
    declares that it trains with unseen names.
    """

    seen: tuple[str, ...]
    labelled: Items | None = None
    captions: Items | None = None
    unlabelled: Items | None = None
    layout: Items | None = None
    unseen: tuple[str, ...] = ()
    vectors: ClassVectors | None = None


def to_split_ids(labels: np.ndarray, classes: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Data set ids -> positions in `names`, resolved by name; classes that are not in `names` become 255. (H, W) uint8."""
    table = np.full(256, IGNORED, np.uint8)
    for place, name in enumerate(names):
        table[position(name, classes)] = place
    ids: np.ndarray = table[labels]
    return ids


def guarded_view(
    split: Split,
    dataset: Dataset,
    supervision: Supervision,
    captions: Captions | None = None,
    spoken: Sequence[str] | None = None,
    vectors: ClassVectors | None = None,
) -> TrainView:
    """The view that `supervision` earns on `split`; `spoken` are the split's names as the method hears them.

    Raises `UserError` where declaration and split disagree, or where a training image is a validation image too.
    """
    refuse_masks(split, supervision)
    names = tuple(spoken or split.names)
    part = training_part(dataset)
    keys = list(dataset.keys(part)) if part else []
    if both := set(keys) & set(dataset.keys("val")):
        raise UserError(
            f"{len(both)} training images are validation images too, e.g. {min(both)}: nothing is trained on them"
        )
    wants_images = supervision.unlabelled == "train"
    if not keys and (supervision.masks == "seen" or supervision.layout == "unseen" or wants_images):
        dataset.keys("train")  # raises the error that names the missing list
    return TrainView(
        seen=names[: len(split.seen)],
        labelled=_labelled(split, dataset, keys) if supervision.masks == "seen" else None,
        captions=_captions(captions) if supervision.captions else None,
        unlabelled=_images(dataset, keys) if wants_images else None,
        layout=_layout(split, dataset, keys) if supervision.layout == "unseen" else None,
        unseen=names[len(split.seen) :] if supervision.unseen_names == "training" else (),
        vectors=vectors if supervision.vectors != "none" else None,
    )


def training_part(dataset: Dataset) -> str | None:
    """The largest training list at hand: trainaug (the protocol's), else train. The choice stands in the record."""
    return next((part for part in ("trainaug", "train") if dataset.has(part)), None)


def keys_behind(door: str, split: Split, dataset: Dataset) -> list[str]:
    """Keys of the items behind "labelled" or "unlabelled", in the view's order: for the harness alone."""
    part = training_part(dataset)
    keys = list(dataset.keys(part)) if part else []
    return _kept(split, dataset, keys) if door == "labelled" else keys


def refuse_masks(split: Split, supervision: Supervision) -> None:
    """Raises UserError where a method asks for masks and the split trains on none."""
    if supervision.masks == "seen" and split.train_policy == "none":
        raise UserError(
            f"split '{split.name}' has no mask-labelled training images, and this method needs masks of seen classes"
        )


def _kept(split: Split, dataset: Dataset, keys: list[str]) -> list[str]:
    """Those of the training images that are handed out with labels."""
    return _without_unseen(split, dataset, keys) if split.train_policy == "drop" else keys


def _labelled(split: Split, dataset: Dataset, keys: list[str]) -> Items:
    keys = _kept(split, dataset, keys)

    def fetch(positions: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            (dataset.image(keys[i]), to_split_ids(dataset.labels(keys[i]), dataset.classes, split.seen))
            for i in positions
        ]

    return Items(len(keys), fetch)


def _without_unseen(split: Split, dataset: Dataset, keys: list[str]) -> list[str]:
    unseen = [position(name, dataset.classes) for name in split.unseen]
    bar = tqdm(keys, desc="dropping images with unseen pixels", unit="img", leave=False)
    with admitted():
        kept = [key for key in bar if not np.isin(dataset.labels(key), unseen).any()]
    if not kept:
        raise UserError(
            f"every training image shows an unseen class of '{split.name}': the policy 'drop' leaves nothing"
        )
    return kept


def _images(dataset: Dataset, keys: list[str]) -> Items:
    return Items(len(keys), lambda positions: [dataset.image(keys[i]) for i in positions])


def _layout(split: Split, dataset: Dataset, keys: list[str]) -> Items:
    order = np.random.default_rng(0).permutation(len(keys))  # so that no map can be laid over its image
    keys = [keys[i] for i in order]

    def fetch(positions: Sequence[int]) -> list[np.ndarray]:
        return [to_split_ids(dataset.labels(keys[i]), dataset.classes, split.names) for i in positions]

    return Items(len(keys), fetch)


def _captions(captions: Captions | None) -> Items:
    if captions is None:
        raise UserError(
            "this method learns from captions: name a corpus with --captions (zsbench run --help lists the formats)"
        )
    return Items(captions.size, lambda positions: [(p.image, p.caption) for p in captions.fetch(positions)])
