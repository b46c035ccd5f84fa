"""From pictures in a store to labels beside them."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from ldmscene import labelers
from ldmscene.errors import IncompleteError, InputError
from ldmscene.labelers import Labeler
from ldmscene.progress import bar
from ldmscene.store import ActivationStore, ArraySpec, Row, StoreWriter
from ldmscene.store.layout import declare, intermediate_path, label_path

SOURCES = ("image", "noisy", "predicted")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read_pictures(
    store: ActivationStore,
    target: str,
    labeler: Labeler | Callable[[np.ndarray], np.ndarray],
    *,
    on: str,
    split: str | None,
    batch_size: int,
    progress: bool,
) -> None:
    """Label final images (`on="image"`) or those of each step (`noisy`, `predicted`) that aren't labelled yet."""
    if not _NAME.fullmatch(target):
        raise InputError(f"a target's name is letters, digits, '.', '_' and '-'; got {target!r}")
    if on not in SOURCES:
        raise InputError(f"on must be one of {', '.join(SOURCES)}; got {on!r}")
    pictures = store.images(split) if on == "image" else store.previews(on, split)
    path = label_path(target) if on == "image" else intermediate_path(on, target)
    frame = store.manifest.frame
    wanted = frame["split"].eq(split) if split else frame["split"].notna()
    absent = set(frame["sample_id"][wanted]) - set(pictures["sample"].values)
    if absent:
        raise IncompleteError(
            f"{len(absent)} samples have no {on} pictures, {min(absent)} among them; extract them first"
        )
    todo = [s for s in pictures["sample"].values if s not in store.complete(path)]
    spec = _spec(path, pictures.shape[1:-1], labelers.provenance(labeler))
    if todo:  # a labeler that doesn't work must leave no trace
        labelers.read(labeler, target, pictures.sel(sample=todo[:1]).to_numpy().reshape(-1, *pictures.shape[-3:])[:1])
    declare(store.root, [spec], len(frame))
    with (
        StoreWriter(store.root, [spec]) as writer,
        bar(f"labelling {target} on {on}", len(todo), enabled=progress) as advance,
    ):
        for start in range(0, len(todo), batch_size):
            some = todo[start : start + batch_size]
            images = pictures.sel(sample=some).to_numpy()
            maps = labelers.read(labeler, target, images.reshape(-1, *images.shape[-3:])).reshape(images.shape[:-1])
            for sample_id, array in zip(some, maps, strict=True):
                writer.put(Row(sample_id, store.rows([sample_id])[0], {path: array}))
            advance(len(some))
    store.refresh()


def _spec(path: str, shape: tuple[int, ...], provenance: dict) -> ArraySpec:
    steps = ("step",) if len(shape) == 3 else ()
    return ArraySpec(path, (*steps, "Y", "X"), shape, "float32", cut=len(steps), attributes=provenance)
