"""From pictures in a store to labels beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ldmscene import labelers
from ldmscene.errors import InputError
from ldmscene.labelers import Labeler
from ldmscene.labeling.wanted import Wanted
from ldmscene.labeling.writing import stored_label, write_labels
from ldmscene.store import ArraySpec
from ldmscene.store.arrays import same_origin

SOME = 4  # samples by which a function shows that it is still the one that labelled
FEW, ROUNDING = 0.01, 1e-3  # the share of pixels that may differ, and by what share of the largest label the others may


def read_pictures(
    wanted: Wanted, labeler: Labeler | Callable[..., Any], said: Mapping[str, Any], *, batch_size: int, progress: bool
) -> None:
    """Label final pictures (`on="image"`) or those of each step (`noisy`, `predicted`) that aren't labelled yet."""
    store, spec = wanted.store, wanted.spec({"kind": "continuous", **said})

    def read(sample_ids: Sequence[str], most: int | None = None) -> np.ndarray:
        if wanted.on == "image":
            images = store.images(samples=sample_ids).to_numpy()
        else:
            images = store.previews(wanted.on, samples=sample_ids).to_numpy()
        pictures = images.reshape(-1, *images.shape[-3:])[:most]
        parts = [pictures[i : i + batch_size] for i in range(0, len(pictures), batch_size)]
        return np.concatenate([labelers.read(labeler, wanted.target, part, said) for part in parts])

    def of(sample_ids: Sequence[str]) -> np.ndarray:
        return read(sample_ids).reshape(len(sample_ids), *spec.shape)

    labelled = [s for s in wanted.sample_ids if s in store.complete(spec.path)]
    if (
        labelled
        and not hasattr(labeler, "provenance")
        and same_origin(store.info(spec.path).attributes, spec.attributes)
    ):
        _check_unchanged(wanted, spec, labelled[:SOME], of(labelled[:SOME]))
    todo = [s for s in wanted.sample_ids if s not in store.complete(spec.path)]
    if todo:  # a labeler that doesn't work must leave no trace
        read(todo[:1], most=1)
    together = max(1, batch_size // (spec.shape[0] if spec.dims[0] == "step" else 1))
    parts = [todo[i : i + together] for i in range(0, len(todo), together)]
    write_labels(wanted, spec, parts, of, progress)


def _check_unchanged(wanted: Wanted, spec: ArraySpec, labelled: Sequence[str], labels: np.ndarray) -> None:
    """Refuse a function that reads pictures otherwise than they were read: its name doesn't say what it does.

    Models round otherwise in batches of another size, by which single pixels may change their class.
    """
    for sample_id, label in zip(labelled, labels, strict=True):
        before = stored_label(wanted.store, spec, sample_id)
        scale = np.nanmax(np.abs(before), initial=0) or 1
        if np.isclose(before, label, rtol=0, atol=ROUNDING * scale, equal_nan=True).mean() < 1 - FEW:
            raise InputError(
                f"labels {wanted.target!r} were made by a function that reads sample {sample_id} otherwise; "
                "name the target differently"
            )
