"""Which modules and steps of a grid an edit changes; chosen by cross-validation on training samples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from ldmscene import grid as grids
from ldmscene.axes import check_grid
from ldmscene.errors import InputError
from ldmscene.module_names import in_denoiser, that_speak
from ldmscene.selection import choose_names, matching, several

USUAL = 9  # of Stable Diffusion's modules as many are the decoder's, which the published edits change
_BEST = re.compile(r"best:(\d+)")


def choose_modules(grid: xr.Dataset, target: str, asked: str | Iterable[str] | None, steps: Sequence[int]) -> list[str]:
    """Module names of a grid, from "best:N", names or globs; the nine best, or all of fewer, where None.

    The best modules are those with the best mean cross-validated score over the steps.

    Raises
    ------
    InputError
        If more are asked for than there are.
    UnknownNameError
        If a name or glob fits no module.
    """
    ranked = rank_modules(grid, target, steps)
    patterns = [f"best:{min(USUAL, len(ranked))}"] if asked is None else several(asked)
    _check_in_denoiser(grid, patterns)
    names: dict[str, None] = {}
    for pattern in patterns:
        names |= dict.fromkeys(_matching(pattern, ranked))
    return list(names)


def check_linear(grid: xr.Dataset) -> None:
    """Refuse what has no linear probes, by which alone activations are edited."""
    check_grid(grid)
    if not grids.has_linear(grid):
        raise InputError("edits need linear probes, and this grid has none; evaluate the store with probe='ridge'")


def _check_in_denoiser(grid: xr.Dataset, patterns: Iterable[str]) -> None:
    """Refuse names of modules that no edit reaches."""
    modules = [str(name) for name in grid["module"].values]
    others = [name for name in modules if name not in in_denoiser(modules)]
    for pattern in patterns:
        if (found := matching(pattern, others)) and not matching(pattern, in_denoiser(modules)):
            raise InputError(f"modules: {found[0]} isn't in the denoiser, whose modules edits change; leave it out")
    if len(others) == len(modules):
        raise InputError("modules: the grid has none of the denoiser, whose modules edits change; evaluate some")


def _matching(pattern: str, ranked: Sequence[str]) -> Sequence[str]:
    """Modules, which are ranked from the best on, that one of the words asks for."""
    if found := _BEST.fullmatch(pattern):
        if not 1 <= int(found[1]) <= len(ranked):
            raise InputError(f"modules: expected best:1 to best:{len(ranked)} of this grid, got {pattern!r}")
        return ranked[: int(found[1])]
    return choose_names("module in this grid", pattern, ranked)


def spare_modules(grid: xr.Dataset, target: str, modules: Sequence[str], steps: Sequence[int]) -> list[str]:
    """The worst modules of a grid that aren't among these; as many, or as there are."""
    others = [name for name in rank_modules(grid, target, steps) if name not in modules]
    return others[max(0, len(others) - len(modules)) :]


def rank_modules(grid: xr.Dataset, target: str, steps: Sequence[int]) -> list[str]:
    """All modules of the denoiser, from the best on."""
    check_grid(grid, "cv_score")
    speaking = that_speak(map(str, grid["module"].values))
    means = grid["cv_score"].sel(target=target, module=speaking, step=list(steps)).mean("step")
    return [str(name) for name in means["module"].values[np.argsort(-means.values, kind="stable")]]
