"""Is a store what its ledger says, and what to do where it isn't."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from ldmscene.errors import CorruptError, StoreError
from ldmscene.progress import Advance, bar
from ldmscene.store.files import write_file
from ldmscene.store.kept import damaged
from ldmscene.store.layout import LEDGER, MANIFEST, ZARR
from ldmscene.store.ledger import METADATA, Ledger, read
from ldmscene.store.metadata import read_root
from ldmscene.store.places import Place, files_in, place
from ldmscene.store.shards import whole_checksum
from ldmscene.store.store import ActivationStore, read_stored_manifest


@dataclass(frozen=True)
class Fault:
    """One thing that isn't as it was written; `sample_id` is empty where it belongs to no sample."""

    sample_id: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.sample_id or '-'}\t{self.what}\t{self.why}"


def find_faults(store: str | Place | ActivationStore, *, progress: bool = False) -> list[Fault]:
    """Compare every file that the ledger vouches for with its entry: presence, length, checksum.

    Works on stores that are too broken to be opened.

    Raises
    ------
    StoreError
        If there is no store.
    """
    root = store.root if isinstance(store, ActivationStore) else place(store)
    unreadable = _unreadable(root / LEDGER)
    faults = [Fault("", f"{LEDGER}/{path.name}", "doesn't match its checksum") for path in unreadable]
    rows = Ledger(root / LEDGER).rows(without=unreadable)
    if rows.empty and not unreadable and read_root(root) is None:
        raise StoreError(f"no store at {root}")
    ours = rows["sample_id"] == METADATA
    faults += [f for row in rows[ours].itertuples() if (f := _fault(root / row.what, row))]
    broken = {fault.what for fault in faults}
    if MANIFEST not in broken:
        with bar("verifying", int((~ours & (rows["bytes"] > 0)).sum()), enabled=progress) as advance:
            faults += _shard_faults(root, rows[~ours], advance)
    return faults + [Fault("", path, "doesn't match its checksum") for path in damaged(root)]


def find_orphans(store: ActivationStore) -> list[Place]:
    """Shards that no ledger row lists: of samples that were never finished. The next extract replaces them."""
    known = {store.info(row.what).file(store.rows([row.sample_id])[0]) for row in store.ledger.itertuples()}
    folders = [store.root / ZARR / path for path in store.paths]
    return [path for folder in folders for path in files_in(folder, "") if _is_shard(path) and path not in known]


def _is_shard(path: Place) -> bool:
    return path.name.startswith("c.")


def _shard_faults(root: Place, rows: pd.DataFrame, advance: Advance) -> Iterator[Fault]:
    ids = read_stored_manifest(root).frame["sample_id"] if len(rows) else []
    index = {sample_id: i for i, sample_id in enumerate(ids)}
    for what, group in rows.groupby("what", sort=False):
        shards = {path.name.split(".")[1]: path for path in files_in(root / ZARR / str(what), "") if _is_shard(path)}
        for row in group[group["bytes"] > 0].itertuples():  # the others were dropped
            advance(1, row.bytes)
            path = shards.get(str(index.get(row.sample_id)))
            if row.sample_id not in index:
                yield Fault(row.sample_id, row.what, "is not in the manifest")
            elif path is None:
                yield Fault(row.sample_id, row.what, "is missing")
            elif fault := _fault(path, row):
                yield fault


def _fault(path: Place, row) -> Fault | None:
    try:
        data = path.read_bytes()
    except OSError as error:
        return Fault(row.sample_id, row.what, f"can't be read: {error}")
    if len(data) != row.bytes:
        return Fault(row.sample_id, row.what, f"has {len(data)} bytes, the ledger says {row.bytes}")
    return None if whole_checksum(data) == row.crc32 else Fault(row.sample_id, row.what, "doesn't match its checksum")


def repair(store: str | Place, *, progress: bool = True) -> int:
    """Drop broken entries from the ledger, so that the next run makes them again; returns how many.

    Metadata and ledger files that are broken are set aside, as `*.broken`; the next extract writes metadata anew.
    The store must not be written to meanwhile.

    Parameters
    ----------
    store
        A store's place.
    progress
        Show a bar where there is a terminal.

    Raises
    ------
    StoreError
        If there is no store.
    CorruptError
        If the manifest or the root's attributes are broken: nothing can make them again.
    """
    root = place(store)
    if read_root(root) is None:
        raise StoreError(f"no store at {root}")
    faults = find_faults(root, progress=progress)
    lost = [f.what for f in faults if f.what in (MANIFEST, f"{ZARR}/zarr.json")]
    if lost:
        raise CorruptError(f"{root / lost[0]} is broken and nothing can make it again; restore it from a copy")
    for fault in faults:
        if not fault.sample_id:
            _set_aside(root / fault.what)
    broken = {(f.sample_id, f.what) for f in faults}
    rows = Ledger(root / LEDGER).rows()
    kept = [pair not in broken for pair in zip(rows["sample_id"], rows["what"], strict=True)]
    if not all(kept):
        Ledger(root / LEDGER).replace(rows[kept])
    return len(faults)


def _unreadable(folder: Place) -> list[Place]:
    return [path for path in files_in(folder, ".parquet") if not _readable(path)]


def _readable(path: Place) -> bool:
    try:
        read(path)
    except CorruptError:
        return False
    except FileNotFoundError:  # merged by its writer just now
        return True
    return True


def _set_aside(path: Place) -> None:
    if path.exists():
        write_file(path.with_suffix(".broken"), path.read_bytes())
        path.unlink()
