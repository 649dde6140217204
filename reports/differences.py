"""Paired differences: how much each configuration is above or below a chosen one, and how sure that is.

Choices: the images are the unit. Both runs of a pair are scored on the same resampled images, so that what both find
hard cancels out, and only images that both were scored on count. Runs are paired by seed; of several seeds the mean of
their differences is resampled, with the same images for every seed: the interval is over images, and what another
training would change shows in the span over seeds; where seeds differ in sign, neither is called better. Fixed random
seeds: equal files give equal numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zsbench.bootstrap import interval, resample
from zsbench.metrics import Floats, Scope, Tally

from .counts import COLUMNS, PerImage, score, summed
from .groups import Group
from .read import Run
from .tables import DIGITS, Row, as_csv, run_row

MOST_CELLS = 4_000  # classes x runs resampled at once: 1,000 resamples of three counts are 100 MB
BETTER, WORSE, UNDECIDED, UNSURE, DIVIDED = "better", "worse", "no difference shown", "no interval", "seeds disagree"
WORDS = {UNDECIDED: "no difference shown (interval holds 0)", DIVIDED: "seeds disagree (some above, some below)"}
SHARED = ("data", "data_fingerprint", "split", "split_fingerprint", "method", "captions", "seed", "limited", "key")
CSV_COLUMNS = (*SHARED, "base", "base_captions", "base_key", "score", "images", "difference", "together", "together_low",
               "together_high", "verdict", "why_not")  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """One score of a group less that of the base, fractions; value None: `lack` says why.

    value: mean over the pairs; low, high: its 95 % interval over images. pairs: (run, run of the base, their difference).
    """

    column: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: tuple[tuple[Run, Run, float], ...] = ()
    images: int = 0
    lack: str = ""

    @property
    def keys(self) -> str:
        """Of the group's runs that were paired."""
        return " ".join(run.key for run, _, _ in self.pairs)

    @property
    def lowest(self) -> float:
        return min(less for _, _, less in self.pairs)

    @property
    def highest(self) -> float:
        return max(less for _, _, less in self.pairs)

    @property
    def verdict(self) -> str:
        if self.value is None:
            return ""
        if self.low is None or self.high is None:
            return UNSURE
        if self.low <= 0 <= self.high:
            return UNDECIDED
        if self.lowest < 0 < self.highest:  # an interval over images says nothing about another training
            return DIVIDED
        return BETTER if self.low > 0 else WORSE

    @property
    def words(self) -> str:
        return WORDS.get(self.verdict, self.verdict)


class Pairing(NamedTuple):
    """The runs of a group beside those of the base, and the images that all of them were scored on in one scope."""

    group: Group
    scope: Scope
    runs: tuple[tuple[Run, Run], ...]  # (of the group, of the base), one pair per seed
    images: tuple[str, ...]


Compared = dict[Group, dict[str, Difference]]  # group -> column of runs.csv -> Difference


def differences(groups: Iterable[Group], base: Group) -> Compared:
    """Every group less the base, in the columns of `counts.COLUMNS`; the base itself is left out."""
    found: Compared = {}
    pairings: list[Pairing] = []
    for group in groups:
        if group is base:
            continue
        runs, lack = _paired(group, base)
        made = {scope: _pairing(group, scope, runs) for scope in set(COLUMNS.values())} if not lack else {}
        found[group] = {column: Difference(column, lack=lack or _empty(made[at])) for column, at in COLUMNS.items()}
        pairings += [pairing for pairing in made.values() if pairing.images]
    for column, at in COLUMNS.items():
        own = [pairing for pairing in pairings if pairing.scope == at]
        resampled = _resampled(own)
        for pairing in own:
            found[pairing.group][column] = _difference(column, pairing, resampled[pairing.images])
    return found


def _paired(group: Group, base: Group) -> tuple[tuple[tuple[Run, Run], ...], str]:
    """(pairs by seed, why there are none)."""
    if group.limited != base.limited:
        return (), "only one of the two is limited"
    by_seed = {run.get("seed"): run for run in reversed(base.runs)}
    pairs = tuple((run, by_seed[run.get("seed")]) for run in group.runs if run.get("seed") in by_seed)
    if not pairs:
        return (), "no seed was run for both"
    lacks = [run.per_image for pair in pairs for run in pair if isinstance(run.per_image, str)]
    return pairs, lacks[0] if lacks else ""


def _pairing(group: Group, scope: Scope, runs: tuple[tuple[Run, Run], ...]) -> Pairing:
    sets = [set(counts_of(run).images[scope]) for pair in runs for run in pair]
    return Pairing(group, scope, runs, tuple(sorted(set.intersection(*sets))))


