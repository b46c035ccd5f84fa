"""What is to be predicted, and by which scores it is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ldmscene.errors import InputError, unknown
from ldmscene.metrics import DEFAULT, Metric, metrics_of
from ldmscene.store import ActivationStore
from ldmscene.store.layout import label_path
from ldmscene.store.masks import foreground

CLASSES = "classes"
MANY_CLASSES = 64


@dataclass(frozen=True)
class Target:
    """What is to be predicted, and how it is scored. Of labels of classes, each class is a mask of its own."""

    name: str
    kind: str
    """continuous or binary"""
    threshold: float | None
    """labels above it are foreground; of binary targets 0.5 where it is None"""
    labels: str
    """the name under which they are stored"""
    metrics: tuple[Metric, ...]
    primary: str
    """the metric that speaks for it"""
    of_class: float | None = None
    """labels equal to it are foreground"""

    def key(self) -> dict[str, Any]:
        """What its values depend on, besides the labels."""
        return {"kind": self.kind, "threshold": self.threshold, "of_class": self.of_class}

    def values(self, maps: np.ndarray) -> np.ndarray:
        """Stored labels as they are predicted: binary ones as 0 and 1, float32; NaN stays NaN."""
        if self.kind != "binary":
            return maps
        if self.of_class is None:
            return foreground(maps, self.threshold)
        return np.where(np.isnan(maps), np.nan, maps == self.of_class).astype(np.float32)


@dataclass(frozen=True)
class Response:
    """What one fit predicts: a target from its own labels or, as a control, from those that other samples lend."""

    target: str
    binary: bool
    """a fit gives log odds then"""
    shuffled: bool = False

    @property
    def name(self) -> str:
        return f"shuffled {self.target}" if self.shuffled else self.target


def responses(targets: Sequence[Target]) -> tuple[Response, ...]:
    """Those of some targets: all from their own labels, then all from lent ones."""
    return tuple(Response(t.name, t.kind == "binary", shuffled) for shuffled in (False, True) for t in targets)


def target_kind(store: ActivationStore, name: str) -> str:
    """Kind of what is predicted of labels: continuous, or binary, which each of several classes is, too."""
    kind = store.info(label_path(name)).attributes.get("kind", "continuous")
    return "binary" if kind == CLASSES else str(kind)


def targets_of(store: ActivationStore, names: Sequence[str], train: Sequence[str]) -> tuple[Target, ...]:
    """Targets as a store's labels describe them; of classes, one for each that a training sample (sample_id) has."""
    return tuple(target for name in names for target in _targets(store, name, train))


def target_of(store: ActivationStore, name: str) -> Target:
    """The target of this name, such as "mask", or "segments=2" for one of its labels' classes.

    Raises
    ------
    UnknownNameError
        If the store has no such labels, or no sample with that class.
    """
    labels = name.partition("=")[0]
    if labels not in store.targets:
        raise unknown(f"target with labels in {store.root}", labels, store.targets)
    found = {target.name: target for target in targets_of(store, [labels], list(store.manifest.frame["sample_id"]))}
    if name not in found:
        raise unknown(f"target with labels in {store.root}", name, found)
    return found[name]


def _targets(store: ActivationStore, name: str, train: Sequence[str]) -> list[Target]:
    attributes: Mapping[str, Any] = store.info(label_path(name)).attributes
    kind = target_kind(store, name)
    metrics, named = metrics_of(kind), attributes.get("metric")
    scored = metrics, named if named in [metric.name for metric in metrics] else DEFAULT[kind]
    if attributes.get("kind") != CLASSES:
        return [Target(name, kind, attributes.get("threshold"), name, *scored)]
    # No target of a store is called so, since names hold no `=`.
    return [Target(f"{name}={int(value)}", kind, None, name, *scored, value) for value in _classes(store, name, train)]


def _classes(store: ActivationStore, name: str, sample_ids: Sequence[str]) -> list[float]:
    """All classes in the labels of some samples, in order."""
    array = store.info(label_path(name))
    found: set[float] = set()
    for sample_id in sample_ids:
        found |= set(np.unique(array.read(store.rows([sample_id]), {})).tolist())
        if len(found) > MANY_CLASSES:
            raise InputError(
                f"target {name!r} has more than {MANY_CLASSES} classes, each of which is a mask of its own; "
                "join some, or label it with kind='continuous'"
            )
    return sorted(value for value in found if not np.isnan(value))
