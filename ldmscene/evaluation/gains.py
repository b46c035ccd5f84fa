"""Effects beyond what is known, of modules, their rivals and labelers, as variables of a grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ldmscene.array_types import Array
from ldmscene.evaluation.baselines import SOURCES
from ldmscene.evaluation.bench import Bench
from ldmscene.evaluation.effects import Effects
from ldmscene.evaluation.features import LabelerMaps, Latents
from ldmscene.evaluation.labelers import labeler_sums
from ldmscene.evaluation.scoring import Fit
from ldmscene.grid import PERMUTED, RAW_LATENT, SHUFFLED
from ldmscene.store.layout import intermediate_path
from ldmscene.verdicts import refit_error

Fits = Sequence[Mapping[str, Fit]]


def gains(
    bench: Bench,
    modules: Sequence[str],
    steps: Sequence[int],
    own: Fits,
    raw: Fits,
    permuted: Fits,
    prompt: Array,
) -> xr.Dataset:
    """Variables of a grid, as `ldmscene.grid` lists them, from fits of all steps of the first module, then the second.

    Nothing where no nested fits were asked for. `raw` are fits to the latents, by step.
    """
    names = [target.name for target in bench.task.targets if own[0][target.name].effects is not None]
    if not names:
        return xr.Dataset()
    found = _modules(own, names, len(modules), len(steps))
    found = found.assign_coords(target=names, module=list(modules), step=list(steps), sample=bench.task.test_ids)
    best = found["gain_cv"].mean("step").argmax("module").values
    rivals = {RAW_LATENT: _of(raw, names), SHUFFLED: _shuffled(own, names, best, len(steps))}
    if permuted:
        theirs = _modules(permuted, names, len(modules), len(steps))
        rivals[PERMUTED] = _best(theirs, theirs["gain_cv"].mean("step").argmax("module").values)
    found = found.merge(_stacked("rival", rivals))
    readings = {name: _labeler(bench, name, source, names, steps, raw, prompt) for name, source in SOURCES.items()}
    readings = {name: one for name, one in readings.items() if np.isfinite(one[0]).any()}
    return found.merge(_stacked("labeler", readings)) if readings else found


def _modules(fits: Fits, names: Sequence[str], modules: int, steps: int) -> xr.Dataset:
    cells = np.array([[one[name] for one in fits] for name in names]).reshape(len(names), modules, steps)

    def of(part: Callable[[Any], Any]) -> Array:
        return np.array([part(fit) for fit in cells.ravel()]).reshape(*cells.shape, *np.shape(part(cells.flat[0])))

    per_image = ("target", "module", "step", "sample")
    channels = max(len(fit.nested.coef) for fit in cells.ravel())
    positions = max(fit.nested.apart.size for fit in cells.ravel())
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
            "ceiling": (per_image[:3], of(lambda fit: 1 - fit.effects.scatter.sum() / fit.effects.left.sum())),
        }
    )


def _padded(values: Array, size: int) -> Array:
    return np.concatenate([values.ravel(), np.full(size - values.size, np.nan)])


def _best(found: xr.Dataset, best: Array) -> tuple[Array, Array]:
    """Explained and left [target, step, sample], of one module for each target."""
    explained, left = (np.stack([found[k].values[t, m] for t, m in enumerate(best)]) for k in ("explained", "left"))
    return explained, left


def _of(fits: Fits, names: Sequence[str]) -> tuple[Array, Array]:
    """Of fits by step."""
    effects = [[_effects(one[name]) for one in fits] for name in names]
    return (
        np.array([[one.explained[0] for one in row] for row in effects]),
        np.array([[one.left for one in row] for row in effects]),
    )


def _shuffled(own: Fits, names: Sequence[str], best: Array, steps: int) -> tuple[Array, Array]:
    """At the modules that are best for the targets themselves."""
    effects = [
        [_effects(one[name]) for one in own[m * steps : (m + 1) * steps]] for name, m in zip(names, best, strict=True)
    ]
    return (
        np.array([[one.shuffled for one in row] for row in effects]),
        np.array([[one.left for one in row] for row in effects]),
    )


def _effects(fit: Fit) -> Effects:
    assert fit.effects is not None
    return fit.effects


def _labeler(
    bench: Bench, name: str, source: str, names: Sequence[str], steps: Sequence[int], raw: Fits, prompt: Array
) -> tuple[Array, Array]:
    """On maps of the latents' size; NaN where the labeler wasn't run."""
    explained, left = np.full((2, len(names), len(steps), len(bench.task.test_ids)), np.nan)
    size = Latents.of(bench.store, name, 0).size
    for t, target in enumerate(one for one in bench.task.targets if one.name in names):
        if not set(bench.task.test_ids) <= bench.store.complete(intermediate_path(source, target.labels)):
            continue
        for s, step in enumerate(steps):
            maps, nested = LabelerMaps(name, step, size, source, target.labels), raw[s][target.name].nested
            assert nested is not None
            explained[t, s], left[t, s] = labeler_sums(bench, maps, target.name, nested, prompt)
    return explained, left


def _stacked(what: str, found: Mapping[str, tuple[Array, Array]]) -> xr.Dataset:
    dims = (what, "target", "step", "sample")
    values = {
        key: np.stack([pair[i] for pair in found.values()]).astype(np.float32)
        for i, key in enumerate(("explained", "left"))
    }
    return xr.Dataset({f"{what}_{key}": (dims, value) for key, value in values.items()}, coords={what: list(found)})
