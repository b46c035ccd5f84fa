"""The verb that makes room."""

from __future__ import annotations

import click

from ldmscene import parameters as take
from ldmscene.commands.output import print_json
from ldmscene.progress import say
from ldmscene.text import human_bytes


@click.command()
@take.STORE
@click.option("--keep-statistics", is_flag=True, help="Delete no statistics.")
@click.option("--keep-grids", is_flag=True, help="Delete no fitted grids.")
@click.option("--dry-run", is_flag=True, help="Say how much it would be; delete nothing.")
@take.AS_JSON
def tidy(store: str, keep_statistics: bool, keep_grids: bool, dry_run: bool, as_json: bool) -> None:
    """Delete from a STORE what it can make again.

    These are statistics, grids, and what `repair` set aside.

    \b
    Example:
        ldmscene tidy stores/demo --keep-grids
    """
    from ldmscene.calls.tidy import tidy as make_room

    freed = make_room(store, statistics=not keep_statistics, grids=not keep_grids, dry_run=dry_run)
    if as_json:
        print_json({"bytes": freed})
        return
    say(f"{store}: {human_bytes(freed)} {'would be' if dry_run else 'are'} free")
