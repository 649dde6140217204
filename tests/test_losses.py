"""Whole-image losses at their known values, collapse where it must be and not elsewhere, two processes against one."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from zsbench import distributed
from zsbench.nn.clustering import joint, mutual_information_loss
from zsbench.nn.losses import (
    Centre,
    DistillationHead,
    contrastive,
    distill,
    ema_update,
    literal,
    meters,
    momentum_at,
    n_terms,
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def pairs(b: int = 6, d: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(b, d).double(), torch.randn(b, d).double(), torch.arange(b)


# --- image against text ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["sym", "i2t"])
def test_contrastive_is_ln_b_at_infinite_temperature(direction: Any) -> None:
    image, text, captions = pairs(b=7)
    assert contrastive(image, text, 0.0, captions, direction).item() == pytest.approx(math.log(7), abs=1e-12)


def test_contrastive_vanishes_for_identical_features_at_zero_temperature() -> None:
    image, _, captions = pairs()
    assert contrastive(image, image, 1e4, captions).item() == pytest.approx(0, abs=1e-9)


def test_contrastive_normalises_features_itself() -> None:
    image, text, captions = pairs()
    assert torch.allclose(contrastive(3 * image, 0.1 * text, 10.0, captions), contrastive(image, text, 10.0, captions))


def test_symmetric_contrast_is_the_same_transposed_and_the_mean_of_both_directions() -> None:
    image, text, captions = pairs()
    there, back = (contrastive(*ab, 10.0, captions, "i2t") for ab in ((image, text), (text, image)))
    assert not torch.allclose(there, back)
    for ab in ((image, text), (text, image)):
        assert torch.allclose(contrastive(*ab, 10.0, captions), (there + back) / 2)


def test_contrastive_gradient_is_softmax_minus_identity() -> None:
    # Orthonormal texts and unit images make the cosines the image's own coordinates: d loss / d cosine is readable.
    b, scale = 5, 3.0
    cosines = torch.eye(b).double().requires_grad_()
    contrastive(cosines, torch.eye(b).double(), scale, torch.arange(b), "i2t").backward()
    expected = scale * ((scale * torch.eye(b)).softmax(-1) - torch.eye(b)) / b
    expected.fill_diagonal_(0)  # normalisation removes the part of the gradient along the feature itself
    assert torch.allclose(cosines.grad, expected.double(), atol=1e-7)  # type: ignore[arg-type]


def test_equal_captions_are_no_negatives_in_either_direction() -> None:
    image, text, _ = pairs(b=4)
    text[3] = text[0]
    captions = torch.tensor([7, 8, 9, 7])
    logits = 5 * nn.functional.normalize(image, dim=-1) @ nn.functional.normalize(text, dim=-1).T
    logits[0, 3] = logits[3, 0] = -torch.inf
    rows, columns = (-x.log_softmax(-1).diagonal().mean() for x in (logits, logits.T))
    assert torch.allclose(contrastive(image, text, 5.0, captions, "i2t"), rows)
    assert torch.allclose(contrastive(image, text, 5.0, captions), (rows + columns) / 2)
    assert contrastive(image, text, 5.0, torch.full((4,), 3)).item() == 0


def test_contrastive_gradient_is_finite_beside_masked_pairs() -> None:
    image, text, _ = pairs(b=4)
    image.requires_grad_()
    contrastive(image, text, 100.0, torch.tensor([1, 1, 2, 1])).backward()
    assert image.grad is not None and image.grad.isfinite().all()


# --- local against global views --------------------------------------------------------------------------------------


def test_number_of_terms() -> None:
    assert n_terms(1, 6) == 6
    assert n_terms(2, 2 + 6, shared=2) == 14


@pytest.mark.parametrize(("teacher_views", "student_views", "shared"), [(1, 6, 0), (2, 8, 2), (1, 7, 1), (2, 3, 1)])
def test_distill_equals_the_plain_double_loop(teacher_views: int, student_views: int, shared: int) -> None:
    student, teacher = torch.randn(student_views, 4, 9).double(), torch.randn(teacher_views, 4, 9).double()
    centre, terms = torch.randn(9).double(), []
    for g in range(teacher_views):
        for m in range(student_views):
            if g == m and m < shared:
                continue
            target = ((teacher[g] - centre) / 0.04).softmax(-1)
            terms.append(-(target * (student[m] / 0.1).log_softmax(-1)).sum(-1).mean())
    assert len(terms) == n_terms(teacher_views, student_views, shared)
    expected = torch.stack(terms).mean()
    assert torch.allclose(distill(student, teacher, centre, shared=shared), expected)


def test_teacher_receives_no_gradient_and_literal_gives_both_sides_one() -> None:
    student, teacher = torch.randn(6, 4, 9, requires_grad=True), torch.randn(1, 4, 9, requires_grad=True)
    distill(student, teacher, torch.zeros(9)).backward()
    assert teacher.grad is None and student.grad is not None and student.grad.abs().sum() > 0
    literal(student, teacher).backward()
    assert teacher.grad is not None and teacher.grad.abs().sum() > 0


def test_literal_is_perfect_for_any_constant_one_hot() -> None:
    constant = torch.zeros(1, 4, 9).double()
    constant[..., 2] = 100
    assert literal(constant.expand(6, -1, -1), constant).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["contrastive", "distill", "distill shared", "literal", "clustering"])
def test_gradients_agree_with_finite_differences(name: str) -> None:
    a, b, c = torch.randn(3, 4, 5).double(), torch.randn(2, 4, 5).double(), torch.randn(5).double()
    ids = torch.tensor([0, 1, 0, 2])
    losses: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
        "contrastive": (lambda x, y, s: contrastive(x, y, s, ids), (a[0], b[0], torch.tensor(2.0).double())),
        "distill": (lambda x: distill(x, b, c, tau_teacher=0.5), (a,)),
        "distill shared": (lambda x: distill(x, b, c, tau_teacher=0.5, shared=2), (a,)),
        "literal": (literal, (a, b)),
        "clustering": (lambda x, y: mutual_information_loss(joint(x.softmax(-1), y.softmax(-1)), 1.5), (a[0], a[1])),
    }
    function, inputs = losses[name]
    assert torch.autograd.gradcheck(function, [x.clone().requires_grad_() for x in inputs], rtol=1e-5)


# --- the teacher and its centre --------------------------------------------------------------------------------------


def test_ema_moves_by_its_momentum_and_stands_still_at_one() -> None:
    teacher, student = nn.Linear(3, 2), nn.Linear(3, 2)
    before, target = teacher.weight.clone(), student.weight.clone()
    ema_update(teacher, student, 1.0)
    assert torch.equal(teacher.weight, before)
    ema_update(teacher, student, 0.75)
    assert torch.allclose(teacher.weight, 0.75 * before + 0.25 * target)
    ema_update(teacher, student, 0.0)
    assert torch.allclose(teacher.weight, target) and torch.equal(student.weight, target)


def test_loss_is_constant_with_a_still_teacher_and_a_still_student() -> None:
    student, x = DistillationHead(8, 16), torch.randn(4, 8)
    teacher, seen = deepcopy(student), []
    for _ in range(3):
        seen.append(distill(student(x)[None], teacher(x)[None]).item())
        ema_update(teacher, student, 1.0)
    assert len(set(seen)) == 1


def test_momentum_runs_along_half_a_cosine_to_one() -> None:
    values = [momentum_at(step, 100) for step in range(101)]
    assert values[0] == pytest.approx(0.996) and values[50] == pytest.approx(0.998) and values[100] == 1
    assert values == sorted(values) and momentum_at(200, 100) == 1 and momentum_at(0, 0) <= 1


def test_centre_converges_to_the_mean_teacher_output() -> None:
    centre, logits = Centre(5), torch.randn(2, 30, 5)
    centre.update(logits)
    assert torch.allclose(centre.value, 0.1 * logits.mean((0, 1)), atol=1e-6)
    for _ in range(200):
        centre.update(logits)
    assert torch.allclose(centre.value, logits.mean((0, 1)), atol=1e-6)
    assert "value" in centre.state_dict()


def test_head_is_one_linear_layer_or_dinos() -> None:
    assert sum(p.numel() for p in DistillationHead(8, 32).parameters()) == 8 * 32 + 32
    mlp = DistillationHead(8, 32, "dino_mlp")
    assert mlp(torch.randn(4, 8)).shape == (4, 32)
    assert mlp(torch.randn(4, 8)).abs().max() <= 1 + 1e-6  # a product of unit vectors


# --- collapse --------------------------------------------------------------------------------------------------------


def test_meters_at_their_limits() -> None:
    uniform, one_bin, balanced = torch.full((8, 4), 0.25), torch.eye(4)[[0] * 8], torch.eye(4).repeat(2, 1)
    ln = math.log(4)
    for p, expected in ((uniform, (ln, ln, 0, 1)), (one_bin, (0, 0, 0, 1)), (balanced, (ln, 0, ln, 4))):
        found = meters(p.bfloat16())
        keys = ("entropy_of_mean", "mean_entropy", "mutual_information", "bins_used")
        assert [found[k].item() for k in keys] == pytest.approx(expected, abs=1e-6)


def mutual_information_after_training(mode: str, bins: int = 64, steps: int = 300) -> float:
    """A small network on noisy copies of 128 points; what its head still tells about them."""
    points = torch.randn(128, 16)
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), DistillationHead(64, bins))
    teacher, centre, optimiser = deepcopy(net), Centre(bins), torch.optim.Adam(net.parameters(), 3e-3)
    for step in range(steps):
        global_, *locals_ = points[torch.randint(128, (256,))] + 0.2 * torch.randn(3, 256, 16)
        student = torch.stack([net(view) for view in locals_])
        target = (net if mode == "literal" else teacher)(global_)[None]
        loss = literal(student, target) if mode == "literal" else distill(student, target, centre.value)
        centre.update(target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        ema_update(teacher, net, momentum_at(step, steps, start=0.9))
    tau = 1.0 if mode == "literal" else 0.1
    return meters((net(points) / tau).softmax(-1).detach())["mutual_information"].item()


def test_the_printed_vision_loss_collapses() -> None:
    assert mutual_information_after_training("literal") < 0.01


def test_the_distillation_loss_does_not_collapse() -> None:
    assert mutual_information_after_training("dino") > 0.5 * math.log(64)


# --- precision and processes -----------------------------------------------------------------------------------------


def test_losses_are_computed_in_full_precision_under_autocast() -> None:
    image, text = torch.randn(8, 64), torch.randn(8, 64)
    views, p = torch.randn(3, 8, 64), torch.randn(8, 20).softmax(-1)

    def losses() -> list[Tensor]:
        return [
            contrastive(image, text, 14.0, torch.arange(8)),
            distill(views, views[:1]),
            literal(views, views[:1]),
            mutual_information_loss(joint(p, p)),
        ]

    plain = losses()
    with torch.autocast("cpu", torch.bfloat16):
        under = losses()
    assert all(x.dtype == torch.float32 and torch.equal(x, y) for x, y in zip(plain, under, strict=True))
    assert contrastive(image.bfloat16(), text.bfloat16(), 14.0, torch.arange(8)).dtype == torch.float32


def test_single_process_collectives_change_nothing() -> None:
    x = torch.randn(3, 2)
    assert (distributed.world(), distributed.rank()) == (1, 0)
    assert all(
        torch.equal(f(x), x) for f in (distributed.gather, distributed.sum_over_ranks, distributed.mean_over_ranks)
    )


class Everything(nn.Module):
    """All three losses on one small model, so that one comparison covers negatives, clusters and centre."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text, self.clusters = nn.Linear(10, 6), nn.Linear(10, 6), nn.Linear(6, 5)
        self.head, self.centre, self.scale = DistillationHead(6, 7), Centre(7), nn.Parameter(torch.tensor(1.0))

    def forward(self, images: Tensor, texts: Tensor, captions: Tensor) -> Tensor:
        image, other = self.image(images), self.image(images.flip(-1))
        p, q = self.clusters(image).softmax(-1), self.clusters(other).softmax(-1)
        logits = self.head(image)[None]
        cross = contrastive(image, self.text(texts), self.scale.exp(), captions)
        vision = distill(self.head(other)[None], logits, self.centre.value)
        self.centre.update(logits.detach())
        return cross + vision + mutual_information_loss(joint(p, q))


