"""What an edit did to the pictures, against its controls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ldmscene.calls.opening import opened
from ldmscene.edits import is_null
from ldmscene.errors import InputError
from ldmscene.intervention.effects import EDIT, Trial
from ldmscene.store import ActivationStore
from ldmscene.text import number
from ldmscene.verdicts import Draws, by_prompt, counts
from ldmscene.words import metric_words

Array = np.ndarray
NONE, FROM = "none", "from-"


def effect(
    edited: ActivationStore | str | Path, store: ActivationStore | str | Path, *, judge: str | None = None
) -> pd.DataFrame:
    """What an edit and each of its controls did to the pictures, with intervals.

    Means over samples, with 95 % intervals by the bootstrap of Student's t over prompts; gains and leads are
    differences within each sample.

    Parameters
    ----------
    edited
        From `intervene`, with labels of the new pictures, or its location.
    store
        The store that was edited, or its location.
    judge
        The name of the labels by which new pictures are judged, best of a labeler that the probe was not fitted to;
        those of the edit's own target where not given.

    Returns
    -------
    pandas.DataFrame
        One row for each (variant, measure), "edit" first. Its columns are `mean`, `low`, `high`; `lead`, `lead_low`,
        `lead_high`, by how much the edit's value lies above this variant's; and, where the control `none` was run,
        `gain`, `gain_low`, `gain_high`, by how much this variant's lies above that of no edit. Measures are:

        - the target's metric of the new label with the wanted map, such as `dice`, and the same "with the own map";
        - `ceiling`: the most that Dice can be, where the wanted map lost a part of its object;
        - `picture outside`: the mean change in grey levels outside own and wanted region; and other targets there;
        - `size`: norm of the change over the norm of what it changed; `mahalanobis`: the mean of the change's
          Mahalanobis norm, in the covariance of training samples; `beyond`: the share of cells that then lie farther
          from training's mean than 99.9 % of normally distributed features do, which `none` has without an edit;
        - `reading`: the metric of what the probe read where activations were changed; `reading elsewhere`: in the
          modules that were not.

    Raises
    ------
    InputError
        If the store isn't edited, the other one lacks its target, or the judge labels nothing.
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
        {"variant": variant, "measure": measure, **_row(measure, variant, trial.scores, trial.prompts)}
        for variant, measures in trial.scores.items()
        for measure in measures
    ]
    frame = pd.DataFrame(rows).set_index(["variant", "measure"])
    frame.attrs = {
        "metric": trial.target.primary, "target": trial.target.name, "judge": trial.judge, "begins": trial.begins,
    }  # fmt: skip
    return frame


def _row(measure: str, variant: str, scores: Mapping[str, Mapping[str, Array]], prompts: Array) -> dict[str, float]:
    def difference(name: str, above: str, below: str) -> dict[str, float]:
        values = scores[above][measure] - scores[below][measure]
        return interval(values, prompts, name, f"{name}_low", f"{name}_high")

    found = interval(scores[variant][measure], prompts, "mean", "low", "high")
    if measure in scores[EDIT]:  # a control that edits everywhere reads nowhere else
        found |= difference("lead", EDIT, variant)
    return found | (difference("gain", variant, NONE) if measure in scores.get(NONE, {}) else {})


def interval(values: Array, prompts: Array, *names: str) -> dict[str, float]:
    """Mean and 95 % interval of values [sample], by these three names; NaN where there are none."""
    known = ~np.isnan(values)
    if not known.any():
        return dict.fromkeys(names, np.nan)
    each = by_prompt(values[known], np.ones(known.sum()), prompts[known])
    draws = Draws.of(each, counts(each.shape[-1]))
    return dict(zip(names, map(float, (draws.mean, draws.lower(), draws.upper())), strict=True))


def effect_sentence(frame: pd.DataFrame) -> str:
    """The finding of an `effect` in words; "causal" is said only where the gain's interval clears every control's.

    Parameters
    ----------
    frame
        From `effect`, of an edit that was run with the control `none` and at least one other.

    Returns
    -------
    str
        One sentence or two.

    Raises
    ------
    InputError
        If there are no gains, since the control `none` was not run.

    Examples
    --------
    >>> import pandas as pd
    >>> import ldmscene
    >>> gains = {"edit": (0.4, 0.3, 0.5), "none": (0, 0, 0), "random-0": (0.1, 0.0, 0.2)}
    >>> rows = pd.MultiIndex.from_product([gains, ["dice"]], names=["variant", "measure"])
    >>> frame = pd.DataFrame(list(gains.values()), rows, ["gain", "gain_low", "gain_high"])
    >>> frame.attrs = {"metric": "dice", "target": "mask"}
    >>> ldmscene.effect_sentence(frame).split(". ")[-1]
    'What the probe reads is causal for the picture.'
    """
    metric, target, gains = metric_words(frame.attrs["metric"]), frame.attrs["target"], _gains(frame)
    own = gains.loc[EDIT]
    nearest = nearest_null(frame)
    said = f"{target}: the edit gains {_numbers(own)} in {metric} over no edit"
    if not nearest:
        return f"{said}; no control was run, so that nothing is said of causes."
    against = f"the nearest control, {nearest}, gains {_numbers(gains.loc[nearest])}"
    if not np.isfinite(own["gain_low"]):
        return f"{said}; {against}. With so few prompts nothing is shown of causes."
    if own["gain_low"] > gains.loc[nearest, "gain_high"]:
        return f"{said}; {against}. What the probe reads is causal for the picture."
    return f"{said}; {against}, and the edit’s interval doesn’t lie above it: a causal role is not shown."


def nearest_null(frame: pd.DataFrame) -> str:
    """Of the controls that must not work, the one whose gain reaches highest; "" where there is none."""
    gains = _gains(frame)
    nulls = gains[[name != EDIT and is_null(name) for name in gains.index]]
    return "" if nulls.empty else str(nulls["gain_high"].idxmax())


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
        still follows: the interval lies above 0.

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
    gains = _gains(frame)[["gain", "gain_low", "gain_high"]]
    names = {EDIT: frame.attrs["begins"]} | {n: int(n.removeprefix(FROM)) for n in gains.index if n.startswith(FROM)}
    found = gains.loc[list(names)].set_axis(list(names.values())).rename_axis("step").sort_index()
    return found.assign(follows=found["gain_low"] > 0)


def _gains(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the target's metric, by variant."""
    if "gain" not in frame:
        raise InputError(f"gains need pictures without an edit; run intervene with the control {NONE!r}, too")
    return frame.xs(frame.attrs["metric"], level="measure")


def _numbers(row: pd.Series) -> str:
    mean, low, high = (number(row[name], "+z.2f") for name in ("gain", "gain_low", "gain_high"))
    return f"{mean} (95 % interval {low} to {high})" if np.isfinite(row["gain_low"]) else f"{mean} (no interval)"
