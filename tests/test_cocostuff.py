"""The COCO-Stuff reader: every edition and way of storing ids gives the same label maps, and each trap its clear error."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.io import savemat

from zsbench.cli import main
from zsbench.data.check import check_folder
from zsbench.data.cocostuff import APART, CocoStuff, survey
from zsbench.data.cocostuff_ids import NAMES_182
from zsbench.data.guard import GuardError, admitted, locked
from zsbench.data.opening import open_dataset
from zsbench.data.reader import Hints
from zsbench.data.universes import COCOSTUFF_171
from zsbench.errors import UserError

H, W = 30, 32
TEMPLATE = str(Path(__file__).parents[1] / "methods/_template.py")
# Written by hand from the published label file: some classes with their id in 164k, 10k v1.1, 10k v1.0 and train ids.
KNOWN = {
    "person": (0, 1, 2, 0), "fire hydrant": (10, 11, 12, 10), "stop sign": (12, 13, 13, 11), "cow": (20, 21, 21, 19),
    "backpack": (26, 27, 26, 24), "scissors": (86, 87, 78, 76), "toothbrush": (89, 90, 81, 79),
    "banner": (91, 92, 82, 80), "grass": (123, 124, 114, 112), "wood": (181, 182, 172, 170),
}  # fmt: skip
UNLABELLED = (255, 0, 1)  # in 164k, 10k v1.1, 10k v1.0
# What the files' own lists of names say, spelled as there.
NEW_NAMES = [
    {"eye glasses": "eyeglasses", "hair brush": "hairbrush", "door": "door-things"}.get(n, n) for n in NAMES_182
]
OLD_NAMES = ["unlabeled", *(name.removesuffix("-stuff") for name in COCOSTUFF_171)]


def truth(key: str) -> np.ndarray:
    """Positions in the 171 classes, by hand: stripes of the classes of KNOWN, a corner unlabelled, one class by the name."""
    rows = [COCOSTUFF_171.index(name) for name in KNOWN]
    ids = np.repeat(np.array(rows, np.uint8), 3)[:H, None].repeat(W, axis=1)
    ids[:, 20:] = COCOSTUFF_171.index("fence") + len(key) % 5
    ids[:5, :5] = 255
    return np.ascontiguousarray(ids)


def stored(key: str, form: str) -> np.ndarray:
    """The same label map as a file of that form has it, made from names and hand-written rules, not from the reader's tables."""
    ids = truth(key)
    result = np.zeros((H, W), np.uint8)
    for position in np.unique(ids):
        if position == 255:
            value = {"164k": 255, "v1.1": 0, "v1.0": 1, "train164k": 255, "train10k": 0}[form]
        else:
            number = NAMES_182.index(COCOSTUFF_171[position])  # among things and stuff, with the empty ones
            value = {
                "164k": number, "v1.1": number + 1, "v1.0": int(position) + 2, "train164k": int(position),
                "train10k": int(position) + 1,
            }[form]  # fmt: skip
        result[ids == position] = value
    return result


def save(file: Path, ids: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids).save(file)


def photo(file: Path) -> None:
    save(file, np.random.default_rng(len(file.stem)).integers(0, 256, (H, W, 3), dtype=np.uint8))


