"""Calibration: gamma taken off the probabilities of seen names, and the scores at every gamma from one forward pass.

A method that has labels of seen classes only gives these nearly every pixel when all names compete. Calibrated stacking
(Chao et al., ECCV 2016; SPNet-c, Xian et al., CVPR 2019) decides by the argmax of q_c = softmax(l)_c - gamma [c seen], the
softmax over all names at the resolution of the labels. Which seen and which unseen name of a pixel come first does not
depend on gamma, only which of the two wins: the unseen one where the seen one leads by less than gamma. So one
histogram of leads per class holds the counts of every gamma, exactly.

One gamma says how a method was tuned, the whole curve what it can do: its area (unseen mIoU over seen mIoU, from nothing
but seen names to nothing but unseen ones) is what Chao et al. call AUSUC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zsbench.atomic import replacing
from zsbench.data.dataset import IGNORED
from zsbench.metrics import Counts, Floats, Tally, harmonic

ABOVE = 1 + 1e-6  # no lead is as long: only unseen names win
STEPS = [step / 50 for step in range(51)]
NEAR_ONE = [1 - 10 ** (-half / 2) for half in range(4, 13)]  # 0.99 … 0.999999: a sure network leads by nearly 1


def grid(gamma: float) -> Floats:
    """Ascending gammas from seen names only to unseen names only, with 0 and the run's own."""
    upwards = [*STEPS, *NEAR_ONE, ABOVE]
    return np.array(sorted({*upwards, *(-value for value in upwards), gamma}), np.float64)


@dataclass(frozen=True)
class Contest:
    """Every pixel's best seen and best unseen name (split ids), and the lead of the seen one in probability.

    lead_HW is float64 in [-1, 1] and has the sign of the logits' difference however small that is: at gamma = 0 the
    decision is the plain argmax, where a tie goes to the seen name, too.
    """

    seen_HW: Tensor
    unseen_HW: Tensor
    lead_HW: Tensor

    @classmethod
    def of(cls, logits_NHW: Tensor, seen: int) -> Contest:
        """The first `seen` names against the others. In float32 a sure pixel's lead would round to 1, and stay there."""
        exact = (logits_NHW.cpu() if logits_NHW.device.type == "mps" else logits_NHW).double()
        known, best_seen = exact[:seen].max(0)
        new, best_unseen = exact[seen:].max(0)
        gap = known - new
        winner = (exact - torch.maximum(known, new)).exp_().sum(0).reciprocal()  # probability of the best name of all
        return cls(best_seen, best_unseen + seen, gap.sign() * winner * -torch.expm1(-gap.abs()))

    def decide(self, gamma: float) -> np.ndarray:
        """(H, W) uint8 split ids."""
        best = torch.where(self.lead_HW < gamma, self.unseen_HW, self.seen_HW)
        return best.to(torch.uint8).cpu().numpy()


