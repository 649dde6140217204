"""When a scan fails: limits on named classes, on completeness and on precision, and the exit codes that tell them apart.

0 complete and under the limit, 1 input incomplete, 3 over the limit, 4 the precision asked for was not shown. A limit
that is passed stays passed whatever could not be read, so 3 goes before 1; 2 is wrong usage, 130 an interruption.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from zsbench.errors import UserError, unknown

COVERED = 0.8  # of a class's hits must be of forms that were judged before its precision is taken as shown
COMPLETE, INCOMPLETE, OVER, UNREVIEWED = 0, 1, 3, 4

Block = dict[str, Any]


def parse_limit(text: str) -> tuple[Fraction, bool]:
    """`5` captions per class, or a share of all captions as `0.01%` or `20ppm`; the number, and whether it is a share."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(%|ppm)?\s*", text)
    if not match or (not match[2] and "." in match[1]):
        raise UserError(f"--fail-over {text!r} is no limit; expected captions per class (0) or a share (0.01%, 20ppm)")
    number = Fraction(match[1])  # exact: 29 captions of 100 are not over 29%
    return (number / {"%": 100, "ppm": 10**6}[match[2]], True) if match[2] else (number, False)


def judge(
    report: Block, fail_over: str | None = None, fail_on: Sequence[str] = (), require_precision: float | None = None
) -> Block:
    """The report with its limit, what is over it, and the exit code.

    fail_over: the limit (`parse_limit`). fail_on: the classes it holds for, by default all; alone it means 0.
    require_precision: every class named must have been reviewed, in forms with COVERED of its hits, and the estimate
    must reach this share.
    """
    allowed = _allowed(fail_over if fail_over is not None or not fail_on else "0", report["corpus"]["captions"])
    held = [block for block in report["classes"] if not fail_on or block["name"] in fail_on]
    over = [block["name"] for block in held if allowed is not None and block["captions"] > allowed]
    short = _unreviewed(report, require_precision)
    code = OVER if over else INCOMPLETE if not report["complete"] else UNREVIEWED if short else COMPLETE
    told = None
    if allowed is not None or require_precision is not None:
        told = {
            "fail_over": None if allowed is None else float(allowed),
            "asked": fail_over,
            "fail_on": list(fail_on),
            "over": over,
        }
        told |= {"require_precision": require_precision, "unreviewed": short}
    return {**report, "limit": told, "exit": code}


def check(classes: Sequence[str], fail_over: str | None = None, fail_on: Sequence[str] = ()) -> None:
    """Raises UserError for a limit that is none and for a class that is not looked for; before anything is scanned."""
    if fail_over is not None:
        parse_limit(fail_over)
    for name in fail_on:
        if name not in classes:
            raise unknown("class in this scan", name, classes)


def _allowed(limit: str | None, captions: int) -> Fraction | None:
    """Captions that may name a class."""
    if limit is None:
        return None
    number, is_share = parse_limit(limit)
    return number * captions if is_share else number


def _unreviewed(report: Block, wanted: float | None) -> list[str]:
    if wanted is None:
        return []
    return [block["name"] for block in report["classes"] if block["captions"] and _estimate(block) < wanted]


def _estimate(block: Block) -> float:
    named = (block["precision"] or {}).get("named")
    return float(named["estimate"]) if named and named["covered"] >= COVERED else -1.0


def overall(codes: Sequence[int]) -> int:
    """The exit code of several reports: the gravest."""
    return next((code for code in (OVER, INCOMPLETE, UNREVIEWED) if code in codes), COMPLETE)
