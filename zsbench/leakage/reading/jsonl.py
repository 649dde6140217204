"""JSON lines: one object a line, whose caption is a string or a list of strings.

Choices: a line that is no object, or has no such key, or holds something else there, is malformed; null is null. A list
is one record, for one row of the corpus is named once: its captions are joined by line ends. Control characters inside
strings are taken as they are; bytes that are no UTF-8 go through. The compiled look finds plain objects' captions and
Python's parser all others; the .json members of tar shards are read by the same two steps.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from zsbench.leakage.batch import Bytes, Places
from zsbench.leakage.reading import blocks
from zsbench.leakage.reading import split as kernels
from zsbench.leakage.reading.blocks import Rows, Window
from zsbench.leakage.reading.json_values import find_strings


class JsonCut:
    """Lines with the string under `key`."""

    quoted = unclosed = False

    def __init__(self, key: str):
        self.key = key

    def __call__(self, window: Window, rows: Rows) -> tuple[int, int]:
        ours = window.data, window.lo, window.closed(), window.stop - window.origin
        count, end = kernels.split_fields(*ours, kernels.NEWLINE, 0, 1, blocks.LONGEST, *rows.arrays)
        find_captions(window.data, window.spare, self.key, rows.starts[:count], rows.ends[:count], rows.states[:count])
        return count, end


def find_captions(data: Bytes, spare: int, key: str, starts: Places, ends: Places, states: Bytes) -> int:
    """Narrows extents of JSON objects to those of their captions, written anew from data[spare] on where they must be.

    Only those in state READ are looked at; states become what was found. Returns the end of what was written.
    """
    name = np.frombuffer(key.encode("utf-8", "surrogateescape") or b"\0", dtype=np.uint8)
    unsure, spare = find_strings(data, name, spare, starts, ends, states)
    for row in np.flatnonzero(states == kernels.UNSURE) if unsure else ():
        states[row], text = parsed(bytes(data[starts[row] : ends[row]]), key)
        data[spare : spare + len(text)] = np.frombuffer(text, dtype=np.uint8)
        starts[row], ends[row] = spare, spare + len(text)
        spare += len(text)
    return int(spare)


def parsed(line: bytes, key: str) -> tuple[int, bytes]:
    """State and caption of one JSON object."""
    if not line.strip():
        return kernels.EMPTY, b""
    try:
        value = json.loads(line.decode("utf-8", "surrogateescape"), strict=False)
        return caption_of(value[key]) if isinstance(value, dict) else (kernels.MALFORMED, b"")
    except (ValueError, KeyError, RecursionError):
        return kernels.MALFORMED, b""


def caption_of(value: Any) -> tuple[int, bytes]:
    """State and bytes of a caption as JSON has it: a string, null, or a list of strings and nulls."""
    if value is None:
        return kernels.NULL, b""
    texts = [text for text in value if text is not None] if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        return kernels.MALFORMED, b""
    joined = encoded("\n".join(texts))
    return (kernels.READ if joined else kernels.EMPTY), joined


def encoded(text: str) -> bytes:
    """UTF-8, with bytes that were none as they came, and a lone surrogate as the invalid bytes that it is."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
