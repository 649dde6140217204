"""Hugging Face data sets: hf:PATH of one saved on disk, whose Arrow files are read directly, or hf:NAME, a stream.

Choices: no code of a data set is ever run; a stream is one fragment, which cannot be resumed, because the hub promises
no order of what it sends twice. Without a split it is `train`, or the first one saved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from zsbench.errors import UserError
from zsbench.leakage.batch import Batch, Intake
from zsbench.leakage.reading.columns import choose
from zsbench.leakage.reading.layout import Fragment
from zsbench.leakage.reading.sources import first_line
from zsbench.leakage.reading.texts import read_batches

PREFIX = "hf:"
SPLIT = re.compile(r"(train|val|test|dev)", re.IGNORECASE)
ROWS = 4096  # rows fetched at once


def is_hub(spec: str) -> bool:
    return spec.startswith(PREFIX) and not spec.startswith(PREFIX + "//")


def saved(spec: str) -> list[str] | None:
    """The files of a data set on disk, a folder or file that is none; None for a name on the hub."""
    name, _, split = _parts(spec)
    path = Path(name).expanduser()
    if not path.exists():
        return None
    if (path / "dataset_dict.json").is_file():
        splits = _read(path / "dataset_dict.json").get("splits", [])
        wanted = split or ("train" if "train" in splits else next(iter(splits), "train"))
        if wanted not in splits:
            raise UserError(f"{path} has no split '{wanted}'; it has {', '.join(map(str, splits))}.")
        path = path / wanted
    if not (path / "state.json").is_file():
        return [str(path)]
    files = [entry.get("filename", "") for entry in _read(path / "state.json").get("_data_files", [])]
    if not all(isinstance(file, str) and Path(file).name == file for file in files):
        raise UserError(f"{path / 'state.json'} names files outside of its folder; they are not read.")
    return [str(path / file) for file in files]


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}.") from error
    return value if isinstance(value, dict) else {}


def _parts(spec: str) -> tuple[str, str | None, str | None]:
    """Name, configuration and split; one part more is a split when it sounds like one."""
    name, *rest = spec.removeprefix(PREFIX).split(":")
    if len(rest) > 2 or not name:
        raise UserError(f"'{spec}' is no Hugging Face data set: expected hf:NAME_OR_PATH[:CONFIG][:SPLIT].")
    if len(rest) == 1 and SPLIT.match(rest[0]):
        return name, None, rest[0]
    return name, (rest[0] or None) if rest else None, rest[1] if len(rest) == 2 else None


def plan_streamed(spec: str, column: str | None) -> Fragment:
    name, config, split = _parts(spec)
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is None or name.startswith("."):
        raise UserError(f"no Hugging Face data set at {name}: expected a folder saved by it, or a name on the hub.")
    source = f"{PREFIX}{name}:{config or ''}:{split or 'train'}"
    stream = _open(source)
    names = stream.column_names or list(next(iter(stream), {}))
    return Fragment(source, "hub", column=choose(source, names, column), resumable=False)


def _open(source: str) -> Any:
    import datasets

    name, config, split = _parts(source)
    try:
        return datasets.load_dataset(name, config, split=split, streaming=True)
    except Exception as error:  # no network, no such name, gated, a loading script: all the same to the user
        raise UserError(
            f"cannot open '{name}' ({config or 'default'}, {split}) on the Hugging Face hub: {first_line(error)}."
            " It needs a network, and a name that exists; a local folder is given as hf:PATH."
        ) from error


def read_streamed(fragment: Fragment, intake: Intake) -> Iterator[Batch]:
    """The stream's captions. Raises OSError when it breaks off."""
    column = fragment.column
    stream = _open(fragment.source).select_columns([column])
    columns = (pa.record_batch([pa.array(rows[column])], [column]) for rows in _rows(stream.iter(ROWS)))
    for batch in read_batches(columns, column, intake):
        intake.bytes += int((batch.ends - batch.starts).sum())
        yield batch


def _rows(batches: Any) -> Iterator[Any]:
    following: Callable[[], Any] = iter(batches).__next__
    while True:
        try:
            rows = following()
        except StopIteration:
            return
        except Exception as error:  # the network's errors have no common type; datasets has tried again by itself
            raise OSError(f"the stream broke off ({first_line(error)})") from error
        yield rows
