"""The published probe: a linear layer trained with Adam, as the baseline of all comparisons.

Chen, Viégas and Wattenberg, "Beyond Surface Statistics: Scene Representations in a Latent Diffusion Model"
(arXiv 2306.05720): float32 features without normalisation, PyTorch's default initialisation, no bias,
outputs upsampled to the labels (nearest) before the loss, 30 epochs in batches of 4, the last epoch's
weights.
"""

from __future__ import annotations

from typing import Any, Self, get_args

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils import ClassifierTags, RegressorTags, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from ldmscene.array_types import Array
from ldmscene.choices import Loss
from ldmscene.errors import InputError, ShapeError
from ldmscene.probes.base import Probe, all_or_nothing, known_pixels, named, read_score
from ldmscene.probes.classes import find_classes, likeliest, probabilities
from ldmscene.probes.inputs import Samples, read_fit, unwrap
from ldmscene.probes.training import IGNORED, Recipe, train


def _classifies(probe: AdamProbe) -> bool:
    return probe.loss == "cross_entropy"


class AdamProbe(Probe):
    """A linear probe trained with Adam by the published protocol.

    Parameters
    ----------
    loss : {"huber", "cross_entropy"}
        Huber for numbers: a regressor with one output. Cross entropy for classes: a classifier with one
        output for each.
    lr : float
        Published: 1e-3 for saliency and depth, 1e-2 for shading.
    epochs, batch_size : int
        A batch is of samples: of whole maps, or of rows of a table.
    delta : float
        Where the Huber loss turns from quadratic to linear, in the units of y.
    random_state : int, RandomState or None
        For the initial weights and the order of samples.
    device : str or None
        A torch device; None: the CPU.

    Attributes
    ----------
    coef_ : array (c,) for Huber, (k, c) for cross entropy
    intercept_ : float or array (k,)
        Zero: the published probe has none.
    losses_ : array (epoch,)
        Mean training loss of each epoch.
    classes_ : array (k,)
        For cross entropy only.
    scale_ : (int, int)
        Label pixels of a position along y and x; (1, 1) for a table.
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> import ldmscene
    >>> draw = np.random.default_rng(0)
    >>> X = draw.standard_normal((8, 4, 4, 3)).astype(np.float32)  # (sample, y, x, channel)
    >>> y = (X @ [1.0, -2.0, 0.5]).repeat(4, 1).repeat(4, 2)  # (sample, H, W), H and W four times as many
    >>> probe = ldmscene.AdamProbe(epochs=200, lr=0.05).fit(X, y)
    >>> bool(probe.score(X, y) > 0.99)
    True
    """

    def __init__(
        self,
        loss: Loss = "huber",
        *,
        lr: float = 1e-3,
        epochs: int = 30,
        batch_size: int = 4,
        delta: float = 1.0,
        random_state: Any = None,
        device: str | None = None,
    ) -> None:
        self.loss = loss
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.delta = delta
        self.random_state = random_state
        self.device = device

    @all_or_nothing
    def fit(self, X: Any, y: Any) -> Self:
        """Train from scratch.

        Parameters
        ----------
        X : array (n, c) or (sample, y, x, c)
            numpy, dask or xarray.
        y : array (n,) or (sample, H, W)
            H and W are multiples of y and x. In maps NaN marks a pixel without label.
        """
        if self.loss not in get_args(Loss):
            raise InputError(f"loss: expected 'huber' or 'cross_entropy', got {self.loss!r}")
        samples = read_fit(self, X, y, classes=_classifies(self))
        if samples.y.shape[-1] != 1:
            raise ShapeError(f"y: expected (n,) or (sample, H, W), got {samples.y.shape[-1]} targets")
        labels = self._labels(samples)
        recipe = Recipe(
            loss=self.loss,
            outputs=len(self.classes_) if _classifies(self) else 1,
            lr=self.lr,
            epochs=self.epochs,
            batch_size=self.batch_size,
            delta=self.delta,
            seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
            device=self.device,
        )
        weight, losses = train(samples.X, labels, recipe)
        self.losses_: Array = losses
        self.scale_ = samples.scale
        self._coef: Array = weight.astype(np.float64)
        self.coef_ = self._coef if _classifies(self) else self._coef[0]
        self.intercept_ = np.zeros(len(weight)) if _classifies(self) else 0.0
        return self

    @named("class")
    def predict(self, X: Any) -> Any:
        """Numbers or classes at the labels' resolution, (n,) or (sample, H, W).

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
        >>> probe = ldmscene.AdamProbe(epochs=200, lr=0.05).fit(X, y)
        >>> probe.predict(X).shape
        (8, 16, 16)
        """
        scores, table = self._scores(X)
        values = likeliest(scores) if _classifies(self) else scores[..., 0]
        values = values[:, 0, 0] if table else self._to_labels(values[..., None])[..., 0]
        return self.classes_[values] if _classifies(self) else values

    @named("class", ("y", "x"))
    def predict_cells(self, X: Any) -> Any:
        """At the activations' resolution: numbers (sample, y, x), or probabilities (sample, y, x, k).

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
        >>> probe = ldmscene.AdamProbe(epochs=200, lr=0.05).fit(X, y)
        >>> probe.predict_cells(X).shape
        (8, 4, 4)
        """
        scores, _ = self._scores(X)
        return _probabilities(scores) if _classifies(self) else scores[..., 0]

    @available_if(_classifies)  # type: ignore[untyped-decorator]  # scikit-learn has no types
    @named("class")
    def decision_function(self, X: Any) -> Any:
        """One score for each class (..., k); for two classes their difference."""
        scores, table = self._scores(X)
        scores = scores[:, 0, 0] if table else self._to_labels(scores)
        return scores[..., 1] - scores[..., 0] if len(self.classes_) == 2 else scores

    @available_if(_classifies)  # type: ignore[untyped-decorator]  # scikit-learn has no types
    @named("class")
    def predict_proba(self, X: Any) -> Any:
        """Probability of each class, (n, k) or (sample, H, W, k)."""
        scores, table = self._scores(X)
        return _probabilities(scores[:, 0, 0] if table else self._to_labels(scores))

    def score(self, X: Any, y: Any) -> float:
        """R² over all labelled pixels, or the share of them whose class is right.

        Parameters
        ----------
        X : array (n, c) or (sample, y, x, c)
            numpy, dask, xarray or torch, with the channels of the fit.
        y : array of the prediction's shape
            In maps NaN marks a pixel without label.

        Examples
        --------
        >>> import numpy as np
        >>> import ldmscene
        >>> draw = np.random.default_rng(0)
        >>> X = draw.standard_normal((8, 4, 4, 3)).astype(np.float32)
        >>> y = (X @ [1.0, -2.0, 0.5]).repeat(4, 1).repeat(4, 2)
        >>> probe = ldmscene.AdamProbe(epochs=200, lr=0.05).fit(X, y)
        >>> probe.score(X, y) > 0.99
        True
        """
        prediction = unwrap(self.predict(X))
        labels, _ = read_score(X, y, None, prediction)
        labels, predicted, _ = known_pixels(labels, prediction, None)
        return float((labels == predicted).mean() if _classifies(self) else r2_score(labels, predicted))

    def _labels(self, samples: Samples) -> Array:
        """[sample, H, W] numbers with NaN, or indices of classes with −100, where there is no label."""
        y = samples.y[..., 0]
        if not _classifies(self):
            if np.isnan(y).all():
                raise InputError("y: expected at least one pixel with a label, got none, so there is nothing to learn")
            return y.astype(np.float32)
        self.classes_, known = find_classes(samples)
        if len(self.classes_) < 2:
            raise InputError("y: expected at least 2 classes, got 1 class, so there is nothing to learn")
        index = np.searchsorted(self.classes_, np.where(known, y, self.classes_[0]))
        return np.where(known, index, IGNORED)

    def _scores(self, X: Any) -> tuple[Array, bool]:
        check_is_fitted(self)
        return self._linear(X, self._coef, np.zeros(len(self._coef)))

    def _tensors(self) -> dict[str, Array]:
        return {"coef": self._coef, "losses": self.losses_}

    def _meta(self) -> dict[str, Any]:
        if not _classifies(self):
            return {}
        return {"classes": self.classes_.tolist(), "classes_dtype": self.classes_.dtype.str}

    def _restore(self, tensors: dict[str, Array], meta: dict[str, Any]) -> None:
        self._coef, self.losses_ = tensors["coef"], tensors["losses"]
        self.coef_ = self._coef if _classifies(self) else self._coef[0]
        self.intercept_ = np.zeros(len(self._coef)) if _classifies(self) else 0.0
        if _classifies(self):
            self.classes_ = np.array(meta["classes"], dtype=meta["classes_dtype"])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        # Thirty epochs at the published rate are few for a small table.
        if _classifies(self):
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags(poor_score=True)
        else:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags(poor_score=True)
        return tags


def _probabilities(scores: Array) -> Array:
    return probabilities(scores[..., 1] - scores[..., 0] if scores.shape[-1] == 2 else scores, scores.shape[-1])
