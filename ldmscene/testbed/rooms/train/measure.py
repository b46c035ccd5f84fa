"""What the parts can do: `python -m ldmscene.testbed.rooms.train.measure FOLDER`, while training goes on or after.

Autoencoder, nets and denoiser are measured on held-out scenes, the whole on fresh samples of unseen captions.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch

from ldmscene.testbed.rooms.gates import Asked, labeler_gates, picture_gates, sample_gates
from ldmscene.testbed.rooms.rendering import render_rooms
from ldmscene.testbed.rooms.train import denoiser
from ldmscene.testbed.rooms.train.data import SceneFiles
from ldmscene.testbed.rooms.train.parts import Parts
from ldmscene.testbed.rooms.train.plan import FULL, SEED, held_out_scenes, scenes
from ldmscene.testbed.train.autoencoder import decode, psnr
from ldmscene.testbed.train.quality import save_sheet

SCENES = 500


def measure(parts: Parts, held_out: SceneFiles) -> dict[str, float]:
    """What the autoencoder, the nets and the denoiser do on held-out scenes."""
    truth = render_rooms(held_out.scenes(0)[:SCENES])
    latents, tokens = denoiser.learnt_from(parts.vae, held_out)
    images = decode(parts.vae, torch.from_numpy(latents[:SCENES]).float())
    position = held_out.part("depth", 1).mean(0)
    return {
        "autoencoder, PSNR in dB": psnr(truth.image, images),
        "autoencoder on solids, PSNR in dB": psnr(truth.image, images, truth.mask),
        **labeler_gates(parts.labelers, images, truth, position),
        **{f"spotter's own: {name}": value for name, value in spotter_quality(parts, held_out, images).items()},
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
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--samples", default=200, show_default=True, help="Samples of one solid, and as many of two.")
@click.option("--guidance", default=7.5, show_default=True)
def main(folder: Path, samples: int, guidance: float) -> None:
    """Print what the checkpoints in FOLDER can do, and leave the samples in FOLDER/samples.png."""
    parts = Parts.start(SEED)
    parts.load(folder)
    known = known_captions(scenes(folder, FULL))
    shares, _, images = sample_gates(
        parts.pipeline(), parts.spotter, parts.labelers, count=samples, known=known, guidance=guidance
    )
    save_sheet(images, folder / "samples.png")
    for name, value in {**measure(parts, held_out_scenes(folder)), **shares}.items():
        click.echo(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
