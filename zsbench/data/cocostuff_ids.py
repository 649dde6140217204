"""The ids of COCO-Stuff's label maps: five ways in which the same 171 classes are stored, told apart and never mixed.

    form                    file                       unlabelled   ids
    164k                    NAME.png                   255          0-90 things, 91-181 stuff
    164k, train ids         NAME_labelTrainIds.png     255          0-170
    10k v1.1                NAME.mat                   0            1-91 things, 92-182 stuff
    10k v1.0                NAME.mat                   1            2-81 things, 82-172 stuff
    10k, train ids          NAME_labelTrainIds.png     0            1-171

There are 182 ids but 171 classes: eleven of the 91 things (street sign, hat, shoe …) were never annotated. Protocols in
"182 classes" (SPNet and its followers) and in "171" therefore score the same pixels; the published label file has 183
rows, because its row 0 is "unlabeled": row = id of the 164k maps + 1. Label maps that were made by row number are shifted
by one, and nearly every picture still looks plausible. What gives them away are the eleven ids: in right label maps none of
them occurs, in shifted ones "fire hydrant" lies on "street sign". That is why a single pixel of them is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zsbench.data.dataset import IGNORED
from zsbench.data.universes import COCOSTUFF_171

# Ids of the 164k maps that no pixel has.
EMPTY = {
    11: "street sign", 25: "hat", 28: "shoe", 29: "eye glasses", 44: "plate", 65: "mirror", 67: "window", 68: "desk",
    70: "door", 82: "blender", 90: "hair brush",
}  # fmt: skip
ANNOTATED = tuple(i for i in range(182) if i not in EMPTY)  # id of the 164k maps by position in COCOSTUFF_171
NAMES_182 = tuple(EMPTY[i] if i in EMPTY else COCOSTUFF_171[ANNOTATED.index(i)] for i in range(182))

_NOWHERE = 254  # in a table: the form has no such id


@dataclass(frozen=True, eq=False)
class Form:
    """How label maps store classes. table: stored id -> position in COCOSTUFF_171, 255 or `_NOWHERE`; shift: to 164k ids."""

    name: str
    says: str  # the ids in words
    table: np.ndarray
    shift: int | None = None  # stored id - shift = id of the 164k maps; None where the empty ids are left out

    def positions(self, stored: np.ndarray) -> np.ndarray:
        """(H, W) uint8 positions in COCOSTUFF_171, 255 = ignored. Raises ValueError that says which ids are wrong."""
        found: np.ndarray = self.table[stored]
        if (found == _NOWHERE).any():
            raise ValueError(self._wrong(stored[found == _NOWHERE]))
        return found

    def classes(self) -> dict[int, str]:
        """Stored id -> class."""
        return {int(i): COCOSTUFF_171[self.table[i]] for i in np.flatnonzero(self.table < len(COCOSTUFF_171))}

    def _wrong(self, ids: np.ndarray) -> str:
        values, counts = np.unique(ids, return_counts=True)
        empty = [
            f"id {value} ('{self.empty(int(value))}', {count:,} pixels)"
            for value, count in zip(values, counts, strict=True)
            if self.empty(int(value))
        ]
        if empty:
            return (
                f"{', '.join(empty[:3])}: no pixel of COCO-Stuff has this class, so these ids are not those of "
                f"{self.name} ({self.says}). Are they shifted by one (labels.txt counts its rows from 1) or another "
                "file's? Take the original label maps."
            )
        return f"label values {', '.join(map(str, values[:8]))}; {self.name} has {self.says}."

    def empty(self, stored: int) -> str | None:
        """The class of an id that is never annotated."""
        return None if self.shift is None else EMPTY.get(stored - self.shift)


def _table(ids: dict[int, int], unlabelled: int) -> np.ndarray:
    table = np.full(256, _NOWHERE, np.uint8)
    table[list(ids)] = list(ids.values())
    table[unlabelled] = IGNORED
    return table


_POSITIONS = range(len(COCOSTUFF_171))
IDS_164K = Form(
    "COCO-Stuff 164k", "ids 0 to 181 without eleven empty ones, and 255",
    _table({i: p for p, i in enumerate(ANNOTATED)}, IGNORED), 0,
)  # fmt: skip
TRAIN_164K = Form("COCO-Stuff 164k, train ids", "ids 0 to 170, and 255", _table({p: p for p in _POSITIONS}, IGNORED))
IDS_10K = Form(
    "COCO-Stuff 10k v1.1", "ids 1 to 182 without eleven empty ones, and 0",
    _table({i + 1: p for p, i in enumerate(ANNOTATED)}, 0), 1,
)  # fmt: skip
OLD_10K = Form("COCO-Stuff 10k v1.0", "ids 2 to 172, and 1", _table({p + 2: p for p in _POSITIONS}, 1))
TRAIN_10K = Form("COCO-Stuff 10k, train ids", "ids 1 to 171, and 0", _table({p + 1: p for p in _POSITIONS}, 0))

VERSIONS = {"v1.0": OLD_10K, "v1.1": IDS_10K}
