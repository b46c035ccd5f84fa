"""From pictures in a store to labels beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ldmscene import labeling
from ldmscene.calls.opening import opened as open_store
from ldmscene.choices import LabelKind, LabelledPictures
from ldmscene.errors import InputError
from ldmscene.intervention.controls import controls_of
from ldmscene.labelers import LABELERS, Labeler, SuppliedLabels
from ldmscene.store import ActivationStore


def label(
    store: ActivationStore | str | Path,
    target: str,
    labeler: str | Labeler | SuppliedLabels | Callable[[np.ndarray], np.ndarray] | Mapping[str, Any] | xr.DataArray,
    *,
    kind: LabelKind | None = None,
    threshold: float | None = None,
    void: float | None = None,
    metric: str | None = None,
    on: LabelledPictures = "image",
    split: str | None = None,
    device: str | None = None,
    batch_size: int = labeling.BATCH,
    progress: bool = True,
) -> ActivationStore:
    """Add labels for a target to a store; samples that have theirs are left alone.

    Of an edited store a labeler reads the controls' pictures, too. Labels themselves go to the named store alone, since
    a control has other pictures of the same samples: give each, `edited.root / "controls" / name`, its own.

    A function is known by its name, and by what it makes of a few samples that have their labels: one that reads those
    otherwise is refused.

    Parameters
    ----------
    store
        A store, or its location.
    target
        What the labels are called: letters, digits, ".", "_" and "-"; not "position" or "latent", which mean
        something else in `evaluate(beyond=…)`.
    labeler
        A name, with what follows a colon where it needs more: "tiny-depth", "midas", "depth:FOLDER or hub id",
        "tracer", "intrinsic", "rembg", "vgg16", "torchvision:resnet50", "files:FOLDER", "masks:FOLDER",
        "classes:FOLDER". A callable from uint8 images (n, Y, X, 3) to maps (n, Y, X), or to a mapping of them by
        target. Or the labels themselves: an `xarray.DataArray` (sample, Y, X) with the coordinate `sample` or
        `sample_id`, a mapping from sample_id to array, or `ldmscene.labelers.from_files`. NaN marks a pixel
        without label.
    kind : {"continuous", "binary", "classes"}, optional
        What the numbers mean, where the labeler doesn't say; whole numbers need it, floats are continuous.
    threshold : float, optional
        Of a binary target: pixels above it are foreground. It is stored with the labels, which stay soft. Where it
        isn't given and the labeler says nothing, it is half of the numbers' range: of 0 to 1, or of 0 to 255 or 65535
        for uint8 or uint16 that hold more than 0 and 1, which are stored as 0 to 1.
    void : float, optional
        The number that marks a pixel without label, such as 255 in the palettes of Pascal VOC and Cityscapes.
    metric : str, optional
        The metric by which probes of the target are judged first, such as "spearman" (`ldmscene.metrics.METRICS` has
        all). Where not given, the labels' present one, the labeler's own, or that of the kind: "pearson" for
        continuous targets, "dice" for masks. It is stored with the labels, and the same call with another changes it.
    on : {"image", "noisy", "predicted"}
        The final images; or the decoded x_t or predicted x_0 of each step, as a baseline for probes.
    split
        Label one split only.
    device
        Of a labeler that is given by name; the fastest there is where not given.
    batch_size
        Pictures read together. The last batch is filled up with copies of its last picture, since networks round
        otherwise in batches of another size.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    ActivationStore
        The same, with the labels.

    Raises
    ------
    InputError
        If the labeler, its package or its weights aren't there, or labels don't fit pictures and samples; nothing is
        written.
    IncompleteError
        If pictures are missing.
    StoreError
        If the store holds labels of that name by another labeler.

    Warns
    -----
    LabelWarning
        If no pixel of the target has a label, or all labels are equal; a mask's are 0 or 1.

    Examples
    --------
    >>> import ldmscene
    >>> store = ldmscene.label("stores/demo", "redness", lambda images: images[..., 0] / 255, progress=False)
    >>> store.labels("redness", split="test").shape
    (6, 64, 64)
    """
    opened = open_store(store)
    if isinstance(labeler, str) and isinstance(target, str) and _is_labeler(target) and not _is_labeler(labeler):
        raise InputError(f"the target comes before the labeler: expected label(store, {labeler!r}, {target!r})")
    controls = controls_of(opened) if labeling.reads_pictures(labeler) else {}
    for one in (opened, *controls.values()):
        labeling.label(
            labeling.Wanted(one, target, on, split),
            labeler,
            kind=kind,
            threshold=threshold,
            void=void,
            metric=metric,
            device=device,
            batch_size=batch_size,
            progress=progress,
        )
    if on == "image":
        labeling.warn_of_unlearnable(opened, target)
    return opened


def _is_labeler(name: str) -> bool:
    own, colon, _ = name.partition(":")
    return own in LABELERS and bool(colon or not LABELERS[own].needs_argument)
