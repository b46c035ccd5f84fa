"""From which step on a classifier names what a picture shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ldmscene.calls.opening import opened as open_store
from ldmscene.labeling import recognition as _recognition
from ldmscene.store import ActivationStore
from ldmscene.store.layout import PREVIEWS, prediction_path
from ldmscene.store.readings import read_by_its_labeler


def recognition(
    store: ActivationStore | str | Path,
    target: str = "class",
    *,
    top: int = 1,
    subjects: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """From which step on a classifier names the subject, and with what probability.

    Needs `label(store, target, "vgg16")` on the final pictures, and with on="noisy", on="predicted" or both.

    Parameters
    ----------
    store
        A store, or its location.
    target
        Under which name the classifier's answers are stored.
    top
        The subject counts as named while it is among so many likeliest classes.
    subjects : mapping of sample_id to class name, optional
        What the pictures show; the classifier's own answer on the final picture where not given.

    Returns
    -------
    pandas.DataFrame
        One row for each (sample, source, step): `named` and its `probability`; `subject`, `subject_probability`,
        `subject_rank` from 1; and `recognised`, true from the step on from which the subject stays named.
        `frame[frame.recognised].groupby(["source", "sample_id"]).step.min()` is the answer by sample.

    Raises
    ------
    InputError
        If there is no such target or class.
    IncompleteError
        If no unfinished pictures were read.

    Examples
    --------
    >>> import numpy as np
    >>> import ldmscene
    >>> class Colour:  # a classifier: whole pictures to the probability of each class
    ...     provenance = {"labeler": "colour", "kind": "classification", "classes": ["red", "blue"]}
    ...     def __call__(self, images):
    ...         red, blue = (images[..., c].mean((1, 2)) / 255 for c in (0, 2))
    ...         return np.stack([red, blue], 1) / (red + blue)[:, None]
    >>> for on in ("image", "predicted"):
    ...     store = ldmscene.label("stores/demo", "colour", Colour(), on=on, split="test", progress=False)
    >>> frame = ldmscene.recognition(store, "colour")
    >>> frame["source"].unique().tolist(), len(frame)
    (['predicted'], 24)
    """
    return _recognition.recognition(open_store(store), target, top, subjects)


def recognition_sentences(store: ActivationStore | str | Path) -> list[str]:
    """What `recognition` finds, in words: for each classifier whose answers are stored, and each kind of picture."""
    opened = open_store(store)
    named = [path.target for path in opened.complete_paths if path.kind == "predictions"]
    named = [t for t in named if any(read_by_its_labeler(opened, prediction_path(t), source) for source in PREVIEWS)]
    frames = {target: _recognition.recognition(opened, target, 1, None) for target in named}
    return [_recognition.sentence(f, target, source) for target, f in frames.items() for source in f["source"].unique()]
