"""Which sampler the demo draws with: `python -m benchmarks.samplers [--quick]`.

For each scheduler and guidance: how many of the demo's 240 pictures fell apart, and how many of those with one object
have its colour and shape right, since guidance trades one for the other.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import torch
from rich.console import Console
from safetensors.torch import load_file

import ldmscene
from benchmarks.harness import save, table
from ldmscene.manifest import Manifest, read_manifest
from ldmscene.testbed import WEIGHTS
from ldmscene.testbed.nets import Judge
from ldmscene.testbed.palette import fell_apart
from ldmscene.testbed.scenes import COLORS, SHAPES
from ldmscene.testbed.train.autoencoder import pixels

MANIFEST = Path(__file__).parents[1] / "manifests" / "demo.csv"
SCHEDULERS = ("LMSDiscrete", "DPMSolverMultistep", "UniPCMultistep", "EulerDiscrete", "DDIM")
GUIDANCE = (3.0, 5.0, 7.5)
MODULE = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"  # the pictures are wanted, so one will do


@click.command()
@click.option("--quick", is_flag=True, help="Four pictures of each instead of 240.")
def main(quick: bool) -> None:
    """Count over the demo's manifest, for each scheduler and guidance."""
    manifest = read_manifest(MANIFEST)
    manifest = manifest.only(set(manifest.frame["sample_id"][:4])) if quick else manifest
    rows = [count(manifest, *setting) for setting in product(SCHEDULERS, GUIDANCE)]
    if not quick:
        save("samplers", rows)
    Console().print(table(rows, f"{len(manifest)} samples, 15 steps"))


def count(manifest: Manifest, scheduler: str, guidance: float) -> dict:
    """One line of the table."""
    images = draw(manifest, scheduler, guidance)
    asked = {i: found for i, text in enumerate(manifest.frame["prompt"]) if (found := only_object(text))}
    right = (judged(images[list(asked)]) == np.array(list(asked.values()))).all(1)
    return {
        "scheduler": scheduler,
        "guidance": guidance,
        "fell apart": int(fell_apart(images).sum()),
        "one object": len(asked),
        "of them right": int(right.sum()),
    }


def draw(manifest: Manifest, scheduler: str, guidance: float) -> np.ndarray:
    """The samples as the demo would have them, uint8 (n, y, x, rgb)."""
    with TemporaryDirectory() as folder:
        store = ldmscene.extract(
            "tiny-scenes", manifest, Path(folder) / "store", [MODULE], steps=15, batch_size=8,
            scheduler=scheduler, guidance_scale=guidance,
        )  # fmt: skip
        return store.images().values


def only_object(prompt: str) -> tuple[int, int] | None:
    """Colour and shape of a prompt's object as the judge counts them; None where there are two."""
    words = prompt.replace(",", "").split()
    colors = [i for i, color in enumerate(COLORS) if color in words]
    shapes = [SHAPES.index(word) for word in words if word in SHAPES]
    return (colors[0], shapes[0]) if len(shapes) == 1 else None


@torch.no_grad()
def judged(images: np.ndarray) -> np.ndarray:
    """Colour and shape of what is seen, int64 (n, 2)."""
    judge = Judge().eval()
    judge.load_state_dict({name: part.float() for name, part in load_file(WEIGHTS / "judge.safetensors").items()})
    return torch.stack([logits.argmax(1) for logits in judge(pixels(images))], 1).numpy()


if __name__ == "__main__":
    main()
