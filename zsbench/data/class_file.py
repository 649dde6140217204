"""Class files: which id of a label map means which class. Ids are resolved by NAME, never by position in another's list.

A file says it in one of four ways, one class per line (or as JSON):

    0: background        "id: name", "id name", "id<TAB>name" or "id,name": says everything
    background           names alone, the first one that of the unlabelled area: ids count from 0
    aeroplane            names alone, without the unlabelled area: do ids count from 0 or from 1? The file does not say.

Only the last is ambiguous. It is settled by `first_id` and otherwise refused: a shift by one gives plausible numbers of
the wrong classes. Label values prove nothing: an id equal to the number of names is the last class where ids count from 1,
and very often "unlabelled" where they count from 0. JSON is a list of names, or an object from id to name, in a file .json
or in any other that begins like it. A file comes from outside: it is read up to `LARGEST` bytes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsbench.data.dataset import IGNORED
from zsbench.data.universes import UNIVERSES
from zsbench.errors import UserError, unknown

CLASS_FILES = ("classes.txt", "classes.json")  # where a folder has one
# What files call pixels without a class. AREA: the background, where there is one; VOID: pixels that count nowhere, never
# the background; REST: the background too in the files of known data sets, but a class like any other in somebody's own.
AREA = ("background", "unlabeled", "unlabelled", "nothing")
VOID = ("void", "ignore", "ignored")
REST = ("other", "others")
OUTSIDE = (*AREA, *REST, *VOID)
LARGEST = 2**20  # bytes
LONGEST = 120  # characters of a name
NUMBERED = re.compile(r"\s*([0-9]{1,5})\s*[:\t, ]\s*(\S.*?)\s*")
# Spellings of one class in the files of different repositories. The first is what the data sets' own lists say here.
ALIKE = (
    ("aeroplane", "airplane"), ("diningtable", "table"), ("motorbike", "motorcycle"), ("pottedplant", "plant"),
    ("sofa", "couch"), ("tvmonitor", "tv", "monitor", "television"), ("cloth", "clothes"), ("bedclothes", "bedcloth"),
    ("playingfield", "playfield"), (*AREA, *REST), ("bicycle", "bike"), ("shelves", "shelf"),
    ("boat", "ship"), ("hairdrier", "hairdryer"), ("donut", "doughnut"),
)  # fmt: skip


@dataclass(frozen=True)
class ClassFile:
    """What a file says. names: id -> name as written; where `first` is open, ids are counted from 0 and may all be one more."""

    file: Path
    names: dict[int, str]
    open: bool = False

    def settled(
        self, values: Collection[int] = (), first_id: int | None = None, *, largest_tells: bool = False
    ) -> dict[int, str]:
        """id -> name. `first_id`: 0 or 1, as the user says. Raises UserError where the file leaves that open and nobody said it.

        largest_tells: in this data set an id equal to the number of names can only be the last class, as ids that count
        from 0 have background at 255 there. Then `values`, ids found in label maps, settle it if that id is among them
        and 255 is not.
        """
        if first_id is not None:
            if not self.open and min(self.names) != first_id:
                raise UserError(f"{self.file}: its ids start at {min(self.names)}, not at {first_id}.")
            return {i + first_id: name for i, name in self.names.items()} if self.open else dict(self.names)
        if not self.open:
            return dict(self.names)
        if largest_tells and len(self.names) in values and IGNORED not in values and len(self.names) != IGNORED:
            return {i + 1: name for i, name in self.names.items()}
        raise UserError(
            f"{self.file}: {len(self.names)} names without ids and without background: it does not say whether "
            f"'{self.names[0]}' is id 0 or id 1, and label maps cannot tell. Write '0: {self.names[0]}' or "
            f"'1: {self.names[0]}' and so on, or add 'background' as first line if id 0 is the unlabelled area; "
            "or say --first-id 0 or --first-id 1."
        )


def read_class_file(file: Path) -> ClassFile:
    """The names of a text or JSON file (a list, or an object id -> name). Raises UserError naming the file and the line."""
    text = _text(file)
    lines = [line for line in text.splitlines() if line.strip()]
    is_json = file.suffix.lower() == ".json" or text.lstrip()[:1] in ("[", "{")
    rows = _json_rows(file, text) if is_json else lines
    if not rows:
        raise UserError(f"{file}: no class names in it; expected one per line, such as '0: background'.")
    return _class_file(file, rows)


def _text(file: Path) -> str:
    if not file.is_file():  # a pipe or a device would never end
        raise UserError(f"{file}: no such class file; expected one class per line, such as '0: background'.")
    try:
        with file.open("rb") as handle:
            raw = handle.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise UserError(f"{file}: larger than {LARGEST >> 20} MiB; expected a list of class names.")
        return raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"{file}: cannot be read as a class file ({fault}).") from None


def _class_file(file: Path, rows: Sequence[str]) -> ClassFile:
    found = [NUMBERED.fullmatch(row) for row in rows]
    if not any(found):
        names = dict(enumerate(row.strip() for row in rows))
        _refuse_names(file, names)
        return ClassFile(file, names, open=plain(names[0]) not in map(plain, OUTSIDE))
    for number, (row, match) in enumerate(zip(rows, found, strict=True), 1):
        if match is None:
            raise UserError(f"{file}: line {number} {row[:60]!r} has no id, other lines have one; write 'id: name'.")
    pairs = [(int(match[1]), match[2]) for match in found if match]
    if twice := [i for i, times in Counter(i for i, _ in pairs).items() if times > 1]:
        raise UserError(f"{file}: id {twice[0]} is given to more than one class.")
    _refuse_names(file, dict(pairs))
    return ClassFile(file, dict(pairs))


def _json_rows(file: Path, text: str) -> list[str]:
    try:
        told = json.loads(text, object_pairs_hook=_Pairs)  # a plain dict would keep the last of two equal ids
    except (ValueError, RecursionError) as fault:
        raise UserError(f"{file}: not readable as JSON ({fault}).") from None
    if isinstance(told, _Pairs) and all(isinstance(v, str) and k.isascii() and k.isdigit() for k, v in told):
        return [f"{key}: {name}" for key, name in told]
    if not isinstance(told, _Pairs) and isinstance(told, list) and all(isinstance(name, str) for name in told):
        return told
    raise UserError(f'{file}: expected a JSON list of names, or an object such as {{"0": "background"}}.')


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object in their order."""


