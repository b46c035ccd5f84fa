"""From trained parts to the folder that ships: float16 safetensors that diffusers loads offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import nn


def export_pipeline(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Write a folder that diffusers loads in its plain way; the parts come back in float32."""
    parts = (pipeline.vae, pipeline.text_encoder, pipeline.unet)
    for part in parts:
        part.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    for part in parts:
        part.float()
    # transformers loads a model in the dtype that its config names, diffusers in float32: a pipeline needs one of them.
    config = folder / "text_encoder" / "config.json"
    config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)  # save_pretrained keeps weights from other users


def export_nets(nets: Mapping[str, nn.Module], folder: Path) -> None:
    """Write one safetensors file for each net."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, net in nets.items():
        weights = {k: v.detach().to(torch.float16).contiguous() for k, v in net.state_dict().items()}
        save_file(weights, folder / f"{name}.safetensors")
        (folder / f"{name}.safetensors").chmod(0o644)
