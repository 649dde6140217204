"""Hugging Face data sets with label maps: parquet, saved on disk and from the hub; columns, classes, parts, and mistakes."""

from __future__ import annotations

import io
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from zsbench.cli import main
from zsbench.data.guard import GuardError, admitted, locked
from zsbench.data.hub import survey
from zsbench.data.opening import open_dataset
from zsbench.data.own_dataset import OwnDataset
from zsbench.data.reader import Hints
from zsbench.data.universes import VOC_CLASSES
from zsbench.data.voc import open_voc
from zsbench.errors import UserError
from zsbench.settings import settings

TEMPLATE = str(Path(__file__).parents[1] / "methods/_template.py")
SIZE = (8, 10)
NAMES = ["background", "cat", "dog"]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets.disable_progress_bars()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def png(array: np.ndarray, mode: str | None = None, kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.fromarray(array, mode).save(data, kind)
    return data.getvalue()


def photo(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), np.uint8)


def ids(*values: int) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), SIZE)


def rows(first: int, *masks: np.ndarray, **more: list[Any]) -> dict[str, list[Any]]:
    """Columns of a part: its photographs and label maps, encoded."""
    images = [{"bytes": png(photo(first + i)), "path": None} for i in range(len(masks))]
    return {"image": images, "mask": [{"bytes": png(mask, "L"), "path": None} for mask in masks]} | more


PICTURES = {"image": datasets.Image(), "mask": datasets.Image()}


def parts_of(features: dict[str, Any] | None = None, **parts: dict[str, list[Any]]) -> datasets.DatasetDict:
    told = datasets.Features(PICTURES | (features or {}))
    return datasets.DatasetDict({name: datasets.Dataset.from_dict(part, told) for name, part in parts.items()})


def usual() -> datasets.DatasetDict:
    return parts_of(train=rows(0, ids(0, 1), ids(0, 2), ids(1, 2, 255)), test=rows(10, ids(0, 1, 2), ids(2)))


def saved(tables: datasets.DatasetDict, folder: Path, classes: str = "0: background\n1: cat\n2: dog\n") -> Path:
    tables.save_to_disk(folder)
    if classes:
        (folder / "classes.txt").write_text(classes)
    return folder


def as_parquet(tables: datasets.DatasetDict, folder: Path, classes: str = "0: background\n1: cat\n2: dog\n") -> Path:
    folder.mkdir(parents=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}-00000-of-00001.parquet")
    (folder / "classes.txt").write_text(classes)
    return folder


def opened(root: Path | str, **hints: Any) -> OwnDataset:
    dataset, faults = survey(Path(root), Hints(**hints))
    assert not faults, faults
    return dataset


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "argv", ["zsbench"])
    return lambda *args: CliRunner().invoke(main, [str(arg) for arg in args])


# What is read


@pytest.mark.parametrize("store", [saved, as_parquet])
def test_pictures_of_each_store_are_those_that_went_in(tmp_path: Path, store: Callable[..., Path]) -> None:
    dataset = opened(f"hf:{store(usual(), tmp_path / 'table')}")
    assert dataset.classes == ("background", "cat", "dog")
    assert dataset.keys("train") == ("train-000000", "train-000001", "train-000002")
    assert dataset.keys("val") == ("val-000000", "val-000001")
    assert np.array_equal(dataset.image("val-000001"), photo(11))
    assert np.array_equal(dataset.labels("val-000000"), ids(0, 1, 2))
    assert np.array_equal(dataset.labels("train-000002"), ids(1, 2, 255))
    assert dataset.origin.notes == ("val is its split 'test'", "classes of classes.txt")


def test_a_saved_table_a_parquet_file_and_a_plain_folder_are_recognised(tmp_path: Path) -> None:
    folder = as_parquet(usual(), tmp_path / "plain")
    assert open_dataset(folder, ["own"]).keys("val") == opened(f"hf:{folder}").keys("val")
    one = open_dataset(folder / "test-00000-of-00001.parquet")
    assert one.keys("val") == ("val-000000", "val-000001") and not one.has("train")
    with pytest.raises(UserError, match="has no images for train"):
        one.keys("train")
    usual()["test"].save_to_disk(tmp_path / "my-test")
    (tmp_path / "my-test/classes.txt").write_text("0: background\n1: cat\n2: dog\n")
    assert open_dataset(tmp_path / "my-test").keys("val") == ("val-000000", "val-000001")


