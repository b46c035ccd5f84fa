"""Taking away arrays whose statistics are stored. The ledger says so first; a dropped array has 0 bytes there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ldmscene.store.layout import Key
from ldmscene.store.ledger import Entry, Ledger
from ldmscene.store.store import ActivationStore


def drop(
    store: ActivationStore,
    sample_ids: Sequence[str],
    paths: Iterable[Key],
    known: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """Drop arrays of some samples for good. Their checksums stay in the ledger: statistics are named by them.

    `known` has checksums, by path and sample, of arrays that were never stored.
    """
    checksums = {path: {**store.checksums(path), **(known or {}).get(path, {})} for path in paths}
    ledger = Ledger(store.location)
    ledger.rows()  # what the new rows must come after
    ledger.append(
        Entry(sample_id, path, each[sample_id], bytes=0, nonfinite=0)
        for path, each in checksums.items()
        for sample_id in sample_ids
    )
    store.refresh()
    _remove(store, sample_ids, checksums)


def forget(store: ActivationStore, gone: Mapping[Key, Iterable[str]]) -> None:
    """Have arrays, each of its own samples, count as missing, so that they are made again."""
    if gone:
        Ledger(store.location).remove([(sample_id, path) for path, ids in gone.items() for sample_id in ids])
        store.refresh()


def sweep(store: ActivationStore) -> None:
    """Remove what a run that was stopped between the ledger and the disk left of dropped arrays."""
    for path in store.paths:
        _remove(store, store.dropped(path), [path])


def _remove(store: ActivationStore, sample_ids: Iterable[str], paths: Iterable[Key]) -> None:
    """All at once, as object stores like it."""
    rows = store.rows(sample_ids)
    store.location.delete(*(store.info(path).key(row) for path in paths for row in rows))
