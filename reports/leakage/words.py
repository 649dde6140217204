"""Numbers and sentences that every form of the leakage report shares, so that all of them claim the same.

Choices: a count of an incomplete scan is "at least" that count; a class without a hit is "none found", never clean; a
full scan has no sampling error, so intervals stand only beside reviewed precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .model import Class, Example, Judged, Leakage

LEVEL_WORDS = (
    "the data set's own name",
    "inflection or spelling",
    "synonym",
    "kind of it",
    "brand, part or vague word",
)
LONGEST = 120  # characters of a name from outside inside a list
INTAKE_WORDS = {
    "nulls": "without a caption (null)",
    "empty": "empty",
    "malformed": "malformed, not scanned",
    "over_long": "over-long, not scanned",
    "undecodable": "with invalid UTF-8, scanned",
    "nul": "with a NUL character, scanned",
    "non_latin": "in another script, where no English form can match",
}
NOT_SHOWN = (
    ("Absence is not proof", "“None found” means that no caption holds one of these forms. A class may be named in "
     "words the lexicon does not hold, and it may be in the pictures without a word."),
    ("English only", "The forms are English. A caption in another language that names a class is not seen; captions in "
     "another script are counted apart, those in other languages with Latin letters are not."),
    ("Captions under-name what images show", "Nobody lists everything in a picture. This page says nothing of unseen "
     "classes that are in images whose captions are silent about them."),
    ("Naming is not showing", "A caption can name a class that its image does not show. “Shown” precision, where "
     "somebody reviewed it, is kept apart from “named”."),
    ("The level decides", "Own names and spellings find less than synonyms, and synonyms less than kinds. Counts of "
     "different levels or lexicons are not compared."),
    ("Words have other senses", "Phrases that change the sense are set aside and listed. What slips through is known "
     "only where a sample was judged; all other counts are surface counts."),
    ("Other leaks", "Near-duplicate images, and labels or captions that a pretrained backbone saw, are other audits."),
)  # fmt: skip


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def rate(per_million: float) -> str:
    """Captions per million with about three digits: 0.081, 6.5, 812, 12,301."""
    if per_million <= 0:
        return "0"
    if per_million >= 99.95:
        return f"{per_million:,.0f}"
    return f"{per_million:.1f}" if per_million >= 0.995 else f"{per_million:.2g}"


def plural(count: int, noun: str) -> str:
    many = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}"


def seconds(value: float) -> str:
    """ "5.2 s"; empty where no time was taken, because every part was there already."""
    if value <= 0:
        return ""
    minutes, rest = divmod(round(value), 60)
    return f"{minutes:,} min {rest:02d} s" if minutes else f"{value:.1f} s"


def speed(report: Leakage) -> str:
    """Megabytes of input per second; empty where no time was taken."""
    took = report.get("corpus.seconds")
    per_second = report.get("corpus.bytes") / took / 1e6 if took > 0 else 0
    return f"{per_second:,.0f} MB/s" if per_second >= 10 else f"{per_second:.1f} MB/s" if per_second else ""


def at_least(report: Leakage, captions: int) -> str:
    """ "812", and "≥ 812" where captions were not read; none so far is said in words elsewhere."""
    return number(captions) if report.complete or not captions else f"≥ {number(captions)}"


def interval(judged: Judged | None) -> str:
    """ "0.96 [0.90, 0.98]", the estimate with its 95 % Wilson interval; "not reviewed" where nobody judged."""
    if judged is None or judged.estimate is None:
        return "not reviewed"
    around = "" if judged.low is None or judged.high is None else f" [{judged.low:.2f}, {judged.high:.2f}]"
    return f"{judged.estimate:.2f}{around}"


def corrected(judged: Judged) -> str:
    """ "about 780 captions [731, 796]"; empty where the report has no corrected count."""
    if judged.corrected is None:
        return ""
    ends = judged.corrected_low, judged.corrected_high
    around = f" [{number(ends[0])}, {number(ends[1])}]" if None not in ends else ""
    return f"about {number(judged.corrected)} captions{around}"


def state(report: Leakage, cls: Class) -> str:
    """What is said of a class in a word or two."""
    if cls.name in report.over:
        return "over limit"
    return "named" if cls.captions else "none found" if report.complete else "none so far"


def levels(report: Leakage) -> str:
    """ "levels 0 to 3", the forms that were looked for."""
    level = report.get("lexicon.level")
    return f"levels 0 to {level}" if level else "level 0"


def limits(report: Leakage) -> list[str]:
    """What was asked for with a limit or a precision, and which classes fail it; empty where nothing was."""
    limit, said = report.raw.get("limit") or {}, []
    if limit.get("fail_over") is not None:
        asked = limit.get("asked") or f"{limit['fail_over']:g}"
        held = f" of {listed(limit['fail_on'], 12)}" if limit.get("fail_on") else " of each class"
        found = f"over it: {listed(report.over, 12)}" if report.over else "no class is over it"
        said.append(f"limit, captions{held}: {asked}; {found}")
    if limit.get("require_precision") is not None:
        short = limit.get("unreviewed") or []
        found = (
            f"not reviewed enough, or below it: {listed(short, 12)} (--review-out writes a sample to judge)"
            if short
            else "the estimate of every named class reaches it"
        )
        said.append(f"precision asked for: {limit['require_precision']:g}; {found}")
    return said


def scanned(report: Leakage) -> str:
    """ "12,423,374 captions scanned (all)"."""
    how = "all" if report.complete else "INCOMPLETE"
    return f"{plural(report.get('corpus.captions'), 'caption')} scanned ({how})"


def reasons(report: Leakage) -> list[str]:
    """Why a scan is incomplete: what the report says, then every source that broke and was not named yet."""
    said = list(report.get("incomplete_because"))
    sources = [s for s in report.get("corpus.sources") if s["broken"]]
    return said + [
        f"{s['source']}: {s['broken']}" for s in sources if not any(s["source"] in reason for reason in said)
    ]


def intake(report: Leakage) -> list[str]:
    """What came in and was no plain caption, in words; empty where there was nothing of the kind."""
    totals = report.get("corpus.totals")
    return [f"{totals[name]:,} {words}" for name, words in INTAKE_WORDS.items() if totals[name]]


def forms(cls: Class) -> Iterator[str]:
    """ "couch 390", the most frequent first."""
    return (f"{cut(form.text, LONGEST)} {form.captions:,}" for form in cls.frequent)


def place(report: Leakage, example: Example) -> str:
    """ "part-3.tsv, row 17": the file's own name, and none where the corpus is one file."""
    row = "" if example.row is None else f"row {example.row:,}" if isinstance(example.row, int) else str(example.row)
    name = example.source.rstrip("/").rpartition("/")[2]
    return ", ".join(filter(None, (name if len(report.get("corpus.sources")) > 1 or not row else "", row)))


def listed(items: Sequence[str], most: int) -> str:
    """The first ones, and how many more there are."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(cut(item, LONGEST) for item in items[:most]) + more


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
