"""Is a store what its ledger says, and what to do where it isn't."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ldmscene.errors import CorruptError, StoreError, UnreachableError
from ldmscene.progress import Advance, bar
from ldmscene.store.cache import damaged
from ldmscene.store.files import write_file
from ldmscene.store.history import Published, complete, differing
from ldmscene.store.layout import LEDGER, ZARR
from ldmscene.store.ledger import Entry, Ledger, read
from ldmscene.store.metadata import arrays, read_store, sample_ids_of
from ldmscene.store.places import Place, files_in, place
from ldmscene.store.reader import ShardArray
from ldmscene.store.shards import whole_checksum
from ldmscene.store.store import ActivationStore

_SHARD = re.compile(r"c\.(\d+)(\.|$)")


@dataclass(frozen=True)
class Fault:
    """One thing that isn't as it was written; `sample_id` is empty where it belongs to no sample."""

    sample_id: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.sample_id or '-'}\t{self.what}\t{self.why}"


def find_faults(store: str | Place | ActivationStore, *, progress: bool = False) -> list[Fault]:
    """Compare every file that was written for good with its checksum: presence, length, bytes.

    These are the shards that the ledger lists, the ledger, metadata and their copies, statistics and grids. Works on
    stores that are too broken to be opened.

    Raises
    ------
    StoreError
        If there is no store.
    UnreachableError
        If the object store doesn't answer.
    """
    root = store.root if isinstance(store, ActivationStore) else place(store)
    unreadable = _unreadable(root / LEDGER)
    faults = [Fault("", f"{LEDGER}/{path.name}", "doesn't match its checksum") for path in unreadable]
    try:
        now = read_store(root)
    except CorruptError as error:
        return [*faults, Fault("", f"{LEDGER}/metadata-*.json", str(error))]
    if now is None:
        raise StoreError(f"no store at {root}")
    rows = Ledger(root / LEDGER).rows(without=unreadable)
    faults += [Fault("", path, why) for path, why in differing(root, now)]
    with bar("verifying", int((rows["bytes"] > 0).sum()), enabled=progress) as advance:
        faults += _shard_faults(root, sample_ids_of(now.documents), rows, advance)
    return faults + [Fault("", path, "doesn't match its checksum") for path in damaged(root)]


def find_orphans(store: ActivationStore) -> list[Place]:
    """Shards that no ledger row lists: of samples that were never finished. The next extract replaces them."""
    found = []
    for path in store.paths:
        known = set(store.rows(store.finished(path)))
        found += [file for row, file in _shards(store.root, path).items() if row not in known]
    return found


def _shards(root: Place, path: str) -> dict[int, Place]:
    """The shards of an array, by row of the manifest."""
    named = ((_SHARD.match(file.name), file) for file in files_in(root / ZARR / path, ""))
    return {int(match[1]): file for match, file in named if match}


def _shard_faults(root: Place, ids: Sequence[str], rows: pd.DataFrame, advance: Advance) -> Iterator[Fault]:
    index = {sample_id: i for i, sample_id in enumerate(ids)}
    for what, group in rows.groupby("what", sort=False):
        shards = _shards(root, str(what))
        for row in group[group["bytes"] > 0].itertuples():  # the others were dropped
            advance(1, row.bytes)
            path = shards.get(index.get(row.sample_id, -1))
            if row.sample_id not in index:
                yield Fault(row.sample_id, row.what, "is not in the manifest")
            elif path is None:
                yield Fault(row.sample_id, row.what, "is missing")
            elif fault := _fault(path, row):
                yield fault


def _fault(path: Place, row) -> Fault | None:
    try:
        data = path.read_bytes()
    except UnreachableError:  # says nothing of the shard
        raise
    except OSError as error:
        return Fault(row.sample_id, row.what, f"can't be read: {error}")
    if len(data) != row.bytes:
        return Fault(row.sample_id, row.what, f"has {len(data)} bytes, the ledger says {row.bytes}")
    return None if whole_checksum(data) == row.crc32 else Fault(row.sample_id, row.what, "doesn't match its checksum")