def mat(file: Path, ids: np.ndarray, names: Sequence[str] | None = None, **more: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cells = {} if names is None else {"names": np.array(names, dtype=object).reshape(-1, 1)}
    savemat(file, {"S": ids, **cells, "captions": np.array(["a", "b c"], dtype=object), **more}, do_compression=True)


TRAIN, VAL = ("000000000009", "000000000025"), ("000000000139",)


def big(root: Path, form: str = "164k", above: str = "coco_stuff164k", plain: bool = False) -> Path:
    """A folder of the 164k edition: two training images, one to test on."""
    suffix = "_labelTrainIds.png" if form.startswith("train") else ".png"
    for part, keys in (("train2017", TRAIN), ("val2017", VAL)):
        for key in keys:
            photo(root / above / ("" if plain else "images") / part / f"{key}.jpg")
            save(
                root / above / ("stuffthingmaps" if plain else "annotations") / part / f"{key}{suffix}",
                stored(key, form),
            )
    return root / above


OLD_TRAIN = ("COCO_train2014_000000000077", "COCO_train2014_000000000113")
OLD_TEST = ("COCO_train2014_000000000825",)


def small(root: Path, form: str, names: Sequence[str] | None = None, above: str = "coco_stuff10k") -> Path:
    """A folder of the 10k edition as its archive unpacks, or converted."""
    for part, keys in (("train", OLD_TRAIN), ("test", OLD_TEST)):
        for key in keys:
            if form == "train10k":
                photo(root / above / f"images/{part}2014/{key}.jpg")
                save(root / above / f"annotations/{part}2014/{key}_labelTrainIds.png", stored(key, form))
            else:
                photo(root / above / f"images/{key}.jpg")
                mat(root / above / f"annotations/{key}.mat", stored(key, form), names)
        if form != "train10k":
            write(root / above / f"imageLists/{part}.txt", "".join(f"{key}\n" for key in keys))
    return root / above


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def opened(root: Path, said: str | None = None) -> CocoStuff:
    dataset = open_dataset(root, ["cocostuff171"], Hints(classes=Path(said) if said else None))
    assert isinstance(dataset, CocoStuff)
    return dataset


def faults(root: Path, *words: str, said: str | None = None) -> str:
    """All faults in one text; one of them has these words, and each is one sentence that names a file below the folder."""
    found = survey(root, Hints(classes=Path(said) if said else None))[1]
    assert any(all(word in fault for word in words) for fault in found), found
    assert all("\n" not in fault for fault in found)
    return "\n".join(found)


def histogram(dataset: CocoStuff) -> dict[str, np.ndarray]:
    return {
        part: np.sum([np.bincount(dataset.labels(key).ravel(), minlength=256) for key in dataset.keys(part)], axis=0)
        for part in ("train", "val")
    }


# ---- what the ids mean


def test_the_stored_ids_of_known_classes_are_those_of_the_published_label_file() -> None:
    """Keeps the fixtures honest: the forms that the tests write agree with values copied by hand."""
    for key in TRAIN:
        for name, (png, new, old, train) in KNOWN.items():
            here = truth(key) == COCOSTUFF_171.index(name)
            if here.any():
                values = [int(stored(key, form)[here][0]) for form in ("164k", "v1.1", "v1.0", "train164k", "train10k")]
                assert values == [png, new, old, train, train + 1], name


def test_names_of_the_182_ids_have_the_eleven_empty_ones_in_their_places() -> None:
    empty = {i: name for i, name in enumerate(NAMES_182) if i < 91 and name not in COCOSTUFF_171[:80]}
    assert empty == {
        11: "street sign", 25: "hat", 28: "shoe", 29: "eye glasses", 44: "plate", 65: "mirror", 67: "window", 68: "desk",
        70: "door", 82: "blender", 90: "hair brush",
    }  # fmt: skip
    assert tuple(name for i, name in enumerate(NAMES_182) if i not in empty) == COCOSTUFF_171


def test_names_agree_with_the_published_label_file(real_data: Path) -> None:
    rows = (real_data / "lists/cocostuff/labels.txt").read_text().splitlines()
    assert [row.partition(": ")[2] for row in rows] == ["unlabeled", *NAMES_182]


FOLDERS: dict[str, Callable[[Path], Path]] = {
    "164k": lambda root: big(root),
    "164k plain": lambda root: big(root, plain=True),
    "164k train ids": lambda root: big(root, "train164k"),
    "10k v1.1": lambda root: small(root, "v1.1", NEW_NAMES),
    "10k v1.0": lambda root: small(root, "v1.0", OLD_NAMES),
    "10k train ids": lambda root: small(root, "train10k"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_every_form_of_a_picture_gives_the_same_label_map(tmp_path: Path, kind: str) -> None:
    data = opened(FOLDERS[kind](tmp_path))
    train, val = (TRAIN, VAL) if kind.startswith("164k") else (OLD_TRAIN, OLD_TEST)
    assert (data.keys("train"), data.keys("val")) == (train, val) and data.classes == COCOSTUFF_171
    place = {"164k": 0, "164k plain": 0, "10k v1.1": 1, "10k v1.0": 2}.get(kind, 3)
    shift = int(kind == "10k train ids")
    assert len(data.stored) == 171 and all(data.stored[ids[place] + shift] == name for name, ids in KNOWN.items())
    for key in (*train, *val):
        ids = data.labels(key)
        assert ids.dtype == np.uint8 and np.array_equal(ids, truth(key)) and data.image(key).shape == (H, W, 3)
    counted = histogram(data)
    for part, keys in (("train", train), ("val", val)):
        assert np.array_equal(counted[part], sum(np.bincount(truth(key).ravel(), minlength=256) for key in keys))


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_folder_is_found_from_above_and_by_layout_alone(tmp_path: Path, kind: str) -> None:
    root = FOLDERS[kind](tmp_path)
    assert opened(tmp_path).root == opened(root).root == root.resolve()


def test_titles_say_the_edition_and_10k_warns_of_164k(tmp_path: Path) -> None:
    titles = {kind: opened(make(tmp_path / kind)).origin for kind, make in FOLDERS.items()}
    assert titles["164k"].title == titles["164k train ids"].title == "COCO-Stuff 164k"
    assert titles["10k v1.1"].title == "COCO-Stuff 10k v1.1" and titles["10k v1.0"].title == "COCO-Stuff 10k v1.0"
    assert APART in titles["10k v1.0"].notes and "never test on 10k" in APART and APART not in titles["164k"].notes
    assert "val list has 1 images (official: 5,000)" in titles["164k"].notes
    assert "train list has 2 images (official: 9,000)" in titles["10k v1.1"].notes


def test_fingerprints_differ_by_edition_form_and_lists(tmp_path: Path) -> None:
    prints = {kind: opened(make(tmp_path / kind)).origin.fingerprint for kind, make in FOLDERS.items()}
    assert prints.pop("164k plain") == prints["164k"] and len(set(prints.values())) == len(prints)
    root = tmp_path / "164k/coco_stuff164k"
    write(root / "train.txt", f"{TRAIN[1]}\n")
    assert opened(root).origin.fingerprint != prints["164k"]


# ---- lists


def test_lists_of_paths_and_of_names_are_read(tmp_path: Path) -> None:
    root = big(tmp_path)
    write(root / "train.txt", f"/images/train2017/{TRAIN[1]}.jpg /annotations/train2017/{TRAIN[1]}.png\n")
    write(root / "val_id.txt", f"{VAL[0]}\r\n\r\n")
    assert opened(root).parts == {"train": TRAIN[1:], "val": VAL}


def test_official_lists_are_known_as_such(real_data: Path, tmp_path: Path) -> None:
    for edition, file in (("cocostuff", "val.txt"), ("cocostuff10k", "val.txt"), ("cocostuff10k", "train.txt")):
        root = big(tmp_path / edition) if edition == "cocostuff" else small(tmp_path / edition, "v1.1", NEW_NAMES)
        text = (real_data / "lists" / edition / file).read_text()
        for place in (root / file, root / "imageLists" / file.replace("val", "test")):
            write(place, text)
        data, found = survey(root, Hints())
        part = file.removesuffix(".txt")
        assert len(data.keys(part)) == len(text.splitlines()) and not any(
            note.startswith(part) for note in data.origin.notes
        )
        assert any(f"photographs of the {part} list are not there" in fault for fault in found)
        _, *rest = text.splitlines()
        write(root / "imageLists" / file.replace("val", "test"), "\n".join([*rest, "other"]))
        write(root / file, "\n".join([*rest, "other"]))
        assert any(
            f"{part} list has" in note and "but not the same" in note for note in survey(root, Hints())[0].origin.notes
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["val.txt", "the list is empty"]),
        ("../../etc/passwd\n", ["line 1 '../../etc/passwd'", "not an image name"]),
        ("/images/val2017/../x.jpg\n", ["not an image name"]),
        (f"/images/train2017/{VAL[0]}.jpg\n", ["images of another folder than val2017"]),
        (f"{VAL[0]}\n{VAL[0]}\n", [f"{VAL[0]}: listed more than once"]),
        ("000000000001\n", ["1 photographs of the val list are not there"]),
        (f"{TRAIN[0]}\n", [f"train and val share 1 images ({TRAIN[0]})"]),
    ],
)
def test_wrong_lists_are_told(tmp_path: Path, text: str, words: list[str]) -> None:
    root = big(tmp_path)
    write(root / "val.txt", text)
    faults(root, *words)


def test_only_the_validation_part_is_enough_to_score_on(tmp_path: Path) -> None:
    root = big(tmp_path)
    for file in (root / "images/train2017").iterdir():
        file.unlink()
    (root / "images/train2017").rmdir()
    data = opened(root)
    assert (
        data.has("val") and not data.has("train") and "no train list: train2017 has no photographs" in data.origin.notes
    )
    with pytest.raises(UserError, match="no train list"):
        data.keys("train")
    with pytest.raises(UserError, match=r"no image list named 'vall'\. Did you mean 'val'"):
        data.keys("vall")


def test_missing_files_are_told(tmp_path: Path) -> None:
    root = big(tmp_path)
    (root / f"annotations/val2017/{VAL[0]}.png").unlink()
    (root / f"images/train2017/{TRAIN[0]}.jpg").unlink()
    faults(root, "1 label maps of the val list are not there", VAL[0])
    faults(root, "1 photographs of the train list are not there", TRAIN[0])


@pytest.mark.parametrize("make", [lambda root: root, lambda root: root / "absent", lambda root: big(root, above="x")])
def test_other_folders_are_refused_with_the_layout(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    place = make(tmp_path)
    with pytest.raises(UserError, match="expected coco_stuff164k with images and annotations"):
        survey(place.parent if place.name == "x" else place, Hints())


def test_10k_without_lists_is_refused(tmp_path: Path) -> None:
    root = small(tmp_path, "v1.1", NEW_NAMES)
    for file in (root / "imageLists").iterdir():
        file.unlink()
    faults(root, "no image lists; expected imageLists/train.txt and imageLists/test.txt")


# ---- original ids beside train ids


def test_original_ids_come_before_train_ids_and_that_is_noted(tmp_path: Path) -> None:
    root = big(tmp_path)
    big(tmp_path, "train164k")
    data = opened(root)
    assert np.array_equal(data.labels(VAL[0]), truth(VAL[0])) and data.masks[VAL[0]].name == f"{VAL[0]}.png"
    assert "val: 1 label maps in train ids beside the original ones, which are read" in data.origin.notes


def test_a_folder_that_is_converted_in_part_is_read_file_by_file(tmp_path: Path) -> None:
    root = big(tmp_path)
    (root / f"annotations/train2017/{TRAIN[0]}.png").unlink()
    save(root / f"annotations/train2017/{TRAIN[0]}_labelTrainIds.png", stored(TRAIN[0], "train164k"))
    data = opened(root)
    assert all(np.array_equal(data.labels(key), truth(key)) for key in TRAIN)
    assert "train: 1 label maps in train ids (_labelTrainIds.png)" in data.origin.notes


# ---- traps of ids


def test_an_empty_id_names_file_id_and_class(tmp_path: Path) -> None:
    root = big(tmp_path)
    ids = stored(VAL[0], "164k")
    ids[0, :3], ids[1, 0] = 11, 90
    save(root / f"annotations/val2017/{VAL[0]}.png", ids)
    told = faults(root, f"{VAL[0]}.png", "id 11 ('street sign', 3 pixels)", "id 90 ('hair brush', 1 pixels)")
    assert "shifted by one" in told


def test_label_maps_by_row_number_are_refused_although_they_look_plausible(tmp_path: Path) -> None:
    root = big(tmp_path)
    shifted = stored(VAL[0], "v1.1")  # row = id + 1, 0 unlabelled, in a folder of 164k
    save(root / f"annotations/val2017/{VAL[0]}.png", shifted)
    faults(root, f"{VAL[0]}.png", "id 11 ('street sign'", "labels.txt counts its rows from 1")


def test_train_ids_under_the_name_of_original_ids_are_refused(tmp_path: Path) -> None:
    root = big(tmp_path)
    ids = np.full((H, W), COCOSTUFF_171.index("stop sign"), np.uint8)
    save(root / f"annotations/val2017/{VAL[0]}.png", ids)
    faults(root, "id 11 ('street sign', 960 pixels)")


@pytest.mark.parametrize(("value", "form"), [(171, "train164k"), (182, "164k"), (254, "164k")])
def test_ids_beyond_the_last_are_refused(tmp_path: Path, value: int, form: str) -> None:
    root = big(tmp_path, form)
    file = root / f"annotations/val2017/{VAL[0]}{'_labelTrainIds' if form != '164k' else ''}.png"
    ids = stored(VAL[0], form)
    ids[3, 3] = value
    save(file, ids)
    faults(root, file.name, f"label values {value}")


def test_10k_train_ids_that_ignore_255_are_those_of_164k_and_refused(tmp_path: Path) -> None:
    root = small(tmp_path, "train10k")
    save(root / f"annotations/test2014/{OLD_TEST[0]}_labelTrainIds.png", stored(OLD_TEST[0], "train164k"))
    faults(root, OLD_TEST[0], "label values 255", "ids 1 to 171, and 0")


def test_coloured_label_maps_and_other_sizes_are_refused(tmp_path: Path) -> None:
    root = big(tmp_path)
    save(root / f"annotations/val2017/{VAL[0]}.png", np.zeros((H, W, 3), np.uint8))
    faults(root, f"{VAL[0]}.png", "a mask in mode RGB")
    save(root / f"annotations/val2017/{VAL[0]}.png", np.zeros((H, W + 1), np.uint8))
    with pytest.raises(UserError, match=f"33 × 30 pixels, but its photograph .*{VAL[0]}.jpg has 32 × 30"):
        opened(root).labels(VAL[0])


def test_the_check_counts_each_missing_file_once(tmp_path: Path) -> None:
    root = big(tmp_path)
    (root / f"images/train2017/{TRAIN[0]}.jpg").unlink()
    verdict = check_folder(root)
    assert len(verdict.faults) == 1 and "1 photographs of the train list" in verdict.faults[0]
    photo(root / f"images/train2017/{TRAIN[0]}.jpg")
    verdict = check_folder(root)
    assert verdict.sound and verdict.read == 3
    counted = np.bincount(truth(VAL[0]).ravel(), minlength=256)
    assert np.array_equal(verdict.counts["val"].pixels, counted[[*range(171), 255]])


def test_what_is_said_of_train_ids_of_10k_is_held_against_them(tmp_path: Path) -> None:
    root = small(tmp_path, "train10k")
    assert opened(root, "v1.1").origin.title == "COCO-Stuff 10k v1.1"
    faults(root, "made from v1.1; --classes v1.0 cannot be", said="v1.0")
    faults(root, "2 classes; expected 171", said=str(write(tmp_path / "two.txt", "0: person\n1: car")))


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    root = big(tmp_path)
    for folder in ("images", "annotations"):
        (root / folder / "val2017/._000000000139.jpg").write_bytes(b"x")
        (root / folder / "val2017/._000000000139.png").write_bytes(b"x")
    assert opened(root).keys("val") == VAL


# ---- a label file in the folder


LABELS_183 = "\n".join(["0: unlabeled", *(f"{i + 1}: {name}" for i, name in enumerate(NAMES_182))])
LABELS_182 = "\n".join(f"{i}\t{name}" for i, name in enumerate(NAMES_182))


@pytest.mark.parametrize("text", [LABELS_183, LABELS_182])
def test_both_published_label_files_agree_with_the_ids(tmp_path: Path, text: str) -> None:
    root = big(tmp_path)
    write(root / "labels.txt", text)
    assert np.array_equal(opened(root).labels(VAL[0]), truth(VAL[0]))


def test_the_real_label_files_agree_too(real_data: Path, tmp_path: Path) -> None:
    for name in ("lists/cocostuff/labels.txt", "lists/deeplab-pytorch/cocostuff/labels.txt"):
        root = big(tmp_path / name.replace("/", "-"))
        write(root / "labels.txt", (real_data / name).read_text())
        assert opened(root).has("val")
    root = small(tmp_path, "v1.1", None)
    write(root / "cocostuff-labels.txt", (real_data / "lists/cocostuff10k/cocostuff-labels.txt").read_text())
    assert opened(root).version == "v1.1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n".join(f"{i + 1}: {name}" for i, name in enumerate(NAMES_182)), ["ids start at 1 and it has 182 rows"]),
        ("\n".join(f"{i}: {n}" for i, n in enumerate(sorted(NAMES_182))), ["class 1 is 'airplane'", "'person'"]),
        (LABELS_182.replace("20\tcow", "20\tsheep").replace("19\tsheep", "19\tcow"), ["class 20 is 'cow'", "'sheep'"]),
        ("\n".join(f"{i}: {name}" for i, name in enumerate(COCOSTUFF_171)), ["171 classes; the label file"]),
        ("0: unlabeled\n1: person\n2: car", ["2 classes; the label file of COCO-Stuff has 182"]),
    ],
)
def test_label_files_that_disagree_with_the_ids_are_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    root = big(tmp_path)
    file = write(root / "labels.txt", text)
    faults(root, str(file), *words)
    file.rename(tmp_path / "mine.txt")
    faults(root, str(tmp_path / "mine.txt"), *words, said=str(tmp_path / "mine.txt"))


