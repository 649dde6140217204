"""The words that name a class: surface forms by level, and the phrases in which they mean something else.

One TOML table in `splits/lexicon/` is one concept with its sense; `classes` says what data sets call it. Levels of a
form: 0 the data set's own string, 1 its inflections and spellings, 2 synonyms, 3 narrower kinds (lamb for sheep),
4 brands, parts and vague words. A user's file has the same tables, by class name, and goes before the shipped ones.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

from zsbench.data.universes import UNIVERSES
from zsbench.errors import UserError
from zsbench.leakage.lexicon_file import GROUPS, Table, read, written_tables
from zsbench.leakage.words import form_of
from zsbench.split import Split

LEVELS = ("the data set's string", "inflection or spelling", "synonym", "kind", "brand, part or vague word")
DEFAULT_LEVEL = 3
# Universes made of others, the first that knows a name going before.
MADE_OF = {"context60": ("context59",), "context33": ("context59", "voc2012")}
SHIPPED = Path(str(resources.files("zsbench.splits"))) / "lexicon"


@dataclass(frozen=True)
class Form:
    """A word or phrase that names a class: normalised words with one space between them."""

    text: str
    level: int


@dataclass(frozen=True)
class Entry:
    """One class. A form's hit inside a blocker does not count, unless it also lies inside a keeper."""

    name: str
    sense: str
    forms: tuple[Form, ...]
    blockers: tuple[str, ...] = ()
    keepers: tuple[str, ...] = ()

    def as_dict(self) -> Table:
        forms = [{"text": form.text, "level": form.level} for form in self.forms]
        rest = {"blockers": list(self.blockers), "keepers": list(self.keepers)}
        return {"class": self.name, "sense": self.sense, "forms": forms, **rest}


@dataclass(frozen=True)
class Lexicon:
    """The entries of some classes of one data set, with forms up to `level`."""

    name: str
    level: int
    entries: tuple[Entry, ...]

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a count, 12 hex digits; senses do not."""
        facts = [[e.name, [[f.text, f.level] for f in e.forms], e.blockers, e.keepers] for e in self.entries]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.entries)

    def as_dict(self) -> Table:
        entries = [entry.as_dict() for entry in self.entries]
        return {"name": self.name, "fingerprint": self.fingerprint, "level": self.level, "entries": entries}


def lexicon_from_dict(value: Table) -> Lexicon:
    """The lexicon that `as_dict` wrote."""
    entries = (
        Entry(
            entry["class"],
            entry["sense"],
            tuple(Form(form["text"], form["level"]) for form in entry["forms"]),
            tuple(entry["blockers"]),
            tuple(entry["keepers"]),
        )
        for entry in value["entries"]
    )
    return Lexicon(value["name"], value["level"], tuple(entries))


def split_lexicon(split: Split, level: int = DEFAULT_LEVEL, file: Path | None = None, scope: str = "unseen") -> Lexicon:
    """The lexicon of a split's unseen classes, or of `scope` "all" of them without background."""
    names = split.unseen if scope == "unseen" else [name for name in split.names if name != "background"]
    return load_lexicon(split.dataset, names, level, file)


def load_lexicon(universe: str, names: Sequence[str], level: int = DEFAULT_LEVEL, file: Path | None = None) -> Lexicon:
    """The entries of classes of a data set; those of `file` go before the shipped ones.

    Raises UserError for a file that is not valid or not confirmed, and for a class that no file knows.
    """
    own = user_tables(file, universe) if file else {}
    for name in own:
        _refuse_slip(file, name, universe)
    tables = _shipped(universe) | own
    missing = [name for name in names if name not in tables]
    if missing:
        raise UserError(
            f"no words are known for {len(missing)} of {len(names)} classes: {', '.join(missing[:8])}. Draft them from a"
            " file with one class per line (zsbench lexicon make CLASSES.txt), confirm them, and give --lexicon FILE."
        )
    name = f"{universe} + {file.name}" if file else universe
    return Lexicon(name, level, tuple(_entry(class_name, tables[class_name], level) for class_name in names))


