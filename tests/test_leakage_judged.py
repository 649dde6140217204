"""The lexicon against captions judged by hand: precision and recall at levels 0 to 2, as bench/leakage_judged.py measures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import leakage_judged as judged


@pytest.mark.parametrize("name", judged.SETS)
def test_judged_captions(name: str, real_data: Path) -> None:
    verdicts = judged.verdicts(name)
    assert len(verdicts) == 600
    found = judged.measure(verdicts, dict(judged.captions(real_data / "captions")))["all"]
    hits = found["right"] + found["undecided"] + found["wrong"]
    assert hits >= 200
    assert found["right"] / (hits - found["undecided"]) >= 0.95
    assert found["recall"] >= 0.95


def test_the_held_out_captions_were_not_in_the_first_set() -> None:
    assert not set(judged.verdicts("held out")) & set(judged.verdicts("development"))
