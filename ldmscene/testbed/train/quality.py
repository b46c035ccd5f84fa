"""What the parts can do on scenes that they never saw, and the model card that says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from PIL import Image
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from ldmscene.testbed.labelers import finish
from ldmscene.testbed.nets import Judge, MapNet
from ldmscene.testbed.scenes import COLORS, FLOORS, LIGHTS, SHAPES, SIZES, Rendering, describe
from ldmscene.testbed.train.autoencoder import decode, encode, pixels, psnr
from ldmscene.testbed.train.data import SceneFiles
from ldmscene.testbed.train.readers import labels

STEPS, GUIDANCE = 15, 7.5  # the demo's
SHEET = (6, 12)  # rows and columns of the sample sheet


def first(data: Rendering, count: int) -> Rendering:
    """The first scenes of a data set."""
    return Rendering(data.image[:count], data.depth[:count], data.mask[:count], data.shading[:count])


def autoencoder_quality(vae: AutoencoderKL, data: Rendering) -> dict[str, float]:
    """PSNR in dB of reconstructions, over all pixels and over the objects'."""
    back = decode(vae, encode(vae, data.image))
    return {
        "VAE PSNR, dB": psnr(data.image, back),
        "VAE PSNR on objects, dB": psnr(data.image, back, np.asarray(data.mask)),
    }


@torch.no_grad()
def labeler_quality(net: MapNet, vae: AutoencoderKL, data: Rendering) -> dict[str, float]:
    """Mean over images against the exact truth, on rendered scenes and on what the autoencoder makes of them."""
    found = {}
    for name, images in {
        "rendered": data.image,
        "reconstructed": decode(vae, encode(vae, data.image)),
    }.items():
        maps = finish(torch.cat([net(pixels(images[i : i + 64])) for i in range(0, len(images), 64)]))
        found[f"tiny-depth Spearman, {name}"] = _mean(_spearman, maps["depth"], data.depth)
        found[f"tiny-mask Dice, {name}"] = _mean(_dice, maps["mask"] > 0.5, data.mask)
        found[f"tiny-shading Pearson, {name}"] = _mean(_pearson, maps["shading"], data.shading)
    return found


def _mean(score: Callable[[np.ndarray, np.ndarray], float], guesses: np.ndarray, truths: np.ndarray) -> float:
    return float(np.mean([score(g.ravel(), t.ravel()) for g, t in zip(guesses, truths, strict=True)]))


def _spearman(guess: np.ndarray, truth: np.ndarray) -> float:
    return float(spearmanr(guess, truth).statistic)


def _dice(guess: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (guess & truth).sum() / (guess.sum() + truth.sum()))


def _pearson(guess: np.ndarray, truth: np.ndarray) -> float:
    """Over the pixels that truly have shading; where the net sees none, its mean stands in."""
    known = ~np.isnan(truth)
    filled = np.where(np.isnan(guess), np.nanmean(guess), guess)
    return float(pearsonr(filled[known], truth[known]).statistic)


@torch.no_grad()
def judge_quality(judge: Judge, files: SceneFiles, vae: AutoencoderKL) -> dict[str, float]:
    """The judge's own accuracy on reconstructions of held-out scenes with one object."""
    color, shape, single = labels(files)
    rows = torch.nonzero(single).flatten()
    colors, shapes = _judge(judge, decode(vae, encode(vae, files.load().image[rows.numpy()])))
    return {
        "judge's accuracy on held-out scenes, colour": float((colors == color[rows]).double().mean()),
        "judge's accuracy on held-out scenes, shape": float((shapes == shape[rows]).double().mean()),
    }


def sample_quality(
    judge: Judge, pipeline: DiffusionPipeline, count: int, seed: int
) -> tuple[dict[str, float], list[str], np.ndarray]:
    """Share of samples from one-object prompts with the right colour and shape, the prompts and the samples."""
    rng = np.random.default_rng(seed)
    color, shape = rng.integers(len(COLORS), size=count), rng.integers(len(SHAPES), size=count)
    prompts = [_prompt(rng, c, s) for c, s in zip(color, shape, strict=True)]
    images = generate(pipeline, prompts, seed)
    colors, shapes = _judge(judge, images)
    right_color, right_shape = colors.numpy() == color, shapes.numpy() == shape
    scores = {
        "samples with the right colour": float(right_color.mean()),
        "samples with the right shape": float(right_shape.mean()),
        "samples with both right": float((right_color & right_shape).mean()),
    }
    return scores, prompts, images


