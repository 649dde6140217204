"""Which captions of a source stay: the verdict on every record, in the order in which they lie.

Choices: a record goes when its caption names any class of the lexicon, and when its caption could not be read, for then
nobody can vouch for it; the two are counted apart. A source that cannot be read to its end gets no verdict at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from zsbench.errors import UserError
from zsbench.leakage.batch import Batch, Intake
from zsbench.leakage.engine import Matcher
from zsbench.leakage.reading.fragments import Fragment, read

Mask = NDArray[np.bool_]
Progress = Callable[[int], None]  # told how many more bytes have been read


class Verdicts:
    """The batches of one source, each with the mask of what is kept of it; counted on the way.

    `rows` is, while a batch is looked at, the number of records before it: the row of the source where it begins.
    """

    def __init__(self, fragments: Sequence[Fragment], matcher: Matcher, progress: Progress | None = None):
        self.fragments, self._matcher, self._progress = fragments, matcher, progress
        self.rows = self.dropped = self.unreadable = self.over_long = 0
        self.classes = np.zeros(len(matcher.lexicon.entries), dtype=np.int64)

    def __iter__(self) -> Iterator[tuple[Batch, Mask]]:
        """Raises UserError where the source is damaged, or is not what was planned."""
        for fragment in self.fragments:
            intake, told = Intake(), 0
            with closing(read(fragment, intake)) as batches:  # type: ignore[type-var]
                for batch in batches:
                    yield batch, self._judged(batch, intake)
                    self.rows += len(batch)
                    told = self._tell(intake.bytes, told)
            self._tell(fragment.bytes, told)
            self.over_long += intake.over_long
            if intake.broken:
                raise UserError(
                    f"{intake.broken}; it is not purged, for not all of it could be judged. Mend it or fetch it again."
                )

    def _judged(self, batch: Batch, intake: Intake) -> Mask:
        hits = self._matcher.scan(batch, intake)
        flagged = hits.flagged(len(batch))
        self.classes += np.bincount(hits.classes[:, 1], minlength=len(self.classes))
        self.dropped += int(np.count_nonzero(flagged))
        if batch.unreadable is None:
            return ~flagged
        self.unreadable += int(np.count_nonzero(batch.unreadable & ~flagged))
        return ~(flagged | batch.unreadable)

    def _tell(self, now: int, told: int) -> int:
        if self._progress and now > told:
            self._progress(now - told)
        return max(now, told)

    @property
    def kept(self) -> int:
        return self.rows - self.dropped - self.unreadable

    def counts(self) -> dict[str, int | dict[str, int]]:
        """What the manifest says of the source; `rows` is the sum of kept, dropped and unreadable_dropped."""
        classes = dict(zip(self._matcher.lexicon.classes, self.classes.tolist(), strict=True))
        numbers = {"rows": self.rows, "kept": self.kept, "dropped": self.dropped, "unreadable_dropped": self.unreadable}
        return {**numbers, "classes": classes}


class Masks:
    """The verdicts as one long mask, from which stretches of any length are taken."""

    def __init__(self, verdicts: Verdicts):
        self._masks = (mask for _, mask in verdicts)
        self._rest: Mask = np.zeros(0, dtype=np.bool_)

    def take(self, count: int) -> Mask:
        """The verdicts on the next `count` records; fewer where there are no more."""
        parts = [np.zeros(0, dtype=np.bool_)]
        while count:
            if not len(self._rest):
                more = next(self._masks, None)
                if more is None:
                    break
                self._rest = more
            parts.append(self._rest[:count])
            self._rest = self._rest[count:]
            count -= len(parts[-1])
        return np.concatenate(parts)

    def exactly(self, count: int, source: str) -> Mask:
        """The same; raises UserError where there are fewer."""
        mask = self.take(count)
        if len(mask) != count:
            raise disagreement(source)
        return mask

    def finish(self, source: str) -> None:
        """Reads the source to its end. Raises UserError when more records come."""
        if len(self.take(1)):
            raise disagreement(source)


def disagreement(source: str) -> UserError:
    return UserError(
        f"{source} does not hold the records that were judged: it changed, or not all of its fragments were given;"
        " plan again and purge again."
    )
