"""MMD against the double sum it is, closed forms, and what must not change it."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from zsbench.nn.mmd import BANDWIDTHS, EPS, _power_sums, _widest, mmd, squared_mmd

F64 = {"dtype": torch.float64}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def double_sum(fake: Tensor, real: Tensor, weights: list[float] | None = None, bandwidths=BANDWIDTHS) -> float:
    """Σ_ij v_i v_j Σ_s exp(-|x_i - x_j|² / (2 s)) in Python floats."""
    weights = weights or [1.0] * len(real)
    points = [*fake.tolist(), *real.tolist()]
    v = [1 / len(fake)] * len(fake) + [-w / sum(weights) for w in weights]
    total = 0.0
    for (a, va), (b, vb) in itertools.product(zip(points, v, strict=True), repeat=2):
        distance = sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
        total += va * vb * sum(math.exp(-distance / (2 * s)) for s in bandwidths)
    return total


def by_autograd(fake: Tensor, real: Tensor, weights: Tensor, fake_weights: Tensor) -> Tensor:
    """The same by differences of all pairs, for gradients."""
    x = torch.cat([fake, real])
    v = torch.cat([fake_weights / fake_weights.sum(), -weights / weights.sum()])
    distances = (x[:, None] - x).square().sum(-1)
    return sum((v @ torch.exp(-distances / (2 * s)) @ v for s in BANDWIDTHS), x.new_zeros(()))


def samples(m: int = 7, n: int = 11, d: int = 5, spread: float = 2.0, shift: float = 0.7) -> tuple[Tensor, Tensor]:
    return spread * torch.randn(m, d, **F64), spread * torch.randn(n, d, **F64) + shift


@pytest.mark.parametrize(("m", "n", "spread"), [(7, 11, 2.0), (12, 3, 0.1), (1, 1, 1.0), (6, 6, 30.0)])
def test_equals_the_double_sum(m, n, spread):
    fake, real = samples(m, n, spread=spread)
    weights = torch.rand(n, **F64) + 0.1
    assert squared_mmd(fake, real).item() == pytest.approx(double_sum(fake, real), abs=1e-12)
    weighted = squared_mmd(fake, real, weights).item()
    assert weighted == pytest.approx(double_sum(fake, real, weights.tolist()), abs=1e-12)


@pytest.mark.parametrize(
    "bandwidths", [(3.0,), (1.0, 2.5, 7.0), (0.5, 0.5, 8.0), (2.0, 14.0), (10.0, 1e-3), (1.0, 2.0, 1.8)]
)
def test_any_bandwidths(bandwidths):
    fake, real = samples()
    assert squared_mmd(fake, real, bandwidths=bandwidths).item() == pytest.approx(
        double_sum(fake, real, bandwidths=bandwidths), abs=1e-12
    )


def test_matches_the_closed_form_of_two_gaussians():
    """E k_s = (s / (s + va + vb))^(d/2) exp(-|ma - mb|² / (2 (s + va + vb)))."""

    def expected(va: float, vb: float, gap: float) -> float:
        widths = [(s, s + va + vb) for s in BANDWIDTHS]
        return sum((s / wide) ** (d / 2) * math.exp(-gap / (2 * wide)) for s, wide in widths)

    d, n, (v1, v2), shift = 4, 4000, (1.0, 2.0), 0.4
    fake = math.sqrt(v1) * torch.randn(n, d, **F64)
    real = math.sqrt(v2) * torch.randn(n, d, **F64) + shift
    closed = expected(v1, v1, 0) + expected(v2, v2, 0) - 2 * expected(v1, v2, d * shift**2)
    # A sample also meets itself, at distance 0: (1/n) (6 - E k) of each side on top.
    own = sum(len(BANDWIDTHS) - expected(v, v, 0) for v in (v1, v2)) / n
    assert squared_mmd(fake, real).item() == pytest.approx(closed + own, rel=0.05)
    assert closed > 10 * own


def test_one_distribution_twice_stays_at_a_plateau():
    """sqrt((1/M + 1/M) Σ_s (1 - E k_s)) for Gaussians; 0.295 for features as a ReLU leaves them (d = 256, M = 128)."""
    d, m = 256, 128
    plateau = math.sqrt(2 / m * sum(1 - (s / (s + 2)) ** (d / 2) for s in BANDWIDTHS))
    values = mmd(torch.randn(20, m, d), torch.randn(20, m, d))
    assert values.mean().item() == pytest.approx(plateau, rel=0.005)
    rectified = mmd(torch.randn(20, m, d).relu(), torch.randn(20, m, d).relu())
    assert rectified.mean().item() == pytest.approx(0.295, abs=0.002)


def test_weights_count_as_repetitions():
    fake, real = samples(5, 2)
    one_two = torch.tensor([1.0, 2.0], **F64)
    twice = squared_mmd(fake, real[[0, 1, 1]]).item()
    assert squared_mmd(fake, real, one_two).item() == pytest.approx(twice, abs=1e-14)
    assert squared_mmd(fake, real, 37.5 * one_two).item() == pytest.approx(twice, abs=1e-14)
    assert squared_mmd(fake, real, torch.full((2,), 0.3, **F64)).item() == pytest.approx(
        squared_mmd(fake, real).item(), abs=1e-14
    )
    assert abs(twice - squared_mmd(fake, real).item()) > 1e-3
    counted = squared_mmd(real, fake, fake_weights=one_two).item()
    assert counted == pytest.approx(twice, abs=1e-14)


def test_one_fake_and_one_real_feature():
    fake, real = samples(1, 1)
    gap = (fake - real).square().sum().item()
    expected = sum(2 - 2 * math.exp(-gap / (2 * s)) for s in BANDWIDTHS)
    assert squared_mmd(fake, real).item() == pytest.approx(expected, abs=1e-14)
    others = torch.cat([real, torch.randn(4, 5, **F64)])
    one_hot = torch.tensor([1.0, 0, 0, 0, 0], **F64)
    assert squared_mmd(fake, others, one_hot).item() == pytest.approx(expected, abs=1e-14)


def test_zero_for_equal_samples_and_symmetric():
    fake, real = samples(8, 8)
    assert squared_mmd(fake, fake[torch.randperm(8)]).item() == pytest.approx(0, abs=1e-14)
    assert mmd(fake, fake.clone()).item() == pytest.approx(math.sqrt(EPS), rel=1e-3)
    assert squared_mmd(fake, real).item() == pytest.approx(squared_mmd(real, fake).item(), abs=1e-14)
    assert mmd(fake, real).item() == pytest.approx(math.sqrt(double_sum(fake, real)), rel=1e-8)


def test_moved_or_turned_together_it_stays():
    fake, real = samples(20, 30, 6)
    turn = torch.linalg.qr(torch.randn(6, 6, **F64))[0]
    before = squared_mmd(fake, real).item()
    assert squared_mmd(fake @ turn, real @ turn).item() == pytest.approx(before, abs=1e-13)
    assert squared_mmd(fake + 5, real + 5).item() == pytest.approx(before, abs=1e-13)


def test_far_from_the_origin_float32_keeps_its_digits():
    """Uncentred, |x|² + |y|² - 2 x·y of numbers near 1e6 leaves distances of 30 an error near 0.1."""
    fake, real = ((64 * torch.randn(64, 16)).round() / 64 for _ in range(2))  # exact after the move, too
    exact = squared_mmd(fake.double(), real.double()).item()
    assert squared_mmd(fake, real).item() == pytest.approx(exact, rel=2e-5)
    assert squared_mmd(fake + 256, real + 256).item() == pytest.approx(exact, rel=2e-5)


def test_no_kernel_is_a_denormal_number():
    """Processors calculate with them many times slower; features of 256 dimensions would meet them at s = 2."""
    tiny = torch.finfo(torch.float32).tiny
    powers = torch.logspace(-45, 0, 200)
    widest = _widest(powers.view(1, -1, 1) * 1e4, (1, 100, 100), 80.0)
    assert widest.min() > tiny**0.5
    _power_sums(widest, [1, 40], False)  # leaves the highest square in place
    assert widest.min() > tiny**0.5


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
def test_float32_is_near_float64_at_every_scale(scale):
    fake, real = (scale * torch.randn(2, 3, 32, 64)).unbind()
    exact = squared_mmd(fake.double(), real.double())
    torch.testing.assert_close(squared_mmd(fake, real).double(), exact, rtol=1e-5, atol=2e-6)


def test_gradients_are_those_of_the_double_sum():
    fake, real = samples()
    leaves = [fake, real, torch.rand(11, **F64) + 0.1, torch.rand(7, **F64) + 0.1]
    for leaf in leaves:
        leaf.requires_grad_()
    fake, real, weights, fake_weights = leaves
    expected = torch.autograd.grad(by_autograd(*leaves), leaves)
    found = torch.autograd.grad(squared_mmd(fake, real, weights, fake_weights=fake_weights), leaves)
    for mine, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-14)
        assert reference.abs().max() > 1e-3


@pytest.mark.parametrize("asked", [{0}, {1}, {2}, {0, 1}, {0, 2}, {0, 1, 2}])
def test_gradcheck_whoever_asks(asked):
    fake, real = samples(3, 4, 2)
    inputs = [fake.expand(2, 3, 2).clone(), real.expand(2, 4, 2) * torch.tensor([1.0, 2.0], **F64)[:, None, None]]
    inputs.append(torch.rand(2, 4, **F64) + 0.5)
    inputs = [x.detach().requires_grad_(place in asked) for place, x in enumerate(inputs)]
    assert torch.autograd.gradcheck(squared_mmd, inputs)
    assert torch.autograd.gradcheck(mmd, inputs)


def test_gradient_is_finite_at_zero():
    fake = torch.randn(16, 8).requires_grad_()
    loss = mmd(fake, fake.detach().clone())
    loss.backward()
    assert loss.item() < 2e-3
    assert fake.grad.isfinite().all()
    single = torch.zeros(1, 3, **F64).requires_grad_()
    mmd(single, torch.zeros(1, 3, **F64)).backward()  # the radicand is exactly EPS
    assert (single.grad == 0).all()


def test_far_samples_have_no_nan_and_no_gradient():
    fake = torch.zeros(4, 8).requires_grad_()
    loss = squared_mmd(fake, torch.full((4, 8), 1e6))
    loss.backward()
    assert loss.item() == pytest.approx(2 * len(BANDWIDTHS))
    assert fake.grad.abs().max() < 1e-6


def test_a_batch_equals_its_members_and_broadcasts():
    fake, real = torch.randn(2, 3, 6, 4, **F64), torch.randn(2, 3, 9, 4, **F64) + 1
    weights = torch.rand(2, 3, 9, **F64)
    together = squared_mmd(fake, real, weights)
    assert together.shape == (2, 3)
    for place in itertools.product(range(2), range(3)):
        alone = squared_mmd(fake[place], real[place], weights[place])
        assert alone.shape == ()
        assert together[place].item() == pytest.approx(alone.item(), abs=1e-13)
    one_real = squared_mmd(fake, real[0, 0], weights[0, 0])
    assert one_real[1, 2].item() == pytest.approx(squared_mmd(fake[1, 2], real[0, 0], weights[0, 0]).item(), abs=1e-13)
    assert squared_mmd(fake[:0], real[:0]).shape == (0, 3)


def test_padding_counts_for_nothing():
    fake, real = samples(5, 6)
    padded_fake = torch.cat([fake, torch.full((3, 5), 9.0, **F64)]).requires_grad_()
    padded_real = torch.cat([torch.zeros(4, 5, **F64), real])
    kept_fake, kept_real = torch.tensor([1.0] * 5 + [0.0] * 3), torch.tensor([0.0] * 4 + [1.0] * 6)
    found = squared_mmd(padded_fake, padded_real, kept_real, fake_weights=kept_fake)
    assert found.item() == pytest.approx(squared_mmd(fake, real).item(), abs=1e-14)
    found.backward()
    assert (padded_fake.grad[5:] == 0).all()
    assert padded_fake.grad[:5].abs().max() > 1e-3


def test_autocast_and_half_precision_change_nothing():
    fake, real = torch.randn(2, 32, 64).unbind()
    leaves = [fake, real, torch.rand(32)]
    for leaf in leaves:
        leaf.requires_grad_()
    plain = squared_mmd(*leaves)
    expected = torch.autograd.grad(plain, leaves)
    with torch.autocast("cpu", torch.bfloat16):
        inside = squared_mmd(*leaves)
        found = torch.autograd.grad(inside, leaves)
    assert inside.dtype == torch.float32
    assert inside.item() == plain.item()
    assert all(torch.equal(mine, reference) for mine, reference in zip(found, expected, strict=True))
    rounded = squared_mmd(fake.bfloat16(), real.bfloat16())
    assert rounded.dtype == torch.float32
    assert rounded.item() == squared_mmd(fake.bfloat16().float(), real.bfloat16().float()).item()


def test_nothing_given_is_written_to():
    fake, real = torch.randn(1, 4, 3), torch.randn(1, 4, 3)
    weights = torch.rand(1, 4)
    before = [x.clone() for x in (fake, real, weights)]
    squared_mmd(fake, real, weights)
    assert all(torch.equal(x, old) for x, old in zip((fake, real, weights), before, strict=True))


def test_a_second_backward_pass_gives_the_same():
    fake, real = samples(4, 4)
    fake.requires_grad_()
    loss = mmd(fake, real)
    first = torch.autograd.grad(loss, fake, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(loss, fake)[0])


def test_descent_brings_the_samples_together():
    fake = torch.zeros(64, 2).requires_grad_()
    real = torch.randn(64, 2) + 3
    optimiser = torch.optim.Adam([fake], lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        mmd(fake + 0.1 * torch.randn(64, 2), real).backward()
        optimiser.step()
    torch.testing.assert_close(fake.detach().mean(0), real.mean(0), atol=0.15, rtol=0)
    assert fake.detach().std(0).min() > 0.5
