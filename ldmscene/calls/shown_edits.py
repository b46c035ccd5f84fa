"""From edited stores to what a report shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from ldmscene import grid as grids
from ldmscene.calls.effect import FROM, NONE, effect_of, until_when
from ldmscene.calls.effect_sentence import effect_sentence, nearest_null
from ldmscene.calls.opening import opened
from ldmscene.edits import EDIT, described_edit, is_null
from ldmscene.errors import InputError
from ldmscene.intervention.choosing import rank_modules
from ldmscene.intervention.effects import Trial
from ldmscene.intervention.filling import wanted_path
from ldmscene.report import Intervention
from ldmscene.store import ActivationStore

PICTURES = 24  # samples of each edited store that are shown
DONOR = "donor"


def shown_edits(
    store: ActivationStore, grid: xr.Dataset, edited: Sequence[ActivationStore | str | Path]
) -> list[Intervention]:
    """Each edited store of a store, as `ldmscene.report` shows it.

    Raises
    ------
    InputError
        If one isn't edited or was made without the control `none`, the grid has none of an edit's modules, or two lie
        in folders of one name.
    IncompleteError
        If pictures or labels are missing.
    """
    found = [_shown(store, grid, opened(one)) for one in edited]
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"interventions: expected folders of different names, got {name!r} twice")
    return found


def _shown(store: ActivationStore, grid: xr.Dataset, edited: ActivationStore) -> Intervention:
    trial = Trial.of(edited, store, None)
    effects, variants, header = effect_of(trial), trial.variants, edited.config["edit"]
    kinds, nearest = {name: _kind(name) for name in variants}, nearest_null(effects)
    samples = edited.manifest.frame.set_index("sample_id").head(PICTURES)
    ids = samples.index.tolist()
    pictured = [name for name in variants if kinds[name] in (EDIT, "rule") or name == nearest]
    path = wanted_path(header["target"])
    return Intervention(
        name=str(edited.root).rstrip("/").rpartition("/")[2],
        said=described_edit(header),
        sentence=effect_sentence(effects),
        effects=effects.replace([np.inf, -np.inf], np.nan),
        kinds=kinds,
        nearest=nearest,
        later=until_when(effects).replace([np.inf, -np.inf], np.nan).dropna(subset=["gain"]),
        emergence=_emergence(grid, header),
        samples=samples,
        pictures={
            "original": store.images(samples=ids).values,
            **{name: variants[name].images(samples=ids).values for name in pictured},
        },
        wanted=np.asarray(edited.info(path).read(edited.rows(ids), {}), np.float32),
        kind=str(edited.info(path).attributes["kind"]),
    )


def _kind(variant: str) -> str:
    if variant in (EDIT, NONE, DONOR):
        return variant
    if variant.startswith(FROM):
        return "later"
    return "control" if is_null(variant) else "rule"


def _emergence(grid: xr.Dataset, header: dict[str, object]) -> xr.Dataset:
    """Mean score of the probe with its interval, at the best of the edit's modules."""
    target, modules = str(header["target"]), header["modules"]
    assert isinstance(modules, list)
    ranked = rank_modules(grid, target, grid["step"].values.tolist())
    edited = [name for name in ranked if name in modules]
    if not edited:
        raise InputError(f"the grid has no module that the edit of {target} changes, such as {modules[0]}; use its own")
    return grids.interval(grid["probe"].sel(target=target, metric=grids.primary(grid, target), module=edited[0]))
