"""Ridge regressions at every strength, from statistics alone.

    min over w, b of  Σ weight (y − xᵀw − b)² + α ‖w‖²        (Hoerl and Kennard 1970, eq. 2.1)

α is in the units of label pixels: the same α as scikit-learn's Ridge has on features upsampled to the labels.

Statistics hold squares of the features, so that directions of less than about 1.5e-7 of the largest deviation are
lost in rounding, as in all normal equations: they count as constant. What lies a little above, at a weak α, is less
exact than a solver that sees the features: relative errors of coefficients are about 1e-16 times the largest
eigenvalue of the scatter over α plus the least. Features of very unequal size want `standardize`. Where statistics of
float16 features are of float32 products, directions count as constant whose variance is below 1e-7 of what it would
be if the same features weren't correlated, whatever the features' sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from ldmscene.array_types import Array, Bools
from ldmscene.errors import InputError
from ldmscene.probes.choice import check_alphas, choose, deviation
from ldmscene.probes.stats import Moments, merge_all

# Eigenvalues below this share of the largest are rounding, and so is what the targets have along their vectors.
_NOTHING = 100 * np.finfo(np.float64).eps


@dataclass(frozen=True)
class RidgeSolution:
    """A ridge for each target, and how its strength was chosen."""

    coef: Array
    """[t, c]"""
    intercept: Array
    """[t]"""
    alpha: Array
    """[t] the chosen strength"""
    alphas: Array
    """[a] all strengths that were tried, ascending"""
    errors: Array
    """[fold, a, t] held-out mean squared error; no folds if a single strength was given"""

    @property
    def path(self) -> Array:
        """[a, t] held-out mean squared error, averaged over folds."""
        return self.errors.mean(0) if len(self.errors) else np.full(self.errors.shape[1:], np.nan)


def solve(
    folds: Sequence[Moments],
    alphas: float | Sequence[float] | Array,
    *,
    fit_intercept: bool = True,
    standardize: bool = False,
    one_standard_error: bool = False,
) -> RidgeSolution:
    """Choose α for each target by cross-validation over folds, then fit on all of them.

    Parameters
    ----------
    folds : sequence of Moments
        Of disjoint groups of samples. Training statistics are merged from the other folds, never subtracted
        from a total. A single one is enough for a single α.
    alphas : float or sequence of float
        Strengths, all above 0.
    fit_intercept : bool
        False: the regression passes through zero.
    standardize : bool
        Penalise the coefficients of features scaled to unit variance, where the scale comes from training
        folds only. α is then that of a StandardScaler before a Ridge; `coef` is for the features as they
        came.
    one_standard_error : bool
        Take the largest α whose error lies within one standard error of the least (Breiman et al. 1984,
        3.4.3).

    Raises
    ------
    InputError
        If an α is not positive, a target is constant, or there is one fold only for several α.
    """
    alphas = check_alphas(alphas)
    folds = [fold for fold in folds if fold.weight]
    whole = merge_all(folds) if folds else None
    if whole is None:
        raise InputError("y: expected at least one sample with a label and a weight above zero, got none")
    check_targets(whole, [f"target {t}" for t in range(len(whole.mean_y))])
    fit = _Fit(alphas, fit_intercept, standardize)
    errors = _cross_validate(folds, fit)
    best = choose(errors, one_standard_error) if len(errors) else np.zeros(errors.shape[2], dtype=int)
    coef = fit.path(whole)[best, np.arange(len(best))]
    seen = fit.view(whole)
    return RidgeSolution(coef, seen.mean_y - coef @ seen.mean_x, alphas[best], alphas, errors)


@dataclass(frozen=True)
class Spectrum:
    """An eigendecomposition of features' scatter, from which follows the ridge at any strength."""

    values: Array
    """[c] ascending; 0 where there is nothing but rounding"""
    vectors: Array
    """[c, c] one a column"""
    rotated: Array
    """[c, t] vectorsᵀ cxy"""
    scale: Array
    """[c] what the features were divided by"""

    @classmethod
    def of(cls, train: Moments, scale: Array | None = None) -> Spectrum:
        """Of training data; the penalty is on the coefficients of features divided by `scale` [c] (None: by 1)."""
        scale = np.ones(len(train.mean_x)) if scale is None else scale
        cxx = train.cxx / np.outer(scale, scale)
        values, vectors = eigh(cxx, driver="evd", overwrite_a=True, check_finite=False)
        some = values > np.maximum(_NOTHING * values[-1], (train.rounding / scale**2) @ vectors**2)
        rotated = vectors.T @ (train.cxy / scale[:, None])
        return cls(np.where(some, values, 0), vectors, np.where(some[:, None], rotated, 0), scale)

    def coef(self, alphas: Array) -> Array:
        """Coefficients [a, t, c] for strengths [a]."""
        shrunk = self.rotated.T[None] / (self.values + alphas[:, None, None])
        return shrunk @ self.vectors.T / self.scale


def held_out_error(coefs: Array, train: Moments, test: Moments) -> Array:
    """Mean squared error [a, t] of coefficients [a, t, c] on data of which only the statistics are known."""
    a, t, c = coefs.shape
    flat = coefs.reshape(a * t, c)
    quadratic = np.einsum("kc,kc->k", flat @ test.cxx, flat).reshape(a, t)
    linear = np.einsum("atc,ct->at", coefs, test.cxy)
    bias = test.mean_y - train.mean_y - coefs @ (test.mean_x - train.mean_x)
    within = test.cyy - 2 * linear + quadratic
    error: Array = np.maximum(within, 0) / test.weight + bias**2
    return error


def held_out_errors(folds: Sequence[Moments], alphas: Array) -> Array:
    """Mean squared error [fold, a, t] on each fold of ridges with intercept, fitted on all other folds."""
    return _cross_validate(folds, _Fit(alphas, fit_intercept=True, standardize=False))


@dataclass(frozen=True)
class _Fit:
    """What stays the same from fold to fold."""

    alphas: Array
    fit_intercept: bool
    standardize: bool

    def view(self, moments: Moments) -> Moments:
        return moments if self.fit_intercept else moments.about_zero()

    def path(self, train: Moments) -> Array:
        c = len(train.mean_x)
        variance = np.diag(train.cxx) / train.weight
        scale = deviation(variance, train.mean_x) if self.standardize else np.ones(c)
        return Spectrum.of(self.view(train), scale).coef(self.alphas)


def _cross_validate(folds: Sequence[Moments], fit: _Fit) -> Array:
    t = len(folds[0].mean_y)
    if len(fit.alphas) == 1:
        return np.empty((0, 1, t))
    if len(folds) < 2:
        raise InputError("cv: expected at least 2 folds with labels to choose between alphas, got 1")
    errors = np.empty((len(folds), len(fit.alphas), t))
    for k, test in enumerate(folds):
        train = merge_all(fold for j, fold in enumerate(folds) if j != k)
        errors[k] = held_out_error(fit.path(train), fit.view(train), fit.view(test))
    return errors


def constant_targets(whole: Moments) -> Bools:
    """Which targets [t] are the same everywhere, up to rounding."""
    return whole.cyy <= (1e-14 * np.abs(whole.mean_y)) ** 2 * whole.weight


def check_targets(whole: Moments, names: Sequence[str], advice: str = "") -> None:
    """Refuse a constant target by its name, with advice; targets after the named ones may be constant."""
    for t in np.flatnonzero(constant_targets(whole)[: len(names)]).tolist():
        raise InputError(f"y: {names[t]} is constant ({whole.mean_y[t]:g}): there is nothing to learn{advice}")
