"""What `check` does, once all that is asked for was checked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ldmscene import capture
from ldmscene.array_types import AnyArray
from ldmscene.calls.loading import load_model
from ldmscene.capture import Plan
from ldmscene.capture.canary import canary, first_difference, tolerance, turned_on
from ldmscene.capture.conditions import example
from ldmscene.capture.hooks import quiet, running_uncompiled
from ldmscene.capture.parts import modules_by_name
from ldmscene.errors import InputError
from ldmscene.extraction.fill import array_specs

SEED = 0


def checked(
    model: Any,
    modules: str | Sequence[str],
    steps: int,
    guidance_scale: float,
    inputs: Mapping[str, Any],
    how: dict[str, str | None],
) -> dict[str, Any]:
    """What was found, as `ldmscene.check` returns it."""
    loaded = load_model(model, **how)
    plan = _plan(loaded, modules, steps, guidance_scale, inputs)
    branches = _branches(plan)
    raw = _heard(plan)
    orders = {m.name: _order(plan, m, branches) for m in plan.every}
    start = time.perf_counter()
    (ours,) = capture.run(plan, [example(plan.pipeline)], [SEED])
    seconds = time.perf_counter() - start
    arrays = {m.name: _by_step_and_branch(ours.activations[m.name], m) for m in plan.every}
    apart = first_difference(canary(plan), canary(plan), tolerance(plan.compute_dtype, same_device=True))
    return {
        "model": capture.name_of(plan.pipeline),
        "branches": branches,
        "shapes": {m.name: m.shape for m in plan.every},
        "steps": len(plan.timesteps),
        "equal": share_as_returned(arrays, raw, orders),
        "steady": apart is None,
        "unsteady": apart,
        "on": turned_on(plan.pipeline),
        "bytes": sum(spec.layout.shard_bytes for spec in array_specs(replace(plan, dtype="float16"), False)),
        "seconds": seconds,
    }


def _branches(plan: Plan) -> list[str]:
    """In the denoiser's order, where it can be told before a run."""
    try:
        return [branch for call in capture.rehearsed(plan).calls for branch in call]
    except InputError:  # it can't, as with perturbed attention at its first steps; a run tells it later
        return list(plan.branches)


def _order(plan: Plan, module: capture.ModuleShape, branches: Sequence[str]) -> list[int]:
    """Which of the results that a module returns in a step each of its branches is."""
    if not module.branched:
        return [0]
    own = plan.texts.get(module.part, branches)
    return [own.index(branch) for branch in plan.branches]


def _by_step_and_branch(array: AnyArray, module: capture.ModuleShape) -> AnyArray:
    """What was captured of a module, with both axes."""
    return np.expand_dims(array, [at for at, axis in enumerate(("step", "branch")) if axis not in module.axes])


def _plan(
    loaded: capture.Model, modules: str | Sequence[str], steps: int, guidance_scale: float, inputs: Mapping[str, Any]
) -> Plan:
    """With both branches where there are two."""
    options: dict[str, Any] = {"steps": steps, "guidance_scale": guidance_scale, "negative_prompt": ""}
    options |= {"height": None, "width": None, "dtype": "float32", "hashes": loaded.hashes}
    options |= {"inputs": capture.Inputs(same=inputs)}
    both = capture.has_two_branches(loaded.pipeline, guidance_scale)
    return capture.make_plan(loaded.pipeline, modules=modules, branch="both" if both else "cond", **options)


def _heard(plan: Plan) -> dict[str, list[list[Tensor]]]:
    """The tensors of each call of the plan's modules, in a run of the pipeline alone."""
    heard: dict[str, list[list[Tensor]]] = {m.name: [] for m in plan.every}
    drawn = {"output_type": "np"} if plan.drawing else {}
    with torch.no_grad(), quiet(plan.pipeline), running_uncompiled(plan.pipeline) as denoiser:
        parts = {m.name: denoiser.get_submodule(m.name) for m in plan.modules} | modules_by_name(
            plan.pipeline, plan.others
        )
        handles = [
            parts[name].register_forward_hook(lambda _m, _a, output, calls=calls: calls.append(_tensors(output)))
            for name, calls in heard.items()
        ]
        try:
            plan.pipeline(**plan.rehearsal() | drawn)
        finally:
            for handle in handles:
                handle.remove()
    return heard


def _tensors(output: Any) -> list[Tensor]:
    tensors = [output] if isinstance(output, Tensor) else [one for one in output if isinstance(one, Tensor)]
    return [one.detach().to("cpu", torch.float32, copy=True) for one in tensors]


def share_as_returned(
    ours: Mapping[str, AnyArray], raw: Mapping[str, Sequence[Sequence[Tensor]]], orders: Mapping[str, Sequence[int]]
) -> float:
    """How many of the captured arrays are what the module returned in the same step and branch, row after row.

    Parameters
    ----------
    ours : mapping of str to (step, branch, ..., channel)
        What was captured, by module.
    raw : mapping of str to sequence of sequence of Tensor
        What the module returned, call by call; each tensor's first axis is the step's parts in that call.
    orders : mapping of str to sequence of int
        Which part of a step each branch is, by module.
    """
    found = []
    for name, array in ours.items():
        calls = len(raw[name]) // len(array)
        for step, captured in enumerate(array):
            returned = raw[name][step * calls : (step + 1) * calls]
            parts = [part for tensors in returned for part in zip(*tensors, strict=False)]
            found += [_is_in(rows, parts[part]) for rows, part in zip(captured, orders[name], strict=True)]
    return float(np.mean(found))


def _is_in(captured: AnyArray, part: Sequence[Tensor]) -> bool:
    """Whether the rows stand one behind the other in a tensor of the part, beside which a text's may stand."""
    rows = captured.reshape(-1, captured.shape[-1])
    tables = [table.numpy() for one in part for table in _tables(one) if table.shape[1] == rows.shape[1]]
    return any(
        np.array_equal(rows, table[start : start + len(rows)], equal_nan=True)  # as of a model that overflows
        for table in tables
        for start in np.flatnonzero(((table == rows[0]) | (np.isnan(table) & np.isnan(rows[0]))).all(1))
    )


def _tables(part: Tensor) -> list[Tensor]:
    """(row, channel) of tokens (t, c), of a map (c, y, x), and of tokens with heads, (t, h, c) or (h, t, c)."""
    if part.ndim != 3:
        return [part.flatten(1)]
    return [part.flatten(1).T, part.flatten(1), part.transpose(0, 1).flatten(1)]
