"""Every metric against scipy and scikit-learn on explicitly upsampled maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    jaccard_score,
    r2_score,
    root_mean_squared_error,
)

from ldmscene.cells import spread
from ldmscene.errors import InputError, ShapeError
from ldmscene.metrics import METRICS, Truth
from ldmscene.metrics.ranking import Order

Array = np.ndarray

REFERENCES: dict[str, Callable[[Array, Array], float]] = {
    "spearman": lambda y, p: spearmanr(y, p).statistic,
    "pearson": lambda y, p: pearsonr(y, p).statistic,
    "rmse": root_mean_squared_error,
    "r2": r2_score,
    "dice": f1_score,
    "dice_background": lambda y, p: f1_score(1 - y, ~p),
    "iou": jaccard_score,
    "average_precision": average_precision_score,
}


def labels_for(kind: str, rng: np.random.Generator, ties: bool, holes: bool) -> Array:
    labels = rng.normal(3, 2, (3, 8, 12)) + np.linspace(0, 2, 12)
    labels = (labels > 3.5).astype(float) if kind == "binary" else labels.round(1 if ties else 12)
    if holes:
        labels[0, :3, :5] = np.nan
        labels[2, :, ::3] = np.nan
    return labels


def prediction_for(needs: str, rng: np.random.Generator, ties: bool, steps: tuple[int, ...]) -> Array:
    prediction = rng.normal(3, 2, (*steps, 3, 4, 6)) + np.linspace(0, 2, 6)
    return prediction > 3.5 if needs == "mask" else prediction.round(0 if ties else 12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), ties=st.booleans(), holes=st.booleans(), full=st.booleans())
@pytest.mark.parametrize("name", METRICS)
def test_equals_the_reference_on_pixels(name: str, seed: int, ties: bool, holes: bool, full: bool) -> None:
    metric, rng = METRICS[name], np.random.default_rng(seed)
    labels = labels_for(metric.kind, rng, ties, holes)
    prediction = prediction_for(metric.needs, rng, ties, (2,))
    pixels = spread(prediction, (2, 2))
    truth = Truth.of(labels) if full else Truth.of(labels, (4, 6))
    scores = metric.score(truth, pixels if full else prediction)
    assert scores.shape == (2, 3)
    for step, image in np.ndindex(2, 3):
        known = ~np.isnan(labels[image])
        expected = REFERENCES[name](labels[image][known], pixels[step, image][known])
        # The published smoothing of 1e-8 is the only difference in masks.
        tolerance = 1e-8 if metric.needs == "mask" else 1e-12
        np.testing.assert_allclose(scores[step, image], expected, rtol=1e-12, atol=tolerance)
    assert np.ptp(scores) > 0


def test_every_metric_has_a_reference() -> None:
    assert set(REFERENCES) == set(METRICS)
    assert all(name == metric.name for name, metric in METRICS.items())


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_predictions_of_any_dtype(name: str, dtype: type) -> None:
    metric, rng = METRICS[name], np.random.default_rng(0)
    truth = Truth.of(labels_for(metric.kind, rng, ties=False, holes=True), (4, 6))
    prediction = prediction_for(metric.needs, rng, ties=False, steps=()).astype(dtype)
    expected = metric.score(truth, prediction.astype(np.float64))
    np.testing.assert_allclose(metric.score(truth, prediction), expected, rtol=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_better_predictions_score_better(name: str) -> None:
    metric, rng = METRICS[name], np.random.default_rng(1)
    labels = labels_for(metric.kind, rng, ties=False, holes=False)
    truth = Truth.of(labels)
    noisy = labels + rng.normal(0, 2, labels.shape)
    prediction = np.stack([labels, noisy])
    good, bad = metric.score(truth, prediction > 0.5 if metric.needs == "mask" else prediction).mean(-1)
    assert (good > bad) if metric.higher_is_better else (good < bad)
    np.testing.assert_allclose(good, 1 if metric.higher_is_better else 0, atol=1e-8)


def test_coarsened_truth_equals_one_from_pixels() -> None:
    rng = np.random.default_rng(2)
    labels = labels_for("continuous", rng, ties=True, holes=True)
    coarse, direct = Truth.of(labels, (8, 12)).coarsen((4, 6)), Truth.of(labels, (4, 6))
    prediction = prediction_for("value", rng, ties=True, steps=())
    for name in ("spearman", "pearson", "rmse", "r2"):
        score = METRICS[name].score
        np.testing.assert_allclose(score(coarse, prediction), score(direct, prediction), rtol=1e-12)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("holes", [False, True])
def test_one_map_for_all_images_is_scored_as_its_copies_are(name: str, holes: bool) -> None:
    metric, rng = METRICS[name], np.random.default_rng(3)
    truth = Truth.of(labels_for(metric.kind, rng, ties=True, holes=holes), (4, 6))
    one = np.broadcast_to(prediction_for(metric.needs, rng, ties=True, steps=())[0], truth.cells.weight.shape)
    np.testing.assert_allclose(metric.score(truth, one), metric.score(truth, one.copy()), rtol=1e-12)
    np.testing.assert_array_equal(metric.degenerate(truth, one), metric.degenerate(truth, one.copy()))


@pytest.mark.parametrize("descending", [False, True])
def test_one_map_for_all_images_is_sorted_once(descending: bool) -> None:
    one = np.broadcast_to(np.random.default_rng(3).normal(size=24), (5, 24))
    assert Order.of(one, descending).index.shape == (1, 24)
    assert Order.of(one.copy(), descending).index.shape == (5, 24)


def test_some_images() -> None:
    rng = np.random.default_rng(4)
    truth = Truth.of(labels_for("continuous", rng, ties=False, holes=True), (4, 6))
    prediction = prediction_for("value", rng, ties=False, steps=(2,))
    for name in ("spearman", "rmse", "pearson"):
        score = METRICS[name].score
        np.testing.assert_array_equal(score(truth[1:], prediction[:, 1:]), score(truth, prediction)[:, 1:])


def test_what_cannot_be_scored_is_said() -> None:
    labels = labels_for("continuous", np.random.default_rng(5), ties=False, holes=False)
    truth = Truth.of(labels, (4, 6), ranks=False)
    with pytest.raises(InputError, match="ranks=True"):
        METRICS["spearman"].score(truth, np.zeros((3, 4, 6)))
    with pytest.raises(ShapeError, match="prediction: expected"):
        METRICS["rmse"].score(truth, np.zeros((3, 8, 12)))
    with pytest.raises(ShapeError, match="multiples"):
        Truth.of(labels, (3, 6))
    bad = np.zeros((2, 3, 4, 6))
    bad[0, 1, 2, 3] = np.nan
    with pytest.raises(InputError, match="prediction: image 1 holds NaN"):
        METRICS["rmse"].score(truth, bad)
    labels[2] = np.nan
    with pytest.raises(InputError, match="image 2 has no labelled pixel"):
        Truth.of(labels, (4, 6))
