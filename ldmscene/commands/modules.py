"""The verb that lists a model's modules."""

from __future__ import annotations

from collections.abc import Sequence

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.calls.list_modules import other_parts
from ldmscene.commands.output import print_json
from ldmscene.text import printable


@click.command()
@take.MODEL
@click.option(
    "--modules",
    **take.several(),
    shell_complete=take.completing(take.modules),
    help="Presets, globs or names, repeated or with commas, also of other parts, such as vae.decoder. The denoiser's "
    "attention, ResNets and blocks where not given.",
)
@take.AS_JSON
def modules(model: str, modules: Sequence[str], as_json: bool) -> None:
    """List a MODEL's modules, shapes and bytes a step.

    \b
    Examples:
        ldmscene modules tiny-scenes --modules resnet
        ldmscene modules tiny-scenes --modules vae
    """
    from ldmscene import terminal

    rows = ldmscene.list_modules(model, list(modules) or None)
    if as_json:
        print_json(rows)
        return
    terminal.show(terminal.module_table(rows), f"{model}: {len(rows)} modules")
    if not modules:
        print(printable(f"Those of its other parts: --modules {' or '.join(other_parts(model))}"))
