"""What has been unpacked from one archive: a line per file, written after the file stands in its place.

A later run of the same command skips a file whose contents have the journalled checksum (or the one that a zip file
declares: `unpack`). A file that another archive overwrites is struck from the journals of all others first. The journal
belongs to the archive's contents, not to its name: its name is a hash of the archive's size and two ends. A last line that
was cut off by a kill counts as not written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from zsbench.atomic import write_text

FOLDER = ".zsbench-prepare"
ENDS = 2**16  # bytes of either end; a zip file's table of contents is at its end


class Journal:
    """done: place below --out -> (size, checksum)."""

    def __init__(self, out: Path, archive: Path):
        self.file = out / FOLDER / f"{_identity(archive)}.jsonl"
        self.done = self.read(self.file)
        self._handle: Any = None

    def __enter__(self) -> Journal:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        whole = not self.file.exists() or self.file.read_bytes()[-1:] in (b"", b"\n")
        self._handle = self.file.open("a", encoding="utf-8")
        if not whole:
            self._handle.write("\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.close()

    @staticmethod
    def read(file: Path) -> dict[str, tuple[int, int]]:
        """Place below --out -> (size, checksum) of a journal; what is no entry is passed over and so unpacked again."""
        return dict(_entries(file))

    def add(self, target: str, size: int, crc: int) -> None:
        self.done[target] = (size, crc)
        self._handle.write(json.dumps([target, size, crc]) + "\n")
        self._handle.flush()


def disown(targets: Collection[str], out: Path, archive: Path) -> None:
    """Strikes places that this archive is about to write from the journals of all other archives."""
    own = _identity(archive)
    for file in sorted((out / FOLDER).glob("*.jsonl")):
        done = Journal.read(file)
        if file.stem != own and not done.keys().isdisjoint(targets):
            lines = [json.dumps([target, *facts]) + "\n" for target, facts in done.items() if target not in targets]
            write_text(file, "".join(lines))


def _identity(archive: Path) -> str:
    size = archive.stat().st_size
    with archive.open("rb") as handle:
        head = handle.read(ENDS)
        handle.seek(max(0, size - ENDS))
        return hashlib.sha256(b"%d " % size + head + handle.read(ENDS)).hexdigest()[:16]


def _entries(file: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    for line in lines:
        try:
            target, size, crc = json.loads(line)
        except (ValueError, TypeError):
            continue
        if isinstance(target, str) and isinstance(size, int) and isinstance(crc, int):
            yield target, (size, crc)
