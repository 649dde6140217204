"""What `zsbench run` is told: options over a TOML file over defaults. The file may ask for many runs at once.

Beside the options a file can hold a table [matrix], whose lists of values are all combined, and entries [[run]], each with
methods, fields and a matrix of its own. What stands at the top of the file holds for every entry that says nothing else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from zsbench.config import parse, parse_sets
from zsbench.corpus import Policy
from zsbench.errors import UserError, unknown
from zsbench.record import MODEL_FOLDER, file_hashes

Matrix = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Entry:
    """Runs that are asked for together: every method on every split, with every combination of the matrix and seed.

    matrix: field -> values; `captions` and `captions_policy` may vary, too.
    own: the fields that this entry names itself. One of its methods must have them; those that it has from the top of the
    file or from the command line may be another entry's.
    wanted: the methods that run, where the command line names some of the file's.
    where: for errors, "study.toml, [[run]] 2: ".
    """

    method: tuple[str, ...]
    split: tuple[str, ...] = ("voc5",)
    seed: tuple[int, ...] = (0,)
    captions: str | None = None
    captions_policy: Policy = "as-is"
    set: Mapping[str, Any] = field(default_factory=dict)
    matrix: Matrix = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    wanted: tuple[str, ...] = ()
    where: str = ""


@dataclass(frozen=True)
class Settings:
    """Everything `zsbench run` can be told, by option or in a TOML file."""

    method: tuple[str, ...] = ()
    split: tuple[str, ...] = ("voc5",)
    seed: tuple[int, ...] = (0,)
    set: Mapping[str, Any] = field(default_factory=dict)
    data: Path | None = None
    data_kind: str | None = None
    classes: Path | None = None
    first_id: int | None = None
    image_column: str | None = None
    mask_column: str | None = None
    captions: str | None = None
    caption_images: Path | None = None
    captions_policy: Policy = "as-is"
    lexicon: Path | None = None
    limit: int | None = None
    device: str = "auto"
    precision: str = "auto"
    out: Path = Path("runs")
    force: bool = False
    checkpoint_seconds: float = 30.0
    cache_features: float | None = None
    save_predictions: bool = False
    matrix: Matrix = field(default_factory=dict)
    runs: tuple[Entry, ...] = ()  # the file's [[run]]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The file's entries, or the one that everything here amounts to."""
        if self.runs:
            return self.runs
        given = {name: getattr(self, name) for name in KEYS}
        return (Entry(**given, own=frozenset({*self.matrix, *self.set}), wanted=self.method),)

    @property
    def study(self) -> bool:
        """Whether a file asks for many runs at once."""
        return bool(self.runs or self.matrix)


PLURAL = {"methods": "method", "splits": "split", "seeds": "seed"}
PATHS = ("data", "classes", "caption_images", "lexicon", "out")
LISTS = ("method", "split", "seed")
KEYS = (*LISTS, "captions", "captions_policy", "set", "matrix")  # of an entry
HUB = "hf:"  # how the address of a Hugging Face data set begins
CORPUS = ("captions", "captions_policy")  # what a matrix may vary beside fields
RANGES = {
    "limit": (1, 2**31 - 1), "checkpoint_seconds": (0, 1e9), "seed": (0, 2**31 - 1), "cache_features": (0, 1e6),
    "first_id": (0, 1),
}  # fmt: skip
TYPES: dict[str, Any] = {
    "limit": int,
    "seed": int,
    "first_id": int,
    "force": bool,
    "save_predictions": bool,
    "checkpoint_seconds": float,
    "cache_features": float,
    "device": Literal["auto", "cpu", "cuda", "mps"],
    "precision": Literal["auto", "fp32", "bf16"],
    "captions_policy": Policy,
}


