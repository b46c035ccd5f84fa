"""Stage 3: the denoiser and its text encoder, trained together on latents of captioned scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from ldmscene.testbed.model import TOKENS, build_scheduler, build_text_encoder, build_tokenizer, build_unet
from ldmscene.testbed.scenes import captions
from ldmscene.testbed.train.autoencoder import encode
from ldmscene.testbed.train.data import CHUNK, SceneFiles
from ldmscene.testbed.train.loop import Schedule, draw, fit

SCHEDULE = Schedule(steps=2900, learning_rate=1e-3, average=0.9995)
BATCH = 64
WORDINGS = 4  # captions drawn for each scene
GUIDANCE_DROPOUT = 0.1  # share of captions left out, for classifier-free guidance
MAX_SNR = 5.0  # Hang et al. 2023, equation 7


class Denoiser(nn.Module):
    """The two parts that learn together."""

    def __init__(self) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(build_tokenizer())
        self.unet = build_unet()

    def forward(self, noisy: Tensor, timestep: Tensor, tokens: Tensor) -> Tensor:
        said: Tensor = self.unet(noisy, timestep, self.text_encoder(tokens)[0]).sample
        return said


def train(files: SceneFiles, vae: AutoencoderKL, folder: Path, seed: int) -> Denoiser:
    torch.manual_seed(seed)
    model = Denoiser()
    latents = _cached(folder / "latents.npy", lambda: encode(vae, files.load().image).numpy())
    tokens = _cached(folder / "tokens.npy", lambda: tokenise(files))
    empty = torch.tensor(build_tokenizer()("", padding="max_length", max_length=TOKENS).input_ids)
    alphas = build_scheduler().alphas_cumprod
    snr = alphas / (1 - alphas)
    weights = snr.clamp_max(MAX_SNR) / (snr + 1)  # for v-prediction

    def loss(generator: torch.Generator) -> Tensor:
        rows = draw(len(latents), BATCH, generator)
        clean = torch.from_numpy(latents[rows.numpy()])
        words = torch.from_numpy(tokens[rows.numpy(), draw(WORDINGS, BATCH, generator).numpy()]).long()
        dropped = torch.rand(BATCH, generator=generator) < GUIDANCE_DROPOUT
        words = torch.where(dropped[:, None], empty, words)
        timestep = draw(len(alphas), BATCH, generator)
        noise = torch.randn(clean.shape, generator=generator)
        signal, spread = (a[timestep].sqrt()[:, None, None, None] for a in (alphas, 1 - alphas))
        velocity = signal * noise - spread * clean
        with torch.autocast("cpu", torch.bfloat16):
            predicted = model(signal * clean + spread * noise, timestep, words)
        error = F.mse_loss(predicted.float(), velocity, reduction="none")
        loss: Tensor = (error.mean((1, 2, 3)) * weights[timestep]).mean()
        return loss

    fit(model, loss, SCHEDULE, folder / "denoiser.pt", seed=seed)
    return model


def tokenise(files: SceneFiles) -> np.ndarray:
    """Token ids of several wordings of each scene's caption, int16 [scene, wording, token]."""
    tokenizer = build_tokenizer()
    chunks = []
    for chunk in range(files.count // CHUNK):
        scenes = files.scenes(chunk)
        wordings = [captions(scenes, seed=files.seed + chunk + 7919 * k) for k in range(WORDINGS)]
        ids = [tokenizer(w, padding="max_length", max_length=TOKENS, truncation=True).input_ids for w in wordings]
        chunks.append(np.array(ids, dtype=np.int16).transpose(1, 0, 2))
    return np.concatenate(chunks)


def _cached(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    if not path.exists():
        np.save(path, make())
    mapped: np.ndarray = np.load(path, mmap_mode="r")
    return mapped
