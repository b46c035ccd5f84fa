"""The interventions of a run: edits that were planned before there was a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ldmscene import capture
from ldmscene.calls.edit import Edit
from ldmscene.calls.intervene import intervene
from ldmscene.calls.label import label
from ldmscene.edits import Readout, controlled
from ldmscene.edits.controls import SHUFFLED
from ldmscene.errors import FingerprintError, InputError
from ldmscene.extraction.missing import existing
from ldmscene.extraction.options import FromPrompts
from ldmscene.intervention.controls import control_place
from ldmscene.manifest import Manifest
from ldmscene.protocols import PlannedEdit, Protocol, usual_edits
from ldmscene.store import ActivationStore
from ldmscene.store.layout import IMAGE
from ldmscene.store.metadata import read_store
from ldmscene.store.places import Place, place
from ldmscene.table import Grid


def plan_edits(named: Protocol | None, targets: Sequence[str], plan: capture.Plan) -> list[PlannedEdit]:
    """A protocol's edits, or those of any other run, for the targets that there are.

    Raises
    ------
    InputError
        If there is no target, or the run lacks a module or a step of one; nothing was extracted yet.
    """
    if plan.inputs.names:
        raise InputError("interventions: an edit needs a pipeline that takes a prompt alone; leave them out")
    if not targets:
        raise InputError("interventions: expected a labeler that reads new pictures; supplied labels can't judge them")
    steps, names = len(plan.timesteps), [module.name for module in plan.modules]
    own = named.plan_edits(min(plan.height, plan.width)) if named else ()
    planned = own or usual_edits(targets, len(names), steps, plan.width)
    found = [one for one in planned if one.target in targets]
    for one in found:
        lacking = [] if isinstance(one.modules, str) else [name for name in one.modules if name not in names]
        if lacking:
            raise InputError(f"interventions: the edit of {one.target} needs {lacking[0]}; add it to modules=")
        if max(one.steps) >= steps:
            raise InputError(f"interventions: the edit of {one.target} needs {max(one.steps) + 1} steps, got {steps}")
    return found


def missing_runs(planned: Sequence[PlannedEdit], store: str | Place, table: Manifest) -> int:
    """How many pictures are still to be generated, by all edits and their controls."""
    samples = one_of_each_prompt(table)
    roots = [
        control_place(place(root_of(store, one)), name)
        for one in planned
        for name in ("", *controlled(_blank(one), one.controls))
    ]
    done = [opened.complete(IMAGE) if (opened := existing(root)) else frozenset[str]() for root in roots]
    return sum(len(set(samples) - complete) for complete in done)


def root_of(store: str | Place, planned: PlannedEdit) -> str:
    """Beside the run's store."""
    return f"{store}-edited/{planned.name}"


def _blank(planned: PlannedEdit) -> Edit:
    """The edit without its probes."""
    zero = np.zeros(1, np.float32)
    readout = Readout(zero, 0.0, zero, np.zeros((1, 1), np.float32), zero, {SHUFFLED: zero})
    readouts = {("", step): readout for step in planned.steps}
    return Edit(planned.target, True, planned.wanted, ("",), planned.steps, readouts, rule=planned.rule)


def one_of_each_prompt(table: Manifest) -> list[str]:
    """The first held-out sample of each prompt."""
    held_out = table.frame[table.frame["split"] == "test"]
    return [str(name) for name in held_out.drop_duplicates("prompt_id")["sample_id"]]


def intervene_as_planned(
    store: ActivationStore, grid: Grid, planned: Sequence[PlannedEdit], labelers: Mapping[str, Any], asked: FromPrompts
) -> list[ActivationStore]:
    """Edited stores beside a store, labelled; each edit on one held-out sample of each prompt."""
    samples, found = one_of_each_prompt(store.manifest), []
    model = asked.model
    assert isinstance(model, capture.Model)
    for one in planned:
        edit = Edit.of(grid, one.target, wanted=one.wanted, modules=one.modules, steps=one.steps, rule=one.rule)
        edit = replace(
            edit, spare=(), readouts={at: edit.readouts[at] for at in edit.positions}
        )  # no control needs more
        root = root_of(str(asked.store), one)
        _check_probes(root, edit)
        edited = intervene(
            store, edit, root, samples=samples, controls=one.controls,
            model=model, batch_size=asked.batch_size, progress=asked.progress,
        )  # fmt: skip
        for target, labeler in labelers.items():
            label(edited, target, labeler, progress=asked.progress)
        found.append(edited)
    return found


def _check_probes(root: str, edit: Edit) -> None:
    there = read_store(place(root))
    if there is not None and there.contents.attributes["config"].get("edit", {}).get("fingerprint") != edit.fingerprint:
        raise FingerprintError(
            f"{root} was edited by other probes than this run's, to which training samples were added, or of which "
            f"something else has changed since; delete {root} and run again: all else is done"
        )
