"""The image-list audit: how sure and how quick its perceptual hash is, on real photographs.

    python bench/overlap.py            (two minutes of CPU time)

Photographs are those of shared/data beside the repository (VOC, Context, COCO; or --photos FOLDER). Four measurements:

unrelated  Distances between all pairs of different photographs, as they stand and mirrored, and between windows of
           different photographs (quarters and ninths: emptier than whole ones, so harder, but millions of pairs).
edited     How many photographs are found again after an edit, alone by their hash and by both looks.
scenes     The same for 1,500 drawn scenes, whose corpus holds pairs that differ in one object by intention.
speed      Photographs looked at per second on one thread; 10,000 × 10,000 hashes compared; peak memory.
"""

from __future__ import annotations

import argparse
import io
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from zsbench.atomic import write_json, write_text
from zsbench.data.pixels import read_photo
from zsbench.data.scenes import draw
from zsbench.overlap.looks import ALIKE, FAR, NEAR, UNLIKE, WAVES, Look, look_at
from zsbench.overlap.near import BITS, ROWS, Stack, _alike, matches, unlike

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "shared/data"
Picture = Image.Image


def recoded(image: Picture, quality: int = 90) -> Picture:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def cut(image: Picture, x: float, y: float) -> Picture:
    return image.crop((round(x), round(y), image.width - round(x), image.height - round(y)))


def scaled(image: Picture, by: float) -> Picture:
    return image.resize((round(image.width * by), round(image.height * by)), Image.Resampling.BICUBIC)


EDITS: dict[str, Callable[[Picture], Picture]] = {
    "JPEG quality 50": lambda image: recoded(image, 50),
    "JPEG quality 20": lambda image: recoded(image, 20),
    "half size": lambda image: recoded(scaled(image, 0.5), 85),
    "quarter size": lambda image: recoded(scaled(image, 0.25), 85),
    "256 × 256": lambda image: recoded(image.resize((256, 256), Image.Resampling.BICUBIC), 85),
    "grey": lambda image: recoded(image.convert("L").convert("RGB")),
    "contrast +40 %": lambda image: recoded(ImageEnhance.Contrast(image).enhance(1.4)),
    "brightness +30 %": lambda image: recoded(ImageEnhance.Brightness(image).enhance(1.3)),
    "2 pixels cut off each side": lambda image: recoded(cut(image, 2, 2)),
    "2 % cut off each side": lambda image: recoded(cut(image, 0.02 * image.width, 0.02 * image.height)),
    "5 % cut off each side": lambda image: recoded(cut(image, 0.05 * image.width, 0.05 * image.height)),
    "10 % cut off each side": lambda image: recoded(cut(image, 0.1 * image.width, 0.1 * image.height)),
    "rotated by 2 degrees": lambda image: recoded(image.rotate(2, Image.Resampling.BICUBIC)),
    "mirrored": lambda image: recoded(ImageOps.mirror(image)),
    "mirrored, half size, quality 50": lambda image: recoded(scaled(ImageOps.mirror(image), 0.5), 50),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of photographs instead of shared/data")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    files = photographs(options.photos)
    if not files:
        sys.exit("no photographs: name a folder with --photos")
    start = time.process_time()
    looks = [look_at(read_photo(file)) for file in files]
    seconds = time.process_time() - start
    names = [file.stem for file in files]
    groups, windows = cut_up(files)
    found: dict[str, Any] = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}",
        "rule": {"near": NEAR, "alike": ALIKE, "waves": WAVES, "far": FAR, "unlike": UNLIKE},
        "photographs": len(files),
        "flat": sum(look.flat for look in looks),
        "unrelated": unrelated(looks, names),
        "windows": {"flat": sum(look.flat for look in windows), **unrelated(windows, groups)},
        "edited": edited(files, looks),
        "scenes": scenes(),
        "photographs_per_cpu_second": round(len(files) / seconds, 1),
        "compared": compared(),
    }
    write_json(options.out / "overlap.json", found)
    write_text(options.out / "overlap.md", text(found))
    print(text(found))


