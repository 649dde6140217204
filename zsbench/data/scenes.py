"""Drawn scenes as a data set on disk: a folder in PASCAL VOC's layout with captions, semantic vectors and `meta.json`.

The embedded default of zsbench: no download, no licence question, the same bytes from the same seed, and known truth
about every caption. Masks exist for train and val only and hold all twenty classes, as VOC's do; keeping the unseen
ones from a method is the guard's work, not the data's. Caption pictures (`c…` seen classes only, `u…` the same scene
with one unseen object) occur in no mask list. JPEG is written 4:4:4: chroma subsampling smears the thin textures.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from zsbench.atomic import replacing_folder, write_json
from zsbench.data.scene_arms import DEFAULT_ARMS, parse_arm
from zsbench.data.scene_captions import (
    TRAIN,
    VAL,
    VECTORS,
    Pool,
    arm_counts,
    arm_lines,
    caption_pool,
    spoken_name,
    stream,
)  # fmt: skip
from zsbench.data.scene_classes import CLASSES, IDS, UNSEEN, check_split, semantic_vectors
from zsbench.data.scene_painter import VISIBLE, Scene, compose, labels, paint, present, rim
from zsbench.errors import UserError

__all__ = [
    "CLASSES", "DEFAULT_ARMS", "GENERATOR", "IDS", "UNSEEN", "VERSION", "VISIBLE", "arm_lines", "caption_pool",
    "check_split", "draw", "ensure_drawn", "is_drawn", "present", "read_meta", "spoken_name", "voc_palette",
]  # fmt: skip

GENERATOR = "zsbench-scenes"
VERSION = 1  # raise with every change of a picture, a mask or a caption: caches and fingerprints hang on it
QUALITY = 95  # of the JPEG files
MIN_SIZE = 48  # pixels; below, a small star has fewer pixels than count as present


def voc_palette() -> list[int]:
    """VOC's colour map, 256 x RGB flat: the bits of an id dealt out to the three channels from the top bit down."""
    ids = np.arange(256)
    bits = [(ids >> (3 * k + channel)) & 1 for channel in range(3) for k in range(8)]
    channels = [sum(bit << (7 - k) for k, bit in enumerate(bits[8 * c : 8 * c + 8])) for c in range(3)]
    return [int(value) for value in np.stack(channels, axis=1).ravel()]


def draw(
    folder: Path,
    *,
    seed: int = 0,
    captioned: int = 2500,
    train: int = 1500,
    val: int = 400,
    size: int = 64,
    boundary: bool = False,
    cooc: float = 0.0,
    arms: Sequence[str] = DEFAULT_ARMS,
    unseen: Sequence[int] = UNSEEN,
    progress: bool = True,
) -> None:
    """Draw the whole data set into `folder`, which appears when it is complete and must not exist or be empty.

    captioned, train, val: numbers of scenes; size: pixels of a side; boundary: a rim of 255 around objects as VOC has
    it; cooc: probability that the second object is the first one's fixed partner; arms: caption corpora by name;
    unseen: ids that caption pictures hold back and arms plant.
    Errors: a folder in use, an unknown arm, a split without transfer, numbers out of range, a full disk.
    """
    settings = {"seed": seed, "captioned": captioned, "train": train, "val": val, "size": size, "boundary": boundary,
                "cooc": cooc, "unseen": list(unseen)}  # fmt: skip
    _check(folder, settings)
    dose = max((arm.dose for arm in map(parse_arm, arms) if arm.kind != "clean"), default=0.0)
    pool = caption_pool(seed, captioned, dose, unseen, size, cooc)
    captions = {name: arm_lines(name, pool) for name in arms}
    with _clear_disk_errors(folder), replacing_folder(folder) as part:
        lists = _write_lists(part, train, val)
        total = train + val + len(pool.plain) + len(pool.planted)
        with tqdm(total=total, desc="drawing scenes", unit="scene", disable=not progress) as bar:
            _write_masked(part, settings, bar)
            _write_pictures(part, pool, bar)
        _write_vectors(part, seed, unseen)
        sums = {name: _write_lines(part / "captions" / f"{name}.jsonl", lines) for name, lines in captions.items()}
        counts = {name: {**arm_counts(lines, unseen), "sha256": sums[name]} for name, lines in captions.items()}
        write_json(part / "meta.json", _meta(settings, counts, lists))


def _check(folder: Path, settings: dict[str, Any]) -> None:
    check_split(settings["unseen"])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is in use: scenes are drawn into a new or empty folder")
    for name, least in (("seed", 0), ("captioned", 0), ("train", 1), ("val", 1), ("size", MIN_SIZE)):
        if settings[name] < least:
            raise UserError(f"{name} {settings[name]}: expected at least {least}")
    if not 0 <= settings["cooc"] <= 1:
        raise UserError(f"cooc {settings['cooc']}: expected a probability from 0 to 1")


