"""Is what lies in a grid's file a grid, as `ldmscene.grid` describes one."""

from __future__ import annotations

import json

import xarray as xr

from ldmscene.errors import CorruptError
from ldmscene.store.layout import is_key

_CELLS = ("target", "module", "step")
_MEANS = ("target", "metric", "module", "step")
_NUMBERS = {
    "probe": (*_MEANS, "sample"),
    "shuffled": (*_MEANS, "sample"),
    "low": _MEANS,
    "high": _MEANS,
    "degenerate": _MEANS,
    "alpha": _CELLS,
    "cv_score": _CELLS,
    "at_edge": _CELLS,
    "baseline": ("reading", "target", "metric", "step", "sample"),
    "timestep": ("step",),
    "step": ("step",),
    "of_class": ("target",),
    "deviation": ("target",),
    "prompt": ("sample",),
    "higher_is_better": ("metric",),
    **dict.fromkeys(("height", "width", "channels"), ("module",)),
}
_PERHAPS = {
    "permuted": (*_MEANS, "sample"),
    "permuted_cv_score": _CELLS,
    "coef": (*_CELLS, "channel"),
    "intercept": _CELLS,
}
_TEXTS = {
    **{name: (name,) for name in ("target", "metric", "module", "sample", "reading")},
    **dict.fromkeys(("primary", "kind", "labels"), ("target",)),
    **dict.fromkeys(("block", "level"), ("module",)),
}


def check_form(grid: xr.Dataset, where: str) -> xr.Dataset:
    """The grid, or CorruptError where it lacks something, or holds it along other axes or as another type."""
    perhaps = {name: dims for name, dims in _PERHAPS.items() if name in grid.variables}
    for name, dims in {**_NUMBERS, **perhaps, **_TEXTS}.items():
        if name not in grid.variables or set(grid[name].dims) != set(dims):
            raise _no_grid(where, f"no {name} along {', '.join(dims)}")
        wanted = "OUS" if name in _TEXTS else "biuf"
        if grid[name].dtype.kind not in wanted:
            raise _no_grid(where, f"{name} as {grid[name].dtype}")
        if name in _TEXTS and not all(isinstance(text, str) and text.isprintable() for text in grid[name].values):
            raise _no_grid(where, f"{name} that is no text")
    _check_names(grid, where)
    return grid


def _check_names(grid: xr.Dataset, where: str) -> None:
    modules, targets = ([f"{kind}/{n}{end}" for n in grid[name].values] for kind, name, end in _KEYS)
    if not all(map(is_key, (*modules, *targets))):
        raise _no_grid(where, "names that no module or target has")
    if any(grid.indexes[name].has_duplicates for name in ("target", "metric", "module", "sample", "step")):
        raise _no_grid(where, "the same name twice")
    if not set(grid["primary"].values) <= set(grid["metric"].values) or 0 in grid.sizes.values():
        raise _no_grid(where, "no score by its own metric")
    try:
        told = json.loads(grid.attrs["provenance"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _no_grid(where, "no provenance") from error
    if not isinstance(told, dict):
        raise _no_grid(where, "no provenance")


_KEYS = (("activations", "module", "/activation"), ("labels", "labels", ""))


def _no_grid(where: str, found: str) -> CorruptError:
    return CorruptError(f"{where} holds {found}, and so no grid of ldmscene's; delete it and evaluate again")
