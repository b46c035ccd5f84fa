"""The verb that says what an edit did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.errors import InputError
from ldmscene.text import printable

if TYPE_CHECKING:
    import pandas as pd


@click.command()
@click.argument("edited", type=take.FOLDER)
@take.STORE
@click.option("--judge", help="The labels by which new pictures are judged; the edit's target where not given.")
@take.AS_JSON
def effect(edited: str, store: str, judge: str | None, as_json: bool) -> None:
    """Measure what an edit did to a STORE's pictures.

    EDITED is the store that `intervene` made, with the new pictures labelled. Its edit is held against its controls.

    \b
    Example:
        ldmscene effect stores/edited stores/demo
    """
    from ldmscene import terminal

    found = ldmscene.effect(edited, store, judge=judge)
    if as_json:
        print(found.reset_index().to_json(orient="records"))
    else:
        terminal.show(terminal.effect_table(found), f"{edited}: {_what(found)}")
        ours = terminal.console()
        ours.print(printable(_finding(found)), soft_wrap=not ours.is_terminal)


def _what(found: pd.DataFrame) -> str:
    """What the table has."""
    from ldmscene.verdicts.draws import interval_words
    from ldmscene.words import metric_words

    means = f"means ({interval_words(int(found['prompts'].max()))})"
    if found.attrs["higher_is_better"]:
        return means
    return f"{means}; gains and leads in {metric_words(found.attrs['metric'])} are by how much it falls"


def _finding(found: pd.DataFrame) -> str:
    """The finding in words, or why there is none; the table stands on its own."""
    try:
        return ldmscene.effect_sentence(found)
    except InputError as error:
        return str(error)
