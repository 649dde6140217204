"""The supervision ledger as small marks for the row of a ranking: only what was used, in a word each.

The whole words stand in the mark's title, are read aloud, and are printed below the word on paper; the ledger's own table
is one click away.
"""

from __future__ import annotations

from typing import NamedTuple

from .groups import Group
from .ledger import COLUMNS, ledger

SHORT = {"Pixel masks": "masks", "Layout masks": "layout", "Unlabelled pool": "pool", "Class vectors": "vectors",
         "Starts from": "weights", "which saw": "weights saw", "Unseen names known": "names",
         "Declared by": "declared"}  # fmt: skip
HIDDEN = ("Captions", "Tuned on")  # stand in the row in full, or say nothing about training


class Small(NamedTuple):
    """One mark. state: "used" or "warned", as in the ledger; told: its words."""

    state: str
    word: str
    told: str


def marks(group: Group) -> list[Small]:
    """What a group learnt from; nothing for what it did not use."""
    return [
        Small(
            mark.state,
            SHORT.get(column, column.lower()),
            f"{column}: {mark.words}{f' ({mark.more})' if mark.more else ''}",
        )
        for column, mark in zip(COLUMNS, ledger(group), strict=True)
        if mark.state != "free" and column not in HIDDEN
    ]
