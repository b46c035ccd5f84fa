"""The verb that says what an edit did."""

from __future__ import annotations

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.text import printable


@click.command()
@click.argument("edited", type=take.FOLDER)
@take.STORE
@click.option("--judge", help="The labels by which new pictures are judged; the edit's target where not given.")
@take.AS_JSON
def effect(edited: str, store: str, judge: str | None, as_json: bool) -> None:
    """What the edit of an EDITED store did to the pictures of a STORE, against its controls.

    \b
    Example:
        ldmscene effect stores/edited stores/demo
    """
    from ldmscene.calls.effect import effect_sentence

    found = ldmscene.effect(edited, store, judge=judge)
    if as_json:
        print(found.reset_index().to_json(orient="records"))
    else:
        print(found.round(3).to_string(na_rep="–"))
        print(printable(effect_sentence(found)))
