"""overlap.json, pairs.csv and pairs.html: the audit to keep, to sort and to look at.

pairs.csv holds every pair found, by name too; text that a spreadsheet would run gets a leading apostrophe. pairs.html
shows the pairs that were found by looks and those that share no more than a name, side by side, in one file that loads
nothing; of many only the first.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Iterator
from html import escape
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from zsbench.atomic import replacing, write_json, write_text
from zsbench.errors import UserError
from zsbench.overlap.audit import Audit, Block
from zsbench.overlap.compare import Comparison, Pair
from zsbench.overlap.sources import ImageList
from zsbench.reports.tables import cell

COLUMNS = ("list_a", "list_b", "how", "name_a", "name_b", "bits", "alike", "file_a", "file_b")
SHEET = 200  # pairs on the page: 3 MB
SIDE = 160  # pixels of a thumbnail
OTHER = "same name, other picture"

STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "ul{list-style:none;padding:0;display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(22rem,1fr))}"
    "li{border:1px solid #8886;border-radius:.5rem;padding:.75rem;break-inside:avoid}"
    "figure{display:inline-block;width:48%;margin:0;vertical-align:top}img{max-width:100%}"
    "figcaption{font-size:.8rem;overflow-wrap:anywhere}"
)


def write(result: Audit, report: Block, folder: Path) -> list[Path]:
    """The files, each whole or not there; the page last, and only where there is something to look at."""
    told, pairs, page = folder / "overlap.json", folder / "pairs.csv", folder / "pairs.html"
    write_json(told, report)
    with replacing(pairs) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([cell(value) for value in row] for row in _rows(result))
    if result.looked is None:
        page.unlink(missing_ok=True)
        return [told, pairs]
    write_text(page, sheet(result))
    return [told, pairs, page]


def _rows(result: Audit) -> Iterator[tuple[object, ...]]:
    for one in (*result.within, *result.across):
        for pair in (*one.named, *one.seen):
            files = _place(one.a, pair.a), _place(one.b, pair.b)
            names = one.a.names[pair.a], one.b.names[pair.b]
            yield one.a.name, one.b.name, _how(pair), *names, pair.distance, pair.alike, *files


def _how(pair: Pair) -> str:
    return OTHER if pair.other else pair.how


def _place(one: ImageList, place: int) -> str | None:
    photo = one.photos[place] if one.photos else None
    return photo.place if photo else None


def sheet(result: Audit) -> str:
    """The page of pairs, as HTML."""
    shown = list(_shown((*result.across, *result.within)))
    items = [_item(one, pair) for one, pair in islice(shown, SHEET)]
    rest = f" The first {SHEET} of {len(shown):,}; pairs.csv has all." if len(shown) > SHEET else ""
    said = f"{len(shown):,} pairs that look alike under different names, or share no more than a name.{rest}"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Images that lists share</title><style>{STYLE}</style>"
        f"<h1>Images that lists share</h1><p>{said}</p><ul>{''.join(items)}</ul></html>\n"
    )


def _shown(comparisons: Iterable[Comparison]) -> Iterator[tuple[Comparison, Pair]]:
    for one in comparisons:
        for pair in (*one.seen, *one.others):
            yield one, pair


def _item(one: Comparison, pair: Pair) -> str:
    bits = "" if pair.distance is None else f", {pair.distance} of 64 bits, correlation {pair.alike:.2f}"
    figures = _figure(one.a, pair.a) + _figure(one.b, pair.b)
    return f"<li>{figures}<p>{escape(_how(pair))}{bits}</p></li>"


def _figure(one: ImageList, place: int) -> str:
    said = escape(f"{one.name}: {one.names[place]}")
    photo = one.photos[place] if one.photos else None
    try:
        picture = _thumbnail(photo.read()) if photo else ""
    except UserError:  # gone since it was looked at
        picture = ""
    image = f'<img alt="{said}" src="data:image/jpeg;base64,{picture}">' if picture else ""
    return f"<figure>{image}<figcaption>{said}</figcaption></figure>"


def _thumbnail(pixels: np.ndarray) -> str:
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
