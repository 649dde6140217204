"""Makes run folders as the runner writes them (record, per-image counts, curves, pictures) without any training."""

from __future__ import annotations

import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from zsbench.image_counts import ImageCounts
from zsbench.metrics import ConfusionMatrix

UNSEEN = ["pottedplant", "sheep", "sofa", "train", "tvmonitor"]
SEEN = ["aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
        "horse", "motorbike", "person"]  # fmt: skip
SCAN = {"lexicon": {"name": "voc2012", "fingerprint": "1e81c0000001"}, "level": 3, "policy": "as-is", "purged": None,
        "non_latin": 0}  # fmt: skip
NAMED = dict(zip(UNSEEN, (48, 51, 49, 52, 50), strict=True))
NONE = dict.fromkeys(UNSEEN, 0)
CORPORA = {
    "drawn: web": {"name": "drawn: web", "pairs": 2500, "fingerprint": "c0ffee000001", "skipped": 0,
                   "verdict": "names unseen classes", "unseen_named": NAMED, "unseen_pairs": 250,
                   "unseen_unique": NAMED, "planted": NAMED} | SCAN,
    "drawn: clean": {"name": "drawn: clean", "pairs": 2500, "fingerprint": "c0ffee000002", "skipped": 0,
                     "verdict": "names none of the unseen classes (levels 0-3)", "unseen_named": NONE,
                     "unseen_pairs": 0, "unseen_unique": NONE, "planted": NONE} | SCAN,
    "drawn: web, purged": {"name": "drawn: web, purged", "pairs": 2250, "fingerprint": "c0ffee000004", "skipped": 0,
                           "verdict": "names none of the unseen classes (levels 0-3)", "unseen_named": NONE,
                           "unseen_pairs": 0, "unseen_unique": NONE, "planted": NONE}
                          | SCAN | {"policy": "purge", "purged": {"pairs": 250, "named": NAMED}},
    "coco-mini": {"name": "coco-mini", "pairs": 320, "fingerprint": "c0ffee000003", "skipped": 1,
                  "verdict": "not scanned: a stream", "unseen_named": None, "unseen_pairs": None,
                  "unseen_unique": None, "planted": None}
                 | SCAN | {"lexicon": None, "level": None, "non_latin": None},
}  # fmt: skip
VECTORS = {
    "factor": {"source": "factor", "sha256": "ab" * 32, "dim": 300, "kind": "drawn factors",
               "corpus": "nothing: the looks of the drawn classes", "leaks": False, "control": None,
               "words": {"sheep": "row of its own", "tvmonitor": "row of its own"}},
    "random": {"source": "random", "sha256": None, "dim": 300, "kind": "control", "corpus": "nothing: random numbers",
               "leaks": False, "control": "random", "words": {}},
    "clip": {"source": "clip:ViT-B-32", "sha256": "cd" * 32, "dim": 512, "kind": "clip text",
             "corpus": "WIT-400M: image captions, names of unseen classes included", "leaks": True, "control": None,
             "words": {"sheep": "a photo of a sheep."}},
}  # fmt: skip
STAGE = {"name": "segmentation", "key": "5e9a2c3d4f10", "seconds": 61.5, "steps": 900, "images": 1100,
         "images_per_second": 468.3, "shared": True}  # fmt: skip
VILSEG = {"encoder": "small", "pretrained": "", "clusters": 20, "vision": "dino", "steps": 300, "self_training": 0}
KMEANS = VILSEG | {"features": "vilseg", "k": 20, "mode": "per-image", "distance": "spherical", "position": 0.0}
CLIP_SEG = {"encoder": "small-vit", "pretrained": "captions", "attention": "value", "templates": "single", "steps": 400}
CODE = "c0de" * 16  # of the harness
TRAINED_HERE = ("small-vit, random init, then CLIP's loss on the run's captions", "nothing")
SWEPT = [["cow", "motorbike"], ["aeroplane", "sofa"], ["cat", "tvmonitor"], ["train", "bottle"],
         ["chair", "pottedplant"]]  # fmt: skip


