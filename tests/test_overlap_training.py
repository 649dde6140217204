"""A run whose training images are test images is refused: by every route a method can get images through."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zsbench.data.caption_stores import StreamedCaptions
from zsbench.data.captions import open_captions
from zsbench.data.opening import open_dataset
from zsbench.data.view import guarded_view
from zsbench.data.voc import VocDataset
from zsbench.errors import UserError
from zsbench.overlap.training import captioned, refuse_captioned, shared_images
from zsbench.split import load_split
from zsbench.supervision import Supervision

DECLARED = {
    "masks": Supervision(masks="seen"),
    "layout": Supervision(masks="seen", layout="unseen"),
    "a pool without labels": Supervision(unlabelled="train"),
    "captions alone": Supervision(captions=True),
    "nothing": Supervision(),
}


def leaky(dataset: VocDataset, part: str, count: int = 3) -> VocDataset:
    """The data set with some validation images in its one training list."""
    return replace(
        dataset, parts={"val": dataset.parts["val"], part: (*dataset.parts["train"], *dataset.parts["val"][:count])}
    )


# ---- training lists


@pytest.mark.parametrize("part", ["train", "trainaug"])
def test_a_folder_whose_lists_meet_is_not_opened(tmp_path: Path, scenes: Path, part: str) -> None:
    for place in ("JPEGImages", "SegmentationClass"):
        (tmp_path / place).symlink_to(scenes / place)
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for name in ("train", "val"):
        (lists / f"{name}.txt").write_text((scenes / f"ImageSets/Segmentation/{name}.txt").read_text())
    open_dataset(tmp_path)
    (lists / f"{part}.txt").write_text("\n".join((lists / "val.txt").read_text().split()[:5]))
    with pytest.raises(UserError, match=f"{part} and val share 5 images"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("declared", DECLARED)
def test_no_method_gets_a_view_of_lists_that_meet(dataset: VocDataset, scenes: Path, declared: str) -> None:
    captions = open_captions("web", drawn_root=scenes)
    guarded_view(load_split("voc5"), dataset, DECLARED[declared], captions)
    for part in ("train", "trainaug"):
        with pytest.raises(UserError, match="3 training images are validation images too"):
            guarded_view(load_split("voc5"), leaky(dataset, part), DECLARED[declared], captions)


def test_shared_images_are_told_per_pair_of_parts(dataset: VocDataset) -> None:
    assert shared_images(dataset) == {}
    assert shared_images(leaky(dataset, "trainaug")) == {("trainaug", "val"): dataset.parts["val"][:3]}
    coco = replace(dataset, parts={"train": ("COCO_train2014_000000000077", "img_1"), "val": ("000000000077", "IMG_1")})
    assert shared_images(coco) == {("train", "val"): ("000000000077",)}  # img_1 and IMG_1 can be two files


# ---- captions


def captions_of(folder: Path, names: dict[str, str], images: Path) -> Path:
    rows = [json.dumps({"image": name, "caption": caption}) for name, caption in names.items()]
    (folder / "mine.jsonl").write_text("\n".join(rows))
    return folder / "mine.jsonl"


def test_no_drawn_corpus_shows_a_test_scene(scenes: Path, dataset: VocDataset) -> None:
    for arm in ("web", "clean"):
        refuse_captioned(open_captions(arm, drawn_root=scenes), dataset)


def test_captions_of_test_images_by_the_same_file_are_refused(
    tmp_path: Path, scenes: Path, dataset: VocDataset
) -> None:
    val, train = dataset.keys("val"), dataset.keys("train")
    names = {f"{key}.jpg": "a caption" for key in (*train[:5], *val[:2])}
    captions = open_captions(str(captions_of(tmp_path, names, scenes)), images=scenes / "JPEGImages")
    assert captioned(captions, dataset) == tuple(val[:2])  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"mine\.jsonl has captions of 2 images of the val list .* Take them out"):
        refuse_captioned(captions, dataset)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_captions_of_copies_of_test_images_are_refused(
    tmp_path: Path, scenes: Path, dataset: VocDataset, suffix: str
) -> None:
    """A copy in another folder, also one saved anew without loss, among unlike pictures of the same names."""
    val = dataset.keys("val")
    for number, key in enumerate(val[:6]):
        if number < 2:
            with Image.open(scenes / f"JPEGImages/{key}.jpg") as image:
                image.save(tmp_path / f"{key}.png")
            if suffix == "jpg":
                (tmp_path / f"{key}.png").unlink()
                shutil.copy(scenes / f"JPEGImages/{key}.jpg", tmp_path)
        else:
            save_picture(tmp_path / f"{key}.{suffix}", number)
    (tmp_path / "mine.tsv").write_text("".join(f"{key}.{suffix}\ta caption\n" for key in val[:6]))
    captions = open_captions(str(tmp_path / "mine.tsv"), images=tmp_path)
    assert captioned(captions, dataset) == tuple(val[:2])  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"mine\.tsv has captions of 2 images of the val list"):
        refuse_captioned(captions, dataset)


def test_equal_numbers_of_other_files_are_no_test_images(tmp_path: Path, dataset: VocDataset) -> None:
    for key in dataset.keys("val")[:4]:
        Image.new("RGB", (64, 64), (int(key) % 255, 3, 9)).save(tmp_path / f"{key}.jpg")
    names = {f"{key}.jpg": "x" for key in dataset.keys("val")[:4]}
    refuse_captioned(open_captions(str(captions_of(tmp_path, names, tmp_path)), images=tmp_path), dataset)


def coco_like(dataset: VocDataset, keys: tuple[str, ...], folder: Path, seed: int) -> VocDataset:
    """A data set with COCO's names: photographs made here."""
    (folder / "JPEGImages").mkdir(parents=True)
    for number, key in enumerate(keys):
        save_picture(folder / "JPEGImages" / f"{key}.jpg", seed + number)
    return replace(dataset, root=folder, parts={"val": keys}, masks={key: folder / f"{key}.png" for key in keys})


