"""Small pipelines that take pictures beside a prompt, with random weights, and what each of them takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import transformers
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    DiffusionPipeline,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    T2IAdapter,
)

from tests.capture.pipelines import WIDTH, build, stable_diffusion


@dataclass(frozen=True)
class Taken:
    """How a pipeline is made, which pictures it takes, and which settings beside them."""

    make: Callable[[], DiffusionPipeline]
    pictures: tuple[str, ...]
    settings: Mapping[str, float] = field(default_factory=dict)


def _small(kind, *, own: str = "stable_diffusion", **more) -> DiffusionPipeline:
    pipeline = build(own)
    checked = {} if own == "stable_diffusion_xl" else {"requires_safety_checker": False}
    made = kind(**pipeline.components, **more, **checked)
    if own == "stable_diffusion":
        made.scheduler = DDIMScheduler.from_config(made.scheduler.config, clip_sample=False)
    return made


def image_to_image() -> DiffusionPipeline:
    return _small(StableDiffusionImg2ImgPipeline)


def image_to_image_xl() -> DiffusionPipeline:
    return _small(StableDiffusionXLImg2ImgPipeline, own="stable_diffusion_xl")


def inpainting() -> DiffusionPipeline:
    return _small(StableDiffusionInpaintPipeline)


def inpainting_learned() -> DiffusionPipeline:
    """Whose denoiser gets the mask and the masked picture as channels."""
    made = stable_diffusion(DDIMScheduler, StableDiffusionInpaintPipeline, in_channels=9)
    fill(made.unet)
    return made


def control_net() -> DiffusionPipeline:
    unet = build("stable_diffusion").unet
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32))
    fill(net)
    return _small(StableDiffusionControlNetPipeline, controlnet=net)


def adapter() -> DiffusionPipeline:
    torch.manual_seed(1)
    net = T2IAdapter(channels=[16, 32], num_res_blocks=1, downscale_factor=2, adapter_type="full_adapter")
    parts = stable_diffusion(
        DDIMScheduler, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).components  # fmt: skip
    del parts["image_encoder"]
    fill(parts["unet"])
    return StableDiffusionAdapterPipeline(**parts, adapter=fill(net), requires_safety_checker=False)


def image_prompt() -> DiffusionPipeline:
    """An IP-Adapter."""
    made = _small(StableDiffusionPipeline)
    made.register_modules(**image_encoder())
    made.unet._load_ip_adapter_weights([_adapter_weights(made.unet)])
    return made


def image_encoder() -> dict[str, object]:
    """What reads pictures as CLIP does, and what readies them for it."""
    vision = transformers.CLIPVisionConfig(
        image_size=32, patch_size=8, hidden_size=WIDTH, projection_dim=WIDTH, intermediate_size=37,
        num_hidden_layers=2, num_attention_heads=4,
    )  # fmt: skip
    torch.manual_seed(2)
    return {
        "image_encoder": transformers.CLIPVisionModelWithProjection(vision).eval(),
        "feature_extractor": transformers.CLIPImageProcessorPil(crop_size=32, size=32),
    }


def _adapter_weights(unet) -> dict[str, dict[str, torch.Tensor]]:
    """As `load_ip_adapter` finds them in a file."""
    tokens, width = 4, unet.config.cross_attention_dim
    projected = {
        "proj.weight": torch.randn(tokens * width, WIDTH) * 0.2,
        "proj.bias": torch.zeros(tokens * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    keys = {}
    for number, name in enumerate(one for one in unet.attn_processors if "attn2" in one):
        attention = unet.get_submodule(name.removesuffix(".processor"))
        for to in ("to_k", "to_v"):
            keys[f"{2 * number + 1}.{to}_ip.weight"] = torch.randn_like(getattr(attention, to).weight) * 0.2
    return {"image_proj": projected, "ip_adapter": keys}


def fill(part):
    """Zero initialisation would make the picture count for nothing."""
    torch.manual_seed(3)
    for weight in part.parameters():
        torch.nn.init.normal_(weight, std=0.2) if not weight.any() else None
    return part.eval()


PICTURE_PIPELINES: dict[str, Taken] = {
    "image_to_image": Taken(image_to_image, ("image",), {"strength": 0.7}),
    "image_to_image_xl": Taken(image_to_image_xl, ("image",), {"strength": 0.7}),
    "inpainting": Taken(inpainting, ("image", "mask_image"), {"strength": 0.7}),
    "inpainting_learned": Taken(inpainting_learned, ("image", "mask_image")),
    "control_net": Taken(control_net, ("image",), {"controlnet_conditioning_scale": 0.7}),
    "adapter": Taken(adapter, ("image",)),
    "image_prompt": Taken(image_prompt, ("ip_adapter_image",)),
}


def picture(number: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    """Blocks of colour, so that a mask of it has both sides."""
    blocks = np.random.default_rng(number).integers(0, 2, (4, 6, 3), np.uint8) * 255
    return np.kron(blocks, np.ones((size[0] // 4, size[1] // 6, 1), np.uint8))
