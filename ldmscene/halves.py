"""Numbers of two bytes made wider, quickly where torch is there."""

from __future__ import annotations

import numpy as np

from ldmscene.imported_torch import TORCH_PIECE, imported_torch


def widen(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Numbers in another dtype, in new memory unless they have it already.

    torch casts float16 a vector at a time, numpy one number at a time. It isn't imported for that alone.
    """
    torch = imported_torch()
    if torch is None or values.dtype != np.float16 or dtype != np.float32:
        return values.astype(dtype, copy=False)
    source = np.ascontiguousarray(values)
    out = np.empty(values.shape, dtype)
    halves, singles = (torch.from_numpy(array.reshape(-1)) for array in (writable(source), out))
    for first in range(0, len(halves), TORCH_PIECE):
        singles[first : first + TORCH_PIECE].copy_(halves[first : first + TORCH_PIECE])
    return out


def writable(array: np.ndarray) -> np.ndarray:
    """torch warns of memory that it may not write to, though it only reads."""
    return array if array.flags.writeable else array.copy()
