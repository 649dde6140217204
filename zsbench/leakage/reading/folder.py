"""Which files of a folder are its captions, so that none is counted twice.

Choices: what img2dataset and others leave beside the data is told by its name. The .parquet (or .json, .csv) beside a
.tar of the same name is its metadata: the .tar is read, for that is what a training reads, while the metadata also has
the rows whose images could not be fetched. A sample's .json is left out for its .txt, a folder of samples for the .parquet
of its name. What is left out is said.
"""

from __future__ import annotations

import logging
import re

from zsbench.errors import UserError
from zsbench.leakage.reading.layout import SUFFIXES, by_suffix, short
from zsbench.leakage.reading.sources import Found

log = logging.getLogger("zsbench")

BESIDE = re.compile(
    r"(dataset_info|dataset_dict|state|dataset_infos|.*_stats|config|package|manifest)\.json|keep\.parquet|(keep|remove)\.txt|cache-.*\.arrow"
    r"|(readme|licen[cs]e|requirements|sources|notice|changelog|checksums?|md5sums?|sha256sums?)\b.*",
    re.IGNORECASE,
)


def caption_files(folder: str, files: list[Found], format: str | None = None) -> list[Found]:
    """The files with captions among all of a folder; with a `format`, those of its suffixes, or else all.

    Raises `UserError` when there are none.
    """
    files = [file for file in files if not BESIDE.fullmatch(short(file.source))]
    if format:
        return [file for file in files if by_suffix(file.source)[0] == format] or files
    known = [file for file in files if by_suffix(file.source)[0]]
    if not known:
        raise UserError(f"no caption files in {folder}: expected {', '.join(SUFFIXES)}, line formats also .gz or .zst.")
    doubles = _doubles(known)
    for why, left_out in doubles.items():
        log.warning("%s: %d %s, left out (%s, …)", folder, len(left_out), why, short(left_out[0].source))
    dropped = {file.source for left_out in doubles.values() for file in left_out}
    return [file for file in known if file.source not in dropped]


def _doubles(files: list[Found]) -> dict[str, list[Found]]:
    """Files that hold captions of others again, by the reason."""
    formats: dict[str, set[str]] = {}
    for file in files:
        formats.setdefault(_stem(file.source), set()).add(by_suffix(file.source)[0] or "")
    doubles: dict[str, list[Found]] = {}
    for file in files:
        if why := _why(file.source, by_suffix(file.source)[0] or "", formats):
            doubles.setdefault(why, []).append(file)
    return doubles


def _why(source: str, format: str, formats: dict[str, set[str]]) -> str:
    beside = formats[_stem(source)]
    if format != "tar" and "tar" in beside:
        return "files of metadata beside .tar shards of the same names"
    if format == "json" and "text" in beside:
        return ".json beside .txt of the same names"
    if format in ("text", "json") and "parquet" in formats.get(_stem(source).rpartition("/")[0], ()):
        return "samples in folders beside .parquet of the same names"
    return ""


def _stem(source: str) -> str:
    """The path without its suffixes of format and compression."""
    address = source.partition("?")[0]
    folder, _, name = address.rpartition("/")
    suffixes = sorted((*SUFFIXES, ".gz", ".zst", ".zstd", ".bz2"), key=len, reverse=True)
    while suffix := next((s for s in suffixes if name.lower().endswith(s)), ""):
        name = name[: -len(suffix)]
    return f"{folder}/{name}"
