"""A study: all runs that entries ask for, their cross product in the order written, and the table that sums them up."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import TYPE_CHECKING, Any

from zsbench.errors import UserError, unknown
from zsbench.method import load_method
from zsbench.settings import CORPUS, Entry

if TYPE_CHECKING:
    from zsbench.run import Run
    from zsbench.runner import Outcome


@dataclass(frozen=True)
class Request:
    """One run that is asked for. corpus: what its captions are and what is done about them, by option."""

    entry: Entry
    method: str
    split: str
    seed: int
    given: Mapping[str, Any]
    corpus: Mapping[str, Any]


def requests(entries: Sequence[Entry], splits_of: Callable[[Sequence[str]], Sequence[str]]) -> list[Request]:
    """Every run of every entry, seeds innermost. Loads the methods. Raises UserError for a field that no method has.

    splits_of: names of splits as told -> names of splits (`session.split_names`).
    """
    names = dict.fromkeys(name for entry in entries for name in entry.method)
    fields_of = {name: frozenset(f.name for f in fields(load_method(name).cls)) for name in names}
    for entry in entries:
        _check_fields(entry, entries, fields_of)
    return [
        Request(entry, method, split, seed, given, corpus)
        for entry in entries
        for split in splits_of(entry.split)
        for method in dict.fromkeys(entry.wanted)
        for given, corpus in _combinations(entry, fields_of[method])
        for seed in dict.fromkeys(entry.seed)
    ]


def _combinations(entry: Entry, known: frozenset[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Fields and captions of each combination. What the method does not have neither reaches nor multiplies it."""
    axes = {name: values for name, values in entry.matrix.items() if name in known or name in CORPUS}
    told = {name: getattr(entry, name) for name in CORPUS}
    fixed = {name: value for name, value in entry.set.items() if name in known}
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        varied = {name: value for name, value in chosen.items() if name not in CORPUS}
        yield fixed | varied, told | {name: chosen[name] for name in CORPUS if name in chosen}


def _check_fields(entry: Entry, entries: Sequence[Entry], fields_of: Mapping[str, frozenset[str]]) -> None:
    """An entry's own fields are fields of one of its methods, those from elsewhere of any method that is named."""
    for name in (*entry.set, *entry.matrix):
        asked = [entry] if name in entry.own else entries
        methods = list(dict.fromkeys(method for one in asked for method in one.method))
        known = dict.fromkeys(field for method in methods for field in sorted(fields_of[method]))
        if name not in known and not (name in CORPUS and name in entry.matrix):
            see = " or ".join(f"zsbench show method {method}" for method in methods)
            raise UserError(f"{entry.where}{unknown('field', name, known, see)}")


def check_captions(prepared: Sequence[tuple[Request, Run]]) -> None:
    """Raises UserError for an entry that varies the captions of methods that learn from none."""
    for entry in {id(request.entry): request.entry for request, _ in prepared}.values():
        varied = [name for name in CORPUS if name in entry.matrix]
        left_out = set(entry.method) - set(entry.wanted)  # they may learn from captions
        if varied and not left_out and not any(run.corpus for request, run in prepared if request.entry is entry):
            raise UserError(
                f"{entry.where}the matrix varies {varied[0]}, but {', '.join(entry.wanted)} learns from no captions"
            )


# The table


def summary(runs: Sequence[Run], outcomes: Sequence[Outcome]) -> str:
    """One row per configuration as Markdown, means over the seeds; "" for a single run.

    Intervals are the lowest and the highest seed; what differs among a method's runs has a column.
    """
    if len(runs) < 2:
        return ""
    told = [_told(run) for run in runs]
    columns = _varied(told)
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for one, outcome in zip(told, outcomes, strict=True):
        groups.setdefault(tuple(_text(one.get(column)) for column in columns), []).append(outcome)
    heads = [*columns, "seeds", "unseen only", "seen", "unseen", "h"]
    return _markdown([heads, *([*group, *_cells(found)] for group, found in groups.items())])


def _told(run: Run) -> dict[str, Any]:
    """What names a configuration: split, method, fields, captions."""
    corpus = run.corpus
    learned = {"captions": corpus.captions.name, "captions_policy": corpus.policy} if corpus else {}
    return {"split": run.split.name, "method": run.loaded.name, **learned, **run.configured.config}


def _varied(told: Sequence[Mapping[str, Any]]) -> list[str]:
    """The method's name, and all that differs among the runs of one method; the split where it differs at all."""
    methods: dict[str, list[Mapping[str, Any]]] = {}
    for one in told:
        methods.setdefault(one["method"], []).append(one)
    names = dict.fromkeys(name for one in told for name in one)
    differ = [n for n in names if any(len({_text(o.get(n)) for o in own}) > 1 for own in methods.values())]
    splits = ["split"] if len({one["split"] for one in told}) > 1 else []
    return [*splits, "method", *(name for name in differ if name not in ("split", "method"))]


def _cells(outcomes: Sequence[Outcome]) -> list[str]:
    records = [outcome.record for outcome in outcomes if outcome.record]
    seeds = f"{len(outcomes)}" if len(records) == len(outcomes) else f"{len(records)} of {len(outcomes)}"
    every = [record["scores"]["all"] for record in records]
    columns = [[block[group]["miou"] for block in every] for group in ("seen", "unseen", "harmonic")]
    unseen = [record["scores"]["unseen"]["miou"] for record in records]
    return [seeds, _mean(unseen, bounds=True), *(_mean(column) for column in columns)]


def _mean(values: Sequence[float | None], bounds: bool = False) -> str:
    """In percent; a dash where a seed has no number."""
    known = [100 * value for value in values if value is not None]
    if not known or len(known) < len(values):
        return "–"
    return f"{fmean(known):.1f}" + (f" [{min(known):.1f}, {max(known):.1f}]" if bounds and len(known) > 1 else "")


def _text(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """Aligned, so that it reads in a terminal as well as where it is pasted."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