def test_a_list_of_171_names_goes_with_train_ids(tmp_path: Path) -> None:
    root = big(tmp_path, "train164k")
    write(root / "labels.txt", "\n".join(f"{i}: {name}" for i, name in enumerate(COCOSTUFF_171)))
    assert opened(root).has("val")


# ---- the two versions of 10k


def test_the_version_is_told_by_the_names_in_the_files(tmp_path: Path) -> None:
    """The picture has no id that only one version can have: person, cow and grass by v1.1; other classes by v1.0."""
    ids = np.full((H, W), 21, np.uint8)
    for names, version, name in ((NEW_NAMES, "v1.1", "cow"), (OLD_NAMES, "v1.0", "cow")):
        root = small(tmp_path / version, "v1.1", names)
        for file in (root / "annotations").iterdir():
            mat(file, ids, names)
        data = opened(root)
        assert data.version == version and {data.classes[i] for i in np.unique(data.labels(OLD_TEST[0]))} == {name}
    ids[:] = 124  # grass by v1.1
    for file in (root / "annotations").iterdir():
        mat(file, ids, OLD_NAMES)
    data = opened(root)
    assert data.version == "v1.0" and data.classes[data.labels(OLD_TEST[0])[0, 0]] == "moss"


@pytest.mark.parametrize("value", [0, 173, 182])
def test_the_version_is_told_by_an_id_that_only_v11_has(tmp_path: Path, value: int) -> None:
    root = plain_10k(tmp_path, value)
    assert opened(root).version == "v1.1"


