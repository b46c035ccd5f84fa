"""Between pictures and latents: a pipeline's own autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from torch import Tensor

from ldmscene.capture.source import autoencoder_of


def vae_factor(vae: Any) -> int:
    """Pixels along one side of a latent position, for an autoencoder."""
    config = vae.config
    channels = config.get("block_out_channels") or config["encoder_block_out_channels"]
    return 2 ** (len(channels) - 1)


@torch.no_grad()
def decode(pipeline, latents: Tensor | np.ndarray) -> np.ndarray:
    """Latents (n, c, y, x) to uint8 images (n, Y, X, rgb), as the pipeline itself decodes its final ones.

    One after the other: of many at once an autoencoder needs more memory than the denoiser, and a picture would depend
    on those beside it.
    """
    with _ready(pipeline) as vae:
        return np.concatenate([_decoded(pipeline, vae, z) for z in torch.as_tensor(latents).split(1)])


def _decoded(pipeline, vae: Any, latents: Tensor) -> np.ndarray:
    z = latents.to(pipeline._execution_device, vae.dtype)
    images = vae.decode(_unscaled(vae, z), return_dict=False, **_plain(vae))[0]
    pixels = VaeImageProcessor().postprocess(images.float(), output_type="np")
    return (pixels * 255).round().astype(np.uint8)


@torch.no_grad()
def encode(pipeline, images: np.ndarray) -> Tensor:
    """uint8 images (n, Y, X, rgb) to latents (n, c, y, x), float32 on the CPU: the mean, not a draw."""
    with _ready(pipeline) as vae:
        pixels = torch.from_numpy(images).to(pipeline._execution_device).permute(0, 3, 1, 2) / 127.5 - 1
        found = vae.encode(pixels.to(vae.dtype))
        z = found.latent_dist.mode() if hasattr(found, "latent_dist") else found[0]
    return _scaled(vae, z.float()).cpu()


def unpack(pipeline, latents: Tensor, size: tuple[int, int]) -> Tensor:
    """Latents as (n, c, y, x), also where the pipeline packs 2 × 2 of them into a token."""
    if latents.ndim == 4:
        return latents
    return pipeline._unpack_latents(latents, *size, pipeline.vae_scale_factor)


def pack(pipeline, latents: Tensor) -> Tensor:
    """Latents (n, c, y, x) as the pipeline's own `latents` argument takes them."""
    return pipeline._pack_latents(latents, *latents.shape) if hasattr(pipeline, "_pack_latents") else latents


def _plain(vae: Any) -> dict[str, bool]:
    return {"force_not_quantize": True} if type(vae).__name__ == "VQModel" else {}


def _unscaled(vae: Any, z: Tensor) -> Tensor:
    scale, shift = _scale_and_shift(vae, z)
    return z / scale + shift


def _scaled(vae: Any, z: Tensor) -> Tensor:
    scale, shift = _scale_and_shift(vae, z)
    return (z - shift) * scale


def _scale_and_shift(vae: Any, z: Tensor) -> tuple[Tensor | float, Tensor | float]:
    config = vae.config
    scale = 1.0 if type(vae).__name__ == "VQModel" else config.get("scaling_factor") or 1.0
    if config.get("latents_mean") is None or config.get("latents_std") is None:
        return scale, config.get("shift_factor") or 0.0
    mean, std = (torch.tensor(config[key]).view(1, -1, 1, 1).to(z) for key in ("latents_mean", "latents_std"))
    return scale / std, mean


@contextmanager
def _ready(pipeline) -> Iterator[Any]:
    """The autoencoder, in float32 where float16 would overflow; offloaded again where it was."""
    vae = autoencoder_of(pipeline)
    upcast = vae.dtype == torch.float16 and vae.config.get("force_upcast")
    if upcast:
        vae.to(torch.float32)
    try:
        yield vae
    finally:
        if upcast:
            vae.to(torch.float16)
        pipeline.maybe_free_model_hooks()
