"""Which sampler the demo draws with: `python -m benchmarks.samplers [--quick]`.

For each scheduler and guidance: how many of the demo's pictures fell apart, and how many show just the solids that
their prompts name, since guidance trades one for the other. A small net names what is seen; the model's card says how
often it is right itself.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from rich.console import Console

import ldmscene
from benchmarks.harness import save, table
from ldmscene.manifest import Manifest, read_manifest
from ldmscene.testbed import WEIGHTS
from ldmscene.testbed.gates import STEPS, Asked
from ldmscene.testbed.palette import fell_apart
from ldmscene.testbed.spotting import load_spotter, spot

MANIFEST = Path(__file__).parents[1] / "manifests" / "demo.csv"
SCHEDULERS = ("LMSDiscrete", "DPMSolverMultistep", "EulerDiscrete", "DDIM")
GUIDANCE = (2.0, 3.0, 7.5)
MODULE = "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"  # the pictures are wanted, so one will do


@click.command()
@click.option("--quick", is_flag=True, help="Four pictures of each.")
def main(quick: bool) -> None:
    """Count over the demo's manifest, for each scheduler and guidance."""
    manifest = read_manifest(MANIFEST)
    manifest = manifest.only(set(manifest.frame["sample_id"][:4])) if quick else manifest
    rows = [count(manifest, *setting) for setting in product(SCHEDULERS, GUIDANCE)]
    if not quick:
        save("samplers", rows)
    Console().print(table(rows, f"{len(manifest)} samples, {STEPS} steps"))


def count(manifest: Manifest, scheduler: str, guidance: float) -> dict:
    """One line of the table."""
    images = draw(manifest, scheduler, guidance)
    asked = [sorted(Asked.of(text).nouns) for text in manifest.frame["prompt"]]
    right = [shown == named for shown, named in zip(nouns(images), asked, strict=True)]
    return {
        "scheduler": scheduler,
        "guidance": guidance,
        "fell apart": int(fell_apart(images).sum()),
        **{
            f"right of those with {words}": f"{sum(found)} of {len(found)}"
            for solids, words in ((1, "one"), (2, "two"))
            if (found := [r for r, named in zip(right, asked, strict=True) if len(named) == solids])
        },
    }


def draw(manifest: Manifest, scheduler: str, guidance: float) -> np.ndarray:
    """The samples as the demo would have them, uint8 (n, y, x, rgb)."""
    with TemporaryDirectory() as folder:
        store = ldmscene.extract(
            "tiny-scenes", manifest, Path(folder) / "store", [MODULE], steps=STEPS, batch_size=8,
            scheduler=scheduler, guidance_scale=guidance,
        )  # fmt: skip
        return store.images().values


def nouns(images: np.ndarray) -> list[list[str]]:
    """The solids that each picture shows, such as ["blue cone", "red cube"]."""
    net = load_spotter(WEIGHTS / "spotter.safetensors")
    return [sorted(solid.noun for solid in seen) for seen in spot(net, images)]


if __name__ == "__main__":
    main()
