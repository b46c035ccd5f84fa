"""The command line: words in, exit code out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import get_completion_class

import ldmscene
from ldmscene import parameters as take
from ldmscene.errors import InputError, LdmsceneError
from ldmscene.extraction.options import RUNS_DECIDE, SPLITS, Extraction, ImageExtraction
from ldmscene.progress import say
from ldmscene.text import printable

if TYPE_CHECKING:
    from ldmscene.manifest import Manifest
    from ldmscene.store import ActivationStore
    from ldmscene.table import Grid

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


@cli.command()
@take.MODEL
@click.argument("manifest", type=take.FILE)
@take.options_of(Extraction)
@take.AS_JSON
def extract(
    model: str,
    manifest: str,
    previews: str | None,
    modules: Sequence[str],
    labelers: Sequence[str],
    client: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Generate what a store lacks of a MANIFEST and store MODEL's activations.

    MODEL is tiny-scenes, a local folder or a hub id.

    \b
    Examples:
        ldmscene extract tiny-scenes manifests/demo.csv --store stores/demo --previews test --batch-size 8
        ldmscene extract tiny-scenes manifests/demo.csv --store stores/small --keep statistics \\
            --labeler depth=tiny-depth --labeler mask=tiny-mask
    """
    options |= {"modules": list(modules), "previews": _kept(previews), "labelers": _pairs(labelers)}
    with _cluster(client) as connected:
        result = ldmscene.extract(model, manifest, client=connected, **options)
    _print_extraction(result, as_json)


@cli.command("extract-images")
@take.MODEL
@click.argument("folder", type=take.FOLDER)
@click.option("--store", type=take.FOLDER, required=True, help=f"{take.STORE_HELP}.")
@take.options_of(ImageExtraction)
@take.AS_JSON
def extract_images(
    model: str, folder: str, previews: str | None, modules: Sequence[str], as_json: bool, **options: Any
) -> None:
    """Noise the images of a FOLDER to chosen timesteps and keep MODEL's activations.

    \b
    Example:
        ldmscene extract-images tiny-scenes pictures --store stores/pictures --timestep 100 --timestep 400
    """
    result = ldmscene.extract_images(model, folder, modules=list(modules), previews=_kept(previews), **options)
    _print_extraction(result, as_json)


def _kept(previews: str | None) -> bool | str:
    return {None: False, "all": True}.get(previews, previews or False)


