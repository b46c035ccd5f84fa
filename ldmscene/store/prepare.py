"""Before a run writes: is the store new, the same, or another one's?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from ldmscene.errors import CorruptError, FingerprintError
from ldmscene.manifest import Manifest
from ldmscene.store import layout
from ldmscene.store.files import remove_leftovers
from ldmscene.store.ledger import Ledger
from ldmscene.store.store import ActivationStore, read_stored_manifest, write_stored_manifest


def fingerprint(config: dict) -> str:
    """A short name for a configuration: equal configurations have equal names."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def check_fingerprint(root: Path, config: dict) -> None:
    """Refuse a store that another configuration made.

    Raises
    ------
    FingerprintError
        With what differs.
    """
    attributes = layout.read_root(root)
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
    root: Path,
    config: dict,
    manifest: Manifest,
    modules: Sequence[str],
    timesteps: Sequence[float],
    specs: list[layout.ArraySpec],
    in_order: Callable[[Sequence[str]], list[str]],
) -> ActivationStore:
    """Create a store, or extend the one that is there by samples and modules; then open it.

    Metadata first and ledger rows last: a crash in between leaves a store that the same call completes.
    `in_order` sorts module names as the denoiser has them.

    Raises
    ------
    FingerprintError
        If another configuration made the store.
    CorruptError
        If the store has lost its manifest.
    """
    check_fingerprint(root, config)
    old = layout.read_root(root)
    if (root / layout.MANIFEST).exists():
        manifest = read_stored_manifest(root).extended(manifest)
    elif len(Ledger(root / layout.LEDGER).rows()):
        raise CorruptError(
            f"{root / layout.MANIFEST} is missing, and without it nobody knows which sample a row of the arrays is; "
            "restore it from a copy, or use another store"
        )
    attributes = {
        "format": layout.FORMAT,
        "ldmscene": version("ldmscene"),
        "fingerprint": fingerprint(config),
        "config": config,
        "modules": list(modules) if old is None else in_order([*old["modules"], *modules]),
        # Rows of the manifest after each extension: batches never cross one.
        "segments": sorted({*(old["segments"] if old else []), len(manifest)}),
    }
    if old != attributes or not _declared(root, specs, len(manifest)):
        layout.create_root(root, attributes)
        remove_leftovers(root)
        layout.declare(root, specs, len(manifest))
        layout.write_coordinates(root, list(timesteps), tuple(config["branches"]), len(manifest))
        write_stored_manifest(root, manifest)
    return ActivationStore(root)


def _declared(root: Path, specs: list[layout.ArraySpec], samples: int) -> bool:
    """Whether everything that a run writes to is there already, so that a finished store is left untouched."""
    if not (root / layout.MANIFEST).exists() or len(read_stored_manifest(root)) != samples:
        return False
    there = layout.arrays(root)
    return all(spec.path in there and there[spec.path].shape[0] == samples for spec in specs)
