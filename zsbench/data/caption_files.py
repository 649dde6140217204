"""Caption files beside a folder of images: JSON lines, TSV, CSV and COCO's captions JSON.

Choices: in TSV a quote is a character like any other (a reader that minds quotes loses 5 % of CC3M's lines)
and every line is one row; CSV has quotes as in RFC 4180. Columns are found by their usual names; without a heading
there are two, image and caption, as in Flickr8k (`name.jpg#0<TAB>caption`). Captions lose outer white space only.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from zsbench.data.caption_pairs import Corrupt, Skipped
from zsbench.data.caption_stores import Folder, Rows, StoredCaptions
from zsbench.errors import UserError

IMAGE_NAMES = ("image", "img", "image_path", "file", "file_name", "filename", "filepath", "path", "key", "image_id")
CAPTION_NAMES = ("caption", "text", "alt", "alt_text", "title", "sentence", "description")
URL_NAMES = ("url", "image_url", "image_link")

URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
NUMBERED = re.compile(r"#\d+$")  # Flickr8k's caption number

Row = tuple[str, Any, Any]  # where it stands, image, caption; raw values as the file has them


def column(names: Iterable[str], usual: Sequence[str]) -> str | None:
    """The first usual name among `names`, whatever its case."""
    found = {name.strip().lower(): name for name in names}
    return next((found[name] for name in usual if name in found), None)


def urls(source: str) -> UserError:
    return UserError(
        f"{source} names its images by URL: download them first with img2dataset (--output_format webdataset)"
        " and give the folder of tar shards instead."
    )


def clean_caption(value: Any) -> str:
    """The caption without outer white space; raises `Corrupt` when there is none."""
    if not isinstance(value, str) or not value.strip():
        raise Corrupt("no caption")
    return value.strip()


def clean_key(value: Any, where: str) -> str:
    """An image's name below its folder. One that leads out of the folder is an attack, not a mishap: `UserError`."""
    if isinstance(value, int):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise Corrupt("no image")
    key = value.strip()
    if URL.match(key):
        raise urls(where)
    if leads_out(key):
        raise UserError(f"{where}: the image name {key[:200]!r} leads out of the folder of images.")
    return key


def leads_out(name: str) -> bool:
    """Whether a relative file name is none: absolute, with a drive, or with `..` anywhere."""
    parts = re.split(r"[/\\]", name)
    return ".." in parts or not parts[0] or re.fullmatch(r"[A-Za-z]:", parts[0]) is not None


def read_lines(path: Path, images: Path | None = None, name: str | None = None) -> StoredCaptions:
    """A .jsonl, .tsv, .csv or .txt file; images are named relative to `images` or else to the file's folder."""
    return _indexed(path, _rows(path), images or path.parent, name or path.name)


def read_coco(path: Path, images: Path | None = None) -> StoredCaptions:
    """COCO's captions JSON; for captions_train2017.json the images are looked for in a train2017 near by."""
    rows = list(_coco_rows(path))  # before a folder is looked for: the file itself may be no COCO captions
    return _indexed(path, iter(rows), images or _coco_folder(path), path.name)


def _indexed(path: Path, rows: Iterator[Row], images: Path, name: str) -> StoredCaptions:
    if not images.is_dir():
        raise UserError(f"no folder of images at {images} for the captions in {path}.")
    folder, index, skipped, seen = Folder(images), Rows(), Skipped(name), 0
    for seen, (where, image, caption) in enumerate(rows, start=1):  # noqa: B007  counted past the loop
        try:
            if isinstance(image, Corrupt):
                raise image
            key, text = clean_key(image, f"{path}, {where}"), clean_caption(caption)
        except Corrupt as error:
            skipped.line(where, str(error))
            continue
        if folder.find(key) is None:
            skipped.without_image += 1
        else:
            index.add(key, text)
    skipped.judge_lines(seen)
    if skipped.without_image and not index.size:
        raise UserError(f"none of the images of {skipped.without_image:,} captions in {path} is in {images}.")
    return StoredCaptions(name, index, folder, skipped)