def settings(options: Mapping[str, Any], file: Path | None) -> Settings:
    """Options over the file's values over the defaults. Raises UserError for anything the file has that is no option."""
    told = _from_file(file) if file else {}
    entries, given, sets = told.pop("run", []), _given(options), dict(parse_sets(options["sets"]))
    top = _over({}, told, {} if entries else given, sets)
    if entries:
        runs = [_entry(told, own, given, sets, f"{file}, [[run]] {n}: ") for n, own in enumerate(entries, 1)]
        top["runs"] = _wanted(runs, given.get("method", ()), file)
    chosen = Settings(**top | {name: value for name, value in given.items() if not entries or name not in LISTS})
    if chosen.cache_features is not None and not 0 <= chosen.cache_features <= RANGES["cache_features"][1]:
        raise UserError(f"--cache-features {chosen.cache_features}: gigabytes were expected, e.g. --cache-features 20")
    if not chosen.method and not chosen.runs:
        raise UserError("which method? Name one with --method, e.g. --method vilseg.  All methods: zsbench list")
    return chosen


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, by the names they have in a file."""
    named = {PLURAL.get(option, option): value for option, value in options.items()}
    known = {f.name for f in fields(Settings)}
    return {
        name: value
        for name, value in named.items()
        if name in known
        and value is not None
        and value is not False
        and value != ()
        and (name, value) != ("device", "auto")
    }


def _over(
    top: Mapping[str, Any], own: Mapping[str, Any], given: Mapping[str, Any], sets: Mapping[str, Any]
) -> dict[str, Any]:
    """Values of the top of a file, over these an entry's own, over these the command line's. What is fixed is not varied,
    and what is varied is not fixed, whichever was said last."""
    varied: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    for level in (top, own, {**given, "set": sets}):
        now = {**level.get("set", {}), **{name: None for name in CORPUS if name in level}}
        varied = {n: v for n, v in varied.items() if n not in now} | dict(level.get("matrix", {}))
        fixed = {n: v for n, v in fixed.items() if n not in level.get("matrix", {})} | dict(level.get("set", {}))
    return {**top, **own, **given, "set": fixed, "matrix": varied}


def _entry(
    top: Mapping[str, Any], own: Mapping[str, Any], given: Mapping[str, Any], sets: Mapping[str, Any], where: str
) -> Entry:
    asked = {name: value for name, value in given.items() if name != "method"}
    whole = _over(top, own, asked, sets)
    if not whole.get("method"):
        raise UserError(f'{where}which method? Give the entry one: method = "vilseg"')
    named = frozenset({*own.get("set", {}), *own.get("matrix", {})})
    return Entry(
        **{name: whole[name] for name in KEYS if name in whole}, own=named, wanted=whole["method"], where=where
    )


def _wanted(runs: list[Entry], asked: tuple[str, ...], file: Path | None) -> tuple[Entry, ...]:
    """Where the command line names methods, these alone run. Raises UserError for one that no entry has."""
    known = dict.fromkeys(name for entry in runs for name in entry.method)
    for name in asked:
        if name not in known:
            raise UserError(
                f"{file}: {unknown('method', name, known)}  --method chooses among those of the [[run]] entries"
            )
    if not asked:
        return tuple(runs)
    chosen = [Entry(**vars(entry) | {"wanted": tuple(n for n in entry.method if n in asked)}) for entry in runs]
    return tuple(chosen)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no config file at {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    entries = told.pop("run", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: run is a list of entries; begin each with a line [[run]]")
    known = [f.name for f in fields(Settings) if f.name != "runs"]
    whole = _table(path, told, known, "", "option", [*known, "run"])
    runs = [_table(path, entry, KEYS, f", [[run]] {number}", "key", KEYS) for number, entry in enumerate(entries, 1)]
    return whole | ({"run": runs} if runs else {})


def _table(path: Path, told: Mapping[str, Any], known: Any, place: str, kind: str, shown: Any) -> dict[str, Any]:
    """The checked values of a file's top, or of one of its entries."""
    for name in told:
        if name not in known:
            raise UserError(f"{path}{place}: {unknown(kind, name, shown)}")
    values = {name: _value(path, name, value, place) for name, value in told.items()}
    for name in (*values.get("set", {}), *(name for name in CORPUS if name in values)):
        if name in values.get("matrix", {}):
            raise UserError(f"{path}{place}: {name} is both set and in the matrix; leave one of the two out")
    return values


