"""Where a report's inputs lie, as they are printed, and what was left out of them."""

from __future__ import annotations

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
    return f"{base.resolve().name}/{inner}" if inner != "." else base.resolve().name
