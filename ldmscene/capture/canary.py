"""What a model answers to a small fixed input, by which a changed model is found, whatever changed it.

The pipeline runs its own path for one sample: the text encoders, three consecutive denoiser calls from the middle of
the trajectory, where caches that skip calls are at work, and one decoded strip of the picture. The strip is as long as
the picture's longer side, so that decoding in tiles shows in it. Of each answer a sketch is stored: 32 sums over all
its values, each value counted in one of them with a random sign (Charikar, Chen and Farach-Colton 2002, "Finding
frequent items in data streams"). The difference of two sketches tells that of the answers themselves, relative to their
norm, within a quarter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ldmscene.capture.conditions import takes
from ldmscene.capture.fold import first_tensor
from ldmscene.capture.hooks import call, instead, quiet, running_uncompiled
from ldmscene.capture.latents import unpack
from ldmscene.capture.modules import find_modules, presets_in
from ldmscene.capture.pictures import decode
from ldmscene.capture.plan import Plan
from ldmscene.capture.source import denoiser_of, with_scheduler
from ldmscene.capture.supplied import along_grey
from ldmscene.device import in_float64, rounded_float32

SEED = 0
CALLS = 3  # steps of the scheduler
BUCKETS = 32
STRIP = 8  # latent positions: a strip's width is a multiple of it
BLOCKS, PICTURE = "all-blocks", "picture's strip"
Sketch = list[float | None]
Canary = dict[str, Sketch]
"""Sketches by name, in the order in which the parts answered."""


class _Heard(Exception):  # noqa: N818, it isn't an error
    pass


def canary(plan: Plan) -> Canary:
    """What a plan's pipeline answers, as sketches of each part, block and module of the plan, and of the picture."""
    try:
        return _answer(plan, from_the_middle=True)
    except Exception:  # some pipelines need to begin at the beginning
        return _answer(plan, from_the_middle=False)


def _answer(plan: Plan, *, from_the_middle: bool) -> Canary:
    pipeline, heard = plan.pipeline, _Listener()
    with torch.no_grad(), quiet(pipeline), with_scheduler(pipeline, None), running_uncompiled(pipeline) as denoiser:
        whole = plan.supplied or "strength" in takes(pipeline)  # which begins where it is told
        begin = {"set_timesteps": _middle} if from_the_middle and not whole else {}
        arguments = plan.rehearsal()
        if plan.supplied:
            arguments["latents"] = along_grey(pipeline, (plan.height, plan.width), SEED)
        with ExitStack() as hooks:
            for name, part in _parts(pipeline, denoiser, [m.name for m in plan.modules]):
                hooks.callback(part.register_forward_hook(heard.hook(name)).remove)
            hooks.enter_context(instead(pipeline.scheduler, step=heard.watch, **begin))
            try:
                call(pipeline, arguments)
            except _Heard:
                pass
            finally:
                pipeline.maybe_free_model_hooks()
        latents = unpack(pipeline, plan.own(heard.latents.float()), (plan.height, plan.width))
    return {**heard.found, PICTURE: sketch(torch.from_numpy(decode(pipeline, strip(latents))))}


