"""Features of frozen encoders kept on disk, so that a sweep over clusters or prompts encodes each image once.

One entry is one file: an .npy array with four bytes of checksum behind it, written beside its place and renamed into
it, read through a memory map, never a pickle. What is truncated or has lost a bit is made again. A cache is a help and no
part of the result: it is bounded, and where it cannot write it says so once and the run goes on.
"""

from __future__ import annotations

import re
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zsbench.atomic import replacing

KEY = re.compile(r"[0-9a-f]{12,128}")  # one case only: some file systems know no other
BFLOAT16 = np.dtype("V2")  # numpy has no bfloat16: two plain bytes, and nothing else here is stored so
SUM = 4  # bytes of checksum at the end of a file
HEADER = 64  # bytes of the shortest header that numpy writes; four zeros alone would be the right sum of nothing
LEFTOVER = 3600  # seconds after which a file that was never renamed belongs to a process that died


class FeatureCache:
    """Tensors by key in `folder`, at most `limit_bytes` of them. Threads and processes may share one folder.

    A key is a hex digest over everything that decides the tensor (weights, image, size, attention rule …): the same key
    means the same tensor, and whoever asks second gets what the first one made.
    """

    def __init__(self, folder: Path, limit_bytes: int):
        self.folder, self.limit_bytes = folder, limit_bytes
        self._full = False
        self._lock = threading.Lock()  # of deciding to write: two at once could pass the limit together
        _sweep(folder)

    def get_or_make(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """The tensor `key`, on the CPU: from disk, or made and kept. The same to the bit either way."""
        found = load(self.folder, key)
        if found is None:
            found = make().detach().cpu()
            self._keep(key, found)
        return found

    def batch(self, keys: Sequence[str], make: Callable[[list[int]], Tensor]) -> Tensor:
        """(len(keys), …) of tensors that stack. `make` gets the positions that are not there, and makes these at once."""
        found = [load(self.folder, key) for key in keys]
        missing = [position for position, tensor in enumerate(found) if tensor is None]
        if missing:
            for position, tensor in zip(missing, make(missing).detach().cpu(), strict=True):
                found[position] = tensor
                self._keep(keys[position], tensor)
        return torch.stack([tensor for tensor in found if tensor is not None])

    def _keep(self, key: str, tensor: Tensor) -> None:
        """Written where there is room. Counted anew each time: other processes write here, too, and making took longer."""
        with self._lock:
            if self._full or not tensor.numel():
                return None
            if used(self.folder) + tensor.numel() * tensor.element_size() > self.limit_bytes:
                return self._stop(f"holds its {self.limit_bytes / 1e9:g} GB")
            try:
                save(self.folder, key, tensor)
            except OSError as error:
                self._stop(f"cannot be written ({error.strerror})")

    def _stop(self, why: str) -> None:
        self._full = True
        print(f"feature cache {self.folder} {why}: nothing more is kept", file=sys.stderr, flush=True)


def save(folder: Path, key: str, tensor: Tensor) -> None:
    """One tensor under `key`, whole or not at all."""
    stored = tensor.detach().cpu().contiguous()
    array = stored.view(torch.int16).numpy().view(BFLOAT16) if stored.dtype == torch.bfloat16 else stored.numpy()
    with replacing(_path(folder, key)) as part:
        with part.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        with part.open("ab") as file:
            file.write(_sum(np.memmap(part, np.uint8, "r")))


def load(folder: Path, key: str) -> Tensor | None:
    """The tensor under `key`, memory-mapped; None where there is none, or none that is whole. Writing into it does not
    reach the file."""
    path = _path(folder, key)
    try:
        raw = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError):  # absent; empty
        return None
    if len(raw) < HEADER + SUM or raw[-SUM:].tobytes() != _sum(
        raw[:-SUM]
    ):  # before numpy reads a header that may say anything
        return None
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if array.dtype == BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def used(folder: Path) -> int:
    """Bytes of all entries."""
    return sum(file.stat().st_size for file in folder.glob("*.npy"))


def _path(folder: Path, key: str) -> Path:
    if not KEY.fullmatch(key):
        raise ValueError(f"a feature's key is a hex digest of 12 to 128 small digits, got {key!r}")
    return folder / f"{key}.npy"


def _sum(data: np.ndarray) -> bytes:
    return zlib.crc32(data.data).to_bytes(SUM, "little")


def _sweep(folder: Path) -> None:
    """Takes away what killed processes left half-written; those of living ones are younger."""
    for part in folder.glob(".*.part"):
        try:
            if time.time() - part.stat().st_mtime > LEFTOVER:
                part.unlink()
        except FileNotFoundError:  # another process was quicker
            continue
