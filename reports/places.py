"""Where a report's inputs lie, as they are printed, and what was left out of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LeftOut:
    """A folder or file that does not stand in the tables, and why."""

    place: str
    why: str


def place_of(folder: Path, root: Path) -> str:
    """A folder as printed: relative to the folder that was asked for, never absolute."""
    base = root.parent if root.is_file() else root
    inner = folder.relative_to(base).as_posix()
    return encodable(f"{base.resolve().name}/{inner}" if inner != "." else base.resolve().name)


def encodable(text: str) -> str:
    """The text with a "?" for what no file can hold as UTF-8: bytes of a name that are none, half a surrogate pair."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def is_leakage_report(path: Path) -> bool:
    """Whether a file given by itself is a report of a scan and no record of a run."""
    try:
        with path.open(encoding="utf-8") as file:
            return '"kind": "leakage' in file.read(400)
    except (OSError, ValueError):
        return False


def leads_elsewhere(folder: Path, root: Path) -> bool:
    """Whether a folder is a link to what does not lie below `root`, where it would be found by itself."""
    return folder.is_symlink() and not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root))
