"""Constant predictions and empty masks: defined, counted and never dropped."""

from __future__ import annotations

import numpy as np
import pytest

from ldmscene.metrics import METRICS, Truth

rng = np.random.default_rng(0)
LABELS = rng.normal(5, 2, (2, 8, 8))
LABELS[1] = 0.1  # the second image is constant, at a value that binary fractions can't hold
VARYING = rng.normal(size=(2, 4, 4))


@pytest.mark.parametrize("name", ["spearman", "pearson"])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 / 3])
def test_correlation_with_a_constant_is_zero(name: str, constant: float) -> None:
    truth, metric = Truth.of(LABELS, (4, 4)), METRICS[name]
    assert metric.score(truth, np.full((2, 4, 4), constant)).tolist() == [0, 0]
    assert metric.degenerate(truth, np.full((2, 4, 4), constant)).tolist() == [True, True]
    scores = metric.score(truth, VARYING)
    assert scores[0] != 0
    assert scores[1] == 0
    assert metric.degenerate(truth, VARYING).tolist() == [False, True]


def test_r2_of_a_constant_label_follows_scikit_learn() -> None:
    truth, metric = Truth.of(np.ones((2, 8, 8)), (4, 4)), METRICS["r2"]
    prediction = np.stack([np.ones((4, 4)), VARYING[0]])
    assert metric.score(truth, prediction).tolist() == [1, 0]
    assert metric.degenerate(truth, prediction).tolist() == [True, True]


def test_rmse_is_always_measured() -> None:
    truth = Truth.of(LABELS, (4, 4))
    assert not METRICS["rmse"].degenerate(truth, np.zeros((2, 4, 4))).any()


def test_empty_masks() -> None:
    labels = np.zeros((3, 8, 8))
    labels[2, :4] = 1
    truth = Truth.of(labels, (4, 4))
    prediction = np.zeros((3, 4, 4), dtype=bool)
    prediction[1, 0] = True
    for name in ("dice", "iou"):
        scores = METRICS[name].score(truth, prediction)
        np.testing.assert_allclose(scores, [1, 0, 0], atol=1e-9)
        assert METRICS[name].degenerate(truth, prediction).tolist() == [True, True, True]
    background = METRICS["dice_background"]
    assert not background.degenerate(truth, prediction).any()
    np.testing.assert_allclose(background.score(truth, prediction), [1, 96 / 112, 64 / 96], atol=1e-9)
    assert background.degenerate(truth, np.ones((3, 4, 4))).all()


def test_average_precision_without_foreground_is_zero() -> None:
    truth, metric = (
        Truth.of(np.stack([np.zeros((8, 8)), np.ones((8, 8))]), (4, 4)),
        METRICS["average_precision"],
    )
    np.testing.assert_allclose(metric.score(truth, VARYING), [0, 1])
    assert metric.degenerate(truth, VARYING).all()


@pytest.mark.parametrize("name", METRICS)
def test_degenerate_has_the_shape_of_the_score(name: str) -> None:
    metric = METRICS[name]
    labels = LABELS > 5 if metric.kind == "binary" else LABELS
    prediction = rng.normal(size=(3, 2, 4, 4)) > 0
    truth = Truth.of(labels, (4, 4))
    flags = metric.degenerate(truth, prediction)
    assert flags.dtype == bool
    assert flags.shape == metric.score(truth, prediction).shape == (3, 2)
