"""Edits from grids."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from ldmscene import edits
from ldmscene import grid as grids
from ldmscene.calls.opening import opened
from ldmscene.choices import EditedCells
from ldmscene.edits import Rule
from ldmscene.errors import InputError
from ldmscene.intervention.choosing import check_linear, choose_modules, spare_modules
from ldmscene.intervention.readouts import Readouts
from ldmscene.labelers import from_files
from ldmscene.selection import Steps, choose_steps
from ldmscene.store import ActivationStore

FILES = "files:"
FIRST_STEPS = 5


class Edit(edits.Edit):
    """A change of a denoiser's activations, as plain data; see `ldmscene.edits.Edit` for its attributes.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> edit = ldmscene.Edit.of(grid, "mask", wanted="shift:0,16", modules="best:9", steps=[1, 3])
    >>> edit.save("shift.safetensors")
    """

    @classmethod
    def of(
        cls,
        grid: xr.Dataset,
        target: str,
        *,
        wanted: Any,
        modules: str | Iterable[str] | None = None,
        steps: Steps | None = None,
        branch: str | None = None,
        rule: str | Rule = "conditional",
        strength: float = 1.0,
        margin: float = 6.0,
        only_where: EditedCells = "everywhere",
        store: ActivationStore | str | Path | None = None,
    ) -> Self:
        """An edit by a grid's probes; modules are chosen by cross-validation on training prompts.

        Parameters
        ----------
        grid
            What `evaluate` made of a store.
        target
            One of the grid's, such as "mask", "depth" or "segments=2".
        wanted
            The map that is to be read: "shift:DY,DX" (pixels, kept inside the frame; with ":cut" at the end objects may
            leave it), "swap" (another sample's), "files:FOLDER" (named by sample_id), an array (Y, X), a mapping of
            them by sample_id, an `xarray.DataArray` with the coordinate `sample` or `sample_id`, an array
            (sample, Y, X) in the order of `intervene(samples=…)`, or a callable from a sample's own label to its wanted
            map. Of a mask maps are of 0 and 1; NaN leaves a pixel alone.
        modules
            "best:N", names, beginnings of names (`up_blocks.3`) or globs of the grid's. The nine best where not given,
            or all of a grid that has fewer.
        steps
            Which denoiser calls, from 0: a number, several or a slice; −1 is the last. The first five of the grid's
            where not given.
        branch : {"cond", "uncond", "both"}, optional
            Of classifier-free guidance; the one that the probes read where not given, which is "cond" of most stores.
        rule
            "conditional" (the likeliest activation with that reading), "minimum-norm" (the nearest), "adam" (the
            published optimisation), "erase" (LEACE), "donor", or a callable; see `ldmscene.edits.rules`.
        strength
            By which the change is multiplied; 0 changes nothing, to the byte.
        margin
            Log odds that are wanted of a mask, as ± margin; of a continuous target how far from the wanted value a
            reading still counts as right.
        only_where : {"everywhere", "wrong"}
            Which cells change: all, or those whose reading is wrong.
        store
            The grid's store, where `evaluate` was not called in this session or the store was moved since.

        Returns
        -------
        Edit

        Raises
        ------
        InputError
            If the grid lacks a target, module or step, or has no linear probes, or an argument can't be used.
        """
        check_linear(grid)
        grids.primary(grid, target)  # refuses unknown targets
        known = grid["step"].values.tolist()
        chosen_steps = sorted(set(choose_steps(known[:FIRST_STEPS] if steps is None else steps, known, "this grid")))
        chosen = choose_modules(grid, target, modules, chosen_steps)
        spare = spare_modules(grid, target, chosen, chosen_steps)
        readouts = Readouts(_store_of(grid, store), grid, target)
        return readouts.edit(
            cls,
            modules=chosen,
            steps=chosen_steps,
            spare=spare,
            wanted=_loaded(wanted, readouts.target.kind == "binary"),
            branch=branch,
            rule=rule,
            strength=strength,
            margin=margin,
            only_where=only_where,
        )


def _store_of(grid: xr.Dataset, store: ActivationStore | str | Path | None) -> ActivationStore:
    if store is None and "store" not in grid.attrs:
        raise InputError("the grid doesn't say where its store is; name it with store=")
    return opened(grid.attrs["store"] if store is None else store)


def _loaded(wanted: Any, binary: bool) -> Any:
    """Maps instead of the folder that holds them, so that the edit is whole."""
    if not (isinstance(wanted, str) and wanted.startswith(FILES)):
        return wanted
    found = from_files(wanted.removeprefix(FILES), "binary" if binary else "continuous")
    maps = {sample_id: found.read(sample_id, found.provenance) for sample_id in found.sample_ids}
    return {name: _foreground(one) for name, one in maps.items()} if binary else maps


def _foreground(mask: np.ndarray) -> np.ndarray:
    """0 and 1 from a mask of 0 to 1, 255 or 65535; NaN stays NaN."""
    top = next((top for top in (1, 255) if np.nanmax(mask, initial=0) <= top), 65535)
    return np.where(np.isnan(mask), np.nan, mask > top / 2).astype(np.float32)
