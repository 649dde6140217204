"""What readers hand to the engine: many captions in one buffer of bytes, and a count of everything that came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Every record of a stretch of the source, in its order; one without a readable caption has `starts == ends`.

    Captions are UTF-8, `data[starts[i] : ends[i]]`; no Python string is made for them on the way.
    """

    data: Bytes
    starts: Places
    ends: Places
    first: int = 0  # ordinal of the first record within its fragment
    records: tuple[Places, Places] | None = None  # extents of the raw records with their line ends, for rewriting
    keys: Sequence[str | int] | None = None  # the source's own names of the records, where it has them
    unreadable: NDArray[np.bool_] | None = None  # records whose caption nobody could read

    def __len__(self) -> int:
        return len(self.starts)

    def caption(self, index: int) -> bytes:
        return bytes(self.data[self.starts[index] : self.ends[index]])


def batch_of(captions: Sequence[str], first: int = 0) -> Batch:
    """The same captions as one batch; a lone surrogate, which no file can hold, becomes a question mark."""
    parts = [caption.encode("utf-8", errors="replace") for caption in captions]
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    data = np.frombuffer(b"".join(parts) or b"\0", dtype=np.uint8)
    return Batch(data, ends - np.array([len(part) for part in parts], dtype=np.int64), ends, first)


@dataclass
class Intake:
    """What came in from a source. Readers count how it lay there, the engine what its letters were."""

    records: int = 0
    nulls: int = 0
    empty: int = 0
    malformed: int = 0  # not split into the expected fields, no JSON, no such column: the caption is not known
    over_long: int = 0  # longer than the reader keeps: the caption is not known
    undecodable: int = 0  # invalid UTF-8: scanned, with U+FFFD for what is no letter
    nul: int = 0  # captions with a NUL byte: scanned
    non_latin: int = 0  # captions with letters of another script, which no English form can match
    bytes: int = 0
    broken: str = ""  # why the source could not be read to its end

    def __add__(self, other: Intake) -> Intake:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "broken"}
        reasons = dict.fromkeys(reason for reason in (self.broken, other.broken) if reason)
        return Intake(**sums, broken="; ".join(reasons))

    @property
    def captions(self) -> int:
        """Records that held a caption."""
        return self.records - self.nulls - self.empty - self.malformed - self.over_long

    @property
    def unread(self) -> int:
        """Records that may have held a caption nobody saw as it was meant."""
        return self.malformed + self.over_long + self.undecodable

    def as_dict(self) -> dict[str, int | str]:
        return asdict(self)
