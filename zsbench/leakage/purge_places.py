"""Where a purged corpus goes: names below the output folder, and folders that are refused.

Choices: files keep the names that they have below the folder that holds them all. No name leads out of the output
folder, whatever an address says, and no input is ever written to or mixed with the output.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from zsbench.errors import UserError
from zsbench.leakage.sources import is_uri

MANIFEST, MASK, REMOVED, KEPT, STATE = "manifest.json", "keep.parquet", "remove.txt", "keep.txt", ".purge"
RESERVED = (MANIFEST, MASK, REMOVED, KEPT, STATE)


def output_names(sources: Sequence[str]) -> dict[str, str]:
    """Source -> its name below the output folder, with `/`. Raises UserError where two would be one."""
    parts = {source: _parts(source) for source in sources}
    shared = _shared([path[:-1] for path in parts.values()])
    names: dict[str, str] = {}
    for source, path in parts.items():
        name = "/".join(path[len(shared) :])
        other = next((known for known, taken in names.items() if taken.casefold() == name.casefold()), None)
        if other or name.partition("/")[0].casefold() in RESERVED:
            raise UserError(
                f"{source} would be written as {name}, which is the name of {other or 'a file of the purge itself'};"
                " rename it, or purge it apart."
            )
        names[source] = name
    return names


def _parts(source: str) -> tuple[str, ...]:
    """Folders and name; without `..`, a root or a drive."""
    if is_uri(source):
        address = urlsplit(source)
        path = posixpath.normpath("/" + address.path.replace("\\", "/"))
        return tuple(part for part in (address.netloc, *PurePosixPath(path).parts[1:]) if part)
    path = Path(os.path.normpath(Path(source).absolute()))
    return path.parts[1:]


def _shared(folders: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    first, last = min(folders, default=()), max(folders, default=())
    count = 0
    while count < len(first) and count < len(last) and first[count] == last[count]:
        count += 1
    return first[:count]


def below(out: Path, name: str) -> Path:
    """The place of an output. Raises UserError should a link lead elsewhere."""
    path = out / name
    if not path.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{path} leads out of {out}: choose an empty folder.")
    return path


def refuse_inputs(out: Path, sources: Sequence[str]) -> None:
    """Raises UserError when the output folder is or holds an input, or lies in the folder of the corpus."""
    place = out.resolve()
    files = [file for source in sources if (file := _local(source))]
    for file in files:
        if file.resolve() == place or file.resolve().is_relative_to(place) or file.is_relative_to(place):
            raise UserError(f"{out} is or holds the input {file}: a purge never writes where it reads; choose another.")
    if len(files) > 1:  # a folder of captions, which would be read together with what is written into it
        folder = Path(os.path.commonpath([file.parent for file in files])).resolve()
        if place.is_relative_to(folder):
            raise UserError(f"{out} lies in the corpus ({folder}), which would then hold both; choose a folder beside it.")


def _local(source: str) -> Path | None:
    path = Path(source)
    return path if path.is_absolute() and not is_uri(source) else None
