"""What an edit did to the pictures, against its controls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ldmscene.calls.opening import opened
from ldmscene.intervention.effects import EDIT, Trial
from ldmscene.store import ActivationStore
from ldmscene.verdicts import Draws, by_prompt, counts

NONE, DONOR, FROM = "none", "donor", "from-"


def effect(
    edited: ActivationStore | str | Path, store: ActivationStore | str | Path, *, judge: str | None = None
) -> pd.DataFrame:
    """What an edit and each of its controls did to the pictures, with intervals.

    Means over samples, with 95 % intervals by the bootstrap of Student's t over prompts; gains are over the control
    `none`, sample by sample.

    Parameters
    ----------
    edited
        From `intervene`, with labels of the new pictures, or its place.
    store
        The store that was edited, or its place.
    judge
        The name of the labels by which new pictures are judged, best of a labeler that the probe was not fitted to;
        those of the edit's own target where not given.

    Returns
    -------
    pandas.DataFrame
        One row for each (variant, measure), "edit" first, with the columns `mean`, `low`, `high`, and, where the
        control `none` was run, `gain`, `gain_low` and `gain_high`. Measures are:

        - the target's metric of the new label with the wanted map, such as `dice`, and the same "with the own map";
        - `ceiling`: the most that Dice can be, where the wanted map lost a part of its object;
        - `picture outside`: the mean change in grey levels outside own and wanted region; and other targets there;
        - `size`: norm of the change over the norm of what it changed;
        - `reading`: the metric of what the probe read where activations were changed; `reading elsewhere`: in the
          modules that were not.

    Raises
    ------
    InputError
        If the store isn't edited, or the judge labels nothing.
    IncompleteError
        If pictures or labels are missing.

    Examples
    --------
    >>> import ldmscene
    >>> found = ldmscene.effect("stores/edited", "stores/demo")  # doctest: +SKIP
    >>> print(ldmscene.effect_sentence(found))  # doctest: +SKIP
    """
    trial = Trial.of(opened(edited), opened(store), judge)
    scores = {variant: trial.scores(variant) for variant in trial.variants}
    rows = [
        {"variant": variant, "measure": measure, **_row(measures[measure], scores.get(NONE, {}).get(measure), trial)}
        for variant, measures in scores.items()
        for measure in measures
    ]
    frame = pd.DataFrame(rows).set_index(["variant", "measure"])
    frame.attrs = {"metric": trial.target.primary, "target": trial.target.name, "judge": trial.judge}
    return frame


def _row(values: np.ndarray, without: np.ndarray | None, trial: Trial) -> dict[str, float]:
    found = _interval(values, trial.prompts, "mean", "low", "high")
    if without is not None:
        found |= _interval(values - without, trial.prompts, "gain", "gain_low", "gain_high")
    return found


def _interval(values: np.ndarray, prompts: np.ndarray, *names: str) -> dict[str, float]:
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
    metric, target = frame.attrs["metric"], frame.attrs["target"]
    gains = frame.xs(metric, level="measure")
    own = gains.loc[EDIT]
    nulls = gains.drop(index=[n for n in gains.index if n in (EDIT, NONE, DONOR) or n.startswith(FROM)])
    said = f"{target}: the edit gains {_numbers(own)} in {metric} over no edit"
    if nulls.empty:
        return f"{said}; no control was run, so that nothing is said of causes."
    nearest = str(nulls["gain_high"].idxmax())
    against = f"the nearest control, {nearest}, gains {_numbers(nulls.loc[nearest])}"
    if own["gain_low"] > nulls["gain_high"].max():
        return f"{said}; {against}. What the probe reads is causal for the picture."
    return f"{said}; {against}, and the intervals meet: a causal role is not shown."


def until_when(frame: pd.DataFrame) -> pd.DataFrame:
    """The gain of the same edit begun at step 0, 1, …: from which step on does the picture no longer follow?

    Parameters
    ----------
    frame
        From `effect`, of an edit that was run with the controls `none` and `from`.

    Returns
    -------
    pandas.DataFrame
        By `step`: `gain`, `gain_low`, `gain_high`, and `follows`, whether the picture still follows: the interval lies
        above 0.

    Examples
    --------
    >>> import pandas as pd
    >>> import ldmscene
    >>> gains = {"edit": (0.4, 0.3, 0.5), "none": (0, 0, 0), "from-0": (0.4, 0.3, 0.5), "from-1": (0.1, -0.1, 0.3)}
    >>> rows = pd.MultiIndex.from_product([gains, ["dice"]], names=["variant", "measure"])
    >>> frame = pd.DataFrame(list(gains.values()), rows, ["gain", "gain_low", "gain_high"])
    >>> frame.attrs = {"metric": "dice", "target": "mask"}
    >>> ldmscene.until_when(frame)["follows"].to_dict()
    {0: True, 1: False}
    """
    gains = frame.xs(frame.attrs["metric"], level="measure")[["gain", "gain_low", "gain_high"]]
    begun = gains[gains.index.str.startswith(FROM)]
    found = begun.set_index(begun.index.str.removeprefix(FROM).astype(int)).rename_axis("step").sort_index()
    return found.assign(follows=found["gain_low"] > 0)


def _numbers(row: pd.Series) -> str:
    return f"{row['gain']:+.2f} (95 % interval {row['gain_low']:+.2f} to {row['gain_high']:+.2f})"
