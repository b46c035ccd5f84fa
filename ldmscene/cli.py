"""The command line: words in, exit code out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from click.shell_completion import get_completion_class
from rich.console import Console

from ldmscene.errors import LdmsceneError

SUCCESS, REFUSED, INTERRUPTED = 0, 2, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ldmscene")
def cli() -> None:
    """Capture a latent diffusion model's internals once; probe them for ever.

    \b
    The whole path on the embedded model:
        ldmscene run manifests/demo.csv --store stores/demo --report report
    The same in single steps:
        ldmscene extract tiny-scenes manifests/demo.csv --store stores/demo --previews test
        ldmscene label stores/demo depth tiny-depth
        ldmscene evaluate stores/demo
        ldmscene report stores/demo report
    """


_MODULES = click.option(
    "--modules",
    multiple=True,
    default=("self-attention",),
    show_default=True,
    help="A preset, a glob or a name; may be repeated.",
)
_DTYPE = click.option("--dtype", type=click.Choice(["float16", "float32"]), default="float16", show_default=True)
_DEVICE = click.option("--device", help="For example cpu or cuda; the fastest there is where not given.")
_COMPUTE_DTYPE = click.option(
    "--compute-dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="In which the model runs; float32 where not given.",
)
_VARIANT = click.option("--variant", help="Of the weights' files, such as fp16.")
_REVISION = click.option("--revision", help="Of a hub id: a branch, tag or commit.")


def _extraction_options(command):
    for option in reversed(
        (
            _MODULES,
            click.option("--steps", default=15, show_default=True, help="Denoising steps."),
            click.option("--guidance-scale", default=7.5, show_default=True),
            click.option("--negative-prompt", default="", help="The unconditional branch's prompt."),
            click.option("--scheduler", help="A diffusers class name; the pipeline's own where not given."),
            click.option("--height", type=int, help="Pixels; the model's default where not given."),
            click.option("--width", type=int, help="Pixels; the model's default where not given."),
            click.option("--branch", type=click.Choice(["cond", "uncond", "both"]), default="cond", show_default=True),
            _DTYPE,
            click.option(
                "--compression",
                type=click.Choice(["none", "lossless", "rounded"]),
                default="none",
                show_default=True,
                help="Of what is stored. lossless saves a tenth, rounded a quarter; both read at half the rate.",
            ),
            _DEVICE,
            _COMPUTE_DTYPE,
            _VARIANT,
            _REVISION,
            click.option("--batch-size", default=1, show_default=True, help="Samples generated together."),
        )
    ):
        command = option(command)
    return command


@cli.command()
@click.argument("model")
@click.argument("manifest")
@click.option("--store", help="A folder or s3://bucket/prefix; a folder under stores/ where not given.")
@_extraction_options
@click.option("--previews", help="Keep the decoded x_t and predicted x_0 of each step: 'all', or a split's name.")
@click.option("--part", default="1/1", show_default=True, help="2/4: the second of four that fill one store at once.")
@click.option(
    "--keep",
    type=click.Choice(["activations", "statistics"]),
    default="activations",
    show_default=True,
    help="statistics: of training samples, keep just what `evaluate` needs for the targets of --labeler.",
)
@click.option(
    "--labeler", "labelers", multiple=True, metavar="TARGET=LABELER", help="For --keep statistics; may be repeated."
)
@click.option("--dry-run", is_flag=True, help="Time the first batch and print what all would take; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print for a script.")
def extract(
    model: str,
    manifest: str,
    previews: str | None,
    modules: Sequence[str],
    labelers: Sequence[str],
    as_json: bool,
    **options,
) -> None:
    """Generate what a store lacks of a MANIFEST and keep MODEL's activations.

    MODEL is tiny-scenes, a local folder or a hub id.

    \b
    Example:
        ldmscene extract tiny-scenes manifests/demo.csv --store stores/demo --previews test --batch-size 8
        ldmscene extract tiny-scenes manifests/demo.csv --store stores/small --keep statistics \\
            --labeler depth=tiny-depth --labeler mask=tiny-mask
    """
    from ldmscene import pipeline

    kept = {None: False, "all": True}.get(previews, previews)
    named = dict(_pair(text) for text in labelers)
    result = pipeline.extract(model, manifest, modules=list(modules), previews=kept or False, labelers=named, **options)
    _print_extraction(result, as_json)


@cli.command("extract-images")
@click.argument("model")
@click.argument("folder")
@click.option("--store", required=True, help="A folder.")
@click.option(
    "--timestep",
    "timesteps",
    type=float,
    multiple=True,
    required=True,
    help="Of the model's training, 0 to 999 for most; may be repeated.",
)
@click.option("--prompt", "prompts", default="", help="One for all images.")
@click.option("--seed", "seeds", default=0, show_default=True, help="Of the noise.")
@_MODULES
@_DTYPE
@_DEVICE
@_COMPUTE_DTYPE
@_VARIANT
@_REVISION
@click.option("--batch-size", default=1, show_default=True, help="Images noised together.")
@click.option("--dry-run", is_flag=True, help="Print what it would take; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print for a script.")
def extract_images(model: str, folder: str, modules: Sequence[str], as_json: bool, **options) -> None:
    """Noise the images of a FOLDER to chosen timesteps and keep MODEL's activations.

    \b
    Example:
        ldmscene extract-images tiny-scenes pictures --store stores/pictures --timestep 100 --timestep 400
    """
    from ldmscene import pipeline

    result = pipeline.extract_images(model, folder, modules=list(modules), **options)
    _print_extraction(result, as_json)


@cli.command()
@click.argument("store")
@click.argument("target")
@click.argument("labeler")
@click.option(
    "--on",
    type=click.Choice(["image", "noisy", "predicted"]),
    default="image",
    show_default=True,
    help="Final images, or the decoded x_t or predicted x_0 of each step.",
)
@click.option("--split", help="Label one split only.")
@click.option("--kind", type=click.Choice(["continuous", "binary", "classes"]), help="Where the labeler doesn't say.")
@click.option("--threshold", type=float, help="Of a binary target: pixels above it are foreground.")
@_DEVICE
def label(store: str, target: str, labeler: str, **options) -> None:
    """Add LABELER's labels for a TARGET to a STORE.

    \b
    LABELER is one of
        tiny-depth, tiny-mask, tiny-shading     of the embedded world
        midas[:MODEL], depth:MODEL              a depth estimator of transformers; a local folder or a hub id
        tracer[:WEIGHTS], rembg[:WEIGHTS]       the salient foreground
        intrinsic                               shading
        vgg16[:WEIGHTS], torchvision:NAME       what the picture shows
        files:, masks:, classes:FOLDER          made elsewhere: .npy, .png or .tif, named by sample_id

    \b
    Example:
        ldmscene label stores/demo depth midas:Intel/dpt-hybrid-midas
    """
    from ldmscene import pipeline

    done = pipeline.label(store, target, labeler, **options)
    Console(stderr=True).print(
        f"{store}: {len(done.samples)} samples, targets {', '.join(done.targets)}", highlight=False
    )


@cli.command()
@click.argument("store")
@click.option("--targets", multiple=True, help="All that have labels where not given; may be repeated.")
@click.option("--modules", multiple=True, help="All that are stored where not given; may be repeated.")
@click.option("--cv", default=5, show_default=True, help="Folds over prompts, to choose the penalty.")
@click.option("--permuted", help="A store of the same samples from the model with permuted weights.")
@click.option("--json", "as_json", is_flag=True, help="Print for a script.")
def evaluate(store: str, targets: Sequence[str], modules: Sequence[str], as_json: bool, **options) -> None:
    """Fit a probe at every target, module and step of a STORE, and print its scores.

    \b
    Example:
        ldmscene evaluate stores/demo --permuted stores/demo-permuted
    """
    from ldmscene import pipeline

    _print_grid(pipeline.evaluate(store, targets or None, modules or None, **options), as_json)


@cli.command()
@click.argument("store")
@click.argument("folder")
@click.option("--permuted", help="A store of the same samples from the model with permuted weights.")
@click.option("--cv", default=5, show_default=True, help="Folds over prompts, to choose the penalty.")
def report(store: str, folder: str, **options) -> None:
    """Write the report on a STORE as a FOLDER of static pages.

    \b
    Example:
        ldmscene report stores/demo report --permuted stores/demo-permuted
    """
    from ldmscene import pipeline
    from ldmscene.stages import reporting

    command = reporting.command("report", store, folder, **options)
    _print_page(pipeline.write_report(store, pipeline.evaluate(store, **options), folder, command=command))


@cli.command()
@click.argument("manifests", nargs=-1, required=True, metavar="MANIFEST...")
@click.option("--model", help="tiny-scenes (or the protocol's) where not given; a local folder or a hub id.")
@click.option("--protocol", help="A published experiment's settings, which other options override: scenes.")
@click.option("--store", required=True, help="A folder or s3://bucket/prefix; the control's goes beside it.")
@click.option("--report", required=True, help="A folder for the report.")
@click.option(
    "--labeler",
    "labelers",
    multiple=True,
    metavar="TARGET=LABELER",
    help="As `label` has them; may be repeated. tiny-scenes and protocols have their own; TARGET= leaves one out.",
)
@click.option(
    "--control/--no-control",
    default=True,
    show_default=True,
    help="The same probes on the model with permuted weights.",
)
@_extraction_options
@click.option("--dry-run", is_flag=True, help="Print what it would take; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print for a script.")
def run(manifests: Sequence[str], as_json: bool, **options) -> None:
    """The whole path from a MANIFEST to a report; what is done already isn't done again.

    \b
    Examples:
        ldmscene run manifests/demo.csv --store stores/demo --report report --batch-size 8
        ldmscene run --protocol scenes TRAIN.csv TEST.csv --store stores/scenes --report report --dry-run
    """
    from ldmscene import pipeline, terminal

    chosen = _typed(options)
    if "labelers" in chosen:
        chosen["labelers"] = dict(_pair(text) for text in chosen["labelers"])
    result = pipeline.run(_manifest(manifests, options["protocol"]), **chosen)
    if isinstance(result, dict):
        _print_estimate(result, as_json)
        return
    grid, page = result
    _print_grid(grid, as_json)
    if not as_json:
        for line in pipeline.recognition_sentences(options["store"]):
            terminal.console().print(line, highlight=False)
    _print_page(page)


def _typed(options: dict) -> dict:
    """The options that were typed, so that those that weren't can have another's defaults; repeated ones as lists."""
    default = click.core.ParameterSource.DEFAULT
    source = click.get_current_context().get_parameter_source
    return {k: list(v) if isinstance(v, tuple) else v for k, v in options.items() if source(k) is not default}


def _manifest(paths: Sequence[str], protocol: str | None):
    from ldmscene.manifest import read_published

    if len(paths) == 1:
        return paths[0]
    if len(paths) == 2 and protocol is not None:
        return read_published(*paths)
    raise click.UsageError("expected one MANIFEST, or --protocol with the published files TRAIN and TEST")


def _pair(text: str) -> tuple[str, str]:
    target, found, labeler = text.partition("=")
    if not found:
        raise click.BadParameter(f"expected TARGET=LABELER, got {text!r}", param_hint="--labeler")
    return target, labeler


@cli.command()
@click.argument("model")
@click.option(
    "--modules",
    multiple=True,
    help="A preset, a glob or a name; may be repeated. All presets (attention, ResNets, blocks) where not given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print for a script.")
def modules(model: str, modules: Sequence[str], as_json: bool) -> None:
    """List a MODEL's attention, ResNet and block modules with h × w, channels and bytes a step.

    \b
    Example:
        ldmscene modules tiny-scenes --modules resnet
    """
    from ldmscene import pipeline, terminal

    rows = pipeline.list_modules(model, list(modules) or None)
    print(json.dumps(rows)) if as_json else terminal.console().print(terminal.module_table(rows))


@cli.command()
@click.argument("store")
@click.option("--json", "as_json", is_flag=True, help="Print for a script.")
def info(store: str, as_json: bool) -> None:
    """What a STORE holds: completeness, sizes, fingerprint."""
    from ldmscene.store import ActivationStore

    _print_info(ActivationStore(store), as_json)


@cli.command()
@click.argument("store")
@click.option("--json", "as_json", is_flag=True, help="Print for a script.")
def verify(store: str, as_json: bool) -> None:
    """Check every byte that a STORE's ledger vouches for; exit code 2 if one is wrong."""
    from ldmscene import pipeline
    from ldmscene.store import ActivationStore
    from ldmscene.store.check import find_orphans

    faults = pipeline.verify(store)
    if as_json:
        print(json.dumps([vars(fault) for fault in faults]))
    else:
        for fault in faults:
            print(fault)
    if faults:
        raise LdmsceneError(
            f"{len(faults)} faults in {store}; `ldmscene repair {store}` drops what is broken, then extract again"
        )
    opened, console = ActivationStore(store), Console(stderr=True)
    bad, orphans = int(opened.ledger["nonfinite"].sum()), len(find_orphans(opened))
    console.print(f"{store}: every byte is as it was written; {bad} values are NaN or infinite", highlight=False)
    if orphans:
        console.print(f"{orphans} shards belong to unfinished samples; the next extract replaces them", highlight=False)


