"""Whether a store can take in a manifest's training samples."""

from __future__ import annotations

from ldmscene.errors import InputError
from ldmscene.manifest import Manifest
from ldmscene.store import ActivationStore
from ldmscene.store.layout import TERMS
from ldmscene.store.metadata import read_store
from ldmscene.store.places import Place


def check_training(root: Place, manifest: Manifest, instead: str = "use another store") -> None:
    """Refuse new training samples where others were dropped for their statistics: folds would change.

    Raises
    ------
    InputError
        With what to do instead.
    """
    now = read_store(root)
    if now is None or TERMS not in now.documents:
        return
    store = ActivationStore(root)
    known = _training(store.manifest)
    if any(store.dropped(path) for path in store.paths) and not _training(manifest) <= known:
        raise InputError(
            f"{root} holds statistics of {len(known)} training samples, to which no others can be added, since folds "
            f"would change; {instead}"
        )


def _training(manifest: Manifest) -> set[tuple[object, ...]]:
    splits = manifest.frame["split"]
    return {key for key, split in zip(manifest.keys, splits, strict=True) if split == "train"}
