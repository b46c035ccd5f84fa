"""A grid's own file in its store."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping

import xarray as xr

from ldmscene.errors import CorruptError, WriteError
from ldmscene.store import ActivationStore
from ldmscene.store.layout import PROBES
from ldmscene.store.locations import File
from ldmscene.store.prepare import fingerprint
from ldmscene.store.seal import seal, unseal


def grid_file(store: ActivationStore, made_from: Mapping[str, object]) -> File:
    """Where the grid that was computed from these inputs is kept."""
    return File(store.location, f"{PROBES}/grid-{fingerprint(dict(made_from))}.nc")


def keep_grid(grid: xr.Dataset, path: File) -> None:
    """Write a grid as one netCDF 3 file, whole or not at all, its checksum behind it, where netCDF doesn't look.

    Where the store can't be written to, only warn.
    """
    try:
        path.write(seal(bytes(grid.to_netcdf(engine="scipy"))))
    except WriteError as error:
        warnings.warn(f"the grid isn't kept, so that the next evaluation computes it again: {error}", stacklevel=3)


def load_grid(path: File) -> xr.Dataset:
    """Read a grid back.

    Raises
    ------
    CorruptError
        If its bytes aren't those that were written.
    """
    data = unseal(path.read())
    if data is None:
        raise CorruptError(f"{path} is not the grid that was written; delete it and evaluate again")
    with xr.open_dataset(io.BytesIO(data), engine="scipy") as grid:
        return grid.load()
