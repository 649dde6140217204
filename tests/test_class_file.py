"""Class files: which id means which class, told in four ways, and refused where a file leaves it open."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from zsbench.data.class_file import (
    AREA,
    LARGEST,
    REST,
    VOID,
    ClassFile,
    matched,
    outside,
    plain,
    read_class_file,
    table_of,
)
from zsbench.data.own_ids import own_ids
from zsbench.data.universes import COCOSTUFF_171, CONTEXT_33, CONTEXT_59, UNIVERSES, VOC_CLASSES
from zsbench.errors import UserError

THREE = ["background", "cat", "dog"]


def wrote(folder: Path, text: str | bytes, name: str = "classes.txt") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def said(folder: Path, text: str | bytes, name: str = "classes.txt") -> str:
    with pytest.raises(UserError) as error:
        read_class_file(wrote(folder, text, name)).settled()
    assert str(folder / name) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "0: background\n1: cat\n2: dog\n",
        "0 background\n1 cat\n2 dog",
        "0\tbackground\r\n1\tcat\r\n2\tdog\r\n",
        "0,background\n1,cat\n2,dog",
        "\ufeff 2 :  dog \n\n 1: cat\n0: background",  # in any order, with a byte order mark and blanks
        "background\ncat\ndog",
    ],
)
def test_all_four_ways_of_writing_say_the_same(tmp_path: Path, text: str) -> None:
    assert read_class_file(wrote(tmp_path, text)).settled() == dict(enumerate(THREE))


@pytest.mark.parametrize("told", [THREE, {"0": "background", "1": "cat", "2": "dog"}])
def test_json_is_a_list_or_an_object(tmp_path: Path, told: object) -> None:
    file = wrote(tmp_path, json.dumps(told), "classes.json")
    assert read_class_file(file).settled() == dict(enumerate(THREE))


@pytest.mark.parametrize("text", ['["background", "cat", "dog"]', '\n {"2": "dog", "0": "background", "1": "cat"}'])
def test_json_in_a_text_file_is_read_as_json(tmp_path: Path, text: str) -> None:
    assert read_class_file(wrote(tmp_path, text)).settled() == dict(enumerate(THREE))


def test_names_may_hold_spaces_and_ids_may_leave_gaps(tmp_path: Path) -> None:
    names = read_class_file(wrote(tmp_path, "2: traffic light\n17: fire hydrant")).settled()
    assert names == {2: "traffic light", 17: "fire hydrant"}


def test_an_answer_can_be_changed_without_changing_the_file(tmp_path: Path) -> None:
    file = read_class_file(wrote(tmp_path, "0: background\n1: cat"))
    file.settled()[0] = "changed"
    assert file.settled()[0] == "background"


# ---- the one ambiguity


def test_names_without_ids_and_background_are_refused(tmp_path: Path) -> None:
    text = said(tmp_path, "cat\ndog")
    assert "whether 'cat' is id 0 or id 1" in text and "--first-id 0 or --first-id 1" in text


@pytest.mark.parametrize("values", [{0, 1}, {0, 1, 2}, {2}, {0, 255}, set()])
def test_label_values_settle_nothing(tmp_path: Path, values: set[int]) -> None:
    """An id 2 beside two names is "dog" or "unlabelled", and nobody can say which."""
    with pytest.raises(UserError, match="does not say whether 'cat' is id 0 or id 1, and label maps cannot tell"):
        read_class_file(wrote(tmp_path, "cat\ndog")).settled(values)


@pytest.mark.parametrize(
    ("values", "settled"), [({0, 1, 2}, True), ({2}, True), ({0, 1}, False), ({1, 2, 255}, False), ({0, 255}, False)]
)
def test_where_the_largest_id_tells_it_does_so_unless_255_occurs(
    tmp_path: Path, values: set[int], settled: bool
) -> None:
    file = read_class_file(wrote(tmp_path, "cat\ndog"))
    if settled:
        assert file.settled(values, largest_tells=True) == {1: "cat", 2: "dog"}
    else:
        with pytest.raises(UserError, match="does not say whether"):
            file.settled(values, largest_tells=True)


def test_void_is_no_class_where_there_are_255_names(tmp_path: Path) -> None:
    file = read_class_file(wrote(tmp_path, "\n".join(f"c{i}" for i in range(255))))
    with pytest.raises(UserError, match="does not say whether"):
        file.settled({3, 255}, largest_tells=True)


@pytest.mark.parametrize("first", [0, 1])
def test_the_user_settles_it_whatever_the_values(tmp_path: Path, first: int) -> None:
    file = read_class_file(wrote(tmp_path, "cat\ndog"))
    assert file.settled({2}, first) == file.settled((), first) == {first: "cat", first + 1: "dog"}


def test_the_user_cannot_contradict_a_file_that_says_it(tmp_path: Path) -> None:
    for text in ("0: background\n1: cat", "background\ncat"):
        file = read_class_file(wrote(tmp_path, text))
        assert file.settled((), 0) == {0: "background", 1: "cat"}
        with pytest.raises(UserError, match="its ids start at 0, not at 1"):
            file.settled((), 1)


# ---- what is no class file


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no class names in it"),
        (" \n\n", "no class names in it"),
        ("0: background\ncat", "line 2 'cat' has no id, other lines have one"),
        ("id,name\n0,background", "line 1 'id,name' has no id"),
        ("0: background\n0: cat", "id 0 is given to more than one class"),
        ("0: dog\n1: cat\n2: Cat", "class 'Cat' is named twice"),
        ("potted plant\nbackground\npottedplant", "class 'pottedplant' is named twice"),
        ("0: back\x1b[31mground", "is no class name"),
        ("0: a\u202ecat", "is no class name"),
        ("0: --", "is no class name"),
        ("0: " + "x" * 500, "is no class name"),
        (b"\xff\xfe0\x00", "cannot be read as a class file"),
        ("cat\n" * LARGEST, "larger than 1 MiB"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_sentence(tmp_path: Path, text: str | bytes, words: str) -> None:
    assert words in said(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not readable as JSON"),
        ("[" * 100_000, "not readable as JSON"),
        ("[1, 2]", "expected a JSON list of names"),
        ('{"cat": 0}', "expected a JSON list of names"),
        ('{"0": ["cat"]}', "expected a JSON list of names"),
        ("[]", "no class names in it"),
        ("{}", "no class names in it"),
        ('["cat", ""]', "is no class name"),
        ('{"0": "cat", "0": "dog"}', "id 0 is given to more than one class"),
        ('{"0": "cat\\n1: dog"}', "is no class name"),
        ('"cat"', "expected a JSON list of names"),
    ],
)
def test_json_that_is_none_is_refused_too(tmp_path: Path, text: str, words: str) -> None:
    assert words in said(tmp_path, text, "classes.json")


def test_absent_files_folders_and_pipes_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    for name in ("absent", "folder", "pipe"):
        with pytest.raises(UserError, match=f"{name}: no such class file"):
            read_class_file(tmp_path / name)


# ---- names of two repositories


def test_spelling_does_not_matter() -> None:
    assert plain("Potted Plant") == plain("potted_plant") == plain("pottedplant") == "pottedplant"
    assert plain("wall-other") != plain("wall")
    assert outside("Unlabelled") and outside("void") and not outside("sky")


@pytest.mark.parametrize(
    ("name", "universe", "cls"),
    [
        ("diningtable", CONTEXT_59, "table"),
        ("table", VOC_CLASSES, "diningtable"),
        ("table", CONTEXT_33, "diningtable"),
        ("clothes", CONTEXT_59, "cloth"),
        ("bedcloth", CONTEXT_59, "bedclothes"),
        ("airplane", VOC_CLASSES, "aeroplane"),
        ("aeroplane", COCOSTUFF_171, "airplane"),
        ("ship", VOC_CLASSES, "boat"),
        ("TV monitor", VOC_CLASSES, "tvmonitor"),
        ("monitor", COCOSTUFF_171, "tv"),
        ("unlabeled", VOC_CLASSES, "background"),
    ],
)
def test_usual_other_names_are_known(name: str, universe: tuple[str, ...], cls: str) -> None:
    assert matched([name], universe) == {name: cls}


def test_a_class_of_its_own_is_never_taken_for_another() -> None:
    both = ["cloth", "clothes", "table", "dining table"]
    assert matched(both, COCOSTUFF_171) == {name: name for name in both}
    assert matched(["lamp"], CONTEXT_59) == {}


def test_two_names_of_one_class_are_refused() -> None:
    with pytest.raises(UserError, match="'tv' and 'monitor' both mean the class 'tvmonitor'"):
        matched(["tv", "monitor"], VOC_CLASSES)


@pytest.mark.parametrize(
    ("names", "universe", "words"),
    [
        (["tvmonitor", "tv"], VOC_CLASSES, "'tvmonitor' and 'tv' both mean the class 'tvmonitor'"),
        (["television", "tv monitor"], VOC_CLASSES, "'tv monitor' and 'television' both mean the class 'tvmonitor'"),
        (["airplane", "aeroplane"], COCOSTUFF_171, "'airplane' and 'aeroplane' both mean the class 'airplane'"),
    ],
)
def test_a_second_spelling_beside_the_first_is_refused(names: list[str], universe: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        matched(names, universe)


def test_two_classes_of_one_data_set_are_no_two_spellings_in_another() -> None:
    """COCO-Stuff has tables and dining tables: its class file says what maps of VOC are, too."""
    assert matched(["dining table", "table"], VOC_CLASSES) == {"dining table": "diningtable"}
    assert matched(["background", "unlabeled"], VOC_CLASSES) == {"background": "background"}


def test_words_for_no_class_are_one_table(tmp_path: Path) -> None:
    """Void is never the background, whoever reads the file; 'other' is a class among one's own alone."""
    for word in VOID:
        names = dict(enumerate(VOC_CLASSES)) | {0: word}
        assert outside(word) and table_of(names, VOC_CLASSES)[0] == 255 == own_ids(of(names), None, "x").table[0]
    for word in (*AREA, *REST):
        names = dict(enumerate(VOC_CLASSES)) | {0: word}
        assert outside(word) and table_of(names, VOC_CLASSES)[0] == 0
        assert own_ids(of(names), None, "x").names[0] == (word if word in REST else "background")


