"""The parts that learn, as they start and as they ship."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from ldmscene.testbed.model import build_pipeline, build_text_encoder, build_tokenizer, build_unet, build_vae
from ldmscene.testbed.nets import MapNet
from ldmscene.testbed.spotting import LOGITS
from ldmscene.testbed.train.autoencoder import load_finished
from ldmscene.testbed.train.denoiser import Denoiser
from ldmscene.testbed.train.export import export_nets, export_pipeline
from ldmscene.testbed.train.loop import load_average


@dataclass(frozen=True)
class Parts:
    """The autoencoder, the nets that read pictures, the denoiser with its text encoder."""

    vae: AutoencoderKL
    labelers: MapNet
    spotter: MapNet
    denoiser: Denoiser

    @classmethod
    def start(cls, seed: int) -> Parts:
        """As training begins."""
        torch.manual_seed(seed)
        text_encoder = build_text_encoder(build_tokenizer())
        return cls(build_vae(), MapNet(), MapNet(LOGITS), Denoiser(text_encoder, build_unet()))

    def pipeline(self) -> StableDiffusionPipeline:
        """The latent diffusion model."""
        return build_pipeline(self.vae, build_tokenizer(), self.denoiser.text_encoder, self.denoiser.unet)

    def export(self, folder: Path) -> None:
        """Write the pipeline's folder and the nets beside it, in float16."""
        export_pipeline(self.pipeline(), folder / "tiny-scenes")
        export_nets({"labelers": self.labelers, "spotter": self.spotter}, folder)

    def load(self, folder: Path) -> None:
        """Take the averaged weights of the checkpoints in a folder, however far they are."""
        for name in ("labelers", "spotter", "denoiser"):
            load_average(getattr(self, name), folder / f"{name}.pt")
        load_finished(self.vae, folder)
