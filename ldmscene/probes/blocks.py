"""Statistics of arrays that live in dask chunks: each chunk once, then a tree of merges."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np

from ldmscene.errors import InputError
from ldmscene.probes.inputs import is_dask, whole_samples
from ldmscene.probes.stats import Moments
from ldmscene.probes.targets import Targets, fold_moments

Array = np.ndarray

_FAN_IN = 4


def gather_moments(X: Any, targets: Targets, fold: Array, n_folds: int) -> list[Moments]:
    """`fold_moments` for numpy or dask maps (sample, y, x, c); dask runs on the scheduler in force."""
    if not is_dask(X):
        return fold_moments(X, targets, fold, n_folds)
    X = whole_samples(X)
    ends = np.cumsum(X.chunks[0])
    parts = []
    for block, end, size in zip(X.to_delayed().ravel(), ends, X.chunks[0], strict=True):
        rows = slice(int(end - size), int(end))
        parts.append(dask.delayed(_block_moments)(block, targets[rows], fold[rows], n_folds, rows.start))
    while len(parts) > 1:
        parts = [dask.delayed(merge_folds)(parts[i : i + _FAN_IN]) for i in range(0, len(parts), _FAN_IN)]
    return parts[0].compute()


def merge_folds(parts: list[list[Moments]]) -> list[Moments]:
    """Merge statistics of the same folds, each from other samples."""
    merged = parts[0]
    for part in parts[1:]:
        merged = [a.merge(b) for a, b in zip(merged, part, strict=True)]
    return merged


def _block_moments(X: Array, targets: Targets, fold: Array, n_folds: int, first: int) -> list[Moments]:
    finite = np.isfinite(X).all((1, 2, 3))
    if not finite.all():
        raise InputError(f"X: sample {first + int(np.argmin(finite))} holds NaN or infinity")
    return fold_moments(np.asarray(X), targets, fold, n_folds)
