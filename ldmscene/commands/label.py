"""The verb that adds labels."""

from __future__ import annotations

from typing import Any

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.choices import SPLITS
from ldmscene.commands.output import print_json
from ldmscene.progress import say


@click.command()
@take.STORE
@click.argument("target")
@click.argument("labeler", shell_complete=take.completing(take.labelers))
@click.option(
    "--on",
    type=click.Choice(["image", "noisy", "predicted"]),
    default="image",
    show_default=True,
    help="Final images, or the decoded x_t or predicted x_0 of each step.",
)
@click.option("--split", type=click.Choice(SPLITS), help="Label one split only.")
@click.option("--kind", type=click.Choice(["continuous", "binary", "classes"]), help="Where the labeler doesn't say.")
@click.option("--threshold", type=float, help="Of a binary target: pixels above it are foreground.")
@click.option("--void", type=float, help="The number that marks a pixel without label, such as 255.")
@click.option(
    "--metric", shell_complete=take.completing(take.metrics), help="By which probes of the target are judged first."
)
@take.DEVICE
@take.AS_JSON
def label(store: str, target: str, labeler: str, as_json: bool, **options: Any) -> None:
    """Add LABELER's labels for a TARGET to a STORE.

    \b
    LABELER is one of
        tiny-depth, tiny-mask, tiny-shading     of the embedded world
        midas[:MODEL], depth:MODEL              a depth estimator of transformers; a local folder or a hub id
        tracer[:WEIGHTS], rembg[:NAME[:FILE]]   the salient foreground
        intrinsic                               shading
        vgg16[:WEIGHTS], torchvision:NAME       what the picture shows
        files:, masks:, classes:FOLDER          made elsewhere: .npy, .png or .tif, named by sample_id

    \b
    Examples:
        ldmscene label stores/demo depth midas:Intel/dpt-hybrid-midas
        ldmscene label stores/demo depth tiny-depth --on noisy --split test
    """
    done = ldmscene.label(store, target, labeler, **options)
    if as_json:
        print_json({"store": store, "samples": len(done.samples), "targets": done.targets})
    else:
        say(f"{store}: {len(done.samples)} samples, targets {', '.join(done.targets)}")
