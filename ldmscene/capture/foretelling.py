"""Which branch each part of a denoiser's batch is, told before a run: by a rehearsal that stops once it is clear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ldmscene.capture.branches import customary_order
from ldmscene.capture.conditions import example
from ldmscene.capture.fold import first_tensor
from ldmscene.capture.hooks import call, instead, quiet, running_uncompiled
from ldmscene.capture.plan import Plan
from ldmscene.capture.sorting import compare
from ldmscene.capture.supplied import along_grey
from ldmscene.errors import InputError

_NOT_FINITE = (
    "an edit needs to know which part of the denoiser's output is conditional, and in a rehearsal that output holds "
    "infinity or NaN; expected finite numbers: load the model in another precision, such as torch_dtype=torch.float32"
)
SEED = 0  # any, as the prompt: the order belongs to the pipeline


class _Told(Exception):  # noqa: N818, it isn't an error
    pass


def rehearsed(plan: Plan) -> Plan:
    """The plan with the branches of each denoiser call within a step, `calls`.

    The pipeline runs, unedited, up to the first step whose parts arithmetic can tell apart; in most, that is one
    call of the denoiser.

    Raises
    ------
    InputError
        If no step tells which parts are the branches that the plan asks for, or the denoiser's output isn't finite.
    LdmsceneError
        If they don't combine to the guidance.
    """
    if plan.calls:
        return plan
    pipeline, raw = plan.pipeline, list[Tensor]()
    found: list[tuple[tuple[str, ...], ...]] = []

    def watch(take_step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(model_output: Tensor, timestep: Any, sample: Tensor, *args: object, **kwargs: object) -> Any:
            guided, latents = plan.own(model_output), plan.own(sample)
            _parts, orders = compare(raw, guided, latents, plan.applied_guidance, plan.folding.family)
            if not orders:
                raise InputError(_NOT_FINITE)
            if order := _chosen(plan, orders):
                found.append(_by_call(order, raw, len(latents)))
                raise _Told
            raw.clear()
            return take_step(model_output, timestep, sample, *args, **kwargs)

        return watched

    def leave(_module: nn.Module, _args: tuple[Any, ...], output: object) -> None:
        raw.append(first_tensor(output).detach().clone())

    arguments = plan.rehearsal()
    if plan.supplied:
        arguments["latents"] = along_grey(pipeline, (plan.height, plan.width), SEED)
    with torch.no_grad(), quiet(pipeline), running_uncompiled(pipeline) as denoiser:
        handle = denoiser.register_forward_hook(leave)
        try:
            with instead(pipeline.scheduler, step=watch):
                call(pipeline, arguments)
        except _Told:
            pass
        finally:
            handle.remove()
            pipeline.maybe_free_model_hooks()
    if not found:
        raise InputError(
            "an edit needs to know which part of the denoiser's output is conditional, and that can't be told: in a "
            f"rehearsal with the prompt {example(pipeline)!r} several orders fit; use another negative prompt or "
            "guidance_scale"
        )
    return replace(plan, calls=found[0])


def _chosen(plan: Plan, orders: Sequence[tuple[str, ...]]) -> tuple[str, ...] | None:
    """One of the orders that fit, the usual one if it does; None where they have the plan's branches elsewhere."""
    if len({tuple(order.index(branch) for branch in plan.branches if branch in order) for order in orders}) > 1:
        return None
    usual = customary_order(len(orders[0]), plan.applied_guidance, cond_first=plan.folding.family.cond_first)
    return usual if usual in orders else orders[0]


def _by_call(order: Sequence[str], raw: Sequence[Tensor], samples: int) -> tuple[tuple[str, ...], ...]:
    """The order of a step's parts, cut into its calls."""
    branches = iter(order)
    return tuple(tuple(next(branches) for _ in range(len(output) // samples)) for output in raw)