def save_picture(file: Path, seed: int) -> None:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC).save(file)


def test_a_copy_among_chance_names_is_found_all_the_same(tmp_path: Path, dataset: VocDataset) -> None:
    keys = tuple(f"{number:012}" for number in range(1, 7))
    coco = coco_like(dataset, keys, tmp_path / "coco", 0)
    for number, key in enumerate(keys):
        save_picture(tmp_path / f"{key}.jpg", 0 if number == 0 else 100 + number)
    (tmp_path / "mine.tsv").write_text("".join(f"{key}.jpg\ta caption\n" for key in keys))
    captions = open_captions(str(tmp_path / "mine.tsv"), images=tmp_path)
    assert captioned(captions, coco) == keys[:1]  # type: ignore[arg-type]


@pytest.mark.parametrize(("seed", "refused"), [(0, True), (60, False)])
def test_coco_names_in_shards_are_believed_unless_the_pictures_say_no(
    tmp_path: Path, dataset: VocDataset, seed: int, refused: bool
) -> None:
    keys = tuple(f"{number:012}" for number in (139, 285, 632))
    coco = coco_like(dataset, keys, tmp_path / "coco", 0)
    with tarfile.open(tmp_path / "00000.tar", "w") as shard:
        for number, key in enumerate(keys[:2]):
            save_picture(tmp_path / f"{key}.jpg", seed + number)
            (tmp_path / f"{key}.txt").write_text("a caption")
            for suffix in ("jpg", "txt"):
                shard.add(tmp_path / f"{key}.{suffix}", f"{key}.{suffix}")
    captions = open_captions(str(tmp_path / "00000.tar"))
    assert captioned(captions, coco) == (keys[:2] if refused else ())  # type: ignore[arg-type]
    if refused:
        with pytest.raises(UserError, match="captions of 2 images of the val list"):
            refuse_captioned(captions, coco)


def test_coco_val_captions_are_refused_for_coco_val_and_taken_for_train(real_data: Path, dataset: VocDataset) -> None:
    mini = real_data / "coco-mini"
    keys = {part: tuple(sorted(file.stem for file in (mini / part).glob("*.jpg"))) for part in ("train2017", "val2017")}

    class Mini(VocDataset):
        def photo(self, key: str) -> Path:
            return mini / "val2017" / f"{key}.jpg"

    coco = Mini(mini, {"val": keys["val2017"]}, {}, dataset.origin, ())
    captions = open_captions(str(mini / "annotations/captions_val2017.json"))
    described = {key.removesuffix(".jpg") for key, _ in captions.texts()}
    assert set(captioned(captions, coco)) == described & set(keys["val2017"]) != set()  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"captions_val2017\.json has captions of 79 images"):
        refuse_captioned(captions, coco)
    refuse_captioned(open_captions(str(mini / "annotations/captions_train2017.json")), coco)


def test_a_stream_is_not_looked_through(dataset: VocDataset) -> None:
    def never() -> None:
        raise AssertionError("a stream was read")

    class Items:
        def __iter__(self) -> object:
            return never()

    refuse_captioned(StreamedCaptions("far", "0" * 12, Items()), dataset)  # type: ignore[arg-type]
