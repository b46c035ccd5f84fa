"""What a labeler read in unfinished pictures, beside what it said of the final ones."""

from __future__ import annotations

from ldmscene.store.arrays import same_origin
from ldmscene.store.layout import Key, intermediate_path
from ldmscene.store.store import ActivationStore


def read_by_its_labeler(store: ActivationStore, labels: Key, source: str) -> set[str]:
    """Samples whose unfinished pictures were read by the labeler of these labels or answers; none where another did."""
    path = intermediate_path(source, labels.target)
    if not {path, labels} <= set(store.paths):
        return set()
    same = same_origin(store.info(path).attributes, store.info(labels).attributes)
    return store.complete(path) if same else set()
