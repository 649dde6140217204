"""Counting, scores, intervals and the record's numbers, held against brute force and against other libraries."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsbench.bootstrap import bootstrap, resample
from zsbench.errors import UserError
from zsbench.image_counts import ImageCounts
from zsbench.metrics import ConfusionMatrix, Tally, harmonic
from zsbench.scoring import chance, summarise
from zsbench.split import Split

SEEDS = range(12)


def split_of(seen: int, unseen: int) -> Split:
    names = [f"class{i}" for i in range(seen + unseen)]
    return Split("toy", "toy", "Toy", "made up", tuple(names[:seen]), tuple(names[seen:]), "ignore", "drop")


def noise_maps(seed: int, n: int, shape: tuple[int, ...] = (31, 40)) -> tuple[np.ndarray, np.ndarray]:
    """Random label maps: a tenth of the labels ignored, about a third of the classes absent from the labels."""
    random = np.random.default_rng(seed)
    present = random.permutation(n)[: max(2, 2 * n // 3)]
    true = random.choice(present, size=shape).astype(np.uint8)
    true[random.random(shape) < 0.1] = 255
    predicted = np.where(random.random(shape) < 0.4, true, random.integers(0, n, shape))
    return true, np.where(predicted == 255, 0, predicted).astype(np.uint8)


def smooth_maps(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The same with stretches of one value, as real label maps have."""
    true, predicted = noise_maps(seed, n, (6, 7))
    return np.kron(true, np.ones((9, 11), np.uint8)), np.kron(predicted, np.ones((9, 11), np.uint8))


MAPS = pytest.mark.parametrize("maps", [noise_maps, smooth_maps])


def brute_force(true: np.ndarray, predicted: np.ndarray, n: int, first: int = 0) -> np.ndarray:
    counts = np.zeros((n - first, n - first), int)
    for row, column in zip(true.ravel().tolist(), predicted.ravel().tolist(), strict=True):
        if first <= row < n:
            counts[row - first, column - first] += 1
    return counts


def counted(seen: int, unseen: int, images: int, seed: int = 0, correct: float = 0.6) -> ImageCounts:
    """Counts of random images in all four scopes; the oracle ones are right everywhere."""
    random = np.random.default_rng(seed)
    whole, n = ImageCounts(seen, unseen), seen + unseen
    for image in range(images):
        true = random.integers(0, n, (12, 12)).astype(np.uint8)
        scores = random.random((n, 12, 12)) + (true == np.arange(n)[:, None, None]) * correct
        fill(whole, f"image{image:03}", true, scores)
    return whole


def fill(whole: ImageCounts, image: str, true: np.ndarray, scores: np.ndarray) -> None:
    first = whole.seen
    whole.count(image, "all", true, scores.argmax(0))
    whole.count(image, "unseen", true, scores[first:].argmax(0) + first)
    whole.count(image, "oracle-all", true, np.minimum(true, whole.names - 1))
    whole.count(image, "oracle-unseen", true, np.clip(true, first, whole.names - 1))


# --- counting -----------------------------------------------------------------------------------------------------


@MAPS
@pytest.mark.parametrize("n", [2, 5, 21, 171])
@pytest.mark.parametrize("first", [0, 1])
def test_counts_equal_brute_force(maps, n, first):
    for seed in SEEDS:
        true, predicted = maps(seed, n)
        predicted = np.maximum(predicted, first)
        counts = ConfusionMatrix.count(true, predicted, n, first).counts
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(counts, brute_force(true, predicted, n, first))


@MAPS
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64])
def test_every_integer_type_counts_the_same(maps, dtype):
    true, predicted = maps(3, 7)
    wide = true.astype(dtype)  # 255 becomes -1 in int8: no candidate either
    assert ConfusionMatrix.count(wide, predicted.astype(dtype), 7) == ConfusionMatrix.count(true, predicted, 7)


