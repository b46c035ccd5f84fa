"""What follows from a grid: from when on each target is readable, how surely, and against which rivals.

Where a grid has effects beyond what is known (`explained` and `left`), they are judged; else the published scores are,
as of `evaluate(beyond=None)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from ldmscene import gains
from ldmscene import grid as grids
from ldmscene.array_types import Array
from ldmscene.axes import AGAIN, check_grid, told_chosen, told_held_out, told_steps
from ldmscene.errors import InputError
from ldmscene.module_names import short_name
from ldmscene.verdicts import LEAST, Finding, Lead, Rival, Step, by_prompt, find
from ldmscene.verdicts import sentence as in_words
from ldmscene.verdicts.finding import Reading

_STEPS = ("first", "first_low", "first_high", "most", "most_low", "most_high")
_LEADS = ("lead", "lead_low", "lead_high")


def emergence(grid: xr.Dataset) -> pd.DataFrame:
    """From which step on is each target of a grid readable, and by how much earlier than a labeler reads it?

    Effects are partial R²: of what position, and what else `evaluate(beyond=…)` names, leaves unexplained, the share
    that features explain on held-out images. With `beyond=None` they are the target's published score.

    Parameters
    ----------
    grid : xarray.Dataset
        What `ldmscene.evaluate` made of a store.

    Returns
    -------
    pandas.DataFrame
        One row for each target:

        - `module`, chosen on training samples by the effect that is reported; `metric` and `final`, its published score
          at the last step;
        - `gain`, `gain_low`, `gain_high`: the effect at the last step, with a 95 % interval over prompts;
        - `first`, `first_low`, `first_high`: from when on the effect is above .02 and above every rival, which
          is read without the trained model, then and at all later steps, with a 95 % interval. <NA>: not shown;
        - `gain_first`: the effect at the step `first`; NaN where it isn't shown;
        - `most`, `most_low`, `most_high`: from when on 90 % of what the probe ever gains is there;
        - `rival`: what decided, the rival (or the least effect) that the probe passes last; "" of too few prompts;
        - `correlation` of what is left and what features say, `refit`, the standard error that other training prompts
          would add to the gain, and `ceiling`, the largest gain on maps of the module's size; NaN with `beyond=None`;
        - `score_known`, `score_both`: the metric at the last step of the fit on what is known, and with features; NaN
          beyond other targets;
        - `nonlinear`: the gain at the last step of random functions of features beside these; NaN where not run;
        - for each labeler that was run its own `first` and `most` by the same rules, such as
          "labeler on x_t first_low", where `most` is the probe's mark, and `lead`, `lead_low`, `lead_high`: how many
          steps later than the probe it comes first;
        - `sentence`: all of it in words.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", cv=3, progress=False)
    >>> ldmscene.emergence(grid).index.tolist()
    ['mask']
    """
    check_grid(grid)
    rows = {target: _row(grid, target) for target in map(str, grid["target"].values)}
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("target")
    whole = [name for name in frame.columns if name.split()[-1] in (*_STEPS, *_LEADS)]
    return frame.astype(dict.fromkeys(whole, "Int64"))


def sentence(grid: xr.Dataset, target: str) -> str:
    """The finding for one target, in words and from the numbers alone."""
    return in_words(finding(grid, target))


def finding(grid: xr.Dataset, target: str) -> Finding:
    """All that is concluded for one target, as numbers."""
    grids.primary(grid, target)  # refuses unknown targets
    found = _of_effects(grid, target) if gains.has_gains(grid) else _of_scores(grid, target)
    return replace(found, run=told_steps(grid), pictures=grid.sizes["sample"], held_out=told_held_out(grid))


def _row(grid: xr.Dataset, target: str) -> dict[str, object]:
    found = finding(grid, target)
    module = gains.chosen_module(grid, target)
    low, high = found.interval
    row: dict[str, object] = {
        "module": module,
        "metric": grids.primary(grid, target),
        "final": float(grids.scores(grid, target, name=module).isel(step=-1).mean("sample")),
        "gain": found.told(found.gain),
        "gain_low": low,
        "gain_high": high,
        **_steps(found, found.first, "first"),
        "gain_first": found.told(found.gain_first),
        **_steps(found, found.most, "most"),
        "rival": found.decided,
        **_beside(grid, target, module),
    }
    for name, reading in found.readings.items():
        row |= {f"{name} {key}": value for key, value in _reading(found, reading).items()}
    return {**row, "sentence": in_words(found)}


def _steps(found: Finding, step: Step, name: str) -> dict[str, object]:
    at, high = (pd.NA if position is None else found.steps[position] for position in (step.at, step.high))
    return {name: at, f"{name}_low": pd.NA if step.low is None else found.soonest(step.low), f"{name}_high": high}


def _reading(found: Finding, reading: Reading) -> dict[str, object]:
    lead = vars(reading.lead_first).values()
    return {
        **_steps(found, reading.first, "first"),
        **_steps(found, reading.most, "most"),
        **{key: pd.NA if value is None else value for key, value in zip(_LEADS, lead, strict=True)},
    }


def _beside(grid: xr.Dataset, target: str, module: str) -> dict[str, float]:
    names = ("correlation", "refit", "ceiling", "score_known", "score_both", "nonlinear")
    if not gains.has_gains(grid):
        return dict.fromkeys(names, np.nan)
    last = grid.sel(target=target, module=module).isel(step=-1)
    found = {name: float(last[name].mean()) if name in grid else np.nan for name in names[:-1]}
    return found | {"nonlinear": _share(last, "nonlinear") if "nonlinear_left" in grid else np.nan}


def _share(grid: xr.Dataset, name: str) -> float:
    return float(grid[f"{name}_explained"].sum() / grid[f"{name}_left"].sum())


def _of_effects(grid: xr.Dataset, target: str) -> Finding:
    module = gains.chosen_module(grid, target)
    probe = gains.of_probe(grid, target)
    of_another = {grids.SHUFFLED} if told_chosen(grid, target) not in (None, module) else set()
    rivals = [
        Rival(name, values, earlier=name == grids.RAW_LATENT)
        for name, values in gains.of_rivals(grid, target).items()
        if name not in of_another
    ]
    found = find(
        target,
        _name(grid, module),
        probe,
        steps=grid["step"].values.tolist(),
        rivals=rivals,
        labelers=gains.of_labelers(grid, target),
        beyond=gains.beyond(grid),
        missing=_missing(grid, [rival.name for rival in rivals]),
    )
    last = grid["ceiling"].sel(target=target, module=module).values[-1]
    return replace(found, ceiling=float(last))


def _name(grid: xr.Dataset, module: str) -> str:
    return short_name(module, map(str, grid["module"].values))


def _missing(grid: xr.Dataset, ran: Sequence[str]) -> list[str]:
    """Rivals that weren't run, and what they were not run of."""
    found = [name for name in (grids.RAW_LATENT, grids.SHUFFLED, grids.PERMUTED) if name not in ran]
    steps = grid["step"].values.tolist()
    if grids.RAW_LATENT in ran and steps != list(range(len(steps))):
        found.insert(0, f"{grids.RAW_LATENT} of steps that were not looked at")
    return [f"{name} of earlier steps" if name == grids.RAW_LATENT and _takes_latent(grid) else name for name in found]


