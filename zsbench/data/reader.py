"""What a reader of one kind of data set is: how its folder is recognised, and how it is looked through.

A new kind is one module with a `READER`, and one line in `opening.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zsbench.data.dataset import Dataset


@dataclass(frozen=True)
class Hints:
    """What the user says about a data set beside where it lies. classes: its class file; first_id: see `class_file`.

    image, mask: names of the columns of a table of images (Hugging Face `datasets`).
    """

    classes: Path | None = None
    first_id: int | None = None
    image: str | None = None
    mask: str | None = None


@dataclass(frozen=True)
class Reader:
    """name: as in `--as NAME`; serves: data sets of splits (keys of UNIVERSES) that it can serve; layout: in words.

    hears: the hints that it uses; others are refused rather than passed over.
    recognises(root): whether `root`, or a usual place below it, has this layout; looks at folder names only.
    survey(root, hints): the data set as far as it is there, and all its faults as sentences that name a file. Raises
    `UserError` when nothing can be opened at all.
    """

    name: str
    title: str
    serves: tuple[str, ...]
    layout: str
    recognises: Callable[[Path], bool]
    survey: Callable[[Path, Hints], tuple[Dataset, list[str]]]
    hears: tuple[str, ...] = ("classes", "first_id")
