"""The leakage table for a terminal, 100 columns wide, to be read at once and pasted into a message.

Choices: what makes the counts less than whole comes first; the most named class leads; nothing from outside reaches
the terminal unwritten-out, so a caption cannot colour, clear or reorder the screen. Width is counted in columns, not
characters: an ideograph takes two, a combining mark none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from . import words
from .model import Class, Leakage
from .proof import excerpt, visible

WIDTH = 100
MOST_ROWS = 40  # classes in the table
MOST_REASONS = 8  # why a scan is incomplete
MOST_PROOF = 8  # classes with a caption as proof
PROOF = 150  # characters of a caption, before it is fitted to the line
BOLD, WARN, GOOD, PALE, PLAIN = "\x1b[1m", "\x1b[33m", "\x1b[36m", "\x1b[2m", "\x1b[0m"
TONES = {"named": WARN, "over limit": WARN, "none found": GOOD, "none so far": PALE}


def text(report: Leakage, colour: bool = False, rows: int = MOST_ROWS) -> str:
    """The whole summary without a final newline. rows: how many classes the table shows at most."""
    parts = [_header(report), _table(report, rows), _proof(report), _aside(report), _verdict(report)]
    if not colour:
        return "\n\n".join("\n".join(line for line, _ in part) for part in map(list, parts) if part)
    return "\n\n".join("\n".join(_coloured(*line) for line in part) for part in map(list, parts) if part)


Line = tuple[str, str]  # what is printed, and its tone (empty for plain)


def _coloured(line: str, tone: str) -> str:
    return f"{tone}{line}{PLAIN}" if tone else line


def _header(report: Leakage) -> list[Line]:
    lines: list[Line] = []
    if not report.complete:
        lines.append(("INCOMPLETE SCAN: every count below is “at least”, and none found proves nothing.", WARN))
        why = words.reasons(report)
        lines += [(line, WARN) for reason in why[:MOST_REASONS] for line in wrap(fit(reason, 300), indent="  ")]
        if len(why) > MOST_REASONS:
            lines.append((f"  and {len(why) - MOST_REASONS:,} more", WARN))
    if report.drawn:
        lines.append(("drawn by zsbench: not a corpus anybody collected", PALE))
    name = fit(report.get("corpus.name"), 80)
    facts = [words.scanned(report), words.seconds(report.get("corpus.seconds")), words.speed(report)]
    lines += [(line, BOLD) for line in wrap(f"{name}: {', '.join(filter(None, facts))}", hang="  ")]
    split, lexicon = fit(report.get("split.name"), 40), report.get("lexicon")
    about = (
        f"{split}: {words.plural(len(report.classes), report.kind)}; English forms, {words.levels(report)}, "
        f"lexicon {fit(lexicon['name'], 24)} {fit(lexicon['fingerprint'][:12], 24)}"
    )
    return lines + [(line, "") for line in wrap(about)]


def _table(report: Leakage, rows: int) -> list[Line]:
    if not report.classes:
        return []
    shown = report.ranked[: max(1, rows)]
    precise = any(cls.named for cls in report.classes)
    heads = [report.kind, "captions", "per million", *(["precision, named"] if precise else []), "forms", "verdict"]
    cells = [_cells(report, cls, precise) for cls in shown]
    widths = [max(columns(row[i]) for row in [heads, *cells]) for i in range(len(heads))]
    widths[0] = min(widths[0], 22)
    forms = len(heads) - 2
    spare = WIDTH - sum(width for i, width in enumerate(widths) if i != forms) - 2 * (len(heads) - 1)
    widths[forms] = max(5, min(widths[forms], spare))
    lines: list[Line] = [(_row(heads, widths), PALE)]
    for cls, row in zip(shown, cells, strict=True):
        row[forms] = _forms(cls, widths[forms])
        lines.append((_row(row, widths), TONES[row[-1]]))
    return lines + [(line, PALE) for line in _rest(report, len(shown))]


def _cells(report: Leakage, cls: Class, precise: bool) -> list[str]:
    count = words.at_least(report, cls.captions)
    precision = [words.interval(cls.named)] if precise else []
    forms = "  ".join(visible(form) for form in words.forms(cls)) or "–"
    return [visible(cls.name), count, words.rate(cls.per_million), *precision, forms, words.state(report, cls)]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    right = (1, 2)
    return "  ".join(
        fill(cell, width, i in right) for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ).rstrip()


def _forms(cls: Class, width: int) -> str:
    """As many forms with their counts as fit, and how many more there are."""
    forms = [visible(form) for form in words.forms(cls)]
    if not forms:
        return "–"
    for many in range(len(forms), 0, -1):
        more = f"  +{len(forms) - many} more" if many < len(forms) else ""
        line = "  ".join(forms[:many]) + more
        if columns(line) <= width:
            return line
    return fit(forms[0], width)


def _rest(report: Leakage, shown: int) -> list[str]:
    left = report.ranked[shown:]
    if not left:
        return []
    named = sum(1 for cls in left if cls.captions)
    return wrap(f"… and {len(left):,} more classes, {named:,} of them named; all of them: classes.csv")


def _proof(report: Leakage) -> list[Line]:
    proven = [cls for cls in report.ranked if cls.captions and cls.examples]
    if not proven:
        return []
    lines: list[Line] = [("for example", PALE)]
    wide = max(columns(fit(cls.name, 18)) for cls in proven[:MOST_PROOF])
    for cls in proven[:MOST_PROOF]:
        example = cls.examples[0]
        where = fit(words.place(report, example), 26)
        room = WIDTH - wide - columns(where) - 8
        lines.append((f"  {fill(fit(cls.name, 18), wide)}  “{_quoted(cls, room)}”  {where}", ""))
    return lines


def _quoted(cls: Class, room: int) -> str:
    """The first example with »matches« marked, as much of it as fits with the first match inside."""
    for window in range(PROOF, 0, -10):
        pieces = excerpt(cls.examples[0], window)
        said = "".join(f"»{visible(p.text)}«" if p.mark else visible(p.text) for p in pieces)
        if columns(said) <= room:
            return said
    return fit(said, room)


def _aside(report: Leakage) -> list[Line]:
    """What was met and does not count."""
    lines = []
    blocked: dict[str, int] = {}
    for cls in report.classes:
        for aside in cls.set_aside:
            blocked[aside.text] = blocked.get(aside.text, 0) + aside.captions
    if blocked:
        ranked = sorted(blocked.items(), key=lambda item: (-item[1], item[0]))
        said = [f"{phrase} {count:,}" for phrase, count in ranked]
        lines += wrap(f"set aside, another sense: {words.listed(said, 6)}", hang="  ")
    placeholders = sum(cls.placeholders for cls in report.classes)
    if placeholders:
        lines += wrap(f"not counted as naming: {words.plural(placeholders, 'placeholder')} written like <PERSON>")
    shown = [f"{cls.name} {words.interval(cls.shown)}" for cls in report.classes if cls.shown]
    if shown:
        lines += wrap(f"precision, the thing itself is shown: {words.listed(shown, 6)}", hang="  ")
    for limit in words.limits(report):
        lines += wrap(limit, hang="  ")
    met = words.intake(report)
    records = words.plural(report.get("corpus.records"), "record")
    lines += wrap(f"{records} came in{': ' + '; '.join(met) if met else ', each with a caption'}", hang="  ")
    return [(line, PALE) for line in lines]


def _verdict(report: Leakage) -> list[Line]:
    tone = WARN if report.get("named") else GOOD if report.complete else WARN
    lines = wrap(report.get("verdict"))
    code = f"exit {report.get('exit')}" if report.get("exit") else ""
    if columns(lines[-1]) + 3 + len(code) > WIDTH:
        lines.append("")
    lines[-1] = f"{lines[-1]}   {code}".strip()
    return [(line, tone) for line in lines]


def columns(text: str) -> int:
    """How many columns a terminal gives to the text."""
    return sum(
        0 if unicodedata.combining(s) or unicodedata.category(s) in ("Mn", "Me") else 2 if _wide(s) else 1 for s in text
    )


def _wide(sign: str) -> bool:
    return unicodedata.east_asian_width(sign) in "WF"


def fit(text: str, width: int) -> str:
    """The text made visible and, where it is too long, cut with an ellipsis."""
    said = visible(text[: 4 * width + 1])
    if columns(said) <= width and len(text) <= 4 * width:
        return said
    while said and columns(said) > width - 1:
        said = said[:-1]
    return f"{said}…"


def fill(text: str, width: int, right: bool = False) -> str:
    said = text if columns(text) <= width else fit(text, width)
    blanks = " " * (width - columns(said))
    return blanks + said if right else said + blanks


def wrap(text: str, indent: str = "", hang: str = "") -> list[str]:
    """Lines no wider than the screen; a word that is wider alone is cut."""
    return list(_lines(visible(text[:4000]).split(), indent, indent + hang))


def _lines(said: Sequence[str], first: str, others: str) -> Iterator[str]:
    line = first
    for word in said:
        word = fit(word, WIDTH - len(others))
        gap = "" if line in (first, others) and not line.strip() else " "
        if columns(line + gap + word) > WIDTH:
            yield line
            line, gap = others, ""
        line += gap + word
    yield line
