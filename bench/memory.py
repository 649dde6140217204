"""How much memory evaluating 171 names on 640 x 480 photographs takes, each way in a process of its own.

Claim: CLIP ViT-B/16 (random weights, fp32) and all that its evaluation takes stay under 1 GB at their peak. What the
libraries alone take is measured and left out: PyTorch's CUDA build maps half a gigabyte at import, its CPU build far less.
The rival upsamples the scores of all images of a forward pass at once, and takes the argmax for each scope.
Run: python bench/memory.py [--images 8] [--out bench/results]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

CLAIM = 1e9  # bytes over those of the libraries
NAMES, SEEN, SIZE = 171, 156, (480, 640)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        print(json.dumps(PARTS[chosen.part](chosen.images)))
        return
    result = compared({part: _apart(part, chosen.images) for part in PARTS})
    print(json.dumps(result, indent=1))

    from zsbench.atomic import write_json

    write_json(chosen.out / "memory_cpu.json", result)


def compared(found: dict[str, dict[str, float]]) -> dict[str, Any]:
    from zsbench.record import environment

    libraries = found["libraries"]["peak_mb"]
    taken = found["strips"]["peak_mb"] - libraries
    return {
        "claim": f"model and evaluation take less than {CLAIM / 1e6:.0f} MB over the libraries",
        "holds": taken < CLAIM / 1e6,
        "model_and_evaluation_mb": round(taken),
        "of_these_the_model_mb": round(found["model"]["peak_mb"] - libraries),
        "of_these_the_evaluation_mb": round(found["strips"]["peak_mb"] - found["model"]["peak_mb"]),
        "rivals_model_and_evaluation_mb": round(found["whole"]["peak_mb"] - libraries),
        "in_all_mb": {part: round(own["peak_mb"]) for part, own in found.items()},
        "seconds_per_image": {part: own["seconds"] for part, own in found.items() if "seconds" in own},
        "task": f"ViT-B-16, random weights, fp32, {NAMES} names, {SIZE[1]} x {SIZE[0]} pixels, CPU",
        "environment": environment(),
    }


def _apart(part: str, images: int) -> dict[str, float]:
    """One part in a fresh process: a peak never falls."""
    command = [sys.executable, __file__, "--part", part, "--images", str(images)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def libraries(_: int) -> dict[str, float]:
    """Everything that an evaluation imports."""
    import open_clip  # noqa: F401
    import pandas as pd
    import pyarrow.parquet  # noqa: F401

    from zsbench import evaluation  # noqa: F401

    pd.DataFrame({"a": [1]}).astype({"a": "int16"})
    return {"peak_mb": _peak()}


def model(images: int) -> dict[str, float]:
    libraries(images)
    _segmenter()
    return {"peak_mb": _peak()}


def strips(images: int) -> dict[str, float]:
    """zsbench's own evaluation."""
    import torch

    from zsbench.data.dataset import Dataset
    from zsbench.evaluation import Evaluation
    from zsbench.split import Split

    libraries(images)
    segmenter, data, split = _segmenter(), Photographs(images), _split()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        made = Evaluation(
            segmenter, cast(Dataset, data), cast(Split, split), data.keys("val"), split.names, torch.device("cpu"),
            Path(folder),
        )  # fmt: skip
        made.run()
    return {"peak_mb": _peak(), "seconds": round((time.perf_counter() - start) / images, 3)}


def whole(images: int) -> dict[str, float]:
    """The rival: one forward pass over all images, scores upsampled at once, an argmax per scope."""
    import torch
    import torch.nn.functional as F

    libraries(images)
    segmenter, data, split = _segmenter(), Photographs(images), _split()
    start = time.perf_counter()
    stacked = torch.stack([torch.from_numpy(data.image(key)) for key in data.keys("val")]).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        scores = F.interpolate(segmenter(stacked, split.names), size=SIZE, mode="bilinear", align_corners=False)
        _ = scores.argmax(1), scores[:, SEEN:].argmax(1)
    return {"peak_mb": _peak(), "seconds": round((time.perf_counter() - start) / images, 3)}


PARTS = {"libraries": libraries, "model": model, "strips": strips, "whole": whole}


class Photographs:
    """Noise in the shape of photographs, made when it is asked for."""

    classes = tuple(f"class {number}" for number in range(NAMES))
    protected = ()

    def __init__(self, images: int):
        self.images = images

    def keys(self, part: str) -> list[str]:
        return [f"{number:04d}" for number in range(self.images)]

    def image(self, key: str) -> Any:
        import numpy as np

        return np.random.default_rng(int(key)).integers(256, size=(*SIZE, 3), dtype=np.uint8)

    def labels(self, key: str) -> Any:
        """Blocks of 32 x 32 pixels, as large as real objects make runs of one label."""
        import numpy as np

        blocks = np.random.default_rng(int(key)).integers(NAMES, size=(SIZE[0] // 32, SIZE[1] // 32), dtype=np.uint8)
        return blocks.repeat(32, 0).repeat(32, 1)


def _split() -> SimpleNamespace:
    names = Photographs.classes
    return SimpleNamespace(names=names, seen=names[:SEEN], unseen=names[SEEN:])


def _segmenter() -> Any:
    """CLIP + Seg with its default attention, untrained: memory does not depend on the weights."""
    import torch

    from zsbench.method import Job, load_method

    method = load_method("clip-seg").cls(encoder="ViT-B-16", pretrained="", test_size=SIZE[0])
    return method.fit(SimpleNamespace(captions=None), Job(torch.device("cpu"), 0, Path(tempfile.gettempdir())))


def _peak() -> float:
    """MB of this process at its highest."""
    from zsbench.record import peak_memory

    return (peak_memory()["host"] or 0) / 1e6


if __name__ == "__main__":
    main()
