"""From pictures in a store, or from maps that were made elsewhere, to labels beside the pictures."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from ldmscene import labelers
from ldmscene.errors import IncompleteError, InputError, ShapeError, unknown
from ldmscene.labelers import CLASSIFICATION, Labeler, SuppliedLabels
from ldmscene.manifest import SPLITS
from ldmscene.metrics import metrics_of
from ldmscene.progress import bar
from ldmscene.store import ActivationStore, ArraySpec, Row, StoreWriter
from ldmscene.store.arrays import same_origin
from ldmscene.store.compression import compress
from ldmscene.store.layout import IMAGE, PREVIEWS, intermediate_path, label_path, prediction_path
from ldmscene.store.metadata import declare

SOURCES = ("image", "noisy", "predicted")
SOME = 4  # samples by which a function shows that it is still the one that labelled
FEW, ROUNDING = 0.01, 1e-3  # the share of pixels that may differ, and by what share of the largest label the others may
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Wanted:
    """What is to be labelled, checked against the store."""

    store: ActivationStore
    target: str
    on: str
    split: str | None
    only: frozenset[str] | None = None  # of these samples; all where not given

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.target):
            raise InputError(f"a target's name is letters, digits, '.', '_' and '-'; got {self.target!r}")
        if self.split is not None and self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        if self.on not in SOURCES:
            raise InputError(f"on must be one of {', '.join(SOURCES)}; got {self.on!r}")
        if not self.sample_ids:
            raise InputError(f"no sample of split {self.split!r} in {self.store.root}")
        have = self.store.complete(IMAGE if self.on == "image" else PREVIEWS[self.on])
        absent = set(self.sample_ids) - have
        if absent:
            pictures = "pictures" if self.on == "image" else f"{self.on} previews"
            raise IncompleteError(
                f"{len(absent)} samples have no {pictures}, {min(absent)} among them; extract them first"
            )

    @property
    def sample_ids(self) -> list[str]:
        """All samples of the split, in the manifest's order."""
        frame = self.store.manifest.frame
        ids = frame["sample_id"][frame["split"].eq(self.split) | (self.split is None)]
        return [s for s in ids if self.only is None or s in self.only]

    @property
    def before(self) -> Mapping[str, Any]:
        """What the store says of such labels that it has already."""
        paths = [prediction_path(self.target), label_path(self.target)]
        path = next((path for path in paths if path in self.store.paths), None)
        return {} if path is None else self.store.info(path).attributes

    def spec(self, meaning: Mapping[str, Any]) -> ArraySpec:
        """The array that takes the labels."""
        whole = meaning["kind"] == CLASSIFICATION
        dims: tuple[str, ...] = ("class",) if whole else ("Y", "X")
        shape = (len(meaning["classes"]),) if whole else self.store.info(IMAGE).layout.shape[:2]
        if self.on == "image":
            path = prediction_path(self.target) if whole else label_path(self.target)
            return ArraySpec(path, dims, shape, "float32", attributes=dict(meaning))
        path, steps = intermediate_path(self.on, self.target), len(self.store.steps)
        return ArraySpec(path, ("step", *dims), (steps, *shape), "float32", cut=1, attributes=dict(meaning))


def resolve(labeler: Any, device: str | None = None) -> Any:
    """A labeler or supplied labels, from all that `ldmscene.label` takes.

    Raises
    ------
    InputError
        If there is no labeler of that name, or its package or weights are missing.
    """
    if isinstance(labeler, str):
        return labelers.find(labeler, device)
    return labelers.from_arrays(labeler) if isinstance(labeler, Mapping | xr.DataArray | np.ndarray) else labeler


def check_name(name: str) -> None:
    """UnknownNameError if no labeler is called so; nothing is loaded."""
    labelers.named(name)


def gives_maps(labeler: object) -> bool:
    """Whether a labeler gives maps rather than one answer for a whole picture; nothing is loaded."""
    if isinstance(labeler, str):
        return labelers.named(labeler)[0].gives != CLASSIFICATION
    return getattr(labeler, "provenance", {}).get("kind") != CLASSIFICATION


def reads_pictures(labeler: object) -> bool:
    """Whether a labeler looks at pictures, rather than being the labels themselves; nothing is loaded."""
    if isinstance(labeler, str):
        return labelers.named(labeler)[0].gives != "supplied"
    return not isinstance(labeler, SuppliedLabels | Mapping | xr.DataArray | np.ndarray)


def seconds_per_picture(labeler: Any, size: tuple[int, int], device: str | None = None) -> float | None:
    """Timed on a few blank pictures; None where its package or weights aren't here, 0 for labels that are supplied."""
    try:
        found = resolve(labeler, device)
    except InputError:
        return None
    if isinstance(found, SuppliedLabels):
        return 0.0
    blank = np.zeros((4, *size, 3), np.uint8)
    found(blank[:1])  # the first call may load and compile
    start = time.perf_counter()
    found(blank)
    return (time.perf_counter() - start) / len(blank)


