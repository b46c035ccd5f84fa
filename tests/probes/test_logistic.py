"""The logistic regression on cells against scikit-learn's on explicit pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from worlds import GRID, GROUPS, SAMPLES, linear, mask_world, pixel_table

from ldmscene.cells import Cells, block_sum
from ldmscene.errors import InputError
from ldmscene.probes import LogisticSolution, assign_folds, fit_logistic, logistic
from ldmscene.probes.families import Binomial, Multinomial

ALPHAS = [0.1, 10.0, 1000.0]


def fitted(X: np.ndarray, y: np.ndarray, alphas: object, folds: int = 0, **options: object) -> LogisticSolution:
    fold = assign_folds(SAMPLES, folds, GROUPS) if folds else None
    classes = int(np.nanmax(y)) + 1
    if classes > 2:
        weight = block_sum(~np.isnan(y), GRID)
        counts = np.stack([block_sum(y == k, GRID) for k in range(classes)], -1)
    else:
        cells = Cells.of(y, GRID)
        weight, counts = cells.weight, cells.total
    return fit_logistic(X, weight, counts, fold, alphas, **options)  # type: ignore[arg-type]


def reference(alpha: float, fit_intercept: bool = True) -> LogisticRegression:
    return LogisticRegression(
        C=1 / alpha, fit_intercept=fit_intercept, tol=1e-12, max_iter=10_000, solver="newton-cholesky"
    )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_equals_scikit_learn_on_pixels(classes: int, fit_intercept: bool, alpha: float) -> None:
    X, y = mask_world(classes=classes)
    table, labels, _ = pixel_table(X, y)
    expected = reference(alpha, fit_intercept).fit(table, labels)
    solution = fitted(X, y, alpha, fit_intercept=fit_intercept)
    assert solution.converged
    np.testing.assert_allclose(solution.coef, expected.coef_, atol=1e-6)
    intercept = expected.intercept_ - (expected.intercept_.mean() if classes > 2 else 0)
    np.testing.assert_allclose(solution.intercept, intercept, atol=1e-5)
    assert np.abs(solution.coef).max() > 1e-3


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("standardize", [False, True])
def test_held_out_losses_are_those_of_explicit_fits(classes: int, standardize: bool) -> None:
    X, y = mask_world(classes=classes)
    table, labels, sample = pixel_table(X, y)
    solution = fitted(X, y, ALPHAS, folds=3, standardize=standardize)
    expected = np.empty((3, len(ALPHAS)))
    for k, (_, held_out) in enumerate(GroupKFold(3).split(np.zeros(SAMPLES), groups=GROUPS)):
        test = np.isin(sample, held_out)
        for a, alpha in enumerate(ALPHAS):
            model = reference(alpha)
            model = make_pipeline(StandardScaler(), model) if standardize else model
            model.fit(table[~test], labels[~test])
            expected[k, a] = log_loss(labels[test], model.predict_proba(table[test]))
    np.testing.assert_allclose(solution.errors, expected, rtol=1e-5)
    assert solution.alpha == ALPHAS[int(expected.mean(0).argmin())]
    assert np.ptp(expected.mean(0)) > 1e-4


def test_standardised_coefficients_are_for_the_features_as_they_came() -> None:
    X, y = mask_world()
    table, labels, _ = pixel_table(X, y)
    model = make_pipeline(StandardScaler(), reference(100.0)).fit(table, labels)
    solution = fitted(X, y, 100.0, standardize=True)
    np.testing.assert_allclose(linear(table, solution)[:, 0], model.decision_function(table), atol=1e-6)


def test_float16_features_are_solved_to_float64_accuracy() -> None:
    X, y = mask_world()
    half = X.astype(np.float16)
    table, labels, _ = pixel_table(half, y)
    solution = fitted(half, y, ALPHAS, folds=3)
    expected = reference(solution.alpha).fit(table.astype(float), labels)
    np.testing.assert_allclose(solution.coef, expected.coef_, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_path_that_float32_cannot_follow_goes_on_in_float64(dtype: type) -> None:
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(1000, 20)) * np.logspace(0, -5, 20)) @ np.linalg.qr(rng.normal(size=(20, 20)))[0]
    y = (X[:, 0] / X[:, 0].std() + rng.logistic(size=1000) > 0).astype(float)
    X, fold, alphas = X.astype(dtype), np.arange(1000) % 5, (1e-6, 1e-4, 1e-2, 1)
    solution = fit_logistic(X, np.ones(1000), y, fold, alphas)
    exact = fit_logistic(X.astype(np.float64), np.ones(1000), y, fold, alphas)
    assert solution.converged
    np.testing.assert_allclose(solution.errors, exact.errors, rtol=np.sqrt(1e-9))  # the path's own accuracy
    np.testing.assert_allclose(linear(X, solution), linear(X, exact), atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("positions", [1, 100])
@pytest.mark.parametrize("alpha", [1e-3, 10.0])
def test_a_start_from_some_of_the_positions_ends_at_the_same_optimum(
    classes: int, positions: int, alpha: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(classes)
    X = rng.normal(size=(3000 // positions, positions, 6)) + 10
    z = X @ rng.normal(size=6) + rng.logistic(size=X.shape[:2])
    y = np.digitize(z, np.quantile(z, np.arange(1, classes) / classes))
    counts = y if classes == 2 else y[..., None] == np.arange(classes)
    family, passes = Binomial if classes == 2 else Multinomial, []
    hessians = family.hessians

    def counted(self: Any, theta: np.ndarray) -> np.ndarray:
        passes.append(self.rows.rows.weight.size)
        return hessians(self, theta)

    monkeypatch.setattr(family, "hessians", counted)
    solution = fit_logistic(X, np.ones(y.shape), counts, None, alpha)
    of_all = passes.count(3000)
    assert passes.count(3000 // 8) + passes.count(30 * 13) == len(passes) - of_all
    monkeypatch.setattr(logistic, "_ENOUGH", 1e9)
    fit_logistic(X, np.ones(y.shape), counts, None, alpha)
    assert of_all < passes.count(3000) - of_all
    expected = reference(alpha).fit(X.reshape(-1, 6), y.ravel())
    assert solution.converged
    np.testing.assert_allclose(solution.coef, expected.coef_, atol=1e-6)


def test_means_far_from_zero_do_not_matter() -> None:
    X, y = mask_world()
    near, far = fitted(X, y, ALPHAS, folds=3), fitted(X + 1e6, y, ALPHAS, folds=3)
    np.testing.assert_allclose(far.coef, near.coef, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(far.errors, near.errors, rtol=1e-6)


@pytest.mark.parametrize("alpha", [1e-6, 1e-3])
def test_separable_data_reach_the_penalised_optimum(alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = mask_world(holes=False)
    y = (X[..., 0] > X[..., 0].mean()).repeat(2, 1).repeat(4, 2).astype(float)
    solution = fitted(X, y, [alpha, 1.0, 1e3], folds=3)
    alone = fitted(X, y, alpha, tol=1e-18, max_iter=500)
    assert alone.converged
    table, labels, _ = pixel_table(X, y)
    share = 1 / (1 + np.exp(-np.clip(linear(table, alone)[:, 0], -700, 700)))
    gradient = table.T @ (share - labels) + alpha * alone.coef[0]
    assert np.abs(gradient).max() < 1e-4 * alpha * np.abs(alone.coef).max() + 1e-7
    assert solution.converged
    # Where a pixel's loss is next to nothing, a path within 5e-10 of it is coarse.
    monkeypatch.setattr(logistic, "_PATH_TOLERANCE", 1e-15)
    exact = fitted(X, y, [alpha, 1.0, 1e3], folds=3)
    np.testing.assert_allclose(solution.errors, exact.errors, rtol=0.01)
    sample = pixel_table(X, y)[2]
    for k, (_, held_out) in enumerate(GroupKFold(3).split(np.zeros(SAMPLES), groups=GROUPS)):
        test = np.isin(sample, held_out)
        for a, strength in enumerate(solution.alphas):
            model = reference(strength).fit(table[~test], labels[~test])
            expected = log_loss(labels[test], model.predict_proba(table[test]))
            np.testing.assert_allclose(exact.errors[k, a], expected, rtol=1e-4)


def test_a_training_fold_of_one_class_stays_finite() -> None:
    X, y = mask_world(holes=False)
    y[GROUPS != 3] = 0
    solution = fitted(X, y, ALPHAS, folds=7)
    assert solution.converged
    assert np.isfinite(solution.errors).all()


def test_too_few_passes_are_reported() -> None:
    X, y = mask_world()
    assert not fitted(X, y, 1e-3, max_iter=1).converged
    assert not fitted(X, y, ALPHAS, folds=3, max_iter=1).converged


def test_coefficients_are_those_of_the_classes_log_odds() -> None:
    X, y = mask_world(classes=3)
    solution = fitted(X, y, 1.0)
    table, labels, _ = pixel_table(X, y)
    scores = log_softmax(linear(table, solution), axis=1)
    np.testing.assert_allclose(scores, reference(1.0).fit(table, labels).predict_log_proba(table), atol=1e-6)


def test_what_cannot_be_solved_is_said() -> None:
    X, y = mask_world()
    with pytest.raises(InputError, match="one class"):
        fitted(X, np.zeros_like(y), 1.0)
    with pytest.raises(InputError, match="at least one sample with a label"):
        fit_logistic(X, np.zeros(X.shape[:3]), np.zeros(X.shape[:3]), None, 1.0)
    with pytest.raises(InputError, match="at least 2 folds"):
        fitted(X, y, ALPHAS)
    X[6, 0, 0, 1] = np.inf
    with pytest.raises(InputError, match="X: sample 6 holds NaN or infinity"):
        fitted(X, y, 1.0)
