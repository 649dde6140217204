"""`zsbench data check DIR`: reads every photograph and mask, collects all faults, counts pixels per class and list.

Works for every reader through the protocol `Dataset` alone. Beyond it a reader may have `stored` (id in its files ->
class, as it resolved them), which is printed for people to hold against what they know; and `masks` (image name -> file)
where the survey has already named the images that lack one.
"""

from __future__ import annotations

import textwrap
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
from tqdm import tqdm

from zsbench.data.cocostuff_ids import EMPTY
from zsbench.data.dataset import IGNORED, Dataset, Origin
from zsbench.data.opening import survey
from zsbench.data.pixels import Missing
from zsbench.data.reader import Hints
from zsbench.errors import UserError

BAR = 16  # characters
TALL = 64  # classes; of more, a row each would be no picture any more
WIDTH = 120  # of lists of ids
IGNORED_ROW = "ignored (255)"


@dataclass(frozen=True, eq=False)
class Count:
    """One list. pixels: int64, one per class and the ignored ones last; images: in how many images each occurs."""

    names: int
    pixels: np.ndarray
    images: np.ndarray


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a folder holds and everything that is wrong with it; `faults` are sentences that name a file.

    stored: id in the files -> class; doubts: what may well be wrong, though it need not.
    """

    root: Path
    origin: Origin
    classes: tuple[str, ...]
    faults: tuple[str, ...]
    counts: dict[str, Count]
    read: int
    fast: bool
    seconds: float
    serves: tuple[str, ...] = ()
    stored: Mapping[int, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        return not self.faults


def check_folder(
    root: str | Path, *, hints: Hints | None = None, kind: str | None = None, fast: bool = False
) -> Verdict:
    """Look at every pixel below `root`. `fast` reads the masks, but of the photographs only the headers.

    hints, kind: what the user says about the data (see `reader`). Raises `UserError` only when there is no data set at
    all, or none that can be told from another; every other fault is collected.
    """
    begun = time.perf_counter()
    dataset, faults = survey(root, hints=hints, kind=kind)
    told, read = bool(faults), 0
    counts = {part: _Growing.of(keys, len(dataset.classes)) for part, keys in dataset.parts.items()}
    for key in tqdm(_there(dataset), desc="reading masks and photographs", unit="image", disable=None):
        found = list(_faults(dataset, key, counts.values(), fast))
        absent = any(isinstance(fault, Missing) for fault in found)
        read += not absent
        if not (absent and told):  # the survey names absent files, many in one sentence
            faults += dict.fromkeys(map(str, found))  # a broken header shows twice: as photo, as size
    done = {part: Count(count.names, count.pixels, count.images) for part, count in counts.items()}
    stored: Mapping[int, str] = getattr(dataset, "stored", {})
    return Verdict(
        dataset.root, dataset.origin, dataset.classes, tuple(faults), done, read, fast, time.perf_counter() - begun,
        dataset.serves, stored, tuple(_doubts(dataset, stored, done)),
    )  # fmt: skip


def render(verdict: Verdict, show: int = 40) -> str:
    """The verdict and the class histogram as text; of the faults at most `show`."""
    read = "masks and photograph headers" if verdict.fast else "masks and photographs"
    head = [
        f"{verdict.origin.title}  {verdict.root}",
        "lists    " + ", ".join(f"{part} {count.names:,}" for part, count in verdict.counts.items()),
        *(f"note     {note}" for note in verdict.origin.notes),
        *_mapping(verdict),
    ]
    faults = [f"fault    {fault}" for fault in verdict.faults[:show]]
    if len(verdict.faults) > show:
        faults.append(f"         and {len(verdict.faults) - show:,} more")
    doubts = [f"doubt    {doubt}" for doubt in verdict.doubts]
    summary = "sound" if verdict.sound else f"{len(verdict.faults):,} fault{'s' * (len(verdict.faults) != 1)}"
    end = f"verdict  {summary}: {verdict.read:,} {read} read in {verdict.seconds:.0f} s"
    rows = _histogram(verdict) if len(verdict.classes) <= TALL else _columns(verdict)
    return "\n".join([*head, "", *rows, "", *doubts, *faults, end])


def _there(dataset: Dataset) -> list[str]:
    """All keys, without those that have no mask: the survey has named them."""
    keys = sorted({key for names in dataset.parts.values() for key in names})
    masks = getattr(dataset, "masks", None)
    return [key for key in keys if key in masks] if isinstance(masks, dict) else keys


def _faults(dataset: Dataset, key: str, counts: Iterable[_Growing], fast: bool) -> Iterator[UserError]:
    """Faults of one image; its pixels are added to `counts` when the mask is good. Labels read the photograph's header."""
    if not fast:
        try:
            dataset.image(key)
        except UserError as fault:
            yield fault
    try:
        pixels = np.bincount(dataset.labels(key).ravel(), minlength=IGNORED + 1)
    except UserError as fault:
        yield fault
        return
    row = pixels[[*range(len(dataset.classes)), IGNORED]]
    for count in counts:
        count.add(key, row)


