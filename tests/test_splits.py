"""Splits: every published one against what the papers and their code say, and every mistake in a user's own file."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from zsbench.data.universes import COCOSTUFF_171, CONTEXT_33, CONTEXT_59, UNIVERSES, VOC_CLASSES
from zsbench.errors import UserError
from zsbench.split import Split, describe, list_splits, load_split, overlaps

LISTS = Path(__file__).parents[2] / "shared/data/lists"
PUBLISHED = {
    "voc5": (15, 5, "ignore", "mask"),
    "voc20": (0, 20, "ignore", "none"),
    **{f"voc_k{k}": (21 - k, k, "seen", "drop") for k in (2, 4, 6, 8, 10)},
    **{f"context_k{k}": (60 - k, k, "seen", "drop") for k in (2, 4, 6, 8, 10)},
    "context4": (55, 4, "ignore", "none"),
    "context33_4": (29, 4, "ignore", "mask"),
    "coco15": (156, 15, "ignore", "mask"),
}
# PNG ids of the unseen classes as the authors' code has them: VOC ids, and for Context the position in the list of 59.
VOC_IDS = {
    "voc5": [16, 17, 18, 19, 20],
    "voc_k2": [10, 14],
    "voc_k4": [10, 14, 1, 18],
    "voc_k6": [10, 14, 1, 18, 8, 20],
    "voc_k8": [10, 14, 1, 18, 8, 20, 19, 5],
    "voc_k10": [10, 14, 1, 18, 8, 20, 19, 5, 9, 16],
}
CONTEXT_IDS = {
    "context_k2": [20, 34],
    "context_k4": [20, 34, 49, 15],
    "context_k6": [20, 34, 49, 15, 8, 25],
    "context_k8": [20, 34, 49, 15, 8, 25, 7, 55],
    "context_k10": [20, 34, 49, 15, 8, 25, 7, 55, 32, 1],
    "context4": [20, 34, 49, 15],
}
COCO_TRAIN_IDS = [19, 23, 28, 29, 36, 51, 76, 88, 94, 112, 133, 136, 137, 157, 160]
MINE = {
    "title": '"Mine"',
    "dataset": '"voc2012"',
    "source": '"nobody"',
    "background": '"ignore"',
    "train_policy": '"mask"',
    "seen": '["cat", "dog"]',
    "unseen": '["sheep"]',
}


def write(folder: Path, name: str = "mine.toml", **changes: str | None) -> Path:
    """A user's split file; a change to None leaves the field out."""
    fields = {field: text for field, text in {**MINE, **changes}.items() if text is not None}
    file = folder / name
    file.write_text("".join(f"{field} = {text}\n" for field, text in fields.items()), encoding="utf-8")
    return file


def read_names(file: Path) -> list[str]:
    if not file.is_file():
        pytest.skip(f"no list of official names at {file}")
    return [line.split("\t")[-1].split(": ")[-1] for line in file.read_text().splitlines() if line.strip()]


