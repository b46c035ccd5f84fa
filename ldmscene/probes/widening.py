"""Features of any dtype in float64, about a mean, block by block."""

from __future__ import annotations

import numpy as np

Array = np.ndarray

# Where torch may use several threads, it does so for more values than these, and they would compete with those that
# call this. Elsewhere all are converted at once, since each call waits for Python's lock.
_PIECE = 1 << 15


def subtract(X: Array, shift: Array, out: Array) -> None:
    """X − shift, of X [n, c] and shift [c], into float64 `out` [n, c]; computed in float64."""
    if X.dtype == np.float16:
        _subtract_halves(X, shift, out)
    else:
        np.subtract(X, shift, out=out)


def _subtract_halves(X: Array, shift: Array, out: Array) -> None:
    """numpy converts halves one at a time, torch a vector at a time."""
    import torch  # here, since data of other dtypes do without it

    most = len(X) if torch.get_num_threads() == 1 else _PIECE // max(1, X.shape[1])
    rows = max(1, min(len(X), most))
    half = np.empty((rows, X.shape[1]), np.float16)
    source, single, target = torch.from_numpy(half), torch.empty(half.shape), torch.from_numpy(out)
    about = torch.from_numpy(np.asarray(shift, np.float64))
    for first in range(0, len(X), rows):
        count = min(rows, len(X) - first)
        np.copyto(half[:count], X[first : first + count])  # X may be read-only or not contiguous: torch dislikes both
        single[:count] = source[:count]
        target[first : first + count].copy_(single[:count]).sub_(about)
