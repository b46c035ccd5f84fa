"""Is a store what its ledger says, and what to do where it isn't."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ldmscene.errors import CorruptError, StoreError, UnreachableError
from ldmscene.progress import Advance, bar
from ldmscene.store.cache import damaged
from ldmscene.store.documents import Contents
from ldmscene.store.history import Published, complete, differing
from ldmscene.store.layout import LEDGER, ZARR, ArraySpec, Key
from ldmscene.store.ledger import Entry, Ledger, ledger_files, read_if_there
from ldmscene.store.limits import MOST
from ldmscene.store.locations import Location, files_with, location
from ldmscene.store.metadata import disown, is_owned, read_store
from ldmscene.store.places import Place
from ldmscene.store.reader import ShardArray
from ldmscene.store.shards import whole_checksum
from ldmscene.store.store import ActivationStore

PAUSES = (0.2, 1.0)  # seconds in which a writer that has begun to publish has mostly finished
_SHARD = re.compile(r"c\.([0-9]{1,9})(?:\.0)*")


@dataclass(frozen=True)
class Fault:
    """One thing that isn't as it was written; `sample_id` is empty where it belongs to no sample."""

    sample_id: str
    what: str
    why: str

    def __str__(self) -> str:
        """One line of three columns, whatever a file is called."""
        columns = (self.sample_id or "-", self.what, self.why)
        return "\t".join(" ".join(column.splitlines()).replace("\t", " ") for column in columns)


def find_faults(store: str | Place | Location | ActivationStore, *, progress: bool = False) -> list[Fault]:
    """Compare every file that was written for good with its checksum: presence, length, bytes.

    These are the shards that the ledger lists, the ledger, metadata and their copies, statistics and grids. Works on
    stores that are too broken to be opened, and beside writers, which it waits for a little where one has begun to add
    metadata.

    Raises
    ------
    StoreError
        If there is no store.
    UnreachableError
        If the object store doesn't answer.
    """
    where = _where(store)
    unreadable = _unreadable(where)
    faults = [Fault("", key, why) for key, why in unreadable.items()]
    rows = Ledger(where).rows(without=unreadable)  # before the samples, which others may add meanwhile
    try:
        now = read_store(where, there=True)
    except CorruptError as error:
        return [*faults, Fault("", f"{LEDGER}/metadata-*.json", str(error))]
    if now is None:
        raise StoreError(f"no store at {where.root}")
    faults += [Fault("", key, why) for key, why in _differing_for_good(where, now)]
    faults += _dropped_faults(now.contents, rows)
    with bar("verifying", int((rows["bytes"] > 0).sum()), enabled=progress) as advance:
        faults += _shard_faults(where, now.contents, rows, advance)
    return faults + [Fault("", key, "doesn't match its checksum") for key in damaged(where)]


def _differing_for_good(where: Location, now: Published) -> list[tuple[str, str]]:
    """Copies and documents that aren't as published, nor become so: a writer may be about to write them."""
    found = differing(where, now)
    for pause in PAUSES:
        if found:
            begun = any(key.endswith(".copy") and why == "is missing" for (key, _), why in found.items())
            time.sleep(pause if begun else 0)
            again = differing(where, read_store(where) or now)
            found = {one: why for one, why in found.items() if one in again}
    return [(key, why) for (key, _), why in found.items()]


def _where(store: str | Place | Location | ActivationStore) -> Location:
    return store.location if isinstance(store, ActivationStore) else location(store)


def _dropped_faults(contents: Contents, rows: pd.DataFrame) -> Iterator[Fault]:
    """Samples that count as dropped for their statistics, where a store keeps none."""
    if contents.terms is None:
        for row in rows[rows["bytes"] == 0].itertuples():
            yield Fault(row.sample_id, row.what, "counts as dropped, and the store keeps no statistics of it")


def find_orphans(store: ActivationStore) -> list[Place]:
    """Shards that no ledger row lists: of samples that were never finished. The next extract replaces them."""
    found = []
    for path in store.paths:
        known = set(store.rows(store.finished(path)))
        found += [store.root / key for row, key in _shards(store.location, path).items() if row not in known]
    return found


def _shards(where: Location, path: Key) -> dict[int, str]:
    """The keys of an array's shards, by row of the manifest."""
    named = ((_SHARD.fullmatch(key.rpartition("/")[2]), key) for key in files_with(where, f"{ZARR}/{path}", ""))
    return {int(match[1]): key for match, key in named if match}


def _shard_faults(where: Location, contents: Contents, rows: pd.DataFrame, advance: Advance) -> Iterator[Fault]:
    index = {sample_id: i for i, sample_id in enumerate(contents.sample_ids)}
    for what, group in rows.groupby("what", sort=False):
        path = Key(what)
        spec, shards = contents.arrays.get(path), _shards(where, path)
        for row in group[group["bytes"] > 0].itertuples():  # the others were dropped
            advance(1, row.bytes)
            key = shards.get(index.get(row.sample_id, -1))
            if row.sample_id not in index:
                yield Fault(row.sample_id, path, "is not in the manifest")
            elif spec is None:
                yield Fault(row.sample_id, path, "is of an array that the store doesn't have")
            elif key is None:
                yield Fault(row.sample_id, path, "is missing")
            elif _fault(where, key, spec, row) and (why := _fault(where, key, spec, row)):  # an answer may be cut short
                yield Fault(row.sample_id, path, why)