def _empty(pairing: Pairing) -> str:
    """Why a pairing has no images; empty where it has some."""
    if pairing.images:
        return ""
    given = [run.record["scores"][pairing.scope].get("submitted", True) for pair in pairing.runs for run in pair]
    return "no image was scored for both" if all(given) else "not submitted"


def counts_of(run: Run) -> PerImage:
    assert not isinstance(run.per_image, str)  # such runs are never paired
    return run.per_image


class Scores(NamedTuple):
    """The counts of one run on some images: of all together (candidates,), and of every resample (resamples, …)."""

    whole: Tally
    resampled: Tally | None  # None with fewer than two images
    seen: int


def _resampled(pairings: Sequence[Pairing]) -> dict[tuple[str, ...], dict[str, Scores]]:
    """Images -> run key -> its counts; all runs of the same images are resampled together, with the same draws."""
    wanted: dict[tuple[str, ...], dict[str, Run]] = {}
    for pairing in pairings:
        wanted.setdefault(pairing.images, {}).update({run.key: run for pair in pairing.runs for run in pair})
    scope = pairings[0].scope if pairings else "all"
    return {images: _scores(list(runs.values()), scope, images) for images, runs in wanted.items()}


def _scores(runs: Sequence[Run], scope: Scope, images: tuple[str, ...]) -> dict[str, Scores]:
    tallies = {run.key: counts_of(run).of(scope, list(images)) for run in runs}
    wide = max(1, MOST_CELLS // max(1, next(iter(tallies.values())).truth.shape[1]))
    found: dict[str, Scores] = {}
    for start in range(0, len(runs), wide):
        part = runs[start : start + wide]
        beside = Tally(*(np.hstack([getattr(tallies[run.key], name) for run in part]) for name in _PARTS))
        drawn = _split(resample(beside), len(part)) if len(images) > 1 else [None] * len(part)
        for run, own in zip(part, drawn, strict=True):
            found[run.key] = Scores(summed(tallies[run.key]), own, counts_of(run).counts.seen)
    return found


_PARTS = ("correct", "truth", "predicted")


def _split(wide: Tally, runs: int) -> list[Tally]:
    columns = [np.hsplit(getattr(wide, name), runs) for name in _PARTS]
    return [Tally(*own) for own in zip(*columns, strict=True)]


def _difference(column: str, pairing: Pairing, found: dict[str, Scores]) -> Difference:
    pairs = [(found[own.key], found[other.key]) for own, other in pairing.runs]
    values = [float(_less(column, own.whole, other.whole, own.seen)) for own, other in pairs]
    if any(np.isnan(value) for value in values):
        return Difference(column, lack="no class of this score occurs in the images of both")
    draws = [
        _less(column, own.resampled, other.resampled, own.seen)
        for own, other in pairs
        if own.resampled is not None and other.resampled is not None
    ]
    ends = interval(np.mean(draws, axis=0)) if draws else None
    low, high = (round(end, DIGITS) for end in ends) if ends else (None, None)
    less = [round(value, DIGITS) for value in values]
    told = tuple((own, other, value) for (own, other), value in zip(pairing.runs, less, strict=True))
    return Difference(column, round(sum(less) / len(less), DIGITS), low, high, told, len(pairing.images))


def _less(column: str, own: Tally, other: Tally, seen: int) -> Floats:
    return score(column, own, seen) - score(column, other, seen)


def difference_rows(compared: Compared, base: Group) -> list[Row]:
    """Rows of differences.csv: per score one per run of a group with the run of the base that it was paired with.

    difference: of that pair. together, together_low, together_high, verdict: of the mean over all pairs of the group, the
    same in each of its rows. Runs without a partner stand there with the reason.
    """
    told = {"base": base.first.get("method.name"), "base_captions": base.first.get("supervision.corpus.name")}
    return [
        beginning | told | _row(difference, run)
        for group, own in compared.items() for run, beginning in with_shared(group.runs) for difference in own.values()
    ]  # fmt: skip


def _row(told: Difference, run: Run) -> Row:
    pair = next(((other, less) for own, other, less in told.pairs if own is run), None)
    if pair is None:
        return {"score": told.column, "why_not": told.lack or "no run of the base has this seed"}
    return {"score": told.column, "base_key": pair[0].key, "images": told.images, "difference": pair[1],
            "together": told.value, "together_low": told.low, "together_high": told.high, "verdict": told.words}  # fmt: skip


def differences_csv(rows: Sequence[Row]) -> str:
    return as_csv(CSV_COLUMNS, rows)


def with_shared(runs: Iterable[Run]) -> Iterator[tuple[Run, Row]]:
    """Every run with what each row about it begins with."""
    for run in runs:
        row = run_row(run)
        yield run, {column: row[column] for column in SHARED}
