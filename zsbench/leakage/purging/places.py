"""Where a purged corpus goes: names below the output folder, and which folders are taken or refused.

Choices: files keep the names that they have below the folder that holds them all. No name leads out of the output
folder, whatever an address says, and no input is ever written to or mixed with the output.
"""

from __future__ import annotations

import json
import os
import posixpath
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from zsbench.atomic import write_json
from zsbench.errors import UserError
from zsbench.leakage.reading.layout import Fragment
from zsbench.leakage.reading.sources import is_uri

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
        path = f"/{address.netloc}/{address.path}".replace("\\", "/")
        return PurePosixPath(posixpath.normpath(path)).parts[1:]
    return Path(os.path.normpath(Path(source).absolute())).parts[1:]


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
            raise UserError(
                f"{out} lies in the corpus ({folder}), which would then hold both; choose a folder beside it."
            )


def _local(source: str) -> Path | None:
    path = Path(source)
    return path if path.is_absolute() and not is_uri(source) else None


def opened(out: Path, key: str, fragments: Sequence[Fragment]) -> dict[str, Any] | None:
    """Makes the output folder ready for the purge with this key; its manifest where it is done already.

    fragments: one of each source. Raises UserError for a folder that holds an input, or anything but this purge.
    """
    refuse_inputs(out, [fragment.source for fragment in fragments])
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; a purge is written into a folder.")
    manifest, begun = _read(out / MANIFEST), _read(out / STATE / "key.json")
    stamps = [fragment.stamp for fragment in fragments]
    if manifest.get("key") == key and all(stamps) and stamps == [entry["stamp"] for entry in manifest["files"]]:
        return _whole(out, manifest)
    if begun.get("key") == key and not manifest:
        return None
    if out.is_dir() and any(out.iterdir()):
        what = "a purge of other captions, or with other words or options" if manifest or begun else "something else"
        raise UserError(f"{out} holds {what}: choose another folder, or remove it.")
    write_json(out / STATE / "key.json", {"key": key})
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _whole(out: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    for entry in (*manifest["files"], *manifest["lists"]):
        path, size = below(out, entry["output"]), entry["output_bytes"]
        if size is not None and (not path.is_file() or path.stat().st_size != size):
            raise UserError(f"{path} is not what its purge wrote: remove {out} and purge again.")
    shutil.rmtree(out / STATE, ignore_errors=True)
    return manifest
