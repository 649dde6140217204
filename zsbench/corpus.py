"""The captions a run trains on, and what the ledger says of them: whether they name the unseen classes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsbench.data.captions import Captions, open_captions
from zsbench.data.dataset import Dataset
from zsbench.errors import UserError
from zsbench.split import Split

DEFAULT_DRAWN = "web"  # names unseen classes in one caption of ten, as web corpora do


@dataclass(frozen=True)
class Corpus:
    """Captions with the count of those that name unseen classes; None where nobody has looked."""

    captions: Captions
    unseen_named: dict[str, int] | None

    def ledger(self) -> dict[str, Any]:
        return {
            "name": self.captions.name,
            "pairs": self.captions.size,
            "fingerprint": self.captions.fingerprint,
            "skipped": self.captions.skipped.total,
            "verdict": self.verdict,
            "unseen_named": self.unseen_named,
        }

    @property
    def verdict(self) -> str:
        if self.unseen_named is None:
            return "not scanned"
        return "names unseen classes (planted)" if any(self.unseen_named.values()) else "clean by construction"


def open_corpus(spec: str | None, dataset: Dataset, root: Path, images: Path | None, split: Split, seed: int) -> Corpus:
    """The corpus `spec`; on drawn scenes an arm's name, by default `web`. Raises UserError where none is named or found."""
    drawn = dataset.origin.kind == "drawn"
    if spec is None and not drawn:
        raise UserError(
            "this method learns from captions, and PASCAL VOC has none:"
            " name a corpus with --captions (a .tsv, COCO .json, tar shards, hf:NAME)"
        )
    captions = open_captions(spec or DEFAULT_DRAWN, images=images, drawn_root=root if drawn else None, seed=seed)
    if captions.size == 0:
        raise UserError(f"{captions.name} holds no caption with an image")
    planted = drawn and captions.name.startswith("drawn: ")
    return Corpus(captions, _planted(root, captions.name, split) if planted else None)


def _planted(root: Path, name: str, split: Split) -> dict[str, int]:
    """Captions per unseen class: drawn captions carry their truth, so nothing needs to be guessed from words."""
    path = root / "captions" / f"{name.removeprefix('drawn: ')}.jsonl"
    named: Counter[str] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        named.update(set(json.loads(line)["names"]))
    return {unseen: named[unseen] for unseen in split.unseen}
