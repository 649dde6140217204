"""Label maps that were handed in: which files they are, what their ids mean, and what they score under a split's protocol.

Nobody's code runs here. What could shift a number silently is refused instead of mended: ids that nothing names, a map of
another size than the labels', an image without a map. What a map says and no name of the split means is a miss.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm

from zsbench.data.dataset import IGNORED, Dataset
from zsbench.data.lists import examples
from zsbench.data.view import to_split_ids
from zsbench.errors import UserError
from zsbench.predictions import (
    ABOUT,
    FOLDER,
    SHOWN,
    SUFFIXES,
    Files,
    Shown,
    find_maps,
    read_map,
    table_of,
    translate,
)
from zsbench.split import Split
from zsbench.submitted_counts import SubmittedCounts
from zsbench.submitted_ids import candidates, class_file, class_names, refuse_unnamed

MOST_FAULTS = 20  # broken files after which nobody needs to read the rest
LARGEST = 2**22  # bytes of an export's predictions.json
MOST_KINDS = 1000  # different ids beside the point that are told apart


@dataclass(frozen=True)
class Handed:
    """Label maps of some scopes, complete and with settled ids. names: id in the files -> its name as written there.

    keys: the images to score, in the order of the list; fewer than the list only if that was asked for.
    """

    dataset: Dataset
    split: Split
    files: Mapping[Shown, Files]
    names: Mapping[int, str]
    keys: Sequence[str]

    @cached_property
    def table(self) -> np.ndarray:
        return table_of(candidates(self.names, self.split, self.dataset.classes))

    def truth(self, key: str) -> np.ndarray:
        """(H, W) uint8 split ids."""
        return to_split_ids(self.dataset.labels(key), self.dataset.classes, self.split.names)

    def raw(self, scope: Shown, key: str, size: tuple[int, ...]) -> np.ndarray:
        """(H, W) ids as they are in the file. Raises UserError for a map of another size than its labels."""
        file = self.files[scope].found[key]
        ids = read_map(file)
        if ids.shape != size:
            (height, width), (tall, wide) = ids.shape, size
            raise UserError(
                f"{file}: {width} × {height} pixels, its label map has {wide} × {tall}; scores are counted at the "
                "labels' size: bring it there yourself, with nearest neighbour, zsbench resizes nothing"
            )
        return ids

    def predicted(self, key: str) -> np.ndarray:
        """(H, W) uint8 split ids for pictures, over all names where these were handed in; 255 is no candidate."""
        size = self.truth(key).shape
        return translate(self.raw(next(iter(self.files)), key, size), self.table)


@dataclass
class Beside:
    """Labelled pixels of a scope whose prediction is no candidate, by what it was."""

    pixels: int = 0
    scored: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        return self.pixels / self.scored if self.scored else 0.0

    def add(self, raw: np.ndarray, names: Mapping[int, str], scored: int) -> None:
        """raw: the ids in question of one image; scored: its labelled pixels of the scope."""
        self.scored += scored
        self.pixels += raw.size
        for value, pixels in zip(*np.unique(raw, return_counts=True), strict=True):
            self.kinds[names.get(int(value), f"id {value}")] += int(pixels)
        if len(self.kinds) > MOST_KINDS:
            self.kinds = Counter(dict(self.kinds.most_common(MOST_KINDS)))


@dataclass(frozen=True)
class Counted:
    """What the maps come to. pixels, images: labelled pixels per name of the split, and images that show it.

    sha256: of what was scored, whatever files and ids it came in.
    """

    counts: SubmittedCounts
    beside: Mapping[Shown, Beside]
    pixels: np.ndarray
    images: np.ndarray
    sha256: str


def places(predictions: Path, unseen: Path | None = None, scope: Shown = "all") -> dict[Shown, Path]:
    """The folder of each scope's maps: those of a run's export, or one folder of files and what was said of it."""
    if not predictions.is_dir():
        raise UserError(f"{predictions}: no such folder; expected one label map per image, NAME.png or NAME.npy")
    if (predictions / FOLDER / ABOUT).is_file():
        predictions = predictions / FOLDER  # a run's own folder
    found: dict[Shown, Path] = {name: predictions / name for name in SHOWN if (predictions / name).is_dir()}
    if found and (unseen or scope == "unseen"):
        raise UserError(f"{predictions} has folders {' and '.join(found)}; leave --scope and --unseen-predictions out")
    if found and (maps := [path.name for path in predictions.iterdir() if path.suffix in SUFFIXES]):
        raise UserError(
            f"{predictions} has label maps of its own ({examples(sorted(maps))}) and {' and '.join(found)}/ beside them; "
            f"nobody can say which count. Name one folder: {predictions / next(iter(found))}, or move those into all/"
        )
    found = found or {scope: predictions}
    if unseen is not None:
        if scope == "unseen":
            raise UserError("--scope unseen says what PREDICTIONS are; leave --unseen-predictions out")
        if not unseen.is_dir():
            raise UserError(f"--unseen-predictions: no folder {unseen}")
        found["unseen"] = unseen
    return found


def take(
    folders: Mapping[Shown, Path],
    dataset: Dataset,
    split: Split,
    classes: Path | None = None,
    first_id: int | None = None,
    partial: bool = False,
) -> Handed:
    """The maps in these folders, one per image of the list. Raises UserError for everything that names and lists can tell."""
    for scope, folder in folders.items():
        refuse_other_split(scope, folder, split)
    keys = list(dataset.keys("val"))
    files = {scope: find_maps(folder, keys) for scope, folder in folders.items()}
    for found in files.values():
        _refuse_gaps(found, len(keys), partial)
    scored = [key for key in keys if all(key in found.found for found in files.values())]
    if not scored:
        raise UserError(f"no image has a label map in each of {' and '.join(map(str, folders.values()))}")
    maps = [found.found[key] for found in files.values() for key in scored]
    names = class_names(class_file(classes, folders, split), first_id, maps, split)
    refuse_unnamed(names, split, dataset.classes, list(files))
    return Handed(dataset, split, files, names, scored)


def refuse_other_split(scope: Shown, folder: Path, split: Split) -> None:
    """Maps of a run's export under another split: the best of other names than those that compete here."""
    file = folder.parent / ABOUT
    if folder.name not in SHOWN or not file.is_file():
        return
    try:
        about = json.loads(file.read_bytes()[:LARGEST])
        told, fingerprint, classes = str(about["split"]), about["split_fingerprint"], about["classes"]
        names = set(map(str, classes))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise UserError(
            f"{file}: cannot be read; a run's export says there of which split its label maps are. Make the export again, "
            "or take this file away if the maps are your own"
        ) from None
    if fingerprint == split.fingerprint or (scope == "all" and names == set(split.names)):
        return
    other = f"another version of {told[:60]}" if told == split.name else told[:60]
    what = "unseen names" if scope == "unseen" else "names"
    raise UserError(
        f"{folder}: label maps of {other}, as {file.name} says; the best of its {what} is no answer for {split.name}: "
        f"export a run of {split.name}"
    )


