"""From prompts and seeds to trajectories: one run of the pipeline for each batch of samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from ldmscene.capture.modules import ModuleShape, find_modules, module_shapes
from ldmscene.capture.record import Recording, recording, stack_branches
from ldmscene.capture.source import identity
from ldmscene.errors import InputError, LdmsceneError

BRANCH_CHOICES = {"cond": ("cond",), "uncond": ("uncond",), "both": ("uncond", "cond")}
DTYPES = {"float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a run captures, except prompts and seeds; checked when built.

    Attributes
    ----------
    modules : tuple of ModuleShape
    timesteps : tuple of float
        One for each denoiser call; longer than `steps` for schedulers that call more than once a step.
    """

    pipeline: DiffusionPipeline
    modules: tuple[ModuleShape, ...]
    timesteps: tuple[float, ...]
    steps: int
    guidance_scale: float
    negative_prompt: str
    height: int
    width: int
    branches: tuple[str, ...]
    dtype: str

    @property
    def latent(self) -> tuple[int, int]:
        factor = vae_factor(self.pipeline)
        return self.height // factor, self.width // factor

    def in_order(self, modules: Sequence[str]) -> list[str]:
        """Module names in the denoiser's order."""
        return find_modules(self.pipeline.unet, modules)

    def config(self) -> dict:
        """What the fingerprint covers."""
        return {
            **identity(self.pipeline),
            "steps": self.steps,
            "guidance_scale": float(self.guidance_scale),
            "negative_prompt": self.negative_prompt,
            "height": self.height,
            "width": self.width,
            "branches": list(self.branches),
            "dtype": self.dtype,
            "captured": "module output",
        }


@dataclass(frozen=True)
class Trajectory:
    """One sample, run to its end.

    Attributes
    ----------
    activations : dict of str to numpy.ndarray
        (step, branch, y, x, channel) for each module.
    image : numpy.ndarray
        uint8 (Y, X, rgb).
    latents, predicted : numpy.ndarray
        float32 (step, c, y, x): x_t before each denoiser call and the x_0 predicted by it.
    """

    activations: dict[str, np.ndarray]
    image: np.ndarray
    latents: np.ndarray
    predicted: np.ndarray


def make_plan(
    pipeline: DiffusionPipeline,
    *,
    modules: str | Sequence[str],
    steps: int,
    guidance_scale: float,
    negative_prompt: str,
    height: int | None,
    width: int | None,
    branch: str,
    dtype: str,
) -> Plan:
    """Check the arguments of an extraction against a pipeline.

    Raises
    ------
    InputError
        If one of them doesn't fit; the message names it and what would.
    """
    _one_of("branch", branch, BRANCH_CHOICES)
    _one_of("dtype", dtype, DTYPES)
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    if not math.isfinite(guidance_scale):
        raise InputError(f"guidance_scale must be a finite number, got {guidance_scale}")
    if "uncond" in BRANCH_CHOICES[branch] and guidance_scale <= 1:
        raise InputError(
            f"guidance_scale {guidance_scale} runs no unconditional branch; use branch='cond' or a scale above 1"
        )
    factor = vae_factor(pipeline)
    default = pipeline.unet.config.sample_size * factor
    height, width = (default if side is None else side for side in (height, width))
    multiple = math.lcm(factor, 8)  # diffusers' own rule is 8
    if min(height, width) < multiple or height % multiple or width % multiple:
        raise InputError(f"height and width must be multiples of {multiple}, got {height} × {width}")
    names = find_modules(pipeline.unet, modules)
    latent = (height // factor, width // factor)
    shapes = module_shapes(pipeline.unet, names, latent, pipeline.tokenizer.model_max_length)
    try:
        pipeline.scheduler.set_timesteps(steps)
    except (ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{type(pipeline.scheduler).__name__} can't take {steps} steps: {error}") from error
    return Plan(
        pipeline=pipeline,
        modules=tuple(shapes),
        timesteps=tuple(float(t) for t in pipeline.scheduler.timesteps),
        steps=steps,
        guidance_scale=guidance_scale,
        negative_prompt=negative_prompt,
        height=height,
        width=width,
        branches=BRANCH_CHOICES[branch],
        dtype=dtype,
    )


def _one_of(name: str, value: str, allowed: dict) -> None:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def vae_factor(pipeline: DiffusionPipeline) -> int:
    """Pixels along one side of a latent position."""
    return 2 ** (len(pipeline.vae.config.block_out_channels) - 1)


def run(plan: Plan, prompts: Sequence[str], seeds: Sequence[int]) -> list[Trajectory]:
    """Generate a batch of samples and return each one's trajectory.

    Every sample has a generator of its own, seeded by its seed on the CPU, so that its noise doesn't
    depend on the batch, the order or the device.

    Raises
    ------
    LdmsceneError
        If the pipeline calls the denoiser another number of times than its scheduler planned.
    """
    names = [m.name for m in plan.modules]
    watched = recording(
        plan.pipeline, names, latent=plan.latent, dtype=DTYPES[plan.dtype], guidance_scale=plan.guidance_scale
    )
    with torch.no_grad(), quiet(plan.pipeline), watched as recorded:
        final = plan.pipeline(
            prompt=list(prompts),
            negative_prompt=[plan.negative_prompt] * len(prompts) if plan.guidance_scale > 1 else None,
            generator=[torch.Generator("cpu").manual_seed(int(seed)) for seed in seeds],
            num_inference_steps=plan.steps,
            guidance_scale=plan.guidance_scale,
            height=plan.height,
            width=plan.width,
            output_type="latent",
        ).images
    _check_calls(plan, recorded)
    images = decode(plan.pipeline, final)
    outputs = {name: stack_branches(recorded.outputs[name], recorded.order, plan.branches) for name in names}
    latents, predicted = (torch.stack(kept, 1).numpy() for kept in (recorded.latents, recorded.predicted))
    return [
        Trajectory({name: outputs[name][i] for name in names}, images[i], latents[i], predicted[i])
        for i in range(len(prompts))
    ]


def _check_calls(plan: Plan, recorded: Recording) -> None:
    if recorded.timesteps != list(plan.timesteps):
        raise LdmsceneError(
            f"the denoiser was called at timesteps {recorded.timesteps}, the scheduler planned {list(plan.timesteps)}; "
            "a pipeline that skips or repeats calls can't be captured"
        )


@torch.no_grad()
def decode(pipeline: DiffusionPipeline, latents: Tensor | np.ndarray) -> np.ndarray:
    """Latents (n, c, y, x) to uint8 images (n, Y, X, rgb), as the pipeline itself decodes its final ones."""
    vae = pipeline.vae
    z = torch.as_tensor(latents).to(vae.device, vae.dtype) / vae.config.scaling_factor
    images = pipeline.image_processor.postprocess(vae.decode(z, return_dict=False)[0], output_type="np")
    return (images * 255).round().astype(np.uint8)


@contextmanager
def quiet(pipeline: DiffusionPipeline) -> Iterator[None]:
    """Silence a pipeline's own progress bar inside the block."""
    own = getattr(pipeline, "_progress_bar_config", {})
    pipeline.set_progress_bar_config(**{**own, "disable": True})
    try:
        yield
    finally:
        pipeline.set_progress_bar_config(**own)
