"""Which items make up a batch, as a pure function of its number: what makes resuming exact and ranks agree."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Sampler:
    """Walks through `size` items in a new shuffled order each epoch; a stream (`size` None) is walked in its own order."""

    size: int | None
    batch: int
    seed: int

    def positions(self, number: int) -> list[int]:
        """Item positions of batch `number`, all rows of all processes. Batches run across epoch borders."""
        flat = range(number * self.batch, (number + 1) * self.batch)
        if self.size is None:
            return list(flat)
        return [int(_order(self.size, self.seed, i // self.size)[i % self.size]) for i in flat]


@lru_cache(maxsize=4)
def _order(size: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(size)
