"""rounds.csv and calibration.csv: what one run holds more than one number of.

rounds.csv: one row per run and round, and below it one per class that pixels were selected for (its column `class` is
filled, its scores are empty). calibration.csv: one row per run and gamma. Fractions and digits as in runs.csv.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .read import Run
from .tables import Row, as_csv, rounded, run_row

SHARED = (
    "data",
    "data_fingerprint",
    "split",
    "split_fingerprint",
    "method",
    "captions",
    "vectors",
    "seed",
    "limited",
    "key",
)
PARTS = {"unseen_only": ("unseen",), "all_unseen": ("all", "unseen"), "all_harmonic": ("all", "harmonic"),
         "all_seen": ("all", "seen")}  # fmt: skip
SCORES = tuple(f"{part}_miou{end}" for part in PARTS for end in ("", "_low", "_high"))
PIXELS = ("pixels", "correct", "outside", "truth")
ROUND_COLUMNS = (
    *SHARED,
    "round",
    "name",
    "class",
    *SCORES,
    "gain",
    "gain_harmonic",
    "door",
    "images",
    *PIXELS,
    "purity",
)
GAMMA_COLUMNS = (*SHARED, "gamma", "used", "all_seen_miou", "all_unseen_miou", "all_harmonic_miou")


def rounds_csv(runs: Sequence[Run]) -> str:
    return as_csv(ROUND_COLUMNS, [row for run in runs for row in round_rows(run)])


def calibration_csv(runs: Sequence[Run]) -> str:
    return as_csv(GAMMA_COLUMNS, [row for run in runs for row in gamma_rows(run)])


def round_rows(run: Run) -> list[Row]:
    """The rows of rounds.csv of one run.

    gain, gain_harmonic: unseen mIoU (all names) and harmonic mean over those of the first round. pixels: selected;
    correct: of these, the truth is that class; outside: of these, the truth counts for nothing on this split; truth:
    pixels of the class in the images looked at; purity: correct / pixels. A round's own row has their sums over classes.
    """
    shared = _shared(run)
    rounds = run.get("rounds", [])
    first = _scores(rounds[0]["scores"]) if rounds else {}
    found = []
    for number, told in enumerate(rounds):
        at = shared | {"round": number, "name": told["name"]}
        selected = told.get("selected") or {}
        own = _scores(told["scores"])
        gains = {"gain": _less(own, first, "all_unseen_miou"), "gain_harmonic": _less(own, first, "all_harmonic_miou")}
        classes = selected.get("classes", {})
        pool = {"door": selected.get("door"), "images": selected.get("images"), **_pixels(classes.values())}
        found.append(at | {"class": None} | own | gains | pool)
        found += [at | {"class": name, **_pixels([counts])} for name, counts in classes.items()]
    return [{column: rounded(value) for column, value in row.items()} for row in found]


def gamma_rows(run: Run) -> list[Row]:
    """The rows of calibration.csv of one run. used: "yes" at the gamma of the run's own scores."""
    shared, told = _shared(run), run.get("calibration")
    if not told:
        return []
    lines = zip(told["gammas"], told["seen"], told["unseen"], told["harmonic"], strict=True)
    return [
        shared | {"gamma": gamma, "used": "yes" if gamma == told["gamma"] else "no", "all_seen_miou": rounded(seen),
                  "all_unseen_miou": rounded(unseen), "all_harmonic_miou": rounded(both)}
        for gamma, seen, unseen, both in lines
    ]  # fmt: skip


def _shared(run: Run) -> Row:
    row = run_row(run)
    return {column: row[column] for column in SHARED}


def _scores(scores: Mapping[str, Any]) -> Row:
    found: Row = {}
    for part, steps in PARTS.items():
        held: Any = scores
        for step in steps:
            held = held[step]
        low, high = held.get("interval") or (None, None)
        found |= {f"{part}_miou": held["miou"], f"{part}_miou_low": low, f"{part}_miou_high": high}
    return found


def _less(own: Row, first: Row, column: str) -> float | None:
    now, then = own[column], first[column]
    return None if now is None or then is None else now - then


def _pixels(counts: Iterable[Mapping[str, int]]) -> Row:
    """Sums over classes and the purity of all together; nothing where nothing was counted."""
    held = list(counts)
    if not held:
        return dict.fromkeys((*PIXELS, "purity"))
    sums = {name: sum(one[name] for one in held) for name in PIXELS}
    return sums | {"purity": sums["correct"] / sums["pixels"] if sums["pixels"] else None}
