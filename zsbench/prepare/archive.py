"""Archives from strangers: what is in a .zip, .tar or .tar.gz, and the bytes of chosen members, with every promise checked.

Nothing here writes a file. Names are only reported; where a member goes is decided by `kinds.py` from a table, never by the
member. Zip members carry a checksum; of a .tar.gz the whole stream does, and it is read to its end before anything is
unpacked. What an archive says of itself is believed up to limits: headers of a mebibyte, 64 GiB in a tar.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from zsbench.errors import UserError

CHUNK = 2**20
HEADERS = 2**20  # bytes that may stand between two members of a tar: long names, and nothing larger
LARGEST_TAR = 2**36  # bytes in it; the largest official one has 2^31
MOST = 2_000_000  # members; train2017.zip has 118,288
AGAIN = "What is unpacked is kept: get the archive anew and run the same command again."
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, NotImplementedError)

Watch = Callable[[Iterable["Member"]], Iterable["Member"]]


@dataclass(frozen=True)
class Member:
    """size: bytes unpacked, as declared; place: its number in the archive.

    crc: checksum of the contents: as a zip file declares it, computed of a file on its own, None in a tar, which has none.
    """

    name: str
    size: int
    kind: Literal["file", "folder", "link", "other"]
    crc: int | None
    place: int


@dataclass(frozen=True)
class Archive:
    """format: "zip", "tar", "tar.gz", or "file" for a file that is no archive and its own only member."""

    file: Path
    format: Literal["zip", "tar", "tar.gz", "file"]
    members: tuple[Member, ...]

    def contents(self, wanted: Collection[int]) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """The members at these places, in the archive's order, each with its bytes in pieces. Read each before the next.

        Raises `UserError` naming archive and member where something is damaged or not as declared.
        """
        read = {"zip": _zip_contents, "file": _file_contents}.get(self.format, _tar_contents)
        yield from read(self, frozenset(wanted))


def open_archive(file: Path, watch: Watch = lambda members: members) -> Archive:
    """What is in a file. `watch` sees the members as they are found (a progress bar).

    Raises `UserError`: no such file, truncated, encrypted, a member whose name leads out of its folder.
    """
    if not file.is_file():
        raise UserError(
            f"{file}: no such file. zsbench downloads nothing: get it from its authors' site, and name it here."
        )
    with file.open("rb") as handle:
        head = handle.read(512)
    found = _format(head)
    with _told(file, "cannot be read to its end, a download may have broken off"):
        listing = {"zip": _zip_members, "file": _file_member}.get(found, _tar_members)
        members = tuple(watch(_checked(file, listing(file))))
    return Archive(file, found, members)


def _format(head: bytes) -> Literal["zip", "tar", "tar.gz", "file"]:
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if head[:2] == b"\x1f\x8b":
        return "tar.gz"
    return "tar" if head[257:262] == b"ustar" or _old_tar(head) else "file"


def _old_tar(head: bytes) -> bool:
    """A header of the time before the mark "ustar": its checksum is right."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


@contextmanager
def _told(file: Path, what: str) -> Iterator[None]:
    try:
        yield
    except BROKEN as fault:
        raise UserError(f"{file}: {what} ({fault or type(fault).__name__}). {AGAIN}") from None


def _checked(file: Path, members: Iterable[Member]) -> Iterator[Member]:
    for number, member in enumerate(members, 1):
        if number > MOST:
            raise UserError(
                f"{file}: more than {MOST:,} members; no official archive has so many. Nothing is unpacked."
            )
        if reason := unsafe(member.name):
            raise UserError(
                f"{file}: holds {member.name[:80]!r}, {reason}; official archives have no such thing. Nothing is unpacked."
            )
        yield member


def unsafe(name: str) -> str | None:
    """Why a member's name is refused wherever it stands in an archive."""
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        return "an absolute path"
    if ".." in PurePosixPath(name.replace("\\", "/")).parts:
        return "a path that leads out of its folder"
    return None if name.isprintable() and "\\" not in name and name else "an odd name"


# ---- zip