@contextmanager
def _clear_disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"could not draw scenes into {folder}: {error.strerror or error}") from error


def _write_lists(root: Path, train: int, val: int) -> dict[str, str]:
    """VOC's list files; returns the sha256 of each. trainaug is train: nothing is left to augment it with."""
    keys = [f"{i + 1:06d}" for i in range(train + val)]
    lists = {"train": keys[:train], "trainaug": keys[:train], "val": keys[train:], "trainval": keys}
    folder = root / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True)
    for name, rows in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{row}\n" for row in rows), encoding="ascii")
    return {name: hashlib.sha256((folder / f"{name}.txt").read_bytes()).hexdigest() for name in lists}


def _write_masked(root: Path, settings: dict[str, Any], bar: tqdm[Any]) -> None:
    """Pictures and masks of train and val: scenes of all twenty classes, val from a stream of its own."""
    (root / "JPEGImages").mkdir()
    (root / "SegmentationClass").mkdir()
    train, everything, palette = settings["train"], range(1, len(CLASSES) + 1), voc_palette()
    for i in range(train + settings["val"]):
        rng = stream(settings["seed"], *((TRAIN, i) if i < train else (VAL, i - train)))
        scene = compose(rng, everything, settings["size"], settings["cooc"])
        _save_picture(root, f"{i + 1:06d}", scene)
        ids = labels(scene)
        mask = Image.fromarray(rim(ids) if settings["boundary"] else ids, mode="P")
        mask.putpalette(palette)
        mask.save(root / "SegmentationClass" / f"{i + 1:06d}.png")
        bar.update()


def _write_pictures(root: Path, pool: Pool, bar: tqdm[Any]) -> None:
    for picture in (*pool.plain, *pool.planted.values()):
        _save_picture(root, picture.key, picture.scene)
        bar.update()


def _save_picture(root: Path, key: str, scene: Scene) -> None:
    Image.fromarray(paint(scene)).save(root / "JPEGImages" / f"{key}.jpg", quality=QUALITY, subsampling=0)


def _write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> str:
    path.parent.mkdir(exist_ok=True)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8", newline="\n")
    return hashlib.sha256(text.encode()).hexdigest()


def _write_vectors(root: Path, seed: int, unseen: Sequence[int]) -> None:
    (root / "semantics").mkdir()
    for name, rows in semantic_vectors(stream(seed, VECTORS), unseen).items():
        np.save(root / "semantics" / f"{name}.npy", rows, allow_pickle=False)


def _meta(settings: dict[str, Any], arms: dict[str, Any], lists: dict[str, str]) -> dict[str, Any]:
    """`meta.json`: what was drawn, the truth about every arm, and a fingerprint of generator and masked pictures.

    Arms are left out of the fingerprint: another caption corpus beside them changes no picture that is scored.
    """
    pictures = {key: settings[key] for key in ("seed", "train", "val", "size", "boundary", "cooc")}
    facts = json.dumps([GENERATOR, VERSION, pictures, lists], sort_keys=True)
    return {
        "generator": GENERATOR,
        "version": VERSION,
        "fingerprint": hashlib.sha256(facts.encode()).hexdigest()[:12],
        **settings,
        "classes": [{"id": i, **asdict(row)} for i, row in enumerate(CLASSES, start=1)],
        "lists": lists,
        "arms": arms,
    }


def is_drawn(root: Path) -> bool:
    """Whether `root` is a whole folder of drawn scenes (of any version)."""
    try:
        return bool(json.loads((root / "meta.json").read_text(encoding="utf-8"))["generator"] == GENERATOR)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_meta(root: Path) -> dict[str, Any]:
    """`meta.json` of a drawn folder. Errors: not a drawn folder."""
    if not is_drawn(root):
        raise UserError(f"{root} holds no drawn scenes; draw some into a new folder: zsbench data draw DIR")
    meta: dict[str, Any] = json.loads((root / "meta.json").read_text(encoding="utf-8"))
    return meta


def cache_folder() -> Path:
    """Where zsbench keeps what it can make again: `ZSBENCH_CACHE`, else `zsbench` in the user's cache folder."""
    if own := os.environ.get("ZSBENCH_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "zsbench"


def ensure_drawn(seed: int = 0, progress: bool = True) -> Path:
    """The default drawn folder of a seed, drawn into the cache on first use.

    The folder's name holds generator version and seed. Of two processes that draw at once the second finds the place
    taken, throws its own away and uses the first one's: both are the same bytes.
    """
    folder = cache_folder() / f"scenes-v{VERSION}-seed{seed}"
    if not is_drawn(folder):
        try:
            draw(folder, seed=seed, progress=progress)
        except UserError:
            if not is_drawn(folder):
                raise
    return folder
