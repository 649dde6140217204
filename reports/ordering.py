"""The paper's orderings in one sentence each, with the figures that speak for them or against."""

from __future__ import annotations

from .ablation import CLIP_SEG, OFFLINE, WITHOUT, Ablation, Ordering
from .verdict import at_chance, signed, told

CLAIMS = {
    OFFLINE: "Online clusters above offline K-means on the same encoder",
    WITHOUT: "The full loss above training without the vision loss",
    CLIP_SEG: "ViL-Seg above CLIP + Seg on the same captions",
}


def sentence(ordering: Ordering) -> str:
    """ "…: holds in 3 of 3 seeds", or what happens instead."""
    claim = CLAIMS[ordering.lower.name] + _encoders(ordering)
    paper = ordering.of_paper
    if paper is not None and ordering.higher.published:
        claim += f" (the paper: {100 * paper:+.2f} on {ordering.higher.published.protocol.data})"
    return f"{claim}: {_limited(ordering)}{found(ordering)}{_chance(ordering)}."


def _encoders(ordering: Ordering) -> str:
    """Only CLIP + Seg may have another one than the row above it, and settings of its own."""
    higher, lower = ordering.higher.group, ordering.lower.group
    own = f" ({lower.settings})" if ordering.lower.name == CLIP_SEG and lower and lower.settings else ""
    names = [str(group.first.get("method.config.encoder", "?")) for group in (higher, lower) if group]
    return own + (f", encoders {' and '.join(names)}" if len(set(names)) > 1 else "")


def found(ordering: Ordering) -> str:
    """What the runs say, without the claim."""
    seeds, wins, gains = len(ordering.pairs), ordering.wins, ordering.gains
    both = " against ".join(told(row.group) for row in (ordering.higher, ordering.lower) if row.group)
    if not seeds:
        return f"cannot be paired, no seed was run for both; {both}"
    span = f" ({signed(min(gains))} to {signed(max(gains))})" if seeds > 1 else ""
    figures = f"{signed(ordering.mean)} points{' on average' if seeds > 1 else ''}{span}"
    share = f"{wins} of {seeds} seed{'s' if seeds > 1 else ''}"
    if wins == seeds:
        return f"holds in {share}, {figures}"
    every = " in every seed" if (ordering.mean or 0) > 0 else ""
    return f"does not hold{every}: above in {share}, {figures}; {both}"


def lines(found_in: list[Ablation], most: int = 3) -> list[str]:
    """For a terminal: the first table's orderings, and that there are more where there are."""
    if not found_in:
        return []
    first, *others = found_in
    said = [f"  {sentence(ordering)}" for ordering in first.orderings]
    if not others:
        return said[:most]
    where = f"  ({first.full.captions}; {len(others)} more on the page)"
    return [*said[: most - 1], where]


def _chance(ordering: Ordering) -> str:
    """An order of two rows that may both be guesses says nothing."""
    groups = [row.group for row in (ordering.higher, ordering.lower) if row.group]
    return "; neither is clear of chance" if all(map(at_chance, groups)) else ""


def _limited(ordering: Ordering) -> str:
    group = ordering.higher.group
    return "limited runs, not for ranking; " if group and group.limited else ""
