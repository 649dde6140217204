"""The guard: what reaches a method, what does not, and three canaries that try.

A canary is a method that cheats if it can. It must score at chance; and the same canary with the guard taken away must
score high, or the test would prove nothing. They use what a method is handed and what it finds on the machine; that code
which switches the guard off on purpose can do so is said in `zsbench/data/guard.py`.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from zsbench import evaluation, runner
from zsbench.data import view as view_module
from zsbench.data.captions import open_captions
from zsbench.data.guard import GuardError, admitted, locked
from zsbench.data.vectors import open_vectors
from zsbench.data.view import Items, TrainView, guarded_view
from zsbench.data.voc import VocDataset
from zsbench.errors import UserError
from zsbench.runner import Plan
from zsbench.split import Split, load_split
from zsbench.supervision import Supervision

CANARIES = Path(__file__).parent / "canaries"
CHANCE, HIGH = 0.2, 0.6  # uniform guessing among five names: 0.11
VOC5 = load_split("voc5")


def run(canary: str, dataset: VocDataset, out: Path, seed: int = 0, split: Split = VOC5) -> float:
    """mIoU over unseen pixels and unseen names of one run, as `zsbench run` makes it."""
    torch.manual_seed(0)
    plan = Plan(dataset, dataset.root, torch.device("cpu"), "fp32", out=out)
    outcome = runner.execute(runner.prepare(plan, str(CANARIES / f"{canary}.py"), split, seed, {}))
    assert outcome.record is not None, outcome.message
    assert outcome.record["scores"]["unseen"]["classes_scored"] == 5
    return float(outcome.record["scores"]["unseen"]["miou"])


def canary(name: str) -> Any:
    """The canary's module as it was last loaded."""
    return sys.modules[f"zsbench_method_{name}"]


def take_masking_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def labelled(split: Split, dataset: VocDataset, keys: list[str]) -> Items:
        def item(key: str) -> tuple[np.ndarray, np.ndarray]:
            return dataset.image(key), view_module.to_split_ids(dataset.labels(key), dataset.classes, split.names)

        return Items(len(keys), lambda positions: [item(keys[i]) for i in positions])

    monkeypatch.setattr(view_module, "_labelled", labelled)


def take_lock_away(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (runner, evaluation):
        monkeypatch.setattr(module, "locked", lambda *_: nullcontext())


def take_fresh_modules_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "load_method", functools.cache(runner.load_method))


class Copied(VocDataset):
    """The data set with its validation pictures as training list, under names that no comparison of lists finds."""

    def keys(self, part: str) -> Sequence[str]:
        return [f"copy of {key}" for key in super().keys("val")] if part == "trainaug" else super().keys(part)

    def image(self, key: str) -> np.ndarray:
        return super().image(key.removeprefix("copy of "))

    def labels(self, key: str) -> np.ndarray:
        return super().labels(key.removeprefix("copy of "))


# Canary 1: labels


@pytest.mark.parametrize("policy", ["mask", "drop"])
def test_a_method_that_memorises_unseen_labels_is_at_chance(dataset: VocDataset, tmp_path: Path, policy: Any) -> None:
    assert run("labels", dataset, tmp_path, split=replace(VOC5, train_policy=policy)) <= CHANCE
    module = canary("labels")
    assert module.FOUND, "the canary reached no data set: it proves nothing"
    assert module.REFUSED and all(isinstance(error, GuardError) for error in module.REFUSED)


