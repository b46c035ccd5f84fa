"""Listening to a pipeline while it runs, and giving it back as it was."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ldmscene.capture import branches as guidance
from ldmscene.capture.clean import predict_clean
from ldmscene.capture.fold import Folding, first_tensor
from ldmscene.capture.latents import unpack
from ldmscene.capture.source import denoiser_of
from ldmscene.errors import LdmsceneError


@dataclass
class Recording:
    """What one run of a pipeline shows, step by step: one for each call of the scheduler.

    Attributes
    ----------
    activations : dict of str to list of numpy.ndarray
        For each module and sample, (step, branch, y, x, channel) or (step, branch, token, channel), filled as it goes.
    timesteps : list of float
        As the scheduler has them.
    latents, predicted : list of Tensor
        x_t before each step and the x_0 predicted by it, float32 (n, c, y, x), in the scheduler's scale.
    final : Tensor
        What the last step led to, as `latents`.
    order : tuple of str
        Which branch each part of a step's batches is.
    """

    activations: Mapping[str, list[np.ndarray]]
    timesteps: list[float] = field(default_factory=list)
    latents: list[Tensor] = field(default_factory=list)
    predicted: list[Tensor] = field(default_factory=list)
    final: Tensor = field(default_factory=lambda: torch.empty(0))
    order: tuple[str, ...] = ()


@dataclass
class _Step:
    """Outputs since the scheduler's last step: of the denoiser, and of each module, one for each call.

    `starts`: of the call under way, as `Folding.starts_in` has it.
    """

    raw: list[Tensor] = field(default_factory=list)
    starts: Sequence[int] | None = None
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)


@contextmanager
def recording(
    pipeline,
    activations: Mapping[str, list[np.ndarray]],
    *,
    folding: Folding,
    size: tuple[int, int],
    branches: Sequence[str],
    guidance_scale: float,
) -> Iterator[Recording]:
    """Record every step inside the block into `activations`; the pipeline is given back without a trace.

    Hooks copy each output before anything can change it in place, cast to the arrays' dtype where it lies, and
    move it to the CPU. Branches are told apart by the guidance that the pipeline really applied.
    """
    recorded, now = Recording(activations), _Step()
    scheduler = pipeline.scheduler
    take_step = scheduler.step

    @functools.wraps(take_step)  # pipelines look at its signature, to give it their generator
    def watched_step(model_output: Tensor, timestep, sample: Tensor, *args: object, **kwargs: object):
        order = _order(recorded.order, now.raw, model_output, sample, folding, guidance_scale)
        _keep(recorded, now, order, branches, len(sample))
        recorded.order = order
        clean = predict_clean(scheduler, model_output, timestep, sample)
        recorded.timesteps.append(float(torch.as_tensor(timestep).flatten()[0]))
        recorded.latents.append(unpack(pipeline, sample.detach().float(), size).cpu())
        recorded.predicted.append(unpack(pipeline, clean.float(), size).cpu())
        now.raw, now.outputs = [], {}
        stepped = take_step(model_output, timestep, sample, *args, **kwargs)
        recorded.final = unpack(pipeline, stepped[0].detach().float(), size).cpu()
        return stepped

    def set_starts(_module: nn.Module, _args: tuple, kwargs: dict) -> None:
        now.starts = folding.starts_in(kwargs)

    with running_uncompiled(pipeline) as denoiser:
        parts = dict(denoiser.named_modules())
        handles = [
            parts[name].register_forward_hook(_keeper(name, now, folding, _torch_dtype(arrays)))
            for name, arrays in activations.items()
        ]
        handles.append(denoiser.register_forward_pre_hook(set_starts, with_kwargs=True))
        handles.append(denoiser.register_forward_hook(lambda _m, _a, out: now.raw.append(_copied(out))))
        scheduler.step = watched_step
        try:
            yield recorded
        finally:
            del scheduler.step  # the instance's attribute; the class's method shows again
            for handle in handles:
                handle.remove()


def _copied(output: object) -> Tensor:
    return first_tensor(output).detach().clone()


def _keeper(name: str, now: _Step, folding: Folding, dtype: torch.dtype):
    def hook(_module: nn.Module, _args: object, output: object) -> None:
        folded, _dims = folding(name, output, now.starts)
        now.outputs.setdefault(name, []).append(_to_host(folded.detach().to(dtype, copy=True)))

    return hook


def _torch_dtype(arrays: Sequence[np.ndarray]) -> torch.dtype:
    return torch.from_numpy(arrays[0][:0]).dtype


def _to_host(tensor: Tensor) -> Tensor:
    """A copy in pinned memory, under way while the GPU goes on; the CPU's own tensors as they are."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


def _order(
    before: tuple[str, ...], raw: Sequence[Tensor], guided: Tensor, sample: Tensor, folding: Folding, scale: float
) -> tuple[str, ...]:
    """Which branch each part of a step is; as `before`, or as is customary, where the arithmetic can't tell."""
    channels = folding.family.guided_channels or sample.shape[1]  # some predict a variance too
    parts = [part[:, :channels] for part in guidance.split(raw, len(sample))]
    told = guidance.branch_order(parts, guided.detach()[:, :channels], scale, by_row=folding.family.rescaled_rows)
    if told is None:
        return before if len(before) == len(parts) else guidance.conventional_order(len(parts), scale)
    if [role for role in before if role in told] != [role for role in told if role in before]:
        raise LdmsceneError(f"the branches' order changed within a run, from {before} to {told}")
    return told


def _keep(recorded: Recording, now: _Step, order: Sequence[str], branches: Sequence[str], samples: int) -> None:
    """Put one step's outputs where they belong in the arrays."""
    missing = [branch for branch in branches if branch not in order]
    if missing:
        raise LdmsceneError(
            f"step {len(recorded.timesteps)} ran no {missing[0]} branch, only {', '.join(order)}; ask for those"
        )
    if now.outputs and next(iter(now.outputs.values()))[0].is_pinned():
        torch.cuda.current_stream().synchronize()
    for name, arrays in recorded.activations.items():
        parts = guidance.split(now.outputs.get(name, []), samples)
        if len(parts) != len(order):
            raise LdmsceneError(
                f"{name} returned {len(parts)} results a sample where the denoiser returned {len(order)} "
                f"({', '.join(order)}); capture a module that runs once for each"
            )
        for b, branch in enumerate(branches):
            part = parts[order.index(branch)]
            for array, values in zip(arrays, part, strict=True):
                if values.shape != array.shape[2:]:
                    raise LdmsceneError(
                        f"{name} returns {tuple(values.shape)} here and {array.shape[2:]} in the first call; "
                        "only outputs of one shape can be stored"
                    )
                array[len(recorded.timesteps), b] = values.numpy()


@contextmanager
def running_uncompiled(pipeline) -> Iterator[nn.Module]:
    """The denoiser without `torch.compile` inside the block: a compiled graph runs past hooks set after it."""
    role, plain = denoiser_of(pipeline)
    held = getattr(pipeline, role)
    compiled = {part: part._compiled_call_impl for part in plain.modules() if part._compiled_call_impl is not None}
    if plain is not held or compiled:
        warnings.warn(
            "the denoiser is compiled; it runs uncompiled while its modules are listened to, since a compiled "
            "graph has no modules to listen to",
            stacklevel=4,
        )
    try:
        if plain is not held:
            setattr(pipeline, role, plain)
        for part in compiled:
            part._compiled_call_impl = None
        yield plain
    finally:
        if plain is not held:
            setattr(pipeline, role, held)
        for part, call in compiled.items():
            part._compiled_call_impl = call
