"""Which stretch of which source is read, in which format, and how names and first bytes tell the format.

Choices: the suffix decides, the user's word goes before it, and the content only corrects what suffixes cannot say: a
.txt with a tab in its first line is TSV, a .json of many lines is JSON lines, gzip and zstd are known by their first
bytes. A file that cannot hold captions as they are (UTF-16, a page of HTML, a Git LFS pointer) is refused in words.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from zsbench.errors import UserError, unknown

SUFFIXES = {
    ".tsv": "tsv",
    ".tab": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".jsonlines": "jsonl",
    ".json": "json",
    ".txt": "text",
    ".text": "text",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".tar": "tar",
    ".tgz": "tar",
}
ALIASES = {"txt": "text", "ndjson": "jsonl", "coco": "json", "feather": "arrow", "webdataset": "tar", "wds": "tar"}
FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
LINES = ("tsv", "csv", "jsonl", "text")
COMPRESSED = {".gz": "gzip", ".tgz": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2"}
MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Fragment:
    """A stretch of one source that can be read by itself; plain values only, so that it pickles and goes into JSON.

    source: absolute path, URI, "-" for standard input or hf:NAME:CONFIG:SPLIT for a stream from the hub.
    start, stop: bytes of line formats (the lines that begin there), row groups of parquet, record batches of Arrow;
      0, 0 is the whole source.
    bytes: its size as stored; of parquet, that of the column of captions. 0 where it is not known.
    stamp: size and time or ETag of the source when planned: a source that changed makes another fragment.
    column: name of the column of captions, or its index where there is no heading; `place` is always the index.
    header_bytes: what lies before the first record (byte order mark and heading), in the first fragment only;
      a rewritten corpus begins with these bytes of the (decompressed) source.
    """

    source: str
    format: str
    start: int = 0
    stop: int = 0
    bytes: int = 0
    stamp: str = ""
    column: str = ""
    place: int = 0
    fields: int = 1
    delimiter: str = ""
    header_bytes: int = 0
    compression: str = ""
    resumable: bool = True

    @property
    def name(self) -> str:
        """The source without its folders and without a URI's options."""
        return short(self.source)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(value: dict[str, Any]) -> Fragment:
        """The fragment from `as_dict`, for example read from JSON; a value it does not know is an error."""
        unknown_names = set(value) - {field.name for field in fields(Fragment)}
        if unknown_names:
            raise UserError(
                f"a fragment has no {', '.join(sorted(unknown_names))}: it is of another version; plan again."
            )
        return Fragment(**value)


def short(source: str) -> str:
    if source.startswith("hf:"):
        return source
    return source.partition("?")[0].rstrip("/").rpartition("/")[2] or source


def right_format(name: str | None) -> str | None:
    """The format of a user's word for it. Raises `UserError` for one that is none."""
    if name is None:
        return None
    format = ALIASES.get(name.lower(), name.lower())
    if format not in FORMATS:
        raise unknown("caption format", name, FORMATS)
    return format


def by_suffix(source: str) -> tuple[str | None, str]:
    """Format and compression as the name says; no format for a suffix of no known one."""
    name = short(source).lower()
    compression = next((kind for suffix, kind in COMPRESSED.items() if name.endswith(suffix)), "")
    stem = name.rpartition(".")[0] if compression and not name.endswith(".tgz") else name
    return next((format for suffix, format in SUFFIXES.items() if stem.endswith(suffix)), None), compression


def by_magic(head: bytes) -> str:
    """The compression that the first bytes tell."""
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), "")


def by_content(format: str, head: bytes) -> str:
    """The format, corrected by the (decompressed) first bytes."""
    first, _, rest = head.removeprefix(BOM).partition(b"\n")
    if format == "text" and b"\t" in first:
        return "tsv"
    if format == "json" and _is_object(first) and _is_object(rest.partition(b"\n")[0]):
        return "jsonl"
    return format


def guessed(head: bytes) -> str:
    """The format of lines from a nameless source: JSON objects, fields between tabs, or captions."""
    first = head.removeprefix(BOM).partition(b"\n")[0]
    return "jsonl" if _is_object(first) else "tsv" if b"\t" in first else "text"


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def refuse_foreign(source: str, head: bytes) -> None:
    """Raises `UserError` for a text file whose bytes are not captions in UTF-8."""
    if head.startswith(UTF16) or _mostly_utf16(head):
        name = short(source)
        raise UserError(
            f"{source} is not UTF-8 but UTF-16 or UTF-32: convert it first with `iconv -f UTF-16 -t UTF-8 {name} > utf8-{name}`."
        )
    start = head.removeprefix(BOM).lstrip()[:50].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise UserError(f"{source} is a page of HTML, not a file of captions: fetch it again.")


def refuse_pointer(source: str, head: bytes) -> None:
    if head.startswith(b"version https://git-lfs"):
        raise UserError(f"{source} is a Git LFS pointer, not the file itself: run `git lfs pull` beside it.")


def _mostly_utf16(head: bytes) -> bool:
    """Latin text in UTF-16 has a NUL in every second byte; a caption with a stray NUL has not."""
    return head[:4096].count(0) * 10 > len(head[:4096]) * 3
