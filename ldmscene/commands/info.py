"""The verb that says what a store holds."""

from __future__ import annotations

import click

from ldmscene import parameters as take
from ldmscene.commands.output import print_info


@click.command()
@take.STORE
@take.AS_JSON
def info(store: str, as_json: bool) -> None:
    """Show what a STORE holds, its sizes and fingerprint.

    \b
    Example:
        ldmscene info stores/demo
    """
    from ldmscene.store import ActivationStore

    print_info(ActivationStore(store), as_json)
