"""Work that runs side by side on threads of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from ldmscene.imported_torch import imported_torch


@contextmanager
def one_thread_each() -> Iterator[None]:
    """The BLAS and torch on one thread for each that calls them: more would only compete.

    Threads that torch has served before keep what they had; torch that isn't loaded yet is left alone.
    """
    torch = imported_torch()
    before = torch.get_num_threads() if torch else 1
    with threadpool_limits(1, "blas"):
        try:
            if torch:
                torch.set_num_threads(1)
            yield
        finally:
            if torch:
                torch.set_num_threads(before)
