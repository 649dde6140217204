"""The audit by looks: planted copies of photographs are found, unrelated and flat pictures are not, broken ones are named."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageOps

from zsbench.cli import main
from zsbench.errors import UserError
from zsbench.overlap import looking
from zsbench.overlap.audit import Audit, audit
from zsbench.overlap.files import sheet
from zsbench.overlap.looking import look_at_all
from zsbench.overlap.looks import Look, look_at
from zsbench.overlap.near import BITS, Stack, matches, unlike
from zsbench.overlap.opening import open_lists
from zsbench.overlap.sources import photo_of

DICE = np.random.default_rng(7)


def picture(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    """(H, W, 3) uint8: soft random blobs, as rich in low waves as a photograph."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def save(file: Path, pixels: np.ndarray, **how: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **how)
    return file


def audited(*arguments: Path | str, **how: Any) -> Audit:
    return audit(open_lists([str(argument) for argument in arguments]), jobs=2, **how)


def seen(result: Audit) -> set[tuple[str, str, str]]:
    """(how, name, name) of all pairs found by looks between two lists."""
    return {(p.how, one.a.names[p.a], one.b.names[p.b]) for one in result.across for p in one.seen}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", "overlap", *map(str, arguments)])


def hamming(a: bytes, b: bytes) -> int:
    return bin(int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).count("1")


# ---- hashes in blocks against hashes one by one


def test_blocks_find_what_a_loop_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zsbench.overlap.near.ROWS", 7)
    monkeypatch.setattr("zsbench.overlap.near.COLUMNS", 11)
    monkeypatch.setattr("zsbench.overlap.near.SECOND", 3)
    base = DICE.bytes(8)

    def near(bits: int) -> Look:
        """Some of the bits of one hash turned over; the grey copy alike for all."""
        turned = np.zeros(BITS, np.uint8)
        turned[DICE.choice(BITS, bits, replace=False)] = 1
        hash_ = bytes(a ^ b for a, b in zip(base, np.packbits(turned).tobytes(), strict=True))
        return Look(DICE.bytes(32), hash_, DICE.bytes(8), bytes(range(256)) * 4)

    looks = [near(int(bits)) for bits in DICE.integers(0, 20, 60)]
    expected = {
        (i, j): hamming(a.hash, b.hash)
        for i, a in enumerate(looks)
        for j, b in enumerate(looks)
        if i < j and hamming(a.hash, b.hash) <= 10
    }
    found = {(m.a, m.b): m.distance for m in matches(Stack.of(looks)) if not m.mirrored}
    assert found == expected and len(expected) > 50
    both = {(m.a, m.b): m.distance for m in matches(Stack.of(looks), Stack.of(looks)) if not m.mirrored}
    assert both.keys() == {*expected, *((j, i) for i, j in expected), *((i, i) for i in range(60))}
    assert len(list(matches(Stack.of(looks), most=5))) == 5


def test_the_hash_is_that_of_imagehash_and_mirrored_is_that_of_the_mirror_image() -> None:
    import imagehash

    pixels = picture(1, 300, 400)
    look = look_at(pixels)
    assert look.hash.hex() == str(imagehash.phash(Image.fromarray(pixels)))
    assert hamming(look.mirrored, look_at(np.ascontiguousarray(pixels[:, ::-1])).hash) <= 2


# ---- planted copies

