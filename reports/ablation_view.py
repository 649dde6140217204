"""What the ablation section of a board shows: tables with their drawings, sentences, and what speaks against comparing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from . import lines, side_by_side
from .ablation import Ablation, Ordering, Row, ablations, first_table, notes
from .boards import Board
from .clusters import Panel, panels
from .ordering import sentence
from .published import Paper, paper

MOST_DRAWN = 8  # tables with bars, and panels over the number of clusters, per board


@dataclass(frozen=True, eq=False)
class Beside:
    """Rows with the paper's beside them; what all of them share against a comparison is said once."""

    rows: tuple[Row, ...]

    @cached_property
    def shared(self) -> list[str]:
        """Reasons that hold for every row which has a number on both sides; none where only one row has."""
        told = [row.against for row in self.rows if row.group and row.published]
        return [why for why in told[0] if all(why in others for others in told[1:])] if len(told) > 1 else []

    def own(self, row: Row) -> list[str]:
        return [why for why in row.against if why not in self.shared]

    @property
    def data(self) -> str:
        """The paper's data set; empty where it has none of the kind."""
        return next((row.published.protocol.data for row in self.rows if row.published), "")


@dataclass(frozen=True, eq=False)
class Table(Beside):
    """One ablation with its drawing."""

    ablation: Ablation
    id: str

    @property
    def sentences(self) -> list[str]:
        return [sentence(ordering) for ordering in self.ablation.orderings]

    def ordering(self, row: Row) -> Ordering | None:
        return next((one for one in self.ablation.orderings if one.lower is row), None)

    @cached_property
    def bars(self) -> Markup:
        return side_by_side.class_bars(self.ablation.groups, f"{self.id}-bars")


@dataclass(frozen=True, eq=False)
class AblationView:
    """The section of one board."""

    tables: tuple[Table, ...]
    first: Beside
    swept: tuple[tuple[Panel, Markup], ...]
    undrawn: int  # panels over the number of clusters that are not drawn

    @property
    def paper(self) -> Paper:
        return paper("vilseg")

    @property
    def notes(self) -> tuple[str, ...]:
        return notes([*(row for table in self.tables for row in table.rows), *self.first.rows])


def ablation_view(board: Board, id: str) -> AblationView | None:
    """None where a board has no runs that differ in one of the paper's settings."""
    tables = [Table(one.rows, one, f"{id}-ablation-{place}") for place, one in enumerate(ablations(board))]
    rows = first_table(board)
    found = panels(board)
    swept = [(one, lines.over_clusters(one, f"{id}-clusters-{n}")) for n, one in enumerate(found[:MOST_DRAWN])]
    if not (tables or rows or found):
        return None
    return AblationView(tuple(tables), Beside(tuple(rows)), tuple(swept), max(0, len(found) - MOST_DRAWN))
