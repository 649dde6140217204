"""Scoring label maps of others: the numbers of a run's own record, every miss counted, and nothing guessed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from reports.groups import Group
from reports.ledger import COLUMNS, ledger, standing
from reports.page import write_report
from reports.read import Run as Read
from reports.read import read_runs
from reports.shape import RECORD, faults
from reports.tables import run_row
from zsbench import runner
from zsbench.account import falls_short
from zsbench.bootstrap import bootstrap
from zsbench.cli import main
from zsbench.data.dataset import IGNORED, Origin
from zsbench.data.lists import list_sha256
from zsbench.data.universes import CONTEXT_59, CONTEXT_59_VOC_FIRST, VOC_CLASSES
from zsbench.data.voc import VocDataset
from zsbench.errors import UserError
from zsbench.image_counts import ImageCounts
from zsbench.metrics import Tally
from zsbench.predictions import FOLDER, file_stem, find_maps
from zsbench.run import Plan
from zsbench.runner import Outcome
from zsbench.split import Split, load_split
from zsbench.submission import Counted, Handed, count, places, take
from zsbench.submission_record import NOT_DECLARED, Declared, Scored, Told, _key, score
from zsbench.submitted_counts import SubmittedCounts
from zsbench.submitted_ids import candidates

STUBS = Path(__file__).parent / "stubs"
VOC5, VOC_K2 = load_split("voc5"), load_split("voc_k2")
TOLD = Told("My method", Declared())

CALIBRATED = '''"""Calibrated: a seen name's logits everywhere, minus gamma."""
from dataclasses import dataclass
import torch
from zsbench.supervision import Supervision

class Segmenter:
    gamma = 0.03
    def __call__(self, images, names):
        chance = torch.Generator().manual_seed(1)
        wave = torch.rand(len(names), 3, generator=chance) - 0.5
        return torch.einsum("bchw,nc->bnhw", images, wave)[:, :, ::3, ::3] * 9

@dataclass(frozen=True)
class Calibrated:
    @property
    def supervision(self):
        return Supervision()
    def fit(self, data, job):
        return Segmenter()
