"""The captions a run trains on: how many pairs name each unseen class, and the corpus without those pairs.

Every pair of a training corpus has its image, so what is counted here are captions *with* their image in the training
set: a name alone teaches a method little, a name beside a picture of what it names teaches it the class. Counts are kept
in the cache under the hashes of corpus, lexicon and way of counting; an entry that cannot be read is made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zsbench import __version__
from zsbench.atomic import write_json
from zsbench.data.caption_choice import choose
from zsbench.data.caption_stores import StoredCaptions
from zsbench.data.scenes import cache_folder
from zsbench.leakage.batch import Batch, Intake, batch_of
from zsbench.leakage.engine import Matcher, flagged_hashes
from zsbench.leakage.lexicon import Lexicon
from zsbench.leakage.sample import Distinct
from zsbench.leakage.scan import COUNTING

ROWS = 65_536  # captions of one batch
LETTERS = 1 << 24  # … or fewer, where they are long

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Named:
    """What the pairs of a corpus name.

    pairs: pairs scanned. naming: those that name any class. named: class -> pairs that name it. unique: class ->
    distinct captions among them (beyond a thousand an estimate, 3 % off). non_latin: captions with letters of another
    script, which no English form can match.
    """

    pairs: int
    naming: int
    named: dict[str, int]
    unique: dict[str, int]
    non_latin: int


@lru_cache(maxsize=16)
def count_named(captions: StoredCaptions, lexicon: Lexicon) -> Named:
    """The counts of a corpus, from the cache if they are there."""
    path = _place(captions, lexicon)
    kept = _kept(path, captions, lexicon)
    if kept is None:
        kept, _ = _scan(captions, lexicon)
        with suppress(OSError):  # a cache that cannot be written to costs time, not the run
            write_json(path, asdict(kept))
    return kept


@lru_cache(maxsize=4)
def without_named(captions: StoredCaptions, lexicon: Lexicon) -> StoredCaptions:
    """The pairs that name none of the lexicon's classes. Raises UserError where every pair names one."""
    _, flagged = _scan(captions, lexicon)
    return choose(captions, ~flagged, f"{captions.name}, purged")


def _place(captions: StoredCaptions, lexicon: Lexicon) -> Path:
    return cache_folder() / "named" / f"{captions.fingerprint}-{lexicon.fingerprint}-{__version__}-{COUNTING}.json"


def _kept(path: Path, captions: StoredCaptions, lexicon: Lexicon) -> Named | None:
    """What stands in the cache, None where that is nothing or cannot be so."""
    try:
        kept = Named(**json.loads(path.read_text(encoding="utf-8")))
        counts = [kept.naming, kept.non_latin, *kept.named.values(), *kept.unique.values()]
        classes = tuple(kept.named), tuple(kept.unique)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    counted = all(type(count) is int and 0 <= count <= captions.size for count in counts)
    return kept if counted and kept.pairs == captions.size and classes == (lexicon.classes,) * 2 else None


def _scan(captions: StoredCaptions, lexicon: Lexicon) -> tuple[Named, Mask]:
    """The counts, and which pairs name any class."""
    matcher, intake, classes = Matcher(lexicon), Intake(), len(lexicon.entries)
    counts, distinct, flagged = np.zeros(classes, np.int64), Distinct(classes), [np.zeros(0, np.bool_)]
    for batch in _batches(captions):
        hits = matcher.scan(batch, intake)
        rows, found = hits.classes[:, 0], hits.classes[:, 1]
        counts += np.bincount(found, minlength=classes)
        distinct.add(found, flagged_hashes(batch, hits)[rows])
        flagged.append(hits.flagged(len(batch)))
    mask = np.concatenate(flagged)
    named = dict(zip(lexicon.classes, counts.tolist(), strict=True))
    unique = {name: min(distinct.count(number)[0], named[name]) for number, name in enumerate(named)}
    return Named(captions.size, int(mask.sum()), named, unique, intake.non_latin), mask


def _batches(captions: StoredCaptions) -> Iterator[Batch]:
    texts: list[str] = []
    letters = 0
    for _, caption in captions.texts():
        texts.append(caption)
        letters += len(caption)
        if len(texts) == ROWS or letters > LETTERS:
            yield batch_of(texts)
            texts, letters = [], 0
    if texts:
        yield batch_of(texts)
