"""Probes on data of any shape and size against scikit-learn's on explicitly upsampled pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold

from ldmscene.cells import spread
from ldmscene.probes import LogisticProbe, RidgeProbe
from ldmscene.probes.bilinear import lift

FOLDS = 3


@dataclass(frozen=True)
class World:
    X: np.ndarray
    """[sample, y, x, c]"""
    pixels: np.ndarray
    """[sample, H, W, c] the same at the labels' resolution"""
    y: np.ndarray
    """[sample, H, W] NaN in holes"""
    groups: np.ndarray
    weight: np.ndarray | None

    @property
    def table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Features, label, weight and sample of every labelled pixel."""
        known = ~np.isnan(self.y)
        sample = np.nonzero(known)[0]
        weight = np.ones(len(self.y)) if self.weight is None else self.weight
        return self.pixels[known], self.y[known], weight[sample], sample

    @property
    def in_chunks(self) -> Any:
        return da.from_array(self.X, chunks=(2, 1, -1, 3))


@st.composite
def worlds(draw: Any, mode: str = "nearest", classes: int | None = None, sizes: float = 1.0) -> World:
    """Of 6 to 9 samples in 4 groups, on grids of up to 3 × 4, with up to 30 channels of which some may be copies.

    Deviations of channels differ by a factor of 10, their sizes are 10^±4 · `sizes`; means are up to ten deviations
    from zero.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, grid = draw(st.integers(6, 9)), (draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    scale, c = (draw(st.integers(1, 3)), draw(st.integers(1, 3))), draw(st.integers(1, 30))
    X = rng.normal(size=(n, *grid, c)) + rng.normal(size=(n, 1, 1, c)) + 10 * rng.uniform(-1, 1, c)
    X *= 10 ** rng.uniform(-0.5, 0.5, c) * 10.0 ** (sizes * draw(st.floats(-4, 4)))
    if draw(st.booleans()):
        X[..., -1] = X[..., 0]
    channels, shape = np.moveaxis(X, -1, 1), (grid[0] * scale[0], grid[1] * scale[1])
    pixels = np.moveaxis(lift(channels, shape) if mode == "bilinear" else spread(channels, scale), 1, -1)
    z = ((pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))) @ rng.normal(size=c) + rng.normal(size=(n, *shape))
    if classes is None:
        y = 10.0 ** draw(st.floats(-4, 4)) * (z + 3)
    else:
        z = z + np.sqrt(c) * rng.logistic(size=z.shape)
        y = np.digitize(z, np.quantile(z, np.arange(1, classes) / classes)).astype(float)
    if draw(st.booleans()):
        y[rng.random(y.shape) < 0.2] = np.nan
        y[0] = np.nan
    weight = rng.uniform(0.2, 3, n) * draw(st.sampled_from([1e-4, 1 / n, 1.0])) if draw(st.booleans()) else None
    if weight is not None:
        weight[1] = 0
    return World(X, pixels, y, np.arange(n) % 4, weight)


def folds(world: World) -> list[np.ndarray]:
    """Samples that are held out, for each fold that has labels and weight."""
    splits = GroupKFold(FOLDS).split(world.groups, groups=world.groups)
    _, _, weight, sample = world.table
    return [test for _, test in splits if weight[np.isin(sample, test)].any()]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@settings(max_examples=25)
@given(data=st.data(), power=st.floats(-12, 12))
def test_ridge_is_that_of_explicit_pixels(mode: str, data: Any, power: float) -> None:
    world = data.draw(worlds(mode))
    X, y, weight, sample = world.table
    alphas = 10.0**power * np.array([0.1, 1.0, 10.0])
    alphas = alphas[(alphas >= 1e-12) & (alphas <= 1e12)]
    weighed = {"groups": world.groups, "sample_weight": world.weight}
    probe = RidgeProbe(alphas, cv=FOLDS, upsample=mode).fit(world.X, world.y, **weighed)
    spanned, whole_tolerance = span_and_error(X, weight, alphas[0])
    model = Ridge(probe.alpha_, solver="svd").fit(X @ spanned, y, weight)
    expected = model.predict(world.pixels.reshape(-1, X.shape[1]) @ spanned)
    np.testing.assert_allclose(probe.predict(world.X).ravel(), expected, rtol=0, atol=whole_tolerance * np.ptp(y))
    for k, test in enumerate(folds(world)):
        out = np.isin(sample, test)
        spanned, tolerance = span_and_error(X[~out], weight[~out], alphas[0])
        for a, alpha in enumerate(alphas if len(alphas) > 1 else ()):
            model = Ridge(alpha, solver="svd").fit(X[~out] @ spanned, y[~out], weight[~out])
            wrong = np.average((model.predict(X[out] @ spanned) - y[out]) ** 2, weights=weight[out])
            np.testing.assert_allclose(probe.errors_[k, a], wrong, rtol=1e-9 + tolerance)
    chunked = RidgeProbe(alphas, cv=FOLDS, upsample=mode).fit(world.in_chunks, world.y, **weighed)
    np.testing.assert_allclose(
        chunked.predict(world.X), probe.predict(world.X), rtol=0, atol=whole_tolerance * np.ptp(y)
    )


