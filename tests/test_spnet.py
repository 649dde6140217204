"""SPNet and SPNet-c: a fixed classifier of class vectors, of which unseen rows stay closed, and gamma from seen classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import generative as made
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zsbench import runner
from zsbench.calibration import Calibration
from zsbench.data.dataset import IGNORED
from zsbench.data.guard import GuardError, admitted
from zsbench.data.vectors import ClassVectors, open_vectors
from zsbench.data.view import TrainView, guarded_view
from zsbench.data.voc import VocDataset
from zsbench.errors import UserError
from zsbench.metrics import ConfusionMatrix, harmonic
from zsbench.nn.projection import Projection, ProjectionLearner, ProjectionSegmenter, logits
from zsbench.runner import Outcome, Plan
from zsbench.split import load_split

VOC5 = load_split("voc5")
S = len(made.SEEN)


def opened(segmenter: ProjectionSegmenter) -> ProjectionSegmenter:
    """As after fit, when the harness opens the unseen rows."""
    with admitted():
        segmenter.vectors.open_unseen()
    return segmenter


def fitted(tmp_path: Path, name: str, method: str = "spnet", data: TrainView | None = None, **given: Any) -> Any:
    return made.built(method, **given).fit(data or made.view(closed=True), made.job(tmp_path / name))


def scores(segmenter: ProjectionSegmenter, names: tuple[str, ...] = made.NAMES) -> Tensor:
    return opened(segmenter)(made.images(), names)


# The network


def test_logits_are_inner_products_with_the_vectors() -> None:
    features, vectors = torch.randn(2, 5, 3, 4), torch.randn(7, 5)
    found = logits(features, vectors)
    for b, n, y, x in ((0, 0, 0, 0), (1, 6, 2, 3), (0, 3, 1, 2)):
        assert float(found[b, n, y, x]) == pytest.approx(float(features[b, :, y, x] @ vectors[n]), abs=1e-5)
    assert found.shape == (2, 7, 3, 4)


def learner(hidden: tuple[int, ...] = ()) -> ProjectionLearner:
    torch.manual_seed(0)
    vectors = torch.from_numpy(made.vectors().rows(made.SEEN))
    return ProjectionLearner(Projection(made.Normed(), vectors.shape[1]), vectors, hidden)


def batch(names: tuple[int, ...] = (0, 1, 2)) -> dict[str, Tensor]:
    labels = torch.tensor(names)[torch.randint(0, len(names), (4, 32, 32), generator=torch.Generator().manual_seed(0))]
    labels[:, :5] = IGNORED
    return {"images": made.images(4), "labels": labels}


def gradients(step: ProjectionLearner, data: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Of the weights, and of the vectors as if they could learn."""
    step.vectors_SA = step.vectors_SA.clone().requires_grad_(True)
    torch.manual_seed(0)
    step(data)["loss"].backward()
    assert step.vectors_SA.grad is not None
    return {name: p.grad.clone() for name, p in step.named_parameters() if p.grad is not None}, step.vectors_SA.grad


def test_hidden_columns_have_a_gradient_of_exactly_zero() -> None:
    """Held-out names are pushed neither down nor up: their vectors could be anything."""
    own, of_vectors = gradients(learner(hidden=(1,)), batch((0, 2)))
    assert (of_vectors[1] == 0).all() and (of_vectors[[0, 2]] != 0).any(1).all()
    other = learner(hidden=(1,))
    other.vectors_SA[1] = torch.randn(6) * 5
    again, _ = gradients(other, batch((0, 2)))
    assert own.keys() == again.keys() and all(torch.equal(own[name], again[name]) for name in own)
    open_, of_open = gradients(learner(), batch((0, 2)))
    assert (of_open[1] != 0).any() and any(not torch.equal(own[name], open_[name]) for name in own)


def test_hiding_a_class_is_training_without_its_column() -> None:
    step = learner(hidden=(1,))
    with torch.no_grad():
        small = logits(step.net.eval()(made.images(4)), step.vectors_SA[[0, 2]])
        labels = batch((0, 2))["labels"]
        large = F.interpolate(small, size=(32, 32), mode="bilinear", align_corners=False)
        table = torch.full((256,), IGNORED)
        table[[0, 2]] = torch.tensor([0, 1])
        expected = F.cross_entropy(large, table[labels], ignore_index=IGNORED)
        found = step.eval()({"images": made.images(4), "labels": labels})["loss"]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_one_hot_vectors_make_an_ordinary_classifier() -> None:
    step = ProjectionLearner(Projection(made.Normed(), 3), torch.eye(3)).eval()
    data = batch()
    with torch.no_grad():
        large = F.interpolate(step.net(data["images"]), size=(32, 32), mode="bilinear", align_corners=False)
        torch.testing.assert_close(step(data)["loss"], F.cross_entropy(large, data["labels"], ignore_index=IGNORED))


