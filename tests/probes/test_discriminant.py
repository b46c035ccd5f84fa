"""Log odds from a ridge's statistics against scikit-learn's linear discriminant analysis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge

from ldmscene.probes import Moments, Spectrum, log_odds


def _classes(seed: int, share: float, n: int = 400, c: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.random(n) < share
    y[:2] = True, False
    return rng.normal(size=(n, c)) @ rng.normal(size=(c, c)) + np.outer(y, rng.normal(size=c)) + 100, y


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95), st.floats(-3, 5))
def test_log_odds_are_those_of_a_discriminant_along_the_ridge(seed, share, power):
    X, y = _classes(seed, share)
    alpha = 10.0**power
    train = Moments.of(X, None, y)
    coef, intercept = log_odds(train, 0, Spectrum.of(train).coef(np.array([alpha]))[0, 0])
    along = Ridge(alpha=alpha).fit(X, y).predict(X)[:, None]
    expected = LinearDiscriminantAnalysis().fit(along, y).decision_function(along)
    np.testing.assert_allclose(X @ coef + intercept, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_without_a_penalty_it_is_the_discriminant_of_all_features(share):
    X, y = _classes(3, share)
    train = Moments.of(X, None, y)
    coef, intercept = log_odds(train, 0, Spectrum.of(train).coef(np.array([1e-9]))[0, 0])
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(X, y).decision_function(X)
    np.testing.assert_allclose(X @ coef + intercept, expected, rtol=1e-6, atol=1e-6)


def test_classes_that_are_told_apart_perfectly_have_finite_log_odds():
    y = np.repeat([False, True], [30, 10])
    X = np.column_stack([y * 2.0 - 1, np.zeros(40)])
    train = Moments.of(X, None, y)
    coef, intercept = log_odds(train, 0, Spectrum.of(train).coef(np.array([1e-6]))[0, 0])
    assert np.isfinite(coef).all()
    np.testing.assert_array_equal(X @ coef + intercept > 0, y)


def test_features_that_say_nothing_leave_the_prior():
    y = np.repeat([False, True], [30, 10])
    train = Moments.of(np.ones((40, 3)), None, y)
    coef, intercept = log_odds(train, 0, np.zeros(3))
    np.testing.assert_array_equal(coef, 0)
    assert intercept == pytest.approx(np.log(10 / 30))
