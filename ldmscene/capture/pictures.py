"""Between pictures and latents: a pipeline's own autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers.image_processor import VaeImageProcessor
from torch import Tensor

from ldmscene.capture.latents import has_movq, is_video, scaled, unscaled, vae_factor
from ldmscene.capture.source import autoencoder_of

_PIXELS = 1 << 18  # that are decoded together
Picture = tuple[np.ndarray, int]
"""uint8 (1, Y, X, rgb), and how many of its values were infinite or NaN"""


@torch.no_grad()
def decode(pipeline: Any, latents: Tensor | np.ndarray, *, running: bool = False) -> np.ndarray:
    """Latents (n, c, y, x) to uint8 images (n, Y, X, rgb), as the pipeline itself decodes its final ones.

    But for an autoencoder in float16 whose config says `force_upcast`, as diffusers' do unless told otherwise: it runs
    in float32. Pipelines of Stable Diffusion 1 and 2 don't look at that, so that theirs differ by float16's rounding,
    and are black where it overflows. Some at a time, since an autoencoder needs more memory than the denoiser.
    `running`: the pipeline is in the middle of a run, which goes on with its denoiser's caches and where its parts are.
    """
    return decode_counting(pipeline, latents, running=running)[0]


@torch.no_grad()
def decode_counting(pipeline: Any, latents: Tensor | np.ndarray, *, running: bool = False) -> tuple[np.ndarray, int]:
    """Pictures as `decode` returns them, and how many of their values the autoencoder left infinite or NaN.

    A picture can't show these: as uint8 they are black or white.
    """
    with ready(pipeline, running=running) as vae:
        factor = vae_factor(pipeline)
        size = at_once(latents.shape[-2] * factor, latents.shape[-1] * factor)
        decoded = [_decoded(pipeline, vae, z) for z in torch.as_tensor(latents).split(size)]
    return np.concatenate([pictures for pictures, _ in decoded]), sum(lost for _, lost in decoded)


def at_once(height: int, width: int) -> int:
    """How many pictures of a size are decoded together: one of Stable Diffusion's, many small ones."""
    return max(1, _PIXELS // (height * width))


def _decoded(pipeline: Any, vae: Any, latents: Tensor) -> tuple[np.ndarray, int]:
    found = as_decoded(pipeline, vae, unscaled(pipeline, latents.to(pipeline._execution_device, vae.dtype)))
    images = found[:, :, 0] if is_video(vae) else found
    lost = images.numel() - int(images.isfinite().sum())
    pixels = VaeImageProcessor().postprocess(images.float().nan_to_num(nan=-1.0), output_type="np")
    whole: np.ndarray = (pixels * 255).round().astype(np.uint8)
    return whole, lost


def as_decoded(pipeline: Any, vae: Any, z: Tensor) -> Tensor:
    """What a pipeline's autoencoder, or one like it, makes of unscaled latents (n, c, y, x)."""
    decoded: Tensor = vae.decode(z[:, :, None] if is_video(vae) else z, return_dict=False, **_plain(pipeline))[0]
    return decoded


@torch.no_grad()
def encode(pipeline: Any, images: np.ndarray) -> Tensor:
    """uint8 images (n, Y, X, rgb) to latents (n, c, y, x), float32 on the CPU: the mean, not a draw."""
    with ready(pipeline) as vae:
        pixels = torch.from_numpy(images).to(pipeline._execution_device).permute(0, 3, 1, 2) / 127.5 - 1
        pixels = pixels[:, :, None] if is_video(vae) else pixels
        found = vae.encode(pixels.to(vae.dtype))
        z = found.latent_dist.mode() if hasattr(found, "latent_dist") else found[0]
        z = z[:, :, 0] if is_video(vae) else z
    return scaled(pipeline, z.float()).cpu()


def _plain(pipeline: Any) -> dict[str, bool]:
    return {"force_not_quantize": True} if has_movq(pipeline) else {}


@contextmanager
def ready(pipeline: Any, *, running: bool = False) -> Iterator[Any]:
    """The autoencoder, in float32 where it is in float16 and its config says `force_upcast`.

    Afterwards parts are offloaded again, and caches reset, as at the end of a run; not while one is `running`.
    """
    vae = autoencoder_of(pipeline)
    upcast = vae.dtype == torch.float16 and vae.config.get("force_upcast")
    if upcast:
        vae.to(torch.float32)
    try:
        yield vae
    finally:
        if upcast:
            vae.to(torch.float16)
        if not running:
            pipeline.maybe_free_model_hooks()
