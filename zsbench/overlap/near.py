"""Which of many pictures look alike: hashes of all pairs compared in blocks, candidates looked at a second time.

The distance of two hashes of ± 1 is a product, so that one matrix product compares a block, on every version of numpy:
10,000 × 10,000, as they stand and mirrored, take 0.8 s of one core. Memory is bounded by the block, whatever the lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zsbench.overlap.looks import ALIKE, FAR, NEAR, SIDE, UNLIKE, Look

BITS = 64
ROWS, COLUMNS = 512, 8192  # 17 MB of products
SECOND = 4096  # candidates looked at a second time at once: 33 MB


class Match(NamedTuple):
    """a, b: positions in the two lists of pictures. distance: bits of 64. alike: correlation of the grey copies."""

    a: int
    b: int
    distance: int
    alike: float
    mirrored: bool


@dataclass(frozen=True, eq=False)
class Stack:
    """Many looks as arrays. signs, mirrored: (N, 64) float32, ± 1; grey: (N, 32, 32) uint8."""

    signs: np.ndarray
    mirrored: np.ndarray
    grey: np.ndarray

    @classmethod
    def of(cls, looks: Sequence[Look]) -> Stack:
        grey = np.frombuffer(b"".join(look.grey for look in looks), np.uint8).reshape(-1, SIDE, SIDE)
        return cls(_signs([look.hash for look in looks]), _signs([look.mirrored for look in looks]), grey)

    def __len__(self) -> int:
        return len(self.signs)


def _signs(hashes: Sequence[bytes]) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, BITS // 8), axis=1)
    return bits.astype(np.float32) * 2 - 1


def matches(first: Stack, second: Stack | None = None, most: int = 200_000) -> Iterator[Match]:
    """Every pair that looks alike, by rows of `first`; without `second` the pairs within `first`, each once.

    Ends after `most` pairs: among many frames of one film every pair is one.
    """
    other = first if second is None else second
    found = 0
    for top in range(0, len(first), ROWS):
        block: dict[tuple[int, int], Match] = {}
        for left in range(0, len(other), COLUMNS):
            if second is None and left + COLUMNS <= top:
                continue
            for mirrored in (False, True):
                for match in _block(first, other, top, left, mirrored):
                    known = block.get((match.a, match.b))
                    if (second is not None or match.a < match.b) and (known is None or match.distance < known.distance):
                        block[match.a, match.b] = match
                    if found + len(block) >= most:
                        yield from sorted(block.values())
                        return
        found += len(block)
        yield from sorted(block.values())


def unlike(first: Stack, second: Stack) -> np.ndarray:
    """(N,) bool: whether the i-th picture of one and the i-th of the other are surely two, as they stand and mirrored."""
    result = np.ones(len(first), bool)
    for top in range(0, len(first), SECOND):
        some = slice(top, top + SECOND)
        for mirrored in (False, True):
            signs = (second.mirrored if mirrored else second.signs)[some]
            distances = (BITS - np.einsum("ij,ij->i", first.signs[some], signs)) / 2
            alike = _alike(first.grey[some], second.grey[some], mirrored)
            result[some] &= (distances > FAR) & (alike < UNLIKE)
    return result


def _block(first: Stack, other: Stack, top: int, left: int, mirrored: bool) -> Iterator[Match]:
    signs = (other.mirrored if mirrored else other.signs)[left : left + COLUMNS]
    products = first.signs[top : top + ROWS] @ signs.T
    rows, columns = np.nonzero(products >= BITS - 2 * NEAR)
    for start in range(0, len(rows), SECOND):
        some = slice(start, start + SECOND)
        a, b = rows[some] + top, columns[some] + left
        alike = _alike(first.grey[a], other.grey[b], mirrored)
        distances = (BITS - products[rows[some], columns[some]]) / 2
        for place in np.flatnonzero(alike >= ALIKE):
            yield Match(int(a[place]), int(b[place]), int(distances[place]), float(alike[place]), mirrored)


def _alike(first: np.ndarray, second: np.ndarray, mirrored: bool) -> np.ndarray:
    """Correlation of grey copies (N, 32, 32) in pairs; 0 where one of them is a single colour."""
    a, b = _centred(first), _centred(second[:, :, ::-1] if mirrored else second)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.einsum("ij,ij->i", a, b) / np.maximum(lengths, 1e-6)


def _centred(grey: np.ndarray) -> np.ndarray:
    flat = grey.reshape(len(grey), -1).astype(np.float32)
    return flat - flat.mean(axis=1, keepdims=True)
