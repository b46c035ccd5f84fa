"""The verb that goes the whole path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import ldmscene
from ldmscene import parameters as take
from ldmscene.commands.output import print_estimate, print_grid, print_page
from ldmscene.commands.words import handed, pairs
from ldmscene.extraction.options import RUNS_DECIDE, Extraction

if TYPE_CHECKING:
    from ldmscene.manifest import Manifest


@click.command()
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
@click.option(
    "--interventions",
    is_flag=True,
    help="Also edit what the probes read, and measure what becomes of the pictures; edited stores go beside the store.",
)
@take.options_of(Extraction, without={"store", "labelers", *RUNS_DECIDE})
@take.AS_JSON
def run(manifests: Sequence[str], as_json: bool, **options: Any) -> None:
    """Go the whole path from a MANIFEST to a report.

    MANIFEST is a CSV or Parquet file with the columns prompt and seed, or demo, the embedded model's own. That model is
    run at guidance 3 where nothing else is asked for. What is done already isn't done again.

    \b
    Examples:
        ldmscene run demo
        ldmscene run manifests/demo.csv --store stores/demo --report report --batch-size 8
        ldmscene run --protocol scenes TRAIN.csv TEST.csv --interventions --dry-run
    """
    from ldmscene import terminal
    from ldmscene.calls.recognition import recognition_sentences
    from ldmscene.calls.run import check_own

    name = options["protocol"] or Path(manifests[0]).stem
    chosen = {"store": f"stores/{name}", "report": f"reports/{name}", **_typed(options)}
    manifest = _manifest(manifests, options["protocol"])
    if "labelers" in chosen:
        chosen["labelers"] = pairs(chosen["labelers"])
    if "inputs" in chosen:
        chosen["inputs"] = handed(chosen["inputs"])
    if options["store"] is None:
        check_own(chosen["store"], manifest, chosen.get("inputs"))
    result = ldmscene.run(manifest, **chosen)
    if isinstance(result, dict):
        print_estimate(result, as_json)
        return
    grid, page = result
    print_grid(grid, as_json)
    if not as_json:
        for line in recognition_sentences(chosen["store"]):
            terminal.console().print(line)
    print_page(page)


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
