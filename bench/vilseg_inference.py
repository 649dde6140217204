"""What ViL-Seg's segmentation costs on top of the encoder: cluster, pool, name, upsample, argmax and count, in both scopes.

Claim: at most 25 % on top of the bare encoder at ViT-B/16, 224 px, batch 8, same device and precision. The encoder is
open_clip's own forward pass (`encode_image`) or ours over patches, whichever is faster. All run in this process, in
turns, on the same images; the ratio is of their fastest rounds.
Run: python bench/vilseg_inference.py [--device cpu|cuda] [--precision fp32|bf16] [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zsbench.atomic import write_json
from zsbench.device import pick_device, pick_precision
from zsbench.evaluation import count_image
from zsbench.image_counts import ImageCounts
from zsbench.method import Job, load_method
from zsbench.nn import clip
from zsbench.record import environment
from zsbench.split import load_split

CLAIM = 1.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args()
    result = measure(pick_device(chosen.device), chosen.precision, chosen.rounds)
    print(json.dumps(result, indent=1))
    write_json(chosen.out / f"vilseg_inference_{result['device']}_{result['precision']}.json", result)


def measure(device: torch.device, precision: str, rounds: int) -> dict[str, Any]:
    job = Job(device, 0, Path(tempfile.gettempdir()), pick_precision(precision, device))
    split = load_split("voc5")
    segmenter = _segmenter(job)
    images = torch.rand(8, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(device)
    truths = [np.random.default_rng(i).integers(0, 20, (224, 224), np.uint8) for i in range(8)]

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=job.precision == "bf16")

    @torch.no_grad()
    def open_clips() -> None:
        with autocast():
            segmenter.net.clip.encode_image(clip.normalise(segmenter.net.towers, images))

    @torch.no_grad()
    def ours() -> None:
        with autocast():
            segmenter.net.encode(images)

    def whole() -> None:
        counts = ImageCounts.of(split)
        scores = segmenter(images, split.names)
        for row, truth in enumerate(truths):
            count_image(counts, str(row), truth, scores, row, split)

    seconds = _fastest({"open_clip": open_clips, "ours": ours, "whole": whole}, device, rounds)
    encoder = min(seconds["open_clip"], seconds["ours"])
    ratio = seconds["whole"] / encoder
    return {
        "claim": f"whole segmentation <= {CLAIM} x encoder",
        "ratio": round(ratio, 3),
        "holds": ratio <= CLAIM,
        "encoder_ms": round(1e3 * encoder, 1),
        "encoder_ms_open_clip": round(1e3 * seconds["open_clip"], 1),
        "whole_ms": round(1e3 * seconds["whole"], 1),
        "images_per_second": round(8 / seconds["whole"], 2),
        "model": "ViT-B-16, 224 px, batch 8, 20 clusters, 20 names, random weights",
        "device": device.type,
        "precision": job.precision,
        "environment": environment(),
    }


def _segmenter(job: Job) -> Any:
    """An untrained ViL-Seg: speed does not depend on the weights, but 20 clusters must all occur."""
    module = load_method("vilseg").cls.__module__
    import sys

    parts = sys.modules[module]
    method = parts.VilSeg(test_size=224)
    torch.manual_seed(0)
    net = parts.VilSegNet(method, clip.build("ViT-B-16")).eval().to(job.device)
    return parts.VilSegSegmenter(method, net, job)


def _fastest(runs: dict[str, Callable[[], None]], device: torch.device, rounds: int) -> dict[str, float]:
    """Seconds of each contestant's fastest round; one round more is for warming up."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds + 1):
        for name, run in runs.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