@cli.command()
@take.STORE
@click.argument("target")
@click.argument("labeler", shell_complete=take.completing(take.labelers))
@click.option(
    "--on",
    type=click.Choice(["image", "noisy", "predicted"]),
    default="image",
    show_default=True,
    help="Final images, or the decoded x_t or predicted x_0 of each step.",
)
@click.option("--split", type=click.Choice(SPLITS), help="Label one split only.")
@click.option("--kind", type=click.Choice(["continuous", "binary", "classes"]), help="Where the labeler doesn't say.")
@click.option("--threshold", type=float, help="Of a binary target: pixels above it are foreground.")
@click.option("--void", type=float, help="The number that marks a pixel without label, such as 255.")
@click.option(
    "--metric", shell_complete=take.completing(take.metrics), help="By which probes of the target are judged first."
)
@take.DEVICE
@take.AS_JSON
def label(store: str, target: str, labeler: str, as_json: bool, **options: Any) -> None:
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
    Examples:
        ldmscene label stores/demo depth midas:Intel/dpt-hybrid-midas
        ldmscene label stores/demo depth tiny-depth --on noisy --split test
    """
    done = ldmscene.label(store, target, labeler, **options)
    if as_json:
        print(json.dumps({"store": store, "samples": len(done.samples), "targets": done.targets}))
    else:
        say(f"{store}: {len(done.samples)} samples, targets {', '.join(done.targets)}")


@cli.command()
@take.STORE
@take.GRID
@take.CLIENT
@take.AS_JSON
def evaluate(store: str, client: str | None, as_json: bool, **options: Any) -> None:
    """Fit a probe at every target, module and step of a STORE, and print its scores.

    \b
    Examples:
        ldmscene evaluate stores/demo --permuted stores/demo-permuted
        ldmscene evaluate stores/demo --targets depth,mask --steps 2,14
    """
    with _cluster(client) as connected:
        grid = ldmscene.evaluate(store, client=connected, **_given(options))
    _print_grid(grid, as_json)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Without the options that can be repeated and weren't there at all."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in options.items() if v not in ((), None)}


@contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """A client of a running dask scheduler, or None."""
    if address is None:
        yield None
        return
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise InputError("--client needs dask's scheduler; get it with: pip install 'ldmscene[cluster]'") from error
    try:
        client = Client(address, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--client: no dask scheduler answers at {address}; expected tcp://HOST:PORT") from error
    with client:
        yield client


@cli.command()
@take.STORE
@click.argument("target")
@click.option("--edited", type=take.FOLDER, required=True, help=f"{take.STORE_HELP} for the new pictures.")
@take.EDIT
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Which samples.")
@click.option(
    "--control",
    "controls",
    multiple=True,
    default=("none", "random:5"),
    show_default=True,
    help="none, random:N, shuffled, other-target, wrong-region, worst-module, donor, from; may be repeated.",
)
@click.option("--model", shell_complete=take.complete_model, help="The store's own by its name where not given.")
@take.DEVICE
@click.option("--batch-size", default=1, show_default=True, help="Samples that go through the model together.")
@take.PART
@take.AS_JSON
def intervene(store: str, target: str, edited: str, as_json: bool, **options: Any) -> None:
    """Generate a STORE's samples again with activations changed until its probes read another TARGET.

    Label the new pictures next, and ask for the `effect`.

    \b
    Example:
        ldmscene intervene stores/demo mask --edited stores/edited --wanted shift:0,16 --modules best:9 \\
            --control none --control random:5 --control shuffled
    """
    kinds = ("wanted", "modules", "steps", "rule", "branch", "strength", "margin", "only_where")
    edit = ldmscene.Edit.of(ldmscene.evaluate(store), target, **_given({name: options.pop(name) for name in kinds}))
    done = ldmscene.intervene(store, edit, edited, **_given(options))
    if as_json:
        print(json.dumps({"store": edited, "samples": len(done.samples), "edit": edit.header}, default=str))
    else:
        say(f"{edited}: {len(done.samples)} samples, {edit}")


@cli.command()
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


@cli.command()
@take.STORE
@click.argument("folder", type=take.FOLDER)
@take.GRID
@click.option("--samples", type=int, help="How many held-out samples to show with pictures; all that fit if not given.")
@take.AS_JSON
def report(store: str, folder: str, samples: int | None, as_json: bool, **options: Any) -> None:
    """Write the report on a STORE as a FOLDER of static pages.

    \b
    Examples:
        ldmscene report stores/demo report --permuted stores/demo-permuted
        ldmscene report stores/demo report --targets mask --samples 12
    """
    from ldmscene.calls.command import command as command_line

    command = command_line("report", store, folder, samples=samples, **options)
    grid = ldmscene.evaluate(store, **_given(options))
    _print_page(ldmscene.write_report(store, grid, folder, samples=samples, command=command), as_json)


@cli.command()
@click.argument("manifests", nargs=-1, required=True, metavar="MANIFEST...", type=take.FILE)
@take.MODEL_OPTION
@click.option("--protocol", help="A published experiment's settings, which other options override: scenes.")
@click.option(
    "--store",
    type=take.FOLDER,
    help=f"{take.STORE_HELP}, stores/NAME of the protocol or manifest where not given; the control's goes beside it.",
)
@click.option("--report", type=take.FOLDER, help="A folder for the report; reports/NAME where not given.")
@take.labelers_option(
    "As `label` has them; may be repeated. tiny-scenes and protocols have their own; TARGET= leaves one out."
)
@click.option(
    "--control/--no-control",
    default=True,
    show_default=True,
    help="The same probes on the model with permuted weights.",
)
@take.options_of(Extraction, without={"store", "labelers", *RUNS_DECIDE})
@take.AS_JSON
def run(manifests: Sequence[str], as_json: bool, **options: Any) -> None:
    """The whole path from a MANIFEST to a report; what is done already isn't done again.

    \b
    Examples:
        ldmscene run manifests/demo.csv --store stores/demo --report report --batch-size 8
        ldmscene run --protocol scenes TRAIN.csv TEST.csv --dry-run
    """
    from ldmscene import terminal
    from ldmscene.calls.recognition import recognition_sentences
    from ldmscene.calls.run import check_own

    name = options["protocol"] or Path(manifests[0]).stem
    chosen = {"store": f"stores/{name}", "report": f"reports/{name}", **_typed(options)}
    manifest = _manifest(manifests, options["protocol"])
    if options["store"] is None:
        check_own(chosen["store"], manifest)
    if "labelers" in chosen:
        chosen["labelers"] = _pairs(chosen["labelers"])
    result = ldmscene.run(manifest, **chosen)
    if isinstance(result, dict):
        _print_estimate(result, as_json)
        return
    grid, page = result
    _print_grid(grid, as_json)
    if not as_json:
        for line in recognition_sentences(chosen["store"]):
            terminal.console().print(line)
    _print_page(page)


def _typed(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were typed, so that those that weren't can have another's defaults; repeated ones as lists."""
    default = click.core.ParameterSource.DEFAULT
    source = click.get_current_context().get_parameter_source
    return {k: list(v) if isinstance(v, tuple) else v for k, v in options.items() if source(k) is not default}


