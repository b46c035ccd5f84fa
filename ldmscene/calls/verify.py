"""Looking for what is broken in a store."""

from __future__ import annotations

from pathlib import Path

from ldmscene.calls.opening import opened
from ldmscene.errors import LdmsceneError
from ldmscene.evaluation.absorbing import find_lost
from ldmscene.store import ActivationStore
from ldmscene.store.check import Fault, find_faults


def verify(store: ActivationStore | str | Path, *, progress: bool = True) -> list[Fault]:
    """Compare every byte that a store's ledger vouches for with its checksum, and look for statistics that are gone.

    Works on stores that are too broken to be opened. `ldmscene.repair` drops what is broken from the ledger, so that
    the next `extract` or `label` makes it again.

    Parameters
    ----------
    store
        A store, or its location.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    list of Fault
        Each with `sample_id` (empty where it belongs to no sample), `what` and `why`; empty if all is well.

    Raises
    ------
    StoreError
        If there is no store.

    Examples
    --------
    >>> import ldmscene
    >>> ldmscene.verify("stores/demo", progress=False)
    []
    """
    faults = find_faults(store, progress=progress)
    try:
        return faults + find_lost(opened(store))
    except LdmsceneError:
        if faults:  # it is too broken to be opened
            return faults
        raise
