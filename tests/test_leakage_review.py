"""What a judged sample says of the counts, when a scan fails, and what makes a part of it stale."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from typing import Any

import leakage_reports as made
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.errors import UserError
from zsbench.leakage.lexicon import Entry, Form, Lexicon
from zsbench.leakage.limits import COMPLETE, COVERED, INCOMPLETE, OVER, UNREVIEWED, judge, overall, parse_limit
from zsbench.leakage.reading.layout import Fragment
from zsbench.leakage.review import Judged, Stratum, class_precision, precision, wilson
from zsbench.leakage.scan import Job

STRATA = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 30), st.integers(0, 30), st.integers(0, 3)).map(
        lambda s: Stratum(s[0], s[1], s[1] + s[2], s[3])
    ),
    max_size=6,
)


@pytest.mark.parametrize(
    ("right", "size", "low", "high", "digits"),
    [
        (90, 100, 0.8256, 0.9448, 4),
        (380, 400, 0.924, 0.967, 3),
        (68, 75, 0.820, 0.954, 3),
        (0, 10, 0.0, 0.2775, 4),
        (10, 10, 0.7225, 1.0, 4),
    ],
)
def test_wilson_has_the_published_values(right: int, size: int, low: float, high: float, digits: int) -> None:
    assert tuple(round(end, digits) for end in wilson(right / size, size)) == (low, high)


def test_of_no_trials_the_interval_is_everything() -> None:
    assert wilson(0.5, 0) == wilson(0.0, 0) == wilson(1.0, 0) == (0.0, 1.0)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**5), st.integers(0, 10**5))
def test_wilson_holds_its_share_and_is_the_same_from_either_side(right: int, wrong: int) -> None:
    size = right + wrong
    share = right / size if size else 0.5
    low, high = wilson(share, size)
    assert 0 <= low <= share <= high <= 1
    assert wilson(1 - share, size) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    assert (low == 0) == (right == 0) and (high == 1) == (wrong == 0)
    wider = wilson(share, size / 4)
    assert wider[0] <= low and high <= wider[1]


def reviewed(*strata: Stratum, captions: int = 1000) -> dict[str, Any]:
    found = precision(list(strata), captions)
    assert found is not None
    return found


def test_forms_weigh_as_often_as_they_occur() -> None:
    found = reviewed(Stratum(900, 10, 10, 0), Stratum(100, 0, 10, 0))
    assert found["estimate"] == 0.9 and found["corrected"] == 900
    assert (found["judged"], found["right"], found["covered"]) == (20, 10, 1.0)


def test_one_form_gives_wilsons_interval_of_its_sample() -> None:
    found = reviewed(Stratum(400, 68, 75, 0))
    assert found["estimate"] == 68 / 75
    assert (found["low"], found["high"]) == pytest.approx(wilson(68 / 75, 75))


def test_unequal_forms_are_worth_less_than_the_captions_judged() -> None:
    even = reviewed(Stratum(500, 9, 10, 0), Stratum(500, 9, 10, 0))
    uneven = reviewed(Stratum(900, 9, 10, 0), Stratum(100, 9, 10, 0))
    assert (even["low"], even["high"]) == pytest.approx(wilson(0.9, 20))
    assert uneven["estimate"] == even["estimate"] == 0.9
    assert (uneven["low"], uneven["high"]) == pytest.approx(wilson(0.9, 1 / (0.81 / 10 + 0.01 / 10)))
    assert uneven["low"] < even["low"] and even["high"] < uneven["high"]


def test_unsure_answers_count_in_neither_direction() -> None:
    sure, unsure = reviewed(Stratum(100, 8, 10, 0)), reviewed(Stratum(100, 8, 10, 5))
    assert unsure == sure | {"unsure": 5}
    assert precision([Stratum(100, 0, 0, 5)], 100) is None


def test_forms_that_nobody_judged_are_told_as_not_covered() -> None:
    found = reviewed(Stratum(300, 9, 10, 0), Stratum(100, 0, 0, 2), Stratum(0, 0, 3, 0))
    assert found["covered"] == 0.75 and found["estimate"] == 0.9
    assert precision([], 10) is None and precision([Stratum(10, 0, 0, 0)], 10) is None


@pytest.mark.parametrize("weights", [*permutations((18, 29, 9)), (1, 1, 1), (3, 7), (10**9, 3, 1), (49,) * 6])
def test_what_is_all_right_is_exactly_one_and_what_is_all_wrong_exactly_nothing(weights: tuple[int, ...]) -> None:
    right = reviewed(*(Stratum(weight, 7, 7, 0) for weight in weights), captions=sum(weights))
    wrong = reviewed(*(Stratum(weight, 0, 7, 0) for weight in weights), captions=sum(weights))
    assert (right["estimate"], right["high"], right["corrected"]) == (1.0, 1.0, sum(weights))
    assert (wrong["estimate"], wrong["low"], wrong["corrected"]) == (0.0, 0.0, 0)


@settings(max_examples=300, deadline=None)
@given(STRATA, st.integers(0, 10**9))
def test_any_strata_give_a_share_within_its_interval(strata: list[Stratum], captions: int) -> None:
    found = precision(strata, captions)
    known = [s for s in strata if s.judged and s.weight]
    assert (found is None) == (not known)
    if found is None:
        return
    total = sum(s.weight for s in known)
    share = sum((Fraction(s.weight * s.right, total * s.judged) for s in known), Fraction())
    assert math.isclose(found["estimate"], share, rel_tol=1e-12)
    assert 0 <= found["low"] <= found["estimate"] <= found["high"] <= 1
    assert found["corrected_low"] <= found["corrected"] <= found["corrected_high"] <= captions
    widest = wilson(found["estimate"], sum(s.judged for s in known))
    assert found["low"] <= widest[0] + 1e-12 and widest[1] - 1e-12 <= found["high"], "never more than was judged"
    assert 0 < found["covered"] <= 1


def test_both_questions_are_asked_apart() -> None:
    judged: Judged = {
        ("sofa", "sofa"): {"h1": {"named": True, "shown": False}, "h2": {"named": True}},
        ("sofa", "couch"): {"h3": {"named": False, "shown": None}},
        ("train", "train"): {"h4": {"named": True}},
    }
    found = class_precision(judged, "sofa", [("sofa", 90), ("couch", 10)], 100)
    assert found is not None
    assert (found["named"]["estimate"], found["named"]["judged"], found["named"]["covered"]) == (0.9, 3, 1.0)
    assert (found["shown"]["estimate"], found["shown"]["unsure"], found["shown"]["covered"]) == (0.0, 1, 0.9)
    train = class_precision(judged, "train", [("train", 5)], 5)
    assert train is not None and train["shown"] is None
    assert class_precision(judged, "sheep", [("sheep", 5)], 5) is None


@pytest.mark.parametrize(
    ("text", "number", "is_share"),
    [
        ("0", 0, False),
        (" 5 ", 5, False),
        ("20ppm", Fraction(1, 50_000), True),
        ("0.01%", Fraction(1, 10_000), True),
        ("29 %", Fraction(29, 100), True),
        ("0.3%", Fraction(3, 1000), True),
    ],
)
def test_limits_are_numbers_or_shares(text: str, number: Fraction, is_share: bool) -> None:
    assert parse_limit(text) == (number, is_share)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "5 captions", "%", "1e3", "nan", "1.%", ".5%", "5%%", "٣"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no limit"):
        parse_limit(text)


def scan(
    captions: int, naming: int, complete: bool = True, estimate: float | None = None, covered: float = 1.0
) -> dict[str, Any]:
    """A report in which one class of five is named."""
    report = made.nothing(corpus__captions=captions, complete=complete)
    report["classes"][0]["captions"] = naming
    if estimate is not None:
        named = {"judged": 50, "right": 45, "unsure": 0, "covered": covered, "estimate": estimate}
        report["classes"][0]["precision"] = {"named": named, "shown": None}
    return report


@pytest.mark.parametrize(
    ("limit", "captions", "allowed"),
    [
        ("20ppm", 1_000_000, 20),
        ("29%", 100, 29),
        ("57%", 100, 57),
        ("0.07%", 10_000, 7),
        ("14.7%", 1000, 147),
        ("0", 10, 0),
        ("3", 10, 3),
        ("1ppm", 999_999, 0),
    ],
)
def test_a_class_is_over_with_the_first_caption_beyond_the_limit(limit: str, captions: int, allowed: int) -> None:
    at, beyond = judge(scan(captions, allowed), limit), judge(scan(captions, allowed + 1), limit)
    assert (at["exit"], at["limit"]["over"]) == (COMPLETE, [])
    assert (beyond["exit"], beyond["limit"]["over"]) == (OVER, [beyond["classes"][0]["name"]])
    assert allowed <= at["limit"]["fail_over"] < allowed + 1


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**4), st.integers(1, 10**6))
def test_a_share_of_a_hundredth_percent_is_never_rounded(hundredths: int, hundreds: int) -> None:
    captions, allowed = 100 * hundreds, hundredths * hundreds // 100
    limit = f"{hundredths // 100}.{hundredths % 100:02}%"
    assert judge(scan(captions, allowed), limit)["exit"] == COMPLETE
    assert judge(scan(captions, allowed + 1), limit)["exit"] == OVER


def test_without_a_limit_nothing_is_over() -> None:
    report = judge(scan(100, 100))
    assert report["exit"] == COMPLETE and report["limit"] is None


def test_classes_alone_must_not_be_named_at_all() -> None:
    report = scan(100, 1)
    first, second = (block["name"] for block in report["classes"][:2])
    assert judge(report, fail_on=[first])["exit"] == OVER
    assert judge(report, fail_on=[second])["exit"] == COMPLETE
    assert judge(report, "1", [first])["exit"] == COMPLETE


def test_precision_must_be_shown_for_every_class_that_is_named() -> None:
    assert judge(scan(100, 0), require_precision=0.9)["exit"] == COMPLETE
    assert judge(scan(100, 5), require_precision=0.9)["exit"] == UNREVIEWED
    assert judge(scan(100, 5, estimate=0.89), require_precision=0.9)["exit"] == UNREVIEWED
    assert judge(scan(100, 5, estimate=0.9), require_precision=0.9)["exit"] == COMPLETE
    assert judge(scan(100, 5, estimate=1.0, covered=COVERED), require_precision=0.9)["exit"] == COMPLETE
    assert judge(scan(100, 5, estimate=1.0, covered=0.79), require_precision=0.9)["exit"] == UNREVIEWED


def test_the_gravest_goes_first() -> None:
    assert judge(scan(100, 5, complete=False), "0", require_precision=0.9)["exit"] == OVER == 3
    assert judge(scan(100, 5, complete=False), "5", require_precision=0.9)["exit"] == INCOMPLETE == 1
    assert judge(scan(100, 5), "5", require_precision=0.9)["exit"] == UNREVIEWED == 4
    assert judge(scan(100, 5), "5")["exit"] == COMPLETE == 0


@pytest.mark.parametrize("codes", list(permutations((COMPLETE, INCOMPLETE, OVER, UNREVIEWED))))
def test_the_gravest_of_several_reports_is_told(codes: tuple[int, ...]) -> None:
    assert overall(codes) == OVER
    assert overall([code for code in codes if code != OVER]) == INCOMPLETE
    assert overall([code for code in codes if code in (COMPLETE, UNREVIEWED)]) == UNREVIEWED
    assert overall([COMPLETE] * 3) == overall([]) == COMPLETE


SOFA = Entry("sofa", "a seat", (Form("sofa", 0), Form("couch", 2)), ("couch potato",), ("red couch potato",))
JOB = Job(Lexicon("test", 3, (SOFA,)))
PART = Fragment("/data/a.tsv", "tsv", 0, 900, 900, "900-1700000000", "caption", 1, 2, "\t", 16)


def worded(**changes: Any) -> Job:
    return replace(JOB, lexicon=replace(JOB.lexicon, entries=(replace(SOFA, **changes),)))


def test_a_part_has_another_key_for_whatever_changes_what_it_holds() -> None:
    jobs = [
        JOB,
        replace(JOB, examples=6),
        replace(JOB, hits=True),
        replace(JOB, lexicon=replace(JOB.lexicon, level=4)),
        worded(name="seat"),
        worded(forms=SOFA.forms[:1]),
        worded(forms=SOFA.forms[::-1]),
        worded(forms=(Form("sofa", 0), Form("couch", 3))),
        worded(blockers=()),
        worded(keepers=()),
        worded(blockers=SOFA.keepers, keepers=SOFA.blockers),
    ]
    assert len({job.key(PART) for job in jobs}) == len(jobs)
    changed = {"source": "/data/b.tsv", "stamp": "900-1700000001", "start": 1, "stop": 901, "bytes": 901, "place": 0,
               "column": "text", "fields": 3, "delimiter": ",", "header_bytes": 0, "compression": "gzip",
               "format": "csv"}  # fmt: skip
    parts = [PART, *(replace(PART, **{name: value}) for name, value in changed.items())]  # type: ignore[arg-type]
    assert len({JOB.key(part) for part in parts}) == len(parts)


def test_a_part_keeps_its_key_where_nothing_that_counts_has_changed() -> None:
    assert JOB.key(PART) == JOB.key(Fragment.from_dict(PART.as_dict())) == worded(sense="to sit on").key(PART)
    assert replace(JOB, lexicon=replace(JOB.lexicon, name="another")).key(PART) == JOB.key(PART)
    assert len(JOB.key(PART)) == 20 and int(JOB.key(PART), 16) >= 0
