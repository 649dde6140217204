"""Whether a score may stand beside a published one, and if not, why: every reason is a fact of the record.

A reason names what is here and what the paper has. No reason is kept back because another would do: the list is what
would have to change before the two numbers measure the same thing. What the paper leaves open is no reason; `unstated`
tells it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .groups import Group
from .published import NOT_STATED, Published
from .read import Run

ENOUGH = 0.5  # of the paper's training captions: links to web pictures die, half of them still count as the corpus
PURGED = ", purged"  # what a purge adds to the name of captions; `_policy` tells it
NUMBERS = {"vilseg": "clusters", "kmeans": "k"}  # the setting that says into how many regions an image is cut
OWN = ("encoder", "vision", "clusters", "k", "pretrained", "attention", "self_training")  # with reasons of their own
MOST_SETTINGS = 3
# What may follow a corpus' name, in the name of its file or folder or below it, without making it another corpus:
OF_THE_SAME = re.compile(
    r"v?\d+|of|shards?|parts?|default|train(ing)?|val(idation)?|test|dev"  # version, shard, split
    r"|tsv|csv|txt|jsonl?|ndjson|tar|tgz|gz|parquet|arrow|wds|webdataset|img2dataset|hf"  # format
)


def reasons(group: Group, value: Published) -> list[str]:
    """Why a group's score is not comparable with a published one; empty when it is."""
    return [why for check in CHECKS if (why := check(group.first, value))]


def _photographs(run: Run, value: Published) -> str:
    return "drawn scenes, no photographs" if run.get("data.kind") == "drawn" else ""


def _names(run: Run, value: Published) -> str:
    return _counted(len(run.get("scores.all.candidates", [])), value.protocol.names, "names in all")


def _candidates(run: Run, value: Published) -> str:
    allowed = value.protocol.candidates
    if allowed is None:
        return "the paper does not say which names compete" if value.protocol.scope == NOT_STATED else ""
    return _counted(len(run.get("scores.unseen.candidates", [])), allowed, "names compete")


def _counted(here: int, allowed: tuple[int, int] | None, what: str) -> str:
    if allowed is None or allowed[0] <= here <= allowed[1]:
        return ""
    low, high = allowed
    return f"{here:,} {what}, in the paper {low}{f' to {high}' if high > low else ''}"


def _scored(run: Run, value: Published) -> str:
    """Other classes; where their number differs, `_candidates` has said so."""
    wanted, here = set(value.protocol.unseen), set(run.get("split.unseen", []))
    if not wanted:
        return ""
    return "" if wanted == here else f"{len(here - wanted)} of {len(here)} unseen classes are not the paper's"


def _split(run: Run, value: Published) -> str:
    """Another division of the classes; where a paper lists names and unseen classes, they are compared instead."""
    wanted, here = value.protocol.split, str(run.get("split.name"))
    told = value.protocol.unseen or value.protocol.candidates
    return "" if told or wanted == here else f"split {here}, in the paper {wanted}"


def _background(run: Run, value: Published) -> str:
    here, wanted = str(run.get("split.background")), value.protocol.background
    if wanted == "threshold":
        return "background is told by a threshold in the paper"
    same = wanted == NOT_STATED or here == {"seen": "seen"}.get(wanted, "ignore")
    words = {"ignore": "not scored", "seen": "a seen class"}
    return (
        ""
        if same
        else f"background {words.get(here, here)}, in the paper {words['seen' if wanted == 'seen' else 'ignore']}"
    )


def _resolution(run: Run, value: Published) -> str:
    """Scores here are always taken at the labels' own size."""
    there = {"resized": "on resized labels", "warped": "on labels warped to a square",
             "1/8": "at about an eighth of the image's size"}.get(value.resolution)  # fmt: skip
    return f"scored {there} in the paper, at the labels' own size here" if there else ""


def _captions(run: Run, value: Published) -> str:
    """Only a method that learns from captions has any; what published weights saw, `_weights` tells."""
    corpus, wanted = run.get("supervision.corpus"), value.weights
    if not corpus or not wanted:
        return ""
    purged = PURGED if corpus.get("policy") == "purge" else ""
    if not _is_corpus(corpus["name"].removesuffix(purged), wanted):
        doubt = ", which its name does not show to be the same" if _word(wanted) in _word(corpus["name"]) else ""
        return f"trained on {corpus['name']}, in the paper on {wanted}{doubt}"
    pairs = corpus.get("pairs")
    if pairs is None:
        return "the number of training captions is not recorded"
    fewer = pairs < ENOUGH * value.protocol.pairs
    return f"{pairs:,} training captions, in the paper {value.protocol.pairs:,}" if fewer else ""


def _is_corpus(name: str, wanted: str) -> bool:
    """Whether the name of captions is that of the corpus itself, up to version, shard, split and format.

    Read from the end: shards and splits may lie in a folder that has the name. "cc12m-train.tsv" and
    "cc12m/{00000..01242}.tar" are CC12M; "blip-recaptioned-cc12m.tsv" is something else made from it.
    """
    parts = [re.findall(r"[^\W_]+", part) for part in re.split(r"[/\\:]", name.lower())]
    telling = [words for words in parts if not all(map(OF_THE_SAME.fullmatch, words))]
    words = telling[-1] if telling else []
    starts = [n for n in range(1, len(words) + 1) if "".join(words[:n]) == _word(wanted)]  # "cc-12m" is two words
    return any(all(map(OF_THE_SAME.fullmatch, words[n:])) for n in starts)


