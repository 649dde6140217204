"""What follows from captions that name unseen classes: trained on as they are, purged of these pairs, or refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from zsbench import runner
from zsbench.cli import main
from zsbench.corpus import Corpus, Policy, open_corpus
from zsbench.data.caption_choice import choose
from zsbench.data.captions import StoredCaptions, StreamedCaptions, open_captions, pairs
from zsbench.data.scenes import draw
from zsbench.data.voc import VocDataset, open_voc
from zsbench.errors import UserError
from zsbench.leakage import training
from zsbench.leakage.lexicon import split_lexicon
from zsbench.leakage.training import Named, count_named, without_named
from zsbench.run import Plan, Run
from zsbench.split import load_split

VOC5 = load_split("voc5")
STUBS = Path(__file__).parent / "stubs"
ARMS = ("web", "clean", "pair_0.5", "image_0.5", "text_0.5", "variants_0.5", "negatives_0.5", "shuffled_0.5",
        "comp_pair_0.5")  # fmt: skip
SAID = ("two ewes", "a cat", "a couch", "a sheepish look", "a dog", "a sheep and a sofa")
NAMING = 3


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> VocDataset:
    folder = tmp_path_factory.mktemp("arms") / "drawn"
    draw(folder, captioned=40, train=4, val=4, arms=ARMS, progress=False)
    return open_voc(folder)


@pytest.fixture
def tsv(tmp_path: Path) -> Path:
    """Captions beside their images; the first, third and last name unseen classes."""
    return write(tmp_path / "own", SAID)


def write(folder: Path, said: tuple[str, ...], start: int = 0) -> Path:
    """A caption file whose images are told apart by their grey: picture n is n everywhere."""
    folder.mkdir()
    for number in range(len(said)):
        Image.fromarray(np.full((4, 4), start + number, np.uint8)).save(folder / f"{number}.png")
    (folder / "own.tsv").write_text("".join(f"{number}.png\t{text}\n" for number, text in enumerate(said)))
    return folder / "own.tsv"


def corpus(dataset: VocDataset, spec: str | Path, policy: Policy = "as-is", lexicon: Path | None = None) -> Corpus:
    return open_corpus(str(spec), dataset, dataset.root, None, VOC5, 0, policy, lexicon)


def opened(path: Path) -> StoredCaptions:
    """A new object every time, so that nothing is remembered from before."""
    captions = open_captions(str(path))
    assert isinstance(captions, StoredCaptions)
    return captions


# Purge


@pytest.mark.parametrize("arm", ["web", "pair_0.5", "text_0.5", "variants_0.5", "shuffled_0.5", "comp_pair_0.5"])
def test_a_purged_arm_is_the_pairs_that_name_nothing(arms: VocDataset, arm: str) -> None:
    whole, purged = corpus(arms, arm), corpus(arms, arm, "purge")
    lines = [json.loads(line) for line in (arms.root / f"captions/{arm}.jsonl").read_text().splitlines()]
    kept = [(line["image"], line["caption"]) for line in lines if not set(line["names"]) & set(VOC5.unseen)]
    assert list(purged.captions.texts()) == kept and purged.captions.size == len(kept) < 40
    assert purged.captions.name == f"drawn: {arm}, purged"
    assert purged.captions.fingerprint != whole.captions.fingerprint
    before, after = whole.ledger(), purged.ledger()
    assert after["unseen_pairs"] == 0 and not any(after["unseen_named"].values())
    assert after["planted"] == dict.fromkeys(VOC5.unseen, 0) and after["verdict"].startswith("names none")
    assert after["purged"] == {"pairs": before["unseen_pairs"], "named": before["unseen_named"]}
    assert (before["policy"], after["policy"]) == ("as-is", "purge") and before["pairs"] == 40
    assert f"; {before['unseen_pairs']} pairs that did were left out" in purged.line


@pytest.mark.parametrize("arm", ["clean", "negatives_0.5", "image_0.5"])
def test_where_nothing_is_named_a_purge_changes_nothing(arms: VocDataset, arm: str) -> None:
    whole, purged = corpus(arms, arm), corpus(arms, arm, "purge")
    assert purged.captions is whole.captions and purged.verdict == whole.verdict
    assert purged.ledger()["purged"] == {"pairs": 0, "named": dict.fromkeys(VOC5.unseen, 0)}
    assert purged.line == whole.line


def test_a_purged_pair_has_its_own_image_and_caption(dataset: VocDataset, tsv: Path) -> None:
    captions = corpus(dataset, tsv, "purge").captions
    assert [(pair.key, pair.caption, int(pair.image.max())) for pair in pairs(captions)] == [
        ("1.png", "a cat", 1), ("3.png", "a sheepish look", 3), ("4.png", "a dog", 4),
    ]  # fmt: skip
    assert [pair.caption for pair in captions.fetch([2, 0])] == ["a dog", "a cat"]
    with pytest.raises(IndexError):
        captions.fetch([3])


def test_a_corrupt_image_is_not_replaced_by_a_purged_pair(dataset: VocDataset, tmp_path: Path) -> None:
    """The next good pair of the whole corpus names a sheep."""
    file = write(tmp_path / "own", ("a cat", "a sheep") * 60)
    (tmp_path / "own/4.png").write_bytes(b"no picture")
    captions = corpus(dataset, file, "purge").captions
    assert [int(pair.image.max()) for pair in captions.fetch([1, 2, 3])] == [2, 6, 6]
    assert {pair.caption for pair in pairs(captions)} == {"a cat"}
    assert (captions.skipped.images, captions.skipped.corpus) == (1, "own.tsv, purged")


def test_lines_that_could_not_be_read_stay_counted(dataset: VocDataset, tmp_path: Path) -> None:
    file = write(tmp_path / "own", ("a cat", "a sheep") * 30)
    with file.open("a") as more:
        more.write("no tab here\n99.png\tno image\n")
    captions = corpus(dataset, file, "purge").captions
    assert (captions.size, captions.skipped.lines, captions.skipped.without_image) == (30, 1, 1)


def test_a_choice_of_nothing_is_refused(tsv: Path) -> None:
    with pytest.raises(UserError, match="holds no image"):
        choose(opened(tsv), np.zeros(6, np.bool_), "nothing")


def test_a_purge_that_leaves_nothing_is_refused(dataset: VocDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing is left of own\.tsv.* 2 of 2 pairs \(sheep 1, sofa 1\)"):
        corpus(dataset, write(tmp_path / "own", ("a lamb", "a settee")), "purge")


# Refuse


@pytest.mark.parametrize(
    "word", ["own.tsv names unseen classes of voc5", "3 of 6 pairs", "(sheep 2, sofa 2)", "purge", "--captions"]
)
def test_a_refusal_names_classes_counts_and_ways_out(dataset: VocDataset, tsv: Path, word: str) -> None:
    with pytest.raises(UserError) as refused:
        corpus(dataset, tsv, "refuse")
    assert word in str(refused.value)


@pytest.mark.parametrize("arm", ["clean", "negatives_0.5"])
def test_captions_that_name_nothing_are_not_refused(arms: VocDataset, arm: str) -> None:
    found = corpus(arms, arm, "refuse")
    assert (found.captions.size, found.ledger()["policy"], found.ledger()["purged"]) == (40, "refuse", None)


# What cannot be scanned


def test_a_stream_is_not_scanned(dataset: VocDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = StreamedCaptions("hf:far", "f" * 12, [("1", "a sheep", b"")])
    monkeypatch.setattr("zsbench.corpus.open_captions", lambda *_, **__: stream)
    ledger = corpus(dataset, "hf:far").ledger()
    assert ledger["verdict"] == "not scanned: a stream" and ledger["unseen_named"] is None is ledger["lexicon"]
    for policy in ("purge", "refuse"):
        with pytest.raises(UserError, match=rf"'{policy}' needs a scan.*hf:far.*a stream.*save it to disk first"):
            corpus(dataset, "hf:far", policy)


def test_classes_without_words_are_not_scanned_for(dataset: VocDataset, tsv: Path) -> None:
    split = replace(VOC5, unseen=("sheep", "dragon", "gnome"))
    found = open_corpus(str(tsv), dataset, dataset.root, None, split, 0)
    assert found.verdict == "not scanned: no words known for dragon, gnome (zsbench lexicon make drafts some)"
    for policy in ("purge", "refuse"):
        with pytest.raises(UserError, match=r"no words known for dragon, gnome.*--lexicon FILE"):
            open_corpus(str(tsv), dataset, dataset.root, None, split, 0, policy)


def test_words_of_ones_own_go_before_those_that_are_known(dataset: VocDataset, tsv: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[dragon]\nwords = [["cat"]]\n[sheep]\nwords = [["dog"]]\n')
    split = replace(VOC5, unseen=("sheep", "dragon", "sofa"))
    ledger = open_corpus(str(tsv), dataset, dataset.root, None, split, 0, lexicon=file).ledger()
    assert ledger["unseen_named"] == {"sheep": 2, "dragon": 1, "sofa": 2}  # the class's own string always counts
    assert ledger["lexicon"]["name"] == "voc2012 + mine.toml"


@pytest.mark.parametrize(
    ("text", "why"), [("[sheep", "TOML"), ("confirmed = false\n[a]", "is a draft"), ("[sheep]\nx = 1", "named 'x'")]
)
def test_a_faulty_lexicon_is_refused(dataset: VocDataset, tsv: Path, tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UserError, match=why):
        corpus(dataset, tsv, lexicon=tmp_path / "mine.toml")


# The cache


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many captions each scan had; the list grows with every scan."""
    seen: list[int] = []
    real = training._scan

    def counted(captions: StoredCaptions, *rest: Any) -> Any:
        seen.append(captions.size)
        return real(captions, *rest)

    monkeypatch.setattr(training, "_scan", counted)
    return seen