def photographs(folder: Path | None) -> list[Path]:
    """Each photograph once: Context's samples are VOC's."""
    folders = [folder] if folder else [SHARED / "voc-real-small", SHARED / "coco-mini", SHARED / "context-sample"]
    files = [file for one in folders for file in sorted(one.rglob("*.jpg"))]
    return list({file.stem: file for file in files}.values())


def cut_up(files: Sequence[Path]) -> tuple[list[int], list[Look]]:
    """Quarters and ninths of every photograph, with the number of the photograph that each is of."""
    groups, looks = [], []
    for number, file in enumerate(files):
        pixels = read_photo(file)
        for parts in (2, 3):
            height, width = pixels.shape[0] // parts, pixels.shape[1] // parts
            for place in range(parts * parts):
                top, left = place // parts * height, place % parts * width
                groups.append(number)
                looks.append(look_at(pixels[top : top + height, left : left + width]))
    return groups, looks


def unrelated(looks: Sequence[Look], groups: Sequence[Any]) -> dict[str, Any]:
    """Pairs of different groups: how many hashes come near, how many pairs pass both looks; how many are surely two."""
    kept = [(look, group) for look, group in zip(looks, groups, strict=True) if not look.flat]
    stack, of = Stack.of([look for look, _ in kept]), np.array([hash(group) for _, group in kept])
    by_hash, pairs, two = np.zeros(BITS + 1, int), 0, 0
    for top in range(0, len(stack), ROWS):
        rows = np.arange(top, min(top + ROWS, len(stack)))
        ok = (of[rows, None] != of[None]) & (rows[:, None] < np.arange(len(stack))[None])
        pairs += int(ok.sum())
        for signs in (stack.signs, stack.mirrored):
            by_hash += np.bincount(((BITS - stack.signs[rows] @ signs.T) / 2)[ok].astype(int), minlength=BITS + 1)
    passing = [match for match in matches(stack) if of[match.a] != of[match.b]]
    dice = np.random.default_rng(0)
    some = dice.integers(0, len(kept), (20_000, 2))
    some = some[of[some[:, 0]] != of[some[:, 1]]]
    one, other = (Stack(stack.signs[at], stack.mirrored[at], stack.grey[at]) for at in some.T)
    two = unlike(one, other).mean()
    return {
        "pairs": pairs,
        "smallest_distance": int(np.flatnonzero(by_hash)[0]),
        "hashes_near": {str(bits): int(by_hash[: bits + 1].sum()) for bits in (4, 6, 8, 10, 12, 14)},
        "passing": len(passing),
        "surely_two": round(float(two), 4),
    }


def edited(files: Sequence[Path], looks: Sequence[Look]) -> dict[str, dict[str, float]]:
    """Share of photographs whose edited copy comes near by hash, and passes; the worst distance."""
    found: dict[str, dict[str, float]] = {}
    stack = Stack.of(looks)
    for name, edit in EDITS.items():
        copies = Stack.of([look_at(np.asarray(edit(Image.fromarray(read_photo(file))))) for file in files])
        best = None
        for mirrored in (False, True):
            signs = copies.mirrored if mirrored else copies.signs
            distance = (BITS - np.einsum("ij,ij->i", stack.signs, signs)) / 2
            alike = _alike(stack.grey, copies.grey, mirrored)
            passes = (distance <= NEAR) & (alike >= ALIKE)
            best = (distance, passes) if best is None else (np.minimum(best[0], distance), best[1] | passes)
        distance, passes = best
        taken_for_two = unlike(stack, copies).mean()
        found[name] = {
            "by_hash": round(float((distance <= NEAR).mean()), 4),
            "found": round(float(passes.mean()), 4),
            "largest_distance": int(distance.max()),
            "taken_for_two": round(float(taken_for_two), 4),
        }
    return found


