"""What one run is: its plan, the key over all that decides its numbers, and its folder."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zsbench import __version__, distributed
from zsbench.config import Configured
from zsbench.corpus import Corpus, Policy
from zsbench.data.dataset import Dataset
from zsbench.data.guard import admitted
from zsbench.device import pick_precision
from zsbench.method import LoadedMethod
from zsbench.prompts import spoken_names
from zsbench.record import code_sha256, file_hashes, run_key
from zsbench.split import Split
from zsbench.supervision import Supervision

if TYPE_CHECKING:
    from zsbench.data.captions import Captions
    from zsbench.data.vectors import ClassVectors


Facts = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What to run, apart from method, split and seed. `captions` None: the data's default corpus.

    captions_policy: what is done about captions that name unseen classes; lexicon: a file of words for these.
    cache_features: GB of encoders' features that may be kept in `out`; it changes no number and is in no key.
    save_predictions: keep the label map of every scored image in the run's folder (see `zsbench.predictions`); it changes no
        number either.
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
    cache_features: float | None = None
    save_predictions: bool = False


@dataclass(frozen=True)
class Run:
    """One method, configured, on one split with one seed."""

    plan: Plan
    loaded: LoadedMethod
    configured: Configured
    split: Split
    seed: int
    corpus: Corpus | None
    vectors: ClassVectors | None = None
    precision: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", pick_precision(self.plan.precision, self.plan.device))

    @cached_property
    def key(self) -> str:
        plan = self.plan
        return run_key(
            {
                "zsbench": __version__,
                "method": [self.loaded.name, self.loaded.source_sha256, self.configured.config],
                "split": self.split.fingerprint,
                "data": plan.dataset.origin.fingerprint,
                "captions": self.corpus and [self.corpus.captions.name, self.corpus.captions.fingerprint],
                "vectors": self.vectors_ledger,
                "limit": self.limit,
                "code": code_sha256(),
                "files": file_hashes(self.configured.config),
                "seed": self.seed,
                "device": [plan.device.type, self.precision, distributed.world()],
            }
        )

    @property
    def vectors_ledger(self) -> dict[str, Any] | None:
        """What the class vectors are, those of unseen classes included: for key and record, never for `fit`."""
        return None if self.vectors is None else opened(self.vectors).ledger()

    @property
    def names(self) -> Sequence[str]:
        """The split's names as the method hears them."""
        return heard(self.plan.dataset, self.split, self.corpus)

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


def heard(dataset: Dataset, split: Split, corpus: Corpus | None) -> Sequence[str]:
    """The split's names as a method hears them on this data and these captions."""
    return spoken_names(split, dataset.origin.kind, corpus.captions.name if corpus else None)


def opened(vectors: ClassVectors) -> ClassVectors:
    """A copy whose unseen rows are open; what it was made of stays as it is."""
    copied = copy.deepcopy(vectors)
    with admitted():
        copied.open_unseen()
    return copied


def facts(
    loaded: LoadedMethod,
    supervision: Supervision,
    split: Split,
    dataset: Dataset,
    names: Sequence[str],
    captions: Captions | None = None,
) -> Facts:
    """What a run trains on, for the header of its checkpoints and the key of its stages. No unseen name: `fit` reads it.

    outside: the source of a method that is no part of zsbench: it shares stages with nobody, whatever it does in them.
    """
    own = loaded.cls.__module__.startswith("zsbench.methods.")
    return {
        "split": split.name,
        "split_fingerprint": split.fingerprint,
        "seen": list(names[: len(split.seen)]),
        "data": dataset.origin.fingerprint,
        "data_kind": dataset.origin.kind,
        "captions": captions and captions.fingerprint,  # not the name: a file name can spell a class
        "backbone_corpus": supervision.backbone_corpus,
        "outside": None if own else loaded.source_sha256,
    }


def class_vectors(
    supervision: Supervision, split: Split, dataset: Dataset, names: Sequence[str], root: Path, seed: int
) -> ClassVectors | None:
    """The class vectors that a method declares; those of unseen names closed where it hears these at evaluation only."""
    if supervision.vectors == "none":
        return None
    from zsbench.data.vectors import open_vectors

    source, listed, closed = supervision.vectors, supervision.vector_names, supervision.unseen_names == "evaluation"
    with admitted():
        return open_vectors(source, split, dataset, root, names, names=listed, seed=seed, closed=closed)
