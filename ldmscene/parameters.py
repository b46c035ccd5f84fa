"""Words of the command line that several verbs take, and how a shell completes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field
from typing import Any, get_args

import click
from click.shell_completion import CompletionItem

from ldmscene.choices import EMBEDDED, SPLITS, HeldOut
from ldmscene.extraction.options import Options
from ldmscene.options import about_of, fields_of

FILE = click.Path(dir_okay=False)
FOLDER = click.Path(file_okay=False)  # also of URLs: nothing needs to be there

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print for a script.")


def completing(known: Callable[[], Iterable[str]]) -> Callable[..., list[str]]:
    """Completes one of the known names; also after TARGET=."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        target, equals, start = incomplete.rpartition("=")
        return [f"{target}{equals}{name}" for name in known() if name.startswith(start)]

    return complete


def complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The embedded model's name, or a folder."""
    own = [CompletionItem(name) for name in (EMBEDDED,) if name.startswith(incomplete)]
    return own or [CompletionItem(incomplete, type="dir")]


def labelers() -> list[str]:
    from ldmscene.labelers.registry import LABELERS

    return list(LABELERS)


def probes() -> list[str]:
    from ldmscene.evaluation.kinds import KINDS

    return list(KINDS)


def presets() -> list[str]:
    from ldmscene.presets import PRESETS

    return list(PRESETS)


def modules() -> list[str]:
    """Presets, and how names in the other parts of most pipelines begin."""
    return [*presets(), "text_encoder", "vae"]


def rules() -> list[str]:
    from ldmscene.edits import RULES

    return list(RULES)


def metrics() -> list[str]:
    from ldmscene.metrics import METRICS

    return list(METRICS)


def schedulers() -> list[str]:
    from diffusers import schedulers as known

    return [name for name in dir(known) if name.endswith("Scheduler")]


def several(of: type = str) -> dict[str, Any]:
    """For an option that may be repeated, and hold several values between commas; whole numbers also as 0:5."""

    def read(context: click.Context, parameter: click.Parameter, typed: Iterable[Any]) -> tuple[Any, ...]:
        words = [word.strip() for one in typed for word in str(one).split(",")]
        try:
            return tuple(value for word in words for value in _range_or_one(word, of))
        except ValueError as error:
            wanted = {int: "a whole number, or a range such as 0:5", float: "a number"}.get(of, "a name")
            raise click.BadParameter(f"expected {wanted}, got {', '.join(map(repr, typed))}") from error

    return {"multiple": True, "type": str, "callback": read}


def _range_or_one(word: str, of: type) -> Iterable[Any]:
    if of is int and ":" in word:
        first, _, end = word.partition(":")
        if int(first or 0) >= int(end):
            raise ValueError(word)
        return range(int(first or 0), int(end))
    if not word:
        raise ValueError(word)
    return [of(word)]