def test_layout_in_memory_changes_nothing():
    true, predicted = noise_maps(0, 6)
    expected = ConfusionMatrix.count(true, predicted, 6)
    assert ConfusionMatrix.count(true.T, predicted.T, 6) == expected
    assert ConfusionMatrix.count(np.asfortranarray(true), predicted, 6) == expected
    assert ConfusionMatrix.count(true[None, ::-1], predicted[None, ::-1], 6) == expected


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 255),
    st.lists(st.tuples(st.integers(-3, 300), st.integers(0, 254), st.integers(1, 40)), max_size=30),
)
def test_any_stretches_of_any_labels(n, stretches):
    lengths = [length for *_, length in stretches]
    true = np.repeat(np.array([t for t, *_ in stretches], np.int64), lengths)
    predicted = np.repeat(np.array([p % n for _, p, _ in stretches], np.int64), lengths)
    np.testing.assert_array_equal(ConfusionMatrix.count(true, predicted, n).counts, brute_force(true, predicted, n))


@pytest.mark.parametrize("n", [254, 255])
def test_the_most_classes_a_label_map_can_hold(n):
    true = np.arange(256, dtype=np.uint8)
    predicted = np.minimum(true, n - 1)
    np.testing.assert_array_equal(ConfusionMatrix.count(true, predicted, n).counts, np.eye(n, dtype=int))


@pytest.mark.parametrize("value", [5, 254, 255])
def test_a_prediction_out_of_range_raises_even_on_ignored_pixels(value):
    true, predicted = np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8)
    predicted[2, 2] = value
    with pytest.raises(ValueError, match=rf"ids 0\.\.4, got values from 0 to {value}"):
        ConfusionMatrix.count(true, predicted, 5)


def test_a_prediction_below_the_candidates_raises():
    with pytest.raises(ValueError, match=r"ids 0\.\.2"):
        ConfusionMatrix.count(np.zeros(3, int), np.array([0, -1, 0]), 3)
    with pytest.raises(ValueError, match=r"ids 2\.\.3"):
        ConfusionMatrix.count(np.array([2, 3, 3]), np.array([2, 1, 3]), 4, first=2)


def test_maps_that_are_no_label_maps_are_refused():
    whole = np.zeros((2, 3), np.uint8)
    with pytest.raises(ValueError, match="shape"):
        ConfusionMatrix.count(whole, whole.T, 2)
    with pytest.raises(ValueError, match="whole numbers"):
        ConfusionMatrix.count(whole, whole.astype(float), 2)
    with pytest.raises(ValueError, match="candidate ids"):
        ConfusionMatrix.count(whole, whole, 256)
    with pytest.raises(ValueError, match="candidate ids"):
        ConfusionMatrix.count(whole, whole, 3, first=3)


@pytest.mark.parametrize("counts", [np.zeros((2, 3), int), np.zeros(4, int), np.eye(2), np.array([[1, -1], [0, 0]])])
def test_arrays_that_are_no_matrix_are_refused(counts):
    with pytest.raises(ValueError, match="a confusion matrix"):
        ConfusionMatrix(counts)


