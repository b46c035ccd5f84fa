"""The verb that holds a model to an independent hook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.commands.output import print_json
from ldmscene.commands.words import handed
from ldmscene.text import human_bytes, printable


@click.command()
@take.MODEL
@click.option(
    "--modules",
    **take.several(),
    shell_complete=take.completing(take.modules),
    help="Presets, globs or names, repeated or with commas; self-attention where not given.",
)
@click.option("--steps", type=int, default=3, show_default=True, help="Denoising steps.")
@click.option("--guidance-scale", type=float, default=7.5, show_default=True, help="As `extract` takes it.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of the pipeline's call: image=FILE, strength=0.6; may be repeated.",
)
@click.option("--device", help="Where the model runs, such as cpu or cuda.")
@click.option("--compute-dtype", help="float32, bfloat16 or float16.")
@take.AS_JSON
def check(
    model: str, modules: Sequence[str], inputs: Sequence[str], as_json: bool, **how: str | int | float | None
) -> None:
    """Check MODEL's capture against independent hooks.

    One sample is captured, and held to hooks that know nothing of ldmscene's.

    \b
    Example:
        ldmscene check tiny-scenes
    """
    chosen: dict[str, Any] = {**how, "inputs": handed(inputs)}
    found = ldmscene.check(model, list(modules) or "self-attention", **chosen)
    if as_json:
        print_json(found)
        return
    shapes = found["shapes"]
    first, last = next(iter(shapes)), next(reversed(shapes))
    lines = {
        "model": found["model"],
        "branches": ", ".join(found["branches"]),
        "modules": f"{len(shapes)}, from {first} {shapes[first]} to {last} {shapes[last]}",
        "captured = returned": f"{100 * found['equal']:.4g} % of all modules, branches and steps ({found['steps']})",
        "asked twice": "the same" if found["steady"] else f"another answer: {found['unsteady']}",
        "known to be on": ", ".join(found["on"]) or "nothing",
        "one sample": f"{human_bytes(found['bytes'])} in float16, {found['seconds']:.3g} s",
    }
    for name, text in lines.items():
        print(printable(f"{name:>20}  {text}"))
