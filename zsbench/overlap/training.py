"""What a run must not be trained on: images of its own test list, in its training list or in its captions.

Names decide, and only those that cannot be chance: the same key of one data set, the same file, or a name of COCO or
PASCAL VOC. Where captions name test images, some of the pictures are looked at, and most of them must not be others:
running numbers in tar shards can have twelve digits too. Streams are not looked through, they have no end. For what
only pictures can tell (a photograph under another name) there is `zsbench data overlap`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any
from weakref import WeakKeyDictionary

from zsbench.data.caption_pairs import Corrupt, decode
from zsbench.data.caption_stores import Folder, StoredCaptions
from zsbench.data.captions import Captions
from zsbench.data.dataset import Dataset
from zsbench.data.lists import examples
from zsbench.errors import UserError
from zsbench.overlap.ids import CERTAIN, image_id
from zsbench.overlap.looks import look_at
from zsbench.overlap.near import Stack, unlike
from zsbench.overlap.sources import role_of

LOOKED = 8  # pictures looked at before names are believed

_captioned: WeakKeyDictionary[StoredCaptions, dict[tuple[str, str], tuple[str, ...]]] = WeakKeyDictionary()


def shared_images(dataset: Dataset) -> dict[tuple[str, str], tuple[str, ...]]:
    """(training part, test part) -> keys of the test part that are in the training part; pairs that share none are left
    out."""
    found = {}
    for a, b in combinations(dataset.parts, 2):
        roles = {role_of(a): a, role_of(b): b}
        if roles.keys() == {"training", "test"}:
            training, test = roles["training"], roles["test"]
            known = {_identity(key) for key in dataset.parts[training]}
            if shared := tuple(key for key in dataset.parts[test] if _identity(key) in known):
                found[training, test] = shared
    return found


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
    keys = {image_id(key).key: key for key in dataset.keys(part)}
    found: dict[str, tuple[int, str]] = {}
    for index, name in _named(captions, keys):
        key = keys[image_id(name).key]
        if key not in found and (_certain(name, key) or _same_file(captions, name, dataset, key)):
            found[key] = index, name
    if found and _unlike(captions, dataset, found):
        return ()
    return tuple(key for key in dataset.keys(part) if key in found)


def _named(captions: StoredCaptions, keys: Mapping[str, str]) -> Iterator[tuple[int, str]]:
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