def _value(path: Path, name: str, value: Any, place: str = "") -> Any:
    """A file's value as the option's type."""
    if name == "set":
        if not isinstance(value, dict):
            raise UserError(f"{path}{place}: [set] must be a table of fields")
        return {field: _field_beside(path, item) for field, item in value.items()}
    if name == "matrix":
        return _matrix(path, value, place)
    if name in LISTS:
        items = value if isinstance(value, list) else [value]
        return tuple(_beside(path, name, _scalar(path, name, item, place)) for item in items)
    text = _scalar(path, name, value, place)
    if name == "data" and str(text).startswith(HUB):
        return _address_beside(path, text)
    if name == "classes" and not (path.parent / text).exists():
        return Path(text)  # the word for an order of ids ("voc-first"); a file that is not there is told of later
    return path.parent / text if name in PATHS else _beside(path, name, text)


def _address_beside(path: Path, address: str) -> Path:
    """hf:… of a folder or file beside the config file by its path, of the hub as it stands."""
    beside = path.parent / address.removeprefix(HUB)
    return Path(f"{HUB}{beside}") if beside.exists() else Path(address)


def _matrix(path: Path, value: Any, place: str) -> Matrix:
    """Field -> the values it takes, in the order written."""
    if not isinstance(value, dict):
        raise UserError(f"{path}{place}: matrix must be a table of lists, e.g. matrix = {{ steps = [100, 200] }}")
    for name, items in value.items():
        if name in LISTS:
            raise UserError(f"{path}{place}: {name} is no field; write {name} = {items!r} beside the matrix")
        if not isinstance(items, list) or not items:
            raise UserError(f"{path}{place}: matrix: {name} = {items!r}: a list of one value or more was expected")
        if wrong := [item for item in items if not isinstance(item, str | int | float)]:
            raise UserError(
                f"{path}{place}: matrix: {name} holds {wrong[0]!r}: texts, numbers, true or false were expected"
            )
    return {
        name: tuple(
            _beside(path, name, _scalar(path, name, item, place)) if name in CORPUS else _field_beside(path, item)
            for item in items
        )
        for name, items in value.items()
    }


def _beside(path: Path, name: str, value: Any) -> Any:
    """A file of captions, a method or a split that lies beside the config file, by its path."""
    file = name == "captions" or (name in ("method", "split") and str(value).endswith((".py", ".toml")))
    return str(path.parent / value) if file and value.strip() and (path.parent / value).exists() else value


def _field_beside(path: Path, value: Any) -> Any:
    """A method's field that names a file (templates, weights) or a model's folder beside the config file, by its path."""
    if not isinstance(value, str) or not (value.startswith(MODEL_FOLDER) or Path(value).suffix):
        return value
    folder = MODEL_FOLDER if value.startswith(MODEL_FOLDER) else ""
    found = path.parent / value.removeprefix(folder)
    return f"{folder}{found}" if file_hashes({"field": f"{folder}{found}"}) else value


def _scalar(path: Path, name: str, value: Any, place: str = "") -> Any:
    if name not in TYPES and not isinstance(value, str):
        raise UserError(f"{path}{place}: {name} = {value!r}: text was expected")
    try:
        parsed = parse(value, TYPES.get(name, str), name)
    except UserError as fault:
        raise UserError(f"{path}{place}: {fault}") from None
    low, high = RANGES.get(name, (None, None))
    if low is not None and not low <= parsed <= high:
        raise UserError(f"{path}{place}: {name} = {parsed}: a number from {low} to {high} was expected")
    return parsed
