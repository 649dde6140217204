"""Captions in tar shards as img2dataset writes and WebDataset reads them: KEY.jpg beside KEY.txt or KEY.json.

Choices: one pass over the headers, jumping over images; nothing is unpacked. A sample is a run of members with one key;
its caption is its .txt, else a string in its .json; with neither it is a record without caption. An archive with a
member that leads elsewhere (`..`, an absolute name, a link, a device) is not to be trusted and refused whole. One that
ends without its end mark, or goes on behind it, is broken: what could not be seen is not counted as clean.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import overload

import numpy as np

from zsbench.errors import UserError
from zsbench.leakage.batch import Batch, Bytes, Intake, Places
from zsbench.leakage.reading import blocks
from zsbench.leakage.reading import headers as kernels
from zsbench.leakage.reading.columns import choose, listed
from zsbench.leakage.reading.jsonl import find_captions
from zsbench.leakage.reading.layout import Fragment
from zsbench.leakage.reading.members import Hops, array, told
from zsbench.leakage.reading.sources import is_uri
from zsbench.leakage.reading.split import EMPTY, READ
from zsbench.leakage.reading.streams import HEAD, STDIN, open_stream

NEAR = 1 << 17  # bytes read at once where jumps are cheap
NONE: Bytes = np.empty(0, dtype=np.uint8)

WANTED = ".txt, .json:caption"  # what a sample's caption is, unless the archive or the user says otherwise


def plan_tar(whole: Fragment, start: bytes, column: str | None) -> Fragment:
    """The archive as one fragment; its first members tell which hold captions. Raises `UserError` when none can."""
    suffixes, keys, samples = _first_members(start)
    if column:
        wanted = column.lower() if column.startswith(".") else ".txt" if column == "txt" else f".json:{column}"
    elif ".txt" not in suffixes and keys:
        wanted = f".json:{choose(whole.source, list(keys), None)}"
    elif ".txt" in suffixes or samples == 0 or (samples == 1 and len(start) == HEAD):  # a large image hides the rest
        wanted = WANTED
    else:
        raise UserError(
            f"{whole.source} has no captions beside its members ({listed(list(suffixes))}): expected .txt or .json;"
            " name another suffix with --caption-column .SUFFIX."
        )
    return replace(whole, column=wanted)


def _first_members(start: bytes) -> tuple[dict[str, None], dict[str, None], int]:
    """Suffixes of the first members, the keys of the objects in those that are JSON, and the number of samples."""
    stems: set[str] = set()
    suffixes: dict[str, None] = {}
    keys: dict[str, None] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(start), mode="r:") as archive:
            for member in archive:
                stem, _, suffix = member.name.rpartition("/")[2].partition(".")
                if member.isreg() and stem and suffix:
                    stems.add(stem)
                    suffixes["." + suffix.lower()] = None
                    if suffix.lower() == "json" and (file := archive.extractfile(member)):
                        keys.update(dict.fromkeys(json.loads(file.read())))
    except (tarfile.TarError, EOFError, OSError, ValueError, TypeError, RecursionError):
        pass  # the first bytes end somewhere; what is damaged is told when it is read
    return suffixes, keys, len(stems)


def read_tar(fragment: Fragment, intake: Intake) -> Iterator[Batch]:
    """The archive's samples. Raises OSError for a damaged archive, `UserError` for one that is not to be trusted."""
    far = bool(fragment.compression) or fragment.source == STDIN or is_uri(fragment.source)
    with open_stream(fragment.source, fragment.compression) as stream:
        samples = Samples(fragment, Hops(stream, blocks.BLOCK if far else NEAR))
        try:
            while samples.collect():
                yield samples.batch(intake)
        except OSError:
            samples.drop_begun()
            yield from samples.rest(intake)
            raise
        yield from samples.rest(intake)
    intake.bytes += fragment.bytes