def test_without_masking_it_scores_high(dataset: VocDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_masking_away(monkeypatch)
    assert run("labels", dataset, tmp_path) > HIGH


def test_without_the_lock_it_scores_high(dataset: VocDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_lock_away(monkeypatch)
    assert run("labels", dataset, tmp_path) > HIGH


# Canary 2: paths and file names


def test_a_method_that_looks_for_the_files_is_at_chance(
    dataset: VocDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ZSBENCH_DATA", str(dataset.root))
    assert run("paths", dataset, tmp_path) <= CHANCE
    errors = [error for error in canary("paths").REFUSED if isinstance(error, GuardError)]
    assert len(errors) > 100, "it did not know where to look: it proves nothing"


@pytest.mark.parametrize("place", ["ZSBENCH_DATA", "ZSBENCH_CACHE"])
def test_without_the_lock_it_finds_every_answer(
    dataset: VocDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    take_lock_away(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(place, str(dataset.root if place == "ZSBENCH_DATA" else dataset.root.parent))
    assert run("paths", dataset, tmp_path) > 0.99


def test_a_method_that_reads_before_and_beside_fit_is_at_chance(
    dataset: VocDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ZSBENCH_DATA", str(dataset.root))
    assert run("early", dataset, tmp_path) <= CHANCE


def test_a_method_that_finds_a_copy_in_the_cache_is_at_chance(
    dataset: VocDataset, tmp_path: Path, own_places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(dataset.root, own_places / "scenes-v1-seed0")
    assert run("paths", dataset, tmp_path) <= CHANCE


# Canary 3: the val set of an earlier call


def twice(dataset: VocDataset, out: Path) -> float:
    assert run("memory", dataset, out, seed=0) <= CHANCE, "nothing is known the first time"
    return run("memory", dataset, out, seed=1)


def test_a_method_that_keeps_the_val_set_is_at_chance(dataset: VocDataset, tmp_path: Path) -> None:
    assert twice(dataset, tmp_path) <= CHANCE


def test_any_one_of_three_guards_stops_it_and_without_them_it_scores_high(dataset: VocDataset, tmp_path: Path) -> None:
    remove = {"masking": take_masking_away, "fresh modules": take_fresh_modules_away, "separate lists": None}
    for kept in (*remove, None):
        with pytest.MonkeyPatch.context() as patch:
            for guard, take_away in remove.items():
                if guard != kept and take_away:
                    take_away(patch)
            data = dataset if kept == "separate lists" else Copied(**vars(dataset))
            score = twice(data, tmp_path / str(kept))
        assert score <= CHANCE if kept else score > 0.99, f"kept: {kept}"


# Canary 4: class vectors

VECTORS = '''"""Canary: asks for the vectors of unseen classes in training, and for every name it can think of in evaluation."""
from dataclasses import dataclass
import numpy as np
import torch
from zsbench.data.universes import VOC_CLASSES
from zsbench.supervision import Supervision

GOT = {}  # when -> rows

@dataclass(frozen=True)
class Vectors:
    unseen_names: str = "evaluation"
    ask: str = "unseen"  # names asked for in fit: seen, unseen, both

    @property
    def supervision(self):
        return Supervision(vectors="factor", unseen_names=self.unseen_names)

    def fit(self, data, job):
        GOT.clear()
        unseen = [name for name in VOC_CLASSES[1:] if name not in data.seen]
        heard = [name for name in unseen if repr(name) in repr(job.facts)]
        GOT["told"] = (list(data.unseen), heard, list(data.vectors.ledger()["words"]))
        names = {"seen": list(data.seen), "unseen": unseen, "both": [*data.seen, unseen[-1]]}[self.ask]
        GOT["fit"] = data.vectors.rows(names)

        def segment(images, names):
            GOT["evaluation"] = data.vectors.rows(names)
            return torch.zeros(len(images), len(names), 2, 2)

        return segment
'''


def ask(dataset: VocDataset, folder: Path, limit: int = 2, **given: str) -> tuple[runner.Outcome, dict[str, Any]]:
    (folder / "vectors.py").write_text(VECTORS)
    plan = Plan(dataset, dataset.root, torch.device("cpu"), "fp32", out=folder / "runs", limit=limit)
    outcome = runner.execute(runner.prepare(plan, str(folder / "vectors.py"), VOC5, 0, given))
    return outcome, dict(canary("vectors").GOT)


@pytest.mark.parametrize("asked", ["unseen", "both"])
def test_vectors_of_unseen_classes_are_closed_while_a_method_fits(
    dataset: VocDataset, tmp_path: Path, asked: str
) -> None:
    outcome, got = ask(dataset, tmp_path, ask=asked)
    assert outcome.status == "failed" and outcome.message.startswith("GuardError: no vector is open")
    assert "fit" not in got and got["told"] == ([], [], list(VOC5.seen)), "their names are closed as well"


def test_they_are_open_when_it_segments(dataset: VocDataset, tmp_path: Path) -> None:
    outcome, got = ask(dataset, tmp_path, ask="seen")
    assert outcome.record is not None, outcome.message
    assert list(outcome.record["supervision"]["vectors"]["words"]) == list(VOC5.names)
    rows = np.load(dataset.root / "semantics/factor300.npy")
    ids = [dataset.classes.index(name) for name in VOC5.names]
    assert np.array_equal(got["fit"], rows[ids[:15]]) and np.array_equal(got["evaluation"], rows[ids])


def test_what_one_run_opened_is_closed_to_its_next_start(dataset: VocDataset, tmp_path: Path) -> None:
    (tmp_path / "vectors.py").write_text(VECTORS)
    plan = Plan(dataset, dataset.root, torch.device("cpu"), "fp32", out=tmp_path / "runs", limit=2, force=True)
    prepared = runner.prepare(plan, str(tmp_path / "vectors.py"), VOC5, 0, {"ask": "seen"})
    for _ in range(2):
        assert runner.execute(prepared).status == "done"
        assert canary("vectors").GOT["told"][2] == list(VOC5.seen)
        assert prepared.vectors is not None
        with pytest.raises(GuardError):
            prepared.vectors.rows(VOC5.unseen)


@pytest.mark.parametrize("asked", ["seen", "unseen", "both"])
def test_a_method_that_declares_it_trains_with_them(dataset: VocDataset, tmp_path: Path, asked: str) -> None:
    outcome, got = ask(dataset, tmp_path, ask=asked, unseen_names="training")
    assert outcome.status == "done" and got["told"] == (list(VOC5.unseen), [], list(VOC5.names))
    assert outcome.record is not None and outcome.record["supervision"]["unseen_names"] == "training"


# What reaches a method


def test_a_training_image_is_no_validation_image(dataset: VocDataset) -> None:
    shared = replace(
        dataset, parts=dict(dataset.parts) | {"trainaug": dataset.parts["val"][-1:] + dataset.parts["train"]}
    )
    with pytest.raises(
        UserError, match=f"1 training images are validation images too, e.g. {dataset.parts['val'][-1]}"
    ):
        guarded_view(VOC5, shared, Supervision(captions=False))


def view(dataset: VocDataset, split: Split = VOC5, corpus: Any = None, **declared: Any) -> TrainView:
    return guarded_view(split, dataset, Supervision(**declared), corpus)


def unseen_pixels(dataset: VocDataset, key: str) -> np.ndarray:
    return np.isin(dataset.labels(key), [dataset.classes.index(name) for name in VOC5.unseen])


def test_mask_takes_every_unseen_label_and_no_seen_one(dataset: VocDataset) -> None:
    items = view(dataset, masks="seen").labelled
    assert items is not None and len(items) == len(dataset.keys("trainaug"))
    taken = 0
    for key, (image, labels) in zip(dataset.keys("trainaug"), items.fetch(range(len(items))), strict=True):
        whole, unseen = dataset.labels(key), unseen_pixels(dataset, key)
        foreground = ~unseen & (whole != 0) & (whole != 255)
        assert (labels[~foreground] == 255).all()
        assert [VOC5.seen[i] for i in labels[foreground]] == [dataset.classes[i] for i in whole[foreground]]
        assert np.array_equal(image, dataset.image(key))
        taken += unseen.sum()
    assert taken > 0


def test_drop_leaves_no_image_with_an_unseen_pixel(dataset: VocDataset) -> None:
    items = view(dataset, replace(VOC5, train_policy="drop"), masks="seen").labelled
    keys = dataset.keys("trainaug")
    clean = [key for key in keys if not unseen_pixels(dataset, key).any()]
    assert items is not None and 0 < len(items) == len(clean) < len(keys)
    came = [image.tobytes() for image, _ in items.fetch(range(len(items)))]
    assert came == [dataset.image(key).tobytes() for key in clean]


def test_masks_are_refused_under_the_policy_none(dataset: VocDataset) -> None:
    with pytest.raises(UserError, match="has no mask-labelled training images"):
        view(dataset, load_split("voc20"), masks="seen")


def test_captions_are_asked_for_where_there_are_none(dataset: VocDataset) -> None:
    with pytest.raises(UserError, match="--captions"):
        guarded_view(VOC5, dataset, Supervision(captions=True), None)


DOORS = [
    ("masks", "seen", "labelled"),
    ("captions", True, "captions"),
    ("unlabelled", "train", "unlabelled"),
    ("layout", "unseen", "layout"),
    ("unseen_names", "training", "unseen"),
    ("vectors", "factor", "vectors"),
]


@pytest.mark.parametrize(("field", "value", "door"), DOORS)
def test_what_is_declared_opens_one_door(dataset: VocDataset, scenes: Path, field: str, value: Any, door: str) -> None:
    corpus, vectors = open_captions("web", drawn_root=scenes), open_vectors("random", VOC5, dataset, scenes, VOC5.names)

    def handed(**declared: Any) -> TrainView:
        return guarded_view(VOC5, dataset, Supervision(**declared), corpus, vectors=vectors)

    assert handed() == TrainView(VOC5.seen), "nothing declared, nothing there"
    got = vars(handed(**{field: value}))
    assert [name for name, there in got.items() if there not in (None, ())] == ["seen", door]


def test_unseen_names_come_only_to_a_method_that_declares_it(dataset: VocDataset) -> None:
    assert view(dataset).unseen == ()
    assert view(dataset, unseen_names="training").unseen == VOC5.unseen


def test_layout_shows_unseen_labels_without_pictures(dataset: VocDataset) -> None:
    items = view(dataset, layout="unseen").layout
    assert items is not None
    maps = items.fetch(range(len(items)))
    assert all(isinstance(labels, np.ndarray) and labels.ndim == 2 for labels in maps)
    assert max(labels[labels != 255].max(initial=0) for labels in maps) == len(VOC5.names) - 1


def test_items_are_arrays_and_captions_and_never_keys(dataset: VocDataset, scenes: Path) -> None:
    corpus = open_captions("web", drawn_root=scenes)
    got = view(dataset, corpus=corpus, masks="seen", captions=True, unlabelled="train")
    assert got.labelled and got.unlabelled and got.captions
    arrays = [part for item in got.labelled.fetch(range(20)) for part in item] + got.unlabelled.fetch(range(20))
    assert all(type(part) is np.ndarray for part in arrays)
    pairs = got.captions.fetch(range(64))
    assert all(type(image) is np.ndarray and type(text) is str for image, text in pairs)
    keys = {key for part in dataset.parts.values() for key in part} | {key for key, _ in corpus.texts()}
    assert not [text for _, text in pairs if any(key in text for key in keys)]


# The lock


@contextmanager
def refused(why: str = "may not open") -> Iterator[None]:
    with pytest.raises(GuardError, match=why):
        yield


def ways(file: Path) -> dict[str, Any]:
    return {
        "open": lambda: open(file, "rb").close(),  # noqa: PTH123
        "os.open": lambda: os.close(os.open(file, os.O_RDONLY)),
        "pathlib": file.read_bytes,
        "bytes": lambda: open(os.fsencode(file), "rb").close(),  # noqa: PTH123
        "listdir": lambda: os.listdir(file.parent),  # noqa: PTH208
        "scandir": lambda: list(os.scandir(file.parent)),
        "glob": lambda: list(file.parent.glob("*")),
        "pillow": lambda: Image.open(file),
        "numpy": lambda: np.fromfile(file, np.uint8),
        "relative": lambda: Path(os.path.relpath(file)).read_bytes(),
        "chdir": lambda: os.chdir(file.parent),
        "hard link": lambda: os.link(file, file.parent.parent.parent / "linked"),
        "rename": lambda: os.rename(file, file),  # noqa: PTH104
    }


@pytest.mark.parametrize("way", ways(Path()))
def test_a_locked_folder_cannot_be_opened(dataset: VocDataset, way: str) -> None:
    action = ways(next((dataset.root / "SegmentationClass").glob("*.png")))[way]
    with locked(dataset.root), refused():
        action()


def test_a_symbolic_link_opens_no_door(dataset: VocDataset, tmp_path: Path) -> None:
    (tmp_path / "door").symlink_to(dataset.root)
    with locked(dataset.root), refused():
        (tmp_path / "door/meta.json").read_text()


def test_the_lock_holds_in_other_threads_and_admits_one_thread_only(dataset: VocDataset) -> None:
    file, caught = dataset.root / "meta.json", []

    def read() -> None:
        try:
            file.read_text()
        except GuardError as error:
            caught.append(error)

    with locked(dataset.root), admitted():
        assert file.read_text()
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert len(caught) == 1


def test_the_lock_opens_again_and_closes_nothing_else(dataset: VocDataset, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("open")
    beside = dataset.root.with_name(dataset.root.name + "-beside")
    beside.write_text("open")
    with locked(dataset.root):
        with locked(tmp_path), refused():
            (tmp_path / "other").read_text()
        assert (tmp_path / "other").read_text() == beside.read_text() == "open"
        with refused():
            (dataset.root / "meta.json").read_text()
    assert (dataset.root / "meta.json").read_text()


def test_a_methods_own_iterable_does_not_run_inside_the_door(dataset: VocDataset) -> None:
    view = guarded_view(VOC5, dataset, Supervision(masks="seen"))
    assert view.labelled is not None
    mask = next((dataset.root / "SegmentationClass").glob("*.png"))

    def positions() -> Any:
        mask.read_bytes()
        yield 0

    with locked(*dataset.protected), pytest.raises(GuardError):
        view.labelled.fetch(positions())
