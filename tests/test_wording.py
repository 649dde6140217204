"""Prompts and text features: sentences averaged, words averaged or apart, everything cached by what it is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from zsbench.errors import UserError
from zsbench.method import Job
from zsbench.nn import clip, wording
from zsbench.nn.wording import Speaker, Wording

PROMPT = "a photo of a {}."
NAMES = ("cat", "dog", "tv monitor")


@pytest.fixture(scope="module")
def towers() -> clip.Towers:
    torch.manual_seed(0)
    return clip.build(clip.SMALL_VIT)


def speaker(
    towers: clip.Towers, folder: Path, *templates: str, rule: wording.Rule = "average", **words: tuple[str, ...]
):
    named = {name.replace("_", " "): said for name, said in words.items()}
    return Speaker(towers, Wording(templates or (PROMPT,), named, rule), Job(torch.device("cpu"), 0, folder))


def test_templates_are_clips_80_and_85_with_a_scene() -> None:
    eighty, more = wording.templates("80", PROMPT), wording.templates("85", PROMPT)
    assert len(eighty) == len(set(eighty)) == 80 and "a bad photo of a {}." in eighty
    assert more[:80] == eighty and more[80:] == wording.SCENES
    assert wording.templates("single", "the {}") == ("the {}",)


def test_a_file_of_templates_is_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("a {} here\n\n  one more {}  \n")
    assert wording.templates(str(tmp_path / "own.txt"), PROMPT) == ("a {} here", "one more {}")


@pytest.mark.parametrize(
    ("asked", "content", "said"),
    [
        ("own.txt", "\n\n", "holds no template"),
        ("own.txt", "a photo of it", "needs {} where the class name goes"),
        ("own.txt", b"\xff\xfe\x00{}", "not UTF-8"),
        ("81", None, "no set of templates"),
    ],
)
def test_faulty_templates_are_refused(tmp_path: Path, asked: str, content: str | bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / asked).write_bytes(content if isinstance(content, bytes) else content.encode())
        asked = str(tmp_path / asked)
    with pytest.raises(UserError, match=said):
        wording.templates(asked, PROMPT)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("cat = 3", "a list of words"),
        ("cat = []", "a list of words"),
        ('cat = ["", "x"]', "a list of words"),
        ("cat", "TOML"),
    ],
)
def test_faulty_synonyms_are_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "words.toml").write_text(content)
    with pytest.raises(UserError, match=said):
        wording.words(str(tmp_path / "words.toml"))
    with pytest.raises(UserError, match="no file of synonyms"):
        wording.words(str(tmp_path / "absent.toml"))


def test_a_feature_is_the_unit_mean_of_its_sentences_unit_features(towers: clip.Towers, tmp_path: Path) -> None:
    found = speaker(towers, tmp_path, PROMPT, "the {}").queries(NAMES)
    for row, name in zip(found, NAMES, strict=True):
        each = clip.text_features(towers, [PROMPT.replace("{}", name), f"the {name}"], torch.device("cpu"))
        torch.testing.assert_close(row, F.normalize(each.mean(0), dim=-1), atol=1e-6, rtol=0)


def test_equal_templates_are_one_template(towers: clip.Towers, tmp_path: Path) -> None:
    once, often = speaker(towers, tmp_path).queries(NAMES), speaker(towers, tmp_path, *[PROMPT] * 5).queries(NAMES)
    torch.testing.assert_close(once, often, atol=1e-6, rtol=0)


def test_averaged_words_are_more_sentences_of_one_query(towers: clip.Towers, tmp_path: Path) -> None:
    own = speaker(towers, tmp_path, tv_monitor=("television", "screen")).queries(NAMES)
    each = clip.text_features(towers, ["a photo of a television.", "a photo of a screen."], torch.device("cpu"))
    torch.testing.assert_close(own[2], F.normalize(each.mean(0), dim=-1), atol=1e-6, rtol=0)
    assert len(own) == 3


def test_the_best_word_speaks_for_its_class(towers: clip.Towers, tmp_path: Path) -> None:
    talks = speaker(towers, tmp_path, rule="max", cat=("cat", "kitten", "puss"), tv_monitor=("tv", "screen"))
    assert talks.queries(NAMES).shape[0] == 6
    scores = torch.arange(6.0).flip(0)[None, :, None, None].expand(1, 6, 2, 3)
    assert talks.best(scores, NAMES)[0, :, 0, 0].tolist() == [5.0, 2.0, 1.0]


def test_chunks_change_nothing(towers: clip.Towers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = speaker(towers, tmp_path / "a", *wording.templates("80", PROMPT)).queries(NAMES)
    monkeypatch.setattr(wording, "CHUNK", 7)
    cut = speaker(towers, tmp_path / "b", *wording.templates("80", PROMPT)).queries(NAMES)
    torch.testing.assert_close(whole, cut, atol=1e-6, rtol=0)


def test_a_second_speaker_encodes_nothing(towers: clip.Towers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = speaker(towers, tmp_path).queries(NAMES)
    monkeypatch.setattr(wording, "text_features", lambda *_: pytest.fail("encoded anew"))
    assert torch.equal(speaker(towers, tmp_path).queries(NAMES), first)


def test_other_weights_other_prompts_other_groups_are_not_served_from_the_cache(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = clip.build(clip.SMALL_VIT)
    first = speaker(ours, tmp_path).queries(NAMES)
    theirs = clip.build(clip.SMALL_VIT)
    assert not torch.equal(speaker(theirs, tmp_path).queries(NAMES), first)
    assert not torch.equal(speaker(ours, tmp_path, "the {}").queries(NAMES), first)
    joined = speaker(ours, tmp_path, cat=("cat", "dog"), dog=("bird",)).queries(("cat", "dog"))
    apart = speaker(ours, tmp_path, cat=("cat",), dog=("dog", "bird")).queries(("cat", "dog"))
    assert not torch.allclose(joined, apart)


def test_two_words_are_not_one_word_with_a_line_break(towers: clip.Towers, tmp_path: Path) -> None:
    told = [Wording(("{}",), {"cat": said}).told(["cat"])["sha256"] for said in (("cat", "puss"), ("cat\npuss",))]
    assert told[0] != told[1]
    two, one = (
        speaker(towers, tmp_path, "{}", cat=said).queries(["cat"]) for said in (("cat", "puss"), ("cat\npuss",))
    )
    assert not torch.equal(two, one)
    (tmp_path / "words.toml").write_text('cat = ["cat\\npuss"]')
    with pytest.raises(UserError, match="no text"):
        wording.words(str(tmp_path / "words.toml"))


def test_text_of_other_code_or_another_device_is_encoded_anew(
    towers: clip.Towers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker(towers, tmp_path).queries(NAMES)
    for change in ("code", "version"):
        if change == "code":
            monkeypatch.setattr(wording, "code_sha256", lambda: "later")
        else:
            monkeypatch.setattr(torch, "__version__", "later")
        asked: list[str] = []
        monkeypatch.setattr(
            wording, "text_features", lambda *given, kept=asked: kept.extend(given[1]) or torch.ones(3, 64)
        )
        speaker(towers, tmp_path).queries(NAMES)
        assert asked, change


def test_the_record_tells_sentences_words_and_the_hash_of_every_prompt() -> None:
    told = Wording((PROMPT,), {"cat": ("kitten",), "ship": ("boat",)}).told(NAMES)
    assert told["prompts"] == ["a photo of a kitten.", "a photo of a dog.", "a photo of a tv monitor."]
    assert told["words"] == {"cat": ["kitten"]} and told["unused_words"] == ["ship"] and told["count"] == 3
    assert told["sha256"] != Wording((PROMPT,)).told(NAMES)["sha256"]
    many = Wording(wording.templates("80", PROMPT)).told([f"name {i}" for i in range(100)])
    assert many["prompts"] is None and many["count"] == 8_000 and len(many["templates"]) == 80


def test_no_names_and_words_for_nobody_are_refused(towers: clip.Towers, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no class names"):
        speaker(towers, tmp_path).queries(())
    with pytest.raises(UserError, match="words for none of the names"):
        speaker(towers, tmp_path, tvmonitor=("television",)).queries(NAMES)
