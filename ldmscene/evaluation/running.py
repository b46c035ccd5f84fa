"""Delayed work on dask's threads or on a cluster, with its progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dask.base import compute as compute_delayed
from dask.callbacks import Callback

from ldmscene.probes.threads import one_thread_each
from ldmscene.progress import bar


@dataclass(frozen=True)
class Job:
    """Delayed work, and how many bytes of features it reads."""

    work: Any
    size: int = 0


def compute(jobs: Sequence[Job], client: Any = None, title: str = "") -> list[Any]:
    """Run jobs on dask's threads, or on a `dask.distributed` client whose workers see the same store.

    Progress is shown under the title, where there is one.
    """
    work, sizes = [job.work for job in jobs], {job.work.key: job.size for job in jobs}
    with bar(title, len(jobs), enabled=bool(title)) as advance:
        if client is not None:
            return _compute_on(client, work, lambda key: advance(1, sizes[key]))
        watch = Callback(posttask=lambda key, *_: advance(1, sizes[key]) if key in sizes else None)
        with watch, one_thread_each():
            return list(compute_delayed(*work, scheduler="threads"))


def _compute_on(client: Any, work: Sequence[Any], advance: Callable[[str], None]) -> list[Any]:
    from dask.distributed import as_completed

    futures = client.compute(list(work))
    try:
        for future in as_completed(futures, loop=client.loop):
            if future.status == "error":
                future.result()
            advance(future.key)
        results: list[Any] = client.gather(futures)
        return results
    except BaseException:  # what is left would be done for nothing
        client.cancel(futures)
        raise
