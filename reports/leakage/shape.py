"""The shape a leakage report must have before anything is printed from it.

Choices: what only this file can know is checked here (fields that contradict each other), the shape itself by the
same small language as run records. A report that fails is refused whole: half a leakage report would be read as a
corpus that names less than it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zsbench.errors import UserError

from ..shape import NUMBER, Count, Each, Fraction, Maybe, faults

SCHEMA, KIND, KIND_OF_MANY = 1, "leakage", "leakage-reports"
LEVELS = 5
INTAKE = {"records": Count, "nulls": Count, "empty": Count, "malformed": Count, "over_long": Count,
          "undecodable": Count, "nul": Count, "non_latin": Count}  # fmt: skip
JUDGED = {"judged": Count, "right": Count, "unsure": Count, "estimate": Maybe(Fraction), "low": Maybe(Fraction),
          "high": Maybe(Fraction), "corrected?": Maybe(NUMBER), "corrected_low?": Maybe(NUMBER),
          "corrected_high?": Maybe(NUMBER)}  # fmt: skip
EXAMPLE = {"text": str, "copies": Count, "source": str, "row?": object, "spans": [list]}
CLASS = {"name": str, "captions": Count, "per_million": NUMBER, "unique": Maybe(Count), "unique_exact": bool,
         "levels": [Count], "forms": [{"text": str, "level": Count, "captions": Count}],
         "blocked": [{"text": str, "captions": Count}], "placeholders": Count, "with_image?": Maybe(Count),
         "precision?": Maybe({"named": Maybe(JUDGED), "shown?": Maybe(JUDGED)}), "examples": [EXAMPLE]}  # fmt: skip
ENTRY = {"class": str, "sense": str, "forms": [{"text": str, "level": Count}], "blockers": [str], "keepers": [str]}

REPORT: dict[str, Any] = {
    "schema": int, "kind": str, "zsbench": str, "command": str, "made": str,
    "corpus": {"name": str, "drawn": bool, "captions": Count, "records": Count, "bytes": Count, "seconds": NUMBER,
               "fingerprint": str, "totals": INTAKE,
               "sources": [INTAKE | {"source": str, "format": str, "column?": Maybe(str), "bytes": Count,
                                     "broken": str}]},
    "split": {"name": str, "title": str, "fingerprint": str, "scope": str},
    "lexicon": {"name": str, "fingerprint": str, "level": Count, "entries": [ENTRY]},
    "complete": bool, "incomplete_because": [str], "verdict": str, "named": Count, "flagged": Count,
    "classes": [CLASS],
    "together": [{"classes": [str], "captions": Count}],
    "outside": [{"name": str, "counts": Each(Maybe(Count)), "what": str}],
    "limit?": Maybe({"fail_over": Maybe(NUMBER), "over": [str], "asked?": Maybe(str), "fail_on?": [str],
                     "require_precision?": Maybe(Fraction), "unreviewed?": [str]}),
    "exit": Count,
}  # fmt: skip


def checked(report: Any, place: str) -> dict[str, Any]:
    """The report itself; raises UserError with `place` and the field for one that is foreign, newer or broken."""
    if not isinstance(report, dict) or report.get("kind") != KIND:
        found = f"kind {report.get('kind')!r}" if isinstance(report, dict) else "no object"
        raise UserError(f"{place}: no leakage report ({found}); expected a file made by: zsbench leakage-scan")
    _schema(report.get("schema"), place)
    wrong = list(faults(report, REPORT)) or list(_contradictions(report))
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise UserError(f"{place}: malformed leakage report: {wrong[0]}{more}; scan again: zsbench leakage-scan")
    return report


def _schema(schema: Any, place: str) -> None:
    if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
        raise UserError(
            f"{place}: made by a newer zsbench (report schema {schema}, this one reads {SCHEMA}); "
            "bring zsbench up to date: pip install --upgrade zsbench"
        )
    if schema != SCHEMA or isinstance(schema, bool):
        raise UserError(
            f"{place}: report of an unknown schema ({schema!r}, expected {SCHEMA}); scan again: zsbench leakage-scan"
        )


def _contradictions(report: dict[str, Any]) -> Iterator[str]:
    """Faults between fields that each have the right shape."""
    broken = [source["source"] for source in report["corpus"]["sources"] if source["broken"]]
    if report["complete"] and (broken or report["incomplete_because"]):
        yield f"'complete' is true, but {broken[0] if broken else 'incomplete_because'!r} says that it is not"
    named = sum(1 for cls in report["classes"] if cls["captions"])
    if report["named"] != named:
        yield f"'named' is {report['named']}, but {named} classes have captions"
    names = [cls["name"] for cls in report["classes"]]
    if len(set(names)) < len(names):
        yield "'classes' holds a class twice"
    for place, cls in enumerate(report["classes"]):
        yield from _class_faults(cls, f"classes[{place}]")


def _class_faults(cls: dict[str, Any], at: str) -> Iterator[str]:
    if len(cls["levels"]) != LEVELS or sum(cls["levels"]) != cls["captions"]:
        yield f"'{at}.levels' is {cls['levels']!r}, expected {LEVELS} counts whose sum is captions ({cls['captions']})"
    for place, example in enumerate(cls["examples"]):
        for number, span in enumerate(example["spans"]):
            if not _is_span(span, len(example["text"])):
                yield (
                    f"'{at}.examples[{place}].spans[{number}]' is {str(span)[:60]}, expected "
                    f"[start, end, form, level] inside the text"
                )
    for form in cls["forms"]:
        if form["level"] >= LEVELS:
            yield f"'{at}.forms' holds level {form['level']}, expected 0 to {LEVELS - 1}"


def _is_span(span: list[Any], length: int) -> bool:
    kinds = (int, int, str, int)
    right = len(span) == len(kinds) and all(type(v) is kind for v, kind in zip(span, kinds, strict=True))
    return right and 0 <= span[0] < span[1] <= length and 0 <= span[3] < LEVELS
