"""What one run is: its plan, the key over all that decides its numbers, and its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from zsbench import __version__, distributed
from zsbench.config import Configured
from zsbench.corpus import Corpus, Policy
from zsbench.data.dataset import Dataset
from zsbench.device import pick_precision
from zsbench.method import LoadedMethod
from zsbench.record import code_sha256, file_hashes, run_key
from zsbench.split import Split


@dataclass(frozen=True)
class Plan:
    """What to run, apart from method, split and seed. `captions` None: the data's default corpus.

    captions_policy: what is done about captions that name unseen classes; lexicon: a file of words for these.
    """

    dataset: Dataset
    root: Path
    device: torch.device
    precision: str = "auto"
    captions: str | None = None
    caption_images: Path | None = None
    limit: int | None = None
    out: Path = Path("runs")
    force: bool = False
    save_seconds: float = 30.0
    command: str = ""
    captions_policy: Policy = "as-is"
    lexicon: Path | None = None


@dataclass(frozen=True)
class Run:
    """One method, configured, on one split with one seed."""

    plan: Plan
    loaded: LoadedMethod
    configured: Configured
    split: Split
    seed: int
    corpus: Corpus | None
    precision: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", pick_precision(self.plan.precision, self.plan.device))

    @property
    def key(self) -> str:
        plan = self.plan
        return run_key(
            {
                "zsbench": __version__,
                "method": [self.loaded.name, self.loaded.source_sha256, self.configured.config],
                "split": self.split.fingerprint,
                "data": plan.dataset.origin.fingerprint,
                "captions": self.corpus and [self.corpus.captions.name, self.corpus.captions.fingerprint],
                "limit": self.limit,
                "code": code_sha256(),
                "files": file_hashes(self.configured.config),
                "seed": self.seed,
                "device": [plan.device.type, self.precision, distributed.world()],
            }
        )

    @property
    def folder(self) -> Path:
        return self.plan.out / self.split.name / f"{self.loaded.name}-{self.key}"

    @property
    def limit(self) -> int | None:
        """The limit, where it leaves anything out."""
        limit = self.plan.limit
        return limit if limit is not None and limit < len(self.plan.dataset.keys("val")) else None

    @property
    def keys(self) -> Sequence[str]:
        return list(self.plan.dataset.keys("val"))[: self.limit]
