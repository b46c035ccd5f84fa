"""Labels in a store: read again, and written sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ldmscene.labeling.wanted import Wanted
from ldmscene.progress import bar
from ldmscene.store import ActivationStore, ArraySpec, Row, StoreWriter
from ldmscene.store.compression import compress
from ldmscene.store.metadata import declare


def stored_label(store: ActivationStore, spec: ArraySpec, sample_id: str) -> np.ndarray:
    """One sample's label, as it is stored."""
    label: np.ndarray
    (label,) = store.info(spec.path).read(store.rows([sample_id]), {})
    return label


def write_labels(
    wanted: Wanted,
    spec: ArraySpec,
    parts: Sequence[Sequence[str]],
    read: Callable[[Sequence[str]], np.ndarray],
    progress: bool,
) -> None:
    """Declare the array and write each part's labels, which `read` makes of its sample_ids."""
    store, title = wanted.store, f"labelling {wanted.target} on {wanted.on}"
    (spec,) = compress([spec], store.compression)
    declare(store.root, [spec])
    with (
        StoreWriter(store.root, [spec]) as writer,
        bar(title, sum(map(len, parts)), enabled=progress) as advance,
    ):
        for sample_ids in parts:
            found = read(sample_ids)
            for sample_id, labels in zip(sample_ids, found, strict=True):
                writer.put(Row(sample_id, store.rows([sample_id])[0], {spec.path: labels}))
            advance(len(sample_ids), found.nbytes)
    store.refresh()