def label(
    wanted: Wanted,
    labeler: Any,
    *,
    kind: str | None = None,
    threshold: float | None = None,
    void: float | None = None,
    metric: str | None = None,
    device: str | None = None,
    batch_size: int = 32,
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


def read_pictures(
    wanted: Wanted, labeler: Labeler | Callable[..., Any], said: Mapping[str, Any], *, batch_size: int, progress: bool
) -> None:
    """Label final pictures (`on="image"`) or those of each step (`noisy`, `predicted`) that aren't labelled yet."""
    store, spec = wanted.store, wanted.spec({"kind": "continuous", **said})

    def read(sample_ids: Sequence[str], most: int | None = None) -> np.ndarray:
        if wanted.on == "image":
            images = store.images(samples=sample_ids).to_numpy()
        else:
            images = store.previews(wanted.on, samples=sample_ids).to_numpy()
        pictures = images.reshape(-1, *images.shape[-3:])[:most]
        parts = [pictures[i : i + batch_size] for i in range(0, len(pictures), batch_size)]
        return np.concatenate([labelers.read(labeler, wanted.target, part, said) for part in parts])

    def of(sample_ids: Sequence[str]) -> np.ndarray:
        return read(sample_ids).reshape(len(sample_ids), *spec.shape)

    labelled = [s for s in wanted.sample_ids if s in store.complete(spec.path)]
    if (
        labelled
        and not hasattr(labeler, "provenance")
        and same_origin(store.info(spec.path).attributes, spec.attributes)
    ):
        _check_unchanged(wanted, spec, labelled[:SOME], of(labelled[:SOME]))
    todo = [s for s in wanted.sample_ids if s not in store.complete(spec.path)]
    if todo:  # a labeler that doesn't work must leave no trace
        read(todo[:1], most=1)
    together = max(1, batch_size // (spec.shape[0] if spec.dims[0] == "step" else 1))
    parts = [todo[i : i + together] for i in range(0, len(todo), together)]
    _write(wanted, spec, parts, of, progress)


def _check_unchanged(wanted: Wanted, spec: ArraySpec, labelled: Sequence[str], labels: np.ndarray) -> None:
    """Refuse a function that reads pictures otherwise than they were read: its name doesn't say what it does.

    Models round otherwise in batches of another size, by which single pixels may change their class.
    """
    for sample_id, label in zip(labelled, labels, strict=True):
        before = _stored(wanted.store, spec, sample_id)
        scale = np.nanmax(np.abs(before), initial=0) or 1
        if np.isclose(before, label, rtol=0, atol=ROUNDING * scale, equal_nan=True).mean() < 1 - FEW:
            raise InputError(
                f"labels {wanted.target!r} were made by a function that reads sample {sample_id} otherwise; "
                "name the target differently"
            )


def take_supplied(wanted: Wanted, supplied: SuppliedLabels, said: Mapping[str, Any], *, progress: bool) -> None:
    """Store maps that were made elsewhere. All of them are looked at before the first is written.

    Raises
    ------
    InputError
        If they are of other samples, or differ from labels that are stored already.
    ShapeError
        If one has another size than the pictures.
    """
    store, spec = wanted.store, wanted.spec({"kind": "continuous", **said})
    _check_samples(wanted, supplied, spec.path)
    labelled = store.complete(spec.path)
    for sample_id in (s for s in wanted.sample_ids if s in supplied):
        labels = supplied.read(sample_id, said)
        if labels.shape != spec.shape:
            raise ShapeError(
                f"the label of sample {sample_id} has shape {labels.shape}, its picture asks for {spec.shape}; "
                "resize the labels, since only you know how"
            )
        if sample_id in labelled and not np.array_equal(_stored(store, spec, sample_id), labels, equal_nan=True):
            raise InputError(
                f"sample {sample_id} has another label {wanted.target!r} already; name the target differently"
            )
    todo = [[s] for s in wanted.sample_ids if s not in labelled]
    _write(wanted, spec, todo, lambda ids: supplied.read(ids[0], said)[None], progress)


def _check_samples(wanted: Wanted, supplied: SuppliedLabels, path: str) -> None:
    known = set(wanted.store.manifest.frame["sample_id"])
    strange = [s for s in supplied.sample_ids if s not in known]
    if strange:
        raise InputError(
            f"{len(strange)} labels are of samples that the store doesn't have, {strange[0]!r} among them; "
            f"its sample_ids look like {wanted.sample_ids[0]!r}"
        )
    labelled = wanted.store.complete(path)
    check_supplied(supplied, wanted.target, [s for s in wanted.sample_ids if s not in labelled])


def check_supplied(supplied: SuppliedLabels, target: str, sample_ids: Sequence[str]) -> None:
    """InputError if there is no label for one of the samples."""
    without = [s for s in sample_ids if s not in supplied]
    if without:
        raise InputError(
            f"{len(without)} samples are without a label {target!r}, {without[0]} among them; "
            "give all of them, or those of one split with split="
        )


def _stored(store: ActivationStore, spec: ArraySpec, sample_id: str) -> np.ndarray:
    label: np.ndarray
    (label,) = store.info(spec.path).read(store.rows([sample_id]), {})
    return label


def _write(
    wanted: Wanted,
    spec: ArraySpec,
    parts: Sequence[Sequence[str]],
    read: Callable[[Sequence[str]], np.ndarray],
    progress: bool,
) -> None:
    store, title = wanted.store, f"labelling {wanted.target} on {wanted.on}"
    (spec,) = compress([spec], store.compression)
    declare(store.root, [spec])
    with (
        StoreWriter(store.root, [spec]) as writer,
        bar(title, sum(map(len, parts)), enabled=progress) as advance,
    ):
        for sample_ids in parts:
            found = read(sample_ids)
            for sample_id, labels in zip(sample_ids, found, strict=True):
                writer.put(Row(sample_id, store.rows([sample_id])[0], {spec.path: labels}))
            advance(len(sample_ids), found.nbytes)
    store.refresh()
