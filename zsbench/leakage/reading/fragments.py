"""From what the user names to fragments that can be read apart, and from a fragment to batches of captions.

    path  folder/  '*.tsv'  '{00000..00331}.tar'  -  hf:PATH_OR_NAME[:CONFIG][:SPLIT]  s3://bucket/key  memory://…

Choices: a folder means all caption files in it and below, in order of their names, each caption once. For planning only
the first 256 KB of a file and the footers of parquet are read (COCO's JSON excepted). A damaged file makes a fragment
too: it is told broken when it is read, and the others still count.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

from zsbench.errors import UserError
from zsbench.leakage.batch import Batch, Intake
from zsbench.leakage.reading import columns as read_columns
from zsbench.leakage.reading import layout, sources
from zsbench.leakage.reading.arrow import plan_arrow, plan_parquet, read_arrow, read_parquet
from zsbench.leakage.reading.coco import plan_coco, read_coco, without_captions
from zsbench.leakage.reading.folder import caption_files
from zsbench.leakage.reading.hub import is_hub, plan_streamed, read_streamed, saved
from zsbench.leakage.reading.layout import Fragment
from zsbench.leakage.reading.lines import read_lines
from zsbench.leakage.reading.sources import Found, first_line
from zsbench.leakage.reading.streams import HEAD, STDIN, expanded, head
from zsbench.leakage.reading.tars import plan_tar, read_tar

__all__ = ["Fragment", "plan", "read"]

log = logging.getLogger("zsbench")

FRAGMENT = 64 << 20
READERS: dict[str, Callable[[Fragment, Intake], Iterator[Batch]]] = {
    **dict.fromkeys(layout.LINES, read_lines),
    "json": read_coco,
    "parquet": read_parquet,
    "arrow": read_arrow,
    "tar": read_tar,
    "hub": read_streamed,
}


def plan(
    specs: Sequence[str], *, format: str | None = None, column: str | None = None, fragment_bytes: int = FRAGMENT
) -> list[Fragment]:
    """The fragments of everything that `specs` name, in order; each file once.

    format: overrides what the suffixes say. column: name or index of the column of captions, where it is not found by
    its usual names; of tar shards a member's suffix (.alt) or a key of its .json. fragment_bytes: about the size of a
    fragment, where a file can be cut. Raises `UserError` for what is not there, not known or not clear.
    """
    planner = _Planner(layout.right_format(format), column, max(fragment_bytes, 1))
    found = list(dict.fromkeys(file for spec in specs for name in sources.ranged(spec) for file in planner.files(name)))
    with ThreadPoolExecutor(8) as pool:  # objects are far: eight footers at once
        fragments = [fragment for part in pool.map(planner.fragments, found) for fragment in part]
    if not any(fragment.bytes or not fragment.resumable for fragment in fragments):
        raise UserError(
            f"no captions in {', '.join(specs) or 'no files'}: " + ("all are empty." if found else "name some.")
        )
    return fragments


def read(fragment: Fragment, intake: Intake) -> Iterator[Batch]:
    """The fragment's records in order; `intake` counts them on the way.

    A batch is valid until the next one is asked for: its arrays are used again. A source that is damaged or breaks off
    sets `intake.broken` and ends. One that is gone, or another than was planned, raises `UserError`, as does an archive
    that is not to be trusted.
    """
    _require_same(fragment)
    try:
        if fragment.compression and fragment.stamp and not fragment.bytes:
            raise OSError(f"the file is empty, not even {fragment.compression}")
        yield from READERS[fragment.format](fragment, intake)
    except (OSError, EOFError, ValueError) as error:  # Arrow's errors are among these
        intake.broken = f"{fragment.name}: {first_line(error)}"
    else:
        if fragment.stamp and sources.stat(fragment.source).stamp != fragment.stamp:
            intake.broken = f"{fragment.name}: changed while it was read"


def _require_same(fragment: Fragment) -> None:
    if fragment.stamp and sources.stat(fragment.source).stamp != fragment.stamp:
        raise UserError(f"{fragment.source} has changed since it was planned: plan the scan again.")


class _Planner:
    """One question for captions: format and column as asked for, or to be found."""

    def __init__(self, format: str | None, column: str | None, fragment_bytes: int):
        self.format, self.column, self.fragment_bytes = format, column, fragment_bytes
        self.by_folder: set[str] = set()  # files that nobody named: one without captions is no mistake

    def files(self, spec: str) -> list[Found]:
        if spec == STDIN:
            return [Found(STDIN, 0, "")]
        if is_hub(spec):
            paths = saved(spec)
            return [Found(spec, 0, "")] if paths is None else [file for path in paths for file in self.files(path)]
        found, folder = sources.find(spec)
        if not found:
            raise UserError(f"no files at {spec}.")
        if folder:
            found = caption_files(spec, found, self.format)
            self.by_folder.update(file.source for file in found)
        return found

    def fragments(self, file: Found) -> list[Fragment]:
        if is_hub(file.source):
            return [plan_streamed(file.source, self.column)]
        by_name, compression = layout.by_suffix(file.source)
        whole = Fragment(file.source, self.format or by_name or "", 0, 0, file.size, file.stamp)
        if whole.format in ("parquet", "arrow"):
            if file.source == STDIN:
                raise UserError(f"{whole.format} needs jumps and cannot come from standard input: give the file.")
            plan_columns = plan_parquet if whole.format == "parquet" else plan_arrow
            return plan_columns(whole, self.column, self.fragment_bytes)
        start = head(file.source)
        whole = replace(whole, compression=layout.by_magic(start) or compression, resumable=file.source != STDIN)
        start = expanded(start, whole.compression)
        layout.refuse_pointer(whole.source, start)
        if whole.format == "tar":
            return [plan_tar(whole, start, self.column)]
        return self._texts(whole, start)

    def _texts(self, whole: Fragment, start: bytes) -> list[Fragment]:
        if not self.format:
            whole = replace(whole, format=self._format(whole, start))
        layout.refuse_foreign(whole.source, start)
        if whole.format == "json":
            return self._coco(whole)
        whole = self._with_column(whole, start)
        if whole.compression or whole.format == "csv" or not whole.bytes:
            return [whole]
        return _cut(whole, self.fragment_bytes)

    def _coco(self, whole: Fragment) -> list[Fragment]:
        fragment = plan_coco(whole, self.column)
        if fragment is None and whole.source not in self.by_folder:
            raise without_captions(whole.source, self.column)
        if fragment is None:
            log.warning("%s holds no captions and is left out", whole.source)
        return [fragment] if fragment else []

    def _format(self, whole: Fragment, start: bytes) -> str:
        if whole.source == STDIN:
            return layout.guessed(start)
        if not whole.format:
            raise UserError(
                f"{whole.source}: its name does not tell its format; name one with --format: {', '.join(layout.FORMATS)}."
            )
        return layout.by_content(whole.format, start)

    def _with_column(self, whole: Fragment, start: bytes) -> Fragment:
        source, complete = layout.short(whole.source), len(start) < HEAD
        if whole.format == "jsonl":
            key, mark = read_columns.objects(source, start, complete, self.column)
            return replace(whole, column=key, header_bytes=mark)
        if whole.format == "text":
            table = read_columns.lines(source, start, self.column)
        else:
            table = read_columns.table(source, start, complete, self.column, quoted=whole.format == "csv")
        return replace(whole, **vars(table))


def _cut(whole: Fragment, fragment_bytes: int) -> list[Fragment]:
    """Byte ranges of about equal size; the first holds the heading too."""
    begin = whole.header_bytes
    count = max(-(-(whole.bytes - begin) // fragment_bytes), 1)
    cuts = [0, *(begin + (whole.bytes - begin) * n // count for n in range(1, count)), whole.bytes]
    return [
        replace(whole, start=a, stop=b, bytes=b - a, header_bytes=whole.header_bytes if a == 0 else 0)
        for a, b in pairwise(cuts)
    ]