@pytest.mark.parametrize("value", [12, 26, 91])
def test_the_version_is_told_by_an_id_that_v11_never_annotates(tmp_path: Path, value: int) -> None:
    root = plain_10k(tmp_path, value)
    data = opened(root)
    assert data.version == "v1.0" and data.classes[data.labels(OLD_TEST[0])[0, 0]] == COCOSTUFF_171[value - 2]


def plain_10k(root: Path, value: int) -> Path:
    """Label maps without names, of ids that both versions have, and `value` in one of them."""
    folder = small(root, "v1.1", None)
    for file in (folder / "annotations").iterdir():
        ids = np.full((H, W), 21, np.uint8)
        ids[0, 0] = value if OLD_TEST[0] in file.name else 21
        mat(file, ids)
    return folder


def test_an_ambiguous_version_is_refused_with_the_way_to_say_it(tmp_path: Path) -> None:
    root = plain_10k(tmp_path, 21)
    faults(root, "version 1.0 or 1.1?", "--classes v1.0 or --classes v1.1")
    for version, name in (("v1.0", 19), ("v1.1", 19)):
        data = opened(root, version)
        assert data.version == version and data.labels(OLD_TEST[0])[0, 0] == name
    old = write(tmp_path / "old.txt", "\n".join(f"{i + 1}: {name}" for i, name in enumerate(OLD_NAMES)))
    assert opened(root, str(old)).version == "v1.0"
    assert opened(root, str(write(tmp_path / "new.txt", LABELS_183))).version == "v1.1"
    faults(root, "v1.2", said="v1.2")
    faults(root, "ids start at 0; in label maps of v1.1 at 1", said=str(write(tmp_path / "shifted.txt", LABELS_182)))