def of_k(k: int) -> dict[str, Any]:
    """Choices of `record` for the split voc_kK: nested unseen classes, background a seen class."""
    unseen = [name for pair in SWEPT[: k // 2] for name in pair]
    seen = ["background", *(name for name in [*SEEN, *UNSEEN] if name not in unseen)]
    return {"split": f"voc_k{k}", "unseen": unseen, "seen": seen, "background": "seen", "train_policy": "drop"}


def vilseg(**given: Any) -> dict[str, Any]:
    """Choices of `record` for ViL-Seg with all settings that an ablation looks at."""
    return {"config": VILSEG, "given": given, "trained": True, "pictures": 0}


def kmeans(**given: Any) -> dict[str, Any]:
    """Choices of `record` for K-means; its config carries every setting of ViL-Seg."""
    return {"method": "kmeans", "title": "K-means: offline clusters", "config": KMEANS, "given": given, "trained": True,
            "pictures": 0}  # fmt: skip


def clip_seg(**given: Any) -> dict[str, Any]:
    """Choices of `record` for CLIP + Seg with a CLIP of the run's own captions."""
    return {"method": "clip-seg", "title": "CLIP + Seg: dense CLIP features", "config": CLIP_SEG, "given": given,
            "weights": TRAINED_HERE, "pictures": 0}  # fmt: skip


def write_run(root: Path, **choices: Any) -> Path:
    """A run folder below `root`; returns it. `choices` are those of `record`, and `pictures` (how many per rule)."""
    pictures = choices.pop("pictures", 1)
    made = record(**choices)
    folder = root / made["split"]["name"] / f"{made['method']['name']}-{made['key']}"
    folder.mkdir(parents=True, exist_ok=True)
    made["files"]["pictures"] = _pictures(folder, made, pictures)
    _curves(folder, made)
    _per_image(folder)
    (folder / "record.json").write_text(json.dumps(made, indent=1, allow_nan=False))
    return folder


def record(
    *,
    method: str = "vilseg",
    title: str = "ViL-Seg",
    level: float = 0.5,
    corpus: str | None = "drawn: web",
    seed: int = 0,
    kind: str = "drawn",
    limit: int | None = None,
    given: dict[str, Any] | None = None,
    unseen: list[str] | None = None,
    absent: tuple[str, ...] = (),
    split: str = "voc5",
    width: float = 0.04,
    rounds: int = 0,
    gamma: float | None = None,
    vectors: str | None = None,
    stages: bool = False,
    seen: list[str] | None = None,
    background: str = "ignore",
    train_policy: str = "mask",
    config: dict[str, Any] | None = None,
    weights: tuple[str, str] | None = None,
    trained: bool = False,
) -> dict[str, Any]:
    """A record of schema 1 whose unseen-only mIoU is about `level`.

    rounds: how many follow round 0. gamma: with a calibration, that gamma used. vectors: one of VECTORS. config: settings
    in place of the three usual ones. weights: (what the backbone starts from, what that was trained on). trained: with
    ViL-Seg's shared stage, one per settings of ViL-Seg, captions and seed.
    """
    unseen, seen = UNSEEN if unseen is None else unseen, SEEN if seen is None else seen
    new = {"rounds": rounds, "gamma": gamma, "vectors": vectors, "background": background}
    new |= {"config": config, "weights": weights}
    more = {name: value for name, value in new.items() if value not in (0, None, "ignore")}
    words = json.dumps([method, corpus, seed, kind, limit, given, unseen, split, absent, *([more] if more else [])])
    key = hashlib.sha256(words.encode()).hexdigest()[:12]
    noise = random.Random(words)
    settings = (config or {"clusters": 25, "vision": "dino", "steps": 600}) | (given or {})
    images = {"drawn": 400, "real": 1449}[kind]
    scored = min(images, limit or images)
    scores = _scores(noise, level, width, seen, unseen, set(absent))
    return {
        "schema": 1, "status": "done", "key": key, "zsbench": "0.1.0", "code_sha256": CODE,
        "command": f"zsbench run --method {method} --split {split} --seed {seed}",
        "started": "2026-01-05T10:00:00+00:00", "finished": "2026-01-05T10:02:11+00:00",
        "method": {"name": method, "title": title, "source_sha256": hashlib.sha256(method.encode()).hexdigest(),
                   "config_given": given or {},
                   "config": settings,
                   "departures": [
                       {"field": "model", "paper": "ViT-B/16", "value": "vit-small-64", "reason": "scenes are 64 px"},
                       {"field": "batch", "paper": 4096, "value": 96, "reason": "two cores"}],
                   "parameters": {"trainable": 1_204_352, "total": 1_204_352, "at_inference": 1_100_352}},
        "split": {"name": split, "dataset": "voc2012", "title": f"VOC 2012, {len(seen)} seen / {len(unseen)} unseen",
                  "source": "SPNet 2019", "seen": seen, "unseen": unseen, "background": background,
                  "train_policy": train_policy, "fingerprint": "0f0f0f0f0f0f" if split == "voc5" else f"{split:_<12}"},
        "data": {"kind": kind, "title": "Drawn scenes, seed 0" if kind == "drawn" else "PASCAL VOC 2012",
                 "fingerprint": f"{kind:_<12}", "notes": [],
                 "parts": {"train": {"list": "trainaug", "images": 1500, "sha256": "00"},
                           "val": {"list": "val", "images": images, "scored": scored, "sha256": "01"}}},
        "limit": limit, "limited": limit is not None, "seed": seed,
        "supervision": {"masks": "none", "layout": "none", "captions": corpus is not None,
                        "backbone": weights[0] if weights else "random init",
                        "backbone_corpus": weights[1] if weights else "nothing",
                        "unseen_names": "evaluation", "tuned_on": "drawn scenes, seed 7",
                        "corpus": CORPORA[corpus] if corpus else None,
                        "vectors": VECTORS[vectors] if vectors else None},
        "prompts": {"template": "a photo of a {}.", "sha256": "ab"}, "device": "cpu", "precision": "fp32",
        "environment": {"python": "3.11.7", "torch": "2.15.0", "open_clip": "3.3.0", "numpy": "2.4.6",
                        "platform": "Linux",
                        "cpu": "a processor", "cores": 2, "threads": 2, "gpu": None, "git": "8f649fb"},
        "seconds": {"fit": 105.2, "evaluate": 9.1, "total": 114.9},
        "peak_memory_bytes": {"host": 912_345_678, "gpu": None},
        "images_per_second": {"train": 512.4, "evaluate": 44.0},
        "scores": scores,
        "rounds": _rounds(noise, scores, unseen, rounds) if rounds else None,
        "calibration": _calibration(scores, gamma) if gamma is not None else None,
        "stages": [_trained(settings, corpus, seed)] if trained else [STAGE] if stages else None,
        "confusion": {"unseen": [], "all": []},
        "training": {"steps": 600, "last": {"loss": 1.2}},
        "files": {"per_image": "per_image.parquet", "curves": "curves.jsonl", "pictures": []},
    }  # fmt: skip


def _trained(settings: dict[str, Any], corpus: str | None, seed: int) -> dict[str, Any]:
    words = json.dumps([{name: settings[name] for name in VILSEG}, corpus, seed])
    return STAGE | {"name": "vilseg", "key": hashlib.sha256(words.encode()).hexdigest()[:12]}


def _scores(
    noise: random.Random, level: float, width: float, seen: list[str], unseen: list[str], absent: set[str]
) -> dict[str, Any]:
    k, total = len(unseen), len(seen) + len(unseen)
    chance = {"accuracy": 1 / k, "miou": 1 / (2 * k - 1), "constant_miou": 1 / k**2} if k else None
    alone = {name: _class(noise, level, name in absent) for name in unseen}
    together = {name: _class(noise, 0.42, name in absent) | {"group": "seen"} for name in seen}
    together |= {name: _class(noise, level * 0.4, name in absent) | {"group": "unseen"} for name in unseen}
    seen_part = _part(together, seen, width, absent)
    unseen_part = _part(together, unseen, width, absent)
    s, u = seen_part["miou"], unseen_part["miou"]
    both = 2 * s * u / (s + u) if s and u else None
    return {
        "unseen": {"candidates": unseen, "pixels": 90_000, **_part(alone, unseen, width, absent), "chance": chance,
                   "oracle": {"miou": 0.78, "interval": [0.75, 0.81]}, "classes": alone},
        "all": {"candidates": seen + unseen, "pixels": 400_000, "pixel_accuracy": 0.5512, "mean_accuracy": 0.4477,
                "miou": sum(c["iou"] or 0 for c in together.values()) / total, "seen": seen_part, "unseen": unseen_part,
                "harmonic": {"miou": both, "interval": both and _around(both, width)}, "oracle": {"miou": 0.81},
                "classes": together},
    }  # fmt: skip


def _rounds(noise: random.Random, scores: dict[str, Any], unseen: list[str], more: int) -> list[dict[str, Any]]:
    """Round 0 to `more`: unseen rises to the run's own scores, seen falls to them."""
    every = scores["all"]
    parts = {"seen": every["seen"], "unseen": every["unseen"], "harmonic": every["harmonic"]}
    states = []
    for number in range(more + 1):
        rest = 1 - number / more
        shares = {
            "seen": 1 + 0.1 * rest,
            "unseen": 1 - 0.4 * rest + 0.05 * noise.random() * rest,
            "harmonic": 1 - 0.3 * rest,
        }
        states.append({
            "name": f"round {number}",
            "scores": {"unseen": _scaled(scores["unseen"], 1 - 0.2 * rest),
                       "all": {name: _scaled(part, shares[name]) for name, part in parts.items()}},
            "selected": {"door": "unlabelled", "images": 320, "classes": {n: _picked(noise) for n in unseen}}
                        if number else None,
        })  # fmt: skip
    return states


def _scaled(part: dict[str, Any], share: float) -> dict[str, Any]:
    interval = part["interval"]
    return {"miou": part["miou"] if part["miou"] is None else min(1.0, part["miou"] * share),
            "interval": interval and [min(1.0, end * share) for end in interval]}  # fmt: skip


def _picked(noise: random.Random) -> dict[str, int]:
    pixels = noise.randrange(800, 9000)
    correct = int(pixels * noise.uniform(0.3, 0.9))
    return {
        "pixels": pixels,
        "correct": correct,
        "outside": (pixels - correct) // 2,
        "truth": noise.randrange(9000, 40000),
    }


def _calibration(scores: dict[str, Any], gamma: float) -> dict[str, Any]:
    """Curves through the run's own scores at its own gamma."""
    gammas = [*(round(0.05 * place, 6) for place in range(21)), 1.000001]
    top, bottom = (scores["all"][name]["miou"] for name in ("seen", "unseen"))
    seen = [min(1.0, top * _slope(gamma - g)) for g in gammas]
    unseen = [min(1.0, bottom * _slope(g - gamma)) for g in gammas]
    return {"gammas": gammas, "seen": seen, "unseen": unseen, "area": top * bottom, "gamma": gamma,
            "harmonic": [2 * s * u / (s + u) if s + u else None for s, u in zip(seen, unseen, strict=True)]}  # fmt: skip


def _slope(distance: float) -> float:
    """1 at distance 0, rising to 1.6 and falling to 0."""
    return 1 + 0.6 * min(1.0, 2 * distance) if distance > 0 else max(0.0, 1 + 1.4 * distance)


def _class(noise: random.Random, level: float, absent: bool) -> dict[str, Any]:
    if absent:
        return {"iou": None, "recall": None, "pixels": 0, "images": 0}
    iou = min(0.97, max(0.01, noise.gauss(level, 0.1)))
    return {
        "iou": iou,
        "recall": math.sqrt(iou),
        "pixels": noise.randrange(5_000, 40_000),
        "images": noise.randrange(20, 90),
    }


def _part(classes: dict[str, dict[str, Any]], names: list[str], width: float, absent: set[str]) -> dict[str, Any]:
    found = [classes[name]["iou"] for name in names if classes[name]["iou"] is not None]
    miou = sum(found) / len(found) if found else None
    accuracy = miou if miou is None else min(1.0, miou * 1.2)
    gone = [name for name in names if name in absent]
    return {"miou": miou, "interval": None if miou is None else _around(miou, width), "pixel_accuracy": accuracy,
            "mean_accuracy": accuracy, "classes_scored": len(found), "classes_absent": gone}  # fmt: skip


def _around(value: float, width: float) -> list[float]:
    return [max(0.0, value - width), min(1.0, value + width)]


def _curves(folder: Path, made: dict[str, Any]) -> None:
    noise = random.Random(made["key"])
    floor = 1.1 + noise.random() / 3
    lines = []
    for step in range(0, 601, 5):
        fall = math.exp(-step / 150)
        parts = {name: share * (floor + 3 * fall + noise.gauss(0, 0.06)) for name, share in
                 (("loss_contrast", 0.5), ("loss_vision", 0.35), ("loss_cluster", 0.15))}  # fmt: skip
        meters = {
            "teacher_entropy": 4.1 * (0.5 + fall / 2),
            "teacher_mi": 2.4 * (1 - fall),
            "cluster_mi": 1.9 * (1 - fall),
        }
        row = {
            "stage": "fit",
            "step": step,
            "lr": 1e-3 * math.cos(step / 400),
            "loss": sum(parts.values()),
            **parts,
            **meters,
        }
        lines.append(json.dumps(row))
    (folder / "curves.jsonl").write_text("\n".join(lines) + "\n")


def _per_image(folder: Path) -> None:
    columns = {"image": ["000001"], "scope": ["unseen"], "true": pa.array([15], pa.int16()),
               "predicted": pa.array([16], pa.int16()), "pixels": pa.array([7], pa.int64())}  # fmt: skip
    pq.write_table(pa.table(columns), folder / "per_image.parquet")


def _pictures(folder: Path, made: dict[str, Any], each: int) -> list[dict[str, Any]]:
    names = [*made["split"]["unseen"], *made["split"]["seen"]]
    (folder / "pictures").mkdir(exist_ok=True)
    size = (64, 64) if made["data"]["kind"] == "drawn" else (333, 500)
    rules = [rule for rule in ("worst", "median", "best") for _ in range(each)]
    return [_picture(folder, place, rule, names, size) for place, rule in enumerate(rules)]


def _picture(folder: Path, place: int, rule: str, names: list[str], size: tuple[int, int]) -> dict[str, Any]:
    noise = np.random.default_rng(place)
    ys, xs = np.mgrid[: size[0], : size[1]]
    photo = noise.integers(0, 40, (*size, 3)) + np.array([120, 140, 90])
    truth = np.zeros((*size, 4), np.uint8)
    guess = np.full((*size, 4), [0, 0, 128, 96], np.uint8)
    shown = {}
    for number, name in enumerate(names[place % 3 : place % 3 + 2]):
        centre, radius = noise.uniform(0.25, 0.75, 2) * size, 0.2 * min(size)
        inside = (ys - centre[0]) ** 2 + (xs - centre[1]) ** 2 < radius**2
        colour = (10 + 40 * number, 200, 7)
        shown[name] = "#{:02x}{:02x}{:02x}".format(*colour)
        photo[inside] = photo[inside] // 2 + [90, 30 * number, 80]
        truth[inside] = guess[inside] = (*colour, 255)
        guess[inside & (xs > centre[1])] = (0, 0, 128, 255)
    shown[names[-1]] = "#000080"
    layers = {"photo": photo.clip(0, 255).astype(np.uint8), "truth": truth, "prediction": guess}
    files = {layer: f"pictures/{place:02d}-{layer}.png" for layer in layers}
    for layer, pixels in layers.items():
        Image.fromarray(pixels).save(folder / files[layer])
    labels = {"truth": list(shown)[:-1], "prediction": list(shown)}
    score = {"worst": 0.031, "median": 0.38, "best": 0.84}[rule]
    return {"key": f"{place:06d}", "rule": rule, "score": score, "labels": labels, "colours": shown} | files


def count_images(folder: Path, level: float = 0.6, images: int = 40, draw: int = 0, first: int = 0) -> Path:
    """Gives a run per-image counts and the scores, classes and confusion that follow from them; returns its folder.

    level: how often a pixel gets its true name, about. draw: other random numbers. first: the number of the first image,
    so that two runs can have some in common only. What an image shows depends on its number alone.
    """
    made = json.loads((folder / "record.json").read_text())
    seen, unseen = (len(made["split"][part]) for part in ("seen", "unseen"))
    counts, noise = ImageCounts(seen, unseen), np.random.default_rng([draw, int(1000 * level)])
    for number in range(first, first + images):
        shown = np.random.default_rng(number)
        truth = shown.choice(seen + unseen, size=4, replace=False), shown.integers(20, 400, size=4)
        hard = np.clip(level + shown.normal(0, 0.2), 0.02, 0.98)  # as hard for one run as for the other
        for scope, start in (("all", 0), ("unseen", seen)):
            matrix = np.zeros((seen + unseen, seen + unseen), np.int64)
            for name, pixels in zip(*truth, strict=True):
                right = noise.binomial(pixels, hard)
                matrix[name, name] += right
                matrix[name, noise.integers(start, seen + unseen)] += pixels - right
            if matrix[start:].any():
                counts.append(f"{number:06d}", scope, ConfusionMatrix(matrix[start:, start:]))
    counts.write(folder / "per_image.parquet")
    _follow(made, counts)
    (folder / "record.json").write_text(json.dumps(made))
    return folder


def _follow(made: dict[str, Any], counts: ImageCounts) -> None:
    """Sets what follows from the counts in a record: scores, IoU per class, confusion."""
    scores, only, every = made["scores"], counts.total("unseen"), counts.total("all")
    parts = {"seen": slice(0, counts.seen), "unseen": slice(counts.seen, None)}
    mious = {name: float(every.tally.miou(part)) for name, part in parts.items()}
    both = {"harmonic": 2 * mious["seen"] * mious["unseen"] / sum(mious.values())}
    for part, value in [(scores["unseen"], float(only.tally.miou())),
                        *((scores["all"][name], value) for name, value in (mious | both).items())]:  # fmt: skip
        part["miou"], part["interval"] = value, _around(value, 0.04)
    for scope, matrix in (("unseen", only), ("all", every)):
        for name, iou in zip(scores[scope]["candidates"], matrix.iou, strict=True):
            scores[scope]["classes"][name]["iou"] = None if math.isnan(iou) else float(iou)
    made["confusion"] = {"unseen": only.counts.tolist(), "all": every.counts.tolist()}
