"""Opening a store."""

from __future__ import annotations

from pathlib import Path

from ldmscene.errors import InputError
from ldmscene.store import ActivationStore


def open_store(path: str | Path) -> ActivationStore:
    """Open an existing store.

    Parameters
    ----------
    path
        A folder, `file://…` or `s3://bucket/prefix`.

    Raises
    ------
    StoreError
        If there is none, or a newer ldmscene wrote it.

    Examples
    --------
    >>> import ldmscene
    >>> store = ldmscene.open("stores/demo")
    >>> len(store.samples), len(store.modules), store.steps
    (20, 16, [0, 1, 2, 3])
    """
    return ActivationStore(path)


def opened(store: ActivationStore | str | Path) -> ActivationStore:
    """A store as it is now, opened where its location was named; InputError for anything else."""
    if isinstance(store, ActivationStore):
        store.refresh()  # what is computed from it is cached under the checksums of what lies there
        return store
    if not isinstance(store, str | Path):
        raise InputError(
            f"store: expected an ActivationStore or where one lies, got {type(store).__name__}; are the arguments in "
            "order?"
        )
    return ActivationStore(store)
