"""The grid: the same probe at every (target, module, step), scored image by image, and what follows from it.

A grid is an `xarray.Dataset` of per-image scores on held-out samples:

| variable | dims | meaning |
|---|---|---|
| `probe` | target, metric, module, step, sample | the probe of the model under study |
| `shuffled` | the same | the same probe fitted to the labels of other training samples |
| `permuted` | the same | the same probe on the model with permuted weights (where that control was run) |
| `permuted_cv_score` | target, module, step | by which that control's own best module is chosen |
| `low`, `high` | target, metric, module, step | 95 % interval over prompts of the probe's mean score |
| `baseline` | reading, target, metric, step, sample | readings that need no probe of a module |
| `alpha` | target, module, step | the penalty that cross-validation on training samples chose |
| `at_edge` | target, module, step | whether it is the least or the largest that was tried |
| `cv_score` | target, module, step | the cross-validated score on training samples, higher is better |
| `coef`, `intercept` | target, module, step (, channel) | the probe: X @ coef + intercept, log odds for masks |
| `degenerate` | target, metric, module, step | how many images have their score by definition, as of an empty mask |
| `explained` | target, module, step, sample | Σ over pixels: by how much features lower what is left |
| `left` | target, module, step, sample | Σ over pixels: the squared error of the fit on what is known, `beyond` |
| `correlation` | target, module, step, sample | of what is left and what features say |
| `score_known`, `score_both` | target, module, step, sample | the primary metric of both fits; NaN beyond targets |
| `gain_cv` | target, module, step | explained ÷ left on held-out folds of training samples; modules are chosen by it |
| `refit` | target, module, step | the standard error that other training prompts would add to the gain |
| `known_map` | target, module, step, position | what the fit on what is known predicts at each position, row by row |
| `gain_coef`, `gain_map` | … channel; … position | the fit with features says X @ gain_coef + gain_map more |
| `ceiling` | target, module, step | the largest gain on maps of the module's size |
| `nonlinear_explained`, `nonlinear_left` | target, step, sample | the same of `evaluate(nonlinear=True)` |
| `rival_explained`, `rival_left` | rival, target, step, sample | the same without the trained model |
| `labeler_explained`, `labeler_left` | labeler, target, step, sample | the same for labelers on unfinished pictures |

The gain is Σ explained ÷ Σ left, partial R². Beyond the latent, x_t is no rival. Variables of effects are there unless
`evaluate(beyond=None)` was asked for; the attribute `beyond` lists what is known, as JSON, and `run_steps` says how
many steps a run has, of which a grid may have some, and `chosen` which module spoke for each target, as JSON.
`coef` is NaN beyond a module's own channels. The shuffled probe chooses among penalties of its own, 1e-2 to 1e8.

Coordinates: `timestep` (step); `primary`, `kind`, `labels` (the name that a target's labels are stored under),
`deviation` (of training samples' labels, over pixels) and `of_class` (target); `height`, `width`, `channels` and
`block` (module); `prompt` (sample), a number for each prompt. Labels of classes give a target for each class against
all others, `segments=2` of `segments`, whose `of_class` is 2; it is NaN for other targets. `higher_is_better` (metric)
is false of errors.
A score is NaN where a metric doesn't fit a target, a baseline wasn't run, or a module doesn't run at the step, as the
decoder may run at the last alone.
Modules are chosen by `gain_cv`, or `cv_score` where there are no effects, so that held-out samples judge and never
choose. Modules of other parts than the denoiser are reported at their own steps, and chosen only in a grid of these
alone: from which step on something is readable is asked of the denoiser.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from ldmscene.axes import check_grid
from ldmscene.errors import InputError, unknown
from ldmscene.module_names import that_speak
from ldmscene.selection import choose_one
from ldmscene.verdicts import Draws, by_prompt, counts

REPLICATES = 1000
CONFIDENCE = 0.95
_AT_ONCE = 512  # means whose replicates are in memory together
LABELER_NOISY = "labeler on x_t"
LABELER_PREDICTED = "labeler on predicted x_0"
LABELER_SOURCES = {LABELER_NOISY: "noisy", LABELER_PREDICTED: "predicted"}  # the unfinished pictures that they see
POSITION = "position only"
RAW_LATENT = "raw latent"
MEAN_LABEL = "mean label"
PERMUTED = "permuted weights"
SHUFFLED = "shuffled labels"
PROBED_CONTROLS = {PERMUTED: "permuted", SHUFFLED: "shuffled"}  # name -> variable


def primary(grid: xr.Dataset, target: str) -> str:
    """The metric that speaks for a target."""
    _check(grid, target)
    return str(grid["primary"].sel(target=target).item())


def higher_is_better(grid: xr.Dataset, target: str) -> bool:
    """Whether a target's primary metric is a score rather than an error."""
    if "higher_is_better" not in grid.coords:
        return True
    better = grid["higher_is_better"].sel(metric=primary(grid, target))
    return bool((better.sel(target=target) if "target" in better.dims else better).item())  # along it where joined


def best_module(grid: xr.Dataset, target: str, variable: str = "probe") -> str:
    """The module with the best mean cross-validated score over steps, on training samples.

    For `permuted` that of the control itself: a rival is judged where it is strongest.
    """
    _check(grid, target, "cv_score")
    own = f"{variable}_cv_score"
    speaking = that_speak(map(str, grid["module"].values))
    means = grid[own if own in grid else "cv_score"].sel(target=target, module=speaking).mean("step")
    return str(means["module"][int(means.argmax("module"))].item())