def test_a_corpus_is_scanned_once_for_the_same_words(tsv: Path, scans: list[int], own_places: Path) -> None:
    words, fewer = split_lexicon(VOC5), split_lexicon(VOC5, level=0)
    first = count_named(opened(tsv), words)
    assert count_named(opened(tsv), words) == first and scans == [6]
    assert first == Named(6, NAMING, dict.fromkeys(VOC5.unseen, 0) | {"sheep": 2, "sofa": 2},
                          dict.fromkeys(VOC5.unseen, 0) | {"sheep": 2, "sofa": 2}, 0)  # fmt: skip
    assert count_named(opened(tsv), fewer).naming == 1 and scans == [6, 6]
    tsv.write_text(tsv.read_text().replace("a cat", "a tv"))
    assert count_named(opened(tsv), words).naming == NAMING + 1 and scans == [6, 6, 6]
    assert len(list((own_places / "named").iterdir())) == 3


def damages() -> Iterator[str]:
    whole = {"pairs": 6, "naming": 3, "named": dict.fromkeys(VOC5.unseen, 1), "unique": dict.fromkeys(VOC5.unseen, 1)}
    yield from ("", "{", "[]", "null", "{}", "\x00", "[" * 100_000, json.dumps(whole))
    whole["non_latin"] = 0
    for change in (
        {"pairs": 7}, {"naming": -1}, {"naming": 1.5}, {"naming": "3"}, {"naming": True}, {"named": {"sheep": 3}},
        {"named": [1]}, {"unique": None}, {"named": dict.fromkeys(VOC5.unseen, 7)}, {"more": 1},
    ):  # fmt: skip
        yield json.dumps(whole | change)


