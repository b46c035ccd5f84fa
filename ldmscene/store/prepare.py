"""Before a run writes: is the store new, the same, or another one's?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version

from ldmscene.errors import CorruptError, FingerprintError, StoreError
from ldmscene.manifest import Manifest
from ldmscene.store import layout, metadata
from ldmscene.store.compression import settings
from ldmscene.store.ledger import METADATA, Ledger
from ldmscene.store.places import Place, place
from ldmscene.store.store import ActivationStore, encode_manifest, read_stored_manifest


def fingerprint(config: dict) -> str:
    """A short name for a configuration: equal configurations have equal names."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def check_fingerprint(root: Place, config: dict) -> None:
    """Refuse a store that another configuration made.

    Raises
    ------
    FingerprintError
        With what differs.
    """
    attributes = metadata.read_root(root)
    if attributes is not None and attributes["fingerprint"] != fingerprint(config):
        lines = "\n".join(
            f"  {path}: {old} in the store, {new} now" for path, old, new in differences(attributes["config"], config)
        )
        raise FingerprintError(
            f"{root} was made with another configuration:\n{lines}\n"
            "Use another store, or ask for what this one was made with."
        )


def differences(old: object, new: object, path: str = "") -> list[tuple[str, object, object]]:
    """Where two configurations differ: dotted path, value in the first, value in the second."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(k for k in new if k not in old)]
        return [d for k in keys for d in differences(old.get(k), new.get(k), f"{path}.{k}".lstrip("."))]
    return [] if old == new else [(path, old, new)]


def prepare_store(
    root: str | Place,
    config: dict,
    manifest: Manifest,
    modules: Sequence[str],
    timesteps: Sequence[float],
    specs: list[layout.ArraySpec],
    in_order: Callable[[Sequence[str]], list[str]],
    compression: str = "none",
    model: str = "",
) -> ActivationStore:
    """Create a store, or extend the one that is there by samples and modules; then open it.

    Metadata first and ledger rows last: a crash in between leaves a store that the same call completes.
    `in_order` sorts module names as the denoiser has them; `compression` is one of `compression.COMPRESSIONS`;
    `model` is what people call the model, and no part of the configuration: the first name that was given stays.

    Raises
    ------
    FingerprintError
        If another configuration made the store.
    StoreError
        If it was made with another compression.
    CorruptError
        If the store has lost its manifest.
    """
    root = place(root)
    config = {**config, **settings(compression)}
    check_fingerprint(root, config)
    old = metadata.read_root(root)
    if old is not None and (made := old.get("compression", "none")) != compression:
        raise StoreError(f"{root} was made with compression={made!r}; ask for that, or use another store")
    if (root / layout.MANIFEST).exists():
        manifest = read_stored_manifest(root).extended(manifest)
    elif Ledger(root / layout.LEDGER).rows()["sample_id"].ne(METADATA).any():
        raise CorruptError(
            f"{root / layout.MANIFEST} is missing, and without it nobody knows which sample a row of the arrays is; "
            "restore it from a copy, or use another store"
        )
    attributes = {
        "format": layout.FORMAT,
        "ldmscene": version("ldmscene"),
        "fingerprint": fingerprint(config),
        "config": config,
        "compression": compression,
        "model": (old or {}).get("model") or model,
        "modules": list(modules) if old is None else in_order([*old["modules"], *modules]),
        # Rows of the manifest after each extension: batches never cross one.
        "segments": sorted({*(old["segments"] if old else []), len(manifest)}),
    }
    documents = metadata.root_document(attributes)
    documents |= metadata.array_documents(root, specs, len(manifest))
    documents |= metadata.coordinate_documents(timesteps, config["branches"], len(manifest))
    documents[layout.MANIFEST] = encode_manifest(manifest)
    metadata.publish(root, documents)
    Ledger(root / layout.LEDGER).tidy()
    return ActivationStore(root)
