"""Extraction by the workers of a `dask.distributed` cluster: a part of the manifest, and a pipeline, for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def extract_on(client: Any, extract: Callable[..., object]) -> list[BaseException]:
    """Call `extract` once for every worker, with `part=` its own, and return what went wrong.

    When a worker is lost, another does its part: what the lost one finished is in the store already. When one fails,
    the others go on.
    """
    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
    count = len(workers)
    futures = [
        client.submit(_one, extract, f"{i}/{count}", workers=[worker], allow_other_workers=True, pure=False)
        for i, worker in enumerate(workers, 1)
    ]
    return [failure for future in futures if (failure := future.exception()) is not None]


def _one(extract: Callable[..., object], part: str) -> None:
    extract(part=part)  # what it returns stays with the worker