def _takes_latent(grid: xr.Dataset) -> bool:
    return gains.has_gains(grid) and "latent" in gains.beyond(grid)


def _of_scores(grid: xr.Dataset, target: str) -> Finding:
    prompt, metric = gains.prompts(grid), grids.primary(grid, target)
    sign = 1 if grids.higher_is_better(grid, target) else -1  # of errors, so that more is better

    def values(scores: xr.DataArray) -> Array:
        each = sign * scores.transpose("step", "sample").values.astype(np.float64)
        if np.isnan(each).any():
            raise InputError(f"grid: expected a score by {metric} of every sample, got NaN of {target}; {AGAIN}")
        return by_prompt(each, np.ones_like(each), prompt)

    probe = values(grids.scores(grid, target))
    rivals = [
        Rival(name, values(one), earlier=name == grids.RAW_LATENT)
        for name, one in grids.controls(grid, target, metric).items()
    ]
    plain = [rival.name for rival in rivals]
    if sign < 0 and not rivals:
        raise InputError(f"grid: expected readings that {metric} can be compared with, got none; {AGAIN}")
    # The Dice of a rival that calls nothing foreground is 0, whatever it knows: its order of pixels counts, too.
    if metric == "dice" and "average_precision" in grid["metric"].values:
        ranked = values(grids.scores(grid, target, metric="average_precision"))
        rivals += [
            Rival(f"{name} (average precision)", probe - (ranked - values(one)), earlier=name == grids.RAW_LATENT)
            for name, one in grids.controls(grid, target, "average_precision").items()
        ]
    found = find(
        target,
        _name(grid, gains.chosen_module(grid, target)),
        probe,
        steps=grid["step"].values.tolist(),
        rivals=rivals,
        labelers={
            name: values(grids.scores(grid, target, variable="baseline", name=name))
            for name in grids.labelers(grid, target)
        },
        beyond=(),
        missing=_missing(grid, plain),
        least=LEAST if sign > 0 else None,  # no error is small or large by itself
        measure=metric,
    )
    shown = {name: found.rivals[name] for name in plain}
    return _of_an_error(replace(found, rivals=shown)) if sign < 0 else replace(found, rivals=shown)


def _of_an_error(found: Finding) -> Finding:
    """Nothing is said of a share of what is ever gained, since errors have no zero to count it from."""
    unknown, never = Step(None, None, None, found.most.replicates), Lead(None, None, None)
    readings = {name: replace(one, most=unknown, lead_most=never) for name, one in found.readings.items()}
    return replace(found, most=unknown, lost=False, readings=readings, lower_is_better=True)
