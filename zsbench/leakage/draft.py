"""What `zsbench lexicon make` does: a list of class names becomes a lexicon file that its user reads and confirms.

What the shipped lexicon knows is copied, for it was reviewed; the rest gets the inflections and spellings of its name,
without synonyms, kinds and blockers, which only a reader can give. A scan refuses the file until it is confirmed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from zsbench.atomic import write_text
from zsbench.errors import UserError
from zsbench.leakage.inflection import draft_words, read_name
from zsbench.leakage.lexicon import shipped_tables
from zsbench.leakage.lexicon_file import Table, quoted, table_text
from zsbench.leakage.words import form_of

LONGEST = 200  # characters of a name; more is a sentence
HEAD = """\
# A draft of {count} classes by zsbench lexicon make. Read every table, mend it, then say so in the first line.
# words: names of the class, each with its inflections and spellings (levels 0 to 2); kinds: narrower classes (level 3);
# parts: brands, parts and vague words (level 4). blockers: phrases in which a form means something else; keepers: phrases
# in which it counts all the same. sense: what the class is, in one sentence. Only English captions are understood.
confirmed = false
"""


@dataclass(frozen=True)
class Wanted:
    """A line of the list: a class name, and its sense if the line gives one."""

    name: str
    sense: str
    line: int


@dataclass(frozen=True)
class Known:
    """A shipped table that holds a form. own: the form is a data set's name for the class, not a synonym."""

    concept: str
    own: bool


@dataclass(frozen=True)
class Draft:
    """A table with remarks for its reader. copied: it is a shipped one."""

    table: Table
    remarks: tuple[str, ...]
    copied: bool


def make(classes: Path, out: Path | None = None) -> str:
    """Drafts a lexicon for a file with one class per line (`name` or `name | sense`), and says what was written.

    out: where to; by default beside the list, as .toml. Raises UserError for a list that cannot be read, names nothing
    or one class twice, for a file that is there already, and where the library of inflections is missing.
    """
    place = out or classes.with_suffix(".toml")
    wanted = read_classes(classes)
    if place.exists():
        raise UserError(f"{place} is there already and may hold somebody's work; remove it or give another --out.")
    drafts = [_draft(item, wanted) for item in wanted]
    tables = (table_text(item.name, draft.table, draft.remarks) for item, draft in zip(wanted, drafts, strict=True))
    write_text(place, "\n".join([HEAD.format(count=len(wanted)), *tables]))
    return _told(place, drafts)


def _told(place: Path, drafts: Sequence[Draft]) -> str:
    copied = sum(draft.copied for draft in drafts)
    checks = sum(any(remark.startswith("check") for remark in draft.remarks) for draft in drafts)
    return (
        f"{place}: {len(drafts):,} classes, {copied:,} copied from the shipped lexicon, {len(drafts) - copied:,} drafted,"
        f" {checks:,} with something to check\n"
        f"Read it, mend it, set `confirmed = true` at its top: zsbench lexicon show {place}\n"
        f"Then look for these classes: zsbench leakage-scan --lexicon {place} --captions …"
    )


def read_classes(path: Path) -> list[Wanted]:
    """The classes of a list. Blank lines and lines that begin with # are skipped."""
    wanted: dict[str, Wanted] = {}
    for number, line in enumerate(_lines(path), start=1):
        name, _, sense = (part.strip() for part in line.partition("|"))
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        _check(f"{path} line {number}", name)
        first = wanted.setdefault(form_of(name), Wanted(name, sense, number))
        if first.line != number:
            raise UserError(f"{path}: lines {first.line} and {number} name one class: {first.name!r} and {name!r}.")
    if not wanted:
        raise UserError(f"{path} names no class: expected one per line, `name` or `name | sense`.")
    return list(wanted.values())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise UserError(f"no file {path}: expected a text file with one class per line.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error}") from None


def _check(where: str, name: str) -> None:
    if not form_of(name):
        raise UserError(f"{where}: {name!r} holds no letter and no digit.")
    if not name.isprintable() or len(name) > LONGEST:
        raise UserError(f"{where}: expected a name of at most {LONGEST} printable characters, found {name[:40]!r}.")
    if name == "confirmed":
        raise UserError(f"{where}: a lexicon file keeps the word 'confirmed' for itself; name the class otherwise.")


def _draft(item: Wanted, wanted: Sequence[Wanted]) -> Draft:
    if found := _known().get(form_of(item.name)):
        return _copy(item, found)
    reading = read_name(item.name)
    if len(reading.phrases) == 1 and (found := _known().get(reading.phrases[0])):
        return _copy(item, found, reading.remarks)
    words, remarks = draft_words(reading)
    longer = tuple(
        f"check: {quoted(name)} is another class here; if it is no kind of this one, block it."
        for name in _longer(item, words, wanted)
    )
    return Draft({"sense": item.sense, "words": words, "kinds": [], "blockers": []}, remarks + longer, copied=False)


def _longer(item: Wanted, words: list[list[str]], wanted: Sequence[Wanted]) -> Iterator[str]:
    """Other classes whose names hold a form of this one."""
    forms = [f" {form} " for group in words for form in group]
    for other in wanted:
        if other is not item and any(form in f" {form_of(other.name)} " for form in forms):
            yield other.name


def _copy(item: Wanted, found: list[Known], remarks: tuple[str, ...] = ()) -> Draft:
    """The shipped table, told where it is from, with the list's own sense if it has one."""
    table = shipped_tables()[found[0].concept]
    told = [f"copied from the shipped entry [{found[0].concept}]"]
    if not found[0].own:
        told.append("check: there the name is a synonym; the words may be wider than the class.")
    if item.sense and item.sense != table["sense"]:
        told.append(f"check: its sense is {quoted(table['sense'])}")
    for other in found[1:]:
        sense = shipped_tables()[other.concept]["sense"]
        told.append(f"check: [{other.concept}] has the name too, as {quoted(sense)}")
    return Draft(table | {"sense": item.sense or table["sense"]}, (*told, *remarks), copied=True)


@lru_cache
def _known() -> dict[str, list[Known]]:
    """Form -> shipped tables that have it: as a data set's name or an inflection of one first, then as a synonym."""
    known: dict[str, list[Known]] = {}
    for concept, table in shipped_tables().items():
        names = {form_of(name) for name in table.get("classes", {}).values()}
        groups = [[form_of(form) for form in group] for group in table["words"]]
        own = names.union(*(group for group in groups if names & set(group)))
        for form in dict.fromkeys([*names, *(form for group in groups for form in group)]):
            known.setdefault(form, []).append(Known(concept, form in own))
    return {form: sorted(found, key=lambda one: not one.own) for form, found in known.items()}
