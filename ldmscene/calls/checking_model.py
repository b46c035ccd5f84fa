"""What `check` does, once all that is asked for was checked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ldmscene import capture
from ldmscene.array_types import AnyArray
from ldmscene.calls.options import load_model
from ldmscene.capture import Plan
from ldmscene.capture.canary import canary, first_difference, tolerance, turned_on
from ldmscene.capture.conditions import example
from ldmscene.capture.hooks import quiet
from ldmscene.errors import InputError
from ldmscene.extraction.fill import array_specs

SEED = 0


def checked(
    model: Any, modules: str | Sequence[str], steps: int, guidance_scale: float, how: dict[str, str | None]
) -> dict[str, Any]:
    """What was found, as `ldmscene.check` returns it."""
    loaded = load_model(model, **how)
    plan = _plan(loaded, modules, steps, guidance_scale)
    raw = _heard(plan)
    start = time.perf_counter()
    (ours,) = capture.run(plan, [example(plan.pipeline)], [SEED])
    seconds = time.perf_counter() - start
    apart = first_difference(canary(plan), canary(plan), tolerance(plan.compute_dtype, same_device=True))
    return {
        "model": capture.name_of(plan.pipeline),
        "branches": _branches(plan),
        "shapes": {m.name: m.shape for m in plan.modules},
        "steps": len(plan.timesteps),
        "equal": _share_that_is_there(ours.activations, raw, len(plan.timesteps)),
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


def _plan(loaded: capture.Model, modules: str | Sequence[str], steps: int, guidance_scale: float) -> Plan:
    """With both branches where there are two."""
    options: dict[str, Any] = {"steps": steps, "guidance_scale": guidance_scale, "negative_prompt": ""}
    options |= {"height": None, "width": None, "dtype": "float32", "hashes": loaded.hashes}
    both = capture.has_two_branches(loaded.pipeline, guidance_scale)
    return capture.make_plan(loaded.pipeline, modules=modules, branch="both" if both else "cond", **options)


def _heard(plan: Plan) -> dict[str, list[AnyArray]]:
    """Every tensor that the plan's modules return in a run of the pipeline alone, as rows of channels."""
    heard: dict[str, list[AnyArray]] = {m.name: [] for m in plan.modules}
    parts = dict(capture.denoiser_of(plan.pipeline)[1].named_modules())
    handles = [
        parts[name].register_forward_hook(lambda _m, _a, output, rows=rows: rows.append(_rows(output)))
        for name, rows in heard.items()
    ]
    try:
        with torch.no_grad(), quiet(plan.pipeline):
            plan.pipeline(**plan.arguments([example(plan.pipeline)], [SEED]))
    finally:
        for handle in handles:
            handle.remove()
    return heard


def _rows(output: Any) -> AnyArray:
    """(row, channel) of maps (n, c, y, x), of tokens (n, t, c), or of the tensors in a tuple of them."""
    tensors = [output] if isinstance(output, torch.Tensor) else [one for one in output if isinstance(one, torch.Tensor)]
    flat = [(one.movedim(1, -1) if one.ndim == 4 else one).flatten(0, -2).float().cpu().numpy() for one in tensors]
    return np.concatenate([one for one in flat if one.shape[1] == flat[0].shape[1]])


def _share_that_is_there(ours: dict[str, AnyArray], raw: dict[str, list[AnyArray]], steps: int) -> float:
    """How many of the captured vectors are among the rows that the module returned at the same step."""
    there = []
    for name, array in ours.items():
        calls = len(raw[name]) // steps
        for step, found in enumerate(array):
            rows = np.concatenate(raw[name][step * calls : (step + 1) * calls])
            there.append(np.isin(_as_bytes(found.reshape(-1, found.shape[-1])), _as_bytes(rows)))
    return float(np.concatenate(there).mean())


def _as_bytes(rows: AnyArray) -> AnyArray:
    whole = np.ascontiguousarray(rows, np.float32)
    return whole.view(np.dtype((np.void, whole.shape[1] * 4))).ravel()
