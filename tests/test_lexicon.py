"""The words of classes: levels, context rules, a user's file, the shipped files, and what `zsbench lexicon` prints."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsbench.data.universes import UNIVERSES
from zsbench.errors import UserError
from zsbench.leakage import draft, inflection
from zsbench.leakage.draft import make, read_classes
from zsbench.leakage.inflection import draft_words, read_name
from zsbench.leakage.lexicon import (
    SHIPPED,
    Entry,
    Lexicon,
    entry_of,
    lexicon_from_dict,
    load_lexicon,
    shipped_tables,
    split_lexicon,
    user_tables,
)
from zsbench.leakage.lexicon_file import DATA_SETS, GROUPS, table_text, written_tables
from zsbench.leakage.reference import named
from zsbench.leakage.show import WIDTH, show
from zsbench.leakage.words import form_of
from zsbench.split import list_splits, load_split

HIGHEST = 4
SOFA = """
[sofa]
sense = "a seat"
words = [["sofa", "sofas"], ["couch", "couches"]]
kinds = [["love-seat"]]
parts = [["chesterfield"]]
blockers = ["couch potato"]
keepers = ["next to couch"]
[[sofa.context]]
forms = ["couch"]
after = ["to"]
before = ["their"]
"""


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def load(folder: Path, text: str, name: str = "sofa", level: int = 3) -> Entry:
    """One class of a user's file."""
    return load_lexicon("voc2012", [name], level, write(folder, text)).entries[0]


def levels(entry: Entry) -> dict[str, int]:
    return {form.text: form.level for form in entry.forms}


# Levels and rules


def test_every_form_has_the_level_of_where_it_is_written(tmp_path: Path) -> None:
    assert levels(load(tmp_path, SOFA, level=4)) == {
        "sofa": 0,
        "sofas": 1,
        "couch": 2,
        "couches": 2,
        "love seat": 3,
        "chesterfield": 4,
    }


def test_the_same_concept_counts_from_each_data_sets_own_string(tmp_path: Path) -> None:
    tables = written_tables(write(tmp_path, SOFA))[0]
    of_coco = levels(entry_of("couch", tables["sofa"]))
    assert of_coco == {"couch": 0, "couches": 1, "sofa": 2, "sofas": 2, "love seat": 3}


@pytest.mark.parametrize("level", range(5))
def test_forms_above_the_level_are_left_out_and_the_default_is_three(tmp_path: Path, level: int) -> None:
    entry = load(tmp_path, SOFA, level=level)
    assert max(form.level for form in entry.forms) == level
    assert load_lexicon("voc2012", ["sofa"], file=tmp_path / "mine.toml").level == 3


def test_a_string_that_no_group_holds_is_level_zero_and_lends_itself_to_the_first(tmp_path: Path) -> None:
    entry = load(tmp_path, '[sofa]\nwords = [["settee"], ["couch"]]')
    assert levels(entry) == {"sofa": 0, "settee": 1, "couch": 2}
    assert levels(load(tmp_path, "[sofa]\nsense = 'a seat'")) == {"sofa": 0}


def test_a_form_that_is_written_twice_has_its_lowest_level(tmp_path: Path) -> None:
    assert levels(load(tmp_path, '[sofa]\nwords = [["sofa"]]\nkinds = [["Sofa", "couch"], ["couch"]]')) == {
        "sofa": 0,
        "couch": 3,
    }


def test_context_rules_become_blockers(tmp_path: Path) -> None:
    entry = load(tmp_path, SOFA)
    assert entry.blockers == ("couch potato", "to couch", "couch their")
    assert entry.keepers == ("next to couch",)
    everywhere = load(
        tmp_path, '[sofa]\nwords = [["sofa"], ["couch"]]\nkinds = [["futon"]]\n[[sofa.context]]\nafter = ["To"]'
    )
    assert everywhere.blockers == ("to sofa", "to couch"), "by default the forms of words, not the kinds"
    assert not named("They want to couch it", entry) and named("a cat next to couch", entry)


