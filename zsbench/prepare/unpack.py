"""One archive into its places: what is there already is skipped, what is written is written whole or not at all.

What is there is read, and its checksum compared: with the one that a zip file declares, with the given file itself where
it is no archive, and for a tar, which has none, with the one noted in the journal when it was unpacked.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zsbench.prepare.archive import Archive, Member, checksum
from zsbench.prepare.journal import Journal, disown
from zsbench.prepare.kinds import Kind, Rule, chosen

BLOCK = 4096  # bytes that a file system gives a file at least


Watch = Callable[[Iterable["Item"]], Iterable["Item"]]


class Bar(Protocol):
    """What counts the bytes that are written, as tqdm does."""

    def update(self, n: float) -> object: ...


@dataclass(frozen=True)
class Item:
    rule: Rule
    member: Member
    target: str  # below --out


@dataclass(frozen=True)
class Plan:
    """Everything that one archive gives. there: targets that need not be written again."""

    archive: Archive
    kind: Kind
    out: Path
    items: tuple[Item, ...]
    there: frozenset[str]

    @property
    def ahead(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.target not in self.there)

    @property
    def bytes_ahead(self) -> int:
        """What the disk needs for the rest."""
        return sum(-(-item.member.size // BLOCK) * BLOCK for item in self.ahead)

    def counts(self) -> dict[Rule, int]:
        found = Counter(item.rule for item in self.items)
        return {rule: found[rule] for rule in self.kind.rules if found[rule]}


def plan(archive: Archive, kind: Kind, out: Path, watch: Watch = lambda items: items) -> Plan:
    """What is to be done; nothing is written. `watch` sees the files as they are compared (a progress bar).

    Raises UserError where the archive holds what cannot be right.
    """
    items = tuple(Item(rule, member, target) for rule, member, target in chosen(archive, kind))
    done = Journal(out, archive.file).done if archive.format != "file" else {}
    return Plan(archive, kind, out, items, frozenset(_there(watch(items), out, done)))


def _there(items: Iterable[Item], out: Path, done: dict[str, tuple[int, int]]) -> Iterator[str]:
    """Targets that hold what the archive has for them."""
    for item in items:
        file, declared = out / item.target, item.member
        crc = declared.crc if declared.crc is not None else done.get(item.target, (0, None))[1]
        try:
            if crc is not None and file.is_file() and file.stat().st_size == declared.size and checksum(file) == crc:
                yield item.target
        except OSError:
            continue


def unpack(todo: Plan, bar: Bar) -> None:
    """Writes what is ahead; `bar` counts bytes. Interrupted at any point, what stands in the journal is whole."""
    ahead = {item.member.place: item for item in todo.ahead}
    if not ahead:
        return
    disown({item.target for item in ahead.values()}, todo.out, todo.archive.file)
    with Journal(todo.out, todo.archive.file) as journal:
        for member, pieces in todo.archive.contents(ahead.keys()):
            item = ahead[member.place]
            crc = _write(todo.out / item.target, pieces, bar)
            journal.add(item.target, member.size, crc)


def _write(file: Path, pieces: Iterable[bytes], bar: Bar) -> int:
    """The file's checksum. Written beside its place under a fixed name, so that a kill leaves one such file at most."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.parent / f".{file.name}.part"
    part.unlink(missing_ok=True)
    crc = 0
    try:
        with part.open("xb") as handle:
            for piece in pieces:
                handle.write(piece)
                crc = zlib.crc32(piece, crc)
                bar.update(len(piece))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return crc
