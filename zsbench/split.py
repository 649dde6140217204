"""A split: which classes are seen, which unseen, and the two rules that change every number (background, training).

One TOML file in `splits/` is one split; the file's name is its name. Classes are given by NAME, never by index: the
same index means another class in another repository's order. A split is checked when it is loaded: every class must
be known to its data set, stand there once, and (in a published split) none may be left out. Only of users' own data
(dataset = "own") the classes are not known here: they are checked when the data is opened (`zsbench.data.own_split`).
"""

from __future__ import annotations

import hashlib
import json
import re
import textwrap
import tomllib
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from zsbench.data.universes import UNIVERSES
from zsbench.errors import UserError, unknown

Background = Literal["ignore", "seen"]
TrainPolicy = Literal["none", "drop", "mask"]

OWN = "own"  # the data set of users' own classes, and the split that is made from their folder
TEXTS = ("title", "dataset", "source", "background", "train_policy")
LISTS = ("seen", "unseen")
OPTIONAL = ("fingerprint", "notes")  # a published split must have its fingerprint, a user's own may
BACKGROUND_WORDS = {
    "ignore": "background pixels are neither trained on nor scored",
    "seen": "background is a seen class: trained on, scored, and a candidate name",
}
POLICY_WORDS = {
    "drop": "a training image with any pixel of an unseen class is left out",
    "mask": "training images are all kept, pixels of unseen classes are ignored (label 255)",
    "none": "methods train on no masks at all; a method that asks for masks is refused",
}