def scores(
    grid: xr.Dataset, target: str, *, variable: str = "probe", name: str | None = None, metric: str | None = None
) -> xr.DataArray:
    """Scores (step, sample) of a target.

    `name` is a module for `probe`, `permuted` and `shuffled` (default: the best), a baseline's name for `baseline`.
    `metric` is the target's primary one where not given.
    """
    picked = grid[variable].sel(target=target, metric=metric or primary(grid, target))
    if variable == "baseline":
        return picked.sel(reading=name)
    if name is None:
        return picked.sel(module=best_module(grid, target, variable))
    return picked.sel(module=choose_one("module in this grid", name, grid["module"].values.tolist()))


def interval(scores: xr.DataArray, *, confidence: float = CONFIDENCE, seed: int = 0) -> xr.Dataset:
    """Mean over `sample`, with an interval that covers with few prompts: the bootstrap of Student's t.

    Prompts are resampled where the scores have a `prompt` coordinate, since images of one prompt are not
    independent; images otherwise. Fewer than 4 leave too little to resample: bounds are NaN.

    Returns
    -------
    xarray.Dataset
        `mean`, `low` and `high`, with the dims of `scores` less `sample`.
    """
    if not scores.size:
        raise InputError(f"scores: expected at least one, got none along {', '.join(map(str, scores.dims))}")
    last = scores.transpose(..., "sample")
    prompt = scores["prompt"].values if "prompt" in scores.coords else np.arange(scores.sizes["sample"])
    each = last.values.reshape(-1, last.sizes["sample"]).astype(np.float64)
    values, tail = by_prompt(each, np.ones_like(each), prompt), (1 - confidence) / 2
    drawn = counts(values.shape[1], REPLICATES, seed)
    parts = [Draws.of(values[i : i + _AT_ONCE], drawn) for i in range(0, len(values), _AT_ONCE)]
    empty = last.isel(sample=0, drop=True)
    found = {"low": [p.lower(tail) for p in parts], "high": [p.upper(tail) for p in parts]}
    bounds = {name: np.concatenate(each).reshape(empty.shape) for name, each in found.items()}
    finite = {name: np.where(np.isfinite(bound), bound, np.nan) for name, bound in bounds.items()}
    mean = last.values.mean(-1)
    return xr.Dataset({name: (empty.dims, one) for name, one in ({"mean": mean} | finite).items()}, empty.coords)


def differences(grid: xr.Dataset, target: str, module: str | None = None) -> xr.Dataset:
    """Paired differences between each step and the one before, with intervals over prompts (dim `step`, from 1)."""
    return interval(scores(grid, target, name=module).diff("step"))


def controls(grid: xr.Dataset, target: str, metric: str | None = None) -> dict[str, xr.DataArray]:
    """Scores (step, sample) of what knows nothing of the trained model or the picture, as far as it was run."""
    names = [name for name in (POSITION, MEAN_LABEL, RAW_LATENT) if name in baselines(grid, target)]
    found = {name: scores(grid, target, variable="baseline", name=name, metric=metric) for name in names}
    probed = {name: key for name, key in PROBED_CONTROLS.items() if key in grid}
    return found | {name: scores(grid, target, variable=key, metric=metric) for name, key in probed.items()}


def compared(grid: xr.Dataset, target: str) -> dict[str, xr.DataArray]:
    """Name to scores (step, sample) of all that a probe is compared with, as far as it was run."""
    probed = {name: variable for name, variable in PROBED_CONTROLS.items() if variable in grid}
    return {name: scores(grid, target, variable=variable) for name, variable in probed.items()} | {
        name: scores(grid, target, variable="baseline", name=name) for name in baselines(grid, target)
    }


def labelers(grid: xr.Dataset, target: str) -> list[str]:
    """The labeler baselines that were run for a target."""
    return [name for name in (LABELER_NOISY, LABELER_PREDICTED) if name in baselines(grid, target)]


def baselines(grid: xr.Dataset, target: str) -> list[str]:
    """All baselines that were run for a target, in the grid's order."""
    if "baseline" not in grid:
        return []
    ran = grid["baseline"].sel(target=target, metric=primary(grid, target)).notnull().any(("step", "sample"))
    return [str(name) for name in ran["reading"].values[ran.values]]


def only_target(grid: xr.Dataset, target: str | None) -> str:
    """A target of the grid; None means the only one.

    Raises
    ------
    UnknownNameError
        If the grid has no such target.
    InputError
        If it has several and none is named, or it is no grid.
    """
    check_grid(grid)
    known = [str(one) for one in grid["target"].values]
    if target is None and len(known) != 1:
        raise InputError(f"target: expected one of {', '.join(known)}, since this grid has several")
    if target is not None:
        _check(grid, target)
    return known[0] if target is None else target


def has_linear(grid: xr.Dataset) -> bool:
    """Whether a grid has the coefficients of linear probes."""
    return "coef" in grid and "intercept" in grid


def _check(grid: xr.Dataset, target: str, *names: str) -> None:
    check_grid(grid, *names)
    known = [str(t) for t in grid["target"].values]
    if target not in known:
        raise unknown("target in this grid", target, known)
