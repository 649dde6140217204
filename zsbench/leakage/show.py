"""What `zsbench lexicon show` prints: the words of some classes to be read, or as a file to start one's own from.

Rules of context are shown as they are written; a scan knows them as blockers, one per word and neighbour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

from zsbench.data.universes import UNIVERSES
from zsbench.errors import unknown
from zsbench.leakage.lexicon import (
    DEFAULT_LEVEL,
    LEVELS,
    SHIPPED,
    Entry,
    Lexicon,
    entry_of,
    load_lexicon,
    written_shipped,
)
from zsbench.leakage.lexicon_file import Table, read, table_text, written_tables
from zsbench.split import Split, list_splits, load_split

WIDTH = 100
LABELS = ("own string", "inflection", "synonym", "kind", "part")
GAP = "\u00a0"  # keeps a phrase on one line while its paragraph is filled


@dataclass(frozen=True)
class Subject:
    """Whose words are shown. tables: class -> table as written. place: where they are written."""

    title: str
    names: tuple[str, ...]
    tables: dict[str, Table]
    place: Path
    confirmed: bool = True

    def lexicon(self, level: int) -> Lexicon:
        return Lexicon(self.title, level, tuple(entry_of(name, self.tables[name], level) for name in self.names))


def show(
    split_or_universe_or_file: str,
    *,
    scope: str = "unseen",
    level: int = len(LEVELS) - 1,
    only: Sequence[str] = (),
    toml: bool = False,
) -> str:
    """The words of a split's classes (its unseen ones, or of `scope` "all"), of a data set's, or of a lexicon file's.

    level: forms up to this one. only: of these classes. toml: a file that reads back as the same words, whatever the
    level. Raises UserError for a name that is none of the three and for a class that is not among them.
    """
    subject = _subject(split_or_universe_or_file, scope)
    names = _chosen(subject, only)
    if toml:
        return _as_toml(subject, names)
    entries = [entry for entry in subject.lexicon(level).entries if entry.name in names]
    blocks = ["\n".join(_block(entry, subject.tables[entry.name])) for entry in entries]
    return "\n\n".join(["\n".join(_header(split_or_universe_or_file, subject, entries, level)), *blocks])


def _subject(name: str, scope: str) -> Subject:
    if name in UNIVERSES:
        names = tuple(known for known in UNIVERSES[name] if known != "background")
        return _shipped(f"{name}: all {_count(names)}", name, names)
    if name in list_splits():
        return _of_split(load_split(name), scope)
    if not name.endswith(".toml"):
        raise unknown("split", name, [*list_splits(), *UNIVERSES], "zsbench list")
    if {"dataset", "unseen"} <= read(Path(name)).keys():
        return _of_split(load_split(name), scope)
    tables, confirmed = written_tables(Path(name))
    return Subject(f"{name}: {_count(tables)}", tuple(tables), tables, Path(name), confirmed)


def _of_split(split: Split, scope: str) -> Subject:
    if scope == "unseen":
        return _shipped(f"{split.name}: the {_count(split.unseen, 'unseen ')}", split.dataset, split.unseen)
    names = tuple(name for name in split.names if name != "background")
    return _shipped(f"{split.name}: all {_count(names)}", split.dataset, names)


def _count(names: Sized, which: str = "") -> str:
    return f"{len(names)} {which}class{'es' if len(names) != 1 else ''}"


def _shipped(title: str, universe: str, names: tuple[str, ...]) -> Subject:
    load_lexicon(universe, names)  # says so where a class has no words
    return Subject(title, names, written_shipped(universe), SHIPPED)


def _chosen(subject: Subject, only: Sequence[str]) -> tuple[str, ...]:
    for name in only:
        if name not in subject.names:
            raise unknown("class", name, subject.names)
    return tuple(name for name in subject.names if not only or name in only)


def _header(asked: str, subject: Subject, entries: Sequence[Entry], level: int) -> Iterator[str]:
    forms, blockers, keepers = (sum(len(part) for part in parts) for parts in zip(*map(_parts, entries), strict=True))
    title = f"{_plain(subject.title)}; {forms:,} forms, {blockers:,} blockers, {keepers:,} keepers"
    yield from textwrap.wrap(title, WIDTH)
    if not subject.confirmed:
        yield from _row("draft", "not confirmed yet: a scan refuses it until `confirmed = true` stands at its top")
    told = ", ".join(f"{number} {words}" for number, words in enumerate(LEVELS[: level + 1]))
    yield from _row("levels", f"{told}; a scan takes 0 to {DEFAULT_LEVEL} unless told otherwise")
    prints = {depth: subject.lexicon(depth).fingerprint for depth in dict.fromkeys((DEFAULT_LEVEL, level))}
    yield from _row("fingerprint", ", ".join(f"{value} (levels 0 to {depth})" for depth, value in prints.items()))
    yield f"  {'file':<14}{_plain(str(subject.place))}"  # not broken into lines, so that it can be copied
    if subject.place == SHIPPED:
        change = f"zsbench lexicon show {_plain(asked)} --toml > mine.toml"
        yield from _row("change", f"{change}, edit, zsbench leakage-scan --lexicon mine.toml")


def _parts(entry: Entry) -> tuple[Sequence[object], ...]:
    return entry.forms, entry.blockers, entry.keepers


def _block(entry: Entry, table: Table) -> Iterator[str]:
    sense = _plain(entry.sense) or "(no sense given)"
    yield from textwrap.wrap(f"{_plain(entry.name)}: {sense}", WIDTH, subsequent_indent="  ")
    for level, label in enumerate(LABELS):
        yield from _row(f"{level} {label}", _listed(form.text for form in entry.forms if form.level == level))
    yield from _row("not in", _listed(table.get("blockers", [])))
    for rule in table.get("context", []):
        whose = _listed(rule.get("forms", [])) or "any word of levels 0 to 2"
        for side in ("after", "before"):
            words = _listed(rule.get(side, []))
            yield from _row("not if", f"{whose} {side}: {words}" if words else "")
    yield from _row("but in", _listed(entry.keepers))


def _listed(phrases: Iterable[str]) -> str:
    return ", ".join(_plain(phrase).replace(" ", GAP) for phrase in phrases)


def _row(label: str, text: str) -> list[str]:
    """A labelled text in lines of `WIDTH`; nothing where it is empty."""
    lead, hang = f"  {label:<14}", " " * 16
    lines = textwrap.wrap(text, WIDTH, initial_indent=lead, subsequent_indent=hang, break_on_hyphens=False)
    return [line.replace(GAP, " ") for line in lines]


def _plain(text: str) -> str:
    """What a file says, for a terminal: a character that could act on it becomes a space."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _as_toml(subject: Subject, names: Sequence[str]) -> str:
    head = [
        f"# {_plain(subject.title)}.",
        "# A table goes before the shipped one of its class. Leave out the tables you do not change, and give the file to",
        "# zsbench leakage-scan --lexicon.",
        "# words: names of the class, each with its inflections and spellings; kinds: narrower classes; parts: brands,",
        "# parts and vague words (level 4). A form inside a blocker does not count, unless inside a keeper too; a context",
        "# rule makes blockers: a form (default: of words) after or before a word.",
        f"confirmed = {str(subject.confirmed).lower()}",
    ]
    tables = (table_text(name, subject.tables[name]) for name in names)
    return "\n".join(["\n".join(head) + "\n", *tables]).rstrip("\n")
