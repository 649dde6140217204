"""Class vectors: what a method knows of a class that it never saw labelled, one row per class name.

    factor, factor64          drawn scenes only: the true looks of the classes, 300 or 64 wide
    random, random:DIM        control 1: unit rows without meaning, from seed and name alone
    permuted, permuted:SPEC   control 2: SPEC (factor) with the unseen classes' rows passed on in a circle, none keeping its own
    clip:ARCH, clip:ARCH:TAG-OR-FILE   text features of "a photo of a {name}."; pretrained ones have read image captions
    FILE.bin, .vec, .txt      word vectors (`vector_files.py`), also .gz
    FILE.npy                  a table with named rows (`vector_tables.py`)
    A+B                       both side by side: each row of a part made unit length, then the whole (SPNet's 600)

Rows are found by NAME, never by position; `vector_words.py` holds the rule. Rows of a single file keep their lengths: some
published tables are unit, some raw (word2vec: 2 to 4), and ZS3Net's VOC table has means of unit vectors (0.68 to 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zsbench.data.dataset import Dataset
from zsbench.data.guard import GuardError, admitted, is_admitted
from zsbench.data.vector_sources import Request, Table, open_table
from zsbench.errors import UserError
from zsbench.split import Split


class ClassVectors:
    """One vector per class name. Names in `closed` open only after `fit`: by then no method can train on them."""

    def __init__(
        self, rows: Mapping[str, np.ndarray], ledger: Mapping[str, Any], closed: Mapping[str, str] | None = None
    ):
        """rows: spoken name -> (dim,). closed: spoken name -> the split's name, which the ledger holds back too."""
        self._rows, self._ledger, self._closed = dict(rows), dict(ledger), dict(closed or {})
        self.dim = len(next(iter(self._rows.values())))

    def rows(self, names: Sequence[str]) -> np.ndarray:
        """(len(names), dim) float32, a copy. Names are as the method hears them."""
        strange = [name for name in names if name not in self._rows or name in self._closed]
        if strange and self._closed:  # the same for a name that is not in the split: nothing can be found out by asking
            raise GuardError(
                f"no vector is open for {', '.join(map(repr, strange))}: vectors of unseen classes are closed until fit"
                f" has ended; declare unseen_names='training' to use them in training"
            )
        if strange:
            raise KeyError(f"no class of this split is called {', '.join(map(repr, strange))}")
        return np.stack([self._rows[name] for name in names]) if len(names) else np.empty((0, self.dim), np.float32)

    def open_unseen(self) -> None:
        """The harness's own, once `fit` has ended; GuardError for anybody else."""
        if not is_admitted():
            raise GuardError("vectors of unseen classes are opened by the harness, when fit has ended")
        self._closed.clear()

    def ledger(self) -> dict[str, Any]:
        """What the vectors are, for the record; "words" holds the classes that are open."""
        hidden = set(self._closed.values())
        return self._ledger | {"words": {k: v for k, v in self._ledger["words"].items() if k not in hidden}}


def open_vectors(
    spec: str,
    split: Split,
    dataset: Dataset,
    root: Path,
    spoken: Sequence[str],
    *,
    names: str = "",
    seed: int = 0,
    closed: bool = False,
) -> ClassVectors:
    """The vectors of a split's classes. `spoken`: its names as the method hears them; `names`: see `vector_tables.py`.

    closed: keep the unseen classes' rows back until `open_unseen`. Raises UserError for a wrong spec, a file that is not
    what it should be, and classes without a vector, all of which it lists.
    """
    if names and ".npy" not in spec:
        raise UserError(f"vector_names = {names!r} names the rows of an .npy table, and '{spec}' is none; leave it out")
    with admitted():
        table = open_table(spec.strip(), Request(split, dataset, Path(root), list(spoken), names, seed))
    _check_rows(table, split.names)
    words = dict(zip(split.names, table.how, strict=True))
    facts = ("source", "sha256", "kind", "corpus", "leaks", "control")
    ledger = {name: getattr(table, name) for name in facts} | {"dim": table.rows.shape[1], "words": words}
    held = dict(zip(spoken, split.names, strict=True)) if closed else {}
    return ClassVectors(
        dict(zip(spoken, table.rows, strict=True)), ledger, {k: v for k, v in held.items() if v in split.unseen}
    )


def _check_rows(table: Table, names: Sequence[str]) -> None:
    """Every class's row must be a direction: finite and not zero."""
    wrong = [name for name, row in zip(names, table.rows, strict=True) if not (np.isfinite(row).all() and row.any())]
    if wrong:
        raise UserError(f"{table.source}: the vectors of {', '.join(wrong)} hold nan or inf, or nothing but zeros")