def _refuse_slip(file: Path | None, name: str, universe: str) -> None:
    """A class that is nearly one of the data set's would be passed over in silence; a wholly other one is another's."""
    classes = UNIVERSES.get(universe, ())
    near = [] if name in classes else difflib.get_close_matches(name, classes, n=1, cutoff=0.75)
    if near:
        raise UserError(f"{file}: {universe} has no class '{name}'. Did you mean '{near[0]}'?")


def file_lexicon(file: Path, level: int = DEFAULT_LEVEL) -> Lexicon:
    """All classes of a user's file. Raises UserError for a file that is not valid or not confirmed."""
    return Lexicon(file.name, level, tuple(_entry(name, table, level) for name, table in user_tables(file).items()))


def user_tables(file: Path, universe: str = "") -> dict[str, Table]:
    """Class name -> table of a user's file, as a scan reads it. Raises UserError with the table and key at fault.

    universe: its names, where tables have `classes`; without one, all names.
    """
    found: dict[str, Table] = {}
    for data_set in reversed(MADE_OF.get(universe, (universe,))):
        tables, confirmed = written_tables(file, data_set)
        if not confirmed:
            raise UserError(f"{file} is a draft: read it, mend it, and set `confirmed = true` at its top.")
        found |= tables
    return {name: _flat(table) for name, table in found.items()}


@lru_cache
def shipped_tables() -> dict[str, Table]:
    """Concept -> table as the shipped files have it."""
    return {key: table for path in sorted(SHIPPED.glob("*.toml")) for key, table in read(path).items()}


def written_shipped(universe: str) -> dict[str, Table]:
    """Class name of a data set -> table as the shipped files have it."""
    return {
        table["classes"][data_set]: table
        for data_set in reversed(MADE_OF.get(universe, (universe,)))
        for table in shipped_tables().values()
        if data_set in table.get("classes", {})
    }


@lru_cache
def _shipped(universe: str) -> dict[str, Table]:
    return {name: _flat(table) for name, table in written_shipped(universe).items()}


def entry_of(name: str, table: Table, level: int = DEFAULT_LEVEL) -> Entry:
    """The entry of a class that a table describes."""
    return _entry(name, _flat(table), level)


def _flat(table: Table) -> Table:
    """The table with normalised forms and its context rules written out as blockers."""
    groups = {key: [[form_of(form) for form in group] for group in table.get(key, [])] for key in GROUPS}
    blockers = [form_of(text) for text in table.get("blockers", [])]
    for rule in table.get("context", []):
        blockers += _phrases(rule, groups["words"])
    keepers = [form_of(text) for text in table.get("keepers", [])]
    return {"sense": table.get("sense", ""), **groups, "blockers": blockers, "keepers": keepers}


def _phrases(rule: Table, words: list[list[str]]) -> Iterator[str]:
    forms = [form_of(form) for form in rule.get("forms", [])] or [form for group in words for form in group]
    for form in forms:
        yield from (f"{form_of(word)} {form}" for word in rule.get("after", []))
        yield from (f"{form} {form_of(word)}" for word in rule.get("before", []))


def _entry(name: str, table: Table, level: int) -> Entry:
    forms: dict[str, int] = {}
    for text, found in _levels(form_of(name), table):
        if found <= level:
            forms[text] = min(found, forms.get(text, found))
    ordered = sorted(forms.items(), key=lambda item: item[1])  # stable: the file's order within a level
    blockers, keepers = tuple(dict.fromkeys(table["blockers"])), tuple(dict.fromkeys(table["keepers"]))
    return Entry(name, table["sense"], tuple(Form(*form) for form in ordered), blockers, keepers)


def _levels(own: str, table: Table) -> Iterator[tuple[str, int]]:
    """Every form with its level; a class whose string no group holds lends it to the first."""
    yield own, 0
    groups = table["words"]
    home = next((group for group in groups if own in group), groups[0] if groups else [])
    for group in groups:
        yield from ((form, 1 if group is home else 2) for form in group)
    for level, key in ((3, "kinds"), (4, "parts")):
        yield from ((form, level) for group in table[key] for form in group)
