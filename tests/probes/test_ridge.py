"""The ridge from statistics against scikit-learn's on explicitly upsampled features."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from worlds import GRID, GROUPS, SAMPLES, depth_world, linear, pixel_table

from ldmscene.cells import Cells
from ldmscene.errors import InputError, ShapeError
from ldmscene.probes import Moments, assign_folds, gather_moments, group_labels, group_targets, moments, solve
from ldmscene.probes.choice import check_alphas, choose

ALPHAS = [0.1, 10.0, 1000.0, 1e5]
MODES = ["nearest", "bilinear"]


def folds_of(X: np.ndarray, y: np.ndarray, mode: str = "nearest", n_folds: int = 3) -> list[Moments]:
    (targets,) = group_labels({"depth": y}, GRID, mode)
    return gather_moments(X, targets, assign_folds(SAMPLES, n_folds, GROUPS), n_folds)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_equals_ridge_on_upsampled_features(mode: str, fit_intercept: bool, alpha: float) -> None:
    X, y = depth_world(mode=mode)
    table, labels, _ = pixel_table(X, y, mode)
    expected = Ridge(alpha=alpha, fit_intercept=fit_intercept, solver="svd").fit(table, labels)
    solution = solve(folds_of(X, y, mode), alpha, fit_intercept=fit_intercept)
    np.testing.assert_allclose(solution.coef[0], expected.coef_, atol=1e-8)
    np.testing.assert_allclose(solution.intercept[0], expected.intercept_, atol=1e-7)
    np.testing.assert_allclose(linear(table, solution)[:, 0], expected.predict(table), atol=1e-7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_held_out_errors_are_those_of_explicit_fits(mode: str, standardize: bool, fit_intercept: bool) -> None:
    X, y = depth_world(mode=mode)
    table, labels, sample = pixel_table(X, y, mode)
    solution = solve(folds_of(X, y, mode), ALPHAS, standardize=standardize, fit_intercept=fit_intercept)
    expected = np.empty((3, len(ALPHAS)))
    for k, (_, held_out) in enumerate(GroupKFold(3).split(np.zeros(SAMPLES), groups=GROUPS)):
        test = np.isin(sample, held_out)
        for a, alpha in enumerate(ALPHAS):
            model = Ridge(alpha=alpha, fit_intercept=fit_intercept, solver="svd")
            if standardize:
                model = make_pipeline(StandardScaler(with_mean=fit_intercept), model)
            model.fit(table[~test], labels[~test])
            expected[k, a] = np.mean((model.predict(table[test]) - labels[test]) ** 2)
    np.testing.assert_allclose(solution.errors[..., 0], expected, rtol=1e-8)
    np.testing.assert_allclose(solution.path[:, 0], expected.mean(0), rtol=1e-8)
    assert solution.alpha[0] == ALPHAS[int(expected.mean(0).argmin())]
    assert np.ptp(expected.mean(0)) > 0.01


def test_standardised_coefficients_are_for_the_features_as_they_came() -> None:
    X, y = depth_world()
    table, labels, _ = pixel_table(X, y)
    model = make_pipeline(StandardScaler(), Ridge(alpha=500.0, solver="svd")).fit(table, labels)
    solution = solve(folds_of(X, y), 500.0, standardize=True)
    np.testing.assert_allclose(linear(table, solution)[:, 0], model.predict(table), atol=1e-8)


def test_a_constant_feature_is_harmless() -> None:
    X, y = depth_world()
    X[..., 2] = 0.1
    for standardize in (False, True):
        solution = solve(folds_of(X, y), ALPHAS, standardize=standardize)
        assert abs(solution.coef[0, 2]) < 1e-6


@pytest.mark.parametrize("alpha", [1e-12, 1e-6, 1.0])
@pytest.mark.parametrize(("n", "rank"), [(40, 3), (6, 30)])
def test_what_the_features_do_not_span_gets_no_coefficient(n: int, rank: int, alpha: float) -> None:
    rng = np.random.default_rng(7)
    X = rng.normal(size=(n, min(rank, 30))) @ rng.normal(size=(rank, 30)) + 5
    y = rng.normal(size=n)
    solution = solve([Moments.of(X, None, y)], alpha)
    # In the space that the samples span, where nothing is singular.
    u, s, vt = np.linalg.svd(X - X.mean(0), full_matrices=False)
    kept = s > 1e-10 * s[0]
    expected = (s[kept] / (s[kept] ** 2 + alpha) * (u.T @ y)[kept]) @ vt[kept]
    np.testing.assert_allclose(solution.coef[0], expected, atol=1e-9 * np.abs(expected).max())


def test_targets_are_solved_together_as_they_are_alone() -> None:
    X, depth = depth_world(holes=False)
    labels = {"depth": depth, "noise": np.random.default_rng(1).normal(size=depth.shape), "other": depth**2}
    (targets,) = group_labels(labels, GRID)
    fold = assign_folds(SAMPLES, 3, GROUPS)
    together = solve(gather_moments(X, targets, fold, 3), ALPHAS)
    for t, one in enumerate(labels.values()):
        alone = solve(folds_of(X, one), ALPHAS)
        np.testing.assert_allclose(together.coef[t], alone.coef[0], atol=1e-10)
        np.testing.assert_allclose(together.errors[..., t], alone.errors[..., 0], rtol=1e-10)
    assert together.alpha[1] == max(ALPHAS)
    assert together.alpha[0] < max(ALPHAS)


def test_targets_are_grouped_by_their_labelled_pixels() -> None:
    X, holed = depth_world()
    whole = np.nan_to_num(holed)
    labels = {"a": whole, "b": holed, "c": whole + 1, "d": holed - 1}
    for groups in (
        group_labels(labels, GRID),
        group_labels(labels, GRID, "bilinear"),
        group_targets({name: Cells.of(label, GRID) for name, label in labels.items()}),
    ):
        assert [group.names for group in groups] == [("a", "c"), ("b", "d")]
        np.testing.assert_allclose(moments(X, groups[0]).cyy, SAMPLES * 96 * np.var(whole), rtol=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_sample_weights_are_repetitions(mode: str) -> None:
    X, y = depth_world(mode=mode)
    weight = np.arange(SAMPLES) % 3
    (weighted,) = group_labels({"depth": y}, GRID, mode, weight)
    (repeated,) = group_labels({"depth": y.repeat(weight, 0)}, GRID, mode)
    a, b = moments(X, weighted), moments(X.repeat(weight, 0), repeated)
    for name in ("weight", "mean_x", "mean_y", "cxx", "cxy", "cyy"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-9, atol=1e-9)


def test_far_off_means_do_not_change_the_coefficients() -> None:
    X, y = depth_world()
    near, far = solve(folds_of(X, y), ALPHAS), solve(folds_of(X + 1e6, y + 1e6), ALPHAS)
    np.testing.assert_allclose(far.coef, near.coef, rtol=1e-6)
    np.testing.assert_allclose(far.errors, near.errors, rtol=1e-6)


def test_empty_folds_are_left_out() -> None:
    X, y = depth_world()
    folds = folds_of(X, y)
    np.testing.assert_array_equal(solve([*folds, Moments.empty(5, 1)], ALPHAS).errors, solve(folds, ALPHAS).errors)


def test_ties_go_to_the_larger_strength() -> None:
    errors = np.array([[[3.0], [1.0], [1.0 + 1e-15], [2.0]]] * 2)
    assert choose(errors).tolist() == [2]


def test_one_standard_error_prefers_simpler_models() -> None:
    errors = np.array([[1.0, 1.2, 3.0], [2.0, 2.1, 3.5], [3.0, 2.9, 4.5]])[..., None]
    assert choose(errors).tolist() == [0]
    assert choose(errors, one_standard_error=True).tolist() == [1]
    X, y = depth_world()
    plain = solve(folds_of(X, y), ALPHAS)
    simple = solve(folds_of(X, y), ALPHAS, one_standard_error=True)
    assert simple.alpha[0] >= plain.alpha[0]


@pytest.mark.parametrize("alphas", [[], [0.0, 1.0], [-1.0], [np.nan], [np.inf], "many", None])
def test_alphas_must_be_positive(alphas: object) -> None:
    with pytest.raises(InputError, match="alphas: expected positive numbers"):
        check_alphas(alphas)  # type: ignore[arg-type]


def test_alphas_are_put_in_order() -> None:
    np.testing.assert_array_equal(check_alphas([10, 0.1, 10]), [0.1, 10])


def test_what_cannot_be_solved_is_said() -> None:
    X, y = depth_world()
    with pytest.raises(InputError, match="target 0 is constant"):
        solve(folds_of(X, np.full_like(y, 0.1)), ALPHAS)
    with pytest.raises(InputError, match="at least 2 folds"):
        solve(folds_of(X, y)[:1], ALPHAS)
    with pytest.raises(InputError, match="at least one sample with a label"):
        solve(folds_of(X, np.full_like(y, np.nan)), ALPHAS)
    with pytest.raises(InputError, match="upsample"):
        group_labels({"depth": y}, GRID, "bicubic")
    with pytest.raises(ShapeError, match="X: expected maps"):
        moments(X[1:], group_labels({"depth": y}, GRID)[0])
    X[9, 1, 1, 0] = np.nan
    for mode in MODES:
        with pytest.raises(InputError, match="X: sample 9 holds NaN"):
            moments(X, group_labels({"depth": y}, GRID, mode)[0])
