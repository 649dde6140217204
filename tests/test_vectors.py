"""Class vectors: every kind of file against numbers written by hand, names against positions, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zsbench.data.dataset import Origin
from zsbench.data.guard import GuardError, admitted, locked
from zsbench.data.universes import COCOSTUFF_171, CONTEXT_33, CONTEXT_59, UNIVERSES, VOC_CLASSES
from zsbench.data.vector_files import read_words
from zsbench.data.vector_words import choose, readings
from zsbench.data.vectors import ClassVectors, open_vectors
from zsbench.data.voc import VocDataset
from zsbench.errors import UserError
from zsbench.prompts import spoken_names
from zsbench.split import Split, load_split

VOC5, VOC_K2 = load_split("voc5"), load_split("voc_k2")


@dataclass
class Photographs:
    """As much of a real data set as class vectors look at."""

    origin: Origin = Origin("real", "PASCAL VOC 2012", "0" * 12)  # noqa: RUF009


REAL: Any = Photographs()


def split_of(seen: Sequence[str], unseen: Sequence[str], dataset: str = "voc2012", background: Any = "ignore") -> Split:
    return Split("own", dataset, "t", "s", tuple(seen), tuple(unseen), background, "mask")


def opened(spec: str | Path, split: Split, **more: Any) -> ClassVectors:
    return open_vectors(str(spec), split, REAL, Path("nowhere"), spoken_names(split, "real", None), **more)


def drawn(spec: str | Path, dataset: VocDataset, split: Split = VOC5, **more: Any) -> ClassVectors:
    return open_vectors(str(spec), split, dataset, dataset.root, spoken_names(split, "drawn", None), **more)


def refusal(spec: str | Path, split: Split, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        opened(spec, split, **more)
    return str(caught.value)


def text_file(path: Path, words: Mapping[str | bytes, Sequence[float]], header: bool = False, end: str = "\n") -> Path:
    lines = [
        (w if isinstance(w, bytes) else w.encode()) + b" " + " ".join(map(str, v)).encode() for w, v in words.items()
    ]
    first = [f"{len(words)} {len(next(iter(words.values())))}".encode()] if header else []
    data = end.encode().join([*first, *lines, b""])
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def binary_file(
    path: Path, words: Mapping[str | bytes, Sequence[float]], end: bytes = b"", words_told: int = 0
) -> Path:
    body = b"".join(
        (w if isinstance(w, bytes) else w.encode()) + b" " + np.array(v, "<f4").tobytes() + end
        for w, v in words.items()
    )
    data = f"{words_told or len(words)} {len(next(iter(words.values())))}\n".encode() + body
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def unit(rows: Any) -> Any:
    rows = np.asarray(rows, np.float64)
    return rows / np.sqrt((rows**2).sum(-1, keepdims=True))


ANIMALS = split_of(["cat", "dog"], ["cow", "sheep"])
WORDS: dict[str | bytes, Sequence[float]] = {
    "the": [9, 9, 9],
    b"\xff\xfe": [8, 8, 8],  # no UTF-8
    "sheep": [0.25, -3, 1e-2],
    "dog": [0, 2, 0],
    "cat": [1, 0, 0],
    "cow": [3, 4, 0],
    "cat ": [7, 7, 7],
}
EXPECTED = np.array([[1, 0, 0], [0, 2, 0], [3, 4, 0], [0.25, -3, 1e-2]], np.float32)  # in the split's order


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("glove.txt", {}),
        ("fasttext.vec", {"header": True, "end": " \n"}),
        ("windows.txt", {"header": True, "end": "\r\n"}),
        ("glove.txt.gz", {}),
        ("word2vec.bin", {}),
        ("word2vec.bin", {"end": b"\n"}),
        ("word2vec.bin.gz", {}),
    ],
)
def test_every_format_gives_rows_by_name(tmp_path: Path, name: str, how: dict[str, Any]) -> None:
    write = binary_file if ".bin" in name else text_file
    words = {k: v for k, v in WORDS.items() if k != "cat " or ".bin" not in name}
    file = write(tmp_path / name, words, **how)
    vectors = opened(file, ANIMALS)
    rows = vectors.rows(["cat", "dog", "cow", "sheep"])
    assert rows.dtype == np.float32 and vectors.dim == 3
    np.testing.assert_array_equal(rows, EXPECTED)  # norms as in the file
    np.testing.assert_array_equal(vectors.rows(["sheep", "cat"]), EXPECTED[[3, 0]])
    assert vectors.rows([]).shape == (0, 3)
    assert vectors.ledger() == {
        "source": name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "dim": 3, "kind": "word vectors",
        "corpus": "text corpus (names are read in text, without images)", "leaks": False, "control": None,
        "words": {"cat": "cat", "dog": "dog", "cow": "cow", "sheep": "sheep"},
    }  # fmt: skip


def test_words_of_glove_may_hold_spaces_and_the_first_of_two_counts(tmp_path: Path) -> None:
    file = tmp_path / "g.txt"
    file.write_text("a 1 2 3\n. . . 4 5 6\npotted plant 1 1 1\npotted 9 9 9\ncat 1 0 0\ncat 5 5 5\n\n")
    found = read_words(file, {"potted plant", "cat", "plant"}, {"nothing"})
    assert {word: row.tolist() for word, row in found.rows.items()} == {"potted plant": [1, 1, 1], "cat": [1, 0, 0]}


def test_a_block_border_may_fall_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    words: dict[str | bytes, Sequence[float]] = {f"w{'x' * (i % 7)}{i}": rng.normal(size=5).tolist() for i in range(50)}
    file = binary_file(tmp_path / "w.bin", words)
    for block in (10, 23, 64):
        monkeypatch.setattr("zsbench.data.vector_files._BLOCK", block)
        found = read_words(file, {str(word) for word in words}, {"nothing"})
        assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        np.testing.assert_array_equal(
            np.stack([found.rows[str(w)] for w in words]), np.array([*words.values()], np.float32)
        )


@pytest.mark.parametrize("name", ["w.bin", "w.vec"])
def test_a_large_file_is_never_loaded(tmp_path: Path, name: str) -> None:
    """8 MB and 40 MB of unwanted words in 6 MB of memory."""
    rng = np.random.default_rng(0)
    row = rng.normal(size=300).tolist()
    words: dict[str | bytes, Sequence[float]] = {f"w{i}": row for i in range(7000)}
    file = (binary_file if name == "w.bin" else text_file)(tmp_path / name, words)
    tracemalloc.start()
    found = read_words(file, {"w3", "w6999"}, {"nothing"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(found.rows) == {"w3", "w6999"} and peak < 6e6 < file.stat().st_size


def test_reading_ends_where_all_names_are_found_and_the_hash_is_of_the_whole_file(tmp_path: Path) -> None:
    file = text_file(tmp_path / "w.txt", {"cat": [1, 2], "dog": [3, 4]})
    with file.open("ab") as end:
        end.write(b"damaged 1\n")
    found = read_words(file, {"cat", "dog", "Dog"}, ["cat", "dog"])
    assert set(found.rows) == {"cat", "dog"} and found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(UserError, match="line 3 has 1 numbers, expected 2"):
        read_words(file, {"cat", "dog", "Dog"}, ["cat", "dog", "Dog"])


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.txt", b"", "the file is empty"),
        ("a.bin", b"", "the file is empty"),
        ("a.vec", b"3 2\ncat 1 2\ndog 3 4\n", "cut short: its first line tells of 3 words, 2 are there"),
        ("a.vec", b"1 2\n", "tells of 1 words, 0 are there"),
        ("a.vec", b"2 2\ncat 1 2\ndog 3\n", "line 3 has 1 numbers, expected 2"),
        ("a.txt", b"cat 1 2\ndog 3 4 5\n", "line 2 has 3 numbers, expected 2"),
        ("a.txt", b"cat 1 2\n\ndog 3 4x\n", "line 3 is not a word and its numbers"),
        ("a.txt", b"0 background\n1 aeroplane\n", "line 1 is b'0 background"),
        ("a.txt", b"cat\ndog\n", "expected a word and its numbers"),
        ("a.txt", b"2 2\ncat \0\0\1\2\3\4\5\6\n", "binary files are named .bin"),
        ("a.bin", b"3 2\ncat " + bytes(8) + b"dog " + bytes(8), "first line tells of 3 words, 2 are there"),
        ("a.bin", b"2 2\ncat " + bytes(8) + b"dog " + bytes(7), "first line tells of 2 words, 1 are there"),
        ("a.bin", b"2 2\ncat 1.0 2.0\ndog 3.0 4.0\n", "name it .txt or .vec"),
        ("a.bin", b"PK\x03\x04something else", "does not begin with 'words dim'"),
        ("a.bin", (793712314).to_bytes(4, "little") + bytes(60), "give the .vec file"),
        ("a.txt.gz", gzip.compress(b"cat 1 2\n" * 99)[:-9], "not a whole gzip file"),
        ("a.txt.gz", b"cat 1 2\n", "not a whole gzip file"),
        ("a.pkl", b"x", "not a file of class vectors by its name"),
        ("a.txt", b"cat nan 1\ndog 1 2\ncow 0 0\nsheep 1 1\n", "the vectors of cat, cow hold nan or inf, or nothing but zeros"),
    ],
)  # fmt: skip
def test_a_faulty_file_is_refused_in_words(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    message = refusal(file, ANIMALS)
    assert says in message and str(name) in message


def test_files_and_specs_that_are_not_there(tmp_path: Path) -> None:
    text_file(tmp_path / "glove.txt", {"cat": [1, 2]})
    assert "Did you mean 'glove.txt'?" in refusal(tmp_path / "glve.txt", ANIMALS)
    assert "Did you mean 'factor'?" in refusal("facter", ANIMALS)
    assert "random:x: a number of dimensions" in refusal("random:x", ANIMALS)
    assert "say nothing about photographs" in refusal("factor", ANIMALS)
    assert "no encoder named 'ViT-Q'" in refusal("clip:ViT-Q", ANIMALS)
    assert "leave it out" in refusal("random", ANIMALS, names="voc2012")


@pytest.mark.parametrize(
    ("name", "spoken", "known", "how"),
    [
        ("cow", "cow", "cow Cow COW", "cow"),
        ("cow", "cow", "Cow COW", "Cow"),
        ("pottedplant", "potted plant", "potted plant potted_plant", "potted_plant"),
        ("pottedplant", "potted plant", "potted plant Potted_Plant", "Potted_Plant"),
        ("pottedplant", "potted plant", "potted plant pottedplant", "pottedplant"),
        ("pottedplant", "potted plant", "Potted plant", "mean of Potted, plant"),
        ("pottedplant", "pottedplant", "potted plant", "mean of potted, plant (another spelling)"),
        ("pottedplant", "potted plant", "plant", None),
        ("aeroplane", "aeroplane", "airplane", "airplane (another spelling)"),
        ("aeroplane", "aeroplane", "airplane aeroplane", "aeroplane"),
        ("tvmonitor", "tv monitor", "television TV", "television (another spelling)"),
        ("wall-brick", "wall-brick", "wall brick other", "mean of wall, brick"),
        ("wall-brick", "wall-brick", "wall brick wall_brick", "wall_brick"),
        ("sky-other", "sky-other", "sky other", "sky"),
        ("door-stuff", "door-stuff", "door stuff", "door"),
        ("traffic light", "traffic light", "traffic light trafficlight", "trafficlight"),
        ("table", "table", "diningtable", "diningtable (another spelling)"),
    ],
)
def test_the_rule_of_names(name: str, spoken: str, known: str, how: str | None) -> None:
    choice = choose(readings(name, spoken), set(known.split()))
    assert (choice and str(choice)) == how


def test_a_mean_of_words_is_of_unit_vectors_and_keeps_its_length(tmp_path: Path) -> None:
    split = split_of(["cat"], ["pottedplant", "sheep"])
    file = text_file(tmp_path / "w.txt", {"potted": [5, 0], "plant": [0, 0.5], "cat": [2, 0], "Sheep": [0, 3]})
    vectors = opened(file, split)
    expected = np.array([[0.5, 0.5], [2, 0], [0, 3]])
    np.testing.assert_allclose(vectors.rows(["potted plant", "cat", "sheep"]), expected)
    words = {"cat": "cat", "pottedplant": "mean of potted, plant", "sheep": "Sheep"}
    assert vectors.ledger()["words"] == words


def test_all_classes_without_a_vector_are_listed_with_what_was_tried(tmp_path: Path) -> None:
    file = text_file(tmp_path / "w.txt", {"cat": [1, 2], "dog": [1, 2]})
    message = refusal(file, split_of(["background", "cat"], ["sofa", "dog", "pottedplant"], background="seen"))
    assert "no vector for 3 of the split's classes" in message
    assert "background (background)" in message and "sofa (sofa, couch)" in message
    assert "pottedplant (pottedplant, potted + plant)" in message and "seen background" in message


def table(path: Path, rows: int = 21, dim: int = 4, dtype: str = "float32") -> tuple[Path, np.ndarray]:
    array = np.random.default_rng(rows).normal(size=(rows, dim)).astype(dtype)
    np.save(path, array, allow_pickle=False)
    return path, array


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f8"])
@pytest.mark.parametrize(("rows", "first"), [(21, 0), (20, 1)])
def test_a_table_in_vocs_order(tmp_path: Path, dtype: str, rows: int, first: int) -> None:
    file, array = table(tmp_path / "v.npy", rows, dtype=dtype)
    vectors = opened(file, VOC5, names="voc2012")
    spoken = ["tv monitor", "aeroplane", "potted plant"]
    expected = array[[VOC_CLASSES.index(n) - first for n in ("tvmonitor", "aeroplane", "pottedplant")]]
    got = vectors.rows(spoken)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, expected.astype(np.float32))
    order = "voc2012 without background" if first else "voc2012"
    assert vectors.ledger()["words"]["tvmonitor"] == f"tvmonitor (row {20 - first} of {order})"
    assert vectors.ledger()["corpus"].startswith("unknown") and vectors.ledger()["source"] == "v.npy"
    if first:
        assert "background" in refusal(file, VOC_K2, names="voc2012")
    else:
        np.testing.assert_array_equal(
            opened(file, VOC_K2, names="voc2012").rows(["background"])[0], got.dtype.type(array[0])
        )


@pytest.mark.parametrize(
    ("rows", "order", "split", "first"),
    [
        (59, "context59", split_of(CONTEXT_59[:-2], CONTEXT_59[-2:], "context59"), 0),
        (60, "context60", split_of(CONTEXT_59[:-2], CONTEXT_59[-2:], "context59"), 1),
        (34, "context33", split_of(CONTEXT_33[:-2], CONTEXT_33[-2:], "context33"), 1),
        (171, "cocostuff171", load_split("coco15"), 0),
    ],
)
def test_tables_in_other_orders(tmp_path: Path, rows: int, order: str, split: Split, first: int) -> None:
    file, array = table(tmp_path / "v.npy", rows)
    names = spoken_names(split, "real", None)
    where = [UNIVERSES[order].index(name) + (first if order != "context60" else 0) for name in split.names]
    np.testing.assert_array_equal(opened(file, split, names=order).rows(names), array[where])


def test_names_of_rows_from_a_text_file(tmp_path: Path) -> None:
    file, array = table(tmp_path / "v.npy", 4)
    assert "--set vector_names=voc2012" in refusal(file, ANIMALS)
    names = tmp_path / "v.txt"
    names.write_text("sheep\ncow\ndog\ncat\n")
    expected = array[[3, 2, 1, 0]]
    asked = ["cat", "dog", "cow", "sheep"]
    np.testing.assert_array_equal(opened(file, ANIMALS).rows(asked), expected)  # beside the table
    for text in (
        "0 sheep\n1 cow\n2 dog\n3 cat",
        "1: sheep\n2: cow\n3: dog\n4: cat\n",
        "5\tsheep\r\n6\tcow\r\n7\tdog\r\n8\tcat",
    ):
        (tmp_path / "v.names.txt").write_text(text)  # goes before v.txt
        names.write_text("nothing")
        np.testing.assert_array_equal(opened(file, ANIMALS).rows(asked), expected)
    other = tmp_path / "own list.txt"
    other.write_text("dog\nsheep\ncow\nCat")
    vectors = opened(file, ANIMALS, names=str(other))
    np.testing.assert_array_equal(vectors.rows(asked), array[[3, 0, 2, 1]])
    assert vectors.ledger()["words"]["cat"] == "Cat (row 3 of own list.txt)"
    for text, says in (
        ("dog\nsheep\ncow", "4 rows, but"),
        ("dog\nsheep\ncow\ndog", "'dog' is named 2 times"),
        ("dog\nsheep\ncow\ncats", "Near: 'cats' for cat."),
        ("2 dog\n1 sheep\n3 cow\n4 cat", "do not count up by one"),
    ):
        other.write_text(text)
        assert says in refusal(file, ANIMALS, names=str(other))
    other.write_bytes(b"\xff\xfe\xfa")
    assert "UTF-8" in refusal(file, ANIMALS, names=str(other))
    assert "no file of names" in refusal(file, ANIMALS, names="lost.txt")
    assert "Did you mean 'voc2012'?" in refusal(file, ANIMALS, names="voc2021")


def test_tables_of_another_size_are_refused_with_advice(tmp_path: Path) -> None:
    file, _ = table(tmp_path / "v.npy", 182)
    message = refusal(file, load_split("coco15"), names="cocostuff171")
    assert "182 rows, but cocostuff171 has 171 names" in message and "11 of which are never annotated" in message
    assert "--set vector_names=cocostuff171" in refusal(table(file, 171)[0], VOC5, names="voc2012")
    assert "19 rows, but voc2012 has 21 names" in refusal(table(file, 19)[0], VOC5, names="voc2012")


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.ones((20, 6, 512), np.float32), "np.load('v.npy').mean(1)"),
        (np.ones(21, np.float32), "expected (classes, dim)"),
        (np.ones((0, 3), np.float32), "expected (classes, dim)"),
        (np.ones((21, 3), np.int64), "numbers of type int64"),
        (np.ones((21, 3), np.complex64), "numbers of type complex64"),
        (np.full((21, 3), np.inf, np.float32), "hold nan or inf"),
        (np.zeros((21, 3), np.float32), "nothing but zeros"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, array: np.ndarray, says: str) -> None:
    np.save(tmp_path / "v.npy", array, allow_pickle=False)
    assert says in refusal(tmp_path / "v.npy", VOC5, names="voc2012")


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([{"cat": 1}] * 21, object), allow_pickle=True)
    assert "can carry code" in refusal(tmp_path / "v.npy", VOC5, names="voc2012")
    (tmp_path / "v.npy").write_bytes(b"nothing")
    assert "not an .npy file inside" in refusal(tmp_path / "v.npy", VOC5, names="voc2012")
    whole, _ = table(tmp_path / "w.npy")
    (tmp_path / "v.npy").write_bytes(whole.read_bytes()[:-9])
    assert "not a whole .npy file" in refusal(tmp_path / "v.npy", VOC5, names="voc2012")


def test_parts_side_by_side_are_unit_and_so_is_the_whole(tmp_path: Path) -> None:
    a, left = table(tmp_path / "a.npy", 21, 3)
    b, right = table(tmp_path / "b.npy", 20, 5)
    c = text_file(tmp_path / "c.vec", {name: [i + 1.0, 2.0] for i, name in enumerate(VOC_CLASSES)})
    vectors = opened(f"{a}+{b}+{c}", VOC5, names="voc2012")
    i = VOC_CLASSES.index("sheep")
    expected = unit(np.concatenate([unit(left[i]), unit(right[i - 1]), unit([i + 1, 2])]))
    got = vectors.rows(["sheep"])[0]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert np.linalg.norm(got[:3]) == pytest.approx(3**-0.5, abs=1e-6) and vectors.dim == 10
    ledger = vectors.ledger()
    assert ledger["source"] == "a.npy+b.npy+c.vec" and len(ledger["sha256"]) == 64 and ledger["kind"] == "word vectors"
    assert (
        ledger["words"]["sheep"] == "sheep (row 17 of voc2012) + sheep (row 16 of voc2012 without background) + sheep"
    )
    odd = tmp_path / "x+y.txt"
    text_file(odd, WORDS)
    np.testing.assert_array_equal(opened(odd, ANIMALS).rows(["cow"])[0], EXPECTED[2])


def test_permuted_rows_go_round_among_the_unseen(tmp_path: Path) -> None:
    file, array = table(tmp_path / "v.npy")
    plain, vectors = opened(file, VOC5, names="voc2012"), opened(f"permuted:{file}", VOC5, names="voc2012")
    spoken = spoken_names(VOC5, "real", None)
    seen, unseen = spoken[:15], spoken[15:]
    np.testing.assert_array_equal(vectors.rows(seen), plain.rows(seen))
    np.testing.assert_array_equal(vectors.rows(unseen), plain.rows([*unseen[-1:], *unseen[:-1]]))
    ledger = vectors.ledger()
    assert (ledger["source"], ledger["kind"], ledger["control"]) == ("permuted:v.npy", "control", "permuted")
    assert ledger["words"]["sheep"].startswith("that of pottedplant: pottedplant (row 16")
    both = opened(f"permuted:{file}+{file}", VOC5, names="voc2012")
    np.testing.assert_allclose(both.rows(unseen)[0, 4:], unit(array[20]) / 2**0.5, atol=1e-6)
    one = split_of(["cat", "dog"], ["cow"])
    assert "one unseen class" in refusal(f"permuted:{file}", one, names="voc2012")


def test_random_rows_hang_on_seed_and_name_alone() -> None:
    vectors = opened("random", VOC5)
    rows = vectors.rows(spoken_names(VOC5, "real", None))
    assert rows.shape == (20, 300) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert np.abs(rows @ rows.T - np.eye(20)).max() < 0.3  # sd of a cosine: 0.058
    again = opened("random", VOC_K2)
    np.testing.assert_array_equal(again.rows(["sheep", "tv monitor"]), vectors.rows(["sheep", "tv monitor"]))
    assert (again.rows(["sheep"]) != opened("random", VOC_K2, seed=1).rows(["sheep"])).all()
    assert opened("random:7", VOC5).dim == 7 and "background" in again.ledger()["words"]
    assert vectors.ledger() | {"words": {}} == {
        "source": "random:300", "sha256": None, "dim": 300, "kind": "control", "corpus": "nothing: random numbers",
        "leaks": False, "control": "random", "words": {},
    }  # fmt: skip


def test_factor_rows_tell_the_looks_of_drawn_classes(dataset: VocDataset) -> None:
    stored = np.load(dataset.root / "semantics/factor300.npy", allow_pickle=False)
    vectors = drawn("factor", dataset, VOC_K2)
    names = list(VOC_K2.names)
    np.testing.assert_array_equal(vectors.rows(names), stored[[VOC_CLASSES.index(name) for name in names]])
    assert names[0] == "background" and vectors.ledger()["words"]["cow"] == "row 10"
    ledger = vectors.ledger()
    assert (ledger["source"], ledger["kind"]) == ("factor", "drawn factors")
    assert ledger["corpus"] == "nothing: the looks of the drawn classes" and not ledger["leaks"]
    assert drawn("factor64", dataset).dim == 64
    shifted = drawn("permuted", dataset)
    assert shifted.ledger()["source"] == "permuted:factor"
    made = np.load(
        dataset.root / "semantics/permuted300.npy", allow_pickle=False
    )  # the same control, as scenes are drawn
    np.testing.assert_array_equal(shifted.rows(VOC5.unseen), made[16:])
    both = drawn("factor+random:10", dataset)
    assert both.dim == 310 and both.ledger()["kind"] == "drawn factors + control"


def test_looks_are_found_by_class_where_captions_speak_of_looks(dataset: VocDataset) -> None:
    spoken = spoken_names(VOC5, "drawn", "drawn: comp_0.1")
    assert "sheep" not in spoken
    vectors = open_vectors("factor", VOC5, dataset, dataset.root, spoken)
    np.testing.assert_array_equal(vectors.rows(spoken), drawn("factor", dataset).rows(VOC5.names))
    assert "dotted green ring" in spoken and vectors.ledger()["words"]["sheep"] == "row 17"


def test_word_vectors_of_the_true_names_are_allowed_on_drawn_scenes(dataset: VocDataset, tmp_path: Path) -> None:
    words: dict[str | bytes, Sequence[float]] = {name: [i, 1.0] for i, name in enumerate(VOC_CLASSES)}
    vectors = drawn(text_file(tmp_path / "w.txt", words), dataset)
    np.testing.assert_array_equal(vectors.rows(["sheep"]), [[17, 1]])


def test_unseen_rows_stay_closed_until_they_are_opened(dataset: VocDataset) -> None:
    vectors = drawn("factor", dataset, closed=True)
    assert vectors.rows(VOC5.seen).shape == (15, 300)
    for name in ("sheep", "no class at all"):
        with pytest.raises(GuardError, match="closed until fit has ended; declare unseen_names='training'"):
            vectors.rows(["cat", name])
    assert list(vectors.ledger()["words"]) == list(VOC5.seen)  # no unseen name to be read there
    with pytest.raises(GuardError, match="opened by the harness"):
        vectors.open_unseen()
    with admitted():
        vectors.open_unseen()
    np.testing.assert_array_equal(vectors.rows(VOC5.names), drawn("factor", dataset).rows(VOC5.names))
    assert list(vectors.ledger()["words"]) == list(VOC5.names)
    with pytest.raises(KeyError, match="no class of this split is called 'dragon'"):
        vectors.rows(["dragon"])


def test_rows_are_copies(dataset: VocDataset) -> None:
    vectors = drawn("factor", dataset)
    vectors.rows(["cat"])[:] = 0
    assert vectors.rows(["cat"]).any()


def test_the_harness_reads_below_a_locked_folder(dataset: VocDataset) -> None:
    with locked(dataset.root):
        with pytest.raises(GuardError):
            np.load(dataset.root / "semantics/factor300.npy", allow_pickle=False)
        assert drawn("factor", dataset).dim == 300
        with pytest.raises(GuardError):
            np.load(dataset.root / "semantics/factor300.npy", allow_pickle=False)


def test_clip_text_features(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from zsbench.nn import clip

    before = torch.random.get_rng_state()
    vectors = opened("clip:small", VOC5)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(0)
    towers = clip.build("small")
    towers.model.eval()
    with torch.no_grad():
        tokens = towers.tokenizer(["a photo of a potted plant.", "a photo of a cat."])
        features = towers.model.encode_text(tokens)
    expected = unit(features.numpy())
    np.testing.assert_allclose(vectors.rows(["potted plant", "cat"]), expected, atol=1e-5)
    ledger = vectors.ledger()
    assert (ledger["kind"], ledger["leaks"], ledger["source"]) == ("clip text", False, "clip:small")
    assert ledger["corpus"].startswith("nothing") and ledger["words"]["pottedplant"] == "a photo of a potted plant."
    built = clip.build
    monkeypatch.setattr(clip, "build", lambda arch, weights: built(arch))  # weights of 600 MB are not at hand
    ledger = opened("permuted:clip:small:laion2b_s34b_b88k", VOC5).ledger()
    assert ledger["leaks"] and ledger["corpus"] == "LAION-2B: image captions, names of unseen classes included"
    assert ledger["source"] == "permuted:clip:small:laion2b_s34b_b88k" and ledger["control"] == "permuted"
    assert opened("clip:small:/somewhere/own.pt", VOC5).ledger()["source"] == "clip:small:own.pt"


# Published tables; where they are not at hand, these tests are skipped.


@pytest.fixture
def published(real_data: Path) -> Path:
    folder = real_data / "vectors"
    if not folder.is_dir():
        pytest.skip(f"no published vectors at {folder}")
    return folder


def cosines(vectors: ClassVectors, split: Split) -> dict[tuple[str, str], float]:
    rows = unit(vectors.rows(spoken_names(split, "real", None)))
    return {
        (a, b): float(rows[i] @ rows[j]) for i, a in enumerate(split.names) for j, b in enumerate(split.names) if i != j
    }


def test_zs3s_voc_vectors(published: Path) -> None:
    """Norms and neighbours as they are known of this file."""
    vectors = opened(published / "ZS3/pascal/w2c/norm_embed_arr_300.npy", VOC_K2, names="voc2012")
    norms = {
        n: float(np.linalg.norm(row))
        for n, row in zip(VOC_K2.names, vectors.rows(spoken_names(VOC_K2, "real", None)), strict=True)
    }
    assert min(norms, key=norms.__getitem__) == "person" and norms["person"] == pytest.approx(0.68, abs=0.005)
    assert norms["motorbike"] == pytest.approx(1, abs=1e-3) == max(norms.values())
    near = cosines(vectors, replace(VOC_K2, seen=VOC_K2.seen[1:]))
    for pair, value in {
        ("cow", "sheep"): 0.61, ("motorbike", "bicycle"): 0.63, ("cat", "dog"): 0.76, ("train", "bus"): 0.61,
        ("bottle", "sofa"): 0.25, ("pottedplant", "cow"): 0.19,
    }.items():  # fmt: skip
        assert near[pair] == pytest.approx(value, abs=0.006)
        assert near[pair] == max(v for (a, _), v in near.items() if a == pair[0])
    assert vectors.ledger()["corpus"].startswith("text corpus")


def test_spnets_vectors_side_by_side(published: Path) -> None:
    folder = published / "SPNet/voc12/word_vectors"
    vectors = opened(f"{folder}/fasttext.npy+{folder}/word2vec.npy", VOC5, names="voc2012")
    assert vectors.dim == 600
    rows = vectors.rows(["tv monitor", "cat"])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    fast, word = np.load(folder / "fasttext.npy"), np.load(folder / "word2vec.npy")
    np.testing.assert_allclose(rows, np.concatenate([fast, word], 1)[[20, 8]] / 2**0.5, atol=1e-6)
    near = cosines(opened(folder / "glove.npy", VOC5, names="voc2012"), VOC5)
    assert near["cat", "dog"] == max(value for (a, _), value in near.items() if a == "cat")


def test_orders_of_published_tables_agree_with_one_another(published: Path, tmp_path: Path) -> None:
    """The same class must be the nearest across two tables of one model: a wrong order would show."""
    context = split_of(CONTEXT_33[:-2], CONTEXT_33[-2:], "context33")
    cagnet = opened(published / "CaGNet/context/word_vectors/word2vec.npy", context, names="context33")
    zs3 = published / "ZS3/context/pascalcontext_class_w2c.npy"
    lists = published.parent / "lists/fcn/pascal-context/classes-59.txt"
    assert "classes-59.txt" in refusal(zs3, context, names="context60")
    other = opened(zs3, context, names=str(lists))
    names = [n for n in spoken_names(context, "real", None) if n not in ("potted plant", "tv monitor")]
    np.testing.assert_allclose(cagnet.rows(names), other.rows(names), atol=1e-4)
    everything = split_of(CONTEXT_59[:-2], CONTEXT_59[-2:], "context59")
    words = opened(zs3, everything, names=str(lists)).ledger()["words"]
    assert words["table"] == "diningtable (another spelling) (row 11 of classes-59.txt)"
    clip = opened(published / "Cascade-CLIP/context-59_multi.npy", everything, names="context59")
    coco = split_of(COCOSTUFF_171[:-2], COCOSTUFF_171[-2:], "cocostuff171")
    stuff = opened(published / "ZegCLIP/coco_multi.npy", coco, names="cocostuff171")
    assert clip.ledger()["leaks"] and clip.ledger()["kind"] == "clip text"
    shared = [n for n in everything.names if n in coco.names]
    near = unit(clip.rows(shared)) @ unit(stuff.rows(shared)).T
    assert len(shared) > 35 and (near.argmax(1) == np.arange(len(shared))).all()


def test_tables_of_published_projects_that_do_not_fit(published: Path) -> None:
    coco = load_split("coco15")
    assert "182 rows" in refusal(published / "SPNet/cocostuff/word_vectors/word2vec.npy", coco, names="cocostuff171")
    assert "several vectors per class" in refusal(published / "OTSeg/voc12_otseg.npy", VOC5, names="voc2012")
    voc = opened(published / "ZegCLIP/voc12_single.npy", VOC5, names="voc2012")
    assert voc.dim == 512 and voc.ledger()["leaks"]
