"""From pictures in a store to labels beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ldmscene import labelers
from ldmscene.errors import InputError
from ldmscene.labelers import Labeler
from ldmscene.labeling.wanted import Wanted
from ldmscene.labeling.writing import stored_label, write_labels
from ldmscene.store import ArraySpec
from ldmscene.store.arrays import same_origin

BATCH = 16  # pictures read together, where nothing else is asked
SOME = 4  # samples by which a function shows that it is still the one that labelled
DIFFERING = 0.01  # the share of pixels that may differ where a label is read again
ROUNDING = 1e-3  # the share of the largest label by which the others may


def read_pictures(
    wanted: Wanted, labeler: Labeler | Callable[..., Any], said: Mapping[str, Any], *, batch_size: int, progress: bool
) -> None:
    """Label final pictures (`on="image"`) or those of each step (`noisy`, `predicted`) that aren't labelled yet."""
    store, spec = wanted.store, wanted.spec({"kind": "continuous", **said})

    def pictures(sample_ids: Sequence[str]) -> np.ndarray:
        of = store.images if wanted.on == "image" else partial(store.previews, wanted.on)
        found = of(samples=sample_ids).to_numpy()
        return found.reshape(-1, *found.shape[-3:])

    def read(sample_ids: Sequence[str]) -> np.ndarray:
        found = pictures(sample_ids)
        parts = [found[i : i + batch_size] for i in range(0, len(found), batch_size)]
        maps = [labelers.read(labeler, wanted.target, _filled(part, batch_size), said)[: len(part)] for part in parts]
        return np.concatenate(maps).reshape(len(sample_ids), *spec.shape)

    labelled = [s for s in wanted.sample_ids if s in store.complete(spec.path)]
    if (
        labelled
        and not hasattr(labeler, "provenance")
        and same_origin(store.info(spec.path).attributes, spec.attributes)
    ):
        _check_unchanged(wanted, spec, labelled[:SOME], read(labelled[:SOME]))
    todo = [s for s in wanted.sample_ids if s not in store.complete(spec.path)]
    if todo:  # a labeler that doesn't work must leave no trace
        labelers.read(labeler, wanted.target, pictures(todo[:1])[:1], said)
    together = max(1, batch_size // (spec.shape[0] if spec.dims[0] == "step" else 1))
    parts = [todo[i : i + together] for i in range(0, len(todo), together)]
    write_labels(wanted, spec, parts, read, progress)


def _filled(pictures: np.ndarray, size: int) -> np.ndarray:
    """A batch of a fixed size, the last picture in it as often as needed.

    Networks round otherwise in a batch of another size, and labels that are made again must be what they were, however
    many are made with them.
    """
    return pictures[np.minimum(np.arange(size), len(pictures) - 1)]


def _check_unchanged(wanted: Wanted, spec: ArraySpec, labelled: Sequence[str], labels: np.ndarray) -> None:
    """Refuse a function that reads pictures otherwise than they were read: its name doesn't say what it does.

    Models round otherwise in batches of another size, by which single pixels may change their class.
    """
    for sample_id, label in zip(labelled, labels, strict=True):
        before = stored_label(wanted.store, spec, sample_id)
        scale = np.nanmax(np.abs(before), initial=0) or 1
        if np.isclose(before, label, rtol=0, atol=ROUNDING * scale, equal_nan=True).mean() < 1 - DIFFERING:
            raise InputError(
                f"labels {wanted.target!r} were made by a function that reads sample {sample_id} otherwise; "
                "name the target differently"
            )
