"""The finding of an edit in words, from its numbers alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ldmscene.calls.effect import NONE, gains_of
from ldmscene.edits import EDIT, SHUFFLED, is_null, not_run
from ldmscene.text import counted, listed, number
from ldmscene.verdicts.draws import FEWEST, RESAMPLED, interval_words
from ldmscene.words import metric_title, metric_words

_WITHOUT_SHUFFLED = f"{SHUFFLED}, the control that is hardest to beat, was not run"
FALLEN_OUT = 0.1  # the largest share of pictures that may fall out where something is said of causes


def effect_sentence(frame: pd.DataFrame) -> str:
    """The finding of an `effect` in words.

    "Causal" is said only where the interval of the edit's gain lies above 0 and above the gain of every control that
    must not work, `shuffled` among them, each of these could be judged, and no more than a tenth of the pictures fell
    out. Such controls of the standard set as were not run are named.

    Parameters
    ----------
    frame
        From `effect`, of an edit that was run with the control `none` and at least one other.

    Returns
    -------
    str
        Some sentences.

    Raises
    ------
    InputError
        If there are no gains, since the control `none` was not run.

    Examples
    --------
    >>> import pandas as pd
    >>> import ldmscene
    >>> gains = {"edit": (0.4, 0.3, 0.5), "none": (0, 0, 0), "shuffled": (0.1, 0.0, 0.2), "random-0": (0, -0.1, 0.1)}
    >>> rows = pd.MultiIndex.from_product([gains, ["dice"]], names=["variant", "measure"])
    >>> frame = pd.DataFrame(list(gains.values()), rows, ["gain", "gain_low", "gain_high"])
    >>> frame.attrs = {"metric": "dice", "target": "mask"}
    >>> for said in ldmscene.effect_sentence(frame).split(". ")[1:]:
    ...     print(said)
    What the probe reads is causal for the picture
    Not run, and so not excluded: wrong-region, other-target and worst-module.
    """
    gains = gains_of(frame)
    found = _found(frame, gains)
    absent = [name for name in not_run(gains.index) if name != SHUFFLED or _WITHOUT_SHUFFLED not in found]
    missing = f"Not run, and so not excluded: {listed(absent)}." if absent else ""
    said = " ".join(filter(None, [found, _counted(frame, gains), missing]))
    return f"{frame.attrs['target']}: {said}"


def _found(frame: pd.DataFrame, gains: pd.DataFrame) -> str:
    own, nulls = gains.loc[EDIT], _nulls(gains)
    nearest = _nearest(nulls)
    if np.isnan(own["gain"]):
        return "the edit’s gain could not be judged, and nothing is said of causes."
    metric = metric_words(frame.attrs["metric"])
    said = f"the edit gains {_numbers(own)} in {metric} over no edit"
    if not frame.attrs.get("higher_is_better", True):
        said = f"the edit’s gain over no edit, by how much {metric} falls, is {_numbers(own)}"
    if nulls.empty:
        return f"{said}; no control that must not work was run, so that nothing is said of causes."
    if nearest:
        said += f"; the nearest control, {nearest}, gains {_numbers(gains.loc[nearest])}"
    if not np.isfinite(own["gain_low"]) and nulls["gain"].notna().all():
        return f"{said}. With so few prompts nothing is shown of causes."
    doubt = _doubt(frame, own, nulls)
    if doubt:
        return f"{said}, and {doubt}: a causal role is not shown."
    return f"{said}. What the probe reads is causal for the picture."


def _doubt(frame: pd.DataFrame, own: pd.Series, nulls: pd.DataFrame) -> str:
    """Why the edit isn't called causal; "" where it is."""
    blank = [str(name) for name in nulls.index[nulls["gain_high"].isna()]]
    if blank:
        return f"{listed(blank)} could not be judged"
    total = frame.attrs.get("samples", 0)
    out = total - int(own.get("samples", total))
    if out > FALLEN_OUT * total:
        return f"{out} of {total} pictures fell out"
    if own["gain_low"] <= 0:
        return "the edit’s own interval doesn’t lie above 0"
    if own["gain_low"] <= nulls["gain_high"].max():
        return "the edit’s interval doesn’t lie above it"
    return "" if SHUFFLED in nulls.index else _WITHOUT_SHUFFLED


def _counted(frame: pd.DataFrame, gains: pd.DataFrame) -> str:
    """The means, of how many pictures they are, and by whom these are judged; "" where a frame doesn't have that."""
    own = gains.loc[EDIT]
    if "samples" not in frame or np.isnan(own["gain"]):
        return ""
    total = frame.attrs["samples"]
    seen, prompts = int(own["samples"]), int(own["prompts"])
    without, with_it = (number(gains.loc[name, "mean"], "z.2f") for name in (NONE, EDIT))
    pictures = counted(seen, "picture") if seen == total else f"those {seen} of {total} pictures that can be compared,"
    few = ", too few for an interval" if prompts < FEWEST else ""
    training = f", {fitted} of these pictures from training" if (fitted := frame.attrs.get("training", 0)) else ""
    return (
        f"{metric_title(frame.attrs['metric'])} is {without} without the edit and {with_it} with it "
        f"({frame.attrs['edit']}), on {pictures} of {counted(prompts, 'prompt')}{few}{training}, "
        f"{frame.attrs['judged']}."
    )


def nearest_null(frame: pd.DataFrame) -> str:
    """Of the controls that must not work and could be judged, the one whose gain reaches highest; "" where none is."""
    return _nearest(_nulls(gains_of(frame)))


def _nearest(nulls: pd.DataFrame) -> str:
    judged = nulls.dropna(subset=["gain_high"])  # bounds of few prompts are infinite: the mean decides then
    return "" if judged.empty else str(judged.sort_values(["gain_high", "gain"], kind="stable").index[-1])


def _nulls(gains: pd.DataFrame) -> pd.DataFrame:
    return gains[[name != EDIT and is_null(name) for name in gains.index]]


def _numbers(row: pd.Series) -> str:
    mean, low, high = (number(row[name], "+z.2f") for name in ("gain", "gain_low", "gain_high"))
    if not np.isfinite(row["gain_low"]):
        return f"{mean} (no interval)"
    return f"{mean} ({interval_words(int(row.get('prompts', RESAMPLED)))} {low} to {high})"
