"""What words of the command line mean for the calls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from ldmscene.errors import InputError


def present(options: dict[str, Any]) -> dict[str, Any]:
    """Options without those that weren't there at all; those that may be repeated as lists."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in options.items() if v not in ((), None)}


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """TARGET=LABELER, each, as a mapping."""
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"expected TARGET=LABELER, got {text!r}", param_hint="--labeler")
    return {target: labeler for target, _, labeler in (text.partition("=") for text in texts)}


def handed(texts: Sequence[str]) -> dict[str, str | float] | None:
    """NAME=VALUE, each, as inputs of a pipeline: numbers, true and false as such, all else as paths."""
    found: dict[str, str | float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value) or name in found:
            raise click.BadParameter(
                f"expected NAME=FOLDER, NAME=FILE or NAME=NUMBER, each name once, got {text!r}", param_hint="--input"
            )
        try:
            plain = json.loads(value)
        except ValueError:
            plain = value
        found[name] = plain if isinstance(plain, bool | int | float) else value
    return found or None


@contextmanager
def cluster(address: str | None) -> Iterator[Any]:
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
