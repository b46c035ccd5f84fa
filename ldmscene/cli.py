"""The command line: words in, exit code out."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence

import click

from ldmscene.commands import COMMANDS
from ldmscene.errors import LdmsceneError
from ldmscene.progress import say

SUCCESS, REFUSED, INTERRUPTED = 0, 2, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ldmscene")
def cli() -> None:
    """Capture a latent diffusion model's internals once; probe them for ever.

    \b
    The whole path on the embedded model:
        ldmscene run demo
    In single steps, for one target and without the control:
        ldmscene extract tiny-scenes demo --store stores/steps --previews test --guidance-scale 3
        ldmscene label stores/steps depth tiny-depth
        ldmscene evaluate stores/steps
        ldmscene report stores/steps report
    """


for command in COMMANDS:
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 when done, 2 when refused, 130 when interrupted."""
    for library in ("TRANSFORMERS", "DIFFUSERS"):  # their advice on optional packages isn't for our users
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal of ASCII gets a question mark, not a traceback
        sys.stdout.reconfigure(errors="replace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say_warning
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


def _say_warning(
    message: Warning | str, category: object, filename: str, lineno: int, file: object = None, line: str | None = None
) -> None:
    """Without the file and line, which are ours."""
    say(f"warning: {message}")


def _after_an_interrupt(verb: str) -> str:
    if verb in ("extract", "extract-images", "label", "evaluate", "intervene", "run"):
        return "what is finished stays, and the same command goes on from there"
    if verb in ("report", "figures"):
        return "the same command writes the folder anew, from what is fitted already"
    return "the same command drops what is left" if verb in ("repair", "tidy") else "nothing was changed"


if __name__ == "__main__":
    main()
