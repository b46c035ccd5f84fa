"""Statistics instead of training samples' activations: each block is generated, labelled and summed in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from typing import Any

from ldmscene import labeling, metrics
from ldmscene.capture import Plan
from ldmscene.errors import InputError
from ldmscene.evaluation.absorbing import Reduction, most_held, reduce_training
from ldmscene.evaluation.beyond import Beyond
from ldmscene.evaluation.controlling import reduce_control
from ldmscene.evaluation.holding import Held
from ldmscene.evaluation.on_device import DeviceRidge, ridge_on, say_memory
from ldmscene.evaluation.ridge import Ridge
from ldmscene.evaluation.samples import cut
from ldmscene.evaluation.task import check_same_run, check_usual_folds
from ldmscene.extraction import fill as extraction
from ldmscene.extraction.missing import existing, find_missing
from ldmscene.extraction.nonfinite import Nonfinite, refuse
from ldmscene.extraction.unchanged import check_unchanged
from ldmscene.labelers import provenance
from ldmscene.manifest import Manifest
from ldmscene.progress import bar
from ldmscene.store import ActivationStore
from ldmscene.store.compression import compress, settings
from ldmscene.store.documents import Documents
from ldmscene.store.history import Published, publish
from ldmscene.store.layout import TERMS
from ldmscene.store.places import Place
from ldmscene.store.prepare import differences


def extract_statistics(
    plan: Plan,
    manifest: Manifest,
    root: Place,
    labelers: Mapping[str, object],
    cv: int,
    *,
    device: str | None,
    progress: bool,
    **options: Any,
) -> ActivationStore:
    """Fill a store with held-out samples, and with the statistics of training samples; `options` are those of `fill`.

    Labelers that are named run on the device, the fastest there is where none is said.

    Raises
    ------
    InputError
        If the store has statistics of other training samples: folds would not be the same.
    LdmsceneError
        If values of some samples are infinite or NaN, once all others are stored, and all training samples summed of
        which no fold has such a sample before them.
    """
    check_usual_folds(manifest, cv)
    check_grids(plan)
    found = {target: labeling.resolve(labeler, device) for target, labeler in labelers.items()}
    _check_labelers(found)
    labeling.check_given(found, (plan.height, plan.width))
    store = extraction.prepare(plan, manifest, root, options["previews"], options["compression"])
    _agree(root, {"targets": sorted(found), "cv": cv})

    kind = _kind_for(plan)
    nonfinite: dict[str, Nonfinite] = {}
    fill = _filling(plan, store, nonfinite, options)

    def produce(sample_ids: Collection[str], held: Held | None) -> set[str]:
        failed = fill(sample_ids, held)
        store.refresh()
        if sound := frozenset(sample_ids) - failed:
            for target, labeler in found.items():
                labeling.label(labeling.Wanted(store, target, "image", None, sound), labeler)
        return failed

    specs = extraction.array_specs(plan, options["previews"])
    if progress and find_missing(store, manifest, specs, options["previews"], options["batch_size"]).samples:
        held = bytes_held(plan, store.manifest)
        extraction.say_bound(plan, compress(specs, options["compression"]), options["batch_size"], held)
        _say_device(store, kind, len(found))
    frame = store.manifest.frame
    with bar("extracting", len(frame), enabled=progress) as advance:
        waiting = reduce_training(Reduction(store, list(found), kind=kind), cv, produce, advance, progress=progress)
        for sample_ids in cut(frame["sample_id"][frame["split"] != "train"]):
            produce(sample_ids, None)
            advance(len(sample_ids))
    refuse(nonfinite.values(), plan.compute_dtype, **_said_of_sums(nonfinite, waiting))
    return store


def _said_of_sums(nonfinite: Mapping[str, Nonfinite], waiting: Collection[str]) -> dict[str, str]:
    """How `refuse` is to put it where training samples are not in the statistics."""
    if not waiting:
        return {}
    done = "these were not stored, all others were"
    if others := set(waiting) - set(nonfinite):
        done += f"; statistics, which take a fold's samples in order, lack {len(others)} of these others, too"
    return {"done": done, "instead": "leave them out of another store's manifest"}


def _filling(
    plan: Plan, store: ActivationStore, nonfinite: dict[str, Nonfinite], options: Mapping[str, Any]
) -> Callable[[Collection[str], Held | None], set[str]]:
    """What fills in samples of a store, notes why it can't fill others, and returns their sample_ids."""
    ask = cache(partial(check_unchanged, store, plan))  # once, not for every block

    def fill(sample_ids: Collection[str], held: Held | None) -> set[str]:
        found: list[Nonfinite] = []
        extraction.fill(
            plan, store.manifest.only(sample_ids), store.root, progress=False, ask=ask, receiver=held, nonfinite=found,
            **options,
        )  # fmt: skip
        nonfinite.update({one.sample_id: one for one in found})
        return {one.sample_id for one in found}

    return fill


