"""The headers of a tar archive that Python reads: long names, extended headers, and whatever is refused.

Choices: an archive with a member that leads elsewhere (`..`, an absolute name, a link, a device) is not to be trusted and
refused whole, before anything in it is believed. Only the name and the size are taken from extended headers.
"""

from __future__ import annotations

import tarfile

import numpy as np

from zsbench.data.caption_files import leads_out
from zsbench.errors import UserError
from zsbench.leakage.batch import Bytes
from zsbench.leakage.reading.headers import BLOCK
from zsbench.leakage.reading.streams import Stream

MOST_TOLD = 1 << 20  # bytes of an extended header
SPECIAL = "is a link, a device or another special file"


class Hops:
    """data[lo:hi]: a stretch of a stream that goes forwards by reading and jumping. `origin`: place of data[0]."""

    def __init__(self, stream: Stream, step: int):
        self.stream, self.step = stream, step
        self.origin = self.lo = self.hi = 0
        self.data: Bytes = np.empty(2 * step, dtype=np.uint8)

    def bring(self, at: int, need: int) -> bool:
        """Makes data[at:] begin the buffer, with `need` bytes at least; false when the source has not so many."""
        kept = self.data[at : self.hi]
        if need > len(self.data):
            self.data = np.empty(need + self.step, dtype=np.uint8)
        self.data[: len(kept)] = kept
        self.stream.skip(max(at - self.hi, 0))
        self.origin, self.lo, self.hi = self.origin + at, 0, len(kept)
        asked = max(self.step, need - self.hi) if self.hi < need else 0
        self.hi += self.stream.fill(self.data[self.hi : self.hi + asked].data)
        return self.hi >= need

    def taken(self, size: int) -> bytes:
        """The next bytes, which stay where they are. Raises OSError when there are not so many."""
        if self.lo + size > self.hi and not self.bring(self.lo, size):
            raise OSError(f"the archive is cut off at byte {self.origin + self.hi:,}")
        return bytes(self.data[self.lo : self.lo + size])

    def only_zeros(self) -> bool:
        """Whether nothing but zeros comes from here to the end of the source."""
        while self.hi > self.lo:
            if self.data[self.lo : self.hi].any():
                return False
            self.bring(self.hi, 1)
        return True


def told(source: str, hops: Hops) -> tuple[Bytes, int]:
    """Name and size of the next member, from all headers that tell of it. Raises `UserError` for a hostile one."""
    name, size = None, -1
    while True:
        header = _header(hops)
        if header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE):
            said = _extended(_content(hops, header.size))
            if any(key.startswith("GNU.sparse") for key in said):
                raise _refused(source, header.name, SPECIAL)
            if header.type == tarfile.XGLTYPE and {"path", "size", "linkpath"} & set(said):
                raise OSError("a global header gives all members one name or size")
            name, size = said.get("path", name), int(said.get("size", size))
        elif header.type == tarfile.GNUTYPE_LONGNAME:
            name = _content(hops, header.size).partition(b"\0")[0].decode("utf-8", "surrogateescape")
        elif header.type == tarfile.GNUTYPE_LONGLINK:
            _content(hops, header.size)
        else:
            return _judged(source, header, name), _size(hops, header, size)


def _judged(source: str, header: tarfile.TarInfo, name: str | None) -> Bytes:
    name = header.name if name is None else name
    if leads_out(name):
        raise _refused(source, name, "leads out of the archive")
    if not (header.isreg() or header.isdir()) or header.type == tarfile.GNUTYPE_SPARSE:
        raise _refused(source, name, SPECIAL)
    return array(name or ".")


def _refused(source: str, name: str, what: str) -> UserError:
    return UserError(f"{source} is refused: its member {name[:200]!r} {what}.")


def _size(hops: Hops, header: tarfile.TarInfo, size: int) -> int:
    size = header.size if size < 0 else size
    if size < 0:
        raise OSError(f"broken header at byte {hops.origin + hops.lo:,}")
    return size


def _content(hops: Hops, size: int) -> bytes:
    """The content of the header at hand; goes on behind it."""
    if not 0 <= size <= MOST_TOLD:
        raise OSError(f"a header of {size:,} bytes")
    padded = -(-size // BLOCK) * BLOCK
    whole = hops.taken(BLOCK + padded)
    hops.lo += BLOCK + padded
    return whole[BLOCK : BLOCK + size]


def array(text: str) -> Bytes:
    return np.array(bytearray(text.encode("utf-8", "surrogateescape")), dtype=np.uint8)


def _header(hops: Hops) -> tarfile.TarInfo:
    raw = hops.taken(BLOCK)
    try:
        return tarfile.TarInfo.frombuf(raw, "utf-8", "surrogateescape")
    except tarfile.TarError as error:
        raise OSError(f"broken header at byte {hops.origin + hops.lo:,} ({error})") from error


def _extended(content: bytes) -> dict[str, str]:
    """The records `length key=value` of an extended header. Raises OSError for what is none."""
    said = {}
    while content.strip(b"\0"):
        length, _, _ = content.partition(b" ")
        if not length.isdigit() or len(length) > 7 or not len(length) + 3 < int(length) <= len(content):
            raise OSError("a broken extended header")
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        said[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        content = content[int(length) :]
    return said
