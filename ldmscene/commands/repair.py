"""The verb that drops what is broken."""

from __future__ import annotations

import click

from ldmscene import parameters as take
from ldmscene.commands.output import print_faults, print_json
from ldmscene.progress import say
from ldmscene.text import counted


@click.command()
@take.STORE
@click.option("--dry-run", is_flag=True, help="Print what would be mended or dropped; change nothing.")
@take.AS_JSON
def repair(store: str, dry_run: bool, as_json: bool) -> None:
    """Drop what is broken from a STORE's ledger.

    The next `extract` or `label` makes it again.

    \b
    Example:
        ldmscene repair stores/demo --dry-run
    """
    from ldmscene.store.check import find_faults
    from ldmscene.store.check import repair as mend

    faults = find_faults(store) if dry_run else mend(store)
    if as_json:
        print_json({"mended": 0 if dry_run else len(faults), "faults": [vars(fault) for fault in faults]})
        return
    print_faults(faults)
    many = counted(len(faults), "fault")
    say(f"{store}: {many} {'would be' if dry_run else 'were'} mended or dropped")
