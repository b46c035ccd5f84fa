"""Weighted first and second moments that can be merged: all that a ridge needs to know of the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np

from ldmscene.array_types import Array
from ldmscene.errors import InputError, ShapeError
from ldmscene.probes.products import Sums, sums_of
from ldmscene.probes.tensor_sums import sums_of_tensor


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
    rounding: Array = field(default_factory=lambda: np.zeros(()))
    """[c] by how much the diagonal of cxx may be off, beyond the rounding of float64; of [i, j] the root of both"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rounding", np.broadcast_to(self.rounding, self.mean_x.shape))

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
        cls,
        X: Any,
        weight: Array | None,
        Y: Array,
        rows_per_sample: int = 1,
        precision: str = "float64",
    ) -> Moments:
        """Of the rows of a table.

        Parameters
        ----------
        X : array or torch.Tensor (n, c)
            A tensor is reduced on its own device.
        weight : array (n,) or None
            Not negative; for cells, the number of labelled pixels. None: 1 each.
        Y : array (n,) or (n, t)
            The target, or the mean target of a cell.
        rows_per_sample : int
            How many rows of X make a sample, for the message about a bad one.
        precision : {"float64", "float32"}
            Of products of features that are float16; all others have those of float64.

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
        whole = from_sums(sums_over_maps(X[None], w[None], Y[None], precision, positions=False))
        if not np.isfinite(whole.mean_x).all():
            raise InputError(bad_row(X, rows_per_sample))
        return whole

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
            self.rounding + other.rounding,
        )

    def about_zero(self) -> Moments:
        """Moments about zero instead of the mean, which is what a fit without intercept sees."""
        root = np.sqrt(self.weight)
        x, y = root * self.mean_x, root * self.mean_y
        return Moments(
            self.weight,
            np.zeros_like(x),
            np.zeros_like(y),
            self.cxx + np.outer(x, x),
            self.cxy + np.outer(x, y),
            self.cyy + y**2,
            self.rounding,
        )


def merge_all(parts: Iterable[Moments]) -> Moments:
    """Merge one after the other; at least one."""
    return reduce(Moments.merge, parts)


def from_sums(sums: Sums) -> Moments:
    """Statistics of what `sums_of` gives."""
    return Moments(sums.weight, sums.mean_x, sums.mean_y, sums.cxx, sums.cxy, sums.cyy, sums.rounding)


def sums_over_maps(X: Any, w: Array, Y: Array, precision: str, *, positions: bool = True) -> Sums:
    """Sums over maps (sample, p, c), at each position too where `positions` asks for it.

    By numpy or on a tensor's device; float32 products are of float16 alone.
    """
    single = precision == "float32" and str(X.dtype).rpartition(".")[2] == "float16"
    sums = sums_of if isinstance(X, np.ndarray) else sums_of_tensor
    return sums(X, w, Y, single=single, positions=positions)


def bad_row(X: Any, rows_per_sample: int) -> str:
    """Which sample of the rows of a table holds NaN or infinity."""
    finite = np.isfinite(X) if isinstance(X, np.ndarray) else X.isfinite().cpu().numpy()
    return f"X: sample {int(np.argmin(finite.all(1))) // rows_per_sample} holds NaN or infinity"
