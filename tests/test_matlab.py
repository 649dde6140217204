"""MATLAB files from strangers: what is right is read as scipy reads it, what lies is refused before scipy sees it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_array

from zsbench.data.matlab import MatFile, open_mat, read_sbd_mask
from zsbench.data.pixels import Missing
from zsbench.errors import UserError

IDS = np.arange(12).reshape(3, 4)
NAMES = ["person", "hair drier", "", "ofen für brot", "x" * 300]


def element(kind: int, body: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}II", kind, len(body)) + body + b"\0" * (-len(body) % 8)


def matrix(
    name: bytes, shape: tuple[int, ...], content: bytes, kind: int = 9, order: str = "<", flags: int = 0
) -> bytes:
    head = element(6, struct.pack(f"{order}II", kind | flags, 0), order)
    head += element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return element(14, head + element(1, name, order) + content, order)


def text(letters: bytes, shape: tuple[int, ...], kind: int = 4, order: str = "<") -> bytes:
    return matrix(b"", shape, element(kind, letters, order), 4, order)


def header(order: str = "<") -> bytes:
    return b"MATLAB 5.0".ljust(124) + (b"\x00\x01IM" if order == "<" else b"\x01\x00MI")


FOUR = element(2, b"1234")


def opened(file: Path, data: bytes | None = None) -> MatFile:
    if data is not None:
        file.write_bytes(data)
    return open_mat(file, "a label map")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.mat"


# ---- what is right


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?"])
def test_numbers_of_every_type_and_texts_are_read(file: Path, dtype: str, compressed: bool) -> None:
    ids = IDS.astype(dtype)
    cells = np.array(NAMES, dtype=object).reshape(-1, 1)
    savemat(file, {"before": "text", "S": ids, "deep": {"a": {"b": cells}}, "names": cells}, do_compression=compressed)
    mat = opened(file)
    assert list(mat.variables) == ["before", "S", "deep", "names"] and mat.texts("absent") == []
    found = mat.label_map("S")
    assert np.issubdtype(found.dtype, np.integer) and np.array_equal(found, ids) and mat.texts("names") == NAMES


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(file: Path, order: str) -> None:
    """Written by hand: columns first, in the file's own order of bytes; letters as MATLAB stores them, in 16 bits."""
    ids = struct.pack(f"{order}6H", 1, 400, 3, 2, 5, 459)
    word = "für".encode("utf-16-le" if order == "<" else "utf-16-be")
    names = text(word, (1, 3), order=order) + text(b"bag", (1, 3), 16, order) + text(b"", (0, 0), order=order)
    for packed in (False, True):
        whole = [
            matrix(b"S", (3, 2), element(4, ids, order), 11, order),
            matrix(b"names", (1, 3), names, 1, order),
        ]
        if packed:
            whole = [struct.pack(f"{order}II", 15, len(z)) + z for z in map(zlib.compress, whole)]
        mat = opened(file, header(order) + b"".join(whole))
        assert mat.label_map("S").tolist() == [[1, 2], [400, 5], [3, 459]] and mat.texts("names") == ["für", "bag", ""]


def test_a_field_of_a_struct_is_read_whatever_lies_beside_it(file: Path) -> None:
    """As SBD has it: boundaries are a cell array of sparse matrices, which nobody reads."""
    edges = np.empty((20, 1), dtype=object)
    edges[:, 0] = [csc_array(np.eye(3)) for _ in range(20)]
    record = {"Boundaries": edges, "Segmentation": IDS.astype(np.uint8), "CategoriesPresent": np.array([3, 8])}
    savemat(file, {"GTcls": record}, do_compression=True)
    assert np.array_equal(read_sbd_mask(file), IDS) and read_sbd_mask(file).dtype == np.uint8


def test_what_is_not_asked_for_is_not_unpacked(file: Path) -> None:
    """A bomb, nesting without end and an object beside the label map do no harm."""
    bomb = zlib.compress(matrix(b"bomb", (2**14, 2**13), element(2, bytes(2**27))), 1)
    opaque = element(14, element(6, struct.pack("<II", 17, 0)) + element(1, b"table") + element(1, b"MCOS"))
    data = header() + element(15, bomb)[: 8 + len(bomb)] + opaque + opaque + nested(b"deep", 50_000)
    mat = opened(file, data + matrix(b"S", (2, 2), FOUR))
    assert list(mat.variables) == ["bomb", "deep", "S"] and mat.label_map("S").tolist() == [[49, 51], [50, 52]]


def nested(name: bytes, depth: int) -> bytes:
    """A cell in a cell in a cell; made from outside in, since lengths are known."""
    parts, size = [FOUR], len(FOUR)
    for level in range(depth):
        head = matrix(name if level == depth - 1 else b"", (1, 1), b"", 1)[8:]
        size += len(head)
        parts += [head, struct.pack("<II", 14, size)]
        size += 8
    return b"".join(reversed(parts))


