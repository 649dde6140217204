"""ViL-Seg's own comparisons, from runs that differ in one setting: without the vision loss, K-means for its clusters.

Rows are matched and never merely put side by side: same data and split (one board), same captions after the same policy,
same limit, device and code of the harness, and every setting of the full method equal but the one that makes the row.
K-means carries all of ViL-Seg's settings, cuts as many regions per image as the full row has clusters, and starts, seed
by seed, from the very training of the full row. Differences are paired by seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .alike import circumstances, corpus_of, gathered
from .boards import Board
from .comparable import number_of, reasons
from .groups import Group
from .published import Published, paper

WITHOUT, OFFLINE, FULL = "without vision loss", "offline K-means", "full"
CLIP_SEG, VIL_SEG, SELF_TRAINED = "CLIP + Seg", "ViL-Seg", "ViL-Seg + ST"
COLUMNS = {OFFLINE: "over_kmeans", WITHOUT: "over_without_vision", CLIP_SEG: "over_clip_seg"}


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a paper's table with what was run here. group: None where it was not; published: None where the paper
    has no such number for the data set."""

    name: str
    table: str
    group: Group | None
    published: Published | None

    @property
    def against(self) -> list[str]:
        """Why the two are not comparable; empty when they are (or when one of them is not there)."""
        return reasons(self.group, self.published) if self.group and self.published else []


@dataclass(frozen=True, eq=False)
class Ordering:
    """One ordering that the paper claims: `higher` above `lower` in unseen-only mIoU."""

    higher: Row
    lower: Row

    @property
    def column(self) -> str:
        return COLUMNS[self.lower.name]

    @cached_property
    def pairs(self) -> list[tuple[int, float]]:
        """(seed, difference) for every seed that both rows have."""
        above, below = (by_seed(row.group) for row in (self.higher, self.lower))
        return [(seed, above[seed] - below[seed]) for seed in sorted(above.keys() & below.keys())]

    @property
    def gains(self) -> list[float]:
        return [gain for _, gain in self.pairs]

    @property
    def wins(self) -> int:
        return sum(gain > 0 for gain in self.gains)

    @property
    def mean(self) -> float | None:
        return sum(self.gains) / len(self.gains) if self.gains else None

    @property
    def of_paper(self) -> float | None:
        above, below = self.higher.published, self.lower.published
        return above.miou - below.miou if above and below else None


def by_seed(group: Group | None) -> dict[int, float]:
    """Seed -> unseen-only mIoU; of two runs with one seed the mean."""
    runs = gathered(group.rows if group else [], lambda row: row["seed"])
    found = {own[0]["seed"]: [row["unseen_only_miou"] for row in own if row["unseen_only_miou"] is not None]
             for own in runs}  # fmt: skip
    return {seed: sum(values) / len(values) for seed, values in found.items() if values}


@dataclass(frozen=True, eq=False)
class Ablation:
    """The rows of Table 2 that are matched with one full row.

    beside: ViL-Seg and CLIP + Seg of Table 1, where a CLIP of the same captions was run; its encoder is another one.
    others: further K-means that match the full row and differ in their own settings.
    """

    rows: tuple[Row, ...]
    beside: tuple[Row, Row] | None = None
    others: int = 0

    @property
    def full(self) -> Group:
        group = self.row(FULL).group
        assert group is not None  # every ablation starts from one
        return group

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    @property
    def groups(self) -> list[tuple[str, Group]]:
        """(name of the row, its runs) of all that was run, the full row last."""
        rows = (*(self.beside or ())[1:], *self.rows)
        return [(row.name, row.group) for row in rows if row.group]

    @property
    def orderings(self) -> list[Ordering]:
        """Those of the paper that both rows were run for."""
        full = self.row(FULL)
        own = [Ordering(full, row) for row in reversed(self.rows) if row.group and row is not full]
        return [*own, Ordering(*self.beside)] if self.beside else own


def ablations(board: Board) -> list[Ablation]:
    """One per full row that another row of Table 2 is matched with; the best first, limited ones last."""
    found = [_around(board, group) for group in board.groups if _is_full(group)]
    return [ablation for ablation in found if ablation.row(OFFLINE).group or ablation.row(WITHOUT).group]


def first_table(board: Board) -> list[Row]:
    """CLIP + Seg in the form of Table 1, with the full rows of the ablations (or else all); empty where it was not run."""
    clip = [group for group in board.groups if group.first.get("method.name") == "clip-seg"]
    every = [group for group in board.groups if _is_full(group)]
    full = [ablation.full for ablation in ablations(board)] or every
    rows = [(CLIP_SEG, group) for group in clip] + [(_self_trained(group), group) for group in full]
    return [_row(board, "Table 1", name, group) for name, group in rows] if clip else []


