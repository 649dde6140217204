"""Where captions lie: local paths, object stores, anything fsspec knows; found, stamped and opened.

Choices: a source is named by a string alone, so that a fragment can travel to another process; credentials are taken
from the environment there and refused inside a URI, for URIs go into reports. Stores that Arrow speaks to itself (S3,
GCS, Azure) go through it, all others through fsspec; both hand out the same Arrow files. Whatever goes wrong while bytes
are fetched is an OSError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from zsbench.data.caption_tars import RANGE
from zsbench.errors import UserError

URI = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
ARROW = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
WRITTEN = "%/:?&=@,+;!$'()*~#"  # what stays as it is in an address; the rest, such as spaces, is percent-encoded
STAMPS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created", "sha256")


@dataclass(frozen=True)
class Found:
    """A file that is there. stamp: what changes when its content does."""

    source: str
    size: int
    stamp: str


def is_uri(spec: str) -> bool:
    return URI.match(spec) is not None


def ranged(spec: str) -> list[str]:
    """Every name of a range like {00000..00331}; the spec itself when it has none."""
    match = RANGE.search(spec)
    if match is None:
        return [spec]
    first, last = match.groups()
    numbers = (str(n).zfill(len(first)) for n in range(int(first), int(last) + 1))
    return [name for number in numbers for name in ranged(RANGE.sub(number, spec, count=1))]


def find(spec: str) -> tuple[list[Found], bool]:
    """The files that a path, glob or URI means, in order of their names, and whether a folder was asked for."""
    if not is_uri(spec):
        return _local(Path(spec).expanduser())
    if urlsplit(spec).scheme.lower() == "file":
        return _local(Path(unquote(urlsplit(spec).path)))
    return _remote(spec)


def stat(source: str) -> Found:
    """The file as it is now. Raises `UserError` when it is gone."""
    if not is_uri(source):
        return _stat(Path(source))
    fs, path = _store(source)
    with _told(source):
        info = fs.get_file_info(path)
    if not info.is_file:
        raise UserError(f"there is no file {source}.")
    return Found(source, info.size or 0, _stamp(fs, info))


def _stat(path: Path) -> Found:
    try:
        info = path.stat()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    return Found(str(path.absolute()), info.st_size, f"{info.st_size}-{info.st_mtime_ns}")


def _local(path: Path) -> tuple[list[Found], bool]:
    if path.is_dir():
        return [_stat(file) for file in _below(path)], True
    if has_magic(str(path)) and not path.exists():
        matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        matches = [match for match in matches if not match.name.startswith(".") or path.name.startswith(".")]
        return [_stat(file) for match in matches for file in (_below(match) if match.is_dir() else [match])], False
    return [_stat(path)], False


def _below(folder: Path) -> list[Path]:
    """All files in a folder and its folders, hidden ones apart; through links, but no folder twice."""
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith((".", "_"))]
        found += [] if real in seen else [Path(place, name) for name in names if not name.startswith((".", "_"))]
        seen.add(real)
    return sorted(found)


def _store(uri: str) -> tuple[Any, str]:
    """An Arrow file system and the path in it."""
    parts = urlsplit(uri)
    if parts.password or (parts.username and parts.scheme in ("s3", "gs", "gcs")):
        raise UserError(
            f"{parts.scheme}://…@{parts.hostname}: credentials do not belong into an address, for addresses go into"
            " reports; set them in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for one)."
        )
    with _told(uri):
        if parts.scheme.lower() in ARROW:
            from pyarrow.fs import FileSystem

            fs, path = FileSystem.from_uri(quote(uri, safe=WRITTEN))
            return fs, path.rstrip("/")
        return _by_fsspec(uri)


def _by_fsspec(uri: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    fs, path = url_to_fs(uri)
    return PyFileSystem(FSSpecHandler(fs)), path.rstrip("/")


@contextmanager
def _told(source: str) -> Iterator[None]:
    """Errors of stores, which have no common type, as a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"cannot read {source}: {first_line(error)}.") from error


def first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines() or [type(error).__name__]
    return text[0][:300].rstrip(".")


def _remote(uri: str) -> tuple[list[Found], bool]:
    """A file, all files below a folder, or those that a glob names."""
    address, mark, options = uri.partition("?")
    base, pattern = _split_glob(address.rstrip("/"))
    fs, path = _store(base + mark + options)
    with _told(uri):
        if not pattern:
            info = fs.get_file_info(path)
            if info.is_file:
                return [Found(uri, info.size or 0, _stamp(fs, info))], False
        infos = _listed(fs, path)
    wanted = re.compile(_regex(pattern)) if pattern else re.compile("(?!(.*/)?[._]).*")
    names = {info.path[len(path) + 1 :]: info for info in infos if info.is_file}
    write = quote if urlsplit(uri).scheme.lower() in ARROW else str
    found = [
        Found(f"{base}/{write(name)}{mark}{options}", info.size or 0, _stamp(fs, info))
        for name, info in sorted(names.items())
        if wanted.fullmatch(name)
    ]
    return found, not pattern


def _listed(fs: Any, path: str) -> list[Any]:
    from pyarrow.fs import FileSelector

    return list(fs.get_file_info(FileSelector(path, recursive=True)))


def _split_glob(address: str) -> tuple[str, str]:
    """The folder before the first wild card, and the pattern below it."""
    match = re.search(r"[*\[]", address)
    if match is None:
        return address, ""
    cut = address.rfind("/", 0, match.start())
    return address[:cut], address[cut + 1 :]


def _regex(pattern: str) -> str:
    """A glob as a regular expression: `**/` is any folders, `*` stays in one."""
    kinds = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    parts = re.split(r"(\*\*/|\*\*|\*|\[[^\]]+\])", pattern)
    return "".join(kinds.get(part, part if part.startswith("[") else re.escape(part)) for part in parts)


def _stamp(fs: Any, info: Any) -> str:
    """Size and time or ETag; a store that knows neither is stamped by size alone."""
    mark = info.mtime_ns
    if mark is None and fs.type_name.startswith("py::fsspec"):
        known = fs.handler.fs.info(info.path)
        mark = next((known[key] for key in STAMPS if known.get(key) is not None), None)
    return f"{info.size or 0}-{mark}" if mark is not None else f"{info.size or 0}"


def _in_memory(source: str) -> Any:
    """A copy: fsspec's own hands the same file with one position to every reader, and threads would read in turn."""
    import pyarrow as pa
    from fsspec.core import url_to_fs

    fs, path = url_to_fs(source)
    return pa.BufferReader(fs.cat_file(path))


def open_file(source: str) -> Any:
    """The source for random access by Arrow. Raises OSError when it cannot be opened."""
    import pyarrow as pa

    if not is_uri(source):
        return pa.OSFile(source, "rb")
    if source.lower().startswith("memory:"):
        return _in_memory(source)
    fs, path = _store(source)
    try:
        return fs.open_input_file(path)
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {first_line(error)}") from error
