"""A split: which classes are seen, which unseen, and the two rules that change every number (background, training policy).

One TOML file in `splits/` is one split; the file's name is its name. Classes are given by NAME, never by index: the same
index means another class in another repository's order.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from zsbench.errors import UserError, unknown

Background = Literal["ignore", "seen"]
TrainPolicy = Literal["none", "drop", "mask"]


@dataclass(frozen=True)
class Split:
    """Seen and unseen class names of one data set, with the rules that are part of the protocol.

    background: "ignore" = background pixels are neither trained on nor scored; "seen" = background is a seen class and
        stands in `seen` under the name "background".
    train_policy: what happens to training images with unseen pixels: "drop" the image, "mask" the pixels (label 255),
        "none" = the split's methods train on no masks at all (a method that asks for masks is refused).
    """

    name: str
    dataset: str
    title: str
    source: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    background: Background
    train_policy: TrainPolicy

    @property
    def names(self) -> tuple[str, ...]:
        """All candidate names: seen, then unseen. A label map in split ids holds positions in this tuple, and 255."""
        return self.seen + self.unseen

    @property
    def fingerprint(self) -> str:
        """Hash of everything in a split that changes a number (title and source do not), 12 hex digits."""
        facts = [self.dataset, self.seen, self.unseen, self.background, self.train_policy]
        return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode()).hexdigest()[:12]
