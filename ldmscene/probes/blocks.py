"""Statistics of all samples, folds apart: pieces side by side on all cores, or dask chunks and a tree of merges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np
from dask.delayed import delayed
from dask.system import CPU_COUNT

from ldmscene.array_types import Array, Ints
from ldmscene.errors import InputError
from ldmscene.probes.inputs import all_finite, is_dask, is_tensor, whole_samples
from ldmscene.probes.stats import Moments
from ldmscene.probes.targets import Targets, moments
from ldmscene.probes.threads import one_thread_each

_FAN_IN = 4
_PIECE_VALUES = 1 << 22  # of features that are copied out of X at a time


def gather_moments(X: Any, targets: Targets, fold: Ints, n_folds: int, precision: str = "float64") -> list[Moments]:
    """Statistics of maps X (sample, y, x, c) for each fold; `fold` (sample,) numbers them from 0.

    dask runs on the scheduler in force, numpy on this process's threads, and a torch.Tensor is reduced on its device.
    `precision` is as `moments` has it.
    """
    gather = _chunk_moments if is_dask(X) else _piece_moments
    known = gather(X, targets, fold, precision)
    return [known.get(k, Moments.empty(X.shape[-1], len(targets.names))) for k in range(n_folds)]


def merged(parts: list[Any], merge: Callable[[Sequence[Any]], Any]) -> Any:
    """A tree of delayed merges, so that no more than a few parts wait for each other."""
    while len(parts) > 1:
        parts = [delayed(merge)(parts[i : i + _FAN_IN]) for i in range(0, len(parts), _FAN_IN)]
    return parts[0]


def merge_folds(first: list[Moments], second: list[Moments]) -> list[Moments]:
    """Merge statistics of the same folds, each from other samples."""
    return [a.merge(b) for a, b in zip(first, second, strict=True)]


def side_by_side(work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """`map` on all cores, for work that spends its time in products of matrices; results come in order."""
    if len(items) < 2:
        yield from map(work, items)
        return
    with one_thread_each(), ThreadPoolExecutor(CPU_COUNT) as pool:
        yield from pool.map(work, items)


def _piece_moments(X: Any, targets: Targets, fold: Ints, precision: str) -> dict[int, Moments]:
    pieces = list(_pieces(X, fold))

    def of_piece(rows: Ints) -> dict[int, Moments]:
        return {int(fold[rows[0]]): moments(X[_plain(rows)], targets[rows], precision)}

    # torch uses all cores, or the device, by itself. Merged in the pieces' order, so that the result doesn't
    # depend on the number of threads.
    return _merge_present(map(of_piece, pieces) if is_tensor(X) else side_by_side(of_piece, pieces))


def _pieces(X: Any, fold: Ints) -> Iterator[Ints]:
    """Samples of one fold each, few enough that copies of them stay small."""
    size = max(1, _PIECE_VALUES // max(1, int(np.prod(X.shape[1:]))))
    for k in np.unique(fold):
        members = np.flatnonzero(fold == k)
        yield from (members[i : i + size] for i in range(0, len(members), size))


def _plain(rows: Ints) -> Ints | slice:
    """A slice where rows follow each other, which copies nothing."""
    first, last = int(rows[0]), int(rows[-1]) + 1
    return slice(first, last) if last - first == len(rows) else rows


def _chunk_moments(X: Any, targets: Targets, fold: Ints, precision: str) -> dict[int, Moments]:
    X = whole_samples(X)
    ends = np.cumsum(X.chunks[0])
    parts = []
    for block, end, size in zip(X.to_delayed().ravel(), ends, X.chunks[0], strict=True):
        rows = slice(int(end - size), int(end))
        parts.append(delayed(_block_moments)(block, targets[rows], fold[rows], rows.start, precision))
    # Chunks run side by side on this process's threads, unless on a cluster, whose workers limit their own.
    with one_thread_each() if len(parts) > 1 else nullcontext():
        found: dict[int, Moments] = merged(parts, _merge_present).compute()
    return found


def _block_moments(X: Array, targets: Targets, fold: Ints, first: int, precision: str) -> dict[int, Moments]:
    """Of the folds that are present only: those of 1280 channels weigh 13 MB each on their way through a cluster."""
    X = np.asarray(X)
    if not all_finite(X):
        raise InputError(f"X: sample {first + int(np.argmin(np.isfinite(X).all((1, 2, 3))))} holds NaN or infinity")
    members = {int(k): np.flatnonzero(fold == k) for k in np.unique(fold)}
    return {k: moments(X[_plain(rows)], targets[rows], precision) for k, rows in members.items()}


def _merge_present(parts: Iterable[Mapping[int, Moments]]) -> dict[int, Moments]:
    whole: dict[int, Moments] = {}
    for part in parts:
        for k, one in part.items():
            whole[k] = whole[k].merge(one) if k in whole else one
    return whole
