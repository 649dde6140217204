"""One self-contained page and two CSV files from folders of run records.

Choices: everything is inlined and the page's content policy forbids any request; text from outside (names, titles,
captions) is escaped by the templates, always; no clock and no absolute path is printed, so equal inputs give equal
bytes. Long reports stay readable and small: figures are drawn for the first families and galleries for the first
groups of each board, and the page says so where some are left to the run folders.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from zsbench.atomic import write_text

from . import figures
from .boards import Board, Family, Group, boards
from .pictures import Card, gallery
from .read import LeftOut, Run, read_runs
from .tables import DIGITS, classes_csv, runs_csv
from .terminal import summary
from .verdict import points, verdict

PAGE, RUNS, CLASSES = "report.html", "runs.csv", "classes.csv"
MOST_FAMILIES = 12  # with figures, per board
MOST_GALLERIES = 24  # per board


@dataclass(frozen=True)
class ReportSummary:
    """What was written: the three files, how many runs they hold, and what was left out and why."""

    page: Path
    runs_csv: Path
    classes_csv: Path
    runs: int
    left_out: tuple[LeftOut, ...]
    text: str  # the one-screen summary for a terminal


def write_report(roots: Sequence[Path], out: Path) -> ReportSummary:
    """Writes report.html, runs.csv and classes.csv into the folder `out`, each whole or not at all.

    `roots` are folders of runs, run folders or record files. What cannot be used is named on stderr and on the page.
    Raises UserError for a root that does not exist.
    """
    runs, left = read_runs(roots)
    for item in left:
        print(f"left out: {item.place}: {item.why}", file=sys.stderr)
    write_text(out / RUNS, runs_csv(runs))
    write_text(out / CLASSES, classes_csv(runs))
    write_text(out / PAGE, render(runs, left))  # last: a page always has its numbers beside it
    text = f"{summary(boards(runs))}\n\n{out / PAGE}   {out / RUNS}   {out / CLASSES}"
    return ReportSummary(out / PAGE, out / RUNS, out / CLASSES, len(runs), tuple(left), text)


def render(runs: Sequence[Run], left: Sequence[LeftOut]) -> str:
    """The page as HTML text."""
    style, script = _template("style.css"), _template("script.js")
    views = _views(boards(runs))
    kinds = {kind: [view for view in views if view.board.kind == kind] for kind in ("drawn", "real")}
    return _environment().get_template("page.html").render(
        style=Markup(style), script=Markup(script), policy=_policy(style, script), views=views,
        kinds={kind: own for kind, own in kinds.items() if own}, left=left, runs=runs,
    )  # fmt: skip


class Mark(NamedTuple):
    """One cell of the supervision ledger. state: "free" (not used), "used", or "warned" (touches unseen classes)."""

    state: str
    words: str
    more: str = ""


class Departures(NamedTuple):
    """Where one method's settings differ from its paper's."""

    title: str
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Figures:
    """The drawings of one family."""

    family: Family
    bars: list[figures.Panel]
    curves: list[figures.Panel]


@dataclass(frozen=True)
class View:
    """A board with everything its section shows."""

    board: Board
    id: str

    @cached_property
    def verdict(self) -> list[str]:
        return verdict(self.board)

    @cached_property
    def leakage(self) -> Markup | None:
        return figures.leakage(self.board, f"{self.id}-leakage") if self.board.pairs else None

    @cached_property
    def figures(self) -> list[Figures]:
        return [self._drawn(family, place) for place, family in enumerate(self.board.families[:MOST_FAMILIES])]

    def _drawn(self, family: Family, place: int) -> Figures:
        name = f"{self.id}-{place}"
        wanted = (("unseen", "unseen"), ("all", "unseen"), ("all", "seen"))
        bars = [
            figures.Panel(_BARS[scope, kind], "", figures.class_bars(family, scope, kind, f"{name}-{scope}-{kind}"))
            for scope, kind in wanted
            if figures.class_scores(family, scope, kind)
        ]
        return Figures(family, bars, figures.curves(family, f"{name}-curve"))

    @cached_property
    def undrawn(self) -> int:
        return max(0, len(self.board.families) - MOST_FAMILIES)

    @cached_property
    def galleries(self) -> list[tuple[Group, int | None, list[Card]]]:
        groups = [group for family in self.board.families for group in family.groups]
        found = [(group, *gallery(group)) for group in groups[:MOST_GALLERIES]]
        return [item for item in found if item[2]]

    @property
    def departures(self) -> list[Departures]:
        found: dict[str, Departures] = {}
        for group in self.board.groups:
            rows = group.first.get("method.departures", [])
            same = json.dumps([group.first.get("method.name"), rows], sort_keys=True)
            found.setdefault(same, Departures(group.title, rows))
        return [item for item in found.values() if item.rows]


_BARS = {
    ("unseen", "unseen"): "Unseen only: unseen classes",
    ("all", "unseen"): "All names: unseen classes",
    ("all", "seen"): "All names: seen classes",
}


def ledger(group: Group) -> list[Mark]:
    """What the group was allowed to learn from, in the order of the ledger's columns."""
    of = {name: group.first.get(f"supervision.{name}", "") for name in _LEDGER}
    return [
        Mark("used", f"{of['masks']} classes") if of["masks"] not in ("none", "") else Mark("free", "none"),
        Mark("warned", f"{of['layout']} classes") if of["layout"] not in ("none", "") else Mark("free", "none"),
        Mark("warned", f"{of['unlabelled']} images") if of["unlabelled"] not in ("none", "") else Mark("free", "none"),
        _captions(group),
        Mark(
            "free" if of["backbone"].endswith("random init") or not of["backbone"] else "used",
            of["backbone"] or "not stated",
        ),
        _backbone_corpus(of["backbone_corpus"]),
        Mark("warned" if of["unseen_names"] == "training" else "free", f"at {of['unseen_names'] or 'evaluation'}"),
        Mark("free" if of["tuned_on"] in ("nothing", "") else "used", of["tuned_on"] or "nothing"),
    ]


