"""SPNet-c: SPNet, calibrated on seen classes.

Xian et al., CVPR 2019: gamma is taken off the probabilities of seen names. It is chosen here as the paper says, on validation
classes taken from the seen ones: a first network learns without them, gamma is where its harmonic mean over the other
seen names and the validation names is highest on images it did not learn from, and a second network learns all seen
classes. The official script has the number it came to on VOC, 0.6: `--method spnet --set gamma=0.6`.
docs/methods/spnet.md has the equations, the options and what to expect.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm
from zsbench.methods.spnet import SPNet

from zsbench import distributed
from zsbench.atomic import write_json
from zsbench.calibration import Calibration, Contest, CurveCounts
from zsbench.data.view import Items, TrainView
from zsbench.errors import UserError, unknown
from zsbench.method import Departure, Job
from zsbench.nn.projection import ProjectionSegmenter
from zsbench.supervision import Supervision

HELD_OUT = 5  # every fifth image is kept from the first network


@dataclass(frozen=True)
class SPNetC(SPNet):
    """SPNet's fields; validation: seen names to hold out, "horse,person"; empty for the last fifth of the seen names."""

    validation: str = ""

    departures: ClassVar[dict[str, str]] = SPNet.departures | {
        "gamma": "chosen in each run; what is set here is not used",
        "validation": "SPNet holds out horse, motorbike and person, which is the last fifth of voc5's seen names",
    }
    quick: ClassVar[dict[str, object]] = SPNet.quick
    drawn: ClassVar[dict[str, Departure]] = SPNet.drawn

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma:
            raise UserError("spnet-c chooses gamma itself; to set one: --method spnet --set gamma=0.6")

    @property
    def supervision(self) -> Supervision:
        return replace(super().supervision, tuned_on="gamma: validation classes taken from the seen ones")

    def fit(self, data: TrainView, job: Job) -> ProjectionSegmenter:
        gamma, facts = self._choose(data, job)
        plain = super().fit(data, job)
        return ProjectionSegmenter(plain.net, plain.vectors, job, self.test_size, gamma, facts)

    def _choose(self, data: TrainView, job: Job) -> tuple[float, dict[str, Any]]:
        """Gamma, and how it was found."""
        assert data.labelled is not None and data.vectors is not None
        hidden = self._hidden(data.seen)
        if len(data.labelled) < HELD_OUT:
            raise UserError(f"{len(data.labelled)} labelled images are too few to hold some out for choosing gamma")
        kept = [i for i in range(len(data.labelled)) if i % HELD_OUT]
        held = [i for i in range(len(data.labelled)) if not i % HELD_OUT]
        net = self.train_on(data, _part(data.labelled, kept), job, "projection-validation", hidden)
        visible = tuple(place for place in range(len(data.seen)) if place not in hidden)
        order = visible + hidden  # as if the held-out classes were unseen
        segmenter = ProjectionSegmenter(net, data.vectors, job, self.test_size, 0.0)
        names = [data.seen[i] for i in order]
        counts = _count(segmenter, _part(data.labelled, held), names, order, len(visible), job)
        curve = Calibration(0.0, len(visible), len(order)).scores(counts)
        if all(value is None for value in curve["harmonic"]):
            raise UserError(
                f"gamma cannot be chosen: the {len(held)} images held out show no {' or '.join(names[len(visible) :])}; "
                "hold out other seen classes: --set validation=NAME,NAME"
            )
        harmonic = [value or 0.0 for value in curve["harmonic"]]
        gamma = float(curve["gammas"][int(np.argmax(harmonic))])
        facts = {
            "gamma": gamma,
            "validation": [data.seen[i] for i in hidden],
            "images": len(held),
            "harmonic": max(harmonic),
        }
        if distributed.rank() == 0:
            write_json(job.folder / "gamma.json", facts | {"curve": curve})
        return gamma, {"chosen": facts}

    def _hidden(self, seen: tuple[str, ...]) -> tuple[int, ...]:
        """Positions of the validation classes."""
        objects = [name for name in seen if name != "background"]
        named = [name.strip() for name in self.validation.split(",") if name.strip()] or objects[
            -max(1, len(objects) // 5) :
        ]
        for name in named:
            if name not in objects:
                fault = unknown("seen class to hold out", name, objects)
                raise UserError(f"{fault} They are {', '.join(objects)}.")
        if len(named) >= len(objects):
            raise UserError(f"validation holds out all {len(objects)} seen classes: some must be left to learn from")
        return tuple(sorted(seen.index(name) for name in set(named)))


def _part(items: Items, places: list[int]) -> Items:
    return Items(len(places), lambda positions: items.fetch([places[i] for i in positions]))


@torch.no_grad()
def _count(
    segmenter: ProjectionSegmenter, items: Items, names: list[str], order: tuple[int, ...], visible: int, job: Job
) -> CurveCounts:
    """Pixels of labelled images by lead and name; `order` renames seen ids to positions in `names`."""
    calibration = Calibration(0.0, visible, len(names))
    counts = calibration.nothing()
    places = torch.arange(256)
    places[list(order)] = torch.arange(len(order))
    for position in tqdm(range(len(items)), desc="choosing gamma", unit="img", leave=False):
        [(image_HWC, labels_HW)] = items.fetch([position])
        image = torch.from_numpy(image_HWC).permute(2, 0, 1)[None].float().to(job.device) / 255
        scores = F.interpolate(segmenter(image, names), size=image.shape[-2:], mode="bilinear", align_corners=False)
        truth = places[torch.from_numpy(labels_HW).long()].to(torch.uint8).numpy()
        counts += calibration.count(truth, Contest.of(scores[0], visible))
    return counts