@cli.command()
@click.argument("store")
def repair(store: str) -> None:
    """Drop from a STORE's ledger what is broken, so that the next extract or label makes it again."""
    from ldmscene.store.check import repair as mend

    dropped = mend(store)
    Console(stderr=True).print(f"{store}: {dropped} broken entries dropped", highlight=False)


def _print_extraction(result, as_json: bool) -> None:
    """A store, or what a dry run foretells of one."""
    show = _print_estimate if isinstance(result, dict) else _print_info
    show(result, as_json)


def _print_estimate(estimate: dict, as_json: bool) -> None:
    from ldmscene import terminal

    print(json.dumps(estimate)) if as_json else terminal.console().print(terminal.estimate_table(estimate))


def _print_info(store, as_json: bool) -> None:
    from ldmscene import terminal

    print(json.dumps(terminal.info(store))) if as_json else terminal.console().print(terminal.info_table(store))


def _print_grid(grid, as_json: bool) -> None:
    from ldmscene import terminal
    from ldmscene.grid import sentence

    if as_json:
        print(json.dumps(terminal.grid_rows(grid)))
        return
    console = terminal.console()
    console.print(terminal.grid_table(grid))
    for target in grid["target"].values:
        console.print(sentence(grid, str(target)), highlight=False)


@cli.command()
@click.argument("store")
@click.argument("folder")
@click.option("--sample", "samples", multiple=True, help="A held-out sample_id; the first two where not given.")
@click.option("--permuted", help="A store of the same samples from the model with permuted weights.")
@click.option("--cv", default=5, show_default=True, help="Folds over prompts, to choose the penalty.")
def figures(store: str, folder: str, samples: Sequence[str], **options) -> None:
    """Save the figures on a STORE into a FOLDER as PDF, SVG and PNG at paper size.

    \b
    Example:
        ldmscene figures stores/demo figures --sample p0042-s7
    """
    from ldmscene import pipeline, plot

    opened = pipeline.open_store(store)
    files = plot.figures(opened, pipeline.evaluate(opened, **options), folder, samples or None)
    Console(stderr=True).print(f"{folder}: {len(files)} files", highlight=False)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what completes commands, options and names in a SHELL.

    \b
    Example, for good:
        ldmscene completion bash >> ~/.bashrc
    """
    kind = get_completion_class(shell)
    assert kind is not None
    print(kind(cli, {}, "ldmscene", "_LDMSCENE_COMPLETE").source())


def _print_page(page: Path) -> None:
    Console(stderr=True).print(f"report: {page}", highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 when done, 2 when refused, 130 when interrupted."""
    for library in ("TRANSFORMERS", "DIFFUSERS"):  # their advice on optional packages isn't for our users
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    try:
        sys.exit(cli.main(arguments, standalone_mode=False) or SUCCESS)
    except click.ClickException as error:
        error.show()
        sys.exit(REFUSED)
    except (LdmsceneError, OSError) as error:
        print(f"error: {_printable(str(error))}", file=sys.stderr)
        sys.exit(REFUSED)
    except (KeyboardInterrupt, click.Abort):
        print("interrupted; finished samples are kept, and the same command goes on from there", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _printable(text: str) -> str:
    """Text from a manifest or a store can't steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


if __name__ == "__main__":
    main()