_LEDGER = ("masks", "layout", "unlabelled", "backbone", "backbone_corpus", "unseen_names", "tuned_on")


def _backbone_corpus(words: str) -> Mark:
    state = "warned" if "unknown" in words else "free" if words in ("nothing", "") else "used"
    return Mark(state, words or "not stated")


def _captions(group: Group) -> Mark:
    corpus = group.first.get("supervision.corpus")
    if not corpus:
        return Mark("free", "none")
    pairs = f", {corpus['pairs']:,} pairs" if corpus.get("pairs") is not None else ""
    counts = corpus.get("unseen_named") or {}
    naming = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    verdict = corpus.get("verdict") or "not scanned"
    more = [f"{verdict}: {naming}" if naming else verdict, *_of_scan(corpus)]
    return Mark("warned" if group.tone == "named" else "used", f"{corpus['name']}{pairs}", "; ".join(more))


def _of_scan(corpus: Mapping[str, Any]) -> Iterator[str]:
    """What a count of names depends on: the words, the letters, and what was left out before."""
    lexicon, purged, others = (corpus.get(name) for name in ("lexicon", "purged", "non_latin"))
    if lexicon:
        yield f"words of {lexicon['name']} ({lexicon['fingerprint']}), {_levels(corpus.get('level') or 0)}"
    if purged:
        yield f"{purged['pairs']:,} pairs that name some were left out"
    if others:
        yield f"{others:,} in other letters than Latin, which no English word matches"


def _levels(highest: int) -> str:
    return f"levels 0-{highest}" if highest else "level 0"


def _views(found: Sequence[Board]) -> list[View]:
    """Views with ids that are unique and speak: "drawn-voc5", then "drawn-voc5.2"."""
    stems = [f"{board.kind}-{_slug(str(board.run.get('split.name')))}" for board in found]
    before = [stems[:place].count(stem) for place, stem in enumerate(stems)]
    ids = [f"{stem}.{count + 1}" if count else stem for stem, count in zip(stems, before, strict=True)]
    return [View(board, id) for board, id in zip(found, ids, strict=True)]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-") or "split"


def _policy(style: str, script: str) -> str:
    """The page's content policy: nothing from outside, this style and this script only, pictures from data URIs."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "points": points, "exact": _exact, "ledger": ledger, "number": _number, "seconds": _seconds, "bytes": _bytes,
        "value": _value, "one": lambda run: Group((run,)), "facts": lambda group, board: board.apart(group),
    }  # fmt: skip
    return environment


def _template(name: str) -> str:
    return resources.files(f"{__package__}.templates").joinpath(name).read_text(encoding="utf-8")


def _exact(fraction: float) -> str:
    """A fraction as it stands in the CSV."""
    return repr(round(fraction, DIGITS))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{value:.1f} s"


def _bytes(value: float | None) -> str:
    return "–" if value is None else f"{value / 2**20:,.0f} MiB"


def _value(value: Any) -> str:
    """A setting as it is printed: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
