"""What a method was allowed to learn from: declared by the method, completed by the harness, printed beside every score."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Supervision:
    """A method's declaration. The guard hands out exactly what is declared here and nothing else.

    masks: pixel labels of seen classes in training ("seen") or none at all.
    layout: masks of UNSEEN classes as layout for feature synthesis ("unseen"; ZS3Net's published code does this).
    unlabelled: training images without labels ("train"): a transductive pool, it shows unseen objects.
    captions: True when the method trains on image-caption pairs; corpus and count are filled in by the harness.
    backbone: what the weights start from, in words ("random init", an open_clip tag, a file).
    backbone_corpus: what those weights were trained on ("nothing", "LAION-2B", "unknown corpus").
    vectors: class vectors as told ("factor", a file, "random"; see `zsbench.data.vectors`); "none" without any. With
        unseen_names = "evaluation" those of unseen classes stay closed until `fit` has ended.
    vector_names: what names the rows of an .npy file: a text file of names, or a data set in whose order they stand.
    unseen_names: when the method gets to know the unseen class names: at "evaluation" (as candidates), or in "training".
    tuned_on: what the default settings were chosen on.
    """

    masks: Literal["none", "seen"] = "none"
    layout: Literal["none", "unseen"] = "none"
    unlabelled: Literal["none", "train"] = "none"
    captions: bool = False
    backbone: str = "random init"
    backbone_corpus: str = "nothing"
    vectors: str = "none"
    vector_names: str = ""
    unseen_names: Literal["evaluation", "training"] = "evaluation"
    tuned_on: str = "nothing"

    def ledger(self) -> dict[str, Any]:
        return asdict(self)
