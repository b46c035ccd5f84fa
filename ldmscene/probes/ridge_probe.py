"""The ridge as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score

from ldmscene.array_types import Array, Ints
from ldmscene.choices import Upsampling
from ldmscene.errors import InputError, ShapeError
from ldmscene.probes.base import Probe, all_or_nothing, known_pixels, named, read_score
from ldmscene.probes.blocks import gather_moments, merge_folds
from ldmscene.probes.choice import check_alphas
from ldmscene.probes.folds import FoldBook, assign_folds
from ldmscene.probes.inputs import Samples, read_fit, unwrap
from ldmscene.probes.ridge import RidgeSolution, solve
from ldmscene.probes.stats import Moments
from ldmscene.probes.targets import group_labels

_PARTS: dict[str, Any] = {"_solution": RidgeSolution, "_book": FoldBook, "_statistics": Moments}

ALPHAS = tuple(10.0 ** (k / 2) for k in range(-4, 17))


class RidgeProbe(RegressorMixin, Probe):  # type: ignore[misc]  # scikit-learn has no types
    """Ridge regression at the labels' resolution, with its strength chosen by grouped cross-validation.

    Equal to scikit-learn's Ridge on features that were upsampled to the labels, from one pass over the
    activations as they are. The strength is chosen for each target, from the statistics of the folds alone.

    Parameters
    ----------
    alphas : float or sequence of float
        Strengths to choose from, in the units of label pixels. One needs no folds.
    cv : int, splitter or iterable of (train, test)
        Folds, over groups. See `ldmscene.probes.assign_folds`.
    fit_intercept : bool
        The intercept is not penalised.
    upsample : {"nearest", "bilinear"}
        How predictions reach the labels; bilinear has half-pixel centres (align_corners=False).
    standardize : bool
        Penalise the coefficients of features scaled to unit variance on the training folds.
    one_standard_error : bool
        Take the largest α whose error lies within one standard error of the least.
    precision : {"float64", "float32"}
        Of products of float16 features that are upsampled by nearest. float32 takes half as long, in blocks that are
        added up in float64, and rounds less than storing as float16 did. Features of more digits always have float64's.

    Attributes
    ----------
    coef_ : array (c,) or (t, c)
    intercept_ : float or array (t,)
    alpha_ : float or array (t,)
        The strength that was chosen.
    alphas_ : array (a,)
        All that were tried, ascending.
    path_ : array (a,) or (a, t)
        Held-out mean squared error of each, averaged over folds; NaN for a single one.
    errors_ : array (fold, a) or (fold, a, t)
        The same for each fold.
    scale_ : (int, int)
        Label pixels of a position along y and x; (1, 1) for a table.
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> import ldmscene
    >>> draw = np.random.default_rng(0)
    >>> X = draw.standard_normal((8, 4, 4, 3))  # (sample, y, x, channel)
    >>> y = (X @ [1.0, -2.0, 0.5]).repeat(4, 1).repeat(4, 2)  # (sample, H, W), H and W four times as many
    >>> probe = ldmscene.RidgeProbe(cv=4).fit(X, y)
    >>> probe.coef_.round(2).tolist(), round(float(probe.score(X, y)), 4)
    ([1.0, -2.0, 0.5], 1.0)
    """

    def __init__(
        self,
        alphas: float | Sequence[float] = ALPHAS,
        *,
        cv: Any = 5,
        fit_intercept: bool = True,
        upsample: Upsampling = "nearest",
        standardize: bool = False,
        one_standard_error: bool = False,
        precision: str = "float64",
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.upsample = upsample
        self.standardize = standardize
        self.one_standard_error = one_standard_error
        self.precision = precision

    @all_or_nothing
    def fit(self, X: Any, y: Any, *, groups: Any = None, sample_weight: Any = None) -> Self:
        """Fit from scratch.

        Parameters
        ----------
        X : array (n, c) or (sample, y, x, c)
            numpy, dask, xarray or torch; any real dtype. dask chunks are read once, on the scheduler in force;
            a tensor is reduced on its own device.
        y : array (n,), (n, t), (sample, H, W) or (sample, H, W, t)
            H and W are multiples of y and x. In maps NaN marks a pixel without label.
        groups : array (n,) or (sample,), optional
            Samples of one group, such as those of one prompt, share a fold. Without it each sample is a group, so
            that the same prompt may lie in several folds, and the penalty chosen is too weak.
        sample_weight : array (n,) or (sample,), optional

        Raises
        ------
        InputError
            If X holds NaN, a target is constant, there are fewer groups than folds or an α isn't positive.
        ShapeError
            If the labels don't tile the activations.
        """
        samples = read_fit(self, X, y, sample_weight, groups, several=True, tensors=True)
        fold = np.zeros(len(samples), dtype=int)
        if check_alphas(self.alphas).size > 1:
            fold = assign_folds(len(samples), self.cv, groups)
        counted = isinstance(self.cv, (int, np.integer))
        n_folds = max(int(fold.max()) + 1, int(self.cv) if counted else 1)
        self._book = FoldBook.of(n_folds, fold, groups) if counted else None
        self._statistics: list[Moments] | None = self._gather(samples, fold, n_folds)
        self.scale_, self._single, self._upsample = samples.scale, samples.single, self.upsample
        self._solution: RidgeSolution | None = self._solve(self._statistics)
        return self

    @all_or_nothing
    def partial_fit(self, X: Any, y: Any, *, groups: Any = None, sample_weight: Any = None) -> Self:
        """Add samples to those seen so far, by `fit` or by `partial_fit`.

        A new group goes to the fold with the fewest samples, where it stays. The ridge is solved when a fitted
        attribute is next asked for. `cv` must be a number, and neither it nor `upsample` may change on the way. A call
        that fails changes nothing.

        Parameters
        ----------
        X : array (n, c) or (sample, y, x, c)
            numpy, dask, xarray or torch; any real dtype.
        y : array (n,), (n, t), (sample, H, W) or (sample, H, W, t)
            H and W are multiples of y and x. In maps NaN marks a pixel without label.
        groups : array (n,) or (sample,), optional
            Samples of one group, such as those of one prompt, share a fold.
        sample_weight : array (n,) or (sample,), optional

        Raises
        ------
        InputError
            If X holds NaN, `cv` is no number or changed, or the probe was loaded.
        ShapeError
            If the labels don't tile the activations, or aren't of as many targets, and pixels, as those before.

        Examples
        --------
        >>> import numpy as np
        >>> import ldmscene
        >>> X = np.random.default_rng(0).standard_normal((12, 3))
        >>> y = X @ [1.0, -2.0, 0.5]
        >>> probe = ldmscene.RidgeProbe(cv=3).partial_fit(X[:6], y[:6]).partial_fit(X[6:], y[6:])
        >>> round(probe.score(X, y), 3)
        1.0
        """
        if not isinstance(self.cv, (int, np.integer)):
            raise InputError(f"cv: partial_fit expects a number of folds, got {self.cv!r}")
        known = self._so_far() if hasattr(self, "_statistics") else None
        samples = read_fit(self, X, y, sample_weight, groups, several=True, tensors=True, reset=known is None)
        if known is not None:
            self._check_alike(samples, len(known[0][0].mean_y))
        statistics, book = known or (None, FoldBook(int(self.cv)))
        book = book.add(len(samples), groups)
        new = self._gather(samples, book.latest, book.n_folds)
        self._statistics = new if statistics is None else merge_folds(statistics, new)
        self._book, self._upsample, self._solution = book, self.upsample, None
        self.scale_, self._single = samples.scale, samples.single
        return self

    def _check_alike(self, samples: Samples, targets: int) -> None:
        """Refuse labels that differ from those before in how many there are of a sample or a position."""
        before = "one target" if self._single else f"a last axis of {targets} targets"
        now = "one target" if samples.single else f"a last axis of {samples.y.shape[-1]} targets"
        if now != before:
            raise ShapeError(f"y: expected {before} as before, got {now}; fit others by a probe of their own")
        if samples.scale != self.scale_:
            raise ShapeError(f"y: expected labels of scale {self.scale_} as before, got {samples.scale}")

    def _so_far(self) -> tuple[list[Moments], FoldBook]:
        """Statistics and folds that more samples can be added to."""
        if self._statistics is None:
            raise InputError("partial_fit: a loaded probe has no statistics to add to; fit a new one")
        if self._book is None:
            raise InputError(
                "cv: the samples so far were put in folds by a splitter, which can't add to them; fit anew"
            )
        if self._book.n_folds != self.cv:
            raise InputError(f"cv: the samples so far are in {self._book.n_folds} folds, got cv={self.cv}; fit anew")
        if self._upsample != self.upsample:
            raise InputError(
                f"upsample: the statistics so far are of {self._upsample!r}, got {self.upsample!r}; fit anew"
            )
        return self._statistics, self._book

    @named("target")
    def predict(self, X: Any) -> Any:
        """Targets at the labels' resolution: (n,) or (n, t) for a table, (sample, H, W[, t]) for maps.

        numpy; of an `xarray.DataArray` one, with its samples.

        Parameters
        ----------
        X : array (n, c) or (sample, y, x, c)
            numpy, dask, xarray or torch, with the channels of the fit.

        Examples
        --------
        >>> import numpy as np
        >>> import ldmscene
        >>> draw = np.random.default_rng(0)
        >>> X = draw.standard_normal((8, 4, 4, 3)).astype(np.float32)
        >>> y = (X @ [1.0, -2.0, 0.5]).repeat(4, 1).repeat(4, 2)
        >>> probe = ldmscene.RidgeProbe(cv=3).fit(X, y)
        >>> probe.predict(X).shape
        (8, 16, 16)
        """
        maps, table = self._scores(X)
        return self._squeeze(maps[:, 0, 0] if table else self._to_labels(maps))

    @named("target", ("y", "x"))
    def predict_cells(self, X: Any) -> Any:
        """Targets at the activations' resolution (sample, y, x[, t]), before any upsampling.

        Parameters
        ----------
        X : array (n, c) or (sample, y, x, c)
            numpy, dask, xarray or torch, with the channels of the fit.

        Examples
        --------
        >>> import numpy as np
        >>> import ldmscene
        >>> draw = np.random.default_rng(0)
        >>> X = draw.standard_normal((8, 4, 4, 3)).astype(np.float32)
        >>> y = (X @ [1.0, -2.0, 0.5]).repeat(4, 1).repeat(4, 2)
        >>> probe = ldmscene.RidgeProbe(cv=3).fit(X, y)
        >>> probe.predict_cells(X).shape
        (8, 4, 4)
        """
        return self._squeeze(self._scores(X)[0])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² over the labelled pixels of each target, averaged over targets.

        Parameters
        ----------
        X : array (n, c) or (sample, y, x, c)
            numpy, dask, xarray or torch, with the channels of the fit.
        y : array of the prediction's shape
            In maps NaN marks a pixel without label.
        sample_weight : array (n,) or (sample,), optional

        Examples
        --------
        >>> import numpy as np
        >>> import ldmscene
        >>> draw = np.random.default_rng(0)
        >>> X = draw.standard_normal((8, 4, 4, 3)).astype(np.float32)
        >>> y = (X @ [1.0, -2.0, 0.5]).repeat(4, 1).repeat(4, 2)
        >>> probe = ldmscene.RidgeProbe(cv=3).fit(X, y)
        >>> round(probe.score(X, y), 3)
        1.0
        """
        prediction = unwrap(self.predict(X))
        labels, weight = read_score(X, y, sample_weight, prediction)
        if self._single:
            labels, prediction = labels[..., None], prediction[..., None]
        pixels = [known_pixels(labels[..., t], prediction[..., t], weight) for t in range(labels.shape[-1])]
        return float(np.mean([r2_score(known, predicted, sample_weight=w) for known, predicted, w in pixels]))

    @property
    def coef_(self) -> Array:
        coef: Array = self._first(self._solved().coef, 0)
        return coef

    @property
    def intercept_(self) -> Any:
        return self._first(self._solved().intercept, 0)

    @property
    def alpha_(self) -> Any:
        return self._first(self._solved().alpha, 0)

    @property
    def alphas_(self) -> Array:
        return self._solved().alphas

    @property
    def path_(self) -> Array:
        path: Array = self._first(self._solved().path, -1)
        return path

    @property
    def errors_(self) -> Array:
        errors: Array = self._first(self._solved().errors, -1)
        return errors

    def _gather(self, samples: Samples, fold: Ints, n_folds: int) -> list[Moments]:
        labels = {str(t): samples.y[..., t] for t in range(samples.y.shape[-1])}
        groups = group_labels(labels, samples.grid, self.upsample, samples.weight)
        if len(groups) > 1:
            raise InputError("y: targets differ in which pixels are NaN; fit them one by one")
        if self.precision not in ("float32", "float64"):
            raise InputError(f"precision: expected 'float32' or 'float64', got {self.precision!r}")
        return gather_moments(samples.X, groups[0], fold, n_folds, self.precision)

    def _solve(self, statistics: list[Moments]) -> RidgeSolution:
        return solve(
            statistics,
            self.alphas,
            fit_intercept=self.fit_intercept,
            standardize=self.standardize,
            one_standard_error=self.one_standard_error,
        )

    def _solved(self) -> RidgeSolution:
        if not hasattr(self, "_solution"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; call fit first")
        if self._solution is None:
            assert self._statistics is not None
            self._solution = self._solve(self._statistics)
        return self._solution

    def _scores(self, X: Any) -> tuple[Array, bool]:
        solution = self._solved()
        return self._linear(X, solution.coef, solution.intercept)

    def _first(self, array: Array, axis: int) -> Any:
        return np.take(array, 0, axis) if self._single else array

    def _squeeze(self, array: Array) -> Array:
        return array[..., 0] if self._single else array

    def _tensors(self) -> dict[str, Array]:
        return dict(vars(self._solved()))

    def _meta(self) -> dict[str, Any]:
        return {"single": self._single}

    def _restore(self, tensors: dict[str, Array], meta: dict[str, Any]) -> None:
        self._single, self._solution, self._statistics = meta["single"], RidgeSolution(**tensors), None

    def __getstate__(self) -> dict[str, Any]:
        """Arrays, numbers and names alone, so that a reader such as skops need trust no type but this one."""
        state = {**super().__getstate__()}
        for name in _PARTS.keys() & state.keys():
            whole = state[name]
            state[name] = [vars(one) for one in whole] if isinstance(whole, list) else whole and vars(whole)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        parts = {
            name: [kind(**one) for one in state[name]] if isinstance(state[name], list) else kind(**state[name])
            for name, kind in _PARTS.items()
            if state.get(name) is not None
        }
        super().__setstate__({**state, **parts})

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_solution")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
