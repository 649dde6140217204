"""One self-contained page and five CSV files from folders of run records.

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
from .boards import boards
from .groups import Group
from .ledger import COLUMNS, ledger
from .lines import MOST_LINES, swatch
from .read import LeftOut, Run, read_runs
from .series import calibration_csv, rounds_csv
from .side_by_side import swatch as look
from .tables import DIGITS, attention_of, classes_csv, prompts_of, runs_csv
from .terminal import summary
from .verdict import points, signed
from .views import sweep_views, views_of

PAGE, RUNS, CLASSES = "report.html", "runs.csv", "classes.csv"
ROUNDS, CALIBRATION, ABLATION = "rounds.csv", "calibration.csv", "ablation.csv"


@dataclass(frozen=True)
class ReportSummary:
    """What was written: the page and its tables, how many runs they hold, and what was left out and why."""

    page: Path
    runs_csv: Path
    classes_csv: Path
    rounds_csv: Path
    calibration_csv: Path
    ablation_csv: Path
    runs: int
    left_out: tuple[LeftOut, ...]
    text: str  # the one-screen summary for a terminal


def write_report(roots: Sequence[Path], out: Path) -> ReportSummary:
    """Writes report.html and its CSV files into the folder `out`, each whole or not at all.

    `roots` are folders of runs, run folders or record files. What cannot be used is named on stderr and on the page.
    Raises UserError for a root that does not exist.
    """
    runs, left = read_runs(roots)
    for item in left:
        print(f"left out: {item.place}: {item.why}", file=sys.stderr)
    tables = {RUNS: runs_csv, CLASSES: classes_csv, ROUNDS: rounds_csv, CALIBRATION: calibration_csv,
              ABLATION: ablation_csv}  # fmt: skip
    for name, table in tables.items():
        write_text(out / name, table(runs))
    write_text(out / PAGE, render(runs, left))  # last: a page always has its numbers beside it
    text = f"{summary(boards(runs))}\n\n{'   '.join(str(out / name) for name in (PAGE, *tables))}"
    return ReportSummary(
        out / PAGE, out / RUNS, out / CLASSES, out / ROUNDS, out / CALIBRATION, out / ABLATION, len(runs), tuple(left), text
    )  # fmt: skip


def render(runs: Sequence[Run], left: Sequence[LeftOut]) -> str:
    """The page as HTML text."""
    style, script = _template("style.css"), _template("script.js")
    views = views_of(boards(runs))
    swept = sweep_views(views)
    kinds = {kind: [view for view in views if view.board.kind == kind] for kind in ("drawn", "real")}
    return _environment().get_template("page.html").render(
        style=Markup(style), script=Markup(script), policy=_policy(style, script), views=views, sweeps=swept,
        swept={board for item in swept for board in item.sweep.boards}, ledger_columns=COLUMNS, most_lines=MOST_LINES,
        most_drawn=MOST_DRAWN, kinds={kind: own for kind, own in kinds.items() if own}, left=left, runs=runs,
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
    )
    environment.filters |= {
        "points": points, "exact": _exact, "ledger": ledger, "number": _number, "seconds": _seconds, "bytes": _bytes,
        "value": _value, "signed": signed, "whole": _whole, "tenths": _tenths, "millions": _millions,
        "swatch": swatch, "look": look, "prompts": prompts_of, "attention": attention_of,
        "one": lambda run: Group((run,)), "facts": lambda group, board: board.apart(group),
    }  # fmt: skip
    return environment


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
