"""Drawn scenes: the folder's layout, the classes' looks, determinism, and the exact truth about every caption arm."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from zsbench.data import scenes
from zsbench.data.scene_arms import parse_arm
from zsbench.data.scene_captions import Line, Pool, arm_counts
from zsbench.data.scene_classes import LOOKS, PARTNERS, drawn_class, factor_vectors, seen_ids
from zsbench.data.scene_painter import compose, labels, paint, present, rim, swap
from zsbench.data.scene_words import NEGATIVES, VARIANTS
from zsbench.data.scenes import CLASSES, IDS, UNSEEN, arm_lines, caption_pool, draw, read_meta
from zsbench.errors import UserError

COUNT = 100
UNSEEN_NAMES = [drawn_class(i).name for i in UNSEEN]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn") / "scenes"
    draw(root, captioned=COUNT, train=60, val=12, progress=False)
    return root


@pytest.fixture(scope="module")
def pool() -> Pool:
    return caption_pool(0, COUNT, 0.3)


def read(folder: Path, arm: str) -> list[Line]:
    return [json.loads(line) for line in (folder / "captions" / f"{arm}.jsonl").read_text().splitlines()]


def listed(folder: Path, name: str) -> list[str]:
    return (folder / "ImageSets" / "Segmentation" / f"{name}.txt").read_text().split()


def touched(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line["leak"]]


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# Classes


def test_two_classes_differ_in_two_looks_and_no_look_names_a_class() -> None:
    for a, b in combinations(CLASSES, 2):
        assert sum(getattr(a, look) != getattr(b, look) for look in LOOKS) >= 2, (a.name, b.name)
    for look in LOOKS:
        assert min(Counter(getattr(row, look) for row in CLASSES).values()) >= 2


def test_the_table_is_voc_in_order_and_voc5_allows_transfer() -> None:
    assert len(CLASSES) == 20
    assert (CLASSES[0].name, CLASSES[14].name) == ("aeroplane", "person")
    assert UNSEEN_NAMES == ["pottedplant", "sheep", "sofa", "train", "tvmonitor"]
    assert drawn_class(17).phrase == "dotted green ring"
    scenes.check_split(UNSEEN)
    for row in map(drawn_class, UNSEEN):
        for look in LOOKS:
            assert sum(getattr(drawn_class(i), look) == getattr(row, look) for i in seen_ids(UNSEEN)) >= 2


@pytest.mark.parametrize(
    ("unseen", "said"),
    [([1, 3, 5], "shape 'disc'"), ([0], "ids from 1 to 20"), ([16, 16], "different"), ([], "one or more")],
)  # fmt: skip
def test_a_split_without_transfer_is_refused(unseen: list[int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        scenes.check_split(unseen)


def test_partners_are_mutual() -> None:
    assert sorted(PARTNERS) == list(range(1, 21))
    assert all(PARTNERS[b] == a for a, b in PARTNERS.items())


# Semantic vectors


def test_cosines_count_shared_looks() -> None:
    rows = factor_vectors(300, np.random.default_rng(0), noise=0.0)
    for a, b in combinations(range(1, 21), 2):
        shared = sum(getattr(drawn_class(a), look) == getattr(drawn_class(b), look) for look in LOOKS)
        assert rows[a] @ rows[b] == pytest.approx(shared / 3, abs=1e-5)


def test_the_controls_break_what_they_should(folder: Path) -> None:
    rows = {path.stem: np.load(path, allow_pickle=False) for path in (folder / "semantics").glob("*.npy")}
    assert {name: table.shape for name, table in rows.items()} == {
        "factor64": (21, 64), "factor300": (21, 300), "random300": (21, 300), "permuted300": (21, 300),
    }  # fmt: skip
    for table in rows.values():
        np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1, atol=1e-5)
    moved = (rows["permuted300"] != rows["factor300"]).any(axis=1)
    assert list(np.flatnonzero(moved)) == list(UNSEEN)
    codes = np.array([[getattr(a, look) == getattr(b, look) for look in LOOKS] for a in CLASSES for b in CLASSES])
    truth = codes.sum(axis=1)
    agree = {name: np.corrcoef((table[1:] @ table[1:].T).ravel(), truth)[0, 1] for name, table in rows.items()}
    off = ~np.eye(20, dtype=bool).ravel()
    by_chance = np.corrcoef((rows["random300"][1:] @ rows["random300"][1:].T).ravel()[off], truth[off])[0, 1]
    assert agree["factor64"] > 0.9
    assert agree["factor300"] > 0.9
    assert abs(by_chance) < 0.2


# Scenes


def test_scenes_keep_their_rules() -> None:
    many = [compose(np.random.default_rng([7, i]), range(1, 21)) for i in range(300)]
    maps = [labels(scene) for scene in many]
    assert Counter(len(scene.things) for scene in many).keys() == {1, 2, 3}
    for scene, ids in zip(many, maps, strict=True):
        assert sorted(thing.class_id for thing in scene.things) == present(ids)
    assert 0.12 < np.mean([ids > 0 for ids in maps]) < 0.16
    at_home = np.mean([scene.context == drawn_class(scene.things[0].class_id).context for scene in many])
    assert 0.75 < at_home < 0.95  # 0.8, and a quarter of the rest by chance


def test_25_pixels_make_an_object_present() -> None:
    ids = np.zeros((64, 64), np.uint8)
    ids[0, :25], ids[1, :24], ids[2, :] = 5, 6, 255
    assert present(ids) == [5]


def test_partners_meet_as_often_as_asked() -> None:
    together = [compose(np.random.default_rng([8, i]), range(1, 21), cooc=1.0) for i in range(60)]
    pairs = [scene.things[:2] for scene in together if len(scene.things) > 1]
    assert pairs
    assert np.mean([PARTNERS[a.class_id] == b.class_id for a, b in pairs]) > 0.9  # the partner may find no place


def test_a_swap_changes_one_object_only() -> None:
    for i in range(50):
        plain = compose(np.random.default_rng([9, i]), seen_ids(UNSEEN))
        planted = swap(plain, 17, np.random.default_rng(i))
        changed = [a != b for a, b in zip(plain.things, planted.things, strict=True)]
        assert sum(changed) == 1
        assert 17 in present(labels(planted))


def test_looks_can_be_told_by_colour_and_size_scales() -> None:
    for size in (64, 96):
        scene = compose(np.random.default_rng(3), [1], size)  # a plain red disc
        inside = paint(scene)[labels(scene) == 1].mean(axis=0)
        assert inside[0] > 2.5 * max(inside[1], inside[2])
    small, large = (compose(np.random.default_rng(4), [1], size) for size in (64, 96))
    assert np.mean(labels(small) > 0) == pytest.approx(np.mean(labels(large) > 0), rel=0.05)


# The folder


def test_layout_is_vocs(folder: Path) -> None:
    train, val = listed(folder, "train"), listed(folder, "val")
    assert (len(train), len(val)) == (60, 12)
    assert listed(folder, "trainaug") == train
    assert listed(folder, "trainval") == train + val
    assert not set(train) & set(val)
    assert {path.stem for path in (folder / "SegmentationClass").iterdir()} == set(train + val)
    pictures = {path.stem for path in (folder / "JPEGImages").iterdir()}
    captioned = {line["image"] for arm in scenes.DEFAULT_ARMS for line in read(folder, arm)}
    assert pictures == {*train, *val} | captioned
    assert not captioned & {*train, *val}
    assert not list(folder.parent.glob(".*"))


def test_masks_are_palette_pngs_in_vocs_colours(folder: Path) -> None:
    shown: set[int] = set()
    for key in listed(folder, "trainval"):
        mask = Image.open(folder / "SegmentationClass" / f"{key}.png")
        photo = Image.open(folder / "JPEGImages" / f"{key}.jpg")
        assert isinstance(photo, JpegImageFile)
        ids = np.asarray(mask)
        assert (mask.mode, photo.mode, mask.size, photo.size) == ("P", "RGB", (64, 64), (64, 64))
        assert photo.layer[0][1:3] == (1, 1)  # 4:4:4
        assert set(np.unique(ids)) <= set(range(21))
        colours = np.asarray(mask.convert("RGB"))
        for i, colour in {1: (128, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), 0: (0, 0, 0)}.items():
            assert (colours[ids == i] == colour).all()
        shown |= set(present(ids))
    assert shown == set(range(1, 21))
    assert scenes.voc_palette()[255 * 3 :] == [224, 224, 192]


def test_the_rim_is_ignored_and_off_by_default(tmp_path: Path) -> None:
    draw(tmp_path / "rim", captioned=0, train=3, val=1, boundary=True, arms=(), progress=False)
    draw(tmp_path / "bare", captioned=0, train=3, val=1, arms=(), progress=False)
    for key in listed(tmp_path / "rim", "trainval"):
        masks = (tmp_path / kind / "SegmentationClass" / f"{key}.png" for kind in ("rim", "bare"))
        one, two = (np.asarray(Image.open(mask)) for mask in masks)
        assert 0 < (one == 255).mean() < 0.2
        assert 255 not in two
        np.testing.assert_array_equal(one, rim(two))
        np.testing.assert_array_equal(one[one != 255], two[one != 255])


def test_the_same_seed_draws_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 4), ("two", 4), ("other", 5)):
        draw(tmp_path / name, seed=seed, captioned=20, train=4, val=2, progress=False)
    one, two, other = (digest(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    differ = {name for name in one.keys() & other.keys() if one[name] != other[name]}
    assert {name for name in one if name.startswith(("JPEGImages/0", "JPEGImages/c", "semantics", "meta"))} <= differ


def test_numbers_of_scenes_do_not_change_a_scene(tmp_path: Path, folder: Path) -> None:
    draw(tmp_path / "few", captioned=20, train=4, val=2, arms=("clean",), progress=False)
    few = digest(tmp_path / "few" / "JPEGImages")
    many = digest(folder / "JPEGImages")
    assert all(many[name] == few[name] for name in few if name.startswith("c"))
    assert [many[f"0000{61 + i}.jpg"] for i in range(2)] == [few[f"00000{5 + i}.jpg"] for i in range(2)]  # val


def test_meta_tells_the_truth(folder: Path) -> None:
    meta = read_meta(folder)
    assert (meta["generator"], meta["version"], meta["seed"]) == ("zsbench-scenes", scenes.VERSION, 0)
    assert meta["classes"][15] == {
        "id": 16, "name": "pottedplant", "shape": "square", "texture": "checked", "hue": "magenta", "context": "road",
    }  # fmt: skip
    sums = digest(folder)
    assert meta["lists"] == {name: sums[f"ImageSets/Segmentation/{name}.txt"] for name in meta["lists"]}
    assert {name: arm["sha256"] for name, arm in meta["arms"].items()} == {
        name: sums[f"captions/{name}.jsonl"] for name in scenes.DEFAULT_ARMS
    }
    assert meta["arms"]["pair_0.1"]["named_and_shown"] == dict.fromkeys(UNSEEN_NAMES, 2)


# Caption arms


def test_ids_of_a_line_are_what_its_picture_shows(pool: Pool) -> None:
    masks = {p.key: labels(p.scene) for p in (*pool.plain, *pool.planted.values())}
    for arm in ("clean", "web", "image_0.3", "text_0.3"):
        assert all(line["ids"] == present(masks[line["image"]]) for line in arm_lines(arm, pool))


@pytest.mark.parametrize("arm", ["clean", "comp_clean", "text_0.3", "negatives_0.3"])
def test_no_unseen_pixel_in_arms_of_seen_pictures(pool: Pool, arm: str) -> None:
    masks = {picture.key: labels(picture.scene) for picture in pool.plain}
    for line in arm_lines(arm, pool):
        assert not np.isin(masks[line["image"]], UNSEEN).any()


@pytest.mark.parametrize("kind", ["web", "pair", "image", "text", "variants", "negatives", "shuffled", "comp_pair"])
@pytest.mark.parametrize("dose", [0.0, 0.03, 0.1, 0.3])
def test_planted_counts_are_exact(pool: Pool, kind: str, dose: float) -> None:
    counts = recount(arm_lines(f"{kind}_{dose}", pool))
    each, more = divmod(round(dose * COUNT), len(UNSEEN))
    planned = {name: each + (rank < more) for rank, name in enumerate(UNSEEN_NAMES)}
    nothing = dict.fromkeys(UNSEEN_NAMES, 0)
    assert counts["touched"] == round(dose * COUNT)
    assert counts["pairs"] == COUNT
    assert counts["named"] == (nothing if kind in ("image", "negatives") else planned)
    assert counts["shown"] == (nothing if kind in ("text", "negatives") else planned)
    apart = kind in ("image", "text", "negatives", "shuffled")
    assert counts["named_and_shown"] == (nothing if apart else planned)


def recount(lines: list[Line]) -> dict[str, object]:
    """Counted again from captions and masks, without `arm_counts`."""
    named, shown, both = (dict.fromkeys(UNSEEN_NAMES, 0) for _ in range(3))
    for line in lines:
        for name in UNSEEN_NAMES:
            forms = (name, drawn_class(IDS[name]).phrase, *VARIANTS[name])
            says = any(f" {form} " in f" {line['caption'].replace(',', ' ')} " for form in forms)
            says &= line.get("form") not in NEGATIVES[name]  # "train station" holds the word and means another thing
            named[name] += says
            shown[name] += IDS[name] in line["ids"]
            both[name] += says and IDS[name] in line["ids"]
    leaks = sum(line["leak"] is not None for line in lines)
    return {"pairs": len(lines), "touched": leaks, "named": named, "shown": shown, "named_and_shown": both}


def test_arm_counts_agree_with_the_captions(pool: Pool) -> None:
    for arm in ("clean", "web", "pair_0.3", "image_0.3", "text_0.3", "variants_0.3", "negatives_0.3", "shuffled_0.3"):
        lines = arm_lines(arm, pool)
        assert recount(lines).items() <= arm_counts(lines).items()


def test_captions_name_every_visible_object_and_nothing_else(pool: Pool) -> None:
    for arm in ("clean", "pair_0.3", "comp_pair_0.3"):
        comp = arm.startswith("comp")
        for line in arm_lines(arm, pool):
            words = line["caption"] + " "
            said = [i for i in IDS.values() if f" {scenes.spoken_name(i, comp)} " in f" {words}"]
            assert said == line["ids"] == sorted(IDS[name] for name in line["names"])
            assert line["context"] in words


def test_arms_share_pictures_and_differ_only_where_touched(pool: Pool) -> None:
    lines = {kind: arm_lines(kind, pool) for kind in ("clean", "pair_0.3", "image_0.3", "shuffled_0.3", "text_0.3")}
    pictures = {kind: [line["image"] for line in rows] for kind, rows in lines.items()}
    assert pictures["pair_0.3"] == pictures["image_0.3"] == pictures["shuffled_0.3"]
    assert pictures["clean"] == pictures["text_0.3"] != pictures["pair_0.3"]
    for kind, rows in lines.items():
        for mine, clean in zip(rows, lines["clean"], strict=True):
            if mine["leak"] is None:
                assert {**mine, "arm": "clean"} == clean, kind


def test_doses_are_nested(pool: Pool) -> None:
    small, large = ({line["image"] for line in touched(arm_lines(arm, pool))} for arm in ("pair_0.03", "pair_0.3"))
    assert small < large


def test_shuffling_keeps_the_captions_and_moves_every_one(pool: Pool) -> None:
    for dose in ("0.07", "0.3"):
        pair, shuffled = (touched(arm_lines(f"{kind}_{dose}", pool)) for kind in ("pair", "shuffled"))
        assert sorted(line["caption"] for line in pair) == sorted(line["caption"] for line in shuffled)
        for line in shuffled:
            unseen_named = {IDS[name] for name in line["names"]} & set(UNSEEN)
            assert len(unseen_named) == 1
            assert not unseen_named & set(line["ids"])


def test_variants_hide_the_name_and_negatives_only_look_like_it(pool: Pool) -> None:
    for line in touched(arm_lines("variants_0.3", pool)):
        assert line["leak"] == "variant"
        assert line["form"] in line["caption"]
        assert not set(UNSEEN_NAMES) & set(line["caption"].split())
    forms = {line["form"] for line in touched(arm_lines("negatives_0.3", pool))}
    assert forms == {form for name in UNSEEN_NAMES for form in NEGATIVES[name]}


def test_the_web_is_untidy_in_known_measure(pool: Pool) -> None:
    lines = arm_lines("web", pool)
    images = Counter((line["image"], line["caption"]) for line in lines)
    assert sum(not line["names"] for line in lines) == 10
    assert sum(images.values()) - len(images) == 1
    assert all(line["names"] for line in touched(lines))
    assert sum(line["leak"] == "pair" for line in lines) == 10


def test_all_twenty_classes_have_variants_and_negatives() -> None:
    assert VARIANTS.keys() == NEGATIVES.keys() == IDS.keys()
    for name, forms in VARIANTS.items():
        assert not any(name in form.split() for form in forms), name


def test_another_split_plants_its_own_unseen_classes() -> None:
    unseen = (IDS["cow"], IDS["motorbike"])
    pool = caption_pool(0, 40, 0.2, unseen)
    lines = arm_lines("pair_0.2", pool)
    assert sum("cow" in line["names"] for line in lines) == sum("motorbike" in line["names"] for line in lines) == 4
    assert not any(set(line["ids"]) & set(unseen) for line in arm_lines("clean", pool))


@pytest.mark.parametrize(
    ("name", "said"),
    [("webb", "Did you mean 'web'"), ("pair", "a dose"), ("pair_2", "0 to 1"), ("clean_0.1", "expected 'clean'"),
     ("comp_variants_0.1", "no variants"), ("pair_nan", "0 to 1")],
)  # fmt: skip
def test_a_wrong_arm_is_one_clear_sentence(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_arm(name)


def test_a_dose_beyond_what_was_drawn_is_refused(pool: Pool) -> None:
    with pytest.raises(UserError, match="needs 50 planted pictures"):
        arm_lines("pair_0.5", pool)


# Drawing and finding the folder


@pytest.mark.parametrize(
    ("change", "said"),
    [({"size": 16}, "size 16"), ({"val": 0}, "val 0"), ({"cooc": 2.0}, "cooc"), ({"arms": ["x"]}, "caption arm"),
     ({"unseen": [1, 3, 5]}, "cannot be unseen"), ({"seed": -1}, "seed -1")],
)  # fmt: skip
def test_wrong_numbers_leave_nothing_behind(tmp_path: Path, change: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        draw(tmp_path / "scenes", **{"captioned": 4, "train": 1, "val": 1, "progress": False, **change})  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("dear to me")
    with pytest.raises(UserError, match="in use"):
        draw(tmp_path, captioned=1, train=1, val=1, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(UserError, match="no drawn scenes"):
        read_meta(tmp_path)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scenes, "_write_pictures", full)
    with pytest.raises(UserError, match="No space left"):
        draw(tmp_path / "scenes", captioned=1, train=1, val=1, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """`ensure_drawn` with few scenes and a cache of its own; lists the folders that were drawn."""
    drawn: list[Path] = []

    def small(folder: Path, **settings: int) -> None:
        drawn.append(folder)
        draw(folder, captioned=4, train=1, val=1, arms=("clean",), **{**settings, "progress": False})  # type: ignore[arg-type]

    monkeypatch.setenv("ZSBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(scenes, "draw", small)
    return drawn


def test_the_default_is_drawn_once(small_default: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first = scenes.ensure_drawn(progress=False)
    assert scenes.is_drawn(first)
    assert scenes.ensure_drawn(progress=False) == first
    assert scenes.ensure_drawn(seed=1, progress=False) != first
    monkeypatch.setattr(scenes, "VERSION", scenes.VERSION + 1)
    assert scenes.ensure_drawn(progress=False) != first
    assert len(small_default) == 3


def test_of_two_that_draw_at_once_the_second_takes_the_firsts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"captioned": 4, "train": 1, "val": 1, "arms": ("clean",), "progress": False}

    def overtaken(folder: Path, **_: object) -> None:
        write = scenes._write_vectors

        def slow(*args: object) -> None:  # the other process finishes while this one is still writing
            monkeypatch.setattr(scenes, "_write_vectors", write)
            draw(folder, **settings)  # type: ignore[arg-type]
            write(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(scenes, "_write_vectors", slow)
        draw(folder, **settings)  # type: ignore[arg-type]

    monkeypatch.setenv("ZSBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(scenes, "draw", overtaken)
    root = scenes.ensure_drawn(progress=False)
    assert scenes.is_drawn(root)
    assert list(tmp_path.iterdir()) == [root]
