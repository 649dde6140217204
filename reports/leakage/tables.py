"""classes.csv and forms.csv of leakage reports: one row per corpus × split × class, one per form of each.

Counts are captions, rates are per million captions scanned, precision is a fraction with its 95 % Wilson interval; what
was not measured is an empty cell. `complete` says "no" where every count is a lower bound. Text that a spreadsheet would
run as a formula gets a leading apostrophe, and characters that act on a screen are written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tables import as_csv, cell, is_formula, rounded
from .model import Class, Judged, Leakage
from .proof import visible

SHARED = ("corpus", "corpus_fingerprint", "drawn", "split", "split_fingerprint", "lexicon", "lexicon_fingerprint",
          "level", "complete", "captions_scanned")  # fmt: skip
JUDGED = ("judged", "right", "unsure", "estimate", "low", "high", "corrected", "corrected_low", "corrected_high")
CLASS_COLUMNS = (
    *SHARED, "class", "captions", "per_million", "unique", "unique_exact", *(f"captions_level_{n}" for n in range(5)),
    "placeholders", "set_aside", "with_image", *(f"named_{name}" for name in JUDGED),
    *(f"shown_{name}" for name in JUDGED), "over_limit",
)  # fmt: skip
FORM_COLUMNS = (*SHARED, "class", "form", "level", "kind", "captions", "per_million")


def classes_csv(reports: Sequence[Leakage]) -> str:
    return _csv(CLASS_COLUMNS, [_class_row(report, cls) for report in reports for cls in report.classes])


def forms_csv(reports: Sequence[Leakage]) -> str:
    """kind: "counted" for a form that names the class, "set aside" for a phrase that cancels one."""
    rows = [row for report in reports for cls in report.classes for row in _form_rows(report, cls)]
    return _csv(FORM_COLUMNS, rows)


def _shared(report: Leakage) -> dict[str, Any]:
    paths = {
        "corpus": "corpus.name", "corpus_fingerprint": "corpus.fingerprint", "split": "split.name",
        "split_fingerprint": "split.fingerprint", "lexicon": "lexicon.name",
        "lexicon_fingerprint": "lexicon.fingerprint", "level": "lexicon.level", "captions_scanned": "corpus.captions",
    }  # fmt: skip
    said = {column: report.get(path) for column, path in paths.items()}
    return said | {"drawn": _yes(report.drawn), "complete": _yes(report.complete)}


def _class_row(report: Leakage, cls: Class) -> dict[str, Any]:
    row = _shared(report) | {
        "class": cls.name, "captions": cls.captions, "per_million": cls.per_million, "unique": cls.unique,
        "unique_exact": _yes(cls.unique_exact), "placeholders": cls.placeholders,
        "set_aside": sum(aside.captions for aside in cls.blocked), "with_image": cls.with_image,
        "over_limit": _yes(cls.name in report.over) if report.raw.get("limit") else None,
    }  # fmt: skip
    row |= {f"captions_level_{level}": count for level, count in enumerate(cls.levels)}
    return row | _judged("named", cls.named) | _judged("shown", cls.shown)


def _form_rows(report: Leakage, cls: Class) -> list[dict[str, Any]]:
    scanned = max(1, report.get("corpus.captions"))
    found = [(form.text, form.level, "counted", form.captions) for form in cls.forms]
    aside = [(phrase.text, None, "set aside", phrase.captions) for phrase in cls.blocked]
    return [
        _shared(report)
        | {"class": cls.name, "form": text, "level": level, "kind": kind, "captions": count,
           "per_million": 1e6 * count / scanned}
        for text, level, kind, count in found + aside
    ]  # fmt: skip


def _judged(kind: str, judged: Judged | None) -> dict[str, Any]:
    return {f"{kind}_{name}": getattr(judged, name, None) for name in JUDGED}


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def safe(value: Any) -> str:
    """One cell: no formula, and nothing that acts on a screen."""
    if not isinstance(value, str):
        return cell(rounded(value))
    return f"'{visible(value)}" if is_formula(value) else visible(value)


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    return as_csv(columns, [{column: _shown(value) for column, value in row.items()} for row in rows])


def _shown(value: Any) -> Any:
    return safe(value) if isinstance(value, str) else rounded(value)
