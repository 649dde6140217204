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
from collections.abc import Sequence
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
from .boards import boards
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
from .places import LeftOut
from .read import Run, read_runs
from .scans import key_of, read_scans
from .series import calibration_csv, rounds_csv
from .side_by_side import swatch as look
from .tables import DIGITS, attention_of, classes_csv, prompts_of, runs_csv
from .terminal import summary
from .verdict import points, signed
from .views import View, sweep_views, views_of

PAGE, RUNS, CLASSES = "report.html", "runs.csv", "classes.csv"
ROUNDS, CALIBRATION, ABLATION = "rounds.csv", "calibration.csv", "ablation.csv"
DIFFERENCES, FREQUENCY, CONFUSION = "differences.csv", "frequency.csv", "confusion.csv"
CAPTIONS = "captions.csv"
STYLES = ("style.css", "sections.css", "common.css")


@dataclass(frozen=True)
class ReportSummary:
    """What was written: the page and its tables, how many runs they hold, and what was left out and why."""

    page: Path
    runs_csv: Path
    classes_csv: Path
    rounds_csv: Path
    calibration_csv: Path
    ablation_csv: Path
    differences_csv: Path
    frequency_csv: Path
    confusion_csv: Path
    captions_csv: Path
    runs: int
    left_out: tuple[LeftOut, ...]
    text: str  # the one-screen summary for a terminal


def write_report(
    roots: Sequence[Path], out: Path, base: str | None = None, also: Sequence[str] = (), page: bool = True
) -> ReportSummary:
    """Writes report.html and its CSV files into the folder `out`, each whole or not at all.

    also: further formats, names of `exports.FORMATS`; page: whether the page is wanted, or only tables.

    `roots` are folders of runs and of leakage reports, run folders or record files. What cannot be used is named on stderr
    and on the page. base: what the others are compared with, see `against`; without it the best-ranked of each board.
    Raises UserError for a root that does not exist, and for a base that no run is.
    """
    runs, left = read_runs(roots)
    scans, faulty = read_scans(roots)
    left = sorted([*left, *faulty], key=lambda item: item.place)
    for item in left:
        print(f"left out: {item.place}: {item.why}", file=sys.stderr)
    found = boards(runs)
    check(found, base)
    views = views_of(found, base, scans)
    tables = tables_of(runs, views, scans)
    texts = tables | {file: written(views, left) for file, written in map(FORMATS.__getitem__, also)}
    if page:
        texts[PAGE] = render(runs, left, views, scans)  # last: a page always has its numbers beside it
    for name, text in texts.items():
        write_text(out / name, text)
    said = f"{headline(found)}\n\n{summary(found)}\n\n{'   '.join(str(out / name) for name in texts)}"
    files = {f"{name.removesuffix('.csv')}_csv": out / name for name in tables}
    return ReportSummary(page=out / PAGE, **files, runs=len(runs), left_out=tuple(left), text=said)


def tables_of(runs: Sequence[Run], views: Sequence[View], scans: Sequence[Leakage]) -> dict[str, str]:
    """File name -> text of every CSV file."""
    return {
        RUNS: runs_csv(runs), CLASSES: classes_csv(runs), ROUNDS: rounds_csv(runs), CALIBRATION: calibration_csv(runs),
        ABLATION: ablation_csv(runs),
        DIFFERENCES: differences_csv([r for v in views for r in difference_rows(v.compared, v.against.group)]),
        FREQUENCY: frequency_csv([row for view in views for row in frequency_rows(view.frequencies)]),
        CONFUSION: confusion_csv([row for view in views for row in confusion_rows(view.confusions)]),
        CAPTIONS: captions_csv(scans),
    }  # fmt: skip


FILES = (RUNS, CLASSES, ROUNDS, CALIBRATION, ABLATION, DIFFERENCES, FREQUENCY, CONFUSION, CAPTIONS)


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
