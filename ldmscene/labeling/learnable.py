"""Whether anything can be learnt of a target."""

from __future__ import annotations

import warnings

import numpy as np

from ldmscene.errors import LabelWarning
from ldmscene.store import ActivationStore
from ldmscene.store.layout import label_path


def warn_of_unlearnable(store: ActivationStore, target: str) -> None:
    """A LabelWarning if no pixel of a target has a label, or all that have one are equal.

    Samples are read until two labels differ, which those of one picture mostly do.
    """
    path, one = label_path(target), None
    binary = path in store.paths and store.info(path).attributes.get("kind") == "binary"
    labelled = store.complete(path) if path in store.paths else set()
    for sample_id in (s for s in store.manifest.frame["sample_id"] if s in labelled):
        labels = store.labels(target, samples=[sample_id], binary=binary).to_numpy()
        labels = labels[~np.isnan(labels)]
        one = labels[0] if one is None and len(labels) else one
        if (labels != one).any():
            return
    if labelled:
        found = "no pixel has a label" if one is None else f"all labels are {one:g}"
        warnings.warn(
            f"target {target!r}: {found}, of which nothing can be learnt; mend the labeler and use another name, and "
            "leave this target out with targets=…",
            LabelWarning,
            stacklevel=3,  # where `label` was called
        )
