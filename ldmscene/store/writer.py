"""Writing samples beside the work that makes them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np

from ldmscene.errors import StoreError
from ldmscene.store.compression import as_stored
from ldmscene.store.history import last_of
from ldmscene.store.layout import LEDGER, ArraySpec, shard_key
from ldmscene.store.ledger import Entry, Ledger
from ldmscene.store.locations import Location, location
from ldmscene.store.metadata import read_store
from ldmscene.store.places import Place
from ldmscene.store.shards import whole_checksum

WAITING = 1  # samples that may have been handed over and not be written yet; this bounds the memory


@dataclass(frozen=True)
class Row:
    """Everything new of one sample: arrays by their path in the hierarchy.

    `lost` counts values of pictures that weren't finite before they became uint8, by path.
    """

    sample_id: str
    index: int  # row of the manifest
    arrays: Mapping[str, np.ndarray]
    lost: Mapping[str, int] = field(default_factory=dict)


class _Plan:
    """Which sample each row of the arrays belongs to, looked up again whenever the metadata changes."""

    def __init__(self, where: Location) -> None:
        self._location = where
        self._fingerprint = self._look()

    def _look(self) -> str | None:
        now = read_store(self._location)
        self._number = now.number if now else 0
        self._ids = now.contents.sample_ids if now else []
        return now.contents.attributes["fingerprint"] if now else None

    def check(self, row: Row, names: Sequence[str]) -> None:
        """StoreError where the row isn't the sample's any more: another store lies there now."""
        if last_of(names) != self._number and self._look() != self._fingerprint:
            raise StoreError(
                f"{self._location.root} was replaced by another store while this one was written; name another location"
            )
        if self._ids[row.index : row.index + 1] != [row.sample_id]:
            raise StoreError(
                f"row {row.index} of {self._location.root} isn't sample {row.sample_id}; the store was replaced by "
                "another one while it was written. Run the same command again"
            )


class StoreWriter:
    """Writes rows in a thread of its own, at most `WAITING` behind; use it as a context manager.

    A row's shards are written first, then its ledger entries. When the disk fails, the next `put` or `check` (or
    the end of the block) raises the cause, and every row whose entries were written stays. What another writer has
    finished by then is left alone, since sums on another machine round differently. Two writers of one sample that both
    look before either has finished still write the same shard; should their bytes differ and one be killed right then,
    `verify` says so and `repair` has the sample made again.
    """

    def __init__(self, root: str | Place | Location, specs: list[ArraySpec]) -> None:
        self._location = location(root)
        self._specs: dict[str, ArraySpec] = {spec.path: spec for spec in specs}
        self._ledger = Ledger(self._location)
        self._plan = _Plan(self._location)
        self._finished: dict[str, set[str]] = {path: set() for path in self._specs}
        self._places = threading.BoundedSemaphore(WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ldmscene-writer")
        self._pending: list[Future[None]] = []

    def __enter__(self) -> StoreWriter:
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
            names = self._location.names(LEDGER)[0]
            self._plan.check(row, names)
            self._look(names)
            new = [item for item in row.arrays.items() if row.sample_id not in self._finished[item[0]]]
            if new:
                self._ledger.append(self._location.side_by_side(lambda item: self._write_array(row, *item), new))
        finally:
            self._places.release()

    def _look(self, names: Sequence[str]) -> None:
        """Take note of what others have finished meanwhile, by a listing of the ledger's folder."""
        for table in self._ledger.news(names):
            for sample_id, what in zip(table["sample_id"].to_pylist(), table["what"].to_pylist(), strict=True):
                if what in self._finished:
                    self._finished[what].add(sample_id)

    def _write_array(self, row: Row, path: str, array: np.ndarray) -> Entry:
        spec = self._specs[path]
        if array.shape != spec.shape:
            raise StoreError(f"sample {row.sample_id}: {path} has shape {array.shape}, the store expects {spec.shape}")
        array = as_stored(array, spec)
        data = spec.layout.encode(array)
        self._location.write(shard_key(spec.path, row.index, len(spec.shape)), data)
        bad = int(np.count_nonzero(~np.isfinite(array))) if array.dtype.kind == "f" else row.lost.get(path, 0)
        return Entry(row.sample_id, path, whole_checksum(data), len(data), bad)
