"""Statistics of all samples, folds apart: pieces side by side on all cores, or dask chunks and a tree of merges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any

import dask
import numpy as np
from dask.system import CPU_COUNT
from threadpoolctl import threadpool_limits

from ldmscene.errors import InputError
from ldmscene.probes.inputs import is_dask, whole_samples
from ldmscene.probes.stats import Moments
from ldmscene.probes.targets import Targets, moments

Array = np.ndarray

_FAN_IN = 4
_PIECE_VALUES = 1 << 22  # of features that are copied out of X at a time


def gather_moments(X: Any, targets: Targets, fold: Array, n_folds: int) -> list[Moments]:
    """Statistics of maps X (sample, y, x, c), numpy or dask, for each fold; `fold` (sample,) numbers them from 0.

    dask runs on the scheduler in force; numpy on this process's threads.
    """
    if not is_dask(X):
        return _fold_moments(X, targets, fold, n_folds)
    X = whole_samples(X)
    ends = np.cumsum(X.chunks[0])
    parts = []
    for block, end, size in zip(X.to_delayed().ravel(), ends, X.chunks[0], strict=True):
        rows = slice(int(end - size), int(end))
        parts.append(dask.delayed(_block_moments)(block, targets[rows], fold[rows], n_folds, rows.start))
    return merged(parts, _merge_all_folds).compute()


def merged(parts: list[Any], merge: Callable[[Sequence[Any]], Any]) -> Any:
    """A tree of delayed merges, so that no more than a few parts wait for each other."""
    while len(parts) > 1:
        parts = [dask.delayed(merge)(parts[i : i + _FAN_IN]) for i in range(0, len(parts), _FAN_IN)]
    return parts[0]


def merge_folds(first: list[Moments], second: list[Moments]) -> list[Moments]:
    """Merge statistics of the same folds, each from other samples."""
    return [a.merge(b) for a, b in zip(first, second, strict=True)]


def _merge_all_folds(parts: Sequence[list[Moments]]) -> list[Moments]:
    return reduce(merge_folds, parts)


def _fold_moments(X: Array, targets: Targets, fold: Array, n_folds: int) -> list[Moments]:
    pieces = list(_pieces(X, fold))

    def of_piece(rows: Array) -> Moments:
        return moments(X[rows], targets[rows])

    whole = [Moments.empty(X.shape[-1], len(targets.names))] * n_folds
    # Merged in the pieces' order, so that the result doesn't depend on the number of threads.
    for rows, part in zip(pieces, side_by_side(of_piece, pieces), strict=True):
        whole[fold[rows[0]]] = whole[fold[rows[0]]].merge(part)
    return whole


def side_by_side(work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """`map` on all cores, for work that spends its time in products of matrices; results come in order."""
    if len(items) < 2:
        yield from map(work, items)
        return
    # The BLAS on one thread for each: its own threads would wait for what numpy does on one.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(CPU_COUNT) as pool:
        yield from pool.map(work, items)


def _pieces(X: Array, fold: Array) -> Iterator[Array]:
    """Samples of one fold each, few enough that copies of them stay small."""
    size = max(1, _PIECE_VALUES // max(1, X[:1].size))
    for k in np.unique(fold):
        members = np.flatnonzero(fold == k)
        yield from (members[i : i + size] for i in range(0, len(members), size))


def _block_moments(X: Array, targets: Targets, fold: Array, n_folds: int, first: int) -> list[Moments]:
    finite = np.isfinite(X).all((1, 2, 3))
    if not finite.all():
        raise InputError(f"X: sample {first + int(np.argmin(finite))} holds NaN or infinity")
    members = (np.flatnonzero(fold == k) for k in range(n_folds))
    X = np.asarray(X)
    return [moments(X[rows], targets[rows]) for rows in members]
