"""What callers pass to the estimators, checked once and brought to one shape: maps (sample, y, x, channel).

A table is a stack of maps of one position each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from ldmscene.array_types import AnyArray, Array
from ldmscene.cells import cell_size
from ldmscene.errors import InputError, ShapeError
from ldmscene.probes.widening import halves_are_finite

_FLOATS = [np.float64, np.float32, np.float16]
_CHECK_VALUES = 1 << 22
_ORDER = ("sample", "y", "x", "Y", "X", "channel", "target")


@dataclass(frozen=True)
class Samples:
    """Checked input of a fit."""

    X: Any
    """[sample, y, x, c] numpy or dask, or a tensor where `read_fit` was asked to leave it"""
    y: Array
    """[sample, H, W, t] NaN where a pixel has no label; for a table H = W = 1"""
    weight: Array | None
    """[sample]"""
    table: bool
    single: bool
    """whether y came without an axis for targets"""

    @property
    def grid(self) -> tuple[int, int]:
        return self.X.shape[1], self.X.shape[2]

    @property
    def scale(self) -> tuple[int, int]:
        return cell_size(self.y.shape[:3], self.grid)

    def __len__(self) -> int:
        return int(self.X.shape[0])


def read_fit(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    groups: Any = None,
    *,
    classes: bool = False,
    several: bool = False,
    tensors: bool = False,
    reset: bool = True,
) -> Samples:
    """Check X and y and remember the number of features on the estimator.

    Of `groups` only the samples that they belong to are checked. `tensors` leaves a torch.Tensor X on its device.

    Raises
    ------
    InputError or ValueError
        With the argument and the sample that can't be used.
    """
    check_same_samples(X, y=y, groups=groups, sample_weight=sample_weight)
    check_order(X=X, y=y)
    X = unwrap(X)
    X = as_numpy(X) if is_tensor(X) and not tensors else X
    if y is None:
        raise InputError(f"{type(estimator).__name__} requires y to be passed, but the target y is None")
    if getattr(X, "ndim", 2) == 4:
        table = False
        X, labels, single = _read_maps(estimator, X, y, reset)
    else:
        table = True
        X, labels, single = _read_table(estimator, X, y, classes, several, reset)
    return Samples(X, labels, read_weight(sample_weight, X.shape[0]), table, single)


def read_predict(estimator: Any, X: Any) -> tuple[Any, bool]:
    """Features to predict from as maps, and whether they came as a table."""
    check_order(X=X)
    X = unwrap(X)
    if getattr(X, "ndim", 2) == 4:
        _check_channels(estimator, X, reset=False)
        return X, False
    if is_dask(X) or is_tensor(X) or getattr(X, "ndim", 2) > 2:
        _check_channels(estimator, X, reset=False)
        return X[:, None, None, :], True
    return validate_data(estimator, X, reset=False, dtype=_FLOATS)[:, None, None, :], True


def check_same_samples(X: Any, **beside: Any) -> None:
    """Labels, groups and weights belong to the activations beside which they stand, where both say whose they are."""
    own = _sample_names(X)
    for argument, array in beside.items():
        names = _sample_names(array)
        if own is not None and names is not None and not np.array_equal(own, names):
            raise ShapeError(
                f"{argument}: its `sample` coordinate isn't that of X, so that it would meet other samples' "
                f"activations; select the same samples in the same order, for example "
                f"{argument}.sel(sample=X['sample'])"
            )


def _sample_names(array: Any) -> Array | None:
    return array.coords["sample"].values if _is_named(array) and "sample" in array.coords else None


def _is_named(array: Any) -> bool:
    # Sparse arrays have coords of another kind, and no dims; those of h5py have dims alone.
    return hasattr(array, "dims") and hasattr(array, "coords")


def check_order(**arrays: Any) -> None:
    """ShapeError where axes that a store's arrays have, too, stand in another order than there."""
    for argument, array in arrays.items():
        known = [dim for dim in array.dims if dim in _ORDER] if _is_named(array) else []
        if known != sorted(known, key=_ORDER.index):
            wanted = sorted(known, key=_ORDER.index)
            raise ShapeError(
                f"{argument}: expected axes in the order {', '.join(wanted)}, got {', '.join(known)}; use "
                f"{argument}.transpose({', '.join(map(repr, wanted))})"
            )


def unwrap(X: Any) -> Any:
    """The numpy or dask array inside an xarray.DataArray, or an array on disk as numpy; anything else as it is.

    What numpy has masked is NaN.
    """
    X = X.data if hasattr(X, "dims") and hasattr(X, "data") else X
    if isinstance(X, np.ma.MaskedArray) and X.mask.any() and X.dtype.kind in "biuf":
        dtype = X.dtype if X.dtype.kind == "f" else np.result_type(X.dtype, np.float32)  # classes, perhaps
        return np.ma.filled(X.astype(dtype), np.nan)
    on_disk = hasattr(X, "chunks") and not is_dask(X)  # h5py's and zarr's
    return np.asarray(X) if on_disk else X


def is_tensor(X: Any) -> bool:
    return hasattr(X, "detach") and hasattr(X, "device")


