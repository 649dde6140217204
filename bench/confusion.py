"""Counting label maps: zsbench against torchmetrics' MulticlassConfusionMatrix, same maps, on the CPU.

    python bench/confusion.py

64 label maps of 500 x 375 pixels, 21 classes, borders of objects ignored (255). "scenes" have stretches of one label,
as the maps of data sets and of methods have; in "noise" every pixel is drawn by itself, our counting's worst case.
The rival gets tensors prepared ahead, as int64 and as uint8, with its argument checks (its default) and without, image
by image and in one call. Ours gets numpy arrays and counts image by image with all its checks, because intervals need
counts per image. Every time is the best of N rounds, all contestants in turn. The counts must be equal.
The claim is checked on "scenes" with one thread each, against the quickest of the rival's variants. Ours uses one
thread always; the rival's times with torch's default number of threads stand beside it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchmetrics
from torchmetrics.classification import MulticlassConfusionMatrix

from zsbench.atomic import write_json
from zsbench.metrics import ConfusionMatrix

MAPS, HEIGHT, WIDTH, CLASSES, IGNORED = 64, 375, 500, 21, 255
RESULT = Path(__file__).parent / "results" / "confusion.json"
CLAIM = 10.0
DEFAULT = "int64, checked, one by one"


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--out", type=Path, default=RESULT)
    given = ask.parse_args()
    result = {"command": "python bench/confusion.py", "setting": setting(), "rounds": given.rounds, "times": []}
    default_threads = torch.get_num_threads()
    for threads in sorted({1, default_threads}):
        torch.set_num_threads(threads)
        for kind, draw in {"scenes": scenes, "noise": noise}.items():
            row = {"maps": kind, "threads": threads, **compare(*draw(), rounds=given.rounds)}
            print(line(row))
            result["times"].append(row)
    alone = (row for row in result["times"] if (row["maps"], row["threads"]) == ("scenes", 1))
    result["ratio"] = next(alone)["ratio_to_quickest"]
    write_json(given.out, result)
    print(f"{result['ratio']:.1f} x faster than torchmetrics at its best, one thread each (claim: {CLAIM:.0f} x)")
    print(given.out)
    sys.exit(result["ratio"] < CLAIM)


def setting() -> dict[str, Any]:
    versions = {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__}
    return {
        **versions,
        "torchmetrics": torchmetrics.__version__,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "maps": MAPS,
        "pixels": [HEIGHT, WIDTH],
        "classes": CLASSES,
    }


def scenes() -> tuple[np.ndarray, np.ndarray]:
    """Ellipses on a background; the prediction moves every object a little and renames some of them."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    true, predicted = np.zeros((2, MAPS, HEIGHT, WIDTH), np.uint8)
    for image in range(MAPS):
        for _ in range(6):
            name, guess = random.integers(CLASSES, size=2)
            y, x, high, wide = random.uniform([0, 0, 20, 20], [HEIGHT, WIDTH, 150, 150])
            distance = np.hypot((rows - y) / high, (columns - x) / wide)
            true[image][distance < 1] = name
            true[image][np.abs(distance - 1) < 0.03] = IGNORED
            moved = np.hypot((rows - y - random.normal(0, 8)) / high, (columns - x - random.normal(0, 8)) / wide)
            predicted[image][moved < 1] = name if random.random() < 0.7 else guess
    return true, predicted


def noise() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    true, predicted = random.integers(CLASSES, size=(2, MAPS, HEIGHT, WIDTH)).astype(np.uint8)
    true[random.random(true.shape) < 0.05] = IGNORED
    return true, predicted


def compare(true: np.ndarray, predicted: np.ndarray, rounds: int) -> dict[str, Any]:
    """Milliseconds for all maps, best of `rounds`, after the counts were found equal."""
    contestants = {"zsbench": lambda: ours(true, predicted), **rivals(true, predicted)}
    expected = contestants["zsbench"]()
    for name, count in contestants.items():
        assert np.array_equal(count(), expected), f"{name} counts differently"
    seconds = {name: float("inf") for name in contestants}
    for _, (name, count) in itertools.product(range(rounds), contestants.items()):
        seconds[name] = min(seconds[name], timed(count))
    mine = seconds.pop("zsbench")
    return {
        "zsbench_ms": mine * 1e3,
        "torchmetrics_ms": {name: value * 1e3 for name, value in seconds.items()},
        "ratio_to_default": seconds[DEFAULT] / mine,
        "ratio_to_quickest": min(seconds.values()) / mine,
    }


def ours(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    parts = (ConfusionMatrix.count(*maps, CLASSES) for maps in zip(true, predicted, strict=True))
    return sum(parts, ConfusionMatrix.empty(CLASSES)).counts


def rivals(true: np.ndarray, predicted: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """All ways to use torchmetrics, each with its tensors prepared."""
    ways: dict[str, Callable[[], np.ndarray]] = {}
    for dtype, checked, together in itertools.product((torch.int64, torch.uint8), (True, False), (False, True)):
        tensors = [torch.from_numpy(maps).to(dtype) for maps in (predicted, true)]
        batches = [tuple(tensors)] if together else list(zip(*tensors, strict=True))
        name = f"{str(dtype)[6:]}, {'checked' if checked else 'unchecked'}, {'together' if together else 'one by one'}"
        ways[name] = lambda batches=batches, checked=checked: theirs(batches, checked)
    return ways


def theirs(batches: list[tuple[torch.Tensor, ...]], checked: bool) -> np.ndarray:
    metric = MulticlassConfusionMatrix(CLASSES, ignore_index=IGNORED, validate_args=checked)
    for predicted, true in batches:
        metric.update(predicted, true)
    return metric.compute().numpy()


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def line(row: dict[str, Any]) -> str:
    rival = row["torchmetrics_ms"]
    quickest = min(rival, key=rival.get)
    return (
        f"{row['maps']:6} {row['threads']} thread(s)   zsbench {row['zsbench_ms']:6.1f} ms   "
        f"torchmetrics {rival[DEFAULT]:7.1f} ms by default ({row['ratio_to_default']:.1f} x), "
        f"{rival[quickest]:6.1f} ms at best ({row['ratio_to_quickest']:.1f} x; {quickest})"
    )


if __name__ == "__main__":
    main()
