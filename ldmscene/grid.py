"""The grid: the same probe at every (target, module, step), scored image by image, and what follows from it.

A grid is an `xarray.Dataset` of per-image scores on held-out samples:

| variable | dims | meaning |
|---|---|---|
| `probe` | target, metric, module, step, sample | the probe of the model under study |
| `shuffled` | the same | the same probe fitted to the labels of other training samples |
| `permuted` | the same | the same probe on the model with permuted weights (where that control was run) |
| `permuted_cv_score` | target, module, step | by which that control's own best module is chosen |
| `low`, `high` | target, metric, module, step | 95 % bootstrap interval over prompts of the probe's mean score |
| `baseline` | reading, target, metric, step, sample | readings that need no probe of a module |
| `alpha` | target, module, step | the penalty that cross-validation on training samples chose |
| `at_edge` | target, module, step | whether it is the least or the largest that was tried |
| `cv_score` | target, module, step | the cross-validated score on training samples, higher is better |
| `coef`, `intercept` | target, module, step (, channel) | the probe: X @ coef + intercept, log odds for masks |
| `degenerate` | target, metric, module, step | how many images have their score by definition, as of an empty mask |

`coef` is NaN beyond a module's own channels. The shuffled probe chooses among penalties of its own, 1e-2 to 1e8.

Coordinates: `timestep` (step); `primary`, `kind`, `labels` (the name that a target's labels are stored under) and
`of_class` (target); `height`, `width`, `channels` and `block` (module); `prompt` (sample), a number for each prompt.
Labels of classes give a target for each class against all others, `segments=2` of `segments`, whose `of_class` is 2;
it is NaN for other targets. `higher_is_better` (metric) is false of errors.
A score is NaN where a metric doesn't fit a target or a baseline wasn't run.
Modules are chosen by `cv_score`, so that held-out samples judge and never choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ldmscene.errors import unknown
from ldmscene.module_names import short_name

REPLICATES = 1000
CONFIDENCE = 0.95
READABLE = 0.9  # share of the final score from which on a target counts as readable
LABELER_NOISY = "labeler on x_t"
LABELER_PREDICTED = "labeler on predicted x_0"
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
    return bool(grid["higher_is_better"].sel(metric=primary(grid, target)).item())


def best_module(grid: xr.Dataset, target: str, variable: str = "probe") -> str:
    """The module with the best mean cross-validated score over steps, on training samples.

    For `permuted` that of the control itself: a rival is judged where it is strongest.
    """
    _check(grid, target)
    own = f"{variable}_cv_score"
    means = grid[own if own in grid else "cv_score"].sel(target=target).mean("step")
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
    return picked.sel(module=name or best_module(grid, target, variable))


def interval(scores: xr.DataArray, *, confidence: float = CONFIDENCE, seed: int = 0) -> xr.Dataset:
    """Mean over `sample` with a percentile bootstrap interval (Efron and Tibshirani 1993, ch. 13).

    Prompts are resampled where the scores have a `prompt` coordinate, since images of one prompt are not
    independent; images otherwise. A single one leaves nothing to resample: its bounds are NaN.

    Returns
    -------
    xarray.Dataset
        `mean`, `low` and `high`, with the dims of `scores` less `sample`.
    """
    tail = (1 - confidence) / 2
    bounds = _bootstrap_means(scores, seed).quantile([tail, 1 - tail], "replicate", skipna=False)
    low, high = bounds.isel(quantile=0, drop=True), bounds.isel(quantile=1, drop=True)
    return xr.Dataset({"mean": scores.mean("sample", skipna=False), "low": low, "high": high})


def _bootstrap_means(scores: xr.DataArray, seed: int) -> xr.DataArray:
    n = scores.sizes["sample"]
    groups = scores["prompt"].values if "prompt" in scores.coords else np.arange(n)
    names, member = np.unique(groups, return_inverse=True)
    if len(names) == 1:
        return xr.full_like(scores.isel(sample=0, drop=True), np.nan, np.float64).expand_dims(replicate=REPLICATES)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=REPLICATES)
    weights = draws[:, member] / draws[:, member].sum(1, keepdims=True)
    return xr.dot(scores.astype(np.float64), xr.DataArray(weights, dims=("replicate", "sample")), dim="sample")


def differences(grid: xr.Dataset, target: str, module: str | None = None) -> xr.Dataset:
    """Paired differences between each step and the one before, with intervals over prompts (dim `step`, from 1)."""
    return interval(scores(grid, target, name=module).diff("step"))


def emergence(grid: xr.Dataset) -> pd.DataFrame:
    """From which step on is each target of a grid readable, and from which step on in the unfinished picture?

    A reading counts from the first step from which on it stays above 90 % of the probe's final score, with confidence:
    the lower bound of the paired difference (score − 90 % of the probe's final score of the same image) stays at or
    above zero.

    Parameters
    ----------
    grid
        What `ldmscene.evaluate` made of a store.

    Returns
    -------
    pandas.DataFrame
        One row for each target: `module`, `metric`, `final` (mean score at the last step), that `step`, and `low` and
        `high`, between which the mean itself comes to stay above the mark in 95 % of bootstrap replicates; then the
        same `step` for each labeler baseline that was run, and `rival`, the best final score of what knows nothing of
        the trained model or the picture (permuted weights, shuffled labels, position only, mean label). Steps are <NA>
        where the mark is never reached, and all of them where the probe's end isn't better than each rival's: the lower
        bound of the paired difference is not above zero. For masks it must be so in average precision, too, since the
        Dice of a rival that calls nothing foreground is 0, whatever it knows.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", cv=3, progress=False)
    >>> ldmscene.emergence(grid).index.tolist()
    ['mask']
    """
    rows = {t: _emergence(grid, t) for t in map(str, grid["target"].values)}
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("target")
    whole = frame.columns.intersection(["step", "low", "high", LABELER_NOISY, LABELER_PREDICTED])
    return frame.astype(dict.fromkeys(whole, "Int64"))


def _emergence(grid: xr.Dataset, target: str) -> dict[str, object]:
    probe = scores(grid, target)
    final, steps = probe.isel(step=-1, drop=True), grid["step"].values
    bounds = interval(final)
    replicates = _bootstrap_means(probe, seed=0).transpose("replicate", "step").values
    first = _first_lasting(replicates >= READABLE * replicates[:, -1:])
    rivals = controls(grid, target)
    better = float(bounds["low"]) > 0 and _beats_all(grid, target)

    def reached(reading: xr.DataArray) -> object:
        low = interval(reading - READABLE * final)["low"].values
        return _step(low >= 0, steps) if better else pd.NA

    row: dict[str, object] = {
        "module": best_module(grid, target),
        "metric": primary(grid, target),
        "final": float(bounds["mean"]),
        "rival": max(rivals.values(), default=np.nan),
        "step": reached(probe),
        "low": int(steps[int(np.quantile(first, 0.025, method="lower"))]) if better else pd.NA,
        "high": int(steps[int(np.quantile(first, 0.975, method="higher"))]) if better else pd.NA,
    }
    for name in labelers(grid, target):
        row[name] = reached(scores(grid, target, variable="baseline", name=name))
    return row


def controls(grid: xr.Dataset, target: str) -> dict[str, float]:
    """Final mean scores of what knows nothing of the trained model or the picture, as far as they were run."""
    return {name: float(reading.mean("sample")) for name, reading in _finals(grid, target, None).items()}


def _finals(grid: xr.Dataset, target: str, metric: str | None) -> dict[str, xr.DataArray]:
    """Each control's final scores (sample)."""
    names = [name for name in (POSITION, MEAN_LABEL) if name in baselines(grid, target)]
    found = {name: scores(grid, target, variable="baseline", name=name, metric=metric) for name in names}
    probed = {name: key for name, key in PROBED_CONTROLS.items() if key in grid}
    found |= {name: scores(grid, target, variable=key, metric=metric) for name, key in probed.items()}
    return {name: reading.isel(step=-1, drop=True) for name, reading in found.items()}


def _beats_all(grid: xr.Dataset, target: str) -> bool:
    metrics = [metric for metric in ("dice", "average_precision") if metric in grid["metric"].values]
    for metric in metrics if primary(grid, target) == "dice" else [None]:
        final = scores(grid, target, metric=metric).isel(step=-1, drop=True)
        rivals = _finals(grid, target, metric).values()
        if not all(float(interval(final - rival)["low"]) > 0 for rival in rivals):
            return False
    return True


def _first_lasting(passed: np.ndarray) -> np.ndarray:
    """Position of the first step from which on all have passed, [..., step] to [...]; the last one always has."""
    lasting = np.logical_and.accumulate(passed[..., ::-1], axis=-1)
    return passed.shape[-1] - lasting.sum(-1)


def _step(passed: np.ndarray, steps: np.ndarray) -> object:
    position = int(_first_lasting(passed))
    return int(steps[position]) if position < len(steps) else pd.NA


def labelers(grid: xr.Dataset, target: str) -> list[str]:
    """The labeler baselines that were run for a target."""
    return [name for name in (LABELER_NOISY, LABELER_PREDICTED) if name in baselines(grid, target)]


def baselines(grid: xr.Dataset, target: str) -> list[str]:
    """All baselines that were run for a target, in the grid's order."""
    if "baseline" not in grid:
        return []
    ran = grid["baseline"].sel(target=target, metric=primary(grid, target)).notnull().any(("step", "sample"))
    return [str(name) for name in ran["reading"].values[ran.values]]


def sentence(grid: xr.Dataset, target: str, row: Mapping[str, Any] | None = None) -> str:
    """The finding for one target, in words and from the numbers alone; `row` is the target's of `emergence`."""
    row = _emergence(grid, target) if row is None else row
    bounds = interval(scores(grid, target).isel(step=-1))
    rivals = controls(grid, target)
    within = f"95 % interval {bounds['low']:.2f} to {bounds['high']:.2f}"
    if np.isnan(bounds["low"]):
        within = "without an interval, since one prompt is held out"
    ends = f"The probe of {short_name(str(row['module']))} ends at {row['metric']} {bounds['mean']:.2f} ({within})"
    against = [f"{value:.2f} from {name}" for name, value in rivals.items()]
    if against:
        ends += ", against " + " and ".join(filter(None, [", ".join(against[:-1]), against[-1]]))
    if pd.isna(row["step"]):
        rival = max(rivals, key=lambda name: rivals[name], default="")
        mark = rival if rival and rivals[rival] > 0 else "zero"
        return f"{target}: not shown to be readable, since the probe doesn't end clearly above {mark}. {ends}."
    last = int(grid["step"].values[-1])
    found = f"{target}: readable from step {row['step']} of 0 to {last} (95 % interval {row['low']} to {row['high']}). "
    return found + "; ".join([ends, *(_compare(row, name) for name in labelers(grid, target))]) + "."


def _compare(row: Mapping[str, Any], name: str) -> str:
    if pd.isna(row[name]):
        return f"the {name} never reads as much"
    lead = int(row[name]) - int(row["step"])
    steps = f"{abs(lead)} step{'s' * (abs(lead) != 1)}"
    when = "at the same step" if lead == 0 else f"{steps} {'later' if lead > 0 else 'earlier'}"
    return f"the {name} reads as much {when} ({row[name]})"


def _check(grid: xr.Dataset, target: str) -> None:
    known = [str(t) for t in grid["target"].values]
    if target not in known:
        raise unknown("target in this grid", target, known)
