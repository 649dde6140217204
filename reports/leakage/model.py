"""A leakage report as plain frozen objects, so that every renderer reads the same fields.

Choices: counts are captions unless the name says otherwise; nothing is recomputed that the scan measured. `raw` is the
report as it was read, which is what is written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from .shape import checked


class Span(NamedTuple):
    """A match inside an example: character offsets, the form and its level."""

    start: int
    end: int
    form: str
    level: int


class Form(NamedTuple):
    """A surface form; captions: how many hold it (a caption with two forms counts for both)."""

    text: str
    level: int
    captions: int = 0


class Aside(NamedTuple):
    """A blocker and how many captions it set aside."""

    text: str
    captions: int


@dataclass(frozen=True)
class Example:
    """A caption as proof. copies: how often this very text occurs; row: ordinal or native key in the source."""

    text: str
    copies: int
    source: str
    row: Any
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Judged:
    """A judged sample: right of judged, the 95 % Wilson interval as fractions, and the counts corrected by them."""

    judged: int
    right: int
    unsure: int
    estimate: float | None
    low: float | None
    high: float | None
    corrected: float | None = None
    corrected_low: float | None = None
    corrected_high: float | None = None


@dataclass(frozen=True)
class Class:
    """What the corpus says of one class. levels: captions by their lowest level, 0 to 4."""

    name: str
    captions: int
    per_million: float
    unique: int | None
    unique_exact: bool
    levels: tuple[int, ...]
    forms: tuple[Form, ...]
    blocked: tuple[Aside, ...]
    placeholders: int
    with_image: int | None
    named: Judged | None
    shown: Judged | None
    examples: tuple[Example, ...]

    @property
    def found(self) -> list[Form]:
        """Forms that occur, by level, then the most frequent first."""
        return sorted((f for f in self.forms if f.captions), key=lambda f: (f.level, -f.captions, f.text))

    @property
    def frequent(self) -> list[Form]:
        """Forms that occur, the most frequent first."""
        return sorted((f for f in self.forms if f.captions), key=lambda f: (-f.captions, f.text))

    @property
    def set_aside(self) -> list[Aside]:
        return sorted((b for b in self.blocked if b.captions), key=lambda b: (-b.captions, b.text))


@dataclass(frozen=True)
class Entry:
    """One class of the lexicon."""

    name: str
    sense: str
    forms: tuple[Form, ...]
    blockers: tuple[str, ...]
    keepers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Leakage:
    """One corpus × split. `place` names where the report came from, for messages."""

    raw: dict[str, Any] = field(repr=False)
    place: str = "report"

    def get(self, path: str) -> Any:
        """The value at a dotted path ("corpus.name") that the shape guarantees."""
        value: Any = self.raw
        for step in path.split("."):
            value = value[step]
        return value

    @cached_property
    def classes(self) -> list[Class]:
        """In the order of the split."""
        return [_class(cls) for cls in self.raw["classes"]]

    @cached_property
    def ranked(self) -> list[Class]:
        """The most named class first; equal ones in the order of the split."""
        return sorted(self.classes, key=lambda cls: -cls.captions)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Class name -> captions."""
        return {cls.name: cls.captions for cls in self.classes}

    @cached_property
    def entries(self) -> list[Entry]:
        return [
            Entry(e["class"], e["sense"], tuple(Form(f["text"], f["level"]) for f in e["forms"]),
                  tuple(e["blockers"]), tuple(e["keepers"]))
            for e in self.raw["lexicon"]["entries"]
        ]  # fmt: skip

    @property
    def complete(self) -> bool:
        return bool(self.raw["complete"])

    @property
    def drawn(self) -> bool:
        return bool(self.raw["corpus"]["drawn"])

    @property
    def reviewed(self) -> list[Class]:
        return [cls for cls in self.classes if cls.named or cls.shown]

    @property
    def over(self) -> list[str]:
        """Classes over the limit that was asked for."""
        return list((self.raw.get("limit") or {}).get("over", []))

    @property
    def kind(self) -> str:
        """What the classes are: "unseen class", or "class" where the scope says no more."""
        scope = self.raw["split"]["scope"]
        return f"{scope} class" if scope in ("unseen", "seen") else "class"

    @property
    def rate(self) -> float:
        """Captions that name any class, per million."""
        return 1e6 * self.raw["flagged"] / max(1, self.raw["corpus"]["captions"])


def parsed(report: Any, place: str = "report") -> Leakage:
    """A checked report. Raises UserError naming `place` and the field that is wrong."""
    return report if isinstance(report, Leakage) else Leakage(checked(report, place), place)


def all_checked(reports: Sequence[Any]) -> list[Leakage]:
    return [parsed(report) for report in reports]


def _class(cls: dict[str, Any]) -> Class:
    precision = cls.get("precision") or {}
    return Class(
        cls["name"], cls["captions"], cls["per_million"], cls["unique"], cls["unique_exact"], tuple(cls["levels"]),
        tuple(Form(f["text"], f["level"], f["captions"]) for f in cls["forms"]),
        tuple(Aside(b["text"], b["captions"]) for b in cls["blocked"]), cls["placeholders"], cls.get("with_image"),
        _judged(precision.get("named")), _judged(precision.get("shown")),
        tuple(
            Example(e["text"], e["copies"], e["source"], e.get("row"), tuple(Span(*span) for span in e["spans"]))
            for e in cls["examples"]
        ),
    )  # fmt: skip


def _judged(part: dict[str, Any] | None) -> Judged | None:
    fields: dict[str, Any] = {name: part.get(name) for name in Judged.__dataclass_fields__} if part else {}
    return Judged(**fields) if fields else None