def as_numpy(X: Any) -> AnyArray:
    """numpy from whatever `unwrap` gives; numpy has no bfloat16, which comes as float32."""
    if not is_tensor(X):
        return np.asarray(X)
    X = X.detach().cpu()
    plain: AnyArray = (X.float() if "bfloat16" in str(X.dtype) else X).numpy()
    return plain


def is_dask(X: Any) -> bool:
    return hasattr(X, "dask") and hasattr(X, "chunks")


def whole_samples(X: Any) -> Any:
    """A dask array with no chunk border inside a sample; anything else as it is."""
    return X.rechunk(dict.fromkeys(range(1, X.ndim), -1)) if is_dask(X) else X


def _read_maps(estimator: Any, X: Any, y: Any, reset: bool) -> tuple[Any, Array, bool]:
    X = X if is_tensor(X) else whole_samples(X) if is_dask(X) else np.asarray(X)
    y = as_numpy(unwrap(y))
    if y.ndim not in (3, 4) or len(y) != len(X):
        raise ShapeError(f"y: expected labels (sample, H, W) for the {len(X)} samples of X, got shape {y.shape}")
    cell_size(y.shape[:3], X.shape[1:3])
    _check_channels(estimator, X, reset)
    if not is_dask(X):
        _check_finite(X)
    labels = y if y.ndim == 4 else y[..., None]
    if labels.dtype.kind == "f" and np.isinf(labels).any():
        raise InputError(f"y: sample {int(np.argmax(np.isinf(labels).any((1, 2, 3))))} holds infinity")
    return X, labels, y.ndim == 3


def _read_table(estimator: Any, X: Any, y: Any, classes: bool, several: bool, reset: bool) -> tuple[Any, Array, bool]:
    if getattr(X, "ndim", 2) > 2:
        _check_axes(X)
    y = as_numpy(y) if is_tensor(y) else unwrap(y)
    rules = {"multi_output": several, "y_numeric": not classes}
    if is_dask(X) or is_tensor(X):
        _check_channels(estimator, X, reset)
        X, y = whole_samples(X), validate_data(estimator, y=np.asarray(y), reset=False, **rules)
        if len(X) != len(y):
            raise ShapeError(f"y: expected one row for each of the {len(X)} of X, got {len(y)}")
        if is_tensor(X):
            _check_finite(X[:, None, None, :])
    else:
        X, y = validate_data(estimator, X, y, reset=reset, dtype=_FLOATS, **rules)
    if classes:
        check_classification_targets(y)
    return X[:, None, None, :], y.reshape(len(y), 1, 1, -1), y.ndim == 1


def _check_axes(X: Any) -> None:
    if X.ndim not in (2, 4):
        raise ShapeError(
            f"X: expected a table (n, c) or maps (sample, y, x, c), got an array of shape {tuple(X.shape)}"
        )


def _check_channels(estimator: Any, X: Any, reset: bool) -> None:
    _check_axes(X)
    if not is_tensor(X) and X.dtype.kind in "OSUcmM":
        raise InputError(f"X: expected real numbers, got an array of dtype {X.dtype}")
    channels = X.shape[-1]
    if not channels:
        raise ShapeError(f"X: expected at least one channel, got an array of shape {tuple(X.shape)}")
    if reset:
        estimator.n_features_in_ = channels
    elif channels != estimator.n_features_in_:
        name = type(estimator).__name__
        raise ShapeError(f"X has {channels} features, but {name} is expecting {estimator.n_features_in_} features")


def _check_finite(X: Any) -> None:
    size = max(1, _CHECK_VALUES // max(1, int(np.prod(X.shape[1:]))))
    for first in range(0, len(X), size):
        part = X[first : first + size]
        if not all_finite(part):
            sample = first + int(np.argmin(np.isfinite(as_numpy(part)).all((1, 2, 3))))
            raise InputError(f"X: sample {sample} holds NaN or infinity")


def all_finite(X: Any) -> bool:
    """Whether an array or a tensor holds neither NaN nor infinity."""
    if is_tensor(X):
        return bool(X.isfinite().all())
    if X.dtype != np.float16:
        return bool(np.isfinite(X).all())
    return halves_are_finite(X)


def read_weight(sample_weight: Any, n_samples: int) -> Array | None:
    """Weights [sample] in float64, checked; None as it is."""
    if sample_weight is None:
        return None
    weight = as_numpy(unwrap(sample_weight)).astype(np.float64)
    if weight.shape != (n_samples,):
        raise ShapeError(f"sample_weight: expected shape ({n_samples},), got {weight.shape}")
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise InputError("sample_weight: expected finite numbers that are not negative")
    return weight


def read_groups(groups: Any, n_samples: int) -> AnyArray | None:
    """The group [sample] of each sample, be it on another device; None as it is."""
    if groups is None:
        return None
    names = as_numpy(unwrap(groups))
    if names.shape != (n_samples,):
        got = len(names) if names.ndim == 1 else f"an array of shape {names.shape}"
        raise InputError(f"groups: expected one for each of the {n_samples} samples, got {got}")
    return names
