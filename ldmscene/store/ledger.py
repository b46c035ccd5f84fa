"""The ledger: what is complete, with checksums. A sample exists when its rows exist.

Parquet files in one folder, never changed once written. Each writer appends files of its own, so that
writers need no lock, and merges them into one when it closes. The same row twice means the same as once.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from ldmscene.errors import CorruptError
from ldmscene.store.files import write_file

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
    crc32: int  # of the whole shard file
    bytes: int
    nonfinite: int  # values that overflowed or were NaN
    written: float = field(default_factory=time.time)  # seconds since the epoch


class Ledger:
    """The rows of one folder, and a writer's own end of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer = uuid.uuid4().hex
        self._own: list[Path] = []

    def append(self, entries: Iterable[Entry]) -> None:
        """Add rows durably; they count from the moment when this returns."""
        path = self.folder / f"{self.writer}-{len(self._own):06d}.parquet"
        write_file(path, encode(pa.Table.from_pylist([asdict(e) for e in entries], schema=SCHEMA)))
        self._own.append(path)

    def close(self) -> None:
        """Merge this writer's files into one. A crash in between leaves rows twice, which does no harm."""
        if len(self._own) > 1:
            merged = pa.concat_tables([read(path) for path in self._own])
            write_file(self.folder / f"{self.writer}.parquet", encode(merged))
            for path in self._own:
                path.unlink()
        self._own = []

    def rows(self) -> pd.DataFrame:
        """All rows, one for each (sample_id, what); where there are several, the newest."""
        frame = pa.concat_tables([SCHEMA.empty_table(), *self._tables()]).to_pandas()
        return frame.sort_values("written", kind="stable").drop_duplicates(["sample_id", "what"], keep="last")

    def _tables(self) -> list[pa.Table]:
        while True:
            try:
                return [read(path) for path in sorted(self.folder.glob("*.parquet"))]
            except FileNotFoundError:  # a writer merged its files between the listing and the reading
                continue


def encode(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def read(path: Path) -> pa.Table:
    data = path.read_bytes()
    try:
        return pyarrow.parquet.read_table(pa.BufferReader(data), schema=SCHEMA)
    except (pa.ArrowException, OSError) as error:  # Arrow says OSError of bytes that it can't decode
        raise CorruptError(f"the ledger file {path} can't be read ({error}); run `ldmscene repair`") from error
