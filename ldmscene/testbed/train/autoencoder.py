"""Stage 1: the autoencoder. What it loses, no denoiser restores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from ldmscene.testbed.model import build_vae
from ldmscene.testbed.scenes import Rendering
from ldmscene.testbed.train.loop import Schedule, draw, fit

SCHEDULE = Schedule(steps=2200, learning_rate=2e-3)
BATCH = 32
KL_WEIGHT = 1e-3
OBJECT_WEIGHT = 3.0  # objects cover a tenth of a picture and carry most of its meaning


def pixels(images: np.ndarray) -> Tensor:
    """uint8 [n, y, x, 3] to float [n, 3, y, x] in -1 to 1."""
    copied = torch.from_numpy(np.array(images))  # files that are mapped into memory can't be written
    return copied.permute(0, 3, 1, 2).float() / 127.5 - 1


def train(data: Rendering, folder: Path, seed: int) -> AutoencoderKL:
    torch.manual_seed(seed)
    vae = build_vae()

    def loss(generator: torch.Generator) -> Tensor:
        rows = draw(len(data.image), BATCH, generator).numpy()
        image = pixels(data.image[rows])
        near = F.max_pool2d(torch.from_numpy(data.mask[rows]).float()[:, None], 7, stride=1, padding=3)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(image).latent_dist
            decoded = vae.decode(posterior.sample(generator)).sample
        weight = 1 + OBJECT_WEIGHT * near
        error = F.smooth_l1_loss(decoded.float(), image, reduction="none", beta=0.05)
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss: Tensor = (error * weight).sum() / weight.sum() / 3 + KL_WEIGHT * kl
        return loss

    fit(vae, loss, SCHEDULE, folder / "autoencoder.pt", seed=seed)
    standardise(vae, data.image[:2048])
    return vae


@torch.no_grad()
def standardise(vae: AutoencoderKL, images: np.ndarray) -> None:
    """Fold the latents' mean and deviation of each channel into the 1 × 1 convolutions on either side.

    Latents then have zero mean and unit variance, and `scaling_factor` is 1.
    """
    latents = encode(vae, images)
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    weight, bias = vae.quant_conv.weight, vae.quant_conv.bias
    channels = len(mean)  # the first half of quant_conv gives the mean, the second the log variance
    bias[:channels] = (bias[:channels] - mean) / std
    weight[:channels] /= std[:, None, None, None]
    bias[channels:] -= 2 * std.log()
    vae.post_quant_conv.bias += (vae.post_quant_conv.weight * mean[None, :, None, None]).sum((1, 2, 3))
    vae.post_quant_conv.weight *= std[None, :, None, None]


@torch.no_grad()
def encode(vae: AutoencoderKL, images: np.ndarray, batch: int = 128) -> Tensor:
    """Posterior means, [n, 4, y, x]."""
    parts = [images[i : i + batch] for i in range(0, len(images), batch)]
    return torch.cat([vae.encode(pixels(part)).latent_dist.mean for part in parts])


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: Tensor, batch: int = 128) -> np.ndarray:
    """uint8 images, [n, y, x, 3]."""
    parts = [vae.decode(z).sample for z in latents.split(batch)]
    images = torch.cat(parts).permute(0, 2, 3, 1)
    return ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def psnr(truth: np.ndarray, image: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean over images of 10 log10(255² / mean squared error), in dB; over the masked pixels where given."""
    error = ((truth.astype(np.float64) - image) ** 2).mean(-1)
    mse = error.mean((1, 2)) if mask is None else (error * mask).sum((1, 2)) / mask.sum((1, 2))
    return float((10 * np.log10(255**2 / mse)).mean())
