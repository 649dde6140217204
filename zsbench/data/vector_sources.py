"""Where class vectors come from: one function per kind of spec (`vectors.py` lists them), each giving a row per class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from zsbench.data.dataset import Dataset
from zsbench.data.universes import VOC_CLASSES
from zsbench.data.vector_files import SUFFIXES, Found, read_words
from zsbench.data.vector_tables import CLIP_TABLES, WORD_TABLES, read_table
from zsbench.data.vector_words import choose, readings
from zsbench.errors import UserError, unknown
from zsbench.split import Split

FACTORS = {"factor": "factor300.npy", "factor64": "factor64.npy"}  # below semantics/ of a folder of drawn scenes
PROMPT = "a photo of a {}."
RANDOM_DIM = 300
TEXT = "text corpus (names are read in text, without images)"
UNTOLD = "unknown: an .npy file does not say what made its rows"


@dataclass(frozen=True)
class Request:
    """For which classes, and where from. `spoken` runs parallel to the split's names."""

    split: Split
    dataset: Dataset
    root: Path
    spoken: Sequence[str]
    names: str
    seed: int


@dataclass(frozen=True)
class Table:
    """Rows (classes of the split, dim) and what the ledger says of them. how: one text per class."""

    rows: np.ndarray
    source: str
    kind: str
    corpus: str
    how: Sequence[str]
    sha256: str | None = None
    leaks: bool = False
    control: str | None = None


def open_table(spec: str, request: Request) -> Table:
    """The rows of a split's classes as `spec` gives them."""
    head, _, rest = spec.partition(":")
    if head == "permuted":
        return _permuted(rest or "factor", request)
    if not spec:
        raise UserError(
            "this method needs class vectors: --set vectors=FILE (word2vec .bin, text .vec or .txt, or .npy with"
            " --set vector_names=voc2012), clip:ARCH:TAG, or a control, 'random'"
        )
    if "+" in spec and not Path(spec).is_file():
        return _joined([open_table(part.strip(), request) for part in spec.split("+")])
    if head == "random":
        return _random(rest, request)
    if head == "clip":
        return _clip(rest, request)
    return _factor(spec, request) if spec in FACTORS else _file(spec, request)


def _permuted(spec: str, request: Request) -> Table:
    """Control 2: what names a class is as structured as before and belongs to another unseen class."""
    seen, unseen = len(request.split.seen), len(request.split.unseen)
    if unseen < 2:
        raise UserError(
            f"permuted:{spec}: split '{request.split.name}' has one unseen class; passing rows on takes two"
        )
    table = open_table(spec, request)
    order = [*range(seen), *(seen + np.roll(np.arange(unseen), 1))]
    names = request.split.names
    how = [table.how[j] if i == j else f"that of {names[j]}: {table.how[j]}" for i, j in enumerate(order)]
    source = f"permuted:{table.source}"
    return replace(table, rows=table.rows[order], how=how, source=source, kind="control", control="permuted")


def _joined(parts: Sequence[Table]) -> Table:
    """Parts side by side, as SPNet joins fastText and word2vec. The hash is that of the parts' hashes."""
    rows = _unit(np.concatenate([_unit(part.rows) for part in parts], axis=1))
    hashes = "+".join(part.sha256 or part.source for part in parts)
    return Table(
        rows,
        source="+".join(part.source for part in parts),
        kind=" + ".join(dict.fromkeys(part.kind for part in parts)),
        corpus="; ".join(dict.fromkeys(part.corpus for part in parts)),
        how=[" + ".join(words) for words in zip(*(part.how for part in parts), strict=True)],
        sha256=hashlib.sha256(hashes.encode()).hexdigest() if any(part.sha256 for part in parts) else None,
        leaks=any(part.leaks for part in parts),
        control=" + ".join(dict.fromkeys(part.control for part in parts if part.control)) or None,
    )


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays what it is, for `_check_rows` to find."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _random(dim: str, request: Request) -> Table:
    """Control 1. A class has the same row in every split and order."""
    if dim and not (dim.isdecimal() and int(dim)):
        raise UserError(f"random:{dim}: a number of dimensions was expected, e.g. random:{RANDOM_DIM}")
    width = int(dim or RANDOM_DIM)
    rows = np.stack([_stream(request.seed, name).normal(size=width) for name in request.split.names])
    source, how = f"random:{width}", ["random numbers"] * len(rows)
    return Table(_unit(rows), source, "control", "nothing: random numbers", how, control="random")


def _stream(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(f"{seed} {name}".encode()).digest()))