def test_a_table_without_the_images_type_is_read_too(tmp_path: Path) -> None:
    part = rows(0, ids(0, 1), ids(2))
    structs = pa.table({"photo": part["image"], "label": part["mask"]})
    raw = pa.table({name: [cell["bytes"] for cell in cells] for name, cells in part.items()})
    for number, table in enumerate((structs, raw)):
        folder = tmp_path / str(number)
        folder.mkdir()
        pq.write_table(table, folder / "val.parquet")
        (folder / "classes.txt").write_text("0: background\n1: cat\n2: dog\n")
        dataset = opened(folder)
        assert np.array_equal(dataset.labels("val-000001"), ids(2))
        assert np.array_equal(dataset.image("val-000001"), photo(1))


def test_images_in_files_are_read_inside_the_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(png(photo(1)))
    (folder / "a.png").write_bytes(png(photo(2)))
    mask = {"bytes": png(ids(1), "L"), "path": None}
    cells = [{"bytes": None, "path": path} for path in ("a.png", "../secret.png", "absent.png")]
    pq.write_table(pa.table({"image": cells, "mask": [mask] * 3}), folder / "val.parquet")
    (folder / "classes.txt").write_text("0: background\n1: cat\n")
    dataset = opened(folder / "val.parquet")
    assert np.array_equal(dataset.image("val-000000"), photo(2))
    for key, said in (("val-000001", "outside of its data set's folder"), ("val-000002", "cannot be read")):
        with pytest.raises(UserError, match=said):
            dataset.image(key)
    with locked(*dataset.protected), pytest.raises(GuardError):
        (folder / "a.png").read_bytes()


def test_file_names_become_keys_where_they_are_unique_and_safe(tmp_path: Path) -> None:
    named = lambda *names: {"file_name": list(names)}  # noqa: E731
    text = {"file_name": datasets.Value("string")}
    good = parts_of(text, train=rows(0, ids(1), **named("x/a.jpg")), val=rows(1, ids(2), **named("b.c.png")))
    assert dict(opened(saved(good, tmp_path / "good")).parts) == {"train": ("a",), "val": ("b.c",)}
    for number, names in enumerate((("a.jpg", "a.png"), ("a.jpg", "ä.jpg"), ("a.jpg", ".."))):
        bad = parts_of(text, val=rows(0, ids(1), ids(2), **named(*names)))
        assert opened(saved(bad, tmp_path / f"bad{number}")).keys("val") == ("val-000000", "val-000001")


def test_one_photograph_in_train_and_val_is_found_by_its_name(tmp_path: Path) -> None:
    text = {"file_name": datasets.Value("string")}
    train = rows(0, ids(1), ids(2), file_name=["a.jpg", "b.jpg"])
    both = parts_of(text, train=train, val=rows(1, ids(2), file_name=["b.jpg"]))
    with pytest.raises(UserError, match=r"train and val share 1 images, byte for byte \(train-000001 is val-000000\)"):
        open_dataset(saved(both, tmp_path / "both"))
    chance = parts_of(text, train=train, val=rows(7, ids(2), file_name=["b.jpg"]))
    assert open_dataset(saved(chance, tmp_path / "chance")).keys("val") == ("val-000000",)


@pytest.mark.parametrize("store", [saved, as_parquet])
def test_one_photograph_in_train_and_val_is_found_under_any_name(tmp_path: Path, store: Callable[..., Path]) -> None:
    both = parts_of(train=rows(0, ids(1), ids(2), ids(1)), val=rows(2, ids(2), ids(1)))
    with pytest.raises(UserError, match=r"byte for byte \(train-000002 is val-000000\)"):
        open_dataset(store(both, tmp_path / "both"))