def test_exactly_the_published_splits_are_listed_in_natural_order() -> None:
    listed = list_splits()
    assert set(listed) == set(PUBLISHED)
    names = list(listed)
    assert names.index("voc5") < names.index("voc20") and names.index("voc_k2") < names.index("voc_k10")
    assert all(entry.title and entry.source for entry in listed.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_and_rules(name: str) -> None:
    split = load_split(name)
    assert (len(split.seen), len(split.unseen), split.background, split.train_policy) == PUBLISHED[name]
    assert name == split.name and split.title == list_splits()[name].title


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_class_of_the_data_set_stands_in_exactly_one_list(name: str) -> None:
    split = load_split(name)
    universe = {c for c in UNIVERSES[split.dataset] if c != "background" or split.background == "seen"}
    assert set(split.seen).isdisjoint(split.unseen)
    assert sorted(split.names) == sorted(universe)


@pytest.mark.parametrize(("name", "ids"), VOC_IDS.items())
def test_voc_unseen_classes_are_the_authors_ids(name: str, ids: list[int]) -> None:
    assert sorted(VOC_CLASSES.index(c) for c in load_split(name).unseen) == sorted(ids)


@pytest.mark.parametrize(("name", "ids"), CONTEXT_IDS.items())
def test_context_unseen_classes_are_the_authors_ids(name: str, ids: list[int]) -> None:
    assert sorted(1 + CONTEXT_59.index(c) for c in load_split(name).unseen) == sorted(ids)


def test_context33_holds_out_the_four_names_of_context_k4() -> None:
    assert set(load_split("context33_4").unseen) == set(load_split("context_k4").unseen)
    ids = {"cow": 10, "motorbike": 14, "sofa": 18, "cat": 8, "sky": 21, "ceiling": 33}
    assert {name: CONTEXT_33.index(name) + 1 for name in ids} == ids


def test_coco_unseen_classes_are_the_train_ids_of_the_171() -> None:
    split = load_split("coco15")
    assert [COCOSTUFF_171.index(c) for c in split.unseen] == COCO_TRAIN_IDS
    assert {"cow", "playingfield", "wall-concrete"} <= set(split.unseen)


@pytest.mark.parametrize("family", ["voc_k", "context_k"])
def test_k_splits_are_nested_by_two_and_have_background_first(family: str) -> None:
    splits = [load_split(f"{family}{k}") for k in (2, 4, 6, 8, 10)]
    for smaller, larger in pairwise(splits):
        assert set(smaller.unseen) < set(larger.unseen)
        assert set(larger.seen) < set(smaller.seen)
    assert all(split.seen[0] == "background" for split in splits)


def test_k4_differs_between_voc_and_context() -> None:
    assert set(load_split("voc_k4").unseen) - set(load_split("voc_k2").unseen) == {"aeroplane", "sofa"}
    assert set(load_split("context_k4").unseen) - set(load_split("context_k2").unseen) == {"sofa", "cat"}


def test_fingerprints_are_all_different_and_fixed() -> None:
    prints = {name: load_split(name).fingerprint for name in PUBLISHED}
    assert len(set(prints.values())) == len(PUBLISHED)
    assert prints["voc5"] == "4e10454259f8"  # records of past runs carry it


def test_fingerprint_changes_with_what_changes_a_number_and_with_nothing_else() -> None:
    split = load_split("voc5")
    facts = {field: getattr(split, field) for field in split.__dataclass_fields__}
    for field, value in {"title": "x", "source": "x", "name": "x", "notes": ("x",)}.items():
        assert Split(**{**facts, field: value}).fingerprint == split.fingerprint
    changes = {"dataset": "x", "seen": split.seen[::-1], "unseen": (), "background": "seen", "train_policy": "drop"}
    for field, value in changes.items():
        assert Split(**{**facts, field: value}).fingerprint != split.fingerprint


def test_voc_names_are_the_official_ones() -> None:
    assert read_names(LISTS / "deeplab-pytorch/voc12/labels.txt")[1:21] == list(VOC_CLASSES[1:])


def test_context_names_are_the_official_ones() -> None:
    respelled = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}
    official = [respelled.get(c, c) for c in read_names(LISTS / "fcn/pascal-context/classes-59.txt")[1:]]
    assert sorted(official) == sorted(CONTEXT_59)
    everything = read_names(LISTS / "fcn/pascal-context/classes-400.txt")
    assert [c for c in everything if c in CONTEXT_59] == list(CONTEXT_59)  # same order as the full list


def test_coco_names_are_the_official_ones_without_the_eleven_empty() -> None:
    official = read_names(LISTS / "deeplab-pytorch/cocostuff/labels.txt")
    empty = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
    assert [c for i, c in enumerate(official) if i not in empty] == list(COCOSTUFF_171)


def test_description_says_the_rules_in_words_and_names_overlaps() -> None:
    text = describe(load_split("voc5"))
    for part in ("SPNet", "pottedplant, sheep", "neither trained on nor scored", "label 255", "4e10454259f8"):
        assert part in text
    assert "voc_k6 holds out sofa, tvmonitor too" in text
    assert max(map(len, text.splitlines())) <= 110


def test_overlaps_are_those_of_the_same_data_set() -> None:
    found = " ".join(overlaps(load_split("voc5")))
    assert "voc_k2" not in found and "context" not in found and "sheep" not in found


def test_a_users_file_may_name_a_part_of_the_classes_and_leave_out_the_fingerprint(tmp_path: Path) -> None:
    split = load_split(write(tmp_path))
    assert (split.name, split.names) == ("mine", ("cat", "dog", "sheep"))
    assert "fingerprint   " + split.fingerprint in describe(split)


def test_a_users_file_is_found_by_text_path_and_with_its_right_fingerprint(tmp_path: Path) -> None:
    plain = load_split(write(tmp_path))
    assert load_split(str(write(tmp_path, fingerprint=f'"{plain.fingerprint}"'))) == plain


