"""Does bf16 autocast gain on this machine? Matrix product and one ViL-Seg training step, fp32 against bf16, in turns.

`--precision auto` takes bf16 where the hardware has it natively; this script measures whether that is right.
Run: python bench/precision.py [--device cpu|cuda]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zsbench.atomic import write_json
from zsbench.data.view import Items
from zsbench.device import pick_device, pick_precision
from zsbench.method import Job, load_method
from zsbench.nn import clip
from zsbench.record import environment
from zsbench.sampling import Sampler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args()
    device = pick_device(chosen.device)
    seconds = {name: _fastest({p: work(device, p) for p in ("fp32", "bf16")}, device) for name, work in WORK.items()}
    result = {
        "gain": {name: round(s["fp32"] / s["bf16"], 2) for name, s in seconds.items()},
        "auto_takes": pick_precision("auto", device),
        "milliseconds": {name: {p: round(1e3 * t, 1) for p, t in s.items()} for name, s in seconds.items()},
        "device": device.type,
        "environment": environment(),
    }
    print(json.dumps(result, indent=1))
    write_json(chosen.out / f"precision_{device.type}.json", result)


def product(device: torch.device, precision: str) -> Callable[[], Any]:
    """One 2048 x 2048 matrix product."""
    a, b = torch.randn(2, 2048, 2048, device=device)
    if precision == "bf16":
        a, b = a.bfloat16(), b.bfloat16()
    return lambda: a @ b


def step(device: torch.device, precision: str) -> Callable[[], Any]:
    """Forward and backward of ViL-Seg's default network for drawn scenes on one batch."""
    loaded = load_method("vilseg")
    parts = sys.modules[loaded.cls.__module__]
    method = parts.VilSeg(**{field: departure.value for field, departure in parts.VilSeg.drawn.items()})
    net = parts.VilSegNet(method, clip.build(method.encoder)).to(device)
    images = np.random.default_rng(0).integers(0, 256, (method.batch, 64, 64, 3), np.uint8)
    pairs = Items(method.batch, lambda places: [(images[i], f"a photo of {i}") for i in places])
    job = Job(device, 0, Path(tempfile.gettempdir()), precision)
    batch = parts.CaptionBatches(method.views(), pairs, Sampler(method.batch, method.batch, 0), net.towers, job)
    views = batch(0, slice(0, method.batch))

    def run() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = net(views)["loss"]
        loss.backward()

    return run


WORK = {"matrix product 2048": product, "ViL-Seg step, small encoder": step}


def _fastest(runs: dict[str, Callable[[], Any]], device: torch.device, rounds: int = 6) -> dict[str, float]:
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
