"""Concept counts that others have published, beside our own: ImageNet names and synonyms counted in LAION captions.

The files are those of Parashar et al., The Neglected Tails in Vision-Language Models (CVPR 2024): per ImageNet class the
captions of LAION-400M or LAION-2B that hold each of its names as a phrase. Their rules are not ours (no plurals beyond
those listed, no blockers), so the numbers are a comparison of size, never part of a verdict.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zsbench.errors import UserError
from zsbench.leakage.lexicon import Entry, Lexicon
from zsbench.leakage.reference import named
from zsbench.leakage.words import form_of


def read_outside(path: Path, lexicon: Lexicon) -> dict[str, Any]:
    """Published counts of the lexicon's forms, summed per class. Raises UserError for a file of another kind."""
    counted = _phrases(path)
    forms = {entry.name: _found(entry, counted) for entry in lexicon.entries}
    counts = {name: sum(found.values()) for name, found in forms.items() if found}
    return {
        "name": path.stem,
        "counts": counts,
        "forms": {name: found for name, found in forms.items() if found},
        "what": "captions that hold a phrase which names the class, as published by others for ImageNet's names and"
        " synonyms; words that are not among those were not counted, and a caption with two phrases counts twice",
    }


def _found(entry: Entry, counted: dict[str, int]) -> dict[str, int]:
    """The published phrases that name the class by our rules: `bighorn sheep` names sheep."""
    words = {form.text.split()[0] for form in entry.forms}
    near = (phrase for phrase in counted if not words.isdisjoint(phrase.split()))
    return {phrase: counted[phrase] for phrase in near if counted[phrase] and named(phrase, entry)}


def _phrases(path: Path) -> dict[str, int]:
    """Every published phrase with its count; one that several concepts share was counted once."""
    try:
        concepts = json.loads(path.read_text(encoding="utf-8"))
        pairs = [pair for concept in concepts.values() for pair in concept["alternates"].items()]
        counts: dict[str, int] = {}
        for phrase, count in pairs:
            if type(count) is not int or count < 0:
                raise ValueError(f"{count!r} is no count")
            counts[form_of(phrase)] = max(count, counts.get(form_of(phrase), 0))
    except FileNotFoundError:
        raise UserError(f"no concept counts at {path}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} holds no concept counts: expected per concept a table `alternates` of counts"
        ) from error
    return counts
