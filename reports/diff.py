"""Two runs beside each other: what differs in how they were made, and in what came out.

Choices: first what differs, in the record's own words, because a difference of scores means little before it is known of
what; then the scores with their paired difference over images; then the classes that moved most. Two runs of different
protocols get no differences of scores: there is no number for that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zsbench.errors import UserError, unknown

from .differences import Difference, differences
from .groups import Group
from .read import Run, read_runs
from .verdict import points, signed

SECTIONS = ("method.name", "method.config", "split", "data", "supervision", "seed", "limit", "device", "precision", "zsbench",
            "code_sha256", "method.source_sha256", "environment")  # fmt: skip
TITLES = {
    "unseen_only_miou": "unseen only",
    "all_seen_miou": "seen",
    "all_unseen_miou": "unseen",
    "all_harmonic_miou": "h",
}
PROTOCOL = ("data.kind", "data.fingerprint", "split.fingerprint", "split.background")
MOST_CLASSES = 10
MOST_OF_A_VALUE = 60  # letters


def diff(first: str, second: str, roots: Sequence[Path]) -> str:
    """What `zsbench report --diff A B` prints. A and B are keys of runs below `roots`, or run folders or record files.

    Raises UserError for a name that is no run, and for a record that cannot be used.
    """
    one, other = find(first, roots), find(second, roots)
    text = "\n".join(_lines(one, other))
    return "".join(sign if sign.isprintable() or sign == "\n" else "\ufffd" for sign in text)


def find(name: str, roots: Sequence[Path]) -> Run:
    """The run of a key, a folder or a record file."""
    if not name.strip():
        raise UserError("--diff takes two runs: a key or its beginning, a run's folder or its record.json")
    if Path(name).exists():
        runs, left = read_runs([Path(name)])
        if len(runs) == 1:
            return runs[0]
        if runs:
            raise UserError(f"{name} holds {len(runs)} runs; name the folder of one")
        raise UserError(f"{name}: {left[0].why if left else 'no record.json in it'}")
    runs, _ = read_runs([root for root in roots if root.exists()])
    found = [run for run in runs if run.key.startswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"'{name}' fits {len(found)} runs: {', '.join(run.key for run in found[:5])}")
    where = " ".join(map(str, roots))
    raise unknown(
        "run", name, [run.key for run in runs], f"the column key of runs.csv, made by: zsbench report {where}"
    )


def _lines(one: Run, other: Run) -> Iterator[str]:
    yield f"A  {_told(one)}"
    yield f"B  {_told(other)}"
    yield ""
    changes = list(_changes(one, other))
    yield "what differs" if changes else "Nothing that decides a number differs."
    width = max((len(name) for name, *_ in changes), default=0)
    for name, left, right in changes:
        yield f"  {name:<{width}}  {'  →  '.join(_beside(left, right))}"
    yield ""
    if any(one.get(field) != other.get(field) for field in PROTOCOL):
        yield "Other data, split or background rule: their scores are not numbers of one kind, so no difference is taken."
        return
    yield from _scores(one, other)
    yield from _classes(one, other)


def _told(run: Run) -> str:
    limited = ", limited" if run.get("limited") else ""
    where = f"{run.get('split.name')}, {run.get('data.title')}"
    return f"{run.get('method.name')} {run.key} on {where}, seed {run.get('seed')}{limited}"


def _changes(one: Run, other: Run) -> Iterator[tuple[str, Any, Any]]:
    same = one.get("method.name") == other.get("method.name")
    for section in SECTIONS:
        if section != "method.config" or same:  # settings of two methods are not two values of one thing
            yield from _apart(section, one.get(section), other.get(section))


def _apart(name: str, left: Any, right: Any) -> Iterator[tuple[str, Any, Any]]:
    """The innermost fields of which two values differ; where only one side has a table, the table as one value."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in dict.fromkeys([*left, *right]):
            yield from _apart(f"{name}.{key}", left.get(key), right.get(key))
    elif left != right:
        yield name, left, right


def _beside(left: Any, right: Any) -> tuple[str, str]:
    """Two values that differ, short enough for a line and long enough to show where."""
    a, b = _plain(left), _plain(right)
    same = next(
        (place for place, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), min(len(a), len(b))
    )
    start = max(0, same - MOST_OF_A_VALUE // 3) if max(len(a), len(b)) > MOST_OF_A_VALUE else 0
    return _cut(a, start), _cut(b, start)


def _cut(text: str, start: int) -> str:
    part = text[start : start + MOST_OF_A_VALUE]
    return (
        f"{'…' if start and part else ''}{part}{'…' if len(text) > start + MOST_OF_A_VALUE else ''}" or "(ends before)"
    )


def _plain(value: Any) -> str:
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _scores(one: Run, other: Run) -> Iterator[str]:
    left, right = Group((one,)), Group((other,))
    compared = _compared(right, left)
    yield "mIoU in %, B less A in points (of the unrounded scores), 95 % interval over the images of both"
    for column, title in TITLES.items():
        a, b = left.score(column).value, right.score(column).value
        yield f"  {title:<12} {points(a):>6} → {points(b):>6}   {_less(compared.get(column), a, b)}"


def _compared(group: Group, base: Group) -> dict[str, Difference]:
    """As on the page; two runs of different seeds are a pair here, because they were asked for."""
    alike = replace(
        group.first, record=group.first.record | {field: base.first.get(field) for field in ("seed", "limited")}
    )
    own = Group((alike,))
    return differences([own], base)[own]


def _less(told: Difference | None, a: float | None, b: float | None) -> str:
    if told is None or told.value is None:
        plain = signed(b - a) if a is not None and b is not None else "–"
        return f"{plain}  ({told.lack if told and told.lack else 'no interval is made for it'})"
    if told.low is None or told.high is None:
        return signed(told.value)
    return f"{signed(told.value)} [{signed(told.low)}, {signed(told.high)}]  {told.words}, {told.images:,} images"


def _classes(one: Run, other: Run) -> Iterator[str]:
    """Classes whose IoU with all names moved most."""
    moved = []
    for name, entry in one.record["scores"]["all"]["classes"].items():
        a, b = entry.get("iou"), other.record["scores"]["all"]["classes"].get(name, {}).get("iou")
        if a is not None and b is not None and a != b:
            moved.append((abs(b - a), name, entry["group"], a, b))
    if not moved:
        yield "\nNo class has another IoU with all names."
        return
    yield f"\nIoU with all names in %, the classes that moved most ({min(len(moved), MOST_CLASSES)} of {len(moved)})"
    for _, name, group, a, b in sorted(moved, key=lambda row: (-row[0], row[1]))[:MOST_CLASSES]:
        yield f"  {name:<16} {group:<6} {points(a):>6} → {points(b):>6}   {signed(b - a)}"