@dataclass(frozen=True, eq=False)
class CurveCounts:
    """Scored pixels by lead and name. Bin b holds the leads in [gammas[b - 1], gammas[b]).

    predicted, correct: (bins, N) int64, each pixel once under its best seen and once under its best unseen name.
    truth: (N,) int64.
    """

    gammas: Floats
    predicted: Counts
    correct: Counts
    truth: Counts

    @classmethod
    def empty(cls, gammas: Floats, names: int) -> CurveCounts:
        table = np.zeros((len(gammas) + 1, names), np.int64)
        return cls(gammas, table, table, table[0])

    @classmethod
    def count(cls, gammas: Floats, names: int, truth: np.ndarray, contest: Contest) -> CurveCounts:
        """One image. truth: (H, W) uint8 split ids, 255 is not scored."""
        scored = truth != IGNORED
        edges = torch.from_numpy(gammas).to(contest.lead_HW.device)
        bins = torch.bucketize(contest.lead_HW, edges, right=True).cpu().numpy()[scored]
        best = np.stack([ids.cpu().numpy()[scored] for ids in (contest.seen_HW, contest.unseen_HW)])  # (2, pixels)
        places, size = bins * names + best, (len(gammas) + 1) * names

        def table(chosen: np.ndarray) -> Counts:
            return np.bincount(chosen, minlength=size).reshape(-1, names).astype(np.int64)

        predicted, correct = table(places.ravel()), table(places[best == truth[scored]])
        return cls(gammas, predicted, correct, np.bincount(truth[scored], minlength=names).astype(np.int64))

    def __add__(self, other: CurveCounts) -> CurveCounts:
        if not np.array_equal(self.gammas, other.gammas):
            raise ValueError("counts at different gammas cannot be added")
        tables = (getattr(self, name) + getattr(other, name) for name in TABLES)
        return CurveCounts(self.gammas, *tables)

    def tally(self, seen: int) -> Tally:
        """Arrays (gammas, N): what the confusion matrix over all names says of each class at each gamma."""
        predicted, correct = _called(self.predicted, seen), _called(self.correct, seen)
        return Tally(correct, np.broadcast_to(self.truth, correct.shape), predicted)

    def write(self, path: Path) -> None:
        with replacing(path) as part, part.open("wb") as file:
            np.savez_compressed(file, gammas=self.gammas, **{name: getattr(self, name) for name in TABLES})

    @classmethod
    def read(cls, path: Path) -> CurveCounts:
        with np.load(path, allow_pickle=False) as file:
            return cls(**{name: file[name] for name in ("gammas", *TABLES)})


TABLES = ("predicted", "correct", "truth")


def _called(table_BN: Counts, seen: int) -> Counts:
    """(gammas, N) pixels that each name wins: unseen ones where the lead is below gamma, seen ones elsewhere."""
    below = table_BN.cumsum(0)
    return np.hstack([below[-1, :seen] - below[:-1, :seen], below[:-1, seen:]])


@dataclass(frozen=True)
class Calibration:
    """The gamma of one run, on a split whose first `seen` of all `names` are seen."""

    gamma: float
    seen: int
    names: int

    @cached_property
    def gammas(self) -> Floats:
        return grid(self.gamma)

    def nothing(self) -> CurveCounts:
        return CurveCounts.empty(self.gammas, self.names)

    def count(self, truth: np.ndarray, contest: Contest) -> CurveCounts:
        return CurveCounts.count(self.gammas, self.names, truth, contest)

    def counted(self, path: Path) -> bool:
        """Whether `path` holds counts at these gammas."""
        return path.exists() and np.array_equal(CurveCounts.read(path).gammas, self.gammas)

    def summarise(self, paths: Iterable[Path]) -> dict[str, Any]:
        """The "calibration" part of a record, of counts in files."""
        return self.scores(sum((CurveCounts.read(path) for path in paths), self.nothing()))

    def scores(self, counts: CurveCounts) -> dict[str, Any]:
        """Scores over all names at every gamma from 0 on, and the whole area."""
        tally, shown = counts.tally(self.seen), self.gammas >= 0
        seen, unseen = tally.miou(slice(0, self.seen)), tally.miou(slice(self.seen, None))
        scores = {"seen": seen, "unseen": unseen, "harmonic": harmonic(seen, unseen)}
        lists = {name: [_number(value) for value in values[shown]] for name, values in scores.items()}
        found = {"area": _number(area(seen, unseen)), "gamma": self.gamma}
        return {"gammas": self.gammas[shown].tolist(), **lists, **found}


def area(seen: Floats, unseen: Floats) -> float:
    """Between the curve of unseen mIoU over seen mIoU and both axes, by trapezoids; nan without classes of either kind.

    Not 1 for a faultless method: mIoU, unlike recall, also falls where a name wins others' pixels, and at each end one kind
    of names wins everything. Its curve runs (s, 0), (1, 1), (0, u), with an area of (s + u) / 2.
    """
    return float(np.sum((seen[:-1] - seen[1:]) * (unseen[:-1] + unseen[1:]) / 2))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