def test_a_users_forms_are_normalised(tmp_path: Path) -> None:
    entry = load(
        tmp_path,
        '[sofa]\nwords = [["SOFA", "Sofa/Bed", "só-fá"]]\nblockers = ["The  SOFA\'s"]\nkeepers = ["O.K. sofa"]',
    )
    assert [form.text for form in entry.forms] == ["sofa", "sofa bed", "so fa"]
    assert entry.blockers == ("the sofa s",) and entry.keepers == ("o k sofa",)


# A user's file


def test_a_users_table_goes_before_the_shipped_one_and_the_others_stay(tmp_path: Path) -> None:
    shipped = split_lexicon(load_split("voc5"))
    mine = split_lexicon(load_split("voc5"), file=write(tmp_path, SOFA))
    assert mine.classes == shipped.classes == load_split("voc5").unseen
    for ours, theirs in zip(mine.entries, shipped.entries, strict=True):
        assert (ours == theirs) == (ours.name != "sofa")
    assert mine.name == "voc2012 + mine.toml" and mine.fingerprint != shipped.fingerprint


def test_classes_say_what_data_sets_call_it(tmp_path: Path) -> None:
    text = '[seat]\nclasses = { voc2012 = "sofa", cocostuff171 = "couch" }\nwords = [["sofa"], ["couch"]]\n'
    text += '[rest]\nclasses = { context59 = "sofa" }\nwords = [["settee"]]'
    file = write(tmp_path, text)
    assert levels(load_lexicon("voc2012", ["sofa"], file=file).entries[0]) == {"sofa": 0, "couch": 2}
    assert levels(load_lexicon("cocostuff171", ["couch"], file=file).entries[0]) == {"couch": 0, "sofa": 2}
    for universe in ("context59", "context33", "context60"):  # context33 has names of both, Context's going before
        assert levels(load_lexicon(universe, ["sofa"], file=file).entries[0]) == {"sofa": 0, "settee": 1}


def test_a_file_with_a_byte_order_mark_reads(tmp_path: Path) -> None:
    assert load(tmp_path, "\ufeff" + SOFA).name == "sofa"


