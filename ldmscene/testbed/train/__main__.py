"""`python -m ldmscene.testbed.train [FOLDER]`: rebuild the testbed from a seed; a killed run goes on where it was."""

from __future__ import annotations

from pathlib import Path

import click
from diffusers import DiffusionPipeline

from ldmscene.testbed.labelers import WEIGHTS
from ldmscene.testbed.model import build_pipeline, build_tokenizer
from ldmscene.testbed.nets import Judge, MapNet
from ldmscene.testbed.train import autoencoder, denoiser, quality, readers
from ldmscene.testbed.train.data import SceneFiles
from ldmscene.testbed.train.export import export_nets, export_pipeline

SCENES, HELD_OUT = 60_000, 2_000
SEED = 1
PROMPTS = 200


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("testbed-work"))
@click.option("--weights", type=click.Path(path_type=Path), default=WEIGHTS, help="Where the finished weights go.")
@click.option(
    "--scenes", default=SCENES, show_default=True, help="Rendered scenes to learn from, in thousands of 1000."
)
def main(folder: Path, weights: Path, scenes: int) -> None:
    """Train every part of the testbed and write its weights and model card. Checkpoints go to FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    seen, unseen = (
        SceneFiles(folder, "train", scenes, seed=1000),
        SceneFiles(folder, "test", HELD_OUT, seed=900),
    )
    data = seen.load()
    vae = autoencoder.train(data, folder, SEED)
    blurred = readers.reconstructions(data, vae, folder)
    labeler = readers.train_labelers(data, blurred, folder, SEED + 1)
    judge = readers.train_judge(seen, blurred, folder, SEED + 2)
    model = denoiser.train(seen, vae, folder, SEED + 3)
    pipeline = build_pipeline(vae, build_tokenizer(), model.text_encoder, model.unet)
    export_pipeline(pipeline, weights / "tiny-scenes")
    export_nets({"labelers": labeler, "judge": judge}, weights)
    write_quality(weights, labeler, judge, unseen, scenes)


def write_quality(weights: Path, labeler: MapNet, judge: Judge, unseen: SceneFiles, scenes: int) -> None:
    """Measure what was exported, as it was exported, and write the card and the sheet of samples."""
    pipeline = DiffusionPipeline.from_pretrained(weights / "tiny-scenes", use_safetensors=True)
    held_out = quality.first(unseen.load(), 500)
    samples, _, images = quality.sample_quality(judge, pipeline, PROMPTS, SEED)
    scores = {
        **quality.autoencoder_quality(pipeline.vae, held_out),
        **samples,
        **quality.judge_quality(judge, unseen, pipeline.vae),
        **quality.labeler_quality(labeler, pipeline.vae, held_out),
    }
    for name, value in scores.items():
        click.echo(f"{name}: {value:.3f}")
    quality.save_sheet(images, weights / "tiny-scenes" / "samples.png")
    images_seen = denoiser.SCHEDULE.steps * denoiser.BATCH
    quality.write_card(scores, weights / "tiny-scenes", seed=SEED, scenes=scenes, images_seen=images_seen)


if __name__ == "__main__":
    main()
