"""What features add to what is known anyway: two fits, one within the other, from statistics alone.

Of the statistics' features the first `known` are what may be used anyway, such as the position. They are fitted without
penalty and the others by ridge. By Frisch and Waugh (1933, "Partial time regressions as compared with individual
trends", theorem I; with a ridge on the rest: Yamada 2017) the ridge is that of residuals on residuals, and the
statistics of residuals follow from those of the columns. Held-out folds are projected with the training folds' fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from ldmscene.array_types import Array, Ints
from ldmscene.errors import InputError
from ldmscene.probes.choice import check_alphas, choose
from ldmscene.probes.ridge import Spectrum, held_out_error
from ldmscene.probes.stats import Moments, merge_all

# Shares of a column's scatter that are rounding.
_NOTHING = 1e-12
_LEFT = 1e-10


@dataclass(frozen=True)
class Projection:
    """The least-squares fit of features and targets on what is known, of training data."""

    of_features: Array
    """[k, c]"""
    of_targets: Array
    """[k, t]"""

    @classmethod
    def of(cls, train: Moments, known: int) -> Projection:
        """The first `known` features may depend on each other; what they can't tell apart gets the least norm."""
        deviation = np.sqrt(np.diag(train.cxx)[:known])
        scale = np.where(deviation > 0, deviation, 1)
        values, vectors = eigh(train.cxx[:known, :known] / np.outer(scale, scale), driver="evd")
        some = values > _NOTHING * max(1, known)
        inverse = (vectors[:, some] / values[some]) @ vectors[:, some].T / np.outer(scale, scale)
        return cls(inverse @ train.cxx[:known, known:], inverse @ train.cxy[:known])

    def residuals(self, data: Moments) -> Moments:
        """Statistics of what the known columns leave of features and targets."""
        k = len(self.of_features)
        known, B, C = data.cxx[:k, :k], self.of_features, self.of_targets
        cross, about = data.cxx[:k, k:], data.mean_x[:k]
        half = cross - known @ B
        cxx = data.cxx[k:, k:] - B.T @ cross - half.T @ B
        cyy = data.cyy - 2 * np.einsum("kt,kt->t", C, data.cxy[:k]) + np.einsum("kt,kt->t", C, known @ C)
        cxy = data.cxy[k:] - B.T @ data.cxy[:k] - half.T @ C
        rounding = data.rounding[k:] + data.rounding[:k] @ B**2
        whole = _floored((cxx + cxx.T) / 2, cxy, _LEFT * np.diag(data.cxx)[k:] + rounding)
        mean_x, mean_y = data.mean_x[k:] - about @ B, data.mean_y - about @ C
        return Moments(data.weight, mean_x, mean_y, *whole, np.maximum(cyy, 0), rounding)


def _floored(cxx: Array, cxy: Array, nothing: Array) -> tuple[Array, Array]:
    """Nothing, where what is left of a feature is rounding."""
    left = np.diag(cxx) > nothing
    return np.where(np.outer(left, left), cxx, 0), np.where(left[:, None], cxy, 0)


@dataclass(frozen=True)
class NestedSolution:
    """For each target, the fit on what is known and the fit on that and the features."""

    known: Array
    """[t, k] coefficients of what is known, beside the features"""
    coef: Array
    """[t, c] of the features"""
    intercept: Array
    """[t]"""
    alone: Array
    """[t, k] coefficients of what is known, without the features"""
    alone_intercept: Array
    """[t]"""
    alpha: Array
    """[t]"""
    errors: Array
    """[fold, a, t] held-out mean squared error with the features"""
    alone_errors: Array
    """[fold, t] without"""
    fold_coef: Array
    """[fold, t, k + c] with the features, each from the other folds, at the chosen strength"""
    fold_intercept: Array
    """[fold, t]"""
    chosen: Ints
    """[t] which of the strengths"""
    spectrum: Spectrum
    """of what is known leaves of the features"""

    @property
    def gain(self) -> Array:
        """[t] partial R² on held-out folds: the share of what is known leaves that the features explain."""
        left = self.errors.mean(0)[self.chosen, np.arange(len(self.chosen))]
        alone = self.alone_errors.mean(0)
        gain: Array = 1 - np.divide(left, alone, out=np.ones_like(alone), where=alone > 0)
        return gain


