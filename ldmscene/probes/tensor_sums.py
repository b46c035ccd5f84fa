"""Sums of products of features in a torch.Tensor, on its own device: only they leave it.

A first pass finds the mean, a second sums products about it, both piece by piece, so that little is wider than what is
stored. torch comes with the tensor, and isn't loaded here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ldmscene.array_types import Array
from ldmscene.probes.products import ROUNDING, Sums, blocks

_ROWS = 1024  # whose products are added up in float32
_VALUES = 1 << 22  # of features that are float64 at a time
_COPIES = 2  # of a piece in float64: as it comes, and what is made of it
_SUMS = 3  # of products in float64: all, one before it is added, and that one as it was multiplied


def sums_of_tensor(X: Any, w: Array, Y: Array, *, single: bool, positions: bool = False) -> Sums:
    """All sums over the rows of maps.

    Parameters
    ----------
    X : torch.Tensor (sample, p, c)
        Of any dtype, on a device that has float64.
    w : array (sample, p)
        Some above zero, none below.
    Y : array (sample, p, t)
    single : bool
        Multiply in float32, of X in float16; what is added up is float64.
    positions : bool
        Also sum at each position over the samples.
    """
    import torch  # which came with the tensor

    from ldmscene.device import rounded_float32

    X, (n, p, c), t = X.detach(), X.shape, Y.shape[-1]
    single = single and "products" not in rounded_float32(X.device.type)
    total = w.sum()
    mean_y = np.einsum("sp,spt->t", w, Y) / total
    about_y = Y - mean_y
    wide = X.new_zeros(0).double()
    weight, labels = wide.new_tensor(w), wide.new_tensor(about_y)
    rows = _ROWS if single else max(_ROWS, _VALUES // c)
    pieces = list(blocks((n, p), rows, max(1, rows // p)))
    shift = sum(_weighted(X[piece], weight[piece]) for piece in pieces) / total
    shift = shift.to(X.dtype).double() if single else shift  # of two halves the difference is exact in float32
    off, cxx, cxy = wide.new_zeros(c), wide.new_zeros((c, c)), wide.new_zeros((c, t))
    by_position = wide.new_zeros((p if positions else 0, c))
    about = shift.float() if single else shift
    with torch.autocast(X.device.type, enabled=False):  # as a caller may have it
        for piece in pieces:
            where = by_position[piece[1]] if positions else None
            _add_products(X[piece] - about, weight[piece], labels[piece], off, cxx, cxy, where)
    off, cxx, cxy, by_position, shift = (one.cpu().numpy() for one in (off / total, cxx, cxy, by_position, shift))
    cxx = (cxx + cxx.T) / 2 - total * np.outer(off, off)
    if positions:
        by_position -= np.outer(w.sum(0), off)
    cyy = np.einsum("sp,spt->t", w, about_y**2)
    rounding = ROUNDING * np.diag(cxx) if single else np.zeros(c)
    cxy -= np.outer(off, np.einsum("sp,spt->t", w, about_y))
    return Sums(float(total), shift + off, mean_y, cxx, cxy, cyy, rounding, by_position)


def project_tensor(X: Any, mean: Array, directions: Array) -> Array:
    """(X − mean) times directions [c, r], of a tensor (..., c) on its own device: float32 (..., r).

    Raises
    ------
    ValueError
        If they are of other channels, as numpy has it.
    """
    X, c = X.detach(), X.shape[-1]
    if mean.shape != (c,) or len(directions) != c:
        raise ValueError(f"expected directions of {c} channels, got {mean.shape} and {directions.shape}")
    wide = X.new_zeros(0).double()
    about, onto = wide.new_tensor(mean), wide.new_tensor(directions)
    pieces = X.reshape(-1, c).split(max(_ROWS, _VALUES // c))
    found = np.concatenate([((some.double() - about) @ onto).float().cpu().numpy() for some in pieces])
    return found.reshape(*X.shape[:-1], -1)


def working_bytes(shape: tuple[int, int, int], columns: int) -> int:
    """What features (sample, p, c) need at most on their device beside themselves, to be summed or projected.

    Wider copies of a piece; sums, with one product before it is added; sums by position, with those of a piece; and of
    each row the weight and `columns` labels.
    """
    n, p, c = shape
    piece, wide = min(n * p, max(_ROWS, _VALUES // c)), c + 1 + columns
    return 8 * (_COPIES * piece * wide + _SUMS * c * wide + 2 * p * c + n * p * (1 + columns))


def _add_products(about: Any, weight: Any, labels: Any, off: Any, cxx: Any, cxy: Any, where: Any) -> None:
    """Of a piece about the shift, which is overwritten; what is wide goes when this returns."""
    dtype = about.dtype
    if where is not None:
        where += (weight.to(dtype)[..., None] * about).sum(0).double()
    root = weight.sqrt().to(dtype)[..., None]
    scaled = about.mul_(root).reshape(-1, about.shape[-1])
    off += (root.reshape(-1) @ scaled).double()
    cxx += (scaled.T @ scaled).double()
    cxy += (scaled.T @ (root * labels.to(dtype)).reshape(-1, labels.shape[-1])).double()


def _weighted(X: Any, weight: Any) -> Any:
    """Σ w x over samples and positions."""
    return weight.reshape(-1) @ X.double().reshape(-1, X.shape[-1])
