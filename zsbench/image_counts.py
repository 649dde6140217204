"""Confusion counts image by image: what intervals are computed from, and what a resumed evaluation goes on with.

Only cells that are not zero are kept, a handful per image. Parts that were counted and written separately merge into
the same whole in any order, and an image that occurs twice in a scope is refused: it would silently weigh double.
An image without a single scored pixel in a scope has no rows there, and is no unit of that scope's bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from zsbench.atomic import replacing
from zsbench.errors import UserError
from zsbench.metrics import SCOPES, ConfusionMatrix, Counts, Ids, Scope, Tally

if TYPE_CHECKING:
    import pandas as pd

    from zsbench.split import Split

COLUMNS = {"image": "str", "scope": "str", "true": "int16", "predicted": "int16", "pixels": "int64"}


@dataclass(frozen=True)
class ImageCounts:
    """Counts of a split with `seen` + `unseen` classes. Ids are split ids in every scope."""

    seen: int
    unseen: int
    _cells: dict[tuple[Scope, str], Counts] = field(default_factory=dict)  # (cells, 3): true, predicted, pixels

    @classmethod
    def of(cls, split: Split) -> ImageCounts:
        return cls(len(split.seen), len(split.unseen))

    @property
    def names(self) -> int:
        return self.seen + self.unseen

    def first(self, scope: Scope) -> int:
        """The first candidate id of a scope: candidates are first .. names - 1."""
        if scope not in SCOPES:
            raise ValueError(f"no scope named '{scope}': {', '.join(SCOPES)}")
        return self.seen if scope.endswith("unseen") else 0

    def count(self, image: str, scope: Scope, true: Ids, predicted: Ids) -> None:
        """Count one image's label maps, both in split ids (errors: see `ConfusionMatrix.count`)."""
        self.append(image, scope, ConfusionMatrix.count(true, predicted, self.names, self.first(scope)))

    def append(self, image: str, scope: Scope, matrix: ConfusionMatrix) -> None:
        """Add one image's matrix over the scope's candidates: (unseen, unseen) or (names, names)."""
        first = self.first(scope)
        if len(matrix.counts) != self.names - first:
            raise ValueError(f"scope '{scope}' has {self.names - first} candidates, got {len(matrix.counts)}")
        true, predicted = np.nonzero(matrix.counts)
        self._put(scope, image, np.column_stack([true + first, predicted + first, matrix.counts[true, predicted]]))

    def _put(self, scope: Scope, image: str, cells: Counts) -> None:
        if (scope, image) in self._cells:
            raise ValueError(f"image '{image}' is counted twice in scope '{scope}'")
        self._cells[scope, image] = cells

    def merge(self, *others: ImageCounts) -> ImageCounts:
        """All images of these counts together; in any order the same."""
        whole = ImageCounts(self.seen, self.unseen, dict(self._cells))
        for other in others:
            if (other.seen, other.unseen) != (self.seen, self.unseen):
                raise ValueError("counts of different splits cannot be merged")
            for (scope, image), cells in other._cells.items():
                whole._put(scope, image, cells)
        return whole

    def images(self, scope: Scope) -> list[str]:
        """Keys of the images with scored pixels, sorted: the order of arrival changes nothing."""
        return sorted(image for (where, image), cells in self._cells.items() if where == scope and len(cells))

    def total(self, scope: Scope) -> ConfusionMatrix:
        """The scope's confusion matrix over all images."""
        n, first = self.names, self.first(scope)
        counts = np.zeros((n, n), np.int64)
        for (where, _), cells in self._cells.items():
            if where == scope:
                counts[cells[:, 0], cells[:, 1]] += cells[:, 2]  # a cell occurs once per image
        return ConfusionMatrix(counts[first:, first:])

    def tally(self, scope: Scope) -> Tally:
        """Counts per image and candidate, arrays of shape (images, candidates), images in the order of `images`."""
        images, first = self.images(scope), self.first(scope)
        correct, truth, predicted = np.zeros((3, len(images), self.names), np.int64)
        for row, image in enumerate(images):
            true, guess, pixels = self._cells[scope, image].T
            np.add.at(truth[row], true, pixels)
            np.add.at(predicted[row], guess, pixels)
            right = true == guess
            correct[row, true[right]] = pixels[right]
        return Tally(correct[:, first:], truth[:, first:], predicted[:, first:])

    def frame(self) -> pd.DataFrame:
        """One row per cell that is not zero, sorted: columns image, scope, true, predicted, pixels."""
        import pandas as pd

        order = sorted(self._cells, key=lambda place: (place[1], place[0]))
        lengths = [len(self._cells[place]) for place in order]
        cells = np.concatenate([np.empty((0, 3), np.int64), *(self._cells[place] for place in order)])
        image = np.repeat(np.array([image for _, image in order], dtype=object), lengths)
        scope = np.repeat(np.array([scope for scope, _ in order], dtype=object), lengths)
        columns = dict(zip(COLUMNS, [image, scope, *cells.T], strict=True))
        return pd.DataFrame(columns).astype(COLUMNS)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, split: Split) -> ImageCounts:
        """The inverse of `frame`. Raises UserError where the rows cannot be counts of this split."""
        whole = cls.of(split)
        _check(frame, whole)
        cells = frame[["true", "predicted", "pixels"]].to_numpy(np.int64)
        groups = frame.groupby(["scope", "image"], sort=False).indices
        for (scope, image), rows in cast("dict[tuple[Scope, str], Any]", groups).items():
            whole._put(scope, image, cells[rows])
        return whole

    def write(self, path: Path) -> None:
        with replacing(path) as part:
            self.frame().to_parquet(part, index=False)

    @classmethod
    def read(cls, paths: Iterable[Path], split: Split) -> ImageCounts:
        """The merged counts of parquet files. Raises UserError naming the file that is not one of counts."""
        return cls.of(split).merge(*(_read(path, split) for path in paths))


def _read(path: Path, split: Split) -> ImageCounts:
    import pandas as pd

    try:
        return ImageCounts.from_frame(pd.read_parquet(path), split)
    except FileNotFoundError:
        raise UserError(f"no per-image counts at {path}") from None
    except (UserError, ValueError, OSError) as fault:  # pyarrow's errors are ValueErrors and OSErrors
        raise UserError(f"{path} does not hold per-image counts of {split.name}: {fault}") from fault


def _check(frame: pd.DataFrame, whole: ImageCounts) -> None:
    if missing := set(COLUMNS) - set(frame.columns):
        raise UserError(f"column '{min(missing)}' is missing")
    for column in ("true", "predicted", "pixels"):
        if frame[column].dtype.kind not in "iu":
            raise UserError(f"column '{column}' must hold whole numbers, not {frame[column].dtype}")
    if unknown := set(frame["scope"].unique()) - set(SCOPES):
        raise UserError(f"no scope named '{min(map(str, unknown))}'")
    least = np.array([whole.first(scope) for scope in frame["scope"]], int)
    for column in ("true", "predicted"):
        if not ((frame[column] >= least) & (frame[column] < whole.names)).all():
            raise UserError(f"column '{column}' holds ids that are no candidates")
    if not (frame["pixels"] > 0).all():
        raise UserError("column 'pixels' must hold positive counts")
    if frame.duplicated(["image", "scope", "true", "predicted"]).any():
        raise UserError("a cell of an image occurs twice")
