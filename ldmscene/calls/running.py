"""What `run` does, once its arguments were checked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ldmscene import capture, labeling
from ldmscene.calls import extracting
from ldmscene.calls.evaluate import evaluate
from ldmscene.calls.intervening import intervene_as_planned, missing_runs, plan_edits
from ldmscene.calls.label import label
from ldmscene.calls.loading import load_model
from ldmscene.calls.report_data import report_data, shown_samples, with_transfer
from ldmscene.calls.report_mark import up_to_date
from ldmscene.calls.shown_edits import shown_edits
from ldmscene.calls.statistics import check_grids
from ldmscene.calls.write_report import write_pages
from ldmscene.device import peak_memory
from ldmscene.evaluation.scope import evaluated_modules
from ldmscene.extraction.fill import array_specs
from ldmscene.extraction.missing import existing
from ldmscene.extraction.options import FromPrompts
from ldmscene.labelers import SuppliedLabels
from ldmscene.manifest import Manifest
from ldmscene.progress import say
from ldmscene.protocols import PlannedEdit, Protocol
from ldmscene.store.layout import SOURCES, intermediate_path, label_path
from ldmscene.store.places import Place, place
from ldmscene.table import Grid


@dataclass(frozen=True)
class Also:
    """What a run does beside extracting, labelling and evaluating.

    Attributes
    ----------
    control : bool
        The same probes on the model with permuted weights.
    interventions : bool
        Edits, of the protocol or the usual ones.
    named : Protocol, optional
        The run's.
    """

    control: bool = True
    interventions: bool = False
    named: Protocol | None = None

    def edits(self, labelers: Mapping[str, Any], plan: capture.Plan) -> list[PlannedEdit]:
        """InputError if the plan lacks what one needs, or no labeler reads pictures that are new."""
        return plan_edits(self.named, _judges(labelers), plan) if self.interventions else []


def run(
    asked: FromPrompts,
    table: Manifest,
    labelers: Mapping[str, Any],
    report: str | Path,
    also: Also,
    line: str,
) -> tuple[Grid, Path]:
    """From a manifest to a report; `line` is the command that does the same."""
    found = {target: labeling.resolve(one, asked.device) for target, one in labelers.items()}
    for target, one in found.items():
        if isinstance(one, SuppliedLabels):
            labeling.check_supplied(one, target, table.frame["sample_id"].tolist())
    loaded = load_model(asked.model, **asked.weights())
    asked = replace(asked, model=loaded)
    edits = _checked(asked, labelers, also, found)
    filled = extracting.extract(asked, table)
    for target, labeler in found.items():
        label(filled, target, labeler, progress=asked.progress)
        for source in SOURCES if labeling.reads_pictures(labeler) else ():
            label(filled, target, labeler, on=source, split="test", progress=asked.progress)
    beside = f"{asked.store}-permuted" if also.control else None
    if also.control:
        modules = evaluated_modules(filled)
        own = replace(asked, store=beside, modules=modules, previews=False, control=filled)
        extracting.extract(own, filled.manifest)
    grid = evaluate(filled, _maps(labelers), permuted=beside, progress=asked.progress)
    with capture.with_scheduler(loaded.pipeline, asked.scheduler):
        edited = intervene_as_planned(filled, grid, edits, {name: found[name] for name in _judges(labelers)}, asked)
    shown = shown_edits(filled, grid, edited)
    for one in shown if asked.progress else ():
        say(one.sentence if one.sentence.startswith(f"{one.name}: ") else f"{one.name}: {one.sentence}")
    if page := up_to_date(Path(report), grid, shown_samples(filled, grid), edited):
        return grid, page
    data = with_transfer(report_data(filled, grid), filled)
    return grid, write_pages(data, report, edited, shown, command=line, progress=asked.progress)


def _maps(labelers: Mapping[str, Any]) -> list[str]:
    """Targets that probes can be fitted to."""
    return [target for target, one in labelers.items() if labeling.gives_maps(one)]


def _judges(labelers: Mapping[str, Any]) -> list[str]:
    """Of these, the targets whose labelers can read edited pictures."""
    return [target for target in _maps(labelers) if labeling.reads_pictures(labelers[target])]


def _checked(
    asked: FromPrompts, labelers: Mapping[str, Any], also: Also, found: Mapping[str, Any]
) -> list[PlannedEdit]:
    """The run's edits; modules without a map, and targets that no labeler gives, are refused before the extraction."""
    with extracting.planned(asked) as (plan, _root):
        check_grids(plan)
        labeling.check_given(found, (plan.height, plan.width))
        return also.edits(labelers, plan)


