"""From a manifest to a store of activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from diffusers import DiffusionPipeline

from ldmscene import capture
from ldmscene.calls.options import check_batches, load_model
from ldmscene.calls.statistics import extract_statistics
from ldmscene.errors import InputError, LdmsceneError
from ldmscene.evaluation.task import CV
from ldmscene.extraction import fill as extraction
from ldmscene.extraction.cluster import extract_on
from ldmscene.extraction.estimate import estimate
from ldmscene.extraction.missing import Part, find_missing
from ldmscene.labelers import Labeler
from ldmscene.manifest import Manifest, read_manifest
from ldmscene.store import ActivationStore
from ldmscene.store.compression import compress, settings
from ldmscene.store.places import Place, place
from ldmscene.store.prepare import fingerprint


def extract(
    model: str | Path | DiffusionPipeline | capture.Model,
    manifest: str | Path | Manifest | pd.DataFrame | Sequence[tuple[str, int]],
    store: str | Place | None = None,
    modules: str | Sequence[str] = "self-attention",
    *,
    steps: int = 15,
    guidance_scale: float = 7.5,
    negative_prompt: str = "",
    scheduler: object = None,
    height: int | None = None,
    width: int | None = None,
    branch: str = "cond",
    dtype: str = "float16",
    device: str | None = None,
    compute_dtype: str | None = None,
    variant: str | None = None,
    revision: str | None = None,
    batch_size: int = 1,
    previews: bool | str = False,
    compression: str = "none",
    dry_run: bool = False,
    progress: bool = True,
    part: str = "1/1",
    client=None,
    allow_nonfinite: bool = False,
    keep: str = "activations",
    labelers: Mapping[str, str | Labeler | Callable] | None = None,
) -> ActivationStore | dict[str, float]:
    """Generate what a store lacks of a manifest, and keep the denoiser's activations.

    The same call on a finished store runs no model; more prompts or modules extend it.

    Parameters
    ----------
    model
        "tiny-scenes" (the embedded model), a local folder, a hub id, or a loaded diffusers pipeline.
    manifest
        A CSV or Parquet file, a pandas.DataFrame, a `Manifest`, or (prompt, seed) pairs; see `read_manifest`.
    store
        A folder, or `s3://bucket/prefix` (endpoint and credentials: the usual AWS environment variables).
        None: a folder under `stores/`, named by the fingerprint.
    modules
        A preset ("self-attention", "cross-attention", "resnet", "all-blocks"), a glob, a name, or a list of them.
    steps
        Number of denoising steps. Where a scheduler calls the denoiser several times in one, each call is a step of
        the store. 15 steps at guidance 7.5 are those of Chen et al. (2023). Distilled models need their own: Flux
        schnell 4, Sana Sprint 2, Z-Image turbo 8.
    guidance_scale
        As the pipeline takes it. For most, 1 turns guidance off, and there is no unconditional branch then.
    negative_prompt
        The unconditional branch's prompt.
    scheduler
        None (the pipeline's own), a diffusers class name, or a scheduler.
    height, width
        Pixels; the model's default where not given.
    branch : {"cond", "uncond", "both"}
        Halves of classifier-free guidance to keep.
    dtype : {"float16", "float32"}
        Of the stored activations. A sample with values that overflow isn't stored, and is an error at the end.
    device
        Where a model that is given by name runs, such as "cuda"; the fastest there is where not given.
    compute_dtype : {"float32", "bfloat16", "float16"}, optional
        Precision in which a model that is given by name runs; float32 where not given, of which Flux needs 65 GB. It
        is part of the fingerprint.
    variant
        Which weights of a model that is given by name are loaded, such as "fp16".
    revision
        Branch, tag or commit of a hub id.
    batch_size
        Samples generated together. Their noise doesn't depend on it.
    previews
        Keep the decoded x_t and predicted x_0 of each step: for all samples (True), or for one split, by name.
    compression : {"none", "lossless", "rounded"}
        Of what is stored; `ldmscene.store.compression` says what it saves and costs. "rounded" keeps 7 bits of an
        activation's mantissa, and is part of the fingerprint.
    dry_run
        Run the first batch that is missing, and return what all that is missing would take: bytes, files, memory,
        seconds. Nothing is kept.
    progress
        Show a bar where there is a terminal.
    part
        "2/4": the second of four processes that fill one store at once, without knowing of each other. A part is a
        share of the batches, so that all four must have the same `batch_size`.
    client
        A `dask.distributed` client: each worker loads a pipeline of its own and fills a part; when one is lost, the
        others do its part. The model is then a folder or a hub id that every worker can read, the scheduler a name.
    allow_nonfinite
        Also store samples with infinite or NaN values; the ledger counts them, and probes can't be fitted to them.
    keep : {"activations", "statistics"}
        "statistics": of training samples, keep just what `evaluate` needs of them for the targets in `labelers`.
        They are labelled as they are generated, and dropped 16 by 16; held-out samples stay as they are.
    labelers
        Target to labeler, as `label` takes them, for keep="statistics".

    Returns
    -------
    ActivationStore, or a dict
        For a dry run, of what the store lacks: `samples`, `bytes`, `files`, `seconds`; where something is missing,
        `bytes_of_memory`, the most that this process has held, model and first batch included; of it,
        `bytes_of_memory_for_samples` at most; and what these follow from, by names that say their units.

    Raises
    ------
    InputError
        If an argument can't be used; nothing is written.
    FingerprintError
        If the store was made with another configuration; the message says what differs.
    WriteError
        If the disk fails; finished samples stay.
    LdmsceneError
        If values are infinite or NaN, once all other samples are stored; or if workers left samples missing.
    """
    check_batches(batch_size, previews)
    if keep not in ("activations", "statistics"):
        raise InputError(f"keep must be 'activations' or 'statistics'; got {keep!r}")
    if keep == "statistics" and (client is not None or part != "1/1" or not labelers):
        raise InputError("keep='statistics' needs labelers=, and runs in one process: without client= and part=")
    some = Part.parse(part)
    if client is not None and not (isinstance(model, str | Path) and isinstance(scheduler, str | None)):
        raise InputError("with client=, name the model and the scheduler: each worker loads a pipeline of its own")
    table = read_manifest(manifest)
    loaded = load_model(model, device, compute_dtype, variant, revision)
    with capture.with_scheduler(loaded.pipeline, scheduler):
        plan = capture.make_plan(
            loaded.pipeline,
            modules=modules,
            steps=steps,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            height=height,
            width=width,
            branch=branch,
            dtype=dtype,
            hashes=loaded.hashes,
        )
        root = (
            place(store) if store is not None else Path("stores") / fingerprint(plan.config() | settings(compression))
        )
        how: dict[str, Any] = {"previews": previews, "compression": compression, "batch_size": batch_size}
        if dry_run:
            kept = labelers or {} if keep == "statistics" else ()
            return estimate(plan, table, root, **how, part=some, statistics=kept, folds=CV)
        how |= {"progress": progress, "allow_nonfinite": allow_nonfinite}
        if keep == "statistics":
            return extract_statistics(plan, table, root, labelers or {}, CV, **how)
        if client is None:
            return extraction.fill(plan, table, root, **how, part=some)
        root = root.absolute() if isinstance(root, Path) else root  # workers have folders of their own to work in
        filled = extraction.prepare(plan, table, root, previews, compression)
        specs = extraction.array_specs(plan, previews)
        if progress and find_missing(filled, table, specs, previews, batch_size).samples:
            extraction.say_bound(plan, compress(specs, compression), batch_size)
    same = partial(
        extract, _absolute(model), table, root, modules, steps=steps, guidance_scale=guidance_scale,
        negative_prompt=negative_prompt, scheduler=scheduler, height=height, width=width, branch=branch, dtype=dtype,
        device=device, compute_dtype=compute_dtype, variant=variant, revision=revision, batch_size=batch_size,
        previews=previews, compression=compression, progress=False, allow_nonfinite=allow_nonfinite,
    )  # fmt: skip
    failures = extract_on(client, same)
    filled.refresh()
    left = find_missing(filled, table, specs, previews, batch_size).sample_ids
    if left:
        why = f"; the first failure of {len(failures)}: {failures[0]}" if failures else ""
        raise LdmsceneError(
            f"{len(left)} of {len(table)} samples are missing in {root}, and the same call makes them: "
            f"{', '.join(left)}{why}"
        ) from (failures[0] if failures else None)
    return filled


def _absolute(model: object) -> object:
    """A model's folder as every process finds it; a name as it is."""
    return Path(model).absolute() if isinstance(model, str | Path) and Path(model).is_dir() else model