class Samples:
    """What the walk over an archive collects, batch by batch."""

    def __init__(self, fragment: Fragment, hops: Hops):
        self.source, self.hops = fragment.source, hops
        suffix, self.key = _wanted(fragment.column or WANTED)
        self.suffix, self.json = array(suffix), array("json" if self.key else "")
        self.names, self.out = np.empty(1 << 20, np.uint8), np.empty(4 * blocks.BLOCK, np.uint8)
        self.key_starts, self.key_ends, self.starts, self.ends = (np.empty(blocks.ROWS, np.int64) for _ in range(4))
        self.states = np.empty(blocks.ROWS, np.uint8)
        self.now = np.zeros(4, np.int64)
        self.first = 0
        self.told: tuple[Bytes, int] = NONE, -1

    def collect(self) -> bool:
        """Goes on to the next full batch; false at the archive's end."""
        while True:
            reason, at, need = self._walk()
            if reason == kernels.FULL:
                self.hops.lo = at
                return True
            if reason == kernels.END:
                return self._end(at)
            if reason == kernels.GROW:
                self._grow()
                self.hops.lo = at
            elif reason == kernels.SPECIAL:
                self.hops.lo = at
                self.told = told(self.source, self.hops)
            elif not self.hops.bring(at, need):
                raise OSError(f"the archive is cut off at byte {self.hops.origin + self.hops.hi:,}")

    def _walk(self) -> tuple[int, int, int]:
        hops, (name, size) = self.hops, self.told
        kept = self.key_starts, self.key_ends, self.starts, self.ends, self.states, self.now
        wanted = self.suffix, self.json, blocks.LONGEST
        reason, at, need = kernels.walk(
            hops.data, hops.lo, hops.hi, name, size, *wanted, self.names, self.out, blocks.BLOCK, *kept
        )
        if at > hops.lo:
            self.told = NONE, -1
        return reason, at, need

    def _end(self, at: int) -> bool:
        self.hops.lo = at
        if not self.hops.only_zeros():
            raise OSError("there is more behind the archive's end mark: archives that were joined must be given apart")
        return False

    def _grow(self) -> None:
        """More room for names, or else for captions: a batch ends between samples, never inside one."""
        wanted = int(self.now[kernels.NAMES]) + len(self.told[0]) + 256
        if wanted > len(self.names):
            self.names = np.concatenate([self.names, np.empty(wanted, np.uint8)])
            return
        out = np.empty(len(self.out) + 2 * blocks.LONGEST, np.uint8)
        out[: len(self.out)] = self.out
        self.out = out

    def rest(self, intake: Intake) -> Iterator[Batch]:
        if self.now[kernels.COUNT]:
            yield self.batch(intake)

    def drop_begun(self) -> None:
        """Forgets the last sample if the archive ended before its caption came."""
        begun = self.now[kernels.OPENED] and self.states[self.now[kernels.COUNT] - 1] != kernels.TEXT
        if begun and len(self.suffix):
            self.now[kernels.COUNT] -= 1

    def batch(self, intake: Intake) -> Batch:
        """The samples collected so far; the next ones take their place."""
        count = int(self.now[kernels.COUNT])
        starts, ends, states = self.starts[:count], self.ends[:count], self.states[:count]
        find_captions(self.out, len(self.out) // 2, self.key, starts, ends, states)
        states[states == kernels.TEXT] = READ
        states[(states == READ) & (starts == ends)] = EMPTY
        first, self.first = self.first, self.first + count
        self.now[:] = 0
        keys = Keys(self.names, self.key_starts[:count], self.key_ends[:count])
        return blocks.counted(self.out, states, starts, ends, first, intake, keys=keys)


def _wanted(column: str) -> tuple[str, str]:
    """Suffix of the captions' members and key in JSON members; either may be empty."""
    parts = column.split(", ")
    suffix = next((part[1:] for part in parts if not part.startswith(".json:")), "")
    return suffix, next((part.removeprefix(".json:") for part in parts if part.startswith(".json:")), "")


class Keys(Sequence[str]):
    """Names of samples, made into strings when one is asked for."""

    def __init__(self, names: Bytes, starts: Places, ends: Places):
        self.names, self.starts, self.ends = names, starts, ends

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return bytes(self.names[self.starts[index] : self.ends[index]]).decode("utf-8", "backslashreplace")
