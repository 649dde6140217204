"""The supervision ledger: what a group was allowed to learn from, one mark per column, in words and a state.

Of its own runs the harness knows it: a method gets what it declares and nothing else. Of label maps that somebody handed
in nobody knows more than the submitter said; the last column tells the two apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .alike import of_own_captions
from .groups import WORDS, Group


class Mark(NamedTuple):
    """One cell of the ledger. state: "free" (not used), "used", or "warned" (touches unseen classes, or nobody knows)."""

    state: str
    words: str
    more: str = ""


COLUMNS = ("Pixel masks", "Layout masks", "Unlabelled pool", "Captions", "Class vectors", "Starts from", "which saw",
           "Unseen names known", "Tuned on", "Declared by")  # fmt: skip
NOT_DECLARED, METHOD = "not declared", "the method"
_NAMES = ("masks", "layout", "unlabelled", "backbone", "backbone_corpus", "unseen_names", "tuned_on")


def ledger(group: Group) -> list[Mark]:
    """The marks of a group, in the order of COLUMNS."""
    of = {name: group.first.get(f"supervision.{name}", "") for name in _NAMES}
    return [
        _door("used", of["masks"], "classes"),
        _door("warned", of["layout"], "classes"),
        _door("warned", of["unlabelled"], "images"),
        _captions(group),
        _vectors(group),
        _told(
            "free" if of["backbone"].endswith("random init") or not of["backbone"] else "used",
            of["backbone"] or "not stated",
        ),
        _weights(group, of["backbone"], of["backbone_corpus"]),
        _known(of["unseen_names"] or "evaluation"),
        _told("free" if of["tuned_on"] in ("nothing", "") else "used", of["tuned_on"] or "nothing"),
        _declared(group),
    ]


def standing(group: Group) -> list[str]:
    """What to say beside the name of a group whose label maps were handed in; nothing of a run."""
    submission = group.first.get("submission")
    if not submission:
        return []
    shares = {words: submission["beside"][scope] for scope, words in _SCOPES.items() if scope in submission["beside"]}
    beside = [f"{_per_cent(told['share'])} of the pixels ({words}) without a candidate"
              for words, told in shares.items() if told["pixels"]]  # fmt: skip
    lacks = [f"{words}: not submitted" for scope, words in _SCOPES.items() if scope not in submission["scopes"]]
    return ["label maps handed in, ledger declared by the submitter", *lacks, *beside]


_SCOPES = {"all": "all names", "unseen": "unseen only"}


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "less than 0.1 %"


def _declared(group: Group) -> Mark:
    by = str(group.first.get("supervision.declared_by", METHOD))
    return Mark("free", METHOD, "kept to it by the guard") if by == METHOD else Mark("warned", by, "not checked")


def _told(state: str, words: str, more: str = "") -> Mark:
    """A mark of what was told; what was not declared may be anything."""
    return Mark("warned", NOT_DECLARED) if words == NOT_DECLARED else Mark(state, words, more)


def _known(when: str) -> Mark:
    return _told("warned" if when == "training" else "free", when if when == NOT_DECLARED else f"at {when}")


def _door(state: str, told: str, what: str) -> Mark:
    if told == NOT_DECLARED:
        return Mark("warned", NOT_DECLARED)
    return Mark(state, f"{told} {what}") if told not in ("none", "") else Mark("free", "none")


def _vectors(group: Group) -> Mark:
    """Where the class vectors come from. A control is said to be one: its score says what names are worth."""
    vectors = group.first.get("supervision.vectors")
    if not vectors:
        return Mark("free", "none")
    control = f"control: {vectors['control']}" if vectors.get("control") else ""
    source = vectors["source"] if control and vectors["source"] != vectors["control"] else ""
    more = "; ".join(filter(None, (source, vectors.get("corpus", ""))))
    return _told("warned" if vectors["leaks"] else "used", control or vectors["source"], more)


def _weights(group: Group, backbone: str, corpus: str) -> Mark:
    """What the weights saw. Weights made from the run's own captions saw what these say; nobody's word is not "nothing"."""
    if of_own_captions(group.first) and group.tone != "none":
        state = "used" if group.tone == "clean" else "warned"
        return Mark(state, f"this run's captions: {group.captions}", WORDS[group.tone])
    if not corpus and backbone and not backbone.endswith("random init"):
        return Mark("warned", "not stated")
    state = "free" if corpus in ("nothing", "") else "warned" if _touches(corpus) else "used"
    return Mark(state, corpus or "not stated")


NOT_THERE = re.compile(r"\b(?:no|none|not|without|minus|excluding|except|free of)\b[^.;,:()]*", re.IGNORECASE)


def _touches(words: str) -> bool:
    """Whether a corpus told in words holds unseen classes or is unknown; what follows a "without" is not held."""
    return "unknown" in words.lower() or "unseen" in NOT_THERE.sub("", words).lower()


def _captions(group: Group) -> Mark:
    corpus = group.first.get("supervision.corpus")
    if not corpus:
        return Mark("free", "none")
    pairs = f", {corpus['pairs']:,} pairs" if corpus.get("pairs") is not None else ""
    counts = corpus.get("unseen_named") or {}
    naming = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    if corpus["name"] == NOT_DECLARED:
        return Mark("warned", NOT_DECLARED)
    verdict = corpus.get("verdict") or "not scanned"
    more = [f"{verdict}: {naming}" if naming else verdict, *_of_scan(corpus)]
    return Mark("warned" if group.tone == "named" else "used", f"{corpus['name']}{pairs}", "; ".join(more))


def _of_scan(corpus: Mapping[str, Any]) -> Iterator[str]:
    """What a count of names depends on: the words, the letters, and what was left out before."""
    lexicon, purged, others = (corpus.get(name) for name in ("lexicon", "purged", "non_latin"))
    if lexicon:
        yield f"words of {lexicon['name']} ({lexicon['fingerprint']}), {_levels(corpus.get('level') or 0)}"
    if purged:
        yield f"{purged['pairs']:,} pairs that name some were left out"
    if others:
        yield f"{others:,} in other letters than Latin, which no English word matches"


def _levels(highest: int) -> str:
    return f"levels 0-{highest}" if highest else "level 0"
