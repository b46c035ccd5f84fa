"""Effects beyond what is known, of modules, their rivals and labelers, as variables of a grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ldmscene.array_types import Array
from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.effects import Effects
from ldmscene.evaluation.features import LabelerMaps, Latents
from ldmscene.evaluation.labelers import labeler_sums
from ldmscene.evaluation.scoring import Fit
from ldmscene.gains import chosen_module
from ldmscene.grid import LABELER_SOURCES, PERMUTED, RAW_LATENT, SHUFFLED
from ldmscene.store.layout import label_path
from ldmscene.store.readings import read_by_its_labeler
from ldmscene.verdicts import ceiling, refit_error


def gains(
    bench: Bench,
    modules: Sequence[str],
    steps: Sequence[int],
    own: Sequence[Mapping[str, Fit]],
    raw: Sequence[Mapping[str, Fit]],
    permuted: Sequence[Mapping[str, Fit]],
    prompt: Array,
) -> xr.Dataset:
    """Variables of a grid, as `ldmscene.grid` lists them, from fits of all steps of the first module, then the second.

    Nothing where no nested fits were asked for. `raw` are fits to the latents, by step.
    """
    names = [target.name for target in bench.task.targets if raw[0][target.name].effects is not None]
    if not names:
        return xr.Dataset()
    axes: dict[str, Sequence[Any]] = {"target": names, "module": list(modules), "step": list(steps)}
    found = _modules(own, axes).assign_coords(sample=bench.task.test_ids)
    rivals = {} if bench.latents else {RAW_LATENT: sums([[one[name] for one in raw] for name in names])}
    rivals[SHUFFLED] = sums(_of_chosen(own, found), lambda effects: effects.shuffled)
    if permuted:
        rivals[PERMUTED] = sums(_of_chosen(permuted, _modules(permuted, axes)))
    found = found.merge(_stacked("rival", rivals))
    readings = {
        name: _labeler(bench, name, source, names, steps, raw, prompt) for name, source in LABELER_SOURCES.items()
    }
    readings = {name: one for name, one in readings.items() if np.isfinite(one[0]).any()}
    return found.merge(_stacked("labeler", readings)) if readings else found


def _modules(fits: Sequence[Mapping[str, Fit]], axes: Mapping[str, Sequence[Any]]) -> xr.Dataset:
    """Of each target, module and step, which are the axes."""
    cells = np.array([[one.get(name) for one in fits] for name in axes["target"]]).reshape(
        [len(one) for one in axes.values()]
    )
    there = [fit for fit in cells.ravel() if fit is not None]

    def of(part: Callable[[Any], Any]) -> Array:
        nothing = np.full(np.shape(part(there[0])), np.nan)
        found = [nothing if fit is None else part(fit) for fit in cells.ravel()]
        return np.array(found).reshape(*cells.shape, *nothing.shape)

    per_image = ("target", "module", "step", "sample")
    channels = max(len(fit.nested.coef) for fit in there)
    positions = max(fit.nested.apart.size for fit in there)
    effects = of(lambda fit: fit.effects.explained.sum(-1) / fit.effects.left.sum())
    return xr.Dataset(
        {
            "explained": (per_image, of(lambda fit: fit.effects.explained[0]).astype(np.float32)),
            "left": (per_image, of(lambda fit: fit.effects.left).astype(np.float32)),
            "correlation": (per_image, of(lambda fit: fit.effects.correlation).astype(np.float32)),
            "score_known": (per_image, of(lambda fit: fit.effects.score_known).astype(np.float32)),
            "score_both": (per_image, of(lambda fit: fit.effects.score_both).astype(np.float32)),
            "gain_cv": (per_image[:3], of(lambda fit: fit.nested.gain)),
            "refit": (per_image[:3], refit_error(np.moveaxis(effects[..., 1:], -1, 0))),
            "gain_coef": ((*per_image[:3], "channel"), of(lambda fit: _padded(fit.nested.coef, channels))),
            "gain_map": (
                (*per_image[:3], "position"),
                of(lambda fit: _padded(fit.nested.apart, positions).astype(np.float32)),
            ),
            "known_map": (
                (*per_image[:3], "position"),
                of(lambda fit: _padded(fit.nested.alone, positions).astype(np.float32)),
            ),
            "ceiling": (per_image[:3], of(lambda fit: ceiling(fit.effects.scatter, fit.effects.left))),
        },
        axes,
    )


def _padded(values: Array, size: int) -> Array:
    return np.concatenate([values.ravel(), np.full(size - values.size, np.nan)])


def _of_chosen(fits: Sequence[Mapping[str, Fit]], found: xr.Dataset) -> list[list[Fit]]:
    """By target and step, of the module that is best for it."""
    steps, modules = found.sizes["step"], found["module"].values.tolist()
    best = {name: modules.index(chosen_module(found, name)) for name in found["target"].values.tolist()}
    return [[one[name] for one in fits[m * steps : (m + 1) * steps]] for name, m in best.items()]


def sums(
    fits: Sequence[Sequence[Fit]], explained: Callable[[Effects], Array] = lambda effects: effects.explained[0]
) -> tuple[Array, Array]:
    """How much fits explain and what is left, both [target, step, sample], of fits by target and step."""
    effects = [[_effects(fit) for fit in row] for row in fits]
    return (
        np.array([[explained(one) for one in row] for row in effects]),
        np.array([[one.left for one in row] for row in effects]),
    )


def _effects(fit: Fit) -> Effects:
    assert fit.effects is not None
    return fit.effects


def _labeler(
    bench: Bench,
    name: str,
    source: str,
    names: Sequence[str],
    steps: Sequence[int],
    raw: Sequence[Mapping[str, Fit]],
    prompt: Array,
) -> tuple[Array, Array]:
    """On maps of the latents' size; NaN where the labeler wasn't run."""
    explained, left = np.full((2, len(names), len(steps), len(bench.task.test_ids)), np.nan)
    size = Latents.of(bench.store, name, 0).size
    for t, target in enumerate(one for one in bench.task.targets if one.name in names):
        if not set(bench.task.test_ids) <= read_by_its_labeler(bench.store, label_path(target.labels), source):
            continue
        truths = [bench.truths(block, size, (target.name, *bench.supplied(size))) for block in bench.task.test]
        for s, step in enumerate(steps):
            maps, nested = LabelerMaps(name, step, size, source, target.labels), raw[s][target.name].nested
            assert nested is not None
            explained[t, s], left[t, s] = labeler_sums(bench, maps, truths, target.name, nested, prompt)
    return explained, left


def _stacked(what: str, found: Mapping[str, tuple[Array, Array]]) -> xr.Dataset:
    dims = (what, "target", "step", "sample")
    values = {
        key: np.stack([pair[i] for pair in found.values()]).astype(np.float32)
        for i, key in enumerate(("explained", "left"))
    }
    return xr.Dataset({f"{what}_{key}": (dims, value) for key, value in values.items()}, coords={what: list(found)})
