"""The path from a manifest to a report, each arrow once.

manifest ─► extract ─► store ─► label ─► evaluate ─► report
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from diffusers import DiffusionPipeline

from ldmscene import capture, testbed
from ldmscene.errors import InputError, LdmsceneError
from ldmscene.grid import interval
from ldmscene.labelers import GivenLabels, Labeler
from ldmscene.manifest import SPLITS, Manifest, image_manifest, read_manifest
from ldmscene.probes.ridge_probe import ALPHAS
from ldmscene.report import write_figures, write_site
from ldmscene.stages import evaluation, extraction, keeping, labeling, reporting, task
from ldmscene.stages import recognition as _recognition
from ldmscene.stages.cluster import extract_on
from ldmscene.stages.estimate import estimate
from ldmscene.stages.given import read_images
from ldmscene.stages.missing import Part, find_missing
from ldmscene.store import ActivationStore
from ldmscene.store.check import Fault, find_faults
from ldmscene.store.compression import compress, settings
from ldmscene.store.files import naming_the_cause
from ldmscene.store.kept import VERSION
from ldmscene.store.layout import PREVIEWS, intermediate_path
from ldmscene.store.places import Place, place
from ldmscene.store.prepare import fingerprint
from ldmscene.table import Grid

CV = 5  # folds over prompts


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
    _check_batches(batch_size, previews)
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
            return keeping.extract_statistics(plan, table, root, labelers or {}, CV, **how)
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


def load_model(
    model: str | Path | DiffusionPipeline | capture.Model,
    device: str | None,
    compute_dtype: str | None = None,
    variant: str | None = None,
    revision: str | None = None,
) -> capture.Model:
    """A model as `extract` takes it, loaded once for several calls."""
    place = testbed.MODELS.get(str(model), model)
    return capture.Model.load(place, device, compute_dtype=compute_dtype, variant=variant, revision=revision)


def _check_batches(batch_size: int, previews: bool | str) -> None:
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    if previews not in (True, False, *SPLITS):
        raise InputError(f"previews must be True, False or a split ({', '.join(SPLITS)}); got {previews!r}")


def extract_images(
    model: str | Path | DiffusionPipeline,
    images: np.ndarray | str | Path | Sequence[str | Path],
    store: str | Path,
    modules: str | Sequence[str] = "self-attention",
    *,
    timesteps: Sequence[float],
    prompts: str | Sequence[str] = "",
    seeds: int | Sequence[int] = 0,
    splits: Sequence[str] | None = None,
    guidance_scale: float = 1.0,
    negative_prompt: str = "",
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
    allow_nonfinite: bool = False,
) -> ActivationStore | dict[str, float]:
    """Noise given images to chosen timesteps, call the denoiser once at each, and keep its activations.

    As in DDPM segmentation (Baranchuk et al. 2022) and DIFT (Tang et al. 2023), so that labels that are known
    exactly, of rendered or annotated pictures, can be used. The store is like that of `extract`: `step` counts the
    timesteps, `image` holds what was given. The same call on a finished store runs nothing.

    Parameters
    ----------
    images
        uint8 (n, Y, X, 3), a folder, or a list of files; all of the size at which the model shall see them.
    timesteps
        Of the model's training, in the order of `step`: whole numbers from 0 to 999 for most models.
    prompts, seeds
        One for all images, or one for each. The seed is that of an image's noise, the same at every timestep.
    splits
        "train", "val" or "test" for each image; drawn by image where not given.

    Others as for `extract`.

    Returns
    -------
    ActivationStore, or a dict
        As of `extract`.

    Raises
    ------
    InputError
        If an argument can't be used; nothing is written.
    FingerprintError
        If the store was made with another configuration; the message says what differs.
    WriteError
        If the disk fails; finished samples stay.
    LdmsceneError
        If values are infinite or NaN, once all other samples are stored.
    """
    _check_batches(batch_size, previews)
    some = Part.parse(part)
    given = read_images(images)
    count = len(given.hashes)
    table = image_manifest(given.hashes, _each("prompts", prompts, count), _each("seeds", seeds, count), splits)
    loaded = load_model(model, device, compute_dtype, variant, revision)
    with capture.with_scheduler(loaded.pipeline, capture.given_scheduler(loaded.pipeline.scheduler, timesteps)):
        plan = capture.make_plan(
            loaded.pipeline,
            modules=modules,
            steps=len(timesteps),
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            height=given.size[0],
            width=given.size[1],
            branch=branch,
            dtype=dtype,
            hashes=loaded.hashes,
        )
        how: dict[str, Any] = {"previews": previews, "compression": compression, "batch_size": batch_size}
        how |= {"images": given, "part": some}
        if dry_run:
            return estimate(plan, table, place(store), **how)
        return extraction.fill(plan, table, place(store), **how, progress=progress, allow_nonfinite=allow_nonfinite)


def _each(name: str, value: Any, count: int) -> list:
    values = [value] * count if isinstance(value, str | int) else list(value)
    if len(values) != count:
        raise InputError(f"{name} must be one for all or one for each of the {count} images; got {len(values)}")
    return values


def label(
    store: ActivationStore | str | Path,
    target: str,
    labeler: str | Labeler | GivenLabels | Callable[[np.ndarray], np.ndarray] | Mapping | xr.DataArray,
    *,
    kind: str | None = None,
    threshold: float | None = None,
    on: str = "image",
    split: str | None = None,
    device: str | None = None,
    batch_size: int = 32,
    progress: bool = True,
) -> ActivationStore:
    """Add labels for a target to a store; samples that have theirs are left alone.

    A function is known by its name, and by what it makes of a few samples that have their labels: one that reads those
    otherwise is refused.

    Parameters
    ----------
    store
        A store, or its place.
    target
        What the labels are called: letters, digits, ".", "_" and "-".
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
        Of a binary target: pixels above it are foreground. It is kept with the labels, which stay soft.
    on : {"image", "noisy", "predicted"}
        The final images; or the decoded x_t or predicted x_0 of each step, as a baseline for probes.
    split
        Label one split only.
    device
        Of a labeler that is given by name; the fastest there is where not given.
    batch_size
        Pictures read together.
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
    """
    opened = _opened(store)
    wanted = labeling.Wanted(opened, target, on, split)
    labeling.label(
        wanted, labeler, kind=kind, threshold=threshold, device=device, batch_size=batch_size, progress=progress
    )
    return opened


def recognition(
    store: ActivationStore | str | Path,
    target: str = "class",
    *,
    top: int = 1,
    subjects: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """From which step on a classifier names the subject, and with what probability.

    Needs `label(store, target, "vgg16")` on the final pictures, and with on="noisy", on="predicted" or both.

    Parameters
    ----------
    store
        A store, or its place.
    target
        Under which name the classifier's answers are stored.
    top
        The subject counts as named while it is among so many likeliest classes.
    subjects : mapping of sample_id to class name, optional
        What the pictures show; the classifier's own answer on the final picture where not given.

    Returns
    -------
    pandas.DataFrame
        One row for each (sample, source, step): `named` and its `probability`; `subject`, `subject_probability`,
        `subject_rank` from 1; and `recognised`, true from the step on from which the subject stays named.
        `frame[frame.recognised].groupby(["source", "sample_id"]).step.min()` is the answer by sample.

    Raises
    ------
    InputError
        If there is no such target or class.
    IncompleteError
        If no unfinished pictures were read.
    """
    return _recognition.recognition(_opened(store), target, top, subjects)


def recognition_sentences(store: ActivationStore | str | Path) -> list[str]:
    """What `recognition` finds, in words: for each classifier whose answers are stored, and each kind of picture."""
    opened = _opened(store)
    named = [path.split("/")[1] for path in opened.complete_paths if path.startswith("predictions/")]
    named = [t for t in named if any(opened.complete(intermediate_path(source, t)) for source in PREVIEWS)]
    frames = {target: recognition(opened, target) for target in named}
    return [_recognition.sentence(f, target, source) for target, f in frames.items() for source in f["source"].unique()]


def evaluate(
    store: ActivationStore | str | Path,
    targets: str | Sequence[str] | None = None,
    modules: str | Sequence[str] | None = None,
    steps: int | Sequence[int] | None = None,
    *,
    cv: int = CV,
    alphas: Sequence[float] = ALPHAS,
    permuted: ActivationStore | str | Path | None = None,
    client=None,
    progress: bool = True,
) -> Grid:
    """Fit a probe at every (target, module, step) on the training samples and score it on the test samples.

    A ridge for each target, exact at label resolution; binary targets get log odds from it, by the linear
    discriminant of the same statistics. The penalty is chosen by cross-validation over groups of prompts. Each
    activation is read once, in blocks: memory doesn't grow with the number of samples. The grid is kept in the store,
    so that the same call again reads it, and so are statistics: other `alphas` read no activation.

    Parameters
    ----------
    store
        A store, or its place.
    targets, modules
        Names or globs of what to evaluate; all that the store has where not given.
    steps
        Which denoiser calls, from 0 (`store.steps`), rather than how many; all where not given.
    cv
        Folds over groups of prompts, at least 2, by which the penalty is chosen.
    alphas
        Penalties to choose from, at least two, all positive:
        of Σ over label pixels (y − prediction)² + alpha × |coefficients|².
    permuted
        A store of the same samples from the model with permuted weights: the same probes are fitted on it.
    client
        A `dask.distributed` client; local threads where not given.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    Grid
        An `xarray.Dataset` as `ldmscene.grid` describes it; its `to_dataframe` is a tidy table.

    Raises
    ------
    IncompleteError
        If a sample lacks activations or labels.
    InputError
        If a name, the splits or the control don't fit.
    """
    opened = _opened(store)
    control = _opened(permuted) if permuted is not None else None
    scope = task.Scope.of(opened, targets, modules, steps)
    cv, alphas = task.check_choice(cv, alphas)
    made_from = {
        **vars(scope),
        "cv": cv,
        "alphas": alphas,
        "ldmscene": version("ldmscene"),
        "computed": VERSION,
        "data": reporting.state(opened, scope.targets),
        "permuted": reporting.state(control, []) if control else None,
    }
    path = reporting.grid_file(opened, made_from)
    if path.exists():
        return _as_grid(reporting.load_grid(path))
    todo = task.load_task(opened, scope, cv, alphas)
    if control is not None:
        task.check_control(opened, control, scope, todo)
    bench = evaluation.set_up(opened, todo, scope, client, progress=progress)
    grid = evaluation.fit(bench, scope, control, client, "fitting" if progress else "")
    bounds = interval(grid["probe"])
    grid["low"], grid["high"] = bounds["low"], bounds["high"]
    grid.attrs["provenance"] = json.dumps(reporting.provenance(opened, made_from, control))
    reporting.keep_grid(grid, path)
    return _as_grid(grid)


def _as_grid(dataset: xr.Dataset) -> Grid:
    return Grid(dataset.data_vars, dataset.coords, dataset.attrs)


def write_report(
    store: ActivationStore | str | Path,
    grid: xr.Dataset,
    folder: str | Path,
    *,
    samples: int | Sequence[str] | None = None,
    command: str = "",
    progress: bool = True,
) -> Path:
    """Write a folder of static pages that open from `file://`, with figures as PDF, SVG and PNG.

    Parameters
    ----------
    store
        A store, or its place.
    grid
        What `evaluate` made of that store.
    folder
        Made where needed; what an earlier report left there is replaced.
    samples
        Held-out samples to show with their pictures: ids, or how many from the first on. Where not given, all that
        fit into about 100 MB: some 250 of Stable Diffusion at 15 steps, more of smaller models. Fewer leave room for
        finer maps of all modules. The scores are always those of all held-out samples.
    command
        How the report is made again, to be shown with its provenance.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    pathlib.Path
        The page to open first.

    Raises
    ------
    UnknownNameError
        If no held-out sample is called so.
    WriteError
        If the folder can't be written to.
    """
    data = reporting.report_data(_opened(store), grid, samples)
    if command:
        data = replace(data, provenance={**data.provenance, "command": command})
    with naming_the_cause(Path(folder)):
        reporting.unmark(Path(folder))
        figures = write_figures(data, Path(folder) / "figures", progress=progress)
        page = write_site(data, folder, figures=figures, progress=progress)
        reporting.mark(Path(folder), grid, data.samples.index.tolist())
    return page


def list_modules(model: str | Path | DiffusionPipeline, modules: str | Sequence[str] | None = None) -> list[dict]:
    """Modules of a model's denoiser, with the shapes of their outputs.

    From the model's configurations alone, at the size that it was made for: no weights are needed.

    Parameters
    ----------
    model
        As `extract` takes it.
    modules
        Presets, globs or names; attention, ResNet and block modules where not given.

    Returns
    -------
    list of dict
        Each with `module`, `block`, `dims`, `shape`, and `bytes_per_step` in float16 for one branch.

    Raises
    ------
    UnknownNameError
        If no module is called so.
    InputError
        If the model isn't there, or its configuration doesn't tell the shapes.
    """
    denoiser = capture.load_outline(testbed.MODELS.get(str(model), model))
    names = capture.find_modules(denoiser, modules or capture.presets_in(denoiser))
    shapes = capture.outline_shapes(denoiser, names)
    return [
        {
            "module": m.name,
            "block": capture.stage(m.name),
            "dims": m.dims,
            "shape": m.shape,
            "bytes_per_step": 2 * m.values,
        }
        for m in shapes
    ]


def verify(store: ActivationStore | str | Path, *, progress: bool = True) -> list[Fault]:
    """Compare every byte that a store's ledger vouches for with its checksum, and look for statistics that are gone.

    Works on stores that are too broken to be opened. `ldmscene.repair` drops what is broken from the ledger, so that
    the next `extract` or `label` makes it again.

    Parameters
    ----------
    store
        A store, or its place.
    progress
        Show a bar where there is a terminal.

    Returns
    -------
    list of Fault
        Each with `sample_id` (empty where it belongs to no sample), `what` and `why`; empty if all is well.

    Raises
    ------
    StoreError
        If there is no store.
    """
    return find_faults(store, progress=progress) or keeping.find_lost(_opened(store))


def open_store(path: str | Path) -> ActivationStore:
    """Open an existing store.

    Parameters
    ----------
    path
        A folder, `file://…` or `s3://bucket/prefix`.

    Raises
    ------
    StoreError
        If there is none, or a newer ldmscene wrote it.
    """
    return ActivationStore(path)


def _opened(store: ActivationStore | str | Path) -> ActivationStore:
    return store if isinstance(store, ActivationStore) else ActivationStore(store)
