"""Calibration: one decision per gamma, and the whole curve from one histogram, each beside a plain second opinion."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench import evaluation as evaluation_module
from zsbench.calibration import ABOVE, Calibration, Contest, grid
from zsbench.data.dataset import IGNORED
from zsbench.data.voc import VocDataset
from zsbench.deciding import decide
from zsbench.evaluation import ContractError, Evaluation
from zsbench.gallery import write_pictures
from zsbench.method import Regions
from zsbench.metrics import ConfusionMatrix, harmonic
from zsbench.scoring import summarise
from zsbench.split import Split, load_split

VOC5, VOC_K2, VOC20 = load_split("voc5"), load_split("voc_k2"), load_split("voc20")
CPU = torch.device("cpu")
SEEN, NAMES = 5, 8


def logits(seed: int, size: tuple[int, int] = (13, 17), scale: float = 3) -> Tensor:
    """(N, H, W) with the seen names ahead, as after training on them alone."""
    random = torch.randn(NAMES, *size, generator=torch.Generator().manual_seed(seed)) * scale
    random[:SEEN] += scale
    return random


def plainly(scores: Tensor, gamma: float, seen: int = SEEN) -> np.ndarray:
    """argmax of softmax minus gamma, pixel by pixel, in Python's floats."""
    best = np.empty(scores.shape[1:], int)
    for y, x in itertools.product(*map(range, best.shape)):
        own = scores[:, y, x].double().tolist()
        weights = [math.exp(value - max(own)) for value in own]
        chances = [weight / sum(weights) - (gamma if name < seen else 0) for name, weight in enumerate(weights)]
        best[y, x] = chances.index(max(chances))
    return best


# Deciding


@pytest.mark.parametrize("gamma", [-0.5, -0.02, 0.02, 0.3, 0.6, 0.9, 0.999])
def test_the_decision_is_that_of_the_formula(gamma: float) -> None:
    scores = logits(0)
    decided = Contest.of(scores, SEEN).decide(gamma)
    assert decided.dtype == np.uint8
    np.testing.assert_array_equal(decided, plainly(scores, gamma))
    assert set(np.unique(decided >= SEEN)) == {False, True}, "both kinds win somewhere, or nothing is tested"