def _factor(spec: str, request: Request) -> Table:
    if request.dataset.origin.kind != "drawn":
        raise UserError(
            f"vectors = {spec}: the looks of drawn classes say nothing about photographs; give word vectors"
            f" (--set vectors=FILE.bin, .vec, .txt or .npy), clip:ARCH:TAG, or the control 'random'"
        )
    path = request.root / "semantics" / FACTORS[spec]
    if not path.is_file():
        raise UserError(f"{path}: no such file; draw the scenes anew: zsbench data draw NEW-FOLDER")
    found = read_table(path, "voc2012")
    rows = np.stack([found.rows[name] for name in request.split.names])
    how = [f"row {VOC_CLASSES.index(name)}" for name in request.split.names]
    return Table(rows, spec, "drawn factors", "nothing: the looks of the drawn classes", how, found.sha256)


def _clip(spec: str, request: Request) -> Table:
    """Text features of open_clip, unit rows. Without weights: a random tower, from the seed."""
    import torch

    from zsbench.nn.clip import build, corpus_of, text_features

    arch, _, weights = spec.partition(":")
    prompts = [PROMPT.format(name) for name in request.spoken]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(request.seed)
        towers = build(arch, weights)
        towers.model.eval()
        rows = text_features(towers, prompts, torch.device("cpu")).numpy()
    read = f"{corpus_of(weights, arch)}: image captions, names of unseen classes included"
    source = f"clip:{arch}:{Path(weights).name}" if weights else f"clip:{arch}"
    corpus = read if weights else "nothing: random weights"
    sha256 = _sha256(Path(weights)) if weights and Path(weights).is_file() else None
    return Table(rows, source, "clip text", corpus, prompts, sha256, leaks=bool(weights))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(spec: str, request: Request) -> Table:
    path = Path(spec).expanduser()
    _check_path(spec, path)
    ways = [readings(name, said) for name, said in zip(request.split.names, request.spoken, strict=True)]
    if path.suffix == ".npy":
        found = read_table(path, request.names)
    else:
        wanted = {form for way in ways for reading in way for forms in reading.forms for form in forms}
        found = read_words(path, wanted, enough=request.split.names)
    choices = [choose(way, found.rows) for way in ways]
    missing = {
        name: said
        for name, said, choice in zip(request.split.names, request.spoken, choices, strict=True)
        if not choice
    }
    if missing:
        raise _missing(path, missing, found)
    kept = [choice for choice in choices if choice]
    rows = np.stack([choice.row(found.rows) for choice in kept])
    how = [str(c) + (f" ({found.places[c.words[0]]})" if c.words[0] in found.places else "") for c in kept]
    return Table(rows, path.name, *_origin(path, found.sha256), how, found.sha256, found.sha256[:12] in CLIP_TABLES)


def _origin(path: Path, sha256: str) -> tuple[str, str]:
    """Kind and corpus of a file. Of an .npy only what is published is known."""
    if sha256[:12] in CLIP_TABLES:
        return "clip text", "WIT-400M (OpenAI, not public): image captions, names of unseen classes included"
    known = path.suffix != ".npy" or sha256[:12] in WORD_TABLES
    return "word vectors", TEXT if known else UNTOLD


def _check_path(spec: str, path: Path) -> None:
    readable = (".npy", *SUFFIXES, *(f"{suffix}.gz" for suffix in SUFFIXES))
    if not path.suffix and not path.exists():
        raise unknown(
            "class vectors",
            spec,
            [*FACTORS, "random", "permuted:SPEC", "clip:ARCH", "FILE.npy", "FILE.bin", "FILE.vec"],
        )
    if not path.name.endswith(readable):
        raise UserError(f"{path}: not a file of class vectors by its name; expected {', '.join(readable)}")
    if not path.is_file():
        beside = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        near = get_close_matches(path.name, beside, n=1)
        raise UserError(f"no file of class vectors at {path}." + (f" Did you mean '{near[0]}'?" if near else ""))


def _missing(path: Path, missing: Mapping[str, str], found: Found) -> UserError:
    """All classes without a vector, what they were looked for as, and (of a table) the nearest names it has."""
    lines = [f"{name} ({', '.join(_tried(name, said))})" for name, said in missing.items()]
    near = {n: get_close_matches(n, list(found.places), n=1) for n in missing} if found.places else {}
    hints = [f"'{match[0]}' for {name}" for name, match in near.items() if match]
    hint = f" Near: {', '.join(hints)}." if hints else ""
    seen = " Splits with a seen background need a vector of 'background' too." if "background" in missing else ""
    return UserError(
        f"{path} has no vector for {len(missing)} of the split's classes: {'; '.join(lines)}."
        f" Looked for in any usual letter case, joined by '_', '-' or nothing, and word by word.{hint}{seen}"
    )


def _tried(name: str, said: str) -> Iterable[str]:
    """The base words of a class's readings."""
    return dict.fromkeys(" + ".join(forms[0] for forms in reading.forms) for reading in readings(name, said))