def train(model: nn.Module, rows: slice, steps: int = 20) -> tuple[list[float], list[Tensor]]:
    """Losses of every step, then gradients, parameters and centre after the last."""
    data = torch.Generator().manual_seed(1)
    optimiser, losses = torch.optim.SGD(model.parameters(), 0.1), []
    for _ in range(steps):
        images, texts = torch.randn(2, 8, 10, generator=data, dtype=torch.float64)
        captions = torch.randint(5, (8,), generator=data)
        optimiser.zero_grad()
        loss = model(images[rows], texts[rows], captions[rows])
        loss.backward()
        optimiser.step()
        losses.append(distributed.mean_over_ranks(loss).item())
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    grads = [p.grad for p in inner.parameters() if p.grad is not None]
    return losses, [*grads, *(x.detach() for x in inner.state_dict().values())]


def fresh() -> nn.Module:
    torch.manual_seed(3)
    return Everything().double()


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    x = torch.full((2, 3), float(rank + 1), requires_grad=True)
    everyone = distributed.gather(x)
    assert torch.equal(everyone, torch.tensor([1.0, 1, 2, 2])[:, None].expand(4, 3))
    (everyone * torch.arange(4.0)[:, None]).sum().backward()
    assert torch.equal(x.grad[:, 0], 2 * torch.tensor([0.0, 1]) + 4 * rank)  # type: ignore[index]
    assert distributed.sum_over_ranks(x).detach().eq(3).all() and distributed.mean_over_ranks(x).eq(1.5).all()
    losses, tensors = train(DistributedDataParallel(fresh()), slice(4 * rank, 4 * rank + 4))
    torch.save((losses, tensors), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")
def test_two_processes_train_like_one(tmp_path: Path) -> None:
    mp.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    losses, tensors = train(fresh(), slice(0, 8))
    assert not torch.equal(tensors[-1], fresh().state_dict()["centre.value"])
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found[0] == pytest.approx(losses, abs=1e-9)
        assert len(found[1]) == len(tensors)
        assert all(torch.allclose(x, y, atol=1e-9) for x, y in zip(found[1], tensors, strict=True))
