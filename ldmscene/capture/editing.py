"""The hook by which an editor changes what a module returns: one branch's image, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ldmscene.capture.layout import replaced
from ldmscene.capture.plan import Plan
from ldmscene.capture.sinks import Editor
from ldmscene.capture.sorting import Step
from ldmscene.errors import InputError, LdmsceneError


def editing_hook(name: str, editor: Editor, now: Step, plan: Plan) -> Callable[..., Any]:
    """A forward hook for the module of this name; the editor sees the plan's branches."""

    def hook(_module: nn.Module, _args: object, output: object) -> Any:
        tensor, layout = plan.folding.find(name, output)
        changed = None
        for branch, rows in _rows(name, len(tensor), now, plan.calls):
            if branch not in plan.branches:
                continue
            starts = None if now.starts is None else now.starts[rows]
            values = layout.read(tensor[rows].detach(), starts)
            wanted = editor.change(name, now.number, branch, values)
            if wanted is None:
                continue
            _check(name, wanted, values)
            changed = tensor.detach().clone() if changed is None else changed
            layout.write(changed[rows], wanted, starts)
        return None if changed is None else replaced(output, tensor, changed)

    return hook


def _rows(name: str, batch: int, now: Step, calls: Sequence[Sequence[str]]) -> list[tuple[str, slice]]:
    """Which rows of a module's batch are which branch's, in the denoiser call that is under way."""
    call = len(now.raw)
    branches = calls[call] if call < len(calls) else ()
    samples = batch // max(1, len(branches))
    if samples * len(branches) != batch or now.samples not in (None, samples):
        expected = ", then ".join(" and ".join(call) for call in calls)
        raise LdmsceneError(
            f"{name} returns a batch of {batch} in call {call + 1} of step {now.number}, where the rehearsal had "
            f"{expected}: which branch is which can't be told before the step is over, so that it can't be edited"
        )
    if now.edited.get(name) == call:
        raise LdmsceneError(f"the denoiser calls {name} more than once; edit a module that it calls once")
    now.edited[name] = call
    return [(branch, slice(i * samples, (i + 1) * samples)) for i, branch in enumerate(branches)]


def _check(name: str, wanted: object, values: Tensor) -> None:
    if not isinstance(wanted, torch.Tensor):
        raise InputError(f"an edit of {name} must return a tensor or None; got {type(wanted).__name__}")
    if wanted.shape != values.shape:
        raise InputError(
            f"an edit of {name} must return the shape that it got, {tuple(values.shape)}; got {tuple(wanted.shape)}"
        )
