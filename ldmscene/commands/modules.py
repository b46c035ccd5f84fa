"""The verb that lists a model's modules."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

import ldmscene
from ldmscene import parameters as take


@click.command()
@take.MODEL
@click.option(
    "--modules",
    **take.several(),
    shell_complete=take.completing(take.presets),
    help="Presets, globs or names, repeated or with commas. All presets (attention, ResNets, blocks) where not given.",
)
@take.AS_JSON
def modules(model: str, modules: Sequence[str], as_json: bool) -> None:
    """List a MODEL's attention, ResNet and block modules with h × w, channels and bytes a step.

    \b
    Example:
        ldmscene modules tiny-scenes --modules resnet
    """
    from ldmscene import terminal

    rows = ldmscene.list_modules(model, list(modules) or None)
    print(json.dumps(rows)) if as_json else terminal.show(terminal.module_table(rows), f"{model}: {len(rows)} modules")