def _fault(where: Location, key: str, spec: ArraySpec, row: Any) -> str | None:
    """What is wrong with a shard; nothing is read of one that is longer than any can be."""
    try:
        data = where.read(key, min(row.bytes, spec.layout.most_bytes))
    except UnreachableError:  # says nothing of the shard
        raise
    except (StoreError, OSError) as error:
        return f"can't be read: {error}"
    if len(data) != row.bytes:
        return f"has {len(data)} bytes, the ledger says {row.bytes}"
    if whole_checksum(data) != row.crc32:
        return "doesn't match its checksum"
    try:
        spec.layout.check(data, key)
    except CorruptError:
        return "matches its checksum, and its chunks don't match theirs"
    return None


def repair(store: ActivationStore | str | Place | Location, *, progress: bool = True) -> list[Fault]:
    """Make a store true again.

    Metadata are written anew from a copy that is whole. Statistics, grids and files of the ledger that are broken are
    set aside, as `*.broken`; shards that lose their rows so are listed again where they are sound by themselves. Other
    broken shards are deleted with their rows, so that the next run makes them again. Labels and a classifier's answers
    of which nothing is left are forgotten, with what their labeler read in unfinished pictures, which is deleted: their
    name is free for any labeler. The store must not be written to meanwhile; a repair that is stopped can be run again.

    Parameters
    ----------
    store
        A store, or its location; what was open before is as it was until its `refresh`, or until a function takes it.
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
    where = _where(store)
    if read_store(where, there=True) is None:
        raise StoreError(f"no store at {where.root}")
    faults = find_faults(where, progress=progress)
    contents = complete(where).contents
    unreadable = list(_unreadable(where))
    if unreadable:
        _readopt(where, contents, unreadable)
    for key in [*unreadable, *damaged(where)]:
        _set_aside(where, key)
    broken = {(fault.sample_id, fault.what) for fault in faults if fault.sample_id}
    if broken:
        _drop(where, contents, broken)
    return faults + _free(where, contents)


def _free(where: Location, contents: Contents) -> list[Fault]:
    """Free the names of what labelers gave and nothing is left of, and forget what they read beside labels."""
    ledger, owned = Ledger(where), {path: spec for path, spec in contents.arrays.items() if is_owned(spec)}
    rows = ledger.rows()
    gone = [path for path in owned if not rows["what"].eq(path).any() and not _shards(where, path)]
    labels = {(path.target, owned[path].dims[-1]) for path in gone if not path.source}
    beside = [p for p, spec in owned.items() if p.source and p not in gone and (p.target, spec.dims[-1]) in labels]
    if beside:
        where.delete(*(key for path in beside for key in _shards(where, path).values()))
        lost = rows[rows["what"].isin(beside)]
        ledger.remove([*zip(lost["sample_id"], lost["what"], strict=True)])
    if gone:
        disown(where, [*gone, *beside])
    return [Fault("", path, "was read by the labeler of labels that are gone") for path in beside]


def _readopt(where: Location, contents: Contents, lost: Sequence[str]) -> None:
    """List shards again of which the rows were lost.

    What a killed writer left looks the same: whole, but never listed. Taking that in does no harm. A shard is written
    whole, each array of a sample is listed for itself, and what lies at the row of a sample was made from that sample
    under this store's fingerprint (or by the labeler that the array names), whoever wrote it. A shard that differs
    from its row is never taken in, since `repair` deletes it before the row.
    """
    ledger = Ledger(where)
    rows = ledger.rows(without=lost)
    ids = contents.sample_ids
    for path, spec in contents.arrays.items():
        known = set(rows["sample_id"][rows["what"] == path])
        array = ShardArray.of(where, spec)
        orphans = [(ids[row], row, key) for row, key in _shards(where, path).items() if row < len(ids)]
        entries = [_adopted(array, *orphan) for orphan in orphans if orphan[0] not in known]
        ledger.append(entry for entry in entries if entry is not None)


def _adopted(array: ShardArray, sample_id: str, row: int, key: str) -> Entry | None:
    """The row of a shard of which the index and every chunk match their checksums, and that holds nothing else."""
    try:
        data = array.location.read(key, array.layout.most_bytes)
        array.layout.check(data, key)
        values = array.read([row], {})
    except CorruptError:
        return None
    bad = int(np.count_nonzero(~np.isfinite(values))) if values.dtype.kind == "f" else 0
    return Entry(sample_id, array.path, whole_checksum(data), len(data), bad)


def _drop(where: Location, contents: Contents, broken: set[tuple[str, str]]) -> None:
    """Delete shards, then their rows."""
    index = {sample_id: i for i, sample_id in enumerate(contents.sample_ids)}
    for path in {what for _, what in broken}:
        shards = _shards(where, Key(path))
        where.delete(*(shards[index[s]] for s, what in broken if what == path and index.get(s) in shards))
    Ledger(where).remove(broken)


def _unreadable(where: Location) -> dict[str, str]:
    """Keys of ledger files that can't be read, and why."""
    found = {}
    for key in ledger_files(where):
        try:
            read_if_there(where, key)
        except CorruptError as error:
            found[key] = "doesn't match its checksum" if "checksum" in str(error) else str(error)
    return found


def _set_aside(where: Location, key: str) -> None:
    try:
        where.write(f"{key.rpartition('.')[0]}.broken", where.read(key, MOST))
    except FileNotFoundError:
        return
    except CorruptError:  # it is no file, or longer than any of ours
        pass
    where.delete(key)
