"""The captions a run trains on, and what the ledger says of them: whether they name the unseen classes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
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
    unseen_shown: bool = False  # pictures show unseen objects that their captions do not name

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
        if any(self.unseen_named.values()):
            return "names unseen classes (planted)"
        return "shows unseen classes, names none (planted)" if self.unseen_shown else "clean by construction"


def open_corpus(spec: str | None, dataset: Dataset, root: Path, images: Path | None, split: Split, seed: int) -> Corpus:
    """The corpus `spec`; on drawn scenes an arm's name, by default `web`. Raises UserError where none is named or found."""
    drawn = dataset.origin.kind == "drawn"
    if spec is None and not drawn:
        raise UserError(
            "this method learns from captions, and PASCAL VOC has none:"
            " name a corpus with --captions (a .tsv, COCO .json, tar shards, hf:NAME)"
        )
    name = spec or DEFAULT_DRAWN
    where = (name, images, root if drawn else None, _stamp(Path(name)))
    captions = _opened(*where, 0)
    if captions.size is None:  # a stream has an order of its own for every seed
        captions = _opened(*where, seed)
    if captions.size == 0:
        raise UserError(f"{captions.name} holds no caption with an image")
    if not drawn or not captions.name.startswith("drawn: "):
        return Corpus(captions, None)
    lines = _truth(root, captions.name)
    named = Counter(name for line in lines for name in set(line["names"]))
    shown = any(line["leak"] == "image" for line in lines)
    return Corpus(captions, {unseen: named[unseen] for unseen in split.unseen}, shown)


@lru_cache(maxsize=8)
def _opened(spec: str, images: Path | None, drawn_root: Path | None, stamp: float, seed: int) -> Captions:
    """Several runs of one session share a corpus."""
    return open_captions(spec, images=images, drawn_root=drawn_root, seed=seed)


def _stamp(path: Path) -> float:
    """When a captions file was last written; a file that changes between runs is opened again."""
    return path.stat().st_mtime if path.is_file() else 0.0


def _truth(root: Path, name: str) -> list[dict[str, Any]]:
    """Drawn captions carry what they name, so nothing needs to be guessed from words."""
    path = root / "captions" / f"{name.removeprefix('drawn: ')}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
