"""The table of docs/costs.md: `python docs/costs.py` prints it, from models' configurations alone.

A sample is a file for each module, one for its picture and one for its latents.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ldmscene
from ldmscene.text import human_bytes

PICTURES = 1000
HEAD = f"| model, size | modules | steps | one picture | {PICTURES:,} pictures | files |\n|---|---|---|---|---|---|"
UNET = {
    "_class_name": "UNet2DConditionModel", "act_fn": "silu", "block_out_channels": [320, 640, 1280, 1280],
    "in_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 4,
}  # fmt: skip
V1_4 = UNET | {
    "attention_head_dim": 8, "cross_attention_dim": 768, "sample_size": 64,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}  # fmt: skip
XL = UNET | {
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280], "cross_attention_dim": 2048, "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128, "transformer_layers_per_block": [1, 2, 10], "use_linear_projection": True,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
}  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A model by its configurations, with the factor of its autoencoder."""

    name: str
    pipeline: str
    unet: dict[str, Any]
    factor: int = 8

    @property
    def size(self) -> int:
        return self.unet["sample_size"] * self.factor


MODELS = (
    Model("Stable Diffusion 1.4", "StableDiffusionPipeline", V1_4),
    Model("Stable Diffusion XL", "StableDiffusionXLPipeline", XL),
)
CHOICES = (("self-attention", 15), ("self-attention", 50), ("resnet", 15), ("all-blocks", 15))


def rows() -> Iterator[str]:
    """One for each model, preset and number of steps."""
    for model in MODELS:
        for preset, steps in CHOICES:
            modules = _modules(model, preset)
            one, files = of_one(modules, steps, model.size, model.factor)
            cells = [f"{model.name}, {model.size} px", f"`{preset}`: {len(modules)}", str(steps), human_bytes(one)]
            yield f"| {' | '.join(cells)} | {human_bytes(PICTURES * one)} | {PICTURES * files:,} |"


def of_one(modules: Sequence[dict[str, Any]], steps: int, size: int, factor: int) -> tuple[int, int]:
    """Bytes and files of one sample; latents are four channels in float32."""
    latents = 4 * 4 * (size // factor) ** 2
    return steps * (sum(m["bytes_per_step"] for m in modules) + latents) + 3 * size**2, len(modules) + 2


def _modules(model: Model, preset: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "unet").mkdir()
        (folder / "unet" / "config.json").write_text(json.dumps(model.unet))
        index = {"_class_name": model.pipeline, "unet": ["diffusers", "UNet2DConditionModel"]}
        (folder / "model_index.json").write_text(json.dumps(index))
        return ldmscene.list_modules(folder, preset)


def table() -> str:
    return "\n".join([HEAD, *rows()])


if __name__ == "__main__":
    print(table())
