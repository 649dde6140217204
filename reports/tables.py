"""runs.csv and classes.csv: one row per run with both scopes, one row per run × scope × class.

Scores are fractions in [0, 1], rounded to 6 digits; an absent score is an empty cell. The page prints these very
values, times 100, so that every number on it can be found here. Text that a spreadsheet would run as a formula gets a
leading apostrophe, also where it begins with blanks or has a full-width sign.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from .read import Run

Row = dict[str, Any]  # column -> value as computed; text is made by `cell`
DIGITS = 6
FORMULA = ("=", "+", "-", "@")


def _at(path: str) -> Callable[[Run], Any]:
    return lambda run: run.get(path)


def _end(path: str, which: int) -> Callable[[Run], Any]:
    return lambda run: (run.get(path) or (None, None))[which]


def _listed(path: str) -> Callable[[Run], Any]:
    return lambda run: "; ".join(run.get(path, []))


def _scores(column: str, path: str) -> dict[str, Callable[[Run], Any]]:
    """mIoU with its interval and the two accuracies of one part of one scope."""
    return {
        f"{column}_miou": _at(f"{path}.miou"),
        f"{column}_miou_low": _end(f"{path}.interval", 0),
        f"{column}_miou_high": _end(f"{path}.interval", 1),
        f"{column}_pixel_accuracy": _at(f"{path}.pixel_accuracy"),
        f"{column}_mean_accuracy": _at(f"{path}.mean_accuracy"),
        f"{column}_classes_scored": _at(f"{path}.classes_scored"),
        f"{column}_classes_absent": _listed(f"{path}.classes_absent"),
    }


COLUMNS: dict[str, Callable[[Run], Any]] = {
    "data": _at("data.kind"),
    "data_title": _at("data.title"),
    "data_fingerprint": _at("data.fingerprint"),
    "split": _at("split.name"),
    "split_fingerprint": _at("split.fingerprint"),
    "background": _at("split.background"),
    "train_policy": _at("split.train_policy"),
    "method": _at("method.name"),
    "title": _at("method.title"),
    "config_given": lambda run: json.dumps(run.get("method.config_given", {}), sort_keys=True, ensure_ascii=False),
    "captions": _at("supervision.corpus.name"),
    "captions_pairs": _at("supervision.corpus.pairs"),
    "captions_verdict": _at("supervision.corpus.verdict"),
    "captions_naming_unseen": lambda run: named(run),
    "captions_lexicon": _at("supervision.corpus.lexicon.name"),
    "captions_lexicon_fingerprint": _at("supervision.corpus.lexicon.fingerprint"),
    "captions_level": _at("supervision.corpus.level"),
    "captions_policy": _at("supervision.corpus.policy"),
    "captions_purged": _at("supervision.corpus.purged.pairs"),
    "vectors": _at("supervision.vectors.source"),
    "vectors_control": _at("supervision.vectors.control"),
    "vectors_leak": lambda run: {True: "yes", False: "no"}.get(run.get("supervision.vectors.leaks")),
    "seed": _at("seed"),
    "limited": lambda run: "yes" if run.get("limited") else "no",
    "limit": _at("limit"),
    "images": _at("data.parts.val.scored"),
    "images_in_list": _at("data.parts.val.images"),
    "unseen_only_candidates": lambda run: len(run.get("scores.unseen.candidates", [])),
    **_scores("unseen_only", "scores.unseen"),
    "chance_miou": _at("scores.unseen.chance.miou"),
    "chance_accuracy": _at("scores.unseen.chance.accuracy"),
    "constant_miou": _at("scores.unseen.chance.constant_miou"),
    "oracle_miou": _at("scores.unseen.oracle.miou"),
    "oracle_miou_low": _end("scores.unseen.oracle.interval", 0),
    "oracle_miou_high": _end("scores.unseen.oracle.interval", 1),
    "all_candidates": lambda run: len(run.get("scores.all.candidates", [])),
    "all_miou": _at("scores.all.miou"),
    "all_pixel_accuracy": _at("scores.all.pixel_accuracy"),
    "all_mean_accuracy": _at("scores.all.mean_accuracy"),
    **_scores("all_seen", "scores.all.seen"),
    **_scores("all_unseen", "scores.all.unseen"),
    "all_harmonic_miou": _at("scores.all.harmonic.miou"),
    "all_harmonic_miou_low": _end("scores.all.harmonic.interval", 0),
    "all_harmonic_miou_high": _end("scores.all.harmonic.interval", 1),
    "all_oracle_miou": _at("scores.all.oracle.miou"),
    "rounds": lambda run: len(run.get("rounds", [])) or None,
    "calibration_gamma": _at("calibration.gamma"),
    "calibration_area": _at("calibration.area"),
    "stage": lambda run: next((stage["key"] for stage in run.get("stages", []) if stage.get("shared")), None),
    "weights": _at("supervision.backbone"),
    "weights_corpus": _at("supervision.backbone_corpus"),
    "attention": lambda run: attention_of(run),
    "prompts": lambda run: prompts_of(run)[0],
    "prompts_sha256": _at("prompts.sha256"),
    "parameters_at_inference": _at("method.parameters.at_inference"),
    "images_per_second": _at("images_per_second.evaluate"),
    "device": _at("device"),
    "precision": _at("precision"),
    "seconds_fit": _at("seconds.fit"),
    "seconds_evaluate": _at("seconds.evaluate"),
    "seconds_total": _at("seconds.total"),
    "zsbench": _at("zsbench"),
    "code_sha256": _at("code_sha256"),
    "started": _at("started"),
    "key": _at("key"),
    "folder": lambda run: run.place,
    "command": _at("command"),
}
CLASS_COLUMNS = (
    "data", "data_fingerprint", "split", "split_fingerprint", "method", "captions", "seed", "limited", "key", "scope",
    "class", "group", "iou", "recall", "pixels", "images",
)  # fmt: skip


def named(run: Run) -> int | None:
    """Captions of the training corpus that name an unseen class; None when nobody counted.

    Where a record only has counts per class, their sum: a caption that names two classes is then counted twice.
    """
    counts = run.get("supervision.corpus.unseen_named")
    together = run.get("supervision.corpus.unseen_pairs")
    return together if together is not None or counts is None else sum(counts.values())


def attention_of(run: Run) -> str | None:
    """The rule of CLIP's last attention; None where the features come from an encoder that has none."""
    rule = run.get("method.config.attention")
    return None if rule is None or run.get("method.config.features") == "vilseg" else str(rule)


