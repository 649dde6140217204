"""PASCAL VOC 2012 from a local folder in the official layout; drawn scenes have the same layout and the same reader.

    VOC2012/JPEGImages/NAME.jpg
            SegmentationClass/NAME.png               palette PNG, index = class id, 255 = void
            SegmentationClassAug/NAME.png            optional: more masks for trainaug (palette or grey ids)
            ImageSets/Segmentation/{train,val,trainaug}.txt

trainaug's masks are looked for in SegmentationClass (it has the 255 band along borders), then SegmentationClassAug,
then SBD's .mat files. With SBD and no trainaug list, the list is (VOC train, SBD train, SBD val) without VOC val.
Everything that can be known without decoding a picture is verified on opening; `check.py` looks at every pixel.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsbench.data.dataset import IGNORED, Origin
from zsbench.data.lists import list_sha256
from zsbench.data.matlab import read_sbd_mask
from zsbench.data.pixels import photo_shape, read_mask, read_photo, refuse_other_size
from zsbench.data.reader import Reader
from zsbench.data.universes import VOC_CLASSES
from zsbench.data.voc_folder import LISTS, MASKS, MENDING, MORE_MASKS, PARTS, PHOTOS, VocFolder, look
from zsbench.errors import UserError, unknown

# The official lists: images, and hash of the sorted names (order differs between copies).
OFFICIAL = {
    "train": (1464, "aa623bd2c8ce4443a8aaae51c524c0eb165e8e44caf6aa9e3ad33d7b75a3ef20"),
    "val": (1449, "cdc1326d12f69ce5153aa5da04a4d8783e146868d42d19f82f44e74b97ac907d"),
    "trainaug": (10582, "d1326bd532648d73bc4b1bd275434eba81930982dc7401a65a8cecb26c028e24"),
}
SCENES = "zsbench-scenes"  # what meta.json of drawn scenes says under "generator"

_KNOWN = np.zeros(256, bool)
_KNOWN[[*range(len(VOC_CLASSES)), IGNORED]] = True


@dataclass(eq=False)
class VocDataset:
    """Images and label maps of one VOC folder, by image name; made by `open_voc`. Plain data: it pickles and forks.

    parts: list name -> image names in file order. masks: image name -> the file that holds its label map.
    """

    root: Path
    parts: dict[str, tuple[str, ...]]
    masks: dict[str, Path]
    origin: Origin
    protected: tuple[Path, ...]  # folders that hold data: while a method runs, only this reader may open files there
    classes: tuple[str, ...] = VOC_CLASSES  # position = id in label maps, 0 = background
    serves: tuple[str, ...] = ("voc2012",)

    def has(self, part: str) -> bool:
        return part in self.parts

    def keys(self, part: str) -> Sequence[str]:
        """Image names of a list ("train", "trainaug", "val"), in file order."""
        if part not in PARTS:
            raise unknown("image list", part, PARTS)
        if part not in self.parts:
            raise UserError(f"{self.root / LISTS / PARTS[part][0]}: no such list. {MENDING[part]}")
        return self.parts[part]

    def part_sha256(self, part: str) -> str:
        """Hash of a list in its order."""
        return list_sha256(self.keys(part))

    def image(self, key: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        return read_photo(self.photo(key))

    def labels(self, key: str) -> np.ndarray:
        """(H, W) uint8 class ids; 255 = ignored. Checked against the photograph's size and the known ids."""
        photo, mask = self.photo(key), self.masks[key]
        ids = _read_ids(mask)
        refuse_other_size(mask, ids, photo, photo_shape(photo))
        if not _KNOWN[ids].all():
            wrong = ", ".join(map(str, np.unique(ids[~_KNOWN[ids]])))
            raise UserError(f"{mask}: label values {wrong}; expected 0 to {len(VOC_CLASSES) - 1}, and {IGNORED}.")
        return ids

    def photo(self, key: str) -> Path:
        """The photograph's file."""
        if key not in self.masks:  # also keeps "../x" from becoming a path
            raise UserError(f"{self.root}: no image named {key[:80]!r} in any of its lists.")
        return self.root / PHOTOS / f"{key}.jpg"


def open_voc(root: Path, sbd: Path | None = None) -> VocDataset:
    """The data set below `root` (VOC2012, or a folder above it), verified. `sbd`: where SBD lies if not beside it.

    Raises `UserError` with the first fault: no such folder or list, an empty list, a name twice, overlapping lists, a
    listed image or mask that is not there. Lists of unusual size are no fault; they are noted in `origin.notes`.
    """
    dataset, faults = survey(root, sbd)
    if faults:
        more = f" ({len(faults) - 1} more faults: zsbench data check {root})" if len(faults) > 1 else ""
        raise UserError(faults[0] + more)
    return dataset


def survey(root: Path, sbd: Path | None = None) -> tuple[VocDataset, list[str]]:
    """The data set as far as it is there, and all its faults as far as file names and lists tell."""
    found, faults = look(root, sbd)
    protected = (found.root, found.sbd) if found.sbd else (found.root,)
    return VocDataset(found.root, found.parts, found.masks, _origin(found), protected), faults


def _recognises(root: Path) -> bool:
    return any((folder / LISTS).is_dir() for folder in (root, root / "VOC2012", root / "VOCdevkit/VOC2012"))


READER = Reader(
    "voc2012", "PASCAL VOC 2012, drawn scenes too", ("voc2012",), f"VOC2012 with {PHOTOS}, {MASKS} and {LISTS}",
    _recognises, lambda root, hints: survey(root), (),
)  # fmt: skip


def _origin(found: VocFolder) -> Origin:
    meta, parts = _meta(found.root / "meta.json"), found.parts
    drawn = meta.get("generator") == SCENES
    sources = {part: _mask_sources(keys, found.masks) for part, keys in parts.items()}
    scenes = [meta.get(field) for field in ("version", "seed", "fingerprint")] if drawn else None
    facts = [{part: list_sha256(keys) for part, keys in parts.items()}, sources, scenes]
    fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    if drawn:
        return Origin("drawn", f"Drawn scenes, seed {meta.get('seed')}", fingerprint)
    notes = [note for part, keys in parts.items() for note in _unofficial(part, keys)]
    if mixed := [f"{n:,} {name}" for name, n in sources.get("trainaug", {}).items() if name != MASKS]:
        notes.append(f"trainaug masks beyond {MASKS}: {', '.join(mixed)}")
    return Origin("real", "PASCAL VOC 2012", fingerprint, tuple(notes))


def _mask_sources(keys: Sequence[str], masks: dict[str, Path]) -> dict[str, int]:
    names = ["SBD" if masks[key].suffix == ".mat" else masks[key].parent.name for key in keys if key in masks]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def _unofficial(part: str, keys: Sequence[str]) -> Iterator[str]:
    count, sha256 = OFFICIAL[part]
    if len(keys) != count:
        yield f"{part} list has {len(keys):,} images (official: {count:,})"
    elif list_sha256(sorted(keys)) != sha256:
        yield f"{part} list has {count:,} images as the official one, but not the same"


def _meta(file: Path) -> dict[str, object]:
    if not file.is_file():
        return {}
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise UserError(f"{file}: not readable as JSON ({fault}).") from None
    return meta if isinstance(meta, dict) else {}


def _read_ids(mask: Path) -> np.ndarray:
    if mask.suffix == ".mat":
        return read_sbd_mask(mask)
    grey = mask.parent.name == MORE_MASKS  # the usual SegmentationClassAug holds ids as grey values
    return read_mask(mask, ("P", "L") if grey else ("P",))
