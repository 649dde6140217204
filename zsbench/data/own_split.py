"""The split of a user's own data, and how any split meets the data set it runs on.

`--split own` is made from the classes of the data and from unseen.txt in its folder. A split file with dataset = "own"
can only be checked when the data is open: here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from zsbench.data.class_file import plain
from zsbench.data.dataset import Dataset
from zsbench.data.own_dataset import OwnDataset
from zsbench.errors import UserError, unknown
from zsbench.split import OWN, Split, load_split

UNSEEN = "unseen.txt"
LARGEST = 2**20  # bytes


def split_for(name: str, dataset: Dataset) -> Split:
    """The split `name` on this data, its classes checked against the data's. Raises UserError.

    Whether the data set serves the split is another question: `opening.refuse_other`.
    """
    split = own_split(dataset) if name == OWN else load_split(name)
    if split.dataset == OWN and isinstance(dataset, OwnDataset):
        split = _in_its_words(split, dataset)
    if split.background == "seen" and split.dataset in dataset.serves and "background" not in dataset.classes:
        raise UserError(
            f"split '{split.name}' counts background as a seen class, and {dataset.origin.title} has none: no id of its "
            "label maps is named background"
        )
    return split


def own_split(dataset: Dataset) -> Split:
    """The split "own" of a data set: every class that unseen.txt does not name is seen, background is ignored."""
    if not isinstance(dataset, OwnDataset):
        raise UserError(
            f"split 'own' is made from your own classes, and {dataset.root} holds {dataset.origin.title}: "
            "point --data at your folder or table, or name a published split (zsbench list)"
        )
    if dataset.unseen is None or not dataset.unseen.is_file():
        place = f"{dataset.unseen}: no such file; write the names of the unseen classes there, one per line, or"
        raise UserError(
            f"{place if dataset.unseen else f'{dataset.origin.title} does not say which classes are unseen;'} give a split "
            'file with dataset = "own": --split ./mine.toml'
        )
    unseen, faults = _unseen(dataset, dataset.unseen)
    if faults:
        raise UserError(faults[0])
    seen = tuple(name for name in dataset.classes if name not in unseen and name != "background")
    return Split(
        name=OWN,
        dataset=OWN,
        title=f"{dataset.origin.title}, {len(seen)} seen / {len(unseen)} unseen, background ignored",
        source=f"{UNSEEN} beside the data",
        seen=seen,
        unseen=unseen,
        background="ignore",
        train_policy="mask",
        notes=("The classes and the choice of the unseen ones are the user's own: these numbers are nobody else's.",),
    )


def unseen_faults(dataset: OwnDataset) -> list[str]:
    """What is wrong with unseen.txt, where it is there."""
    return _unseen(dataset, dataset.unseen)[1] if dataset.unseen and dataset.unseen.is_file() else []


def _unseen(dataset: OwnDataset, file: Path) -> tuple[tuple[str, ...], list[str]]:
    classes = [name for name in dataset.classes if name != "background"]
    names, faults = _lines(file)
    if faults:
        return (), faults
    found, strange = [], []
    for name in names:
        called = dataset.ids.called.get(plain(name))
        if called in classes:
            found.append(called)
        elif called:
            faults.append(f"{file}: background is no unseen class; take it out.")
        else:
            strange.append(name)
    faults += [f"{file}: {unknown('class', name, [*dict.fromkeys(classes)])}" for name in strange]
    faults += [f"{file}: class '{name}' is named {n} times." for name, n in Counter(found).items() if n > 1]
    if not names:
        faults.append(f"{file}: no class in it; name at least one of {', '.join(classes[:8])}.")
    elif len(set(found)) == len(classes):
        faults.append(f"{file}: all {len(classes)} classes are unseen; at least one must be left to be seen.")
    return tuple(name for name in dataset.classes if name in found), faults


def _lines(file: Path) -> tuple[list[str], list[str]]:
    try:
        if file.stat().st_size > LARGEST:
            return [], [f"{file}: larger than {LARGEST >> 20} MiB; expected a few class names."]
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        return [], [f"{file}: cannot be read as a list of class names ({fault})."]
    return [line.strip() for line in text.splitlines() if line.strip()], []


def _in_its_words(split: Split, dataset: OwnDataset) -> Split:
    """The split in the data's spelling of the names; an unknown class is refused with the nearest right one."""
    called = dataset.ids.called
    known = [name for name in dataset.classes if name != "background" or split.background == "seen"]
    for name in split.names:
        if called.get(plain(name)) not in known:
            raise UserError(f"split '{split.name}': {unknown(f'class of {dataset.origin.title}', name, known)}")
    seen, unseen = (tuple(called[plain(name)] for name in names) for names in (split.seen, split.unseen))
    if twice := [name for name, times in Counter((*seen, *unseen)).items() if times > 1]:
        raise UserError(f"split '{split.name}': class '{twice[0]}' is named in two spellings; it stands in one place.")
    return replace(split, seen=seen, unseen=unseen)
