"""What a method is (Method, Segmenter) and how methods are found by name.

Legend for tensor names: B images, N candidate names, K regions of one image, C channels, H W pixels, h w a coarser grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from zsbench.supervision import Supervision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from zsbench.data.view import TrainView


@dataclass(frozen=True)
class Job:
    """Where and how one fit runs; the harness fills it, the training loop reads it.

    folder: the run's own folder for checkpoints and curves; running the same command again finds them there.
    precision: "fp32" or "bf16" (autocast).
    """

    device: torch.device
    seed: int
    folder: Path
    precision: str = "fp32"


@dataclass(frozen=True)
class Departure:
    """A field whose value differs from the paper's, and why. Printed in the record and in the report."""

    value: object
    reason: str


@dataclass(frozen=True)
class Regions:
    """Scores of a method that first cuts an image into regions and then names each region.

    map_BHW: int64 region ids 0..K-1 at the resolution of the labels (or coarser: then resized by nearest).
    scores_BKN: score of every region for every name; regions that do not occur in an image are never read.
    Cheaper than dense scores (no (B, N, H, W) tensor) and it lets the harness compute the oracle bound of the regions.
    """

    map_BHW: Tensor
    scores_BKN: Tensor


class Segmenter(Protocol):
    """Scores for every pixel and every name. Deciding is the harness's: resize, restrict to candidates, argmax."""

    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Tensor | Regions:
        """images: float RGB in [0, 1] at original size, on the job's device. Returns (B, len(names), h, w) or Regions."""
        ...


@runtime_checkable
class Method(Protocol):
    """A frozen dataclass whose fields are its whole configuration.

    Optional class attributes: `drawn: dict[str, Departure]`, defaults that change on drawn scenes; `departures:
    dict[str, str]`, fields whose default is not the paper's, with the reason.
    Optional method of a Segmenter: `describe() -> dict` (prompts, parameter counts) for the record.
    """

    @property
    def supervision(self) -> Supervision: ...

    def fit(self, data: TrainView, job: Job) -> Segmenter: ...
