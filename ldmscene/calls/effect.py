"""What an edit did to the pictures, against its controls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ldmscene.calls.opening import opened
from ldmscene.edits import EDIT, brief_edit
from ldmscene.errors import InputError
from ldmscene.intervention.effects import Trial
from ldmscene.metrics import METRICS
from ldmscene.store import ActivationStore
from ldmscene.verdicts import Draws, by_prompt, counts

Array = np.ndarray
NONE, FROM = "none", "from-"


def effect(
    edited: ActivationStore | str | Path, store: ActivationStore | str | Path, *, judge: str | None = None
) -> pd.DataFrame:
    """What an edit and each of its controls did to the pictures, with intervals.

    Means over the samples that every variant has a value of, with 95 % intervals by the bootstrap of Student's t over
    prompts; below 10 prompts intervals are Student's own at 98 %, and below 4 there are none. Gains and leads are
    differences within each sample.

    Parameters
    ----------
    edited
        From `intervene`, with labels of the new pictures, or its location.
    store
        The store that was edited, or its location.
    judge
        The name of the labels by which new pictures are judged, best of a labeler that the probe was not fitted to;
        those of the edit's own target where not given. A mask's are read by their own threshold.

    Returns
    -------
    pandas.DataFrame
        One row for each (variant, measure), "edit" first. Its columns are `samples` and `prompts`, of how many samples
        of how many prompts the means are; `mean`, `low`, `high`; `lead`, `lead_low`, `lead_high`, by how much the
        edit's value lies above this variant's; and, where the control `none` was run, `gain`, `gain_low`, `gain_high`,
        by how much this variant's lies above that of no edit. Of a metric that is better where it is lower, such as
        `rmse`, gains and leads are by how much lower it lies. Measures are:

        - the target's metric of the new label with the wanted map, such as `dice`, and the same "with the own map";
        - `ceiling`: of a mask that is moved, the most that Dice can be, below 1 where a part of its object was lost;
        - `picture outside`: the mean change in grey levels outside own and wanted region; and other targets there;
        - `size`: norm of the change over the norm of what it changed; `mahalanobis`: the mean of the change's
          Mahalanobis norm, in the covariance of training samples; `beyond`: the share of cells that then lie farther
          from training's mean than 99.9 % of normally distributed features do, which `none` has without an edit;
        - `reading`: the metric of what the probe read where activations were changed; `reading elsewhere`: in the
          modules that were not.

    Raises
    ------
    InputError
        If the store isn't edited, the other one isn't the one that was or lacks its target, or the judge labels
        nothing or something else, such as depth where the target is a mask.
    IncompleteError
        If pictures or labels are missing.

    Examples
    --------
    >>> import ldmscene
    >>> found = ldmscene.effect("stores/edited", "stores/demo")
    >>> print(ldmscene.effect_sentence(found))
    mask: the edit gains ...
    """
    return effect_of(Trial.of(opened(edited), opened(store), judge))


def effect_of(trial: Trial) -> pd.DataFrame:
    """What was found in an edited store and its controls, as `ldmscene.effect` returns it."""
    rows = [
        {"variant": variant, "measure": measure, **_row(trial, measure, variant)}
        for variant, measures in trial.scores.items()
        for measure in measures
    ]
    frame = pd.DataFrame(rows).set_index(["variant", "measure"])
    frame.attrs = {
        "metric": trial.target.primary, "target": trial.target.name, "judge": trial.judge, "begins": trial.begins,
        "higher_is_better": METRICS[trial.target.primary].higher_is_better, "samples": len(trial.sample_ids),
        "edit": brief_edit(trial.variants[EDIT].config["edit"]), "judged": trial.judged, "training": trial.training,
    }  # fmt: skip
    return frame


def _row(trial: Trial, measure: str, variant: str) -> dict[str, float]:
    def difference(name: str, above: str, below: str) -> dict[str, float]:
        values = trial.difference(measure, above, below)
        return interval(values, trial.prompts, name, f"{name}_low", f"{name}_high")

    scores = trial.scores
    known = ~np.isnan(scores[variant][measure])
    found: dict[str, float] = {"samples": int(known.sum()), "prompts": len(np.unique(trial.prompts[known]))}
    found |= interval(scores[variant][measure], trial.prompts, "mean", "low", "high")
    if measure in scores[EDIT]:  # a control that edits everywhere reads nowhere else
        found |= difference("lead", EDIT, variant)
    return found | (difference("gain", variant, NONE) if measure in scores.get(NONE, {}) else {})


def interval(values: Array, prompts: Array, *names: str) -> dict[str, float]:
    """Mean and interval of values [sample], by these three names; NaN where there are none."""
    known = ~np.isnan(values)
    if not known.any():
        return dict.fromkeys(names, np.nan)
    each = by_prompt(values[known], np.ones(known.sum()), prompts[known])
    draws = Draws.of(each, counts(each.shape[-1]))
    return dict(zip(names, map(float, (draws.mean, draws.lower(), draws.upper())), strict=True))


def until_when(frame: pd.DataFrame) -> pd.DataFrame:
    """The gain of the same edit begun at step 0, 1, …: from which step on does the picture no longer follow?

    Parameters
    ----------
    frame
        From `effect`, of an edit that was run with the controls `none` and `from`.

    Returns
    -------
    pandas.DataFrame
        By `step`, from the edit's own first one on: `gain`, `gain_low`, `gain_high`, and `follows`, whether the picture
        is shown to follow still: the interval lies above 0. No control is begun later, so that nothing is said of
        causes. It is False where there is no interval.

    Raises
    ------
    InputError
        If there are no gains, since the control `none` was not run.

    Examples
    --------
    >>> import pandas as pd
    >>> import ldmscene
    >>> gains = {"edit": (0.4, 0.3, 0.5), "none": (0, 0, 0), "from-1": (0.1, -0.1, 0.3)}
    >>> rows = pd.MultiIndex.from_product([gains, ["dice"]], names=["variant", "measure"])
    >>> frame = pd.DataFrame(list(gains.values()), rows, ["gain", "gain_low", "gain_high"])
    >>> frame.attrs = {"metric": "dice", "target": "mask", "begins": 0}
    >>> ldmscene.until_when(frame)["follows"].to_dict()
    {0: True, 1: False}
    """
    gains = gains_of(frame)[["gain", "gain_low", "gain_high"]]
    names = {EDIT: frame.attrs["begins"]} | {n: int(n.removeprefix(FROM)) for n in gains.index if n.startswith(FROM)}
    found = gains.loc[list(names)].set_axis(list(names.values())).rename_axis("step").sort_index()
    return found.assign(follows=found["gain_low"] > 0)


def gains_of(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the target's metric, by variant."""
    if "gain" not in frame:
        raise InputError(f"gains need pictures without an edit; run intervene with the control {NONE!r}, too")
    return frame.xs(frame.attrs["metric"], level="measure")
