"""From a store and an edit to edited pictures, and those of its controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from diffusers import DiffusionPipeline

from ldmscene import capture, edits
from ldmscene.calls.opening import opened
from ldmscene.calls.options import check_batches, load_model
from ldmscene.edits import controlled
from ldmscene.errors import InputError, unknown
from ldmscene.evaluation.targets import Target, targets_of
from ldmscene.extraction import fill as extraction
from ldmscene.extraction.part import Part
from ldmscene.intervention.controls import control_place, note_controls
from ldmscene.intervention.filling import Editing
from ldmscene.intervention.maps import Subjects
from ldmscene.intervention.planning import check_same, plan_for, scheduler_of
from ldmscene.manifest import SPLITS, Manifest
from ldmscene.progress import say
from ldmscene.store import ActivationStore
from ldmscene.store.places import Place, place
from ldmscene.store.prepare import check_fingerprint


def intervene(
    store: ActivationStore | str | Path,
    edit: edits.Edit,
    edited: str | Place,
    *,
    split: str | None = "test",
    controls: Iterable[str | Callable[[edits.Edit], edits.Edit]] = ("none", "random:5"),
    modules: str | Sequence[str] = (),
    dtype: str = "float16",
    previews: bool | str = False,
    model: str | Path | DiffusionPipeline | capture.Model | None = None,
    device: str | None = None,
    batch_size: int = 1,
    part: str = "1/1",
    progress: bool = True,
) -> ActivationStore:
    """Generate a store's samples again while an edit changes activations, and once more for each control.

    An edited store is a store: the same call on a finished one runs no model, one that was stopped goes on to the same
    bytes, and another edit is refused. Its controls are stores in its folder `controls`.

    Parameters
    ----------
    store
        A store whose samples have labels of the edit's target, or its place.
    edit
        From `Edit.of`, or loaded.
    edited
        A folder, or `s3://bucket/prefix`.
    split
        "train", "val" or "test"; None: all samples.
    controls
        The same edit in ways that must not work, each with the norm of the edit's change in every cell: "random:N"
        (directions drawn as the features are distributed), "shuffled" (the pattern of a probe of other samples'
        labels), "other-target" (those of other targets' probes), "wrong-region" (half a picture away); "worst-module"
        (modules that read worst); "none" (no edit, which gains are counted from); "donor" (activations that look as
        wanted: no null, but what a perfect edit would give); "from" (the same edit begun at each of its steps). Or
        callables from an edit to an edit.
    modules
        Whose outputs are stored, as of `extract`; none where not given.
    dtype, previews
        As of `extract`.
    model
        The pipeline that made the store; by the name that the store has for it where not given.
    device, batch_size, part, progress
        As of `extract`.

    Returns
    -------
    ActivationStore
        Of the edit itself.

    Raises
    ------
    InputError
        If the edit doesn't fit the store or the model, or a control lacks what it needs; nothing is written.
    IncompleteError
        If a sample has no label.
    FingerprintError
        If another edit made what lies there.

    Examples
    --------
    >>> import ldmscene
    >>> edited = ldmscene.intervene("stores/demo", edit, "stores/edited")  # doctest: +SKIP
    >>> ldmscene.label(edited, "mask", "tiny-mask")  # doctest: +SKIP
    """
    check_batches(batch_size, previews)
    some, source, root = Part.parse(part), opened(store), place(edited)
    check_same(edit, source.config)
    manifest = _manifest(source, split)
    jobs = {
        name: Editing(Subjects(source, _target(source, edit), one, tuple(manifest.frame["sample_id"])))
        for name, one in {"": edit, **controlled(edit, controls)}.items()
    }
    for job in jobs.values():
        job.check()
    loaded = load_model(source.model if model is None else model, device)
    with capture.with_scheduler(loaded.pipeline, scheduler_of(loaded, source)):
        plans = {name: _plan(loaded, source, job.edit, modules, dtype) for name, job in jobs.items()}
        for name, job in jobs.items():
            check_fingerprint(control_place(root, name), plans[name].config() | job.config)
        for name, job in jobs.items():
            if progress:
                say(f"{name or 'edit'}: {job.edit}")
            extraction.fill(
                plans[name], manifest, control_place(root, name), previews=previews, compression="none", editing=job,
                batch_size=batch_size, progress=progress, part=some,
            )  # fmt: skip
    note_controls(root, [name for name in jobs if name])
    return ActivationStore(root)


def _manifest(store: ActivationStore, split: str | None) -> Manifest:
    if split not in (None, *SPLITS):
        raise unknown("split", str(split), SPLITS)
    frame = store.manifest.frame
    ids = frame["sample_id"][frame["split"].eq(split) | (split is None)].tolist()
    if not ids:
        raise InputError(f"no sample of split {split!r} in {store.root}")
    return store.manifest.only(ids)


def _target(store: ActivationStore, edit: edits.Edit) -> Target:
    labels = edit.target.partition("=")[0]
    if labels not in store.targets:
        raise unknown(f"target with labels in {store.root}", labels, store.targets)
    found = targets_of(store, [labels], store.manifest.frame["sample_id"].tolist())
    return next(target for target in found if target.name == edit.target)


def _plan(
    loaded: capture.Model, store: ActivationStore, edit: edits.Edit, modules: str | Sequence[str], dtype: str
) -> capture.Plan:
    names = capture.find_modules(capture.denoiser_of(loaded.pipeline)[1], modules) if modules else []
    return plan_for(loaded, edit, modules=names, branches=store.config["branches"] if names else (), dtype=dtype)
