"""Whether two stores are of one run: of the same model, at the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldmscene.errors import InputError
from ldmscene.store import ActivationStore
from ldmscene.store.arrays import same_origin
from ldmscene.store.layout import label_path
from ldmscene.store.prepare import differences

# How activations were stored, and what was done to them, is nothing that a run depends on.
_BESIDE = ("branches", "dtype", "captured", "kept_bits", "edit")


def run_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, object, object]]:
    """Where two configurations are of different runs: dotted path, value in the first, value in the second."""
    first, second = ({name: value for name, value in one.items() if name not in _BESIDE} for one in (old, new))
    return differences(first, second)


def check_source(edited: ActivationStore, source: ActivationStore, labels: str) -> None:
    """Refuse a store that isn't the one that was edited, or whose labels of the edit's target are others by now.

    Raises
    ------
    InputError
        With what differs.
    """
    other = f"{source.root} isn't the store that was edited; name that one"
    if found := run_differences(edited.config, source.config):
        said = "; ".join(f"{path}: {old} there, {new} here" for path, old, new in found)
        raise InputError(f"{other}: {said}")
    now = dict(zip(source.manifest.frame["sample_id"], source.manifest.keys, strict=True))
    for sample_id, key in zip(edited.manifest.frame["sample_id"], edited.manifest.keys, strict=True):
        if now.get(sample_id) != key:
            raise InputError(f"{other}: it has no sample {sample_id} of the same prompt and seed")
    check_labels({labels: edited.config["edit"]["labels"]}, source)


def check_labels(fitted: Mapping[str, Mapping[str, Any]], source: ActivationStore) -> None:
    """Refuse a store whose labels are made in another way than those that an edit's probes were fitted to.

    Raises
    ------
    InputError
        With one of them.
    """
    for name, then in fitted.items():
        now = source.info(label_path(name)).attributes if name in source.targets else then
        if not same_origin(then, now):
            raise InputError(
                f"labels {name!r} of {source.root} are made by {now['labeler']} in another way than those by "
                f"{then['labeler']} to which the probes were fitted; evaluate the store and edit it again"
            )