AWKWARD = {
    "ties": torch.randint(3, (NAMES, 40, 40), generator=torch.Generator().manual_seed(1)).float(),
    "all the same": torch.zeros(NAMES, 2, 2),
    "next to each other": 1 + torch.randint(3, (NAMES, 40, 40), generator=torch.Generator().manual_seed(2)) * 2.0**-23,
    "smallest numbers": torch.randint(3, (NAMES, 40, 40), generator=torch.Generator().manual_seed(3)) * 1.5e-45,
    "huge": logits(4, scale=1e37),
    "sure": logits(5, scale=1e4),
    "brain floats": logits(6).bfloat16(),
    "doubles": logits(7).double(),
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_without_gamma_it_is_the_plain_argmax_to_the_bit(kind: str) -> None:
    scores = AWKWARD[kind]
    plain = decide(scores[None], 0, range(NAMES), tuple(scores.shape[1:]))
    np.testing.assert_array_equal(Contest.of(scores, SEEN).decide(0.0), plain)


@pytest.mark.parametrize("kind", AWKWARD)
@pytest.mark.parametrize("gamma", [1 + 1e-15, ABOVE, 7.0])
def test_above_one_only_unseen_names_win(kind: str, gamma: float) -> None:
    scores = AWKWARD[kind]
    decided = Contest.of(scores, SEEN).decide(gamma)
    np.testing.assert_array_equal(decided, decide(scores[None], 0, range(SEEN, NAMES), tuple(scores.shape[1:])))
    assert (Contest.of(scores, SEEN).decide(-gamma) < SEEN).all()


def test_float32_would_give_sure_pixels_to_seen_names() -> None:
    """The trap that doubles avoid: 1 - (1 + 1e-9) is 0 in float32, as is the unseen names' probability."""
    sure = torch.zeros(NAMES, 1, 1)
    sure[0] = 200.0
    chances = sure.softmax(0)
    chances[:SEEN] -= 1 + 1e-9
    assert int(chances.argmax(0)) < SEEN <= Contest.of(sure, SEEN).decide(1 + 1e-9).item()


def test_a_tie_goes_to_the_seen_name() -> None:
    sure = torch.zeros(NAMES, 1, 1)
    sure[0] = 2000.0
    contest = Contest.of(sure, SEEN)
    assert float(contest.lead_HW) == 1
    assert [contest.decide(gamma).item() for gamma in (1.0, 1 + 1e-15)] == [0, SEEN]
    half = Contest.of(torch.tensor([0.0, 0.0])[:, None, None], 1)
    assert float(half.lead_HW) == 0
    assert [half.decide(gamma).item() for gamma in (0.0, 5e-324)] == [0, 1]


def test_leads_are_differences_of_probabilities() -> None:
    chances = logits(8).double().softmax(0)
    expected = chances[:SEEN].amax(0) - chances[SEEN:].amax(0)
    torch.testing.assert_close(Contest.of(logits(8), SEEN).lead_HW, expected, rtol=1e-12, atol=1e-15)


def test_more_gamma_never_gives_a_pixel_back_to_a_seen_name() -> None:
    contest, before = Contest.of(logits(9), SEEN), np.zeros((13, 17), bool)
    shares = []
    for gamma in grid(0.3):
        unseen = contest.decide(float(gamma)) >= SEEN
        assert (unseen | ~before).all()
        before, shares = unseen, [*shares, unseen.mean()]
    assert shares[0] == 0 and shares[-1] == 1 and len(set(shares)) > 20


def test_the_grid_reaches_from_seen_only_to_unseen_only() -> None:
    gammas = grid(0.37)
    assert (np.diff(gammas) > 0).all() and {0.0, 0.02, 0.6, 0.37, 1 - 1e-6, ABOVE, -ABOVE} <= set(gammas.tolist())
    assert gammas[0] == -ABOVE and gammas[-1] == ABOVE and len(grid(0.6)) == len(gammas) - 1
    assert grid(3.0)[-1] == 3 and grid(-3.0)[0] == -3


# The curve


def scored(truth: np.ndarray, decided: np.ndarray, names: int, seen: int) -> tuple[float, float, float]:
    tally = ConfusionMatrix.count(truth, decided, names).tally
    known, new = float(tally.miou(slice(0, seen))), float(tally.miou(slice(seen, None)))
    return known, new, float(harmonic(known, new))


def images(count: int, absent: Sequence[int] = ()) -> list[tuple[np.ndarray, Tensor]]:
    random = np.random.default_rng(0)
    there = [name for name in range(NAMES) if name not in absent]
    truth = [random.choice([*there, IGNORED], (13, 17)).astype(np.uint8) for _ in range(count)]
    hints = [F.one_hot(torch.tensor(np.where(t == IGNORED, 0, t)).long(), NAMES).permute(2, 0, 1) for t in truth]
    return [(t, logits(seed) + 4 * hint) for seed, (t, hint) in enumerate(zip(truth, hints, strict=True))]


def curve_of(pairs: list[tuple[np.ndarray, Tensor]], gamma: float, folder: Path) -> dict[str, Any]:
    calibration, files = Calibration(gamma, SEEN, NAMES), []
    for number, (truth, scores) in enumerate(pairs):
        files.append(folder / f"{number}.npz")
        (calibration.nothing() + calibration.count(truth, Contest.of(scores, SEEN))).write(files[-1])
    return calibration.summarise(files)


def test_every_point_of_the_curve_equals_a_count_of_its_own(tmp_path: Path) -> None:
    pairs = images(3)
    curve = curve_of(pairs, 0.37, tmp_path)
    assert curve["gammas"] == [gamma for gamma in grid(0.37).tolist() if gamma >= 0] and curve["gamma"] == 0.37
    truth = np.stack([truth for truth, _ in pairs])
    points = zip(curve["gammas"], curve["seen"], curve["unseen"], curve["harmonic"], strict=True)
    for gamma, *found in points:
        decided = np.stack([Contest.of(scores, SEEN).decide(gamma) for _, scores in pairs])
        assert found == list(scored(truth, decided, NAMES, SEEN)), gamma
    plain = np.stack([plainly(scores, 0.6) for _, scores in pairs]).astype(np.uint8)
    at = curve["gammas"].index(0.6)
    assert [curve[name][at] for name in ("seen", "unseen", "harmonic")] == list(scored(truth, plain, NAMES, SEEN))
    assert curve["seen"][-1] == curve["harmonic"][-1] == 0 < max(curve["harmonic"])


@pytest.mark.parametrize("kind", ["ties", "sure", "smallest numbers"])
def test_leads_that_lie_on_a_gamma_are_counted_as_they_are_decided(kind: str, tmp_path: Path) -> None:
    scores = AWKWARD[kind]
    truth = np.random.default_rng(0).integers(NAMES, size=scores.shape[1:]).astype(np.uint8)
    curve = curve_of([(truth, scores)], 1.0, tmp_path)
    for gamma, *found in zip(curve["gammas"], curve["seen"], curve["unseen"], strict=True):
        assert found == list(scored(truth, Contest.of(scores, SEEN).decide(gamma), NAMES, SEEN)[:2]), gamma


def test_the_area_is_that_of_all_points_from_seen_only_to_unseen_only(tmp_path: Path) -> None:
    pairs = images(3)
    truth = np.stack([truth for truth, _ in pairs])
    points = []
    for gamma in grid(0.0).tolist():
        decided = np.stack([Contest.of(scores, SEEN).decide(gamma) for _, scores in pairs])
        points.append(scored(truth, decided, NAMES, SEEN)[:2])
    assert points[0][1] == 0 < points[0][0] and points[-1][0] == 0 < points[-1][1]
    strips = [(a - b) * (u + v) / 2 for (a, u), (b, v) in itertools.pairwise(points)]
    found = curve_of(pairs, 0.0, tmp_path)["area"]
    assert found == pytest.approx(sum(strips), abs=1e-12) and 0.05 < found < 1


def test_the_area_of_a_faultless_segmenter_has_a_closed_form(tmp_path: Path) -> None:
    """Its curve has three points: seen only (s, 0), the right answer (1, 1), unseen only (0, u)."""
    pairs = []
    for truth, scores in images(2):
        right = F.one_hot(torch.tensor(truth).long().clamp(max=NAMES - 1), NAMES).permute(2, 0, 1)
        pairs.append((truth, scores * 0 + 9 * right))
    every = np.stack([truth for truth, _ in pairs])
    ends = [np.stack([Contest.of(own, SEEN).decide(end) for _, own in pairs]) for end in (-ABOVE, ABOVE)]
    seen_only, unseen_only = (scored(every, decided, NAMES, SEEN) for decided in ends)
    curve = curve_of(pairs, 0.0, tmp_path)
    assert (curve["seen"][0], curve["unseen"][0], curve["unseen"][-1]) == (1, 1, unseen_only[1])
    assert curve["area"] == pytest.approx((seen_only[0] + unseen_only[1]) / 2, abs=1e-12)


def test_absent_classes_are_left_out_and_without_any_there_is_no_area(tmp_path: Path) -> None:
    pairs = images(2, absent=(1, 6))
    curve = curve_of(pairs, 0.2, tmp_path)
    truth = np.stack([truth for truth, _ in pairs])
    decided = np.stack([Contest.of(scores, SEEN).decide(0.2) for _, scores in pairs])
    at = curve["gammas"].index(0.2)
    assert (curve["seen"][at], curve["unseen"][at]) == scored(truth, decided, NAMES, SEEN)[:2]
    (tmp_path / "none").mkdir()
    none = curve_of(images(1, absent=(5, 6, 7)), 0.2, tmp_path / "none")
    assert none["area"] is None and set(none["unseen"]) == set(none["harmonic"]) == {None} and None not in none["seen"]


def test_counts_at_other_gammas_are_not_added() -> None:
    one, other = Calibration(0.37, SEEN, NAMES).nothing(), Calibration(0.0, SEEN, NAMES).nothing()
    with pytest.raises(ValueError, match="different gammas"):
        _ = one + other


# Whole evaluations


@dataclass
class Coloured:
    """Logits at a quarter of the resolution, seen names ahead."""

    gamma: Any
    ahead: float = 2.0
    calls: int = 0

    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Tensor:
        self.calls += len(images_BCHW)
        small = F.avg_pool2d(images_BCHW, 4, ceil_mode=True)
        rule = torch.rand(len(names), 3, generator=torch.Generator().manual_seed(5)) - 0.5
        ahead = self.ahead * (torch.arange(len(names)) < 15)[None, :, None, None]
        return 20 * torch.einsum("bchw,nc->bnhw", small, rule) + ahead


class Uncalibrated(Coloured):
    def __init__(self, ahead: float = 2.0) -> None:
        self.ahead, self.calls = ahead, 0


def evaluation(segmenter: Any, dataset: VocDataset, folder: Path, split: Split = VOC5) -> Evaluation:
    return Evaluation(segmenter, dataset, split, list(dataset.keys("val")), split.names, CPU, folder)


@pytest.mark.parametrize("gamma", [0, 0.6, 0.37, ABOVE, np.float32(0.5)])
def test_the_curve_meets_the_scores_at_zero_and_at_the_runs_gamma(
    dataset: VocDataset, tmp_path: Path, gamma: float
) -> None:
    own = evaluation(Coloured(gamma), dataset, tmp_path / "own")
    counts = own.run()[0]
    called, scores = counts.total("all").counts.sum(0), summarise(counts, VOC5)["scores"]
    assert (called[:15].sum() > 1000) == (gamma < 1) and called[15:].sum() > 100, "both kinds win, or little is tested"
    curve = own.curve()
    plain = summarise(evaluation(Uncalibrated(), dataset, tmp_path / "plain").run()[0], VOC5)["scores"]
    assert curve is not None and curve["gamma"] == gamma
    for at, block in ((gamma, scores["all"]), (0.0, plain["all"])):
        place = curve["gammas"].index(at)
        assert [curve[g][place] for g in ("seen", "unseen", "harmonic")] == [
            block[g]["miou"] for g in ("seen", "unseen", "harmonic")
        ]
    assert scores["unseen"] == plain["unseen"], "among unseen names alone gamma changes nothing"
    assert (scores["all"] == plain["all"]) == (gamma == 0)
    assert evaluation(Uncalibrated(), dataset, tmp_path / "plain").curve() is None


def test_logits_are_resized_before_the_softmax(dataset: VocDataset, tmp_path: Path) -> None:
    segmenter, keys = Coloured(0.6), list(dataset.keys("val"))[:3]
    own = replace(evaluation(segmenter, dataset, tmp_path), keys=keys)
    counts, _ = own.run()
    expected = np.zeros((20, 20), int)
    for key in keys:
        image, truth = torch.tensor(dataset.image(key)).permute(2, 0, 1)[None] / 255, own.labels(key)
        large = F.interpolate(segmenter(image, VOC5.names), size=truth.shape, mode="bilinear")[0]
        expected += ConfusionMatrix.count(truth, plainly(large, 0.6, seen=15), 20).counts
    np.testing.assert_array_equal(counts.total("all").counts, expected)


def test_pictures_show_the_calibrated_decision(dataset: VocDataset, tmp_path: Path) -> None:
    own = evaluation(Coloured(ABOVE), dataset, tmp_path)
    counts, _ = own.run()
    for picture in write_pictures(own, counts):
        assert set(picture["labels"]["prediction"]) <= set(VOC5.unseen)
    key = dataset.keys("val")[0]
    plain = evaluation(Uncalibrated(), dataset, tmp_path).predict(key)[2]
    np.testing.assert_array_equal(evaluation(Coloured(0.0), dataset, tmp_path).predict(key)[2], plain)
    assert (plain < 15).any()


def test_a_killed_evaluation_goes_on_with_its_curve(
    dataset: VocDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_module, "BLOCK", 20)
    whole = evaluation(Coloured(0.6), dataset, tmp_path)
    whole.run()
    curve = whole.curve()
    assert sorted(file.name for file in (tmp_path / "counts").glob("*.npz")) == [f"0000{n}.npz" for n in range(3)]
    (tmp_path / "counts/00001.parquet").unlink()
    (tmp_path / "counts/00002.npz").unlink()
    again = Coloured(0.6)
    second = evaluation(again, dataset, tmp_path)
    second.run()
    assert second.curve() == curve and again.calls == 40
    other = Coloured(0.61)
    evaluation(other, dataset, tmp_path).run()
    assert other.calls == 60, "counts at another gamma are no counts of this run"


@pytest.mark.parametrize("gamma", [math.nan, math.inf, "0.6", True, torch.tensor([0.1, 0.2])])
def test_gamma_is_one_finite_number(dataset: VocDataset, tmp_path: Path, gamma: Any) -> None:
    with pytest.raises(ContractError, match="one finite number"):
        evaluation(Coloured(gamma), dataset, tmp_path).run()


class Painted:
    gamma = 0.5

    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Regions:
        return Regions(torch.zeros(len(images_BCHW), 4, 4).long(), torch.zeros(len(images_BCHW), 1, len(names)))


def test_regions_cannot_be_calibrated(dataset: VocDataset, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="got Regions"):
        evaluation(Painted(), dataset, tmp_path).run()


def test_where_no_class_is_seen_there_is_nothing_to_calibrate(dataset: VocDataset, tmp_path: Path) -> None:
    own = evaluation(Coloured(0.6), dataset, tmp_path, VOC20)
    counts, _ = own.run()
    assert own.curve() is None and not list(tmp_path.rglob("*.npz"))
    plain = evaluation(Uncalibrated(), dataset, tmp_path / "plain", VOC20).run()[0]
    np.testing.assert_array_equal(counts.total("all").counts, plain.total("all").counts)


def test_background_is_calibrated_like_any_seen_name(dataset: VocDataset, tmp_path: Path) -> None:
    own = evaluation(Coloured(ABOVE), dataset, tmp_path, VOC_K2)
    counts, _ = own.run()
    assert counts.total("all").counts[:, : len(VOC_K2.seen)].sum() == 0
