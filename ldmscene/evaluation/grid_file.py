"""A grid's own file in its store."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import xarray as xr

from ldmscene.errors import WriteError
from ldmscene.evaluation.grid_form import check_form
from ldmscene.store import ActivationStore, grids
from ldmscene.store.fingerprints import fingerprint
from ldmscene.store.layout import PROBES
from ldmscene.store.locations import File


def grid_file(store: ActivationStore, made_from: Mapping[str, object]) -> File:
    """Where the grid that was computed from these inputs is cached."""
    return File(store.location, f"{PROBES}/grid-{fingerprint(dict(made_from))}.nc")


def keep_grid(grid: xr.Dataset, path: File) -> None:
    """Write a grid as one netCDF 3 file, whole or not at all, its checksum behind it, where netCDF doesn't look.

    Where the store can't be written to, only warn.
    """
    try:
        path.write(grids.write(grid))
    except WriteError as error:
        warnings.warn(f"the grid isn't cached, so that the next evaluation computes it again: {error}", stacklevel=3)


def load_grid(path: File) -> xr.Dataset:
    """Read a grid back.

    Raises
    ------
    CorruptError
        If its bytes aren't those that were written, or no grid.
    """
    return check_form(grids.read(path.read(), str(path)), str(path))
