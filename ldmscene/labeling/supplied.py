"""From maps that were made elsewhere to labels beside the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ldmscene.errors import InputError, ShapeError
from ldmscene.labelers import SuppliedLabels
from ldmscene.labeling.wanted import Wanted
from ldmscene.labeling.writing import stored_label, write_labels


def take_supplied(wanted: Wanted, supplied: SuppliedLabels, said: Mapping[str, Any], *, progress: bool) -> None:
    """Store maps that were made elsewhere. All of them are looked at before the first is written.

    Raises
    ------
    InputError
        If they are of other samples, or differ from labels that are stored already.
    ShapeError
        If one has another size than the pictures.
    """
    store, spec = wanted.store, wanted.spec({"kind": "continuous", **said})
    _check_samples(wanted, supplied, spec.path)
    labelled = store.complete(spec.path)
    for sample_id in (s for s in wanted.sample_ids if s in supplied):
        labels = supplied.read(sample_id, said)
        if labels.shape != spec.shape:
            raise ShapeError(
                f"the label of sample {sample_id} has shape {labels.shape}, its picture asks for {spec.shape}; "
                "resize the labels, since only you know how"
            )
        if sample_id in labelled and not np.array_equal(stored_label(store, spec, sample_id), labels, equal_nan=True):
            raise InputError(
                f"sample {sample_id} has another label {wanted.target!r} already; name the target differently"
            )
    todo = [[s] for s in wanted.sample_ids if s not in labelled]
    write_labels(wanted, spec, todo, lambda ids: supplied.read(ids[0], said)[None], progress)


def _check_samples(wanted: Wanted, supplied: SuppliedLabels, path: str) -> None:
    known = set(wanted.store.manifest.frame["sample_id"])
    strange = [s for s in supplied.sample_ids if s not in known]
    if strange:
        raise InputError(
            f"{len(strange)} labels are of samples that the store doesn't have, {strange[0]!r} among them; "
            f"its sample_ids look like {wanted.sample_ids[0]!r}"
        )
    labelled = wanted.store.complete(path)
    check_supplied(supplied, wanted.target, [s for s in wanted.sample_ids if s not in labelled])


def check_supplied(supplied: SuppliedLabels, target: str, sample_ids: Sequence[str]) -> None:
    """InputError if there is no label for one of the samples."""
    without = [s for s in sample_ids if s not in supplied]
    if without:
        raise InputError(
            f"{len(without)} samples are without a label {target!r}, {without[0]} among them; "
            "give all of them, or those of one split with split="
        )
