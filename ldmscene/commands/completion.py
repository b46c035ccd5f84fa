"""The verb that prints what completes words in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a shell's completion script.

    It completes commands, options, names and files.

    \b
    Example, for good:
        ldmscene completion bash >> ~/.bashrc
    """
    kind = get_completion_class(shell)
    assert kind is not None
    print(kind(click.get_current_context().find_root().command, {}, "ldmscene", "_LDMSCENE_COMPLETE").source())
