"""COCO's captions JSON, and a plain list of objects with captions.

Choices: annotations come one by one from the text, in their order, and are named by their ids; so the memory is that of
the file (four times that when it holds characters beyond Latin-1 as such) and not that of millions of objects. Bytes that
are no UTF-8 go through. A file that ends too early gives what it has and is broken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from zsbench.errors import UserError
from zsbench.leakage.batch import Batch, Bytes, Intake
from zsbench.leakage.reading import blocks
from zsbench.leakage.reading.columns import CAPTIONS
from zsbench.leakage.reading.jsonl import caption_of
from zsbench.leakage.reading.layout import BOM, Fragment
from zsbench.leakage.reading.sources import is_uri
from zsbench.leakage.reading.split import MALFORMED, OVER_LONG, READ
from zsbench.leakage.reading.streams import HEAD, STDIN, open_stream

DECODER = json.JSONDecoder(strict=False)
SPACE = re.compile(r"[ \t\n\r]*")
LIST = re.compile(rb"\s*\[\s*[\]\"]")  # of nothing, or of strings


def plan_coco(whole: Fragment, column: str | None) -> Fragment | None:
    """The file as one fragment; None when no key in it is one of captions."""
    if whole.source == STDIN or is_uri(whole.source):  # it would be fetched twice
        return replace(whole, column=column or "caption")
    try:
        data = _content(whole)
    except OSError:
        return replace(whole, column=column or "caption")  # told when it is read
    wanted = (column,) if column else CAPTIONS
    found = next((name for name in wanted if json.dumps(name).encode() in data), None)
    if found is None and data.rstrip().endswith((b"}", b"]")) and not LIST.match(data):
        return None
    return replace(whole, column=found or wanted[0])  # one cut off too early is told when it is read


def without_captions(source: str, column: str | None) -> UserError:
    return UserError(
        f'{source} holds no captions: expected COCO\'s "annotations" or a list of objects with'
        f" {json.dumps(column or 'caption')}; name another key with --caption-column."
    )


def read_coco(fragment: Fragment, intake: Intake) -> Iterator[Batch]:
    """The annotations' captions. Raises OSError where the file is damaged or of another kind."""
    text = _content(fragment).removeprefix(BOM).decode("utf-8", "surrogateescape")
    found, first = _annotations(text), 0
    while True:
        some, error = _some(found)
        if some:
            yield _batch(some, fragment.column, first, intake)
            first += len(some)
        if error:
            raise OSError(f"not whole as JSON ({error})")
        if len(some) < blocks.ROWS:
            break
    intake.bytes += fragment.bytes


def _content(fragment: Fragment) -> bytes:
    parts, part = [], bytearray(HEAD)
    with open_stream(fragment.source, fragment.compression) as stream:
        while got := stream.fill(memoryview(part)):
            parts.append(bytes(part[:got]))
    return b"".join(parts)


def _some(found: Iterator[Any]) -> tuple[list[Any], str]:
    """As many annotations as fit a batch, and what stopped them too early."""
    some: list[Any] = []
    try:
        some.extend(islice(found, blocks.ROWS))
    except (ValueError, RecursionError) as error:
        return some, str(error) or type(error).__name__
    return some, ""


def _annotations(text: str) -> Generator[Any, None, None]:
    """The elements of the list under "annotations", or of the list that is the whole file. Raises ValueError."""
    at = _past_space(text, 0)
    if text[at : at + 1] == "[":
        at = yield from _elements(text, at)
    elif text[at : at + 1] == "{":
        at = yield from _members(text, at)
    if _past_space(text, at) != len(text):
        raise json.JSONDecodeError("neither annotations nor a list of captions", text, at)


def _members(text: str, at: int) -> Generator[Any, None, int]:
    known = False
    while text[at] != "}":
        key, at = DECODER.raw_decode(text, _past_space(text, at + 1))
        at = _expect(text, _past_space(text, at), ":") + 1
        at = _past_space(text, at)
        if key == "annotations" and text[at : at + 1] == "[":
            known = True
            at = yield from _elements(text, at)
        else:
            _, at = DECODER.raw_decode(text, at)
        at = _expect(text, _past_space(text, at), ",}")
    if not known:
        raise json.JSONDecodeError('no list "annotations"', text, at)
    return at + 1


def _elements(text: str, at: int) -> Generator[Any, None, int]:
    if text[(after := _past_space(text, at + 1)) : after + 1] == "]":
        return after + 1
    while text[at] != "]":
        value, at = DECODER.raw_decode(text, _past_space(text, at + 1))
        yield value
        at = _expect(text, _past_space(text, at), ",]")
    return at + 1


def _past_space(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, signs: str) -> int:
    if at >= len(text) or text[at] not in signs:
        raise json.JSONDecodeError(f"expected {' or '.join(signs)}", text, at)
    return at


def _batch(annotations: list[Any], column: str, first: int, intake: Intake) -> Batch:
    found = [_caption(annotation, column) for annotation in annotations]
    ends = np.cumsum([len(text) for _, text in found], dtype=np.int64)
    starts = ends - np.array([len(text) for _, text in found], dtype=np.int64)
    states = np.array([state for state, _ in found], dtype=np.uint8)
    data: Bytes = np.frombuffer(b"".join(text for _, text in found) or b"\0", dtype=np.uint8)
    keys = [_key(annotation, first + place) for place, annotation in enumerate(annotations)]
    return blocks.counted(data, states, starts, ends, first, intake, keys=keys)


def _caption(annotation: Any, column: str) -> tuple[int, bytes]:
    if isinstance(annotation, dict):
        if column not in annotation:
            return MALFORMED, b""
        annotation = annotation[column]
    state, text = caption_of(annotation)
    return (OVER_LONG, b"") if state == READ and len(text) > blocks.LONGEST else (state, text)


def _key(annotation: Any, place: int) -> str | int:
    key = annotation.get("id") if isinstance(annotation, dict) else None
    return key if isinstance(key, (str, int)) else place
