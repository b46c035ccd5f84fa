"""The logistic regression as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from ldmscene.array_types import AnyArray, Array
from ldmscene.errors import ShapeError
from ldmscene.probes.base import Probe, all_or_nothing, known_pixels, named, read_score
from ldmscene.probes.choice import check_alphas
from ldmscene.probes.classes import count_classes, likeliest, probabilities
from ldmscene.probes.folds import assign_folds
from ldmscene.probes.inputs import read_fit, unwrap
from ldmscene.probes.logistic import fit_logistic

ALPHAS = tuple(10.0**k for k in range(-2, 6))


class LogisticProbe(ClassifierMixin, Probe):  # type: ignore[misc]  # scikit-learn has no types
    """Logistic regression at the labels' resolution, with its strength chosen by grouped cross-validation.

    Equal to scikit-learn's LogisticRegression(C=1/α) on the pixels of the labels with features that were
    upsampled to them (nearest), at the activations' resolution: binomial on cells for two classes,
    multinomial for more.

    Parameters
    ----------
    alphas : float or sequence of float
        Strengths to choose from by held-out log likelihood, in the units of label pixels. One needs no folds.
    cv : int, splitter or iterable of (train, test)
        Folds, over groups. See `ldmscene.probes.assign_folds`.
    fit_intercept : bool
        The intercept is not penalised.
    standardize : bool
        Penalise the coefficients of features scaled to unit variance on the training folds.
    one_standard_error : bool
        Take the largest α whose loss lies within one standard error of the least.
    tol : float
        Newton stops when the loss of a pixel is within tol / 2 of its least (gᵀH⁻¹g ≤ tol × pixels).
    max_iter : int
        Passes over the data for each α; if they aren't enough, a ConvergenceWarning says so.

    Attributes
    ----------
    classes_ : array (k,)
    coef_ : array (1, c), or (k, c) for k > 2 classes
    intercept_ : array (1,) or (k,)
    alpha_ : float
        The strength that was chosen.
    alphas_ : array (a,)
        All that were tried, ascending.
    path_ : array (a,)
        Held-out mean log loss of each, averaged over folds; NaN for a single one.
    errors_ : array (fold, a)
        The same for each fold.
    converged_ : bool
    n_iter_ : int
        Passes of the final fit.
    scale_ : (int, int)
        Label pixels of a position along y and x; (1, 1) for a table.
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> import ldmscene
    >>> draw = np.random.default_rng(0)
    >>> X = draw.standard_normal((8, 4, 4, 3))  # (sample, y, x, channel)
    >>> y = (X[..., 0] > 0).repeat(4, 1).repeat(4, 2)  # (sample, H, W), H and W four times as many
    >>> probe = ldmscene.LogisticProbe(cv=4).fit(X, y)
    >>> bool(probe.score(X, y) > 0.95)
    True
    """

    def __init__(
        self,
        alphas: float | Sequence[float] = ALPHAS,
        *,
        cv: Any = 5,
        fit_intercept: bool = True,
        standardize: bool = False,
        one_standard_error: bool = False,
        tol: float = 1e-14,
        max_iter: int = 100,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.one_standard_error = one_standard_error
        self.tol = tol
        self.max_iter = max_iter

    @all_or_nothing
    def fit(self, X: Any, y: Any, *, groups: Any = None, sample_weight: Any = None) -> Self:
        """Fit from scratch.

        Parameters
        ----------
        X : array (n, c) or (sample, y, x, c)
            numpy, dask or xarray; any real dtype. dask chunks are read again in each pass: persist them if
            they fit.
        y : array (n,) or (sample, H, W)
            Classes. H and W are multiples of y and x. In maps NaN marks a pixel without label.
        groups : array (n,) or (sample,), optional
            Samples of one group, such as those of one prompt, share a fold. Without it each sample is a group, so
            that the same prompt may lie in several folds, and the penalty chosen is too weak.
        sample_weight : array (n,) or (sample,), optional

        Raises
        ------
        InputError
            If X holds NaN, all pixels have one class, there are fewer groups than folds or an α isn't
            positive.
        ShapeError
            If the labels don't tile the activations.
        """
        samples = read_fit(self, X, y, sample_weight, groups, classes=True)
        if samples.y.shape[-1] != 1:
            raise ShapeError(f"y: expected (sample, H, W), got a last axis of {samples.y.shape[-1]} targets")
        classes, weight, counts = count_classes(samples)
        several = check_alphas(self.alphas).size > 1
        solution = fit_logistic(
            samples.X,
            weight,
            counts,
            assign_folds(len(samples), self.cv, groups) if several else None,
            self.alphas,
            fit_intercept=self.fit_intercept,
            standardize=self.standardize,
            one_standard_error=self.one_standard_error,
            tol=self.tol,
            max_iter=self.max_iter,
        )
        if not solution.converged:
            message = f"Newton's method didn't reach tol={self.tol:g} in max_iter={self.max_iter} passes"
            warnings.warn(f"{message}; raise max_iter or the smallest of alphas", ConvergenceWarning, stacklevel=3)
        self.classes_, self.scale_ = classes, samples.scale
        self.coef_, self.intercept_, self.alpha_ = solution.coef, solution.intercept, solution.alpha
        self.alphas_, self.errors_, self.path_ = solution.alphas, solution.errors, solution.path
        self.converged_, self.n_iter_ = solution.converged, solution.n_iter
        return self

    @named("class")
    def decision_function(self, X: Any) -> Any:
        """Log odds of the second class (n,) or (sample, H, W); for k > 2 classes one score each, (..., k).

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
        >>> y = (X @ [1.0, -2.0, 0.5] > 0).repeat(4, 1).repeat(4, 2)
        >>> probe = ldmscene.LogisticProbe(cv=3).fit(X, y)
        >>> probe.decision_function(X).shape
        (8, 16, 16)
        """
        scores, table = self._linear(X, *self._weights())
        scores = scores[:, 0, 0] if table else self._to_labels(scores)
        return scores[..., 0] if scores.shape[-1] == 1 else scores

    @named("class")
    def predict_proba(self, X: Any) -> Any:
        """Probability of each class, (n, k) or (sample, H, W, k).

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
        >>> y = (X @ [1.0, -2.0, 0.5] > 0).repeat(4, 1).repeat(4, 2)
        >>> probe = ldmscene.LogisticProbe(cv=3).fit(X, y)
        >>> probe.predict_proba(X).shape
        (8, 16, 16, 2)
        """
        return probabilities(unwrap(self.decision_function(X)), len(self.classes_))

    @named("class")
    def predict(self, X: Any) -> Any:
        """The likeliest class at the labels' resolution, (n,) or (sample, H, W).

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
        >>> y = (X @ [1.0, -2.0, 0.5] > 0).repeat(4, 1).repeat(4, 2)
        >>> probe = ldmscene.LogisticProbe(cv=3).fit(X, y)
        >>> probe.predict(X).dtype, probe.predict(X).shape
        (dtype('bool'), (8, 16, 16))
        """
        scores, table = self._linear(X, *self._weights())
        index = likeliest(scores)
        labels: AnyArray = self.classes_[index[:, 0, 0] if table else self._to_labels(index[..., None])[..., 0]]
        return labels

    @named("class", ("y", "x"))
    def predict_cells(self, X: Any) -> Any:
        """Probability of each class at the activations' resolution, (sample, y, x, k).

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
        >>> y = (X @ [1.0, -2.0, 0.5] > 0).repeat(4, 1).repeat(4, 2)
        >>> probe = ldmscene.LogisticProbe(cv=3).fit(X, y)
        >>> probe.predict_cells(X).shape
        (8, 4, 4, 2)
        """
        scores, _ = self._linear(X, *self._weights())
        return probabilities(scores[..., 0] if scores.shape[-1] == 1 else scores, len(self.classes_))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of labelled pixels whose class is right.

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
        >>> y = (X @ [1.0, -2.0, 0.5] > 0).repeat(4, 1).repeat(4, 2)
        >>> probe = ldmscene.LogisticProbe(cv=3).fit(X, y)
        >>> probe.score(X, y) > 0.95
        True
        """
        prediction = unwrap(self.predict(X))
        labels, weight = read_score(X, y, sample_weight, prediction)
        labels, predicted, weight = known_pixels(labels, prediction, weight)
        return float(np.average(labels == predicted, weights=weight))

    def _weights(self) -> tuple[Array, Array]:
        check_is_fitted(self)
        return self.coef_, self.intercept_

    def _tensors(self) -> dict[str, Array]:
        names = ("coef_", "intercept_", "alphas_", "errors_", "path_")
        return {name: getattr(self, name) for name in names}

    def _meta(self) -> dict[str, Any]:
        classes = {"classes": self.classes_.tolist(), "classes_dtype": self.classes_.dtype.str}
        return {**classes, "alpha": self.alpha_, "converged": self.converged_, "n_iter": self.n_iter_}

    def _restore(self, tensors: dict[str, Array], meta: dict[str, Any]) -> None:
        for name, array in tensors.items():
            setattr(self, name, array)
        self.classes_ = np.array(meta["classes"], dtype=meta["classes_dtype"])
        self.alpha_, self.converged_, self.n_iter_ = meta["alpha"], meta["converged"], meta["n_iter"]