def solve_nested(
    folds: Sequence[Moments], known: int, alphas: float | Sequence[float] | Array, names: Sequence[str] = ()
) -> NestedSolution:
    """Choose a strength for each target by cross-validation, then fit on all folds.

    Parameters
    ----------
    folds : sequence of Moments
        At least 2, of disjoint groups of samples; of known + c features.
    known : int
        How many features come first that may be used anyway. 0: the mean alone.
    alphas : float or sequence of float
        Strengths, all above 0, in the units of label pixels. The known columns bear no penalty.
    names : sequence of str, optional
        Of the targets, for messages. Targets after the named ones may be told by what is known.

    Raises
    ------
    InputError
        If there are fewer than 2 folds with labels, or what is known leaves nothing of a target.

    Examples
    --------
    >>> import numpy as np
    >>> from ldmscene.probes import Moments, solve_nested
    >>> rng = np.random.default_rng(0)
    >>> known, X = rng.normal(size=(2, 400, 1))
    >>> y = known[:, 0] + X[:, 0] + rng.normal(size=400)
    >>> both = np.concatenate([known, X], 1)
    >>> folds = [Moments.of(both[i::5], None, y[i::5]) for i in range(5)]
    >>> round(float(solve_nested(folds, 1, [1e-3, 1]).gain[0]), 1)
    0.5
    """
    alphas = check_alphas(alphas)
    folds = [fold for fold in folds if fold.weight]
    if len(folds) < 2:
        raise InputError(f"cv: expected labels in at least 2 folds, found them in {len(folds)}; label more samples")
    train = merge_all(folds)
    projection = Projection.of(train, known)
    left = projection.residuals(train)
    _check_left(left, train, names)
    parts = [_Part.of(folds, k, known, alphas) for k in range(len(folds))]
    errors = np.stack([part.errors for part in parts])
    best = choose(errors)
    spectrum = Spectrum.of(left)
    coef, intercept = _whole(projection, left, spectrum.coef(alphas), best)
    inside = [_whole(part.projection, part.left, part.coefs, best) for part in parts]
    return NestedSolution(
        coef[:, :known],
        coef[:, known:],
        intercept,
        projection.of_targets.T,
        left.mean_y,
        alphas[best],
        errors,
        np.stack([part.alone for part in parts]),
        np.stack([one for one, _ in inside]),
        np.stack([one for _, one in inside]),
        best,
        spectrum,
    )


@dataclass(frozen=True)
class _Part:
    """A fit without one fold, and its errors there."""

    projection: Projection
    left: Moments
    coefs: Array
    """[a, t, c]"""
    errors: Array
    """[a, t]"""
    alone: Array
    """[t]"""

    @classmethod
    def of(cls, folds: Sequence[Moments], k: int, known: int, alphas: Array) -> _Part:
        train = merge_all(fold for j, fold in enumerate(folds) if j != k)
        projection = Projection.of(train, known)
        left, test = projection.residuals(train), projection.residuals(folds[k])
        coefs = Spectrum.of(left).coef(alphas)
        alone = held_out_error(np.zeros_like(coefs[:1]), left, test)[0]
        return cls(projection, left, coefs, held_out_error(coefs, left, test), alone)


def _whole(projection: Projection, left: Moments, coefs: Array, best: Ints) -> tuple[Array, Array]:
    """Coefficients [t, k + c] of all columns and intercepts [t], from those [a, t, c] of residuals."""
    coef = coefs[best, np.arange(len(best))]
    known = projection.of_targets.T - coef @ projection.of_features.T
    return np.concatenate([known, coef], 1), left.mean_y - np.einsum("tc,c->t", coef, left.mean_x)


def _check_left(left: Moments, train: Moments, names: Sequence[str]) -> None:
    nothing = left.cyy <= _LEFT * (train.cyy + train.weight * train.mean_y**2 * _LEFT)
    for t in np.flatnonzero(nothing[: len(names) or None]).tolist():
        name = repr(names[t]) if names else str(t)
        raise InputError(
            f"beyond: expected something that doesn't tell target {name} already, but nothing of it is left; "
            "take the target itself, and what follows from it, out of beyond="
        )
