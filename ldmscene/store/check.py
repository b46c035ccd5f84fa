"""Is a store what its ledger says, and what to do where it isn't."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ldmscene.errors import CorruptError, StoreError
from ldmscene.store.files import write_file
from ldmscene.store.layout import LEDGER, read_root
from ldmscene.store.ledger import SCHEMA, Ledger, encode, read
from ldmscene.store.shards import whole_checksum
from ldmscene.store.store import ActivationStore


@dataclass(frozen=True)
class Fault:
    """One thing that isn't as it was written."""

    sample_id: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.sample_id}\t{self.what}\t{self.why}"


def find_faults(store: str | Path | ActivationStore) -> list[Fault]:
    """Compare every shard with its ledger entry: presence, length, checksum."""
    opened = store if isinstance(store, ActivationStore) else ActivationStore(store)
    return list(_faults(opened))


def _faults(store: ActivationStore) -> Iterator[Fault]:
    known = set(store.manifest.frame["sample_id"])
    for row in store.ledger.itertuples():
        if row.sample_id not in known:
            yield Fault(row.sample_id, row.what, "is not in the manifest")
            continue
        try:
            data = store.info(row.what).file(store.rows([row.sample_id])[0]).read_bytes()
        except (OSError, ValueError) as error:
            yield Fault(row.sample_id, row.what, f"can't be read: {error}")
            continue
        if len(data) != row.bytes:
            yield Fault(row.sample_id, row.what, f"has {len(data)} bytes, the ledger says {row.bytes}")
        elif whole_checksum(data) != row.crc32:
            yield Fault(row.sample_id, row.what, "doesn't match its checksum")


def repair(store: str | Path) -> int:
    """Drop broken entries from the ledger, so that the next run makes them again; returns how many.

    Ledger files that can't be read are set aside whole, as `*.broken`, and count as one. The store must not be
    written to meanwhile.
    """
    if read_root(Path(store)) is None:
        raise StoreError(f"no store at {store}")
    dropped = _set_unreadable_aside(Path(store) / LEDGER)
    opened = ActivationStore(store)
    faults = {(f.sample_id, f.what) for f in find_faults(opened)}
    if faults:
        kept = opened.ledger[
            [pair not in faults for pair in zip(opened.ledger["sample_id"], opened.ledger["what"], strict=True)]
        ]
        _replace(opened.root / LEDGER, kept)
    return dropped + len(faults)


def _set_unreadable_aside(folder: Path) -> int:
    broken = []
    for path in folder.glob("*.parquet"):
        try:
            read(path)
        except CorruptError:
            broken.append(path)
    for path in broken:
        path.rename(path.with_suffix(".broken"))
    return len(broken)


def _replace(folder: Path, rows: pd.DataFrame) -> None:
    old = list(folder.glob("*.parquet"))
    table = pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False)
    write_file(folder / f"repaired-{Ledger(folder).writer}.parquet", encode(table))
    for path in old:
        path.unlink()
