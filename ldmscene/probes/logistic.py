"""Logistic regressions on cells at every strength, by Newton's method.

    min over w, b of  Σ pixels log loss + ½ α ‖w‖²

α is 1 / C of scikit-learn's LogisticRegression fitted on the labels' pixels with upsampled features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ldmscene.array_types import Array, Ints
from ldmscene.errors import InputError
from ldmscene.probes.choice import check_alphas, choose, deviation
from ldmscene.probes.families import Binomial, Multinomial
from ldmscene.probes.newton import Point, Problems, minimise, start_at
from ldmscene.probes.rows import Rows, Scaled, column_moments

# Held-out losses move by about the root of this, relative: below what separates two strengths.
_PATH_TOLERANCE = 1e-9
# Passes in float32 without progress, after which they go on in float64.
_PATIENCE = 5
# A single strength starts from the solution on one of so many positions, if these outnumber the features so much.
_THIN = 8
_ENOUGH = 10
_THIN_TOLERANCE = 1e-6
# Keeps the intercept finite where a training fold holds one class only; a share of all weight.
_INTERCEPT_PENALTY = 1e-13


@dataclass(frozen=True)
class LogisticSolution:
    """A logistic regression, and how its strength was chosen."""

    coef: Array
    """[1, c] log odds of the second class, or [k, c] one row for each of k > 2 classes"""
    intercept: Array
    """[1] or [k]"""
    alpha: float
    alphas: Array
    """[a] all strengths that were tried, ascending"""
    errors: Array
    """[fold, a] held-out mean log loss of a pixel; no folds if a single strength was given"""
    converged: bool
    """whether the final fit, and those along the path, met the stopping rule"""
    n_iter: int
    """its passes over the data"""

    @property
    def path(self) -> Array:
        """[a] held-out mean log loss, averaged over folds."""
        return self.errors.mean(0) if len(self.errors) else np.full(len(self.alphas), np.nan)


def fit_logistic(
    X: Any,
    weight: Array,
    counts: Array,
    fold: Ints | None,
    alphas: float | Sequence[float] | Array,
    *,
    fit_intercept: bool = True,
    standardize: bool = False,
    one_standard_error: bool = False,
    tol: float = 1e-14,
    max_iter: int = 100,
) -> LogisticSolution:
    """Choose α by held-out log likelihood over folds, then fit on all samples.

    Parameters
    ----------
    X : numpy or dask array (sample, ..., c)
        Activations in any dtype. A dask array is read once for each pass; a numpy array is cast once.
    weight : array (sample, ...)
        Labelled pixels of each position.
    counts : array (sample, ...) or (sample, ..., k)
        Foreground pixels of each position; or the pixels of each of k > 2 classes.
    fold : array (sample,) or None
        The fold that holds each sample out, from 0. None is enough for a single α.
    alphas : float or sequence of float
        Strengths, all above 0.
    standardize : bool
        Penalise the coefficients of features of unit variance on the training folds, as a StandardScaler
        before would.
    one_standard_error : bool
        Take the largest α whose loss lies within one standard error of the least.
    tol : float
        Stop when gᵀH⁻¹g ≤ tol · Σ weight: the loss of a pixel is then within tol / 2 of its least. While
        choosing α, at least 1e-9 is allowed, and passes run in float32 for float16 and float32 features as
        long as that gets them further. The final fit has float64 gradients.
    max_iter : int
        Passes for each α; `converged` tells whether they were enough.

    Raises
    ------
    InputError
        If an α is not positive, all labels have one class, or there are fewer than two folds for several α.
    """
    fold = np.zeros(len(X), dtype=int) if fold is None else np.asarray(fold)
    rows = _rows(X, weight, counts, fold)
    moments = column_moments(rows)
    _check_classes(rows)
    _check_finite(rows, moments[1])
    return solve_logistic(
        rows,
        moments,
        alphas,
        fit_intercept=fit_intercept,
        standardize=standardize,
        one_standard_error=one_standard_error,
        tol=tol,
        max_iter=max_iter,
    )


def solve_logistic(
    rows: Rows,
    moments: tuple[Array, Array, Array],
    alphas: float | Sequence[float] | Array,
    *,
    fit_intercept: bool = True,
    standardize: bool = False,
    one_standard_error: bool = False,
    tol: float = 1e-14,
    max_iter: int = 100,
) -> LogisticSolution:
    """Logistic regressions on rows whose `column_moments` are known and finite, and which hold two classes at least.

    The other arguments are those of `fit_logistic`.

    Raises
    ------
    InputError
        If an α is not positive, or fewer than two folds have labels for several α.
    """
    alphas = check_alphas(alphas)
    n_folds = len(moments[0])
    problem = _Problem(rows, *_shift_scale(moments, fit_intercept), fit_intercept, n_folds)
    held_out = np.append(np.arange(n_folds), -1) if len(alphas) > 1 else np.array([-1])
    if len(alphas) > 1 and (moments[0] > 0).sum() < 2:
        raise InputError("cv: expected at least 2 folds with labels to choose between alphas, got 1")
    own = _own_scales(moments, held_out) if standardize else np.ones((len(held_out), 1))
    thetas, errors, path_converged = _path(
        problem, alphas, own, held_out, moments[0], max(tol, _PATH_TOLERANCE), max_iter
    )
    best = int(choose(errors[..., None], one_standard_error)[0]) if len(errors) else 0
    final = Problems(problem.family(np.float64), problem.penalty(alphas[best], own[-1:]), held_out[-1:])
    last = minimise(final, start_at(final, thetas[best][None]), tol * moments[0].sum(), max_iter)
    return LogisticSolution(
        *problem.unscale(last),
        float(alphas[best]),
        alphas,
        errors,
        path_converged and last.converged,
        last.passes + 1,
    )


@dataclass(frozen=True)
class _Problem:
    """What the passes over the data need to know besides θ."""

    rows: Rows
    shift: Array
    scale: Array
    intercept: bool
    n_folds: int

    @property
    def outputs(self) -> int:
        outputs: int = self.rows.counts.shape[2]
        return outputs

    @property
    def size(self) -> int:
        """Entries of θ."""
        return self.outputs * (self.rows.channels + self.intercept)

    def family(self, dtype: Any) -> Binomial | Multinomial:
        scaled = Scaled(self.rows, self.shift, self.scale, self.intercept, np.dtype(dtype))
        if self.outputs == 1:
            return Binomial(scaled, self.n_folds)
        return Multinomial(scaled, self.n_folds, self.outputs)

    def penalty(self, alpha: float, own: Array) -> Array:
        """[p, d] of the scaled coefficients, such that those of the features as they came pay α."""
        weights = alpha * np.broadcast_to((own / self.scale) ** 2, (len(own), len(self.scale)))
        if self.intercept:
            least = _INTERCEPT_PENALTY * self.rows.weight.sum()
            weights = np.column_stack([weights, np.full(len(weights), least)])
        return np.tile(weights, self.outputs)

    def unscale(self, point: Point) -> tuple[Array, Array]:
        theta = point.theta[0].reshape(self.outputs, -1)
        coef = theta[:, : len(self.scale)] / self.scale
        if not self.intercept:
            return coef, np.zeros(self.outputs)
        intercept = theta[:, -1] - coef @ self.shift
        return coef, intercept - intercept.mean() if self.outputs > 1 else intercept


def _path(
    problem: _Problem,
    alphas: Array,
    own: Array,
    held_out: Ints,
    weight: Array,
    tol: float,
    max_iter: int,
) -> tuple[list[Array], Array, bool]:
    """θ of all samples for each α, held-out losses [fold, a] and whether all converged.

    Each α starts from where the next larger one ended.
    """
    if len(alphas) == 1:
        return [_thinned(problem, alphas[0], own, max_iter)], np.empty((0, 1)), True
    quick = np.dtype(problem.rows.X.dtype).itemsize <= 4
    family = problem.family(np.float32 if quick else np.float64)
    zero = np.zeros((len(held_out), problem.size))
    limit = tol * (weight.sum() - np.append(weight, 0))
    point, thetas, errors, converged = None, [], [], True
    for alpha in alphas[::-1]:
        problems = Problems(family, problem.penalty(alpha, own), held_out)
        point = minimise(problems, point or start_at(problems, zero), limit, max_iter, _PATIENCE if quick else None)
        if quick and not point.converged:
            quick, family = False, problem.family(np.float64)
            problems = Problems(family, problem.penalty(alpha, own), held_out)
            point = minimise(problems, start_at(problems, point.theta), limit, max_iter - point.passes)
        converged &= point.converged
        thetas.append(point.theta[-1])
        errors.append(family.held_out_loss(point.theta[:-1], held_out[:-1])[weight > 0])
    return thetas[::-1], np.stack(errors[::-1], axis=1), converged


def _thinned(problem: _Problem, alpha: float, own: Array, max_iter: int) -> Array:
    """θ from some of the positions, or of a table's rows, in float32: few passes over all of them are left then.

    Zero, if they are too few to say.
    """
    whole, every = problem.rows, slice(None, None, _THIN)
    samples, some = (slice(None), every) if whole.X.shape[1] >= _THIN else (every, slice(None))
    X, weights, counts = (array[samples, some] for array in (whole.X, whole.weight, whole.counts))
    rows = Rows(X, weights, counts, whole.fold[samples])
    weight = float(rows.weight.sum())
    if rows.weight.size < _ENOUGH * problem.size or not (_present(rows) > 0).all():
        return np.zeros(problem.size)
    family = replace(problem, rows=rows).family(np.float32)
    problems = Problems(family, problem.penalty(alpha * weight / whole.weight.sum(), own), np.array([-1]))
    start = start_at(problems, np.zeros((1, problem.size)))
    theta: Array = minimise(problems, start, _THIN_TOLERANCE * weight, max_iter, _PATIENCE).theta[0]
    return theta


def _rows(X: Any, weight: Array, counts: Array, fold: Ints) -> Rows:
    n, c = X.shape[0], X.shape[-1]
    weight = np.asarray(weight, dtype=np.float64).reshape(n, -1)
    return Rows(X.reshape(n, -1, c), weight, np.asarray(counts, dtype=np.float64).reshape(*weight.shape, -1), fold)


def _present(rows: Rows) -> Array:
    """Weight of each class."""
    totals = rows.counts.sum((0, 1))
    return totals if len(totals) > 1 else np.array([rows.weight.sum() - totals[0], totals[0]])


def _check_classes(rows: Rows) -> None:
    if not rows.weight.any():
        raise InputError("y: expected at least one sample with a label and a weight above zero, got none")
    if (_present(rows) > 0).sum() < 2:
        raise InputError(
            "y: all labelled pixels have one class, so there is nothing to learn; "
            "expected at least 2 classes, got 1 class"
        )


def _check_finite(rows: Rows, mean: Array) -> None:
    if np.isfinite(mean).all():
        return
    bad = next(s for s in range(len(rows.fold)) if not np.isfinite(np.asarray(rows.X[s])).all())
    raise InputError(f"X: sample {bad} holds NaN or infinity")


def _shift_scale(moments: tuple[Array, Array, Array], fit_intercept: bool) -> tuple[Array, Array]:
    """Shift to the mean (an intercept absorbs it) and scale to a deviation of one, for good conditioning."""
    weight, mean, variance = moments
    centre = weight @ mean / weight.sum()
    square = weight @ (variance + (mean - centre) ** 2) / weight.sum()
    if not fit_intercept:
        square, centre = square + centre**2, np.zeros_like(centre)
    return centre, deviation(square, centre)


def _own_scales(moments: tuple[Array, Array, Array], held_out: Ints) -> Array:
    """[p, c] the deviation of each feature on a problem's own samples."""
    weight, mean, variance = moments
    scales = []
    for fold in held_out:
        w = np.where(np.arange(len(weight)) == fold, 0, weight)
        centre = w @ mean / w.sum()
        scales.append(deviation(w @ (variance + (mean - centre) ** 2) / w.sum(), centre))
    return np.stack(scales)
