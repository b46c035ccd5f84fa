"""Stage 3: the denoiser and its text encoder, trained together on latents of captioned scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from ldmscene.testbed.model import TOKENS, build_scheduler, build_tokenizer
from ldmscene.testbed.train.autoencoder import encode, mark
from ldmscene.testbed.train.data import WORDINGS, Rows, SceneFiles
from ldmscene.testbed.train.loop import DEVICE, Schedule, draw, fit

BATCH = 64
GUIDANCE_DROPOUT = 0.1  # share of captions left out, for classifier-free guidance
MAX_SNR = 5.0
CPU = torch.device("cpu")


class Denoiser(nn.Module):
    """The two parts that learn together."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(self, noisy: Tensor, timestep: Tensor, tokens: Tensor) -> Tensor:
        said: Tensor = self.unet(noisy, timestep, self.text_encoder(tokens)[0]).sample
        return said


def train(model: Denoiser, vae: AutoencoderKL, files: SceneFiles, schedule: Schedule, folder: Path, seed: int) -> None:
    latents, tokens = learnt_from(vae, files)
    empty = torch.tensor(build_tokenizer()("", padding="max_length", max_length=TOKENS).input_ids)
    model.unet.set_attn_processor(AttnProcessor())  # the fused one's gradient is slow on CPUs
    model.text_encoder.set_attn_implementation("eager")

    def loss(generator: torch.Generator) -> Tensor:
        rows = draw(len(latents), BATCH, generator)
        words = torch.from_numpy(tokens[rows]).long()[torch.arange(BATCH), draw(WORDINGS, BATCH, generator)]
        dropped = torch.rand(BATCH, generator=generator) < GUIDANCE_DROPOUT
        words = torch.where(dropped[:, None], empty, words)
        with torch.autocast(DEVICE.type, torch.bfloat16):
            return velocity_loss(model, torch.from_numpy(latents[rows]).float(), words, generator, DEVICE)

    fit(model, loss, schedule, folder / "denoiser.pt", seed=seed)
    model.unet.set_attn_processor(AttnProcessor2_0())
    model.text_encoder.set_attn_implementation("sdpa")


def learnt_from(vae: AutoencoderKL, files: SceneFiles) -> tuple[Rows, Rows]:
    """Latents, float16 [scene, c, y, x], and captions, int16 [scene, wording, token]."""
    name = f"latents-{mark(vae)}"
    latents = files.derived(name, lambda chunk: encode(vae, files.part("image", chunk)).half().numpy())
    return latents, files.derived("tokens", lambda chunk: tokenise(files.captions(chunk)))


def velocity_loss(
    model: Denoiser, clean: Tensor, words: Tensor, generator: torch.Generator, device: torch.device = CPU
) -> Tensor:
    """Mean error of the velocity at random timesteps (Salimans and Ho 2022).

    Beyond a signal-to-noise ratio of `MAX_SNR` weights fall, as min-SNR weights do (Hang et al. 2023). Below they are
    one: there it is decided which solid stands where, and min-SNR weights are nearly zero.
    """
    alphas = build_scheduler().alphas_cumprod
    timestep = draw(len(alphas), len(clean), generator)
    noise = torch.randn(clean.shape, generator=generator)
    signal, spread = (a[timestep].sqrt()[:, None, None, None] for a in (alphas, 1 - alphas))
    noisy = signal * clean + spread * noise
    predicted = model(noisy.to(device), timestep.to(device), words.to(device)).float().cpu()
    error = F.mse_loss(predicted, signal * noise - spread * clean, reduction="none").mean((1, 2, 3))
    snr = alphas[timestep] / (1 - alphas[timestep])
    loss: Tensor = (error * ((MAX_SNR + 1) / (snr + 1)).clamp_max(1)).mean()
    return loss


@torch.no_grad()
def held_out_loss(model: Denoiser, latents: Rows, tokens: Rows) -> float:
    """The training's loss on the first thousand scenes, with their first wording and the same noise each time."""
    generator = torch.Generator().manual_seed(0)
    rows = [slice(i, i + 100) for i in range(0, 1000, 100)]
    batches = [(torch.from_numpy(latents[r]).float(), torch.from_numpy(tokens[r][:, 0]).long()) for r in rows]
    return float(np.mean([velocity_loss(model, z, words, generator).item() for z, words in batches]))


def tokenise(wordings: list[list[str]]) -> np.ndarray:
    """Token numbers, int16 [scene, wording, token]."""
    tokenizer = build_tokenizer()
    ids = [tokenizer(w, padding="max_length", max_length=TOKENS, truncation=True).input_ids for w in wordings]
    return np.array(ids, dtype=np.int16).transpose(1, 0, 2)
