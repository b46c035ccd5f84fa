"""What a grid's numbers come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, get_args

import xarray as xr

from ldmscene.axes import told
from ldmscene.choices import HeldOut
from ldmscene.errors import InputError
from ldmscene.evaluation.ridge import PRECISIONS
from ldmscene.store import ActivationStore
from ldmscene.store.fingerprints import fingerprint
from ldmscene.store.layout import label_path


def state(store: ActivationStore, targets: Sequence[str]) -> dict[str, Any]:
    """What a grid depends on in a store: whose activations, which samples, which labels."""
    read = [label_path(t) for t in targets] + [p for p in store.paths if p.kind != "labels"]
    rows = store.ledger[store.ledger["what"].isin(read)].sort_values(["what", "sample_id"])
    return {
        "fingerprint": store.fingerprint,
        "samples": _planned(store),
        "labels": {t: dict(store.info(label_path(t)).attributes) for t in targets},
        "arrays": fingerprint({"rows": rows[["what", "sample_id", "crc32"]].to_numpy().tolist()}),
    }


def _planned(store: ActivationStore) -> str:
    """Which samples a store has or is to have, each in its split."""
    return fingerprint({"samples": store.manifest.frame[["sample_id", "split"]].to_numpy().tolist()})


def about(store: ActivationStore) -> dict[str, Any]:
    """What a report says of a store: its model by name, and its manifest in numbers."""
    frame, config = store.manifest.frame, store.config
    return {
        "model": {"name": store.model or config.get("pipeline", ""), "pipeline": config.get("pipeline", "")},
        "manifest": {
            "samples": len(frame),
            "prompts": frame["prompt_id"].nunique(),
            **{split: int(count) for split, count in frame["split"].value_counts(sort=False).items()},
            "fingerprint": _planned(store),
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


@dataclass(frozen=True)
class Fitting:
    """How the probes of a grid were fitted."""

    probe: Mapping[str, Any]
    """the `key()` of their kind"""
    cv: int
    alphas: Sequence[float]
    held_out: HeldOut


def fitting_of(grid: xr.Dataset) -> Fitting:
    """What a grid says of how its probes were fitted.

    Raises
    ------
    InputError
        If it doesn't say so, as one of another version may not.
    """
    said = told(grid)
    for name, (expected, fits) in _SAID.items():
        if not fits(said.get(name)):
            got = repr(said[name])[:60] if name in said else "none"
            raise InputError(
                f"grid: expected its provenance to say {name}, {expected}, got {got}; evaluate the store again"
            )
    return Fitting(said["probe"], said["cross_validation_folds"], said["alphas"], said["held_out"])


def _is_kind(found: Any) -> bool:
    named = isinstance(found, dict) and isinstance(found.get("probe"), str)
    return named and found.get("precision", "float64") in PRECISIONS


def _are_alphas(found: Any) -> bool:
    return isinstance(found, list) and len(found) > 1 and all(type(one) in (int, float) and one > 0 for one in found)


_SAID = {
    "probe": ("the key of a kind of probe", _is_kind),
    "cross_validation_folds": ("a whole number of at least 2", lambda found: type(found) is int and found > 1),
    "alphas": ("at least two numbers above 0", _are_alphas),
    "held_out": (f"one of {', '.join(get_args(HeldOut))}", lambda found: found in get_args(HeldOut)),
}