def test_photographs_in_files_beside_the_table_are_compared_too(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    (folder / "classes.txt").write_text("0: background\n1: cat\n2: dog\n")
    for part, name, seed in (("train", "b", 1), ("val", "c", 1)):
        (folder / f"{name}.png").write_bytes(png(photo(seed)))
        cells = {"image": [{"bytes": None, "path": f"{name}.png"}], "mask": [{"bytes": png(ids(1), "L"), "path": None}]}
        pq.write_table(pa.table(cells), folder / f"{part}.parquet")
    with pytest.raises(UserError, match=r"byte for byte \(train-000000 is val-000000\)"):
        open_dataset(folder)
    (folder / "c.png").write_bytes(png(photo(2)))
    open_dataset(folder)


def test_cells_without_a_photograph_are_no_copies_of_each_other(tmp_path: Path) -> None:
    none = {"image": [{"bytes": None, "path": "x.png"}], "mask": [{"bytes": png(ids(1), "L"), "path": None}]}
    folder = tmp_path / "table"
    folder.mkdir()
    (folder / "classes.txt").write_text("0: background\n1: cat\n2: dog\n")
    for part in ("train", "val"):
        pq.write_table(pa.table(none), folder / f"{part}.parquet")
    dataset = open_dataset(folder)
    with pytest.raises(UserError, match=r"train, row 0: photograph: cannot be read"):
        dataset.image("train-000000")


@pytest.mark.parametrize("store", [saved, as_parquet])
def test_the_fingerprint_is_of_contents_and_not_of_places(tmp_path: Path, store: Callable[..., Path]) -> None:
    prints = [open_dataset(store(usual(), tmp_path / name)).origin.fingerprint for name in ("here", "there")]
    changed = usual()
    mask = ids(0, 2).copy()
    mask[3, 3] = 1
    changed["train"] = parts_of(train=rows(0, ids(0, 1), mask, ids(1, 2, 255)))["train"]
    prints.append(open_dataset(store(changed, tmp_path / "changed")).origin.fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_it_pickles_keeps_its_fingerprint_and_changes_it_with_what_decides(tmp_path: Path) -> None:
    folder = as_parquet(usual(), tmp_path / "table")
    dataset = opened(folder)
    again = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(again.labels("val-000000"), dataset.labels("val-000000"))
    prints = [dataset.origin.fingerprint, opened(folder).origin.fingerprint]
    (folder / "classes.txt").write_text("0: background\n1: dog\n2: cat\n")
    prints.append(opened(folder).origin.fingerprint)
    parts_of(test=rows(10, ids(0, 1, 2)))["test"].to_parquet(folder / "test-00000-of-00001.parquet")
    prints.append(opened(folder).origin.fingerprint)
    assert prints[0] == prints[1] and len(set(prints)) == 3


def test_methods_cannot_open_the_table_or_its_copy(tmp_path: Path, own_places: Path) -> None:
    folder = as_parquet(usual(), tmp_path / "table")
    dataset = opened(folder)
    copies = list(own_places.rglob("*.arrow"))
    assert copies and list(folder.glob("*.parquet"))
    for file in (*copies, *folder.glob("*.parquet")):
        with locked(*dataset.protected):
            with admitted():
                file.read_bytes()
            with pytest.raises(GuardError):
                file.read_bytes()


# Columns


def renamed(tables: datasets.DatasetDict, image: str, mask: str) -> datasets.DatasetDict:
    return tables.rename_columns({"image": image, "mask": mask})


@pytest.mark.parametrize(
    ("image", "mask"),
    [("image", "label"), ("Image", "Annotation"), ("pixel_values", "labels"), ("rgb", "segmentation")],
)
def test_columns_are_found_by_usual_names(tmp_path: Path, image: str, mask: str) -> None:
    dataset = opened(saved(renamed(usual(), image, mask), tmp_path / "table"))
    assert np.array_equal(dataset.labels("val-000001"), ids(2)) and np.array_equal(
        dataset.image("val-000001"), photo(11)
    )


def test_columns_that_could_be_more_than_one_thing_are_asked_for(tmp_path: Path) -> None:
    odd = saved(renamed(usual(), "image", "things"), tmp_path / "odd")
    with pytest.raises(
        UserError, match=r"no column of label maps \(columns of pictures: image, things\).*--mask-column"
    ):
        survey(odd, Hints())
    assert opened(odd, mask="things").labels("val-000001").shape == SIZE
    with pytest.raises(UserError, match=r"--mask-column: no column named 'thing'\. Did you mean 'things'"):
        survey(odd, Hints(mask="thing"))
    with pytest.raises(UserError, match="cannot hold both"):
        survey(odd, Hints(mask="things", image="things"))
    part = rows(0, ids(1))
    twice = datasets.Dataset.from_dict(
        part | {"label": part["mask"], "img": part["image"]},
        datasets.Features(PICTURES | {"label": datasets.Image(), "img": datasets.Image()}),
    )
    table = saved(datasets.DatasetDict(val=twice), tmp_path / "twice")
    with pytest.raises(UserError, match="columns mask, label could all hold the label maps"):
        survey(table, Hints())
    with pytest.raises(UserError, match=r"columns image, img could all hold the photographs; .*--image-column"):
        survey(table, Hints(mask="mask"))
    assert opened(table, mask="mask", image="img").classes[1] == "cat"


# Parts


@pytest.mark.parametrize(
    ("splits", "note"),
    [
        (("train", "validation", "test"), ("val is its split 'validation'", "not used: test")),
        (("train", "val"), ("val is its split 'val'",)),
        (("Test", "extra"), ("val is its split 'Test'", "not used: extra")),
        (("train",), ("no split to score, only train",)),
    ],
)
def test_the_split_that_became_val_is_told(tmp_path: Path, splits: tuple[str, ...], note: tuple[str, ...]) -> None:
    tables = parts_of(**{name: rows(i, ids(1)) for i, name in enumerate(splits)})
    assert opened(saved(tables, tmp_path / "table")).origin.notes[:-1] == note


def test_splits_that_say_nothing_are_refused(tmp_path: Path) -> None:
    part = rows(0, ids(1))
    with pytest.raises(UserError, match="'full' does not say what is for training and what for scoring"):
        survey(saved(parts_of(full=part), tmp_path / "table"), Hints())
    parts_of(x=part)["x"].to_parquet(tmp_path / "images.parquet")
    with pytest.raises(UserError, match="'images' does not say"):
        survey(tmp_path / "images.parquet", Hints())
    with pytest.raises(UserError, match="no data"):
        survey(as_parquet(parts_of(train=part, test={"image": [], "mask": []}), tmp_path / "void"), Hints())


# Classes


def test_class_names_of_the_features_are_proven_by_labels_of_the_rows(tmp_path: Path) -> None:
    objects = {"objects": {"id": [datasets.Value("int64")], "category": [datasets.ClassLabel(names=NAMES)]}}
    labels = [{"id": [77], "category": [1]}, {"id": [78, 79], "category": [2, 1]}]
    tables = parts_of(objects, val=rows(0, ids(0, 1), ids(0, 1, 2), objects=labels))
    dataset = opened(saved(tables, tmp_path / "table", classes=""))
    assert dataset.classes == tuple(NAMES)
    assert "classes are the names of column 'objects'" in dataset.origin.notes


@pytest.mark.parametrize(("shift", "classes"), [(0, ("cat", "dog")), (1, ("background", "cat", "dog"))])
def test_labels_of_the_rows_tell_from_where_ids_count(tmp_path: Path, shift: int, classes: tuple[str, ...]) -> None:
    label = {"labels_of_row": datasets.List(datasets.ClassLabel(names=["cat", "dog"]))}
    masks = [ids(i + shift, 255) for i in (0, 1, 0)]
    tables = parts_of(label, val=rows(0, *masks, labels_of_row=[[0], [1], [0]]))
    dataset = opened(saved(tables, tmp_path / "table", classes=""))
    assert dataset.classes == classes and dataset.classes[dataset.labels("val-000001").min()] == "dog"


def test_class_names_that_prove_nothing_are_refused_where_they_are_ambiguous(tmp_path: Path) -> None:
    label = {"kind": datasets.ClassLabel(names=["cat", "dog"])}
    folder = saved(parts_of(label, val=rows(0, ids(0, 1), kind=[-1])), tmp_path / "table", classes="")
    with pytest.raises(UserError, match="say --first-id 0 or --first-id 1"):
        survey(folder, Hints())
    assert opened(folder, first_id=0).classes == ("cat", "dog")
    assert opened(folder, first_id=1).classes == ("background", "cat", "dog")


def test_names_of_another_column_are_not_taken_for_those_of_the_label_maps(tmp_path: Path) -> None:
    scene = {"scene": datasets.ClassLabel(names=["street", "field", "room", "shop", "sea"])}
    folder = saved(parts_of(scene, val=rows(0, ids(0, 1), ids(0, 2), scene=[4, 3])), tmp_path / "table", classes="")
    with pytest.raises(UserError, match=r"names of column 'scene' do not fit .*--classes FILE"):
        survey(folder, Hints())


def test_names_in_a_table_are_names(tmp_path: Path) -> None:
    for number, (names, said) in enumerate(
        ((["a", "\x1b[2J"], "is no class name"), (["a b", "a_b"], "two ids have one"))
    ):
        label = {"kinds": datasets.List(datasets.ClassLabel(names=names))}
        folder = saved(parts_of(label, val=rows(0, ids(0), kinds=[[0]])), tmp_path / str(number), classes="")
        with pytest.raises(UserError, match=said):
            survey(folder, Hints())


def test_no_names_or_two_lists_of_names_need_a_class_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing in it names the classes; .*--classes FILE"):
        survey(saved(usual(), tmp_path / "none", classes=""), Hints())
    two = {name: datasets.ClassLabel(names=[name, "x"]) for name in ("a", "b")}
    folder = saved(parts_of(two, val=rows(0, ids(0), a=[0], b=[0])), tmp_path / "two", classes="")
    with pytest.raises(UserError, match="columns a, b name different classes"):
        survey(folder, Hints())
    file = tmp_path / "names.json"
    file.write_text(json.dumps({"0": "cat", "1": "dog"}))
    assert opened(folder, classes=file).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (png(np.dstack([ids(1)] * 3)), "mode RGB holds colours, and no class ids"),
        (png(ids(1), "L", "JPEG"), "not an image; expected a PNG file"),
        (png(ids(7), "L"), "label values 7 have no name in .*classes.txt"),
        (png(ids(1)[:4], "L"), "10 × 4 pixels, but its photograph .* has 10 × 8"),
        (b"", "not an image; expected a PNG file|no image"),
        (None, "cannot be read"),
    ],
)
def test_mistakes_in_a_cell_name_the_row(tmp_path: Path, mask: bytes | None, said: str) -> None:
    part = rows(0, ids(1), ids(1))
    part["mask"][1] = mask and {"bytes": mask, "path": None}
    dataset = opened(saved(parts_of(val=part), tmp_path / "table"))
    with pytest.raises(UserError, match=f"table 'table', val, row 1: label map.*({said})"):
        dataset.labels("val-000001")


