"""What two runs must have in common to be compared: the method, its captions, and the circumstances."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from .read import Run

OWN_CAPTIONS = "captions"  # as the setting `pretrained`: weights that were trained on the run's own captions
T = TypeVar("T")


def method_of(run: Run) -> tuple[str, ...]:
    config = json.dumps(run.get("method.config", {}), sort_keys=True)
    return str(run.get("method.name")), str(run.get("method.source_sha256")), config


def circumstances(run: Run, weights: bool = True) -> tuple[str, ...]:
    """What else can move a score and so keeps two runs out of one mean.

    The harness's code is one: the version stays while code changes. Records that are older than its hash are of no known
    code and keep to themselves.
    weights: with those that training starts from. Weights that were made from the run's own captions are no circumstance:
    the captions say what they are, and as-is against purged captions is what a family compares.
    """
    names = ("limit", "data.parts.val.scored", "device", "precision", "zsbench", "code_sha256")
    return (*(str(run.get(name)) for name in names), start_of(run) if weights else "", *vectors_of(run))


def start_of(run: Run) -> str:
    """What the weights start from, as the method tells it; empty where they were made from the run's own captions."""
    return "" if of_own_captions(run) else str(run.get("supervision.backbone"))


def of_own_captions(run: Run) -> bool:
    """Whether the run's own captions are all that its weights saw.

    The setting alone does not tell: a training on the captions may go on from weights that saw others before.
    """
    asked = run.get("method.config.pretrained") == OWN_CAPTIONS
    return asked and run.get("supervision.backbone_corpus") == "nothing"


def vectors_of(run: Run) -> tuple[str, ...]:
    return tuple(str(run.get(f"supervision.vectors.{name}", "none")) for name in ("source", "sha256", "dim"))


def corpus_of(run: Run) -> tuple[str, ...]:
    """Which captions a run learnt from, after which policy."""
    told = (str(run.get(f"supervision.corpus.{name}")) for name in ("name", "fingerprint", "pairs"))
    return (*told, str(run.get("supervision.corpus.policy", "as-is")))


def gathered(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Items with equal keys together, in the order of first appearance."""
    found: dict[Hashable, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.values())
