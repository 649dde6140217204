"""The audit as text to paste: the lists and how they were read, what each pair shares, faults first in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zsbench.data.lists import examples
from zsbench.overlap.audit import Audit
from zsbench.overlap.compare import Comparison
from zsbench.overlap.ids import WORDS
from zsbench.overlap.looks import NEAR
from zsbench.overlap.sources import ImageList, crossing

Row = Sequence[str]


def text(result: Audit, limit: str | None = None) -> str:
    """Tables and sentences; names from outside can do nothing to the terminal."""
    blocks = [_lists(result), _pairs(result), "\n".join([*_faults(result), *_notes(result)]), _verdict(result, limit)]
    said = "\n\n".join(block for block in blocks if block)
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in said)


def _lists(result: Audit) -> str:
    rows = [("list", "images", "twice", "role", "names", "read as")]
    for one, within in zip(result.lists, result.within, strict=True):
        kinds = ", ".join(
            f"{count:,} {WORDS[kind]}" if len(one.kinds) > 1 else WORDS[kind] for kind, count in one.kinds.items()
        )
        twice = f"{within.found[0]:,}{'' if within.whole else '+'}"
        rows.append((one.name, f"{len(one.first):,}", twice, one.role or "", kinds or "none", one.form))
    return _table(rows, right=(1, 2))


def _pairs(result: Audit) -> str:
    if not result.across:
        return ""
    looked = result.looked is not None
    rows = [("pair", "by name", *(("by looks",) if looked else ()), "of the first", "of the second", "")]
    telling = [one for one in result.across if one.fault or one.named or one.seen]
    for one in telling:
        seen = (f"{len(one.seen):,}{'' if one.whole else '+'}",) if looked else ()
        shares = (_share(one.found[0], one.a), _share(one.found[1], one.b))
        rows.append((f"{one.a.name} × {one.b.name}", f"{len(one.counted):,}", *seen, *shares, _mark(one)))
    rest = len(result.across) - len(telling)
    table = _table(rows, right=(1, 2, 3, 4) if looked else (1, 2, 3)) if telling else ""
    pairs = f"pair{'s' * (rest != 1)}"
    others = (
        f"{rest} other {pairs} share{'s' * (rest == 1)} nothing."
        if telling
        else f"{rest} {pairs}, none shares an image."
    )
    return f"{table}\n{others}".strip() if rest else table


def _mark(one: Comparison) -> str:
    if not (one.a.names and one.b.names):
        return "empty"
    return "training meets test" if one.fault and one.fault[0] else "disjoint" if one.fault else ""


def _share(count: int, of: ImageList) -> str:
    return f"{100 * count / len(of.first):.1f} %" if of.first else "-"


def _faults(result: Audit) -> Iterator[str]:
    for one in result.across:
        if one.fault and one.fault[0]:
            training, test = crossing(one.a, one.b) or (one.a, one.b)
            count, of = one.fault
            names = sorted({_test_name(one, pair.a, pair.b, test) for pair in (*one.counted, *one.seen)})
            yield (
                f"{count:,} of {of:,} images of {test.name} ({100 * count / of:.1f} %) are in {training.name}"
                f" ({examples(names)}): what was trained on the one must not be scored on the other."
            )


def _test_name(one: Comparison, a: int, b: int, test: ImageList) -> str:
    return test.ids[a if test is one.a else b].key


def _notes(result: Audit) -> Iterator[str]:
    for one in result.lists:
        yield from (f"{one.name}: {note}" for note in one.notes)
        if not one.names:
            yield f"{one.name}: the list is empty, and nothing was compared with it. Is it the right file?"
        if one.repeated:
            named = [f"{key} as {' and '.join(names[:2])}" for key, names in one.repeated.items()]
            yield f"{one.name}: {_images(len(one.repeated))} named more than once ({examples(named, 2)})."
    for pair in (*result.within, *result.across):
        yield from _pair_notes(pair)
    if result.looked is not None:
        yield from _look_notes(result)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _images(count: int) -> str:
    return f"{_count(count, 'image')} {'is' if count == 1 else 'are'}"


def _pair_notes(one: Comparison) -> Iterator[str]:
    title = one.a.name if one.within else f"{one.a.name} × {one.b.name}"
    if others := one.others:
        names = examples([one.a.names[pair.a] for pair in others])
        void = len(one.named) - len(one.counted)
        what = "which are not counted" if void == len(others) else f"{void:,} of them not counted"
        yield f"{title}: {len(others):,} equal names show different pictures ({names}), {what}."
    if one.numbers and not one.within:
        yield (
            f"{title}: {one.numbers:,} of the shared names are bare numbers and no picture confirms them:"
            " in unrelated data sets they are equal by chance."
        )
    for pair in one.seen[:2]:
        how = {"exact": "pixel by pixel", "near": f"{pair.distance} of 64 bits apart"}.get(pair.how, "mirrored")
        yield f"{title}: {one.a.names[pair.a]} is {one.b.names[pair.b]}, {how}."


def _look_notes(result: Audit) -> Iterator[str]:
    looked = result.looked
    if looked is None:
        return
    flat = sum(look.flat for look in looked.looks.values())
    known = f", {looked.cached:,} of them known from before" if looked.cached else ""
    some = f"; {flat:,} are flat and were compared by exact pixels only" if flat else ""
    yield f"looked at {_count(len(looked.looks), 'photograph')}{known} (alike: at most {NEAR} of 64 bits){some}."
    if looked.faults:
        first = list(looked.faults.values())
        yield f"{len(first):,} could not be looked at and were compared by name only: {examples(first, 2)}"


def _verdict(result: Audit, limit: str | None) -> str:
    crossings = [one for one in result.across if one.fault and one.a.names and one.b.names]
    gap = ""
    if result.empty:
        several = len(result.empty) > 1
        named = " and ".join(result.empty)
        code = result.code(limit)
        gap = f"The list{'s' * several} {named} {'are' if several else 'is'} empty: incomplete, exit {code}.  "
    if not crossings:
        return gap.rstrip() or "No training list beside a test list among these: what they share is information."
    met = [one for one in crossings if one.fault and one.fault[0]]
    said = (
        f"{len(met)} of {_count(len(crossings), 'pair')} of a training and a test list meet{'s' * (len(met) == 1)}."
        if met
        else (f"No training list meets a test list ({_count(len(crossings), 'pair')} compared).")
    )
    over = result.over(limit)
    return gap + (f"{said}  {len(over)} over the limit of {limit}: exit 3" if over else said)


def _table(rows: Sequence[Row], right: Sequence[int]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            field.rjust(width) if column in right else field.ljust(width)
            for column, (field, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)
