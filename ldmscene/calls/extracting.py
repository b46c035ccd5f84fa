"""What `extract`, `estimate` and their kin for supplied images do, once all that is asked for was checked."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ldmscene import capture
from ldmscene.calls.loading import load_model
from ldmscene.calls.opening import opened
from ldmscene.calls.statistics import bytes_held, extract_control, extract_statistics
from ldmscene.capture import Plan
from ldmscene.errors import LdmsceneError
from ldmscene.evaluation.scope import evaluated_modules
from ldmscene.evaluation.task import CV
from ldmscene.extraction import estimate as estimation
from ldmscene.extraction import fill as extraction
from ldmscene.extraction.cluster import extract_on
from ldmscene.extraction.inputs import SampleInputs
from ldmscene.extraction.missing import existing, find_missing
from ldmscene.extraction.options import FromImages, FromPrompts
from ldmscene.extraction.part import Part
from ldmscene.extraction.supplied import SuppliedPictures
from ldmscene.manifest import IMAGE, Manifest
from ldmscene.module_names import in_denoiser
from ldmscene.progress import say
from ldmscene.prompts import tell_leaks
from ldmscene.selection import several
from ldmscene.store import ActivationStore
from ldmscene.store.compression import compress, settings
from ldmscene.store.fingerprints import fingerprint
from ldmscene.store.metadata import read_store
from ldmscene.store.places import Place, place
from ldmscene.text import counted
from ldmscene.verdicts.draws import FEWEST


def extract(asked: FromPrompts, table: Manifest) -> ActivationStore:
    """Fill a store: in this process, with statistics instead of training samples, or by a cluster's workers."""
    asked = _of_its_store(asked)
    with planned(asked) as (plan, root):
        table = _as_read(asked, table, plan)
        how = asked.storing() | {"progress": asked.progress, "allow_nonfinite": asked.allow_nonfinite}
        how |= {"images": _pictures(asked)}
        if asked.progress and asked.control is None and read_store(root) is None:
            say(_samples_in_words(table))
        if asked.control is not None:
            return extract_control(plan, table, root, opened(asked.control), asked.beyond, CV, **how)
        if asked.keep == "statistics":
            return extract_statistics(plan, table, root, asked.labelers or {}, CV, device=asked.device, **how)
        if asked.client is None:
            return extraction.fill(plan, table, root, **how, part=Part.parse(asked.part))
        root = root.absolute() if isinstance(root, Path) else root  # workers have folders of their own to work in
        filled = extraction.prepare(plan, table, root, asked.previews, asked.compression)
        specs = extraction.array_specs(plan, asked.previews)
        if asked.progress and find_missing(filled, table, specs, asked.previews, asked.batch_size).samples:
            extraction.say_bound(plan, compress(specs, asked.compression), asked.batch_size)
    failures = extract_on(asked.client, _for_a_worker(asked, table, root))
    filled.refresh()
    left = find_missing(filled, table, specs, asked.previews, asked.batch_size).sample_ids
    if left:
        why = f"; the first failure of {len(failures)}: {failures[0]}" if failures else ""
        raise LdmsceneError(
            f"{len(left)} of {len(table)} samples are missing in {root}, and the same call makes them: "
            f"{', '.join(left)}{why}"
        ) from (failures[0] if failures else None)
    return filled


def estimate(asked: FromPrompts, table: Manifest) -> dict[str, float]:
    """What it would take to fill a store."""
    asked = _of_its_store(asked)
    kept: Collection[str] = asked.labelers or {} if asked.keep == "statistics" else ()
    if asked.control is not None:
        kept = opened(asked.control).targets
    with planned(asked) as (plan, root):
        table = _as_read(asked, table, plan)
        return estimation.estimate(
            plan, table, root, **asked.storing(), images=_pictures(asked), part=Part.parse(asked.part),
            statistics=kept, folds=CV, held_out=asked.control is None,
            held=bytes_held(plan, table) if kept else 0,
        )  # fmt: skip


def _of_its_store(asked: FromPrompts) -> FromPrompts:
    """A control has those modules of its store that are evaluated, where none are named."""
    if asked.control is None or several(asked.modules) != [FromPrompts.modules]:
        return asked
    return replace(asked, modules=evaluated_modules(opened(asked.control)))