@dataclass(frozen=True)
class Split:
    """Seen and unseen class names of one data set, with the rules that are part of the protocol.

    background: "ignore" = background pixels are neither trained on nor scored; "seen" = background is a seen class and
        stands in `seen` under the name "background".
    train_policy: what happens to training images with unseen pixels: "drop" the image, "mask" the pixels (label 255),
        "none" = the split's methods train on no masks at all (a method that asks for masks is refused).
    notes: what a reader of the numbers should know; changes no number.
    """

    name: str
    dataset: str
    title: str
    source: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    background: Background
    train_policy: TrainPolicy
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All candidate names: seen, then unseen. A label map in split ids holds positions in this tuple, and 255."""
        return self.seen + self.unseen

    @property
    def fingerprint(self) -> str:
        """Hash of everything in a split that changes a number (title, source, notes do not), 12 hex digits."""
        facts = [self.dataset, self.seen, self.unseen, self.background, self.train_policy]
        return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode()).hexdigest()[:12]


class Listed(NamedTuple):
    """One line of `zsbench list`."""

    title: str
    dataset: str
    source: str


def list_splits() -> dict[str, Listed]:
    """Name -> title, data set and source of every published split, in natural order (voc_k2 before voc_k10)."""
    splits = (load_split(name) for name in sorted(_files(), key=_natural))
    return {split.name: Listed(split.title, split.dataset, split.source) for split in splits}


def load_split(name_or_path: str | Path) -> Split:
    """A published split by its name, or any split by the path of its TOML file. Raises `UserError`.

    A user's own file may leave out its fingerprint, and classes of the data set (those are then ignored everywhere); it
    may not take the name of a published split unless it is that split.
    """
    asked, files = str(name_or_path), _files()
    if asked == OWN:
        raise UserError("split 'own' is made from the classes.txt and unseen.txt of your own data: name it with --data")
    if asked in files:
        return _load(files[asked], asked, published=True)
    if not asked.endswith(".toml"):
        raise unknown("split", asked, files, "zsbench list")
    split = _load(Path(asked), Path(asked).stem, published=False)
    if split.name == OWN:
        raise UserError(f"{asked}: 'own' is the split that is made from the data folder itself; rename the file.")
    if split.name in files and split.fingerprint != load_split(split.name).fingerprint:
        raise UserError(f"{asked}: a published split has the name '{split.name}' and other content; rename the file.")
    return split


def describe(split: Split) -> str:
    """What `zsbench show split NAME` prints."""
    rows = {
        "title": split.title,
        "source": split.source,
        "data set": split.dataset,
        f"seen ({len(split.seen)})": ", ".join(split.seen) or "none",
        f"unseen ({len(split.unseen)})": ", ".join(split.unseen),
        "background": f"{split.background}: {BACKGROUND_WORDS[split.background]}",
        "training": f"{split.train_policy}: {POLICY_WORDS[split.train_policy]}",
        "fingerprint": split.fingerprint,
    }
    blocks = [_row(label, text) for label, text in rows.items()]
    blocks += [_row("note", note) for note in split.notes]
    blocks += [_row("overlap", line) for line in overlaps(split)]
    return "\n".join([split.name, *blocks])


def overlaps(split: Split) -> list[str]:
    """Unseen classes that other published splits of the same data set hold out too: numbers not independent."""
    others = (load_split(name) for name in sorted(_files(), key=_natural) if name != split.name)
    kin = [other for other in others if _family(other) == _family(split)]
    shared = {other.name: [name for name in split.unseen if name in other.unseen] for other in kin}
    return [
        f"{name} holds out {'all of these' if len(common) == len(split.unseen) else ', '.join(common)} too"
        for name, common in shared.items()
        if common
    ]


def _files() -> dict[str, Path]:
    folder = Path(str(resources.files("zsbench.splits")))
    return {file.stem: file for file in folder.glob("*.toml")}


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _family(split: Split) -> str:
    return split.dataset.rstrip("0123456789")


def _row(label: str, text: str) -> str:
    return textwrap.fill(text, 110, initial_indent=f"  {label:<14}", subsequent_indent=" " * 16, break_on_hyphens=False)


def _load(file: Path, name: str, *, published: bool) -> Split:
    """Read, check and build; every fault becomes one sentence that begins with the file."""
    try:
        return _build(_parse(file), name, published=published)
    except UserError as fault:
        raise UserError(f"{file}: {fault}") from None


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise UserError(f"not a TOML file in UTF-8 ({fault}).") from None
    except OSError as fault:
        raise UserError(f"cannot be read ({fault.strerror}). Published splits: zsbench list") from None


def _build(raw: dict[str, Any], name: str, *, published: bool) -> Split:
    _check_fields(raw, name, published=published)
    split = Split(
        name=name,
        seen=tuple(raw["seen"]),
        unseen=tuple(raw["unseen"]),
        notes=tuple(raw.get("notes", ())),
        **{field: raw[field] for field in TEXTS},
    )
    _check_rules(split)
    _check_classes(split, whole=published)
    given = raw.get("fingerprint", split.fingerprint)
    if given != split.fingerprint:
        raise UserError(
            f"fingerprint is '{given}', but the content gives '{split.fingerprint}': something that changes numbers "
            f'was edited. If that is meant, write fingerprint = "{split.fingerprint}".'
        )
    return split


def _check_fields(raw: dict[str, Any], name: str, *, published: bool) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):  # the name becomes a folder name below runs/
        raise UserError(f"'{name}' cannot be a split's name: letters, digits, '_' and '-' only.")
    required = (*TEXTS, *LISTS, "fingerprint") if published else (*TEXTS, *LISTS)
    for field in raw:
        if field not in (*TEXTS, *LISTS, *OPTIONAL):
            raise unknown("field", field, (*TEXTS, *LISTS, *OPTIONAL))
    for field in required:
        if field not in raw:
            raise UserError(f"field '{field}' is missing.")
    for field in raw:
        _check_value(field, raw[field])


def _check_value(field: str, value: Any) -> None:
    texts = value if field in (*LISTS, "notes") else [value]
    good = isinstance(texts, list) and all(isinstance(t, str) and t.strip() and t.isprintable() for t in texts)
    if not good:
        raise UserError(f"field '{field}' must be {'a list of texts' if texts is value else 'a text'} on one line.")


def _check_rules(split: Split) -> None:
    if split.dataset not in (*UNIVERSES, OWN):
        raise unknown("data set", split.dataset, (*UNIVERSES, OWN))
    for field, choices in (("background", get_args(Background)), ("train_policy", get_args(TrainPolicy))):
        if getattr(split, field) not in choices:
            raise unknown(f"{field} rule", getattr(split, field), choices)
    listed = "background" in split.seen
    if split.background == "seen" and not listed:
        raise UserError('background = "seen", but "background" is not in seen: add it there, first.')
    if "background" in split.unseen or (split.background == "ignore" and listed):
        raise UserError('"background" is in a class list: only background = "seen" has it, and in seen.')


def _check_classes(split: Split, *, whole: bool) -> None:
    if not split.unseen:
        raise UserError("unseen is empty: a zero-shot split holds out at least one class.")
    known = UNIVERSES.get(split.dataset, split.names)  # own classes are their data's to check
    universe = [name for name in known if name != "background" or split.background == "seen"]
    for name in split.names:
        if name not in universe:
            raise unknown(f"class of {split.dataset}", name, universe)
    for name, times in Counter(split.names).items():
        if times > 1:
            where = "seen and unseen" if {name} <= set(split.seen) & set(split.unseen) else "one list"
            raise UserError(f"class '{name}' is named {times} times (in {where}); every class stands in one place.")
    missing = [name for name in universe if name not in split.names]
    if whole and missing:
        raise UserError(f"{len(missing)} classes of {split.dataset} are in neither list: {', '.join(missing)}.")
