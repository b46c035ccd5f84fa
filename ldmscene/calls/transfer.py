"""From a grid to what its probes read at other steps."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from ldmscene.axes import check_grid
from ldmscene.calls.opening import opened as open_store
from ldmscene.errors import InputError
from ldmscene.evaluation.targets import targets_of
from ldmscene.evaluation.transfer import transfer_gains
from ldmscene.gains import beyond, chosen_module, known
from ldmscene.selection import choose_one
from ldmscene.store import ActivationStore


def transfer(
    store: ActivationStore | str | Path, grid: xr.Dataset, target: str, module: str | None = None
) -> xr.DataArray:
    """Apply the probe of each step to the features of every other: does a module's code stand still?

    One pass over the held-out samples of one module.

    Parameters
    ----------
    store : ActivationStore or path
        The store that the grid is of.
    grid : xarray.Dataset
        What `ldmscene.evaluate` made of it, beyond position alone.
    target : str
    module : str, optional
        Where not given, the module that speaks for the target in `ldmscene.emergence`.

    Returns
    -------
    xarray.DataArray
        Partial R² (fitted, applied): rows are the steps whose training samples a probe was fitted to, columns the steps
        whose held-out samples it is applied to. Equal rows say that the code doesn't change.

    Raises
    ------
    InputError
        If the grid has no effects, or they are beyond the latent or other targets, too.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", cv=3, progress=False)
    >>> ldmscene.transfer("stores/demo", grid, "mask").dims
    ('fitted', 'applied')
    """
    opened = open_store(store)
    check_grid(grid, "labels", "channels")
    if "gain_coef" not in grid or beyond(grid) not in (["position"], []):
        got = f"beyond {known(grid)}" if "gain_coef" in grid else "without effects"
        raise InputError(f"grid: expected one of `evaluate(beyond='position')`, got one {got}; evaluate again so")
    check_grid(grid, "gain_coef", "gain_map", "known_map")
    modules = grid["module"].values.tolist()
    module = chosen_module(grid, target) if module is None else choose_one("module in this grid", module, modules)
    if absent := set(grid["step"].values.tolist()) - set(opened.steps_of(module)):
        raise InputError(f"module: {module} doesn't run at step {min(absent)} of this grid; evaluate its steps alone")
    fits = grid.sel(target=target, module=module)
    labels = str(fits["labels"].item())
    (of_labels,) = [one for one in targets_of(opened, [labels], _training(opened)) if one.name == target]
    gains = transfer_gains(opened, fits, of_labels, [str(name) for name in grid["sample"].values])
    steps = grid["step"].values
    return xr.DataArray(gains, dims=("fitted", "applied"), coords={"fitted": steps, "applied": steps}, name="gain")


def _training(store: ActivationStore) -> list[str]:
    """Training samples, by whose labels classes are known."""
    frame = store.manifest.frame
    ids: list[str] = frame["sample_id"][frame["split"] == "train"].tolist()
    return ids