def test_lists_of_texts_that_repeat_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    for i, names in enumerate((["a", "b"], ["a", "c"], ["a", "b"])):
        savemat(tmp_path / f"{i}.mat", {"names": np.array(names, dtype=object)})
        found = opened(tmp_path / f"{i}.mat").texts("names")
        assert found == names
        found.clear()  # a list of one's own


# ---- what is wrong


def label_maps() -> Iterator[tuple[bytes, str]]:
    good = matrix(b"S", (2, 2), FOUR)
    bomb = zlib.compress(matrix(b"S", (7000, 7000), element(9, bytes(2**26))), 1)
    yield b"", "another header"
    yield b"x" * 500, "another header"
    yield b"MATLAB 7.3".ljust(124) + b"\x00\x02IM" + b"x" * 400, "version 7.3; save it again with -v7"
    yield header() + good[:-6], "ends in the middle of a variable"
    yield header() + matrix(b"S", (2, 2), FOUR[:-6]), "ends in the middle of a variable"
    yield header() + matrix(b"S", (2, 2), b""), "content of type 0"
    yield header() + matrix(b"S", (200_000, 200_000), FOUR), "'S' is uint8 200000 × 200000; expected a label map"
    yield header() + matrix(b"S", (2, 3), FOUR), "cannot reshape"
    yield header() + matrix(b"S", (-2, -2), FOUR), "'S' is uint8 -2 × -2"
    yield header() + matrix(b"S", (0, 4), element(2, b"")), "'S' is uint8 0 × 4"
    yield header() + matrix(b"S", (1,) * 200, FOUR), "more than 32 dimensions"
    yield header() + matrix(b"S", (1, 2, 2), FOUR), "'S' is uint8 1 × 2 × 2"
    yield header() + matrix(b"S", (2, 2), element(77, b"1234")), "content of type 77"
    yield header() + matrix(b"S", (2, 2), element(14, b"1234")), "content of type 14"
    yield header() + matrix(b"S", (2, 2), FOUR * 2, flags=0x800), "'S' is complex uint8 2 × 2"
    yield header() + matrix(b"S", (2, 2), FOUR, 5), "'S' is sparse 2 × 2"
    yield header() + matrix(b"S", (2, 2), FOUR, 200), "'S' is of kind 200 2 × 2"
    yield header() + nested(b"S", 50_000), "'S' is cell 1 × 1"
    yield header() + matrix(b"T", (2, 2), FOUR), "holds 'T', no 'S'"
    yield header(), "holds nothing, no 'S'"
    yield header() + good + good, "holds 'S' twice"
    yield header() + matrix(b"S", (1, 1), element(9, struct.pack("<d", 1.5))), "'S' holds fractions"
    yield header() + matrix(b"S", (1, 1), element(9, struct.pack("<d", float("nan")))), "'S' holds fractions"
    yield header() + matrix(b"S", (1, 1), element(9, struct.pack("<d", float("inf")))), "'S' holds fractions"
    yield header() + element(15, bomb)[: 8 + len(bomb)], "unpacks to more than 64 MiB"
    yield header() + element(15, b"no zlib"), "Error -3"
    yield header() + element(15, zlib.compress(good[:-12])), "in the middle"
    yield header() + element(15, zlib.compress(good)[:-5]), "in the middle"


@pytest.mark.parametrize(("data", "words"), list(label_maps()))
def test_what_is_no_label_map_is_refused_by_name(file: Path, data: bytes, words: str) -> None:
    with pytest.raises(UserError) as error:
        opened(file, data).label_map("S")
    said = str(error.value)
    assert said.startswith(f"{file}: ") and words in said and "a label map" in said and "\n" not in said


def lists() -> Iterator[tuple[bytes, str]]:
    ok = text(b"bag", (1, 3), 16)
    longer = matrix(b"", (1, 3), element(16, b"bag") + nested(b"", 3), 4)
    yield matrix(b"N", (1, 2**30), b"", 1), "'N' is cell 1 × 1073741824; expected a cell array of at most 10,000 texts"
    yield matrix(b"N", (1, 1), text(b"x" * 2**21, (1, 2**21), 16), 1), "at most 10,000 texts"
    yield matrix(b"N", (1, 2), ok, 1), "1 cells where 2 are declared"
    yield matrix(b"N", (1, 1), ok + ok, 1), "2 cells where 1 are declared"
    yield matrix(b"N", (1, 1), matrix(b"", (1, 1), b"", 1), 1), "something else than texts"
    yield matrix(b"N", (1, 1), nested(b"", 10_000), 1), "something else than texts"
    yield matrix(b"N", (1, 1), element(14, b""), 1), "something else than texts"
    yield matrix(b"N", (1, 1), longer, 1), "longer than its text"
    yield matrix(b"N", (1, 1), text(b"", (1, 2**31 - 1)), 1), "a text of 1 × 2147483647 letters in 0 bytes"
    yield matrix(b"N", (1, 1), text(b"ab", (2, 1), 16), 1), "a text of 2 × 1 letters"
    yield matrix(b"N", (1, 1), text(b"ab", (-1, -2), 16), 1), "a text of -1 × -2 letters"
    yield matrix(b"N", (1, 1), text(b"abcd", (1, 4), 4), 1), "buffer is too small"
    yield matrix(b"N", (1, 1), text(b"abcd", (1, 4), 77), 1), "content of type 77"
    yield matrix(b"N", (1, 1), b"", 2), "'N' is struct 1 × 1"