@dataclass(frozen=True, eq=False)
class _Growing:
    """The `Count` of a list while images are read. times: how often the list names each."""

    names: int
    times: Mapping[str, int]
    pixels: np.ndarray
    images: np.ndarray

    @classmethod
    def of(cls, keys: Sequence[str], classes: int) -> _Growing:
        return cls(len(keys), Counter(keys), np.zeros(classes + 1, np.int64), np.zeros(classes + 1, np.int64))

    def add(self, key: str, row: np.ndarray) -> None:
        """row: pixels per class of one image."""
        times = self.times.get(key, 0)
        np.add(self.pixels, times * row, out=self.pixels)
        np.add(self.images, times * (row > 0), out=self.images)


def _doubts(dataset: Dataset, stored: Mapping[int, str], counts: dict[str, Count]) -> Iterator[str]:
    """Background that is said to have wrapped to 255 and occurs nowhere: ids may count from 1 after all."""
    if stored.get(IGNORED) == "background":
        place = dataset.classes.index("background")
        if not any(count.pixels[place] for count in counts.values()):
            yield (
                "no pixel is background (255 in the files): do ids count from 1, with 0 for background? Then every class is "
                "shifted by one; say --first-id 1, or name background in the class file"
            )


def _mapping(verdict: Verdict) -> Iterator[str]:
    """Ids of the files with their classes, as resolved."""
    ids = ", ".join(f"{i} {name}".replace(" ", "\xa0") for i, name in sorted(verdict.stored.items()))
    for label, text in (("ids", ids), ("empty", _empty(verdict))):
        if text:
            wrapped = textwrap.fill(
                text, WIDTH, initial_indent=f"{label:<9}", subsequent_indent=" " * 9,
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
            yield wrapped.replace("\xa0", " ")


def _empty(verdict: Verdict) -> str:
    if "cocostuff171" not in verdict.serves or not verdict.sound:
        return ""  # a pixel of such a class is a fault, and names itself
    names = ", ".join(EMPTY.values())
    return f"none of the {len(EMPTY)} classes that are never annotated occurs ({names})"


def _histogram(verdict: Verdict) -> Iterator[str]:
    """One line per class, one block of columns per list. Bars are to scale among the classes; background has none."""
    names = [*verdict.classes, IGNORED_ROW]
    wide = max(14, *(len(name) + 1 for name in names))
    columns = (f"{part + ' images':>15}{'pixels':>9}   {'':{BAR}}" for part in verdict.counts)
    yield f"{'class':<{wide}}{''.join(columns)}".rstrip()
    barred = [row for row, name in enumerate(names) if name not in ("background", IGNORED_ROW)]
    largest = {part: max(1, count.pixels[barred].max(initial=0)) for part, count in verdict.counts.items()}
    for row, name in enumerate(names):
        cells = (_cells(count, row, largest[part] if row in barred else 0) for part, count in verdict.counts.items())
        yield (f"{name:<{wide}}" + "".join(cells)).rstrip()


def _cells(count: Count, row: int, largest: int) -> str:
    share = count.pixels[row] / max(1, count.pixels.sum())
    bar = "█" * int(np.ceil(BAR * count.pixels[row] / largest)) if largest else ""
    return f"{count.images[row]:>15,}{share:>9.2%}   {bar:<{BAR}}"


def _columns(verdict: Verdict, across: int = 3) -> Iterator[str]:
    """Many classes: per list, shares and images of all that occur, the most frequent first, down one column after another."""
    for part, count in verdict.counts.items():
        total = max(1, count.pixels.sum())
        order = [row for row in np.argsort(-count.pixels[:-1], kind="stable") if count.pixels[row]]
        cells = [f"{verdict.classes[row]:<18}{count.pixels[row] / total:>7.2%}{count.images[row]:>9,}" for row in order]
        yield f"{part}: share of pixels and images of each class, {count.pixels[-1] / total:.2%} ignored"
        down = max(1, -(-len(cells) // across))
        for line in zip_longest(*(cells[i : i + down] for i in range(0, len(cells), down)), fillvalue=""):
            yield "  " + "    ".join(f"{cell:<34}" for cell in line).rstrip()
        if never := [name for name, pixels in zip(verdict.classes, count.pixels[:-1], strict=True) if not pixels]:
            yield textwrap.fill(f"  never: {', '.join(never)}", WIDTH, subsequent_indent="    ", break_on_hyphens=False)
