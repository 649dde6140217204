"""Opens whatever data set lies in a folder: the layout tells which, and the splits that are asked for where it fits two.

An address hf:… is a Hugging Face data set; a path without it that holds parquet or what save_to_disk wrote is one too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from zsbench.data import cocostuff, context, hub, own, voc
from zsbench.data.contents import sealed
from zsbench.data.dataset import Dataset
from zsbench.data.hub_source import PREFIX
from zsbench.data.reader import Hints, Reader
from zsbench.data.voc_folder import DRAW
from zsbench.errors import UserError, unknown
from zsbench.overlap.training import shared_faults

READERS: tuple[Reader, ...] = (voc.READER, context.READER, cocostuff.READER, hub.READER, own.READER)

OPTIONS = {
    "classes": "--classes", "first_id": "--first-id", "image": "--image-column", "mask": "--mask-column",
}  # fmt: skip


def open_dataset(
    source: str | Path, wanted: Collection[str] = (), hints: Hints | None = None, kind: str | None = None
) -> Dataset:
    """The data set at `source`, verified, with its label maps in the fingerprint (`contents.sealed`).

    wanted: data sets of the splits to run; kind: a reader's name.
    Raises `UserError` with the first fault, with the command that lists them all where there are more.
    """
    dataset, faults = survey(source, wanted, hints, kind)
    if faults:
        more = f" ({len(faults) - 1} more faults: zsbench data check {source})" if len(faults) > 1 else ""
        raise UserError(faults[0] + more)
    refuse_other(dataset, wanted)
    return sealed(dataset)


def survey(
    source: str | Path, wanted: Collection[str] = (), hints: Hints | None = None, kind: str | None = None
) -> tuple[Dataset, list[str]]:
    """The data set as far as it is there, and all its faults as far as file names and lists tell.

    Where a reader finds none, training and test lists are held against each other (`overlap.training`).
    """
    root, hints = Path(source), hints or Hints()
    reader = _reader(root, wanted, kind)
    _refuse_unheard(root, reader, hints)
    dataset, faults = reader.survey(root, hints)
    return dataset, faults or list(shared_faults(dataset))


def _refuse_unheard(root: Path, reader: Reader, hints: Hints) -> None:
    """Something said of the data that changes nothing would be believed to have changed it."""
    for hint, option in OPTIONS.items():
        if getattr(hints, hint) is not None and hint not in reader.hears:
            raise UserError(f"{option}: {root} is read as {reader.title}, which does not use it; leave it out")


def refuse_other(dataset: Dataset, wanted: Collection[str]) -> None:
    """Raises UserError where a split needs another data set than this one.

    wanted: data sets of splits; a mapping gives the names of the splits too.
    """
    splits = wanted if isinstance(wanted, Mapping) else {}
    served = [split for name in wanted if name in dataset.serves for split in splits.get(name, ())]
    for name in wanted:
        if name not in dataset.serves and served:
            raise UserError(
                f"one command reads one data set: {dataset.root} holds {dataset.origin.title}, which serves "
                f"{', '.join(served)}, but {', '.join(splits[name])} needs {name}: run the two in commands of their own"
            )
        if name not in dataset.serves:
            raise UserError(
                f"{dataset.root} holds {dataset.origin.title}, which serves splits of {', '.join(dataset.serves)}; "
                f"a split asked for needs {name}: point --data at that data set (zsbench list shows each split's)"
            )


def _reader(root: Path, wanted: Collection[str], kind: str | None) -> Reader:
    if not is_address(root) and not root.exists():
        raise UserError(f"{root}: no such folder; expected one of: {_layouts()}. {DRAW}")
    if kind is not None:
        named = {reader.name: reader for reader in READERS}
        if kind not in named:
            raise unknown("kind of data", kind, named)
        if is_address(root) and kind != hub.READER.name:
            raise UserError(f"{root} is an address of {hub.READER.title}; leave --as {kind} out")
        return named[kind]
    if is_address(root):
        return hub.READER
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


def is_address(source: str | Path) -> bool:
    """Whether this is hf:… and no plain path."""
    return str(source).startswith(PREFIX)


def _layouts() -> str:
    return "; ".join(f"{reader.title} ({reader.layout})" for reader in READERS)
