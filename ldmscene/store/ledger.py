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
from ldmscene.manifest import SAFE_ID
from ldmscene.store import tables
from ldmscene.store.layout import LEDGER, is_key
from ldmscene.store.locations import Location, files_with, location
from ldmscene.store.parse import wrong
from ldmscene.store.places import Place
from ldmscene.store.shards import crc32c

MANY = 256  # files that are merged into one, so that opening a store stays quick
TICK = 1e-3  # seconds between a row and what it supersedes, at least
SUFFIX = ".parquet"
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
_MOST: dict[str, float] = {"bytes": 2**40, "nonfinite": 2**40, "written": 1e11}


@dataclass(frozen=True)
class Entry:
    """One array of one sample, complete and durable."""

    sample_id: str
    what: str  # path of the array inside activations.zarr
    crc32: int  # of the whole file
    bytes: int
    nonfinite: int  # values that overflowed or were NaN


class Ledger:
    """The rows of one store, and a writer's own end of them."""

    def __init__(self, root: str | Place | Location) -> None:
        self.location = location(root)
        self.writer = uuid.uuid4().hex
        self._own: list[str] = []
        self._count = 0
        self._seen: set[str] = set()
        self._latest = 0.0  # `written` of the newest row that was seen

    def append(self, entries: Iterable[Entry]) -> None:
        """Add rows durably; they count from the moment when this returns, and before all rows read until then."""
        self._latest = max(time.time(), self._latest + TICK)
        rows = [asdict(entry) | {"written": self._latest} for entry in entries]
        if not rows:
            return
        self._own.append(self.write(pa.Table.from_pylist(rows, schema=SCHEMA)))
        self._seen.add(self._own[-1])
        if len(self._own) >= MANY:
            self.close()

    def close(self) -> None:
        """Merge this writer's files into one."""
        self._own = [self._merged(self._own)] if len(self._own) > 1 else self._own

    def tidy(self) -> None:
        """Merge all files, where killed writers left many; others may read and write meanwhile."""
        keys = ledger_files(self.location)
        if len(keys) >= MANY:
            self._merged(keys)

    def remove(self, doomed: Callable[[pd.DataFrame], pd.Series]) -> None:
        """Take rows away, by a mask over all; rows that others append meanwhile stay."""

        def rest(table: pa.Table) -> pa.Table:
            return table.filter(pa.array(~doomed(table.to_pandas())))

        self._own = [self._merged(ledger_files(self.location), rest)]

    def _merged(self, keys: Sequence[str], keep: Callable[[pa.Table], pa.Table] = lambda table: table) -> str:
        """One file with the rows of several, which are then deleted.

        A file is deleted only after its rows are durable in another, so that at any moment all rows are there,
        some of them perhaps twice. Files that another process merged before are passed over for that reason.
        """
        tables = dict(zip(keys, self._read_all(keys), strict=True))
        found = {key: table for key, table in tables.items() if table is not None}
        merged = self.write(keep(pa.concat_tables([SCHEMA.empty_table(), *found.values()])))
        self._seen.add(merged)
        for key in found:
            self.location.delete(key)
        return merged

    def write(self, table: pa.Table) -> str:
        """One file of rows; its name ends with the checksum of its bytes."""
        sink = pa.BufferOutputStream()
        pyarrow.parquet.write_table(table, sink)
        data = sink.getvalue().to_pybytes()
        key = f"{LEDGER}/{self.writer}-{self._count:06d}-{crc32c(data):08x}{SUFFIX}"
        self.location.write(key, data)
        self._count += 1
        return key

    def rows(self, without: Collection[str] = ()) -> pd.DataFrame:
        """All rows but those of some files, one for each (sample_id, what); where there are several, the newest."""
        frame = pa.concat_tables([SCHEMA.empty_table(), *self._tables(set(without))]).to_pandas()
        return frame.sort_values("written", kind="stable").drop_duplicates(["sample_id", "what"], keep="last")

    def news(self) -> Iterator[pa.Table]:
        """Rows that this object has neither written nor given before."""
        return self._tables(self._seen)

    def _tables(self, seen: set[str]) -> Iterator[pa.Table]:
        """Every other file's rows. Files that are merged meanwhile stand in the next listing under another name."""
        while new := [key for key in ledger_files(self.location) if key not in seen]:
            seen.update(new)
            for table in self._read_all(new):
                if table is not None:
                    self._latest = max(self._latest, pc.max(table["written"]).as_py() or 0.0)
                    yield table

    def _read_all(self, keys: Sequence[str]) -> Iterator[pa.Table | None]:
        """In order, some ahead; None where a file is gone."""
        with ThreadPoolExecutor(READERS) as pool:
            yield from pool.map(lambda key: read_if_there(self.location, key), keys)


def ledger_files(location: Location) -> list[str]:
    """Keys of all files of rows, in order."""
    return files_with(location, LEDGER, SUFFIX)


def read(location: Location, key: str) -> pa.Table:
    """The rows of one file.

    Raises
    ------
    CorruptError
        If its bytes aren't those that its name vouches for, or aren't rows as a ledger has them.
    """
    data = location.read(key)
    where = f"the ledger file {location.root}/{key}"
    if not key.endswith(f"-{crc32c(data):08x}{SUFFIX}"):
        raise CorruptError(f"{where} doesn't match its checksum; run `ldmscene repair`")
    table = tables.read(data, SCHEMA, where)
    _check_values(table, where)
    return table


def _check_values(table: pa.Table, where: str) -> None:
    """Refuse rows that name what can't be, or count what nobody could."""
    ids, whats = (pc.unique(table[name]) for name in ("sample_id", "what"))
    if not pc.all(pc.match_substring_regex(ids, rf"^(?:{SAFE_ID.pattern})\z")).as_py() and len(ids):
        raise wrong(f"{where}, sample_id", "letters, digits, '.', '_' and '-'", "others")
    for what in whats.to_pylist():
        if not is_key(what):
            raise wrong(f"{where}, what", "the path of an array", what)
    for name, most in _MOST.items():
        low, high = pc.min_max(table[name]).as_py().values()
        if len(table) and not (low >= 0 and high <= most):
            raise wrong(f"{where}, {name}", f"numbers from 0 to {most:g}", low if low < 0 else high)
        if name == "written" and len(table) and not pc.all(pc.is_finite(table[name])).as_py():
            raise wrong(f"{where}, written", "times", "NaN")


def read_if_there(location: Location, key: str) -> pa.Table | None:
    """The rows of one file; None where it is gone, since its writer merged it with others."""
    try:
        return read(location, key)
    except FileNotFoundError:
        return None
