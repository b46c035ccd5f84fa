"""Features of any dtype in float64, about a mean, block by block."""

from __future__ import annotations

import numpy as np

from ldmscene.array_types import Array

_PIECE = 1 << 16  # values that are converted together: few enough for the cache, enough to make calls cheap
_SIGN_AND_DIGITS = np.int32(0x8FFFE000 - (1 << 32))
_REBIAS = np.float32(2.0**112)  # the exponents of float16 and float32 count from 15 and 127
_EXPONENT = np.uint16(0x7C00)  # all ones in NaN and infinity


def subtract(X: Array, shift: Array, out: Array) -> None:
    """X − shift, of X [n, c] and shift [c], into float64 `out` [n, c]; computed in float64."""
    if X.dtype != np.float16:
        np.subtract(X, shift, out=out)
        return
    rows = max(1, _PIECE // max(1, X.shape[1]))
    single = np.empty((min(rows, len(X)), X.shape[1]), np.float32)
    for first in range(0, len(X), rows):
        piece, target = X[first : first + rows], out[first : first + rows]
        np.copyto(target, _widened(piece, single[: len(piece)]))
        np.subtract(target, shift, out=target)


def _widened(halves: Array, single: Array) -> Array:
    """The same numbers in float32, in the memory of `single`, by arithmetic on bits.

    numpy converts halves one at a time, which takes half as long again as five passes over many at once.
    """
    if ((halves.view(np.uint16) & _EXPONENT) == _EXPONENT).any():
        return halves.astype(np.float32)
    bits = single.view(np.int32)
    np.copyto(bits, halves.view(np.int16))
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, _SIGN_AND_DIGITS, out=bits)
    return np.multiply(single, _REBIAS, out=single)