WRONG = {
    "a class twice in one list": ({"seen": '["cat", "dog", "cat"]'}, "class 'cat' is named 2 times (in one list)"),
    "a class in both lists": ({"unseen": '["dog"]'}, "class 'dog' is named 2 times (in seen and unseen)"),
    "unknown class": ({"unseen": '["sheeps"]'}, "Did you mean 'sheep'?"),
    "unknown data set": ({"dataset": '"voc2021"'}, "Did you mean 'voc2012'?"),
    "unknown field": ({"unseeen": '["sheep"]'}, "no field named 'unseeen'. Did you mean 'unseen'?"),
    "missing field": ({"background": None}, "field 'background' is missing"),
    "bad background": ({"background": '"seeen"'}, "Did you mean 'seen'?"),
    "bad policy": ({"train_policy": '"masks"'}, "Did you mean 'mask'?"),
    "background seen but not listed": ({"background": '"seen"'}, '"background" is not in seen'),
    "background listed but ignored": ({"seen": '["background", "cat"]'}, 'only background = "seen" has it'),
    "background unseen": ({"unseen": '["background"]'}, 'only background = "seen" has it'),
    "nothing unseen": ({"unseen": "[]"}, "unseen is empty"),
    "a number as class": ({"unseen": "[17]"}, "field 'unseen' must be a list of texts"),
    "a text as list": ({"seen": '"cat"'}, "field 'seen' must be a list of texts"),
    "terminal codes in a title": ({"title": '"\\u001b[2J"'}, "field 'title' must be a text"),
    "not TOML": ({"seen": "[oops"}, "not a TOML file"),
    "wrong fingerprint": ({"fingerprint": '"000000000000"'}, "fingerprint is '000000000000', but the content gives"),
}


@pytest.mark.parametrize(("changes", "said"), WRONG.values(), ids=WRONG)
def test_a_mistake_gets_one_sentence_that_names_the_file(tmp_path: Path, changes: dict, said: str) -> None:
    file = write(tmp_path, **changes)
    with pytest.raises(UserError) as error:
        load_split(file)
    assert said in str(error.value)
    assert str(error.value).startswith(f"{file}: ") and "\n" not in str(error.value)


def test_the_computed_fingerprint_is_in_the_error(tmp_path: Path) -> None:
    right = load_split(write(tmp_path)).fingerprint
    with pytest.raises(UserError, match=f'write fingerprint = "{right}"'):
        load_split(write(tmp_path, fingerprint='"123456789abc"'))


def test_unknown_split_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"no split named 'voc_5'\. Did you mean 'voc5'\?  All splits: zsbench list"):
        load_split("voc_5")


@pytest.mark.parametrize("name", ["../splits/voc5", "/etc/passwd", ""])
def test_a_name_is_never_a_path_without_toml(name: str) -> None:
    with pytest.raises(UserError, match="no split named"):
        load_split(name)


def test_absent_file_and_bad_file_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.toml: cannot be read"):
        load_split(tmp_path / "absent.toml")
    with pytest.raises(UserError, match="cannot be a split's name"):
        load_split(write(tmp_path, "a b.toml"))


def test_a_users_file_cannot_pass_for_a_published_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a published split has the name 'voc5'"):
        load_split(write(tmp_path, "voc5.toml"))
    original = Path(__file__).parents[1] / "splits/voc5.toml"
    assert load_split(original) == load_split("voc5")


def test_classes_of_own_data_are_left_to_the_data(tmp_path: Path) -> None:
    split = load_split(write(tmp_path, dataset='"own"', seen='["<b>", "=x()"]', unseen='["Käse"]'))
    assert split.names == ("<b>", "=x()", "Käse") and "own" in describe(split) and not overlaps(split)
    for changes, said in (
        ({"unseen": '["<b>"]'}, "named 2 times"),
        ({"seen": '["background", "<b>"]'}, 'only background = "seen" has it'),
        ({"unseen": "[]"}, "unseen is empty"),
    ):
        with pytest.raises(UserError, match=said):
            load_split(write(tmp_path, **({"dataset": '"own"', "seen": '["<b>"]', "unseen": '["c"]'} | changes)))


def test_the_split_of_a_data_folder_needs_the_folder_and_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"made from the classes\.txt and unseen\.txt .* name it with --data"):
        load_split("own")
    with pytest.raises(UserError, match=r"own\.toml: 'own' is the split that is made from the data folder itself"):
        load_split(write(tmp_path, "own.toml"))


def test_a_published_split_needs_all_classes_and_a_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zsbench.split._files", lambda: {"mine": tmp_path / "mine.toml"})
    write(tmp_path)
    with pytest.raises(UserError, match="field 'fingerprint' is missing"):
        load_split("mine")
    write(tmp_path, fingerprint='"x"')
    with pytest.raises(UserError, match="17 classes of voc2012 are in neither list: aeroplane"):
        load_split("mine")


def test_listing_imports_nothing_heavy() -> None:
    code = "import sys, zsbench.split as s; s.list_splits(); print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
