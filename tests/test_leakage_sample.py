"""Samples and sums of the leakage scan against plain counting, in any order, with duplicates, in batches and parts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.leakage import sample
from zsbench.leakage.batch import Batch, Intake, batch_of
from zsbench.leakage.engine import Hits, Matcher, flagged_hashes
from zsbench.leakage.lexicon import LEVELS, Entry, Form, Lexicon
from zsbench.leakage.reference import named
from zsbench.leakage.sample import KEPT, LONGEST, Collector, Distinct, Example, Examples, Smallest
from zsbench.leakage.tally import Tally

SOFA = Entry("sofa", "a seat", (Form("sofa", 0), Form("sofas", 1), Form("couch", 2)), ("couch potato",))
TRAIN = Entry("train", "a vehicle", (Form("train", 0), Form("love train", 3)), ("to train",), ("next to train",))
SEAT = Entry("seat", "to sit on", (Form("seat", 0), Form("sofa", 3)))  # its class is named wherever a sofa is
LEXICON = Lexicon("test", 3, (SOFA, TRAIN, SEAT))
MATCHER = Matcher(LEXICON)

TOP = 2**64 - 1
GROUPS = 3
HASHES = st.one_of(st.integers(0, 12), st.integers(TOP - 3, TOP), st.integers(0, TOP))
OCCURRENCES = st.lists(st.tuples(st.integers(0, GROUPS - 1), HASHES, st.integers(0, 99)), max_size=60)
CUTS = st.lists(st.integers(0, 60), max_size=4)
WORDS = ("sofa", "sofas", "Couch", "potato", "train", "love", "to", "next", "seat", "<sofa>", "red", "sofá")
CAPTIONS = st.lists(st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), max_size=40)

T = TypeVar("T")
Occurrence = tuple[int, int, int]
Kept = list[dict[int, tuple[int, int]]]  # per group: hash -> copies and first place


def pieces(whole: Sequence[T], cuts: list[int]) -> list[Sequence[T]]:
    bounds = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    return [whole[low:high] for low, high in pairwise(bounds)]


def columns(found: Sequence[Occurrence]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    groups, hashes, places = ([row[i] for row in found] for i in range(3))
    return np.array(groups, np.int32), np.array(hashes, np.uint64), np.array(places, np.int32)


def counted(found: Sequence[Occurrence], room: int) -> Kept:
    """The `room` smallest hashes of every group by looking at each of them."""
    every: Kept = [{} for _ in range(GROUPS)]
    for group, key, place in found:
        copies, first = every[group].get(key, (0, place))
        every[group][key] = (copies + 1, min(first, place))
    return [dict(sorted(kept.items())[:room]) for kept in every]


def kept_by(smallest: Smallest) -> Kept:
    found: Kept = []
    for group in range(GROUPS):
        keys = smallest.kept(group).tolist()
        copies, places = smallest.copies[group].tolist(), smallest.places[group].tolist()
        found.append(dict(zip(keys, zip(copies, places, strict=True), strict=False)))
    return found


@settings(max_examples=300, deadline=None)
@given(OCCURRENCES, st.integers(1, 6), CUTS, st.integers(0, 10**12), st.randoms(use_true_random=False))
def test_the_smallest_hashes_are_kept_with_all_their_copies(
    found: list[Occurrence], room: int, cuts: list[int], first: int, order: random.Random
) -> None:
    wanted = [{key: (n, first + place) for key, (n, place) in kept.items()} for kept in counted(found, room)]
    order.shuffle(found)
    smallest = Smallest(GROUPS, room)
    for piece in pieces(found, cuts):
        smallest.add(*columns(piece), first)
    assert kept_by(smallest) == wanted
    assert [list(kept) for kept in kept_by(smallest)] == [sorted(kept) for kept in wanted]
    filled = [group for group in range(GROUPS) if wanted[group]]
    assert smallest.largest(np.array(filled, np.int32)).tolist() == [max(wanted[group]) for group in filled]


@settings(max_examples=200, deadline=None)
@given(OCCURRENCES, st.integers(1, 4), CUTS)
def test_every_hash_that_is_kept_was_told_as_fresh_once(found: list[Occurrence], room: int, cuts: list[int]) -> None:
    smallest, told = Smallest(GROUPS, room), set()
    for piece in pieces(found, cuts):
        for i in smallest.add(*columns(piece), 0).tolist():
            assert piece[i][:2] not in told, "a hash that has left never comes back"
            told.add(piece[i][:2])
    assert {(group, key) for group in range(GROUPS) for key in smallest.kept(group).tolist()} <= told


def test_a_room_of_one_keeps_the_smallest() -> None:
    smallest = Smallest(1, 1)
    for key, place in ((7, 0), (7, 1), (9, 2), (5, 3), (7, 4), (5, 5), (6, 6)):
        smallest.add(*columns([(0, key, place)]), 100)
    assert (smallest.kept(0).tolist(), smallest.copies[0].tolist(), smallest.places[0].tolist()) == ([5], [2], [103])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, GROUPS - 1), HASHES.filter(lambda key: key < TOP)), max_size=80),
    CUTS,
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_distinct_keeps_the_smallest_in_any_order_and_any_parts(
    found: list[tuple[int, int]], cuts: list[int], room: int, order: random.Random
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "KEPT", room)
        wanted = [sorted({key for group, key in found if group == number})[:room] for number in range(GROUPS)]
        order.shuffle(found)
        one, parts = Distinct(GROUPS), []
        for piece in pieces(found, cuts):
            groups, hashes, _ = columns([(group, key, 0) for group, key in piece])
            one.add(groups, hashes)
            parts.append(Distinct(GROUPS))
            parts[-1].add(groups, hashes)
        order.shuffle(parts)
        merged = Distinct(GROUPS)
        for part in parts:
            merged.merge(part)
        again = Distinct.from_list(json.loads(json.dumps(merged.as_list())))
        for sketch in (one, merged, again):
            assert [sketch.kept(number).tolist() for number in range(GROUPS)] == wanted
        assert one.as_list() == merged.as_list() == again.as_list()


def test_the_largest_hash_there_is_counts_too() -> None:
    sketch = Distinct(1)
    sketch.add(np.zeros(2, np.int32), np.array([TOP, TOP], np.uint64))
    assert sketch.count(0) == (1, True)


def drawn(count: int, seed: int) -> np.ndarray:
    hashes = np.random.default_rng(seed).integers(0, TOP, size=count, dtype=np.uint64, endpoint=True)
    assert len(np.unique(hashes)) == count
    return hashes


@pytest.mark.parametrize("count", [0, 1, 500, KEPT - 1])
def test_few_distinct_captions_are_counted_exactly(count: int) -> None:
    sketch, hashes = Distinct(2), drawn(count, 0)
    for _ in range(5):  # copies fill the room for what is not settled
        sketch.add(np.ones(count, np.int32), hashes)
    assert (sketch.count(0), sketch.count(1)) == ((0, True), (count, True))


@pytest.mark.parametrize("seed", range(5))
def test_many_distinct_captions_are_counted_nearly(seed: int) -> None:
    hashes = drawn(50_000, seed)
    sketch, halves = Distinct(1), (Distinct(1), Distinct(1))
    for piece in np.array_split(np.concatenate([hashes, hashes[::-1]]), 7):
        sketch.add(np.zeros(len(piece), np.int32), piece)
    for half, piece in zip(halves, (hashes[:30_000], hashes[20_000:]), strict=True):
        half.add(np.zeros(len(piece), np.int32), piece)
    halves[0].merge(halves[1])
    count, exact = sketch.count(0)
    assert not exact and abs(count - 50_000) < 0.15 * 50_000
    assert halves[0].count(0) == sketch.count(0) == Distinct.from_list(sketch.as_list()).count(0)


def scanned(captions: Sequence[str], first: int = 0) -> tuple[Batch, Hits, np.ndarray]:
    batch = batch_of(captions, first)
    hits = MATCHER.scan(batch, Intake())
    return batch, hits, flagged_hashes(batch, hits)


def collected(captions: Sequence[str], size: int, cuts: list[int]) -> Examples:
    collector, first = Collector(MATCHER, size), 0
    for piece in pieces(captions, cuts):
        collector.add(*scanned(piece, first))
        first += len(piece)
    return collector.examples()


def named_forms(caption: str) -> set[tuple[str, str]]:
    return {(entry.name, form.text) for entry in LEXICON.entries for form in named(caption, entry)}


def examples_by_hand(captions: Sequence[str], size: int) -> list[list[tuple[str, int, int, int]]]:
    """Per form the captions with the smallest hashes: text, copies, source, first row."""
    _, _, keys = scanned(captions)
    key = {caption: int(keys[row]) for row, caption in enumerate(captions)}
    made = []
    for entry, form in MATCHER.forms:
        pair = (LEXICON.entries[entry].name, form.text)
        those = sorted({caption for caption in captions if pair in named_forms(caption)}, key=key.__getitem__)
        made.append([(text, captions.count(text), 0, captions.index(text)) for text in those[:size]])
    return made


def shown(examples: Examples) -> list[list[tuple[str, int, int, int]]]:
    return [[(e.text, e.copies, e.source, e.row) for _, e in sorted(kept.items())] for kept in examples.kept]


@settings(max_examples=150, deadline=None)
@given(CAPTIONS, st.integers(1, 4), CUTS)
def test_examples_are_the_same_however_the_captions_are_cut(captions: list[str], size: int, cuts: list[int]) -> None:
    wanted = examples_by_hand(captions, size)
    assert shown(collected(captions, size, cuts)) == wanted
    assert shown(collected(captions, size, [])) == wanted


@settings(max_examples=100, deadline=None)
@given(CAPTIONS, st.integers(1, 4), CUTS)
def test_examples_keep_to_their_dictionary_and_back(captions: list[str], size: int, cuts: list[int]) -> None:
    made = collected(captions, size, cuts)
    again = Examples.from_dict(json.loads(json.dumps(made.as_dict())), len(MATCHER.forms), size)
    assert again.kept == made.kept and again.size == size and again.as_dict() == made.as_dict()
    assert list(again) == [example for kept in made.kept for example in kept.values()]


def test_a_batch_that_is_used_again_does_not_change_what_was_kept() -> None:
    captions = ["red sofa", "a sofa", "the couch"]
    batch, hits, keys = scanned(captions)
    data = batch.data.copy()
    collector = Collector(MATCHER, 5)
    collector.add(Batch(data, batch.starts, batch.ends), hits, keys)
    data[:] = ord("x")
    assert sorted(example.text for example in collector.examples().kept[0].values()) == ["a sofa", "red sofa"]


def test_of_a_long_caption_the_part_with_the_form_is_kept() -> None:
    caption = "far " * 1000 + "red sofa " + "away " * 1000
    (example,) = collected([caption, caption], 5, [1]).kept[0].values()
    assert "red sofa away" in example.text and len(example.text) == LONGEST + 2
    assert example.text.startswith("…") and example.text.endswith("…")
    assert (example.copies, example.row) == (2, 0)


PLACED = st.lists(
    st.tuples(st.integers(0, GROUPS - 1), HASHES, st.integers(1, 9), st.integers(0, 3), st.integers(0, 9)), max_size=40
)


@settings(max_examples=300, deadline=None)
@given(PLACED, CUTS, st.integers(1, 4), st.randoms(use_true_random=False))
def test_examples_of_parts_add_up_in_any_order(
    found: list[tuple[int, int, int, int, int]], cuts: list[int], size: int, order: random.Random
) -> None:
    every: list[dict[int, Example]] = [{} for _ in range(GROUPS)]
    for group, key, copies, source, row in found:
        old = every[group].get(key, Example(f"c{key}", 0, source, row))
        place = min((old.source, old.row), (source, row))
        every[group][key] = Example(old.text, old.copies + copies, *place)
    wanted = [dict(sorted(kept.items())[:size]) for kept in every]
    parts = []
    for piece in pieces(found, cuts):
        part = Examples(GROUPS, size)
        for group, key, copies, source, row in piece:
            one = Examples(GROUPS, size)
            one.kept[group][key] = Example(f"c{key}", copies, source, row)
            part.merge(one)
        parts.append(part)
    order.shuffle(parts)
    total = Examples(GROUPS, size)
    for part in parts:
        total.merge(part)
    assert total.kept == wanted
    assert [list(kept) for kept in total.kept] == [list(kept) for kept in wanted]


def tally(captions: Sequence[str], first: int = 0, source: int = 0) -> Tally:
    made = Tally.empty(LEXICON, 2)
    batch, hits, keys = scanned(captions, first)
    made.add(hits, keys)
    collector = Collector(MATCHER, 2)
    collector.add(batch, hits, keys)
    made.examples = collector.examples()
    made.take_in(source, Intake(records=len(captions), bytes=sum(len(caption) for caption in captions)))
    return made


def summed(*parts: Tally) -> Tally:
    total = Tally.empty(LEXICON, 2)
    for part in parts:
        total.merge(part)
    return total


@settings(max_examples=150, deadline=None)
@given(CAPTIONS, st.integers(0, 40))
def test_a_tally_is_the_sum_of_its_halves_in_either_order(captions: list[str], cut: int) -> None:
    whole = tally(captions).as_dict()
    make: tuple[Callable[[], Tally], ...] = (lambda: tally(captions[:cut]), lambda: tally(captions[cut:], cut))
    if cut > len(captions):
        make = (lambda: tally(captions), lambda: tally([], len(captions)))
    assert summed(make[0](), make[1]()).as_dict() == whole
    assert summed(make[1](), make[0]()).as_dict() == whole
    assert Tally.from_dict(json.loads(json.dumps(whole)), LEXICON).as_dict() == whole


@settings(max_examples=150, deadline=None)
@given(CAPTIONS)
def test_a_tally_counts_each_caption_once_per_form_class_and_pair(captions: list[str]) -> None:
    made, names = tally(captions), LEXICON.classes
    forms = dict.fromkeys(((names[entry], form.text) for entry, form in MATCHER.forms), 0)
    classes, together = np.zeros((len(names), len(LEVELS)), int), np.zeros((len(names), len(names)), int)
    flagged = np.zeros(len(LEVELS), int)
    level = {(names[entry], form.text): form.level for entry, form in MATCHER.forms}
    for caption in captions:
        found = named_forms(caption)
        for pair in found:
            forms[pair] += 1
        lowest = {name: min(level[pair] for pair in found if pair[0] == name) for name, _ in found}
        for name, least in lowest.items():
            classes[names.index(name), least] += 1
        for c, d in combinations(sorted(names.index(name) for name in lowest), 2):
            together[c, d] += 1
        if lowest:
            flagged[min(lowest.values())] += 1
    assert made.forms.tolist() == list(forms.values())
    assert made.classes.tolist() == classes.tolist() and made.flagged.tolist() == flagged.tolist()
    assert made.together.tolist() == together.tolist()
    assert not np.tril(made.together).any() and all(c < d for c, d, _ in made.as_dict()["together"])
    for number, entry in enumerate(LEXICON.entries):
        distinct = {caption for caption in captions if named(caption, entry)}
        assert made.distinct.count(number) == (len(distinct), True)


def test_pairs_of_classes_stand_once_whatever_the_order_in_the_caption() -> None:
    made = tally(["train and couch", "couch and train", "couch train couch train", "to train on a couch", "a sofa"])
    assert made.as_dict()["together"] == [[0, 1, 3], [0, 2, 1]]
    assert summed(made, made).as_dict()["together"] == [[0, 1, 6], [0, 2, 2]]
