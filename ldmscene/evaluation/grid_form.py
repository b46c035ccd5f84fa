"""Is what lies in a grid's file a grid, as `ldmscene.grid` describes one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from ldmscene.axes import EFFECTS, NONLINEAR, NUMBERS, PERHAPS, READINGS, TEXTS, Axes, told, told_beyond
from ldmscene.errors import CorruptError, InputError
from ldmscene.store.layout import is_key

_WHOLE = ("step", "timestep", "prompt", "height", "width", "channels")  # of which none is missing
_UNBOUNDED = ("low", "high")  # of few prompts
_LARGEST = 1e30  # so that sums of squares are numbers, too


def check_form(grid: xr.Dataset, where: str) -> xr.Dataset:
    """The grid, or CorruptError where it lacks something, or holds it along other axes or as another type."""
    numbers, texts = _expected(grid)
    for name, dims in {**numbers, **texts}.items():
        if name not in grid.variables or set(grid[name].dims) != set(dims):
            raise _no_grid(where, f"no {name} along {', '.join(dims)}")
        wanted = "OUS" if name in texts else "biuf"
        if grid[name].dtype.kind not in wanted:
            raise _no_grid(where, f"{name} as {grid[name].dtype}")
        if name in texts and not all(isinstance(text, str) and text.isprintable() for text in grid[name].values):
            raise _no_grid(where, f"{name} that is no text")
    _check_names(grid, where)
    _check_numbers(grid, numbers, where)
    _check_told(grid, where)
    return grid


def _expected(grid: xr.Dataset) -> tuple[dict[str, Axes], dict[str, Axes]]:
    """Axes of the numbers and of the texts that a grid must have, as far as it has any of their kind."""
    numbers: dict[str, Axes] = NUMBERS | {name: dims for name, dims in PERHAPS.items() if name in grid.variables}
    texts: dict[str, Axes] = {**TEXTS}
    for some, coordinate in ((EFFECTS, "rival"), (READINGS, "labeler"), (NONLINEAR, "")):
        if not some.keys().isdisjoint(grid.variables):
            numbers |= some
            texts |= {coordinate: (coordinate,)} if coordinate else {}
    return numbers, texts


def _check_numbers(grid: xr.Dataset, names: Iterable[str], where: str) -> None:
    for name in names:
        values = grid[name].values.astype(np.float64)
        if name not in _UNBOUNDED and (np.abs(values) > _LARGEST).any():
            raise _no_grid(where, f"{name} beyond {_LARGEST:g}")
        if name in _WHOLE and np.isnan(values).any():
            raise _no_grid(where, f"{name} that is no number")
    for name in ("explained", "gain_cv"):
        if name in grid and grid[name].isnull().all([dim for dim in grid[name].dims if dim != "target"]).any():
            raise _no_grid(where, f"no {name} of some target")


def _check_names(grid: xr.Dataset, where: str) -> None:
    modules, targets = ([f"{kind}/{n}{end}" for n in grid[name].values] for kind, name, end in _KEYS)
    if not all(map(is_key, (*modules, *targets))):
        raise _no_grid(where, "names that no module or target has")
    if any(grid.indexes[name].has_duplicates for name in ("target", "metric", "module", "sample", "step")):
        raise _no_grid(where, "the same name twice")
    if not set(grid["primary"].values) <= set(grid["metric"].values) or 0 in grid.sizes.values():
        raise _no_grid(where, "no score by its own metric")


def _check_told(grid: xr.Dataset, where: str) -> None:
    """Provenance is an object; what was known anyway is named as targets are."""
    try:
        told(grid)
        known = told_beyond(grid) if "beyond" in grid.attrs else []
    except InputError as error:
        raise _no_grid(where, "no provenance, or no names of what was known anyway") from error
    if not all(is_key(f"labels/{name}") for name in known):
        raise _no_grid(where, "no names of what was known anyway")


_KEYS = (("activations", "module", "/activation"), ("labels", "labels", ""))


def _no_grid(where: str, found: str) -> CorruptError:
    return CorruptError(f"{where} holds {found}, and so no grid of ldmscene's; delete it and evaluate again")
