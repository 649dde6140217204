"""The captions that runs were trained on, and what scans of them found, for the page and captions.csv."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .groups import Group
from .leakage.model import Class, Example, Leakage
from .leakage.tables import safe
from .leakage.words import reasons
from .read import Run
from .scans import Scanned, key_of, scanned
from .tables import Row, as_csv, rounded

MOST_EXAMPLES = 2  # per class; the scan's own page has more
MOST_CLASSES = 24  # of one table; unseen ones first


@dataclass(frozen=True, eq=False)
class Corpus:
    """One corpus of the runs on the page: `id` of its section, who used it, and what its best report says."""

    of: Scanned
    id: str

    @property
    def report(self) -> Leakage | None:
        return self.of.report

    @property
    def first(self) -> Run:
        return self.of.runs[0]

    @property
    def group(self) -> Group:
        """Its first run as a group, for the marks."""
        return Group((self.first,))

    @cached_property
    def users(self) -> list[str]:
        """ "ViL-Seg on voc5, seeds 0, 1, 2"."""
        found: dict[tuple[str, str], list[int]] = {}
        for run in self.of.runs:
            who = Group((run,))
            name = f"{who.title} {who.settings}".strip()
            found.setdefault((name, str(run.get("split.name"))), []).append(run.get("seed", 0))
        return [
            f"{name} on {split}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(set(seeds))))}"
            for (name, split), seeds in found.items()
        ]

    @cached_property
    def _of_split(self) -> dict[str, set[str]]:
        """Split -> its unseen classes, for every split that the corpus was used for, in the order of the runs."""
        found: dict[str, set[str]] = {}
        for run in self.of.runs:
            found.setdefault(str(run.get("split.name")), set()).update(run.get("split.unseen"))
        return found

    @property
    def splits(self) -> list[str]:
        return list(self._of_split)

    @cached_property
    def unseen(self) -> set[str]:
        """Classes that are unseen on some split that the corpus was used for."""
        return set().union(*self._of_split.values())

    def unseen_on(self, name: str) -> list[str]:
        """The splits that the corpus was used for and a class is unseen on."""
        return [split for split, unseen in self._of_split.items() if name in unseen]

    @cached_property
    def classes(self) -> list[Class]:
        """Unseen ones first, the most named first."""
        return sorted(self.report.ranked, key=lambda cls: cls.name not in self.unseen) if self.report else []

    @property
    def named(self) -> list[Class]:
        return [cls for cls in self.classes if cls.captions and cls.name in self.unseen]

    @property
    def examples(self) -> list[tuple[Class, Example]]:
        """A few captions per unseen class that was named."""
        return [(cls, example) for cls in self.named for example in cls.examples[:MOST_EXAMPLES]]

    @property
    def faults(self) -> list[str]:
        return reasons(self.report)[:4] if self.report and not self.report.complete else []


@dataclass(frozen=True, eq=False)
class Leaks:
    """The section: corpora that runs used, and reports of corpora that none did."""

    corpora: tuple[Corpus, ...]
    unused: tuple[Leakage, ...]

    def __bool__(self) -> bool:
        return bool(self.corpora or self.unused)

    @property
    def shown(self) -> list[Leakage]:
        """The reports with a table on the page, one of each."""
        return list({id(one.report): one.report for one in self.corpora if one.report}.values())


def leaks(runs: Sequence[Run], reports: Sequence[Leakage]) -> Leaks:
    found, unused = scanned(runs, reports)
    return Leaks(tuple(Corpus(one, f"captions-{place}") for place, one in enumerate(found)), tuple(unused))


CSV_COLUMNS = ("key", "corpus", "corpus_fingerprint", "split", "split_fingerprint", "lexicon", "lexicon_fingerprint", "level",
               "complete", "captions_scanned", "class", "captions", "per_million", "unique", "precision", "precision_low",
               "precision_high")  # fmt: skip
PATHS = {"corpus": "corpus.name", "corpus_fingerprint": "corpus.fingerprint", "split": "split.name",
         "split_fingerprint": "split.fingerprint", "lexicon": "lexicon.name",
         "lexicon_fingerprint": "lexicon.fingerprint", "level": "lexicon.level", "captions_scanned": "corpus.captions"}  # fmt: skip


def captions_csv(reports: Sequence[Leakage]) -> str:
    """captions.csv: one row per scan and class. key: of the scan, as on the page."""
    return as_csv(CSV_COLUMNS, [_row(report, cls) for report in reports for cls in report.classes])


def _row(report: Leakage, cls: Class) -> Row:
    shared = {column: safe(report.get(path)) for column, path in PATHS.items()}
    judged = cls.named
    told: Row = {"key": key_of(report), "complete": "yes" if report.complete else "no", "class": safe(cls.name),
                 "captions": cls.captions, "per_million": rounded(cls.per_million), "unique": cls.unique,
                 "precision": rounded(judged.estimate) if judged else None,
                 "precision_low": rounded(judged.low) if judged else None,
                 "precision_high": rounded(judged.high) if judged else None}  # fmt: skip
    return shared | told
