"""What a run must not be trained on: images of its own test list, in its training list or in its captions.

What decides cannot be chance: the same key of one data set, the same file, a name of COCO or PASCAL VOC, one name and
one picture, pixel for pixel, or one file's bytes under two names in users' own data. Where captions name test images,
some of the pictures are looked at, and most of them must not be others: running numbers in tar shards can have twelve
digits too. Streams are not looked through, they have no end. For what only looks can tell (a photograph under another
name, or saved anew) there is `zsbench data overlap`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import combinations
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image

from zsbench.data.caption_pairs import FORMATS, Corrupt, decode
from zsbench.data.caption_stores import Folder, StoredCaptions
from zsbench.data.captions import Captions
from zsbench.data.contents import digests
from zsbench.data.dataset import Dataset
from zsbench.data.lists import examples
from zsbench.data.own_dataset import ABSENT_SIZE, OwnDataset
from zsbench.data.pixels import photo_shape
from zsbench.errors import UserError
from zsbench.overlap.ids import CERTAIN, image_id
from zsbench.overlap.looks import look_at
from zsbench.overlap.near import Stack, unlike
from zsbench.overlap.sources import role_of

LOOKED = 8  # pictures looked at before names are believed; and pictures of one name, where names are no proof

_captioned: WeakKeyDictionary[StoredCaptions, dict[tuple[str, str], tuple[str, ...]]] = WeakKeyDictionary()


def shared_faults(dataset: Dataset) -> Iterator[str]:
    """A sentence for each training list that holds images of a test list.

    Names come first. In users' own folders and tables, where names mean little, photographs are compared byte for byte
    too: those of one size in bytes in both lists are read and hashed, at worst every photograph once; tables hold them
    encoded, so that nothing is decoded. A copy that was saved anew is another file: `zsbench data overlap` finds those.
    """
    for (training, test), pairs in _shared_names(dataset).items():
        told = examples([a if a == b else f"{a} is {b}" for a, b in pairs])
        yield _fault(dataset, training, test, f"share {len(pairs):,} images ({told})")
    if pairs := _copies(dataset):
        told = examples([f"{a} is {b}" for a, b in pairs])
        yield _fault(dataset, "train", "val", f"share {len(pairs):,} images, byte for byte ({told})")


def _fault(dataset: Dataset, training: str, test: str, what: str) -> str:
    return (
        f"{dataset.root}: {training} and {test} {what}: a method would be tested on what it was trained on. "
        "Take them out of one of the two"
        + ("." if "byte" in what else ", or rename them if they are other images than COCO's or PASCAL's.")
    )


def shared_images(dataset: Dataset) -> dict[tuple[str, str], tuple[str, ...]]:
    """(training part, test part) -> keys of the test part that the training part has by name; pairs of parts that share
    none are left out."""
    return {parts: tuple(test for _, test in pairs) for parts, pairs in _shared_names(dataset).items()}


def _shared_names(dataset: Dataset) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """(training part, test part) -> pairs of a training key and the test key that means the same image."""
    found = {}
    for a, b in combinations(dataset.parts, 2):
        roles = {role_of(a): a, role_of(b): b}
        if roles.keys() == {"training", "test"}:
            training, test = roles["training"], roles["test"]
            known = {_identity(key): key for key in dataset.parts[training]}
            tested = ((_identity(key), key) for key in dataset.parts[test])
            if shared := [(known[name], key) for name, key in tested if name in known]:
                found[training, test] = shared
    return found


def _copies(dataset: Dataset) -> list[tuple[str, str]]:
    """Pairs of a training key and a test key of own data that hold the same bytes."""
    if not isinstance(dataset, OwnDataset) or not (dataset.has("train") and dataset.has("val")):
        return []
    sizes = {part: dataset.pictures.photo_sizes(keys) for part, keys in dataset.parts.items()}
    both = set(sizes["train"]) & set(sizes["val"]) - {ABSENT_SIZE}  # what cannot be read is told of when it is read
    some = {
        part: [k for k, size in zip(dataset.parts[part], sizes[part], strict=True) if size in both] for part in sizes
    }
    found = digests([*some["train"], *some["val"]], dataset.pictures.photo_sha256, "comparing photographs")
    trained = {found[key]: key for key in reversed(some["train"])}
    return [(trained[found[key]], key) for key in some["val"] if found[key] in trained]


def _identity(key: str) -> str:
    """Equal for keys that mean one image of a data set: the key, or the name that all COCO or PASCAL files share."""
    found = image_id(key)
    return f"{found.kind} {found.key}" if found.kind in CERTAIN else key


def refuse_captioned(captions: Captions, dataset: Dataset, part: str = "val") -> None:
    """Raises UserError where captions describe images of the test list: they would be trained on, with words."""
    if not isinstance(captions, StoredCaptions) or not dataset.has(part):
        return
    if shared := captioned(captions, dataset, part):
        raise UserError(
            f"{captions.name} has captions of {len(shared):,} images of the {part} list ({examples(shared)}): a method"
            " would be scored on images it was trained on. Take them out of the captions (zsbench data overlap lists"
            " them), or name another corpus with --captions"
        )


def captioned(captions: StoredCaptions, dataset: Dataset, part: str = "val") -> tuple[str, ...]:
    """Keys of the part's images that have a caption here, in the part's order. The runs of a session look once."""
    known = _captioned.setdefault(captions, {})
    of = str(dataset.root), dataset.part_sha256(part)
    if of not in known:
        known[of] = _look_through(captions, dataset, part)
    return known[of]


def _look_through(captions: StoredCaptions, dataset: Dataset, part: str) -> tuple[str, ...]:
    keys: dict[str, list[str]] = {}  # img_1 and IMG_1 can be two images
    for key in dataset.keys(part):
        keys.setdefault(image_id(key).key, []).append(key)
    named: dict[str, tuple[int, str]] = {}
    places: dict[str, list[tuple[int, str]]] = {}
    for index, name in _named(captions, keys):
        for key in keys[image_id(name).key]:
            if _certain(name, key):
                named.setdefault(key, (index, name))
            if len(known := places.setdefault(key, [])) < LOOKED:
                known.append((index, name))
    if named and _unlike(captions, dataset, named):
        named = {}
    # A name that proves nothing may still be a copy's.
    same = {key for key in places if key not in named and any(_same(captions, *at, dataset, key) for at in places[key])}
    return tuple(key for key in dataset.keys(part) if key in named or key in same)


def _named(captions: StoredCaptions, keys: Mapping[str, list[str]]) -> Iterator[tuple[int, str]]:
    """Places and names of the images whose name is one of the keys, each run of equal names once."""
    before = None
    for index, (name, _) in enumerate(captions.texts()):
        if name != before and image_id(name).key in keys:
            yield index, name
        before = name


def _certain(name: str, key: str) -> bool:
    return {image_id(name).kind, image_id(key).kind} <= CERTAIN


def _same_file(captions: StoredCaptions, name: str, dataset: Any, key: str) -> bool:
    photo = getattr(dataset, "photo", None)
    if photo is None or not isinstance(captions.images, Folder):
        return False
    file = captions.images.find(name)
    return file is not None and os.path.realpath(file) == os.path.realpath(photo(key))


def _same(captions: StoredCaptions, index: int, name: str, dataset: Any, key: str) -> bool:
    """Whether the name stands for the very picture: the same file, or a copy of its pixels. Sizes are compared first."""
    if _same_file(captions, name, dataset, key):
        return True
    try:
        theirs = captions.images.read(index, name)
        return _shape(dataset, key) in (None, _header(theirs)) and np.array_equal(decode(theirs), dataset.image(key))
    except (Corrupt, OSError, UserError):
        return False


def _shape(dataset: Any, key: str) -> tuple[int, int] | None:
    """(H, W) of a photograph from its header, None for a data set that does not show its photographs' places."""
    if isinstance(dataset, OwnDataset):
        return dataset.pictures.shape(key)
    photo = getattr(dataset, "photo", None)
    return photo_shape(photo(key)) if photo else None


def _header(data: bytes) -> tuple[int, int]:
    """(H, W) of an encoded picture. Raises `Corrupt`."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            return image.height, image.width
    except Exception as error:  # as in `decode`
        raise Corrupt("not a readable image") from error


def _unlike(captions: StoredCaptions, dataset: Dataset, found: Mapping[str, tuple[int, str]]) -> bool:
    """Whether most pictures say that these names mean other images here; in doubt they do not."""
    ours, theirs = [], []
    some = list(found.items())[:LOOKED]
    for key, (index, name) in some:
        try:
            one, two = look_at(decode(captions.images.read(index, name))), look_at(dataset.image(key))
        except (Corrupt, OSError, UserError):
            continue
        if not one.flat and not two.flat and one.digest != two.digest:
            ours.append(one)
            theirs.append(two)
    return bool(ours) and 2 * int(unlike(Stack.of(ours), Stack.of(theirs)).sum()) > len(some)