def test_ids_mean_other_classes_by_version(tmp_path: Path) -> None:
    """The reason for all this: id 100 alone would be read as another class, and plausibly so."""
    root = plain_10k(tmp_path, 100)
    seen = {version: opened(root, version).labels(OLD_TEST[0])[0, 0] for version in ("v1.0", "v1.1")}
    assert {version: COCOSTUFF_171[i] for version, i in seen.items()} == {"v1.0": "desk-stuff", "v1.1": "cardboard"}


@pytest.mark.parametrize("first", ["v1.0", "v1.1"])
def test_mixed_versions_are_a_fault_that_names_a_file_of_each(tmp_path: Path, first: str) -> None:
    root = small(tmp_path, first, NEW_NAMES if first == "v1.1" else OLD_NAMES)
    other, names = ("v1.1", NEW_NAMES) if first == "v1.0" else ("v1.0", OLD_NAMES)
    mat(root / f"annotations/{OLD_TEST[0]}.mat", stored(OLD_TEST[0], other), names)
    faults(root, "label maps of both versions", f"{OLD_TEST[0]}.mat", "172 names: v1.0", "182 names: v1.1")


def test_a_file_of_the_other_version_is_refused_wherever_it_lies(tmp_path: Path) -> None:
    """Beyond those that are read on opening."""
    root = small(tmp_path, "v1.1", NEW_NAMES)
    data = opened(root)
    mat(root / f"annotations/{OLD_TEST[0]}.mat", stored(OLD_TEST[0], "v1.0"), OLD_NAMES)
    with pytest.raises(UserError, match=r"172 names: v1.0\), but the folder is of COCO-Stuff 10k v1.1"):
        data.labels(OLD_TEST[0])
    mat(root / f"annotations/{OLD_TEST[0]}.mat", stored(OLD_TEST[0], "v1.0"))
    with pytest.raises(UserError, match=r"id 12: v1.0\)"):
        data.labels(OLD_TEST[0])


