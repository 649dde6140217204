"""ablation.csv: one row per row of an ablation table and seed, and the paper's rows with their source.

A set is one table on the page: the rows that are matched with one full row (Table 2), or all of a board (Table 1). over_…:
unseen-only mIoU of the full row less that of the named row, same seed. comparable: whether this run may stand beside the
paper's number, or the paper's number beside the runs of its row; why: what stands against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .ablation import COLUMNS, FULL, Ablation, Row, ablations, first_table
from .boards import boards
from .published import Published, paper
from .read import Run
from .tables import Row as Cells
from .tables import as_csv, rounded

SHARED = (
    "data", "data_fingerprint", "split", "split_fingerprint", "method", "config_given", "captions", "captions_policy",
    "seed", "limited", "images", "key", "unseen_only_miou", "unseen_only_miou_low", "unseen_only_miou_high",
    "unseen_only_pixel_accuracy", "all_harmonic_miou", "parameters_at_inference", "images_per_second",
)  # fmt: skip
ABLATION_COLUMNS = (
    "set", "table", "row", "origin", *SHARED, *COLUMNS.values(), "comparable", "why", "published_on", "source",
    "certainty",
)  # fmt: skip


def ablation_csv(runs: Sequence[Run]) -> str:
    return as_csv(ABLATION_COLUMNS, list(_rows(runs)))


def _rows(runs: Sequence[Run]) -> Iterator[Cells]:
    number = 0
    for board in boards(runs):
        for ablation in ablations(board):
            number += 1
            gains = _gains(ablation)
            for row in ablation.rows:
                yield from _of_row(row, {"set": number, "table": row.table}, gains if row.name == FULL else {})
        if table := first_table(board):
            number += 1
            for row in table:
                yield from _of_row(row, {"set": number, "table": row.table}, {})


def _gains(ablation: Ablation) -> dict[int, Cells]:
    """Seed -> differences of the full row."""
    found: dict[int, Cells] = {}
    for ordering in ablation.orderings:
        for seed, gain in ordering.pairs:
            found.setdefault(seed, {})[ordering.column] = rounded(gain)
    return found


def _of_row(row: Row, place: Cells, gains: dict[int, Cells]) -> Iterator[Cells]:
    at = place | {"row": row.name}
    against = _against(row)
    for cells in row.group.rows if row.group else []:
        own = {column: cells[column] for column in SHARED}
        yield at | {"origin": "here"} | own | gains.get(cells["seed"], {}) | against
    if row.published:
        yield at | {"origin": "paper"} | _printed(row.published) | against


def _against(row: Row) -> Cells:
    if not row.group or not row.published:
        return {}
    return {"comparable": "no" if row.against else "yes", "why": "; ".join(row.against)}


def _printed(value: Published) -> Cells:
    told = paper("vilseg")
    return {
        "method": told.title, "captions": value.weights, "unseen_only_miou": value.miou, "unseen_only_pixel_accuracy":
        value.pixel_accuracy, "parameters_at_inference": value.parameters, "images_per_second": value.images_per_second,
        "published_on": value.protocol.data, "source": f"{told.source}, {value.protocol.table}",
        "certainty": told.certainty,
    }  # fmt: skip
