"""What is finished, as columns: for each array of a store, one number of each kind by row of the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ldmscene.array_types import AnyArray

NONE = -1  # bytes where there is no row


@dataclass(frozen=True)
class Finished:
    """The rows of a ledger that are of a store's samples and arrays, the newest of each.

    Attributes
    ----------
    paths : tuple of str
        The arrays.
    ids : pyarrow.ChunkedArray
        The samples, by row of the manifest.
    bytes : numpy.ndarray
        Integers (array, row): of the shard; 0 where it was dropped, -1 where there is none.
    crc32, nonfinite, written : numpy.ndarray
        The same of the ledger's other columns.
    """

    paths: tuple[str, ...]
    ids: pa.ChunkedArray
    bytes: AnyArray
    crc32: AnyArray
    nonfinite: AnyArray
    written: AnyArray

    @classmethod
    def of(cls, tables: Iterable[pa.Table], ids: pa.ChunkedArray, paths: Sequence[str]) -> Finished:
        """From the tables of a ledger, as `ledger.read` gives them; rows of other samples and arrays are left out."""
        shape = (len(paths), len(ids))
        columns: dict[str, AnyArray] = {"bytes": np.full(shape, NONE, np.int32), "crc32": np.zeros(shape, np.uint32)}
        columns |= {"nonfinite": np.zeros(shape, np.uint8), "written": np.full(shape, -np.inf)}
        known = pd.Index(ids.to_numpy(zero_copy_only=False)), pd.Index(list(paths))
        for table in tables:
            for batch in table.to_batches():
                _take(columns, batch, *known)
        return cls(tuple(paths), ids, **columns)

    @cached_property
    def names(self) -> AnyArray:
        """The sample_ids, by row of the manifest."""
        found: AnyArray = self.ids.to_numpy(zero_copy_only=False)
        return found

    def stored(self, path: str) -> NDArray[np.bool_]:
        """Of which rows an array lies on the disk."""
        return np.greater(self._of(path, self.bytes), 0)

    def dropped(self, path: str) -> NDArray[np.bool_]:
        """Of which rows an array was dropped, once its statistics were there."""
        return np.equal(self._of(path, self.bytes), 0)

    def checksums(self, path: str) -> dict[str, int]:
        """The crc32 of an array's bytes, for each sample that has a row."""
        there = self._of(path, self.bytes) != NONE
        return dict(zip(self.names[there].tolist(), self._of(path, self.crc32)[there].tolist(), strict=True))

    def crc32_of(self, path: str, rows: Sequence[int]) -> list[int]:
        """The crc32 of an array's bytes in some rows of the manifest, which have it."""
        found: list[int] = self._of(path, self.crc32)[rows].tolist()
        return found

    def _of(self, path: str, column: AnyArray) -> AnyArray:
        return column[self.paths.index(path)] if path in self.paths else np.full(len(self.ids), NONE)

    @property
    def totals(self) -> pd.DataFrame:
        """By array that has rows: how many samples, their bytes, and values that aren't finite."""
        there = self.bytes != NONE
        sums = {"samples": there, "bytes": np.where(there, self.bytes, 0), "nonfinite": self.nonfinite}
        frame = pd.DataFrame({name: one.sum(1, dtype=np.int64) for name, one in sums.items()}, index=list(self.paths))
        return frame[frame["samples"] > 0]

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a table, oldest first."""
        array, row = np.nonzero(self.bytes != NONE)
        order = np.argsort(self.written[array, row], kind="stable")
        array, row = array[order], row[order]
        return pd.DataFrame(
            {
                "sample_id": self.names[row],
                "what": np.array(self.paths, object)[array] if self.paths else np.array([], object),
                "crc32": self.crc32[array, row],
                "bytes": self.bytes[array, row].astype(np.int64),
                "nonfinite": self.nonfinite[array, row].astype(np.int64),
                "written": self.written[array, row],
            }
        )


def _take(columns: dict[str, AnyArray], batch: pa.RecordBatch, known: pd.Index, paths: pd.Index) -> None:
    """Write rows into the columns wherever they are no older than what stands there."""
    rows = _codes(batch.column("sample_id"), known)
    arrays = _codes(batch.column("what"), paths)
    written = batch.column("written").to_numpy()
    fit = (rows >= 0) & (arrays >= 0)
    at = arrays.astype(np.int64) * len(known) + rows
    fit[fit] = written[fit] >= columns["written"].reshape(-1)[at[fit]]
    order = np.flatnonzero(fit)
    if (np.diff(written[order]) < 0).any():
        order = order[np.argsort(written[order], kind="stable")]
    at = at[order]  # of one place twice, numpy takes the last
    for name in columns:
        values = batch.column(name).to_numpy()[order]
        most = np.min_scalar_type(values.max(initial=0)) if values.dtype.kind in "iu" else values.dtype
        if not np.can_cast(most, columns[name].dtype):
            columns[name] = columns[name].astype(np.int64)
        columns[name].reshape(-1)[at] = values


def _codes(column: pa.DictionaryArray, known: pd.Index) -> NDArray[np.intp]:
    """The place of each text among those that are known; -1 of others."""
    places = known.get_indexer(column.dictionary.to_numpy(zero_copy_only=False))
    return places[pc.fill_null(column.indices, 0).to_numpy()] if len(places) else np.full(len(column), -1)
