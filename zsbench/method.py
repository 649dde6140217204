"""What a method is (Method, Segmenter) and how methods are found by name.

Legend for tensor names: B images, N candidate names, K regions of one image, C channels, H W pixels, h w a coarser grid.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from zsbench.errors import UserError, unknown
from zsbench.supervision import Supervision

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from zsbench.data.view import TrainView
    from zsbench.nn.feature_cache import FeatureCache


@dataclass(frozen=True)
class Job:
    """Where and how one fit runs; the harness fills it, the training loop reads it.

    folder: the run's own folder for checkpoints and curves; running the same command again finds them there.
    precision: "fp32" or "bf16" (autocast). save_seconds: time between checkpoints.
    stages: folder of trainings that several methods start from (see `zsbench.stages`); None: below `folder`.
    facts: split and data that this run trains on; they stand in the header of every checkpoint.
    features: where features of frozen encoders may be kept between runs (`--cache-features`); None: nowhere.
    """

    device: torch.device
    seed: int
    folder: Path
    precision: str = "fp32"
    save_seconds: float = 30.0
    stages: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    features: FeatureCache | None = None


@dataclass(frozen=True)
class Departure:
    """A field whose value differs from the paper's, and why. Printed in the record and in the report."""

    value: object
    reason: str


@dataclass(frozen=True)
class Regions:
    """Scores of a method that first cuts an image into regions and then names each region.

    map_BHW: int64 region ids 0..K-1 at the resolution of the labels (or coarser: then resized by nearest).
    scores_BKN: score of every region for every name; finite, also for regions that do not occur in an image.
    Cheaper than dense scores (no (B, N, H, W) tensor) and it lets the harness compute the oracle bound of the regions.
    """

    map_BHW: Tensor
    scores_BKN: Tensor


@dataclass(frozen=True)
class Selection:
    """Training pixels that a method took for unseen classes by itself; the harness alone looks at how many it got right.

    door: which door of TrainView the positions count in ("unlabelled", "labelled"). positions: (n,) places in it.
    maps: n label maps (h, w) uint8, positions in the split's unseen names and 255 where nothing was taken; any
    resolution, the truth is resized to it by nearest.
    """

    door: str
    positions: Sequence[int]
    maps: Sequence[np.ndarray]


@dataclass(frozen=True)
class Round:
    """One state of a method that trains in rounds, kept so that the harness can score it after `fit`: nothing flows back.

    selected: the pixels from which this round was made; None for the first.
    """

    name: str
    segmenter: Segmenter
    selected: Selection | None = None


class Segmenter(Protocol):
    """Scores for every pixel and every name. Deciding is the harness's: resize, restrict to candidates, argmax.

    Optional: `describe(names) -> dict` for the record (prompts, parameters, under "chosen" what it chose by itself, under
    "background" what it calls so without masks); `rounds: Sequence[Round]`, the states that led here, the last being this
    segmenter's own; `gamma: float`, which says that the scores are logits of a softmax over the names and is subtracted
    from the probabilities of seen names (calibration; 0 leaves them as they are).
    """

    def __call__(self, images_BCHW: Tensor, names: Sequence[str]) -> Tensor | Regions:
        """images: float RGB in [0, 1] at original size, on the job's device. Returns (B, len(names), h, w) or Regions."""
        ...


@runtime_checkable
class Method(Protocol):
    """A frozen dataclass whose fields are its whole configuration.

    Optional class attributes: `drawn: dict[str, Departure]`, defaults that change on drawn scenes; `departures:
    dict[str, str]`, fields whose default is not the paper's, with the reason.
    """

    @property
    def supervision(self) -> Supervision: ...

    def fit(self, data: TrainView, job: Job) -> Segmenter: ...


@dataclass(frozen=True)
class MethodInfo:
    """What `zsbench list` shows; read from the file's text, nothing is imported."""

    name: str
    title: str
    needs: str
    path: Path | None  # None: another package's entry point


def list_methods() -> dict[str, MethodInfo]:
    """Every method by name: the files of `methods/` and the entry points of the group `zsbench.methods`."""
    folder = Path(str(resources.files("zsbench.methods")))
    files = sorted(p for p in folder.glob("*.py") if not p.name.startswith("_"))
    found = {info.name: info for info in map(_info, files)}
    for point in entry_points(group="zsbench.methods"):
        found.setdefault(point.name, MethodInfo(point.name, f"from {point.value}", "", None))
    return found


def _info(path: Path) -> MethodInfo:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        return MethodInfo(_spelled(path), f"cannot be read: {error}", "", path)
    title = (ast.get_docstring(tree) or "").partition("\n")[0].rstrip(".")
    return MethodInfo(_spelled(path), title, _needs(tree) or _parents_needs(tree, path.parent), path)