def _refuse_names(file: Path, names: Mapping[int, str]) -> None:
    """What is no name, and one class named twice under two spellings of the same word."""
    seen: set[str] = set()
    for name in names.values():
        if not plain(name) or not name.isprintable() or len(name) > LONGEST:
            raise UserError(f"{file}: {name[:60]!r} is no class name.")
        if plain(name) in seen:
            raise UserError(f"{file}: class '{name}' is named twice.")
        seen.add(plain(name))


def plain(name: str) -> str:
    """A name without case, spaces, hyphens, underscores: what two spellings of it share."""
    return re.sub(r"[\s_\-]+", "", name.casefold())


def matched(names: Iterable[str], universe: Sequence[str]) -> dict[str, str]:
    """name as written -> class of `universe`: by spelling, else by another usual spelling that nobody else claims.

    Names that are in no way a class of the universe are left out of the answer. Raises UserError where two names mean
    one class ("tv" beside "tvmonitor"; not "table" beside "dining table", which are two classes of COCO-Stuff).
    """
    names, known = list(names), {plain(name): name for name in universe}
    found = {name: known[plain(name)] for name in names if plain(name) in known}
    taken = set(found.values())
    for name in names:
        for group in ALIKE:
            if name in found or plain(name) not in group:
                continue
            others = [known[other] for other in group if other in known and known[other] not in taken]
            if others:
                found[name] = others[0]
            elif not outside(name):
                same = [known[other] for other in group if other in known and not _two_classes(name, other)]
                if same:
                    found[name] = same[0]  # taken: told below
    if twice := [cls for cls, times in Counter(found.values()).items() if times > 1]:
        both = " and ".join(f"'{name}'" for name, cls in found.items() if cls == twice[0])
        raise UserError(f"{both} both mean the class '{twice[0]}'; a class has one id.")
    return found


def _two_classes(name: str, other: str) -> bool:
    """Whether some known data set tells two spellings of a group apart."""
    return any({plain(name), other} <= set(map(plain, universe)) for universe in UNIVERSES.values())


def outside(name: str) -> bool:
    """Whether a name is that of the unlabelled area (background, unlabeled, void …) and of no class."""
    return plain(name) in OUTSIDE


def table_of(names: Mapping[int, str], universe: Sequence[str]) -> dict[int, int]:
    """id -> position in `universe`, for a file that speaks of this universe and of nothing else.

    A name of the unlabelled area that the universe does not have ("0: unlabeled", "255: void") becomes IGNORED. Raises
    UserError for a name that is no class of it, with the nearest right one, and for a class that no id has.
    """
    inside = [name for name in names.values() if not outside(name)]
    area = [
        name for i, name in names.items() if plain(name) in (*AREA, *REST) and i != IGNORED and "background" in universe
    ]
    found = matched([*inside, *area], universe)
    for name in inside:
        if name not in found:
            raise unknown("class", name, universe)
    if missing := [name for name in universe if name not in found.values() and name != "background"]:
        raise UserError(f"no id for {', '.join(missing[:8])}{' …' if len(missing) > 8 else ''}.")
    return {i: universe.index(found[name]) if name in found else IGNORED for i, name in names.items()}
