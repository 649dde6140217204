"""Label maps as files: what `zsbench run --save-predictions` writes and `zsbench score` reads.

A run's export is a folder that explains itself. The two scopes have two decisions (an argmax over all names cannot say
which unseen name comes first), so there are two maps per image:

    predictions/all/NAME.png       the best of all names, of every pixel
                unseen/NAME.png    the best unseen name, of every pixel
                classes.txt        "0: aeroplane", …: what the ids mean
                predictions.json   which run and split they are of; written last

A map is a palette PNG whose indices are the ids, in the colours of the report's pictures, at the size of the label map.
Files of others are untrusted: no pickle is opened, no colour is taken for an id, nothing large is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import quote

import numpy as np

from zsbench.atomic import replacing, write_json, write_text
from zsbench.data.class_file import CLASS_FILES
from zsbench.data.dataset import IGNORED
from zsbench.data.lists import examples
from zsbench.data.pixels import BROKEN_ARRAY, MAX_PIXELS, read_mask
from zsbench.data.scenes import voc_palette
from zsbench.deciding import Decided
from zsbench.errors import UserError

Shown = Literal["all", "unseen"]
SHOWN: tuple[Shown, ...] = get_args(Shown)

FOLDER, ABOUT, CLASSES = "predictions", "predictions.json", "classes.txt"
SUFFIXES = (".png", ".npy")
MODES = ("P", "L", "I;16", "I")  # palette, grey of 8 bits, grey of 16 bits as Pillow's versions call it
LONGEST = 150  # characters of a file's stem: file systems take 255 bytes, and a suffix and a temporary name are to come
_VOC = voc_palette()
COLOURS = [*_VOC[3:], *_VOC[:3]]  # as in the pictures: id 0 has VOC's first colour, 255 is black


def file_stem(key: str) -> str:
    """The name, without suffix, of the file with an image's label map: its key, made safe where it is no plain name.

    Characters that could leave the folder become %XX, so that two keys never share a file; only a very long key is cut
    and told apart by a hash.
    """
    stem = quote(key, safe=" ()+,=@~")
    stem = re.sub(r"^[. ]|[. ]$", lambda found: f"%{ord(found[0]):02X}", stem) or "%"
    return stem if len(stem) <= LONGEST else f"{stem[: LONGEST - 13]}-{sha256(key.encode()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Export:
    """The label maps of one run, written while it is evaluated. ids: positions in `names`."""

    folder: Path
    names: Sequence[str]

    def write(self, key: str, decided: Decided) -> None:
        """Both maps of one image."""
        for scope, ids in (("all", decided.every), ("unseen", decided.unseen)):
            write_map(self.folder / scope / f"{file_stem(key)}.png", ids)

    def holds(self, keys: Iterable[str]) -> bool:
        """Whether both maps of every one of these images are there."""
        wanted = {f"{file_stem(key)}.png" for key in keys}
        return all(wanted <= _names(self.folder / scope) for scope in SHOWN)

    def whole(self, keys: Iterable[str]) -> bool:
        """Whether the export was finished, and nothing of it has been lost since."""
        return (self.folder / ABOUT).is_file() and (self.folder / CLASSES).is_file() and self.holds(keys)

    def finish(self, about: Mapping[str, Any]) -> None:
        """What the ids mean, then what the maps are of. A folder that has the latter is whole."""
        write_text(self.folder / CLASSES, "".join(f"{i}: {name}\n" for i, name in enumerate(self.names)))
        facts = {"scopes": list(SHOWN), "ignored": IGNORED, "classes": list(self.names)}
        write_json(self.folder / ABOUT, {**about, **facts})


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def write_map(path: Path, ids: np.ndarray) -> None:
    """(H, W) uint8 ids as a palette PNG."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(ids), mode="P")
    image.putpalette(COLOURS)
    with replacing(path) as part:
        image.save(part, format="PNG")


def read_map(path: Path) -> np.ndarray:
    """(H, W) whole numbers of a PNG or .npy file, as they are. Raises UserError naming the file."""
    if not path.is_file():
        raise UserError(f"{path}: not a file; expected a label map")
    if path.suffix == ".npy":
        return _read_array(path)
    return read_mask(path, MODES)


def _read_array(path: Path) -> np.ndarray:
    """Mapped, not loaded: a header that promises more than the file holds, or Python objects, is refused unread."""
    with path.open("rb") as file:
        if file.read(6) != np.lib.format.MAGIC_PREFIX:
            raise UserError(
                f"{path}: not an .npy file inside (archives and pickles are not read); save it with np.save"
            )
    try:
        ids = np.load(path, mmap_mode="r", allow_pickle=False)
    except BROKEN_ARRAY as fault:
        if "objects" in str(fault):
            raise UserError(f"{path}: holds Python objects, which can carry code; save whole numbers") from None
        raise UserError(f"{path}: not a whole .npy file ({fault})") from None
    if ids.ndim != 2 or not ids.size:
        raise UserError(f"{path}: shape {ids.shape}; expected (H, W), one id per pixel")
    if ids.dtype.kind not in "iu":
        raise UserError(f"{path}: values of type {ids.dtype}; expected whole numbers, the ids of classes")
    if ids.size > MAX_PIXELS:
        raise UserError(f"{path}: {ids.shape[1]} × {ids.shape[0]} pixels; at most {MAX_PIXELS:,} are read")
    return np.array(ids)


@dataclass(frozen=True)
class Files:
    """The label maps found in one folder: image key -> file, keys without one, and entries that belong to no image."""

    folder: Path
    found: Mapping[str, Path]
    missing: Sequence[str]
    others: Sequence[str]


def find_maps(folder: Path, keys: Sequence[str]) -> Files:
    """Which of the images have a label map in `folder`. Raises UserError for one that has two."""
    there = _names(folder)
    stems = {key: file_stem(key) for key in keys}
    both = [key for key, stem in stems.items() if all(f"{stem}{suffix}" in there for suffix in SUFFIXES)]
    if both:
        raise UserError(
            f"{folder}: .png and .npy of {examples(both)}; leave one of the two, nobody can say which counts"
        )
    found = {
        key: folder / f"{stem}{suffix}"
        for key, stem in stems.items()
        for suffix in SUFFIXES
        if f"{stem}{suffix}" in there
    }
    used = {path.name for path in found.values()} | {*CLASS_FILES, ABOUT, *SHOWN}
    return Files(folder, found, [key for key in keys if key not in found], sorted(there - used))


def table_of(ids: Mapping[int, int], outside: int = IGNORED) -> np.ndarray:
    """A table to look ids up in (`translate`). ids: id in the files -> position in the split."""
    table = np.full(max(ids, default=0) + 2, outside, np.uint8)  # the last place stands for every id that is not known
    for value, position in ids.items():
        table[value] = position
    return table


def translate(raw: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(H, W) uint8 positions in the split; ids that the table does not know become what stands for them in it."""
    last = len(table) - 1
    if raw.dtype.itemsize == 1 and raw.dtype.kind == "u":
        places = np.minimum(raw, min(last, 255))
    else:
        places = np.where((raw >= 0) & (raw < last), raw, last).astype(np.int64)
    ids: np.ndarray = table[places]
    return ids


def values_of(files: Iterable[Path]) -> set[int]:
    """The ids that occur in label maps."""
    values: set[int] = set()
    for file in files:
        values.update(np.unique(read_map(file)).tolist())
    return values
