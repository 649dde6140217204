"""Does a method honour the contract? Seconds on a few drawn scenes, one line per promise.

Every promise of `zsbench.method` that a machine can hold a method to is one function here that raises `Broken` with
what was expected and what came. The method is built with its defaults for drawn scenes and its `quick` fields (few
steps): whether it learns anything is not asked. Runs in fp32, where batches of one and of many must agree.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from zsbench.device import pick_device
from zsbench.method import LoadedMethod, Segmenter, load_method
from zsbench.rounds import checked_rounds, purity
from zsbench.supervision import Supervision
from zsbench.trial import DOORS, Broken, Trial, built

ODD = (50, 67)  # pixels: no patch size divides both
CLOSE = 1e-3  # of the range of the scores
NEARLY_ALL = 0.99  # of the pixels; a region's border may move by the last bit of a sum


@dataclass(frozen=True)
class Line:
    """One promise: kept, or what was expected and what came."""

    text: str
    good: bool


def check_method(name: str, device: str = "auto", root: Path | None = None) -> Iterator[Line]:
    """Holds the method `name` to its contract, line by line, on new drawn scenes or those in the folder `root`.

    Raises `UserError` for an unknown method or device; everything the method itself does wrong is a line.
    """
    loaded, where = load_method(name), pick_device(device)
    sound = True
    for promise, keep in DECLARATION.items():
        line = _line(promise, partial(keep, loaded))
        sound = sound and line.good
        yield line
    if not sound:
        return
    with tempfile.TemporaryDirectory(prefix="zsbench-check-") as folder:
        trial = Trial(loaded, where, Path(folder), root)
        for promise, hold in BEHAVIOUR.items():
            line = _line(promise, partial(hold, trial))
            yield line
            if not line.good and hold is _fits:
                return


def _line(promise: str, hold: Callable[[], str | None]) -> Line:
    try:
        found = hold()
    except Broken as broken:
        return Line(f"FAIL  {promise}: {broken}", False)
    except Exception as error:  # whatever a method may raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        return Line(f"FAIL  {promise}: {type(error).__name__}: {error} ({place})", False)
    return Line(f"ok    {promise}{f': {found}' if found else ''}", True)


def _frozen(loaded: LoadedMethod) -> None:
    if not loaded.cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise Broken(f"@dataclass(frozen=True) was expected on {loaded.cls.__name__}: its fields name the run")


def _defaults(loaded: LoadedMethod) -> None:
    missing = dataclasses.MISSING
    bare = [f.name for f in dataclasses.fields(loaded.cls) if f.default is missing]
    if bare:
        raise Broken(f"a plain default was expected for every field, {', '.join(bare)} have none")
    loaded.cls()


def _supervision(loaded: LoadedMethod) -> str:
    found = loaded.cls().supervision
    if not isinstance(found, Supervision):
        raise Broken(f"a zsbench.supervision.Supervision was expected, got {type(found).__name__}")
    return ", ".join(field for field in DOORS if getattr(found, field) not in ("none", False)) or "nothing but names"


def _title(loaded: LoadedMethod) -> str:
    if not loaded.title:
        raise Broken("a docstring was expected at the top of the file; its first line is the method's title")
    return loaded.title


def _explained(loaded: LoadedMethod) -> None:
    fields = {f.name for f in dataclasses.fields(loaded.cls)}
    for notes in ("departures", "drawn", "quick"):
        if strangers := sorted(getattr(loaded.cls, notes, {}).keys() - fields):
            raise Broken(f"`{notes}` was expected to name fields, {', '.join(strangers)} are none")
    built(loaded)


DECLARATION: dict[str, Callable[[LoadedMethod], str | None]] = {
    "is a frozen dataclass": _frozen,
    "has a default for every field": _defaults,
    "declares what it learns from": _supervision,
    "has a title": _title,
    "explains fields that it has": _explained,
}


def _expect_equal(expected: Tensor, came: Tensor, what: str) -> None:
    near = (expected - came).abs().amax(1) <= CLOSE * (expected.max() - expected.min()).clamp(min=1e-6)
    if (share := float(near.float().mean())) < NEARLY_ALL:
        raise Broken(f"{what} was expected, {1 - share:.0%} of the pixels differ")


def _fits(trial: Trial) -> str:
    if not callable(trial.segmenter):
        raise Broken(f"fit was expected to return a Segmenter (a callable), got {type(trial.segmenter).__name__}")
    return ", ".join(f"{count:,} items of {door}" for door, count in trial.opened.items())


def _uses(trial: Trial) -> None:
    if idle := [door for door, count in trial.opened.items() if not count]:
        raise Broken(f"what is declared was expected to be read, {', '.join(idle)} never was: declare less")


def _scores(trial: Trial) -> None:
    for names in (trial.split.names, trial.split.unseen, trial.split.names[:1]):
        trial.scores(trial.images, names)


def _permuted(trial: Trial) -> None:
    names = trial.split.names
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(0))
    came = trial.scores(trial.images, [names[int(i)] for i in order])
    _expect_equal(trial.scores(trial.images, names)[:, order], came, "the same scores in another order of names")


def _batched(trial: Trial) -> None:
    single = torch.cat([trial.scores(image[None], trial.split.names) for image in trial.images])
    _expect_equal(single, trial.scores(trial.images, trial.split.names), "an image's scores alone as in a batch")


def _odd(trial: Trial) -> None:
    for size in (ODD, ODD[::-1]):
        trial.scores(torch.rand(1, 3, *size, device=trial.device), trial.split.names)


def _untouched(trial: Trial) -> None:
    images, names = trial.images.clone(), list(trial.split.names)
    trial.scores(images, names)
    if not torch.equal(images, trial.images) or names != list(trial.split.names):
        raise Broken("images and names were expected as they were, they are changed")


def _describes(trial: Trial) -> str | None:
    if not hasattr(trial.segmenter, "describe"):
        return "no describe()"
    json.dumps(trial.segmenter.describe(trial.split.names), allow_nan=False)
    return None


def _calibrated(trial: Trial) -> str | None:
    if not hasattr(trial.segmenter, "gamma"):
        return "no gamma"
    trial.evaluation.segment(trial.images)
    return f"gamma {trial.segmenter.gamma:g}"


def _rounds(trial: Trial) -> str | None:
    rounds = checked_rounds(trial.segmenter)
    if not rounds:
        return "no rounds"
    own, last = (trial.scores(trial.images, trial.split.names, s) for s in (trial.segmenter, rounds[-1].segmenter))
    _expect_equal(own, last, "the method's own state as its last round")
    for round_ in rounds:
        trial.scores(trial.images, trial.split.names, round_.segmenter)
        _ = round_.selected and purity(round_.selected, trial.evaluation)
    return ", ".join(round_.name for round_ in rounds)


def _repeats(trial: Trial) -> str | None:
    return _same(trial, trial.fit("second", 2), "the same scores from the same seed in a fresh folder")


def _resumes(trial: Trial) -> str | None:
    return _same(trial, trial.fit("first", 3), "the same scores when fit finds its own finished folder")


def _same(trial: Trial, again: Segmenter, what: str) -> str | None:
    expected, came = (trial.scores(trial.images, trial.split.names, s) for s in (trial.segmenter, again))
    if trial.device.type != "cpu":
        return "not compared, only a CPU repeats itself to the bit"
    if not torch.equal(expected, came):
        raise Broken(f"{what} were expected, they differ by up to {float((expected - came).abs().max()):.2g}")
    return None


BEHAVIOUR: dict[str, Callable[[Trial], str | None]] = {
    "fits on what it declared, opening no data file": _fits,
    "reads what it declared": _uses,
    "scores all names, some names, one name": _scores,
    "scores names in any order": _permuted,
    "scores an image alone as in a batch": _batched,
    f"scores odd sizes ({ODD[0]} × {ODD[1]})": _odd,
    "leaves its input alone": _untouched,
    "describes itself in JSON": _describes,
    "returns logits where it is calibrated": _calibrated,
    "ends its rounds in its own state": _rounds,
    "same seed, same scores": _repeats,
    "goes on from its own folder": _resumes,
}
