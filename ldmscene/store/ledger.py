"""The ledger: what is complete, with checksums. A sample exists when its rows exist.

Parquet files in one folder, never changed once written. Each writer appends files of its own, so that
writers need no lock, and merges them now and then. The same row twice means the same as once; of different rows for
one (sample_id, what) the one with the latest `written` holds, which is later than all that its writer had seen, even
where its clock is behind.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ldmscene.errors import CorruptError, StoreError
from ldmscene.manifest import SAFE_ID
from ldmscene.store import tables
from ldmscene.store.layout import LEDGER, is_key
from ldmscene.store.locations import Location, files_with, location
from ldmscene.store.parse import wrong
from ldmscene.store.places import Place
from ldmscene.store.shards import crc32c

MANY = 256  # files that are merged, so that opening a store stays quick
FULL = 2**17  # rows of a file that is never merged again, so that this costs what is new
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
_FULL = "-full"  # in the name of a file that is
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
        self._own: dict[str, pa.Table] = {}
        self._count = 0
        self._seen: set[str] = set()
        self._latest = 0.0  # `written` of the newest row that was seen

    def append(self, entries: Iterable[Entry]) -> None:
        """Add rows durably; they count from the moment when this returns, and before all rows read until then."""
        self._latest = max(time.time(), self._latest + TICK)
        if self._latest > _MOST["written"]:
            raise StoreError(
                f"{self.location.root} holds rows from the year 5138, after which no others can come; take another copy"
            )
        rows = [asdict(entry) | {"written": self._latest} for entry in entries]
        if not rows:
            return
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        key = self.write(table)
        self._own[key] = table
        self._seen.add(key)
        if len(self._own) >= MANY:
            self.close()

    def close(self) -> None:
        """Merge this writer's files into one."""
        if len(self._own) > 1:
            there = set(ledger_files(self.location))  # others may have merged some, or taken rows away
            self._own = self._merged({key: table for key, table in self._own.items() if key in there})

    def tidy(self) -> None:
        """Merge all files that aren't full, where there are many; others may read and write meanwhile."""
        keys = [key for key in ledger_files(self.location) if _FULL not in key]
        if len(keys) >= MANY:
            self._merged(self._there(keys))

    def remove(self, pairs: Collection[tuple[str, str]]) -> None:
        """Take the rows of some (sample_id, what) away; rows that others append meanwhile stay."""
        doomed = set(pairs)

        def rest(table: pa.Table) -> pa.Table:
            rows = zip(table["sample_id"].to_pylist(), table["what"].to_pylist(), strict=True)
            return table.filter(pa.array([row not in doomed for row in rows], pa.bool_()))

        self._own = self._merged(self._there(ledger_files(self.location)), rest)

    def _there(self, keys: Sequence[str]) -> dict[str, pa.Table]:
        """The rows of those files that aren't gone."""
        tables = zip(keys, self._read_all(keys), strict=True)
        return {key: table.cast(SCHEMA) for key, table in tables if table is not None}

    def _merged(
        self, found: Mapping[str, pa.Table], keep: Callable[[pa.Table], pa.Table] = lambda table: table
    ) -> dict[str, pa.Table]:
        """Files with the rows of several, which are then deleted; all but the last are full.

        A file is deleted only after its rows are durable in another, so that at any moment all rows are there,
        some of them perhaps twice. Files that another process merged before are passed over for that reason.
        """
        table = keep(pa.concat_tables([SCHEMA.empty_table(), *found.values()]))
        pieces = [table.slice(begin, FULL) for begin in range(0, max(len(table), 1), FULL)]
        merged = {self.write(piece): piece for piece in pieces}
        self._seen.update(merged)
        self.location.delete(*(key for key in found if key not in merged))
        return {key: piece for key, piece in merged.items() if len(piece) < FULL}

    def write(self, table: pa.Table) -> str:
        """One file of rows; its name ends with the checksum of its bytes."""
        sink = pa.BufferOutputStream()
        repeated = [name for name in SCHEMA.names if name != "crc32"]
        pyarrow.parquet.write_table(table, sink, use_dictionary=repeated, dictionary_pagesize_limit=2**26)
        data = sink.getvalue().to_pybytes()
        full = _FULL if len(table) >= FULL else ""
        key = f"{LEDGER}/{self.writer}-{self._count:06d}{full}-{crc32c(data):08x}{SUFFIX}"
        self.location.write(key, data)
        self._count += 1
        return key

    def rows(self, without: Collection[str] = ()) -> pd.DataFrame:
        """All rows but those of some files, one for each (sample_id, what); where there are several, the newest."""
        tables = (table.cast(SCHEMA) for table in self.tables(without))
        frame = pa.concat_tables([SCHEMA.empty_table(), *tables]).to_pandas()
        return frame.sort_values("written", kind="stable").drop_duplicates(["sample_id", "what"], keep="last")

    def news(self, names: Iterable[str]) -> Iterator[pa.Table]:
        """Rows that this object has neither written nor given before, by a listing of the ledger's folder.

        What is merged at this very moment comes with the next listing.
        """
        keys = [f"{LEDGER}/{name}" for name in names if name.endswith(SUFFIX)]
        return filter(None, self._new(keys, self._seen))

    def tables(self, without: Collection[str] = ()) -> Iterator[pa.Table]:
        """The rows of all files but some, as `read` gives them, file by file.

        Files that are merged meanwhile stand in the next listing under another name.
        """
        merged, seen = True, set(without)
        while merged:
            merged = False
            for table in self._new(ledger_files(self.location), seen):
                merged |= table is None
                if table is not None:
                    yield table

    def _new(self, keys: Iterable[str], seen: set[str]) -> Iterator[pa.Table | None]:
        """The rows of files that weren't seen before, which count as seen now; None for one that is gone."""
        new = [key for key in keys if key not in seen]
        seen.update(new)
        for table in self._read_all(new):
            if table is not None:
                self._latest = max(self._latest, pc.max(table["written"]).as_py() or 0.0)
            yield table

    def _read_all(self, keys: Sequence[str]) -> Iterator[pa.Table | None]:
        """In order, some ahead; None where a file is gone."""
        for begin in range(0, len(keys), READERS):
            yield from self.location.side_by_side(partial(read_if_there, self.location), keys[begin : begin + READERS])


