"""Along which axes a grid's variables lie, and the refusal of what isn't such a grid.

Grids are handed about: by strangers, from older versions, as parts that were selected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ldmscene.errors import InputError

Axes = tuple[str, ...]
_CELLS = ("target", "module", "step")
_MEANS = ("target", "metric", "module", "step")
NUMBERS: dict[str, Axes] = {
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
PERHAPS: dict[str, Axes] = {
    "permuted": (*_MEANS, "sample"),
    "permuted_cv_score": _CELLS,
    "coef": (*_CELLS, "channel"),
    "intercept": _CELLS,
}
EFFECTS: dict[str, Axes] = {  # all of them, or none
    **dict.fromkeys(("explained", "left", "correlation", "score_known", "score_both"), (*_CELLS, "sample")),
    **dict.fromkeys(("gain_cv", "refit", "ceiling"), _CELLS),
    "gain_coef": (*_CELLS, "channel"),
    **dict.fromkeys(("gain_map", "known_map"), (*_CELLS, "position")),
    **dict.fromkeys(("rival_explained", "rival_left"), ("rival", "target", "step", "sample")),
}
READINGS: dict[str, Axes] = dict.fromkeys(
    ("labeler_explained", "labeler_left"), ("labeler", "target", "step", "sample")
)
NONLINEAR: dict[str, Axes] = dict.fromkeys(("nonlinear_explained", "nonlinear_left"), ("target", "step", "sample"))
TEXTS: dict[str, Axes] = {
    **{name: (name,) for name in ("target", "metric", "module", "sample", "reading")},
    **dict.fromkeys(("primary", "kind", "labels"), ("target",)),
    "block": ("module",),
}
_ALL = NUMBERS | PERHAPS | EFFECTS | READINGS | NONLINEAR | TEXTS
_JUDGED = ("explained", "left", "gain_cv")  # without which effects can't be
AGAIN = "evaluate the store again"


def check_grid(grid: object, *names: str) -> None:
    """Refuse what is no grid, such as a store in its place, and one that lacks what is to be read.

    Parameters
    ----------
    grid
        What a caller passed.
    names
        Variables that it must have, beside scores by the metric that speaks for each target.

    Raises
    ------
    InputError
    """
    if not isinstance(grid, xr.Dataset):
        raise InputError(
            f"grid: expected what ldmscene.evaluate returns, got {type(grid).__name__}; are the arguments in order?"
        )
    beside = [name for dim in ("rival", "labeler") if dim in grid.dims for name in _ALL if name.startswith(f"{dim}_")]
    judged = (*_JUDGED, *beside) if "explained" in grid else ()
    for name in ("probe", "target", "module", "step", "primary", *names, *judged):
        check_axes(grid, name)
    for dim in NUMBERS["probe"]:
        if not grid.sizes[dim]:
            raise InputError(f"grid: expected at least one {dim}, got none; select some, or {AGAIN}")
    steps = grid["step"].values
    if not (steps[1:] > steps[:-1]).all():
        raise InputError(f"grid: expected steps in order, each once, got {', '.join(map(str, steps.tolist()))}")
    if "sample" in grid.indexes and grid.indexes["sample"].has_duplicates:
        raise InputError("grid: expected each sample once, got some of them again")
    metrics = grid["metric"].values.tolist() if "metric" in grid.coords else []
    for name in grid["primary"].values.tolist():
        if name not in metrics:
            raise InputError(f"grid: expected scores by its own metric {name!r}, got {metrics}; {AGAIN}")


def check_has(grid: xr.Dataset, name: str) -> None:
    """Refuse a grid, or a part of one, without a variable."""
    if name not in grid.variables:
        raise InputError(f"grid: expected a variable {name} along {', '.join(_ALL[name])}, got none; {AGAIN}")


def check_axes(grid: xr.Dataset, name: str) -> None:
    """Refuse a grid, or a part of one, without a variable along its axes."""
    check_has(grid, name)
    found = [str(dim) for dim in grid.variables[name].dims]
    if set(found) != set(_ALL[name]):
        got = f"it along {', '.join(found)}" if found else "one alone"
        raise InputError(
            f"grid: expected {name} along {', '.join(_ALL[name])}, got {got}; select with lists, such as "
            f"grid.sel(step=[3]), or {AGAIN}"
        )


def told(grid: xr.Dataset) -> Mapping[str, Any]:
    """The attribute `provenance`: what a grid was computed with and from.

    Raises
    ------
    InputError
        If it isn't there, or no JSON object.
    """
    found = _json(grid, "provenance")
    if not isinstance(found, dict):
        raise _untold("provenance", "a JSON object", grid)
    return found


def told_beyond(grid: xr.Dataset) -> list[str]:
    """The attribute `beyond`: what is known anyway, "position", "latent" and names of targets.

    Raises
    ------
    InputError
        If it isn't there, or no list of names as JSON.
    """
    found = _json(grid, "beyond")
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise _untold("beyond", "a list of names as JSON", grid)
    return found


def told_steps(grid: xr.Dataset) -> int:
    """The attribute `run_steps`: how many steps a run has; 0 where a grid of an earlier version doesn't say."""
    found = grid.attrs.get("run_steps", 0)
    return int(found) if isinstance(found, int | np.integer) else 0


def told_chosen(grid: xr.Dataset, target: str) -> str | None:
    """By the attribute `chosen` the module that spoke for a target among all that were evaluated; None of old grids.

    Raises
    ------
    InputError
        If the grid was evaluated without the target, as one of two that were joined: what it says of itself, such as
        what is known anyway, is then of the other.
    """
    found = _json(grid, "chosen")
    if not isinstance(found, dict):
        return None
    if target not in found:
        raise InputError(
            f"grid: expected targets of one evaluation, {', '.join(found)}, got {target!r}, too, of another that was "
            "joined with it; conclude from each by itself"
        )
    return str(found[target])


def told_held_out(grid: xr.Dataset) -> str:
    """The split that judged, by the attribute `provenance`; "test" where it doesn't say."""
    found = _json(grid, "provenance")
    return str(found.get("held_out", "test")) if isinstance(found, dict) else "test"


def _json(grid: xr.Dataset, name: str) -> Any:
    try:
        return json.loads(grid.attrs[name])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _untold(name: str, expected: str, grid: xr.Dataset) -> InputError:
    got = repr(grid.attrs[name])[:60] if name in grid.attrs else "none"
    return InputError(f"grid: expected its attribute {name} to be {expected}, got {got}; {AGAIN}")