def of(names: dict[int, str]) -> ClassFile:
    return ClassFile(Path("classes.txt"), names)


@pytest.mark.parametrize("universe", UNIVERSES.values())
def test_every_universe_is_its_own_table(universe: tuple[str, ...]) -> None:
    assert table_of(dict(enumerate(universe)), universe) == {i: i for i in range(len(universe))}


def test_a_table_must_be_whole_and_of_this_universe() -> None:
    names = dict(enumerate(VOC_CLASSES))
    with pytest.raises(UserError, match=r"no class named 'shep'\. Did you mean 'sheep'"):
        table_of(names | {17: "shep"}, VOC_CLASSES)
    del names[20]
    with pytest.raises(UserError, match="no id for tvmonitor"):
        table_of(names, VOC_CLASSES)
    del names[0]
    with pytest.raises(UserError, match="no id for tvmonitor"):
        table_of(names, VOC_CLASSES)


def test_the_unlabelled_area_is_background_where_there_is_one_and_ignored_where_not() -> None:
    rows = dict(enumerate(["unlabeled", *CONTEXT_59]))
    assert table_of(rows, UNIVERSES["context60"])[0] == 0
    assert table_of(rows, CONTEXT_59)[0] == 255
    assert table_of(rows, CONTEXT_59)[1] == 0
    assert table_of(dict(enumerate(VOC_CLASSES)) | {255: "void"}, VOC_CLASSES)[255] == 255
    assert table_of(dict(enumerate(["unlabeled", *VOC_CLASSES[1:]])) | {255: "void"}, VOC_CLASSES)[0] == 0


def test_real_class_files_are_read(real_data: Path) -> None:
    fcn = real_data / "lists/fcn/pascal-context"
    ids = table_of(read_class_file(fcn / "classes-59.txt").settled(), UNIVERSES["context60"])
    assert sorted(ids.values()) == list(range(60)) and [ids[0], ids[1], ids[59]] == [0, 1, 59]
    assert [UNIVERSES["context60"][ids[i]] for i in (11, 28, 52)] == ["table", "cloth", "bedclothes"]
    full = read_class_file(fcn / "classes-400.txt").settled()
    assert len(full) == 459 and (full[2], full[458]) == ("aeroplane", "wood")
    coco = read_class_file(real_data / "lists/deeplab-pytorch/cocostuff/labels.txt").settled()
    assert len(coco) == 182 and len(set(matched(coco.values(), COCOSTUFF_171).values())) == 171
