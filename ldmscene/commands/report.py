"""The verb that writes pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
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
@click.option(
    "--edited", "interventions", **take.several(), help="Edited stores, labelled, which get a page of their own."
)
@take.AS_JSON
def report(
    store: str, folder: str, samples: int | None, interventions: Sequence[str], as_json: bool, **options: Any
) -> None:
    """Write the report on a STORE as a FOLDER of static pages.

    \b
    Examples:
        ldmscene report stores/demo report --permuted stores/demo-permuted
        ldmscene report stores/demo report --targets mask --samples 12
        ldmscene report stores/demo report --edited stores/edited
    """
    from ldmscene.calls.command import command as command_line
    from ldmscene.calls.report_mark import check_folder

    check_folder(Path(folder))  # which an evaluation may come before
    command = command_line("report", store, folder, samples=samples, edited=interventions, **options)
    grid = ldmscene.evaluate(store, **present(options))
    page = ldmscene.write_report(store, grid, folder, samples=samples, interventions=interventions, command=command)
    print_page(page, as_json)
