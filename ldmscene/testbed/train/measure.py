"""What the parts can do: `python -m ldmscene.testbed.train.measure FOLDER`, while training goes on or after.

Autoencoder, nets and denoiser are measured on held-out scenes, the whole on fresh samples of unseen captions.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch

from ldmscene.testbed.figures import question_figures
from ldmscene.testbed.gates import Asked, labeler_gates, picture_gates, sample_gates
from ldmscene.testbed.labelers import relative
from ldmscene.testbed.rendering import Truth, render_rooms
from ldmscene.testbed.train import denoiser
from ldmscene.testbed.train.autoencoder import decode, psnr
from ldmscene.testbed.train.card import save_sheet
from ldmscene.testbed.train.data import SceneFiles
from ldmscene.testbed.train.parts import Parts
from ldmscene.testbed.train.plan import FULL, SEED, Plan, held_out_scenes, scenes

SCENES = 500


def measure(parts: Parts, folder: Path, plan: Plan, samples: int) -> tuple[dict[str, float], np.ndarray]:
    """Every figure of the card, and the samples: so many of one solid, then as many of two."""
    held_out = held_out_scenes(folder)
    truth, other = (render_rooms(held_out.scenes(0)[half]) for half in (slice(SCENES), slice(SCENES, None)))
    known = known_captions(scenes(folder, plan))
    shares, images = sample_gates(parts.pipeline(), parts.spotter, parts.labelers, count=samples, known=known)
    of_world = question_figures(other, truth)
    return of_world | shares | held_out_scores(parts, held_out, truth, relative(other.depth).mean(0)), images


def held_out_scores(parts: Parts, held_out: SceneFiles, truth: Truth, position: np.ndarray) -> dict[str, float]:
    """What autoencoder, nets and denoiser do on scenes that they never saw.

    `position` is the mean relative depth of others.
    """
    latents, tokens = denoiser.learnt_from(parts.vae, held_out)
    images = decode(parts.vae, torch.from_numpy(latents[: len(truth.image)]).float())
    own = spotter_quality(parts, held_out, images)
    return {
        **labeler_gates(parts.labelers, images, truth, position),
        **{f"the same of reconstructed scenes: {name}": value for name, value in own.items()},
        "autoencoder, PSNR in dB": psnr(truth.image, images),
        "autoencoder on solids, PSNR in dB": psnr(truth.image, images, truth.mask),
        "denoiser's loss": denoiser.held_out_loss(parts.denoiser, latents, tokens),
    }


def spotter_quality(parts: Parts, held_out: SceneFiles, images: np.ndarray) -> dict[str, float]:
    """The gates of samples, for pictures that are right: reconstructed scenes with their own captions."""
    asked = [Asked.of(caption) for caption in held_out.captions(0)[0][: len(images)]]
    told = [i for i, a in enumerate(asked) if len(a.nouns) == 1 or a.how]
    return picture_gates([asked[i] for i in told], images[told], parts.spotter, parts.labelers)


def known_captions(files: SceneFiles) -> set[str]:
    """Every caption that training saw."""
    return {text for chunk in files.chunks for wording in files.captions(chunk) for text in wording}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--samples",
    default=200,
    show_default=True,
    type=click.IntRange(min=1),
    help="Samples of one solid, and as many of two.",
)
def main(folder: Path, samples: int) -> None:
    """Print what the checkpoints in FOLDER can do, however far they are; the samples go to FOLDER/samples.png."""
    parts = Parts.start(SEED)
    parts.load(folder)
    scores, images = measure(parts, folder, FULL, samples)
    save_sheet(images, folder / "samples.png")
    for name, value in scores.items():
        click.echo(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
