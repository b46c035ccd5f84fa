"""Weighted first and second moments that can be merged: all that a ridge needs to know of the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from ldmscene.array_types import Array
from ldmscene.errors import InputError, ShapeError
from ldmscene.probes.widening import subtract

# A block stays in the cache between the cast and the product, if that leaves the product rows enough.
_BLOCK_VALUES = 1 << 17
_BLOCK_ROWS = 1024
_TENSOR_VALUES = 1 << 22


@dataclass(frozen=True)
class Moments:
    """Float64 statistics of features X and targets Y under one set of weights.

    Blocks merge by the pairwise rule of Chan, Golub and LeVeque (1983, "Algorithms for computing the sample
    variance", eq. 2.1), in its weighted and multivariate form. Every sum is about the mean, so that data far
    from zero lose nothing to cancellation. Merging is associative up to rounding: any tree of merges will do.
    """

    weight: float
    """Σw"""
    mean_x: Array
    """[c]"""
    mean_y: Array
    """[t]"""
    cxx: Array
    """[c, c] Σw (x − x̄)(x − x̄)ᵀ, symmetric to the last bit"""
    cxy: Array
    """[c, t] Σw (x − x̄)(y − ȳ)"""
    cyy: Array
    """[t] Σw (y − ȳ)²"""

    @classmethod
    def empty(cls, channels: int, targets: int) -> Moments:
        """Of no data: the neutral element of `merge`."""
        return cls(
            0.0,
            np.zeros(channels),
            np.zeros(targets),
            np.zeros((channels, channels)),
            np.zeros((channels, targets)),
            np.zeros(targets),
        )

    @classmethod
    def of(
        cls, X: Any, weight: Array | None, Y: Array, scatter: Array | float = 0.0, rows_per_sample: int = 1
    ) -> Moments:
        """Of the rows of a table, in float64 whatever the dtype of X.

        Parameters
        ----------
        X : array or torch.Tensor (n, c)
            A tensor is reduced on its own device.
        weight : array (n,) or None
            Not negative; for cells, the number of labelled pixels. None: 1 each.
        Y : array (n,) or (n, t)
            The target, or the mean target of a cell.
        scatter : array (t,), optional
            Σ (y − cell mean)² over the pixels inside cells, which X can't explain.
        rows_per_sample : int
            How many rows of X make a sample, for the message about a bad one.

        Raises
        ------
        ShapeError
            If there isn't one weight for each row.
        InputError
            If X holds a NaN or an infinity.
        """
        Y = np.asarray(Y, dtype=np.float64)
        Y = Y[:, None] if Y.ndim == 1 else Y
        w = np.ones(len(X)) if weight is None else np.asarray(weight, dtype=np.float64)
        if w.shape != (len(X),):
            raise ShapeError(f"weight: expected one for each of the {len(X)} rows, got shape {w.shape}")
        if not w.any():
            return cls.empty(X.shape[1], Y.shape[1])
        whole = _of_array(X, w, Y) if isinstance(X, np.ndarray) else _of_tensor(X, w, Y)
        if not np.isfinite(whole.mean_x).all():
            raise InputError(_bad_row(X, rows_per_sample))
        return cls(**{**vars(whole), "cyy": whole.cyy + scatter})

    def merge(self, other: Moments) -> Moments:
        """The statistics of both data sets together; neither is changed."""
        if not self.weight or not other.weight:
            return self if self.weight else other
        weight = self.weight + other.weight
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        share = other.weight / weight
        # The root in both factors keeps the outer product symmetric.
        root = np.sqrt(self.weight * share)
        x, y = root * dx, root * dy
        return Moments(
            weight,
            self.mean_x + share * dx,
            self.mean_y + share * dy,
            self.cxx + other.cxx + np.outer(x, x),
            self.cxy + other.cxy + np.outer(x, y),
            self.cyy + other.cyy + y**2,
        )

    def about_zero(self) -> Moments:
        """The same sums about zero instead of the mean, which is what a fit without intercept sees."""
        root = np.sqrt(self.weight)
        x, y = root * self.mean_x, root * self.mean_y
        return Moments(
            self.weight,
            np.zeros_like(x),
            np.zeros_like(y),
            self.cxx + np.outer(x, x),
            self.cxy + np.outer(x, y),
            self.cyy + y**2,
        )


def merge_all(parts: Iterable[Moments], start: Moments | None = None) -> Moments:
    """Merge one after the other."""
    return reduce(Moments.merge, parts) if start is None else reduce(Moments.merge, parts, start)


def _of_array(X: Array, w: Array, Y: Array) -> Moments:
    """One symmetric product of [X, 1, Y], shifted to about its mean, gives all sums at once."""
    c, width = X.shape[1], X.shape[1] + 1 + Y.shape[1]
    shift = np.concatenate([_rough_mean(X, w), [0.0], w @ Y / w.sum()])
    rows = max(_BLOCK_ROWS, _BLOCK_VALUES // width)
    block = np.empty((min(rows, len(X)), width))
    sums, product = np.zeros((2, width, width))
    root = None if (w == w[0]).all() else np.sqrt(w)
    with np.errstate(invalid="ignore"):  # an infinity, which the caller reports
        for first in range(0, len(X), rows):
            part = block[: len(X) - first]
            one = slice(first, first + len(part))
            subtract(X[one], shift[:c], part[:, :c])
            part[:, c], part[:, c + 1 :] = 1, Y[one] - shift[c + 1 :]
            if root is not None:
                part *= root[one, None]
            # numpy calls the BLAS's syrk for a matrix times itself. SciPy's would keep other threads waiting.
            sums += np.matmul(part.T, part, out=product)
    return _from_sums(sums if root is not None else w[0] * sums, shift, c)


def _rough_mean(X: Array, w: Array) -> Array:
    """The mean of some rows.

    Of rows that hold the share s of all weight, it is at most √(1 / s) deviations from the mean of all.
    That costs sums about it a factor 1 / s of rounding at worst, here 256. So where weights differ, the
    heaviest rows are taken.
    """
    many = max(len(w) // 256, min(len(w), 64))
    even = (w == w[0]).all()
    some = np.arange(0, len(w), len(w) // many) if even else np.argpartition(w, len(w) - many)[-many:]
    with np.errstate(invalid="ignore"):
        mean: Array = w[some] @ X[some].astype(np.float64) / w[some].sum()
    return mean


def _from_sums(sums: Array, shift: Array, c: int) -> Moments:
    total = sums[c, c]
    off = sums[c] / np.sqrt(total)
    about_mean = sums - np.outer(off, off)
    mean = shift + sums[c] / total
    parts = about_mean[:c, :c], about_mean[:c, c + 1 :], np.diag(about_mean)[c + 1 :]
    cxx, cxy, cyy = (np.ascontiguousarray(part) for part in parts)
    return Moments(float(total), mean[:c], mean[c + 1 :], cxx, cxy, np.maximum(cyy, 0))


def _of_tensor(X: Any, w: Array, Y: Array) -> Moments:
    """In blocks: only they are float64 on the tensor's device."""
    rows = max(_BLOCK_ROWS, _TENSOR_VALUES // X.shape[1])
    parts = (slice(first, first + rows) for first in range(0, len(X), rows))
    return merge_all(_of_tensor_rows(X[part].detach().double(), w[part], Y[part]) for part in parts)


def _of_tensor_rows(X: Any, w: Array, Y: Array) -> Moments:
    total = w.sum()
    if not total:
        return Moments.empty(X.shape[1], Y.shape[1])
    wd, Yd = X.new_tensor(w), X.new_tensor(Y)
    mean_x, mean_y = wd @ X / total, wd @ Yd / total
    root = wd.sqrt()[:, None]
    X, Yd = root * (X - mean_x), root * (Yd - mean_y)
    parts = (part.cpu().numpy() for part in (mean_x, mean_y, X.T @ X, X.T @ Yd, (Yd**2).sum(0)))
    mean_x, mean_y, cxx, cxy, cyy = parts
    return Moments(float(total), mean_x, mean_y, (cxx + cxx.T) / 2, cxy, cyy)


def _bad_row(X: Any, rows_per_sample: int) -> str:
    finite = np.isfinite(X) if isinstance(X, np.ndarray) else X.isfinite().cpu().numpy()
    return f"X: sample {int(np.argmin(finite.all(1))) // rows_per_sample} holds NaN or infinity"
