"""The autoencoder of a model that denoises pixels themselves."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Pixels(nn.Module):
    """Pictures are their own latents, from −1 to 1; a model's one channel is shown as three equal ones."""

    def __init__(self, denoiser: Any) -> None:
        super().__init__()
        self.config = {"block_out_channels": (1,), "latent_channels": denoiser.config.in_channels}
        self.dtype = denoiser.dtype

    def decode(self, z: Tensor, return_dict: bool = False) -> tuple[Tensor]:
        return (z.expand(-1, 3, -1, -1),)

    def encode(self, pixels: Tensor) -> tuple[Tensor]:
        return (pixels if self.config["latent_channels"] == 3 else pixels.mean(1, keepdim=True),)