def repair(store: ActivationStore | str | Place, *, progress: bool = True) -> list[Fault]:
    """Make a store true again.

    Metadata are written anew from a copy that is whole. Statistics, grids and files of the ledger that are broken are
    set aside, as `*.broken`; shards that lose their rows so are listed again where they are sound by themselves. Other
    broken shards are deleted with their rows, so that the next run makes them again. The store must not be written to
    meanwhile; a repair that is stopped can be run again.

    Parameters
    ----------
    store
        A store, or its place; what was open before is as it was until its `refresh`.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    list of Fault
        What was mended or dropped.

    Raises
    ------
    StoreError
        If there is no store.
    CorruptError
        If all copies of its metadata are broken: nothing can make them again.

    Examples
    --------
    >>> import ldmscene
    >>> ldmscene.repair("stores/demo")  # nothing was broken
    []
    """
    root = store.root if isinstance(store, ActivationStore) else place(store)
    if read_store(root) is None:
        raise StoreError(f"no store at {root}")
    faults = find_faults(root, progress=progress)
    now = complete(root)
    unreadable = _unreadable(root / LEDGER)
    if unreadable:
        _readopt(root, now, Ledger(root / LEDGER), unreadable)
    for path in [*unreadable, *(root / name for name in damaged(root))]:
        _set_aside(path)
    broken = {(fault.sample_id, fault.what) for fault in faults if fault.sample_id}
    if broken:
        _drop(root, now, broken)
    return faults


def _readopt(root: Place, now: Published, ledger: Ledger, lost: Sequence[Place]) -> None:
    """List shards again of which the rows were lost.

    What a killed writer left looks the same: whole, but never listed. Taking that in does no harm. A shard is written
    whole, each array of a sample is listed for itself, and what lies at the row of a sample was made from that sample
    under this store's fingerprint (or by the labeler that the array names), whoever wrote it. A shard that differs
    from its row is never taken in, since `repair` deletes it before the row.
    """
    rows = ledger.rows(without=lost)
    ids = sample_ids_of(now.documents)
    for path, array in arrays(now.documents).items():
        known = set(rows["sample_id"][rows["what"] == path])
        found = ShardArray.of(root, path, array)
        orphans = [(ids[row], row, file) for row, file in _shards(root, path).items() if row < len(ids)]
        entries = [_adopted(found, *orphan) for orphan in orphans if orphan[0] not in known]
        ledger.append(entry for entry in entries if entry is not None)


def _adopted(array: ShardArray, sample_id: str, row: int, file: Place) -> Entry | None:
    """The row of a shard of which the index and every chunk match their checksums, and that holds nothing else."""
    data, layout = file.read_bytes(), array.layout
    try:
        index = layout.decode_index(data[-layout.index_bytes :], str(file))
        values = array.read([row], {})
    except CorruptError:
        return None
    if int(index[..., 1].sum()) + layout.index_bytes != len(data):
        return None
    bad = int(np.count_nonzero(~np.isfinite(values))) if values.dtype.kind == "f" else 0
    return Entry(sample_id, array.path, whole_checksum(data), len(data), bad)


def _drop(root: Place, now: Published, broken: set[tuple[str, str]]) -> None:
    """Delete shards, then their rows."""
    index = {sample_id: i for i, sample_id in enumerate(sample_ids_of(now.documents))}
    for path in {what for _, what in broken}:
        shards = _shards(root, path)
        for sample_id in (s for s, what in broken if what == path and index.get(s) in shards):
            shards[index[sample_id]].unlink(missing_ok=True)
    Ledger(root / LEDGER).remove(
        lambda rows: pd.Series(
            [pair in broken for pair in zip(rows["sample_id"], rows["what"], strict=True)], dtype=bool
        )
    )


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