def _refuse_gaps(files: Files, images: int, partial: bool) -> None:
    if not files.missing or (partial and files.found):
        return
    have = "has" if len(files.missing) == 1 else "have"
    are = "file is" if len(files.others) == 1 else "files are"
    also = f"; {len(files.others):,} {are} named after no image ({examples(files.others)})" if files.others else ""
    mend = "" if not files.found else ". To score those that are there, marked as limited: --partial"
    raise UserError(
        f"{files.folder}: {len(files.missing):,} of {images:,} images {have} no label map ({examples(files.missing)}); "
        f"expected NAME.png or NAME.npy for each{also}{mend}"
    )


def count(handed: Handed) -> Counted:
    """Counts all maps. Raises UserError with the first faults and their number; then nothing was scored."""
    names = len(handed.split.names)
    counts = SubmittedCounts(len(handed.split.seen), len(handed.split.unseen))
    beside: dict[Shown, Beside] = {scope: Beside() for scope in handed.files}
    pixels, images = np.zeros(names, np.int64), np.zeros(names, np.int64)
    whole, faults, done = hashlib.sha256(), list[str](), 0
    for key in tqdm(handed.keys, desc="score", unit="img", mininterval=0.5):
        truth = handed.truth(key)
        labelled = np.bincount(truth.ravel(), minlength=IGNORED + 1)[:names]
        pixels += labelled
        images += labelled > 0
        for scope in handed.files:
            try:
                raw = handed.raw(scope, key, truth.shape)
            except UserError as fault:
                faults.append(str(fault).rstrip("."))
                continue
            ids = translate(raw, handed.table)
            true = truth if scope == "all" else np.where(truth >= counts.first("unseen"), truth, np.uint8(IGNORED))
            counts.count(key, scope, true, ids)
            lost = (true != IGNORED) & ~counts.named(scope, ids)
            beside[scope].add(raw[lost], handed.names, int((true != IGNORED).sum()))
            whole.update(f"{scope}\0{key}\0{ids.shape}\0".encode() + ids.tobytes())
        done += 1
        if len(faults) >= MOST_FAULTS:
            break
    if faults:
        raise UserError("; ".join(_summary(faults, done, len(handed.keys))))
    return Counted(counts, beside, pixels, images, whole.hexdigest())


def _summary(faults: Sequence[str], done: int, images: int) -> Iterator[str]:
    rest = f"; looked at {done:,} of {images:,} images" if done < images else ""
    yield from faults[:3]
    yield f"{len(faults):,} label map{'s' if len(faults) > 1 else ''} cannot be scored{rest}; nothing was scored"
