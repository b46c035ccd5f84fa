"""Making room in a store."""

from __future__ import annotations

from pathlib import Path

from ldmscene.calls.opening import opened
from ldmscene.errors import InputError
from ldmscene.store import ActivationStore
from ldmscene.store.beside import KINDS, keys_of

_, STATISTICS, GRIDS, BROKEN = KINDS


def tidy(
    store: ActivationStore | str | Path, *, statistics: bool = True, grids: bool = True, dry_run: bool = False
) -> int:
    """Delete what a store can make again: statistics, fitted grids, and what `repair` set aside.

    `evaluate` then reads activations anew. Nobody may evaluate the store meanwhile.

    Parameters
    ----------
    store : ActivationStore, str or pathlib.Path
        A store, or its location.
    statistics : bool
        Delete reduced labels, moments, coordinates and scores. Default: True.
    grids : bool
        Delete fitted grids. Default: True.
    dry_run : bool
        Delete nothing. Default: False.

    Returns
    -------
    int
        The bytes that are free now, or would be.

    Raises
    ------
    InputError
        If the store keeps statistics in the place of activations, which nothing could make again.
    WriteError
        If the store can't be written to.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1], cv=3, progress=False)
    >>> ldmscene.tidy("stores/demo", dry_run=True) > 0  # bytes of statistics and grids
    True
    """
    found = opened(store)
    if statistics and found.terms is not None:
        raise InputError(
            f"statistics: {found.root} keeps them in the place of activations, and nothing makes them again; ask for "
            "statistics=False"
        )
    kinds = (BROKEN, *([STATISTICS] if statistics else []), *([GRIDS] if grids else []))
    keys = keys_of(found.location, kinds)
    if not dry_run:
        found.location.delete(*keys)
    return sum(keys.values())
