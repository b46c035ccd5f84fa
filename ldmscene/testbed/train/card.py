"""The model card beside the weights, with every figure and the gate that it has to pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ldmscene.choices import EMBEDDED_GUIDANCE
from ldmscene.testbed.gates import GATES, LIMITS, STEPS
from ldmscene.testbed.train.plan import SEED, Plan

SHEET = (8, 12)  # rows and columns of the sheet of samples


def save_sheet(images: np.ndarray, path: Path) -> None:
    """A contact sheet, twice enlarged: the first samples of one solid, then the first of two."""
    rows, columns = SHEET
    kinds = np.array_split(images, 2)
    some = np.concatenate([kind[: rows * columns // 2] for kind in kinds])
    rows = len(some) // columns
    sheet = np.concatenate([np.concatenate(list(some[r * columns : (r + 1) * columns]), 1) for r in range(rows)])
    Image.fromarray(sheet).resize((2 * sheet.shape[1], 2 * sheet.shape[0]), Image.Resampling.NEAREST).save(path)


def write_card(scores: Mapping[str, float], folder: Path, plan: Plan, batch: int) -> None:
    """Write FOLDER/README.md. What else the shipped weights' card tells of their history was added by hand."""
    rows = "\n".join(f"| {name} | {value:.3f} | {verdict(name, value)} |" for name, value in scores.items())
    text = CARD.format(
        rows=rows,
        seed=SEED,
        scenes=plan.scenes,
        seen=plan.denoiser.steps * batch,
        steps=STEPS,
        guidance=EMBEDDED_GUIDANCE,
        samples=plan.samples,
    )
    (folder / "README.md").write_text(text)


def verdict(name: str, value: float) -> str:
    """The gate of a figure, and whether it was missed; nothing for a figure without one."""
    if name not in LIMITS and name not in GATES:
        return ""
    sign, limit = ("≤", LIMITS[name]) if name in LIMITS else ("≥", GATES[name])
    missed = value > limit if sign == "≤" else value < limit
    return f"{sign} {limit}{', missed' if missed else ''}"


CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---
# tiny-scenes

A latent diffusion model of a small world, for `ldmscene`'s demo and tests: one to three solids in a room or on open
ground, under one light, 64 × 64 pixels. It is a genuine `StableDiffusionPipeline` with Stable Diffusion v1.4's block
structure, so that its 16 self-attention modules carry the same names. It knows just this world and is of no use
outside it.

![samples](samples.png)

Prompts are like "a large red sphere on a block left of a small blue cube on a checked grey floor in a white room, seen
from above, lit from the left": sizes small and large; colours red, yellow, green, cyan, blue, purple; shapes sphere,
cube, cylinder, cone; relations left of, right of, in front of, behind, or a list of two or three; floors white, grey,
brown, black; rooms white, grey, pink, khaki, or "in the open"; both plain, checked or striped; seen from above or the
side; light from the left or right. All but colours and shapes may be left out. Some colours of shapes and relations
of shapes were never trained on: `UNSEEN_NOUNS` and `UNSEEN_RELATIONS` in `ldmscene.testbed.drawing`.

## Quality

| what | value | gate |
|---|---|---|
{rows}

Samples: {samples} captions of one solid and {samples} of two, which training never saw, {steps} steps at guidance
{guidance:g}. A picture is right if it shows the solids that were asked for and no other. A small net names what is
seen; its own shares on scenes that are right, "the same of reconstructed scenes", stand beside. Autoencoder and
labelers: 500 held-out scenes, as the autoencoder gives them back, against the renderer's exact truth. Depth is
relative: it has mean 0 and deviation 1 in each picture, since a picture can't tell how far away its room is.

## Training

`python -m ldmscene.testbed.train` trains all parts from seed {seed}: {scenes:,} rendered scenes, the
autoencoder, the nets that read pictures, then text encoder and UNet together on {seen:,} noised latents (v-prediction,
a tenth of the captions left out for guidance, exponential moving average of the weights).
"""
