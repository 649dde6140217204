"""Opens whatever data set lies in a folder: the layout tells which, and the splits that are asked for where it fits two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsbench.data import voc
from zsbench.data.dataset import Dataset
from zsbench.data.reader import Hints, Reader
from zsbench.data.voc_folder import DRAW
from zsbench.errors import UserError, unknown

READERS: tuple[Reader, ...] = (voc.READER,)


def open_dataset(
    source: str | Path, wanted: Sequence[str] = (), hints: Hints | None = None, kind: str | None = None
) -> Dataset:
    """The data set at `source`, verified. `wanted`: data sets of the splits to run; `kind`: a reader's name.

    Raises `UserError` with the first fault, with the command that lists them all where there are more.
    """
    dataset, faults = survey(source, wanted, hints, kind)
    if faults:
        more = f" ({len(faults) - 1} more faults: zsbench data check {source})" if len(faults) > 1 else ""
        raise UserError(faults[0] + more)
    refuse_other(dataset, wanted)
    return dataset


def survey(
    source: str | Path, wanted: Sequence[str] = (), hints: Hints | None = None, kind: str | None = None
) -> tuple[Dataset, list[str]]:
    """The data set as far as it is there, and all its faults as far as file names and lists tell."""
    root = Path(source)
    return _reader(root, wanted, kind).survey(root, hints or Hints())


def refuse_other(dataset: Dataset, wanted: Sequence[str]) -> None:
    """Raises UserError where a split needs another data set than this one."""
    for name in wanted:
        if name not in dataset.serves:
            raise UserError(
                f"{dataset.root} holds {dataset.origin.title}, which serves splits of {', '.join(dataset.serves)}; "
                f"a split asked for needs {name}: point --data at that data set (zsbench list shows each split's)"
            )


def _reader(root: Path, wanted: Sequence[str], kind: str | None) -> Reader:
    if kind is not None:
        named = {reader.name: reader for reader in READERS}
        if kind not in named:
            raise unknown("kind of data", kind, named)
        return named[kind]
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; expected one of: {_layouts()}. {DRAW}")
    fitting = [reader for reader in READERS if reader.recognises(root)]
    if not fitting:
        raise UserError(f"{root}: no data set that zsbench knows; expected one of: {_layouts()}. {DRAW}")
    serving = [reader for reader in fitting if set(wanted) & set(reader.serves)] or fitting
    if len(serving) > 1:
        names = ", ".join(reader.name for reader in serving)
        raise UserError(
            f"{root} holds more than one data set ({names}); name the folder of one, or say --as {serving[0].name}"
        )
    return serving[0]


def _layouts() -> str:
    return "; ".join(f"{reader.title} ({reader.layout})" for reader in READERS)
