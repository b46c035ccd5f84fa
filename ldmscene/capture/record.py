"""Listening to a pipeline while it runs, and giving it back as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ldmscene.capture.clean import predict_clean
from ldmscene.capture.editing import editing_hook
from ldmscene.capture.fold import first_tensor
from ldmscene.capture.hooks import instead, running_uncompiled
from ldmscene.capture.latents import unpack
from ldmscene.capture.plan import Plan
from ldmscene.capture.sinks import Editor, Sink, to_host
from ldmscene.capture.sorting import Sorter, Step
from ldmscene.errors import unknown


@dataclass
class Recording:
    """What one run of a pipeline shows beside its modules, step by step: one for each call of the scheduler.

    Attributes
    ----------
    timesteps : list of float
        As the scheduler has them.
    latents, predicted : list of Tensor
        x_t before each step and the x_0 predicted by it, float32 (n, c, y, x), in the scheduler's scale.
    final : Tensor
        What the last step led to, as `latents`.
    """

    timesteps: list[float] = field(default_factory=list)
    latents: list[Tensor] = field(default_factory=list)
    predicted: list[Tensor] = field(default_factory=list)
    final: Tensor = field(default_factory=lambda: torch.empty(0))


@contextmanager
def recording(
    plan: Plan,
    sink: Sink,
    editor: Editor | None = None,
    *,
    on_step: Callable[[Recording], None] | None = None,
) -> Iterator[Recording]:
    """Hand outputs of the plan's modules to a sink inside the block; the pipeline is given back without a trace.

    Hooks copy each output before anything can change it in place, cast to the plan's dtype where it lies, and
    move it to the CPU where the sink wants that. Branches are told apart by the guidance that the pipeline really
    applied. The sink sees what an editor made of an output. `on_step` is called at each step, once the sink has its
    outputs, and stops the run by raising. Where the pipeline runs more than once, what is yielded is of the last run.

    Raises
    ------
    LdmsceneError
        If branches can't be told, or aren't those of the plan's rehearsal.
    """
    run = _Run(plan, sink, on_step)
    scheduler = plan.pipeline.scheduler
    with running_uncompiled(plan.pipeline) as denoiser, instead(scheduler, step=run.watch, set_timesteps=run.begin):
        handles = []
        try:
            for part, hook in _hooks(run, editor, dict(denoiser.named_modules())):
                handles.append(part.register_forward_hook(hook))
            handles.append(denoiser.register_forward_pre_hook(run.enter, with_kwargs=True))
            handles.append(denoiser.register_forward_hook(run.leave))
            yield run.recorded
            run.sorter.finish()
        finally:
            for handle in handles:
                handle.remove()


def _hooks(
    run: _Run, editor: Editor | None, parts: dict[str, nn.Module]
) -> Iterator[tuple[nn.Module, Callable[..., Any]]]:
    """Each with its module; an editor's first, so that the sink sees what it changed."""
    if editor:
        if strange := [name for name in editor.modules if name not in parts]:
            raise unknown("module", strange[0], parts)
        for name in editor.modules:
            yield parts[name], editing_hook(name, editor, run.now, run.plan)
    for module in run.plan.modules:
        yield parts[module.name], run.listener(module.name)


class _Run:
    """The state of one call of a pipeline, and what stands in its way."""

    def __init__(self, plan: Plan, sink: Sink, on_step: Callable[[Recording], None] | None) -> None:
        self.plan, self._sink, self._on_step = plan, sink, on_step
        self._dtype = getattr(torch, plan.dtype)
        self.recorded, self.now, self.sorter = Recording(), Step(), self._sorter()

    def _sorter(self) -> Sorter:
        plan = self.plan
        names, foretold = [m.name for m in plan.modules], [branch for call in plan.calls for branch in call]
        return Sorter(self._sink, names, plan.branches, plan.applied_guidance, plan.folding.family, foretold)

    def begin(self, set_timesteps: Callable[..., Any]) -> Callable[..., Any]:
        """In the place of the scheduler's `set_timesteps`, by which each run begins."""

        def begun(*args: object, **kwargs: object) -> Any:
            self.sorter.finish()
            self.sorter = self._sorter()
            for shown in (self.recorded.timesteps, self.recorded.latents, self.recorded.predicted):
                shown.clear()
            self.now.begin(0)
            self.now.samples = None
            return set_timesteps(*args, **kwargs)

        return begun

    def watch(self, take_step: Callable[..., Any]) -> Callable[..., Any]:
        """In the place of the scheduler's `step`."""

        def watched(model_output: Tensor, timestep: Any, sample: Tensor, *args: object, **kwargs: object) -> Any:
            for device in self.now.copying:
                torch.cuda.current_stream(device).synchronize()
            guided, latents = self.plan.own(model_output), self.plan.own(sample)
            self.sorter.add(self.now, guided, latents)
            clean = predict_clean(self.plan.pipeline.scheduler, guided, timestep, latents)
            self.recorded.timesteps.append(float(torch.as_tensor(timestep).flatten()[0]))
            self.recorded.latents.append(self._unpacked(latents.detach()))
            self.recorded.predicted.append(self._unpacked(clean))
            if self._on_step is not None:
                self._on_step(self.recorded)
            self.now.begin(self.now.number + 1)
            self.now.samples = len(latents)
            stepped = take_step(model_output, timestep, sample, *args, **kwargs)
            self.recorded.final = self._unpacked(self.plan.own(stepped[0].detach()))
            return stepped

        return watched

    def _unpacked(self, latents: Tensor) -> Tensor:
        return unpack(self.plan.pipeline, latents.float(), (self.plan.height, self.plan.width)).cpu()

    def enter(self, _module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the denoiser is called."""
        self.now.starts = self.plan.folding.starts_in(kwargs)

    def leave(self, _module: nn.Module, _args: tuple[Any, ...], output: object) -> None:
        """After the denoiser was called."""
        self.now.raw.append(first_tensor(output).detach().clone())

    def listener(self, name: str) -> Callable[..., Any]:
        """A forward hook that holds a module's output until its branches are told."""

        def hook(_module: nn.Module, _args: object, output: object) -> None:
            folded, _dims = self.plan.folding(name, output, self.now.starts)
            values = folded.detach().to(self._dtype, copy=True)
            if self._sink.on_host:
                if values.device.type == "cuda":
                    self.now.copying.add(values.device)
                values = to_host(values)
            self.now.outputs.setdefault(name, []).append(values)

        return hook
