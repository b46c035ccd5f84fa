"""A pass over data that may be larger than memory, in blocks that belong to one fold each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ldmscene.array_types import Array, Ints

_BLOCK_VALUES = 1 << 17
_CACHE_BYTES = 1 << 28


@dataclass(frozen=True)
class Block:
    """Rows of one fold."""

    fold: int
    X: Array
    """[m, d] features, shifted and scaled; the last column is 1 if there is an intercept"""
    weight: Array
    """[m]"""
    counts: Array
    """[m, k] weight of each class; for two classes k is 1 and holds the second"""


@dataclass(frozen=True)
class Rows:
    """Features and class counts, to be read again in every pass."""

    X: Any
    """[sample, position, c] numpy or dask; read chunk by chunk in any dtype"""
    weight: Array
    """[sample, position]"""
    counts: Array
    """[sample, position, k]"""
    fold: Ints
    """[sample]"""

    @property
    def channels(self) -> int:
        channels: int = self.X.shape[2]
        return channels

    def read(self) -> Iterator[tuple[int, Array, Array, Array]]:
        """Yield (fold, X [m, c], weight [m], counts [m, k])."""
        for samples in self._chunks:
            X = np.asarray(self.X[samples])
            for fold in np.unique(self.fold[samples]):
                some = self.fold[samples] == fold
                rows = X if some.all() else X[some]
                weight, counts = self.weight[samples][some], self.counts[samples][some]
                yield (
                    int(fold),
                    rows.reshape(-1, X.shape[2]),
                    weight.reshape(-1),
                    counts.reshape(weight.size, -1),
                )

    @cached_property
    def _chunks(self) -> list[Any]:
        if hasattr(self.X, "chunks"):
            ends = np.cumsum(self.X.chunks[0])
            return [slice(int(end - size), int(end)) for end, size in zip(ends, self.X.chunks[0], strict=True)]
        size = max(1, _BLOCK_VALUES // max(1, self.X.shape[1] * self.channels))
        members = (np.flatnonzero(self.fold == k) for k in np.unique(self.fold))
        return [rows[i : i + size] for rows in members for i in range(0, len(rows), size)]


@dataclass(frozen=True)
class Scaled:
    """Rows as the solver sees them: (X − shift) / scale, with a column of ones for an intercept."""

    rows: Rows
    shift: Array
    """[c]"""
    scale: Array
    """[c]"""
    intercept: bool
    dtype: Any

    @property
    def width(self) -> int:
        return self.rows.channels + self.intercept

    def __iter__(self) -> Iterator[Block]:
        return iter(self._cached) if self._fits else self._scaled()

    @cached_property
    def _fits(self) -> bool:
        fits: bool = self.rows.weight.size * self.width * np.dtype(self.dtype).itemsize <= _CACHE_BYTES
        return fits

    @cached_property
    def _cached(self) -> list[Block]:
        return list(self._scaled())

    def _scaled(self) -> Iterator[Block]:
        for fold, X, weight, counts in self.rows.read():
            scaled = np.empty((len(X), self.width), dtype=self.dtype)
            scaled[:, X.shape[1] :] = 1
            # Subtract before the cast: a float64 feature far from zero has nothing left in float32.
            np.subtract(X, self.shift, out=scaled[:, : X.shape[1]], casting="same_kind")
            scaled[:, : X.shape[1]] /= self.scale.astype(self.dtype)
            yield Block(fold, scaled, weight.astype(self.dtype), counts.astype(self.dtype))


def column_moments(rows: Rows) -> tuple[Array, Array, Array]:
    """Weight [f], mean [f, c] and variance [f, c] of the features in each fold, in one pass.

    A fold with NaN or infinity, be it at weight zero, has means that aren't finite.
    """
    n_folds = int(rows.fold.max()) + 1
    weight, mean, square = np.zeros(n_folds), *np.zeros((2, n_folds, rows.channels))
    for fold, X, w, _ in rows.read():
        total = w.sum()
        if not total:
            if not np.isfinite(X).all():
                mean[fold] = np.nan
            continue
        Xd = X.astype(np.float64)
        with np.errstate(invalid="ignore"):  # an infinity, which the caller reports
            block_mean = w @ Xd / total
            Xd -= block_mean
            delta, share = block_mean - mean[fold], total / (weight[fold] + total)
            square[fold] += w @ np.square(Xd, out=Xd) + weight[fold] * share * delta**2
            mean[fold] += share * delta
        weight[fold] += total
    return weight, mean, square / np.where(weight > 0, weight, 1)[:, None]
