"""The leakage report: everything a scan has found, in the one form that pages, tables and the ledger are made from."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from zsbench import __version__
from zsbench.leakage.batch import Intake
from zsbench.leakage.lexicon import Entry, Lexicon
from zsbench.leakage.reference import find
from zsbench.leakage.review import Judged, class_precision
from zsbench.leakage.sample import Example
from zsbench.leakage.tally import Tally

SCHEMA = 1
SHOWN = 5  # examples of a class
COUNTED = ("records", "nulls", "empty", "malformed", "over_long", "undecodable", "nul", "non_latin")

CONVERT = "a file in another encoding is converted first (iconv -f LATIN1 -t UTF-8); --max-bad accepts a share of them"

Block = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What a report says beside the counts. sources: format, column, bytes … of every source, in the plan's order.

    max_bad: share of records whose caption may be unreadable before the scan counts as incomplete.
    """

    corpus: str
    sources: Sequence[Block]
    split: Block
    drawn: bool = False
    fingerprint: str = ""
    seconds: float = 0.0
    command: str = ""
    max_bad: float = 0.0
    judged: Judged | None = None
    outside: Sequence[Block] = field(default_factory=tuple)


def build(tally: Tally, lexicon: Lexicon, facts: Facts) -> Block:
    """The report (schema 1) of a tally."""
    because = _incomplete(tally.sources, facts)
    classes = _classes(tally, lexicon, facts)
    corpus = _corpus(tally, facts)
    return {
        "schema": SCHEMA,
        "kind": "leakage",
        "zsbench": __version__,
        "python": platform.python_version(),
        "command": facts.command,
        "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "corpus": corpus,
        "split": facts.split,
        "lexicon": lexicon.as_dict(),
        "complete": not because,
        "incomplete_because": because,
        "verdict": verdict(classes, facts.split, lexicon.level, complete=not because) + _accepted(tally, because),
        "named": sum(block["captions"] > 0 for block in classes),
        "flagged": int(tally.flagged.sum()),
        "classes": classes,
        "together": _together(tally, lexicon),
        "outside": list(facts.outside),
        "limit": None,
        "exit": 0,
    }


def _accepted(tally: Tally, because: list[str]) -> str:
    """What --max-bad let pass, beside the verdict that it let pass."""
    intake = tally.intake
    if because or not intake.unread:
        return ""
    return f" {intake.unread:,} of {intake.records:,} records could not be read as they were meant; --max-bad accepts that."


def _incomplete(sources: dict[int, Intake], facts: Facts) -> list[str]:
    """Why some captions may not have been seen: one reason per source at fault."""
    reasons = []
    for number, intake in sorted(sources.items()):
        name = facts.sources[number]["source"]
        if intake.broken:
            reasons.append(f"{name} could not be read to its end: {intake.broken}")
        if intake.unread > facts.max_bad * intake.records:
            reasons.append(
                f"{name}: {intake.unread:,} of {intake.records:,} records could not be read as they were meant"
                f" ({intake.malformed:,} malformed, {intake.over_long:,} over-long, {intake.undecodable:,} not UTF-8)"
                + (f"; {CONVERT}" if intake.undecodable else "")
            )
    if not sum(intake.captions for intake in sources.values()):
        reasons.append("not one caption was found")
    return reasons


def _corpus(tally: Tally, facts: Facts) -> Block:
    total = tally.intake
    sources = [
        {**source, **tally.sources.get(number, Intake()).as_dict(), "bytes": source["bytes"]}
        for number, source in enumerate(facts.sources)
    ]
    return {
        "name": facts.corpus,
        "drawn": facts.drawn,
        "captions": total.captions,
        "records": total.records,
        "bytes": sum(source["bytes"] for source in facts.sources),
        "seconds": round(facts.seconds, 3),
        "fingerprint": facts.fingerprint,
        "max_bad": facts.max_bad,
        "sources": sources,
        "totals": {name: getattr(total, name) for name in COUNTED},
    }


