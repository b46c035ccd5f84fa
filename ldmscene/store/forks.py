"""Threads don't live on in a forked process, such as a worker of torch's DataLoader; who waits for them waits for ever.

dask's pools are made anew there. obstore's threads can't be: a process that is forked once they run is refused.
"""

from __future__ import annotations

import os
import sys
import threading

from ldmscene.errors import InputError

_clients: list[int] = []  # the process in which obstore's threads run


def _forget_pools() -> None:
    dask = sys.modules.get("dask.threaded")
    if dask is not None:
        dask.default_pool = None  # type: ignore[attr-defined]
        dask.pools.clear()
        dask.pools_lock = threading.Lock()  # type: ignore[attr-defined]  # another thread may have held the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)


def check_own_client(where: str) -> None:
    """To be called before anything is asked of an object store.

    Raises
    ------
    InputError
        If a parent of this forked process asked one before.
    """
    if not _clients:
        _clients.append(os.getpid())
    if _clients[0] != os.getpid():
        raise InputError(
            f"{where} can't be read in a process that was forked from one that has read an object store; start workers "
            "with multiprocessing_context='spawn' or 'forkserver'"
        )
