"""The verb that generates samples again, edited."""

from __future__ import annotations

from typing import Any

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.choices import SPLITS
from ldmscene.commands.output import print_estimate, print_json
from ldmscene.commands.words import present
from ldmscene.progress import say


@click.command()
@take.STORE
@click.argument("target")
@click.option("--edited", type=take.FOLDER, required=True, help=f"{take.STORE_HELP} for the new pictures.")
@take.EDIT
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Which samples.")
@click.option(
    "--control",
    "controls",
    **take.several(),
    default=("none", "random:5"),
    show_default=True,
    help="none, random:N, shuffled, other-target, wrong-region, worst-module, donor, from:N, rule:NAME; repeated, or "
    "with commas.",
)
@click.option("--samples", type=int, help="How many samples, from the first on; all of the split where not given.")
@click.option("--model", shell_complete=take.complete_model, help="The store's own by its name where not given.")
@take.DEVICE
@click.option("--batch-size", default=1, show_default=True, help="Samples that go through the model together.")
@take.PART
@click.option("--dry-run", is_flag=True, help="Print what it would take; write nothing.")
@take.AS_JSON
def intervene(store: str, target: str, edited: str, as_json: bool, **options: Any) -> None:
    """Generate a STORE's samples again, with an edit.

    Activations are changed so that probes of TARGET read the map that is wanted. Label the new pictures next, and ask
    for the `effect`.

    \b
    Examples:
        ldmscene intervene stores/demo mask --edited stores/edited --wanted shift:0,16 --modules best:9 \\
            --control none,random:5,shuffled
        ldmscene intervene stores/demo mask --edited stores/edited --wanted shift:0,16 --dry-run
    """
    kinds = ("wanted", "modules", "steps", "rule", "branch", "strength", "margin", "only_where")
    edit = ldmscene.Edit.of(ldmscene.evaluate(store), target, **present({name: options.pop(name) for name in kinds}))
    done: Any = ldmscene.intervene(store, edit, edited, **present(options))
    if isinstance(done, dict):
        print_estimate(done, as_json)
    elif as_json:
        print_json({"store": edited, "samples": len(done.samples), "edit": edit.header}, default=str)
    else:
        say(f"{edited}: {len(done.samples)} samples, {edit}")