@pytest.mark.parametrize("text", list(damages()))
def test_a_damaged_entry_is_made_again(tsv: Path, scans: list[int], own_places: Path, text: str) -> None:
    words = split_lexicon(VOC5)
    whole = count_named(opened(tsv), words)
    [entry] = (own_places / "named").iterdir()
    entry.write_text(text)
    assert count_named(opened(tsv), words) == whole == Named(**json.loads(entry.read_text())) and len(scans) == 2


def test_a_cache_that_cannot_be_written_to_costs_time_only(tsv: Path, scans: list[int], own_places: Path) -> None:
    own_places.parent.mkdir(exist_ok=True)
    own_places.write_text("a file where the folder should be")
    assert count_named(opened(tsv), split_lexicon(VOC5)).naming == NAMING == count_named(
        opened(tsv), split_lexicon(VOC5)
    ).naming  # fmt: skip
    assert scans == [6, 6]


@pytest.mark.parametrize(("name", "value"), [("ROWS", 1), ("ROWS", 4), ("LETTERS", 1), ("LETTERS", 20)])
def test_batches_of_any_size_count_the_same(tsv: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: int) -> None:
    words, kept = split_lexicon(VOC5), ["1.png", "3.png", "4.png"]
    whole = count_named(opened(tsv), words)
    monkeypatch.setattr(training, name, value)
    assert training._scan(opened(tsv), words)[0] == whole
    assert [key for key, _ in without_named(opened(tsv), words).texts()] == kept


# Runs


def prepare(dataset: VocDataset, out: Path, captions: str, **changes: Any) -> Run:
    plan = Plan(dataset, dataset.root, torch.device("cpu"), "fp32", captions, out=out, limit=2, **changes)
    return runner.prepare(plan, str(STUBS / "listener.py"), VOC5, 0, {})


def test_the_policy_decides_the_key_where_it_changes_what_is_trained_on(arms: VocDataset, tmp_path: Path) -> None:
    keys = {
        (arm, policy): prepare(arms, tmp_path, arm, captions_policy=policy).key
        for arm, policy in (("web", "as-is"), ("web", "purge"), ("clean", "as-is"), ("clean", "purge"))
    }
    assert len({keys["web", "as-is"], keys["web", "purge"], keys["clean", "as-is"]}) == 3
    assert keys["clean", "as-is"] == keys["clean", "purge"]


def test_a_method_without_captions_has_no_policy(arms: VocDataset, tmp_path: Path) -> None:
    plan = Plan(arms, arms.root, torch.device("cpu"), "fp32", "web", out=tmp_path, captions_policy="refuse")
    assert runner.prepare(plan, str(STUBS / "colours.py"), VOC5, 0, {}).corpus is None