def span_and_error(X: np.ndarray, weight: np.ndarray, alpha: float) -> tuple[np.ndarray, float]:
    """Directions [c, r] in which rows differ, and the relative error that squares in float64 allow.

    Outside of these directions a ridge's coefficients are 0, where scikit-learn divides its rounding by α. The error
    is rounding, times the largest eigenvalue over the least that counts: what a solver by singular values of X gets
    right beyond that is lost when its squares are summed.
    """
    root = np.sqrt(weight[:, None] / weight.sum())
    _, values, directions = np.linalg.svd(root * (X - weight @ X / weight.sum()), full_matrices=False)
    some = values**2 > 100 * np.finfo(float).eps * values[0] ** 2
    assume(some.any())
    least = values[some][-1] ** 2 + alpha / weight.sum()
    return directions[some].T, float(1e-13 * (10 + values[0] ** 2 / least))


@pytest.mark.parametrize("classes", [2, 3])
@settings(max_examples=15)
@given(data=st.data(), power=st.floats(-2, 6))
def test_logistic_is_that_of_explicit_pixels(classes: int, data: Any, power: float) -> None:
    world = data.draw(worlds(classes=classes))
    X, y, weight, _ = world.table
    assume(len(np.unique(y[weight > 0])) == classes)
    alpha = 10.0**power * weight.mean() * X.var(0).mean()
    probe = LogisticProbe(alpha).fit(world.X, world.y, sample_weight=world.weight)
    assert probe.converged_
    found = penalised(probe, X, y, weight, alpha)
    # The same regression in units that scikit-learn's solver, which doesn't scale, finds easy.
    size = X.std()
    Z, strength = (X - X.mean(0)) / size, alpha / size**2
    best = penalised(reference(strength).fit(Z, y, weight), Z, y, weight, strength)
    assert found <= best + probe.tol * weight.sum()  # the stopping rule
    np.testing.assert_allclose(found, best, rtol=1e-8)
    chunked = LogisticProbe(alpha).fit(world.in_chunks, world.y, sample_weight=world.weight)
    np.testing.assert_allclose(chunked.predict_proba(world.X), probe.predict_proba(world.X), atol=1e-6)


def reference(alpha: float) -> LogisticRegression:
    return LogisticRegression(C=1 / alpha, tol=1e-10, max_iter=1000, solver="newton-cholesky")


def penalised(probe: Any, X: np.ndarray, y: np.ndarray, weight: np.ndarray, alpha: float) -> float:
    loss = log_loss(y, probe.predict_proba(X), sample_weight=weight) * weight.sum()
    return float(loss + alpha / 2 * (probe.coef_**2).sum())


PROBES = [RidgeProbe(10.0), RidgeProbe(10.0, upsample="bilinear"), LogisticProbe(10.0)]


@pytest.mark.parametrize("probe", PROBES)
@settings(max_examples=15)
@given(world=worlds(classes=2, sizes=0), seed=st.integers(0, 2**16))
def test_the_order_of_samples_does_not_matter(probe: Any, world: World, seed: int) -> None:
    _, y, weight, _ = world.table
    assume(len(np.unique(y[weight > 0])) == 2)
    order = np.random.default_rng(seed).permutation(len(world.y))
    first = clone(probe).fit(world.X, world.y, sample_weight=world.weight)
    weight = None if world.weight is None else world.weight[order]
    second = clone(probe).fit(world.X[order], world.y[order], sample_weight=weight)
    np.testing.assert_allclose(second.coef_, first.coef_, rtol=1e-6, atol=1e-7 * np.abs(first.coef_).max())


@pytest.mark.parametrize("probe", PROBES)
@settings(max_examples=15)
@given(world=worlds(classes=2, sizes=0))
def test_a_channel_given_twice_is_one_of_twice_the_variance(probe: Any, world: World) -> None:
    _, y, weight, _ = world.table
    assume(len(np.unique(y[weight > 0])) == 2)
    twice = np.concatenate([world.X, world.X[..., :1]], -1)
    strong = world.X * np.where(np.arange(world.X.shape[-1]) == 0, np.sqrt(2), 1)
    a = clone(probe).fit(twice, world.y, sample_weight=world.weight)
    b = clone(probe).fit(strong, world.y, sample_weight=world.weight)
    coef, one = np.atleast_2d(a.coef_)[0], np.atleast_2d(b.coef_)[0]
    size = np.abs(coef).max()
    np.testing.assert_allclose(coef[0], coef[-1], rtol=0, atol=1e-7 * size)
    np.testing.assert_allclose(coef[:-1] * np.where(np.arange(len(one)) == 0, np.sqrt(2), 1), one, atol=1e-6 * size)
