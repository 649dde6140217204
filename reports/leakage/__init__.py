"""Leakage reports: reads what `zsbench leakage-scan` found and writes it for people, spreadsheets and pages.

Choices: only report JSON is read, never the corpus; every form (terminal, CSV, Markdown, page) is made from the same
checked report, so they cannot disagree; a file is there whole or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zsbench.atomic import write_text
from zsbench.errors import UserError, unknown

from . import terminal
from .markdown import markdown
from .model import Leakage, all_checked, parsed
from .page import render
from .shape import KIND_OF_MANY, SCHEMA
from .tables import classes_csv, forms_csv

LARGEST = 1 << 30  # bytes of a report file; one of 171 classes is a few MB
FORMATS = ("json", "csv", "md", "html")
ACTS = re.compile("[^\x20-\x7e\n]")


def read_leakage(paths: Sequence[Path]) -> list[Leakage]:
    """The reports in the files, in their order; a file that holds several gives them all.

    Raises UserError naming the file and the field for one that is missing, foreign, broken or of a newer schema.
    """
    return [report for path in paths for report in _read(Path(path))]


def text(report: Leakage | dict[str, Any], colour: bool = False) -> str:
    """The summary for a terminal, at most 100 columns wide. Raises UserError for a broken report."""
    return terminal.text(parsed(report), colour)


def write(reports: Sequence[Leakage | dict[str, Any]], out: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Writes leakage.json, classes.csv and forms.csv, leakage.md, leakage.html into `out`; the page last.

    formats: which of json, csv, md, html. Raises UserError for another format, no report, or a broken one.
    """
    found = all_checked(reports)
    if not found:
        raise UserError("no leakage report to write; make one with: zsbench leakage-scan --split voc5")
    for name in formats:
        if name not in FORMATS:
            raise unknown("report format", name, FORMATS)
    made = [(out / name, make) for kind in FORMATS if kind in formats for name, make in FILES[kind].items()]
    for path, make in made:
        write_text(path, make(found))
    return [path for path, _ in made]


def to_json(reports: Sequence[Leakage]) -> str:
    """One report as it is, several as a list with a kind of its own; safe to print on a terminal."""
    several = {"schema": SCHEMA, "kind": KIND_OF_MANY, "reports": [report.raw for report in reports]}
    value = reports[0].raw if len(reports) == 1 else several
    return ACTS.sub(_escaped, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)) + "\n"


def _escaped(sign: re.Match[str]) -> str:
    """A character that acts on a screen, or half of a surrogate pair, as a JSON escape; letters stay letters."""
    return sign[0] if sign[0].isprintable() else json.dumps(sign[0])[1:-1]


FILES: dict[str, dict[str, Callable[[Sequence[Leakage]], str]]] = {
    "json": {"leakage.json": to_json},
    "csv": {"classes.csv": classes_csv, "forms.csv": forms_csv},
    "md": {"leakage.md": markdown},
    "html": {"leakage.html": render},
}


def _read(path: Path) -> list[Leakage]:
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path}: larger than {LARGEST >> 20} MiB, no leakage report")
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        raise UserError(f"no leakage report '{path}'; make one with: zsbench leakage-scan --split voc5") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as a leakage report: {error}; scan again") from None
    many = isinstance(value, dict) and value.get("kind") == KIND_OF_MANY and isinstance(value.get("reports"), list)
    if not many:
        return [parsed(value, str(path))]
    return [parsed(report, f"{path}, report {n}") for n, report in enumerate(value["reports"], 1)]


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")
