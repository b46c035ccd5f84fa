"""A grid's file: netCDF 3 with its checksum behind it, where netCDF doesn't look."""

from __future__ import annotations

import io

import xarray as xr

from ldmscene.errors import CorruptError
from ldmscene.store.seal import seal, unseal


def write(grid: xr.Dataset) -> bytes:
    return seal(bytes(grid.to_netcdf(engine="scipy")))


def read(data: bytes, where: str) -> xr.Dataset:
    """The grid in a file's bytes.

    Raises
    ------
    CorruptError
        If they aren't those that were written, or no netCDF. `where` names the file.
    """
    plain = unseal(data)
    if plain is None:
        raise CorruptError(f"{where} is not the grid that was written; delete it and evaluate again")
    try:
        with xr.open_dataset(io.BytesIO(plain), engine="scipy") as grid:
            return grid.load()
    except Exception as error:  # the parser's own checks are asserts and failing look-ups of every kind
        raise CorruptError(f"{where} holds no grid ({str(error)[:80]}); delete it and evaluate again") from error
