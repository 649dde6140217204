"""What label maps hold, as part of a data set's fingerprint: numbers of corrected label maps are numbers of other data.

The readers' fingerprints are of lists, ids and forms; `sealed` adds SHA-256 of every listed label map's bytes, by image
name. Places count for nothing: the same files in another folder have the same fingerprint. Photographs stay unhashed:
they are ten times the bytes, and whoever edits one without its label map must give --force to runs that are kept.
Drawn scenes keep their fingerprint, which is that of generator and seed.

Two cores, files in the page cache: 12,000 label maps of 10 kB take 0.6 s, 123,000 of 2 kB 8 s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from zsbench.data.dataset import Dataset
from zsbench.data.guard import admitted
from zsbench.data.own_dataset import OwnDataset
from zsbench.errors import UserError

THREADS = 8  # they wait for the disk, not for a core
MANY = 5_000  # files; fewer need no bar


def sealed(dataset: Dataset) -> Dataset:
    """The data set with the contents of its label maps in its fingerprint. Raises UserError for a file that cannot be
    read."""
    if dataset.origin.kind == "drawn":
        return dataset
    keys = sorted({key for part in dataset.parts.values() for key in part})
    found = digests(keys, _reader(dataset), "reading label maps")
    whole = hashlib.sha256(dataset.origin.fingerprint.encode())
    for key in keys:
        whole.update(f"\n{key} {found[key]}".encode())
    made: Any = dataset  # every reader's data set is a dataclass; the protocol cannot say so
    sealed_set: Dataset = replace(made, origin=replace(dataset.origin, fingerprint=whole.hexdigest()[:12]))
    return sealed_set


def digests(keys: Sequence[str], digest: Callable[[str], str], what: str) -> dict[str, str]:
    """Key -> digest(key), by a few threads that the guard lets pass."""

    def admitted_digest(key: str) -> str:
        with admitted():  # it counts for one thread
            return digest(key)

    with ThreadPoolExecutor(THREADS) as pool:
        bar = tqdm(
            pool.map(admitted_digest, keys),
            what,
            len(keys),
            False,
            unit="file",
            disable=None if len(keys) > MANY else True,
        )
        return dict(zip(keys, bar, strict=True))


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces. Raises UserError where it cannot be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as fault:
        raise UserError(f"{file}: cannot be read ({fault.strerror or fault}).") from None


def _reader(dataset: Dataset) -> Callable[[str], str]:
    if isinstance(dataset, OwnDataset):
        return dataset.pictures.mask_sha256
    masks: dict[str, Path] = getattr(dataset, "masks")  # noqa: B009  published data sets have it, the protocol has not
    return partial(_of_file, masks)


def _of_file(files: dict[str, Path], key: str) -> str:
    return file_sha256(files[key])