def _samples_in_words(table: Manifest) -> str:
    """How many samples of each split there will be, and whether the held-out ones are too few for a finding."""
    counts = table.frame["split"].value_counts(sort=False).to_dict()
    prompts = len(set(table.groups[table.frame["split"] == "test"]))
    held_out = {"test": f" ({counted(prompts, 'prompt')})"}
    said = ", ".join(f"{count} {split}{held_out.get(split, '')}" for split, count in counts.items())
    few = f"; below {FEWEST} held-out prompts nothing can be shown" if prompts < FEWEST else ""
    return f"samples: {said}{few}"


def _as_read(asked: FromPrompts, table: Manifest, plan: Plan) -> Manifest:
    """The samples with what the model reads of each prompt; tells of prompts that leak into another split."""
    prompts = table.frame["prompt"].tolist()
    read = capture.readings(plan.pipeline, prompts)
    if IMAGE not in table.table.column_names:  # or splits are by picture
        tell_leaks(prompts, read, table.frame["split"].tolist(), refuse=asked.leaks == "refuse")
    return table.with_readings(read)


@contextmanager
def planned(asked: FromPrompts) -> Iterator[tuple[Plan, Place]]:
    """The plan, with its scheduler in the pipeline inside the block, and where its store lies."""
    loaded = load_model(asked.model, **asked.weights())
    loaded = loaded if asked.control is None else loaded.permuted()
    with capture.with_scheduler(loaded.pipeline, asked.scheduler):
        inputs = _inputs(asked)
        plan = capture.make_plan(
            loaded.pipeline, **asked.plan(), hashes=loaded.hashes, decode_each=_decodes_each(asked),
            inputs=capture.Inputs(inputs.sizes, inputs.same),
        )  # fmt: skip
        if inputs and asked.batch_size > 1:
            capture.check_batches(plan)
        named = Path("stores") / fingerprint(plan.config() | settings(asked.compression))
        yield plan, named if asked.store is None else place(asked.store)


def _decodes_each(asked: FromPrompts) -> bool:
    """Whether the autoencoder's modules have every step: with all previews; of a control, as in its store."""
    if asked.control is None:
        return asked.previews is True
    store = opened(asked.control)
    return any(store.steps_of(module) == store.steps for module in set(store.modules) - set(in_denoiser(store.modules)))


def _inputs(asked: FromPrompts) -> SampleInputs:
    assert asked.inputs is None or isinstance(asked.inputs, SampleInputs), "read_inputs comes first"
    return asked.inputs or SampleInputs()


def _pictures(asked: FromPrompts) -> SampleInputs | None:
    """Of each sample, where there are such."""
    return _inputs(asked) if _inputs(asked).files else None


def _for_a_worker(asked: FromPrompts, table: Manifest, root: Place) -> partial[Any]:
    """A call of `extract` that needs its part alone, and that another process can load."""
    own = replace(asked, model=_absolute(asked.model), manifest=table, store=root, progress=False, client=None)
    return partial(_extract_part, own, table)


def _extract_part(asked: FromPrompts, table: Manifest, part: str) -> ActivationStore:
    return extract(replace(asked, part=part), table)


def _absolute(model: Any) -> Any:
    """A model's folder as every process finds it; a name as it is."""
    return Path(model).absolute() if isinstance(model, str | Path) and Path(model).is_dir() else model


def extract_images(asked: FromImages, table: Manifest, images: SuppliedPictures) -> ActivationStore:
    """Fill a store along supplied images."""
    if there := existing(place(asked.store)):
        images.check_splits(there.manifest, table.frame["split"].tolist())
    with _planned_along(asked, images) as plan:
        return extraction.fill(
            plan, table, place(asked.store), **asked.storing(), images=images, part=Part.parse(asked.part),
            progress=asked.progress, allow_nonfinite=asked.allow_nonfinite,
        )  # fmt: skip


def estimate_images(asked: FromImages, table: Manifest, images: SuppliedPictures) -> dict[str, float]:
    """What it would take to fill a store along supplied images."""
    with _planned_along(asked, images) as plan:
        return estimation.estimate(
            plan, table, place(asked.store), **asked.storing(), images=images, part=Part.parse(asked.part)
        )


@contextmanager
def _planned_along(asked: FromImages, images: SuppliedPictures) -> Iterator[Plan]:
    loaded = load_model(asked.model, **asked.weights())
    along = capture.supplied_scheduler(loaded.pipeline.scheduler, asked.timesteps)
    size: dict[str, Any] = {"steps": len(asked.timesteps), "height": images.size[0], "width": images.size[1]}
    with capture.with_scheduler(loaded.pipeline, along):
        yield capture.make_plan(loaded.pipeline, **asked.plan(), **size, hashes=loaded.hashes)
