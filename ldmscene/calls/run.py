"""The whole path as one call, and what it would take.

extract ─► label ─► the labelers on unfinished pictures ─► the permuted control ─► evaluate ─► edits ─► report
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ldmscene import labeling, protocols
from ldmscene.calls.checking import check_model, check_place
from ldmscene.calls.command import command
from ldmscene.calls.report_mark import check_folder
from ldmscene.choices import EMBEDDED, EMBEDDED_GUIDANCE
from ldmscene.errors import InputError
from ldmscene.evaluation.task import check_usual_folds
from ldmscene.extraction.inputs import read_inputs
from ldmscene.extraction.missing import existing
from ldmscene.extraction.options import RUNS_DECIDE, FromPrompts
from ldmscene.extraction.training import check_training
from ldmscene.labelers import LABELERS, Labeler, SuppliedLabels
from ldmscene.manifest import Manifest
from ldmscene.store.places import place

if TYPE_CHECKING:
    import pandas as pd

    from ldmscene.table import Grid


def run(
    manifest: str | Path | Manifest | pd.DataFrame | Sequence[tuple[str, int]],
    *,
    store: str | Path,
    report: str | Path,
    model: str | Path | None = None,
    protocol: str | None = None,
    labelers: Mapping[str, str | Labeler | SuppliedLabels | Callable[..., Any]] | None = None,
    control: bool = True,
    interventions: bool = False,
    dry_run: bool = False,
    progress: bool = True,
    **options: Any,
) -> tuple[Grid, Path] | dict[str, Any]:
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
        Also run the model with permuted weights. Only statistics of it are stored, beside this store.
    interventions
        Also edit what the probes read, on one held-out sample of each prompt, and measure what becomes of the pictures,
        beside their controls: the protocol's edits, or each target moved by a quarter of the width. Edited stores lie
        in a folder beside the store, `STORE-edited`.
    dry_run
        Return what the run would take, and write nothing.
    progress
        Show bars where there is a terminal.
    options
        Of `extract`, but for those that a run decides itself: `previews`, `part`, `client`, `keep`,
        `allow_nonfinite`. The embedded model's `guidance_scale` is 3 where not given.

    Returns
    -------
    (Grid, Path), or a dict
        The grid, and the report's first page. For a dry run what `extract` foretells, and `bytes_of_labels`,
        `bytes_of_the_control`, `bytes_of_all`, `seconds_of_labels`, `seconds_of_the_control`, `seconds_of_all`,
        `runs_of_edits`, `bytes_of_edits` and `seconds_of_edits`, the last without what a rule itself takes.

    Raises
    ------
    InputError
        If an argument can't be used, or a labeler isn't there; nothing is written.
    FingerprintError
        If a store was made with another configuration.
    WriteError
        If a disk fails; what is finished stays, and the same call goes on from there.

    Examples
    --------
    >>> import ldmscene
    >>> grid, page = ldmscene.run(
    ...     "manifests/demo.csv", store="stores/run", report="pages/run", steps=2, control=False, progress=False
    ... )
    >>> grid["target"].values.tolist(), page.name
    (['depth', 'mask', 'shading'], 'index.html')
    """
    if unfit := RUNS_DECIDE & options.keys():
        raise InputError(f"a run takes no {min(unfit)}=; call extract, label and evaluate one after the other")
    if strange := options.keys() - {option.name for option in fields(FromPrompts)}:
        raise TypeError(f"run() got an unexpected keyword argument {min(strange)!r}")
    typed = {"model": model, "protocol": protocol, "labelers": labelers, **options}
    typed |= ({} if control else {"control": False}) | ({"interventions": True} if interventions else {})
    again = manifest if isinstance(manifest, str | Path) else f"{store}/manifest.parquet"
    line = command("run", again, store=store, report=report, **typed)
    named = protocols.find(protocol) if protocol is not None else None
    table, inputs = read_inputs(manifest, options.get("inputs"))
    check_usual_folds(table)
    line = "" if inputs.files and again != manifest else line  # a store's manifest names no files
    check_place(store)
    _check_report(report, store)
    if control:
        _check_control(store, table)
    model = model or (named.model if named else EMBEDDED)
    labelers = _labelers(model, protocols.completed(named.labelers, labelers) if named else labelers, table)
    check_model(model, options.get("revision"))
    if named:
        options = named.fill(options)
    elif str(model) == EMBEDDED:
        options = {"guidance_scale": EMBEDDED_GUIDANCE, **options}
    asked = FromPrompts(model, table, store, previews="test", progress=progress, **options | {"inputs": inputs})
    from ldmscene.calls import running  # which loads torch, now that all that is asked for makes sense

    also = running.Also(control, interventions, named)
    if dry_run:
        return running.estimate(asked, table, labelers, also)
    return running.run(asked, table, labelers, report, also, line)


def _check_report(report: str | Path, store: str | Path) -> None:
    """Refuse a report's folder that holds anything else, or will hold the store."""
    check_folder(Path(report))
    lies, folder = Path(realpath(store)), Path(realpath(report))
    if "://" not in str(store) and folder in (lies, *lies.parents):
        raise InputError(
            f"report: expected a folder of its own, but the store {store} is to lie in {report}; name another"
        )


def _check_control(store: str | Path, table: Manifest) -> None:
    """Refuse training samples that the control's statistics can't take in, before the store itself takes them in."""
    there, beside = existing(place(store)), f"{store}-permuted"
    whole = there.manifest.extended(table) if there else table
    check_training(place(beside), whole, f"delete {beside}, or run without the control (control=False, --no-control)")


def _labelers(model: str | Path, asked: Mapping[str, Any] | None, table: Manifest) -> dict[str, Any]:
    """Labelers by target, the model's own where none are asked for; what can't be used is refused."""
    replaced = asked and not any(map(protocols.is_empty, asked.values()))
    labelers = protocols.completed({} if replaced else _own_labelers(model), asked)
    for target, one in labelers.items():
        labeling.check_target(target)
        if isinstance(one, str):
            labeling.check_name(one)
        elif isinstance(one, Mapping | xr.DataArray | np.ndarray):
            labeling.check_supplied(labeling.resolve(one), target, table.frame["sample_id"].tolist())
    if not any(map(labeling.gives_maps, labelers.values())):
        raise InputError("labelers: expected at least one that gives maps, which probes can be fitted to")
    return labelers


def _own_labelers(model: str | Path) -> dict[str, str]:
    own = {entry.target: entry.name for entry in LABELERS.values() if entry.model == str(model)}
    if not own:
        theirs = ", ".join(entry.name for entry in LABELERS.values() if entry.model)
        raise InputError(f"name the labelers for {model}, as TARGET=LABELER; {theirs} know the testbed's world only")
    return own


def check_own(store: str, manifest: str | Path | Manifest, inputs: Mapping[str, Any] | None = None) -> None:
    """Refuse a place that nobody named and that holds samples of another manifest: they would be evaluated together."""
    opened = existing(place(store))
    held = set(opened.manifest.frame["sample_id"]) if opened else set()
    strange = held - set(read_inputs(manifest, inputs)[0].frame["sample_id"]) if held else held
    if strange:
        raise InputError(
            f"{store} holds {len(strange)} samples that this manifest lacks, {min(strange)} among them; name a store"
        )