def _prompt(rng: np.random.Generator, color: int, shape: int) -> str:
    noun = f"{SIZES[rng.integers(2)]} {list(COLORS)[color]} {SHAPES[shape]}"
    return describe([noun], None, list(FLOORS)[rng.integers(len(FLOORS))], LIGHTS[rng.integers(2)])


def generate(pipeline: DiffusionPipeline, prompts: list[str], seed: int, batch: int = 20) -> np.ndarray:
    """uint8 samples [n, y, x, 3], each with a generator of its own."""
    pipeline.set_progress_bar_config(disable=True)
    parts = []
    for i in range(0, len(prompts), batch):
        some = prompts[i : i + batch]
        generators = [torch.Generator().manual_seed(seed * 100_000 + i + k) for k in range(len(some))]
        images = pipeline(
            some, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators, output_type="np"
        ).images
        parts.append((images * 255).round().astype(np.uint8))
    return np.concatenate(parts)


@torch.no_grad()
def _judge(judge: Judge, images: np.ndarray) -> tuple[Tensor, Tensor]:
    logits = [judge(pixels(images[i : i + 64])) for i in range(0, len(images), 64)]
    return torch.cat([c for c, _ in logits]).argmax(1), torch.cat([s for _, s in logits]).argmax(1)


def save_sheet(images: np.ndarray, path: Path) -> None:
    """A contact sheet of the first samples, twice enlarged."""
    rows, columns = SHEET
    sheet = np.concatenate([np.concatenate(list(images[r * columns : (r + 1) * columns]), 1) for r in range(rows)])
    Image.fromarray(sheet).resize((2 * sheet.shape[1], 2 * sheet.shape[0]), Image.Resampling.NEAREST).save(path)


def write_card(scores: Mapping[str, float], folder: Path, *, seed: int, scenes: int, images_seen: int) -> None:
    """The model card beside the weights."""
    rows = "\n".join(
        f"| {name} | {value:.1f} |" if "dB" in name else f"| {name} | {value:.3f} |" for name, value in scores.items()
    )
    (folder / "README.md").write_text(
        CARD.format(rows=rows, seed=seed, scenes=scenes, images_seen=images_seen, steps=STEPS, guidance=GUIDANCE)
    )


CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---
# tiny-scenes

A latent diffusion model of a small world, for `ldmscene`'s demo and tests: one or two solids on a plane under one
light, 64 × 64 pixels. It is a genuine `StableDiffusionPipeline` with Stable Diffusion v1.4's block structure, so that
its 16 self-attention modules carry the same names. It knows just this world and is of no use outside it.

![samples](samples.png)

Prompts are like "a large red sphere left of a small blue cube on a grey floor, lit from the left": sizes small and
large; colours red, yellow, green, cyan, blue, purple; shapes sphere, cube, cylinder, cone; relations left of, right
of, in front of, behind; floors white, grey, brown, black; light from the left or right. Size, floor and light may be
left out.

## Quality

| what | value |
|---|---|
{rows}

Samples: 200 one-object prompts with fresh noise, {steps} steps of DPMSolverMultistep at guidance {guidance:g}, judged
by a small classifier whose own accuracy on held-out scenes stands beside. (There are 384 such prompts, so training
has seen their words; it has seen none of these pictures.) Autoencoder and labelers: mean over 500 held-out scenes
against the renderer's exact truth.

## Training

`python -m ldmscene.testbed.train` rebuilds everything from seed {seed}: {scenes:,} rendered scenes, the autoencoder,
the labelers, then text encoder and UNet together on {images_seen:,} noised latents (v-prediction, min-SNR-5 weighting,
a tenth of the captions left out for guidance, exponential moving average of the weights).
"""