def _classes(tally: Tally, lexicon: Lexicon, facts: Facts) -> list[Block]:
    blocks, form, blocker = [], 0, 0
    for number, entry in enumerate(lexicon.entries):
        counts = tally.forms[form : form + len(entry.forms)].tolist()
        blocked = tally.blocked[blocker : blocker + len(entry.blockers)].tolist()
        kept = tally.examples.kept[form : form + len(entry.forms)]
        blocks.append(_class(tally, number, entry, counts, blocked, kept, facts))
        form, blocker = form + len(entry.forms), blocker + len(entry.blockers)
    return blocks


def _class(
    tally: Tally,
    number: int,
    entry: Entry,
    counts: list[int],
    blocked: list[int],
    kept: list[dict[int, Example]],
    facts: Facts,
) -> Block:
    captions = int(tally.classes[number].sum())
    unique, exact = tally.distinct.count(number)
    forms = [(form.text, count) for form, count in zip(entry.forms, counts, strict=True)]
    judged = class_precision(facts.judged, entry.name, forms, captions) if facts.judged else None
    return {
        "name": entry.name,
        "captions": captions,
        "per_million": round(1e6 * captions / max(1, tally.intake.captions), 3),
        "unique": min(unique, captions),
        "unique_exact": exact,
        "levels": tally.classes[number].tolist(),
        "forms": [{"text": f.text, "level": f.level, "captions": c} for f, c in zip(entry.forms, counts, strict=True)],
        "blocked": [{"text": t, "captions": c} for t, c in zip(entry.blockers, blocked, strict=True) if c],
        "placeholders": int(tally.placeholders[number]),
        "with_image": None,
        "precision": judged,
        "examples": _examples(entry, kept, facts),
    }


def _examples(entry: Entry, kept: list[dict[int, Example]], facts: Facts) -> list[Block]:
    """A few captions with their matches: forms take turns, the more frequent level first, each caption once."""
    turns = [sorted(samples.items()) for samples in kept]
    chosen: dict[int, Example] = {}
    for turn in range(max((len(samples) for samples in turns), default=0)):
        for samples in turns:
            if turn < len(samples) and len(chosen) < SHOWN:
                chosen.setdefault(*samples[turn])
    return [_example(entry, example, facts) for example in chosen.values()]


def _example(entry: Entry, example: Example, facts: Facts) -> Block:
    matches = [match for match in find(example.text, entry) if match.verdict == "named"]
    spans = [[match.start, match.end, match.form.text, match.form.level] for match in matches]
    source = facts.sources[example.source]["source"]
    return {"text": example.text, "copies": example.copies, "source": source, "row": example.row, "spans": spans}


def _together(tally: Tally, lexicon: Lexicon) -> list[Block]:
    pairs = [
        {"classes": [lexicon.classes[c], lexicon.classes[d]], "captions": int(tally.together[c, d])}
        for c, d in np.argwhere(tally.together)
    ]
    return sorted(pairs, key=lambda pair: -pair["captions"])


def verdict(classes: Sequence[Block], split: Block, level: int, complete: bool) -> str:
    """One sentence that claims what was counted and no more."""
    named, kind = [block for block in classes if block["captions"]], split.get("scope", "unseen")
    kind = "unseen " if kind == "unseen" else ""
    if not named and complete:
        return f"No caption names any of the {len(classes)} {kind}classes of {split['name']} with the forms of levels 0 to {level}."
    if not named:
        return f"Incomplete: none of the {len(classes)} {kind}classes was found in what could be read."
    consequence = f": a method trained on these captions is not zero-shot on {split['name']}" if kind else ""
    are = "is" if len(named) == 1 else "are"
    least = "" if complete else "Incomplete: at least "
    return f"{least}{len(named)} of {len(classes)} {kind}classes {are} named{consequence}."
