"""Caption corpora in Hugging Face `datasets`: saved on disk or in parquet with random access, on the hub as a stream.

Choices: columns are found by their usual names; images stay encoded until fetched; a row with several captions is
several pairs; no code of a data set is ever run (`trust_remote_code` is never given). A local data set whose images are
files may only name files inside its own folder; a stream must hold the images' bytes.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsbench.data.caption_files import CAPTION_NAMES, IMAGE_NAMES, URL_NAMES, clean_caption, column, urls
from zsbench.data.caption_pairs import Captions, Corrupt, Skipped
from zsbench.data.caption_stores import Item, Rows, StoredCaptions, StreamedCaptions, read_bounded
from zsbench.errors import UserError

PICTURES = (*IMAGE_NAMES, "images", "picture", "jpg", "jpeg", "png", "webp")
TEXTS = (*CAPTION_NAMES, "captions", "sentences", "raw", "txt")
SPLIT = re.compile(r"(train|val|test|dev)", re.IGNORECASE)


def read_hub(address: str, split: str | None = None, seed: int = 0) -> Captions:
    """NAME_OR_PATH[:config][:split] of a local data set (random access) or of one on the hub (stream)."""
    name, config, split = _parts(address, split)
    path = Path(name).expanduser()
    if path.exists():
        return _stored(address, path, _local(path, config, split))
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is None or name.startswith("."):
        raise UserError(f"no Hugging Face data set at {name}: expected a folder, a parquet file or a name on the hub.")
    return _streamed(f"{name}:{config or 'default'}:{split or 'train'}", _remote(name, config, split or "train"), seed)


def _parts(address: str, split: str | None) -> tuple[str, str | None, str | None]:
    name, *rest = address.split(":")
    if len(rest) > 2:
        raise UserError(f"'hf:{address}' has too many parts: expected hf:NAME[:CONFIG][:SPLIT].")
    if len(rest) == 1 and SPLIT.match(rest[0]):
        return name, None, rest[0]
    return name, rest[0] or None if rest else None, rest[1] if len(rest) == 2 else split


def _local(path: Path, config: str | None, split: str | None) -> Any:
    import datasets

    try:
        if path.is_file():
            return datasets.load_dataset("parquet", data_files=str(path), split="train")
        if (path / "dataset_dict.json").is_file():
            return _split_of(datasets.load_from_disk(str(path)), path, split)
        if (path / "state.json").is_file():
            return datasets.load_from_disk(str(path))
        return _split_of(datasets.load_dataset(str(path), config), path, split)
    except UserError:
        raise
    except Exception as error:  # pyarrow, fsspec and datasets each have their own errors for a broken folder
        raise UserError(f"{path} cannot be opened as a Hugging Face data set: {_first_line(error)}.") from error


def _split_of(splits: Any, path: Path, split: str | None) -> Any:
    wanted = split or ("train" if "train" in splits else next(iter(splits), "train"))
    if wanted not in splits:
        raise UserError(f"{path} has no split '{wanted}'; it has {', '.join(splits)}.")
    return splits[wanted]


def _remote(name: str, config: str | None, split: str) -> Any:
    import datasets

    try:
        return datasets.load_dataset(name, config, split=split, streaming=True)
    except Exception as error:  # no network, no such name, gated, a loading script: all the same to the user
        raise UserError(
            f"cannot open '{name}' ({config or 'default'}, {split}) on the Hugging Face hub: {_first_line(error)}."
            " It needs a network, and a name that exists; a local folder is given as hf:PATH."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")


def _prepared(source: Any, name: str) -> tuple[Any, str, str]:
    """The data set with encoded images, and its columns of image and caption."""
    import datasets

    names = source.column_names
    if names is None:  # a stream without declared columns tells them with its first row
        names = list(next(iter(source), {}))
    features = source.features or {}
    declared = [c for c in names if isinstance(features.get(c), datasets.Image)]
    image, caption = declared[0] if declared else column(names, PICTURES), column(names, TEXTS)
    if image is None and column(names, URL_NAMES):
        raise urls(name)
    if image is None or caption is None:
        missing = "captions" if image else "images"
        raise UserError(f"{name} has no column of {missing}; its columns: {', '.join(names)}.")
    if isinstance(features.get(image), datasets.Image):
        source = source.cast_column(image, datasets.Image(decode=False))
    return source, image, caption


def _texts(value: Any) -> list[Any]:
    return value if isinstance(value, list) and value else [value]


@dataclass(frozen=True)
class Table:
    """Images of a map-style data set; `row` gives the row of each pair."""

    source: Any
    image: str
    folder: Path
    row: array[int]

    def read(self, index: int, key: str) -> bytes:
        return encoded(self.source[self.row[index]][self.image], self.folder)


def encoded(value: Any, folder: Path | None) -> bytes:
    """The bytes of an image cell: themselves, {"bytes", "path"}, or a file inside `folder`."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise Corrupt("no image")
    if folder is None:
        raise UserError(f"a streamed data set must hold its images, not name them ({value[:99]!r}): download it first.")
    if "://" in value:
        raise urls(str(folder))
    path = (folder / value).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f"the image {value[:200]!r} is outside of its data set's folder {folder}; it is not read.")
    with path.open("rb") as file:
        return read_bounded(file, path.stat().st_size)


def _stored(name: str, path: Path, source: Any) -> StoredCaptions:
    source, image, caption = _prepared(source, name)
    rows, skipped, at, seen = Rows(), Skipped(f"hf:{name}"), array("q"), 0
    for number, value in enumerate(_cells(source, caption)):
        for text in _texts(value):
            seen += 1
            try:
                rows.add(str(number), clean_caption(text))
                at.append(number)
            except Corrupt as error:
                skipped.line(f"row {number}", str(error))
    skipped.judge_lines(seen)
    folder = path if path.is_dir() else path.parent
    return StoredCaptions(f"hf:{name}", rows, Table(source.select_columns([image]), image, folder, at), skipped)


def _cells(source: Any, name: str) -> Iterator[Any]:
    """One column's values, without reading the images beside them."""
    for batch in source.select_columns([name]).with_format("arrow").iter(10_000):
        yield from batch.column(name).to_pylist()


@dataclass(frozen=True)
class Stream:
    """Items of a streamed data set from its beginning; keys are row numbers."""

    name: str
    source: Any
    image: str
    caption: str

    def __iter__(self) -> Iterator[Item]:
        for number, row in enumerate(self._rows()):
            for text in _texts(row.get(self.caption)):
                yield str(number), *_item(text, row.get(self.image))

    def _rows(self) -> Iterator[dict[str, Any]]:
        try:
            yield from self.source.select_columns([self.image, self.caption])
        except Exception as error:  # the network's errors have no common type; datasets has tried again by itself
            raise UserError(f"the stream {self.name} broke off: {_first_line(error)}.") from error


def _item(text: Any, value: Any) -> tuple[str | None, bytes | None]:
    try:
        caption = clean_caption(text)
    except Corrupt:
        return None, None
    try:
        return caption, encoded(value, None)
    except (Corrupt, OSError):
        return caption, None


def _streamed(name: str, source: Any, seed: int) -> StreamedCaptions:
    """A stream cannot be hashed before it has been read: its fingerprint is that of its address and columns."""
    source, image, caption = _prepared(source, name)
    fingerprint = hashlib.sha256(f"{name} {image} {caption}".encode()).hexdigest()[:12]
    return StreamedCaptions(f"hf:{name}", fingerprint, Stream(name, source, image, caption), seed)
