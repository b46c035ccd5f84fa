"""The whole path as one call, and what it would take.

extract ─► label ─► the labelers on unfinished pictures ─► the permuted control ─► evaluate ─► report
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from diffusers import DiffusionPipeline

from ldmscene import capture, protocols
from ldmscene.calls.command import command
from ldmscene.calls.evaluate import evaluate
from ldmscene.calls.extract import extract
from ldmscene.calls.label import label
from ldmscene.calls.options import load_model
from ldmscene.calls.report_data import shown_samples
from ldmscene.calls.report_mark import up_to_date
from ldmscene.calls.write_report import write_report
from ldmscene.device import peak_memory
from ldmscene.errors import InputError
from ldmscene.evaluation.task import CV, check_splits
from ldmscene.extraction.estimate import existing
from ldmscene.labelers import LABELERS, Labeler, SuppliedLabels
from ldmscene.labeling import label as labeling
from ldmscene.manifest import Manifest, read_manifest
from ldmscene.store import ActivationStore
from ldmscene.store.layout import PREVIEWS, intermediate_path, label_path
from ldmscene.store.places import place
from ldmscene.table import Grid


def run(
    manifest: str | Path | Manifest | pd.DataFrame | Sequence[tuple[str, int]],
    *,
    store: str | Path,
    report: str | Path,
    model: str | Path | None = None,
    protocol: str | None = None,
    labelers: Mapping[str, str | Labeler | SuppliedLabels | Callable] | None = None,
    control: bool = True,
    dry_run: bool = False,
    progress: bool = True,
    **options,
) -> tuple[Grid, Path] | dict:
    """The whole path: extract, label, evaluate with both baselines and the control, report.

    Parameters
    ----------
    manifest
        As `extract` takes it; it needs both splits, train and test.
    store, report
        Where the store and the report lie; what is there already isn't done again. The control's store lies beside.
    model
        "tiny-scenes" or the protocol's, where not given.
    protocol : {"scenes"}, optional
        A published experiment: its model, options and labelers, each of which an argument given here overrides.
    labelers
        Target to labeler, as `label` takes them. The embedded model has its own three where none are given; of a
        protocol's, "" leaves one out.
    control
        Also extract from the model with permuted weights, into a store beside this one.
    dry_run
        Return what the run would take, and write nothing.
    progress
        Show bars where there is a terminal.
    options
        Of `extract`, but for those that a run decides itself: `previews`, `part`, `client`, `keep`,
        `allow_nonfinite`.

    Returns
    -------
    (Grid, Path), or a dict
        The grid, and the report's first page. For a dry run what `extract` foretells, and `bytes_of_labels`,
        `bytes_of_the_control`, `bytes_of_all`, `seconds_of_labels`, `seconds_of_the_control`, `seconds_of_all`.

    Raises
    ------
    InputError
        If an argument can't be used, or a labeler isn't there; nothing is written.
    FingerprintError
        If a store was made with another configuration.
    WriteError
        If a disk fails; what is finished stays, and the same call goes on from there.
    """
    if unfit := {"previews", "part", "client", "keep", "allow_nonfinite"} & options.keys():
        raise InputError(f"a run takes no {min(unfit)}=; call extract, label and evaluate one after the other")
    asked = {"model": model, "protocol": protocol, "labelers": labelers, **options}
    asked |= {} if control else {"control": False}
    if protocol is not None:
        model, labelers, options = protocols.find(protocol).fill(model, labelers, options)
    model = model or "tiny-scenes"
    replaced = labelers and not any(map(protocols.is_empty, labelers.values()))
    labelers = protocols.completed({} if replaced else _own_labelers(model), labelers)
    table = read_manifest(manifest)
    check_splits(table, CV)
    for name in (one for one in labelers.values() if isinstance(one, str)):
        labeling.check_name(name)
    maps = [target for target, one in labelers.items() if labeling.gives_maps(one)]
    if not maps:
        raise InputError("labelers: expected at least one that gives maps, which probes can be fitted to")
    if dry_run:
        return _estimate_run(model, table, store, labelers, maps, control, options)
    device = options.pop("device", None)
    found = {target: labeling.resolve(one, device) for target, one in labelers.items()}
    for target, one in found.items():
        if isinstance(one, SuppliedLabels):
            labeling.check_supplied(one, target, table.frame["sample_id"].tolist())
    loaded = load_model(model, device, *(options.pop(name, None) for name in ("compute_dtype", "variant", "revision")))
    _check_grids(loaded.pipeline, options)
    extract(loaded, table, store, previews="test", progress=progress, **options)
    filled = ActivationStore(store)
    for target, labeler in found.items():
        label(filled, target, labeler, progress=progress)
        for source in PREVIEWS if labeling.reads_pictures(labeler) else ():
            label(filled, target, labeler, on=source, split="test", progress=progress)
    beside = f"{store}-permuted" if control else None
    if control:
        extract(loaded.permuted(), table, beside, progress=progress, **options)
    grid = evaluate(filled, maps, permuted=beside, progress=progress)
    page = up_to_date(Path(report), grid, shown_samples(filled, grid))
    if page is None:
        again = manifest if isinstance(manifest, str | Path) else f"{store}/manifest.parquet"
        typed = command("run", again, store=store, report=report, **asked)
        page = write_report(filled, grid, report, command=typed, progress=progress)
    return grid, page


def check_own(store: str, manifest: str | Path | Manifest) -> None:
    """Refuse a place that nobody named and that holds samples of another manifest: they would be evaluated together."""
    opened = existing(place(store))
    held = set(opened.manifest.frame["sample_id"]) if opened else set()
    strange = held - set(read_manifest(manifest).frame["sample_id"])
    if strange:
        raise InputError(
            f"{store} holds {len(strange)} samples that this manifest lacks, {min(strange)} among them; name a store"
        )


def _check_grids(pipeline: DiffusionPipeline, options: Mapping[str, Any]) -> None:
    """Refuse modules that no probe can be fitted to, before anything is extracted."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(extract).parameters.items()}
    planned = inspect.signature(capture.make_plan).parameters.keys() & defaults.keys()
    with capture.with_scheduler(pipeline, options.get("scheduler")):
        plan = capture.make_plan(pipeline, **{name: options.get(name, defaults[name]) for name in planned})
    for module in plan.modules:
        if "y" not in module.dims:
            raise InputError(f"{module.name} has no (y, x) grid to probe; leave it out of modules")