def _rows(path: Path) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return _json_rows(path)
    with path.open("rb") as file:
        tabs = suffix == ".tsv" or (suffix == ".txt" and b"\t" in file.readline())
    return _table_rows(path, _tab_fields(path) if tabs else _comma_fields(path))


def _json_rows(path: Path) -> Iterator[Row]:
    for number, line in _decoded_lines(path):
        where = f"line {number}"
        try:
            value = json.loads(line) if isinstance(line, str) else None
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            yield where, Corrupt("not UTF-8" if line is None else "not a JSON object"), None
            continue
        image, caption = column(value, IMAGE_NAMES), column(value, CAPTION_NAMES)
        if image is None and column(value, URL_NAMES):
            raise urls(str(path))
        yield where, image and value[image], caption and value[caption]


Fields = Iterator[tuple[int, list[str] | None]]  # line number and fields; None = a line that cannot be read


def _table_rows(path: Path, lines: Fields) -> Iterator[Row]:
    number, first = next(lines, (0, None))
    if first is None:
        raise UserError(f"{path} " + ("does not begin with UTF-8 text." if number else "is empty."))
    at, width = _columns(path, first), len(first)
    if at is None:
        at, lines = (0, 1), _again(number, first, lines)
    for number, fields in lines:
        where = f"line {number}"
        if fields is None or len(fields) != width:
            yield where, Corrupt("not UTF-8, or stray quotes" if fields is None else f"not {width} fields"), None
        else:
            yield where, NUMBERED.sub("", fields[at[0]]), fields[at[1]]


def _again(number: int, first: list[str], rest: Fields) -> Fields:
    yield number, first
    yield from rest


def _columns(path: Path, first: list[str]) -> tuple[int, int] | None:
    """Places of image and caption by the heading; None when the first line is a row already."""
    image, caption = column(first, IMAGE_NAMES), column(first, CAPTION_NAMES)
    if any(URL.match(field) for field in first) or (not image and column(first, URL_NAMES)):
        raise urls(str(path))
    if image and caption:
        return first.index(image), first.index(caption)
    if len(first) == 2:
        return None
    raise UserError(
        f"{path} has no columns of image and caption: its first line is {', '.join(first)[:120]!r}; expected a heading"
        f" with one of {', '.join(IMAGE_NAMES)} and one of {', '.join(CAPTION_NAMES)}, or two columns and no heading."
    )


def _tab_fields(path: Path) -> Fields:
    for number, line in _decoded_lines(path):
        yield number, None if line is None else line.split("\t")


def _comma_fields(path: Path) -> Fields:
    file = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    with file:
        rows = csv.reader(file, strict=True)
        while True:
            number = rows.line_num + 1
            try:
                fields = next(rows, None)
            except csv.Error:
                yield number, None
                continue
            if fields is None:
                return
            if fields:
                yield number, fields if _is_text("".join(fields)) else None


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _decoded_lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Numbers and lines that are not blank; None for a line that is not UTF-8. Only a newline ends a line."""
    file = path.open("rb")
    with file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                yield number, None
                continue
            if text.strip():
                yield number, text


def _coco_rows(path: Path) -> Iterator[Row]:
    try:
        data = path.read_bytes()
        value = json.loads(data)
        files = {image["id"]: image["file_name"] for image in value["images"]}
        annotations = value["annotations"]
        if not isinstance(annotations, list) or (annotations and "caption" not in annotations[0]):
            raise KeyError("caption")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is no COCO captions file (images, annotations with captions): {error!r}.") from error
    for place, annotation in enumerate(annotations):
        known = annotation if isinstance(annotation, dict) else {}
        yield f"annotation {known.get('id', place)}", files.get(_hashable(known.get("image_id"))), known.get("caption")


def _hashable(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else None


def _coco_folder(path: Path) -> Path:
    part = path.stem.rpartition("_")[2]
    roots = (path.parent.parent, path.parent)
    near = [*(root / part for root in roots), *(root / "images" / part for root in roots)]
    found = next((folder for folder in near if folder.is_dir()), None)
    if found is None:
        raise UserError(
            f"no folder of images for {path}: looked for {', '.join(map(str, near))}; name it with --caption-images."
        )
    return found