def test_a_matrix_cannot_be_written_into():
    source = np.eye(3, dtype=np.int64)
    matrix = ConfusionMatrix(source)
    source[0, 0] = 7
    assert matrix.counts[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        matrix.counts[0, 0] = 7


@MAPS
def test_parts_add_up_to_the_whole_in_any_order(maps):
    true, predicted = maps(1, 9)
    whole = ConfusionMatrix.count(true, predicted, 9)
    parts = [ConfusionMatrix.count(t, p, 9) for t, p in zip(true, predicted, strict=True)]
    for order in (parts, parts[::-1], [parts[i] for i in np.random.default_rng(0).permutation(len(parts))]):
        assert sum(order, ConfusionMatrix.empty(9)) == whole
    with pytest.raises(ValueError, match="cannot add"):
        whole + ConfusionMatrix.empty(8)


def test_counts_far_above_two_to_the_32_stay_exact():
    big = 2**53 + 1
    total = ConfusionMatrix(np.array([[big, 1], [0, 3]])) + ConfusionMatrix(np.array([[2, 0], [0, 0]]))
    assert total.counts[0, 0] == big + 2
    assert total.pixels[0] == big + 3
    small = ConfusionMatrix(np.array([[3, 1], [2, 5]], np.uint8))
    assert sum([small] * 200, ConfusionMatrix.empty(2)).counts[1, 1] == 1000


# --- scores -------------------------------------------------------------------------------------------------------


@MAPS
def test_scores_agree_with_sklearn(maps):
    from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, recall_score

    for seed in SEEDS:
        for n in (2, 4, 21):
            true, predicted = maps(seed, n)
            matrix, scored = ConfusionMatrix.count(true, predicted, n), true != 255
            flat = true[scored], predicted[scored]
            present = np.unique(flat[0])
            np.testing.assert_array_equal(matrix.counts, confusion_matrix(*flat, labels=range(n)))
            assert matrix.classes_scored == len(present)
            assert matrix.classes_absent == sorted(set(range(n)) - set(present.tolist()))
            tally = matrix.tally
            expected = jaccard_score(*flat, labels=present, average="macro", zero_division=0)
            assert tally.miou() == pytest.approx(expected, abs=1e-12)
            np.testing.assert_allclose(
                matrix.iou[present], jaccard_score(*flat, labels=present, average=None), atol=1e-12
            )
            assert tally.mean_accuracy() == pytest.approx(recall_score(*flat, labels=present, average="macro"))
            assert tally.pixel_accuracy() == pytest.approx(accuracy_score(*flat))
            assert np.isnan(matrix.iou[matrix.classes_absent]).all()


@MAPS
def test_counts_and_recall_agree_with_torchmetrics(maps):
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.classification", reason="torchmetrics is not installed")
    for seed in SEEDS:
        true, predicted = maps(seed, 11)
        rival = classification.MulticlassConfusionMatrix(11, ignore_index=255)
        rival.update(torch.from_numpy(predicted.astype(np.int64)), torch.from_numpy(true.astype(np.int64)))
        matrix = ConfusionMatrix.count(true, predicted, 11)
        np.testing.assert_array_equal(matrix.counts, rival.compute().numpy())


def test_scores_of_a_matrix_worked_out_by_hand():
    matrix = ConfusionMatrix(np.array([[6, 2, 0, 0], [1, 3, 0, 4], [0, 0, 0, 0], [0, 0, 0, 0]]))
    np.testing.assert_allclose(matrix.iou, [6 / 9, 3 / 10, np.nan, np.nan])
    np.testing.assert_allclose(matrix.recall, [6 / 8, 3 / 8, np.nan, np.nan])
    np.testing.assert_array_equal(matrix.pixels, [8, 8, 0, 0])
    assert matrix.classes_absent == [2, 3]  # 3 is predicted, yet absent: the error is class 1's
    tally = matrix.tally
    assert tally.miou() == pytest.approx((6 / 9 + 3 / 10) / 2)
    assert tally.miou(slice(1, 4)) == pytest.approx(3 / 10)
    assert tally.pixel_accuracy() == pytest.approx(9 / 16)
    assert tally.pixel_accuracy(slice(1, 4)) == pytest.approx(3 / 8)
    assert tally.mean_accuracy() == pytest.approx((6 / 8 + 3 / 8) / 2)


def test_perfect_is_one_and_never_right_is_zero():
    true = np.arange(5).repeat(20)
    perfect, wrong = ConfusionMatrix.count(true, true, 5), ConfusionMatrix.count(true, (true + 1) % 5, 5)
    assert (perfect.iou == 1).all()
    assert perfect.tally.miou() == perfect.tally.pixel_accuracy() == 1
    assert (wrong.iou == 0).all()
    assert wrong.tally.miou() == wrong.tally.mean_accuracy() == 0


def test_nothing_labelled_is_nan_and_not_zero_and_warns_of_nothing():
    true = np.full((5, 5), 255, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tally = ConfusionMatrix.count(true, np.zeros_like(true), 3).tally
        scores = [tally.miou(), tally.mean_accuracy(), tally.pixel_accuracy(), *tally.iou, *tally.recall]
        assert np.isnan(scores).all()
        assert np.isnan(tally.miou(slice(0, 0)))
        empty = ConfusionMatrix.count(np.zeros(0, np.uint8), np.zeros(0, np.uint8), 3)
    assert empty == ConfusionMatrix.empty(3)


@MAPS
def test_renaming_the_classes_only_moves_the_results(maps):
    true, predicted = maps(5, 8)
    order = np.random.default_rng(0).permutation(8)
    renamed = np.full(256, 255, np.uint8)
    renamed[:8] = order
    before = ConfusionMatrix.count(true, predicted, 8)
    after = ConfusionMatrix.count(renamed[true], renamed[predicted], 8)
    np.testing.assert_array_equal(after.iou[order], before.iou)
    np.testing.assert_array_equal(after.counts[np.ix_(order, order)], before.counts)
    assert after.tally.miou() == pytest.approx(before.tally.miou(), abs=1e-15)


@pytest.mark.parametrize("k", [2, 5, 20])
def test_chance_levels_are_what_ignorance_scores(k):
    random = np.random.default_rng(0)
    true = np.arange(k).repeat(400_000 // k)
    guess = ConfusionMatrix.count(true, random.integers(0, k, true.size), k).tally
    constant = ConfusionMatrix.count(true, np.zeros_like(true), k).tally
    level = chance(k)
    assert guess.pixel_accuracy() == pytest.approx(level["accuracy"], abs=0.005)
    assert guess.miou() == pytest.approx(level["miou"], abs=0.005)
    assert constant.miou() == pytest.approx(level["constant_miou"], abs=1e-12)


def test_recall_with_unseen_candidates_is_at_least_that_with_all():
    for seed in SEEDS:
        whole = counted(4, 3, images=2, seed=seed, correct=0.3)
        restricted, everything = whole.total("unseen").tally, whole.total("all").tally
        unseen = slice(4, None)
        assert (restricted.recall >= everything.recall[unseen]).all()
        assert restricted.pixel_accuracy() > everything.pixel_accuracy(unseen)


@pytest.mark.parametrize(
    ("seen", "unseen", "expected"), [(0.6, 0.3, 0.4), (0.0, 0.5, 0), (0.5, 0.0, 0), (0.0, 0.0, 0), (1, 1, 1)]
)
def test_harmonic_mean(seen, unseen, expected):
    assert harmonic(seen, unseen) == pytest.approx(expected)
    assert harmonic(unseen, seen) == pytest.approx(expected)


def test_harmonic_mean_of_an_absent_side_is_absent():
    assert np.isnan(harmonic(np.nan, 0.5))
    assert np.isnan(harmonic(0.0, np.nan))
    np.testing.assert_array_equal(harmonic(np.array([1.0, np.nan, 0]), np.array([1.0, 1, 1])), [1, np.nan, 0])


# --- intervals ----------------------------------------------------------------------------------------------------


def test_resamples_are_sums_over_drawn_images():
    per_image = counted(3, 2, images=7).tally("all")
    drawn = resample(per_image, resamples=250, seed=4)
    random = np.random.default_rng(4)
    images = np.vstack([random.integers(7, size=(rows, 7)) for rows in (100, 100, 50)])
    for mine, theirs in ((drawn.correct, per_image.correct), (drawn.predicted, per_image.predicted)):
        np.testing.assert_array_equal(mine, theirs[images].sum(axis=1))
    assert drawn.truth.shape == (250, 5)


def test_interval_holds_the_score_and_shrinks_with_more_images():
    widths = []
    for images in (10, 40, 160):
        whole = counted(3, 2, images=images, seed=1)
        low, high = bootstrap(whole.tally("all"), Tally.miou)
        assert low < whole.total("all").tally.miou() < high
        widths.append(high - low)
    assert widths[0] > 1.4 * widths[1] > 1.4**2 * widths[2]


def test_interval_depends_on_the_seed_and_on_nothing_else():
    whole = counted(3, 2, images=20)
    tally = whole.tally("all")
    assert bootstrap(tally, Tally.miou, seed=3) == bootstrap(tally, Tally.miou, seed=3)
    assert bootstrap(tally, Tally.miou, seed=3) != bootstrap(tally, Tally.miou, seed=4)
    wide, narrow = bootstrap(tally, Tally.miou, level=0.99), bootstrap(tally, Tally.miou, level=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Images of one rate of right pixels: accuracy over 60 of them, 200 times, at level 0.9."""
    random = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        truth = np.full((60, 1), 100)
        correct = random.binomial(100, random.beta(6, 4, (60, 1)))
        low, high = bootstrap(Tally(correct, truth, truth), Tally.pixel_accuracy, 300, seed=trial, level=0.9)
        inside += low <= 0.6 <= high
    assert 0.82 < inside / 200 < 0.96


def test_a_class_missing_from_a_resample_is_left_out_there():
    truth = np.array([[10, 0], [0, 10]])
    per_image = Tally(truth * [[1, 0], [0, 0]], truth, truth)  # image 0 all right, image 1 (class 1) all wrong
    ious = resample(per_image, 500, seed=0).miou()
    assert set(np.unique(ious)) == {0.0, 0.5, 1.0}


def test_no_interval_from_fewer_than_two_images_or_without_a_score():
    assert bootstrap(counted(3, 2, images=1).tally("all"), Tally.miou) is None
    assert bootstrap(ImageCounts(3, 2).tally("all"), Tally.miou) is None
    nothing = Tally(*np.zeros((3, 5, 4), int))
    assert bootstrap(nothing, Tally.miou) is None


# --- image by image -----------------------------------------------------------------------------------------------


def test_image_counts_total_is_the_count_of_everything():
    maps = [noise_maps(seed, 6) for seed in range(4)]
    whole = ImageCounts(4, 2)
    for number, (true, predicted) in enumerate(maps):
        whole.count(str(number), "all", true, predicted)
        whole.count(str(number), "unseen", true, np.maximum(predicted, 4))
    true, predicted = np.stack([t for t, _ in maps]), np.stack([p for _, p in maps])
    assert whole.total("all") == ConfusionMatrix.count(true, predicted, 6)
    np.testing.assert_array_equal(whole.total("unseen").counts, brute_force(true, np.maximum(predicted, 4), 6, 4))
    for scope in ("all", "unseen"):
        summed, tally = whole.total(scope).tally, whole.tally(scope)
        for column in ("correct", "truth", "predicted"):
            np.testing.assert_array_equal(getattr(tally, column).sum(axis=0), getattr(summed, column))


def test_parquet_round_trip_and_parts_in_any_order(tmp_path: Path):
    split, whole = split_of(3, 2), counted(3, 2, images=6)
    frame = whole.frame()
    assert list(frame.columns) == ["image", "scope", "true", "predicted", "pixels"]
    assert [str(frame[column].dtype) for column in ("true", "predicted", "pixels")] == ["int16", "int16", "int64"]
    assert (frame["pixels"] > 0).all()
    images = [f"image{i:03}" for i in range(6)]
    for number, keys in enumerate((images[:1], images[1:4], images[4:])):
        part = ImageCounts.from_frame(frame[frame["image"].isin(keys)], split)
        part.write(tmp_path / f"part{number}.parquet")
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 3
    for order in (paths, paths[::-1], [paths[1], paths[0], paths[2]]):
        merged = ImageCounts.read(order, split)
        assert merged.frame().equals(frame)
        assert merged.total("unseen") == whole.total("unseen")
        assert summarise(merged, split) == summarise(whole, split)


def test_an_empty_part_is_a_part(tmp_path: Path):
    split, path = split_of(3, 2), tmp_path / "empty.parquet"
    ImageCounts.of(split).write(path)
    assert ImageCounts.read([path], split).total("all") == ConfusionMatrix.empty(5)


def test_an_image_counted_twice_is_refused():
    whole = counted(3, 2, images=2)
    with pytest.raises(ValueError, match="image 'image000' is counted twice"):
        whole.merge(counted(3, 2, images=2, seed=5))
    with pytest.raises(ValueError, match="counted twice in scope 'all'"):
        whole.append("image000", "all", ConfusionMatrix.empty(5))


def test_counts_that_do_not_fit_are_refused():
    whole = counted(3, 2, images=2)
    with pytest.raises(ValueError, match="2 candidates, got 5"):
        whole.append("new", "unseen", ConfusionMatrix.empty(5))
    with pytest.raises(ValueError, match="no scope named"):
        whole.append("new", "everything", ConfusionMatrix.empty(5))
    with pytest.raises(ValueError, match="different splits"):
        whole.merge(ImageCounts(4, 1))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("scope", "both", "no scope named 'both'"),
        ("true", 5, "'true' holds ids"),
        ("predicted", -1, "'predicted' holds ids"),
        ("pixels", 0, "positive counts"),
        ("pixels", 0.5, "whole numbers"),
        ("image", None, "'image' is missing"),
    ],
)
def test_a_file_that_holds_no_counts_is_named(tmp_path: Path, column, value, message):
    frame, path = counted(3, 2, images=2).frame(), tmp_path / "counts.parquet"
    frame = frame.drop(columns=column) if value is None else frame.assign(**{column: value})
    frame.to_parquet(path)
    with pytest.raises(UserError, match=message) as caught:
        ImageCounts.read([path], split_of(3, 2))
    assert str(path) in str(caught.value)


def test_a_repeated_cell_a_broken_file_and_a_missing_file_are_named(tmp_path: Path):
    import pandas as pd

    frame, split = counted(3, 2, images=2).frame(), split_of(3, 2)
    twice, broken = tmp_path / "twice.parquet", tmp_path / "broken.parquet"
    pd.concat([frame, frame.head(1)]).to_parquet(twice)
    broken.write_bytes(twice.read_bytes()[:300])
    for path, message in ((twice, "occurs twice"), (broken, "broken.parquet"), (tmp_path / "none", "no per-image")):
        with pytest.raises(UserError, match=message):
            ImageCounts.read([path], split)


# --- the record's numbers -----------------------------------------------------------------------------------------


def finite_or_null(value: object) -> bool:
    if isinstance(value, dict):
        return all(finite_or_null(item) for item in value.values())
    if isinstance(value, list):
        return all(finite_or_null(item) for item in value)
    return not isinstance(value, float) or (math.isfinite(value) and 0 <= value <= 1)


def test_summary_has_the_fields_of_a_record():
    split = split_of(3, 2)
    summary = summarise(counted(3, 2, images=8), split, seed=0)
    assert set(summary) == {"scores", "confusion"}
    unseen, everything = summary["scores"]["unseen"], summary["scores"]["all"]
    means = {"miou", "interval", "pixel_accuracy", "mean_accuracy", "classes_scored", "classes_absent"}
    assert set(unseen) == means | {"candidates", "pixels", "chance", "oracle", "classes"}
    assert set(everything) == {
        *("candidates", "pixels", "pixel_accuracy", "mean_accuracy", "miou"),
        *("seen", "unseen", "harmonic", "oracle", "classes"),
    }
    assert set(everything["seen"]) == set(everything["unseen"]) == means
    assert set(everything["harmonic"]) == {"miou", "interval"}
    assert list(unseen["classes"]) == unseen["candidates"] == list(split.unseen)
    assert list(everything["classes"]) == everything["candidates"] == list(split.names)
    assert [entry["group"] for entry in everything["classes"].values()] == ["seen"] * 3 + ["unseen"] * 2
    assert unseen["chance"] == {"accuracy": 1 / 2, "miou": 1 / 3, "constant_miou": 1 / 4}
    assert finite_or_null(summary["scores"])
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary  # plain types only


def test_summary_holds_the_numbers_of_the_matrices():
    split, whole = split_of(3, 2), counted(3, 2, images=8)
    summary = summarise(whole, split)
    unseen, everything = summary["scores"]["unseen"], summary["scores"]["all"]
    total, all_names = whole.total("unseen").tally, whole.total("all").tally
    assert unseen["miou"] == total.miou()
    assert unseen["pixels"] == total.truth.sum()
    assert everything["pixels"] == 8 * 144
    assert everything["miou"] == all_names.miou()
    assert everything["seen"]["miou"] == all_names.miou(slice(0, 3))
    assert everything["unseen"]["miou"] == all_names.miou(slice(3, 5))
    assert everything["unseen"]["pixel_accuracy"] == all_names.pixel_accuracy(slice(3, 5))
    assert everything["harmonic"]["miou"] == harmonic(everything["seen"]["miou"], everything["unseen"]["miou"])
    assert unseen["oracle"] == {"miou": 1.0, "interval": [1.0, 1.0]}
    assert everything["oracle"] == {"miou": 1.0}
    assert everything["classes"]["class4"]["recall"] == all_names.recall[4]
    assert everything["classes"]["class4"]["images"] == 8
    assert summary["confusion"]["all"] == whole.total("all").counts.tolist()
    assert np.shape(summary["confusion"]["unseen"]) == (2, 2)
    for block in (unseen, everything["seen"], everything["unseen"], everything["harmonic"]):
        assert block["interval"][0] < block["miou"] < block["interval"][1]


def test_summary_reports_an_absent_class_by_name():
    whole = ImageCounts(2, 2)
    for image in ("a", "b"):
        whole.count(image, "all", np.array([0, 0, 2, 255]), np.array([0, 1, 2, 3]))
        whole.count(image, "unseen", np.array([0, 0, 2, 255]), np.array([2, 2, 2, 3]))
    scores = summarise(whole, split_of(2, 2))["scores"]
    assert scores["unseen"]["classes_absent"] == ["class3"]
    assert scores["unseen"]["classes_scored"] == 1
    assert scores["unseen"]["miou"] == 1.0
    assert scores["unseen"]["chance"]["accuracy"] == 0.5  # an absent class still competes
    assert scores["all"]["seen"]["miou"] == 0.5
    assert scores["all"]["seen"]["classes_absent"] == ["class1"]
    assert scores["all"]["harmonic"]["miou"] == pytest.approx(2 / 3)
    absent = {"iou": None, "recall": None, "pixels": 0, "images": 0, "group": "unseen"}
    assert scores["all"]["classes"]["class3"] == absent
    assert scores["all"]["oracle"] is None
    assert scores["unseen"]["oracle"] is None


def test_summary_of_nothing_labelled_is_null_and_not_zero():
    whole = ImageCounts(2, 2)
    ignored = np.full(9, 255, np.uint8)
    for image in ("a", "b"):
        whole.count(image, "all", ignored, np.zeros_like(ignored))
        whole.count(image, "unseen", ignored, np.full_like(ignored, 2))
    scores = summarise(whole, split_of(2, 2))["scores"]
    for block in (scores["unseen"], scores["all"]["seen"], scores["all"]["unseen"]):
        assert block["miou"] is block["interval"] is block["pixel_accuracy"] is block["mean_accuracy"] is None
        assert block["classes_scored"] == 0
    assert scores["all"]["miou"] is None
    assert scores["all"]["harmonic"] == {"miou": None, "interval": None}


def test_summary_of_a_split_where_every_class_is_unseen():
    scores = summarise(counted(0, 4, images=3), split_of(0, 4))["scores"]
    nothing = {"miou": None, "interval": None, "pixel_accuracy": None, "mean_accuracy": None}
    assert scores["all"]["seen"] == {**nothing, "classes_scored": 0, "classes_absent": []}
    assert scores["all"]["harmonic"] == {"miou": None, "interval": None}
    assert scores["all"]["unseen"]["miou"] == scores["unseen"]["miou"] > 0


def test_one_image_has_scores_without_intervals():
    scores = summarise(counted(3, 2, images=1), split_of(3, 2))["scores"]
    assert scores["unseen"]["miou"] > 0
    assert scores["unseen"]["interval"] is None
    assert scores["all"]["harmonic"]["interval"] is None