def scenes() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        draw(Path(place) / "drawn", captioned=300, train=1000, val=200, arms=("web",), progress=False)
        files = sorted(Path(place).rglob("JPEGImages/*.jpg"))
        looks = [look_at(read_photo(file)) for file in files]
    passing = [(files[match.a].stem, files[match.b].stem) for match in matches(Stack.of(looks))]
    meant = sum(a[1:] == b[1:] for a, b in passing)
    return {
        "scenes": len(files),
        "flat": sum(look.flat for look in looks),
        "pairs": len(files) * (len(files) - 1) // 2,
        "passing": len(passing),
        "of_these_drawn_as_pairs": meant,
    }


def compared(count: int = 10_000) -> dict[str, Any]:
    """Random hashes, both ways round; the best of three."""
    dice = np.random.default_rng(0)
    stacks = [Stack.of(list(_random(dice, count))) for _ in range(2)]
    times = []
    for _ in range(3):
        start = time.process_time()
        sum(1 for _ in matches(*stacks))
        times.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"hashes": [count, count], "cpu_seconds": round(min(times), 2), "peak_mib_of_all_this": round(peak)}


def _random(dice: np.random.Generator, count: int) -> Iterator[Look]:
    for _ in range(count):
        yield Look(dice.bytes(32), dice.bytes(8), dice.bytes(8), dice.bytes(1024))


def text(found: dict[str, Any]) -> str:
    whole, parts, drawn = found["unrelated"], found["windows"], found["scenes"]
    rows = [
        f"| {name} | {100 * row['by_hash']:.1f} | {100 * row['found']:.1f} | {row['largest_distance']} "
        f"| {100 * row['taken_for_two']:.1f} |"
        for name, row in found["edited"].items()
    ]
    near = [
        f"| {what} | {one['pairs']:,} | {one['smallest_distance']} | "
        + " | ".join(f"{count:,}" for count in one["hashes_near"].values())
        + f" | {one['passing']:,} |"
        for what, one in (("photographs", whole), ("windows of photographs", parts))
    ]
    return "\n".join(
        [
            "# The image-list audit: how sure and how quick",
            "",
            f"Made by `python bench/overlap.py` ({found['machine']}). Two pictures are told to be one when their perceptual"
            f" hashes differ in at most {NEAR} of 64 bits, as they stand or mirrored, and their 32 × 32 grey copies correlate"
            f" by {ALIKE} or more.",
            "",
            "## Unrelated pictures",
            "",
            f"{found['photographs']} photographs ({found['flat']} flat) and their quarters and ninths ({parts['flat']} of"
            " those flat and left to exact comparison). Counts are of pairs of different photographs, both ways round.",
            "",
            "| | pairs | smallest distance | ≤ 4 | ≤ 6 | ≤ 8 | ≤ 10 | ≤ 12 | ≤ 14 bits | **pass both looks** |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *near,
            "",
            f"Drawn scenes: of {drawn['pairs']:,} pairs among {drawn['scenes']:,} scenes ({drawn['flat']} flat)"
            f" {drawn['passing']} pass, {drawn['of_these_drawn_as_pairs']} of them scenes that were drawn as pairs (one object"
            " differs).",
            "",
            "## Edited copies",
            "",
            f"Per cent of {found['photographs']} photographs. *Taken for two*: an equal name would be told to show different"
            f" pictures (more than {FAR} bits and correlation below {UNLIKE}; so are {100 * whole['surely_two']:.1f} % of"
            " unrelated pairs).",
            "",
            "| edit | near by hash | **found** | largest distance | taken for two |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "## Speed",
            "",
            f"{found['photographs_per_cpu_second']} photographs looked at per second of one core, decoding included;"
            f" 10,000 × 10,000 compared, as they stand and mirrored, in {found['compared']['cpu_seconds']} s of CPU time;"
            f" peak memory of the whole bench {found['compared']['peak_mib_of_all_this']:,} MiB.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