def test_a_word_or_label_file_against_the_files_own_evidence_is_refused(tmp_path: Path) -> None:
    root = small(tmp_path, "v1.0", OLD_NAMES)
    faults(root, "--classes v1.1 (said: v1.1)", "172 names: v1.0", said="v1.1")
    write(root / "cocostuff-labels.txt", LABELS_183)
    faults(root, "cocostuff-labels.txt (182 classes: v1.1)", "172 names: v1.0")


def test_names_in_another_order_are_refused(tmp_path: Path) -> None:
    root = small(tmp_path, "v1.1", sorted(NEW_NAMES))
    faults(root, "class 1 is 'airplane'", "Ids in another order cannot be read")
    root = small(tmp_path / "odd", "v1.1", NEW_NAMES[:100])
    faults(root, "its list of names has 100 rows; expected 172 (v1.0) or 182 (v1.1)")


# ---- .mat files from strangers; test_matlab.py has the rest


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64])
def test_label_maps_of_every_number_type_are_read(tmp_path: Path, dtype: type) -> None:
    root = small(tmp_path, "v1.1", NEW_NAMES)
    file = root / f"annotations/{OLD_TEST[0]}.mat"
    mat(file, stored(OLD_TEST[0], "v1.1").astype(dtype), NEW_NAMES)
    assert np.array_equal(opened(root).labels(OLD_TEST[0]), truth(OLD_TEST[0]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x" * 500, r"not a label map of COCO-Stuff 10k.* \(it has another header\)"),
        ({"T": np.ones((H, W))}, "holds 'T', no 'S'"),
        ({"S": np.ones((1, 2, 2))}, "'S' is double 1 × 2 × 2; expected a label map"),
        ({"S": np.full((H, W), 1.5)}, "'S' holds fractions"),
        ({"S": np.full((H, W), np.nan)}, "'S' holds fractions"),
        ({"S": np.full((H, W), -1, np.int16)}, "values that are no ids"),
        ({"S": np.full((H, W), 300, np.uint16)}, "values that are no ids"),
        ({"S": np.ones((H, W)), "names": np.ones((2, 2))}, "'names' is double 2 × 2; expected a cell array"),
    ],
)
def test_broken_and_odd_mat_files_are_refused_by_name(
    tmp_path: Path, content: bytes | dict[str, np.ndarray], words: str
) -> None:
    root = small(tmp_path, "v1.1", NEW_NAMES)
    file = root / f"annotations/{OLD_TEST[0]}.mat"
    file.write_bytes(content) if isinstance(content, bytes) else savemat(file, content)
    with pytest.raises(UserError, match=words) as error:
        opened(root)
    assert str(file) in str(error.value) and "\n" not in str(error.value)