def group(*options: Callable[..., Any]) -> Callable[..., Any]:
    """Several options as one decorator, in their order."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def labelers_option(help: str) -> Callable[..., Any]:
    return click.option(
        "--labeler",
        "labelers",
        multiple=True,
        metavar="TARGET=LABELER",
        shell_complete=completing(labelers),
        help=help,
    )


MODEL = click.argument("model", shell_complete=complete_model)
MODEL_OPTION = click.option(
    "--model",
    shell_complete=complete_model,
    help="tiny-scenes (or the protocol's) where not given; a local folder or a hub id.",
)
STORE = click.argument("store", type=FOLDER)
STORE_HELP = "A folder or s3://bucket/prefix"
DEVICE = click.option("--device", help="For example cpu or cuda; the fastest there is where not given.")
CLIENT = click.option(
    "--client",
    metavar="ADDRESS",
    help="Of a dask scheduler, tcp://HOST:PORT, whose workers see the same files under the same paths.",
)
EDIT = group(
    click.option("--wanted", required=True, help="shift:DY,DX, swap or files:FOLDER: the map that is to be read."),
    click.option(
        "--modules",
        **several(),
        help="best:N, names or globs, repeated or with commas; the nine best, or all of fewer, where not given.",
    ),
    click.option("--steps", **several(int), help="From 0, such as 2,14 or 0:5; the first five where not given."),
    click.option(
        "--rule",
        shell_complete=completing(rules),
        default="conditional",
        show_default=True,
        help="conditional, minimum-norm, adam, erase or donor.",
    ),
    click.option(
        "--branch",
        type=click.Choice(["cond", "uncond", "both"]),
        help="Halves of classifier-free guidance to change; the one that probes read, mostly cond, where not given.",
    ),
    click.option("--strength", default=1.0, show_default=True, help="By which the change is multiplied."),
    click.option(
        "--margin",
        default=6.0,
        show_default=True,
        help="Log odds that are wanted of a mask; of other targets, how far from the wanted value is still right.",
    ),
    click.option(
        "--only-where",
        type=click.Choice(["everywhere", "wrong"]),
        default="everywhere",
        show_default=True,
        help="Cells that change.",
    ),
)
CONTROL = click.option(
    "--permuted", type=FOLDER, help="A store of the same samples from the model with permuted weights."
)

# Options whose words need an explanation, or a kind, that a call from Python doesn't.
_SPECIAL: dict[str, Callable[..., Any]] = {
    "store": click.option("--store", type=FOLDER, help=f"{STORE_HELP}; a folder under stores/ where not given."),
    "device": DEVICE,
    "client": CLIENT,
    "labelers": labelers_option("For --keep statistics; may be repeated."),
    "inputs": click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="NAME=VALUE",
        help="Of the pipeline's call: image=FOLDER, whose files the manifest's column image names, control_image=FILE, "
        "strength=0.6; may be repeated.",
    ),
    "previews": click.option(
        "--previews",
        type=click.Choice(["all", *SPLITS]),
        help="Store the decoded x_t and predicted x_0 of each step, of all samples or of a split's.",
    ),
    "dry_run": click.option("--dry-run", is_flag=True, help="Print what it would take; write nothing."),
}
_COMPLETED = {"modules": modules, "scheduler": schedulers}


def options_of(kind: type[Options], *, without: Iterable[str] = ()) -> Callable[..., Any]:
    """The command line's options for the fields of an extraction's options; arguments are left to the command."""
    described = [option for option in fields_of(kind) if about_of(option).flag != "" and option.name not in without]
    typed = [option for option in described if option.kw_only or option.default is not MISSING]
    return group(*[_SPECIAL.get(option.name) or _option(option) for option in typed])


def _option(option: Field[Any]) -> Callable[..., Any]:
    told, default = about_of(option), option.default
    more: dict[str, Any] = {"type": click.Choice(told.choices) if told.choices else told.typed}
    if isinstance(default, bool):
        more = {"is_flag": True}
    elif told.many:
        more = several(told.typed or str) | {"default": () if default is MISSING else (default,)}
    elif default is not MISSING:
        more["default"] = default
    if option.name in _COMPLETED:
        more["shell_complete"] = completing(_COMPLETED[option.name])
    sentence = told.text.partition(". ")[0].rstrip(".")
    return click.option(
        told.flag or f"--{option.name.replace('_', '-')}",
        option.name,
        required=default is MISSING,
        show_default=default not in (MISSING, None, "", False),
        help=f"{sentence}{'; repeated, or with commas' if told.many else ''}.",
        **more,
    )


PART = _option(next(option for option in fields_of(Options) if option.name == "part"))
GRID = group(
    click.option(
        "--targets",
        **several(),
        help="Names or globs, repeated or with commas; all that have labels where not given.",
    ),
    click.option(
        "--modules",
        **several(),
        help="Names, how they begin, or globs, repeated or with commas; all that are stored where not given.",
    ),
    click.option(
        "--steps",
        **several(int),
        help="Which denoiser calls, from 0, such as 2,14 or 0:5, which is 0 to 4; -1 is the last. All where not given.",
    ),
    click.option(
        "--probe",
        shell_complete=completing(probes),
        help="The kind of probe: ridge where not given, or logistic, for masks alone.",
    ),
    click.option(
        "--beyond",
        **several(),
        help="What probes may use anyway: position, latent, and targets by name; position alone where not given.",
    ),
    click.option(
        "--held-out",
        type=click.Choice(get_args(HeldOut)),
        help="The split that judges: test where not given.",
    ),
    click.option("--nonlinear", is_flag=True, help="Also read random functions of features: what linear probes miss."),
    click.option(
        "--precision",
        type=click.Choice(["float64", "float32"]),
        help="Of products of features that are stored as float16: float64 where not given; float32 is quicker.",
    ),
    click.option("--device", help="Where ridges sum features, such as cuda; the CPU where not given."),
    click.option("--cv", default=5, show_default=True, help="Folds over prompts, to choose the penalty."),
    click.option(
        "--alphas",
        **several(float),
        help="Penalties to choose from, at least two; where not given 21 from 1e-2 to 1e8, or the kind's own.",
    ),
    CONTROL,
)