def _spelled(path: Path) -> str:
    return path.stem.strip("_").replace("_", "-")


def _needs(tree: ast.Module) -> str:
    """What the file's `Supervision(...)` asks for, in words."""
    words = {"captions": "captions", "masks": "masks of seen classes", "layout": "masks of unseen classes as layout",
             "vectors": "class vectors"}  # fmt: skip
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Supervision"]
    asked = {k.arg for call in calls for k in call.keywords if not _is_nothing(k.value)}
    weights = ["CLIP weights"] if _pretrained(tree) else []
    return ", ".join([*weights, *(text for field, text in words.items() if field in asked)])


def _pretrained(tree: ast.Module) -> bool:
    """Whether the file's method starts from published weights by default."""
    fields = (n for n in ast.walk(tree) if isinstance(n, ast.AnnAssign) and getattr(n.target, "id", "") == "pretrained")
    return any(isinstance(f.value, ast.Constant) and bool(f.value.value) for f in fields)


def _parents_needs(tree: ast.Module, folder: Path) -> str:
    """The same of the method that a file without a `Supervision(...)` of its own is built on."""
    sources = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    parents = [folder / f"{name.rpartition('.')[2]}.py" for name in sources if name.startswith("zsbench.methods.")]
    found = [_needs(ast.parse(path.read_text(encoding="utf-8"))) for path in parents if path.is_file()]
    return next(filter(None, found), "")


def _is_nothing(value: ast.expr) -> bool:
    """Declared as absent, or only on a condition: then the defaults do without, or `zsbench show` says more."""
    return isinstance(value, ast.IfExp | ast.Compare | ast.Name) or (
        isinstance(value, ast.Constant) and value.value in (False, "none")
    )


@dataclass(frozen=True)
class LoadedMethod:
    """A method's class with the hash of the file it came from."""

    name: str
    title: str
    cls: type
    source_sha256: str


def load_method(name: str) -> LoadedMethod:
    """The method of that name, or of a file (`./mine.py`). A file's module is executed anew: no state survives from
    an earlier run in the same process. Raises UserError for unknown names and files without a method."""
    if name.endswith(".py"):
        return _from_file(Path(name), f"zsbench_method_{Path(name).stem}")
    known = list_methods()
    if name not in known:
        raise unknown("method", name, known, "zsbench list")
    path = known[name].path
    if path is None:
        point = next(p for p in entry_points(group="zsbench.methods") if p.name == name)
        cls = point.load()
        source = Path(str(sys.modules[cls.__module__].__file__))
        return LoadedMethod(name, known[name].title, cls, _sha256(source))
    return _from_file(path, f"zsbench.methods.{path.stem}")


def _from_file(path: Path, module_name: str) -> LoadedMethod:
    if not path.is_file():
        raise UserError(f"no method file at {path}")
    source, info = path.read_bytes(), _info(path)
    cls = _method_class(_executed(source, path, module_name), path)
    return LoadedMethod(info.name, info.title, cls, hashlib.sha256(source + _parents(cls)).hexdigest())


def _parents(cls: type) -> bytes:
    """The files of the methods that a method is built on: a change there is a change of this one."""
    modules = dict.fromkeys(base.__module__ for base in cls.__mro__[1:])
    files = [
        getattr(sys.modules.get(name), "__file__", None) for name in modules if name.startswith("zsbench.methods.")
    ]
    return b"".join(Path(file).read_bytes() for file in files if file)


def _executed(source: bytes, path: Path, module_name: str) -> ModuleType:
    """A new module of exactly these bytes: the import system's cache would take a file that was edited within a second
    for the old one. What goes wrong in it is told with its line; the guard's refusals stay what they are."""
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    try:
        exec(compile(source, path, "exec"), vars(module))
    except SyntaxError as error:
        raise UserError(f"{path} is not Python: {error}") from error
    except (Exception, SystemExit) as error:
        if type(error).__name__ == "GuardError":
            raise
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame.lineno for frame in frames if Path(frame.filename).name == path.name]
        where = f", line {own[-1]}" if own else ""
        raise UserError(f"{path}{where}: {type(error).__name__}: {error}") from error
    return module


def _method_class(module: ModuleType, path: Path) -> type:
    own = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    methods = [c for c in own if hasattr(c, "fit") and hasattr(c, "supervision")]
    if len(methods) != 1 or not is_dataclass(methods[0]):
        raise UserError(
            f"{path} must define one dataclass with `supervision` and `fit` (found {len(methods)}); start from methods/_template.py"
        )
    return methods[0]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
