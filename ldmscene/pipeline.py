"""The path from a manifest to a report, each arrow once.

manifest ─► extract ─► store ─► label ─► evaluate ─► report
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr
from diffusers import DiffusionPipeline

from ldmscene import capture, testbed
from ldmscene.errors import InputError, unknown
from ldmscene.labelers import Labeler
from ldmscene.manifest import SPLITS, Manifest, read_manifest
from ldmscene.report import write_figures, write_site
from ldmscene.stages import baselines as _baselines
from ldmscene.stages import evaluation, extraction, labeling, reporting, task
from ldmscene.store import ActivationStore
from ldmscene.store.files import naming_the_cause
from ldmscene.store.prepare import fingerprint

CV = 5  # folds over prompts
ALPHAS = tuple(float(a) for a in np.logspace(-1, 6, 8))


def extract(
    model: str | Path | DiffusionPipeline,
    manifest: str | Path | Manifest | Sequence[tuple[str, int]],
    store: str | Path | None = None,
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
    batch_size: int = 1,
    previews: bool | str = False,
    dry_run: bool = False,
    progress: bool = True,
) -> ActivationStore | dict[str, int]:
    """Generate what a store lacks of a manifest, and keep the denoiser's activations.

    The same call on a finished store runs no model; more prompts or modules extend it.

    Parameters
    ----------
    model
        "tiny-scenes" (the embedded model), a local folder, a hub id, or a loaded diffusers pipeline.
    manifest
        A CSV or Parquet file, a `Manifest`, or (prompt, seed) pairs.
    store
        A folder. None: one under `stores/`, named by the fingerprint.
    modules
        A preset ("self-attention", "cross-attention", "resnet", "all-blocks"), a glob, a name, or a list of them.
    scheduler
        None (the pipeline's own), a diffusers class name, or a scheduler.
    height, width
        Pixels; the model's default where not given.
    branch : {"cond", "uncond", "both"}
        Halves of classifier-free guidance to keep.
    dtype : {"float16", "float32"}
        Of the stored activations. Values that overflow stop the run.
    batch_size
        Samples generated together. Their noise doesn't depend on it.
    previews
        Keep the decoded x_t and predicted x_0 of each step: for all samples (True), or for one split, by name.
    dry_run
        Return what the run would take, and write nothing.

    Returns
    -------
    ActivationStore, or a dict of bytes and counts for a dry run

    Raises
    ------
    InputError
        If an argument can't be used; nothing is written.
    FingerprintError
        If the store was made with another configuration; the message says what differs.
    WriteError
        If the disk fails; finished samples stay.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    if previews not in (True, False, *SPLITS):
        raise InputError(f"previews must be True, False or a split ({', '.join(SPLITS)}); got {previews!r}")
    table = read_manifest(manifest)
    pipeline = capture.load_pipeline(testbed.MODELS.get(str(model), model), device)
    with capture.with_scheduler(pipeline, scheduler):
        plan = capture.make_plan(
            pipeline,
            modules=modules,
            steps=steps,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            height=height,
            width=width,
            branch=branch,
            dtype=dtype,
        )
        if dry_run:
            return extraction.estimate(plan, table, previews)
        root = Path(store) if store is not None else Path("stores") / fingerprint(plan.config())
        return extraction.fill(plan, table, root, previews=previews, batch_size=batch_size, progress=progress)


def label(
    store: ActivationStore | str | Path,
    target: str,
    labeler: str | Labeler | Callable[[np.ndarray], np.ndarray],
    *,
    on: str = "image",
    split: str | None = None,
    batch_size: int = 32,
    progress: bool = True,
) -> ActivationStore:
    """Add labels for a target to a store; pictures that have theirs are left alone.

    Parameters
    ----------
    labeler
        A name ("tiny-depth", "tiny-mask", "tiny-shading"), or a callable from uint8 images (n, Y, X, 3) to
        float maps (n, Y, X), or to a mapping of them by target. NaN marks a pixel without label.
    on : {"image", "noisy", "predicted"}
        The final images; or the decoded x_t or predicted x_0 of each step, as a baseline for probes.
    split
        Label one split only.
    """
    opened = _opened(store)
    found = _find_labeler(labeler) if isinstance(labeler, str) else labeler
    labeling.read_pictures(opened, target, found, on=on, split=split, batch_size=batch_size, progress=progress)
    return opened


def evaluate(
    store: ActivationStore | str | Path,
    targets: str | Sequence[str] | None = None,
    modules: str | Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    *,
    cv: int = CV,
    alphas: Sequence[float] = ALPHAS,
    permuted: ActivationStore | str | Path | None = None,
    client=None,
) -> xr.Dataset:
    """Fit a probe at every (target, module, step) on the training samples and score it on the test samples.

    Continuous targets get a ridge, binary ones a logistic regression, exact at label resolution. The penalty is
    chosen by cross-validation over groups of prompts. The result is kept in the store: the same call again reads it.

    Parameters
    ----------
    targets, modules, steps
        What to evaluate; all that the store has where not given.
    permuted
        A store of the same samples from the model with permuted weights: the same probes are fitted on it.
    client
        A `dask.distributed` client; local threads where not given.

    Returns
    -------
    xarray.Dataset
        As `ldmscene.grid` describes it.

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
    made_from = {
        **vars(scope),
        "cv": cv,
        "alphas": list(alphas),
        "ldmscene": version("ldmscene"),
        "data": reporting.state(opened, scope.targets),
        "permuted": reporting.state(control, []) if control else None,
    }
    path = reporting.grid_file(opened, made_from)
    if path.exists():
        return reporting.load_grid(path)
    todo = task.load_task(opened, scope, cv, alphas)
    if control is not None:
        task.check_control(opened, control, scope, todo)
    bench = evaluation.set_up(opened, todo, scope, client)
    grid = evaluation.fit_store(bench, scope, client)
    grid["baseline"] = _baselines.baselines(bench, scope.steps, client)
    if control is not None:
        grid["permuted"] = evaluation.fit_store(bench.on(control), scope, client)["probe"]
    grid.attrs["provenance"] = json.dumps(reporting.provenance(opened, made_from, control))
    reporting.keep_grid(grid, path)
    return grid


def write_report(store: ActivationStore | str | Path, grid: xr.Dataset, folder: str | Path) -> Path:
    """Write a folder of static pages that open from `file://`, with figures as PDF, SVG and PNG.

    Returns
    -------
    pathlib.Path
        The page to open first.

    Raises
    ------
    WriteError
        If the folder can't be written to.
    """
    data = reporting.report_data(_opened(store), grid)
    with naming_the_cause(Path(folder)):
        page = write_site(data, Path(folder), figures=write_figures(data, Path(folder) / "figures"))
        reporting.mark(Path(folder), grid)
    return page


def run(
    manifest: str | Path | Manifest | Sequence[tuple[str, int]],
    *,
    store: str | Path,
    report: str | Path,
    model: str | Path = "tiny-scenes",
    labelers: Mapping[str, str | Labeler | Callable] | None = None,
    control: bool = True,
    **options,
) -> tuple[xr.Dataset, Path]:
    """The whole path: extract, label, evaluate with both baselines and the control, report.

    Parameters
    ----------
    labelers
        Target to labeler. The embedded model has its own three where none are given.
    control
        Also extract from the model with permuted weights, into a store beside this one.
    options
        Of `extract`, except `previews` and `dry_run`.

    Returns
    -------
    The grid, and the report's first page.
    """
    if labelers is None:
        labelers = _own_labelers(model)
    found = {t: _find_labeler(one) if isinstance(one, str) else one for t, one in labelers.items()}
    table = read_manifest(manifest)
    task.check_splits(table, CV)
    pipeline = capture.load_pipeline(testbed.MODELS.get(str(model), model), options.pop("device", None))
    flat = [
        m["module"] for m in list_modules(pipeline, options.get("modules", "self-attention")) if "y" not in m["dims"]
    ]
    if flat:
        raise InputError(f"{flat[0]} has no (y, x) grid to probe; leave it out of modules")
    extract(pipeline, table, store, previews="test", **options)
    filled = ActivationStore(store)
    for target, labeler in found.items():
        label(filled, target, labeler)
        for source in ("noisy", "predicted"):
            label(filled, target, labeler, on=source, split="test")
    beside = f"{store}-permuted" if control else None
    if control:
        extract(capture.permute_weights(pipeline), table, beside, **options)
    grid = evaluate(filled, list(found), permuted=beside)
    page = reporting.up_to_date(Path(report), grid)
    return grid, page or write_report(filled, grid, report)


def _own_labelers(model: str | Path) -> dict[str, str]:
    if str(model) not in testbed.MODELS:
        raise InputError(
            f"name the labelers for {model}, as TARGET=LABELER; "
            f"{', '.join(testbed.LABELERS)} know the testbed's world only"
        )
    return {name.removeprefix("tiny-"): name for name in testbed.LABELERS}


def list_modules(model: str | Path | DiffusionPipeline, modules: str | Sequence[str] = "self-attention") -> list[dict]:
    """Modules of a model's denoiser with the shape of their outputs, and bytes a step in float16 for one branch."""
    pipeline = capture.load_pipeline(testbed.MODELS.get(str(model), model), "cpu")
    size = pipeline.unet.config.sample_size
    names = capture.find_modules(pipeline.unet, modules)
    shapes = capture.module_shapes(pipeline.unet, names, (size, size), pipeline.tokenizer.model_max_length)
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


def open_store(path: str | Path) -> ActivationStore:
    """Open an existing store.

    Raises
    ------
    StoreError
        If there is none, or a newer ldmscene wrote it.
    """
    return ActivationStore(path)


def _opened(store: ActivationStore | str | Path) -> ActivationStore:
    return store if isinstance(store, ActivationStore) else ActivationStore(store)


def _find_labeler(name: str) -> Labeler:
    if name not in testbed.LABELERS:
        raise unknown("labeler", name, testbed.LABELERS)
    return testbed.LABELERS[name]