EDITS = {
    "recoded": lambda image, file: image.save(file, quality=50),
    "halved": lambda image, file: image.resize((image.width // 2, image.height // 2)).save(file, quality=85),
    "cut": lambda image, file: image.crop((2, 2, image.width - 2, image.height - 2)).save(file, quality=90),
    "flipped": lambda image, file: ImageOps.mirror(image).save(file, quality=90),
}


def test_planted_copies_of_real_photographs_are_found_and_no_unrelated_pair(tmp_path: Path, real_data: Path) -> None:
    photos = sorted((real_data / "voc-real-small").rglob("JPEGImages/*.jpg"))[:40]
    others = sorted((real_data / "coco-mini").rglob("train2017/*.jpg"))[:40]
    for number, file in enumerate(others):
        (tmp_path / "pool" / f"{number:06}.jpg").parent.mkdir(exist_ok=True)
        (tmp_path / "pool" / f"{number:06}.jpg").write_bytes(file.read_bytes())
    planted = {}
    for number, file in enumerate(photos[:12]):
        edit = list(EDITS)[number % 4]
        EDITS[edit](Image.open(file).convert("RGB"), tmp_path / "pool" / f"planted{number}.jpg")
        planted[f"planted{number}.jpg"] = file.name, "mirrored" if edit == "flipped" else "near"
    (tmp_path / "pool/same.jpg").write_bytes(photos[20].read_bytes())  # renamed
    save(tmp_path / "pool/lossless.png", np.asarray(Image.open(photos[21]).convert("RGB")))
    planted |= {"same.jpg": (photos[20].name, "exact"), "lossless.png": (photos[21].name, "exact")}
    for file in photos:
        (tmp_path / "voc" / file.name).parent.mkdir(exist_ok=True)
        (tmp_path / "voc" / file.name).symlink_to(file)
    found = seen(audited(tmp_path / "pool", tmp_path / "voc"))
    assert found == {(how, name, original) for name, (original, how) in planted.items()}


def test_a_copy_in_the_training_folder_is_a_fault(tmp_path: Path) -> None:
    for seed in range(6):
        save(tmp_path / f"set/train/a{seed}.jpg", picture(seed))
        save(tmp_path / f"set/val/b{seed}.jpg", picture(100 + seed))
    save(tmp_path / "set/train/copy.jpg", picture(102), quality=50)
    result = run(tmp_path / "set", "--fail-over", "0")
    assert result.exit_code == 3 and "1 of 6 images of set:val (16.7 %) are in set:train (b2)" in result.output
    assert run(tmp_path / "set", "--fail-over", "0", "--no-hashes").exit_code == 0


def test_doubles_within_one_list_are_found(tmp_path: Path) -> None:
    for seed in range(5):
        save(tmp_path / f"{seed}.png", picture(seed))
    save(tmp_path / "again.png", picture(3))
    save(tmp_path / "small.png", picture(3, 60, 80))
    result = audited(tmp_path)
    (within,) = result.within
    found = {(pair.how, within.a.names[pair.a], within.a.names[pair.b]) for pair in within.seen}
    assert found == {
        ("exact", "3.png", "again.png"),
        ("near", "3.png", "small.png"),
        ("near", "again.png", "small.png"),
    }
    assert within.found == (3, 3)


def test_photographs_of_lists_are_found_by_name_in_folders_given(tmp_path: Path) -> None:
    save(tmp_path / "photos/a.jpg", picture(1))
    save(tmp_path / "photos/b.jpg", picture(1), quality=50)
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"{name}\n../../etc/passwd\n")
    result = run(tmp_path / "a.txt", tmp_path / "b.txt", "--images", tmp_path / "photos")
    assert "a is b" in result.output and "looked at 2 photographs" in result.output


# ---- pictures that say little


def flat_pictures(folder: Path) -> None:
    ramp = np.linspace(0, 255, 160).astype(np.uint8)
    for shade in range(20):
        save(folder / f"flat{shade}.png", np.full((120, 160, 3), 10 * shade, np.uint8))
        save(folder / f"ramp{shade}.png", np.repeat((ramp // 2 + shade)[None, :, None], 120, 0).repeat(3, 2))
        noise = np.random.default_rng(shade).integers(-1, 2, (120, 160, 3))
        save(folder / f"noise{shade}.png", (100 + noise).astype(np.uint8))


def test_flat_pictures_match_by_exact_pixels_only(tmp_path: Path) -> None:
    flat_pictures(tmp_path / "one")
    save(tmp_path / "two/again.png", np.full((120, 160, 3), 50, np.uint8))
    save(tmp_path / "two/nearly.png", np.full((120, 160, 3), 51, np.uint8))
    result = audited(tmp_path / "one", tmp_path / "two")
    assert seen(result) == {("exact", "flat5.png", "again.png")} and not result.within[0].seen
    assert result.looked is not None and all(look.flat for look in result.looked.looks.values())
    assert "62 are flat" in run(tmp_path / "one", tmp_path / "two").output


def test_drawn_scenes_are_not_taken_for_each_other(scenes: Path) -> None:
    result = audited(scenes)
    assert not any(one.fault and one.fault[0] for one in result.across)
    assert sum(len(one.seen) for one in (*result.within, *result.across)) == 0


# ---- equal names, other pictures


def test_a_number_that_shows_another_picture_is_no_shared_image(tmp_path: Path) -> None:
    for seed in range(8):
        save(tmp_path / f"train/{seed:04}.jpg", picture(seed))
        save(tmp_path / f"val/{seed:04}.jpg", picture(100 + seed if seed < 6 else seed), quality=60)
    result = audited(tmp_path / "train", tmp_path / "val")
    (one,) = result.across
    assert len(one.named) == 8 and len(one.others) == 6 and one.found == (2, 2) and one.fault == (2, 8)
    said = run(tmp_path / "train", tmp_path / "val").output
    assert (
        "6 equal names show different pictures (0000.jpg, 0001.jpg, 0002.jpg and 3 more), which are not counted" in said
    )


def test_a_coco_name_is_believed_against_the_picture(tmp_path: Path) -> None:
    for place, seed in (("train", 1), ("val", 2)):
        save(tmp_path / place / "000000000139.jpg", picture(seed))
    (one,) = audited(tmp_path / "train", tmp_path / "val").across
    assert len(one.others) == 1 and one.found == (1, 1)


def test_unlike_is_said_of_unrelated_and_never_of_edited_photographs() -> None:
    looks = [look_at(picture(seed)) for seed in range(40)]
    small = [look_at(picture(seed, 60, 80)) for seed in range(40)]
    assert not unlike(Stack.of(looks), Stack.of(small)).any()
    assert unlike(Stack.of(looks), Stack.of(looks[1:] + looks[:1])).mean() > 0.9


# ---- what cannot be read, and the cache


def test_broken_and_malicious_pictures_are_named_and_passed_over(tmp_path: Path) -> None:
    good = save(tmp_path / "set/good.jpg", picture(1))
    (tmp_path / "set/cut.jpg").write_bytes(good.read_bytes()[:300])
    (tmp_path / "set/text.png").write_text("no picture")
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (2**30).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    (tmp_path / "set/bomb.png").write_bytes(bomb + b"\0" * 32)
    (tmp_path / "set/gone.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "set/pipe.jpg")
    result = audited(tmp_path / "set")
    assert result.looked is not None
    assert {Path(place).name for place in result.looked.faults} == {
        "cut.jpg",
        "text.png",
        "bomb.png",
        "gone.jpg",
        "pipe.jpg",
    }
    assert all(place in said for place, said in result.looked.faults.items())
    shown = run(tmp_path / "set")
    assert shown.exit_code == 1 and "5 could not be looked at and were compared by name only" in shown.output


def test_a_killed_audit_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [photo_of(save(tmp_path / f"{seed}.jpg", picture(seed))) for seed in range(12)]
    cache, real, decoded = tmp_path / "out/looks.sqlite", looking.look_at, []

    def until_killed(pixels: np.ndarray) -> Look:
        decoded.append(1)
        if len(decoded) == 7:
            raise KeyboardInterrupt
        return real(pixels)

    monkeypatch.setattr(looking, "look_at", until_killed)
    with pytest.raises(KeyboardInterrupt):
        look_at_all(photos, cache, jobs=1)
    again = look_at_all(photos, cache, jobs=1)
    assert again.cached == 6 and len(again.looks) == 12
    monkeypatch.setattr(looking, "look_at", real)
    fresh = look_at_all(photos)
    assert {place: vars(look) for place, look in again.looks.items()} == {
        place: vars(look) for place, look in fresh.looks.items()
    }


def test_the_cache_minds_changed_files_and_refuses_what_is_none(tmp_path: Path) -> None:
    file, cache = save(tmp_path / "a.jpg", picture(1)), tmp_path / "looks.sqlite"
    before = look_at_all([photo_of(file)], cache).looks[str(file)]
    save(file, picture(2))
    os.utime(file, ns=(1, 1))
    after = look_at_all([photo_of(file)], cache)
    assert after.cached == 0 and after.looks[str(file)].digest != before.digest
    with sqlite3.connect(cache) as store:
        store.execute("update looks set grey = x'00'")
    assert look_at_all([photo_of(file)], cache).cached == 0  # a row of another size is no look
    cache.write_bytes(b"not a database, but long enough to be one" * 100)
    with pytest.raises(UserError, match="cannot be used as a cache of looks"):
        look_at_all([photo_of(file)], cache)


# ---- the page


def test_the_page_shows_pairs_side_by_side_and_escapes_names(tmp_path: Path) -> None:
    save(tmp_path / "one/<script>alert(1)<&.png", picture(1))
    save(tmp_path / "two/b.png", picture(1))
    page = sheet(audited(tmp_path / "one", tmp_path / "two"))
    assert "<script" not in page and "&lt;script&gt;" in page and page.count("data:image/jpeg;base64,") == 2
    assert not re.search(r"https?:|src=\"(?!data:)|href", page)


def test_out_holds_the_page_and_the_report(tmp_path: Path) -> None:
    for name in ("one/a.png", "two/b.png"):
        save(tmp_path / name, picture(1))
    assert run(tmp_path / "one", tmp_path / "two", "--out", tmp_path / "out").exit_code == 0
    report = json.loads((tmp_path / "out/overlap.json").read_text())
    assert report["pairs"][0]["alike"] == {"exact": 1, "near": 0, "mirrored": 0}
    assert (tmp_path / "out/pairs.html").is_file() and (tmp_path / "out/looks.sqlite").is_file()
