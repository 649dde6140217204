"""One self-contained page and its CSV files from folders of run records and leakage reports.

Choices: everything is inlined and the page's content policy forbids any request; text from outside (names, titles,
captions) is escaped by the templates, always; no clock and no absolute path is printed, so equal inputs give equal
bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from zsbench.atomic import write_text

from .ablation_rows import ablation_csv
from .ablation_view import MOST_DRAWN
from .against import check
from .boards import Board, boards
from .cite import bibtex, plain, sources
from .command import alone
from .confused import confusion_csv, confusion_rows
from .differences import difference_rows, differences_csv
from .exports import FORMATS
from .frequency import frequency_csv, frequency_rows
from .frequency import words as rank_words
from .groups import Group
from .lead import headline
from .leakage import words
from .leakage.html import proof
from .leakage.model import Leakage
from .leakage.proof import visible
from .leakage.tables import safe
from .leaks import MOST_CLASSES, captions_csv, leaks
from .ledger import COLUMNS, ledger
from .ledger import standing as submitted
from .lines import MOST_LINES, mark, swatch
from .marks import marks
from .places import LeftOut, encodable
from .read import Run, read_runs
from .scans import key_of, read_scans
from .series import calibration_csv, rounds_csv
from .side_by_side import swatch as look
from .tables import DIGITS, attention_of, classes_csv, prompts_of, runs_csv
from .terminal import summary
from .verdict import points, signed
from .views import View, sweep_views, views_of

PAGE = "report.html"
STYLES = ("style.css", "sections.css", "common.css")


@dataclass(frozen=True)
class Found:
    """Everything that a report tells: the usable runs, their views, and the scans beside them."""

    runs: Sequence[Run]
    views: Sequence[View]
    scans: Sequence[Leakage]


TABLES: tuple[tuple[str, Callable[[Found], str]], ...] = (
    ("runs.csv", lambda found: runs_csv(found.runs)),
    ("classes.csv", lambda found: classes_csv(found.runs)),
    ("rounds.csv", lambda found: rounds_csv(found.runs)),
    ("calibration.csv", lambda found: calibration_csv(found.runs)),
    ("ablation.csv", lambda found: ablation_csv(found.runs)),
    ("differences.csv", lambda found: differences_csv(
        [row for view in found.views for row in difference_rows(view.compared, view.against.group)])),
    ("frequency.csv", lambda found: frequency_csv(
        [row for view in found.views for row in frequency_rows(view.frequencies)])),
    ("confusion.csv", lambda found: confusion_csv(
        [row for view in found.views for row in confusion_rows(view.confusions)])),
    ("captions.csv", lambda found: captions_csv(found.scans)),
)  # fmt: skip
FILES = tuple(name for name, _ in TABLES)


@dataclass(frozen=True)
class ReportSummary:
    """What was written: the page (its place, also where only tables were wanted: `has_page`), the tables by file name,
    how many runs they hold, and what was left out and why. stale: files of an earlier report that were removed."""

    page: Path
    has_page: bool
    tables: dict[str, Path]
    runs: int
    left_out: tuple[LeftOut, ...]
    text: str  # the one-screen summary for a terminal
    stale: tuple[str, ...]


def write_report(
    roots: Sequence[Path], out: Path, base: str | None = None, also: Sequence[str] = (), page: bool = True
) -> ReportSummary:
    """Writes report.html and its CSV files into the folder `out`, each whole or not at all.

    also: further formats, names of `exports.FORMATS`; page: whether the page is wanted, or only tables. A page or format
    of an earlier report that is not written again is removed, as it would stand beside the tables of other runs.

    `roots` are folders of runs and of leakage reports, run folders or record files. What cannot be used is named on stderr
    and on the page. base: what the others are compared with, see `against`; without it the best-ranked of each board.
    Raises UserError for a root that does not exist or is a foreign file, and for a base that no run is.
    """
    runs, left = read_runs(roots)
    scans, faulty = read_scans(roots)
    left = sorted([*left, *faulty], key=lambda item: (item.place, item.why))
    for item in left:
        print(f"left out: {visible(item.place)}: {visible(item.why)}", file=sys.stderr)
    boards_found = boards(runs)
    check(boards_found, base)
    found = Found(runs, views_of(boards_found, base, scans), scans)
    texts = {name: made(found) for name, made in TABLES}
    texts |= {file: written(found.views, left) for file, written in map(FORMATS.__getitem__, also)}
    if page:
        texts[PAGE] = render(runs, left, found.views, scans)  # last: a page always has its numbers beside it
    stale = _stale(out, texts)
    for name, text in texts.items():
        write_text(out / name, encodable(text))
    for name in stale:
        (out / name).unlink()
    return ReportSummary(
        page=out / PAGE,
        has_page=page,
        tables={name: out / name for name in FILES},
        runs=len(runs),
        left_out=tuple(left),
        text=_said(boards_found, [str(out / name) for name in texts], stale),
        stale=tuple(stale),
    )


SIGNS = {PAGE: "<title>zsbench report:", "report.md": "# Zero-shot segmentation report",
         "report.tex": "zsbench report --latex", "report.json": '"kind": "report"'}  # fmt: skip


def _stale(out: Path, texts: Collection[str]) -> list[str]:
    """Files of an earlier report in `out` that are not written again; what another program wrote is left alone."""
    return [name for name, sign in SIGNS.items() if name not in texts and _is_ours(out / name, sign)]


def _is_ours(path: Path, sign: str) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return path.is_file() and sign in file.read(4000)
    except OSError:
        return False


def _said(found: Sequence[Board], files: Sequence[str], stale: Sequence[str]) -> str:
    parts = [headline(found), summary(found), "   ".join(files)]
    if stale:
        parts.append(f"removed, as it was of an earlier report: {', '.join(stale)}")
    return encodable("\n\n".join(parts))


def render(runs: Sequence[Run], left: Sequence[LeftOut], views: Sequence[View], scans: Sequence[Leakage] = ()) -> str:
    """The page as HTML text."""
    style, script = "".join(map(_template, STYLES)), _template("script.js")
    swept = sweep_views(views)
    kinds = {kind: [view for view in views if view.board.kind == kind] for kind in ("drawn", "real")}
    found = [view.board for view in views]
    return _environment().get_template("page.html").render(
        style=Markup(style), script=Markup(script), policy=_policy(style, script), views=views, sweeps=swept,
        swept={board for item in swept for board in item.sweep.boards}, ledger_columns=COLUMNS, most_lines=MOST_LINES,
        most_drawn=MOST_DRAWN, most_classes=MOST_CLASSES, kinds={kind: own for kind, own in kinds.items() if own},
        left=left, runs=runs, files=FILES, headline=headline(found), leaks=leaks(runs, scans), words=words,
        citation=plain(runs), bibtex=bibtex(runs), sources=sources(found),
    )  # fmt: skip


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
        finalize=_printed,
    )
    environment.filters |= {
        "points": points, "exact": _exact, "ledger": ledger, "number": _number, "seconds": _seconds, "bytes": _bytes,
        "value": _value, "signed": signed, "whole": _whole, "tenths": _tenths, "millions": _millions,
        "swatch": swatch, "look": look, "prompts": prompts_of, "attention": attention_of,
        "marks": marks, "submitted": submitted, "marker": mark, "alone": alone, "rank_words": rank_words,
        "proof": proof, "scan_key": key_of, "safe_cell": safe, "rate": words.rate, "ratio": _ratio, "chance": _chance,
        "percent": _percent,
        "one": lambda run: Group((run,)), "facts": lambda group, board: board.apart(group),
    }  # fmt: skip
    return environment


def _printed(value: Any) -> Any:
    """Every value on its way into the page: what acts on a screen or turns the reading direction is written out."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _template(name: str) -> str:
    return resources.files(f"{__package__}.templates").joinpath(name).read_text(encoding="utf-8")


def _exact(fraction: float) -> str:
    """A fraction as it stands in the CSV."""
    return repr(round(fraction, DIGITS))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}"


def _whole(value: float) -> str:
    """A count, or the mean of counts over seeds."""
    return f"{value:,.0f}"


def _tenths(value: float) -> str:
    """A rate."""
    return f"{value:,.1f}"


def _ratio(value: float) -> str:
    """A number from −1 to 1."""
    return f"{round(value, 2) + 0:.2f}".replace("-", "−")  # + 0: no "−0.00"


def _chance(value: float) -> str:
    """A p-value."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f}"


def _millions(value: float) -> str:
    """A count of parameters as papers print it."""
    return f"{value / 1e6:.2f} M"


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
