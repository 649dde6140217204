"""`zsbench data check DIR`: reads every photograph and mask, collects all faults, counts pixels per class and list."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from zsbench.data.dataset import IGNORED, Origin
from zsbench.data.pixels import photo_shape
from zsbench.data.voc import VocDataset, survey
from zsbench.errors import UserError

BAR = 16  # characters


@dataclass(frozen=True, eq=False)
class Count:
    """One list. pixels: int64, one per class and the ignored ones last; images: in how many images each occurs."""

    names: int
    pixels: np.ndarray
    images: np.ndarray


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a folder holds and everything that is wrong with it; `faults` are sentences that name a file."""

    root: Path
    origin: Origin
    classes: tuple[str, ...]
    faults: tuple[str, ...]
    counts: dict[str, Count]
    read: int
    fast: bool
    seconds: float

    @property
    def sound(self) -> bool:
        return not self.faults


def check_folder(root: Path, *, sbd: Path | None = None, fast: bool = False) -> Verdict:
    """Look at every pixel below `root`. `fast` reads the masks, but of the photographs only the headers.

    Raises `UserError` only when there is no VOC folder at all; every other fault is collected.
    """
    begun = time.perf_counter()
    dataset, faults = survey(root, sbd)
    rows: dict[str, np.ndarray] = {}
    there = sorted(key for key in dataset.masks if dataset.photo(key).is_file())  # the survey names the absent ones
    for key in tqdm(there, desc="reading masks and photographs", unit="image", disable=None):
        faults += dict.fromkeys(_faults(dataset, key, rows, fast))  # a broken header shows twice: as photo, as size
    counts = {part: _count(keys, rows, len(dataset.classes)) for part, keys in dataset.parts.items()}
    seconds = time.perf_counter() - begun
    return Verdict(dataset.root, dataset.origin, dataset.classes, tuple(faults), counts, len(there), fast, seconds)


def render(verdict: Verdict, show: int = 40) -> str:
    """The verdict and the class histogram as text; of the faults at most `show`."""
    read = "masks and photograph headers" if verdict.fast else "masks and photographs"
    head = [
        f"{verdict.origin.title}  {verdict.root}",
        "lists    " + ", ".join(f"{part} {count.names:,}" for part, count in verdict.counts.items()),
        *(f"note     {note}" for note in verdict.origin.notes),
    ]
    faults = [f"fault    {fault}" for fault in verdict.faults[:show]]
    if len(verdict.faults) > show:
        faults.append(f"         and {len(verdict.faults) - show:,} more")
    summary = "sound" if verdict.sound else f"{len(verdict.faults):,} faults"
    end = f"verdict  {summary}: {verdict.read:,} {read} read in {verdict.seconds:.0f} s"
    return "\n".join([*head, "", *_histogram(verdict), "", *faults, end])


def _faults(dataset: VocDataset, key: str, rows: dict[str, np.ndarray], fast: bool) -> Iterator[str]:
    """Faults of one image; its class counts go into `rows` when the mask is good."""
    try:
        photo_shape(dataset.photo(key)) if fast else dataset.image(key)
    except UserError as fault:
        yield str(fault)
    try:
        counts = np.bincount(dataset.labels(key).ravel(), minlength=IGNORED + 1)
        rows[key] = counts[[*range(len(dataset.classes)), IGNORED]]
    except UserError as fault:
        yield str(fault)


def _count(keys: tuple[str, ...], rows: dict[str, np.ndarray], classes: int) -> Count:
    table = np.array([rows[key] for key in keys if key in rows], dtype=np.int64).reshape(-1, classes + 1)
    return Count(len(keys), table.sum(axis=0), (table > 0).sum(axis=0))


def _histogram(verdict: Verdict) -> Iterator[str]:
    """One line per class, one block of columns per list. Bars are to scale among the classes; background has none."""
    columns = (f"{part + ' images':>15}{'pixels':>9}   {'':{BAR}}" for part in verdict.counts)
    yield f"{'class':<14}{''.join(columns)}".rstrip()
    for row, name in enumerate([*verdict.classes, "ignored (255)"]):
        bare = name in ("background", "ignored (255)")
        yield (f"{name:<14}" + "".join(_cells(count, row, bare) for count in verdict.counts.values())).rstrip()


def _cells(count: Count, row: int, bare: bool) -> str:
    share = count.pixels[row] / max(1, count.pixels.sum())
    largest = max(1, count.pixels[1:-1].max())
    bar = "" if bare else "█" * int(np.ceil(BAR * count.pixels[row] / largest))
    return f"{count.images[row]:>15,}{share:>9.2%}   {bar:<{BAR}}"
