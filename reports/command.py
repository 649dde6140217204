"""The command that repeats one run, when the recorded one was for many."""

from __future__ import annotations

import shlex
from pathlib import Path

from .read import Run

LONGEST = 20_000  # letters; nobody types more
ONE = {"-m": "method", "--method": "method", "-s": "split", "--split": "split", "--seed": "seed"}


def alone(run: Run) -> str:
    """The recorded command with this run's method, split and seed only; empty where it already is of this run alone, or
    where it is no plain command line of `zsbench run`."""
    words = _words(str(run.get("command", "")))
    if words[:2] != ["zsbench", "run"] or "--config" in words or any(word.startswith("--config=") for word in words):
        return ""
    given, rest = _taken_apart(words[2:])
    own = {
        "method": _spelt(given["method"], run.get("method.name")),
        "split": _spelt(given["split"], run.get("split.name")),
    }
    seed = str(run.get("seed"))
    if not own["method"] or (given["split"] and not own["split"]) or (given["seed"] and seed not in given["seed"]):
        return ""
    split = own["split"] or str(run.get("split.name"))
    made = ["zsbench", "run", "-m", own["method"], "--split", split, "--seed", seed, *rest]
    several = any(len(found) > 1 for found in given.values()) or own["split"] not in given["split"]
    return shlex.join(made) if several else ""


def _words(command: str) -> list[str]:
    if len(command) > LONGEST:
        return []
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _taken_apart(words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """(values of method, split and seed; every other word in its order)."""
    given: dict[str, list[str]] = {"method": [], "split": [], "seed": []}
    rest: list[str] = []
    left = iter(words)
    for word in left:
        option, equals, value = word.partition("=")
        if option in ONE:
            given[ONE[option]].append(value if equals else next(left, ""))
        else:
            rest.append(word)
    return given, rest


def _spelt(given: list[str], name: str) -> str:
    """As the command spelt it (a file stays a file); a pattern becomes the name; empty where nothing fits."""
    for word in given:
        if word == name or Path(word).stem in (name, str(name).replace("-", "_")):
            return word
    return name if any("*" in word or "?" in word or "[" in word for word in given) else ""