def _estimate_run(
    model: str | Path,
    table: Manifest,
    store: str | Path,
    labelers: Mapping[str, Any],
    maps: Sequence[str],
    control: bool,
    options: dict,
) -> dict:
    """The extraction's estimate, and what the labels and the control add to it; of each what is missing."""
    found = extract(model, table, store, previews="test", dry_run=True, **options)
    assert isinstance(found, dict)
    ids, test = table.frame["sample_id"], table.frame["split"].eq("test")
    size, calls = (int(found["height"]), int(found["width"])), int(found["denoiser_calls_per_sample"])

    def pictures_of(target: str, labeler: object) -> int:
        sources = PREVIEWS if labeling.reads_pictures(labeler) else ()
        unfinished = sum(_without(store, intermediate_path(source, target), ids[test]) for source in sources)
        return _without(store, label_path(target), ids) + calls * unfinished

    pictures = {target: pictures_of(target, one) for target, one in labelers.items()}
    labels = 4 * size[0] * size[1] * sum(pictures[target] for target in maps)
    controls = _incomplete(f"{store}-permuted", table) if control else 0
    each = {
        target: labeling.seconds_per_picture(one, size, options.get("device")) if pictures[target] else 0.0
        for target, one in labelers.items()
    }
    reading = sum(pictures[target] * (seconds or 0.0) for target, seconds in each.items())
    again = controls * (found["seconds_per_sample"] or (_seconds_anew(model, table, options) if controls else 0.0))
    found |= {"bytes_of_memory": peak_memory()} if found["samples"] or any(pictures.values()) else {}
    untimed = ", ".join(target for target, seconds in each.items() if seconds is None)
    return {
        **found,
        "bytes_of_labels": labels,
        "bytes_of_the_control": controls * found["bytes_per_sample"],
        "bytes_of_all": found["bytes"] + labels + controls * found["bytes_per_sample"],
        "seconds_of_labels": reading,
        "seconds_of_the_control": again,
        "seconds_of_all": found["seconds"] + reading + again,
        **({"labelers_that_are_not_here_to_be_timed": untimed} if untimed else {}),
    }


def _seconds_anew(model: str | Path, table: Manifest, options: dict) -> float:
    """For each sample, as if there were no store yet."""
    with tempfile.TemporaryDirectory() as folder:
        found = extract(model, table, Path(folder) / "store", dry_run=True, **options)
    assert isinstance(found, dict)
    return found["seconds_per_sample"]


def _without(store: str | Path, path: str, sample_ids: pd.Series) -> int:
    """How many samples lack an array."""
    opened = existing(place(store))
    return int((~sample_ids.isin(opened.complete(path) if opened else ())).sum())


def _incomplete(store: str | Path, table: Manifest) -> int:
    opened = existing(place(store))
    done = opened.samples.query("complete")["sample_id"] if opened else ()
    return int((~table.frame["sample_id"].isin(done)).sum())


def _own_labelers(model: str | Path) -> dict[str, str]:
    own = {entry.target: entry.name for entry in LABELERS.values() if entry.model == str(model)}
    if not own:
        theirs = ", ".join(entry.name for entry in LABELERS.values() if entry.model)
        raise InputError(f"name the labelers for {model}, as TARGET=LABELER; {theirs} know the testbed's world only")
    return own
