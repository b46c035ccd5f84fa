"""The verb that fits probes."""

from __future__ import annotations

from typing import Any

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.commands.output import print_grid
from ldmscene.commands.words import cluster, present


@click.command()
@take.STORE
@take.GRID
@take.CLIENT
@take.AS_JSON
def evaluate(store: str, client: str | None, as_json: bool, **options: Any) -> None:
    """Fit probes to what a STORE holds, and print scores.

    There is a probe for each target, module and step.

    \b
    Examples:
        ldmscene evaluate stores/demo --permuted stores/demo-permuted
        ldmscene evaluate stores/demo --targets depth,mask --steps 2,14
    """
    with cluster(client) as connected:
        grid = ldmscene.evaluate(store, client=connected, **present(options))
    print_grid(grid, as_json)
