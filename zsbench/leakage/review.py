"""How many hits are right: a sample to judge as a spreadsheet, and what the judged sample says of the counts.

Precision is estimated per class from distinct captions, stratified by form and weighted by how often each form occurs.
Its interval is Wilson's (J. Am. Stat. Assoc. 22, 1927) at 95 % with the stratified sample's effective size; a corrected
count multiplies both ends with the count, which is exact. Two questions are judged apart: whether the caption names the
class in the lexicon's sense, and whether its picture would show one.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from zsbench.atomic import write_text
from zsbench.errors import UserError
from zsbench.leakage.lexicon import Lexicon
from zsbench.leakage.tally import Tally

COLUMNS = ("id", "corpus", "class", "form", "level", "copies", "caption", "named", "shown")
YES, NO, UNSURE = ("1", "yes", "y", "true"), ("0", "no", "n", "false"), ("?", "unsure", "u")
Z = 1.959963984540054  # 95 %
FORMULA = ("=", "+", "-", "@", "\t", "\r")

Answer = bool | None  # None: unsure
Question = Literal["named", "shown"]
Judged = dict[tuple[str, str], dict[str, dict[Question, Answer]]]  # class and form -> id -> answers


@dataclass(frozen=True)
class Sampled:
    """A scan as its review sees it. corpus: its fingerprint, which ties answers to the captions they were given for."""

    corpus: str
    lexicon: Lexicon


def write_sample(path: Path, scans: Sequence[tuple[Sampled, Tally]]) -> int:
    """The sampled captions of every form, to be judged in the columns `named` and `shown`; returns how many."""
    refuse_answers(path)
    text, count = io.StringIO(), 0
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for sampled, tally in scans:
        for (class_name, form, level), kept in zip(_forms(sampled.lexicon), tally.examples.kept, strict=True):
            for key, example in sorted(kept.items()):
                row = (f"h{key:016x}", f"c{sampled.corpus}", class_name, form, level, example.copies, example.text)
                writer.writerow([_cell(value) for value in row] + ["", ""])
                count += 1
    write_text(path, text.getvalue())
    return count


def _cell(value: Any) -> str:
    """Text that no spreadsheet takes for a formula and no reader for the end."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return f"'{text}" if text.startswith(FORMULA) else text


def _forms(lexicon: Lexicon) -> Iterator[tuple[str, str, int]]:
    for entry in lexicon.entries:
        for form in entry.forms:
            yield entry.name, form.text, form.level


def refuse_answers(path: Path) -> None:
    """Raises UserError where a new sample would take the place of answers."""
    try:
        answered = path.exists() and any(row["named"].strip() or row["shown"].strip() for _, row in _rows(path))
    except UserError:
        answered = True  # whatever it is, it is not a sample without answers
    if answered:
        raise UserError(f"{path} is there already and holds answers or something else; give --review-out another name.")


def read_judged(path: Path, scan: Sampled, others: Sequence[Sampled] = ()) -> Judged:
    """The answers of a judged file for one scan; rows without any, and those of `others`, are left out.

    Raises UserError with the line at fault, also for captions of a corpus that is none of these.
    """
    corpora = {f"c{sampled.corpus}" for sampled in (scan, *others)}
    known = {(name, form) for sampled in (scan, *others) for name, form, _ in _forms(sampled.lexicon)}
    own = {(name, form) for name, form, _ in _forms(scan.lexicon)}
    judged: Judged = {}
    anything = False
    for number, row in _rows(path):
        answers = {q: _answer(row[q], f"{path}, line {number}, {q}") for q in ("named", "shown") if row[q].strip()}
        place = (row["class"], row["form"])
        if answers and row["corpus"] not in corpora:
            raise UserError(f"{path}, line {number}: sampled from another corpus, or before this one was changed.")
        if answers and place not in known:
            raise UserError(f"{path}, line {number}: class {place[0]!r} has no form {place[1]!r} in this lexicon.")
        anything |= bool(answers)
        if answers and place in own and row["corpus"] == f"c{scan.corpus}":
            judged.setdefault(place, {})[row["id"]] = answers  # type: ignore[assignment]
    if not anything:
        raise UserError(f"{path} holds no answer: fill the columns named and shown with 1, 0 or ?.")
    return judged


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"no judged sample at {path}; write one: zsbench leakage-scan … --review-out FILE") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text; save the sheet as CSV (UTF-8).") from error
    head = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=head.count))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing)}; it should be the file of --review-out, judged.")
    try:
        for row in reader:
            yield reader.line_num, {name: row.get(name) or "" for name in COLUMNS}
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; is a quote missing?") from error


def _answer(text: str, where: str) -> Answer:
    word = text.strip().lower()
    if word not in (*YES, *NO, *UNSURE):
        raise UserError(f"{where}: {text[:40]!r} is no answer; expected 1, 0 or ? (yes, no, unsure).")
    return None if word in UNSURE else word in YES


def wilson(share: float, size: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `size` independent trials; of none it is everything."""
    if size <= 0:
        return 0.0, 1.0
    middle = (share + Z * Z / (2 * size)) / (1 + Z * Z / size)
    half = Z / (1 + Z * Z / size) * math.sqrt(share * (1 - share) / size + Z * Z / (4 * size * size))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


@dataclass(frozen=True)
class Stratum:
    """The judged captions of one form. weight: captions in which the form occurs."""

    weight: int
    right: int
    judged: int
    unsure: int


def precision(strata: list[Stratum], captions: int) -> dict[str, Any] | None:
    """The precision of a class's hits and its corrected count, or None where nothing is judged.

    Unsure answers count in neither direction. covered: the share of hits whose form has been judged.
    """
    known = [s for s in strata if s.judged and s.weight]
    total = sum(s.weight for s in known)
    if not total:
        return None
    share = float(sum(Fraction(s.weight * s.right, s.judged) for s in known) / total)
    size = 1 / sum((s.weight / total) ** 2 / s.judged for s in known)
    low, high = wilson(share, size)
    return {
        "judged": sum(s.judged for s in strata),
        "right": sum(s.right for s in strata),
        "unsure": sum(s.unsure for s in strata),
        "covered": total / max(1, sum(s.weight for s in strata)),
        "estimate": share,
        "low": low,
        "high": high,
        "corrected": round(captions * share),
        "corrected_low": round(captions * low),
        "corrected_high": round(captions * high),
    }


def class_precision(judged: Judged, name: str, forms: list[tuple[str, int]], captions: int) -> dict[str, Any] | None:
    """Precision of one class for both questions. forms: each with the captions that hold it."""
    questions: tuple[Question, ...] = ("named", "shown")
    found: dict[str, Any] = {q: precision(_strata(judged, name, forms, q), captions) for q in questions}
    return found if any(found.values()) else None


def _strata(judged: Judged, name: str, forms: list[tuple[str, int]], question: Question) -> list[Stratum]:
    return [_stratum(judged.get((name, form), {}), count, question) for form, count in forms]


def _stratum(answers: dict[str, dict[Question, Answer]], weight: int, question: Question) -> Stratum:
    given = [row[question] for row in answers.values() if question in row]
    sure = [answer for answer in given if answer is not None]
    return Stratum(weight, sum(sure), len(sure), len(given) - len(sure))
