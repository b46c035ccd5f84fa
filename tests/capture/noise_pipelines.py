"""Small pipelines that take no prompt, or a class: diffusers' own classes with random weights."""

from __future__ import annotations

import torch
import transformers
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    DiTPipeline,
    DiTTransformer2DModel,
    LDMPipeline,
    LDMTextToImagePipeline,
    UNet2DModel,
    VQModel,
)

from ldmscene.testbed.model import build_tokenizer
from tests.capture.pipelines import clip, unet, vae


def _plain_unet(channels: int = 3, size: int = 12) -> UNet2DModel:
    return UNet2DModel(
        sample_size=size, in_channels=channels, out_channels=channels, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, attention_head_dim=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def ddpm() -> DiffusionPipeline:
    return DDPMPipeline(unet=_plain_unet(), scheduler=DDPMScheduler())


def ddim_grey() -> DiffusionPipeline:
    return DDIMPipeline(unet=_plain_unet(channels=1), scheduler=DDIMScheduler())


def ldm() -> DiffusionPipeline:
    quantised = VQModel(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4, latent_channels=3,
        up_block_types=("UpDecoderBlock2D",) * 2, num_vq_embeddings=12, scaling_factor=0.7,
    )  # fmt: skip
    return LDMPipeline(vqvae=quantised, unet=_plain_unet(), scheduler=DDIMScheduler(clip_sample=False))


def ldm_text() -> DiffusionPipeline:
    tokenizer = build_tokenizer()
    tokenizer.model_max_length = 77
    autoencoder = vae(4)
    text = clip()
    config = text.config
    config.max_position_embeddings = 77
    return LDMTextToImagePipeline(
        vqvae=autoencoder, bert=transformers.CLIPTextModel(config), tokenizer=tokenizer, unet=unet(),
        scheduler=DDIMScheduler(clip_sample=False),
    )  # fmt: skip


def dit() -> DiffusionPipeline:
    return DiTPipeline(
        transformer=DiTTransformer2DModel(
            sample_size=8, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=2, in_channels=4,
            out_channels=8, attention_bias=True, activation_fn="gelu-approximate", num_embeds_ada_norm=1000,
            norm_type="ada_norm_zero", norm_elementwise_affine=False,
        ),
        vae=vae(), scheduler=DDIMScheduler(clip_sample=False), id2label={"7": "cock, rooster", "9": "ostrich"},
    )  # fmt: skip


NOISE_PIPELINES = {maker.__name__: maker for maker in (ddpm, ddim_grey, ldm, ldm_text, dit)}


def build(name: str) -> DiffusionPipeline:
    """One of them, with the same weights at every call."""
    torch.manual_seed(0)
    pipeline = NOISE_PIPELINES[name]()
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
            for weight in part.parameters():  # zero initialisation would make conditions count for nothing
                torch.nn.init.normal_(weight, std=0.2) if not weight.any() else None
    return pipeline
