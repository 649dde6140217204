"""leakage.html: one self-contained page of one or several leakage reports.

Choices: the verdict comes first, then the figures, then the captions that prove them; nothing needs a script. Lexicons
that several reports share are printed once. No clock and no path is added to what the reports hold, so equal reports
give equal bytes. The page stays small with many classes: fewer characters of a caption are shown, long lists are cut
with a count of what is left, and what is left stands in leakage.json beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from markupsafe import Markup

from . import figures, words
from .html import environment, policy, proof, template
from .model import Class, Entry, Leakage
from .proof import WINDOW

OPENED = 3  # classes whose evidence is open from the start
MOST_OPENED = 8  # … and where there are no more classes than this, all of them
ROWS = 30  # classes before the rest is folded
SOURCES = 20  # files before the rest is folded
FORMS = 24  # per class and level
MANY_CLASSES = 150  # class blocks on a page from which everything is cut shorter
SHORT_WINDOW, FEW_FORMS = 110, 8  # then
TITLES = {"real": "Collected captions", "drawn": "Drawn captions"}


def render(reports: Sequence[Leakage]) -> str:
    """The page as HTML text."""
    style, script = template("style.css") + template("leakage.css"), template("script.js")
    views = _views(reports)
    many = sum(len(view.evidence) for view in views) > MANY_CLASSES
    window = SHORT_WINDOW if many else WINDOW
    made = environment(_filters() | {"proof": lambda example: proof(example, window)})
    return made.get_template("leakage.html").render(
        style=Markup(style), script=Markup(script), policy=policy(style, script), views=views, words=words,
        heats=figures.heat_maps([(view.id, view.report) for view in views]), titles=TITLES, glossary=_glossary(views),
        kinds=[(kind, own) for kind in TITLES if (own := [v for v in views if v.kind == kind])], rows=ROWS,
        most_forms=FEW_FORMS if many else FORMS,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class View:
    """A report with everything its section shows."""

    report: Leakage
    id: str

    @property
    def kind(self) -> str:
        return "drawn" if self.report.drawn else "real"

    @property
    def title(self) -> str:
        corpus, split = (words.cut(self.report.get(path), 60) for path in ("corpus.name", "split.name"))
        return f"{corpus} × {split}"

    @property
    def tone(self) -> str:
        """named: some class is; none: a whole scan found nothing; unknown: a partial one found nothing."""
        return "named" if self.report.get("named") else "clean" if self.report.complete else "unknown"

    @cached_property
    def scale(self) -> figures.Scale:
        return figures.scale(self.report)

    @cached_property
    def evidence(self) -> list[Class]:
        """Classes with something to show: captions that name them, or mentions that do not count."""
        return [cls for cls in self.report.ranked if cls.captions or cls.set_aside or cls.placeholders]

    @cached_property
    def silent(self) -> list[str]:
        """Classes without any mention."""
        shown = {cls.name for cls in self.evidence}
        return [cls.name for cls in self.report.classes if cls.name not in shown]

    def opened(self, place: int) -> bool:
        return place < OPENED or len(self.evidence) <= MOST_OPENED

    def id_of(self, cls: Class) -> str:
        return figures.class_id(self.id, self.report, cls)

    @cached_property
    def together(self) -> figures.Together:
        return figures.together(self.report)

    @cached_property
    def sources(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """(shown, folded): broken files are never folded."""
        found = self.report.get("corpus.sources")
        first = [s for place, s in enumerate(found) if place < SOURCES or s["broken"]]
        return first, [s for place, s in enumerate(found) if place >= SOURCES and not s["broken"]]

    @cached_property
    def outside(self) -> list[tuple[str, list[int | None]]]:
        """(class, its count in each outside corpus), for classes that any of them counted."""
        counts = [item["counts"] for item in self.report.get("outside")]
        found = [(cls.name, [count.get(cls.name) for count in counts]) for cls in self.report.ranked]
        return [(name, row) for name, row in found if any(value is not None for value in row)]

    @property
    def forms(self) -> int:
        return sum(len(entry.forms) for entry in self.report.entries)


@dataclass(frozen=True)
class Glossary:
    """One lexicon and the sections that were scanned with it."""

    id: str
    report: Leakage
    views: tuple[View, ...]


def _glossary(views: Sequence[View]) -> list[Glossary]:
    found: dict[str, list[View]] = {}
    for view in views:
        found.setdefault(view.report.get("lexicon.fingerprint"), []).append(view)
    return [Glossary(f"lexicon-{n}", own[0].report, tuple(own)) for n, own in enumerate(found.values(), 1)]


def _views(reports: Sequence[Leakage]) -> list[View]:
    """Views with ids that are unique and speak: "voc5-cc12m-tsv", then "voc5-cc12m-tsv.2"."""
    stems = [_slug(f"{report.get('split.name')}-{report.get('corpus.name')}") for report in reports]
    before = [stems[:place].count(stem) for place, stem in enumerate(stems)]
    ids = [f"{stem}.{count + 1}" if count else stem for stem, count in zip(stems, before, strict=True)]
    return [View(report, id) for report, id in zip(reports, ids, strict=True)]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")[:60] or "report"


def _by_level(entry: Entry) -> list[tuple[int, list[str]]]:
    levels = sorted({form.level for form in entry.forms})
    return [(level, [form.text for form in entry.forms if form.level == level]) for level in levels]


def _found_by_level(cls: Class) -> list[tuple[int, list[Any]]]:
    levels = sorted({form.level for form in cls.found})
    return [(level, [form for form in cls.found if form.level == level]) for level in levels]


def _filters() -> dict[str, Any]:
    return {
        "number": words.number, "rate": words.rate, "seconds": words.seconds, "interval": words.interval,
        "corrected": words.corrected, "by_level": _by_level, "found_by_level": _found_by_level, "bytes": _bytes,
        "pos": lambda value: f"{value:.4g}", "segments": lambda cls, axis: list(figures.segments(cls, axis)),
        "decade": figures.shade,
    }  # fmt: skip


def _bytes(value: int) -> str:
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value} B"
