"""Caption corpora in tar shards, as img2dataset writes and WebDataset reads them: KEY.jpg beside KEY.txt or KEY.json.

Choices: a shard's headers are read once; after that an image is one seek away, in any order, and nothing is ever
unpacked to disk. A compressed shard has no such index and is refused. An archive with a member that leads elsewhere
(`..`, an absolute name, a link, a device) is not to be trusted at all, and refused too. KEY.txt goes before KEY.json.
"""

from __future__ import annotations

import json
import re
import tarfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from glob import has_magic
from pathlib import Path
from typing import IO, Any

from zsbench.data.caption_files import clean_caption, leads_out
from zsbench.data.caption_pairs import SUFFIXES, Corrupt, Skipped
from zsbench.data.caption_stores import Rows, StoredCaptions, read_bounded
from zsbench.errors import UserError

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")  # WebDataset's brace notation
LONGEST = 2**20  # bytes of a caption member

Place = tuple[int, int]  # offset of a member's content, its size


@dataclass
class Located:
    """Where each image lies: shard number, offset and size, one of each per pair."""

    paths: list[Path]
    shard: array[int] = field(default_factory=lambda: array("i"))
    offset: array[int] = field(default_factory=lambda: array("q"))
    length: array[int] = field(default_factory=lambda: array("q"))

    def add(self, shard: int, place: Place) -> None:
        self.shard.append(shard)
        self.offset.append(place[0])
        self.length.append(place[1])

    def read(self, index: int, key: str) -> bytes:
        with self.paths[self.shard[index]].open("rb") as file:
            file.seek(self.offset[index])
            return read_bounded(file, self.length[index])


def shards(spec: str) -> list[Path]:
    """The archives of a folder, a glob, a range like `{00000..00331}.tar`, or of one file, in order of their names."""
    match, path = RANGE.search(spec), Path(spec).expanduser()
    if match:
        first, last = match.groups()
        numbers = (str(n).zfill(len(first)) for n in range(int(first), int(last) + 1))
        return [shard for number in numbers for shard in shards(RANGE.sub(number, spec, count=1))]
    if path.is_dir():
        found = sorted(path.glob("*.tar"))
    elif has_magic(spec):
        found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    else:
        found = [path]
    if not found:
        raise UserError(f"no .tar shards at {spec}; a folder of a Hugging Face data set is given as hf:{spec}.")
    return found


def read_tars(name: str, paths: list[Path]) -> StoredCaptions:
    """All pairs of the shards, in their order. Raises `UserError` for an archive that is not to be trusted."""
    rows, images, skipped, seen = Rows(), Located(paths), Skipped(name), 0
    for number, path in enumerate(paths):
        seen += _index(path, number, rows, images, skipped)
    skipped.judge_lines(seen)
    return StoredCaptions(name, rows, images, skipped)


def _index(path: Path, number: int, rows: Rows, images: Located, skipped: Skipped) -> int:
    """Adds one shard's pairs; returns how many captions it should have had."""
    samples = _samples(path)
    with path.open("rb") as file:
        for key, parts in samples.items():
            image = next((parts[s] for s in SUFFIXES if s in parts), None)
            if image is None:
                skipped.without_image += 1
                continue
            try:
                rows.add(key, _caption(file, parts))
                images.add(number, image)
            except Corrupt as error:
                skipped.line(f"{path.name}: {key}", str(error))
    return sum(1 for parts in samples.values() if any(s in parts for s in SUFFIXES))


def _samples(path: Path) -> dict[str, dict[str, Place]]:
    """Key -> suffix -> place of the member, from the headers alone."""
    samples: dict[str, dict[str, Place]] = {}
    for member in _members(path):
        folder, _, file = member.name.removeprefix("./").rpartition("/")
        stem, _, suffix = file.partition(".")  # WebDataset: the key ends at the first dot
        if stem and suffix:
            key = f"{folder}/{stem}" if folder else stem
            samples.setdefault(key, {})["." + suffix.lower()] = member.offset_data, member.size
    return samples


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                _refuse_hostile(path, member)
                if member.isreg():
                    yield member
            _require_end(path, archive.offset)
    except (tarfile.TarError, EOFError) as error:
        raise UserError(
            f"{path} is no whole, uncompressed tar archive ({error}): unpack it or fetch it again."
        ) from error


def _require_end(path: Path, offset: int) -> None:
    """tarfile takes a broken header for the end and says nothing: the end is nothing, or zeros."""
    with path.open("rb") as file:
        file.seek(offset)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError(f"broken header at byte {offset:,}")


def _refuse_hostile(path: Path, member: tarfile.TarInfo) -> None:
    what = None
    if leads_out(member.name):
        what = "leads out of the archive"
    elif member.issparse() or not (member.isreg() or member.isdir()):
        what = "is a link, a device or another special file"
    if what:
        raise UserError(f"{path} is refused: its member {member.name[:200]!r} {what}.")


def _caption(file: IO[bytes], parts: dict[str, Place]) -> str:
    place = parts.get(".txt") or parts.get(".json")
    if place is None:
        raise Corrupt("no caption")
    offset, length = place
    if length > LONGEST:
        raise Corrupt("the caption is too long")
    file.seek(offset)
    try:
        text: Any = read_bounded(file, length).decode()
        if ".txt" not in parts:
            text = json.loads(text)["caption"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Corrupt("the caption cannot be read") from error
    return clean_caption(text)
