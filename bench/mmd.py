"""The price of MMD over 128 + 128 samples of 256 dimensions, in matrix products of that size on the same device.

    python bench/mmd.py [--device cpu|cuda]

The product is X Xᵀ of the 256 stacked samples, (256 × 256) @ (256 × 256) in float32. Measured for one class (one call, one
product) and for 16 classes (one call on the batch, one batched product), because training takes all classes of a batch in
one call, and a call has fixed costs of about 0.2 ms. "forward" is the value; "step" adds the gradient of
the fake samples, beside the product with the gradient of X. Rivals, whose values must be equal: the double sum as one
would write it, with the distances of all pairs anew for each kernel, and ZS3Net's formulation, one Gram matrix and a loop
over the kernels, both by autograd and in a Python loop over classes, as their loss takes one class. Every time is the
median over N rounds, all contestants in turn, each round the mean of several calls.
The claim is about what training pays, a step of 16 classes, with one thread and with torch's default number of threads.
The value alone costs more than the product alone and is printed beside it without a claim.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zsbench.atomic import write_json
from zsbench.device import pick_device
from zsbench.nn.mmd import BANDWIDTHS, squared_mmd

SAMPLES, WIDTH, CLASSES = 128, 256, 16
CLAIM = 1.5
Loss = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--device", default="cpu")
    ask.add_argument("--rounds", type=int, default=60)
    ask.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = ask.parse_args()
    device = pick_device(given.device)
    result = {"command": f"python bench/mmd.py --device {device.type}", "setting": setting(device), "times": []}
    threads = sorted({1, torch.get_num_threads()}) if device.type == "cpu" else [torch.get_num_threads()]
    for count in threads:
        torch.set_num_threads(count)
        for classes in (1, CLASSES):
            for kind in ("forward", "step"):
                row = {
                    "threads": count,
                    "classes": classes,
                    "kind": kind,
                    **compare(classes, kind, device, given.rounds),
                }
                print(line(row))
                result["times"].append(row)
    for kind in ("forward", "step"):
        batched = [row for row in result["times"] if (row["classes"], row["kind"]) == (CLASSES, kind)]
        result[f"ratio_{kind}"] = max(row["products"] for row in batched)
    out = given.out / f"mmd_{device.type}.json"
    write_json(out, result)
    step, value = result["ratio_step"], result["ratio_forward"]
    print(
        f"MMD with its gradient costs {step:.2f} x a matrix product with its own, {CLASSES} classes at once (claim: {CLAIM} x)"
    )
    print(f"the value alone {value:.2f} x the product alone (no claim)")
    print(out)
    sys.exit(step > CLAIM)


def setting(device: torch.device) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "cores": os.cpu_count(),
        "samples": [SAMPLES, SAMPLES],
        "width": WIDTH,
        "float32_matmul": torch.get_float32_matmul_precision(),
    }


def compare(classes: int, kind: str, device: torch.device, rounds: int) -> dict[str, Any]:
    """Milliseconds per class of all contestants, and what MMD costs in products and against its rivals."""
    torch.manual_seed(0)
    # Rectified, as the features of the networks are.
    fake, real = (torch.randn(classes, SAMPLES, WIDTH, device=device).relu() for _ in range(2))
    stacked = torch.cat([fake, real], 1)
    losses: dict[str, Loss] = {"zsbench": squared_mmd, "double sum": by_class(double_sum), "ZS3Net's": by_class(zs3)}
    expected = squared_mmd(fake.double(), real.double())
    for loss in losses.values():
        torch.testing.assert_close(loss(fake, real).double(), expected, rtol=1e-4, atol=1e-6)
    works = {name: work(kind, fake, lambda x, loss=loss: loss(x, real)) for name, loss in losses.items()}
    works["product"] = work(kind, stacked, lambda x: x @ x.mT)
    seconds = medians(works, rounds, device)
    mine = seconds["zsbench"]
    return {
        "ms_per_class": {name: 1e3 * value / classes for name, value in seconds.items()},
        "products": mine / seconds["product"],
        "times_quicker": {name: seconds[name] / mine for name in ("double sum", "ZS3Net's")},
    }


def work(kind: str, given: Tensor, function: Callable[[Tensor], Tensor]) -> Callable[[], object]:
    if kind == "forward":
        return lambda: function(given)
    leaf = given.clone().requires_grad_()
    ones = torch.ones_like(function(given))
    return lambda: torch.autograd.grad(function(leaf), leaf, ones)


def by_class(loss: Loss) -> Loss:
    return lambda fake, real: torch.stack([loss(*pair) for pair in zip(fake, real, strict=True)])


def double_sum(fake: Tensor, real: Tensor) -> Tensor:
    """E k(f, f') - 2 E k(f, r) + E k(r, r'), distances by torch.cdist for every kernel."""

    def mean(a: Tensor, b: Tensor, s: float) -> Tensor:
        return torch.exp(-torch.cdist(a, b).square() / (2 * s)).mean()

    parts = [mean(fake, fake, s) - 2 * mean(fake, real, s) + mean(real, real, s) for s in BANDWIDTHS]
    return torch.stack(parts).sum()


def zs3(fake: Tensor, real: Tensor) -> Tensor:
    """Exponents x·y - |x|²/2 - |y|²/2 of the stacked samples, weighted by v vᵀ, summed kernel by kernel."""
    x = torch.cat([fake, real])
    halves = 0.5 * x.square().sum(1)
    exponents = x @ x.T - halves[:, None] - halves
    v = torch.cat([x.new_full((len(fake),), 1 / len(fake)), x.new_full((len(real),), -1 / len(real))])
    signs = v[:, None] * v
    total = x.new_zeros(())
    for s in BANDWIDTHS:
        total = total + (signs * torch.exp(exponents / s)).sum()
    return total


def medians(works: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, float]:
    """Seconds of one call each: the median over rounds of the mean over about 10 ms of calls."""
    calls = {name: max(1, round(0.01 / mean_time(call, 3, device))) for name, call in works.items()}
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, call in works.items():
            times[name].append(mean_time(call, calls[name], device))
    return {name: statistics.median(values) for name, values in times.items()}


def mean_time(call: Callable[[], object], times: int, device: torch.device) -> float:
    settle(device)
    start = time.perf_counter()
    for _ in range(times):
        call()
    settle(device)
    return (time.perf_counter() - start) / times


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def line(row: dict[str, Any]) -> str:
    ms, quicker = row["ms_per_class"], row["times_quicker"]
    rivals = ", ".join(f"{name} {ms[name]:.2f} ms ({quicker[name]:.1f} x)" for name in quicker)
    return (
        f"{row['threads']} thread(s), {row['classes']:2} class(es), {row['kind']:7}   "
        f"MMD {ms['zsbench']:.3f} ms a class, product {ms['product']:.3f} ms: {row['products']:.2f} x   {rivals}"
    )


if __name__ == "__main__":
    main()
