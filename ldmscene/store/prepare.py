"""Before a run writes: is the store new, the same, or another one's?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ldmscene.errors import FingerprintError, StoreError
from ldmscene.manifest import Manifest
from ldmscene.store import layout, manifests, metadata
from ldmscene.store.compression import settings
from ldmscene.store.documents import Attributes, Documents
from ldmscene.store.fingerprints import fingerprint
from ldmscene.store.history import Published, publish
from ldmscene.store.ledger import Ledger
from ldmscene.store.locations import Location, location
from ldmscene.store.places import Place
from ldmscene.store.store import ActivationStore


def check_fingerprint(
    root: str | Place | Location, config: dict[str, Any], details: Mapping[str, dict[str, Any]] | None = None
) -> None:
    """Refuse a store that another configuration made.

    `details` are what hashes in the configuration stand for, by their dotted path in it.

    Raises
    ------
    FingerprintError
        With what differs.
    """
    now = metadata.read_store(root)
    if now is not None:
        _check_origin(location(root), now.contents.attributes, config, details or {})


def _check_origin(
    where: Location, attributes: Attributes, config: dict[str, Any], details: Mapping[str, dict[str, Any]]
) -> None:
    if attributes["fingerprint"] != fingerprint(config):
        found = _explained(differences(attributes["config"], config), attributes["details"], details)
        lines = "\n".join(f"  {path}: {old} in the store, {new} now" for path, old, new in found)
        raise FingerprintError(
            f"{where.root} was made with another configuration:\n{lines}\n"
            "Use another store, or ask for what this one was made with."
        )


def differences(old: object, new: object, path: str = "") -> list[tuple[str, object, object]]:
    """Where two configurations differ: dotted path, value in the first, value in the second."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(k for k in new if k not in old)]
        return [d for k in keys for d in differences(old.get(k), new.get(k), f"{path}.{k}".lstrip("."))]
    return [] if old == new else [(path, old, new)]


def _explained(
    found: Iterable[tuple[str, object, object]], old: Mapping[str, dict[str, Any]], new: Mapping[str, dict[str, Any]]
) -> Iterator[tuple[str, object, object]]:
    """Differences of hashes as those of what they stand for, where that is known on both sides."""
    for path, before, now in found:
        yield from differences(old[path], new[path], path) if path in old and path in new else [(path, before, now)]


def prepare_store(
    root: str | Place | Location,
    config: dict[str, Any],
    manifest: Manifest,
    modules: Sequence[str],
    timesteps: Sequence[float],
    specs: list[layout.ArraySpec],
    in_order: Callable[[Sequence[str]], list[str]],
    compression: str = "none",
    details: Mapping[str, dict[str, Any]] | None = None,
    model: str = "",
    canary: Mapping[str, Any] | None = None,
    made_with: Mapping[str, str] | None = None,
) -> ActivationStore:
    """Create a store, or extend the one that is there by samples and modules; then open it.

    Metadata first and ledger rows last: a crash in between leaves a store that the same call completes. Others may
    prepare the same store at the same moment: it then holds what all asked for. `in_order` sorts module names as the
    denoiser has them; `compression` is one of `compression.COMPRESSIONS`; `details` are what hashes in the
    configuration stand for, to be shown where another one differs; `model` is what people call the model, and no part
    of the configuration: the first name that was given stays. `canary` is what the model answers, noted where nothing
    is noted yet, and `made_with` are the libraries and the device that are about to fill the store.

    Raises
    ------
    FingerprintError
        If another configuration made the store.
    StoreError
        If it was made with another compression.
    CorruptError
        If the store has lost its metadata.
    """
    where = location(root)
    config = {**config, **settings(compression)}

    def extended(now: Published) -> Documents:
        samples, names, segments, makers = manifest, list(modules), set(), list[dict[str, str]]()
        known, called = details or {}, model
        if not now.number:
            metadata.check_free(where)
        else:
            old = now.contents.attributes
            _check_origin(where, old, config, known)
            if (made := old["compression"]) != compression:
                raise StoreError(f"{where.root} was made with compression={made!r}; ask for that, or use another store")
            makers, known, called = old["made_with"], old["details"], old["model"] or model
            samples = now.contents.manifest.extended(manifest)
            names, segments = in_order(list(dict.fromkeys([*old["modules"], *modules]))), set(old["segments"])
        attributes = {
            "format": layout.FORMAT,
            "ldmscene": version("ldmscene"),
            "fingerprint": fingerprint(config),
            "config": config,
            "details": known,
            "made_with": _with_maker(makers, made_with) if made_with else makers,
            "compression": compression,
            "model": called,
            "modules": names,
            # Rows of the manifest after each extension: batches never cross one.
            "segments": sorted(segments | {len(samples)}),
        }
        return {
            **metadata.root_document(attributes),
            **metadata.array_documents(now.said, specs, len(samples)),
            **metadata.coordinate_documents(timesteps, config["branches"], len(samples)),
            **manifests.write(samples, now.contents.manifest if now.number else None),
            **(_canary(now, canary) if canary else {}),
        }

    publish(where, extended, thorough=True)
    Ledger(where).tidy()
    return ActivationStore(root)


def note_canary(root: str | Place | Location, canary: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a store's model answered when the store was begun: what is noted, or else this, which is noted then."""

    return publish(location(root), lambda now: _canary(now, canary)).contents.canary or canary


def _canary(now: Published, canary: Mapping[str, Any]) -> Documents:
    known = now.number and now.contents.canary
    return {} if known else {layout.CANARY: json.dumps(canary, allow_nan=False).encode()}


def note_making(root: str | Place | Location, environment: Mapping[str, str]) -> None:
    """Add the libraries and the device that are about to fill a store to those that it knows of."""

    def noted(now: Published) -> Documents:
        attributes = now.contents.attributes
        return metadata.root_document({**attributes, "made_with": _with_maker(attributes["made_with"], environment)})

    publish(location(root), noted)


def _with_maker(known: list[dict[str, str]], maker: Mapping[str, str]) -> list[dict[str, str]]:
    return known if maker in known else [*known, dict(maker)]
