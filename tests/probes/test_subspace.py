"""Predictions from a few coordinates against those from all features."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ldmscene.probes import Moments, Spectrum, Subspace

LADDER = np.logspace(-2, 6, 33)


def _data(seed: int, c: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Features with a spectrum over six decades of variance, far from zero, and two targets."""
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(2000, c)) * np.logspace(1, -2, c)) @ np.linalg.qr(rng.normal(size=(c, c)))[0] + 30
    return X, X @ rng.normal(size=(c, 2)) + rng.normal(size=(2000, 2))


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(-2, 6))
def test_any_strength_of_the_ladders_range_predicts_the_same(seed, power):
    X, Y = _data(seed)
    train = Moments.of(X, None, Y)
    spectrum = Spectrum.of(train)
    space = Subspace.of(train, spectrum, spectrum.coef(LADDER).reshape(-1, X.shape[1]))
    assert space.directions.shape[1] < 50
    rng = np.random.default_rng(seed)
    held_out = X[:100] + rng.normal(size=(100, X.shape[1]))
    for coef in spectrum.coef(np.array([10.0**power]))[0]:
        assert space.lost(train, coef) < 1e-6
        whole = held_out @ coef
        found = space.project(held_out).astype(float) @ space.express(coef) + coef @ space.mean
        np.testing.assert_allclose(found, whole, atol=3e-5 * whole.std())


def test_what_lies_outside_is_known_to_be_lost():
    X, Y = _data(1)
    train = Moments.of(X, None, Y)
    spectrum = Spectrum.of(train)
    space = Subspace.of(train, spectrum, spectrum.coef(np.array([1e2, 1e3])).reshape(-1, X.shape[1]))
    for coef in spectrum.coef(np.array([1e-2]))[0]:
        inside = X @ space.directions @ space.express(coef)
        lost = (X @ coef - inside).std() / (X @ coef).std()
        assert space.lost(train, coef) > 1e-4
        np.testing.assert_allclose(space.lost(train, coef), lost, rtol=0.05)


def test_targets_that_nothing_predicts_need_no_coordinates():
    X, _ = _data(2)
    train = Moments.of(X, None, np.zeros((2000, 1)))
    space = Subspace.of(train, Spectrum.of(train), np.zeros((3, X.shape[1])))
    assert space.project(X).shape == (2000, 0)
    assert space.lost(train, np.zeros(X.shape[1])) == 0