def estimate(asked: FromPrompts, table: Manifest, labelers: Mapping[str, Any], also: Also) -> dict[str, Any]:
    """The extraction's estimate, and what labels, control and edits add to it; of each what is missing."""
    asked = replace(asked, model=load_model(asked.model, **asked.weights()))
    assert asked.store is not None
    found, store = extracting.estimate(asked, table), asked.store
    ids, test = table.frame["sample_id"], table.frame["split"].eq("test")
    size, calls = (int(found["height"]), int(found["width"])), int(found["denoiser_calls_per_sample"])

    def pictures_of(target: str, labeler: object) -> int:
        sources = SOURCES if labeling.reads_pictures(labeler) else ()
        unfinished = sum(_without(store, intermediate_path(source, target), ids[test]) for source in sources)
        return _without(store, label_path(target), ids) + calls * unfinished

    pictures = {target: pictures_of(target, one) for target, one in labelers.items()}
    labels = 4 * size[0] * size[1] * sum(pictures[target] for target in _maps(labelers))
    controls = _incomplete(f"{store}-permuted", table) if also.control else 0
    of_control = len(_maps(labelers)) * found["bytes_of_statistics_of_a_target"] if controls else 0
    each = {
        target: labeling.seconds_per_picture(one, size, asked.device) if pictures[target] else 0.0
        for target, one in labelers.items()
    }
    reading = sum(pictures[target] * (seconds or 0.0) for target, seconds in each.items())
    runs, bytes_of_a_run = _runs_of_edits(asked, table, labelers, also)
    anew = found["seconds_per_sample"] or (_seconds_anew(asked, table) if controls or runs else 0.0)
    again, edited = controls * anew, runs * (anew + sum(seconds or 0.0 for seconds in each.values()))
    found |= {"bytes_of_memory": peak_memory()} if found["samples"] or any(pictures.values()) else {}
    untimed = ", ".join(target for target, seconds in each.items() if seconds is None)
    return {
        **found,
        "bytes_of_labels": labels,
        "bytes_of_the_control": of_control,
        "bytes_of_all": found["bytes"] + labels + of_control + runs * bytes_of_a_run,
        "seconds_of_labels": reading,
        "seconds_of_the_control": again,
        "seconds_of_all": found["seconds"] + reading + again + edited,
        "runs_of_edits": runs,
        "bytes_of_edits": runs * bytes_of_a_run,
        "seconds_of_edits": edited,
        **({"labelers_that_are_not_here_to_be_timed": untimed} if untimed else {}),
    }


def _runs_of_edits(asked: FromPrompts, table: Manifest, labelers: Mapping[str, Any], also: Also) -> tuple[int, int]:
    """How many pictures edits and their controls are short of, and the bytes of one with its labels and wanted map."""
    assert asked.store is not None
    with extracting.planned(asked) as (plan, _root):
        edits = also.edits(labelers, plan)
        arrays = array_specs(replace(plan, modules=()), previews=False)
    maps = 4 * plan.height * plan.width * (len(_maps(labelers)) + 1)
    runs = missing_runs(edits, asked.store, table) if edits else 0
    return runs, maps + sum(spec.layout.shard_bytes for spec in arrays)


def _seconds_anew(asked: FromPrompts, table: Manifest) -> float:
    """For each sample, as if there were no store yet."""
    with tempfile.TemporaryDirectory() as folder:
        anew = replace(asked, store=Path(folder) / "store", previews=False)
        return extracting.estimate(anew, table)["seconds_per_sample"]


def _without(store: str | Place, path: str, sample_ids: pd.Series) -> int:
    """How many samples lack an array."""
    opened = existing(place(store))
    return int((~sample_ids.isin(opened.complete(path) if opened else ())).sum())


def _incomplete(store: str | Place, table: Manifest) -> int:
    opened = existing(place(store))
    done = opened.samples.query("complete")["sample_id"] if opened else ()
    return int((~table.frame["sample_id"].isin(done)).sum())
