"""Labels from whatever gives them, with what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldmscene import labelers
from ldmscene.errors import InputError, unknown
from ldmscene.labelers import SuppliedLabels
from ldmscene.labeling.naming import resolve
from ldmscene.labeling.pictures import BATCH, read_pictures
from ldmscene.labeling.supplied import take_supplied
from ldmscene.labeling.wanted import Wanted
from ldmscene.metrics import metrics_of


def label(
    wanted: Wanted,
    labeler: Any,
    *,
    kind: str | None = None,
    threshold: float | None = None,
    void: float | None = None,
    metric: str | None = None,
    device: str | None = None,
    batch_size: int = BATCH,
    progress: bool = False,
) -> None:
    """Bring labels into a store from whatever gives them: a name, a callable, or the labels themselves."""
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    found = resolve(labeler, device)
    said = with_metric(labelers.provenance(found, kind, threshold, void), metric, wanted.before)
    if isinstance(found, SuppliedLabels):
        take_supplied(wanted, found, said, progress=progress)
    elif callable(found):
        read_pictures(wanted, found, said, batch_size=batch_size, progress=progress)
    else:
        raise InputError(f"labeler: expected a name, a callable or labels, got {type(found).__name__}")


def with_metric(said: Mapping[str, Any], asked: str | None, before: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of labels, with the metric that judges them first, where there is one to name.

    It is the one asked for, or the one that such labels have already, or the labeler's own.

    Raises
    ------
    UnknownNameError
        If no metric of the labels' kind is called so.
    """
    kind = said.get("kind", "continuous")
    known = [metric.name for metric in metrics_of("binary" if kind == "classes" else kind)]
    if asked is not None and asked not in known:
        raise unknown(f"metric of {kind} labels", asked, known)
    found = [name for name in (asked, before.get("metric"), said.get("metric")) if name in known]
    return {name: value for name, value in said.items() if name != "metric"} | ({"metric": found[0]} if found else {})
