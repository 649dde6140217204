"""A corpus without the captions that name the classes of a lexicon, and a manifest that says what was done to it.

    drop  every file again under the output folder, in its format, kept records byte for byte as they were
    mask  keep.parquet: source and row of what is kept, for corpora too large to be written twice and for streams
    keys  remove.txt and keep.txt: keys of samples, for tar shards, whose images are of no concern here
    auto  keys for tar shards, mask for streams, saved data sets of Hugging Face and corpora above 50 GB, else drop

Choices: a file is whole or not there, and the manifest is written last: if it is there, the purge is whole. Stopped and
started again, only what is missing is made. A damaged file is told and left out, the others are done and stay. The
manifest holds no time and no machine, so that the same purge writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zsbench import __version__
from zsbench.atomic import replacing, write_json
from zsbench.errors import UserError, unknown
from zsbench.leakage import purge_lists as lists
from zsbench.leakage import purge_places as places
from zsbench.leakage.engine import Matcher
from zsbench.leakage.fragments import Fragment
from zsbench.leakage.layout import LINES
from zsbench.leakage.lexicon import LEVELS, Lexicon
from zsbench.leakage.purge_arrow import rewrite_arrow, rewrite_parquet
from zsbench.leakage.purge_json import rewrite_json
from zsbench.leakage.purge_lines import rewrite_lines
from zsbench.leakage.purge_verdicts import Progress, Verdicts
from zsbench.leakage.read_streams import open_stream
from zsbench.leakage.sources import stat

Mode = Literal["auto", "drop", "mask", "keys"]
MODES = ("auto", "drop", "mask", "keys")
Entry = dict[str, Any]

SCHEMA = 1
LARGE = 50 * 10**9  # bytes of a corpus that is not written twice unless that is asked for
REWRITERS: dict[str, Callable[..., Entry]] = {
    **dict.fromkeys(LINES, rewrite_lines),
    "parquet": rewrite_parquet,
    "arrow": rewrite_arrow,
    "json": rewrite_json,
}


def purge(
    fragments: Sequence[Fragment],
    lexicon: Lexicon,
    out: Path,
    mode: Mode = "auto",
    *,
    command: str = "",
    progress: Progress | None = None,
    drop_images: bool = False,
) -> Entry:
    """Purges a planned corpus (all fragments of each file) into the folder `out`; the manifest, out/manifest.json.

    command: goes into the manifest. progress: told how many more bytes have been read. drop_images: whether images of
    COCO's JSON that lose all captions go too.
    Raises UserError for a folder that is in use or holds an input, a mode that does not fit, and, when all else is
    done, for files that are damaged or changed.
    """
    sources = _sources(fragments, mode)
    key = _key(sources, lexicon, drop_images)
    if (done := _opened(out, key, sources)) is not None:
        return done
    purging = _Purge(out, Matcher(lexicon), progress, drop_images)
    faults = []
    for source in sources:
        try:
            purging.make(source)
        except UserError as fault:
            faults.append(fault)
    if faults:
        raise _told(faults, len(sources), out)
    manifest = _manifest(sources, lexicon, purging, {"key": key, "mode": mode, "command": command})
    write_json(out / places.MANIFEST, manifest)
    shutil.rmtree(out / places.STATE)
    return manifest


def verify(fragments: Sequence[Fragment], lexicon: Lexicon) -> int:
    """How many captions of a planned corpus name a class: 0 for a purged one. Raises UserError where it is damaged."""
    verdicts = Verdicts(fragments, Matcher(lexicon))
    for _ in verdicts:
        pass
    return verdicts.dropped


@dataclass(frozen=True)
class _Source:
    """One file or stream. output: its name below the folder, of what its captions are told in."""

    number: int
    fragments: tuple[Fragment, ...]
    mode: str
    output: str

    @property
    def first(self) -> Fragment:
        return self.fragments[0]


def _sources(fragments: Sequence[Fragment], mode: str) -> list[_Source]:
    if mode not in MODES:
        raise unknown("way to purge", mode, MODES)
    if not fragments:
        raise UserError("there is nothing to purge: no captions were given.")
    grouped = {name: tuple(group) for name, group in groupby(fragments, key=lambda fragment: fragment.source)}
    if len(grouped) != len({fragment.source for fragment in fragments}) or sum(map(len, grouped.values())) != len(fragments):
        raise UserError("the fragments of a file must follow each other, as they are planned.")
    modes = {name: _mode(mode, group[0]) for name, group in grouped.items()}
    if mode == "auto" and sum(stat(name).size for name, chosen in modes.items() if chosen == "drop") > LARGE:
        modes = {name: "mask" if chosen == "drop" else chosen for name, chosen in modes.items()}
    names = places.output_names([name for name, chosen in modes.items() if chosen == "drop"])
    told = {"mask": places.MASK, "keys": places.KEPT}
    return [
        _Source(number, group, modes[name], names.get(name) or told[modes[name]])
        for number, (name, group) in enumerate(grouped.items())
    ]


def _mode(asked: str, fragment: Fragment) -> str:
    rewritable = fragment.format in REWRITERS and fragment.resumable
    if asked == "auto":
        return "keys" if fragment.format == "tar" else "drop" if rewritable and not _saved_by_hub(fragment) else "mask"
    if asked == "drop" and not rewritable:
        other = "keys" if fragment.format == "tar" else "mask"
        raise UserError(f"{fragment.source} is not rewritten; list what is kept of it: --purge {other}")
    if asked == "keys" and fragment.format not in lists.KEYED:
        raise UserError(f"{fragment.source} has no keys to list; rewrite it or list its rows: --purge drop or mask")
    return asked


def _saved_by_hub(fragment: Fragment) -> bool:
    """Whether it is one of the files of a data set saved by Hugging Face, whose state names them and their hash."""
    return fragment.format == "arrow" and (Path(fragment.source).parent / "state.json").is_file()


def _key(sources: Sequence[_Source], lexicon: Lexicon, drop_images: bool) -> str:
    """Hash of everything that decides what is written, 20 hex digits."""
    of = ("source", "format", "stamp", "column", "place", "fields", "delimiter", "compression")
    files = [[source.mode, *(getattr(source.first, name) for name in of)] for source in sources]
    facts = [SCHEMA, __version__, lexicon.fingerprint, lexicon.level, drop_images, files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]


def _opened(out: Path, key: str, sources: Sequence[_Source]) -> Entry | None:
    """Makes the folder ready; the manifest where this very purge stands in it already."""
    places.refuse_inputs(out, [source.first.source for source in sources])
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; a purge is written into a folder.")
    manifest, begun = _read(out / places.MANIFEST), _read(out / places.STATE / "key.json")
    if manifest.get("key") == key:
        return _whole(out, manifest)
    if begun.get("key") == key and not manifest:
        return None
    if out.is_dir() and any(out.iterdir()):
        what = "another purge" if manifest or begun else "something else"
        raise UserError(f"{out} holds {what} (other captions, words or options): choose another folder, or remove it.")
    write_json(out / places.STATE / "key.json", {"key": key})
    return None


def _read(path: Path) -> Entry:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _whole(out: Path, manifest: Entry) -> Entry:
    outputs = [(entry["output"], entry["output_bytes"]) for entry in (*manifest["files"], *manifest["lists"])]
    for name, size in outputs:
        path = places.below(out, name)
        if size is not None and (not path.is_file() or path.stat().st_size != size):
            raise UserError(f"{path} is not what its purge wrote: remove {out} and purge again.")
    shutil.rmtree(out / places.STATE, ignore_errors=True)
    return manifest


class _Purge:
    """A purge under way: makes one source after the other and notes each in the folder of its state."""

    def __init__(self, out: Path, matcher: Matcher, progress: Progress | None, drop_images: bool):
        self.out, self.matcher, self.progress = out, matcher, progress
        self.options = {"json": {"drop_images": drop_images}}

    def note(self, source: _Source) -> Path:
        return self.out / places.STATE / f"{source.number:06d}.json"

    def parts(self, source: _Source) -> list[Path]:
        """What is made of the source: its output, or its part of the lists."""
        if source.mode == "drop":
            return [places.below(self.out, source.output)]
        endings = [".parquet"] if source.mode == "mask" else [".remove.txt", ".keep.txt"]
        return [self.note(source).with_suffix(ending) for ending in endings]

    def make(self, source: _Source) -> None:
        if self._is_done(source):
            if self.progress:
                self.progress(sum(fragment.bytes for fragment in source.fragments))
            return
        verdicts = Verdicts(source.fragments, self.matcher, self.progress)
        more = self._written(source, verdicts)
        entry = {"source": source.first.source, "format": source.first.format, "mode": source.mode}
        entry |= {"stamp": source.first.stamp, "output": source.output, **self._sizes(source), **verdicts.counts(), **more}
        write_json(self.note(source), entry)

    def _is_done(self, source: _Source) -> bool:
        made = all(part.is_file() for part in self.parts(source))
        return made and source.first.resumable and self.note(source).is_file()

    def _written(self, source: _Source, verdicts: Verdicts) -> Entry:
        first, *others = self.parts(source)
        for stale in first.parent.glob(f".{_literal(first.name)}.*"):
            stale.unlink()  # of a run that was killed
        with replacing(first) as part:
            if source.mode == "drop":
                write = partial(REWRITERS[source.first.format], **self.options.get(source.first.format, {}))
                return write(verdicts, part)
            if source.mode == "mask":
                return lists.list_rows(verdicts, part)
            with replacing(others[0]) as other:
                return lists.list_keys(verdicts, part, other)

    def _sizes(self, source: _Source) -> Entry:
        """Bytes and hashes of a rewritten file; what is listed is told by its stamp, for most of it is never read."""
        size = stat(source.first.source).size if source.first.stamp else None
        if source.mode != "drop":
            return {"bytes": size, "input_sha256": None, "output_bytes": None, "output_sha256": None}
        read, written = _digest(source.first.source), _digest(str(self.parts(source)[0].absolute()))
        return {"bytes": read[0], "input_sha256": read[1], "output_bytes": written[0], "output_sha256": written[1]}

    def join(self, sources: Sequence[_Source]) -> tuple[list[Entry], Entry]:
        """The lists of all sources that were not rewritten, and the numbers of keys."""
        rows = [self.parts(source)[0] for source in sources if source.mode == "mask"]
        keys = [self.parts(source) for source in sources if source.mode == "keys"]
        numbers = {}
        if rows:
            lists.join_rows(rows, self.out / places.MASK)
        if keys:
            pairs = [(removed, kept) for removed, kept in keys]
            numbers = lists.join_keys(pairs, self.out / places.REMOVED, self.out / places.KEPT)
        made = [places.MASK] * bool(rows) + [places.REMOVED, places.KEPT] * bool(keys)
        return [_listed(self.out, name) for name in made], numbers
