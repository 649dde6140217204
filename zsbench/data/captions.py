"""Captions with images for training, from drawn scenes and from every usual format, by one function.

web, clean, pair_0.1             an arm of the drawn scenes
captions.jsonl .tsv .csv .txt    image name and caption, images in a folder
captions_train2017.json          COCO
shards/  '{00000..00331}.tar'    img2dataset and WebDataset archives: a folder, a glob, a range or one file
hf:NAME[:CONFIG][:SPLIT]         Hugging Face datasets: a local folder or parquet file, or a hub name (streamed)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zsbench.data.caption_files import read_coco, read_lines
from zsbench.data.caption_hub import read_hub
from zsbench.data.caption_pairs import Captions, Pair, Skipped, decode
from zsbench.data.caption_stores import StoredCaptions, StreamedCaptions
from zsbench.data.caption_tars import read_tars, shards
from zsbench.errors import UserError, unknown

__all__ = ["Captions", "Pair", "Skipped", "StoredCaptions", "StreamedCaptions", "decode", "open_captions", "pairs"]

LINES = (".jsonl", ".ndjson", ".tsv", ".csv", ".txt")


def open_captions(
    spec: str, *, images: Path | None = None, drawn_root: Path | None = None, split: str | None = None, seed: int = 0
) -> Captions:
    """The corpus that `spec` names (forms: see the module). Raises `UserError` for anything that cannot be opened.

    images: folder that image names are relative to, where it is not beside the captions file.
    drawn_root: folder of the drawn scenes; their arms then go before files of the same name.
    split: split of a Hugging Face data set when `spec` names none. seed: order of a stream.
    """
    if drawn_root is not None and spec in drawn_arms(drawn_root):
        return read_lines(drawn_root / "captions" / f"{spec}.jsonl", drawn_root / "JPEGImages", f"drawn: {spec}")
    try:
        return _open(spec, images, drawn_root, split, seed)
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or spec})"
        raise UserError(f"cannot read the captions {spec}: {reason}.") from error


def drawn_arms(root: Path) -> list[str]:
    """Names of the caption corpora of drawn scenes."""
    return sorted(path.stem for path in (root / "captions").glob("*.jsonl"))


def pairs(captions: Captions) -> Iterator[Pair]:
    """Every pair once in order, corrupt ones replaced; of a stream, pairs without end."""
    at = 0
    while captions.size is None or at < captions.size:
        yield from captions.fetch([at])
        at += 1


def _open(spec: str, images: Path | None, drawn_root: Path | None, split: str | None, seed: int) -> Captions:
    path = Path(spec).expanduser()
    suffix = path.suffix.lower()
    if suffix in LINES and path.is_file():
        return read_lines(path, images)
    if suffix == ".json" and path.is_file():
        return read_coco(path, images)
    if spec.startswith("hf:") or suffix == ".parquet":
        return read_hub(spec.removeprefix("hf:"), split, seed)
    if path.is_dir() or ".tar" in path.name or suffix == ".tgz":
        return read_tars(spec, shards(spec))
    raise _not_found(spec, path, drawn_root)


def _not_found(spec: str, path: Path, drawn_root: Path | None) -> UserError:
    if path.exists():
        return UserError(f"{path} is in no known caption format: expected {', '.join(LINES)}, COCO .json, .tar.")
    if drawn_root is not None and "/" not in spec and path.suffix not in (*LINES, ".json"):
        return unknown("caption corpus", spec, drawn_arms(drawn_root))
    return UserError(f"no captions at {path}: expected a file, a folder of .tar shards, or hf:NAME.")
