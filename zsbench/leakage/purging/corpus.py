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
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Literal

from zsbench import __version__
from zsbench.atomic import write_json
from zsbench.errors import UserError, unknown
from zsbench.leakage.engine import Matcher
from zsbench.leakage.lexicon import LEVELS, Lexicon
from zsbench.leakage.purging import places
from zsbench.leakage.purging.lists import KEYED
from zsbench.leakage.purging.verdicts import Progress, Verdicts
from zsbench.leakage.purging.work import REWRITERS, Entry, Source, Work
from zsbench.leakage.reading.fragments import Fragment
from zsbench.leakage.reading.sources import stat

__all__ = ["MODES", "Mode", "purge", "verify"]

Mode = Literal["auto", "drop", "mask", "keys"]
MODES = ("auto", "drop", "mask", "keys")

SCHEMA = 1
LARGE = 50 * 10**9  # bytes of a corpus that is not written twice unless that is asked for
COUNTS = ("rows", "kept", "dropped", "unreadable_dropped")


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
    """Purges a planned corpus (all fragments of each file) into the folder `out`; returns out/manifest.json.

    command: goes into the manifest. progress: told how many more bytes have been read. drop_images: whether the images
    of COCO's JSON that lose all their captions go too.
    Raises UserError for a folder that is in use or holds an input, for a mode that does not fit and, when all else is
    done, for files that are damaged or changed.
    """
    sources = _sources(fragments, mode)
    key = _key(sources, lexicon, drop_images)
    done = places.opened(out, key, [source.first for source in sources])
    if done is not None:
        return done
    work = Work(out, Matcher(lexicon), progress, drop_images)
    _make(sources, work)
    manifest = _manifest(sources, lexicon, work, {"key": key, "mode": mode, "command": command})
    write_json(out / places.MANIFEST, manifest)
    shutil.rmtree(out / places.STATE)
    return manifest


def verify(fragments: Sequence[Fragment], lexicon: Lexicon) -> int:
    """How many captions of a planned corpus name a class: 0 for a purged one. Raises UserError where it is damaged."""
    verdicts = Verdicts(fragments, Matcher(lexicon))
    for _ in verdicts:
        pass
    return verdicts.dropped


def _sources(fragments: Sequence[Fragment], mode: str) -> list[Source]:
    """The files in the plan's order, each with what is made of it."""
    if mode not in MODES:
        raise unknown("way to purge", mode, MODES)
    groups = [tuple(group) for _, group in groupby(fragments, key=lambda fragment: fragment.source)]
    apart = len({group[0].source for group in groups}) != len(groups)
    if not groups or apart or any(a.stop != b.start for group in groups for a, b in pairwise(group)):
        raise UserError("expected all fragments of a plan in its order, those of one file after the other; plan again.")
    modes = [_mode(mode, group[0]) for group in groups]
    rewritten = [group[0].source for group, chosen in zip(groups, modes, strict=True) if chosen == "drop"]
    if mode == "auto" and sum(stat(name).size for name in rewritten) > LARGE:
        modes, rewritten = ["mask" if chosen == "drop" else chosen for chosen in modes], []
    names = places.output_names(rewritten)
    listed = {"mask": places.MASK, "keys": places.KEPT}
    return [
        Source(number, group, chosen, listed.get(chosen) or names[group[0].source])
        for number, (group, chosen) in enumerate(zip(groups, modes, strict=True))
    ]


def _mode(asked: str, fragment: Fragment) -> str:
    rewritable = fragment.format in REWRITERS and fragment.resumable
    if asked == "auto":
        return "keys" if fragment.format == "tar" else "drop" if rewritable and not _is_saved(fragment) else "mask"
    if asked == "drop" and not rewritable:
        other = "keys" if fragment.format == "tar" else "mask"
        raise UserError(f"{fragment.source} cannot be rewritten; list what is kept of it: --purge {other}")
    if asked == "keys" and fragment.format not in KEYED:
        raise UserError(
            f"{fragment.source} has no keys to list: --purge drop rewrites it, --purge mask lists its rows."
        )
    return asked


def _is_saved(fragment: Fragment) -> bool:
    """Whether it is a file of a data set saved by Hugging Face, whose state.json knows its rows."""
    return fragment.format == "arrow" and (Path(fragment.source).parent / "state.json").is_file()


def _key(sources: Sequence[Source], lexicon: Lexicon, drop_images: bool) -> str:
    """Hash of what is asked of which files, 20 hex digits; their stamps stand in their notes, so that one can be mended."""
    names = ("source", "format", "column", "compression")
    files = [[source.mode, *(getattr(source.first, name) for name in names)] for source in sources]
    facts = [SCHEMA, __version__, lexicon.fingerprint, lexicon.level, drop_images, files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]


def _make(sources: Sequence[Source], work: Work) -> None:
    """Makes every source that can be made. Raises UserError for the others in the end."""
    faults = []
    for source in sources:
        try:
            work.make(source)
        except UserError as fault:
            faults.append(str(fault))
    if faults:
        rest = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise UserError(
            f"{len(faults)} of {len(sources)} files are not purged, and {work.out} is not whole: "
            + " | ".join(faults[:3])
            + rest
        )


def _manifest(sources: Sequence[Source], lexicon: Lexicon, work: Work, asked: Entry) -> Entry:
    files = work.entries(sources)
    lists, keys = work.join(sources)
    words = {"name": lexicon.name, "fingerprint": lexicon.fingerprint, "level": lexicon.level}
    return {
        "schema": SCHEMA,
        "kind": "leakage purge",
        "zsbench": __version__,
        **asked,
        "lexicon": {**words, "classes": list(lexicon.classes)},
        "not_covered": _not_covered(lexicon.level),
        "files": files,
        "lists": lists,
        "keys": keys or None,
        "totals": {"files": len(files), **{name: _sum(files, name) for name in ("bytes", "output_bytes", *COUNTS)}},
        "classes": {name: sum(entry["classes"][name] for entry in files) for name in lexicon.classes},
    }


def _sum(files: Iterable[dict[str, Any]], name: str) -> int:
    return sum(entry[name] or 0 for entry in files)


def _not_covered(level: int) -> str:
    """What may still stand in the purged corpus, in words."""
    above = [f"L{number} {words}" for number, words in enumerate(LEVELS) if number > level]
    forms = f"captions that name a class only by forms above level {level} ({', '.join(above)}), " if above else ""
    return f"Kept: {forms}captions in other languages, and whatever stands outside the column of captions."