FAULTS = {
    "unknown key": ('[sofa]\nword = [["sofa"]]', "[sofa]: no key named 'word'. Did you mean 'words'?"),
    "flat words": ('[sofa]\nwords = ["sofa"]', "[sofa] words: expected a list of lists of words in quotes"),
    "numbers": ("[sofa]\nwords = [[1]]", "[sofa] words: expected a list of lists"),
    "nested blockers": ('[sofa]\nblockers = [["a sofa"]]', "[sofa] blockers: expected a list of words"),
    "a word for a list": ('[sofa]\nkeepers = "sofa"', "[sofa] keepers: expected a list of words"),
    "no letters": ('[sofa]\nwords = [["sofa", "--"]]', "[sofa] words: '--' holds no letter and no digit"),
    "no table": ('sofa = ["sofa"]', "[sofa]: expected a table, as in zsbench lexicon show voc5 --toml"),
    "sense": ("[sofa]\nsense = 3", "[sofa]: `sense` is a sentence in quotes"),
    "context key": ('[[sofa.context]]\nbehind = ["to"]', "[sofa] context: expected `forms` (optional) with"),
    "context without words": ('[[sofa.context]]\nforms = ["to"]', "[sofa] context: expected `forms` (optional) with"),
    "context as words": ('[[sofa.context]]\nafter = "to"', "[sofa] context.after: expected a list of words"),
    "context in one bracket": ('[sofa.context]\nafter = ["to"]', "[[NAME.context]], with two brackets"),
    "context as a number": ("[sofa]\ncontext = 3", "[sofa] context: expected `forms`"),
    "classes": ('[sofa]\nclasses = "sofa"', "`classes` is a table such as"),
    "classes of numbers": ("[sofa]\nclasses = { voc2012 = 3 }", "`classes` is a table such as"),
    "data set": ('[sofa]\nclasses = { voc = "sofa" }', "no data set named 'voc'"),
    "class twice": ('[sofa]\n[seat]\nclasses = { voc2012 = "sofa" }', "class 'sofa' has another table in this file"),
    "no letter in a class": ('["--"]\nwords = [["sofa"]]', "class '--' holds no letter and no digit"),
    "draft": ("confirmed = false\n" + SOFA, "is a draft: read it, mend it, and set `confirmed = true` at its top"),
    "confirmed in quotes": ('confirmed = "false"\n' + SOFA, "expected `confirmed = true` or `confirmed = false`"),
    "empty": ("# nothing", "has no class"),
    "only confirmed": ("confirmed = true", "has no class"),
    "not TOML": ("[sofa\n", "is not a TOML file in UTF-8"),
    "twice in TOML": ("[sofa]\n[sofa]\n", "is not a TOML file in UTF-8"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_users_file_are_told_with_the_place(tmp_path: Path, fault: str) -> None:
    text, told = FAULTS[fault]
    with pytest.raises(UserError) as error:
        user_tables(write(tmp_path, text))
    assert told in str(error.value) and "mine.toml" in str(error.value)


def test_a_file_that_is_not_there_or_not_utf8_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no lexicon at .*zsbench lexicon make"):
        user_tables(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes('[café]\nwords = [["café"]]'.encode("latin-1"))
    with pytest.raises(UserError, match="not a TOML file in UTF-8"):
        user_tables(tmp_path / "latin.toml")


def test_classes_that_no_file_knows_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no words are known for 1 of 2 classes: unicorn\. .*lexicon make"):
        load_lexicon("voc2012", ["sofa", "unicorn"])
    assert load_lexicon("voc2012", ["unicorn"], file=write(tmp_path, "[unicorn]")).entries[0].forms[0].text == "unicorn"


def test_the_fingerprint_is_of_what_changes_a_count(tmp_path: Path) -> None:
    def printed(text: str, level: int = 3) -> str:
        return Lexicon("any", level, (load(tmp_path, text, level=level),)).fingerprint

    same = printed(SOFA)
    assert printed(SOFA.replace("a seat", "a long seat")) == same
    changes = [
        ("love-seat", "daybed"),
        ("couch potato", "couch surfing"),
        ("next to couch", "on couch"),
        ('"to"', '"will"'),
    ]
    others = [printed(SOFA.replace(*change)) for change in changes]
    by_level = [printed(SOFA, level) for level in (0, 1, 2, 4)]
    assert len({same, *others, *by_level}) == 1 + len(others) + len(by_level)
    moved = SOFA.replace('kinds = [["love-seat"]]', "").replace(
        '["couch", "couches"]', '["couch", "couches"], ["love seat"]'
    )
    assert printed(moved) != same, "a form of another level is another lexicon"


def test_a_lexicon_survives_json() -> None:
    lexicon = split_lexicon(load_split("voc5"))
    assert lexicon_from_dict(lexicon.as_dict()) == lexicon


# The shipped files


def shipped_entries() -> Iterator[Entry]:
    for universe in DATA_SETS:
        names = [name for name in UNIVERSES[universe] if name != "background"]
        yield from load_lexicon(universe, names, HIGHEST).entries


def of(universe: str, name: str, level: int = HIGHEST) -> Entry:
    return load_lexicon(universe, [name], level).entries[0]


def holds(phrase: str, form: str) -> bool:
    return f" {form} " in f" {phrase} "


@pytest.mark.parametrize("universe", UNIVERSES)
def test_every_class_of_every_data_set_has_words(universe: str) -> None:
    names = [name for name in UNIVERSES[universe] if name != "background"]
    lexicon = load_lexicon(universe, names, 0)
    assert lexicon.classes == tuple(names)
    assert [[form.text for form in entry.forms] for entry in lexicon.entries] == [[form_of(name)] for name in names]


def test_every_split_has_its_words() -> None:
    for name in list_splits():
        split = load_split(name)
        assert split_lexicon(split).classes == split.unseen
        assert "background" not in split_lexicon(split, scope="all").classes


def test_concepts_are_unique_over_all_files_and_so_are_the_names_of_a_data_set() -> None:
    files = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(SHIPPED.glob("*.toml"))]
    assert sum(map(len, files)) == len(shipped_tables())
    named = [pair for table in shipped_tables().values() for pair in table["classes"].items()]
    assert len(named) == len(set(named))
    known = {universe: set(UNIVERSES[universe]) - {"background"} for universe in DATA_SETS}
    assert {universe: {name for place, name in named if place == universe} for universe in known} == known


def test_the_shipped_files_are_valid_as_a_users_file_would_be() -> None:
    for path in sorted(SHIPPED.glob("*.toml")):
        for data_set in DATA_SETS:
            written_tables(path, data_set)


def test_every_concept_has_a_sense_and_no_empty_group() -> None:
    tables = shipped_tables()
    assert [key for key, table in tables.items() if len(table.get("sense", "").split()) < 2] == []
    assert [key for key, table in tables.items() if not all(g for part in GROUPS for g in table.get(part, []))] == []


def test_all_shipped_phrases_are_normalised() -> None:
    wrong = []
    for key, table in shipped_tables().items():
        rules = [phrase for rule in table.get("context", []) for phrases in rule.values() for phrase in phrases]
        groups = [form for part in GROUPS for group in table.get(part, []) for form in group]
        phrases = [*groups, *table.get("blockers", []), *table.get("keepers", []), *rules]
        wrong += [f"{key}: {text!r}" for text in phrases if form_of(text) != text or not text.isascii()]
    assert wrong == []


def test_no_form_stands_twice_in_a_concept_nor_a_blocker_or_keeper() -> None:
    twice = []
    for key, table in shipped_tables().items():
        forms = [form for part in GROUPS for group in table.get(part, []) for form in group]
        for phrases in (forms, table.get("blockers", []), table.get("keepers", [])):
            twice += [f"{key}: {text}" for text in dict.fromkeys(phrases) if phrases.count(text) > 1]
    assert twice == []


def test_every_blocker_holds_a_form_and_every_keeper_a_blocked_one() -> None:
    idle = []
    for entry in shipped_entries():
        forms = [form.text for form in entry.forms]
        for kind, phrases in (("blocker", entry.blockers), ("keeper", entry.keepers)):
            idle += [f"{entry.name} {kind}: {p}" for p in phrases if not any(holds(p, form) for form in forms)]
    assert idle == []


def test_a_form_that_is_blocked_wherever_it_stands_has_keepers() -> None:
    dead = []
    for entry in shipped_entries():
        blocked = [form.text for form in entry.forms if form.text in entry.blockers]
        dead += [f"{entry.name}: {text}" for text in blocked if not any(holds(kept, text) for kept in entry.keepers)]
    assert dead == []


@pytest.mark.parametrize(
    ("universe", "name", "form", "level"),
    [
        ("voc2012", "sheep", "sheep", 0),
        ("cocostuff171", "scissors", "scissors", 0),
        ("cocostuff171", "skis", "skis", 0),
        ("voc2012", "person", "people", 1),
        ("cocostuff171", "mouse", "mice", 1),
        ("voc2012", "aeroplane", "airplane", 1),
        ("voc2012", "tvmonitor", "tv monitor", 1),
        ("voc2012", "tvmonitor", "tvmonitor", 0),
        ("voc2012", "pottedplant", "potted plant", 1),
        ("context59", "pottedplant", "potted plants", 1),
        ("voc2012", "sofa", "couch", 2),
        ("cocostuff171", "couch", "sofa", 2),
        ("voc2012", "motorbike", "motorcycle", 2),
        ("cocostuff171", "cow", "cattle", 2),
        ("voc2012", "sheep", "lamb", 3),
        ("voc2012", "sofa", "loveseat", 3),
        ("voc2012", "train", "locomotive", 3),
        ("cocostuff171", "wall-concrete", "wall concrete", 0),
        ("cocostuff171", "playingfield", "playing field", 1),
        ("cocostuff171", "clouds", "cloud", 1),
        ("cocostuff171", "leaves", "leaf", 1),
        ("cocostuff171", "sky-other", "sky", 1),
        ("cocostuff171", "knife", "knives", 1),
    ],
)
def test_forms_have_the_level_of_their_sense(universe: str, name: str, form: str, level: int) -> None:
    assert levels(of(universe, name)).get(form) == level


def test_a_reversed_compound_has_the_phrase_that_people_write() -> None:
    assert levels(of("cocostuff171", "wall-concrete", 2))["concrete wall"] in (1, 2)


BLOCKED = [
    ("voc2012", "dog", "a hot dog on a plate"),
    ("cocostuff171", "bear", "a child with a teddy bear"),
    ("cocostuff171", "potted plant", "a nuclear power plant at dusk"),
    ("cocostuff171", "plant-other", "a nuclear power plant at dusk"),
    ("cocostuff171", "plant-other", "she plants a tree"),
    ("cocostuff171", "mouse", "a mouse pad on a desk"),
    ("context59", "mouse", "mickey mouse waves"),
    ("cocostuff171", "light", "cars wait at the traffic light"),
    ("voc2012", "train", "athletes get ready to train"),
    ("voc2012", "train", "she trains her dog"),
    ("voc2012", "tvmonitor", "a nurse monitors the patient"),
    ("voc2012", "person", "a human resources office"),
]
NAMED = [
    ("voc2012", "dog", "a dog beside a hot dog"),
    ("cocostuff171", "bear", "a bear in a river"),
    ("cocostuff171", "mouse", "a keyboard and a mouse on a desk"),
    ("voc2012", "train", "people wait next to train"),
    ("voc2012", "train", "the train leaves"),
    ("voc2012", "tvmonitor", "a flat tv-monitor on a wall"),
    ("voc2012", "tvmonitor", "two monitors on a desk"),
    ("cocostuff171", "skis", "a pair of skis in the snow"),
    ("cocostuff171", "traffic light", "cars wait at the traffic light"),
    ("cocostuff171", "hot dog", "a Hot-Dog on a plate"),
]


@pytest.mark.parametrize(("universe", "name", "caption"), BLOCKED)
def test_captions_in_which_the_word_is_another(universe: str, name: str, caption: str) -> None:
    assert named(caption, of(universe, name, 3)) == []


@pytest.mark.parametrize(("universe", "name", "caption"), NAMED)
def test_captions_that_name_the_class(universe: str, name: str, caption: str) -> None:
    assert named(caption, of(universe, name, 3))


# Showing


@pytest.mark.parametrize("asked", ["voc5", "coco15", "voc2012", "context33", "cocostuff171"])
def test_shown_words_fit_the_terminal_and_hold_every_form(asked: str) -> None:
    text = show(asked, scope="all")
    wide = [line for line in text.split("\n") if len(line) > WIDTH and not line.startswith("  file")]
    assert wide == [] and text.isprintable() is False and text.replace("\n", "").isprintable()
    universe = asked if asked in UNIVERSES else load_split(asked).dataset
    names = [name for name in UNIVERSES[universe] if name != "background"]
    flat = " ".join(text.split())
    for entry in load_lexicon(universe, names, HIGHEST).entries:
        assert f" {entry.name}: {entry.sense} " in flat
    assert "potted plant" in flat


def test_a_splits_unseen_classes_are_shown_with_levels_blockers_and_rules() -> None:
    text = show("voc5")
    lexicon = split_lexicon(load_split("voc5"))
    assert lexicon.fingerprint in text, "the fingerprint that a scan reports"
    assert str(SHIPPED) in text and "voc5: the 5 unseen classes" in text
    assert "\n  0 own string  sofa\n  1 inflection  sofas\n  2 synonym     couch, couches" in text
    assert "next to train" in text and "couch potato" in text and "chesterfield" in text
    assert "couch after: to" in text, "rules are shown as they are written"
    assert "aeroplane" not in text and "aeroplane" in show("voc5", scope="all")


def test_levels_and_classes_can_be_chosen() -> None:
    text = show("voc5", level=2, only=("sofa",))
    assert "couches" in text and "loveseat" not in text and "locomotive" not in text and "\ntrain:" not in text
    assert split_lexicon(load_split("voc5"), level=2).fingerprint in text
    with pytest.raises(UserError, match=r"no class named 'sofaa'\. Did you mean 'sofa'"):
        show("voc5", only=("sofaa",))


def test_an_unknown_name_gets_the_nearest_right_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no split named 'voc55'\. Did you mean 'voc5'"):
        show("voc55")
    with pytest.raises(UserError, match="Did you mean 'voc2012'"):
        show("voc2021")
    with pytest.raises(UserError, match="no lexicon at"):
        show(str(tmp_path / "none.toml"))


def test_a_users_split_and_a_users_lexicon_are_told_apart(tmp_path: Path) -> None:
    rules = 'title = "t"\ndataset = "voc2012"\nsource = "s"\nbackground = "ignore"\ntrain_policy = "mask"\n'
    split = write(tmp_path, rules + 'seen = ["cat"]\nunseen = ["sheep"]', "held.toml")
    assert "held: the 1 unseen class;" in show(str(split)) and "\nsheep:" in show(str(split))
    shown = show(str(write(tmp_path, SOFA)))
    assert "mine.toml: 1 class;" in shown and "love seat" in shown and "not confirmed" not in shown
    assert "not confirmed" in show(str(write(tmp_path, "confirmed = false\n" + SOFA)))


def test_what_a_file_says_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    text = '[sofa]\nsense = "a \\u001b[31m seat \\u202e"\nwords = [["so\\u001bfa"]]\nblockers = ["a \\u0007 sofa"]'
    file = write(tmp_path, text)
    assert show(str(file)).replace("\n", "").isprintable()
    assert show(str(file), toml=True).replace("\u202e", "").replace("\n", "").isprintable()


@pytest.mark.parametrize("asked", ["voc5", "coco15", "context33_4", "voc2012", "context59", "cocostuff171"])
def test_shown_as_toml_it_reads_back_as_the_same_words(asked: str, tmp_path: Path) -> None:
    file = write(tmp_path, show(asked, scope="all", toml=True))
    universe = asked if asked in UNIVERSES else load_split(asked).dataset
    names = [name for name in UNIVERSES[universe] if name != "background"]
    assert set(written_tables(file)[0]) == set(names)
    for level in (1, 3, HIGHEST):
        assert load_lexicon(universe, names, level, file).entries == load_lexicon(universe, names, level).entries
    assert max(map(len, file.read_text().split("\n"))) <= 120


def test_a_users_file_shown_as_toml_reads_back_with_its_confirmation(tmp_path: Path) -> None:
    file = write(tmp_path, SOFA)
    again = write(tmp_path, show(str(file), toml=True, level=0), "again.toml")
    assert user_tables(again) == user_tables(file)
    unconfirmed = write(tmp_path, show(str(write(tmp_path, "confirmed = false\n" + SOFA)), toml=True), "draft.toml")
    assert written_tables(unconfirmed) == (written_tables(file)[0], False)


@given(st.text(st.characters(exclude_categories=("Cs",))), st.text(st.characters(exclude_categories=("Cs",))))
def test_any_text_survives_being_written_as_toml(name: str, text: str) -> None:
    table = {"sense": text, "words": [[text, name] * 9], "blockers": [text, text * 40], "context": [{"after": [text]}]}
    assert tomllib.loads(table_text(name, table)) == {name: table}


# Drafting


def make_from(folder: Path, text: str) -> tuple[dict[str, dict[str, object]], str]:
    """The drafted tables, and the file's text."""
    make(write(folder, text, "classes.txt"), folder / "out.toml")
    written = (folder / "out.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(written)
    assert tables.pop("confirmed") is False
    return tables, written


def test_a_draft_is_refused_until_confirmed_and_then_scans(tmp_path: Path) -> None:
    told = make(write(tmp_path, "# my classes\n\nwombat | a marsupial\r\nteapot\nsofa\n", "classes.txt"), None)
    file = tmp_path / "classes.toml"
    assert str(file) in told and "3 classes, 1 copied" in told and "2 drafted" in told and "confirmed = true" in told
    with pytest.raises(UserError, match="is a draft"):
        load_lexicon("voc2012", ["wombat"], file=file)
    assert "wombat: a marsupial" in show(str(file)) and "teapot: (no sense given)" in show(str(file))
    file.write_text(file.read_text().replace("confirmed = false", "confirmed = true"))
    entry = load_lexicon("voc2012", ["wombat"], file=file).entries[0]
    assert levels(entry) == {"wombat": 0, "wombats": 1} and entry.sense == "a marsupial"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    classes = write(tmp_path, "wombat", "classes.txt")
    make(classes)
    before = (tmp_path / "classes.toml").read_bytes()
    for out in (None, tmp_path / "classes.toml", classes):
        with pytest.raises(UserError, match=r"is there already .*--out"):
            make(classes, out)
    assert (tmp_path / "classes.toml").read_bytes() == before and classes.read_text() == "wombat"


LISTS = {
    "twice": ("wombat\n\nteapot\nwombat", "lines 1 and 4 name one class: 'wombat' and 'wombat'"),
    "alike": ("tea pot\n# no\nTea-Pot", "lines 1 and 3 name one class: 'tea pot' and 'Tea-Pot'"),
    "nothing": ("# a\n\n   \n", "names no class: expected one per line"),
    "no letters": ("wombat\n???", "line 2: '???' holds no letter and no digit"),
    "no name": ("| a sense", "line 1: '' holds no letter and no digit"),
    "control": ("wom\x1bbat", "printable characters"),
    "a sentence": ("wombat " * 99, "at most 200"),
    "reserved": ("confirmed", "keeps the word 'confirmed' for itself"),
}


@pytest.mark.parametrize("fault", LISTS)
def test_faults_of_a_list_are_told_with_the_line(tmp_path: Path, fault: str) -> None:
    text, told = LISTS[fault]
    with pytest.raises(UserError) as error:
        make(write(tmp_path, text, "classes.txt"))
    assert told in str(error.value) and not (tmp_path / "classes.toml").exists()


def test_a_list_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one class per line"):
        make(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match="is not UTF-8"):
        make(tmp_path / "latin.txt")


def test_a_list_with_byte_order_mark_and_senses_reads(tmp_path: Path) -> None:
    found = read_classes(write(tmp_path, "\ufeffwombat|a|b\n  tea pot  |  a pot\n", "classes.txt"))
    assert [(item.name, item.sense, item.line) for item in found] == [("wombat", "a|b", 1), ("tea pot", "a pot", 2)]


def test_what_is_shipped_is_copied_and_told(tmp_path: Path) -> None:
    tables, text = make_from(tmp_path, "TV/monitor\nautomobile\nsheeps\nsofa | what I sit on\nsofa-other-stuff")
    assert levels(entry_of("TV/monitor", tables["TV/monitor"])) == levels(of("voc2012", "tvmonitor", 3)) | {
        "tv monitor": 0,
        "tvmonitor": 1,
    }
    assert "# copied from the shipped entry [car]\n# check: there the name is a synonym" in text
    assert "lamb" in levels(entry_of("sheeps", tables["sheeps"]))
    assert tables["sofa"]["sense"] == "what I sit on" and "# check: its sense is" in text
    assert tables["sofa-other-stuff"]["words"] == tables["sofa"]["words"] and 'is read as "sofa"' in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wombat", [["wombat", "wombats"]]),
        ("bus stop", [["bus stop", "bus stops", "busstop", "busstops"]]),
        ("goose", [["goose", "geese"]]),
        ("tea leaf", [["tea leaf", "tea leaves", "tealeaf", "tealeaves"]]),
        ("mother-in-law", [["mother in law", "mothers in law"]]),
        ("deer", [["deer"]]),
        ("binoculars", [["binoculars"]]),
        ("taxis", [["taxis"]]),
        ("bus", [["bus", "buses"]]),
        ("lens", [["lens", "lenses"]]),
        ("tennis", [["tennis"]]),
        ("cactus", [["cactus", "cactuses", "cacti"]]),
        ("walrus", [["walrus", "walruses"]]),
        ("TrafficCone", [["traffic cone", "traffic cones", "trafficcone", "trafficcones"]]),
        ("wall-marble", [["marble wall", "marble walls", "marblewall", "marblewalls"]]),
        ("tent-other-merged", [["tent", "tents"]]),
        ("bat_(animal)", [["bat", "bats"]]),
        ("door, double door", [["door", "doors"], ["double door", "double doors", "doubledoor", "doubledoors"]]),
        ("crane/derrick", [["crane", "cranes"], ["derrick", "derricks"]]),
        ("t-shirt", [["t shirt", "t shirts"]]),
        ("沙发", [["沙 发"]]),
        ("747", [["747", "747s"]]),
    ],
)
def test_words_are_drafted(name: str, words: list[list[str]]) -> None:
    drafted, _ = draft_words(read_name(name))
    assert drafted == words
    assert all(form_of(form) == form for group in drafted for form in group)


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("snowshoes", '"snowshoes" is a plural; add "snowshoe"'),
        ("scissors", '"scissors" is taken to have one form for one and many'),
        ("duck", '"duck" has other common uses'),
        ("swimmingpool table, pool", "each part of the name is taken for a name of the class"),
        ("bat (animal)", "what stands in parentheses was left out"),
        ("floor-marble", '"floor-marble" is read as "marble floor"'),
        ("salad-bowl", "the other order"),
        ("tree-merged", '"tree-merged" is read as "tree"'),
        ("paintingfield", 'if this is two words, add "painting field"'),
        ("jalapeño", 'read as "jalapeno"'),
        ("沙发", "not written in English letters"),
    ],
)
def test_doubtful_names_are_remarked(name: str, remark: str) -> None:
    assert any(remark in told for told in draft_words(read_name(name))[1])


def test_sure_names_get_no_remark() -> None:
    assert [
        name for name in ("wombat", "teapot", "bus stop", "goose", "cactus") if draft_words(read_name(name))[1]
    ] == []


def test_a_class_within_another_is_remarked(tmp_path: Path) -> None:
    _, text = make_from(tmp_path, "lantern\nlantern fish\nwombat")
    assert text.count('check: "lantern fish" is another class here') == 1


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    names = ['"]\\"', "a.b [c]", "x = 1", 'it\'s "quoted"', "back\\slash", "# not at the start"]
    tables, _ = make_from(tmp_path, "\n".join(["a", *names[1:5], 'b "]', "c # d"]))
    assert list(tables) == ["a", *names[1:5], 'b "]', "c # d"]


def test_without_the_library_the_command_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inflection._engine.cache_clear()
    monkeypatch.setitem(sys.modules, "inflect", None)
    with pytest.raises(UserError, match=r"pip install 'zsbench\[lexicon\]'"):
        make(write(tmp_path, "wombat", "classes.txt"))
    make(write(tmp_path, "sofa", "shipped.txt"))
    assert (tmp_path / "shipped.toml").is_file(), "what is shipped needs no library"
    assert draft._known()
