"""Stage 1: the autoencoder. What it loses, no denoiser restores."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor
from torch.nn import functional as F

from ldmscene.testbed.nets import pixels
from ldmscene.testbed.train.data import Rows, SceneFiles
from ldmscene.testbed.train.loop import DEVICE, Schedule, draw, fit, save_whole

FINISHED = "vae.pt"  # the file of its weights once it is trained
BATCH = 16
AT_ONCE = 128  # pictures, once it is trained
SCENES = 20_000  # to learn from; four thousand batches see each three times
KL_WEIGHT = 1e-3
OBJECT_WEIGHT = 2.0  # solids cover a tenth of a picture and carry most of its meaning
EDGE_WEIGHT = 0.5  # of differences between neighbours


def train(vae: AutoencoderKL, files: SceneFiles, schedule: Schedule, folder: Path, seed: int) -> None:
    """Train the autoencoder once, and leave latents of zero mean and unit variance."""
    finished = folder / FINISHED
    if not finished.exists():
        _train(vae, files, schedule, folder, seed)
        save_whole(finished, vae.state_dict())
    load_finished(vae, folder)


def load_finished(vae: AutoencoderKL, folder: Path) -> None:
    vae.load_state_dict(torch.load(folder / FINISHED, weights_only=True))
    vae.eval()


def mark(vae: AutoencoderKL) -> str:
    """Eight hex digits of its weights, by which what was made with it is told from what another made."""
    sums = hashlib.sha256()
    for weight in vae.state_dict().values():
        sums.update(weight.numpy().tobytes())
    return sums.hexdigest()[:8]


def _train(vae: AutoencoderKL, files: SceneFiles, schedule: Schedule, folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    files = files.first(SCENES)
    image, mask = files.load("image"), files.load("mask")
    vae.set_attn_processor(AttnProcessor())  # the fused one's gradient is slow on CPUs

    def loss(generator: torch.Generator) -> Tensor:
        wanted, weight = (part.to(DEVICE) for part in _batch(image, mask, generator))
        with torch.autocast(DEVICE.type, torch.bfloat16):
            posterior = vae.encode(wanted).latent_dist
            decoded = vae.decode(posterior.sample(generator)).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss: Tensor = reconstruction_loss(decoded.float(), wanted, weight) + KL_WEIGHT * kl
        return loss

    fit(vae, loss, schedule, folder / "autoencoder.pt", seed=seed)
    vae.set_attn_processor(AttnProcessor2_0())
    standardise(vae, image[:2000])


def _batch(image: Rows, mask: Rows, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures and the weight of each of their pixels, which is higher on solids and at their edges."""
    rows = draw(len(image), BATCH, generator)
    near = F.max_pool2d(torch.from_numpy(mask[rows]).float()[:, None], 5, stride=1, padding=2)
    return pixels(image[rows]), 1 + OBJECT_WEIGHT * near


def reconstruction_loss(decoded: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Weighted error of pictures [n, 3, y, x] and of the differences between neighbours, which are what edges are."""
    error = F.smooth_l1_loss(decoded, wanted, reduction="none", beta=0.05)
    rest = decoded - wanted
    edges = [rest.diff(dim=d).abs() * weight.narrow(d, 1, weight.shape[d] - 1) for d in (2, 3)]
    return (error * weight).sum() / weight.sum() / 3 + EDGE_WEIGHT * (edges[0].mean() + edges[1].mean())


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
def encode(vae: AutoencoderKL, images: np.ndarray) -> Tensor:
    """Posterior means, [n, 4, y, x]."""
    parts = [images[i : i + AT_ONCE] for i in range(0, len(images), AT_ONCE)]
    return torch.cat([vae.encode(pixels(part)).latent_dist.mean for part in parts])


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: Tensor) -> np.ndarray:
    """uint8 images, [n, y, x, 3]."""
    parts = [vae.decode(z).sample for z in latents.split(AT_ONCE)]
    images = torch.cat(parts).permute(0, 2, 3, 1)
    return ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def psnr(truth: np.ndarray, image: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean over images of 10 log10(255² / mean squared error), in dB; over the masked pixels where given."""
    error = ((truth.astype(np.float64) - image) ** 2).mean(-1)
    mse = error.mean((1, 2)) if mask is None else (error * mask).sum((1, 2)) / mask.sum((1, 2))
    return float((10 * np.log10(255**2 / mse)).mean())
