"""Leakage reports beside runs: found below the same folders, and fitted to the captions that runs were trained on.

Choices: nothing is recomputed, a report is taken whole or left out with its reason. It fits a corpus by fingerprint, or
by name if the number of captions is the same and no count of an unseen class contradicts the run's own: a corpus of that
name may have changed since.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zsbench.errors import UserError

from . import leakage
from .leakage.model import Leakage
from .places import LeftOut, is_leakage_report, place_of
from .read import Run

FILE = "leakage.json"
PARTS = "parts"  # of a scan that goes on where it was: no reports


@dataclass(frozen=True, eq=False)
class Scanned:
    """One corpus that some run was trained on, the reports that fit it, best first, and those runs."""

    name: str
    runs: tuple[Run, ...]
    reports: tuple[Leakage, ...]

    @property
    def report(self) -> Leakage | None:
        return self.reports[0] if self.reports else None


def read_scans(roots: Sequence[Path]) -> tuple[list[Leakage], list[LeftOut]]:
    """Every usable leakage report below `roots`, one per corpus, split, words and level, and what was left out."""
    found: list[tuple[Leakage, str, Path]] = []
    left: list[LeftOut] = []
    for root in roots:
        for path in _files(root):
            place = place_of(path.parent, root)
            try:
                found += [(report, place, path.resolve()) for report in leakage.read_leakage([path])]
            except UserError as fault:
                left.append(LeftOut(place, _told(str(fault), path)))
    return _without_doubles(found, left)


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield from [root] if is_leakage_report(root) else []
        return
    for name, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != PARTS)
        if FILE in files:
            yield Path(name) / FILE


def _told(fault: str, path: Path) -> str:
    """The fault without the path, which the page does not print."""
    return fault.replace(f"{path}: ", "").replace(str(path), path.name)


def _without_doubles(
    found: list[tuple[Leakage, str, Path]], left: list[LeftOut]
) -> tuple[list[Leakage], list[LeftOut]]:
    """One report per corpus, split, words and level: the one made last stays, the others are left out by name.

    found: (report, its place, its file); a file that lies below two roots is no other report.
    """
    kept: dict[str, tuple[Leakage, str, Path]] = {}
    for report, place, path in sorted(found, key=_newest, reverse=True):
        first, beside, file = kept.setdefault(_identity(report), (report, place, path))
        if first is not report and (file != path or first.raw != report.raw):
            left.append(
                LeftOut(place, f"another report of the same scan as {beside}, which was made later or at the same time")
            )
    return sorted((report for report, _, _ in kept.values()), key=_order), left


def _newest(found: tuple[Leakage, str, Path]) -> tuple[str, str, str]:
    report, place, _ = found
    return str(report.get("made")), str(report.get("command")), place


def _identity(report: Leakage) -> str:
    names = ("corpus.name", "corpus.fingerprint", "split.name", "split.fingerprint", "split.scope",
             "lexicon.fingerprint", "lexicon.level")  # fmt: skip
    return json.dumps([report.get(name) for name in names])


def key_of(report: Leakage) -> str:
    """Tells a scan from every other one, as the key of a run does."""
    return hashlib.sha256(_identity(report).encode()).hexdigest()[:12]


def _order(report: Leakage) -> tuple[str, str, str, str]:
    return report.get("corpus.name"), report.get("split.name"), report.get("split.scope"), _identity(report)


def fits(report: Leakage, run: Run) -> bool:
    """Whether a report is of the captions that a run was trained on, and looks for all of its unseen classes."""
    corpus = run.get("supervision.corpus")
    if not corpus or not set(run.get("split.unseen")) <= report.counts.keys():
        return False
    if report.get("corpus.fingerprint") and report.get("corpus.fingerprint") == corpus.get("fingerprint"):
        return True
    if report.get("corpus.name") != corpus["name"] or report.get("corpus.captions") != corpus.get("pairs"):
        return False
    same = corpus.get("level") in (None, report.get("lexicon.level"))
    told = corpus.get("unseen_named") or {}
    return not same or all(report.counts.get(name) == count for name, count in told.items())


def scanned(runs: Sequence[Run], reports: Sequence[Leakage]) -> tuple[list[Scanned], list[Leakage]]:
    """(the corpora of all runs with their reports, the reports of corpora that no run used)."""
    by_corpus: dict[str, list[Run]] = {}
    for run in runs:
        if corpus := run.get("supervision.corpus"):
            same = json.dumps([corpus.get(name) for name in ("name", "fingerprint", "pairs", "policy")])
            by_corpus.setdefault(same, []).append(run)
    found = [_scanned(own, reports) for own in by_corpus.values()]
    used = {id(report) for one in found for report in one.reports}
    return sorted(found, key=lambda one: one.name), [report for report in reports if id(report) not in used]


def _scanned(runs: Sequence[Run], reports: Sequence[Leakage]) -> Scanned:
    own = [report for report in reports if any(fits(report, run) for run in runs)]
    return Scanned(str(runs[0].get("supervision.corpus.name")), tuple(runs), tuple(sorted(own, key=_widest)))


def _widest(report: Leakage) -> tuple[bool, int, int, str]:
    """The report that says most: complete, of the most classes, at the highest level."""
    return not report.complete, -len(report.classes), -report.get("lexicon.level"), _identity(report)