def _manifest(paths: Sequence[str], protocol: str | None) -> str | Manifest:
    from ldmscene.manifest import read_published

    if len(paths) == 1:
        return paths[0]
    if len(paths) == 2 and protocol is not None:
        return read_published(*paths)
    raise click.UsageError("expected one MANIFEST, or --protocol with the published files TRAIN and TEST")


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"expected TARGET=LABELER, got {text!r}", param_hint="--labeler")
    return {target: labeler for target, _, labeler in (text.partition("=") for text in texts)}


@cli.command()
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


@cli.command()
@take.STORE
@take.AS_JSON
def info(store: str, as_json: bool) -> None:
    """What a STORE holds: completeness, sizes, fingerprint.

    \b
    Example:
        ldmscene info stores/demo
    """
    from ldmscene.store import ActivationStore

    _print_info(ActivationStore(store), as_json)


@cli.command()
@take.STORE
@take.AS_JSON
def verify(store: str, as_json: bool) -> None:
    """Check every byte that a STORE's ledger vouches for; exit code 2 if one is wrong.

    \b
    Examples:
        ldmscene verify stores/demo
        ldmscene verify s3://bucket/demo --json
    """
    faults = ldmscene.verify(store)
    counts = _counts(store)
    if as_json:
        print(json.dumps({"faults": [vars(fault) for fault in faults], **counts}))
    else:
        _print_faults(faults)
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

    try:
        opened = ActivationStore(store)
        made = ~opened.ledger["what"].str.startswith(("labels/", "intermediate/"))  # there, NaN is "no label here"
        nonfinite = int(opened.ledger["nonfinite"][made].sum())
        return {"orphans": len(find_orphans(opened)), "nonfinite": nonfinite}
    except LdmsceneError:
        return {"orphans": None, "nonfinite": None}


def _print_faults(faults: Sequence[object]) -> None:
    for fault in faults:
        print(printable(str(fault)))


