"""The page stays small: pictures share one room, whatever they show and however many there are."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from records import record, write_run
from zsbench.reports.common_pictures import MOST as MOST_BESIDE
from zsbench.reports.groups import Group
from zsbench.reports.page import write_report
from zsbench.reports.pictures import PAGE_ROOM, Card, gallery, room_for
from zsbench.reports.read import Run, read_runs

from zsbench.gallery import PALETTE, paint

MOST = 8_000_000  # bytes of the page
EACH = 24  # pictures per run
SIZE = (375, 500)


def photo(seed: int) -> Image.Image:
    """Structure at every scale and a camera's noise: harder to pack than most photographs."""
    noise = np.random.default_rng(seed)
    found = np.full((*SIZE, 3), 128.0)
    for cells in (3, 9, 27, 81, 243):
        coarse = Image.fromarray(noise.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        fine = np.asarray(coarse.resize(SIZE[::-1], Image.Resampling.BICUBIC), np.float64)
        found += (fine - 128) * (0.5 if cells == 3 else 0.22)
    return Image.fromarray((found + noise.normal(0, 6, found.shape)).clip(0, 255).astype(np.uint8))


def labels(seed: int, alpha: int) -> Image.Image:
    """Regions with ragged rims and a hole, as a method leaves them."""
    noise = np.random.default_rng(seed)
    rough = Image.fromarray(noise.integers(0, 256, (12, 16), dtype=np.uint8)).resize(
        SIZE[::-1], Image.Resampling.BICUBIC
    )
    ids = (np.asarray(rough, np.float64) + noise.normal(0, 0.7, SIZE)).clip(0, 255).astype(np.int64) // 52
    opacity = np.full(SIZE, alpha)
    opacity[200:260, 100:300] = 0
    return Image.fromarray(paint(ids, opacity))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("files")
    for place in range(EACH):
        photo(place).save(home / f"{place:02d}-photo.png", compress_level=1)
        labels(place, 255).save(home / f"{place:02d}-truth.png", compress_level=1)
        labels(100 + place, 96).save(home / f"{place:02d}-prediction.png", compress_level=1)
    return home


def illustrate(folder: Path, files: Path, seed: int, names: list[str]) -> None:
    """Gives a run 24 pictures, chosen as a run chooses: worst, median, best; they are links to the same few files."""
    colours = {name: "#{:02x}{:02x}{:02x}".format(*PALETTE[place + 1]) for place, name in enumerate(names)}
    found: list[dict[str, Any]] = []
    for place in range(EACH):
        mine = {}
        for layer in ("photo", "truth", "prediction"):
            other = (place + seed) % EACH if layer == "prediction" else place
            mine[layer] = f"pictures/{place:02d}-{layer}.png"
            (folder / mine[layer]).unlink(missing_ok=True)
            os.link(files / f"{other:02d}-{layer}.png", folder / mine[layer])
        rule = ("worst", "median", "best")[place // 8]
        found.append({"key": f"{place:06d}", "rule": rule, "score": place / EACH, "colours": colours,
                      "labels": {"truth": names, "prediction": names}} | mine)  # fmt: skip
    made = json.loads((folder / "record.json").read_text())
    made["files"]["pictures"] = found
    (folder / "record.json").write_text(json.dumps(made))


@pytest.fixture(scope="module")
def runs(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 methods × 3 seeds × 24 pictures, with everything else a run has."""
    home = tmp_path_factory.mktemp("runs")
    names = record(kind="real")["split"]["unseen"]
    for method in range(8):
        for seed in range(3):
            folder = write_run(home, method=f"method{method}", title=f"Method {method}", seed=seed, kind="real",
                               corpus="coco-mini", level=0.1 + 0.08 * method, rounds=2, gamma=0.3, pictures=0)  # fmt: skip
            illustrate(folder, files, 3 * method + seed, names)
    return home


def packed(cards: list[Card]) -> list[int]:
    return [sum(len(tile.url or "") for tile in (card.photo, card.truth, card.prediction)) for card in cards]


def test_the_photos_of_this_test_are_hard_to_pack() -> None:
    out = io.BytesIO()
    photo(0).resize((320, 240)).save(out, "webp", quality=82)
    assert out.tell() > 20_000, "real photographs of this size take 10 to 20 KB"


def test_eight_methods_three_seeds_and_24_pictures_make_a_small_page(runs: Path, tmp_path: Path) -> None:
    first = write_report([runs], tmp_path / "one")
    assert first.runs == 24 and first.page.stat().st_size < MOST
    text = first.page.read_text()
    urls = re.findall(r'src="(data:image/[^"]+)"', text)
    beside = text.count('class="tiles same"')
    assert beside == MOST_BESIDE, "all methods show the same images here"
    assert len(urls) == 8 * EACH * 3 + beside * (2 + 8), "one run of each method, with all of its pictures"
    assert sum(map(len, urls)) <= PAGE_ROOM
    photos = [url for url in urls if url.startswith("data:image/webp")]
    assert min(max(opened(url).size) for url in photos) >= 160, "small, and still to be seen"


def test_few_pictures_keep_their_quality_and_many_share(runs: Path) -> None:
    groups = [Group((run,)) for run in read_runs([runs])[0]]
    alone = gallery(groups[0])[1]
    assert max(max(card.shape) for card in alone) == 320
    room = room_for(groups)
    assert (room.cards, room.each) == (EACH, PAGE_ROOM // (24 * EACH))
    shared = gallery(groups[0], room)[1]
    assert [card.key for card in shared] == [card.key for card in alone]
    assert max(packed(shared)) <= room.each < min(packed(alone))
    for card in shared:
        photo, truth, guess = (opened(tile.url) for tile in (card.photo, card.truth, card.prediction))
        assert photo.size == truth.size == guess.size == card.shape, "labels lie over the photo"


def test_too_many_pictures_are_fewer_of_every_rule(runs: Path) -> None:
    run = read_runs([runs])[0][0]
    room = room_for([Group((run,))] * 120)
    assert 3 <= room.cards < EACH
    cards = gallery(Group((run,)), room)[1]
    assert len(cards) == room.cards and sum(packed(cards)) * 120 <= PAGE_ROOM * 1.5
    assert [card.rule for card in cards] == sorted((c.rule for c in cards), key=["worst", "median", "best"].index)
    of = [sum(card.rule == rule for card in cards) for rule in ("worst", "median", "best")]
    assert max(of) - min(of) <= 1
    scores = [card.score for card in cards]
    assert scores[0] == 0 and scores == sorted(scores), "the worst of all is kept and comes first"


def test_images_side_by_side_take_their_share_and_are_fewer_where_room_is_scarce(runs: Path) -> None:
    groups = [Group((run,)) for run in read_runs([runs])[0][:8]]
    alone, six = room_for(groups), room_for(groups, [[10] * 6])
    assert (alone.images, six.images, six.cards) == (0, 6, EACH)
    assert six.each == PAGE_ROOM // (8 * EACH + 20) and six.of(3) == six.each, "60 pictures are 20 cards' worth"
    assert 8 * EACH * six.each + 6 * six.of(10) <= PAGE_ROOM
    many = room_for(groups, [[26] * 6] * 40)
    assert 1 <= many.images < 6 and many.cards == EACH
    assert 8 * EACH * many.each + 40 * many.images * many.of(26) <= PAGE_ROOM


def test_no_pictures_need_no_room(tmp_path: Path) -> None:
    made = record()
    made["files"]["pictures"] = []
    group = Group((Run(tmp_path, "x", made),))
    assert room_for([]).each == room_for([group]).each == PAGE_ROOM and gallery(group, room_for([group])) == (None, [])


def test_label_maps_are_packed_without_changing_a_pixel(runs: Path) -> None:
    run = read_runs([runs])[0][0]
    card = gallery(Group((run,)))[1][3]
    hues = {bytes.fromhex(colour[1:]) for _, colour in card.legend}
    for layer, tile in (("truth", card.truth), ("prediction", card.prediction)):
        shown = opened(tile.url)
        assert shown.mode == "P" and "transparency" in shown.info
        pixels = np.asarray(shown.convert("RGBA"))
        with Image.open(run.folder / f"pictures/03-{layer}.png") as image:
            before = np.asarray(image.resize(shown.size, Image.Resampling.NEAREST))
        assert (pixels[..., 3] == before[..., 3]).all(), "opacity stays"
        clear = pixels[..., 3] == 0
        assert clear.any() and {bytes(pixel) for pixel in pixels[~clear][:, :3]} <= hues
        pairs = {(bytes(a), bytes(b)) for a, b in zip(before[~clear][:, :3], pixels[~clear][:, :3], strict=True)}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}), "one colour for one colour"


def opened(url: str | None) -> Image.Image:
    assert url is not None
    return Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1])))
