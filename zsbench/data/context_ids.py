"""Which id of a PASCAL Context label map means which class. An index has two usual meanings, so it is never guessed.

The official .mat files count in the list of 459; PNGs count their 59 classes in one of two orders, which are told apart by
a class file alone:

    459-sorted    1 aeroplane, 2 bag, 3 bed …         the Detail API and mmsegmentation, CAT-Seg, MaskCLIP, ZegCLIP
    voc-first     1 aeroplane, 2 bicycle, 3 bird …    FCN, ZS3Net, JoEm; the official list of 59, in other spelling

0 is background in both. Where ids count from 0 (zsseg, CAT-Seg: mask minus one in 8 bits), background has wrapped to 255.
PNGs of the protocol of 33 classes have 0 = unlabelled; that area is ignored, and only that protocol is served.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsbench.data.class_file import ClassFile, matched, outside, read_class_file, table_of
from zsbench.data.dataset import IGNORED
from zsbench.data.universes import CONTEXT_33, CONTEXT_59, CONTEXT_59_VOC_FIRST, CONTEXT_459_IDS, UNIVERSES
from zsbench.errors import UserError

# Words that stand for a class file; they go before a file so named.
ORDERS = {"459-sorted": CONTEXT_59, "voc-first": CONTEXT_59_VOC_FIRST}
FILES = (
    "classes.txt",
    "class_names.txt",
    "labels.txt",
    "classes-59.txt",
    "59_labels.txt",
    "classes-33.txt",
    "33_labels.txt",
)
CLASSES = UNIVERSES["context60"]
UNKNOWN = -1
_SERVES_59 = ("context60", "context59", "context33")
HOW = (
    "say --classes 459-sorted (1 aeroplane, 2 bag, 3 bed …: mmsegmentation, CAT-Seg, ZegCLIP), --classes voc-first "
    "(1 aeroplane, 2 bicycle, 3 bird …: FCN, ZS3Net), or --classes FILE (or put classes.txt there) with lines such as '2: bag'"
)


@dataclass(frozen=True, eq=False)
class Ids:
    """stored: id in the files -> class; table: the same as positions in `classes`, 255 = ignored, UNKNOWN = no class.

    told: by whom, in words; format: "png" or "mat".
    """

    format: str
    told: str
    classes: tuple[str, ...]
    serves: tuple[str, ...]
    stored: dict[int, str]
    table: np.ndarray

    def resolve(self, mask: Path, ids: np.ndarray) -> np.ndarray:
        """(H, W) uint8 positions in `classes`. Raises UserError naming the file and the ids that mean nothing."""
        inside = (ids >= 0) & (ids < len(self.table))
        found = self.table[ids if inside.all() else np.where(inside, ids, 0)]
        if not inside.all() or (found == UNKNOWN).any():
            wrong = [int(i) for i in np.unique(ids[~inside | (found == UNKNOWN)])]
            raise UserError(self._wrong(mask, wrong))
        return found.astype(np.uint8)

    def _wrong(self, mask: Path, wrong: Sequence[int]) -> str:
        some = ", ".join(map(str, wrong[:8])) + (" …" if len(wrong) > 8 else "")
        if self.format == "mat":
            return f"{mask}: label values {some}; expected ids of the official list, 1 to 459."
        most = max(i for i in self.stored if i != IGNORED)
        text = f"{mask}: label values {some}, which {self.told} gives no class (it names {min(self.stored)} to {most})."
        first = next(iter(CONTEXT_33 if self.classes == CONTEXT_33 else CONTEXT_59))
        if set(wrong) == {IGNORED} and not self.wrapped:
            return f"{text} Background has wrapped to 255 where ids count from 0 (mask minus one): {_count(0, first)}."
        if self.wrapped and set(wrong) == {most + 1}:
            return f"{text} These ids count from 1, and 0 is background: {_count(1, first)}."
        return (
            f"{text} Ids of the list of 459 cut to 8 bits, and palettes turned into grey values, look like that: take the "
            "original file."
        )

    @property
    def wrapped(self) -> bool:
        return self.format == "png" and IGNORED in self.stored


def official_ids(labels: Path | None) -> Ids:
    """Ids of the official .mat files. `labels`: the list of 459 that lies beside them; it is held against the ids here."""
    if labels is not None:
        _refuse_other_list(labels)
    table = np.zeros(460, np.int16)
    table[0] = UNKNOWN
    stored = dict(zip(CONTEXT_459_IDS, CONTEXT_59, strict=True))
    for position, i in enumerate(CONTEXT_459_IDS, 1):
        table[i] = position
    return Ids("mat", "the official list of 459", CLASSES, _SERVES_59, stored, table)


def is_list_of_459(file: ClassFile) -> bool:
    return len(file.names) > 100


def png_ids(
    given: Path | None, first_id: int | None, found: Sequence[Path], values: Callable[[int], Collection[int]]
) -> Ids:
    """Ids of PNGs by `given` (a class file or a word of ORDERS), else by the class files `found` in the folder, one at least.

    values(n): ids that occur in label maps; asked only where a file of n names leaves it open.
    Raises UserError where two files disagree, or a file fits both ways of counting.
    """
    if given is not None:
        word = str(given)
        return order_ids(word, first_id) if word in ORDERS else _of_file(read_class_file(given), first_id, values)
    files = [read_class_file(file) for file in found]
    told = [_of_file(file, first_id, values) for file in files]
    for file, ids in zip(files[1:], told[1:], strict=True):
        if not np.array_equal(ids.table, told[0].table) or ids.classes != told[0].classes:
            raise UserError(
                f"{files[0].file} and {file.file.name} give the ids other classes: {_first_difference(told[0], ids)}; {HOW}."
            )
    return told[0]


def order_word(ids: Ids) -> str:
    """The word for the order in which ids rise, or "" where it is none of the usual."""
    ranked = [ids.stored[i] for i in sorted(ids.stored) if ids.stored[i] != "background"]
    return next((word for word, names in ORDERS.items() if ranked == list(names)), "")


def order_ids(word: str, first_id: int | None = None) -> Ids:
    """Ids in one of the two usual orders; `first_id` 0 where background has wrapped to 255."""
    return _ids(dict(enumerate(ORDERS[word], 1 if first_id is None else first_id)), f"order {word}")


def _of_file(file: ClassFile, first_id: int | None, values: Callable[[int], Collection[int]]) -> Ids:
    seen = values(len(file.names)) if file.open and first_id is None else ()
    # PNGs of the 59 that count from 0 have background at 255 (mask minus one): 59 is then no id at all.
    names = file.settled(seen, first_id, largest_tells=len(file.names) == len(CONTEXT_59))
    try:
        return _ids(names, file.file.name)
    except UserError as fault:
        raise UserError(f"{file.file}: {fault}") from None


def _ids(names: Mapping[int, str], told: str) -> Ids:
    """names: id -> name as written; the unlabelled area may be left out."""
    small = sum(not outside(name) for name in names.values()) <= (len(CONTEXT_33) + len(CONTEXT_59)) // 2
    classes = CONTEXT_33 if small else CLASSES
    if max(names) > IGNORED:
        raise UserError(f"id {max(names)} does not fit into a PNG of 8 bits; expected ids up to {len(classes)}.")
    positions = table_of(names, classes)
    if not any(outside(name) for i, name in names.items() if i != IGNORED):
        unnamed = 0 if 0 not in names else IGNORED
        positions[unnamed] = IGNORED if small else 0
    table = np.full(IGNORED + 1, UNKNOWN, np.int16)
    for i, position in positions.items():
        table[i] = position
    stored = {i: "unlabelled" if p == IGNORED else classes[p] for i, p in sorted(positions.items())}
    return Ids("png", told, classes, ("context33",) if small else _SERVES_59, stored, table)


def _count(first_id: int, first: str) -> str:
    return f"say --first-id {first_id} (with names that have no ids), or give a class file with the line '{first_id}: {first}'"


def _first_difference(one: Ids, two: Ids) -> str:
    for i in range(IGNORED + 1):
        names = [ids.stored.get(i, "no class") for ids in (one, two)]
        if names[0] != names[1]:
            return f"{i} is {names[0]} in one, {names[1]} in the other"
    return "the same ids of two sets of classes"


def _refuse_other_list(labels: Path) -> None:
    """A list of 459 with other ids belongs to other files than the official ones."""
    names = read_class_file(labels).settled()
    for i, name in zip(CONTEXT_459_IDS, CONTEXT_59, strict=True):
        if name not in matched([names.get(i, "")], (name,)).values():
            raise UserError(
                f"{labels}: id {i} is '{names.get(i, 'no class')}'; the official list of 459 has '{name}' there. The .mat files "
                "are read by the official ids; take this file away if it is of other data."
            )