'''


# What a run exports is scored as in its record


@pytest.fixture(scope="module")
def few(dataset: VocDataset) -> VocDataset:
    """The drawn scenes with a short list."""
    return replace(dataset, parts=dataset.parts | {"val": dataset.keys("val")[:20]})


@pytest.fixture(scope="module")
def exported(few: VocDataset, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Outcome]:
    """Finished runs with label maps: dense scores, regions and calibrated logits, background ignored and seen."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "calibrated.py").write_text(CALIBRATED)
    methods = {
        "colours": str(STUBS / "colours.py"),
        "tiles": str(STUBS / "tiles.py"),
        "calibrated": str(folder / "calibrated.py"),
    }
    plan = Plan(few, few.root, torch.device("cpu"), "fp32", out=folder / "runs", save_predictions=True)
    done = {
        (name, split): runner.execute(runner.prepare(plan, file, load_split(split), 0, {}))
        for name, file in methods.items()
        for split in ("voc5", "voc_k2")
    }
    assert {outcome.status for outcome in done.values()} == {"done"}, [o.message for o in done.values()]
    return done


RUNS = [(name, split) for name in ("colours", "tiles", "calibrated") for split in ("voc5", "voc_k2")]


def handed_in(folder: Path, dataset: Any, split: Split = VOC5, scope: Any = "all", **how: Any) -> Handed:
    unseen = how.pop("unseen", None)
    return take(places(folder, unseen, scope), dataset, split, **how)


@pytest.mark.parametrize("run", RUNS, ids="-".join)
def test_an_exported_run_scores_as_its_record_says(
    exported: dict[tuple[str, str], Outcome], few: VocDataset, tmp_path: Path, run: tuple[str, str]
) -> None:
    outcome, split = exported[run], load_split(run[1])
    record, own = score(handed_in(outcome.folder / FOLDER, few, split), TOLD, tmp_path, "").record, outcome.record
    assert own is not None and (run[0] == "calibrated") == (own["calibration"] is not None)
    for scope in ("all", "unseen"):
        assert record["confusion"][scope] == own["confusion"][scope]
        block, told = record["scores"][scope], own["scores"][scope]
        assert block.pop("submitted") is True and block.pop("oracle") is None
        assert block == {name: value for name, value in told.items() if name != "oracle"}, (
            "to the last bit, intervals too"
        )
    assert record["confusion"]["missed"] == {"all": [0] * len(split.names), "unseen": [0] * len(split.unseen)}
    assert own["scores"]["unseen"]["interval"] and own["scores"]["all"]["harmonic"]["interval"]
    assert not record["limited"] and record["data"] == own["data"] and record["split"] == own["split"]


def test_the_counts_of_every_image_are_the_runs(
    exported: dict[tuple[str, str], Outcome], few: VocDataset, tmp_path: Path
) -> None:
    outcome = exported["colours", "voc5"]
    done = score(handed_in(outcome.folder / FOLDER, few), TOLD, tmp_path, "")
    own = ImageCounts.read([outcome.folder / "per_image.parquet"], VOC5).frame()
    assert ImageCounts.read([done.folder / "per_image.parquet"], VOC5).frame().equals(own)
    pictures = [[picture[name] for name in ("key", "rule", "score")] for picture in done.record["files"]["pictures"]]
    assert outcome.record is not None
    assert pictures == [[p[name] for name in ("key", "rule", "score")] for p in outcome.record["files"]["pictures"]]
    for picture in done.record["files"]["pictures"]:
        assert (done.folder / picture["prediction"]).read_bytes() == (
            outcome.folder / picture["prediction"]
        ).read_bytes()


# Against a plain count


@dataclass
class Painted:
    """A data set of given label maps."""

    maps: Mapping[str, np.ndarray]
    classes: tuple[str, ...] = VOC_CLASSES
    serves: tuple[str, ...] = ("voc2012",)
    root: Path = Path()
    origin: Origin = field(default_factory=lambda: Origin("drawn", "Painted by hand", "0" * 12))
    protected: tuple[Path, ...] = ()

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        return {"val": tuple(self.maps)}

    def keys(self, part: str) -> Sequence[str]:
        return self.parts[part]

    def has(self, part: str) -> bool:
        return part in self.parts

    def part_sha256(self, part: str) -> str:
        return list_sha256(self.keys(part))

    def image(self, key: str) -> np.ndarray:
        return np.zeros((*self.maps[key].shape, 3), np.uint8)

    def labels(self, key: str) -> np.ndarray:
        return self.maps[key]


def write(folder: Path, maps: Mapping[str, np.ndarray], classes: Mapping[int, str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for key, ids in maps.items():
        np.save(folder / f"{file_stem(key)}.npy", ids)
    if classes is not None:
        (folder / "classes.txt").write_text("".join(f"{i}: {name}\n" for i, name in classes.items()))
    return folder


IDS = dict(enumerate(VOC_CLASSES))
Answers = Mapping[str, np.ndarray]


def plainly(
    truths: Answers, answers: Answers, names: Mapping[int, str], split: Split, scored: Sequence[str]
) -> dict[str, float]:
    """IoU of each scored name from sets of pixels; a name without a labelled pixel is left out."""
    wanted = {name: (set[Any](), set[Any]()) for name in scored}
    for key, truth in truths.items():
        for place in np.ndindex(truth.shape):
            label = VOC_CLASSES[truth[place]] if truth[place] != IGNORED else ""
            if label not in scored:
                continue
            said = names.get(int(answers[key][place]), "nothing")
            wanted[label][0].add((key, place))
            if said in scored:
                wanted[said][1].add((key, place))
    return {name: len(t & p) / len(t | p) for name, (t, p) in wanted.items() if t}


def random_maps(seed: int, images: int = 7, values: Sequence[int] = (*range(21), 255)) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {f"i{n}": random.choice(values, (6, 5 + n)).astype(np.uint8) for n in range(images)}


@pytest.mark.parametrize("split", [VOC5, VOC_K2], ids=lambda split: split.name)
@pytest.mark.parametrize("seed", range(4))
def test_maps_with_anything_in_them_score_as_counted_by_hand(tmp_path: Path, seed: int, split: Split) -> None:
    truths = random_maps(seed)
    random = np.random.default_rng(seed + 100)
    noise = {key: random.choice([*range(21), 255, 300, -1], truth.shape) for key, truth in truths.items()}
    answers = {key: np.where(random.random(truth.shape) < 0.5, truth, noise[key]) for key, truth in truths.items()}
    folder = write(tmp_path / "maps", answers, IDS)
    record = score(handed_in(folder, Painted(truths), split, unseen=folder), TOLD, tmp_path, "").record
    for scope, scored in (("all", split.names), ("unseen", split.unseen)):
        expected = plainly(truths, answers, IDS, split, scored)
        block = record["scores"][scope]
        assert {
            name: entry["iou"] for name, entry in block["classes"].items() if entry["iou"] is not None
        } == pytest.approx(expected)
        assert block["miou"] == pytest.approx(np.mean(list(expected.values())))
        confusion, missed = np.array(record["confusion"][scope]), record["confusion"]["missed"][scope]
        truth_of = [sum(int((truth == VOC_CLASSES.index(name)).sum()) for truth in truths.values()) for name in scored]
        assert (confusion.sum(1) + missed).tolist() == truth_of == [block["classes"][n]["pixels"] for n in scored]
        beside = record["submission"]["beside"][scope]
        assert beside["pixels"] == sum(missed) > 0 and beside["share"] == sum(missed) / sum(truth_of)
        assert block["pixels"] == sum(truth_of) and block["submitted"] is True
        right = sum(
            int((answers[k] == t)[np.isin(t, [VOC_CLASSES.index(n) for n in scored])].sum()) for k, t in truths.items()
        )
        if scope == "all":
            assert block["pixel_accuracy"] == pytest.approx(right / sum(truth_of))
    assert set(record["submission"]["beside"]["all"]["as"]) >= {"id 255", "id 300", "id -1"}
    assert ("background" in record["submission"]["beside"]["all"]["as"]) == (split is VOC5)
    assert list(faults(record, RECORD)) == []


def test_intervals_are_those_of_counts_with_the_misses_in_them(tmp_path: Path) -> None:
    truths, answers = random_maps(1, 9), random_maps(2, 9)
    done = score(handed_in(write(tmp_path / "maps", answers, IDS), Painted(truths)), TOLD, tmp_path, "")
    table = np.zeros((3, 9, 20))  # correct, truth, predicted
    for row, key in enumerate(sorted(truths)):
        for place, name in enumerate(VOC5.names):
            t, p = truths[key] == VOC_CLASSES.index(name), answers[key] == VOC_CLASSES.index(name)
            labelled = (truths[key] != IGNORED) & (truths[key] != 0)
            table[:, row, place] = (t & p).sum(), t.sum(), (p & labelled).sum()
    expected = bootstrap(Tally(*table), lambda tally: tally.miou(slice(15, None)))
    assert expected is not None and done.record["scores"]["all"]["unseen"]["interval"] == list(expected)
    again = SubmittedCounts.read([done.folder / "per_image.parquet"], VOC5)
    np.testing.assert_array_equal(again.tally("all").truth, table[1])
    assert again.total("all").missed.tolist() == done.record["confusion"]["missed"]["all"]
    with pytest.raises(UserError, match="no candidates"):  # who does not know of misses is not misled
        ImageCounts.read([done.folder / "per_image.parquet"], VOC5)


def test_saying_nothing_is_wrong_everywhere_and_not_left_out(tmp_path: Path) -> None:
    truths = random_maps(3)
    silent = {key: np.full(truth.shape, 255, np.uint8) for key, truth in truths.items()}
    folder = write(tmp_path / "maps", silent, IDS)
    record = score(handed_in(folder, Painted(truths), unseen=folder), TOLD, tmp_path, "").record
    for block in (record["scores"]["unseen"], record["scores"]["all"]["seen"], record["scores"]["all"]["unseen"]):
        assert block["miou"] == 0.0 and block["interval"] == [0.0, 0.0] and block["pixel_accuracy"] == 0.0
    assert record["submission"]["beside"]["unseen"]["share"] == 1.0


def test_counts_read_from_a_run_are_the_same_with_and_without_a_place_for_misses(
    exported: dict[tuple[str, str], Outcome],
) -> None:
    path = exported["tiles", "voc_k2"].folder / "per_image.parquet"
    plain, wide = ImageCounts.read([path], VOC_K2), SubmittedCounts.read([path], VOC_K2)
    for scope in ("all", "unseen", "oracle-all"):
        assert np.array_equal(plain.total(scope).counts, wide.total(scope).counts)  # type: ignore[arg-type]
        for name in ("correct", "truth", "predicted"):
            one, two = plain.tally(scope), wide.tally(scope)  # type: ignore[arg-type]
            assert np.array_equal(getattr(one, name), getattr(two, name))


# Scopes


def test_a_scope_that_was_not_handed_in_has_no_score(tmp_path: Path) -> None:
    truths = random_maps(5)
    done = score(handed_in(write(tmp_path / "maps", random_maps(6), IDS), Painted(truths)), TOLD, tmp_path / "runs", "")
    unseen, every = done.record["scores"]["unseen"], done.record["scores"]["all"]
    assert unseen["miou"] is None and unseen["interval"] is None and unseen["submitted"] is False
    assert unseen["candidates"] == list(VOC5.unseen) and done.record["confusion"]["unseen"] == []
    for name in VOC5.unseen:
        own = {"iou": None, "recall": None} | {of: every["classes"][name][of] for of in ("pixels", "images")}
        assert unseen["classes"][name] == own and own["pixels"] > 0
    assert unseen["pixels"] == sum(entry["pixels"] for entry in unseen["classes"].values())
    assert every["unseen"]["miou"] > 0 and every["submitted"] is True
    assert set(ImageCounts.read([], VOC5).frame()["scope"]) == set()
    runs, left = read_runs([tmp_path / "runs"])
    assert not left and [run.key for run in runs] == [done.key]
    assert "unseen only: not submitted" in standing(Group((runs[0],)))


def test_maps_over_unseen_names_alone_answer_their_scope(tmp_path: Path) -> None:
    truths, unseen = random_maps(7), [VOC_CLASSES.index(name) for name in VOC5.unseen]
    answers = random_maps(8, values=unseen)
    folder = write(tmp_path / "maps", answers, {i: VOC_CLASSES[i] for i in unseen})
    done = score(handed_in(folder, Painted(truths), scope="unseen"), TOLD, tmp_path / "runs", "")
    expected = plainly(truths, answers, IDS, VOC5, VOC5.unseen)
    assert done.record["scores"]["unseen"]["miou"] == pytest.approx(np.mean(list(expected.values())))
    every = done.record["scores"]["all"]
    assert (
        every["miou"] is None and every["harmonic"] == {"miou": None, "interval": None} and every["submitted"] is False
    )
    assert every["seen"]["classes_scored"] == 0 and every["classes"]["cat"]["pixels"] > 0
    assert len(done.record["files"]["pictures"]) == 7, "six by score and one more that every run shows"
    assert read_runs([tmp_path / "runs"])[1] == []


def test_maps_over_all_names_do_not_answer_the_other_scope(tmp_path: Path) -> None:
    """Given all the same, seen names are misses there, and the record says so."""
    truths = random_maps(9)
    folder = write(tmp_path / "maps", {key: np.full(t.shape, 15) for key, t in truths.items()}, IDS)
    record = score(handed_in(folder, Painted(truths), unseen=folder), TOLD, tmp_path, "").record
    assert record["scores"]["unseen"]["miou"] == 0
    assert record["submission"]["beside"]["unseen"]["as"] == {"person": record["scores"]["unseen"]["pixels"]}
    assert record["submission"]["beside"]["all"]["pixels"] == 0


def test_an_export_is_recognised_by_its_folders(exported: dict[tuple[str, str], Outcome]) -> None:
    run = exported["colours", "voc5"].folder
    both = {"all": run / FOLDER / "all", "unseen": run / FOLDER / "unseen"}
    assert places(run) == places(run / FOLDER) == both
    assert places(run / FOLDER / "unseen", scope="unseen") == {"unseen": both["unseen"]}
    assert places(both["all"], both["unseen"]) == both
    for wrong in ({"unseen": both["unseen"]}, {"scope": "unseen"}):
        with pytest.raises(UserError, match="has folders all and unseen"):
            places(run / FOLDER, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no such folder"):
        places(run / "absent")
    with pytest.raises(UserError, match="--unseen-predictions: no folder"):
        places(both["all"], run / "absent")


@pytest.mark.parametrize("below", ["unseen", "all"])
@pytest.mark.parametrize("name", ["i0.png", "i0.npy"])
def test_maps_beside_a_folder_of_maps_are_refused(tmp_path: Path, below: str, name: str) -> None:
    """Which of the two would be scored is nobody's guess."""
    write(tmp_path / "maps" / below, random_maps(0), IDS)
    (tmp_path / "maps" / name).touch()
    with pytest.raises(UserError, match=rf"has label maps of its own \({name}\) and {below}/ beside them"):
        places(tmp_path / "maps")
    assert places(tmp_path / "maps" / below) == {"all": tmp_path / "maps" / below}


def test_an_export_of_another_split_is_refused(
    exported: dict[tuple[str, str], Outcome], few: VocDataset, tmp_path: Path
) -> None:
    other = exported["colours", "voc_k2"].folder / FOLDER
    with pytest.raises(
        UserError, match=r"label maps of voc_k2, as predictions\.json says; the best of its names is no"
    ):
        handed_in(other / "all", few)
    with pytest.raises(UserError, match="the best of its unseen names is no answer for voc5"):
        handed_in(other / "unseen", few, scope="unseen")
    own = exported["colours", "voc5"].folder / FOLDER
    twin = replace(VOC5, name="twin", seen=VOC5.seen[::-1])  # the same names, the maps over all of them answer it
    assert twin.fingerprint != VOC5.fingerprint
    assert len(handed_in(own / "all", few, twin).keys) == 20
    with pytest.raises(UserError, match="label maps of voc5"):
        handed_in(own, few, twin)
    broken = tmp_path / "export"
    shutil.copytree(own, broken)
    for text in ("{", "[]", '{"split": "voc5"}', '{"split": "voc5", "split_fingerprint": "", "classes": 3}'):
        (broken / "predictions.json").write_text(text)
        with pytest.raises(UserError, match=r"predictions\.json: cannot be read; a run's export says there"):
            handed_in(broken, few)


# What ids mean


def ids_of(tmp_path: Path, text: str, maps: Answers, split: Split = VOC5, **how: Any) -> Handed:
    folder = write(tmp_path / "maps", maps)
    (tmp_path / "names.txt").write_text(text)
    return handed_in(folder, Painted(maps), split, classes=tmp_path / "names.txt", **how)


def test_without_a_class_file_nothing_is_guessed(tmp_path: Path) -> None:
    maps = random_maps(0)
    with pytest.raises(UserError, match=r"ids are never guessed: give --classes FILE, or put classes\.txt"):
        handed_in(write(tmp_path / "maps", maps), Painted(maps))


def test_names_without_ids_need_a_word(tmp_path: Path) -> None:
    names = "\n".join(VOC_CLASSES[1:])
    zero = {key: ids % 20 for key, ids in random_maps(0).items()}
    with pytest.raises(UserError, match="--first-id 0 or --first-id 1"):
        ids_of(tmp_path, names, zero)
    shifted = {key: ids + 1 for key, ids in zero.items()}
    with pytest.raises(UserError, match="--first-id 0 or --first-id 1"):
        ids_of(tmp_path, names, shifted)  # 20 may be "unlabelled" too
    assert ids_of(tmp_path, names, zero, first_id=1).names == dict(enumerate(VOC_CLASSES[1:], 1))
    assert ids_of(tmp_path, names, zero, first_id=0).names == dict(enumerate(VOC_CLASSES[1:]))
    assert ids_of(tmp_path, "background\n" + names, zero).names == IDS


def test_other_orders_and_spellings_are_the_same_classes(tmp_path: Path) -> None:
    truths, answers = random_maps(1), random_maps(2)
    straight = score(handed_in(write(tmp_path / "a", answers, IDS), Painted(truths)), TOLD, tmp_path, "").record
    order = np.random.default_rng(0).permutation(21)
    spelled = {"tvmonitor": "TV monitor", "sofa": "couch", "aeroplane": "airplane", "pottedplant": "potted_plant"}
    names = {int(order[i]) + 500: spelled.get(name, name) for i, name in IDS.items()}
    moved = {key: np.where(ids == 255, 65535, np.append(order, [0] * 235)[ids] + 500) for key, ids in answers.items()}
    other = score(handed_in(write(tmp_path / "b", moved, names), Painted(truths)), TOLD, tmp_path, "").record
    assert other["scores"] == straight["scores"] and other["confusion"] == straight["confusion"]
    assert other["submission"]["predictions_sha256"] == straight["submission"]["predictions_sha256"]
    assert other["key"] != straight["key"], "what ids mean is part of the key"


def test_a_class_that_no_id_has_is_a_slip(tmp_path: Path) -> None:
    lines = [f"{i}: {name}" for i, name in IDS.items()]
    with pytest.raises(UserError, match=r"no id for sheep of voc5 in the class file\. Is 'sheeps' meant to be 'sheep'"):
        ids_of(tmp_path, "\n".join(lines).replace("sheep", "sheeps"), random_maps(0))
    with pytest.raises(UserError, match="no id for background, which voc_k2 scores"):
        ids_of(tmp_path, "\n".join(lines[1:]), random_maps(0), VOC_K2)
    assert ids_of(tmp_path, "\n".join(lines[1:]), random_maps(0)).names[1] == "aeroplane"
    unseen = "\n".join(line for line in lines if line.split()[1] in VOC5.unseen)
    assert len(ids_of(tmp_path, unseen, random_maps(0), scope="unseen").names) == 5
    with pytest.raises(UserError, match="no id for aeroplane, bicycle, bird and 12 more"):
        ids_of(tmp_path, unseen, random_maps(0))


@pytest.mark.parametrize("word", ["255: ignore", "255: void", "255: unlabeled", "77: ignore"])
def test_a_value_that_means_nothing_is_no_class(word: str) -> None:
    names = {i: name for i, name in IDS.items() if i} | {int(word.split(":")[0]): word.split()[1]}
    assert sorted(candidates(names, VOC_K2, VOC_CLASSES).values()) == list(range(1, 21)), "background has no id here"
    assert 255 in candidates({**names, 255: "background"}, VOC_K2, VOC_CLASSES)


def test_class_files_of_two_folders_agree_or_one_is_named(tmp_path: Path) -> None:
    maps = random_maps(0)
    every, unseen = write(tmp_path / "a", maps, IDS), write(tmp_path / "b", maps, {i + 1: n for i, n in IDS.items()})
    with pytest.raises(UserError, match="differ; ids of both scopes mean the same: give --classes FILE"):
        handed_in(every, Painted(maps), unseen=unseen)
    assert handed_in(every, Painted(maps), unseen=unseen, classes=every / "classes.txt").names == IDS


def test_context_in_either_order_scores_the_same(tmp_path: Path) -> None:
    split, random = load_split("context4"), np.random.default_rng(0)
    classes = ("background", *CONTEXT_59)
    truths = {f"i{n}": random.integers(60, size=(9, 11)).astype(np.uint8) for n in range(4)}
    dataset = Painted(truths, classes, ("context59", "context60"))
    named = {k: np.array(classes)[np.where(random.random(t.shape) < 0.6, t, 5)] for k, t in truths.items()}
    records = {}
    for word, order in (("459-sorted", CONTEXT_59), ("voc-first", CONTEXT_59_VOC_FIRST)):
        place = {"background": 0} | {name: i for i, name in enumerate(order, 1)}
        maps = {k: np.vectorize(place.__getitem__)(names) for k, names in named.items()}
        files = write(tmp_path / word, maps, {i: name for name, i in place.items()})
        by_file = score(handed_in(files, dataset, split), TOLD, tmp_path / "runs", "").record
        by_word = score(handed_in(files, dataset, split, classes=Path(word)), TOLD, tmp_path / "runs", "").record
        assert by_file["scores"] == by_word["scores"]
        records[word] = by_file
    assert records["459-sorted"]["scores"] == records["voc-first"]["scores"]
    assert records["459-sorted"]["scores"]["all"]["miou"] > 0.3
    swapped = handed_in(tmp_path / "voc-first", dataset, split, classes=Path("459-sorted"))
    assert score(swapped, TOLD, tmp_path / "runs", "").record["scores"]["all"]["miou"] < 0.1
    with pytest.raises(UserError, match="an order of PASCAL Context's classes; voc5 is of voc2012"):
        handed_in(tmp_path / "voc-first", Painted(random_maps(0)), VOC5, classes=Path("voc-first"), partial=True)


@pytest.mark.parametrize(("values", "settled"), [((3, 59), True), ((3, 58), False), ((3, 59, 255), False)])
def test_59_names_of_context_are_settled_as_its_own_reader_does(
    tmp_path: Path, values: tuple[int, ...], settled: bool
) -> None:
    split = load_split("context4")
    maps = {"i0": np.full((2, 3), values[0], np.uint8), "i1": np.resize(np.array(values, np.uint8), (2, 3))}
    folder = write(tmp_path / "maps", maps)
    (folder / "classes.txt").write_text("\n".join(CONTEXT_59))
    data = Painted({k: ids % 60 for k, ids in maps.items()}, ("background", *CONTEXT_59), ("context60",))
    if settled:
        assert candidates(handed_in(folder, data, split, first_id=1).names, split, data.classes)
        assert handed_in(folder, data, split).names == dict(enumerate(CONTEXT_59, 1))
    else:
        with pytest.raises(UserError, match="does not say whether 'aeroplane' is id 0 or id 1"):
            handed_in(folder, data, split)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", json.dumps(list(VOC_CLASSES))),
        ("classes.txt", json.dumps(IDS)),
        ("classes.json", json.dumps(list(VOC_CLASSES))),
        ("classes.json", json.dumps(IDS)),
    ],
)
def test_a_class_file_beside_the_maps_may_be_json(tmp_path: Path, name: str, text: str) -> None:
    maps = random_maps(0)
    folder = write(tmp_path / "maps", maps)
    (folder / name).write_text(text)
    handed = handed_in(folder, Painted(maps))
    assert handed.names == IDS and handed.files["all"].others == []
    (folder / "classes.json").write_text(json.dumps(IDS | {0: "dog", 12: "background"}))
    (folder / "classes.txt").write_text(json.dumps(IDS))
    with pytest.raises(UserError, match="differ; ids of both scopes mean the same"):
        handed_in(folder, Painted(maps))


def test_one_class_under_two_spellings_is_refused(tmp_path: Path) -> None:
    lines = [f"{i}: {name}" for i, name in (IDS | {21: "tv"}).items()]
    with pytest.raises(UserError, match="'tvmonitor' and 'tv' both mean the class 'tvmonitor'"):
        ids_of(tmp_path, "\n".join(lines), random_maps(0))


def numbered(order: Sequence[str]) -> dict[str, int]:
    return {"background": 0} | {name: i for i, name in enumerate(order, 1)}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of PASCAL Context, PNGs in the order of 459, with every class in it and pixels without one."""
    root, random = tmp_path_factory.mktemp("context") / "VOC2010", np.random.default_rng(3)
    for place in ("JPEGImages", "SegmentationClassContext", "ImageSets/SegmentationContext"):
        (root / place).mkdir(parents=True)
    for number in range(4):
        ids = np.concatenate([np.arange(60), random.integers(60, size=60)]).reshape(10, 12).astype(np.uint8)
        Image.fromarray(np.zeros((10, 12, 3), np.uint8)).save(root / f"JPEGImages/2008_00000{number}.jpg")
        mask = Image.fromarray(ids, mode="P")
        mask.putpalette(list(range(256)) * 3)
        mask.save(root / f"SegmentationClassContext/2008_00000{number}.png")
    for part, keys in {"train": [0], "val": [1, 2, 3]}.items():
        text = "".join(f"2008_00000{number}\n" for number in keys)
        (root / f"ImageSets/SegmentationContext/{part}.txt").write_text(text)
    (root / "classes.txt").write_text("\n".join(("background", *CONTEXT_59)))
    return root


@pytest.mark.parametrize("split", ["context4", "context_k2", "context33_4"])
def test_the_official_layout_is_scored_in_either_order(context: Path, tmp_path: Path, split: str) -> None:
    """Background, 59 and 33 names, of which one is spelled otherwise in the list of 59."""
    names, random = np.array(("background", *CONTEXT_59)), np.random.default_rng(4)
    files = sorted((context / "SegmentationClassContext").glob("*.png"))[1:]
    truths = {file.stem: np.asarray(Image.open(file)) for file in files}
    said = {key: names[np.where(random.random(t.shape) < 0.7, t, 11)] for key, t in truths.items()}
    found = []
    for word, order in (("459-sorted", CONTEXT_59), ("voc-first", CONTEXT_59_VOC_FIRST)):
        ids = numbered(order)
        write(tmp_path / word, {key: np.vectorize(ids.__getitem__)(ids_of) for key, ids_of in said.items()})
        args = ["score", str(tmp_path / word), "-s", split, "--data", str(context), "--name", "x", "--classes", word]
        result = CliRunner().invoke(main, [*args, "--out", str(tmp_path / "runs"), "--json"])
        assert result.exit_code == 0, result.output
        found.append(json.loads(result.stdout))
    assert found[0]["scores"] == found[1]["scores"] and found[0]["confusion"] == found[1]["confusion"]
    scored = load_split(split).names
    same = {"diningtable": "table"}
    ids = numbered(CONTEXT_59)
    truth = np.concatenate([truths[key].ravel() for key in said])
    answer = np.concatenate([said[key].ravel() for key in said])
    labelled = np.isin(truth, [ids[same.get(name, name) if split == "context33_4" else name] for name in scored])
    for name in scored:
        place = same.get(name, name) if split == "context33_4" else name
        t, p = truth == ids[place], (answer == place) & labelled
        assert found[0]["scores"]["all"]["classes"][name]["iou"] == pytest.approx((t & p).sum() / (t | p).sum())


# What is checked


def test_every_image_needs_a_map(tmp_path: Path) -> None:
    maps = random_maps(0)
    folder = write(tmp_path / "maps", {k: v for k, v in maps.items() if k not in ("i2", "i5")}, IDS)
    (folder / "i2_pred.png").touch()
    with pytest.raises(UserError) as caught:
        handed_in(folder, Painted(maps))
    assert "2 of 7 images have no label map (i2, i5)" in str(caught.value) and "(i2_pred.png)" in str(caught.value)
    assert str(caught.value).endswith("--partial")
    handed = handed_in(folder, Painted(maps), partial=True)
    done = score(handed, TOLD, tmp_path, "")
    assert done.record["limited"] is True and done.record["limit"] is None
    assert done.record["data"]["parts"]["val"]["scored"] == 5 and done.record["submission"]["missing"] == 2
    assert done.record["submission"]["files_ignored"] == 1
    empty = write(tmp_path / "empty", {}, IDS)
    with pytest.raises(UserError, match="7 of 7 images have no label map"):
        handed_in(empty, Painted(maps), partial=True)


def test_partial_scopes_are_scored_on_the_images_of_both(tmp_path: Path) -> None:
    maps = random_maps(0)
    every = write(tmp_path / "a", {k: maps[k] for k in ("i1", "i2", "i3")}, IDS)
    unseen = write(tmp_path / "b", {k: maps[k] for k in ("i3", "i2", "i6")}, IDS)
    assert handed_in(every, Painted(maps), unseen=unseen, partial=True).keys == ["i2", "i3"]
    with pytest.raises(UserError, match="no image has a label map in each of"):
        other = write(tmp_path / "c", {"i0": maps["i0"]}, IDS)
        handed_in(every, Painted(maps), unseen=other, partial=True)


def test_a_map_of_another_size_is_refused_and_not_resized(tmp_path: Path) -> None:
    maps = random_maps(0)
    wrong = maps | {"i1": np.zeros((3, 4), np.uint8), "i4": maps["i4"].T.copy()}
    with pytest.raises(UserError) as caught:
        score(handed_in(write(tmp_path / "maps", wrong, IDS), Painted(maps)), TOLD, tmp_path / "runs", "")
    said = str(caught.value)
    assert "i1.npy: 4 × 3 pixels, its label map has 6 × 6" in said and "nearest neighbour" in said
    assert "i4.npy: 6 × 9 pixels, its label map has 9 × 6" in said
    assert said.endswith("2 label maps cannot be scored; nothing was scored") and not (tmp_path / "runs").exists()


def test_many_faults_are_told_in_few_words_and_early(tmp_path: Path) -> None:
    maps = random_maps(0, images=60)
    folder = write(tmp_path / "maps", maps, IDS)
    for key in maps:
        (folder / f"{key}.npy").write_bytes(b"nonsense")
    with pytest.raises(UserError) as caught:
        count(handed_in(folder, Painted(maps)))
    assert str(caught.value).endswith("20 label maps cannot be scored; looked at 20 of 60 images; nothing was scored")
    assert str(caught.value).count("not an .npy file inside") == 3


def test_keys_of_any_kind_are_files_of_their_own(tmp_path: Path) -> None:
    keys = ["val/0001", "../escape", "plain", "a b"]
    maps = dict(zip(keys, random_maps(0, 4).values(), strict=True))
    folder = write(tmp_path / "maps", maps, IDS)
    assert not find_maps(folder, keys).others
    record = score(handed_in(folder, Painted(maps)), TOLD, tmp_path / "runs", "").record
    assert record["scores"]["all"]["miou"] == 1.0
    assert {path.name for path in tmp_path.iterdir()} == {"maps", "runs"}


# The record


def scored(tmp_path: Path, told: Told = TOLD, **declared: str) -> Scored:
    maps = random_maps(0)
    folder = write(tmp_path / "maps", maps, IDS)
    told = replace(told, declared=Declared(**declared))
    return score(handed_in(folder, Painted(maps), unseen=folder), told, tmp_path / "runs", "zsbench score …")


def group(done: Scored) -> Group:
    return Group((Read(done.folder, "here", done.record),))


def test_what_was_not_declared_says_so(tmp_path: Path) -> None:
    done = scored(tmp_path)
    supervision = done.record["supervision"]
    assert supervision["declared_by"] == "the submitter" and supervision["captions"] is None
    assert {
        supervision[name] for name in ("masks", "layout", "unlabelled", "backbone", "tuned_on", "unseen_names")
    } == {NOT_DECLARED}
    assert supervision["vectors"]["leaks"] is None
    row = run_row(Read(done.folder, "here", done.record))
    assert row["vectors"] == NOT_DECLARED and row["vectors_leak"] is None, "unknown, which is not no"
    assert not list(faults(done.record, RECORD))
    marks = dict(zip(COLUMNS, ledger(group(done)), strict=True))
    by = marks.pop("Declared by")
    assert by.words == "the submitter" and by.state == "warned" and by.more == "not checked"
    assert {mark.state for mark in marks.values()} == {"warned"}
    assert marks.pop("which saw").words == "an unknown corpus (not declared)"
    assert {mark.words for mark in marks.values()} == {NOT_DECLARED}


def test_what_was_declared_stands_there_as_declared(tmp_path: Path) -> None:
    done = scored(
        tmp_path, masks="seen", layout="none", unlabelled="none", captions="none", backbone="ResNet-101",
        backbone_corpus="ImageNet without the unseen classes", vectors="fastText", unseen_names="training", tuned_on="val",
    )  # fmt: skip
    marks = {name: (mark.state, mark.words) for name, mark in zip(COLUMNS, ledger(group(done)), strict=True)}
    assert marks == {
        "Pixel masks": ("used", "seen classes"), "Layout masks": ("free", "none"), "Unlabelled pool": ("free", "none"),
        "Captions": ("free", "none"), "Class vectors": ("used", "fastText"), "Starts from": ("used", "ResNet-101"),
        "which saw": ("used", "ImageNet without the unseen classes"), "Unseen names known": ("warned", "at training"),
        "Tuned on": ("used", "val"), "Declared by": ("warned", "the submitter"),
    }  # fmt: skip
    told = scored(tmp_path, captions="CC12M").record["supervision"]
    assert told["captions"] is True and told["corpus"]["name"] == "CC12M" and "not scanned" in told["corpus"]["verdict"]


def test_a_run_of_the_harness_is_declared_by_its_method(exported: dict[tuple[str, str], Outcome]) -> None:
    outcome = exported["colours", "voc5"]
    assert outcome.record is not None
    made = Group((Read(outcome.folder, "here", outcome.record),))
    assert ledger(made)[-1].words == "the method" and standing(made) == []


def test_the_record_has_everything_that_a_runs_has(tmp_path: Path, exported: dict[tuple[str, str], Outcome]) -> None:
    done, run = scored(tmp_path), exported["colours", "voc5"].record
    assert run is not None and set(run) == set(done.record) and run["submission"] is None
    for part in ("method", "split", "data", "scores", "files"):
        assert set(run[part]) <= set(done.record[part])
    assert done.record["method"]["name"] == "my-method" and done.record["method"]["title"] == "My method"
    assert (
        done.folder == tmp_path / "runs/voc5" / f"my-method-{done.key}" and done.record["command"] == "zsbench score …"
    )
    named = {"record.json", "per_image.parquet"} | {
        p[n] for p in done.record["files"]["pictures"] for n in ("photo", "truth", "prediction")
    }
    assert {str(path.relative_to(done.folder)) for path in done.folder.rglob("*") if path.is_file()} == named


def test_the_same_submission_is_shown_and_another_has_another_key(tmp_path: Path) -> None:
    first = scored(tmp_path)
    assert first.status == "done" and scored(tmp_path).status == "cached" and scored(tmp_path).record == first.record
    (first.folder / "per_image.parquet").unlink()
    assert scored(tmp_path).status == "done"
    others = [
        scored(tmp_path, captions="none"),
        scored(tmp_path, Told("Other", Declared())),
        scored(tmp_path, Told("My method", Declared(), url="https://example.org")),
    ]
    maps = random_maps(0)
    maps["i0"][0, 0] ^= 1
    folder = write(tmp_path / "maps", maps, IDS)
    others.append(score(handed_in(folder, Painted(random_maps(0)), unseen=folder), TOLD, tmp_path / "runs", ""))
    assert len({first.key, *(other.key for other in others)}) == 5


KEYED: dict[str, dict[str, Any]] = {
    "predictions": {"counted": {"sha256": "another"}},
    "class map": {"handed": {"names": IDS | {300: "nothing of this split"}}},
    "split": {"handed": {"split": replace(VOC5, seen=VOC5.seen[::-1])}},
    "data": {"data": {"origin": Origin("drawn", "Painted by hand", "1" * 12)}},
    "scopes": {"handed": {"files": {}}},
    "partial": {"data": {"maps": random_maps(0, 8)}},
    "name": {"told": {"name": "Another"}},
    "paper": {"told": {"paper": "Another"}},
    "url": {"told": {"url": "https://example.org"}},
    **{f"ledger: {field}": {"declared": {field: "none"}} for field in Declared.__dataclass_fields__},
}


@pytest.mark.parametrize("changed", KEYED)
def test_each_ingredient_changed_alone_changes_the_key(tmp_path: Path, changed: str) -> None:
    data, told = Painted(random_maps(0)), Told("My method", Declared())
    handed = handed_in(write(tmp_path / "maps", random_maps(1), IDS), data)
    counted = count(handed)
    change = KEYED[changed]
    assert handed.split == VOC5
    other = replace(handed, dataset=replace(data, **change.get("data", {})), **change.get("handed", {}))
    declared = replace(told.declared, **change.get("declared", {}))
    other_told = replace(told, declared=declared, **change.get("told", {}))
    key = _key(handed, told, counted)
    assert key == _key(replace(handed), replace(told), replace(counted))
    assert key != _key(other, other_told, replace(counted, **change.get("counted", {})))


def test_content_and_scope_are_part_of_what_the_key_hashes(tmp_path: Path) -> None:
    data = Painted(random_maps(0))
    maps = random_maps(1)
    one = write(tmp_path / "one", maps, IDS)
    changed = write(tmp_path / "two", maps | {"i3": np.where(maps["i3"] == 3, 4, maps["i3"])}, IDS)
    sums = [
        count(handed_in(one, data)),
        count(handed_in(one, data, scope="unseen")),
        count(handed_in(one, data, unseen=one)),
        count(handed_in(changed, data)),
    ]
    assert len({counted.sha256 for counted in sums}) == 4


def test_what_was_said_instead_is_listed_by_pixels_then_name(tmp_path: Path) -> None:
    """Ties do not follow the order of images or ids."""
    truth = np.full((2, 6), 1, np.uint8)
    said = np.array([[30, 30, 31, 31, 32, 32], [33, 33, 33, 1, 1, 1]])
    names = IDS | {30: "zebra", 31: "lamp", 32: "apple", 33: "mouse"}
    folder = write(tmp_path / "maps", {"i0": said}, names)
    record = score(handed_in(folder, Painted({"i0": truth})), TOLD, tmp_path, "").record
    found = record["submission"]["beside"]["all"]["as"]
    assert list(found.items()) == [("mouse", 3), ("apple", 2), ("lamp", 2), ("zebra", 2)]


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My method", "my-method"), ("ViL-Seg", "vil-seg-submitted"), ("K-Means", "k-means-submitted"), ("方法", "submission"),
        ("../../etc", "etc"), ("<script>", "script"), ("x" * 200, "x" * 60), ("ViL-Seg, ours", "vil-seg-ours"),
    ],
)  # fmt: skip
def test_a_name_becomes_a_folder_that_no_method_of_the_harness_has(name: str, slug: str) -> None:
    assert Told(name, Declared()).slug == slug


@pytest.mark.parametrize("wrong", [{"name": ""}, {"name": " x"}, {"name": "a\nb"}, {"name": "x" * 301}, {"url": "javascript:x"},
                                   {"url": "https://a b"}, {"paper": "\x1b[2J"}])  # fmt: skip
def test_what_is_said_is_one_plain_line(wrong: dict[str, str]) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(wrong))}"):
        Told(**{"name": "x", "declared": Declared(), **wrong})  # type: ignore[arg-type]


# The report


def test_the_report_shows_submissions_beside_runs(
    exported: dict[tuple[str, str], Outcome], few: VocDataset, tmp_path: Path
) -> None:
    outcome = exported["colours", "voc5"]
    told = Told("A <script>alert(1)</script> =1+1", Declared(captions="<img src=x onerror=alert(1)>"), paper="=cmd()")
    names = dict(enumerate(VOC5.names)) | {99: "<script>alert(2)</script>"}
    folder = write(tmp_path / "maps", {k: np.full(few.labels(k).shape, 99) for k in few.keys("val")}, names)
    for handed in (handed_in(folder, few), handed_in(outcome.folder / FOLDER, few)):
        score(handed, told, tmp_path / "runs", "")
    made = write_report([outcome.folder, tmp_path / "runs"], tmp_path / "report")
    page = made.page.read_text()
    assert made.runs == 3 and not made.left_out
    assert "<script>alert" not in page and "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and page.count("the submitter") >= 2
    rows = made.tables["runs.csv"].read_text().splitlines()
    assert len(rows) == 4 and not any(cell.startswith("=") for row in rows for cell in row.split(","))


def test_a_split_that_ends_elsewhere_is_limited_by_the_edition() -> None:
    split = load_split("coco15")
    data = Painted(
        {f"{n}": np.zeros((1, 1), np.uint8) for n in range(1000)}, origin=Origin("real", "COCO-Stuff 10k v1.1", "")
    )
    assert falls_short(data, split, 1000) is False and falls_short(data, split, 999) is True
    whole = replace(data, origin=Origin("real", "COCO-Stuff 164k", ""))
    assert falls_short(whole, split, 1000) is True
    assert falls_short(replace(data, origin=Origin("drawn", "", "")), split, 1000) is False


# The command

Ask = Callable[..., Result]


@pytest.fixture
def ask(scenes: Path, tmp_path: Path) -> Ask:
    def ask(*args: object) -> Result:
        common = ["--split", "voc5", "--name", "Mine", "--data", scenes, "--out", tmp_path / "runs"]
        return CliRunner().invoke(main, ["score", *map(str, [*args, *common])])

    return ask


def test_the_command_prints_scores_and_path(exported: dict[tuple[str, str], Outcome], ask: Ask, tmp_path: Path) -> None:
    run = exported["colours", "voc5"]
    assert run.record is not None
    result = ask(run.folder / FOLDER, "--partial")
    assert result.exit_code == 0, result.output
    record = next((tmp_path / "runs").rglob("record.json"))
    unseen = 100 * run.record["scores"]["unseen"]["miou"]
    assert f"unseen only {unseen:.1f} [" in result.stdout and str(record) in result.stdout
    assert "20 of 60 images (limited" in result.stdout and "0 of" in result.stdout
    assert "cached" in ask(run.folder / FOLDER, "--partial").stdout
    printed = json.loads(ask(run.folder / FOLDER, "--partial", "--json").stdout)
    assert printed == json.loads(record.read_text())
    only = ask(run.folder / FOLDER / "all", "--partial", "--masks", "seen", "--tuned-on", "nothing")
    assert (
        "unseen only: not submitted; the best of all names does not say" in only.stdout
        and "unseen only –" in only.stdout
    )


def test_the_command_says_what_share_was_missed(dataset: VocDataset, ask: Ask, tmp_path: Path) -> None:
    maps = {key: np.where(dataset.labels(key) == 15, 0, dataset.labels(key)) for key in dataset.keys("val")}
    person = sum(int((dataset.labels(key) == 15).sum()) for key in maps)
    scored = sum(int(((dataset.labels(key) > 0) & (dataset.labels(key) < 255)).sum()) for key in maps)
    folder = write(tmp_path / "maps", maps, IDS)
    (folder / "notes\x1b[2J.txt").touch()
    result = ask(folder)
    assert "ignored, named after no image: notes�[2J.txt" in result.stdout
    assert f"{person:,} of {scored:,} scored pixels have no candidate" in result.stdout
    assert f"({100 * person / scored:.2f} %: background {person:,}); counted as missed" in result.stdout


def test_pngs_and_a_partial_list(dataset: VocDataset, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    for key in dataset.keys("val")[:5]:
        Image.fromarray(dataset.labels(key)).save(tmp_path / "maps" / f"{key}.png")
    (tmp_path / "names.json").write_text(json.dumps(list(VOC_CLASSES)))
    refused = ask(tmp_path / "maps", "--classes", tmp_path / "names.json")
    assert refused.exit_code == 2 and "55 of 60 images have no label map" in refused.stderr
    result = ask(tmp_path / "maps", "--classes", tmp_path / "names.json", "--partial")
    assert "5 of 60 images (limited: not for ranking)" in result.stdout and "seen 100.0  unseen 100.0" in result.stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["absent"], "no such folder"),
        (["."], "images have no label map"),
        ([".", "--url", "ftp://x"], "--url 'ftp://x'"),
        ([".", "--masks", "all"], "Invalid value for '--masks'"),
    ],
)
def test_mistakes_are_one_sentence(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = ask(*args)
    assert result.exit_code == 2 and words in result.stderr and "Traceback" not in result.output
    assert not (tmp_path / "runs").exists()


def test_help_is_instant() -> None:
    heavy = "print([name for name in ('torch', 'numpy', 'PIL') if name in sys.modules])"
    code = f"import sys; from zsbench.cli import main; main(['score', '--help'], standalone_mode=False); {heavy}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]") and "--unseen-predictions" in done.stdout


def test_nothing_is_counted_twice_by_looking(tmp_path: Path) -> None:
    """The hash is over what the maps mean, so that a map saved in another format is the same submission."""
    maps = random_maps(4)
    made: list[Counted] = [count(handed_in(write(tmp_path / "a", maps, IDS), Painted(maps)))]
    (tmp_path / "b").mkdir()
    for key, ids in maps.items():
        Image.fromarray(ids).save(tmp_path / "b" / f"{key}.png")
    made.append(count(handed_in(tmp_path / "b", Painted(maps), classes=tmp_path / "a/classes.txt")))
    assert made[0].sha256 == made[1].sha256 and made[0].pixels.tolist() == made[1].pixels.tolist()
