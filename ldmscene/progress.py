"""Progress in a terminal, silence in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Advance(Protocol):
    """Report that some more of the work is done, and how many bytes that was."""

    def __call__(self, count: int = 1, size: float = 0) -> None: ...


@contextmanager
def bar(description: str, total: int, *, enabled: bool = True) -> Iterator[Advance]:
    """A bar on stderr with count, rate, bytes and remaining time; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[size]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    shown = enabled and sys.stderr.isatty()
    with Progress(*columns, console=console, disable=not shown) as progress:
        task = progress.add_task(description, total=total, rate="", size="")
        bytes_done = 0.0

        def advance(count: int = 1, size: float = 0) -> None:
            nonlocal bytes_done
            bytes_done += size
            progress.advance(task, count)
            speed = progress.tasks[0].speed
            progress.update(
                task, rate=f"{speed:.1f}/s" if speed else "", size=decimal(int(bytes_done)) if bytes_done else ""
            )

        yield advance
