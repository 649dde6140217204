"""On a CUDA GPU: images/s of training and evaluation at ViT-B/16 and of every stage of ZS-MMD at full crop size, and
whether CPU and CUDA give the same scores.

Agreement: ViL-Seg is trained on the drawn scenes once on the GPU; the same weights are then evaluated on both devices in
fp32 and bf16. Claim: every mIoU agrees to 0.2 points between devices at equal precision.
Without a GPU the script says so and measures nothing. Run: python bench/gpu.py [--rival cpu]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zsbench.atomic import write_json
from zsbench.config import configure
from zsbench.corpus import open_corpus
from zsbench.data.vectors import ClassVectors
from zsbench.data.view import Items, TrainView, guarded_view
from zsbench.evaluation import Evaluation
from zsbench.method import Job, load_method
from zsbench.nn import clip
from zsbench.record import environment
from zsbench.sampling import Sampler
from zsbench.scoring import summarise
from zsbench.session import open_data
from zsbench.split import load_split
from zsbench.training import train

CLAIM = 0.002  # 0.2 points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="the device under test (cpu only tries the script out)")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA GPU here: nothing was measured")
        return
    device = torch.device(chosen.device)
    result = {
        "vit_b_16": throughput(device, chosen.batch, chosen.steps),
        "zs_mmd": stages(device, chosen.steps),
        "agreement": agreement(device),
        "environment": environment(),
    }
    print(json.dumps(result, indent=1))
    write_json(chosen.out / f"{chosen.device}.json", result)


def throughput(device: torch.device, batch: int, steps: int) -> dict[str, Any]:
    """ViL-Seg as in the paper (six local views, 2,048 bins) on random pictures of 256 px, bf16, decoding left out."""
    loaded = load_method("vilseg")
    parts = sys.modules[loaded.cls.__module__]
    method = parts.VilSeg(batch=batch, steps=steps, warmup=1)
    pictures = np.random.default_rng(0).integers(0, 256, (64, 256, 256, 3), np.uint8)
    items = Items(batch, lambda places: [(pictures[i % 64], f"picture {i}") for i in places])
    with tempfile.TemporaryDirectory() as folder:
        job = Job(device, 0, Path(folder), "bf16", save_seconds=1e9)
        net = parts.VilSegNet(method, clip.build(method.encoder))
        batches = parts.CaptionBatches(method.views(), items, Sampler(batch, batch, 0), net.towers, job)
        progress = train(net, batches, method.recipe(), job)
    segmenter = parts.VilSegSegmenter(method, net.eval(), job)
    images = torch.rand(16, 3, 375, 500, device=device)
    names = load_split("voc5").names
    seconds = [_timed(lambda: segmenter(images, names), device) for _ in range(6)][1:]
    return {
        "train_images_per_second": round(progress.images / progress.seconds, 1),
        "evaluate_images_per_second": round(16 / min(seconds), 1),
        "train": f"batch {batch}, {steps} steps, 224 px, 6 local views of 96 px, bf16",
        "evaluate": "375 x 500 px, short side 448, batch 16, bf16, to region ids at label size",
    }


def stages(device: torch.device, steps: int) -> dict[str, Any]:
    """Images/s of stage 1, stage 2 and a round of ZS-MMD on random pictures of 500 x 375, bf16, as the defaults have it:
    ResNet-101, crops of 312, batches of 16 and 8. On a CPU, the small encoder only tries the code out."""
    parts = sys.modules[load_method("zs-mmd").cls.__module__]
    split, random = load_split("voc5"), np.random.default_rng(0)
    pictures = random.integers(0, 256, (64, 375, 500, 3), np.uint8)
    masks = random.integers(0, len(split.seen), (64, 375, 500)).astype(np.uint8)
    rows = {name: random.normal(size=300).astype(np.float32) for name in split.names}
    view = TrainView(
        split.seen,
        labelled=Items(64, lambda places: [(pictures[i], masks[i]) for i in places]),
        unlabelled=Items(64, lambda places: [pictures[i] for i in places]),
        unseen=split.unseen,
        vectors=ClassVectors(rows, {"words": {}}),
    )
    small = {"encoder": "small", "width": 96, "crop": 64} if device.type == "cpu" else {}
    lengths = {"seg_steps": steps, "steps": steps, "rounds": 1, "round_steps": steps}
    method = parts.ZsMmd(vectors="random", tau=0.0, reject=0.0, least=1, **lengths, **small)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(device, 0, Path(folder), "bf16", save_seconds=1e9)
        segmenter = method.fit(view, job)
        shared = {
            stage["name"]: stage["images_per_second"] for stage in json.loads((job.folder / "stages.json").read_text())
        }
        rounds = json.loads((job.folder / "training.json").read_text())
    images = torch.rand(8, 3, 375, 500, device=device)
    seconds = [_timed(lambda: segmenter(images, split.names), device) for _ in range(6)][1:]
    own = {name: stage["images"] / stage["seconds"] for name, stage in rounds.items()}
    return {"images_per_second": shared | own | {"evaluate": 8 / min(seconds)}, "settings": lengths | small}


def _timed(run: Any, device: torch.device) -> float:
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def agreement(device: torch.device) -> dict[str, Any]:
    """Scores of one trained model on both devices, in both precisions."""
    split, (dataset, root) = load_split("voc5"), open_data(None)
    loaded = load_method("vilseg")
    parts = sys.modules[loaded.cls.__module__]
    method = configure(loaded.cls, {}, dataset.origin.kind).method
    corpus = open_corpus(None, dataset, root, None, split, 0)
    with tempfile.TemporaryDirectory() as folder:
        view = guarded_view(split, dataset, method.supervision, corpus.captions)
        trained = method.fit(view, Job(device, 0, Path(folder), "bf16"))
        scores = {}
        for place in (torch.device("cpu"), device):
            for precision in ("fp32", "bf16"):
                job = Job(place, 0, Path(folder) / f"{place.type}-{precision}", precision)
                job.folder.mkdir(exist_ok=True)
                segmenter = parts.VilSegSegmenter(method, trained.net.to(place), job)
                evaluation = Evaluation(segmenter, dataset, split, dataset.keys("val"), split.names, place, job.folder)
                scores[f"{place.type} {precision}"] = _mious(summarise(evaluation.run()[0], split))
    differences = {
        precision: max(
            abs(scores[f"cpu {precision}"][k] - scores[f"{device.type} {precision}"][k]) for k in scores["cpu fp32"]
        )
        for precision in ("fp32", "bf16")
    }
    return {"scores": scores, "largest_difference": differences, "holds": max(differences.values()) <= CLAIM}


def _mious(summary: dict[str, Any]) -> dict[str, float]:
    every = summary["scores"]["all"]
    return {
        "unseen only": summary["scores"]["unseen"]["miou"],
        "seen": every["seen"]["miou"],
        "unseen": every["unseen"]["miou"],
        "harmonic": every["harmonic"]["miou"],
    }


if __name__ == "__main__":
    main()