def ledger_files(location: Location) -> list[str]:
    """Keys of all files of rows, in order."""
    return files_with(location, LEDGER, SUFFIX)


def read(location: Location, key: str) -> pa.Table:
    """The rows of one file, each text once in a dictionary.

    Raises
    ------
    CorruptError
        If its bytes aren't those that its name vouches for, or aren't rows as a ledger has them.
    """
    where, ending = f"the ledger file {location.root}/{key}", "-{:08x}" + SUFFIX
    data = location.read(key)
    if not key.endswith(ending.format(crc32c(data))):
        data = location.read(key)  # an answer may have been cut short
    if not key.endswith(ending.format(crc32c(data))):
        raise CorruptError(f"{where} doesn't match its checksum; run `ldmscene repair`")
    table = tables.read(data, SCHEMA, where, encoded=True)
    _check_values(table, where)
    return table


def _check_values(table: pa.Table, where: str) -> None:
    """Refuse rows that name what can't be, or count what nobody could."""
    ids, whats = (
        pa.chunked_array([chunk.dictionary for chunk in table[name].chunks], pa.string())
        for name in ("sample_id", "what")
    )
    if not pc.all(pc.match_substring_regex(ids, rf"^(?:{SAFE_ID.pattern})\z")).as_py() and len(ids):
        raise wrong(f"{where}, sample_id", "letters, digits, '.', '_' and '-'", "others")
    for what in pc.unique(whats).to_pylist():
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
