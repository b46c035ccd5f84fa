"""Features of any dtype about a mean, in float32 or float64, piece by piece in the cache.

numpy converts float16 one number at a time. torch does many at once, in a third of the time, but isn't imported for
that alone: where it isn't there, five passes of whole numbers over many values do the same in half of it, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ldmscene.array_types import Array
from ldmscene.imported_torch import TORCH_PIECE, imported_torch

_PIECE = 1 << 16  # values that are converted together: few enough for the cache, enough to make calls cheap
_SIGN_AND_DIGITS = np.int32(0x8FFFE000 - (1 << 32))
_REBIAS = np.float32(2.0**112)  # the exponents of float16 and float32 count from 15 and 127
_EXPONENT, _SIGN = 0x7C00, 0x8000  # the exponent is all ones in NaN and infinity


def subtract(X: Array, shift: Array, out: Array) -> None:
    """X − shift, of X (..., c) and shift [c], into `out` (..., c), in whose precision it is computed."""
    if X.dtype != np.float16:
        np.subtract(X, shift, out=out)
        return
    shift = shift.astype(out.dtype, copy=False)
    torch = imported_torch()
    if torch is not None and X.ndim > 1 and X.flags.writeable and min(X.strides) >= 0:  # all that a tensor can be of
        halves, shift, found = map(torch.from_numpy, (X, shift, out))
        for one in _pieces(X.shape, TORCH_PIECE):
            torch.sub(halves[one], shift, out=found[one])
        return
    single = np.empty(min(X.size, max(_PIECE, X.shape[-1])), np.float32)
    for one in _pieces(X.shape, _PIECE):
        piece, target = X[one], out[one]
        wide = _widened(piece, single[: piece.size].reshape(piece.shape))
        if out.dtype == np.float64:
            np.copyto(target, wide)
            wide = target
        np.subtract(wide, shift, out=target)


def _pieces(shape: tuple[int, ...], most: int) -> Iterator[tuple[slice, ...]]:
    """Of maps (..., c), along the first axes, each of few values."""
    if len(shape) == 1:
        yield (slice(None),)
        return
    inner = int(np.prod(shape[1:]))
    if inner <= most or len(shape) == 2:
        many = max(1, most // max(1, inner))
        yield from ((slice(i, i + many),) for i in range(0, shape[0], many))
        return
    for i in range(shape[0]):
        yield from ((slice(i, i + 1), *rest) for rest in _pieces(shape[1:], most))


def halves_are_finite(halves: Array) -> bool:
    """Whether float16 numbers hold neither NaN nor infinity, by whole numbers, which are quicker to compare."""
    if not halves.size:
        return True
    positive, negative = halves.view(np.int16).max(), halves.view(np.uint16).max()
    return bool(positive < _EXPONENT and negative < _SIGN + _EXPONENT)


def _widened(halves: Array, single: Array) -> Array:
    """Float16 numbers as float32, in the memory of `single`, by arithmetic on bits."""
    if not halves_are_finite(halves):
        return halves.astype(np.float32)
    bits = single.view(np.int32)
    np.copyto(bits, halves.view(np.int16))
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, _SIGN_AND_DIGITS, out=bits)
    return np.multiply(single, _REBIAS, out=single)