@cli.command()
@take.STORE
@click.option("--dry-run", is_flag=True, help="Print what would be mended or dropped; change nothing.")
@take.AS_JSON
def repair(store: str, dry_run: bool, as_json: bool) -> None:
    """Drop from a STORE's ledger what is broken, so that the next extract or label makes it again.

    \b
    Example:
        ldmscene repair stores/demo --dry-run
    """
    from ldmscene.store.check import find_faults
    from ldmscene.store.check import repair as mend

    faults = find_faults(store) if dry_run else mend(store)
    if as_json:
        print(json.dumps({"mended": 0 if dry_run else len(faults), "faults": [vars(fault) for fault in faults]}))
        return
    _print_faults(faults)
    many = f"{len(faults)} fault{'s' * (len(faults) != 1)}"
    say(f"{store}: {many} {'would be' if dry_run else 'were'} mended or dropped")


def _print_extraction(result: ActivationStore | dict[str, Any], as_json: bool) -> None:
    """A store, or what a dry run foretells of one."""
    if isinstance(result, dict):
        _print_estimate(result, as_json)
    else:
        _print_info(result, as_json)


def _print_estimate(estimate: dict[str, Any], as_json: bool) -> None:
    from ldmscene import terminal

    if as_json:
        print(json.dumps(estimate))
    else:
        terminal.show(terminal.estimate_table(estimate), "What the extraction would take")


def _print_info(store: ActivationStore, as_json: bool) -> None:
    from ldmscene import terminal

    if as_json:
        print(json.dumps(terminal.info(store)))
    else:
        terminal.show(terminal.info_table(store), terminal.info_title(store))


def _print_grid(grid: Grid, as_json: bool) -> None:
    from ldmscene import terminal
    from ldmscene.conclusions import sentence

    if as_json:
        print(json.dumps(terminal.grid_rows(grid)))
        return
    console = terminal.console()
    console.print(*terminal.grid_tables(grid, console.width), sep="\n")
    console.print(terminal.LEGEND)
    for target in grid["target"].values:
        console.print(sentence(grid, str(target)))


@cli.command()
@take.STORE
@click.argument("folder", type=take.FOLDER)
@click.option(
    "--sample",
    "samples",
    **take.several(),
    help="Held-out sample_ids, repeated or with commas; the first where not given.",
)
@take.GRID
@take.AS_JSON
def figures(store: str, folder: str, samples: Sequence[str], as_json: bool, **options: Any) -> None:
    """Save the figures on a STORE into a FOLDER as PDF, SVG and PNG at paper size.

    \b
    Example:
        ldmscene figures stores/demo figures --sample 2e4e29579297-96000
    """
    from ldmscene import plot

    opened = ldmscene.open(store)
    files = plot.figures(opened, ldmscene.evaluate(opened, **_given(options)), folder, samples or None)
    if as_json:
        print(json.dumps({"files": list(map(str, files))}))
    else:
        say(f"{folder}: {len(files)} files")


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what completes commands, options, names and files in a SHELL.

    \b
    Example, for good:
        ldmscene completion bash >> ~/.bashrc
    """
    kind = get_completion_class(shell)
    assert kind is not None
    print(kind(cli, {}, "ldmscene", "_LDMSCENE_COMPLETE").source())


def _print_page(page: Path, as_json: bool = False) -> None:
    if as_json:
        print(json.dumps({"page": str(page)}))
    else:
        say(f"report: {page}")


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
        say(f"error: {error}")
        sys.exit(REFUSED)
    except (KeyboardInterrupt, click.Abort):
        words = sys.argv[1:] if arguments is None else arguments
        say(f"interrupted; {_after_an_interrupt(next(iter(words), ''))}")
        sys.exit(INTERRUPTED)


def _after_an_interrupt(verb: str) -> str:
    if verb in ("extract", "extract-images", "label", "evaluate", "run"):
        return "what is finished is kept, and the same command goes on from there"
    if verb in ("report", "figures"):
        return "the same command writes the folder anew, from what is fitted already"
    return "the same command drops what is left" if verb == "repair" else "nothing was changed"


if __name__ == "__main__":
    main()