def extract_control(
    plan: Plan,
    manifest: Manifest,
    root: Place,
    labelled: ActivationStore,
    beyond: str | Sequence[str],
    cv: int,
    *,
    progress: bool,
    **options: Any,
) -> ActivationStore:
    """Fill a store with what `evaluate` needs of a labelled store's control; `options` are those of `fill`.

    Raises
    ------
    InputError
        If samples, or more than the denoiser's weights, differ from those of the labelled store.
    LdmsceneError
        If values of some samples are infinite or NaN, once all is summed and scored that can be without them.
    """
    if set(manifest.keys) != set(labelled.manifest.keys):
        raise InputError(
            f"control: expected the samples of {labelled.root}, but the manifest has others; give that store's own, "
            f"{labelled.root}/manifest.parquet"
        )
    if Beyond.of(beyond, labelled.targets).latent:
        raise InputError(
            "beyond: expected 'position' and targets, since a control's statistics hold no products with the latent; "
            "leave 'latent' out"
        )
    _check_modules(plan, root, labelled)
    check_usual_folds(labelled.manifest, cv)
    check_grids(plan)
    check_same_run(labelled.config, plan.config() | settings(options["compression"]), root)
    control = extraction.prepare(plan, labelled.manifest, root, False, options["compression"])
    _agree(root, {"targets": [], "cv": cv, "control": True})

    kind = _kind_for(plan)
    nonfinite: dict[str, Nonfinite] = {}
    produce = _filling(plan, control, nonfinite, options)
    specs = compress(extraction.array_specs(plan, False), options["compression"])
    if progress and find_missing(control, manifest, specs, False, options["batch_size"]).samples:
        extraction.say_bound(plan, specs, options["batch_size"], bytes_held(plan, control.manifest))
        _say_device(control, kind, len(labelled.targets))
    some = control.manifest.frame["split"].isin(("train", "test")).sum()
    with bar("extracting the control", int(some), enabled=progress) as advance:
        waiting = reduce_control(labelled, control, beyond, cv, produce, advance, kind=kind, progress=progress)
    refuse(
        nonfinite.values(),
        plan.compute_dtype,
        done=f"these were neither summed nor scored, and {len(set(waiting) - set(nonfinite))} others wait for them",
        anew="other stores, for the control and what it controls",
        instead="leave them out of the manifests of both",
    )
    return control


def _check_modules(plan: Plan, root: Place, labelled: ActivationStore) -> None:
    """Refuse modules that the labelled store lacks, whether they are asked for or in the control's store already."""
    there = existing(root)
    for names, advice in (
        ([module.name for module in plan.every], "leave modules= out, and those of that store are taken"),
        (there.modules if there else [], f"{root} has them, so use another store for the control"),
    ):
        if strange := [name for name in names if name not in labelled.modules]:
            raise InputError(
                f"control: expected modules of {labelled.root}, which lacks {len(strange)}, {strange[0]} among them; "
                f"{advice}"
            )


def _kind_for(plan: Plan) -> Ridge:
    # One that is offloaded between its calls is on the CPU, and runs elsewhere.
    return ridge_on(str(plan.pipeline._execution_device))


def _say_device(store: ActivationStore, kind: Ridge, targets: int) -> None:
    if isinstance(kind, DeviceRidge):
        say_memory(store, store.modules, kind.device, targets)


def bytes_held(plan: Plan, manifest: Manifest) -> int:
    """Of activations that wait in memory at most until they are summed."""
    sizes = [spec.layout.shard_bytes for spec in extraction.array_specs(plan, False) if spec.path.kind == "activations"]
    return most_held(len(manifest), sum(sizes))


def check_grids(plan: Plan) -> None:
    """Refuse modules that no probe can be fitted to, before anything is generated for them."""
    for module in plan.every:
        if "y" not in module.dims:
            raise InputError(f"{module.name} has no (y, x) grid to probe; leave it out of modules=")


def _check_labelers(labelers: Mapping[str, object]) -> None:
    for target, labeler in labelers.items():
        labeling.check_target(target)
        kind = provenance(labeler, None, None).get("kind", "continuous")
        if kind not in metrics.DEFAULT:
            raise InputError(
                f"labelers: {target!r} holds {kind}, and statistics are for numbers and masks; store activations, "
                "or give a labeler for one class as a mask"
            )


def _agree(root: Place, terms: dict[str, Any]) -> None:
    """Note what the statistics are of, or refuse to go on with anything else."""
    told = json.dumps(terms).encode()

    def agreed(now: Published) -> Documents:
        if (before := now.documents.get(TERMS, told)) != told:
            found = differences(json.loads(before), json.loads(told))
            said = "; ".join(f"{path} {old} then, {new} now" for path, old, new in found)
            raise InputError(
                f"{root} keeps statistics, which can't become those of this call: {said}; use another store"
            )
        return {TERMS: told}

    publish(root, agreed)
