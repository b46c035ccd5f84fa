"""Supplied pictures instead of generated ones: each is noised to chosen timesteps, one denoiser call for each.

As in DDPM segmentation (Baranchuk et al. 2022) and DIFT (Tang et al. 2023). The pipeline runs as it always does,
prompts, sizes and all; its scheduler is replaced by one that, whatever the denoiser says, goes on to the image's
own x_t: √ᾱ x_0 + √(1 − ᾱ) ε, or (1 − σ) x_0 + σ ε for flow matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from torch import Tensor

from ldmscene.capture.latents import as_argument, pack
from ldmscene.capture.pictures import encode
from ldmscene.capture.source import denoiser_of
from ldmscene.errors import InputError


class _Along:
    """What both kinds share: the timesteps are chosen, and steps lead along the pictures."""

    chosen: tuple[float, ...]
    clean: Tensor
    noise: Tensor

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        timesteps: Any = None,
        sigmas: Any = None,
        mu: float | None = None,
    ) -> None:
        self.timesteps = torch.tensor(self.chosen, device=device)
        self.num_inference_steps = len(self.chosen)

    def follow(self, clean: Tensor, noise: Tensor) -> Tensor:
        """Set the latents (n, c, y, x), or as the pipeline packs them, and return the first x_t."""
        self.clean, self.noise, self.call = clean, noise, 0
        return self.noisy(self.chosen[0])

    def step(
        self,
        model_output: Tensor,
        timestep: object,
        sample: Tensor,
        eta: float = 0.0,
        generator: Any = None,
        return_dict: bool = True,
        **_: object,
    ) -> Any:
        self.call += 1
        ahead = self.noisy(self.chosen[min(self.call, len(self.chosen) - 1)]).to(sample.device, sample.dtype)
        ahead = torch.cat([ahead] * (len(sample) // len(ahead)))  # a pipeline may step each branch by itself
        return DDIMSchedulerOutput(ahead, ahead) if return_dict else (ahead, ahead)

    def noisy(self, timestep: float) -> Tensor:
        raise NotImplementedError


# Stores hold the names of these two classes, in their configuration.
class GivenDiffusion(_Along, DDIMScheduler):  # type: ignore[misc]  # diffusers' lazy imports hide its types
    """For denoisers of a variance-preserving diffusion, whatever their own scheduler."""

    def noisy(self, timestep: float) -> Tensor:
        alpha = self.alphas_cumprod[int(timestep)].cpu()  # `add_noise` moves them all to its pictures' device
        noised: Tensor = alpha.sqrt() * self.clean + (1 - alpha).sqrt() * self.noise
        return noised


class GivenFlow(_Along, FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]  # diffusers, too
    """For denoisers of a straight flow between noise and image."""

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        timesteps: Any = None,
        sigmas: Any = None,
        mu: float | None = None,
    ) -> None:
        super().set_timesteps(num_inference_steps, device)
        self.sigmas = self.timesteps / self.config.num_train_timesteps

    @property
    def step_index(self) -> int:
        return self.call

    def noisy(self, timestep: float) -> Tensor:
        sigma = timestep / self.config.num_train_timesteps
        noised: Tensor = (1 - sigma) * self.clean + sigma * self.noise
        return noised


def supplied_scheduler(own: Any, timesteps: Sequence[float]) -> Any:
    """A scheduler that leads along supplied pictures, for a pipeline whose own scheduler is `own`.

    Raises
    ------
    InputError
        If a timestep can't be reached, or the scheduler says nothing of its noise.
    """
    if own.config.get("prediction_type") == "trigflow":
        raise InputError("the pipeline's model jumps to the picture, and can't be led along supplied pictures")
    chosen = tuple(float(t) for t in timesteps)
    flow = "flow" in str(own.config.get("prediction_type", "")) or isinstance(own, FlowMatchEulerDiscreteScheduler)
    last = own.config.get("num_train_timesteps", 1000) - (0 if flow else 1)
    if not chosen or not all(0 <= t <= last and (flow or t == int(t)) for t in chosen):
        raise InputError(
            f"timesteps must be one or more {'' if flow else 'whole '}numbers from 0 to {last}, got {timesteps}"
        )
    if flow:
        scheduler: Any = GivenFlow.from_config(own.config)
    elif hasattr(own, "alphas_cumprod"):
        scheduler = GivenDiffusion.from_config(own.config)
        scheduler.alphas_cumprod = own.alphas_cumprod
    else:
        raise InputError(f"{type(own).__name__} doesn't say how much noise a timestep has; supplied pictures need that")
    scheduler.chosen = chosen if flow else tuple(int(t) for t in chosen)
    return scheduler


def leads_along(scheduler: Any) -> bool:
    """Whether a scheduler leads along supplied pictures."""
    return isinstance(scheduler, _Along)


def along(pipeline: Any, images: np.ndarray, seeds: Sequence[int]) -> Tensor:
    """Set a pipeline on the way along images, uint8 (n, Y, X, rgb), and return its first latents.

    Each sample has noise of its own, by its seed, the same at every timestep.
    """
    clean = encode(pipeline, images)
    draws = [torch.randn(clean.shape[1:], generator=torch.Generator("cpu").manual_seed(int(seed))) for seed in seeds]
    first = pipeline.scheduler.follow(pack(pipeline, clean), pack(pipeline, torch.stack(draws)))
    return as_argument(pipeline, first, images.shape[1:3]).to(
        pipeline._execution_device, denoiser_of(pipeline)[1].dtype
    )


def along_grey(pipeline: Any, size: tuple[int, int], seed: int) -> Tensor:
    """The same along one grey picture (Y, X), for a rehearsal."""
    return along(pipeline, np.full((1, *size, 3), 127, np.uint8), [seed])
