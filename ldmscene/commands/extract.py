"""Verbs that fill a store: from a manifest, or from a folder of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.commands.output import print_extraction
from ldmscene.commands.words import cluster, handed, pairs
from ldmscene.extraction.options import Extraction, ImageExtraction


@click.command()
@take.MODEL
@click.argument("manifest", type=take.FILE)
@take.options_of(Extraction)
@take.AS_JSON
def extract(
    model: str,
    manifest: str,
    previews: str | None,
    modules: Sequence[str],
    labelers: Sequence[str],
    inputs: Sequence[str],
    client: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Generate a MANIFEST, and store MODEL's activations.

    MODEL is tiny-scenes, a local folder or a hub id. What the store holds already isn't generated again.

    \b
    Examples:
        ldmscene extract tiny-scenes manifests/demo.csv --store stores/mine --previews test --batch-size 8
        ldmscene extract tiny-scenes manifests/demo.csv --store stores/small --keep statistics \\
            --labeler depth=tiny-depth --labeler mask=tiny-mask
    """
    options |= {"modules": list(modules), "previews": _previews(previews)}
    options |= {"labelers": pairs(labelers), "inputs": handed(inputs)}
    with cluster(client) as connected:
        result = ldmscene.extract(model, manifest, client=connected, **options)
    print_extraction(result, as_json)


@click.command("extract-images")
@take.MODEL
@click.argument("folder", type=take.FOLDER)
@click.option("--store", type=take.FOLDER, required=True, help=f"{take.STORE_HELP}.")
@take.options_of(ImageExtraction)
@take.AS_JSON
def extract_images(
    model: str, folder: str, previews: str | None, modules: Sequence[str], as_json: bool, **options: Any
) -> None:
    """Store MODEL's activations on images of a FOLDER.

    The images are noised to the timesteps that you choose.

    \b
    Example:
        ldmscene extract-images tiny-scenes pictures --store stores/pictures --timestep 100 --timestep 400
    """
    result = ldmscene.extract_images(model, folder, modules=list(modules), previews=_previews(previews), **options)
    print_extraction(result, as_json)


def _previews(previews: str | None) -> bool | str:
    return {None: False, "all": True}.get(previews, previews or False)
