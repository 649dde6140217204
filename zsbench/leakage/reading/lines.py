"""TSV, text, CSV and JSON lines: records that lie one after the other in a file.

Choices: in TSV a quote is a character like any other and only `\\n` ends a line, so that the records are the newlines
(and one more for a last line without): readers that mind quotes lose 5 % of CC3M. CSV has quotes as in RFC 4180, which
is why it cannot be cut at any byte: one file is one fragment. A blank line is a record with an empty caption.
"""

from __future__ import annotations

from collections.abc import Iterator

from zsbench.leakage.batch import Batch, Intake
from zsbench.leakage.reading import blocks
from zsbench.leakage.reading import split as kernels
from zsbench.leakage.reading.blocks import Rows, Window
from zsbench.leakage.reading.jsonl import JsonCut
from zsbench.leakage.reading.layout import Fragment
from zsbench.leakage.reading.streams import STDIN, open_stream


class FieldCut:
    """Lines of fields between separators."""

    quoted = unclosed = False

    def __init__(self, separator: str, place: int, fields: int):
        self.layout = ord(separator), place, fields

    def __call__(self, window: Window, rows: Rows) -> tuple[int, int]:
        limit = window.stop - window.origin
        ours = window.data, window.lo, window.closed(), limit
        return kernels.split_fields(*ours, *self.layout, blocks.LONGEST, *rows.arrays)


class CsvCut:
    """Records whose fields may be quoted, and then hold separators, line ends and doubled quotes."""

    quoted = True

    def __init__(self, separator: str, place: int, fields: int):
        self.layout = ord(separator), place, fields
        self.unclosed = False

    def __call__(self, window: Window, rows: Rows) -> tuple[int, int]:
        ours = window.data, window.lo, window.closed(), window.ended
        found = kernels.split_quoted(*ours, *self.layout, blocks.LONGEST, window.spare, *rows.arrays)
        count, end, self.unclosed = found
        return count, end


def read_lines(fragment: Fragment, intake: Intake) -> Iterator[Batch]:
    """The fragment's records. Raises OSError where the source is damaged; what came before has been handed out."""
    begun_before = fragment.start > 0
    with open_stream(fragment.source, fragment.compression) as stream:
        window = Window(stream, stop=fragment.stop or blocks.FOREVER)
        window.skip(fragment.start - 1 if begun_before else fragment.header_bytes)
        try:
            if begun_before:
                window.pass_record()
            yield from blocks.batches(window, _cut(fragment), intake)
        finally:
            if not fragment.compression:
                intake.bytes += max(min(window.position, window.stop) - fragment.start, 0)
    intake.bytes += fragment.bytes if fragment.compression and fragment.source != STDIN else 0


def _cut(fragment: Fragment) -> blocks.Cut:
    if fragment.format == "csv":
        return CsvCut(fragment.delimiter, fragment.place, fragment.fields)
    if fragment.format == "jsonl":
        return JsonCut(fragment.column)
    return FieldCut(fragment.delimiter, fragment.place, fragment.fields)
