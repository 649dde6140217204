"""Image lists: one image name per line, checked before a name becomes part of a path."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # no slash, backslash, drive or leading dot: stays in its folder


def read_list(file: Path) -> tuple[tuple[str, ...], list[str]]:
    """Names in file order, and the faults: unreadable, empty, a line that is no image name, a name that comes twice."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        return (), [f"{file}: cannot be read as a list of image names ({fault})."]
    entries = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    names = [name for _, name in entries if SAFE_NAME.fullmatch(name)]
    wrong = [f"line {number} {name[:80]!r}" for number, name in entries if not SAFE_NAME.fullmatch(name)]
    twice = [name for name, times in Counter(names).items() if times > 1]
    faults = []
    if not entries:
        faults.append(f"{file}: the list is empty; expected one image name per line, such as 2007_000032.")
    if wrong:
        faults.append(f"{file}: {examples(wrong)}: not an image name; expected one per line, such as 2007_000032.")
    if twice:
        faults.append(f"{file}: {examples(twice)}: listed more than once.")
    return tuple(dict.fromkeys(names)), faults


def examples(items: Sequence[str], show: int = 3) -> str:
    """The first few of many, with their count: "a, b, c and 1,100 more"."""
    rest = len(items) - show
    return ", ".join(items[:show]) + (f" and {rest:,} more" if rest > 0 else "")


def list_sha256(names: Iterable[str]) -> str:
    """Hash of a list in its order, one name per line."""
    return hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()
