"""Rewriting COCO's captions JSON: annotations that go are cut out of the text, all else stays as the bytes it was.

Choices: the file is not parsed and printed again, which would change numbers, escapes and white space; a compiled walk
finds where the elements of `annotations` (or of a list at the top) lie. Images whose captions have all gone are counted
and stay, unless they are asked to go too. The file is mapped, so that memory does not grow with it.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from zsbench.leakage.batch import Bytes
from zsbench.leakage.compiled import compiled
from zsbench.leakage.purging.lines import compressed
from zsbench.leakage.purging.verdicts import Mask, Masks, Verdicts, disagreement
from zsbench.leakage.reading.fragments import Fragment
from zsbench.leakage.reading.sources import is_uri
from zsbench.leakage.reading.split import QUOTE
from zsbench.leakage.reading.streams import open_stream

BACKSLASH, COMMA, COLON = 92, 44, 58
OPEN, CLOSE, OPEN_LIST, CLOSE_LIST = 123, 125, 91, 93
FOREVER = 1 << 62


@compiled
def _past_space(data, at):  # type: ignore[no-untyped-def]
    while at < data.size and (data[at] == 32 or data[at] == 9 or data[at] == 10 or data[at] == 13):
        at += 1
    return at


@compiled
def _past_value(data, at):  # type: ignore[no-untyped-def]
    """Behind the JSON value that begins at `at`; the end of the data where it is cut off."""
    depth = 0
    while at < data.size:
        byte = data[at]
        if byte == QUOTE:
            at += 1
            while at < data.size and data[at] != QUOTE:
                at += 2 if data[at] == BACKSLASH else 1
            if depth == 0:
                return min(at + 1, data.size)
        elif byte in (OPEN, OPEN_LIST):
            depth += 1
        elif byte in (CLOSE, CLOSE_LIST, COMMA) or byte <= 32:
            if depth == 0:
                return at
            if byte in (CLOSE, CLOSE_LIST):
                depth -= 1
                if depth == 0:
                    return at + 1
        at += 1
    return data.size


@compiled
def _split_list(data, at, starts, ends):  # type: ignore[no-untyped-def]
    """Extents of the elements of the list that begins at `at`, as far as there is room; their number."""
    count, at = 0, _past_space(data, at + 1)
    while at < data.size and data[at] != CLOSE_LIST:
        end = _past_value(data, at)
        if count < starts.size:
            starts[count], ends[count] = at, end
        count += 1
        at = _past_space(data, end)
        if at < data.size and data[at] == COMMA:
            at = _past_space(data, at + 1)
        elif at < data.size and data[at] != CLOSE_LIST:
            return -1
    return count


class JsonList:
    """The elements of a list in a text of JSON, by their extents."""

    def __init__(self, data: Bytes, begin: int):
        none = np.empty(0, dtype=np.int64)
        count = max(int(_split_list(data, begin, none, none)), 0)
        self.data, self.starts, self.ends = data, np.empty(count, np.int64), np.empty(count, np.int64)
        _split_list(data, begin, self.starts, self.ends)

    def __len__(self) -> int:
        return len(self.starts)

    def values(self) -> Iterator[dict[str, Any]]:
        """The elements, parsed; what is no object is an empty one."""
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            value = json.loads(bytes(self.data[start:end]).decode("utf-8", "surrogateescape"), strict=False)
            yield value if isinstance(value, dict) else {}

    def cuts(self, kept: Mask) -> Iterator[tuple[int, int]]:
        """Extents to be left out of the text: elements that go, each with the comma that is then one too many."""
        rows = np.flatnonzero(kept)
        if not len(self):
            return
        if not len(rows):
            yield int(self.starts[0]), int(self.ends[-1])
            return
        if rows[0] > 0:
            yield int(self.starts[0]), int(self.starts[rows[0]])
        for row in np.flatnonzero(np.diff(rows) > 1):  # what lies between two kept elements, but for one comma
            yield int(self.ends[rows[row]]), int(self.ends[rows[row + 1] - 1])
        if rows[-1] < len(self) - 1:
            yield int(self.ends[rows[-1]]), int(self.ends[-1])


def rewrite_json(verdicts: Verdicts, part: Path, drop_images: bool = False) -> dict[str, Any]:
    """Writes a COCO file without the annotations that go; tells how many images lost all their captions."""
    fragment = verdicts.fragments[0]
    kept = Masks(verdicts).take(FOREVER)  # reads it to its end first: only what is whole is taken apart below
    with _mapped(fragment, part) as data:
        lists = top_lists(data)
        annotations = lists.get("annotations") or JsonList(data, len(data))
        if len(annotations) != len(kept):
            raise disagreement(fragment.source)
        bare = _bare_images(annotations, kept)
        cuts, dropped = list(annotations.cuts(kept)), 0
        if drop_images and "images" in lists:
            staying = np.array(
                [_key(image.get("id")) not in bare for image in lists["images"].values()], dtype=np.bool_
            )
            cuts, dropped = sorted([*cuts, *lists["images"].cuts(staying)]), int(np.count_nonzero(~staying))
        with compressed(part, fragment.compression) as file:
            _write_without(data, cuts, file.write)
    return {"images_without_captions": len(bare), "images_dropped": dropped}


def _bare_images(annotations: JsonList, kept: Mask) -> set[Any]:
    """Ids of images that had captions and have none any more."""
    before: set[Any] = set()
    after: set[Any] = set()
    for annotation, stays in zip(annotations.values(), kept.tolist(), strict=True):
        image = _key(annotation.get("image_id"))
        (after if stays else before).add(image)
    return before - after - {None}


def _key(value: Any) -> Any:
    """An id; 1 and "1" are two, true is none."""
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def _write_without(data: Bytes, cuts: list[tuple[int, int]], write: Callable[[Any], Any]) -> None:
    view, at = data.data, 0
    for start, end in [*cuts, (len(data), len(data))]:
        for begin in range(at, start, 1 << 24):
            write(view[begin : min(begin + (1 << 24), start)])
        at = end


def top_lists(data: Bytes) -> dict[str, JsonList]:
    """The lists of the object at the top by their keys (the last one, should a key come twice, as for any parser).

    A list at the top goes by the name of `annotations`.
    """
    at = _past_space(data, 3 if bytes(data[:3]) == b"\xef\xbb\xbf" else 0)
    if at < len(data) and data[at] == OPEN_LIST:
        return {"annotations": JsonList(data, at)}
    begins = {key: place for key, place in _members(data, at) if data[place] == OPEN_LIST}
    return {key: JsonList(data, place) for key, place in begins.items()}


def _members(data: Bytes, at: int) -> Iterator[tuple[str, int]]:
    """Keys of the object at `at`, and where their values begin."""
    at = _past_space(data, at + 1)
    while at < len(data) and data[at] == QUOTE:
        end = _past_value(data, at)
        key = json.loads(bytes(data[at:end]).decode("utf-8", "surrogateescape"), strict=False)
        begin = _past_space(data, _past_space(data, end) + 1)
        if begin >= len(data):
            return
        yield key, begin
        at = _past_space(data, _past_space(data, _past_value(data, begin)) + 1)


@contextmanager
def _mapped(fragment: Fragment, part: Path) -> Iterator[Bytes]:
    """The (decompressed) text of the source, mapped."""
    if not fragment.compression and not is_uri(fragment.source):
        with _map(Path(fragment.source)) as data:
            yield data
        return
    plain = part.with_suffix(".plain")
    try:
        with open_stream(fragment.source, fragment.compression) as stream, plain.open("wb") as file:
            buffer = bytearray(1 << 20)
            while got := stream.fill(memoryview(buffer)):
                file.write(memoryview(buffer)[:got])
        with _map(plain) as data:
            yield data
    finally:
        plain.unlink(missing_ok=True)


@contextmanager
def _map(path: Path) -> Iterator[Bytes]:
    if not path.stat().st_size:
        yield np.empty(0, dtype=np.uint8)
        return
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    yield np.frombuffer(mapped, dtype=np.uint8)