@pytest.mark.parametrize(("variable", "words"), list(lists()))
def test_what_is_no_list_of_texts_is_refused_by_name(file: Path, variable: bytes, words: str) -> None:
    mat = opened(file, header() + variable + matrix(b"S", (2, 2), FOUR))
    with pytest.raises(UserError) as error:
        mat.texts("N")
    assert str(error.value).startswith(f"{file}: ") and words in str(error.value)
    assert mat.label_map("S").size == 4  # which nobody asks about the list


def records() -> Iterator[tuple[bytes, str]]:
    def fields(names: bytes, length: int, *values: bytes) -> bytes:
        return element(5, struct.pack("<i", length)) + element(1, names) + b"".join(values)

    name, ids = b"Segmentation\0\0\0\0", matrix(b"", (2, 2), FOUR)
    bomb = zlib.compress(matrix(b"GTcls", (1, 1), bytes(2**26), 2), 1)
    yield matrix(b"GTcls", (1, 2), fields(name, 16, ids, ids), 2), "'GTcls' is struct 1 × 2; expected one struct"
    yield matrix(b"GTcls", (2, 2), FOUR), "'GTcls' is uint8 2 × 2; expected one struct"
    yield matrix(b"GTcls", (1, 1), fields(b"Boundaries\0\0\0\0\0\0", 16, ids), 2), "has no field 'Segmentation'"
    yield matrix(b"GTcls", (1, 1), fields(name, 0, ids), 2), "must not be zero"
    yield matrix(b"GTcls", (1, 1), fields(name, -16, ids), 2), "has no field"
    yield matrix(b"GTcls", (1, 1), fields(name, 16), 2), "'Segmentation' is no array"
    yield matrix(b"GTcls", (1, 1), b"", 2), "not enough values"
    yield matrix(b"GTcls", (1, 1), fields(name, 16, nested(b"", 50_000)), 2), "'GTcls.Segmentation' is cell 1 × 1"
    yield matrix(b"GTcls", (1, 1), fields(name, 16, matrix(b"", (2, 2), element(77, b"1234"))), 2), "of type 77"
    wide = matrix(b"", (2, 2), element(4, bytes(8)), 11)
    yield matrix(b"GTcls", (1, 1), fields(name, 16, wide), 2), "expected a uint8 label map"
    yield element(15, bomb)[: 8 + len(bomb)], "unpacks to more than 64 MiB"
    yield matrix(b"S", (2, 2), FOUR), "holds 'S', no 'GTcls'"


@pytest.mark.parametrize(("variable", "words"), list(records()))
def test_what_is_no_mask_of_sbd_is_refused_by_name(file: Path, variable: bytes, words: str) -> None:
    file.write_bytes(header() + variable)
    with pytest.raises(UserError) as error:
        read_sbd_mask(file)
    assert str(error.value).startswith(f"{file}: ") and words in str(error.value)


def test_random_damage_never_escapes_as_another_error(file: Path) -> None:
    """Uncompressed, so that the damage reaches every length, type and size; scipy alone would end the process on some."""
    cells = np.array(NAMES, dtype=object).reshape(-1, 1)
    savemat(file, {"S": IDS.astype(np.uint8), "names": cells, "GTcls": {"Segmentation": IDS.astype(np.uint8)}})
    whole, generator, outcomes = file.read_bytes(), np.random.default_rng(0), set()
    for _ in range(1500):
        broken = bytearray(whole)
        for place in generator.integers(128, len(broken), generator.integers(1, 5)):
            broken[place] = generator.integers(256)
        file.write_bytes(broken)
        for read in (
            lambda: opened(file).label_map("S"),
            lambda: opened(file).texts("names"),
            lambda: read_sbd_mask(file),
        ):
            try:
                read()
                outcomes.add("read")
            except UserError:
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_missing_and_huge_files_are_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Missing, match="no such file"):
        opened(file)
    with pytest.raises(UserError, match="cannot be read"):
        opened(file.parent)
    monkeypatch.setattr("zsbench.data.matlab.LARGEST", 2**20)
    with pytest.raises(UserError, match="larger than 1 MiB"):
        opened(file, bytes(2**20 + 1))
