"""The verb that writes pages."""

from __future__ import annotations

from typing import Any

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.commands.output import print_page
from ldmscene.commands.words import present


@click.command()
@take.STORE
@click.argument("folder", type=take.FOLDER)
@take.GRID
@click.option("--samples", type=int, help="How many held-out samples to show with pictures; all that fit if not given.")
@take.AS_JSON
def report(store: str, folder: str, samples: int | None, as_json: bool, **options: Any) -> None:
    """Write the report on a STORE as a FOLDER of static pages.

    \b
    Examples:
        ldmscene report stores/demo report --permuted stores/demo-permuted
        ldmscene report stores/demo report --targets mask --samples 12
    """
    from ldmscene.calls.command import command as command_line

    command = command_line("report", store, folder, samples=samples, **options)
    grid = ldmscene.evaluate(store, **present(options))
    print_page(ldmscene.write_report(store, grid, folder, samples=samples, command=command), as_json)