def strip(latents: Tensor) -> Tensor:
    """A quarter of latents (n, c, y, x), the longer side whole: decoding all of them costs as much as two steps."""
    axis = 2 if latents.shape[2] <= latents.shape[3] else 3
    width = -(-latents.shape[axis] // (4 * STRIP)) * STRIP
    return latents.narrow(axis, 0, min(width, latents.shape[axis]))


def _middle(set_timesteps: Callable[..., Any]) -> Callable[..., Any]:
    """In the place of `set_timesteps`: steps before the middle are left out, as image-to-image pipelines do it."""

    def begun(*args: object, **kwargs: object) -> None:
        set_timesteps(*args, **kwargs)
        scheduler: Any = set_timesteps.__self__  # type: ignore[attr-defined]
        order = getattr(scheduler, "order", 1)
        start = max(0, min(len(scheduler.timesteps) // 2, len(scheduler.timesteps) - CALLS)) // order * order
        scheduler.timesteps = scheduler.timesteps[start:]
        if start and hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(start)

    return begun


def _parts(pipeline: Any, denoiser: nn.Module, modules: list[str]) -> Iterator[tuple[str, nn.Module]]:
    """Text and image encoders, the denoiser's blocks, the plan's modules, and the denoiser as a whole."""
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module) and "encoder" in name:
            yield name, part
    inside = dict(denoiser.named_modules())
    blocks = find_modules(denoiser, BLOCKS) if BLOCKS in presets_in(denoiser) else []
    yield from ((name, inside[name]) for name in dict.fromkeys([*blocks, *modules]))
    yield denoiser_of(pipeline)[0], denoiser


class _Listener:
    def __init__(self) -> None:
        self.found: Canary = {}
        self.latents = torch.empty(0)
        self._step = 0

    def hook(self, name: str) -> Callable[..., None]:
        def leave(_module: nn.Module, _args: object, output: object) -> None:
            calls = (n for n in range(1, 1000) if f"{name}, step {self._step}, call {n}" not in self.found)
            self.found[f"{name}, step {self._step}, call {next(calls)}"] = sketch(first_tensor(output))

        return leave

    def watch(self, take_step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(model_output: Tensor, timestep: Any, sample: Tensor, *args: object, **kwargs: object) -> Any:
            stepped = take_step(model_output, timestep, sample, *args, **kwargs)
            self._step += 1
            self.latents = first_tensor(stepped)
            if self._step == CALLS:
                raise _Heard
            return stepped

        return watched


def sketch(values: Tensor) -> Sketch:
    """32 sums with random signs, the same ones for all tensors of one size; None where a sum isn't finite."""
    flat = in_float64(values.detach().flatten())
    signed = flat * _signs(len(flat)).to(flat.device)
    padded = torch.nn.functional.pad(signed, (0, -len(flat) % BUCKETS))
    return [one if math.isfinite(one) else None for one in padded.view(-1, BUCKETS).sum(0).tolist()]


@lru_cache(maxsize=32)  # few sizes occur, each at every step
def _signs(count: int) -> Tensor:
    draw = torch.randint(0, 2, (count,), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
    return draw * 2 - 1


def difference(one: Sketch, other: Sketch) -> float:
    """By how much two answers differ, relative to the first's norm; infinite where they can't be compared."""
    a, b = np.array(one, float), np.array(other, float)
    if a.shape != b.shape:
        return float("inf")
    if np.array_equal(a, b, equal_nan=True):
        return 0.0
    apart, size = np.linalg.norm(a - b), np.linalg.norm(a)
    return float(apart / size) if np.isfinite(apart) and size > 0 else float("inf")


def first_difference(before: Mapping[str, Sketch], now: Mapping[str, Sketch], tolerance: float) -> str | None:
    """The first part that answers otherwise, and by how much; parts that only one of them has aren't compared.

    Pictures are rounded to 1/255, so that single values may flip: they may differ by ten times the tolerance.
    """
    for name, answer in now.items():
        if name in before:
            apart, most = difference(before[name], answer), tolerance * (10 if name == PICTURE else 1)
            if not apart <= most:
                return f"{name} differs by {apart:.2g} of its norm, where {most:.2g} is rounding"
    return None


# Within one device and version of torch only the order of sums may differ; across them kernels round otherwise, too.
_ROUNDING = {"float32": (1e-5, 1e-3), "float16": (1e-3, 1e-2), "bfloat16": (8e-3, 8e-2)}


def tolerance(compute_dtype: str, same_device: bool) -> float:
    """How much of an answer's norm is rounding, by the precision in which the model runs.

    1e-5, 1e-3 and 8e-3 for float32, float16 and bfloat16 where the same kind of device and the same torch computed the
    first answer; 1e-3, 1e-2 and 8e-2 otherwise.
    """
    return _ROUNDING.get(compute_dtype, _ROUNDING["bfloat16"])[0 if same_device else 1]


def turned_on(pipeline: Any) -> list[str]:
    """What is known to be on that may change a model's answers, in words."""
    found = []
    for role, part in pipeline.components.items():
        if isinstance(part, nn.Module):
            found += [f"{what} of {role}.{name}".rstrip(".") for name, what in _changed(part)][:3]
            found += [f"{role}.{name}" for name in ("use_tiling", "use_slicing") if getattr(part, name, False)]
    device = torch.device(pipeline._execution_device).type
    for kind in dict.fromkeys(("cpu", device)):
        if torch.is_autocast_enabled(kind):
            found.append(f"autocast to {torch.get_autocast_dtype(kind)} on {kind}")
    return found + [
        f"{what} of float32 in {precision} on {device}" for what, precision in rounded_float32(device).items()
    ]


def _changed(part: nn.Module) -> Iterator[tuple[str, str]]:
    for name, module in part.named_modules():
        if hasattr(module, "_diffusers_hook"):
            yield name, f"diffusers' hooks ({', '.join(module._diffusers_hook.hooks)})"
        elif _has_another_forward(module):
            yield name, "a replaced forward"
        elif module._forward_hooks or module._forward_pre_hooks:
            yield name, "a forward hook"


def _has_another_forward(module: nn.Module) -> bool:
    """Not accelerate's, which offloads, nor its own, which accelerate leaves there when it is taken off."""
    found = vars(module).get("forward")
    own = getattr(found, "__func__", None) is type(module).forward
    return found is not None and not own and not hasattr(module, "_hf_hook")
