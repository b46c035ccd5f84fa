"""From which step on does a classifier of whole pictures name what the picture shows?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from ldmscene.errors import IncompleteError, InputError, unknown
from ldmscene.labelers import CLASSIFICATION
from ldmscene.store import ActivationStore
from ldmscene.store.layout import SOURCES, prediction_path
from ldmscene.store.readings import read_by_its_labeler


def recognition(store: ActivationStore, target: str, top: int, subjects: Mapping[str, str] | None) -> pd.DataFrame:
    """One row for each (sample, source, step); see `ldmscene.recognition`."""
    if prediction_path(target) not in store.complete_paths:
        known = [path.target for path in store.complete_paths if path.kind == "predictions"]
        raise unknown("classifier's answers in this store", target, known)
    final = store.predictions(target)
    if final.attrs.get("kind") != CLASSIFICATION or not 1 <= top <= final.sizes["class"]:
        raise InputError(f"top: expected 1 to {final.sizes['class']}, got {top}")
    read = [s for s in SOURCES if read_by_its_labeler(store, prediction_path(target), s)]
    if not read:
        raise IncompleteError(f"{target!r} was read on final pictures only; label it on='noisy' or on='predicted' too")
    named = _subjects(final, subjects)
    frames = [_of_source(store, target, source, named, top) for source in read]
    return pd.concat(frames, ignore_index=True)


def _subjects(final: xr.DataArray, subjects: Mapping[str, str] | None) -> dict[str, int]:
    """The class that counts as each sample's subject: the one named, or the likeliest in the final picture."""
    classes, ids = list(final.attrs["classes"]), final["sample"].values.tolist()
    if subjects is None:
        return dict(zip(ids, final.to_numpy().argmax(1).tolist(), strict=True))
    for sample_id, name in subjects.items():
        if sample_id not in ids:
            raise unknown("sample that was classified", sample_id, ids)
        if name not in classes:
            raise unknown("class", name, classes)
    return {sample_id: classes.index(name) for sample_id, name in subjects.items()}


def _of_source(store: ActivationStore, target: str, source: str, named: Mapping[str, int], top: int) -> pd.DataFrame:
    found = store.intermediate(source, target)
    ids = [s for s in found["sample"].values.tolist() if s in named]
    chances = found.sel(sample=ids).to_numpy()  # [sample, step, class]
    classes = np.array(found.attrs["classes"], dtype=object)
    subject = np.array([named[s] for s in ids], dtype=int)[:, None, None]
    chance = np.take_along_axis(chances, subject, -1)
    rank = (chances > chance).sum(-1) + 1
    samples, steps = np.meshgrid(np.arange(len(ids)), found["step"].values, indexing="ij")
    flat = samples.ravel()
    likeliest = chances.argmax(-1)
    return pd.DataFrame(
        {
            "sample_id": np.array(ids, dtype=object)[flat],
            "prompt": found.sel(sample=ids)["prompt"].values[flat],
            "source": source,
            "step": steps.ravel(),
            "timestep": np.array(store.timesteps)[steps.ravel()],
            "named": classes[likeliest.ravel()],
            "probability": chances.max(-1).ravel(),
            "subject": classes[subject.ravel()[flat]],
            "subject_probability": chance.ravel(),
            "subject_rank": rank.ravel(),
            "recognised": _lasting(rank <= top).ravel(),
        }
    )


def _lasting(passed: np.ndarray) -> np.ndarray:
    """[sample, step]: whether this step and all later ones pass."""
    return np.logical_and.accumulate(passed[:, ::-1], axis=1)[:, ::-1]


def sentence(frame: pd.DataFrame, target: str, source: str) -> str:
    """The finding for one source of pictures, in words and from the numbers alone."""
    rows = frame[frame["source"] == source]
    first = rows[rows["recognised"]].sort_values("step").groupby("sample_id").first()
    count = rows["sample_id"].nunique()
    name = {"noisy": "x_t", "predicted": "predicted x_0"}[source]
    if first.empty:
        return f"{target} on {name}: the final picture's class is never named, of {count} samples."
    chance = first["subject_probability"].mean()
    never = f"; never for {count - len(first)}" if len(first) < count else ""
    return (
        f"{target} on {name}: the final picture's class is named for good from step {first['step'].median():g} on "
        f"(median of {len(first)} samples{never}), with a probability of {chance:.2f} there."
    )