def _zip_members(file: Path) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for place, info in enumerate(archive.infolist()):
            if info.flag_bits & 1:
                raise UserError(f"{file}: {info.filename[:80]!r} is encrypted; no official archive is. {AGAIN}")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UserError(f"{file}: {info.filename[:80]!r} is packed in a way that is not read. {AGAIN}")
            yield Member(info.orig_filename, info.file_size, _zip_kind(info), info.CRC, place)


def _zip_kind(info: zipfile.ZipInfo) -> Literal["file", "folder", "link", "other"]:
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "link"
    if info.is_dir():
        return "folder"
    return "file" if stat.S_IFMT(mode) in (0, stat.S_IFREG) else "other"


def _zip_contents(archive: Archive, wanted: Collection[int]) -> Iterator[tuple[Member, Iterator[bytes]]]:
    with zipfile.ZipFile(archive.file) as opened:
        infos = opened.infolist()
        for member in archive.members:
            if member.place in wanted:
                with _told(archive.file, f"damaged at {member.name}"):
                    handle = opened.open(infos[member.place])
                with handle:
                    yield member, _pieces(archive.file, member, handle)


# ---- tar


class _Bounded:
    """A stream that gives only so many bytes until told otherwise; moving forward is free."""

    def __init__(self, stream: IO[bytes]):
        self.stream, self.left = stream, HEADERS
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.left:
            raise tarfile.ReadError("a header that is larger than headers are")
        self.left -= size
        return self.stream.read(size)

    def drain(self) -> None:
        """To the end of the stream, where its checksum stands."""
        for _ in range(HEADERS // 2**13):
            if not self.stream.read(2**16):
                return
        raise tarfile.ReadError("megabytes behind its end")


@contextmanager
def _tar_stream(file: Path) -> Iterator[tuple[tarfile.TarFile, _Bounded]]:
    with file.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
        bounded = _Bounded(stream)
        with tarfile.open(fileobj=bounded, mode="r:") as archive:  # type: ignore[call-overload]
            yield archive, bounded


def _tar_members(file: Path) -> Iterator[Member]:
    total = 0
    with _tar_stream(file) as (archive, bounded):
        for place, info in enumerate(archive):
            bounded.left = HEADERS
            total += info.size
            if info.size < 0 or total > LARGEST_TAR:
                raise UserError(
                    f"{file}: promises more than {LARGEST_TAR >> 30} GiB; no official archive has so much. Nothing is unpacked."
                )
            yield Member(info.name, info.size, _tar_kind(info), None, place)
        bounded.drain()


def _tar_kind(info: tarfile.TarInfo) -> Literal["file", "folder", "link", "other"]:
    if info.isreg() and not info.issparse():
        return "file"
    return "folder" if info.isdir() else "link" if info.issym() or info.islnk() else "other"


def _tar_contents(archive: Archive, wanted: Collection[int]) -> Iterator[tuple[Member, Iterator[bytes]]]:
    with _tar_stream(archive.file) as (opened, bounded):
        infos = enumerate(opened)
        for member in archive.members:
            with _told(archive.file, f"damaged at {member.name}"):
                info = next(infos)[1]
                handle = opened.extractfile(info) if member.place in wanted else None
            if handle is not None:
                bounded.left = member.size + HEADERS
                yield member, _pieces(archive.file, member, handle)
            bounded.left = HEADERS


# ---- a file on its own


def _file_member(file: Path) -> Iterator[Member]:
    yield Member(file.name, file.stat().st_size, "file", checksum(file), 0)


def checksum(file: Path) -> int:
    """CRC-32 of a file's contents."""
    crc = 0
    with file.open("rb") as handle:
        while piece := handle.read(CHUNK):
            crc = zlib.crc32(piece, crc)
    return crc


def _file_contents(archive: Archive, wanted: Collection[int]) -> Iterator[tuple[Member, Iterator[bytes]]]:
    with archive.file.open("rb") as handle:
        for member in archive.members:
            if member.place in wanted:
                yield member, _pieces(archive.file, member, handle)


def _pieces(file: Path, member: Member, handle: IO[bytes]) -> Iterator[bytes]:
    left = member.size
    with _told(file, f"damaged at {member.name}"):
        while left >= 0 and (piece := handle.read(CHUNK)):
            left -= len(piece)
            yield piece
    if left:
        raise UserError(f"{file}: {member.name} has another size than the archive says. {AGAIN}")
