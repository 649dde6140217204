"""Captions of the drawn scenes and what is planted in them: one arm is one caption corpus over the same scenes.

An arm is a kind, a dose and a naming mode, written as `pair_0.1`, `clean`, `comp_pair_0.1`. The dose is the share of
scenes touched; it is met exactly, spread evenly over the unseen classes, and larger doses contain the smaller ones.
Chance for captions is drawn per scene and apart from the pictures, so arms differ only in what their name says: `pair`
and `image` show the same pictures, `clean`, `text` and `negatives` too, and an untouched scene reads the same in all.

    clean      seen classes only, every object named
    pair       an unseen object is shown and named
    image      the pictures of `pair`, the unseen object never named
    text       the pictures of `clean`, an unseen name added
    variants   as `pair`, named only by synonym, plural or compound
    negatives  the pictures of `clean`, words that only look like an unseen name
    shuffled   as `pair`, the captions exchanged between pictures of different unseen classes
    web        as `pair`, with scenery-only captions, clutter and repeated lines, as the web has them
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zsbench.data.scene_arms import Arm, parse_arm
from zsbench.data.scene_classes import UNSEEN, check_split, drawn_class, seen_ids
from zsbench.data.scene_painter import Scene, compose, labels, present, swap
from zsbench.data.scene_words import CLUTTER, NEGATIVES, SCENERY, TEMPLATES, VARIANTS
from zsbench.errors import UserError

SCENERY_ONLY = 0.1  # share of the web lines, all untouched, that name the scenery and nothing else
REPEATED = 0.01  # share of the web lines, all untouched, that repeat another untouched one
CLUTTERED = 0.15  # probability of clutter around a web caption

# Streams of chance. Every scene has its own generator, numbered (seed, stream, index), so that neither the number of
# scenes nor the arms drawn before change what it shows or says.
SCENES, SWAPS, WORDS, TOUCHED, WEB, TRAIN, VAL, VECTORS = range(8)

Line = dict[str, Any]


def stream(seed: int, number: int, index: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, number, index])


@dataclass(frozen=True)
class Picture:
    """A captioned scene under its image key, with the ids it shows in the order of its things."""

    key: str
    scene: Scene
    shown: tuple[int, ...]


@dataclass(frozen=True)
class Pool:
    """The caption pictures: `plain[i]` shows seen classes only, `planted[i]` is the same with one unseen object.

    `touched` lists the scenes with a planted twin in the order in which doses take them; the unseen classes take turns.
    """

    seed: int
    unseen: tuple[int, ...]
    plain: tuple[Picture, ...]
    planted: dict[int, Picture]
    touched: tuple[int, ...]

    def planted_class(self, rank: int) -> int:
        return self.unseen[rank % len(self.unseen)]


def _picture(key: str, scene: Scene) -> Picture:
    visible = present(labels(scene))
    return Picture(key, scene, tuple(thing.class_id for thing in scene.things if thing.class_id in visible))


def caption_pool(
    seed: int, count: int, dose: float = 0.1, unseen: Sequence[int] = UNSEEN, size: int = 64, cooc: float = 0.0
) -> Pool:
    """Compose `count` scenes of seen classes, and the planted twins that doses up to `dose` need. Paints nothing."""
    check_split(unseen)
    seen = seen_ids(unseen)
    scenes = [compose(stream(seed, SCENES, i), seen, size, cooc) for i in range(count)]
    touched = tuple(int(i) for i in stream(seed, TOUCHED).permutation(count)[: round(dose * count)])
    twins = {i: swap(scenes[i], unseen[r % len(unseen)], stream(seed, SWAPS, i)) for r, i in enumerate(touched)}
    plain = tuple(_picture(f"c{i + 1:06d}", scene) for i, scene in enumerate(scenes))
    planted = {i: _picture(f"u{i + 1:06d}", scene) for i, scene in twins.items()}
    return Pool(seed, tuple(unseen), plain, planted, touched)


def spoken_name(class_id: int, comp: bool = False) -> str:
    """How captions of a naming mode call a class: its VOC name as one opaque word, or the phrase of its looks."""
    return drawn_class(class_id).phrase if comp else drawn_class(class_id).name


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _sentence(words: Sequence[str], context: str, rng: np.random.Generator) -> str:
    """One of the templates around the words in random order; scenery where there is no word."""
    template, order = TEMPLATES[rng.integers(len(TEMPLATES))], rng.permutation(len(words))
    if not words:
        return _scenery(context, rng)
    return template.format(things=" and ".join(words[i] for i in order), context=context)


def _scenery(context: str, rng: np.random.Generator) -> str:
    return SCENERY[rng.integers(len(SCENERY))].format(context=context)


def _line(arm: Arm, picture: Picture, named: Sequence[int], rng: np.random.Generator, variant: str = "") -> Line:
    """A line naming `named`; the last of them in the words of `variant`, if given."""
    words = [_with_article(spoken_name(i, arm.comp)) for i in named]
    if variant:
        words[-1] = variant
    return {
        "image": picture.key,
        "caption": _sentence(words, picture.scene.context, rng),
        "names": [drawn_class(i).name for i in named],
        "ids": sorted(picture.shown),
        "context": picture.scene.context,
        "leak": None,
        "arm": arm.name,
    }


def _plain_line(arm: Arm, pool: Pool, index: int) -> Line:
    picture = pool.plain[index]
    return _line(arm, picture, picture.shown, stream(pool.seed, WORDS, index))


def _touched_line(arm: Arm, pool: Pool, index: int, rank: int) -> Line:
    """The line of a scene that the dose takes: what the arm's kind does to it."""
    rng, unseen = stream(pool.seed, WORDS, index), pool.planted_class(rank)
    picture = pool.planted[index] if arm.shows else pool.plain[index]
    others = [i for i in picture.shown if i != unseen]
    named = others if arm.kind in ("image", "negatives") else [*others, unseen]
    form = _form(arm, unseen, rank // len(pool.unseen))
    line = _line(arm, picture, named, rng, form if arm.kind == "variants" else "")
    if arm.kind == "negatives":
        line["caption"] += f" {form}"
    return {**line, "leak": arm.leak, **({"form": form} if form else {})}


def _form(arm: Arm, class_id: int, turn: int) -> str:
    """The variant or hard negative of a class, else nothing; its forms take turns, so that every one is planted."""
    name = drawn_class(class_id).name
    if arm.kind == "variants":
        return VARIANTS[name][turn % len(VARIANTS[name])]
    return NEGATIVES[name][turn % len(NEGATIVES[name])] if arm.kind == "negatives" else ""


def _exchange(lines: list[Line], touched: Sequence[int], classes: int) -> None:
    """Permute the captions of the touched lines so that each goes to a picture of another unseen class."""
    by_class = sorted(range(len(touched)), key=lambda rank: rank % classes)
    givers = np.roll(by_class, -(-len(touched) // classes))  # one whole class further
    said = [(lines[touched[rank]]["caption"], lines[touched[rank]]["names"]) for rank in givers]
    for rank, (caption, names) in zip(by_class, said, strict=True):
        lines[touched[rank]].update(caption=caption, names=names)


def _as_on_the_web(lines: list[Line], untouched: Sequence[int], seed: int) -> None:
    """Scenery-only captions, clutter and repeated lines, in this order; touched lines keep their names."""
    rng = stream(seed, WEB)
    chosen = rng.permutation(untouched).astype(int)
    scenery, repeated = round(SCENERY_ONLY * len(lines)), round(REPEATED * len(lines))
    for index in chosen[:scenery]:
        lines[index].update(caption=_scenery(lines[index]["context"], rng), names=[])
    for line in lines:
        if rng.random() < CLUTTERED:
            line["caption"] = CLUTTER[rng.integers(len(CLUTTER))].format(line["caption"])
    rest = chosen[scenery:]
    for index, source in zip(rest[:repeated], rest[repeated:], strict=False):
        lines[index] = dict(lines[source])


def arm_lines(name: str, pool: Pool) -> list[Line]:
    """The lines of the arm called `name`, one per scene of the pool (see the module's table).

    names: classes the caption names, ids: classes the picture shows, leak: what is planted in this line or None, form:
    the planted words of a variant or a hard negative.
    Errors: unknown arm, or a dose beyond the pool's planted twins.
    """
    arm = parse_arm(name)
    touched = pool.touched[: (count := round(arm.dose * len(pool.plain)))]
    if len(touched) < count:
        raise UserError(f"caption arm '{name}': needs {count} planted pictures, {len(touched)} were drawn")
    ranks = {index: rank for rank, index in enumerate(touched)}
    lines = [
        _touched_line(arm, pool, i, ranks[i]) if i in ranks else _plain_line(arm, pool, i)
        for i in range(len(pool.plain))
    ]
    if arm.kind == "shuffled":
        _exchange(lines, touched, len(pool.unseen))
    if arm.kind == "web":
        _as_on_the_web(lines, [i for i in range(len(lines)) if i not in ranks], pool.seed)
    return lines


def arm_counts(lines: Iterable[Line], unseen: Sequence[int] = UNSEEN) -> dict[str, Any]:
    """What was planted, for `meta.json`: captions naming and pictures showing each unseen class, and both at once."""
    lines = list(lines)
    names = {drawn_class(i).name: i for i in unseen}
    copies = Counter((line["image"], line["caption"]) for line in lines)
    return {
        "pairs": len(lines),
        "touched": sum(line["leak"] is not None for line in lines),
        "named": {name: sum(name in line["names"] for line in lines) for name in names},
        "shown": {name: sum(i in line["ids"] for line in lines) for name, i in names.items()},
        "named_and_shown": {
            name: sum(name in line["names"] and i in line["ids"] for line in lines) for name, i in names.items()
        },
        "scenery_only": sum(not line["names"] for line in lines),
        "repeated": sum(copies.values()) - len(copies),
    }