def _policy(run: Run, value: Published) -> str:
    policy = run.get("supervision.corpus.policy", "as-is")
    if not value.weights or policy == "as-is":
        return ""
    return f"captions after the policy “{policy}”, in the paper as they are"


def _weights(run: Run, value: Published) -> str:
    """What they saw before the run's own captions, which are told by `_captions`."""
    if not value.protocol.captions:  # nothing is said of captions, or there are none
        return ""
    if not value.weights:
        return "the paper does not say what its CLIP was trained on"
    seen = str(run.get("supervision.backbone_corpus") or "unknown corpus")
    return "" if seen == "nothing" else f"starts from weights trained on {seen}, the paper's from {value.weights} alone"


def _encoder(run: Run, value: Published) -> str:
    here, wanted = str(run.get("method.config.encoder", "not recorded")), value.encoder
    same = not wanted or here in (
        wanted,
        f"{wanted}-quickgelu",
    )  # the same tower, its activation as in OpenAI's weights
    return "" if same else f"encoder {here}, in the paper {wanted}"


def _clusters(run: Run, value: Published) -> str:
    here, wanted = number_of(run), value.protocol.clusters
    if not wanted or here == wanted or run.get("method.name") not in NUMBERS:
        return ""
    return f"{'no recorded number of' if here is None else here} clusters, in the paper {wanted}"


def _head(run: Run, value: Published) -> str:
    """K-means on ViL-Seg's encoder: the head that trained it has a number of clusters of its own."""
    here, wanted = run.get("method.config.clusters"), value.protocol.clusters
    trained = run.get("method.name") == "kmeans" and run.get("method.config.features") != "clip"
    if not wanted or not trained or here == wanted:
        return ""
    return f"encoder trained with {'no recorded number of' if here is None else here} clusters, in the paper {wanted}"


def _attention(run: Run, value: Published) -> str:
    rule = run.get("method.config.attention")
    if not value.attention or rule is None or rule in value.attention:
        return ""
    return f"attention rule {rule}, in the paper {' or '.join(value.attention)}"


def _vectors(run: Run, value: Published) -> str:
    """Class vectors that no paper of the field uses: a control's."""
    control = run.get("supervision.vectors.control")
    return f"class vectors without meaning, a control ({control})" if control else ""


def _self_training(run: Run, value: Published) -> str:
    rounds = run.get("method.config.self_training", 0)
    asked = value.method.endswith("+ ST")
    return f"{rounds} rounds of self-training, in the paper none" if rounds and not asked else ""


def _images(run: Run, value: Published) -> str:
    scored, listed = (run.get(f"data.parts.val.{name}", 0) for name in ("scored", "images"))
    if scored < listed:
        return f"{scored:,} of {listed:,} images scored"
    return f"limited: {scored:,} images, the protocol has more" if run.get("limited") else ""


def _settings(run: Run, value: Published) -> str:
    """Fields that are not the paper's, where the paper gives a value. Fields it is silent on stand in the departures."""
    if value.protocol.scope == "open vocabulary":  # of another paper than the one that the departures are from
        return ""
    unused = "" if run.get("method.config.self_training") else "st_"  # ViL-Seg's fields of rounds that were not run
    own = OWN if value.encoder else OWN[OWN.index("self_training") :]  # without a check of its own, a setting
    rows: list[dict[str, Any]] = [
        row
        for row in run.get("method.departures", [])
        if row.get("paper") not in (None, "")
        and row["field"] not in own
        and not (unused and row["field"].startswith(unused))
    ]
    told = [f"{row['field']} {row.get('value')} for {row['paper']}" for row in rows[:MOST_SETTINGS]]
    more = [f"{len(rows) - MOST_SETTINGS} more"] if len(rows) > MOST_SETTINGS else []
    return f"settings: {', '.join([*told, *more])}" if rows else ""


CHECKS: tuple[Callable[[Run, Published], str], ...] = (
    _photographs, _split, _names, _candidates, _scored, _background, _resolution, _captions, _policy, _weights, _encoder,
    _clusters, _head, _attention, _vectors, _self_training, _images, _settings,
)  # fmt: skip


def unstated(value: Published) -> list[str]:
    """What the paper leaves open of its protocol, as far as it could be read."""
    open_ = {
        "which names compete": value.protocol.scope,
        "what becomes of background": value.protocol.background,
        "at which size labels are scored": value.resolution,
        "which supervision was used": value.setting,
    }
    return [what for what, told in open_.items() if told == NOT_STATED]


def number_of(run: Run) -> int | None:
    """How many clusters cut the regions of a run: those of ViL-Seg's head, or K-means' k; None for other methods."""
    number = run.get(f"method.config.{NUMBERS.get(str(run.get('method.name')), '')}")
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