def prompts_of(run: Run) -> tuple[str | None, int | None]:
    """(the sentence that class names are put in, or how many there are; how many prompts came of it)."""
    listed = run.get("prompts.templates", [])
    template = run.get("prompts.template") if len(listed) < 2 else f"{len(listed)} templates"
    return template and str(template), run.get("prompts.count") or len(run.get("prompts.prompts", [])) or None


def run_row(run: Run) -> Row:
    return {column: rounded(value(run)) for column, value in COLUMNS.items()}


def class_rows(run: Run) -> list[Row]:
    """One row per scope and class of one run, in the order of the candidates."""
    shared = run_row(run)
    unseen = set(run.get("split.unseen", []))
    rows = []
    for scope, title in (("unseen", "unseen only"), ("all", "all names")):
        for name in run.get(f"scores.{scope}.candidates", []):
            counts = run.record["scores"][scope]["classes"][name]
            group = counts.get("group") or ("unseen" if name in unseen else "seen")
            own = {"scope": title, "class": name, "group": group}
            own |= {column: rounded(counts.get(column)) for column in ("iou", "recall", "pixels", "images")}
            rows.append({column: own.get(column, shared.get(column)) for column in CLASS_COLUMNS})
    return rows


def runs_csv(runs: Sequence[Run]) -> str:
    return as_csv(tuple(COLUMNS), [run_row(run) for run in runs])


def classes_csv(runs: Sequence[Run]) -> str:
    return as_csv(CLASS_COLUMNS, [row for run in runs for row in class_rows(run)])


def cell(value: Any) -> str:
    """A value as one spreadsheet cell: numbers as they are, text never a formula."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    return f"'{text}" if is_formula(text) else text


def is_formula(text: str) -> bool:
    """Whether a spreadsheet might run a text, after the blanks and unseen letters that it begins with."""
    first = next((sign for sign in text if unicodedata.category(sign)[0] not in "CZ"), "")
    plain = unicodedata.normalize("NFKC", first)
    return text.startswith(("\t", "\r")) or (plain.startswith(FORMULA) and not _numeric(text))


def _numeric(text: str) -> bool:
    """A plain number such as -1.5; float() alone would also take ' 1_0' and 'nan'."""
    try:
        float(text)
    except ValueError:
        return False
    return all(sign in "+-.0123456789eE" for sign in text)


def rounded(value: Any) -> Any:
    """A value as it stands in the files."""
    return round(value, DIGITS) if isinstance(value, float) else value


def as_csv(columns: Sequence[str], rows: Sequence[Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(row.get(column)) for column in columns] for row in rows)
    return out.getvalue()
