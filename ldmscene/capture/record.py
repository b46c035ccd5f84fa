"""Listening to a pipeline while it runs, and giving it back as it was."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ldmscene.capture.clean import predict_clean
from ldmscene.capture.fold import Folding, first_tensor
from ldmscene.capture.latents import unpack
from ldmscene.capture.sorting import Sorter, Step
from ldmscene.capture.source import denoiser_of


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
    """

    activations: Mapping[str, list[np.ndarray]]
    timesteps: list[float] = field(default_factory=list)
    latents: list[Tensor] = field(default_factory=list)
    predicted: list[Tensor] = field(default_factory=list)
    final: Tensor = field(default_factory=lambda: torch.empty(0))


@contextmanager
def recording(
    pipeline,
    activations: Mapping[str, list[np.ndarray]],
    *,
    folding: Folding,
    size: tuple[int, int],
    branches: Sequence[str],
    guidance_scale: float,
    check: Callable[[], None] | None = None,
) -> Iterator[Recording]:
    """Record every step inside the block into `activations`; the pipeline is given back without a trace.

    Hooks copy each output before anything can change it in place, cast to the arrays' dtype where it lies, and
    move it to the CPU. Branches are told apart by the guidance that the pipeline really applied. `check` is called at
    each step, and stops the run by raising.
    """
    recorded, now = Recording(activations), Step()
    sorter = Sorter(activations, branches, guidance_scale, folding.family)
    scheduler = pipeline.scheduler
    take_step, own_step = scheduler.step, vars(scheduler).get("step")

    @functools.wraps(take_step)  # pipelines look at its signature, to give it their generator
    def watched_step(model_output: Tensor, timestep, sample: Tensor, *args: object, **kwargs: object):
        if check is not None:
            check()
        for device in now.copying:
            torch.cuda.current_stream(device).synchronize()
        sorter.add(now, model_output, sample)
        clean = predict_clean(scheduler, model_output, timestep, sample)
        recorded.timesteps.append(float(torch.as_tensor(timestep).flatten()[0]))
        recorded.latents.append(unpack(pipeline, sample.detach().float(), size).cpu())
        recorded.predicted.append(unpack(pipeline, clean.float(), size).cpu())
        now.raw, now.outputs, now.copying = [], {}, set()
        stepped = take_step(model_output, timestep, sample, *args, **kwargs)
        recorded.final = unpack(pipeline, stepped[0].detach().float(), size).cpu()
        return stepped

    def set_starts(_module: nn.Module, _args: tuple, kwargs: dict) -> None:
        now.starts = folding.starts_in(kwargs)

    with running_uncompiled(pipeline) as denoiser:
        parts = dict(denoiser.named_modules())
        handles = []
        scheduler.step = watched_step
        try:
            for name, arrays in activations.items():
                keeper = _keeper(name, now, folding, _torch_dtype(arrays))
                handles.append(parts[name].register_forward_hook(keeper))
            handles.append(denoiser.register_forward_pre_hook(set_starts, with_kwargs=True))
            handles.append(denoiser.register_forward_hook(lambda _m, _a, out: now.raw.append(_copied(out))))
            yield recorded
            sorter.finish()
        finally:
            if own_step is None:
                del scheduler.step  # the instance's attribute; the class's method shows again
            else:
                scheduler.step = own_step
            for handle in handles:
                handle.remove()


def _copied(output: object) -> Tensor:
    return first_tensor(output).detach().clone()


def _keeper(name: str, now: Step, folding: Folding, dtype: torch.dtype):
    def hook(_module: nn.Module, _args: object, output: object) -> None:
        folded, _dims = folding(name, output, now.starts)
        if folded.device.type == "cuda":
            now.copying.add(folded.device)
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
