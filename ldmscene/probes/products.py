"""Sums of products of features and targets, block by block in the cache.

Features that are stored as float16 may be multiplied in float32: in blocks of about a thousand rows about a shift near
their mean, which are added up in float64. Of two features i and j that costs some 1e-7 of √(cᵢᵢ cⱼⱼ), where to have
stored them as float16 has cost some 1e-4 of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ldmscene.array_types import Array
from ldmscene.probes.widening import subtract

# A block stays in the cache between the cast and the product, if that leaves the product rows enough.
_BLOCK_VALUES = 1 << 17
_BLOCK_ROWS = 1024
_SAMPLES = 16  # that a block cuts across
_LINE = 8  # columns: rows that begin at a cache line, of float32 at half of one, are quicker to multiply
ROUNDING = 1e-7  # share of a float32 sum of squares that may be wrong
_FAR = 4.0  # variances between shift and mean, from which float32 sums are taken again


@dataclass(frozen=True)
class Sums:
    """Weighted sums about the mean."""

    weight: float
    """Σw"""
    mean_x: Array
    """[c]"""
    mean_y: Array
    """[t]"""
    cxx: Array
    """[c, c]"""
    cxy: Array
    """[c, t]"""
    cyy: Array
    """[t]"""
    rounding: Array
    """[c] by how much the diagonal of cxx may be off, beyond the rounding of float64"""
    by_position: Array
    """[p, c] Σ over samples of w (x − mean); empty where it wasn't asked for"""


def sums_of(X: Array, w: Array, Y: Array, *, single: bool, positions: bool = False) -> Sums:
    """All sums over the rows of maps.

    Parameters
    ----------
    X : array (sample, p, c)
    w : array (sample, p)
        Some above zero, none below.
    Y : array (sample, p, t)
    single : bool
        Multiply in float32, of X in float16.
    positions : bool
        Also sum at each position over the samples.
    """
    shift = _rough_mean(X.reshape(-1, X.shape[-1]), w.reshape(-1), round_off=single)
    found = _about(X, w, Y, shift, np.float32 if single else np.float64, positions)
    off = found.weight * (found.mean_x - shift) ** 2
    if single and (off > _FAR * np.diag(found.cxx) + 1e-12 * found.weight * shift**2).any():
        shift = _short(found.mean_x, np.sqrt(np.diag(found.cxx) / found.weight))
        return _about(X, w, Y, shift, np.float32, positions)
    return found


def _rough_mean(X: Array, w: Array, round_off: bool) -> Array:
    """The mean of some rows.

    Of rows that hold the share s of all weight, it is at most √(1 / s) deviations from the mean of all.
    That costs sums about it a factor 1 / s of rounding at worst, here 256. So where weights differ, the
    heaviest rows are taken.
    """
    many = max(len(w) // 256, min(len(w), 64))
    even = (w == w[0]).all()
    some = np.arange(0, len(w), len(w) // many) if even else np.argpartition(w, len(w) - many)[-many:]
    with np.errstate(invalid="ignore"):
        rows, total = X[some].astype(np.float64), w[some].sum()
        mean: Array = w[some] @ rows / total
        return _short(mean, np.sqrt(w[some] @ (rows - mean) ** 2 / total)) if round_off else mean


def _short(mean: Array, deviation: Array) -> Array:
    """Near the mean, with so few digits that differences from it have few, and sums of their products hardly round."""
    step = np.exp2(np.floor(np.log2(np.where(deviation > 0, deviation, 1)) - 2))
    return np.where(deviation > 0, np.round(mean / step) * step, mean).astype(np.float16).astype(np.float64)


def _about(X: Array, w: Array, Y: Array, shift: Array, dtype: type, positions: bool) -> Sums:
    """One symmetric product of [X, 1, Y] gives all sums at once."""
    c, t = X.shape[-1], Y.shape[-1]
    width = -(-(c + 1 + t) // _LINE) * _LINE
    shift = shift.astype(dtype)
    total, heaviest = w.sum(), w.max()
    mean_y = np.einsum("sp,spt->t", w, Y) / total
    about_y = Y - mean_y
    cyy = np.einsum("sp,spt->t", w, about_y**2)
    largest = np.abs(about_y).max((0, 1))
    largest[largest == 0] = 1
    about_y = (about_y / largest).astype(dtype)
    root = None if (w == heaviest).all() else np.sqrt(w / heaviest).astype(dtype)
    sums, product = np.zeros((width, width)), np.empty((width, width), dtype)
    by_position = np.zeros((X.shape[1], c) if positions else (0, c))
    memory = np.zeros((min(w.size, _rows(width)), width), dtype)
    with np.errstate(invalid="ignore", over="ignore"):  # an infinity, which the caller reports
        for block in blocks(w.shape, len(memory), _SAMPLES if w.shape[1] > 1 else len(memory)):
            rows = memory[: w[block].size]
            part = rows.reshape(*w[block].shape, width)
            subtract(X[block], shift, part[..., :c])
            part[..., c], part[..., c + 1 : c + 1 + t] = 1, about_y[block]
            if root is not None:
                part *= root[block][..., None]
            if positions:
                by_position[block[1]] += _over_samples(part[..., :c], None if root is None else root[block])
            # numpy calls the BLAS's syrk for a matrix times itself. SciPy's would keep other threads waiting.
            sums += np.matmul(rows.T, rows, out=product)
    sums *= heaviest
    off = sums[c, :c] / total
    outer = np.sqrt(total) * off
    own = slice(c + 1, c + 1 + t)
    cxy = (sums[:c, own] - np.outer(off, sums[c, own])) * largest
    if positions:
        by_position = heaviest * by_position - np.outer(w.sum(0), off)
    cxx = sums[:c, :c] - np.outer(outer, outer)
    rounding = ROUNDING * np.diag(cxx) if dtype is np.float32 else np.zeros(c)
    return Sums(float(total), shift + off, mean_y, cxx, cxy, cyy, rounding, by_position)


def _rows(width: int) -> int:
    return max(_BLOCK_ROWS, _BLOCK_VALUES // width)


def blocks(shape: tuple[int, int], rows: int, samples: int) -> Iterator[tuple[slice, slice]]:
    """Of samples and positions, each of so many rows at most: the same positions of at most so many samples."""
    samples = min(shape[0], samples)
    many = max(1, rows // samples)
    for first in range(0, shape[0], samples):
        yield from ((slice(first, first + samples), slice(p, p + many)) for p in range(0, shape[1], many))


def _over_samples(part: Array, root: Array | None) -> Array:
    sums: Array = part.sum(0) if root is None else np.einsum("sp,spc->pc", root, part)
    return sums
