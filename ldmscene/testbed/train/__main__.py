"""`python -m ldmscene.testbed.train [FOLDER]`: the embedded model from a seed.

A killed run goes on where it was: every stage keeps checkpoints and what it made in FOLDER.
"""

from __future__ import annotations

from pathlib import Path

import click

from ldmscene.testbed.train import autoencoder, card, denoiser, readers
from ldmscene.testbed.train.measure import measure
from ldmscene.testbed.train.parts import Parts
from ldmscene.testbed.train.plan import FULL, SEED, SHORT, scenes


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("testbed-work"))
@click.option("--short", is_flag=True, help="A few minutes instead of a day: enough to see that every stage learns.")
def main(folder: Path, short: bool) -> None:
    """Train every part, export them to FOLDER/weights with their card, and print what they can do."""
    plan = SHORT if short else FULL
    files, parts = scenes(folder, plan), Parts.start(SEED)
    autoencoder.train(parts.vae, files, plan.autoencoder, folder, SEED)
    readers.train_labelers(parts.labelers, parts.vae, files, plan.readers, folder, SEED + 1)
    readers.train_spotter(parts.spotter, parts.vae, files, plan.readers, folder, SEED + 2)
    denoiser.train(parts.denoiser, parts.vae, files, plan.denoiser, folder, SEED + 3)
    parts.export(folder / "weights")
    scores, images = measure(parts, folder, plan, plan.samples)
    card.save_sheet(images, folder / "weights" / "tiny-scenes" / "samples.png")
    card.write_card(scores, folder / "weights" / "tiny-scenes", plan, denoiser.BATCH)
    for name, value in scores.items():
        click.echo(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
