"""The matching of the leakage scan: edge cases of the policy, the fast engine against the plain one, real captions."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.data.universes import UNIVERSES
from zsbench.leakage import engine
from zsbench.leakage.automaton import build
from zsbench.leakage.batch import Batch, Intake, batch_of
from zsbench.leakage.engine import Matcher
from zsbench.leakage.lexicon import Entry, Form, Lexicon, load_lexicon, split_lexicon
from zsbench.leakage.reference import Match, find, find_in, named, readings
from zsbench.leakage.words import INVISIBLE, folded, form_of
from zsbench.split import load_split

SOFA = Entry(
    "sofa",
    "a seat",
    (Form("sofa", 0), Form("sofas", 1), Form("couch", 2), Form("love seat", 3), Form("loveseat", 3)),
    ("couch potato", "sofa so", "so far sofa"),
    ("red sofa so",),
)
TV = Entry(
    "tvmonitor",
    "a screen",
    (Form("tvmonitor", 0), Form("tv monitor", 1), Form("tv", 2), Form("monitor", 2)),
    ("monitor the",),
)
TRAIN = Entry(
    "train",
    "a vehicle",
    (Form("train", 0), Form("person", 1)),
    ("to train", "train station", "train s"),
    ("next to train",),
)
LEXICON = Lexicon("test", 3, (SOFA, TV, TRAIN))
MATCHER = Matcher(LEXICON)

Found = tuple[set[tuple[int, str, str]], set[tuple[int, str, int]], set[tuple[int, str, str]], set[tuple[int, str]]]


def fast(captions: list[str], matcher: Matcher = MATCHER) -> Found:
    hits = matcher.scan(batch_of(captions), Intake())
    names = matcher.lexicon.classes
    form = [(names[entry], form.text) for entry, form in matcher.forms]
    blocker = [(names[entry], text) for entry, text in matcher.blockers]
    found = (
        {(int(row), *form[number]) for row, number in hits.named},
        {(int(row), names[number], int(level)) for row, number, level in hits.classes},
        {(int(row), *blocker[number]) for row, number in hits.blocked},
        {(int(row), names[number]) for row, number in hits.placeholders},
    )
    arrays = (hits.named, hits.classes, hits.blocked, hits.placeholders)
    assert [len(array) for array in arrays] == [len(part) for part in found], "each counts once per caption"
    return found


def plain(captions: list[str], lexicon: Lexicon = LEXICON) -> Found:
    named_, classes, blocked, placeholders = set(), set(), set(), set()
    for row, caption in enumerate(captions):
        read = readings(caption)
        for entry in lexicon.entries:
            matches = find_in(read, entry)
            levels = [match.form.level for match in matches if match.verdict == "named"]
            named_ |= {(row, entry.name, match.form.text) for match in matches if match.verdict == "named"}
            blocked |= {(row, entry.name, match.by) for match in matches if match.verdict == "blocked"}
            placeholders |= {(row, entry.name) for match in matches if match.verdict == "placeholder"}
            classes |= {(row, entry.name, min(levels))} if levels else set()
    return named_, classes, blocked, placeholders


@pytest.mark.parametrize(
    ("caption", "right"),
    [
        ("SOFA", True),
        ("sofa-bed", True),
        ("#sofa", True),
        ("(sofa)", True),
        ("sofa_bed.jpg", True),
        ("nice.sofa,red", True),
        ("sofa's", True),
        ("sofa’s", True),
        ("sofas", True),
        ("sofa1", False),
        ("my2sofa", False),
        ("love-seat", True),
        ("love  seat", True),
        ("love\tseat", True),
        ("love\nseat", True),
        ("love seat", True),
        ("love&nbsp;seat", True),
        ("love/seat", True),
        ("lovely seat", False),
        ("ｓｏｆａ", True),
        ("sofá", True),
        ("so\u0301fa", True),
        ("ſofa", True),
        ("so\u00adfa", True),
        ("“sofa”", True),
        ("old–sofa", True),
        ("🛋sofa🛋", True),
        ("red\u200bsofa", True),
        ("so\u200bfa", True),
        ("沙发sofa沙发", True),
        ("диванsofa", True),
        ("sofa&amp;chair", True),
        ("chair&sofa", True),
        ("&#115;ofa", True),
        ("couch potato", False),
        ("couch-potato", False),
        ("couch potato on a couch", True),
        ("sofa so good", False),
        ("red sofa so good", True),
        ("a <SOFA> here", False),
        ("&lt;sofa&gt;", False),
        ("a <SOFA> and a sofa", True),
        ("Sofia", False),
        ("øsofa", False),
        ("", False),
        ("\0sofa\0", True),
        ("sofa so far sofa", False),
    ],
)
def test_the_policy_on_edge_cases(caption: str, right: bool) -> None:
    assert bool(named(caption, SOFA)) is right
    assert bool([hit for hit in fast([caption])[0] if hit[1] == "sofa"]) is right


def test_overlapping_forms_are_all_found_and_count_once_each() -> None:
    found = fast(["tv monitor, TV-monitor and a tv", "monitor the tv"])[0]
    assert found == {
        (0, "tvmonitor", "tv monitor"),
        (0, "tvmonitor", "tv"),
        (0, "tvmonitor", "monitor"),
        (1, "tvmonitor", "tv"),
    }


def test_shorter_words_hide_in_longer_candidates_that_fail() -> None:
    """Leftmost-longest matching loses these: the longer candidate fails at its boundary."""
    art = Entry("art", "", (Form("art", 0), Form("art work", 2)))
    assert fast(["art works"], Matcher(Lexicon("t", 3, (art,))))[0] == {(0, "art", "art")}


def test_blockers_belong_to_their_class() -> None:
    dog = Entry("dog", "", (Form("dog", 0),), ("hot dog",))
    snack = Entry("hot dog", "", (Form("hot dog", 0),))
    assert fast(["a hot dog"], Matcher(Lexicon("t", 3, (dog, snack))))[0] == {(0, "hot dog", "hot dog")}


def test_a_class_counts_at_its_lowest_level() -> None:
    assert fast(["a couch, a sofa, sofas"])[1] == {(0, "sofa", 0)}
    assert fast(["couches and a love seat"])[1] == {(0, "sofa", 3)}


def test_placeholders_are_apart() -> None:
    found = fast(["<PERSON> on a train", "<person >", "person>"])
    assert found[3] == {(0, "train")}
    assert (0, "train", "person") not in found[0] and (1, "train", "person") in found[0]


def test_matches_have_the_offsets_of_the_original_caption() -> None:
    caption = "İn &amp; out: a CO\u00adUCH\u200b by <PERSON>"
    match = next(match for match in find(caption, SOFA) if match.verdict == "named")
    assert caption[match.start : match.end] == "CO\u00adUCH"
    assert find("x TV/monitor", TV)[1] == Match(Form("tv monitor", 1), 2, 12, "named")


PIECES = [
    "sofa",
    "sofas",
    "SoFa",
    "couch",
    "potato",
    "love",
    "seat",
    "so",
    "far",
    "red",
    "tv",
    "monitor",
    "the",
    "to",
    "next",
]
PIECES += [
    "train",
    "station",
    "person",
    "<",
    ">",
    "s",
    "x1",
    " ",
    " ",
    "-",
    "_",
    "’",
    "é",
    "ı",
    "İ",
    "&nbsp;",
    "&",
    ";",
    "沙",
    "д",
]
PIECES += ["\u00ad", "\0", "\n", "\ufffe", "\uffff", "&#8203;", "&#65534;", *sorted(INVISIBLE)[:4]]
near = st.lists(st.sampled_from(PIECES) | st.characters(), max_size=16)
captions_ = st.lists(
    st.builds(lambda parts, glue: glue.join(parts), near, st.sampled_from([" ", "", "  "])), max_size=12
)


@settings(max_examples=400, deadline=None)
@given(captions_)
def test_the_fast_engine_means_what_the_plain_one_means(captions: list[str]) -> None:
    clean = [caption.encode("utf-8", "replace").decode() for caption in captions]
    assert fast(captions) == plain(clean)


@st.composite
def lexicons(draw: st.DrawFn) -> Lexicon:
    words = st.sampled_from(["a", "b", "ab", "ba", "aa", "é", "沙", "ч", "чb"])
    phrases = st.lists(st.lists(words, min_size=1, max_size=3).map(" ".join).map(form_of), max_size=4, unique=True)
    entries = []
    for number in range(draw(st.integers(1, 3))):
        forms = draw(phrases) or ["a"]
        entries.append(
            Entry(
                f"c{number}",
                "",
                tuple(Form(text, level % 4) for level, text in enumerate(forms)),
                tuple(draw(phrases)),
                tuple(draw(phrases)),
            )
        )
    return Lexicon("random", 3, tuple(entries))


@settings(max_examples=200, deadline=None)
@given(lexicons(), st.lists(st.text(alphabet="ab é沙ч‹<>-", max_size=24), max_size=8))
def test_any_lexicon_on_any_text(lexicon: Lexicon, captions: list[str]) -> None:
    assert fast(captions, Matcher(lexicon)) == plain(captions, lexicon)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_bytes_are_scanned_as_their_decoding_with_replacement(raw: list[bytes]) -> None:
    data = b"sofa".join(raw) + b" "
    ends = np.array([len(data)] * len(raw), dtype=np.int64)
    intake = Intake()
    batch = Batch(np.frombuffer(data, np.uint8), np.zeros(len(raw), np.int64), ends)
    hits = MATCHER.scan(batch, intake)
    text = data.decode("utf-8", "replace")
    assert len(hits.flagged(len(raw)).nonzero()[0]) == (len(raw) if plain([text])[1] else 0)
    assert intake.undecodable == (len(raw) if text.encode() != data else 0)
    assert intake.nul == (len(raw) if b"\0" in data else 0)


def test_a_batch_may_hold_more_hits_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ROOM", 4)
    captions = ["sofa tv train " * 20] * 50 + ["nothing"] * 3 + ["tv"]
    assert fast(captions, Matcher(LEXICON)) == plain(captions)


def test_a_large_batch_is_taken_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    captions = ["a sofa", "nothing", "couch potato", "tv monitor", "<PERSON>", "a sofá", "to train"] * 5
    whole = fast(captions)
    monkeypatch.setattr(engine, "MOST_BYTES", 20)
    assert fast(captions) == whole == plain(captions)


def test_one_caption_of_megabytes_costs_its_length_not_its_square() -> None:
    caption = "to train a sofa so next to train " * 60_000
    assert fast([caption])[1] == {(0, "train", 0)}
    assert fast(["tv " + " " * 4_000_000 + "monitor"])[1] == {(0, "tvmonitor", 1)}


def test_letters_are_counted_by_what_they_are() -> None:
    intake = Intake()
    MATCHER.scan(batch_of(["plain", "кошка", "沙发", "sofá", "n\0l", "“ok”"]), intake)
    assert (intake.non_latin, intake.nul, intake.undecodable) == (2, 1, 0)


def test_phrases_beyond_the_point_where_regular_expressions_break_down() -> None:
    words = [f"word{number}" for number in range(3000)]
    matcher = Matcher(Lexicon("many", 0, tuple(Entry(word, "", (Form(word, 0),)) for word in words)))
    assert fast([" ".join(words[::7])], matcher)[0] == {(0, word, word) for word in words[::7]}


def test_the_automaton_ends_a_phrase_once_however_long_the_separator() -> None:
    assert len(build(["sofa"]).output) == 2, "once for the middle of a caption, once for its end"
    hits = MATCHER.scan(batch_of(["sofa" + " " * 100 + "."]), Intake())
    assert len(hits.named) == 1


@pytest.mark.parametrize(
    ("text", "form"), [("TV/monitor", "tv monitor"), ("wall-concrete", "wall concrete"), ("  Café ", "cafe"), ("—", "")]
)
def test_forms_are_normalised(text: str, form: str) -> None:
    assert form_of(text) == form
    assert not form or form_of(form) == form


# --- real captions -----------------------------------------------------------------------------------------------


def real_captions(folder: Path) -> Iterator[str]:
    import pyarrow.parquet as pq

    coco = json.loads((folder / "coco_captions_val2017.json").read_text(encoding="utf-8"))
    yield from (annotation["caption"] for annotation in coco["annotations"])
    for line in (folder / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        yield line.partition("\t")[2]
    yield from (text or "" for text in pq.read_table(folder / "raw_alt_text_10000.parquet")["TEXT"].to_pylist())


ONE_SCRIPT = re.compile(r"(?:(?=[^\W_])[a-z0-9ª-ɏ])+|[^\W_a-z0-9ª-ɏ]+")


def by_regular_expressions(captions: list[str], lexicon: Lexicon) -> Counter[tuple[str, str]]:
    """A third technique, which shares nothing with the other two: whole-string normalisation, phrases as substrings."""
    counts: Counter[tuple[str, str]] = Counter()
    for caption in captions:
        text = re.sub(r"&(#\d+|#x[\da-f]+|\w+);", lambda m: html.unescape(m[0]), caption, flags=re.I)
        text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()).replace("\u00ad", "")
        text = "".join(c for c in text if not unicodedata.category(c).startswith("M"))
        spellings = [text.translate({ord(c): r for c in INVISIBLE}) for r in ("", " ")]
        lines = {" " + " ".join(ONE_SCRIPT.findall(spelling)) + " " for spelling in spellings}
        for entry in lexicon.entries:
            counts.update(
                {(entry.name, form.text) for line in lines for form in entry.forms if stands(form, entry, line)}
            )
    return counts


def stands(form: Form, entry: Entry, line: str) -> bool:
    if f" {form.text} " not in line:
        return False
    blocked = [span for phrase in entry.blockers for span in spans(phrase, line)]
    kept = [span for phrase in entry.keepers for span in spans(phrase, line)]
    return any(not inside(span, blocked) or inside(span, kept) for span in spans(form.text, line))


def spans(phrase: str, line: str) -> list[tuple[int, int]]:
    if f" {phrase} " not in line:
        return []
    return [(m.start(), m.start() + len(phrase)) for m in re.finditer(f"(?= {re.escape(phrase)} )", line)]


def inside(span: tuple[int, int], others: list[tuple[int, int]]) -> bool:
    return any(begin <= span[0] and span[1] <= end for begin, end in others)


def of_several_splits() -> Lexicon:
    """The unseen classes of the three benchmarks, each under its split's name."""
    lexicons_ = {name: split_lexicon(load_split(name)) for name in ("voc5", "context4", "coco15")}
    entries = (replace(e, name=f"{name} {e.name}") for name, lexicon in lexicons_.items() for e in lexicon.entries)
    return Lexicon("several", 3, tuple(entries))


def test_every_form_of_real_captions_counts_alike_in_three_techniques(real_data: Path) -> None:
    captions = [caption for caption in real_captions(real_data / "captions") if "<" not in caption]
    lexicon = of_several_splits()
    named_, *_ = found = fast(captions, Matcher(lexicon))
    assert named_ and found == plain(captions, lexicon)
    assert Counter(hit[1:] for hit in named_) == by_regular_expressions(captions, lexicon)


@pytest.mark.parametrize("universe", ["context59", "cocostuff171"])
def test_every_class_of_a_data_set_counts_alike(universe: str, real_data: Path) -> None:
    captions = [c for c in real_captions(real_data / "captions") if "<" not in c][::37]
    lexicon = load_lexicon(universe, UNIVERSES[universe], 4)
    named_, *_ = found = fast(captions, Matcher(lexicon))
    assert named_ and found == plain(captions, lexicon)
    assert Counter(hit[1:] for hit in named_) == by_regular_expressions(captions, lexicon)


def test_folded_text_keeps_ascii_for_the_automaton() -> None:
    assert folded("Ｓofa & TV") == "sofa & TV"
