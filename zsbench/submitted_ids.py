"""What the ids of label maps that were handed in mean: by a class file, by name, never by position in some other list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from tqdm import tqdm

from zsbench.data.class_file import CLASS_FILES, VOID, matched, outside, plain, read_class_file
from zsbench.data.context_ids import ORDERS, order_ids
from zsbench.data.dataset import IGNORED
from zsbench.data.lists import examples
from zsbench.data.universes import CONTEXT_59, position
from zsbench.errors import UserError
from zsbench.predictions import CLASSES, SHOWN, Shown, values_of
from zsbench.split import Split


def class_file(told: Path | None, folders: Mapping[Shown, Path], split: Split) -> Path:
    """The file that was named, or a word of ORDERS for Context; else the one that lies with the label maps."""
    context = split.dataset.startswith("context")
    if told is not None:
        if str(told) in ORDERS and not context:
            raise UserError(
                f"--classes {told} is an order of PASCAL Context's classes; {split.name} is of {split.dataset}"
            )
        return told
    places = dict.fromkeys(folder.parent if folder.name in SHOWN else folder for folder in folders.values())
    found = [place / name for place in places for name in CLASS_FILES if (place / name).is_file()]
    read = [read_class_file(file) for file in found]
    for other in read[1:]:
        if (other.names, other.open) != (read[0].names, read[0].open):
            raise UserError(
                f"{found[0]} and {other.file} differ; ids of both scopes mean the same: give --classes FILE"
            )
    if found:
        return found[0]
    words = f" (or a word: {', '.join(ORDERS)})" if context else ""
    raise UserError(
        f"nothing says what the ids in {next(iter(folders.values()))} mean, and ids are never guessed: give --classes "
        f"FILE{words}, or put {CLASSES} beside the label maps, with lines such as '0: background'"
    )


def class_names(file: Path, first_id: int | None, maps: Sequence[Path], split: Split) -> dict[int, str]:
    """id -> name. The maps are looked through only where the file leaves open from where ids count and they can tell.

    That is so for the 59 names of PASCAL Context alone, as for its own label maps (`context_ids`).
    """
    if str(file) in ORDERS:
        return order_ids(str(file), first_id).stored
    told = read_class_file(file)
    values = set[int]()
    tells = split.dataset.startswith("context") and len(told.names) == len(CONTEXT_59)
    if told.open and first_id is None and tells:
        bar = tqdm(maps, desc="look at ids", unit="img", leave=False, mininterval=0.5)
        values = values_of(bar)
    return told.settled(values, first_id, largest_tells=tells)


def candidates(names: Mapping[int, str], split: Split, classes: Sequence[str]) -> dict[int, int]:
    """id -> position in the split, of those ids whose names are names of the split. classes: those of the data set."""
    meant = {i: name for i, name in names.items() if not _means_nothing(i, name)}
    known = {name: classes.index(cls) for name, cls in matched(meant.values(), classes).items()}
    wanted = {position(name, classes): place for place, name in enumerate(split.names)}
    found = {i: wanted.get(known.get(name, -1)) for i, name in meant.items()}
    return {i: place for i, place in found.items() if place is not None}


def _means_nothing(value: int, name: str) -> bool:
    """What label maps say of pixels without a class: "255: unlabeled". Background is one where it has that very name."""
    return plain(name) in VOID or (value == IGNORED and outside(name) and plain(name) != "background")


def refuse_unnamed(names: Mapping[int, str], split: Split, classes: Sequence[str], scopes: Sequence[Shown]) -> None:
    """A name of the split that no id has would be a class that cannot be predicted: a slip of the class file."""
    have = candidates(names, split, classes)
    wanted = split.names if "all" in scopes else split.unseen
    missing = [name for name in wanted if split.names.index(name) not in have.values()]
    if missing == ["background"]:
        raise UserError(
            f"no id for background, which {split.name} scores as a class: add a line such as '0: background'"
        )
    if missing:
        others = [name for i, name in names.items() if i not in have]
        near = get_close_matches(missing[0], others, n=1, cutoff=0.5)
        hint = f" Is '{near[0]}' meant to be '{missing[0]}'?" if near else ""
        raise UserError(f"no id for {examples(missing)} of {split.name} in the class file.{hint}")
