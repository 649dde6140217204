"""The captions a run trains on, and what the ledger says of them: how often they name the unseen classes.

Every corpus with an end is scanned before the training. What is drawn is scanned too; the truth about it stands beside
the counts. The policy decides what follows: train on the captions as they are, on those alone that name no unseen class
("purge"), or not at all ("refuse").
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from zsbench.data.captions import Captions, StoredCaptions, open_captions
from zsbench.data.dataset import Dataset
from zsbench.errors import UserError
from zsbench.overlap.training import refuse_captioned
from zsbench.split import Split

if TYPE_CHECKING:
    from zsbench.leakage.lexicon import Lexicon
    from zsbench.leakage.training import Named

DEFAULT_DRAWN = "web"  # names unseen classes in one caption of ten, as web corpora do
DRAWN = "drawn: "

Policy = Literal["as-is", "purge", "refuse"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


@dataclass(frozen=True)
class Planted:
    """The truth about drawn captions: class -> pairs whose caption names it, and whose picture shows it."""

    named: dict[str, int]
    shown: dict[str, int]


@dataclass(frozen=True)
class Corpus:
    """The captions that are trained on, with what is known of the unseen classes in them.

    found: what the scan for the words of `lexicon` counted; where there was none, `unscanned` says why.
    removed: what the scan had found before these captions were purged.
    """

    captions: Captions
    found: Named | None = None
    lexicon: Lexicon | None = None
    unscanned: str = ""
    policy: Policy = "as-is"
    removed: Named | None = None
    planted: Planted | None = None

    def ledger(self) -> dict[str, Any]:
        found, lexicon, removed = self.found, self.lexicon, self.removed
        return {
            "name": self.captions.name,
            "pairs": self.captions.size,
            "fingerprint": self.captions.fingerprint,
            "skipped": self.captions.skipped.total,
            "verdict": self.verdict,
            "unseen_named": found and found.named,
            "unseen_pairs": found and found.naming,
            "unseen_unique": found and found.unique,
            "non_latin": found and found.non_latin,
            "lexicon": lexicon and {"name": lexicon.name, "fingerprint": lexicon.fingerprint},
            "level": lexicon and lexicon.level,
            "policy": self.policy,
            "purged": removed and {"pairs": removed.naming, "named": removed.named},
            "planted": self.planted and self.planted.named,
        }

    @property
    def verdict(self) -> str:
        planted = self.planted or Planted({}, {})
        if self.found is None or self.lexicon is None:
            return f"not scanned: {self.unscanned}"
        if self.found.naming:
            return "names unseen classes"
        if any(planted.named.values()):
            return "names unseen classes (planted), the scan found none"
        if any(planted.shown.values()):
            return "shows unseen classes, names none (planted)"
        return f"names none of the unseen classes ({levels(self.lexicon.level)})"

    @property
    def line(self) -> str:
        """The verdict with its counts, as `zsbench run` prints it."""
        said = f"captions {self.captions.name}: {self.verdict}"
        if self.found and self.found.naming:
            said += f": {_counts(self.found)}"
        if self.removed and self.removed.naming:
            said += f"; {self.removed.naming:,} pairs that did were left out"
        if self.found and self.found.non_latin:
            said += f"; {self.found.non_latin:,} in other letters than Latin, which no English word matches"
        return said


def levels(highest: int) -> str:
    return f"levels 0-{highest}" if highest else "level 0"


def _counts(found: Named) -> str:
    classes = ", ".join(f"{name} {count:,}" for name, count in found.named.items() if count)
    return f"{found.naming:,} of {found.pairs:,} pairs ({classes})"


def open_corpus(
    spec: str | None,
    dataset: Dataset,
    root: Path,
    images: Path | None,
    split: Split,
    seed: int,
    policy: Policy = "as-is",
    lexicon: Path | None = None,
) -> Corpus:
    """The corpus `spec`, scanned for the unseen classes of the split in the words of the lexicon (a file before the
    shipped words), and treated as the policy says.

    Raises UserError where no corpus is named or found, where the policy refuses it, and where it cannot be followed.
    """
    captions = training_captions(spec, dataset, root, images, seed)
    arm = _arm(captions.name) if dataset.origin.kind == "drawn" else None
    words = _words(split, arm, lexicon)
    if not isinstance(captions, StoredCaptions):
        return _unscanned(captions, "a stream", policy, "save it to disk first, and name it as hf:FOLDER")
    if isinstance(words, str):
        return _unscanned(captions, words, policy, "give some with --lexicon FILE")
    return _scanned(captions, words, split, policy, root / "captions" / f"{arm}.jsonl" if arm else None)


def training_captions(spec: str | None, dataset: Dataset, root: Path, images: Path | None, seed: int) -> Captions:
    """The captions `spec`; on drawn scenes an arm's name, by default `web`. Raises UserError where none is there."""
    drawn = dataset.origin.kind == "drawn"
    if spec is None and not drawn:
        raise UserError(
            f"this method learns from captions, and {dataset.origin.title} has none:"
            " name a corpus with --captions (a .tsv, COCO .json, tar shards, hf:NAME)"
        )
    name = spec or DEFAULT_DRAWN
    where = (name, images, root if drawn else None, _stamp(Path(name)))
    captions = _opened(*where, 0)
    if captions.size is None:  # a stream has an order of its own for every seed
        captions = _opened(*where, seed)
    if captions.size == 0:
        raise UserError(f"{captions.name} holds no caption with an image")
    refuse_captioned(captions, dataset)
    return captions


