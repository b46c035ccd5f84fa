"""The verb that saves figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.commands.output import print_json
from ldmscene.commands.words import present
from ldmscene.progress import say


@click.command()
@take.STORE
@click.argument("folder", type=take.FOLDER)
@click.option(
    "--sample",
    "samples",
    **take.several(),
    help="Held-out sample_ids, repeated or with commas; the first where not given.",
)
@take.GRID
@take.AS_JSON
def figures(store: str, folder: str, samples: Sequence[str], as_json: bool, **options: Any) -> None:
    """Save a STORE's figures in a FOLDER, at paper size.

    They are saved as PDF, SVG and PNG.

    \b
    Example:
        ldmscene figures stores/demo figures --sample 2e4e29579297-96000
    """
    from ldmscene import plot

    opened = ldmscene.open(store)
    files = plot.figures(opened, ldmscene.evaluate(opened, **present(options)), folder, samples or None)
    if as_json:
        print_json({"files": list(map(str, files))})
    else:
        say(f"{folder}: {len(files)} files")