# ---- as a data set


def test_it_pickles_and_is_locked_with_linked_folders(tmp_path: Path) -> None:
    root = big(tmp_path / "real")
    linked = tmp_path / "linked"
    (linked / "images").mkdir(parents=True)
    (linked / "images/val2017").symlink_to(root / "images/val2017")
    (linked / "annotations").symlink_to(root / "annotations")
    data: CocoStuff = pickle.loads(pickle.dumps(opened(linked)))
    assert np.array_equal(data.labels(VAL[0]), truth(VAL[0]))
    with locked(*data.protected):
        for file in (root / f"images/val2017/{VAL[0]}.jpg", linked / f"annotations/val2017/{VAL[0]}.png"):
            with pytest.raises(GuardError):
                file.read_bytes()
        with admitted():
            assert data.labels(VAL[0]).shape == (H, W)
    with pytest.raises(UserError, match="no image named"):
        data.image("../x")


def test_a_run_on_coco15_from_the_command_line(tmp_path: Path) -> None:
    root = big(tmp_path)
    command = [
        "run",
        "--data",
        str(root),
        "-s",
        "coco15",
        "-m",
        TEMPLATE,
        "--out",
        str(tmp_path / "runs"),
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output + result.stderr
    assert result.stdout.startswith(
        "data: COCO-Stuff 164k (real photographs; train list has 2 images (official: 118,287)"
    )
    record = json.loads(next((tmp_path / "runs").rglob("record.json")).read_text())
    pixels = {name: entry["pixels"] for name, entry in record["scores"]["all"]["classes"].items() if entry["pixels"]}
    counted = np.bincount(truth(VAL[0]).ravel(), minlength=256)
    assert pixels == {COCOSTUFF_171[i]: int(counted[i]) for i in np.flatnonzero(counted[:171])}
    assert record["limited"] is True and record["data"]["parts"]["val"]["images"] == 1
    unseen = record["scores"]["unseen"]["classes"]
    assert {name for name, entry in unseen.items() if entry["pixels"]} == {"cow", "scissors", "grass"}


def test_real_photographs_and_masks_of_things(real_data: Path, tmp_path: Path) -> None:
    """Value = COCO's category number 1 to 90, 0 nothing, 255 crowd: minus one these are the ids of the 164k label maps."""
    source, root = real_data / "coco-mini", tmp_path / "coco_stuff164k"
    expected: dict[str, np.ndarray] = {}
    for part in ("train2017", "val2017"):
        (root / "images" / part).mkdir(parents=True)
        for file in sorted((source / "derived_thing_masks" / part).glob("*.png"))[:20]:
            values = np.array(Image.open(file))
            ids = np.where((values == 0) | (values == 255), 255, values - 1).astype(np.uint8)
            save(root / "annotations" / part / file.name, ids)
            (root / "images" / part / f"{file.stem}.jpg").symlink_to(source / part / f"{file.stem}.jpg")
            expected[file.stem] = np.bincount(values[(values > 0) & (values < 255)], minlength=91)
    numbers = json.loads((source / "category_names.json").read_text())
    data = opened(root)
    for part in ("train", "val"):
        assert len(data.keys(part)) == 20
        for key in data.keys(part):
            labels = data.labels(key)
            assert labels.shape == data.image(key).shape[:2]
            counts = np.bincount(labels.ravel(), minlength=256)
            for number, name in _named(numbers).items():
                assert counts[COCOSTUFF_171.index(name)] == expected[key][number], (key, name)
            assert counts[:171].sum() == expected[key].sum()


def _named(told: Any) -> dict[int, str]:
    """Category number -> name, however the file says it."""
    pairs = told.items() if isinstance(told, dict) else [(entry["id"], entry["name"]) for entry in told]
    return {int(number): str(name) for number, name in pairs}


# ---- what the words of the user cannot mean


def test_two_editions_below_one_folder_are_both_named(tmp_path: Path) -> None:
    new, old = big(tmp_path), small(tmp_path, "v1.1", NEW_NAMES)
    with pytest.raises(UserError, match=f"more than one data set of COCO-Stuff: {new} and {old}; name the folder"):
        open_dataset(tmp_path)
    assert opened(new).edition == "164k" and opened(old).edition == "10k"


def test_a_version_that_the_files_contradict_is_one_fault(tmp_path: Path) -> None:
    root = small(tmp_path, "v1.0", OLD_NAMES)
    verdict = check_folder(root, hints=Hints(classes=Path("v1.1")))
    assert len(verdict.faults) == 1 and "--classes v1.1" in verdict.faults[0] and "None" not in verdict.faults[0]


def test_a_version_of_10k_is_no_word_for_164k(tmp_path: Path) -> None:
    root = big(tmp_path)
    for word in ("v1.0", "v1.1", "1.1"):
        faults(root, f"--classes {word}: that is a version of COCO-Stuff 10k, but {root} holds the 164k", said=word)
