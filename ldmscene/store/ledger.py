"""The ledger: what is complete, with checksums. A sample exists when its rows exist.

Parquet files in one folder, never changed once written. Each writer appends files of its own, so that
writers need no lock, and merges them now and then. The same row twice means the same as once; of different rows for
one (sample_id, what) the one with the latest `written` holds, which is later than all that its writer had seen, even
where its clock is behind.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ldmscene.errors import CorruptError
from ldmscene.store.files import write_file
from ldmscene.store.places import Place, files_in
from ldmscene.store.shards import crc32c

MANY = 256  # files that are merged into one, so that opening a store stays quick
TICK = 1e-3  # seconds between a row and what it supersedes, at least
READERS = 16  # files read at once; on an object store each waits for the network
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("what", pa.string()),
        ("crc32", pa.uint32()),
        ("bytes", pa.int64()),
        ("nonfinite", pa.int64()),
        ("written", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Entry:
    """One array of one sample, complete and durable."""

    sample_id: str
    what: str  # path of the array inside activations.zarr
    crc32: int  # of the whole file
    bytes: int
    nonfinite: int  # values that overflowed or were NaN


class Ledger:
    """The rows of one folder, and a writer's own end of it."""

    def __init__(self, folder: Place) -> None:
        self.folder = folder
        self.writer = uuid.uuid4().hex
        self._own: list[Place] = []
        self._count = 0
        self._seen: set[Place] = set()
        self._latest = 0.0  # `written` of the newest row that was seen

    def append(self, entries: Iterable[Entry]) -> None:
        """Add rows durably; they count from the moment when this returns, and before all rows read until then."""
        self._latest = max(time.time(), self._latest + TICK)
        rows = [asdict(entry) | {"written": self._latest} for entry in entries]
        self._own.append(self.write(pa.Table.from_pylist(rows, schema=SCHEMA)))
        self._seen.add(self._own[-1])
        if len(self._own) >= MANY:
            self.close()

    def close(self) -> None:
        """Merge this writer's files into one."""
        self._own = [self._merged(self._own)] if len(self._own) > 1 else self._own

    def tidy(self) -> None:
        """Merge all files, where killed writers left many; others may read and write meanwhile."""
        paths = files_in(self.folder, ".parquet")
        if len(paths) >= MANY:
            self._merged(paths)

    def remove(self, doomed: Callable[[pd.DataFrame], pd.Series]) -> None:
        """Take rows away, by a mask over all; rows that others append meanwhile stay."""

        def rest(table: pa.Table) -> pa.Table:
            return table.filter(pa.array(~doomed(table.to_pandas())))

        self._own = [self._merged(files_in(self.folder, ".parquet"), rest)]

    def _merged(self, paths: Sequence[Place], keep: Callable[[pa.Table], pa.Table] = lambda table: table) -> Place:
        """One file with the rows of several, which are then deleted.

        A file is deleted only after its rows are durable in another, so that at any moment all rows are there,
        some of them perhaps twice. Files that another process merged before are passed over for that reason.
        """
        tables = dict(zip(paths, _read_all(paths), strict=True))
        found = {path: table for path, table in tables.items() if table is not None}
        merged = self.write(keep(pa.concat_tables([SCHEMA.empty_table(), *found.values()])))
        self._seen.add(merged)
        for path in found:
            path.unlink(missing_ok=True)
        return merged

    def write(self, table: pa.Table) -> Place:
        """One file of rows; its name ends with the checksum of its bytes."""
        sink = pa.BufferOutputStream()
        pyarrow.parquet.write_table(table, sink)
        data = sink.getvalue().to_pybytes()
        path = self.folder / f"{self.writer}-{self._count:06d}-{crc32c(data):08x}.parquet"
        write_file(path, data)
        self._count += 1
        return path

    def rows(self, without: Collection[Place] = ()) -> pd.DataFrame:
        """All rows but those of some files, one for each (sample_id, what); where there are several, the newest."""
        frame = pa.concat_tables([SCHEMA.empty_table(), *self._tables(set(without))]).to_pandas()
        return frame.sort_values("written", kind="stable").drop_duplicates(["sample_id", "what"], keep="last")

    def news(self) -> Iterator[pa.Table]:
        """Rows that this object has neither written nor given before."""
        return self._tables(self._seen)

    def _tables(self, seen: set[Place]) -> Iterator[pa.Table]:
        """Every other file's rows. Files that are merged meanwhile stand in the next listing under another name."""
        while new := [path for path in files_in(self.folder, ".parquet") if path not in seen]:
            seen.update(new)
            for table in _read_all(new):
                if table is not None:
                    self._latest = max(self._latest, pc.max(table["written"]).as_py() or 0.0)
                    yield table


def read(path: Place) -> pa.Table:
    """The rows of one file.

    Raises
    ------
    CorruptError
        If its bytes aren't those that its name vouches for, or can't be decoded.
    """
    data = path.read_bytes()
    if not path.name.endswith(f"-{crc32c(data):08x}.parquet"):
        raise CorruptError(f"the ledger file {path} doesn't match its checksum; run `ldmscene repair`")
    try:
        return pyarrow.parquet.read_table(pa.BufferReader(data), schema=SCHEMA)
    except (pa.ArrowException, OSError) as error:  # Arrow says OSError of bytes that it can't decode
        raise CorruptError(f"the ledger file {path} can't be read ({error}); run `ldmscene repair`") from error


def _read_all(paths: Sequence[Place]) -> list[pa.Table | None]:
    """None where a file is gone."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(_read_if_there, paths))


def _read_if_there(path: Place) -> pa.Table | None:
    try:
        return read(path)
    except FileNotFoundError:
        return None
