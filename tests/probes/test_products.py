"""Sums of float32 products against sums in float64, on data that are hard for them."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import linear

from ldmscene.errors import InputError
from ldmscene.probes import Moments, RidgeProbe, RidgeSolution, Targets, moments, solve
from ldmscene.probes.products import sums_of
from ldmscene.probes.targets import moments_by_position

ROWS, CHANNELS = 6000, 24
BOUND = 2 * np.sqrt(1024) * 2.0**-24
"""twice the probabilistic bound of a sum of 1024 float32 products: Higham and Mary (2019), theorem 2.4"""


def world(name: str) -> np.ndarray:
    """Features [n, c] of one kind, before they are stored as float16."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, CHANNELS))
    if name == "far":  # a step of float16 there is a deviation
        return 1e4 + 8 * rng.integers(0, 2, X.shape)
    if name == "rank deficient":
        return np.tile(X[:, : CHANNELS // 4], 4)
    if name == "mixed from few":
        return X[:, :4] @ rng.normal(size=(4, CHANNELS))
    if name == "hot channel":
        X[:, 3] *= 1e4
    if name == "hot rows":
        X[::1000] *= 1e4
    if name == "drifting":
        X += 30 * rng.normal(size=(6, CHANNELS)).repeat(ROWS // 6, 0)
    if name == "whole numbers":
        return np.round(3 * X[:, :6]) @ rng.integers(-2, 3, (6, CHANNELS))
    return X


WORLDS = (
    "plain",
    "far",
    "rank deficient",
    "mixed from few",
    "hot channel",
    "hot rows",
    "drifting",
    "whole numbers",
)


def targets(X: np.ndarray) -> np.ndarray:
    deviation = X.std(0)
    return (X - X.mean(0)) / deviation @ np.linspace(-1, 1, CHANNELS)[:, None] + np.random.default_rng(1).normal(
        size=(len(X), 1)
    )


def both(name: str, weight: np.ndarray | None = None) -> tuple[Moments, Moments]:
    X = world(name).astype(np.float16)
    Y = targets(X.astype(float))
    return tuple(Moments.of(X, weight, Y, precision=precision) for precision in ("float32", "float64"))


def errors(found: Moments, expected: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Of products, as shares of the root of both scatters."""
    dx, dy = np.sqrt(np.diag(expected.cxx)), np.sqrt(expected.cyy)
    return np.abs(found.cxx - expected.cxx) / np.outer(dx, dx), np.abs(found.cxy - expected.cxy) / np.outer(dx, dy)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", WORLDS)
def test_single_products_are_within_their_bound(name: str, weighted: bool) -> None:
    weight = np.random.default_rng(2).integers(0, 65, ROWS).astype(float) if weighted else None
    found, expected = both(name, weight)
    among, across = errors(found, expected)
    assert among.max() < BOUND
    assert across.max() < BOUND
    deviation = np.sqrt(np.diag(expected.cxx) / expected.weight)
    assert (np.abs(found.mean_x - expected.mean_x) < BOUND * deviation).all()
    np.testing.assert_allclose(found.cyy, expected.cyy, rtol=1e-12)
    np.testing.assert_array_equal(found.cxx, found.cxx.T)
    assert (found.rounding > 0).all()
    assert not expected.rounding.any()


@pytest.mark.parametrize("name", ["plain", "mixed from few", "hot channel", "hot rows", "drifting"])
def test_storing_as_float16_loses_more_than_single_products_do(name: str) -> None:
    X = world(name)
    Y = targets(X)
    exact, stored = Moments.of(X, None, Y), Moments.of(X.astype(np.float16), None, Y)
    single = Moments.of(X.astype(np.float16), None, Y, precision="float32")
    assert errors(single, stored)[0].max() < errors(stored, exact)[0].max() / 5


@pytest.mark.parametrize("name", ["far", "whole numbers"])
def test_whole_numbers_lose_nothing(name: str) -> None:
    found, expected = both(name)
    assert errors(found, expected)[0].max() < 1e-14


@pytest.mark.parametrize("alpha", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("name", WORLDS)
def test_ridges_differ_less_than_by_having_stored_their_features(name: str, alpha: float) -> None:
    """Held-out errors, and but for hot rows, on which all there depends, predictions."""
    X = world(name)
    stored, Y = X.astype(np.float16), targets(X)

    def fit(X: np.ndarray, precision: str) -> RidgeSolution:
        halves = slice(0, None, 2), slice(1, None, 2)
        return solve([Moments.of(X[h], None, Y[h], precision=precision) for h in halves], [alpha, 10 * alpha])

    exact, double, single = fit(X, "float64"), fit(stored, "float64"), fit(stored, "float32")
    by_storing, by_products = (np.abs(one.errors / double.errors - 1).max() for one in (exact, single))
    assert by_products < by_storing + 1e-6
    if name != "hot rows":
        predicted = linear(stored, double)
        by_storing, by_products = (
            (linear(features, one) - predicted).std() / predicted.std()
            for one, features in ((exact, X), (single, stored))
        )
        assert by_products < by_storing + 1e-6


def test_features_of_more_digits_have_products_in_float64() -> None:
    X = world("plain").astype(np.float32)
    single, double = (Moments.of(X, None, targets(X), precision=one) for one in ("float32", "float64"))
    np.testing.assert_array_equal(single.cxx, double.cxx)
    assert not single.rounding.any()


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_at_each_position(single: bool, weighted: bool) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(5, 2, (19, 130, 7)).astype(np.float16)
    w = rng.integers(0, 5, (19, 130)).astype(float) if weighted else np.full((19, 130), 64.0)
    found = sums_of(X, w, rng.normal(size=(19, 130, 1)), single=single, positions=True)
    expected = np.einsum("sp,spc->pc", w, X.astype(float) - found.mean_x)
    np.testing.assert_allclose(found.by_position, expected, rtol=1e-6, atol=1e-4 if single else 1e-9)


def test_few_rows_far_from_the_first_guess_are_summed_again() -> None:
    X = np.zeros((4096, 3)) + np.random.default_rng(4).normal(size=(4096, 3))
    X[1:][np.arange(4095) % 16 != 15] += 200  # the rows that are looked at first are among the others
    X = X.astype(np.float16)
    found, expected = (Moments.of(X, None, X[:, 0], precision=one) for one in ("float32", "float64"))
    assert errors(found, expected)[0].max() < BOUND


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_half_names_its_sample(bad: float) -> None:
    X = np.ones((4, 2, 3, 5), np.float16)
    X[2, 1, 1, 1] = bad
    shape = X.shape[:3]
    labels = Targets(("t",), np.ones(shape), np.zeros((*shape, 1)), np.zeros((4, 1)), np.ones((4, 1)))
    for gather in (moments, moments_by_position):
        with pytest.raises(InputError, match="sample 2 "):
            gather(X, labels, "float32")


def test_the_estimator_takes_either_precision() -> None:
    X = world("plain").astype(np.float16)
    y = targets(X.astype(float))[:, 0]
    single, double = (RidgeProbe(precision=one).fit(X, y) for one in ("float32", "float64"))
    assert single.alpha_ == double.alpha_
    np.testing.assert_allclose(single.coef_, double.coef_, rtol=1e-5, atol=1e-6)
    assert (single.coef_ != double.coef_).any()
    with pytest.raises(InputError, match="precision: expected 'float32' or 'float64', got 'half'"):
        RidgeProbe(precision="half").fit(X, y)
