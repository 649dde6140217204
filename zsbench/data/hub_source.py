"""Tables of images and label maps in Hugging Face `datasets`: the train and val parts of an address, opened.

An address is NAME[:CONFIG] on the hub, or a path: a folder that `save_to_disk` wrote, a parquet file, or a folder of
parquet files. No code of a data set is ever run (`trust_remote_code` is never given). Parquet is copied once into
zsbench's cache in the form that `datasets` reads at random. The part a table belongs to is told by its split's or its
file's name; which one became val stands in `notes`.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsbench.data.scenes import cache_folder
from zsbench.errors import UserError

PREFIX = "hf:"
# Names of splits, the preferred one first.
USUAL = {"train": ("train", "training"), "val": ("validation", "val", "valid", "dev", "eval", "test", "testing")}
WORD = re.compile(r"(?<![a-z])(training|train|validation|valid|val|dev|eval|testing|test)(?![a-z])", re.IGNORECASE)
ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
COMMIT = re.compile(r"@([0-9a-f]{40})/")
SAVED, SAVED_ONE = "dataset_dict.json", "state.json"


@dataclass(frozen=True)
class Source:
    """tables: "train" and "val" as far as they are there. folder: images that are files must lie inside it.

    beside: where the user can put a class file and unseen.txt; None for what lies in the cache of `datasets`.
    """

    title: str
    tables: Mapping[str, Any]
    root: Path
    folder: Path
    protected: tuple[Path, ...]
    notes: tuple[str, ...]
    beside: Path | None = None
    revision: str = ""


def looks_saved(root: Path) -> bool:
    """Whether a path holds tables, by file names alone."""
    if root.is_file():
        return root.suffix == ".parquet"
    return (root / SAVED).is_file() or (root / SAVED_ONE).is_file() or bool(_parquet(root))


def open_source(address: str) -> Source:
    """The data set at an address. Raises UserError for a name or path that is none, and for splits without a usual name."""
    address = address.removeprefix(PREFIX)
    path = Path(address).expanduser()
    if address and path.exists():
        return _local(path)
    name, _, config = address.partition(":")
    if ON_HUB.fullmatch(name) is None or ":" in config or address.endswith(".parquet"):
        raise UserError(
            f"no Hugging Face data set at {address}: expected hf:NAME[:CONFIG] of the hub, or the path of a folder that "
            "save_to_disk wrote, of a parquet file, or of a folder of parquet files"
        )
    return _remote(name, config or None)


def _local(path: Path) -> Source:
    found = path.resolve()
    try:
        splits = _opened(found)
    except UserError:
        raise
    except Exception as error:  # pyarrow, fsspec and datasets each have their own errors for a broken folder
        raise UserError(f"{path} cannot be opened as a Hugging Face data set: {first_line(error)}.") from error
    tables, notes = _parts(splits, str(path))
    folder = found if found.is_dir() else found.parent
    # A parquet file's folder may be anybody's home: only the file itself is closed to methods.
    return Source(f"table '{_shown(found.name)}'", tables, folder, folder, (found, *_copies(tables)), notes, folder)


def _opened(path: Path) -> dict[str, Any]:
    import datasets

    if (path / SAVED).is_file():
        return dict(datasets.load_from_disk(str(path)))
    if (path / SAVED_ONE).is_file():
        table = datasets.load_from_disk(str(path))
        return {str(table.split or _word(path.name) or path.name): table}
    files = [path] if path.is_file() else _parquet(path)
    if not files:
        raise UserError(f"{path}: neither a folder that save_to_disk wrote ({SAVED}, {SAVED_ONE}) nor parquet files.")
    named: dict[str, list[str]] = {}
    for file in files:
        split = _word(file.stem) or _word(file.parent.name) if path.is_dir() else _word(file.stem)
        named.setdefault(split or file.stem, []).append(glob.escape(str(file)))
    _refuse_unnamed(named, str(path))
    # `datasets` takes no other name than letters, digits and dots for a split.
    return dict(datasets.load_dataset("parquet", data_files=named, cache_dir=str(cache_folder() / "tables")))


def _parquet(folder: Path) -> list[Path]:
    """Beside each other, in data/, or in a folder for each part."""
    if not folder.is_dir():
        return []
    return sorted(folder.glob("*.parquet")) or sorted(folder.glob("*/*.parquet"))


def _word(name: str) -> str | None:
    """The word for a part in a name: "train-00000-of-00004" -> "train"."""
    found = dict.fromkeys(match.lower() for match in WORD.findall(name))
    return next(iter(found)) if len(found) == 1 else None


def _remote(name: str, config: str | None) -> Source:
    import datasets

    try:
        splits = datasets.load_dataset(name, config)
    except Exception as error:  # no network, no such name, gated, a loading script: all the same to the user
        raise UserError(
            f"cannot open '{name}' ({config or 'default'}) on the Hugging Face hub: {first_line(error)}. It needs a "
            "network (or a copy in the cache) and a name that exists; a local folder is given as hf:PATH"
        ) from error
    tables, notes = _parts(splits, f"hf:{name}")
    copies, downloads = _copies(tables), _downloads(name)
    revision = _revision(tables.values())
    if revision:
        notes = (*notes, f"revision {revision[:12]}")
    title = f"hf:{name}" + (f":{config}" if config else "")
    root = copies[0] if copies else downloads
    return Source(title, tables, root, downloads, (*copies, downloads), notes, None, revision)


def _copies(tables: Mapping[str, Any]) -> tuple[Path, ...]:
    """Folders of the files that `datasets` reads."""
    files = (Path(file["filename"]).parent for table in tables.values() for file in table.cache_files)
    return tuple(dict.fromkeys(files))


def _downloads(name: str) -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}"


def _revision(tables: Iterable[Any]) -> str:
    """The commit that the files were downloaded from, "" where nothing says it."""
    urls = [url for table in tables for url in (table.info.download_checksums or {})]
    found = {match[1] for url in urls if (match := COMMIT.search(url))}
    return found.pop() if len(found) == 1 else ""


def _parts(splits: Mapping[str, Any], where: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Splits -> "train" and "val", and what is to be known of that."""
    _refuse_unnamed(splits, where)
    lowered = {str(name).lower(): str(name) for name in splits}
    taken = {part: lowered[word] for part, usual in USUAL.items() for word in usual[::-1] if word in lowered}
    tables = {part: splits[name] for part, name in taken.items()}
    for part, table in tables.items():
        if not len(table):
            raise UserError(f"{where}: its split '{taken[part]}' is empty.")
    notes = [f"val is its split '{taken['val']}'"] if "val" in taken else ["no split to score, only train"]
    if unused := [str(name) for name in splits if name not in taken.values()]:
        notes.append(f"not used: {', '.join(unused)}")
    return tables, tuple(notes)


def _refuse_unnamed(splits: Iterable[str], where: str) -> None:
    known = {word for usual in USUAL.values() for word in usual}
    names = [str(name) for name in splits]
    if not known & {name.lower() for name in names}:
        told = f"'{_shown(names[0])}' does" if len(names) == 1 else f"{', '.join(map(_shown, names[:8]))} do"
        raise UserError(
            f"{where}: {told} not say what is for training and what for scoring; name splits (of parquet: files) "
            "train and val, or train and test"
        )


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:200])
