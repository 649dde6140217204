"""On drawn captions the scanner's counts are the planted ones: for every arm, caption by caption."""

from __future__ import annotations

from functools import lru_cache

import pytest

from zsbench.data.scene_arms import DEFAULT_ARMS
from zsbench.data.scene_captions import Pool, arm_lines, caption_pool
from zsbench.leakage.batch import Intake, batch_of
from zsbench.leakage.drawn import looks_lexicon, names_by_looks
from zsbench.leakage.engine import Matcher
from zsbench.leakage.lexicon import split_lexicon
from zsbench.split import load_split

VOC5 = load_split("voc5")
ARMS = (*DEFAULT_ARMS, "variants_0.4", "negatives_0.4", "pair_0.4")


@lru_cache
def pool() -> Pool:
    """The scenes of the default drawn data, planted in four of ten; nothing is painted."""
    return caption_pool(0, 2500, 0.4)


@lru_cache
def matcher(by_looks: bool) -> Matcher:
    return Matcher(looks_lexicon(VOC5) if by_looks else split_lexicon(VOC5))


@pytest.mark.parametrize("arm", ARMS)
def test_every_caption_names_what_was_planted_in_it_and_no_more(arm: str) -> None:
    lines, scanner = arm_lines(arm, pool()), matcher(names_by_looks(arm))
    hits = scanner.scan(batch_of([line["caption"] for line in lines]), Intake())
    found: list[set[str]] = [set() for _ in lines]
    for row, number, _ in hits.classes:
        found[row].add(scanner.lexicon.classes[number])
    planted = [set(line["names"]) & set(VOC5.unseen) for line in lines]
    wrong = [(line["caption"], got) for line, got, true in zip(lines, found, planted, strict=True) if got != true]
    assert wrong == []
    named = sum(map(len, planted))
    assert named == (0 if arm.startswith(("clean", "comp_clean", "image", "negatives")) else dose(arm) * len(lines))


def dose(arm: str) -> float:
    return float(arm.rpartition("_")[2]) if "_" in arm else 0.1


@pytest.mark.parametrize("arm", ["comp_clean", "comp_pair_0.1"])
def test_phrases_of_looks_hold_no_word_for_a_class(arm: str) -> None:
    """What names by phrases is found by phrases only: the words of real things are silent there."""
    captions = [line["caption"] for line in arm_lines(arm, pool())]
    assert not len(matcher(False).scan(batch_of(captions), Intake()).classes)
