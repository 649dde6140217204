"""Nearest mean colour: a whole method in one small file, to copy.

Copy this file to `methods/NAME.py` (or anywhere: `--method ./NAME.py`), change it piece by piece, and ask
`zsbench check NAME` after each change. The first line of this text is the method's title in lists and reports; below it
say which paper this is (authors, venue, year) and where you had to choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from zsbench.data.view import TrainView
from zsbench.method import Departure, Job
from zsbench.supervision import Supervision


@dataclass(frozen=True)
class NearestColour:
    """The fields are the whole configuration (`--set images=64`), their defaults the paper's."""

    images: int = 256  # training images looked at

    # Leave out what you do not need: why a default is not the paper's, defaults on drawn scenes, defaults in `check`.
    departures: ClassVar[dict[str, str]] = {"images": "256 tell the mean of a colour well enough"}
    drawn: ClassVar[dict[str, Departure]] = {"images": Departure(128, "drawn scenes hold few colours")}
    quick: ClassVar[dict[str, object]] = {"images": 16}

    @property
    def supervision(self) -> Supervision:
        """What `fit` may learn from. It is printed beside every score, and nothing else is in `data`."""
        return Supervision(masks="seen", backbone="none", backbone_corpus="nothing")

    def fit(self, data: TrainView, job: Job) -> ColourSegmenter:
        """Learn here. For a network: `zsbench.training.train` (mixed precision, checkpoints, resume; see vilseg.py)."""
        assert data.labelled is not None  # what was declared is there
        sums_SC, pixels_S = torch.zeros(len(data.seen), 3), torch.zeros(len(data.seen))
        for position in range(min(self.images, len(data.labelled))):
            [(image_HWC, labels_HW)] = data.labelled.fetch([position])  # uint8; labels: places in data.seen, or 255
            image, labels = torch.tensor(image_HWC) / 255, torch.tensor(labels_HW).long()
            known = labels < len(data.seen)
            sums_SC.index_add_(0, labels[known], image[known])
            pixels_S += torch.bincount(labels[known], minlength=len(data.seen))
        means_SC = sums_SC / pixels_S.clamp(min=1)[:, None]
        everything_C = sums_SC.sum(0) / pixels_S.sum().clamp(min=1)
        return ColourSegmenter(dict(zip(data.seen, means_SC, strict=True)), everything_C, job)


class ColourSegmenter:
    """Scores for every pixel and every name; the harness resizes them, decides and counts."""

    def __init__(self, colours: dict[str, Tensor], everything_C: Tensor, job: Job):
        self.colours, self.everything_C, self.job = colours, everything_C, job

    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Tensor:
        """(B, len(names), H, W), higher is likelier. A name it never saw gets the mean of all colours: that is chance."""
        colours_NC = torch.stack([self.colours.get(name, self.everything_C) for name in names]).to(self.job.device)
        return -(images_BCHW[:, None] - colours_NC[None, :, :, None, None]).square().sum(2)
