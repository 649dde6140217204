"""The report for other programs: Markdown for a pull request, LaTeX with booktabs for a paper, JSON for a script.

Names come from outside. In Markdown they can open no tag, link or cell, in LaTeX no command, in JSON they are plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from .differences import Compared
from .groups import Group
from .ledger import COLUMNS, ledger
from .places import LeftOut
from .sheet import HEAD, NUMBERS, Sheet, sheet
from .tables import run_row
from .views import View

Written = Callable[[Sequence[View], Sequence[LeftOut]], str]
SCHEMA = 1


def markdown(views: Sequence[View], left: Sequence[LeftOut]) -> str:
    """One section per board, drawn and real apart as on the page."""
    parts = ["# Zero-shot segmentation report", *(_markdown_board(sheet(view)) for view in views)]
    if not views:
        parts.append("No finished run.")
    if left:
        rows = "\n".join(f"- {_md(item.place)}: {_md(item.why)}" for item in left)
        parts.append(f"## Left out\n\n{rows}")
    return "\n\n".join(parts) + "\n"


def _markdown_board(told: Sheet) -> str:
    align = [":--" if n in (0, 1, 9) else "--:" for n in range(len(HEAD))]
    rows = [HEAD, align, *(tuple(map(_md, row)) for row in told.rows)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([f"## {_md(told.title)}", table, "\n".join(f"- {_md(line)}" for line in told.lines)])


def _md(text: str) -> str:
    """Text that Markdown shows as it is: one line, nothing in it opens a tag, a link, a cell or emphasis."""
    flat = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    safe = re.sub(
        r"([\\`*_{}\[\]#|~$@])", r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    return re.sub(r"(?i)\b(https?|ftp|www)([:.])", r"\1&#8203;\2", safe)  # no address becomes a link by itself


def latex(views: Sequence[View], left: Sequence[LeftOut]) -> str:
    r"""One table per board for `\usepackage{booktabs}`; needs UTF-8, as pdfLaTeX has it since 2018."""
    head = "% Needs \\usepackage{booktabs,graphicx}. Made by: zsbench report --latex\n"
    gone = "".join(f"% Left out: {_comment(f'{item.place}: {item.why}')}\n" for item in left)
    return head + gone + "\n".join(_latex_board(sheet(view)) for view in views)


def _latex_board(told: Sheet) -> str:
    columns = "".join("r" if n in range(*NUMBERS.indices(len(HEAD))) else "l" for n in range(len(HEAD)))
    rows = "\n".join("    " + " & ".join(map(_tex, row)) + r" \\" for row in told.rows)
    return "\n".join([
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_tex(told.title)}. {' '.join(map(_tex, told.lines))}}}",
        r"  \resizebox{\linewidth}{!}{%",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        "    " + " & ".join(map(_tex, HEAD)) + r" \\",
        r"    \midrule",
        rows,
        r"    \bottomrule",
        r"  \end{tabular}}",
        r"\end{table}",
        "",
    ])  # fmt: skip


_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "−": "$-$",
        "×": r"$\times$", "≥": r"$\geq$", "…": r"\dots{}", '"': "''", "<": r"\textless{}", ">": r"\textgreater{}",
        "|": r"\textbar{}"}  # fmt: skip


def _tex(text: str) -> str:
    """Text without a command in it. A sign that is neither ASCII nor known here is left to LaTeX's UTF-8."""
    flat = "".join(sign if sign.isprintable() else " " for sign in text)
    return "".join(_TEX.get(sign, rf"\{sign}" if sign in "#$%&_{}" else sign) for sign in flat)


def _comment(text: str) -> str:
    """One line, so that nothing of it leaves the comment."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def as_json(views: Sequence[View], left: Sequence[LeftOut]) -> str:
    """Every board with its rows as numbers (fractions); runs as they stand in runs.csv."""
    told = {
        "schema": SCHEMA, "kind": "report", "boards": [_board(view) for view in views],
        "left_out": [{"place": item.place, "why": item.why} for item in left],
    }  # fmt: skip
    return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _board(view: View) -> dict[str, Any]:
    run, groups = view.board.run, view.board.groups
    return {
        "data": run.get("data.kind"), "data_title": run.get("data.title"), "data_fingerprint": run.get("data.fingerprint"),
        "split": run.get("split"), "candidates": {s: run.get(f"scores.{s}.candidates") for s in ("unseen", "all")},
        "images": run.get("data.parts.val.images"), "base": [one.key for one in view.against.group.runs],
        "rows": [_group(group, view.compared) for group in groups],
    }  # fmt: skip


def _group(group: Group, compared: Compared) -> dict[str, Any]:
    scores = {}
    for column in SCORES:
        score = group.score(column)
        scores[column] = {"value": score.value, "low": score.low, "high": score.high, "runs": score.runs}
    less = {
        column: {"value": one.value, "low": one.low, "high": one.high, "images": one.images, "verdict": one.verdict,
                 "lack": one.lack}
        for column, one in compared.get(group, {}).items()
    }  # fmt: skip
    marks = {name: {"state": mark.state, "words": mark.words, "more": mark.more}
             for name, mark in zip(COLUMNS, ledger(group), strict=True)}  # fmt: skip
    return {
        "method": group.first.get("method.name"), "title": group.title, "settings": group.first.get("method.config_given", {}),
        "captions": group.captions, "captions_say": group.tone, "limited": group.limited, "scores": scores,
        "less_base": less, "ledger": marks, "runs": [run_row(run) for run in group.runs],
    }  # fmt: skip


SCORES = ("unseen_only_miou", "chance_miou", "oracle_miou", "all_seen_miou", "all_unseen_miou", "all_harmonic_miou")
FORMATS: dict[str, tuple[str, Written]] = {
    "markdown": ("report.md", markdown), "latex": ("report.tex", latex), "json": ("report.json", as_json),
}  # fmt: skip
