"""What all probes share: linear scores, the way back to the labels' resolution, and files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from os import PathLike
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import numpy as np
import xarray as xr
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ldmscene.array_types import Array
from ldmscene.cells import spread
from ldmscene.choices import Upsampling
from ldmscene.errors import InputError, ShapeError
from ldmscene.probes.bilinear import lift
from ldmscene.probes.files import PROBE, jsonable
from ldmscene.probes.inputs import as_numpy, check_order, check_same_samples, is_dask, read_predict, read_weight, unwrap

P = ParamSpec("P")
S = TypeVar("S", bound="Probe")


def all_or_nothing(fit: Callable[Concatenate[S, P], S]) -> Callable[Concatenate[S, P], S]:
    """A fit that leaves the probe as it was if it fails."""

    @wraps(fit)
    def fit_or_restore(self: S, /, *args: P.args, **kwargs: P.kwargs) -> S:
        before = dict(vars(self))  # attributes are replaced, never changed in place
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return fit_or_restore


def named(
    last: str, axes: tuple[str, str] = ("Y", "X")
) -> Callable[[Callable[[S, Any], Array]], Callable[[S, Any], Any]]:
    """For a method that predicts: from an `xarray.DataArray` one comes back, with X's coordinates that still fit.

    `axes` name the axes of maps, `last` an axis after them, where there is one.
    """

    def decorate(predict: Callable[[S, Any], Array]) -> Callable[[S, Any], Any]:
        @wraps(predict)
        def predict_named(self: S, X: Any) -> Any:
            values = predict(self, X)
            return _like(X, values, (axes if values.ndim > 2 else ()), last) if isinstance(X, xr.DataArray) else values

        return predict_named

    return decorate


def _like(X: xr.DataArray, values: Array, axes: tuple[str, ...], last: str) -> xr.DataArray:
    dims = (X.dims[0], *axes, last)[: values.ndim]
    coords = {name: coord for name, coord in X.coords.items() if set(coord.dims) <= set(dims)}
    return xr.DataArray(values, coords, dims, name="prediction")


class Probe(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A linear map from channels to targets.

    A probe fitted on maps remembers how many label pixels lie over a position (`scale_`), and predicts at
    that resolution.
    """

    scale_: tuple[int, int]
    n_features_in_: int
    upsample: Upsampling = "nearest"

    def save(self, path: str | PathLike[str], provenance: Mapping[str, Any] | None = None) -> None:
        """Write the fitted probe as safetensors.

        Parameters
        ----------
        path : path
        provenance : mapping, optional
            Whatever JSON can hold: the store's fingerprint, module, step, target. It comes back as
            `provenance_`.

        Notes
        -----
        Statistics aren't part of the file: a loaded probe predicts, and `fit` starts anew. Parameters that
        JSON can't hold (explicit splits as `cv`) are left out.
        """
        check_is_fitted(self)
        meta = {
            "class": type(self).__name__,
            "params": jsonable(self.get_params()),
            "scale": list(self.scale_),
            "n_features_in": self.n_features_in_,
            "dtype": "float64",
            "provenance": dict(provenance or {}),
            **self._meta(),
        }
        PROBE.write(path, self._tensors(), meta)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """A probe from `save`.

        Parameters
        ----------
        path : path

        Raises
        ------
        InputError
            If the file holds a probe of another class, or none.
        """
        tensors, meta = PROBE.read(path)
        if meta["class"] != cls.__name__:
            raise InputError(f"path: {path} holds a {meta['class']}; load it with {meta['class']}.load")
        params = {k: tuple(v) if isinstance(v, list) else v for k, v in meta["params"].items()}
        probe = cls(**params)
        probe.scale_, probe.n_features_in_ = (meta["scale"][0], meta["scale"][1]), meta["n_features_in"]
        probe.provenance_ = meta["provenance"]
        probe._restore(tensors, meta)
        return probe

    def _linear(self, X: Any, coef: Array, intercept: Array) -> tuple[Array, bool]:
        """Scores (sample, y, x, t) in float64, block by block, and whether X is a table."""
        check_is_fitted(self)
        maps, table = read_predict(self, X)
        with np.errstate(invalid="ignore"):  # an infinity, which is reported below
            parts = [block.astype(np.float64, copy=False) @ coef.T + intercept for block in sample_blocks(maps)]
        scores = np.concatenate(parts) if parts else np.empty((0, *maps.shape[1:3], len(coef)))
        if not np.isfinite(scores).all():
            bad = int(np.argmin(np.isfinite(scores).all((1, 2, 3))))
            raise InputError(f"X: sample {bad} holds NaN or infinity")
        return scores, table

    def _to_labels(self, maps: Array) -> Array:
        """Upsample (sample, y, x, t) by the scale seen in fit."""
        channels_first = np.moveaxis(maps, -1, 1)
        if self.upsample == "bilinear":
            shape = maps.shape[1] * self.scale_[0], maps.shape[2] * self.scale_[1]
            return np.moveaxis(lift(channels_first, shape), 1, -1)
        return np.moveaxis(spread(channels_first, self.scale_), 1, -1)

    def _tensors(self) -> dict[str, Array]:
        raise NotImplementedError

    def _meta(self) -> dict[str, Any]:
        return {}

    def _restore(self, tensors: dict[str, Array], meta: dict[str, Any]) -> None:
        raise NotImplementedError


def sample_blocks(maps: Any) -> Iterator[Array]:
    """Maps a few samples at a time: dask chunks, or pieces of about 32 MB in float64."""
    if is_dask(maps):
        ends = np.cumsum(maps.chunks[0])
        bounds = [(int(end - size), int(end)) for end, size in zip(ends, maps.chunks[0], strict=True)]
    else:
        size = max(1, (1 << 22) // max(1, int(np.prod(maps.shape[1:]))))
        bounds = [(i, i + size) for i in range(0, len(maps), size)]
    for first, last in bounds:
        yield as_numpy(maps[first:last])


def read_score(X: Any, y: Any, sample_weight: Any, prediction: Array) -> tuple[Array, Array | None]:
    """Labels of the prediction's shape, and weights [sample], to score it with."""
    check_same_samples(X, y=y, sample_weight=sample_weight)
    check_order(y=y)
    labels = as_numpy(unwrap(y))
    if labels.shape != prediction.shape:
        raise ShapeError(f"y: expected labels of shape {prediction.shape}, got {labels.shape}")
    return labels, read_weight(sample_weight, len(prediction))


def known_pixels(labels: Array, prediction: Array, weight: Array | None) -> tuple[Array, Array, Array | None]:
    """Labels, predictions and weights of the labelled pixels (sample, ...) of one target."""
    known = ~np.isnan(labels) if labels.dtype.kind == "f" else np.ones(labels.shape, dtype=bool)
    if not known.any():
        raise InputError("y: expected at least one pixel with a label to score, got none")
    return labels[known], prediction[known], None if weight is None else weight[np.nonzero(known)[0]]
