"""The verb that checks a store."""

from __future__ import annotations

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.commands.output import print_faults, print_json
from ldmscene.errors import LdmsceneError
from ldmscene.progress import say


@click.command()
@take.STORE
@take.AS_JSON
def verify(store: str, as_json: bool) -> None:
    """Check every byte that a STORE's ledger vouches for.

    The exit code is 2 if one is wrong.

    \b
    Examples:
        ldmscene verify stores/demo
        ldmscene verify s3://bucket/demo --json
    """
    faults = ldmscene.verify(store)
    counts = _counts(store)
    if as_json:
        print_json({"faults": [vars(fault) for fault in faults], **counts})
    else:
        print_faults(faults)
    if counts["nonfinite"]:
        say(f"{counts['nonfinite']:,} values are NaN or infinite; `ldmscene info {store}` says of which arrays")
    if counts["orphans"]:
        say(f"{counts['orphans']} shards belong to unfinished samples; the next extract replaces them")
    if faults:
        raise LdmsceneError(
            f"{len(faults)} faults in {store}; `ldmscene repair {store}` drops what is broken, then extract again"
        )
    say(f"{store}: every byte is as it was written")


def _counts(store: str) -> dict[str, int | None]:
    """Of a store that may be too broken to be opened, and then has none."""
    from ldmscene.store import ActivationStore
    from ldmscene.store.check import find_orphans
    from ldmscene.store.layout import Key

    try:
        opened = ActivationStore(store)
        kinds = opened.ledger["what"].map(lambda what: Key(what).kind)
        made = ~kinds.isin(["labels", "intermediate"])  # there, NaN is "no label here"
        nonfinite = int(opened.ledger["nonfinite"][made].sum())
        return {"orphans": len(find_orphans(opened)), "nonfinite": nonfinite}
    except LdmsceneError:
        return {"orphans": None, "nonfinite": None}
