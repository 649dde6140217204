"""The work of a purge: one source after the other is rewritten or listed, and a note of each is kept until all are done.

Choices: the notes lie in a hidden folder beside the outputs; a source whose note and outputs are there is done. What is
listed makes one part per source there, and the parts are joined in the end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from glob import escape
from pathlib import Path
from typing import Any

from zsbench.atomic import replacing, write_json
from zsbench.leakage.engine import Matcher
from zsbench.leakage.purging import lists, places
from zsbench.leakage.purging.arrow import rewrite_arrow, rewrite_parquet
from zsbench.leakage.purging.json import rewrite_json
from zsbench.leakage.purging.lines import rewrite_lines
from zsbench.leakage.purging.verdicts import Progress, Verdicts, disagreement
from zsbench.leakage.reading.fragments import Fragment
from zsbench.leakage.reading.layout import LINES
from zsbench.leakage.reading.sources import stat
from zsbench.leakage.reading.streams import open_stream

Entry = dict[str, Any]

REWRITERS: dict[str, Callable[..., Entry]] = {
    **dict.fromkeys(LINES, rewrite_lines),
    "parquet": rewrite_parquet,
    "arrow": rewrite_arrow,
    "json": rewrite_json,
}


@dataclass(frozen=True)
class Source:
    """One file or stream with all its fragments. output: its name below the folder, or that of the list it goes into."""

    number: int
    fragments: tuple[Fragment, ...]
    mode: str
    output: str

    @property
    def first(self) -> Fragment:
        return self.fragments[0]

    @property
    def bytes(self) -> int:
        return sum(fragment.bytes for fragment in self.fragments)


class Work:
    """A purge under way in the folder `out`."""

    def __init__(self, out: Path, matcher: Matcher, progress: Progress | None, drop_images: bool):
        self.out, self.matcher, self.progress = out, matcher, progress
        self.options = {"json": {"drop_images": drop_images}}

    def note(self, source: Source) -> Path:
        return self.out / places.STATE / f"{source.number:06d}.json"

    def made_of(self, source: Source) -> list[Path]:
        """What is made of a source: its output, or its part of the lists."""
        if source.mode == "drop":
            return [places.below(self.out, source.output)]
        endings = [".parquet"] if source.mode == "mask" else [".remove.txt", ".keep.txt"]
        return [self.note(source).with_suffix(ending) for ending in endings]

    def make(self, source: Source) -> None:
        """Rewrites or lists the source, unless that is done. Raises UserError where it is damaged or changed."""
        if self._is_done(source):
            if self.progress:
                self.progress(source.bytes)
            return
        verdicts = Verdicts(source.fragments, self.matcher, self.progress)
        more = self._write(source, verdicts)
        told = {
            "source": source.first.source,
            "mode": source.mode,
            "stamp": source.first.stamp,
            "output": source.output,
        }
        write_json(self.note(source), {**told, **self._sizes(source), **verdicts.counts(), **more})

    def _is_done(self, source: Source) -> bool:
        if not self.note(source).is_file() or not all(path.is_file() for path in self.made_of(source)):
            return False
        stamp = json.loads(self.note(source).read_text(encoding="utf-8"))["stamp"]
        return stamp == source.first.stamp != ""  # a stream, which has none, is never the same twice

    def _write(self, source: Source, verdicts: Verdicts) -> Entry:
        first, *others = self.made_of(source)
        _remove_stale(first)
        with replacing(first) as part:
            if source.mode == "drop":
                write = partial(REWRITERS[source.first.format], **self.options.get(source.first.format, {}))
                return write(verdicts, part)
            if source.mode == "mask":
                return lists.list_rows(verdicts, part)
            with replacing(others[0]) as other:
                return lists.list_keys(verdicts, part, other)

    def _sizes(self, source: Source) -> Entry:
        """Bytes and hashes of a rewritten file; of one that is listed most is never read, so its stamp must do."""
        name, stamp = source.first.source, source.first.stamp
        if source.mode != "drop":
            size = stat(name).size if stamp else None
            return {"bytes": size, "input_sha256": None, "output_bytes": None, "output_sha256": None}
        read, written = digest(name), digest(str(self.made_of(source)[0].absolute()))
        if stat(name).stamp != stamp:
            raise disagreement(name)
        return {"bytes": read[0], "input_sha256": read[1], "output_bytes": written[0], "output_sha256": written[1]}

    def entries(self, sources: Sequence[Source]) -> list[Entry]:
        return [json.loads(self.note(source).read_text(encoding="utf-8")) for source in sources]

    def join(self, sources: Sequence[Source]) -> tuple[list[Entry], dict[str, int]]:
        """The lists of all sources that were not rewritten, and the numbers of keys in them."""
        rows = [self.made_of(source)[0] for source in sources if source.mode == "mask"]
        keys = [self.made_of(source) for source in sources if source.mode == "keys"]
        numbers: dict[str, int] = {}
        if rows:
            lists.join_rows(rows, self.out / places.MASK)
        if keys:
            pairs = [(removed, kept) for removed, kept in keys]
            numbers = lists.join_keys(pairs, self.out / places.REMOVED, self.out / places.KEPT)
        made = [places.MASK] * bool(rows) + [places.REMOVED, places.KEPT] * bool(keys)
        return [_listed(self.out, name) for name in made], numbers


def _remove_stale(path: Path) -> None:
    """What a run that was killed left beside the place of an output."""
    for ending in ("part", "plain"):
        for stale in path.parent.glob(f".{escape(path.name)}.*.{ending}"):
            stale.unlink()


def _listed(out: Path, name: str) -> Entry:
    size, sha256 = digest(str((out / name).absolute()))
    return {"output": name, "output_bytes": size, "output_sha256": sha256}


def digest(source: str) -> tuple[int, str]:
    """Bytes and SHA-256 of a file as it is stored."""
    size, sha256, buffer = 0, hashlib.sha256(), bytearray(1 << 20)
    with open_stream(source) as stream:
        while got := stream.fill(memoryview(buffer)):
            sha256.update(memoryview(buffer)[:got])
            size += got
    return size, sha256.hexdigest()
