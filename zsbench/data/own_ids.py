"""Users' own classes: which id of a label map is which class, and which known data set the names amount to.

Choices: a class named background (or unlabelled, nothing) is the background, whatever its id; void, ignore and the id 255 are no
class but ignored pixels. Names that are exactly those of a data set zsbench knows, in any usual spelling, are taken in
that data set's spelling, so that its published splits run on a copy of it. An id that nobody named is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsbench.data.class_file import AREA, CLASS_FILES, VOID, ClassFile, matched, plain, read_class_file
from zsbench.data.dataset import IGNORED
from zsbench.data.universes import UNIVERSES
from zsbench.errors import UserError
from zsbench.split import OWN

MOST = 255  # classes: label maps here are uint8, and 255 is taken
LARGEST = 65535  # id of a 16-bit label map
STRANGE = -1


@dataclass(frozen=True, eq=False)
class OwnIds:
    """names: the classes, position = id as the harness sees it. table: (65536,) int16, stored id -> position, 255, -1.

    called: plain spelling of every name, as written and as it is called here -> class. source: where the names stand.
    """

    names: tuple[str, ...]
    serves: tuple[str, ...]
    called: Mapping[str, str]
    table: np.ndarray
    source: str
    notes: tuple[str, ...] = ()

    def positions(self, stored: np.ndarray, where: str) -> np.ndarray:
        """Stored ids -> positions in `names`, 255 = ignored; (H, W) uint8. Raises UserError for ids without a name."""
        if stored.min(initial=0) < 0 or stored.max(initial=0) > LARGEST:
            raise UserError(f"{where}: label values below 0 or above {LARGEST}; expected class ids.")
        found = self.table[stored]
        if (found == STRANGE).any():
            wrong = np.unique(stored[found == STRANGE]).tolist()
            shown = ", ".join(map(str, wrong[:8])) + (" …" if len(wrong) > 8 else "")
            name = "background" if wrong[0] == 0 else "NAME"
            raise UserError(
                f"{where}: label values {shown} have no name in {self.source}; write '{wrong[0]}: {name}' there, or "
                f"{IGNORED} into the label map where pixels are to be ignored."
            )
        ids: np.ndarray = found.astype(np.uint8)
        return ids

    @property
    def stored(self) -> dict[int, str]:
        """Stored id -> class."""
        found = np.flatnonzero((self.table != STRANGE) & (self.table != IGNORED)).tolist()
        return {i: self.names[self.table[i]] for i in found}


def find_class_file(root: Path | None, given: Path | None) -> Path | None:
    """The file that the user names, else classes.txt or classes.json in the folder."""
    found = (root / name for name in CLASS_FILES if (root / name).is_file()) if root else iter(())
    return given or next(found, None)


def read_own_ids(file: Path, first_id: int | None) -> OwnIds:
    """The classes of a class file."""
    return own_ids(read_class_file(file), first_id, str(file))


def own_ids(found: ClassFile, first_id: int | None, source: str) -> OwnIds:
    """The same for names that stand elsewhere. Raises UserError where they are ambiguous, too many, or on wrong ids."""
    ids = found.settled(first_id=first_id)
    if found.open and 0 not in ids:
        return _of(with_background(ids), source, ("ids of classes count from 1",))
    return _of(ids, source)


def with_background(ids: Mapping[int, str]) -> dict[int, str]:
    """Ids that count from 1 because 0 is the area that is no class's, with that area."""
    named = any(plain(name) in AREA for name in ids.values())
    return dict(ids) if 0 in ids or named else {0: "background", **ids}


def _of(ids: Mapping[int, str], source: str, notes: tuple[str, ...] = ()) -> OwnIds:
    if (largest := max(ids)) > LARGEST:
        raise UserError(f"{source}: the id {largest} of '{ids[largest]}' does not fit in a label map of 16 bits.")
    table = np.full(LARGEST + 1, STRANGE, np.int16)
    table[IGNORED] = IGNORED
    kept = _without_void(ids, source)
    table[[i for i in ids if i not in kept]] = IGNORED
    if len(kept) > MOST:
        raise UserError(f"{source}: {len(kept)} classes; a label map here holds at most {MOST}.")
    serves, spelled = _known(kept)
    names = {i: spelled.get(name, name) for i, name in kept.items()}
    for position, i in enumerate(sorted(names)):
        table[i] = position
    called = {plain(name): names[i] for i, name in ids.items() if i in names} | {plain(n): n for n in names.values()}
    return OwnIds(tuple(names[i] for i in sorted(names)), (*serves, OWN), called, table, source, notes)


def _without_void(ids: Mapping[int, str], source: str) -> dict[int, str]:
    """The classes alone, background under that name."""
    plains = {i: plain(name) for i, name in ids.items()}
    first = next((word for word in AREA if word in plains.values() and plains.get(IGNORED) != word), None)
    void = {i for i, word in plains.items() if word in VOID or (word in AREA and word != first)}
    if IGNORED in ids and IGNORED not in void:
        raise UserError(
            f"{source}: the class '{ids[IGNORED]}' has the id {IGNORED}, which marks ignored pixels in every label map "
            "here; give the class another id, in the label maps too."
        )
    kept = {i: "background" if plains[i] == first else name for i, name in ids.items() if i not in void}
    if not set(kept.values()) - {"background"}:
        raise UserError(f"{source}: no class in it beside background; expected one per line, such as '1: cat'.")
    return kept


def _known(ids: Mapping[int, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The known data sets whose classes these are, all of them and no other, and their spelling of the names."""
    own, serves, spelled = [name for name in ids.values() if name != "background"], [], {}
    for universe, names in UNIVERSES.items():
        classes = [name for name in names if name != "background"]
        if len(own) == len(classes) and len(found := _matched(own, classes)) == len(own):
            serves.append(universe)
            spelled = found
    return tuple(serves), spelled


def _matched(names: list[str], universe: list[str]) -> dict[str, str]:
    try:
        return matched(names, universe)
    except UserError:  # two of these names mean one class there: it is another data set
        return {}
