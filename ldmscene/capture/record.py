"""Listening to a pipeline while it runs, and giving it back as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ldmscene.capture.modules import first_tensor, fold
from ldmscene.errors import InputError, LdmsceneError


@dataclass
class Recording:
    """What one run of a pipeline showed, call by call.

    Attributes
    ----------
    outputs : dict of str to list of Tensor
        For each module and denoiser call, a copy on the CPU: (branch · n, y, x, channel) or (…, token, channel).
    timesteps : list of float
    latents, predicted : list of Tensor
        x_t before each call and the predicted x_0 after it, (n, c, y, x), in the scheduler's scale.
    order : tuple of str
        Which branch each part of the batch holds.
    """

    outputs: dict[str, list[Tensor]]
    timesteps: list[float] = field(default_factory=list)
    latents: list[Tensor] = field(default_factory=list)
    predicted: list[Tensor] = field(default_factory=list)
    order: tuple[str, ...] = ()


@contextmanager
def recording(
    pipeline, modules: Sequence[str], *, latent: tuple[int, int], dtype: torch.dtype, guidance_scale: float
) -> Iterator[Recording]:
    """Record every denoiser call inside the block; the pipeline is given back without a trace.

    Hooks copy each output before anything can change it in place, in `dtype`. The branches are told apart
    by the guidance that the pipeline really applied: the scheduler must receive u + s (c − u).
    """
    denoiser: nn.Module = pipeline.unet
    recorded = Recording({name: [] for name in modules})
    parts = dict(denoiser.named_modules())
    handles = [parts[name].register_forward_hook(_keeper(recorded.outputs[name], dtype, latent)) for name in modules]
    last: list[Tensor] = []
    handles.append(denoiser.register_forward_pre_hook(_timer(recorded.timesteps), with_kwargs=True))
    handles.append(denoiser.register_forward_hook(lambda _m, _a, out: last.append(first_tensor(out).detach())))
    step = pipeline.scheduler.step

    def watched_step(model_output: Tensor, timestep: object, sample: Tensor, *args: object, **kwargs: object):
        order = _branch_order(last.pop(), model_output, guidance_scale)
        if recorded.order not in ((), order):
            raise LdmsceneError(f"the branches' order changed within a run, from {recorded.order} to {order}")
        recorded.order = order
        recorded.latents.append(sample.detach().float().cpu())
        recorded.predicted.append(predict_clean(pipeline.scheduler, model_output, timestep, sample).float().cpu())
        return step(model_output, timestep, sample, *args, **kwargs)

    pipeline.scheduler.step = watched_step
    try:
        yield recorded
    finally:
        del pipeline.scheduler.step  # the instance's attribute; the class's method shows again
        for handle in handles:
            handle.remove()


def _keeper(kept: list[Tensor], dtype: torch.dtype, latent: tuple[int, int]):
    def hook(_module: nn.Module, _args: object, output: object) -> None:
        folded, _dims = fold(first_tensor(output).detach(), latent)
        kept.append(folded.to(dtype, copy=True).cpu())

    return hook


def _timer(timesteps: list[float]):
    def hook(_module: nn.Module, args: tuple, kwargs: dict) -> None:
        timestep = kwargs["timestep"] if "timestep" in kwargs else args[1]
        timesteps.append(float(torch.as_tensor(timestep).flatten()[0]))

    return hook


def _branch_order(raw: Tensor, guided: Tensor, scale: float) -> tuple[str, ...]:
    if raw.shape == guided.shape:
        return ("cond",)
    if len(raw) != 2 * len(guided):
        raise LdmsceneError(
            f"the denoiser got a batch of {len(raw)} for {len(guided)} samples; expected one or two a sample"
        )
    first, second = (half.float() for half in raw.chunk(2))
    halves = {("uncond", "cond"): (first, second), ("cond", "uncond"): (second, first)}
    misses = {order: (u + scale * (c - u) - guided.float()).abs().max() for order, (u, c) in halves.items()}
    best = min(misses, key=lambda order: float(misses[order]))
    if misses[best] <= 1e-2 * guided.abs().max():  # far above float16's rounding, far below another guidance
        return best
    raise LdmsceneError(
        "the two halves of the denoiser's batch don't combine to the guidance that the scheduler received, so "
        "that cond and uncond can't be told apart; turn off guidance_rescale and other guidance variants"
    )


def predict_clean(scheduler, output: Tensor, timestep: object, sample: Tensor) -> Tensor:
    """The x_0 that a model output implies at x_t, in the latents' own scale.

    Either x_t = x_0 + σ ε (Karras et al. 2022), or x_t = √ᾱ x_0 + √(1 − ᾱ) ε (Ho et al. 2020), as the
    scheduler has it.

    Raises
    ------
    InputError
        If the scheduler's kind of prediction isn't epsilon, v_prediction, sample or flow.
    """
    signal, noise = _coefficients(scheduler, timestep)
    kind = getattr(scheduler.config, "prediction_type", "flow_prediction")
    if kind == "sample":
        return output
    if kind == "epsilon":
        return (sample - noise * output) / signal
    if kind == "v_prediction":  # v = a ε − b x_0 with (a, b) the coefficients scaled to unit length
        length = (signal**2 + noise**2) ** 0.5
        return (signal * sample - noise * length * output) / length**2
    if kind == "flow_prediction":
        return sample - noise * output
    raise InputError(f"the scheduler predicts {kind!r}; expected epsilon, v_prediction, sample or flow_prediction")


def _coefficients(scheduler, timestep: object) -> tuple[float, float]:
    if getattr(scheduler, "sigmas", None) is not None:
        index = scheduler.step_index if scheduler.step_index is not None else scheduler.index_for_timestep(timestep)
        sigma = scheduler.sigmas[index]
        if hasattr(scheduler, "_sigma_to_alpha_sigma_t"):  # the DPM-Solver family keeps x_t at unit variance
            signal, noise = scheduler._sigma_to_alpha_sigma_t(sigma)
            return float(signal), float(noise)
        return 1.0, float(sigma)
    alpha = float(scheduler.alphas_cumprod[int(torch.as_tensor(timestep))])
    return alpha**0.5, (1 - alpha) ** 0.5


def stack_branches(outputs: Sequence[Tensor], order: tuple[str, ...], branches: Sequence[str]) -> np.ndarray:
    """Calls of one module as (n, step, branch, …)."""
    steps = torch.stack(list(outputs))
    parts = dict(zip(order, steps.chunk(len(order), dim=1), strict=True))
    return torch.stack([parts[b] for b in branches], dim=2).transpose(0, 1).numpy()
