"""Random functions of features against scikit-learn's kernel and its own sampler of it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler

from ldmscene.errors import InputError
from ldmscene.probes import FourierFeatures, Moments, solve_nested


def data(n: int = 60, c: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, c)) * [1, 5, 0.1, 2][:c] + [0, 100, 3, -1][:c]


def of(X: np.ndarray, **options) -> FourierFeatures:
    return FourierFeatures.of(Moments.of(X, None, X[:, 0]), **options)


@pytest.mark.parametrize("length", [0.5, 1.0, 2.0])
def test_products_come_close_to_the_gaussian_kernel(length: float) -> None:
    X = data()
    waves = of(X, count=20_000, length=length)(X)[:, 4:]
    expected = rbf_kernel(StandardScaler().fit_transform(X), gamma=1 / (2 * length**2 * 2 * 4))
    np.testing.assert_allclose(waves @ waves.T, expected, atol=0.05)


def test_functions_are_those_of_scikit_learn() -> None:
    X = data()
    found = of(X, count=30)
    sampler = RBFSampler(n_components=30).fit(X)
    sampler.random_weights_, sampler.random_offset_ = found.frequencies, found.phases
    np.testing.assert_allclose(found(X)[:, 4:], sampler.transform(StandardScaler().fit_transform(X)))
    np.testing.assert_array_equal(found(X)[:, :4], X)


def test_what_no_line_reads_is_read() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(2000, 2))
    y = X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=2000)
    functions = of(X, count=100)

    def gain(features: np.ndarray) -> float:
        folds = [Moments.of(features[k::5], None, y[k::5]) for k in range(5)]
        return float(solve_nested(folds, 0, np.logspace(-3, 3, 13)).gain[0])

    assert gain(X) < 0.01
    assert gain(functions(X)) > 0.8


def test_seeds_give_the_same_functions_and_others_do_not() -> None:
    X = data()
    np.testing.assert_array_equal(of(X)(X), of(X, seed=0)(X))
    assert not np.allclose(of(X)(X), of(X, seed=1)(X))


@pytest.mark.parametrize("options", [{"count": 0}, {"length": 0.0}])
def test_nothing_to_draw_is_refused(options) -> None:
    with pytest.raises(InputError, match="at least 1 function and a length above 0"):
        of(data(), **options)
