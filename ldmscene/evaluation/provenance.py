"""What a grid's numbers come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ldmscene.store import ActivationStore
from ldmscene.store.fingerprints import fingerprint
from ldmscene.store.layout import label_path


def state(store: ActivationStore, targets: Sequence[str]) -> dict[str, Any]:
    """What a grid depends on in a store: whose activations, which samples, which labels."""
    read = [label_path(t) for t in targets] + [p for p in store.paths if p.kind != "labels"]
    rows = store.ledger[store.ledger["what"].isin(read)].sort_values(["what", "sample_id"])
    return {
        "fingerprint": store.fingerprint,
        "labels": {t: dict(store.info(label_path(t)).attributes) for t in targets},
        "arrays": fingerprint({"rows": rows[["what", "sample_id", "crc32"]].to_numpy().tolist()}),
    }


def about(store: ActivationStore) -> dict[str, Any]:
    """What a report says of a store: its model by name, and its manifest in numbers."""
    frame, config = store.manifest.frame, store.config
    return {
        "model": {"name": store.model or config.get("pipeline", ""), "pipeline": config.get("pipeline", "")},
        "manifest": {
            "samples": len(frame),
            "prompts": frame["prompt_id"].nunique(),
            **{split: int(count) for split, count in frame["split"].value_counts(sort=False).items()},
            "fingerprint": fingerprint({"samples": frame[["sample_id", "split"]].to_numpy().tolist()}),
        },
    }


def provenance(store: ActivationStore, made_from: Mapping[str, Any], control: ActivationStore | None) -> dict[str, Any]:
    """What a report says of where its numbers come from."""
    packages = ("ldmscene", "torch", "diffusers", "transformers", "zarr", "xarray", "dask", "scikit-learn", "numpy")
    return {
        "store": store.root.name,
        "fingerprint": store.fingerprint,
        "configuration": store.config,
        "extracted_with": [
            ", ".join(f"{name} {value}" for name, value in one.items()) for one in store.attributes.get("made_with", [])
        ],
        "labels": made_from["data"]["labels"],
        "probe": made_from["kind"],
        "cross_validation_folds": made_from["cv"],
        "held_out": made_from["held_out"],
        "alphas": made_from["alphas"],
        "permuted_control": control.fingerprint if control else "not run",
        "versions": {name: version(name) for name in packages},
    }
