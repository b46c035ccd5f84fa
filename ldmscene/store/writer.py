"""Writing samples beside the work that makes them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from ldmscene.errors import StoreError
from ldmscene.store.compression import round_mantissa
from ldmscene.store.files import remove_leftovers, write_file
from ldmscene.store.layout import LEDGER, ZARR, ArraySpec, shard_place
from ldmscene.store.ledger import Entry, Ledger
from ldmscene.store.places import Place
from ldmscene.store.shards import whole_checksum

WAITING = 1  # samples that may have been handed over and not be written yet; this bounds the memory


@dataclass(frozen=True)
class Row:
    """Everything new of one sample: arrays by their path in the hierarchy."""

    sample_id: str
    index: int  # row of the manifest
    arrays: Mapping[str, np.ndarray]


class StoreWriter:
    """Writes rows in a thread of its own, at most `WAITING` behind; use it as a context manager.

    A row's shards are written first, then its ledger entries. When the disk fails, the next `put` or `check` (or the
    end of the block) raises the cause, and every row whose entries were written stays.
    """

    def __init__(self, root: Place, specs: list[ArraySpec]) -> None:
        self._root = root
        self._specs = {spec.path: spec for spec in specs}
        self._ledger = Ledger(root / LEDGER)
        self._places = threading.BoundedSemaphore(WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ldmscene-writer")
        self._pending: list[Future[None]] = []

    def __enter__(self) -> StoreWriter:
        for folder in (LEDGER, *(f"{ZARR}/{path}" for path in self._specs)):
            remove_leftovers(self._root / folder)
        return self

    def put(self, row: Row) -> None:
        """Hand over one row; waits where too many are under way."""
        self._places.acquire()
        self.check()  # what it waited for may have failed
        self._pending.append(self._thread.submit(self._write, row))

    def check(self) -> None:
        """Raise what has gone wrong with writing until now."""
        self._raise_failure()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        try:
            self._ledger.close()
        finally:
            if error is None:
                self._raise_failure(wait=True)

    def _raise_failure(self, *, wait: bool = False) -> None:
        done = [f for f in self._pending if wait or f.done()]
        self._pending = [f for f in self._pending if f not in done]
        for future in done:
            future.result()

    def _write(self, row: Row) -> None:
        try:
            self._ledger.append([self._write_array(row, path, array) for path, array in row.arrays.items()])
        finally:
            self._places.release()

    def _write_array(self, row: Row, path: str, array: np.ndarray) -> Entry:
        spec = self._specs[path]
        if array.shape != spec.shape:
            raise StoreError(f"sample {row.sample_id}: {path} has shape {array.shape}, the store expects {spec.shape}")
        if spec.kept_bits is not None:
            array = round_mantissa(array, spec.kept_bits)
        data = spec.layout.encode(array)
        write_file(shard_place(self._root, path, row.index, len(spec.shape)), data)
        bad = int(np.count_nonzero(~np.isfinite(array))) if array.dtype.kind == "f" else 0
        return Entry(row.sample_id, path, whole_checksum(data), len(data), bad)
