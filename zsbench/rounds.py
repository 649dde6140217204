"""The rounds of a method that trains in rounds: every earlier state scored like the last, and how pure its choices were.

All of this happens after `fit` has returned. The method kept its states and the pixels that it took for unseen classes;
the harness alone compares these with the truth, and nothing of what it finds flows back.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zsbench.data.dataset import IGNORED, Dataset
from zsbench.data.guard import admitted
from zsbench.data.view import keys_behind, to_split_ids
from zsbench.evaluation import ContractError, Evaluation
from zsbench.method import Round, Segmenter, Selection
from zsbench.scoring import summarise
from zsbench.split import Split

FOLDER = "rounds"
DOORS = ("unlabelled", "labelled")


def score_rounds(evaluation: Evaluation, scores: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The "rounds" part of a record; None for a method without rounds.

    evaluation: the run's own, which is that of the last round; scores: what it came to. Earlier rounds are counted below
    the run's folder, where a killed evaluation goes on.
    """
    rounds = checked_rounds(evaluation.segmenter)
    if not rounds:
        return None
    folder = evaluation.folder / FOLDER
    selected = [round_.selected and purity(round_.selected, evaluation) for round_ in rounds]
    earlier = [_scores(evaluation, round_, folder / f"{number:02d}") for number, round_ in enumerate(rounds[:-1])]
    entries = zip(rounds, [*earlier, scores], selected, strict=True)
    return [{"name": round_.name, "scores": brief(own), "selected": pure} for round_, own, pure in entries]


def checked_rounds(segmenter: Segmenter) -> list[Round]:
    """The states that a method kept, in order; none for a method without rounds."""
    rounds = list(getattr(segmenter, "rounds", None) or ())
    if strangers := [type(item).__name__ for item in rounds if not isinstance(item, Round)]:
        raise ContractError(f"rounds are zsbench.method.Round, got {strangers[0]}")
    return rounds


def _scores(evaluation: Evaluation, round_: Round, folder: Path) -> dict[str, Any]:
    own = replace(evaluation, segmenter=round_.segmenter, folder=folder, title=f"evaluate {round_.name}", curved=False)
    counts, _ = own.run()
    scores: dict[str, Any] = summarise(counts, evaluation.split)["scores"]
    return scores


def brief(scores: dict[str, Any]) -> dict[str, Any]:
    """The means of both scopes, with their intervals."""

    def mean(block: dict[str, Any]) -> dict[str, Any]:
        return {field: block[field] for field in ("miou", "interval")}

    every = scores["all"]
    return {
        "unseen": mean(scores["unseen"]),
        "all": {group: mean(every[group]) for group in ("seen", "unseen", "harmonic")},
    }


def purity(selected: Selection, evaluation: Evaluation) -> dict[str, Any]:
    """How many of the selected pixels are what they were taken for, per unseen class; a diagnosis, no score.

    pixels: taken for the class; correct: of these, truth is the class; outside: of these, truth counts for nothing on the
    split (ignored background, void); truth: the class's pixels in the images looked at. At the resolution of the maps.
    """
    split, dataset = evaluation.split, evaluation.dataset
    if selected.door not in DOORS:
        raise ContractError(f"a selection's door is one of {', '.join(DOORS)}, got {selected.door!r}")
    keys = keys_behind(selected.door, split, dataset)
    places = _places(selected, len(keys))
    table = np.zeros((len(split.unseen) + 1, 256), np.int64)  # rows: taken for, the last for nothing; columns: truth
    for place, taken in zip(places, selected.maps, strict=True):
        _check_map(taken, len(split.unseen))
        table += _pairs(taken, _truth(keys[place], dataset, split), len(split.unseen))
    return {"door": selected.door, "images": len(places), "classes": _classes(table, split)}


def _places(selected: Selection, items: int) -> list[int]:
    places = [int(position) for position in selected.positions]
    if len(places) != len(selected.maps):
        raise ContractError(f"a selection has as many maps as positions, got {len(selected.maps)} and {len(places)}")
    if places and not 0 <= min(places) <= max(places) < items:
        found = f"{min(places)}..{max(places)}"
        raise ContractError(f"positions 0..{items - 1} of the door '{selected.door}' were expected, got {found}")
    return places


def _check_map(taken: Any, unseen: int) -> None:
    if not isinstance(taken, np.ndarray) or taken.dtype != np.uint8 or taken.ndim != 2 or not taken.size:
        found = f"{taken.shape} {taken.dtype}" if isinstance(taken, np.ndarray) else type(taken).__name__
        raise ContractError(f"a selection's map is (h, w) uint8, got {found}")
    known = taken[taken != IGNORED]
    if known.size and known.max() >= unseen:
        raise ContractError(f"a selection's map holds unseen names 0..{unseen - 1} or {IGNORED}, got {known.max()}")


def _truth(key: str, dataset: Dataset, split: Split) -> np.ndarray:
    """(H, W) uint8 split ids, unseen ones included: read by the harness, for the harness."""
    with admitted():
        return to_split_ids(dataset.labels(key), dataset.classes, split.names)


def _pairs(taken: np.ndarray, truth: np.ndarray, unseen: int) -> np.ndarray:
    """(unseen + 1, 256) pixels by what they were taken for and what they are."""
    rows, columns = (_nearest(large, small) for large, small in zip(truth.shape, taken.shape, strict=True))
    pairs = np.minimum(taken, unseen).astype(np.int64) * 256 + truth[np.ix_(rows, columns)]
    return np.bincount(pairs.ravel(), minlength=(unseen + 1) * 256).reshape(-1, 256)


def _nearest(large: int, small: int) -> np.ndarray:
    """(small,) positions of the `large` cells in which the centres of the `small` ones lie."""
    return (2 * np.arange(small) + 1) * large // (2 * small)


def _classes(table: np.ndarray, split: Split) -> dict[str, dict[str, int]]:
    first = len(split.seen)
    return {
        name: {
            "pixels": int(table[number].sum()),
            "correct": int(table[number, first + number]),
            "outside": int(table[number, IGNORED]),
            "truth": int(table[:, first + number].sum()),
        }
        for number, name in enumerate(split.unseen)
    }
