"""Stage 2: the denoiser and its text encoder, trained together on latents of captioned scenes.

They go on from the first world's: the words that both worlds know keep their embeddings.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from ldmscene.testbed.model import build_scheduler, build_text_encoder
from ldmscene.testbed.rooms.model import TOKENS, build_tokenizer
from ldmscene.testbed.rooms.train.autoencoder import mark
from ldmscene.testbed.rooms.train.data import WORDINGS, Rows, SceneFiles
from ldmscene.testbed.rooms.words import vocabulary
from ldmscene.testbed.train.autoencoder import encode
from ldmscene.testbed.train.loop import Schedule, draw, fit

BATCH = 64
GUIDANCE_DROPOUT = 0.1  # share of captions left out, for classifier-free guidance
MAX_SNR = 5.0  # Hang et al. 2023, equation 7


class Denoiser(nn.Module):
    """The two parts that learn together."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(self, noisy: Tensor, timestep: Tensor, tokens: Tensor) -> Tensor:
        said: Tensor = self.unet(noisy, timestep, self.text_encoder(tokens)[0]).sample
        return said


def start_from(folder: Path, seed: int) -> Denoiser:
    """The denoiser of a pipeline's folder, with a text encoder for this world's words."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    text_encoder = build_text_encoder(tokenizer)
    old = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", dtype=torch.float32).state_dict()
    same = _same_tokens(tokenizer, CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"))
    here, there = torch.tensor(same).T
    with torch.no_grad():
        for name, weight in text_encoder.named_parameters():
            if name.endswith("token_embedding.weight"):
                weight[here] = old[name][there]
            else:  # this world's captions have more positions than the first's
                weight[: len(old[name])] = old[name]
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=torch.float32)
    return Denoiser(text_encoder, unet)


def _same_tokens(tokenizer: CLIPTokenizer, other: CLIPTokenizer) -> list[tuple[int, int]]:
    """Numbers in both tokenizers of start, end, and those of this world's words that are one token in both."""
    texts = [*vocabulary(), ""]
    ids = [(tokenizer(text).input_ids, other(text).input_ids) for text in texts]
    return [pair for here, there in ids if len(here) == len(there) for pair in zip(here, there, strict=True)]


def train(model: Denoiser, vae: AutoencoderKL, files: SceneFiles, schedule: Schedule, folder: Path, seed: int) -> None:
    """Go on from the first world's denoiser."""
    latents, tokens = learnt_from(vae, files)
    empty = torch.tensor(build_tokenizer()("", padding="max_length", max_length=TOKENS).input_ids)
    model.unet.set_attn_processor(AttnProcessor())  # the fused one's gradient is slow on CPUs
    model.text_encoder.set_attn_implementation("eager")

    def loss(generator: torch.Generator) -> Tensor:
        rows = draw(len(latents), BATCH, generator)
        words = torch.from_numpy(tokens[rows]).long()[torch.arange(BATCH), draw(WORDINGS, BATCH, generator)]
        dropped = torch.rand(BATCH, generator=generator) < GUIDANCE_DROPOUT
        words = torch.where(dropped[:, None], empty, words)
        with torch.autocast("cpu", torch.bfloat16):
            return velocity_loss(model, torch.from_numpy(latents[rows]).float(), words, generator)

    fit(model, loss, schedule, folder / "denoiser.pt", seed=seed)
    model.unet.set_attn_processor(AttnProcessor2_0())
    model.text_encoder.set_attn_implementation("sdpa")


def learnt_from(vae: AutoencoderKL, files: SceneFiles) -> tuple[Rows, Rows]:
    """Latents, float16 [scene, c, y, x], and captions, int16 [scene, wording, token]."""
    name = f"latents-{mark(vae)}"
    latents = files.derived(name, lambda chunk: encode(vae, files.part("image", chunk)).half().numpy())
    return latents, files.derived("tokens", lambda chunk: tokenise(files.captions(chunk)))


def velocity_loss(model: Denoiser, clean: Tensor, words: Tensor, generator: torch.Generator) -> Tensor:
    """Mean error of the velocity at random timesteps (Salimans and Ho 2022), with min-SNR weights."""
    alphas = build_scheduler().alphas_cumprod
    timestep = draw(len(alphas), len(clean), generator)
    noise = torch.randn(clean.shape, generator=generator)
    signal, spread = (a[timestep].sqrt()[:, None, None, None] for a in (alphas, 1 - alphas))
    predicted = model(signal * clean + spread * noise, timestep, words).float()
    error = F.mse_loss(predicted, signal * noise - spread * clean, reduction="none").mean((1, 2, 3))
    snr = alphas[timestep] / (1 - alphas[timestep])
    loss: Tensor = (error * snr.clamp_max(MAX_SNR) / (snr + 1)).mean()
    return loss


@torch.no_grad()
def held_out_loss(model: Denoiser, latents: Rows, tokens: Rows, seed: int = 0) -> float:
    """The training's loss on the first thousand scenes, with their first wording and the same noise each time."""
    generator = torch.Generator().manual_seed(seed)
    rows = [slice(i, i + 100) for i in range(0, 1000, 100)]
    batches = [(torch.from_numpy(latents[r]).float(), torch.from_numpy(tokens[r][:, 0]).long()) for r in rows]
    return float(np.mean([velocity_loss(model, z, words, generator).item() for z, words in batches]))


def tokenise(wordings: list[list[str]]) -> np.ndarray:
    """Token numbers, int16 [scene, wording, token]."""
    tokenizer = build_tokenizer()
    ids = [tokenizer(w, padding="max_length", max_length=TOKENS, truncation=True).input_ids for w in wordings]
    return np.array(ids, dtype=np.int16).transpose(1, 0, 2)
