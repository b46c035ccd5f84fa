"""A pipeline of your own: any diffusers text-to-image pipeline, loaded and changed as you like.

Here the embedded model's, whose second cross-attention in the last decoder block is silenced: does the picture's
foreground become harder to read? The change is part of the fingerprint, so that the two stores can't be mixed up.
"""

from pathlib import Path

import torch
from diffusers import DiffusionPipeline

import ldmscene
from ldmscene.testbed import MODELS

PROMPTS = Path(__file__).with_name("prompts.csv")
MODULES = ["up_blocks.3.attentions.*.transformer_blocks.0.attn1.to_out.0"]  # a glob

pipeline = DiffusionPipeline.from_pretrained(MODELS["tiny-scenes"])  # or your own
for name in ("as it is", "silenced"):
    if name == "silenced":
        block = pipeline.unet.up_blocks[3].attentions[1].transformer_blocks[0]
        with torch.no_grad():
            block.attn2.to_out[0].weight.zero_()
            block.attn2.to_out[0].bias.zero_()
    store = ldmscene.extract(
        pipeline, PROMPTS, f"stores/example-{name.replace(' ', '-')}", MODULES, steps=4, batch_size=8
    )
    ldmscene.label(store, "mask", "tiny-mask")
    grid = ldmscene.evaluate(store)
    table = grid.to_dataframe().xs("dice", level="metric")["probe"].unstack("step")
    print(f"\n{name}, fingerprint {store.fingerprint}: Dice by module and step\n{table.round(2).to_string()}")