def _self_trained(group: Group) -> str:
    return SELF_TRAINED if _config(group).get("self_training") else VIL_SEG


def _around(board: Board, full: Group) -> Ablation:
    offline = sorted((g for g in board.groups if _is_offline(g, full)), key=_plainest)
    of = {WITHOUT: _first(board, lambda g: _is_without(g, full)), OFFLINE: next(iter(offline), None), FULL: full}
    rows = [_row(board, "Table 2", name, group) for name, group in of.items()]
    clip = sorted((g for g in board.groups if _is_clip_seg(g, full)), key=_plainest)
    beside = (
        (_row(board, "Table 1", _self_trained(full), full), _row(board, "Table 1", CLIP_SEG, clip[0])) if clip else None
    )
    return Ablation(tuple(rows), beside, max(0, len(offline) - 1))


def _row(board: Board, table: str, name: str, group: Group | None) -> Row:
    return Row(name, table, group, paper("vilseg").find(table, name, str(board.run.get("split.dataset"))))


def _first(board: Board, fits: Callable[[Group], bool]) -> Group | None:
    return next(filter(fits, board.groups), None)


def _is_full(group: Group) -> bool:
    return group.first.get("method.name") == "vilseg" and _config(group).get("vision") == "dino"


def _is_without(group: Group, full: Group) -> bool:
    same = _same_but(_config(full), _config(group), "vision")
    code = all(group.first.get(name) == full.first.get(name) for name in ("method.name", "method.source_sha256"))
    return code and _config(group).get("vision") == "none" and same and _together(group, full)


def _is_offline(group: Group, full: Group) -> bool:
    """K-means per image on the full row's own encoders, with as many clusters."""
    config = _config(group)
    kind = (group.first.get("method.name"), config.get("features"), config.get("mode"))
    alike = _same_but(_config(full), {name: config.get(name) for name in _config(full)})
    many = number_of(group.first) == number_of(full.first)
    same = many and alike and _together(group, full) and _same_training(group, full)
    return kind == ("kmeans", "vilseg", "per-image") and same


def _same_training(group: Group, full: Group) -> bool:
    """Whether both start from one training of ViL-Seg for every seed that both have, by the key of the shared stage.

    Settings do not show it: the source of K-means says nothing of ViL-Seg's, which trains for both. Records without stages
    are matched by their settings among themselves; with one that has them nothing shows that the training is the same.
    """
    mine, theirs = _trainings(group), _trainings(full)
    return all(mine[seed] == theirs[seed] for seed in mine.keys() & theirs.keys())


def _trainings(group: Group) -> dict[int, set[tuple[str, ...]]]:
    """Seed -> the trainings of ViL-Seg that its runs start from; of a run without any the empty tuple."""
    found: dict[int, set[tuple[str, ...]]] = {}
    for run in group.runs:
        keys = tuple(stage["key"] for stage in run.get("stages", []) if stage["name"] == "vilseg")
        found.setdefault(run.get("seed", 0), set()).add(keys)
    return found


def _is_clip_seg(group: Group, full: Group) -> bool:
    """CLIP + Seg whose CLIP learnt from the full row's captions, and from nothing before that the full row did not see."""
    learnt = group.first.get("method.name") == "clip-seg" and group.first.get("supervision.corpus") is not None
    saw = [one.first.get("supervision.backbone_corpus") for one in (group, full)]
    return learnt and saw[0] == saw[1] and _together(group, full, weights=False)


def _same_but(first: dict[str, Any], second: dict[str, Any], field: str = "") -> bool:
    return {**first, field: None} == {**second, field: None}


def _together(group: Group, full: Group, weights: bool = True) -> bool:
    """The same captions and circumstances (code among them); without `weights`, those a method starts from may differ."""
    mine, theirs = (corpus_of(one.first) + circumstances(one.first, weights) for one in (group, full))
    return mine == theirs


def _plainest(group: Group) -> tuple[int, bool, int, str, str]:
    """Defaults before what was set, and among equals the lowest key: the row is not chosen by its score."""
    config, given = _config(group), group.first.get("method.config_given", {})
    other = sum(name in config and config[name] != value for name, value in PLAIN.items())
    return (other, bool(config.get("position")), len(given), group.settings, group.first.key)


PLAIN = {"distance": "spherical", "attention": "value", "templates": "single"}  # what K-means and CLIP + Seg begin with


def _config(group: Group) -> dict[str, Any]:
    config: dict[str, Any] = group.first.get("method.config", {})
    return config


def notes(rows: Sequence[Row]) -> tuple[str, ...]:
    """What to know of the paper's numbers before they are read, where any stands in the rows."""
    told = [row.published for row in rows if row.published]
    return paper("vilseg").notes_for(told[0].protocol.datasets[0]) if told else ()