# Unseen rows


def test_unseen_rows_are_closed_while_it_trains_and_change_nothing_of_it(tmp_path: Path) -> None:
    states = []
    for name, factor in (("plain", 1.0), ("other", -7.0)):
        data = made.view(closed=True)
        assert isinstance(data.vectors, ClassVectors)
        with pytest.raises(GuardError):
            data.vectors.rows(made.NAMES)
        for unseen in made.UNSEEN:
            data.vectors._rows[unseen] = data.vectors._rows[unseen] * factor
        segmenter = fitted(tmp_path, name, data=data)
        states.append((made.state(segmenter.net), scores(segmenter)))
    assert not made.moved(states[0][0], states[1][0])
    assert torch.equal(states[0][1][:, :S], states[1][1][:, :S]) and not torch.equal(states[0][1], states[1][1])
    shared = [list((tmp_path / name / "stages").glob("projection-*")) for name in ("plain", "other")]
    assert shared[0][0].name == shared[1][0].name, "unseen rows are in no key of what is trained without them"


def test_permuted_unseen_rows_permute_their_scores(tmp_path: Path) -> None:
    segmenter = opened(fitted(tmp_path, "run"))
    every = scores(segmenter)
    rows = segmenter.vectors._rows
    rows["yellow"], rows["violet"] = rows["violet"], rows["yellow"]
    assert (every[:, 3] - every[:, 4]).abs().max() > 0.1
    torch.testing.assert_close(scores(segmenter)[:, [0, 1, 2, 4, 3]], every, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(scores(segmenter, ("violet", "red")), scores(segmenter)[:, [4, 0]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["spnet", "spnet-c"])
def test_only_seen_masks_and_vectors_are_asked_for(tmp_path: Path, method: str) -> None:
    poor = replace(made.view(closed=True), unlabelled=None, layout=None)
    assert torch.equal(scores(fitted(tmp_path, "a", method, poor)), scores(fitted(tmp_path, "b", method)))
    supervision = made.built(method).supervision
    assert (supervision.masks, supervision.unlabelled, supervision.layout) == ("seen", "none", "none")
    assert supervision.unseen_names == "evaluation"


@pytest.mark.parametrize("method", ["spnet", "spnet-c"])
def test_unseen_labels_change_no_weight_and_no_gamma(dataset: VocDataset, tmp_path: Path, method: str) -> None:
    own = made.built(method, crop=64)
    few = replace(dataset, parts=dict(dataset.parts) | {"trainaug": dataset.parts["train"][:40]})
    found = []
    for name, data in (("plain", few), *((by, made.fogged(few, VOC5, by)) for by in ("ids", "255"))):
        vectors = open_vectors("factor", VOC5, data, data.root, VOC5.names, closed=True)
        segmenter = own.fit(guarded_view(VOC5, data, own.supervision, vectors=vectors), made.job(tmp_path / name))
        found.append((made.state(segmenter.net), segmenter.gamma, segmenter.facts))
    for other in found[1:]:
        assert not made.moved(found[0][0], other[0]) and found[0][1:] == other[1:]


# Gamma, chosen


def brute_force(folder: Path, segmenter: ProjectionSegmenter, data: TrainView, hidden: tuple[int, ...]) -> float:
    """The gamma with the highest harmonic mean, every gamma decided and counted by itself."""
    visible = [i for i in range(S) if i not in hidden]
    order, held = [*visible, *hidden], range(0, 24, 5)
    assert data.labelled is not None
    best, found = -1.0, 0.0
    for gamma in Calibration(0.0, len(visible), S).gammas:
        if gamma < 0:
            continue
        matrix = ConfusionMatrix(np.zeros((S, S), np.int64))
        for image, labels in data.labelled.fetch(held):
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            small = segmenter(pixels, [made.SEEN[i] for i in order])
            large = F.interpolate(small, size=labels.shape, mode="bilinear", align_corners=False)[0].double()
            chances = large.softmax(0)
            chances[: len(visible)] -= gamma
            called = chances.argmax(0) if gamma else large.argmax(0)
            truth = np.array([{IGNORED: IGNORED, **{i: n for n, i in enumerate(order)}}[x] for x in labels.ravel()])
            matrix += ConfusionMatrix.count(
                truth.reshape(labels.shape).astype(np.uint8), called.numpy().astype(np.uint8), S
            )
        tally = matrix.tally
        h = float(harmonic(tally.miou(slice(0, len(visible))), tally.miou(slice(len(visible), None))))
        if h > best:
            best, found = h, float(gamma)
    return found


@pytest.mark.parametrize("validation", ["", "red", "red, blue"])
def test_gamma_is_where_the_harmonic_mean_over_validation_names_is_highest(tmp_path: Path, validation: str) -> None:
    """Of the network that was trained without these names, on every fifth image, which it has not seen."""
    method, data, job = (
        made.built("spnet-c", validation=validation, steps=30),
        made.view(closed=True),
        made.job(tmp_path),
    )
    segmenter = method.fit(data, job)
    hidden = {"": (2,), "red": (0,), "red, blue": (0, 2)}[validation]
    assert segmenter.facts["chosen"]["validation"] == [made.SEEN[i] for i in hidden]
    kept = made.items([data.labelled.fetch([i])[0] for i in range(24) if i % 5])  # type: ignore[union-attr]
    net = method.train_on(data, kept, made.job(tmp_path / "again"), "projection-validation", hidden)
    first = ProjectionSegmenter(net, data.vectors, job, 0, 0.0)  # type: ignore[arg-type]
    assert segmenter.gamma == brute_force(tmp_path, first, data, hidden) == segmenter.facts["chosen"]["gamma"]
    told = json.loads((tmp_path / "gamma.json").read_text())
    assert told["gamma"] == segmenter.gamma and told["images"] == 5
    assert told["harmonic"] == max(value or 0 for value in told["curve"]["harmonic"])
    assert segmenter.describe(made.NAMES)["chosen"]["gamma"] == segmenter.gamma


def test_the_first_network_learns_nothing_of_held_out_names_and_images(tmp_path: Path) -> None:
    """Their vectors, their labels and every fifth image may be anything."""
    states, method = [], made.built("spnet-c", validation="green")
    for name in ("plain", "fog"):
        data, job = made.view(closed=True), made.job(tmp_path / name)
        assert data.labelled is not None and data.vectors is not None
        pairs = data.labelled.fetch(range(24))
        if name == "fog":
            data.vectors._rows["green"] = -data.vectors._rows["green"]
            pairs = [(image, np.where(labels == 1, IGNORED, labels)) if i % 5 else (255 - image, (labels == 1).astype(np.uint8))
                     for i, (image, labels) in enumerate(pairs)]  # fmt: skip
        method.fit(replace(data, labelled=made.items(pairs)), job)
        from safetensors.torch import load_file

        (file,) = (tmp_path / name / "stages").glob("projection-validation-*/projection-validation.safetensors")
        states.append({k: v for k, v in load_file(file).items() if k.startswith("model.")})
    assert states[0] and not made.moved(*states)


def test_the_second_network_is_spnets_own(tmp_path: Path) -> None:
    job = made.job(tmp_path / "c")
    calibrated = made.built("spnet-c").fit(made.view(closed=True), job)
    plain = fitted(tmp_path, "plain")
    assert not made.moved(made.state(calibrated.net), made.state(plain.net)) and plain.gamma == 0
    assert [stage["name"] for stage in json.loads((job.folder / "stages.json").read_text())] == [
        "projection-validation", "projection",
    ]  # fmt: skip


VOC_SEEN = load_split("voc_k2").seen


@pytest.mark.parametrize(
    ("seen", "validation", "expected"),
    [
        (VOC5.seen, "", ["horse", "motorbike", "person"]),  # SPNet's own choice
        (VOC5.seen, "cat", ["cat"]),
        (VOC5.seen, " person , cat,", ["cat", "person"]),
        (VOC_SEEN, "", ["sofa", "train", "tvmonitor"]),
        (("background", "cat", "dog"), "", ["dog"]),
        (("cat", "background", "dog", "cow"), "cow,cat", ["cat", "cow"]),
    ],
)
def test_validation_names(seen: tuple[str, ...], validation: str, expected: list[str]) -> None:
    hidden = made.built("spnet-c", validation=validation)._hidden(seen)
    assert sorted(seen[i] for i in hidden) == sorted(expected) and hidden == tuple(sorted(hidden))


@pytest.mark.parametrize(
    ("seen", "validation", "words"),
    [
        (VOC5.seen, "persom", "Did you mean 'person'"),
        (VOC5.seen, "sheep", "no seen class to hold out named 'sheep'"),
        (VOC_SEEN, "background", "named 'background'"),
        (("background", "cat", "dog"), "dog,cat", "holds out all 2 seen classes"),
        (("background", "cat"), "", "holds out all 1 seen classes"),
    ],
)
def test_validation_names_that_cannot_be(seen: tuple[str, ...], validation: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        made.built("spnet-c", validation=validation)._hidden(seen)


@pytest.mark.parametrize(
    ("method", "given", "words"),
    [
        ("spnet", {"gamma": -0.5}, "gamma = -0.5"),
        ("spnet", {"steps": 0}, "steps = 0"),
        ("spnet", {"scale_low": 3.0}, "above scale_high"),
        ("spnet", {"encoder": "vgg"}, "one of small"),
        ("spnet-c", {"gamma": 0.6}, "--method spnet --set gamma=0.6"),
    ],
    ids=str,
)
def test_wrong_fields_are_refused(method: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        made.built(method, **given)


# Through the harness

Go = Callable[..., Outcome]


@pytest.fixture(scope="module")
def go(dataset: VocDataset, tmp_path_factory: pytest.TempPathFactory) -> Go:
    """A run; the same one again is shown and not repeated."""
    out = tmp_path_factory.mktemp("spnet")

    def run(method: str, **given: Any) -> Outcome:
        plan = Plan(dataset, dataset.root, made.CPU, "fp32", limit=12, out=out)
        fields = made.QUICK[method] | {"crop": 64, "steps": 12, **given}
        return runner.execute(runner.prepare(plan, method, VOC5, 0, fields))

    return run


def record(outcome: Outcome) -> dict[str, Any]:
    assert outcome.record is not None, outcome.message
    return outcome.record


def called(found: dict[str, Any]) -> np.ndarray:
    """Pixels that each name won over all labelled pixels."""
    return np.array(found["confusion"]["all"]).sum(0)


def test_above_one_gamma_is_the_rule_of_unseen_names_alone(go: Go) -> None:
    beyond, plain = record(go("spnet", gamma=1.000001)), record(go("spnet"))
    matrix = np.array(beyond["confusion"]["all"])
    assert called(beyond)[:15].sum() == 0
    assert matrix[15:, 15:].tolist() == plain["confusion"]["unseen"] == beyond["confusion"]["unseen"]
    assert beyond["stages"][0]["key"] == plain["stages"][0]["key"], "one network for every gamma"


def test_without_gamma_it_is_the_plain_argmax(go: Go, dataset: VocDataset) -> None:
    found = record(go("spnet"))
    method = made.built("spnet", crop=64, steps=12)
    vectors = open_vectors("factor", VOC5, dataset, dataset.root, VOC5.names, closed=True)
    job = replace(made.job(go("spnet").folder.parents[1] / "direct"), facts={})
    segmenter = opened(method.fit(guarded_view(VOC5, dataset, method.supervision, vectors=vectors), job))
    matrix = ConfusionMatrix(np.zeros((20, 20), np.int64))
    for key in list(dataset.keys("val"))[:12]:
        image = torch.from_numpy(dataset.image(key)).permute(2, 0, 1)[None].float() / 255
        truth = np.full(256, IGNORED, np.uint8)
        for place, name in enumerate(VOC5.names):
            truth[dataset.classes.index(name)] = place
        best = F.interpolate(segmenter(image, VOC5.names), size=image.shape[-2:], mode="bilinear").argmax(1)[0]
        matrix += ConfusionMatrix.count(truth[dataset.labels(key)], best.numpy().astype(np.uint8), 20)
    assert found["confusion"]["all"] == matrix.counts.tolist()


def test_more_gamma_calls_no_fewer_pixels_unseen(go: Go) -> None:
    shares = [called(record(go("spnet", gamma=g)))[15:].sum() for g in (0, 0.02, 0.05, 1.000001)]
    assert sorted(shares) == shares and len(set(shares)) >= 3
    assert shares[-1] == called(record(go("spnet"))).sum()


def test_spnet_c_is_spnet_at_the_gamma_it_chose(go: Go) -> None:
    own = record(go("spnet-c"))
    gamma = own["calibration"]["gamma"]
    at = own["calibration"]["gammas"].index(gamma)
    assert own["calibration"]["unseen"][at] == own["scores"]["all"]["unseen"]["miou"]
    same = record(go("spnet", gamma=gamma))
    assert same["confusion"] == own["confusion"] and same["calibration"] == own["calibration"]
    assert own["supervision"]["tuned_on"].startswith("gamma: validation classes")


def test_the_record_says_on_which_classes_gamma_was_chosen(go: Go) -> None:
    chosen = record(go("spnet-c"))["chosen"]
    assert chosen["validation"] == ["horse", "motorbike", "person"] and chosen["images"] == 24
    assert record(go("spnet"))["chosen"] is None


def test_the_record_does_not_say_that_unseen_names_were_heard(go: Go) -> None:
    for method in ("spnet", "spnet-c"):
        supervision = record(go(method))["supervision"]
        assert supervision["unseen_names"] == "evaluation" and supervision["vectors"]["kind"] == "drawn factors"
        about = [json.loads(file.read_text()) for file in go(method).folder.parents[1].glob("stages/*/stage.json")]
        assert about and not any("pottedplant" in json.dumps(one) for one in about)