def test_sixteen_bits_hold_ids_above_255(tmp_path: Path) -> None:
    part = rows(0, ids(0))
    part["mask"] = [{"bytes": png(np.where(ids(0, 1) > 0, 300, 0).astype(np.uint16)), "path": None}]
    dataset = opened(saved(parts_of(val=part), tmp_path / "table", "0: background\n300: cat\n"))
    assert np.array_equal(dataset.labels("val-000000"), ids(0, 1))


# What is no data set


def test_addresses_that_lead_nowhere(tmp_path: Path) -> None:
    for address in ("hf:./absent", "hf:a/b/c", "hf:name:config:split", "hf:", "hf:absent.parquet"):
        with pytest.raises(UserError, match=r"no Hugging Face data set at .*expected hf:NAME"):
            survey(Path(address), Hints())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="neither a folder that save_to_disk wrote"):
        survey(Path(f"hf:{tmp_path / 'empty'}"), Hints())
    (tmp_path / "empty/val.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match="cannot be opened as a Hugging Face data set"):
        survey(tmp_path / "empty", Hints())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A hub that has one data set, me/pets; the list fills with what was asked for."""
    asked: list[tuple[Any, ...]] = []
    tables = datasets.load_from_disk(str(saved(usual(), tmp_path / "cached", classes="")))
    for table in tables.values():
        table.info.download_checksums = {f"hf://datasets/me/pets@{'0f' * 20}/data/test.parquet": {}}

    def load(*args: Any, **options: Any) -> Any:
        asked.append((args, options))
        if args[0] != "me/pets":
            raise FileNotFoundError(f"Dataset '{args[0]}' doesn't exist on the Hub")
        return tables

    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


def test_a_name_on_the_hub_runs_no_code_and_notes_its_revision(hub: list[tuple[Any, ...]], tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("0: background\n1: cat\n2: dog\n")
    dataset = open_dataset("hf:me/pets:small", ["own"], Hints(classes=file))
    assert hub == [(("me/pets", "small"), {})]
    assert dataset.origin.title == "hf:me/pets:small" and "revision 0f0f0f0f0f0f" in dataset.origin.notes
    assert {tmp_path / "hub/datasets--me--pets", tmp_path / "cached/train"} <= set(dataset.protected)
    with pytest.raises(UserError, match=r"cannot open 'you/pets' \(default\) .*doesn't exist.* needs a network"):
        open_dataset("hf:you/pets")


# From the command line


def test_own_split_of_a_table(call: Callable[..., Result], tmp_path: Path) -> None:
    folder = as_parquet(usual(), tmp_path / "table")
    (folder / "unseen.txt").write_text("dog\n")
    result = call("run", "-m", TEMPLATE, "--data", f"hf:{folder}", "--split", "own", "--device", "cpu")
    assert result.exit_code == 0, result.output + result.stderr + repr(result.exception)
    assert result.stdout.startswith(
        "data: table 'table' (real photographs; val is its split 'test'; classes of classes.txt)\nown: 1 seen, 1 unseen"
    )
    (folder / "unseen.txt").write_text("dogg\n")
    faulty = call("run", "-m", TEMPLATE, "--data", folder, "--split", "own", "--device", "cpu")
    assert faulty.exit_code == 2 and "Did you mean 'dog'" in faulty.stderr


def test_a_hub_name_without_unseen_classes_says_how_to_name_them(
    call: Callable[..., Result], hub: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    file = tmp_path / "names.txt"
    file.write_text("0: background\n1: cat\n2: dog\n")
    run = ("run", "-m", TEMPLATE, "--data", "hf:me/pets", "--classes", file, "--device", "cpu", "--split")
    refused = call(*run, "own")
    assert refused.exit_code == 2 and "hf:me/pets does not say which classes are unseen; give a split" in refused.stderr
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'title = "M"\nsource = "me"\ndataset = "own"\nbackground = "ignore"\ntrain_policy = "mask"\n'
        'seen = ["cat"]\nunseen = ["dog"]\n'
    )
    assert call(*run, mine).exit_code == 0


def test_a_copy_of_voc_runs_the_published_splits_of_voc(
    call: Callable[..., Result], real_data: Path, tmp_path: Path
) -> None:
    voc = open_voc(real_data / "voc-real-small")
    cells = lambda file: {"bytes": file.read_bytes(), "path": None}  # noqa: E731
    parts = {}
    for part in ("train", "val"):
        keys = list(voc.keys(part))
        pictures = {"image": [cells(voc.photo(k)) for k in keys], "mask": [cells(voc.masks[k]) for k in keys]}
        parts[part] = pictures | {"file_name": [f"{key}.jpg" for key in keys]}
    written = ["unlabeled", "airplane", *VOC_CLASSES[2:15], "person", "potted plant", *VOC_CLASSES[17:20], "TV monitor"]
    classes = "".join(f"{i}: {name}\n" for i, name in enumerate(written))
    tables = parts_of({"file_name": datasets.Value("string")}, **parts)
    copy = opened(saved(tables, tmp_path / "copy", classes))
    assert copy.classes == VOC_CLASSES and copy.serves == ("voc2012", "own") and copy.parts == {
        part: tuple(voc.keys(part)) for part in ("train", "val")
    }  # fmt: skip
    for key in voc.keys("val")[::10]:
        assert np.array_equal(copy.labels(key), voc.labels(key)) and np.array_equal(copy.image(key), voc.image(key))
    scores = []
    for data in (tmp_path / "copy", real_data / "voc-real-small"):
        run = ("run", "-m", TEMPLATE, "--set", "images=4", "--data", data, "--device", "cpu", "--limit", 8, "--json")
        result = call(*run)
        assert result.exit_code == 0, result.output + result.stderr
        scores.append(json.loads(result.stdout.splitlines()[-1])["scores"])
    assert scores[0] == scores[1]


def test_config_files_name_data_of_every_kind(tmp_path: Path) -> None:
    as_parquet(usual(), tmp_path / "table")
    (tmp_path / "names.txt").write_text("0: cat\n")
    options = {"sets": (), "config": None}

    def told(text: str) -> Any:
        (tmp_path / "run.toml").write_text(f'method = "vilseg"\n{text}')
        return settings(options, tmp_path / "run.toml")

    chosen = told('data = "hf:table"\nclasses = "names.txt"\nfirst_id = 1\nimage_column = "a"\nmask_column = "b"\n')
    assert chosen.data == Path(f"hf:{tmp_path}/table") and chosen.classes == tmp_path / "names.txt"
    assert (chosen.first_id, chosen.image_column, chosen.mask_column) == (1, "a", "b")
    assert told('data = "hf:me/pets:small"\n').data == Path("hf:me/pets:small")
    assert told('data = "table"\ndata_kind = "hf"\nclasses = "voc-first"\n').classes == Path("voc-first")
    with pytest.raises(UserError, match="first_id = 2: a number from 0 to 1"):
        told("first_id = 2\n")


def test_the_environment_may_name_an_address(
    call: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = as_parquet(usual(), tmp_path / "table")
    (folder / "unseen.txt").write_text("dog\n")
    monkeypatch.setenv("ZSBENCH_DATA", f"hf:{folder}")
    result = call("run", "-m", TEMPLATE, "--split", "own", "--device", "cpu")
    assert result.exit_code == 0 and "data: table 'table'" in result.stdout
