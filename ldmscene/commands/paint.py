"""The verb that serves a page to paint on."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.commands.output import print_json


@click.command()
@take.STORE
@click.option("--model", shell_complete=take.complete_model, help="The store's own by its name where not given.")
@take.DEVICE
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: all machines that reach this one.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Any that is free where not given.")
@take.AS_JSON
def paint(store: str, as_json: bool, **options: Any) -> None:
    """Paint a map, and watch a STORE's model draw it.

    A page is served on which you paint. Open the address that is printed; Ctrl-C ends it. Nothing is written.

    \b
    Example:
        ldmscene paint stores/demo
    """
    with ldmscene.paint(store, **options) as page:
        if as_json:
            print_json({"address": page.address})
        else:
            print(page.address, flush=True)
        with suppress(KeyboardInterrupt):
            page.wait()
