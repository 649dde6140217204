"""leakage.md: the findings for a pull request or a wiki, every outside word escaped.

Choices: one table per report, captions as proof below it with the match in bold, and what the scan does not show. Text
from outside can start no heading, list, table cell, link, image, mention or HTML element.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from . import words
from .model import Class, Example, Leakage
from .proof import excerpt, visible

MOST_PROOF = 3  # captions per class
MOST_PROVEN = 40  # classes with captions
ACTIVE = re.compile(
    r"([\\`*_{}\[\]()<>#|~!&$@^=+])|(?<=\w)(:)(?=/)|(?<=www)(\.)|^(-|\d(?=\d*[.)](?:\s|$)))", re.IGNORECASE
)


def markdown(reports: Sequence[Leakage]) -> str:
    """The file as text; several reports stand below each other."""
    blocks = [block for report in reports for block in _report(report)]
    return "\n\n".join([*blocks, "## What this does not show", "\n".join(_not_shown())]) + "\n"


def escape(text: str) -> str:
    """Text that stays text in Markdown and in the HTML made of it."""
    return ACTIVE.sub(lambda sign: f"\\{sign[0]}" if not sign[0].isdigit() else f"&#{ord(sign[0])};", visible(text))


def _report(report: Leakage) -> Iterator[str]:
    drawn = " (drawn by zsbench)" if report.drawn else ""
    yield f"# Captions that name classes: {escape(report.get('corpus.name'))} × {escape(report.get('split.name'))}{drawn}"
    if not report.complete:
        said = ["**INCOMPLETE SCAN:** every count is “at least”.", *(escape(why) for why in words.reasons(report))]
        yield "\n>\n".join(f"> {line}" for line in said)
    yield f"**{escape(report.get('verdict'))}**"
    yield _facts(report)
    yield "\n".join(_table(report))
    if proof := list(_proof(report)):
        yield "## Captions as proof"
        yield "\n".join(proof)
    yield f"Repeat: {_code(report.get('command'))} (zsbench {escape(report.get('zsbench'))})"


def _facts(report: Leakage) -> str:
    lexicon = report.get("lexicon")
    facts = [words.scanned(report), words.seconds(report.get("corpus.seconds")), words.speed(report)]
    said = [
        ", ".join(filter(None, facts)),
        f"{words.at_least(report, report.get('flagged'))} captions name at least one {report.kind} "
        f"({words.rate(report.rate)} per million)",
        f"English forms, {words.levels(report)}, lexicon {escape(lexicon['name'])} {_code(lexicon['fingerprint'])}",
        *words.intake(report),
    ]
    return "\n".join(f"- {line}" for line in said)


def _table(report: Leakage) -> Iterator[str]:
    yield f"| {report.kind} | captions | per million | different texts | forms | named, precision | shown, precision | |"
    yield "|---|---:|---:|---:|---|---|---|---|"
    for cls in report.ranked:
        forms = escape(words.listed(list(words.forms(cls)), 6)) or "–"
        cells = [
            escape(cls.name), words.at_least(report, cls.captions), words.rate(cls.per_million),
            words.number(cls.unique), forms, words.interval(cls.named), words.interval(cls.shown),
            words.state(report, cls),
        ]  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def _proof(report: Leakage) -> Iterator[str]:
    for cls in [cls for cls in report.ranked if cls.captions][:MOST_PROVEN]:
        yield from (
            f"- {escape(cls.name)}: “{_quoted(example)}” ({escape(words.place(report, example))})"
            for example in _few(cls)
        )


def _few(cls: Class) -> Sequence[Example]:
    return cls.examples[:MOST_PROOF]


def _quoted(example: Example) -> str:
    return "".join(f"**{escape(p.text)}**" if p.mark else escape(p.text) for p in excerpt(example))


def _code(text: str) -> str:
    """Inline code that holds backticks too; nothing inside it is read as Markdown."""
    said = visible(text)
    fence = "`" * (max(map(len, re.findall("`+", said)), default=0) + 1)
    return f"{fence} {said} {fence}"


def _not_shown() -> Iterator[str]:
    return (f"- **{title}.** {sentence}" for title, sentence in words.NOT_SHOWN)
