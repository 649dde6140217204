"""A lexicon file: TOML tables read, checked and written.

Every fault of a user's file becomes one sentence with the table and the key; what is written is read back the same.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zsbench.errors import UserError, unknown
from zsbench.leakage.words import form_of

DATA_SETS = ("voc2012", "context59", "cocostuff171")
GROUPS = ("words", "kinds", "parts")  # lists of groups of forms
PHRASES = ("blockers", "keepers")
KEYS = ("sense", "classes", *GROUPS, *PHRASES, "context")
CONTEXT_KEYS = ("forms", "after", "before")
WIDTH = 120

Table = dict[str, Any]


def read(path: Path) -> dict[str, Any]:
    """What a lexicon file holds, not yet checked. Raises UserError where there is none or it is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"no lexicon at {path}; draft one: zsbench lexicon make CLASSES.txt") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a TOML file in UTF-8: {error}") from error


def written_tables(file: Path, data_set: str = "") -> tuple[dict[str, Table], bool]:
    """Class name -> table as a user wrote it, checked, and whether the file is confirmed.

    data_set: read the names that tables with `classes` have there; without one, all their names.
    """
    tables = read(file)
    confirmed = tables.pop("confirmed", True)
    if not isinstance(confirmed, bool):
        raise UserError(f"{file}: expected `confirmed = true` or `confirmed = false`, without quotes")
    if not tables:
        raise UserError(f"{file} has no class: expected a table per class, as zsbench lexicon show voc5 --toml prints.")
    found: dict[str, Table] = {}
    for key, table in tables.items():
        _check(f"{file} [{key}]", table)
        for name in _class_names(key, table, data_set):
            if not form_of(name):
                raise UserError(f"{file} [{key}]: class {name!r} holds no letter and no digit")
            if name in found:
                raise UserError(f"{file} [{key}]: class '{name}' has another table in this file; one can be meant.")
            found[name] = table
    return found, confirmed


def _class_names(key: str, table: Table, data_set: str) -> Iterable[str]:
    classes = table.get("classes")
    if not classes:
        return [key]
    return dict.fromkeys(name for universe, name in classes.items() if data_set in ("", universe))


def _check(where: str, table: Any) -> None:
    if not isinstance(table, dict):
        raise UserError(f"{where}: expected a table, as in zsbench lexicon show voc5 --toml")
    for key in table:
        if key not in KEYS:
            raise UserError(f"{where}: {unknown('key', key, KEYS)}")
    for key in GROUPS:
        _check_lists(f"{where} {key}", table.get(key, []), nested=True)
    for key in PHRASES:
        _check_lists(f"{where} {key}", table.get(key, []), nested=False)
    _check_context(f"{where} context", table.get("context", []))
    _check_classes(where, table.get("classes", {}))
    if not isinstance(table.get("sense", ""), str):
        raise UserError(f"{where}: `sense` is a sentence in quotes")


def _check_context(where: str, rules: Any) -> None:
    for rule in rules if isinstance(rules, list) else [rules]:
        if not isinstance(rule, dict) or set(rule) - set(CONTEXT_KEYS) or not {"after", "before"} & set(rule):
            raise UserError(f"{where}: expected `forms` (optional) with `after` or `before`, lists of words")
        for key, value in rule.items():
            _check_lists(f"{where}.{key}", value, nested=False)
    if not isinstance(rules, list):
        raise UserError(f"{where}: a rule stands under [[NAME.context]], with two brackets")


def _check_classes(where: str, classes: Any) -> None:
    if not isinstance(classes, dict) or not _all(list(classes.values()), str):
        raise UserError(f'{where}: `classes` is a table such as {{ voc2012 = "sofa" }}')
    for data_set in classes:
        if data_set not in DATA_SETS:
            raise UserError(f"{where} classes: {unknown('data set', data_set, DATA_SETS)}")


def _check_lists(where: str, value: Any, nested: bool) -> None:
    flat = [form for group in value for form in group] if nested and _all(value, list) else value
    if not isinstance(value, list) or (nested and not _all(value, list)) or not _all(flat, str):
        raise UserError(f"{where}: expected {'a list of lists' if nested else 'a list'} of words in quotes")
    for text in flat:
        if not form_of(text):
            raise UserError(f"{where}: {text!r} holds no letter and no digit")


def _all(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for the delete character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def table_text(name: str, table: Table, remarks: Sequence[str] = ()) -> str:
    """One class as TOML, with remarks as comments below its heading; `classes` is left out, for `name` is the class."""
    key = name if re.fullmatch("[A-Za-z0-9_-]+", name) else quoted(name)
    lines = [f"[{key}]", *(f"# {remark}" for remark in remarks), f"sense = {quoted(table.get('sense', ''))}"]
    for part in (part for part in (*GROUPS, *PHRASES) if part in table or part == "words"):
        items = table.get(part, [])
        lines += _list(
            f"{part} = ", [_list("", map(quoted, group)) for group in items] if part in GROUPS else map(quoted, items)
        )
    for rule in table.get("context", []):
        lines.append(f"[[{key}.context]]")
        lines += [
            line for part in CONTEXT_KEYS if part in rule for line in _list(f"{part} = ", map(quoted, rule[part]))
        ]
    return "\n".join(lines) + "\n"


def _list(lead: str, items: Iterable[str | list[str]]) -> list[str]:
    """`lead` and a list: on one line where it fits, else in filled lines between brackets. Items may be such lists."""
    parts = [item if isinstance(item, list) else [item] for item in items]
    whole = f"{lead}[{', '.join(part[0] for part in parts)}]"
    if len(whole) <= WIDTH - 3 and all(len(part) == 1 for part in parts):
        return [whole]
    lines = [f"{lead}["]
    for part in parts:
        room = WIDTH - len(lines[-1]) - 4 if len(lines) > 1 and lines[-1] != "  ]," else 0
        if len(part) == 1 and len(part[0]) <= room:
            lines[-1] += f" {part[0]},"
        else:
            lines += [f"  {line}" for line in [*part[:-1], f"{part[-1]},"]]
    return [*lines, "]"]
