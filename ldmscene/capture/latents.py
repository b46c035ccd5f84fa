"""How latents lie: in the store as (n, c, y, x), for each denoiser and autoencoder in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import SCMScheduler
from torch import Tensor, nn

from ldmscene.capture.source import autoencoder_of
from ldmscene.errors import InputError

_BLOCKS = ("block_out_channels", "encoder_block_out_channels", "down_block_out_channels")


_BY_INVERSE = ("DiTPipeline", "LDMTextToImagePipeline")  # multiply by 1 / scale, which rounds otherwise


def vae_factor(pipeline: Any) -> int:
    """Pixels along one side of a latent position.

    Raises
    ------
    InputError
        If neither the autoencoder's configuration nor the pipeline says so.
    """
    vae = autoencoder_of(pipeline)
    if is_video(vae):
        return int(2 ** len(vae.config.temperal_downsample))
    channels = next((vae.config[key] for key in _BLOCKS if vae.config.get(key)), None)
    if channels is not None:
        return int(2 ** (len(channels) - 1))
    found = getattr(pipeline, "vae_scale_factor", None)
    if not isinstance(found, int):
        raise InputError(f"{type(vae).__name__} doesn't say how many pixels a latent position has; it can't be used")
    return found


def latent_channels(pipeline: Any) -> int:
    """Channels of the latents.

    Raises
    ------
    InputError
        If the autoencoder's configuration doesn't say how many.
    """
    vae = autoencoder_of(pipeline)
    found = vae.config.get("latent_channels") or vae.config.get("z_dim")
    if found is None:
        raise InputError(f"{type(vae).__name__} doesn't say how many channels latents have; it can't be used")
    return int(found)


def is_video(vae: Any) -> bool:
    """Whether an autoencoder takes pictures as videos of one frame, (n, c, 1, y, x)."""
    return vae.config.get("temperal_downsample") is not None


def unpack(pipeline: Any, latents: Tensor, size: tuple[int, int]) -> Tensor:
    """What a scheduler steps, as latents (n, c, y, x) of a picture of `size` pixels."""
    if isinstance(pipeline.scheduler, SCMScheduler):
        latents = latents / pipeline.scheduler.config.sigma_data
    if latents.ndim == 4:
        return latents
    if _patchified(pipeline):
        y, x = (side // vae_factor(pipeline) // 2 for side in size)
        return _unpatchified(pipeline, latents.mT.unflatten(-1, (y, x)))
    found: Tensor = pipeline._unpack_latents(latents, *size, pipeline.vae_scale_factor)
    return found.squeeze(2) if found.ndim == 5 else found


def pack(pipeline: Any, latents: Tensor) -> Tensor:
    """Latents (n, c, y, x) as the pipeline's scheduler steps them."""
    if _patchified(pipeline):
        latents = pipeline._pack_latents(pipeline._patchify_latents(latents))
    elif hasattr(pipeline, "_pack_latents"):
        latents = pipeline._pack_latents(latents, *latents.shape)
    return latents


def as_argument(pipeline: Any, packed: Tensor, size: tuple[int, int]) -> Tensor:
    """What a scheduler steps, as the pipeline's own `latents` argument takes it."""
    return pipeline._patchify_latents(unpack(pipeline, packed, size)) if _patchified(pipeline) else packed


def unscaled(pipeline: Any, latents: Tensor) -> Tensor:
    """Latents (n, c, y, x) as the autoencoder decodes them."""
    vae = autoencoder_of(pipeline)
    if _patchified(pipeline):
        mean, deviation = _batch_norm(vae, latents)
        return _unpatchified(pipeline, pipeline._patchify_latents(latents) * deviation + mean)
    scale, shift = _scale_and_shift(pipeline, latents)
    if type(pipeline).__name__ in _BY_INVERSE:
        return 1 / scale * latents
    if isinstance(shift, Tensor) and vae.config.get("scaling_factor"):  # in the order of Stable Diffusion XL's own sums
        scaling: float = vae.config.scaling_factor
        return latents * _per_channel(vae.config.latents_std, latents) / scaling + shift
    return latents / scale + shift


def scaled(pipeline: Any, z: Tensor) -> Tensor:
    """What the autoencoder encoded, (n, c, y, x), as latents."""
    vae = autoencoder_of(pipeline)
    if _patchified(pipeline):
        mean, deviation = _batch_norm(vae, z)
        return _unpatchified(pipeline, (pipeline._patchify_latents(z) - mean) / deviation)
    scale, shift = _scale_and_shift(pipeline, z)
    return (z - shift) * scale


def _patchified(pipeline: Any) -> bool:
    """Flux 2 puts 2 × 2 latents on top of each other before it normalises and packs them."""
    return hasattr(pipeline, "_patchify_latents")


def _unpatchified(pipeline: Any, latents: Tensor) -> Tensor:
    found: Tensor = pipeline._unpatchify_latents(latents)
    return found


def _batch_norm(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    mean, variance = (one.view(1, -1, 1, 1).to(like) for one in (vae.bn.running_mean, vae.bn.running_var))
    return mean, torch.sqrt(variance + vae.config.batch_norm_eps)


def has_movq(pipeline: Any) -> bool:
    """Whether latents are decoded unscaled and unquantised, as Kandinsky's are."""
    return isinstance(getattr(pipeline, "movq", None), nn.Module)


def _scale_and_shift(pipeline: Any, z: Tensor) -> tuple[Tensor | float, Tensor | float]:
    config = autoencoder_of(pipeline).config
    scale = 1.0 if has_movq(pipeline) else config.get("scaling_factor") or 1.0
    if config.get("latents_mean") is None or config.get("latents_std") is None:
        return scale, config.get("shift_factor") or 0.0
    return scale / _per_channel(config["latents_std"], z), _per_channel(config["latents_mean"], z)


def _per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1).to(like)