@lru_cache(maxsize=8)
def _opened(spec: str, images: Path | None, drawn_root: Path | None, stamp: float, seed: int) -> Captions:
    """Several runs of one session share a corpus."""
    return open_captions(spec, images=images, drawn_root=drawn_root, seed=seed)


def _stamp(path: Path) -> float:
    """When a captions file was last written; a file that changes between runs is opened again."""
    return path.stat().st_mtime if path.is_file() else 0.0


def _arm(name: str) -> str | None:
    """The drawn arm that captions of this name are, None for any other."""
    from zsbench.data.scene_arms import parse_arm

    try:
        return parse_arm(name.removeprefix(DRAWN)).name if name.startswith(DRAWN) else None
    except UserError:  # a file of the user's own among the drawn ones
        return None


def _words(split: Split, arm: str | None, file: Path | None) -> Lexicon | str:
    """The words for the unseen classes, or which of these have none. Raises UserError for a faulty file."""
    from zsbench.leakage import drawn, lexicon

    if arm is not None and file is None and drawn.names_by_looks(arm):
        return drawn.looks_lexicon(split)
    if file is not None:
        lexicon.user_tables(file)  # its faults are the user's to mend, a class without words need not be
    strangers = [name for name in split.unseen if not _known(split, name, file)]
    if strangers:
        return f"no words known for {', '.join(strangers)} (zsbench lexicon make drafts some)"
    return lexicon.split_lexicon(split, file=file)


def _known(split: Split, name: str, file: Path | None) -> bool:
    from zsbench.leakage.lexicon import load_lexicon

    try:
        return bool(load_lexicon(split.dataset, [name], file=file).entries)
    except UserError:
        return False


def _unscanned(captions: Captions, why: str, policy: Policy, way_out: str) -> Corpus:
    if policy != "as-is":
        raise UserError(
            f"captions policy '{policy}' needs a scan, and {captions.name} cannot be scanned ({why}): {way_out},"
            " or train on them with --captions-policy as-is"
        )
    return Corpus(captions, unscanned=why)


def _scanned(captions: StoredCaptions, words: Lexicon, split: Split, policy: Policy, truth: Path | None) -> Corpus:
    from zsbench.leakage.training import count_named, without_named

    found = removed = count_named(captions, words)
    if policy == "refuse" and found.naming:
        raise UserError(
            f"{captions.name} names unseen classes of {split.name}: {_counts(found)}, and the captions policy is"
            " 'refuse'; train on the other pairs with --captions-policy purge, or name another corpus with --captions"
        )
    if policy == "purge" and found.naming:
        if found.naming == found.pairs:
            raise UserError(
                f"nothing is left of {captions.name} without the unseen classes of {split.name}:"
                f" all of its {_counts(found)} name one; name another corpus with --captions"
            )
        captions = without_named(captions, words)
        found = count_named(captions, words)
    planted = _planted(truth, captions, split) if truth else None
    return Corpus(captions, found, words, "", policy, removed if policy == "purge" else None, planted)


def _planted(path: Path, captions: Captions, split: Split) -> Planted:
    """Drawn captions carry what they name and show: counted over those pairs that are trained on."""
    from zsbench.data.scenes import IDS

    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    truth = {(line["image"], line["caption"]): line for line in lines}
    pairs = [truth[pair] for pair in captions.texts() if pair in truth]
    named = Counter(name for line in pairs for name in set(line["names"]))
    shown = Counter(number for line in pairs for number in set(line["ids"]))
    of = split.unseen
    return Planted({name: named[name] for name in of}, {name: shown[IDS[name]] for name in of if name in IDS})