def test_a_finished_record_shows_the_latest_scan_without_new_training(arms: VocDataset, tmp_path: Path) -> None:
    first = runner.execute(prepare(arms, tmp_path / "runs", "web"))
    file = tmp_path / "mine.toml"
    file.write_text('[sheep]\nwords = [["photo"]]\n')
    again = runner.execute(prepare(arms, tmp_path / "runs", "web", lexicon=file))
    assert first.record and again.record and (first.status, again.status) == ("done", "cached")
    old, new = (outcome.record["supervision"].pop("corpus") for outcome in (first, again) if outcome.record)
    assert first.record == again.record, "nothing else has changed"
    assert new["unseen_named"]["sheep"] > old["unseen_named"]["sheep"] and new["planted"] == old["planted"]
    written = json.loads((again.folder / "record.json").read_text())
    assert written["supervision"]["corpus"] == new and written["status"] == "done"
    third = runner.execute(prepare(arms, tmp_path / "runs", "web"))
    assert third.record and third.record["supervision"]["corpus"] == old


def test_captions_nobody_can_scan_do_not_undo_a_scan(arms: VocDataset, tmp_path: Path) -> None:
    run = prepare(arms, tmp_path / "runs", "web")
    first = runner.execute(run)
    assert run.corpus
    unscanned = replace(run, corpus=Corpus(run.corpus.captions, unscanned="no words known"))
    assert runner.execute(unscanned).record == first.record


# The command


def call(*args: object) -> Result:
    return CliRunner().invoke(main, ["run", "-m", str(STUBS / "listener.py"), "--device", "cpu", *map(str, args)])


def test_the_command_purges_and_says_so(arms: VocDataset, tmp_path: Path) -> None:
    args = ("--data", arms.root, "--captions", "web", "--limit", 2, "--out", tmp_path / "runs")
    whole, purged = call(*args), call(*args, "--captions-policy", "purge")
    assert whole.exit_code == purged.exit_code == 0, whole.output + purged.output
    assert "captions drawn: web: names unseen classes: 4 of 40 pairs (" in whole.stdout
    assert "captions drawn: web, purged: names none of the unseen classes (levels 0-3); 4 pairs that" in purged.stdout
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("record.json")]
    assert {record["supervision"]["corpus"]["pairs"] for record in records} == {40, 36}


def test_the_command_refuses_before_anything_is_trained(arms: VocDataset, tmp_path: Path) -> None:
    out = ("--data", arms.root, "--out", tmp_path / "runs", "--limit", 2)
    result = call(*out, "--captions-policy", "refuse")
    assert result.exit_code == 2 and "4 of 40 pairs (" in result.stderr and not (tmp_path / "runs").exists()
    assert call(*out, "--captions-policy", "refuse", "--captions", "clean").exit_code == 0


def test_the_policy_may_stand_in_a_file(arms: VocDataset, tmp_path: Path) -> None:
    file, words = tmp_path / "run.toml", tmp_path / "words.toml"
    words.write_text('[sheep]\nwords = [["sheep"]]\n')
    file.write_text('captions = "web"\ncaptions_policy = "refuse"\nlexicon = "words.toml"\n')
    result = call("--data", arms.root, "--out", tmp_path / "runs", "--config", file)
    assert result.exit_code == 2 and "4 of 40 pairs (" in result.stderr
    allowed = call("--data", arms.root, "--out", tmp_path / "runs", "--config", file, "--captions-policy", "as-is")
    assert allowed.exit_code == 0
    [record] = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("record.json")]
    assert record["supervision"]["corpus"]["lexicon"]["name"] == "voc2012 + words.toml"


@pytest.mark.parametrize(
    ("args", "text", "said"),
    [
        (("--captions-policy", "purify"), "", "'purify' is not one of"),
        (("--lexicon", "absent.toml"), "", "no file absent.toml"),
        ((), 'captions_policy = "purify"', "as-is, purge, refuse"),
        ((), "captions_policy = 3", "as-is, purge, refuse"),
        ((), 'caption_policy = "purge"', "Did you mean 'captions_policy'"),
        ((), "lexicon = 3", "text was expected"),
    ],
)
def test_a_wrong_policy_is_one_sentence(
    arms: VocDataset, tmp_path: Path, args: tuple[str, ...], text: str, said: str
) -> None:
    (tmp_path / "run.toml").write_text(text)
    result = call("--data", arms.root, "--out", tmp_path / "runs", "--config", tmp_path / "run.toml", *args)
    assert result.exit_code == 2 and said in result.stderr, result.output


def test_the_scanner_is_loaded_only_where_captions_are_scanned() -> None:
    code = "import sys, zsbench.corpus; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
