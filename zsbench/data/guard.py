"""The lock on a data set's files while a method runs: they open only through the harness.

A method gets arrays, never paths (see `view.py`). This module closes the side door: while `locked(...)`, Python code that
opens, lists or links anything below a protected folder fails with `GuardError`, unless the harness itself is reading
(`admitted()`). It works through an audit hook, so it covers `open`, `os.open`, `pathlib`, Pillow, numpy and pandas' Python
engines, from the import of a method's module to the end of its run, threads included. It cannot cover code that opens
files in C (pyarrow, torchvision.io), starts another process, or digs through the interpreter on purpose; reading a
method's one file is still part of trusting it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_EVENTS = frozenset(
    {"open", "os.listdir", "os.scandir", "os.link", "os.symlink", "os.rename", "os.chdir", "shutil.copytree"}
)
_protected: tuple[str, ...] = ()
_thread = threading.local()
_installed = False


class GuardError(RuntimeError):
    """A method reached for the data set's files around the guard."""


@contextmanager
def admitted() -> Iterator[None]:
    """Marks this thread as the harness reading on a method's behalf."""
    before = getattr(_thread, "admitted", False)
    _thread.admitted = True
    try:
        yield
    finally:
        _thread.admitted = before


def is_admitted() -> bool:
    """Whether this thread is the harness reading."""
    return bool(getattr(_thread, "admitted", False))


@contextmanager
def locked(*folders: Path) -> Iterator[None]:
    """Everything below `folders` is closed to code outside `admitted()` until the block ends."""
    global _protected, _installed
    if not _installed:
        sys.addaudithook(_hook)  # cannot be taken out again; it is idle while nothing is protected
        _installed = True
    before = _protected
    with admitted():
        _protected = tuple(sorted({*before, *(path for folder in folders for path in _places(folder))}))
    try:
        yield
    finally:
        _protected = before


def _places(folder: Path) -> set[str]:
    """A folder by name and by what it is, and the same of what it holds: masks are often linked in from elsewhere."""
    parts = [folder, *(entry for entry in folder.glob("*") if entry.is_symlink())]
    return {place for part in parts for place in _names(part)}


def _names(path: str | Path) -> set[str]:
    """Absolute path as given, and with links followed."""
    return {os.path.abspath(path), os.path.realpath(path)}  # noqa: PTH100  (Path.resolve would follow links in both)


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root + os.sep)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _protected or event not in _EVENTS or getattr(_thread, "admitted", False):
        return
    for arg in args[:2]:
        if isinstance(arg, (str, bytes, os.PathLike)):
            path = os.fsdecode(arg)
            if any(_below(p, root) for p in _names(path) for root in _protected):
                name = Path(path).name
                raise GuardError(f"a method may not open the data set's files itself ({event}: {name})")
