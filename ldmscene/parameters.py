"""Words of the command line that several verbs take, and how a shell completes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

# As `capture` and `manifest` have them, which are too slow to import for a shell that completes a word.
PRESETS = ("self-attention", "cross-attention", "resnet", "all-blocks")
SPLITS = ("train", "val", "test")

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
    own = [CompletionItem(name) for name in ("tiny-scenes",) if name.startswith(incomplete)]
    return own or [CompletionItem(incomplete, type="dir")]


def labelers() -> list[str]:
    from ldmscene.labelers.registry import LABELERS

    return list(LABELERS)


def probes() -> list[str]:
    from ldmscene.evaluation.kinds import KINDS

    return list(KINDS)


def metrics() -> list[str]:
    from ldmscene.metrics import METRICS

    return list(METRICS)


def schedulers() -> list[str]:
    from diffusers import schedulers as known

    return [name for name in dir(known) if name.endswith("Scheduler")]


def group(*options: Callable) -> Callable:
    """Several options as one decorator, in their order."""

    def add(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def labelers_option(help: str) -> Callable:
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
PART = click.option("--part", default="1/1", show_default=True, help="2/4: the second of four that fill one store.")
STORE_HELP = "A folder or s3://bucket/prefix"
MODULES = click.option(
    "--modules",
    multiple=True,
    default=("self-attention",),
    show_default=True,
    shell_complete=completing(lambda: PRESETS),
    help="A preset, a glob or a name; may be repeated.",
)
DEVICE = click.option("--device", help="For example cpu or cuda; the fastest there is where not given.")
PREVIEWS = click.option(
    "--previews",
    type=click.Choice(["all", *SPLITS]),
    help="Keep the decoded x_t and predicted x_0 of each step, of all samples or of a split's.",
)
CLIENT = click.option(
    "--client",
    metavar="ADDRESS",
    help="Of a dask scheduler, tcp://HOST:PORT, whose workers see the same files under the same paths.",
)
EDIT = group(
    click.option("--wanted", required=True, help="shift:DY,DX, swap or files:FOLDER: the map that is to be read."),
    click.option(
        "--modules", multiple=True, help="best:N, names or globs, repeatable; the best 9 of the store where not given."
    ),
    click.option("--steps", type=int, multiple=True, help="From 0, repeatable; 0 to 4 where not given."),
    click.option(
        "--rule",
        type=click.Choice(["conditional", "minimum-norm", "adam", "erase", "donor"]),
        default="conditional",
        show_default=True,
    ),
    click.option("--branch", type=click.Choice(["cond", "uncond", "both"]), default="cond", show_default=True),
    click.option("--strength", default=1.0, show_default=True, help="By which the change is multiplied."),
    click.option("--margin", default=6.0, show_default=True, help="Log odds that are wanted of a mask."),
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

_BRANCH = click.option("--branch", type=click.Choice(["cond", "uncond", "both"]), default="cond", show_default=True)
_NEGATIVE = click.option("--negative-prompt", default="", help="The unconditional branch's prompt.")
STORED = group(
    click.option("--dtype", type=click.Choice(["float16", "float32"]), default="float16", show_default=True),
    click.option(
        "--compression",
        type=click.Choice(["none", "lossless", "rounded"]),
        default="none",
        show_default=True,
        help="Of what is stored. lossless saves a tenth, rounded a quarter; both read at half the rate.",
    ),
    DEVICE,
    click.option(
        "--compute-dtype",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        help="In which the model runs; float32 where not given.",
    ),
    click.option("--variant", help="Of the weights' files, such as fp16."),
    click.option("--revision", help="Of a hub id: a branch, tag or commit."),
    click.option("--batch-size", default=1, show_default=True, help="Samples that go through the model together."),
)
EXTRACTION = group(
    MODULES,
    click.option("--steps", default=15, show_default=True, help="Denoising steps."),
    click.option("--guidance-scale", default=7.5, show_default=True),
    _NEGATIVE,
    click.option(
        "--scheduler",
        shell_complete=completing(schedulers),
        help="A diffusers class name; the pipeline's own where not given.",
    ),
    click.option("--height", type=int, help="Pixels; the model's default where not given."),
    click.option("--width", type=int, help="Pixels; the model's default where not given."),
    _BRANCH,
    STORED,
)
GIVEN_IMAGES = group(
    click.option(
        "--timestep",
        "timesteps",
        type=float,
        multiple=True,
        required=True,
        help="Of the model's training, 0 to 999 for most; may be repeated.",
    ),
    click.option("--prompt", "prompts", default="", help="One for all images."),
    click.option("--seed", "seeds", default=0, show_default=True, help="Of the noise."),
    MODULES,
    click.option("--guidance-scale", default=1.0, show_default=True),
    _NEGATIVE,
    _BRANCH,
    STORED,
    PREVIEWS,
)
GRID = group(
    click.option("--targets", multiple=True, help="Names or globs, repeatable; all that have labels where not given."),
    click.option("--modules", multiple=True, help="Names or globs, repeatable; all that are stored where not given."),
    click.option(
        "--steps", type=int, multiple=True, help="Which denoiser calls, from 0, repeatable; all where not given."
    ),
    click.option(
        "--probe",
        shell_complete=completing(probes),
        help="The kind of probe: ridge where not given, or logistic, for masks alone.",
    ),
    click.option("--cv", default=5, show_default=True, help="Folds over prompts, to choose the penalty."),
    click.option(
        "--alphas",
        type=float,
        multiple=True,
        help="Penalties to choose from, at least two; where not given 21 from 1e-2 to 1e8, or the kind's own.",
    ),
    CONTROL,
)
