"""How to cite what a report holds: zsbench itself, and where each split comes from.

The words are those of CITATION.cff, which an installed package does not have beside it; a test holds the two together. No
year is named, for the report knows no clock and the version says more.
"""

from __future__ import annotations

from collections.abc import Sequence

from zsbench import __version__

from .boards import Board
from .read import Run

TITLE = "zsbench: a benchmark and leakage audit for zero-shot semantic segmentation"
AUTHORS = "The zsbench team"
LICENSE = "Apache-2.0"


def versions(runs: Sequence[Run]) -> str:
    """The versions that made the runs, or this one's where none says."""
    told = sorted({str(run.get("zsbench")) for run in runs if run.get("zsbench")})
    return ", ".join(told) or __version__


def plain(runs: Sequence[Run]) -> str:
    return f"{AUTHORS}. {TITLE}. Version {versions(runs)}. {LICENSE}."


def bibtex(runs: Sequence[Run]) -> str:
    return "\n".join([
        "@software{zsbench,",
        f"  title   = {{{TITLE}}},",
        f"  author  = {{{{{AUTHORS}}}}},",
        f"  version = {{{versions(runs)}}},",
        f"  license = {{{LICENSE}}},",
        "}",
    ])  # fmt: skip


def sources(boards: Sequence[Board]) -> dict[str, str]:
    """Split -> where its classes come from, in the order of the page."""
    told = {str(board.run.get("split.name")): str(board.run.get("split.source", "")) for board in boards}
    return {name: source for name, source in told.items() if source}
