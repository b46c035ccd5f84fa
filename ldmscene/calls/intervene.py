"""From a store and an edit to edited pictures, and those of its controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ldmscene import capture, edits
from ldmscene.calls.dry_run import estimated_by
from ldmscene.calls.loading import load_model
from ldmscene.calls.opening import opened
from ldmscene.choices import SPLITS
from ldmscene.edits import controlled
from ldmscene.errors import InputError, unknown
from ldmscene.evaluation.targets import target_of
from ldmscene.intervention.controls import control_place
from ldmscene.intervention.filling import Editing
from ldmscene.intervention.jobs import Job, estimate, fill
from ldmscene.intervention.maps import Subjects
from ldmscene.intervention.options import DryIntervention, Intervention
from ldmscene.intervention.planning import check_edit, check_same, check_steps, plan_for, scheduler_of
from ldmscene.intervention.runs import check_labels
from ldmscene.manifest import Manifest
from ldmscene.options import takes
from ldmscene.selection import several
from ldmscene.store import ActivationStore
from ldmscene.store.metadata import read_store
from ldmscene.store.places import place


@estimated_by(DryIntervention)
@takes(Intervention)
def intervene(asked: Intervention) -> ActivationStore | dict[str, float]:
    """Generate a store's samples again while an edit changes activations, and once more for each control.

    An edited store is a store: the same call on a finished one runs no model, one that was stopped goes on to the same
    bytes, and another edit is refused. Its controls are stores in its folder `controls`.

    Parameters
    ----------
    {parameters}

    Returns
    -------
    ActivationStore, or a dict
        Of the edit itself. For a dry run, of all that is missing: `samples` of the store, `runs` (how many pictures are
        generated), `denoiser_calls`, `bytes`, `files`, `seconds`, and seconds per sample by each rule.

    Raises
    ------
    InputError
        If the edit doesn't fit the store or the model, or a control lacks what it needs; nothing is written.
    IncompleteError
        If a sample has no label.
    FingerprintError
        If another edit made what lies there.
    NonfiniteError
        If values of some samples are infinite or NaN, under the edit or a control, once all others are stored.

    Examples
    --------
    >>> import ldmscene
    >>> grid = ldmscene.evaluate("stores/demo", "mask", steps=[1, 3], cv=3, progress=False)
    >>> edit = ldmscene.Edit.of(grid, "mask", wanted="shift:0,16", modules="best:9", steps=[1, 3])
    >>> edited = ldmscene.intervene("stores/demo", edit, "stores/shifted", controls=(), samples=2, progress=False)
    >>> edited = ldmscene.label(edited, "mask", "tiny-mask", progress=False)
    >>> edited.targets
    ['mask']
    """
    check_edit(asked.edit)
    source, root = opened(asked.store), place(asked.edited)
    if read_store(root) is not None and "edit" not in ActivationStore(root).config:
        raise InputError(f"edited: {root} is a store without an edit; name another folder")
    check_same(asked.edit, source.config)
    ids = _sample_ids(source, asked.split, asked.samples)
    manifest = source.manifest.only(ids)
    todo = _todo(asked, source, manifest, ids)
    loaded = load_model(source.model if asked.model is None else asked.model, asked.device)
    with capture.with_scheduler(loaded.pipeline, scheduler_of(loaded, source)):
        plan_of = _planner(loaded, source, asked)
        jobs = [Job.of(name, control_place(root, name), plan_of(one.edit), one) for name, one in todo.items()]
        for job in jobs:
            job.check()
        if asked.dry_run:
            return estimate(jobs, asked, manifest)
        fill(jobs, asked, manifest)
    return ActivationStore(root)


def _todo(asked: Intervention, source: ActivationStore, manifest: Manifest, ids: Sequence[str]) -> dict[str, Editing]:
    """The edit of these samples, under no name, and its controls; what can't be done is refused."""
    edits = {"": asked.edit, **controlled(asked.edit, asked.controls)}
    targets = {name: target_of(source, name) for name in {one.target for one in edits.values()}}
    fitted, used = asked.edit.origin.get("labels", {}), {target.labels for target in targets.values()}
    check_labels({name: said for name, said in fitted.items() if name in used}, source)
    # Maps of an array are in the order that was asked for; what is wanted in words is of samples as they are stored.
    orders = {False: tuple(ids), True: tuple(manifest.frame["sample_id"])}
    found = {
        name: Editing(Subjects(source, targets[one.target], one, orders[isinstance(one.wanted, str)]))
        for name, one in edits.items()
    }
    # Most controls want the very maps that the edit does: each label is read once for all of these.
    for editing in {(one.edit.target, id(one.edit.wanted)): one for one in found.values()}.values():
        editing.subjects.check()
    for editing in found.values():
        editing.check()
    return found


def _sample_ids(store: ActivationStore, split: str | None, samples: int | Sequence[str] | None) -> list[str]:
    """In the order that was asked for, which wanted maps of an array share."""
    if split not in (None, *SPLITS):
        raise unknown("split", str(split), SPLITS)
    frame = store.manifest.frame
    ids: list[str] = frame["sample_id"][frame["split"].eq(split) | (split is None)].tolist()
    if not ids:
        raise InputError(f"no sample of split {split!r} in {store.root}")
    if isinstance(samples, int):
        return ids[:samples]
    named = ids if samples is None else list(dict.fromkeys(several(samples)))
    for sample_id in named:
        if sample_id not in ids:
            raise unknown(f"sample of split {split!r} in {store.root}", sample_id, ids)
    return named


def _planner(
    loaded: capture.Model, store: ActivationStore, asked: Intervention
) -> Callable[[edits.Edit], capture.Plan]:
    """Plans of edits; those of the same modules and branches share one, and its rehearsal."""
    names = capture.find_modules(capture.denoiser_of(loaded.pipeline)[1], asked.modules) if asked.modules else []
    branches = store.config["branches"] if names else ()
    plans: dict[object, capture.Plan] = {}

    def plan_of(edit: edits.Edit) -> capture.Plan:
        key = frozenset((*edit.modules, *edit.spare)), edit.branches
        if key not in plans:
            plans[key] = plan_for(loaded, edit, modules=names, branches=branches, dtype=asked.dtype)
        check_steps(edit, plans[key])
        return plans[key]

    return plan_of
